"""What a cancelled task leaves behind: a statement that the server still runs, on a connection that nobody will use again.

``thrown_away`` has the pool throw such a connection away. asyncpg and psycopg have told the server by then; where the
driver has not, it is told here, so that no lock outlives the task that wanted it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from db_plugins.awaiting import is_awaited, wait
from db_plugins.ways import look_away, on_greenlet

if TYPE_CHECKING:
    from .engine import SQLEngine

__all__ = ["end_abandoned", "throw_away", "thrown_away"]


@contextmanager
def thrown_away(connection: sa.Connection) -> Iterator[None]:
    """Have the pool throw the connection away when a statement on it does not come to its end."""
    try:
        yield
    except BaseException as exc:
        throw_away(connection, exc)
        raise


def throw_away(connection: sa.Connection, exc: BaseException) -> None:
    """Have the pool throw the connection away, if the exception is a cancellation and no statement's own.

    SQLAlchemy does so for its own statements; those on the driver's cursor it does not see.
    """
    if not isinstance(exc, (Exception, GeneratorExit)) and not connection.closed:
        connection.invalidate(exc)


def end_abandoned(engine: SQLEngine) -> Callable[[Any, Any, BaseException | None], None]:
    """The pool's listener for connections that are thrown away."""

    def invalidated(driver: Any, _record: Any, exc: BaseException | None) -> None:
        if not isinstance(exc, asyncio.CancelledError) or not is_awaited():
            return
        # A task of its own, which ends what it has begun even if this one is cancelled once more.
        ending = asyncio.ensure_future(on_greenlet(engine.end_statement, driver))
        ending.add_done_callback(look_away)
        # Cancelled once more it goes on: the pool has yet to close the connection, and the first cancellation is on its way.
        with suppress(asyncio.CancelledError):
            wait(asyncio.wait({ending}, timeout=engine.settings.connect_timeout))

    return invalidated
