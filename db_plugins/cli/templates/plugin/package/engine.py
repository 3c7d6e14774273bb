"""The engine and its connection. As it was written it passes the conformance kit, and keeps its rows in memory.

Make it yours in this order, and run the kit after each step. The page "Writing an engine plugin" of the documentation goes
through all of them:

    1. MyEngineConnection.__init__, read, write and close    your driver, where the rows are
    2. MyEngine.classify                                     what your driver's exceptions mean
    3. MyEngine.compile, then fetch, update and delete       what your database filters, sorts and counts by itself
    4. MyEngine.capabilities                                 what it can promise
"""

import json
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Table

from db_plugins import Capability, hookimpl
from db_plugins.engine import (
    BulkResult,
    Compiled,
    Conflict,
    Connection,
    Engine,
    Operand,
    QuerySpec,
    Settings,
    SupportsStorage,
    calculated,
    evaluate,
    refuse_duplicates,
    sort_rows,
)
from db_plugins.errors import DbPluginsError
from db_plugins.models import Field, ModelInfo, from_json, to_json

#: A row as it is stored: JSON values by the columns' names.
Line = dict[str, Any]


class MyEngine(Engine):
    """``{"ENGINE": "myengine"}``. It compiles and classifies; only ``connect`` reaches out."""

    name = "myengine"
    # Claim what your database can promise, and no more: what is claimed is proved by the kit, and what is not is refused
    # before it reaches you. TRANSACTIONS needs the role SupportsTransactions, NATIVE_ASYNC the role SupportsAsync.
    capabilities = frozenset(
        {
            Capability.WRITE,
            Capability.UNIQUE,
            Capability.MICROSECONDS,
            Capability.EXACT_DECIMAL,
            Capability.UNICODE_CASE,
        }
    )

    def compile(self, spec: QuerySpec) -> Compiled:
        # Here every query is taken as it is, for its rows are filtered in Python. Say it in your database's own words, and
        # leave to the core what it has no words for: Compiled(…, residual=spec.where, sorted=False).
        return Compiled(spec, native=spec.where, text=f"{spec.model.store} where {spec.where}")

    def classify(self, exc: Exception) -> DbPluginsError | None:
        # An error of db_plugins.errors for an exception of your driver, by its code; None for what is not your driver's.
        return None

    def connect(self, settings: Settings) -> "MyEngineConnection":
        # settings.host, .port, .user, .password, .database, .options: what the entry of DB_CONFIG says.
        return MyEngineConnection()


class MyEngineConnection(Connection, SupportsStorage):
    """Runs what was compiled. Threads share it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.tables: dict[str, list[str]] = {}
        self.numbers: dict[str, int] = {}

    # -- your database

    def read(self, table: str) -> Iterator[Line]:
        """The rows of a table."""
        return map(json.loads, list(self.tables.get(table, ())))

    def write(self, table: str, lines: Iterable[Line]) -> None:
        """Put these rows in the place of the old ones, all of them or none."""
        self.tables[table] = [json.dumps(line, allow_nan=False) for line in lines]

    def close(self) -> None:
        """Give the driver's connections back."""

    # -- reading

    def fetch(self, query: Compiled, batch: int | None = None) -> Iterator[list[tuple[Any, ...]]]:
        rows = self.found(query.spec)
        while part := list(islice(rows, batch or 1000)):
            yield [tuple([row[field.name] for field in query.spec.columns]) for row in part]

    def count(self, query: Compiled) -> int:
        return sum(1 for _ in self.found(query.spec))

    def found(self, spec: QuerySpec) -> Iterator[dict[str, Any]]:
        lines = [line for line in self.read(spec.model.store) if is_of(spec, line)]
        rows = [decode(spec.model.fields, line) for line in lines]
        ordered = sort_rows(rows, spec.order, dict.__getitem__)
        return islice(ordered, spec.offset, None if spec.limit is None else spec.offset + spec.limit)

    # -- writing

    def insert(
        self,
        model: ModelInfo,
        given: tuple[Field, ...],
        rows: Sequence[tuple[Any, ...]],
        conflict: Conflict | None,
        returning: tuple[Field, ...],
    ) -> BulkResult:
        # Without ``conflict`` a unique key that is there already is a DuplicateKeyError. With it, the stored row is left as it
        # is or changed: INSERT … ON CONFLICT, an upsert.
        new = [encode(zip(given, row, strict=True)) for row in rows]
        waiting = {cells(conflict.key, line) if conflict else at: line for at, line in enumerate(new)}

        def meet(old: Line) -> Line:
            line = waiting.pop(cells(conflict.key, old), None) if conflict else None
            if conflict is None or line is None:
                return old
            taken = {field.column: line[field.column] for field in conflict.columns}
            return {**changed(model, old, conflict.update), **taken}

        met, stored = self.rewrite(model, meet, waiting.values())
        answer = [tuple(decode(returning, line).values()) for line in stored] if returning else ()
        is_update = conflict is not None and conflict.action == "update"
        return BulkResult(len(waiting), met if is_update else 0, 0 if is_update else met, rows=answer)

    def update(self, query: Compiled, values: Mapping[Field, Operand]) -> int:
        spec, model = query.spec, query.spec.model
        return self.rewrite(model, lambda old: changed(model, old, values) if is_of(spec, old) else old)[0]

    def delete(self, query: Compiled) -> int:
        return self.rewrite(query.spec.model, lambda old: None if is_of(query.spec, old) else old)[0]

    def rewrite(
        self, model: ModelInfo, change: Callable[[Line], Line | None], new: Collection[Line] = ()
    ) -> tuple[int, list[Line]]:
        """Store each row as ``change`` gives it, None for none, and the new ones. How many changed; those, and the new."""
        with self.lock:
            pairs = [(old, change(old)) for old in self.read(model.store)]
            fresh = [line for old, line in pairs if line is not None and line is not old]
            self.number(model, new)
            fresh.extend(new)
            kept = [line for _, line in pairs if line is not None]
            refuse_duplicates(model, fresh, (*kept, *new))
            self.write(model.store, (*kept, *new))
        return sum(line is not old for old, line in pairs), fresh

    def number(self, model: ModelInfo, new: Collection[Line]) -> None:
        """Give keys to rows without one. None is ever given twice, also if its row has gone."""
        if model.numbered is not None:
            last = self.numbers.get(model.store, 0)
            for line in new:
                last = max(last, line.setdefault(model.numbered.column, last + 1))
            self.numbers[model.store] = last

    # -- making tables: the role SupportsStorage

    def create(self, models: Sequence[ModelInfo], links: Sequence[Table]) -> None:
        with self.lock:
            for name in names_of(models, links):
                self.tables.setdefault(name, [])

    def drop(self, models: Sequence[ModelInfo], links: Sequence[Table]) -> None:
        with self.lock:
            for name in names_of(models, links):
                self.tables.pop(name, None)
                self.numbers.pop(name, None)

    def existing(self) -> set[str]:
        return set(self.tables)

    def version(self) -> str:
        # Ask your server, which shows that it can be reached.
        return "0.1.0"


def encode(values: Iterable[tuple[Field, Any]]) -> Line:
    """Checked values as they are stored: JSON's, here."""
    return {field.column: to_json(field, value) for field, value in values}


def decode(fields: Iterable[Field], line: Line) -> dict[str, Any]:
    """A stored row as filters and calculations see it: Python values by attribute, NULL as None."""
    return {field.name: from_json(field, line.get(field.column)) for field in fields}


def is_of(spec: QuerySpec, line: Line) -> bool:
    return spec.where is None or evaluate(spec.where, decode(spec.model.fields, line))


def changed(model: ModelInfo, line: Line, values: Mapping[Field, Operand]) -> Line:
    return {**line, **encode(calculated(values, decode(model.fields, line)).items())}


def cells(fields: Iterable[Field], line: Line) -> tuple[Any, ...]:
    return tuple([line.get(field.column) for field in fields])


def names_of(models: Iterable[ModelInfo], links: Iterable[Table]) -> set[str]:
    return {*(model.store for model in models), *(link.name for link in links)}


@hookimpl
def dbp_register_engine() -> type[Engine]:
    """Called once, when a name of this plugin is first asked for."""
    return MyEngine
