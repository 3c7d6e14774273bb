"""What a write costs beside the raw driver, in the client's CPU time, on the same database in the same run.

Each operation is written twice: `Raw…` as somebody would write it on sqlite3, psycopg or PyMongo, and `Ours` once for
all. The two take turns; the figures are medians of rounds. A server's own work is not in CPU time of the client; on
SQLite, which is in the process, the database's work is in both.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from statistics import median
from typing import Any, ClassVar

from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db_plugins import Database
from servers import ServerError

from .places import PLACES, Place, place

__all__ = ["measure"]

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
        "insert": ("insert", 50),
        "bulk_insert": ("bulk insert of 1000", 1),
    }

    @abstractmethod
    def insert(self, key: int) -> Any: ...
    @abstractmethod
    def bulk_insert(self, key: int) -> Any: ...


class Ours(Side):
    def __init__(self, db: Database) -> None:
        self.db = db

    def insert(self, key: int) -> Any:
        return self.db.query(Item).insert(dict(zip(NAMES, make_rows(key, 1)[0], strict=True)))

    def bulk_insert(self, key: int) -> Any:
        rows = (dict(zip(NAMES, row, strict=True)) for row in make_rows(key, 1000))
        return self.db.query(Item).bulk_insert(rows)


class RawSQL(Side):
    """sqlite3 and psycopg: the same words, but for the mark of a bound value."""

    def __init__(self, connection: Any, mark: str) -> None:
        self.connection = connection
        self.statement = f"INSERT INTO items VALUES ({mark}, {mark}, {mark}, {mark}, {mark})"

    def insert(self, key: int) -> Any:
        self.connection.execute(self.statement, make_rows(key, 1)[0])

    def bulk_insert(self, key: int) -> Any:
        cursor = self.connection.cursor()
        cursor.execute("BEGIN")
        cursor.executemany(self.statement, make_rows(key, 1000))
        cursor.execute("COMMIT")


class RawMongo(Side):
    def __init__(self, collection: Any) -> None:
        self.collection = collection

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


def measure(*, quick: bool = False, engines: Collection[str] = tuple(PLACES)) -> str:
    """The section of the page."""
    rounds = 2 if quick else ROUNDS
    lines = [
        "## Writes beside the raw driver\n",
        f"Microseconds of the client's CPU for one call, medians of {rounds} rounds in turns. *Time* is the ratio of the",
        "whole time, the server's included.\n",
    ]
    for engine in engines:
        try:
            with place(engine, [Item]) as made:
                lines += [f"### Writes on {made.title}\n", *_table(made, rounds), ""]
        except ServerError as error:
            lines += [f"### Writes on {engine}\n", f"Not measured: {error}\n"]
    return "\n".join(lines)


def _raw(made: Place) -> Side:
    if made.engine == "mongodb":
        return RawMongo(made.raw["items"])
    return RawSQL(made.raw, "?" if made.engine == "sqlite" else "%s")


def _table(made: Place, rounds: int) -> Iterator[str]:
    raw, ours = _raw(made), Ours(made.db)
    first = iter(range(0, 10**9, 1000))  # each write takes keys that nobody has
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
