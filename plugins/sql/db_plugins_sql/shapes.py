"""A query's shape is what it says without its values: queries of one shape are one statement, with other values bound.

    shape_of(spec)    a hashable key, and the values in the order in which the query holds them
    slotted(spec, …)  the same spec with a Slot in the place of each value: what the kept statement is made of

Both walk the nodes in the same order; ``slotted`` checks that they meet the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from db_plugins.models import Field, Kind
from db_plugins.nodes import (
    Always,
    And,
    Arithmetic,
    Column,
    Compare,
    Exists,
    In,
    IsNull,
    JsonPath,
    Like,
    Node,
    Operand,
    Or,
    Value,
)
from db_plugins.spec import QuerySpec

__all__ = [
    "NotKeptError",
    "Shape",
    "Slot",
    "filled_operands",
    "is_wide",
    "sample_of",
    "shape_of",
    "shape_of_operands",
    "slotted",
]

Shape = tuple[Any, ...]
Values = list[Any]

_INT32 = 1 << 31


class NotKeptError(Exception):
    """A statement that cannot serve other values."""


class Slot:
    """The place of a value. ``sample`` is the value of the query that the statement was first made for."""

    __slots__ = ("at", "encode", "sample")

    def __init__(self, at: int, sample: Any, encode: Callable[[Any], Any] | None = None) -> None:
        self.at = at
        self.sample = sample
        self.encode = encode


def sample_of(value: Any) -> Any:
    """The value itself, or the one that a Slot was first made for."""
    return value.sample if isinstance(value, Slot) else value


def shape_of(spec: QuerySpec, long_list: int) -> tuple[Shape, Values]:
    """The spec's shape and its values. Lists of more than ``long_list`` values count as one value."""
    values: Values = []
    where = None if spec.where is None else _SHAPES[type(spec.where)](spec.where, values, long_list)
    if spec.offset:
        values.append(spec.offset)
    # The limit is no value: a server that keeps plans could not plan for one that it does not know.
    is_offset = spec.offset != 0
    return (spec.columns, where, spec.order, spec.limit, is_offset, spec.model, spec.joins), values


def slotted(spec: QuerySpec, values: Values, long_list: int) -> QuerySpec:
    """The spec with Slots for these values, which are its own."""
    slots = iter([Slot(at, value) for at, value in enumerate(values)])
    where = None if spec.where is None else _fill(spec.where, slots, long_list)
    offset: Any = next(slots) if spec.offset else 0
    assert next(slots, None) is None, "the shape has values that the query has not"
    return spec.but(where=where, offset=offset)


def shape_of_operands(operands: Mapping[Field, Operand]) -> tuple[Shape, Values]:
    """The shape and the values of what columns are set to."""
    values: Values = []
    return tuple([(field, _operand(operand, values)) for field, operand in operands.items()]), values


def filled_operands(operands: Mapping[Field, Operand], slots: Sequence[Slot]) -> dict[Field, Operand]:
    """The same operands with a Slot in the place of each value."""
    left = iter(slots)
    return {field: _fill_operand(operand, left) for field, operand in operands.items()}


def is_wide(field: Field, value: Any) -> bool:
    """Is it an integer that the column's type cannot hold, so that it is bound as one of 64 bits?"""
    if field.kind is not Kind.INTEGER or field.to_stored is not None:
        return False
    top = 1 << (field.bits - 1)
    return not -top <= value < top


# -- shapes ------------------------------------------------------------------------------------------------------------


def _operand(operand: Operand, values: Values) -> Any:
    kind = type(operand)
    if kind is Column:
        return operand.field  # type: ignore[union-attr]
    if kind is Value:
        value, field = operand.value, operand.field  # type: ignore[union-attr]
        values.append(value)
        if field is None:
            return type(value), isinstance(value, int) and not -_INT32 <= value < _INT32
        return field, is_wide(field, value)
    if kind is JsonPath:
        return operand.column, operand.path, operand.field.kind  # type: ignore[union-attr]
    return operand.op, _operand(operand.left, values), _operand(operand.right, values)  # type: ignore[union-attr]


def _compare(node: Compare, values: Values, _long: int) -> Shape:
    return node.op, _operand(node.left, values), _operand(node.right, values)


def _in(node: In, values: Values, long_list: int) -> Shape:
    operand = _operand(node.operand, values)
    count = len(node.values)
    if count > long_list:
        values.append(node.values)
        count = -1
    else:
        values.extend(node.values)
    wide = any(is_wide(node.field, value) for value in node.values)
    return "in", operand, node.field, count, node.negated, wide


def _like(node: Like, values: Values, _long: int) -> Shape:
    operand = _operand(node.operand, values)
    values.append(node.pattern)
    return "like", operand, node.fold, node.negated


def _is_null(node: IsNull, values: Values, _long: int) -> Shape:
    return "null", _operand(node.operand, values), node.negated


def _exists(node: Exists, values: Values, long_list: int) -> Shape:
    # What the hops hold are no values of the query's: a subclass's identities.
    where = None if node.where is None else _SHAPES[type(node.where)](node.where, values, long_list)
    return "exists", node.hops, where, node.negated


def _parts(node: And | Or, values: Values, long_list: int) -> Shape:
    return (type(node), *[_SHAPES[type(part)](part, values, long_list) for part in node.parts])


def _always(node: Always, _values: Values, _long: int) -> Shape:
    return (node.truth,)


_SHAPES: dict[type, Callable[[Any, Values, int], Shape]] = {
    Compare: _compare,
    In: _in,
    Like: _like,
    IsNull: _is_null,
    Exists: _exists,
    And: _parts,
    Or: _parts,
    Always: _always,
}


# -- slots -------------------------------------------------------------------------------------------------------------


def _taken(slots: Iterator[Slot], value: Any) -> Slot:
    slot = next(slots)
    assert slot.sample is value, "shape and slots are walked in different orders"
    return slot


def _fill_operand(operand: Operand, slots: Iterator[Slot]) -> Operand:
    if isinstance(operand, Value):
        return Value(_taken(slots, operand.value), operand.field)
    if isinstance(operand, Arithmetic):
        left = _fill_operand(operand.left, slots)
        return Arithmetic(operand.op, left, _fill_operand(operand.right, slots))
    return operand


def _fill(node: Node, slots: Iterator[Slot], long_list: int) -> Node:
    if isinstance(node, Compare):
        left = _fill_operand(node.left, slots)
        return Compare(node.op, left, _fill_operand(node.right, slots))
    if isinstance(node, In):
        operand = _fill_operand(node.operand, slots)
        values: Any
        if len(node.values) > long_list:
            values = _taken(slots, node.values)
        else:
            values = tuple([_taken(slots, value) for value in node.values])
        return In(operand, values, node.field, node.negated)
    if isinstance(node, Like):
        like_operand: Any = _fill_operand(node.operand, slots)
        pattern: Any = _taken(slots, node.pattern)
        return Like(like_operand, pattern, node.fold, node.negated)
    if isinstance(node, IsNull):
        return IsNull(_fill_operand(node.operand, slots), node.negated)
    if isinstance(node, Exists) and node.where is not None:
        return replace(node, where=_fill(node.where, slots, long_list))
    if isinstance(node, (And, Or)):
        return replace(node, parts=tuple([_fill(part, slots, long_list) for part in node.parts]))
    return node
