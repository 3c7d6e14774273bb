"""``include``: related objects by one more statement for each relationship (and one for a link table's rows).

    User.conversations    children whose foreign key is among the users' keys
    Message.author        parents whose key is among the messages' foreign keys
    User.groups           rows of the link table for the users' keys, then the groups that these name

At most ``joining.KEYS_AT_ONCE`` keys go into one statement. Which row belongs to which object is decided here, by value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import RelationshipProperty
from sqlalchemy.orm.attributes import set_committed_value

from ..evaluation import sort_rows
from ..joining import among, parts_of
from ..models import Field, ModelInfo
from ..models.links import link_model
from ..nodes import all_of
from ..spec import Order, QuerySpec
from .relations import check_plain, find_relationship, no_relationship

if TYPE_CHECKING:
    from ..expressions import Reader
    from ..runner import Runner

__all__ = ["Include", "add_include", "load_related"]

Row = tuple[Any, ...]


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
    if any(find_relationship(model, term) for model in models):
        return tree  # it is there already
    raise no_relationship(models, term, "include")


def _add_at(
    info: ModelInfo, tree: tuple[Include, ...], term: Any, depth: int, reader_of: Callable[[type], Reader]
) -> tuple[Include, ...]:
    if depth == 0:
        found = find_relationship(info, term)
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


def _make(info: ModelInfo, found: RelationshipProperty[Any], reader_of: Callable[[type], Reader]) -> Include:
    check_plain(info, found, "include")
    reader = reader_of(found.mapper.class_)
    order = [reader.order(term) for term in found.order_by or ()]
    ordered = {term.field for term in order}
    return Include(found, reader.model, (*order, *(Order(f) for f in reader.model.key if f not in ordered)))


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
    for part in parts_of(_keys(parents, local)):
        spec = QuerySpec(link, (*near, *far), where=among(near, part))
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
    parts = list(parts_of(keys))
    for part in parts:
        where = among(fields, part)
        if info.only_this_class is not None:
            where = all_of((info.only_this_class, where))
        spec = QuerySpec(info, info.fields, where=where, order=include.order)
        found += build(runner.rows(spec))
    return found if len(parts) < 2 else sort_rows(found, include.order, getattr)


def _assign(parent: Any, include: Include, related: list[Any]) -> None:
    prop = include.relationship
    value = related if prop.uselist else (related[0] if related else None)
    set_committed_value(parent, prop.key, value)


def _keys(instances: Iterable[Any], names: Sequence[str]) -> list[Row]:
    keys = dict.fromkeys(_key(each, names) for each in instances)
    return [key for key in keys if None not in key]


def _key(instance: Any, names: Sequence[str]) -> Row:
    return tuple([getattr(instance, name) for name in names])


def _attributes(mapper: Any, columns: Iterable[Any]) -> list[str]:
    return [mapper.get_property_by_column(column).key for column in columns]


def _fields(info: ModelInfo, columns: Iterable[Any]) -> list[Field]:
    return [info.by_column[column.name] for column in columns]
