"""SQLAlchemy's expressions become filter nodes; what has no meaning that holds on every engine is refused by name.

``Reader`` walks an expression once. Two rules by node class, ``predicate`` and ``operand``, each with a base rule that
raises, so that nothing unknown can be dropped silently; the operators are one table each. Every literal is checked
against the column it meets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property, partial, singledispatchmethod
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import (
    AsBoolean,
    BinaryExpression,
    BindParameter,
    BooleanClauseList,
    ClauseElement,
    ExpressionClauseList,
    False_,
    Grouping,
    Label,
    Null,
    True_,
    UnaryExpression,
)
from sqlalchemy.sql.selectable import Exists as ExistsClause

from .elements import JSON_STEPS, element_of, is_constant, json_steps, listed, shown
from .errors import InvalidValueError, UnsupportedFilterError
from .existence import read_exists
from .json_paths import json_path
from .models import Field, Kind, Limits, ModelInfo, describe, make_checker
from .models.values import plain
from .nodes import (
    Always,
    Arithmetic,
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
    settle,
)
from .patterns import check_pattern, decode_pattern
from .spec import Join, Order, QuerySpec

__all__ = ["Reader"]

_COMPARISONS: dict[Any, str] = {
    operators.eq: "==",
    operators.ne: "!=",
    operators.lt: "<",
    operators.le: "<=",
    operators.gt: ">",
    operators.ge: ">=",
}
_ARITHMETIC: dict[Any, str] = {
    operators.add: "+",
    operators.sub: "-",
    operators.mul: "*",
    operators.truediv: "/",
    operators.floordiv: "//",
}
#: Kinds without an order of their own.
_UNORDERED = {
    Kind.ENUM: "by ==, !=, in_ and not_in",
    Kind.BOOLEAN: "by == and is_",
    Kind.JSON: "by its paths",
    Kind.VECTOR: "by is_(None), and use nearest() for the rest",
}
#: Kinds that are not compared as a whole, and why they have no order.
_INCOMPARABLE = {
    Kind.JSON: ("JSON", "order by a plain column"),
    Kind.VECTOR: ("a vector", "use nearest(), which orders by distance"),
}
_NUMBERS = {Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL}
#: The type that ``as_string()`` and its kin give an expression → the kind of value.
_JSON_KINDS: tuple[tuple[Any, Kind], ...] = (
    (sa.Boolean, Kind.BOOLEAN),
    (sa.Integer, Kind.INTEGER),
    (sa.Float, Kind.FLOAT),
    (sa.String, Kind.TEXT),
)
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


@dataclass
class Reader:
    """Reads expressions for one model and one engine (its name is for messages, its limits for values).

    ``scopes`` are the models whose columns may be named, each by its table or the alias that stands for it; ``look_up``
    gives the ModelInfo of a related one.
    """

    model: ModelInfo
    engine: str
    limits: Limits
    look_up: Callable[[type], ModelInfo] = describe
    scopes: Mapping[Any, ModelInfo] = field(default_factory=dict)
    _checkers: dict[Field, Callable[[Any], Any]] = field(default_factory=dict)
    _literals: dict[Field, Callable[[Any], Any]] = field(default_factory=dict)

    @cached_property
    def everything(self) -> QuerySpec:
        """The spec of a query that asks nothing yet."""
        return QuerySpec(self.model, self.model.fields, where=self.model.only_this_class)

    def __post_init__(self) -> None:
        self.scopes = self.scopes or {self.model.table: self.model}

    def within(self, joins: Iterable[Join]) -> Reader:
        """The reader of a query that joins these."""
        return self.seeing({hop.info.table: hop.info for join in joins for hop in join.hops})

    def seeing(self, scopes: Mapping[Any, ModelInfo]) -> Reader:
        """A reader that knows these models too; one of the same table hides it."""
        return replace(self, scopes={**self.scopes, **scopes})

    # -- what the query asks ---------------------------------------------------------------------------------------

    def condition(self, expression: Any) -> Node:
        """The node of one argument of ``filter``."""
        return settle(self.predicate(element_of(expression, self.engine)))

    def equals(self, name: str, value: Any) -> Node:
        """``name=value``; ``None`` means IS NULL."""
        column = self.model.field(name)
        if value is None:
            return IsNull(Column(column))
        if isinstance(value, ClauseElement) or hasattr(value, "__clause_element__"):
            raise InvalidValueError(
                f"{column.label} is compared with an expression", hint=f"write filter({column.label} == …)"
            )
        return settle(self._compare("==", Column(column), self._literal(value, Column(column), value)))

    def order(self, term: Any) -> Order:
        """One argument of ``order_by``: a column, ``.desc()``, ``.nulls_last()``…, or a name with an optional ``-``."""
        if isinstance(term, str):
            descending = term.startswith("-")
            return self._order(self.model.field(term.removeprefix("-")), descending, None)
        element = element_of(term, self.engine)
        descending = False
        nulls_first: bool | None = None
        while isinstance(element, UnaryExpression) and element.modifier in _MODIFIERS:
            what, flag = _MODIFIERS[element.modifier]
            if what == "nulls":
                nulls_first = flag
            else:
                descending = flag
            element = element.element
        found = self.operand(element)
        if not isinstance(found, Column):
            raise self._unsupported(element, "order by columns of the model")
        return self._order(found.field, descending, nulls_first)

    def _order(self, column: Field, descending: bool, nulls_first: bool | None) -> Order:
        if column.kind in _INCOMPARABLE:
            what, hint = _INCOMPARABLE[column.kind]
            raise UnsupportedFilterError(
                f"{self.engine}: {column.label} is {what}, which has no order", hint=hint
            )
        return Order(column, descending, not descending if nulls_first is None else nulls_first)

    def column(self, term: Any) -> Field:
        """The model's column that an argument names, by its name or as an expression."""
        if isinstance(term, str):
            return self.model.field(term)
        element = element_of(term, self.engine)
        found = self.operand(element)
        if not isinstance(found, Column):
            raise self._unsupported(element, "name columns of the model")
        return found.field

    def assigned(self, column: Field, value: Any) -> Operand:
        """The value that ``update`` writes to a column: a checked literal or arithmetic on columns of the row."""
        if isinstance(value, ClauseElement) or hasattr(value, "__clause_element__"):
            result = self.operand(element_of(value, self.engine))
            if isinstance(result, Value):
                return Value(self.check(column, result.value), column)
            kinds = {f.kind for f in _fields(result)}
            if isinstance(result, Arithmetic) and column.kind is Kind.INTEGER and not _is_whole(result):
                raise InvalidValueError(
                    f"{column.label} takes whole numbers, and this calculation may give others",
                    hint="calculate with integers and //, or make the column a Float",
                )
            if (isinstance(result, Column) and not _takes(column, result.field)) or (
                isinstance(result, Arithmetic) and not (column.kind in _NUMBERS and kinds <= _NUMBERS)
            ):
                raise InvalidValueError(
                    f"{column.label} takes {column.kind.value}, not what this expression gives"
                )
            return result
        return Value(self.check(column, value), column)

    def check(self, column: Field, value: Any) -> Any:
        """A value that is to be written."""
        if column not in self._checkers:
            self._checkers[column] = make_checker(column, self.limits)
        return self._checkers[column](value)

    def literal(self, column: Field, value: Any) -> Any:
        """A value that a column is compared with."""
        check = self._literals.get(column)
        if check is None:
            check = self._literals[column] = make_checker(column, self.limits, in_filter=True)
        return check(value)

    # -- predicates ------------------------------------------------------------------------------------------------

    @singledispatchmethod
    def predicate(self, expression: Any) -> Node:
        """The node of an expression that is true or false."""
        raise self._unsupported(expression, "write it with the operators of the documentation's filter page")

    @predicate.register
    def _(self, expression: BooleanClauseList) -> Node:
        combine = all_of if expression.operator is operators.and_ else any_of
        return combine(self.predicate(part) for part in expression.clauses)

    @predicate.register
    def _(self, expression: Grouping) -> Node:  # type: ignore[type-arg]
        return self.predicate(expression.element)

    @predicate.register
    def _(self, expression: True_) -> Node:
        return Always(True)

    @predicate.register
    def _(self, expression: False_) -> Node:
        return Always(False)

    @predicate.register
    def _(self, expression: AsBoolean) -> Node:
        node = self.predicate(expression.element)
        return negate(node) if expression.operator is operators.is_false else node

    @predicate.register
    def _(self, expression: ExistsClause) -> Node:
        return read_exists(self, expression)

    @predicate.register
    def _(self, expression: UnaryExpression) -> Node:  # type: ignore[type-arg]
        if expression.operator is operators.inv:
            return negate(self.predicate(expression.element))
        raise self._unsupported(expression, "write it with and_, or_, not_ and comparisons")

    @predicate.register
    def _(self, expression: sa.Column) -> Node:  # type: ignore[type-arg]
        column = self._column(expression)
        if column.field.kind is not Kind.BOOLEAN:
            raise self._unsupported(expression, f"compare it: {column.field.label} == …")
        return Compare("==", column, Value(True, column.field))

    @predicate.register
    def _(self, expression: BinaryExpression) -> Node:  # type: ignore[type-arg]
        found = expression.operator
        if found in JSON_STEPS:
            inside = self._json_path(expression)
            if inside.field.kind is not Kind.BOOLEAN:
                raise self._unsupported(expression, "compare it, or take it as_boolean()")
            return Compare("==", inside, Value(True, inside.field))
        if found in _COMPARISONS:
            return self._comparison(_COMPARISONS[found], expression.left, expression.right, expression)
        rule = _RULES.get(found)
        if rule is None:
            raise self._unsupported(expression, "write it with comparisons, in_, between and is_")
        return rule(self, expression)

    def _comparison(self, op: str, left: Any, right: Any, expression: BinaryExpression[Any]) -> Node:
        if is_constant(left):
            left, right, op = right, left, _FLIPPED[op]
        subject = self.operand(left)
        if isinstance(right, (True_, False_)):
            return self._compare(op, subject, self._literal(isinstance(right, True_), subject, expression))
        if isinstance(right, Null):
            return Always(None)
        if isinstance(right, BindParameter):
            return self._compare(op, subject, self._literal(right.effective_value, subject, expression))
        other = self.operand(right)
        self._same_kind(subject, other, expression)
        return self._compare(op, subject, other)

    def _compare(self, op: str, left: Operand, right: Operand) -> Node:
        if isinstance(right, Value) and right.value is None:
            return Always(None)
        for side in (left, right):
            if isinstance(side, (Column, JsonPath)) and (
                side.field.kind in _INCOMPARABLE or (op not in ("==", "!=") and side.field.kind in _UNORDERED)
            ):
                raise self._incomparable(side.field, op)
        return Compare(op, left, right)

    def _incomparable(self, column: Field, op: str) -> UnsupportedFilterError:
        return UnsupportedFilterError(
            f"{self.engine}: {column.label} is {column.kind.name.lower()} and cannot be compared with {op}",
            hint=f"filter it {_UNORDERED[column.kind]}",
        )

    def _in(self, expression: BinaryExpression[Any], negated: bool) -> Node:
        subject = self.operand(expression.left)
        column = _field_of(subject)
        right = expression.right
        if column is None or not isinstance(right, BindParameter):
            raise self._unsupported(expression, "give in_ a column and a list of values")
        if column.kind in _INCOMPARABLE:
            raise self._incomparable(column, "in_")
        given = [self._literal(v, subject, expression).value for v in listed(right.effective_value)]
        values = tuple(dict.fromkeys(v for v in given if v is not None))
        if not given:
            return Always(negated)
        return In(subject, values, column, negated, null=None in given)

    def _between(self, expression: BinaryExpression[Any], negated: bool) -> Node:
        assert isinstance(expression.right, ExpressionClauseList)
        low, high = expression.right.clauses
        # Not as SQLAlchemy's `left >= low`, which is its ArgumentError for None, True and False.
        ends = ((">=", low), ("<=", high))
        node = all_of(self._comparison(op, expression.left, end, expression) for op, end in ends)
        return negate(node) if negated else node

    def _like(self, expression: BinaryExpression[Any], shape: str, *, fold: bool, negated: bool) -> Node:
        subject, right = self.operand(expression.left), expression.right
        if not isinstance(subject, (Column, JsonPath)) or subject.field.kind is not Kind.TEXT:
            raise self._unsupported(expression, "match columns of text")
        if not isinstance(right, BindParameter):
            raise self._unsupported(expression, "match a pattern that is a value")
        text = check_pattern(subject.field, right.effective_value)
        pattern = decode_pattern(subject.field, text, expression.modifiers.get("escape"), shape)
        return Like(subject, pattern, self.limits.case_folding if fold else None, negated)

    def _is(self, expression: BinaryExpression[Any], negated: bool) -> Node:
        subject, right = self.operand(expression.left), expression.right
        if isinstance(right, Null):
            return IsNull(subject, negated)
        column = _field_of(subject)
        if isinstance(right, (True_, False_)) and column is not None and column.kind is Kind.BOOLEAN:
            # IS TRUE is never unknown, so that its negation holds for NULL.
            same = Compare("==", subject, Value(isinstance(right, True_), column))
            node = all_of((IsNull(subject, negated=True), same))
            return negate(node) if negated else node
        raise self._unsupported(expression, "use is_ with None, True or False")

    # -- operands --------------------------------------------------------------------------------------------------

    @singledispatchmethod
    def operand(self, expression: Any) -> Operand:
        """The operand of an expression that has a value."""
        raise self._unsupported(expression, "compare columns, values and arithmetic on them")

    @operand.register
    def _(self, expression: sa.Column) -> Operand:  # type: ignore[type-arg]
        return self._column(expression)

    @operand.register(Grouping)
    @operand.register(Label)
    def _(self, expression: Any) -> Operand:
        return self.operand(expression.element)

    @operand.register
    def _(self, expression: BindParameter) -> Operand:  # type: ignore[type-arg]
        value = plain(expression.effective_value)
        if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
            raise self._unsupported(expression, "calculate with numbers")
        return Value(value)

    @operand.register
    def _(self, expression: UnaryExpression) -> Operand:  # type: ignore[type-arg]
        if expression.operator is operators.neg:
            return Arithmetic("-", Value(0), self._number(expression.element, expression))
        raise self._unsupported(expression, "calculate with + - * / //")

    @operand.register
    def _(self, expression: BinaryExpression) -> Operand:  # type: ignore[type-arg]
        if expression.operator in JSON_STEPS:
            return self._json_path(expression)
        if expression.operator not in _ARITHMETIC:
            raise self._unsupported(expression, "calculate with + - * / //")
        left = self._number(expression.left, expression)
        right = self._number(expression.right, expression)
        return Arithmetic(_ARITHMETIC[expression.operator], left, right)

    @operand.register
    def _(self, expression: ExpressionClauseList) -> Operand:  # type: ignore[type-arg]
        # SQLAlchemy joins a + b + c, and a * b * c, into one list.
        op = _ARITHMETIC.get(expression.operator)
        if op is None:
            raise self._unsupported(expression, "calculate with + - * / //")
        first, *others = [self._number(part, expression) for part in expression.clauses]
        for other in others:
            first = Arithmetic(op, first, other)
        return first

    def _json_path(self, expression: BinaryExpression[Any]) -> JsonPath:
        kind = next((k for sql_type, k in _JSON_KINDS if isinstance(expression.type, sql_type)), None)
        if kind is None:
            raise self._unsupported(
                expression, "say what it is: as_string(), as_integer(), as_float() or as_boolean()"
            )
        inner, steps = json_steps(expression)
        column = self.operand(inner)
        if not isinstance(column, Column) or column.field.kind is not Kind.JSON:
            raise self._unsupported(expression, "take paths of a JSON column")
        return json_path(column.field, steps, kind)

    def _number(self, part: Any, whole: Any) -> Operand:
        result = self.operand(part)
        if isinstance(result, (Column, JsonPath)) and result.field.kind not in _NUMBERS:
            raise self._unsupported(whole, f"{result.field.label} is no number")
        return result

    def _column(self, expression: Any) -> Column:
        info = self.scopes.get(expression.table)
        column = info.by_column.get(expression.name) if info is not None else None
        if column is None:
            names = ", ".join(dict.fromkeys(each.name for each in self.scopes.values()))
            raise self._unsupported(
                expression,
                f"this query is about {names}: join() the other model, or ask any() or has() of the relationship",
            )
        return Column(column)

    def _literal(self, value: Any, subject: Operand, expression: Any) -> Value:
        column = _field_of(subject)
        if column is not None:
            return Value(self.literal(column, value), column)
        value = plain(value)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float, Decimal))):
            raise InvalidValueError(f"a calculation is compared with a value of type {type(value).__name__}")
        return Value(value)

    def _same_kind(self, left: Operand, right: Operand, expression: Any) -> None:
        kinds = {f.kind for side in (left, right) for f in _fields(side)}
        if len(kinds) > 1 and not kinds <= _NUMBERS:
            raise self._unsupported(expression, "compare columns of the same kind")

    def _unsupported(self, part: Any, hint: str) -> UnsupportedFilterError:
        return UnsupportedFilterError(f"{self.engine}: cannot filter by {shown(part)}", hint=hint)


_RULES: dict[Any, Callable[[Reader, Any], Node]] = {
    operators.in_op: lambda reader, e: reader._in(e, False),
    operators.not_in_op: lambda reader, e: reader._in(e, True),
    operators.between_op: lambda reader, e: reader._between(e, False),
    operators.not_between_op: lambda reader, e: reader._between(e, True),
    **{
        getattr(operators, f"{'not_' if negated else ''}{'i' if fold else ''}{name}_op"): partial(
            Reader._like, shape=shape, fold=fold, negated=negated
        )
        for name, shape in (("like", "{}"), ("startswith", "{}%"), ("endswith", "%{}"), ("contains", "%{}%"))
        for fold in (False, True)
        for negated in (False, True)
    },
    operators.is_: lambda reader, e: reader._is(e, False),
    operators.is_not: lambda reader, e: reader._is(e, True),
}
_MODIFIERS: dict[Any, tuple[str, bool]] = {
    operators.desc_op: ("order", True),
    operators.asc_op: ("order", False),
    operators.nulls_first_op: ("nulls", True),
    operators.nulls_last_op: ("nulls", False),
}


def _field_of(operand: Operand) -> Field | None:
    return operand.field if isinstance(operand, (Column, JsonPath)) else None


def _fields(operand: Operand) -> Iterable[Field]:
    if isinstance(operand, (Column, JsonPath)):
        return [operand.field]
    if isinstance(operand, Arithmetic):
        return [*_fields(operand.left), *_fields(operand.right)]
    return []


def _takes(column: Field, other: Field) -> bool:
    """May the one column be set to what the other holds?"""
    same_length = column.length == other.length or column.kind is not Kind.VECTOR
    return column.kind is other.kind and same_length


def _is_whole(operand: Operand) -> bool:
    """Is the result an integer whatever the row holds?"""
    if isinstance(operand, (Column, JsonPath)):
        return operand.field.kind is Kind.INTEGER
    if isinstance(operand, Value):
        return isinstance(operand.value, int)
    return operand.op != "/" and _is_whole(operand.left) and _is_whole(operand.right)
