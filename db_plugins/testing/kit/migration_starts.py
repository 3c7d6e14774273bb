"""How a database comes under migrations, and where it is in their history: initdb, heads, stamps, and a revision that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db_plugins import Capability, Database
from db_plugins import migrations as m
from db_plugins.errors import (
    MigrationError,
    MultipleHeadsError,
    PendingMigrationsError,
    RevisionNotFoundError,
)
from db_plugins.migrations import LockRequest

from .harness import Harness, subject
from .migration_edits import NAMED, PLANET, STAR, one_star, to_planet, with_band
from .migration_models import Bench, column, models, rows_of, star

__all__ = ["MigrationStarts"]


def two_tables() -> tuple[type, ...]:
    return models(
        Planet=star(mass=column(sa.Float, index=True)),
        Star=star(planet_id=to_planet(), band=column(sa.String(10), unique=True)),
    )


@subject("migrations", Capability.MIGRATIONS, Capability.WRITE)
class MigrationStarts(Harness):
    """API §10: ``initdb``, ``current``, ``history``, ``heads``, ``merge``, ``stamp``."""

    # -- initdb ----------------------------------------------------------------------------------------------------

    def test_initdb_writes_a_first_revision_that_is_applied(self, bench: Bench) -> None:
        db = bench.open(two_tables())
        done = m.initdb(db, folder=bench.folder)
        assert set(done.made) == {"Star", "Planet"}
        assert done.existing == ()
        assert done.revision is not None
        assert (done.revision.revision, done.applied) == ("initial", ("initial",))
        assert done.revision.path.parent == bench.folder / "versions"
        assert m.current(db, folder=bench.folder) == m.Current(("initial",), (), (), ("initial",))
        assert bench.is_clean(db)
        assert bench.make(db) is None

    def test_initdb_again_changes_nothing_and_keeps_rows(self, bench: Bench) -> None:
        db = bench.begin(one_star(), NAMED)
        before = bench.fingerprint(db)
        for _ in range(2):
            done = m.initdb(bench.open(one_star()), folder=bench.folder)
            assert (done.made, done.existing, done.revision, done.applied) == ((), ("Star",), None, ())
        assert bench.fingerprint(db) == before
        assert bench.files() == ["initial.py"]

    def test_initdb_makes_the_same_as_create_all(self, bench: Bench) -> None:
        db = bench.begin(two_tables())
        made = bench.harness.schema(db)
        m.downgrade(db, "base", folder=bench.folder)
        assert db.ping().models == ()
        db.create_all()
        others = bench.harness.schema(db)
        if made is not None:
            shared = [name for name in others if name.startswith("kit_m_")]
            assert len(shared) >= 2
            assert {name: made[name] for name in shared} == {name: others[name] for name in shared}

    def test_a_fresh_database_is_rebuilt_from_the_revisions_alone(self, bench: Bench) -> None:
        db = bench.begin(one_star())
        edited = bench.open(two_tables())
        made = bench.made(edited)
        bench.migrate(edited)
        there = bench.fingerprint(edited)
        m.migrate(edited, "base", folder=bench.folder)
        assert edited.ping().models == ()
        assert m.current(edited, folder=bench.folder).revisions == ()
        done = m.initdb(db, folder=bench.folder)
        assert done.applied == ("initial", made.revision)
        assert bench.fingerprint(edited) == there
        assert bench.is_clean(edited)

    def test_a_database_that_create_all_made_is_adopted(self, bench: Bench) -> None:
        db = bench.open(two_tables())
        db.create_all()
        planet = db._models()[0].cls
        db.query(planet).insert({"id": 1, "name": "Pandora", "mass": 0.5})
        before = rows_of(db)
        done = m.initdb(bench.open(two_tables()), folder=bench.folder)
        assert set(done.existing) == {"Star", "Planet"}
        assert (done.made, done.applied) == ((), ("initial",))
        assert bench.is_clean(db)
        assert bench.make(db) is None
        assert rows_of(db) == before
        m.migrate(db, "base", folder=bench.folder, allow_drop=True)
        assert m.initdb(db, folder=bench.folder).applied == ("initial",)
        assert bench.is_clean(db)

    def test_a_database_that_is_otherwise_is_not_guessed_at(self, bench: Bench) -> None:
        old = bench.open(with_band())
        old.create_all()
        old.query(old._models()[0].cls).insert({"id": 1, "name": "Vega", "band": "V"})
        before = bench.fingerprint(old)
        edited = bench.open(one_star(flag=column(sa.Boolean)))
        for verb in (m.initdb, m.make_migrations):
            with pytest.raises(MigrationError) as refused:
                verb(edited, folder=bench.folder)
            assert "Star" in str(refused.value) or STAR in str(refused.value)
        with pytest.raises(MigrationError, match="flag"):
            m.initdb(edited, folder=bench.folder)
        assert bench.fingerprint(old) == before
        assert bench.files() == []

    def test_initdb_makes_the_tables_that_are_missing(self, bench: Bench) -> None:
        bench.open(one_star()).create_all()
        db = bench.open(models(Star=star(), Planet=star()))
        done = m.initdb(db, folder=bench.folder)
        assert (done.made, done.existing) == (("Planet",), ("Star",))
        assert bench.is_clean(db)
        assert bench.make(db) is None

    # -- where a database is ---------------------------------------------------------------------------------------

    def test_make_migrations_waits_for_revisions_that_are_not_applied(self, bench: Bench) -> None:
        bench.begin(one_star())
        edited = bench.open(with_band())
        made = bench.made(edited, "Bands")
        with pytest.raises(PendingMigrationsError, match=made.revision):
            bench.make(edited)
        checked = m.check(edited, folder=bench.folder)
        assert not checked.ok
        assert checked.pending == (f"{made.revision} (Bands)",)
        assert m.current(edited, folder=bench.folder).pending == (made.revision,)
        assert len(bench.files()) == 2

    def test_a_revision_that_the_folder_has_not_is_named(self, bench: Bench) -> None:
        bench.begin(one_star())
        edited = bench.open(with_band())
        made = bench.made(edited)
        bench.migrate(edited)
        before = bench.fingerprint(edited)
        text = made.path.read_text(encoding="utf-8")
        made.path.unlink()
        for verb in (bench.migrate, bench.make, lambda db: m.downgrade(db, folder=bench.folder)):
            with pytest.raises(RevisionNotFoundError, match=made.revision):
                verb(edited)
        assert m.current(edited, folder=bench.folder).unknown == (made.revision,)
        assert made.revision in str(m.check(edited, folder=bench.folder).problems)
        made.path.write_text(text, encoding="utf-8")
        assert bench.fingerprint(edited) == before

    def test_two_heads_are_refused_until_they_are_merged(self, bench: Bench) -> None:
        db = bench.begin(one_star(), NAMED)
        one = bench.made(bench.open(with_band()), "Bands")
        _put_aside(one.path)
        two = bench.made(bench.open(models(Star=star(), Planet=star())), "Planets")
        _put_aside(one.path, back=True)
        both = bench.open(models(Star=star(band=column(sa.String(10))), Planet=star()))
        for verb in (bench.migrate, bench.make):
            with pytest.raises(MultipleHeadsError, match="merge"):
                verb(both)
        assert {head.revision for head in m.heads(db, folder=bench.folder)} == {one.revision, two.revision}
        merged = m.merge(db, folder=bench.folder)
        assert merged is not None
        assert m.merge(db, folder=bench.folder) is None
        assert set(bench.migrate(both)) == {one.revision, two.revision, merged.revision}
        assert m.current(both, folder=bench.folder).revisions == (merged.revision,)
        assert bench.is_clean(both)
        assert rows_of(both)["Star"] == [{**row, "band": None} for row in NAMED["Star"]]
        m.migrate(both, "initial", folder=bench.folder)
        assert bench.is_as_asked(db)

    def test_a_stamp_records_and_runs_nothing(self, bench: Bench) -> None:
        db = bench.begin(one_star(), NAMED)
        edited = bench.open(with_band())
        made = bench.made(edited)
        before = {**bench.fingerprint(db), "at": ()}
        assert m.stamp(db, "head", folder=bench.folder) == (made.revision,)
        assert m.current(db, folder=bench.folder).revisions == (made.revision,)
        assert {**bench.fingerprint(db), "at": ()} == before
        assert not m.check(edited, folder=bench.folder).ok
        assert m.stamp(db, "base", folder=bench.folder) == ()
        assert m.current(db, folder=bench.folder).revisions == ()
        assert m.stamp(db, "initial", folder=bench.folder) == ("initial",)
        assert bench.migrate(edited) == [made.revision]
        assert bench.is_clean(edited)

    def test_migrate_goes_to_a_revision_up_and_down(self, bench: Bench) -> None:
        db = bench.begin(one_star(), NAMED)
        first = bench.made(bench.open(with_band()))
        bench.migrate(db)
        second = bench.made(bench.open(models(Star=star(band=column(sa.String(10))), Planet=star())))
        assert bench.migrate(db, "-1") == [first.revision]
        assert bench.migrate(db, second.revision) == [first.revision, second.revision]
        assert bench.migrate(db, "initial") == [second.revision, first.revision]
        assert bench.is_as_asked(db)
        assert bench.migrate(db, "+1") == [first.revision]
        assert bench.migrate(db) == [second.revision]
        assert bench.migrate(db) == []
        history = m.history(db, folder=bench.folder)
        assert [(each.revision, each.applied, each.is_head) for each in history] == [
            (second.revision, True, True),
            (first.revision, True, False),
            ("initial", True, False),
        ]
        assert rows_of(db) == NAMED

    def test_tables_that_no_revision_made_are_not_migrated_over(self, bench: Bench) -> None:
        bench.begin(one_star(), NAMED)
        db = bench.open(one_star())
        m.stamp(db, "base", folder=bench.folder)
        with pytest.raises(MigrationError, match=r"Star.*stamp"):
            bench.migrate(db)
        assert not m.check(db, folder=bench.folder).ok
        assert rows_of(db) == NAMED

    # -- a revision that fails -------------------------------------------------------------------------------------

    @pytest.mark.parametrize("where", ["at the beginning", "in the middle", "at the end"])
    def test_a_revision_that_fails_names_itself_and_its_line_and_goes_through_when_mended(
        self, bench: Bench, where: str
    ) -> None:
        db = bench.begin(one_star(), NAMED)
        before = bench.fingerprint(db)
        edited = bench.open(models(Star=star(band=column(sa.String(10), index=True)), Planet=star()))
        made = bench.made(edited, "Bands and planets")
        sound = made.path.read_text(encoding="utf-8")
        line = _break(made.path, where)
        run = m.Run()
        with pytest.raises(MigrationError, match=f"{made.revision}.*{made.path.name}:{line}.*no, not now"):
            m.migrate(edited, folder=bench.folder, run=run)
        assert run.done == []
        if where == "at the beginning" or _is_atomic(db):
            assert bench.fingerprint(db) == before
        assert rows_of(db) == NAMED
        made.path.write_text(sound, encoding="utf-8")
        assert bench.migrate(edited) == [made.revision]
        assert bench.is_clean(edited)
        assert bench.make(edited) is None
        assert rows_of(edited)["Star"] == [{**row, "band": None} for row in NAMED["Star"]]
        m.downgrade(edited, folder=bench.folder)
        assert bench.fingerprint(db) == before

    def test_of_several_revisions_those_before_the_failing_one_are_known(self, bench: Bench) -> None:
        db = bench.begin(one_star(), NAMED)
        edited = bench.open(with_band())
        first = bench.made(edited)
        bench.migrate(edited)
        last = bench.open(models(Star=star(band=column(sa.String(10))), Planet=star()))
        second = bench.made(last)
        m.downgrade(edited, folder=bench.folder)
        sound = second.path.read_text(encoding="utf-8")
        _break(second.path, "at the beginning")
        run = m.Run()
        with pytest.raises(MigrationError, match=second.revision):
            m.migrate(last, folder=bench.folder, run=run)
        done = [step.revision for step in run.done]
        assert done == ([] if _is_atomic(db) else [first.revision])
        assert m.current(last, folder=bench.folder).revisions == (tuple(done) or ("initial",))
        second.path.write_text(sound, encoding="utf-8")
        assert bench.migrate(last) == [r for r in (first.revision, second.revision) if r not in done]
        assert bench.is_clean(last)
        assert PLANET in "; ".join(second.changes)


def _put_aside(path: Path, *, back: bool = False) -> None:
    """Out of Alembic's sight, as on the branch of somebody else."""
    away = path.with_suffix(".aside")
    (away if back else path).rename(path if back else away)


def _break(path: Path, where: str) -> int:
    """Let ``upgrade()`` raise after none, some, or all of its statements; returns the line."""
    import ast

    lines = path.read_text(encoding="utf-8").splitlines()
    (upgrade,) = (
        each
        for each in ast.parse("\n".join(lines)).body
        if isinstance(each, ast.FunctionDef) and each.name == "upgrade"
    )
    body: list[Any] = upgrade.body
    after = {"at the beginning": 0, "in the middle": max(1, len(body) // 2), "at the end": len(body)}[where]
    at = body[after - 1].end_lineno if after else body[0].lineno - 1
    lines.insert(at, '    raise RuntimeError("no, not now")')
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(at) + 1


def _is_atomic(db: Database) -> bool:
    """Does an error undo a whole run?"""
    connection: Any = db._root_runner().connection
    with connection.migrating(LockRequest(timeout=10)) as migration:
        return bool(migration.is_atomic)
