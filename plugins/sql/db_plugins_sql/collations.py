"""The collations of tables that somebody else made: learnt from the server, for saying COLLATE only where it is needed.

Code points decide whatever a column's collation is; saying so can cost an index. Where it would, ``Words`` asks here
whether the column compares by code point anyhow. A column that is not known is always said to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa

from db_plugins.models import Field, Kind, ModelInfo
from db_plugins.nodes import And, Exists, Node, Or
from db_plugins.spec import QuerySpec

__all__ = ["Collations", "models_read"]

Ask = Callable[[str, tuple[Any, ...]], Any]

#: The columns of a table with their collation; on PostgreSQL without those of which equal is more than equal bytes.
_POSTGRESQL = (
    "SELECT a.attname, CASE WHEN c.collisdeterministic THEN c.oid::text END "
    "FROM pg_attribute a LEFT JOIN pg_collation c ON c.oid = a.attcollation "
    "WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0"
)
_MARIADB = (
    "SELECT column_name, collation_name FROM information_schema.columns "
    "WHERE table_schema = COALESCE(%s, DATABASE()) AND table_name = %s"
)


class Collations:
    """What one pool knows of its tables. Shared by threads: the worst is that two ask the same."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self._dialect = dialect
        self._known: dict[Any, dict[str, str | None]] = {}

    def of(self, field: Field) -> str | None:
        """The collation of a column as the server names it, or ``None`` if it is not known."""
        known = self._known.get(_table(field.table_column.table))
        return None if known is None else known.get(field.column)

    def learn(self, spec: QuerySpec, ask: Ask) -> None:
        """Ask the server for the tables of a query, each once."""
        for info in models_read(spec):
            table = _table(info.table)
            if table in self._known or all(field.kind is not Kind.TEXT for field in info.fields):
                continue
            query = self._query(table)
            if query is None:
                return
            if found := dict(ask(*query)):
                self._known[table] = found

    def forget(self) -> None:
        """Tables were made or dropped."""
        self._known.clear()

    def _query(self, table: sa.Table) -> tuple[str, tuple[Any, ...]] | None:
        if self._dialect.name == "postgresql":
            return _POSTGRESQL, (self._dialect.identifier_preparer.format_table(table),)
        if self._dialect.name in ("mysql", "mariadb"):
            return _MARIADB, (table.schema, table.name)
        return None


def models_read(spec: QuerySpec) -> Iterator[ModelInfo]:
    """The models whose columns a statement names."""
    yield spec.model
    for join in spec.joins:
        for hop in join.hops:
            yield hop.info
            yield from _inside(hop.where)
    yield from _inside(spec.where)


def _inside(node: Node | None) -> Iterator[ModelInfo]:
    if isinstance(node, (And, Or)):
        for part in node.parts:
            yield from _inside(part)
    if isinstance(node, Exists):
        for hop in node.hops:
            yield hop.info
            yield from _inside(hop.where)
        yield from _inside(node.where)


def _table(source: Any) -> Any:
    """The table itself, also of one that goes by another name."""
    return source.element if isinstance(source, sa.Alias) else source
