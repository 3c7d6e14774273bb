"""``connect_async`` and ``AsyncDatabase``: the members of ``Database``, awaited.

    AsyncDatabase ── a Database whose connections belong to event loops
        │             each call is the Database's own, run on a greenlet or in a worker thread (``ways.py``)
        └─ query(M) ── AsyncBaseQuery, over the Database's BaseQuery

Nothing of what a call means is written here. An AsyncDatabase may be used by any number of tasks, and in several loops one
after the other: each has connections of its own.
"""

from __future__ import annotations

import asyncio
import os
from asyncio import AbstractEventLoop
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from . import config
from .awaiting import pause_after, running_loop
from .database import Database, _inherited
from .engine import SupportsAsync
from .errors import EngineError, UnsupportedOperationError
from .query.awaited import AsyncBaseQuery, share_documentation
from .turns import Turns, Way
from .ways import in_thread, on_greenlet

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from sqlalchemy.ext.asyncio import AsyncSession

    from .config.sources import Source
    from .engine import Capability, Connection, Health
    from .watching import StatementEvent

__all__ = ["AsyncDatabase", "LoopDatabase", "connect_async"]

T = TypeVar("T")
M = TypeVar("M")


def connect_async(
    target: str | Mapping[str, Any] | None = None,
    *,
    models: Sequence[type | str] | None = None,
    settings: Source | None = None,
) -> AsyncDatabase:
    """As ``connect``, for a program that runs on an event loop; not a coroutine.

    The same entries serve both: the asynchronous driver follows from them. An engine whose driver cannot be awaited is
    used through worker threads (``dbp plugins`` says which). Raises ConfigError with every problem found.

        async with db_plugins.connect_async("sqlite:///stars.db", models=[Star]) as db:
            await db.create_all()
            vega = await db.query(Star).insert({"name": "Vega", "mag": 0.03})
    """
    return AsyncDatabase(LoopDatabase(*config.resolve(target, models=models, settings=settings)))


class AsyncDatabase:
    """One database, for tasks. Made by ``connect_async``; ``async with`` closes it.

    ``tx`` of ``async with db.transaction() as tx`` is an AsyncDatabase too, bound to the transaction.
    """

    def __init__(self, database: LoopDatabase) -> None:
        self._database = database
        self._chosen: Way | None = None

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._database.name

    @property
    def engine(self) -> str:
        return self._database.engine

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self._database.capabilities

    @property
    def native(self) -> Any:
        """The driver's own object: the SQLAlchemy AsyncEngine, the pymongo AsyncDatabase; in a transaction the
        AsyncConnection or AsyncClientSession."""
        return self._database.native

    def __repr__(self) -> str:
        return f"<Async{repr(self._database)[1:]}"

    # -- queries and transactions ----------------------------------------------------------------------------------

    def query(self, model: type[M]) -> AsyncBaseQuery[M]:
        return AsyncBaseQuery(self._run, self._database.query(model))

    @asynccontextmanager
    async def transaction(
        self, *, isolation: Literal["snapshot", "serializable"] = "snapshot", read_only: bool = False
    ) -> AsyncIterator[AsyncDatabase]:
        turns = self._database._turns() or Turns()
        begun = self._database._begun(isolation, read_only=read_only)
        async with self._entered(begun, turns) as bound:
            with self._database._join(turns.of(bound._bound)):
                yield type(self)(bound)

    @asynccontextmanager
    async def session(self, *, commit: bool = True) -> AsyncIterator[AsyncSession]:
        """A SQLAlchemy ``AsyncSession`` that is a transaction: committed at the end, or undone if an exception leaves the
        block. Else as ``Database.session``. Raises UnsupportedOperationError too where the driver cannot be awaited.

            async with db.session() as s:
                s.add(Star(name="Vega"))
        """
        from sqlalchemy.ext.asyncio import AsyncSession

        from .sessions import open_session

        database = self._database
        runner = database._runner()
        if not isinstance(runner.engine, SupportsAsync):
            raise UnsupportedOperationError(
                f"{runner.engine.name} has no sessions that can be awaited",
                hint="async with db.transaction() as tx: … makes the calls on tx one",
            )
        turns = database._turns() or Turns()
        async with self._entered(open_session(runner, commit=commit), turns) as (session, inner):
            with database._join(turns.of(inner), within=database._bound):
                yield AsyncSession(sync_session_class=lambda **_options: session)  # type: ignore[arg-type]

    async def run_transaction(self, fn: Callable[[AsyncDatabase], Awaitable[T]], retries: int = 10) -> T:
        for attempt in count():
            try:
                async with self.transaction() as tx:
                    return await fn(tx)
            except EngineError as error:
                if not self._database._is_worth_a_retry(error, attempt, retries):
                    raise
                await asyncio.sleep(pause_after(attempt))
        raise AssertionError("unreachable")

    # -- watching --------------------------------------------------------------------------------------------------

    def on_statement(self, listener: Callable[[StatementEvent], object]) -> Callable[[], None]:
        return self._database.on_statement(listener)

    # -- tables and health -----------------------------------------------------------------------------------------

    async def create_all(self) -> None:
        await self._run(self._database.create_all)

    async def drop_all(self, force: bool = False) -> None:
        await self._run(self._database.drop_all, force)

    async def ping(self) -> Health:
        return await self._run(self._database.ping)

    async def close(self) -> None:
        """Give the connections of this loop back. The AsyncDatabase may be used again: it connects anew."""
        if self._database.is_open:
            await self._way(self._database.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- how a call is run -----------------------------------------------------------------------------------------

    @property
    def _way(self) -> Way:
        if self._chosen is None:
            self._chosen = on_greenlet if isinstance(self._database._engine, SupportsAsync) else in_thread
        return self._chosen

    def _run(self, fn: Callable[..., T], /, *args: Any) -> Awaitable[T]:
        """One call: inside a transaction when those before it have ended."""
        way = self._chosen or self._way
        turns = self._database._turns()
        return way(fn, *args) if turns is None else turns.take(way, fn, *args)

    @asynccontextmanager
    async def _entered(self, block: AbstractContextManager[T], turns: Turns) -> AsyncIterator[T]:
        """A synchronous block around an asynchronous one: what leaves the inner one goes through the outer one."""
        way = self._way
        if way is in_thread:
            enter = partial(in_thread, undo=lambda _entered: _cancel(block))
            entered = await turns.take(enter, block.__enter__)
        else:
            entered = await turns.take(way, block.__enter__)
        try:
            yield entered
        except BaseException as exc:
            if not await turns.take_last(way, block.__exit__, type(exc), exc, exc.__traceback__):
                raise
        else:
            await turns.take_last(way, block.__exit__, None, None, None)


share_documentation(AsyncDatabase, Database)


def _cancel(block: AbstractContextManager[Any]) -> None:
    """Leave a block that nobody will enter any more."""
    exc = asyncio.CancelledError()
    with suppress(asyncio.CancelledError):
        block.__exit__(type(exc), exc, None)


class LoopDatabase(Database):
    """A Database whose connections belong to event loops: used under one, each call waits on it."""

    _with = "async with"

    def __init__(self, settings: Any, load_models: Any) -> None:
        super().__init__(settings, load_models)
        self._loops: dict[AbstractEventLoop, _OfLoop] = {}
        self._loops_pid = os.getpid()
        self._last: _OfLoop | None = None

    @property
    def is_open(self) -> bool:
        """Are there connections of this loop?"""
        return self._connection is not None or running_loop() in self._of_loops()

    def _turns(self) -> Turns | None:
        """Of the transaction that a call made here and now is part of."""
        runner = self._bound
        if runner is None:
            joined = self._joined.get()
            if joined is None or not joined.is_here():
                return None
            runner = joined.runner
        return runner.block.turns  # type: ignore[union-attr, return-value]

    def _connected(self) -> Connection:
        loop = running_loop()
        last = self._last
        if last is not None and last.loop is loop:
            return last.connection
        if not isinstance(self._engine, SupportsAsync):
            return super()._connected()
        with self._lock:
            loops = self._of_loops()
            if loop not in loops:
                loops[loop] = _OfLoop(loop, self._open(), self._forget)
                self._tell_who_watches(loops[loop].connection)
            last = self._last = loops[loop]
        return last.connection

    def _of_loops(self) -> dict[AbstractEventLoop, _OfLoop]:
        """The connections of this process by their loops, without those of loops that are over."""
        if self._loops_pid != os.getpid():
            # The parent's: to drop one would end its conversation, and take its sockets from the loop that they share.
            _inherited.append((self._loops, self._last))
            self._loops, self._last, self._loops_pid = {}, None, os.getpid()
        for loop in [each for each in self._loops if each.is_closed()]:
            del self._loops[loop]
        return self._loops

    def _forget(self, ended: _OfLoop) -> None:
        with self._lock:
            self._loops.pop(ended.loop, None)
            if self._last is ended:
                self._last = None

    def _connections(self) -> Sequence[Connection | None]:
        return (*super()._connections(), *(each.connection for each in self._of_loops().values()))

    def _open(self) -> Connection:
        engine = self._engine
        return engine.connect_async(self._settings) if isinstance(engine, SupportsAsync) else super()._open()

    def close(self) -> None:
        super().close()
        try:
            ended = self._of_loops().get(running_loop())
        except RuntimeError:  # what belongs to loops ends with them
            return
        if ended is not None:
            self._forget(ended)
            ended.connection.close()
            ended.let_go()


class _OfLoop:
    """The connections of one loop. What nobody has closed is closed when the loop ends.

    ``asyncio.run``, and whoever else ends a loop in order, closes the asynchronous generators that are left: this one
    closes the connections, while that can still be awaited.
    """

    def __init__(
        self, loop: AbstractEventLoop, connection: Connection, forget: Callable[[_OfLoop], None]
    ) -> None:
        self.loop = loop
        self.connection = connection
        self._is_mine = True
        self._until = self._until_the_end(forget)
        _advance(self._until.__anext__())

    async def _until_the_end(self, forget: Callable[[_OfLoop], None]) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            if self._is_mine:
                forget(self)
                await on_greenlet(self.connection.close)

    def let_go(self) -> None:
        """They were closed."""
        self._is_mine = False
        _advance(self._until.aclose())


def _advance(step: Any) -> None:
    """A step of an asynchronous generator that waits for nothing."""
    with suppress(StopIteration):
        step.send(None)
