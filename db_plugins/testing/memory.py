"""``ENGINE: "memory"``: a complete engine in plain Python, and the tutorial for writing one.

It is the reference for what every node means (``evaluate``) and the whole of the seam in one file:

    MemoryEngine      compiles nothing (a spec runs as it is), has no driver whose errors need a name
    MemoryConnection  fetch, count, insert, update, delete over a dict of rows; create, drop; begin
    MemoryTransaction the same on a copy; commit writes back what nobody else has changed

A table is ``{primary key: row}`` and a row a tuple in the order of the model's fields. Rows are never changed in place,
so that *is this still the row I read?* is asked with ``is``.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping, Sequence
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
    SupportsStorage,
    SupportsTransactions,
    TransactionConnection,
)
from ..errors import ConflictError, DbPluginsError, DuplicateKeyError
from ..evaluation import compute, evaluate, sort_rows
from ..hookspecs import hookimpl
from ..models import Field, Kind, ModelInfo, Unique
from ..nodes import Operand
from ..spec import QuerySpec

__all__ = ["MemoryConnection", "MemoryEngine", "MemoryTransaction", "dbp_register_engine"]

Row = tuple[Any, ...]


class MemoryEngine(Engine):
    """Runs every spec as it is, over Python objects."""

    name = "memory"
    capabilities = frozenset(
        {
            Capability.WRITE,
            Capability.UNIQUE,
            Capability.TRANSACTIONS,
            Capability.SAVEPOINTS,
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


class _Table:
    """The rows of one model's table, and the last number given to a key."""

    def __init__(self, rows: dict[Row, Row] | None = None, last: int = 0) -> None:
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
        with self.lock:
            spec = query.spec
            rows = self._window(spec, sort_rows(self._select(spec), spec.order, _reader_of(spec.model)))
        at = [spec.model.fields.index(f) for f in spec.columns]
        documents = {i for i in at if spec.model.fields[i].kind is Kind.JSON}
        result = [tuple([copy.deepcopy(r[i]) if i in documents else r[i] for i in at]) for r in rows]
        size = batch or max(len(result), 1)
        for start in range(0, len(result), size):
            yield result[start : start + size]

    def count(self, query: Compiled) -> int:
        with self.lock:
            return len(self._window(query.spec, self._select(query.spec)))

    def _select(self, spec: QuerySpec) -> list[Row]:
        rows = self._table(spec.model).rows.values()
        if spec.where is None:
            return list(rows)
        return [row for row in rows if evaluate(spec.where, _as_mapping(spec.model, row))]

    @staticmethod
    def _window(spec: QuerySpec, rows: list[Row]) -> list[Row]:
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
            new = [self._complete(changed, model, given, row) for row in rows]
            _put(changed.rows, model, new)
            table.rows, table.last = changed.rows, changed.last
        at = [model.fields.index(f) for f in returning]
        return BulkResult(
            inserted=len(new), rows=[tuple([row[i] for i in at]) for row in new] if returning else ()
        )

    @staticmethod
    def _complete(table: _Table, model: ModelInfo, given: tuple[Field, ...], values: Row) -> Row:
        by_field = dict(zip(given, values, strict=True))
        if model.numbered is not None:
            number = by_field.setdefault(model.numbered, table.last + 1)
            table.last = max(table.last, number)
        return tuple([by_field.get(f) for f in model.fields])

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
                    engine="memory",
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


def _as_mapping(info: ModelInfo, row: Row) -> dict[str, Any]:
    return dict(zip((f.name for f in info.fields), row, strict=True))


def _reader_of(info: ModelInfo) -> Any:
    at = {f.name: i for i, f in enumerate(info.fields)}
    return lambda row, name: row[at[name]]


def _key(info: ModelInfo, row: Row) -> Row:
    return tuple([row[info.fields.index(f)] for f in info.key])


def _changed(info: ModelInfo, row: Row, values: Mapping[Field, Operand]) -> Row:
    before = _as_mapping(info, row)
    return tuple([compute(values[f], before) if f in values else before[f.name] for f in info.fields])


def _put(rows: dict[Row, Row], info: ModelInfo, new: Sequence[Row]) -> None:
    """Add rows whose unique keys nobody has. NULL differs from NULL in all but the primary key, as in SQL."""
    for unique in info.uniques:
        at = [info.fields.index(f) for f in unique.fields]
        taken = set() if unique.fields == info.key else {tuple([row[i] for i in at]) for row in rows.values()}
        for row in new:
            mine = tuple([row[i] for i in at])
            if (mine in taken and None not in mine) or (unique.fields == info.key and mine in rows):
                raise _duplicate(info, unique)
            taken.add(mine)
    for row in new:
        rows[_key(info, row)] = row


def _duplicate(info: ModelInfo, unique: Unique) -> DuplicateKeyError:
    names = tuple(f.name for f in unique.fields)
    return DuplicateKeyError(
        f"a {info.name} with the same {', '.join(names)} is already there", attributes=names, engine="memory"
    )


@hookimpl
def dbp_register_engine() -> type[Engine]:
    """Answers to ``ENGINE: "memory"``."""
    return MemoryEngine
