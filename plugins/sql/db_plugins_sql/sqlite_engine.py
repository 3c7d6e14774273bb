"""SQLite as an engine: what it claims, and where its database is."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy.engine import URL

from db_plugins.config import Settings
from db_plugins.engine import Capability, wait
from db_plugins.ways import look_away

from .aggregates import Aggregates, SQLiteAggregates
from .databases import FileDatabases
from .dialects import SQLiteWords
from .engine import EVERYWHERE, AwaitedEngine
from .errors import SQLITE_CODES
from .pools import own_connection
from .sqlite_aiosqlite import open_connection
from .sqlite_memory import SharedMemory, is_in_memory
from .sqlite_writes import SQLiteWriter
from .writes import Writer

__all__ = ["SQLiteEngine"]


class EndingConnection(sqlite3.Connection):
    """A connection whose statements end when it is closed.

    A task that is cancelled leaves a statement half done, which its traceback keeps alive; SQLite would hold the file's lock
    for it until the garbage collector comes.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()

    def cursor(self, *arguments: Any, **options: Any) -> Any:
        made = super().cursor(*arguments, **options)
        self._cursors.add(made)
        return made

    def close(self) -> None:
        for cursor in list(self._cursors):
            cursor.close()
        super().close()


class SQLiteEngine(FileDatabases, AwaitedEngine):
    """SQLite, made safe: see ``sqlite.py``."""

    capabilities = frozenset(
        {*EVERYWHERE, Capability.INFINITY, Capability.SERIALIZABLE, Capability.NATIVE_ASYNC}
    )
    aggregates: Aggregates = SQLiteAggregates()
    words = SQLiteWords()
    writer: Writer = SQLiteWriter()
    codes = SQLITE_CODES
    dialect = "sqlite"
    async_drivers: ClassVar[Mapping[str, str]] = {"aiosqlite": "aiosqlite"}
    async_extra = "sqlite-async"
    decimal_digits = 15
    keeps_statements = True

    def is_alive(self, driver: Any) -> bool:
        return True

    def fetch(self, driver: Any, text: str, parameters: Any) -> Awaitable[Sequence[Any]] | None:
        # One way to its thread and back; a cursor takes two or three.
        found: Awaitable[Sequence[Any]] = own_connection(driver).execute_fetchall(text, parameters)
        return found

    def stream_cursor(self, driver: Any) -> Any:
        return driver.cursor(server_side=True) if self.awaits else driver.cursor()

    def __init__(self, settings: Settings) -> None:
        self.memory = SharedMemory()
        super().__init__(settings)

    @property
    def url(self) -> URL:
        given = super().url
        return self.memory.named(given) if self.awaits and is_in_memory(given) else given

    @property
    def path(self) -> str:
        """The file, or ``":memory:"``."""
        return super().url.database or ":memory:"

    @property
    def in_memory(self) -> bool:
        """Does the database live only in this process?"""
        return is_in_memory(super().url)

    def url_from_parts(self) -> URL:
        return URL.create("sqlite", database=self.settings.database)

    def _installed(self, name: str) -> str:
        return super()._installed(name) if self.awaits else "sqlite+pysqlite"

    @property
    def where(self) -> str:
        return f"sqlite at {self.path}"

    def connect(self, settings: Settings) -> Any:
        from .sqlite import SQLiteConnection

        return SQLiteConnection(self)

    def connect_arguments(self) -> dict[str, Any]:
        arguments = {"timeout": max(self.settings.connect_timeout, 10.0), **self._own_options()}
        if self.awaits:
            arguments = {"factory": EndingConnection, **arguments}
        return {**arguments, "check_same_thread": False} if self.in_memory else arguments

    def engine_arguments(self) -> dict[str, Any]:
        own = {"async_creator": partial(open_connection, self)} if self.awaits else {}
        if self.in_memory:
            # One connection for the whole process, lent to one call at a time: the pool is the lock.
            queue: type[sa.Pool] = sa.AsyncAdaptedQueuePool if self.awaits else sa.QueuePool
            return {"poolclass": queue, "pool_size": 1, "max_overflow": 0, **own}
        return {**super().engine_arguments(), "pool_pre_ping": False, **own}

    def prepare_driver(self, driver: Any) -> None:
        # SQLAlchemy registers Python's math.floor, which fails on NULL.
        driver.create_function("floor", 1, _floor, deterministic=True)

    def on_connect(self, cursor: Any) -> None:
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA case_sensitive_like = ON")

    def end_statement(self, driver: Any) -> None:
        own = own_connection(driver)
        # A closed connection lives on, with its locks, while a traceback holds a cursor of it. The thread may begin the
        # statement only now, when an interruption was too early.
        ending = asyncio.ensure_future(own.rollback())
        ending.add_done_callback(look_away)  # interrupted itself: closing the connection undoes what is left
        while not ending.done():
            wait(own.interrupt())
            wait(asyncio.wait({ending}, timeout=0.05))

    def begin_statements(self, isolation: str, read_only: bool) -> tuple[str | None, Iterable[str]]:
        # A deferred BEGIN that reads first fails at its first write after a foreign commit, whatever the timeout.
        return None, ("BEGIN" if read_only else "BEGIN IMMEDIATE",)


def _floor(value: Any) -> float | None:
    return None if value is None else float(value) if math.isinf(value) else float(math.floor(value))
