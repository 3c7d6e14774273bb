"""Odd databases: in memory, of one address, unreadable, in a transaction, broken off; and what a transfer says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import db_plugins
from db_plugins.errors import (
    DbPluginsError,
    InvalidValueError,
    TransferError,
    UnsupportedOperationError,
    VerificationError,
)
from db_plugins.models import describe
from db_plugins.testing.kit.models import Star, Thing
from db_plugins.testing.kit.moving_models import Comment, Depth, Sounding, Thread
from db_plugins.testing.kit.moving_resumed import Breaks, Broken
from db_plugins.transfer import copy, dump, load, verify
from db_plugins.transfer.journal import Journal, State


class Planned(DeclarativeBase):
    pass


class Snake(Planned):
    """Refers to itself, and must."""

    __tablename__ = "odd_snake"
    id: Mapped[int] = mapped_column(primary_key=True)
    tail_id: Mapped[int] = mapped_column(sa.ForeignKey("odd_snake.id"))


OPENED: list[db_plugins.Database] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Whatever a test opened is closed after it."""
    yield
    while OPENED:
        OPENED.pop().close()


def memory(*models: type, **more: Any) -> db_plugins.Database:
    return _made({"ENGINE": "memory", **more}, models)


def sqlite(*models: type, name: str = ":memory:") -> db_plugins.Database:
    return _made({"ENGINE": "sqlite", "DB_NAME": name}, models)


def _made(entry: dict[str, Any], models: Sequence[type]) -> db_plugins.Database:
    db = db_plugins.connect(entry, models=models)
    OPENED.append(db)
    db.create_all()
    return db


def test_two_databases_in_memory_are_two() -> None:
    for make in (memory, sqlite):
        first, there = make(Star), make(Star)
        first.query(Star).insert({"name": "a"})
        assert copy(first, there).rows == 1
        with pytest.raises(TransferError, match="same database"):
            copy(first, first)


def test_two_databases_of_one_address_are_one(tmp_path: Path) -> None:
    file = str(tmp_path / "a.db")
    with pytest.raises(TransferError, match="same database"):
        copy(sqlite(Star, name=file), sqlite(Star, name=file))


@pytest.mark.parametrize("use", [copy, verify])
def test_what_is_no_database_is_refused(use: Any) -> None:
    with pytest.raises(InvalidValueError, match="between Databases"):
        use(memory(Star), {"ENGINE": "memory"})


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("INSERT INTO kit_thing (id, colour) VALUES (2, 'MAUVE')", "colour"),
        ("INSERT INTO kit_thing (id, day) VALUES (2, 'never')", "day"),
        ("INSERT INTO kit_thing (id, extra) VALUES (2, '{')", "extra"),
    ],
)
def test_a_row_that_cannot_even_be_read_is_an_error_of_the_library(statement: str, text: str) -> None:
    first, there = sqlite(Thing), memory(Thing)
    first.query(Thing).insert({"id": 1})
    with first.native.begin() as connection:
        connection.exec_driver_sql(statement)
    with pytest.raises(DbPluginsError) as caught:
        copy(first, there)
    assert f"Thing.{text} of Thing 2 holds what is no" in str(caught.value)
    assert "MAUVE" not in str(caught.value)


def test_an_engine_without_tables_of_its_own_keeps_no_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    there = memory(Star)
    from db_plugins.transfer import journal

    monkeypatch.setattr(journal, "SupportsStorage", int)
    notes = Journal(there, "memory x")
    info = describe(Star)
    notes.save(info, State(rows=7))
    assert notes.state(info) is None
    notes.clear()
    first = memory(Star)
    first.query(Star).bulk_insert({"id": n, "name": str(n)} for n in range(7))
    copy(first, there, batch_size=3)
    assert there.query(Star).count() == 7


def test_notes_of_two_transfers_do_not_meet() -> None:
    there = memory(Star)
    one, other, info = Journal(there, "a"), Journal(there, "b"), describe(Star)
    one.save(info, State(rows=1, position=[7], ignored=2, merged=True))
    other.save(info, State(rows=2, phase="keys"))
    assert one.state(info) == State(rows=1, position=[7], ignored=2, merged=True)
    assert other.state(info) == State(rows=2, phase="keys")
    one.clear()
    assert (one.state(info), other.state(info)) == (None, State(rows=2, phase="keys"))
    other.clear()
    assert "dbp_transfers" not in there._connected().existing()  # type: ignore[attr-defined]


class Defaulted(Planned):
    """What the server fills in."""

    __tablename__ = "plan_defaulted"
    id: Mapped[int] = mapped_column(primary_key=True)
    made: Mapped[str | None] = mapped_column(sa.String(20), server_default="server")
    needed: Mapped[str] = mapped_column(sa.String(20), server_default="server")


def test_defaults_of_the_server_change_no_row() -> None:
    first, there = sqlite(Defaulted), sqlite(Defaulted)
    first.query(Defaulted).bulk_insert([{"id": 1, "made": None, "needed": "a"}, {"id": 2}])
    assert copy(first, there).rows == 2
    assert [tuple(row.values()) for row in there.query(Defaulted).order_by("id").to_dicts()] == [
        (1, None, "a"),
        (2, "server", "server"),
    ]


def test_rows_that_clash_with_each_other_are_told_apart(tmp_path: Path) -> None:
    db = memory(Star)
    file = tmp_path / "stars.jsonl"
    file.write_text("".join(f'{{"id": {n}, "name": "{name}"}}\n' for n, name in enumerate("abacb", 1)))
    done = load(db, Star, file, skip_invalid=tmp_path / "bad.jsonl")
    told = [json.loads(line)["line"] for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert (done.inserted, done.skipped, told) == (3, 2, [3, 5])


def test_a_copy_that_is_begun_again_over_equal_rows_is_refused() -> None:
    first, there = memory(Star), memory(Star)
    for db in (first, there):
        db.query(Star).bulk_insert({"id": n, "name": str(n)} for n in range(7))
    with pytest.raises(DbPluginsError, match=r"already there \(Star 0\)"):
        copy(first, there, batch_size=3)


def test_a_journal_of_the_users_own_table_is_named(tmp_path: Path) -> None:
    class Own(DeclarativeBase):
        pass

    class Mine(Own):
        __tablename__ = "dbp_transfers"
        id: Mapped[int] = mapped_column(primary_key=True)

    first, there = sqlite(Mine), sqlite(Mine)
    first.query(Mine).insert({"id": 1})
    with pytest.raises(TransferError, match="dbp_transfers"):
        copy(first, there)


def test_a_file_of_a_key_of_the_users_own_type(tmp_path: Path) -> None:
    db = sqlite(Sounding)
    db.query(Sounding).bulk_insert({"depth": Depth(n)} for n in range(5))
    dump(db, Sounding, tmp_path / "a.parquet")
    dump(db, Sounding, tmp_path / "a.csv", columns={"note": "n"})
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 6
    with pytest.raises(TransferError, match="no column"):
        dump(db, Sounding, tmp_path / "b.csv", columns=[])
    with pytest.raises(TransferError, match="two columns"):
        dump(db, Sounding, tmp_path / "b.csv", columns={"note": "n", "depth": "n"})


def test_the_whole_circle_is_verified_after_ignoring(tmp_path: Path) -> None:
    first, there = memory(Thread, Comment), sqlite(Thread, Comment)
    first.query(Thread).bulk_insert([{"id": 1, "title": "a"}, {"id": 2, "title": "b"}])
    first.query(Comment).bulk_insert([{"id": 1, "thread_id": 1}, {"id": 2, "thread_id": 2}])
    first.query(Thread).bulk_update([{"id": 1, "first_id": 1}, {"id": 2, "first_id": 2}])
    there.query(Thread).insert({"id": 2, "title": "mine"})
    done = copy(first, there, on_conflict="ignore")
    assert [(t.inserted, t.ignored) for t in done.tables] == [(1, 1), (2, 0)]
    assert [row["first_id"] for row in there.query(Thread).order_by("id").to_dicts()] == [1, None]
    with pytest.raises(VerificationError):
        verify(first, there)


def test_an_engine_that_does_not_write_is_copied_from_and_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    first, there, only = memory(Star), memory(Star), memory(Star)
    only.query(Star).bulk_insert({"id": n, "name": str(n)} for n in range(7))
    monkeypatch.setattr(only._root_runner(), "_writes", False)
    with pytest.raises(UnsupportedOperationError):
        copy(first, only)
    assert copy(only, there).rows == 7


@pytest.mark.parametrize("skips", [False, True])
def test_a_bad_row_within_a_transaction(tmp_path: Path, skips: bool) -> None:
    first, there = memory(Star), sqlite(Star)
    first.query(Star).bulk_insert({"id": n, "name": str(n)} for n in range(7))
    there.query(Star).insert({"id": 50, "name": "3"})
    with there.transaction():
        if skips:
            done = copy(first, there, skip_invalid=tmp_path / "bad.jsonl", batch_size=3)
            assert done.unfit_count == 1
        else:
            with pytest.raises(DbPluginsError, match="already there"):
                copy(first, there, batch_size=3)
    assert there.query(Star).count() == (7 if skips else 4)
    assert "dbp_transfers" not in there._connected().existing()  # type: ignore[attr-defined]


def circle() -> db_plugins.Database:
    """Two tables in a circle, and one whose keys are noted nowhere."""
    db = memory(Thread, Comment, Sounding)
    db.query(Thread).bulk_insert({"id": n, "title": str(n)} for n in range(1, 5))
    db.query(Comment).bulk_insert({"id": n, "thread_id": n % 4 + 1} for n in range(1, 8))
    db.query(Thread).bulk_update([{"id": 1, "first_id": 4}, {"id": 3, "first_id": 2}])
    db.query(Sounding).bulk_insert({"depth": Depth(n * n)} for n in range(1, 8))
    return db


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_a_copy_of_a_circle_goes_on_from_every_moment_with_any_batch_size(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    first = circle()
    for moment in range(1, 200):
        there = memory(Thread, Comment, Sounding)
        breaks = Breaks(monkeypatch, there)
        try:
            with breaks.at(moment):
                copy(first, there, batch_size=3, verify=False, on_progress=breaks.pass_by)
        except Broken:
            done = copy(first, there, resume=True, batch_size=size)
            assert sorted(table.rows for table in done.tables) == [4, 7, 7], moment
            assert "dbp_transfers" not in there._connected().existing()  # type: ignore[attr-defined]
            continue
        break
    assert moment > 25


def test_a_copy_goes_on_with_other_models_and_another_word_for_conflicts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, there = circle(), memory(Thread, Comment, Sounding)
    breaks = Breaks(monkeypatch, there)
    with pytest.raises(Broken), breaks.at(8):
        copy(first, there, batch_size=3)
    assert copy(first, there, models=[Sounding], resume=True).rows == 7
    assert copy(first, there, resume=True).rows == 18
    assert sorted(t.updated for t in copy(first, there, on_conflict="update").tables) == [4, 7, 7]


def test_a_row_of_a_required_key_to_its_own_table_goes_in_one_part() -> None:
    first, there = memory(Snake), memory(Snake)
    first.query(Snake).bulk_insert([{"id": 1, "tail_id": 1}, {"id": 2, "tail_id": 1}])
    assert copy(first, there).rows == 2
