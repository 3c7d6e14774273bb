"""Rows and values that tests share: boundaries of every kind of column, and what each kind refuses."""

# ruff: noqa: DTZ001 - naive datetimes are among the values
from __future__ import annotations

import datetime as dt
import enum
import math
import uuid
from decimal import Decimal
from typing import Any

from .models import Colour

__all__ = ["BOUNDARIES", "REFUSED", "STARS", "zone"]

#: Seven stars: two magnitudes are NULL, two are equal, one band is NULL.
STARS: list[dict[str, Any]] = [
    {"name": "Vega", "mag": 0.03, "band": "V"},
    {"name": "Sirius", "mag": -1.46, "band": "V"},
    {"name": "Deneb", "mag": 1.25, "band": "B"},
    {"name": "Altair", "mag": 0.76, "band": None},
    {"name": "Nova", "mag": None, "band": "V"},
    {"name": "Rigel", "mag": 0.03, "band": "B"},
    {"name": "Ghost", "mag": None, "band": "B"},
]


def zone(hours: float) -> dt.timezone:
    """A fixed offset."""
    return dt.timezone(dt.timedelta(hours=hours))


_MADRID_GAP = dt.datetime(2026, 3, 29, 2, 30)
_UTC = dt.UTC
_LONG = "\U00010400" * 200

#: What must come back as it went in. Pairs that some databases take for equal stand side by side.
BOUNDARIES: dict[str, list[Any]] = {
    "text": [
        "", " ", "  ", "a", "a ", "A", "b", "é", "e\u0301", "É", "ß", "ss", "z", "\uffff", "\U00010400", "\U00010428", "%", "_", "\\",
        "'", '"', "'; DROP TABLE kit_thing;--", "$ne", "a.b", "\n", "\t", "\x01", "null", "0", _LONG,
    ],
    "long_text": ["", "x" * 100_000, "\U0001f600" * 1000],
    "small": [0, 1, -1, 2**15 - 1, -(2**15)],
    "number": [0, 1, -1, 2**31 - 1, -(2**31)],
    "big": [0, 2**31, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)],
    "size": [0.0, 1.0, -1.5, 0.1, 1e300, -1e300, 1e-300, 5e-324, 1.7976931348623157e308, 2.0**53, 1 / 3],
    "price": [Decimal(d) for d in ("0", "0.001", "-0.001", "0.1", "1.10", "123456789.125", "999999999.999", "-999999999.999")],
    "flag": [True, False],
    "colour": list(Colour),
    "letter": ["S", "M", "L"],
    "at": [
        dt.datetime(1, 1, 1, tzinfo=_UTC),
        dt.datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=_UTC),
        dt.datetime(1970, 1, 1, tzinfo=_UTC),
        dt.datetime(2026, 3, 29, 2, 30, tzinfo=_UTC),
        dt.datetime(2026, 10, 25, 2, 30, tzinfo=zone(1)),
        dt.datetime(2026, 11, 21, 12, 0, 0, 1000, tzinfo=zone(14)),
        dt.datetime(2026, 11, 21, 12, 0, tzinfo=zone(-9.5)),
        dt.datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=_UTC),
    ],
    "local": [dt.datetime(1, 1, 1), _MADRID_GAP, dt.datetime(1900, 1, 1, 0, 0, 0, 1000), dt.datetime(9999, 12, 31, 23, 59, 59, 999000)],
    "day": [dt.date(1, 1, 1), dt.date(1582, 10, 10), dt.date(1969, 12, 31), dt.date(2024, 2, 29), dt.date(9999, 12, 31)],
    "hour": [dt.time(0), dt.time(0, 0, 0, 1000), dt.time(12, 30), dt.time(23, 59, 59, 999000)],
    "token": [uuid.UUID(int=n) for n in (0, 1, 2**64, 2**127, 2**128 - 1)],
    "raw": [b"", b"\x00", b"a", b"\xff\xfe", b"'", bytes(range(256)), b"\x00" * 70_000],
    "extra": [
        {}, [], "", "text", 0, 1, -1.5, 2**53 + 1, True, False, [None], {"a": None}, {"a.b": 1}, {"$x": 1}, {"$gt": ""},
        {"$date": 0}, {"": 1}, {"a": {"b": [1, {"c.d": "$e"}]}}, [[], [[]]], {"é\U0001f600": "é"}, {"_id": 7}, {"b": 1, "a": 2},
    ],
}  # fmt: skip


class _Text(str):
    __slots__ = ()


class Other(enum.Enum):
    """Not the Enum of any column."""

    RED = "1"


_DEEP: Any = 1
for _ in range(120):
    _DEEP = [_DEEP]

#: What no engine may take, neither in a write nor in a filter.
REFUSED: dict[str, list[Any]] = {
    "text": [1, 1.5, True, b"a", ["a"], {"$ne": ""}, {"$gt": ""}, Colour.RED, "a\x00b", "\ud800", "x" * 201, object()],
    "small": ["1", 1.0, True, Decimal(1), {"$gt": 0}, [1], 2**63, -(2**63) - 1],
    "number": ["1", 1.5, False, {"$ne": None}, 2**63],
    "big": ["1", 1.0, True, 2**63, -(2**63) - 1],
    "size": ["1", True, Decimal("1.5"), [1.0], 10**400],
    "price": [1.5, "1", True, Decimal("NaN"), Decimal("Infinity"), Decimal("0.0001"), Decimal("1E+10"), Decimal("1234567890.1")],
    "flag": [0, 1, "true", "false", {"$ne": True}],
    "colour": ["BLACK", "1", 1, Other.RED, {"$ne": "RED"}],
    "letter": ["XL", "s", 1, Colour.RED],
    "at": [dt.datetime(2026, 1, 1), "2026-01-01", dt.date(2026, 1, 1), 0, dt.datetime.max.replace(tzinfo=zone(-1))],
    "local": [dt.datetime(2026, 1, 1, tzinfo=_UTC), "2026-01-01", dt.date(2026, 1, 1), 0],
    "day": [dt.datetime(2026, 1, 1), "2024-06-21", 20240621],
    "hour": [dt.time(1, tzinfo=_UTC), "01:00", dt.datetime(2026, 1, 1), 3600],
    "token": ["00000000-0000-0000-0000-000000000000", 0, b"\x00" * 16],
    "raw": ["a", 1, [1, 2]],
}  # fmt: skip
#: Of JSON only in writes: a filter compares its paths.
REFUSED_JSON: list[Any] = [
    {1: 2},
    {1, 2},
    b"a",
    object(),
    math.nan,
    math.inf,
    2**63,
    {"a": "\x00"},
    {"\x00": 1},
    _DEEP,
    dt.date(2026, 1, 1),
]
