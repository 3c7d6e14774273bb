"""``dbp copy``, ``verify``, ``load`` and ``dump``: what they say, on which stream, and how they end."""

from __future__ import annotations

import gzip
import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from db_plugins.cli.app import dbp

SECRET = "s3cr3t@:/p%"
STARS = [(n, f"star {n}", n / 4) for n in range(1, 26)]

MODELS = """
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Star(Base):
    __tablename__ = "stars"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    mag: Mapped[float | None]

class Planet(Base):
    __tablename__ = "planets"
    id: Mapped[int] = mapped_column(primary_key=True)
    star_id: Mapped[int] = mapped_column(ForeignKey("stars.id"))
"""
CREATE = (
    "CREATE TABLE stars (id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL, mag FLOAT, CONSTRAINT u UNIQUE (name));"
    "CREATE TABLE planets (id INTEGER PRIMARY KEY, star_id INTEGER NOT NULL REFERENCES stars (id));"
)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project of three entries, which is the current folder: ``old`` has rows, ``new`` empty tables, ``far`` no server."""
    for name in list(os.environ):
        if name.startswith("DB_") or name in ("DATABASE_URL", "DBP_SETTINGS"):
            monkeypatch.delenv(name)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "models.py").write_text(MODELS)
    config = {
        "old": {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "old.db")},
        "new": {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "new.db")},
        "far": {
            "ENGINE": "postgresql",
            "HOST": "127.0.0.1",
            "PORT": 1,
            "USER": "ann",
            "PASSWORD": SECRET,
            "DB_NAME": "stars",
        },
    }
    (tmp_path / "settings.py").write_text(f"DB_CONFIG = {config!r}\nMODELS = ['models']\n")
    for name in ("old", "new"):
        with closing(sqlite3.connect(tmp_path / f"{name}.db")) as connection:
            connection.executescript(CREATE)
    write("old", "INSERT INTO stars VALUES (?, ?, ?)", STARS, folder=tmp_path)
    write("old", "INSERT INTO planets VALUES (?, ?)", [(1, 3), (2, 3)], folder=tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def write(name: str, statement: str, rows: Any = ((),), folder: Path | None = None) -> None:
    with closing(sqlite3.connect((folder or Path.cwd()) / f"{name}.db")) as connection:
        connection.executemany(statement, rows)
        connection.commit()


def read(name: str, what: str = "SELECT id, name, mag FROM stars ORDER BY id") -> list[Any]:
    with closing(sqlite3.connect(f"{name}.db")) as connection:
        return connection.execute(what).fetchall()


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    done = CliRunner().invoke(dbp, arguments, input=stdin)
    assert "Traceback" not in done.output
    assert SECRET not in done.output
    return done


def shown(done: Result) -> list[str]:
    """The lines on standard error after the one that names the settings."""
    first, *lines = done.stderr.splitlines()
    assert first.startswith("settings: ")
    return lines


def told(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = run(*arguments, "--json")
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return done.exit_code, found


# -- copy and verify ---------------------------------------------------------------------------------------------------


def test_a_copy_says_what_it_did_and_progress_goes_to_standard_error() -> None:
    done = run("copy", "old", "new")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "old → new: 27 rows of 2 models: 27 inserted",
        "verified: counts and checksums of every model are equal",
    ]
    assert [line.partition(" in ")[0] for line in shown(done)] == [
        "copied Star: 25 rows",
        "copied Planet: 2 rows",
        "compared Star: 50 rows of both sides",
        "compared Planet: 4 rows of both sides",
    ]
    assert "\r" not in done.stderr
    assert read("new") == STARS
    assert read("new", "SELECT name FROM sqlite_master WHERE name LIKE 'dbp%'") == []


def test_quiet_leaves_the_progress_out() -> None:
    done = run("copy", "old", "new", "--quiet")
    assert (done.exit_code, shown(done)) == (0, [])


def test_a_copy_of_some_models_and_without_comparison() -> None:
    done = run("copy", "old", "new", "Star", "--no-verify", "--batch-size", "10")
    assert done.stdout == "old → new: 25 rows of 1 model: 25 inserted\n"
    assert (len(read("new")), read("new", "SELECT * FROM planets")) == (25, [])


def test_a_copy_as_json() -> None:
    code, found = told("copy", "old", "new")
    assert (code, found["ok"], found["source"], found["target"]) == (0, True, "old", "new")
    assert found["models"]["Star"] == {"rows": 25, "inserted": 25, "updated": 0, "ignored": 0, "skipped": 0}
    verified = found["verified"]["Star"]
    assert (verified["ok"], verified["rows"], verified["differences"]) == (True, 25, [])
    assert verified["checksum"] == verified["target_checksum"]


def test_a_copy_makes_the_tables_first_if_asked(project: Path) -> None:
    (project / "new.db").unlink()
    failed = run("copy", "old", "new")
    assert failed.exit_code == 1
    assert "initdb" in failed.stderr
    done = run("copy", "old", "new", "--initdb")
    assert done.exit_code == 0
    assert read("new") == STARS


def test_a_dry_run_names_what_cannot_be_carried_and_fails() -> None:
    write("old", "INSERT INTO planets VALUES (9, 99)")
    done = run("copy", "old", "new", "--dry-run", "--quiet")
    assert done.exit_code == 1
    assert "26 of 27" not in done.stdout
    assert "27 of 28 rows of 2 models can be copied" in done.stdout
    assert "Planet 9: Planet.star_id names no Star" in done.stdout
    assert "1 row cannot be carried" in done.stderr
    assert read("new") == []
    code, found = told("copy", "old", "new", "--dry-run")
    assert (code, found["ok"]) == (1, False)
    assert found["unfit"] == ["Planet 9: Planet.star_id names no Star"]


def test_a_row_that_cannot_be_carried_stops_the_copy_and_resume_leaves_it_aside(project: Path) -> None:
    write("old", "INSERT INTO planets VALUES (9, 99)")
    done = run("copy", "old", "new", "--quiet")
    assert done.exit_code == 1
    assert "(Planet 9)" in done.stderr
    again = run("copy", "old", "new", "--quiet")
    assert again.exit_code == 1
    assert "--resume" in again.stderr
    done = run("copy", "old", "new", "--quiet", "--resume", "--skip-invalid", "bad.jsonl")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "old → new: 28 rows of 2 models: 2 inserted, 1 skipped, 25 before",
        "verified: new differs only as this copy was told to leave it, in Planet (3 and 2 rows)",
    ]
    [line] = (project / "bad.jsonl").read_text().splitlines()
    assert json.loads(line)["key"] == 9


def test_conflicts_are_ignored_or_updated() -> None:
    write("new", "INSERT INTO stars VALUES (3, 'mine', NULL)")
    done = run("copy", "old", "new", "Star", "--quiet")
    assert done.exit_code == 1
    assert "(Star 3)" in done.stderr
    code, found = told("copy", "old", "new", "Star", "--on-conflict", "ignore")
    assert (code, found["models"]["Star"]["ignored"]) == (0, 3)  # the two before it were stored
    assert read("new")[2] == (3, "mine", None)
    code, found = told("copy", "old", "new", "--on-conflict", "update")
    assert (code, found["models"]["Star"]["updated"]) == (0, 25)
    assert read("new") == STARS


def test_verify_says_that_two_are_the_same_or_names_the_keys() -> None:
    run("copy", "old", "new", "--quiet")
    done = run("verify", "old", "new", "--quiet")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0].startswith("Star: 25 rows, checksum ")
    assert done.stdout.splitlines()[-1] == "old and new are the same"
    write("new", "UPDATE stars SET mag = 7 WHERE id = 4")
    write("new", "DELETE FROM planets WHERE id = 1")
    done = run("verify", "old", "new", "--quiet")
    assert done.exit_code == 1
    assert "old and new differ in Star (25 and 25 rows), Planet (2 and 1 rows)" in done.stderr
    for text in ("Star 4 differs in mag", "Planet 1 is missing"):
        assert text in done.stderr
    code, found = told("verify", "old", "new")
    assert (code, found["ok"]) == (1, False)
    assert found["models"]["Planet"]["differences"] == ["Planet 1 is missing"]
    assert run("verify", "old", "new", "Planet", "--quiet").exit_code == 1


# -- what is asked wrongly ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["copy", "old", "nwe"], 1, "'new'"),
        (["copy", "old", "old"], 1, "FROM and TO are both old"),
        (["copy", "old", "new", "Sta"], 1, "'Star'"),
        (["copy", "old"], 2, "TO"),
        (["copy", "old", "new", "--on-conflict", "merge"], 2, "ignore"),
        (["copy", "old", "new", "--batch-size", "0"], 2, "batch-size"),
        (["--database", "old", "copy", "old", "new"], 2, "--database"),
        (["verify", "old", "new", "Planets"], 1, "'Planet'"),
        (["dump", "Planit", "a.csv", "--database", "old"], 1, "'Planet'"),
        (["dump", "Star", "a.xls", "--database", "old"], 1, ".parquet"),
        (["dump", "Star", "a", "--format", "json", "--database", "old"], 1, "'jsonl'"),
        (["dump", "Star", "a.csv", "--column", "nam", "--database", "old"], 1, "'name'"),
        (["dump", "Star", "a.csv", "--column", "=x", "--database", "old"], 2, "--column"),
        (["dump", "Star", "-", "--format", "csv", "--json", "--database", "old"], 2, "one stream"),
        (["load", "none.csv", "Star", "--database", "old"], 1, "no file none.csv"),
        (["load", "stars.csv", "Star", "--database", "old", "--key", "nam"], 1, ""),
        (["copy", "old", "far"], 1, "127.0.0.1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_asked_wrongly_is_named(words: list[str], code: int, text: str) -> None:
    Path("stars.csv").write_text("id,nmae\n1,a\n")
    done = run(*words)
    assert text in done.stderr + done.stdout
    assert done.exit_code == code, done.output
    assert read("old") == STARS


# -- load and dump -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["stars.csv", "stars.tsv.zst", "stars.jsonl.gz", "stars.parquet"])
def test_what_is_dumped_is_loaded(file: str) -> None:
    done = run("dump", "Star", file, "--database", "old")
    assert (done.exit_code, done.stdout) == (0, f"old → {file}: 25 rows of Star\n")
    assert shown(done)[0].startswith("dumped Star: 25 rows in ")
    done = run("load", file, "Star", "--database", "new", "--batch-size", "10")
    assert (done.exit_code, done.stdout) == (0, f"{file} → new: 25 rows of Star: 25 inserted\n")
    assert shown(done)[0].startswith("loaded Star: 25 rows in ")
    assert read("new") == STARS


def test_standard_streams() -> None:
    done = run("dump", "Star", "-", "--format", "csv.gz", "--database", "old")
    assert done.exit_code == 0
    text = gzip.decompress(done.stdout_bytes).decode()
    assert text.splitlines()[:2] == ['"id","name","mag"', '1,"star 1","0.25"']
    loaded = run("load", "-", "Star", "--format", "csv", "--database", "new", stdin=text.encode())
    assert loaded.exit_code == 0, loaded.output
    assert read("new") == STARS
    done = run("dump", "Star", "-", "--format", "parquet", "--database", "old", "--quiet")
    write("new", "DELETE FROM stars")
    loaded = run("load", "-", "Star", "--format", "parquet", "--database", "new", stdin=done.stdout_bytes)
    assert loaded.exit_code == 0, loaded.output
    assert read("new") == STARS


def test_a_file_that_is_there_is_kept_unless_forced(project: Path) -> None:
    (project / "stars.csv").write_text("mine")
    done = run("dump", "Star", "stars.csv", "--database", "old")
    assert done.exit_code == 1
    assert "--force" in done.stderr
    assert (project / "stars.csv").read_text() == "mine"
    assert run("dump", "Star", "stars.csv", "--database", "old", "--force").exit_code == 0
    assert len((project / "stars.csv").read_text().splitlines()) == 26


def test_columns_are_named_on_the_command_line() -> None:
    words = ["--column", "name=Name", "--column", "id"]
    run("dump", "Star", "stars.csv", "--database", "old", *words)
    assert Path("stars.csv").read_text().splitlines()[0] == '"Name","id"'
    done = run("load", "stars.csv", "Star", "--database", "new")
    assert done.exit_code == 1
    assert "--column Name=attribute" in done.stderr
    done = run("load", "stars.csv", "Star", "--database", "new", "--column", "Name=name", "--column", "id=")
    assert done.exit_code == 0
    assert [row[:2] for row in read("new")] == [row[:2] for row in STARS]


def test_bad_lines_are_named_or_put_aside() -> None:
    Path("stars.csv").write_text("id,name,mag\n1,a,0.5\n2,b,bright\n3,c,\n")
    done = run("load", "stars.csv", "Star", "--database", "new")
    assert done.exit_code == 1
    assert "line 3" in done.stderr
    assert "bright" not in done.stderr
    code, found = told("load", "stars.csv", "Star", "--database", "new", "--skip-invalid", "bad.jsonl")
    assert (code, found["inserted"], found["skipped"], found["rows"]) == (0, 2, 1, 3)
    assert read("new") == [(1, "a", 0.5), (3, "c", None)]
    assert json.loads(Path("bad.jsonl").read_text())["line"] == 3
    again = run("load", "stars.csv", "Star", "--database", "new", "--skip-invalid", "bad.jsonl")
    assert again.exit_code == 1
    assert "bad.jsonl is there already" in again.stderr


def test_a_load_that_meets_rows_by_another_key() -> None:
    Path("stars.jsonl").write_text('{"name": "star 3", "mag": 9}\n{"name": "new"}\n')
    words = ["load", "stars.jsonl", "Star", "--database", "old"]
    assert run(*words).exit_code == 1
    code, found = told(*words, "--on-conflict", "update", "--key", "name")
    assert (code, found["updated"], found["inserted"]) == (0, 1, 1)
    assert read("old")[2] == (3, "star 3", 9.0)


# -- terminals and interruptions ---------------------------------------------------------------------------------------


def test_a_terminal_is_shown_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    from db_plugins.cli import transferring

    monkeypatch.setattr(transferring, "_REDRAWN", 0.0)
    parent, child = pty.openpty()
    with os.fdopen(child, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        from db_plugins.cli.transferring import Meter
        from db_plugins.transfer import Progress

        class AsText:
            as_json = False

        with Meter(AsText(), quiet=False) as show:  # type: ignore[arg-type]
            show(Progress("copy", "Star", 50, 100, 2.0))
            show(Progress("copy", "Star", 100, 100, 4.0, is_last=True))
        terminal.flush()
        text = ""
        while "copied" not in text:  # a terminal gives what it has, in parts
            text += os.read(parent, 10_000).decode()
    os.close(parent)
    assert "\r\x1b[Kcopy Star [############------------]  50%  50 of 100 rows  25/s  2.0 s left" in text
    assert "\r\x1b[Kcopied Star: 100 rows in 4.0 s (25/s)" in text


def test_ctrl_c_leaves_a_copy_that_goes_on() -> None:
    rows = [(n, f"star {n}", None) for n in range(100, 6000)]
    write("old", "INSERT INTO stars VALUES (?, ?, ?)", rows)
    process = subprocess.Popen(
        [sys.executable, "-m", "db_plugins", "copy", "old", "new", "--batch-size", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A run in the background ignores it, and its children with it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(sqlite3.OperationalError):
            if read("new", "SELECT count(*) FROM stars")[0][0] > 20:
                break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in output + said
    assert "the same command with --resume goes on" in said
    there = len(read("new"))
    assert 20 < there < 5925
    done = run("copy", "old", "new", "--resume")
    assert done.exit_code == 0, done.output
    assert f"copied Star: 5,925 rows (from row {there:,})" in done.stderr or "(from row " in done.stderr
    assert len(read("new")) == 5925
