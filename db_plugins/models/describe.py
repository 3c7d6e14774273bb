"""What a mapped class says of itself: ``describe(M)`` gives its ModelInfo, made once.

    ModelInfo ── fields ──> Field (attribute ↔ column, kind, bounds, default)
              ── key, uniques, foreign_keys, indexes, relationships

Everything that is not portable is refused here, by name, so that no engine can ignore it.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc
from sqlalchemy.orm import Mapper, RelationshipProperty
from sqlalchemy.orm.exc import UnmappedClassError

from ..errors import DuplicateKeyError, InvalidValueError, UnsupportedError, nearest
from ..nodes import Column, In
from .fields import Default, Field, Kind, make_field
from .misfits import misfit
from .objects import guard_attributes

__all__ = [
    "ForeignKey",
    "ModelInfo",
    "Unique",
    "association_tables",
    "describe",
    "models_of",
    "own_tables",
    "why_not_mapped",
]


@dataclass(frozen=True)
class Unique:
    """A unique constraint or index (the primary key is the first), by the fields it covers."""

    name: str | None
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class ForeignKey:
    """These fields hold the key of a row in the table ``target``; ``columns`` are that table's column names."""

    name: str | None
    fields: tuple[Field, ...]
    target: str
    columns: tuple[str, ...]
    ondelete: str | None


@dataclass(frozen=True, eq=False)
class ModelInfo:
    """A model as engines see it. Sequences are in the order of the mapped class's columns."""

    cls: type
    mapper: Mapper[Any]
    table: sa.Table
    fields: tuple[Field, ...]
    key: tuple[Field, ...]
    uniques: tuple[Unique, ...]
    foreign_keys: tuple[ForeignKey, ...]
    #: The one integer key that engines number, if the model has one.
    numbered: Field | None
    #: Single-table inheritance: rows of this class have one of these values here. ``None`` for the base class too.
    discriminator: Field | None
    #: ``version_id_col``: counted up by each update, and asked for by those of an object.
    version: Field | None = None
    identities: tuple[Any, ...] = field(default=())
    #: The part this model plays in a query of several models; empty for the query's own model.
    scope: str = ""

    def scoped(self, scope: str, *, optional: bool = False, aliased: bool = False) -> ModelInfo:
        """This model in another part of a query: a copy with fields of their own, the same one for the same words.

        ``optional``: all its columns may be NULL, for an outer join adds rows without it. ``aliased``: its table, too,
        goes by the scope's name, as inside EXISTS. Only what a query reads is copied: uniques and foreign keys are not.
        """
        key = (scope, optional, aliased)
        if key not in self._copies:
            self._copies.setdefault(key, self._copy(*key))  # the first of several threads wins
        return self._copies[key]

    @cached_property
    def _copies(self) -> dict[tuple[str, bool, bool], ModelInfo]:
        return {}

    def _copy(self, scope: str, optional: bool, aliased: bool) -> ModelInfo:
        table: Any = self.table.alias(scope) if aliased else self.table
        made = {
            f: dataclasses.replace(
                f,
                scope=scope,
                nullable=f.nullable or optional,
                table_column=table.c[f.table_column.key] if aliased else f.table_column,
            )
            for f in self.fields
        }
        return dataclasses.replace(
            self,
            table=table,
            fields=tuple(made.values()),
            key=tuple(made[f] for f in self.key),
            uniques=(),
            foreign_keys=(),
            discriminator=None if self.discriminator is None else made[self.discriminator],
            version=None if self.version is None else made[self.version],
            scope=scope,
        )

    @property
    def name(self) -> str:
        """The class's name, as messages give it."""
        return self.cls.__name__

    @cached_property
    def store(self) -> str:
        """The table's or collection's name."""
        return str(self.mapper.local_table.name)  # type: ignore[attr-defined]

    @cached_property
    def only_this_class(self) -> In | None:
        """For a class of single-table inheritance: the condition that its rows meet."""
        if self.discriminator is None or not self.identities:
            return None
        return In(Column(self.discriminator), self.identities, self.discriminator)

    @cached_property
    def by_name(self) -> dict[str, Field]:
        return {f.name: f for f in self.fields}

    @cached_property
    def by_column(self) -> dict[str, Field]:
        return {f.column: f for f in self.fields}

    @cached_property
    def relationships(self) -> dict[str, RelationshipProperty[Any]]:
        return dict(self.mapper.relationships.items())

    def field(self, name: object) -> Field:
        """The field of this attribute name, or an InvalidValueError with the nearest names."""
        found = self.by_name.get(name) if isinstance(name, str) else None
        if found is not None:
            return found
        if isinstance(name, str) and name in self.relationships:
            raise InvalidValueError(
                f"{self.name}.{name} is a relationship, not a column",
                hint="use its foreign key",
            )
        if isinstance(name, str) and name in self.by_column:
            raise InvalidValueError(
                f"{self.name} has no attribute {name!r}: that is the column of {self.by_column[name].label}",
                hint=f"use {self.by_column[name].name!r}",
            )
        raise InvalidValueError(
            f"{self.name} has no attribute {str(name)[:80]!r}", hint=nearest(str(name)[:80], self.by_name)
        )

    def attributes_of(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Attribute names for column names out of a driver's error; unknown columns keep their own."""
        return tuple(self.by_column[c].name if c in self.by_column else c for c in columns)

    def duplicate(self, unique: Unique) -> DuplicateKeyError:
        """The error for a row whose unique key another row has, in the words of all engines."""
        names = tuple(f.name for f in unique.fields)
        return DuplicateKeyError(
            f"a {self.name} with the same {', '.join(names)} is already there", attributes=names
        )

    def __repr__(self) -> str:
        return f"<ModelInfo {self.scope}:{self.name}>" if self.scope else f"<ModelInfo {self.name}>"


_known: WeakKeyDictionary[type, ModelInfo] = WeakKeyDictionary()
_lock = threading.Lock()


def describe(model: type) -> ModelInfo:
    """The ModelInfo of a mapped class.

    Raises InvalidValueError for what is not a mapped class, ConfigError for mappings that SQLAlchemy cannot configure,
    UnsupportedError for what is not portable.
    """
    try:
        known = _known.get(model)
    except TypeError:
        known = None
    if known is not None:
        return known
    mapper: Mapper[Any] = _mapper_of(model)
    with _lock:
        if model not in _known:
            guard_attributes(mapper)
            _known[model] = _read(model, mapper)
        return _known[model]


def models_of(metadata: sa.MetaData) -> list[ModelInfo]:
    """The models described so far whose tables are of this MetaData."""
    with _lock:
        return [info for info in _known.values() if info.table.metadata is metadata]


def _mapper_of(model: Any) -> Mapper[Any]:
    if not isinstance(model, type):
        raise InvalidValueError(
            f"a model is a class, not a value of type {type(model).__name__}",
            hint="pass the class itself: db.query(Star)",
        )
    try:
        mapper: Any = sa.inspect(model, raiseerr=False)
    except UnmappedClassError:
        mapper = None
    if isinstance(mapper, Mapper):
        try:  # not all there are: an unrelated broken class is not our user's
            mapper.registry.configure(cascade=True)
        except sa_exc.SQLAlchemyError as exc:
            raise misfit(mapper, exc) from exc
        return mapper
    raise InvalidValueError(f"{model.__name__} is not a mapped class", hint=why_not_mapped(model))


def why_not_mapped(model: type) -> str:
    """What to write, so that this class is a mapped one."""
    if any(base.__module__.startswith("sqlmodel") for base in model.__mro__):
        return f"add table=True: class {model.__name__}(…, table=True)"
    for name in vars(model):
        if name != "__tablename__" and name.replace("s", "") == "__tablename__".replace("s", ""):
            return f"it has {name}: write __tablename__"
    return "give it a __tablename__ and a declarative base"


def _read(model: type, mapper: Mapper[Any]) -> ModelInfo:
    _refuse_metadata(model, mapper)
    table = mapper.local_table
    if not isinstance(table, sa.Table):
        raise _not_portable(model, f"is mapped to a {type(table).__name__}", "map it to a Table")
    if mapper.inherits is not None and not mapper.single:
        raise _not_portable(model, "uses joined or concrete inheritance", "use single-table inheritance")
    numbered = _numbered_column(table)
    dataclass_fields = (
        {f.name: f for f in dataclasses.fields(model)} if dataclasses.is_dataclass(model) else {}
    )
    fields = []
    for prop in mapper.column_attrs:
        column = prop.columns[0]
        if not isinstance(column, sa.Column):
            raise _not_portable(model, f"has a column_property {prop.key!r}", "use a property in Python")
        fallback = Default.of_dataclass(dataclass_fields[prop.key]) if prop.key in dataclass_fields else None
        made = make_field(model, prop.key, column, numbered=column is numbered, fallback=fallback)
        fields.append(_counted(made, mapper) if column is mapper.version_id_col else made)
    by_column = {f.column: f for f in fields}
    key = tuple(by_column[c.name] for c in mapper.primary_key)
    uniques = (Unique(cast("str | None", table.primary_key.name), key), *_uniques(table, by_column))
    if vectors := [f.name for unique in uniques for f in unique.fields if f.kind is Kind.VECTOR]:
        raise _not_portable(model, f"has a Vector {vectors[0]!r} in a unique key", "give it another key")
    return ModelInfo(
        cls=model,
        mapper=mapper,
        table=table,
        fields=tuple(fields),
        key=key,
        uniques=uniques,
        foreign_keys=tuple(_foreign_keys(table, by_column)),
        numbered=by_column[numbered.name] if numbered is not None and numbered.name in by_column else None,
        discriminator=_discriminator(mapper, by_column),
        version=_version(mapper, by_column),
        identities=_identities(mapper),
    )


def _refuse_metadata(model: type, mapper: Mapper[Any]) -> None:
    """SQLAlchemy 2.0 refuses this attribute of a declarative class; 2.1 warns, and SQLModel's objects cannot set it."""
    keeps_tables = any(isinstance(vars(base).get("metadata"), sa.MetaData) for base in model.__mro__)
    if keeps_tables and "metadata" in mapper.attrs:
        raise UnsupportedError(
            f"{model.__name__}.metadata is where a declarative class has its tables, and cannot be a column too",
            hint='call it metadata_: metadata_ = mapped_column("metadata", …), which keeps the column\'s name',
        )


def _numbered_column(table: sa.Table) -> sa.Column[Any] | None:
    """The key that engines number: SQLAlchemy's own rule (one Integer key, no foreign key, or autoincrement=True)."""
    column = table.autoincrement_column
    return column if column is not None and column.default is None and column.server_default is None else None


def _uniques(table: sa.Table, by_column: dict[str, Field]) -> Iterator[Unique]:
    """Those of columns that the class has: in single-table inheritance a base class has no attribute for a subclass's own."""
    for constraint in table.constraints:
        if (
            isinstance(constraint, sa.UniqueConstraint)
            and {c.name for c in constraint.columns} <= by_column.keys()
        ):
            yield Unique(_name(constraint.name), tuple(by_column[c.name] for c in constraint.columns))
    for index in table.indexes:
        # A partial or functional unique index is unique for the server; it is no key that get_or_create may use.
        plain = all(isinstance(e, sa.Column) for e in index.expressions)
        partial = any(str(k).endswith("where") and v is not None for k, v in index.dialect_kwargs.items())
        if index.unique and plain and not partial and {c.name for c in index.columns} <= by_column.keys():
            yield Unique(_name(index.name), tuple(by_column[c.name] for c in index.columns))


def _name(name: Any) -> str | None:
    return str(name) if isinstance(name, str) else None


def _foreign_keys(table: sa.Table, by_column: dict[str, Field]) -> Iterator[ForeignKey]:
    for constraint in table.foreign_key_constraints:
        if any(c.name not in by_column for c in constraint.columns):
            continue  # a subclass's own columns: in single-table inheritance the base class has no attribute for them
        yield ForeignKey(
            _name(constraint.name),
            tuple(by_column[c.name] for c in constraint.columns),
            constraint.referred_table.name,
            tuple(e.column.name for e in constraint.elements),
            constraint.ondelete,
        )


def _discriminator(mapper: Mapper[Any], by_column: dict[str, Field]) -> Field | None:
    column = mapper.polymorphic_on
    return by_column.get(column.name) if isinstance(column, sa.Column) else None


def _version(mapper: Mapper[Any], by_column: dict[str, Field]) -> Field | None:
    column = mapper.version_id_col
    return by_column.get(column.name) if isinstance(column, sa.Column) else None


def _counted(field: Field, mapper: Mapper[Any]) -> Field:
    """The version column: a new row has what ``version_id_generator`` makes of None, or what the server makes."""
    generator = mapper.version_id_generator
    if not callable(generator):
        return dataclasses.replace(field, server_default=field.default is None, server_onupdate=True)
    return dataclasses.replace(
        field,
        default=Default(lambda _row: generator(None)),
        onupdate=None,
        server_default=False,
        server_onupdate=False,
    )


def _identities(mapper: Mapper[Any]) -> tuple[Any, ...]:
    if mapper.polymorphic_on is None or mapper.inherits is None:
        return ()
    return tuple(
        m.polymorphic_identity for m in mapper.self_and_descendants if m.polymorphic_identity is not None
    )


def _not_portable(model: type, fact: str, remedy: str) -> UnsupportedError:
    return UnsupportedError(
        f"{model.__name__} {fact}, which does not mean the same on every engine", hint=remedy
    )


def association_tables(models: Sequence[ModelInfo]) -> list[sa.Table]:
    """The link tables that the relationships of these models name and that no model of theirs is mapped to."""
    mapped = {info.table for info in models}
    found: dict[str, sa.Table] = {}
    for info in models:
        for prop in info.mapper.relationships:
            if isinstance(prop.secondary, sa.Table) and prop.secondary not in mapped:
                found[prop.secondary.name] = prop.secondary
    return [found[name] for name in sorted(found)]


def own_tables(models: Sequence[ModelInfo]) -> list[ModelInfo]:
    """One model for each table: the classes of one single-table inheritance share theirs."""
    by_table: dict[Any, ModelInfo] = {}
    for info in models:
        known = by_table.get(info.table)
        if known is None or issubclass(known.cls, info.cls):
            by_table[info.table] = info
    return list(by_table.values())
