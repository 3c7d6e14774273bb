"""One call at a time on the connection of a transaction, whichever tasks make them.

``tx`` may be handed to other tasks, and ``gather(tx.query(A).all(), tx.query(B).all())`` is easily written. No driver can
run both at once: asyncpg refuses the second, others mix up the answers. So each call waits for the one before it, on every
engine, and the transaction ends when the last of them has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .awaiting import here

if TYPE_CHECKING:
    from .runner import Runner

__all__ = ["Turns", "Way"]

T = TypeVar("T")


class Way(Protocol):
    """Runs a synchronous function for a task: ``on_greenlet``, ``in_thread``."""

    def __call__(self, fn: Callable[..., T], /, *args: Any) -> Awaitable[T]: ...


class Turns:
    """Whose call runs on a transaction, its savepoints and its sessions."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._holder: Any = None

    def of(self, runner: Runner | None) -> Runner:
        """The runner, whose calls take these turns from now on."""
        assert runner is not None
        assert runner.block is not None
        runner.block.turns = self
        return runner

    async def take(self, way: Way, fn: Callable[..., T], /, *args: Any) -> T:
        """What the function gives, when the call before it has ended."""
        me = here()
        if self._holder == me:  # rows that a bulk write reads may be read on the same transaction
            return await way(fn, *args)
        async with self._lock:
            return await self._run(me, way, fn, *args)

    async def take_last(self, way: Way, fn: Callable[..., T], /, *args: Any) -> T:
        """As ``take``, for the end of the transaction: it comes however often this task is cancelled meanwhile."""
        cancelled: asyncio.CancelledError | None = None
        while True:
            try:
                await self._lock.acquire()
                break
            except asyncio.CancelledError as exc:
                cancelled = exc
        try:
            done = await self._run(here(), way, fn, *args)
        finally:
            self._lock.release()
        if cancelled is not None:
            raise cancelled
        return done

    async def _run(self, me: Any, way: Way, fn: Callable[..., T], *args: Any) -> T:
        self._holder = me
        try:
            return await way(fn, *args)
        finally:
            self._holder = None
