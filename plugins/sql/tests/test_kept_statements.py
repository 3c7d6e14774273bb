"""Statements kept by their shape, and the connection that is kept between reads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from shop import Colour, Item, Shop

import db_plugins
from db_plugins.errors import PoolTimeoutError
from db_plugins_sql import prepared
from db_plugins_sql.connection import SQLConnection
from db_plugins_sql.prepared import Prepared


@pytest.fixture
def entry(tmp_path: Path) -> dict[str, Any]:
    return {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "kept.db")}


@pytest.fixture
def db(entry: dict[str, Any]) -> Iterator[db_plugins.Database]:
    with db_plugins.connect(entry, models=[Shop, Item]) as db:
        db.create_all()
        db.query(Item).bulk_insert(
            [{"id": n, "title": f"t{n}", "count": n, "colour": Colour.RED} for n in range(1, 11)]
        )
        yield db


def texts(db: db_plugins.Database) -> list[str]:
    """The questions that are kept."""
    connection: Any = db._connected()
    assert isinstance(connection, SQLConnection)
    kept = [one.text for one in connection.at_hand.preparations._made.values() if isinstance(one, Prepared)]
    return [text for text in kept if text.startswith("SELECT")]


def test_queries_of_one_shape_share_a_statement_and_none_of_its_values(db: db_plugins.Database) -> None:
    query = db.query(Item)
    for n in (1, 5, 10, 11):
        found = query.filter(Item.count >= n, Item.title != f"t{n}").order_by("id").all()
        assert [i.id for i in found] == list(range(n + 1, 11))
    assert len(texts(db)) == 1
    assert query.filter(Item.count.in_([1, 2])).count() == 2
    assert query.filter(Item.count.in_([3, 99])).count() == 1
    assert query.filter(Item.count.in_([1, 2, 3])).count() == 3
    assert len(texts(db)) == 3, "a list of another length is another statement"


def test_the_kind_of_value_is_part_of_the_shape(db: db_plugins.Database) -> None:
    """An integer beyond its column's 32 bits is bound as one of 64: another type, another statement."""
    query = db.query(Item)
    assert query.filter(Item.count < 5).count() == 4
    assert query.filter(Item.count < 2**40).count() == 10
    assert query.filter(Item.count < 6).count() == 5
    assert query.filter(Item.count * 2 > 19).count() == 1
    assert query.filter(Item.count * 2 > 18.5).count() == 1


def test_patterns_lists_and_enums_are_encoded_anew_each_time(db: db_plugins.Database) -> None:
    query = db.query(Item)
    assert query.filter(Item.title.startswith("t1")).count() == 2
    assert query.filter(Item.title.startswith("%")).count() == 10
    assert query.filter(Item.title.startswith("%", autoescape=True)).count() == 0
    assert query.filter(colour="RED").count() == 10
    assert query.filter(colour=Colour.GREEN).count() == 0
    for size in (1500, 1600):
        assert query.filter(Item.count.in_(range(3, 3 + size))).count() == 8
    assert sum("json_each" in text for text in texts(db)) == 1, "a long list of any length is one value"


def test_paths_into_json_and_calculations_share_their_statements(db: db_plugins.Database) -> None:
    db.query(Item).filter(Item.id < 4).update({"extra": {"a": 1, "b": [2]}})
    for n in (1, 2, 3):
        found = (
            db.query(Item).filter(Item.extra["a"].as_integer() == n, Item.count * 2 > n).order_by("id").all()
        )
        assert [i.id for i in found] == ([1, 2, 3] if n == 1 else [])
    assert len(texts(db)) == 1


def test_limit_and_offset_take_their_turn(db: db_plugins.Database) -> None:
    query = db.query(Item).order_by("-id")
    assert [i.id for i in query.limit(2).all()] == [10, 9]
    assert [i.id for i in query.limit(2).offset(3).all()] == [7, 6]
    assert [i.id for i in query.limit(2).offset(5).all()] == [5, 4]
    assert [i.id for i in query.limit(3).offset(5).all()] == [5, 4, 3]
    assert [i.id for i in query.offset(8).all()] == [2, 1]


def test_only_so_many_statements_are_kept(db: db_plugins.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "MOST_SHAPES", 5)
    for n in range(1, 30):
        assert len(db.query(Item).filter(Item.id.in_(range(1, n + 1))).all()) == min(n, 10)
    assert 1 <= len(texts(db)) <= 5


def test_a_native_condition_is_never_kept(db: db_plugins.Database) -> None:
    for n in (2, 3):
        assert db.query(Item).filter_native(sa.text(f"id = {n}")).one().id == n
    assert not any("id =" in text for text in texts(db))


def test_whoever_listens_to_statements_hears_every_one(db: db_plugins.Database) -> None:
    heard: list[str] = []
    db.query(Item).get(1)
    sa.event.listen(db.native, "before_cursor_execute", lambda *given: heard.append(given[2]))
    db.query(Item).get(1)
    db.query(Item).count()
    with db.transaction() as tx:
        tx.query(Item).get(2)
    assert len([text for text in heard if "item" in text]) == 3


def test_echo_shows_every_statement(entry: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with db_plugins.connect({**entry, "ECHO": True}, models=[Shop]) as db:
        db.create_all()
        caplog.clear()
        db.query(Shop).get(77)
        assert any("WHERE shop.id" in record.getMessage() for record in caplog.records)


def test_the_pool_is_whole_for_whoever_asks_for_it(db: db_plugins.Database) -> None:
    db.query(Item).get(1)
    assert db.ping().pool == {"size": 5, "in_use": 0}
    db.query(Item).get(1)
    assert db.native.pool.checkedout() == 0
    db.query(Item).get(1)
    assert db.native.pool.checkedout() == 0, "and nothing is kept from then on"


def test_a_kept_connection_never_keeps_another_thread_waiting(entry: dict[str, Any]) -> None:
    """Two connections, one of them in a transaction: many readers take turns with the other."""
    small = {**entry, "POOL_SIZE": 2, "MAX_OVERFLOW": 0, "POOL_TIMEOUT": 5}
    with db_plugins.connect(small, models=[Shop]) as db:
        db.create_all()
        failed: list[BaseException] = []

        def read() -> None:
            try:
                for _ in range(50):
                    db.query(Shop).get(1)
            except PoolTimeoutError as error:
                failed.append(error)

        threads = [threading.Thread(target=read) for _ in range(8)]
        began = time.monotonic()
        with db.transaction(read_only=True) as tx:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert tx.query(Shop).count() == 0
        assert not failed
        assert time.monotonic() - began < 5


def test_reads_and_transactions_share_a_pool_of_two(entry: dict[str, Any]) -> None:
    with db_plugins.connect(
        {**entry, "POOL_SIZE": 1, "MAX_OVERFLOW": 1, "POOL_TIMEOUT": 1}, models=[Shop]
    ) as db:
        db.create_all()
        for n in range(20):
            db.query(Shop).get(n)
            with db.transaction() as outer:
                outer.query(Shop).insert({"name": f"a{n}"})
            assert db.query(Shop).count() == n + 1


def end_connections(db: db_plugins.Database, pool: sa.Engine) -> None:
    """End the server's side of every connection but the pool's own."""
    with pool.connect() as other:
        if db.engine == "postgresql":
            ids = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            end = "SELECT pg_terminate_backend({})"
        else:
            ids = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            end = "KILL {}"
        for one in other.execute(sa.text(ids)).scalars().all():
            other.execute(sa.text(end.format(one)))


@pytest.fixture(params=["postgresql", "mariadb"])
def served(
    request: pytest.FixtureRequest, shared_server: Any
) -> Iterator[tuple[db_plugins.Database, sa.Engine]]:
    """A Database on a server, and a pool of SQLAlchemy's own there."""
    server = shared_server(request.param)
    with db_plugins.connect(server.entry(server.new_database()[0]), models=[Shop]) as db:
        db.create_all()
        connection: Any = db._connected()
        pool = sa.create_engine(connection.engine.url)
        yield db, pool
        pool.dispose()


def test_a_kept_connection_that_the_server_has_closed_is_not_used(served: Any) -> None:
    db, pool = served
    for _ in range(3):
        assert db.query(Shop).get(1) is None
        end_connections(db, pool)
        assert db.query(Shop).count() == 0


def test_a_read_that_loses_its_connection_is_sent_again(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look at the socket came a moment too early: the connection is closed only after it."""
    db, pool = served
    monkeypatch.setattr(type(db._connected().engine), "is_alive", lambda *_given: True)
    for _ in range(2):
        assert db.query(Shop).get(1) is None
        end_connections(db, pool)
        assert db.query(Shop).get(1) is None
        assert db.query(Shop).count() == 0


def test_a_stream_of_a_native_condition_goes_sqlalchemys_own_way(served: Any) -> None:
    db, _ = served
    db.query(Shop).bulk_insert([{"name": f"a{n}"} for n in range(5)])
    found = db.query(Shop).filter_native(sa.text("id > 2")).stream(batch_size=2)
    assert [shop.id for shop in found] == [3, 4, 5]
    assert not any("id > 2" in text for text in texts(db))
