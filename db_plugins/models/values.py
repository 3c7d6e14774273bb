"""Does this value fit its column? One checker per kind of column, the same on every engine, before anything is sent.

A checker takes a value and returns it as the engines get it: an Enum name as its member, an aware datetime in UTC, a
NaN as ``None``. Anything else is an ``InvalidValueError`` that names model, attribute and the value's type, never the
value itself. ``CHECKERS`` is the table; the column of API.md §1 with the same heading is its specification.
"""

from __future__ import annotations

import datetime as dt
import enum
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ..errors import EngineError, InvalidValueError, NotNullError, nearest
from .fields import Field, Kind
from .vectors import NotAVectorError, make_vector

__all__ = ["Limits", "fit", "is_clean", "make_checker", "plain"]

Checker = Callable[[Any], Any]

INT64 = 64
MAX_JSON_DEPTH = 90  # below the 100 levels of BSON, with room for the document around it


@dataclass(frozen=True, slots=True)
class Limits:
    """What an engine holds less of than the contract: see ``Engine.limits``."""

    microseconds: bool = True
    infinity: bool = True
    decimal_digits: int | None = None
    #: How text is compared where case is ignored: ``"ascii"``, or ``"unicode"`` where UNICODE_CASE is claimed.
    case_folding: str = "ascii"


def make_checker(field: Field, limits: Limits, *, in_filter: bool = False) -> Checker:
    """A function that checks one value of this column. ``None`` passes: whether it may is asked elsewhere.

    In filters any 64-bit integer may be compared with a smaller column; all else is as in writes.
    """
    if field.to_stored is not None:
        return lambda value: value  # a TypeDecorator of the user's own: its processing is its check
    check = CHECKERS[field.kind](field, limits, in_filter)

    def checked(value: Any) -> Any:
        if value is None:
            return None
        return check(value if type(value) in _PLAIN else plain(value))

    return checked


#: Types that ``plain`` leaves as they are: it need not look.
_PLAIN = frozenset({int, float, str, bool, bytes, Decimal, dt.datetime, dt.date, uuid.UUID})


def plain(value: Any) -> Any:
    """A numpy scalar as its Python value, pandas' NaT and NA as ``None``, everything else as it is."""
    kind = type(value)
    module = kind.__module__
    if module == "numpy" and hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        # datetime64 with nanoseconds becomes an int by item(): leave it, and let the checker refuse it.
        return value if kind.__name__ in ("datetime64", "timedelta64") else value.item()
    if module.startswith("pandas.") and kind.__name__ in ("NaTType", "NAType"):
        return None
    return value


def _refuse(field: Field, value: Any, why: str, hint: str | None = None) -> InvalidValueError:
    return InvalidValueError(f"{field.label} takes {_takes(field)}, not {_described(value)}{why}", hint=hint)


def _described(value: Any) -> str:
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return f"a value of type {name}"


def _takes(field: Field) -> str:
    if field.kind is Kind.INTEGER:
        return f"int of {field.bits} bits"
    if field.kind is Kind.TEXT and field.length:
        return f"str of at most {field.length} characters"
    if field.kind is Kind.DECIMAL and field.precision:
        return f"Decimal of {field.precision} digits, {field.scale or 0} of them decimals"
    if field.kind is Kind.ENUM and field.enum_class is not None:
        return f"a member of {field.enum_class.__name__}, or its name"
    if field.kind is Kind.VECTOR:
        return f"a list of {field.length} numbers"
    return str(field.kind.value)


def _integer(field: Field, _limits: Limits, in_filter: bool) -> Checker:
    top = 1 << ((INT64 if in_filter else field.bits) - 1)

    def check(value: Any) -> Any:
        if type(value) is not int and (isinstance(value, bool) or not isinstance(value, int)):
            raise _refuse(field, value, "")
        if not -top <= value < top:
            raise _refuse(
                field,
                value,
                " out of that range",
                "use BigInteger for 64 bits" if field.bits < INT64 else None,
            )
        return int(value)

    return check


def _float(field: Field, limits: Limits, _in_filter: bool) -> Checker:
    def check(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _refuse(field, value, "")
        try:
            number = float(value)
        except OverflowError:
            raise _refuse(field, value, " too large for a float") from None
        if math.isnan(number):
            return None
        if math.isinf(number) and not limits.infinity:
            raise _refuse(
                field, value, " that is infinite", "this engine stores finite numbers only (INFINITY)"
            )
        return number

    return check


def _decimal(field: Field, limits: Limits, _in_filter: bool) -> Checker:
    digits_max = min(d for d in (field.precision, limits.decimal_digits, 1000) if d)

    def check(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
            raise _refuse(field, value, "", "use Decimal('…')" if isinstance(value, float) else None)
        number = Decimal(value)
        if not number.is_finite():
            raise _refuse(field, value, " that is not finite")
        _sign, digits, exponent = number.as_tuple()
        assert isinstance(exponent, int)
        while len(digits) > 1 and digits[-1] == 0:
            digits, exponent = digits[:-1], exponent + 1
        if digits == (0,):
            return Decimal(0)
        decimals = max(0, -exponent)
        whole = max(0, len(digits) + exponent)
        if field.scale is not None and decimals > field.scale:
            raise _refuse(field, value, f" with {decimals} decimals", "round it first: Decimal.quantize")
        room = field.precision - (field.scale or 0) if field.precision else None
        if (room is not None and whole > room) or whole + decimals > digits_max:
            hint = None
            if limits.decimal_digits == digits_max:
                hint = f"this engine is exact for {limits.decimal_digits} digits"
            raise _refuse(field, value, f" with {max(whole, 1) + decimals} digits", hint)
        return number

    return check


def _text(field: Field, _limits: Limits, _in_filter: bool) -> Checker:
    def check(value: Any) -> Any:
        if type(value) is not str and (not isinstance(value, str) or isinstance(value, enum.Enum)):
            raise _refuse(field, value, "")
        if "\x00" in value:
            raise _refuse(field, value, " with a NUL character")
        if field.length is not None and len(value) > field.length:
            raise _refuse(field, value, f" with {len(value)} characters")
        if _has_surrogate(value):
            raise _refuse(field, value, " with a lone surrogate", "decode the bytes with errors='strict'")
        return str(value)

    return check


def is_clean(text: str) -> bool:
    """Has it no character that some engine cannot hold?"""
    return "\x00" not in text and not _has_surrogate(text)


def _has_surrogate(value: str) -> bool:
    if value.isascii():
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False


def _enum(field: Field, _limits: Limits, _in_filter: bool) -> Checker:
    cls = field.enum_class
    members: dict[str, Any] = (
        {name: name for name in field.enum_names} if cls is None else dict(cls.__members__)
    )

    def check(value: Any) -> Any:
        if cls is not None and isinstance(value, cls):
            return value
        if isinstance(value, str) and not isinstance(value, enum.Enum):
            if value in members:
                return members[value]
            raise InvalidValueError(f"{field.label} has no such member", hint=nearest(value, members))
        raise _refuse(field, value, "")

    return check


def _datetime(field: Field, limits: Limits, _in_filter: bool) -> Checker:
    aware = field.kind is Kind.DATETIME

    def check(value: Any) -> Any:
        if not isinstance(value, dt.datetime):
            raise _refuse(field, value, "")
        if getattr(value, "nanosecond", 0):
            raise _refuse(field, value, " with nanoseconds", "round it to microseconds")
        value = _as_datetime(value)
        offset = value.utcoffset()
        if aware and offset is None:
            raise _refuse(field, value, " without a time zone", "give it one: datetime.now(timezone.utc)")
        if not aware and value.tzinfo is not None:
            raise _refuse(field, value, " with a time zone", "make the column DateTime(timezone=True)")
        if aware:
            try:
                value = value.astimezone(dt.UTC)
            except OverflowError:
                raise _refuse(field, value, " outside the years 1 to 9999 in UTC") from None
        return value if limits.microseconds else value.replace(microsecond=value.microsecond // 1000 * 1000)

    return check


def _as_datetime(value: dt.datetime) -> dt.datetime:
    """A plain datetime also for a subclass (pandas' Timestamp), keeping zone and fold."""
    if type(value) is dt.datetime:
        return value
    return dt.datetime.combine(value.date(), value.timetz())


def _date(field: Field, _limits: Limits, _in_filter: bool) -> Checker:
    def check(value: Any) -> Any:
        if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
            raise _refuse(field, value, "", "use datetime.date(…)")
        return value

    return check


def _time(field: Field, limits: Limits, _in_filter: bool) -> Checker:
    def check(value: Any) -> Any:
        if not isinstance(value, dt.time):
            raise _refuse(field, value, "")
        if value.tzinfo is not None:
            raise _refuse(field, value, " with a time zone")
        return value if limits.microseconds else value.replace(microsecond=value.microsecond // 1000 * 1000)

    return check


def _instance_of(*types: type) -> Callable[[Field, Limits, bool], Checker]:
    def make(field: Field, _limits: Limits, _in_filter: bool) -> Checker:
        def check(value: Any) -> Any:
            if not isinstance(value, types):
                raise _refuse(field, value, "")
            return value

        return check

    return make


def _bytes(field: Field, _limits: Limits, _in_filter: bool) -> Checker:
    def check(value: Any) -> Any:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise _refuse(field, value, "")
        return bytes(value)

    return check


def _json(field: Field, limits: Limits, _in_filter: bool) -> Checker:
    def check(value: Any) -> Any:
        return _json_value(field, value, limits, 0)

    return check


def _json_value(field: Field, value: Any, limits: Limits, depth: int) -> Any:
    """A copy, so that what is stored cannot change behind the caller's back; tuples become lists as in JSON."""
    if depth > MAX_JSON_DEPTH:
        raise _refuse(field, value, f" nested deeper than {MAX_JSON_DEPTH} levels")
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        if not is_clean(value):
            raise _refuse(field, value, " with a NUL character or a lone surrogate")
        return value
    if kind is int:
        if not -(1 << 63) <= value < 1 << 63:
            raise _refuse(field, value, " out of 64 bits")
        return value
    if kind is float:
        if not math.isfinite(value):
            raise _refuse(field, value, " that is not finite")
        return value
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str:
                raise _refuse(field, key, " as a key")
            _json_value(field, key, limits, depth)
        return {key: _json_value(field, item, limits, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(field, item, limits, depth + 1) for item in value]
    unwrapped = plain(value)
    if unwrapped is not value:
        return _json_value(field, unwrapped, limits, depth)
    raise _refuse(field, value, "")


def _vector(field: Field, _limits: Limits, _in_filter: bool) -> Checker:
    def check(value: Any) -> Any:
        try:
            return make_vector(value, field.length or 0)
        except NotAVectorError as exc:
            raise _refuse(field, value, str(exc)) from None

    return check


CHECKERS: dict[Kind, Callable[[Field, Limits, bool], Checker]] = {
    Kind.INTEGER: _integer,
    Kind.FLOAT: _float,
    Kind.DECIMAL: _decimal,
    Kind.TEXT: _text,
    Kind.ENUM: _enum,
    Kind.BOOLEAN: _instance_of(bool),
    Kind.DATETIME: _datetime,
    Kind.NAIVE_DATETIME: _datetime,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.UUID: _instance_of(uuid.UUID),
    Kind.BYTES: _bytes,
    Kind.JSON: _json,
    Kind.VECTOR: _vector,
    Kind.NATIVE: _instance_of(object),
}


def fit(field: Field, value: Any) -> Any:
    """A calculated value as its column holds it, for engines without a server that would see to it.

    Raises NotNullError for a NULL that may not be, EngineError for a number that the column cannot hold, as a server would.
    """
    if value is None:
        if not field.nullable:
            raise NotNullError(
                f"{field.label} would become NULL, which it cannot be", attributes=(field.name,)
            )
        return None
    if field.kind not in _FITS:
        return value
    number = _FITS[field.kind](field, value)
    if number is None:
        raise EngineError(f"{field.label} cannot hold the result of this calculation")
    return number


def _whole(field: Field, value: Any) -> int | None:
    top = 1 << (field.bits - 1)
    return int(value) if -top <= value < top and value == int(value) else None


def _rounded(field: Field, value: Any) -> Decimal | None:
    number = Decimal(value)
    if field.precision is None or field.scale is None:
        return number
    number = round(number, field.scale)
    return number if abs(number) < Decimal(10) ** (field.precision - field.scale) else None


_FITS: dict[Kind, Callable[[Field, Any], Any]] = {
    Kind.INTEGER: _whole,
    Kind.FLOAT: lambda _field, value: float(value),
    Kind.DECIMAL: _rounded,
}
