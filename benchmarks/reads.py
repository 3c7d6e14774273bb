"""What a read costs beside the raw driver, SQLAlchemy Core and SQLAlchemy's ORM, on one database in one run.

The contenders take turns, in an order that is turned round each time. A ratio is the median of the rounds' ratios to
the raw driver; whether it meets its target is said by time on SQL and by the client's CPU on MongoDB.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple, TypeVar

from servers import ServerError

from . import memory
from .contenders import Reads, contenders
from .places import PLACES, Place, place
from .tables import MODELS, PER_PAGE, Data, fill

__all__ = ["WORKS", "measure"]


@dataclass(frozen=True)
class Work:
    """A method of the contenders, how often it is called, and the ratio that each engine shall reach."""

    title: str  # may name rows, many, page, times
    method: str
    calls: int
    rounds: int
    targets: Mapping[str, float]


#: By the name that --only takes; two works may have one.
WORKS: dict[str, tuple[Work, ...]] = {
    "get": (
        Work("`get` by key, {times:,} ×", "get", 500, 10, {"sqlite": 3.0, "postgresql": 1.4, "mongodb": 1.2}),
    ),
    "filtered": (
        Work(
            "two filters, order, limit 50: objects, {times:,} ×",
            "filtered",
            100,
            10,
            {"sqlite": 2.5, "postgresql": 1.8, "mongodb": 2},
        ),
    ),
    "objects": (
        Work("{rows:,} rows as objects", "objects", 1, 5, {"sqlite": 3.0, "postgresql": 2.0, "mongodb": 3}),
    ),
    "dicts": (Work("{rows:,} rows as dicts", "dicts", 1, 5, {"sqlite": 1.8, "postgresql": 1.2}),),
    "stream": (
        Work(
            "stream {many:,} rows as objects",
            "stream",
            1,
            3,
            {"sqlite": 3.0, "postgresql": 2.2, "mongodb": 3},
        ),
    ),
    "pages": (
        Work("page 1 with count", "first_page", 30, 15, {"sqlite": 1.2, "postgresql": 1.05}),
        Work("page {page:,} with count", "deep_page", 30, 15, {"sqlite": 1.1, "postgresql": 1.05}),
    ),
    "cursor": (Work("page {page:,} by cursor", "cursor_page", 100, 10, {"sqlite": 3.0, "postgresql": 2.0}),),
}
DEPTH_TARGET = 1.1  # page 1,000 by cursor beside page 1
MEMORY_TARGET = 8  # MiB
#: Rows, and rows of the stream. MongoDB's test server is written in Python.
SIZES = {"sqlite": (100_000, 1_000_000), "postgresql": (100_000, 1_000_000), "mongodb": (20_000, 100_000)}
QUICK_SIZE = (1000, 3000)
QUICK_CALLS, QUICK_ROUNDS = 5, 2
#: MongoDB's test server takes tenths of a second to sort or count all rows.
SLOW_CALLS = {"filtered": 20, "first_page": 2, "deep_page": 2, "cursor_page": 2}
#: No new round of a row after so many seconds, but never fewer rounds than two.
ROW_SECONDS = 15.0

HEAD = """\
## Reads beside the raw driver and SQLAlchemy

Microseconds of one call of the raw driver, and how many times as long the others take: medians of rounds in turns.
Ten columns: an int key, three strings, three floats, a bool, a datetime, a nullable int; pages of {per_page}. On SQL the
figures are time, on MongoDB the client's CPU (its test server is written in Python, and has fewer rows); the last
column is ours by the other of the two.

The raw driver answers with tuples of `fetchall()`, and PyMongo with dicts, in which each value is as the driver gives
it: on SQLite a datetime is text and a bool a number, which the others convert. It holds one connection all the time;
Core and the ORM take one connection and one Session for a round of calls; of db_plugins each call is its own. Core's
"objects" are its rows. The raw page by cursor is a keyset statement, in the order of an indexed price; a page with
count is two statements on every side, of a table without a second index. SQLite's file is as `create_all` makes it,
with write-ahead logging.

What is not met, and why. *Page 1,000 ÷ page 1*: page 1 has no condition of a cursor; to check a cursor and to make its
condition takes about 35 µs, which a statement of 70 µs shows. Core, which checks none, pays as much. *`get` on MongoDB*: of
45 µs beyond PyMongo's 146, the projection and our own conversions take 8, the rest is the query, its filter and the
object. *Pages with count on PostgreSQL* came out between 1.01 and 1.09 in five runs: what is added to milliseconds of the
server is about 100 µs, less than those milliseconds vary.
"""


class Taken(NamedTuple):
    """Seconds of one call."""

    time: float
    cpu: float


Act = Callable[[int], Any]
Name = TypeVar("Name")


def measure(
    *, quick: bool = False, engines: Collection[str] = tuple(PLACES), only: Collection[str] = tuple(WORKS)
) -> str:
    """The section of the page."""
    lines = [HEAD.format(per_page=PER_PAGE)]
    for engine in engines:
        try:
            with place(engine, MODELS) as made:
                lines.append(f"### Reads on {made.title}\n")
                for line in _table(made, only, quick):
                    print(line, file=sys.stderr, flush=True)  # the whole takes minutes
                    lines.append(line)
                lines.append("")
        except ServerError as error:
            lines += [f"### Reads on {engine}\n", f"Not measured: {error}\n"]
    return "\n".join(lines)


def _table(made: Place, only: Collection[str], quick: bool) -> Iterator[str]:
    data = Data(*(QUICK_SIZE if quick else SIZES[made.engine]))
    fill(made, data)
    sides = contenders(made, data)
    other = "CPU" if _primary(made.engine) == "time" else "time"
    yield f"| | raw, µs | Core | ORM | db_plugins | target | | {other} |"
    yield "|---|--:|--:|--:|--:|--:|---|--:|"
    for name, works in WORKS.items():
        for work in works if name in only else ():
            yield _work_line(work, made.engine, data, sides, quick)
    if "cursor" in only:
        yield _depth_line(made.engine, data, sides, quick)
    if "stream" in only:
        yield _memory_line(made, data)


def _primary(engine: str) -> str:
    """What the targets of this engine are about: a field of Taken."""
    return "cpu" if engine == "mongodb" else "time"


def _work_line(work: Work, engine: str, data: Data, sides: Mapping[str, Reads], quick: bool) -> str:
    turns = _in_turns(work.method, sides, engine, work.calls, work.rounds, quick)
    primary = _primary(engine)
    other = "cpu" if primary == "time" else "time"
    raw = median(getattr(taken, primary) for taken in turns["raw"]) * 1e6
    ratios = {name: _ratio(turns[name], turns["raw"], primary) for name in sides if name != "raw"}
    cells = [f"{raw:,.0f}", *(f"{ratios[name]:.2f}" if name in ratios else "" for name in ("Core", "ORM"))]
    ours = ratios["db_plugins"]
    by_other = _ratio(turns["db_plugins"], turns["raw"], other)
    times = _calls(work.method, engine, work.calls, quick) * len(turns["raw"])
    title = work.title.format(rows=data.rows, many=data.many, page=data.page, times=times)
    return _line(title, cells, ours, work.targets.get(engine), f"{by_other:.2f}")


def _depth_line(engine: str, data: Data, sides: Mapping[str, Reads], quick: bool) -> str:
    """Each contender's page 1,000 beside its own page 1."""
    acts = {}
    for name, side in sides.items():
        acts[name, "deep"] = (side.cursor_page, side)
        acts[name, "first"] = (side.first_cursor_page, side)
    turns = _rounds(acts, _calls("cursor_page", engine, 100, quick), QUICK_ROUNDS if quick else 15)
    ratios = {name: _ratio(turns[name, "deep"], turns[name, "first"], "time") for name in sides}
    cells = [f"{ratios[name]:.2f}" if name in ratios else "" for name in ("raw", "Core", "ORM")]
    target = None if engine == "mongodb" else DEPTH_TARGET
    return _line(f"page {data.page:,} ÷ page 1, each its own time", cells, ratios["db_plugins"], target, "")


def _memory_line(made: Place, data: Data) -> str:
    title = f"memory of the stream of {data.many:,} at its peak, MiB"
    mebibytes = memory.measure(made)
    if mebibytes is None:
        return f"| {title} | | | | | {MEMORY_TARGET} | not measured: no /proc | |"
    return _line(title, ["", "", ""], mebibytes, MEMORY_TARGET, "")


def _line(title: str, cells: list[str], ours: float, target: float | None, other: str) -> str:
    shown = f"{ours:.2f}"
    if target is None:
        verdict = ""
    else:
        verdict = "met" if float(shown) <= target else "**not met**"
    return f"| {title} | {' | '.join(cells)} | {shown} | {target or ''} | {verdict} | {other} |"


def _in_turns(
    method: str, sides: Mapping[str, Reads], engine: str, calls: int, rounds: int, quick: bool
) -> dict[str, list[Taken]]:
    acts: dict[str, tuple[Act, Reads]] = {name: (getattr(side, method), side) for name, side in sides.items()}
    numbers = {name: _found(act, side) for name, (act, side) in acts.items()}
    assert len(set(numbers.values())) == 1, f"{method} finds not the same everywhere: {numbers}"
    return _rounds(acts, _calls(method, engine, calls, quick), QUICK_ROUNDS if quick else rounds)


def _calls(method: str, engine: str, calls: int, quick: bool) -> int:
    slow = SLOW_CALLS.get(method, calls) if engine == "mongodb" else calls
    return min(slow, QUICK_CALLS) if quick else slow


def _found(act: Act, side: Reads) -> int:
    """How many rows the contender finds; also warms it up."""
    with side.unit():
        found = act(1)
        if act.__name__ == "get":
            return int(found is not None)
        return found if isinstance(found, int) else sum(1 for _ in found)


def _rounds(acts: Mapping[Name, tuple[Act, Reads]], calls: int, rounds: int) -> dict[Name, list[Taken]]:
    taken: dict[Name, list[Taken]] = {name: [] for name in acts}
    end = time.monotonic() + ROW_SECONDS
    for number in range(rounds):
        if number >= 2 and time.monotonic() > end:
            break
        order = list(acts) if number % 2 == 0 else list(acts)[::-1]
        for name in order:
            act, side = acts[name]
            taken[name].append(_timed(act, side, calls, number * calls))
    return taken


def _timed(act: Act, side: Reads, calls: int, first: int) -> Taken:
    gc.collect()  # the garbage of the one before
    began, cpu_began = time.perf_counter(), time.process_time()
    with side.unit():
        for n in range(first, first + calls):
            act(n)
    cpu, wall = time.process_time() - cpu_began, time.perf_counter() - began
    return Taken(wall / calls, max(cpu, 1e-9) / calls)


def _ratio(ours: list[Taken], base: list[Taken], field: str) -> float:
    ratios: list[float] = [getattr(a, field) / getattr(b, field) for a, b in zip(ours, base, strict=True)]
    return median(ratios)
