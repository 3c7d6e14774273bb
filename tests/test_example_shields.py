"""examples/shields: one URL in the environment, and everything on it: sessions, both faces, migrations, health, fixtures."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.config import CommandLine
from click.testing import CliRunner
from fastapi.testclient import TestClient
from seeds import make_entry
from sqlmodel import SQLModel

import db_plugins
from db_plugins.cli.app import dbp

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "shields"
PAGE = ROOT / "docs" / "example-shields.md"
SQL = ("sqlite", "postgresql", "mariadb")
OWN = ("api", "models")


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The example in a folder of its own, first on sys.path. SQLModel's tables are one for the process: it is imported once."""
    folder = tmp_path_factory.mktemp("forge") / "shields"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    path, before = list(sys.path), {name: sys.modules.pop(name, None) for name in OWN}
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    yield folder
    sys.path[:] = path
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module
    SQLModel.metadata.remove(SQLModel.metadata.tables["shield"])


@pytest.fixture
def forge(
    copied: Path, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Its folder, the current one, with DATABASE_URL as the reader sets it, and nothing else."""
    monkeypatch.chdir(copied)
    for variable in ("DBP_SETTINGS", "DB_DRIVER"):
        monkeypatch.delenv(variable, raising=False)
    engine = getattr(request, "param", "sqlite")
    monkeypatch.setenv("DATABASE_URL", url_of(engine, request, tmp_path))
    yield copied
    for name in ("data", "migrations"):
        shutil.rmtree(copied / name, ignore_errors=True)


def url_of(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if engine == "sqlite":
        return "sqlite:///data/app.db"  # as the seed has it
    entry = make_entry(engine, request, tmp_path)
    url = sa.URL.create(
        engine, entry["USER"], entry["PASSWORD"], entry["HOST"], entry["PORT"], entry["DB_NAME"]
    )
    return url.render_as_string(hide_password=False)


def run_dbp(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(dbp, arguments)
    assert done.exit_code == code, done.output
    if password := sa.make_url(os.environ["DATABASE_URL"]).password:
        assert str(password) not in done.output
    return done.stdout


def columns() -> list[str]:
    """The columns of the table, or none."""
    with db_plugins.connect() as db:
        inspector = sa.inspect(db.native)
        return [c["name"] for c in inspector.get_columns("shield")] if inspector.has_table("shield") else []


# -- the application ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forge", SQL, indirect=True)
def test_shields_are_forged_and_tempered(forge: Path) -> None:
    """003-01: DATABASE_URL alone. 003-02: the file's folder is made. 003-14: committed at the block's end. 003-15: undone on an
    error. 003-E1: the id after the block. 003-17: awaited, too. 003-32: SQL and a query in one transaction."""
    run_dbp("initdb")
    with TestClient(importlib.import_module("api").app) as client:
        for n, (path, name) in enumerate([("/shields", "Aegis"), ("/async/shields", "Buckler")], 1):
            answer = client.post(path, json={"name": name, "defense_rating": 10 * n})
            assert (answer.status_code, answer.json()) == (201, {"id": n, "name": name})
        assert client.post("/shields", json={}).status_code == 422
        assert client.post("/temper/iron", params={"more": 5}).json()["defense_rating"] == 25
        answer = client.post("/temper/iron", params={"more": 80})
        assert (answer.status_code, answer.json()) == (409, {"detail": "Buckler would break"})
        assert client.post("/temper/gold", params={"more": 5}).status_code == 404
        plain = {"material": "iron", "enchantment": None}
        assert client.get("/shields", params={"material": "iron"}).json() == [
            {"id": 1, "name": "Aegis", "defense_rating": 15, **plain},
            {"id": 2, "name": "Buckler", "defense_rating": 25, **plain},
        ], "the second time changed nothing"
        health = client.get("/health")
        found = health.json()["databases"]["default"]
        assert (health.status_code, found["models"], found["revision"]) == (200, ["Shield"], "initial")
        databases: Any = client.app.state.db_plugins  # type: ignore[attr-defined]
        assert databases.db().native.pool.checkedout() == 0
    if os.environ["DATABASE_URL"].startswith("sqlite"):
        assert (forge / "data" / "app.db").is_file()


def test_a_database_in_memory_makes_no_folder(forge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """003-02: never for ``:memory:``, nor for a file in memory."""
    before = set(forge.iterdir())
    for url in ("sqlite:///:memory:", "sqlite:///file:data/deep/app?mode=memory&uri=true"):
        monkeypatch.setenv("DATABASE_URL", url)
        with db_plugins.connect() as db:
            db.create_all()
            assert db.ping().ok
    assert {path for path in forge.iterdir() if path.name != "__pycache__"} <= before


# -- migrations and health ---------------------------------------------------------------------------------------------

TABLE = ["id", "name", "defense_rating", "material", "enchantment"]


@pytest.mark.parametrize("forge", SQL, indirect=True)
def test_the_table_is_migrated_by_dbp_and_by_alembic(forge: Path) -> None:
    """003-19: the message is in the file's name. 003-22: it changes no database. 003-20: `dbp migrate`. 003-21: `alembic upgrade
    head` does the same. 003-31: `dbp health --json` before and after."""
    said = run_dbp("make_migrations", "-m", "Add shields table")
    [revision] = (forge / "migrations" / "default" / "versions").glob("*_add_shields_table.py")
    assert revision.read_text(encoding="utf-8").startswith('"""Add shields table"""')
    assert not (forge / "data").exists()
    assert json.loads(run_dbp("health", "--json", code=1))["ok"] is False
    said += run_dbp("migrate")
    assert columns() == TABLE
    command = ("-c", "migrations/default/alembic.ini")
    CommandLine().main([*command, "downgrade", "base"])
    assert columns() == []
    CommandLine().main([*command, "upgrade", "head"])
    assert columns() == TABLE
    said += run_dbp("check")
    assert "agree" in said
    [health] = json.loads(run_dbp("health", "--json"))["entries"]
    assert (health["ok"], health["models"], health["missing"]) == (True, ["Shield"], [])
    made = revision.name.partition("_")[0]
    assert health["revision"] == made
    if os.environ["DATABASE_URL"].startswith("sqlite"):
        page = PAGE.read_text(encoding="utf-8").splitlines()
        assert not [line for line in said.splitlines() if line.replace(made, "e31d1fb0146d") not in page]


# -- its own tests -----------------------------------------------------------------------------------------------------

#: Their import fails in the first run, as where nothing but this library, SQLModel and FastAPI is installed.
DRIVERS = ("psycopg", "psycopg2", "pg8000", "asyncpg", "pymysql", "asyncmy", "pymongo", "bson", "aiosqlite")
TWICE = f"""
import importlib.abc, os, pytest, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {DRIVERS}:
            raise ModuleNotFoundError(name)
run = lambda: pytest.main(["-q", "-p", "no:cacheprovider", "-W", "ignore"])
refuse = Refuse()
sys.meta_path.insert(0, refuse)
first = run()
sys.meta_path.remove(refuse)
os.environ["TEST_DATABASE_URL"] = os.environ["DATABASE_URL"]
sys.exit(first or run())
"""


@pytest.mark.parametrize("forge", ["postgresql"], indirect=True)
def test_its_own_tests_pass(forge: Path) -> None:
    """003-27: its fixture ``db_session`` undoes what was committed, and a nested block. 003-28: in memory, without a file.
    003-04: there no driver can be imported, and none is missed. 003-29: the same tests on PostgreSQL."""
    before = {path for path in forge.iterdir() if path.name != "__pycache__"}
    done = subprocess.run(
        [sys.executable, "-c", TWICE],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("5 passed") == 2
    assert {path for path in forge.iterdir() if path.name != "__pycache__"} == before


# -- what its pages may not show ---------------------------------------------------------------------------------------


def sources() -> Iterator[tuple[str, ast.Module]]:
    """The Python of all examples and pages that can be parsed."""
    for path in (ROOT / "examples").rglob("*.py"):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = re.sub(
            r"^<!-- not run.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
        )
        for _, block in re.findall(r"^( *)```python\n(.*?)^\1```$", text, flags=re.MULTILINE | re.DOTALL):
            yield page.relative_to(ROOT).as_posix(), ast.parse(textwrap.dedent(block))


def test_no_example_uses_what_pydantic_has_deprecated() -> None:
    """003-E2: ``model_dump``, and never ``.dict()``."""
    for name, tree in sources():
        called = {
            node.func.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        assert not called & {"dict", "parse_obj", "from_orm"}, name


def blocking(tree: ast.AST) -> list[int]:
    """Lines in coroutines with a plain ``with`` on a session or a transaction, which keeps the loop waiting."""
    return [
        part.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncFunctionDef)
        for part in ast.walk(node)
        if isinstance(part, ast.With)
        for item in part.items
        if isinstance(item.context_expr, ast.Call)
        and isinstance(item.context_expr.func, ast.Attribute)
        and item.context_expr.func.attr in ("session", "transaction")
    ]


def test_no_example_blocks_the_loop() -> None:
    """003-E3: in an ``async def`` the awaited twin, and else a plain ``def``."""
    seed = "async def forge(db):\n    with db.session() as session:\n        pass\n"
    assert blocking(ast.parse(seed)) == [2]
    for name, tree in sources():
        assert not blocking(tree), name
