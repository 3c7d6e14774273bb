"""The indexes of a table, and those that Alembic does not compare: of another direction, or of vectors."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
from alembic.operations import ops

from ... import vectors
from ..rendering import Source
from ..wanting import Names, index_on
from . import reflected
from .state import Place, State, TableChange, schema_argument

__all__ = ["add", "creation", "drop", "is_vector", "statements", "turned", "wanted"]


# -- as source ---------------------------------------------------------------------------------------------------------


def is_vector(index: Any) -> bool:
    """Can only pgvector make it?"""
    return any(vectors.is_vector(column.type) for column in index.columns)


def statements(source: Source, index: Any) -> tuple[str, str]:
    """What makes and what drops a wanted index, outside of a batch."""
    special = index.info["is_vector"]
    create = creation(source, ops.CreateIndexOp.from_index(index), is_vector=special)
    return create, removal(source, index.name, index.table, is_vector=special)


def creation(source: Source, op: ops.CreateIndexOp, *, is_vector: bool) -> str:
    text = source.operations(op)
    return text.replace("op.create_index(", "op.create_vector_index(", 1) if is_vector else text


def removal(source: Source, name: Any, table: sa.Table, *, is_vector: bool) -> str:
    if is_vector:
        return f"op.drop_vector_index({str(name)!r}, {table.name!r}{schema_argument(table.schema)})"
    return source.operations(ops.DropIndexOp(name, table.name, schema=table.schema))


# -- added and dropped -------------------------------------------------------------------------------------------------


def wanted(state: State, made: TableChange, op: ops.CreateIndexOp) -> None:
    """Add the wanted index that Alembic found to be missing."""
    index = next(index for index in made.table.indexes if index.name == op.index_name)
    has_condition = any(option.endswith("_where") for option in index.dialect_kwargs)
    if index.unique and not has_condition:
        state.guard_unique(made.table, [column.name for column in index.columns], is_up=True)
    add(made, index)


def add(made: TableChange, index: Any) -> None:
    if index.info["is_vector"]:
        up, down = statements(made.source, index)
    else:
        up = made.within(ops.CreateIndexOp.from_index(index))
        down = made.within(ops.DropIndexOp(index.name, made.table.name))
    made.add(Place.CONSTRAINT, f"add index {index.name} of {made.table.name}", up, down)


def drop(state: State, made: TableChange, op: ops.DropIndexOp) -> None:
    table = made.table
    found = op.to_index()
    again = reflected.index_of(state, found, table)
    if is_vector(found):
        up = removal(made.source, op.index_name, table, is_vector=True)
        down = creation(made.source, again, is_vector=True)
    else:
        up, down = made.within(ops.DropIndexOp(op.index_name, table.name)), made.within(again)
    made.add(Place.DROP_CONSTRAINT, f"drop index {op.index_name} of {table.name}", up, down)


# -- directions --------------------------------------------------------------------------------------------------------


def turned(state: State, old: str, table: sa.Table, found: list[Any]) -> list[Any]:
    """Alembic compares directions of indexes on PostgreSQL only: by name, for those that it says changed or not."""
    if state.dialect.name == "postgresql":
        return found
    new = {str(index.name): index for index in table.indexes if not index.info["is_vector"]}
    there = {str(index["name"]): index for index in state.inspector.get_indexes(old, schema=table.schema)}
    dropped = {op.index_name for op in found if isinstance(op, ops.DropIndexOp)}
    made = {op.index_name for op in found if isinstance(op, ops.CreateIndexOp)}
    result = list(found)
    for name in sorted(set(new) & set(there)):
        is_same = _terms(new[name], state.names, table.name) == _reflected_terms(there[name])
        if name in dropped & made and is_same:
            result = [op for op in result if not _is_of_index(op, name)]
        elif name not in dropped | made and not is_same:
            result.append(ops.DropIndexOp.from_index(_index_of(there[name], old, table.schema)))
            result.append(ops.CreateIndexOp.from_index(new[name]))
    return result


def _is_of_index(op: Any, name: str) -> bool:
    return isinstance(op, (ops.CreateIndexOp, ops.DropIndexOp)) and op.index_name == name


#: Is it descending, and its text.
_Term = tuple[bool, str]
#: Uniqueness, the terms and the condition: what makes an index what it is.
_Terms = tuple[bool, list[_Term], str]


def _terms(index: sa.Index, names: Names, table: str) -> _Terms:
    terms: list[_Term] = []
    for term in index.expressions:
        column = term if isinstance(term, sa.Column) else getattr(term, "element", None)
        if isinstance(column, sa.Column):
            terms.append((column is not term, names.old_column(table, column.name).lower()))
        else:
            text = _plain(str(term))
            terms.append((text.endswith(" desc"), text.removesuffix(" desc").removesuffix(" asc")))
    return bool(index.unique), terms, _condition(index.dialect_kwargs.get("sqlite_where"))


def _reflected_terms(found: Any) -> _Terms:
    terms = [(is_descending, _plain(text)) for is_descending, text, _is_column in _texts(found)]
    return bool(found["unique"]), terms, _condition(found.get("dialect_options", {}).get("sqlite_where"))


def _texts(found: Any) -> list[tuple[bool, str, bool]]:
    """Of each term of a reflected index: is it descending, its text, is it a column?"""
    sorting = found.get("column_sorting", {})
    texts = [
        found["expressions"][n] if name is None else name for n, name in enumerate(found["column_names"])
    ]
    are_columns = [name is not None for name in found["column_names"]]
    return [
        ("desc" in sorting.get(t, ()), t, is_column) for t, is_column in zip(texts, are_columns, strict=True)
    ]


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().lower()


def _condition(where: Any) -> str:
    return "" if where is None else re.sub(r"[\s()\"`]+", "", str(where)).lower()


def _index_of(found: Any, table: str, schema: str | None) -> sa.Index:
    made = sa.Table(table, sa.MetaData(), schema=schema)
    terms: list[Any] = []
    for is_descending, text, is_column in _texts(found):
        if not is_column:
            terms.append(sa.text(f"{text} DESC" if is_descending else text))
            continue
        if text not in made.c:
            made.append_column(sa.Column(text, sa.Integer))
        terms.append(made.c[text].desc() if is_descending else made.c[text])
    options = {k: v for k, v in found.get("dialect_options", {}).items() if v is not None}
    return index_on(made, found["name"], terms, unique=bool(found["unique"]), **options)
