"""Where a dialect would mean something else than the contract, the words that mean it.

SQLiteWords · PostgreSQLWords · MariaDBWords
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import TypeEngine

from db_plugins.json_paths import sql_path
from db_plugins.models import Field, Kind
from db_plugins.models.fields import unwrapped
from db_plugins.nodes import Column, In, JsonPath, Like, Operand
from db_plugins.patterns import ascii_regex, encode_pattern
from db_plugins.spec import Order

from .collations import Collations
from .compiler import COMPARE, Words, bound_as
from .shapes import sample_of
from .types import MARIADB_COLLATION, ByCodePoint

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


_RANGE = {"<", "<=", ">", ">="}


class SQLiteWords(Words):
    """Lists and numbers of any size need words of their own. (``PRAGMA case_sensitive_like`` is on: ``SQLiteEngine``.)

    A column may be declared COLLATE NOCASE or RTRIM: ``BINARY`` is always said, and costs no other column its index.
    """

    collation = "BINARY"

    def sorted_as(self, field: Field) -> Any:
        """The column as it must be ordered: text by code point, enums by name."""
        column = self.column(field)
        return column.collate(self.collation) if field.kind in (Kind.TEXT, Kind.ENUM) else column

    def compared_as_texts(self, op: str, left: Operand, right: Operand) -> Any:
        """A comparison that code points decide; it is enough to say the collation on one side."""
        if isinstance(left, Column):
            return COMPARE[op](self.listed(left), self.operand(right))
        return COMPARE[op](self.operand(left), self.listed(right))

    def listed(self, operand: Operand) -> Any:
        """A text that is compared with a list of values."""
        found = self.operand(operand)
        return found.collate(self.collation) if isinstance(operand, Column) else found

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
    """NULLs sort last by default, text by the database's collation, and enums by their declaration: all three said.

    Equal means equal bytes under every collation but the nondeterministic ones. So ``=`` says a collation only where a
    column has one of those, or is not known, or two columns do not agree: an index of another collation could not
    serve it.
    """

    collation = "C"

    def __init__(self, collations: Collations | None = None) -> None:
        self._collation_of = _unknown if collations is None else collations.of

    def knowing(self, collations: Collations) -> PostgreSQLWords:
        return PostgreSQLWords(collations)

    def compared_as_texts(self, op: str, left: Operand, right: Operand) -> Any:
        first = self.operand(left)
        if op in _RANGE or not self._bytes_decide(left, right):
            first = first.collate(self.collation)
        return COMPARE[op](first, self.operand(right))

    def listed(self, operand: Operand) -> Any:
        found = self.operand(operand)
        return found if self._bytes_decide(operand) else found.collate(self.collation)

    def _bytes_decide(self, *sides: Operand) -> bool:
        found = {self._collation_of(side.field) for side in sides if isinstance(side, Column)}
        return len(found) < 2 and None not in found

    def order_term(self, term: Order) -> list[Any]:
        column = self.sorted_as(term.field)
        ordered = column.desc() if term.descending else column.asc()
        if not term.field.nullable or term.nulls_first is term.descending:
            return [ordered]
        return [ordered.nulls_first() if term.nulls_first else ordered.nulls_last()]

    def sorted_as(self, field: Field) -> Any:
        if field.kind is Kind.TEXT:
            return self.column(field).collate(self.collation)
        if field.kind is Kind.ENUM:
            return sa.cast(self.column(field), sa.Text).collate(self.collation)
        return self.column(field)

    def like(self, column: Any, node: Like) -> Any:
        return super().like(column.collate(self.collation), node)

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
    """Text literals carry the collation, NULLS FIRST does not exist, and ENUM columns sort by their declaration.

    A collation that is said of a value costs no index. One that is said of a column does, even if it is the column's
    own: there it is left out for columns that are known to have it.
    """

    collation = MARIADB_COLLATION

    def __init__(self, collations: Collations | None = None) -> None:
        self._collation_of = _unknown if collations is None else collations.of

    def knowing(self, collations: Collations) -> MariaDBWords:
        return MariaDBWords(collations)

    def text(self, field: Field) -> Any:
        """A column of text, by code point."""
        column: Any = self.column(field)
        known = self._collation_of(field)
        if known == self.collation:
            return column
        if known is None or not known.startswith("utf8mb4_"):  # no other character set has the collation
            column = sa.func.convert(column.op("USING")(sa.literal_column("utf8mb4")), type_=column.type)
        return column.collate(self.collation)

    def compared_as_texts(self, op: str, left: Operand, right: Operand) -> Any:
        plain = COMPARE[op](self.operand(left), self.operand(right))
        if not (isinstance(left, Column) and isinstance(right, Column)):
            return plain  # the other side is a value, or comes out of JSON: it has the collation
        known = {self._collation_of(left.field), self._collation_of(right.field)}
        if known == {self.collation}:
            return plain
        said = COMPARE[op](self.text(left.field), self.operand(right))
        # What is equal by code point is equal by the collation of both, and an index of either serves that.
        return sa.and_(plain, said) if op == "==" and len(known) == 1 and None not in known else said

    def bound_as(self, field: Field, values: Sequence[Any]) -> TypeEngine[Any]:
        found = bound_as(field, values)
        return ByCodePoint(found) if field.kind is Kind.TEXT else found

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
        return self.text(field) if field.kind is Kind.TEXT else self.column(field)

    def like(self, column: Any, node: Like) -> Any:
        by_code_point = ByCodePoint(sa.String())
        if node.fold is None:
            return column.like(self.made(node.pattern, encode_pattern, by_code_point), escape="/")
        # LOWER() there folds more than A to Z: a regular expression says exactly which letters are alike.
        return column.regexp_match(self.made(node.pattern, ascii_regex, by_code_point))

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


def _unknown(field: Field) -> str | None:
    return None
