"""What a query costs beside the raw driver, in the client's CPU time, on the same database in the same run.

Each operation is written twice: `Raw…` as somebody would write it on sqlite3, psycopg or PyMongo, and `Ours` once for
all. The two take turns; the figures are medians of rounds. A server's own work is not in CPU time of the client; on
SQLite, which is in the process, the database's work is in both.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import db_plugins
from db_plugins import Database
from servers import KINDS, ServerError

__all__ = ["measure"]

ROWS = 3000
ROUNDS = 15
Row = tuple[int, str, float, str, int]


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(40))
    weight: Mapped[float] = mapped_column(index=True)
    shelf: Mapped[str] = mapped_column(String(8))
    sold: Mapped[int]


NAMES = ("id", "name", "weight", "shelf", "sold")


def make_rows(first: int, count: int) -> list[Row]:
    return [(n, f"item {n}", n * 7919 % 1000 / 10, f"s{n % 40}", n % 9) for n in range(first, first + count)]


class Side(ABC):
    """The operations that are compared."""

    #: How the table names each, and how often it is called in a round.
    OPERATIONS: ClassVar[dict[str, tuple[str, int]]] = {
        "get": ("get by key", 100),
        "page": ("filter, order, limit 50", 30),
        "all": (f"{ROWS} rows: objects beside the driver's rows", 1),
        "dicts": (f"{ROWS} rows: dicts on both sides", 1),
        "insert": ("insert", 50),
        "bulk_insert": ("bulk insert of 1000", 1),
    }

    @abstractmethod
    def get(self, key: int) -> Any: ...
    @abstractmethod
    def page(self, key: int) -> Any: ...
    @abstractmethod
    def all(self, key: int) -> Any: ...
    @abstractmethod
    def dicts(self, key: int) -> Any: ...
    @abstractmethod
    def insert(self, key: int) -> Any: ...
    @abstractmethod
    def bulk_insert(self, key: int) -> Any: ...


class Ours(Side):
    def __init__(self, db: Database) -> None:
        self.db = db

    def get(self, key: int) -> Any:
        return self.db.query(Item).get(key % ROWS)

    def page(self, key: int) -> Any:
        return self.db.query(Item).filter(Item.weight > key % 90).order_by("weight").limit(50).all()

    def all(self, key: int) -> Any:
        return self.db.query(Item).filter(Item.id < ROWS).all()

    def dicts(self, key: int) -> Any:
        return self.db.query(Item).filter(Item.id < ROWS).to_dicts()

    def insert(self, key: int) -> Any:
        return self.db.query(Item).insert(dict(zip(NAMES, make_rows(key, 1)[0], strict=True)))

    def bulk_insert(self, key: int) -> Any:
        rows = (dict(zip(NAMES, row, strict=True)) for row in make_rows(key, 1000))
        return self.db.query(Item).bulk_insert(rows)


SELECT = "SELECT id, name, weight, shelf, sold FROM items"


class RawSQL(Side):
    """sqlite3 and psycopg: the same words, but for the mark of a bound value."""

    def __init__(self, connection: Any, mark: str) -> None:
        self.connection = connection
        self.statements = {
            "get": f"{SELECT} WHERE id = {mark}",
            "page": f"{SELECT} WHERE weight > {mark} ORDER BY weight, id LIMIT 50",
            "all": f"{SELECT} WHERE id < {mark}",
            "insert": f"INSERT INTO items VALUES ({mark}, {mark}, {mark}, {mark}, {mark})",
        }

    def get(self, key: int) -> Any:
        return self.connection.execute(self.statements["get"], (key % ROWS,)).fetchone()

    def page(self, key: int) -> Any:
        return self.connection.execute(self.statements["page"], (float(key % 90),)).fetchall()

    def all(self, key: int) -> Any:
        return self.connection.execute(self.statements["all"], (ROWS,)).fetchall()

    def dicts(self, key: int) -> Any:
        found = self.connection.execute(self.statements["all"], (ROWS,))
        return [dict(zip(NAMES, row, strict=True)) for row in found.fetchall()]

    def insert(self, key: int) -> Any:
        self.connection.execute(self.statements["insert"], make_rows(key, 1)[0])

    def bulk_insert(self, key: int) -> Any:
        cursor = self.connection.cursor()
        cursor.execute("BEGIN")
        cursor.executemany(self.statements["insert"], make_rows(key, 1000))
        cursor.execute("COMMIT")


class RawMongo(Side):
    def __init__(self, collection: Any) -> None:
        self.collection = collection

    def get(self, key: int) -> Any:
        return self.collection.find_one({"_id": key % ROWS})

    def page(self, key: int) -> Any:
        found = self.collection.find({"weight": {"$gt": float(key % 90)}})
        return found.sort([("weight", 1), ("_id", 1)]).limit(50).to_list()

    def all(self, key: int) -> Any:
        return self.collection.find({"_id": {"$lt": ROWS}}).to_list()

    def dicts(self, key: int) -> Any:
        return self.collection.find({"_id": {"$lt": ROWS}}).to_list()

    def insert(self, key: int) -> Any:
        self.collection.insert_one(self._documents(key, 1)[0])

    def bulk_insert(self, key: int) -> Any:
        client = self.collection.database.client
        with client.start_session() as session, session.start_transaction():
            self.collection.insert_many(self._documents(key, 1000), session=session)

    @staticmethod
    def _documents(key: int, count: int) -> list[dict[str, Any]]:
        names = ("_id", *NAMES[1:])
        return [dict(zip(names, row, strict=True)) for row in make_rows(key, count)]


@contextmanager
def on_sqlite(folder: Path) -> Iterator[tuple[str, Database, Side]]:
    file = folder / "bench.db"
    with db_plugins.connect({"ENGINE": "sqlite", "DB_NAME": str(file)}, models=[Item]) as db:
        db.create_all()  # makes the file, with write-ahead logging
        raw = sqlite3.connect(file, isolation_level=None)
        yield f"SQLite {sqlite3.sqlite_version}, beside sqlite3", db, RawSQL(raw, "?")
        raw.close()


@contextmanager
def on_postgresql(folder: Path) -> Iterator[tuple[str, Database, Side]]:
    import psycopg

    with KINDS["postgresql"](folder) as server:
        name, url = server.new_database()
        with db_plugins.connect(server.entry(name), models=[Item]) as db:
            db.create_all()
            with psycopg.connect(url, autocommit=True) as raw:
                yield f"PostgreSQL {db.ping().version}, beside psycopg", db, RawSQL(raw, "%s")


@contextmanager
def on_mongodb(folder: Path) -> Iterator[tuple[str, Database, Side]]:
    import pymongo

    with KINDS["mongodb"](folder) as server:
        name, url = server.new_database()
        with db_plugins.connect(server.entry(name), models=[Item]) as db:
            db.create_all()
            with pymongo.MongoClient[dict[str, Any]](url) as client:
                yield "MongoDB's protocol, beside PyMongo", db, RawMongo(client[name]["items"])


def measure(*, quick: bool = False) -> str:
    """The section of the page."""
    rounds = 2 if quick else ROUNDS
    lines = [
        "## Queries beside the raw driver\n",
        f"Microseconds of the client's CPU for one call, medians of {rounds} rounds in turns. *Time* is the ratio of the",
        "whole time, the server's included.\n",
    ]
    for make in (on_sqlite, on_postgresql, on_mongodb):
        with tempfile.TemporaryDirectory(prefix="dbp-bench-") as folder:
            Path(folder).chmod(0o711)  # a PostgreSQL that root starts runs as nobody and must get through
            try:
                with make(Path(folder)) as (title, db, raw):
                    lines += [f"### {title}\n", *_table(db, raw, rounds), ""]
            except ServerError as error:
                lines += [f"### {make.__name__.removeprefix('on_')}\n", f"Not measured: {error}\n"]
    return "\n".join(lines)


def _table(db: Database, raw: Side, rounds: int) -> Iterator[str]:
    ours = Ours(db)
    first = iter(range(ROWS, 10**9, 1000))  # each write takes keys that nobody has
    db.query(Item).bulk_insert(dict(zip(NAMES, row, strict=True)) for row in make_rows(0, ROWS))
    yield "| | raw | db_plugins | ratio | time |"
    yield "|---|--:|--:|--:|--:|"
    for name, (title, calls) in Side.OPERATIONS.items():
        cpu: list[tuple[float, float]] = []
        wall: list[tuple[float, float]] = []
        for _ in range(rounds + 1):
            one = _timed(getattr(raw, name), calls, next(first))
            other = _timed(getattr(ours, name), calls, next(first))
            cpu.append((one[0], other[0]))
            wall.append((one[1], other[1]))
        del cpu[0], wall[0]  # the first round warms up
        ratio, time_ratio = (median(b / a for a, b in pairs) for pairs in (cpu, wall))
        low, high = median(a for a, _ in cpu), median(b for _, b in cpu)
        yield f"| {title} | {low:,.0f} | {high:,.0f} | {ratio:.1f} | {time_ratio:.1f} |"


def _timed(call: Callable[[int], Any], calls: int, key: int) -> tuple[float, float]:
    """Microseconds for one call: CPU of this process, and time."""
    began, cpu_began = time.perf_counter(), time.process_time()
    for n in range(calls):
        call(key + n)
    cpu, wall = time.process_time() - cpu_began, time.perf_counter() - began
    return max(cpu, 1e-9) / calls * 1e6, wall / calls * 1e6
