"""Migrations from end to end on a toy engine: what the core makes of any engine that has the role."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_migrations import TOYS, installed
from toy_project import Project

from db_plugins import connect
from db_plugins.errors import (
    ConfigError,
    DestructiveChangeError,
    DirtyMigrationError,
    InvalidValueError,
    MigrationError,
    MigrationLockedError,
    MultipleHeadsError,
    PendingMigrationsError,
    RevisionNotFoundError,
    UnsupportedOperationError,
)
from db_plugins.migrations import (
    Holder,
    Run,
    Step,
    check,
    current,
    downgrade,
    heads,
    history,
    initdb,
    make_migrations,
    merge,
    migrate,
    sql,
    stamp,
)

both = pytest.mark.parametrize("journal", [False, True], ids=["atomic", "journal"])


@pytest.fixture
def journal() -> bool:
    return False


@pytest.fixture
def project(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, journal: bool
) -> Iterator[Project]:
    monkeypatch.delenv("DBP_SETTINGS", raising=False)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    TOYS.clear()
    with installed(tmp_path_factory.mktemp("site")):
        yield Project(tmp_path, journal=journal)


# -- make_migrations ---------------------------------------------------------------------------------------------------


@both
def test_a_revision_is_made_applied_undone_and_applied_again(project: Project) -> None:
    with project.connect() as db:
        made = make_migrations(db, "Add stars")
        assert made is not None
        assert (made.message, made.changes, made.drops) == ("Add stars", ("create table stars",), ())
        assert made.path == project.path / "migrations" / "A" / "versions" / f"{made.revision}_add_stars.py"
        assert project.toy.columns == {}
        run = migrate(db)
        assert ([step.name for step in run.done], run.left, run.undone) == (
            [f"{made.revision} (Add stars)"],
            [],
            [],
        )
        assert project.toy.columns == {"stars": ["id", "mag"]}
        assert migrate(db).planned == []
        assert [step.revision for step in downgrade(db).done] == [made.revision]
        assert (project.toy.columns, project.toy.heads) == ({}, ())
        assert len(migrate(db).done) == 1
        assert check(db).ok


def test_nothing_differs_so_no_file_is_written(project: Project) -> None:
    project.revise("one", stars=["mag"])
    project.dbp("migrate")
    with project.connect() as db:
        assert make_migrations(db) is None
    done = project.dbp("make_migrations", "-m", "nothing")
    assert done.stdout == "A (toy, a): nothing differs, so nothing was written\n"
    assert project.told("make-migrations")["entries"][0]["file"] is None
    assert len(project.files) == 1


def test_without_models_or_differences_no_folder_is_made(project: Project) -> None:
    project.toy.columns["stars"] = ["id", "mag"]
    project.dbp("make_migrations")
    assert not (project.path / "migrations").exists()


def test_the_document_of_make_migrations(project: Project) -> None:
    (entry,) = project.told("make_migrations")["entries"]
    assert entry.pop("file") == str(project.files[0])
    revision = entry.pop("revision")
    assert project.files[0].name == f"{revision}_create_table_stars.py"
    assert entry == {
        "name": "A",
        "ok": True,
        "engine": "toy",
        "address": "a",
        "message": "create table stars",
        "changes": ["create table stars"],
        "drops": [],
        "possible_renames": [],
    }


def test_a_message_that_was_not_given_is_the_changes(project: Project) -> None:
    project.write_models(stars=["mag"], suns=[], moons=[])
    with project.connect() as db:
        made = make_migrations(db, "  ")
    assert made is not None
    assert made.message == "create table stars, and 2 more changes"


@pytest.mark.parametrize("message", ["x" * 201, "nul\0"])
def test_a_message_that_cannot_be_is_refused(project: Project, message: str) -> None:
    with project.connect() as db:
        with pytest.raises(InvalidValueError, match="the message"):
            make_migrations(db, message)
        with pytest.raises(InvalidValueError, match="the message"):
            merge(db, message)
    assert project.files == []


def test_revisions_that_wait_are_applied_first(project: Project) -> None:
    project.revise("one", stars=["mag"])
    project.write_models(stars=["mag", "ra"])
    with (
        project.connect() as db,
        pytest.raises(PendingMigrationsError, match=r"'A' is behind its revisions by 1: \w+ \(one\)"),
    ):
        make_migrations(db)
    assert "hint: run `dbp migrate` first" in project.dbp("make_migrations", code=1).stderr
    assert len(project.files) == 1


def test_an_empty_revision_is_made_though_others_wait(project: Project) -> None:
    project.revise("one", stars=["mag"])
    project.dbp("make_migrations", "--empty", "-m", "fill it in")
    with project.connect() as db:
        assert [each.message for each in history(db)] == ["fill it in", "one"]
    assert "    pass\n" in next(each for each in project.files if "fill" in each.name).read_text()


def test_of_a_database_made_by_hand_the_first_revision_must_make_all(project: Project) -> None:
    project.toy.columns["stars"] = ["id"]
    with (
        project.connect() as db,
        pytest.raises(MigrationError, match="'A' has Stars already, made by other means"),
    ):
        make_migrations(db)
    assert not (project.path / "migrations").exists()


def test_drops_are_written_and_announced(project: Project) -> None:
    project.revise("one", stars=["mag"], suns=[])
    project.toy.columns["foreign"] = ["id"]
    project.dbp("migrate")
    project.write_models(suns=[])
    done = project.dbp("make_migrations")
    assert "  gives up data: drop table stars\n" in done.stdout
    assert "foreign" not in done.stdout


@both
def test_a_drop_of_values_is_refused_before_anything_is_done(project: Project) -> None:
    project.revise("one", stars=["mag"])
    project.dbp("migrate")
    project.revise("two", stars=[])
    project.toy.filled.add("stars")
    with project.connect() as db, pytest.raises(DestructiveChangeError, match="stars holds values"):
        migrate(db)
    assert "--allow-drop" in project.dbp("migrate", code=1).stderr
    assert project.toy.columns == {"stars": ["id", "mag"]}
    project.dbp("migrate", "--allow-drop")
    assert project.toy.columns == {"stars": ["id"]}
    assert "--allow-drop" in project.dbp("downgrade", "base", code=1).stderr
    project.dbp("downgrade", "base", "--allow-drop")


# -- renames -----------------------------------------------------------------------------------------------------------


def test_a_possible_rename_is_said_and_given(project: Project) -> None:
    project.revise("one", stars=["mag"])
    project.dbp("migrate")
    project.write_models(stars=["magnitude"])
    done = project.dbp("make_migrations")
    assert "if that is a rename, delete the file and use --rename stars.mag:magnitude" in done.stdout
    next(each for each in project.files if "one" not in each.name).unlink()
    project.dbp("make_migrations", "--rename", "stars.mag:magnitude")
    project.dbp("migrate")
    assert project.toy.columns == {"stars": ["id", "magnitude"]}
    project.write_models(suns=["magnitude"])
    project.dbp("make_migrations", "--rename", " stars : suns ")
    project.dbp("migrate")
    assert project.toy.columns == {"suns": ["id", "magnitude"]}


def test_a_rename_may_repeat_the_table(project: Project) -> None:
    project.revise("one", stars=["mag"])
    project.dbp("migrate")
    project.write_models(stars=["magnitude"])
    done = project.dbp("make_migrations", "--rename", "stars.mag:stars.magnitude")
    assert "rename_column stars mag magnitude" in done.stdout


@pytest.mark.parametrize(
    "given",
    [
        "",
        ":",
        "a",
        "a:",
        ":b",
        "a:b:c",
        ".b:c",
        "a.:c",
        "a.b:",
        "a.b:c.d",
        "a:b.c",
        "a.b:other.c",
        " : ",
        "a:a",
        "a.b:b",
        "a.b:a.b",
    ],
)
def test_what_is_no_rename_is_refused(project: Project, given: str) -> None:
    project.revise("one", a=["b"])
    project.dbp("migrate")
    with project.connect() as db, pytest.raises(InvalidValueError, match="is no rename"):
        make_migrations(db, renames=[given])
    assert "hint: write old:new" in project.dbp("make_migrations", "--rename", given, code=1).stderr
    assert len(project.files) == 1


# -- models that fail --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["make_migrations", "check", "initdb"])
def test_models_that_do_not_import_are_never_read_as_drop_everything(project: Project, command: str) -> None:
    project.revise("one", stars=["mag"])
    project.dbp("migrate")
    project.write_models("import toy_project\n\nstars = no_such_name\n")
    done = project.dbp(command, code=1)
    assert "models.py:3" in done.stderr
    assert "drop" not in done.output
    assert len(project.files) == 1
    assert project.toy.columns == {"stars": ["id", "mag"]}


@pytest.mark.parametrize("command", ["make_migrations", "check", "initdb"])
def test_models_that_are_none_are_never_read_as_drop_everything(project: Project, command: str) -> None:
    project.revise("one", stars=["mag"])
    project.dbp("migrate")
    project.write_models("nothing = 1\n")
    done = project.dbp(command, code=1)
    assert "model" in done.stderr
    assert len(project.files) == 1


def test_without_models_python_is_told_too(project: Project) -> None:
    with connect({"ENGINE": "toy", "DB_NAME": "a"}, models=[]) as db:
        for act in (make_migrations, initdb, check):
            with pytest.raises(ConfigError):
                act(db)


# -- migrate and downgrade ---------------------------------------------------------------------------------------------


@pytest.fixture
def three(project: Project) -> Project:
    """Three revisions, none of them applied: aaaa1, aaaa2, aaaa3."""
    project.write_models(stars=["a", "b"])
    project.write(
        "aaaa1", None, "op.create_table('stars', ['id'])", message="one", down="op.drop_table('stars')"
    )
    project.write(
        "aaaa2", "aaaa1", "op.add_column('stars', 'a')", message="two", down="op.drop_column('stars', 'a')"
    )
    project.write(
        "aaaa3", "aaaa2", "op.add_column('stars', 'b')", message="three", down="op.drop_column('stars', 'b')"
    )
    return project


@both
def test_migrate_says_what_it_did_and_may_be_repeated(three: Project) -> None:
    done = three.dbp("migrate")
    assert (
        done.stdout == "A (toy, a):\n  applied aaaa1 (one)\n  applied aaaa2 (two)\n  applied aaaa3 (three)\n"
    )
    assert three.dbp("migrate").stdout == "A (toy, a): nothing to do\n"
    assert three.told("migrate")["entries"] == [
        {"name": "A", "ok": True, "engine": "toy", "address": "a", "applied": []}
    ]
    done = three.dbp("downgrade")
    assert done.stdout == "A (toy, a):\n  undid aaaa3 (three)\n"


@both
def test_up_and_down_to_a_revision(three: Project) -> None:
    assert [each["revision"] for each in three.told("migrate", "aaaa2")["entries"][0]["applied"]] == [
        "aaaa1",
        "aaaa2",
    ]
    assert three.told("migrate", "aaaa1")["entries"][0]["applied"] == [
        {"revision": "aaaa2", "message": "two", "direction": "downgrade"}
    ]
    assert len(three.told("migrate", "+2")["entries"][0]["applied"]) == 2
    assert len(three.told("migrate", "-1")["entries"][0]["applied"]) == 1
    assert len(three.told("downgrade", "aaaa1")["entries"][0]["applied"]) == 1
    assert len(three.told("downgrade", "-7")["entries"][0]["applied"]) == 1
    assert three.toy.heads == ()
    assert three.told("downgrade", "base")["entries"][0]["applied"] == []


def test_a_plan_does_nothing(three: Project) -> None:
    three.dbp("migrate", "aaaa1")
    assert three.told("migrate", "--plan")["entries"][0]["planned"] == [
        {"revision": "aaaa2", "message": "two", "direction": "upgrade"},
        {"revision": "aaaa3", "message": "three", "direction": "upgrade"},
    ]
    assert three.dbp("migrate", "base", "--plan").stdout == "A (toy, a):\n  would undo aaaa1 (one)\n"
    assert three.dbp("migrate", "aaaa1", "--plan").stdout == "A (toy, a): nothing to do\n"
    with three.connect() as db:
        run = migrate(db, plan=True)
        assert (len(run.planned), run.done, run.left) == (2, [], run.planned)
    assert three.toy.heads == ("aaaa1",)


def test_the_statements_are_shown_and_not_sent(three: Project) -> None:
    done = three.dbp("migrate", "--sql", "aaaa2")
    assert done.stdout.startswith("-- A (toy, a)\naaaa1 (one): create_table('stars', ['id'])\n")
    assert three.told("migrate", "--sql")["entries"][0]["sql"].count("\n") == 2
    assert three.toy.heads == ()
    three.dbp("migrate")
    assert three.dbp("migrate", "--sql").stdout == "-- A (toy, a)\n-- nothing to do\n"
    with three.connect() as db:
        assert sql(db) == ""
        assert "aaaa3" in sql(db, "-1")


def test_options_that_exclude_each_other_are_wrong_usage(three: Project) -> None:
    for options in (
        ["--plan", "--sql"],
        ["--plan", "--resume"],
        ["--sql", "--mark-done"],
        ["--resume", "--mark-done"],
    ):
        assert "error: " in three.dbp("migrate", *options, code=2).stderr
    assert three.toy.heads == ()


@pytest.mark.parametrize(
    "arguments",
    [
        ["downgrade", "-1", "--database", "A"],
        ["downgrade", "--database", "A", "-1"],
        ["--database", "A", "downgrade", "-1"],
        ["downgrade", "--", "-1"],
        ["downgrade", "-1", "--lock-timeout", "3", "--json"],
        ["downgrade", "--lock-timeout=3", "-1"],
        ["migrate", "-1", "--allow-drop"],
    ],
)
def test_minus_one_is_a_revision_wherever_it_stands(three: Project, arguments: list[str]) -> None:
    three.dbp("migrate")
    three.dbp(*arguments)
    assert three.toy.heads == ("aaaa2",)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["migrate", "--lock-timeout", "-1"], "-1"),
        (["migrate", "--lock-timeout=-1"], "-1"),
        (["migrate", "--lock-timeout", "soon"], "'soon' is not a valid float"),
        (["migrate", "--lock-timeout"], "requires an argument"),
        (["downgrade", "-x"], "-x"),
        (["downgrade", "-1", "-2"], "-2"),
        (["stamp"], "REVISION"),
        (["migrate", "a", "b"], "b"),
    ],
)
def test_wrong_usage_is_said_cleanly(three: Project, arguments: list[str], says: str) -> None:
    done = three.dbp(*arguments, code=2)
    assert says in done.stderr
    assert "\0" not in done.output
    assert "\\x00" not in done.output
    assert done.stderr.splitlines()[-1].startswith("hint: ")


@pytest.mark.parametrize("command", ["migrate", "downgrade", "stamp"])
@pytest.mark.parametrize("revision", ["nope", "aaaa", "../x", "-1x", ""])
def test_a_revision_that_is_none_is_an_error(three: Project, command: str, revision: str) -> None:
    three.dbp(command, "--", revision, code=1)
    three.dbp(command, "--database", "A", "--", revision, code=1)
    assert three.toy.heads == ()


def test_a_revision_ahead_cannot_be_gone_back_to(three: Project) -> None:
    three.dbp("migrate", "aaaa1")
    with three.connect() as db, pytest.raises(MigrationError, match=r"is not at aaaa3 \(three\) yet"):
        downgrade(db, "aaaa3")
    for target in ("+1", "head", "heads"):
        with three.connect() as db, pytest.raises(MigrationError):
            downgrade(db, target)
    assert three.toy.heads == ("aaaa1",)


def test_a_database_made_by_hand_is_not_run_over(three: Project) -> None:
    three.toy.columns["stars"] = ["id", "a", "b"]
    for command in (["migrate"], ["migrate", "--sql"], ["initdb"]):
        done = three.dbp(*command, code=1)
        assert "'A' has Stars already, and no revision is recorded in it" in done.stderr
        assert "dbp stamp REVISION" in done.stderr
    three.dbp("stamp", "head")
    assert three.dbp("migrate").stdout == "A (toy, a): nothing to do\n"
    three.dbp("check")


def test_a_database_of_a_revision_that_the_folder_has_not(three: Project) -> None:
    three.toy.heads = ("gone",)
    for command in (
        ["migrate"],
        ["migrate", "--plan"],
        ["downgrade"],
        ["make_migrations"],
        ["initdb"],
        ["migrate", "--sql"],
    ):
        assert "the database is at gone, which is not in " in three.dbp(*command, code=1).stderr
    assert three.told("current")["entries"][0]["unknown"] == ["gone"]
    assert "not in the folder: gone" in three.dbp("current").stdout
    assert "gone" in three.dbp("check", code=3).stdout
    three.dbp("stamp", "aaaa3")
    assert three.toy.heads == ("aaaa3",)


# -- what fails --------------------------------------------------------------------------------------------------------

BAD = "op.add_column('stars', 'c')\nraise RuntimeError('no more')"


@both
def test_a_failing_revision_is_named_with_its_line_and_what_was_kept(three: Project, journal: bool) -> None:
    three.write("aaaa4", "aaaa3", BAD, message="bad")
    with three.connect() as db:
        run = Run()
        with pytest.raises(
            MigrationError, match=r"upgrade\(\) of aaaa4 \(bad\) failed at aaaa4\.py:9: RuntimeError: no more"
        ) as raised:
            migrate(db, run=run)
    assert isinstance(raised.value.__cause__, RuntimeError)
    assert [len(run.planned), len(run.done), len(run.undone), len(run.left)] == (
        [4, 3, 0, 1] if journal else [4, 0, 3, 4]
    )
    assert three.toy.heads == (("aaaa3",) if journal else ())
    assert (three.toy.columns == {}) is not journal


@both
def test_a_failing_revision_on_the_screen_and_in_json(three: Project, journal: bool) -> None:
    three.write("aaaa4", "aaaa3", BAD, message="bad")
    done = three.dbp("migrate", code=1)
    kept, left = (
        ("aaaa1 (one), aaaa2 (two), aaaa3 (three)", "aaaa4 (bad)")
        if journal
        else (
            "nothing",
            "aaaa1 (one), aaaa2 (two), aaaa3 (three), aaaa4 (bad)",
        )
    )
    assert f"A: applied: {kept}; not applied: {left}\n" in done.stderr
    assert "error: A: upgrade() of aaaa4 (bad) failed at aaaa4.py:9: RuntimeError: no more\n" in done.stderr
    (entry,) = three.told("migrate", code=1)["entries"]
    assert [each["revision"] for each in entry["left"]] == (
        ["aaaa4"] if journal else ["aaaa1", "aaaa2", "aaaa3", "aaaa4"]
    )
    assert (entry["applied"], entry["type"]) == ([], "MigrationError")


@both
def test_a_mended_revision_goes_on(three: Project) -> None:
    three.write("aaaa4", "aaaa3", BAD)
    three.dbp("migrate", code=1)
    three.write("aaaa4", "aaaa3", "op.add_column('stars', 'c')\nop.add_column('stars', 'd')")
    three.dbp("migrate")
    assert three.toy.columns == {"stars": ["id", "a", "b", "c", "d"]}


@both
@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit(4)"])
def test_an_interrupt_inside_of_a_step_says_what_was_applied(
    three: Project, journal: bool, error: str
) -> None:
    three.write("aaaa4", "aaaa3", f"op.add_column('stars', 'c')\nraise {error}", message="long")
    done = three.dbp("migrate", code=130 if error == "KeyboardInterrupt" else 4)
    kept = "aaaa1 (one), aaaa2 (two), aaaa3 (three)" if journal else "nothing"
    assert f"A: applied: {kept}; not applied: " in done.stderr
    assert "aaaa4 (long)\n" in done.stderr
    assert three.toy.heads == (("aaaa3",) if journal else ())
    if error == "KeyboardInterrupt":
        assert done.stderr.endswith("interrupted\n")
        document = three.told("migrate", code=130)
        assert document["error"] == "interrupted"
        assert [each["revision"] for each in document["entries"][0]["left"]][-1] == "aaaa4"
    assert not three.toy.lock.locked()


# -- interrupted steps -------------------------------------------------------------------------------------------------


@pytest.fixture
def dirty(project: Project) -> Project:
    """Stopped inside of the second operation of three, which may be half done."""
    project.write_models(stars=["a", "b"])
    project.write(
        "aaaa1",
        None,
        "op.create_table('stars', ['id'])\nop.add_column('stars', 'a')\nop.add_column('stars', 'b')",
        message="one",
    )
    project.write("aaaa2", "aaaa1", "op.add_column('stars', 'c')")
    project.toy.fails.add("add_column stars a")
    project.dbp("migrate", code=1)
    project.toy.fails.clear()
    return project


@pytest.mark.parametrize("journal", [True])
@pytest.mark.parametrize("command", [["migrate"], ["downgrade"], ["migrate", "base"], ["migrate", "aaaa1"]])
def test_a_step_that_may_be_half_done_is_said_and_stops_all(dirty: Project, command: list[str]) -> None:
    done = dirty.dbp(*command, code=1)
    assert (
        "'A' stopped inside upgrade() of aaaa1 (one), step 2 (add_column stars a), which may be half done"
        in done.stderr
    )
    assert "`dbp migrate --resume`" in done.stderr
    assert "`--mark-done`" in done.stderr
    assert (dirty.toy.columns, dirty.toy.heads) == ({"stars": ["id"]}, ())
    with dirty.connect() as db, pytest.raises(DirtyMigrationError):
        migrate(db)


@pytest.mark.parametrize("journal", [True])
def test_resume_runs_the_step_again_and_goes_on(dirty: Project) -> None:
    done = dirty.dbp("migrate", "--resume")
    assert "applied aaaa1 (one)\n  applied aaaa2" in done.stdout
    assert dirty.toy.columns == {"stars": ["id", "a", "b", "c"]}
    assert dirty.toy.heads == ("aaaa2",)


@pytest.mark.parametrize("journal", [True])
def test_mark_done_takes_it_as_done_and_goes_on(dirty: Project) -> None:
    dirty.dbp("migrate", "--mark-done", "aaaa1")
    assert dirty.toy.columns == {"stars": ["id", "b"]}
    assert dirty.toy.heads == ("aaaa1",)


@pytest.mark.parametrize("journal", [True])
def test_settling_towards_base_ends_the_step_first(dirty: Project) -> None:
    with dirty.connect() as db:
        run = migrate(db, "base", settling="resume", allow_drop=True)
    assert [(each.revision, each.is_upgrade) for each in run.done] == [("aaaa1", True), ("aaaa1", False)]


@pytest.mark.parametrize("journal", [True])
def test_a_clean_stop_goes_on_by_itself_but_not_elsewhere(three: Project) -> None:
    three.write("aaaa4", "aaaa3", BAD)
    three.dbp("migrate", code=1)
    done = three.dbp("downgrade", code=1)
    assert "has to come to its end first" in done.stderr
    assert "`dbp migrate --resume` finishes it" in done.stderr
    assert "stopped inside" not in three.dbp("migrate", code=1).stderr  # it goes on, and fails again


@both
def test_settling_where_nothing_was_interrupted_is_a_plain_run(three: Project) -> None:
    three.dbp("migrate", "--mark-done", "aaaa2")
    three.dbp("migrate", "--resume")
    assert three.toy.columns == {"stars": ["id", "a", "b"]}


@pytest.mark.parametrize("journal", [True])
def test_stamp_settles_what_was_mended_by_hand(dirty: Project) -> None:
    dirty.toy.columns = {"stars": ["id", "a", "b"]}
    dirty.dbp("stamp", "aaaa1")
    dirty.dbp("migrate")
    assert dirty.toy.columns == {"stars": ["id", "a", "b", "c"]}


@pytest.mark.parametrize("journal", [True])
def test_an_interrupted_revision_whose_file_is_gone(dirty: Project) -> None:
    for path in dirty.files:
        path.unlink()
    dirty.write("bbbb1", None, "pass")
    with (
        dirty.connect() as db,
        pytest.raises(RevisionNotFoundError, match="'A' stopped inside aaaa1, which is not in"),
    ):
        migrate(db)


@pytest.mark.parametrize("journal", [True])
def test_check_and_current_tell_of_an_interrupted_step_only_if_they_may_look(dirty: Project) -> None:
    """They take no lock, so they cannot know; that the revision waits is said."""
    assert dirty.told("current")["entries"][0]["pending"] == ["aaaa1", "aaaa2"]
    assert dirty.told("check", code=3)["entries"][0]["pending"][0] == "aaaa1 (one)"


# -- the lock ----------------------------------------------------------------------------------------------------------


def test_who_waits_is_told_who_holds_the_lock(three: Project) -> None:
    holder = Holder.here()
    three.toy.lock.acquire()
    three.toy.holder = holder
    done = three.dbp("migrate", "--lock-timeout", "0.05", code=1)
    assert (
        f"A: waiting, another migration runs: process {holder.process} on {holder.host}, since 20"
        in done.stderr
    )
    assert done.stderr.count("waiting") == 1
    assert "error: A: another migration runs" in done.stderr
    assert (
        three.told("migrate", "--lock-timeout", "0", code=1)["entries"][0]["type"] == "MigrationLockedError"
    )
    with three.connect() as db, pytest.raises(MigrationLockedError):
        stamp(db, "head", lock_timeout=0)
    assert "waiting" in three.dbp("stamp", "head", "--lock-timeout", "0", code=1).stderr
    assert "waiting" in three.dbp("downgrade", "--lock-timeout", "0", code=1).stderr
    three.toy.holder = None
    assert (
        "A: waiting, another migration runs\n" in three.dbp("migrate", "--lock-timeout", "0", code=1).stderr
    )
    three.toy.lock.release()


def test_the_plan_is_read_anew_under_the_lock(three: Project) -> None:
    three.toy.lock.acquire()
    waits = threading.Event()
    runs: list[Run] = []

    def work() -> None:
        with three.connect() as db:
            runs.append(migrate(db, on_wait=lambda _holder: waits.set()))

    thread = threading.Thread(target=work)
    thread.start()
    assert waits.wait(10)
    three.toy.heads, three.toy.columns = ("aaaa3",), {"stars": ["id", "a", "b"]}
    three.toy.lock.release()
    thread.join(10)
    assert runs[0].planned == []


def test_reading_takes_no_lock(three: Project) -> None:
    three.toy.lock.acquire()
    for command in (["history"], ["heads"], ["current"], ["migrate", "--plan"], ["migrate", "--sql"]):
        three.dbp(*command)
    three.dbp("check", code=3)
    three.toy.lock.release()


# -- several entries ---------------------------------------------------------------------------------------------------


@pytest.fixture
def two(project: Project) -> Project:
    """A, the one without migrations, and B."""
    project.write_settings(A=project.entry, M={"ENGINE": "memory"}, B={**project.entry, "DB_NAME": "b"})
    project.write("aaaa1", None, "op.create_table('stars', ['id', 'mag'])")
    project.write("bbbb1", None, "op.create_table('stars', ['id', 'mag'])", entry="B")
    return project


def test_an_entry_without_migrations_is_passed_over_with_a_note(two: Project) -> None:
    for command in (
        "make_migrations --empty",
        "history",
        "current",
        "heads",
        "merge",
        "check",
        "migrate",
        "downgrade",
        "stamp base",
    ):
        document = two.told(*command.split(), code=3 if command == "check" else 0)
        assert [each["name"] for each in document["entries"]] == ["A", "B"]
        assert "M: memory has no migrations, so it is passed over" in document["notes"]


def test_an_entry_without_migrations_that_is_named_is_an_error(two: Project) -> None:
    for command in (
        ["make_migrations"],
        ["migrate"],
        ["history"],
        ["stamp", "head"],
        ["check"],
        ["migrate", "aaaa1"],
    ):
        done = two.dbp(*command, "--database", "M", code=1)
        assert "error: M: memory has no migrations" in done.stderr
    with connect({"ENGINE": "memory"}, models=[]) as db, pytest.raises(UnsupportedOperationError):
        migrate(db)


def test_where_no_entry_has_migrations_it_is_an_error(two: Project) -> None:
    two.write_settings(M={"ENGINE": "memory"})
    assert "no entry has an engine with migrations" in two.dbp("migrate", code=1).stderr


def test_a_revision_goes_to_the_entry_that_has_it(two: Project) -> None:
    assert [each["name"] for each in two.told("migrate", "bbbb1")["entries"]] == ["B"]
    assert (TOYS["a"].heads, TOYS["b"].heads) == ((), ("bbbb1",))
    assert [each["name"] for each in two.told("migrate", "aaaa")["entries"]] == ["A"]
    assert [each["name"] for each in two.told("downgrade", "bbbb1")["entries"]] == ["B"]
    assert [each["name"] for each in two.told("stamp", "bbbb1")["entries"]] == ["B"]
    done = two.dbp("migrate", "cccc1", code=1)
    assert "there is no revision 'cccc1' in A, B" in done.stderr
    assert "there is no revision 'bbbb1'" in two.dbp("migrate", "bbbb1", "--database", "A", code=1).stderr


def test_a_beginning_that_is_of_several_revisions_is_not_passed_over(two: Project) -> None:
    two.write("aaaa2", "aaaa1", "pass")
    two.write("aaaa9", None, "pass", entry="B")
    done = two.dbp("migrate", "aaaa", code=1)
    assert "several" in done.stderr
    assert (TOYS["a"].heads, TOYS["b"].heads) == ((), ())


def test_the_first_entry_that_fails_ends_the_run(two: Project) -> None:
    two.write_settings(A=two.entry, B={**two.entry, "DB_NAME": "b"}, C={**two.entry, "DB_NAME": "c"})
    two.write("cccc1", None, "pass", entry="C")
    two.write("bbbb1", None, "raise RuntimeError", entry="B")
    done = two.dbp("migrate", code=1)
    assert "A (toy, a):\n  applied aaaa1" in done.stdout
    assert "error: B: upgrade() of bbbb1" in done.stderr
    assert "note: not done after that: C" in done.stderr
    assert TOYS["c"].heads == ()
    document = two.told("migrate", code=1)
    assert [(each["name"], each["ok"]) for each in document["entries"]] == [("A", True), ("B", False)]
    assert document["error"] == "1 of 2 entries failed: B"


def test_looking_goes_on_after_an_entry_that_fails(two: Project) -> None:
    (two.path / "migrations" / "A" / "versions" / "aaaa1.py").write_text("import no_such_thing")
    document = two.told("history", code=1)
    assert [(each["name"], each["ok"]) for each in document["entries"]] == [("A", False), ("B", True)]
    assert "aaaa1.py:1: ModuleNotFoundError" in document["entries"][0]["error"]


def test_an_entry_that_is_wrong_is_reported_in_its_turn(two: Project) -> None:
    two.write_settings(A=two.entry, B={"ENGINE": "no such engine"})
    document = two.told("current", code=1)
    assert [(each["name"], each["ok"]) for each in document["entries"]] == [("A", True), ("B", False)]


# -- initdb ------------------------------------------------------------------------------------------------------------


@both
def test_initdb_writes_and_applies_a_first_revision(project: Project) -> None:
    done = project.dbp("initdb")
    (file,) = project.files
    assert file.name == "initial.py"
    assert done.stdout == "A (toy, a): made Stars; wrote migrations/A/versions/initial.py\n"
    assert project.toy.heads == ("initial",)
    project.dbp("check")
    again = project.told("initdb")["entries"][0]
    assert (again["made"], again["existing"], again["applied"], again["file"]) == ([], ["Stars"], [], None)
    assert project.told("make_migrations")["entries"][0]["file"] is None
    assert len(project.files) == 1


def test_initdb_with_revisions_applies_them(three: Project) -> None:
    with three.connect() as db:
        done = initdb(db)
    assert (done.made, done.revision, done.applied) == (("Stars",), None, ("aaaa1", "aaaa2", "aaaa3"))
    assert len(three.files) == 3


def test_initdb_adopts_what_is_as_the_models_ask_for(project: Project) -> None:
    project.toy.columns["stars"] = ["id", "mag"]
    project.write_models(stars=["mag"], suns=[])
    entry = project.told("initdb")["entries"][0]
    assert (entry["made"], entry["existing"]) == (["Suns"], ["Stars"])
    project.dbp("check")
    text = project.files[0].read_text()
    assert "'stars'" in text
    assert "'suns'" in text


def test_initdb_does_not_guess_about_what_differs(project: Project) -> None:
    project.toy.columns["stars"] = ["id", "other"]
    done = project.dbp("initdb", code=1)
    assert "is not as the models ask for: add column stars.mag; drop column stars.other" in done.stderr
    assert not (project.path / "migrations").exists()
    assert project.toy.columns == {"stars": ["id", "other"]}


@both
def test_initdb_that_fails_leaves_no_file_unless_something_was_made(project: Project, journal: bool) -> None:
    project.toy.fails.add("create_table stars ['id', 'mag']")
    project.dbp("initdb", code=1)
    assert project.toy.columns == {}
    assert len(project.files) == (1 if journal else 0)  # a journal speaks of the revision: its file must stay
    project.toy.fails.clear()
    project.dbp("migrate", "--resume") if journal else project.dbp("initdb")
    assert len(project.files) == 1
    project.dbp("check")


def test_initdb_waits_for_the_lock_and_leaves_no_file_if_it_does_not_get_it(project: Project) -> None:
    project.toy.lock.acquire()
    with project.connect() as db, pytest.raises(MigrationLockedError):
        initdb(db, lock_timeout=0)
    assert project.files == []
    project.toy.lock.release()


# -- looking -----------------------------------------------------------------------------------------------------------


def test_the_documents_of_history_and_current(three: Project) -> None:
    three.dbp("migrate", "aaaa2")
    entry = three.told("history")["entries"][0]
    assert [each["revision"] for each in entry["revisions"]] == ["aaaa3", "aaaa2", "aaaa1"]
    assert entry["revisions"][0] == {
        "revision": "aaaa3",
        "message": "three",
        "file": str(three.files[2]),
        "follows": ["aaaa2"],
        "head": True,
        "applied": False,
    }
    assert [each["applied"] for each in entry["revisions"]] == [False, True, True]
    assert three.told("current")["entries"][0] == {
        "name": "A",
        "ok": True,
        "engine": "toy",
        "address": "a",
        "revisions": ["aaaa2"],
        "heads": ["aaaa3"],
        "pending": ["aaaa3"],
        "unknown": [],
        "is_head": False,
    }
    assert three.told("heads")["entries"][0]["heads"][0]["applied"] is None


def test_what_history_and_current_say(three: Project) -> None:
    assert three.dbp("current").stdout == "A (toy, a): no revision, 3 pending\n"
    three.dbp("migrate", "aaaa2")
    assert three.dbp("current").stdout == "A (toy, a): aaaa2, 1 pending\n"
    assert three.dbp("history").stdout == (
        "A (toy, a):\n  aaaa3  pending  head  three\n  aaaa2  applied        two\n  aaaa1  applied        one\n"
    )
    three.dbp("migrate")
    assert three.dbp("current").stdout == "A (toy, a): aaaa3 (head)\n"
    assert three.dbp("heads").stdout == "A (toy, a):\n  aaaa3           head  three\n"


def test_without_revisions(project: Project) -> None:
    assert project.dbp("history").stdout == "A (toy, a): no revisions\n"
    assert project.dbp("heads").stdout == "A (toy, a): no revisions\n"
    assert project.dbp("current").stdout == "A (toy, a): no revision\n"
    assert project.dbp("migrate").stdout == "A (toy, a): nothing to do\n"
    assert project.dbp("downgrade").stdout == "A (toy, a): nothing to do\n"
    assert project.dbp("merge").stdout == "A (toy, a): there is nothing to join\n"
    assert project.dbp("stamp", "head").stdout == "A (toy, a): recorded as base\n"
    assert not (project.path / "migrations").exists()


def test_check_agrees(three: Project) -> None:
    three.dbp("migrate")
    assert three.dbp("check").stdout == "A (toy, a): models, revisions and database agree\n"
    entry = three.told("check")["entries"][0]
    assert (entry["differs"], entry["pending"], entry["differences"], entry["problems"]) == (
        False,
        [],
        [],
        [],
    )


def test_check_says_what_waits_and_what_differs_and_exits_with_3(three: Project) -> None:
    three.dbp("migrate", "aaaa2")
    three.write_models(stars=["a", "b", "c"])
    entry = three.told("check", code=3)["entries"][0]
    assert entry["pending"] == ["aaaa3 (three)"]
    assert entry["differences"] == ["add column stars.b", "add column stars.c"]
    done = three.dbp("check", code=3)
    assert (
        done.stdout
        == "A (toy, a):\n  not applied: aaaa3 (three)\n  differs: add column stars.b\n  differs: add column stars.c\n"
    )
    with three.connect() as db:
        assert not check(db).ok


def test_check_that_fails_exits_with_1_though_another_entry_differs(two: Project) -> None:
    (two.path / "migrations" / "B" / "versions" / "bbbb1.py").write_text("import no_such_thing")
    document = two.told("check", code=1)
    assert [each["ok"] for each in document["entries"]] == [True, False]


def test_check_says_that_tables_were_made_by_other_means(three: Project) -> None:
    three.toy.columns["stars"] = ["id", "a", "b"]
    entry = three.told("check", code=3)["entries"][0]
    assert entry["problems"] == ["no revision is recorded, and Stars is there already"]


# -- heads and merge ---------------------------------------------------------------------------------------------------


@pytest.fixture
def forked(three: Project) -> Project:
    """aaaa3 and bbbb3 both follow aaaa2."""
    three.write("bbbb3", "aaaa2", "op.add_column('stars', 'c')", message="mine")
    return three


@both
def test_two_heads_are_joined(forked: Project) -> None:
    for command in (
        ["migrate"],
        ["make_migrations"],
        ["stamp", "head"],
        ["initdb"],
        ["make_migrations", "--empty"],
    ):
        done = forked.dbp(*command, code=1)
        assert "2 heads: aaaa3 (three), bbbb3 (mine)" in done.stderr
        assert "`dbp merge`" in done.stderr
    assert "2 heads: aaaa3 (three), bbbb3 (mine); join them" in forked.dbp("check", code=3).stdout
    assert len(forked.dbp("heads").stdout.splitlines()) == 3
    with forked.connect() as db:
        assert {each.revision for each in heads(db)} == {"aaaa3", "bbbb3"}
        with pytest.raises(MultipleHeadsError):
            migrate(db)
        made = merge(db, "Join us")
        assert made is not None
        assert merge(db) is None
    assert made.path.name == f"{made.revision}_join_us.py"
    forked.dbp("migrate")
    assert forked.toy.heads == (made.revision,)
    assert set(forked.toy.columns["stars"]) == {"id", "a", "b", "c"}
    forked.dbp("downgrade")
    assert sorted(forked.toy.heads) == ["aaaa3", "bbbb3"]
    assert "name the revision to go back to" in forked.dbp("downgrade", code=1).stderr
    assert "aaaa3, bbbb3" in forked.dbp("current").stdout


def test_merge_without_a_message_names_the_heads(forked: Project) -> None:
    entry = forked.told("merge")["entries"][0]
    assert entry["file"].endswith(f"{entry['revision']}_merge_aaaa3_and_bbbb3.py")


# -- stamp -------------------------------------------------------------------------------------------------------------


def test_stamp_records_and_runs_nothing(three: Project) -> None:
    assert three.dbp("stamp", "aaaa2").stdout == "A (toy, a): recorded as aaaa2\n"
    assert (three.toy.heads, three.toy.columns) == (("aaaa2",), {})
    with three.connect() as db:
        assert stamp(db, "head") == ("aaaa3",)
        assert stamp(db, "base") == ()
        with pytest.raises(RevisionNotFoundError):
            stamp(db, "nope")
    for relative in ("-1", "+1"):
        three.dbp("stamp", relative, code=1)
    assert three.toy.heads == ()


# -- progress ----------------------------------------------------------------------------------------------------------


def test_no_bar_is_drawn_for_what_takes_no_second(three: Project) -> None:
    assert "[" not in three.dbp("migrate").stderr


def test_the_bar_appears_after_a_second_and_names_the_step(
    three: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db_plugins.cli.migrating._LATE_SECONDS", 0.1)
    three.write("aaaa2", "aaaa1", "op.add_column('stars', 'a')\ntime.sleep(0.3)", message="two")
    done = three.dbp("migrate")
    assert done.stderr.splitlines()[1:] == [
        "A [########----------------] 2 of 3  aaaa2 (two)",
        "A [################--------] 3 of 3  aaaa3 (three)",
    ]
    three.dbp("downgrade", "base")
    three.toy.columns.clear()
    assert "[" not in three.dbp("migrate", "--json").stderr


def test_the_second_is_one() -> None:
    from db_plugins.cli import migrating

    assert migrating._LATE_SECONDS == 1.0


def test_on_a_terminal_the_bar_is_redrawn_in_place_and_taken_away(
    three: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db_plugins.cli.migrating._LATE_SECONDS", 0.0)
    monkeypatch.setattr("db_plugins.cli.migrating._is_terminal", lambda: True)
    three.write("aaaa1", None, "time.sleep(0.1)\nop.create_table('stars', ['id'])", message="one")
    shown = three.dbp("migrate").stderr.partition("\n")[2]
    assert shown.startswith("\r\x1b[KA [------------------------] 1 of 3  aaaa1 (one)\r\x1b[KA [####")
    assert shown.endswith("3 of 3  aaaa3 (three)\r\x1b[K")


def test_a_bar_is_no_wider_than_the_terminal(three: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db_plugins.cli.migrating._LATE_SECONDS", 0.0)
    monkeypatch.setattr("db_plugins.cli.migrating._is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "50")
    three.write("aaaa1", None, "time.sleep(0.1)\nop.create_table('stars', ['id'])", message="long " * 40)
    shown = three.dbp("migrate").stderr
    assert max(len(each) for each in shown.replace("\r", "").partition("\n")[2].split("\x1b[K")) < 50


def test_steps_are_told_before_they_run(three: Project) -> None:
    seen: list[tuple[str, int, int, tuple[str, ...]]] = []

    def on_step(step: Step, number: int, of: int) -> None:
        seen.append((step.revision, number, of, tuple(three.toy.columns.get("stars", ()))))

    with three.connect() as db:
        began = time.monotonic()
        migrate(db, on_step=on_step)
        assert time.monotonic() - began < 5
    assert seen == [("aaaa1", 1, 3, ()), ("aaaa2", 2, 3, ("id",)), ("aaaa3", 3, 3, ("id", "a"))]


# -- portable ----------------------------------------------------------------------------------------------------------


def test_no_file_holds_a_secret_or_an_absolute_path(project: Project) -> None:
    secret = "s3cr3t@:/p%"
    project.write_settings(A={**project.entry, "PASSWORD": secret, "USER": "ann"})
    project.dbp("initdb")
    project.dbp("make_migrations", "--empty", "-m", "more")
    files = [each for each in (project.path / "migrations").rglob("*") if each.is_file()]
    assert len(files) == 3
    for file in files:
        assert secret not in file.read_text()
        assert str(project.path) not in file.read_text()


def test_a_folder_may_be_elsewhere(project: Project) -> None:
    with project.connect() as db:
        made = make_migrations(db, "one", folder=project.path / "else where" / "100%")
        assert made is not None
        assert made.path.parent == project.path / "else where" / "100%" / "versions"
        assert current(db, folder=made.path.parent.parent).pending == (made.revision,)
        assert current(db).pending == ()
        migrate(db, folder=made.path.parent.parent)
        assert check(db, folder=made.path.parent.parent).ok
    project.write_settings(A={**project.entry, "MIGRATIONS": "else where/100%"})
    project.dbp("check")


# -- the package -------------------------------------------------------------------------------------------------------


def test_no_module_of_the_package_hides_a_public_name() -> None:
    """A module that is imported becomes an attribute of its package, as ``history`` once did."""
    import pkgutil

    import db_plugins.migrations

    modules = {each.name for each in pkgutil.iter_modules(db_plugins.migrations.__path__)}
    assert not modules & set(db_plugins.migrations.__all__)
    for name in db_plugins.migrations.__all__:
        assert callable(getattr(db_plugins.migrations, name)), name
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = db_plugins.migrations.no_such_name


def test_initdb_tells_who_holds_the_lock_and_what_was_applied_when_it_fails(three: Project) -> None:
    three.write("aaaa4", "aaaa3", BAD, message="bad")
    threading.Timer(0.3, three.toy.lock.release).start()
    three.toy.lock.acquire()
    done = three.dbp("initdb", code=1)
    assert "A: waiting, another migration runs\n" in done.stderr
    assert "A: applied: nothing; not applied: aaaa1 (one), " in done.stderr
