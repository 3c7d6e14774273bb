"""The requirements of seeds 001, 003 and 004 about web applications, by their ids, over HTTP on every engine.

001-20, one application on several databases, is in ``test_example_api.py``.
"""

# No "from __future__ import annotations": FastAPI reads the annotations of endpoints made inside functions.

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import httpx
import pytest
import sqlalchemy as sa
import sqlmodel
from fastapi import Depends, FastAPI, HTTPException
from fastapi.testclient import TestClient
from seeds import (
    ALL,
    User,
    UserBase,
    UserCreate,
    UserRead,
    connect,
    entry,
    now,
    on,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, registry

import db_plugins
from db_plugins import AsyncDatabase, Database
from db_plugins.errors import MultipleResultsError
from db_plugins.fastapi import (
    Page,
    PageParams,
    add_error_handlers,
    database,
    get_async_db,
    get_async_session,
    get_db,
    get_session,
    page_params,
)

__all__ = ["connect", "entry"]

SESSIONS = ("sqlite", "postgresql", "mariadb")
Db = Annotated[Database, Depends(get_db)]
AsyncDb = Annotated[AsyncDatabase, Depends(get_async_db)]
Entry = dict[str, Any]


class WebModel(sqlmodel.SQLModel, registry=registry()):
    """The base of these models: their own registry and metadata."""

    metadata = sa.MetaData()


class Account(WebModel, table=True):
    """004's user with lengths, which MariaDB needs for what is unique."""

    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    email: str = sqlmodel.Field(index=True, unique=True, max_length=80)
    name: str = sqlmodel.Field(max_length=80)
    created_at: Any = sqlmodel.Field(default_factory=now, sa_type=sa.DateTime(timezone=True))


class Shield(WebModel, table=True):
    """003's model."""

    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    name: str
    defense_rating: int = sqlmodel.Field(default=10)


def make_app(entry: Entry, *models: type, **options: Any) -> FastAPI:
    app = FastAPI(lifespan=database({**entry, **options}, models=models, create_all=True))
    add_error_handlers(app)
    return app


def account(n: Any) -> dict[str, Any]:
    return {"email": f"{n}@x.org", "name": f"{n}"}


# -- 001 ---------------------------------------------------------------------------------------------------------------


@on("sqlite", "postgresql", "mariadb", "mongodb")
@pytest.mark.usefixtures("connect")
def test_tables_are_made_at_start_and_rows_are_kept(entry: Entry) -> None:
    """001-17: made when the application starts; a second start makes nothing and keeps the rows."""
    app = make_app(entry, Account)

    @app.post("/accounts")
    def add(db: Db) -> int:
        db.query(Account).insert(account(db.query(Account).count()))
        return db.query(Account).count()

    counts = []
    for _start in range(2):
        with TestClient(app) as client:
            counts.append(client.post("/accounts").json())
    assert counts == [1, 2]


@on(*SESSIONS)
@pytest.mark.usefixtures("connect")
def test_sessions_of_failing_requests_are_given_back(entry: Entry) -> None:
    """001-18: after 100 requests, 50 of which failed, no connection is checked out, and 50 rows are there."""
    app = make_app(entry, Account)

    @app.post("/accounts/{n}")
    def add(n: int, session: Annotated[Session, Depends(get_session)]) -> dict[str, int]:
        session.add(Account(**account(n)))
        session.flush()
        if n % 2:
            raise HTTPException(400) if n % 4 == 1 else RuntimeError("no")
        return {"n": n}

    with TestClient(app, raise_server_exceptions=False) as client:
        statuses = [client.post(f"/accounts/{n}").status_code for n in range(100)]
        db = app.state.db_plugins.db()
        assert db.native.pool.checkedout() == 0
        assert db.query(Account).count() == 50
    assert [statuses.count(status) for status in (200, 400, 500)] == [50, 25, 25]


@on(*ALL)
@pytest.mark.usefixtures("connect")
def test_any_worker_thread_has_the_database(entry: Entry) -> None:
    """001-19: POST and GET by 20 threads at once; every row is there, by a session where the engine has them."""
    app = make_app(entry, Account)

    @app.post("/accounts/{n}")
    def add(n: int, db: Db) -> int:
        stored = db.query(Account).insert(account(n))
        assert stored.id is not None
        return stored.id

    @app.post("/session/{n}")
    def add_in_session(n: int, session: Annotated[Session, Depends(get_session)]) -> int:
        stored = Account(**account(n))
        session.add(stored)
        session.flush()
        assert stored.id is not None
        return stored.id

    @app.get("/accounts/{id_}")
    def one(id_: int, db: Db) -> str:
        found = db.query(Account).get(id_)
        assert found is not None
        return found.name

    path = "session" if entry["ENGINE"] in SESSIONS else "accounts"
    with TestClient(app) as client, ThreadPoolExecutor(20) as threads:

        def post_and_get(n: int) -> bool:
            made = client.post(f"/{path}/{n}")
            return bool(client.get(f"/accounts/{made.json()}").json() == str(n))

        assert all(threads.map(post_and_get, range(60)))
        assert app.state.db_plugins.db().query(Account).count() == 60


# -- 003 ---------------------------------------------------------------------------------------------------------------


@on(*ALL)
@pytest.mark.usefixtures("connect")
def test_an_async_endpoint_stores_while_the_loop_goes_on(entry: Entry) -> None:
    """003-17: POST /shields in an async endpoint answers 200 with the id, and other tasks of the loop go on."""
    app = make_app(entry, Shield)

    @app.post("/shields")
    async def create(body: dict[str, Any], db: AsyncDb) -> dict[str, Any]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        await db.create_all()  # memory keeps rows of its own for each face
        made = [await db.query(Shield).insert(body) for _ in range(5)]
        await asyncio.sleep(0)
        ticking.cancel()
        return {"id": made[0].id, "name": made[0].name, "ticks": ticks}

    with TestClient(app) as client:
        answer = client.post("/shields", json={"name": "aegis"})
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["name"]) == (1, "aegis")
    assert answer.json()["ticks"] > 0, "the loop stood still"


# -- 004 ---------------------------------------------------------------------------------------------------------------


@on(*ALL)
@pytest.mark.usefixtures("connect")
def test_create_all_is_awaited_and_can_be_repeated(entry: Entry) -> None:
    """004-15: twice, with a row in between that stays."""

    async def run() -> int:
        async with db_plugins.connect_async(entry, models=[Account]) as db:
            await db.create_all()
            await db.query(Account).insert(account("ann"))
            await db.create_all()
            return await db.query(Account).count()

    assert asyncio.run(run()) == 1


def served(app: FastAPI, talk: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    """What the talk gives, with the application started in this loop, and its tasks to be cancelled."""

    async def run() -> Any:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://test"
            ) as client,
        ):
            return await talk(client)

    return asyncio.run(asyncio.wait_for(run(), 60))


@on(*SESSIONS)
@pytest.mark.usefixtures("connect")
@pytest.mark.parametrize("face", ["sync", "async"])
def test_each_of_fifty_requests_at_once_has_its_own_session(entry: Entry, face: str) -> None:
    """004-16: 50 concurrent calls, of which some fail and some are cancelled; nothing is checked out, and what is stored
    is what was answered."""
    app = make_app(entry, Account)
    seen: set[int] = set()
    alive: list[Any] = []  # so that no id is used twice

    @app.post("/sync/{n}")
    def add(n: int, session: Annotated[Session, Depends(get_session)]) -> int:
        seen.add(id(session))
        alive.append(session)
        session.add(Account(**account(n)))
        session.flush()
        if n % 5 == 1:
            raise RuntimeError("no")
        return n

    @app.post("/async/{n}")
    async def add_async(n: int, session: Annotated[AsyncSession, Depends(get_async_session)]) -> int:
        seen.add(id(session))
        alive.append(session)
        session.add(Account(**account(n)))
        await session.flush()
        if n % 5 == 1:
            raise RuntimeError("no")
        if n % 5 == 2:
            await asyncio.sleep(30)
        return n

    async def talk(client: httpx.AsyncClient) -> tuple[list[Any], int, list[str]]:
        calls = [asyncio.create_task(client.post(f"/{face}/{n}")) for n in range(50)]
        if face == "async":
            await asyncio.wait([call for n, call in enumerate(calls) if n % 5 not in (2,)], timeout=3)
        for n, call in enumerate(calls):
            if n % 5 == 2:
                call.cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        databases = app.state.db_plugins
        while databases.db().native.pool.checkedout():  # noqa: ASYNC110 - a thread ends it, and no event tells
            await asyncio.sleep(0.01)
        out = databases.async_db().native.pool.checkedout() if face == "async" else 0
        rows = await databases.async_db().query(Account).all()
        return answers, out, [row.name for row in rows]

    answers, out, names = served(app, talk)
    assert out == 0
    answered = {
        str(n) for n, a in enumerate(answers) if not isinstance(a, BaseException) and a.status_code == 200
    }
    cancelled = {str(n) for n, a in enumerate(answers) if isinstance(a, asyncio.CancelledError)}
    assert len(answered) >= 30 - (0 if face == "sync" else 20)
    assert answered <= set(names)
    # Of a cancelled request the caller cannot know; of a failed one nothing is there.
    assert set(names) <= answered | (cancelled if face == "sync" else set())
    assert len(seen) == len(alive)


@on("sqlite", "postgresql", "mongodb", "memory", "mongomock")
@pytest.mark.usefixtures("connect")
def test_a_user_is_created_and_answered_with_what_was_filled_in(entry: Entry) -> None:
    """004-17: POST /users answers with id and created_at; by a session too, after commit and refresh."""
    app = make_app(entry, User)

    @app.post("/users", response_model=UserRead, status_code=201)
    async def create(body: UserCreate, db: AsyncDb) -> Any:
        return await db.query(User).insert({"email": body.email, "name": body.name, "hashed_password": "…"})

    @app.post("/session", response_model=UserRead, status_code=201)
    async def create_in_session(
        body: UserCreate, session: Annotated[AsyncSession, Depends(get_async_session)]
    ) -> Any:
        user = User(email=body.email, name=body.name, hashed_password="…")
        session.add(user)
        await session.commit()
        await session.refresh(user)
        return user

    with TestClient(app) as client:
        for path in ("/users", "/session") if entry["ENGINE"] in SESSIONS else ("/users",):
            body = {"email": f"{path[1:]}@x.org", "name": "Ann", "password": "secret"}
            answer = client.post(path, json=body)
            assert answer.status_code == 201
            assert set(answer.json()) == {"id", "email", "name", "created_at"}
            assert answer.json()["id"] >= 1
            assert answer.json()["created_at"]


@on("sqlite", "postgresql", "mongodb", "memory", "mongomock")
@pytest.mark.usefixtures("connect")
def test_get_by_id_is_one_or_none_and_many_are_an_error(entry: Entry) -> None:
    """004-18: a user, or 404; where several match, an error and not the first of them."""
    app = make_app(entry, User)

    @app.get("/users/{id_}", response_model=UserBase)
    def one(id_: int, db: Db) -> Any:
        user = db.query(User).get(id_)
        if user is None:
            raise HTTPException(404, "no such user")
        return user

    @app.get("/named/{name}", response_model=UserBase)
    def named(name: str, db: Db) -> Any:
        return db.query(User).filter(name=name).one()

    with TestClient(app) as client:
        db = app.state.db_plugins.db()
        for n in range(3):
            db.query(User).insert(User(email=f"{n}@x.org", name="Ann" if n else "Ben"))
        ben = db.query(User).filter(name="Ben").one()
        assert client.get(f"/users/{ben.id}").json() == {"email": "0@x.org", "name": "Ben"}
        assert client.get("/users/4711").status_code == 404
        assert client.get("/named/Ben").status_code == 200
        assert client.get("/named/Cleo").status_code == 404
        assert client.get("/named/Ann").json()["type"] == MultipleResultsError.__name__


@on("sqlite", "postgresql", "mongodb", "memory", "mongomock")
@pytest.mark.usefixtures("connect")
def test_users_are_listed_and_paged(entry: Entry) -> None:
    """004-19: a filter gives a list. 004-20: offset and limit, by default 0 and 10; 25 rows are pages of 10, 10 and 5
    without one in common."""
    app = make_app(entry, User)

    @app.get("/users", response_model=list[UserRead])
    def users(db: Db, offset: int = 0, limit: int = 10) -> Any:
        found = db.query(User).filter(is_active=True).offset(offset).limit(limit).all()
        assert isinstance(found, list)
        return found

    @app.get("/pages", response_model=Page[UserRead])
    def pages(db: Db, params: Annotated[PageParams, Depends(page_params(User, filters=["name"]))]) -> Any:
        return params.paginate(db.query(User))

    with TestClient(app) as client:
        db = app.state.db_plugins.db()
        db.query(User).bulk_insert({"email": f"{n}@x.org", "name": f"{n % 2}"} for n in range(25))
        first = client.get("/users").json()
        assert isinstance(first, list)
        parts = [first, *(client.get("/users", params={"offset": o}).json() for o in (10, 20))]
        assert [len(part) for part in parts] == [10, 10, 5]
        assert len({each["id"] for part in parts for each in part}) == 25
        paged = [client.get("/pages", params={"page": n}).json() for n in (1, 2, 3)]
        assert [len(page["items"]) for page in paged] == [10, 10, 5]
        assert [page["items"] for page in paged] == parts
        assert client.get("/pages", params={"name": "1"}).json()["total"] == 12
