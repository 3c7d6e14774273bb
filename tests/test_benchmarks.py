"""The benchmarks still run, and their page keeps what was not measured anew. (Their figures are for `make bench`.)"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT / "tools"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        (sys.executable, *arguments),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "benchmarks", *arguments)


@pytest.mark.parametrize(
    ("part", "row", "title"),
    [
        ("reads", "get", "Reads beside the raw driver and SQLAlchemy"),
        ("writes", "bulk_insert", "Writes beside the raw driver and SQLAlchemy"),
        ("async", "get", "Awaited reads"),
        ("transfer", "copy", "Moving data"),
    ],
)
def test_a_row_is_measured_on_sqlite(part: str, row: str, title: str) -> None:
    done = benchmarks(part, "--quick", "--engine", "sqlite", "--only", row)
    assert done.returncode == 0, done.stderr
    assert f"## {title}\n" in done.stdout
    assert f"| `{row}`" in done.stdout


def test_files_are_measured() -> None:
    done = benchmarks("transfer", "--quick", "--engine", "sqlite", "--only", "files")
    assert done.returncode == 0, done.stderr
    assert [line.split(",")[0] for line in done.stdout.splitlines() if line.startswith("| `")] == [
        f"| `{verb}` {form}" for verb in ("dump", "load") for form in ("csv", "jsonl", "parquet")
    ]


def test_only_finds_the_part_that_has_the_row() -> None:
    done = benchmarks("--quick", "--engine", "sqlite", "--only", "insert")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("## ")] == [
        "## Writes beside the raw driver and SQLAlchemy"
    ]


def test_a_part_without_the_row_is_refused() -> None:
    done = benchmarks("reads", "--only", "insert")
    assert done.returncode == 2
    assert "reads: no row insert" in done.stderr


def test_sections_that_were_not_measured_stay() -> None:
    page = "# Old\n\n## A\n\n1\n\n## B\n\n2\n"
    measured = {"## A": "3\n", "## C": "4\n"}
    done = python(
        "-c", f"from benchmarks.__main__ import with_sections; print(with_sections({page!r}, {measured!r}))"
    )
    assert done.stdout.endswith("\n\n## A\n\n3\n\n## B\n\n2\n\n## C\n\n4\n\n"), done.stderr
    assert "# Old" not in done.stdout
