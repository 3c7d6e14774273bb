"""The engines: an empty database, and copies of one as it was at a moment, as often as one is wanted.

| engine     | a copy                                                    |
|------------|-----------------------------------------------------------|
| sqlite     | of the file, in either journal mode                        |
| postgresql | `CREATE DATABASE … TEMPLATE`                               |
| mariadb    | `SHOW CREATE TABLE` and the rows, kept and sent again      |
| mongodb    | collections, options, indexes and documents, the same way |
"""

from __future__ import annotations

import shutil
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pymongo
import pymongo.errors

import db_plugins
from crash_sweep.looking import JOURNAL
from servers import Server

__all__ = ["ENGINES", "Databases", "databases_of"]

Entry = Mapping[str, Any]


class Databases(ABC):
    """Databases of one engine. Those of a server are dropped with it."""

    name: str
    mode: str = ""

    @abstractmethod
    def empty(self) -> Entry:
        """An entry whose database is empty."""

    @abstractmethod
    def keep(self, entry: Entry, name: str) -> None:
        """Keep it as it is now. Nobody is connected to it."""

    @abstractmethod
    def copy(self, name: str) -> Entry:
        """A copy of what was kept under this name."""

    @abstractmethod
    def drop(self, entry: Entry) -> None:
        """It is not needed any more."""

    @abstractmethod
    def close(self) -> None:
        """None is needed any more."""

    def leftovers(self, entry: Entry) -> list[str]:
        """What a migration should have taken away after itself, beside the database."""
        return []

    def has_old_notes(self, entry: Entry) -> bool:
        """Is something in the journal that means nothing any more, and must not be mistaken by the next migration?"""
        return False

    def write(self, entry: Entry, *statements: str) -> None:
        """Send statements, outside of any migration."""
        with db_plugins.connect(dict(entry)) as db, db.native.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
            connection.commit()


class SQLite(Databases):
    """``mode`` is the journal mode of its files."""

    name = "sqlite"

    def __init__(self, folder: Path, mode: str) -> None:
        self.mode = mode
        self._folder = folder / mode
        self._folder.mkdir()
        self._number = 0

    def empty(self) -> Entry:
        self._number += 1
        folder = self._folder / str(self._number)
        folder.mkdir()
        return {"ENGINE": "sqlite", "DB_NAME": str(folder / "stars.db")}

    def keep(self, entry: Entry, name: str) -> None:
        with sqlite3.connect(entry["DB_NAME"]) as connection:
            connection.execute(f"PRAGMA journal_mode = {self.mode}")
        connection.close()
        assert not Path(f"{entry['DB_NAME']}-wal").exists(), "somebody is connected"
        shutil.copyfile(entry["DB_NAME"], self._folder / f"{name}.db")

    def copy(self, name: str) -> Entry:
        entry = self.empty()
        shutil.copyfile(self._folder / f"{name}.db", entry["DB_NAME"])
        return entry

    def drop(self, entry: Entry) -> None:
        shutil.rmtree(Path(entry["DB_NAME"]).parent)

    def close(self) -> None:
        shutil.rmtree(self._folder)

    def leftovers(self, entry: Entry) -> list[str]:
        file = Path(entry["DB_NAME"])
        return [each.name for each in file.parent.iterdir() if each != file]


class OnServer(Databases):
    """Databases of a server of the tests."""

    def __init__(self, server: Server) -> None:
        self.name = server.kind
        self._server = server
        self._there: set[str] = set()

    def empty(self) -> Entry:
        name, _url = self._server.new_database()
        return self._made(name)

    def _made(self, name: str) -> Entry:
        self._there.add(name)
        return {**self._server.entry(name), "DB_NAME": name}

    def drop(self, entry: Entry) -> None:
        self._server.drop_database(entry["DB_NAME"])
        self._there.discard(entry["DB_NAME"])

    def close(self) -> None:
        for name in sorted(self._there):
            self._server.drop_database(name)


class PostgreSQL(OnServer):
    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._number = 0
        self._kept: dict[str, str] = {}

    def keep(self, entry: Entry, name: str) -> None:
        self._kept[name] = self._copied(entry["DB_NAME"])

    def copy(self, name: str) -> Entry:
        return self._made(self._copied(self._kept[name]))

    def _copied(self, template: str) -> str:
        self._number += 1
        name = f"{template}_{self._number}"
        with db_plugins.connect({**self._server.entry("postgres")}) as db, db.native.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            # Two checkpoints of a small server without fsync are cheaper than 7 MB through its log.
            connection.exec_driver_sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        self._there.add(name)
        return name


class MariaDB(OnServer):
    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._kept: dict[str, dict[str, tuple[str, list[Any]]]] = {}

    def keep(self, entry: Entry, name: str) -> None:
        tables = self._kept[name] = {}
        with db_plugins.connect(dict(entry)) as db, db.native.connect() as connection:
            # Views come last, for they need their tables.
            found = sorted(connection.exec_driver_sql("SHOW FULL TABLES").all(), key=lambda each: each[1])
            for table, kind in found:
                made = connection.exec_driver_sql(f"SHOW CREATE TABLE `{table}`").one()[1]
                rows = connection.exec_driver_sql(f"SELECT * FROM `{table}`").all() if kind != "VIEW" else ()
                tables[table] = made, [tuple(row) for row in rows]

    def copy(self, name: str) -> Entry:
        entry = self.empty()
        with db_plugins.connect(dict(entry)) as db, db.native.connect() as connection:
            connection.exec_driver_sql("SET foreign_key_checks = 0")
            for table, (made, rows) in self._kept[name].items():
                connection.exec_driver_sql(made.replace("%", "%%"))
                if rows:
                    marks = ", ".join(["%s"] * len(rows[0]))
                    connection.exec_driver_sql(f"INSERT INTO `{table}` VALUES ({marks})", rows)
            connection.commit()
        return entry


class MongoDB(OnServer):
    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._kept: dict[str, list[tuple[str, Any, list[Any], list[Any]]]] = {}

    def keep(self, entry: Entry, name: str) -> None:
        with db_plugins.connect(dict(entry)) as db:
            native: Any = db.native
            self._kept[name] = [
                (
                    found["name"],
                    found["options"],
                    [dict(each) for each in native[found["name"]].list_indexes() if each["name"] != "_id_"],
                    list(native[found["name"]].find({"_id": {"$ne": "lock"}})),
                )
                for found in native.list_collections()
            ]

    def copy(self, name: str) -> Entry:
        entry = self.empty()
        with db_plugins.connect(dict(entry)) as db:
            native: Any = db.native
            for collection, options, indexes, documents in self._kept[name]:
                native.create_collection(collection, **{k: v for k, v in options.items() if k != "uuid"})
                for each in indexes:
                    rest = {k: v for k, v in each.items() if k not in ("key", "v", "ns")}
                    native[collection].create_index(list(each["key"].items()), **rest)
                if documents:
                    native[collection].insert_many(documents)
        return entry

    def drop(self, entry: Entry) -> None:
        # A transaction that was left open would keep it waiting, and the sweep has seen by then what it wants.
        with suppress(pymongo.errors.PyMongoError), pymongo.timeout(10):
            super().drop(entry)

    def has_old_notes(self, entry: Entry) -> bool:
        with db_plugins.connect(dict(entry)) as db:
            native: Any = db.native
            return bool(native[JOURNAL].count_documents({"n": {"$exists": True}}))

    def insert(self, entry: Entry, rows: Mapping[str, list[dict[str, Any]]]) -> None:
        """Store documents, outside of any migration."""
        with db_plugins.connect(dict(entry)) as db:
            native: Any = db.native
            for name, documents in rows.items():
                native[name].insert_many(documents)


_ON_SERVERS: dict[str, type[OnServer]] = {
    "postgresql": PostgreSQL,
    "mariadb": MariaDB,
    "mongodb": MongoDB,
}
ENGINES = ("sqlite", *_ON_SERVERS)


def databases_of(server: Server) -> Databases:
    """Those of a server that runs."""
    return _ON_SERVERS[server.kind](server)
