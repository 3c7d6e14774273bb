"""What is and what should be: the history, where a database is in it, and whether all three agree. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .entry import Entry, Where
from .revisions import follows, message_of

if TYPE_CHECKING:
    from ..database import Database

__all__ = ["Checked", "Current", "Revision", "check", "current", "heads", "history"]


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision file. ``applied`` is ``None`` if the database was not asked."""

    revision: str
    message: str
    path: Path
    follows: tuple[str, ...]
    is_head: bool
    applied: bool | None = None


@dataclass(frozen=True, slots=True)
class Current:
    """Where a database is: its revisions, those that wait to be applied, those that the folder does not have."""

    revisions: tuple[str, ...]
    pending: tuple[str, ...]
    unknown: tuple[str, ...]
    heads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """What ``check`` found, in words; ``ok`` if nothing."""

    differences: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Do models, revisions and database agree?"""
        return not (self.differences or self.pending or self.problems)


def history(db: Database, *, folder: Where = None) -> list[Revision]:
    """All revisions, the newest first, with whether they are applied."""
    entry = Entry(db, folder)
    return _revisions(entry, entry.history.before(entry.applied()))


def heads(db: Database, *, folder: Where = None) -> list[Revision]:
    """The revisions that none follows. Reads the files alone."""
    return [each for each in _revisions(Entry(db, folder), None) if each.is_head]


def current(db: Database, *, folder: Where = None) -> Current:
    """Where the database is."""
    return _current(Entry(db, folder))


def _current(entry: Entry) -> Current:
    applied = entry.applied()
    done = entry.history.before(applied)
    return Current(
        revisions=applied,
        pending=tuple(each.revision for each in entry.history.revisions if each.revision not in done),
        unknown=tuple(each for each in applied if each not in entry.history),
        heads=entry.history.heads,
    )


def check(db: Database, *, folder: Where = None) -> Checked:
    """Compare models, revisions and database.

    ``pending`` are the revisions that wait; ``differences`` what the models ask for beyond the database (and, while
    revisions wait, beyond what these may bring); ``problems`` several heads, revisions the folder does not have, and tables
    that no revision made.
    """
    entry = Entry(db, folder)
    at = _current(entry)
    problems = []
    if len(at.heads) > 1:
        problems.append(
            f"{len(at.heads)} heads: {', '.join(map(entry.history.named, at.heads))}; join them with `dbp merge`"
        )
    if at.unknown:
        problems.append(
            f"the database is at {', '.join(at.unknown)}, which is not in {entry.folder.versions}"
        )
    if not at.revisions and (there := entry.models_there()):
        problems.append(f"no revision is recorded, and {', '.join(there)} is there already")
    return Checked(
        differences=tuple(
            line for each in entry.difference(applied=at.revisions).changes for line in each.lines
        ),
        pending=tuple(map(entry.history.named, at.pending)),
        problems=tuple(problems),
    )


def _revisions(entry: Entry, applied: set[str] | None) -> list[Revision]:
    ends = set(entry.history.heads)
    return [
        Revision(
            each.revision,
            message_of(each),
            Path(each.path),
            follows(each),
            each.revision in ends,
            None if applied is None else each.revision in applied,
        )
        for each in reversed(entry.history.revisions)
    ]
