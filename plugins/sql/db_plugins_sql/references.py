"""Which foreign key a server's error is about: its table and constraint, found again among those of the models.

PostgreSQL   table_name and constraint_name: the child's, whether it names no parent or its parent is to go
MariaDB      the child's table, the constraint and its columns, in the message; the errno says which of the two it is
SQLite       one foreign key that an insert can break is that; else nothing, and the core looks
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from db_plugins.errors import ForeignKeyError
from db_plugins.references import (
    Reference,
    names_no_parent,
    references_of,
    referrers_of,
    still_referred,
)

from .naming import foreign_key_name

if TYPE_CHECKING:
    from .errors import Context

__all__ = ["broken_reference", "told_by_postgresql"]

#: MariaDB's errors of rows that are still referred to; the others are of rows that refer to none.
STILL_REFERRED = {1217, 1451}


@dataclass(frozen=True)
class _Named:
    """What an error says of the constraint: of which table it is, its name and columns as far as they are known."""

    table: str
    name: str | None
    columns: tuple[str, ...] = ()


def broken_reference(
    orig: BaseException, context: Context
) -> Callable[[str, BaseException], ForeignKeyError] | None:
    """Makes the error that names the foreign key, for an engine's name and the driver's exception; ``None`` if it
    cannot be told."""
    model = context.model
    if model is None:
        return None
    if getattr(orig, "sqlite_errorname", None) is not None:
        own = references_of(model)
        by_key = all(set(r.keys) == set(r.parent.key) for r in referrers_of(model))  # which no update changes
        is_sure = len(own) == 1 and by_key and not context.deleting
        return _making(names_no_parent, own[0]) if is_sure else None
    named = _of_postgresql(orig) or _of_mariadb(orig)
    if named is None:
        return None
    if named.table != model.table.name or context.deleting or _errno(orig) in STILL_REFERRED:
        known = [r for r in referrers_of(model) if r.child.table.name == named.table]
        return _making(still_referred, _chosen(known, named))
    return _making(names_no_parent, _chosen(references_of(model), named))


def _making(
    make: Callable[[Reference, str, BaseException], ForeignKeyError], reference: Reference | None
) -> Callable[[str, BaseException], ForeignKeyError] | None:
    return None if reference is None else lambda engine, orig: make(reference, engine, orig)


def _chosen(known: Sequence[Reference], named: _Named) -> Reference | None:
    for reference in known:
        columns = tuple(f.column for f in reference.fields)
        # PostgreSQL names an unnamed constraint after its columns, and numbers what is there already.
        given = re.escape(f"{named.table}_{'_'.join(columns)}_fkey")
        if (
            (named.columns and columns == named.columns)
            or (reference.name is not None and reference.name == named.name)
            or named.name == foreign_key_name(named.table, columns, reference.parent.table.name)
            or (named.name is not None and re.fullmatch(rf"{given}\d*", named.name))
        ):
            return reference
    return known[0] if len(known) == 1 else None


def told_by_postgresql(orig: Any) -> Any:
    """What holds ``table_name``, ``column_name``, ``constraint_name`` of a server's error: libpq's ``diag``, or asyncpg's
    exception itself, which is the cause of what SQLAlchemy's adapter raises; else ``None``."""
    diag = getattr(orig, "diag", None)
    if diag is not None:
        return diag
    return next((each for each in (orig, orig.__cause__) if hasattr(each, "constraint_name")), None)


def _of_postgresql(orig: Any) -> _Named | None:
    told = told_by_postgresql(orig)
    return None if told is None or not told.table_name else _Named(told.table_name, told.constraint_name)


def _of_mariadb(orig: BaseException) -> _Named | None:
    text = str(orig.args[1]) if len(orig.args) > 1 else ""
    match = re.search(r"\((?:`[^`]+`\.)?`([^`]+)`, CONSTRAINT `([^`]+)` FOREIGN KEY \(([^)]+)\)", text)
    if match is None:
        return None
    return _Named(match[1], match[2], tuple(c.strip(" `") for c in match[3].split(",")))


def _errno(orig: BaseException) -> Any:
    return orig.args[0] if orig.args else None
