"""Reads at the driver's own speed: a prepared statement on the cursor of a connection that is at hand.

A pool takes 6 µs to lend a connection, and a ping beforehand takes a round trip: longer than SQLite, and as long as
PostgreSQL, needs for a row by its key. So one idle connection stays at hand between reads, for ``SECONDS_AT_HAND``; its
socket is looked at before each use, without a round trip. A write of one statement takes it, too; transactions take theirs
from the pool, as ever.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from db_plugins.engine import wait
from db_plugins.spec import QuerySpec
from db_plugins.watching import sending, started

from .collations import Collations
from .compiler import Words
from .errors import is_stale_plan
from .pools import SECONDS_AT_HAND, is_raw, wrapped_raw
from .prepared import Preparations, Prepared

if TYPE_CHECKING:
    from .engine import SQLEngine

__all__ = ["AtHand", "Lease", "run", "wrapped"]

Row = tuple[Any, ...]
#: A cursor holds the rows that it has read: one of more than these is closed.
FEW = 100


def run(
    engine: SQLEngine,
    dialect: sa.Dialect,
    driver: Any,
    prepared: Prepared,
    values: list[Any],
    lease: Lease | None = None,
) -> Sequence[Row]:
    """The driver's rows. An exception leaves as SQLAlchemy would have wrapped it.

    A lease keeps the cursor of a read of few rows for the next one: making one takes a tenth of the time of a get."""
    found: Sequence[Row]
    sent = started(prepared.text)
    if engine.awaits and prepared.description is not None:
        awaitable = engine.fetch(driver, prepared.text, prepared.parameters(values))
        if awaitable is not None:
            try:
                found = wait(awaitable)
            except Exception as exc:
                failed = wrapped(dialect, driver, None, exc)
                if sent is not None:
                    sent.end(failed)
                raise failed from exc
            if sent is not None:
                sent.end(rows=len(found))
            return found
    cursor = None if lease is None else lease.cursor
    if cursor is None:
        cursor = driver.cursor()
    else:
        lease.cursor = None  # type: ignore[union-attr]
    try:
        cursor.execute(prepared.text, prepared.parameters(values))
        found = cursor.fetchall()
        # Once: psycopg makes it anew each time, in a tenth of the time of a get.
        if prepared.description is None:
            prepared.description = cursor.description
    except Exception as exc:
        cursor.close()
        failed = wrapped(dialect, driver, cursor, exc)
        if sent is not None:
            sent.end(failed)
        raise failed from exc
    if sent is not None:
        sent.end(rows=len(found))
    if lease is not None and len(found) < FEW:
        lease.cursor = cursor
    else:
        cursor.close()
    return found


def ask(dialect: sa.Dialect, driver: Any, text: str, parameters: Sequence[Any]) -> Sequence[Row]:
    """The rows of a question of this plugin's own, whose values are ``%s``."""
    if dialect.paramstyle == "numeric_dollar":
        numbers = count(1)
        text = re.sub("%s", lambda _found: f"${next(numbers)}", text)
    with sending(text, "inspect") as sent:
        cursor = driver.cursor()
        try:
            cursor.execute(text, parameters)
            found: Sequence[Row] = cursor.fetchall()
            sent.rows = len(found)
            return found
        except Exception as exc:
            raise wrapped(dialect, driver, cursor, exc) from exc
        finally:
            cursor.close()


def wrapped(dialect: sa.Dialect, driver: Any, cursor: Any, exc: Exception) -> sa_exc.StatementError:
    """The driver's exception as SQLAlchemy's, with whether the connection is lost, and without values."""
    if dialect.is_async and is_raw(exc):
        return wrapped_raw(exc, lambda: dialect.is_disconnect(exc, driver, cursor) or is_stale_plan(exc))  # type: ignore[arg-type]
    if not isinstance(exc, dialect.loaded_dbapi.Error):  # a value that the driver itself cannot send
        return sa_exc.StatementError(type(exc).__name__, None, None, exc, hide_parameters=True)
    lost = dialect.is_disconnect(exc, driver, cursor) or is_stale_plan(exc)
    return sa_exc.DBAPIError(None, None, exc, hide_parameters=True, connection_invalidated=lost)


class Lease:
    """A connection that is out of the pool."""

    __slots__ = ("connection", "cursor", "desk", "driver", "until")

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self.driver: Any = connection.connection.dbapi_connection
        self.until = time.monotonic() + SECONDS_AT_HAND
        self.cursor: Any = None
        self.desk: Any = None

    def end(self) -> None:
        """Give it back to the pool."""
        self.connection.close()

    def fail(self, exc: BaseException) -> None:
        """Have the pool throw it away: nobody knows what state it is in."""
        try:
            self.connection.invalidate(exc)
        finally:
            self.connection.close()


class AtHand:
    """The one connection that is kept between reads, if any. Shared by threads: who finds none asks the pool."""

    def __init__(self, engine: SQLEngine, pool: sa.Engine, connect: Callable[[], sa.Connection]) -> None:
        self._engine = engine
        self._connect = connect
        self._kept: list[Lease] = []
        self._lock = threading.Lock()
        self._waiting = 0
        self.collations = Collations(pool.dialect)
        self._dialect = pool.dialect
        self._words = engine.words.knowing(self.collations)
        self.preparations = Preparations(pool, engine.keeps_statements, self.words)
        sizes = engine.pool_arguments()
        #: Where the pool has one connection in all, nobody may keep it.
        self.is_open = (sizes["pool_size"], sizes["max_overflow"]) != (1, 0)

    def take(self) -> Lease:
        """The kept connection, if it is young and alive, or one from the pool."""
        try:
            lease = self._kept.pop()
        except IndexError:
            return Lease(self.from_pool())
        if lease.until > time.monotonic() and self._engine.is_alive(lease.driver):
            return lease
        lease.end()
        return Lease(self.from_pool())

    def renew(self) -> None:
        """Have what is kept now ended before its next use."""
        for lease in list(self._kept):
            lease.until = 0.0

    def give(self, lease: Lease) -> None:
        """Keep it for the next read, or give it back."""
        if not self.is_open or self._kept:
            lease.end()
            return
        self._kept.append(lease)
        if self._waiting:
            self.release()

    def from_pool(self) -> sa.Connection:
        """A connection from the pool, which gets the kept one first: it might have no other."""
        # Say that one is wanted, then look; ``give`` keeps one, then looks who wants it: so none is missed.
        with self._lock:
            self._waiting += 1
        try:
            self.release()
            return self._connect()
        finally:
            with self._lock:
                self._waiting -= 1

    def release(self) -> None:
        """Give back what is kept."""
        while True:
            try:
                lease = self._kept.pop()
            except IndexError:
                return
            lease.end()

    def words(self, spec: QuerySpec, driver: Any) -> Words:
        """The words for a query of this database; what must be known of its tables is asked over the connection."""
        if self._words is not self._engine.words:
            self.collations.learn(spec, partial(ask, self._dialect, driver))
        return self._words

    def forget(self) -> None:
        """Tables were made or dropped."""
        self.collations.forget()
        self.preparations.forget()

    def stop(self) -> None:
        """Keep none from now on: the pool is somebody else's too."""
        self.is_open = False
        if not self._engine.awaits:  # nobody waits where this is asked: the next call gives it back
            self.release()
