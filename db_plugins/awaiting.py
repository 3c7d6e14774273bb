"""What synchronous code uses where it runs for an event loop: ``wait`` for what a driver must be awaited for.

The verbs are written once, synchronous. The asynchronous face runs them on a greenlet, or in a worker thread (``ways.py``);
the synchronous one uses nothing of this and pays nothing for it, not even the import of asyncio.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import AsyncIterable, Awaitable, Generator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = [
    "Acting",
    "acting",
    "here",
    "is_awaited",
    "iterated",
    "pause_after",
    "running_loop",
    "sleep",
    "wait",
]

T = TypeVar("T")

#: The mark of greenlets whose parent awaits what is switched to it. SQLAlchemy's adapters of asynchronous drivers look for
#: it, in 2.0 and 2.1, and so work on ours as ours do on theirs (``AsyncSession``); a test notices when they no longer do.
PROVIDER = "__sqlalchemy_greenlet_provider__"


@dataclass(frozen=True)
class Acting:
    """For which task a worker thread runs a call."""

    loop: AbstractEventLoop
    thread: int
    task: Any


#: Set in the context of a worker thread's call.
acting: ContextVar[Acting | None] = ContextVar("db_plugins_acting", default=None)


def _current_greenlet() -> Any:
    # Imported by whoever made a greenlet; nobody else's import of it is worth a millisecond here.
    getcurrent = getattr(sys.modules.get("greenlet"), "getcurrent", None)
    return None if getcurrent is None else getcurrent()


def is_awaited() -> bool:
    """Does this code run on a greenlet, where the loop goes on while it waits?"""
    return getattr(_current_greenlet(), PROVIDER, False)


def wait(awaitable: Awaitable[T]) -> T:
    """What the awaitable gives, while the event loop goes on: for connections of engines with the role SupportsAsync.

    Only inside a call of the asynchronous face; elsewhere a RuntimeError, and the awaitable is not run.
    """
    current = _current_greenlet()
    if getattr(current, PROVIDER, False):
        return current.parent.switch(awaitable)  # type: ignore[no-any-return]
    import asyncio

    actor = acting.get()
    if actor is not None:
        return asyncio.run_coroutine_threadsafe(_awaited(awaitable), actor.loop).result()
    if asyncio.iscoroutine(awaitable):
        awaitable.close()
    raise RuntimeError("nothing awaits here: this call belongs to the asynchronous face")


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


def pause_after(attempt: int) -> float:
    """Seconds to wait before the next attempt, 0.2 at most: by chance, so that those who met do not meet again."""
    return random.random() * min(0.005 * 2.0 ** min(attempt, 10), 0.2)


def sleep(seconds: float) -> None:
    """Pause this call, and not the loop if there is one."""
    if is_awaited():
        import asyncio

        wait(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)


def iterated(rows: AsyncIterable[T]) -> Generator[T, None, None]:
    """The rows of an asynchronous iterable, each waited for when it is wanted."""
    iterator = aiter(rows)
    try:
        while True:
            try:
                row = wait(anext(iterator))
            except StopAsyncIteration:
                return
            yield row
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            wait(close())


def here() -> tuple[int, Any]:
    """The thread and the task of this call; in a worker thread those that it acts for."""
    actor = acting.get()
    if actor is not None:
        return actor.thread, actor.task
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:  # nobody imported it, so no task runs
        return threading.get_ident(), None
    try:
        return threading.get_ident(), asyncio.current_task()
    except RuntimeError:
        return threading.get_ident(), None


def running_loop() -> AbstractEventLoop:
    """The loop of this call. Raises RuntimeError where there is none."""
    actor = acting.get()
    if actor is not None:
        return actor.loop
    import asyncio

    return asyncio.get_running_loop()
