"""Servers that are dead, silent, wrong or killed: a typed error in time, and nothing lost; on both faces."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from shop import Shop

import db_plugins
from db_plugins import errors
from db_plugins.testing.kit.faces import connect_driven
from db_plugins_sql.pools import SECONDS_AT_HAND

SERVERS = ["postgresql", "mariadb"]
Connect = Callable[..., db_plugins.Database]


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """``connect``, or ``connect_async`` driven as if it were."""
    return connect_driven if request.param == "async" else db_plugins.connect


@pytest.fixture(params=SERVERS)
def entry(request: pytest.FixtureRequest, shared_server: Any) -> Iterator[dict[str, Any]]:
    """An entry on a real server, with a database of its own."""
    server = shared_server(request.param)
    name, _url = server.new_database()
    yield dict(server.entry(name))
    server.drop_database(name)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def failing(connect: Connect, entry: dict[str, Any], **changes: Any) -> Any:
    with connect({**entry, **changes}, models=[Shop]) as db:
        return db.query(Shop).all()


def test_a_dead_port_is_told_within_the_timeout(connect: Connect, entry: dict[str, Any]) -> None:
    began = time.monotonic()
    with pytest.raises(errors.ServerUnreachableError, match=r"127\.0\.0\.1:1 .*is the server running"):
        failing(connect, entry, PORT=1)
    assert time.monotonic() - began < 5


def test_a_server_that_accepts_and_says_nothing_is_unreachable(
    connect: Connect, entry: dict[str, Any], silent_port: int
) -> None:
    began = time.monotonic()
    with pytest.raises(errors.ServerUnreachableError):
        failing(connect, entry, PORT=silent_port, CONNECT_TIMEOUT=2)
    assert time.monotonic() - began < 10


def test_a_statement_may_take_longer_than_a_connection(connect: Connect, entry: dict[str, Any]) -> None:
    with connect({**entry, "CONNECT_TIMEOUT": 1}, models=[Shop]) as db:
        db.create_all()
        sleep = "pg_sleep(1.5)::text = ''" if db.engine == "postgresql" else "SLEEP(1.5) = 0"
        db.query(Shop).insert({"name": "a"})
        assert db.query(Shop).filter_native(sa.text(sleep)).count() == 1


def test_a_wrong_password_names_the_user_and_never_the_password(
    connect: Connect, entry: dict[str, Any]
) -> None:
    with pytest.raises(errors.AuthenticationError, match=entry["USER"]) as caught:
        failing(connect, entry, PASSWORD="wr0ng@:/p%")
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize("tls", ["require", "verify"])
def test_a_server_without_tls_is_never_spoken_to_in_the_clear(
    connect: Connect, entry: dict[str, Any], tls: str
) -> None:
    with pytest.raises(errors.ConnectionFailedError):
        failing(connect, entry, TLS=tls)


def test_a_missing_database_is_named(connect: Connect, entry: dict[str, Any]) -> None:
    with pytest.raises(errors.DatabaseMissingError, match="nobody_made_it"):
        failing(connect, entry, DB_NAME="nobody_made_it")


def test_a_slow_statement_ends_at_query_timeout_and_the_connection_goes_on(
    connect: Connect, entry: dict[str, Any]
) -> None:
    with connect({**entry, "QUERY_TIMEOUT": 0.5}, models=[Shop]) as db:
        db.create_all()
        db.query(Shop).insert({"name": "a"})
        sleep = "pg_sleep(5)::text = ''" if db.engine == "postgresql" else "SLEEP(5) = 0"
        began = time.monotonic()
        with pytest.raises(errors.QueryTimeoutError):
            db.query(Shop).filter_native(sa.text(sleep)).all()
        assert time.monotonic() - began < 4
        assert db.query(Shop).count() == 1


def kill_connections(entry: dict[str, Any]) -> None:
    """End the server's side of all connections to the database."""
    with db_plugins.connect(entry, models=[]) as other, other.native.connect() as connection:
        if other.engine == "postgresql":
            killing = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            )
            connection.execute(sa.text(f"{killing} AND pid <> pg_backend_pid()"))
        else:
            listing = "SELECT id FROM information_schema.processlist WHERE db = DATABASE()"
            for pid in connection.execute(sa.text(f"{listing} AND id <> connection_id()")).scalars().all():
                connection.execute(sa.text(f"KILL {pid}"))
    time.sleep(0.1)


def test_a_connection_killed_in_a_transaction_commits_nothing_and_may_be_retried(
    connect: Connect, entry: dict[str, Any]
) -> None:
    with connect(entry, models=[Shop]) as db:
        db.create_all()
        with pytest.raises(errors.ConnectionLostError) as caught, db.transaction() as tx:
            tx.query(Shop).insert({"name": "a"})
            kill_connections(entry)
            tx.query(Shop).insert({"name": "b"})
        assert caught.value.retryable
        assert db.query(Shop).count() == 0


def test_a_connection_killed_between_calls_is_replaced_however_long_it_was_idle(
    connect: Connect, entry: dict[str, Any]
) -> None:
    """Within the time in which none is pinged, and after it."""
    with connect(entry, models=[Shop]) as db:
        db.create_all()

        def insert_in_a_transaction() -> None:
            with db.transaction() as tx:
                tx.query(Shop).insert({"name": f"b{idle}"})

        for idle in (0.0, SECONDS_AT_HAND + 0.3):
            for use in (
                db.query(Shop).count,
                lambda idle=idle: db.query(Shop).insert({"name": f"a{idle}"}),
                insert_in_a_transaction,
            ):
                db.query(Shop).count()
                kill_connections(entry)
                time.sleep(idle)
                use()
        assert db.query(Shop).count() == 4


def test_a_connection_killed_after_the_commit_undoes_nothing_and_is_replaced(
    entry: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with db_plugins.connect({**entry, "POOL_SIZE": 1, "MAX_OVERFLOW": 0}, models=[Shop]) as db:
        db.create_all()
        pool = db.native
        killer = sa.create_engine(pool.url, isolation_level="AUTOCOMMIT")
        is_postgresql = db.engine == "postgresql"
        roll_back = pool.dialect.do_rollback

        def roll_back_and_kill(connection: Any) -> None:
            # The pool does so first when it takes a connection back, and then gives it its isolation level again.
            roll_back(connection)
            with killer.connect() as other:
                other.execute(
                    sa.text(f"SELECT pg_terminate_backend({pid})" if is_postgresql else f"KILL {pid}")
                )
            time.sleep(0.1)

        for name in ("a", "b", "c"):
            with db.transaction() as tx:
                own = "pg_backend_pid()" if is_postgresql else "connection_id()"
                pid = tx.native.execute(sa.text(f"SELECT {own}")).scalar()
                tx.query(Shop).insert({"name": name})
                monkeypatch.setattr(pool.dialect, "do_rollback", roll_back_and_kill)
            monkeypatch.undo()
        assert {shop.name for shop in db.query(Shop).all()} == {"a", "b", "c"}
        assert pool.pool.checkedout() == 0
        killer.dispose()


def test_a_full_pool_is_told_with_what_to_raise(connect: Connect, entry: dict[str, Any]) -> None:
    small = {**entry, "POOL_SIZE": 1, "MAX_OVERFLOW": 0, "POOL_TIMEOUT": 0.2}
    with connect(small, models=[Shop]) as db:
        db.create_all()
        caught: list[BaseException] = []

        def use() -> None:
            try:
                db.query(Shop).all()
            except errors.PoolTimeoutError as error:
                caught.append(error)

        with db.transaction():
            thread = threading.Thread(target=use)
            thread.start()
            thread.join()
        assert "POOL_SIZE" in str(caught[0])
        assert db.query(Shop).count() == 0


def test_no_more_connections_than_the_pool_may_have(connect: Connect, entry: dict[str, Any]) -> None:
    with connect({**entry, "POOL_SIZE": 2, "MAX_OVERFLOW": 1}, models=[Shop]) as db:
        db.create_all()
        threads = [threading.Thread(target=lambda: db.query(Shop).count()) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pool = db.native.pool
        db.query(Shop).count()  # the one at hand is kept no longer
        assert 1 <= pool.checkedin() <= 3
        assert pool.checkedout() == 0


def test_a_password_of_any_characters_works_and_is_shown_nowhere(entry: dict[str, Any], caplog: Any) -> None:
    """002-17: connecting with ``@:/%`` in it. 003-12: not in reprs, health, logs."""
    caplog.set_level("DEBUG")
    with db_plugins.connect({**entry, "ECHO": True}, models=[Shop]) as db:
        db.create_all()
        health = db.ping()
        shown = f"{db!r} {db._settings!r} {health!r} {db.native!r} {caplog.text}"
    assert entry["PASSWORD"] not in shown
