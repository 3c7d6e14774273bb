"""examples/events: one application on several databases, and the mistakes that its page shows, made and told as it says."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from fastapi.testclient import TestClient
from seeds import make_entry
from sqlalchemy.orm import sessionmaker

import db_plugins
from db_plugins.cli.app import dbp
from db_plugins.errors import InvalidValueError

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "events"
PAGE = ROOT / "docs" / "example-events.md"
#: The write-up's own URL.
MEMORY = "sqlite+pysqlite:///:memory:"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, the current one; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT)
    for variable in ("DATABASE_URL", "DB_DRIVER", "DBP_SETTINGS"):
        monkeypatch.delenv(variable, raising=False)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    forget()


def forget() -> None:
    """Import a copy of the example anew, as a new process does; of its models, which may be faulty, nothing is left."""
    if database := sys.modules.get("events.database"):
        database.Base.registry.dispose()
    for name in list(sys.modules):
        if name.partition(".")[0] in ("events", "models", "database"):
            del sys.modules[name]
    importlib.invalidate_caches()


def module(name: str) -> ModuleType:
    return importlib.import_module(f"examples.events.{name}")


# -- the application ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("folder")
def test_only_the_configuration_differs(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """001-20: SQLite in memory and in a file, PostgreSQL, MariaDB and MongoDB answer the same. 001-01: a URL in three parts.
    001-21: a value that looks like SQL is stored as it is, and one that looks like an operator is refused."""
    outputs = {}
    monkeypatch.setenv("DATABASE_URL", MEMORY)
    module("tour").main()
    outputs["memory"] = capsys.readouterr().out.splitlines()
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("DBP_SETTINGS", str(tmp_path / "settings.py"))
    for engine in ("sqlite", "postgresql", "mariadb", "mongodb"):
        entry = make_entry(engine, request, tmp_path)
        (tmp_path / "settings.py").write_text(f"DB_CONFIG = {{'default': {entry!r}}}\n", encoding="utf-8")
        module("tour").main()
        outputs[engine] = capsys.readouterr().out.splitlines()
    for engine, output in outputs.items():
        assert output == outputs["memory"], engine
    statuses = [int(line.split()[2]) for line in outputs["memory"]]
    assert statuses == [
        *(201, 201, 409, 201, 201, 201, 409, 422, 422),
        *(200, 200, 200, 200, 200, 204, 404, 200, 404),
    ]
    assert sum("'; drop table users;--" in line for line in outputs["memory"]) == 2, "stored, and read"
    shown = re.findall(r"^(?:POST|GET|DELETE) /.*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    for line in shown:
        begin, _, end = line.partition("…")
        assert any(each.startswith(begin) and each.endswith(end) for each in outputs["memory"]), line


def test_the_application_holds_no_sql() -> None:
    """001-22: reading and writing without SQL text."""
    words = re.compile(
        r"\b(select\s.+\sfrom|insert\s+into|update\s.+\sset|delete\s+from|create\s+table)\b", re.I
    )
    for path in EXAMPLE.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not words.search(text), path.name
        assert "text(" not in text, path.name


def test_a_database_in_memory_is_one_for_all_threads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """001-E7: the tables that were made at start are there in every worker's thread; plain SQLAlchemy says "no such table"."""
    monkeypatch.setenv("DATABASE_URL", MEMORY)
    with TestClient(module("main").app) as client, ThreadPoolExecutor(8) as threads:
        statuses = threads.map(
            lambda n: client.post("/users", json={"email": f"{n}@example.org"}).status_code, range(24)
        )
        assert set(statuses) == {201}
        assert client.app.state.db_plugins.db().query(module("models").User).count() == 24
    assert not list(folder.iterdir()), "no file"


def test_flags_of_a_sessionmaker_are_sqlalchemys(folder: Path) -> None:
    """001-E8: those of the write-up are fine; ``autocommit=True`` is the ArgumentError that it is without us."""
    models = module("models")
    with db_plugins.connect(MEMORY, models=[models.User, models.Event]) as db:
        bind = db.native.execution_options(isolation_level="SERIALIZABLE")
        sessionmaker(autocommit=False, autoflush=False, bind=bind)().close()
        with pytest.raises(sa.exc.ArgumentError, match="autocommit"):
            sessionmaker(autocommit=True, bind=bind)()


def test_a_third_status_is_refused_at_the_write(folder: Path) -> None:
    """001-E9: and not found when it is read."""
    models = module("models")
    with db_plugins.connect(MEMORY, models=[models.User, models.Event]) as db:
        db.create_all()
        with pytest.raises(InvalidValueError, match=r"Event\.social_status"):
            db.query(models.Event).insert({"title": "Ball", "social_status": "bogus"})
        assert db.query(models.Event).count() == 0


# -- its mistakes ------------------------------------------------------------------------------------------------------

DIFF = re.compile(r"^```diff\n--- events/(\S+)\n((?:[-+].*\n)+)```$", re.MULTILINE)
SAID = re.compile(r"^<!-- (001-E\d) -->\n```console\n\$ dbp initdb\n((?:(?!```).*\n)*)```$", re.MULTILINE)


@dataclass(frozen=True)
class Mistake:
    """What the page has of one: which file, what was there, what the reader wrote, what the program says."""

    title: str
    row: str
    file: str
    right: str
    wrong: str
    said: str


def mistakes() -> list[Mistake]:
    """One for each section of the page that has a diff."""
    found = []
    for section in PAGE.read_text(encoding="utf-8").split("\n### ")[1:]:
        diff, said = DIFF.search(section), SAID.search(section)
        if diff and said:
            lines = diff[2].splitlines(keepends=True)
            right, wrong = ("".join(line[1:] for line in lines if line[0] == sign) for sign in "-+")
            found.append(Mistake(section.partition("\n")[0], said[1], diff[1], right, wrong, said[2]))
    return found


def make(mistake: Mistake, folder: Path) -> None:
    """A copy of the example with this mistake, and settings."""
    shutil.copytree(EXAMPLE, folder / "events", ignore=shutil.ignore_patterns("__pycache__"))
    loaded = "events.main" if mistake.file == "main.py" else "events.models"
    settings = (
        f'DB_CONFIG = {{"SQL": {{"ENGINE": "sqlite", "DB_NAME": "events.db"}}}}\nMODELS = ["{loaded}"]\n'
    )
    (folder / "settings.py").write_text(settings, encoding="utf-8")
    file = folder / "events" / mistake.file
    if not mistake.right:
        file.write_text(mistake.wrong, encoding="utf-8")
        return
    text = file.read_text(encoding="utf-8")
    assert text.count(mistake.right) == 1, mistake.title
    file.write_text(text.replace(mistake.right, mistake.wrong), encoding="utf-8")


def test_the_page_shows_a_mistake_of_each_row() -> None:
    rows = [mistake.row for mistake in mistakes()]
    assert set(rows) == {f"001-E{n}" for n in range(1, 7)}
    assert len(rows) == PAGE.read_text(encoding="utf-8").count("<!-- 001-E") == 11


@pytest.mark.parametrize("mistake", mistakes(), ids=lambda m: f"{m.row} {m.title}")
def test_a_mistake_is_told_as_the_page_says(
    mistake: Mistake, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """001-E1: the misspelt attribute and its class. 001-E2: ``sqlalchemy.Enum``, file and line. 001-E3: both classes and the
    column that is missing. 001-E4: with the nearest name. 001-E5: file and line. 001-E6: the error itself, and the
    setting that led there. By initdb and by make_migrations; the exit code is 1, and there is no database."""
    make(mistake, folder)
    if mistake.file == "settings.py":
        (folder / "settings.py").unlink()
        monkeypatch.chdir(folder / "events")
    for command in ("initdb", "make_migrations"):
        forget()
        done = CliRunner().invoke(dbp, [command])
        assert done.exit_code == 1
        said = re.sub(r"\Asettings: .*\n", "", done.output).replace(str(folder), "/home/ann")
        said = said.replace("error: SQL: ", "error: ")  # make_migrations names the entry, too
        # 3.12 and later go on here: "…; specify `names=()` if you meant to create a new, empty, enum".
        said = re.sub(r"(?<=has no members)[^\n]*", " defined", said)
        # Before 3.11.4 it was a ValueError, whose words may hold a value and are not shown.
        said = re.sub(
            r"ValueError$", "TypeError: <enum 'Enum'> has no members defined", said, flags=re.MULTILINE
        )
        assert said == mistake.said, command
    assert not list(folder.rglob("events.db"))
    assert not list(folder.rglob("migrations"))
