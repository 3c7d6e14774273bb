"""MongoDB awaited: cancellation at every wait, a loop that goes on, pools, forks, restarts, several loops.

What the verbs mean is the conformance kit's, which runs on both faces.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pymongo
import pytest
from mongo_models import Star, engine_for

import db_plugins
from db_plugins import AsyncDatabase, awaiting, errors
from db_plugins.engine import SupportsAsync
from db_plugins_mongo import awaited, client

#: Seconds between two ticks, and how late one may be while two cores are shared with other tests.
TICK, LATE = 0.02, 0.25


@pytest.fixture
def entry(mongodb_server: Any) -> Iterator[dict[str, Any]]:
    """Settings of a fresh database, with a name of its own for the server's lists."""
    name, _url = mongodb_server.new_database()
    yield {**mongodb_server.entry(name), "OPTIONS": {"appname": name}}
    mongodb_server.drop_database(name)


@pytest.fixture
def raw(entry: dict[str, Any]) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
    """The server, as another program sees it."""
    with pymongo.MongoClient[dict[str, Any]](entry["HOST"], entry["PORT"]) as opened:
        yield opened


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, 120))


@asynccontextmanager
async def opened(entry: dict[str, Any], **more: Any) -> AsyncIterator[AsyncDatabase]:
    async with db_plugins.connect_async({**entry, **more}, models=[Star]) as db:
        await db.create_all()
        yield db


@contextmanager
def blocked(
    raw: Any, entry: dict[str, Any], *commands: str, seconds: float, times: int = 1
) -> Iterator[None]:
    """The next of these commands take so long on the server."""
    data = {
        "failCommands": list(commands),
        "blockConnection": True,
        "blockTimeMS": int(seconds * 1000),
        "appName": entry["OPTIONS"]["appname"],
    }
    raw.admin.command("configureFailPoint", "failCommand", mode={"times": times}, data=data)
    try:
        yield
    finally:
        raw.admin.command("configureFailPoint", "failCommand", mode="off")


def seen(raw: Any, entry: dict[str, Any]) -> int:
    """How many connections the server has from us, without those on which the driver watches it."""
    found = 0
    for each in raw.admin.command("currentOp")["inprog"]:
        name = each.get("clientMetadata", {}).get("application", {}).get("name")
        found += name == entry["OPTIONS"]["appname"] and each["op"] not in ("hello", "ismaster")
    return found


def names(raw: Any, entry: dict[str, Any]) -> set[str]:
    return {each["star_name"] for each in raw[entry["DB_NAME"]]["stars"].find()}


@asynccontextmanager
async def ticking() -> AsyncIterator[None]:
    """Fails if the loop stands still inside."""
    late: list[float] = []

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(TICK)
            late.append(time.perf_counter() - before - TICK)

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        task.cancel()
    # Other tests have the processors now and then; a loop that stands still for half a second ticks once or twice.
    assert len(late) > 8, f"{len(late)} ticks, {max(late):.3f} s late"
    assert sorted(late)[len(late) * 9 // 10] < LATE, f"ticks are up to {max(late):.3f} s late"


# -- what it is ----------------------------------------------------------------------------------------------


def test_the_mock_is_no_asynchronous_engine_and_the_server_is() -> None:
    assert isinstance(engine_for(), SupportsAsync)
    assert not isinstance(engine_for(engine="mongomock"), SupportsAsync)


def test_native_is_the_drivers_own_object(entry: dict[str, Any]) -> None:
    async def main() -> None:
        async with opened(entry) as db:
            native = db.native
            assert isinstance(native, pymongo.asynchronous.database.AsyncDatabase)
            await db.query(Star).insert({"name": "a"})
            assert await native["stars"].count_documents({}) == 1
            async with db.transaction() as tx:
                assert isinstance(tx.native, pymongo.asynchronous.client_session.AsyncClientSession)
                await tx.query(Star).insert({"name": "b"})
                assert await native["stars"].count_documents({}, session=tx.native) == 2

    run(main())


def test_every_member_that_is_waited_for_is_one_of_pymongos() -> None:
    """A method that PyMongo renames would only fail when it is called."""
    twins = {
        awaited.Client: pymongo.AsyncMongoClient,
        awaited.Database: pymongo.asynchronous.database.AsyncDatabase,
        awaited.Collection: pymongo.asynchronous.collection.AsyncCollection,
        awaited.Cursor: pymongo.asynchronous.cursor.AsyncCursor,
        awaited.Session: pymongo.asynchronous.client_session.AsyncClientSession,
    }
    for ours, theirs in twins.items():
        methods = [name for name, member in vars(ours).items() if callable(member) and name[0] != "_"]
        assert methods
        assert [name for name in methods if not callable(getattr(theirs, name, None))] == []


def test_a_pymongo_without_the_asynchronous_half_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.pymongo, "version_tuple", (4, 12, 1))
    monkeypatch.setattr(client.pymongo, "version", "4.12.1")
    engine: Any = engine_for()
    with pytest.raises(errors.ConfigError, match=r"4\.13 or newer, and this is 4\.12\.1.*pip install"):
        engine.connect_async(engine.settings)


# -- cancellation --------------------------------------------------------------------------------------------


class Cancelling:
    """Cancels the task at the nth time that the driver waits, just before it or a moment after it began."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at: int | None = None
        self.later = False
        self.waits = 0
        monkeypatch.setattr(awaited, "wait", self.wait)

    def wait(self, awaitable: Awaitable[Any]) -> Any:
        self.waits += 1
        task = asyncio.current_task()
        if self.waits == self.at and task is not None:
            if self.later:
                asyncio.get_running_loop().call_later(0.0005, task.cancel)
            else:
                task.cancel()
        return awaiting.wait(awaitable)


async def one_insert(db: AsyncDatabase) -> None:
    await db.query(Star).insert({"name": "new1"})


async def many(db: AsyncDatabase) -> None:
    await db.query(Star).bulk_insert([{"name": f"new{n}"} for n in range(20)])


async def many_that_update(db: AsyncDatabase) -> None:
    rows = [{"name": f"{old}{n}", "mag": 9.0} for old in ("old", "new") for n in range(10)]
    await db.query(Star).bulk_insert(rows, on_conflict="update", key="name")


async def transaction(db: AsyncDatabase) -> None:
    async with db.transaction() as tx:
        await tx.query(Star).filter(name="old1").update({"mag": 9.0})
        await tx.query(Star).insert({"name": "new1"})
        assert len(await tx.query(Star).all()) == 31
        await tx.query(Star).filter(Star.name.startswith("old")).update({"mag": 9.0})


async def renaming(db: AsyncDatabase) -> None:
    """An update that can fail half-way, and so has a transaction of its own."""
    await db.query(Star).filter(Star.mag == 1.0).update({"mag": Star.mag + 8.0, "label": "x"})


async def reading(db: AsyncDatabase) -> None:
    assert len(await db.query(Star).all()) == 30
    assert await db.query(Star).count() == 30
    assert len([star async for star in db.query(Star).stream(batch_size=7)]) == 30


#: Each with what it leaves: all of it, or nothing.
OPERATIONS: dict[Callable[[AsyncDatabase], Awaitable[None]], int] = {
    one_insert: 1,
    many: 20,
    many_that_update: 20,
    transaction: 31,
    renaming: 30,
    reading: 0,
}


@contextmanager
def dropped_sockets() -> Iterator[None]:
    """PyMongo drops the socket of a connection whose making is broken off: Python closes it, and warns."""
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        yield
        gc.collect()


def changed(raw: Any, entry: dict[str, Any]) -> int:
    """Rows that are new, or not as they were."""
    found = raw[entry["DB_NAME"]]["stars"].find()
    return sum(each["star_name"].startswith("new") or each["mag"] != 1.0 for each in found)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize("later", [False, True], ids=["before", "during"])
def test_a_call_cancelled_at_any_wait_leaves_all_or_nothing(
    operation: Any,
    later: bool,
    entry: dict[str, Any],
    raw: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cancelling = Cancelling(monkeypatch)
    stars = raw[entry["DB_NAME"]]["stars"]

    async def main() -> set[int]:
        outcomes = set()
        async with opened(entry, POOL_SIZE=2, MAX_OVERFLOW=0, POOL_TIMEOUT=2) as db:
            at = 0
            while True:
                at += 1
                cancelling.at = None
                await db.query(Star).delete(force=True)
                await db.query(Star).bulk_insert([{"name": f"old{n}", "mag": 1.0} for n in range(30)])
                cancelling.waits, cancelling.at, cancelling.later = 0, at, later
                task = asyncio.create_task(operation(db))
                done, _pending = await asyncio.wait([task], timeout=10)
                assert done, f"hangs when cancelled at wait {at}"
                cancelling.at = None
                if not task.cancelled():
                    task.result()
                    if cancelling.waits < at:  # there are no more waits
                        return outcomes
                outcomes.add(changed(raw, entry))
                # No transaction is left: another program may write each of the rows at once.
                began = time.monotonic()
                stars.update_many({}, {"$set": {"label": "free"}})
                assert time.monotonic() - began < 2
                assert await db.query(Star).filter(label="free").count() == stars.count_documents({})

    with dropped_sockets():
        outcomes = run(main())
    assert outcomes <= {0, OPERATIONS[operation]}
    assert 0 in outcomes


def test_a_cancelled_call_gives_its_connection_and_its_session_back(entry: dict[str, Any], raw: Any) -> None:
    async def main() -> None:
        async with opened(entry, POOL_SIZE=2, MAX_OVERFLOW=1, POOL_TIMEOUT=2) as db:
            query = db.query(Star)
            await query.insert({"name": "a"})
            for n in range(12):
                with blocked(raw, entry, "find", "insert", seconds=0.3, times=2):
                    call = query.all() if n % 2 else query.insert({"name": f"n{n}"})
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.05):
                            await call
            assert len(await asyncio.gather(*(query.first() for _ in range(20)))) == 20
            gc.collect()
            await asyncio.sleep(0.4)  # until then the server works for those that are gone
            assert 1 <= seen(raw, entry) <= 3

    run(main())


def test_a_hanging_server_does_not_keep_a_cancelled_task(entry: dict[str, Any], raw: Any) -> None:
    """Not beyond CONNECT_TIMEOUT, for which the end of a transaction is waited for."""

    async def main() -> None:
        async with opened(entry, CONNECT_TIMEOUT=0.5) as db:
            with blocked(raw, entry, "insert", "abortTransaction", seconds=5, times=4):
                began = time.monotonic()
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.2), db.transaction() as tx:
                        await tx.query(Star).filter(name="x").count()
                        await tx.query(Star).insert({"name": "x"})
                assert time.monotonic() - began < 3

    run(main())


def test_a_task_cancelled_again_and_again_still_ends_its_transaction(entry: dict[str, Any], raw: Any) -> None:
    async def main() -> None:
        async with opened(entry) as db:
            await db.query(Star).insert({"name": "a"})

            async def work() -> None:
                async with db.transaction() as tx:
                    await tx.query(Star).filter(name="a").update({"mag": 2.0})
                    await asyncio.sleep(60)

            for _ in range(5):
                task = asyncio.create_task(work())
                await asyncio.sleep(0.1)
                with blocked(raw, entry, "abortTransaction", seconds=0.2):
                    while not task.done():
                        task.cancel()
                        await asyncio.sleep(0.01)
                assert task.cancelled()
                async with asyncio.timeout(2):
                    await db.query(Star).filter(name="a").update({"mag": 3.0})

    run(main())


def test_a_commit_that_was_sent_is_waited_for(entry: dict[str, Any], raw: Any) -> None:
    async def main() -> None:
        async with opened(entry) as db:

            async def work() -> None:
                async with db.transaction() as tx:
                    await tx.query(Star).insert({"name": "a"})

            with blocked(raw, entry, "commitTransaction", seconds=0.5):
                task = asyncio.create_task(work())
                await asyncio.sleep(0.25)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert names(raw, entry) == {"a"}

    run(main())


# -- the loop goes on ----------------------------------------------------------------------------------------


def test_the_loop_ticks_while_the_server_is_slow(entry: dict[str, Any], raw: Any) -> None:
    async def main() -> None:
        async with opened(entry) as db:
            for command, call in (
                ("find", lambda: db.query(Star).all()),
                ("aggregate", lambda: db.query(Star).count()),
                ("insert", lambda: db.query(Star).bulk_insert([{"name": "a"}, {"name": "b"}])),
                ("update", lambda: db.query(Star).filter(name="a").update({"mag": 1.0})),
            ):
                with blocked(raw, entry, command, seconds=0.5):
                    began = time.monotonic()
                    async with ticking():
                        await call()
                    assert time.monotonic() - began >= 0.5

    run(main())


def test_the_loop_ticks_while_a_write_waits_for_a_transaction(entry: dict[str, Any]) -> None:
    async def main() -> None:
        async with opened(entry) as db, opened(entry) as other:
            await db.query(Star).insert({"name": "a", "mag": 0.0})
            async with ticking():
                async with db.transaction() as tx:
                    await tx.query(Star).filter(name="a").update({"mag": 1.0})
                    held = asyncio.create_task(
                        other.query(Star).filter(name="a").update({"mag": Star.mag + 1})
                    )
                    await asyncio.sleep(0.5)
                    assert not held.done()
                assert await held == 1
            assert (await db.query(Star).one()).mag == 2.0

    run(main())


def test_the_loop_ticks_while_a_dead_server_is_looked_for() -> None:
    async def main() -> None:
        settings = {
            "ENGINE": "mongodb",
            "HOST": "127.0.0.1",
            "PORT": 1,
            "DB_NAME": "x",
            "CONNECT_TIMEOUT": 0.5,
        }
        async with ticking(), db_plugins.connect_async(settings, models=[Star]) as db:
            for call in (db.ping, db.query(Star).all, db.create_all):
                began = time.monotonic()
                with pytest.raises(errors.ServerUnreachableError, match=r"127\.0\.0\.1:1"):
                    await call()
                assert time.monotonic() - began < 2

    run(main())


# -- many tasks ----------------------------------------------------------------------------------------------


def test_fifty_tasks_on_the_same_keys(entry: dict[str, Any]) -> None:
    async def main() -> None:
        async with opened(entry) as db:
            stars = db.query(Star)

            async def add(tx: AsyncDatabase) -> None:
                row = await tx.query(Star).filter(name="counter").one()
                await tx.query(Star).update(row, {"count": (row.count or 0) + 1})

            async def work(n: int) -> bool:
                await stars.upsert({"name": f"up{n % 5}", "mag": float(n)}, key="name")
                _star, is_new = await stars.get_or_create({"name": f"get{n % 5}"})
                await stars.filter(name="counter").update({"small": Star.small + 1})
                return is_new

            await stars.insert({"name": "counter", "count": 0, "small": 0})
            async with ticking():
                made = await asyncio.gather(*(work(n) for n in range(50)))
                await asyncio.gather(*(db.run_transaction(add, retries=200) for _ in range(50)))
            assert sum(made) == 5
            assert await stars.count() == 11
            counter = await stars.filter(name="counter").one()
            assert (counter.count, counter.small) == (50, 50)

    run(main())


# -- pools, loops, processes ---------------------------------------------------------------------------------


def test_the_server_never_sees_more_connections_than_the_pool_may_have(
    entry: dict[str, Any], raw: Any
) -> None:
    async def main() -> int:
        async with opened(entry, POOL_SIZE=2, MAX_OVERFLOW=1) as db:
            calls = asyncio.gather(*(db.query(Star).count() for _ in range(300)))
            most = 0
            while not calls.done():
                most = max(most, await asyncio.to_thread(seen, raw, entry))
            await calls
            return most

    assert 2 <= run(main()) <= 3


FULL = r"no connection to .* became free within 0\.4 s; raise POOL_SIZE, MAX_OVERFLOW or POOL_TIMEOUT"


def test_a_full_pool_is_told_after_the_stated_time(entry: dict[str, Any], raw: Any) -> None:
    """A read waits twice: PyMongo tries it again."""

    async def main() -> None:
        async with opened(entry, POOL_SIZE=1, MAX_OVERFLOW=1, POOL_TIMEOUT=0.4) as db:
            query = db.query(Star)
            await query.insert({"name": "a"})
            for call, most in ((lambda: query.filter(name="a").update({"mag": 1.0}), 0.8), (query.all, 1.2)):
                with blocked(raw, entry, "find", seconds=2, times=2):
                    slow = asyncio.gather(query.first(), query.first())
                    await asyncio.sleep(0.1)
                    began = time.monotonic()
                    async with ticking():
                        with pytest.raises(errors.PoolTimeoutError, match=FULL) as caught:
                            await call()
                    assert 0.4 <= time.monotonic() - began < most
                    assert caught.value.retryable
                    await slow
            assert await query.count() == 1

    run(main())


def test_a_full_pool_is_told_to_threads_too(entry: dict[str, Any], raw: Any) -> None:
    small = {**entry, "POOL_SIZE": 1, "POOL_TIMEOUT": 0.4}
    with db_plugins.connect(small, models=[Star]) as db:
        db.create_all()
        db.query(Star).insert({"name": "a"})
        with blocked(raw, entry, "find", seconds=2):
            slow = threading.Thread(target=db.query(Star).first)
            slow.start()
            time.sleep(0.1)
            began = time.monotonic()
            with pytest.raises(errors.PoolTimeoutError, match=FULL):
                db.query(Star).filter(name="a").update({"mag": 1.0})
            assert 0.4 <= time.monotonic() - began < 0.8
            slow.join()


def test_idle_connections_are_replaced(entry: dict[str, Any], raw: Any) -> None:
    async def main() -> None:
        async with opened(entry, POOL_SIZE=1, POOL_RECYCLE=0.2) as db:

            async def connection() -> Any:
                return (await db.native.client.admin.command("hello"))["connectionId"]

            first = await connection()
            assert await connection() == first
            await asyncio.sleep(0.5)
            assert await connection() != first

    run(main())


def test_one_database_in_several_loops(entry: dict[str, Any], raw: Any) -> None:
    """Also where one ends without ``close``, of which the driver warns."""
    db = db_plugins.connect_async(entry, models=[Star])

    async def main(n: int, *, closes: bool) -> None:
        await db.create_all()
        await db.query(Star).insert({"name": f"n{n}"})
        assert await db.query(Star).count() == n + 1
        if closes:
            await db.close()

    with dropped_sockets():
        for n in range(6):
            run(main(n, closes=n < 2))
        run(main(6, closes=True))
    deadline = time.monotonic() + 5
    while seen(raw, entry):
        assert time.monotonic() < deadline, "what belongs to a loop that is over is kept"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:MongoClient opened before fork:UserWarning")
def test_a_forked_child_opens_connections_of_its_own(entry: dict[str, Any]) -> None:
    """Both faces; the parent goes on with its own."""
    sync = db_plugins.connect(entry, models=[Star])
    both = db_plugins.connect_async(entry, models=[Star])

    async def check(name: str) -> None:
        for n in range(20):
            await both.query(Star).insert({"name": f"{name}{n}"})
            assert (await both.query(Star).filter(name=f"{name}{n}").one()).name == f"{name}{n}"
            sync.query(Star).filter(name=f"{name}{n}").update({"mag": 1.0})

    async def main(name: str) -> None:
        await check(name)
        await both.close()

    sync.create_all()
    with asyncio.Runner() as runner:
        runner.run(check("before"))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                asyncio.events._set_running_loop(None)
                asyncio.run(main("child"))
                code = 0
            finally:
                os._exit(code)
        runner.run(check("parent"))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        runner.run(main("after"))
    assert sync.query(Star).filter(mag=1.0).count() == 80
    sync.close()


def test_after_a_restart_of_the_server_the_next_call_works(own_server: Any) -> None:
    server = own_server("mongodb", durable=True)
    name, _url = server.new_database()

    async def main() -> None:
        async with opened({**server.entry(name), "CONNECT_TIMEOUT": 10}, POOL_SIZE=5) as db:
            await db.query(Star).insert({"name": "a"})
            await asyncio.gather(*(db.query(Star).count() for _ in range(5)))
            await asyncio.to_thread(server.restart)
            assert (await db.query(Star).one()).name == "a"
            await asyncio.to_thread(server.restart)
            await db.query(Star).insert({"name": "b"})
            await asyncio.to_thread(server.restart)
            async with db.transaction() as tx:
                assert await tx.query(Star).count() == 2

    run(main())
