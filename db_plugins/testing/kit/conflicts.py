"""Transactions beside each other: one snapshot, conflicts that are safe to run again, nothing lost."""

from __future__ import annotations

import random
import threading
import time

import pytest

from db_plugins import Capability, Database
from db_plugins.errors import ConflictError

from .harness import Connect, requires, subject
from .models import Star
from .races import at_once
from .transactions import Beside, Stop

__all__ = ["Conflicts"]


def one_leaves(db: Database, me: str) -> bool:
    """Whoever is on may leave as long as another stays on; run again until that is decided."""
    while True:
        try:
            with db.transaction(isolation="serializable") as tx:
                if tx.query(Star).filter(band="on").count() < 2:
                    return False
                time.sleep(0.1)  # the other one reads too
                tx.query(Star).filter(name=me).update({"band": "off"})
            return True
        except ConflictError:
            time.sleep(random.random() * 0.05)


@subject("transactions", Capability.WRITE, Capability.TRANSACTIONS)
class Conflicts:
    """API §6, isolation."""

    def test_writing_a_row_that_was_changed_since_is_a_conflict(self, connect: Connect) -> None:
        db = connect(Star)
        db.query(Star).insert({"name": "a", "mag": 0})
        beside: list[Beside] = []

        def work() -> bool:
            with db.transaction() as tx:
                assert tx.query(Star).one().mag == 0
                beside.append(Beside(lambda: db.query(Star).filter(name="a").update({"mag": 1})))
                went_first = beside[0].is_done()
                tx.query(Star).filter(name="a").update({"mag": 2})
            return went_first

        conflict: ConflictError | None = None
        try:
            assert work() is False, "the row was changed since it was read, and that was overwritten"
        except ConflictError as error:
            conflict = error
        assert conflict is None or (conflict.retryable, conflict.engine) == (True, db.engine)
        assert beside[0].result() == 1
        assert db.query(Star).one().mag == 1.0, "the write beside it is the last, or the only one"

    def test_a_transaction_reads_one_snapshot(self, connect: Connect) -> None:
        db = connect(Star)
        db.query(Star).insert({"name": "a", "mag": 0})
        with db.transaction() as tx:
            assert tx.query(Star).one().mag == 0
            beside = [
                Beside(lambda: db.query(Star).filter(name="a").update({"mag": 1})),
                Beside(lambda: db.query(Star).insert({"name": "b"})),
            ]
            for call in beside:
                call.is_done()
            assert [s.mag for s in tx.query(Star).all()] == [0.0]
            assert tx.query(Star).count() == 1
        for call in beside:
            call.result()
        assert db.query(Star).count() == 2

    def test_run_transaction_keeps_every_increment_of_several_threads(self, connect: Connect) -> None:
        db = connect(Star)
        key = db.query(Star).insert({"name": "counter", "mag": 0}).id

        def add_one(tx: Database) -> float:
            star = tx.query(Star).get(key)
            assert star is not None
            return tx.query(Star).update(star, {"mag": (star.mag or 0) + 1}).mag or 0

        failures: list[BaseException] = []

        def work() -> None:
            try:
                for _ in range(8):
                    db.run_transaction(add_one, retries=50)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert db.query(Star).one().mag == 32

    @requires(Capability.SERIALIZABLE)
    def test_serializable_transactions_that_rest_on_each_other_exclude_write_skew(
        self, connect: Connect
    ) -> None:
        db = connect(Star)
        for turn in range(3):
            db.query(Star).delete(force=True)
            db.query(Star).bulk_insert([{"name": "a", "band": "on"}, {"name": "b", "band": "on"}])
            assert sum(at_once(lambda n: one_leaves(db, "ab"[n]), threads=2)) == 1, f"both left, turn {turn}"
            assert db.query(Star).filter(band="on").count() == 1

    def test_an_update_that_rests_on_what_was_read_is_never_lost(self, connect: Connect) -> None:
        db = connect(Star)
        key = db.query(Star).insert({"name": "list", "band": ""}).id

        def append(tx: Database, letter: str) -> None:
            star = tx.query(Star).get(key)
            assert star is not None
            time.sleep(0.005)
            tx.query(Star).update(star, {"band": (star.band or "") + letter})

        def work(number: int) -> None:
            db.run_transaction(lambda tx: append(tx, "abcdefgh"[number]), retries=50)

        at_once(work)
        assert sorted(db.query(Star).one().band or "") == list("abcdefgh")

    def test_run_transaction_returns_and_does_not_repeat_other_errors(self, connect: Connect) -> None:
        db = connect(Star)
        assert db.run_transaction(lambda tx: tx.query(Star).insert({"name": "a"}).name) == "a"
        calls: list[int] = []

        def fail(tx: Database) -> None:
            calls.append(1)
            raise Stop

        with pytest.raises(Stop):
            db.run_transaction(fail)
        assert calls == [1]
