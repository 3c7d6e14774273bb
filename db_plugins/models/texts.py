"""A column's value ↔ a text of JSON's kinds, exact both ways, one row per kind: what cursors hold.

``from_text`` refuses whatever is not of the column's kind with an InvalidValueError; bounds are for ``make_checker``.
"""

from __future__ import annotations

import base64
import datetime as dt
import enum
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ..errors import InvalidValueError
from .fields import Field, Kind

__all__ = ["from_text", "to_text"]

#: Kind → (value to JSON, JSON's type, JSON to value).
_TEXTS: dict[Kind, tuple[Callable[[Any], Any], type, Callable[[Any], Any]]] = {
    Kind.INTEGER: (int, int, int),
    Kind.BOOLEAN: (bool, bool, bool),
    Kind.FLOAT: (repr, str, float),
    Kind.DECIMAL: (str, str, Decimal),
    Kind.TEXT: (str, str, str),
    Kind.ENUM: (lambda v: v.name if isinstance(v, enum.Enum) else v, str, str),
    Kind.DATETIME: (dt.datetime.isoformat, str, dt.datetime.fromisoformat),
    Kind.NAIVE_DATETIME: (dt.datetime.isoformat, str, dt.datetime.fromisoformat),
    Kind.DATE: (dt.date.isoformat, str, dt.date.fromisoformat),
    Kind.TIME: (dt.time.isoformat, str, dt.time.fromisoformat),
    Kind.UUID: (str, str, uuid.UUID),
    Kind.BYTES: (lambda v: base64.b64encode(v).decode(), str, lambda t: base64.b64decode(t, validate=True)),
}


def to_text(field: Field, value: Any) -> Any:
    """The value, not None, as JSON holds it."""
    return _TEXTS[field.kind][0](value)


def from_text(field: Field, text: Any) -> Any:
    """The value again. Raises InvalidValueError, which names the column and no value."""
    _, kind, read = _TEXTS[field.kind]
    if type(text) is kind:
        try:
            return read(text)
        except (ValueError, ArithmeticError):
            pass
    raise InvalidValueError(f"the cursor holds for {field.label} what is no {field.kind.value}")
