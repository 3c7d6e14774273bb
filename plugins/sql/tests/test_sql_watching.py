"""Watching on SQL: each statement that is sent, whichever way it goes to the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import db_plugins
from db_plugins import Database, StatementEvent
from db_plugins.testing.kit.models import Author, Book, Star


@pytest.fixture
def opened(tmp_path: Path, shared_server: Any) -> Iterator[Callable[[str], Database]]:
    """``opened("mariadb")``: a Database with one star, whose table has been looked at."""
    with ExitStack() as stack:

        def open_on(kind: str) -> Database:
            entry: dict[str, Any] = {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "x.db")}
            if kind != "sqlite":
                server = shared_server(kind)
                name, _url = server.new_database()
                stack.callback(server.drop_database, name)
                entry = dict(server.entry(name))
            db = stack.enter_context(db_plugins.connect(entry, models=[Star, Author, Book]))
            db.create_all()
            db.query(Star).insert({"name": "Vega"})
            db.query(Star).all()
            return db

        yield open_on


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def db(request: pytest.FixtureRequest, opened: Callable[[str], Database]) -> Database:
    return opened(request.param)


@pytest.fixture
def heard(db: Database) -> list[StatementEvent]:
    heard: list[StatementEvent] = []
    db.on_statement(heard.append)
    return heard


def test_statements_go_the_same_way_when_they_are_watched(db: Database, heard: list[StatementEvent]) -> None:
    preparations = db._connected()._preparations  # type: ignore[attr-defined]
    was = preparations.is_possible
    with db.session() as s:
        s.add(Star(name="Sirius"))
    assert preparations.is_possible is was is True
    assert db.query(Star).get(1) is not None
    assert heard[-1].statement.startswith("SELECT")


def test_who_comes_late_is_told_the_same(db: Database) -> None:
    assert db.query(Star).get(1) is not None  # its connection is kept for the next call
    heard: list[StatementEvent] = []
    db.on_statement(heard.append)
    db.query(Star).filter(id=1).update({"mag": 1.0})
    assert [event.statement.partition(" SET")[0] for event in heard] == ["UPDATE kit_star"]


def test_a_transaction_that_was_begun_before_is_told_call_by_call(db: Database) -> None:
    heard: list[StatementEvent] = []
    with db.transaction() as tx:
        tx.on_statement(heard.append)
        tx.query(Star).filter(id=1).update({"mag": 1.0})
    assert [(event.operation, event.rows) for event in heard] == [("update", 1), ("commit", None)]


def test_a_listener_of_sqlalchemys_changes_the_way_and_not_what_is_told(
    db: Database, heard: list[StatementEvent]
) -> None:
    sent: list[str] = []
    sa.event.listen(db.native, "before_cursor_execute", lambda *about: sent.append(about[2]))
    assert not db._connected()._preparations.is_possible  # type: ignore[attr-defined]
    db.query(Star).get(1)
    db.query(Star).insert({"name": "Sirius"})
    db.query(Star).filter(name="Vega").delete()
    assert [event.statement for event in heard] == [text.strip() for text in sent]
    assert [(event.operation, event.rows) for event in heard] == [("select", 1), ("insert", 1), ("delete", 1)]


def test_statements_on_the_connection_of_a_transaction_are_told(
    db: Database, heard: list[StatementEvent]
) -> None:
    with db.transaction() as tx:
        tx.native.execute(sa.text("SELECT name FROM kit_star WHERE id = :id"), {"id": 710829364})
        tx.native.execute(sa.select(Star.name))
        tx.native.execute(sa.update(Star).values(mag=710829364.0))
        with pytest.raises(sa.exc.DBAPIError):
            tx.native.execute(sa.text("FROB THE KNOB"))
    told = [(event.operation, event.model) for event in heard]
    assert told[:5] == [
        ("begin", None),
        ("select", None),
        ("select", "Star"),
        ("update", "Star"),
        ("other", None),
    ]
    assert [type(event.error).__name__ for event in heard if event.error] == ["EngineError"]
    assert not any("710829364" in event.statement for event in heard)


def test_many_rows_are_told_as_they_are_sent(db: Database, heard: list[StatementEvent]) -> None:
    db.query(Star).bulk_insert([{"name": f"s{n}"} for n in range(1200)])
    told = [event for event in heard if event.operation == "insert"]
    assert sum(event.rows or 0 for event in told) == 1200
    if db.engine == "postgresql":
        assert any(event.statement.startswith("COPY kit_star") for event in told)


def test_what_include_loads_is_one_statement_more(db: Database, heard: list[StatementEvent]) -> None:
    author = db.query(Author).insert({"name": "A"})
    db.query(Book).bulk_insert([{"title": f"b{n}", "author_id": author.id} for n in range(3)])
    heard.clear()
    db.query(Author).include(Author.books).all()
    told = [event for event in heard if event.operation != "inspect"]
    assert [(event.operation, event.model, event.rows) for event in told] == [
        ("select", "Author", 1),
        ("select", "Book", 3),
    ]


def test_a_read_that_is_sent_again_is_told_twice(opened: Callable[[str], Database]) -> None:
    db = opened("postgresql")
    heard: list[StatementEvent] = []
    db.on_statement(heard.append)
    db.query(Star).get(1)
    heard.clear()
    connection: Any = db._connected()
    lease = connection.at_hand.take()
    lease.driver.close()
    connection.engine.is_alive = lambda driver: True  # it died after it was looked at
    connection.at_hand.give(lease)
    assert db.query(Star).get(1) is not None
    assert [event.operation for event in heard] == ["select", "select"]
    assert [type(event.error).__name__ for event in heard] == ["ConnectionLostError", "NoneType"]
