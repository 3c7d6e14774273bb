"""Relationships that ``include`` and ``join`` may follow: found by attribute or name, and plain equality of columns.

find_relationship   the property that a term names, if the model has it
check_plain         refuses a condition of its own, and what is no plain collection
add_join            a relationship becomes a ``Join``: the hops over a link table and to the related model
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import RelationshipProperty
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList

from ..errors import DbPluginsError, InvalidValueError, UnsupportedOperationError, nearest
from ..models import Field, ModelInfo
from ..models.links import link_model
from ..nodes import Hop
from ..spec import Join, QuerySpec

__all__ = ["add_join", "check_plain", "find_relationship", "is_equality", "joined_key", "no_relationship"]


def find_relationship(info: ModelInfo, term: Any) -> RelationshipProperty[Any] | None:
    """The model's relationship of this name, or that this attribute is."""
    if isinstance(term, str):
        return info.relationships.get(term)
    prop = getattr(term, "property", None)
    if not isinstance(prop, RelationshipProperty) or getattr(term, "_of_type", None) is not None:
        return None
    return prop if info.relationships.get(prop.key) is prop else None


def no_relationship(models: Sequence[ModelInfo], term: Any, verb: str) -> InvalidValueError:
    """The error for a term that is no relationship of these models."""
    known = sorted({name for model in models for name in model.relationships})
    shown = term if isinstance(term, str) else getattr(term, "key", None)
    if not isinstance(shown, str):
        return InvalidValueError(
            f"{verb} takes relationships, not a value of type {type(term).__name__}",
            hint=f"write {verb}({models[0].name}.…)",
        )
    return InvalidValueError(
        f"{shown[:80]!r} is no relationship of {', '.join(dict.fromkeys(m.name for m in models))}",
        hint=nearest(shown[:80], known) if known else f"{verb} its parent first",
    )


def check_plain(info: ModelInfo, found: RelationshipProperty[Any], verb: str) -> None:
    """Refuse a relationship that equality of columns does not describe."""
    label = f"{info.name}.{found.key}"
    joins = [
        (found.primaryjoin, found.synchronize_pairs),
        (found.secondaryjoin, found.secondary_synchronize_pairs),
    ]
    if found.secondary is None:
        joins = [(found.primaryjoin, found.local_remote_pairs)]
    if not all(is_equality(join, len(pairs or ())) for join, pairs in joins):
        raise UnsupportedOperationError(
            f"{label} has a condition of its own, which {verb} cannot follow",
            hint="query its model with a filter",
        )
    if found.lazy in ("dynamic", "write_only") or not isinstance(found.secondary, (sa.Table, type(None))):
        raise UnsupportedOperationError(
            f"{label} is no plain collection, and {verb} cannot follow it",
            hint="query its model with a filter",
        )


def is_equality(condition: Any, pairs: int) -> bool:
    """Does the condition say that so many pairs of columns are equal, and nothing more?"""
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


# -- join --------------------------------------------------------------------------------------------------------------


def add_join(spec: QuerySpec, term: Any, outer: bool, look_up: Callable[[type], ModelInfo]) -> Join:
    """The join of a relationship of the query's model, or of one joined before."""
    sources = [spec.model, *(join.hops[-1].info for join in spec.joins)]
    for source in sources:
        found = find_relationship(source, term)
        if found is not None:
            break
    else:
        raise no_relationship(sources, term, "join")
    check_plain(source, found, "join")
    target = look_up(found.mapper.class_)
    models = [target]
    if isinstance(found.secondary, sa.Table):
        models.insert(0, look_up(link_model(found.secondary)))
    for model in models:
        if any(model.table is known.table for known in spec.models):
            raise _is_there(source, found, model)
    hops = []
    known = source
    for model, pairs in zip(models, _pairs(found), strict=True):
        info = model.scoped(model.store, optional=outer)
        columns = tuple((known.by_column[a.name], info.by_column[b.name]) for a, b in pairs)
        hops.append(Hop(info, columns, info.only_this_class))
        known = info
    return Join(tuple(hops), outer)


def _pairs(found: RelationshipProperty[Any]) -> list[list[tuple[Any, Any]]]:
    """For each hop the columns that are equal, the known one first."""
    if found.secondary is None:
        return [[(local, remote) for local, remote in found.local_remote_pairs or ()]]
    near = [(local, link) for local, link in found.synchronize_pairs]
    far = [(link, remote) for remote, link in found.secondary_synchronize_pairs or ()]
    return [near, far]


def _is_there(source: ModelInfo, found: RelationshipProperty[Any], model: ModelInfo) -> DbPluginsError:
    label = f"{source.name}.{found.key}"
    verb = "any" if found.uselist else "has"
    fact = f"join of {label}: this query is about {model.name} already"
    if found.mapper.local_table is source.table:
        fact = f"{label} leads to {model.name} itself, which cannot be joined to it"
    return UnsupportedOperationError(fact, hint=f"ask filter({label}.{verb}(…))")


def joined_key(spec: QuerySpec) -> tuple[Field, ...]:
    """The columns that tell apart the rows that joins make of one base row."""
    found: dict[Field, None] = {}
    for join in spec.joins:
        *links, target = join.hops
        paired = {field for hop in join.hops for pair in hop.pairs for field in pair}
        found |= dict.fromkeys(target.info.key)
        # A link row is told by what it links, unless its table lets two rows link the same.
        found |= dict.fromkeys(f for link in links for f in link.info.key if f not in paired)
    return tuple(found)
