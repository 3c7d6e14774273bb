"""The loop goes on: a task that ticks keeps its time, whatever a call of the AsyncDatabase waits for."""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from db_plugins import Capability, connect_async
from db_plugins.errors import ConflictError, EngineError

from .harness import ConnectAsync, requires, subject
from .models import Star
from .tasks import MANY, run_on

if TYPE_CHECKING:
    from typing import Self

    from db_plugins import AsyncDatabase

__all__ = ["Ticker", "Ticking"]

#: Seconds between two ticks.
EVERY = 0.02


class Ticker:
    """A task that ticks while a block runs; at its end it must have kept its time.

    Machines of tests are loaded: a single gap may be long, but half of them may not, and none as long as the wait itself.
    """

    def __init__(self) -> None:
        self.ticks: list[float] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(0)
        return self

    async def _tick(self) -> None:
        while True:
            self.ticks.append(time.monotonic())
            await asyncio.sleep(EVERY)

    @property
    def gaps(self) -> list[float]:
        return [after - before for before, after in zip(self.ticks, self.ticks[1:], strict=False)]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ticks.append(time.monotonic())
        self._task.cancel()
        if kind is None:
            self.check()

    def check(self) -> None:
        """Were there enough ticks, and none of them far too late?"""
        seconds = self.ticks[-1] - self.ticks[0]
        gaps = self.gaps
        told = f"{len(gaps)} gaps in {seconds:.2f} s, the longest {max(gaps):.3f} s"
        assert max(gaps) < max(0.25, seconds / 3), told
        if seconds > 10 * EVERY:
            assert statistics.median(gaps) < 5 * EVERY, told
            assert len(gaps) >= 8 * seconds, told


@subject("async", Capability.WRITE)
class Ticking:
    """API §6: nothing blocks."""

    @requires(Capability.TRANSACTIONS)
    def test_the_loop_goes_on_while_a_write_waits_for_a_transaction(
        self, connect_async: ConnectAsync
    ) -> None:
        async def body(db: AsyncDatabase) -> None:
            await db.query(Star).insert({"name": "a", "mag": 0})

            async def beside() -> int:
                return await db.query(Star).filter(name="a").update({"band": "X"})

            inside = asyncio.Event()

            async def holds() -> None:
                async with db.transaction() as tx:
                    await tx.query(Star).filter(name="a").update({"mag": 1})
                    inside.set()
                    await asyncio.sleep(0.8)

            holder = asyncio.create_task(holds())
            await inside.wait()
            async with Ticker():
                assert await beside() == 1
                try:
                    await holder
                except ConflictError:  # an engine whose transactions find out at their end
                    await db.query(Star).filter(name="a").update({"mag": 1})
            star = await db.query(Star).one()
            assert (star.mag, star.band) == (1, "X")

        run_on(connect_async, body, Star)

    def test_the_loop_goes_on_while_fifty_tasks_work(self, connect_async: ConnectAsync) -> None:
        async def one(db: AsyncDatabase, n: int) -> None:
            for m in range(3):
                star = await db.query(Star).insert({"name": f"{n}-{m}"})
                assert await db.query(Star).get(star.id) is not None

        async def body(db: AsyncDatabase) -> None:
            await db.query(Star).insert({"name": "first"})  # what is worked out once is not the loop's fault
            async with Ticker():
                await asyncio.gather(*(one(db, n) for n in range(MANY)))

        run_on(connect_async, body, Star)

    def test_the_loop_goes_on_while_tables_are_made(self, connect_async: ConnectAsync) -> None:
        async def body(db: AsyncDatabase) -> None:
            async with Ticker():
                await db.drop_all(force=True)
                await db.create_all()
                await db.ping()

        run_on(connect_async, body, Star)

    @requires(Capability.TRANSACTIONS)
    def test_the_loop_goes_on_while_a_transaction_is_tried_again(self, connect_async: ConnectAsync) -> None:
        async def body(db: AsyncDatabase) -> None:
            attempts: list[int] = []

            async def conflicts(tx: AsyncDatabase) -> None:
                attempts.append(1)
                if len(attempts) < 10:
                    raise ConflictError("not yet")

            async with Ticker():
                await db.run_transaction(conflicts)
            assert len(attempts) == 10

        run_on(connect_async, body, Star)

    def test_the_loop_goes_on_while_a_server_does_not_answer(self, entry: dict[str, Any]) -> None:
        if "HOST" not in entry or str(entry["HOST"]).startswith("/"):
            return  # no server, so none that is silent
        with socket.create_server(("127.0.0.1", 0)) as silent:

            async def main() -> None:
                silent_entry = {**entry, "HOST": "127.0.0.1", "PORT": silent.getsockname()[1]}
                async with connect_async({**silent_entry, "CONNECT_TIMEOUT": 1}, models=[Star]) as db:
                    began = time.monotonic()
                    async with Ticker():
                        try:
                            await db.query(Star).count()
                        except EngineError:
                            pass
                        else:
                            raise AssertionError("nobody answers there")
                    assert time.monotonic() - began < 20

            asyncio.run(main())
