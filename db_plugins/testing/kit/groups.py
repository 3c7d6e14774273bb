"""Groups: NULL among them, told apart by code point, ordered and cut."""

from __future__ import annotations

from typing import Any

import pytest

from db_plugins import Database, func
from db_plugins.errors import (
    InvalidValueError,
    MissingFilterError,
    UnsupportedFilterError,
    UnsupportedOperationError,
)

from ..fuzz.model import BOUNDARIES, Sample
from .harness import Connect, Harness, subject
from .models import Author, Pair, Star, Thing

__all__ = ["Groups"]


@subject("groups")
class Groups(Harness):
    """API §4, group_by."""

    def test_null_is_a_group_and_groups_come_in_order(self, seven: Database) -> None:
        by_band = seven.query(Star).group_by(Star.band)
        expected = [{"band": None, "n": 1}, {"band": "B", "n": 3}, {"band": "V", "n": 3}]
        assert by_band.aggregate(n=func.count()) == expected
        assert seven.query(Star).group_by("band").aggregate(n=func.count()) == expected
        assert by_band.filter(Star.mag < 1).aggregate(n=func.count(), top=func.max(Star.mag)) == [
            {"band": None, "n": 1, "top": 0.76},
            {"band": "B", "n": 1, "top": 0.03},
            {"band": "V", "n": 2, "top": 0.03},
        ]
        assert by_band.filter(name="nobody").aggregate(n=func.count()) == []

    def test_groups_are_ordered_by_columns_and_labels(self, seven: Database) -> None:
        def bands(*order: Any) -> list[Any]:
            query = seven.query(Star).group_by(Star.band).order_by(*order)
            return [g["band"] for g in query.aggregate(n=func.count(), s=func.sum(Star.mag))]

        assert bands("-band") == ["V", "B", None]
        assert bands(Star.band.desc()) == ["V", "B", None]
        assert bands(Star.band.nulls_last()) == ["B", "V", None]
        assert bands(Star.band.desc().nulls_first()) == [None, "V", "B"]
        assert bands("n") == [None, "B", "V"]
        assert bands("-n") == ["B", "V", None]
        assert bands("-n", "-band") == ["V", "B", None]
        assert bands("s") == ["V", None, "B"]
        assert bands("-s") == ["B", None, "V"]
        before = seven.query(Star).order_by("-band").group_by("band")
        assert [g["band"] for g in before.aggregate(n=func.count())] == ["V", "B", None]

    def test_a_sum_of_nothing_is_ordered_as_null(self, connect: Connect) -> None:
        db = connect(Star)
        rows = [("a", "x", 1.0), ("b", "y", None), ("c", "z", -1.0)]
        self.stock(db, Star, [{"name": n, "band": b, "mag": m} for n, b, m in rows])
        query = db.query(Star).group_by(Star.band)
        for function in (func.sum, func.avg, func.min, func.max):
            up = query.order_by("v").aggregate(v=function(Star.mag))
            assert [g["band"] for g in up] == ["y", "z", "x"]
            down = query.order_by("-v").aggregate(v=function(Star.mag))
            assert [g["band"] for g in down] == ["x", "z", "y"]

    def test_limit_and_offset_are_over_groups(self, seven: Database) -> None:
        query = seven.query(Star).group_by(Star.band).order_by("-n")
        assert [g["band"] for g in query.limit(2).aggregate(n=func.count())] == ["B", "V"]
        assert [g["band"] for g in query.offset(1).aggregate(n=func.count())] == ["V", None]
        assert [g["band"] for g in query.limit(1).offset(1).aggregate(n=func.count())] == ["V"]
        assert query.limit(0).aggregate(n=func.count()) == []
        assert query.offset(3).aggregate(n=func.count()) == []

    def test_several_group_columns_and_a_second_call(self, connect: Connect) -> None:
        db = connect(Pair)
        keys = [(1, "a", "x"), (1, "b", "x"), (2, "a", None), (2, "b", "y"), (3, "a", "x")]
        self.stock(db, Pair, [{"left": n, "right": r, "note": t} for n, r, t in keys])
        expected = [
            {"note": None, "left": 2, "n": 1},
            {"note": "x", "left": 1, "n": 2},
            {"note": "x", "left": 3, "n": 1},
            {"note": "y", "left": 2, "n": 1},
        ]
        assert db.query(Pair).group_by(Pair.note, Pair.left).aggregate(n=func.count()) == expected
        again = db.query(Pair).group_by("note").group_by("left", Pair.note)
        assert again.aggregate(n=func.count()) == expected

    def test_values_of_every_kind_are_groups(self, connect: Connect) -> None:
        db = connect(Sample)
        pool = {n: [v for v in values if v == v] for n, values in BOUNDARIES.items() if n != "extra"}
        rows = [{n: values[i % len(values)] for n, values in pool.items()} for i in range(40)]
        self.stock(db, Sample, [*rows, {}])
        for name in pool:
            counts: dict[Any, int] = {None: 1}
            for row in rows:
                counts[row[name]] = counts.get(row[name], 0) + 1
            groups = db.query(Sample).group_by(name).aggregate(n=func.count())
            assert {g[name]: g["n"] for g in groups} == counts, name
            stored = [t[name] for t in db.query(Sample).order_by(name).to_dicts(name)]
            assert [g[name] for g in groups] == list(dict.fromkeys(stored)), name
            assert all(type(g[name]) is type(next(k for k in counts if k == g[name])) for g in groups), name

    def test_texts_that_some_collations_take_for_equal_are_groups_of_their_own(
        self, connect: Connect
    ) -> None:
        words = ["a", "A", "á", "a ", "ß", "ss", "e\u0301", "é", "", " "]
        db = connect(Thing)
        self.stock(db, Thing, [{"text": w, "long_text": w} for w in words * 2])
        for name in ("text", "long_text"):
            found = db.query(Thing).group_by(name).aggregate(n=func.count())
            assert found == [{name: w, "n": 2} for w in sorted(words)]

    def test_long_texts_and_bytes_are_told_apart_by_their_ends(self, connect: Connect) -> None:
        db = connect(Thing)
        texts = ["x" * 5000 + end for end in "abab"]
        self.stock(db, Thing, [{"long_text": t, "raw": t.encode()} for t in texts])
        assert [g["n"] for g in db.query(Thing).group_by("long_text").aggregate(n=func.count())] == [2, 2]
        assert [g["n"] for g in db.query(Thing).group_by("raw").aggregate(n=func.count())] == [2, 2]
        assert db.query(Thing).aggregate(h=func.max(Thing.long_text)) == {"h": texts[1]}

    def test_a_label_may_be_the_name_of_another_column(self, seven: Database) -> None:
        found = seven.query(Star).group_by("band").order_by("-mag").aggregate(mag=func.count(Star.mag))
        assert found == [{"band": "B", "mag": 2}, {"band": "V", "mag": 2}, {"band": None, "mag": 1}]

    def test_a_query_with_groups_is_read_by_aggregate_only(self, alarmed: Connect) -> None:
        query = alarmed(Star).query(Star).group_by("band")
        for read in (query.all, query.first, query.count, query.exists, query.to_dicts, query.explain):
            with pytest.raises(UnsupportedOperationError, match="group_by"):
                read()
        with pytest.raises(UnsupportedOperationError, match="group_by"):
            query.paginate()
        with pytest.raises((UnsupportedOperationError, MissingFilterError)):
            query.filter(id=1).delete()
        with pytest.raises((UnsupportedOperationError, MissingFilterError)):
            query.filter(id=1).update({"mag": 1.0})

    def test_what_makes_no_group_is_refused(self, alarmed: Connect) -> None:
        query = alarmed(Thing, Author).query(Thing)
        for column in (Thing.extra, "extra", Thing.number + 1, func.lower(Thing.text), Author.name, 3, None):
            with pytest.raises(UnsupportedFilterError):
                query.group_by(column)
        for column in ("nope", "number; DROP TABLE kit_thing", "-number", ""):
            with pytest.raises(InvalidValueError):
                query.group_by(column)
        with pytest.raises(InvalidValueError):
            query.group_by()

    def test_labels_and_orders_are_checked(self, alarmed: Connect) -> None:
        query = alarmed(Thing).query(Thing)
        for label in ("", "a b", "1", "a;b", '"', "$x", "a.b", "-n"):
            with pytest.raises(InvalidValueError, match="label"):
                query.aggregate(**{label: func.count()})
        with pytest.raises(InvalidValueError, match="group column"):
            query.group_by("number").aggregate(number=func.count())
        for q in (query, query.group_by("number")):
            with pytest.raises(InvalidValueError):
                q.aggregate()
        for order in ("m", "-text", Thing.text, "--n", "", "n desc"):
            with pytest.raises(InvalidValueError, match="order"):
                query.group_by("number").order_by(order).aggregate(n=func.count())
        with pytest.raises(InvalidValueError):
            query.group_by("number").order_by("-n", allow=["number"])
