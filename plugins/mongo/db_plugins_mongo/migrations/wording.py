"""Two validators of one collection compared, in words: a line for each thing that is different. Pure.

type of stars.n: int32 → int64        members of stars.colour: add 'VIOLET'
length of stars.name: 40 → 80         field stars.mag may be missing now
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from .validators import Schema, members_of, properties_of, required_of, type_of

__all__ = ["type_name", "words_of"]

#: What the lines of a field are about.
_TOLD = {"bsonType", "enum", "minimum", "maximum", "maxLength", "minItems", "maxItems"}
_BITS = {(1 << (bits - 1)) - 1: bits for bits in (16, 32)}

Validator = Mapping[str, Any] | None


def words_of(
    collection: str, old: Validator, new: Validator, *, told: Collection[str], retyped: Collection[str]
) -> list[str]:
    """What differs, but for whole fields, which are ``told`` already, and the types of those that are ``retyped``."""
    if old is None or new is None:
        return [f"{'add' if old is None else 'drop'} validator of {collection}"]
    before, after = properties_of(old), properties_of(new)
    lines: list[str] = []
    for name in (n for n in after if n in before and n not in told):
        label = f"{collection}.{name}"
        if name not in retyped:
            lines += _differences(label, before[name], after[name])
        lines += _presence(label, name, old, new)
    if _rest(old, told) != _rest(new, told):
        lines.append(f"change validator of {collection}")
    return lines


def type_name(schema: Schema) -> str:
    """The type for people: an integer with its size, and ``any`` for what may be anything."""
    name = type_of(schema) or "any"
    if name != "int":
        return name
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and high is None:
        return "int64"
    bits = _BITS.get(high) if high is not None and low == -high - 1 else None
    return f"int{bits}" if bits else f"int of {_or_any(low)} to {_or_any(high)}"


def _differences(label: str, old: Schema, new: Schema) -> Iterator[str]:
    if type_name(old) != type_name(new):
        yield f"type of {label}: {type_name(old)} → {type_name(new)}"
    if type_of(old) != type_of(new):
        return
    was, now = members_of(old), members_of(new)
    if was != now:
        yield f"members of {label}: {_exchange(was, now)}"
    if bool(was) == bool(now):
        for what, of in _PARTS:
            if of(old) != of(new):
                yield f"{what} of {label}: {of(old)} → {of(new)}"


def _exchange(was: Collection[Any], now: Collection[Any]) -> str:
    if not was or not now:
        return f"{_listed(was) or 'any'} → {_listed(now) or 'any'}"
    parts = (("add", set(now) - set(was)), ("drop", set(was) - set(now)))
    return ", ".join(f"{verb} {_listed(members)}" for verb, members in parts if members)


def _listed(members: Collection[Any]) -> str:
    return ", ".join(sorted(map(repr, members)))


def _dimensions(schema: Schema) -> str:
    low, high = schema.get("minItems"), schema.get("maxItems")
    return _or_any(high) if low == high else f"{_or_any(low)} to {_or_any(high)}"


def _or_any(value: Any) -> str:
    return "any" if value is None else str(value)


_PARTS: tuple[tuple[str, Callable[[Schema], str]], ...] = (
    ("length", lambda schema: _or_any(schema.get("maxLength"))),
    ("dimensions", _dimensions),
)


def _presence(label: str, name: str, old: Validator, new: Validator) -> Iterator[str]:
    was, now = name in required_of(old), name in required_of(new)
    before, after = properties_of(old)[name], properties_of(new)[name]
    if was != now:
        yield f"require field {label}" if now else f"field {label} may be missing now"
    elif _takes_null(before) != _takes_null(after) and type_of(before) and type_of(after):
        yield f"field {label} may {'' if _takes_null(after) else 'not '}be null now"


def _takes_null(schema: Schema) -> bool:
    return "null" in schema.get("bsonType", ()) or None in schema.get("enum", ())


def _rest(validator: Mapping[str, Any], told: Collection[str]) -> Any:
    """What no line is about."""
    schema = validator.get("$jsonSchema") or {}
    fields = properties_of(validator)
    return (
        {k: v for k, v in validator.items() if k != "$jsonSchema"},
        {k: v for k, v in schema.items() if k not in ("properties", "required")},
        required_of(validator) - set(fields),
        {n: {k: v for k, v in each.items() if k not in _TOLD} for n, each in fields.items() if n not in told},
    )
