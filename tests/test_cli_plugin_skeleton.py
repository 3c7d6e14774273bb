"""``dbp init --plugin``: what it writes is a plugin, that is found, that passes the kit, and that reads well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from packages import make_known

from db_plugins.cli.app import dbp

ROOT = Path(__file__).parents[1]

#: Tests of the kit, of each thing that the generated engine does in code of its own.
NARROW = (
    "found_by_its_entry_point or numbered_from_1 or given_twice or unique_column_is_named or upserts_of_a_row"
    " or create_all_can_be_repeated or infinite or transaction_is_refused"
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    done = CliRunner().invoke(dbp, ["init", *arguments])
    assert "Traceback" not in done.output
    return done


def process(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run in the package's folder, where it is installed."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=package,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(package), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_the_plugin_is_found_and_passes_the_kit_as_it_was_written(tmp_path: Path) -> None:
    assert run("--plugin", "comet-db").exit_code == 0
    package = tmp_path / "comet-db"
    make_known(package, package)

    listed = json.loads(process(package, "-m", "db_plugins", "plugins", "--load", "--json").stdout)
    (row,) = [row for row in listed["plugins"] if row["name"] == "comet-db"]
    assert row["distribution"] == "db-plugins-comet-db"
    assert row["async"] == "worker threads"
    assert "UNIQUE" in row["capabilities"]

    tested = process(package, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", NARROW)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "TestCometDbEngine: comet-db 0.1.0" in tested.stdout
    assert "failed" not in tested.stdout


def test_the_plugin_has_all_its_parts_and_no_word_of_the_template(tmp_path: Path) -> None:
    told = json.loads(run("--plugin", "comet", "elsewhere", "--json").stdout)
    assert told["made"] == [
        "elsewhere/README.md",
        "elsewhere/db_plugins_comet/__init__.py",
        "elsewhere/db_plugins_comet/engine.py",
        "elsewhere/db_plugins_comet/py.typed",
        "elsewhere/pyproject.toml",
        "elsewhere/tests/test_conformance.py",
    ]
    text = "".join(Path(file).read_text(encoding="utf-8") for file in told["made"])
    assert "myengine" not in text.lower()
    assert told["next"] == ["cd elsewhere", "pip install --editable '.[testing]'", "dbp plugins", "pytest"]


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "comet" / "db_plugins_comet").mkdir(parents=True)
    mine = tmp_path / "comet" / "db_plugins_comet" / "engine.py"
    mine.write_text("# mine\n")
    told = json.loads(run("--plugin", "comet", "--json").stdout)
    assert told["kept"] == ["comet/db_plugins_comet/engine.py"]
    assert mine.read_text() == "# mine\n"
    assert run("--plugin", "comet").stdout.count("was there already") == 6


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Comet_DB", ": comet-db"),
        ("comet+x", ": comet-x"),
        ("../up", ": up"),
        ("9", None),
        ("", None),
        ("a--b", ": a-b"),
        ("комета", None),
    ],
)
def test_a_name_that_no_entry_could_have_is_wrong_usage(tmp_path: Path, name: str, near: str | None) -> None:
    done = run("--plugin", name)
    assert done.exit_code == 2
    assert "cannot be the name of an engine" in done.stderr
    assert "lower-case letters and digits" in done.stderr
    assert done.stderr.rstrip().endswith(near or "between")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_gets_a_note() -> None:
    done = run("--plugin", "memory")
    assert done.exit_code == 0
    assert "note: db-plugins-core answers to 'memory' already" in done.stderr
    assert "note" not in run("--plugin", "comet").stderr


def test_the_generated_code_meets_the_rules_of_this_repository(tmp_path: Path) -> None:
    """The templates are code of their own, which ruff and mypy see; here it is the names that are put in."""
    run("--plugin", "comet-db")
    for check in (["check"], ["format", "--check"]):
        done = process(tmp_path, "-m", "ruff", *check, "--config", str(ROOT / "pyproject.toml"), ".")
        assert done.returncode == 0, done.stdout + done.stderr
