"""Opening a SQLite database with aiosqlite so that an attempt that fails, or is cancelled, leaves no thread behind.

aiosqlite then tells its thread to end and goes on at once. Where the loop is closed before the thread has answered, as at
the end of ``asyncio.run``, the answer fails, and a traceback of the thread is printed (seen in half of such programs).
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

from db_plugins.ways import succeeded

from .pools import own_connection

if TYPE_CHECKING:
    from .sqlite_engine import SQLiteEngine

__all__ = ["open_connection", "thread_of"]


async def open_connection(engine: SQLiteEngine) -> Any:
    """A connection of the driver's own to the engine's database, for ``create_async_engine(async_creator=…)``."""
    import aiosqlite

    # With a creator SQLAlchemy leaves these to it.
    given, options = engine.url.get_dialect()().create_connect_args(engine.url)
    connection = aiosqlite.connect(*given, **{**options, **engine.connect_arguments()})
    thread = thread_of(connection)
    thread.daemon = True  # as SQLAlchemy has it: a program may end without closing what it has opened
    patience = engine.settings.connect_timeout
    # A task of its own: who is cancelled between the thread's answer and its arrival would drop an open file.
    opening = asyncio.ensure_future(_opened(connection))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        if await succeeded(opening, patience):
            await succeeded(asyncio.ensure_future(connection.close()), patience)
        await _ended(thread, patience)
        raise
    except Exception:
        await _ended(thread, patience)
        raise


async def _opened(connection: Any) -> Any:
    return await connection


def thread_of(connection: Any) -> Thread:
    """The thread of a connection: the connection itself before aiosqlite 0.22, and an attribute without a public name since."""
    own = own_connection(connection)
    thread: Thread = own if isinstance(own, Thread) else own._thread
    return thread


async def _ended(thread: Thread, seconds: float) -> None:
    """Wait for its end, cancelled or not, but not for a disk that does not answer."""
    deadline = time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < deadline:
        with suppress(asyncio.CancelledError):  # another one is on its way already
            await asyncio.sleep(0.001)
