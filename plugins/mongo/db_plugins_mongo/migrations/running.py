"""A revision run operation by operation, under the lease and with the journal.

1  upgrade() is called and its operations are only noted       Recorder
2  what must be refused is refused, before anything is sent    Preview
3  upgrade() is called again, and each operation that the journal does not have is sent    Sender
4  the heads are recorded and the journal is emptied
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import Any

import pymongo
from pymongo import errors as driver

from db_plugins.errors import DirtyMigrationError, MigrationError
from db_plugins.migrations.seam import Interrupted, Migration, Settling, Step

from .journal import Journal, Row
from .locks import Lease
from .operations import performing
from .steps import Operation, Preview

__all__ = ["MongoMigration", "statements_of"]


class _LooksAtData(BaseException):
    """The revision asks for ``op.database``: what comes behind is not known before it runs. No Exception, lest it be caught."""


class Recorder:
    """Notes operations and sends nothing. ``is_whole`` is False if the revision looks at the database itself."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.is_whole = True

    def perform(self, operation: Operation) -> None:
        self.operations.append(operation)

    @property
    def database(self) -> Any:
        raise _LooksAtData

    def record(self, run: Callable[[], Any]) -> Recorder:
        with performing(self):
            try:
                run()
            except _LooksAtData:
                self.is_whole = False
        return self


class Sender:
    """Sends each operation of one step that is not done yet, between two notes in the journal."""

    def __init__(
        self,
        step: Step,
        databases: tuple[Any, Any],
        lease: Lease,
        journal: Journal,
        rows: Mapping[int, Row],
        checked: set[int],
        *,
        allow_drop: bool,
        settling: Settling | None,
    ) -> None:
        self._step = step
        self._own, self._native = databases
        self._lease = lease
        self._journal = journal
        self._rows = rows
        self._checked = checked
        self._allow_drop = allow_drop
        self._settling = settling
        self.position = 0

    @property
    def database(self) -> Any:
        self._lease.confirm()
        return self._native

    def perform(self, operation: Operation) -> None:
        self.position += 1
        row, known = _row(self._step, self.position, operation), self._rows.get(self.position)
        if known is not None:
            _refuse_edited(self._step, known, operation, self._settling)
            if known.state == "done":
                return
        self._lease.confirm()
        if self.position not in self._checked:
            try:
                # What was begun with --allow-drop goes on without.
                operation.refuse(
                    Preview(
                        self._own,
                        allow_drop=self._allow_drop or (known is not None and known.state == "running"),
                    )
                )
            except MigrationError:
                self._failed(row, was_sent=False)
                raise
        self._journal.note(row)
        try:
            with pymongo.timeout(None):  # QUERY_TIMEOUT is about queries: an index may take its time
                operation.send(self._own)
        except Exception as exc:
            answered = isinstance(exc, (driver.OperationFailure, MigrationError))
            self._failed(row, was_sent=not (answered and operation.is_atomic))
            raise
        self._journal.note(replace(row, state="done"))

    def _failed(self, row: Row, *, was_sent: bool) -> None:
        """The first operation of a revision that did nothing leaves nothing to go on with."""
        with suppress(driver.PyMongoError):
            if row.position == 1 and not was_sent:
                self._journal.forget(row)
            else:
                self._journal.note(replace(row, state="failed"))


class MongoMigration(Migration):
    """The database under the lease. Each operation is lasting when the next begins."""

    is_atomic = False

    def __init__(
        self,
        databases: tuple[Any, Any],
        journal: Journal,
        lease: Lease,
        during: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._databases = databases
        self._journal = journal
        self._lease = lease
        self._during = during

    def heads(self) -> tuple[str, ...]:
        return self._journal.heads()

    def stamp(self, heads: Sequence[str]) -> None:
        self._lease.confirm()
        self._journal.arrive(heads)

    def interrupted(self) -> Interrupted | None:
        rows = self._journal.rows()
        if not rows:
            return None
        row = next((row for row in rows if row.state != "done"), rows[-1])
        return Interrupted(
            row.revision,
            row.is_upgrade,
            row.position,
            row.text.splitlines()[0],
            is_clean=row.state == "done" or row.is_repeatable,
        )

    def run(self, step: Step, *, allow_drop: bool, settling: Settling | None = None) -> None:
        with self._during():  # the core makes our error of the driver's before the connection sees it
            self._run(step, allow_drop=allow_drop, settling=settling)

    def _run(self, step: Step, *, allow_drop: bool, settling: Settling | None) -> None:
        self._lease.confirm()
        rows = self._rows_of(step, settling)
        if not rows:
            self._journal.clear()
        script = Recorder().record(step.run)
        self._refuse_edited(step, script, rows, settling)
        checked = self._look_ahead(script, rows, allow_drop=allow_drop)
        sender = Sender(
            step,
            self._databases,
            self._lease,
            self._journal,
            rows,
            checked,
            allow_drop=allow_drop,
            settling=settling,
        )
        with performing(sender):
            step.run()
        self._lease.confirm()
        self._journal.arrive(step.after)

    def _rows_of(self, step: Step, settling: Settling | None) -> dict[int, Row]:
        """What the journal has of this step, settled."""
        rows = {}
        for row in self._journal.rows():
            if (row.revision, row.is_upgrade) != (step.revision, step.is_upgrade):
                raise DirtyMigrationError(
                    f"{'the upgrade' if row.is_upgrade else 'the downgrade'} of {row.revision} stopped at its operation "
                    f"{row.position}: {row.text.splitlines()[0]}",
                    hint="finish that first",
                )
            rows[row.position] = row
        open_ = next((row for n, row in sorted(rows.items()) if row.state != "done"), None)
        if open_ is None:
            return rows
        if settling == "mark-done":
            rows[open_.position] = replace(open_, state="done")
            self._journal.note(rows[open_.position])
        elif settling is None and not open_.is_repeatable:
            raise DirtyMigrationError(
                f"operation {open_.position} of {step.name} may be half done: {open_.text.splitlines()[0]}",
                hint="look at the documents, then run with --resume to do it again, or --mark-done if it is done",
            )
        return rows

    def _refuse_edited(
        self, step: Step, script: Recorder, rows: Mapping[int, Row], settling: Settling | None
    ) -> None:
        for position, operation in enumerate(script.operations, 1):
            if position in rows:
                _refuse_edited(step, rows[position], operation, settling)
        lost = [row for n, row in sorted(rows.items()) if n > len(script.operations)]
        if lost and script.is_whole and settling is None:
            _refuse(step, lost[0])

    def _look_ahead(self, script: Recorder, rows: Mapping[int, Row], *, allow_drop: bool) -> set[int]:
        """Refuse what can be refused before anything is sent; the positions that need no look of their own."""
        preview = Preview(self._databases[0], allow_drop=allow_drop)
        checked = set()
        with pymongo.timeout(None):
            for position, operation in enumerate(script.operations, 1):
                row = rows.get(position)
                if row is not None and row.state == "done":
                    continue
                begun = row is not None and row.state == "running"
                preview.allow_drop = allow_drop or begun
                if operation.refuse(preview):
                    checked.add(position)
                operation.foresee(preview)
        return checked


def _row(step: Step, position: int, operation: Operation) -> Row:
    return Row(
        revision=step.revision,
        is_upgrade=step.is_upgrade,
        position=position,
        state="running",
        text=operation.text,
        digest=operation.digest,
        is_repeatable=operation.is_repeatable,
        after=tuple(step.after),
    )


def _refuse_edited(step: Step, row: Row, operation: Operation, settling: Settling | None) -> None:
    """What failed may be corrected; what was done, or may be half done, may not change under us."""
    if row.digest != operation.digest and row.state != "failed" and settling is None:
        _refuse(step, row)


def _refuse(step: Step, row: Row) -> None:
    raise DirtyMigrationError(
        f"{step.name} was edited after it had been applied in part: its operation {row.position} was "
        f"{row.text.splitlines()[0]}",
        hint="put the file back as it was; or run with --resume to go on behind what is done",
    )


def statements_of(steps: Sequence[Step]) -> str:
    """What the steps would send, in the shell's words."""
    lines = []
    for step in steps:
        script = Recorder().record(step.run)
        lines.append(f"// {'upgrade' if step.is_upgrade else 'downgrade of'} {step.name}")
        lines += [operation.text for operation in script.operations]
        if not script.is_whole:
            lines.append("// from here on it reads the database itself (op.database)")
        lines.append("")
    return "\n".join(lines)
