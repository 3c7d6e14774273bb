"""``$jsonSchema`` validators: made of columns, as the codec stores them; and what one says of its fields.

A field that may be NULL is missing, or null where another program wrote it. What the schema does not name is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from db_plugins.models import Field, Kind

from ..codec import path_of
from ..object_ids import is_object_id

__all__ = [
    "Schema",
    "column_schema",
    "members_of",
    "merged",
    "properties_of",
    "required_of",
    "schema_of",
    "type_of",
]

Schema = dict[str, Any]

_INTEGERS = ["int", "long"]


def _integer(field: Field) -> Schema:
    if field.bits >= 64:
        return {"bsonType": _INTEGERS}
    bound = 1 << (field.bits - 1)
    return {"bsonType": _INTEGERS, "minimum": -bound, "maximum": bound - 1}


def _text(field: Field) -> Schema:
    if is_object_id(field):
        return {"bsonType": "objectId"}
    # Characters, not bytes, on both sides.
    return (
        {"bsonType": "string"} if field.length is None else {"bsonType": "string", "maxLength": field.length}
    )


def _vector(field: Field) -> Schema:
    return {"bsonType": "array", "minItems": field.length, "maxItems": field.length}


def _is(bson_type: str) -> Callable[[Field], Schema]:
    return lambda _field: {"bsonType": bson_type}


_BY_KIND: dict[Kind, Callable[[Field], Schema]] = {
    Kind.INTEGER: _integer,
    Kind.FLOAT: _is("double"),
    Kind.DECIMAL: _is("decimal"),
    Kind.TEXT: _text,
    Kind.ENUM: lambda field: {"enum": list(field.enum_names)},
    Kind.BOOLEAN: _is("bool"),
    Kind.DATETIME: _is("date"),
    Kind.NAIVE_DATETIME: _is("date"),
    Kind.DATE: _is("date"),
    Kind.TIME: _is("string"),
    Kind.UUID: _is("binData"),
    Kind.BYTES: _is("binData"),
    Kind.JSON: lambda _field: {},
    Kind.VECTOR: _vector,
    Kind.NATIVE: lambda _field: {},
}


def column_schema(field: Field) -> Schema:
    """What one column may hold, NULL included if it may."""
    schema = _BY_KIND[field.kind](field)
    if field.to_stored is not None:  # what a TypeDecorator makes of a value is checked by type alone
        schema = {k: v for k, v in schema.items() if k == "bsonType"}
    if field.nullable:
        if "bsonType" in schema:
            types = schema["bsonType"]
            schema = {**schema, "bsonType": [*(types if isinstance(types, list) else [types]), "null"]}
        if "enum" in schema:
            schema = {"enum": [*schema["enum"], None]}
    return schema


def schema_of(info: Any, fields: Iterable[Field], required: Iterable[Field]) -> Schema:
    """The schema of a collection: ``fields`` are all its columns, ``required`` those every document has."""
    names = [path_of(info, f) for f in required if not f.nullable and _is_always_there(f)]
    schema: Schema = {"bsonType": "object"}
    if needed := [name for name in names if name != "_id"]:
        schema["required"] = needed
    return {**schema, "properties": {path_of(info, f): column_schema(f) for f in fields}}


def _is_always_there(field: Field) -> bool:
    # A TypeDecorator may make nothing of something; ours does not.
    return field.to_stored is None or is_object_id(field)


def merged(ours: Schema, theirs: Mapping[str, Any]) -> Schema:
    """Our validator with the model's own beside it; its ``$jsonSchema`` goes over ours."""
    more = dict(theirs.get("$jsonSchema", {}))
    schema = {**ours, **more}
    if required := list(dict.fromkeys([*ours.get("required", ()), *more.get("required", ())])):
        schema["required"] = required
    schema["properties"] = {**ours["properties"], **more.get("properties", {})}
    return {"$jsonSchema": schema, **{k: v for k, v in theirs.items() if k != "$jsonSchema"}}


# -- what a schema says ----------------------------------------------------------------------------------------


def properties_of(validator: Mapping[str, Any] | None) -> dict[str, Schema]:
    """The fields that a validator names."""
    found = ((validator or {}).get("$jsonSchema") or {}).get("properties") or {}
    return {name: dict(schema) for name, schema in found.items()}


def required_of(validator: Mapping[str, Any] | None) -> set[str]:
    """The fields that every document must have."""
    return set(((validator or {}).get("$jsonSchema") or {}).get("required") or ())


def type_of(schema: Mapping[str, Any]) -> str:
    """The one word for a field's type: ``int`` for integers of either size; empty if it may be anything."""
    types = schema.get("bsonType", [])
    names = [t for t in ([types] if isinstance(types, str) else types) if t != "null"]
    if names == _INTEGERS:
        return "int"
    return " or ".join(names) if names else "string" if "enum" in schema else ""


def members_of(schema: Mapping[str, Any]) -> set[Any]:
    """The members of an enum."""
    return {m for m in schema.get("enum", ()) if m is not None}
