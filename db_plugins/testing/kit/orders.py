"""One order on every engine: NULL first, text by code point, enums by name, ties by primary key."""

from __future__ import annotations

from typing import Any

import pytest

from db_plugins import Database
from db_plugins.errors import InvalidValueError, UnsupportedFilterError

from .harness import Connect, Harness, subject
from .models import Author, Badge, Colour, Pair, Star, Thing

__all__ = ["Orders"]


def names(db: Database, *terms: Any) -> list[str]:
    """The stars' names in this order."""
    return [star.name for star in db.query(Star).order_by(*terms).all()]


@subject("orders")
class Orders(Harness):
    """API §5, order."""

    def test_ascending_puts_null_first_and_descending_last(self, seven: Database) -> None:
        ascending = ["Nova", "Ghost", "Sirius", "Vega", "Rigel", "Altair", "Deneb"]
        assert names(seven, Star.mag) == ascending
        assert names(seven, "mag") == ascending
        assert names(seven, Star.mag.asc()) == ascending
        descending = ["Deneb", "Altair", "Vega", "Rigel", "Sirius", "Nova", "Ghost"]
        assert names(seven, Star.mag.desc()) == descending
        assert names(seven, "-mag") == descending

    def test_nulls_go_where_they_are_sent(self, seven: Database) -> None:
        assert names(seven, Star.mag.nulls_last())[-2:] == ["Nova", "Ghost"]
        assert names(seven, Star.mag.asc().nulls_first())[:2] == ["Nova", "Ghost"]
        assert names(seven, Star.mag.desc().nulls_first())[:3] == ["Nova", "Ghost", "Deneb"]
        assert names(seven, Star.mag.desc().nulls_last())[-2:] == ["Nova", "Ghost"]

    def test_several_terms_and_a_second_call(self, seven: Database) -> None:
        expected = ["Altair", "Deneb", "Rigel", "Ghost", "Vega", "Sirius", "Nova"]
        assert names(seven, "band", "-mag") == expected
        assert [
            s.name for s in seven.query(Star).order_by("band").order_by(Star.mag.desc()).all()
        ] == expected

    def test_ties_are_by_primary_key_ascending_whatever_the_direction(self, seven: Database) -> None:
        assert [n for n in names(seven, "-mag") if n in ("Vega", "Rigel")] == ["Vega", "Rigel"]
        assert names(seven, "-band") == ["Vega", "Sirius", "Nova", "Deneb", "Rigel", "Ghost", "Altair"]

    def test_ties_of_a_composite_key_are_by_all_of_it(self, connect: Connect) -> None:
        db = connect(Pair)
        keys = [(n, r) for n in (3, 1, 2) for r in ("b", "a", "B")]
        self.stock(db, Pair, [{"left": n, "right": r, "note": "x"} for n, r in keys])
        assert [(p.left, p.right) for p in db.query(Pair).order_by("note").all()] == sorted(keys)
        assert [(p.left, p.right) for p in db.query(Pair).limit(99).all()] == sorted(keys)
        assert [(p.left, p.right) for p in db.query(Pair).order_by("-right", "-left").limit(2).all()] == [
            (3, "b"),
            (2, "b"),
        ]

    def test_text_is_ordered_by_code_point(self, connect: Connect) -> None:
        words = [
            "é",
            "e\u0301",
            "a",
            "A",
            "b",
            "B",
            "_",
            " ",
            "",
            "a b",
            "ab",
            "z",
            "Z",
            "ß",
            "ss",
            "\uffff",
            "\U00010400",
            "\U0001f600",
            "\u4e2d",
            "10",
            "9",
        ]
        db = connect(Thing, Badge)
        self.stock(db, Thing, [{"text": w, "long_text": w, "other": w} for w in words])
        for column in ("text", "long_text", "other"):
            assert [getattr(t, column) for t in db.query(Thing).order_by(column).all()] == sorted(words)
            assert [getattr(t, column) for t in db.query(Thing).order_by(f"-{column}").all()] == sorted(
                words, reverse=True
            )
        self.stock(db, Badge, [{"code": w} for w in words if w])
        assert [b.code for b in db.query(Badge).limit(99).all()] == sorted(w for w in words if w)

    def test_an_enum_is_ordered_by_name(self, connect: Connect) -> None:
        db = connect(Thing)
        self.stock(
            db,
            Thing,
            [{"colour": c, "letter": n} for c, n in zip([*Colour, None], ["S", "M", "L", None], strict=True)],
        )
        assert [t.colour for t in db.query(Thing).order_by("colour").all()] == [
            None,
            Colour.AMBER,
            Colour.GREEN,
            Colour.RED,
        ]
        assert [t.letter for t in db.query(Thing).order_by("-letter").all()] == ["S", "M", "L", None]

    def test_false_comes_before_true(self, connect: Connect) -> None:
        db = connect(Thing)
        self.stock(db, Thing, [{"flag": f} for f in (True, None, False)])
        assert [t.flag for t in db.query(Thing).order_by("flag").all()] == [None, False, True]

    def test_names_from_a_request_are_limited_by_allow(self, alarmed: Connect) -> None:
        query = alarmed(Star).query(Star)
        assert query.order_by("-mag", "name", allow=["mag", "name"]) is not query
        assert query.order_by("-mag", allow=[Star.mag]) is not query
        for name in ("id", "-id", "mag desc", "--mag", "", "-", "name; DROP TABLE kit_star", "password"):
            with pytest.raises(InvalidValueError):
                query.order_by(name, allow=["mag", "name"])
        for name in ("nope", "mag desc", "--mag", "", "-", "+mag"):
            with pytest.raises(InvalidValueError):
                query.order_by(name)

    def test_what_has_no_order_is_refused(self, alarmed: Connect) -> None:
        with pytest.raises(UnsupportedFilterError, match="JSON"):
            alarmed(Thing).query(Thing).order_by("extra")
        with pytest.raises(UnsupportedFilterError):
            alarmed(Thing, Author).query(Thing).order_by(Author.name)
        with pytest.raises((UnsupportedFilterError, InvalidValueError)):
            alarmed(Author).query(Author).order_by("books")
