"""The operands of a filter: columns, values, paths into JSON and arithmetic, one rule for each class of SQLAlchemy's.

What has no rule, or no meaning that holds on every engine, is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import (
    BinaryExpression,
    BindParameter,
    ExpressionClauseList,
    Grouping,
    Label,
    UnaryExpression,
)

from .elements import JSON_STEPS, json_steps
from .errors import InvalidValueError
from .json_paths import json_path
from .models import Field, Kind
from .models.values import plain
from .nodes import Arithmetic, Column, JsonPath, Operand, Value

if TYPE_CHECKING:
    from .expressions import Reader

__all__ = [
    "NUMBERS",
    "column_of",
    "field_of",
    "fields_in",
    "is_whole",
    "json_path_of",
    "literal_for",
    "operand",
    "refuse_other_kinds",
]

_ARITHMETIC: dict[Any, str] = {
    operators.add: "+",
    operators.sub: "-",
    operators.mul: "*",
    operators.truediv: "/",
    operators.floordiv: "//",
}
NUMBERS = {Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL}
#: The type that ``as_string()`` and its kin give an expression → the kind of value.
_JSON_KINDS: tuple[tuple[Any, Kind], ...] = (
    (sa.Boolean, Kind.BOOLEAN),
    (sa.Integer, Kind.INTEGER),
    (sa.Float, Kind.FLOAT),
    (sa.String, Kind.TEXT),
)


@singledispatch
def operand(expression: Any, reader: Reader) -> Operand:
    """The operand of an expression that has a value."""
    raise reader.unsupported(expression, "compare columns, values and arithmetic on them")


@operand.register(sa.Column)
def _(expression: sa.Column, reader: Reader) -> Operand:  # type: ignore[type-arg]
    return column_of(reader, expression)


@operand.register(Grouping)
@operand.register(Label)
def _(expression: Any, reader: Reader) -> Operand:
    return operand(expression.element, reader)


@operand.register(BindParameter)
def _(expression: BindParameter, reader: Reader) -> Operand:  # type: ignore[type-arg]
    value = plain(expression.effective_value)
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise reader.unsupported(expression, "calculate with numbers")
    return Value(value)


@operand.register(UnaryExpression)
def _(expression: UnaryExpression, reader: Reader) -> Operand:  # type: ignore[type-arg]
    if expression.operator is operators.neg:
        return Arithmetic("-", Value(0), _number(reader, expression.element, expression))
    raise reader.unsupported(expression, "calculate with + - * / //")


@operand.register(BinaryExpression)
def _(expression: BinaryExpression, reader: Reader) -> Operand:  # type: ignore[type-arg]
    if expression.operator in JSON_STEPS:
        return json_path_of(reader, expression)
    if expression.operator not in _ARITHMETIC:
        raise reader.unsupported(expression, "calculate with + - * / //")
    left = _number(reader, expression.left, expression)
    right = _number(reader, expression.right, expression)
    return Arithmetic(_ARITHMETIC[expression.operator], left, right)


@operand.register(ExpressionClauseList)
def _(expression: ExpressionClauseList, reader: Reader) -> Operand:  # type: ignore[type-arg]
    # SQLAlchemy joins a + b + c, and a * b * c, into one list.
    op = _ARITHMETIC.get(expression.operator)
    if op is None:
        raise reader.unsupported(expression, "calculate with + - * / //")
    first, *others = [_number(reader, part, expression) for part in expression.clauses]
    for other in others:
        first = Arithmetic(op, first, other)
    return first


def json_path_of(reader: Reader, expression: BinaryExpression[Any]) -> JsonPath:
    kind = next((k for sql_type, k in _JSON_KINDS if isinstance(expression.type, sql_type)), None)
    if kind is None:
        raise reader.unsupported(
            expression, "say what it is: as_string(), as_integer(), as_float() or as_boolean()"
        )
    inner, steps = json_steps(expression)
    column = operand(inner, reader)
    if not isinstance(column, Column) or column.field.kind is not Kind.JSON:
        raise reader.unsupported(expression, "take paths of a JSON column")
    return json_path(column.field, steps, kind)


def _number(reader: Reader, part: Any, whole: Any) -> Operand:
    result = operand(part, reader)
    if isinstance(result, (Column, JsonPath)) and result.field.kind not in NUMBERS:
        raise reader.unsupported(whole, f"{result.field.label} is no number")
    return result


def column_of(reader: Reader, expression: Any) -> Column:
    info = reader.scopes.get(expression.table)
    column = info.by_column.get(expression.name) if info is not None else None
    if column is None:
        names = ", ".join(dict.fromkeys(each.name for each in reader.scopes.values()))
        raise reader.unsupported(
            expression,
            f"this query is about {names}: join() the other model, or ask any() or has() of the relationship",
        )
    return Column(column)


def literal_for(reader: Reader, value: Any, subject: Operand, expression: Any) -> Value:
    column = field_of(subject)
    if column is not None:
        return Value(reader.literal(column, value), column)
    value = plain(value)
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float, Decimal))):
        raise InvalidValueError(f"a calculation is compared with a value of type {type(value).__name__}")
    return Value(value)


def refuse_other_kinds(reader: Reader, left: Operand, right: Operand, expression: Any) -> None:
    kinds = {f.kind for side in (left, right) for f in fields_in(side)}
    if len(kinds) > 1 and not kinds <= NUMBERS:
        raise reader.unsupported(expression, "compare columns of the same kind")


def field_of(operand: Operand) -> Field | None:
    return operand.field if isinstance(operand, (Column, JsonPath)) else None


def fields_in(operand: Operand) -> Iterable[Field]:
    if isinstance(operand, (Column, JsonPath)):
        return [operand.field]
    if isinstance(operand, Arithmetic):
        return [*fields_in(operand.left), *fields_in(operand.right)]
    return []


def is_whole(operand: Operand) -> bool:
    """Is the result an integer whatever the row holds?"""
    if isinstance(operand, (Column, JsonPath)):
        return operand.field.kind is Kind.INTEGER
    if isinstance(operand, Value):
        return isinstance(operand.value, int)
    return operand.op != "/" and is_whole(operand.left) and is_whole(operand.right)
