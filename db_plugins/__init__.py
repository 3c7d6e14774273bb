"""One model, one query, one transaction: the same on every engine.

    import db_plugins

    db = db_plugins.connect("sqlite:///stars.db", models=[Star])
    db.create_all()
    db.query(Star).insert({"name": "Vega", "mag": 0.03})
    db.query(Star).filter(Star.mag < 6).order_by("-mag").paginate(page=1)

Importing this package loads no engine, no driver and no SQLAlchemy: each name comes when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import and_, func, not_, or_

    from .async_database import AsyncDatabase, connect_async
    from .database import Database, connect
    from .engine import BulkResult, Capability, Engine, Health
    from .hookspecs import hookimpl
    from .models import Vector
    from .query import BaseQuery, CursorPage, Pagination
    from .query.awaited import AsyncBaseQuery, AsyncCursorPage, AsyncPagination
    from .watching import StatementEvent

__version__ = "5.0.0a1"

#: Where each public name lives. Errors are added from ``errors.__all__`` below.
_HOME = {
    "AsyncBaseQuery": "db_plugins.query.awaited",
    "AsyncCursorPage": "db_plugins.query.awaited",
    "AsyncDatabase": "db_plugins.async_database",
    "AsyncPagination": "db_plugins.query.awaited",
    "BaseQuery": "db_plugins.query",
    "BulkResult": "db_plugins.engine",
    "Capability": "db_plugins.engine",
    "CursorPage": "db_plugins.query",
    "Database": "db_plugins.database",
    "Engine": "db_plugins.engine",
    "Health": "db_plugins.engine",
    "Pagination": "db_plugins.query",
    "StatementEvent": "db_plugins.watching",
    "Vector": "db_plugins.models",
    "and_": "sqlalchemy",
    "connect": "db_plugins.database",
    "connect_async": "db_plugins.async_database",
    "func": "sqlalchemy",
    "hookimpl": "db_plugins.hookspecs",
    "not_": "sqlalchemy",
    "or_": "sqlalchemy",
}

__all__ = [
    "AsyncBaseQuery",
    "AsyncCursorPage",
    "AsyncDatabase",
    "AsyncPagination",
    "BaseQuery",
    "BulkResult",
    "Capability",
    "CursorPage",
    "Database",
    "Engine",
    "Health",
    "Pagination",
    "StatementEvent",
    "Vector",
    "__version__",
    "and_",
    "connect",
    "connect_async",
    "func",
    "hookimpl",
    "not_",
    "or_",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None and name.endswith("Error"):
        home = "db_plugins.errors"
    if home is None:
        raise AttributeError(f"module 'db_plugins' has no attribute {name!r}")
    found = getattr(import_module(home), name, None)
    if found is None:
        raise AttributeError(f"module 'db_plugins' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    from .errors import __all__ as errors

    return sorted({*globals(), *_HOME, *errors})
