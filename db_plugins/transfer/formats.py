"""Files of rows: CSV, JSON Lines and Parquet, plain or compressed, and the standard streams.

    file_format    what a name's ending says: ``stars.csv.gz`` is CSV, compressed with gzip
    read_lines     a file's rows, each with its line: a mapping of names to what stands there
    parts          rows as a file's bytes, part by part, each of which can stand alone (``encode``)

pyarrow reads and writes CSV, Parquet and what is compressed. JSON Lines goes through ``json``: Arrow would give every
object of a JSON column the keys of all the others.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import TransferError, nearest
from ..query.frames import load_package

__all__ = ["Format", "Line", "encode", "file_format", "read_lines", "standard"]

FORMATS = {"csv": "csv", "tsv": "tsv", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet"}
COMPRESSIONS = {"gz": "gzip", "zst": "zstd"}
DELIMITERS = {"csv": ",", "tsv": "\t"}
#: Bytes of a CSV file that are read at once, and rows of a Parquet file.
BLOCK = 1 << 20
ROWS = 10_000
#: Columns of a CSV file, at most: their types are told before their number is known.
COLUMNS = 10_000
#: The name that stands for the standard streams.
standard = "-"

Mapped = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Format:
    """``name`` is csv, tsv, jsonl or parquet, ``compression`` gzip, zstd or None."""

    name: str
    compression: str | None = None


class Line(NamedTuple):
    """A row, and on which line it begins (of Parquet: its number); or why what stands there is none."""

    number: int
    row: Mapped | None
    reason: str | None = None


def file_format(file: str, given: str | None = None) -> Format:
    """What this name's ending says, or what was ``given`` (``"csv"``, ``"csv.gz"``). Raises TransferError."""
    endings = (given or Path(file).name.partition(".")[2] or "").lower().split(".")
    compression = COMPRESSIONS.get(endings[-1])
    if compression is not None:
        endings.pop()
    name = FORMATS.get(endings[-1] if endings else "")
    if name is None:
        what = f"{given!r} is no format" if given else f"{file!r} does not say its format"
        raise TransferError(
            what,
            hint="end it in .csv, .tsv, .jsonl or .parquet, with .gz or .zst for compressed; or say format='csv' (--format csv)"
            if not given
            else nearest(given, FORMATS),
        )
    if name == "parquet" and compression is not None:
        raise TransferError("a Parquet file compresses itself", hint="leave .gz and .zst out")
    return Format(name, compression)


# -- reading -----------------------------------------------------------------------------------------------------------


def read_lines(file: str, form: Format) -> Iterator[Line]:
    """The file's rows, in order. Raises TransferError for a file that cannot be read."""
    pa = load_package("pyarrow", "reading files")
    with ExitStack() as stack:
        try:
            if file == standard:
                raw = pa.PythonFile(sys.stdin.buffer, mode="r")
                if form.name == "parquet":  # its directory is at its end
                    raw = pa.BufferReader(sys.stdin.buffer.read())
            else:
                raw = stack.enter_context(pa.OSFile(file, "rb"))
            stream = raw if form.compression is None else pa.CompressedInputStream(raw, form.compression)
            yield from READERS[form.name](stream, form)
        except FileNotFoundError as error:
            raise TransferError(f"there is no file {file}") from error
        except (OSError, pa.ArrowException) as error:
            raise TransferError(f"{file} cannot be read as {form.name}: {_first(error)}") from None


def _first(error: BaseException) -> str:
    """What it says, without what stands in the file."""
    text = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if "UTF8" in text:
        return "it is not UTF-8"
    return re.sub(r"(Expected \d+ columns, got \d+): .*", r"\1", text)


def _csv_lines(stream: Any, form: Format) -> Iterator[Line]:
    csv = load_package("pyarrow.csv", "reading CSV")
    pa = load_package("pyarrow", "reading CSV")
    bad: dict[int, tuple[int, int, str]] = {}

    def keep(row: Any) -> str:
        bad[row.number] = (row.expected_columns, row.actual_columns, row.text)
        return "skip"

    try:
        reader = csv.open_csv(
            stream,
            read_options=csv.ReadOptions(use_threads=False, autogenerate_column_names=True, block_size=BLOCK),
            parse_options=csv.ParseOptions(
                delimiter=DELIMITERS[form.name],
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=keep,
            ),
            convert_options=csv.ConvertOptions(
                column_types={f"f{n}": pa.string() for n in range(COLUMNS)},
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return
        raise
    names: tuple[str, ...] | None = None
    record = line = 1  # of the row that comes next
    empty: tuple[None, ...] = ()
    for batch in reader:
        columns = [column.to_pylist() for column in batch.columns]
        breaks = _line_breaks(pa, batch)
        for cells, within in zip(zip(*columns, strict=True), breaks, strict=True):
            while bad and record in bad:
                number, (wanted, found, text) = line, bad.pop(record)
                record, line = record + 1, line + 1 + text.count("\n")
                if text.strip():
                    yield Line(number, None, f"{found} values, and {wanted} columns")
            number = line
            record, line = record + 1, line + 1 + within
            if names is None:
                names = tuple("" if name is None else name.strip() for name in cells)
                if twice := next((name for name in names if names.count(name) > 1), None):
                    raise TransferError(f"two columns of the file are called {twice!r}")
                empty = (None,) * len(names)
            elif cells != empty:  # an empty line is no row
                yield Line(number, dict(zip(names, cells, strict=True)))
    for wanted, found, text in bad.values():
        if text.strip():
            yield Line(line, None, f"{found} values, and {wanted} columns")
        line += 1 + text.count("\n")


def _line_breaks(pa: Any, batch: Any) -> list[int]:
    """How many are within the cells of each row."""
    compute = load_package("pyarrow.compute", "reading CSV")
    found = pa.array([0] * len(batch), pa.int32())
    for column in batch.columns:
        found = compute.add(found, compute.fill_null(compute.count_substring(column, "\n"), 0))
    counts: list[int] = found.to_pylist()
    return counts


def _json_lines(stream: Any, _form: Format) -> Iterator[Line]:
    with io.TextIOWrapper(io.BufferedReader(_Raw(stream)), encoding="utf-8-sig", newline="\n") as lines:
        try:
            for number, text in enumerate(lines, 1):
                if text.strip():
                    yield _json_line(number, text)
        except UnicodeDecodeError:
            raise OSError("it is not UTF-8") from None


def _json_line(number: int, text: str) -> Line:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Line(number, None, f"no JSON: {_first(error)}")
    if not isinstance(row, dict):
        return Line(number, None, "no JSON object")
    return Line(number, row)


class _Raw(io.RawIOBase):
    """An Arrow stream as Python's ``io`` reads it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _parquet_lines(stream: Any, _form: Format) -> Iterator[Line]:
    from ..query.framed import arrow_values

    parquet = load_package("pyarrow.parquet", "reading Parquet")
    pa = load_package("pyarrow", "reading Parquet")
    number = 1
    for batch in parquet.ParquetFile(stream).iter_batches(batch_size=ROWS):
        columns = [arrow_values(pa, column) for column in batch.columns]
        for cells in zip(*columns, strict=True):
            yield Line(number, dict(zip(batch.schema.names, cells, strict=True)))
            number += 1


READERS: dict[str, Callable[[Any, Format], Iterator[Line]]] = {
    "csv": _csv_lines,
    "tsv": _csv_lines,
    "jsonl": _json_lines,
    "parquet": _parquet_lines,
}


# -- writing -----------------------------------------------------------------------------------------------------------


def encode(form: Format, names: Sequence[str], rows: Sequence[Sequence[Any]], *, header: bool) -> bytes:
    """These rows as bytes of a file, which can be put behind those of other rows. Not for Parquet."""
    data = _csv_bytes(form, names, rows, header) if form.name in DELIMITERS else _json_bytes(names, rows)
    if form.compression == "gzip":
        return gzip.compress(data, mtime=0)
    if form.compression == "zstd":
        compressed: bytes = load_package("pyarrow", "zstd").compress(data, codec="zstd", asbytes=True)
        return compressed
    return data


def _csv_bytes(form: Format, names: Sequence[str], rows: Sequence[Sequence[Any]], header: bool) -> bytes:
    pa, csv = load_package("pyarrow", "writing CSV"), load_package("pyarrow.csv", "writing CSV")
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    table = pa.table([_csv_column(pa, column) for column in columns], names=list(names))
    out = io.BytesIO()
    options = csv.WriteOptions(include_header=header, delimiter=DELIMITERS[form.name], quoting_style="needed")
    csv.write_csv(table, out, options)
    return out.getvalue()


def _csv_column(pa: Any, values: Sequence[Any]) -> Any:
    """Whole numbers stand as they are; all else is text, in quotes, so that an empty one is not NULL."""
    kinds = set(map(type, values)) - {type(None)}
    return pa.array(values, pa.int64() if kinds == {int} else pa.string())


def _json_bytes(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    dump = json.JSONEncoder(ensure_ascii=False).encode
    return "".join([dump(dict(zip(names, row, strict=True))) + "\n" for row in rows]).encode()
