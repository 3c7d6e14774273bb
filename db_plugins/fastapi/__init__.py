"""FastAPI over a Database: what opens it, what hands it to endpoints, and what its pages and errors are over HTTP.

    app = FastAPI(lifespan=database("SQL"))            lifespans.py     opened at start-up, closed at shutdown
    db: Annotated[Database, Depends(get_db)]           dependencies.py  and get_async_db, get_session, get_async_session, db_for
    add_error_handlers(app)                            handlers.py      NotFoundError is a 404, DuplicateKeyError a 409, …
    -> Page[StarRead], CursorPage[StarRead]            pages.py         what ``paginate`` gives, as response models
    params = page_params(Star, sort=…, filters=…)      parameters.py    ?page=2&sort=-mag&band=V, bounded and from a list
    app.include_router(health_router)                  health.py        GET /health

Nothing of the core imports this.
"""

from __future__ import annotations

from .requirement import check_fastapi

check_fastapi()

from .dependencies import (  # noqa: E402
    db_for,
    get_async_db,
    get_async_session,
    get_databases,
    get_db,
    get_session,
)
from .handlers import ErrorBody, add_error_handlers  # noqa: E402
from .health import DatabaseHealth, HealthReport, health_router  # noqa: E402
from .lifespans import Databases, Lifespan, database  # noqa: E402
from .pages import CursorPage, Page  # noqa: E402
from .parameters import CursorParams, PageParams, page_params  # noqa: E402

__all__ = [
    "CursorPage",
    "CursorParams",
    "DatabaseHealth",
    "Databases",
    "ErrorBody",
    "HealthReport",
    "Lifespan",
    "Page",
    "PageParams",
    "add_error_handlers",
    "database",
    "db_for",
    "get_async_db",
    "get_async_session",
    "get_databases",
    "get_db",
    "get_session",
    "health_router",
    "page_params",
]
