"""``ways.py`` and ``awaiting.py`` alone: what a task sees of a function that runs on a greenlet or in a worker thread."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import greenlet
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util import await_only, greenlet_spawn

from db_plugins import awaiting, ways
from db_plugins.awaiting import PROVIDER, here, is_awaited, iterated, sleep, wait
from db_plugins.ways import in_thread, on_greenlet

WAYS = [on_greenlet, in_thread]
both = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
Way = Callable[..., Awaitable[Any]]
colour: ContextVar[str] = ContextVar("colour", default="none")


async def later(value: Any, seconds: float = 0.0) -> Any:
    await asyncio.sleep(seconds)
    return value


# -- what SQLAlchemy agrees to -----------------------------------------------------------------------------------------


def test_sqlalchemy_waits_on_our_greenlets_and_we_on_its() -> None:
    async def main() -> None:
        assert await on_greenlet(lambda: await_only(later(1))) == 1
        assert await greenlet_spawn(lambda: wait(later(2))) == 2
        assert await greenlet_spawn(is_awaited)

    asyncio.run(main())


def test_sqlalchemys_greenlets_have_the_mark_that_ours_have() -> None:
    async def main() -> list[Any]:
        return [
            await way(lambda: getattr(greenlet.getcurrent(), PROVIDER, None))
            for way in (on_greenlet, greenlet_spawn)
        ]

    assert asyncio.run(main()) == [True, True]


def test_an_adapted_driver_works_on_our_greenlets() -> None:
    async def main() -> int:
        engine = create_async_engine("sqlite+aiosqlite://")

        def ask() -> int:
            with engine.sync_engine.connect() as connection:
                found: int = connection.scalar(sa.text("SELECT 7"))
                return found

        try:
            return await on_greenlet(ask)
        finally:
            await engine.dispose()

    assert asyncio.run(main()) == 7


# -- both ways ---------------------------------------------------------------------------------------------------------


@both
def test_what_the_function_gives_and_raises_is_the_callers(way: Way) -> None:
    async def main() -> None:
        assert await way(lambda a, b: a + b, 1, 2) == 3
        with pytest.raises(ZeroDivisionError):
            await way(lambda: 1 / 0)
        with pytest.raises(KeyError):
            await way(lambda: wait(raising(KeyError("x"))))

    async def raising(exc: Exception) -> None:
        await asyncio.sleep(0)
        raise exc

    asyncio.run(main())


@both
def test_what_is_awaited_inside_runs_on_the_loop(way: Way) -> None:
    async def thread() -> int:
        await asyncio.sleep(0)
        return threading.get_ident()

    async def main() -> None:
        assert await way(lambda: wait(thread())) == threading.get_ident()
        assert await way(lambda: [wait(later(n)) for n in range(5)]) == [0, 1, 2, 3, 4]

    asyncio.run(main())


@both
def test_the_function_sees_the_variables_of_its_task(way: Way) -> None:
    async def one(name: str) -> str:
        colour.set(name)
        await asyncio.sleep(0)
        found: str = await way(lambda: (sleep(0.01), colour.get())[1])
        return found

    async def main() -> list[str]:
        return await asyncio.gather(*(one(str(n)) for n in range(20)))

    assert asyncio.run(main()) == [str(n) for n in range(20)]


@both
def test_a_call_is_made_where_its_task_is(way: Way) -> None:
    """``here`` decides who joins a transaction."""

    async def nested() -> Any:
        return here()

    async def main() -> None:
        mine = here()
        assert mine == (threading.get_ident(), asyncio.current_task())
        assert await way(here) == mine
        assert await way(lambda: wait(nested())) == mine
        assert await asyncio.create_task(later(None)) is None
        others = await asyncio.gather(way(here), way(here))
        assert len({*others, mine}) == 3

    asyncio.run(main())


@both
def test_a_pause_of_one_is_none_of_the_others(way: Way) -> None:
    async def main() -> float:
        began = time.monotonic()
        await asyncio.gather(*(way(sleep, 0.2) for _ in range(20)))
        return time.monotonic() - began

    assert asyncio.run(main()) < 2


@both
def test_asynchronous_rows_are_iterated_and_closed(way: Way) -> None:
    closed: list[str] = []

    async def rows() -> AsyncIterator[int]:
        try:
            for n in range(5):
                await asyncio.sleep(0)
                yield n
        finally:
            closed.append("yes")

    async def main() -> None:
        assert await way(lambda: list(iterated(rows()))) == [0, 1, 2, 3, 4]

        def first() -> int:
            found = iterated(rows())
            try:
                return next(found)
            finally:
                found.close()

        assert await way(first) == 0

    asyncio.run(main())
    assert closed == ["yes", "yes"]


@both
def test_a_task_may_be_cancelled_before_it_begins(way: Way) -> None:
    ran: list[int] = []

    async def main() -> None:
        task = asyncio.ensure_future(way(ran.append, 1))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ran == []


# -- cancellation --------------------------------------------------------------------------------------------------------


def test_a_cancellation_is_raised_where_the_function_waits() -> None:
    seen: list[str] = []

    def work() -> None:
        try:
            wait(asyncio.sleep(30))
        except asyncio.CancelledError:
            wait(later(None, 0.01))  # it may still wait, to leave things whole
            seen.append("cleaned up")
            raise

    async def main() -> None:
        task = asyncio.create_task(on_greenlet(work))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == ["cleaned up"]


def test_a_greenlet_that_was_cancelled_is_used_again() -> None:
    async def main() -> None:
        for _ in range(50):
            task = asyncio.create_task(on_greenlet(lambda: wait(asyncio.sleep(30))))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await on_greenlet(lambda: wait(later("next"))) == "next"

    asyncio.run(main())


def test_a_thread_is_waited_for_however_often_its_task_is_cancelled() -> None:
    ended: list[float] = []
    undone: list[str] = []

    def work() -> str:
        time.sleep(0.3)
        ended.append(time.monotonic())
        return "made"

    async def main() -> None:
        async def run() -> Any:
            return await in_thread(work, undo=undone.append)

        task = asyncio.create_task(run())
        for _ in range(5):
            await asyncio.sleep(0.03)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended, "the thread still runs"

    asyncio.run(main())
    assert undone == ["made"]


def test_what_a_cancelled_thread_raised_is_not_undone() -> None:
    undone: list[Any] = []

    def work() -> None:
        time.sleep(0.1)
        raise KeyError

    async def main() -> None:
        async def run() -> None:
            await in_thread(work, undo=undone.append)

        task = asyncio.create_task(run())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert undone == []


def test_a_timeout_is_asyncios() -> None:
    async def main() -> None:
        for work in (lambda: wait(asyncio.sleep(30)), lambda: time.sleep(0.2)):
            way = in_thread if work is not None and work.__code__.co_names[0] == "time" else on_greenlet
            with pytest.raises(TimeoutError) as met:
                async with asyncio.timeout(0.05):
                    await way(work)
            assert type(met.value) is TimeoutError

    asyncio.run(main())


# -- elsewhere -----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
def test_nothing_is_awaited_outside_of_a_call() -> None:
    assert not is_awaited()
    with pytest.raises(RuntimeError, match="asynchronous face"):
        wait(later(1))  # and it is closed: no warning that it was never awaited


def test_the_synchronous_face_imports_nothing_of_the_other() -> None:
    program = (
        "import sys, db_plugins\n"
        "with db_plugins.connect({'ENGINE': 'memory'}, models=[]) as db: db.ping()\n"
        "print([name for name in ('db_plugins.ways', 'db_plugins.turns', 'db_plugins.async_database') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


def test_threads_belong_to_a_process() -> None:
    assert ways._threads(1) is not ways._threads(2)
    assert awaiting.acting.get() is None
