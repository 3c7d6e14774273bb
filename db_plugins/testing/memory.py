"""``ENGINE: "memory"``: a complete engine in plain Python, and the tutorial for writing one.

It is the reference for what every node means (``evaluate``) and the whole of the seam in one file:

    MemoryEngine      compiles nothing (a spec runs as it is), has no driver whose errors need a name
    MemoryConnection  fetch, count, insert, update, delete over a dict of rows; create, drop; begin
    MemoryTransaction the same on a copy; commit writes back what nobody else has changed

A table is ``{primary key: row}`` and a row ``{column: value}``. Rows are never changed in place, so that *is this still
the row I read?* is asked with ``is``.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ..config import Settings
from ..engine import (
    BulkResult,
    Capability,
    Compiled,
    Conflict,
    Connection,
    Engine,
    SupportsAsync,
    SupportsStorage,
    SupportsTransactions,
    TransactionConnection,
    calculated,
    evaluate,
    sort_rows,
)
from ..errors import ConflictError, DbPluginsError
from ..hookspecs import hookimpl
from ..models import Field, Kind, ModelInfo
from ..nodes import Operand, Value
from ..spec import QuerySpec

__all__ = ["MemoryConnection", "MemoryEngine", "MemoryTransaction", "dbp_register_engine"]

Row = tuple[Any, ...]
Stored = dict[str, Any]


class MemoryEngine(Engine, SupportsAsync):
    """Runs every spec as it is, over Python objects."""

    name = "memory"
    capabilities = frozenset(
        {
            Capability.WRITE,
            Capability.UNIQUE,
            Capability.TRANSACTIONS,
            Capability.SAVEPOINTS,
            Capability.NATIVE_ASYNC,
            Capability.MICROSECONDS,
            Capability.EXACT_DECIMAL,
            Capability.INFINITY,
            Capability.UNICODE_CASE,
        }
    )

    def compile(self, spec: QuerySpec) -> Compiled:
        return Compiled(spec, native=spec, text=repr(spec))

    def classify(self, exc: Exception) -> DbPluginsError | None:
        return None  # there is no driver

    def connect(self, settings: Settings) -> MemoryConnection:
        return MemoryConnection(self)

    def connect_async(self, settings: Settings) -> MemoryConnection:
        # Nothing here waits for anybody, and the rows are the same in every loop.
        self._shared = self._shared or MemoryConnection(self)
        return self._shared

    _shared: MemoryConnection | None = None


class _Table:
    """The rows of one model's table, and the last number given to a key."""

    def __init__(self, rows: dict[Row, Stored] | None = None, last: int = 0) -> None:
        self.rows = rows if rows is not None else {}
        self.last = last


class MemoryConnection(Connection, SupportsStorage, SupportsTransactions):
    """Tables in a dict, one lock around every call."""

    def __init__(self, engine: MemoryEngine, tables: dict[str, _Table] | None = None) -> None:
        self.engine = engine
        self.lock = threading.RLock()
        self.tables: dict[str, _Table] = tables if tables is not None else {}

    # -- reads -----------------------------------------------------------------------------------------------------

    def fetch(self, query: Compiled, batch: int | None = None) -> Iterator[list[Row]]:
        spec = query.spec
        with self.lock:
            columns = {f.name: f.column for f in spec.model.fields}
            ordered = sort_rows(self._select(spec), spec.order, lambda row, name: row.get(columns[name]))
            rows = self._window(spec, ordered)
        result = [_values(row, spec.columns) for row in rows]
        size = batch or max(len(result), 1)
        for start in range(0, len(result), size):
            yield result[start : start + size]

    def count(self, query: Compiled) -> int:
        with self.lock:
            return len(self._window(query.spec, self._select(query.spec)))

    def _select(self, spec: QuerySpec) -> list[Stored]:
        rows = self._table(spec.model).rows.values()
        where = spec.where
        if where is None:
            return list(rows)
        columns = [(f.name, f.column) for f in spec.model.fields]
        return [row for row in rows if evaluate(where, {name: row.get(at) for name, at in columns})]

    @staticmethod
    def _window(spec: QuerySpec, rows: list[Stored]) -> list[Stored]:
        return rows[spec.offset : None if spec.limit is None else spec.offset + spec.limit]

    def _table(self, info: ModelInfo) -> _Table:
        return self.tables.setdefault(info.store, _Table())

    # -- writes ----------------------------------------------------------------------------------------------------

    def insert(
        self,
        model: ModelInfo,
        given: tuple[Field, ...],
        rows: Sequence[Row],
        conflict: Conflict | None,
        returning: tuple[Field, ...],
    ) -> BulkResult:
        with self.lock:
            table = self._table(model)
            changed = _Table(dict(table.rows), table.last)
            there = {} if conflict is None else _by(conflict.key, table.rows.values())
            new: list[Stored] = []
            updated: list[Stored] = []
            ignored = 0
            for row in rows:
                values = dict(zip(given, row, strict=True))
                met = there.get(tuple([values[f] for f in conflict.key])) if conflict is not None else None
                if met is None:
                    new.append(self._complete(changed, model, given, row))
                elif conflict is not None and conflict.action == "update":
                    del changed.rows[_key(model, met)]
                    given_values = {f: Value(values[f], f) for f in conflict.columns}
                    updated.append(_changed(model, met, {**given_values, **conflict.update}))
                else:
                    ignored += 1
            _put(changed.rows, model, [*new, *updated])
            table.rows, table.last = changed.rows, changed.last
        stored = [_values(row, returning) for row in (*new, *updated)] if returning else ()
        return BulkResult(len(new), len(updated), ignored, rows=stored)

    @staticmethod
    def _complete(table: _Table, model: ModelInfo, given: tuple[Field, ...], values: Row) -> Stored:
        row = {f.column: value for f, value in zip(given, values, strict=True)}
        if model.numbered is not None:
            number = row.setdefault(model.numbered.column, table.last + 1)
            table.last = max(table.last, number)
        return row

    def update(self, query: Compiled, values: Mapping[Field, Operand]) -> int:
        model = query.spec.model
        with self.lock:
            table = self._table(model)
            rows = dict(table.rows)
            found = self._select(query.spec)
            for row in found:
                del rows[_key(model, row)]
            _put(rows, model, [_changed(model, row, values) for row in found])
            table.rows = rows
        return len(found)

    def update_each(
        self, model: ModelInfo, key: tuple[Field, ...], columns: tuple[Field, ...], rows: Sequence[Row]
    ) -> int:
        width = len(key)
        with self.lock:
            table = self._table(model)
            there = _by(key, table.rows.values())
            found = [(there[row[:width]], row[width:]) for row in rows if row[:width] in there]
            changed = dict(table.rows)
            for met, _ in found:
                del changed[_key(model, met)]
            new = [
                _changed(model, met, {f: Value(v, f) for f, v in zip(columns, values, strict=True)})
                for met, values in found
            ]
            _put(changed, model, new)
            table.rows = changed
        return len(found)

    def delete(self, query: Compiled) -> int:
        with self.lock:
            found = {_key(query.spec.model, row) for row in self._select(query.spec)}
            table = self._table(query.spec.model)
            table.rows = {key: row for key, row in table.rows.items() if key not in found}
        return len(found)

    def close(self) -> None:
        pass

    @property
    def native(self) -> dict[str, _Table]:
        return self.tables

    # -- roles -----------------------------------------------------------------------------------------------------

    def create(self, models: Sequence[ModelInfo], links: Sequence[sa.Table]) -> None:
        for name in [*(m.store for m in models), *(t.name for t in links)]:
            self.tables.setdefault(name, _Table())

    def drop(self, models: Sequence[ModelInfo], links: Sequence[sa.Table]) -> None:
        for name in [*(m.store for m in models), *(t.name for t in links)]:
            self.tables.pop(name, None)

    def existing(self) -> set[str]:
        return set(self.tables)

    def version(self) -> str:
        from .. import __version__

        return __version__

    def begin(self, isolation: str = "snapshot", *, read_only: bool = False) -> MemoryTransaction:
        return MemoryTransaction(self)


class MemoryTransaction(MemoryConnection, TransactionConnection):
    """A copy of the tables; ``commit`` writes back the rows that changed, if nobody else changed them meanwhile."""

    def __init__(self, parent: MemoryConnection) -> None:
        with parent.lock:
            before = {name: _Table(dict(t.rows), t.last) for name, t in parent.tables.items()}
        super().__init__(parent.engine, {name: _Table(dict(t.rows), t.last) for name, t in before.items()})
        self.parent = parent
        self.before = before

    def commit(self) -> None:
        with self.parent.lock:
            merged = {name: self._merged(name, mine) for name, mine in self.tables.items()}
            self.parent.tables.update(merged)

    def _merged(self, name: str, mine: _Table) -> _Table:
        before = self.before.get(name, _Table()).rows
        theirs = self.parent.tables.get(name, _Table())
        rows = dict(theirs.rows)
        for key in {**before, **mine.rows}:
            if mine.rows.get(key) is before.get(key):
                continue
            if rows.get(key) is not before.get(key):
                raise ConflictError(
                    f"a row of {name} was changed by another transaction",
                    hint="run it again",
                )
            rows.pop(key, None)
            if key in mine.rows:
                rows[key] = mine.rows[key]
        return _Table(rows, max(mine.last, theirs.last))

    def rollback(self) -> None:
        self.tables = {}

    def savepoint(self) -> MemoryTransaction:
        return MemoryTransaction(self)


def _as_mapping(info: ModelInfo, row: Stored) -> dict[str, Any]:
    return {f.name: row.get(f.column) for f in info.fields}


def _values(row: Stored, fields: Sequence[Field]) -> Row:
    """The values of these fields; documents and lists are copied, so that nobody changes what is stored."""
    return tuple([_COPIES.get(f.kind, _itself)(row.get(f.column)) for f in fields])


def _itself(value: Any) -> Any:
    return value


_COPIES: dict[Kind, Callable[[Any], Any]] = {Kind.JSON: copy.deepcopy, Kind.VECTOR: copy.copy}


def _key(info: ModelInfo, row: Stored) -> Row:
    return tuple([row.get(f.column) for f in info.key])


def _by(fields: Sequence[Field], rows: Iterable[Stored]) -> dict[Row, Stored]:
    """The rows by the values of a unique key; one with NULL in it meets nobody."""
    return {tuple([row.get(f.column) for f in fields]): row for row in rows}


def _changed(info: ModelInfo, row: Stored, values: Mapping[Field, Operand]) -> Stored:
    made = calculated(values, _as_mapping(info, row))
    return {**row, **{f.column: value for f, value in made.items()}}


def _put(rows: dict[Row, Stored], info: ModelInfo, new: Sequence[Stored]) -> None:
    """Add rows whose unique keys nobody has. NULL differs from NULL in all but the primary key, as in SQL."""
    for unique in info.uniques:
        columns = [f.column for f in unique.fields]
        is_key = unique.fields == info.key
        taken = set() if is_key else {tuple([row.get(c) for c in columns]) for row in rows.values()}
        for row in new:
            mine = tuple([row.get(c) for c in columns])
            if (mine in taken and None not in mine) or (is_key and mine in rows):
                raise info.duplicate(unique)
            taken.add(mine)
    for row in new:
        rows[_key(info, row)] = row


@hookimpl
def dbp_register_engine() -> type[Engine]:
    """Answers to ``ENGINE: "memory"``."""
    return MemoryEngine
