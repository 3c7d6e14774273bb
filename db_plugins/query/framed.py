"""The way in of frames: what ``bulk_insert`` and ``bulk_update`` read of a DataFrame or an Arrow table, chunk by chunk.

    pandas    frame.iloc[a:b]            each column by its dtype  ─┐
                                                                    ├─ Python values ─ as the attribute takes them ─ Columns
    Arrow     slices of record batches   each by its Arrow type    ─┘

The inverse of ``frames.py``: the text of UUID and JSON columns is read, a type of the user's own is decoded from what it
is stored as, and whatever a frame calls missing is None. What does not fit stays as it is: the column's checker refuses it.
A frame is known by its class's module, or by Arrow's C stream (polars, DuckDB); neither pandas nor pyarrow is imported
for anything else.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import InvalidValueError
from ..models import Field, Kind, ModelInfo
from .frames import load_package
from .rows import of_row

__all__ = ["ArrowStream", "Columns", "Framed", "Tuples", "arrow_values", "framed"]

Values = Sequence[Any]

#: Up to here a float of 64 bits tells all whole numbers apart.
EXACT_WHOLE = 2**53


class ArrowStream(Protocol):
    """What gives its rows as Arrow's C stream: a pyarrow.Table, a polars.DataFrame."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows that all have the same names, by column."""

    names: tuple[str, ...]
    values: tuple[Values, ...]
    count: int

    def __len__(self) -> int:
        return self.count

    def rows(self, names: Sequence[str]) -> list[tuple[Any, ...]]:
        """A tuple of these values for each row."""
        if not names:
            return [()] * self.count
        known = dict(zip(self.names, self.values, strict=True))
        return list(zip(*[known[name] for name in names], strict=True))


@dataclass(frozen=True, slots=True)
class Tuples:
    """Rows as tuples, whose values have these names."""

    names: tuple[str, ...]
    values: Sequence[tuple[Any, ...]]

    def __len__(self) -> int:
        return len(self.values)

    def chunks(self, size: int) -> Iterator[Tuples]:
        """The rows, at most ``size`` at once."""
        for start in range(0, len(self.values), size):
            yield Tuples(self.names, self.values[start : start + size])

    def rows(self, names: Sequence[str]) -> list[tuple[Any, ...]]:
        """A tuple of these values for each row: itself, if it has no others, in this order."""
        if tuple(names) == self.names:
            return list(self.values)
        at = [self.names.index(name) for name in names]
        return [tuple([row[n] for n in at]) for row in self.values]


def framed(info: ModelInfo, rows: Any, verb: str) -> Framed | None:
    """A reader of this frame, or None for what is none. Raises InvalidValueError for columns that the model lacks."""
    of_pandas = {k.__name__ for k in type(rows).__mro__ if k.__module__.partition(".")[0] == "pandas"}
    if of_pandas:
        # A Series, which gives a stream too, is an iterable of what it holds.
        return _DataFrame(info, rows) if "DataFrame" in of_pandas else None
    if hasattr(rows, "__arrow_c_stream__") and not isinstance(rows, type):
        return _Stream(info, rows, verb)
    return None


class Framed(ABC):
    """A frame whose columns are attributes of a model."""

    def __init__(self, info: ModelInfo, labels: Iterable[Any]) -> None:
        fields: list[Field] = []
        for label in labels:
            if not isinstance(label, str):
                raise InvalidValueError(
                    f"a column of the frame is labelled with a value of type {type(label).__name__}",
                    hint=f"columns are named after attributes of {info.name}",
                )
            fields.append(info.field(label))
            if fields[-1] in fields[:-1]:
                raise InvalidValueError(f"two columns of the frame are named {fields[-1].name}")
        self.fields = fields

    def chunks(self, size: int) -> Iterator[Columns]:
        """The frame's rows, at most ``size`` at once. An error for a value says in which row it is, from 1."""
        names = tuple(field.name for field in self.fields)
        first = 1
        for count, columns in self.parts(size):
            values = [self._read(f, column, first) for f, column in zip(self.fields, columns, strict=True)]
            yield Columns(names, tuple(values), count)
            first += count

    @abstractmethod
    def parts(self, size: int) -> Iterator[tuple[int, list[Any]]]:
        """So many rows, and their columns as the frame has them."""

    @abstractmethod
    def values(self, column: Any) -> Values:
        """A column's Python values. Raises ValueError or ArithmeticError for those that Python does not hold."""

    @abstractmethod
    def cell(self, column: Any, at: int) -> Any:
        """The column of this one value."""

    def _read(self, field: Field, column: Any, first: int) -> Values:
        try:
            return _taken(field, self.values(column))
        except (ValueError, ArithmeticError):
            kind = column.dtype if hasattr(column, "dtype") else column.type
            for at in range(len(column)):
                try:
                    _taken(field, self.values(self.cell(column, at)))
                except InvalidValueError as error:
                    raise of_row(error, first + at) from None
                except (ValueError, ArithmeticError):
                    raise of_row(
                        InvalidValueError(
                            f"{field.label} takes {field.kind.value}; this {kind} cannot be one exactly",
                            hint="Python has the years 1 to 9999 and whole microseconds: round it",
                        ),
                        first + at,
                    ) from None
            raise


# -- pandas ------------------------------------------------------------------------------------------------------------


class _DataFrame(Framed):
    """A pandas.DataFrame. Its index is no column."""

    def __init__(self, info: ModelInfo, frame: Any) -> None:
        super().__init__(info, frame.columns.tolist())
        self.frame = frame
        given = {field.name for field in self.fields}
        for name in frame.index.names:
            if isinstance(name, str) and name in info.by_name and name not in given:
                raise InvalidValueError(
                    f"{info.name}.{name} is the frame's index, which is no column",
                    hint="frame.reset_index() makes it one, frame.reset_index(drop=True) leaves it out",
                )

    def parts(self, size: int) -> Iterator[tuple[int, list[Any]]]:
        for start in range(0, len(self.frame), size):
            part = self.frame.iloc[start : start + size]
            yield len(part), [column for _, column in part.items()]

    def cell(self, column: Any, at: int) -> Any:
        return column.iloc[at : at + 1]

    def values(self, column: Any) -> Values:
        kind = type(column.dtype).__name__
        if kind == "ArrowDtype":
            pa = load_package("pyarrow", "this frame")
            return arrow_values(pa, pa.array(column))
        missing = column.isna()
        if column.dtype.kind == "M":
            return _moments_of_pandas(column, missing)
        values: list[Any] = column.tolist()
        if missing.any():
            return [None if gone else value for gone, value in zip(missing.tolist(), values, strict=True)]
        return values


def _moments_of_pandas(column: Any, missing: Any) -> list[dt.datetime | None]:
    zone = None
    if hasattr(column.dtype, "tz"):
        column, zone = column.dt.tz_convert("UTC").dt.tz_localize(None), dt.UTC
    units = column.to_numpy()
    micros = units.astype("datetime64[us]")
    # NaT is unequal to itself.
    if ((micros.astype(units.dtype) != units) & ~missing.to_numpy()).any():
        raise ValueError("no whole microseconds")
    # A fifth of the time of datetime.replace(tzinfo=…). Outside Python's years the sum is an OverflowError.
    epoch = dt.datetime(1970, 1, 1, tzinfo=zone)
    since = micros.astype("int64").view("timedelta64[us]").tolist()
    return [None if span is None else epoch + span for span in since]


# -- Arrow -------------------------------------------------------------------------------------------------------------


class _Stream(Framed):
    """A pyarrow Table, RecordBatch or RecordBatchReader, and whatever else gives Arrow's C stream."""

    def __init__(self, info: ModelInfo, rows: Any, verb: str) -> None:
        self.pa = load_package("pyarrow", f"{verb} of a {type(rows).__name__}")
        reader = self.pa.RecordBatchReader
        try:
            # Through the stream an exception of the source's own would become Arrow's.
            self.reader = rows if isinstance(rows, reader) else reader.from_stream(rows)
        except self.pa.ArrowException as exc:
            raise InvalidValueError(
                f"{verb} takes frames, not the single column that this {type(rows).__name__} is"
            ) from exc
        super().__init__(info, self.reader.schema.names)

    def parts(self, size: int) -> Iterator[tuple[int, list[Any]]]:
        kept: list[Any] = []
        count = 0
        for batch in self.reader:
            while batch.num_rows:
                part = batch.slice(0, size - count)
                batch = batch.slice(part.num_rows)
                kept.append(part)
                count += part.num_rows
                if count == size:
                    yield count, self._joined(kept)
                    kept, count = [], 0
        if count:
            yield count, self._joined(kept)

    def _joined(self, batches: list[Any]) -> list[Any]:
        return list(self.pa.Table.from_batches(batches).columns)

    def cell(self, column: Any, at: int) -> Any:
        return column.slice(at, 1)

    def values(self, column: Any) -> Values:
        return arrow_values(self.pa, column)


def arrow_values(pa: Any, column: Any) -> Values:
    """The Python values of an Array or a ChunkedArray, in which NaN is None too."""
    is_a, kind = pa.types, column.type
    if is_a.is_dictionary(kind) and is_a.is_primitive(kind.value_type):
        column, kind = column.cast(kind.value_type), kind.value_type
    if is_a.is_timestamp(kind):
        # Zones by name cost 10 µs a value in pyarrow; all of them count from the same epoch. The cast refuses parts of a µs.
        counts = column.cast(pa.timestamp("us", kind.tz)).cast(pa.int64())
        epoch, span = dt.datetime(1970, 1, 1, tzinfo=dt.UTC if kind.tz else None), dt.timedelta
        return [None if n is None else epoch + span(0, 0, n) for n in counts.to_pylist()]
    if is_a.is_time64(kind):
        # to_pylist would drop nanoseconds.
        column = column.cast(pa.time64("us"))
    values: list[Any] = column.to_pylist()
    if is_a.is_floating(kind):
        return [None if value != value else value for value in values]
    return values


# -- values ------------------------------------------------------------------------------------------------------------


def _taken(field: Field, values: Values) -> Values:
    """The values as the attribute takes them."""
    if field.kind in _TAKEN:
        kind, convert = _TAKEN[field.kind]
        if any(issubclass(t, kind) for t in set(map(type, values))):
            values = convert(field, values)
    if field.from_stored is None:
        return values
    try:
        return [field.from_stored(value) for value in values]
    except Exception as exc:  # the user's own code
        raise InvalidValueError(
            f"{field.label}: its {type(field.sql_type).__name__} failed with {type(exc).__name__}",
            hint="in a frame such a column holds what is stored, as to_arrow() gives it",
        ) from exc


def _whole(_field: Field, values: Values) -> Values:
    # pandas makes integers floats where one of them is missing.
    top = EXACT_WHOLE
    return [int(v) if isinstance(v, float) and v.is_integer() and -top <= v <= top else v for v in values]


def _uuids(_field: Field, values: Values) -> Values:
    return [_uuid(value) if isinstance(value, str) else value for value in values]


def _uuid(text: str) -> uuid.UUID | str:
    try:
        found = uuid.UUID(text)
    except ValueError:
        return text
    # UUID() also takes braces, and hyphens anywhere.
    return found if str(found) == text.lower() else text


def _json(field: Field, values: Values) -> Values:
    try:
        return [json.loads(value) if isinstance(value, str) else value for value in values]
    except (ValueError, RecursionError):
        raise InvalidValueError(
            f"{field.label} is given text that is not JSON",
            hint="in a frame the text of a JSON column is read as JSON: json.dumps(value)",
        ) from None


#: Columns with cells of this type are converted so.
_TAKEN: dict[Kind, tuple[type, Callable[[Field, Values], Values]]] = {
    Kind.INTEGER: (float, _whole),
    Kind.UUID: (str, _uuids),
    Kind.JSON: (str, _json),
}
