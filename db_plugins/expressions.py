"""SQLAlchemy's expressions become filter nodes; what has no meaning that holds on every engine is refused by name.

    Reader         what a query hands in: conditions, orders, assignments, column names
    predicates.py  a rule for each class of expression that is true or false
    operands.py    a rule for each class of expression that has a value

Each has a base rule that raises, so that nothing unknown can be dropped silently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import (
    ClauseElement,
    UnaryExpression,
)

from .elements import element_of, shown
from .errors import InvalidValueError, UnsupportedFilterError
from .models import Field, Kind, Limits, ModelInfo, describe, make_checker
from .models.columns import make_column_checker
from .nodes import (
    Arithmetic,
    Column,
    IsNull,
    Node,
    Operand,
    Value,
    settle,
)
from .operands import NUMBERS, fields_in, is_whole, literal_for, operand
from .predicates import INCOMPARABLE, compare, predicate
from .spec import Join, Order, QuerySpec

__all__ = ["Reader"]

#: Things that are kept for one model.
MOST_REMEMBERED = 2000

_MODIFIERS: dict[Any, tuple[str, bool]] = {
    operators.desc_op: ("order", True),
    operators.asc_op: ("order", False),
    operators.nulls_first_op: ("nulls", True),
    operators.nulls_last_op: ("nulls", False),
}


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
    _columns: dict[Field, Callable[[Sequence[Any]], tuple[Sequence[Any], bool]]] = field(default_factory=dict)
    #: What others have worked out for this model and engine: ``remember``.
    memo: dict[Any, Any] = field(default_factory=dict)

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
        return settle(compare(self, "==", Column(column), literal_for(self, value, Column(column), value)))

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
            raise self.unsupported(element, "order by columns of the model")
        return self._order(found.field, descending, nulls_first)

    def _order(self, column: Field, descending: bool, nulls_first: bool | None) -> Order:
        if column.kind in INCOMPARABLE:
            what, hint = INCOMPARABLE[column.kind]
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
            raise self.unsupported(element, "name columns of the model")
        return found.field

    def assigned(self, column: Field, value: Any) -> Operand:
        """The value that ``update`` writes to a column: a checked literal or arithmetic on columns of the row."""
        if isinstance(value, ClauseElement) or hasattr(value, "__clause_element__"):
            result = self.operand(element_of(value, self.engine))
            if isinstance(result, Value):
                return Value(self.check(column, result.value), column)
            kinds = {f.kind for f in fields_in(result)}
            if isinstance(result, Arithmetic) and column.kind is Kind.INTEGER and not is_whole(result):
                raise InvalidValueError(
                    f"{column.label} takes whole numbers, and this calculation may give others",
                    hint="calculate with integers and //, or make the column a Float",
                )
            if (isinstance(result, Column) and not _takes(column, result.field)) or (
                isinstance(result, Arithmetic) and not (column.kind in NUMBERS and kinds <= NUMBERS)
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

    def remember(self, key: Any, found: Any) -> None:
        """Keep what was worked out. Names in another order are another key: there may be many, and most are rare."""
        if len(self.memo) >= MOST_REMEMBERED:
            self.memo.clear()
        self.memo[key] = found

    def check_column(self, column: Field, values: Sequence[Any]) -> tuple[Sequence[Any], bool]:
        """Many values that are to be written; and whether one of them is None now."""
        check = self._columns.get(column)
        if check is None:
            check = self._columns[column] = make_column_checker(column, self.limits)
        return check(values)

    def literal(self, column: Field, value: Any) -> Any:
        """A value that a column is compared with."""
        check = self._literals.get(column)
        if check is None:
            check = self._literals[column] = make_checker(column, self.limits, in_filter=True)
        return check(value)

    # -- parts of an expression ------------------------------------------------------------------------------------

    def predicate(self, expression: Any) -> Node:
        """The node of an expression that is true or false; NULL in it is still unknown."""
        return predicate(expression, self)

    def operand(self, expression: Any) -> Operand:
        """The operand of an expression that has a value."""
        return operand(expression, self)

    def unsupported(self, part: Any, hint: str) -> UnsupportedFilterError:
        """What is raised for a part that has no meaning here."""
        return UnsupportedFilterError(f"{self.engine}: cannot filter by {shown(part)}", hint=hint)


def _takes(column: Field, other: Field) -> bool:
    """May the one column be set to what the other holds?"""
    same_length = column.length == other.length or column.kind is not Kind.VECTOR
    return column.kind is other.kind and same_length
