"""What an engine does not claim it refuses, before anything reaches the server; and the kit guards itself."""

from __future__ import annotations

from inspect import getattr_static

import pytest

from db_plugins import Capability, Database
from db_plugins.errors import InvalidValueError, UnsupportedOperationError

from .harness import Connect, Harness, refuses, requires, subject
from .models import Star

__all__ = ["Refusals"]


@subject("refusals")
class Refusals(Harness):
    """One test for each capability whose refusal is not shown beside its proof."""

    @refuses(Capability.WRITE)
    def test_writes_are_refused(self, alarmed: Connect) -> None:
        query = alarmed(Star).query(Star)
        for write in (
            lambda: query.insert({"name": "a"}),
            lambda: query.bulk_insert([{"name": "a"}]),
            lambda: query.bulk_insert([{"name": "a"}], on_conflict="update", key="name"),
            lambda: query.upsert({"id": 1, "name": "a"}),
            lambda: query.get_or_create({"name": "a"}),
            lambda: query.bulk_update([{"id": 1, "name": "a"}]),
            lambda: query.filter(id=1).update({"mag": 1}),
            lambda: query.update(Star(id=1, name="a"), {"mag": 1}),
            lambda: query.filter(id=1).delete(),
            lambda: query.delete(Star(id=1, name="a")),
        ):
            with pytest.raises(UnsupportedOperationError, match="read-only"):
                write()

    @refuses(Capability.TRANSACTIONS)
    def test_a_transaction_is_refused_and_its_block_never_entered(self, alarmed: Connect) -> None:
        db = alarmed(Star)
        for options in ({}, {"read_only": True}, {"isolation": "serializable"}):
            with (
                pytest.raises(UnsupportedOperationError, match=f"{db.engine}.*transactions"),
                db.transaction(**options),
            ):
                pytest.fail("the block was entered")

        def never(tx: Database) -> None:
            pytest.fail("the function was called")

        with pytest.raises(UnsupportedOperationError):
            db.run_transaction(never)

    @refuses(Capability.SERIALIZABLE)
    @requires(Capability.TRANSACTIONS)
    def test_a_serializable_transaction_is_refused(self, alarmed: Connect) -> None:
        with (
            pytest.raises(UnsupportedOperationError, match="serializable"),
            alarmed(Star).transaction(isolation="serializable"),
        ):
            pytest.fail("the block was entered")

    @requires(Capability.SERIALIZABLE, Capability.TRANSACTIONS, Capability.WRITE)
    def test_a_serializable_transaction_is_one(self, connect: Connect) -> None:
        db = connect(Star)
        with db.transaction(isolation="serializable") as tx:
            tx.query(Star).insert({"name": "a"})
            assert tx.query(Star).count() == 1
        assert db.query(Star).one().name == "a"

    @refuses(Capability.TRANSACTIONS)
    @requires(Capability.WRITE)
    def test_a_bulk_insert_without_transactions_refuses_bad_rows_before_their_batch_is_sent(
        self, connect: Connect
    ) -> None:
        query = connect(Star).query(Star)
        with pytest.raises(InvalidValueError):
            query.bulk_insert([{"name": "a"}, {"name": 1}])
        assert query.count() == 0


class Guards(Harness):
    """The kit is run as it is, or not at all."""

    def test_no_test_is_overridden(self) -> None:
        from . import PluginConformance

        for name in dir(PluginConformance):
            if name.startswith("test_") or name in ("connect", "alarmed", "seven", "stock", "bench"):
                assert getattr_static(type(self), name, None) is getattr_static(PluginConformance, name), (
                    f"{type(self).__name__}.{name} overrides the kit's; "
                    f'write allowed_failures = {{"{name}": "reason"}} if this engine cannot pass it'
                )

    def test_allowed_failures_name_tests_and_reasons(self) -> None:
        from . import PluginConformance

        for name, reason in self.allowed_failures.items():
            assert name.startswith("test_"), f"allowed_failures: {name!r} is no test's name"
            assert hasattr(PluginConformance, name), f"allowed_failures: the kit has no test {name!r}"
            assert isinstance(reason, str), f"allowed_failures[{name!r}] needs a reason"
            assert reason.strip(), f"allowed_failures[{name!r}] needs a reason"
            assert "Guards" not in getattr(PluginConformance, name).__qualname__, (
                f"{name} can never be allowed to fail"
            )
