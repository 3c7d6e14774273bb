"""Between a query and its engine: compiles, runs, names errors, and finishes what the engine left over.

The one place where a driver's exception becomes ours, and where a residual condition or order is worked out.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from .blocks import Block
from .deleting import delete_together
from .engine import (
    BulkResult,
    Capability,
    Compiled,
    Conflict,
    Connection,
    Engine,
)
from .errors import EngineError, UnsupportedOperationError
from .evaluation import evaluate, sort_rows
from .expressions import Reader
from .foreign_keys import (
    Look,
    check_new_parents,
    check_parents,
    find_child,
    find_new_orphan,
    find_orphan,
    name_reference,
    needs_whole_keys,
)
from .joining import among, base_of, fetch_together
from .models import Field, ModelInfo, describe
from .models.objects import make_builder
from .nodes import Column, Compare, Node, Operand, Value, all_of
from .spec import QuerySpec
from .transacting import Transacting
from .watching import Call, Watch
from .wording import words_of_insert, words_of_query, words_of_update, words_of_updates

__all__ = ["Runner", "key_equals", "refuse_groups"]

Row = tuple[Any, ...]
T = TypeVar("T")

#: Rows in one list of a residual read, and keys in one statement of a residual write.
RESIDUAL_BATCH = 500


class Runner(Transacting):
    """Runs specs on one connection. ``connect`` gives the connection at the moment of use, so it may be lazy."""

    def __init__(
        self,
        engine: Engine,
        connect: Callable[[], Connection],
        *,
        shared: Runner | None = None,
        block: Block | None = None,
        watch: Watch | None = None,
    ) -> None:
        super().__init__(engine, connect, block, shared.watch if shared else watch or Watch())
        self._writes: bool = shared._writes if shared else Capability.WRITE in engine.capabilities
        self._readers: dict[type, Reader] = shared._readers if shared else {}
        self._builders: dict[Any, Callable[[Sequence[Row]], list[Any]]] = shared._builders if shared else {}

    def _on(self, connect: Callable[[], Connection], block: Block | None = None) -> Runner:
        return Runner(self.engine, connect, shared=self, block=block)

    def watched_query(self, operation: str, spec: QuerySpec) -> Call:
        """``watched``, for what a spec says all of."""
        return self.watched(operation, spec.model, lambda: words_of_query(operation, spec))

    def _name_reference(self, error: EngineError, look: Look | None) -> None:
        name_reference(self, error, look)

    def reader(self, model: type) -> Reader:
        """The model's Reader; the first call checks that this engine can hold the model."""
        reader = self._readers.get(model)
        if reader is None:
            engine = self.engine

            def look_up(model: type) -> ModelInfo:
                info = describe(model)
                engine.check_model(info)
                return info

            reader = self._readers[model] = Reader(look_up(model), engine.name, engine.limits(), look_up)
        return reader

    def builder(self, info: ModelInfo, fields: tuple[Field, ...]) -> Callable[[Sequence[Row]], list[Any]]:
        """The function that makes objects of such rows."""
        key = (info.cls, fields)
        if key not in self._builders:
            self._builders[key] = make_builder(info, fields)
        return self._builders[key]

    def compiled(self, spec: QuerySpec) -> Compiled | None:
        """The spec in the engine's words; ``None`` if it is about several models and the engine has none for that."""
        return None if not self.engine.joins and spec.is_about_several else self.engine.compile(spec)

    # -- reads -----------------------------------------------------------------------------------------------------

    def rows(self, spec: QuerySpec) -> Sequence[Row]:
        """All rows of a spec at once."""
        refuse_groups(spec)
        if spec.limit == 0:
            return ()
        query = self.compiled(spec)
        if query is None or not query.is_whole:
            return [row for part in self.fetch(spec) for row in part]
        try:
            connection = self.connection
            if self.watch.is_idle:
                return connection.rows(query)
            with self.watched_query("select", spec) as call:
                found = connection.rows(query)
                call.rows = len(found)
            return found
        except Exception:
            with self.errors():
                raise

    def fetch(
        self, spec: QuerySpec, batch: int | None = None, operation: str = "select"
    ) -> Generator[list[Row], None, None]:
        """The rows of a spec, in lists; of ``batch`` rows, and in constant memory, if that is given.

        ``operation`` is what they are read for, in the words of ``watching``."""
        refuse_groups(spec)
        if spec.limit == 0:
            return
        query = self.compiled(spec)
        if query is None or (not query.is_whole and spec.is_about_several):
            with self.errors():
                yield from fetch_together(self, spec, batch)
            return
        with self.errors():
            if query.is_whole:
                yield from self._read(query, batch, operation)
            else:
                yield from self._finish(spec, batch, operation)

    def _read(self, query: Compiled, batch: int | None, operation: str) -> Iterator[list[Row]]:
        connection = self.connection
        return self.watched_query(operation, query.spec).each(lambda: connection.fetch(query, batch))

    def _finish(self, spec: QuerySpec, batch: int | None, operation: str) -> Iterator[list[Row]]:
        """Filter, sort and cut in the core what the engine could not."""
        # The engine reads every column, for the residual may be about any of them, and no window.
        query = self.engine.compile(spec.but(columns=spec.model.fields, limit=None, offset=0))
        rows: Iterable[dict[str, Any]] = self._matching(query, batch or RESIDUAL_BATCH, operation)
        if not query.sorted:
            rows = sort_rows(list(rows), spec.order, dict.__getitem__)
        stop = None if spec.limit is None else spec.offset + spec.limit
        names = [f.name for f in spec.columns]
        window = islice(rows, spec.offset, stop)
        while part := list(islice(window, batch or RESIDUAL_BATCH)):
            yield [tuple([row[name] for name in names]) for row in part]

    def _matching(self, query: Compiled, batch: int, operation: str) -> Iterator[dict[str, Any]]:
        names = [f.name for f in query.spec.columns]
        for rows in self._read(query, batch, operation):
            for values in rows:
                row = dict(zip(names, values, strict=True))
                if query.residual is None or evaluate(query.residual, row):
                    yield row

    def count(self, spec: QuerySpec) -> int:
        """How many rows, inside the spec's window."""
        refuse_groups(spec)
        if spec.limit == 0:
            return 0
        query = self.compiled(spec)
        if query is None or not query.is_whole:
            return sum(len(rows) for rows in self.fetch(spec.but(columns=spec.model.key), operation="count"))
        with self.errors():
            connection = self.connection
            with self.watched_query("count", spec) as call:
                call.rows = 1
                return connection.count(query)

    def explain(self, spec: QuerySpec) -> str:
        """The statement as text; of a spec whose models the core brings together, that for the query's own model."""
        query = self.compiled(spec)
        if query is None or (not query.is_whole and spec.is_about_several):
            base, _ = base_of(spec)
            return f"{self.engine.explain(self.engine.compile(base))}\n-- the rest is looked up by key"
        return self.engine.explain(query)

    # -- writes ----------------------------------------------------------------------------------------------------

    def insert(
        self,
        info: ModelInfo,
        given: tuple[Field, ...],
        rows: Sequence[Row],
        conflict: Conflict | None,
        returning: tuple[Field, ...],
    ) -> BulkResult:
        """Store rows of one shape."""
        self.need_write()
        try:
            check_parents(self, info, given, rows)
            connection = self.connection
            operation = "upsert" if conflict is not None and conflict.action == "update" else "insert"
            with self.watched(operation, info, lambda: words_of_insert(info, given, conflict)) as call:
                result = connection.insert(info, given, rows, conflict, returning)
                call.rows = result.inserted + result.updated
            return result
        except Exception:
            with self.errors(lambda aside: find_orphan(aside, info, given, rows)):
                raise

    def insert_one(
        self, info: ModelInfo, given: tuple[Field, ...], row: Row, returning: tuple[Field, ...]
    ) -> Row:
        """Store one row; the row as it is stored."""
        self.need_write()
        try:
            check_parents(self, info, given, (row,))
            connection = self.connection
            if self.watch.is_idle:
                return connection.insert_one(info, given, row, returning)
            with self.watched("insert", info, lambda: words_of_insert(info, given)) as call:
                call.rows = 1
                return connection.insert_one(info, given, row, returning)
        except Exception:
            with self.errors(lambda aside: find_orphan(aside, info, given, (row,))):
                raise

    def update_each(
        self, info: ModelInfo, key: tuple[Field, ...], columns: tuple[Field, ...], rows: Sequence[Row]
    ) -> int | None:
        """Set ``columns`` in the rows that ``key`` names; ``None`` if they must be changed one after another."""
        self.need_write()
        given = (*key, *columns)
        if needs_whole_keys(self, info, given):
            return None
        with self.errors(lambda aside: find_orphan(aside, info, given, rows)):
            check_parents(self, info, given, rows)
            connection = self.connection
            with self.watched("update", info, lambda: words_of_updates(info, key, columns)) as call:
                call.rows = found = connection.update_each(info, key, columns, rows)
                if found is None:
                    call.forget()
            return found

    def update(self, spec: QuerySpec, values: Mapping[Field, Operand]) -> int:
        """Set columns of the spec's rows; how many matched."""
        self.need_write()
        with self.errors(lambda aside: find_new_orphan(aside, spec, values)):
            check_new_parents(self, spec, values)

            def write(connection: Connection, query: Compiled) -> int:
                with self.watched(
                    "update", query.spec.model, lambda: words_of_update(query.spec, values)
                ) as call:
                    call.rows = changed = connection.update(query, values)
                return changed

            return self._write(spec, write)

    def delete(self, spec: QuerySpec) -> int:
        """Delete the spec's rows, and what goes with them (``cascades``); how many of the spec's own."""
        self.need_write()
        return delete_together(self, spec)

    def delete_alone(self, spec: QuerySpec) -> int:
        """Delete the spec's rows and nothing else; how many."""
        with self.errors(lambda aside: find_child(aside, spec)):

            def write(connection: Connection, query: Compiled) -> int:
                with self.watched_query("delete", query.spec) as call:
                    call.rows = deleted = connection.delete(query)
                return deleted

            return self._write(spec, write)

    def need_write(self) -> None:
        """Refuse to write on an engine that only reads, and in a transaction that does."""
        if self.block is not None:
            self.block.need_write()
        if not self._writes:
            raise UnsupportedOperationError(
                f"{self.engine.name} is read-only", hint="write through another engine"
            )

    def _write(self, spec: QuerySpec, write: Callable[[Connection, Compiled], int]) -> int:
        self.need_write()
        query = self.compiled(spec)
        with self.errors():
            if query is not None and query.residual is None and not query.read_only:
                return write(self.connection, query)
        parts = list(self._by_key(spec))
        if len(parts) < 2:
            return self._write_parts(parts, write)
        with self.together() as runner:
            return runner._write_parts(parts, write)

    def _write_parts(self, parts: list[Compiled], write: Callable[[Connection, Compiled], int]) -> int:
        with self.errors():
            return sum(write(self.connection, part) for part in parts)

    def _by_key(self, spec: QuerySpec) -> Iterator[Compiled]:
        """The same rows, found by the core and named by key: for engines that cannot say the condition."""
        keys = [row for rows in self.fetch(spec.but(columns=spec.model.key)) for row in rows]
        for start in range(0, len(keys), RESIDUAL_BATCH):
            part = keys[start : start + RESIDUAL_BATCH]
            query = self._naming(spec, part)
            if query.residual is not None:  # running it would write rows that were not meant
                raise UnsupportedOperationError(
                    f"the plugin of {self.engine.name} cannot name rows of {spec.model.name} by their primary key",
                    hint="its compile() must understand ==, In, And and Or on keys",
                )
            yield query

    def _naming(self, spec: QuerySpec, keys: Sequence[Row]) -> Compiled:
        named = among(spec.model.key, keys)
        if spec.is_about_several:
            # What the model's own columns must hold is asked again: a row may have changed since its key was read.
            base, _ = base_of(spec)
            query = self.engine.compile(spec.but(where=base.and_where(named)))
            if query.residual is None:
                return query
        return self.engine.compile(spec.but(where=named, native=()))


def refuse_groups(spec: QuerySpec) -> None:
    """Refuse a query with ``group_by``, but in ``aggregate``."""
    if spec.grouping is not None:
        raise UnsupportedOperationError(
            "a query with group_by has groups and no rows", hint="read it with aggregate(n=func.count(), …)"
        )


def key_equals(info: ModelInfo, key: Row) -> Node:
    """The condition that names one row."""
    if len(key) == 1:
        return Compare("==", Column(info.key[0]), Value(key[0], info.key[0]))
    return all_of(Compare("==", Column(f), Value(v, f)) for f, v in zip(info.key, key, strict=True))
