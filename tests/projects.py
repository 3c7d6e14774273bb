"""A project as a user has it, with models that change, and ``dbp`` run in it, for tests of migrations on any engine.

    project             a fixture, to be imported: an empty folder with a database; @on("sqlite", "mongodb") says of which engines
    project.models(…)   write models.py            project.run("migrate")     dbp, in this process
    project.open()      a Database and its models  project.state()            what the database looks like

The folder's name holds what breaks careless programs: a per cent sign, an interpolation, a blank, an umlaut. (Alembic's own
program is one of these: its ``%(here)s`` takes no per cent sign. ``on(…, folder=PLAIN)`` is for tests that run it.) What ran
in a project may not show its password, nor a traceback that nobody asked for, and no file of its ``migrations`` may hold a
secret or a path of this machine: the fixture looks when the test is over.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

import db_plugins
from db_plugins.cli.app import dbp

__all__ = ["ENGINES", "PLAIN", "SQL", "Project", "on", "project"]

SQL = ("sqlite", "postgresql", "mariadb")
ENGINES = (*SQL, "mongodb")
ODD, PLAIN = "100% %(here)s Größe", "Größe 1"
#: In the passwords of all servers of the tests, in whatever way the rest is quoted.
SECRET = "s3cr3t"
#: Tables and collections that are ours, and not the models'.
OWN = {"alembic_version", "dbp_migrations", "db_plugins_counters"}
MODULES = ("models", "other")


class Project:
    """A folder with settings and models, which is the current one; its entry is called A."""

    def __init__(self, folder: Path, new_entry: Callable[[str], dict[str, Any]], engine: str) -> None:
        self.folder = folder
        self.engine = engine
        self.everything = ""
        self._new_entry = new_entry
        self.entry = new_entry(engine)
        self.use(A=self.entry)

    @property
    def is_sql(self) -> bool:
        return self.engine in SQL

    @property
    def undoes_all(self) -> bool:
        """Is a run of migrations all or nothing here?"""
        return self.engine in ("sqlite", "postgresql")

    def new_entry(self, engine: str | None = None) -> dict[str, Any]:
        """An entry of DB_CONFIG for one more empty database, of this engine or another."""
        return self._new_entry(engine or self.engine)

    # -- its files -------------------------------------------------------------------------------------------------

    def use(self, models: list[str] | None = None, **entries: dict[str, Any]) -> None:
        """Write settings.py."""
        text = f"DB_CONFIG = {entries!r}\nMODELS = {models or ['models']!r}\n"
        (self.folder / "settings.py").write_text(text, encoding="utf-8")

    def models(self, text: str) -> None:
        """Write models.py."""
        (self.folder / "models.py").write_text(text, encoding="utf-8")

    def versions(self, entry: str = "A") -> list[Path]:
        """The revision files of an entry."""
        return sorted((self.folder / "migrations" / entry / "versions").glob("*.py"))

    def revise(self, name: str, upgrade: str, downgrade: str = "pass", *, entry: str = "A") -> Path:
        """Write a revision by hand, after the head: ``make_migrations --empty``, and these statements."""
        made = self.told("make_migrations", "--empty", "-m", name, "--database", entry)["entries"][0]
        path = Path(made["file"])
        text = path.read_text(encoding="utf-8")
        for function, body in (("upgrade", upgrade), ("downgrade", downgrade)):
            head = f"def {function}() -> None:\n"
            assert f"{head}    pass" in text
            text = text.replace(
                f"{head}    pass", head + "\n".join(f"    {line}" for line in body.split("\n"))
            )
        path.write_text(text, encoding="utf-8")
        return path

    # -- dbp -------------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Have models.py imported anew, as in a new process."""
        for name in MODULES:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()

    def run(self, *arguments: str, code: int = 0) -> Result:
        """``dbp`` with these arguments, which must end with this exit code."""
        self.forget()
        done = CliRunner().invoke(dbp, arguments)
        self.everything += done.output
        assert done.exit_code == code, f"dbp {' '.join(arguments)}: {done.exit_code}\n{done.output}"
        return done

    def told(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """The JSON document of this command."""
        found: dict[str, Any] = json.loads(self.run(*arguments, "--json", code=code).stdout)
        return found

    def entry_told(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """What it tells of the only entry."""
        (found,) = self.told(*arguments, code=code)["entries"]
        return dict(found)

    def make(self, *arguments: str) -> str:
        """``dbp make_migrations``, which must write a file; the source of its ``upgrade`` and ``downgrade``."""
        made = self.entry_told("make_migrations", *arguments)
        assert made["file"], "nothing was written"
        return body_of(Path(made["file"]))

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """``dbp`` in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "db_plugins", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # What runs in the background of a shell inherits that Ctrl-C is ignored: here it is as at a terminal.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        """Its exit code, and what it wrote to standard output and to standard error."""
        out, err = process.communicate(timeout=60)
        self.everything += out + err
        return process.returncode, out, err

    def alembic(self, *arguments: str, entry: str = "A") -> None:
        """Plain ``alembic`` on the entry's folder, in this process."""
        from alembic.config import CommandLine

        self.forget()
        CommandLine().main(["-c", str(Path("migrations", entry, "alembic.ini")), *arguments])

    # -- the database ----------------------------------------------------------------------------------------------

    @contextmanager
    def open(self, name: str = "A") -> Iterator[tuple[db_plugins.Database, ModuleType]]:
        """The entry's Database, and models.py as it is now."""
        self.forget()
        sys.path.insert(0, str(self.folder))
        try:
            with db_plugins.connect(name) as db:
                yield db, importlib.import_module("models")
        finally:
            sys.path.remove(str(self.folder))

    def insert(self, model: str, *rows: dict[str, Any], entry: str = "A") -> None:
        """Store rows by a model of models.py."""
        with self.open(entry) as (db, models):
            db.query(getattr(models, model)).bulk_insert(rows)

    def rows(self, model: str, *columns: str, entry: str = "A") -> list[tuple[Any, ...]]:
        """The values of these columns, by primary key."""
        with self.open(entry) as (db, models):
            query = db.query(getattr(models, model))
            return [tuple(row[name] for name in columns) for row in query.to_dicts(*columns)]

    def state(self, entry: dict[str, Any] | None = None) -> dict[str, Any]:
        """All that the database's schema holds, of tables that are not ours."""
        entry = self.entry if entry is None else entry
        if entry["ENGINE"].startswith("sqlite") and not (self.folder / entry["DB_NAME"]).exists():
            return {}
        with db_plugins.connect(entry) as db:
            return _collections(db.native) if db.engine == "mongodb" else _tables(db.native)

    def names(self, entry: dict[str, Any] | None = None) -> set[str]:
        """Its tables or collections."""
        return {name for name in self.state(entry) if not name.startswith("(")}

    def rows_of(self, table: str) -> int:
        """How many rows or documents a table has, whatever the models say."""
        with db_plugins.connect(self.entry) as db:
            if db.engine == "mongodb":
                return int(db.native[table].count_documents({}))
            with db.native.connect() as connection:
                return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar())

    def send(self, *statements: str) -> list[tuple[Any, ...]]:
        """SQL by other means than ours; the rows of the last statement."""
        with db_plugins.connect(self.entry) as db, db.native.begin() as connection:
            for statement in statements:
                found = connection.exec_driver_sql(statement)
            return [tuple(row) for row in found] if found.returns_rows else []


def body_of(path: Path) -> str:
    """A revision from its first function on."""
    return path.read_text(encoding="utf-8").partition("def upgrade")[2]


def _tables(engine: Any) -> dict[str, Any]:
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        found: dict[str, Any] = {
            name: _table(inspector, name) for name in inspector.get_table_names() if name not in OWN
        }
        if connection.dialect.name == "postgresql":
            found["(enums)"] = {e["name"]: list(e["labels"]) for e in inspector.get_enums()}
            extensions = connection.exec_driver_sql("SELECT extname FROM pg_extension ORDER BY 1")
            found["(extensions)"] = [name for (name,) in extensions]
        return found


def _table(inspector: sa.Inspector, name: str) -> dict[str, Any]:
    return {
        "columns": {
            c["name"]: (str(c["type"]), c["nullable"], c["default"]) for c in inspector.get_columns(name)
        },
        "key": inspector.get_pk_constraint(name)["constrained_columns"],
        "indexes": sorted(
            (str(i["name"]), tuple(map(str, i["column_names"])), bool(i["unique"]))
            for i in inspector.get_indexes(name)
        ),
        "unique": sorted(
            (str(u["name"]), tuple(u["column_names"])) for u in inspector.get_unique_constraints(name)
        ),
        "foreign keys": sorted(
            (
                str(f["name"]),
                tuple(f["constrained_columns"]),
                f["referred_table"],
                tuple(f["referred_columns"]),
            )
            for f in inspector.get_foreign_keys(name)
        ),
        "checks": sorted(
            (str(c["name"]), re.sub(r"\s+", " ", c["sqltext"])) for c in inspector.get_check_constraints(name)
        ),
    }


def _collections(database: Any) -> dict[str, Any]:
    found = {}
    for each in database.list_collections():
        name = each["name"]
        if name in OWN or name.startswith("system."):
            continue
        indexes = [dict(index) for index in database[name].list_indexes()]
        for index in indexes:
            index["key"] = list(index["key"].items())
        found[name] = {
            "validator": each["options"].get("validator"),
            "indexes": sorted(indexes, key=lambda index: str(index["name"])),
        }
    return found


@pytest.fixture
def project(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """A project whose database is of the engine that ``on`` named."""
    engine, name = request.param
    folder = tmp_path / name
    for variable in list(os.environ):
        if variable.startswith("DB_") or variable in ("DATABASE_URL", "DBP_SETTINGS"):
            monkeypatch.delenv(variable)
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    # Python takes a file that changes within a second, and keeps its size, for the one it has compiled.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    number = 0

    def new_entry(engine: str) -> dict[str, Any]:
        nonlocal number
        if engine == "sqlite":
            number += 1
            return {"ENGINE": "sqlite", "DB_NAME": f"stars{number}.db"}
        server = request.getfixturevalue("shared_server")(engine)
        name, _url = server.new_database()
        request.addfinalizer(lambda: server.drop_database(name))
        return dict(server.entry(name))

    made = Project(folder, new_entry, engine)
    yield made
    made.forget()
    assert SECRET not in made.everything
    assert "Traceback" not in made.everything
    for path in (folder / "migrations").rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            text = path.read_text(encoding="utf-8")
            assert SECRET not in text, path
            assert str(tmp_path) not in text, path


def on(*engines: str, folder: str = ODD) -> Any:
    """Run the test on these engines."""
    projects = [pytest.param((engine, folder), id=engine) for engine in engines]
    return pytest.mark.parametrize("project", projects, indirect=True)
