"""``get_or_create``: the row that is there, or a new one, by a unique key."""

from __future__ import annotations

import math

import pytest

from db_plugins import Capability
from db_plugins.errors import InvalidValueError, NotNullError

from .harness import Connect, Harness, subject
from .models import Badge, Keyed, Pair, Star, Tally
from .upserts import clash, stored

__all__ = ["Creations"]


@subject("upserts", Capability.WRITE, Capability.UNIQUE)
class Creations(Harness):
    """API §4, ``get_or_create``. That it happens once, whoever calls at the same moment: ``races``."""

    def test_get_or_create_makes_the_row_once(self, connect: Connect) -> None:
        db = connect(Tally)
        tally, is_new = db.query(Tally).get_or_create({"name": "a"}, n=3)
        assert (type(tally), tally.id, tally.n, tally.note, is_new) == (Tally, 1, 3, "new", True)
        again, is_new = db.query(Tally).get_or_create({"name": "a"}, n=4)
        assert (again.id, again.n, is_new) == (1, 3, False)
        assert stored(db) == [("a", 3, "new", 1)], "a row that is there stays as it is, onupdate too"

    def test_get_or_create_takes_any_unique_key_with_more_beside_it(self, connect: Connect) -> None:
        db = connect(Star, Badge, Pair)
        stars, badges, pairs = db.query(Star), db.query(Badge), db.query(Pair)
        assert stars.get_or_create({"id": 4}, name="a")[1] is True
        assert stars.get_or_create({"id": 4}, name="b")[0].name == "a"
        assert stars.get_or_create({"name": "c", "band": "V", "mag": None})[1] is True
        assert stars.get_or_create({"name": "c", "band": "V", "mag": None})[1] is False
        assert stars.insert({"name": "d"}).id == 6
        assert badges.get_or_create({"owner": "o", "place": "p"}, code="a")[1] is True
        assert badges.get_or_create({"place": "p", "owner": "o"}, code="b")[0].code == "a"
        assert badges.get_or_create({"serial": 1}, code="b")[1] is True
        assert pairs.get_or_create({"left": 1, "right": "x"}, note="n")[1] is True
        assert pairs.get_or_create({"left": 1, "right": "x"})[0].note == "n"
        assert (stars.count(), badges.count(), pairs.count()) == (3, 2, 1)

    def test_get_or_create_finds_by_the_key_that_is_whole(self, connect: Connect) -> None:
        query = connect(Badge).query(Badge)
        for is_first in (True, False):
            badge, is_new = query.get_or_create({"serial": None, "owner": "o", "place": "p"}, code="a")
            assert (badge.code, is_new) == ("a", is_first)

    def test_a_row_of_the_same_key_that_differs_elsewhere_is_a_duplicate(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        query.insert({"name": "a", "band": "V"})
        error = clash(lambda: query.get_or_create({"name": "a", "band": "B"}), "name")
        assert "'a'" not in str(error), "a message shows no value"
        clash(lambda: query.get_or_create({"name": "a", "band": None}), "name")
        assert [(s.name, s.band) for s in query.all()] == [("a", "V")]

    def test_get_or_create_that_clashes_on_another_unique_key_is_a_duplicate(self, connect: Connect) -> None:
        query = connect(Badge).query(Badge)
        query.insert({"code": "a", "serial": 7, "owner": "o", "place": "p"})
        clash(lambda: query.get_or_create({"code": "b"}, serial=7), "serial")
        clash(lambda: query.get_or_create({"serial": 8}, code="a"), "code")
        clash(lambda: query.get_or_create({"code": "b"}, owner="o", place="p"), "owner", "place")
        assert query.count() == 1
        assert query.get_or_create({"code": "a"}, serial=7)[1] is False

    def test_get_or_create_without_a_unique_key_is_refused_with_those_there_are(
        self, alarmed: Connect
    ) -> None:
        db = alarmed(Star, Badge, Keyed)
        for model, filter_by, keys in (
            (Star, {}, r"\(id\), \(name\)"),
            (Star, {"band": "V"}, r"\(id\), \(name\)"),
            (Star, {"id": None}, r"\(id\), \(name\)"),
            (Star, {"name": None}, r"\(id\), \(name\)"),
            (Badge, {"owner": "o"}, r"\(owner, place\)"),
            (Badge, {"owner": "o", "place": None}, r"\(owner, place\)"),
            (Badge, {"serial": None}, r"\(serial\)"),
            (Keyed, {"size": math.nan}, r"\(size\)"),
        ):
            with pytest.raises(InvalidValueError, match=keys):
                db.query(model).get_or_create(filter_by)

    def test_get_or_create_refuses_what_is_wrong_before_anything_is_sent(self, alarmed: Connect) -> None:
        db = alarmed(Star, Tally)
        query = db.query(Star)
        for filter_by in (None, 1, "a", [("name", "a")], Star(name="a"), {"name": 1}, {"naem": "a"}, {1: 2}):
            with pytest.raises(InvalidValueError):
                query.get_or_create(filter_by)  # type: ignore[arg-type]
        with pytest.raises(InvalidValueError, match=r"Star\.band"):
            query.get_or_create({"name": "a", "band": "V"}, band="B")
        with pytest.raises(InvalidValueError, match="did you mean 'mag'"):
            query.get_or_create({"name": "a"}, magg=1)
        with pytest.raises(InvalidValueError, match=r"Star\.mag"):
            query.get_or_create({"name": "a"}, mag="bright")
        with pytest.raises(NotNullError, match=r"Tally\.n"):
            db.query(Tally).get_or_create({"name": "a"}, n=None)

    def test_get_or_create_of_a_row_that_lacks_something_is_refused_only_if_it_makes_it(
        self, connect: Connect
    ) -> None:
        query = connect(Star).query(Star)
        with pytest.raises(NotNullError, match=r"Star\.name"):
            query.get_or_create({"id": 1})
        query.insert({"id": 1, "name": "a"})
        assert query.get_or_create({"id": 1})[0].name == "a"
