"""Revisions are made: from what differs, as the first one of a database, or to join two heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alembic.util import rev_id

from ..errors import InvalidValueError, MigrationError, PendingMigrationsError
from .applying import OnStep, OnWait, Run, apply, migrate, stamp
from .entry import Entry, Where
from .files import Text
from .seam import Change, Difference, LockRequest, Rename

if TYPE_CHECKING:
    from ..database import Database

__all__ = ["Initialised", "Made", "initdb", "make_migrations", "merge"]

#: The first revision of ``initdb``: its id and its message.
INITIAL = "initial"
_LONGEST_MESSAGE = 200


@dataclass(frozen=True, slots=True)
class Made:
    """A revision file that was written. ``changes`` says in words what it does, ``drops`` are those that give data up.

    ``possible_renames`` are drops and additions that may be a rename: make it anew with ``renames`` if so.
    """

    revision: str
    message: str
    path: Path
    changes: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    possible_renames: tuple[Rename, ...] = ()


@dataclass(frozen=True, slots=True)
class Initialised:
    """What ``initdb`` did: ``made`` and ``existing`` are model names; ``revision`` is the file of the first revision,
    if it was written now; ``applied`` are the revisions that were applied."""

    made: tuple[str, ...]
    existing: tuple[str, ...]
    revision: Made | None = None
    applied: tuple[str, ...] = ()


def make_migrations(
    db: Database,
    message: str | None = None,
    *,
    empty: bool = False,
    renames: Sequence[str] = (),
    folder: Where = None,
) -> Made | None:
    """Compare models and database, and write a revision for what differs. ``None`` if nothing does, and no file.

    Changes no database. ``empty`` writes one without changes, to be filled by hand. ``renames`` are ``"old:new"`` for a
    table and ``"table.old:new"`` for a column, by their names in the database.

    Raises PendingMigrationsError while revisions wait to be applied, MultipleHeadsError, RevisionNotFoundError,
    MigrationError for tables that no revision made, InvalidValueError for a message or rename that cannot be.

        made = make_migrations(db, "Add shields")
        if made: print(made.path, made.changes)
    """
    message = _checked(message)
    entry = Entry(db, folder)
    entry.check_single_head()
    if empty:
        return _write(entry, message or "empty", Difference())
    applied = entry.applied()
    _check_up_to_date(entry, applied)
    _check_rebuildable(entry)
    difference = entry.difference(renames=[_rename(each) for each in renames], applied=applied)
    return _write(entry, message, difference) if difference else None


def merge(db: Database, message: str | None = None, *, folder: Where = None) -> Made | None:
    """Write a revision that joins the heads; ``None`` if there is one head at most."""
    message = _checked(message)
    entry = Entry(db, folder)
    heads = entry.history.heads
    if len(heads) < 2:
        return None
    return _write(entry, message or f"merge {' and '.join(heads)}", Difference(), follows=heads)


def initdb(
    db: Database,
    *,
    lock_timeout: float | None = 60.0,
    folder: Where = None,
    on_step: OnStep = lambda _step, _number, _of: None,
    on_wait: OnWait = lambda _holder: None,
    run: Run | None = None,
) -> Initialised:
    """Make what the models need. May be repeated; keeps rows.

    With revisions the same as ``migrate``. Without: writes a first revision, ``initial``, and applies it. If some of the
    tables are there already they must be as the models ask for: MigrationError says what differs. Where the engine says
    of a difference that it ``completes`` a table, and breaks nothing, it is made.
    """
    entry = Entry(db, folder)
    before = tuple(entry.models_there())
    if entry.history.revisions:
        done = migrate(
            db, folder=folder, lock_timeout=lock_timeout, on_step=on_step, on_wait=on_wait, run=run
        )
        return _initialised(entry, before, applied=tuple(step.revision for step in done.done))
    entry.history.check_known(entry.applied())
    whole = entry.difference(from_nothing=True)
    lacks = _adopt(entry, entry.difference()) if before else False
    try:
        made = _write(entry, INITIAL, whole, revision=INITIAL)
    except FileExistsError:  # another initdb was faster, and its revision is as good
        return initdb(db, folder=folder, lock_timeout=lock_timeout, on_step=on_step, on_wait=on_wait, run=run)
    run = run if run is not None else Run()
    try:
        if not before:
            migrate(db, folder=folder, lock_timeout=lock_timeout, on_step=on_step, on_wait=on_wait, run=run)
        elif lacks:
            lock = LockRequest(timeout=lock_timeout, waiting=on_wait)
            apply(Entry(db, folder), INITIAL, run, lock, models_there=(), on_step=on_step)
        else:
            stamp(db, INITIAL, folder=folder, lock_timeout=lock_timeout, on_wait=on_wait)
    except BaseException:
        # Nothing was applied: as if it had not been tried. Where a part may have been, the file says which.
        if not run.planned or _is_untouched(entry, before):
            made.path.unlink(missing_ok=True)
        raise
    return _initialised(entry, before, made, (INITIAL,))


def _initialised(
    entry: Entry, before: tuple[str, ...], revision: Made | None = None, applied: tuple[str, ...] = ()
) -> Initialised:
    made = tuple(each for each in entry.models_there() if each not in before)
    return Initialised(made, before, revision, applied)


def _adopt(entry: Entry, difference: Difference) -> bool:
    """Tables that are there stay as they are, those that are missing are made; anything else is not ours to guess.

    True if they lack what the first revision, run over them, will add.
    """
    changes = [each for each in difference.changes if not each.makes_table]
    other = [line for each in changes if not each.completes for line in each.lines]
    if other:
        raise MigrationError(
            f"{entry.name!r} was made by other means and is not as the models ask for: {'; '.join(other)}",
            hint="change the models or the database until they agree, then run `dbp initdb` again",
        )
    if difference and not changes:
        entry.db.create_all()
    return bool(changes)


def _is_untouched(entry: Entry, before: tuple[str, ...]) -> bool:
    """Is nothing of the first revision in the database, and nothing of it in a journal?"""
    try:
        if tuple(entry.models_there()) != before:
            return False
        with entry.errors(), entry.role.migrating(LockRequest(timeout=1)) as migration:
            return migration.interrupted() is None and not migration.heads()
    except Exception:  # it cannot be reached: the file does no harm
        return False


def _check_up_to_date(entry: Entry, applied: Sequence[str]) -> None:
    entry.history.check_known(applied)
    waiting = [each for each in entry.history.revisions if each.revision not in entry.history.before(applied)]
    if waiting:
        names = ", ".join(entry.history.named(each.revision) for each in waiting)
        raise PendingMigrationsError(
            f"{entry.name!r} is behind its revisions by {len(waiting)}: {names}",
            hint="run `dbp migrate` first: what differs can only be seen from there",
        )


def _check_rebuildable(entry: Entry) -> None:
    """The first revision must make everything: an empty database could not be rebuilt otherwise."""
    if entry.history.revisions:
        return
    there = entry.models_there()
    if there and entry.difference():
        raise MigrationError(
            f"{entry.name!r} has {', '.join(there)} already, made by other means, and has no revisions",
            hint="bring models and database in step and run `dbp initdb`: it writes a first revision that can "
            "rebuild them; then change the models",
        )


def _write(
    entry: Entry,
    message: str | None,
    difference: Difference,
    *,
    follows: tuple[str, ...] | None = None,
    revision: str | None = None,
) -> Made:
    changes = difference.changes
    message = message or _summary(changes)
    revision = revision or rev_id()
    role = entry.role
    entry.folder.make(role.files(entry.name))
    text = Text(
        upgrades=[each.upgrade for each in changes],
        downgrades=[each.downgrade for each in reversed(changes)],
        imports=[*role.imports, *(line for each in changes for line in each.imports)],
    )
    path = entry.folder.write(revision, message, follows or entry.history.head(), text)
    return Made(
        revision,
        message,
        path,
        tuple(line for each in changes for line in each.lines),
        tuple(line for each in changes for line in each.drops),
        difference.possible_renames,
    )


def _summary(changes: Sequence[Change]) -> str:
    """``create table stars, and 3 more changes``: the message of one who gave none."""
    lines = [line for each in changes for line in each.lines]
    first, more = lines[0], len(lines) - 1
    return first + (f", and {more} more change{'s' if more > 1 else ''}" if more else "")


def _checked(message: str | None) -> str | None:
    if message is None or not message.strip():
        return None
    if len(message) > _LONGEST_MESSAGE or "\0" in message:
        raise InvalidValueError(
            f"the message has {len(message)} characters", hint=f"give at most {_LONGEST_MESSAGE}, and no NUL"
        )
    return message.strip()


def _rename(text: str) -> Rename:
    old, colon, new = (part.strip() for part in text.partition(":"))
    table, dot, column = old.rpartition(".")
    new = new.removeprefix(f"{table}.") if dot else new
    is_whole = colon and column and new and bool(table) == bool(dot)
    if not is_whole or {":", "."} & set(new) or new == column:
        raise InvalidValueError(
            f"{text!r} is no rename", hint="write old:new for a table, table.old:new for a column"
        )
    return Rename(column, new, table) if dot else Rename(old, new)
