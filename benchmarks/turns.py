"""Contenders measured in turns, and their line in a table: what the reads and the writes have in common.

The order of the turns is turned round each time. A ratio is the median of the rounds' ratios to the raw driver; whether
it meets its target is said by time on SQL and by the client's CPU on MongoDB, whose test server is written in Python.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple, TypeVar

__all__ = ["Taken", "beside_raw", "head", "in_turns", "line", "ratio", "timed"]


class Taken(NamedTuple):
    """Seconds of one call."""

    time: float
    cpu: float


Name = TypeVar("Name")
Turn = Callable[[int], Taken]  # takes the number of the round


def in_turns(turns: Mapping[Name, Turn], rounds: int, seconds: float) -> dict[Name, list[Taken]]:
    """What each took in each round; no new round after so many seconds, but never fewer rounds than two."""
    taken: dict[Name, list[Taken]] = {name: [] for name in turns}
    end = time.monotonic() + seconds
    for number in range(rounds):
        if number >= 2 and time.monotonic() > end:
            break
        order = list(turns) if number % 2 == 0 else list(turns)[::-1]
        for name in order:
            taken[name].append(turns[name](number))
    return taken


def timed(work: Callable[[], Any], calls: int) -> Taken:
    """Of one call, when ``work`` makes so many."""
    gc.collect()  # the garbage of the one before
    began, cpu_began = time.perf_counter(), time.process_time()
    work()
    cpu, wall = time.process_time() - cpu_began, time.perf_counter() - began
    return Taken(wall / calls, max(cpu, 1e-9) / calls)


def ratio(ours: Sequence[Taken], base: Sequence[Taken], field: str) -> float:
    ratios: list[float] = [getattr(a, field) / getattr(b, field) for a, b in zip(ours, base, strict=True)]
    return median(ratios)


def _fields(engine: str) -> tuple[str, str]:
    """What the targets of this engine are about, and the other: fields of Taken."""
    return ("cpu", "time") if engine == "mongodb" else ("time", "cpu")


def head(engine: str) -> list[str]:
    other = {"cpu": "CPU", "time": "time"}[_fields(engine)[1]]
    return [
        f"| | raw, µs | Core | ORM | db_plugins | target | | {other} |",
        "|---|--:|--:|--:|--:|--:|---|--:|",
    ]


def beside_raw(title: str, taken: Mapping[str, list[Taken]], engine: str, target: float | None) -> str:
    """The line of contenders that did the same, each beside the raw driver."""
    primary, other = _fields(engine)
    raw = median(getattr(one, primary) for one in taken["raw"]) * 1e6
    ratios = {name: ratio(taken[name], taken["raw"], primary) for name in taken if name != "raw"}
    cells = [f"{raw:,.0f}", *(f"{ratios[name]:.2f}" if name in ratios else "" for name in ("Core", "ORM"))]
    by_other = ratio(taken["db_plugins"], taken["raw"], other)
    return line(title, cells, ratios["db_plugins"], target, f"{by_other:.2f}")


def line(title: str, cells: Sequence[str], ours: float, target: float | None, other: str) -> str:
    shown = f"{ours:.2f}"
    if target is None:
        verdict = ""
    else:
        verdict = "met" if float(shown) <= target else "**not met**"
    return f"| {title} | {' | '.join(cells)} | {shown} | {target or ''} | {verdict} | {other} |"
