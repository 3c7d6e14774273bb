"""Rows in, by statements that are compiled once: ``Writer`` does it in any dialect, and those that can do better derive.

    Writer ── SQLiteWriter, PostgreSQLWriter
    Desk      what a Writer works with for the length of one call: a connection, its statements, its words

In a dialect that has no ON CONFLICT for one key alone (MariaDB's ON DUPLICATE KEY heeds them all), rows that may be there
are looked up and locked first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from db_plugins.engine import BulkResult, Conflict, wait
from db_plugins.errors import DbPluginsError, DuplicateKeyError
from db_plugins.joining import among, parts_of
from db_plugins.models import Field, ModelInfo
from db_plugins.nodes import Column, Compare, Operand, Value, all_of
from db_plugins.spec import Order, QuerySpec
from db_plugins.watching import Sent, sending, started

from .compiler import Words
from .errors import attributes_of
from .prepared import Preparations, Prepared
from .reads import wrapped
from .shapes import Slot

__all__ = ["Desk", "Facts", "MetLateError", "Writer", "bound", "places_of", "sorted_by_key"]

Row = tuple[Any, ...]
T = TypeVar("T")
#: Drivers whose ``executemany`` does not say how many rows it concerned.
_UNCOUNTED = {"asyncpg"}
#: What writers have learnt of tables, by keys of their own.
Facts = dict[Any, Any]


class MetLateError(Exception):
    """A row came to be there after it was looked for: the work is to be done again from the beginning."""


class Desk:
    """One call's connection, with the statements that are kept for it."""

    def __init__(
        self,
        connection: sa.Connection,
        preparations: Preparations,
        words: Callable[[QuerySpec], Words],
        engine_words: Words,
        classify: Callable[[Exception], DbPluginsError | None],
    ) -> None:
        self.connection = connection
        self.dialect = connection.dialect
        self.words = words
        self.engine_words = engine_words
        self.classify = classify
        #: Is it kept for other calls, of a transaction or over the connection at hand?
        self.is_lasting = False
        self._idle: Any = None
        #: Has the statement moved the numbering past a key given by hand?
        self.is_numbered = False
        self._preparations = preparations

    @property
    def facts(self) -> Facts:
        """What is known of the tables, until some are made or dropped."""
        return self._preparations.facts

    @property
    def is_direct(self) -> bool:
        """May statements go to the driver directly? Not while anybody listens to SQLAlchemy's."""
        return self._preparations.is_possible

    @cached_property
    def driver(self) -> Any:
        """The driver's connection."""
        return self.connection.connection.dbapi_connection

    def kept(
        self, key: Any, make: Callable[[], tuple[Any, int]], returning: Sequence[Field] = ()
    ) -> Prepared:
        """The compiled form of a statement, of which ``make`` gives the first one, and how many values it takes."""
        return self._preparations.kept(key, lambda: Prepared(self.dialect, *make(), columns=returning))

    def memo(self, key: Any, make: Callable[[], T]) -> T:
        """What was worked out once for this database."""
        return self._preparations.kept(key, make)

    def run(self, statement: Prepared, row: Row) -> tuple[Sequence[Row], int]:
        """The rows that a statement returns, and how many it concerned."""
        parameters = statement.parameters(row)
        if not self.is_direct:
            result = self.connection.exec_driver_sql(statement.text, parameters)
            if not result.returns_rows:
                return (), result.rowcount
            statement.description = statement.description or result.cursor.description
            found: Sequence[Row] = [tuple(each) for each in result.all()]
            return statement.rows(found), len(found)
        cursor = self._cursor()
        sent = started(statement.text)
        try:
            cursor.execute(statement.text, parameters)
            # Once: psycopg makes it anew each time, in a tenth of the time of an insert.
            if statement.description is None:
                statement.description = cursor.description
                if statement.description is None:
                    if sent is not None:
                        sent.end(rows=cursor.rowcount)
                    return (), cursor.rowcount
            rows = cursor.fetchall()
        except Exception as exc:
            raise self._failed(exc, cursor, sent) from exc
        finally:
            self._done(cursor)
        if sent is not None:
            sent.end(rows=len(rows))
        return statement.rows(rows), len(rows)

    def run_for_id(self, statement: Prepared, row: Row) -> Any:
        """Run an INSERT of one row; the number that the driver says it has got."""
        parameters = statement.parameters(row)
        if not self.is_direct:
            return self.connection.exec_driver_sql(statement.text, parameters).lastrowid
        cursor = self._cursor()
        sent = started(statement.text)
        try:
            cursor.execute(statement.text, parameters)
            number = cursor.lastrowid
        except Exception as exc:
            raise self._failed(exc, cursor, sent) from exc
        finally:
            self._done(cursor)
        if sent is not None:
            sent.end()
        return number

    def run_many(self, statement: Prepared, rows: Sequence[Row]) -> int:
        """Run it for each of the rows; how many it concerned in all."""
        parameters = statement.many(rows)
        if not self.is_direct:
            return self.connection.exec_driver_sql(statement.text, list(parameters)).rowcount
        with sending(statement.text) as sent, self.cursor() as cursor:
            cursor.executemany(statement.text, parameters)
            sent.rows = int(cursor.rowcount)
            return sent.rows

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """The driver's cursor, whose exceptions leave as SQLAlchemy would have wrapped them."""
        cursor = self.driver.cursor()
        try:
            yield cursor
        except Exception as exc:
            raise self._failed(exc, cursor) from exc
        finally:
            cursor.close()

    def waited(self, awaitable: Awaitable[T]) -> T:
        """What the driver's own connection gives when it is awaited; its exceptions leave as those of a cursor."""
        try:
            return wait(awaitable)
        except Exception as exc:
            raise self._failed(exc, None) from exc

    def _cursor(self) -> Any:
        """A cursor for a few rows: that of the call before, for making one takes as long as checking a row."""
        cursor, self._idle = self._idle, None
        return self.driver.cursor() if cursor is None else cursor

    def _done(self, cursor: Any) -> None:
        if self.is_lasting:
            self._idle = cursor
        else:
            cursor.close()

    def _failed(self, exc: Exception, cursor: Any, sent: Sent | None = None) -> Exception:
        failed = wrapped(self.dialect, self.driver, cursor, exc)
        if sent is not None:
            sent.end(failed)
        if getattr(failed, "connection_invalidated", False):
            self.connection.invalidate(exc)
        return failed


class Writer:
    """Writes by what every dialect has."""

    #: Rows that a bulk verb gives at a time, unless its caller says otherwise.
    rows_at_once = 1000

    def needs_transaction(
        self,
        facts: Facts,
        model: ModelInfo,
        given: tuple[Field, ...],
        count: int,
        conflict: Conflict | None,
        returning: tuple[Field, ...],
    ) -> bool:
        """Does an insert of so many rows take more than one statement?"""
        return count > 1 or conflict is not None

    def updates_need_transaction(
        self, facts: Facts, model: ModelInfo, fields: tuple[Field, ...], count: int
    ) -> bool:
        """Does an update of so many rows, with values of these fields, take more than one statement?"""
        return count > 1

    def store(
        self, desk: Desk, model: ModelInfo, given: tuple[Field, ...], row: Row, returning: tuple[Field, ...]
    ) -> Row:
        """Store one new row; the columns ``returning`` of it."""
        stored = self.insert(desk, model, given, [row], returning)[0]
        if model.numbered is not None and model.numbered in given:
            self.number_past(desk, model.numbered, row[given.index(model.numbered)])
        return stored

    def insert(
        self,
        desk: Desk,
        model: ModelInfo,
        given: tuple[Field, ...],
        rows: Sequence[Row],
        returning: tuple[Field, ...],
    ) -> Sequence[Row]:
        """Store new rows; the columns ``returning`` of each, in the order given."""
        if not returning:
            statement = self.inserting(desk, model, given)
            if len(rows) == 1 or not given:
                for row in rows:
                    desk.run(statement, row)
            else:
                desk.run_many(statement, rows)
            return ()
        if not desk.dialect.insert_returning:
            return [self._store_and_read(desk.connection, model, given, row, returning) for row in rows]
        if len(rows) == 1 or not given:
            statement = self.inserting(desk, model, given, returning)
            return [desk.run(statement, row)[0][0] for row in rows]
        columns = [f.table_column for f in returning]
        keys = [f.table_column.key for f in given]
        many = sa.insert(model.table).returning(*columns, sort_by_parameter_order=True)
        values = [dict(zip(keys, row, strict=True)) for row in rows]
        return [tuple(row) for row in desk.connection.execute(many, values)]

    def inserting(
        self, desk: Desk, model: ModelInfo, given: tuple[Field, ...], returning: tuple[Field, ...] = ()
    ) -> Prepared:
        """INSERT of one row."""

        def make() -> tuple[Any, int]:
            made: Any = sa.insert(model.table).inline()
            if given:
                made = made.values({f.table_column: bound(f, at) for at, f in enumerate(given)})
            return (made.returning(*[f.table_column for f in returning]) if returning else made), len(given)

        return desk.kept(("insert", model, given, returning), make, returning)

    @staticmethod
    def _store_and_read(
        connection: sa.Connection,
        model: ModelInfo,
        given: tuple[Field, ...],
        row: Row,
        returning: tuple[Field, ...],
    ) -> Row:
        """For servers without RETURNING (MySQL): the key is the driver's last row id."""
        values = {f.table_column.key: value for f, value in zip(given, row, strict=True)}
        key = connection.execute(sa.insert(model.table), values or None).inserted_primary_key
        assert key is not None
        where = [f.table_column == part for f, part in zip(model.key, key, strict=True)]
        return tuple(connection.execute(sa.select(*[f.table_column for f in returning]).where(*where)).one())

    # -- rows that may be there ------------------------------------------------------------------------------------

    def insert_or(
        self,
        desk: Desk,
        model: ModelInfo,
        given: tuple[Field, ...],
        rows: Sequence[Row],
        conflict: Conflict,
        returning: tuple[Field, ...],
    ) -> BulkResult:
        """Store rows, and do as ``conflict`` says with those whose key is there."""
        pick = places_of(given, conflict.key)
        rows = sorted_by_key(rows, pick)
        there = self._locked(desk, model, conflict, [pick(row) for row in rows])
        new = [row for row in rows if pick(row) not in there]
        known = [row for row in rows if pick(row) in there]
        stored: Sequence[Row] = ()
        if new:
            try:
                stored = self.insert(desk, model, given, new, returning)
            except sa_exc.DBAPIError as exc:
                about = set(attributes_of(exc.orig or exc, model))
                is_duplicate = isinstance(desk.classify(exc), DuplicateKeyError)
                if is_duplicate and about == {f.name for f in conflict.key}:
                    raise MetLateError from exc
                raise
        if conflict.action == "ignore" or not known:
            return BulkResult(inserted=len(new), ignored=len(known), rows=stored)
        if conflict.update:
            named = QuerySpec(model, model.key, where=among(conflict.key, [pick(row) for row in known]))
            desk.connection.execute(desk.words(named).update(named, conflict.update))
        if conflict.columns:
            wanted = places_of(given, (*conflict.key, *conflict.columns))
            self.update_each(desk, model, conflict.key, conflict.columns, [wanted(row) for row in known])
        if returning and not stored:
            spec = QuerySpec(model, returning, where=among(conflict.key, [pick(known[0])]))
            stored = [tuple(row) for row in desk.connection.execute(desk.words(spec).select(spec))]
        return BulkResult(inserted=len(new), updated=len(known), rows=stored)

    def _locked(self, desk: Desk, model: ModelInfo, conflict: Conflict, keys: list[Row]) -> set[Row]:
        """Those of the keys that are there, held until the end of the transaction."""
        found: set[Row] = set()
        for part in parts_of(keys):
            # In the order of the keys, for a scan meets rows in that of the disk, and two would wait for each other.
            order = tuple(Order(f) for f in conflict.key)
            spec = QuerySpec(model, conflict.key, where=among(conflict.key, part), order=order)
            locking = desk.words(spec).select(spec).with_for_update()
            found.update(tuple(row) for row in desk.connection.execute(locking))
        return found

    # -- rows that are there ---------------------------------------------------------------------------------------

    def update_each(
        self,
        desk: Desk,
        model: ModelInfo,
        key: tuple[Field, ...],
        columns: tuple[Field, ...],
        rows: Sequence[Row],
    ) -> int:
        """Set ``columns`` in the rows that ``key`` names; how many there were."""
        statement, rows = self.updating(desk, model, key, columns), sorted_by_key(rows, places_of(key, key))
        if desk.dialect.driver in _UNCOUNTED:
            return sum(desk.run(statement, row)[1] for row in rows)
        return desk.run_many(statement, rows)

    def updating(
        self, desk: Desk, model: ModelInfo, key: tuple[Field, ...], columns: tuple[Field, ...]
    ) -> Prepared:
        """UPDATE of one row by its key, whose values come first."""

        def make() -> tuple[Any, int]:
            slots: list[Any] = [Slot(at, _SAMPLES) for at in range(len(key) + len(columns))]
            where = all_of(
                Compare("==", Column(f), Value(slot, f)) for f, slot in zip(key, slots, strict=False)
            )
            spec = QuerySpec(model, model.key, where=where)
            values: Mapping[Field, Operand] = {
                # SQLAlchemy would set a column with onupdate by itself, to a value that nobody gave.
                **{f: Column(f) for f in model.fields if f.onupdate is not None},
                **{f: Value(slot, f) for f, slot in zip(columns, slots[len(key) :], strict=True)},
            }
            return desk.words(spec).update(spec, values), len(slots)

        return desk.kept(("update", model, key, columns), make)

    # -- numbering -------------------------------------------------------------------------------------------------

    def number_past(self, desk: Desk, field: Field, highest: int) -> None:
        """Keys were given by hand: let the numbering go on after them, where the server does not see to it itself."""


#: What a Slot of a written value stands for, where a statement asks: a value that its column holds.
_SAMPLES = 0


def bound(field: Field, at: int) -> Any:
    """The place of the value number ``at`` of a row, typed like its column."""
    return sa.bindparam(None, Slot(at, _SAMPLES), type_=field.sql_type)


def places_of(given: Sequence[Field], wanted: Sequence[Field]) -> Callable[[Row], Row]:
    """The function from a row in the order of ``given`` to its values of ``wanted``."""
    places = [given.index(f) for f in wanted]
    return lambda row: tuple([row[at] for at in places])


def sorted_by_key(rows: Sequence[Row], pick: Callable[[Row], Row]) -> Sequence[Row]:
    """The rows in the order of their keys, in which every call locks them: so that no two wait for each other."""
    try:
        return sorted(rows, key=pick)
    except TypeError:  # enum members: any order will do that is always the same
        return sorted(rows, key=lambda row: repr(pick(row)))
