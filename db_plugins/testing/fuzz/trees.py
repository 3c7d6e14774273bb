"""A filter as plain data. Each node gives its SQLAlchemy expression (``build``) and the Python source of it (``source``).

operands    Col · Path · Calc · Neg · Lit
conditions  Compare · Among · Between · Null · Truth · Matches · Bare · AllOf · AnyOf · Not · Constant
"""

from __future__ import annotations

import datetime as dt
import enum
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from db_plugins import and_, not_, or_

__all__ = [
    "AllOf",
    "Among",
    "AnyOf",
    "Bare",
    "Between",
    "Calc",
    "Col",
    "Compare",
    "Constant",
    "Lit",
    "Matches",
    "Neg",
    "Node",
    "Not",
    "Null",
    "Path",
    "Truth",
    "Value",
    "columns_of",
    "conditions_of",
    "literal",
]

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
}


class Node:
    """Part of a filter."""

    def build(self, model: Any) -> Any:
        """What SQLAlchemy makes of it, for this model."""
        raise NotImplementedError

    def source(self, model: str) -> str:
        """The same in Python, for the model of this name."""
        raise NotImplementedError


# -- operands ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Col(Node):
    name: str

    def build(self, model: Any) -> Any:
        return getattr(model, self.name)

    def source(self, model: str) -> str:
        return f"{model}.{self.name}"


@dataclass(frozen=True)
class Path(Node):
    """A value inside a JSON column; ``at_once`` gives the steps as one tuple."""

    name: str
    steps: tuple[str | int, ...]
    kind: str
    at_once: bool = False

    def build(self, model: Any) -> Any:
        found = getattr(model, self.name)
        for step in [self.steps] if self.at_once else self.steps:
            found = found[step]
        return getattr(found, f"as_{self.kind}")()

    def source(self, model: str) -> str:
        steps = [self.steps] if self.at_once else self.steps
        return f"{model}.{self.name}" + "".join(f"[{literal(s)}]" for s in steps) + f".as_{self.kind}()"


@dataclass(frozen=True)
class Value(Node):
    """A value as it is: SQLAlchemy binds it."""

    value: Any

    def build(self, model: Any) -> Any:
        return self.value

    def source(self, model: str) -> str:
        return literal(self.value)


@dataclass(frozen=True)
class Lit(Node):
    """A value on the left side."""

    value: Any

    def build(self, model: Any) -> Any:
        return sa.literal(self.value)

    def source(self, model: str) -> str:
        return f"sa.literal({literal(self.value)})"


@dataclass(frozen=True)
class Calc(Node):
    op: str
    left: Node
    right: Node

    def build(self, model: Any) -> Any:
        return OPERATORS[self.op](self.left.build(model), self.right.build(model))

    def source(self, model: str) -> str:
        return f"({self.left.source(model)} {self.op} {self.right.source(model)})"


@dataclass(frozen=True)
class Neg(Node):
    operand: Node

    def build(self, model: Any) -> Any:
        return -self.operand.build(model)

    def source(self, model: str) -> str:
        return f"(-{self.operand.source(model)})"


# -- conditions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compare(Calc):
    op: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Among(Node):
    operand: Node
    values: tuple[Any, ...]
    negated: bool = False

    def build(self, model: Any) -> Any:
        operand = self.operand.build(model)
        return operand.not_in(list(self.values)) if self.negated else operand.in_(list(self.values))

    def source(self, model: str) -> str:
        verb = "not_in" if self.negated else "in_"
        return f"{self.operand.source(model)}.{verb}({literal(list(self.values))})"


@dataclass(frozen=True)
class Between(Node):
    operand: Node
    low: Any
    high: Any

    def build(self, model: Any) -> Any:
        return self.operand.build(model).between(self.low, self.high)

    def source(self, model: str) -> str:
        return f"{self.operand.source(model)}.between({literal(self.low)}, {literal(self.high)})"


@dataclass(frozen=True)
class Null(Node):
    operand: Node
    negated: bool = False

    def build(self, model: Any) -> Any:
        operand = self.operand.build(model)
        return operand.is_not(None) if self.negated else operand.is_(None)

    def source(self, model: str) -> str:
        return f"{self.operand.source(model)}.{'is_not' if self.negated else 'is_'}(None)"


@dataclass(frozen=True)
class Truth(Node):
    """``is_(True)`` and its kin."""

    operand: Node
    truth: bool
    negated: bool = False

    def build(self, model: Any) -> Any:
        operand = self.operand.build(model)
        return operand.is_not(self.truth) if self.negated else operand.is_(self.truth)

    def source(self, model: str) -> str:
        return f"{self.operand.source(model)}.{'is_not' if self.negated else 'is_'}({self.truth})"


@dataclass(frozen=True)
class Matches(Node):
    """``like`` and its kin. ``options`` are ``escape`` and ``autoescape``."""

    operand: Node
    verb: str
    pattern: str
    options: tuple[tuple[str, Any], ...] = ()

    def build(self, model: Any) -> Any:
        return getattr(self.operand.build(model), self.verb)(self.pattern, **dict(self.options))

    def source(self, model: str) -> str:
        arguments = [literal(self.pattern), *(f"{name}={literal(value)}" for name, value in self.options)]
        return f"{self.operand.source(model)}.{self.verb}({', '.join(arguments)})"


@dataclass(frozen=True)
class Bare(Node):
    """A boolean by itself."""

    operand: Node

    def build(self, model: Any) -> Any:
        return self.operand.build(model)

    def source(self, model: str) -> str:
        return self.operand.source(model)


@dataclass(frozen=True)
class AllOf(Node):
    parts: tuple[Node, ...]

    def build(self, model: Any) -> Any:
        return and_(*(part.build(model) for part in self.parts))

    def source(self, model: str) -> str:
        return f"and_({', '.join(part.source(model) for part in self.parts)})"


@dataclass(frozen=True)
class AnyOf(Node):
    parts: tuple[Node, ...]

    def build(self, model: Any) -> Any:
        return or_(*(part.build(model) for part in self.parts))

    def source(self, model: str) -> str:
        return f"or_({', '.join(part.source(model) for part in self.parts)})"


@dataclass(frozen=True)
class Not(Node):
    part: Node

    def build(self, model: Any) -> Any:
        return not_(self.part.build(model))

    def source(self, model: str) -> str:
        return f"not_({self.part.source(model)})"


@dataclass(frozen=True)
class Constant(Node):
    truth: bool

    def build(self, model: Any) -> Any:
        return sa.true() if self.truth else sa.false()

    def source(self, model: str) -> str:
        return "sa.true()" if self.truth else "sa.false()"


def columns_of(node: Any) -> Iterator[str]:
    """The columns that a node reads."""
    if isinstance(node, (Col, Path)):
        yield node.name
    elif isinstance(node, tuple):
        for part in node:
            yield from columns_of(part)
    elif isinstance(node, Node):
        for field in fields(node):  # type: ignore[arg-type]
            yield from columns_of(getattr(node, field.name))


def conditions_of(node: Node | None) -> tuple[Node, ...]:
    """The conditions that ``and_``, ``or_`` or ``not_`` joins."""
    if isinstance(node, (AllOf, AnyOf)):
        return node.parts
    return (node.part,) if isinstance(node, Not) else ()


def literal(value: Any) -> str:
    """The value in Python: ``repr`` where that is source, and plain ASCII."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return f'float("{value}")'
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return repr(value).replace("datetime.", "dt.")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, tuple):
        return "(" + "".join(f"{literal(v)}, " for v in value).rstrip() + ")"
    return ascii(value)
