"""Values that are plainly right are told from those that ``values.py`` must look at: the usual case costs next to nothing.

    make_column_checker   a whole column, by the set of its types and by bounds that hold for all (``PLAINLY``)
    make_row_checker      one row, by a function that is written for its columns (``PLAIN_TESTS``)

What is not plainly right goes through the column's checker, which converts or refuses it.
"""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from .fields import Field, Kind
from .makers import written
from .values import Limits, is_clean, make_checker

__all__ = ["make_column_checker", "make_row_checker"]

Values = Sequence[Any]
#: Is every one of these values, none of which is None, as the column takes it? They have all of ``types``.
Plainly = Callable[[Values, set[type]], bool]

_NONE = type(None)
_zone = attrgetter("tzinfo")


def make_column_checker(field: Field, limits: Limits) -> Callable[[Values], tuple[Values, bool]]:
    """A function that checks the values of one column: gives them as engines get them, and whether one is None.

    ``None`` passes, as in ``make_checker``. Values that are plainly right are given back as they came, not copied."""
    check = make_checker(field, limits)
    plainly = _always if field.to_stored is not None else PLAINLY.get(field.kind, _never)(field, limits)

    def checked(values: Values) -> tuple[Values, bool]:
        types = set(map(type, values))
        some = values
        has_none = _NONE in types
        if has_none:
            types.discard(_NONE)
            some = [value for value in values if value is not None]
        if not types or plainly(some, types):
            return values, has_none
        made = [check(value) for value in values]
        return made, _NONE in set(map(type, made))

    return checked


def _always(_values: Values, _types: set[type]) -> bool:
    return True


def _never(_field: Field, _limits: Limits) -> Plainly:
    return lambda _values, _types: False


def _integer(field: Field, _limits: Limits) -> Plainly:
    top = 1 << (field.bits - 1)
    return lambda values, types: types == {int} and -top <= min(values) and max(values) < top


def _float(_field: Field, _limits: Limits) -> Plainly:
    # A sum is finite only if all of its parts are.
    return lambda values, types: types == {float} and math.isfinite(sum(values))


def _text(field: Field, _limits: Limits) -> Plainly:
    length = field.length

    def plainly(values: Values, types: set[type]) -> bool:
        if types != {str} or (length is not None and max(map(len, values)) > length):
            return False
        return is_clean("".join(values))

    return plainly


def _exactly(kind: type) -> Callable[[Field, Limits], Plainly]:
    return lambda _field, _limits: lambda _values, types: types == {kind}


def _enum(field: Field, _limits: Limits) -> Plainly:
    return lambda _values, types: types == {field.enum_class}


def _moment(field: Field, limits: Limits) -> Plainly:
    zones = {dt.UTC} if field.kind is Kind.DATETIME else {None}
    if not limits.microseconds:
        return _never(field, limits)
    return lambda values, types: types == {dt.datetime} and set(map(_zone, values)) == zones


def _native(_field: Field, _limits: Limits) -> Plainly:
    return _always


PLAINLY: dict[Kind, Callable[[Field, Limits], Plainly]] = {
    Kind.INTEGER: _integer,
    Kind.FLOAT: _float,
    Kind.TEXT: _text,
    Kind.ENUM: _enum,
    Kind.BOOLEAN: _exactly(bool),
    Kind.DATETIME: _moment,
    Kind.NAIVE_DATETIME: _moment,
    Kind.DATE: _exactly(dt.date),
    Kind.UUID: _exactly(uuid.UUID),
    Kind.BYTES: _exactly(bytes),
    Kind.NATIVE: _native,
}


# -- one row -----------------------------------------------------------------------------------------------------------

#: A condition on ``v`` under which a value is plainly right; ``{top}`` and ``{length}`` are the column's bounds.
PLAIN_TESTS: dict[Kind, str] = {
    Kind.INTEGER: "type(v) is int and -{top} <= v < {top}",
    Kind.FLOAT: "type(v) is float and -inf < v < inf",
    Kind.TEXT: "type(v) is str and len(v) <= {length} and v.isascii() and nul not in v",
    Kind.BOOLEAN: "v is True or v is False",
    Kind.DATE: "type(v) is date",
    Kind.UUID: "type(v) is uuid",
    Kind.BYTES: "type(v) is bytes",
    Kind.DATETIME: "type(v) is datetime and v.tzinfo is utc and {microseconds}",
    Kind.NAIVE_DATETIME: "type(v) is datetime and v.tzinfo is None and {microseconds}",
}
_KNOWN: dict[str, Any] = {
    "inf": math.inf,
    "nul": "\x00",
    "date": dt.date,
    "datetime": dt.datetime,
    "uuid": uuid.UUID,
    "utc": dt.UTC,
}


def make_row_checker(
    fields: Sequence[Field], limits: Limits, refuse_null: Callable[[Field], Any]
) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """A function from a mapping that has all of these attributes to their values as engines get them.

    ``refuse_null`` must raise: it is called for a None, also one that a NaN became, where there may be none."""
    lines = ["def make(row):"]
    known = dict(_KNOWN, refuse_null=refuse_null)
    for at, field in enumerate(fields):
        known[f"check{at}"] = make_checker(field, limits)
        known[f"field{at}"] = field
        lines.append(f" v = row[{field.name!r}]")
        if field.to_stored is None:
            lines.append(f" if not ({_plain_test(field, limits)}):")
            lines.append(f"  v = check{at}(v)")
            indent = "  "
        else:
            indent = " "
        if not field.nullable:
            lines.append(f"{indent}if v is None: refuse_null(field{at})")
        lines.append(f" v{at} = v")
    values = ", ".join(f"v{at}" for at in range(len(fields)))
    lines.append(f" return ({values}{',' if fields else ''})")
    return written(lines, known)


def _plain_test(field: Field, limits: Limits) -> str:
    test = PLAIN_TESTS.get(field.kind, "False")
    length = "inf" if field.length is None else str(field.length)
    return test.format(top=1 << (field.bits - 1), length=length, microseconds=limits.microseconds)
