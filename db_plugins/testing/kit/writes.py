"""The writing verbs: what is stored, what is returned, and what is refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from db_plugins import Capability, Database
from db_plugins.errors import (
    DbPluginsError,
    DuplicateKeyError,
    InvalidValueError,
    MissingFilterError,
    NotFoundError,
    UnsupportedOperationError,
)

from .harness import Connect, Harness, subject
from .models import Author, Book, Pair, Stamped, Star, Thing, Token

__all__ = ["Writes"]


@subject("writes", Capability.WRITE)
class Writes(Harness):
    """API §4, write."""

    def test_insert_of_a_mapping_gives_the_object_as_it_is_stored(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        star = query.insert({"name": "Vega", "mag": 0.03})
        assert (type(star), star.id, star.name, star.mag, star.band) == (Star, 1, "Vega", 0.03, None)
        assert query.get(star.id).name == "Vega"  # type: ignore[union-attr]

    def test_insert_of_an_instance_fills_it_in_and_returns_it(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        star = Star(name="Vega", mag=1)
        assert query.insert(star) is star
        assert (star.id, star.mag, star.band) == (1, 1.0, None)
        star.mag = 2.0
        assert query.update(star).mag == 2.0
        with pytest.raises(DuplicateKeyError):
            query.insert(star)

    def test_insert_of_a_pydantic_model_takes_the_fields_that_are_set(self, connect: Connect) -> None:
        pydantic = pytest.importorskip("pydantic")
        model = pydantic.create_model(
            "StarCreate", name=(str, ...), mag=(float | None, None), band=(str | None, "V")
        )
        query = connect(Star).query(Star)
        star = query.insert(model(name="Vega", mag=1.0))
        assert (star.name, star.mag, star.band) == ("Vega", 1.0, None)

    @pytest.mark.parametrize("row", [None, 1, "Vega", [("name", "Vega")], object()])
    def test_what_is_no_row_is_refused(self, alarmed: Connect, row: Any) -> None:
        with pytest.raises(InvalidValueError):
            alarmed(Star).query(Star).insert(row)

    def test_an_instance_of_another_model_is_refused(self, alarmed: Connect) -> None:
        with pytest.raises(InvalidValueError):
            alarmed(Star, Author).query(Star).insert(Author(name="x"))  # type: ignore[arg-type]

    def test_an_instance_with_new_related_objects_is_refused(self, alarmed: Connect) -> None:
        with pytest.raises(UnsupportedOperationError, match="books"):
            alarmed(Author, Book).query(Author).insert(Author(name="x", books=[Book(title="y")]))

    def test_defaults_are_filled_in_and_given_values_win(self, connect: Connect) -> None:
        query = connect(Stamped).query(Stamped)
        row = query.insert(Stamped(name="Iron Shield"))
        assert (row.rating, row.material, row.charm, row.parts, row.slug, row.version) == (
            10,
            "iron",
            None,
            [],
            "iron-shield",
            1,
        )
        assert row.made == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        row = query.insert({"name": "B", "rating": 3, "parts": {"a": 1}, "slug": "given", "charm": "x"})
        assert (row.rating, row.parts, row.slug, row.charm) == (3, {"a": 1}, "given", "x")
        found = query.get(row.id)
        assert found is not None
        assert (found.rating, found.material, found.slug) == (3, "iron", "given")

    def test_each_row_gets_a_default_of_its_own(self, connect: Connect) -> None:
        db = connect(Token, Stamped)
        keys = db.query(Token).bulk_insert([{"note": str(n)} for n in range(50)], return_keys=True).keys
        assert len(set(keys)) == 50
        assert [db.query(Token).get(k).note for k in keys[:3]] == ["0", "1", "2"]  # type: ignore[union-attr]
        db.query(Stamped).bulk_insert([{"name": "A B"}, {"name": "C"}])
        assert [s.slug for s in db.query(Stamped).order_by("id").all()] == ["a-b", "c"]

    def test_onupdate_sets_its_column_unless_it_is_given(self, connect: Connect) -> None:
        query = connect(Stamped).query(Stamped)
        row = query.insert({"name": "a"})
        assert query.update(row, {"rating": 4}).version == 2
        assert query.update(row, {"version": 9}).version == 9
        query.filter(name="a").update({"rating": 5})
        assert query.one().version == 2

    # -- update ----------------------------------------------------------------------------------------------------

    def test_update_of_a_query_changes_its_rows_alone(self, seven: Database) -> None:
        query = seven.query(Star)
        assert query.filter(band="V").update({"mag": 9, "band": None}) == 3
        assert [s.name for s in query.filter(mag=9.0, band=None).order_by("id").all()] == [
            "Vega",
            "Sirius",
            "Nova",
        ]
        assert query.filter(band="B").count() == 3
        assert query.filter(name="none").update({"mag": 1}) == 0

    def test_update_counts_the_rows_that_match_also_those_that_stay_the_same(self, seven: Database) -> None:
        query = seven.query(Star).filter(band="V")
        assert query.update({"band": "V"}) == 3
        assert query.update({"band": "V"}) == 3

    def test_update_by_arithmetic_on_columns(self, seven: Database) -> None:
        query = seven.query(Star)
        assert query.filter(Star.id <= 3).update({"mag": Star.mag + 1}) == 3
        assert [round(s.mag or 0, 2) for s in query.filter(Star.id <= 3).order_by("id").all()] == [
            1.03,
            -0.46,
            2.25,
        ]
        assert query.filter(name="Nova").update({"mag": Star.mag * 2}) == 1
        assert query.filter(name="Nova").one().mag is None
        assert query.filter(Star.id <= 2).update({"mag": Star.id * 2 - 1}) == 2
        assert [s.mag for s in query.filter(Star.id <= 2).order_by("id").all()] == [1.0, 3.0]

    def test_arithmetic_into_an_integer_column_takes_whole_results_only(self, connect: Connect) -> None:
        query = connect(Thing).query(Thing)
        query.bulk_insert([{"number": 8}, {"number": -7}])
        for change in (Thing.number / 2, Thing.number * 0.5, Thing.number + Thing.size):
            with pytest.raises(InvalidValueError, match=r"Thing\.number"):
                query.filter(number=8).update({"number": change})
        assert query.update({"number": Thing.number // 2}, force=True) == 2
        assert [t.number for t in query.order_by("id").all()] == [4, -4]
        assert query.filter(number=4).update({"number": Thing.number // 0}) == 1
        assert query.filter(number=None).count() == 1

    def test_a_result_beyond_its_column_is_refused_and_changes_nothing(self, connect: Connect) -> None:
        query = connect(Thing).query(Thing)
        query.bulk_insert([{"number": 1}, {"number": 2**31 - 1}])
        with pytest.raises(DbPluginsError):
            query.filter(Thing.number > 0).update({"number": Thing.number + 1})
        assert [t.number for t in query.order_by("id").all()] == [1, 2**31 - 1]

    def test_update_of_a_column_by_another(self, seven: Database) -> None:
        query = seven.query(Star)
        query.filter(Star.id <= 3).update({"band": Star.name})
        assert [s.band for s in query.filter(Star.id <= 3).order_by("id").all()] == [
            "Vega",
            "Sirius",
            "Deneb",
        ]
        with pytest.raises(InvalidValueError):
            query.filter(id=1).update({"band": Star.mag})

    def test_update_of_an_object_by_a_mapping(self, seven: Database) -> None:
        query = seven.query(Star)
        star = query.get(1)
        assert star is not None
        assert query.update(star, {"mag": None, "band": "X"}) is star
        assert (star.name, star.mag, star.band) == ("Vega", None, "X")
        again = query.get(1)
        assert again is not None
        assert (again.mag, again.band, again.name) == (None, "X", "Vega")
        assert query.filter(band="X").count() == 1

    def test_update_of_an_object_writes_what_was_set_on_it(self, seven: Database) -> None:
        query = seven.query(Star)
        star, other = query.get(1), query.get(1)
        assert star is not None
        assert other is not None
        query.update(other, {"band": "Z"})
        star.mag = 7.0
        assert query.update(star).band == "Z", "only what was set is written, and the object is as it is now"
        assert query.get(1).mag == 7.0  # type: ignore[union-attr]
        assert query.update(star) is star

    def test_update_by_a_pydantic_model_keeps_unset_fields_and_none_clears(self, seven: Database) -> None:
        pydantic = pytest.importorskip("pydantic")
        model = pydantic.create_model(
            "StarUpdate", name=(str | None, None), mag=(float | None, None), band=(str | None, None)
        )
        query = seven.query(Star)
        star = query.get(1)
        assert star is not None
        query.update(star, model(mag=None))
        assert (star.name, star.mag, star.band) == ("Vega", None, "V")
        query.update(star, model())
        assert (star.name, star.mag, star.band) == ("Vega", None, "V")

    def test_update_of_an_object_by_arithmetic(self, seven: Database) -> None:
        star = seven.query(Star).get(3)
        assert star is not None
        assert seven.query(Star).update(star, {"mag": Star.mag + 1}).mag == 2.25

    def test_update_with_a_filter_is_compare_and_set(self, seven: Database) -> None:
        query = seven.query(Star)
        star = query.get(1)
        assert star is not None
        query.filter(band="V").update(star, {"band": "X"})
        with pytest.raises(NotFoundError):
            query.filter(band="V").update(star, {"mag": 5})
        assert query.get(1).mag == 0.03  # type: ignore[union-attr]

    def test_update_of_a_row_that_is_gone_is_not_found(self, seven: Database) -> None:
        query = seven.query(Star)
        star = query.get(1)
        query.filter(id=1).delete()
        for values in ({"mag": 1}, {}):
            with pytest.raises(NotFoundError):
                query.update(star, values)  # type: ignore[arg-type]
        assert query.filter(id=1).exists() is False

    def test_the_primary_key_cannot_be_updated(self, alarmed: Connect) -> None:
        db = alarmed(Star, Pair)
        with pytest.raises(InvalidValueError, match="primary key"):
            db.query(Star).filter(id=1).update({"id": 2})
        with pytest.raises(InvalidValueError, match="primary key"):
            db.query(Star).update(Star(id=1, name="a"), {"id": 2})
        with pytest.raises(InvalidValueError, match="primary key"):
            db.query(Pair).filter(left=1).update({"right": "b"})

    # -- delete ----------------------------------------------------------------------------------------------------

    def test_delete_of_a_query_and_of_an_object(self, seven: Database) -> None:
        query = seven.query(Star)
        assert query.filter(band="V").delete() == 3
        assert query.filter(band="V").delete() == 0
        star = query.get(3)
        assert star is not None
        assert query.delete(star) is True
        assert query.delete(star) is False
        assert [s.name for s in query.order_by("id").all()] == ["Altair", "Rigel", "Ghost"]

    def test_delete_of_an_object_heeds_the_filter(self, seven: Database) -> None:
        star = seven.query(Star).get(1)
        assert star is not None
        assert seven.query(Star).filter(band="B").delete(star) is False
        assert seven.query(Star).get(1) is not None

    def test_update_and_delete_by_composite_key(self, connect: Connect) -> None:
        query = connect(Pair).query(Pair)
        query.bulk_insert([{"left": n, "right": r} for n in (1, 2) for r in ("a", "b")])
        pair = query.get((1, "a"))
        assert pair is not None
        query.update(pair, {"note": "x"})
        assert [(p.left, p.right) for p in query.filter(note="x").all()] == [(1, "a")]
        assert query.delete(pair) is True
        assert query.filter(left=2).delete() == 2
        assert [(p.left, p.right) for p in query.all()] == [(1, "b")]

    # -- guards ----------------------------------------------------------------------------------------------------

    def test_a_write_without_a_filter_needs_force(self, seven: Database, alarmed: Connect) -> None:
        query = alarmed(Star).query(Star)
        calls: list[Callable[[], Any]] = [
            lambda: query.update({"mag": 1}),
            query.delete,
            query.filter().delete,
            query.filter(Star.id.not_in([])).delete,
        ]
        for write in calls:
            with pytest.raises(MissingFilterError, match="Star"):
                write()
        assert seven.query(Star).update({"mag": 1}, force=True) == 7
        assert seven.query(Star).delete(force=True) == 7

    @pytest.mark.parametrize("verb", ["get", "update", "delete", "insert"])
    def test_none_is_refused_where_an_object_is_due(self, alarmed: Connect, verb: str) -> None:
        for query in (alarmed(Star).query(Star), alarmed(Star).query(Star).filter(name="x")):
            with pytest.raises(InvalidValueError):
                getattr(query, verb)(None)

    def test_a_window_or_an_order_is_refused_in_writes(self, alarmed: Connect) -> None:
        query = alarmed(Star).query(Star).filter(Star.id > 0)
        for narrowed in (query.limit(1), query.offset(1), query.order_by("id")):
            with pytest.raises(UnsupportedOperationError):
                narrowed.update({"mag": 1})
            with pytest.raises(UnsupportedOperationError):
                narrowed.delete()
