"""Pools of both faces: how many connections the server sees, how long one waits for one, and which ones are replaced."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from shop import Shop

import db_plugins
from db_plugins import Database
from db_plugins.errors import PoolTimeoutError
from db_plugins.testing.kit.faces import connect_driven

SERVERS = ["postgresql", "mariadb"]
PIDS = {
    "postgresql": "SELECT pid FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()",
    "mariadb": "SELECT id FROM information_schema.processlist WHERE db = :name AND id <> connection_id()",
}
KILL = {"postgresql": "SELECT pg_terminate_backend({})", "mariadb": "KILL {}"}
SLEEP = {"postgresql": "pg_sleep({})::text = ''", "mariadb": "SLEEP({}) = 0"}
LOOK = {"postgresql": "postgres", "mariadb": "information_schema"}

#: ``opened(POOL_SIZE=3)``: a Database of the face that the test is about, with one row.
Open = Callable[..., Database]


class Server:
    """What the server tells of the test's database, asked over a connection to another."""

    def __init__(self, kind: str, entry: dict[str, Any]) -> None:
        self.kind = kind
        self.entry = entry
        self._db = db_plugins.connect({**entry, "DB_NAME": LOOK[kind]}, models=[])
        self._native: sa.Engine = self._db.native

    def pids(self) -> set[int]:
        """Its connections."""
        with self._native.connect() as connection:
            return set(connection.scalars(sa.text(PIDS[self.kind]), {"name": self.entry["DB_NAME"]}))

    def kill(self) -> None:
        """End them all."""
        for pid in self.pids():
            with self._native.connect() as connection:
                connection.execute(sa.text(KILL[self.kind].format(int(pid))))
        while self.pids():
            time.sleep(0.01)

    def most_while(self, work: Callable[[], Any]) -> int:
        """The most connections that there were at a time while this was done."""
        seen = [0]
        done = threading.Event()

        def look() -> None:
            while not done.is_set():
                seen.append(len(self.pids()))
                time.sleep(0.01)

        looking = threading.Thread(target=look)
        looking.start()
        try:
            work()
        finally:
            done.set()
            looking.join()
        return max(seen)

    def close(self) -> None:
        self._db.close()


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, shared_server: Any) -> Iterator[Server]:
    real = shared_server(request.param)
    name, _url = real.new_database()
    server = Server(request.param, {**real.entry(name), "TLS": "off"})
    yield server
    server.close()
    real.drop_database(name)


@pytest.fixture(params=["sync", "async"])
def opened(request: pytest.FixtureRequest, server: Server) -> Iterator[Open]:
    connects = connect_driven if request.param == "async" else db_plugins.connect
    made: list[Database] = []

    def open_(**changes: Any) -> Database:
        db = connects({**server.entry, **changes}, models=[Shop])
        made.append(db)
        db.create_all()
        db.query(Shop).insert({"name": "a"})
        return db

    yield open_
    for db in made:
        db.close()


def at_once(calls: int, work: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(calls) as threads:
        return [each.result() for each in [threads.submit(work) for _ in range(calls)]]


def test_the_server_sees_no_more_than_size_and_overflow(server: Server, opened: Open) -> None:
    """004-42, 003-07: 20 at once share 3 + 2, and those beyond the size are closed after use."""
    db = opened(POOL_SIZE=3, MAX_OVERFLOW=2)
    slow = db.query(Shop).filter_native(sa.text(SLEEP[server.kind].format(0.1)))
    most = server.most_while(lambda: at_once(20, slow.count))
    assert 3 <= most <= 5
    time.sleep(0.1)
    assert 1 <= len(server.pids()) <= 3


def test_fifty_short_calls_one_after_the_other_use_few(server: Server, opened: Open) -> None:
    """003-07: a connection is used again."""
    db = opened()

    def work() -> None:
        for _ in range(50):
            with db.transaction() as tx:
                tx.query(Shop).count()

    assert server.most_while(work) <= 2
    assert (db.ping().pool or {})["size"] == 5


def test_who_waits_too_long_for_a_connection_is_told_why(server: Server, opened: Open) -> None:
    """004-43: within a fifth of POOL_TIMEOUT."""
    db = opened(POOL_SIZE=1, MAX_OVERFLOW=1, POOL_TIMEOUT=2)
    with db.transaction() as first, ThreadPoolExecutor(1) as another:
        first.query(Shop).count()

        def inside() -> float:
            with db.transaction() as second, ThreadPoolExecutor(1) as third:
                second.query(Shop).count()
                began = time.monotonic()
                with pytest.raises(
                    PoolTimeoutError, match=r"2 s: all 2 \(POOL_SIZE 1, MAX_OVERFLOW 1\)"
                ) as met:
                    third.submit(lambda: db.query(Shop).count()).result()
                assert met.value.retryable
                assert "POOL_SIZE" in (met.value.hint or "")
                return time.monotonic() - began

        assert 1.6 <= another.submit(inside).result() <= 2.4
    assert db.query(Shop).count() == 1


def test_an_old_connection_is_replaced(server: Server, opened: Open) -> None:
    """004-44: another process of the server answers."""
    db = opened(POOL_SIZE=1, MAX_OVERFLOW=0, POOL_RECYCLE=1)
    before = server.pids()
    time.sleep(1.3)
    assert db.query(Shop).count() == 1
    after = server.pids()
    assert len(before) == len(after) == 1
    assert before != after


@pytest.mark.parametrize("rest", [0.05, 1.2], ids=["at hand", "in the pool"])
def test_a_connection_that_died_is_replaced_before_use(server: Server, opened: Open, rest: float) -> None:
    """004-45: reads, writes and transactions go on."""
    db = opened()
    uses: list[Callable[[], Any]] = [
        lambda: db.query(Shop).count(),
        lambda: db.query(Shop).filter(name="a").update({"name": "a"}),
        lambda: transacted(db),
        lambda: len(list(db.query(Shop).stream())),
    ]
    for use in uses:
        assert use() == 1
        server.kill()
        time.sleep(rest)
        assert use() == 1


def transacted(db: Database) -> int:
    with db.transaction() as tx:
        return tx.query(Shop).count()


@pytest.mark.parametrize("connects", [db_plugins.connect, connect_driven], ids=["sync", "async"])
def test_pool_options_of_a_database_in_memory_are_ignored_and_that_is_said(
    connects: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """004-46: plain SQLAlchemy raises a TypeError."""
    entry = {"ENGINE": "sqlite", "DB_NAME": ":memory:", "POOL_SIZE": 3, "MAX_OVERFLOW": 2, "POOL_TIMEOUT": 9}
    with caplog.at_level(logging.WARNING, "db_plugins"), connects(entry, models=[Shop]) as db:
        db.create_all()
        db.query(Shop).insert({"name": "a"})
        assert db.query(Shop).count() == 1
    assert "POOL_SIZE, MAX_OVERFLOW, POOL_TIMEOUT" in caplog.text
    caplog.clear()
    with connects({"ENGINE": "sqlite", "DB_NAME": ":memory:"}, models=[Shop]) as db:
        db.create_all()
    assert caplog.text == ""
