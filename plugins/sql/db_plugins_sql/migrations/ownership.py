"""What the revision files have made, read and not run: only that is dropped when no model needs it any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db_plugins.migrations.reading import Call, calls

__all__ = ["BOOKKEEPING", "Owned", "TableName", "is_bookkeeping", "owned"]

#: Schema and name.
TableName = tuple[str | None, str]
#: Tables of migrations themselves, by how their names begin.
BOOKKEEPING = ("alembic_version", "dbp_", "_alembic_tmp_")


def is_bookkeeping(table: str) -> bool:
    return table.startswith(BOOKKEEPING)


@dataclass
class Owned:
    """Tables, the members of enums by their names, and vector indexes by theirs, as the last revision left them.

    ``uniques`` are names of unique constraints, also of such that are gone: MariaDB cannot tell them from indexes.
    """

    tables: set[TableName] = field(default_factory=set)
    enums: dict[str, tuple[str, ...]] = field(default_factory=dict)
    vector_indexes: set[str] = field(default_factory=set)
    uniques: set[str] = field(default_factory=set)

    def follow(self, call: Call) -> None:
        """Take in one call of an ``upgrade()``."""
        rule = RULES.get(call.name)
        if rule is not None:
            rule(self, call)

    def _create_table(self, call: Call) -> None:
        if isinstance(call.argument(0, "table_name"), str):
            self.tables.add(_table(call))

    def _drop_table(self, call: Call) -> None:
        self.tables.discard(_table(call))

    def _rename_table(self, call: Call) -> None:
        schema, old = _table(call, "old_table_name")
        new = call.argument(1, "new_table_name")
        if (schema, old) in self.tables and isinstance(new, str):
            self.tables.discard((schema, old))
            self.tables.add((schema, new))

    def _set_enum(self, call: Call) -> None:
        name = call.argument(0, "name")
        members = call.argument(
            1 if call.name == "create_enum" else 2, "members" if call.name == "create_enum" else "new"
        )
        if isinstance(name, str) and isinstance(members, (list, tuple)):
            self.enums[name] = tuple(members)

    def _drop_enum(self, call: Call) -> None:
        self.enums.pop(call.argument(0, "name"), None)

    def _create_vector_index(self, call: Call) -> None:
        self.vector_indexes.add(call.argument(0, "name"))

    def _unique(self, call: Call) -> None:
        name = (
            call.keywords.get("name")
            if call.name == "UniqueConstraint"
            else call.argument(0, "constraint_name")
        )
        if isinstance(name, str):
            self.uniques.add(name)

    def _drop_vector_index(self, call: Call) -> None:
        self.vector_indexes.discard(call.argument(0, "name"))


RULES: dict[str, Any] = {
    "UniqueConstraint": Owned._unique,
    "create_unique_constraint": Owned._unique,
    "create_table": Owned._create_table,
    "drop_table": Owned._drop_table,
    "rename_table": Owned._rename_table,
    "create_enum": Owned._set_enum,
    "alter_enum": Owned._set_enum,
    "drop_enum": Owned._drop_enum,
    "create_vector_index": Owned._create_vector_index,
    "drop_vector_index": Owned._drop_vector_index,
}


def _table(call: Call, keyword: str = "table_name") -> TableName:
    schema = call.keywords.get("schema")
    return (schema if isinstance(schema, str) else None), call.argument(0, keyword)


def owned(history: Sequence[Path]) -> Owned:
    """What the revisions, the oldest first, have made and not dropped again."""
    made = Owned()
    for path in history:
        for call in calls(path, "upgrade"):
            made.follow(call)
    return made
