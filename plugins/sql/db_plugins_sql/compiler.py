"""Specs become SQLAlchemy Core statements. Pure: nothing here touches a database.

The statement is made from the core's nodes, on the model's Table, so that nothing of the ORM's machinery and no
operator the contract does not name can slip in. ``Words`` holds the few places where dialects differ in meaning.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import singledispatchmethod
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import TypeEngine

from db_plugins.json_paths import sql_path
from db_plugins.models import Field, Kind
from db_plugins.models.fields import unwrapped
from db_plugins.nodes import (
    Always,
    And,
    Column,
    Compare,
    In,
    IsNull,
    JsonPath,
    Like,
    Node,
    Operand,
    Or,
    Value,
)
from db_plugins.patterns import ascii_lower, ascii_regex, encode_pattern
from db_plugins.spec import Order, QuerySpec

__all__ = ["MariaDBWords", "PostgreSQLWords", "Words"]

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_S = TypeVar("_S", sa.Select[Any], sa.Update, sa.Delete)
_RANGE = {"<", "<=", ">", ">="}


class Words:
    """How one dialect says a spec; this one is SQLite's, the others say what differs."""

    #: IN lists longer than this are one array or one JSON value, where the dialect has such.
    long_list = 1000

    def select(self, spec: QuerySpec) -> sa.Select[Any]:
        """The rows of a spec."""
        statement = sa.select(*[self.column(f) for f in spec.columns])
        return self._window(self._where(statement, spec).order_by(*self.order(spec.order)), spec)

    def count(self, spec: QuerySpec) -> sa.Select[Any]:
        """How many rows, inside the window."""
        if not spec.is_windowed:
            return self._where(sa.select(sa.func.count()).select_from(spec.model.table), spec)
        inner = self._window(self._where(sa.select(sa.literal(1)).select_from(spec.model.table), spec), spec)
        return sa.select(sa.func.count()).select_from(inner.order_by(*self.order(spec.order)).subquery())

    def update(self, spec: QuerySpec, values: Mapping[Field, Operand]) -> sa.Update:
        """Set columns of the rows."""
        changes = {self.column(f): self.assigned(f, operand) for f, operand in values.items()}
        return self._where(sa.update(spec.model.table), spec).values(changes)

    def delete(self, spec: QuerySpec) -> sa.Delete:
        """Delete the rows."""
        return self._where(sa.delete(spec.model.table), spec)

    def column(self, field: Field) -> sa.Column[Any]:
        """The field's column of the model's Table."""
        return field.table_column

    def _where(self, statement: _S, spec: QuerySpec) -> _S:
        if spec.where is not None:
            statement = statement.where(self.node(spec.where))
        return statement.where(*spec.native) if spec.native else statement

    @staticmethod
    def _window(statement: sa.Select[Any], spec: QuerySpec) -> sa.Select[Any]:
        if spec.limit is not None:
            statement = statement.limit(spec.limit)
        return statement.offset(spec.offset) if spec.offset else statement

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
        text = node.op in _RANGE and any(
            isinstance(s, Column) and s.field.kind is Kind.TEXT for s in (node.left, node.right)
        )
        side = self.ranged if text else self.operand
        return _COMPARE[node.op](side(node.left), side(node.right))

    @node.register
    def _(self, node: In) -> Any:
        column = self.operand(node.operand)
        if len(node.values) > self.long_list:
            found = self.long_in(column, node)
            if found is not None:
                return found
        typed = sa.type_coerce(column, bound_as(node.field, node.values))
        return typed.not_in(node.values) if node.negated else typed.in_(node.values)

    @node.register
    def _(self, node: Like) -> Any:
        matched = self.like(self.operand(node.operand), node)
        return sa.not_(matched) if node.negated else matched

    def like(self, column: Any, node: Like) -> Any:
        """LIKE that heeds case, or ignores that of A to Z. (SQLite: ``PRAGMA case_sensitive_like`` is on.)"""
        pattern = encode_pattern(node.pattern)
        if node.fold is None:
            return column.like(sa.literal(pattern, sa.String), escape="/")
        return sa.func.lower(column).like(sa.literal(ascii_lower(pattern), sa.String), escape="/")

    @node.register
    def _(self, node: IsNull) -> Any:
        operand = self.operand(node.operand)
        return operand.is_not(None) if node.negated else operand.is_(None)

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
        if node.field.kind not in (Kind.INTEGER, Kind.TEXT) or node.field.to_stored is not None:
            return None
        values = sa.func.json_each(sa.literal(list(node.values), sa.JSON)).table_valued("value")
        listed = sa.select(values.c.value)
        return column.not_in(listed) if node.negated else column.in_(listed)

    def operand(self, operand: Operand) -> Any:
        """A column, a bound value typed like its column, or arithmetic."""
        if isinstance(operand, Column):
            return self.column(operand.field)
        if isinstance(operand, JsonPath):
            return self.json_value(operand)
        if isinstance(operand, Value):
            return sa.literal(
                operand.value, bound_as(operand.field, [operand.value]) if operand.field else None
            )
        return self.arithmetic(operand.op, self.operand(operand.left), self.operand(operand.right))

    def json_value(self, operand: JsonPath) -> Any:
        """The value inside a JSON column, or NULL if it is of another type."""
        column, path = self.column(operand.column), sa.literal(sql_path(operand.path), sa.String)
        value = sa.func.json_extract(column, path, type_=operand.field.sql_type)
        found = sa.func.json_type(column, path, type_=sa.String())
        return sa.case((found.in_(_SQLITE_JSON[operand.field.kind]), value), else_=None)

    def ranged(self, operand: Operand) -> Any:
        """An operand of ``<`` and its kin on text."""
        return self.operand(operand)

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
        return self.operand(operand)


#: What the dialects call the types of JSON values that count as a value of the kind.
_SQLITE_JSON = {
    Kind.TEXT: ["text"],
    Kind.INTEGER: ["integer"],
    Kind.FLOAT: ["integer", "real"],
    Kind.BOOLEAN: ["true", "false"],
}
_POSTGRESQL_JSON = {
    Kind.TEXT: "string",
    Kind.INTEGER: "number",
    Kind.FLOAT: "number",
    Kind.BOOLEAN: "boolean",
}
_MARIADB_JSON = {
    Kind.TEXT: ["STRING"],
    Kind.INTEGER: ["INTEGER"],
    Kind.FLOAT: ["INTEGER", "DOUBLE"],
    Kind.BOOLEAN: ["BOOLEAN"],
}


def bound_as(field: Field, values: Sequence[Any]) -> TypeEngine[Any]:
    """The type of values that a column is compared with: its own, or 64 bits for integers that it cannot hold."""
    if field.kind is Kind.INTEGER and field.to_stored is None and field.bits < 64:
        top = 1 << (field.bits - 1)
        if any(not -top <= value < top for value in values):
            return sa.BigInteger()
    return field.sql_type


class PostgreSQLWords(Words):
    """NULLs sort last by default, text by the database's collation, and enums by their declaration: all three said."""

    def order_term(self, term: Order) -> list[Any]:
        column = self.sorted_as(term.field)
        ordered = column.desc() if term.descending else column.asc()
        if not term.field.nullable or term.nulls_first is term.descending:
            return [ordered]
        return [ordered.nulls_first() if term.nulls_first else ordered.nulls_last()]

    def sorted_as(self, field: Field) -> Any:
        if field.kind is Kind.TEXT:
            return self.column(field).collate("C")
        if field.kind is Kind.ENUM:
            return sa.cast(self.column(field), sa.Text).collate("C")
        return self.column(field)

    def ranged(self, operand: Operand) -> Any:
        return self.operand(operand).collate("C")

    def like(self, column: Any, node: Like) -> Any:
        return super().like(column.collate("C"), node)

    def json_value(self, operand: JsonPath) -> Any:
        column = self.column(operand.column)
        binary = isinstance(unwrapped(column.type), JSONB)
        value: Any = column
        for step in operand.path:
            value = value.op("->")(sa.literal(step, sa.Text if isinstance(step, str) else sa.Integer))
        text = sa.type_coerce(value.op("#>>")(sa.literal_column("'{}'")), sa.Text)
        typeof = sa.func.jsonb_typeof if binary else sa.func.json_typeof
        kind = operand.field.kind
        found = typeof(value, type_=sa.Text()) == _POSTGRESQL_JSON[kind]
        if kind is Kind.INTEGER:
            found = sa.and_(found, text.regexp_match("^-?[0-9]+$"))
        return sa.case((found, sa.cast(text, operand.field.sql_type)), else_=None)

    def long_in(self, column: Any, node: In) -> Any:
        array = sa.literal(list(node.values), ARRAY(bound_as(node.field, node.values)))
        return column != sa.all_(array) if node.negated else column == sa.any_(array)


class MariaDBWords(Words):
    """Text literals carry the collation, NULLS FIRST does not exist, and ENUM columns sort by their declaration."""

    #: Compares and orders by code point, and heeds trailing blanks.
    collation = "utf8mb4_nopad_bin"

    def order_term(self, term: Order) -> list[Any]:
        column = self.sorted_as(term.field)
        ordered = column.desc() if term.descending else column.asc()
        if not term.field.nullable or term.nulls_first is not term.descending:
            return [ordered]
        is_null = self.column(term.field).is_(None)
        return [is_null.desc() if term.nulls_first else is_null.asc(), ordered]

    def sorted_as(self, field: Field) -> Any:
        if field.kind is Kind.ENUM:
            return sa.cast(self.column(field), sa.CHAR(255)).collate(self.collation)
        return self.column(field).collate(self.collation) if field.kind is Kind.TEXT else self.column(field)

    def operand(self, operand: Operand) -> Any:
        found = super().operand(operand)
        if isinstance(operand, Value) and operand.field is not None and operand.field.kind is Kind.TEXT:
            return found.collate(self.collation)
        return found

    def like(self, column: Any, node: Like) -> Any:
        if node.fold is None:
            return super().like(column.collate(self.collation), node)
        # LOWER() there folds more than A to Z: a regular expression says exactly which letters are alike.
        return column.collate(self.collation).regexp_match(sa.literal(ascii_regex(node.pattern), sa.String))

    def json_value(self, operand: JsonPath) -> Any:
        kind, column = operand.field.kind, self.column(operand.column)

        def at(steps: tuple[str | int, ...]) -> Any:
            return sa.func.json_extract(column, sa.literal(sql_path(steps), sa.String))

        value = at(operand.path)
        text = sa.func.json_unquote(value, type_=sa.String())
        taken = {
            Kind.TEXT: text.collate(self.collation),
            Kind.INTEGER: sa.cast(value, sa.BigInteger),
            Kind.FLOAT: sa.type_coerce(text + sa.literal_column("0e0", sa.Float), sa.Float),
            Kind.BOOLEAN: sa.type_coerce(text == "true", sa.Boolean),
        }[kind]
        found: list[Any] = [sa.func.json_type(value, type_=sa.String()).in_(_MARIADB_JSON[kind])]
        if kind is Kind.INTEGER:  # 1e20 is an INTEGER to the server
            found.append(text.regexp_match("^-?[0-9]+$"))
        # What is no array counts there as an array of itself: an index asks for a real one.
        indexes = [n for n, step in enumerate(operand.path) if isinstance(step, int)]
        found += [sa.func.json_type(at(operand.path[:n]), type_=sa.String()) == "ARRAY" for n in indexes]
        return sa.case((sa.and_(*found), taken), else_=None)

    def long_in(self, column: Any, node: In) -> Any:
        return None  # the driver writes the values into the statement: there is no limit to meet
