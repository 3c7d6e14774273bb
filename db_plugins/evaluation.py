"""What every node means, in plain Python: the reference that all engines are compared with.

``evaluate(node, row)`` is MemoryEngine's own evaluator, and the core finishes with it what an engine's ``compile``
leaves over. A row is a mapping from ``Field.path`` (the attribute's name, in a query of several models with the scope
before it) to value; NULL is ``None``.
"""

from __future__ import annotations

import enum
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache, singledispatch
from typing import TYPE_CHECKING, Any

from .nodes import Always, And, Column, Compare, In, IsNull, JsonPath, Like, Node, Operand, Or, Value, Wild

if TYPE_CHECKING:
    from .spec import Order

__all__ = ["compute", "evaluate", "sort_rows"]

Row = Mapping[str, Any]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@singledispatch
def evaluate(node: Node, row: Row) -> bool:
    """Is the node TRUE for this row?

    >>> evaluate(Always(True), {})
    True
    """
    raise TypeError(f"no meaning for {type(node).__name__}")


@evaluate.register
def _(node: Compare, row: Row) -> bool:
    left, right = compute(node.left, row), compute(node.right, row)
    if left is None or right is None:
        return False
    return _COMPARE[node.op](_comparable(left), _comparable(right))


@evaluate.register
def _(node: In, row: Row) -> bool:
    value = compute(node.operand, row)
    return value is not None and (value in node.members) is not node.negated


@evaluate.register
def _(node: Like, row: Row) -> bool:
    value = compute(node.operand, row)
    return value is not None and (like_regex(node).fullmatch(value) is not None) is not node.negated


@lru_cache(maxsize=256)
def like_regex(node: Like) -> re.Pattern[str]:
    """The pattern of a LIKE as a regular expression for the whole text."""
    parts = {Wild.ANY: ".*", Wild.ONE: "."}
    text = "".join(parts[p] if isinstance(p, Wild) else re.escape(p) for p in node.pattern)
    flags = {None: 0, "ascii": re.IGNORECASE | re.ASCII, "unicode": re.IGNORECASE}[node.fold]
    return re.compile(text, re.DOTALL | flags)


@evaluate.register
def _(node: IsNull, row: Row) -> bool:
    return (compute(node.operand, row) is None) is not node.negated


@evaluate.register
def _(node: And, row: Row) -> bool:
    return all(evaluate(part, row) for part in node.parts)


@evaluate.register
def _(node: Or, row: Row) -> bool:
    return any(evaluate(part, row) for part in node.parts)


@evaluate.register
def _(node: Always, row: Row) -> bool:
    return bool(node.truth)


def compute(operand: Operand, row: Row) -> Any:
    """The operand's value for this row."""
    if isinstance(operand, Column):
        return row[operand.field.path]
    if isinstance(operand, Value):
        return operand.value
    if isinstance(operand, JsonPath):
        return _inside(row[operand.column.path], operand)
    left, right = compute(operand.left, row), compute(operand.right, row)
    if left is None or right is None:
        return None
    result = _ARITHMETIC[operand.op](*_same_kind(left, right))
    return None if result != result else result  # NaN is NULL


def _inside(value: Any, operand: JsonPath) -> Any:
    for step in operand.path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and step < len(value) else None
    kind = operand.field.kind.name
    if type(value) not in _JSON_TYPES[kind]:
        return None
    return float(value) if kind == "FLOAT" else value


#: What a JSON value must be to count as a value of the kind.
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "TEXT": (str,),
    "INTEGER": (int,),
    "FLOAT": (int, float),
    "BOOLEAN": (bool,),
}


def _same_kind(left: Any, right: Any) -> tuple[Any, Any]:
    # Decimal and float do not mix in Python; in a database the float wins.
    if isinstance(left, float) and isinstance(right, Decimal):
        return left, float(right)
    if isinstance(left, Decimal) and isinstance(right, float):
        return float(left), right
    return left, right


def _true_division(left: Any, right: Any) -> Any:
    return None if right == 0 else left / right


def _floor_division(left: Any, right: Any) -> Any:
    if right == 0:
        return None
    if isinstance(left, Decimal) or isinstance(right, Decimal):
        return Decimal(math.floor(Decimal(left) / Decimal(right)))
    if isinstance(left, int) and isinstance(right, int):
        return left // right
    quotient = left / right
    return float(math.floor(quotient)) if math.isfinite(quotient) else quotient


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _true_division,
    "//": _floor_division,
}


def _comparable(value: Any) -> Any:
    """Enum members are ordered by name; everything else as Python orders it (text by code point)."""
    return value.name if isinstance(value, enum.Enum) else value


def sort_rows(rows: list[Any], order: Sequence[Order], get: Callable[[Any, str], Any]) -> list[Any]:
    """Rows in this order; ``get(row, path)`` reads a value. Stable, NULLs where each term says."""
    result = list(rows)
    for term in reversed(order):
        name = term.field.path

        def key(
            row: Any, name: str = name, first: bool = term.nulls_first, down: bool = term.descending
        ) -> Any:
            value = get(row, name)
            if value is None:
                # reverse=True turns the flag round as well.
                return (first is down, 0)
            return (first is not down, _comparable(value))

        result.sort(key=key, reverse=term.descending)
    return result
