"""The LIKE family means the same on every engine: case, wildcards, escapes, NULL."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest

from db_plugins import Capability, Database, not_
from db_plugins.errors import InvalidValueError, UnsupportedFilterError

from .harness import Connect, Harness, refuses, requires, subject
from .models import Star, Thing

__all__ = ["Likes"]

#: Texts with everything that a pattern language could trip over.
TEXTS = [
    *(
        "",
        " ",
        "a",
        "A",
        "ab",
        "aB",
        "AB",
        "ba",
        "a ",
        " a",
        "a%b",
        "a_b",
        "a/b",
        "a\\b",
        "50%",
        "%",
        "_",
        "\\",
    ),
    *("é", "É", "e\u0301", "ß", "\U00010400x", "x\U00010428", "日本", "a\nb", "a\r\nb", "\n"),
    *(".*", "[ab]", "(a)", "^a$", "a|b", "{1}", "a+", "?", "#a", "-", "&", "~", "'", '"', "$a", "\\A"),
]
PIECES = ["a", "b", "A", "%", "_", "%", "_", "/", "\\", "é", "\n", ".", "*", "[", "50", " ", "\U00010400"]


def matches(text: str, pattern: str, escape: str | None = None) -> bool:
    """LIKE by its definition, one character at a time."""

    @cache
    def at(t: int, p: int) -> bool:
        if p == len(pattern):
            return t == len(text)
        if escape is not None and pattern[p] == escape:
            return t < len(text) and text[t] == pattern[p + 1] and at(t + 1, p + 2)
        if pattern[p] == "%":
            return at(t, p + 1) or (t < len(text) and at(t + 1, p))
        return t < len(text) and pattern[p] in ("_", text[t]) and at(t + 1, p + 1)

    return at(0, 0)


def lowered(text: str) -> str:
    """A to Z in lower case, and nothing else changed."""
    return "".join(c.lower() if c.isascii() else c for c in text)


def patterns(count: int) -> list[str]:
    rng = random.Random(7)
    return ["".join(rng.choices(PIECES, k=rng.randint(0, 4))) for _ in range(count)]


def found(db: Database, expression: Any) -> list[str | None]:
    return [t.text for t in db.query(Thing).filter(expression).order_by("id").all()]


def stocked(kit: Harness, connect: Connect) -> Database:
    db = connect(Thing)
    kit.stock(db, Thing, [{"id": n, "text": t} for n, t in enumerate([*TEXTS, None], 1)])
    return db


@subject("like")
class Likes(Harness):
    """API §5, text."""

    def test_like_heeds_case_and_matches_as_defined(self, connect: Connect) -> None:
        db = stocked(self, connect)
        for pattern in patterns(60):
            expected = [t for t in TEXTS if matches(t, pattern)]
            assert found(db, Thing.text.like(pattern)) == expected, pattern

    def test_not_like_leaves_null_out(self, connect: Connect) -> None:
        db = stocked(self, connect)
        for pattern in patterns(20):
            expected = [t for t in TEXTS if not matches(t, pattern)]
            assert found(db, Thing.text.not_like(pattern)) == expected, pattern
            assert found(db, not_(Thing.text.like(pattern))) == expected, pattern

    def test_the_escape_character_is_the_given_one_and_without_it_nothing_escapes(
        self, connect: Connect
    ) -> None:
        db = stocked(self, connect)
        for pattern, escape in (
            ("%/%%", "/"),
            ("%\\_%", "\\"),
            ("a!%b", "!"),
            ("%//%", "/"),
            ("a%%", "%"),
            ("__a", "_"),
        ):
            expected = [t for t in TEXTS if matches(t, pattern, escape)]
            assert found(db, Thing.text.like(pattern, escape=escape)) == expected, (pattern, escape)
        assert found(db, Thing.text.like("a\\b")) == ["a\\b"]
        assert found(db, Thing.text.like("%\\%")) == [t for t in TEXTS if "\\" in t]

    def test_ilike_ignores_the_case_of_ascii(self, connect: Connect) -> None:
        db = stocked(self, connect)
        plain = [t for t in TEXTS if t.isascii()]
        for pattern in [p for p in patterns(60) if p.isascii()]:
            expected = [t for t in plain if matches(lowered(t), lowered(pattern))]
            seen = found(db, Thing.text.ilike(pattern))
            assert [t for t in seen if t and t.isascii()] == [t for t in expected if t], pattern
            others = [t for t in plain if t not in expected]
            assert [
                t for t in found(db, Thing.text.not_ilike(pattern)) if t is not None and t.isascii()
            ] == others, pattern

    @requires(Capability.UNICODE_CASE)
    def test_ilike_ignores_the_case_of_other_letters_where_claimed(self, connect: Connect) -> None:
        db = stocked(self, connect)
        assert found(db, Thing.text.ilike("é")) == ["é", "É"]
        assert found(db, Thing.text.icontains("\U00010428")) == ["\U00010400x", "x\U00010428"]

    @refuses(Capability.UNICODE_CASE)
    def test_ilike_heeds_the_case_of_other_letters_where_not_claimed(self, connect: Connect) -> None:
        db = stocked(self, connect)
        assert found(db, Thing.text.ilike("é")) == ["é"]
        assert found(db, Thing.text.icontains("\U00010428X")) == []
        assert found(db, Thing.text.icontains("\U00010428")) == ["x\U00010428"]

    def test_startswith_endswith_contains(self, connect: Connect) -> None:
        db = stocked(self, connect)
        assert found(db, Thing.text.startswith("a")) == [t for t in TEXTS if t.startswith("a")]
        assert found(db, Thing.text.endswith("b")) == [t for t in TEXTS if t.endswith("b")]
        assert found(db, Thing.text.contains("\n")) == [t for t in TEXTS if "\n" in t]
        assert found(db, Thing.text.istartswith("A")) == [t for t in TEXTS if t[:1] in ("a", "A")]
        assert found(db, Thing.text.iendswith("B")) == [t for t in TEXTS if t[-1:] in ("b", "B")]
        assert found(db, Thing.text.icontains("AB")) == ["ab", "aB", "AB", "[ab]"]
        assert found(db, ~Thing.text.contains("a")) == [t for t in TEXTS if "a" not in t]

    def test_wildcards_live_unless_autoescape(self, connect: Connect) -> None:
        db = stocked(self, connect)
        assert found(db, Thing.text.contains("%")) == TEXTS
        assert found(db, Thing.text.contains("%", autoescape=True)) == ["a%b", "50%", "%"]
        assert found(db, Thing.text.startswith("a_", autoescape=True)) == ["a_b"]
        assert found(db, Thing.text.contains("/", autoescape=True)) == ["a/b"]
        assert found(db, Thing.text.endswith("%", escape="!")) == TEXTS

    def test_patterns_that_cannot_be_are_refused(self, alarmed: Connect) -> None:
        query = alarmed(Thing).query(Thing)
        bad: list[tuple[Any, str | None]] = [
            ("a/", "/"),
            ("a", "//"),
            ("a\x00", None),
            ("\ud800", None),
            (5, None),
        ]
        for pattern, escape in [*bad, ({"$regex": ".*"}, None)]:
            with pytest.raises(InvalidValueError, match=r"Thing\.text"):
                query.filter(Thing.text.like(pattern, escape=escape))

    @pytest.mark.filterwarnings(
        "ignore::sqlalchemy.exc.SADeprecationWarning"
    )  # its own word on like of numbers
    def test_only_text_columns_are_matched_with_values(self, alarmed: Connect) -> None:
        db = alarmed(Thing)
        for expression in (
            Thing.number.like("1%"),
            Thing.colour.like("R%"),
            Thing.text.like(Thing.other),
            Thing.text.regexp_match("a.*"),
        ):
            with pytest.raises(UnsupportedFilterError, match=db.engine):
                db.query(Thing).filter(expression)

    def test_a_pattern_may_be_longer_than_the_column(self, connect: Connect) -> None:
        db = connect(Star)
        self.stock(db, Star, [{"id": 1, "name": "Vega"}])
        assert db.query(Star).filter(Star.name.like("%" * 60 + "Vega")).count() == 1
