"""An answer that was lost on its way: what was committed is of unknown outcome and never sent again by itself, and what was
not is run again. On real servers, behind a proxy that loses answers (``servers.proxy``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import db_plugins
from db_plugins import Database, errors
from db_plugins.testing.kit.faces import connect_driven
from servers.proxy import Proxy


class Base(DeclarativeBase):
    pass


class Count(Base):
    """A counter with a name."""

    __tablename__ = "lost_count"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(20), unique=True)
    n: Mapped[int] = mapped_column(default=0)


#: A commit, and a statement that writes, as each server is sent them; what else an entry needs behind a proxy.
COMMITS = {
    "postgresql": rb"COMMIT(?!TED)",
    "mariadb": rb"(?<!AUTO)COMMIT(?!TED)",
    "mongodb": b"commitTransaction",
}
INSERTS = {"postgresql": rb"INSERT", "mariadb": rb"INSERT", "mongodb": rb"insert\0"}
#: What begins a transaction; MongoDB's begins with its first statement.
BEGINS = {"postgresql": rb"BEGIN", "mariadb": rb"AUTOCOMMIT", "mongodb": rb"find\0|insert\0"}
#: The driver would find the server's own port by asking it.
OPTIONS: dict[str, dict[str, Any]] = {
    "mongodb": {"OPTIONS": {"directConnection": True, "retryWrites": False}}
}
#: PyMongo sends a commit again by itself, which MongoDB allows: both answers must be lost.
TIMES = {"mongodb": 10}


@dataclass
class Line:
    """A Database behind a proxy, and one that is not."""

    kind: str
    proxy: Proxy
    db: Database
    direct: Database

    def lose_commit(self) -> None:
        # SQLAlchemy sends MariaDB a COMMIT before a transaction too, when it sets the isolation level.
        self.proxy.lose_answer(
            COMMITS[self.kind], TIMES.get(self.kind, 1), after=rb"UPDATE|INSERT|update\0|insert\0"
        )

    def counts(self) -> dict[str, int]:
        return {c.name: c.n for c in self.direct.query(Count).all()}


@pytest.fixture(params=["postgresql", "mariadb", "mariadb-async", "mongodb"])
def line(request: pytest.FixtureRequest, shared_server: Any) -> Iterator[Line]:
    kind, _, face = request.param.partition("-")
    connect = connect_driven if face == "async" else db_plugins.connect
    server = shared_server(kind)
    name, _url = server.new_database()
    entry = {**server.entry(name), **OPTIONS.get(kind, {})}
    with (
        Proxy(server.port, server.host) as proxy,
        db_plugins.connect(entry, models=[Count]) as direct,
        connect({**entry, "PORT": proxy.port}, models=[Count]) as db,
    ):
        direct.create_all()
        direct.query(Count).insert({"name": "a"})
        db.query(Count).count()
        yield Line(kind, proxy, db, direct)
    server.drop_database(name)


def test_a_commit_whose_answer_is_lost_is_of_unknown_outcome_and_not_run_again(line: Line) -> None:
    calls: list[int] = []

    def work(tx: Database) -> None:
        calls.append(1)
        tx.query(Count).filter(name="a").update({"n": Count.n + 1})
        tx.query(Count).insert({"name": "b"})

    line.lose_commit()
    with pytest.raises(errors.OutcomeUnknownError) as caught:
        line.db.run_transaction(work)
    assert line.proxy.lost >= 1
    assert (calls, caught.value.retryable, caught.value.engine) == ([1], False, line.db.engine)
    assert caught.value.__cause__ is not None
    assert "again" in str(caught.value), "it says what to do"
    assert line.counts() == {"a": 1, "b": 0}, "here it was stored, once"
    line.proxy.lose_answer(rb"never", 0)
    assert line.db.run_transaction(lambda tx: tx.query(Count).count()) == 2, "the next call goes on"


def test_a_statement_of_a_transaction_whose_answer_is_lost_is_run_again(line: Line) -> None:
    calls: list[int] = []

    def work(tx: Database) -> None:
        calls.append(1)
        tx.query(Count).filter(name="a").update({"n": Count.n + 1})
        tx.query(Count).insert({"name": "b"})

    line.proxy.lose_answer(INSERTS[line.kind])
    line.db.run_transaction(work)
    assert line.proxy.lost == 1
    assert calls == [1, 1]
    assert line.counts() == {"a": 1, "b": 0}


def test_a_statement_of_a_transaction_whose_answer_is_lost_left_nothing(line: Line) -> None:
    line.proxy.lose_answer(INSERTS[line.kind])
    with pytest.raises(errors.EngineError) as caught, line.db.transaction() as tx:
        tx.query(Count).filter(name="a").update({"n": Count.n + 1})
        tx.query(Count).insert({"name": "b"})
    assert not isinstance(caught.value, errors.OutcomeUnknownError)
    assert caught.value.retryable
    assert line.counts() == {"a": 0}


def test_a_transaction_that_cannot_begin_is_begun_again(line: Line) -> None:
    calls: list[int] = []

    def work(tx: Database) -> None:
        calls.append(1)
        tx.query(Count).insert({"name": "b"})

    line.proxy.lose_answer(BEGINS[line.kind])
    line.db.run_transaction(work)
    assert line.proxy.lost == 1
    assert line.counts() == {"a": 0, "b": 0}
    line.proxy.lose_answer(BEGINS[line.kind])
    with pytest.raises(errors.ConnectionLostError) as caught, line.db.transaction() as tx:
        tx.query(Count).insert({"name": "c"})
    assert caught.value.retryable


def test_an_insert_whose_answer_is_lost_is_of_unknown_outcome(line: Line) -> None:
    line.proxy.lose_answer(INSERTS[line.kind])
    with pytest.raises(errors.OutcomeUnknownError):
        line.db.query(Count).insert({"name": "b"})
    assert line.counts() == {"a": 0, "b": 0}


#: Bulk writes outside of transactions, each a transaction of its own.
WRITES: dict[str, Callable[[Any], Any]] = {
    "several batches": lambda q: q.bulk_insert(
        [{"name": "a"}] * 6, on_conflict="update", key="name", update={"n": Count.n + 1}, batch_size=3
    ),
    "one batch": lambda q: q.bulk_insert(
        [{"name": "a"}] * 6, on_conflict="update", key="name", update={"n": Count.n + 1}
    ),
    "bulk_update": lambda q: q.bulk_update([{"id": 1, "n": Count.n + 1}] * 6, batch_size=3),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_bulk_write_whose_commit_is_lost_is_not_done_twice(line: Line, write: str) -> None:
    line.lose_commit()
    with pytest.raises(errors.OutcomeUnknownError):
        WRITES[write](line.db.query(Count))
    assert line.proxy.lost >= 1
    assert line.counts() == {"a": 6}
