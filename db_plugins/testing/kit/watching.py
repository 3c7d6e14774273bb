"""Watching: every statement is told with the same words on every engine, and never with a value.

Tests that plant values look through all there is: the events, the records of both loggers, the attributes of spans.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import pytest

from db_plugins import Capability, Database, StatementEvent, func
from db_plugins.errors import DuplicateKeyError, EngineError, UnsupportedFilterError
from db_plugins.watching import OPERATIONS

from .harness import Connect, ConnectAsync, Harness, faces, requires, subject
from .models import Badge, Star, Thing
from .samples import STARS

__all__ = ["Watching"]

#: Is in every planted value. A number of its digits is planted too.
PLANTED = "Geh31m"
NUMBER = 710829364


class Heard(list[StatementEvent]):
    """What a listener was told. An engine may look at a table before it uses it: those events stand aside."""

    def __init__(self, db: Database) -> None:
        super().__init__()
        self.looks: list[StatementEvent] = []
        self.stop = db.on_statement(self.hear)

    def hear(self, event: StatementEvent) -> None:
        """The listener."""
        (self.looks if event.operation == "inspect" else self).append(event)

    def of(self, operation: str, model: type | None = Star) -> list[StatementEvent]:
        """The events of one operation, on one model."""
        name = None if model is None else model.__name__
        return [event for event in self if event.operation == operation and event.model == name]

    def after(self, work: Callable[[], Any]) -> Heard:
        """What is told of this work alone."""
        self.clear()
        work()
        return self


def is_well_formed(event: StatementEvent, db: Database) -> bool:
    """Does it say what every event says?"""
    return (
        event.engine == db.engine
        and event.database == db.name
        and event.operation in OPERATIONS
        and (event.rows is None or event.rows >= 0)
        and 0 < event.seconds < 60
        and bool(event.statement)
    )


def thing(number: int) -> dict[str, Any]:
    """A row full of planted values."""
    return {"text": f"{PLANTED} {number}", "other": f"${PLANTED}", "number": NUMBER, "extra": {"v": PLANTED}}


#: Calls that carry planted values.
CARRIERS: dict[str, Callable[[Database], Any]] = {
    "insert": lambda db: db.query(Thing).insert(thing(1)),
    "bulk_insert": lambda db: db.query(Thing).bulk_insert([thing(n) for n in range(3)]),
    "bulk_insert of many": lambda db: db.query(Thing).bulk_insert([thing(n) for n in range(1100)]),
    "upsert": lambda db: db.query(Thing).upsert({"id": 5, **thing(5)}),
    "bulk upsert": lambda db: db.query(Thing).bulk_insert(
        [{"id": n, **thing(n)} for n in range(5, 9)], on_conflict="update"
    ),
    "get_or_create": lambda db: db.query(Badge).get_or_create({"code": PLANTED}),
    "update": lambda db: db.query(Thing).filter(text=f"{PLANTED} 1").update(thing(2)),
    "update by arithmetic": lambda db: (
        db.query(Thing).filter(Thing.text == f"{PLANTED} 2").update({"number": Thing.number + NUMBER})
    ),
    "bulk_update": lambda db: db.query(Thing).bulk_update([{"id": n, **thing(n)} for n in range(5, 9)]),
    "get": lambda db: db.query(Thing).get(NUMBER),
    "filter": lambda db: db.query(Thing).filter(Thing.text == PLANTED, Thing.number > NUMBER).all(),
    "a text with a dollar": lambda db: db.query(Thing).filter(Thing.text == f"${PLANTED}").all(),
    "columns and arithmetic": lambda db: db.query(Thing).filter(Thing.number + NUMBER > Thing.small).all(),
    "in_": lambda db: db.query(Thing).filter(Thing.text.in_([PLANTED, f"${PLANTED}"])).all(),
    "not_in": lambda db: db.query(Thing).filter(Thing.number.not_in([NUMBER, 1])).count(),
    "like": lambda db: db.query(Thing).filter(Thing.text.like(f"{PLANTED}%")).count(),
    "icontains": lambda db: db.query(Thing).filter(Thing.text.icontains(PLANTED)).exists(),
    "JSON path": lambda db: db.query(Thing).filter(Thing.extra["v"].as_string() == PLANTED).all(),
    "aggregate": lambda db: db.query(Thing).filter(other=f"${PLANTED}").aggregate(n=func.count()),
    "groups": lambda db: db.query(Thing).filter(number=NUMBER).group_by("text").aggregate(n=func.count()),
    "cursor_paginate": lambda db: db.query(Thing).order_by("text").cursor_paginate(per_page=1).next(),
    "stream": lambda db: list(db.query(Thing).filter(number=NUMBER).stream(batch_size=2)),
    "delete": lambda db: db.query(Thing).filter(Thing.other == f"${PLANTED}").delete(),
}


@subject("watching")
class Watching(Harness):
    """API §12."""

    @pytest.fixture
    def spans(self, monkeypatch: pytest.MonkeyPatch) -> Spans:
        """The program's tracer provider, for the length of the test: OpenTelemetry lets it be set only once."""
        trace = pytest.importorskip("opentelemetry.trace", reason="needs opentelemetry-sdk")
        pytest.importorskip("opentelemetry.sdk.trace", reason="needs opentelemetry-sdk")
        spans = Spans()
        monkeypatch.setattr(trace, "get_tracer_provider", lambda: spans.provider)
        return spans

    # -- what is told ----------------------------------------------------------------------------------------------

    def test_a_read_is_told_with_its_model_rows_and_time(self, seven: Database) -> None:
        heard = Heard(seven)
        query = seven.query(Star)
        for work, rows in (
            (lambda: query.get(1), 1),
            (lambda: query.get(99), 0),
            (query.all, len(STARS)),
            (lambda: list(query.stream(batch_size=3)), len(STARS)),
        ):
            (event,) = heard.after(work).of("select")
            assert heard == [event]
            assert is_well_formed(event, seven)
            assert (event.rows, event.error) == (rows, None)

    @pytest.mark.parametrize(
        ("operation", "work"),
        [
            ("select", lambda query: query.first()),
            ("select", lambda query: query.filter(Star.mag < 3).order_by("-mag").to_dicts("name")),
            ("select", lambda query: query.exists()),
            ("select", lambda query: query.paginate(per_page=2, count=False)),
            ("select", lambda query: query.order_by("mag").cursor_paginate(per_page=2)),
            ("count", lambda query: query.count()),
            ("count", lambda query: query.filter(Star.name.like("%a%")).count()),
            ("aggregate", lambda query: query.aggregate(n=func.count(), top=func.max(Star.mag))),
            ("aggregate", lambda query: query.group_by(Star.band).aggregate(n=func.count())),
        ],
    )
    def test_each_read_has_its_word(self, seven: Database, operation: str, work: Any) -> None:
        heard = Heard(seven)
        work(seven.query(Star))
        assert {event.operation for event in heard} == {operation}
        assert all(is_well_formed(event, seven) and event.model == "Star" for event in heard)

    @requires(Capability.WRITE, Capability.UNIQUE)
    @pytest.mark.parametrize(
        ("operation", "rows", "work"),
        [
            ("insert", 1, lambda query: query.insert({"name": "Polaris"})),
            ("insert", 3, lambda query: query.bulk_insert([{"name": name} for name in "abc"])),
            ("upsert", 1, lambda query: query.upsert({"name": "Polaris", "mag": 1.25}, key=["name"])),
            ("insert", 1, lambda query: query.get_or_create({"name": "Polaris"})),
            ("update", 1, lambda query: query.filter(id=1).update({"mag": 9.0})),
            ("update", 1, lambda query: query.update(query.get(1), {"mag": 9.5})),
            ("update", 2, lambda query: query.bulk_update([{"id": n, "mag": n} for n in (1, 2)])),
            ("delete", 2, lambda query: query.filter(Star.id.in_([1, 2])).delete()),
        ],
    )
    def test_each_write_has_its_word_and_rows(
        self, seven: Database, operation: str, rows: int, work: Any
    ) -> None:
        heard = Heard(seven)
        work(seven.query(Star))
        told = heard.of(operation)
        assert told
        assert all(is_well_formed(event, seven) for event in heard)
        # By one statement, or by one for each row.
        assert rows in (told[-1].rows, sum(event.rows or 0 for event in told))

    @requires(Capability.WRITE)
    def test_what_makes_and_drops_tables_is_told(self, connect: Connect) -> None:
        db = connect(Star)
        heard = Heard(db)
        db.drop_all()
        assert {event.operation for event in heard} >= {"drop", "select"}
        assert {event.operation for event in heard.after(db.create_all)} >= {"create"}
        heard.looks.clear()
        assert heard.after(db.ping) == []
        assert heard.looks
        assert all(is_well_formed(event, db) for event in heard.looks)

    @requires(Capability.WRITE, Capability.UNIQUE)
    def test_an_error_is_told_and_raised_all_the_same(self, seven: Database) -> None:
        heard = Heard(seven)
        with pytest.raises(DuplicateKeyError) as raised:
            seven.query(Star).insert({"id": 99, "name": STARS[0]["name"]})
        told = [event for event in heard if event.error is not None]
        assert told
        assert {event.operation for event in told} == {"insert"}
        assert all(is_well_formed(event, seven) for event in told)
        assert isinstance(told[-1].error, DuplicateKeyError)
        assert told[-1].error.engine == raised.value.engine == seven.engine
        assert STARS[0]["name"] not in str(told[-1].error)

    def test_what_is_refused_beforehand_is_no_statement(self, seven: Database) -> None:
        heard = Heard(seven)
        with pytest.raises(UnsupportedFilterError):
            seven.query(Star).filter(func.lower(Star.name, 7) == "a").all()
        assert seven.query(Star).limit(0).all() == []
        assert heard == []

    # -- who is told -----------------------------------------------------------------------------------------------

    def test_listeners_are_told_until_they_stop(self, seven: Database) -> None:
        first, second = Heard(seven), Heard(seven)
        seven.query(Star).count()
        assert (len(first), len(second)) == (1, 1)
        first.stop()
        first.stop()  # a second time changes nothing
        seven.query(Star).count()
        assert (len(first), len(second)) == (1, 2)
        second.stop()
        seven.query(Star).count()
        assert (len(first), len(second)) == (1, 2)

    def test_a_listener_that_raises_is_logged_and_stops_nothing(
        self, seven: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(event: StatementEvent) -> None:
            raise RuntimeError("the listener's own")

        assert seven.query(Star).count() == len(STARS)  # what an engine asks once is asked
        seven.on_statement(fail)
        heard = Heard(seven)
        with caplog.at_level(logging.ERROR, "db_plugins"):
            assert seven.query(Star).count() == len(STARS)
        assert len(heard) == 1
        (record,) = [record for record in caplog.records if record.name == "db_plugins"]
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], RuntimeError)

    def test_what_a_listener_does_itself_is_not_told(self, seven: Database) -> None:
        assert seven.query(Star).count() == len(STARS)  # what an engine asks once is asked
        heard = Heard(seven)
        counted: list[int] = []
        seven.on_statement(lambda event: counted.append(seven.query(Star).count()))
        assert seven.query(Star).get(1) is not None
        assert len(heard) == 1
        assert counted == [len(STARS)]

    def test_statements_of_all_threads_are_told(self, seven: Database) -> None:
        heard = Heard(seven)
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda n: seven.query(Star).get(n % 7 + 1), range(40)))
        assert all(found)
        assert len(heard.of("select")) == len(heard) == 40

    # -- transactions, streams, sessions ---------------------------------------------------------------------------

    @requires(Capability.WRITE, Capability.TRANSACTIONS)
    def test_a_transaction_is_told_from_begin_to_commit(self, seven: Database) -> None:
        heard = Heard(seven)
        with seven.transaction() as tx:
            tx.query(Star).insert({"name": "Polaris"})
            assert tx.query(Star).count() == len(STARS) + 1
        words = [event.operation for event in heard]
        assert (words[0], words[-2], words[-1]) == ("begin", "count", "commit")
        assert "insert" in words
        heard.clear()
        with suppress(RuntimeError), seven.transaction() as tx:
            heard_inside = Heard(tx)
            tx.query(Star).get(1)
            raise RuntimeError
        assert [event.operation for event in heard] == ["begin", "select", "rollback"]
        assert [event.operation for event in heard_inside] == ["select", "rollback"]
        assert all(is_well_formed(event, seven) for event in heard)

    @requires(Capability.WRITE, Capability.TRANSACTIONS, Capability.SAVEPOINTS)
    def test_a_savepoint_is_told(self, seven: Database) -> None:
        heard = Heard(seven)
        with seven.transaction() as tx:
            with tx.transaction() as inner:
                inner.query(Star).get(1)
            with suppress(RuntimeError), tx.transaction():
                raise RuntimeError
        words = ["begin", "savepoint", "select", "release", "savepoint", "rollback", "commit"]
        assert [event.operation for event in heard] == words

    def test_a_stream_left_early_is_told_with_what_was_read(self, seven: Database) -> None:
        heard = Heard(seven)
        with closing(seven.query(Star).stream(batch_size=2)) as stream:
            assert next(stream).name
            assert seven.query(Star).count() == len(STARS)  # no part of the stream
            assert [event.operation for event in heard] == ["count"]
        assert [event.operation for event in heard] == ["count", "select"]
        assert heard[-1].error is None
        assert heard[-1].rows is not None
        assert heard[-1].rows >= 2

    @requires(Capability.WRITE, Capability.TRANSACTIONS, Capability.SESSIONS)
    def test_statements_of_a_session_are_told(self, seven: Database) -> None:
        heard = Heard(seven)
        with seven.session() as s:
            star = s.get(Star, 1)
            assert star is not None
            star.mag = 4.5
            s.add(Star(name=f"Polaris {PLANTED}"))
            assert seven.query(Star).count() == len(STARS) + 1  # flushes first
            s.delete(star)
        for operation in ("select", "insert", "update", "delete", "count"):
            told = heard.of(operation)
            assert len(told) == 1, operation
            assert is_well_formed(told[0], seven)
            assert operation in ("select", "insert") or told[0].rows == 1
        assert (heard[0].operation, heard[-1].operation) == ("begin", "commit")
        assert not any(PLANTED in repr(event) for event in heard)
        heard.clear()
        with pytest.raises(DuplicateKeyError), seven.session() as s:
            s.add(Star(name=STARS[1]["name"]))
        (failed,) = [event for event in heard if event.error is not None]
        assert failed.operation == "insert"
        assert failed.model == "Star"
        assert isinstance(failed.error, DuplicateKeyError)

    # -- loggers ---------------------------------------------------------------------------------------------------

    def test_slow_statements_are_logged_and_others_not(
        self, connect: Connect, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, "db_plugins.slow"):
            connect(Star, SLOW_QUERY_MS=60_000).query(Star).count()
            assert not [record for record in caplog.records if record.name == "db_plugins.slow"]
            connect(Star, SLOW_QUERY_MS=0.0001).query(Star).count()
        slow = [record for record in caplog.records if record.name == "db_plugins.slow"]
        assert {record.levelno for record in slow} == {logging.WARNING}
        assert "count Star" in slow[-1].getMessage()

    def test_statements_are_logged_once_debug_is_asked_for(
        self, seven: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        seven.query(Star).count()
        assert not [record for record in caplog.records if record.name == "db_plugins"]
        with caplog.at_level(logging.DEBUG, "db_plugins"):
            seven.query(Star).count()
        records = [record for record in caplog.records if record.name == "db_plugins"]
        assert {record.levelno for record in records} == {logging.DEBUG}
        assert "count Star" in records[-1].getMessage()

    # -- spans -----------------------------------------------------------------------------------------------------

    def test_spans_have_the_stable_names(self, seven: Database, spans: Spans) -> None:
        seven.query(Star).filter(Star.mag < 3).all()
        span = spans.take()[-1]
        assert (span.name, span.kind.name) == ("select kit_star", "CLIENT")
        about = dict(span.attributes)
        assert about["db.system.name"] == seven.engine
        assert about["db.operation.name"] == "select"
        assert about["db.collection.name"] == "kit_star"
        assert about["db.query.text"]
        assert about["db.response.returned_rows"] >= 3
        assert "error.type" not in about
        assert span.status.status_code.name == "UNSET"
        assert 0 < span.end_time - span.start_time < 60e9

    @faces("sync")  # what is current here is not so in the task that drives the other face
    def test_a_span_belongs_to_the_one_around_it(self, seven: Database, spans: Spans) -> None:
        with spans.tracer.start_as_current_span("mine") as mine:
            seven.query(Star).count()
        *_, child, _mine = spans.take()
        assert child.parent.span_id == mine.get_span_context().span_id

    def test_a_span_belongs_to_the_one_around_its_task(
        self, connect_async: ConnectAsync, spans: Spans
    ) -> None:
        async def main() -> None:
            async with connect_async() as db:

                async def look(name: str) -> tuple[str, int]:
                    with spans.tracer.start_as_current_span(name) as mine, suppress(EngineError):
                        await db.query(Star).count()
                    return name, mine.get_span_context().span_id

                ids = dict(await asyncio.gather(*[look(f"task{n}") for n in range(5)]))
            parents = {span.parent.span_id for span in spans.take() if span.parent is not None}
            assert parents == set(ids.values())

        asyncio.run(main())

    @requires(Capability.WRITE, Capability.UNIQUE)
    def test_a_span_says_what_failed(self, seven: Database, spans: Spans) -> None:
        with pytest.raises(DuplicateKeyError):
            seven.query(Star).insert({"id": 99, "name": STARS[0]["name"]})
        failed = [span for span in spans.take() if span.status.status_code.name == "ERROR"]
        assert failed[-1].attributes["error.type"] == "DuplicateKeyError"

    # -- no values -------------------------------------------------------------------------------------------------

    @requires(Capability.WRITE, Capability.UNIQUE)
    def test_no_event_record_or_span_holds_a_value(
        self, connect: Connect, spans: Spans, caplog: pytest.LogCaptureFixture
    ) -> None:
        db = connect(Thing, Badge, SLOW_QUERY_MS=0.0001)
        heard = Heard(db)
        spans.take()
        with caplog.at_level(logging.DEBUG, "db_plugins"):
            for name, work in CARRIERS.items():
                heard.clear()
                heard.looks.clear()
                caplog.clear()
                work(db)
                told = [repr(event) for event in (*heard, *heard.looks)]
                told += [record.getMessage() for record in caplog.records]
                made = spans.take()
                told += [f"{span.name} {dict(span.attributes)}" for span in made]
                assert len(heard) > 0, name
                assert len(heard) + len(heard.looks) == len(made), name
                assert len(caplog.records) >= 2 * len(made), name
                assert not [text for text in told if PLANTED in text or str(NUMBER) in text], name


class Spans:
    """A tracer provider whose spans can be taken."""

    def __init__(self) -> None:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("kit")

    def take(self) -> list[Any]:
        """The spans since the last time."""
        found = list(self._exporter.get_finished_spans())
        self._exporter.clear()
        return found
