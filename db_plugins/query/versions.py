"""``version_id_col``: a column that each update changes, so that nobody writes over what he has not seen.

An update or delete of an object asks for the version that the object was read with; no engine needs to know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import LoaderCallableStatus

from ..errors import ConflictError, InvalidValueError
from ..expressions import Reader
from ..models import Field, Kind
from ..models.objects import value_as_read
from ..nodes import Arithmetic, Column, Compare, IsNull, Node, Operand, Value, all_of

__all__ = ["as_it_was_read", "next_version", "refuse_version", "stale"]


def as_it_was_read(reader: Reader, key_is: Node, instance: Any) -> Node:
    """The condition ``key_is``, and that the row has the version which the object was read with."""
    version = reader.model.version
    if version is None:
        return key_is
    value = _version_of(reader, version, instance)
    if value is None:  # a row from before there were versions
        return all_of((key_is, IsNull(Column(version))))
    return all_of((key_is, Compare("==", Column(version), Value(value, version))))


def _version_of(reader: Reader, version: Field, instance: Any) -> Any:
    value = value_as_read(instance, version.name)
    if isinstance(value, LoaderCallableStatus):
        raise InvalidValueError(
            f"this {reader.model.name} has no {version.name}, by which a change since it was read is seen",
            hint="read it first, or write by a filter: filter(id=…).update(…)",
        )
    return reader.literal(version, value)


def refuse_version(reader: Reader, field: Field) -> None:
    """Refuse a version by hand in the update of an object: given the same again, later readers would see no change."""
    if field is reader.model.version and _generator(reader) is not None:
        raise InvalidValueError(
            f"{field.label} is the version, which each update of an object sets by itself",
            hint=f"leave it out; filter({field.name}=…) asks for one",
        )


def next_version(reader: Reader, instance: Any) -> dict[Field, Operand]:
    """The version that a changed row has: that of the instance, or (``None``) of each row of a query."""
    version, generator = reader.model.version, _generator(reader)
    if version is None or generator is None:
        return {}
    if instance is not None:
        made = generator(_version_of(reader, version, instance))
    elif version.kind is Kind.INTEGER:
        # One more than each row has differs from what any object was read with, whatever the generator's step is.
        return {version: Arithmetic("+", Column(version), Value(1, version))}
    else:
        made = generator(None)
    return {version: Value(reader.check(version, made), version)}


def _generator(reader: Reader) -> Callable[[Any], Any] | None:
    """SQLAlchemy's ``version_id_generator``: the old version → the new one. ``None`` if others set it."""
    generator = reader.model.mapper.version_id_generator
    return generator if callable(generator) else None


def stale(reader: Reader, instance: Any, stored: Any) -> ConflictError | None:
    """The error, if the row as it is ``stored`` has another version than the object."""
    version = reader.model.version
    if version is None or stored == _version_of(reader, version, instance):
        return None
    return ConflictError(
        f"this {reader.model.name} was changed since it was read",
        engine=reader.engine,
        hint="nothing was done: read it and run it again",
    )
