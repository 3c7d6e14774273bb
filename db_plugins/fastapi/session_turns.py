"""``opened_in_turn``: a Session of a request with a plain endpoint, of which there are never more than connections.

FastAPI runs a plain endpoint in one of 40 threads, and what it returned is made into a response in another turn of them,
while the Session still holds its connection. Of 120 requests at once on a pool of two, two had connections and waited for
a thread, and 40 had threads and waited for a connection, until ``POOL_TIMEOUT``. So a request waits for its turn here, on
the loop, in no thread; one connection is left for calls without a session, which give it back in the thread that took it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from anyio import Semaphore, move_on_after
from anyio.lowlevel import RunVar
from fastapi.concurrency import contextmanager_in_threadpool
from sqlalchemy.orm import Session

from ..database import Database
from ..errors import PoolTimeoutError

__all__ = ["opened_in_turn"]

#: SQLAlchemy's own, where an entry does not say.
POOL_SIZE, MAX_OVERFLOW, POOL_TIMEOUT = 5, 10, 30.0

#: Of each loop and Database.
_turns: RunVar[WeakKeyDictionary[Database, Semaphore]] = RunVar("db_plugins_turns")


@asynccontextmanager
async def opened_in_turn(db: Database) -> AsyncIterator[Session]:
    """``db.session()``, entered and left in threads. Raises PoolTimeoutError if no turn comes in time."""
    turn = _turn_of(db)
    timeout = db._settings.pool_timeout if db._settings.pool_timeout is not None else POOL_TIMEOUT
    has_turn = False
    with move_on_after(timeout):
        await turn.acquire()
        has_turn = True
    if not has_turn:
        raise PoolTimeoutError(
            f"the sessions of other requests hold the connections of {db.name!r} for more than {timeout:g} s",
            hint="raise POOL_SIZE or MAX_OVERFLOW, or let sessions end sooner",
        )
    try:
        async with contextmanager_in_threadpool(db.session()) as session:
            yield session
    finally:
        turn.release()


def _turn_of(db: Database) -> Semaphore:
    turns = _turns.get(None)
    if turns is None:
        turns = WeakKeyDictionary()
        _turns.set(turns)
    if db not in turns:
        given = db._settings
        size = POOL_SIZE if given.pool_size is None else given.pool_size
        overflow = MAX_OVERFLOW if given.max_overflow is None else given.max_overflow
        turns[db] = Semaphore(max(1, size + overflow - 1))
    return turns[db]
