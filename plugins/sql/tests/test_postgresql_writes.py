"""PostgreSQL's own ways to write, on the real server: what they store, what they count, and where they stand back.

The reference for values is ``Writer``, which has the driver send each row as SQLAlchemy would.
"""

from __future__ import annotations

import datetime as dt
import math
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_cursor
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import db_plugins
from db_plugins.errors import (
    ConflictError,
    DuplicateKeyError,
    EngineError,
    ForeignKeyError,
    NotNullError,
)
from db_plugins.testing.kit.faces import connect_driven
from db_plugins.testing.kit.models import (
    Author,
    Badge,
    Book,
    Colour,
    Exact,
    Labelled,
    Pair,
    Passage,
    Stamped,
    Star,
    Thing,
    Token,
)
from db_plugins_sql import numbering, postgresql_writes
from db_plugins_sql.postgresql_tables import RealColumn, RealTable, sent_as
from db_plugins_sql.writes import Writer

MODELS = [Star, Thing, Exact, Pair, Token, Badge, Labelled, Passage, Stamped, Author, Book]


class Base(DeclarativeBase):
    pass


class Odd(Base):
    """Names that must be quoted, some of them twice."""

    __tablename__ = "Odd \"100%%\" 'table'"
    __table_args__ = {"schema": "My % schema"}
    id: Mapped[int] = mapped_column("The 5% Id", primary_key=True)
    name: Mapped[str] = mapped_column('na"me', sa.String(20), unique=True)
    hits: Mapped[int] = mapped_column("select", default=0)


class Loose(Base):
    """A model of a table that somebody else made."""

    __tablename__ = "loose"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(sa.String(20), unique=True)
    number: Mapped[int | None]
    colour: Mapped[Colour | None] = mapped_column(sa.Enum(Colour))
    extra: Mapped[Any | None] = mapped_column(sa.JSON)
    price: Mapped[Decimal | None] = mapped_column(sa.Numeric(10, 2))


class Rough(Base):
    """A model of another such table."""

    __tablename__ = "rough"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int | None]
    size: Mapped[float | None]
    tags: Mapped[list[str] | None] = mapped_column(
        sa.JSON().with_variant(postgresql.ARRAY(sa.Text), "postgresql")
    )


class Place:
    """A database of the run's server, and a plain connection to it."""

    def __init__(self, server: Any) -> None:
        self.name, self.url = server.new_database()
        self.entry: dict[str, Any] = dict(server.entry(self.name))

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def place(postgresql_server: Any) -> Iterator[Place]:
    made = Place(postgresql_server)
    yield made
    postgresql_server.drop_database(made.name)


#: What a test of every driver is shown: ``connect``, and ``connect_async`` on each of its drivers.
DRIVERS = ["sync", "asyncpg", "psycopg"]
on_every_driver = pytest.mark.parametrize("driver", DRIVERS, indirect=True)
Connects = Callable[..., Any]


@pytest.fixture
def driver(request: pytest.FixtureRequest) -> str:
    return getattr(request, "param", "sync")


@pytest.fixture
def connects(driver: str) -> Connects:
    """``connect``, or the one whose Database drives an AsyncDatabase."""
    if driver == "sync":
        return db_plugins.connect

    def connect(entry: dict[str, Any], **options: Any) -> Any:
        return connect_driven({**entry, "ENGINE": f"postgresql+{driver}"}, **options)

    return connect


@pytest.fixture
def db(place: Place, connects: Connects) -> Iterator[db_plugins.Database]:
    with connects(place.entry, models=MODELS) as db:
        db.create_all()
        yield db


@contextmanager
def plainly(db: db_plugins.Database) -> Iterator[None]:
    """Writes go as in any dialect."""
    engine: Any = db._connected().engine  # type: ignore[attr-defined]
    engine.writer = Writer()
    try:
        yield
    finally:
        del engine.writer


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is sent to the driver: the beginnings of statements."""
    heard: list[str] = []

    def listening(cls: Any, method: str, shown: str = "{}") -> None:
        real = getattr(cls, method)

        def call(self: Any, text: Any, *given: Any, **more: Any) -> Any:
            heard.append(shown.format(text))
            return real(self, text, *given, **more)

        monkeypatch.setattr(cls, method, call)

    for method in ("execute", "executemany", "copy"):
        listening(psycopg.Cursor, method)
        listening(psycopg.AsyncCursor, method)
    for method in ("execute", "executemany"):
        listening(AsyncAdapt_asyncpg_cursor, method)
    listening(asyncpg.Connection, "copy_records_to_table", "COPY {}")
    return heard


def words(sent: list[str]) -> list[str]:
    """The statements that write."""
    return [word for text in sent if (word := text.split()[0]) in ("COPY", "INSERT", "UPDATE", "WITH")]


# -- values ------------------------------------------------------------------------------------------------------------

UTC = dt.UTC
AHEAD = dt.timezone(dt.timedelta(hours=5, minutes=45))
VALUES: dict[str, list[Any]] = {
    "text": ["", "a", "é", "日本", "🚀", "a\tb\nc\\d", "\\N", "'\"%", "x" * 200],
    "long_text": ["x" * 100_000, "\\."],
    "small": [-(2**15), 2**15 - 1, 0],
    "number": [-(2**31), 2**31 - 1, -1],
    "big": [-(2**63), 2**63 - 1],
    "size": [0.1, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, 3, 2**70],
    "price": [Decimal("0.001"), Decimal("-999999999.999"), Decimal("1E+3"), 7, Decimal("0E-3")],
    "flag": [True, False],
    "colour": list(Colour),
    "letter": ["S", "M", "L"],
    "at": [
        dt.datetime(1, 1, 2, tzinfo=UTC),
        dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        dt.datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=AHEAD),
    ],
    "local": [dt.datetime.min, dt.datetime.max, dt.datetime(2000, 1, 1)],
    "day": [dt.date.min, dt.date.max],
    "hour": [dt.time.min, dt.time.max],
    "token": [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)],
    "raw": [b"", b"\x00\xff", bytes(range(256)) * 10],
    "extra": [{}, [], "", 0, False, {"a": [1, None, {"é\\": "\u2028"}]}, [2**63 - 1, -1.5]],
}


def things() -> list[dict[str, Any]]:
    """A row for each value, NULL in its other columns; and rows of many values, NULL in none of a batch."""
    sparse = [{**dict.fromkeys(VALUES), name: value} for name, values in VALUES.items() for value in values]
    longest = max(map(len, VALUES.values()))
    full = [{name: values[n % len(values)] for name, values in VALUES.items()} for n in range(longest)]
    return [*sparse, dict.fromkeys(VALUES), *full]


def stored(place: Place, table: str) -> list[tuple[Any, ...]]:
    """The rows as the server writes them."""
    return place.run(f"SELECT t::text FROM {table} t ORDER BY id")


WAYS: dict[str, Callable[[Any, list[dict[str, Any]]], Any]] = {
    "COPY": lambda query, rows: query.bulk_insert(rows),
    "INSERT": lambda query, rows: query.bulk_insert(rows),
    "WITH": lambda query, rows: query.bulk_insert(
        [{"id": n, **row} for n, row in enumerate(rows, 1)], on_conflict="update"
    ),
}


@on_every_driver
@pytest.mark.parametrize("way", WAYS)
def test_every_way_stores_what_the_plain_way_stores(
    db: Any, place: Place, way: str, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_writes, "COPIED_FROM", 1 if way == "COPY" else 1_000_000)
    query = db.query(Thing)
    with plainly(db):
        query.bulk_insert(things())
    expected = stored(place, "kit_thing")
    place.run("TRUNCATE kit_thing RESTART IDENTITY")
    sent.clear()
    WAYS[way](query, things())
    assert way in words(sent)
    assert stored(place, "kit_thing") == expected
    read = [{name: getattr(thing, name) for name in VALUES} for thing in query.order_by("id").all()]
    assert [row["extra"] for row in read] == [row["extra"] for row in things()]


@on_every_driver
def test_an_update_stores_what_the_plain_way_stores(db: Any, place: Place, sent: list[str]) -> None:
    query = db.query(Thing)
    rows = [{"id": n, **row} for n, row in enumerate(things(), 1)]
    blank = [{"id": row["id"]} for row in rows]
    query.bulk_insert(blank)
    with plainly(db):
        assert query.bulk_update(rows) == len(rows)
    expected = stored(place, "kit_thing")
    place.run("TRUNCATE kit_thing RESTART IDENTITY")
    query.bulk_insert(blank)
    sent.clear()
    assert query.bulk_update([*rows, {**rows[0], "id": 10**6}]) == len(rows)
    assert words(sent) == ["UPDATE"]
    assert stored(place, "kit_thing") == expected


@on_every_driver
@pytest.mark.parametrize("copied_from", [1, 1_000_000])
def test_types_of_other_makers_are_stored_too(
    db: Any, place: Place, copied_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_writes, "COPIED_FROM", copied_from)
    db.query(Exact).bulk_insert([{"amount": Decimal("12345678901234567890.0123456789")}, {"amount": None}])
    assert [e.amount for e in db.query(Exact).order_by("id").all()] == [
        Decimal("12345678901234567890.0123456789"),
        None,
    ]
    db.query(Labelled).bulk_insert([{"labels": ["a", "b"]}, {"labels": None}])
    assert [e.labels for e in db.query(Labelled).order_by("id").all()] == [["a", "b"], None]
    vectors = [[0.1, -2.0, 3e-9], None, [1.0, 2.0, 3.0]]
    db.query(Passage).bulk_insert([{"meaning": vector} for vector in vectors])
    db.query(Passage).bulk_update([{"id": 1, "meaning": [9.0, 8.0, 7.0]}, {"id": 3, "meaning": None}])
    found = [p.meaning for p in db.query(Passage).order_by("id").all()]
    assert found == [[9.0, 8.0, 7.0], None, None]
    tokens = [{"note": str(n)} for n in range(30)]
    db.query(Token).bulk_insert(tokens)
    assert {t.note for t in db.query(Token).all()} == {row["note"] for row in tokens}


LOOSE = (
    "CREATE TABLE loose (id BIGSERIAL PRIMARY KEY, code TEXT UNIQUE, number BIGINT, colour VARCHAR(10), extra JSONB,"
    " price NUMERIC)"
)
LOOSE_ROWS = [
    {
        "code": f"c{n}",
        "number": n - 5,
        "colour": list(Colour)[n % 3],
        "extra": {"n": [n, None]},
        "price": Decimal(n),
    }
    for n in range(10)
]


@pytest.fixture
def loose(connects: Connects, place: Place) -> Iterator[db_plugins.Database]:
    place.run(LOOSE)
    with connects(place.entry, models=[Loose]) as db:
        yield db


@on_every_driver
@pytest.mark.parametrize("copied_from", [1, 1_000_000])
def test_the_tables_own_types_count(
    loose: Any, place: Place, copied_from: int, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """int8 for Integer, varchar for Enum, jsonb for JSON."""
    monkeypatch.setattr(postgresql_writes, "COPIED_FROM", copied_from)
    query = loose.query(Loose)
    query.bulk_insert(LOOSE_ROWS)
    assert words(sent) == ["COPY" if copied_from == 1 else "INSERT"]
    read = query.order_by("id").to_dicts("code", "number", "colour", "extra", "price")
    assert read == LOOSE_ROWS
    changed = [{**row, "number": 7, "colour": Colour.AMBER, "extra": [row["code"]]} for row in LOOSE_ROWS]
    assert query.bulk_update(changed[:5], key="code") == 5
    result = query.bulk_insert([*changed, {**changed[0], "code": "new"}], on_conflict="update", key="code")
    assert (result.inserted, result.updated) == (1, 10)
    assert query.order_by("id").limit(10).to_dicts("code", "number", "colour", "extra", "price") == changed


@on_every_driver
def test_columns_that_binary_form_could_spoil_go_the_plain_way(
    connects: Connects, place: Place, sent: list[str]
) -> None:
    """A float4 for Float, an array, and an int that is shorter than the model's."""
    place.run("CREATE TABLE rough (id SERIAL PRIMARY KEY, number SMALLINT, size REAL, tags TEXT[])")
    with connects(place.entry, models=[Rough]) as db:
        query = db.query(Rough)
        query.bulk_insert([{"size": 0.5, "tags": ["x", "y"]}, {"size": 1.5, "tags": None}, {"number": 3}])
        assert query.order_by("id").to_dicts("number", "size", "tags") == [
            {"number": None, "size": 0.5, "tags": ["x", "y"]},
            {"number": None, "size": 1.5, "tags": None},
            {"number": 3, "size": None, "tags": None},
        ]
        for number in (70_000, -70_000):
            with pytest.raises(EngineError):
                query.bulk_insert([{"number": 1}, {"number": number}])
            with pytest.raises(EngineError):
                query.bulk_update([{"id": 1, "number": 1}, {"id": 2, "number": number}])
            with pytest.raises(EngineError):
                query.bulk_insert([{"id": 1, "number": 1}, {"id": 2, "number": number}], on_conflict="update")
        assert query.count() == 3, "all or nothing, though it takes several statements"
        assert query.filter(number=1).count() == 0
    assert "unnest" not in "".join(sent)
    assert set(words(sent)) == {"INSERT", "UPDATE"}


def test_psycopg_still_cuts_integers_that_are_too_long() -> None:
    """Why sent_as() compares bits. If this fails psycopg refuses them, and the comparison may go."""
    from psycopg.pq import Format

    dump = psycopg.adapters.get_dumper_by_oid(21, Format.BINARY)(int).dump
    assert bytes(dump(70_000) or b"") == (70_000 - 65_536).to_bytes(2, "big")
    number = db_plugins.models.describe(Loose).field("number")
    short = RealColumn(21, "int2", False, "smallint", "smallint[]", True, False)
    assert sent_as(number, short) is None


# -- conflicts ---------------------------------------------------------------------------------------------------------


@on_every_driver
def test_one_row_is_one_statement_and_many_are_one_too(db: Any, sent: list[str]) -> None:
    query = db.query(Star)
    rows = [{"name": f"s{n}", "mag": float(n)} for n in range(10)]
    query.upsert(rows[0], key="name")  # learns
    sent.clear()
    query.upsert(rows[1], key="name")
    query.upsert({"id": 50, "name": "by hand"})
    query.insert({"id": 60, "name": "by hand too"})
    query.bulk_insert(rows, on_conflict="ignore", key="name")
    query.bulk_insert(rows, on_conflict="update", key="name")
    query.bulk_insert([{"name": f"t{n}"} for n in range(999)])
    query.bulk_update([{"id": 50, "mag": 1.0}, {"id": 60, "mag": 2.0}])
    assert not any(text.startswith(("BEGIN", "SELECT")) for text in sent)
    assert words(sent) == ["INSERT", "INSERT", "INSERT", "WITH", "WITH", "INSERT", "UPDATE"]


def test_counts_and_what_becomes_of_the_rows(db: Any) -> None:
    query = db.query(Star)
    query.bulk_insert([{"name": name, "mag": 1.0, "band": "V"} for name in "abc"])
    rows = [{"name": name, "mag": 2.0} for name in "dcab"]
    assert str(query.bulk_insert(rows, on_conflict="ignore", key="name")) == str(
        db_plugins.BulkResult(inserted=1, ignored=3)
    )
    assert str(query.bulk_insert(rows, on_conflict="update", key="name")) == str(
        db_plugins.BulkResult(updated=4)
    )
    assert {(s.name, s.mag, s.band) for s in query.all()} == {
        *[(name, 2.0, "V") for name in "abc"],
        ("d", 2.0, None),
    }
    counted = query.bulk_insert(
        [{"name": name} for name in "abxyz"],
        on_conflict="update",
        key="name",
        update={"mag": Star.mag * 10 + 1},
    )
    assert (counted.inserted, counted.updated) == (3, 2)
    assert {s.name: s.mag for s in query.all()} == {
        "a": 21.0,
        "b": 21.0,
        "c": 2.0,
        "d": 2.0,
        "x": None,
        "y": None,
        "z": None,
    }


def test_calculated_updates_share_a_statement_and_none_of_its_values(db: Any) -> None:
    query = db.query(Star)
    for step, expected in ((1, 2.0), (5, 7.0), (100, 107.0)):
        for rows in ([{"name": "a", "mag": 1.0}], [{"name": "b", "mag": 1.0}, {"name": "c", "mag": 1.0}]):
            query.bulk_insert(rows, on_conflict="ignore", key="name")
            query.bulk_insert(rows, on_conflict="update", key="name", update={"mag": Star.mag + step})
        assert {s.mag for s in query.all()} == {expected}


def test_onupdate_is_set_by_conflicts_and_updates(db: Any) -> None:
    query = db.query(Stamped)
    query.bulk_insert([{"id": n, "name": f"n{n}"} for n in (1, 2, 3)])
    query.bulk_insert([{"id": n, "name": f"m{n}"} for n in (1, 9, 8)], on_conflict="update")
    query.bulk_update([{"id": 2, "rating": 5}, {"id": 8, "rating": 6}])
    found = {s.id: (s.name, s.version, s.rating) for s in query.all()}
    assert found == {1: ("m1", 2, 10), 2: ("n2", 2, 5), 3: ("n3", 1, 10), 8: ("m8", 2, 6), 9: ("m9", 1, 10)}


def test_a_composite_key(db: Any) -> None:
    query = db.query(Pair)
    query.bulk_insert([{"left": 1, "right": "a", "note": "x"}, {"left": 1, "right": "b", "note": "y"}])
    rows = [{"left": 1, "right": "b", "note": "z"}, {"left": 2, "right": "a", "note": "w"}]
    result = query.bulk_insert(rows, on_conflict="update", key=["right", "left"])
    assert (result.inserted, result.updated) == (1, 1)
    assert query.bulk_update([{**row, "note": "!"} for row in rows]) == 2
    assert [(p.left, p.right, p.note) for p in query.order_by("left", "right").all()] == [
        (1, "a", "x"),
        (1, "b", "!"),
        (2, "a", "!"),
    ]


@pytest.mark.parametrize("count", [1, 3, 1500])
def test_errors_keep_their_kind_and_their_attributes(db: Any, count: int) -> None:
    query = db.query(Star)
    query.bulk_insert([{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
    clash = [{"id": 10 + n, "name": f"c{n}"} for n in range(count - 1)] + [{"id": 9, "name": "b"}]
    for options in ({}, {"on_conflict": "ignore"}, {"on_conflict": "update"}):
        with pytest.raises(DuplicateKeyError) as caught:
            query.bulk_insert(clash, **options)
        assert caught.value.attributes == ("name",)
        assert isinstance(caught.value.__cause__, Exception)
    assert query.count() == 2
    with pytest.raises(ForeignKeyError) as refused:
        db.query(Book).bulk_insert([{"title": "t", "author_id": 77}] * count)
    assert refused.value.attributes == ("author_id",)
    assert db.query(Book).count() == 0


def test_an_update_that_the_table_refuses_changes_nothing(db: Any, place: Place) -> None:
    db.query(Star).bulk_insert([{"name": name, "mag": 1.0} for name in "abc"])
    with pytest.raises(DuplicateKeyError) as caught:
        db.query(Star).bulk_update([{"id": 1, "name": "z"}, {"id": 2, "name": "c"}])
    assert caught.value.attributes == ("name",)
    place.run("ALTER TABLE kit_star ALTER mag SET NOT NULL")
    with pytest.raises(NotNullError):
        db.query(Star).bulk_update([{"id": 1, "mag": 5.0}, {"id": 2, "mag": None}])
    assert {(s.name, s.mag) for s in db.query(Star).all()} == {("a", 1.0), ("b", 1.0), ("c", 1.0)}


@pytest.mark.parametrize("action", ["ignore", "update"])
def test_threads_with_the_same_keys_count_exactly(db: Any, action: Any) -> None:
    query, rows = db.query(Star), [{"name": f"s{n}", "mag": 1.0} for n in range(200)]
    results: list[Any] = []
    failed: list[BaseException] = []
    start = threading.Barrier(8)

    def work(mine: list[dict[str, Any]]) -> None:
        try:
            start.wait()
            for _ in range(3):
                results.append(query.bulk_insert(mine, on_conflict=action, key="name"))
                results.append(query.bulk_insert(mine[:1], on_conflict=action, key="name"))
                query.bulk_update([{**row, "band": "V"} for row in mine], key="name")
        except BaseException as error:
            failed.append(error)

    orders = [rows, rows[::-1], rows[100:] + rows[:100], rows[::2] + rows[1::2]] * 2
    threads = [threading.Thread(target=work, args=(mine,)) for mine in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert sum(result.inserted for result in results) == 200 == query.count()
    assert sum(r.inserted + r.updated + r.ignored for r in results) == 8 * 3 * 201


def test_a_row_that_the_snapshot_cannot_see_is_a_conflict(db: Any) -> None:
    for action in ("ignore", "update"):
        for count in (1, 2):
            with pytest.raises(ConflictError), db.transaction() as tx:
                assert tx.query(Star).filter(name=f"{action}{count}").count() == 0
                thread = threading.Thread(target=db.query(Star).insert, args=({"name": f"{action}{count}"},))
                thread.start()
                thread.join()
                rows = [{"name": f"{action}{n}", "mag": 1.0} for n in range(count, 0, -1)]
                tx.query(Star).bulk_insert(rows, on_conflict=action, key="name")


# -- keys that the table has not -----------------------------------------------------------------------------------------


NO_ARBITER = {
    "no unique key": "ALTER TABLE loose DROP CONSTRAINT loose_code_key",
    "a partial one": "ALTER TABLE loose DROP CONSTRAINT loose_code_key;"
    " CREATE UNIQUE INDEX part ON loose (code) WHERE code <> ''",
    "an expression": "ALTER TABLE loose DROP CONSTRAINT loose_code_key; CREATE UNIQUE INDEX low ON loose (lower(code))",
    "a deferred one": "ALTER TABLE loose DROP CONSTRAINT loose_code_key;"
    " ALTER TABLE loose ADD UNIQUE (code) DEFERRABLE INITIALLY DEFERRED",
    "one of more columns": "ALTER TABLE loose DROP CONSTRAINT loose_code_key;"
    " CREATE UNIQUE INDEX two ON loose (code, number)",
    "a partitioned table": "DROP TABLE loose; CREATE TABLE loose (id BIGINT GENERATED BY DEFAULT AS IDENTITY,"
    " code TEXT PRIMARY KEY, number BIGINT, colour VARCHAR(10), extra JSONB, price NUMERIC)"
    " PARTITION BY HASH (code); CREATE TABLE loose_0 PARTITION OF loose FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
}


@on_every_driver
@pytest.mark.parametrize("change", NO_ARBITER)
def test_without_a_key_that_on_conflict_could_name_rows_are_looked_for(
    loose: Any, place: Place, change: str, sent: list[str]
) -> None:
    place.run(NO_ARBITER[change])
    query = loose.query(Loose)
    query.bulk_insert(LOOSE_ROWS[:4])
    changed = [{"code": f"c{n}", "number": 100 + n} for n in range(6)]
    for rows, expected in ((changed, (2, 4)), (changed[:1], (0, 1)), ([{"code": "x"}], (1, 0))):
        result = query.bulk_insert(rows, on_conflict="update", key="code", update=["number"])
        assert (result.inserted, result.updated) == expected
    assert query.bulk_insert(changed, on_conflict="ignore", key="code").ignored == 6
    assert query.bulk_update([{**row, "number": 1} for row in changed], key="code") == 6
    assert query.filter(number=1).count() == 6
    assert not any("ON CONFLICT" in text for text in sent)


@on_every_driver
def test_padded_keys_are_met(loose: Any, place: Place) -> None:
    place.run("ALTER TABLE loose ALTER code TYPE char(8)")
    query = loose.query(Loose)
    query.bulk_insert(LOOSE_ROWS[:4])
    changed = [{"code": f"c{n}", "number": 100 + n} for n in range(6)]
    for action, expected in (("ignore", (2, 4)), ("update", (0, 6))):
        result = query.bulk_insert(changed, on_conflict=action, key="code")
        assert (result.inserted, result.updated + result.ignored) == expected
    assert query.upsert({"code": "c1", "number": 9}, key="code").number == 9
    assert query.bulk_update([{**row, "number": 1} for row in changed], key="code") == 6


def test_a_nondeterministic_key_is_compared_by_bytes(loose: Any, place: Place) -> None:
    if not place.run("SELECT 1 FROM pg_collation WHERE collname = 'en-x-icu'"):
        pytest.skip("this build of PostgreSQL has no ICU, the only provider of such collations")
    place.run("CREATE COLLATION alike (provider=icu, locale='und-u-ks-level1', deterministic=false)")
    place.run(
        "ALTER TABLE loose DROP CONSTRAINT loose_code_key; ALTER TABLE loose ALTER code TYPE text COLLATE alike"
    )
    query = loose.query(Loose)
    query.bulk_insert([{"code": "a", "number": 1}, {"code": "A", "number": 2}])
    assert query.bulk_update([{"code": "A", "number": 5}, {"code": "á", "number": 6}], key="code") == 1
    assert query.bulk_insert([{"code": "A"}, {"code": "á"}], on_conflict="ignore", key="code").inserted == 1
    assert {(row["code"], row["number"]) for row in query.to_dicts("code", "number")} == {
        ("a", 1),
        ("A", 5),
        ("á", None),
    }


@on_every_driver
def test_copy_stands_back_where_the_server_would_refuse_or_mistake_it(
    connects: Connects, loose: Any, place: Place, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_writes, "COPIED_FROM", 1)
    place.run("ALTER TABLE loose ALTER id DROP DEFAULT; DROP SEQUENCE loose_id_seq")
    place.run("ALTER TABLE loose ALTER id ADD GENERATED ALWAYS AS IDENTITY")
    query = loose.query(Loose)
    with pytest.raises(EngineError):
        query.bulk_insert([{"id": 5, "code": "a"}, {"id": 6, "code": "b"}])
    query.bulk_insert(LOOSE_ROWS)
    assert words(sent)[-1] == "COPY"
    place.run("CREATE RULE quiet AS ON INSERT TO loose WHERE new.number = 99 DO INSTEAD NOTHING")
    with connects(place.entry, models=[Loose]) as again:
        again.query(Loose).bulk_insert([{"code": "r", "number": 99}, {"code": "s", "number": 1}])
        assert words(sent)[-1] == "INSERT"
        assert again.query(Loose).count() == 11


REFUSED = {
    "may only insert": "GRANT INSERT ON loose TO {0}; GRANT USAGE ON loose_id_seq TO {0}",
    "sees some rows": "GRANT ALL ON loose TO {0}; GRANT ALL ON loose_id_seq TO {0}; ALTER TABLE loose ENABLE ROW LEVEL"
    " SECURITY; CREATE POLICY own ON loose USING (number < 100)",
}


@on_every_driver
@pytest.mark.parametrize("case", REFUSED)
def test_a_user_whom_copy_is_refused_inserts(
    connects: Connects, place: Place, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_writes, "COPIED_FROM", 1)
    place.run(LOOSE)
    role = f"role_{uuid.uuid4().hex}"
    place.run(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    try:
        place.run(REFUSED[case].format(role))
        entry = {**place.entry, "USER": role, "PASSWORD": "x"}
        with connects(entry, models=[Loose]) as db:
            db.query(Loose).bulk_insert(LOOSE_ROWS)
        assert place.run("SELECT count(*) FROM loose") == [(10,)]
    finally:
        place.run(f"DROP OWNED BY {role}; DROP ROLE {role}")


# -- numbering ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gap", [1, numbering.NEAR - 1, numbering.NEAR * 3, 2**31 - 10])
@pytest.mark.parametrize("verb", ["insert", "upsert", "bulk", "bulk upsert", "many"])
def test_numbers_go_on_after_keys_given_by_hand(db: Any, place: Place, verb: str, gap: int) -> None:
    query = db.query(Star)
    first = query.insert({"name": "first"}).id
    high = first + gap
    row = {"id": high, "name": "by hand"}
    {
        "insert": lambda: query.insert(row),
        "upsert": lambda: query.upsert(row),
        "bulk": lambda: query.bulk_insert([row]),
        "bulk upsert": lambda: query.bulk_insert([row, {"id": 0, "name": "x"}], on_conflict="update"),
        "many": lambda: query.bulk_insert([row, {"id": -5, "name": "x"}]),
    }[verb]()
    assert place.run("SELECT last_value FROM kit_star_id_seq") == [(high,)]
    assert query.insert({"name": "next"}).id == high + 1
    query.upsert({"id": first, "name": "changed"})
    assert query.insert({"name": "after"}).id == high + 2, "a lower key moves nothing back"


def test_the_last_number_there_is_may_be_taken(db: Any) -> None:
    db.query(Star).insert({"id": 2**31 - 1, "name": "last"})
    with pytest.raises(EngineError):
        db.query(Star).insert({"name": "one more"})


def test_a_key_that_nothing_numbers_is_as_given(db: Any, place: Place) -> None:
    place.run("ALTER TABLE kit_star ALTER id DROP DEFAULT; DROP SEQUENCE kit_star_id_seq")
    query = db.query(Star)
    assert query.insert({"id": 7, "name": "a"}).id == 7
    assert query.upsert({"id": 8, "name": "b"}).id == 8
    query.bulk_insert([{"id": 9, "name": "c"}, {"id": 10, "name": "d"}])
    assert (
        query.bulk_insert([{"id": 10, "name": "e"}, {"id": 11, "name": "f"}], on_conflict="update").updated
        == 1
    )
    assert query.count() == 5


@pytest.mark.parametrize("step", [3, 5000])
def test_numbers_never_repeat_beside_keys_given_by_hand(db: Any, step: int) -> None:
    """Threads that leave keys out, beside threads that give keys far ahead: no number is given that is taken."""
    query = db.query(Star)
    failed: list[BaseException] = []
    numbered: list[int] = []
    start = threading.Barrier(6)

    def number(name: int) -> None:
        start.wait()
        try:
            numbered.extend(query.insert({"name": f"n{name}-{n}"}).id for n in range(60))
        except BaseException as error:
            failed.append(error)

    def by_hand(name: int) -> None:
        start.wait()
        try:
            for n in range(20):
                highest = query.order_by("-id").first()
                key = 10**6 * name + (highest.id if highest else 0) % 10**6 + step * (n + 1)
                query.insert({"id": key, "name": f"h{name}-{n}"})
        except DuplicateKeyError:
            pass  # two threads by hand chose the same: theirs to settle
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=number, args=(n,)) for n in range(3)]
    threads += [threading.Thread(target=by_hand, args=(n,)) for n in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(set(numbered)) == len(numbered) == 180


# -- transactions, schemas, names, listeners -------------------------------------------------------------------------------


def test_transactions_and_savepoints_hold_every_way(db: Any) -> None:
    rows = [{"name": f"s{n}", "mag": 1.0} for n in range(2000)]
    with pytest.raises(RuntimeError), db.transaction() as tx:
        tx.query(Star).bulk_insert(rows)
        tx.query(Star).bulk_insert(rows[:10], on_conflict="update", key="name")
        tx.query(Star).bulk_update([{"name": row["name"], "mag": 2.0} for row in rows[:10]], key="name")
        assert tx.query(Star).filter(mag=2.0).count() == 10
        raise RuntimeError
    assert db.query(Star).count() == 0
    with db.transaction() as tx:
        tx.query(Star).bulk_insert(rows[:5])
        with pytest.raises(DuplicateKeyError), tx.transaction() as inner:
            inner.query(Star).bulk_insert(rows[5:])
            inner.query(Star).bulk_insert([{"name": f"t{n}"} for n in range(1500)] + [rows[0]])
        with tx.transaction() as inner:
            inner.query(Star).bulk_insert([{"id": 5000 + n, **row} for n, row in enumerate(rows[5:1600])])
    assert db.query(Star).count() == 1600
    with db.session():
        assert db.query(Star).bulk_insert(rows, on_conflict="ignore", key="name").inserted == 400
    assert db.query(Star).count() == 2000


def test_nothing_is_left_beside_the_tables(db: Any, place: Place) -> None:
    before = db.ping().models
    with db.transaction() as tx:
        tx.query(Star).bulk_insert([{"name": f"s{n}"} for n in range(2000)], on_conflict="update", key="name")
        assert place.run("SELECT count(*) FROM pg_class WHERE relpersistence = 't'") == [(0,)]
    assert db.ping().models == before


@on_every_driver
def test_names_that_need_quotes_in_a_schema_of_their_own(connects: Connects, place: Place) -> None:
    place.run('CREATE SCHEMA "My % schema"')
    with connects(place.entry, models=[Odd]) as db:
        db.create_all()
        query = db.query(Odd)
        query.bulk_insert([{"name": f"n{n}"} for n in range(1000)])
        query.bulk_insert([{"name": "a"}, {"name": "b"}])
        result = query.bulk_insert(
            [{"name": "a"}, {"name": "n7"}, {"name": "z"}],
            on_conflict="update",
            key="name",
            update={"hits": Odd.hits + 1},
        )
        assert (result.inserted, result.updated) == (1, 2)
        assert query.upsert({"name": "a", "hits": 5}, key="name").hits == 5
        assert query.bulk_update([{"name": "b", "hits": 9}, {"name": "z", "hits": 9}], key="name") == 2
        assert query.filter(hits=9).count() == 2
        assert query.insert({"id": 9000, "name": "by hand"}).id == 9000
        query.bulk_insert([{"id": 9100, "name": "c"}, {"id": 9101, "name": "d"}])
        assert query.insert({"name": "next"}).id == 9102


@on_every_driver
def test_the_entrys_schema_is_where_the_table_is(connects: Connects, place: Place) -> None:
    place.run("CREATE SCHEMA apart")
    place.run("CREATE TABLE kit_star (id TEXT, name INT)")
    with connects({**place.entry, "SCHEMA": "apart"}, models=[Star, Thing]) as db:
        db.create_all()
        db.query(Star).bulk_insert([{"name": f"n{n}", "mag": 1.0} for n in range(1000)])
        db.query(Star).bulk_insert(
            [{"name": "n1", "mag": 2.0}, {"name": "x"}], on_conflict="update", key="name"
        )
        db.query(Thing).bulk_insert([{"colour": Colour.RED}, {"colour": None}])
        db.query(Star).insert({"id": 1700, "name": "by hand"})
        assert db.query(Star).insert({"name": "next"}).id == 1701
    assert place.run("SELECT count(*) FROM apart.kit_star") == [(1003,)]
    assert place.run("SELECT count(*) FROM public.kit_star") == [(0,)]


def test_whoever_listens_hears_every_write(db: Any) -> None:
    query = db.query(Star)
    heard: list[str] = []
    sa.event.listen(db.native, "before_cursor_execute", lambda *given: heard.append(given[2].split()[0]))
    query.bulk_insert([{"name": f"s{n}"} for n in range(1000)])
    result = query.bulk_insert(
        [{"name": "s1"}, {"name": "x"}], on_conflict="update", key="name", update={"mag": 1.0}
    )
    assert (result.inserted, result.updated) == (1, 1)
    assert query.bulk_update([{"id": 1, "mag": 3.0}, {"id": 2, "mag": 4.0}]) == 2
    query.insert({"id": 5000, "name": "by hand"})
    query.upsert({"name": "x", "mag": 9.0}, key="name")
    assert heard.count("INSERT") == 3
    assert heard.count("WITH") == 1
    assert heard.count("UPDATE") == 1
    assert query.insert({"name": "next"}).id > 5000
    assert query.filter(name="x").one().mag == 9.0


def test_tables_that_are_made_anew_are_asked_about_anew(db: Any, place: Place) -> None:
    rows = [{"name": f"s{n}", "mag": 1.0} for n in range(1000)]
    db.query(Star).bulk_insert(rows)
    db.drop_all(force=True)
    place.run("CREATE TABLE kit_star (id BIGSERIAL PRIMARY KEY, name TEXT UNIQUE, mag FLOAT8, band TEXT)")
    db.create_all()
    db.query(Star).bulk_insert([{"id": 5 + n, **row} for n, row in enumerate(rows)])
    assert db.query(Star).count() == 1000


CHANGES: dict[str, Callable[[Any], Any]] = {
    "ALTER TABLE kit_star ALTER mag TYPE bigint": lambda query: query.bulk_insert(
        [{"name": f"t{n}", "mag": 1.0} for n in range(1000)]
    ),
    "ALTER TABLE kit_star ALTER name TYPE text": lambda query: query.bulk_insert(
        [{"name": "x"}, {"name": "a"}], on_conflict="update", key="name", update={"mag": 7.0}
    ),
    "ALTER TABLE kit_star ALTER id TYPE bigint": lambda query: query.bulk_update(
        [{"id": 1, "mag": 7.0}, {"id": 2, "mag": 7.0}]
    ),
    "ALTER TABLE kit_star DROP CONSTRAINT uq_kit_star_name": lambda query: query.upsert(
        {"name": "a", "mag": 7.0}, key="name"
    ),
    "ALTER SEQUENCE kit_star_id_seq RENAME TO other": lambda query: query.insert({"id": 99, "name": "x"}),
}


@on_every_driver
@pytest.mark.parametrize("change", CHANGES)
def test_a_table_that_somebody_else_changes_is_asked_about_anew(db: Any, place: Place, change: str) -> None:
    """At most one call fails, whole, and the next one knows."""
    query = db.query(Star)
    query.bulk_insert([{"id": n, "name": name, "mag": 1.0} for n, name in enumerate("abc", 1)])
    query.upsert({"name": "a", "mag": 1.0}, key="name")
    query.insert({"id": 4, "name": "d"})
    before = stored(place, "kit_star")
    place.run(change)
    try:
        CHANGES[change](query)
    except EngineError:
        assert stored(place, "kit_star") == before
        CHANGES[change](query)
    assert stored(place, "kit_star") != before
    query.insert({"name": "after"})
    assert all(row[0] is None or abs(row[0]) < 10 for row in place.run("SELECT mag FROM kit_star"))


def test_what_a_table_resolves() -> None:
    """Only a key that the table has, of columns in which equal is equal bytes."""
    info = db_plugins.models.describe(Badge)
    text = RealColumn(25, "text", False, "text", "text[]", True, False)
    columns = {f.column: text for f in info.fields}
    keys = frozenset({frozenset({"owner", "place"})})
    owner, where = info.field("owner"), info.field("place")

    def resolves(key: list[Any], column: RealColumn = text, *, is_ordinary: bool = True) -> bool:
        table = RealTable({**columns, "owner": column}, keys, is_ordinary, False, None, True)
        return table.resolves(key)

    assert resolves([where, owner])
    assert not resolves([owner])
    assert not resolves([where, owner], is_ordinary=False)
    assert not resolves([where, owner], replace(text, is_deterministic=False))
    assert not resolves([where, owner], replace(text, name=None, spelled="citext"))
    assert resolves([where, owner], replace(text, name=None, is_enum=True))


def test_another_driver_sends_rows_one_by_one(db: Any, sent: list[str]) -> None:
    """ON CONFLICT for one row is any driver's; arrays in binary form are psycopg's."""
    db._connected().pool.dialect.driver = "another"
    query = db.query(Star)
    rows = [{"name": f"s{n}", "mag": 1.0} for n in range(1200)]
    query.bulk_insert(rows)
    assert query.bulk_insert([*rows[:3], {"name": "x"}], on_conflict="update", key="name").updated == 3
    assert query.bulk_update([{"id": 1, "mag": 2.0}, {"id": 2, "mag": 3.0}]) == 2
    assert query.upsert({"name": "x", "mag": 9.0}, key="name").mag == 9.0
    query.insert({"id": 5000, "name": "by hand"})
    query.bulk_insert([{"id": 6000, "name": "y"}, {"id": 6001, "name": "z"}])
    assert query.insert({"name": "next"}).id == 6002
    assert query.count() == 1205
    assert not any("unnest" in text or text.startswith("COPY") for text in sent)
