"""``bulk_update``: many rows changed, each found by its key, counted if it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from db_plugins import Capability, Database
from db_plugins.errors import DuplicateKeyError, InvalidValueError, NotNullError

from .harness import Connect, Harness, requires, subject
from .models import Badge, Pair, Tally, Thing
from .transactions import Stop

__all__ = ["BulkUpdates"]


def tally_rows(db: Database) -> list[tuple[Any, ...]]:
    return [(t.id, t.name, t.n, t.note, t.version) for t in db.query(Tally).order_by("id").all()]


@subject("bulk writes", Capability.WRITE)
class BulkUpdates(Harness):
    """API §4, ``bulk_update``."""

    @pytest.fixture
    def three(self, connect: Connect) -> Database:
        """Tallies 1 a, 2 b, 3 c."""
        db = connect(Tally)
        self.stock(db, Tally, [{"id": n, "name": name, "n": n} for n, name in enumerate("abc", 1)])
        return db

    def test_each_row_gets_its_own_values_and_onupdate(self, three: Database) -> None:
        query = three.query(Tally)
        assert query.bulk_update([{"id": 3, "n": 30}, {"id": 1, "n": 10}]) == 2
        assert tally_rows(three) == [(1, "a", 10, "new", 2), (2, "b", 2, "new", 1), (3, "c", 30, "new", 2)]
        assert query.bulk_update([{"id": 2, "version": 7}, {"id": 1, "version": 8}]) == 2
        assert [row[4] for row in tally_rows(three)] == [8, 7, 2], "onupdate does not overwrite what is given"

    def test_rows_that_are_not_there_are_not_counted_and_not_made(self, three: Database) -> None:
        rows = [{"id": 1, "n": 10}, {"id": 9, "n": 90}, {"id": 2, "n": 20}]
        assert three.query(Tally).bulk_update(rows) == 2
        assert three.query(Tally).bulk_update([{"id": 8, "n": 1}]) == 0
        assert three.query(Tally).bulk_update([]) == 0
        assert [row[2] for row in tally_rows(three)] == [10, 20, 3]

    def test_rows_that_stay_as_they_are_are_counted(self, three: Database) -> None:
        query = three.query(Tally)
        assert query.bulk_update([{"id": 1, "n": 1, "version": 1}, {"id": 2, "n": 2, "version": 1}]) == 2
        assert query.bulk_update([{"id": 1}, {"id": 2}, {"id": 9}]) == 2
        assert [row[4] for row in tally_rows(three)] == [1, 1, 1], "of nothing but keys nothing is written"

    @requires(Capability.UNIQUE)
    @pytest.mark.parametrize("key", ["name", Tally.name, ["name"]])
    def test_rows_are_found_by_another_unique_key(self, three: Database, key: Any) -> None:
        rows = [
            {"name": "c", "n": 30, "note": None},
            {"name": "x", "n": 0, "note": "x"},
            {"note": "A", "name": "a", "n": 10},
        ]
        assert three.query(Tally).bulk_update(rows, key=key) == 2
        assert [row[1:4] for row in tally_rows(three)] == [("a", 10, "A"), ("b", 2, "new"), ("c", 30, None)]

    @requires(Capability.UNIQUE)
    def test_rows_are_found_by_composite_keys(self, connect: Connect) -> None:
        db = connect(Pair, Badge)
        pairs = db.query(Pair)
        pairs.bulk_insert([{"left": n, "right": r} for n in (1, 2) for r in "ab"])
        rows = [
            {"note": "x", "left": 1, "right": "b"},
            {"left": 2, "right": "a", "note": "y"},
            {"left": 3, "right": "a", "note": "z"},
        ]
        assert pairs.bulk_update(rows) == 2
        assert pairs.bulk_update([{"left": 2, "right": "b", "note": "w"}], key=["right", "left"]) == 1
        assert [p.note for p in pairs.order_by("left", "right").all()] == [None, "x", "y", "w"]
        badges = db.query(Badge)
        badges.bulk_insert([{"code": c, "owner": "o", "place": c} for c in "ab"])
        assert badges.bulk_update([{"owner": "o", "place": "b", "serial": 5}], key=("place", "owner")) == 1
        assert [b.serial for b in badges.order_by("code").all()] == [None, 5]

    def test_rows_may_name_different_columns(self, three: Database) -> None:
        rows = [
            {"id": 1, "n": 10},
            {"note": "x", "id": 2},
            {"id": 3, "n": 30, "note": None},
            {"id": 1, "note": "y"},
        ]
        assert three.query(Tally).bulk_update(rows) == 4
        assert [row[2:4] for row in tally_rows(three)] == [(10, "y"), (2, "x"), (30, None)]

    @pytest.mark.parametrize("size", [1, 2, 1000])
    def test_of_rows_with_one_key_the_last_wins(self, three: Database, size: int) -> None:
        rows = [
            {"id": 1, "n": 10},
            {"id": 2, "n": 20},
            {"id": 1, "n": 11},
            {"id": 1, "n": 12},
            {"id": 2, "n": 21},
        ]
        assert three.query(Tally).bulk_update(rows, batch_size=size) == 5
        assert [row[2] for row in tally_rows(three)] == [12, 21, 3]

    @pytest.mark.parametrize("size", [1, 2, 1000])
    def test_values_may_be_arithmetic_on_columns(self, three: Database, size: int) -> None:
        rows: list[dict[str, Any]] = [
            {"id": 1, "n": Tally.n + 10}, {"id": 2, "n": 7}, {"id": 3, "n": Tally.n * Tally.id}, {"id": 1, "n": Tally.n * 2},
            {"id": 2, "note": Tally.name},
        ]  # fmt: skip
        assert three.query(Tally).bulk_update(rows, batch_size=size) == 5
        assert [row[2:] for row in tally_rows(three)] == [(22, "new", 2), (7, "b", 2), (9, "new", 2)]

    def test_pydantic_models_change_the_fields_that_are_set(self, three: Database) -> None:
        pydantic = pytest.importorskip("pydantic")
        model = pydantic.create_model("TallyUpdate", id=(int, ...), n=(int, 0), note=(str | None, None))
        rows = [model(id=1, n=10), model(id=2, note=None), model(id=3), model(id=9, n=1)]
        assert three.query(Tally).bulk_update(rows) == 3
        assert [row[2:4] for row in tally_rows(three)] == [(10, "new"), (2, None), (3, "new")]

    def test_rows_are_read_lazily_in_batches(self, connect: Connect) -> None:
        query = connect(Thing).query(Thing)
        stored = self.rows_in_bulk
        query.bulk_insert({"id": n, "number": 0} for n in range(1, stored + 1))
        ahead = 0

        def rows(stop: int) -> Iterator[dict[str, Any]]:
            nonlocal ahead
            for n in range(1, stored * 5 // 4 + 1):
                ahead = n
                if n == stop:
                    raise Stop
                yield {"id": n, "number": n}

        assert query.bulk_update(rows(9999), batch_size=stored * 5 // 12) == stored
        assert query.filter(Thing.number == Thing.id).count() == stored
        failing = stored * 7 // 12
        with suppress(Stop):
            query.bulk_update(rows(failing), batch_size=stored // 12)
        assert ahead == failing, "rows behind the failing one were read"

    # -- errors ----------------------------------------------------------------------------------------------------

    def test_what_is_wrong_is_refused_with_the_row_before_anything_is_sent(self, alarmed: Connect) -> None:
        query = alarmed(Tally).query(Tally)
        good = {"id": 1, "n": 1}
        tries: list[tuple[Any, Any, str]] = [
            ({"n": 2}, None, r"Tally\.id.*row 2 "),
            ({"id": None, "n": 2}, None, r"Tally\.id.*row 2 "),
            ({"id": "2", "n": 2}, None, r"Tally\.id.*row 2 "),
            ({"id": 2, "n": "2"}, None, r"Tally\.n .*row 2 "),
            ({"id": 2, "nn": 2}, None, r"nn.*row 2 "),
            ({"id": 2, "name": "x" * 41}, None, r"Tally\.name.*row 2 "),
            (None, None, "row 2 "),
            (5, None, "row 2 "),
            ({"id": 2, "n": Tally.n / 2}, None, r"Tally\.n"),
            ({"id": 2, "n": Tally.name}, None, r"Tally\.n"),
        ]
        for bad, key, about in tries:
            with pytest.raises(InvalidValueError, match=about):
                query.bulk_update([good, bad], key=key)
        with pytest.raises(NotNullError, match=r"Tally\.n .*row 2 ") as caught:
            query.bulk_update([good, {"id": 2, "n": None}])
        assert caught.value.attributes == ("n",)
        with pytest.raises(InvalidValueError, match="primary key"):
            query.bulk_update([{"name": "a", "id": 2}], key="name")
        calls: list[Callable[[], Any]] = [
            lambda: query.bulk_update(None),  # type: ignore[arg-type]
            lambda: query.bulk_update({"id": 1, "n": 2}),
            lambda: query.bulk_update("ab"),
            lambda: query.bulk_update([good], batch_size=0),
            lambda: query.bulk_update([good], batch_size=True),
            lambda: query.bulk_update([good], key="nn"),
        ]
        for call in calls:
            with pytest.raises(InvalidValueError):
                call()

    @requires(Capability.UNIQUE)
    def test_a_clash_is_a_duplicate_that_names_the_attribute(self, three: Database) -> None:
        query = three.query(Tally)
        with pytest.raises(DuplicateKeyError) as caught:
            query.bulk_update([{"id": 1, "n": 5}, {"id": 2, "name": "a"}])
        assert caught.value.attributes == ("name",)
        with pytest.raises(DuplicateKeyError):
            query.bulk_update([{"id": 1, "name": "x"}, {"id": 2, "name": "x"}])
        if Capability.TRANSACTIONS in three.capabilities:
            assert [row[1:3] for row in tally_rows(three)] == [("a", 1), ("b", 2), ("c", 3)]

    @requires(Capability.TRANSACTIONS, Capability.UNIQUE)
    @pytest.mark.parametrize("size", [2, 1000])
    def test_it_is_all_or_nothing(self, three: Database, size: int) -> None:
        query = three.query(Tally)
        before = tally_rows(three)
        good: list[dict[str, Any]] = [{"id": n, "n": 99} for n in (1, 2, 3)]
        for bad in (
            {"id": 3, "name": "a"},
            {"id": 3, "n": "x"},
            {"id": 3, "n": None},
            {"n": 1},
            {"id": 3, "n": Tally.n // 0},
        ):
            with pytest.raises((InvalidValueError, DuplicateKeyError, NotNullError)) as caught:
                query.bulk_update([*good, bad], batch_size=size)
            assert caught.value.stored == 0
            assert tally_rows(three) == before

    @requires(Capability.TRANSACTIONS)
    def test_it_joins_a_transaction(self, three: Database) -> None:
        before = tally_rows(three)
        with suppress(Stop), three.transaction() as tx:
            rows = [{"id": n, "n": Tally.n + 1} for n in (1, 2, 3)]
            assert tx.query(Tally).bulk_update(rows, batch_size=2) == 3
            assert [t.n for t in tx.query(Tally).order_by("id").all()] == [2, 3, 4]
            raise Stop
        assert tally_rows(three) == before
