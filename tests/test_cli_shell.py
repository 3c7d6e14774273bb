"""``dbp shell``: its names, its statements and programs, its prompts at a pseudo-terminal."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from db_plugins import shell
from db_plugins.cli.app import dbp
from db_plugins.database import Database

MODELS = """
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Star(Base):
    __tablename__ = "stars"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20), unique=True)
"""
CLASHING = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Star(Base):
    __tablename__ = "old_stars"
    id: Mapped[int] = mapped_column(primary_key=True)

class db(Base):
    __tablename__ = "d"
    id: Mapped[int] = mapped_column(primary_key=True)
"""
ONE = '{"stars": {"ENGINE": "memory"}}'
FILE = '{"stars": {"ENGINE": "sqlite", "DB_NAME": "stars.db"}}'
TWO = '{"A": {"ENGINE": "memory"}, "B": {"ENGINE": "memory", "DB_NAME": "b"}}'


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with one entry in memory, in the current folder."""
    for name in list(os.environ):
        if name.startswith("DB_") or name in ("DATABASE_URL", "DBP_SETTINGS"):
            monkeypatch.delenv(name)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "models.py").write_text(MODELS)
    settle(tmp_path, ONE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def settle(project: Path, config: str, models: str = "['models']") -> None:
    (project / "settings.py").write_text(f"DB_CONFIG = {config}\nMODELS = {models}\n")


def run(*arguments: str, typed: str | None = None) -> Result:
    done = CliRunner().invoke(dbp, ["shell", *arguments], input=typed)
    assert "Traceback" not in done.output
    return done


# -- statements and programs -------------------------------------------------------------------------------------------


def test_a_statement_finds_db_and_the_models(project: Path) -> None:
    done = run(
        "-c",
        "db.create_all(); db.query(Star).insert({'name': 'Vega'}); print(db.query(Star).count(), db.name)",
    )
    assert (done.exit_code, done.stdout, done.stderr) == (
        0,
        "1 stars\n",
        f"settings: {project / 'settings.py'}\n",
    )


def test_a_program_on_standard_input_finds_the_words_of_filters() -> None:
    program = """
db.create_all()
for name in ("Vega", "Deneb", "Rigel"):
    db.query(Star).insert(Star(name=name))

def names(*conditions):
    return [star.name for star in db.query(Star).filter(*conditions).order_by("name").all()]

if __name__ == "__main__":
    print(names(or_(Star.name == "Vega", and_(Star.id > 1, not_(Star.name == "Rigel")))))
    print(db.query(Star).aggregate(n=func.count()), databases["stars"] is db)
"""
    done = run(typed=program)
    assert (done.exit_code, done.stdout) == (0, "['Deneb', 'Vega']\n{'n': 3} True\n")


def test_nothing_on_standard_input_is_an_empty_program() -> None:
    assert (run(typed="").exit_code, run(typed="").stdout) == (0, "")


def test_await_is_understood_on_one_loop(project: Path) -> None:
    settle(project, FILE)
    program = """
import asyncio
await adb.create_all()
await asyncio.gather(*(adb.query(Star).insert({"name": name}) for name in "abc"))
print(await adb.query(Star).count(), db.query(Star).count())
"""
    done = run(typed=program)
    assert (done.exit_code, done.stdout) == (0, "3 3\n"), done.stderr


def test_connections_are_closed_at_the_end_and_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    close = Database.close

    def noting(self: Database) -> None:
        closed.append(self.name)
        close(self)

    monkeypatch.setattr(Database, "close", noting)
    run("-c", "pass")
    assert closed == ["stars"]
    assert run("-c", "1/0").exit_code == 1
    assert closed == ["stars", "stars"]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("1/0", "error: ZeroDivisionError: division by zero\nhint: --verbose shows where\n"),
        ("print(", "error: SyntaxError: '(' was never closed (<command line>, line 1)\nhint: "),
        ("db.query(int)", "error: int is not a mapped class\nhint: "),
        ("await adb.query(int).all()", "error: int is not a mapped class\nhint: "),
        ("nothing", "error: NameError: name 'nothing' is not defined\nhint: "),
    ],
)
def test_an_exception_is_one_line_and_a_hint(statement: str, said: str) -> None:
    done = run("-c", statement)
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr


def test_verbose_shows_the_line_of_the_program() -> None:
    done = CliRunner().invoke(dbp, ["shell", "--verbose"], input="x = 1\n1/0\n")
    assert 'File "<stdin>", line 2, in <module>' in done.stderr


def test_the_exit_code_is_the_programs_own() -> None:
    assert run("-c", "exit(7)").exit_code == 7
    assert run("-c", "raise SystemExit").exit_code == 0
    assert run("-c", "raise KeyboardInterrupt").exit_code == 130


def test_json_is_wrong_usage() -> None:
    done = run("--json", "-c", "print(1)")
    assert done.exit_code == 2
    assert "no JSON document" in done.stdout


def test_models_that_cannot_be_imported_are_reported_before_anything_runs(project: Path) -> None:
    (project / "models.py").write_text("import nothing_like_it\n")
    done = run("-c", "print('ran')")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "models.py:1: ModuleNotFoundError: No module named 'nothing_like_it'" in done.stderr


# -- which database ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "chosen"), [(["A"], "A"), (["A", "default"], "default"), (["A", "B"], None), ([], None)]
)
def test_which_entry_is_db(names: list[str], chosen: str | None) -> None:
    assert shell.choose(names) == chosen


def test_several_entries_without_a_default_have_no_db(project: Path) -> None:
    settle(project, TWO)
    assert run("-c", "print(list(databases))").stdout == "['A', 'B']\n"
    done = run("-c", "print(db)")
    assert done.exit_code == 1
    assert (
        "error: there is no 'db', for no entry is called 'default'\nhint: use one of databases[…], A, B"
        in done.stderr
    )
    assert (
        run("--database", "B", "-c", "print(db, list(databases))").stdout == "<Database 'B': memory> ['B']\n"
    )


def test_an_entry_that_cannot_be_used_is_told_and_left_out(project: Path) -> None:
    settle(project, '{"A": {"ENGINE": "memory"}, "gone": {"ENGINE": "memory", "PORT": "x"}}')
    done = run("-c", "print(list(databases))")
    assert (done.exit_code, done.stdout) == (0, "['A']\n")
    assert "note: gone is left out: " in done.stderr
    assert "PORT" in done.stderr
    # `db` is never another entry than it would be if all could be used.
    assert run("-c", "print(db)").exit_code == 1


def test_if_no_entry_can_be_used_that_is_the_error(project: Path) -> None:
    settle(project, '{"gone": {"ENGINE": "memory", "PORT": "x"}}')
    done = run("-c", "print(1)")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "error: the settings are not valid" in done.stderr


# -- names -------------------------------------------------------------------------------------------------------------


def test_models_that_are_called_like_something_else_get_an_underscore_and_are_told(project: Path) -> None:
    (project / "archive.py").write_text(CLASHING)
    settle(project, ONE, "['models', 'archive']")
    done = run("-c", "print(Star.__module__, Star_.__module__, db_.__name__, type(db).__name__)")
    assert done.stdout == "models archive db Database\n"
    assert "note: the model archive.Star is Star_ here, for models.Star has that name\n" in done.stderr
    assert "note: the model archive.db is db_ here, for the shell's own 'db' has that name\n" in done.stderr


def test_the_banner_says_what_there_is() -> None:
    class Star:
        pass

    names, notes = shell.make_names({"A": None, "B": None}, None, None, [Star])  # type: ignore[dict-item]
    assert notes == []
    assert shell.banner("settings.py", names, address=None).splitlines()[1:] == [
        '  db         is not here, for no entry is called "default": use databases["A"], or start with',
        "             --database",
        "  databases  A, B",
        "  models     Star",
        "  also       and_, or_, not_, func",
        "Ctrl-D leaves.",
    ]


# -- prompts -----------------------------------------------------------------------------------------------------------


def _at_a_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # which a run in the background ignores, and its children with it


class Terminal:
    """``dbp shell`` at a pseudo-terminal, which is its controlling one: Ctrl-C interrupts."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        self.master, slave = pty.openpty()
        self.said = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "db_plugins", "shell", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_at_a_terminal,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "TERM": "dumb",
                "COLUMNS": "100",
                **variables,
            },
        )
        os.close(slave)

    def wait_for(self, pattern: str) -> str:
        """All that is said until this is; fails after 30 seconds."""
        end = time.monotonic() + 30
        while not re.search(pattern, self.said):
            assert select.select([self.master], [], [], max(0, end - time.monotonic()))[0], self.said
            try:
                self.said += os.read(self.master, 4096).decode().replace("\r", "")
            except OSError:  # the other end is closed
                raise AssertionError(self.said) from None
        said, self.said = self.said, ""
        return said

    def type(self, text: str, until: str) -> str:
        os.write(self.master, text.encode())
        return self.wait_for(until)

    def end(self) -> int:
        """Ctrl-D, once more each second: one that comes while the line before it is still worked on may be lost."""
        for _ in range(30):
            os.write(self.master, b"\x04")
            with suppress(subprocess.TimeoutExpired):
                return self.process.wait(timeout=1)
        raise AssertionError(self.said)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


def test_the_standard_prompt(project: Path) -> None:
    settle(project, FILE)
    with Terminal("--plain") as terminal:
        said = terminal.wait_for(">>> $")
        assert f"settings {project / 'settings.py'}" in said
        assert "  db         stars: sqlite, " in said
        assert "  models     Star\n" in said
        terminal.type("db.create_all()\n", ">>> $")
        assert "id=1" in terminal.type(
            'print(f\'id={db.query(Star).insert({"name": "Vega"}).id}\')\n', ">>> $"
        )
        said = terminal.type("db.query(Star).insert({'name': 'Vega'})\n", ">>> $")
        assert "DuplicateKeyError: a Star with the same name is already there" in said
        assert "Traceback" not in said
        said = terminal.type("1/0\n", ">>> $")
        assert 'Traceback (most recent call last):\n  File "<shell>", line 1, in <module>\nZeroDiv' in said
        assert "\n1\n" in terminal.type(
            "await adb.query(Star).count()  # on a database of its own\n1\n", "1\n>>> $"
        )
        terminal.type("import time\n", ">>> $")
        os.write(terminal.master, b"print('goes'), time.sleep(60)\n")
        terminal.wait_for("\ngoes\n")
        assert "\nKeyboardInterrupt\n" in terminal.type("\x03", ">>> $")
        assert "\n2\n" in terminal.type("1 + 1\n", ">>> $")
        assert "db.query(" in terminal.type("db.que\t", r"db\.query\($")
        terminal.type("\x15\n", ">>> $")
        assert terminal.end() == 0


def test_the_prompt_is_left_with_an_exit_code() -> None:
    with Terminal("--plain") as terminal:
        terminal.wait_for(">>> $")
        os.write(terminal.master, b"exit(3)\n")
        assert terminal.process.wait(timeout=30) == 3


@pytest.mark.skipif(importlib.util.find_spec("IPython") is None, reason="IPython is not installed")
def test_the_prompt_of_ipython(project: Path, tmp_path: Path) -> None:
    settle(project, FILE)
    with Terminal(IPYTHONDIR=str(tmp_path / "ipython"), IPY_TEST_SIMPLE_PROMPT="1") as terminal:
        assert "  models     Star\n" in terminal.wait_for(r"In \[1\]: $")
        terminal.type("db.create_all()\n", r"In \[2\]: $")
        assert "Out[2]: 0" in terminal.type("db.query(Star).count()\n", r"In \[3\]: $")
        assert "Out[3]: False" in terminal.type("await adb.query(Star).exists()\n", r"In \[4\]: $")
        assert terminal.end() == 0


def test_ipython_is_not_imported_unless_it_gives_the_prompt() -> None:
    done = run("-c", "import sys; print('IPython' in sys.modules)")
    assert done.stdout == f"{'IPython' in sys.modules}\n"
