"""PostgreSQL, awaited, with both of its drivers: what asyncpg and psycopg's AsyncConnection do of themselves, and must not."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import db_plugins
from db_plugins import errors
from db_plugins.async_database import AsyncDatabase
from db_plugins_sql.postgresql_drivers import socket_of

ASLEEP = sa.text("pg_sleep(5)::text = ''")


class Base(DeclarativeBase):
    pass


class Moment(Base):
    __tablename__ = "moment"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int | None]
    day: Mapped[dt.date | None]
    at: Mapped[dt.datetime | None] = mapped_column(sa.DateTime(timezone=True))
    naive: Mapped[dt.datetime | None] = mapped_column(sa.DateTime)
    token: Mapped[uuid.UUID | None] = mapped_column(sa.Uuid)
    tags: Mapped[list[uuid.UUID] | None] = mapped_column(ARRAY(sa.Uuid))


class Place:
    """A database of the run's server, and a plain connection to it."""

    def __init__(self, server: Any, driver: str) -> None:
        self.name, self.url = server.new_database()
        self.entry: dict[str, Any] = {**server.entry(self.name), "ENGINE": f"postgresql+{driver}"}

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def kill_all(self) -> None:
        """End the server's side of every connection, and wait for that."""
        self.run(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    def states(self) -> list[str]:
        """What the connections of the program do."""
        found = self.run(
            "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return [row[0] for row in found]

    @asynccontextmanager
    async def opened(self, rows: int = 0, **settings: Any) -> AsyncIterator[AsyncDatabase]:
        async with db_plugins.connect_async({**self.entry, **settings}, models=[Moment]) as db:
            await db.create_all()
            if rows:
                await db.query(Moment).bulk_insert([{"number": n} for n in range(rows)])
            yield db


@pytest.fixture(params=["asyncpg", "psycopg"])
def place(request: pytest.FixtureRequest, postgresql_server: Any) -> Iterator[Place]:
    made = Place(postgresql_server, request.param)
    yield made
    postgresql_server.drop_database(made.name)


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


# -- values ------------------------------------------------------------------------------------------------------------


def test_the_first_and_the_last_moment_are_stored_as_such(place: Place) -> None:
    """asyncpg's own way is infinity, which psycopg cannot read."""
    rows = [
        {"day": day, "at": at.replace(tzinfo=dt.UTC), "naive": at}
        for day, at in ((dt.date.min, dt.datetime.min), (dt.date.max, dt.datetime.max))
    ]

    async def work() -> None:
        async with place.opened() as db:
            await db.query(Moment).insert(rows[0])
            await db.query(Moment).bulk_insert(rows[1:] * 1200)
            found = await db.query(Moment).order_by("id").limit(2).to_dicts("day", "at", "naive")
            assert found == rows
            assert await db.query(Moment).filter(at=rows[1]["at"], day=dt.date.max).count() == 1200
        assert place.run(
            "SELECT count(*) FROM moment WHERE isfinite(day) AND isfinite(at) AND isfinite(naive)"
        ) == [(1201,)]

    run(work)


def test_a_moment_that_python_has_none_for_is_an_error_of_the_answer(place: Place) -> None:
    async def work() -> None:
        async with place.opened() as db:
            for column in ("day", "at", "naive"):
                place.run(f"TRUNCATE moment; INSERT INTO moment (id, {column}) VALUES (1, 'infinity')")
                with pytest.raises(errors.EngineError):
                    await db.query(Moment).all()
            assert await db.query(Moment).count() == 1

    run(work)


def test_uuids_are_plain_ones_in_arrays_and_raw_statements_too(place: Place) -> None:
    token = uuid.uuid4()

    async def work() -> None:
        async with place.opened() as db:
            stored = await db.query(Moment).insert({"token": token, "tags": [token]})
            read = await db.query(Moment).get(stored.id)
            assert read is not None
            async with db.session() as session:
                raw = (await session.execute(sa.text("SELECT token FROM moment"))).scalar_one()
            for found in (stored.token, read.token, raw, *(read.tags or ())):
                assert (type(found), found) == (uuid.UUID, token)

    run(work)


# -- connections that died ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("idle", [0.0, 0.05, 1.2])
@pytest.mark.parametrize("verb", ["read", "insert", "transaction"])
def test_a_connection_that_was_killed_while_idle_is_replaced(place: Place, verb: str, idle: float) -> None:
    """Without idling the event loop has had no time to tell the driver."""

    async def work() -> None:
        async with place.opened(rows=3) as db:
            await db.query(Moment).count()
            place.kill_all()
            if idle:
                await asyncio.sleep(idle)
            if verb == "insert":
                await db.query(Moment).insert({"number": 1})
            elif verb == "transaction":
                async with db.transaction() as tx:
                    await tx.query(Moment).insert({"number": 1})
            assert await db.query(Moment).count() == (3 if verb == "read" else 4)

    run(work)


def test_asyncpg_still_shows_its_socket(postgresql_server: Any) -> None:
    """``socket_of`` reads a private name."""
    import asyncpg

    async def work() -> None:
        connection = await asyncpg.connect(place.url)
        try:
            assert socket_of(connection).fileno() > 0
        finally:
            await connection.close()

    place = Place(postgresql_server, "asyncpg")
    run(work)
    postgresql_server.drop_database(place.name)


@pytest.mark.filterwarnings("error")
def test_a_connection_that_dies_in_use_is_told_by_what_it_was_in(place: Place, caplog: Any) -> None:
    async def work() -> None:
        async with place.opened(rows=50) as db:

            async def killed(doing: Coroutine[Any, Any, Any]) -> Any:
                task = asyncio.ensure_future(doing)
                await asyncio.sleep(0.3)
                await asyncio.to_thread(place.kill_all)
                return await task

            one = db.query(Moment).filter(id=1).filter_native(ASLEEP)
            with pytest.raises(errors.ConnectionLostError):
                await killed(one.count())
            with pytest.raises(errors.OutcomeUnknownError):
                await killed(one.update({"number": 5}))

            async def in_transaction() -> None:
                async with db.transaction() as tx:
                    await tx.query(Moment).insert({"number": 99})
                    await tx.query(Moment).filter(id=1).filter_native(ASLEEP).count()

            with pytest.raises(errors.ConnectionLostError) as caught:
                await killed(in_transaction())
            assert caught.value.retryable

            seen = 0
            with pytest.raises(errors.ConnectionLostError):
                async for _ in db.query(Moment).stream(batch_size=5):
                    seen += 1
                    if seen == 5:
                        await asyncio.to_thread(place.kill_all)
            assert await db.query(Moment).filter(number=99).count() == 0
            assert await db.query(Moment).count() == 50

    run(work)
    assert "Exception during reset" not in caplog.text


# -- tables that are altered under a running program -------------------------------------------------------------------


def test_statements_that_the_server_will_not_plan_again_are_sent_anew(place: Place) -> None:
    async def work() -> None:
        async with place.opened(rows=50) as db:
            query = db.query(Moment)
            some = query.filter(Moment.number > 1).order_by("id").limit(2)

            async def streamed() -> int:
                return len([moment async for moment in query.limit(3).stream(batch_size=2)])

            async def in_transaction() -> int:
                return await db.run_transaction(lambda tx: tx.query(Moment).filter(number=3).count())

            uses: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
                "read": some.all,
                "stream": streamed,
                "aggregate": lambda: query.aggregate(most=db_plugins.func.max(Moment.number)),
                "insert": lambda: query.insert({"number": 3}),
                "update": lambda: query.filter(id=1).update({"number": 3}),
                "transaction": in_transaction,
            }
            for _ in range(7):  # psycopg prepares what it sends more than five times
                for use in uses.values():
                    await use()
            for use in uses.values():
                for kind in ("bigint", "integer"):
                    place.run(f"ALTER TABLE moment ALTER number TYPE {kind}")
                    await use()

    run(work)


def test_copy_never_sends_values_of_the_type_that_a_column_had(place: Place) -> None:
    """The bytes of a bigint are those of some float8."""

    async def work() -> None:
        async with place.opened() as db:
            place.run("ALTER TABLE moment ALTER number TYPE bigint")
            rows = [{"number": n} for n in range(2000)]
            await db.query(Moment).bulk_insert(rows)
            for kind in ("double precision", "bigint", "numeric", "integer"):
                place.run(f"TRUNCATE moment; ALTER TABLE moment ALTER number TYPE {kind}")
                await db.query(Moment).bulk_insert(rows)
                assert place.run("SELECT sum(number)::int FROM moment") == [(1999 * 1000,)], kind

    run(work)


# -- settings ----------------------------------------------------------------------------------------------------------

#: The query of a URL → the error, or what the connection then shows.
WORDS = {
    "sslmode=disable": "UTC",
    "sslmode=prefer": "UTC",
    "sslmode=require": errors.ConnectionFailedError,
    "sslmode=verify-full": errors.ConnectionFailedError,
    "application_name=hey": "UTC",
    "connect_timeout=3&keepalives=1&gssencmode=disable": "UTC",
    "options=-cwork_mem%3D5MB%20-c%20statement_timeout%3D9s": "UTC",
}
ONLY_ASYNCPG = {
    "sslmode=bogus": "sslmode",
    "sslmode=verify-full&sslrootcert=/nowhere.pem": "sslrootcert",
    "nonsense=1": "nonsense",
    "connect_timeout=soon": "connect_timeout",
}


async def zone_at(url: str) -> str:
    async with db_plugins.connect_async(url, models=[]) as db, db.session() as session:
        found = (await session.execute(sa.text("SHOW TimeZone"))).scalar_one()
        return str(found)


@pytest.mark.parametrize("words", WORDS)
def test_a_url_says_how_to_connect_in_libpqs_words(place: Place, words: str) -> None:
    scheme = place.entry["ENGINE"]
    url = f"{place.url.replace('postgresql:', scheme + ':')}?{words}"
    wanted = WORDS[words]

    async def work() -> None:
        if isinstance(wanted, str):
            assert await zone_at(url) == wanted
        else:
            with pytest.raises(wanted):
                await zone_at(url)

    run(work)


@pytest.mark.parametrize("words", ONLY_ASYNCPG)
def test_what_asyncpg_has_no_word_for_is_a_config_error(words: str) -> None:
    async def work() -> None:
        with pytest.raises(errors.ConfigError, match=ONLY_ASYNCPG[words]):
            await zone_at(f"postgresql+asyncpg://u:p@127.0.0.1:1/x?{words}")

    run(work)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"PORT": 1}, errors.ServerUnreachableError),
        ({"HOST": "/nowhere"}, errors.ServerUnreachableError),
        ({"PASSWORD": "wr0ng"}, errors.AuthenticationError),
        ({"DB_NAME": "nobody_made_it"}, errors.DatabaseMissingError),
        ({"TLS": "require"}, errors.ConnectionFailedError),
        ({"TLS": "verify"}, errors.ConnectionFailedError),
    ],
)
def test_a_connection_that_cannot_be_made_is_told_why(place: Place, changes: Any, error: type) -> None:
    async def work() -> None:
        with pytest.raises(error) as caught:
            async with place.opened(**changes):
                pass
        assert type(caught.value) is error
        assert caught.value.__cause__ is not None

    run(work)


def test_a_server_that_says_nothing_or_hangs_up_is_told_in_time(place: Place) -> None:
    async def hang_up(_reader: Any, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def fails_at(port: int) -> None:
        async with asyncio.timeout(8):
            with pytest.raises(errors.ConnectionFailedError):
                async with place.opened(PORT=port, CONNECT_TIMEOUT=1):
                    pass

    async def work() -> None:
        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
            await fails_at(server.sockets[0].getsockname()[1])
        with socket.create_server(("127.0.0.1", 0)) as silent:
            await fails_at(silent.getsockname()[1])

    run(work)


def test_a_slow_statement_ends_at_query_timeout_and_the_connection_goes_on(place: Place) -> None:
    async def work() -> None:
        async with place.opened(rows=3, QUERY_TIMEOUT=0.4) as db:
            with pytest.raises(errors.QueryTimeoutError):
                await db.query(Moment).filter(id=1).filter_native(ASLEEP).all()
            assert await db.query(Moment).count() == 3

    run(work)


# -- cancellation ------------------------------------------------------------------------------------------------------


def test_a_statement_that_is_cancelled_leaves_no_transaction_behind(place: Place) -> None:
    async def work() -> None:
        async with place.opened(rows=3) as db:

            async def in_transaction() -> None:
                async with db.transaction() as tx:
                    await tx.query(Moment).insert({"number": 99})
                    await tx.query(Moment).filter(id=1).filter_native(ASLEEP).count()

            for _ in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await in_transaction()
            for _ in range(60):
                if set(await asyncio.to_thread(place.states)) <= {"idle"}:
                    break
                await asyncio.sleep(0.05)
            assert set(place.states()) <= {"idle"}
            assert await db.query(Moment).filter(number=99).count() == 0

    run(work)
