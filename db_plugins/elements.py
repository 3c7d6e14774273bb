"""Small questions about SQLAlchemy's expressions: what an object stands for, and how a message may show it."""

from __future__ import annotations

from typing import Any

from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import (
    BinaryExpression,
    BindParameter,
    ClauseElement,
    False_,
    Grouping,
    Null,
    True_,
)

from .errors import UnsupportedFilterError

__all__ = ["JSON_STEPS", "element_of", "is_constant", "json_steps", "listed", "shown"]

#: The operators of ``M.meta["key"]``.
JSON_STEPS = frozenset({operators.json_getitem_op, operators.json_path_getitem_op})


def element_of(expression: Any, engine: str) -> Any:
    """The expression behind a mapped attribute, a hybrid or an expression. Raises UnsupportedFilterError for the rest."""
    if isinstance(
        expression, ClauseElement
    ):  # first: to ask an expression for an attribute it has not takes time
        return expression
    if hasattr(expression, "__clause_element__"):
        return element_of(expression.__clause_element__(), engine)
    hint = "write a comparison of a column: Star.mag > 5"
    if isinstance(expression, bool):
        hint = "this is a Python bool already: write Star.name == None for IS NULL, and_ or & for and"
    raise UnsupportedFilterError(
        f"{engine}: a filter cannot be a value of type {type(expression).__name__}", hint=hint
    )


def is_constant(expression: Any) -> bool:
    """Is it a value, NULL, TRUE or FALSE?"""
    return isinstance(expression, (BindParameter, Null, True_, False_))


def listed(values: Any) -> list[Any]:
    """What was given to ``in_``, as a list."""
    return list(values) if isinstance(values, (list, tuple, set, frozenset)) else [values]


def json_steps(expression: Any) -> tuple[Any, tuple[Any, ...]]:
    """What a path leads into, and its steps from the outside in: ``M.meta["a"][0]`` gives ``("a", 0)``."""
    steps: list[Any] = []
    inner = expression
    while True:
        if isinstance(inner, Grouping):
            inner = inner.element
        elif (
            isinstance(inner, BinaryExpression) and inner.operator in JSON_STEPS and is_constant(inner.right)
        ):
            step = inner.right.effective_value
            steps[:0] = step if isinstance(step, (tuple, list)) else [step]
            inner = inner.left
        else:
            return inner, tuple(steps)


def shown(part: Any) -> str:
    """The expression as SQL with its values left out: what a message may show."""
    try:
        text = str(part)
    except Exception:  # an expression that has no text of its own (a custom construct)
        text = f"a {type(part).__name__}"
    return " ".join(text.split())[:200]
