"""The model that generated cases are about: a column of every kind, and the boundary values of each.

The source of a case's script is cut from this file: one line for each column. Columns to calculate with hold few digits
and binary fractions, so that sums, products and quotients are exact, and mean the same everywhere; the others hold the
boundaries of their type.
"""

# ruff: noqa: DTZ001 - naive datetimes are among the values
from __future__ import annotations

import datetime as dt
import enum
import inspect
import math
import uuid
from collections.abc import Collection
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["BOUNDARIES", "CALCULABLE", "Base", "Colour", "Sample", "source_of_model"]


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    RED = "1"
    AMBER = "3"
    GREEN = "2"


class Sample(Base):
    __tablename__ = "fuzz_sample"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str | None] = mapped_column("txt", sa.String(200))
    other: Mapped[str | None] = mapped_column(sa.String(200))
    word: Mapped[str | None] = mapped_column(sa.String(40))
    part: Mapped[int | None] = mapped_column(sa.SmallInteger)
    number: Mapped[int | None]
    ratio: Mapped[float | None]
    price: Mapped[Decimal | None] = mapped_column(sa.Numeric(12, 3))
    tiny: Mapped[int | None] = mapped_column(sa.SmallInteger)
    whole: Mapped[int | None]
    big: Mapped[int | None] = mapped_column(sa.BigInteger)
    size: Mapped[float | None]
    amount: Mapped[Decimal | None] = mapped_column(sa.Numeric(12, 3))
    flag: Mapped[bool | None]
    colour: Mapped[Colour | None] = mapped_column(sa.Enum(Colour))
    letter: Mapped[str | None] = mapped_column(sa.Enum("S", "M", "L", name="fuzz_letter"))
    at: Mapped[dt.datetime | None] = mapped_column(sa.DateTime(timezone=True))
    local: Mapped[dt.datetime | None] = mapped_column(sa.DateTime())
    day: Mapped[dt.date | None]
    hour: Mapped[dt.time | None]
    token: Mapped[uuid.UUID | None]
    raw: Mapped[bytes | None]
    extra: Mapped[Any | None] = mapped_column(sa.JSON)


#: Columns to calculate with. ``part`` holds powers of two: whatever is divided by them stays exact.
CALCULABLE = ("part", "number", "ratio", "price")

_UTC = dt.UTC
_EAST = dt.timezone(dt.timedelta(hours=14))
_TEXTS = [
    "", " ", "a", "a ", "A", "b", "ab", "aB", "é", "e\u0301", "É", "ß", "ss", "z", "Z", "\uffff", "\U00010400", "\U00010428", "%", "_",
    "a%b", "a_b", "50%", "\\", "a\\b", "'", '"', "$ne", "a.b", "\n", "a\nb", "null", "0", ".*", "'; DROP TABLE fuzz_sample;--",
    "\U0001f600" * 200,
]  # fmt: skip
_INTEGERS = [0, 1, -1, 7]
_DECIMALS = [
    Decimal(d) for d in ("0", "-0", "0.1", "0.001", "-0.001", "999999999.999", "-999999999.999", "1E+8")
]
_MOMENTS = [
    dt.datetime(1, 1, 1), dt.datetime(1969, 12, 31, 23, 59, 59, 999000), dt.datetime(1970, 1, 1), dt.datetime(2026, 3, 29, 2, 30),
    dt.datetime(2026, 10, 25, 2, 30, fold=1), dt.datetime(2026, 11, 21, 12, 0, 0, 1000), dt.datetime(9999, 12, 31, 23, 59, 59, 999000),
]  # fmt: skip

#: The boundary values of each column; in rows and in filters. Pairs that some databases take for equal are among them.
BOUNDARIES: dict[str, list[Any]] = {
    "text": _TEXTS,
    "other": [t for t in _TEXTS if len(t) < 4],
    "word": ["", " ", "a", "A", "ab", "aB", "AB", "ba", "a%b", "a_b", "a/b", "k", "K", "50%", "i", "S"],
    "part": [0, 1, -1, 2, -2, 4, 8, 256, -256],
    "number": [0, 1, 2, 3, -7, 7, 1000, 100_000],
    "ratio": [0.0, -1.5, 2.0, 0.5, 3.0, 7.0, -7.25, 100.0],
    "price": [Decimal(d) for d in ("0", "0.125", "0.5", "2", "-1.5", "3", "7", "-7", "1234.125")],
    "tiny": [*_INTEGERS, 2**15 - 1, -(2**15)],
    "whole": [*_INTEGERS, 2**31 - 1, -(2**31)],
    "big": [*_INTEGERS, 2**31, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)],
    "size": [0.0, -0.0, 1.0, -1.5, 0.1, 1e300, -1e300, 5e-324, 1.7976931348623157e308, 2.0**53, 1 / 3, math.nan],
    "amount": _DECIMALS,
    "flag": [True, False],
    "colour": list(Colour),
    "letter": ["S", "M", "L"],
    "at": [*(m.replace(tzinfo=_UTC) for m in _MOMENTS), dt.datetime(2026, 11, 21, 12, 0, tzinfo=_EAST)],
    "local": _MOMENTS,
    "day": [dt.date(1, 1, 1), dt.date(1582, 10, 10), dt.date(1970, 1, 1), dt.date(2024, 2, 29), dt.date(9999, 12, 31)],
    "hour": [dt.time(0), dt.time(0, 0, 0, 1000), dt.time(9, 5), dt.time(23, 59, 59, 999000)],
    "token": [uuid.UUID(int=n) for n in (0, 1, 2**64, 2**127, 2**128 - 1)],
    "raw": [b"", b"\0", b"a", b"ab", b"b", b"'", b"\xff", b"\xff\xfe"],
    "extra": [
        {}, [], "", "a", 0, 5, -1.5, True, [None], {"a": None}, {"a.b": 1}, {"$x": "$gt"}, {"": 1}, {"a": {"b": [1, {"c": "a"}]}},
        {"v": "a"}, {"v": "A"}, {"v": ""}, {"v": 5}, {"v": 5.0}, {"v": 1.5}, {"v": True}, {"v": False}, {"v": None}, {"v": "5"},
        {"v": "true"}, {"v": 2**53 + 1}, {"v": 2**63 - 1}, {"v": -(2**63)}, {"v": [5]}, {"v": {"v": 5}}, {"n": 2}, {"n": -1.5}, {"n": "2"},
        {"n": 7, "v": 7}, [1, "a", [2.5, True], {"v": "a"}], [{"v": 5}], {"é": "é"}, {"$ne": None}, {"it's": 1},
    ],
}  # fmt: skip


def source_of_model(columns: Collection[str]) -> str:
    """The source of ``Sample`` with these columns only."""
    parts = [inspect.getsource(Base)]
    if "colour" in columns:
        parts.append(inspect.getsource(Colour))
    lines = inspect.getsource(Sample).splitlines()
    kept = [line for line in lines if _declared(line) in (None, "id", *columns)]
    return "\n\n".join([*parts, "\n".join(kept) + "\n"])


def _declared(line: str) -> str | None:
    """The column that a line of the model declares."""
    name = line.strip().partition(":")[0]
    return name if name in Sample.__mapper__.attrs and ": Mapped[" in line else None
