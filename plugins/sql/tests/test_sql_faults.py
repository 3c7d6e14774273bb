"""Servers that are dead, silent, wrong or killed: a typed error in time, and nothing lost."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from shop import Shop

import db_plugins
from db_plugins import errors

SERVERS = ["postgresql", "mariadb"]


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


def failing(entry: dict[str, Any], **changes: Any) -> Any:
    with db_plugins.connect({**entry, **changes}, models=[Shop]) as db:
        return db.query(Shop).all()


def test_a_dead_port_is_told_within_the_timeout(entry: dict[str, Any]) -> None:
    began = time.monotonic()
    with pytest.raises(errors.ServerUnreachableError, match=r"127\.0\.0\.1:1 .*is the server running"):
        failing(entry, PORT=1)
    assert time.monotonic() - began < 5


def test_a_server_that_accepts_and_says_nothing_is_unreachable(
    entry: dict[str, Any], silent_port: int
) -> None:
    began = time.monotonic()
    with pytest.raises(errors.ServerUnreachableError):
        failing(entry, PORT=silent_port, CONNECT_TIMEOUT=2)
    assert time.monotonic() - began < 10


def test_a_statement_may_take_longer_than_a_connection(entry: dict[str, Any]) -> None:
    with db_plugins.connect({**entry, "CONNECT_TIMEOUT": 1}, models=[Shop]) as db:
        db.create_all()
        sleep = "pg_sleep(1.5)::text = ''" if db.engine == "postgresql" else "SLEEP(1.5) = 0"
        db.query(Shop).insert({"name": "a"})
        assert db.query(Shop).filter_native(sa.text(sleep)).count() == 1


def test_a_wrong_password_names_the_user_and_never_the_password(entry: dict[str, Any]) -> None:
    with pytest.raises(errors.AuthenticationError, match=entry["USER"]) as caught:
        failing(entry, PASSWORD="wr0ng@:/p%")
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize("tls", ["require", "verify"])
def test_a_server_without_tls_is_never_spoken_to_in_the_clear(entry: dict[str, Any], tls: str) -> None:
    with pytest.raises(errors.ConnectionFailedError):
        failing(entry, TLS=tls)


def test_a_missing_database_is_named(entry: dict[str, Any]) -> None:
    with pytest.raises(errors.DatabaseMissingError, match="nobody_made_it"):
        failing(entry, DB_NAME="nobody_made_it")


def test_a_slow_statement_ends_at_query_timeout_and_the_connection_goes_on(entry: dict[str, Any]) -> None:
    with db_plugins.connect({**entry, "QUERY_TIMEOUT": 0.5}, models=[Shop]) as db:
        db.create_all()
        db.query(Shop).insert({"name": "a"})
        sleep = "pg_sleep(5)::text = ''" if db.engine == "postgresql" else "SLEEP(5) = 0"
        began = time.monotonic()
        with pytest.raises(errors.QueryTimeoutError):
            db.query(Shop).filter_native(sa.text(sleep)).all()
        assert time.monotonic() - began < 4
        assert db.query(Shop).count() == 1


def kill_connection(db: db_plugins.Database, pool: sa.Engine) -> None:
    """End the server's side of the connection that ``db`` holds."""
    if db.engine == "postgresql":
        pid = db.native.execute(sa.text("SELECT pg_backend_pid()")).scalar()
        end = f"SELECT pg_terminate_backend({pid})"
    else:
        pid = db.native.execute(sa.text("SELECT connection_id()")).scalar()
        end = f"KILL {pid}"
    with pool.connect() as other:
        other.execute(sa.text(end))


def test_a_connection_killed_in_a_transaction_commits_nothing_and_may_be_retried(
    entry: dict[str, Any],
) -> None:
    with db_plugins.connect(entry, models=[Shop]) as db:
        db.create_all()
        pool = db.native
        with pytest.raises(errors.ConnectionLostError) as caught, db.transaction() as tx:
            tx.query(Shop).insert({"name": "a"})
            kill_connection(tx, pool)
            time.sleep(0.1)
            tx.query(Shop).insert({"name": "b"})
        assert caught.value.retryable
        assert db.query(Shop).count() == 0


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


def test_a_full_pool_is_told_with_what_to_raise(entry: dict[str, Any]) -> None:
    small = {**entry, "POOL_SIZE": 1, "MAX_OVERFLOW": 0, "POOL_TIMEOUT": 0.2}
    with db_plugins.connect(small, models=[Shop]) as db:
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


def test_no_more_connections_than_the_pool_may_have(entry: dict[str, Any]) -> None:
    with db_plugins.connect({**entry, "POOL_SIZE": 2, "MAX_OVERFLOW": 1}, models=[Shop]) as db:
        db.create_all()
        threads = [threading.Thread(target=lambda: db.query(Shop).count()) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 1 <= db.native.pool.checkedin() <= 3
        assert db.native.pool.checkedout() == 0


def test_a_password_of_any_characters_works_and_is_shown_nowhere(entry: dict[str, Any], caplog: Any) -> None:
    caplog.set_level("DEBUG")
    with db_plugins.connect({**entry, "ECHO": True}, models=[Shop]) as db:
        db.create_all()
        health = db.ping()
        shown = f"{db!r} {db._settings!r} {health!r} {db.native!r} {caplog.text}"
    assert entry["PASSWORD"] not in shown
