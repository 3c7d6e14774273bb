"""``copy``: every row of some models from one database to another, whatever their engines, and then a comparison.

plan.py      parents before children
tables.py    read by key, in batches     writing.py   stored, or put aside
journal.py   how far it is, on the target, so that it can be resumed
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from ..errors import DbPluginsError, IntegrityError, InvalidValueError, TransferError
from ..models import Kind, ModelInfo
from ..models.texts import from_text, to_text
from ..references import names_no_parent
from .aside import aside_file
from .journal import Journal, State
from .meter import Meter
from .plan import Step, make_plan
from .reports import Copied, CopiedTable, OnProgress, Unfit
from .tables import OnConflict, Row, Side, check_databases, label_of, models_of, naming, orphans, tables_of
from .targets import KeyTable, RowTable, unfit_of
from .verifying import Allowed, compare, keeps_microseconds, raise_if_different
from .writing import Writer

if TYPE_CHECKING:
    from ..database import Database

__all__ = ["copy"]

#: Rows that cannot be carried, of which the result names so many.
NAMED = 100
#: More rows than any table has.
ALL = 1 << 62
#: What SQLite calls a database without a file.
IN_MEMORY = ":memory:"


def copy(
    source: Database,
    target: Database,
    *,
    models: Sequence[Any] | None = None,
    create: bool = False,
    on_conflict: OnConflict = "error",
    resume: bool = False,
    dry_run: bool = False,
    skip_invalid: str | PathLike[str] | None = None,
    verify: bool = True,
    batch_size: int | None = None,
    on_progress: OnProgress | None = None,
) -> Copied:
    """Copy the rows of these models (all of ``source`` unless given) into ``target``; then compare the two.

    Parents come before children, in batches and at constant memory. Keys stay what they are, and the target's numbering
    goes on after them. ``create`` makes the target's tables first. ``on_conflict`` is that of ``bulk_insert``, by primary
    key. What was interrupted goes on with ``resume=True``, without doubling or losing a row.

    A row that the target cannot hold raises the error of its write, which names model, attribute and key; with
    ``skip_invalid`` such rows are written to that file, one JSON object each, and left out. ``dry_run`` reads everything,
    writes nothing, and gives those rows in ``unfit``. ``source`` should not be written to meanwhile.

    Raises TransferError for what cannot begin, VerificationError (unless ``verify=False``) if the two differ afterwards.

        transfer.copy(old, new, create=True, on_progress=print)
    """
    check_databases(source, target)
    if _is_same(source, target):
        raise TransferError(f"{source.name} and {target.name} are the same database")
    infos = models_of(source, models)
    steps = make_plan(tables_of(infos))
    run = _Run(source, target, on_conflict, batch_size, on_progress)
    if dry_run:
        return run.dry(steps, skip_invalid, resume=resume)
    if create:
        with naming(target):
            target._create([target._root_runner().reader(info.cls).model for info in infos])
    with ExitStack() as stack:
        if skip_invalid is not None:
            run.aside = stack.enter_context(aside_file(skip_invalid, append=resume))
        run.begin(steps, resume=resume)
        for step in steps:
            run.copy_rows(step)
        for step in steps:
            run.copy_keys(step)
    verified = None
    if verify:
        allowed = {step.info: run.allowed(step.info) for step in steps}
        verified = compare(source, target, [step.info for step in steps], allowed, on_progress)
    run.journal.clear()
    if verified is not None:
        raise_if_different(source, target, verified)
    return run.copied(steps, verified)


def _is_same(source: Database, target: Database) -> bool:
    one, other = source._settings, target._settings
    if one.address in (one.engine, IN_MEMORY):  # each Database has its own
        return source is target
    return source is target or (one.engine, one.address) == (other.engine, other.address)


@dataclass
class _Count:
    """What became of one table's rows; those of earlier runs are in ``state``."""

    state: State
    seconds: float = 0.0
    inserted: int = 0
    updated: int = 0
    ignored: int = 0


class _Run:
    """One run of ``copy``."""

    def __init__(
        self,
        source: Database,
        target: Database,
        on_conflict: OnConflict,
        batch_size: int | None,
        on_progress: OnProgress | None,
    ) -> None:
        self.source = source
        self.target = target
        self.on_conflict = on_conflict
        self.batch_size = batch_size
        self.on_progress = on_progress
        self.aside: Callable[[Unfit], object] | None = None
        self.journal = Journal(target, f"{source.engine} {source._settings.address}")
        self.is_exact = keeps_microseconds(source, target)
        self.counts: dict[ModelInfo, _Count] = {}

    def begin(self, steps: Sequence[Step], *, resume: bool) -> None:
        """Find out where to begin. Raises TransferError if an interrupted copy is in the way."""
        states = {step.info: self.journal.state(step.info) for step in steps}
        noted = [(info, state) for info, state in states.items() if state is not None and state.rows]
        if noted and not resume and self.on_conflict == "error":
            info, state = noted[-1]
            if any(Side(self.target, each).has_rows() for each, _ in noted):
                raise TransferError(
                    f"an earlier copy into {self.target.name} stopped in {info.name}, after {state.rows:,} rows",
                    hint="resume=True (--resume) goes on with it; to begin anew, empty the target's tables first",
                )
        if not resume:
            self.journal.clear()
        for info, found in states.items():
            if resume and found is not None:
                self.counts[info] = _Count(_from_start(found) if found.position is None else found)
                continue
            has_rows = Side(self.target, info).has_rows()
            # What is to go on and has no note may have been at its end, where the notes go.
            self.counts[info] = _Count(State(merged=has_rows, doubt=ALL if resume and has_rows else 0))

    def copy_rows(self, step: Step) -> None:
        """All rows of one table; foreign keys that come later are NULL."""
        count = self.counts[step.info]
        state = count.state
        if state.phase != "rows":
            return
        info, source = step.info, Side(self.source, step.info)
        table = RowTable(step, Side(self.target, info), self.on_conflict, self.is_exact)
        writer = Writer(table, self.aside)
        size = self.batch_size or table.side.batch_size
        meter = Meter(self.on_progress, "copy", info.name, source.count, began=state.rows)
        skipped, ignored, in_doubt = state.skipped, state.ignored, state.doubt
        self.journal.save(info, state.but(doubt=max(size, in_doubt)))
        for rows in source.batches(size, after=key_of(info, state)):
            writer.write(rows, in_doubt=in_doubt > 0 and self.on_conflict == "error")
            in_doubt -= len(rows)
            state = _noted(info, source.key_of(rows[-1]), state).but(
                rows=state.rows + len(rows),
                skipped=skipped + writer.skipped,
                ignored=ignored + writer.ignored,
                delayed=state.delayed + table.count_delayed(rows),
                doubt=max(size, in_doubt),
            )
            count.state = state
            self.journal.save(info, state)
            meter.tell(state.rows)
        count.state = state.but(phase="keys" if state.delayed else "done", position=None, doubt=0)
        self.journal.save(info, count.state)
        meter.end(state.rows)
        count.seconds = meter.seconds
        count.inserted, count.updated, count.ignored = writer.inserted, writer.updated, writer.ignored

    def copy_keys(self, step: Step) -> None:
        """The foreign keys that had to wait for rows of tables that came later."""
        count = self.counts[step.info]
        if count.state.phase != "keys":
            return
        info, source = step.info, Side(self.source, step.info)
        side = Side(self.target, info)
        whole = RowTable(step, side, self.on_conflict, self.is_exact)
        table = KeyTable(step, side)
        writer = Writer(table, self.aside)
        meter = Meter(self.on_progress, "keys", info.name, lambda: count.state.delayed)
        done = 0
        merges = self.on_conflict == "ignore"
        columns = None if merges else table.columns
        for rows in source.batches(self.batch_size or side.batch_size, columns=columns):
            # What was there before, and is to stay, keeps its own foreign keys.
            ours = list(map(table.picked, whole.stored_as_given(rows))) if merges else rows
            waiting = [row for row in ours if table.has_any(row)]
            if waiting:
                writer.write(waiting)
                done += len(waiting)
                meter.tell(min(done, count.state.delayed))
        # Rows whose foreign keys could not be set have NULL there.
        count.state = count.state.but(phase="done", ignored=count.state.ignored + writer.skipped)
        self.journal.save(info, count.state)
        meter.end(count.state.delayed)
        count.seconds += meter.seconds

    def allowed(self, info: ModelInfo) -> Allowed:
        """How the two sides may differ after this copy."""
        count = self.counts[info]
        merges = self.on_conflict != "error" or count.state.merged
        return Allowed(count.state.skipped, count.state.ignored, extra=merges)

    def copied(self, steps: Sequence[Step], verified: Any) -> Copied:
        """The result."""
        return Copied(
            tuple(
                CopiedTable(
                    step.info.name,
                    count.state.rows,
                    count.inserted,
                    count.updated,
                    count.ignored,
                    count.state.skipped,
                    count.seconds,
                )
                for step in steps
                for count in [self.counts[step.info]]
            ),
            verified,
            unfit_count=sum(count.state.skipped for count in self.counts.values()),
        )

    # -- only looking ----------------------------------------------------------------------------------------------

    def dry(self, steps: Sequence[Step], file: str | PathLike[str] | None, *, resume: bool) -> Copied:
        """Read everything, write nothing; what cannot be carried."""
        unfit: list[Unfit] = []
        tables = []
        copied = {step.info.store for step in steps}
        with ExitStack() as stack:
            aside = stack.enter_context(aside_file(file, append=False)) if file is not None else None
            for step in steps:
                source, target = Side(self.source, step.info), Side(self.target, step.info)
                meter = Meter(self.on_progress, "read", step.info.name, source.count)
                merges = resume or self.on_conflict != "error"
                may_be_there = not merges and target.is_there and target.has_rows()
                done = skipped = 0
                for rows in source.batches(self.batch_size or target.batch_size):
                    for one in _unfit_of(source, target, rows, copied, may_be_there=may_be_there):
                        skipped += 1
                        if len(unfit) < NAMED:
                            unfit.append(one)
                        if aside is not None:
                            aside(one)
                    done += len(rows)
                    meter.tell(done)
                meter.end(done)
                tables.append(CopiedTable(step.info.name, done, skipped=skipped, seconds=meter.seconds))
        return Copied(tuple(tables), None, tuple(unfit), sum(table.skipped for table in tables))


def _unfit_of(
    source: Side, target: Side, rows: Sequence[Row], copied: Collection[str], *, may_be_there: bool
) -> Iterator[Unfit]:
    """Rows whose values the target cannot hold, those whose parents would not be there, if it looks, and those whose keys are."""

    def unfit(row: Row, why: DbPluginsError) -> Unfit:
        return unfit_of(target, dict(zip(target.names, row, strict=True)), target.key_of(row), why)

    try:
        target.check_all(rows)
    except (InvalidValueError, IntegrityError):
        for row in rows:
            try:
                target.check(row)
            except (InvalidValueError, IntegrityError) as why:
                yield unfit(row, why)
    if target.looks_for_parents:
        for row, reference in orphans(rows, source, target, copied):
            yield unfit(row, names_no_parent(reference, target.reader.engine))
    if may_be_there:
        for key in target.stored(list(map(target.key_of, rows))):
            name = target.info.name
            yield Unfit(name, f"a {name} with this key is already there", label_of(target.info, key))


def _from_start(state: State) -> State:
    """A key that no text can hold was not noted: whoever goes on reads all rows again, and looks them up."""
    if state.phase != "rows":
        return state
    return State(doubt=state.rows + state.doubt, merged=state.merged)


# -- where it is -------------------------------------------------------------------------------------------------------


def _noted(info: ModelInfo, key: Row, state: State) -> State:
    """The state after this key, if a text can hold it."""
    if any(f.kind is Kind.NATIVE or f.to_stored is not None for f in info.key):
        return state
    return state.but(position=list(map(to_text, info.key, key)))


def key_of(info: ModelInfo, state: State) -> Row | None:
    """The key that a state was noted at."""
    return None if state.position is None else tuple(map(from_text, info.key, state.position))
