"""Specs become SQLAlchemy Core statements. Pure: nothing here touches a database.

The statement is made from the core's nodes, on the model's Table, so that nothing of the ORM's machinery and no
operator the contract does not name can slip in. ``Words`` says it in standard SQL, and ``dialects`` has what a dialect
must say otherwise to mean the same.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import singledispatchmethod
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from db_plugins.errors import UnsupportedFilterError
from db_plugins.models import Field, Kind
from db_plugins.nodes import (
    Always,
    And,
    Column,
    Compare,
    Exists,
    Hop,
    In,
    IsNull,
    JsonPath,
    Like,
    Node,
    Operand,
    Or,
    Value,
)
from db_plugins.patterns import ascii_lower, encode_pattern
from db_plugins.spec import Order, QuerySpec

from .collations import Collations
from .shapes import NotKeptError, Slot, is_wide, sample_of

__all__ = ["COMPARE", "Words", "bound_as", "is_text", "stores_asked"]

#: Operator → its SQL.
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_S = TypeVar("_S", sa.Select[Any], sa.Update, sa.Delete)


class Words:
    """How any dialect says a spec; ``dialects`` has what differs."""

    #: IN lists longer than this are one array or one JSON value, where the dialect has such.
    long_list = 1000

    def select(self, spec: QuerySpec) -> sa.Select[Any]:
        """The rows of a spec."""
        statement = sa.select(*[self.column(f) for f in spec.columns])
        if spec.joins:
            statement = statement.select_from(self.source(spec))
        return self._window(self._where(statement, spec).order_by(*self.order(spec.order)), spec)

    def count(self, spec: QuerySpec) -> sa.Select[Any]:
        """How many rows, inside the window."""
        if not spec.is_windowed:
            return self._where(sa.select(sa.func.count()).select_from(self.source(spec)), spec)
        inner = self._window(self._where(sa.select(sa.literal(1)).select_from(self.source(spec)), spec), spec)
        return sa.select(sa.func.count()).select_from(inner.order_by(*self.order(spec.order)).subquery())

    def update(self, spec: QuerySpec, values: Mapping[Field, Operand]) -> sa.Update:
        """Set columns of the rows."""
        changes = {self.column(f): self.assigned(f, operand) for f, operand in values.items()}
        return self._where(sa.update(spec.model.table), spec).values(changes)

    def delete(self, spec: QuerySpec) -> sa.Delete:
        """Delete the rows."""
        return self._where(sa.delete(spec.model.table), spec)

    def source(self, spec: QuerySpec) -> sa.FromClause:
        """What the rows are of: the model's Table, with what is joined to it."""
        source: sa.FromClause = spec.model.table
        for join in spec.joins:
            if not join.outer:
                for hop in join.hops:
                    source = source.join(hop.info.table, self.on(hop))
                continue
            first, *others = join.hops
            # A LEFT JOIN (b JOIN c): a row of b that leads to no c is no match.
            inner: sa.FromClause = first.info.table
            for hop in others:
                inner = inner.join(hop.info.table, self.on(hop))
            source = source.outerjoin(inner, self.on(first))
        return source

    def on(self, hop: Hop) -> Any:
        """The condition of a hop."""
        parts = [self.compared("==", Column(known), Column(found)) for known, found in hop.pairs]
        return sa.and_(sa.true(), *parts, *([] if hop.where is None else [self.node(hop.where)]))

    def column(self, field: Field) -> sa.Column[Any]:
        """The field's column of the model's Table."""
        return field.table_column

    def _where(self, statement: _S, spec: QuerySpec) -> _S:
        if spec.where is not None:
            statement = statement.where(self.node(spec.where))
        return statement.where(*spec.native) if spec.native else statement

    def _window(self, statement: sa.Select[Any], spec: QuerySpec) -> sa.Select[Any]:
        if spec.limit is not None:
            # Said, not bound: see shape_of.
            statement = statement.limit(sa.literal_column(str(spec.limit)))
        offset: Any = spec.offset
        if isinstance(offset, Slot):
            offset = sa.literal(offset, sa.BigInteger)
        return statement.offset(offset) if spec.offset else statement

    # -- text ------------------------------------------------------------------------------------------------------

    def knowing(self, collations: Collations) -> Words:
        """The same words for one database, whose tables may be asked about."""
        return self

    def compared(self, op: str, left: Operand, right: Operand) -> Any:
        """A comparison; of texts, one that code points decide."""
        if is_text(left) or is_text(right):
            return self.compared_as_texts(op, left, right)
        return COMPARE[op](self.operand(left), self.operand(right))

    def compared_as_texts(self, op: str, left: Operand, right: Operand) -> Any:
        """A comparison that code points decide; it is enough to say the collation on one side."""
        return COMPARE[op](self.operand(left), self.operand(right))

    def listed(self, operand: Operand) -> Any:
        """A text that is compared with a list of values."""
        return self.operand(operand)

    def bound_as(self, field: Field, values: Sequence[Any]) -> TypeEngine[Any]:
        """The type of values that a column is compared with."""
        return bound_as(field, values)

    # -- order -----------------------------------------------------------------------------------------------------

    def order(self, terms: tuple[Order, ...]) -> list[Any]:
        """ORDER BY terms; NULLs are named only where the column has them and the dialect would place them otherwise."""
        return [part for term in terms for part in self.order_term(term)]

    def order_term(self, term: Order) -> list[Any]:
        column = self.sorted_as(term.field)
        ordered = column.desc() if term.descending else column.asc()
        natural = term.nulls_first is not term.descending
        if not term.field.nullable or natural:
            return [ordered]
        return [ordered.nulls_first() if term.nulls_first else ordered.nulls_last()]

    def sorted_as(self, field: Field) -> Any:
        """The column as it must be ordered: text by code point, enums by name."""
        return self.column(field)

    # -- conditions ------------------------------------------------------------------------------------------------

    @singledispatchmethod
    def node(self, node: Node) -> Any:
        """The SQL condition of a node."""
        raise TypeError(f"no SQL for {type(node).__name__}")

    @node.register
    def _(self, node: Compare) -> Any:
        return self.compared(node.op, node.left, node.right)

    @node.register
    def _(self, node: In) -> Any:
        column = self.listed(node.operand) if is_text(node.operand) else self.operand(node.operand)
        values: Any = node.values
        if isinstance(values, Slot) or len(values) > self.long_list:
            found = self.long_in(column, node)
            if found is not None:
                return found
            if isinstance(values, Slot):
                raise NotKeptError("a list of this length is part of the statement")
        typed = sa.type_coerce(column, self.bound_as(node.field, node.values))
        return typed.not_in(node.values) if node.negated else typed.in_(node.values)

    @node.register
    def _(self, node: Like) -> Any:
        matched = self.like(self.operand(node.operand), node)
        return sa.not_(matched) if node.negated else matched

    def like(self, column: Any, node: Like) -> Any:
        """LIKE that heeds case, or ignores that of A to Z."""
        if node.fold is None:
            return column.like(self.made(node.pattern, encode_pattern), escape="/")
        lowered = self.made(node.pattern, lambda pattern: ascii_lower(encode_pattern(pattern)))
        return sa.func.lower(column).like(lowered, escape="/")

    @staticmethod
    def made(value: Any, encode: Callable[[Any], Any], type_: Any = sa.String) -> Any:
        """A bound value that is made of the node's, also when another takes its place."""
        if isinstance(value, Slot):
            return sa.literal(Slot(value.at, value.sample, encode), type_)
        return sa.literal(encode(value), type_)

    @node.register
    def _(self, node: IsNull) -> Any:
        operand = self.operand(node.operand)
        return operand.is_not(None) if node.negated else operand.is_(None)

    @node.register
    def _(self, node: Exists) -> Any:
        tables = [hop.info.table for hop in node.hops]
        where = [self.on(hop) for hop in node.hops]
        if node.where is not None:
            where.append(self.node(node.where))
        inner: sa.Select[Any] = (
            sa.select(sa.literal_column("1")).select_from(*tables).where(*where).correlate_except(*tables)
        )
        return ~sa.exists(inner) if node.negated else sa.exists(inner)

    @node.register
    def _(self, node: And) -> Any:
        return sa.and_(*[self.node(p) for p in node.parts])

    @node.register
    def _(self, node: Or) -> Any:
        return sa.or_(*[self.node(p) for p in node.parts])

    @node.register
    def _(self, node: Always) -> Any:
        return sa.true() if node.truth else sa.false()

    def long_in(self, column: Any, node: In) -> Any:
        """A list longer than the driver's number of bound values, or ``None`` to bind each."""
        return None

    def operand(self, operand: Operand) -> Any:
        """A column, a bound value typed like its column, or arithmetic."""
        if isinstance(operand, Column):
            return self.column(operand.field)
        if isinstance(operand, JsonPath):
            return self.json_value(operand)
        if isinstance(operand, Value):
            if operand.field is None:
                return sa.literal(operand.value, sa.literal(sample_of(operand.value)).type)
            return sa.literal(operand.value, self.bound_as(operand.field, [operand.value]))
        return self.arithmetic(operand.op, self.operand(operand.left), self.operand(operand.right))

    def json_value(self, operand: JsonPath) -> Any:
        """The value inside a JSON column, or NULL if it is of another type."""
        raise UnsupportedFilterError(
            f"{operand.field.label}: this dialect has no paths into JSON",
            hint="filter by a column of its own",
        )

    def arithmetic(self, op: str, left: Any, right: Any) -> Any:
        """True division for ``/``, floor for ``//``, and NULL when the divisor is zero."""
        if op == "/":
            return sa.cast(left, sa.Float) / sa.func.nullif(sa.cast(right, sa.Float), 0)
        if op == "//":
            return sa.func.floor(sa.cast(left, sa.Float) / sa.func.nullif(sa.cast(right, sa.Float), 0))
        return {"+": operator.add, "-": operator.sub, "*": operator.mul}[op](left, right)

    def assigned(self, field: Field, operand: Operand) -> Any:
        """What an update writes."""
        if isinstance(operand, Value):
            return sa.bindparam(None, operand.value, type_=field.sql_type)
        return self.fitted(field, self.operand(operand))

    def fitted(self, field: Field, result: Any) -> Any:
        """A calculated value that its column can hold, or an error of the server."""
        return result


def is_text(operand: Operand) -> bool:
    """Is it a column of text, or a text in a JSON column?"""
    return isinstance(operand, (Column, JsonPath)) and operand.field.kind is Kind.TEXT


def bound_as(field: Field, values: Sequence[Any]) -> TypeEngine[Any]:
    """The type of values that a column is compared with: its own, or 64 bits for integers that it cannot hold."""
    if any(is_wide(field, sample_of(value)) for value in values):
        return sa.BigInteger()
    return field.sql_type


def stores_asked(node: Node | None) -> set[str]:
    """The tables that the subqueries of a condition read."""
    if isinstance(node, (And, Or)):
        return {store for part in node.parts for store in stores_asked(part)}
    if not isinstance(node, Exists):
        return set()
    return {hop.info.store for hop in node.hops} | stores_asked(node.where)
