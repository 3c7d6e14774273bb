"""``M.children.any(…)`` and ``M.parent.has(…)`` become ``Exists`` nodes.

SQLAlchemy writes them as EXISTS of a SELECT: its inner tables are the related model's and a link table's (an alias, where
the model is related to itself), its criteria the relationship's own conditions and then the user's. Equalities between
columns outside and inside become the pairs of a ``Hop``; the rest is ``where``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.sql import visitors
from sqlalchemy.sql.selectable import Alias, Select

from .errors import UnsupportedFilterError
from .models import Field, ModelInfo
from .models.links import link_model
from .nodes import Always, And, Column, Compare, Exists, Hop, Node, all_of, settle

if TYPE_CHECKING:
    from .expressions import Reader

__all__ = ["inner_tables", "read_exists"]

#: The scopes inside are this and a number, by depth, so that none hides another, nor a table that is called so.
_SCOPE = "dbp_"


def read_exists(reader: Reader, expression: Any) -> Node:
    """The node of ``any()`` or ``has()``. Raises UnsupportedFilterError for an EXISTS of another origin."""
    select = expression.element
    while select is not None and not isinstance(select, Select):
        select = getattr(select, "element", None)
    tables = inner_tables(select) if select is not None else ()
    if select is None or not tables or select.whereclause is None:
        raise _refused(reader)
    number = max(_number(info) for info in reader.scopes.values())
    hops = [
        (table, _related(reader, table, select.whereclause).scoped(f"{_SCOPE}{number + n}", aliased=True))
        for n, table in enumerate(reversed(tables), 1)  # through the link table first
    ]
    readings = list(_readings(reader, dict(hops)))
    for scopes in readings:
        node = settle(reader.seeing(scopes).predicate(select.whereclause))
        if isinstance(node, Always) and not node.truth:
            return node
        found = _exists([info for _, info in hops], list(node.parts) if isinstance(node, And) else [node])
        if len(readings) == 1 or all(hop.pairs for hop in found.hops):
            return found
    raise UnsupportedFilterError(
        f"{reader.engine}: inside a relationship of {hops[-1][1].name} to itself, this one has no column that is equal to "
        "one outside",
        hint="ask any() or has() in another order, or of a relationship that is equality of columns",
    )


def _readings(reader: Reader, hops: dict[Any, ModelInfo]) -> Iterator[dict[Any, ModelInfo]]:
    """The inner tables; and again with an alias outside for the inner table itself.

    Around a relationship of a model to itself SQLAlchemy puts its alias also where a nested relationship leads back to
    the model: ``Person.boss.has(and_(…, Person.card.has(and_(…, Card.person.has(…)))))`` leaves the innermost Person
    without a condition that ties it to the Card.
    """
    yield hops
    aliases = [known for known in reader.scopes if isinstance(known, Alias)]
    for alias in sorted(aliases, key=lambda known: -_number(reader.scopes[known])):  # the nearest first
        yield from ({**hops, alias: inner} for table, inner in hops.items() if alias.element == table)


def inner_tables(select: Any) -> tuple[Any, ...]:
    """The tables that are the EXISTS's own, the related model's first; the others are those of the query outside.

    A private name, for nothing public tells the two apart; a test notices when it changes.
    """
    return tuple(select._correlate_except or ())


def _refused(reader: Reader) -> UnsupportedFilterError:
    return UnsupportedFilterError(
        f"{reader.engine}: cannot filter by an EXISTS of its own", hint="ask any() or has() of a relationship"
    )


def _number(info: ModelInfo) -> int:
    """The greatest number that a scope or a table of this model has taken."""
    numbers = [name.removeprefix(_SCOPE) for name in (info.scope, info.store) if name.startswith(_SCOPE)]
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


# -- which model -------------------------------------------------------------------------------------------------------


def _related(reader: Reader, inner: Any, criteria: Any) -> ModelInfo:
    """The model of an inner table: of several that share it, the first that has every column named."""
    table = inner
    while isinstance(table, Alias):
        table = table.element
    named = {c.name for c in visitors.iterate(criteria) if isinstance(c, sa.Column) and c.table == inner}
    found: ModelInfo | None = None
    for model in _models_of(reader, table):
        info = reader.look_up(model)
        if named <= info.by_column.keys():
            return info
        found = found or info
    if found is None:
        raise _refused(reader)
    return found


def _models_of(reader: Reader, table: Any) -> Iterator[type]:
    for info in reader.scopes.values():
        for mapper in info.mapper.base_mapper.self_and_descendants:
            for prop in mapper.relationships:
                if prop.secondary == table:
                    yield link_model(prop.secondary)  # type: ignore[arg-type]
                elif prop.mapper.local_table == table:
                    yield from (each.class_ for each in prop.mapper.self_and_descendants)


# -- which rows --------------------------------------------------------------------------------------------------------


def _exists(inner: list[ModelInfo], parts: list[Node]) -> Exists:
    hops = []
    ahead = {info.scope for info in inner}
    for info in inner:
        ahead.discard(info.scope)
        found = [_pair(part, info.scope, ahead) for part in parts]
        parts = [part for part, pair in zip(parts, found, strict=True) if pair is None]
        hops.append(Hop(info, tuple(pair for pair in found if pair is not None)))
    return Exists(tuple(hops), all_of(parts) if parts else None)


def _pair(node: Node, scope: str, ahead: set[str]) -> tuple[Field, Field] | None:
    """The columns of an equality that leads from what is known to a row of this scope."""
    if not (isinstance(node, Compare) and node.op == "=="):
        return None
    if not (isinstance(node.left, Column) and isinstance(node.right, Column)):
        return None
    known, found = node.left.field, node.right.field
    if found.scope != scope:
        known, found = found, known
    if found.scope != scope or known.scope == scope or known.scope in ahead or not _alike(known, found):
        return None
    return known, found


def _alike(one: Field, other: Field) -> bool:
    """Can values of one column be looked up in the other?"""
    if one.kind is not other.kind or one.enum_class is not other.enum_class:
        return False
    converted = one.to_stored is not None or other.to_stored is not None
    return not converted or type(one.sql_type) is type(other.sql_type)
