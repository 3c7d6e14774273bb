"""Paths into JSON columns: which steps there are, and what a value inside counts as."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from .errors import InvalidValueError, UnsupportedFilterError
from .models import Field, Kind
from .nodes import JsonPath

__all__ = ["json_path", "sql_path"]

#: The type of a value inside, for engines that speak SQLAlchemy.
_TYPES: dict[Kind, Any] = {
    Kind.TEXT: sa.String(),
    Kind.INTEGER: sa.BigInteger(),
    Kind.FLOAT: sa.Float(),
    Kind.BOOLEAN: sa.Boolean(),
}
#: No SQL path can quote a key with one of these.
_UNQUOTABLE = frozenset('"\\')


def json_path(column: Field, steps: tuple[Any, ...], kind: Kind) -> JsonPath:
    """The operand, its steps checked: keys are text, indexes whole numbers of 0 or more."""
    shown = column.label + "".join(f"[{step!r}]" for step in steps if isinstance(step, (str, int)))
    for step in steps:
        if isinstance(step, bool) or not isinstance(step, (str, int)):
            raise InvalidValueError(
                f"a step into {column.label} is a str or an int, not a {type(step).__name__}"
            )
        if isinstance(step, int) and not 0 <= step < 2**31:
            raise InvalidValueError(f"{shown[:80]}: an index into JSON is 0 or more")
        if isinstance(step, str) and (not step.isprintable() or _UNQUOTABLE & set(step)):
            raise UnsupportedFilterError(
                f"{shown[:80]}: a key with quotes, backslashes or control characters has no path on every engine",
                hint="filter by another key, or compare in Python",
            )
    return _made(column, steps, kind)


@lru_cache(maxsize=4096)
def _made(column: Field, steps: tuple[str | int, ...], kind: Kind) -> JsonPath:
    """The same path is the same object, so that a statement kept for it is found again."""
    shown = column.label + "".join(f"[{step!r}]" for step in steps)
    field = dataclasses.replace(
        column,
        name=shown.partition(".")[2],
        kind=kind,
        sql_type=_TYPES[kind],
        nullable=True,
        bits=64,
        length=None,
        to_stored=None,
        from_stored=None,
        default=None,
        onupdate=None,
    )
    return JsonPath(column, steps, field)


def sql_path(steps: tuple[str | int, ...]) -> str:
    """The path in the notation of SQLite and MariaDB.

    >>> sql_path(("a.b", 0))
    '$."a.b"[0]'
    """
    return "$" + "".join(f'."{step}"' if isinstance(step, str) else f"[{step}]" for step in steps)
