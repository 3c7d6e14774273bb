"""Rows into one table of the target: stored in the order given, and what cannot be stored told one by one.

write    a part; if it is refused either the first bad row stops it, or bad rows are put aside and the rest is stored
Table    what the writer has to know of rows, be they those of another database or of a file
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from ..engine import BulkResult
from ..errors import DbPluginsError, DuplicateKeyError, IntegrityError, InvalidValueError
from ..models import ModelInfo
from .reports import Unfit

__all__ = ["Aside", "Table", "Writer", "attribute_of", "fact_of"]

R = TypeVar("R")
#: Takes a row that cannot be stored.
Aside = Callable[[Unfit], object]


class Table(Protocol[R]):
    """Where rows go."""

    @property
    def can_go_on(self) -> bool:
        """Can rows be stored after some were refused? Within a transaction not on every server."""
        ...

    def insert(self, rows: Sequence[R]) -> BulkResult:
        """Store these, and note that all up to the last of them are done."""
        ...

    def passed(self, row: R) -> None:
        """Note that all up to this one, which is not stored, are done."""
        ...

    def check(self, row: R) -> None:
        """Raise InvalidValueError or NotNullError for a row that cannot be stored. Sends nothing."""
        ...

    def without_stored(self, rows: Sequence[R]) -> Sequence[R]:
        """Those that are not there yet, as they are."""
        ...

    def unfit(self, row: R, why: DbPluginsError) -> Unfit:
        """What is said of a row that this error is about."""
        ...


class Writer(Generic[R]):
    """Writes one table. Without ``aside`` the first row that cannot be stored ends it, by the error of its write; those
    before it are stored."""

    def __init__(self, table: Table[R], aside: Aside | None = None) -> None:
        self.table = table
        self.aside = aside
        self.inserted = self.updated = self.ignored = self.skipped = 0

    def write(self, rows: Sequence[R], *, in_doubt: bool = False) -> None:
        """Store these rows, some of which may be there already if they are ``in_doubt``."""
        if in_doubt:
            last, count = rows[-1], len(rows)
            rows = self.table.without_stored(rows)
            self.inserted += count - len(rows)
            if not rows:
                self.table.passed(last)
        if not rows:
            return
        try:
            self._add(self.table.insert(rows))
        except (InvalidValueError, IntegrityError) as error:
            self._part(rows, error)

    def _part(self, rows: Sequence[R], error: InvalidValueError | IntegrityError) -> None:
        """A refused part, by halves: of each what can be stored is stored, in order."""
        if len(rows) == 1:
            self._put_aside(rows[0], error)
            return
        if self.aside is None and not (isinstance(error, IntegrityError) and self.table.can_go_on):
            raise self._named(rows, error) from error.__cause__
        if error.stored:  # a server without transactions keeps those before the one that it refused
            self.inserted += error.stored
            rows = rows[error.stored :]
        middle = len(rows) // 2
        for half in (rows[:middle], rows[middle:]):
            self.write(half)

    def _put_aside(self, row: R, why: InvalidValueError | IntegrityError) -> None:
        unfit = self.table.unfit(row, why)
        if self.aside is None:
            raise _told(why, unfit)
        self.aside(unfit)
        self.skipped += 1
        self.table.passed(row)

    def _named(self, rows: Sequence[R], why: Any) -> Any:
        """The error, saying which row it is about if that can be told."""
        for row in rows:
            try:
                self.table.check(row)
            except (InvalidValueError, IntegrityError) as error:
                return _told(error, self.table.unfit(row, error))
        return _told(why, None)

    def _add(self, result: BulkResult) -> None:
        self.inserted += result.inserted
        self.updated += result.updated
        self.ignored += result.ignored


def _told(why: Any, unfit: Unfit | None) -> Any:
    """The error, with the row it is about and what a transfer can do."""
    if unfit is not None:
        why.args = (f"{fact_of(why)} ({unfit.where})",)
    if isinstance(why, DuplicateKeyError):
        why.hint = why.hint or (
            "empty the table first, or say what becomes of such rows: on_conflict= (--on-conflict) ignore or update; "
            "resume=True (--resume) goes on after an interruption"
        )
    why.hint = why.hint or "skip_invalid=FILE (--skip-invalid FILE) leaves such rows out"
    return why


def fact_of(why: DbPluginsError) -> str:
    """Without the number of the row in its part, which says nothing here."""
    return why.fact.partition(" (row ")[0]


def attribute_of(info: ModelInfo, why: DbPluginsError) -> str | None:
    """The attribute that an error names, in ``attributes`` or as ``Model.attribute``."""
    if named := getattr(why, "attributes", ()):
        return ", ".join(named)
    return next((f.name for f in info.fields if why.fact.startswith(f"{f.label} ")), None)
