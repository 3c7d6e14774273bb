"""Several migrate at the same moment: one does the work, the others wait and find it done, or are told for whom they wait."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from db_plugins import Capability, Database
from db_plugins import migrations as m
from db_plugins.errors import MigrationLockedError
from db_plugins.migrations import Holder, LockRequest

from ..racing import race
from .harness import Harness, subject
from .migration_edits import NAMED, one_star, with_band
from .migration_models import Bench, column, models, rows_of, star
from .races import at_once

__all__ = ["MigrationRaces"]

ONE_PROCESS = "is_shared = False: this database lives in one process"


@subject("migrations", Capability.MIGRATIONS, Capability.WRITE)
class MigrationRaces(Harness):
    """API §10, the lock."""

    @pytest.fixture
    def waiting(self, bench: Bench) -> tuple[Database, list[str]]:
        """A database that two revisions wait for, and their ids."""
        if not self.is_shared:
            pytest.skip(ONE_PROCESS)
        bench.begin(one_star(), NAMED)
        first = bench.made(bench.open(with_band()))
        bench.migrate(bench.open(with_band()))
        last = bench.open(models(Star=star(band=column(sa.String(10))), Planet=star()))
        second = bench.made(last)
        m.downgrade(last, folder=bench.folder)
        return last, [first.revision, second.revision]

    def test_processes_that_migrate_at_once_apply_each_revision_once(
        self, bench: Bench, waiting: tuple[Database, list[str]]
    ) -> None:
        db, revisions = waiting
        done = race(bench.entry, 3, "db_plugins.testing.migrating", folder=str(bench.folder))
        assert [one["error"] for one in done] == [None] * 3
        assert [revision for one in done for revision in one["ran"]] == revisions
        assert [one["at"] for one in done] == [[revisions[-1]]] * 3
        assert bench.is_clean(db)
        assert [row["name"] for row in rows_of(db)["Star"]] == ["Vega", "Mira"]

    def test_threads_that_migrate_at_once_apply_each_revision_once(
        self, bench: Bench, waiting: tuple[Database, list[str]]
    ) -> None:
        db, revisions = waiting
        opened = [bench.open(one_star()) for _ in range(4)]
        done = at_once(lambda number: bench.migrate(opened[number]), threads=4)
        assert [revision for one in done for revision in one] == revisions
        assert bench.is_clean(db)

    def test_who_waits_longer_than_the_timeout_is_told_for_whom(
        self, bench: Bench, waiting: tuple[Database, list[str]]
    ) -> None:
        db, revisions = waiting
        heard: list[Holder | None] = []
        with _held(bench.open(one_star())):
            started = time.monotonic()
            with pytest.raises(MigrationLockedError) as refused:
                m.migrate(db, folder=bench.folder, lock_timeout=0.5, on_wait=heard.append)
            assert 0.4 < time.monotonic() - started < 10
            said = str(refused.value)
            assert socket.gethostname() in said
            assert str(os.getpid()) in said
            assert len(heard) == 1, "the one who waits is told once"
            assert heard[0] is None or (heard[0].host, heard[0].process) == (
                socket.gethostname(),
                os.getpid(),
            )
            assert m.current(db, folder=bench.folder).revisions == ("initial",), "looking needs no lock"
        assert bench.migrate(db) == revisions

    def test_who_waits_goes_on_when_the_lock_is_given_up(
        self, bench: Bench, waiting: tuple[Database, list[str]]
    ) -> None:
        db, revisions = waiting
        heard = threading.Event()
        ran: list[str] = []
        waiter = threading.Thread(
            target=lambda: ran.extend(bench.migrate(db, on_wait=lambda _holder: heard.set())), daemon=True
        )
        with _held(bench.open(one_star())):
            waiter.start()
            assert heard.wait(20), "the one who waits is told so"
            assert ran == []
        waiter.join(30)
        assert ran == revisions

    def test_an_error_under_the_lock_gives_it_up(
        self, bench: Bench, waiting: tuple[Database, list[str]]
    ) -> None:
        db, revisions = waiting
        with pytest.raises(ZeroDivisionError), _held(bench.open(one_star())):
            raise ZeroDivisionError
        assert bench.migrate(db, lock_timeout=5) == revisions


@contextmanager
def _held(db: Database) -> Iterator[None]:
    """The migration lock in other hands."""
    connection: Any = db._root_runner().connection
    with connection.migrating(LockRequest(timeout=10)):
        yield
