"""The requirements of the seeds about migrations, by their ids: made, looked at, applied and undone, through ``dbp``.

One body for SQLite, PostgreSQL, MariaDB and a server of MongoDB's protocol. What the files are is in
``test_requirements_revisions.py``, what can go wrong in ``test_requirements_trouble.py``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from projects import ENGINES, SQL, Project, on, project

__all__ = ["project"]

MODELS = """
import enum
from sqlalchemy import Enum, ForeignKey, Index, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Kind(enum.Enum):
    DWARF = 1
    GIANT = 2

class Star(Base):
    __tablename__ = "stars"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    kind: Mapped[Kind]
    magnitude: Mapped[float | None] = mapped_column(index=True)
    discoverer: Mapped[str | None] = mapped_column(String(30))
    survey: Mapped[str | None] = mapped_column(String(30))

class Comet(Base):
    __tablename__ = "comets"
    id: Mapped[int] = mapped_column(primary_key=True)
"""
#: Since then: comets and magnitude's index went; planets, a colour with an index and a unique name came; the name may be
#: longer, the discoverer must be known, the survey went, and there is a third kind.
CHANGED = """
import enum
from sqlalchemy import Enum, ForeignKey, Index, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Kind(enum.Enum):
    DWARF = 1
    GIANT = 2
    PULSAR = 3

class Star(Base):
    __tablename__ = "stars"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    kind: Mapped[Kind]
    magnitude: Mapped[float | None]
    discoverer: Mapped[str] = mapped_column(String(30))
    colour: Mapped[str | None] = mapped_column(String(20), index=True)

class Planet(Base):
    __tablename__ = "planets"
    id: Mapped[int] = mapped_column(primary_key=True)
    star_id: Mapped[int] = mapped_column(ForeignKey("stars.id"), index=True)
"""
PLANET = """
class Planet(Base):
    __tablename__ = "planets"
    id: Mapped[int] = mapped_column(primary_key=True)
    star_id: Mapped[int] = mapped_column(ForeignKey("stars.id"), index=True)
"""
COLOUR = MODELS.replace(
    "class Comet", "    colour: Mapped[str | None] = mapped_column(String(20))\n\nclass Comet"
)
STARS = [
    {"name": "Vega", "kind": "DWARF", "discoverer": "Struve"},
    {"name": "Mira", "kind": "GIANT", "magnitude": 6.5, "discoverer": "Fabricius"},
]


def made_by_create_all(project: Project, models: str | None = None) -> dict[str, Any]:
    """What the database would look like if ``create_all`` had made it from the models as they are."""
    entry = project.new_entry()
    before = (project.folder / "settings.py").read_text(encoding="utf-8")
    project.use(A=entry)
    with project.open() as (db, _models):
        db.create_all()
    (project.folder / "settings.py").write_text(before, encoding="utf-8")
    return project.state(entry)


# -- the first time ----------------------------------------------------------------------------------------------------


@on(*ENGINES)
def test_initdb_makes_all_and_writes_the_first_revision(project: Project) -> None:
    """002-18: tables or collections and their indexes; again and again, with rows kept. 002-27: what it made is stamped, so
    nothing differs after it and nothing is played again. 002-17: the servers' password is ``s3cr3t@:/p%``."""
    project.models(MODELS)
    first = project.entry_told("initdb")
    assert (sorted(first["made"]), first["existing"], first["revision"]) == (["Comet", "Star"], [], "initial")
    assert project.state() == made_by_create_all(project)
    project.insert("Star", *STARS)

    assert "nothing to make; there already: Star, Comet" in project.run("initdb").stdout
    assert "nothing differs" in project.run("make_migrations").stdout
    assert "nothing to do" in project.run("migrate").stdout
    assert [path.name for path in project.versions()] == ["initial.py"]
    assert project.rows("Star", "name") == [("Vega",), ("Mira",)]


@on(*ENGINES)
def test_without_a_difference_nothing_is_written(project: Project) -> None:
    """002-22: it says so, exit code 0, and the number of files stays; also without models' tables in a first run."""
    project.models(MODELS)
    project.run("make_migrations", "-m", "Begin")
    project.run("migrate")
    done = project.run("make_migrations", "-m", "Again")
    assert "nothing differs, so nothing was written" in done.stdout
    assert project.entry_told("make_migrations")["file"] is None
    assert len(project.versions()) == 1


@on(*ENGINES)
def test_making_a_revision_changes_no_database(project: Project) -> None:
    """003-22: the dump is the same before and after, and a database that is not there is not made. 002-20: by the entry's
    credentials one new file is written."""
    project.models(MODELS)
    project.run("make_migrations", "-m", "Begin")
    assert len(project.versions()) == 1
    assert project.names() == set()
    assert not list(project.folder.glob("*.db*"))
    project.run("migrate")
    before = project.state()
    project.models(CHANGED)
    project.run("make_migrations", "-m", "Change")
    assert project.state() == before
    assert len(project.versions()) == 2
    assert project.entry_told("current")["pending"] != []


@on(*ENGINES)
def test_migrate_on_an_empty_database_gives_the_models_schema(project: Project) -> None:
    """002-23: to the latest, and twice with exit code 0; the schema is that of the models. What CI does: `dbp check` after
    it has nothing to say, and exit code 3 as soon as somebody forgets a revision. 002-17: with a password of ``@ : / %``."""
    project.models(MODELS)
    project.run("initdb")
    project.models(CHANGED)
    project.run("make_migrations", "-m", "Change")

    project.use(A=project.new_entry())
    project.run("check", code=3)
    done = project.run("migrate")
    assert done.stdout.index("applied initial") < done.stdout.index("(Change)")
    assert "nothing to do" in project.run("migrate").stdout
    assert "agree" in project.run("check").stdout

    project.models(CHANGED.replace("String(20)", "String(25)"))
    forgotten = project.entry_told("check", code=3)
    assert forgotten["differs"]
    assert forgotten["pending"] == forgotten["problems"] == []
    assert any("colour" in each for each in forgotten["differences"])


# -- edits -------------------------------------------------------------------------------------------------------------

#: What the changes are about, whatever words an engine has for it.
EDITS = [
    r"planets",
    r"comets",
    r"stars\.colour",
    r"stars\.survey",
    r"stars\.name.*80|length of stars\.name",
    r"stars\.discoverer",
    r"ix_stars_magnitude",
    r"unique.*name",
    r"kind.*PULSAR",
]


@on(*ENGINES)
def test_every_edit_is_found_and_rows_survive_it(project: Project) -> None:
    """002-21: tables and columns that came and went, a type, a nullability, an index, a unique and an enum's members are so
    many changes, and no more. 002-24: rows before are rows after. 002-25: back to the old schema, and forward again. 004-31:
    `downgrade -1` is that step. 001-24: tracked by Alembic, whose table knows the revision."""
    project.models(MODELS)
    project.run("initdb")
    project.insert("Star", *STARS)
    old = project.state()
    project.models(CHANGED)

    made = project.entry_told("make_migrations", "-m", "Change")
    for words in EDITS:
        assert any(re.search(words, text) for text in made["changes"]), (words, made["changes"])
    assert any("comets" in text for text in made["drops"])
    assert any("survey" in text for text in made["drops"])

    project.run("migrate")
    new = project.state()
    assert new == made_by_create_all(project)
    assert project.rows("Star", "name", "magnitude", "colour") == [("Vega", None, None), ("Mira", 6.5, None)]
    assert "agree" in project.run("check").stdout
    project.insert("Star", {"name": "Crab", "kind": "GIANT", "discoverer": "Bevis"})

    project.run("downgrade", "-1")
    assert project.state() == old
    project.models(MODELS)
    assert [name for (name,) in project.rows("Star", "name")] == ["Vega", "Mira", "Crab"]
    project.run("migrate")
    assert project.state() == new
    project.models(CHANGED)
    assert [kind.name for (kind,) in project.rows("Star", "kind")] == ["DWARF", "GIANT", "GIANT"]
    project.insert("Star", {"name": "Vela", "kind": "PULSAR", "discoverer": "Large"})
    if project.is_sql:
        assert project.send("SELECT version_num FROM alembic_version") == [(made["revision"],)]


@on(*ENGINES)
def test_an_enum_column_goes_and_comes_again(project: Project) -> None:
    """002-25: with an Enum column, whose type plain Alembic leaves behind on PostgreSQL, so that going forward again fails."""
    project.models(MODELS.replace("    kind: Mapped[Kind]\n", ""))
    project.run("initdb")
    before = project.state()
    project.models(MODELS.replace("Mapped[Kind]", "Mapped[Kind | None]"))
    project.run("make_migrations")
    for _ in range(2):
        project.run("migrate")
        assert project.state() == made_by_create_all(project)
        project.run("downgrade")
        assert project.state() == before
    project.run("downgrade", "base", "--allow-drop")
    assert not any(project.state().get(name) for name in ("stars", "comets", "(enums)"))
    project.run("migrate")
    assert project.state() == made_by_create_all(project)


@on(*ENGINES)
def test_what_is_dropped_may_hold_no_value(project: Project) -> None:
    """002-24: a column or a table that holds values is given up by --allow-drop alone."""
    project.models(MODELS)
    project.run("initdb")
    project.insert("Star", {**STARS[0], "survey": "Gaia"})
    project.insert("Comet", {"id": 1})
    project.models(CHANGED)
    project.run("make_migrations", "-m", "Change")
    before = project.state()
    refused = project.entry_told("migrate", code=1)
    assert refused["type"] == "DestructiveChangeError"
    assert "comets" in refused["error"] or "stars.survey" in refused["error"]
    assert "Gaia" not in project.everything
    assert "--allow-drop" in refused["hint"]
    assert project.state() == before
    project.run("migrate", "--allow-drop")
    assert "comets" not in project.names()


@on(*ENGINES)
def test_a_required_column_needs_a_value_for_the_rows_there_are(project: Project) -> None:
    """004-33: without a default a filled table is refused before it is touched, and the message says what to do; with a
    default the rows get it."""
    project.models(MODELS)
    project.run("initdb")
    project.insert("Star", *STARS)
    before = project.state()
    project.models(
        COLOUR.replace(
            "colour: Mapped[str | None] = mapped_column(String(20)",
            "colour: Mapped[str] = mapped_column(String(20)",
        )
    )
    made = project.entry_told("make_migrations", "-m", "Add colour")
    refused = project.entry_told("migrate", code=1)
    assert "stars" in refused["error"]
    assert "colour" in refused["error"]
    assert "default" in f"{refused['error']} {refused['hint']}"
    assert project.state() == before
    assert project.rows_of("stars") == 2

    Path(made["file"]).unlink()
    project.models(
        COLOUR.replace(
            "Mapped[str | None] = mapped_column(String(20))\n\n",
            "Mapped[str] = mapped_column(String(20), default='white')\n\n",
        )
    )
    project.run("make_migrations", "-m", "Add colour")
    project.run("migrate")
    assert project.rows("Star", "name", "colour") == [("Vega", "white"), ("Mira", "white")]
    assert "agree" in project.run("check").stdout


@on(*ENGINES)
def test_others_tables_are_left_alone(project: Project) -> None:
    """002-30: what no model and no revision made is still there after make and migrate, there and back, with its rows."""
    if project.is_sql:
        project.send(
            "CREATE TABLE other (id INTEGER PRIMARY KEY, x VARCHAR(9))", "INSERT INTO other VALUES (1, 'y')"
        )
        project.send("CREATE INDEX of_other ON other (x)")
    else:
        import db_plugins

        with db_plugins.connect(project.entry) as db:
            db.native["other"].insert_one({"x": "y"})
            db.native["other"].create_index("x", name="of_other")
    there = project.state()["other"]
    project.models(MODELS)
    assert project.entry_told("make_migrations", "-m", "Begin")["drops"] == []
    project.run("migrate")
    project.models(CHANGED)
    project.run("make_migrations", "-m", "Change")
    project.run("migrate")
    assert "agree" in project.run("check").stdout
    project.run("downgrade", "base", "--allow-drop")
    project.run("initdb")
    assert project.state()["other"] == there
    assert project.rows_of("other") == 1
    for path in project.versions():
        assert "other" not in path.read_text(encoding="utf-8")


# -- the history -------------------------------------------------------------------------------------------------------


@on(*ENGINES)
def test_what_waits_is_applied_in_order_and_is_known(project: Project) -> None:
    """003-20: three revisions that wait are applied in their order, to head. 002-26: `history` lists them, and `current` is
    the head. 003-23: `--plan` says what would be done, and does nothing."""
    project.models(MODELS)
    project.run("initdb")
    made = [
        project.told("make_migrations", "--empty", "-m", f"Step {n}")["entries"][0]["revision"]
        for n in (1, 2, 3)
    ]

    at = project.entry_told("current")
    assert (at["revisions"], at["pending"], at["is_head"]) == (["initial"], made, False)
    planned = project.entry_told("migrate", "--plan")["planned"]
    assert [(s["revision"], s["message"], s["direction"]) for s in planned] == [
        (revision, f"Step {n}", "upgrade") for n, revision in enumerate(made, 1)
    ]
    assert project.entry_told("current") == at

    done = project.entry_told("migrate")
    assert [step["revision"] for step in done["applied"]] == made
    history = project.entry_told("history")["revisions"]
    assert [each["revision"] for each in history] == [*made[::-1], "initial"]
    assert all(each["applied"] for each in history)
    assert [each["head"] for each in history] == [True, False, False, False]
    assert (project.folder / history[0]["file"]).is_file()
    assert project.entry_told("heads")["heads"][0]["revision"] == made[-1]
    assert project.entry_told("current")["revisions"] == [made[-1]]
    assert "(head)" in project.run("current").stdout

    undone = project.entry_told("migrate", made[0][:6], "--plan")["planned"]
    assert [(s["revision"], s["direction"]) for s in undone] == [
        (made[2], "downgrade"),
        (made[1], "downgrade"),
    ]
    project.run("downgrade", made[0])
    assert project.entry_told("current")["revisions"] == [made[0]]
    project.run("stamp", "head")
    assert project.entry_told("current")["is_head"]


@on(*SQL)
def test_the_statements_are_shown_and_not_sent(project: Project) -> None:
    """003-23: `migrate --sql` prints the DDL and changes nothing, from nothing and from where the database is."""
    project.models(MODELS)
    project.run("make_migrations", "-m", "Begin")
    printed = project.run("migrate", "--sql").stdout
    assert "CREATE TABLE stars" in printed.replace('"', "").replace("`", "")
    assert "INSERT INTO alembic_version" in printed
    assert project.names() == set()
    assert not list(project.folder.glob("*.db*"))
    project.run("migrate")
    project.models(MODELS + PLANET)
    project.run("make_migrations", "-m", "Add planets")
    before = project.state()
    printed = project.entry_told("migrate", "--sql")["sql"]
    assert "planets" in printed
    assert "comets" not in printed
    assert project.state() == before
    back = project.entry_told("migrate", "base", "--sql")["sql"]
    assert "DROP TABLE" in back
    assert "planets" not in back  # they are not there yet


@on("mongodb")
def test_the_operations_are_shown_and_not_sent(project: Project) -> None:
    """003-23: on MongoDB too, in its own words."""
    project.models(MODELS)
    project.run("make_migrations", "-m", "Begin")
    printed = project.run("migrate", "--sql").stdout
    assert "stars" in printed
    assert "ix_stars_magnitude" in printed
    assert project.names() == set()


@on(*ENGINES)
def test_two_developers_join_their_work(project: Project) -> None:
    """002-26: two revisions after the same one are two heads, which no command guesses at; `merge` joins them."""
    project.models(MODELS)
    project.run("initdb")
    project.models(MODELS + PLANET)
    project.run("make_migrations", "-m", "Ann: planets")
    [ann] = [path for path in project.versions() if "ann_planets" in path.name]
    kept = ann.read_text(encoding="utf-8")
    ann.unlink()
    project.models(COLOUR)
    project.run("make_migrations", "-m", "Ben: colour")
    ann.write_text(kept, encoding="utf-8")
    project.models(COLOUR + PLANET)

    assert len(project.entry_told("heads")["heads"]) == 2
    for arguments in (
        ["migrate"],
        ["make_migrations"],
        ["initdb"],
        ["stamp", "head"],
        ["make_migrations", "--empty"],
    ):
        refused = project.entry_told(*arguments, code=1)
        assert refused["type"] == "MultipleHeadsError", arguments
        assert "dbp merge" in refused["hint"]
    assert "2 heads" in project.entry_told("check", code=3)["problems"][0]
    project.run("merge", "-m", "Ann's and Ben's work")
    assert "nothing to join" in project.run("merge").stdout
    project.run("migrate")
    assert "agree" in project.run("check").stdout
    assert project.state() == made_by_create_all(project)
    project.run("downgrade", "initial")
    assert "planets" not in project.names()


# -- databases that were there before ----------------------------------------------------------------------------------


@on(*ENGINES)
def test_initdb_takes_over_what_create_all_made(project: Project) -> None:
    """002-27: tables that are as the models ask for are adopted with their rows, those that are missing are made."""
    project.models(MODELS)
    with project.open() as (db, models):
        db.create_all()
        db.query(models.Star).bulk_insert(STARS)
    before = project.state()
    refused = project.entry_told("migrate")
    assert refused["applied"] == []
    project.models(MODELS + PLANET)
    done = project.entry_told("initdb")
    assert (done["made"], sorted(done["existing"])) == (["Planet"], ["Comet", "Star"])
    assert {name: facts for name, facts in project.state().items() if name != "planets"} == before
    assert project.entry_told("current")["is_head"]
    assert "agree" in project.run("check").stdout
    assert project.rows("Star", "name") == [("Vega",), ("Mira",)]

    project.use(A=project.new_entry())
    project.run("migrate")
    assert "agree" in project.run("check").stdout


@on(*ENGINES)
def test_initdb_does_not_guess_about_a_database_made_by_hand(project: Project) -> None:
    """002-27: one that is not as the models ask for is told what differs; exit code 1, and nothing is changed or written."""
    project.models(MODELS)
    with project.open() as (db, _models):
        db.create_all()
    before = project.state()
    project.models(CHANGED)
    refused = project.entry_told("initdb", code=1)
    assert refused["type"] == "MigrationError"
    assert "colour" in refused["error"]
    assert "made by other means" in refused["error"]
    assert project.state() == before
    assert not project.versions()
    refused = project.entry_told("make_migrations", code=1)
    assert "dbp initdb" in refused["hint"]
    assert not project.versions()
