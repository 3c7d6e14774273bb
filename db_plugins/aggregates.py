"""What ``aggregate`` asks, as data, and what it means, in plain Python: the reference for engines that do it themselves.

    Aggregation(groups, terms, order, limit, offset)    one row for each group: its keys, then its terms
    Term("top", "max", Column(Star.mag), …)             one function over one operand
    Groups(rows, sorted)                                an engine's answer

NULL is left out by every function, as in SQL; of no values count is 0 and the others are NULL. An engine gives plain
numbers, and of an average its sum and its count: ``Aggregation.settle`` makes of them the same type, rounded the same
way, on every engine.
"""

from __future__ import annotations

import decimal
import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .evaluation import compute
from .models import Field, Kind
from .nodes import Column, Operand

__all__ = ["AVG_DECIMALS", "Aggregation", "GroupOrder", "Groups", "Term", "aggregate_rows"]

Row = tuple[Any, ...]

#: The average of a Numeric has this many decimals more than the column.
AVG_DECIMALS = 6
#: Sums of Decimals are exact; Python's own context would round them to 28 digits.
_EXACT = decimal.Context(prec=400, rounding=decimal.ROUND_HALF_EVEN)
_QUOTIENT = decimal.Context(prec=28, rounding=decimal.ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Term:
    """One labelled function. ``operand`` is ``None`` for the count of rows.

    ``kind`` is the operand's, and ``scale`` the number of its decimals if it is a Decimal that has a fixed one.
    """

    label: str
    function: str
    operand: Operand | None
    kind: Kind = Kind.INTEGER
    scale: int | None = None

    @property
    def column(self) -> Field | None:
        """The column whose least or greatest value this is: an engine decodes it as in ``fetch``."""
        if self.function in ("min", "max") and isinstance(self.operand, Column):
            return self.operand.field
        return None

    def settle(self, found: Any) -> Any:
        """The value as the user gets it, of what the engine found: for an average, the pair of its sum and count."""
        if self.function == "count":
            return int(found or 0)
        if self.function == "avg":
            total, count = found or (None, 0)
            return self._average(total, int(count)) if count and total is not None else None
        if found is None or self.column is not None:
            return found
        return self._number(found)

    def _number(self, found: Any) -> Any:
        if self.kind is Kind.INTEGER:
            return int(found)
        if self.kind is Kind.FLOAT:
            return _known(float(found))
        number = _exact(found)
        return number if self.scale is None else number.quantize(_step(self.scale), context=_EXACT)

    def _average(self, total: Any, count: int) -> Any:
        if self.kind is Kind.INTEGER:
            return int(total) / count
        if self.kind is Kind.FLOAT:
            return _known(float(total) / count)
        if self.scale is None:
            return _QUOTIENT.divide(_exact(total), Decimal(count))
        quotient = _EXACT.divide(self._number(total), Decimal(count))
        return quotient.quantize(_step(self.scale + AVG_DECIMALS), context=_EXACT)


def _exact(number: Any) -> Decimal:
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)


def _known(number: float) -> float | None:
    return None if number != number else number  # NaN is NULL


def _step(scale: int) -> Decimal:
    return Decimal(1).scaleb(-scale)


@dataclass(frozen=True, slots=True)
class GroupOrder:
    """One term of the order of groups: the value at this position of a group's row."""

    position: int
    descending: bool = False
    nulls_first: bool = True


@dataclass(frozen=True, slots=True)
class Groups:
    """What an engine answers: a row for each group, in order and cut to the window unless ``sorted`` is False."""

    rows: Sequence[Row]
    sorted: bool = True


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What is wanted of the rows of a query. ``order`` is total: it ends with the group columns.

    Without ``groups`` all rows are one group, which is there also when there are no rows.
    """

    groups: tuple[Field, ...]
    terms: tuple[Term, ...]
    order: tuple[GroupOrder, ...] = ()
    limit: int | None = None
    offset: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The keys of a result, in order."""
        return (*(f.name for f in self.groups), *(t.label for t in self.terms))

    def settle(self, found: Groups) -> list[Row]:
        """The rows as the user gets them."""
        width = len(self.groups)
        rows = [
            (*row[:width], *(t.settle(v) for t, v in zip(self.terms, row[width:], strict=True)))
            for row in found.rows
        ]
        if not self.groups:
            return rows or [tuple(term.settle(None) for term in self.terms)]
        return rows if found.sorted else self._cut(self._sort(rows))

    def _sort(self, rows: list[Row]) -> list[Row]:
        for term in reversed(self.order):
            at, down, to_key = term.position, term.descending, self._sort_key(term.position)
            first = term.nulls_first is not down  # reverse=True turns the flag round as well

            def key(row: Row, at: int = at, to_key: Any = to_key, first: bool = first) -> Any:
                value = row[at]
                return (not first, 0) if value is None else (first, to_key(value))

            rows.sort(key=key, reverse=down)
        return rows

    def _cut(self, rows: list[Row]) -> list[Row]:
        return rows[self.offset : None if self.limit is None else self.offset + self.limit]

    def _sort_key(self, position: int) -> Callable[[Any], Any]:
        width = len(self.groups)
        field = self.groups[position] if position < width else self.terms[position - width].column
        return _identity(field)


def aggregate_rows(wanted: Aggregation, rows: Iterable[Mapping[str, Any]]) -> Groups:
    """The answer worked out from rows: the reference, and what the core does for an engine without the role.

    Takes the memory of the groups, however many rows there are.
    """
    found: dict[Row, tuple[Row, list[_Total]]] = {}
    keys = [(f.path, _identity(f)) for f in wanted.groups]
    for row in rows:
        values = tuple([row[name] for name, _ in keys])
        key = tuple([None if v is None else to_key(v) for v, (_, to_key) in zip(values, keys, strict=True)])
        if key not in found:
            found[key] = values, [_TOTALS[term.function](term) for term in wanted.terms]
        for total in found[key][1]:
            total.add(row)
    return Groups([(*values, *(t.result() for t in totals)) for values, totals in found.values()], False)


def _identity(field: Field | None) -> Callable[[Any], Any]:
    """How values of a column are told apart and ordered: Enum members by name, converted ones as they are stored."""
    if field is not None and field.to_stored is not None:
        return field.to_stored
    return lambda value: value.name if isinstance(value, enum.Enum) else value


class _Total:
    """One term of one group, fed row by row. This one counts."""

    def __init__(self, term: Term) -> None:
        self.term = term
        self.count = 0

    def add(self, row: Mapping[str, Any]) -> None:
        if self.term.operand is None:
            self.count += 1
            return
        value = compute(self.term.operand, row)
        if value is not None:
            self.count += 1
            self.take(value)

    def take(self, value: Any) -> None:
        """Add one value that is not NULL."""

    def result(self) -> Any:
        """What an engine would give."""
        return self.count


class _Sum(_Total):
    """Integers and Decimals exactly; of floats with the digits that each addition lost kept beside (Neumaier)."""

    def __init__(self, term: Term) -> None:
        super().__init__(term)
        self.total: Any = {Kind.FLOAT: 0.0, Kind.DECIMAL: Decimal(0)}.get(term.kind, 0)
        self.lost = 0.0

    def take(self, value: Any) -> None:
        if self.term.kind is Kind.DECIMAL:
            self.total = _EXACT.add(self.total, _exact(value))
        elif self.term.kind is Kind.INTEGER:
            self.total += value
        else:
            self._take_float(float(value))

    def _take_float(self, value: float) -> None:
        total = self.total + value
        larger, smaller = (self.total, value) if abs(self.total) >= abs(value) else (value, self.total)
        lost = (larger - total) + smaller
        if lost == lost:  # not after an infinity
            self.lost += lost
        self.total = total

    def result(self) -> Any:
        if not self.count:
            return None
        return self.total + self.lost if self.term.kind is Kind.FLOAT else self.total


class _Average(_Sum):
    """Sum and count: dividing is left to ``settle``."""

    def result(self) -> Any:
        return (super().result(), self.count)


class _Extreme(_Total):
    """The least or the greatest."""

    def __init__(self, term: Term) -> None:
        super().__init__(term)
        self.best: Any = None
        self.key = _identity(term.column)

    def take(self, value: Any) -> None:
        if self.best is None or self._is_better(self.key(value), self.key(self.best)):
            self.best = value

    def _is_better(self, value: Any, best: Any) -> bool:
        return bool(value < best if self.term.function == "min" else value > best)

    def result(self) -> Any:
        return self.best


_TOTALS: dict[str, type[_Total]] = {
    "count": _Total,
    "sum": _Sum,
    "avg": _Average,
    "min": _Extreme,
    "max": _Extreme,
}
