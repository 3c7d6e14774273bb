"""Migrations: an edit of a model becomes a revision, which is applied and undone, and no row is lost on the way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from db_plugins import Capability, Database
from db_plugins import migrations as m
from db_plugins.errors import UnsupportedError, UnsupportedOperationError

from .harness import Connect, Harness, refuses, subject
from .migration_edits import EDITS, NAMED, PLANET, STAR, Edit, one_star, with_band
from .migration_models import Bench, column, models, star
from .models import Star

__all__ = ["Migrations"]


@subject("migrations", Capability.MIGRATIONS, Capability.WRITE)
class Migrations(Harness):
    """API §10. An edit is one line of ``migration_edits``; the database that it is made on has rows."""

    @pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
    def test_an_edit_is_made_applied_undone_and_applied_again(self, bench: Bench, edit: Edit) -> None:
        old, new = edit.before(), edit.after()
        db = _begin(bench, old, new, edit)
        first = bench.fingerprint(db)
        before = first["rows"]
        edited = bench.open(new)

        made = bench.make(edited, f"Edit: {edit.name}", renames=edit.renames)
        assert bench.fingerprint(db) == first, "make_migrations changes no database"
        _check_words(made, edit, edited)
        bench.migrate(edited, allow_drop=edit.gives_up)
        there = bench.clean_fingerprint(edited)
        assert bench.make(edited) is None, "nothing differs any more"
        after = edit.rows_after(new)
        assert there["rows"] == after

        if made is not None:
            # What the edit added holds defaults or nothing, so that it may be dropped.
            undone = m.downgrade(edited, folder=bench.folder)
            assert [step.revision for step in undone.done] == [made.revision]
            again = bench.fingerprint(db)
            assert again["rows"] == (edit.rows_restored(old, new) if edit.gives_up else before)
            assert {**again, "rows": 0} == {**first, "rows": 0}, "as it was at first"
            assert bench.migrate(edited, allow_drop=edit.gives_up) == [made.revision]
            assert bench.clean_fingerprint(edited) == there
        for name, rows in edit.takes.items():
            model = next(cls for cls in new if cls.__name__ == name)
            edited.query(model).bulk_insert(rows)
            assert edited.query(model).count() == len(after[name]) + len(rows)

    def test_a_rename_that_is_not_said_is_a_drop_that_names_what_it_may_be(self, bench: Bench) -> None:
        bench.begin(with_band(), {"Star": [{"id": 1, "name": "Vega", "band": "V"}]})
        made = bench.made(bench.open(one_star(colour=column(sa.String(10)))))
        assert m.Rename("band", "colour", STAR) in made.possible_renames
        assert len(made.drops) == 1
        assert "band" in made.drops[0]

    def test_what_is_not_the_models_is_left_alone(self, bench: Bench) -> None:
        bench.begin(one_star(), NAMED)
        other = bench.open(models(Guest=star(band=column(sa.String(10), index=True))))
        other.create_all()
        guest = other._models()[0].cls
        other.query(guest).insert({"name": "theirs", "band": "V"})
        before = bench.harness.schema(other)
        same = bench.open(one_star())
        assert bench.make(same) is None
        assert bench.is_clean(same)
        assert bench.harness.schema(other) == before
        edited = bench.open(with_band())
        made = bench.made(edited)
        assert not any("guest" in change.lower() for change in made.changes)
        bench.migrate(edited)
        m.downgrade(edited, folder=bench.folder)
        assert [row["name"] for row in other.query(guest).to_dicts()] == ["theirs"]
        assert bench.harness.schema(other) == before

    def test_models_that_are_not_given_are_no_reason_to_drop_what_others_made(self, bench: Bench) -> None:
        """Two programs with models and folders of their own share a database."""
        bench.begin(one_star(), NAMED)
        bench.open(models(Planet=star())).create_all()
        made = bench.made(bench.open(models(Star=star(), Moon=star())))
        assert not any(PLANET in change for change in made.changes)
        assert not made.drops

    def test_a_revision_is_python_that_people_read(self, bench: Bench) -> None:
        bench.begin(one_star(), NAMED)
        made = bench.made(bench.open(with_band()), 'Bands, "quoted" \'\'\' """ \\ too')
        text = made.path.read_text(encoding="utf-8")
        for part in (STAR, "band", "def upgrade() -> None:", "def downgrade() -> None:", "down_revision"):
            assert part in text
        assert str(bench.folder) not in text, "good for every machine"
        read = m.history(bench.open(with_band()), folder=bench.folder)[0]
        assert (read.revision, read.message, read.follows) == (made.revision, made.message, ("initial",))
        assert read.path == made.path
        assert made.path.parent == bench.folder / "versions"

    def test_an_empty_revision_is_there_to_be_filled(self, bench: Bench) -> None:
        db = bench.begin(one_star(), NAMED)
        before = bench.fingerprint(db)
        made = bench.made(db, "By hand", empty=True)
        assert made.changes == ()
        assert bench.migrate(db) == [made.revision]
        assert bench.fingerprint(db) == {**before, "at": (made.revision,)}

    def test_a_plan_runs_nothing_and_statements_are_text(self, bench: Bench) -> None:
        db = bench.begin(one_star(), NAMED)
        edited = bench.open(with_band())
        made = bench.made(edited)
        before = bench.fingerprint(db)
        plan = m.migrate(edited, plan=True, folder=bench.folder)
        assert [step.revision for step in plan.planned] == [made.revision]
        assert plan.done == []
        text = m.sql(edited, folder=bench.folder)
        assert STAR in text
        assert "band" in text
        assert bench.fingerprint(db) == before

    def test_steps_are_told_while_they_run(self, bench: Bench) -> None:
        bench.begin(one_star(), NAMED)
        revisions = [bench.made(bench.open(one_star()), f"Empty {n}", empty=True).revision for n in range(3)]
        told: list[tuple[str, int, int]] = []
        run = m.Run()
        db = bench.open(one_star())
        m.migrate(
            db,
            folder=bench.folder,
            run=run,
            on_step=lambda step, at, of: told.append((step.revision, at, of)),
        )
        assert told == [(revision, at, 3) for at, revision in enumerate(revisions, 1)]
        assert [step.revision for step in run.done] == revisions
        assert run.left == run.undone == []

    @refuses(Capability.MIGRATIONS)
    def test_every_verb_is_refused_before_anything_is_sent_or_written(
        self, alarmed: Connect, tmp_path: Path
    ) -> None:
        db, folder = alarmed(Star), tmp_path / "revisions"
        for verb in (
            lambda: m.make_migrations(db, folder=folder),
            lambda: m.make_migrations(db, empty=True, folder=folder),
            lambda: m.migrate(db, folder=folder),
            lambda: m.migrate(db, plan=True, folder=folder),
            lambda: m.downgrade(db, folder=folder),
            lambda: m.initdb(db, folder=folder),
            lambda: m.stamp(db, "head", folder=folder),
            lambda: m.merge(db, folder=folder),
            lambda: m.check(db, folder=folder),
            lambda: m.current(db, folder=folder),
            lambda: m.history(db, folder=folder),
            lambda: m.heads(db, folder=folder),
            lambda: m.sql(db, folder=folder),
        ):
            with pytest.raises(UnsupportedOperationError, match=f"{db.engine} has no migrations"):
                verb()
        assert not folder.exists()


def _begin(bench: Bench, old: tuple[type, ...], new: tuple[type, ...], edit: Edit) -> Database:
    for classes in (old, new):
        try:
            bench.open(classes)._models()
        except UnsupportedError as error:
            pytest.skip(f"this engine cannot hold such a model: {error.fact}")
    return bench.begin(old, edit.rows)


def _check_words(made: m.Made | None, edit: Edit, db: Database) -> None:
    if edit.seen_by is True or edit.seen_by in db.capabilities:
        assert made is not None, "no revision was made of this edit"
    if edit.seen_by is False:
        assert made is None, "a revision was made, and nothing in the database differs"
    if made is None:
        return
    changes = "; ".join(made.changes)
    for word in edit.words:
        assert re.search(rf"(?<![a-z])({word})(?![a-z])", changes), f"nothing in {changes!r} names {word}"
    dropped = [line for line in made.changes if re.match(r"drop (table|collection|column|field) ", line)]
    assert list(made.drops) == dropped, "a table or a column that goes is announced, and nothing else is"
    assert bool(made.drops) >= edit.gives_up
