"""Names of constraints that a model gives none: every engine gets the same one, so that a migration can drop it by name.

The names are those of ``db_plugins.models.Base``; a constraint that has a name keeps it, and primary keys and indexes
(which SQLAlchemy names) are left as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from db_plugins.models.mixins import NAMES

__all__ = ["CONVENTION", "foreign_key_name", "unique_name"]

#: For ``MetaData(naming_convention=…)``.
CONVENTION: Final[dict[str, Any]] = {
    "ix": "ix_%(column_0_label)s",
    **{kind: NAMES[kind] for kind in ("uq", "ck", "fk", "digest")},
}


def unique_name(table: str, columns: Sequence[str]) -> str:
    """Of a unique constraint."""
    return f"uq_{table}_{'_'.join(columns)}"


def foreign_key_name(table: str, columns: Sequence[str], referred: str) -> str:
    """Of a foreign key."""
    return f"fk_{table}_{'_'.join(columns)}_{referred}"
