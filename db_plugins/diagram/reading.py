"""From mapped classes to a Picture. What an engine would refuse to store is refused here, too.

Foreign keys are the lines; relationships give them names, and say where there is one row at most. A relationship over
columns without a foreign key is a line of its own, and so is a many-to-many one: its link table is no entity, unless a model
is mapped to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import RelationshipDirection, RelationshipProperty

from ..errors import InvalidValueError, nearest
from ..models import Field, Kind, ModelInfo, describe
from .picture import Attribute, End, Entity, Picture, Relation

__all__ = ["read"]

#: How a type is written; of ENUM and NATIVE it is the enum's and the type's own name.
WORDS = {
    Kind.DATETIME: "datetime",
    Kind.NAIVE_DATETIME: "datetime(naive)",
    Kind.JSON: "json",
    Kind.VECTOR: "vector",
}


def read(models: Mapping[str, Sequence[type]] | Sequence[type], only: Collection[str] = ()) -> Picture:
    """The Picture of these models, or of those by entry name; of ``only`` those called so, if any are named.

    Entities and relations come in the order of the models. Raises InvalidValueError for a name that none has, or several
    have, and what ``describe`` raises: UnsupportedError for a model that is not portable, ConfigError.

        print(mermaid(read([Star, Sighting])))
    """
    by_entry = models if isinstance(models, Mapping) else {"": models}
    entries: dict[type, list[str]] = {}
    for entry, classes in by_entry.items():
        for model in dict.fromkeys(classes):
            entries.setdefault(model, []).append(entry)
    names = _names(list(entries))
    chosen = _chosen(names, only)
    drawn = _Drawn({model: describe(model) for model in entries if model in chosen}, names)
    return Picture(
        entities=tuple(drawn.entity(model, tuple(entries[model])) for model in drawn.infos),
        relations=(*drawn.references(), *drawn.links()),
        entries=tuple(by_entry),
    )


def _names(models: Sequence[type]) -> dict[type, str]:
    """The class's name, where that is not enough with its module, where that is not enough with a number."""
    plain = Counter(model.__name__ for model in models)
    long = [
        model.__name__ if plain[model.__name__] == 1 else f"{model.__module__}.{model.__qualname__}"
        for model in models
    ]
    seen: Counter[str] = Counter()
    names = {}
    for model, name in zip(models, long, strict=True):
        seen[name] += 1
        names[model] = name if seen[name] == 1 else f"{name} {seen[name]}"
    return names


def _chosen(names: Mapping[type, str], only: Collection[str]) -> set[type]:
    chosen = set() if only else set(names)
    for wanted in only:
        found = [model for model, name in names.items() if wanted in (name, model.__name__)]
        if not found:
            raise InvalidValueError(f"there is no model {wanted!r}", hint=nearest(wanted, names.values()))
        if len(found) > 1 and wanted not in names.values():
            raise InvalidValueError(
                f"several models are called {wanted!r}",
                hint=f"name one of {', '.join(names[model] for model in found)}",
            )
        chosen.update(model for model in found if wanted == names[model] or len(found) == 1)
    return chosen


@dataclass
class _Line:
    """A foreign key on its way to be a Relation. ``parents`` and ``children`` are the classes that its relationships join."""

    parent: sa.FromClause
    child: sa.FromClause
    columns: tuple[sa.Column[Any], ...]
    is_enforced: bool
    is_single: bool = False
    left_names: set[str] = field(default_factory=set)
    right_names: set[str] = field(default_factory=set)
    parents: set[type] = field(default_factory=set)
    children: set[type] = field(default_factory=set)


@dataclass(frozen=True)
class _Drawn:
    """The models that are drawn, and the ways to find one."""

    infos: dict[type, ModelInfo]
    names: Mapping[type, str]

    # -- entities --------------------------------------------------------------------------------------------------

    def entity(self, model: type, entries: tuple[str, ...]) -> Entity:
        info, parent = self.infos[model], self.parent_of(model)
        inherited = self.infos[parent].by_name if parent is not None else {}
        own = [each for each in info.fields if each.name not in inherited]
        return Entity(
            name=self.names[model],
            store=info.store,
            attributes=tuple(_attribute(info, each) for each in own),
            entries=entries,
            parent=self.names[parent] if parent is not None else None,
        )

    def parent_of(self, model: type) -> type | None:
        """The nearest class that is drawn of those whose table it shares."""
        mapper = self.infos[model].mapper.inherits
        while mapper is not None and mapper.class_ not in self.infos:
            mapper = mapper.inherits
        return mapper.class_ if mapper is not None else None

    def model_of(self, table: sa.FromClause, columns: Collection[Any] = ()) -> type | None:
        """The most general class that is drawn of this table's and has these columns."""
        wanted = {column.name for column in columns}
        found = [
            info for info in self.infos.values() if info.table is table and wanted <= info.by_column.keys()
        ]
        return min(found, key=lambda info: len(info.cls.__mro__)).cls if found else None

    # -- relations -------------------------------------------------------------------------------------------------

    def references(self) -> Iterator[Relation]:
        """A line for each foreign key, and for each relationship that joins columns without one."""
        lines: dict[Any, _Line] = {}
        for table in dict.fromkeys(info.table for info in self.infos.values()):
            for line in _foreign_keys(table):
                lines[_key(line)] = line
        for info, prop in self._relationships():
            if prop.secondary is None:
                self._name(lines, info, prop)
        for line in lines.values():
            parent = self._agreed(line.parents) or self.model_of(line.parent)
            child = self._agreed(line.children) or self.model_of(line.child, line.columns)
            if parent is not None and child is not None:
                yield self._relation(line, parent, self.infos[child])

    def _agreed(self, models: Collection[type]) -> type | None:
        """The one class that all relationships of a line name: of several that share a table, perhaps not the first."""
        found = set(models) & set(self.infos)
        return found.pop() if len(models) == len(found) == 1 else None

    def _relationships(self) -> Iterator[tuple[ModelInfo, RelationshipProperty[Any]]]:
        """Those between classes that are drawn, each with the class that has it first."""
        for model, info in self.infos.items():
            parent = self.parent_of(model)
            inherited = self.infos[parent].relationships if parent is not None else {}
            for prop in info.relationships.values():
                if prop.viewonly or prop.key in inherited:
                    continue  # a view may have conditions of its own, and says nothing of the rows that there may be
                if self.model_of(prop.mapper.local_table) is not None:
                    yield info, prop

    def _name(self, lines: dict[Any, _Line], info: ModelInfo, prop: RelationshipProperty[Any]) -> None:
        is_child = prop.direction is RelationshipDirection.MANYTOONE
        here, there = info.table, prop.mapper.local_table
        pairs = [pair if is_child else pair[::-1] for pair in prop.local_remote_pairs or ()]
        columns = tuple(cast("sa.Column[Any]", child) for child, _parent in pairs)
        made = _Line(there if is_child else here, here if is_child else there, columns, is_enforced=False)
        line = lines.setdefault(_key(made), made)
        (line.right_names if is_child else line.left_names).add(prop.key)
        (line.children if is_child else line.parents).add(info.cls)
        (line.parents if is_child else line.children).add(prop.mapper.class_)
        line.is_single = line.is_single or not (is_child or prop.uselist)

    def _relation(self, line: _Line, parent: type, child: ModelInfo) -> Relation:
        fields = [child.by_column[column.name] for column in line.columns]
        has_parent = line.is_enforced and not any(each.nullable for each in fields)
        is_unique = any(set(unique.fields) <= set(fields) for unique in child.uniques)
        return Relation(
            left=self.names[parent],
            left_end=End.ONE if has_parent else End.MAYBE,
            right_end=End.MAYBE if is_unique or line.is_single else End.MANY,
            right=self.names[child.cls],
            left_names=tuple(sorted(line.left_names)),
            right_names=tuple(sorted(line.right_names)),
            columns=tuple(each.name for each in fields),
        )

    def links(self) -> Iterator[Relation]:
        """A line for each pair of many-to-many relationships that are each other's inverse."""
        found: dict[Any, list[tuple[ModelInfo, RelationshipProperty[Any]]]] = {}
        for info, prop in self._relationships():
            if prop.secondary is not None:
                near = frozenset(pair[1] for pair in prop.synchronize_pairs)
                far = frozenset(pair[1] for pair in prop.secondary_synchronize_pairs or ())
                found.setdefault((prop.secondary, frozenset({near, far})), []).append((info, prop))
        for (table, _columns), members in found.items():
            info, prop = members[0]
            outwards = {pair[1] for pair in prop.synchronize_pairs}
            there = self.model_of(prop.mapper.local_table)
            target = prop.mapper.class_ if prop.mapper.class_ in self.infos else there
            assert target is not None
            ways = [each for _info, each in members]
            out = [each for each in ways if {pair[1] for pair in each.synchronize_pairs} == outwards]
            back = [each for each in ways if each not in out]
            yield Relation(
                left=self.names[info.cls],
                left_end=_many(back),
                right_end=_many(out),
                right=self.names[target],
                left_names=tuple(sorted({each.key for each in out})),
                right_names=tuple(sorted({each.key for each in back})),
                via=table.name,
            )


def _foreign_keys(table: sa.Table) -> list[_Line]:
    """Those of a table, in the order of its columns; SQLAlchemy keeps them as a set."""
    order = {column: number for number, column in enumerate(table.columns)}
    lines = [
        _Line(each.referred_table, table, tuple(each.columns), is_enforced=True)
        for each in table.foreign_key_constraints
    ]
    return sorted(lines, key=lambda line: ([order[column] for column in line.columns], str(line.parent)))


def _key(line: _Line) -> Any:
    return line.parent, line.child, frozenset(line.columns)


def _many(ways: Sequence[RelationshipProperty[Any]]) -> End:
    return End.MAYBE if any(not each.uselist for each in ways) else End.MANY


def _attribute(info: ModelInfo, each: Field) -> Attribute:
    alone = any(unique.fields == (each,) for unique in info.uniques[1:])
    referring = any(
        each.column in {c.name for c in key.columns} for key in info.table.foreign_key_constraints
    )
    marks = {"PK": each.primary_key, "FK": referring, "UK": alone}
    return Attribute(
        name=each.name,
        type=_type(each),
        nullable=each.nullable,
        keys=tuple(mark for mark, has in marks.items() if has),
        unique_with=tuple(
            sorted(
                tuple(other.name for other in unique.fields if other is not each)
                for unique in info.uniques[1:]
                if each in unique.fields and len(unique.fields) > 1
            )
        ),
    )


def _type(each: Field) -> str:
    """``str(40)``, ``Decimal(8,3)``, ``Colour``: the Python type, with the bounds that a value must keep."""
    if each.kind is Kind.NATIVE:
        return type(each.sql_type).__name__
    if each.kind is Kind.ENUM:
        return each.enum_class.__name__ if each.enum_class is not None else "enum"
    bounds = [each.precision, each.scale] if each.kind is Kind.DECIMAL else [each.length]
    given = ",".join(str(bound) for bound in bounds if bound is not None)
    word = WORDS.get(each.kind, each.kind.value)
    return f"{word}({given})" if given else word
