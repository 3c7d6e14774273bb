"""``load``: the rows of a file into one model's table.

formats.py   what stands on each line          cells.py     read as the attribute's column takes it
writing.py   stored, or put aside              journal.py   the line that was stored last, in the same transaction
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..engine import BulkResult, Capability
from ..errors import DbPluginsError, InvalidValueError, TransferError
from ..models.makers import collection_paused
from ..query.batches import new_row
from .aside import aside_file
from .cells import Convert, reader_of
from .formats import Line, file_format, read_lines, standard
from .journal import Journal, State
from .meter import Meter
from .reports import Loaded, OnProgress, Unfit
from .tables import OnConflict, Side, check_databases, whole_table
from .writing import Writer, attribute_of, fact_of

if TYPE_CHECKING:
    from ..database import Database
    from ..models import ModelInfo

__all__ = ["load"]

File = str | PathLike[str]


def load(
    db: Database,
    model: Any,
    file: File,
    *,
    format: str | None = None,  # noqa: A002 - the word of the field
    columns: Mapping[str, str | None] | None = None,
    on_conflict: OnConflict = "error",
    key: Any = None,
    resume: bool = False,
    skip_invalid: File | None = None,
    batch_size: int | None = None,
    on_progress: OnProgress | None = None,
) -> Loaded:
    """Store the rows of a CSV, JSON Lines or Parquet file, by its ending (``.csv.gz``) or ``format``; ``"-"`` is standard input.

    The file's columns are named after attributes, or ``columns`` says how: ``{"Name": "name", "Notes": None}`` reads the
    attribute ``name`` from *Name* and leaves *Notes* out. Values are read as the attribute's column takes them: an empty
    cell of CSV is NULL, moments are ISO 8601, bytes base64, JSON its own text. ``on_conflict`` and ``key`` are those of
    ``bulk_insert``. What was interrupted goes on with ``resume=True`` after the line that was stored last.

    A line that cannot be stored raises the error of its write, which names the line; with ``skip_invalid`` such lines are
    written to that file with their reason, and left out. Raises TransferError for a file that cannot be read.

        transfer.load(db, Star, "stars.csv.gz", skip_invalid="bad.jsonl")
    """
    check_databases(db)
    name = fspath(file)
    form = file_format(name, format)
    side = Side(db, whole_table(db, model))
    columns_of = _Columns(side.info, columns or {}, has_json=form.name == "jsonl")
    journal = Journal(db, f"file {name if name == standard else Path(name).resolve()}")
    state = _begin(journal, side, on_conflict, resume=resume)
    table = _Lines(db, side, journal, state, on_conflict, key, columns_of)
    meter = Meter(on_progress, "load", side.info.name, began=state.rows)
    size = batch_size or side.batch_size
    with ExitStack() as stack:
        aside = None
        if skip_invalid is not None:
            aside = stack.enter_context(aside_file(skip_invalid, append=resume))
        writer: Writer[_Read] = Writer(table, aside)
        in_doubt = state.doubt
        table.begin(size)
        for lines in _parts(read_lines(name, form), size, after=state.position[0] if state.position else 0):
            table.part = lines
            rows, bad = columns_of.read(lines)
            for unfit in bad:
                if aside is None:
                    raise InvalidValueError(
                        f"{unfit.reason} ({unfit.where} of {name})",
                        hint="skip_invalid=FILE (--skip-invalid FILE) leaves such lines out",
                    )
                aside(unfit)
                writer.skipped += 1
            if rows:
                writer.write(rows, in_doubt=in_doubt > 0)
            in_doubt -= len(lines)
            table.done(lines)
            meter.tell(table.rows)
    journal.clear()
    meter.end(table.rows)
    return Loaded(
        table.rows,
        writer.inserted,
        writer.updated,
        writer.ignored,
        writer.skipped,
        meter.seconds,
    )


def _begin(journal: Journal, side: Side, on_conflict: OnConflict, *, resume: bool) -> State:
    state = journal.state(side.info)
    if resume:
        if state is None and on_conflict == "error" and side.query.exists():
            journal.clear()  # a load that was killed at its very end may have left an empty table of notes
            raise TransferError(
                f"no load of this file into {side.info.name} is under way, and there are rows: it may be complete",
                hint="leave resume (--resume) out to load every line",
            )
        return state or State()
    if state is not None and state.position and on_conflict == "error" and side.query.exists():
        raise TransferError(
            f"an earlier load of this file into {side.info.name} stopped after line {state.position[0]}",
            hint="resume=True (--resume) goes on with it; to begin anew, empty the table first",
        )
    journal.clear()
    return State()


def _parts(lines: Iterator[Line], size: int, *, after: int) -> Iterator[list[Line]]:
    """Lists of lines, from the one after this."""
    wanted = (line for line in lines if line.number > after) if after else lines
    while True:
        with collection_paused():
            part = list(islice(wanted, size))
        if not part:
            return
        yield part


class _Read(NamedTuple):
    """A line whose values were read."""

    line: int
    values: dict[str, Any]


class _Columns:
    """What the file's names are to the model."""

    def __init__(self, info: ModelInfo, given: Mapping[str, str | None], *, has_json: bool) -> None:
        self.info = info
        self.given = dict(given)
        self._readers = {f.name: reader_of(f, has_json=has_json) for f in info.fields}
        for attribute in self.given.values():
            if attribute is not None:
                info.field(attribute)
        self._known: dict[tuple[str, ...], list[tuple[str, str, Convert | None]]] = {}

    def read(self, lines: Sequence[Line]) -> tuple[list[_Read], list[Unfit]]:
        """The rows, and the lines that are none."""
        rows, bad = [], []
        for line in lines:
            if line.row is None:
                bad.append(Unfit(self.info.name, line.reason or "", line=line.number))
                continue
            try:
                rows.append(_Read(line.number, self._values(line.row)))
            except InvalidValueError as why:
                attribute = attribute_of(self.info, why)
                bad.append(Unfit(self.info.name, fact_of(why), None, attribute, line.number, line.row))
        return rows, bad

    def _values(self, row: Mapping[str, Any]) -> dict[str, Any]:
        names = tuple(row)
        columns = self._known.get(names)
        if columns is None:
            pairs = self._pairs(names)
            columns = self._known[names] = [(name, to, self._readers[to]) for name, to in pairs]
        return {
            attribute: row[name] if read is None else read(row[name]) for name, attribute, read in columns
        }

    def _pairs(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """The file's name and the attribute's. Raises TransferError for a name that is neither's."""
        pairs = []
        for name in names:
            attribute = self.given.get(name, name)
            if attribute is None:
                continue
            try:
                pairs.append((name, self.info.field(attribute).name))
            except InvalidValueError as error:
                divided = next((sign for sign in ";\t|" if len(names) == 1 and sign in name), None)
                if divided is not None:
                    raise TransferError(
                        f"the file has one column, {name!r}",
                        hint="its columns are to be divided by commas, or by tabs: format='tsv' (--format tsv)",
                    ) from None
                raise TransferError(
                    f"the file has a column {name!r}, and {error.fact}",
                    hint=f"{error.hint}; columns={{{name!r}: 'attribute'}} (--column {name}=attribute) names it, "
                    f"{{{name!r}: None}} (--column {name}=) leaves it out",
                ) from None
        taken = [attribute for _, attribute in pairs]
        for attribute in taken:
            if taken.count(attribute) > 1:
                raise TransferError(f"two columns of the file are {self.info.name}.{attribute}")
        return pairs


class _Lines:
    """Rows of a file, as ``Writer`` sees them: stored in one transaction with the note of the last line, where there are any."""

    def __init__(
        self,
        db: Database,
        side: Side,
        journal: Journal,
        state: State,
        on_conflict: OnConflict,
        key: Any,
        columns: _Columns,
    ) -> None:
        self.db = db
        self.side = side
        self.journal = journal
        self.state = state
        self.on_conflict = on_conflict
        self.key = key
        self.columns = columns
        #: The lines of the moment.
        self.part: Sequence[Line] = ()
        self.is_whole = Capability.TRANSACTIONS in db.capabilities and not any(
            note.startswith("TRANSACTIONS") for note in db.ping().missing
        )

    @property
    def rows(self) -> int:
        """How many lines are done."""
        return self.state.rows

    def begin(self, size: int) -> None:
        """Note that parts of this size follow."""
        if not self.is_whole:
            self.state = self.state.but(doubt=max(size, self.state.doubt))
        self.journal.save(self.side.info, self.state)

    def done(self, lines: Sequence[Line]) -> None:
        """Note that all of these are done."""
        self.state = self.state.but(position=[lines[-1].number], rows=self.state.rows + len(lines))
        self.journal.save(self.side.info, self.state)

    @property
    def can_go_on(self) -> bool:
        return self.side.can_go_on

    def insert(self, rows: Sequence[_Read]) -> BulkResult:
        is_own = self.is_whole and self.side.runner.block is None
        with self.db.transaction() if is_own else self.side.savepoint():
            result = self.side.query.bulk_insert(
                [row.values for row in rows], on_conflict=self.on_conflict, key=self.key
            )
            if self.is_whole:
                self.passed(rows[-1])
        return result

    def passed(self, row: _Read) -> None:
        if self.is_whole:
            done = sum(line.number <= row.line for line in self.part)
            self.journal.save(
                self.side.info, self.state.but(position=[row.line], rows=self.state.rows + done)
            )

    def check(self, row: _Read) -> None:
        new_row(self.side.reader, row.values)

    def without_stored(self, rows: Sequence[_Read]) -> Sequence[_Read]:
        """By their primary keys; rows that leave them to be numbered cannot be told from others."""
        if self.is_whole or self.on_conflict != "error":
            return rows
        info = self.side.info
        names = [f.name for f in info.key]
        if any(row.values.get(name) is None for row in rows for name in names):
            raise TransferError(
                f"nobody can tell which of lines {rows[0].line} to {rows[-1].line} are stored: "
                f"{self.side.reader.engine} has no transactions, and the file has no {', '.join(names)}",
                hint="look them up, and load the rest of the file",
            )
        check = self.side.reader.check
        keys = [tuple([check(f, row.values[f.name]) for f in info.key]) for row in rows]
        there = self.side.stored(keys)
        return [row for row, key in zip(rows, keys, strict=True) if key not in there]

    def unfit(self, row: _Read, why: DbPluginsError) -> Unfit:
        info = self.side.info
        return Unfit(info.name, fact_of(why), None, attribute_of(info, why), row.line, row.values)
