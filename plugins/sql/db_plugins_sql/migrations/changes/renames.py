"""Renames of tables and columns, as the user called them: refused if they do not fit, and done before all else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alembic.operations import ops

from db_plugins.migrations.renames import refuse_unfit
from db_plugins.migrations.seam import Change, Rename

from .. import portable
from .state import Phase, State, schema_argument

__all__ = ["check_renames", "rename"]


def check_renames(state: State, renames: Sequence[Rename]) -> None:
    """Raise InvalidValueError for one that does not fit what is there and what is wanted."""
    if not renames:
        return
    wanted = {name: [c.name for c in state.table((schema, name)).columns] for schema, name in state.keys}
    there: dict[str, list[str]] = {}
    named = {each.table or each.old for each in renames} | {each.old for each in renames}
    for schema in {schema for schema, _name in state.keys}:
        for table in state.inspector.get_table_names(schema=schema):
            columns = state.inspector.get_columns(table, schema=schema) if table in named else ()
            there.setdefault(table, [column["name"] for column in columns])
    refuse_unfit(renames, there, wanted)


def rename(state: State) -> None:
    """Tables first: the columns are those of the tables by their new names."""
    schemas = {name: schema for schema, name in state.keys}
    for new, old in state.names.tables.items():
        schema = schema_argument(schemas.get(new))
        state.add(
            Phase.RENAMES,
            Change(
                f"rename table {old} to {new}",
                f"op.rename_table({old!r}, {new!r}{schema})",
                f"op.rename_table({new!r}, {old!r}{schema})",
            ),
        )
    for (table, new), old in state.names.columns.items():
        state.add(Phase.RENAMES, _column(state, table, schemas.get(table), old, new))


def _column(state: State, table: str, schema: str | None, old: str, new: str) -> Change:
    found = next(
        column
        for column in state.inspector.get_columns(state.names.old_table(table), schema=schema)
        if column["name"] == old
    )
    is_numbered = found.get("autoincrement") is True
    existing: dict[str, Any] = {
        "existing_type": portable.of_database(found["type"], state.dialect.name),
        "existing_nullable": found["nullable"],
    }
    default = found.get("default")
    if default is not None and not is_numbered and "nextval" not in default:
        existing["existing_server_default"] = portable.default_of_database(default, existing["existing_type"])
    source = state.source()
    up, down = (
        source.operations(ops.AlterColumnOp(table, before, modify_name=after, schema=schema, **existing))
        for before, after in ((old, new), (new, old))
    )
    if is_numbered and state.is_mariadb:  # else its CHANGE takes the numbering away
        up, down = (f"{text[:-1]}, existing_autoincrement=True)" for text in (up, down))
    return Change(f"rename column {table}.{old} to {new}", up, down, frozenset(source.imports))
