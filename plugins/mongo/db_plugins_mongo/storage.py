"""Collections, indexes and validators: what ``create`` and ``drop`` make of models. ``indexes_of`` is pure.

A unique constraint is a unique index that leaves NULLs out, as SQL's does: partial, on its nullable fields
being there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import CollectionInvalid, OperationFailure
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import UnaryExpression

from db_plugins.models import Field, Kind, ModelInfo

from .codec import path_of
from .migrations.options import extra_indexes, index_options

__all__ = ["existing_collections", "indexes_of", "link_index", "make_collection", "report_untranslated"]

log = logging.getLogger("db_plugins")

NAMESPACE_EXISTS = 48


def indexes_of(info: ModelInfo) -> list[IndexModel]:
    """The indexes that a model's collection needs beside the one of ``_id``."""
    found: dict[str, IndexModel] = {}
    for unique in info.uniques:
        if unique.fields == info.key and len(info.key) == 1:
            continue
        keys = [(path_of(info, f), ASCENDING) for f in unique.fields]
        name = unique.name or f"uq_{info.store}_{'_'.join(f.column for f in unique.fields)}"
        found[name] = _unique_index(name, keys, [path_of(info, f) for f in unique.fields if f.nullable])
    for index in info.table.indexes:
        plain = _plain_keys(info, index)
        options = index_options(info.name, index)
        name = str(index.name)
        if plain and (options or (not index.unique and plain != [("_id", ASCENDING)])):
            found[name] = _with_options(info, index, plain, options)
    for name, keys, options in extra_indexes(info.name, info.table):
        found[name] = IndexModel(keys, name=name, **options)
    return list(found.values())


def _with_options(
    info: ModelInfo, index: sa.Index, keys: list[tuple[str, int]], options: dict[str, Any]
) -> IndexModel:
    """The index with what its ``info`` says for MongoDB; a unique one leaves NULLs out all the same."""
    if index.unique and options.get("unique", True) and not options.get("sparse"):
        paths = dict(keys)
        nullable = [path_of(info, f) for f in info.fields if f.nullable and path_of(info, f) in paths]
        partial = {
            **{path: {"$exists": True} for path in nullable},
            **options.get("partialFilterExpression", {}),
        }
        options = {**options, **({"partialFilterExpression": partial} if partial else {})}
    return IndexModel(
        keys, name=str(index.name), **({"unique": True} if index.unique else {}), **_but_unique(options)
    )


def _but_unique(options: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in options.items() if k != "unique"}


def _unique_index(name: str, keys: list[tuple[str, int]], nullable: Sequence[str]) -> IndexModel:
    if not nullable:
        return IndexModel(keys, name=name, unique=True)
    return IndexModel(
        keys, name=name, unique=True, partialFilterExpression={path: {"$exists": True} for path in nullable}
    )


def link_index(table: sa.Table) -> list[IndexModel]:
    """The unique index of an association table: its key, or else all of its columns."""
    columns = [c.name for c in (table.primary_key.columns or table.columns)]
    return [IndexModel([(c, ASCENDING) for c in columns], name=f"pk_{table.name}", unique=True)]


def _plain_keys(info: ModelInfo, index: sa.Index) -> list[tuple[str, int]]:
    """The index's fields and directions; empty if it holds an expression, or a vector, that MongoDB cannot index."""
    keys = []
    for expression in index.expressions:
        direction = ASCENDING
        while isinstance(expression, UnaryExpression):
            if expression.modifier is operators.desc_op:
                direction = DESCENDING
            expression = expression.element
        field: Field | None = info.by_column.get(getattr(expression, "name", ""))
        if field is None or not isinstance(expression, sa.Column) or field.kind is Kind.VECTOR:
            return []
        keys.append((path_of(info, field), direction))
    return keys


def report_untranslated(info: ModelInfo) -> None:
    """Name in the log what the model asks of a SQL server and MongoDB will not do."""
    for what in _untranslated(info):
        log.warning("%s: MongoDB does not enforce %s", info.name, what)


def _untranslated(info: ModelInfo) -> Iterator[str]:
    for constraint in info.table.constraints:
        # The constraints that Enum and Boolean columns bring along are checked by the core.
        if isinstance(constraint, sa.CheckConstraint) and not getattr(constraint, "_type_bound", False):
            yield f"the CheckConstraint {str(constraint.name or constraint.sqltext)!r}"
    known = {unique.name for unique in info.uniques}
    for index in info.table.indexes:
        if {column.name for column in index.columns} - info.by_column.keys():
            continue  # of a subclass's own column, which makes it
        said = "mongodb" in index.info
        if not _plain_keys(info, index) or (index.unique and not said and str(index.name) not in known):
            yield f"the index {str(index.name)!r}, which has a condition, an expression or a vector"


def existing_collections(database: Any) -> set[str]:
    """The collections that are there, without the server's own."""
    return {name for name in database.list_collection_names() if not name.startswith("system.")}


def make_collection(
    database: Any,
    name: str,
    there: set[str],
    indexes: Sequence[IndexModel],
    validator: Mapping[str, Any] | None = None,
) -> None:
    """Make the collection with its validator, and its indexes, where they are missing.

    A collection that is there keeps the validator it has, or has not: that is a migration's to change.
    """
    if name not in there:
        try:
            database.create_collection(name, **({"validator": dict(validator)} if validator else {}))
        except CollectionInvalid:
            pass  # another program was faster
        except OperationFailure as exc:
            if exc.code != NAMESPACE_EXISTS:
                raise
    if indexes:
        database[name].create_indexes(list(indexes))


def missing_roles(hello: Mapping[str, Any]) -> tuple[str, ...]:
    """What this very server lacks of what the engine claims, as ``CAPABILITY: reason``."""
    if has_transactions(hello):
        return ()
    return ("TRANSACTIONS: the server is in no replica set; start it with --replSet and run rs.initiate()",)


def has_transactions(hello: Mapping[str, Any]) -> bool:
    """Can this server run transactions? Only members of a replica set and routers of a cluster can."""
    return "setName" in hello or hello.get("msg") == "isdbgrid"
