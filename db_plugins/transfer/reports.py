"""What a transfer says: while it runs (Progress), of rows that cannot be carried (Unfit), and at its end.

copy    → Copied ── tables ──> CopiedTable        load, dump → Loaded, Dumped
verify  → Verified ── tables ──> VerifiedTable ── differences ──> Difference
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "Copied",
    "CopiedTable",
    "Difference",
    "Dumped",
    "Loaded",
    "OnProgress",
    "Progress",
    "Unfit",
    "Verified",
    "VerifiedTable",
]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one model is: ``done`` of ``total`` rows (``None``: unknown) after so many ``seconds``.

    ``phase`` is ``"copy"``, ``"keys"`` (foreign keys that had to wait), ``"read"`` (a dry run), ``"verify"``, ``"load"``
    or ``"dump"``.
    ``began`` is where a resumed run went on: its rows are in ``done`` and took none of the seconds.
    """

    phase: str
    model: str
    done: int
    total: int | None
    seconds: float
    began: int = 0
    is_last: bool = False

    @property
    def rate(self) -> float:
        """Rows a second."""
        return (self.done - self.began) / self.seconds if self.seconds > 0 else 0.0

    @property
    def left(self) -> float | None:
        """Seconds that are left at this rate; ``None`` while nobody can know."""
        if self.total is None or self.rate <= 0:
            return None
        return max(0, self.total - self.done) / self.rate


OnProgress = Callable[[Progress], object]


@dataclass(frozen=True, slots=True)
class Unfit:
    """A row that cannot be carried, and why: by its key, or by its ``line`` in a file."""

    model: str
    reason: str
    key: Any = None
    attribute: str | None = None
    line: int | None = None
    row: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def where(self) -> str:
        """``Star 7``, or ``line 12``."""
        return f"line {self.line}" if self.line is not None else f"{self.model} {self.key!r}"

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(frozen=True, slots=True)
class CopiedTable:
    """One model's rows: those read, and what became of them. ``seconds`` are those of this run."""

    model: str
    rows: int
    inserted: int = 0
    updated: int = 0
    ignored: int = 0
    skipped: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of the rows of a file."""

    rows: int
    inserted: int = 0
    updated: int = 0
    ignored: int = 0
    skipped: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Dumped:
    """What was written to a file."""

    rows: int
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """A key whose rows differ: ``what`` is ``"missing"`` or ``"extra"`` (on the target), or ``"differs"``, in these attributes."""

    model: str
    key: Any
    what: str
    attributes: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = {"missing": "is missing", "extra": "is extra"}.get(self.what)
        return f"{self.model} {self.key!r} {told or 'differs in ' + ', '.join(self.attributes)}"


@dataclass(frozen=True, slots=True)
class VerifiedTable:
    """Counts and checksums of one model on both sides. A checksum is 32 hex digits and heeds no order of rows."""

    model: str
    rows: int
    target_rows: int
    checksum: str
    target_checksum: str
    differences: tuple[Difference, ...] = ()

    @property
    def ok(self) -> bool:
        """Are both sides the same, but for what the copy was told to leave?"""
        return not self.differences


@dataclass(frozen=True, slots=True)
class Verified:
    """What was compared. ``notes`` say what the comparison did not look at, such as microseconds."""

    tables: tuple[VerifiedTable, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Are all of them?"""
        return all(table.ok for table in self.tables)


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did. ``unfit`` are the first of the rows that cannot be carried, ``unfit_count`` counts them all."""

    tables: tuple[CopiedTable, ...]
    verified: Verified | None = None
    unfit: tuple[Unfit, ...] = ()
    unfit_count: int = 0

    @property
    def rows(self) -> int:
        """All rows that were read."""
        return sum(table.rows for table in self.tables)
