"""The requirements of seeds 001, 003 and 004 about connecting, pools and the asynchronous face, by their ids.

Where a row and the contract disagree, the contract holds, and the docstring says so. Pools are in ``test_sql_pools.py``.
"""

# No "from __future__ import annotations": SQLModel reads annotations when the class is made.

import asyncio
import datetime as dt
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from seeds import SQL, Connect, Event, SeedUser, User, connect, entry, on
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

import db_plugins
from db_plugins import AsyncDatabase, errors
from db_plugins.models import Base, MetadataMixin
from db_plugins.testing.kit.ticking import Ticker

__all__ = ["connect", "entry"]

EVERY_SQL = (*SQL, "mariadb")


class Local(DeclarativeBase):
    pass


class Paper(Local):
    __tablename__ = "paper"
    id: Mapped[int] = mapped_column(primary_key=True)
    facts: Mapped[Any] = mapped_column(JSONB)
    tags: Mapped[Any] = mapped_column(ARRAY(sa.String(20)))


class Note(MetadataMixin, Base):
    __tablename__ = "async_requirements_note"
    text: Mapped[str] = mapped_column(sa.String(40))


def awaited(entry: Any, body: Callable[[AsyncDatabase], Awaitable[Any]], *models: type) -> Any:
    """What the body gives, with an AsyncDatabase on a loop of its own."""

    async def main() -> Any:
        async with db_plugins.connect_async(entry, models=models) as db:
            await db.create_all()
            return await body(db)

    return asyncio.run(main())


def run(program: str, *arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own."""
    paths = os.pathsep.join(p for p in [variables.pop("FIRST", ""), *sys.path] if p)
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": paths, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


# -- 001: connecting -------------------------------------------------------------------------------------------------


def test_a_database_in_memory_is_one_for_the_process() -> None:
    """001-02: the tables that one thread made are there in another, of both faces."""
    memory = {"ENGINE": "sqlite", "DB_NAME": ":memory:"}
    with db_plugins.connect(memory, models=[SeedUser]) as db, ThreadPoolExecutor(1) as threads:
        db.create_all()
        assert threads.submit(lambda: db.query(SeedUser).count()).result() == 0

    async def body(db: AsyncDatabase) -> list[int]:
        await db.query(SeedUser).insert({"email": "a@b"})
        return await asyncio.gather(*(asyncio.create_task(count(db)) for _ in range(10)))

    async def count(db: AsyncDatabase) -> int:
        return await db.query(SeedUser).count()

    assert awaited(memory, body, SeedUser) == [1] * 10


def test_options_reach_the_driver_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    """001-03: ``connect_args`` is OPTIONS, ASYNC_OPTIONS for the asynchronous driver."""
    file = {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "a.db")}
    given = {**file, "OPTIONS": {"timeout": 1}, "ASYNC_OPTIONS": {"timeout": 2}}
    pragma = sa.text("PRAGMA busy_timeout")
    with db_plugins.connect(given, models=[SeedUser]) as db, db.session() as s:
        assert s.scalar(pragma) == 1000

    async def ask(db: AsyncDatabase) -> Any:
        async with db.session() as s:
            return await s.scalar(pragma)

    assert awaited(given, ask, SeedUser) == 2000
    wrong = {**file, "OPTIONS": {"tiemout": 1}, "ASYNC_OPTIONS": {"tiemout": 1}}
    with (
        pytest.raises(errors.ConfigError, match="tiemout"),
        db_plugins.connect(wrong, models=[SeedUser]) as db,
    ):
        db.create_all()
    with pytest.raises(errors.ConfigError, match="tiemout"):
        awaited(wrong, ask, SeedUser)


ECHOING = """
import asyncio, sys, db_plugins
from seeds import SeedUser
entry = {"ENGINE": "sqlite", "DB_NAME": "a.db", "ECHO": sys.argv[1] == "echo"}
with db_plugins.connect(entry, models=[SeedUser]) as db:
    db.create_all()
    db.query(SeedUser).filter(name="secret value").count()
async def main():
    async with db_plugins.connect_async(entry, models=[SeedUser]) as db:
        await db.query(SeedUser).filter(name="secret value").count()
if sys.argv[2] == "async":
    asyncio.run(main())
"""


def test_echo_logs_every_statement_to_standard_error(tmp_path: Path) -> None:
    """001-04: with ECHO, and nothing without; what the program prints stays its own."""
    loud, louder, quiet = (
        run(ECHOING, *words, cwd=tmp_path) for words in (("echo", "sync"), ("echo", "async"), ("no", "async"))
    )
    assert (loud.returncode, louder.returncode, quiet.returncode) == (0, 0, 0), louder.stderr
    assert loud.stderr.count("count(*)") == 1
    assert louder.stderr.count("count(*)") == 2, "of the asynchronous face too"
    assert loud.stdout + louder.stdout + quiet.stdout + quiet.stderr == ""
    assert "secret value" not in louder.stderr


LEVEL = {"sqlite": "SERIALIZABLE", "postgresql": "READ COMMITTED", "mariadb": "READ COMMITTED"}


@on(*EVERY_SQL)
def test_a_sessionmaker_of_ones_own_takes_native(connect: Connect, entry: dict[str, Any]) -> None:
    """001-05: its options are accepted, and a query does not flush. The pool is in autocommit: who wants transactions of
    their own says an isolation level."""
    db = connect(SeedUser)
    bind = db.native.execution_options(isolation_level=LEVEL[db.engine])
    with sessionmaker(autocommit=False, autoflush=False, bind=bind)() as s:
        s.add(SeedUser(email="a@b"))
        assert s.scalars(sa.select(SeedUser)).all() == []
        s.flush()
        assert len(s.scalars(sa.select(SeedUser)).all()) == 1
        s.rollback()
    assert db.query(SeedUser).count() == 0

    async def body(db: AsyncDatabase) -> None:
        bind = db.native.execution_options(isolation_level=LEVEL[db.engine])
        async with async_sessionmaker(bind=bind, autoflush=False)() as s:
            s.add(SeedUser(email="a@b"))
            assert (await s.scalars(sa.select(SeedUser))).all() == []
            await s.flush()
            assert len((await s.scalars(sa.select(SeedUser))).all()) == 1
            await s.rollback()
        assert await db.query(SeedUser).count() == 0

    awaited(entry, body, SeedUser)


# -- 003: PostgreSQL -------------------------------------------------------------------------------------------------


def address(entry: dict[str, Any], scheme: str, query: str = "", *, port: bool = True) -> str:
    """The entry as a URL."""
    url = sa.URL.create(
        scheme,
        username=entry["USER"],
        password=entry["PASSWORD"],
        host=entry["HOST"],
        port=entry["PORT"] if port else None,
        database=entry["DB_NAME"],
    )
    return url.render_as_string(hide_password=False) + query


async def insert_and_read(db: AsyncDatabase) -> list[str]:
    await db.query(SeedUser).insert({"email": "a@b", "name": "ann"})
    return [user.name for user in await db.query(SeedUser).all()]


@on("postgresql")
def test_postgres_is_a_scheme_too(connect: Connect, entry: dict[str, Any]) -> None:
    """003-06: plain SQLAlchemy has no such module."""
    with db_plugins.connect(address(entry, "postgres"), models=[SeedUser, Event]) as db:
        db.create_all()
        db.query(SeedUser).insert({"email": "x@y"})
        assert db.query(SeedUser).count() == 1
        db.query(SeedUser).delete(force=True)
    assert awaited(address(entry, "postgres"), insert_and_read, SeedUser) == ["ann"]


@on("postgresql")
def test_jsonb_and_arrays_are_stored_and_asked(connect: Connect, entry: dict[str, Any]) -> None:
    """003-08: by ``contains`` and ``any`` of PostgreSQL's own, which are native conditions here."""
    papers = connect(Paper).query(Paper)
    papers.insert({"id": 1, "facts": {"kind": "star", "n": 1}, "tags": ["a", "b"]})
    papers.insert({"id": 2, "facts": {"kind": "dust"}, "tags": ["c"]})
    holding = papers.filter_native(Paper.__table__.c.facts.contains({"kind": "star"}))
    assert [p.id for p in holding.all()] == [1]
    tagged = papers.filter_native(sa.any_(Paper.__table__.c.tags) == "c")
    assert [(p.id, p.tags) for p in tagged.all()] == [(2, ["c"])]
    assert papers.filter(Paper.facts["kind"].as_string() == "star").one().id == 1

    async def body(db: AsyncDatabase) -> list[int]:
        found = await db.query(Paper).filter_native(Paper.__table__.c.facts.contains({"n": 1})).all()
        return [p.id for p in found]

    assert awaited(entry, body, Paper) == [1]


@on("sqlite")
def test_jsonb_and_arrays_off_postgresql_are_refused_by_name(connect: Connect) -> None:
    """003-08: the column is named, and it is no bare CompileError."""
    with pytest.raises(errors.DbPluginsError, match=r"facts|tags"):
        connect(Paper)


WRITER = """
import json, sys, db_plugins
from seeds import SeedUser
entry, me, rows = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with db_plugins.connect(entry, models=[SeedUser]) as db:
    for n in range(rows):
        db.query(SeedUser).insert({"email": f"{me}-{n}@x.org", "name": me})
"""


def writers(entry: dict[str, Any], cwd: Path, processes: int, rows: int) -> list[str]:
    """What processes complained of that inserted so many rows each, at the same time."""
    import json

    with ThreadPoolExecutor(processes) as threads:
        done = threads.map(
            lambda n: run(WRITER, json.dumps(entry), f"p{n}", str(rows), cwd=cwd), range(processes)
        )
        return [each.stderr for each in done]


@on(*SQL)
def test_eight_processes_lose_nothing(connect: Connect, entry: dict[str, Any], tmp_path: Path) -> None:
    """003-09: 8 × 50 inserts are 400 rows; on SQLite writers wait, and no "database is locked" is seen."""
    db = connect(SeedUser)
    assert writers(entry, tmp_path, 8, 50) == [""] * 8
    assert db.query(SeedUser).count() == 400


@on(*SQL)
def test_another_process_sees_what_was_committed(
    connect: Connect, entry: dict[str, Any], tmp_path: Path
) -> None:
    """003-10: another process sees committed rows. 003-11: a session that has read sees those of others after its commit."""
    db = connect(SeedUser)
    with db.session(commit=False) as s:
        assert s.scalar(sa.select(sa.func.count()).select_from(SeedUser)) == 0
        s.commit()
        assert writers(entry, tmp_path, 1, 3) == [""]
        assert s.scalar(sa.select(sa.func.count()).select_from(SeedUser)) == 3
        s.rollback()
    assert db.query(SeedUser).count() == 3

    async def body(db: AsyncDatabase) -> tuple[int, int]:
        before = await db.query(SeedUser).count()
        await asyncio.to_thread(lambda: run_named(entry, tmp_path))
        return before, await db.query(SeedUser).count()

    assert awaited(entry, body, SeedUser) == (3, 4)


def run_named(entry: dict[str, Any], tmp_path: Path) -> None:
    import json

    assert run(WRITER, json.dumps(entry), "other", "1", cwd=tmp_path).stderr == ""


# -- 004: the asynchronous engine ------------------------------------------------------------------------------------


def test_a_url_of_aiosqlite_is_awaited(tmp_path: Path) -> None:
    """004-04."""
    assert awaited(f"sqlite+aiosqlite:///{tmp_path}/app.db", insert_and_read, SeedUser) == ["ann"]


@on("postgresql")
def test_a_url_of_asyncpg_is_awaited(connect: Connect, entry: dict[str, Any]) -> None:
    """004-05: without a port it is 5432."""
    assert awaited(address(entry, "postgresql+asyncpg"), insert_and_read, SeedUser) == ["ann"]
    assert db_plugins.connect_async("postgresql+asyncpg://u@h/d")._database._engine.where == "postgresql at h"  # type: ignore[attr-defined]
    refused = "postgresql+asyncpg://u@127.0.0.1/d"
    with pytest.raises(errors.ConnectionFailedError) as met:
        awaited({"URL": refused, "CONNECT_TIMEOUT": 2}, insert_and_read, SeedUser)
    assert "5432" in str(met.value.__cause__)


@on("sqlite", "postgresql")
def test_one_entry_serves_both_faces(connect: Connect, entry: dict[str, Any]) -> None:
    """004-06: the asynchronous driver follows from it, and libpq's words are translated."""
    db = connect(SeedUser, Event)
    assert awaited(entry, insert_and_read, SeedUser) == ["ann"]
    assert db.query(SeedUser).one().name == "ann"
    db.query(SeedUser).delete(force=True)
    if db.engine == "postgresql":
        for query in ("?sslmode=disable", "?sslmode=prefer&connect_timeout=3&application_name=seed"):
            assert awaited(address(entry, "postgresql", query), insert_and_read, SeedUser) == ["ann"]
            db.query(SeedUser).delete(force=True)


MISSING = """
import asyncio, db_plugins
from seeds import SeedUser
async def main():
    async with db_plugins.connect_async("sqlite:///a.db", models=[SeedUser]) as db:
        await db.create_all()
try:
    asyncio.run(main())
except db_plugins.errors.ConfigError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("module", "pip"),
    [("aiosqlite", "db-plugins-sql[sqlite-async]"), ("greenlet", "db-plugins-core[async]")],
)
def test_a_missing_driver_or_greenlet_names_the_pip_line(tmp_path: Path, module: str, pip: str) -> None:
    """004-07: SQLAlchemy 2.1 no longer installs greenlet. The synchronous face needs neither."""
    absent = tmp_path / "absent"
    absent.mkdir()
    (absent / f"{module}.py").write_text(f"raise ModuleNotFoundError('no {module}', name='{module}')\n")
    done = run(MISSING, cwd=tmp_path, FIRST=str(absent))
    assert (done.returncode, done.stderr) == (0, "")
    assert f'pip install "{pip}"' in done.stdout
    done = run(ECHOING, "no", "sync", cwd=tmp_path, FIRST=str(absent))
    assert (done.returncode, done.stderr) == (0, "")


@on(*EVERY_SQL)
def test_objects_stay_readable_after_the_commit(connect: Connect, entry: dict[str, Any]) -> None:
    """004-08: no MissingGreenlet, for nothing is loaded when it is touched."""

    async def body(db: AsyncDatabase) -> None:
        async with db.session() as s:
            user = User(email="a@b", name="ann")
            s.add(user)
            await s.commit()
            assert (user.name, user.is_active) == ("ann", True)
        assert user.id is not None
        inserted = await db.query(User).insert(User(email="b@b", name="ben"))
        await db.close()
        assert (user.name, inserted.name, inserted.is_active) == ("ann", "ben", True)

    awaited(entry, body, User)


@on(*EVERY_SQL)
@pytest.mark.filterwarnings("error")
def test_created_at_is_aware_utc(connect: Connect, entry: dict[str, Any]) -> None:
    """004-09: and asyncpg takes it. 004-E3: without a warning, which ``datetime.utcnow`` gives from Python 3.12 on."""

    async def body(db: AsyncDatabase) -> Note:
        stored = await db.query(Note).insert({"text": "a"})
        found = await db.query(Note).get(stored.id)
        assert found is not None
        assert found.created_at == stored.created_at
        return found

    note = awaited(entry, body, Note)
    assert note.created_at.utcoffset() == dt.timedelta(0)
    assert abs(dt.datetime.now(dt.UTC) - note.created_at) < dt.timedelta(minutes=1)


SLOW = {
    "postgresql": "pg_sleep(1)::text = ''",
    "mariadb": "SLEEP(1) = 0",
    # A second or two of work in SQLite's own machine.
    "sqlite": "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000000) SELECT max(i) FROM n) > 0",
}


@on(*EVERY_SQL)
def test_the_loop_ticks_during_a_slow_query(connect: Connect, entry: dict[str, Any]) -> None:
    """004-47: at least eight ticks in a second."""

    async def body(db: AsyncDatabase) -> None:
        await db.query(SeedUser).insert({"email": "a@b"})
        slow = db.query(SeedUser).filter_native(sa.text(SLOW[db.engine]))
        async with Ticker() as ticker:
            assert await slow.count() == 1
        assert len(ticker.ticks) >= 8
        async with Ticker() as ticker, db.transaction() as tx:
            assert await tx.query(SeedUser).filter_native(sa.text(SLOW[db.engine])).count() == 1
        assert len(ticker.ticks) >= 8

    awaited(entry, body, SeedUser)


@on("postgresql", "mariadb")
def test_twenty_tasks_stay_within_the_pool(connect: Connect, entry: dict[str, Any]) -> None:
    """004-42: five connections, and ten beyond, unless the entry says otherwise."""
    db = connect(SeedUser)
    counting = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()",
        "mariadb": "SELECT count(*) FROM information_schema.processlist WHERE db = :name AND id <> connection_id()",
    }[db.engine]

    async def body(adb: AsyncDatabase) -> int:
        sleep = SLOW[adb.engine].replace("(1)", "(0.2)")
        await adb.query(SeedUser).insert({"email": "a@b"})
        slow = adb.query(SeedUser).filter_native(sa.text(sleep))
        tasks = [asyncio.create_task(slow.count()) for _ in range(20)]
        most = 0
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0.02)
            most = max(most, await asyncio.to_thread(look))
        assert [task.result() for task in tasks] == [1] * 20
        return most

    def look() -> int:
        with db.native.connect() as connection:
            return int(connection.scalar(sa.text(counting), {"name": entry["DB_NAME"]}))

    # Beside those of the tasks there are this test's own, at rest.
    db.close()
    assert 5 < awaited(entry, body, SeedUser) <= 15


@on("mariadb")
def test_a_statement_of_a_cancelled_task_is_ended_on_the_server(
    connect: Connect, entry: dict[str, Any]
) -> None:
    """The driver only hangs up: the server would go on for a minute, and hold what it has locked."""
    db = connect(SeedUser)

    async def body(adb: AsyncDatabase) -> None:
        await adb.query(SeedUser).insert({"email": "a@b"})
        slow = adb.query(SeedUser).filter_native(sa.text("SLEEP(60) = 0"))
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await slow.update({"name": "late"})
        async with asyncio.timeout(10):
            assert await adb.query(SeedUser).update({"name": "now"}, force=True) == 1

    awaited(entry, body, SeedUser)
    with db.native.connect() as connection:
        text = sa.text(
            "SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%SLEEP(60)%' AND db = :d"
        )
        text = sa.text(text.text.replace("WHERE", "WHERE id <> connection_id() AND"))
        assert connection.scalar(text, {"d": entry["DB_NAME"]}) == 0


@on(*EVERY_SQL)
def test_what_a_cancelled_task_waited_for_is_not_done_later(connect: Connect, entry: dict[str, Any]) -> None:
    """The server hears of it, while the statement waits for another transaction's row."""
    connect(SeedUser)

    async def body(db: AsyncDatabase) -> None:
        await db.query(SeedUser).insert({"email": "a@b", "name": "ann"})
        inside, done = asyncio.Event(), asyncio.Event()

        async def holds() -> None:
            async with db.transaction() as tx:
                await tx.query(SeedUser).filter(email="a@b").update({"name": "ben"})
                inside.set()
                await done.wait()

        holder = asyncio.create_task(holds())
        await inside.wait()
        cancelled = asyncio.create_task(db.query(SeedUser).filter(email="a@b").update({"name": "late"}))
        await asyncio.sleep(0.3)
        cancelled.cancel()
        await asyncio.wait([cancelled], timeout=0.5)
        done.set()
        await holder
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert (await db.query(SeedUser).one()).name == "ben"

    awaited(entry, body, SeedUser)
