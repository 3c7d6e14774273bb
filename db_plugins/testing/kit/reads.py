"""The reading verbs: what each returns for none, one and many."""

from __future__ import annotations

import uuid

import pytest

from db_plugins import Database
from db_plugins.errors import InvalidValueError, MultipleResultsError, NotFoundError

from .harness import Connect, Harness, subject
from .models import Badge, Pair, Star, Token
from .samples import STARS

__all__ = ["Reads"]


@subject("reads")
class Reads(Harness):
    """API §4, read."""

    def test_get_gives_the_object_or_none(self, seven: Database) -> None:
        star = seven.query(Star).get(3)
        assert star is not None
        assert (type(star), star.id, star.name, star.mag, star.band) == (Star, 3, "Deneb", 1.25, "B")
        assert seven.query(Star).get(99) is None
        assert seven.query(Star).get(-1) is None
        assert seven.query(Star).get(2**40) is None

    def test_get_heeds_the_filter_and_no_order(self, seven: Database) -> None:
        assert seven.query(Star).filter(band="V").get(3) is None
        assert seven.query(Star).filter(band="B").order_by("name").get(3) is not None

    def test_get_of_a_composite_key_takes_a_tuple(self, connect: Connect) -> None:
        db = connect(Pair)
        self.stock(db, Pair, [{"left": 1, "right": "a", "note": "x"}, {"left": 1, "right": "b"}])
        found = db.query(Pair).get((1, "a"))
        assert found is not None
        assert found.note == "x"
        assert db.query(Pair).get((2, "a")) is None
        assert list(db.query(Pair).get_many([(1, "b"), (1, "z"), (1, "a")])) == [(1, "b"), (1, "a")]
        for bad in (1, (1,), (1, "a", 2), ("a", 1)):
            with pytest.raises(InvalidValueError):
                db.query(Pair).get(bad)

    @pytest.mark.parametrize("key", [None, "1", 1.0, True, (1, 2), {"$ne": None}, [1], object(), 2**63])
    def test_a_key_that_is_none_or_of_another_kind_is_refused(self, alarmed: Connect, key: object) -> None:
        with pytest.raises(InvalidValueError):
            alarmed(Star).query(Star).get(key)
        with pytest.raises(InvalidValueError):
            alarmed(Star).query(Star).get_many([1, key])

    def test_get_of_a_uuid_key_and_of_a_text_key(self, connect: Connect) -> None:
        db = connect(Token, Badge)
        keys = [uuid.uuid4() for _ in range(3)]
        self.stock(db, Token, [{"id": k, "note": str(k)} for k in keys])
        assert [db.query(Token).get(k).note for k in keys] == [str(k) for k in keys]  # type: ignore[union-attr]
        assert db.query(Token).get(uuid.uuid4()) is None
        self.stock(db, Badge, [{"code": c} for c in ("a", "A", "é", "a ", "$x")])
        for code in ("a", "A", "é", "a ", "$x"):
            found = db.query(Badge).get(code)
            assert found is not None
            assert found.code == code
        assert db.query(Badge).get("b") is None

    def test_get_many_takes_any_number_of_keys(self, connect: Connect) -> None:
        db = connect(Star)
        self.stock(db, Star, [{"id": n, "name": f"s{n}"} for n in range(1, 3001)])
        wanted = [*range(3000, 0, -1), 5000, 1]
        found = db.query(Star).get_many(wanted)
        assert list(found) == list(range(3000, 0, -1))
        assert all(found[k].id == k and found[k].name == f"s{k}" for k in found)
        assert db.query(Star).get_many([]) == {}
        assert list(db.query(Star).filter(Star.id < 10).get_many(range(5, 20))) == [5, 6, 7, 8, 9]

    def test_get_many_takes_any_number_of_composite_keys(self, connect: Connect) -> None:
        db = connect(Pair)
        keys = [(n, "a") for n in range(self.rows_in_bulk)]
        self.stock(db, Pair, [{"left": left, "right": right} for left, right in keys])
        assert list(db.query(Pair).get_many([*reversed(keys), (5, "b")])) == keys[::-1]

    def test_first_is_by_primary_key_unless_ordered(self, seven: Database) -> None:
        query = seven.query(Star)
        assert query.first().id == 1  # type: ignore[union-attr]
        assert query.order_by("-name").first().name == "Vega"  # type: ignore[union-attr]
        assert query.filter(name="none").first() is None
        assert query.offset(2).first().id == 3  # type: ignore[union-attr]
        assert query.limit(0).first() is None

    def test_one_and_one_or_none(self, seven: Database) -> None:
        query = seven.query(Star)
        assert query.filter(name="Vega").one().id == 1
        one = query.filter(name="Vega").one_or_none()
        assert one is not None
        assert one.id == 1
        assert query.filter(name="none").one_or_none() is None
        with pytest.raises(NotFoundError, match="Star"):
            query.filter(name="none").one()
        for verb in (query.filter(band="V").one, query.filter(band="V").one_or_none):
            with pytest.raises(MultipleResultsError, match="Star"):
                verb()
        assert query.limit(1).one().id == 1

    def test_all_gives_a_list_of_objects(self, seven: Database) -> None:
        found = seven.query(Star).order_by("id").all()
        assert isinstance(found, list)
        assert [(s.id, s.name, s.mag, s.band) for s in found] == [
            (n, d["name"], d["mag"], d["band"]) for n, d in enumerate(STARS, 1)
        ]
        assert seven.query(Star).filter(name="none").all() == []

    def test_to_dicts_gives_all_columns_or_those_named(self, seven: Database) -> None:
        query = seven.query(Star).order_by("id").limit(2)
        assert query.to_dicts() == [
            {"id": 1, "name": "Vega", "mag": 0.03, "band": "V"},
            {"id": 2, "name": "Sirius", "mag": -1.46, "band": "V"},
        ]
        assert query.to_dicts("name", Star.id) == [{"name": "Vega", "id": 1}, {"name": "Sirius", "id": 2}]
        assert list(query.to_dicts(Star.band, "name")[0]) == ["band", "name"]

    def test_count_and_exists(self, seven: Database) -> None:
        query = seven.query(Star)
        assert (query.count(), query.filter(band="V").count(), query.filter(name="none").count()) == (7, 3, 0)
        assert (query.exists(), query.filter(name="none").exists()) == (True, False)

    def test_limit_and_offset_are_by_primary_key_without_an_order(self, seven: Database) -> None:
        query = seven.query(Star)
        assert [s.id for s in query.limit(3).all()] == [1, 2, 3]
        assert [s.id for s in query.offset(5).all()] == [6, 7]
        assert [s.id for s in query.offset(2).limit(2).all()] == [3, 4]
        assert [s.id for s in query.offset(0).limit(99).all()] == [1, 2, 3, 4, 5, 6, 7]
        assert query.offset(99).all() == query.offset(99).limit(5).all() == []

    def test_limit_0_gives_nothing(self, seven: Database) -> None:
        query = seven.query(Star).limit(0)
        assert (query.all(), query.to_dicts(), query.count(), query.exists(), query.one_or_none()) == (
            [],
            [],
            0,
            False,
            None,
        )

    def test_count_and_exists_heed_limit_and_offset(self, seven: Database) -> None:
        query = seven.query(Star)
        assert (
            query.limit(3).count(),
            query.offset(5).count(),
            query.offset(5).limit(1).count(),
            query.offset(9).count(),
        ) == (3, 2, 1, 0)
        assert (query.offset(6).exists(), query.offset(7).exists()) == (True, False)
        assert query.filter(band="B").order_by("-id").offset(1).limit(5).count() == 2

    @pytest.mark.parametrize("bad", [-1, "1", 1.0, True, None, 2**63])
    def test_a_bad_limit_or_offset_is_refused(self, alarmed: Connect, bad: object) -> None:
        for verb in ("limit", "offset"):
            with pytest.raises(InvalidValueError, match=verb):
                getattr(alarmed(Star).query(Star), verb)(bad)

    def test_a_very_large_limit_and_offset_are_fine(self, seven: Database) -> None:
        assert seven.query(Star).limit(2**63 - 1).count() == 7
        assert seven.query(Star).limit(10**9).offset(10**9).all() == []

    def test_explain_gives_text_and_runs_nothing(self, alarmed: Connect) -> None:
        text = alarmed(Star).query(Star).filter(Star.mag < 2, name="Vega").order_by("mag").limit(3).explain()
        assert isinstance(text, str)
        assert "mag" in text
