"""A transfer that breaks off, at whatever moment, goes on and ends as if it had never broken: nothing doubled, nothing lost.

``Breaks`` counts the moments after every write of a connection (before the next one the database is the same), and those of
``on_progress``; a run is made to fail at the first of them, then at the second, until one run gets through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from db_plugins import Capability, Database
from db_plugins.errors import TransferError
from db_plugins.models import describe
from db_plugins.transfer import copy, dump, load, verify
from db_plugins.transfer.journal import Journal, State

from .harness import Connect, faces, subject
from .models import Diary, Pair, Star
from .moving import FEW, Partners, has_journal, rows_of
from .moving_models import Comment, Depth, Sounding, Thread, Touched
from .samples import STARS

__all__ = ["Breaks", "Broken", "MovingResumed"]

#: What a connection writes by.
WRITES = ("insert", "insert_one", "update", "update_each", "delete")


class Broken(Exception):
    """The test's own: no error of any engine."""


class Breaks:
    """Moments that are counted; at the one that is next, Broken is raised."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, db: Database) -> None:
        self._monkeypatch = monkeypatch
        self._seen = 0
        self._at = 0
        self._within = False
        self._patched: set[type] = set()
        connection = db._connected()
        self._patch(type(connection))
        begin = getattr(type(connection), "begin", None)
        if begin is not None:

            def begun(*args: Any, **options: Any) -> Any:
                made = begin(*args, **options)
                self._patch(type(made))
                return made

            monkeypatch.setattr(type(connection), "begin", begun)

    def _patch(self, cls: type) -> None:
        if cls in self._patched:
            return
        self._patched.add(cls)
        for name in WRITES:
            if not hasattr(cls, name):
                continue
            self._monkeypatch.setattr(cls, name, self._broken(getattr(cls, name)))

    def _broken(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def written(*args: Any, **options: Any) -> Any:
            if self._within or not self._at:
                return write(*args, **options)
            self._within = True
            try:
                done = write(*args, **options)
            finally:
                self._within = False
            self.pass_by()
            return done

        return written

    def pass_by(self, _progress: Any = None) -> None:
        """One more moment."""
        self._seen += 1
        if self._seen == self._at:
            raise Broken

    @contextmanager
    def at(self, moment: int) -> Iterator[None]:
        """The moments are counted from here, and this one breaks."""
        self._seen, self._at = 0, moment
        try:
            yield
        finally:
            self._at = 0


def _fill(db: Database) -> None:
    """Seven rows of each: several steps."""
    numbers = range(1, 8)
    rows: dict[type, Sequence[Mapping[str, Any]]] = {
        Thread: [{"id": n, "title": str(n)} for n in range(1, 5)],
        Comment: [{"id": n, "thread_id": n % 4 + 1} for n in numbers],
        Sounding: [{"depth": Depth(n * n), "note": str(n)} for n in numbers],
    }
    for model, values in rows.items():
        db.query(model).bulk_insert(values)
    db.query(Thread).bulk_update([{"id": 1, "first_id": 4}, {"id": 3, "first_id": 2}])


def _resumed_load(db: Database, file: Path) -> int:
    """How many lines there were; of a load that was complete, and has no note any more, only its rows tell."""
    try:
        return load(db, Diary, file, resume=True, batch_size=FEW).rows
    except TransferError as error:
        if "may be complete" not in str(error):
            raise
        return db.query(Diary).count()


def _each_moment(run: Callable[[int], None]) -> int:
    """Run with each moment broken, until a run gets through; how many there were."""
    for moment in range(1, 1000):
        try:
            run(moment)
        except Broken:
            continue
        return moment - 1
    raise AssertionError("no end")


@subject("moving", Capability.WRITE)
class MovingResumed(Partners):
    """``resume=True``."""

    @faces("sync")
    def test_a_copy_that_breaks_at_any_moment_goes_on_and_ends_verified(
        self, connect: Connect, partner: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, there = partner(Touched), connect(Touched)
        first.query(Touched).bulk_insert({"id": n} for n in range(1, 6))
        first.query(Touched).bulk_update([{"id": 1, "on_id": 5}, {"id": 5, "on_id": 2}])
        about, name = describe(Touched), f"memory {first._settings.address}"
        other = Journal(there, "another")
        other.save(about, State())  # so that its table need not be made each time
        breaks = Breaks(monkeypatch, there)

        def run(moment: int) -> None:
            try:
                with breaks.at(moment):
                    copy(first, there, verify=False, batch_size=FEW)
            except Broken:
                [table] = copy(first, there, resume=True, batch_size=FEW).tables
                assert table.rows == 5, moment
                assert Journal(there, name).state(about) is None, moment
                there.query(Touched).bulk_update([{"id": n, "on_id": None} for n in (1, 5)])
                there.query(Touched).delete(force=True)
                raise
            verify(first, there)

        assert _each_moment(run) > 8
        other.clear()
        assert not has_journal(there)

    @faces("sync")
    def test_a_copy_that_breaks_again_and_again_ends_verified(
        self, connect: Connect, partner: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        models = [Thread, Comment, Sounding]
        first, there = partner(*models), connect(*models)
        _fill(first)
        breaks = Breaks(monkeypatch, there)
        for moment in range(9, 500):  # each run gets a little further
            with suppress(Broken), breaks.at(moment):
                copy(first, there, resume=True, batch_size=FEW, verify=False, on_progress=breaks.pass_by)
                break
        assert moment > 10
        verify(first, there)
        assert not has_journal(there)

    @faces("sync")
    def test_what_was_interrupted_is_not_begun_anew_by_accident(
        self, connect: Connect, partner: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, there = partner(Star), connect(Star)
        first.query(Star).bulk_insert([{"id": n, **star} for n, star in enumerate(STARS, 1)])

        def stop(progress: Any) -> None:
            if progress.done == 2 * FEW:
                raise Broken

        with pytest.raises(Broken):
            copy(first, there, batch_size=FEW, on_progress=stop)
        assert has_journal(there)
        with pytest.raises(TransferError, match=r"stopped in Star, after 6 rows"):
            copy(first, there)
        there.query(Star).delete(force=True)
        assert copy(first, there).rows == 7
        assert not has_journal(there)

    @faces("sync")
    def test_rows_that_were_there_stay_allowed_after_an_interruption(
        self, connect: Connect, partner: Connect
    ) -> None:
        first, there = partner(Touched), connect(Touched)
        first.query(Touched).bulk_insert({"id": n} for n in range(1, 8))
        first.query(Touched).bulk_update([{"id": n, "on_id": 1} for n in range(1, 8)])
        there.query(Touched).bulk_insert([{"id": 2, "touched": 5}, {"id": 100}])
        there.query(Touched).bulk_update([{"id": 2, "on_id": 100}])
        mine = there.query(Touched).filter(id=2).to_dicts()

        def stop(progress: Any) -> None:
            if progress.done == 2 * FEW:
                raise Broken

        with pytest.raises(Broken):
            copy(first, there, on_conflict="ignore", batch_size=FEW, on_progress=stop)
        done = copy(first, there, on_conflict="ignore", resume=True, batch_size=FEW)
        assert done.verified is not None
        assert done.verified.ok
        assert list(there.query(Touched).filter(id=2).to_dicts()) == list(mine)
        assert there.query(Touched).filter(on_id=1).count() == 6

    @faces("sync")
    def test_other_rows_of_the_target_stay_allowed_after_an_interruption(
        self, connect: Connect, partner: Connect
    ) -> None:
        first, there = partner(Pair), connect(Pair)
        first.query(Pair).bulk_insert({"left": n, "right": "a"} for n in range(7))
        there.query(Pair).insert({"left": 50, "right": "mine"})

        def stop(progress: Any) -> None:
            if progress.done == FEW:
                raise Broken

        with pytest.raises(Broken):
            copy(first, there, batch_size=FEW, on_progress=stop)
        assert copy(first, there, resume=True, batch_size=FEW).rows == 7
        assert there.query(Pair).count() == 8

    @faces("sync")
    def test_a_load_that_breaks_at_any_moment_goes_on_and_stores_every_line_once(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        pytest.importorskip("pyarrow", reason="pyarrow reads files: install db-plugins-core[frames]")
        db = connect(Diary)
        # Without transactions lines are told by their keys; with them lines need none.
        is_whole = Capability.TRANSACTIONS in db.capabilities and not any(
            note.startswith("TRANSACTIONS") for note in db.ping().missing
        )
        lines = (
            ["text\n", *"abcde"] if is_whole else ["id,text\n", *(f"{n},{t}" for n, t in enumerate("abcde"))]
        )
        file = tmp_path / "diary.csv"
        file.write_text("\n".join(lines))
        other = Journal(db, "another")
        other.save(describe(Diary), State())  # so that its table need not be made each time
        breaks = Breaks(monkeypatch, db)

        def run(moment: int) -> None:
            try:
                with breaks.at(moment):
                    load(db, Diary, file, batch_size=FEW)
            except Broken:
                assert _resumed_load(db, file) == 5, moment
                assert sorted(row["text"] for row in rows_of(db, Diary)) == list("abcde"), moment
                db.query(Diary).delete(force=True)
                raise

        assert _each_moment(run) > 4
        other.clear()
        assert not has_journal(db)

    @faces("sync")
    @pytest.mark.parametrize("ending", ["csv", "jsonl.gz"])
    def test_a_dump_that_breaks_at_any_moment_goes_on_to_the_same_file(
        self, seven: Database, tmp_path: Path, ending: str
    ) -> None:
        pytest.importorskip("pyarrow", reason="pyarrow writes files: install db-plugins-core[frames]")
        whole, file = tmp_path / f"whole.{ending}", tmp_path / f"stars.{ending}"
        dump(seven, Star, whole, batch_size=FEW)

        def run(moment: int) -> None:
            told: list[Any] = []

            def stop(progress: Any) -> None:
                told.append(progress)
                if len(told) == moment:
                    raise Broken

            try:
                dump(seven, Star, file, batch_size=FEW, on_progress=stop)
            except Broken:
                dump(seven, Star, file, batch_size=FEW, resume=True)
                assert file.read_bytes() == whole.read_bytes(), moment
                file.unlink()
                raise

        assert _each_moment(run) == 4
        assert sorted(each.name for each in tmp_path.iterdir() if "stars" in each.name) == [file.name]
