"""pgvector: its operators for ``nearest``, and its extension for ``create_all``.

An index on the column serves ``ORDER BY column <=> vector LIMIT k`` and nothing more: with one term too many, or fewer rows
found than asked for, it cannot answer. So the question is asked in that form first, and a second time in a form that no
index serves, and that is exact, only where the first answer cannot be the whole one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from db_plugins.errors import UnsupportedError
from db_plugins.models import Field, Vector
from db_plugins.spec import Order, QuerySpec

from .compiler import Words
from .errors import codes_of

__all__ = [
    "has_vectors",
    "is_vector",
    "make_extension",
    "nearest_rows",
    "nearest_statement",
    "vector_indexes",
]

Row = tuple[Any, ...]

#: Metric → pgvector's operator, whose value is less for what is nearer.
OPERATORS = {"cosine": "<=>", "l2": "<->", "inner_product": "<#>"}
#: pgvector calculates in 32 bits: lengths whose squares leave them are left to the core.
_LEAST, _GREATEST = 1e-15, 1e15
_INSUFFICIENT_PRIVILEGE = "42501"


def nearest_statement(
    words: Words, spec: QuerySpec, column: Field, vector: Sequence[float], k: int, metric: str, *, exact: bool
) -> sa.Select[Any]:
    """The rows and, as the last column, their distance. Unless ``exact`` in the form that an index serves."""
    found = words.column(column)
    target = sa.literal(list(vector), column.sql_type)
    distance = found.op(OPERATORS[metric], return_type=sa.Float())(target)
    statement = words.select(spec).add_columns(distance.label("distance"))
    if metric == "cosine":
        statement = statement.where(sa.func.vector_norm(found, type_=sa.Float()) > 0)
    if not exact:
        return statement.order_by(distance).limit(k)
    by_key = words.order(tuple(Order(f) for f in spec.model.key))
    return statement.order_by(distance + sa.literal_column("0", sa.Float), *by_key).limit(k)


def nearest_rows(
    connection: sa.Connection,
    words: Words,
    spec: QuerySpec,
    column: Field,
    vector: Sequence[float],
    k: int,
    metric: str,
) -> list[Row] | None:
    """The ``k`` nearest rows, or ``None`` where 32 bits are not enough to tell."""
    if not _LEAST < math.hypot(*vector) < _GREATEST and any(vector):
        return None

    def ask(k: int, *, exact: bool) -> list[Row]:
        statement = nearest_statement(words, spec, column, vector, k, metric, exact=exact)
        return [tuple(row) for row in connection.execute(statement)]

    # One row more than asked for says whether the last one is as far as others, of which the key must choose.
    rows = ask(k + 1, exact=False)
    if len(rows) <= k or rows[k - 1][-1] == rows[k][-1]:
        rows = ask(k, exact=True)
    if not all(math.isfinite(row[-1]) for row in rows):
        return None
    return [row[:-1] for row in rows[:k]]


# -- what create_all makes ---------------------------------------------------------------------------------------------


def has_vectors(table: sa.Table) -> bool:
    """Has it a column of pgvector's type?"""
    return any(is_vector(column.type) for column in table.columns)


def is_vector(type_: Any) -> bool:
    """pgvector's type, ours or that of pgvector's own package?"""
    return isinstance(type_, Vector) or type(type_).__module__.startswith("pgvector")


def vector_indexes(table: sa.Table) -> list[sa.Index]:
    """The indexes that only pgvector can make."""
    return [index for index in table.indexes if any(is_vector(column.type) for column in index.columns)]


def make_extension(connection: sa.Connection) -> None:
    """Make the extension unless its type is there. Raises UnsupportedError, which says what is in the way."""
    if _is_there(connection):
        return
    available = sa.text("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'")
    if not connection.execute(available).scalar():
        raise UnsupportedError(
            "a Vector needs the extension pgvector, and this PostgreSQL server does not have it",
            hint="install it on the server (https://github.com/pgvector/pgvector, package postgresql-NN-pgvector)",
        )
    try:
        connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS vector"))
    except sa_exc.DBAPIError as exc:
        if exc.orig is None or _INSUFFICIENT_PRIVILEGE not in codes_of(exc.orig):
            raise
        raise UnsupportedError(
            "a Vector needs the extension pgvector, and this user may not make it",
            hint="let a superuser run CREATE EXTENSION vector in this database",
        ) from exc
    if not _is_there(connection):
        raise UnsupportedError(
            "the extension pgvector is in a schema that is not on the search path",
            hint="let its owner run ALTER EXTENSION vector SET SCHEMA …, with the schema of the entry",
        )


def _is_there(connection: sa.Connection) -> bool:
    return connection.execute(sa.text("SELECT to_regtype('vector')::text")).scalar() is not None
