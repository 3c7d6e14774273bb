"""What an awaited read costs beside the raw asynchronous driver; and how many fifty tasks read at once, beside other ORMs.

The synchronous `get` is measured in the same turns: what awaiting adds is the quotient of the two ratios.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import db_plugins
from servers import ServerError

from .contenders import CONTENDERS
from .places import PLACES, Place, place
from .tables import MODELS, NAMES, Data, Item, PlainItem, fill
from .turns import Taken, in_turns, ratio, timed

__all__ = ["WORKS", "measure"]

WORKS = ("get", "tasks")
#: Our ratio to the raw driver, beside that of the synchronous side.
GET_TARGET = 1.2
TASKS, GETS = 50, 100
ROWS = {"sqlite": 20_000, "postgresql": 20_000, "mongodb": 5_000}
CALLS, ROUNDS, QUICK = 500, 10, 5
SECONDS = 30.0

HEAD = """\
## Awaited reads

`get` by key on one event loop, beside the raw asynchronous driver on one connection; ours is a call of its own each time.
The ratios are medians of rounds in turns, of time on SQL and of the client's CPU on MongoDB; the last but one is what
the synchronous side takes beside its own raw driver in the same turns, and the target is that awaiting makes it no more
than {target} times that.
"""
TABLE = """\
| `get` by key, {times:,} × | raw, µs | db_plugins | synchronous | quotient | target | |
|---|--:|--:|--:|--:|--:|---|"""
TASKS_HEAD = """
### {tasks} tasks of {gets} gets each on PostgreSQL

Objects a second, in turns, the best of {rounds} rounds; each contender with its own pool of at most {most} connections.
AsyncSession is one Session for each get, as a request has; "kept" is one for each task.

| | a second | beside ours |
|---|--:|--:|"""
#: Connections of each contender's pool.
POOL, OVERFLOW = 10, 5


class Side(ABC):
    """One contender, on one event loop."""

    def __init__(self, made: Place) -> None:
        self.made = made

    @classmethod
    def is_installed(cls) -> bool:
        return True

    @abstractmethod
    async def open(self) -> None: ...
    @abstractmethod
    async def get(self, key: int) -> Any: ...
    @abstractmethod
    async def close(self) -> None: ...

    async def task(self, keys: Iterator[int]) -> None:
        for key in keys:
            await self.get(key)


class Ours(Side):
    driver: str | None = None

    async def open(self) -> None:
        entry = dict(self.made.entry)
        if self.driver is not None:
            entry["ENGINE"] += f"+{self.driver}"
            entry |= {"POOL_SIZE": POOL, "MAX_OVERFLOW": OVERFLOW}
        self.db = db_plugins.connect_async(entry, models=MODELS)

    async def get(self, key: int) -> Any:
        return await self.db.query(Item).get(key)

    async def close(self) -> None:
        await self.db.close()


class OursAsyncpg(Ours):
    driver = "asyncpg"


class OursPsycopg(Ours):
    driver = "psycopg"


class RawSQLite(Side):
    async def open(self) -> None:
        import aiosqlite

        self.connection = await aiosqlite.connect(self.made.entry["DB_NAME"], isolation_level=None)

    async def get(self, key: int) -> Any:
        async with self.connection.execute(_select("?"), (key,)) as cursor:
            return await cursor.fetchone()

    async def close(self) -> None:
        await self.connection.close()


class RawAsyncpg(Side):
    async def open(self) -> None:
        import asyncpg  # type: ignore[import-untyped]

        self.connection = await asyncpg.connect(_dsn(self.made))

    async def get(self, key: int) -> Any:
        return await self.connection.fetchrow(_select("$1"), key)

    async def close(self) -> None:
        await self.connection.close()


class RawPsycopg(Side):
    async def open(self) -> None:
        import psycopg

        self.connection = await psycopg.AsyncConnection.connect(_dsn(self.made), autocommit=True)

    async def get(self, key: int) -> Any:
        cursor = await self.connection.execute(_select("%s"), (key,))
        return await cursor.fetchone()

    async def close(self) -> None:
        await self.connection.close()


class RawMongo(Side):
    async def open(self) -> None:
        import pymongo

        entry = self.made.entry
        self.client = pymongo.AsyncMongoClient(entry["HOST"], entry["PORT"])
        self.items = self.client[entry["DB_NAME"]]["items"]

    async def get(self, key: int) -> Any:
        return await self.items.find_one({"_id": key})

    async def close(self) -> None:
        await self.client.close()


class Session(Side):
    """SQLAlchemy's AsyncSession on asyncpg."""

    async def open(self) -> None:
        from sqlalchemy import make_url
        from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

        assert self.made.url is not None
        url = make_url(self.made.url).set(drivername="postgresql+asyncpg")
        self.engine = create_async_engine(url, pool_size=POOL, max_overflow=OVERFLOW)
        self.session: async_sessionmaker[AsyncSession] = async_sessionmaker(self.engine)

    async def get(self, key: int) -> Any:
        async with self.session() as session:
            return await session.get(PlainItem, key)

    async def close(self) -> None:
        await self.engine.dispose()


class KeptSession(Session):
    async def task(self, keys: Iterator[int]) -> None:
        async with self.session() as session:
            for key in keys:
                await session.get(PlainItem, key)


class Tortoise(Side):
    """Tortoise ORM on asyncpg, where somebody has installed it: the project needs it for nothing else."""

    @classmethod
    def is_installed(cls) -> bool:
        return find_spec("tortoise") is not None

    async def open(self) -> None:
        from tortoise import Tortoise as Orm  # type: ignore[import-not-found, unused-ignore]

        from .tortoise_models import TortoiseItem

        self.model = TortoiseItem
        entry = self.made.entry
        connection = {
            "engine": "tortoise.backends.asyncpg",
            "credentials": {
                "host": entry["HOST"],
                "port": entry["PORT"],
                "user": entry["USER"],
                "password": entry["PASSWORD"],
                "database": entry["DB_NAME"],
                "minsize": POOL,
                "maxsize": POOL + OVERFLOW,
            },
        }
        self.orm = Orm
        await Orm.init(
            config={
                "connections": {"default": connection},
                "apps": {"bench": {"models": [TortoiseItem.__module__], "default_connection": "default"}},
                "use_tz": False,
            },
            _enable_global_fallback=True,
        )

    async def get(self, key: int) -> Any:
        return await self.model.get(id=key)

    async def close(self) -> None:
        await self.orm.close_connections()


#: Our side, the raw driver's, and the driver's name, of each engine.
PAIRS: dict[str, list[tuple[str, type[Side], type[Side]]]] = {
    "sqlite": [("aiosqlite", RawSQLite, Ours)],
    "postgresql": [("asyncpg", RawAsyncpg, OursAsyncpg), ("psycopg", RawPsycopg, OursPsycopg)],
    "mongodb": [("AsyncMongoClient", RawMongo, Ours)],
}
CROWD: dict[str, type[Side]] = {
    "db_plugins, asyncpg": OursAsyncpg,
    "db_plugins, psycopg": OursPsycopg,
    "AsyncSession": Session,
    "AsyncSession, kept": KeptSession,
    "Tortoise": Tortoise,
}


def _select(mark: str) -> str:
    return f"SELECT {', '.join(NAMES)} FROM items WHERE id = {mark}"


def _dsn(made: Place) -> str:
    from sqlalchemy import make_url

    assert made.url is not None
    return make_url(made.url).set(drivername="postgresql").render_as_string(hide_password=False)


def measure(
    *, quick: bool = False, engines: Collection[str] = tuple(PLACES), only: Collection[str] = WORKS
) -> str:
    """The section of the page."""
    lines = [HEAD.format(target=GET_TARGET)]
    crowd: list[str] = []
    calls, rounds = (QUICK, 2) if quick else (CALLS, ROUNDS)
    if "get" in only:
        lines.append(TABLE.format(times=calls * rounds))
    for engine in engines:
        try:
            with place(engine, MODELS) as made:
                data = Data(1000 if quick else ROWS[engine], 0)
                fill(made, data)
                if "get" in only:
                    lines += [_get_line(made, data, *pair, calls, rounds) for pair in PAIRS[engine]]
                if "tasks" in only and engine == "postgresql":
                    crowd = _crowd_lines(made, data, 2 if quick else 5)
        except ServerError as error:
            lines.append(f"| {engine} | not measured: {error} | | | | | |")
    return "\n".join([*lines, *crowd, ""])


def _get_line(
    made: Place, data: Data, driver: str, raw: type[Side], ours: type[Side], calls: int, rounds: int
) -> str:
    kinds = CONTENDERS[made.engine]
    plain = {"plain raw": kinds["raw"](made, data), "plain ours": kinds["db_plugins"](made, data)}
    with asyncio.Runner() as runner:
        sides = {"raw": raw(made), "ours": ours(made)}
        for side in sides.values():
            runner.run(side.open())
            runner.run(side.get(1))

        def awaited(side: Side, number: int) -> Taken:
            async def work() -> None:
                for n in range(number * calls, (number + 1) * calls):
                    await side.get(data.key(n))

            return timed(lambda: runner.run(work()), calls)

        def called(side: Any, number: int) -> Taken:
            def work() -> None:
                for n in range(number * calls, (number + 1) * calls):
                    side.get(n)

            return timed(work, calls)

        turns = {name: partial(awaited, side) for name, side in sides.items()}
        turns |= {name: partial(called, side) for name, side in plain.items()}
        taken = in_turns(turns, rounds, SECONDS)
        for side in sides.values():
            runner.run(side.close())
    field = "cpu" if made.engine == "mongodb" else "time"
    here, there = (
        ratio(taken["ours"], taken["raw"], field),
        ratio(taken["plain ours"], taken["plain raw"], field),
    )
    quotient = here / there
    verdict = "met" if round(quotient, 2) <= GET_TARGET else "**not met**"
    microseconds = sorted(getattr(one, field) for one in taken["raw"])[len(taken["raw"]) // 2] * 1e6
    return (
        f"| {made.engine}, {driver} | {microseconds:,.0f} | {here:.2f} | {there:.2f} "
        f"| {quotient:.2f} | {GET_TARGET} | {verdict} |"
    )


def _crowd_lines(made: Place, data: Data, rounds: int) -> list[str]:
    with asyncio.Runner() as runner:
        sides = {name: kind(made) for name, kind in CROWD.items() if kind.is_installed()}
        for side in sides.values():
            runner.run(side.open())
            runner.run(side.get(1))

        def turn(side: Side, number: int) -> Taken:
            async def work() -> None:
                starts = range(number, number + TASKS)
                await asyncio.gather(*[side.task(_keys(data, start)) for start in starts])

            return timed(lambda: runner.run(work()), TASKS * GETS)

        turns = {name: partial(turn, side) for name, side in sides.items()}
        taken = in_turns(turns, rounds, 120.0)
        for side in sides.values():
            runner.run(side.close())
    best = {name: 1 / min(one.time for one in found) for name, found in taken.items()}
    ours = max(best[name] for name in best if name.startswith("db_plugins"))
    text = TASKS_HEAD.format(tasks=TASKS, gets=GETS, rounds=rounds, most=POOL + OVERFLOW)
    lines = [text, *(f"| {name} | {rate:,.0f} | {rate / ours:.2f} |" for name, rate in best.items())]
    return [*lines, *(f"| {name} | not installed | |" for name in CROWD if name not in best)]


def _keys(data: Data, start: int) -> Iterator[int]:
    return (data.key(start * GETS + n) for n in range(GETS))
