"""A column's value ↔ what MongoDB stores, one row per kind: ``ENCODERS`` and ``DECODERS``.

    int str bool float bytes JSON   as they are         Enum       the member's name
    Decimal    Decimal128, at the column's scale        datetime   naive, in UTC
    UUID       binary, subtype 4                        date       its midnight
    time       "HH:MM:SS.ffffff", which sorts by value  Vector     an array of doubles
    None       a missing field                          ObjectIdText  an ObjectId

Everything here is pure, and the values that come in have been checked by the core.
"""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import Any

from bson import Binary, DBRef, Decimal128, ObjectId
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from bson.int64 import Int64

from db_plugins.errors import EngineError, InvalidValueError
from db_plugins.models import Field, Kind, ModelInfo
from db_plugins.models.makers import Unless, make_document_reader, make_document_writer
from db_plugins.models.vectors import read_vector

from .object_ids import is_object_id

__all__ = [
    "CODEC_OPTIONS",
    "decoder",
    "document_maker",
    "encode",
    "encode_number",
    "path_of",
    "plain_int",
    "row_maker",
]

Coder = Callable[[Any], Any]
Document = dict[str, Any]

_EXACT = decimal.Context(prec=34, rounding=decimal.ROUND_HALF_EVEN)


#: How this plugin reads: ``codec`` knows which datetimes are aware, so the driver need not. No type registry: with one, the
#: driver takes a fifth more time for every document.
CODEC_OPTIONS: CodecOptions[Document] = CodecOptions(
    tz_aware=False, uuid_representation=UuidRepresentation.STANDARD
)


def plain_int(stored: Any) -> Any:
    """PyMongo reads 64-bit integers as ``Int64``; ours are ``int``."""
    return int(stored) if isinstance(stored, Int64) else stored


def path_of(info: ModelInfo, field: Field) -> str:
    """The field's name in a document: ``_id`` for a key of one column, else the column's own."""
    return "_id" if field.primary_key and len(info.key) == 1 else field.column


# -- one value -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def encoder(field: Field) -> Coder | None:
    """The function from a checked value to what is stored, or ``None`` where they are the same.

    Only that of a TypeDecorator is ever called with None, and may give it."""
    encode_kind = ENCODERS[field.kind](field)
    convert = field.to_stored
    if convert is None:
        return encode_kind

    def encode_converted(value: Any) -> Any:
        stored = convert(value)
        try:
            return stored if stored is None or encode_kind is None else encode_kind(stored)
        except (ArithmeticError, AttributeError, TypeError, ValueError) as exc:
            raise InvalidValueError(
                f"{field.label}: its {type(field.sql_type).__name__} made a value of type "
                f"{type(stored).__name__}, not {field.kind.value}"
            ) from exc

    return encode_converted


@lru_cache(maxsize=4096)
def decoder(field: Field) -> Coder | None:
    """The function from what is stored to the value, or ``None`` where they are the same.

    Only that of a TypeDecorator is ever called with None."""
    decode_kind = DECODERS[field.kind](field)
    convert = field.from_stored
    if convert is None:
        return decode_kind
    if decode_kind is None:
        return convert
    return lambda stored: convert(None if stored is None else decode_kind(stored))


def encode(field: Field | None, value: Any) -> Any:
    """One value as stored; ``None`` for NULL. Without a field it is a number in a calculation."""
    if field is None:
        return encode_number(value)
    encode_one = encoder(field)
    if encode_one is None or (value is None and field.to_stored is None):
        return value
    return encode_one(value)


def encode_number(value: Any) -> Any:
    """A bare number; integers beyond 64 bits as Decimal128. Raises decimal.Inexact beyond 34 digits."""
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        value = Decimal(value)
    return Decimal128(value) if isinstance(value, Decimal) else value


def _encode_decimal(field: Field) -> Coder:
    step = None if field.scale is None else Decimal(1).scaleb(-field.scale)

    def encode_decimal(value: Decimal) -> Decimal128:
        if step is not None:
            # With these zeros it may have more than 34 digits: then the value alone fits.
            with suppress(decimal.InvalidOperation):
                value = value.quantize(step, context=_EXACT)
        return Decimal128(value)

    return encode_decimal


def _decode_decimal(field: Field) -> Coder:
    step = None if field.scale is None else Decimal(1).scaleb(-field.scale)

    def decode_decimal(stored: Any) -> Decimal:
        number: Decimal = stored.to_decimal() if isinstance(stored, Decimal128) else Decimal(stored)
        if step is None:
            return number
        try:
            return number.quantize(step, context=_EXACT)
        except decimal.InvalidOperation:
            return number

    return decode_decimal


def _encode_enum(field: Field) -> Coder | None:
    return None if field.enum_class is None else attrgetter("name")


def _decode_enum(field: Field) -> Coder | None:
    enum_class = field.enum_class
    if enum_class is None:
        return None
    members = dict(enum_class.__members__)

    def decode_enum(stored: Any) -> Any:
        try:
            return members[stored]
        except (KeyError, TypeError):
            raise EngineError(
                f"{field.label} holds a name that is no member of {enum_class.__name__}",
                hint="add the member, or correct the documents",
            ) from None

    return decode_enum


def _encode_moment(_field: Field) -> Coder:
    # The core hands over UTC; the driver takes a naive datetime for UTC.
    return lambda moment: moment.replace(tzinfo=None)


def _decode_aware(_field: Field) -> Coder:
    return lambda stored: stored.replace(tzinfo=dt.UTC)


def _encode_date(_field: Field) -> Coder:
    return lambda day: dt.datetime.combine(day, dt.time())


def _decode_float(_field: Field) -> Coder:
    return Unless(float, lambda stored: float(str(stored)))


def _decode_json(_field: Field) -> Coder:
    return _without_references


def _without_references(value: Any) -> Any:
    """The driver reads ``{"$ref": …, "$id": …}`` as a DBRef: to us it is a document like any other. Integers are plain."""
    if isinstance(value, DBRef):
        value = dict(value.as_doc())
    if isinstance(value, dict):
        return {key: _without_references(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_references(item) for item in value]
    return plain_int(value)


def _decode_vector(field: Field) -> Coder:
    return lambda stored: read_vector(stored, field.length or 0)


def _nothing(_field: Field) -> None:
    return None


ENCODERS: dict[Kind, Callable[[Field], Coder | None]] = {
    Kind.INTEGER: _nothing,
    Kind.FLOAT: lambda _field: Unless(float, float),
    Kind.DECIMAL: _encode_decimal,
    Kind.TEXT: lambda field: ObjectId if is_object_id(field) else None,
    Kind.ENUM: _encode_enum,
    Kind.BOOLEAN: _nothing,
    Kind.DATETIME: _encode_moment,
    Kind.NAIVE_DATETIME: _encode_moment,
    Kind.DATE: _encode_date,
    Kind.TIME: lambda _field: lambda time: time.isoformat(timespec="microseconds"),
    Kind.UUID: lambda _field: Binary.from_uuid,
    Kind.BYTES: _nothing,
    Kind.JSON: _nothing,
    Kind.VECTOR: _nothing,
    Kind.NATIVE: _nothing,
}

DECODERS: dict[Kind, Callable[[Field], Coder | None]] = {
    Kind.INTEGER: lambda _field: Unless(int, plain_int),
    Kind.FLOAT: _decode_float,
    Kind.DECIMAL: _decode_decimal,
    Kind.TEXT: lambda field: str if is_object_id(field) else None,
    Kind.ENUM: _decode_enum,
    Kind.BOOLEAN: _nothing,
    Kind.DATETIME: _decode_aware,
    Kind.NAIVE_DATETIME: _nothing,
    Kind.DATE: lambda _field: lambda stored: stored.date(),
    Kind.TIME: lambda _field: dt.time.fromisoformat,
    Kind.UUID: lambda _field: lambda stored: stored.as_uuid() if isinstance(stored, Binary) else stored,
    Kind.BYTES: lambda _field: bytes,
    Kind.JSON: _decode_json,
    Kind.VECTOR: _decode_vector,
    Kind.NATIVE: _nothing,
}


# -- whole rows ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def document_maker(
    info: ModelInfo, given: tuple[Field, ...]
) -> Callable[[Sequence[tuple[Any, ...]]], list[Document]]:
    """The function from rows in the order of ``given`` to their documents, NULLs left out."""
    return make_document_writer(
        [path_of(info, f) for f in given],
        [encoder(f) for f in given],
        [f.to_stored is not None for f in given],
    )


@lru_cache(maxsize=1024)
def row_maker(
    info: ModelInfo, fields: tuple[Field, ...], names: tuple[str, ...] = ()
) -> Callable[[Sequence[Mapping[str, Any]]], list[tuple[Any, ...]]]:
    """The function from documents to rows in the order of ``fields``; a missing field is None.

    ``names`` are what the documents call the fields, if not as they are stored."""
    return make_document_reader(
        names or [path_of(info, f) for f in fields],
        [decoder(f) for f in fields],
        [f.from_stored is not None for f in fields],
    )
