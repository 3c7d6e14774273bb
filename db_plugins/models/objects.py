"""Rows become objects: plain, detached, every loaded attribute readable for ever.

An object is made straight from a row (``makers.py``), without a Session, and is then what SQLAlchemy calls *detached*: it may be added to a Session later, merged, pickled, copied. Load events, ``Mutable`` values
and single-table subclasses are honoured on every engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import (
    InstrumentedAttribute,
    LoaderCallableStatus,
    Mapper,
    make_transient,
    make_transient_to_detached,
)
from sqlalchemy.orm.attributes import instance_dict, instance_state, set_committed_value
from sqlalchemy.orm.exc import DetachedInstanceError

from ..errors import NotLoadedError, UnsupportedOperationError
from .makers import make_object_maker
from .states import make_states_lazily

if TYPE_CHECKING:
    from .describe import ModelInfo
    from .fields import Field

__all__ = [
    "changed_values",
    "given_values",
    "guard_attributes",
    "make_builder",
    "mark_stored",
    "value_as_read",
]

Row = tuple[Any, ...]


class DetachedNotLoadedError(NotLoadedError, DetachedInstanceError):
    """NotLoadedError as it is raised: handlers of SQLAlchemy's DetachedInstanceError catch it too."""

    def __init__(self, fact: str = "", *, hint: str | None = None) -> None:
        NotLoadedError.__init__(self, fact, hint=hint)


class _Guarded(InstrumentedAttribute[Any]):
    """An attribute that says how to load it, in place of SQLAlchemy's message about sessions."""

    __slots__ = ()
    inherit_cache = True

    def __get__(self, instance: Any, owner: Any) -> Any:
        try:
            return super().__get__(instance, owner)
        except DetachedInstanceError as exc:
            raise self._not_loaded(instance) from exc

    def __set__(self, instance: Any, value: Any) -> None:
        try:
            super().__set__(instance, value)
        except DetachedInstanceError as exc:
            raise self._not_loaded(instance) from exc

    def _not_loaded(self, instance: Any) -> DetachedNotLoadedError:
        name = f"{type(instance).__name__}.{self.key}"
        return DetachedNotLoadedError(f"{name} was not loaded", hint=self._hint(instance, name))

    def _hint(self, instance: Any, name: str) -> str:
        raise NotImplementedError


class _GuardedRelationship(_Guarded):
    """A relationship."""

    __slots__ = ()
    inherit_cache = True

    def _hint(self, instance: Any, name: str) -> str:
        return f"load it with the query: .include({name})"


class _GuardedColumn(_Guarded):
    """A column of a subclass, which a query of its base class does not read."""

    __slots__ = ()
    inherit_cache = True

    def _hint(self, instance: Any, name: str) -> str:
        return f"query({type(instance).__name__}) reads it"


def guard_attributes(mapper: Mapper[Any]) -> None:
    """Make unloaded relationships of this mapper and its subclasses, and the subclasses' columns, raise NotLoadedError."""
    for one in mapper.self_and_descendants:
        for prop in one.relationships:
            _guard(one, prop.key, _GuardedRelationship)
        for column in one.column_attrs if one is not mapper else ():
            _guard(one, column.key, _GuardedColumn)


def _guard(mapper: Mapper[Any], name: str, kind: type[_Guarded]) -> None:
    attribute = mapper.class_.__dict__.get(name)
    if type(attribute) is InstrumentedAttribute:
        attribute.__class__ = kind


def make_builder(info: ModelInfo, fields: Sequence[Field]) -> Callable[[Sequence[Row]], list[Any]]:
    """A function that turns rows, in the order of ``fields`` (which must hold the key), into objects of the model."""
    if info.discriminator is not None:
        return _polymorphic_builder(info, fields)
    return _plain_builder(info.mapper, fields)


def _plain_builder(mapper: Mapper[Any], fields: Sequence[Field]) -> Callable[[Sequence[Row]], list[Any]]:
    make_states_lazily(mapper)
    return make_object_maker(mapper, [f.name for f in fields])


def _polymorphic_builder(info: ModelInfo, fields: Sequence[Field]) -> Callable[[Sequence[Row]], list[Any]]:
    """Each row becomes an object of the subclass that its discriminator names."""
    assert info.discriminator is not None
    at = [f.column for f in fields].index(info.discriminator.column)
    builders: dict[Any, Callable[[Sequence[Row]], list[Any]]] = {}

    def builder_for(identity: Any) -> Callable[[Sequence[Row]], list[Any]]:
        if identity not in builders:
            mapper = info.mapper.polymorphic_map.get(identity, info.mapper)
            builders[identity] = _plain_builder(mapper, fields)
        return builders[identity]

    def build(rows: Sequence[Row]) -> list[Any]:
        return [builder_for(row[at])([row])[0] for row in rows]

    return build


def given_values(info: ModelInfo, instance: Any) -> dict[str, Any]:
    """The column values that an instance holds. Refuses one that holds related objects: a row is one row."""
    state = instance_state(instance)
    if state.session is not None:
        raise UnsupportedOperationError(
            f"this {info.name} belongs to a Session", hint="let that session write it, or expunge it first"
        )
    values = instance_dict(instance)
    for name in info.relationships:
        if values.get(name):
            raise UnsupportedOperationError(
                f"this {info.name} holds related objects in {name!r}",
                hint="insert them one by one, with their foreign keys",
            )
    return {f.name: values[f.name] for f in info.fields if f.name in values}


def changed_values(info: ModelInfo, instance: Any) -> dict[str, Any]:
    """What was set on the instance since it was read."""
    state = instance_state(instance)
    values = instance_dict(instance)
    return {
        f.name: values[f.name] for f in info.fields if f.name in values and f.name in state.committed_state
    }


def value_as_read(instance: Any, name: str) -> Any:
    """The value that an attribute was read with, whatever was set since; of a new object the one it has, or NO_VALUE."""
    unknown = LoaderCallableStatus.NO_VALUE
    value = instance_state(instance).committed_state.get(name, unknown)
    return instance_dict(instance).get(name, unknown) if isinstance(value, LoaderCallableStatus) else value


def mark_stored(info: ModelInfo, instance: Any, names: Sequence[str], row: Row) -> None:
    """Fill an instance with the row as it was stored, nothing pending; it is detached, unless a Session holds it."""
    state = instance_state(instance)
    for name, value in zip(names, row, strict=True):
        set_committed_value(instance, name, value)
    if state.session is not None:
        return  # it stays with its Session, which a call on the Database has joined
    if state.key is not None:
        make_transient(instance)
    make_transient_to_detached(instance)
