"""``examples/third_party_engine``: an engine that is nobody's here, found by its entry point; and it passes the whole kit."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packages import make_known
from scripts import script
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import db_plugins
from db_plugins.errors import DatabaseMissingError, DuplicateKeyError, EngineError

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "third_party_engine"
PACKAGE = EXAMPLE / "db_plugins_jsonlines"


def load(file: Path) -> Any:
    return script(file, f"example_{file.stem}")


@pytest.fixture(scope="module", autouse=True)
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The distribution on ``sys.path``, as an installer would leave it."""
    folder = tmp_path_factory.mktemp("site")
    make_known(EXAMPLE, folder)
    before = list(sys.path)
    sys.path[:0] = [str(folder), str(EXAMPLE)]
    yield folder
    sys.path[:] = before
    for module in [name for name in sys.modules if name.partition(".")[0] == "db_plugins_jsonlines"]:
        del sys.modules[module]


#: The example's own test file.
TestJsonLines = load(EXAMPLE / "tests" / "test_conformance.py").TestJsonLines


def test_the_engine_is_said_in_less_than_200_lines() -> None:
    """002-02: a plugin per engine, third-party too."""
    texts = [file.read_text(encoding="utf-8") for file in PACKAGE.glob("*.py")]
    assert len(texts) >= 2
    assert sum(bool(line.strip()) for text in texts for line in text.splitlines()) < 200


def test_it_uses_the_public_api_alone() -> None:
    said = "".join(file.read_text(encoding="utf-8") for file in PACKAGE.glob("*.py"))
    modules = {
        line.split()[1] for line in said.splitlines() if line.startswith(("from db_plugins", "import db_"))
    }
    assert modules == {"db_plugins", "db_plugins.engine", "db_plugins.models"}
    assert not re.search(r"\._(?!_)", said)


class Base(DeclarativeBase):
    pass


class Comet(Base):
    __tablename__ = "comets/long period"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


def entry_of(folder: Path) -> dict[str, Any]:
    return {"ENGINE": "jsonlines", "DB_NAME": str(folder)}


def test_a_write_that_breaks_off_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    with db_plugins.connect(entry_of(tmp_path), models=[Comet]) as db:
        db.create_all()
        db.query(Comet).bulk_insert([{"name": "Halley"}, {"name": "Encke"}])
        (file,) = tmp_path.glob("*.jsonl")
        before = file.read_bytes()
        with pytest.raises(DuplicateKeyError):
            db.query(Comet).bulk_insert([{"name": "Biela"}, {"name": "Encke"}])
        assert file.read_bytes() == before
        assert list(tmp_path.glob("*.new")) == []
        assert before == b'{"name": "Halley", "id": 1}\n{"name": "Encke", "id": 2}\n'
        assert file.name == "comets%2Flong%20period.jsonl"


def test_a_folder_that_is_not_there_and_a_line_that_is_no_json_are_typed_errors(tmp_path: Path) -> None:
    with db_plugins.connect(entry_of(tmp_path / "none"), models=[Comet]) as db:
        assert db.ping().missing == ("Comet",)
        with pytest.raises(DatabaseMissingError, match="dbp initdb"):
            db.query(Comet).all()
        db.create_all()
        assert db.query(Comet).all() == []
        (file,) = (tmp_path / "none").glob("*.jsonl")
        file.write_text('{"id": 1, "name": "s3cret}\n')
        with pytest.raises(EngineError, match="not JSON") as caught:
            db.query(Comet).all()
        assert "s3cret" not in str(caught.value)


def test_the_lock_is_free_again_though_a_child_was_forked_while_it_was_held(tmp_path: Path) -> None:
    """A flock belongs to the open file, which a forked child has open, too."""
    from db_plugins_jsonlines.folder import Folder  # type: ignore[import-not-found]

    folder, again = Folder(tmp_path), threading.Event()

    def take() -> None:
        with folder.lock():
            again.set()

    go_on = multiprocessing.get_context("fork").Event()
    with folder.lock():
        child = multiprocessing.get_context("fork").Process(target=go_on.wait)
        child.start()
        other = threading.Thread(target=take, daemon=True)
        other.start()
        assert not again.wait(0.1)
    try:
        assert again.wait(10)
    finally:
        go_on.set()
        child.join()


def test_the_program_prints_what_the_page_says(tmp_path: Path, site: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE / "planets.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(EXAMPLE), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert f"```text\n{done.stdout}```" in page
    assert f"```json\n{(tmp_path / 'data' / 'planets.jsonl').read_text()}```" in page
