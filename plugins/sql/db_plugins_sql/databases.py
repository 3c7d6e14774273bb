"""Databases for tests: a file in a folder of its own on SQLite, CREATE and DROP DATABASE on the servers.

The engines derive from one of the two classes here; see ``SupportsDatabases`` of the core.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from db_plugins.config import Secret, Settings
from db_plugins.engine import SupportsDatabases

__all__ = ["FileDatabases", "ServerDatabases"]


def _elsewhere(settings: Settings, database: str) -> Settings:
    """The same settings, naming another database."""
    if settings.url is None:
        return replace(settings, database=database)
    url = make_url(settings.url.reveal()).set(database=database)
    return replace(settings, url=Secret(url.render_as_string(hide_password=False)))


class FileDatabases(SupportsDatabases):
    """SQLite: a file that nobody else uses; of a database in memory another one in memory."""

    settings: Settings

    @property
    def path(self) -> str:
        """The file."""
        raise NotImplementedError

    @property
    def in_memory(self) -> bool:
        """Does the database live only in this process?"""
        raise NotImplementedError

    def settings_for_tests(self, suffix: str) -> Settings:
        if self.in_memory:
            return replace(self.settings, url=None, database=":memory:")
        folder = tempfile.mkdtemp(prefix="dbp-test-")
        stem = Path(self.path.removeprefix("file:").partition("?")[0]).stem
        return _elsewhere(self.settings, str(Path(folder, f"{self.name_for_tests(stem, suffix)}.db")))

    def create_database(self, settings: Settings) -> None:
        pass  # made at first use

    def drop_database(self, settings: Settings) -> None:
        given = make_url(settings.url.reveal()).database if settings.url is not None else settings.database
        if given is None or given == ":memory:":
            return
        for end in ("", "-wal", "-shm", "-journal", "-migrating"):
            Path(f"{given}{end}").unlink(missing_ok=True)
        with suppress(OSError):  # somebody put something else there
            Path(given).parent.rmdir()


class ServerDatabases(SupportsDatabases):
    """PostgreSQL and MariaDB: statements sent to a database that every server has."""

    settings: Settings
    maintenance_database: ClassVar[str]
    create_statement: ClassVar[str]
    drop_statement: ClassVar[str]

    if TYPE_CHECKING:

        @property
        def url(self) -> URL: ...

        def connect_arguments(self) -> dict[str, Any]: ...

    def settings_for_tests(self, suffix: str) -> Settings:
        return _elsewhere(self.settings, self.name_for_tests(self.url.database or self.settings.name, suffix))

    def create_database(self, settings: Settings) -> None:
        self._run(settings, self.drop_statement, self.create_statement)

    def drop_database(self, settings: Settings) -> None:
        self._run(settings, self.drop_statement)

    def _run(self, settings: Settings, *statements: str) -> None:
        name = make_url(settings.url.reveal()).database if settings.url is not None else settings.database
        pool = sa.create_engine(
            self.url.set(database=self.maintenance_database),
            isolation_level="AUTOCOMMIT",
            poolclass=sa.NullPool,
            hide_parameters=True,
            connect_args=self.connect_arguments(),
        )
        quoted = pool.dialect.identifier_preparer.quote_identifier(name or "")
        with pool.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement.format(quoted))
