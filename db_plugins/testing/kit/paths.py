"""Paths into JSON columns: a value of another type is NULL, on every engine."""

from __future__ import annotations

from typing import Any

import pytest

from db_plugins import Database, and_, not_, or_
from db_plugins.errors import InvalidValueError, UnsupportedFilterError

from .harness import Connect, Harness, subject
from .models import Thing

__all__ = ["Paths"]

#: What stands at the key ``v``, one in each row; the last rows have no such key, or no document.
INSIDE: list[Any] = [
    *("", "a", "A", "é", "\U0001f600", "5", "true", "null", 'q"uote', "back\\slash", "new\nline"),
    *(0, 1, -1, 5, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)),
    *(0.5, 1.5, -2.25, 5.0, 1e20, 1e-7),
    *(True, False, None),
    *([], [5], ["a"], {}, {"v": "a"}, {"v": 5}),
]
DOCUMENTS: list[Any] = [{"v": value} for value in INSIDE]
DOCUMENTS += [{}, {"w": 1}, [], [1, "a", [2.5, True], {"v": "in list"}], "a", 5, True, None]
DEEP: Any = {"a.b": {"$c": [{"": "empty"}, {"x y": 7}]}, "0": "text key", "é": 1, "it's": 2}


def of(kind: str, value: Any) -> Any:
    """The value as ``as_<kind>()`` gives it."""
    types: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "integer": (int,),
        "float": (int, float),
        "boolean": (bool,),
    }
    return value if type(value) in types[kind] else None


def stocked(kit: Harness, connect: Connect, *documents: Any) -> Database:
    db = connect(Thing)
    kit.stock(db, Thing, [{"id": n, "extra": d} for n, d in enumerate([*DOCUMENTS, *documents])])
    return db


def found(db: Database, expression: Any) -> list[int]:
    return [thing.id for thing in db.query(Thing).filter(expression).order_by("id").all()]


def expected(kind: str, test: Any) -> list[int]:
    values = [of(kind, d.get("v")) if isinstance(d, dict) else None for d in DOCUMENTS]
    return [n for n, value in enumerate(values) if value is not None and test(value)]


@subject("json paths")
class Paths(Harness):
    """API §5: ``M.meta["band"].as_string()``."""

    def test_strings(self, connect: Connect) -> None:
        db, path = stocked(self, connect), Thing.extra["v"].as_string()
        for value in [v for v in INSIDE if isinstance(v, str)]:
            assert found(db, path == value) == expected("string", lambda v, x=value: v == x), value
            assert found(db, path != value) == expected("string", lambda v, x=value: v != x), value
            assert found(db, path > value) == expected("string", lambda v, x=value: v > x), value
        assert found(db, path.in_(["a", "5"])) == expected("string", lambda v: v in ("a", "5"))
        assert found(db, path.not_in(["a", "5"])) == expected("string", lambda v: v not in ("a", "5"))
        assert found(db, path.like("%u%")) == expected("string", lambda v: "u" in v)
        assert found(db, ~path.like("%u%")) == expected("string", lambda v: "u" not in v)
        assert found(db, path.ilike("a")) == expected("string", lambda v: v in "aA" and v)

    def test_integers_are_those_without_a_fraction(self, connect: Connect) -> None:
        db, path = stocked(self, connect), Thing.extra["v"].as_integer()
        for value in (0, 5, 2**53 + 1, 2**63 - 1, -(2**63)):
            assert found(db, path == value) == expected("integer", lambda v, x=value: v == x), value
            assert found(db, path < value) == expected("integer", lambda v, x=value: v < x), value
        assert found(db, path.between(0, 5)) == expected("integer", lambda v: 0 <= v <= 5)
        assert found(db, path.in_([1, 5])) == expected("integer", lambda v: v in (1, 5))

    def test_floats_are_all_numbers(self, connect: Connect) -> None:
        db, path = stocked(self, connect), Thing.extra["v"].as_float()
        for value in (0.5, 5, 1e20, 1e-7, -2.25):
            assert found(db, path == value) == expected("float", lambda v, x=value: v == x), value
            assert found(db, path >= value) == expected("float", lambda v, x=value: float(v) >= x), value

    def test_booleans(self, connect: Connect) -> None:
        db, path = stocked(self, connect), Thing.extra["v"].as_boolean()
        true, false = expected("boolean", lambda v: v), expected("boolean", lambda v: not v)
        assert found(db, path) == found(db, path == True) == found(db, path.is_(True)) == true  # noqa: E712
        assert found(db, not_(path)) == found(db, path == False) == false  # noqa: E712
        assert found(db, path.is_not(True)) == [n for n in range(len(DOCUMENTS)) if n not in true]

    def test_a_value_of_another_type_is_null(self, connect: Connect) -> None:
        db = stocked(self, connect)
        for kind in ("string", "integer", "float", "boolean"):
            path = getattr(Thing.extra["v"], f"as_{kind}")()
            there = expected(kind, lambda _v: True)
            assert found(db, path.is_not(None)) == there, kind
            assert found(db, path.is_(None)) == [n for n in range(len(DOCUMENTS)) if n not in there], kind

    def test_keys_and_indexes_from_the_outside_in(self, connect: Connect) -> None:
        db, deep = stocked(self, connect, DEEP), len(DOCUMENTS)
        listed = next(n for n, d in enumerate(DOCUMENTS) if isinstance(d, list) and d)
        extra = Thing.extra
        for expression, where in (
            (extra["a.b"]["$c"][1]["x y"].as_integer() == 7, deep),
            (extra[("a.b", "$c", 0, "")].as_string() == "empty", deep),
            (extra["0"].as_string() == "text key", deep),
            (extra["é"].as_integer() == 1, deep),
            (extra["it's"].as_integer() == 2, deep),
            (extra[1].as_string() == "a", listed),
            (extra[2][0].as_float() == 2.5, listed),
            (extra[(2, 1)].as_boolean(), listed),
            (extra[3]["v"].as_string() == "in list", listed),
        ):
            assert found(db, expression) == [where], expression
        for nowhere in (
            extra[9],
            extra["1"],
            extra[0]["v"],
            extra["a"]["b"],
            extra["a.b"]["$c"]["0"],
            extra["a.b"][0],
        ):
            assert found(db, nowhere.as_string().is_not(None)) == [], nowhere

    def test_paths_join_with_columns_and_arithmetic(self, connect: Connect) -> None:
        db = connect(Thing)
        rows = [{"id": n, "number": n, "extra": {"n": 4 - n, "f": n / 2}} for n in range(1, 4)]
        self.stock(db, Thing, rows)
        n, f = Thing.extra["n"].as_integer(), Thing.extra["f"].as_float()
        assert found(db, n == Thing.number) == [2]
        assert found(db, n + Thing.number == 4) == [1, 2, 3]
        assert found(db, f * 2 > 3) == [] or found(db, f * 2 > 2) == [3]
        assert found(db, and_(n > 1, or_(f < 1, not_(f < 1)))) == [1, 2]

    def test_a_document_is_null_if_there_is_none_and_not_for_what_it_holds(self, connect: Connect) -> None:
        db = connect(Thing)
        documents: list[Any] = [None, [None], {"v": None}, [[None]], [], {}, [None, 1], 0, ""]
        self.stock(db, Thing, [{"id": n, "extra": d} for n, d in enumerate(documents)])
        assert found(db, Thing.extra.is_(None)) == found(db, Thing.extra == None) == [0]  # noqa: E711
        assert found(db, Thing.extra.is_not(None)) == found(db, not_(Thing.extra.is_(None))) == [*range(1, 9)]

    def test_what_is_no_path_or_no_value_is_refused(self, alarmed: Connect) -> None:
        db = alarmed(Thing)
        for expression in (
            Thing.extra["v"] == "a",
            Thing.extra["v"].as_json() == {},
            Thing.extra['q"'].as_string() == "a",
            Thing.extra["back\\"].as_string() == "a",
            Thing.extra["v"].as_integer(),
            Thing.extra["v"].as_boolean() > Thing.extra["w"].as_boolean(),
        ):
            with pytest.raises(UnsupportedFilterError, match=r"Thing|kit_thing"):
                db.query(Thing).filter(expression)
        for expression in (
            Thing.extra["v"].as_integer() == "5",
            Thing.extra["v"].as_string() == 5,
            Thing.extra["v"].as_integer() == True,  # noqa: E712
            Thing.extra["v"].as_integer() == 2**63,
            Thing.extra[-1].as_string() == "a",
        ):
            with pytest.raises(InvalidValueError, match=r"Thing\.extra"):
                db.query(Thing).filter(expression)
