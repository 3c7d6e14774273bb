"""A column's value ↔ what JSON has a word for, exact both ways, one row per kind.

to_text, from_text    what cursors hold, which come from strangers: whatever is not of the column's kind is refused with
                      an InvalidValueError; bounds are for ``make_checker``
to_json, from_json    what an engine may store: all kinds, NULL, and what a TypeDecorator makes of a value
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

__all__ = ["from_json", "from_text", "plain_decimal", "to_json", "to_text", "told_by"]

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


def told_by(kind: Kind) -> Callable[[Any], Any] | None:
    """``to_text`` of this kind's values, or None for a kind that has none."""
    return _TEXTS[kind][0] if kind in _TEXTS else None


def from_text(field: Field, text: Any) -> Any:
    """The value again. Raises InvalidValueError, which names the column and no value."""
    return _read(field, text, "the cursor holds for")


def to_json(field: Field, value: Any) -> Any:
    """A checked value of this column as ``json.dumps`` takes it, for engines that store JSON or text; NULL is None.

    Equal values of a column give equal JSON, so keys may be compared by it. A float stays one: an engine that claims
    INFINITY needs a word for it.
    """
    if field.to_stored is not None:
        value = field.to_stored(value)
    if value is None or field.kind in _AS_THEY_ARE:
        return value
    return plain_decimal(value) if field.kind is Kind.DECIMAL else to_text(field, value)


def from_json(field: Field, stored: Any) -> Any:
    """The value that ``to_json`` was given. Raises InvalidValueError, which names the column and no value."""
    if stored is not None and type(stored) is not _ITSELF.get(field.kind):
        stored = _spelled(field, stored)
    return stored if field.from_stored is None else field.from_stored(stored)


def _spelled(field: Field, stored: Any) -> Any:
    if field.kind in _AS_THEY_ARE:
        return stored
    value = _read(field, stored, "there is stored for")
    return value if field.enum_class is None else field.enum_class[value]


#: Kinds whose values are JSON's own. Infinity is left to the engine, and what NATIVE is nobody knows.
_AS_THEY_ARE = frozenset({Kind.FLOAT, Kind.JSON, Kind.VECTOR, Kind.NATIVE})
#: Of the commonest kinds the type that is the value already.
_ITSELF = {Kind.INTEGER: int, Kind.BOOLEAN: bool, Kind.TEXT: str, Kind.FLOAT: float}


def plain_decimal(value: Decimal) -> str:
    """``1.1`` for 1.10 and ``100`` for 1E+2: ``normalize`` would round to 28 digits."""
    text = f"{value:f}" if value else "0"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _read(field: Field, text: Any, where: str) -> Any:
    _, kind, read = _TEXTS[field.kind]
    if type(text) is kind:
        try:
            return read(text)
        except (ValueError, ArithmeticError):
            pass
    raise InvalidValueError(f"{where} {field.label} what is no {field.kind.value}")
