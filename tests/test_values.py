"""Which value fits which column: the table of the contract, with its boundaries, in writes and in filters."""

from __future__ import annotations

import datetime as dt
import enum
import math
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from shop import Colour, Item

from db_plugins.errors import InvalidValueError
from db_plugins.models import Limits, describe, make_checker

F = describe(Item).by_name
UTC = dt.UTC
PLUS_14 = dt.timezone(dt.timedelta(hours=14))
AWARE = dt.datetime(2020, 3, 1, 12, 30, 1, 123456, tzinfo=UTC)


class Word(str, enum.Enum):  # noqa: UP042 - the old spelling is what users have
    A = "a"


FITS: list[tuple[str, Any, Any]] = [
    ("count", 0, 0),
    ("count", 2**31 - 1, 2**31 - 1),
    ("count", -(2**31), -(2**31)),
    ("small", 2**15 - 1, 2**15 - 1),
    ("big", 2**63 - 1, 2**63 - 1),
    ("big", -(2**63), -(2**63)),
    ("big", 2**53 + 1, 2**53 + 1),
    ("count", np.int64(5), 5),
    ("weight", 1, 1.0),
    ("weight", -0.0, 0.0),
    ("weight", 5e-324, 5e-324),
    ("weight", math.inf, math.inf),
    ("weight", math.nan, None),
    ("weight", np.float32(0.5), 0.5),
    ("price", 5, Decimal(5)),
    ("price", Decimal("0.1"), Decimal("0.1")),
    ("price", Decimal("-0"), Decimal(0)),
    ("price", Decimal("999999.99"), Decimal("999999.99")),
    ("price", Decimal("1E+5"), Decimal(100000)),
    ("price", Decimal("1.500000000000"), Decimal("1.5")),
    ("title", "", ""),
    ("title", " ", " "),
    ("title", "e\u0301", "e\u0301"),
    ("title", "\U00010400" * 40, "\U00010400" * 40),
    ("sold", True, True),
    ("sold", np.bool_(False), False),
    ("colour", Colour.RED, Colour.RED),
    ("colour", "RED", Colour.RED),
    ("size", "S", "S"),
    ("made", AWARE, AWARE),
    ("made", AWARE.astimezone(PLUS_14), AWARE),
    ("local", dt.datetime(1, 1, 1), dt.datetime(1, 1, 1)),
    ("local", dt.datetime.max, dt.datetime.max),
    ("day", dt.date.min, dt.date.min),
    ("hour", dt.time(23, 59, 59, 999999), dt.time(23, 59, 59, 999999)),
    ("tag", uuid.UUID(int=0), uuid.UUID(int=0)),
    ("photo", b"", b""),
    ("photo", bytearray(b"a"), b"a"),
    ("extra", {"a.b": 1, "$x": [None, True, 1.5]}, {"a.b": 1, "$x": [None, True, 1.5]}),
    ("extra", [], []),
    ("extra", (1, 2), [1, 2]),
    ("extra", {}, {}),
    ("extra", 2**63 - 1, 2**63 - 1),
]

REFUSED: list[tuple[str, Any]] = [
    ("count", True),
    ("count", "1"),
    ("count", 1.0),
    ("count", 2**31),
    ("small", 2**15),
    ("big", 2**63),
    ("count", Decimal(1)),
    ("weight", "1"),
    ("weight", True),
    ("weight", Decimal(1)),
    ("weight", 10**400),
    ("price", 1.5),
    ("price", True),
    ("price", Decimal("0.001")),
    ("price", Decimal(1000000)),
    ("price", Decimal("NaN")),
    ("price", Decimal("Infinity")),
    ("title", 1),
    ("title", b"a"),
    ("title", "x" * 41),
    ("title", "a\x00"),
    ("title", "\ud800"),
    ("title", Word.A),
    ("title", {"$ne": None}),
    ("sold", 1),
    ("sold", "true"),
    ("colour", "BLUE"),
    ("colour", "r"),
    ("colour", Word.A),
    ("size", "L"),
    ("made", dt.datetime(2020, 1, 1)),
    ("made", "2020-01-01"),
    ("made", dt.date(2020, 1, 1)),
    ("made", dt.datetime(1, 1, 1, tzinfo=PLUS_14)),
    ("local", AWARE),
    ("day", "2024-06-21"),
    ("day", dt.datetime(2020, 1, 1)),
    ("hour", dt.time(1, tzinfo=UTC)),
    ("tag", str(uuid.UUID(int=1))),
    ("photo", "a"),
    ("extra", {1: 2}),
    ("extra", {"a": math.nan}),
    ("extra", {"a": 2**63}),
    ("extra", {"a": {1, 2}}),
    ("extra", {"a\x00": 1}),
    ("extra", object()),
    ("extra", AWARE),
    ("made", np.datetime64("2020-01-01")),
]


@pytest.mark.parametrize(("name", "given", "stored"), FITS)
def test_a_value_that_fits_comes_back_as_it_is_stored(name: str, given: Any, stored: Any) -> None:
    result = make_checker(F[name], Limits())(given)
    assert result == stored
    assert type(result) is type(stored)


@pytest.mark.parametrize(("name", "given"), REFUSED)
def test_a_value_that_does_not_fit_is_refused_by_name_and_type_and_never_shown(name: str, given: Any) -> None:
    for in_filter in (False, True):
        if in_filter and name in ("count", "small") and type(given) is int:
            continue  # any 64-bit integer may be compared
        with pytest.raises(InvalidValueError) as caught:
            make_checker(F[name], Limits(), in_filter=in_filter)(given)
        assert f"Item.{name}" in str(caught.value)
        assert caught.value.__cause__ is None


def test_none_passes_everywhere_because_nullability_is_asked_elsewhere() -> None:
    for field in F.values():
        assert make_checker(field, Limits())(None) is None


def test_any_64_bit_integer_may_be_compared_with_a_smaller_column() -> None:
    assert make_checker(F["small"], Limits(), in_filter=True)(2**63 - 1) == 2**63 - 1


def test_microseconds_are_cut_where_the_engine_has_none_and_only_there() -> None:
    coarse = Limits(microseconds=False)
    assert make_checker(F["made"], coarse)(AWARE).microsecond == 123000
    assert make_checker(F["hour"], coarse)(dt.time(1, 2, 3, 999999)).microsecond == 999000
    assert make_checker(F["made"], Limits())(AWARE).microsecond == 123456


def test_infinity_is_refused_where_the_engine_has_none() -> None:
    with pytest.raises(InvalidValueError, match="INFINITY"):
        make_checker(F["weight"], Limits(infinity=False))(math.inf)


def test_digits_beyond_what_the_engine_is_exact_for_are_refused() -> None:
    exact = make_checker(F["price"], Limits(decimal_digits=5))
    assert exact(Decimal("123.45")) == Decimal("123.45")
    with pytest.raises(InvalidValueError, match="exact for 5 digits"):
        exact(Decimal("1234.56"))


def test_json_is_copied_so_that_it_cannot_change_behind_the_callers_back() -> None:
    document = {"a": [1]}
    stored = make_checker(F["extra"], Limits())(document)
    document["a"].append(2)
    assert stored == {"a": [1]}


def test_json_nested_too_deeply_is_refused_and_not_a_recursion_error() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidValueError, match="nested"):
        make_checker(F["extra"], Limits())(deep)


def test_a_value_never_shows_in_its_refusal() -> None:
    for name, secret in (
        ("count", "s3cr3t"),
        ("title", "s3cr3t" + "\x00"),
        ("colour", "s3cr3t"),
        ("day", "s3cr3t"),
    ):
        with pytest.raises(InvalidValueError) as caught:
            make_checker(F[name], Limits())(secret)
        assert "s3cr3t" not in str(caught.value)
