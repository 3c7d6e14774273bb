"""The SQL engines answer to the contract: SQLite in a file and in memory, PostgreSQL, MariaDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from db_plugins.testing import PluginConformance
from servers import KINDS


def own_server(kind: str) -> type:
    """A server of the fault tests' own: it may be killed."""

    class Own:
        def __init__(self, folder: Path) -> None:
            self._server = KINDS[kind](folder, private=True, durable=True)
            self.stop = self._server.stop
            self.kill = self._server.kill

        def start(self) -> None:
            if reason := self._server.available():
                pytest.skip(f"{self._server.label}: {reason}")
            self._server.start()

        def fresh_entry(self) -> dict[str, Any]:
            return dict(self._server.entry(self._server.new_database()[0]))

    return Own


class TestSQLiteFile(PluginConformance):
    plugin = "sqlite"

    def config(self, tmp_path: Path) -> dict[str, Any]:
        return {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "kit.db")}


class TestSQLiteMemory(PluginConformance):
    plugin = "sqlite"
    is_shared = False
    generated_filters = 400  # the same engine as TestSQLiteFile

    def config(self, tmp_path: Path) -> dict[str, Any]:
        return {"ENGINE": "sqlite", "DB_NAME": ":memory:"}


def on_server(request: pytest.FixtureRequest, kind: str) -> dict[str, Any]:
    """A new database on the run's server, dropped when the test is over."""
    server = request.getfixturevalue("shared_server")(kind)
    name, _url = server.new_database()
    request.addfinalizer(lambda: server.drop_database(name))
    return dict(server.entry(name))


def on_postgresql(request: pytest.FixtureRequest) -> dict[str, Any]:
    """One database for all tests, empty for each: a new schema takes a tenth of the time of a new database."""
    server = request.getfixturevalue("shared_server")("postgresql")
    if server.url not in _postgresql:
        _postgresql[server.url] = server.new_database()
    name, url = _postgresql[server.url]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET lock_timeout = '10s'")
        connection.execute("SET client_min_messages = warning")
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return dict(server.entry(name))


_postgresql: dict[str, tuple[str, str]] = {}


class TestPostgreSQL(PluginConformance):
    plugin = "postgresql"
    server = own_server("postgresql")

    def config(self, tmp_path: Path) -> dict[str, Any]:
        return on_postgresql(self.request)


class TestMariaDB(PluginConformance):
    plugin = "mariadb"
    server = own_server("mariadb")

    def config(self, tmp_path: Path) -> dict[str, Any]:
        return on_server(self.request, "mariadb")
