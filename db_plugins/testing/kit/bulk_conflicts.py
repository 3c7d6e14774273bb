"""``bulk_insert`` of rows that may be there already: ignored or updated, counted, and meant one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from db_plugins import BulkResult, Capability, Database
from db_plugins.errors import DbPluginsError, DuplicateKeyError, InvalidValueError, NotNullError

from .harness import Connect, Harness, requires, subject
from .models import Badge, Keyed, Pair, Star, Tally, Token, Visit

__all__ = ["BulkConflicts"]


def tallies(db: Database) -> dict[str, tuple[int, str | None, int]]:
    """Name to number, note, version."""
    return {t.name: (t.n, t.note, t.version) for t in db.query(Tally).order_by("name").all()}


def counts(result: BulkResult) -> tuple[int, int, int]:
    return result.inserted, result.updated, result.ignored


@subject("bulk writes", Capability.WRITE, Capability.UNIQUE)
class BulkConflicts(Harness):
    """API §4, ``on_conflict``, ``key``, ``update``, ``return_keys``."""

    @pytest.fixture
    def two(self, connect: Connect) -> Database:
        """Tallies a and b."""
        db = connect(Tally)
        self.stock(db, Tally, [{"name": "a", "n": 1, "note": "A"}, {"name": "b", "n": 2, "note": "B"}])
        return db

    # -- ignore and update -----------------------------------------------------------------------------------------

    def test_ignore_leaves_rows_that_are_there_as_they_are(self, two: Database) -> None:
        rows = [{"name": "c", "n": 5}, {"name": "a", "n": 6}, {"name": "d", "n": 7}, {"name": "b", "n": 8}]
        result = two.query(Tally).bulk_insert(rows, on_conflict="ignore", key="name")
        assert counts(result) == (2, 0, 2)
        assert tallies(two) == {"a": (1, "A", 1), "b": (2, "B", 1), "c": (5, "new", 1), "d": (7, "new", 1)}

    def test_update_writes_the_columns_that_the_row_holds_and_onupdate(self, two: Database) -> None:
        rows = [{"name": "c", "n": 5}, {"name": "a", "n": 6}]
        result = two.query(Tally).bulk_insert(rows, on_conflict="update", key="name")
        assert counts(result) == (1, 1, 0)
        assert tallies(two) == {"a": (6, "A", 2), "b": (2, "B", 1), "c": (5, "new", 1)}

    def test_the_key_is_the_primary_key_unless_given(self, connect: Connect) -> None:
        db = connect(Star, Token)
        query = db.query(Star)
        query.bulk_insert([{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
        assert counts(
            query.bulk_insert([{"id": 2, "name": "x"}, {"id": 9, "name": "y"}], on_conflict="update")
        ) == (1, 1, 0)
        assert counts(query.bulk_insert([{"id": 1, "name": "z"}], on_conflict="ignore")) == (0, 0, 1)
        assert [(s.id, s.name) for s in query.order_by("id").all()] == [(1, "a"), (2, "x"), (9, "y")]
        assert query.insert({"name": "next"}).id == 10
        assert counts(query.bulk_insert([{"name": "p"}, {"name": "q"}], on_conflict="ignore")) == (2, 0, 0)
        assert counts(db.query(Token).bulk_insert([{}, {}], on_conflict="update")) == (2, 0, 0)

    def test_rows_of_different_columns_write_each_its_own(self, two: Database) -> None:
        rows: list[Any] = [
            {"name": "a", "n": 5}, {"note": "y", "name": "b"}, {"name": "a", "note": None}, Tally(name="c", n=7),
            {"name": "b"}, {"name": "d", "note": "D", "n": 1, "version": 8},
        ]  # fmt: skip
        assert counts(two.query(Tally).bulk_insert(rows, on_conflict="update", key="name")) == (2, 4, 0)
        found = {name: row[:2] for name, row in tallies(two).items()}
        assert found == {"a": (5, None), "b": (2, "y"), "c": (7, "new"), "d": (1, "D")}
        assert tallies(two)["d"][2] == 8

    def test_pydantic_models_write_the_fields_that_are_set(self, two: Database) -> None:
        pydantic = pytest.importorskip("pydantic")
        model = pydantic.create_model("TallyIn", name=(str, ...), n=(int, 7), note=(str | None, None))
        rows = [model(name="a", n=5), model(name="b", note=None), model(name="c")]
        assert counts(two.query(Tally).bulk_insert(rows, on_conflict="update", key="name")) == (1, 2, 0)
        assert {name: row[:2] for name, row in tallies(two).items()} == {
            "a": (5, "A"),
            "b": (2, None),
            "c": (0, "new"),
        }

    def test_a_composite_key(self, connect: Connect) -> None:
        db = connect(Pair, Visit)
        query = db.query(Pair)
        rows = [{"left": n, "right": r, "note": f"{n}{r}"} for n in (1, 2) for r in "ab"]
        assert counts(query.bulk_insert(rows[:2], on_conflict="ignore")) == (2, 0, 0)
        assert counts(query.bulk_insert(rows, on_conflict="ignore", key=["right", "left"])) == (2, 0, 2)
        again = [{**row, "note": "x"} for row in rows[1:3]]
        result = query.bulk_insert(again, on_conflict="update", key=[Pair.left, "right"], return_keys=True)
        assert (counts(result), result.keys) == ((0, 2, 0), ((1, "b"), (2, "a")))
        assert [p.note for p in query.order_by("left", "right").all()] == ["1a", "x", "x", "2b"]
        visits = [{"place": "p", "day": n % 3} for n in range(10)]
        result = db.query(Visit).bulk_insert(visits, on_conflict="update", update={"n": Visit.n + 1})
        assert counts(result) == (3, 7, 0)
        assert [v.n for v in db.query(Visit).order_by("day").all()] == [3, 2, 2]

    # -- what an update writes -------------------------------------------------------------------------------------

    @pytest.mark.parametrize("update", [["n"], "n", ("n",), frozenset({"n"}), Tally.n, [Tally.n]])
    def test_update_narrows_what_is_written(self, two: Database, update: Any) -> None:
        rows = [{"name": "a", "n": 5, "note": "x"}, {"name": "c", "n": 6, "note": "y"}]
        result = two.query(Tally).bulk_insert(rows, on_conflict="update", key="name", update=update)
        assert counts(result) == (1, 1, 0)
        assert tallies(two) == {"a": (5, "A", 2), "b": (2, "B", 1), "c": (6, "y", 1)}

    def test_update_does_not_reach_columns_that_the_row_does_not_hold(self, two: Database) -> None:
        query = two.query(Tally)
        result = query.bulk_insert(
            [{"name": "a", "n": 5}], on_conflict="update", key="name", update=["n", "note"]
        )
        assert counts(result) == (0, 1, 0)
        assert tallies(two)["a"] == (5, "A", 2)
        result = query.bulk_insert([{"name": "b", "n": 5}], on_conflict="update", key="name", update=["note"])
        assert counts(result) == (0, 1, 0)
        assert tallies(two)["b"][:2] == (2, "B")
        assert counts(query.bulk_insert([{"name": "b"}], on_conflict="update", key="name")) == (0, 1, 0)
        assert tallies(two)["b"][:2] == (2, "B")

    def test_update_by_a_mapping_sets_what_it_says(self, two: Database) -> None:
        query = two.query(Tally)
        rows = [{"name": "a", "n": 50, "note": "x"}, {"name": "c", "n": 60}]
        result = query.bulk_insert(rows, on_conflict="update", key="name", update={"n": Tally.n + 1})
        assert counts(result) == (1, 1, 0)
        assert tallies(two) == {"a": (2, "A", 2), "b": (2, "B", 1), "c": (60, "new", 1)}
        update = {"n": Tally.n * 10 + Tally.id, "note": Tally.name, "version": 5}
        query.bulk_insert(rows, on_conflict="update", key="name", update=update)
        assert tallies(two)["a"] == (21, "a", 5)
        query.bulk_insert(rows[:1], on_conflict="update", key="name", update={"note": None})
        assert tallies(two)["a"] == (21, None, 2)

    # -- the same key several times --------------------------------------------------------------------------------

    @pytest.mark.parametrize("size", [1, 2, 3, 1000])
    def test_of_rows_with_one_key_the_first_wins_for_ignore(self, two: Database, size: int) -> None:
        rows = [{"name": name, "n": n} for n, name in enumerate("cacdbccd", 10)]
        result = two.query(Tally).bulk_insert(rows, on_conflict="ignore", key="name", batch_size=size)
        assert counts(result) == (2, 0, 6)
        assert {k: v[0] for k, v in tallies(two).items()} == {"a": 1, "b": 2, "c": 10, "d": 13}

    @pytest.mark.parametrize("size", [1, 2, 3, 1000])
    def test_of_rows_with_one_key_the_last_wins_for_update(self, two: Database, size: int) -> None:
        rows = [{"name": name, "n": n} for n, name in enumerate("cacdbccd", 10)]
        result = two.query(Tally).bulk_insert(rows, on_conflict="update", key="name", batch_size=size)
        assert counts(result) == (2, 6, 0)
        assert tallies(two) == {
            "a": (11, "A", 2),
            "b": (14, "B", 2),
            "c": (16, "new", 2),
            "d": (17, "new", 2),
        }

    @pytest.mark.parametrize("size", [1, 2, 3, 1000])
    def test_a_row_that_is_met_again_writes_only_what_an_update_writes(
        self, two: Database, size: int
    ) -> None:
        rows = [
            {"name": "c", "n": 1, "note": "first"},
            {"name": "c", "n": 2, "note": "second"},
            {"name": "c", "n": 3},
        ]
        result = two.query(Tally).bulk_insert(
            rows, on_conflict="update", key="name", update=["n"], batch_size=size
        )
        assert counts(result) == (1, 2, 0)
        assert tallies(two)["c"] == (3, "first", 2)

    @pytest.mark.parametrize("size", [1, 3, 7, 1000])
    def test_each_occurrence_counts(self, two: Database, size: int) -> None:
        rows = [{"name": name} for name in "acacabcaaa"]
        result = two.query(Tally).bulk_insert(
            rows, on_conflict="update", key="name", update={"n": Tally.n + 1}, batch_size=size
        )
        assert counts(result) == (1, 9, 0)
        assert {k: v[0] for k, v in tallies(two).items()} == {"a": 7, "b": 3, "c": 2}

    def test_many_rows_with_one_key_in_one_call(self, two: Database) -> None:
        rows = [{"name": "a" if n % 3 else "z", "n": n} for n in range(500)]
        query = two.query(Tally)
        assert counts(query.bulk_insert(rows, on_conflict="update", key="name", batch_size=150)) == (
            1,
            499,
            0,
        )
        assert {k: v[0] for k, v in tallies(two).items()} == {"a": 499, "b": 2, "z": 498}
        assert counts(query.bulk_insert(rows, on_conflict="ignore", key="name", batch_size=150)) == (
            0,
            0,
            500,
        )
        result = query.bulk_insert(rows[:60], on_conflict="update", key="name", update={"n": Tally.n - 1})
        assert counts(result) == (0, 60, 0)
        assert {k: v[0] for k, v in tallies(two).items()} == {"a": 459, "b": 2, "z": 478}

    def test_a_number_given_twice_is_one_row(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        rows = [{"id": 7, "name": "a"}, {"id": None, "name": "b"}, {"id": 7, "name": "c"}, {"name": "d"}]
        result = query.bulk_insert(rows, on_conflict="update", return_keys=True)
        assert (counts(result), result.keys[0], result.keys[2]) == ((3, 1, 0), 7, 7)
        assert sorted(s.name for s in query.all()) == ["b", "c", "d"]
        assert len({s.id for s in query.all()}) == 3

    # -- keys with None --------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("action", ["ignore", "update"])
    def test_a_row_with_none_in_the_key_meets_nobody(self, connect: Connect, action: Any) -> None:
        db = connect(Badge, Keyed)
        query = db.query(Badge)
        query.bulk_insert([{"code": "a"}, {"code": "b", "serial": 1}])
        rows: list[dict[str, Any]] = [
            {"code": "c", "serial": None}, {"code": "d", "serial": 1, "owner": "x"}, {"code": "e", "serial": None},
            {"code": "f"}, {"code": "g", "serial": 2}, {"code": "h", "serial": 2, "owner": "y"},
        ]  # fmt: skip
        result = query.bulk_insert(rows, on_conflict=action, key="serial", return_keys=True)
        met = (0, 2) if action == "ignore" else (2, 0)
        assert counts(result) == (4, *met)
        assert result.keys == ("c", "b", "e", "f", "g", "g")
        found = {b.code: (b.serial, b.owner) for b in query.all()}
        met_owners = (None, None) if action == "ignore" else ("x", "y")
        assert found == {
            "a": (None, None), "b": (1, met_owners[0]), "c": (None, None), "e": (None, None), "f": (None, None),
            "g": (2, met_owners[1]),
        }  # fmt: skip
        pairs = [{"code": f"p{n}", "owner": "o", "place": None if n % 2 else "p"} for n in range(6)]
        assert query.bulk_insert(pairs, on_conflict=action, key=["owner", "place"]).inserted == 4

    # -- keys that come back ---------------------------------------------------------------------------------------

    @pytest.mark.parametrize("action", ["ignore", "update"])
    @pytest.mark.parametrize("size", [2, 1000])
    def test_the_keys_are_those_of_the_stored_rows_in_the_order_given(
        self, two: Database, action: Any, size: int
    ) -> None:
        query = two.query(Tally)
        names = ["d", "b", "c", "d", "a", "e", "c"]
        rows = [{"name": name, "n": n} for n, name in enumerate(names)]
        result = query.bulk_insert(rows, on_conflict=action, key="name", return_keys=True, batch_size=size)
        by_name = {t.name: t.id for t in query.all()}
        assert result.keys == tuple(by_name[name] for name in names)
        assert result.inserted == 3
        assert query.bulk_insert([{"name": "f"}], on_conflict=action, key="name").keys == ()

    # -- clashes ---------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("action", ["ignore", "update"])
    def test_a_clash_on_another_unique_key_is_a_duplicate_and_nothing_is_stored(
        self, connect: Connect, action: Any
    ) -> None:
        query = connect(Badge).query(Badge)
        query.bulk_insert([{"code": "a", "serial": 1}, {"code": "b", "serial": 2}])
        tries: list[tuple[list[dict[str, Any]], str, str]] = [
            ([{"code": "c", "serial": 1}], "code", "serial"),
            ([{"code": "c", "owner": "x"}, {"code": "d", "serial": 2}], "code", "serial"),
            ([{"code": "a", "serial": 3}], "serial", "code"),
            ([{"code": "c", "serial": 4}, {"code": "c", "serial": 5}], "serial", "code"),
        ]
        if action == "update":
            tries.append(([{"code": "a", "serial": 2}], "code", "serial"))
            tries.append(([{"code": "a", "owner": "x"}, {"code": "a", "serial": 2}], "code", "serial"))
        tries.append(([{"code": "c", "serial": None}, {"code": "a", "serial": 3}], "serial", "code"))
        for rows, key, clashing in tries:
            with pytest.raises(DuplicateKeyError) as caught:
                query.bulk_insert(rows, on_conflict=action, key=key)
            assert caught.value.attributes == (clashing,)
            if Capability.TRANSACTIONS in query._runner.engine.capabilities:
                assert [(b.code, b.serial) for b in query.order_by("code").all()] == [("a", 1), ("b", 2)]

    def test_what_an_ignored_row_holds_cannot_clash(self, connect: Connect) -> None:
        query = connect(Badge).query(Badge)
        query.bulk_insert([{"code": "a", "serial": 1}, {"code": "b", "serial": 2}])
        assert query.bulk_insert([{"code": "a", "serial": 2}], on_conflict="ignore").ignored == 1
        result = query.bulk_insert(
            [{"code": "a", "serial": 2, "owner": "o"}], on_conflict="update", update="owner"
        )
        assert result.updated == 1
        assert [(b.code, b.serial, b.owner) for b in query.order_by("code").all()] == [
            ("a", 1, "o"),
            ("b", 2, None),
        ]

    @requires(Capability.TRANSACTIONS)
    def test_one_batch_of_several_steps_is_all_or_nothing(self, two: Database) -> None:
        before = tallies(two)
        rows = [{"name": name} for name in "abab"]
        with pytest.raises(DbPluginsError):
            two.query(Tally).bulk_insert(
                rows, on_conflict="update", key="name", update={"n": Tally.n * 2**29 + 1}, atomic=None
            )
        assert tallies(two) == before

    # -- refusals --------------------------------------------------------------------------------------------------

    def test_what_makes_no_sense_is_refused_before_anything_is_sent(self, alarmed: Connect) -> None:
        query = alarmed(Tally).query(Tally)
        rows = [{"name": "a", "n": 1}]
        refused: list[tuple[dict[str, Any], str]] = [
            ({"on_conflict": "replace"}, "on_conflict"),
            ({"on_conflict": None}, "on_conflict"),
            ({"on_conflict": True}, "on_conflict"),
            ({"key": "name"}, "key"),
            ({"update": ["n"]}, "update"),
            ({"on_conflict": "ignore", "key": "name", "update": ["n"]}, "update"),
            ({"on_conflict": "update", "key": "naem"}, "did you mean 'name'"),
            ({"on_conflict": "update", "key": "name", "update": ["nn"]}, "nn"),
            ({"on_conflict": "update", "key": "name", "update": {"nn": 1}}, "nn"),
            ({"on_conflict": "update", "key": "name", "update": ["id"]}, "primary key"),
            ({"on_conflict": "update", "key": "name", "update": {"id": 1}}, "primary key"),
            ({"on_conflict": "update", "key": "name", "update": {"n": "1"}}, r"Tally\.n"),
            ({"on_conflict": "update", "key": "name", "update": {"n": Tally.n / 2}}, r"Tally\.n"),
            ({"on_conflict": "update", "key": "name", "update": {"n": Tally.name}}, r"Tally\.n"),
            ({"atomic": "yes"}, "atomic"),
        ]
        for arguments, about in refused:
            with pytest.raises(InvalidValueError, match=about):
                query.bulk_insert(rows, **arguments)
        with pytest.raises(NotNullError, match=r"Tally\.n"):
            query.bulk_insert(rows, on_conflict="update", key="name", update={"n": None})
        for update in (5, [5], [None], {1: 2}):
            with pytest.raises(DbPluginsError):
                query.bulk_insert(rows, on_conflict="update", key="name", update=update)

    @pytest.mark.parametrize("action", ["ignore", "update"])
    def test_a_row_that_is_wrong_is_refused_before_anything_is_sent(
        self, alarmed: Connect, action: Any
    ) -> None:
        query = alarmed(Tally).query(Tally)
        calls: list[tuple[Callable[[], Any], str]] = [
            (
                lambda: query.bulk_insert([{"name": "a"}, {"name": 5}], on_conflict=action, key="name"),
                "row 2 ",
            ),
            (lambda: query.bulk_insert([{"name": "a"}, {"n": 5}], on_conflict=action, key="name"), "row 2 "),
            (
                lambda: query.bulk_insert([{"name": "a"}, {"name": None}], on_conflict=action, key="name"),
                "row 2 ",
            ),
        ]
        for call, about in calls:
            with pytest.raises((InvalidValueError, NotNullError), match=rf"Tally\.name.*{about}"):
                call()
        assert query.bulk_insert([], on_conflict=action, key="name") == BulkResult()
