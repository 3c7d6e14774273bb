"""``include``: related objects by one more statement for each relationship (and one for a link table's rows).

    User.conversations    children whose foreign key is among the users' keys
    Message.author        parents whose key is among the messages' foreign keys
    User.groups           rows of the link table for the users' keys, then the groups that these name

At most ``KEYS_AT_ONCE`` keys go into one statement. Which row belongs to which object is decided here, by value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import RelationshipProperty
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList

from ..errors import InvalidValueError, UnsupportedOperationError, nearest
from ..evaluation import sort_rows
from ..models import Field, ModelInfo
from ..models.links import link_model
from ..nodes import Column, Compare, In, Node, Value, all_of, any_of
from ..spec import Order, QuerySpec

if TYPE_CHECKING:
    from ..expressions import Reader
    from ..runner import Runner

__all__ = ["Include", "add_include", "keys_at_once", "load_related"]

Row = tuple[Any, ...]

#: Keys in one statement. Of several columns they are an OR, whose depth SQLite limits.
KEYS_AT_ONCE = 1000
COMPOSITE_AT_ONCE = 200


def keys_at_once(width: int) -> int:
    """How many keys of so many columns go into one statement."""
    return KEYS_AT_ONCE if width == 1 else COMPOSITE_AT_ONCE


@dataclass(frozen=True, eq=False)
class Include:
    """A relationship that is to be loaded, in which order, and what else for the objects that it leads to."""

    relationship: RelationshipProperty[Any]
    target: ModelInfo
    order: tuple[Order, ...]
    children: tuple[Include, ...] = ()


# -- what is to be loaded ----------------------------------------------------------------------------------------------


def add_include(
    info: ModelInfo, tree: tuple[Include, ...], term: Any, reader_of: Callable[[type], Reader]
) -> tuple[Include, ...]:
    """The tree with one relationship more, for the nearest objects that have it and do not load it yet."""
    for depth in range(_depth(tree) + 1):
        changed = _add_at(info, tree, term, depth, reader_of)
        if changed is not tree:
            return changed
    models = list(_models(info, tree))
    if any(_find(model, term) for model in models):
        return tree  # it is there already
    known = sorted({name for model in models for name in model.relationships})
    shown = term if isinstance(term, str) else getattr(term, "key", None)
    if not isinstance(shown, str):
        raise InvalidValueError(
            f"include takes relationships, not a value of type {type(term).__name__}",
            hint=f"write include({info.name}.…)",
        )
    raise InvalidValueError(
        f"{shown[:80]!r} is no relationship of {', '.join(dict.fromkeys(m.name for m in models))}",
        hint=nearest(shown[:80], known) if known else "include its parent first",
    )


def _add_at(
    info: ModelInfo, tree: tuple[Include, ...], term: Any, depth: int, reader_of: Callable[[type], Reader]
) -> tuple[Include, ...]:
    if depth == 0:
        found = _find(info, term)
        if found is None or any(each.relationship is found for each in tree):
            return tree
        return (*tree, _make(info, found, reader_of))
    changed = [
        replace(each, children=_add_at(each.target, each.children, term, depth - 1, reader_of))
        for each in tree
    ]
    same = all(new.children is old.children for new, old in zip(changed, tree, strict=True))
    return tree if same else tuple(changed)


def _depth(tree: tuple[Include, ...]) -> int:
    return max((1 + _depth(each.children) for each in tree), default=0)


def _models(info: ModelInfo, tree: tuple[Include, ...]) -> Iterator[ModelInfo]:
    yield info
    for each in tree:
        yield from _models(each.target, each.children)


def _find(info: ModelInfo, term: Any) -> RelationshipProperty[Any] | None:
    if isinstance(term, str):
        return info.relationships.get(term)
    prop = getattr(term, "property", None)
    if not isinstance(prop, RelationshipProperty) or getattr(term, "_of_type", None) is not None:
        return None
    return prop if info.relationships.get(prop.key) is prop else None


def _make(info: ModelInfo, found: RelationshipProperty[Any], reader_of: Callable[[type], Reader]) -> Include:
    """Check that a relationship is one that equality of columns describes."""
    label = f"{info.name}.{found.key}"
    joins = [
        (found.primaryjoin, found.synchronize_pairs),
        (found.secondaryjoin, found.secondary_synchronize_pairs),
    ]
    if found.secondary is None:
        joins = [(found.primaryjoin, found.local_remote_pairs)]
    if not all(_is_plain(join, len(pairs or ())) for join, pairs in joins):
        raise UnsupportedOperationError(
            f"{label} has a condition of its own, which include cannot load",
            hint="query its model with a filter",
        )
    if found.lazy in ("dynamic", "write_only") or not isinstance(found.secondary, (sa.Table, type(None))):
        raise UnsupportedOperationError(
            f"{label} is no plain collection, and include cannot load it",
            hint="query its model with a filter",
        )
    reader = reader_of(found.mapper.class_)
    order = [reader.order(term) for term in found.order_by or ()]
    ordered = {term.field for term in order}
    return Include(found, reader.model, (*order, *(Order(f) for f in reader.model.key if f not in ordered)))


def _is_plain(condition: Any, pairs: int) -> bool:
    parts = [condition]
    if isinstance(condition, BooleanClauseList) and condition.operator is operators.and_:
        parts = list(condition.clauses)
    return len(parts) == pairs and all(
        isinstance(p, BinaryExpression)
        and p.operator is operators.eq
        and isinstance(p.left, sa.Column)
        and isinstance(p.right, sa.Column)
        for p in parts
    )


# -- loading -----------------------------------------------------------------------------------------------------------


def load_related(runner: Runner, instances: Sequence[Any], includes: Iterable[Include]) -> None:
    """Fill the relationships of these objects."""
    for include in includes:
        parents = list({id(each): each for each in instances}.values())
        load = _load_directly if include.relationship.secondary is None else _load_through_link
        related = load(runner, parents, include)
        if related and include.children:
            load_related(runner, related, include.children)


def _load_directly(runner: Runner, parents: list[Any], include: Include) -> list[Any]:
    pairs = include.relationship.local_remote_pairs or ()
    local = _attributes(include.relationship.parent, [pair[0] for pair in pairs])
    remote = _attributes(include.target.mapper, [pair[1] for pair in pairs])
    found = _fetch(runner, include, remote, _keys(parents, local))
    groups: dict[Row, list[Any]] = {}
    for each in found:
        groups.setdefault(_key(each, remote), []).append(each)
    for parent in parents:
        _assign(parent, include, groups.get(_key(parent, local), []))
    return found


def _load_through_link(runner: Runner, parents: list[Any], include: Include) -> list[Any]:
    prop = include.relationship
    assert isinstance(prop.secondary, sa.Table)
    link = runner.reader(link_model(prop.secondary)).model
    local = _attributes(prop.parent, [pair[0] for pair in prop.synchronize_pairs])
    near = _fields(link, [pair[1] for pair in prop.synchronize_pairs])
    remote = _attributes(include.target.mapper, [pair[0] for pair in prop.secondary_synchronize_pairs or ()])
    far = _fields(link, [pair[1] for pair in prop.secondary_synchronize_pairs or ()])
    links: dict[Row, dict[Row, None]] = {}
    for part in _parts(_keys(parents, local)):
        spec = QuerySpec(link, (*near, *far), where=_among(near, part))
        for row in runner.rows(spec):
            links.setdefault(row[: len(near)], {})[row[len(near) :]] = None
    wanted = dict.fromkeys(key for keys in links.values() for key in keys if None not in key)
    found = _fetch(runner, include, remote, list(wanted))
    groups: dict[Row, list[tuple[int, Any]]] = {}
    for place, each in enumerate(found):
        groups.setdefault(_key(each, remote), []).append((place, each))
    for parent in parents:
        mine = [one for key in links.get(_key(parent, local), ()) for one in groups.get(key, ())]
        _assign(parent, include, [each for _, each in sorted(mine, key=lambda one: one[0])])
    return found


def _fetch(runner: Runner, include: Include, names: Sequence[str], keys: list[Row]) -> list[Any]:
    """The target's objects that have one of these keys, in the relationship's order."""
    info = include.target
    fields = [info.by_name[name] for name in names]
    build = runner.builder(info, info.fields)
    found: list[Any] = []
    parts = list(_parts(keys))
    for part in parts:
        among = _among(fields, part)
        where = among if info.only_this_class is None else all_of((info.only_this_class, among))
        spec = QuerySpec(info, info.fields, where=where, order=include.order)
        found += build(runner.rows(spec))
    return found if len(parts) < 2 else sort_rows(found, include.order, getattr)


def _assign(parent: Any, include: Include, related: list[Any]) -> None:
    prop = include.relationship
    value = related if prop.uselist else (related[0] if related else None)
    set_committed_value(parent, prop.key, value)


def _among(fields: Sequence[Field], keys: Sequence[Row]) -> Node:
    if len(fields) == 1:
        return In(Column(fields[0]), tuple(key[0] for key in keys), fields[0])
    return any_of(
        all_of(Compare("==", Column(f), Value(v, f)) for f, v in zip(fields, key, strict=True))
        for key in keys
    )


def _parts(keys: list[Row]) -> Iterator[list[Row]]:
    size = keys_at_once(len(keys[0])) if keys else 1
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def _keys(instances: Iterable[Any], names: Sequence[str]) -> list[Row]:
    keys = dict.fromkeys(_key(each, names) for each in instances)
    return [key for key in keys if None not in key]


def _key(instance: Any, names: Sequence[str]) -> Row:
    return tuple([getattr(instance, name) for name in names])


def _attributes(mapper: Any, columns: Iterable[Any]) -> list[str]:
    return [mapper.get_property_by_column(column).key for column in columns]


def _fields(info: ModelInfo, columns: Iterable[Any]) -> list[Field]:
    return [info.by_column[column.name] for column in columns]
