"""Where the rows of a copy go, as ``Writer`` sees it.

RowTable   a table's rows; what comes later is NULL
KeyTable   what came later: foreign keys of rows that are there
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..engine import BulkResult
from ..errors import DbPluginsError
from .canonical import make_canonical
from .plan import Step
from .reports import Unfit
from .tables import OnConflict, Row, Side, label_of, naming
from .writing import attribute_of, fact_of

__all__ = ["KeyTable", "RowTable", "unfit_of"]


class RowTable:
    """The rows of one table, as ``Writer`` sees them."""

    def __init__(self, step: Step, side: Side, on_conflict: OnConflict, microseconds: bool) -> None:
        self.side = side
        self.on_conflict = on_conflict
        self.canonical = make_canonical(side.info.fields, microseconds=microseconds)
        self.later = {at for at, field in enumerate(side.info.fields) if field in step.later}

    @property
    def can_go_on(self) -> bool:
        return self.side.can_go_on

    def insert(self, rows: Sequence[Row]) -> BulkResult:
        return self.side.insert(self._delayed(rows), self.on_conflict)

    def passed(self, row: Row) -> None:
        """It is noted with its part."""

    def check(self, row: Row) -> None:
        self.side.check(row)

    def without_stored(self, rows: Sequence[Row]) -> list[Row]:
        """One that is stored otherwise stays, to be refused."""
        key_of = self.side.key_of
        there = self.side.stored([key_of(row) for row in rows])
        known = {key: repr(self.canonical([row])[0]) for key, row in there.items()}
        whole, delayed = self.canonical(rows), self.canonical(self._delayed(rows))
        return [
            row
            for row, *forms in zip(rows, whole, delayed, strict=True)
            if known.get(key_of(row)) not in list(map(repr, forms))
        ]

    def stored_as_given(self, rows: Sequence[Row]) -> list[Row]:
        """Those that are there as they were stored, and not as somebody else has stored them."""
        others = set(map(self.side.key_of, self.without_stored(rows)))
        return [row for row in rows if self.side.key_of(row) not in others]

    def unfit(self, row: Row, why: DbPluginsError) -> Unfit:
        return unfit_of(self.side, dict(zip(self.side.names, row, strict=True)), self.side.key_of(row), why)

    def count_delayed(self, rows: Sequence[Row]) -> int:
        """Of how many a foreign key comes later."""
        return sum(any(row[at] is not None for at in self.later) for row in rows) if self.later else 0

    def _delayed(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The rows with NULL where a foreign key comes later."""
        later = self.later
        if not later:
            return rows
        return [tuple([None if at in later else value for at, value in enumerate(row)]) for row in rows]


class KeyTable:
    """The foreign keys that come later, as ``Writer`` sees them: rows of the key, those, and what else must not change."""

    def __init__(self, step: Step, side: Side) -> None:
        info = step.info
        # What an update would set by itself is given, too: the row is to be what it is on the other side.
        kept = [f for f in info.fields if f.onupdate or f.server_onupdate or f is info.version]
        self.side = side
        self.columns = tuple(dict.fromkeys([*info.key, *step.later, *kept]))
        self._names = [f.name for f in self.columns]
        self._from = [info.fields.index(f) for f in self.columns]
        self._at = [self.columns.index(f) for f in step.later]

    def picked(self, row: Row) -> Row:
        """These columns of a whole row."""
        return tuple([row[at] for at in self._from])

    def has_any(self, row: Row) -> bool:
        """Does it refer to anything?"""
        return any(row[at] is not None for at in self._at)

    @property
    def can_go_on(self) -> bool:
        return self.side.can_go_on

    def insert(self, rows: Sequence[Row]) -> BulkResult:
        with naming(self.side.db), self.side.savepoint():
            return BulkResult(updated=self.side.query.bulk_update(list(map(self._named, rows))))

    def passed(self, row: Row) -> None:
        """Nothing is noted: setting them again does no harm."""

    def check(self, row: Row) -> None:
        """They were checked with their rows."""

    def without_stored(self, rows: Sequence[Row]) -> Sequence[Row]:
        return rows

    def unfit(self, row: Row, why: DbPluginsError) -> Unfit:
        return unfit_of(self.side, self._named(row), row[: len(self.side.info.key)], why)

    def _named(self, row: Row) -> dict[str, Any]:
        return dict(zip(self._names, row, strict=True))


def unfit_of(side: Side, row: dict[str, Any], key: Row, why: DbPluginsError) -> Unfit:
    """What is said of a row that this error is about."""
    info = side.info
    return Unfit(info.name, fact_of(why), label_of(info, key), attribute_of(info, why), row=row)
