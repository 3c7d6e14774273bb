"""The asynchronous face on SQLite and MariaDB: what a cancelled task leaves behind, databases in memory, fresh connections."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa
from shop import Shop

from db_plugins import AsyncDatabase, connect_async, errors
from db_plugins_sql.sqlite_aiosqlite import thread_of

#: Runs for many seconds on SQLite.
ENDLESS = sa.text(
    "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT max(i) FROM n) > 0"
)


@pytest.fixture
def mariadb(shared_server: Any) -> Iterator[Any]:
    """A server and an entry for a database of its own."""
    server = shared_server("mariadb")
    name, _url = server.new_database()
    yield server, dict(server.entry(name))
    server.drop_database(name)


async def stopped_after(seconds: float, work: Coroutine[Any, Any, Any]) -> float:
    """Cancel the work; how long that took."""
    task = asyncio.ensure_future(work)
    await asyncio.sleep(seconds)
    assert not task.done(), task.result()
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return time.monotonic() - began


# -- SQLite ------------------------------------------------------------------------------------------------------------


async def _in_a_call(db: AsyncDatabase, slow: Any) -> None:
    await db.query(Shop).filter_native(slow).all()


async def _in_a_stream(db: AsyncDatabase, slow: Any) -> None:
    async for _shop in db.query(Shop).filter_native(slow).stream():
        pass


async def _in_a_transaction(db: AsyncDatabase, slow: Any) -> None:
    async with db.transaction() as tx:
        await tx.query(Shop).insert({"name": "half"})
        await tx.query(Shop).filter_native(slow).all()


async def _in_a_count(db: AsyncDatabase, slow: Any) -> None:
    async with db.transaction() as tx:
        await tx.query(Shop).filter_native(slow).count()


async def _in_a_session(db: AsyncDatabase, slow: Any) -> None:
    async with db.session() as session:
        session.add(Shop(name="half"))
        await session.execute(sa.select(Shop).where(slow))


WORK = [_in_a_call, _in_a_stream, _in_a_transaction, _in_a_count, _in_a_session]


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("where", ["file", ":memory:"])
def test_a_cancelled_statement_ends_and_takes_nothing_with_it(
    tmp_path: Path, where: str, work: Callable[..., Any]
) -> None:
    name = str(tmp_path / "shop.db") if where == "file" else where

    async def main() -> None:
        async with connect_async({"ENGINE": "sqlite", "DB_NAME": name}, models=[Shop]) as db:
            await db.create_all()
            await db.query(Shop).insert({"name": "kept"})
            assert await stopped_after(0.3, work(db, ENDLESS)) < 3
            assert [shop.name for shop in await db.query(Shop).all()] == ["kept"]
            await db.query(Shop).insert({"name": "next"})

    asyncio.run(main())


@pytest.mark.parametrize("ends", ["refused", "cancelled"])
def test_a_connection_that_was_not_opened_leaves_no_thread(
    tmp_path: Path, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer would find the loop closed, and a traceback of the thread be printed: in half of such programs."""
    fell: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", fell.append)
    wrong = {"tiemout": 1} if ends == "refused" else {}
    entry = {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "shop.db"), "ASYNC_OPTIONS": wrong}

    async def main(steps: int) -> None:
        async with connect_async(entry, models=[Shop]) as db:
            first = asyncio.ensure_future(db.query(Shop).count())
            if ends == "cancelled":
                for _ in range(steps):
                    await asyncio.sleep(0)
                first.cancel()
            await first

    before = threading.active_count()
    for steps in range(40):
        with pytest.raises(errors.ConfigError if ends == "refused" else asyncio.CancelledError):
            asyncio.run(main(steps % 8))
        assert threading.active_count() == before
    assert fell == []


def test_the_thread_of_a_connection_is_the_one_that_its_name_says(tmp_path: Path) -> None:
    """It is an attribute without a public name."""

    async def main() -> None:
        before = set(threading.enumerate())
        async with connect_async(f"sqlite:///{tmp_path}/shop.db", models=[Shop]) as db:
            await db.create_all()
            async with db.native.connect() as connection:
                raw = await connection.get_raw_connection()
                thread = thread_of(raw.dbapi_connection)
                assert thread in set(threading.enumerate()) - before
                assert thread.daemon
        thread.join(5)
        assert not thread.is_alive()

    asyncio.run(main())


@pytest.mark.parametrize(
    "url", ["sqlite:///:memory:", "sqlite://", "sqlite:///file:shops?mode=memory&cache=shared&uri=true"]
)
def test_loops_see_one_database_in_memory_until_the_last_is_closed(url: str) -> None:
    db = connect_async(url, models=[Shop])

    async def insert(name: str) -> list[str]:
        await db.create_all()
        await db.query(Shop).insert({"name": name})
        return [shop.name for shop in await db.query(Shop).order_by("name").all()]

    async def closing(name: str) -> list[str]:
        names = await insert(name)
        await db.close()
        return names

    async def beside() -> None:
        """Two loops at once, in two threads."""
        assert await insert("a") == ["a"]
        found: list[Any] = []
        other = threading.Thread(target=lambda: found.append(asyncio.run(closing("b"))))
        other.start()
        await asyncio.to_thread(other.join)
        assert found == [["a", "b"]]
        assert await closing("c") == ["a", "b", "c"]

    asyncio.run(beside())
    assert asyncio.run(closing("d")) == ["d"], "closed, it is gone"


def test_two_databases_in_memory_are_two() -> None:
    async def main() -> None:
        async with (
            connect_async("sqlite://", models=[Shop]) as one,
            connect_async("sqlite://", models=[Shop]) as two,
        ):
            await one.create_all()
            await two.create_all()
            await one.query(Shop).insert({"name": "a"})
            assert await two.query(Shop).count() == 0

    asyncio.run(main())


def test_a_file_is_made_with_its_folders_and_not_by_a_look(tmp_path: Path) -> None:
    """003-02: awaited, too."""
    file = tmp_path / "deep" / "er" / "shop.db"

    async def main() -> None:
        async with connect_async({"ENGINE": "sqlite", "DB_NAME": str(file)}, models=[Shop]) as db:
            with pytest.raises(errors.DatabaseMissingError, match="dbp initdb"):
                await db.ping()
            assert not file.parent.exists()
            await db.create_all()
            async with db.native.connect() as connection:
                assert (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar() == "wal"

    asyncio.run(main())


def test_a_statement_that_takes_longer_than_query_timeout_is_interrupted(tmp_path: Path) -> None:
    entry = {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "shop.db"), "QUERY_TIMEOUT": 0.3}

    async def main() -> None:
        async with connect_async(entry, models=[Shop]) as db:
            await db.create_all()
            await db.query(Shop).insert({"name": "a"})
            began = time.monotonic()
            with pytest.raises(errors.QueryTimeoutError):
                await db.query(Shop).filter_native(ENDLESS).all()
            assert time.monotonic() - began < 5
            assert await db.query(Shop).count() == 1

    asyncio.run(main())


def test_native_in_a_session_is_its_connection_once_it_has_begun() -> None:
    async def main() -> None:
        async with connect_async("sqlite://", models=[Shop]) as db:
            await db.create_all()
            async with db.session() as session:
                with pytest.raises(errors.UnsupportedOperationError, match=r"await session\.connection\(\)"):
                    _ = db.native
                session.add(Shop(name="a"))
                await session.flush()
                assert (await db.native.execute(sa.select(Shop.name))).scalar() == "a"
                assert (await (await session.connection()).execute(sa.select(Shop.name))).scalar() == "a"

    asyncio.run(main())


# -- MariaDB -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("work", WORK)
def test_mariadb_ends_the_statement_of_a_cancelled_task_and_frees_its_locks(
    mariadb: Any, work: Callable[..., Any]
) -> None:
    server, entry = mariadb

    async def main() -> None:
        async with connect_async(entry, models=[Shop]) as db:
            await db.create_all()
            await db.query(Shop).insert({"name": "kept"})
            assert await stopped_after(0.5, work(db, sa.text("SLEEP(20) = 0"))) < 5
            assert running(server, entry, "SLEEP") == []
            await asyncio.wait_for(db.query(Shop).filter(name="kept").update({"name": "changed"}), 5)
            assert [shop.name for shop in await db.query(Shop).all()] == ["changed"]

    asyncio.run(main())


async def _insert(db: AsyncDatabase) -> None:
    await db.query(Shop).insert({"name": "both"})


async def _insert_in_a_transaction(db: AsyncDatabase) -> None:
    async with db.transaction() as tx:
        await tx.query(Shop).insert({"name": "first"})
        await tx.query(Shop).insert({"name": "both"})


async def _insert_many(db: AsyncDatabase) -> None:
    await db.query(Shop).bulk_insert([{"name": "first"}, {"name": "both"}])


@pytest.mark.parametrize("write", [_insert, _insert_in_a_transaction, _insert_many])
def test_mariadb_ends_a_write_that_waits_for_a_lock_when_its_task_is_cancelled(
    mariadb: Any, write: Callable[..., Any]
) -> None:
    """These go to the driver's own cursor, past SQLAlchemy."""
    server, entry = mariadb

    async def main() -> None:
        async with (
            connect_async(entry, models=[Shop]) as db,
            connect_async(entry, models=[Shop]) as other,
        ):
            await db.create_all()
            async with other.transaction() as tx:
                await tx.query(Shop).insert({"name": "both"})
                assert await stopped_after(0.5, write(db)) < 5
                assert running(server, entry, "INSERT") == []
                await asyncio.wait_for(db.query(Shop).insert({"name": "first"}), 5)
            assert sorted([shop.name for shop in await db.query(Shop).all()]) == ["both", "first"]

    asyncio.run(main())


def running(server: Any, entry: dict[str, Any], part: str) -> list[str]:
    """The statements that the server runs for this database, one second later at most."""
    for _ in range(20):
        found = [info for info in ask(server, entry, "SELECT info") if info and part in info]
        if not found:
            break
        time.sleep(0.05)
    return found


def ask(server: Any, entry: dict[str, Any], select: str) -> list[Any]:
    """One column of the server's list of connections to this database, but for the one that asks."""
    with (
        pymysql.connect(
            host=server.host, port=server.port, user=server.user, password=server.password
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(
            f"{select} FROM information_schema.processlist WHERE db = %s AND id <> connection_id()",
            (entry["DB_NAME"],),
        )
        return [row[0] for row in cursor.fetchall()]


def test_a_stream_leaves_with_mariadb_what_nobody_asked_for(mariadb: Any) -> None:
    """In a transaction, whose next statement reads the rest, and given up halfway."""
    _server, entry = mariadb

    async def main() -> None:
        async with connect_async(entry, models=[Shop]) as db:
            await db.create_all()
            await db.query(Shop).bulk_insert([{"name": f"{n:020}"} for n in range(20_000)])
            async with db.transaction() as tx:
                stream = tx.query(Shop).order_by("id").stream(batch_size=100)
                await anext(stream)
                await asyncio.sleep(0.1)
                assert await tx.query(Shop).count() == 20_000
                assert len([shop async for shop in stream]) == 19_999
            stream = db.query(Shop).stream(batch_size=100)
            await anext(stream)
            await stream.aclose()
            assert await db.query(Shop).count() == 20_000

    asyncio.run(main())


@pytest.mark.parametrize(
    ("scheme", "known"),
    [
        ("postgresql+psycopg2", True),
        ("postgresql+asyncpgg", False),
        ("mysql+mysqlconnector", True),
        ("mysql+asyncmi", False),
        ("mysql+aiomysql", False),
    ],
)
def test_a_driver_that_only_waits_gives_way_and_one_that_nobody_knows_is_refused(
    scheme: str, known: bool
) -> None:
    db = connect_async(f"{scheme}://u:p@127.0.0.1:1/x", models=[])

    async def main() -> None:
        async with db:
            await db.ping()

    with pytest.raises(errors.ServerUnreachableError if known else errors.ConfigError):
        asyncio.run(main())
