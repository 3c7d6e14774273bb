"""Migrations: one history of revisions for every engine, the same words as ``dbp``.

    make_migrations(db)   write a revision for what differs between models and database
    migrate(db)           apply revisions, or undo them, under a lock
    downgrade(db)         undo the last one
    initdb(db)            make what the models need, with a first revision
    check(db) · history(db) · current(db) · heads(db)    look; change nothing
    stamp(db, revision) · merge(db)

Each takes a Database; ``folder`` says where its revisions are, if not in ``migrations/<entry>`` or where its MIGRATIONS
says. Alembic is loaded when one of them is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .applying import Run, downgrade, migrate, sql, stamp
    from .making import Initialised, Made, initdb, make_migrations, merge
    from .seam import (
        Change,
        Difference,
        Holder,
        Interrupted,
        LockRequest,
        Migration,
        Rename,
        Step,
        SupportsMigrations,
        Wanted,
    )
    from .status import Checked, Current, Revision, check, current, heads, history

_WHERE = {
    "applying": ("Run", "downgrade", "migrate", "sql", "stamp"),
    "making": ("Initialised", "Made", "initdb", "make_migrations", "merge"),
    "seam": (
        "Change",
        "Difference",
        "Holder",
        "Interrupted",
        "LockRequest",
        "Migration",
        "Rename",
        "Step",
        "SupportsMigrations",
        "Wanted",
    ),
    "status": ("Checked", "Current", "Revision", "check", "current", "heads", "history"),
}
_MODULES = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "Change",
    "Checked",
    "Current",
    "Difference",
    "Holder",
    "Initialised",
    "Interrupted",
    "LockRequest",
    "Made",
    "Migration",
    "Rename",
    "Revision",
    "Run",
    "Step",
    "SupportsMigrations",
    "Wanted",
    "check",
    "current",
    "downgrade",
    "heads",
    "history",
    "initdb",
    "make_migrations",
    "merge",
    "migrate",
    "sql",
    "stamp",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
