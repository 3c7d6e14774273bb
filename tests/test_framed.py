"""Frames on their way in: dtypes and Arrow types that ``to_pandas`` and ``to_arrow`` do not make, and what a frame is."""

from __future__ import annotations

import datetime as dt
import enum
import subprocess
import sys
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

import db_plugins
from db_plugins import BulkResult, Database, Vector
from db_plugins.errors import InvalidValueError, NotNullError, UnsupportedOperationError
from db_plugins.models import describe
from db_plugins.query.framed import framed

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")

MOMENT = dt.datetime(2026, 7, 1, 12, 30, 0, 5, tzinfo=dt.UTC)
NAIVE = MOMENT.replace(tzinfo=None)


class Band(enum.Enum):
    RED = 1
    BLUE = 2


class Base(DeclarativeBase):
    pass


class Halved(TypeDecorator[int]):
    """Stored as twice what it is; half a number is none."""

    impl = sa.Integer
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return None if value is None else 2 * value

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        if value is None:
            return None
        if value % 2:
            raise KeyError("odd")
        return value // 2


class Row(Base):
    __tablename__ = "row"
    id: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int | None]
    x: Mapped[float | None]
    text: Mapped[str | None] = mapped_column(sa.String(20))
    flag: Mapped[bool | None]
    band: Mapped[Band | None] = mapped_column(sa.Enum(Band))
    at: Mapped[dt.datetime | None] = mapped_column(sa.DateTime(timezone=True))
    local: Mapped[dt.datetime | None] = mapped_column(sa.DateTime())
    day: Mapped[dt.date | None]
    hour: Mapped[dt.time | None]
    price: Mapped[Decimal | None] = mapped_column(sa.Numeric(12, 3))
    token: Mapped[uuid.UUID | None]
    raw: Mapped[bytes | None]
    extra: Mapped[Any | None] = mapped_column(sa.JSON)
    place: Mapped[list[float] | None] = mapped_column(Vector(2))
    half: Mapped[int | None] = mapped_column(Halved)


class Named(Base):
    __tablename__ = "named"
    name: Mapped[str] = mapped_column(sa.String(20), primary_key=True)
    n: Mapped[int] = mapped_column(default=7)


@pytest.fixture
def db() -> Iterator[Database]:
    with db_plugins.connect({"PLUGIN": "memory"}, models=[Row, Named]) as db:
        db.create_all()
        yield db


def stored(db: Database, frame: Any, name: str) -> list[Any]:
    """The values of one column after the frame went in."""
    db.query(Row).bulk_insert(frame)
    return [row[name] for row in db.query(Row).order_by("id").to_dicts(name)]


PANDAS: dict[str, tuple[str, Any, list[Any]]] = {
    "Int64": ("n", lambda: pd.array([1, None], dtype="Int64"), [1, None]),
    "uint8": ("n", lambda: pd.Series([1, 255], dtype="uint8"), [1, 255]),
    "float32 of whole numbers": ("n", lambda: pd.Series([1, None], dtype="float32"), [1, None]),
    "numpy scalars in objects": ("n", lambda: pd.Series([pd.Series([3])[0], 4.0], dtype=object), [3, 4]),
    "int8 in a Float": ("x", lambda: pd.Series([1, 2], dtype="int8"), [1.0, 2.0]),
    "Float64": ("x", lambda: pd.array([0.5, None], dtype="Float64"), [0.5, None]),
    "NaN in an Arrow float": ("x", lambda: pd.Series([0.5, float("nan")], dtype="float64[pyarrow]"), [0.5, None]),
    "sparse": ("x", lambda: pd.arrays.SparseArray([0.5, float("nan")]), [0.5, None]),
    "string": ("text", lambda: pd.array(["a", None], dtype="string"), ["a", None]),
    "category": ("text", lambda: pd.Categorical(["b", None], categories=["a", "b"]), ["b", None]),
    "category of names": ("band", lambda: pd.Categorical(["RED", None]), [Band.RED, None]),
    "members": ("band", lambda: [Band.BLUE, None], [Band.BLUE, None]),
    "boolean": ("flag", lambda: pd.array([True, None], dtype="boolean"), [True, None]),
    "bool": ("flag", lambda: [True, False], [True, False]),
    "bool in objects": ("flag", lambda: [True, float("nan")], [True, None]),
    "datetime64[ns, zone]": (
        "at",
        lambda: pd.Series([MOMENT, None]).astype("datetime64[ns, UTC]").dt.tz_convert("Europe/Madrid"),
        [MOMENT, None],
    ),
    "datetime64[s]": (
        "local",
        lambda: pd.Series([NAIVE.replace(microsecond=0), None]).astype("datetime64[s]"),
        [NAIVE.replace(microsecond=0), None],
    ),
    "Timestamps in objects": ("at", lambda: pd.Series([pd.Timestamp(MOMENT), pd.NaT], dtype=object), [MOMENT, None]),
    "dates": ("day", lambda: [MOMENT.date(), None], [MOMENT.date(), None]),
    "UUIDs": ("token", lambda: [uuid.UUID(int=1), str(uuid.UUID(int=2)).upper()], [uuid.UUID(int=n) for n in (1, 2)]),
    "JSON as values and as text": ("extra", lambda: [{"a": [1]}, '"[1]"'], [{"a": [1]}, "[1]"]),
    "JSON null": ("extra", lambda: ["null", "[null]"], [None, [None]]),
    "vectors of numpy": ("place", lambda: [pd.Series([1.0, 2.0]).to_numpy(), None], [[1.0, 2.0], None]),
    "what a decorator stores": ("half", lambda: [6.0, None], [3, None]),
}  # fmt: skip


@pytest.mark.parametrize("case", PANDAS)
def test_dtypes_of_pandas(db: Database, case: str) -> None:
    name, make, expected = PANDAS[case]
    frame = pd.DataFrame({"id": [1, 2]})
    frame[name] = make()
    found = stored(db, frame, name)
    assert found == expected
    assert list(map(type, found)) == list(map(type, expected))


ARROW: dict[str, tuple[str, Any, list[Any]]] = {
    "null": ("x", lambda: pa.nulls(2), [None, None]),
    "dictionary": ("text", lambda: pa.array(["a", None]).dictionary_encode(), ["a", None]),
    "dictionary of numbers": ("n", lambda: pa.array([3, None]).dictionary_encode(), [3, None]),
    "dictionary of string_view": (
        "band",
        lambda: pa.DictionaryArray.from_arrays(pa.array([0, None], pa.uint32()), pa.array(["RED"], pa.string_view())),
        [Band.RED, None],
    ),
    "dictionary of moments": (
        "at",
        lambda: pa.array([MOMENT, None], pa.timestamp("ns", "UTC")).dictionary_encode(),
        [MOMENT, None],
    ),
    "large_string": ("text", lambda: pa.array(["a", None], pa.large_string()), ["a", None]),
    "uint64": ("n", lambda: pa.array([1, None], pa.uint64()), [1, None]),
    "whole floats": ("n", lambda: pa.array([1.0, None]), [1, None]),
    "NaN": ("x", lambda: pa.array([0.5, float("nan")]), [0.5, None]),
    "decimal256": ("price", lambda: pa.array([Decimal("1.5"), None], pa.decimal256(60, 20)), [Decimal("1.5"), None]),
    "timestamp[ns]": ("local", lambda: pa.array([NAIVE, None], pa.timestamp("ns")), [NAIVE, None]),
    "timestamp[us] of a zone": ("at", lambda: pa.array([MOMENT, None], pa.timestamp("us", "Asia/Tokyo")), [MOMENT, None]),
    "timestamp[s]": ("local", lambda: pa.array([0, None], pa.timestamp("s")), [dt.datetime(1970, 1, 1), None]),
    "date64": ("day", lambda: pa.array([MOMENT.date(), None], pa.date64()), [MOMENT.date(), None]),
    "time64[ns]": ("hour", lambda: pa.array([1000, None], pa.time64("ns")), [dt.time(0, 0, 0, 1), None]),
    "time32[s]": ("hour", lambda: pa.array([5, None], pa.time32("s")), [dt.time(0, 0, 5), None]),
    "fixed_size_binary": ("raw", lambda: pa.array([b"ab", None], pa.binary(2)), [b"ab", None]),
    "struct and list": ("extra", lambda: pa.array([{"a": [1, None]}, None]), [{"a": [1, None]}, None]),
    "fixed_size_list": ("place", lambda: pa.array([[1, 2], None], pa.list_(pa.float64(), 2)), [[1.0, 2.0], None]),
}  # fmt: skip


@pytest.mark.parametrize("case", ARROW)
def test_types_of_arrow(db: Database, case: str) -> None:
    name, make, expected = ARROW[case]
    found = stored(db, pa.table({"id": [1, 2], name: make()}), name)
    assert found == expected
    assert list(map(type, found)) == list(map(type, expected))


REFUSED: dict[str, tuple[str, Any]] = {
    "timestamp[ns] with nanoseconds": ("at", lambda: pa.array([1000, 1], pa.timestamp("ns", "UTC"))),
    "a timestamp before the year 1": ("local", lambda: pa.array([0, -(2**62)], pa.timestamp("us"))),
    "a timestamp beyond 64 bits": ("local", lambda: pa.array([0, 2**62], pa.timestamp("s"))),
    "time64[ns] with nanoseconds": ("hour", lambda: pa.array([1000, 1], pa.time64("ns"))),
    "pandas with nanoseconds": ("at", lambda: pd.to_datetime(["2026-01-01T00:00:00.000000000Z", "2026-01-01T00:00:00.000000001Z"])),
    "pandas after the year 9999": ("local", lambda: pd.Series([0, 2**40]).astype("datetime64[s]")),
    "pandas beyond 64 bits": ("local", lambda: pd.Series([0, 2**62]).astype("datetime64[s]")),
    "uint64 beyond 32 bits": ("n", lambda: pa.array([1, 2**63], pa.uint64())),
    "a float that is no whole number": ("n", lambda: pa.array([1.0, 1.5])),
    "a float beyond 2**53": ("n", lambda: [1.0, 2.0**54]),
    "a bool in an Integer": ("n", lambda: pd.Series([1, True], dtype=object)),
    "text in an Integer": ("n", lambda: pd.Series([1, "1"], dtype=object)),
    "another form of UUID": ("token", lambda: [str(uuid.UUID(int=1)), "{" + uuid.UUID(int=1).hex + "}"]),
    "bytes in a UUID": ("token", lambda: pa.array([None, b"\0" * 16], pa.binary(16))),
    "JSON with NaN": ("extra", lambda: ["1", "[NaN]"]),
    "JSON nested too deep": ("extra", lambda: ["1", "[" * 100_000]),
    "JSON of nothing": ("extra", lambda: ["1", ""]),
    "duration": ("hour", lambda: pa.array([None, 1], pa.duration("s"))),
    "vectors of another length": ("place", lambda: pa.array([[1.0, 2.0], [1.0]])),
    "what a decorator cannot read": ("half", lambda: [2, 3]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_its_row(db: Database, case: str) -> None:
    name, make = REFUSED[case]
    made = make()
    frame = pa.table({name: made}) if isinstance(made, pa.Array) else pd.DataFrame({name: made})
    with pytest.raises(InvalidValueError, match=rf"^Row\.{name}\b.*\(row 2 of those given\)"):
        db.query(Row).bulk_insert(frame)
    shifted = [pa.table({name: made[:1]})] * 5 if isinstance(made, pa.Array) else None
    if shifted:
        later = pa.concat_tables([*shifted, pa.table({name: made})])
        with pytest.raises(InvalidValueError, match=r"\(row 7 of those given\)"):
            db.query(Row).bulk_insert(later, batch_size=2)
    assert db.query(Row).count() == 0


# -- what a frame is ---------------------------------------------------------------------------------------------------


class Stream:
    """Only Arrow's C stream, as a polars.DataFrame."""

    def __init__(self, table: Any) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)

    def __bool__(self) -> bool:
        raise TypeError("the truth of a frame is ambiguous")

    __iter__ = __len__ = __bool__


def test_whatever_gives_an_arrow_stream_is_a_frame(db: Database) -> None:
    assert stored(db, Stream(pa.table({"n": [1, None]})), "n") == [1, None]
    with pytest.raises(InvalidValueError, match="single column"):
        db.query(Row).bulk_insert(Stream(pa.chunked_array([[1]])))


def test_an_arrow_stream_needs_pyarrow(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Stream(pa.table({"n": [1]}))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        UnsupportedOperationError, match=r"of a Stream needs pyarrow.*db-plugins-core\[frames\]"
    ):
        db.query(Row).bulk_insert(given)


def test_neither_truth_nor_labels_of_a_dataframe_are_asked(db: Database) -> None:
    class Mine(pd.DataFrame):
        def __iter__(self) -> Any:
            raise AssertionError("iterating a DataFrame gives its labels")

    assert stored(db, Mine({"n": [1, 2]}), "n") == [1, 2]


@pytest.mark.parametrize(
    "rows", [pd.DataFrame, pd.Series([1]), pa.array([1]), pa.Table, pd.DataFrame({"n": [1]}).to_numpy()]
)
def test_what_is_no_frame_is_refused_as_ever(db: Database, rows: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"takes an iterable of rows|a row of Row cannot be"):
        db.query(Row).bulk_insert(rows)


def test_rows_load_neither_pandas_nor_pyarrow() -> None:
    code = (
        "import sys, sqlalchemy as sa, db_plugins\n"
        "from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column\n"
        "class Base(DeclarativeBase): pass\n"
        "class Row(Base):\n"
        "    __tablename__ = 'row'\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "db = db_plugins.connect({'PLUGIN': 'memory'}, models=[Row])\n"
        "db.create_all()\n"
        "db.query(Row).bulk_insert([{'id': 1}])\n"
        "db.query(Row).bulk_update([{'id': 1}])\n"
        "print(*sys.modules)\n"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pandas", "pyarrow", "numpy"} & set(loaded.stdout.split())


def test_a_series_is_an_iterable_of_rows(db: Database) -> None:
    assert stored(db, pd.Series([{"n": 1}, {"x": 0.5}]), "n") == [1, None]


# -- rows and chunks ---------------------------------------------------------------------------------------------------


def test_the_index_is_no_column(db: Database) -> None:
    frame = pd.DataFrame({"n": [5, 6]}, index=pd.Index(["x", "x"], name="label"))
    assert stored(db, frame, "n") == [5, 6]
    named = pd.DataFrame({"name": ["a"], "n": [1]}).set_index("name")
    with pytest.raises(InvalidValueError, match=r"Named\.name is the frame's index.*reset_index\(\)"):
        db.query(Named).bulk_insert(named)
    assert db.query(Named).bulk_insert(named.reset_index()).inserted == 1
    with pytest.raises(NotNullError, match=r"Named\.name is required"):
        db.query(Named).bulk_insert(named.reset_index(drop=True))


def test_names_are_checked_before_there_are_rows(db: Database) -> None:
    for frame in (
        pd.DataFrame({"nn": []}),
        pa.table({"nn": pa.nulls(0)}),
        pa.schema([("nn", pa.int64())]).empty_table(),
    ):
        with pytest.raises(InvalidValueError, match="Row has no attribute 'nn'"):
            db.query(Row).bulk_insert(frame)
    for frame in (pd.DataFrame([[1, 2]], columns=["n", "n"]), pa.table([[1], [2]], names=["n", "n"])):
        with pytest.raises(InvalidValueError, match="two columns of the frame are named n"):
            db.query(Row).bulk_insert(frame)
    levels = pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("n", "sum")]))
    with pytest.raises(InvalidValueError, match="a value of type tuple"):
        db.query(Row).bulk_insert(levels)
    assert db.query(Row).bulk_insert(pd.DataFrame({"n": []})) == BulkResult()
    assert db.query(Row).bulk_insert(pd.DataFrame(index=range(3))).inserted == 3


def test_chunks_are_of_the_size_asked_for_whatever_the_batches_are() -> None:
    table = pa.table({"n": list(range(10))})
    frames = [
        table,
        table.to_reader(1),
        table.to_reader(3),
        table.to_pandas(),
        table.combine_chunks().to_batches()[0],
    ]
    for frame in frames:
        read = framed(describe(Row), frame, "bulk_insert")
        assert read is not None
        chunks = list(read.chunks(4))
        assert [len(chunk) for chunk in chunks] == [4, 4, 2]
        assert [row for chunk in chunks for row in chunk.rows(["n"])] == [(n,) for n in range(10)]


def test_a_frame_of_changes_may_hold_expressions_and_meets_conflicts_as_rows_do(db: Database) -> None:
    query = db.query(Named)
    query.bulk_insert(pd.DataFrame({"name": ["a", "b"], "n": [1, 2]}))
    frame = pd.DataFrame({"name": ["b", "a"], "n": [Named.n * 10, 5]})
    assert query.bulk_update(frame) == 2
    again = pd.DataFrame({"name": ["a", "c"], "n": [8, 9]})
    assert query.bulk_insert(again, on_conflict="ignore") == BulkResult(1, 0, 1)
    assert query.bulk_insert(again, on_conflict="update", update=["n"]) == BulkResult(0, 2, 0)
    assert query.order_by("name").to_dicts() == [
        {"name": n, "n": v} for n, v in (("a", 8), ("b", 20), ("c", 9))
    ]
    with pytest.raises(NotNullError, match=r"Named\.n cannot be None \(row 2 of those given\)"):
        query.bulk_update(pd.DataFrame({"name": ["a", "b"], "n": [1, None]}))
    with pytest.raises(InvalidValueError, match=r"Named\.name is missing"):
        query.bulk_update(pa.table({"n": [1]}))
