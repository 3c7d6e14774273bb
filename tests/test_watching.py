"""Watching, the core's part: what listeners and spans get of an engine that says nothing itself, and what it costs."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import db_plugins
from db_plugins import Database, StatementEvent, config
from db_plugins.errors import EngineError
from db_plugins.spans import Spans
from db_plugins.watching import Call, Watch, current_call, outside_of_calls, say, sending


class Base(DeclarativeBase):
    pass


class Star(Base):
    __tablename__ = "star"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    mag: Mapped[float | None]


@pytest.fixture
def db() -> Iterator[Database]:
    with db_plugins.connect({"ENGINE": "memory"}, models=[Star]) as db:
        db.create_all()
        db.query(Star).bulk_insert([{"name": name, "mag": n} for n, name in enumerate("abc")])
        yield db


@pytest.fixture
def heard(db: Database) -> list[StatementEvent]:
    heard: list[StatementEvent] = []
    db.on_statement(heard.append)
    return heard


def test_an_event_is_frozen_and_small() -> None:
    event = StatementEvent("memory", "default", None, "commit", None, 0.5, "COMMIT", None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.rows = 1  # type: ignore[misc]
    assert not hasattr(event, "__dict__")


def test_the_cores_words_name_what_is_asked_and_no_value(db: Database, heard: list[StatementEvent]) -> None:
    query = db.query(Star)
    query.filter(Star.name.in_(["x", "y"]), ~Star.name.like("x%") | (Star.mag + 7 > Star.id)).order_by(
        "-mag"
    ).limit(3).all()
    query.filter(Star.mag.is_(None)).update({"mag": Star.mag + 7})
    assert [event.statement for event in heard] == [
        (
            "select Star.id, Star.name, Star.mag from Star where (Star.name in ? and (Star.name not like ? or "
            "(Star.mag + ?) > Star.id)) order by Star.mag desc, Star.id limit ?"
        ),
        "update Star where Star.mag is null set mag = (Star.mag + ?)",
    ]


def test_a_listener_may_listen_twice_and_stop_once(db: Database) -> None:
    heard: list[StatementEvent] = []
    stop, _other = db.on_statement(heard.append), db.on_statement(heard.append)
    stop()
    db.query(Star).count()
    assert len(heard) == 1


def test_listening_connects_nothing_and_outlives_a_close(tmp_path: Any) -> None:
    file = tmp_path / "x.db"
    heard: list[StatementEvent] = []
    with db_plugins.connect(f"sqlite:///{file}", models=[Star]) as db:
        db.on_statement(heard.append)
        assert not file.exists()
        db.create_all()
        db.close()
        heard.clear()
        assert db.query(Star).count() == 0
        assert [event.operation for event in heard] == ["count"]


def test_the_time_of_a_stream_is_that_of_its_reads(db: Database, heard: list[StatementEvent]) -> None:
    for _star in db.query(Star).stream(batch_size=1):
        threading.Event().wait(0.02)
    (event,) = heard
    assert event.rows == 3
    assert event.seconds < 0.02


class Said:
    """An engine's side of a call: what it sends, statement by statement."""

    name = "said"

    def classify(self, exc: Exception) -> EngineError | None:
        return EngineError("it failed", orig=exc) if isinstance(exc, OSError) else None


@pytest.fixture
def watch(heard: list[StatementEvent]) -> Watch:
    watch = Watch()
    watch.listen(heard.append)
    return watch


def call(watch: Watch) -> Call:
    return watch.call(Said(), "update", None, "all of it")  # type: ignore[arg-type]


def test_statements_of_one_call_are_told_one_by_one(watch: Watch, heard: list[StatementEvent]) -> None:
    with call(watch) as whole:
        whole.rows = 5
        with sending("a look", "inspect") as sent:
            sent.rows = 2
        with sending("the rest"):
            pass
        assert heard == []  # told when the call has ended: its error is known then
    assert [(event.operation, event.rows, event.statement) for event in heard] == [
        ("inspect", 2, "a look"),
        ("update", 5, "the rest"),
    ]


def test_an_engine_may_say_the_text_of_a_call(watch: Watch, heard: list[StatementEvent]) -> None:
    with call(watch):
        say(lambda: "in other words")
    with call(watch) as nothing:
        nothing.forget()
    assert [event.statement for event in heard] == ["in other words"]


def test_a_statement_that_failed_and_was_sent_again_is_told_twice(
    watch: Watch, heard: list[StatementEvent]
) -> None:
    with call(watch):
        with pytest.raises(OSError), sending("first"):
            raise OSError
        with sending("second"):
            pass
    assert [type(event.error) for event in heard] == [EngineError, type(None)]
    assert heard[0].error.engine == "said"  # type: ignore[union-attr]


def test_what_runs_outside_of_the_call_is_no_part_of_it(watch: Watch, heard: list[StatementEvent]) -> None:
    with call(watch), outside_of_calls():
        assert current_call() is None
        with sending("a flush"):
            pass
    assert [event.statement for event in heard] == ["all of it"]


def test_a_call_that_the_engine_refuses_is_no_statement(watch: Watch, heard: list[StatementEvent]) -> None:
    with pytest.raises(ValueError), call(watch):
        raise ValueError
    with pytest.raises(OSError), call(watch):
        raise OSError
    assert [type(event.error) for event in heard] == [EngineError]


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        (
            {"ENGINE": "memory", "HOST": "db", "PORT": 5432, "DB_NAME": "stars", "PASSWORD": "geheim"},
            {"db.namespace": "stars", "server.address": "db", "server.port": 5432},
        ),
        (
            {"URL": "memory://ann:geheim@db:99/stars?x=geheim"},
            {"db.namespace": "stars", "server.address": "db", "server.port": 99},
        ),
        ({"URL": "memory://ann:geheim@a:1,b:2/stars"}, {}),
        ({"ENGINE": "memory"}, {}),
    ],
)
def test_a_span_says_where_and_no_secret(entry: dict[str, Any], place: dict[str, Any]) -> None:
    settings, _models = config.resolve(entry, models=[])
    assert Spans(settings)._place == place


def test_opentelemetry_is_not_imported_here_first() -> None:
    program = (
        "import sys, db_plugins, db_plugins.watching\n"
        "db = db_plugins.connect({'ENGINE': 'memory'}, models=[])\n"
        "assert db._watch.is_idle\n"
        "assert 'opentelemetry' not in sys.modules\n"
        "import opentelemetry.trace\n"
        "assert db._watch.is_idle\n"  # the API alone, without a provider
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
