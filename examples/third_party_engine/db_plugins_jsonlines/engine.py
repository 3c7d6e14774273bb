"""The engine and its connection: what db_plugins asks of a plugin, over a folder of files."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Table

from db_plugins import Capability, errors, hookimpl
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
from db_plugins.models import Field, ModelInfo, from_json, to_json

from .folder import Folder, Line


class JsonLinesEngine(Engine):
    """``{"ENGINE": "jsonlines", "DB_NAME": "folder"}``."""

    name = "jsonlines"
    # Not INFINITY, for JSON has no word for it; nor TRANSACTIONS, for two files cannot be replaced as one.
    capabilities = frozenset(
        map(Capability, ("WRITE", "UNIQUE", "MICROSECONDS", "EXACT_DECIMAL", "UNICODE_CASE"))
    )

    def compile(self, spec: QuerySpec) -> Compiled:
        return Compiled(spec, native=spec.where, text=f"{spec.model.store}.jsonl where {spec.where}")

    def classify(self, exc: Exception) -> errors.DbPluginsError | None:
        if isinstance(exc, FileNotFoundError):
            return errors.DatabaseMissingError(f"there is no {exc.filename}", hint="run `dbp initdb`")
        if isinstance(exc, OSError):
            return errors.EngineError(f"{exc.filename}: {exc.strerror}")
        if isinstance(exc, json.JSONDecodeError):
            return errors.EngineError(f"a line is not JSON: {exc.msg}", hint="mend the file by hand")
        return None

    def connect(self, settings: Settings) -> "JsonLinesConnection":
        return JsonLinesConnection(Folder(Path(settings.database or ".")))


class JsonLinesConnection(Connection, SupportsStorage):
    """One folder. It keeps nothing open, so that threads, processes and a forked child may share it."""

    rows_at_once = 10_000  # of a bulk write: each part writes the file anew

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def fetch(self, query: Compiled, batch: int | None = None) -> Iterator[list[tuple[Any, ...]]]:
        rows = self.found(query.spec)
        while part := list(islice(rows, batch or 1000)):
            yield [tuple([row[field.name] for field in query.spec.columns]) for row in part]

    def count(self, query: Compiled) -> int:
        return sum(1 for _ in self.found(query.spec))

    def found(self, spec: QuerySpec) -> Iterator[dict[str, Any]]:
        """The rows of a query, by attribute: those that meet the condition, in order, and of them the window."""
        lines = (line for line in self.folder.read(spec.model.store) if is_of(spec, line))
        rows: Iterable[dict[str, Any]] = (decode(spec.model.fields, line) for line in lines)
        if spec.order:
            rows = sort_rows(list(rows), spec.order, dict.__getitem__)
        return islice(rows, spec.offset, None if spec.limit is None else spec.offset + spec.limit)

    def insert(
        self,
        model: ModelInfo,
        given: tuple[Field, ...],
        rows: Sequence[tuple[Any, ...]],
        conflict: Conflict | None,
        returning: tuple[Field, ...],
    ) -> BulkResult:
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
        """Store each line as ``change`` gives it, None for none, then the new ones. How many changed; these and the new."""
        met, fresh = 0, list[Line]()

        def lines() -> Iterator[Line]:
            nonlocal met
            for old in self.folder.read(model.store):
                line = change(old)
                met += line is not old
                fresh.extend([line] if line is not None and line is not old else ())
                yield from [line] if line is not None else ()
            fresh.extend(new)
            yield from new

        with self.folder.lock():
            if model.numbered is not None and new:
                self.folder.number(model.store, model.numbered.column, new)
            self.folder.store(model.store, lines(), lambda stored: refuse_duplicates(model, fresh, stored))
        return met, fresh

    def close(self) -> None:
        """There is nothing to give back."""

    def create(self, models: Sequence[ModelInfo], links: Sequence[Table]) -> None:
        self.folder.path.mkdir(parents=True, exist_ok=True)
        for name in names_of(models, links):
            self.folder.file(name).touch()

    def drop(self, models: Sequence[ModelInfo], links: Sequence[Table]) -> None:
        for name in names_of(models, links):
            self.folder.file(name).unlink(missing_ok=True)
            self.folder.file(name, ".last").unlink(missing_ok=True)

    def existing(self) -> set[str]:
        return self.folder.tables() if self.folder.path.exists() else set()

    def version(self) -> str:
        return version("db-plugins-jsonlines")


def encode(values: Iterable[tuple[Field, Any]]) -> Line:
    return {field.column: to_json(field, value) for field, value in values}


def decode(fields: Iterable[Field], line: Line) -> dict[str, Any]:
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
    return JsonLinesEngine
