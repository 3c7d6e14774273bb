"""Several calls as one: all or nothing, one snapshot, one thread and task, and its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from db_plugins import Capability
from db_plugins.errors import (
    DuplicateKeyError,
    EngineError,
    InvalidValueError,
    UnsupportedOperationError,
)

from .harness import Connect, Harness, faces, refuses, requires, subject
from .models import Star

__all__ = ["Beside", "Stop", "Transactions"]


class Stop(Exception):
    """Leaves a block."""


class Beside:
    """A call in a thread of its own. An engine may make it wait until the transaction beside it has ended."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._outcome: list[tuple[Any, BaseException | None]] = []
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome.append((self._work(), None))
        except BaseException as error:
            self._outcome.append((None, error))

    def is_done(self, seconds: float = 0.3) -> bool:
        """Has it returned by now?"""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> Any:
        """What it returned, or raises what it raised."""
        assert self.is_done(60), "the call waits for ever"
        value, error = self._outcome[0]
        if error is not None:
            raise error
        return value


@subject("transactions", Capability.WRITE, Capability.TRANSACTIONS)
class Transactions(Harness):
    """API §6."""

    def test_a_block_commits_at_its_end(self, connect: Connect) -> None:
        db = connect(Star)
        with db.transaction() as tx:
            tx.query(Star).insert({"name": "a"})
            tx.query(Star).bulk_insert([{"name": "b"}, {"name": "c"}])
            tx.query(Star).filter(name="b").update({"mag": 1})
            tx.query(Star).filter(name="c").delete()
        assert [(s.name, s.mag) for s in db.query(Star).order_by("name").all()] == [("a", None), ("b", 1.0)]

    def test_an_exception_that_leaves_the_block_undoes_all_of_it(self, connect: Connect) -> None:
        db = connect(Star)
        db.query(Star).bulk_insert([{"name": "a"}, {"name": "b"}])

        def work() -> None:
            with db.transaction() as tx:
                tx.query(Star).insert({"name": "c"})
                tx.query(Star).filter(name="a").update({"mag": 5})
                tx.query(Star).filter(name="b").delete()
                raise Stop

        with pytest.raises(Stop):
            work()
        assert [(s.name, s.mag) for s in db.query(Star).order_by("name").all()] == [("a", None), ("b", None)]

    def test_a_transaction_reads_its_own_writes(self, connect: Connect) -> None:
        with connect(Star).transaction() as tx:
            star = tx.query(Star).insert({"name": "a"})
            assert tx.query(Star).get(star.id).name == "a"  # type: ignore[union-attr]
            assert tx.query(Star).filter(name="a").update({"mag": 2}) == 1
            assert tx.query(Star).filter(mag=2.0).count() == 1
            assert tx.query(Star).filter(name="a").delete() == 1
            assert not tx.query(Star).exists()

    def test_calls_on_db_join_in_the_same_thread_also_of_a_query_made_before(self, connect: Connect) -> None:
        db = connect(Star)
        before = db.query(Star)
        with suppress(Stop), db.transaction() as tx:
            db.query(Star).insert({"name": "a"})
            before.bulk_insert([{"name": "b"}])
            assert tx.query(Star).count() == before.count() == 2
            raise Stop
        assert before.count() == 0

    def test_objects_stay_readable_after_the_block(self, connect: Connect) -> None:
        with connect(Star).transaction() as tx:
            star = tx.query(Star).insert({"name": "a", "mag": 1})
            read = tx.query(Star).one()
        assert (star.name, read.mag) == ("a", 1.0)

    def test_a_transaction_that_has_ended_is_refused(self, connect: Connect) -> None:
        db = connect(Star)
        with db.transaction() as tx:
            query = tx.query(Star)
            query.insert({"name": "a"})
        for use in (query.count, lambda: query.insert({"name": "b"}), lambda: tx.query(Star).all()):
            with pytest.raises(UnsupportedOperationError, match="ended"):
                use()
        assert db.query(Star).count() == 1

    def test_another_thread_does_not_join_and_does_not_see(self, connect: Connect) -> None:
        db = connect(Star)
        db.query(Star).insert({"name": "old"})
        with db.transaction() as tx:
            tx.query(Star).insert({"name": "new"})
            reader = Beside(lambda: db.query(Star).count())
            if reader.is_done():
                assert reader.result() == 1
            assert Beside(lambda: tx.query(Star).count()).result() == 2, "tx may be handed to another thread"
        assert reader.result() in (1, 2)
        assert db.query(Star).count() == 2

    def test_after_an_engine_error_only_leaving_is_possible(self, connect: Connect) -> None:
        if Capability.UNIQUE not in connect().capabilities:
            pytest.skip("not claimed: UNIQUE")
        db = connect(Star)
        db.query(Star).insert({"name": "a"})

        def work() -> None:
            with db.transaction() as tx:
                tx.query(Star).insert({"name": "b"})
                with pytest.raises(DuplicateKeyError):
                    tx.query(Star).insert({"name": "a"})
                for use in (
                    tx.query(Star).count,
                    lambda: tx.query(Star).insert({"name": "c"}),
                    db.query(Star).all,
                ):
                    with pytest.raises(UnsupportedOperationError, match="DuplicateKeyError"):
                        use()

        with pytest.raises(EngineError):
            work()
        assert [s.name for s in db.query(Star).all()] == ["a"]

    def test_a_refused_value_spoils_nothing(self, connect: Connect) -> None:
        db = connect(Star)
        with db.transaction() as tx:
            tx.query(Star).insert({"name": "a"})
            with pytest.raises(InvalidValueError):
                tx.query(Star).insert({"name": 1})
            tx.query(Star).insert({"name": "b"})
        assert db.query(Star).count() == 2

    def test_a_bulk_write_of_several_batches_joins(self, connect: Connect) -> None:
        db = connect(Star)
        with db.transaction() as tx:
            result = tx.query(Star).bulk_insert(({"name": f"s{n}"} for n in range(25)), batch_size=10)
            assert (result.inserted, tx.query(Star).count()) == (25, 25)
        assert db.query(Star).count() == 25

        def block() -> None:
            with db.transaction() as tx:
                tx.query(Star).bulk_insert(({"name": f"t{n}"} for n in range(25)), batch_size=10)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            block()
        assert db.query(Star).count() == 25

    def test_a_bulk_write_that_breaks_off_leaves_nothing_of_itself(self, connect: Connect) -> None:
        db = connect(Star)
        rows = [*({"name": f"s{n}"} for n in range(25)), {"name": 5}]
        # With savepoints the transaction may go on without it; without them nothing of the transaction is committed.
        with suppress(EngineError), db.transaction() as tx, pytest.raises(InvalidValueError):
            tx.query(Star).bulk_insert(rows, batch_size=10)
        assert db.query(Star).count() == 0

    def test_an_unknown_isolation_is_refused(self, alarmed: Connect) -> None:
        with (
            pytest.raises(UnsupportedOperationError, match="isolation"),
            alarmed(Star).transaction(isolation="chaos"),  # type: ignore[arg-type]
        ):
            pass

    def test_a_read_only_transaction_reads(self, connect: Connect) -> None:
        db = connect(Star)
        db.query(Star).insert({"name": "a"})
        with db.transaction(read_only=True) as tx:
            assert tx.query(Star).one().name == "a"

    def test_a_read_only_transaction_refuses_to_write(self, connect: Connect) -> None:
        db = connect(Star)
        star = db.query(Star).insert({"name": "a"})
        with db.transaction(read_only=True) as tx:
            stars = tx.query(Star)
            writes: list[Callable[[], Any]] = [
                lambda: stars.insert({"name": "b"}),
                lambda: stars.bulk_insert([{"name": "b"}]),
                lambda: stars.upsert({"name": "b"}, key="name"),
                lambda: stars.get_or_create({"name": "b"}),
                lambda: stars.bulk_update([{"id": star.id, "mag": 1}]),
                lambda: stars.filter(name="a").update({"mag": 1}),
                lambda: stars.update(star, {"mag": 1}),
                lambda: stars.filter(name="a").delete(),
                lambda: stars.delete(star),
                lambda: db.query(Star).insert({"name": "b"}),
            ]
            for write in writes:
                with pytest.raises(UnsupportedOperationError, match="read-only"):
                    write()
            assert stars.count() == 1, "a refusal spoils nothing"
        assert [(s.name, s.mag) for s in db.query(Star).all()] == [("a", None)]
        db.query(Star).insert({"name": "b"})

    @requires(Capability.SAVEPOINTS)
    def test_a_savepoint_of_a_read_only_transaction_is_read_only(self, connect: Connect) -> None:
        db = connect(Star)
        with db.transaction(read_only=True) as tx, tx.transaction() as inner:
            with pytest.raises(UnsupportedOperationError, match="read-only"):
                inner.query(Star).insert({"name": "a"})
            assert inner.query(Star).count() == 0

    # -- savepoints ------------------------------------------------------------------------------------------------

    @requires(Capability.SAVEPOINTS)
    def test_a_savepoint_is_undone_alone(self, connect: Connect) -> None:
        db = connect(Star)
        with db.transaction() as tx:
            tx.query(Star).insert({"name": "a"})
            with suppress(Stop), tx.transaction() as inner:
                inner.query(Star).insert({"name": "b"})
                raise Stop
            with pytest.raises(DuplicateKeyError), tx.transaction() as inner:
                inner.query(Star).insert({"name": "a"})
            with tx.transaction() as inner:
                inner.query(Star).insert({"name": "c"})
            tx.query(Star).insert({"name": "d"})
        assert [s.name for s in db.query(Star).order_by("name").all()] == ["a", "c", "d"]

    @requires(Capability.SAVEPOINTS)
    def test_a_savepoint_goes_with_its_transaction(self, connect: Connect) -> None:
        db = connect(Star)
        with suppress(Stop), db.transaction() as tx:
            with tx.transaction() as inner:
                inner.query(Star).insert({"name": "a"})
            raise Stop
        assert db.query(Star).count() == 0

    @refuses(Capability.SAVEPOINTS)
    @requires(Capability.WRITE, Capability.TRANSACTIONS)
    def test_a_nested_transaction_is_refused(self, connect: Connect) -> None:
        db = connect(Star)
        with db.transaction() as tx:
            with pytest.raises(UnsupportedOperationError, match="savepoint"), tx.transaction():
                pytest.fail("the block was entered")
            tx.query(Star).insert({"name": "a"})
        assert db.query(Star).count() == 1

    # -- tasks -----------------------------------------------------------------------------------------------------

    @faces("sync")
    def test_a_task_started_inside_that_uses_db_is_refused(self, connect: Connect) -> None:
        db = connect(Star)

        async def use_db() -> int:
            return db.query(Star).count()

        async def main() -> None:
            with db.transaction() as tx:
                tx.query(Star).insert({"name": "a"})
                assert await use_db() == 1, "a plain await is the same task"
                with pytest.raises(UnsupportedOperationError, match="tx"):
                    await asyncio.create_task(use_db())
                with pytest.raises(UnsupportedOperationError, match="tx"):
                    await asyncio.gather(use_db())

        asyncio.run(main())
        assert db.query(Star).count() == 1
