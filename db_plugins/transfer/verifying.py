"""Is the one database what the other is? Counts and checksums of each model, and the first keys that differ.

Both sides are read once, at constant memory. Only where count or checksum differ are they read again, side by side in the
order of their keys, which is the same on every engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from ..engine import Capability
from ..errors import VerificationError
from ..models import Kind, ModelInfo
from .canonical import MOMENTS, SUMS, make_canonical, row_sum
from .meter import Meter
from .plan import make_plan
from .reports import Difference, OnProgress, Verified, VerifiedTable
from .tables import Row, Side, check_databases, label_of, models_of, tables_of

if TYPE_CHECKING:
    from ..database import Database

__all__ = ["Allowed", "compare", "keeps_microseconds", "raise_if_different", "verify"]

#: Keys that are named of each model.
NAMED = 10
Fields = tuple[str, ...]


class Allowed:
    """Differences that a copy was told to leave: rows that were skipped or ignored, and what was there before."""

    def __init__(self, skipped: int = 0, ignored: int = 0, *, extra: bool = False) -> None:
        self.missing = skipped
        self.differs = ignored
        self.extra = extra


def verify(
    source: Database,
    target: Database,
    *,
    models: Sequence[Any] | None = None,
    on_progress: OnProgress | None = None,
) -> Verified:
    """Compare the models' rows (all models of ``source`` unless given) on two databases, whatever their engines.

    Counts, and an order-independent checksum of the values as Python has them. Raises VerificationError, whose
    ``differences`` name the first keys that are missing, extra or different. Where one side keeps only milliseconds,
    moments are compared at those, and ``notes`` say so.

        transfer.verify(old, new).tables[0].checksum
    """
    check_databases(source, target)
    tables = [step.info for step in make_plan(tables_of(models_of(source, models)))]
    verified = compare(source, target, tables, on_progress=on_progress)
    raise_if_different(source, target, verified)
    return verified


def raise_if_different(source: Database, target: Database, verified: Verified) -> None:
    """Raise VerificationError for the tables that differ."""
    bad = [table for table in verified.tables if not table.ok]
    if not bad:
        return
    found = tuple(difference for table in bad for difference in table.differences)
    names = ", ".join(f"{table.model} ({table.rows} and {table.target_rows} rows)" for table in bad)
    raise VerificationError(
        f"{source.name} and {target.name} differ in {names}",
        differences=found,
        verified=verified,
        hint="was one of them written to meanwhile? `dbp copy --on-conflict update` brings the target up to the source",
    )


def compare(
    source: Database,
    target: Database,
    tables: Sequence[ModelInfo],
    allowed: dict[ModelInfo, Allowed] | None = None,
    on_progress: OnProgress | None = None,
) -> Verified:
    """What is different, raising nothing."""
    microseconds = keeps_microseconds(source, target)
    notes = []
    has_moments = any(f.kind in MOMENTS for info in tables for f in info.fields)
    if not microseconds and has_moments:
        coarse = [db.engine for db in (source, target) if Capability.MICROSECONDS not in db.capabilities]
        notes.append(
            f"moments are compared at milliseconds: {' and '.join(dict.fromkeys(coarse))} keeps no more"
        )
    found = []
    for info in tables:
        pair = _Pair(Side(source, info), Side(target, info), microseconds, on_progress)
        found.append(pair.compared((allowed or {}).get(info, Allowed())))
    return Verified(tuple(found), tuple(notes))


def keeps_microseconds(*databases: Database) -> bool:
    """Do all of them?"""
    return all(Capability.MICROSECONDS in db.capabilities for db in databases)


class _Pair:
    """One table on both sides."""

    def __init__(
        self, source: Side, target: Side, microseconds: bool, on_progress: OnProgress | None
    ) -> None:
        self.source = source
        self.target = target
        self.info = source.info
        self.canonical = make_canonical(self.info.fields, microseconds=microseconds)
        self.meter = Meter(on_progress, "verify", self.info.name, lambda: source.count() + target.count())
        self.done = 0

    def compared(self, allowed: Allowed) -> VerifiedTable:
        rows, checksum = self._sum(self.source)
        target_rows, target_checksum = self._sum(self.target)
        self.meter.end(self.done)
        same = (rows, checksum) == (target_rows, target_checksum)
        return VerifiedTable(
            model=self.info.name,
            rows=rows,
            target_rows=target_rows,
            checksum=f"{checksum:032x}",
            target_checksum=f"{target_checksum:032x}",
            differences=() if same else self._differences(allowed),
        )

    def _sum(self, side: Side) -> tuple[int, int]:
        rows = checksum = 0
        for part in side.batches(side.batch_size):
            rows += len(part)
            checksum = (checksum + row_sum(self.canonical(part))) % SUMS
            self.done += len(part)
            self.meter.tell(self.done)
        return rows, checksum

    def _differences(self, allowed: Allowed) -> tuple[Difference, ...]:
        """The first keys that differ, unless all differences are allowed."""
        kept: dict[str, list[Difference]] = {"missing": [], "differs": [], "extra": []}
        counts = dict.fromkeys(kept, 0)
        walk = self._walk if _is_ordered(self.info) else self._look_up
        for difference in walk():
            counts[difference.what] += 1
            if len(kept[difference.what]) < NAMED:
                kept[difference.what].append(difference)
        if counts["missing"] <= allowed.missing:
            kept["missing"] = []
        if counts["differs"] <= allowed.differs:
            kept["differs"] = []
        if allowed.extra:
            kept["extra"] = []
        return tuple(chain(*kept.values()))

    def _walk(self) -> Iterator[Difference]:
        """Both sides by key, in step."""
        info = self.info
        ordered = _ordering(info)
        ours, theirs = self._rows(self.source), self._rows(self.target)
        left, right = next(ours, None), next(theirs, None)
        while left is not None or right is not None:
            if right is None or (left is not None and ordered(left[0]) < ordered(right[0])):
                assert left is not None
                yield Difference(info.name, label_of(info, left[0]), "missing")
                left = next(ours, None)
            elif left is None or ordered(right[0]) < ordered(left[0]):
                yield Difference(info.name, label_of(info, right[0]), "extra")
                right = next(theirs, None)
            else:
                if repr(left[1]) != repr(right[1]):
                    names = _unequal(info, left[1], right[1])
                    yield Difference(info.name, label_of(info, left[0]), "differs", names)
                left, right = next(ours, None), next(theirs, None)

    def _look_up(self) -> Iterator[Difference]:
        """Each side's keys on the other, for keys that two engines may order differently."""
        info = self.info
        for here, there, what in ((self.source, self.target, "missing"), (self.target, self.source, "extra")):
            for part in here.batches(here.batch_size):
                found = there.stored(list(map(here.key_of, part)))
                for row in part:
                    key = here.key_of(row)
                    other = found.get(key)
                    if other is None:
                        yield Difference(info.name, label_of(info, key), what)
                    elif here is self.source:
                        left, right = self.canonical([row, other])
                        if left != right:
                            names = _unequal(info, left, right)
                            yield Difference(info.name, label_of(info, key), "differs", names)

    def _rows(self, side: Side) -> Iterator[tuple[Row, Row]]:
        for part in side.batches(side.batch_size):
            for row, canonical in zip(part, self.canonical(part), strict=True):
                yield side.key_of(row), canonical


def _is_ordered(info: ModelInfo) -> bool:
    """Do all engines have its keys in one order? Of a type of the user's own some order the values, some what is stored."""
    return not any(f.kind is Kind.NATIVE or f.to_stored is not None for f in info.key)


def _ordering(info: ModelInfo) -> Callable[[Row], Any]:
    """What the keys are ordered by: an Enum by its name, everything else by itself."""
    if any(f.kind is Kind.ENUM for f in info.key):
        return lambda key: tuple([getattr(part, "name", part) for part in key])
    return lambda key: key


def _unequal(info: ModelInfo, left: Row, right: Row) -> Fields:
    pairs = zip(info.fields, left, right, strict=True)
    return tuple(f.name for f, one, other in pairs if repr(one) != repr(other))
