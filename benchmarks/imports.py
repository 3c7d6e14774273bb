"""What starting costs: `import db_plugins` and `dbp --help`, beyond a bare Python.

Processes are started in turns, a bare one beside each measured one, and the median of the differences counts.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

__all__ = ["measure"]

BARE = (sys.executable, "-c", "pass")
RUNS = 41


@dataclass(frozen=True)
class Case:
    """A command and the milliseconds that it may take beyond a bare Python; None if it is only to be seen."""

    name: str
    command: Sequence[str]
    target: int | None


CASES = (
    Case("`import db_plugins`", (sys.executable, "-c", "import db_plugins"), 40),
    Case("`dbp --help`", (str(Path(sysconfig.get_path("scripts"), "dbp")), "--help"), 150),
    Case("`import sqlalchemy`, for comparison", (sys.executable, "-c", "import sqlalchemy"), None),
    Case("`import pymongo`, for comparison", (sys.executable, "-c", "import pymongo"), None),
)


def measure(*, quick: bool = False) -> str:
    """The section of the page."""
    runs = 3 if quick else RUNS
    lines = [
        "## Starting\n",
        f"Milliseconds beyond a bare Python; median of {runs} pairs, and the middle half of them.\n",
        "| started | median | middle half | target | |",
        "|---|--:|--:|--:|---|",
    ]
    lines += [_line(case, runs) for case in CASES]
    return "\n".join([*lines, ""])


def _line(case: Case, runs: int) -> str:
    for command in (BARE, case.command):  # fill the caches of files and byte code
        if (problem := _problem(command)) is not None:
            return f"| {case.name} | | | {case.target or ''} | did not run: {problem} |"
    pairs = [(_milliseconds(BARE), _milliseconds(case.command)) for _ in range(runs)]
    beyond = [measured - bare for bare, measured in pairs]
    low, _, high = quantiles(beyond, n=4)
    middle = median(beyond)
    if case.target is None:
        return f"| {case.name} | {middle:.1f} | {low:.1f} to {high:.1f} | | |"
    verdict = "met" if middle < case.target else "**not met**"
    return f"| {case.name} | {middle:.1f} | {low:.1f} to {high:.1f} | {case.target} | {verdict} |"


def _problem(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return type(error).__name__
    return f"exit code {done.returncode}" if done.returncode else None


def _milliseconds(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return (time.perf_counter() - began) * 1000
