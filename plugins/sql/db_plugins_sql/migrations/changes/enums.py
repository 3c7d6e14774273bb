"""Named enums: a type of their own on PostgreSQL; elsewhere only the revision files know the members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from db_plugins.migrations.seam import Change

from .. import enums
from ..wanting import enum_of
from .state import Phase, State, schema_argument

__all__ = ["compare_enums"]


def compare_enums(state: State) -> None:
    """Made before any table that needs them, altered, and dropped when no column has them any more."""
    wanted, holders = _wanted(state)
    there = _there(state)
    for name, type_ in sorted(wanted.items()):
        if name not in there:
            if name in state.enums_used:
                _create(state, name, type_)
        elif list(there[name]) != list(type_.enums):
            _alter(state, name, type_, there[name], holders.get(name, []))
    for name in sorted((set(state.history.enums) | set(state.enums_left)) - set(wanted)):
        if _is_unused(state, name):
            _drop(state, name, there.get(name) or tuple(state.enums_left[name].enums))


def _wanted(state: State) -> tuple[dict[str, sa.Enum], dict[str, list[list[str]]]]:
    """By name; and the tables and columns that hold them already, by the names before."""
    wanted: dict[str, sa.Enum] = {}
    holders: dict[str, list[list[str]]] = {}
    for schema, name in sorted(state.keys, key=lambda key: (key[0] or "", key[1])):
        table = state.table((schema, name))
        is_made = any(table is each for each in state.made)
        for column in table.columns:
            found = enum_of(column.type)
            if found is None:
                continue
            wanted[str(found.name)] = found
            if not is_made and not any(column is each for each in state.added):
                old = [state.names.old_table(name), state.names.old_column(name, column.name)]
                holders.setdefault(str(found.name), []).append(old)
    return wanted, holders


def _there(state: State) -> dict[str, tuple[str, ...]]:
    if state.from_nothing:
        return {}
    if state.dialect.name == "postgresql":
        return enums.members_in_database(state.connection)
    return state.history.enums


def _create(state: State, name: str, type_: sa.Enum) -> None:
    arguments = f"({name!r}, {list(type_.enums)!r}{schema_argument(type_.schema)})"
    # Part of making the table: what is missing beside tables that are there.
    state.add(
        Phase.ENUMS,
        Change(
            f"create enum {name}", f"op.create_enum{arguments}", f"op.drop_enum{arguments}", makes_table=True
        ),
    )


def _alter(state: State, name: str, type_: sa.Enum, old: Sequence[str], holders: list[list[str]]) -> None:
    before, after = list(old), list(type_.enums)
    columns = f", columns={holders!r}" if holders else ""
    rest = f"{columns}{schema_argument(type_.schema)}"
    state.add(
        Phase.ENUMS,
        Change(
            f"change the members of the enum {name}: {_words(before, after)}",
            f"op.alter_enum({name!r}, {before!r}, {after!r}{rest})",
            f"op.alter_enum({name!r}, {after!r}, {before!r}{rest})",
        ),
    )


def _words(old: Sequence[str], new: Sequence[str]) -> str:
    parts = [f"add {each!r}" for each in new if each not in old]
    parts += [f"remove {each!r}" for each in old if each not in new]
    return ", ".join(parts) or "their order"


def _drop(state: State, name: str, members: Sequence[str]) -> None:
    arguments = f"({name!r}, {list(members)!r})"
    change = Change(f"drop enum {name}", f"op.drop_enum{arguments}", f"op.create_enum{arguments}")
    state.add(Phase.DROPPED_ENUMS, change)


def _is_unused(state: State, name: str) -> bool:
    if state.dialect.name != "postgresql":
        return True
    if state.from_nothing or name not in enums.members_in_database(state.connection):
        return False
    leaving: set[tuple[str, Any]] = {(table, column.name) for table, column in state.dropped}
    leaving |= {(table.name, column.name) for table in state.gone for column in table.columns}
    return all(
        (state.names.new_table(table), column) in leaving or _is_retyped(state, table, column)
        for _schema, table, column, _default in enums.columns_of(state.connection, name)
    )


def _is_retyped(state: State, table: str, column: str) -> bool:
    found = state.new.tables.get(state.names.new_table(table))
    return found is not None and column in found.c and enum_of(found.c[column].type) is None
