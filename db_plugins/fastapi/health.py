"""``health_router``: ``GET /health`` tells what ``ping()`` finds at each database of the lifespan.

200 if all are ok, 503 if one cannot be reached or lacks models. An error is told by its class: no address, no user.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from ..errors import DbPluginsError
from .dependencies import get_databases
from .lifespans import Databases, Opened

__all__ = ["DatabaseHealth", "HealthReport", "health_router"]


class DatabaseHealth(BaseModel):
    """What ``ping()`` found, and ``error``, the class of what it raised. ``latency`` is in seconds."""

    ok: bool
    engine: str | None = None
    latency: float | None = None
    version: str | None = None
    models: list[str] = []
    missing: list[str] = []
    pool: dict[str, int] | None = None
    revision: str | None = None
    error: str | None = None


class HealthReport(BaseModel):
    """``ok`` if every database is."""

    ok: bool
    databases: dict[str, DatabaseHealth]


#: ``app.include_router(health_router)``; its path and dependencies are given there: ``prefix="/internal"``.
health_router = APIRouter(tags=["health"])


@health_router.get("/health", responses={503: {"model": HealthReport, "description": "One is not ok."}})
async def health(databases: Annotated[Databases, Depends(get_databases)], response: Response) -> HealthReport:
    """Are the databases of this application there, with their models?"""
    found = await asyncio.gather(*(_ask(opened) for opened in databases.values()))
    report = HealthReport(
        ok=all(each.ok for each in found), databases=dict(zip(databases, found, strict=True))
    )
    response.status_code = 200 if report.ok else 503
    return report


async def _ask(opened: Opened) -> DatabaseHealth:
    try:
        health = await opened.run("ping")
    except DbPluginsError as error:
        return DatabaseHealth(ok=False, error=type(error).__name__)
    return DatabaseHealth(
        ok=health.ok,
        engine=opened.db.engine,
        latency=health.latency,
        version=health.version,
        models=list(health.models),
        missing=list(health.missing),
        pool=dict(health.pool) if health.pool is not None else None,
        revision=health.revision,
    )
