"""The fields of one collection compared: by the validator that is there, and by the columns that are wanted.

Each added, dropped or retyped field is a change of its own; the validator comes behind them, with what must hold before, and
as a part of the last of them if they are all that is new in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from db_plugins.errors import DbPluginsError
from db_plugins.migrations.seam import Rename
from db_plugins.models import Field
from db_plugins.models.values import fit

from ..codec import encode
from .rendering import call, literal
from .schema import Collection
from .validators import Schema, members_of, properties_of, required_of, type_of
from .wording import type_name, words_of

__all__ = ["FieldChanges", "renamed_validator"]

#: Between which types $convert goes, there and back.
_PAIRS = {
    frozenset(pair)
    for pair in (
        ("int", "double"),
        ("int", "decimal"),
        ("double", "decimal"),
        ("int", "string"),
        ("double", "string"),
        ("decimal", "string"),
        ("date", "string"),
        ("int", "bool"),
    )
}
#: Longer bounds are not looked for in the documents: regular expressions count no further.
_LONGEST = 65_535


class Part(NamedTuple):
    """A change: words, and its statements there and back. The fields of a seam.Change."""

    text: str
    upgrade: list[str]
    downgrade: list[str]
    drops: tuple[str, ...] = ()
    completes: bool = False


class FieldChanges:
    """What leads from one validator to the other."""

    def __init__(self, now: Collection, want: Collection) -> None:
        self._name = want.name
        self._now, self._want = now, want
        self._before, self._after = properties_of(now.validator), properties_of(want.validator)
        self._required_before, self._required_after = required_of(now.validator), required_of(want.validator)
        is_known = bool(self._before) and want.validator is not None
        before, after = (self._before, self._after) if is_known else ({}, {})
        self._common = [n for n in after if n in before]
        self._added = [n for n in after if n not in before]
        self._dropped = [n for n in before if n not in after and n not in want.fields]
        self._retyped = [n for n in self._common if n != "_id" and _can_convert(before[n], after[n])]

    def changes(self) -> Iterator[Part]:
        """In the order of the upgrade."""
        if _plain(self._now.validator) == _plain(self._want.validator):
            return
        parts = [
            *map(self._addition, self._added),
            *map(self._conversion, self._retyped),
            *map(self._removal, self._dropped),
        ]
        validator = self._validator()
        if parts and not validator.text:
            last = parts.pop()
            validator = last._replace(
                upgrade=last.upgrade + validator.upgrade, downgrade=validator.downgrade + last.downgrade
            )
        yield from parts
        yield validator

    def possible_renames(self) -> list[Rename]:
        """A field that goes and one of the same type that comes."""
        left = list(self._added)
        found = []
        for old in self._dropped:
            new = next((n for n in left if type_of(self._after[n]) == type_of(self._before[old])), None)
            if new is not None:
                left.remove(new)
                found.append(Rename(old, new, self._name))
        return found

    def _addition(self, name: str) -> Part:
        default = stored_default(self._want.fields.get(name)) if name in self._required_after else None
        up = [call("add_field", self._name, name, default=default)]
        if name in self._required_after and default is None:
            up.append(call("require_field", self._name, name))
        return Part(
            f"add field {self._name}.{name}", up, [call("drop_field", self._name, name, default=default)]
        )

    def _removal(self, name: str) -> Part:
        down = [call("add_field", self._name, name)]
        if name in self._required_before:
            down.append(call("require_field", self._name, name))
        text = f"drop field {self._name}.{name}"
        return Part(text, [call("drop_field", self._name, name)], down, (text,))

    def _conversion(self, name: str) -> Part:
        old, new = self._before[name], self._after[name]
        return Part(
            f"type of {self._name}.{name}: {type_name(old)} → {type_name(new)}",
            [call("convert_field", self._name, name, type_of(new))],
            [call("convert_field", self._name, name, type_of(old))],
        )

    def _validator(self) -> Part:
        up, down = [], []
        for name in self._common:
            old, new = self._before[name], self._after[name]
            if name not in self._retyped:
                up += self._none(name, old, new)
                down += self._none(name, new, old)
            if name in self._required_after - self._required_before:
                up.append(call("require_field", self._name, name))
            if name in self._required_before - self._required_after:
                down.append(call("require_field", self._name, name))
        if self._now.validator is None:  # nothing is known of the documents
            up += [call("require_field", self._name, n) for n in self._after if n in self._required_after]
        words = words_of(
            self._name,
            self._now.validator,
            self._want.validator,
            told={*self._added, *self._dropped},
            retyped=self._retyped,
        )
        up.append(_set(self._name, self._want.validator))
        down.append(_set(self._name, self._now.validator))
        return Part("\n".join(words), up, down, completes=self._now.validator is None)

    def _none(self, name: str, old: Schema, new: Schema) -> list[str]:
        return [call("require_none", self._name, {name: each}) for each in _strays(old, new)]


def _can_convert(old: Schema, new: Schema) -> bool:
    return frozenset((type_of(old), type_of(new))) in _PAIRS


def _set(collection: str, validator: Mapping[str, Any] | None) -> str:
    if validator is None:
        return f"op.set_validator({literal(collection)}, None)"
    return call("set_validator", collection, validator)


def _strays(old: Schema, new: Schema) -> Iterator[dict[str, Any]]:
    """Conditions that find what the old schema let in and the new one does not."""
    before, after = members_of(old), members_of(new)
    if type_of(new) and type_of(old) != type_of(new):
        types = ["int", "long"] if type_of(new) == "int" else type_of(new).split(" or ")
        yield {"$exists": True, "$not": {"$type": [*types, "null"]}}
    elif after and before:
        if gone := [m for m in old["enum"] if m in before - after]:
            yield {"$in": gone}
    elif after:
        yield {"$exists": True, "$nin": [*(m for m in new["enum"] if m is not None), None]}
    length = new.get("maxLength")
    if length is not None and length < min(old.get("maxLength", _LONGEST), _LONGEST):
        yield {"$regex": f"^[\\s\\S]{{{length + 1}}}"}
    if "maximum" in new and new["maximum"] < old.get("maximum", 1 << 63):
        yield {"$gt": new["maximum"]}
        yield {"$lt": new["minimum"]}
    size = new.get("maxItems")
    if size is not None and size == new.get("minItems") and size != old.get("maxItems"):
        yield {"$type": "array", "$not": {"$size": size}}


def stored_default(field: Field | None) -> Any:
    """A column's default that is the same for every row, as it is stored; None if there is none."""
    if field is None or field.default is None or not field.default.is_scalar:
        return None
    try:
        stored = encode(field, fit(field, field.default.make({})))
        literal(stored)
    except (DbPluginsError, AttributeError, TypeError, ValueError):
        return None
    return stored


def renamed_validator(validator: Mapping[str, Any] | None, old: str, new: str) -> Mapping[str, Any] | None:
    """The validator with one field under another name, at the same place."""
    if validator is None or "$jsonSchema" not in validator:
        return validator
    schema = dict(validator["$jsonSchema"])
    if "required" in schema:
        schema["required"] = [new if n == old else n for n in schema["required"]]
    if "properties" in schema:
        schema["properties"] = {new if n == old else n: s for n, s in schema["properties"].items()}
    return {**validator, "$jsonSchema": schema}


def _plain(value: Any) -> Any:
    """Lists whose order says nothing, sorted."""
    if isinstance(value, Mapping):
        return {
            k: sorted(v, key=str)
            if k in ("required", "bsonType", "enum") and isinstance(v, (list, tuple))
            else _plain(v)
            for k, v in value.items()
        }
    return value
