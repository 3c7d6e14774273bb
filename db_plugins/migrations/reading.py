"""Revision files as they are written: the calls in ``upgrade()`` and ``downgrade()``, read without running them.

    op.create_table("stars", …)                         Call("op", "create_table", ("stars", …))
    with op.batch_alter_table("stars") as batch_op:
        batch_op.drop_column("mag")                     Call("batch_op", "drop_column", ("mag",), within=Call("op", "batch_alter_table", …))

An argument that is no literal is ``UNKNOWN``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

__all__ = ["UNKNOWN", "Call", "calls"]


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()


@dataclass(frozen=True, slots=True)
class Call:
    """``receiver.name(*arguments, **keywords)``; ``within`` is the ``with`` whose ``as`` made the receiver."""

    receiver: str
    name: str
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    within: Call | None = None
    line: int = 0

    def argument(self, position: int, keyword: str) -> Any:
        """By its place or its name; UNKNOWN if it is not given, or no literal."""
        if position < len(self.arguments):
            return self.arguments[position]
        return self.keywords.get(keyword, UNKNOWN)


def calls(path: Path, function: str) -> list[Call]:
    """The calls ``name.method(…)`` of this function of the file, in the order they are written."""
    return list(_calls(path.read_text(encoding="utf-8")).get(function, ()))


@lru_cache(maxsize=512)
def _calls(source: str) -> dict[str, tuple[Call, ...]]:
    return {
        each.name: tuple(_within(each.body, {}))
        for each in ast.parse(source).body
        if isinstance(each, ast.FunctionDef)
    }


def _within(nodes: Iterable[ast.AST], names: Mapping[str, Call]) -> Iterator[Call]:
    """The calls in these nodes, an outer one before those in its arguments."""
    for node in nodes:
        if isinstance(node, ast.With):
            yield from _in_with(node, names)
            continue
        call = _call(node, names)
        if call is not None:
            yield call
        yield from _within(ast.iter_child_nodes(node), names)


def _in_with(statement: ast.With, names: Mapping[str, Call]) -> Iterator[Call]:
    inner = dict(names)
    for item in statement.items:
        yield from _within([item.context_expr], inner)
        call = _call(item.context_expr, inner)
        if call is not None and isinstance(item.optional_vars, ast.Name):
            inner[item.optional_vars.id] = call
    yield from _within(statement.body, inner)


def _call(node: ast.AST, names: Mapping[str, Call]) -> Call | None:
    if not (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
    ):
        return None
    receiver = node.func.value.id
    return Call(
        receiver,
        node.func.attr,
        tuple(_literal(each) for each in node.args),
        {each.arg: _literal(each.value) for each in node.keywords if each.arg is not None},
        names.get(receiver),
        node.lineno,
    )


def _literal(node: ast.AST) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return UNKNOWN
