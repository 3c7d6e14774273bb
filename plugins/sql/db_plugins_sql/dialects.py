"""Where a dialect would mean something else than the contract, the words that mean it.

SQLiteWords · PostgreSQLWords · MariaDBWords
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from db_plugins.json_paths import sql_path
from db_plugins.models import Field, Kind
from db_plugins.models.fields import unwrapped
from db_plugins.nodes import In, JsonPath, Like, Operand, Value
from db_plugins.patterns import ascii_regex
from db_plugins.spec import Order

from .compiler import Words, bound_as
from .shapes import sample_of

__all__ = ["MariaDBWords", "PostgreSQLWords", "SQLiteWords"]

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


class SQLiteWords(Words):
    """Lists and numbers of any size need words of their own. (``PRAGMA case_sensitive_like`` is on: ``SQLiteEngine``.)"""

    def long_in(self, column: Any, node: In) -> Any:
        """A list longer than the driver's number of bound values, or ``None`` to bind each."""
        if node.field.kind not in (Kind.INTEGER, Kind.TEXT) or node.field.to_stored is not None:
            return None
        values = sa.func.json_each(self.made(node.values, list, sa.JSON)).table_valued("value")
        listed = sa.select(values.c.value)
        return column.not_in(listed) if node.negated else column.in_(listed)

    def json_value(self, operand: JsonPath) -> Any:
        """The value inside a JSON column, or NULL if it is of another type."""
        column, path = self.column(operand.column), sa.literal(sql_path(operand.path), sa.String)
        value = sa.func.json_extract(column, path, type_=operand.field.sql_type)
        found = sa.func.json_type(column, path, type_=sa.String())
        return sa.case((found.in_(_SQLITE_JSON[operand.field.kind]), value), else_=None)

    def fitted(self, field: Field, result: Any) -> Any:
        """A calculated value that its column can hold, or an error of the server. SQLite would store any number."""
        if field.kind is not Kind.INTEGER:
            return result
        top = 1 << (field.bits - 1)
        whole = sa.cast(result, sa.BigInteger)  # // gives 3.0 there
        fits = sa.and_(result == whole, result.between(-top, top - 1))
        # abs() of the least integer is the one expression of SQLite's that fails: "integer overflow".
        overflow = sa.func.abs(sa.literal_column("-9223372036854775807 - 1"))
        return sa.case((sa.or_(result.is_(None), fits), whole), else_=overflow)


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

    def arithmetic(self, op: str, left: Any, right: Any) -> Any:
        """In 64 bits: of two int4 the result is an int4 there, and 100000 * 100000 an error (22003)."""
        if isinstance(left.type, sa.Integer) and not isinstance(left.type, sa.BigInteger):
            left = sa.cast(left, sa.BigInteger)
        return super().arithmetic(op, left, right)

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
        array = self.made(node.values, list, ARRAY(bound_as(node.field, sample_of(node.values))))
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
        return column.collate(self.collation).regexp_match(self.made(node.pattern, ascii_regex))

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
