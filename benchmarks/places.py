"""Where the benchmarks run: an empty database of each engine, opened by db_plugins and by its raw driver.

A place is made as a user of db_plugins would make it (`create_all`), so a SQLite file has write-ahead logging.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import db_plugins
from db_plugins import Database
from servers import KINDS

__all__ = ["PLACES", "Place", "place", "store"]


@dataclass(frozen=True)
class Place:
    """An engine with the models' tables in it, and what each contender connects with."""

    engine: str
    title: str
    entry: Mapping[str, Any]  # as in DB_CONFIG
    db: Database
    raw: Any  # a connection of sqlite3 or psycopg, or PyMongo's database
    url: str | None = None  # for SQLAlchemy's create_engine


Models = Sequence[type[Any]]


@contextmanager
def _sqlite(folder: Path, models: Models) -> Iterator[Place]:
    file = folder / "bench.db"
    entry = {"ENGINE": "sqlite", "DB_NAME": str(file)}
    with db_plugins.connect(entry, models=models) as db:
        db.create_all()
        raw = sqlite3.connect(file, isolation_level=None)
        title = f"SQLite {sqlite3.sqlite_version}, beside sqlite3"
        yield Place("sqlite", title, entry, db, raw, f"sqlite:///{file}")
        raw.close()


@contextmanager
def _postgresql(folder: Path, models: Models) -> Iterator[Place]:
    import psycopg
    from sqlalchemy import make_url

    with KINDS["postgresql"](folder) as server:
        name, url = server.new_database()
        entry = server.entry(name)
        with db_plugins.connect(entry, models=models) as db:
            db.create_all()
            title = f"PostgreSQL {db.ping().version}, beside psycopg"
            driver = make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
            with psycopg.connect(url, autocommit=True) as raw:
                yield Place("postgresql", title, entry, db, raw, driver)


@contextmanager
def _mongodb(folder: Path, models: Models) -> Iterator[Place]:
    import pymongo

    with KINDS["mongodb"](folder) as server:
        name, url = server.new_database()
        entry = server.entry(name)
        with db_plugins.connect(entry, models=models) as db:
            db.create_all()
            with pymongo.MongoClient[dict[str, Any]](url) as client:
                yield Place("mongodb", "MongoDB's protocol, beside PyMongo", entry, db, client[name])


PLACES: dict[str, Callable[[Path, Models], AbstractContextManager[Place]]] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "mongodb": _mongodb,
}


@contextmanager
def place(engine: str, models: Models) -> Iterator[Place]:
    """A place of that engine, gone with the block; ServerError if its server does not start."""
    with tempfile.TemporaryDirectory(prefix="dbp-bench-") as folder:
        Path(folder).chmod(0o711)  # a PostgreSQL that root starts runs as nobody and must get through
        with PLACES[engine](Path(folder), models) as made:
            yield made


@contextmanager
def store(engine: str, models: Models) -> Iterator[tuple[Mapping[str, Any], Database]]:
    """A Database with the models' tables, and its entry, of SQLite or any server; gone with the block."""
    with tempfile.TemporaryDirectory(prefix="dbp-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o711)
        if engine == "sqlite":
            entry: Mapping[str, Any] = {"ENGINE": "sqlite", "DB_NAME": str(folder / "bench.db")}
        else:
            server = stack.enter_context(KINDS[engine](folder))
            entry = server.entry(server.new_database()[0])
        db = stack.enter_context(db_plugins.connect(entry, models=models))
        db.create_all()
        yield entry, db
