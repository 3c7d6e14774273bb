"""What somebody meets who moves data for the first time: each mistake is told with the fact, the evidence and what to do."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result

import db_plugins
from db_plugins import transfer
from db_plugins.cli.app import dbp

pytest.importorskip("pyarrow", reason="files are read and written by pyarrow")

SETTINGS = """
DB_CONFIG = {
    "A": {"ENGINE": "sqlite", "DB_NAME": "a.db"},
    "B": {"ENGINE": "sqlite", "DB_NAME": "b.db"},
    "DOWN": {"ENGINE": "mongodb", "HOST": "127.0.0.1", "PORT": 1, "DB_NAME": "x", "CONNECT_TIMEOUT": 1},
}
MODELS = ["models"]
"""
MODELS = """
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]

class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    title: Mapped[str]
"""
ROWS = 3_000


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The models of a project whose entry A has two authors and 3,000 books, and whose B has nothing, not even tables."""
    for name in list(os.environ):
        if name.startswith("DB_") or name in ("DATABASE_URL", "DBP_SETTINGS"):
            monkeypatch.delenv(name)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "settings.py").write_text(SETTINGS)
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "settings.py").chmod(0o644)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("models", None)
    found = importlib.import_module("models")
    with db_plugins.connect("A") as db:
        db.create_all()
        db.query(found.Author).bulk_insert([{"id": n, "name": f"Author {n}"} for n in (1, 2)])
        db.query(found.Book).bulk_insert(
            [{"id": n, "author_id": 1, "title": f"Book {n}"} for n in range(1, ROWS + 1)]
        )
    yield found
    sys.modules.pop("models", None)


def run(*arguments: str, code: int) -> Result:
    done = CliRunner().invoke(dbp, arguments)
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done


def test_tables_that_are_not_there_are_told_of_their_side() -> None:
    said = run("copy", "A", "B", code=1).output
    assert "error: B: the table of Author is not there\nhint: --initdb makes it" in said
    assert "B: the table of Author is not there" in run("verify", "A", "B", code=1).output


def test_a_server_that_is_down_is_named_and_nothing_is_said_to_be_done() -> None:
    for command in ("copy", "verify"):
        said = run(command, "A", "DOWN", code=1).output
        assert "error: DOWN: mongodb at 127.0.0.1:1" in said
        assert "--resume" not in said


def test_what_initdb_made_is_said() -> None:
    said = run("copy", "A", "B", "--initdb", code=0).output
    assert "B (sqlite, b.db): made Author, Book; wrote migrations/B/versions/initial.py" in said
    assert f"A → B: {ROWS + 2:,} rows of 2 models: {ROWS + 2:,} inserted" in said


def test_a_target_with_rows_is_told_with_the_first_key_and_the_ways_out() -> None:
    run("copy", "A", "B", "--initdb", code=0)
    for _again in range(2):  # the copy that failed is not in the way of the next
        said = run("copy", "A", "B", code=1).output
        assert "with the same id is already there (Author 1)" in said
        assert "--on-conflict" in said
    dry = run("copy", "A", "B", "--dry-run", code=1).output
    assert "Author 1: a Author with this key is already there" in dry
    assert f"{ROWS + 2:,} rows cannot be carried" in dry


def test_rows_that_were_there_are_not_called_copied() -> None:
    run("copy", "A", "B", "--initdb", code=0)
    said = run("copy", "A", "B", "--on-conflict", "ignore", code=0).output
    assert f"{ROWS + 2:,} rows of 2 models: {ROWS + 2:,} ignored" in said


def test_a_merge_does_not_claim_that_both_sides_are_equal(models: ModuleType) -> None:
    run("copy", "A", "B", "--initdb", code=0)
    with db_plugins.connect("B") as db:
        db.query(models.Author).insert({"id": 7, "name": "Own"})
    said = run("copy", "A", "B", "--on-conflict", "update", code=0).output
    assert "B differs only as this copy was told to leave it, in Author (2 and 3 rows)" in said


def test_children_without_their_parents_are_told_by_key_also_by_a_dry_run() -> None:
    run("initdb", "--database", "B", code=0)
    assert "Book.author_id names no Author (Book 1)" in run("copy", "A", "B", "Book", code=1).output
    assert (
        "Book 1: Book.author_id names no Author" in run("copy", "A", "B", "Book", "--dry-run", code=1).output
    )
    assert "rows of 2 models can be copied" in run("copy", "A", "B", "--dry-run", code=0).output


def test_a_dry_run_is_told_as_reading() -> None:
    said = run("copy", "A", "B", "--dry-run", code=0).output
    assert "read Author: 2 rows" in said
    assert "copied Author" not in said


def test_an_earlier_copy_is_told_with_the_table_it_stopped_in(models: ModuleType) -> None:
    run("initdb", "--database", "B", code=0)

    def stop(progress: transfer.Progress) -> None:
        if progress.model == "Book" and progress.done >= 2_000:
            raise KeyboardInterrupt

    with db_plugins.connect("A") as a, db_plugins.connect("B") as b, pytest.raises(KeyboardInterrupt):
        transfer.copy(a, b, models=[models.Author, models.Book], batch_size=1_000, on_progress=stop)
    assert "stopped in Book, after 2,000 rows" in run("copy", "A", "B", code=1).output
    said = run("copy", "A", "B", "--resume", code=0).output
    assert f"{ROWS + 2:,} rows of 2 models: {ROWS - 2_000:,} inserted, 2,002 before" in said


def test_a_loads_rows_are_counted_though_it_stopped_between_a_part_and_its_note(
    models: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and the note of their last line are stored in one transaction; the count belongs to that note."""
    from db_plugins.transfer import loading

    run("dump", "Author", "authors.csv", "--database", "A", code=0)
    run("dump", "Book", "books.csv", "--database", "A", code=0)
    run("initdb", "--database", "B", code=0)
    run("load", "authors.csv", "Author", "--database", "B", code=0)
    done = loading._Lines.done

    def stop(lines: loading._Lines, read: list[loading.Line]) -> None:
        if lines.rows >= 1_000:
            raise KeyboardInterrupt
        done(lines, read)

    with monkeypatch.context() as patch, db_plugins.connect("B") as db, pytest.raises(KeyboardInterrupt):
        patch.setattr(loading._Lines, "done", stop)
        transfer.load(db, models.Book, "books.csv", batch_size=1_000)
    said = run("load", "books.csv", "Book", "--database", "B", "--resume", code=0).output
    assert "3,000 rows of Book: 1,000 inserted, 2,000 before" in said


def test_after_something_was_stored_every_failure_says_how_to_go_on() -> None:
    run("initdb", "--database", "B", code=0)
    Path("authors.csv").write_text("id,name\n" + "".join(f"{n},A\n" for n in range(9)) + "9,A\nx,A\n")
    said = run("load", "authors.csv", "Author", "--database", "B", "--batch-size", "5", code=1).output
    assert "line 12 of authors.csv" in said
    assert "--skip-invalid" in said
    assert "the same command with --resume goes on" in said


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size there")
@pytest.mark.parametrize("target", [["dump", "Book", "out.csv", "--database", "A"], ["copy", "A", "B"]])
def test_a_full_disk_is_told_with_what_could_not_be_written(target: list[str]) -> None:
    import resource

    run("initdb", "--database", "B", code=0)
    before = Path("b.db").stat().st_size
    limit = 40_000 if target[0] == "dump" else before + 40_000

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    def command(*more: str, **how: object) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "db_plugins", *target, "--batch-size", "200", *more]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, **how)  # type: ignore[call-overload,no-any-return]

    full = command(preexec_fn=small)
    assert full.returncode == 1, full.stderr
    assert ("out.csv.part cannot be written: " if target[0] == "dump" else "error: B: sqlite") in full.stderr
    assert "--resume goes on" in full.stderr
    again = command("--resume")
    assert again.returncode == 0, again.stderr


def test_places_that_no_file_can_have_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo("pipe.csv")
    for name in ("folder.csv", "pipe.csv"):  # a device would be replaced by a file
        assert "no ordinary file" in run("dump", "Book", name, "--database", "A", "--force", code=1).output
    assert "there is no folder none" in run("dump", "Book", "none/x.csv", "--database", "A", code=1).output
    said = run("copy", "A", "B", "--initdb", "--skip-invalid", "none/bad.jsonl", code=1).output
    assert "there is no folder none" in said


def test_an_entry_that_was_not_said_is_asked_for_by_the_option() -> None:
    assert "with --database NAME" in run("dump", "Book", "x.csv", code=1).output


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "id;name\n1;x\n", "one column, 'id;name'"),
        ("a.csv", "id,id,name\n1,1,x\n", "two columns of the file are called 'id'"),
        ("a.csv", "id,nam\n1,x\n", "did you mean 'name'"),
        ("a.csv", "id,name\n1,Caf\u00e9\n", "a.csv cannot be read as csv: it is not UTF-8"),
        ("a.jsonl", '{"id": 1, "name": "Caf\u00e9"}\n', "a.jsonl cannot be read as jsonl: it is not UTF-8"),
        ("a.txt", "id\n1\n", "--format csv"),
    ],
)
def test_a_file_that_is_not_as_expected_is_told(name: str, text: str, said: str) -> None:
    Path(name).write_bytes(text.encode("latin-1"))
    assert said in run("load", name, "Author", "--database", "A", code=1).output


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # pyarrow decodes the row to show it
def test_what_stands_in_a_file_is_in_no_message() -> None:
    Path("a.csv").write_bytes(b"id,name\n1,secret\xff,word\n" * 3)
    assert "secret" not in run("load", "a.csv", "Author", "--database", "A", code=1).output


def test_a_machine_is_told_what_initdb_made() -> None:
    done = json.loads(run("copy", "A", "B", "--initdb", "--json", code=0).stdout)
    assert done["initdb"]["made"] == ["Author", "Book"]
    assert done["models"]["Book"]["inserted"] == ROWS
