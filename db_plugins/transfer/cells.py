"""A column's value ↔ what stands for it in a file: text in CSV, JSON's kinds in JSON Lines, Arrow's in Parquet.

    reader_of   what a file holds → what the attribute takes; what cannot be read is an InvalidValueError
    text_of     a value → text of CSV           json_of   a value → what ``json`` writes

What is exact stays exact: decimals, moments, UUIDs and bytes (base64) are text in both.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ..errors import InvalidValueError
from ..models import Field, Kind
from ..models.makers import Unless
from ..models.texts import from_text, told_by

__all__ = ["json_of", "reader_of", "text_of"]

Convert = Callable[[Any], Any]

TRUTHS = {
    "true": True,
    "t": True,
    "1": True,
    "yes": True,
    "false": False,
    "f": False,
    "0": False,
    "no": False,
}
#: Kinds that JSON has itself.
JSON_KINDS = frozenset({Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN, Kind.JSON, Kind.VECTOR})


def reader_of(field: Field, *, has_json: bool) -> Convert | None:
    """A function from what a file holds to what the attribute takes, or leaves to the column's own check.

    None if that is the same. ``has_json``: the file's values are JSON's own, so that text in a JSON column is a text."""
    if has_json and field.kind is Kind.JSON and field.from_stored is None:
        return None
    if field.from_stored is not None:
        decode = field.from_stored
        plain = _reader(field) or _same
        return lambda value: None if value is None else decode(plain(value))
    if field.kind is Kind.TEXT and not field.nullable:
        return lambda value: "" if value is None else value  # CSV's empty cell
    return _reader(field)


def _same(value: Any) -> Any:
    return value


def _reader(field: Field) -> Convert | None:
    """For text, and for what is no text: numbers of JSON, values of Arrow. None stays."""
    read = _READ.get(field.kind)
    if read is None:
        return None

    def from_file(value: Any) -> Any:
        if not isinstance(value, str):
            return value if value is None else _as_taken(field, value)
        try:
            return read(field, value)
        except (ValueError, ArithmeticError, RecursionError):
            raise InvalidValueError(
                f"{field.label} takes {field.kind.value}, and this text is none"
            ) from None

    return from_file


def _as_taken(field: Field, value: Any) -> Any:
    """What is no text: numbers of JSON, values of Arrow."""
    if field.kind is Kind.DECIMAL and isinstance(value, float):
        return from_text(field, repr(value))  # JSON wrote the number in decimals
    if field.kind is Kind.INTEGER and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _integer(_field: Field, text: str) -> int:
    if "_" in text:
        raise ValueError(text)
    return int(text)


def _float(_field: Field, text: str) -> float:
    if "_" in text:
        raise ValueError(text)
    return float(text)


def _truth(_field: Field, text: str) -> bool:
    try:
        return TRUTHS[text.strip().lower()]
    except KeyError:
        raise ValueError(text) from None


def _of_json(_field: Field, text: str) -> Any:
    return json.loads(text)


def _stripped(field: Field, text: str) -> Any:
    return from_text(field, text.strip())


_READ: dict[Kind, Callable[[Field, str], Any]] = {
    Kind.INTEGER: _integer,
    Kind.FLOAT: _float,
    Kind.BOOLEAN: _truth,
    Kind.JSON: _of_json,
    Kind.VECTOR: _of_json,
    **dict.fromkeys(
        (
            Kind.DECIMAL,
            Kind.DATETIME,
            Kind.NAIVE_DATETIME,
            Kind.DATE,
            Kind.TIME,
            Kind.UUID,
            Kind.BYTES,
        ),
        _stripped,
    ),
}


def json_of(field: Field) -> Convert | None:
    """A function from a value, not None, to what ``json`` writes; None if that is the same."""
    return _stored(field, None if field.kind in JSON_KINDS else _told_by(field))


def text_of(field: Field) -> Convert | None:
    """A function from a value, not None, to what CSV holds: text, or a whole number; None if that is the same."""
    return _stored(field, _TOLD[field.kind] if field.kind in _TOLD else _told_by(field))


def _stored(field: Field, tell: Convert | None) -> Convert | None:
    store = field.to_stored
    if store is None or tell is None:
        return store or tell

    def written(value: Any) -> Any:
        stored = store(value)
        return None if stored is None else tell(stored)

    return written


def _told_by(field: Field) -> Convert:
    tell = told_by(field.kind)
    if tell is None:
        return lambda _value: _refuse(field)
    return Unless(str, tell) if tell is str and field.kind is Kind.TEXT else tell


def _refuse(field: Field) -> None:
    raise InvalidValueError(
        f"{field.label} has a type of its own, which no file can hold", hint="name the other columns"
    )


_json = json.JSONEncoder(ensure_ascii=False).encode
#: What CSV holds of the kinds that are not as in a cursor.
_TOLD: dict[Kind, Convert | None] = {
    Kind.INTEGER: None,
    Kind.BOOLEAN: lambda value: "true" if value else "false",
    Kind.JSON: _json,
    Kind.VECTOR: _json,
}
