"""What a type checker knows of a program on this library: mypy, strict, reads the programs in ``tests/typed``.

``assert_type`` there says what is known; a line with ``# type: ignore[code]`` must be refused, with that code: one that is
accepted is an unused comment, and an error.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from db_plugins import AsyncBaseQuery, BaseQuery

ROOT = Path(__file__).parents[1]
PROGRAMS = ROOT / "tests/typed"


def test_values_have_their_types_and_wrong_arguments_are_refused() -> None:
    """With the settings and the cache of ``make types``: after it, this takes two seconds instead of thirty."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        "setup.cfg",
        "--warn-unused-ignores",
        str(PROGRAMS),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("Success")


def test_every_verb_is_among_the_programs() -> None:
    for face, program in ((BaseQuery, "synchronous.py"), (AsyncBaseQuery, "asynchronous.py")):
        tree = ast.parse((PROGRAMS / program).read_text(encoding="utf-8"))
        named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert {name for name in dir(face) if not name.startswith("_")} <= named, program
