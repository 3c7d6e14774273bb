"""How calls are bound together: on one connection, in transactions and savepoints, with what a failure inside means.

The half of a Runner that knows no rows: its other half reads and writes (``runner.py``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from .awaiting import pause_after, sleep
from .blocks import Block, driver_errors
from .engine import Capability, Connection, Engine, SupportsTransactions, TransactionConnection
from .errors import ConflictError, EngineError, UnsupportedOperationError
from .watching import Call, Watch

if TYPE_CHECKING:
    from typing import Self

    from .foreign_keys import Look
    from .models import ModelInfo

__all__ = ["Transacting"]

T = TypeVar("T")

#: How long a write outside of transactions is tried again because others write the same rows.
PATIENCE_SECONDS = 20.0


class Transacting:
    """One connection, lent by ``connect`` at the moment of use, and the block that its calls are part of, if any."""

    def __init__(
        self, engine: Engine, connect: Callable[[], Connection], block: Block | None, watch: Watch
    ) -> None:
        self.engine = engine
        self.block = block
        self.watch = watch
        self._connect = connect

    def _on(self, connect: Callable[[], Connection], block: Block | None = None) -> Self:
        """The same on another connection."""
        raise NotImplementedError

    def _name_reference(self, error: EngineError, look: Look | None) -> None:
        """Say which foreign key is broken, where the server does not."""
        raise NotImplementedError

    @property
    def connection(self) -> Connection:
        """The connection, made now if it is not there yet."""
        if self.block is not None:
            self.block.check()
        return self._connect()

    def aside(self) -> Self:
        """A runner on the same connection that heeds no earlier error: to look what went wrong."""
        return self._on(self._connect)

    def watched(self, operation: str, info: ModelInfo | None, text: str | Callable[[], str]) -> Call:
        """Around a call of the seam: whoever watches the Database is told of it, in these words if the engine has none."""
        return self.watch.call(self.engine, operation, info, text)

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
            self._name_reference(error, look)
            if self.block is not None and self.block.error is None:
                self.block.error = error
            raise

    # -- transactions ----------------------------------------------------------------------------------------------

    def need_transactions(self) -> None:
        """Refuse what must be all or nothing on an engine that cannot promise it."""
        if Capability.TRANSACTIONS not in self.engine.capabilities:
            raise UnsupportedOperationError(
                f"{self.engine.name} has no transactions", hint="use an engine that claims TRANSACTIONS"
            )

    @contextmanager
    def together(self) -> Iterator[Self]:
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

    def as_one(self, work: Callable[[Self], T]) -> T:
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
            sleep(pause_after(attempt))
        raise AssertionError("unreachable")

    @contextmanager
    def transaction(self, isolation: str, *, read_only: bool = False) -> Iterator[Self]:
        """A runner bound to a transaction (inside one: to a savepoint); committed at the end, undone on any error."""
        with self.errors():
            inner = self._begin(isolation, read_only)
        with self._bound_to(inner, read_only=read_only) as runner:
            yield runner

    @contextmanager
    def _bound_to(self, inner: TransactionConnection, *, read_only: bool = False) -> Iterator[Self]:
        block = Block(read_only=read_only or (self.block is not None and self.block.read_only))
        try:
            yield self._on(lambda: inner, block)
            if block.error is not None:
                # Caught inside the block: the database has given up the work, and so nothing is committed.
                raise block.error
        except BaseException:
            with driver_errors(self.engine), self.watched("rollback", None, "ROLLBACK"):
                inner.rollback()
            raise
        else:
            operation = "commit" if self.block is None else "release"
            with self.errors(), self.watched(operation, None, operation.upper()):
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
            with self.watched("savepoint", None, "SAVEPOINT"):
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
        with self.watched("begin", None, "BEGIN"):
            return connection.begin(isolation, read_only=read_only)
