"""What a stranger gets: the wheels of the three distributions, each installed alone, and the line for pip where one is missing.

A room is a folder with one wheel, unpacked, and the packages that its metadata require, by links to those that are
installed here; a Python without any other package runs in it. ``make wheels`` does the same with pip.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import db_plugins
from db_plugins.distributions import PIP_LINES

ROOT = Path(__file__).parents[1]
#: Each distribution's folder, and its package.
DISTRIBUTIONS = {
    "db-plugins-core": (".", "db_plugins"),
    "db-plugins-sql": ("plugins/sql", "db_plugins_sql"),
    "db-plugins-mongo": ("plugins/mongo", "db_plugins_mongo"),
}
CORE, SQL, MONGO = DISTRIBUTIONS
IN_TREE = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "*.db")

BUILD = """
import os, sys
from setuptools import build_meta
_, out, *folders = sys.argv  # setuptools changes it
for folder in folders:
    os.chdir(folder)
    build_meta.build_wheel(out)
"""
#: In a room: run what is given as JSON, and print what became of each.
RUN = """
import json, sys, warnings
sys.path.insert(0, sys.argv[1])
warnings.simplefilter("ignore")
from importlib import import_module as load
import db_plugins
started = sorted(sys.modules)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Star(Base):
    __tablename__ = "stars"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]

def use(entry):
    with db_plugins.connect(entry, models=[Star]) as db:
        db.create_all()
        db.query(Star).insert({"name": "Vega"})
        return db.query(Star).one().name

def use_async(entry):
    import asyncio
    async def main():
        async with db_plugins.connect_async(entry, models=[Star]) as db:
            await db.create_all()
            await db.query(Star).insert({"name": "Vega"})
            return (await db.query(Star).one()).name
    return asyncio.run(main())

def memory():
    return db_plugins.connect({"ENGINE": "memory"}, models=[Star]).query(Star)

def found(source):
    try:
        return eval(source)
    except db_plugins.DbPluginsError as error:
        return [type(error).__name__, error.fact, error.hint]
    except Exception as error:
        return repr(error)

print(json.dumps([found(source) for source in json.load(sys.stdin)]))
"""
DBP = """
import sys
from importlib.metadata import entry_points
sys.path.insert(0, sys.argv.pop(1))
sys.argv[0] = "dbp"
(program,) = entry_points(group="console_scripts", name="dbp")
program.load()()
"""


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A wheel of each distribution, of a copy of the tree: a build writes into it, and takes up what an earlier one left."""
    tree = tmp_path_factory.mktemp("tree") / "checkout"
    shutil.copytree(ROOT, tree, ignore=IN_TREE)
    out = tmp_path_factory.mktemp("wheels")
    folders = [str(tree / folder) for folder, _ in DISTRIBUTIONS.values()]
    subprocess.run([sys.executable, "-c", BUILD, str(out), *folders], check=True, capture_output=True)
    return {name: next(out.glob(f"{name.replace('-', '_')}-*.whl")) for name in DISTRIBUTIONS}


Room = Callable[..., Path]


@pytest.fixture(scope="session")
def room(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Room:
    """``room(SQL, "greenlet")``: the folder with that wheel, what it requires, and these packages beside it."""

    unpacked = {name: tmp_path_factory.mktemp("unpacked") for name in wheels}
    for name, wheel in wheels.items():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked[name])

    @cache
    def make(name: str, *beside: str, without: str = "") -> Path:
        folder = tmp_path_factory.mktemp("room")
        done: set[str] = {without}
        wanted = [name, *beside]
        while wanted:
            each = wanted.pop()
            if each.casefold() in done:
                continue
            done.add(each.casefold())
            if each in wheels:
                for path in unpacked[each].iterdir():
                    (folder / path.name).symlink_to(path)
                requires = metadata_of(wheels[each]).get_all("Requires-Dist") or []
            else:
                requires = link(each, folder)
            wanted += [r.name for r in map(Requirement, requires) if not r.marker or r.marker.evaluate()]
        return folder

    return make


def link(name: str, folder: Path) -> Sequence[str]:
    """Put an installed distribution into the folder; what it requires."""
    installed = distribution(name)
    for top in {
        file.parts[0] for file in installed.files or () if file.parts[0] not in ("..", "__pycache__")
    }:
        (folder / top).symlink_to(Path(str(installed.locate_file(top))))
    return installed.requires or ()


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def python(room: Path, code: str, *arguments: str, cwd: Path | None = None, stdin: str = "") -> str:
    """What this code prints in a room: nothing of this environment, nor of PYTHONPATH, is to be seen there."""
    command = [sys.executable, "-I", "-S", "-W", "error::ImportWarning", "-c", code, str(room), *arguments]
    done = subprocess.run(command, cwd=cwd or room, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout + done.stderr


def ask(room: Path, sources: Iterable[str]) -> list[Any]:
    """The value of each expression in a room, or its error as ``[class, fact, remedy]``."""
    answer = python(room, RUN, stdin=json.dumps(list(sources)))
    assert answer.startswith("["), answer
    return list(json.loads(answer))


# -- what a wheel holds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_holds_its_package_whole_and_nothing_else(name: str, wheels: dict[str, Path]) -> None:
    folder, package = DISTRIBUTIONS[name]
    with zipfile.ZipFile(wheels[name]) as wheel:
        held = {n for n in wheel.namelist() if ".dist-info/" not in n}
        about = {Path(n).name for n in wheel.namelist() if ".dist-info/" in n}
    source = ROOT / folder
    assert held == {
        str(path.relative_to(source))
        for path in (source / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert f"{package}/py.typed" in held
    assert about == {
        "METADATA", "RECORD", "WHEEL", "entry_points.txt", "LICENSE", "top_level.txt",
    }  # fmt: skip


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_metadata_are_complete_and_of_one_version(name: str, wheels: dict[str, Path]) -> None:
    about = metadata_of(wheels[name])
    folder, _package = DISTRIBUTIONS[name]
    assert about["Name"] == name
    assert about["Version"] == metadata_of(wheels[CORE])["Version"]
    assert about["Requires-Python"] == ">=3.11"
    assert "MIT" in (about["License-Expression"] or about["License"])
    assert about["Summary"]
    assert about["Description-Content-Type"] == "text/markdown"
    readme = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    assert str(about.get_payload()).strip() == readme.strip()
    if name != CORE:
        needs = [str(Requirement(text)) for text in about.get_all("Requires-Dist") or []]
        assert f"{CORE}>={about['Version']}" in needs


def test_nobody_is_told_to_install_a_stranger_s_distribution(wheels: dict[str, Path]) -> None:
    """``db-plugins`` alone is another owner's: each line for pip names ours, with an extra that it has."""
    extras = {name: metadata_of(wheel).get_all("Provides-Extra") or [] for name, wheel in wheels.items()}
    places = [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("plugins/*/README.md")]
    for folder, package in DISTRIBUTIONS.values():
        places += (ROOT / folder / package).rglob("*.py")
    named = 0
    for path in places:
        for line in re.findall(r"pip install[^\n`]*", path.read_text(encoding="utf-8")):
            for found, wanted in re.findall(r"\b(db-plugins(?:-\w+)*)(?:\[([\w,-]+)\])?", line):
                named += 1
                assert found in extras, f"{path}: {line}"
                assert set(filter(None, wanted.split(","))) <= set(extras[found]), f"{path}: {line}"
    assert named > 10


def test_the_lines_for_pip_are_of_the_names_that_our_plugins_answer_to(wheels: dict[str, Path]) -> None:
    answering: dict[str, str] = {}
    for name in (SQL, MONGO):
        with zipfile.ZipFile(wheels[name]) as wheel:
            points = next(n for n in wheel.namelist() if n.endswith("entry_points.txt"))
            text = wheel.read(points).decode()
        answering |= dict.fromkeys(re.findall(r"^(\w+) = ", text, re.MULTILINE), name)
    assert {name: re.split(r'[\s"\[]+', line)[2] for name, line in PIP_LINES.items()} == answering


# -- each alone ------------------------------------------------------------------------------------------------------

WORKING = {
    CORE: ("use({'ENGINE': 'memory'})",),
    SQL: ("use({'ENGINE': 'memory'})", "use('sqlite://')", "use({'ENGINE': 'sqlite', 'DB_NAME': 'a.db'})"),
    MONGO: ("use({'ENGINE': 'memory'})",),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_each_works_alone(name: str, room: Room) -> None:
    *used, started, loaded = ask(
        room(name),
        [
            *WORKING[name],
            "[m for m in started if m.startswith(('sqlalchemy', 'pymongo', 'db_plugins_'))]",
            "db_plugins.connect({'ENGINE': 'memory'}) and [m for m in sys.modules if m.startswith('pymongo')]",
        ],
    )
    assert used == ["Vega"] * len(used)
    assert started == [], "by importing db_plugins"
    assert loaded == []


def test_mongodb_in_memory_with_its_extra(room: Room) -> None:
    assert ask(room(MONGO, "mongomock-ng"), ["use({'ENGINE': 'mongomock', 'DB_NAME': 'a'})"]) == ["Vega"]


def test_awaited_with_their_extras(room: Room) -> None:
    assert ask(room(CORE, "greenlet"), ["use_async({'ENGINE': 'memory'})"]) == ["Vega"]
    assert ask(room(SQL, "greenlet", "aiosqlite"), ["use_async('sqlite://')"]) == ["Vega"]


def test_the_program_of_the_core_alone(room: Room, tmp_path: Path) -> None:
    core = room(CORE)
    (tmp_path / "pyproject.toml").touch()
    assert python(core, DBP, "--version", cwd=tmp_path) == f"dbp {db_plugins.__version__}\n"
    assert "made  settings.py" in python(core, DBP, "init", cwd=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"pyproject.toml", "settings.py", "models.py"}
    told = python(core, DBP, "initdb", cwd=tmp_path)
    assert "no installed plugin answers to 'sqlite'\nhint: pip install db-plugins-sql\n" in told
    assert "memory" in python(core, DBP, "plugins", cwd=tmp_path)


# -- what is missing, and the line to type ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Missing:
    """An expression, and the error that it must end in: its class, a part of the fact, and the start of the remedy."""

    source: str
    error: str
    fact: str
    hint: str

    def __str__(self) -> str:
        return self.source


def extra(name: str, distribution: str = CORE) -> str:
    return f'pip install "{distribution}[{name}]"'


def no_plugin(word: str, hint: str, *, source: str = "") -> Missing:
    source = source or f"use({{'ENGINE': {word!r}, 'DB_NAME': 'a'}})"
    return Missing(source, "EngineNotFoundError", f"no installed plugin answers to {word!r}", hint)


def no_driver(source: str, fact: str, hint: str) -> Missing:
    return Missing(source, "ConfigError", fact, hint)


WITH_THE_CORE = [
    *(no_plugin(name, line) for name, line in PIP_LINES.items()),
    *(
        no_plugin(
            scheme.partition("+")[0],
            PIP_LINES[scheme.partition("+")[0]],
            source=f"use('{scheme}://u:p@[::1]/a')",
        )
        for scheme in ("sqlite", "postgres", "postgresql+asyncpg", "mysql+pymysql", "mongodb", "mongodb+srv")
    ),
    no_plugin("MONGO", PIP_LINES["mongo"], source="use({'PLUGIN': 'MONGO', 'ENGINE': 'x'})"),
    no_plugin("sqllite", "did you mean 'sqlite' or 'sql'? installed plugins answer to: memory; install the"),
    no_plugin(
        "oracle", "installed plugins answer to: memory; install the distribution of the plugin you need"
    ),
    Missing(
        "use_async({'ENGINE': 'memory'})",
        "ConfigError",
        "connect_async needs the package greenlet",
        extra("async"),
    ),
    Missing(
        "load('db_plugins.models').schemas(Star)", "ConfigError", "schemas needs Pydantic", extra("schemas")
    ),
    Missing(
        "load('db_plugins.sqlmodel')", "ConfigError", "db_plugins.sqlmodel needs SQLModel", extra("sqlmodel")
    ),
    Missing(
        "load('db_plugins.fastapi')", "ConfigError", "db_plugins.fastapi needs FastAPI", extra("fastapi")
    ),
    Missing("memory().to_arrow()", "UnsupportedOperationError", "to_arrow needs pyarrow", extra("frames")),
    Missing("memory().to_pandas()", "UnsupportedOperationError", "to_pandas needs pandas", extra("frames")),
    Missing(
        "load('db_plugins.testing').PluginConformance",
        "ConfigError",
        "db_plugins.testing.PluginConformance needs pytest",
        extra("testing"),
    ),
    Missing(
        "load('db_plugins.testing.fuzz.__main__')", "ConfigError", "fuzz needs hypothesis", extra("testing")
    ),
]
WITH_SQL = [
    no_plugin("mongodb", PIP_LINES["mongodb"]),
    no_driver("use('postgresql://u:p@[::1]/a')", "no driver for postgresql", extra("postgresql", SQL)),
    no_driver("use('postgres://u:p@[::1]/a')", "no driver for postgres", extra("postgresql", SQL)),
    no_driver(
        "use('postgresql+asyncpg://u:p@[::1]/a')", "no driver for postgresql", extra("postgresql", SQL)
    ),
    no_driver("use('postgresql+psycopg://u:p@[::1]/a')", "no module 'psycopg'", extra("postgresql", SQL)),
    no_driver(
        "use('postgresql+psycopg2://u:p@[::1]/a')", "no module 'psycopg2'", "pip install psycopg2-binary"
    ),
    no_driver("use('postgresql+pg8000://u:p@[::1]/a')", "no module 'pg8000'", "pip install pg8000"),
    no_driver("use('mysql://u:p@[::1]/a')", "no driver for mysql", extra("mysql", SQL)),
    no_driver("use('mariadb+pymysql://u:p@[::1]/a')", "no module 'pymysql'", extra("mysql", SQL)),
    no_driver("use('mysql+mysqldb://u:p@[::1]/a')", "no module 'MySQLdb'", "pip install mysqlclient"),
    no_driver(
        "use({'PLUGIN': 'sql', 'URL': 'oracle+oracledb://u:p@[::1]/a'})", "'oracledb'", "pip install oracledb"
    ),
    Missing(
        "use_async('sqlite://')", "ConfigError", "connect_async needs the package greenlet", extra("async")
    ),
]
WITH_SQL_AND_GREENLET = [
    no_driver("use_async('sqlite://')", "no asynchronous driver for sqlite", extra("sqlite-async", SQL)),
    no_driver("use_async('sqlite+aiosqlite://')", "no module 'aiosqlite'", extra("sqlite-async", SQL)),
    no_driver(
        "use_async('postgresql://u:p@[::1]/a')", "no asynchronous driver", extra("postgresql-async", SQL)
    ),
    no_driver("use_async('postgresql+asyncpg://u:p@[::1]/a')", "'asyncpg'", extra("postgresql-async", SQL)),
    no_driver(
        "use_async('postgresql+psycopg://u:p@[::1]/a')", "no module 'psycopg'", extra("postgresql", SQL)
    ),
    no_driver("use_async('mysql://u:p@[::1]/a')", "no asynchronous driver", extra("mysql-async", SQL)),
    no_driver("use_async('mysql+asyncmy://u:p@[::1]/a')", "no module 'asyncmy'", extra("mysql-async", SQL)),
    no_driver("use_async('mysql+aiomysql://u:p@[::1]/a')", "no module 'aiomysql'", "pip install aiomysql"),
]
WITH_MONGO = [
    no_plugin("sqlite", PIP_LINES["sqlite"]),
    Missing(
        "use({'ENGINE': 'mongomock', 'DB_NAME': 'a'})",
        "PluginLoadError",
        "needs mongomock-ng, which is not installed",
        extra("mock", MONGO),
    ),
    Missing(
        "use_async('mongodb://[::1]/a')",
        "ConfigError",
        "connect_async needs the package greenlet",
        extra("async"),
    ),
]
WITHOUT_PYMONGO = [
    Missing(
        "use('mongodb://[::1]/a')",
        "PluginLoadError",
        "the module 'pymongo' is not installed",
        "pip install db-plugins-mongo",
    ),
]
TABLES: dict[str, tuple[Callable[[Room], Path], list[Missing]]] = {
    "core": (lambda room: room(CORE), WITH_THE_CORE),
    "sql": (lambda room: room(SQL), WITH_SQL),
    "sql and greenlet": (lambda room: room(SQL, "greenlet"), WITH_SQL_AND_GREENLET),
    "mongo": (lambda room: room(MONGO), WITH_MONGO),
    "mongo without pymongo": (lambda room: room(MONGO, without="pymongo"), WITHOUT_PYMONGO),
}


@pytest.mark.parametrize("installed", TABLES)
def test_what_is_missing_is_named_with_the_line_to_type(installed: str, room: Room) -> None:
    make, table = TABLES[installed]
    wrong = {}
    for each, found in zip(table, ask(make(room), map(str, table)), strict=True):
        match found:
            case [each.error, str(fact), str(hint)] if each.fact in fact and hint.startswith(each.hint):
                pass
            case _:
                wrong[each.source] = found
    assert not wrong


def test_a_driver_that_is_there_without_its_library_is_said_to_be(room: Room, tmp_path: Path) -> None:
    (tmp_path / "psycopg.py").write_text("raise ImportError('no pq wrapper available.\\nAttempts made: …')")
    source = f"sys.path.insert(0, {str(tmp_path)!r}) or use('postgresql://u:p@[::1]/a')"
    assert ask(room(SQL), [source]) == [
        [
            "ConfigError",
            "the driver of postgresql cannot be loaded: no pq wrapper available.",
            extra("postgresql", SQL),
        ]
    ]
