"""Relationships that SQLAlchemy cannot configure, in words that name both classes: ``misfit(mapper, error)``.

    no foreign key between them     User.owner leads to Event, and no foreign key links 'users' and 'events'
    one to a table that is none     Event.organizer_id refers to 'user.id', and there is no table 'user'
    back_populates of no attribute  User.owner says back_populates='organiser', and Event has no such attribute
    a class that is not known       a relationship leads to 'Events', and no model has this name

Of mappers that failed only what asks for no configuration can be read: ``iterate_properties``, not ``relationships``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper, RelationshipProperty

from ..errors import ConfigError, nearest

__all__ = ["misfit"]

Relationship = RelationshipProperty[Any]
#: In what SQLAlchemy says of a relationship whose tables nothing links.
UNLINKED = re.compile(r"relationship (\w+\.\w+) - there are no foreign keys linking")
UNKNOWN = re.compile(r"failed to locate a name \('([^']+)'\)")


def misfit(mapper: Mapper[Any], error: Exception) -> ConfigError:
    """What to say of models that SQLAlchemy refused to configure with this error."""
    mappers = sorted(mapper.registry.mappers, key=lambda each: each.class_.__name__)
    for fact, hint in _found(mappers, str(error)):
        return ConfigError(f"the models cannot be configured: {fact}", hint=hint)
    return ConfigError(
        f"the models cannot be configured: {str(error).splitlines()[0]}",
        hint="check the relationships and foreign keys of the classes named here",
    )


def _found(mappers: list[Mapper[Any]], said: str) -> Iterator[tuple[str, str]]:
    if unknown := UNKNOWN.search(said):
        name = unknown[1]
        known = [each.class_.__name__ for each in mappers]
        yield (
            f"a relationship leads to {name!r}, and no model has this name",
            f"{nearest(name, known)} A model in another module is known when that is imported, too",
        )
    for prop in _relationships(mappers) if "has no property" in said else ():
        if (other := _target(prop)) is not None:
            yield from _unanswered(prop, other)
    if unlinked := UNLINKED.search(said):
        for prop in _relationships(mappers):
            if _name(prop) == unlinked[1] and (other := _target(prop)) is not None:
                yield from _astray(prop.parent, other)
                yield _unlinked(prop, other)


def _relationships(mappers: list[Mapper[Any]]) -> Iterator[Relationship]:
    return (p for each in mappers for p in each.iterate_properties if isinstance(p, RelationshipProperty))


def _target(prop: Relationship) -> Mapper[Any] | None:
    """The mapper that it leads to, if that can be told: the argument is a class, its name, or gives one when called."""
    target: Any = prop.argument
    if isinstance(target, str):
        name = target.rpartition(".")[2]
        return next((m for m in prop.parent.registry.mappers if m.class_.__name__ == name), None)
    try:
        if callable(target) and not isinstance(target, type):
            target = target()
        found = sa.inspect(target, raiseerr=False)
    except sa.exc.SQLAlchemyError:
        return None
    return found if isinstance(found, Mapper) else None


def _unanswered(prop: Relationship, other: Mapper[Any]) -> Iterator[tuple[str, str]]:
    wanted, names = prop.back_populates, [p.key for p in other.iterate_properties]
    if wanted and wanted not in names:
        own = [p.key for p in _relationships([other]) if _target(p) is prop.parent]
        yield (
            f"{_name(prop)} says back_populates={wanted!r}, and {other.class_.__name__} has no such attribute",
            nearest(wanted, own or names),
        )


def _astray(*mappers: Mapper[Any]) -> Iterator[tuple[str, str]]:
    """Foreign keys of theirs that name a table which is not there."""
    for mapper in mappers:
        table: Any = mapper.local_table
        for key in sorted(table.foreign_keys, key=lambda each: str(each.parent.name)):
            target, _, _column = key.target_fullname.rpartition(".")
            if target not in table.metadata.tables:
                source = f"{mapper.class_.__name__}.{key.parent.key}"
                yield (
                    f"{source} refers to {key.target_fullname!r}, and there is no table {target!r}",
                    nearest(target, table.metadata.tables),
                )


def _unlinked(prop: Relationship, other: Mapper[Any]) -> tuple[str, str]:
    one, many = prop.parent.class_.__name__, other.class_.__name__
    here, there = _column(prop.parent, prop.back_populates or one.lower()), _column(other, prop.key)
    fact = f"no foreign key links {_table(prop.parent)!r} and {_table(other)!r}"
    ways = (
        f"where one {one} has many {many}, give {many} a column such as {here}",
        f"the other way round give {one} a column such as {there}",
    )
    return f"{_name(prop)} leads to {many}, and {fact}", "; ".join(ways)


def _column(to: Mapper[Any], name: str) -> str:
    table: Any = to.local_table
    key = next(iter(table.primary_key.columns))
    return f'{name}_{key.name} = Column(ForeignKey("{table.fullname}.{key.name}"))'


def _table(mapper: Mapper[Any]) -> str:
    table: Any = mapper.local_table
    return str(table.fullname)


def _name(prop: Relationship) -> str:
    return f"{prop.parent.class_.__name__}.{prop.key}"
