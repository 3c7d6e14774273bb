"""Data moves to an engine and back again: whatever a row holds, it is the same on the other side, and a comparison says so.

The other side is MemoryEngine. How a copy goes on after an interruption is in ``moving_resumed``, files in ``moving_files``.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import secrets
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import db_plugins
from db_plugins import Capability, Database, InvalidValueError
from db_plugins.errors import (
    DuplicateKeyError,
    ForeignKeyError,
    IntegrityError,
    TransferError,
    UnsupportedOperationError,
    VerificationError,
)
from db_plugins.models.links import link_model
from db_plugins.transfer import Copied, Difference, copy, verify

from .family_models import Left, Orchestrator, Right, Tool, Twig, tools_of
from .harness import Connect, Harness, faces, refuses, requires, subject
from .models import (
    Animal,
    Author,
    Badge,
    Book,
    Cat,
    Colour,
    Dog,
    Draft,
    Pair,
    Passage,
    Stamped,
    Star,
    Thing,
    Tile,
    Token,
)
from .moving_models import Coloured, Comment, Depth, Sounding, Thread, Touched
from .samples import BOUNDARIES, STARS

__all__ = ["Moving", "Partners", "boundary_rows", "has_journal", "rows_of"]

#: Rows at once: fewer than there are, so that each table takes several steps.
FEW = 3


def boundary_rows(*, infinity: bool = False) -> list[dict[str, Any]]:
    """Rows of Thing in which every boundary value of every column is, the first of them NULL throughout."""
    most = max(map(len, BOUNDARIES.values()))
    rows = [
        {"id": n, **{column: values[n % len(values)] for column, values in BOUNDARIES.items()}}
        for n in range(1, most + 1)
    ]
    for row in rows[max(len(BOUNDARIES["raw"]), len(BOUNDARIES["long_text"])) :]:
        row["long_text"] = row["raw"] = None  # the long ones once
    extremes = [{"id": 100, "size": math.inf}, {"id": 101, "size": -math.inf}] if infinity else []
    return [{"id": 0 - 1}, *rows, *extremes]


def rows_of(db: Database, model: Any) -> list[dict[str, Any]]:
    """All rows of a model, by key."""
    return list(
        db.query(model).order_by(*[f.name for f in db._root_runner().reader(model).model.key]).to_dicts()
    )


def has_journal(db: Database) -> bool:
    """Is the note of a transfer there?"""
    found: set[str] = db._connected().existing()  # type: ignore[attr-defined]
    return "dbp_transfers" in found


def _fill(db: Database, rows: Mapping[type, Sequence[Mapping[str, Any]]]) -> None:
    for model, values in rows.items():
        db.query(model).bulk_insert(values)


def _link(db: Database, pairs: Sequence[tuple[int, int]]) -> None:
    for orchestrator, tool in pairs:
        db.query(link_model(tools_of)).insert({"orchestrator": orchestrator, "tool": tool})


class Partners(Harness):
    """The other side."""

    @pytest.fixture
    def partner(self) -> Iterator[Connect]:
        """``partner(Star)``: a fresh Database on MemoryEngine, with the tables of these models."""
        opened: list[Database] = []

        def open_(*models: type, **settings: Any) -> Database:
            entry = {"ENGINE": "memory", "DB_NAME": f"partner_{secrets.token_hex(6)}", **settings}
            opened.append(db_plugins.connect(entry, models=models))
            opened[-1].create_all()
            return opened[-1]

        yield open_
        for db in opened:
            db.close()


def _there_and_back(
    connect: Connect, partner: Connect, models: Sequence[type], rows: Mapping[type, Any], **how: Any
) -> tuple[Database, Database, Database]:
    """Three Databases that hold the same: where the rows began, this engine, and where they came back to."""
    first, there, back = partner(*models), connect(*models), partner(*models)
    _fill(first, rows)
    for one, other in ((first, there), (there, back)):
        done = copy(one, other, batch_size=FEW, **how)
        assert done.verified is not None
        assert done.verified.ok
        assert not has_journal(other)
    return first, there, back


@subject("moving", Capability.WRITE)
class Moving(Partners):
    """``transfer.copy`` and ``transfer.verify``."""

    @faces("sync")
    def test_every_boundary_value_moves_there_and_back(self, connect: Connect, partner: Connect) -> None:
        can = connect(Thing).capabilities
        rows = boundary_rows(infinity=Capability.INFINITY in can)
        first, there, back = _there_and_back(connect, partner, [Thing], {Thing: rows})
        given = rows_of(first, Thing)
        assert len(given) == len(rows)
        for found in (rows_of(there, Thing), rows_of(back, Thing)):
            for one, other in zip(given, found, strict=True):
                for name, value in one.items():
                    assert (value, type(value)) == (other[name], type(other[name])), f"{name} of {one['id']}"

    @faces("sync")
    def test_vectors_move_with_every_digit(self, connect: Connect, partner: Connect) -> None:
        meanings = [None, [0.0, 0.0, 0.0], [0.1, -1 / 3, 1e-30], [1e30, 3.0, -0.0], [1.0, 2.0, 3.0]]
        passages = [{"id": n, "meaning": m, "short": [0.5, n]} for n, m in enumerate(meanings, 1)]
        tiles = [{"row": n, "name": name, "shade": [0.1, n]} for n in (1, 2) for name in ("a", "b")]
        models = [Author, Passage, Tile]
        first, there, back = _there_and_back(connect, partner, models, {Passage: passages, Tile: tiles})
        for model in (Passage, Tile):
            assert rows_of(first, model) == rows_of(there, model) == rows_of(back, model)

    @faces("sync")
    def test_rows_with_every_kind_of_key_move(self, connect: Connect, partner: Connect) -> None:
        rows: dict[type, Any] = {
            Pair: [{"left": n, "right": t, "note": t} for n in (-1, 2, 10) for t in ("a", "B", "é")],
            Token: [{"id": uuid.UUID(int=n), "note": str(n)} for n in (0, 1, 2**64, 2**127, 2**128 - 1)],
            Badge: [
                {"code": code, "serial": n} for n, code in enumerate(["b", "a", "B", "", "ä", "10", "9"])
            ],
        }
        _, there, back = _there_and_back(connect, partner, list(rows), rows)
        for model, given in rows.items():
            assert there.query(model).count() == back.query(model).count() == len(given)
        others: dict[type, Any] = {
            Coloured: [{"colour": colour, "note": colour.name} for colour in Colour],
            Sounding: [{"depth": Depth(n), "note": str(n)} for n in (-5, 0, 1, 2, 3, 40, 500)],
        }
        _, there, back = _there_and_back(connect, partner, list(others), others)
        assert sorted(row["depth"].metres for row in rows_of(back, Sounding)) == [-5, 0, 1, 2, 3, 40, 500]
        assert {row.note for row in there.query(Coloured).all()} == {"AMBER", "GREEN", "RED"}

    @faces("sync")
    def test_trees_circles_and_links_move(self, connect: Connect, partner: Connect) -> None:
        models = [Twig, Left, Right, Orchestrator, Tool]
        first, there, back = partner(*models), connect(*models), partner(*models)
        numbers = range(1, 8)
        _fill(
            first,
            {
                Twig: [{"id": n} for n in numbers],
                Left: [{"id": n} for n in numbers],
                Right: [{"id": n, "left_id": 8 - n} for n in numbers],
                Orchestrator: [{"id": n, "name": str(n)} for n in (1, 2)],
                Tool: [{"id": n, "name": str(n)} for n in (1, 2, 3)],
            },
        )
        first.query(Twig).bulk_update([{"id": n, "on_id": 8 - n if n != 7 else None} for n in numbers])
        first.query(Left).bulk_update([{"id": n, "right_id": n if n % 2 else None} for n in numbers])
        _link(first, [(1, 1), (1, 3), (2, 2), (2, 3)])
        done = copy(first, there, batch_size=FEW)
        names = [table.model for table in done.tables]
        assert names.index(tools_of.name) > max(names.index("Orchestrator"), names.index("Tool"))
        assert {table.model: table.rows for table in done.tables}[tools_of.name] == 4
        copy(there, back, batch_size=FEW)
        for model in models:
            assert rows_of(first, model) == rows_of(there, model) == rows_of(back, model)
        for db in (there, back):
            [user] = db.query(Orchestrator).include(Orchestrator.tools).filter(id=1).all()
            assert sorted(tool.id for tool in user.tools) == [1, 3]

    @faces("sync")
    def test_all_classes_of_one_table_move_together(self, connect: Connect, partner: Connect) -> None:
        models = [Animal, Dog, Cat]
        first, there = partner(*models), connect(*models)
        first.query(Animal).insert({"id": 1, "name": "Any"})
        first.query(Dog).bulk_insert([{"id": n, "name": "Rex", "barks": n % 2 == 0} for n in (2, 4)])
        first.query(Cat).bulk_insert([{"id": n, "lives": n} for n in (3, 5)])
        [dogs] = copy(first, there, models=[Dog], batch_size=FEW).tables
        assert (dogs.model, dogs.rows, there.query(Animal).count()) == ("Dog", 2, 2)
        there.query(Dog).delete(force=True)
        done = copy(first, there, batch_size=FEW)
        assert [(table.model, table.rows) for table in done.tables] == [("Animal", 5)]
        found = there.query(Animal).order_by("id").all()
        assert [type(row) for row in found] == [Animal, Dog, Cat, Dog, Cat]
        assert [getattr(row, "barks", None) for row in there.query(Dog).order_by("id").all()] == [True, True]
        assert [row.lives for row in there.query(Cat).order_by("id").all()] == [3, 5]

    @faces("sync")
    def test_what_writes_set_by_themselves_stays_what_it_was(
        self, connect: Connect, partner: Connect
    ) -> None:
        models = [Touched, Stamped, Draft]
        first, there = partner(*models), connect(*models)
        _fill(first, {Touched: [{"id": n} for n in (1, 2, 3, 4, 5)], Draft: [{"id": 1}]})
        first.query(Touched).bulk_update([{"id": n, "on_id": n + 1, "touched": n} for n in (1, 2, 3, 4)])
        first.query(Stamped).insert({"id": 7, "name": "A b", "slug": "other", "version": 5, "charm": "x"})
        draft: Any = first.query(Draft).one()
        for text in "ab":
            first.query(Draft).update(draft, {"text": text})
        copy(first, there, batch_size=FEW)
        for model in models:
            assert rows_of(there, model) == rows_of(first, model)
        moved: Any = there.query(Draft).one()
        assert there.query(Draft).update(moved, {"text": "c"}).version == draft.version + 1

    @faces("sync")
    def test_numbers_go_on_after_those_that_came(self, connect: Connect, partner: Connect) -> None:
        first, there = partner(Star), connect(Star)
        _fill(first, {Star: [{"id": n, **star} for n, star in zip((5, 3, 40), STARS, strict=False)]})
        copy(first, there)
        assert there.query(Star).insert({"name": "new"}).id == 41

    @faces("sync")
    def test_rows_that_are_there_already_stop_a_copy_or_stay_or_change(
        self, connect: Connect, partner: Connect
    ) -> None:
        first, there = partner(Star), connect(Star)
        _fill(first, {Star: [{"id": n, **star} for n, star in enumerate(STARS, 1)]})
        _fill(there, {Star: [{"id": 2, "name": "mine"}, {"id": 100, "name": "also mine"}]})
        with pytest.raises(DuplicateKeyError):
            copy(first, there, batch_size=FEW)
        there.query(Star).filter(Star.id.not_in([2, 100])).delete()
        done = copy(first, there, on_conflict="ignore", batch_size=FEW)
        [table] = done.tables
        assert (table.rows, table.inserted, table.ignored, table.updated) == (7, 6, 1, 0)
        assert there.query(Star).get(2).name == "mine"  # type: ignore[union-attr]
        with pytest.raises(VerificationError) as caught:
            verify(first, there)
        assert [str(each) for each in caught.value.differences] == [
            "Star 2 differs in name, mag, band",
            "Star 100 is extra",
        ]
        done = copy(first, there, on_conflict="update", batch_size=FEW)
        [table] = done.tables
        assert (table.inserted, table.updated, table.ignored) == (0, 7, 0)
        assert there.query(Star).get(2).name == "Sirius"  # type: ignore[union-attr]
        assert there.query(Star).count() == 8
        assert not has_journal(there)

    @faces("sync")
    @requires(Capability.UNIQUE)
    def test_a_row_that_cannot_be_carried_stops_the_copy_or_is_put_aside(
        self, connect: Connect, partner: Connect, tmp_path: Path
    ) -> None:
        first, there = partner(Star), connect(Star)
        _fill(first, {Star: [{"id": n, **star} for n, star in enumerate(STARS, 1)]})
        _fill(there, {Star: [{"id": 50, "name": "Altair"}]})
        with pytest.raises(DuplicateKeyError, match=r"name.*\(Star 4\)"):
            copy(first, there, batch_size=FEW)
        assert has_journal(there)
        with pytest.raises(TransferError, match=r"stopped in Star, after 3 rows; resume=True"):
            copy(first, there, batch_size=FEW)
        aside = tmp_path / "aside.jsonl"
        done = copy(first, there, resume=True, skip_invalid=aside, batch_size=FEW)
        [line] = [json.loads(text) for text in aside.read_text().splitlines()]
        assert (line["model"], line["key"], line["attribute"]) == ("Star", 4, "name")
        assert line["row"] == {"id": 4, **STARS[3]}
        [table] = done.tables
        assert (table.rows, table.inserted, table.skipped, done.unfit_count) == (7, 3, 1, 1)
        assert sorted(star["id"] for star in rows_of(there, Star)) == [1, 2, 3, 5, 6, 7, 50]

    @faces("sync")
    @refuses(Capability.INFINITY)
    def test_a_value_that_the_engine_has_not_is_named_with_its_row(
        self, connect: Connect, partner: Connect, tmp_path: Path
    ) -> None:
        first, there = partner(Thing), connect(Thing)
        _fill(first, {Thing: [{"id": n, "size": math.inf if n in (2, 5) else n} for n in range(1, 8)]})
        with pytest.raises(InvalidValueError, match=r"Thing\.size .*\(Thing 2\)"):
            copy(first, there, batch_size=FEW)
        there.query(Thing).delete(force=True)
        dry = copy(first, there, dry_run=True, batch_size=FEW)
        assert [(each.key, each.attribute) for each in dry.unfit] == [(2, "size"), (5, "size")]
        assert (dry.rows, dry.unfit_count, there.query(Thing).count()) == (7, 2, 0)
        done = copy(first, there, skip_invalid=tmp_path / "aside.jsonl", batch_size=FEW)
        assert (done.unfit_count, there.query(Thing).count()) == (2, 5)
        assert [json.loads(t)["key"] for t in (tmp_path / "aside.jsonl").read_text().splitlines()] == [2, 5]

    @faces("sync")
    @requires(Capability.FOREIGN_KEYS)
    def test_a_child_without_its_parent_is_named(
        self, connect: Connect, partner: Connect, tmp_path: Path
    ) -> None:
        models = [Author, Book]
        first, there = partner(*models), connect(*models)
        _fill(
            first,
            {
                Author: [{"id": 1, "name": "Ann"}],
                Book: [{"id": n, "title": str(n), "author_id": 1 if n != 5 else None} for n in range(1, 8)],
            },
        )
        with pytest.raises(ForeignKeyError, match=r"Book\.author_id .*\(Book 1\)"):
            copy(first, there, models=[Book], batch_size=FEW)
        assert copy(first, there, dry_run=True).unfit == ()
        assert {each.key for each in copy(first, there, models=[Book], dry_run=True).unfit} == {
            1,
            2,
            3,
            4,
            6,
            7,
        }
        done = copy(first, there, models=[Book], skip_invalid=tmp_path / "aside.jsonl", batch_size=FEW)
        assert (done.unfit_count, there.query(Book).one().id) == (6, 5)

    @faces("sync")
    def test_a_dry_run_writes_nothing(self, connect: Connect, partner: Connect) -> None:
        first, there = partner(Star), connect(Star)
        _fill(first, {Star: STARS})
        done = copy(first, there, dry_run=True, batch_size=FEW)
        assert (done.rows, done.unfit, done.verified) == (7, (), None)
        assert there.query(Star).count() == 0
        assert not has_journal(there)

    @faces("sync")
    def test_tables_are_made_where_they_are_to_be(self, connect: Connect, partner: Connect) -> None:
        first, there = partner(Thread, Comment), connect()
        _fill(first, {Thread: [{"id": 1, "title": "a"}], Comment: [{"id": 1, "thread_id": 1}]})
        first.query(Thread).bulk_update([{"id": 1, "first_id": 1}])
        copy(first, there, create=True)
        assert rows_of(there, Thread) == [{"id": 1, "title": "a", "first_id": 1}]

    @faces("sync")
    def test_a_comparison_names_what_is_missing_extra_and_different(
        self, connect: Connect, partner: Connect
    ) -> None:
        models = [Pair, Star]
        first, there = partner(*models), connect(*models)
        pairs = [{"left": n, "right": r, "note": "a"} for n in (1, 2) for r in ("x", "y")]
        for db in (first, there):
            _fill(db, {Pair: pairs, Star: [{"id": n, **star} for n, star in enumerate(STARS, 1)]})
        same = verify(first, there)
        assert same.ok
        assert [(t.rows, t.checksum == t.target_checksum) for t in same.tables] == [(4, True), (7, True)]
        there.query(Star).filter(id=3).delete()
        there.query(Star).bulk_update([{"id": 5, "mag": 1.5}, {"id": 6, "band": "V", "mag": None}])
        there.query(Star).insert({"id": 8, "name": "extra"})
        there.query(Pair).filter(left=2, right="x").update({"note": "b"})
        with pytest.raises(
            VerificationError, match=r"Pair \(4 and 4 rows\), Star \(7 and 7 rows\)"
        ) as caught:
            verify(first, there)
        assert caught.value.differences == (
            Difference("Pair", (2, "x"), "differs", ("note",)),
            Difference("Star", 3, "missing"),
            Difference("Star", 5, "differs", ("mag",)),
            Difference("Star", 6, "differs", ("mag", "band")),
            Difference("Star", 8, "extra"),
        )

    @faces("sync")
    def test_differences_are_named_whatever_the_order_of_the_keys(
        self, connect: Connect, partner: Connect
    ) -> None:
        models = [Coloured, Sounding]
        first, there = partner(*models), connect(*models)
        for db in (first, there):
            _fill(
                db,
                {
                    Coloured: [{"colour": colour} for colour in Colour],
                    Sounding: [{"depth": Depth(n)} for n in (1, 2, 3, 4)],
                },
            )
        there.query(Coloured).filter(colour=Colour.AMBER).delete()
        there.query(Sounding).filter(depth=Depth(3)).delete()
        first.query(Sounding).filter(depth=Depth(1)).delete()
        with pytest.raises(VerificationError) as caught:
            verify(first, there)
        assert [(each.model, each.key, each.what) for each in caught.value.differences] == [
            ("Coloured", Colour.AMBER, "missing"),
            ("Sounding", Depth(3), "missing"),
            ("Sounding", Depth(1), "extra"),
        ]

    @faces("sync")
    @refuses(Capability.MICROSECONDS)
    def test_moments_are_compared_at_what_the_engine_keeps_and_it_is_said(
        self, connect: Connect, partner: Connect
    ) -> None:
        first, there = partner(Thing), connect(Thing)
        moment = dt.datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=dt.UTC)
        hour = dt.time(1, 2, 3, 4999)
        _fill(first, {Thing: [{"id": 1, "at": moment, "local": moment.replace(tzinfo=None), "hour": hour}]})
        done = copy(first, there)
        assert done.verified is not None
        [note] = done.verified.notes
        assert "milliseconds" in note
        assert there.engine in note
        there.query(Thing).filter(id=1).update({"at": moment.replace(microsecond=122000)})
        with pytest.raises(VerificationError) as caught:
            verify(first, there)
        [difference] = caught.value.differences
        assert difference.attributes == ("at",)

    @faces("sync")
    def test_progress_is_told_for_each_step(self, connect: Connect, partner: Connect) -> None:
        first, there = partner(Twig), connect(Twig)
        _fill(first, {Twig: [{"id": n} for n in range(1, 8)]})
        first.query(Twig).bulk_update([{"id": 2, "on_id": 1}])
        told: list[Any] = []
        copy(first, there, batch_size=FEW, on_progress=told.append)
        steps = [(each.phase, each.done, each.total, each.is_last) for each in told]
        assert steps[:4] == [
            ("copy", n, 7, n > 7 or last) for n, last in ((3, False), (6, False), (7, False), (7, True))
        ]
        assert ("keys", 1, 1, True) in steps
        assert steps[-1] == ("verify", 14, 14, True)

    @faces("sync")
    def test_a_database_is_not_copied_onto_itself(self, connect: Connect) -> None:
        db = connect(Star)
        with pytest.raises(TransferError, match="same database"):
            copy(db, db)

    @faces("sync")
    @requires(Capability.TRANSACTIONS)
    def test_a_copy_within_a_transaction_goes_with_it(self, connect: Connect, partner: Connect) -> None:
        first, there = partner(Star), connect(Star)
        _fill(first, {Star: STARS})

        def copied(stay: bool) -> Copied:
            with there.transaction():
                done = copy(first, there, batch_size=FEW)
                if not stay:
                    raise _Stopped
            return done

        with pytest.raises(_Stopped):
            copied(False)
        assert there.query(Star).count() == 0
        assert copied(True).rows == 7
        assert there.query(Star).count() == 7


class _Stopped(Exception):
    """The test's own."""


@subject("moving")
class MovingFromReadOnly(Partners):
    """An engine that does not write is copied from, and not to."""

    @faces("sync")
    @refuses(Capability.WRITE)
    def test_an_engine_that_does_not_write_gives_its_rows_and_takes_none(
        self, connect: Connect, partner: Connect
    ) -> None:
        here, other = connect(Star), partner(Star)
        self.fill(Star, [{"id": n, **star} for n, star in enumerate(STARS, 1)])
        assert copy(here, other, batch_size=FEW).rows == 7
        with pytest.raises(UnsupportedOperationError):
            copy(other, here)
        with pytest.raises((UnsupportedOperationError, IntegrityError)):
            copy(other, here, on_conflict="ignore")
