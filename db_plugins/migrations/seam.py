"""What an engine gives so that its databases have migrations: ``SupportsMigrations``, a role of its Connection.

    difference(wanted) ── Difference: Changes, each in words and as the source of a revision
    migrating(lock)    ── Migration: the database under its lock; runs the Steps that the core has planned

The revision files, their graph and the plan are the core's, for every engine: ``files.py``, ``revisions.py``.
"""

from __future__ import annotations

import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import sqlalchemy as sa

    from ..models import ModelInfo

__all__ = [
    "Change",
    "Difference",
    "Holder",
    "Interrupted",
    "LockRequest",
    "Migration",
    "Rename",
    "Settling",
    "Step",
    "SupportsMigrations",
    "Wanted",
]


@dataclass(frozen=True, slots=True)
class Rename:
    """What the user called a rename: a table, or with ``table`` a column of it. All are names of the database."""

    old: str
    new: str
    table: str | None = None

    def __str__(self) -> str:
        return f"{self.old if self.table is None else f'{self.table}.{self.old}'}:{self.new}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the database should look like, and what may be known of how it came to look as it does.

    ``models`` has one model for each table, ``links`` the association tables. ``history`` are the files of the applied
    revisions, the oldest first: what they made is owned, and may be dropped when no model needs it any more; everything else in the
    database is left alone. ``from_nothing`` asks for the difference to an empty database, whatever is there.
    """

    models: Sequence[ModelInfo]
    links: Sequence[sa.Table] = ()
    history: Sequence[Path] = ()
    renames: Sequence[Rename] = ()
    from_nothing: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What differs in one place, in words (``"add column stars.mag"``, a line for each thing) and as source.

    ``upgrade`` and ``downgrade`` are statements of a revision's functions, without indentation, the latter undoing the
    former. ``imports`` are the lines they need beside the role's own ``imports``. ``drops`` are those lines of ``text``
    that give data up: a table or a column, never an index. ``makes_table`` says that it makes a whole table or collection,
    or a type for one. ``completes`` says that it only adds what a table that is there lacks, and that a first revision
    (``from_nothing``), run over that table, does so too or is refused: ``initdb`` then runs it.
    """

    text: str
    upgrade: str
    downgrade: str
    imports: frozenset[str] = frozenset()
    drops: tuple[str, ...] = ()
    makes_table: bool = False
    completes: bool = False

    @property
    def lines(self) -> tuple[str, ...]:
        """``text``, each thing by itself."""
        return tuple(self.text.split("\n"))


@dataclass(frozen=True, slots=True)
class Difference:
    """The changes in the order of ``upgrade()``; ``downgrade()`` undoes them from the last to the first.

    ``possible_renames`` are pairs of a drop and an addition that may be one rename; the user is asked.
    """

    changes: tuple[Change, ...] = ()
    possible_renames: tuple[Rename, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a migration lock, for the one who waits."""

    host: str
    process: int
    since: datetime

    @classmethod
    def here(cls) -> Holder:
        """This process, now."""
        return cls(socket.gethostname(), os.getpid(), datetime.now(UTC))

    def __str__(self) -> str:
        return (
            f"process {self.process} on {self.host}, since {self.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        )


@dataclass(frozen=True, slots=True)
class LockRequest:
    """``waiting`` is called once, when another holds the lock, with its Holder if that can be known. After ``timeout``
    seconds (``None``: for ever) the engine raises MigrationLockedError, which names the Holder."""

    holder: Holder = field(default_factory=Holder.here)
    timeout: float | None = 60.0
    waiting: Callable[[Holder | None], None] = lambda _holder: None


@dataclass(frozen=True, slots=True)
class Step:
    """One revision to be applied, or undone.

    ``run`` calls its ``upgrade()`` or ``downgrade()``, inside what the engine has prepared for its ``op``. ``before`` and
    ``after`` are the heads of the database before and after the step. ``alembic`` is Alembic's own step, for an engine
    that runs it by Alembic.
    """

    revision: str
    message: str
    path: Path
    is_upgrade: bool
    before: tuple[str, ...]
    after: tuple[str, ...]
    run: Callable[[], Any] = field(repr=False, compare=False)
    alembic: Any = field(repr=False, compare=False, default=None)

    @property
    def name(self) -> str:
        """As people read it: ``3f2a91c07d44 (Add shields)``."""
        return f"{self.revision} ({self.message})" if self.message else self.revision


#: How an interrupted step is settled: run it again, or take it as done.
Settling = Literal["resume", "mark-done"]


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A revision that an earlier run began and did not end. ``position`` of ``text`` is the step in it, from 1.

    ``is_clean`` says that the next run may go on with it by itself: every step was either done or not.
    """

    revision: str
    is_upgrade: bool
    position: int
    text: str
    is_clean: bool


class Migration(ABC):
    """The database under the migration lock. A context manager's end without an error makes lasting what is not yet."""

    #: Is the whole run undone by an error or a crash? If not each step is lasting when it returns.
    is_atomic: bool = False

    @abstractmethod
    def heads(self) -> tuple[str, ...]:
        """The revisions the database is at, read under the lock."""

    @abstractmethod
    def run(self, step: Step, *, allow_drop: bool, settling: Settling | None = None) -> None:
        """Run one step and record ``step.after``. Of a step that was interrupted: go on where it stopped.

        Raises DestructiveChangeError, before anything is touched, while what the step is to drop holds values and
        ``allow_drop`` is not given. What the driver raises may leave it as it is: the core wraps it.
        """

    @abstractmethod
    def stamp(self, heads: Sequence[str]) -> None:
        """Record that the database is at these revisions, and forget what was interrupted. Runs nothing."""

    def interrupted(self) -> Interrupted | None:
        """The revision that an earlier run left half done. Never where the engine is all or nothing."""
        return None


class SupportsMigrations(ABC):
    """A role of Connection, for engines that claim MIGRATIONS: compares with models, and runs revisions under a lock."""

    #: The import lines of every revision file, ``op`` among them.
    imports: Sequence[str] = ()

    def files(self, entry: str) -> Mapping[str, str]:
        """Files of the entry's folder beside ``versions/`` and ``script.py.mako``: name → text. Written once, in this order."""
        return {}

    @abstractmethod
    def difference(self, wanted: Wanted) -> Difference:
        """What has to change so that the database is as wanted. Changes nothing and makes nothing."""

    @abstractmethod
    def heads(self) -> tuple[str, ...]:
        """The revisions the database is at; none of a database that is not there. Makes nothing."""

    @abstractmethod
    def migrating(self, lock: LockRequest) -> AbstractContextManager[Migration]:
        """Take the migration lock. Leaving it by an error undoes what can be undone."""

    @abstractmethod
    def statements(self, steps: Sequence[Step]) -> str:
        """What the steps would send, as text to read or to run by other means. Sends nothing."""
