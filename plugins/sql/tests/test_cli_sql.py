"""``dbp`` on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from db_plugins.cli.app import dbp

PASSWORD = "s3cr3t@:/p%"
MODULES = ("models", "other")

MODELS = """
from sqlalchemy import ForeignKey, String
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
    star_id: Mapped[int] = mapped_column(ForeignKey("stars.id"), index=True)
"""
INSERT = "import db_plugins, models; db_plugins.connect('A').query(models.Star).insert({'name': 'Vega'})"
COUNT = "import db_plugins, models; print(db_plugins.connect('A').query(models.Star).count())"


class Project:
    """A folder with settings and models, which is the current one, and ``dbp`` run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.everything = ""

    def settle(self, models: str = MODELS, **entries: dict[str, Any]) -> None:
        """Write settings.py and models.py."""
        text = f"DB_CONFIG = {entries!r}\nMODELS = ['models']\n"
        (self.folder / "settings.py").write_text(text, encoding="utf-8")
        (self.folder / "models.py").write_text(models, encoding="utf-8")

    def run(self, *arguments: str) -> Result:
        """``dbp`` with these arguments, its models imported anew."""
        for name in MODULES:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        done = CliRunner().invoke(dbp, arguments)
        self.everything += done.output
        return done

    def told(self, *arguments: str) -> dict[str, Any]:
        """The JSON document of this command."""
        found: dict[str, Any] = json.loads(self.run(*arguments, "--json").stdout)
        return found

    def python(self, *arguments: str) -> str:
        """What a Python of its own prints with these arguments."""
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60)
        self.everything += done.stdout + done.stderr
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project; nothing that ran in it showed the password, or a traceback that nobody asked for."""
    for name in list(os.environ):
        if name.startswith("DB_") or name in ("DATABASE_URL", "DBP_SETTINGS"):
            monkeypatch.delenv(name)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    # Python takes a file that changes within a second, and keeps its size, for the one it has compiled.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made = Project(tmp_path)
    yield made
    for name in MODULES:
        sys.modules.pop(name, None)
    assert "s3cr3t" not in made.everything
    assert "Traceback" not in made.everything


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def entry(request: pytest.FixtureRequest, project: Project) -> Iterator[dict[str, Any]]:
    """An empty database on each engine, as an entry of DB_CONFIG."""
    if request.param == "sqlite":
        yield {"ENGINE": "sqlite", "DB_NAME": "deep/er/stars.db"}
        return
    server = request.getfixturevalue(f"{request.param}_server")
    name, _ = server.new_database()
    yield server.entry(name)
    server.drop_database(name)


def dead_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


# -- what works --------------------------------------------------------------------------------------------------------


def test_what_init_wrote_works_at_once(project: Project) -> None:
    dbp_process = ("-m", "db_plugins")
    project.python(*dbp_process, "init")
    assert project.run("health").exit_code == 1
    assert not (project.folder / "app.db").exists()
    done = project.python(*dbp_process, "initdb")
    assert (
        done
        == f"default (sqlite, {project.folder / 'app.db'}): made Star; wrote migrations/default/versions/initial.py"
    )
    assert project.python(*dbp_process, "initdb").endswith("there already: Star")
    assert project.python(*dbp_process, "health").startswith("default: ok")
    code = "import db_plugins, models; db = db_plugins.connect(); s = models.Star(name='Vega'); "
    assert project.python("-c", code + "print(db.query(models.Star).insert(s).id)") == "1"


def test_what_init_wrote_means_the_same_file_from_a_folder_below(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.run("init")
    project.run("initdb")
    (project.folder / "below").mkdir()
    monkeypatch.chdir(project.folder / "below")
    assert project.told("health")["entries"][0]["models"] == ["Star"]
    assert list((project.folder / "below").iterdir()) == []


def test_initdb_may_be_repeated_and_keeps_rows(project: Project, entry: dict[str, Any]) -> None:
    project.settle(A=entry)
    first = project.told("initdb")
    assert [(e["ok"], e["made"], e["existing"]) for e in first["entries"]] == [(True, ["Star"], [])]
    project.python("-c", INSERT)
    project.settle(MODELS + PLANET, A=entry)
    second = project.told("initdb")  # there are revisions now, and it applies them
    assert [(e["ok"], e["made"], e["missing"]) for e in second["entries"]] == [(True, [], ["Planet"])]
    assert "run `dbp make_migrations`" in second["notes"][0]
    assert project.run("make_migrations").exit_code == 0
    third = project.run("initdb")
    assert third.exit_code == 0
    assert "made Planet; there already: Star; applied" in third.stdout
    assert project.python("-c", COUNT) == "1"


def test_tables_that_were_dropped_since_are_made_anew(project: Project, entry: dict[str, Any]) -> None:
    project.settle(A=entry)
    project.run("initdb")
    project.python("-c", "import db_plugins; db_plugins.connect('A').drop_all(force=True)")
    again = project.told("initdb")
    assert again["entries"][0]["missing"] == ["Star"]
    assert "`dbp stamp base` and `dbp migrate` make it anew" in again["notes"][0]
    assert project.run("stamp", "base").exit_code == 0
    assert project.run("migrate").exit_code == 0
    assert project.run("check").exit_code == 0


def test_health_before_and_after_initdb(project: Project, entry: dict[str, Any]) -> None:
    project.settle(A=entry)
    before = project.told("health")
    assert before["ok"] is False
    assert project.run("health").exit_code == 1
    assert project.run("initdb").exit_code == 0
    health = project.run("health")
    assert health.exit_code == 0, health.output
    (after,) = project.told("health")["entries"]
    assert (after["ok"], after["models"], after["missing"]) == (True, ["Star"], [])
    assert (after["engine"], after["revision"]) == (entry["ENGINE"], "initial")
    assert 0 < after["latency_ms"] < 5000
    assert after["version"][0].isdigit()
    assert set(after["pool"]) == {"size", "in_use"}


def test_one_url_in_the_environment_is_enough(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """003-01: no settings, and no other variable. 003-02: with the file's folder."""
    project.settle()
    (project.folder / "settings.py").unlink()
    monkeypatch.setenv("DATABASE_URL", "sqlite:///data/app.db")
    done = project.run("initdb")
    assert done.exit_code == 0
    assert "settings: DATABASE_URL in the environment" in done.stderr
    assert (project.folder / "data" / "app.db").is_file()


def test_a_relationship_without_a_foreign_key_is_found_before_anything_is_made(project: Project) -> None:
    child = PLANET.replace('mapped_column(ForeignKey("stars.id"), index=True)', "mapped_column()")
    child += "    star: Mapped[Star] = __import__('sqlalchemy').orm.relationship()\n"
    project.settle(MODELS + child, A={"ENGINE": "sqlite", "DB_NAME": "a.db"})
    # In a process of its own: a mapper that cannot be configured stays in SQLAlchemy's list of all.
    done = subprocess.run(
        [sys.executable, "-m", "db_plugins", "initdb"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "Planet.star" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project.folder / "a.db").exists()


def test_echo_does_not_spoil_the_json_document(project: Project) -> None:
    project.settle(A={"ENGINE": "sqlite", "DB_NAME": "a.db", "ECHO": True})
    assert project.told("initdb")["ok"] is True


# -- what does not -----------------------------------------------------------------------------------------------------


def test_a_dead_server_is_reported_in_time_and_the_others_are_done(project: Project) -> None:
    server = {"HOST": "127.0.0.1", "PORT": dead_port(), "USER": "ann", "PASSWORD": PASSWORD, "DB_NAME": "x"}
    project.settle(
        A={"ENGINE": "sqlite", "DB_NAME": "a.db"},
        B={"ENGINE": "postgresql", **server},
        C={"ENGINE": "mariadb", **server},
        D={"ENGINE": "sqlite", "DB_NAME": "d.db"},
    )
    # Refused at once, each; the drivers' own limits are 30 s and more. The rest is for a busy machine.
    began = time.monotonic()
    done = project.run("initdb")
    assert time.monotonic() - began < 20
    assert done.exit_code == 1
    assert "A (sqlite, a.db): made Star" in done.stdout
    assert "D (sqlite, d.db): made Star" in done.stdout
    for name in "BC":
        assert f"error: {name}: " in done.stderr
    assert done.stderr.count("cannot be reached") == 2
    assert done.stderr.count("hint: ") == 2
    health = project.told("health")
    assert [e["ok"] for e in health["entries"]] == [True, False, False, True]
    assert [e.get("type") for e in health["entries"]][1:3] == ["ServerUnreachableError"] * 2


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
@pytest.mark.parametrize("given", ["parts", "URL"])
def test_a_wrong_password_is_named_and_not_shown(
    request: pytest.FixtureRequest, project: Project, kind: str, given: str
) -> None:
    server = request.getfixturevalue(f"{kind}_server")
    name, url = server.new_database()
    if given == "parts":
        entry = {**server.entry(name), "PASSWORD": PASSWORD + "x"}
    else:
        entry = {"URL": url.replace("@", "x@", 1)}
    project.settle(A=entry)
    for arguments in (["initdb"], ["health"]):
        done = project.run(*arguments)
        assert done.exit_code == 1
        assert "refused the user" in done.stderr
        assert project.told(*arguments)["entries"][0]["type"] == "AuthenticationError"
    verbose = project.run("health", "--verbose")
    project.everything = project.everything.replace("Traceback", "")
    assert "Traceback" in verbose.stderr
    server.drop_database(name)


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_database_that_is_not_there_is_named(
    request: pytest.FixtureRequest, project: Project, kind: str
) -> None:
    server = request.getfixturevalue(f"{kind}_server")
    project.settle(A=server.entry("t_never_made"))
    done = project.run("initdb")
    assert done.exit_code == 1
    assert "t_never_made" in done.stderr
    assert project.told("health")["entries"][0]["type"] == "DatabaseMissingError"


def test_a_missing_driver_names_the_pip_line(project: Project) -> None:
    if importlib.util.find_spec("MySQLdb") is not None:
        pytest.skip("MySQLdb is installed")
    server = {"HOST": "127.0.0.1", "USER": "ann", "PASSWORD": PASSWORD, "DB_NAME": "x"}
    project.settle(A={"ENGINE": "mysql+mysqldb", **server})
    done = project.run("initdb")
    assert done.exit_code == 1
    assert "MySQLdb" in done.stderr
    assert "hint: pip install mysqlclient" in done.stderr


def test_a_file_that_is_no_database_is_left_as_it_is(project: Project) -> None:
    (project.folder / "a.db").write_text("not a database, and longer than its header of sixteen bytes" * 20)
    before = (project.folder / "a.db").read_bytes()
    project.settle(A={"ENGINE": "sqlite", "DB_NAME": "a.db"})
    done = project.run("initdb")
    assert done.exit_code == 1
    assert done.stderr.count("error: ") == 1
    assert (project.folder / "a.db").read_bytes() == before


def test_tables_of_others_stay(project: Project) -> None:
    with sqlite3.connect(project.folder / "a.db") as there:
        there.execute("CREATE TABLE other (x)")
    there.close()
    project.settle(A={"ENGINE": "sqlite", "DB_NAME": "a.db"})
    assert project.told("initdb")["entries"][0]["made"] == ["Star"]
    with sqlite3.connect(project.folder / "a.db") as there:
        names = {row[0] for row in there.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    there.close()
    assert {"other", "stars"} <= names
