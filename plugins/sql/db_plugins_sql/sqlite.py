"""SQLite made safe by default: foreign keys, a BEGIN that is one, a busy timeout, WAL for files made here.

``SQLiteConnection`` differs from the others in how a database comes to be: parent folders are made at first use, a new
file gets write-ahead logging and an existing one keeps what it has, and an in-memory database is one connection that
calls take in turn.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from db_plugins.engine import wait
from db_plugins.errors import DatabaseMissingError, ServerUnreachableError

from .connection import SQLConnection
from .pools import make_pool, own_connection

if TYPE_CHECKING:
    from .sqlite_engine import SQLiteEngine

__all__ = ["SQLiteConnection"]

log = logging.getLogger("db_plugins")

_POOL_KEYS = ("pool_size", "max_overflow", "pool_timeout", "pool_recycle")
#: Steps of SQLite's machine between two looks at the clock: about a millisecond.
STEPS_BETWEEN_LOOKS = 20_000


class SQLiteConnection(SQLConnection):
    """One file, or one in-memory database."""

    engine: SQLiteEngine

    def __init__(self, engine: SQLiteEngine) -> None:
        super().__init__(engine)
        # A read that is half done holds the only connection there is: in memory it is read to the end first.
        self.buffered = engine.in_memory
        self._is_prepared = engine.in_memory
        _note_ignored(engine)
        self._is_shared = engine.in_memory and engine.awaits
        if self._is_shared:
            engine.memory.enter(self, engine.url)
        if engine.settings.query_timeout:
            _limit_statements(self.pool, engine.settings.query_timeout)

    def close(self) -> None:
        super().close()
        if self._is_shared:
            self.engine.memory.leave(self)

    def _checked_out(self) -> Any:
        if not self._is_prepared:
            self._prepare_file()
        return super()._checked_out()

    def _prepare_file(self) -> None:
        path = self._file
        try:
            is_new = not path.exists() or path.stat().st_size == 0
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:  # the folder may not be read, or made, or is a file
            raise ServerUnreachableError(
                f"{self.engine.where} cannot be opened or made: {exc.strerror}",
                engine=self.engine.name,
                orig=exc,
                hint=f"check the path in the entry {self.engine.settings.name!r}, and the right to write to its folder",
            ) from exc
        self._is_prepared = True
        if is_new:
            with super()._checked_out() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")

    @property
    def _file(self) -> Path:
        return Path(self.engine.path.removeprefix("file:").partition("?")[0])

    def _is_there(self) -> bool:
        return self.engine.in_memory or self._file.exists()

    @contextmanager
    def _looking(self) -> Iterator[sa.Connection]:
        if self._is_there():
            with super()._looking() as connection:
                yield connection
            return
        # A file that is not there is an empty database, and looking at it must not make it.
        empty = type(self.engine)(replace(self.engine.settings, url=None, database=":memory:"))
        pool = make_pool(empty)
        try:
            with pool.connect() as connection:
                yield connection
        finally:
            pool.dispose()

    def version(self) -> str:
        if not self._is_there():
            raise DatabaseMissingError(
                f"there is no file {self.engine.path!r}", engine=self.engine.name, hint="run `dbp initdb`"
            )
        return super().version()


def _note_ignored(engine: SQLiteEngine) -> None:
    """Say that a database in memory has no pool to be set."""
    ignored = [key for key in _POOL_KEYS if getattr(engine.settings, key) is not None]
    if engine.in_memory and ignored:
        keys = ", ".join(key.upper() for key in ignored)
        log.warning(
            "%s of %r is ignored: a SQLite database in memory has no pool", keys, engine.settings.name
        )


def _limit_statements(pool: sa.Engine, seconds: float) -> None:
    """Interrupt statements that take longer: SQLite asks a handler now and then whether to go on."""

    def watch(dbapi_connection: Any, record: Any) -> None:
        deadline = record.info["deadline"] = [float("inf")]
        own = own_connection(dbapi_connection)
        setting = own.set_progress_handler(lambda: time.monotonic() > deadline[0], STEPS_BETWEEN_LOOKS)
        if own is not dbapi_connection:
            wait(setting)

    def start(connection: sa.Connection, *_statement: Any) -> None:
        connection.info["deadline"][0] = time.monotonic() + seconds

    sa.event.listen(pool, "connect", watch)
    sa.event.listen(pool, "before_cursor_execute", start)
