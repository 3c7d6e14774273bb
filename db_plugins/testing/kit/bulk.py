"""``bulk_insert``: lazy, counted, and all or nothing where there are transactions."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from db_plugins import BulkResult, Capability
from db_plugins.errors import (
    DbPluginsError,
    DuplicateKeyError,
    EngineError,
    InvalidValueError,
    NotNullError,
    UnsupportedOperationError,
)

from .harness import Connect, Harness, refuses, requires, subject
from .models import Author, Book, Stamped, Star, Thing, Visit
from .samples import STARS
from .transactions import Stop

__all__ = ["Bulk", "keeps_rows_here"]


#: So many rows, a hundred at a time, that it would be seen if they were kept, in whatever form.
ROWS = 10_000


def many_stars(start: int, stop: int) -> Iterator[dict[str, Any]]:
    return ({"id": n, "name": f"{n:040}", "mag": n / 7, "band": "V"} for n in range(start, stop + 1) if n)


def peak_of(work: Callable[[], Any]) -> int:
    """The most memory that Python's objects took while it ran, in bytes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def keeps_rows_here(kit: Harness, db: Any) -> bool:
    """Are the engine's rows in this process's memory, so that memory grows with them?"""
    return not kit.is_shared or bool(db._connected().__dict__.get("buffered"))


def breaking(count: int, bad: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Stars s0, s1, …, and then one that cannot be stored, and one more."""
    yield from ({"name": f"s{n}"} for n in range(count))
    yield bad
    yield {"name": "after"}


@subject("bulk writes", Capability.WRITE)
class Bulk(Harness):
    """API §4, ``bulk_insert`` with ``on_conflict="error"``."""

    def test_bulk_insert_counts_and_returns_keys_in_the_order_given(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        result = query.bulk_insert(STARS, return_keys=True)
        assert (result.inserted, result.updated, result.ignored, len(result.keys)) == (7, 0, 0, 7)
        found = query.get_many(result.keys)
        assert [found[k].name for k in result.keys] == [s["name"] for s in STARS]
        assert query.bulk_insert([{"name": "x"}]) == BulkResult(inserted=1)
        assert query.bulk_insert([]) == BulkResult()

    def test_bulk_insert_takes_mappings_and_instances_of_mixed_shape(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        rows = [
            {"name": "a"},
            {"name": "b", "mag": 1},
            Star(name="c", band="V"),
            {"mag": 2, "name": "d"},
            {"name": "e", "id": 50},
        ]
        result = query.bulk_insert(rows, return_keys=True)
        assert result.inserted == 5
        found = query.get_many(result.keys)
        assert [(found[k].name, found[k].mag, found[k].band) for k in result.keys] == [
            ("a", None, None), ("b", 1.0, None), ("c", None, "V"), ("d", 2.0, None), ("e", None, None),
        ]  # fmt: skip

    def test_bulk_insert_reads_a_generator_lazily(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        ahead = 0

        def rows() -> Iterator[dict[str, Any]]:
            nonlocal ahead
            for n in range(5000):
                ahead = max(ahead, n)
                yield {"name": f"s{n}"}
                if n == 2500:
                    raise KeyError("the source broke")

        with pytest.raises(KeyError):
            query.bulk_insert(rows())
        assert ahead == 2500, "rows behind the failing one were read"

    def test_bulk_insert_of_several_batches_stores_all(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        result = query.bulk_insert(
            ({"name": f"s{n:04}", "mag": n} for n in range(1700)), return_keys=True, batch_size=400
        )
        assert (result.inserted, len(set(result.keys)), query.count()) == (1700, 1700, 1700)
        found = query.get_many(result.keys)
        assert [found[k].mag for k in result.keys] == list(range(1700))

    @requires(Capability.TRANSACTIONS, Capability.UNIQUE)
    def test_bulk_insert_is_all_or_nothing(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        query.insert({"name": "s1500"})
        with pytest.raises(DuplicateKeyError):
            query.bulk_insert({"name": f"s{n}"} for n in range(2000))
        with pytest.raises(DuplicateKeyError):
            query.bulk_insert([{"name": "a"}, {"name": "b", "mag": 1}, {"name": "a"}])
        with pytest.raises(InvalidValueError):
            query.bulk_insert({"name": f"t{n}" if n < 1500 else n} for n in range(2000))
        assert query.count() == 1

    @pytest.mark.parametrize("rows", [None, 1, "ab", {"name": "a"}, [None], [1]])
    def test_bulk_insert_refuses_what_is_no_list_of_rows(self, alarmed: Connect, rows: Any) -> None:
        with pytest.raises(InvalidValueError):
            alarmed(Star).query(Star).bulk_insert(rows)

    @pytest.mark.parametrize("size", [0, -1, 1.5, "10", True])
    def test_a_bad_batch_size_is_refused(self, alarmed: Connect, size: Any) -> None:
        with pytest.raises(InvalidValueError):
            alarmed(Star).query(Star).bulk_insert([{"name": "a"}], batch_size=size)

    def test_what_is_no_iterable_of_rows_is_refused_with_the_row_that_it_is(self, alarmed: Connect) -> None:
        query = alarmed(Star, Author, Book).query(Star)
        rows: list[tuple[list[Any], str]] = [
            ([{"name": "a"}, {"name": "b"}, {"name": 5}], "row 3 "),
            ([{"name": "a"}, {"name": "b", "mag": 1}, {"mag": "x", "name": "c"}], "row 3 "),
            ([{"name": "a"}, {"name": None}], "row 2 "),
            ([{"name": "a"}, {"mag": 1}], "row 2 "),
            ([{"name": "a"}, {"name": "b", "magg": 1}], "row 2 "),
            ([{"name": "a"}, None], "row 2 "),
            ([{"name": "a"}, Star(name="b"), 7], "row 3 "),
            ([{"name": "a"}, Author(name="b")], "row 2 "),
            ([{"name": "a"}, {"name": "b", 3: 4}], "row 2 "),
            ([{"name": "a"}, {"name": "x" * 41}, {"name": 5}], "row 2 "),
            (
                [{"name": "a", "mag": None}, {"name": "b", "mag": math.nan}, {"name": "c", "mag": "1"}],
                "row 3 ",
            ),
        ]
        for given, about in rows:
            with pytest.raises((InvalidValueError, NotNullError), match=about):
                query.bulk_insert(given)
        authors = alarmed(Author, Book).query(Author)
        with pytest.raises(UnsupportedOperationError, match="books"):
            authors.bulk_insert([Author(name="x", books=[Book(title="y")])])

    @pytest.mark.parametrize("size", [1, 4, 10])
    def test_the_row_that_is_wrong_is_counted_over_all_batches(self, connect: Connect, size: int) -> None:
        query = connect(Star).query(Star)
        for bad in ({"name": 5}, {"name": None}, {"mag": 1}, {"name": "x", "magg": 1}, 7):
            with pytest.raises((InvalidValueError, NotNullError), match="row 11 "):
                query.bulk_insert(breaking(10, bad), batch_size=size)  # type: ignore[arg-type]
            query.delete(force=True)

    def test_of_nothing_nothing_is_stored(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        nothing: list[Any] = [[], (), iter([]), {}.values()]
        for rows in nothing:
            assert query.bulk_insert(rows, return_keys=True) == BulkResult()
        assert query.count() == 0

    def test_any_iterable_of_rows_will_do(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        assert query.bulk_insert({"a": {"name": "a"}}.values()).inserted == 1
        assert query.bulk_insert(map(dict, [[("name", "b")], [("name", "c")]])).inserted == 2
        assert query.bulk_insert(({"name": "d"},)).inserted == 1
        assert query.count() == 4

    def test_pydantic_models_give_the_fields_that_are_set(self, connect: Connect) -> None:
        pydantic = pytest.importorskip("pydantic")
        model = pydantic.create_model("StampedIn", name=(str, ...), rating=(int, 99))
        query = connect(Stamped).query(Stamped)
        assert query.bulk_insert([model(name="a"), model(name="b", rating=3)]).inserted == 2
        assert [(s.name, s.rating) for s in query.order_by("id").all()] == [("a", 10), ("b", 3)]

    def test_nan_is_null_and_refused_where_null_may_not_be(self, connect: Connect) -> None:
        db = connect(Star, Visit)
        query = db.query(Star)
        query.bulk_insert(
            [{"name": "a", "mag": 1.5}, {"name": "b", "mag": math.nan}, {"name": "c", "mag": None}]
        )
        assert [s.mag for s in query.order_by("id").all()] == [1.5, None, None]
        rows = [{"place": "a", "day": n, "weight": weight} for n, weight in enumerate((0.5, math.nan))]
        with pytest.raises(NotNullError, match=r"Visit\.weight.*row 2 "):
            db.query(Visit).bulk_insert(rows)

    def test_scalars_of_numpy_count_as_pythons(self, connect: Connect) -> None:
        numpy = pytest.importorskip("numpy")
        query = connect(Thing).query(Thing)
        rows = [
            {
                "number": numpy.int32(5),
                "big": numpy.int64(2**40),
                "size": numpy.float64(0.5),
                "flag": numpy.bool_(True),
            },
            {"number": 6, "big": numpy.uint8(7), "size": numpy.float32("nan"), "text": numpy.str_("x")},
        ]
        query.bulk_insert(rows)
        first, second = query.order_by("id").all()
        assert (first.number, first.big, first.size, first.flag) == (5, 2**40, 0.5, True)
        assert (second.number, second.big, second.size, second.text) == (6, 7, None, "x")
        assert {type(v) for v in (first.number, first.big)} == {int}
        with pytest.raises(InvalidValueError, match=r"Thing\.number.*row 2 "):
            query.bulk_insert([{"number": 1}, {"number": numpy.int64(2**40)}])

    # -- atomic ----------------------------------------------------------------------------------------------------

    @requires(Capability.TRANSACTIONS, Capability.UNIQUE)
    @pytest.mark.parametrize("atomic", [None, True])
    @pytest.mark.parametrize("size", [4, 1000])
    def test_a_bulk_insert_that_breaks_off_leaves_nothing(
        self, connect: Connect, atomic: Any, size: int
    ) -> None:
        query = connect(Star).query(Star)
        query.insert({"name": "there"})
        for bad in ({"name": "there"}, {"name": 5}, {"name": "s3"}):
            with pytest.raises(DbPluginsError) as caught:
                query.bulk_insert(breaking(10, bad), atomic=atomic, batch_size=size)
            assert caught.value.stored == 0
            assert query.count() == 1
        assert (
            query.bulk_insert(({"name": f"t{n}"} for n in range(10)), atomic=atomic, batch_size=4).inserted
            == 10
        )
        assert query.count() == 11

    @requires(Capability.UNIQUE)
    @pytest.mark.parametrize("bad", [{"name": "there"}, {"name": 5}, {"name": None}])
    def test_without_atomic_the_batches_before_stay_and_are_counted(
        self, connect: Connect, bad: dict[str, Any]
    ) -> None:
        query = connect(Star).query(Star)
        query.insert({"name": "there"})
        with pytest.raises(DbPluginsError) as caught:
            query.bulk_insert(breaking(10, bad), atomic=False, batch_size=4)
        assert query.count() == 1 + caught.value.stored
        assert caught.value.stored == 8 or Capability.TRANSACTIONS not in query._runner.engine.capabilities
        assert caught.value.stored >= 8
        assert query.filter(Star.name.in_([f"s{n}" for n in range(8)])).count() == 8

    def test_without_atomic_rows_before_a_source_that_breaks_stay(self, connect: Connect) -> None:
        query = connect(Star).query(Star)

        def rows() -> Iterator[dict[str, Any]]:
            yield from ({"name": f"s{n}"} for n in range(10))
            raise Stop

        with pytest.raises(Stop):
            query.bulk_insert(rows(), atomic=False, batch_size=4)
        assert query.count() == 8
        if Capability.TRANSACTIONS in query._runner.engine.capabilities:
            with pytest.raises(Stop):
                query.bulk_insert(({**row, "name": "x" + row["name"]} for row in rows()), batch_size=4)
            assert query.count() == 8

    @refuses(Capability.TRANSACTIONS)
    @requires(Capability.WRITE)
    def test_atomic_is_refused_where_nobody_can_promise_it(self, alarmed: Connect) -> None:
        with pytest.raises(UnsupportedOperationError, match="transactions"):
            alarmed(Star).query(Star).bulk_insert([{"name": "a"}], atomic=True)

    @refuses(Capability.TRANSACTIONS)
    @requires(Capability.WRITE, Capability.UNIQUE)
    def test_without_transactions_the_error_says_how_many_rows_stay(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        query.insert({"name": "there"})
        with pytest.raises(DuplicateKeyError) as caught:
            query.bulk_insert(breaking(10, {"name": "there"}), batch_size=4)
        assert caught.value.stored >= 8
        assert query.count() == 1 + caught.value.stored

    @requires(Capability.TRANSACTIONS, Capability.UNIQUE)
    @pytest.mark.parametrize("atomic", [None, True, False])
    def test_in_a_transaction_nothing_stays_whatever_atomic_says(self, connect: Connect, atomic: Any) -> None:
        db = connect(Star)
        caught: list[DbPluginsError] = []

        def work() -> None:
            with db.transaction() as tx:
                tx.query(Star).bulk_insert([{"name": f"t{n}"} for n in range(9)], atomic=atomic, batch_size=4)
                assert tx.query(Star).count() == 9
                try:
                    tx.query(Star).bulk_insert(breaking(10, {"name": "t1"}), atomic=atomic, batch_size=4)
                except DbPluginsError as error:
                    caught.append(error)
                    raise Stop from error

        with suppress(Stop, EngineError):
            work()
        assert [error.stored for error in caught] == [0]
        assert db.query(Star).count() == 0

    # -- memory ----------------------------------------------------------------------------------------------------

    def test_a_bulk_insert_keeps_only_a_batch(self, connect: Connect) -> None:
        db = connect(Star)
        if keeps_rows_here(self, db):
            pytest.skip("this engine's rows are in this process's memory")
        query = db.query(Star)
        rows = min(ROWS, 10 * self.rows_in_bulk)
        query.bulk_insert(many_stars(-500, 0), batch_size=100)  # what is made once is made
        of_all = peak_of(lambda: list(many_stars(1, rows)))
        peak = peak_of(lambda: query.bulk_insert(many_stars(1, rows), batch_size=100))
        assert query.count() == rows + 500
        assert peak < of_all / 4, f"{peak:,} bytes for rows that have {of_all:,} in all"
