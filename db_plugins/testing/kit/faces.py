"""The two faces that each test of the kit is shown: ``connect`` and ``connect_async``.

The tests are written once, synchronous. ``driven`` makes an AsyncDatabase look like a Database to them: every call is
awaited on an event loop of a thread of its own, by one task for each thread that calls, so that what belongs to a thread
there belongs to a task here.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from db_plugins import connect_async
from db_plugins.async_database import AsyncDatabase
from db_plugins.awaiting import is_awaited, wait
from db_plugins.query.awaited import AsyncBaseQuery, AsyncCursorPage, AsyncPagination

if TYPE_CHECKING:
    from db_plugins import Database

__all__ = ["FACES", "connect_driven", "driven"]

T = TypeVar("T")
FACES = ("sync", "async")
#: Seconds for one call: longer than a test may take.
PATIENCE = 110.0


def connect_driven(*arguments: Any, **options: Any) -> Database:
    """``connect_async``, and what it gives as a Database."""
    return cast("Database", driven(connect_async(*arguments, **options)))


def driven(found: Any) -> Any:
    """What an asynchronous call gave, as its synchronous twin would have."""
    for kind, wrap in _WRAPPED.items():
        if isinstance(found, kind):
            return wrap(found)
    return found


# -- the loop ----------------------------------------------------------------------------------------------------------


def _loop() -> asyncio.AbstractEventLoop:
    return _loop_of(os.getpid())


@cache
def _loop_of(_process: int) -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="kit's event loop", daemon=True)
    thread.start()
    atexit.register(_end, os.getpid(), loop, thread)
    return loop


def _end(process: int, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """Let the tasks that wait for calls end before the loop does: asyncio complains of each that it destroys."""
    if process != os.getpid():
        return
    with suppress(TimeoutError):
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(5.0)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5.0)


async def _cancel_all() -> None:
    waiting = asyncio.all_tasks() - {asyncio.current_task()}
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


class _Speaker:
    """A task on the loop that awaits one call after the other."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._calls: asyncio.Queue[tuple[Coroutine[Any, Any, Any], Future[Any]] | None] = asyncio.Queue()
        asyncio.run_coroutine_threadsafe(self._listen(self._calls), _loop())

    @staticmethod
    async def _listen(calls: asyncio.Queue[Any]) -> None:
        while (call := await calls.get()) is not None:
            coroutine, answer = call
            try:
                answer.set_result(await coroutine)
            except BaseException as exc:
                answer.set_exception(exc)
            del call, coroutine, answer

    def ask(self, coroutine: Coroutine[Any, Any, T]) -> T:
        answer: Future[T] = Future()
        _loop().call_soon_threadsafe(self._calls.put_nowait, (coroutine, answer))
        return answer.result(PATIENCE)

    def __del__(self) -> None:
        if self.process == os.getpid():
            _loop().call_soon_threadsafe(self._calls.put_nowait, None)


_of_thread = threading.local()


def _call(coroutine: Coroutine[Any, Any, T]) -> T:
    """What the coroutine gives, awaited by this thread's task."""
    if is_awaited():  # rows that a write reads while it runs
        return wait(coroutine)
    speaker: _Speaker | None = getattr(_of_thread, "speaker", None)
    if speaker is None or speaker.process != os.getpid():
        speaker = _of_thread.speaker = _Speaker()
    return speaker.ask(coroutine)


@contextmanager
def _entered(block: AbstractAsyncContextManager[T]) -> Iterator[T]:
    entered = _call(_coroutine(block.__aenter__))
    try:
        yield entered
    except BaseException as exc:
        if not _call(_coroutine(block.__aexit__, type(exc), exc, exc.__traceback__)):
            raise
    else:
        _call(_coroutine(block.__aexit__, None, None, None))


async def _coroutine(method: Callable[..., Any], *arguments: Any) -> Any:
    return await method(*arguments)


async def _evaluated(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    return function(*arguments, **options)


#: Functions that are no coroutines and ask which task calls: whose transaction the rows are read in.
_OF_THE_TASK = {"stream"}


def _pulled(items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    try:
        while True:
            try:
                item = _call(_coroutine(items.__anext__))
            except StopAsyncIteration:
                return
            yield item
    finally:
        _call(_coroutine(items.aclose))


# -- what is driven ----------------------------------------------------------------------------------------------------


class _Driven:
    """Something whose coroutines are awaited; private names are those of the synchronous twin that is inside."""

    def __init__(self, awaited: Any) -> None:
        self._awaited = awaited

    @property
    def _twin(self) -> Any:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            return getattr(self._twin, name)
        member = getattr(self._awaited, name)
        if not callable(member) or isinstance(member, type):
            return member

        def called(*arguments: Any, **options: Any) -> Any:
            if name in _OF_THE_TASK:
                return driven(_call(_evaluated(member, *arguments, **options)))
            found = member(*arguments, **options)
            return driven(_call(found) if asyncio.iscoroutine(found) else found)

        return called


class _DrivenDatabase(_Driven):
    @property
    def _twin(self) -> Any:
        return self._awaited._database

    def _connected(self) -> Any:
        return _call(self._awaited._way(self._twin._connected))

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_awaited":
            object.__setattr__(self, name, value)
        else:
            setattr(self._twin, name, value)

    @property
    def native(self) -> Any:
        async def asked() -> Any:
            return self._awaited.native

        return _call(asked())

    @contextmanager
    def transaction(self, **options: Any) -> Iterator[Any]:
        with _entered(self._awaited.transaction(**options)) as bound:
            yield driven(bound)

    @contextmanager
    def session(self, **options: Any) -> Iterator[Any]:
        with _entered(self._awaited.session(**options)) as session:
            yield _DrivenSession(session)

    def run_transaction(self, fn: Callable[[Any], T], retries: int = 10) -> T:
        async def awaited(bound: AsyncDatabase) -> T:
            return await asyncio.to_thread(fn, driven(bound))

        return _call(self._awaited.run_transaction(awaited, retries))  # type: ignore[no-any-return]

    def __enter__(self) -> _DrivenDatabase:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class _DrivenQuery(_Driven):
    @property
    def _twin(self) -> Any:
        return self._awaited._query


class _DrivenPage(_Driven):
    @property
    def _twin(self) -> Any:
        return self._awaited._page

    def __iter__(self) -> Iterator[Any]:
        return iter(self._awaited)

    def __len__(self) -> int:
        return len(self._awaited)


class _DrivenSession:
    """An AsyncSession, whose ``run_sync`` runs each method of the Session; ``isinstance`` takes it for one."""

    def __init__(self, session: Any) -> None:
        object.__setattr__(self, "_session", session)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._session.sync_session)

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._session.sync_session, name)
        if not callable(member) or isinstance(member, AbstractContextManager):
            return member

        def called(*arguments: Any, **options: Any) -> Any:
            found = self._run(lambda _session: member(*arguments, **options))
            return _DrivenBlock(self, found) if name in ("begin", "begin_nested") else found

        return called

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._session.sync_session, name, value)

    def __contains__(self, instance: object) -> bool:
        return instance in self._session.sync_session

    def __iter__(self) -> Iterator[Any]:
        return iter(self._session.sync_session)

    def _run(self, work: Callable[[Any], T]) -> T:
        return _call(self._session.run_sync(work))  # type: ignore[no-any-return]


class _DrivenBlock:
    """What ``begin_nested`` gives."""

    def __init__(self, session: _DrivenSession, block: Any) -> None:
        self._driven, self._block = session, block

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._block, name)
        return (lambda: self._driven._run(lambda _session: member())) if callable(member) else member

    def __enter__(self) -> _DrivenBlock:
        self._driven._run(lambda _session: self._block.__enter__())
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._driven._run(lambda _session: self._block.__exit__(*error))


_WRAPPED: dict[type, Callable[[Any], Any]] = {
    AsyncBaseQuery: _DrivenQuery,
    AsyncPagination: _DrivenPage,
    AsyncCursorPage: _DrivenPage,
    AsyncDatabase: _DrivenDatabase,
    AsyncGenerator: _pulled,
}
