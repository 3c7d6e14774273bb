"""How the asynchronous face runs what is written once: two ways, of which each engine has one.

    on_greenlet(fn)   engines with the role SupportsAsync: where the function waits, so does the task
    in_thread(fn)     all others: a worker thread runs it

A greenlet is a stack of its own that can be left in the middle of a call and entered again; SQLAlchemy runs its own
asyncio half so.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import cache
from typing import Any, TypeVar

from .awaiting import PROVIDER, Acting, acting, here
from .errors import ConfigError

__all__ = ["in_thread", "look_away", "on_greenlet", "succeeded"]

T = TypeVar("T")

#: Threads for engines that cannot be awaited. More than a pool has connections: who waits for one of those holds a thread,
#: and must not keep those who have one from giving it back.
WORKERS = 64


#: What a greenlet gives its parent when its function has ended.
_DONE = object()
#: Greenlets of a thread that wait for their next function. To make one takes memory from the system, and gives it back
#: when it ends: as long as asyncpg needs for a row by its key (CPython 3.11: 16 KiB of stack, mapped and unmapped).
MOST_IDLE = 100


class _Idle(threading.local):
    def __init__(self) -> None:
        self.greenlets: list[Any] = []


_idle = _Idle()


@cache
def _tools() -> tuple[Any, Callable[[], Any]]:
    """The class of our greenlets, and the function that gives the current one. Raises ConfigError with the pip line."""
    try:
        from greenlet import getcurrent, greenlet  # type: ignore[import-untyped, unused-ignore]
    except ImportError as exc:
        raise ConfigError(
            "connect_async needs the package greenlet, which is not installed",
            hint='pip install "db-plugins-core[async]"',
        ) from exc

    class Waiting(greenlet):  # type: ignore[misc, unused-ignore]
        """Runs one synchronous function after the other, each for the parent that switches to it with the function."""

        result: Any = None
        failure: BaseException | None = None

        def run(self, fn: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
            while True:
                try:
                    self.result = fn(*arguments)
                except BaseException as exc:
                    self.failure = exc
                fn, arguments = None, ()  # type: ignore[assignment]
                fn, arguments = self.parent.switch(_DONE)

    setattr(Waiting, PROVIDER, True)
    return Waiting, getcurrent


async def on_greenlet(fn: Callable[..., T], /, *args: Any) -> T:
    """What the function gives. Where it waits, so does this coroutine; a cancellation is raised there, inside."""
    make, getcurrent = _tools()
    current = getcurrent()
    idle = _idle.greenlets
    runs = idle.pop() if idle else make()
    runs.parent = current
    runs.gr_context = current.gr_context  # the task's, in which both set their variables
    step = runs.switch(fn, args)
    while step is not _DONE:
        try:
            value = await step
        except BaseException:
            step = runs.throw(*sys.exc_info())
        else:
            step = runs.switch(value)
    result, failure = runs.result, runs.failure
    runs.result = runs.failure = runs.gr_context = None
    if len(idle) < MOST_IDLE:
        idle.append(runs)
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # a traceback that holds itself
    return result  # type: ignore[no-any-return]


async def in_thread(fn: Callable[..., T], /, *args: Any, undo: Callable[[T], object] | None = None) -> T:
    """What the function gives, run by a worker thread.

    A thread cannot be stopped: a cancellation waits for its end. What it has given then is ``undo``ne, if that is said.
    """
    loop = asyncio.get_running_loop()
    context = copy_context()
    context.run(acting.set, Acting(loop, *here()))
    call = loop.run_in_executor(_threads(os.getpid()), context.run, fn, *args)
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        if await succeeded(call) and undo is not None:
            await succeeded(loop.run_in_executor(_threads(os.getpid()), context.run, undo, call.result()))
        raise


async def succeeded(step: asyncio.Future[Any], seconds: float | None = None) -> bool:
    """Wait for its end, however often this task is cancelled: did it succeed? What is not over in time is cancelled."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while not step.done():
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            step.cancel()
            return False
        with suppress(asyncio.CancelledError):
            await asyncio.wait([step], timeout=left)
    return not step.cancelled() and step.exception() is None


def look_away(ended: asyncio.Future[Any]) -> None:
    """A callback for an attempt: what it failed with is not what the caller is told, and nothing for asyncio's log."""
    if not ended.cancelled():
        ended.exception()


@cache
def _threads(_process: int) -> ThreadPoolExecutor:
    """The threads of this process: those of its parent are not here."""
    return ThreadPoolExecutor(WORKERS, thread_name_prefix="db_plugins")
