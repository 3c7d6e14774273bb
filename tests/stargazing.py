"""The stars of the tests of ``db_plugins.fastapi``, and an application over them."""

# No "from __future__ import annotations": FastAPI reads the annotations of endpoints made inside functions.

import datetime as dt
import enum
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db_plugins import AsyncDatabase, Database
from db_plugins.fastapi import add_error_handlers, database, get_async_db, get_db
from db_plugins.models import schemas

__all__ = [
    "MEMORY",
    "AsyncDb",
    "Band",
    "Base",
    "Db",
    "Planet",
    "Star",
    "StarCreate",
    "StarRead",
    "call",
    "fill",
    "make_app",
    "sqlite",
]


class Base(DeclarativeBase):
    pass


class Band(enum.Enum):
    VISIBLE = "V"
    RED = "R"


class Star(Base):
    __tablename__ = "stars"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40), unique=True)
    mag: Mapped[float | None]
    band: Mapped[Band] = mapped_column(default=Band.VISIBLE)
    variable: Mapped[bool] = mapped_column(default=False)
    parallax: Mapped[Decimal | None] = mapped_column(sa.Numeric(8, 3))
    seen: Mapped[dt.datetime | None] = mapped_column(sa.DateTime(timezone=True))
    night: Mapped[dt.date | None]
    catalogue: Mapped[uuid.UUID | None]
    notes: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON)


class Planet(Base):
    __tablename__ = "planets"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


StarCreate, StarUpdate, StarRead = schemas(Star)
MEMORY = {"ENGINE": "memory"}
Db = Annotated[Database, Depends(get_db)]
AsyncDb = Annotated[AsyncDatabase, Depends(get_async_db)]


@pytest.fixture
def sqlite(tmp_path: Path) -> dict[str, Any]:
    return {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "stars.db")}


def make_app(entry: Any = MEMORY, **options: Any) -> FastAPI:
    app = FastAPI(lifespan=database(entry, models=[Star], create_all=True, **options))
    add_error_handlers(app)
    return app


def fill(db: Database, n: int = 25) -> None:
    db.create_all()
    db.query(Star).bulk_insert({"name": f"s{i:02}", "mag": float(i)} for i in range(n))


def call(path: str, app: FastAPI, **options: Any) -> httpx.Response:
    """GET, in an application that is started and stopped for it."""
    with TestClient(app, raise_server_exceptions=False) as client:
        return client.get(path, **options)
