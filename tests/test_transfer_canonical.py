"""A checksum is the same for the same values, whatever objects hold them, and another for any other value."""

from __future__ import annotations

import datetime as dt
import enum
import math
import sys
import uuid
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db_plugins.models import describe
from db_plugins.transfer.canonical import SUMS, make_canonical, row_sum


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    RED = "r"


class Shout(sa.TypeDecorator[str]):
    """Stores nothing for an empty text."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return value.upper() if value else None


class Thing(Base):
    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[Decimal | None]
    weight: Mapped[float | None]
    colour: Mapped[Colour | None]
    made: Mapped[dt.datetime | None] = mapped_column(sa.DateTime(timezone=True))
    day: Mapped[dt.date | None]
    at: Mapped[dt.time | None]
    code: Mapped[uuid.UUID | None]
    raw: Mapped[bytes | None]
    notes: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON)
    loud: Mapped[str | None] = mapped_column(Shout)


FIELDS = describe(Thing).fields
NAMES = [f.name for f in FIELDS]
MADE = dt.datetime(2024, 5, 1, 12, 30, 0, 123456, tzinfo=dt.UTC)


def checksum(*, microseconds: bool = True, **values: Any) -> int:
    row = tuple([{"id": 1, **values}.get(name) for name in NAMES])
    return row_sum(make_canonical(FIELDS, microseconds=microseconds)([row]))


@pytest.mark.parametrize(
    ("name", "one", "same"),
    [
        ("price", Decimal("1.50"), Decimal("1.5")),
        ("price", Decimal("-0.0"), Decimal(0)),
        ("weight", -0.0, 0.0),
        ("weight", math.nan, -math.nan),
        ("weight", 2, 2.0),
        ("colour", Colour.RED, "RED"),
        ("raw", b"\x00\xff", memoryview(b"\x00\xff")),
        ("notes", {"a": 1, "b": None}, {"b": None, "a": 1}),
        ("loud", "", None),
        ("loud", "aha", "AHA"),
    ],
)
def test_what_engines_tell_in_two_ways_is_one(name: str, one: Any, same: Any) -> None:
    assert checksum(**{name: one}) == checksum(**{name: same})


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("price", Decimal("1.50"), Decimal("1.51")),
        ("price", Decimal(0), None),
        ("weight", 0.1, math.nextafter(0.1, 1)),
        ("weight", math.inf, -math.inf),
        ("made", MADE, MADE + dt.timedelta(microseconds=1)),
        ("made", MADE, MADE.replace(tzinfo=None)),
        ("day", dt.date(2024, 5, 1), dt.date(2024, 5, 2)),
        ("at", dt.time(1, 2, 3), dt.time(1, 2, 3, 1)),
        ("code", uuid.UUID(int=1), uuid.UUID(int=2)),
        ("raw", b"", None),
        ("notes", {"a": 1}, {"a": True}),
        ("notes", {"a": 1}, {"a": 1.0}),
        ("notes", {"a": "1"}, {"a": 1}),
        ("loud", "a", "b"),
    ],
)
def test_another_value_is_another_sum(name: str, one: Any, other: Any) -> None:
    assert checksum(**{name: one}) != checksum(**{name: other})


def test_moments_are_cut_to_milliseconds_only_if_asked() -> None:
    cut = MADE.replace(microsecond=123000)
    assert checksum(made=MADE) != checksum(made=cut)
    assert checksum(made=MADE, microseconds=False) == checksum(made=cut, microseconds=False)
    later = MADE.replace(microsecond=124000)
    assert checksum(made=MADE, microseconds=False) != checksum(made=later, microseconds=False)


ROWS = [(n, f"text {n}", n / 7, None, n % 2 == 0, b"\x00" * n) for n in range(50)]


def test_neither_order_nor_batches_matter() -> None:
    whole = row_sum(ROWS)
    assert row_sum(ROWS[::-1]) == whole
    assert (row_sum(ROWS[:13]) + row_sum(ROWS[13:])) % SUMS == whole


def test_a_row_twice_is_not_no_row() -> None:
    assert row_sum([*ROWS, ROWS[0], ROWS[0]]) != row_sum(ROWS)


def test_whose_objects_the_values_are_does_not_matter() -> None:
    text, apart = (str(n) + " text" for n in (7, 7))
    assert text is not apart
    assert row_sum([(text, text, b"x" * 3)]) == row_sum([(text, apart, b"xxx")])
    assert row_sum([(sys.intern(apart),)]) == row_sum([(text,)])


@pytest.mark.parametrize(("one", "other"), [(1, True), (1, 1.0), (1, "1"), ("", None), (b"a", "a")])
def test_values_of_two_types_differ(one: object, other: object) -> None:
    assert row_sum([(one,)]) != row_sum([(other,)])


def test_where_a_value_ends_is_known() -> None:
    assert row_sum([("a", "bc")]) != row_sum([("ab", "c")])


def test_texts_that_no_utf8_holds_are_summed_up() -> None:
    assert row_sum([("\ud800",)]) != row_sum([("\ud801",)])


def test_a_drivers_own_kind_of_text_is_summed_up() -> None:
    class Text(str):
        __slots__ = ()

    assert row_sum([(Text("a"),)]) != row_sum([(Text("b"),)])
