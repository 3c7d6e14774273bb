"""Which columns refer to which: every foreign key between the models of one MetaData, as the core asks for them.

    references_of(info)   the model's own foreign keys: the parents that its rows name
    referrers_of(info)    the foreign keys that name the model's table: the children of its rows

A table stands for the model that is mapped to it; a link table, to which none is, for ``link_model``. What is read off a
MetaData is kept in its ``info`` until it has more tables.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper

from .errors import DbPluginsError, ForeignKeyError
from .models import Field, ModelInfo, describe
from .models.describe import models_of
from .models.links import link_model

__all__ = [
    "Reference",
    "World",
    "names_no_parent",
    "references_of",
    "referrers_of",
    "still_referred",
    "world_of",
]

_KEY = "db_plugins.references"


@dataclass(frozen=True, eq=False)
class Reference:
    """These fields of ``child`` hold what ``keys`` hold in a row of ``parent``, or a NULL."""

    name: str | None
    child: ModelInfo
    fields: tuple[Field, ...]
    parent: ModelInfo
    keys: tuple[Field, ...]
    ondelete: str

    @property
    def label(self) -> str:
        """``Book.author_id``: the columns, as messages name them."""
        return ", ".join(f.label for f in self.fields)

    @property
    def attributes(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.fields)


def names_no_parent(reference: Reference, engine: str, orig: BaseException | None = None) -> ForeignKeyError:
    """The error of a row whose parent is not there."""
    verb = "names" if len(reference.fields) == 1 else "name"
    return ForeignKeyError(
        f"{reference.label} {verb} no {reference.parent.name}",
        attributes=reference.attributes,
        engine=engine,
        orig=orig,
        hint="insert the parent first",
    )


def still_referred(reference: Reference, engine: str, orig: BaseException | None = None) -> ForeignKeyError:
    """The error of a row that cannot go, for it has children."""
    return ForeignKeyError(
        f"{reference.parent.name} is still referred to by {reference.label}",
        attributes=reference.attributes,
        engine=engine,
        orig=orig,
        hint="delete the children first, or give the parent a relationship with a cascade",
    )


@dataclass(eq=False)
class World:
    """What is known of one MetaData. ``kept`` is for what others work out from it."""

    size: int
    registries: tuple[Any, ...]
    mappers: dict[sa.Table, tuple[Mapper[Any], ...]]
    links: frozenset[sa.Table]
    constraints: dict[sa.Table, tuple[sa.ForeignKeyConstraint, ...]]
    references: dict[ModelInfo, tuple[Reference, ...]] = field(default_factory=dict)
    referrers: dict[ModelInfo, tuple[Reference, ...]] = field(default_factory=dict)
    kept: dict[Hashable, Any] = field(default_factory=dict)

    def model_of(self, table: sa.Table, columns: Iterable[str]) -> ModelInfo | None:
        """The model of a table's rows, the most general that has these columns; ``None`` if none is mapped to it that
        an engine could hold."""
        wanted = set(columns)
        for mapper in self.mappers.get(table, ()):
            try:
                info = describe(mapper.class_)
            except DbPluginsError:  # not portable: no engine of ours has rows of it
                continue
            if wanted <= info.by_column.keys():
                return info
        return None


def world_of(info: ModelInfo) -> World:
    """The World of a model's MetaData."""
    metadata = info.table.metadata
    known: World | None = metadata.info.get(_KEY)
    if known is not None and known.size == len(metadata.tables) and info.mapper.registry in known.registries:
        return known
    registries = dict.fromkeys(
        [
            *(known.registries if known is not None else ()),
            *(other.mapper.registry for other in models_of(metadata)),
            info.mapper.registry,
        ]
    )
    made = metadata.info[_KEY] = _look_around(metadata, tuple(registries))
    return made


def _look_around(metadata: sa.MetaData, registries: tuple[Any, ...]) -> World:
    mappers: dict[sa.Table, list[Mapper[Any]]] = {}
    links = set()
    for mapper in (mapper for registry in registries for mapper in registry.mappers):
        if isinstance(mapper.local_table, sa.Table):
            mappers.setdefault(mapper.local_table, []).append(mapper)
        links |= {prop.secondary for prop in mapper.relationships if isinstance(prop.secondary, sa.Table)}
    constraints: dict[sa.Table, list[sa.ForeignKeyConstraint]] = {}
    for table in metadata.tables.values():
        for constraint in _in_order(table.foreign_key_constraints):
            constraints.setdefault(constraint.referred_table, []).append(constraint)
    return World(
        size=len(metadata.tables),
        registries=registries,
        mappers={
            table: tuple(sorted(found, key=lambda m: (len(list(m.iterate_to_root())), m.class_.__name__)))
            for table, found in mappers.items()
        },
        links=frozenset(links),
        constraints={table: tuple(found) for table, found in constraints.items()},
    )


def references_of(info: ModelInfo) -> tuple[Reference, ...]:
    """The model's foreign keys, with their fields as this model has them."""
    world = world_of(info)
    if info not in world.references:
        found = (_reference(world, c, child=info) for c in _in_order(info.table.foreign_key_constraints))
        world.references[info] = tuple(reference for reference in found if reference is not None)
    return world.references[info]


def referrers_of(info: ModelInfo) -> tuple[Reference, ...]:
    """The foreign keys of mapped tables and link tables that refer to the model's table."""
    world = world_of(info)
    if info not in world.referrers:
        world.referrers[info] = tuple(_referrers(world, info))
    return world.referrers[info]


def _referrers(world: World, info: ModelInfo) -> Iterator[Reference]:
    for constraint in world.constraints.get(info.table, ()):
        if isinstance(constraint.table, sa.Table):
            reference = _reference(world, constraint, parent=info)
            if reference is not None:
                yield reference


def _in_order(constraints: Iterable[sa.ForeignKeyConstraint]) -> list[sa.ForeignKeyConstraint]:
    return sorted(constraints, key=lambda c: list(c.column_keys))


def _reference(
    world: World,
    constraint: sa.ForeignKeyConstraint,
    child: ModelInfo | None = None,
    parent: ModelInfo | None = None,
) -> Reference | None:
    """The constraint between models; ``None`` if one of its tables is no model's."""
    columns = [c.name for c in constraint.columns]
    keys = [e.column.name for e in constraint.elements]
    child = child or _side(world, constraint.table, columns, only_links=True)
    if parent is None or not parent.by_column.keys() >= set(keys):
        parent = _side(world, constraint.referred_table, keys, only_links=False)
    if child is None or parent is None or not child.by_column.keys() >= set(columns):
        return None
    return Reference(
        constraint.name if isinstance(constraint.name, str) else None,
        child,
        tuple(child.by_column[name] for name in columns),
        parent,
        tuple(parent.by_column[name] for name in keys),
        (constraint.ondelete or "NO ACTION").upper(),
    )


def _side(world: World, table: sa.Table, columns: list[str], *, only_links: bool) -> ModelInfo | None:
    found = world.model_of(table, columns)
    if found is None and table not in world.mappers and (table in world.links or not only_links):
        return describe(link_model(table))
    return found
