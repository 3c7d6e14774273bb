"""The same Python values on both sides: what two engines give for one row is brought to one form, and summed up.

make_canonical   a function from rows to rows of values that are equal if the rows are
row_sum          an order-independent sum: 128 bits of each row's BLAKE2b, added up
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from hashlib import blake2b
from marshal import dumps
from typing import Any

from ..models import Field, Kind
from ..models.makers import Unless, make_converter
from ..models.texts import plain_decimal

__all__ = ["MOMENTS", "SUMS", "make_canonical", "row_sum"]

Row = tuple[Any, ...]
Form = Callable[[Any], Any]
#: Sums are kept below this.
SUMS = 1 << 128
#: Of ``marshal``: bytes that say each value's type and nothing of who else refers to it, as later ones do.
MARSHAL = 2

_to_json = json.JSONEncoder(sort_keys=True, ensure_ascii=True).encode


def _decimal(value: Any) -> str:
    return plain_decimal(Decimal(value))


def _float(value: Any) -> float:
    """Of the two zeros one, and of the many NaNs."""
    number = float(value) + 0.0
    return number if number == number else math.nan  # a NaN differs from itself


def _milliseconds(value: dt.datetime) -> str:
    return value.isoformat(timespec="milliseconds")


#: Kind → a value's one form, of the types that ``marshal`` writes. Other kinds are that already.
FORMS: dict[Kind, Form] = {
    Kind.DECIMAL: _decimal,
    Kind.FLOAT: _float,
    Kind.ENUM: lambda value: value.name if isinstance(value, enum.Enum) else value,
    Kind.DATETIME: dt.datetime.isoformat,
    Kind.NAIVE_DATETIME: dt.datetime.isoformat,
    Kind.DATE: dt.date.isoformat,
    Kind.TIME: dt.time.isoformat,
    Kind.UUID: str,
    Kind.BYTES: Unless(bytes, bytes),
    Kind.JSON: _to_json,
    Kind.VECTOR: repr,
    Kind.NATIVE: repr,
}
#: Kinds with a fraction of a second.
MOMENTS = frozenset({Kind.DATETIME, Kind.NAIVE_DATETIME, Kind.TIME})


def make_canonical(
    fields: Sequence[Field], *, microseconds: bool
) -> Callable[[Sequence[Row]], Sequence[Row]]:
    """Rows of these columns in their one form; without ``microseconds`` moments are cut to milliseconds."""
    convert = make_converter([_form(field, microseconds) for field in fields], take_none=False)
    return convert if convert is not None else list


def _form(field: Field, microseconds: bool) -> Form | None:
    """The function for one column's values that are not None."""
    form = FORMS.get(field.kind)
    if field.kind in MOMENTS and not microseconds:
        form = _milliseconds
    store = field.to_stored
    if store is None:
        return form
    told = form or repr  # a type of the user's own may store what is a kind of text or number

    def formed(value: Any) -> Any:
        stored = store(value)
        return None if stored is None else told(stored)

    return formed


def row_sum(rows: Iterable[Row]) -> int:
    """What these rows, in their one form, add to the sum."""
    number = int.from_bytes
    # marshal takes a fifth of the time of repr, and a row of ten columns then fits one block of the hash.
    return sum([number(blake2b(_bytes(row), digest_size=16).digest()) for row in rows]) % SUMS


def _bytes(row: Row) -> bytes:
    try:
        return dumps(row, MARSHAL)
    except ValueError:  # a driver gave a subclass of str or int
        return repr(row).encode("utf-8", "surrogatepass")
