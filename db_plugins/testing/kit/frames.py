"""Frames: the types follow from the columns, on every engine the same, NULL stays NULL, and what comes out goes in again."""

from __future__ import annotations

import datetime as dt
import json
import sys
import uuid
from decimal import Decimal
from typing import Any

import pytest

from db_plugins import BulkResult, Capability, Database
from db_plugins.errors import InvalidValueError, NotNullError, UnsupportedOperationError

from .harness import Connect, Harness, requires, subject
from .models import Author, Colour, Exact, Labelled, Passage, Stamped, Star, Thing, Tile, Token, Voice

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
    """``to_arrow`` and ``to_pandas``, and frames in ``bulk_insert`` and ``bulk_update``."""

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

    # -- the way in --------------------------------------------------------------------------------------------------

    @requires(Capability.WRITE)
    @pytest.mark.parametrize("form", ["table", "batch", "reader", "arrow dtypes", "pandas"])
    def test_what_comes_out_goes_in_and_is_equal(self, framed: Database, form: str) -> None:
        for model, more in MORE.items():
            self.stock(framed, model, more)
        if form == "pandas":  # its integers with NULLs are floats, which end at 2**53
            framed.query(Thing).filter(Thing.big != None).update({"big": 2**53 - 1})  # noqa: E711
        for model in (Thing, Exact, Labelled):
            query = framed.query(model).order_by("id")
            before, frame = query.to_dicts(), in_form(form, query.to_arrow())
            framed.query(model).delete(force=True)
            assert framed.query(model).bulk_insert(frame) == BulkResult(inserted=len(before))
            assert query.to_dicts() == before

    @requires(Capability.WRITE)
    @pytest.mark.parametrize("form", ["table", "arrow dtypes", "pandas"])
    def test_vectors_and_keys_of_uuid_come_out_and_go_in(self, connect: Connect, form: str) -> None:
        pytest.importorskip("pyarrow")
        db = connect(Author, Passage, Tile, Token)
        meaning = {"meaning": [0.1, 2.0, -3.5], "short": [1e-3, 0.0]}
        self.stock(db, Passage, [{"id": 1, "text": "a", **meaning}, {"id": 2, "draft": [1, 2, 3]}])
        self.stock(db, Tile, [{"row": 1, "name": "x", "shade": [0.25, 1 / 3]}])
        self.stock(db, Token, [{"note": "made"}, {"id": uuid.UUID(int=7)}])
        for model in (Passage, Tile, Token):
            query = db.query(model)
            before, frame = query.limit(9).to_dicts(), in_form(form, query.limit(9).to_arrow())
            query.delete(force=True)
            query.bulk_insert(frame)
            assert query.limit(9).to_dicts() == before

    @requires(Capability.WRITE)
    def test_types_of_the_users_own_that_work_in_one_direction(self, connect: Connect) -> None:
        pytest.importorskip("pyarrow")
        voices = connect(Voice).query(Voice)
        query = voices.order_by("id")
        expected = [{"id": 1, "loud": "AB", "soft": "ab"}, {"id": 2, "loud": None, "soft": None}]
        voices.bulk_insert(expected)
        assert query.to_dicts() == expected
        table = query.to_arrow()
        voices.delete(force=True)
        voices.bulk_insert(table)
        assert query.to_dicts() == expected

    @requires(Capability.WRITE)
    def test_every_sort_of_missing_value_is_null(self, connect: Connect) -> None:
        pandas = pytest.importorskip("pandas")
        numpy = pytest.importorskip("numpy")
        db = connect(Thing)
        full = {n: v for n, v in FULL.items() if n != "extra"} | {"weight": 1.5}
        gone = [None, numpy.nan, pandas.NaT, pandas.NA, float("nan")]
        rows = [{"id": n, **dict.fromkeys(full, value)} for n, value in enumerate(gone, 1)]
        frame = pandas.DataFrame([{"id": 9, **full}, *rows], dtype=object)
        db.query(Thing).bulk_insert(frame)
        found = db.query(Thing).order_by("id").to_dicts()
        assert [set(row.values()) - {row["id"]} for row in found[:-1]] == [{None}] * len(gone)
        assert {n: found[-1][n] for n in full} == full

    @requires(Capability.WRITE)
    def test_whole_floats_become_integers_and_others_are_refused(self, connect: Connect) -> None:
        pandas = pytest.importorskip("pandas")
        query = connect(Thing).query(Thing)
        frame = pandas.DataFrame({"id": [1, 2, 3], "number": [7, None, -(2**31)], "big": [2**53, None, 0]})
        assert str(frame["number"].dtype) == "float64"
        query.bulk_insert(frame)
        assert query.order_by("id").to_dicts("number", "big") == [
            {"number": 7, "big": 2**53},
            {"number": None, "big": None},
            {"number": -(2**31), "big": 0},
        ]
        for name, value in [("number", 1.5), ("number", 2.0**31), ("big", 2.0**60), ("big", float("inf"))]:
            bad = pandas.DataFrame({"id": [8, 9], name: [None, value]})
            with pytest.raises(InvalidValueError, match=r"row 2 of those given"):
                query.bulk_insert(bad)
        assert query.count() == 3

    @requires(Capability.WRITE)
    def test_a_missing_value_where_none_may_be_is_refused_with_its_row(self, connect: Connect) -> None:
        pandas = pytest.importorskip("pandas")
        query = connect(Star).query(Star)
        frame = pandas.DataFrame({"name": [f"s{n}" for n in range(9)] + [None], "mag": 1})
        for given in (frame, frame.convert_dtypes(), pandas.DataFrame({"name": ["a"] * 9 + [float("nan")]})):
            with pytest.raises(NotNullError, match=r"Star\.name cannot be None \(row 10 of those given\)"):
                query.bulk_insert(given)
        assert query.count() == 0

    @requires(Capability.WRITE)
    def test_a_frame_gets_defaults_and_numbers(self, connect: Connect) -> None:
        pandas = pytest.importorskip("pandas")
        query = connect(Stamped).query(Stamped)
        frame = pandas.DataFrame({"id": [None, 40, None], "name": ["A b", "c", "d"]}, index=[7, 7, 7])
        result = query.bulk_insert(frame, return_keys=True)
        found = query.get_many(result.keys)
        assert [found[key].slug for key in result.keys] == ["a-b", "c", "d"]
        assert (result.inserted, result.keys[1], {m.rating for m in found.values()}) == (3, 40, {10})

    @requires(Capability.WRITE)
    @pytest.mark.parametrize("form", ["table", "pandas"])
    def test_bulk_update_takes_frames(self, connect: Connect, form: str) -> None:
        pa = pytest.importorskip("pyarrow")
        query = connect(Star).query(Star)
        query.bulk_insert([{"name": "a", "mag": 1}, {"name": "b", "mag": 2, "band": "V"}, {"name": "c"}])
        frame = in_form(form, pa.table({"name": ["b", "c", "x"], "mag": [None, 3.5, 1.0]}))
        assert query.bulk_update(frame, key="name") == 2
        assert query.order_by("name").to_dicts("mag", "band") == [
            {"mag": 1.0, "band": None},
            {"mag": None, "band": "V"},
            {"mag": 3.5, "band": None},
        ]
        with pytest.raises(InvalidValueError, match=r"row 2 of those given"):
            query.bulk_update(in_form(form, pa.table({"name": ["b", None], "mag": [1.0, 1.0]})), key="name")

    @requires(Capability.WRITE)
    def test_a_reader_is_read_as_it_is_written(self, connect: Connect) -> None:
        pa = pytest.importorskip("pyarrow")
        db = connect(Star)
        query = db.query(Star)
        schema = pa.schema([("name", pa.string())])
        read = 0

        def batches() -> Any:
            nonlocal read
            for n in range(50):
                read = n
                yield pa.record_batch([[f"s{n}.{m}" for m in range(100)]], schema=schema)
                if n == 20:
                    raise KeyError("the source broke")

        with pytest.raises(KeyError):
            query.bulk_insert(pa.RecordBatchReader.from_batches(schema, batches()), batch_size=250)
        assert read == 20, "batches behind the failing one were read"
        kept = 0 if Capability.TRANSACTIONS in db.capabilities else 2000
        assert query.count() == kept

    @requires(Capability.WRITE)
    def test_frames_that_do_not_fit_are_refused_before_anything_is_sent(self, alarmed: Connect) -> None:
        pandas = pytest.importorskip("pandas")
        query = alarmed(Thing, Star).query(Thing)
        nanoseconds = pandas.to_datetime(["2026-01-01T00:00:00.000000001Z"])
        frames = {
            "no attribute 'nam'": {"nam": [1]},
            "that is the column of Thing.text": {"txt": ["a"]},
            "Thing.at takes aware datetime.*row 1 of": {"at": nanoseconds},
            "Thing.at takes aware datetime, not .*without": {"at": nanoseconds.tz_localize(None).floor("s")},
            "Thing.day takes date": {"day": nanoseconds},
            "Thing.token takes UUID": {"token": ["no-uuid"]},
            "Thing.extra is given text that is not JSON .row 2 of": {"extra": ["[1]", "{secret"]},
            "Thing.colour has no such member": {"colour": ["BLACK"]},
            "Thing.price takes Decimal": {"price": [0.5]},
            "labelled with a value of type int": {3: [1]},
        }
        for match, columns in frames.items():
            with pytest.raises(InvalidValueError, match=match) as caught:
                query.bulk_insert(pandas.DataFrame(columns))
            assert "secret" not in str(caught.value)
        twice = pandas.DataFrame([[1, 2]], columns=["number", "number"])
        with pytest.raises(InvalidValueError, match="two columns"):
            query.bulk_insert(twice)
        with pytest.raises(InvalidValueError, match="no attribute"):
            query.bulk_insert(pandas.DataFrame({"nam": []}))


def in_form(form: str, table: Any) -> Any:
    """The same rows as another sort of frame."""
    if form == "pandas":
        return table.to_pandas()
    if form == "arrow dtypes":
        pandas = pytest.importorskip("pandas")
        return table.to_pandas(types_mapper=pandas.ArrowDtype)
    if form == "batch":
        return table.combine_chunks().to_batches()[0]
    return table.to_reader(1) if form == "reader" else table


#: Besides a full row and an empty one.
MORE: dict[type, list[dict[str, Any]]] = {
    Thing: [
        {"id": 3, "extra": "text", "at": dt.datetime(1, 1, 1, tzinfo=dt.UTC), "day": dt.date(9999, 12, 31)},
        {"id": 4, "extra": [1.5, {"a.b": None}], "at": dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)},
        {"id": 5, "extra": 0, "big": -(2**63), "number": 0, "flag": False, "text": "", "raw": b""},
    ],
    Exact: [{"id": 1, "amount": Decimal("1.5")}, {"id": 2}],
    Labelled: [{"id": 1, "labels": ["a", "b"]}, {"id": 2}, {"id": 3, "labels": []}],
}
