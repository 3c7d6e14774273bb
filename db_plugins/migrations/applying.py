"""Revisions are applied, and undone: planned, locked, run one by one, and what was done is always known."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import (
    ConnectionFailedError,
    ConnectionLostError,
    DbPluginsError,
    DirtyMigrationError,
    EngineError,
    MigrationError,
    OutcomeUnknownError,
    RevisionNotFoundError,
)
from .entry import Entry, Where
from .seam import Holder, Interrupted, LockRequest, Migration, Settling, Step

if TYPE_CHECKING:
    from ..database import Database

__all__ = ["Run", "apply", "downgrade", "migrate", "sql", "stamp"]

#: Called before each step with its place, from 1, and their number; and for the one who waits.
OnStep = Callable[[Step, int, int], None]
OnWait = Callable[["Holder | None"], None]


@dataclass(slots=True)
class Run:
    """A run of migrations: filled while it goes on, so that it tells how far it came when it fails.

    ``planned`` are all its steps, ``done`` those that are lasting, ``undone`` those that ran and were rolled back.
    """

    planned: list[Step] = field(default_factory=list)
    done: list[Step] = field(default_factory=list)
    undone: list[Step] = field(default_factory=list)

    @property
    def left(self) -> list[Step]:
        """The steps that are not in the database."""
        return self.planned[len(self.done) :]


def migrate(
    db: Database,
    revision: str = "head",
    *,
    plan: bool = False,
    allow_drop: bool = False,
    lock_timeout: float | None = 60.0,
    settling: Settling | None = None,
    folder: Where = None,
    on_step: OnStep = lambda _step, _number, _of: None,
    on_wait: OnWait = lambda _holder: None,
    run: Run | None = None,
) -> Run:
    """Bring the database to ``"head"``, ``"base"``, ``"+1"``, ``"-1"`` or a revision, up or down.

    Under the entry's lock; all or nothing where the engine can, else a journal lets the next run go on. ``plan`` only
    says what would be done. ``allow_drop`` gives up what dropped columns and tables hold. ``settling`` says what becomes
    of a step that was interrupted: ``"resume"`` runs it again, ``"mark-done"`` takes it as done. ``lock_timeout`` is in
    seconds, ``None`` for ever. A ``run`` given is filled, and tells how far it came when this raises.

    Raises RevisionNotFoundError, MultipleHeadsError, DestructiveChangeError, MigrationLockedError, DirtyMigrationError,
    MigrationError for a revision that fails, and EngineError for a database that does.

        migrate(db)                       # to head
        migrate(db, "3f2a91c07d44")       # to this revision
    """
    run = run if run is not None else Run()
    entry = Entry(db, folder)
    applied = entry.applied()
    if plan:
        run.planned += entry.history.towards(applied, revision)
        return run
    # What is wrong with the way there is said without waiting for the lock.
    entry.history.towards(applied, revision)
    apply(
        entry,
        revision,
        run,
        LockRequest(timeout=lock_timeout, waiting=on_wait),
        models_there=[] if applied else entry.models_there(),
        allow_drop=allow_drop,
        settling=settling,
        on_step=on_step,
    )
    return run


def apply(
    entry: Entry,
    revision: str,
    run: Run,
    lock: LockRequest,
    *,
    models_there: Sequence[str],
    allow_drop: bool = False,
    settling: Settling | None = None,
    on_step: OnStep,
) -> None:
    """Plan under the lock, and run. ``models_there`` are those that forbid it while no revision is recorded."""
    ran: list[Step] = []
    try:
        with entry.errors(), entry.role.migrating(lock) as migration:
            steps = _planned(entry, migration, revision, settling, models_there)
            entry.check_engine([step for step, _settling in steps])
            run.planned += [step for step, _settling in steps]
            for number, (step, settled) in enumerate(steps, 1):
                on_step(step, number, len(steps))
                with _running(entry, step, is_atomic=migration.is_atomic):
                    migration.run(step, allow_drop=allow_drop, settling=settled)
                ran.append(step)
                if not migration.is_atomic:
                    run.done.append(step)
    except BaseException:
        run.undone += ran[len(run.done) :]
        raise
    run.done[:] = ran


def downgrade(
    db: Database,
    revision: str = "-1",
    *,
    allow_drop: bool = False,
    lock_timeout: float | None = 60.0,
    folder: Where = None,
    on_step: OnStep = lambda _step, _number, _of: None,
    on_wait: OnWait = lambda _holder: None,
    run: Run | None = None,
) -> Run:
    """Undo the last revision, or all that follow ``revision``. Otherwise as ``migrate``.

    Raises MigrationError for a revision that lies ahead.
    """
    entry = Entry(db, folder)
    applied = entry.applied()
    if not revision.startswith("-") and revision != "base":
        target = entry.history.find(revision)
        entry.history.check_known(applied)
        if target not in entry.history.before(applied):
            raise MigrationError(
                f"{entry.name!r} is not at {entry.history.named(target)} yet, so it cannot be brought back to it",
                hint="`dbp migrate` brings it forward",
            )
    return migrate(
        db,
        revision,
        allow_drop=allow_drop,
        lock_timeout=lock_timeout,
        folder=folder,
        on_step=on_step,
        on_wait=on_wait,
        run=run,
    )


def sql(db: Database, revision: str = "head", *, folder: Where = None) -> str:
    """The statements that ``migrate`` would send, as text. Sends none, takes no lock."""
    entry = Entry(db, folder)
    applied = entry.applied()
    steps = entry.history.towards(applied, revision)
    if not applied:
        entry.check_not_by_hand(entry.models_there())
    entry.check_engine(steps)
    with entry.errors():
        return entry.role.statements(steps) if steps else ""


def stamp(
    db: Database,
    revision: str,
    *,
    lock_timeout: float | None = 60.0,
    folder: Where = None,
    on_wait: OnWait = lambda _holder: None,
) -> tuple[str, ...]:
    """Record that the database is at ``"head"``, ``"base"`` or a revision, and run nothing. Returns the heads recorded."""
    entry = Entry(db, folder)
    history = entry.history
    if revision == "head":
        history.head()
    heads = (
        ()
        if revision == "base"
        else history.heads
        if revision in ("head", "heads")
        else (history.find(revision),)
    )
    with (
        entry.errors(),
        entry.role.migrating(LockRequest(timeout=lock_timeout, waiting=on_wait)) as migration,
    ):
        migration.stamp(heads)
    return heads


def _planned(
    entry: Entry,
    migration: Migration,
    target: str,
    settling: Settling | None,
    models_there: Sequence[str],
) -> list[tuple[Step, Settling | None]]:
    """The plan, read under the lock, with what an earlier run left half done at its beginning."""
    heads = tuple(sorted(migration.heads()))
    stopped = migration.interrupted()
    if stopped is None:
        if not heads:
            entry.check_not_by_hand(models_there)
        return [(step, None) for step in entry.history.towards(heads, target)]
    if stopped.revision not in entry.history:
        raise RevisionNotFoundError(
            f"{entry.name!r} stopped inside {stopped.revision}, which is not in {entry.folder.versions}",
            hint="bring the file here from where it was made; if it is lost, look at the database and say where it is "
            "with `dbp stamp REVISION`",
        )
    first = entry.history.step(stopped.revision, is_upgrade=stopped.is_upgrade, heads=heads)
    steps = entry.history.towards(heads, target)
    goes_on = bool(steps) and (steps[0].revision, steps[0].is_upgrade) == (first.revision, first.is_upgrade)
    if settling is None and not (stopped.is_clean and goes_on):
        raise _dirty(entry, stopped, first)
    rest = steps[1:] if goes_on else entry.history.towards(first.after, target)
    return [(first, settling), *((step, None) for step in rest)]


def _dirty(entry: Entry, stopped: Interrupted, step: Step) -> DirtyMigrationError:
    doing = "upgrade()" if stopped.is_upgrade else "downgrade()"
    fact = f"{entry.name!r} stopped inside {doing} of {step.name}, step {stopped.position} ({stopped.text})"
    if stopped.is_clean:
        return DirtyMigrationError(
            f"{fact}, and has to come to its end first", hint="`dbp migrate --resume` finishes it"
        )
    return DirtyMigrationError(
        f"{fact}, which may be half done",
        hint="look at the database, then: `dbp migrate --resume` runs that step again and goes on, "
        "`--mark-done` takes it as done and goes on",
    )


@contextmanager
def _running(entry: Entry, step: Step, *, is_atomic: bool) -> Iterator[None]:
    """An error inside a revision names the revision and its line; what the database said is its cause."""
    try:
        with entry.errors():
            yield
    except (ConnectionFailedError, ConnectionLostError, OutcomeUnknownError, MigrationError):
        raise
    except Exception as error:
        said = error.fact if isinstance(error, DbPluginsError) else f"{type(error).__name__}: {error}"
        doing = "upgrade()" if step.is_upgrade else "downgrade()"
        line = next((at for each in _chain(error) if (at := _line_in(step, each))), None)
        kept = (
            "nothing of this run was kept; mend the revision or the data, and run it again"
            if is_atomic
            else "what came before it in the revision stays done, and the next `dbp migrate` goes on there"
        )
        words = "; --verbose shows the database's own words" if isinstance(error, EngineError) else ""
        raise MigrationError(
            f"{doing} of {step.name} failed{f' at {step.path.name}:{line}' if line else ''}: {said}",
            hint=kept + words,
        ) from error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all it came from: the driver's, which is the cause, may not have seen the revision's frame, as the one
    in between has."""
    queue, seen = [error], set()
    for each in queue:
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            queue += [other for other in (each.__cause__, each.__context__) if other is not None]


def _line_in(step: Step, error: BaseException) -> int | None:
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == str(step.path)), None)
