"""Many at the same moment: each row is made once, nothing that was counted is lost, and nobody is told of a conflict."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import pytest

from db_plugins import BulkResult, Capability, Database
from db_plugins.errors import ConflictError

from ..racing import COUNTED, KEYS, Racer, race
from .harness import Connect, Harness, requires, subject

__all__ = ["Races", "at_once"]

R = TypeVar("R")

THREADS = 8


def at_once(work: Callable[[int], R], threads: int = THREADS) -> list[R]:
    """What ``work(0)``, ``work(1)``, … return, each called in a thread of its own, at the same moment."""
    gate = threading.Barrier(threads)
    done: dict[int, R] = {}
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            gate.wait(30)
            done[number] = work(number)
        except BaseException as error:
            failures.append(error)

    running = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(90)
    if failures:
        raise failures[0]
    assert len(done) == threads, "a call waits for ever"
    return [done[n] for n in range(threads)]


def in_an_order(number: int, names: Sequence[str] = KEYS) -> list[str]:
    """The names, in another order for each number, the same at every run."""
    return random.Random(number).sample(names, len(names))


def each_is_made_once(db: Database, seen: Sequence[dict[str, tuple[int, str | None, bool]]]) -> None:
    """Of all callers one made each row, and all saw that one."""
    for name in KEYS:
        found = [one[name] for one in seen]
        makers = [who for who, one in enumerate(found) if one[2]]
        assert len(makers) == 1, f"{len(makers)} callers made {name}"
        assert {one[:2] for one in found} == {(found[0][0], str(makers[0]))}, "all see the same row"
    assert sorted(r.name for r in db.query(Racer).all()) == sorted(KEYS)


@subject("races", Capability.WRITE, Capability.UNIQUE)
class Races(Harness):
    """API §4 and §6: what holds however many call at the same moment."""

    def test_threads_that_get_or_create_make_each_row_once(self, connect: Connect) -> None:
        db = connect(Racer)

        def work(number: int) -> dict[str, tuple[int, str | None, bool]]:
            seen = {}
            for name in in_an_order(number):
                racer, is_new = db.query(Racer).get_or_create({"name": name}, who=str(number))
                assert racer is not None
                seen[name] = (racer.id, racer.who, is_new)
            return seen

        each_is_made_once(db, at_once(work))

    def test_threads_that_get_or_create_in_the_same_order_make_each_row_once(self, connect: Connect) -> None:
        db = connect(Racer)

        def work(number: int) -> dict[str, tuple[int, str | None, bool]]:
            made = {n: db.query(Racer).get_or_create({"name": n}, who=str(number)) for n in KEYS}
            return {name: (racer.id, racer.who, is_new) for name, (racer, is_new) in made.items()}

        each_is_made_once(db, at_once(work))

    def test_threads_that_upsert_store_each_row_once_and_the_last_wins(self, connect: Connect) -> None:
        db = connect(Racer)

        def work(number: int) -> dict[str, int]:
            seen = {}
            for name in in_an_order(number):
                row = {"name": name, "n": number, "who": str(number)}
                racer = db.query(Racer).upsert(row, key="name")
                assert (racer.n, racer.who) == (number, str(number)), "the row as this call stored it"
                seen[name] = racer.id
            return seen

        seen = at_once(work)
        assert all(one == seen[0] for one in seen), "all wrote the same rows"
        found = db.query(Racer).all()
        assert sorted(r.name for r in found) == sorted(KEYS)
        assert all(r.who == str(r.n) for r in found), "what one call writes is written together"

    @pytest.mark.parametrize("action", ["ignore", "update"])
    def test_threads_that_insert_overlapping_rows_store_each_once_without_a_conflict(
        self, connect: Connect, action: Literal["ignore", "update"]
    ) -> None:
        db = connect(Racer)
        names = [f"n{n}" for n in range(60)]

        def work(number: int) -> list[BulkResult]:
            results = []
            for turn in range(3):
                chosen = in_an_order(number * 10 + turn, names)[:40]
                rows = [{"name": name, "n": number, "who": str(number)} for name in chosen]
                results.append(db.query(Racer).bulk_insert(rows, on_conflict=action, key="name"))
            return results

        results = [result for one in at_once(work) for result in one]
        found = db.query(Racer).all()
        assert all(r.inserted + r.updated + r.ignored == 40 for r in results)
        assert all((r.updated if action == "ignore" else r.ignored) == 0 for r in results)
        assert sum(r.inserted for r in results) == len(found) == len({r.name for r in found})
        assert all(r.who == str(r.n) for r in found), "what one call writes is written together"

    def test_counters_of_threads_lose_nothing(self, connect: Connect) -> None:
        db = connect(Racer)
        names = KEYS[:6]
        db.query(Racer).bulk_insert({"name": name} for name in names)

        def work(number: int) -> Counter[str]:
            counted: Counter[str] = Counter()
            for turn in range(5):
                chosen = in_an_order(number * 10 + turn, names)[:4] + names[:1] * 2
                result = db.query(Racer).bulk_insert(
                    [{"name": name} for name in chosen],
                    on_conflict="update",
                    key="name",
                    update={"n": Racer.n + 1},
                )
                assert (result.updated, result.inserted) == (6, 0)
                counted.update(chosen)
                db.query(Racer).filter(name=names[1]).update({"n": Racer.n + 1})
                db.query(Racer).bulk_update([{"name": names[2], "n": Racer.n + 1}], key="name")
                counted.update(names[1:3])
            return counted

        counted = sum(at_once(work), Counter())
        assert {r.name: r.n for r in db.query(Racer).all()} == dict(counted)

    def test_deleting_and_getting_or_creating_at_the_same_moment(self, connect: Connect) -> None:
        db = connect(Racer)

        def work(number: int) -> list[Any]:
            seen: list[Any] = []
            for _ in range(15):
                if number % 2:
                    db.query(Racer).filter(name="k").delete()
                    continue
                try:
                    seen.append(db.query(Racer).get_or_create({"name": "k"}, who="w")[0])
                    seen.append(db.query(Racer).upsert({"name": "k", "who": "w"}, key="name"))
                except ConflictError:
                    pass  # it came and went too often: run it again
            return seen

        seen = [racer for one in at_once(work) for racer in one]
        assert len(seen) > 60
        assert {(type(racer), racer.name, racer.who) for racer in seen} == {(Racer, "k", "w")}
        assert db.query(Racer).count() <= 1

    @requires(Capability.TRANSACTIONS)
    def test_transactions_of_threads_make_each_row_once_and_lose_no_count(self, connect: Connect) -> None:
        db = connect(Racer)
        names = KEYS[:3]

        def add(tx: Database, name: str) -> None:
            racer, _ = tx.query(Racer).get_or_create({"name": name})
            tx.query(Racer).update(racer, {"n": racer.n + 1})

        def work(number: int) -> None:
            for name in names:
                db.run_transaction(lambda tx, name=name: add(tx, name), retries=50)  # type: ignore[misc]

        at_once(work, threads=6)
        assert {r.name: r.n for r in db.query(Racer).all()} == dict.fromkeys(names, 6)

    def test_fifty_tasks_on_one_database(self, connect: Connect) -> None:
        db = connect(Racer)

        def work(number: int) -> tuple[int, str | None, bool]:
            racer, is_new = db.query(Racer).get_or_create({"name": KEYS[number % 5]}, who=str(number))
            db.query(Racer).bulk_insert(
                [{"name": KEYS[number % 5]}], on_conflict="update", key="name", update={"n": Racer.n + 1}
            )
            return racer.id, racer.who, is_new

        async def main() -> list[tuple[int, str | None, bool]]:
            return await asyncio.gather(*[asyncio.to_thread(work, n) for n in range(50)])

        seen = asyncio.run(main())
        for key in range(5):
            found = seen[key::5]
            makers = [str(key + 5 * at) for at, one in enumerate(found) if one[2]]
            assert len(makers) == 1
            assert {one[:2] for one in found} == {(found[0][0], makers[0])}
        assert [r.n for r in db.query(Racer).all()] == [10] * 5

    def test_processes_make_each_row_once_and_use_no_number_twice(
        self, connect: Connect, entry: dict[str, Any]
    ) -> None:
        if not self.is_shared:
            pytest.skip("is_shared = False: this database lives in one process")
        db = connect(Racer)
        db.close()
        done = race(entry, THREADS)
        assert [one["error"] for one in done] == [None] * THREADS
        made = Counter(name for one in done for name in one["made"])
        assert made == Counter(KEYS), "each row is made by one process"
        found = {r.name: r for r in db.query(Racer).all()}
        for one in done:
            assert one["seen"] == {name: [found[name].id, found[name].who] for name in KEYS}
        numbers = [number for one in done for number in one["numbers"]]
        assert len(numbers) == len(set(numbers)) == THREADS * 30
        assert len(found) == len({r.id for r in found.values()}) == len(numbers) + len(KEYS)
        # Each process counts the first key with each of the others, and itself twice.
        assert [found[name].n for name in KEYS[:COUNTED]] == [
            THREADS * n for n in (COUNTED + 1, *[1] * (COUNTED - 1))
        ]
