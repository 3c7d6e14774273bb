"""The writes that are compared, as each contender's user would write them: raw driver, SQLAlchemy Core and ORM, ours.

Every method takes the same list of dicts and has committed when it returns. `given()` makes of that list, outside the
timing, what this contender's user would have in hand: MongoDB's documents have `_id`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from .places import Place
from .written import STOCK, TAGS, PlainStock, PlainTag, Row, Stock, Tag

__all__ = ["CONTENDERS", "Writes", "writers"]

Rows = Iterable[Row]


class Writes(ABC):
    """The writes that are compared."""

    def given(self, method: str, rows: Rows) -> Rows:
        return rows

    @abstractmethod
    def bulk_insert(self, rows: Rows) -> Any: ...
    def load(self, rows: Rows) -> Any:
        """`bulk_insert` of more rows than memory is to hold."""
        return self.bulk_insert(rows)

    @abstractmethod
    def insert(self, rows: Rows) -> Any:
        """One by one, in one transaction."""

    @abstractmethod
    def insert_alone(self, rows: Rows) -> Any:
        """One by one, each committed by itself."""

    @abstractmethod
    def bulk_update(self, rows: Rows) -> Any: ...
    @abstractmethod
    def upsert(self, rows: Rows) -> Any: ...
    @abstractmethod
    def get_or_create(self, rows: Rows) -> Any:
        """One by one, each committed by itself."""


class Ours(Writes):
    """db_plugins: each call is its own, no session, no connection held, but in `insert` by the transaction."""

    def __init__(self, place: Place) -> None:
        self.engine = place.engine
        self.db = place.db

    def bulk_insert(self, rows: Rows) -> Any:
        self.db.query(Stock).bulk_insert(rows)

    def load(self, rows: Rows) -> Any:
        # By batch on MongoDB, as insert_many does: its server holds all of a transaction in its cache.
        options = {"atomic": False} if self.engine == "mongodb" else {}
        self.db.query(Stock).bulk_insert(rows, **options)

    def insert(self, rows: Rows) -> Any:
        with self.db.transaction() as tx:
            query = tx.query(Stock)
            for row in rows:
                query.insert(row)

    def insert_alone(self, rows: Rows) -> Any:
        for row in rows:
            self.db.query(Stock).insert(row)

    def bulk_update(self, rows: Rows) -> Any:
        self.db.query(Stock).bulk_update(rows)

    def upsert(self, rows: Rows) -> Any:
        self.db.query(Stock).bulk_insert(rows, on_conflict="update")

    def get_or_create(self, rows: Rows) -> Any:
        for row in rows:
            self.db.query(Tag).get_or_create({"name": row["name"]}, weight=row["weight"])


class RawSQL(Writes):
    """sqlite3 and psycopg: the statements with named values, so that they take the dicts as they are."""

    def __init__(self, place: Place) -> None:
        self.connection = place.raw
        values = "{id}, {name}, {price}, {shelf}, {sold}"
        self.insert_row = self._marked(f"INSERT INTO stock (id, name, price, shelf, sold) VALUES ({values})")
        self.upsert_row = (
            f"{self.insert_row} ON CONFLICT (id) DO UPDATE SET "
            "name = excluded.name, price = excluded.price, shelf = excluded.shelf, sold = excluded.sold"
        )
        self.update_row = self._marked("UPDATE stock SET price = {price}, name = {name} WHERE id = {id}")
        self.find_tag = self._marked("SELECT id, name, weight FROM tags WHERE name = {name}")
        self.make_tag = self._marked(
            "INSERT INTO tags (name, weight) VALUES ({name}, {weight})"
            " ON CONFLICT DO NOTHING RETURNING id, name, weight"
        )

    @staticmethod
    def _marked(statement: str) -> str:
        return statement.replace("{", ":").replace("}", "")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.connection.execute("BEGIN")
        yield
        self.connection.execute("COMMIT")

    def _many(self, statement: str, rows: Rows) -> None:
        with self._transaction():
            self.connection.cursor().executemany(statement, rows)

    def bulk_insert(self, rows: Rows) -> Any:
        self._many(self.insert_row, rows)

    def insert(self, rows: Rows) -> Any:
        with self._transaction():
            self.insert_alone(rows)

    def insert_alone(self, rows: Rows) -> Any:
        for row in rows:
            self.connection.execute(self.insert_row, row)

    def bulk_update(self, rows: Rows) -> Any:
        self._many(self.update_row, rows)

    def upsert(self, rows: Rows) -> Any:
        self._many(self.upsert_row, rows)

    def get_or_create(self, rows: Rows) -> Any:
        for row in rows:
            self._find(row) or self._make(row) or self._find(row)

    def _find(self, row: Row) -> Any:
        return self.connection.execute(self.find_tag, {"name": row["name"]}).fetchone()

    def _make(self, row: Row) -> Any:
        return self.connection.execute(self.make_tag, row).fetchone()


class RawPostgreSQL(RawSQL):
    @staticmethod
    def _marked(statement: str) -> str:
        return statement.replace("{", "%(").replace("}", ")s")

    def _transaction(self) -> AbstractContextManager[Any]:
        transaction: AbstractContextManager[Any] = self.connection.transaction()
        return transaction


class RawMongo(Writes):
    """PyMongo. The keys of tags are numbered as its users do it, by a document that is counted up."""

    def __init__(self, place: Place) -> None:
        self.client = place.raw.client
        self.stock, self.tags, self.counters = (place.raw[name] for name in ("stock", "tags", "counters"))
        # Numbers that db_plugins, which counts for itself, does not give.
        self.counters.replace_one({"_id": "tags"}, {"last": 1_000_000}, upsert=True)

    def given(self, method: str, rows: Rows) -> Rows:
        if method not in ("bulk_insert", "load", "insert", "insert_alone"):
            return rows
        return ({"_id": row["id"], **{name: row[name] for name in row if name != "id"}} for row in rows)

    def bulk_insert(self, rows: Rows) -> Any:
        self.stock.insert_many(rows)

    def insert(self, rows: Rows) -> Any:
        with self.client.start_session() as session, session.start_transaction():
            for row in rows:
                self.stock.insert_one(row, session=session)

    def insert_alone(self, rows: Rows) -> Any:
        for row in rows:
            self.stock.insert_one(row)

    def bulk_update(self, rows: Rows) -> Any:
        self.stock.bulk_write([self._update(row, upsert=False) for row in rows])

    def upsert(self, rows: Rows) -> Any:
        self.stock.bulk_write([self._update(row, upsert=True) for row in rows])

    @staticmethod
    def _update(row: Mapping[str, Any], *, upsert: bool) -> Any:
        from pymongo import UpdateOne

        changes = {name: value for name, value in row.items() if name != "id"}
        return UpdateOne({"_id": row["id"]}, {"$set": changes}, upsert=upsert)

    def get_or_create(self, rows: Rows) -> Any:
        for row in rows:
            if self.tags.find_one({"name": row["name"]}) is None:
                counted = self.counters.find_one_and_update(
                    {"_id": "tags"}, {"$inc": {"last": 1}}, return_document=True
                )
                self.tags.insert_one({"_id": counted["last"], **row})


INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Core(Writes):
    """SQLAlchemy Core."""

    def __init__(self, place: Place) -> None:
        assert place.url is not None, "SQLAlchemy has no MongoDB"
        self.engine = sa.create_engine(place.url)
        self.new = INSERTS[place.engine]

    def bulk_insert(self, rows: Rows) -> Any:
        with self.engine.begin() as connection:
            connection.execute(sa.insert(STOCK), rows)

    def insert(self, rows: Rows) -> Any:
        with self.engine.begin() as connection:
            for row in rows:
                connection.execute(sa.insert(STOCK), row)

    def insert_alone(self, rows: Rows) -> Any:
        with self.engine.connect() as connection:
            for row in rows:
                connection.execute(sa.insert(STOCK), row)
                connection.commit()

    def bulk_update(self, rows: Rows) -> Any:
        change = sa.update(STOCK).where(STOCK.c.id == sa.bindparam("key"))
        change = change.values(price=sa.bindparam("price"), name=sa.bindparam("name"))
        values = [{"key": row["id"], "price": row["price"], "name": row["name"]} for row in rows]
        with self.engine.begin() as connection:
            connection.execute(change, values)

    def upsert(self, rows: Rows) -> Any:
        with self.engine.begin() as connection:
            connection.execute(self._upsert(STOCK), rows)

    def _upsert(self, into: Any) -> Any:
        new = self.new(into)
        changed = {name: new.excluded[name] for name in STOCK.c.keys() if name != "id"}  # noqa: SIM118
        return new.on_conflict_do_update(index_elements=[STOCK.c.id], set_=changed)

    def get_or_create(self, rows: Rows) -> Any:
        with self.engine.connect() as connection:
            for row in rows:
                find = sa.select(TAGS).where(TAGS.c.name == row["name"])
                if connection.execute(find).one_or_none() is None:
                    make = self.new(TAGS).on_conflict_do_nothing().returning(*TAGS.c)
                    if connection.execute(make, row).one_or_none() is None:
                        connection.execute(find).one()
                connection.commit()


class Orm(Core):
    """SQLAlchemy's ORM, in one Session for all rows."""

    def bulk_insert(self, rows: Rows) -> Any:
        with Session(self.engine) as session:
            session.execute(sa.insert(PlainStock), rows)
            session.commit()

    def insert(self, rows: Rows) -> Any:
        with Session(self.engine) as session:
            for row in rows:
                session.add(PlainStock(**row))
                session.flush()
            session.commit()

    def insert_alone(self, rows: Rows) -> Any:
        with Session(self.engine) as session:
            for row in rows:
                session.add(PlainStock(**row))
                session.commit()

    def bulk_update(self, rows: Rows) -> Any:
        with Session(self.engine) as session:
            session.execute(sa.update(PlainStock), rows)
            session.commit()

    def upsert(self, rows: Rows) -> Any:
        with Session(self.engine) as session:
            session.execute(self._upsert(PlainStock), rows)
            session.commit()

    def get_or_create(self, rows: Rows) -> Any:
        with Session(self.engine) as session:
            for row in rows:
                find = sa.select(PlainTag).where(TAGS.c.name == row["name"])
                if session.scalars(find).one_or_none() is None:
                    session.add(PlainTag(**row))
                session.commit()


#: The sides of each engine: the raw driver first, ours last.
CONTENDERS: dict[str, dict[str, Callable[[Place], Writes]]] = {
    "sqlite": {"raw": RawSQL, "Core": Core, "ORM": Orm, "db_plugins": Ours},
    "postgresql": {"raw": RawPostgreSQL, "Core": Core, "ORM": Orm, "db_plugins": Ours},
    "mongodb": {"raw": RawMongo, "db_plugins": Ours},
}


def writers(place: Place) -> dict[str, Writes]:
    return {name: make(place) for name, make in CONTENDERS[place.engine].items()}
