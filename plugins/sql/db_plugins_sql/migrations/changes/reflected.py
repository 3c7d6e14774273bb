"""What the database has, in the words of a revision and by the names after it: that is what the way back makes again."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
from alembic.operations import ops
from sqlalchemy.sql.elements import conv

from ...naming import foreign_key_name, unique_name
from .. import portable
from .state import State

__all__ = ["column_of", "constraint_of", "default_of", "index_of", "is_of_json", "json_columns", "table_of"]

#: MariaDB's JSON is text with a check.
_JSON = re.compile(r"json_valid\(`(.+)`\)", re.I)


def is_of_json(check: str) -> bool:
    return check.lower().startswith("json_valid(")


def json_columns(state: State, table: sa.Table) -> set[str]:
    """Of a wanted table; by their names before."""
    if not state.is_mariadb:
        return set()
    found = state.inspector.get_check_constraints(state.names.old_table(table.name), schema=table.schema)
    return _json_of(check["sqltext"] for check in found)


def _json_of(checks: Any) -> set[str]:
    return {found[1] for check in checks if (found := _JSON.match(check))}


# -- columns -----------------------------------------------------------------------------------------------------------


def column_of(state: State, column: Any, *, json: set[str]) -> sa.Column[Any]:
    """``json`` are the names of the columns that hold it, where the server does not say so."""
    type_ = portable.of_database(column.type, state.dialect.name, is_json=column.name in json)
    computed = column.computed
    extra = [sa.Computed(computed.sqltext, persisted=computed.persisted)] if computed else []
    return sa.Column(
        column.name,
        type_,
        *extra,
        nullable=column.nullable,
        server_default=None if extra else default_of(column.server_default, type_),
        primary_key=column.primary_key,
        autoincrement=False if column.primary_key and column.autoincrement is False else "auto",
        comment=column.comment,
    )


def default_of(default: Any, type_: Any) -> Any:
    if default in (None, False) or not isinstance(default, sa.DefaultClause):
        return default or None
    text = getattr(default.arg, "text", default.arg)
    return sa.DefaultClause(portable.default_of_database(str(text), type_))


# -- indexes -----------------------------------------------------------------------------------------------------------


def index_of(state: State, index: Any, table: sa.Table) -> ops.CreateIndexOp:
    """What makes the index of this table again."""
    options = {
        name: value
        for name, value in index.dialect_kwargs.items()
        if value not in (None, [], {}) and not name.endswith(("_include", "_nulls_not_distinct"))
    }
    terms = [_term(state, term, table) for term in index.expressions]
    return ops.CreateIndexOp(
        index.name, table.name, terms, schema=table.schema, unique=bool(index.unique), **options
    )


def _term(state: State, term: Any, table: sa.Table) -> Any:
    if isinstance(term, sa.Column):
        return state.names.new_column(table.name, term.name)
    if isinstance(getattr(term, "element", None), sa.Column):
        name = state.names.new_column(table.name, term.element.name)
        return sa.text(f"{state.dialect.identifier_preparer.quote(name)} DESC")
    return term


# -- constraints -------------------------------------------------------------------------------------------------------


def constraint_of(state: State, constraint: Any, table: sa.Table) -> Any:
    """What makes the constraint of this table again. One without a name gets the one that a batch calls it by."""
    if isinstance(constraint, sa.CheckConstraint):
        return ops.CreateCheckConstraintOp(
            constraint.name, table.name, constraint.sqltext, schema=table.schema
        )
    columns = [state.names.new_column(table.name, column.name) for column in constraint.columns]
    if isinstance(constraint, sa.UniqueConstraint):
        name: Any = constraint.name or conv(unique_name(table.name, columns))
        return ops.CreateUniqueConstraintOp(name, table.name, columns, schema=table.schema)
    schema, referred, referred_columns = _target(state, constraint)
    return ops.CreateForeignKeyOp(
        constraint.name or conv(foreign_key_name(table.name, columns, referred)),
        table.name,
        referred,
        columns,
        referred_columns,
        source_schema=table.schema,
        referent_schema=schema,
        **{name: value for name in _FOREIGN_KEY_OPTIONS if (value := getattr(constraint, name))},
    )


_FOREIGN_KEY_OPTIONS = ("ondelete", "onupdate", "deferrable", "initially", "match")


def _target(state: State, constraint: sa.ForeignKeyConstraint) -> tuple[str | None, str, list[str]]:
    """Schema, table and columns that a foreign key refers to, after the renames."""
    targets = [element.target_fullname.rpartition(".") for element in constraint.elements]
    schema, _, old = targets[0][0].rpartition(".")
    referred = state.names.new_table(old)
    return schema or None, referred, [state.names.new_column(referred, column) for *_rest, column in targets]


# -- tables ------------------------------------------------------------------------------------------------------------


def table_of(state: State, found: sa.Table) -> sa.Table:
    """One that goes."""
    checks = [c for c in found.constraints if isinstance(c, sa.CheckConstraint)]
    json = _json_of(str(check.sqltext) for check in checks)
    parts: list[Any] = [column_of(state, column, json=json) for column in found.columns]
    parts += [_part(state, constraint, found) for constraint in found.constraints if _is_said(constraint)]
    return sa.Table(found.name, sa.MetaData(), *parts, schema=found.schema, comment=found.comment)


def _is_said(constraint: Any) -> bool:
    if isinstance(constraint, sa.PrimaryKeyConstraint):
        return bool(constraint.columns)
    return not (isinstance(constraint, sa.CheckConstraint) and is_of_json(str(constraint.sqltext)))


def _part(state: State, constraint: Any, table: sa.Table) -> Any:
    if isinstance(constraint, sa.CheckConstraint):
        return sa.CheckConstraint(sa.text(str(constraint.sqltext)), name=constraint.name)
    columns = [column.name for column in constraint.columns]
    name: Any = constraint.name
    if isinstance(constraint, sa.PrimaryKeyConstraint):
        is_servers = state.dialect.name == "postgresql" and str(constraint.name).endswith("_pkey")
        return sa.PrimaryKeyConstraint(*columns, name=None if is_servers else name)
    if isinstance(constraint, sa.UniqueConstraint):
        return sa.UniqueConstraint(*columns, name=constraint.name or unique_name(table.name, columns))
    schema, referred, referred_columns = _target(state, constraint)
    prefix = f"{schema}." if schema else ""
    return sa.ForeignKeyConstraint(
        columns,
        [f"{prefix}{referred}.{column}" for column in referred_columns],
        name=constraint.name or conv(foreign_key_name(table.name, columns, referred)),
        ondelete=constraint.ondelete,
        onupdate=constraint.onupdate,
    )
