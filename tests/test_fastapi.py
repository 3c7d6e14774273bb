"""``db_plugins.fastapi``: what opens databases, hands them to endpoints and tells their health, over HTTP.

Rows of the requirements are in ``test_requirements_web.py``; here is what they do not ask for. Pages and errors have files of
their own.
"""

# No "from __future__ import annotations": FastAPI reads the annotations of endpoints made inside functions.

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import fastapi
import httpx
import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Mapped, mapped_column
from stargazing import MEMORY, AsyncDb, Base, Db, Star, call, make_app, sqlite

from db_plugins import AsyncDatabase, Database, errors
from db_plugins.errors import ConfigError, EngineNotFoundError, ServerUnreachableError
from db_plugins.fastapi import database, db_for, health_router
from db_plugins.fastapi.requirement import check_fastapi

__all__ = ["sqlite"]


# -- lifespans --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True])
def test_each_start_opens_anew_in_its_own_loop(sqlite: dict[str, Any], asynchronous: bool) -> None:
    app, seen = make_app(sqlite), []

    @app.get("/sync")
    def count(db: Db) -> int:
        seen.append(db)
        db.query(Star).insert({"name": f"s{len(seen)}"})
        return db.query(Star).count()

    @app.get("/async")
    async def count_async(db: AsyncDb) -> int:
        seen.append(db)
        await db.query(Star).insert({"name": f"s{len(seen)}"})
        return await db.query(Star).count()

    path = "/async" if asynchronous else "/sync"
    counts = [call(path, app).json() for _ in range(3)]
    assert counts == [1, 2, 3]
    assert len({id(each) for each in seen}) == 3
    assert not hasattr(app.state, "db_plugins")


def test_connections_are_given_back_at_shutdown(sqlite: dict[str, Any]) -> None:
    app, opened, closed = make_app(sqlite), [], []

    @app.get("/")
    async def both(db: Db, async_db: AsyncDb) -> int:
        for engine in (db.native, async_db.native):
            sa.event.listen(engine.pool, "connect", lambda *_about: opened.append(1))
            sa.event.listen(engine.pool, "close", lambda *_about: closed.append(1))
        return len((await async_db.query(Star).all()) + db.query(Star).all())

    with TestClient(app) as client:
        assert client.get("/").json() == 0
        assert opened
        assert not closed
    assert len(closed) >= len(opened)  # create_all had opened one before anybody listened


def test_several_databases_are_found_by_name(sqlite: dict[str, Any]) -> None:
    settings = {"DB_CONFIG": {"main": MEMORY, "Archive": sqlite}, "MODELS": [Star]}
    app = FastAPI(lifespan=database("main", "Archive", settings=settings, create_all=True))

    @app.get("/")
    async def names(
        db: Db,
        archive: Annotated[Database, Depends(db_for("archive"))],
        awaited: Annotated[AsyncDatabase, Depends(db_for("archive", asynchronous=True))],
    ) -> list[str]:
        archive.query(Star).insert({"name": "Vega"})
        return [db.name, archive.name, awaited.name, str(await awaited.query(Star).count())]

    @app.get("/none")
    def none(db: Annotated[Database, Depends(db_for("arhcive"))]) -> None: ...

    with TestClient(app) as client:
        assert client.get("/").json() == ["main", "Archive", "Archive", "1"]
        with pytest.raises(ConfigError, match="no database 'arhcive' is open here; did you mean 'Archive'"):
            client.get("/none")
    assert db_for("archive") is db_for("archive")


def test_lifespans_compose_and_hand_on_state() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def mine(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        db = app.state.db_plugins.db()
        db.query(Star).insert({"name": "Vega"})
        yield {"motto": "per aspera"}
        events.append(f"{db.query(Star).count()} at the end")

    both = database(MEMORY, name="one", models=[Star], create_all=True)
    app = FastAPI(
        lifespan=database(
            MEMORY, name="one", models=[Star], create_all=True, then=database(MEMORY, name="two", then=mine)
        )
    )

    @app.get("/")
    def read(request: fastapi.Request, db: Db, two: Annotated[Database, Depends(db_for("two"))]) -> list[Any]:
        return [request.state.motto, db.query(Star).count(), db is two, list(request.state.db_plugins)]

    assert call("/", app).json() == ["per aspera", 1, False, ["one", "two"]]
    assert events == ["1 at the end"]
    with (
        pytest.raises(ConfigError, match="two databases of this application have the name 'one'"),
        TestClient(FastAPI(lifespan=database(MEMORY, name="one", then=both))),
    ):
        pass
    with pytest.raises(ConfigError, match="name='x'"):
        database("a", "b", name="x")


def test_mounted_applications_use_the_databases_of_the_whole() -> None:
    app, part = make_app(), FastAPI()
    app.mount("/part", part)

    @part.get("/")
    def count(db: Db) -> int:
        return db.query(Star).count()

    assert call("/part/", app).json() == 0


class Wrong(Base):
    __tablename__ = "wrong"
    id: Mapped[int] = mapped_column(primary_key=True)
    parts: Mapped[list[int]] = mapped_column(sa.ARRAY(sa.Integer))  # which memory cannot hold


@pytest.mark.parametrize(
    ("lifespan", "error"),
    [
        (database({"ENGINE": "memory", "HOTS": "x"}), ConfigError),
        (database("nowhere", settings={"DB_CONFIG": {"main": MEMORY}}), ConfigError),
        (database({"ENGINE": "memroy"}), EngineNotFoundError),
        (database(MEMORY, models=["no.such.module"]), ConfigError),
        (database(MEMORY, models=[Wrong]), errors.UnsupportedError),
    ],
)
def test_what_is_misconfigured_fails_at_startup(lifespan: Any, error: type[Exception]) -> None:
    with pytest.raises(error), TestClient(FastAPI(lifespan=lifespan)):
        pass


def test_the_first_database_is_closed_when_the_second_cannot_be_opened(sqlite: dict[str, Any]) -> None:
    app = FastAPI()
    lifespan = database(sqlite, name="a", models=[Star], create_all=True, then=database({"ENGINE": "memroy"}))

    async def start() -> None:
        async with lifespan(app):
            raise AssertionError("it started")

    with pytest.raises(EngineNotFoundError):
        asyncio.run(start())
    assert not hasattr(app.state, "db_plugins")


def test_without_a_lifespan_the_error_names_what_is_missing() -> None:
    app = FastAPI()

    @app.get("/")
    def read(db: Db) -> None: ...

    with pytest.raises(
        ConfigError, match=r"no database is open .* FastAPI\(lifespan=db_plugins.fastapi.database"
    ):
        TestClient(app).get("/")
    # Nor where there is one, and the test client did not enter it.
    with pytest.raises(ConfigError, match="with TestClient"):
        TestClient(_reading(make_app())).get("/")


def _reading(app: FastAPI) -> FastAPI:
    @app.get("/")
    def read(db: Db) -> int:
        return db.query(Star).count()

    return app


def test_a_transport_that_hands_on_no_state_finds_them_too() -> None:
    app = _reading(make_app())

    async def run() -> httpx.Response:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
        ):
            return await client.get("/")

    assert asyncio.run(run()).json() == 0


# -- health -----------------------------------------------------------------------------------------------------------


def _healthy(*lifespan: Any, **options: Any) -> FastAPI:
    app = FastAPI(lifespan=database(*lifespan, **options))
    app.include_router(health_router)
    return app


def test_health_tells_what_ping_finds(sqlite: dict[str, Any]) -> None:
    settings = {"DB_CONFIG": {"main": MEMORY, "other": sqlite}, "MODELS": [Star]}
    answer = call("/health", _healthy("main", "other", settings=settings, create_all=True))
    body = answer.json()
    assert (answer.status_code, body["ok"], set(body["databases"])) == (200, True, {"main", "other"})
    other = body["databases"]["other"]
    assert (other["ok"], other["engine"], other["models"], other["error"]) == (True, "sqlite", ["Star"], None)
    assert other["latency"] > 0
    assert set(other["pool"]) == {"size", "in_use"}


def test_health_is_503_where_models_are_missing_or_nobody_answers() -> None:
    answer = call("/health", _healthy(MEMORY, models=[Star]))
    assert (answer.status_code, answer.json()["ok"]) == (503, False)
    assert answer.json()["databases"]["default"]["missing"] == ["Star"]

    unreachable = {
        "ENGINE": "postgresql", "HOST": "127.0.0.1", "PORT": 1, "USER": "ann", "PASSWORD": "hunter2",
        "DB_NAME": "stars", "CONNECT_TIMEOUT": 2,
    }  # fmt: skip
    answer = call("/health", _healthy(unreachable, models=[Star]))
    found = answer.json()["databases"]["default"]
    assert (answer.status_code, found["ok"], found["error"]) == (503, False, ServerUnreachableError.__name__)
    for secret in ("hunter2", "ann", "127.0.0.1"):
        assert secret not in answer.text


def test_health_asks_by_the_connections_that_there_are(sqlite: dict[str, Any]) -> None:
    app = _healthy(sqlite, models=[Star], create_all=False)

    @app.get("/")
    async def use(db: AsyncDb) -> None:
        await db.create_all()

    async def run() -> bool:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
        ):
            await client.get("/")
            assert (await client.get("/health")).status_code == 200
            return app.state.db_plugins["default"].db._connection is None

    assert asyncio.run(run()), "a second pool was opened"


def test_health_falls_back_to_the_driver_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_self: Database) -> None:
        raise ConfigError("no driver", hint="pip install one")

    app = _healthy(MEMORY, models=[Star])
    monkeypatch.setattr(Database, "ping", missing)
    answer = call("/health", app)
    assert (answer.status_code, answer.json()["databases"]["default"]["error"]) == (503, "ConfigError")
    monkeypatch.undo()
    found = {"asked": 0}

    async def awaited(_self: AsyncDatabase) -> Any:
        found["asked"] += 1
        raise ConfigError("no greenlet")

    monkeypatch.setattr(Database, "ping", missing)
    monkeypatch.setattr(AsyncDatabase, "ping", awaited)
    assert call("/health", app).status_code == 503
    assert found["asked"] == 1


# -- what is installed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "usable"), [("0.110.0", True), ("0.117.1", True), ("0.118.0", False), ("0.120.4", False)]
)
def test_a_fastapi_that_would_lose_failing_commits_is_refused(
    monkeypatch: pytest.MonkeyPatch, version: str, usable: bool
) -> None:
    def depends_of_old(dependency: Any = None, *, use_cache: bool = True) -> Any: ...

    monkeypatch.setattr(fastapi, "__version__", version)
    monkeypatch.setattr(fastapi, "Depends", depends_of_old)
    if usable:
        check_fastapi()
    else:
        with pytest.raises(ConfigError, match="a failing commit would be lost"):
            check_fastapi()


def test_the_core_imports_nothing_of_it() -> None:
    code = "import db_plugins, db_plugins.testing.memory, db_plugins.async_database, db_plugins.query, sys\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {
        name for name in loaded.split() if name.startswith(("fastapi", "starlette", "db_plugins.fastapi"))
    }
