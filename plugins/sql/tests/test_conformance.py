"""The SQL engines answer to the contract: SQLite in a file and in memory, PostgreSQL, MariaDB."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
import sqlalchemy as sa

from db_plugins import Database
from db_plugins.testing import PluginConformance
from db_plugins.testing.kit.attacks import Attacks
from db_plugins.testing.kit.bulk import Bulk
from db_plugins.testing.kit.bulk_conflicts import BulkConflicts
from db_plugins.testing.kit.bulk_updates import BulkUpdates
from db_plugins.testing.kit.conflicts import Conflicts
from db_plugins.testing.kit.faults import Faults
from db_plugins.testing.kit.integrity import Integrity
from db_plugins.testing.kit.nearest import Nearest
from db_plugins.testing.kit.parents import Parents
from db_plugins.testing.kit.paths import Paths
from db_plugins.testing.kit.sessions import Sessions
from db_plugins.testing.kit.streams import Streams
from db_plugins.testing.kit.transactions import Transactions
from db_plugins.testing.kit.upserts import Upserts
from db_plugins.testing.kit.values import Values
from db_plugins.testing.kit.writes import Writes
from servers import KINDS


def own_server(kind: str, engine: str | None = None) -> type:
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
            entry = dict(self._server.entry(self._server.new_database()[0]))
            return entry if engine is None else {**entry, "ENGINE": engine}

    return Own


def schema_of(native: sa.Engine) -> dict[str, Any]:
    """The tables as the server tells of them, but for the columns' order: what was dropped comes back at the end."""
    inspector = sa.inspect(native)
    types = [(enum["name"], *enum["labels"]) for enum in getattr(inspector, "get_enums", list)()]
    return {"types": sorted(types)} | {
        name: {
            "columns": sorted(_shown(each) for each in inspector.get_columns(name)),
            "indexes": sorted(_shown(each) for each in inspector.get_indexes(name)),
            "uniques": sorted(_shown(each) for each in inspector.get_unique_constraints(name)),
            "checks": sorted(_shown(each) for each in inspector.get_check_constraints(name)),
            "foreign keys": sorted(_shown(each) for each in inspector.get_foreign_keys(name)),
            "key": _shown(inspector.get_pk_constraint(name)),
            "options": _shown(_options(inspector, name)),
        }
        for name in inspector.get_table_names()
        if not name.startswith(("dbp_", "alembic_version"))
    }


def _options(inspector: Any, table: str) -> dict[str, Any]:
    try:
        return dict(inspector.get_table_options(table))
    except NotImplementedError:  # SQLAlchemy 2.0 reads none on PostgreSQL
        return {}


def _shown(found: Any) -> str:
    return repr({key: str(found[key]) for key in sorted(found) if key != "comment"})


class OnSQL(PluginConformance):
    """All SQL engines show their schema in the same way."""

    __test__ = False

    def __init_subclass__(cls) -> None:
        cls.__test__ = True

    def schema(self, db: Database) -> dict[str, Any]:
        return schema_of(db.native)


class TestSQLiteFile(OnSQL):
    """002-01: the same kit as on every engine."""

    plugin = "sqlite"

    def config(self, tmp_path: Path) -> dict[str, Any]:
        return {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "kit.db")}


class TestSQLiteMemory(OnSQL):
    plugin = "sqlite"
    is_shared = False
    generated_filters = 400  # the same engine as TestSQLiteFile

    def config(self, tmp_path: Path) -> dict[str, Any]:
        return {"ENGINE": "sqlite", "DB_NAME": ":memory:"}


def on_mariadb(request: pytest.FixtureRequest) -> dict[str, Any]:
    """One database for all tests, its tables dropped before each: half the time of a new database."""
    server = request.getfixturevalue("shared_server")("mariadb")
    name = _mariadb.get(server.url)
    if name is None or not _drop_tables(server, name):
        name = _mariadb[server.url] = server.new_database()[0]
        request.session.addfinalizer(partial(server.drop_database, name))
    return dict(server.entry(name))


_mariadb: dict[str, str] = {}
_LOCK_WAIT_TIMEOUT = 1205


def _drop_tables(server: Any, name: str) -> bool:
    """Were they dropped? Not while a transaction of an earlier test holds one."""
    connection = pymysql.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        database=name,
        ssl_disabled=server.entry(name).get("TLS") == "off",
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SET lock_wait_timeout = 5, foreign_key_checks = 0")
        cursor.execute("SHOW TABLES")
        if tables := [row[0] for row in cursor.fetchall()]:
            try:
                cursor.execute(f"DROP TABLE {', '.join(f'`{table}`' for table in tables)}")
            except pymysql.err.OperationalError as exc:
                if exc.args[0] != _LOCK_WAIT_TIMEOUT:
                    raise
                return False
    return True


def on_postgresql(request: pytest.FixtureRequest) -> dict[str, Any]:
    """One database for all tests, empty for each: a new schema takes a tenth of the time of a new database."""
    server = request.getfixturevalue("shared_server")("postgresql")
    if server.url not in _postgresql:
        name, url = server.new_database()
        connection = psycopg.connect(
            url, autocommit=True, options="-c lock_timeout=10s -c client_min_messages=warning"
        )
        request.session.addfinalizer(partial(server.drop_database, name))
        request.session.addfinalizer(connection.close)
        _postgresql[server.url] = name, connection
    name, connection = _postgresql[server.url]
    connection.execute("DROP SCHEMA public CASCADE")
    connection.execute("CREATE SCHEMA public")
    return dict(server.entry(name))


_postgresql: dict[str, tuple[str, psycopg.Connection[Any]]] = {}


class TestPostgreSQL(OnSQL):
    """002-01."""

    plugin = "postgresql"
    server = own_server("postgresql")

    def config(self, tmp_path: Path) -> dict[str, Any]:
        return on_postgresql(self.request)


class TestPostgreSQLPsycopgAsync(
    Values,
    Attacks,
    Writes,
    Bulk,
    BulkConflicts,
    BulkUpdates,
    Upserts,
    Integrity,
    Parents,
    Paths,
    Streams,
    Nearest,
    Transactions,
    Conflicts,
    Sessions,
    Faults,
):
    """The second asynchronous driver: the subjects in which values, errors and cursors are the driver's. TestPostgreSQL
    has all of them with asyncpg, which is the first."""

    plugin = "postgresql"
    server = own_server("postgresql", "postgresql+psycopg")
    faces = ("async",)

    def config(self, tmp_path: Path) -> dict[str, Any]:
        return {**on_postgresql(self.request), "ENGINE": "postgresql+psycopg"}


class TestMariaDB(OnSQL):
    plugin = "mariadb"
    server = own_server("mariadb")

    def config(self, tmp_path: Path) -> dict[str, Any]:
        return on_mariadb(self.request)
