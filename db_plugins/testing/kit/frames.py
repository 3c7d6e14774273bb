"""Frames: the types follow from the columns, on every engine the same, and NULL stays NULL."""

from __future__ import annotations

import datetime as dt
import json
import sys
import uuid
from decimal import Decimal
from typing import Any

import pytest

from db_plugins import Database
from db_plugins.errors import InvalidValueError, UnsupportedOperationError

from .harness import Connect, Harness, subject
from .models import Colour, Exact, Labelled, Star, Thing

__all__ = ["Frames"]

MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=dt.UTC)
FULL: dict[str, Any] = {
    "text": "é '\"$",
    "long_text": "x" * 300,
    "small": -5,
    "number": 2**31 - 1,
    "big": 2**62 + 1,
    "size": 0.1,
    "price": Decimal("12.345"),
    "flag": True,
    "colour": Colour.AMBER,
    "letter": "M",
    "at": MOMENT,
    "local": MOMENT.replace(tzinfo=None),
    "day": MOMENT.date(),
    "hour": dt.time(1, 2, 3),
    "token": uuid.UUID(int=5),
    "raw": b"\x00\xff",
    "extra": {"a": [1, None, "é"]},
}
TYPES = {
    "id": "int32",
    "text": "string",
    "long_text": "string",
    "small": "int16",
    "number": "int32",
    "big": "int64",
    "size": "double",
    "price": "decimal128(12, 3)",
    "flag": "bool",
    "colour": "string",
    "letter": "string",
    "at": "timestamp[us, tz=UTC]",
    "local": "timestamp[us]",
    "day": "date32[day]",
    "hour": "time64[us]",
    "token": "string",
    "raw": "binary",
    "extra": "string",
}


@subject("frames")
class Frames(Harness):
    """``to_arrow`` and ``to_pandas``."""

    @pytest.fixture
    def framed(self, connect: Connect) -> Database:
        """One row with a value in every column, one with NULLs."""
        pytest.importorskip("pyarrow")
        db = connect(Thing, Exact, Labelled)
        self.stock(db, Thing, [{"id": 1, **FULL}])
        self.stock(db, Thing, [{"id": 2}])
        return db

    def test_arrow_types_follow_from_the_columns(self, framed: Database) -> None:
        query = framed.query(Thing).order_by("id")
        for table in (query.to_arrow(), query.filter(id=99).to_arrow(), query.limit(0).to_arrow()):
            assert {n: str(table.schema.field(n).type) for n in TYPES} == TYPES
            assert [n for n in table.column_names if not table.schema.field(n).nullable] == ["id"]
        assert query.filter(id=99).to_arrow().num_rows == 0

    def test_arrow_values_are_those_of_the_rows(self, framed: Database) -> None:
        full, empty = framed.query(Thing).order_by("id").to_arrow().to_pylist()
        expected = {**FULL, "id": 1, "colour": "AMBER", "token": str(FULL["token"])}
        assert json.loads(full.pop("extra")) == expected.pop("extra")
        assert {n: full[n] for n in expected} == expected
        assert all(value is None for name, value in empty.items() if name != "id")

    def test_columns_order_filter_and_window_are_heeded(self, framed: Database) -> None:
        query = framed.query(Thing).order_by("-id")
        assert query.to_arrow("number", Thing.id).to_pydict() == {"number": [None, 2**31 - 1], "id": [2, 1]}
        assert query.limit(1).to_arrow(Thing.id).to_pydict() == {"id": [2]}
        assert query.filter(Thing.number > 5).to_arrow("id", "id").to_pydict() == {"id": [1]}

    def test_exact_decimals_and_types_of_the_users_own(self, framed: Database) -> None:
        self.stock(framed, Exact, [{"id": 1, "amount": Decimal("1.5")}, {"id": 2, "amount": None}])
        table = framed.query(Exact).order_by("id").to_arrow("amount")
        assert str(table.schema.field("amount").type) == "decimal128(30, 10)"
        assert table.to_pydict() == {"amount": [Decimal("1.5"), None]}
        self.stock(framed, Labelled, [{"id": 1, "labels": ["a", "b"]}, {"id": 2}])
        assert framed.query(Labelled).order_by("id").to_arrow("labels").to_pydict() == {
            "labels": ["a b", None]
        }

    def test_pandas_keeps_types_and_nulls(self, framed: Database) -> None:
        pandas = pytest.importorskip("pandas")
        frame = framed.query(Thing).order_by("id").to_pandas()
        assert [str(frame[n].dtype) for n in ("number", "flag", "big")] == [
            "int32[pyarrow]",
            "bool[pyarrow]",
            "int64[pyarrow]",
        ]
        assert frame["big"].iloc[0] == 2**62 + 1, "a float would have lost the last digits"
        assert frame["number"].iloc[1] is pandas.NA
        assert frame["price"].iloc[0] == Decimal("12.345")
        assert frame["at"].iloc[0] == pandas.Timestamp(MOMENT)
        assert list(framed.query(Thing).to_pandas("text", "id").columns) == ["text", "id"]
        assert len(framed.query(Thing).filter(id=99).to_pandas()) == 0

    @pytest.mark.parametrize("verb", ["to_arrow", "to_pandas"])
    def test_an_unknown_column_is_refused_before_anything_is_sent(self, alarmed: Connect, verb: str) -> None:
        pytest.importorskip("pandas")
        for bad in ("nam", 'name"; --', "", "__class__"):
            with pytest.raises(InvalidValueError):
                getattr(alarmed(Star).query(Star), verb)(bad)

    @pytest.mark.parametrize("verb", ["to_arrow", "to_pandas"])
    def test_a_missing_package_is_named_with_its_extra(
        self, alarmed: Connect, verb: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        monkeypatch.setitem(sys.modules, "pandas", None)
        with pytest.raises(UnsupportedOperationError, match=r"db-plugins-core\[frames\]"):
            getattr(alarmed(Star).query(Star), verb)()
