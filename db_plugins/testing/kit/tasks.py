"""Many tasks on one AsyncDatabase, and whose transaction a call belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from db_plugins import Capability
from db_plugins.errors import EngineError, UnsupportedOperationError

from .harness import ConnectAsync, requires, subject
from .models import Star, Tally
from .transactions import Stop

if TYPE_CHECKING:
    from db_plugins import AsyncDatabase

__all__ = ["Tasks"]

MANY = 50
#: Seconds for what waits for nobody.
SOON = 30.0

Body = Callable[["AsyncDatabase"], Awaitable[None]]


def run_on(connect_async: ConnectAsync, body: Body, *models: type, **settings: Any) -> None:
    """Run the body on a loop of its own, with an AsyncDatabase."""

    async def main() -> None:
        async with connect_async(*models, **settings) as db:
            await body(db)

    asyncio.run(main())


def starting(work: Callable[[], Awaitable[Any]]) -> dict[str, Callable[[], Awaitable[Any]]]:
    """The ways in which a program starts a task, often without saying so."""

    async def begun() -> Any:
        return await work()

    return {
        "create_task": lambda: asyncio.create_task(begun()),
        "gather": lambda: asyncio.gather(begun()),
        "shield": lambda: asyncio.shield(begun()),
        "wait": lambda: asyncio.wait([asyncio.ensure_future(begun())]),
    }


async def outcome_of(started: Any) -> Any:
    """What the task gave, whichever way it was started."""
    done = await started
    if isinstance(done, tuple):  # asyncio.wait's
        return done[0].pop().result()
    return done[0] if isinstance(done, list) else done


@subject("async", Capability.WRITE)
class Tasks:
    """API §3: any number of tasks."""

    def test_fifty_tasks_store_and_read_each_its_own(self, connect_async: ConnectAsync) -> None:
        async def one(db: AsyncDatabase, n: int) -> None:
            star = await db.query(Star).insert({"name": f"s{n}", "mag": n})
            found = await db.query(Star).get(star.id)
            assert found is not None
            assert (found.name, found.mag) == (f"s{n}", n)
            await db.query(Star).update(found, {"band": "X"})
            assert await db.query(Star).filter(name=f"s{n}", band="X").count() == 1
            stored = await db.query(Star).bulk_insert({"name": f"b{n}-{m}", "mag": n} for m in range(5))
            assert stored.inserted == 5
            names = [s.name for s in await db.query(Star).filter(band=None, mag=n).order_by("name").all()]
            assert names == [f"b{n}-{m}" for m in range(5)]

        async def body(db: AsyncDatabase) -> None:
            await asyncio.gather(*(one(db, n) for n in range(MANY)))
            assert await db.query(Star).count() == 6 * MANY

        run_on(connect_async, body, Star)

    def test_of_fifty_tasks_exactly_one_creates(self, connect_async: ConnectAsync) -> None:
        async def body(db: AsyncDatabase) -> None:
            made = await asyncio.gather(
                *(db.query(Star).get_or_create({"name": "a"}, mag=n) for n in range(MANY))
            )
            assert sum(is_new for _star, is_new in made) == 1
            assert len({(star.id, star.mag) for star, _is_new in made}) == 1

        run_on(connect_async, body, Star)

    def test_fifty_upserts_of_a_row_leave_one_and_lose_no_count(self, connect_async: ConnectAsync) -> None:
        async def count_up(db: AsyncDatabase) -> None:
            await db.query(Tally).bulk_insert(
                [{"name": "a", "n": 1}], on_conflict="update", key="name", update={"n": Tally.n + 1}
            )

        async def body(db: AsyncDatabase) -> None:
            await asyncio.gather(
                *(db.query(Tally).upsert({"name": "b", "n": n}, key="name") for n in range(MANY))
            )
            await asyncio.gather(*(count_up(db) for _ in range(MANY)))
            assert (await db.query(Tally).filter(name="a").one()).n == MANY
            assert await db.query(Tally).filter(name="b").count() == 1

        run_on(connect_async, body, Tally)

    def test_streams_of_several_tasks_go_on_beside_each_other(self, connect_async: ConnectAsync) -> None:
        async def read(db: AsyncDatabase) -> list[str]:
            return [s.name async for s in db.query(Star).order_by("name").stream(batch_size=7)]

        async def body(db: AsyncDatabase) -> None:
            names = [f"s{n:02}" for n in range(60)]
            await db.query(Star).bulk_insert({"name": name} for name in names)
            assert await asyncio.gather(*(read(db) for _ in range(5))) == [names] * 5

        run_on(connect_async, body, Star)

    # -- transactions ----------------------------------------------------------------------------------------------

    @requires(Capability.TRANSACTIONS)
    def test_transactions_of_fifty_tasks_on_one_row_lose_nothing(self, connect_async: ConnectAsync) -> None:
        async def add_one(tx: AsyncDatabase) -> None:
            star = await tx.query(Star).one()
            await asyncio.sleep(0)
            await tx.query(Star).update(star, {"mag": (star.mag or 0) + 1})

        async def body(db: AsyncDatabase) -> None:
            await db.query(Star).insert({"name": "a", "mag": 0})
            await asyncio.gather(*(db.run_transaction(add_one, retries=500) for _ in range(MANY)))
            assert (await db.query(Star).one()).mag == MANY

        run_on(connect_async, body, Star)

    @requires(Capability.TRANSACTIONS)
    def test_calls_on_db_join_in_the_task_that_opened_it(self, connect_async: ConnectAsync) -> None:
        async def store(db: AsyncDatabase, name: str) -> None:
            await db.query(Star).insert({"name": name})

        async def body(db: AsyncDatabase) -> None:
            async with db.transaction():
                await store(db, "a")
                async with asyncio.timeout(SOON):
                    await store(db, "b")
                assert await db.query(Star).count() == 2
            with pytest.raises(Stop):
                await broken_off(db)
            assert [s.name for s in await db.query(Star).order_by("name").all()] == ["a", "b"]

        async def broken_off(db: AsyncDatabase) -> None:
            async with db.transaction():
                await store(db, "c")
                raise Stop

        run_on(connect_async, body, Star)

    @pytest.mark.parametrize("way", ["create_task", "gather", "shield", "wait"])
    @requires(Capability.TRANSACTIONS)
    def test_a_task_that_is_started_inside_is_handed_tx(self, connect_async: ConnectAsync, way: str) -> None:
        async def body(db: AsyncDatabase) -> None:
            async with db.transaction() as tx:
                await tx.query(Star).insert({"name": "a"})
                with pytest.raises(UnsupportedOperationError, match="tx"):
                    await outcome_of(starting(lambda: db.query(Star).count())[way]())
                assert await outcome_of(starting(lambda: tx.query(Star).count())[way]()) == 1
                await outcome_of(starting(lambda: tx.query(Star).insert({"name": "b"}))[way]())
            assert await db.query(Star).count() == 2

        run_on(connect_async, body, Star)

    @requires(Capability.TRANSACTIONS)
    def test_calls_on_tx_that_are_made_together_follow_each_other(self, connect_async: ConnectAsync) -> None:
        async def copy(tx: AsyncDatabase, name: str) -> None:
            star = await tx.query(Star).filter(name=name).one()
            await tx.query(Star).insert({"name": f"{star.name}+", "mag": star.mag})

        async def body(db: AsyncDatabase) -> None:
            await db.query(Star).bulk_insert({"name": f"s{n}", "mag": n} for n in range(20))
            async with db.transaction() as tx:
                counts = await asyncio.gather(
                    *(tx.query(Star).filter(Star.mag < n).count() for n in range(20)),
                    *(copy(tx, f"s{n}") for n in range(20)),
                )
                assert await db.query(Star).count() == 40
            assert counts[:20] == list(range(20))
            assert {(s.name, s.mag) for s in await db.query(Star).filter(Star.name.endswith("+")).all()} == {
                (f"s{n}+", n) for n in range(20)
            }

        run_on(connect_async, body, Star)

    @requires(Capability.TRANSACTIONS)
    def test_the_end_of_a_transaction_waits_for_a_call_that_runs(self, connect_async: ConnectAsync) -> None:
        async def body(db: AsyncDatabase) -> None:
            async with db.transaction() as tx:
                calls = [asyncio.ensure_future(tx.query(Star).insert({"name": f"s{n}"})) for n in range(8)]
                await asyncio.wait([calls[0]])
            done = await asyncio.gather(*calls, return_exceptions=True)
            stored = [star for star in done if isinstance(star, Star)]
            refused = [error for error in done if isinstance(error, BaseException)]
            assert all(isinstance(error, UnsupportedOperationError) for error in refused), refused
            assert await db.query(Star).count() == len(stored) >= 1

        run_on(connect_async, body, Star)

    @requires(Capability.TRANSACTIONS)
    def test_rows_of_a_bulk_write_may_be_read_in_its_own_transaction(
        self, connect_async: ConnectAsync
    ) -> None:
        async def rows(db: AsyncDatabase, tx: AsyncDatabase) -> AsyncIterator[dict[str, Any]]:
            for star in await tx.query(Star).order_by("name").all():
                yield {"name": f"{star.name}+", "mag": await db.query(Star).filter(mag=star.mag).count()}

        async def body(db: AsyncDatabase) -> None:
            await db.query(Star).bulk_insert({"name": f"s{n:02}", "mag": n} for n in range(25))
            async with asyncio.timeout(SOON), db.transaction() as tx:
                assert (await tx.query(Star).bulk_insert(rows(db, tx), batch_size=10)).inserted == 25
            assert await db.query(Star).filter(Star.name.endswith("+")).count() == 25

        run_on(connect_async, body, Star)

    @requires(Capability.TRANSACTIONS)
    def test_calls_of_other_tasks_are_outside(self, connect_async: ConnectAsync) -> None:
        async def body(db: AsyncDatabase) -> None:
            await db.query(Star).insert({"name": "old"})
            inside, looked = asyncio.Event(), asyncio.Event()

            async def other() -> int:
                await inside.wait()
                return await db.query(Star).count()

            # Started before the transaction: it is no child of it.
            beside = asyncio.create_task(other())
            beside.add_done_callback(lambda _done: looked.set())
            async with db.transaction() as tx:
                await tx.query(Star).insert({"name": "new"})
                inside.set()
                # An engine with one connection makes it wait for the end.
                await asyncio.wait([asyncio.ensure_future(looked.wait())], timeout=0.3)
                if beside.done():
                    assert beside.result() == 1, "it saw what is not committed"
            assert await beside in (1, 2)
            await looked.wait()
            assert await db.query(Star).count() == 2

        run_on(connect_async, body, Star)

    @requires(Capability.TRANSACTIONS)
    def test_what_is_handed_on_ends_with_the_block(self, connect_async: ConnectAsync) -> None:
        async def body(db: AsyncDatabase) -> None:
            ended = asyncio.Event()

            async def late(tx: AsyncDatabase) -> None:
                await ended.wait()
                for use in (tx.query(Star).count, lambda: tx.query(Star).insert({"name": "b"})):
                    with pytest.raises(UnsupportedOperationError, match="ended"):
                        await use()
                await db.query(Star).insert(
                    {"name": "c"}
                )  # db is free again, also where the task began inside

            async with db.transaction() as tx:
                await tx.query(Star).insert({"name": "a"})
                child = asyncio.create_task(late(tx))
            ended.set()
            await child
            assert [s.name for s in await db.query(Star).order_by("name").all()] == ["a", "c"]

        run_on(connect_async, body, Star)

    @requires(Capability.TRANSACTIONS, Capability.UNIQUE)
    def test_a_child_that_fails_spoils_the_transaction(self, connect_async: ConnectAsync) -> None:
        async def both(db: AsyncDatabase) -> None:
            async with db.transaction() as tx:
                await tx.query(Star).insert({"name": "b"})
                calls = (tx.query(Star).insert({"name": name}) for name in ("a", "c"))
                done = await asyncio.gather(*calls, return_exceptions=True)
                assert isinstance(done[0], EngineError)
                assert isinstance(done[1], UnsupportedOperationError), "the call after the failed one"

        async def body(db: AsyncDatabase) -> None:
            await db.query(Star).insert({"name": "a"})
            with pytest.raises(EngineError):
                await both(db)
            assert await db.query(Star).count() == 1

        run_on(connect_async, body, Star)

    # -- sessions --------------------------------------------------------------------------------------------------

    @requires(Capability.SESSIONS, Capability.NATIVE_ASYNC)
    def test_a_session_belongs_to_its_task(self, connect_async: ConnectAsync) -> None:
        async def one(db: AsyncDatabase, n: int) -> None:
            async with db.session() as s:
                star = Star(name=f"s{n}")
                s.add(star)
                assert await db.query(Star).filter(name=f"s{n}").count() == 1
            assert star.id

        async def body(db: AsyncDatabase) -> None:
            await asyncio.gather(*(one(db, n) for n in range(20)))
            assert await db.query(Star).count() == 20
            async with db.session() as s:
                s.add(Star(name="a"))
                await s.flush()
                for start in starting(lambda: db.query(Star).count()).values():
                    with pytest.raises(UnsupportedOperationError, match="tx"):
                        await outcome_of(start())
            assert await db.query(Star).count() == 21

        run_on(connect_async, body, Star)
