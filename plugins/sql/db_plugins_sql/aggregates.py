"""Aggregations become one SELECT … GROUP BY, and its rows the groups. Pure: nothing here touches a database.

``Aggregates`` says what the SQL engines share; a subclass holds what differs of one dialect: which sums are exact, which
types have a least and a greatest, what is grouped and ordered by code point.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import NullType

from db_plugins.aggregates import GroupOrder, Term
from db_plugins.engine import Aggregation, Groups
from db_plugins.models import Field, Kind
from db_plugins.nodes import Column
from db_plugins.spec import Order, QuerySpec

from .compiler import Words

__all__ = ["Aggregates", "MariaDBAggregates", "Plan", "PostgreSQLAggregates", "SQLiteAggregates"]

Values = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """A statement, and how its rows become groups: the keys come first, then some columns for each term."""

    aggregates: Aggregates
    wanted: Aggregation
    statement: sa.Select[Any]
    widths: tuple[int, ...]
    is_sorted: bool

    def groups(self, rows: Iterable[Values]) -> Groups:
        """The answer."""
        return Groups([self._row(row) for row in rows], self.is_sorted)

    def _row(self, row: Values) -> tuple[Any, ...]:
        at = len(self.wanted.groups)
        made = list(row[:at])
        for term, width in zip(self.wanted.terms, self.widths, strict=True):
            made.append(self.aggregates.value(term, row[at : at + width]))
            at += width
        return tuple(made)


class Aggregates:
    """How one dialect aggregates; this one is for any dialect, the others say what differs."""

    def can_plan(self, wanted: Aggregation) -> bool:
        """Does the dialect group as the contract says?"""
        return all(self.can_group(field) for field in wanted.groups)

    def plan(self, words: Words, spec: QuerySpec, wanted: Aggregation) -> Plan:
        """The statement."""
        keys = [self.key(words, field) for field in wanted.groups]
        parts = [self.parts(words, term) for term in wanted.terms]
        chosen = [
            *(sa.type_coerce(k, f.sql_type) for k, f in zip(keys, wanted.groups, strict=True)),
            *(part for columns in parts for part in columns),
        ]
        named = [column.label(f"c{n}") for n, column in enumerate(chosen)]
        statement = words._where(sa.select(*named).select_from(words.source(spec)), spec).group_by(*keys)
        is_sorted = all(self.can_order(wanted, term) for term in wanted.order)
        if is_sorted:
            order = [part for term in wanted.order for part in self._order(words, wanted, term)]
            statement = statement.order_by(*order).limit(wanted.limit).offset(wanted.offset or None)
        return Plan(self, wanted, statement, tuple(len(columns) for columns in parts), is_sorted)

    # -- groups ----------------------------------------------------------------------------------------------------

    def can_group(self, field: Field) -> bool:
        """Are values of this column equal here when they are equal?"""
        return True

    def key(self, words: Words, field: Field) -> Any:
        """The column as it is grouped by: text by code point."""
        return words.sorted_as(field) if field.kind is Kind.TEXT else words.column(field)

    # -- terms -----------------------------------------------------------------------------------------------------

    def parts(self, words: Words, term: Term) -> list[Any]:
        """The columns that a term needs: of an average the parts of its sum, then the count."""
        if term.operand is None:
            return [sa.func.count()]
        if term.function == "count":
            return [sa.func.count(words.operand(term.operand))]
        if term.column is not None:
            return [sa.type_coerce(self.extreme(words, term, term.column), term.column.sql_type)]
        operand = words.operand(term.operand)
        if term.function in ("min", "max"):
            return [_plain(getattr(sa.func, term.function)(operand))]
        total = [_plain(part) for part in self.total(term, operand)]
        return total if term.function == "sum" else [*total, sa.func.count(operand)]

    def extreme(self, words: Words, term: Term, field: Field) -> Any:
        """The least or greatest of a column."""
        return getattr(sa.func, term.function)(self.key(words, field))

    def total(self, term: Term, operand: Any) -> list[Any]:
        """The columns that a sum is made of."""
        return [sa.func.sum(operand)]

    def value(self, term: Term, found: Values) -> Any:
        """What the columns of a term say."""
        if term.function == "avg":
            return (self.summed(term, found[:-1]), found[-1])
        return self.summed(term, found) if term.function == "sum" else found[0]

    def summed(self, term: Term, found: Values) -> Any:
        """What the columns of a sum say."""
        return found[0]

    # -- order -----------------------------------------------------------------------------------------------------

    def can_order(self, wanted: Aggregation, order: GroupOrder) -> bool:
        """Can the groups be ordered here? Averages of Decimals are rounded by every dialect in its own way."""
        term = _term_of(wanted, order)
        return term is None or not (term.function == "avg" and term.kind is Kind.DECIMAL)

    def _order(self, words: Words, wanted: Aggregation, order: GroupOrder) -> list[Any]:
        term = _term_of(wanted, order)
        if term is None:
            return words.order_term(Order(wanted.groups[order.position], order.descending, order.nulls_first))
        made = self.ordered(words, term)
        found = [part.desc() if order.descending else part.asc() for part in made]
        if term.function == "count":
            return found
        # Dialects put NULL on either side, and not all can be told in words.
        last = sa.case(
            (made[0].is_(None), 0 if order.nulls_first else 1), else_=1 if order.nulls_first else 0
        )
        return [last, *found]

    def ordered(self, words: Words, term: Term) -> list[Any]:
        """A term as groups are ordered by it."""
        parts = self.parts(words, term)
        if term.function != "avg":
            return parts
        assert term.operand is not None
        operand = words.operand(term.operand)
        return [sa.cast(sa.func.sum(operand), sa.Double) / sa.func.count(operand)]


def _plain(expression: Any) -> Any:
    """The value as the driver gives it."""
    return sa.type_coerce(expression, NullType())


def _term_of(wanted: Aggregation, order: GroupOrder) -> Term | None:
    at = order.position - len(wanted.groups)
    return None if at < 0 else wanted.terms[at]


class SQLiteAggregates(Aggregates):
    """``sum`` fails beyond 64 bits, and Decimals are floats: whole numbers are summed in two halves of 32 bits."""

    half = 1 << 32

    def total(self, term: Term, operand: Any) -> list[Any]:
        scale = _exact_scale(term)
        if scale is None:
            return [sa.func.sum(operand)]
        if term.kind is Kind.DECIMAL:
            operand = sa.cast(sa.func.round(_plain(operand) * sa.literal(10.0**scale)), sa.BigInteger)
        low = sa.literal(self.half - 1, sa.BigInteger)
        return [
            sa.func.sum(operand.bitwise_rshift(sa.literal(32))),
            sa.func.sum(operand.bitwise_and(low)),
        ]

    def summed(self, term: Term, found: Values) -> Any:
        if found[0] is None:
            return None
        scale = _exact_scale(term)
        if scale is not None:
            return (
                Decimal(found[0] * self.half + found[1]).scaleb(-scale, _WIDE)
                if scale
                else found[0] * self.half + found[1]
            )
        return _exact_digits(found[0]) if term.kind is Kind.DECIMAL else found[0]

    def value(self, term: Term, found: Values) -> Any:
        value = super().value(term, found)
        if term.function in ("min", "max") and term.column is None and term.kind is Kind.DECIMAL:
            return None if value is None else _exact_digits(value)
        return value

    def ordered(self, words: Words, term: Term) -> list[Any]:
        if term.function == "avg" and _exact_scale(term) is not None:
            assert term.operand is not None
            operand = words.operand(term.operand)
            return [sa.func.total(operand) / sa.func.nullif(sa.func.count(operand), 0)]
        made = super().ordered(words, term)
        if term.function != "sum" or len(made) == 1:
            return made
        high, low = made
        return [
            high + low.bitwise_rshift(sa.literal(32)),
            low.bitwise_and(sa.literal(self.half - 1, sa.BigInteger)),
        ]


_WIDE = Context(prec=60)
_DIGITS = Context(prec=15)


def _exact_scale(term: Term) -> int | None:
    """The decimals of a sum that can be done in whole numbers of 64 bits; ``None`` for any other."""
    if term.kind is Kind.INTEGER:
        return 0
    field = term.operand.field if isinstance(term.operand, Column) else None
    if field is None or field.kind is not Kind.DECIMAL or field.scale is None or (field.precision or 99) > 18:
        return None
    return field.scale


def _exact_digits(number: Any) -> Decimal:
    """Of a float made of Decimals, the digits that are right."""
    return _DIGITS.plus(Decimal(repr(number)))


class PostgreSQLAggregates(Aggregates):
    """``min`` knows neither UUIDs nor, before 18, bytes: the text of their digits has the same order."""

    def extreme(self, words: Words, term: Term, field: Field) -> Any:
        column, function = words.column(field), getattr(sa.func, term.function)
        if field.kind is Kind.UUID:
            return sa.cast(function(sa.cast(column, sa.Text).collate("C")), sa.Uuid)
        if field.kind is Kind.BYTES:
            return sa.func.decode(function(sa.func.encode(column, "hex").collate("C")), "hex")
        return super().extreme(words, term, field)

    def total(self, term: Term, operand: Any) -> list[Any]:
        # The sum of a REAL would be a REAL, that of a BIGINT is a NUMERIC.
        return [sa.func.sum(sa.cast(operand, sa.Double) if term.kind is Kind.FLOAT else operand)]


class MariaDBAggregates(Aggregates):
    """Rows are grouped and ordered by the first 1,024 bytes of a long value: such groups are left to the core."""

    def can_group(self, field: Field) -> bool:
        return not _is_long(field)

    def can_order(self, wanted: Aggregation, order: GroupOrder) -> bool:
        term = _term_of(wanted, order)
        is_long = term is not None and term.column is not None and _is_long(term.column)
        return super().can_order(wanted, order) and not is_long


def _is_long(field: Field) -> bool:
    return field.kind in (Kind.TEXT, Kind.BYTES) and (field.length is None or field.length > 250)
