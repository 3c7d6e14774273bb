"""``dbp`` on a MongoDB server and on mongomock."""

from __future__ import annotations

import importlib
import json
import os
import secrets
import socket
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


@pytest.fixture
def database(mongodb_server: Any) -> Iterator[str]:
    """An empty database on the run's server."""
    name, _ = mongodb_server.new_database()
    yield name
    mongodb_server.drop_database(name)


def dead_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize("given", ["parts", "URL"])
def test_initdb_may_be_repeated_and_keeps_rows(
    project: Project, mongodb_server: Any, database: str, given: str
) -> None:
    entry = mongodb_server.entry(database) if given == "parts" else {"URL": mongodb_server.url_of(database)}
    project.settle(A=entry)
    first = project.told("initdb")
    assert [(e["ok"], e["made"], e["existing"]) for e in first["entries"]] == [(True, ["Star"], [])]
    code = "import db_plugins, models; q = db_plugins.connect('A').query(models.Star); "
    project.python("-c", code + "q.insert({'name': 'Vega'})")
    project.settle(MODELS + PLANET, A=entry)
    second = project.told("initdb")  # there are revisions now, and it applies them
    assert [(e["made"], e["missing"]) for e in second["entries"]] == [([], ["Planet"])]
    assert project.run("make_migrations").exit_code == 0
    third = project.told("initdb")
    assert [(e["made"], e["existing"]) for e in third["entries"]] == [(["Planet"], ["Star"])]
    assert project.python("-c", code + "print(q.count())") == "1"


def test_health_before_and_after_initdb(project: Project, mongodb_server: Any, database: str) -> None:
    project.settle(MONGO=mongodb_server.entry(database))
    before = project.run("health")
    assert before.exit_code == 1
    assert "error: MONGO: missing models: Star\nhint: run `dbp initdb`" in before.stderr
    project.run("initdb")
    assert project.run("health").exit_code == 0
    (after,) = project.told("health")["entries"]
    assert (after["ok"], after["engine"], after["models"]) == (True, "mongodb", ["Star"])
    assert after["version"][0].isdigit()


def test_a_dead_server_is_reported_in_time_and_the_others_are_done(
    project: Project, mongodb_server: Any, database: str
) -> None:
    dead = {"HOST": "127.0.0.1", "PORT": dead_port(), "USER": "ann", "PASSWORD": PASSWORD, "DB_NAME": "x"}
    project.settle(MONGO={**dead, "CONNECT_TIMEOUT": 1}, B=mongodb_server.entry(database))
    # Refused at once, each; the drivers' own limits are 30 s and more. The rest is for a busy machine.
    began = time.monotonic()
    done = project.run("initdb")
    assert time.monotonic() - began < 20
    assert done.exit_code == 1
    assert done.stdout.endswith("made Star; wrote migrations/B/versions/initial.py\n")
    assert "error: MONGO: mongodb at 127.0.0.1:" in done.stderr
    health = project.told("health")
    assert [e["ok"] for e in health["entries"]] == [False, True]
    assert health["entries"][0]["type"] == "ServerUnreachableError"


def test_mongomock_needs_no_server(project: Project) -> None:
    pytest.importorskip("mongomock_ng")
    project.settle(A={"ENGINE": "mongomock", "DB_NAME": f"t_{secrets.token_hex(6)}"})
    assert project.told("initdb")["entries"][0]["made"] == ["Star"]


def test_a_model_that_mongodb_cannot_hold_is_named_and_sql_is_done(
    project: Project, mongodb_server: Any, database: str
) -> None:
    native = MODELS + "    extra = mapped_column(__import__('sqlalchemy').ARRAY(String))\n"
    project.settle(native, MONGO=mongodb_server.entry(database), B={"ENGINE": "memory", "MODELS": ["other"]})
    (project.folder / "other.py").write_text(MODELS, encoding="utf-8")
    done = project.run("initdb")
    assert done.exit_code == 1
    assert "error: MONGO: Star.extra" in done.stderr
    assert done.stdout.startswith("B (memory")
