"""What is compared, what was found so far, and the order it comes out in: the modules beside this one add to a ``State``.

The changes of one table are collected in a ``TableChange`` and come out as one Change, with a batch on the way up and
another one on the way back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext

from db_plugins.migrations.seam import Change, Rename

from .. import portable
from ..ownership import Owned, TableName
from ..rendering import Source
from ..wanting import Names, enum_of

__all__ = ["Phase", "Place", "State", "TableChange", "extension_of", "schema_argument"]


class Phase(IntEnum):
    """The order of ``upgrade()``."""

    ENUMS = 0
    RENAMES = 1
    NEW_TABLES = 2
    LATE_FOREIGN_KEYS = 3
    CHANGED_TABLES = 4
    DROPPED_TABLES = 5
    DROPPED_ENUMS = 6


class Place(IntEnum):
    """Where in the batch of a table an operation stands; what undoes it stands as far from the other end."""

    DROP_FOREIGN_KEY = 0
    DROP_CONSTRAINT = 1
    ADD_COLUMN = 3
    ALTER = 4
    DROP_COLUMN = 6
    CONSTRAINT = 8
    FOREIGN_KEY = 9


@dataclass
class State:
    """``new`` are the wanted tables by the names that they are to have, ``keys`` those of them that the models ask for."""

    context: MigrationContext
    new: sa.MetaData
    keys: set[TableName]
    names: Names
    history: Owned
    from_nothing: bool = False

    #: What must hold before anything is done, on the way up and back: statements that refuse.
    guards_up: list[str] = field(default_factory=list)
    guards_down: list[str] = field(default_factory=list)
    made: list[sa.Table] = field(default_factory=list)
    gone: list[sa.Table] = field(default_factory=list)
    added: list[sa.Column[Any]] = field(default_factory=list)
    #: With the table, by its new name.
    dropped: list[tuple[str, sa.Column[Any]]] = field(default_factory=list)
    #: Enums of columns that are made, and of those that are dropped, by name.
    enums_used: dict[str, sa.Enum] = field(default_factory=dict)
    enums_left: dict[str, sa.Enum] = field(default_factory=dict)
    _phases: dict[Phase, list[Change]] = field(default_factory=lambda: {phase: [] for phase in Phase})

    @property
    def connection(self) -> Any:
        return self.context.connection

    @property
    def dialect(self) -> sa.Dialect:
        return self.context.dialect

    @property
    def is_mariadb(self) -> bool:
        return self.dialect.name in ("mysql", "mariadb")

    @cached_property
    def inspector(self) -> Any:
        return sa.inspect(self.connection)

    def source(self) -> Source:
        return Source(self.context)

    def table(self, key: TableName) -> sa.Table:
        """A wanted table by its new name."""
        schema, name = key
        return self.new.tables[name if schema is None else f"{schema}.{name}"]

    def use_enum(self, column: sa.Column[Any]) -> None:
        found = enum_of(column.type)
        if found is not None:
            self.enums_used[str(found.name)] = found

    def leave_enum(self, type_: Any) -> None:
        if isinstance(type_, sa.Enum) and type_.name:
            self.enums_left[str(type_.name)] = type_

    def add(self, phase: Phase, change: Change) -> None:
        self._phases[phase].append(change)

    def ordered(self) -> list[Change]:
        """Every change, in the order of ``upgrade()``. The guards stand before the first statement of either way."""
        found = [change for changes in self._phases.values() for change in changes]
        if self.guards_up and found:
            found[0] = replace(found[0], upgrade="\n".join([*self.guards_up, found[0].upgrade]))
        if self.guards_down and found:
            found[-1] = replace(found[-1], downgrade="\n".join([*self.guards_down, found[-1].downgrade]))
        return found

    def guard_unique(self, table: sa.Table, columns: Sequence[str], *, is_up: bool) -> None:
        """Asked first of all: on the way up by the names before the renames."""
        schema = schema_argument(table.schema)
        names = [self.names.old_column(table.name, each) for each in columns] if is_up else list(columns)
        old = self.names.old_table(table.name) if is_up else table.name
        guards = self.guards_up if is_up else self.guards_down
        guards.append(f"op.require_unique({old!r}, {[str(each) for each in names]!r}{schema})")

    def possible_renames(self) -> Iterator[Rename]:
        """Pairs of what is dropped and added that may be one and the same."""
        for gone in self.gone:
            for made in self.made:
                if {c.name for c in gone.columns} == {c.name for c in made.columns}:
                    yield Rename(gone.name, made.name)
        for table, dropped in self.dropped:
            for added in self.added:
                if table == added.table.name and portable.family(dropped.type) == portable.family(added.type):
                    yield Rename(dropped.name, added.name, table)


@dataclass
class TableChange:
    """The changes of one table, as they are collected. ``unnamed``: some drop what the database has no name for."""

    table: sa.Table
    source: Source
    up: list[tuple[Place | int, str]] = field(default_factory=list)
    down: list[tuple[Place | int, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    drops: list[str] = field(default_factory=list)
    needs_extension: bool = False
    unnamed: bool = False

    def within(self, operation: ops.MigrateOperation) -> str:
        """The operation as a line of the table's batch."""
        return self.source.within(operation, self.table.name, self.table.schema)

    def add(self, place: Place, texts: str | list[str], up: str, down: str) -> None:
        """``up`` and ``down`` are statements, with blank lines between those that go into batches of their own."""
        self.texts += [texts] if isinstance(texts, str) else texts
        self.up.append((place, up))
        self.down.append((Place.FOREIGN_KEY - place, down))

    def change(self) -> Change:
        return Change(
            "\n".join(self.texts),
            "\n".join([*extension_of(self.needs_extension), *self._blocks(self.up)]),
            "\n".join(self._blocks(self.down)),
            frozenset(self.source.imports),
            tuple(self.drops),
        )

    def _blocks(self, lines: list[tuple[Place | int, str]]) -> list[str]:
        """The operations in their order; what is no operation of a batch stands between two of them."""
        blocks: list[str] = []
        inside: list[str] = []
        for _place, text in sorted(lines, key=lambda line: line[0]):
            for statement in text.split("\n\n"):
                if statement.startswith("op."):
                    blocks += self._block(inside)
                    blocks.append(statement)
                    inside = []
                else:
                    inside.append(statement)
        return blocks + self._block(inside)

    def _block(self, lines: list[str]) -> list[str]:
        if not lines:
            return []
        return [self.source.block(self.table.name, lines, self.table.schema, unnamed=self.unnamed)]


def extension_of(is_needed: bool) -> list[str]:
    """pgvector's, before its type is used."""
    return ["op.create_vector_extension()"] if is_needed else []


def schema_argument(schema: str | None) -> str:
    """The end of a call of ``op``."""
    return "" if schema is None else f", schema={schema!r}"
