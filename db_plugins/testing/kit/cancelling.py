"""A task that is cancelled wherever it waits: the pool stays whole, and nothing is half committed.

``each_point`` runs a piece of work again and again, and cancels it the first time where it waits first, the second time
where it waits for the second time, until it comes through. How a cancellation meets a wait is told by ``WHEN``.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import aclosing
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from db_plugins import Capability

from .harness import ConnectAsync, requires, subject
from .models import Star
from .tasks import SOON, run_on
from .transactions import Stop

if TYPE_CHECKING:
    from db_plugins import AsyncDatabase

__all__ = ["WHEN", "Cancelled", "Cancelling", "each_point"]

#: As soon as it waits; when what it waited for is there, and it does not know it yet; and once more while it gives up.
WHEN = ("at once", "late", "twice")
#: Two connections that may be lost, and the third is missed after two seconds.
SMALL = {"POOL_SIZE": 2, "MAX_OVERFLOW": 0, "POOL_TIMEOUT": 5}
#: Points of one piece of work that are looked at, if it waits oftener.
MOST_POINTS = 60

Work = Callable[["AsyncDatabase", str], Coroutine[Any, Any, None]]


class Cancelled:
    """Awaits a coroutine, and cancels its own task where that waits for the ``at``-th time."""

    def __init__(self, work: Coroutine[Any, Any, None], at: int, when: str) -> None:
        self.work = work
        self.at = at
        self.when = when
        self.waits = 0

    def __await__(self) -> Generator[Any, Any, None]:
        task = asyncio.current_task()
        assert task is not None
        step: Callable[[], Any] = lambda: self.work.send(None)  # noqa: E731
        while True:
            try:
                awaited = step()
            except StopIteration:
                return
            self.waits += 1
            if self.waits == self.at or (self.when == "twice" and self.waits == self.at + 1):
                if self.when == "late" and awaited is not None:
                    awaited.add_done_callback(lambda _done: task.cancel())
                else:
                    task.cancel()
            try:
                yield awaited
            except BaseException as exc:
                step = _throwing(self.work, exc)
            else:
                step = lambda: self.work.send(None)  # noqa: E731


def _throwing(work: Coroutine[Any, Any, None], exc: BaseException) -> Callable[[], Any]:
    return lambda: work.throw(exc)


async def each_point(
    when: str,
    work: Callable[[str], Coroutine[Any, Any, None]],
    check: Callable[[str], Awaitable[None]],
) -> int:
    """At how many points it was cancelled. ``work`` and ``check`` get a tag that is new each time."""

    async def cancelled(tag: str, at: int) -> bool:
        """Was it? Else it has come through."""
        cancelling = Cancelled(work(tag), at, when)

        async def main() -> None:
            await cancelling

        task = asyncio.create_task(main())
        await asyncio.wait([task], timeout=SOON)
        assert task.done(), f"cancelled {when} where it waits for the {at}. time, it waits for ever"
        if not task.cancelled():
            task.result()  # no other exception than CancelledError
        return cancelling.waits >= at

    for at in count(1):
        tag = f"{when[:2]}{at}"
        if at > MOST_POINTS or not await cancelled(tag, at):
            return at - 1
        try:
            async with asyncio.timeout(SOON):
                await check(tag)
        except BaseException as exc:
            exc.add_note(f"after it was cancelled {when} where it waits for the {at}. time")
            raise
    raise AssertionError("unreachable")


async def counted(db: AsyncDatabase, tag: str) -> int:
    return await db.query(Star).filter(band=tag).count()


# -- pieces of work: each leaves all or nothing --------------------------------------------------------------------------


async def insert(db: AsyncDatabase, tag: str) -> None:
    await db.query(Star).insert({"name": tag, "band": tag})


async def get(db: AsyncDatabase, tag: str) -> None:
    star = await db.query(Star).get(1)
    assert star is not None
    assert star.name == "a"


async def pages(db: AsyncDatabase, tag: str) -> None:
    page = await db.query(Star).order_by("name").paginate(per_page=5)
    assert len(page) == 5
    assert await page.next() is not None


async def read_stream(db: AsyncDatabase, tag: str) -> None:
    async with aclosing(db.query(Star).order_by("name").stream(batch_size=7)) as stream:
        assert len([star async for star in stream]) >= 21


async def get_or_create(db: AsyncDatabase, tag: str) -> None:
    await db.query(Star).get_or_create({"name": tag}, band=tag)


async def upsert(db: AsyncDatabase, tag: str) -> None:
    await db.query(Star).upsert({"name": tag, "band": tag}, key="name")


async def update(db: AsyncDatabase, tag: str) -> None:
    await db.query(Star).filter(name="a").update({"band": tag})


async def insert_many(db: AsyncDatabase, tag: str) -> None:
    rows = ({"name": f"{tag}-{n}", "band": tag} for n in range(25))
    await db.query(Star).bulk_insert(rows, batch_size=10)


async def insert_many_awaited(db: AsyncDatabase, tag: str) -> None:
    async def rows() -> AsyncIterator[dict[str, Any]]:
        for n in range(25):
            if n % 10 == 5:
                await asyncio.sleep(0)
            yield {"name": f"{tag}-{n}", "band": tag}

    await db.query(Star).bulk_insert(rows(), batch_size=10)


async def transaction(db: AsyncDatabase, tag: str) -> None:
    async with db.transaction() as tx:
        assert await tx.query(Star).filter(name="a").exists()
        await tx.query(Star).insert({"name": f"{tag}-1", "band": tag})
        await tx.query(Star).filter(name="a").update({"mag": 1})
        await asyncio.sleep(0)
        await db.query(Star).insert({"name": f"{tag}-2", "band": tag})


async def transaction_with_stream(db: AsyncDatabase, tag: str) -> None:
    async with db.transaction() as tx:
        await tx.query(Star).insert({"name": f"{tag}-1", "band": tag})
        async with aclosing(tx.query(Star).order_by("name").stream(batch_size=7)) as stream:
            async for _star in stream:
                pass
        await tx.query(Star).insert({"name": f"{tag}-2", "band": tag})


async def savepoint(db: AsyncDatabase, tag: str) -> None:
    async with db.transaction() as tx:
        await tx.query(Star).insert({"name": f"{tag}-1", "band": tag})
        try:
            async with tx.transaction() as inner:
                await inner.query(Star).insert({"name": f"{tag}-0", "band": tag})
                raise Stop
        except Stop:
            pass
        async with tx.transaction() as inner:
            await inner.query(Star).insert({"name": f"{tag}-2", "band": tag})


async def session(db: AsyncDatabase, tag: str) -> None:
    async with db.session() as s:
        s.add(Star(name=f"{tag}-1", band=tag))
        await s.flush()
        assert await db.query(Star).filter(band=tag).count() == 1
        s.add(Star(name=f"{tag}-2", band=tag))


async def together(db: AsyncDatabase, tag: str) -> None:
    async with db.transaction() as tx:
        await asyncio.gather(*(tx.query(Star).insert({"name": f"{tag}-{n}", "band": tag}) for n in range(3)))


ALONE = (insert, get, pages, read_stream, get_or_create, upsert, update)
IN_TRANSACTIONS: dict[Work, int] = {
    insert_many: 25,
    insert_many_awaited: 25,
    transaction: 2,
    transaction_with_stream: 2,
    together: 3,
}


def sweep(connect_async: ConnectAsync, work: Work, when: str, rows: int) -> None:
    """Cancel the work at each point. Afterwards it has left so many rows or none, and others can do all they could."""

    async def body(db: AsyncDatabase) -> None:
        complaints: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, about: complaints.append(about))
        await db.query(Star).bulk_insert(
            {"id": n + 1, "name": "abcdefghijklmnopqrstu"[n], "mag": 0} for n in range(21)
        )

        async def check(tag: str) -> None:
            assert await counted(db, tag) in (0, rows), "half of it is stored"
            # No lock is left on what it wrote, and two connections are to be had at the same time.
            changed = await asyncio.gather(
                db.query(Star).filter(name="a").update({"band": None, "mag": 0}),
                db.query(Star).filter(name="b").update({"mag": 1}),
            )
            assert list(changed) == [1, 1]
            in_use = ((await db.ping()).pool or {}).get("in_use", 0)
            assert in_use <= 1, "a connection is still lent"

        await work(db, "warm")  # what is worked out once
        await each_point(when, lambda tag: work(db, tag), check)
        await work(db, "after")
        gc.collect()
        await asyncio.sleep(0)
        assert not complaints, complaints

    run_on(connect_async, body, Star, **SMALL)


@subject("async", Capability.WRITE)
class Cancelling:
    """RELIABILITY: cancellation at any point."""

    @pytest.mark.parametrize("when", WHEN)
    @pytest.mark.parametrize("work", ALONE, ids=lambda work: work.__name__)
    def test_a_call_that_is_cancelled_is_whole_or_nothing(
        self, connect_async: ConnectAsync, work: Work, when: str
    ) -> None:
        sweep(connect_async, work, when, 1)

    @pytest.mark.parametrize("when", WHEN)
    @pytest.mark.parametrize("work", IN_TRANSACTIONS, ids=lambda work: work.__name__)
    @requires(Capability.TRANSACTIONS)
    def test_a_transaction_that_is_cancelled_is_whole_or_nothing(
        self, connect_async: ConnectAsync, work: Work, when: str
    ) -> None:
        sweep(connect_async, work, when, IN_TRANSACTIONS[work])

    @pytest.mark.parametrize("when", WHEN)
    @requires(Capability.SAVEPOINTS)
    def test_a_savepoint_that_is_cancelled_goes_with_its_transaction(
        self, connect_async: ConnectAsync, when: str
    ) -> None:
        sweep(connect_async, savepoint, when, 2)

    @pytest.mark.parametrize("when", WHEN)
    @requires(Capability.SESSIONS, Capability.NATIVE_ASYNC)
    def test_a_session_that_is_cancelled_is_whole_or_nothing(
        self, connect_async: ConnectAsync, when: str
    ) -> None:
        sweep(connect_async, session, when, 2)

    @requires(Capability.TRANSACTIONS)
    def test_a_timeout_is_asyncios_and_what_waited_leaves_no_lock(self, connect_async: ConnectAsync) -> None:
        async def body(db: AsyncDatabase) -> None:
            await db.query(Star).insert({"name": "a", "mag": 0})
            inside, done = asyncio.Event(), asyncio.Event()

            async def holds() -> None:
                async with db.transaction() as tx:
                    await tx.query(Star).filter(name="a").update({"band": "X"})
                    inside.set()
                    await done.wait()

            holder = asyncio.create_task(holds())
            await inside.wait()
            met: BaseException | None = None
            try:
                async with asyncio.timeout(0.3):
                    await db.query(Star).filter(name="a").update({"mag": 1})
            except TimeoutError as exc:
                met = exc
            done.set()
            if met is None:  # it need not wait on this engine
                await asyncio.wait([holder])
                holder.exception()
                return
            assert type(met) is TimeoutError
            await holder
            star = await db.query(Star).one()
            # Done or not: a server may have the write already, and not hear that nobody waits for it.
            assert (star.mag, star.band) in ((0, "X"), (1, "X"))
            async with asyncio.timeout(SOON):
                assert await db.query(Star).filter(name="a").update({"mag": 2}) == 1

        run_on(connect_async, body, Star)

    def test_of_fifty_cancelled_tasks_the_pool_stays_whole(self, connect_async: ConnectAsync) -> None:
        async def body(db: AsyncDatabase) -> None:
            await insert(db, "warm")
            for turn in range(5):
                tasks = [asyncio.create_task(insert(db, f"{turn}-{n}")) for n in range(50)]
                await asyncio.sleep(0.004 * turn)
                for task in tasks:
                    task.cancel()
                done = await asyncio.gather(*tasks, return_exceptions=True)
                assert all(d is None or isinstance(d, asyncio.CancelledError) for d in done), done
            stored = await db.query(Star).count()
            await asyncio.gather(*(insert(db, f"after-{n}") for n in range(20)))
            assert await db.query(Star).count() == stored + 20

        run_on(connect_async, body, Star, **SMALL)
