"""Streams: every row once, in order, a batch at a time, and the connection given back however they end."""

from __future__ import annotations

import gc
import tracemalloc
from contextlib import closing

import pytest

from db_plugins import Capability, Database
from db_plugins.errors import InvalidValueError, UnsupportedFilterError, UnsupportedOperationError

from .bulk import keeps_rows_here
from .harness import Connect, Harness, requires, subject
from .models import Star

__all__ = ["Streams"]

ROWS = 1000


@subject("streams")
class Streams(Harness):
    """``stream`` over 1,000 rows, outside of transactions and inside."""

    @pytest.fixture
    def many(self, connect: Connect) -> Database:
        """1,000 stars of 50 magnitudes, every fiftieth without."""
        db = connect(Star)
        self.stock(
            db,
            Star,
            [{"id": n, "name": f"s{n:04}", "mag": (n % 50) or None, "band": "V"} for n in range(1, ROWS + 1)],
        )
        return db

    @pytest.mark.parametrize("size", [1, 7, 500, 1000, 10_000])
    def test_a_stream_is_what_all_is_whatever_the_batch(self, many: Database, size: int) -> None:
        query = many.query(Star).filter(Star.id <= (200 if size == 1 else ROWS)).order_by("-mag", "name")
        streamed = list(query.stream(batch_size=size))
        assert all(type(star) is Star for star in streamed)
        assert [(s.id, s.name, s.mag) for s in streamed] == [(s.id, s.name, s.mag) for s in query.all()]

    def test_a_stream_without_an_order_has_every_row_once(self, many: Database) -> None:
        assert sorted(star.id for star in many.query(Star).stream(batch_size=300)) == list(range(1, ROWS + 1))

    def test_named_columns_give_dicts(self, many: Database) -> None:
        query = many.query(Star).order_by("id").limit(2)
        assert list(query.stream("name", Star.id)) == [{"name": "s0001", "id": 1}, {"name": "s0002", "id": 2}]
        assert list(query.stream(Star.mag, batch_size=1)) == [{"mag": 1.0}, {"mag": 2.0}]

    def test_filter_limit_and_offset_are_heeded(self, many: Database) -> None:
        query = many.query(Star).filter(Star.mag == 3)
        assert [s.id for s in query.offset(2).limit(3).stream(batch_size=2)] == [103, 153, 203]
        assert list(query.limit(0).stream()) == []
        assert list(query.filter(name="none").stream()) == []

    def test_a_stream_may_be_left_early_many_times(self, connect: Connect, many: Database) -> None:
        for n in range(30):
            with closing(many.query(Star).order_by("id").stream(batch_size=5)) as stream:
                assert next(stream).id == 1
            stream = many.query(Star).stream(batch_size=5)
            next(stream)
            del stream  # nobody refers to it any more
            if n % 10 == 0:
                gc.collect()
        assert many.query(Star).count() == ROWS
        for star in many.query(Star).order_by("id").stream():
            assert star.id == 1
            break
        assert many.query(Star).first() is not None

    def test_a_stream_that_was_never_started_holds_nothing(self, many: Database) -> None:
        streams = [many.query(Star).stream() for _ in range(100)]
        assert many.query(Star).count() == ROWS
        for stream in streams:
            stream.close()
            assert list(stream) == []

    def test_other_calls_may_be_made_while_a_stream_is_read(self, many: Database) -> None:
        seen = []
        for star in many.query(Star).filter(Star.id <= 40).order_by("id").stream(batch_size=7):
            assert many.query(Star).get(star.id) is not None
            seen.append(star.id)
        assert seen == list(range(1, 41))
        pairs = zip(
            many.query(Star).order_by("id").stream(batch_size=100),
            many.query(Star).order_by("-id").stream(batch_size=90),
            strict=True,
        )
        assert all(a.id + b.id == ROWS + 1 for a, b in pairs)

    @requires(Capability.WRITE)
    def test_rows_may_be_written_while_a_stream_is_read(self, many: Database) -> None:
        query = many.query(Star).filter(Star.id <= 100)
        for star in query.order_by("id").stream(batch_size=30):
            many.query(Star).update(star, {"band": "B"})
        assert query.filter(band="B").count() == 100

    @requires(Capability.WRITE, Capability.TRANSACTIONS)
    def test_a_stream_in_a_transaction_goes_on_beside_other_calls(self, many: Database) -> None:
        with many.transaction() as tx:
            query = tx.query(Star).order_by("id")
            tx.query(Star).insert({"id": ROWS + 1, "name": "new"})
            seen = []
            for star in query.stream(batch_size=100):
                seen.append(star.id)
                if star.id % 200 == 0:
                    tx.query(Star).update(star, {"band": "B"})
                    assert tx.query(Star).filter(band="B").count() == star.id // 200
            assert seen == list(range(1, ROWS + 2))
            two = zip(query.stream(batch_size=99), query.stream("id", batch_size=98), strict=True)
            assert all(star.id == row["id"] for star, row in two)
        assert many.query(Star).filter(band="B").count() == 5

    @requires(Capability.SAVEPOINTS)
    def test_a_stream_outlives_a_savepoint(self, many: Database) -> None:
        def undone(tx: Database, star: Star) -> None:
            with tx.transaction() as inner:
                next(inner.query(Star).stream(batch_size=10))
                inner.query(Star).update(star, {"band": "X"})
                raise ZeroDivisionError

        with many.transaction() as tx:
            seen = []
            for star in tx.query(Star).order_by("id").stream(batch_size=500):
                seen.append(star.id)
                if star.id in (400, 900):
                    with pytest.raises(ZeroDivisionError):
                        undone(tx, star)
            assert seen == list(range(1, ROWS + 1))
            assert tx.query(Star).filter(band="X").count() == 0

    @requires(Capability.TRANSACTIONS)
    def test_a_stream_ends_with_its_transaction(self, many: Database) -> None:
        with many.transaction() as tx:
            stream = tx.query(Star).stream(batch_size=10)
            next(stream)
        with pytest.raises(UnsupportedOperationError, match="ended"):
            list(stream)
        assert many.query(Star).count() == ROWS

    @pytest.mark.parametrize("bad", [0, -1, 1.0, "10", True, None, 10**7, {"$gt": 0}])
    def test_a_bad_batch_size_is_refused_before_anything_is_sent(self, alarmed: Connect, bad: object) -> None:
        with pytest.raises(InvalidValueError, match="batch_size"):
            alarmed(Star).query(Star).stream(batch_size=bad)  # type: ignore[call-overload]

    def test_a_column_that_is_not_there_is_refused_at_the_call(self, alarmed: Connect) -> None:
        query = alarmed(Star).query(Star)
        with pytest.raises(InvalidValueError, match="name"):
            query.stream("nam")
        with pytest.raises((InvalidValueError, UnsupportedFilterError)):
            query.stream(5)

    def test_a_stream_keeps_only_a_batch(self, connect: Connect) -> None:
        db = connect(Star)
        if keeps_rows_here(self, db):
            pytest.skip("this engine's rows are in this process's memory")
        self.stock(db, Star, [{"id": n, "name": f"{n:040}", "band": "V"} for n in range(1, 20_001)])
        tracemalloc.start()
        try:
            for star in db.query(Star).stream(batch_size=100):
                del star
            _now, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 2_000_000, f"{peak:,} bytes for 20,000 rows"
