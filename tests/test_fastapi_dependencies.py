"""``db_plugins.fastapi``: Databases and Sessions as dependencies, and how a Session ends with its request."""

# No "from __future__ import annotations": FastAPI reads the annotations of endpoints made inside functions.

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import fastapi
import httpx
import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI, HTTPException, WebSocket
from fastapi.testclient import TestClient
from seeds import connect, entry, on
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from stargazing import AsyncDb, Db, Star, StarCreate, make_app, sqlite

import db_plugins
from db_plugins import AsyncDatabase, Database, DuplicateKeyError, errors
from db_plugins.fastapi import db_for, get_async_db, get_async_session, get_db, get_session

__all__ = ["connect", "entry", "sqlite"]


def test_a_test_can_put_its_own_database_in_their_place(sqlite: dict[str, Any]) -> None:
    app = FastAPI()  # no lifespan at all

    @app.post("/sync")
    def add(session: Annotated[Session, Depends(get_session)], db: Db) -> int:
        session.add(Star(name="Vega"))
        session.flush()
        return db.query(Star).count()

    @app.post("/async")
    async def add_async(session: Annotated[AsyncSession, Depends(get_async_session)], db: AsyncDb) -> int:
        session.add(Star(name="Deneb"))
        return await db.query(Star).count()

    async def another() -> AsyncIterator[AsyncDatabase]:
        async with db_plugins.connect_async(sqlite, models=[Star]) as async_db:
            yield async_db

    with db_plugins.connect(sqlite, models=[Star]) as db:
        db.create_all()
        app.dependency_overrides[get_db] = lambda: db
        app.dependency_overrides[get_async_db] = another
        with TestClient(app) as client:
            assert client.post("/sync").json() == 0  # the session is a transaction of its own
            assert client.post("/async").json() == 2  # these calls join it
        assert {star.name for star in db.query(Star).all()} == {"Vega", "Deneb"}
        app.dependency_overrides = {db_for("x"): lambda: db}

        @app.get("/x")
        def named(x: Annotated[Database, Depends(db_for("x"))]) -> bool:
            return x is db

        assert TestClient(app).get("/x").json() is True


@pytest.fixture
def db_config(sqlite: dict[str, Any]) -> dict[str, Any]:
    return sqlite


@pytest.fixture
def db_models() -> list[type]:
    return [Star]


def test_the_fixtures_of_tests_can_take_their_place(db: Database, async_db: AsyncDatabase) -> None:
    app = FastAPI()
    app.dependency_overrides = {get_db: lambda: db, get_async_db: lambda: async_db}

    @app.post("/sync")
    def add(session: Annotated[Session, Depends(get_session)], db: Db) -> int:
        session.add(Star(name="Vega"))
        return db.query(Star).count()

    @app.post("/async")
    async def add_async(session: Annotated[AsyncSession, Depends(get_async_session)], db: AsyncDb) -> int:
        session.add(Star(name="Deneb"))
        return await db.query(Star).count()

    client = TestClient(app)
    assert [client.post(path).json() for path in ("/sync", "/async")] == [0, 1]
    assert db.query(Star).one().name == "Vega"

    async def awaited() -> list[str]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            with pytest.raises(DuplicateKeyError):  # of the name: the row of the other loop is there
                await client.post("/async")
        return [star.name for star in await async_db.query(Star).all()]

    assert asyncio.run(awaited()) == ["Deneb"]


def _sessions_app(entry: Any) -> FastAPI:
    """Each path twice: with a plain endpoint and a Session, and with an async one and an AsyncSession."""
    app = make_app(entry)

    @app.post("/{end}/sync")
    def add(end: str, body: StarCreate, session: Annotated[Session, Depends(get_session)]) -> dict[str, bool]:
        session.add(Star(**body.model_dump(exclude_unset=True)))
        _end(end)
        return {"answered": True}

    @app.post("/{end}/async")
    async def add_async(
        end: str, body: StarCreate, session: Annotated[AsyncSession, Depends(get_async_session)]
    ) -> dict[str, bool]:
        session.add(Star(**body.model_dump(exclude_unset=True)))
        if end == "slow":
            await session.flush()
            await asyncio.sleep(30)
        _end(end)
        return {"answered": True}

    return app


def _end(end: str) -> None:
    if end == "refuse":
        raise HTTPException(418, "no")
    if end == "fail":
        raise RuntimeError("no")


@pytest.mark.parametrize("face", ["sync", "async"])
def test_a_session_is_committed_unless_the_endpoint_raised(sqlite: dict[str, Any], face: str) -> None:
    with TestClient(_sessions_app(sqlite), raise_server_exceptions=False) as client:
        statuses = [
            client.post(f"/{end}/{face}", json={"name": end}).status_code for end in ("ok", "refuse", "fail")
        ]
    assert statuses == [200, 418, 500]
    with db_plugins.connect(sqlite, models=[Star]) as db:
        assert [star.name for star in db.query(Star).all()] == ["ok"]


@pytest.mark.parametrize("face", ["sync", "async"])
def test_a_commit_that_fails_is_the_answer(sqlite: dict[str, Any], face: str) -> None:
    """Its flush comes with the commit, after the endpoint has returned: FastAPI would have sent a 200 by then."""
    with TestClient(_sessions_app(sqlite)) as client:
        answers = [client.post(f"/ok/{face}", json={"name": "Vega"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 409]
    assert answers[1].json()["attributes"] == ["name"]


def test_a_cancelled_request_leaves_nothing_behind(sqlite: dict[str, Any]) -> None:
    app = _sessions_app(sqlite)

    async def run() -> tuple[int, int]:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
        ):
            calling = asyncio.create_task(client.post("/slow/async", json={"name": "Vega"}))
            await asyncio.sleep(0.3)
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
            db = app.state.db_plugins.async_db()
            return db.native.pool.checkedout(), await db.query(Star).count()

    assert asyncio.run(run()) == (0, 0)


def test_a_session_in_a_background_task_has_ended(sqlite: dict[str, Any]) -> None:
    """The answer is sent after the commit, and what runs after the answer has no session."""
    app, raised = make_app(sqlite), []

    @app.post("/")
    def add(tasks: fastapi.BackgroundTasks, session: Annotated[Session, Depends(get_session)]) -> None:
        def later() -> None:
            try:
                session.scalars(sa.select(Star)).all()
            except errors.UnsupportedOperationError as error:
                raised.append(error.fact)

        tasks.add_task(later)

    with TestClient(app) as client:
        assert client.post("/").status_code == 200
    assert raised == ["this session has ended"]


def test_more_requests_than_connections_wait_for_each_other(sqlite: dict[str, Any]) -> None:
    """As many as FastAPI has threads must not hold all threads, waiting for connections that nobody can give back."""
    app = make_app({**sqlite, "POOL_SIZE": 1, "MAX_OVERFLOW": 1, "POOL_TIMEOUT": 20})

    @app.get("/")
    def count(session: Annotated[Session, Depends(get_session)]) -> int:
        return len(session.scalars(sa.select(Star)).all())

    assert [answer.status_code for answer in together(app, ["/"] * 120)] == [200] * 120


@on("postgresql", "mariadb")  # not SQLite, whose sessions wait for each other anyway
@pytest.mark.usefixtures("connect")
def test_calls_without_a_session_always_find_a_connection(entry: dict[str, Any]) -> None:
    """Else they would hold all threads, and no session could end."""
    app = make_app({**entry, "POOL_SIZE": 1, "MAX_OVERFLOW": 1, "POOL_TIMEOUT": 20})

    @app.get("/session")
    def slow(session: Annotated[Session, Depends(get_session)]) -> int:
        found = session.scalars(sa.select(Star)).all()
        time.sleep(0.5)  # until the calls have all other threads
        return len(found)

    @app.get("/call")
    def count(db: Db) -> int:
        return db.query(Star).count()

    answers = together(app, ["/session"] * 2, ["/call"] * 80)
    assert [answer.status_code for answer in answers] == [200] * 82


def together(app: FastAPI, *paths: list[str]) -> list[httpx.Response]:
    """GET them all at once; each further list a moment later."""

    async def run() -> list[httpx.Response]:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
        ):
            calls: list[Any] = []
            for each in paths:
                calls += [asyncio.create_task(client.get(path)) for path in each]
                await asyncio.sleep(0.2)
            return await asyncio.gather(*calls)

    return asyncio.run(asyncio.wait_for(run(), 60))


def test_a_request_that_gets_no_turn_is_told_so(sqlite: dict[str, Any]) -> None:
    app = make_app({**sqlite, "POOL_SIZE": 1, "MAX_OVERFLOW": 1, "POOL_TIMEOUT": 0.2})

    @app.get("/")
    async def slow(session: Annotated[Session, Depends(get_session)]) -> None:
        await asyncio.sleep(1)

    answers = together(app, ["/"] * 3)
    assert sorted(answer.status_code for answer in answers) == [200, 503, 503]
    assert {answer.headers.get("Retry-After") for answer in answers} == {None, "1"}


def test_sessions_on_an_engine_without_them_are_refused() -> None:
    app = make_app()

    @app.get("/")
    def read(session: Annotated[Session, Depends(get_session)]) -> None: ...

    @app.get("/async")
    async def read_async(session: Annotated[AsyncSession, Depends(get_async_session)]) -> None: ...

    with TestClient(app) as client:
        assert [client.get(path).status_code for path in ("/", "/async")] == [501, 501]


def test_a_websocket_has_the_databases_too() -> None:
    app = make_app()

    @app.websocket("/ws")
    async def talk(socket: WebSocket, db: AsyncDb) -> None:
        await socket.accept()
        await db.query(Star).insert({"name": await socket.receive_text()})
        await socket.send_json(await db.query(Star).count())

    with TestClient(app) as client, client.websocket_connect("/ws") as socket:
        socket.send_text("Vega")
        assert socket.receive_json() == 1
