"""The conditions of a filter: one rule for each class of SQLAlchemy's, and one for each of its operators.

What has no rule, or no meaning that holds on every engine, is refused by name. Every literal is checked against the column
that it meets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, singledispatch
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import (
    AsBoolean,
    BinaryExpression,
    BindParameter,
    BooleanClauseList,
    ExpressionClauseList,
    False_,
    Grouping,
    Null,
    True_,
    UnaryExpression,
)
from sqlalchemy.sql.selectable import Exists as ExistsClause

from .elements import JSON_STEPS, is_constant, listed
from .errors import UnsupportedFilterError
from .existence import read_exists
from .models import Field, Kind
from .nodes import (
    Always,
    Column,
    Compare,
    In,
    IsNull,
    JsonPath,
    Like,
    Node,
    Operand,
    Value,
    all_of,
    any_of,
    negate,
)
from .operands import column_of, field_of, json_path_of, literal_for, operand, refuse_other_kinds
from .patterns import check_pattern, decode_pattern

if TYPE_CHECKING:
    from .expressions import Reader

__all__ = ["INCOMPARABLE", "compare", "predicate"]

_COMPARISONS: dict[Any, str] = {
    operators.eq: "==",
    operators.ne: "!=",
    operators.lt: "<",
    operators.le: "<=",
    operators.gt: ">",
    operators.ge: ">=",
}
#: Kinds without an order of their own.
_UNORDERED = {
    Kind.ENUM: "by ==, !=, in_ and not_in",
    Kind.BOOLEAN: "by == and is_",
    Kind.JSON: "by its paths",
    Kind.VECTOR: "by is_(None), and use nearest() for the rest",
}
#: Kinds that are not compared as a whole, and why they have no order.
INCOMPARABLE = {
    Kind.JSON: ("JSON", "order by a plain column"),
    Kind.VECTOR: ("a vector", "use nearest(), which orders by distance"),
}
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


@singledispatch
def predicate(expression: Any, reader: Reader) -> Node:
    """The node of an expression that is true or false."""
    raise reader.unsupported(expression, "write it with the operators of the documentation's filter page")


@predicate.register(BooleanClauseList)
def _(expression: BooleanClauseList, reader: Reader) -> Node:
    combine = all_of if expression.operator is operators.and_ else any_of
    return combine(predicate(part, reader) for part in expression.clauses)


@predicate.register(Grouping)
def _(expression: Grouping, reader: Reader) -> Node:  # type: ignore[type-arg]
    return predicate(expression.element, reader)


@predicate.register(True_)
def _(expression: True_, reader: Reader) -> Node:
    return Always(True)


@predicate.register(False_)
def _(expression: False_, reader: Reader) -> Node:
    return Always(False)


@predicate.register(AsBoolean)
def _(expression: AsBoolean, reader: Reader) -> Node:
    node = predicate(expression.element, reader)
    return negate(node) if expression.operator is operators.is_false else node


@predicate.register(ExistsClause)
def _(expression: ExistsClause, reader: Reader) -> Node:
    return read_exists(reader, expression)


@predicate.register(UnaryExpression)
def _(expression: UnaryExpression, reader: Reader) -> Node:  # type: ignore[type-arg]
    if expression.operator is operators.inv:
        return negate(predicate(expression.element, reader))
    raise reader.unsupported(expression, "write it with and_, or_, not_ and comparisons")


@predicate.register(sa.Column)
def _(expression: sa.Column, reader: Reader) -> Node:  # type: ignore[type-arg]
    column = column_of(reader, expression)
    if column.field.kind is not Kind.BOOLEAN:
        raise reader.unsupported(expression, f"compare it: {column.field.label} == …")
    return Compare("==", column, Value(True, column.field))


@predicate.register(BinaryExpression)
def _(expression: BinaryExpression, reader: Reader) -> Node:  # type: ignore[type-arg]
    found = expression.operator
    if found in JSON_STEPS:
        inside = json_path_of(reader, expression)
        if inside.field.kind is not Kind.BOOLEAN:
            raise reader.unsupported(expression, "compare it, or take it as_boolean()")
        return Compare("==", inside, Value(True, inside.field))
    if found in _COMPARISONS:
        return _comparison(reader, _COMPARISONS[found], expression.left, expression.right, expression)
    rule = _RULES.get(found)
    if rule is None:
        raise reader.unsupported(expression, "write it with comparisons, in_, between and is_")
    return rule(reader, expression)


def _comparison(reader: Reader, op: str, left: Any, right: Any, expression: BinaryExpression[Any]) -> Node:
    if is_constant(left):
        left, right, op = right, left, _FLIPPED[op]
    subject = operand(left, reader)
    if isinstance(right, (True_, False_)):
        return compare(
            reader, op, subject, literal_for(reader, isinstance(right, True_), subject, expression)
        )
    if isinstance(right, Null):
        return Always(None)
    if isinstance(right, BindParameter):
        return compare(reader, op, subject, literal_for(reader, right.effective_value, subject, expression))
    other = operand(right, reader)
    refuse_other_kinds(reader, subject, other, expression)
    return compare(reader, op, subject, other)


def compare(reader: Reader, op: str, left: Operand, right: Operand) -> Node:
    if isinstance(right, Value) and right.value is None:
        return Always(None)
    for side in (left, right):
        if isinstance(side, (Column, JsonPath)) and (
            side.field.kind in INCOMPARABLE or (op not in ("==", "!=") and side.field.kind in _UNORDERED)
        ):
            raise _incomparable(reader, side.field, op)
    return Compare(op, left, right)


def _incomparable(reader: Reader, column: Field, op: str) -> UnsupportedFilterError:
    return UnsupportedFilterError(
        f"{reader.engine}: {column.label} is {column.kind.name.lower()} and cannot be compared with {op}",
        hint=f"filter it {_UNORDERED[column.kind]}",
    )


def _in(reader: Reader, expression: BinaryExpression[Any], negated: bool) -> Node:
    subject = operand(expression.left, reader)
    column = field_of(subject)
    right = expression.right
    if column is None or not isinstance(right, BindParameter):
        raise reader.unsupported(expression, "give in_ a column and a list of values")
    if column.kind in INCOMPARABLE:
        raise _incomparable(reader, column, "in_")
    given = [literal_for(reader, v, subject, expression).value for v in listed(right.effective_value)]
    values = tuple(dict.fromkeys(v for v in given if v is not None))
    if not given:
        return Always(negated)
    return In(subject, values, column, negated, null=None in given)


def _between(reader: Reader, expression: BinaryExpression[Any], negated: bool) -> Node:
    assert isinstance(expression.right, ExpressionClauseList)
    low, high = expression.right.clauses
    # Not as SQLAlchemy's `left >= low`, which is its ArgumentError for None, True and False.
    ends = ((">=", low), ("<=", high))
    node = all_of(_comparison(reader, op, expression.left, end, expression) for op, end in ends)
    return negate(node) if negated else node


def _like(
    reader: Reader, expression: BinaryExpression[Any], shape: str, *, fold: bool, negated: bool
) -> Node:
    subject, right = operand(expression.left, reader), expression.right
    if not isinstance(subject, (Column, JsonPath)) or subject.field.kind is not Kind.TEXT:
        raise reader.unsupported(expression, "match columns of text")
    if not isinstance(right, BindParameter):
        raise reader.unsupported(expression, "match a pattern that is a value")
    text = check_pattern(subject.field, right.effective_value)
    pattern = decode_pattern(subject.field, text, expression.modifiers.get("escape"), shape)
    return Like(subject, pattern, reader.limits.case_folding if fold else None, negated)


def _is(reader: Reader, expression: BinaryExpression[Any], negated: bool) -> Node:
    subject, right = operand(expression.left, reader), expression.right
    if isinstance(right, Null):
        return IsNull(subject, negated)
    column = field_of(subject)
    if isinstance(right, (True_, False_)) and column is not None and column.kind is Kind.BOOLEAN:
        # IS TRUE is never unknown, so that its negation holds for NULL.
        same = Compare("==", subject, Value(isinstance(right, True_), column))
        node = all_of((IsNull(subject, negated=True), same))
        return negate(node) if negated else node
    raise reader.unsupported(expression, "use is_ with None, True or False")


_RULES: dict[Any, Callable[[Reader, Any], Node]] = {
    operators.in_op: lambda reader, e: _in(reader, e, False),
    operators.not_in_op: lambda reader, e: _in(reader, e, True),
    operators.between_op: lambda reader, e: _between(reader, e, False),
    operators.not_between_op: lambda reader, e: _between(reader, e, True),
    **{
        getattr(operators, f"{'not_' if negated else ''}{'i' if fold else ''}{name}_op"): partial(
            _like, shape=shape, fold=fold, negated=negated
        )
        for name, shape in (("like", "{}"), ("startswith", "{}%"), ("endswith", "%{}"), ("contains", "%{}%"))
        for fold in (False, True)
        for negated in (False, True)
    },
    operators.is_: lambda reader, e: _is(reader, e, False),
    operators.is_not: lambda reader, e: _is(reader, e, True),
}
