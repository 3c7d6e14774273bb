"""Queries about several models, for engines that read one model at a time: the core brings the rows together.

    base rows      by the conditions about the query's own model alone, in batches
    related rows   by the keys that the base rows hold, ``KEYS_AT_ONCE`` in a statement, matched in Python
    Exists         becomes ``_Known``: the rows for which it is true have been found before it is asked

A row here is a flat mapping ``{Field.path: value}`` and a row of a join is its base row and its related rows in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from .evaluation import evaluate, sort_rows
from .models import Field, describe
from .nodes import (
    And,
    Column,
    Compare,
    Exists,
    Hop,
    In,
    Node,
    Or,
    Value,
    all_of,
    any_of,
    fields_of,
    has_exists,
)
from .spec import Join, Order, QuerySpec

if TYPE_CHECKING:
    from .runner import Runner

__all__ = [
    "COMPOSITE_AT_ONCE",
    "KEYS_AT_ONCE",
    "among",
    "base_of",
    "fetch_together",
    "keys_at_once",
    "parts_of",
]

Row = dict[str, Any]
Key = tuple[Any, ...]

#: Keys in one statement. Of several columns they are an OR, whose depth SQLite limits.
KEYS_AT_ONCE = 1000
COMPOSITE_AT_ONCE = 200
#: Base rows whose related rows are read together.
ROWS_AT_ONCE = 500


def fetch_together(runner: Runner, spec: QuerySpec, batch: int | None) -> Iterator[list[Key]]:
    """The rows of a spec with joins or ``Exists``, in lists of ``batch``."""
    base, rest = base_of(spec)
    rows: Iterable[Row] = _matching(runner, spec, base, rest)
    if spec.order and not base.order:
        rows = sort_rows(list(rows), spec.order, dict.__getitem__)
    window = islice(rows, spec.offset, None if spec.limit is None else spec.offset + spec.limit)
    paths = [f.path for f in spec.columns]
    while part := list(islice(window, batch or ROWS_AT_ONCE)):
        yield [tuple([row[path] for path in paths]) for row in part]


def base_of(spec: QuerySpec) -> tuple[QuerySpec, Node | None]:
    """What can be asked of the spec's own model alone, and the condition that is left."""
    parts = list(spec.where.parts) if isinstance(spec.where, And) else [spec.where] if spec.where else []
    alone = [part for part in parts if _is_alone(part)]
    rest = [part for part in parts if not _is_alone(part)]
    base = spec.but(
        columns=spec.model.fields,
        where=all_of(alone) if alone else None,
        order=_base_order(spec),
        limit=None,
        offset=0,
        joins=(),
        includes=(),
    )
    return base, all_of(rest) if rest else None


def _is_alone(node: Node) -> bool:
    return not has_exists(node) and not any(field.scope for field in fields_of(node))


def _base_order(spec: QuerySpec) -> tuple[Order, ...]:
    """The order's terms about the model itself, if they tell all of its rows apart before a joined column is met."""
    terms = tuple(takewhile(lambda term: not term.field.scope, spec.order))
    if not spec.joins:
        return terms
    return terms if {term.field for term in terms}.issuperset(spec.model.key) else ()


def _matching(runner: Runner, spec: QuerySpec, base: QuerySpec, rest: Node | None) -> Iterator[Row]:
    names = [f.name for f in base.columns]
    later = spec.order[len(base.order) :] if base.order else ()
    for values in runner.fetch(base, ROWS_AT_ONCE):
        rows = [dict(zip(names, row, strict=True)) for row in values]
        for join in spec.joins:
            rows = _joined(runner, join, rows)
        rows = _kept(runner, rest, rows)
        if later:
            # Rows of one base row stand together, in the order of the last sort.
            place = {key: n for n, key in enumerate(dict.fromkeys(_key(spec, row) for row in rows))}
            rows = sort_rows(rows, later, dict.__getitem__)
            rows.sort(key=lambda row, place=place: place[_key(spec, row)])  # type: ignore[misc]
        yield from rows


def _key(spec: QuerySpec, row: Row) -> Key:
    return tuple([row[f.name] for f in spec.model.key])


def _kept(runner: Runner, node: Node | None, rows: list[Row]) -> list[Row]:
    """The rows for which the node is true; what needs no look-up is asked first."""
    parts = node.parts if isinstance(node, And) else () if node is None else (node,)
    for part in sorted(parts, key=has_exists):
        bound = _bind(runner, part, rows)
        rows = [row for row in rows if evaluate(bound, row)]
    return rows


# -- joins -------------------------------------------------------------------------------------------------------------


def _joined(runner: Runner, join: Join, rows: list[Row]) -> list[Row]:
    """A row for each match; an outer join keeps rows without one."""
    if not join.outer:
        return [merged for _, merged in _follow(runner, join.hops, rows)]
    matches: dict[int, list[Row]] = {}
    for at, merged in _follow(runner, join.hops, rows):
        matches.setdefault(at, []).append(merged)
    absent = {f.path: None for hop in join.hops for f in hop.info.fields}
    return [merged for at, row in enumerate(rows) for merged in matches.get(at) or [{**row, **absent}]]


def _follow(runner: Runner, hops: Sequence[Hop], rows: Sequence[Row]) -> list[tuple[int, Row]]:
    """Each row with each row that the hops lead to, after the place of the row they began with."""
    found = list(enumerate(rows))
    for hop in hops:
        known = [pair[0].path for pair in hop.pairs]
        groups = _fetch_hop(runner, hop, [row for _, row in found])
        found = [
            (at, {**row, **other})
            for at, row in found
            for other in groups.get(tuple([row[path] for path in known]), ())
        ]
        if hop.where is not None:
            found = [(at, row) for at, row in found if evaluate(hop.where, row)]
    return found


def _fetch_hop(runner: Runner, hop: Hop, rows: Sequence[Row]) -> dict[Key, list[Row]]:
    """The hop's rows by the values of its pairs."""
    info = describe(hop.info.cls)
    paths = [known.path for known, _ in hop.pairs]
    wanted = dict.fromkeys(tuple([row[path] for path in paths]) for row in rows)
    keys = [key for key in wanted if None not in key]
    fields = [info.by_name[found.name] for _, found in hop.pairs]
    names = [f"{hop.info.scope}.{f.name}" for f in info.fields]
    at = [info.fields.index(f) for f in fields]
    groups: dict[Key, list[Row]] = {}
    for part in parts_of(keys):
        where = among(fields, part) if fields else None
        for values in runner.fetch(QuerySpec(info, info.fields, where=where)):
            for row in values:
                groups.setdefault(tuple([row[i] for i in at]), []).append(dict(zip(names, row, strict=True)))
    return groups


def among(fields: Sequence[Field], keys: Sequence[Key]) -> Node:
    """The condition that these columns hold one of these keys."""
    if len(fields) == 1:
        return In(Column(fields[0]), tuple(key[0] for key in keys), fields[0])
    return any_of(
        all_of(Compare("==", Column(f), Value(v, f)) for f, v in zip(fields, key, strict=True))
        for key in keys
    )


def parts_of(keys: list[Key]) -> Iterator[list[Key]]:
    """The keys in lists, each for one statement."""
    size = keys_at_once(len(keys[0])) if keys else 1
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def keys_at_once(width: int) -> int:
    """How many keys of so many columns go into one statement."""
    return KEYS_AT_ONCE if width == 1 else COMPOSITE_AT_ONCE


# -- any and has -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Known:
    """An ``Exists`` that has been answered: ``rows`` are the identities of the row objects for which it holds."""

    rows: frozenset[int]


@evaluate.register
def _(node: _Known, row: Row) -> bool:  # type: ignore[misc]  # a node of the core's own, which no engine meets
    return id(row) in node.rows


def _bind(runner: Runner, node: Node, rows: list[Row]) -> Node:
    """The node with every ``Exists`` answered for these rows, which must be kept while it is asked."""
    if isinstance(node, (And, Or)):
        return type(node)(tuple(_bind(runner, part, rows) for part in node.parts))
    if not isinstance(node, Exists):
        return node
    found = _follow(runner, node.hops, rows)
    places = {id(merged): at for at, merged in found}
    kept = _kept(runner, node.where, [merged for _, merged in found])
    there = {places[id(merged)] for merged in kept}
    known = frozenset(id(row) for at, row in enumerate(rows) if (at in there) is not node.negated)
    return _Known(known)  # type: ignore[return-value]
