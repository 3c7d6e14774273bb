"""In which order rows go that refer to each other: children before parents, and circles cut.

    in_groups   tables, children first; those that refer to each other in a circle are one group
    Unwinding   the rows of a group, in waves: none goes before those that refer to it

Servers look at once whether a row is still referred to, MariaDB even within one statement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from .joining import among, parts_of
from .models import Field, ModelInfo
from .nodes import Node, Operand, Value, all_of
from .references import Reference, referrers_of
from .spec import QuerySpec

if TYPE_CHECKING:
    from .runner import Runner

__all__ = ["Unwinding", "in_groups", "parents_of", "rows_by"]

Row = tuple[Any, ...]
#: A row of a table, by its key.
Place = tuple[sa.Table, Row]
#: The rows that a row refers to, and by which foreign key.
Edges = dict[Place, list[tuple[Reference, Place]]]


def parents_of(table: sa.Table) -> set[sa.Table]:
    """The tables that it refers to."""
    return {constraint.referred_table for constraint in table.foreign_key_constraints}


def in_groups(tables: Iterable[sa.Table]) -> list[list[sa.Table]]:
    """The tables, those that refer first; what is left when none is free of others is a group of its own."""
    left = dict.fromkeys(tables)
    groups: list[list[sa.Table]] = []
    while left:
        free = [t for t in left if not any(t in parents_of(child) for child in left if child is not t)]
        groups += [[table] for table in free] or [list(left)]
        for table in free or list(left):
            del left[table]
    return groups


def rows_by(
    runner: Runner,
    info: ModelInfo,
    columns: Sequence[Field],
    by: Sequence[Field],
    keys: list[Row],
    only: Node | None = None,
) -> Iterator[Row]:
    """These columns of the rows whose ``by`` columns hold one of the keys, and for which ``only`` is true."""
    for part in parts_of(keys):
        where = among(by, part) if only is None else all_of((only, among(by, part)))
        yield from map(tuple, runner.rows(QuerySpec(info, tuple(columns), where=where)))


class Unwinding:
    """The rows of some tables that are all to be deleted."""

    def __init__(
        self,
        runner: Runner,
        doomed: Mapping[sa.Table, Mapping[Row, None]],
        models: Mapping[sa.Table, ModelInfo],
        group: Sequence[sa.Table],
    ) -> None:
        self.runner = runner
        self.doomed = doomed
        self.models = models
        self.group = [table for table in group if table in doomed]

    def waves(self, has_cut: Callable[[], None]) -> Iterator[tuple[sa.Table, list[Row]]]:
        """Keys of a table that may go now. ``has_cut`` is called after rows were changed, to break a circle."""
        edges = self._edges()
        waiting = Counter(parent for parents in edges.values() for _, parent in parents)
        left = dict.fromkeys((table, key) for table in self.group for key in self.doomed[table])
        ready = [node for node in left if not waiting[node]]
        while left:
            wave = ready or self._cut(edges, waiting, left, has_cut) or list(left)
            for table in self.group:
                if keys := [key for t, key in wave if t is table]:
                    yield table, keys
            ready = []
            for node in wave:
                del left[node]
                for _, parent in edges.pop(node, ()):
                    waiting[parent] -= 1
                    if not waiting[parent]:
                        ready.append(parent)
            ready = [node for node in ready if node in left]

    def _edges(self) -> Edges:
        """Which of the rows refer to which."""
        edges: Edges = {}
        for referred in self.group:
            for reference in referrers_of(self.models[referred]):
                table = reference.child.table
                if table not in self.group:
                    continue
                by_value = self._by_value(reference)
                child = reference.child
                columns = (*child.key, *reference.fields)
                for row in rows_by(self.runner, child, columns, child.key, list(self.doomed[table])):
                    node = (table, row[: len(child.key)])
                    parent = by_value.get(row[len(child.key) :])
                    if parent is not None:  # also the row itself: InnoDB lets no row go that refers to itself
                        edges.setdefault(node, []).append((reference, parent))
        return edges

    def _by_value(self, reference: Reference) -> dict[Row, Place]:
        """The rows that go, by what a foreign key says of them."""
        parent = reference.parent
        keys = list(self.doomed[parent.table])
        if reference.keys == parent.key:
            return {key: (parent.table, key) for key in keys}
        rows = rows_by(self.runner, parent, (*parent.key, *reference.keys), parent.key, keys)
        return {row[len(parent.key) :]: (parent.table, row[: len(parent.key)]) for row in rows}

    def _cut(
        self, edges: Edges, waiting: Counter[Place], left: Mapping[Place, None], has_cut: Callable[[], None]
    ) -> list[Place]:
        """Rows that refer to each other in a circle: let them refer to none, where that can be."""
        cut: dict[Reference, list[Row]] = {}
        for node in left:
            for reference, parent in list(edges.get(node, ())):
                if all(f.nullable for f in reference.fields):
                    cut.setdefault(reference, []).append(node[1])
                    edges[node].remove((reference, parent))
                    waiting[parent] -= 1
        for reference, keys in cut.items():
            child = reference.child
            nothing: dict[Field, Operand] = {f: Value(None, f) for f in reference.fields}
            for part in parts_of(keys):
                self.runner.update(QuerySpec(child, child.key, where=among(child.key, part)), nothing)
        if cut:
            has_cut()
        return [node for node in left if not waiting[node]]
