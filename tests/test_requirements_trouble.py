"""The requirements of the seeds about migrations when things go wrong, and when several go at once: a revision that fails in
its middle, Ctrl-C, three programs, several databases, servers that are not there or may not be written, running loops.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sqlite3
import time
from typing import Any

import pytest
from projects import ENGINES, PLAIN, SQL, Project, on, project

from db_plugins import migrations

__all__ = ["project"]

PASSWORD = "s3cr3t@:/p%"
MODELS = """
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Star(Base):
    __tablename__ = "stars"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)
"""
PLANET = """
class Planet(Base):
    __tablename__ = "planets"
    id: Mapped[int] = mapped_column(primary_key=True)
"""
MOON = PLANET.replace("Planet", "Moon").replace("planets", "moons")


def make_table(project: Project, name: str) -> str:
    """The statement of a revision that makes a table or collection."""
    if project.is_sql:
        return f"op.create_table({name!r}, sa.Column('id', sa.Integer(), primary_key=True))"
    return f"op.create_collection({name!r})"


def drop_table(project: Project, name: str) -> str:
    return f"op.drop_{'table' if project.is_sql else 'collection'}({name!r})"


# -- in the middle of a revision ---------------------------------------------------------------------------------------


@on(*ENGINES)
def test_a_revision_that_fails_in_its_middle(project: Project) -> None:
    """003-26: on SQLite and PostgreSQL the first operation is not there, nor is the revision before it; on MariaDB and MongoDB
    what was done is said and kept, and the next run goes on behind it."""
    project.models(MODELS)
    project.run("initdb")
    before = project.state()
    project.revise("Add one", make_table(project, "one"), drop_table(project, "one"))
    broken = project.revise(
        "Add two",
        f"{make_table(project, 'two')}\n{make_table(project, 'stars')}\n{make_table(project, 'three')}"
        if project.is_sql
        else "op.create_collection('two')\nop.database.command('no such')\nop.create_collection('three')",
    )
    done = project.run("migrate", code=1)
    line = broken.read_text(encoding="utf-8").split("\n").index(f"    {make_table(project, 'two')}") + 2
    assert f"(Add two) failed at {broken.name}:{line}: " in done.stderr
    if project.undoes_all:
        assert "A: applied: nothing; not applied: " in done.stderr
        assert project.state() == before
        assert project.entry_told("current")["revisions"] == ["initial"]
    else:
        assert re.search(r"A: applied: \w+ \(Add one\); not applied: \w+ \(Add two\)", done.stderr)
        assert {"one", "two"} <= project.names()
        assert "three" not in project.names()
    told = project.entry_told("migrate", code=1)
    assert told["type"] == "MigrationError"
    assert [step["message"] for step in told["left"]][-1] == "Add two"

    text = broken.read_text(encoding="utf-8").split("\n")
    text[line - 1] = f"    {make_table(project, 'four')}"
    broken.write_text("\n".join(text), encoding="utf-8")
    project.run("migrate")
    assert {"one", "two", "three", "four"} <= project.names()
    assert project.entry_told("current")["is_head"]


@on(*ENGINES)
def test_ctrl_c_says_what_was_applied(project: Project) -> None:
    """003-26: exit code 130; nothing is applied where a run is all or nothing, elsewhere the next run goes on and ends."""
    project.models(MODELS)
    project.run("initdb")
    before = project.state()
    project.revise("Add one", make_table(project, "one"), drop_table(project, "one"))
    slow = (
        "import os, pathlib, time\n"
        f"{make_table(project, 'two')}\n"
        f"{'op.get_bind()' if project.is_sql else 'op.database'}\n"
        "if os.environ.get('SLOW'):\n"
        "    pathlib.Path('begun').touch()\n"
        "    time.sleep(30)\n"
        f"{make_table(project, 'three')}"
    )
    project.revise("Add two", slow)
    process = project.start("migrate", SLOW="1")
    deadline = time.monotonic() + 30
    while not (project.folder / "begun").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    code, _out, err = project.end(process)
    assert code == 130, err
    assert time.monotonic() - began < 10
    assert "interrupted" in err
    if project.undoes_all:
        assert re.search(r"A: applied: nothing; not applied: \w+ \(Add one\), \w+ \(Add two\)", err)
        assert project.state() == before
    else:
        assert re.search(r"A: applied: \w+ \(Add one\); not applied: \w+ \(Add two\)", err)
        assert "one" in project.names()
        assert "three" not in project.names()
    project.run("migrate")
    assert {"one", "two", "three"} <= project.names()
    assert project.entry_told("current")["is_head"]


@on(*ENGINES)
def test_three_at_once(project: Project) -> None:
    """002-23: all three end with 0, and each revision was applied once."""
    project.models(MODELS)
    project.run("initdb")
    insert = (
        "op.execute(\"INSERT INTO stars (id, name) VALUES (1, 'Vega')\")"
        if project.is_sql
        else "op.database['stars'].insert_one({'_id': 1, 'name': 'Vega'})"
    )
    project.revise("Add Vega", f"import time\ntime.sleep(0.5)\n{make_table(project, 'one')}\n{insert}")
    processes = [project.start("migrate") for _ in range(3)]
    ends = [project.end(process) for process in processes]
    assert [code for code, _out, _err in ends] == [0, 0, 0], [err for _code, _out, err in ends]
    assert sorted("(Add Vega)" in out for _code, out, _err in ends) == [False, False, True]
    assert sum("nothing to do" in out for _code, out, _err in ends) == 2
    assert project.rows("Star", "name") == [("Vega",)]
    assert "one" in project.names()


# -- several databases -------------------------------------------------------------------------------------------------


@pytest.fixture
def both(project: Project) -> Project:
    """SQL and MONGO in one DB_CONFIG."""
    project.use(SQL=project.entry, MONGO=project.new_entry("mongodb"))
    return project


@on("postgresql")
def test_sql_and_mongodb_in_one_config(both: Project) -> None:
    """002-28: each command does both, or those that are chosen. 002-29: migrations of MongoDB are real: the same commands, the
    same words, exit code 0."""
    both.models(MODELS)
    assert [(e["name"], e["made"]) for e in both.told("initdb")["entries"]] == [
        ("SQL", ["Star"]),
        ("MONGO", ["Star"]),
    ]
    both.models(MODELS + PLANET)
    made = both.told("make_migrations", "-m", "Add planets")["entries"]
    assert all(len(e["changes"]) == 1 and "planets" in e["changes"][0] for e in made)
    assert [len(both.versions(name)) for name in ("SQL", "MONGO")] == [2, 2]
    only = both.told("migrate", "--database", "MONGO")["entries"]
    assert [e["name"] for e in only] == ["MONGO"]
    assert [e["is_head"] for e in both.told("current")["entries"]] == [False, True]
    assert [bool(e["applied"]) for e in both.told("migrate")["entries"]] == [True, False]
    assert [e["differs"] for e in both.told("check")["entries"]] == [False, False]
    for name in ("SQL", "MONGO"):
        with both.open(name) as (db, models):
            assert db.query(models.Planet).count() == 0

    # A revision goes to the entry that has it.
    told = both.told("migrate", "initial", "--plan")["entries"]
    assert [e["name"] for e in told] == ["SQL", "MONGO"]
    told = both.told("downgrade", "base", "--database", "SQL")["entries"]
    assert [step["direction"] for step in told[0]["applied"]] == ["downgrade", "downgrade"]
    told = both.told("migrate", made[1]["revision"], "--plan")["entries"]
    assert [e["name"] for e in told] == ["MONGO"]


@on("postgresql")
def test_entries_that_were_exchanged(both: Project) -> None:
    """002-28: revisions of the other kind of engine are named before anything is run; in a folder of its own each entry goes on."""
    both.models(MODELS)
    both.run("initdb")
    for name, engine, op in (("SQL", "mongodb", "alembic"), ("MONGO", "sqlite", "db_plugins_mongo")):
        entry = both.new_entry(engine)
        both.use(**{name: entry})
        for command in ("migrate", "initdb"):
            said = both.run(command, code=1).stderr
            assert (
                f"revision initial (initial) was written for another engine than {engine}: its op is that of {op}"
                in said
            )
            assert "by the key MIGRATIONS" in said
        assert both.names(entry) == set()
        both.use(**{name: {**entry, "MIGRATIONS": f"migrations/{engine}"}})
        both.run("initdb")
        assert both.names(entry) == {"stars"}


@on("sqlite")
def test_the_first_entry_that_fails_ends_the_run(both: Project) -> None:
    """002-28: what was applied is listed, and what was not."""
    both.models(MODELS)
    both.run("initdb")
    both.revise("Fail", "raise RuntimeError('on purpose')", entry="SQL")
    both.revise("Work", "pass", entry="MONGO")
    done = both.run("migrate", code=1)
    assert "SQL: applied: nothing" in done.stderr
    assert "on purpose" in done.stderr
    assert "not done after that: MONGO" in done.stderr
    assert [e["name"] for e in both.told("migrate", code=1)["entries"]] == ["SQL"]
    assert [len(e["pending"]) for e in both.told("current")["entries"]] == [1, 1]
    both.run("migrate", "--database", "MONGO")
    assert [len(e["pending"]) for e in both.told("current")["entries"]] == [1, 0]


# -- servers -----------------------------------------------------------------------------------------------------------


def dead_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@on("postgresql", "mariadb", "mongodb")
def test_a_server_that_is_not_there_is_told_fast(project: Project) -> None:
    """002-19: in seconds, exit code 1, without the password, whatever was asked; and no file is written."""
    project.models(MODELS)
    project.run("initdb")
    written = project.versions()
    project.use(
        A={**project.entry, "PORT": dead_port(), "USER": "ann", "PASSWORD": PASSWORD, "CONNECT_TIMEOUT": 1}
    )
    project.models(MODELS + PLANET)
    for command in (
        ["initdb"],
        ["make_migrations"],
        ["migrate"],
        ["check"],
        ["current"],
        ["history"],
        ["downgrade"],
    ):
        began = time.monotonic()
        done = project.entry_told(*command, code=1)
        assert time.monotonic() - began < 10, command
        assert done["type"] == "ServerUnreachableError", command
    assert "A (" in project.run("heads").stdout  # asks no database
    assert project.versions() == written


def forbid_writing(project: Project) -> None:
    """From now on the entry's database can be read alone."""
    if project.engine == "sqlite":
        path = project.folder / project.entry["DB_NAME"]
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        connection.close()
        path.chmod(0o444)
        project.folder.chmod(0o555)
        if os.geteuid() == 0:  # whom no mode keeps out
            project.use(A={"URL": f"sqlite:///file:{path.name}?mode=ro&uri=true"})
    elif project.engine == "postgresql":
        project.send(f'ALTER DATABASE "{project.entry["DB_NAME"]}" SET default_transaction_read_only = on')
    else:
        name = project.entry["DB_NAME"]
        project.send(
            f"CREATE USER 'r_{name}'@'%%' IDENTIFIED BY '{PASSWORD.replace('%', '%%')}'",
            f"GRANT SELECT ON {name}.* TO 'r_{name}'@'%%'",
        )
        project.use(A={**project.entry, "USER": f"r_{name}", "PASSWORD": PASSWORD})


# The MongoDB-wire server of the tests has no users with fewer rights on a shared server.
@on(*SQL)
def test_a_database_that_may_only_be_read(project: Project) -> None:
    """002-19: one line says that it cannot be written; what only looks goes on working."""
    project.models(MODELS)
    project.run("initdb")
    project.models(MODELS + PLANET)
    project.run("make_migrations", "-m", "Add planets")
    before = project.state()
    settings = (project.folder / "settings.py").read_text(encoding="utf-8")
    forbid_writing(project)
    try:
        for command in (["migrate"], ["downgrade"], ["stamp", "base"]):
            done = project.run(*command, code=1)
            assert done.stderr.count("error: ") == 1
            assert re.search(r"read.?only|has not the right", done.stderr), done.stderr
        assert project.entry_told("current")["revisions"] == ["initial"]
        assert len(project.entry_told("check", code=3)["pending"]) == 1
        assert len(project.entry_told("migrate", "--plan")["planned"]) == 1
    finally:
        project.folder.chmod(0o755)
        (project.folder / "settings.py").write_text(settings, encoding="utf-8")
        if project.engine == "mariadb":
            project.send(f"DROP USER 'r_{project.entry['DB_NAME']}'@'%%'")
    assert project.state() == before


# -- async -------------------------------------------------------------------------------------------------------------


def asynchronous(project: Project) -> dict[str, Any]:
    """The entry, as one who uses it from asyncio writes it."""
    driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "mariadb": "mariadb+asyncmy"}
    return {**project.entry, "ENGINE": driver[project.engine]}


@on(*SQL, folder=PLAIN)
def test_an_entry_for_asyncio_is_migrated_like_any_other(project: Project) -> None:
    """004-29: also where a loop runs already, through `dbp` and from Python. 004-E10: the env.py that is made is whole, where
    the seed's lacks the function, ``context.configure`` and the call, and cannot run in a loop."""
    project.use(A=asynchronous(project))
    project.models(MODELS)
    project.run("initdb")
    project.models(MODELS + PLANET)

    async def inside() -> None:
        project.run("make_migrations", "-m", "Add planets")
        project.run("migrate")
        with project.open() as (db, _models):
            assert migrations.check(db).ok
            assert [step.revision for step in migrations.downgrade(db).done] == [
                migrations.history(db)[0].revision
            ]
            assert not migrations.check(db).ok
            assert len(migrations.migrate(db).done) == 1
        project.alembic("current")

    asyncio.run(inside())
    assert project.names() == {"stars", "planets"}
    assert "agree" in project.run("check").stdout


@on("postgresql", folder=PLAIN)
def test_a_url_for_asyncpg(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """004-29: with the password's per cent sign quoted, as a URL has it; from the environment, as hosts give it."""
    from urllib.parse import quote

    e = project.entry
    url = f"postgresql+asyncpg://{e['USER']}:{quote(e['PASSWORD'], safe='')}@{e['HOST']}:{e['PORT']}/{e['DB_NAME']}"
    (project.folder / "settings.py").unlink()
    monkeypatch.setenv("DATABASE_URL", url)
    project.models(MODELS)
    project.run("initdb")
    project.alembic("current", entry="default")
    project.models(MODELS + PLANET)
    project.run("make_migrations")
    project.run("migrate")
    assert project.names() == {"stars", "planets"}


@on(*ENGINES)
def test_the_same_from_python(project: Project) -> None:
    """004-29: `db_plugins.migrations` does what the commands do, in a running loop too, on every engine."""
    project.models(MODELS)

    async def inside() -> None:
        with project.open() as (db, _models):
            done = migrations.initdb(db)
            assert done.revision is not None
            assert (done.made, done.applied) == (("Star",), ("initial",))
        project.models(MODELS + MOON)
        with project.open() as (db, _models):
            made = migrations.make_migrations(db, "Add moons")
            assert made is not None
            assert [step.revision for step in migrations.migrate(db, plan=True).planned] == [made.revision]
            run = migrations.migrate(db)
            assert ([step.revision for step in run.done], run.left, run.undone) == ([made.revision], [], [])
            assert migrations.current(db).revisions == (made.revision,)
            assert migrations.check(db).ok
            assert migrations.make_migrations(db) is None
            assert migrations.merge(db) is None

    asyncio.run(inside())
    assert "agree" in project.run("check").stdout


@on("sqlite")
def test_sqlmodels_own_base_in_processes_of_their_own(project: Project) -> None:
    """004-32: a project as SQLModel's tutorial has it, whose metadata is one for the whole process."""
    pytest.importorskip("sqlmodel")
    hero = "from sqlmodel import Field, SQLModel\n\nclass Hero(SQLModel, table=True):\n    id: int | None = Field(default=None, primary_key=True)\n    name: str = Field(index=True)\n"
    for models in (hero, hero + "    age: int | None = None\n"):
        project.models(models)
        for command in (["make_migrations", "-m", "Heroes"], ["migrate"]):
            code, out, err = project.end(project.start(*command))
            assert code == 0, out + err
    assert set(project.state()["hero"]["columns"]) == {"id", "name", "age"}
