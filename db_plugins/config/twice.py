"""A table that two classes define: both places, where SQLAlchemy's error has neither and recommends ``extend_existing``.

With that option the two would share a table that has the columns of both.
"""

from __future__ import annotations

import ast
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .failure import describe

__all__ = ["told_twice"]

_DEFINED = re.compile(r"Table '(?P<key>[^']+)' is already defined for this MetaData")


def told_twice(error: BaseException) -> str | None:
    """``models.py:14: the table 'user' is defined again; the first is that of User, models.py:5``.

    ``None`` for any other error.
    """
    match = _DEFINED.match(str(error))
    if match is None:
        return None
    from sqlalchemy.exc import InvalidRequestError  # settings are read without it

    if not isinstance(error, InvalidRequestError):
        return None
    place, _, _ = describe(error).partition(f": {type(error).__name__}")
    told = f"{place}: the table {match['key']!r} is defined again"
    first = next(_classes_with(match["key"], error), None)
    return told if first is None else f"{told}; the first is that of {first.__name__}, {_place(first, error)}"


def _classes_with(table: str, error: BaseException) -> Iterator[type[Any]]:
    """The mapped classes with this table, among those that are in sight where it failed and what derives from them.

    The base class is in sight of both definitions, and knows what derives from it.
    """
    seen: set[type] = {object}
    waiting = [each for names in _namespaces(error) for each in names.values() if isinstance(each, type)]
    while waiting:
        each = waiting.pop()
        if each in seen:
            continue
        seen.add(each)
        if getattr(vars(each).get("__table__"), "key", None) == table:
            yield each
        waiting += type.__subclasses__(each)


def _namespaces(error: BaseException) -> Iterator[dict[str, Any]]:
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "<module>":
            yield frame.f_globals


def _place(defined: type, error: BaseException) -> str:
    """File and line of a class; of several with its name the first, for that one was made."""
    file = getattr(sys.modules.get(defined.__module__), "__file__", None) or next(
        (str(n["__file__"]) for n in _namespaces(error) if n.get("__name__") == defined.__module__), None
    )
    if file is None:
        return f"in {defined.__module__}"
    try:
        body = ast.walk(ast.parse(Path(file).read_text(encoding="utf-8")))
        lines = [n.lineno for n in body if isinstance(n, ast.ClassDef) and n.name == defined.__name__]
    except (OSError, ValueError, SyntaxError):
        lines = []
    return f"{file}:{min(lines)}" if lines else file
