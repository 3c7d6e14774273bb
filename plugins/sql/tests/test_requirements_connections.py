"""The requirements of seeds 003 and 004 about using a connection, by their ids: SQL of one's own in a session, the
quick reference, sessions in a pool, and the health check. Those about connecting are in ``test_requirements_async.py``, about pools in
``test_sql_pools.py``.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from seeds import SQL, Connect, Conversation, Message, SeedUser, User, connect, entry, on
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker
from sqlmodel import select

import db_plugins
from db_plugins import AsyncDatabase, Database

__all__ = ["connect", "entry"]

EVERY_SQL = (*SQL, "mariadb")
TESTS = Path(__file__).parents[3] / "tests"
Entry = dict[str, Any]


def awaited(entry: Entry | str, body: Callable[[AsyncDatabase], Awaitable[Any]], *models: type) -> Any:
    """What the body gives, with an AsyncDatabase on a loop of its own."""

    async def main() -> Any:
        async with db_plugins.connect_async(entry, models=models) as db:
            return await body(db)

    return asyncio.run(main())


# -- 003-32: SQL beside objects ----------------------------------------------------------------------------------------

NAME_OF = sa.text("SELECT name FROM users WHERE email = :email")
RENAME = sa.text("UPDATE users SET name = :name WHERE email = :email")
#: A value that would end the statement, were it written into the text.
HOSTILE = "x'; DROP TABLE users; --"
ANN = {"email": "ann@x.org"}


@on(*EVERY_SQL)
def test_text_with_parameters_is_of_the_sessions_transaction(connect: Connect) -> None:
    """003-32: it sees what was flushed, and is undone with it. Core's statements, ``tx.native`` and ``db.query`` too."""
    db = connect(SeedUser)
    with pytest.raises(ZeroDivisionError), db.session() as s:
        s.add(SeedUser(**ANN, name="ann"))
        s.flush()
        assert s.execute(NAME_OF, ANN).scalar_one() == "ann"
        s.execute(RENAME, {**ANN, "name": HOSTILE})
        assert s.execute(NAME_OF, ANN).scalar_one() == HOSTILE
        s.execute(sa.insert(SeedUser).values(email="ben@x.org", name="ben"))
        assert db.query(SeedUser).count() == 2
        raise ZeroDivisionError
    assert db.query(SeedUser).count() == 0

    with db.session() as s:
        s.add(SeedUser(**ANN, name="ann"))
        s.flush()
        s.execute(RENAME, {**ANN, "name": HOSTILE})
    assert [user.name for user in db.query(SeedUser).all()] == [HOSTILE]

    with pytest.raises(ZeroDivisionError), db.transaction() as tx:
        tx.native.execute(RENAME, {**ANN, "name": "of a transaction"})
        assert tx.query(SeedUser).one().name == "of a transaction"
        raise ZeroDivisionError
    assert db.query(SeedUser).one().name == HOSTILE


@on(*EVERY_SQL)
def test_text_that_is_awaited_is_of_the_sessions_transaction(connect: Connect, entry: Entry) -> None:
    """003-32."""
    connect(SeedUser)

    async def body(db: AsyncDatabase) -> None:
        for is_kept in (False, True):
            try:
                async with db.session() as s:
                    s.add(SeedUser(**ANN, name="ann"))
                    await s.flush()
                    await s.execute(RENAME, {**ANN, "name": HOSTILE})
                    assert (await s.execute(NAME_OF, ANN)).scalar_one() == HOSTILE
                    await s.execute(sa.insert(SeedUser).values(email="ben@x.org", name="ben"))
                    assert await db.query(SeedUser).count() == 2
                    assert is_kept or 1 / 0
            except ZeroDivisionError:
                pass
            assert await db.query(SeedUser).count() == (2 if is_kept else 0)
        with pytest.raises(ZeroDivisionError):
            async with db.transaction() as tx:
                await tx.native.execute(RENAME, {**ANN, "name": "of a transaction"})
                assert await tx.query(SeedUser).filter(name="of a transaction").exists()
                raise ZeroDivisionError
        assert await db.query(SeedUser).filter(name=HOSTILE).exists()

    awaited(entry, body, SeedUser)


# -- 004-48: the quick reference ---------------------------------------------------------------------------------------

LEVEL = {"sqlite": "SERIALIZABLE", "postgresql": "READ COMMITTED"}


def own_maker(db: Database | AsyncDatabase, session: type) -> Callable[[], Any]:
    """The seed's ``sessionmaker``, over the pool. That is in autocommit: a transaction needs an isolation level."""
    bind = db.native.execution_options(isolation_level=LEVEL[db.engine])
    makes: Any = async_sessionmaker if session is AsyncSession else sessionmaker
    made: Callable[[], Any] = makes(bind, class_=session, expire_on_commit=False)
    return made


@on(*SQL)
@pytest.mark.parametrize("way", ["db.session", "sessionmaker"])
def test_the_quick_reference(connect: Connect, way: str) -> None:
    """004-48: session, insert, select, update and delete, as they are written, without the ``await``."""
    db = connect(User, Conversation, Message)
    make = db.session if way == "db.session" else own_maker(db, Session)
    with make() as session:
        session.add(User(id=1, email="a@b.com", name="Alice"))
        session.commit()
    assert db.query(User).one().name == "Alice"

    with make() as session:
        result = session.execute(select(User).where(User.id == 1))
        user = result.scalar_one_or_none()
        assert (user.email, user.name) == ("a@b.com", "Alice")
        assert session.execute(select(User).where(User.id == 2)).scalar_one_or_none() is None

        user.name = "New Name"
        session.commit()
        assert user.name == "New Name"
        assert db.query(User).get(1).name == "New Name"

        session.delete(user)
        session.commit()
    assert db.query(User).count() == 0

    with make() as session:
        session.add(User(email="b@b.com", name="never"))
        session.rollback()
    assert db.query(User).count() == 0


@on(*SQL)
@pytest.mark.parametrize("way", ["db.session", "sessionmaker"])
def test_the_quick_reference_awaited(connect: Connect, entry: Entry, way: str) -> None:
    """004-48: the five snippets as they are written. What was committed is seen by a Database beside it."""
    beside = connect(User, Conversation, Message)

    async def body(db: AsyncDatabase) -> None:
        async_session_maker = db.session if way == "db.session" else own_maker(db, AsyncSession)
        async with async_session_maker() as session:
            session.add(User(id=1, email="a@b.com", name="Alice"))
            await session.commit()
        assert beside.query(User).one().name == "Alice"

        async with async_session_maker() as session:
            result = await session.execute(select(User).where(User.id == 1))
            user = result.scalar_one_or_none()
            assert (user.email, user.name) == ("a@b.com", "Alice")

            user.name = "New Name"
            await session.commit()
            assert user.name == "New Name"
            assert beside.query(User).one().name == "New Name"

            await session.delete(user)
            await session.commit()
        assert beside.query(User).count() == 0

        async with async_session_maker() as session:
            session.add(User(email="b@b.com", name="never"))
            await session.rollback()
        assert beside.query(User).count() == 0

    awaited(entry, body, User)


# -- 003-07, 004-04: pools of sessions, a file beside the program --------------------------------------------------------

BACKENDS = sa.text("SELECT pid FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()")
OWN_BACKEND = sa.text("SELECT pg_backend_pid() FROM pg_sleep(0.02)")


@on("postgresql")
@pytest.mark.parametrize("face", ["sync", "async"])
def test_fifty_short_sessions_share_the_pool(connect: Connect, entry: Entry, face: str) -> None:
    """003-07: ten at a time, they are served by no more backends than POOL_SIZE; and ``ping`` tells of the pool."""
    connect(SeedUser).close()
    small = {**entry, "POOL_SIZE": 3, "MAX_OVERFLOW": 0}

    def looked(served: list[int]) -> None:
        look = {**entry, "DB_NAME": "postgres"}
        with db_plugins.connect(look, models=[]) as beside, beside.native.connect() as connection:
            open_now = set(connection.scalars(BACKENDS, {"name": entry["DB_NAME"]}))
        assert len(served) == 50
        assert set(served) == open_now
        assert len(open_now) == 3

    if face == "sync":
        with db_plugins.connect(small, models=[SeedUser]) as db, ThreadPoolExecutor(10) as threads:

            def one() -> int:
                with db.session() as s:
                    return int(s.scalar(OWN_BACKEND) or 0)

            looked([each.result() for each in [threads.submit(one) for _ in range(50)]])
            assert db.ping().pool == {"size": 3, "in_use": 0}
        return

    async def body(db: AsyncDatabase) -> None:
        ten = asyncio.Semaphore(10)

        async def one() -> int:
            async with ten, db.session() as s:
                return int(await s.scalar(OWN_BACKEND) or 0)

        looked(await asyncio.gather(*(asyncio.create_task(one()) for _ in range(50))))
        assert (await db.ping()).pool == {"size": 3, "in_use": 0}

    awaited(small, body, SeedUser)


def test_the_seeds_relative_file_is_awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """004-04: with the seed's own URL, a file in the current folder; without the driver's name it is the same one."""
    monkeypatch.chdir(tmp_path)

    async def body(db: AsyncDatabase) -> int:
        await db.create_all()
        await db.query(User).insert({"email": f"{await db.query(User).count()}@x.org", "name": "ann"})
        return await db.query(User).filter(name="ann").count()

    models = (User, Conversation, Message)
    assert awaited("sqlite+aiosqlite:///./app.db", body, *models) == 1
    assert (tmp_path / "app.db").is_file()
    assert awaited("sqlite:///./app.db", body, *models) == 2


# -- 003-31: health ----------------------------------------------------------------------------------------------------

FACTS = {"ok", "name", "engine", "address", "latency_ms", "version", "models", "missing", "pool", "revision"}


def dbp(folder: Path, entry: Entry, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code of ``dbp`` with ``--json`` in a process of its own, and what it says of the only entry."""
    (folder / "pyproject.toml").touch()
    (folder / "settings.py").write_text(
        f"DB_CONFIG = {{'A': {entry!r}}}\nMODELS = ['seeds:SeedUser', 'seeds:Event']\n"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DB_", "DBP_S", "DATABASE_"))}
    done = subprocess.run(
        [sys.executable, "-m", "db_plugins", *arguments, "--json"],
        cwd=folder,
        env={**kept, "PYTHONPATH": os.pathsep.join([str(TESTS), *(p for p in sys.path if p)])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    if password := entry.get("PASSWORD"):
        assert password not in done.stdout + done.stderr
    (told,) = json.loads(done.stdout)["entries"]
    return done.returncode, told


@pytest.mark.parametrize("kind", ["postgresql", "mariadb", "mongodb"])
def test_health_of_a_server_that_is_up_and_then_stopped(kind: str, own_server: Any, tmp_path: Path) -> None:
    """003-31: without tables it is bad, with them it is ok; of a stopped server the exit code is not 0, and it is still JSON."""
    server = own_server(kind, durable=True) if kind == "mongodb" else own_server(kind)
    name, _url = server.new_database()
    entry = {**server.entry(name), "CONNECT_TIMEOUT": 2}

    code, empty = dbp(tmp_path, entry, "health")
    assert (code, empty["ok"], sorted(empty["missing"])[:2]) == (1, False, ["Event", "SeedUser"])

    assert dbp(tmp_path, entry, "initdb")[0] == 0
    code, up = dbp(tmp_path, entry, "health")
    assert (code, up["ok"]) == (0, True)
    assert set(up) >= FACTS
    assert 0 < up["latency_ms"] < 10_000
    assert up["version"][0].isdigit()
    assert sorted(up["models"]) == ["Event", "SeedUser"]
    assert up["revision"] == "initial"
    if kind != "mongodb":
        assert up["pool"]["size"] == 5

    async def ping(db: AsyncDatabase) -> Any:
        return await db.ping()

    health = awaited(entry, ping, SeedUser)
    assert (health.ok, health.version, health.revision) == (True, up["version"], "initial")

    server.stop()
    code, down = dbp(tmp_path, entry, "health")
    assert code == 1
    assert (down["ok"], down["name"]) == (False, "A")
    assert down["error"]
    assert down["hint"]


def test_health_of_a_file(tmp_path: Path) -> None:
    """003-31: of a file that is not there it is bad, and the file is not made."""
    entry = {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "deep" / "a.db")}
    code, down = dbp(tmp_path, entry, "health")
    assert (code, down["ok"], down["hint"]) == (1, False, "run `dbp initdb`")
    assert not (tmp_path / "deep").exists()
    assert dbp(tmp_path, entry, "initdb")[0] == 0
    code, up = dbp(tmp_path, entry, "health")
    assert (code, up["ok"], up["revision"]) == (0, True, "initial")
    assert set(up) >= FACTS
