"""The reads that are compared, as each contender's user would write them: raw driver, SQLAlchemy Core and ORM, ours.

Every method takes a number that varies what is read, and answers with what its user would get: the driver's tuples
or documents, Core's rows, objects. `unit()` is what one round of calls happens in: a connection or a Session.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .places import Place
from .tables import (
    ITEMS,
    LISTED,
    MANY,
    NAMES,
    PER_PAGE,
    Data,
    Item,
    Listed,
    Many,
    PlainItem,
    PlainListed,
    PlainMany,
)

__all__ = ["BATCH", "Reads", "contenders", "count"]

BATCH = 1000


class Reads(ABC):
    """The reads that are compared."""

    def __init__(self, place: Place, data: Data) -> None:
        self.place, self.data = place, data

    def unit(self) -> AbstractContextManager[Any]:
        return nullcontext()

    @abstractmethod
    def get(self, n: int) -> Any: ...
    @abstractmethod
    def filtered(self, n: int) -> Any: ...
    @abstractmethod
    def objects(self, n: int) -> Any: ...
    @abstractmethod
    def dicts(self, n: int) -> Any: ...
    @abstractmethod
    def stream(self, n: int) -> int: ...
    @abstractmethod
    def page(self, number: int) -> Any: ...
    @abstractmethod
    def first_cursor_page(self, n: int) -> Any: ...
    @abstractmethod
    def cursor_page(self, n: int) -> Any: ...

    def first_page(self, n: int) -> Any:
        return self.page(1)

    def deep_page(self, n: int) -> Any:
        return self.page(self.data.page)


class Ours(Reads):
    """db_plugins: each call is its own, no session, no connection held."""

    def __init__(self, place: Place, data: Data) -> None:
        super().__init__(place, data)
        self.db = place.db
        self._cursor: str | None = None

    def get(self, n: int) -> Any:
        return self.db.query(Item).get(self.data.key(n))

    def filtered(self, n: int) -> Any:
        price, name = self.data.bounds(n)
        return (
            self.db.query(Item)
            .filter(Item.price > price, Item.name >= name)
            .order_by("price")
            .limit(50)
            .all()
        )

    def objects(self, n: int) -> Any:
        return self.db.query(Item).all()

    def dicts(self, n: int) -> Any:
        return self.db.query(Item).to_dicts()

    def stream(self, n: int) -> int:
        return count(self.db.query(Many).stream(batch_size=BATCH))

    def page(self, number: int) -> Any:
        return self.db.query(Listed).paginate(number, PER_PAGE)

    def cursor_page(self, n: int) -> Any:
        return self.db.query(Item).order_by("price").cursor_paginate(self.cursor(), PER_PAGE)

    def first_cursor_page(self, n: int) -> Any:
        return self.db.query(Item).order_by("price").cursor_paginate(None, PER_PAGE)

    def cursor(self) -> str | None:
        """The cursor of page 1,000: after one page of everything before it."""
        if self._cursor is None:
            skipped = self.data.skipped
            before = (
                self.db.query(Item).order_by("price").cursor_paginate(None, skipped, max_per_page=skipped)
            )
            self._cursor = before.next_cursor
        return self._cursor


class RawSQL(Reads):
    """sqlite3 and psycopg: tuples, with the values as the driver gives them."""

    def __init__(self, place: Place, data: Data) -> None:
        super().__init__(place, data)
        self.connection = place.raw
        mark = "?" if place.engine == "sqlite" else "%s"
        select = f"SELECT {', '.join(NAMES)} FROM"
        self.by_key = f"{select} items WHERE id = {mark}"
        self.by_price = f"{select} items WHERE price > {mark} AND name >= {mark} ORDER BY price, id LIMIT 50"
        self.everything = f"{select} items"
        self.many = f"{select} many"
        self.window = f"{select} listed ORDER BY id LIMIT {mark} OFFSET {mark}"
        self.first = f"{select} items ORDER BY price, id LIMIT {mark}"
        self.after = f"{select} items WHERE (price, id) > ({mark}, {mark}) ORDER BY price, id LIMIT {mark}"

    def get(self, n: int) -> Any:
        return self.connection.execute(self.by_key, (self.data.key(n),)).fetchone()

    def filtered(self, n: int) -> Any:
        return self.connection.execute(self.by_price, self.data.bounds(n)).fetchall()

    def objects(self, n: int) -> Any:
        return self.connection.execute(self.everything).fetchall()

    def dicts(self, n: int) -> Any:
        found = self.connection.execute(self.everything).fetchall()
        return [dict(zip(NAMES, row)) for row in found]  # noqa: B905 - as it is mostly written, and faster

    def stream(self, n: int) -> int:
        return self._drain(self.connection.execute(self.many))

    def page(self, number: int) -> Any:
        self.connection.execute("SELECT count(*) FROM listed").fetchone()
        return self.connection.execute(self.window, (PER_PAGE, (number - 1) * PER_PAGE)).fetchall()

    def first_cursor_page(self, n: int) -> Any:
        return self.connection.execute(self.first, (PER_PAGE,)).fetchall()

    def cursor_page(self, n: int) -> Any:
        return self.connection.execute(self.after, (*self.data.before, PER_PAGE)).fetchall()

    @staticmethod
    def _drain(cursor: Any) -> int:
        number = 0
        while rows := cursor.fetchmany(BATCH):
            number += count(rows)
        return number


class RawPostgreSQL(RawSQL):
    def stream(self, n: int) -> int:
        with self.connection.transaction(), self.connection.cursor(name="bench") as cursor:
            return self._drain(cursor.execute(self.many))


class RawMongo(Reads):
    """PyMongo: documents as dicts."""

    def __init__(self, place: Place, data: Data) -> None:
        super().__init__(place, data)
        self.items, self.listed, self.many = (place.raw[name] for name in ("items", "listed", "many"))

    def get(self, n: int) -> Any:
        return self.items.find_one({"_id": self.data.key(n)})

    def filtered(self, n: int) -> Any:
        price, name = self.data.bounds(n)
        found = self.items.find({"price": {"$gt": price}, "name": {"$gte": name}})
        return found.sort([("price", 1), ("_id", 1)]).limit(50).to_list()

    def objects(self, n: int) -> Any:
        return self.items.find().to_list()

    def dicts(self, n: int) -> Any:
        return self.items.find().to_list()

    def stream(self, n: int) -> int:
        return count(self.many.find(batch_size=BATCH))

    def page(self, number: int) -> Any:
        self.listed.count_documents({})
        return self.listed.find().sort("_id", 1).skip((number - 1) * PER_PAGE).limit(PER_PAGE).to_list()

    def first_cursor_page(self, n: int) -> Any:
        return self.items.find().sort([("price", 1), ("_id", 1)]).limit(PER_PAGE).to_list()

    def cursor_page(self, n: int) -> Any:
        price, key = self.data.before
        after = {"price": {"$gte": price}, "$or": [{"price": {"$gt": price}}, {"_id": {"$gt": key}}]}
        return self.items.find(after).sort([("price", 1), ("_id", 1)]).limit(PER_PAGE).to_list()


class Core(Reads):
    """SQLAlchemy Core: rows, on one connection for all calls of a round."""

    connection: Any

    def __init__(self, place: Place, data: Data) -> None:
        super().__init__(place, data)
        assert place.url is not None, "SQLAlchemy has no MongoDB"
        self.engine = sa.create_engine(place.url)

    @contextmanager
    def unit(self) -> Iterator[None]:
        with self.engine.connect() as self.connection:
            yield

    def get(self, n: int) -> Any:
        return self.connection.execute(sa.select(ITEMS).where(ITEMS.c.id == self.data.key(n))).one()

    def filtered(self, n: int) -> Any:
        price, name = self.data.bounds(n)
        chosen = sa.select(ITEMS).where(ITEMS.c.price > price, ITEMS.c.name >= name)
        return self.connection.execute(chosen.order_by(ITEMS.c.price, ITEMS.c.id).limit(50)).all()

    def objects(self, n: int) -> Any:
        return self.connection.execute(sa.select(ITEMS)).all()

    def dicts(self, n: int) -> Any:
        return [dict(row) for row in self.connection.execute(sa.select(ITEMS)).mappings()]

    def stream(self, n: int) -> int:
        return count(self.connection.execute(sa.select(MANY), execution_options={"yield_per": BATCH}))

    def page(self, number: int) -> Any:
        self.connection.execute(sa.select(sa.func.count()).select_from(LISTED)).scalar_one()
        window = sa.select(LISTED).order_by(LISTED.c.id).limit(PER_PAGE).offset((number - 1) * PER_PAGE)
        return self.connection.execute(window).all()

    def first_cursor_page(self, n: int) -> Any:
        page = sa.select(ITEMS).order_by(ITEMS.c.price, ITEMS.c.id).limit(PER_PAGE)
        return self.connection.execute(page).all()

    def cursor_page(self, n: int) -> Any:
        after = sa.tuple_(ITEMS.c.price, ITEMS.c.id) > self.data.before
        page = sa.select(ITEMS).where(after).order_by(ITEMS.c.price, ITEMS.c.id).limit(PER_PAGE)
        return self.connection.execute(page).all()


class Orm(Core):
    """SQLAlchemy's ORM: objects, in one Session for all calls of a round."""

    session: Session

    @contextmanager
    def unit(self) -> Iterator[None]:
        with Session(self.engine) as self.session:
            yield

    def get(self, n: int) -> Any:
        return self.session.get(PlainItem, self.data.key(n))

    def filtered(self, n: int) -> Any:
        price, name = self.data.bounds(n)
        chosen = sa.select(PlainItem).where(PlainItem.price > price, PlainItem.name >= name)
        return self.session.scalars(chosen.order_by(PlainItem.price, PlainItem.id).limit(50)).all()

    def objects(self, n: int) -> Any:
        return self.session.scalars(sa.select(PlainItem)).all()

    def dicts(self, n: int) -> Any:
        return [dict(row) for row in self.session.execute(sa.select(*ITEMS.columns)).mappings()]

    def stream(self, n: int) -> int:
        return count(self.session.scalars(sa.select(PlainMany), execution_options={"yield_per": BATCH}))

    def page(self, number: int) -> Any:
        self.session.scalar(sa.select(sa.func.count()).select_from(PlainListed))
        window = (
            sa.select(PlainListed).order_by(PlainListed.id).limit(PER_PAGE).offset((number - 1) * PER_PAGE)
        )
        return self.session.scalars(window).all()

    def first_cursor_page(self, n: int) -> Any:
        page = sa.select(PlainItem).order_by(PlainItem.price, PlainItem.id).limit(PER_PAGE)
        return self.session.scalars(page).all()

    def cursor_page(self, n: int) -> Any:
        after = sa.tuple_(PlainItem.price, PlainItem.id) > self.data.before
        page = sa.select(PlainItem).where(after).order_by(PlainItem.price, PlainItem.id).limit(PER_PAGE)
        return self.session.scalars(page).all()


def count(rows: Iterable[Any]) -> int:
    """The consumer of a stream: it looks at each row once and keeps none."""
    number = 0
    for _ in rows:
        number += 1
    return number


#: The sides of each engine: the raw driver first, ours last.
CONTENDERS: dict[str, dict[str, type[Reads]]] = {
    "sqlite": {"raw": RawSQL, "Core": Core, "ORM": Orm, "db_plugins": Ours},
    "postgresql": {"raw": RawPostgreSQL, "Core": Core, "ORM": Orm, "db_plugins": Ours},
    "mongodb": {"raw": RawMongo, "db_plugins": Ours},
}


def contenders(place: Place, data: Data) -> dict[str, Reads]:
    return {name: make(place, data) for name, make in CONTENDERS[place.engine].items()}
