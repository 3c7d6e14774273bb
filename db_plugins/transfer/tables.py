"""A table as a transfer sees it: every column, of all the classes that share it; and that table on one side.

tables_of   models' tables: classes of one single-table inheritance are one, link tables are there too
Side        one of them on one Database: read in batches by key, write, look up
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

from ..database import Database
from ..engine import BulkResult, Capability, SupportsStorage
from ..errors import EngineError, IntegrityError, InvalidValueError, TransferError
from ..expressions import Reader
from ..joining import among, parts_of
from ..models import Field, ModelInfo, association_tables, describe, own_tables
from ..models.links import link_model
from ..query import BaseQuery
from ..query.batches import NewRows
from ..query.bulk import batch_size_of, is_wide
from ..query.cursors import keyset
from ..query.framed import Tuples
from ..references import Reference, references_of
from ..spec import QuerySpec

if TYPE_CHECKING:
    from ..runner import Runner

__all__ = [
    "OnConflict",
    "Row",
    "Side",
    "check_databases",
    "label_of",
    "models_of",
    "naming",
    "orphans",
    "tables_of",
    "whole_table",
]

#: Statements in one step, and the most rows and values. SQLite took as long for a commit as to store 2,000 rows.
STATEMENTS = 20
MOST_ROWS = 20_000
MOST_VALUES = 200_000
#: Rows that are read at once: what is converted before it has left the processor's cache took a quarter less time.
READ_ROWS = 1000
#: The length of a step's texts, about: that of one row in so many is counted.
MOST_TEXT = 8 << 20
SAMPLED = 20

#: What drivers and types raise for a stored value that they cannot read.
UNREADABLE = (ValueError, LookupError, ArithmeticError, TypeError)

Row = tuple[Any, ...]
OnConflict = Literal["error", "ignore", "update"]


def check_databases(*databases: object) -> None:
    """Raise InvalidValueError for what is no Database."""
    for each in databases:
        if not isinstance(each, Database):
            raise InvalidValueError(
                f"rows move between Databases, and this is a value of type {type(each).__name__}",
                hint="db_plugins.connect() gives one; in a coroutine: `await asyncio.to_thread(copy, …)`",
            )


@contextmanager
def naming(db: Database) -> Iterator[None]:
    """What a server says, with the database's name before it: two are at work, perhaps of one engine."""
    try:
        yield
    except EngineError as error:
        if not isinstance(error, IntegrityError) and not error.fact.startswith(f"{db.name}: "):
            error.args = (f"{db.name}: {error.fact}",)
        raise


def models_of(db: Database, models: Sequence[Any] | None) -> list[ModelInfo]:
    """These models, or all that the Database has."""
    return db._models() if models is None else [db._root_runner().reader(model).model for model in models]


def tables_of(infos: Sequence[ModelInfo]) -> list[ModelInfo]:
    """The tables of these models, each once, and their link tables."""
    tables = [
        _whole(info, [other for other in infos if other.table is info.table]) for info in own_tables(infos)
    ]
    return [*tables, *(describe(link_model(table)) for table in association_tables(infos))]


def whole_table(db: Database, model: Any) -> ModelInfo:
    """One model's own rows: of a class of a single-table inheritance those of the class."""
    return db._root_runner().reader(model).model


def _whole(info: ModelInfo, sharers: Sequence[ModelInfo]) -> ModelInfo:
    """The base class of a single-table inheritance, with the columns that only its subclasses have."""
    known = [describe(mapper.class_) for mapper in info.mapper.self_and_descendants]
    everyone = dict.fromkeys([info, *sharers, *known])
    fields = {f.column: f for each in reversed(everyone) for f in each.fields}
    if len(fields) == len(info.fields):
        return info
    own = {f.column: f for f in info.fields}
    foreign_keys = {
        (*key.columns, key.target): key for each in reversed(everyone) for key in each.foreign_keys
    }
    return dataclasses.replace(
        info,
        fields=(*info.fields, *(f for column, f in fields.items() if column not in own)),
        foreign_keys=tuple(foreign_keys.values()),
    )


def label_of(info: ModelInfo, key: Row) -> Any:
    """A key as the user writes it."""
    return key[0] if len(info.key) == 1 else key


class Side:
    """One table on one Database. Raises UnsupportedError for a model that its engine cannot hold."""

    def __init__(self, db: Database, info: ModelInfo) -> None:
        root = db._root_runner()
        reader = root.reader(info.cls)
        if info is not reader.model:
            reader = Reader(info, root.engine.name, root.engine.limits(), reader.look_up)
        self.db = db
        self.info = info
        self.reader = reader
        #: Joins the transaction of the moment, as any query of the Database does.
        self.query: BaseQuery[Any] = BaseQuery(db._runner, reader)
        self.names = tuple(f.name for f in info.fields)
        self._key_at = [info.fields.index(f) for f in info.key]
        self._plan = NewRows.of(reader, self.names)

    @property
    def runner(self) -> Runner:
        """That of the moment."""
        return self.query._runner

    @property
    def batch_size(self) -> int:
        """How many rows go in one step: several statements' worth, so that a step's own costs are shared by many."""
        at_once = batch_size_of(self.runner, self.info, None)
        if is_wide(self.info):
            return at_once
        most = max(MOST_VALUES // len(self.info.fields), READ_ROWS)
        return min(at_once * STATEMENTS, MOST_ROWS, most)

    def count(self) -> int:
        """How many rows there are."""
        with naming(self.db):
            return self.query.count()

    @property
    def is_there(self) -> bool:
        """Has the database this table?"""
        connection = self.runner.connection
        if not isinstance(connection, SupportsStorage):
            return True
        with naming(self.db), self.runner.errors():
            return self.info.store in connection.existing()

    def has_rows(self) -> bool:
        """Is any row there?"""
        with naming(self.db):
            return self.query.exists()

    def key_of(self, row: Row) -> Row:
        """The primary key of a row of all columns."""
        return tuple([row[at] for at in self._key_at])

    def batches(
        self, size: int, *, after: Row | None = None, columns: tuple[Field, ...] | None = None
    ) -> Iterator[list[Row]]:
        """Its rows, or these columns of them, by key, from the one after this key; in lists of ``size``, or of fewer
        that are large.

        Raises TransferError for a row whose values the model's types cannot read."""
        with naming(self.db):
            yield from self._steps(size, after, columns or self.info.fields)

    def _steps(self, size: int, after: Row | None, fields: tuple[Field, ...]) -> Iterator[list[Row]]:
        query = self.query
        order = query._total_order()
        spec = query._spec.but(columns=fields, order=order)
        if after is not None:
            spec = spec.but(where=spec.and_where(keyset(query, order, after, inclusive=False)))
        at_once = min(size, READ_ROWS)
        step: list[Row] = []
        done = weight = 0
        with closing(self.runner.fetch(spec, at_once)) as parts:
            while True:
                try:
                    part = next(parts, None)
                except UNREADABLE as error:
                    raise self._unreadable(spec, done) from error
                if part is None:
                    break
                done += len(part)
                step += part
                weight += _weight(part)
                if len(step) + at_once > size or weight > MOST_TEXT:
                    yield step
                    step, weight = [], 0
        if step:
            yield step

    def _unreadable(self, spec: QuerySpec, done: int) -> TransferError:
        """The error for the first row of these, after so many, that cannot be read."""
        info = self.info
        for field in (f for f in spec.columns if f not in info.key):
            keys = self.runner.rows(spec.but(columns=info.key, offset=done, limit=MOST_ROWS))
            for key in map(tuple, keys):
                where = spec.and_where(among(info.key, [key]))
                try:
                    self.runner.rows(spec.but(columns=(field,), where=where, order=()))
                except UNREADABLE:
                    return TransferError(
                        f"{field.label} of {info.name} {label_of(info, key)!r} holds what is no {field.kind.value}",
                        hint=f"correct it in the database: {info.name} cannot read it either",
                    )
        return TransferError(f"a row of {info.name} holds what its columns cannot read")

    def stored(self, keys: Sequence[Row]) -> dict[Row, Row]:
        """The rows of these keys that are there."""
        spec = self.query._spec.but(columns=self.info.fields)
        found: dict[Row, Row] = {}
        for part in parts_of(list(keys)):
            where = spec.and_where(among(self.info.key, part))
            with naming(self.db):
                rows = list(map(tuple, self.runner.rows(spec.but(where=where))))
            found.update((self.key_of(row), row) for row in rows)
        return found

    @property
    def can_go_on(self) -> bool:
        """Can rows be stored after some were refused?"""
        return self.runner.block is None or Capability.SAVEPOINTS in self.db.capabilities

    def savepoint(self) -> AbstractContextManager[Any]:
        """Within a transaction one that a refused row ends in its place, where the engine has any."""
        is_within = self.runner.block is not None and Capability.SAVEPOINTS in self.db.capabilities
        return self.db.transaction() if is_within else nullcontext()

    @property
    def looks_for_parents(self) -> bool:
        """Does its engine refuse a row whose parent is not there?"""
        return Capability.FOREIGN_KEYS in self.runner.engine.capabilities

    def parents(self, reference: Reference, keys: Collection[Row]) -> set[Row]:
        """Those of these keys that a parent has."""
        parent = self.runner.reader(reference.parent.cls).model
        found: set[Row] = set()
        for part in parts_of(list(keys)):
            spec = QuerySpec(parent, reference.keys, where=among(reference.keys, part))
            found.update(map(tuple, self.runner.rows(spec)))
        return found

    def insert(self, rows: Sequence[Row], on_conflict: OnConflict) -> BulkResult:
        """Store whole rows, all or none where the engine has transactions."""
        given: Any = Tuples(self.names, rows)
        with naming(self.db), self.savepoint():
            return self.query.bulk_insert(given, on_conflict=on_conflict)

    def check(self, row: Row) -> None:
        """Raise InvalidValueError or NotNullError for a row that this side cannot hold. Sends nothing."""
        self._plan.one(dict(zip(self.names, row, strict=True)))

    def check_all(self, rows: Sequence[Row]) -> None:
        """``check``, for many at once."""
        for _batch in self._plan.batches(Tuples(self.names, rows), 1):
            pass


def orphans(
    rows: Sequence[Row], source: Side, target: Side, copied: Collection[str]
) -> Iterator[tuple[Row, Reference]]:
    """Those of these rows whose parents would not be there, each with the foreign key that names none.

    A parent is on the target, or comes with its table, which is then one of those ``copied``."""
    places = {f.column: at for at, f in enumerate(source.info.fields)}
    for reference in references_of(source.info):
        at = [places[f.column] for f in reference.fields if f.column in places]
        if len(at) < len(reference.fields):
            continue
        named = [tuple([row[n] for n in at]) for row in rows]
        wanted = {key for key in named if None not in key}
        side = source if reference.parent.store in copied else target
        wanted -= side.parents(reference, wanted)
        yield from ((row, reference) for row, key in zip(rows, named, strict=True) if key in wanted)


def _weight(rows: Sequence[Row]) -> int:
    """The length of their texts, about."""
    some = rows[::SAMPLED]
    found = sum([len(value) for row in some for value in row if type(value) is str])
    return found * len(rows) // max(len(some), 1)
