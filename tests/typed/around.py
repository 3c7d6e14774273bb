"""What stands around a program: FastAPI's dependencies and pages, fixtures of pytest, and a plugin."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, assert_type

import pytest
from fastapi import Depends, FastAPI
from sqlalchemy.orm import Session

from db_plugins import AsyncDatabase, AsyncPagination, Database, Engine, Pagination, hookimpl
from db_plugins.fastapi import (
    CursorParams,
    Databases,
    Page,
    PageParams,
    add_error_handlers,
    database,
    db_for,
    get_async_db,
    get_db,
    get_session,
    health_router,
    page_params,
)
from db_plugins.sqlmodel import MetadataMixin
from db_plugins.testing import MemoryEngine, PluginConformance

from .models import Star

app = FastAPI(lifespan=database("sqlite://", models=[Star]))
app.include_router(health_router)
add_error_handlers(app)
add_error_handlers("app")  # type: ignore[arg-type]
db_for(7)  # type: ignore[call-overload]
assert_type(db_for("archive"), Callable[[Databases], Awaitable[Database]])
assert_type(db_for("archive", asynchronous=True), Callable[[Databases], Awaitable[AsyncDatabase]])
Params = Annotated[PageParams, Depends(page_params(sort=[Star.mag], filters=["name"]))]


@app.get("/stars", response_model=Page[dict[str, str]])
def stars(db: Annotated[Database, Depends(get_db)], params: Params) -> Pagination[Star]:
    assert_type(params.apply(db.query(Star)).all(), list[Star])
    return params.paginate(db.query(Star))


@app.get("/awaited")
async def awaited(
    db: Annotated[AsyncDatabase, Depends(get_async_db)], params: Params
) -> AsyncPagination[Star]:
    return await params.paginate(db.query(Star))


@app.get("/session")
def session(session: Annotated[Session, Depends(get_session)], params: CursorParams) -> None:
    session.add(Star(name="Vega"))


@pytest.fixture
def db_models() -> list[type]:
    return [Star]


def test_with_the_fixture(db: Database) -> None:
    assert_type(db.query(Star).all(), list[Star])


async def test_with_the_other(async_db: AsyncDatabase) -> None:
    assert_type(await async_db.query(Star).all(), list[Star])


@hookimpl
def dbp_register_engine() -> type[Engine]:
    return MemoryEngine


class TestMine(PluginConformance):
    engine = "mine"


class Timed(MetadataMixin, table=True):
    name: str


assert_type(Timed(name="Vega").created_at.year, int)
