"""Sessions and the server: how they begin, and a connection that dies under one."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from shop import Item, Shop

import db_plugins
from db_plugins import errors


@pytest.fixture(params=["postgresql", "mariadb"])
def entry(request: pytest.FixtureRequest, shared_server: Any) -> Iterator[dict[str, Any]]:
    """An entry on a real server, with a database of its own."""
    server = shared_server(request.param)
    name, _url = server.new_database()
    yield dict(server.entry(name))
    server.drop_database(name)


def kill_connection(session: Any, pool: sa.Engine) -> None:
    """End the server's side of the session's connection."""
    is_postgresql = pool.dialect.name == "postgresql"
    pid = session.scalar(sa.select(sa.func.pg_backend_pid() if is_postgresql else sa.func.connection_id()))
    with pool.connect() as other:
        other.execute(sa.text(f"SELECT pg_terminate_backend({pid})" if is_postgresql else f"KILL {pid}"))
    time.sleep(0.1)


@pytest.mark.parametrize("way", ["flush", "joined"])
def test_a_connection_killed_in_a_session_commits_nothing_and_may_be_retried(
    entry: dict[str, Any], way: str
) -> None:
    with db_plugins.connect(entry, models=[Shop, Item]) as db:
        db.create_all()
        pool = db.native
        with pytest.raises(errors.ConnectionLostError) as caught, db.session() as s:
            s.add(Shop(name="a"))
            s.flush()
            kill_connection(s, pool)
            if way == "flush":
                s.add(Shop(name="b"))
                s.flush()
            else:
                db.query(Shop).count()
        assert caught.value.retryable
        assert db.query(Shop).count() == 0


def test_an_answer_to_the_commit_that_is_lost_leaves_the_outcome_unknown(entry: dict[str, Any]) -> None:
    with db_plugins.connect(entry, models=[Shop, Item]) as db:
        db.create_all()
        pool = db.native
        with pytest.raises(errors.OutcomeUnknownError) as caught, db.session() as s:
            s.add(Shop(name="a"))
            s.flush()
            kill_connection(s, pool)
        assert not caught.value.retryable
        with db.session() as s:
            s.add(Shop(name="b"))
        assert [shop.name for shop in db.query(Shop).all()] == ["b"]


def test_a_session_has_the_isolation_of_a_transaction_again_after_its_commit(entry: dict[str, Any]) -> None:
    with db_plugins.connect(entry, models=[Shop]) as db:
        asked = sa.text(
            "SHOW transaction_isolation" if db.engine == "postgresql" else "SELECT @@tx_isolation"
        )
        with db.session() as s:
            first = s.scalar(asked)
            s.commit()
            second = s.scalar(asked)
        assert first.upper().replace("-", " ") == second.upper().replace("-", " ") == "REPEATABLE READ"


def test_a_session_begins_at_its_first_statement_with_begin_immediate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with db_plugins.connect(
        {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "x.db"), "ECHO": True}, models=[Shop, Item]
    ) as db:
        db.create_all()
        caplog.set_level(logging.INFO)
        caplog.clear()
        with db.session() as s:
            assert not caplog.records
            s.add(Shop(name="a"))
            s.commit()
            s.add(Shop(name="b"))
        statements = [r.getMessage() for r in caplog.records]
        assert statements.count("BEGIN IMMEDIATE") == 2
        assert sum(statement.startswith("COMMIT") for statement in statements) == 2


def test_no_value_of_a_row_is_in_an_error_that_leaves_the_block(tmp_path: Path) -> None:
    with db_plugins.connect(f"sqlite:///{tmp_path}/x.db", models=[Shop, Item]) as db:
        db.create_all()
        db.query(Shop).insert({"name": "s3cret"})
        for is_caught in (False, True):
            with pytest.raises(errors.DuplicateKeyError) as caught, db.session() as s:
                s.add(Shop(name="s3cret"))
                if is_caught:
                    with pytest.raises(sa.exc.IntegrityError):
                        s.flush()
                    s.scalar(sa.select(Shop.id))  # PendingRollbackError, which repeats the first one
            assert "s3cret" not in str(caught.value)


def test_a_statement_on_the_sessions_own_connection_that_failed_is_not_forgotten(
    entry: dict[str, Any],
) -> None:
    with db_plugins.connect(entry, models=[Shop, Item]) as db:
        db.create_all()
        with pytest.raises(errors.EngineError), db.session() as s:
            s.add(Shop(name="a"))
            s.flush()
            with pytest.raises(sa.exc.DBAPIError):
                s.connection().execute(sa.text("SELECT * FROM nowhere"))
        assert db.query(Shop).count() == 0
