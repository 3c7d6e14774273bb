"""examples/concrete: seed 000's orchestrators, configured by the environment alone, and what the seed's text gets wrong."""

# No "from __future__ import annotations": SQLModel reads the annotations of a class that is made here.

import importlib
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pydantic
import pytest
import sqlalchemy as sa
import sqlmodel
from click.testing import CliRunner, Result
from seeds import ALL, Connect, connect, entry, make_entry, on
from sqlalchemy.orm import registry
from sqlalchemy.orm.exc import UnmappedInstanceError

import db_plugins
from db_plugins.cli.app import dbp

__all__ = ["connect", "entry"]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "example-concrete.md"
SIX = ("DB_DRIVER", "DB_USERNAME", "DB_PASSWORD", "DB_HOST", "DB_PORT", "DB_DATABASE")
SESSIONS = ("sqlite", "postgresql", "mariadb")
#: All models of the example.
NAMES = ("User", "Orchestrator", "Operator", "Client", "Project", "Message", "Tool", "OrchestratorToolLink")


def module(name: str) -> ModuleType:
    return importlib.import_module(f"examples.concrete.{name}")


def models() -> list[type]:
    return [getattr(module("models"), name) for name in NAMES]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, the current one, without settings, in which the example can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT)
    for variable in os.environ:
        if variable.startswith(("DB_", "DATABASE_URL", "DBP_SETTINGS")):
            monkeypatch.delenv(variable)
    (tmp_path / "setup.cfg").touch()  # the project's root: nothing above it is looked at
    sys.modules.pop("models", None)
    yield tmp_path
    close()
    sys.modules.pop("models", None)


def close() -> None:
    """As at the end of the process."""
    get_db = module("database").get_db
    if get_db.cache_info().currsize:
        get_db().close()
    get_db.cache_clear()


def variables(entry: dict[str, Any]) -> dict[str, str]:
    """An entry of DB_CONFIG as the variables of the environment that say the same."""
    if "URL" in entry:
        return {"DATABASE_URL": entry["URL"]}
    keys = ("ENGINE", "USER", "PASSWORD", "HOST", "PORT", "DB_NAME")
    six = {
        name: str(entry.get(key, ""))
        for name, key in zip(SIX, keys, strict=True)
        if key in entry or key in "USER PASSWORD"
    }
    return six | ({"DB_CONFIG__DEFAULT__TLS": entry["TLS"]} if "TLS" in entry else {})


def settle(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def run(*arguments: str, code: int = 0) -> Result:
    """``dbp`` with these arguments."""
    sys.modules.pop("models", None)
    done = CliRunner().invoke(dbp, arguments)
    assert done.exit_code == code, f"dbp {' '.join(arguments)}: {done.exit_code}\n{done.output}"
    assert "Traceback" not in done.output
    return done


def python(folder: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of its own, with no environment but this (and ours of Python)."""
    paths = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, "-c", text],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


# -- the application ---------------------------------------------------------------------------------------------------


def test_the_same_output_on_every_engine(
    request: pytest.FixtureRequest,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """000-02, 000-09, 000-10, 000-11, 000-16, 000-21: the variables name the database, and the rest is one program: nothing is
    saved unless it is asked for; an orchestrator takes all that is below it along, and leaves the tools."""
    printed = {}
    for engine in ("sqlite", "postgresql", "mariadb", "mongodb", "mongomock", "memory"):
        with monkeypatch.context() as patched:
            settle(patched, variables(make_entry(engine, request, folder)))
            module("__main__").main()
            assert module("database").get_db().engine == engine
            close()
        printed[engine] = capsys.readouterr().out
    assert (
        PAGE.read_text(encoding="utf-8")
        .partition("$ python -m examples.concrete\n")[2]
        .startswith(f"{printed['sqlite']}```")
    )
    lines = printed["sqlite"].splitlines()
    assert printed == dict.fromkeys(printed, printed["sqlite"])
    assert lines[0] == "run without saving: nothing"
    assert (
        "1 Orchestrator, 2 Operator, 3 Client, 1 Project, 2 Message, 2 OrchestratorToolLink, 2 Tool"
        in lines[1]
    )
    assert lines[4] == "read back is equal: True"
    assert lines[-2:] == [
        "first team deleted: 1 User, 1 Orchestrator, 2 Operator, 3 Client, 2 OrchestratorToolLink, 2 Tool",
        "Ann deleted:        2 Tool",
    ]


@on(*ALL)
def test_a_team_is_a_row_and_comes_back(connect: Connect) -> None:
    """000-07: ``to_obj`` of what was stored is equal to the object of the SDK, with all that hangs on it."""
    recorder, sdk, db = module("recorder"), module("sdk"), connect(*models())
    operators = [sdk.Operator(f"o{n}", "Do", [sdk.Client("m", n / 4)] * n) for n in range(3)]
    teams = [sdk.SoftwareOrchestrator(f"t{n}", operators[:n], [sdk.Tool("shell")]) for n in range(4)]
    keys = [recorder.store(db, team).id for team in teams]
    assert [recorder.load(db, key) for key in keys] == teams
    with pytest.raises(db_plugins.NotFoundError):
        recorder.load(db, uuid.uuid4())


@on(*ALL)
def test_messages_are_saved_as_they_pass(connect: Connect) -> None:
    """000-21: each is there as soon as it has passed, and none before."""
    recorder, sdk, db = module("recorder"), module("sdk"), connect(*models())
    Message, Project = module("models").Message, module("models").Project
    team = sdk.SoftwareOrchestrator("t", [sdk.Operator(name, "Do") for name in "abc"])
    passing = recorder.record(team, "a clock", team.run("a clock"), db)
    assert db.query(Message).count() == 0
    seen = []
    for message in passing:
        seen.append(message)
        assert db.query(Message).count() == len(seen)
    assert recorder.messages_of(db, db.query(Project).one()) == seen == list(team.run("a clock"))


@on(*ALL)
def test_create_requires_and_update_changes_what_is_given(connect: Connect) -> None:
    """000-04, 000-05, 000-06: of the example's own models."""
    m, db = module("models"), connect(*models())
    with pytest.raises(pydantic.ValidationError, match="title"):
        m.OrchestratorCreate()
    assert m.OrchestratorUpdate().model_dump(exclude_unset=True) == {}
    teams = db.query(m.Orchestrator)
    row = teams.insert(m.OrchestratorCreate(title="a", description="b"))
    teams.update(row, m.OrchestratorUpdate(title="c"))
    teams.update(row, m.OrchestratorUpdate())
    assert (teams.get(row.id).title, teams.get(row.id).description) == ("c", "b")
    teams.update(row, m.OrchestratorUpdate(description=None))
    assert (teams.get(row.id).title, teams.get(row.id).description) == ("c", None)


# -- sessions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", SESSIONS)
def test_the_session_of_the_application(
    engine: str, request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """000-08, 000-22, 000-23, 000-24: both sides of a relationship see each other, what is not committed is not there, an
    exception undoes the block and is raised again, and no connection is kept."""
    settle(monkeypatch, variables(make_entry(engine, request, folder)))
    m, concrete = module("models"), importlib.import_module("examples.concrete")
    db = concrete.get_db()
    with concrete.Session() as session:
        team = m.Orchestrator(title="a", tools=[m.Tool(name="shell")])
        member = m.Operator(name="b", instructions="c", orchestrator=team)
        session.add(member)
        assert member.orchestrator is team
        assert member in team.operators
        session.flush()
    assert db.query(m.Operator).count() == db.query(m.Tool).count() == 0

    error = ZeroDivisionError("mine")
    with pytest.raises(ZeroDivisionError) as caught, concrete.Session() as session:
        session.add(m.Orchestrator(title="a"))
        session.flush()
        raise error
    assert caught.value is error
    assert db.query(m.Orchestrator).count() == 0

    with concrete.Session() as session:
        team = m.Orchestrator(
            title="a", tools=[m.Tool(name="shell")], operators=[m.Operator(name="b", instructions="c")]
        )
        session.add(team)
        session.commit()
    with concrete.Session() as session:
        session.delete(session.get(m.Orchestrator, team.id))
        session.commit()
    assert [
        db.query(each).count() for each in (m.Orchestrator, m.Operator, m.OrchestratorToolLink, m.Tool)
    ] == [0, 0, 0, 1]
    assert db.native.pool.checkedout() == 0


def test_on_mongodb_there_is_no_session(
    request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch, variables(make_entry("mongodb", request, folder)))
    concrete = importlib.import_module("examples.concrete")
    refused = pytest.raises(
        db_plugins.UnsupportedOperationError, match=r"mongodb has no sessions.*transaction\(\)"
    )
    with refused, concrete.Session():
        pass


def test_without_any_settings_a_file_is_made_here(folder: Path) -> None:
    """000-15, 000-24, 000-25, 000-E2: the seed's example, as the page has it, in an empty environment and an empty folder: one row in one file, made
    when it is first used, its tables too."""
    (manually,) = re.findall(
        r"^```python\n(from examples\.concrete import Session\n.*?)^```$", PAGE.read_text(), re.M | re.S
    )
    assert "class MyModel(Base, MetadataMixin, table=True):" in manually
    counted = (
        "from examples.concrete import get_db\nprint(get_db().query(MyModel).count(), get_db().engine)\n"
    )
    done = python(folder, manually + counted)
    assert (done.returncode, done.stdout) == (0, "1 sqlite\n"), done.stderr
    assert f"no settings were found; using sqlite in {folder / 'app.db'}" in done.stderr
    assert [path.name for path in folder.iterdir() if path.suffix == ".db"] == ["app.db"]


# -- the environment ---------------------------------------------------------------------------------------------------


@pytest.fixture
def own_models(folder: Path) -> None:
    """The module ``models`` that ``dbp`` takes without settings."""
    (folder / "models.py").write_text("from examples.concrete.models import *\n")


@pytest.mark.usefixtures("own_models")
def test_the_six_variables_make_the_connection(
    request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """000-03, 000-16, 000-20: a driver in DB_DRIVER is taken, the tables are in DB_DATABASE and there is no file."""
    six = variables(make_entry("postgresql", request, folder))
    if "DATABASE_URL" in six:
        pytest.skip("the server's URL has options, which the six variables cannot say")
    settle(monkeypatch, {**six, "DB_DRIVER": "postgresql+psycopg"})
    said = run("initdb").output
    assert all(name in said for name in NAMES)
    db = module("database").get_db()
    with db.native.connect() as connection:
        assert connection.scalar(sa.text("SELECT current_database()")) == six["DB_DATABASE"]
        made = set(sa.inspect(connection).get_table_names())
    assert db.native.dialect.driver == "psycopg"
    assert {name.lower() for name in NAMES} <= made
    assert not list(folder.glob("*.db"))


@pytest.mark.usefixtures("own_models")
def test_a_port_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """000-17: "abc" and "" are refused, "5432" is taken."""
    settle(monkeypatch, dict(zip(SIX, ("postgresql", "u", "p", "localhost", "5432", "d"), strict=True)))
    assert db_plugins.connect()._settings.port == 5432
    for port in ("abc", ""):
        monkeypatch.setenv("DB_PORT", port)
        assert "DB_PORT" in run("initdb", code=1).stderr


@pytest.mark.usefixtures("own_models")
def test_some_of_the_six_are_not_taken_for_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """000-18: the missing ones are named, and no file is made."""
    settle(monkeypatch, {"DB_DRIVER": "postgresql", "DB_HOST": "localhost"})
    said = run("initdb", code=1).stderr
    assert all(name in said for name in ("DB_USERNAME", "DB_PASSWORD", "DB_DATABASE"))
    with pytest.raises(db_plugins.ConfigError, match="DB_DATABASE"):
        module("database").get_db()
    assert not list(folder.glob("*.db"))


def test_the_same_six_from_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """000-19: ``.env``; of a name that both have the environment's counts."""
    (folder / ".env").write_text("DB_DRIVER=sqlite\nDB_DATABASE=x.db\n")
    assert module("database").get_db().query(module("models").User).count() == 0
    assert [path.name for path in folder.glob("*.db")] == ["x.db"]
    close()
    monkeypatch.setenv("DB_DATABASE", "y.db")
    module("database").get_db()
    assert sorted(path.name for path in folder.glob("*.db")) == ["x.db", "y.db"]


# -- what the seed's own text gets wrong -------------------------------------------------------------------------------


class Own(sqlmodel.SQLModel, registry=registry()):
    metadata = sa.MetaData()


class Untabled(Own):
    name: str = "a"


class Tabled(Own, table=True):
    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    updated_at: int = 0


def test_a_model_without_its_table(folder: Path) -> None:
    """000-E1: said wherever such a class is met: in a session, a query, the models of a connection, and by ``dbp``."""
    remedy = r"class Untabled\(…, table=True\)"
    db = db_plugins.connect("sqlite:///x.db", models=[Tabled])
    with pytest.raises(UnmappedInstanceError) as caught, db.session() as session:
        session.add(Untabled())
    assert caught.value.__notes__ == ["add table=True: class Untabled(…, table=True)"]
    with pytest.raises(db_plugins.InvalidValueError, match=remedy):
        db.query(Untabled)
    with pytest.raises(db_plugins.ConfigError, match=remedy):
        db_plugins.connect("sqlite:///x.db", models=[Untabled]).create_all()
    (folder / ".env").write_text("DB_DRIVER=sqlite\nDB_DATABASE=x.db\n")
    (folder / "models.py").write_text("import sqlmodel\n\nclass Mine(sqlmodel.SQLModel):\n    name: str\n")
    assert "class Mine(…, table=True)" in run("initdb", code=1).stderr
    db.close()


@on(*SESSIONS)
def test_a_table_that_was_never_made(connect: Connect) -> None:
    """000-E2: the error says which command makes it."""
    db = connect(*models())
    for work in (lambda: db.query(Tabled).insert({"id": 1}), lambda: add(db, Tabled(id=1))):
        with pytest.raises(
            db_plugins.EngineError, match="the table of Tabled is not there; run `dbp initdb`"
        ):
            work()


def add(db: db_plugins.Database, row: Any) -> None:
    with db.session() as session:
        session.add(row)


def test_a_model_file_that_breaks_off(folder: Path) -> None:
    """000-E3: the seed's snippet ends in ``)class``; ``dbp`` names file and line, and fails."""
    (folder / ".env").write_text("DB_DRIVER=sqlite\nDB_DATABASE=x.db\n")
    (folder / "models.py").write_text("x = dict(\n    y=1\n))class \n")
    said = run("initdb", code=1).stderr
    assert "models.py:3: SyntaxError" in said
    assert not list(folder.glob("*.db"))


def test_names_that_are_nearly_right(folder: Path) -> None:
    """000-E4: the seed's documents say ``updated_at`` and its source ``modified_at``: an error lists the names there are; so does
    one of an option of the settings. An option of the application is its own, and Python refuses another."""
    db = db_plugins.connect("sqlite:///x.db", models=[Tabled])
    rows = db.query(Tabled)
    uses = (
        lambda: rows.insert({"modified_at": 1}),
        lambda: rows.filter(modified_at=1),
        lambda: rows.order_by("modified_at"),
    )
    for use in uses:
        with pytest.raises(db_plugins.InvalidValueError, match=r"'modified_at'; .*updated_at"):
            use()
    with pytest.raises(db_plugins.ConfigError, match="DB_NAM is unknown; did you mean 'DB_NAME'"):
        db_plugins.connect({"ENGINE": "sqlite", "DB_NAM": "x.db"})
    with pytest.raises(TypeError, match="store_messages"):
        module("sdk").SoftwareOrchestrator("a", store_messages=True)


def test_the_drivers_name_misspelt(folder: Path) -> None:
    """000-E5: the seed project's ``.env.example`` has ``sqllite``, and blanks for what a file does not need."""
    text = "DB_DRIVER=sqllite\nDB_USERNAME=\nDB_PASSWORD=\nDB_HOST=\nDB_PORT=\nDB_DATABASE=x.db\n"
    (folder / ".env").write_text(text)
    with pytest.raises(db_plugins.EngineNotFoundError, match="'sqllite'; did you mean 'sqlite'"):
        module("database").get_db()
    (folder / ".env").write_text(text.replace("sqllite", "sqlite"))
    assert module("database").get_db().ping().ok
