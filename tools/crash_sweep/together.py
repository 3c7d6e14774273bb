"""Several at once: three runs of which one works, and a holder of the lock that is killed while two wait."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from crash_sweep.children import Order, TimedOut
from crash_sweep.looking import differences, look
from crash_sweep.sweep import Sweep

__all__ = ["holder_killed", "three_at_once"]

_MIGRATE = ("migrate", "--allow-drop")
_PATIENCE = 60.0


def three_at_once(sweep: Sweep) -> None:
    """All end with 0 and the revisions are applied once. Raises AssertionError otherwise."""
    project = sweep.project
    entry = project.databases.copy("initial")
    orders = [project.order(_MIGRATE, entry) for _ in range(3)]
    started = [(project.children.start(order), order) for order in orders]
    for child, order in started:
        _must_be_0(project.children.wait(child, _PATIENCE), order)
    worked = [order for order in orders if "nothing to do" not in order.output.read_text()]
    assert len(worked) == 1, f"{len(worked)} of 3 applied revisions"
    _compare(sweep, entry)
    project.databases.drop(entry)


def holder_killed(sweep: Sweep) -> float:
    """Seconds from ``kill -9`` of a holder, in the middle of its work, to the end of one of two that wait."""
    project = sweep.project
    entry = project.databases.copy("initial")
    middle = len(sweep.points("lines", "migrate")) // 2
    held = project.folder / "held.txt"
    held.unlink(missing_ok=True)
    holder = project.children.start(
        project.order(
            _MIGRATE, entry, disturbance=("lines", "pause", middle, str(held)), constants=sweep.constants
        )
    )
    _until(held.exists, "the holder is at work")
    orders = {
        project.children.start(order): order for order in [project.order(_MIGRATE, entry) for _ in range(2)]
    }
    for order in orders.values():
        _until(partial(_says, order.output, "waiting, another migration runs"), "a second one waits")
    os.kill(holder, signal.SIGKILL)
    began = time.monotonic()
    assert project.children.wait(holder) == -signal.SIGKILL
    first = project.children.wait_for_any(_PATIENCE)
    seconds = time.monotonic() - began
    for child in (first, *(set(orders) - {first})):
        _must_be_0(project.children.wait(child, _PATIENCE), orders[child])
    _compare(sweep, entry)
    project.databases.drop(entry)
    return seconds


def _must_be_0(code: int, order: Order) -> None:
    assert code == 0, f"ended with {code}: {order.output.read_text()}"


def _compare(sweep: Sweep, entry: Mapping[str, Any]) -> None:
    wrong = differences(sweep.wanted["migrate"], look(entry))
    assert not wrong, "; ".join(wrong)


def _says(output: Path, words: str) -> bool:
    return output.exists() and words in output.read_text()


def _until(reached: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not reached():
        if time.monotonic() > deadline:
            raise TimedOut(f"not in {_PATIENCE:g} s: {what}")
        time.sleep(0.01)
