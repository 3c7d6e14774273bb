"""``dump``: one model's rows into a file, by key.

The file grows as ``FILE.part`` and gets its name when it is whole. Beside it ``FILE.part.json`` says up to which key, and
to which byte, it is right: from there an interrupted dump goes on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import DbPluginsError, TransferError
from ..models import Field, Kind, ModelInfo
from ..models.makers import make_converter
from ..models.texts import from_text, to_text
from ..query.frames import load_package, make_table
from .cells import json_of, text_of
from .formats import Format, encode, file_format, standard
from .meter import Meter
from .reports import Dumped, OnProgress
from .tables import Row, Side, check_databases, whole_table

if TYPE_CHECKING:
    from ..database import Database

__all__ = ["dump"]

#: Digits of Arrow's larger decimal.
MOST_DIGITS = 76


def dump(
    db: Database,
    model: Any,
    file: str | PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the word of the field
    columns: Sequence[str] | Mapping[str, str] | None = None,
    force: bool = False,
    resume: bool = False,
    batch_size: int | None = None,
    on_progress: OnProgress | None = None,
) -> Dumped:
    """Write all rows of a model, by key, to a CSV, JSON Lines or Parquet file; ``load`` reads the same values again.

    The format is that of the ending (``.csv.gz``, ``.jsonl.zst``, ``.parquet``), or ``format``; ``"-"`` is standard
    output. ``columns`` names the attributes, or what they are called in the file: ``{"name": "Name"}``. A file that is there
    is kept unless ``force``. ``resume=True`` goes on with one that was interrupted (of Parquet it begins anew).

    Raises TransferError for a file that cannot be written, InvalidValueError for an attribute that no file can hold.

        transfer.dump(db, Star, "stars.csv.gz")
    """
    check_databases(db)
    name = fspath(file)
    form = file_format(name, format)
    side = Side(db, whole_table(db, model))
    chosen = _chosen(side.info, columns)
    # The key comes along, for that is where an interrupted dump goes on.
    fields = tuple(dict.fromkeys([*chosen.values(), *side.info.key]))
    meter = Meter(on_progress, "dump", side.info.name, side.count)
    size = batch_size or side.batch_size
    if name == standard:
        done = 0
        with _sink(sys.stdout.buffer, form, chosen, is_new=True) as sink:
            for rows in side.batches(size, columns=fields):
                sink.write(rows)
                done += len(rows)
                meter.tell(done)
        sys.stdout.buffer.flush()
        return Dumped(done, meter.seconds)
    part = _Part(Path(name), form, side.info.key, list(chosen), force=force)
    key_at = [fields.index(f) for f in side.info.key]
    with part.opened(resume=resume) as file_, _sink(file_, form, chosen, is_new=not part.rows) as sink:
        done = part.rows
        for rows in side.batches(size, after=part.after, columns=fields):
            sink.write(rows)
            done += len(rows)
            part.note(file_, tuple([rows[-1][at] for at in key_at]), done)
            meter.tell(done)
    meter.end(done)
    part.complete()
    return Dumped(done, meter.seconds)


def _chosen(info: ModelInfo, columns: Sequence[str] | Mapping[str, str] | None) -> dict[str, Field]:
    """The attributes, by what they are called in the file."""
    if columns is None:
        return {f.name: f for f in info.fields}
    names = columns if isinstance(columns, Mapping) else {name: name for name in columns}
    if not names:
        raise TransferError("no column was named", hint="leave columns out for all of them")
    chosen: dict[str, Field] = {}
    for attribute, name in names.items():
        if name in chosen:
            raise TransferError(f"two columns of the file would be called {name!r}")
        chosen[name] = info.field(attribute)
    return chosen


# -- the file ----------------------------------------------------------------------------------------------------------


class _Part:
    """The file while it is not whole, and the note of what is right in it."""

    def __init__(
        self, file: Path, form: Format, key: Sequence[Field], names: Sequence[str], *, force: bool
    ) -> None:
        if file.exists() and not file.is_file():
            raise TransferError(f"{file} is no ordinary file", hint="name another; - is standard output")
        if file.exists() and not force:
            raise TransferError(f"{file} is there already", hint="force=True (--force) writes over it")
        if not file.parent.is_dir():
            raise TransferError(f"{file} cannot be written: there is no folder {file.parent}")
        self.file = file
        self.part = file.with_name(f"{file.name}.part")
        self._notes = file.with_name(f"{file.name}.part.json")
        self._key = key
        self._names = list(names)
        self._can_go_on = form.name != "parquet" and not any(
            f.kind is Kind.NATIVE or f.to_stored is not None for f in key
        )
        self.rows = 0
        self.after: Row | None = None

    @contextmanager
    def opened(self, *, resume: bool) -> Iterator[IO[bytes]]:
        """The file, open at the place from which it is written."""
        offset = self._offset() if resume and self._can_go_on else 0
        try:
            opened = self.part.open("r+b" if offset else "wb")
        except OSError as error:
            raise TransferError(f"{self.part} cannot be written: {error.strerror}") from error
        try:
            with opened:
                opened.truncate(offset)
                opened.seek(offset)
                yield opened
        except OSError as error:
            if error.strerror is None or isinstance(error, DbPluginsError):  # a server's
                raise
            raise TransferError(
                f"{self.part} cannot be written: {error.strerror}",
                hint="make room: resume=True (--resume) goes on",
            ) from error

    def _offset(self) -> int:
        """Up to where the part is right; 0 if there is none that can be gone on with."""
        try:
            noted = json.loads(self._notes.read_text(encoding="utf-8"))
            is_same = noted["columns"] == self._names and self.part.stat().st_size >= noted["offset"]
        except (OSError, ValueError, KeyError):
            return 0
        if not is_same:
            return 0
        self.rows = noted["rows"]
        self.after = tuple(map(from_text, self._key, noted["key"]))
        return int(noted["offset"])

    def note(self, opened: IO[bytes], key: Row, rows: int) -> None:
        """All rows up to this key are in the file."""
        if not self._can_go_on:
            return
        opened.flush()
        text = json.dumps(
            {
                "columns": self._names,
                "key": list(map(to_text, self._key, key)),
                "rows": rows,
                "offset": opened.tell(),
            }
        )
        new = self._notes.with_name(f"{self._notes.name}.new")
        new.write_text(text, encoding="utf-8")
        new.replace(self._notes)

    def complete(self) -> None:
        """Give it its name."""
        self._notes.unlink(missing_ok=True)
        self.part.replace(self.file)


@contextmanager
def _sink(opened: IO[bytes], form: Format, chosen: Mapping[str, Field], *, is_new: bool) -> Iterator[_Sink]:
    sink: _Sink = (_ParquetSink if form.name == "parquet" else _TextSink)(opened, form, chosen, is_new)
    yield sink
    sink.end()


class _TextSink:
    """CSV and JSON Lines: each part of rows is bytes of its own."""

    def __init__(self, opened: IO[bytes], form: Format, chosen: Mapping[str, Field], is_new: bool) -> None:
        self._opened = opened
        self._form = form
        self._names = list(chosen)
        make = json_of if form.name == "jsonl" else text_of
        self._tell = make_converter([make(f) for f in chosen.values()], take_none=False) or list
        self._needs_header = is_new

    def write(self, rows: Sequence[Row]) -> None:
        width = len(self._names)
        if rows and len(rows[0]) > width:  # the key came along
            rows = [row[:width] for row in rows]
        told = self._tell(rows)
        self._opened.write(encode(self._form, self._names, told, header=self._needs_header))
        self._needs_header = False

    def end(self) -> None:
        """A file of no rows still says its columns."""
        if self._needs_header:
            self._opened.write(encode(self._form, self._names, [], header=True))


class _ParquetSink:
    """Parquet: a row group for each part, of Arrow's types as ``to_arrow`` gives them."""

    def __init__(self, opened: IO[bytes], _form: Format, chosen: Mapping[str, Field], _is_new: bool) -> None:
        self._parquet = load_package("pyarrow.parquet", "writing Parquet")
        self._opened = opened
        self._chosen = chosen
        # A Numeric without precision has as many decimals as its values, which differ from part to part.
        self._as_text = [
            f.kind is Kind.DECIMAL and (f.precision is None or f.precision > MOST_DIGITS)
            for f in chosen.values()
        ]
        self._writer: Any = None

    def write(self, rows: Sequence[Row]) -> None:
        table = self._table(rows)
        if self._writer is None:
            self._writer = self._parquet.ParquetWriter(self._opened, table.schema)
        self._writer.write_table(table)

    def end(self) -> None:
        if self._writer is None:
            self.write([])
        self._writer.close()

    def _table(self, rows: Sequence[Row]) -> Any:
        pa = load_package("pyarrow", "writing Parquet")
        table = make_table(self._chosen, [[row[: len(self._chosen)] for row in rows]])
        for at, (name, is_text) in enumerate(zip(self._chosen, self._as_text, strict=True)):
            if is_text:
                told = [None if row[at] is None else str(row[at]) for row in rows]
                table = table.set_column(at, pa.field(name, pa.string()), pa.array(told, pa.string()))
        return table


_Sink = _TextSink | _ParquetSink
