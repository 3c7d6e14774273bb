"""Between a query and its engine: compiles, runs, names errors, and finishes what the engine left over.

The one place where a driver's exception becomes ours, and where a residual condition or order is worked out.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import count, islice
from typing import Any, TypeVar

from .blocks import Block, driver_errors
from .deleting import delete_together
from .engine import (
    BulkResult,
    Capability,
    Compiled,
    Conflict,
    Connection,
    Engine,
    SupportsTransactions,
    TransactionConnection,
)
from .errors import ConflictError, EngineError, UnsupportedOperationError
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

__all__ = ["Runner", "key_equals", "refuse_groups"]

Row = tuple[Any, ...]
T = TypeVar("T")

#: How long a write outside of transactions is tried again because others write the same rows.
PATIENCE_SECONDS = 20.0

#: Rows in one list of a residual read, and keys in one statement of a residual write.
RESIDUAL_BATCH = 500


class Runner:
    """Runs specs on one connection. ``connect`` gives the connection at the moment of use, so it may be lazy."""

    def __init__(
        self,
        engine: Engine,
        connect: Callable[[], Connection],
        *,
        shared: Runner | None = None,
        block: Block | None = None,
    ) -> None:
        self.engine = engine
        self.block = block
        self._connect = connect
        self._writes: bool = shared._writes if shared else Capability.WRITE in engine.capabilities
        self._readers: dict[type, Reader] = shared._readers if shared else {}
        self._builders: dict[Any, Callable[[Sequence[Row]], list[Any]]] = shared._builders if shared else {}

    @property
    def connection(self) -> Connection:
        """The connection, made now if it is not there yet."""
        if self.block is not None:
            self.block.check()
        return self._connect()

    def aside(self) -> Runner:
        """A runner on the same connection that heeds no earlier error: to look what went wrong."""
        return Runner(self.engine, self._connect, shared=self)

    @contextmanager
    def errors(self, look: Look | None = None) -> Iterator[None]:
        """``driver_errors`` of this engine; inside a transaction the first of them ends it.

        ``look`` finds out which foreign key is broken, where the server does not say so.
        """
        try:
            with driver_errors(self.engine):
                yield
        except EngineError as error:
            error.engine = error.engine or self.engine.name
            name_reference(self, error, look)
            if self.block is not None and self.block.error is None:
                self.block.error = error
            raise

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
            return self.connection.rows(query)
        except Exception:
            with self.errors():
                raise

    def fetch(self, spec: QuerySpec, batch: int | None = None) -> Generator[list[Row], None, None]:
        """The rows of a spec, in lists; of ``batch`` rows, and in constant memory, if that is given."""
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
                yield from self.connection.fetch(query, batch)
            else:
                yield from self._finish(spec, batch)

    def _finish(self, spec: QuerySpec, batch: int | None) -> Iterator[list[Row]]:
        """Filter, sort and cut in the core what the engine could not."""
        # The engine reads every column, for the residual may be about any of them, and no window.
        query = self.engine.compile(spec.but(columns=spec.model.fields, limit=None, offset=0))
        rows: Iterable[dict[str, Any]] = self._matching(query, batch or RESIDUAL_BATCH)
        if not query.sorted:
            rows = sort_rows(list(rows), spec.order, dict.__getitem__)
        stop = None if spec.limit is None else spec.offset + spec.limit
        names = [f.name for f in spec.columns]
        window = islice(rows, spec.offset, stop)
        while part := list(islice(window, batch or RESIDUAL_BATCH)):
            yield [tuple([row[name] for name in names]) for row in part]

    def _matching(self, query: Compiled, batch: int) -> Iterator[dict[str, Any]]:
        names = [f.name for f in query.spec.columns]
        for rows in self.connection.fetch(query, batch):
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
            return sum(len(rows) for rows in self.fetch(spec.but(columns=spec.model.key)))
        with self.errors():
            return self.connection.count(query)

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
            return self.connection.insert(info, given, rows, conflict, returning)
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
            return self.connection.insert_one(info, given, row, returning)
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
            return self.connection.update_each(info, key, columns, rows)

    def update(self, spec: QuerySpec, values: Mapping[Field, Operand]) -> int:
        """Set columns of the spec's rows; how many matched."""
        self.need_write()
        with self.errors(lambda aside: find_new_orphan(aside, spec, values)):
            check_new_parents(self, spec, values)
            return self._write(spec, lambda connection, query: connection.update(query, values))

    def delete(self, spec: QuerySpec) -> int:
        """Delete the spec's rows, and what goes with them (``cascades``); how many of the spec's own."""
        self.need_write()
        return delete_together(self, spec)

    def delete_alone(self, spec: QuerySpec) -> int:
        """Delete the spec's rows and nothing else; how many."""
        with self.errors(lambda aside: find_child(aside, spec)):
            return self._write(spec, lambda connection, query: connection.delete(query))

    def need_write(self) -> None:
        """Refuse to write on an engine that only reads."""
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

    def need_transactions(self) -> None:
        """Refuse what must be all or nothing on an engine that cannot promise it."""
        if Capability.TRANSACTIONS not in self.engine.capabilities:
            raise UnsupportedOperationError(
                f"{self.engine.name} has no transactions", hint="use an engine that claims TRANSACTIONS"
            )

    @contextmanager
    def together(self) -> Iterator[Runner]:
        """A runner for the batches of one write: all or nothing where the engine has transactions."""
        claimed = self.engine.capabilities
        if Capability.TRANSACTIONS not in claimed:
            yield self
        elif self.block is None or Capability.SAVEPOINTS in claimed:
            inner = self._begin_batch()
            # The savepoint undoes it; all the same the transaction has failed, as it has after a write of one statement.
            with self.errors(), nullcontext(self) if inner is None else self._bound_to(inner) as runner:
                yield runner
        else:
            # They join the transaction; without a savepoint, half of them can only be undone with all of it.
            try:
                yield self
            except BaseException as exc:
                if self.block.error is None:
                    fact = f"a write of several batches was broken off by {type(exc).__name__}"
                    self.block.error = (
                        exc if isinstance(exc, EngineError) else EngineError(fact, engine=self.engine.name)
                    )
                raise

    def as_one(self, work: Callable[[Runner], T]) -> T:
        """What ``work`` gives, done by a runner of ``together()``; outside of transactions again while others hold its rows,
        unless some of it stays stored."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        for attempt in count(1):
            is_undone = True
            try:
                with self.together() as runner:
                    is_undone = runner is not self
                    return work(runner)
            except ConflictError as error:
                over = error.stored or time.monotonic() > deadline
                if self.block is not None or not is_undone or over:
                    raise
            time.sleep(random.random() * min(0.005 * 2 ** min(attempt, 10), 0.2))
        raise AssertionError("unreachable")

    @contextmanager
    def transaction(self, isolation: str, *, read_only: bool = False) -> Iterator[Runner]:
        """A runner bound to a transaction (inside one: to a savepoint); committed at the end, undone on any error."""
        with self.errors():
            inner = self._begin(isolation, read_only)
        with self._bound_to(inner) as runner:
            yield runner

    @contextmanager
    def _bound_to(self, inner: TransactionConnection) -> Iterator[Runner]:
        block = Block()
        try:
            yield Runner(self.engine, lambda: inner, shared=self, block=block)
            if block.error is not None:
                # Caught inside the block: the database has given up the work, and so nothing is committed.
                raise block.error
        except BaseException:
            with driver_errors(self.engine):
                inner.rollback()
            raise
        else:
            with self.errors():
                inner.commit()
        finally:
            block.ended = True
            inner.close()

    def _begin_batch(self) -> TransactionConnection | None:
        """A transaction for one write; ``None`` on a deployment without any (``ping().missing``), which writes by batch."""
        with self.errors():
            try:
                return self._begin("batch", read_only=False)
            except UnsupportedOperationError:
                if self.block is not None:
                    raise
                return None

    def _begin(self, isolation: str, read_only: bool) -> TransactionConnection:
        connection = self.connection
        claimed = self.engine.capabilities
        if isinstance(connection, TransactionConnection):
            if Capability.SAVEPOINTS not in claimed:
                raise UnsupportedOperationError(
                    f"{self.engine.name} has no savepoints: a transaction cannot be nested",
                    hint="use the outer one",
                )
            return connection.savepoint()
        if Capability.TRANSACTIONS not in claimed or not isinstance(connection, SupportsTransactions):
            raise UnsupportedOperationError(
                f"{self.engine.name} has no transactions", hint="use an engine that claims TRANSACTIONS"
            )
        if isolation == "serializable" and Capability.SERIALIZABLE not in claimed:
            raise UnsupportedOperationError(
                f"{self.engine.name} has no serializable transactions",
                hint="leave isolation out: one snapshot",
            )
        return connection.begin(isolation, read_only=read_only)


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
