"""The closed set of filter nodes: all that an engine must understand of a condition.

    Operand    Column · JsonPath · Value · Arithmetic
    Node       Compare · In · Like · IsNull · Exists · And · Or · Always
    Hop        to the rows of another model, by columns that are equal

There is no NOT: the core pushes it to the leaves (``negate``), where it turns ``<`` into ``>=`` and ``IN`` into
``NOT IN``. So every node answers one question only, *is this TRUE in SQL's three-valued logic*, and a leaf whose
operand is NULL never is. Lists are non-empty and without NULL, literals are checked and never NULL: the core has
resolved those cases into ``Always`` (``settle``).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .models import Field, ModelInfo

__all__ = [
    "ARITHMETIC",
    "COMPARISONS",
    "Always",
    "And",
    "Arithmetic",
    "Column",
    "Compare",
    "Exists",
    "Hop",
    "In",
    "IsNull",
    "JsonPath",
    "Like",
    "Node",
    "Operand",
    "Or",
    "Value",
    "Wild",
    "all_of",
    "any_of",
    "fields_of",
    "has_exists",
    "negate",
    "settle",
]

#: The comparisons, each with its negation.
COMPARISONS = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
#: The arithmetic operators. ``/`` is true division and ``//`` floors; division by zero is NULL.
ARITHMETIC = ("+", "-", "*", "/", "//")


@dataclass(frozen=True, slots=True)
class Column:
    """The value of a column in the row."""

    field: Field


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A value inside a JSON column: keys and indexes from the outside in. NULL if it is not of ``field.kind``.

    ``column`` is the JSON column; ``field`` describes the value as if it were a column of its own: its kind is TEXT,
    INTEGER (no fraction, no ``1.0``), FLOAT (any number) or BOOLEAN.
    """

    column: Field
    path: tuple[str | int, ...]
    field: Field


@dataclass(frozen=True, slots=True)
class Value:
    """A checked literal. ``field`` is the column it is compared with or written to, which says how to encode it."""

    value: Any
    field: Field | None = None


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """A calculation on numbers; NULL if a side is."""

    op: str
    left: Operand
    right: Operand


@dataclass(frozen=True, slots=True)
class Compare:
    """``left op right``, false if a side is NULL."""

    op: str
    left: Operand
    right: Operand


@dataclass(frozen=True)
class In:
    """Is the operand one of the values (``negated``: none of them), and not NULL?"""

    operand: Operand
    values: tuple[Any, ...]
    field: Field
    negated: bool = False
    #: NULL was in the list too. Only while an expression is read: ``settle`` resolves it.
    null: bool = False

    @cached_property
    def members(self) -> frozenset[Any]:
        """The values, to look one up in."""
        return frozenset(self.values)


class Wild(enum.Enum):
    """The two wildcards of LIKE."""

    ANY = "%"
    ONE = "_"


@dataclass(frozen=True, slots=True)
class Like:
    """Does the text match the whole pattern (``negated``: it does not), and is it not NULL?

    ``pattern`` is decoded: literal texts and wildcards in turn, nothing to escape. ``fold`` is how case is ignored:
    not at all (``None``), of the letters A to Z (``"ascii"``), or by Unicode's simple mapping (``"unicode"``).
    """

    operand: Column | JsonPath
    pattern: tuple[str | Wild, ...]
    fold: str | None = None
    negated: bool = False


@dataclass(frozen=True, slots=True)
class IsNull:
    """Is the operand NULL (``negated``: not NULL)?"""

    operand: Operand
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Hop:
    """To the rows of another model for which each pair of columns is equal, and so neither is NULL.

    A pair is a column that is known before the hop, and one of ``info``, whose fields carry the scope of this part of
    the query. ``where`` is what else holds for the row, if anything.
    """

    info: ModelInfo
    pairs: tuple[tuple[Field, Field], ...]
    where: Node | None = None


@dataclass(frozen=True, slots=True)
class Exists:
    """Do the hops, one after the other, lead to a row for which ``where`` is TRUE (``negated``: to none)?

    Two hops lead through a link table. Never unknown: so NOT turns it round and leaves its inside alone. The pairs and
    ``where`` may read columns of the rows outside.
    """

    hops: tuple[Hop, ...]
    where: Node | None = None
    negated: bool = False


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more parts."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of two or more parts."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Always:
    """Every row, or none. ``None``, *unknown*, exists only while an expression is read: ``settle`` makes it none."""

    truth: bool | None


Operand = Column | JsonPath | Value | Arithmetic
Node = Compare | In | Like | IsNull | Exists | And | Or | Always


def negate(node: Node) -> Node:
    """The node that is true where SQL's ``NOT node`` is: NULL stays out on both sides.

    >>> negate(Always(True))
    Always(truth=False)
    """
    return _NEGATIONS[type(node)](node)


_NEGATIONS: dict[type, Callable[[Any], Node]] = {
    Compare: lambda n: Compare(COMPARISONS[n.op], n.left, n.right),
    In: lambda n: In(n.operand, n.values, n.field, not n.negated, n.null),
    Like: lambda n: Like(n.operand, n.pattern, n.fold, not n.negated),
    IsNull: lambda n: IsNull(n.operand, not n.negated),
    Exists: lambda n: Exists(n.hops, n.where, not n.negated),
    And: lambda n: any_of(negate(p) for p in n.parts),
    Or: lambda n: all_of(negate(p) for p in n.parts),
    Always: lambda n: Always(None if n.truth is None else not n.truth),
}


def settle(node: Node) -> Node:
    """The node as engines get it, once no NOT can meet it any more: what is unknown is then as good as false."""
    if isinstance(node, Always):
        return Always(bool(node.truth))
    if isinstance(node, In) and node.null:
        return Always(False) if node.negated or not node.values else In(node.operand, node.values, node.field)
    if isinstance(node, And):
        parts = [settle(part) for part in node.parts]
        # A comparison is false for NULL by itself: IS NOT NULL beside it says nothing more.
        compared = {p.left for p in parts if isinstance(p, Compare)} | {
            p.operand for p in parts if isinstance(p, In)
        }
        return all_of(p for p in parts if not (isinstance(p, IsNull) and p.negated and p.operand in compared))
    if isinstance(node, Or):
        return any_of(settle(part) for part in node.parts)
    return node


def all_of(nodes: Iterable[Node]) -> Node:
    """The conjunction, flat, without parts that say nothing."""
    return _combine(nodes, And, neutral=True)


def any_of(nodes: Iterable[Node]) -> Node:
    """The disjunction, flat, without parts that say nothing."""
    return _combine(nodes, Or, neutral=False)


def _combine(nodes: Iterable[Node], kind: type[And] | type[Or], *, neutral: bool) -> Node:
    parts: list[Node] = []
    for node in nodes:
        if isinstance(node, Always) and node.truth is not None:
            if node.truth is not neutral:
                return node
        elif isinstance(node, kind):
            parts.extend(node.parts)
        else:
            parts.append(node)
    if not parts:
        return Always(neutral)
    return parts[0] if len(parts) == 1 else kind(tuple(parts))


def fields_of(node: Node | Operand) -> Iterator[Field]:
    """Every column that the node reads of the row it is asked of."""
    if isinstance(node, Column):
        yield node.field
    elif isinstance(node, JsonPath):
        yield node.column
    elif isinstance(node, (And, Or)):
        for part in node.parts:
            yield from fields_of(part)
    elif isinstance(node, (Compare, Arithmetic)):
        yield from fields_of(node.left)
        yield from fields_of(node.right)
    elif isinstance(node, (In, Like, IsNull)):
        yield from fields_of(node.operand)
    elif isinstance(node, Exists):
        inner = {hop.info.scope for hop in node.hops}
        parts = (node.where, *(hop.where for hop in node.hops))
        found = [known for hop in node.hops for known, _ in hop.pairs]
        found += [field for part in parts if part is not None for field in fields_of(part)]
        yield from (field for field in found if field.scope not in inner)


def has_exists(node: Node | None) -> bool:
    """Does the node ask about rows of other models?"""
    if isinstance(node, (And, Or)):
        return any(has_exists(part) for part in node.parts)
    return isinstance(node, Exists)
