"""What makes a run of all tests quick changes their order in one way only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = """
import pytest

def test_a(): pass

@pytest.mark.slow
def test_b(): pass

class TestC:
    def test_d(self): pass

    @pytest.mark.slow
    @pytest.mark.parametrize("n", [1, 2])
    def test_e(self, n): pass
"""


def test_slow_tests_come_first_and_the_others_keep_their_order(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow: slow\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-p",
        "quick_runs",
        "-p",
        "no:randomly",
    ]
    tools = str(Path(__file__).parents[1])
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": tools, "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    names = [line.rpartition("::")[2] for line in done.stdout.splitlines() if "::" in line]
    assert names == ["test_b", "test_e[1]", "test_e[2]", "test_a", "test_d"]
