"""A database for one test, made, handed out, and gone: what the fixture ``db`` is made of. No pytest here.

TEST names one          that database, its models' tables dropped before and after
ENGINE: "memory"        memory
SupportsDatabases       <DB_NAME>_test_<worker> on the entry's server, made and dropped
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .. import config, registry
from ..async_database import AsyncDatabase, LoopDatabase
from ..awaiting import here, wait
from ..blocks import driver_errors
from ..config import Settings
from ..database import Database
from ..engine import Connection, Engine, SupportsDatabases, SupportsStorage
from ..errors import ConfigError, UnsupportedOperationError
from ..models import own_tables
from .memory import MemoryEngine

__all__ = ["isolated_async_database", "isolated_database"]


@contextmanager
def isolated_database(
    target: str | Mapping[str, Any], *, models: Sequence[Any] | None = None, worker: str = "main"
) -> Iterator[Database]:
    """A Database on a database that is empty at the start, with the models' tables, and gone at the end.

    ``target`` is an entry's name, an entry, or a URL, as for ``connect``; the entry's own database is never touched.
    Raises ConfigError if the engine makes no databases and the entry has no TEST.
    """
    settings, load_models = config.resolve(target, models=models)
    engine = _engine_of(settings)
    if settings.test is not None:
        with _named_by_test(settings, load_models()) as database:
            yield database
        return
    if isinstance(engine, MemoryEngine):
        with Database(settings, load_models) as database:
            yield _prepared(database, load_models())
        return
    if not isinstance(engine, SupportsDatabases):
        raise ConfigError(
            f"the plugin of {engine.name} cannot make a database for tests",
            hint=f"name one in the entry {settings.name!r}: TEST, an entry's name, a URL, or an entry",
        )
    own = engine.settings_for_tests(f"test_{worker}")
    with driver_errors(engine):
        engine.create_database(own)
    try:
        with Database(own, load_models) as database:
            yield _prepared(database, load_models())
    finally:
        with driver_errors(engine):
            engine.drop_database(own)


@contextmanager
def isolated_async_database(
    target: str | Mapping[str, Any], *, models: Sequence[Any] | None = None, worker: str = "main"
) -> Iterator[AsyncDatabase]:
    """As ``isolated_database``, for tests on an event loop. Its connections end with the loop."""
    with (
        isolated_database(target, models=models, worker=worker) as database,
        _Prepared(database._settings, database._load_models) as prepared,
    ):
        yield AsyncDatabase(prepared)


class _Prepared(LoopDatabase):
    """One whose tables are made at first use, where they are not there: a database in memory is another one."""

    def __init__(self, settings: Settings, load_models: Any) -> None:
        super().__init__(settings, load_models)
        self._turn = asyncio.Lock()
        self._is_prepared = False
        self._by: Any = None

    def _connected(self) -> Connection:
        connection = super()._connected()
        if self._is_prepared or self._by == here():
            return connection
        wait(self._turn.acquire())
        try:
            self._by = here()
            if not self._is_prepared:
                self._prepare(connection)
            self._is_prepared = True
        finally:
            self._by = None
            self._turn.release()
        return connection

    def _prepare(self, connection: Connection) -> None:
        models = own_tables(self._models(required=False))
        if models and isinstance(connection, SupportsStorage):
            there = connection.existing()
            if any(model.store not in there for model in models):
                self.create_all()


@contextmanager
def _named_by_test(settings: Settings, models: Sequence[type]) -> Iterator[Database]:
    """The database that TEST names. It stays; the models' tables are made for each test and dropped after it."""
    chosen, load_models = config.resolve(settings.test, models=models or None)
    if _are_one(_place(chosen), _place(settings)):
        raise ConfigError(
            f"TEST of {settings.name!r} names the entry's own database", hint="name one that may be emptied"
        )
    with Database(chosen, load_models) as database:
        if not models:
            yield database
            return
        _empty(database)
        try:
            yield _prepared(database, models)
        finally:
            database.drop_all(force=True)


def _empty(database: Database) -> None:
    """Drop the tables, but never rows that no test of this run has stored: TEST may name the wrong place."""
    try:
        database.drop_all()
    except UnsupportedOperationError as error:
        raise ConfigError(
            f"the database that TEST names is not empty: {error.fact}",
            hint="if a test run that was killed left them, drop them by hand: drop_all(force=True)",
        ) from error


def _prepared(database: Database, models: Sequence[type]) -> Database:
    if models:
        database.create_all()
    return database


def _engine_of(settings: Settings) -> Engine:
    return registry.load_engine(settings.plugin).choose(settings)(settings)


def _place(settings: Settings) -> tuple[str, int | None, str]:
    """Host, port and name of a database, or nothing and its file's path."""
    host, port, name = settings.host, settings.port, settings.database or ""
    if settings.url is not None:
        parts = urlsplit(settings.url.reveal())
        host, port, name = parts.hostname, parts.port, name or unquote(parts.path[1:])
    if not host and not port and name and name != ":memory:" and settings.user is None:
        return "", None, str(Path(name).absolute())
    return ("localhost" if host in (None, "", "127.0.0.1", "::1") else str(host)), port, name


def _are_one(one: tuple[str, int | None, str], other: tuple[str, int | None, str]) -> bool:
    """Is it the same database? A port that one of them leaves out may be the other's."""
    same_port = one[1] == other[1] or None in (one[1], other[1])
    return (one[0], one[2]) == (other[0], other[2]) and same_port and one[2] != ":memory:"
