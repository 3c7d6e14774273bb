"""What a read costs beside the raw driver, SQLAlchemy Core and SQLAlchemy's ORM, on one database in one run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from servers import ServerError

from . import memory
from .contenders import Reads, contenders
from .places import PLACES, Place, place
from .tables import MODELS, PER_PAGE, Data, fill
from .turns import Taken, beside_raw, head, in_turns, line, ratio, timed

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


Act = Callable[[int], Any]


def measure(
    *, quick: bool = False, engines: Collection[str] = tuple(PLACES), only: Collection[str] = tuple(WORKS)
) -> str:
    """The section of the page."""
    lines = [HEAD.format(per_page=PER_PAGE)]
    for engine in engines:
        try:
            with place(engine, MODELS) as made:
                lines.append(f"### Reads on {made.title}\n")
                for text in _table(made, only, quick):
                    print(text, file=sys.stderr, flush=True)  # the whole takes minutes
                    lines.append(text)
                lines.append("")
        except ServerError as error:
            lines += [f"### Reads on {engine}\n", f"Not measured: {error}\n"]
    return "\n".join(lines)


def _table(made: Place, only: Collection[str], quick: bool) -> Iterator[str]:
    data = Data(*(QUICK_SIZE if quick else SIZES[made.engine]))
    fill(made, data)
    sides = contenders(made, data)
    yield from head(made.engine)
    for name, works in WORKS.items():
        for work in works if name in only else ():
            yield _work_line(work, made.engine, data, sides, quick)
    if "cursor" in only:
        yield _depth_line(made.engine, data, sides, quick)
    if "stream" in only:
        yield _memory_line(made, data)


def _work_line(work: Work, engine: str, data: Data, sides: Mapping[str, Reads], quick: bool) -> str:
    acts: dict[str, tuple[Act, Reads]] = {
        name: (getattr(side, work.method), side) for name, side in sides.items()
    }
    numbers = {name: _found(act, side) for name, (act, side) in acts.items()}
    assert len(set(numbers.values())) == 1, f"{work.method} finds not the same everywhere: {numbers}"
    calls = _calls(work.method, engine, work.calls, quick)
    turns = {name: partial(_turn, act, side, calls) for name, (act, side) in acts.items()}
    taken = in_turns(turns, QUICK_ROUNDS if quick else work.rounds, ROW_SECONDS)
    times = calls * len(taken["raw"])
    title = work.title.format(rows=data.rows, many=data.many, page=data.page, times=times)
    return beside_raw(title, taken, engine, work.targets.get(engine))


def _depth_line(engine: str, data: Data, sides: Mapping[str, Reads], quick: bool) -> str:
    """Each contender's page 1,000 beside its own page 1."""
    calls = _calls("cursor_page", engine, 100, quick)
    turns = {}
    for name, side in sides.items():
        turns[name, "deep"] = partial(_turn, side.cursor_page, side, calls)
        turns[name, "first"] = partial(_turn, side.first_cursor_page, side, calls)
    taken = in_turns(turns, QUICK_ROUNDS if quick else 15, ROW_SECONDS)
    ratios = {name: ratio(taken[name, "deep"], taken[name, "first"], "time") for name in sides}
    cells = [f"{ratios[name]:.2f}" if name in ratios else "" for name in ("raw", "Core", "ORM")]
    target = None if engine == "mongodb" else DEPTH_TARGET
    return line(f"page {data.page:,} ÷ page 1, each its own time", cells, ratios["db_plugins"], target, "")


def _memory_line(made: Place, data: Data) -> str:
    title = f"memory of the stream of {data.many:,} at its peak, MiB"
    mebibytes = memory.measure(made, "stream")
    if mebibytes is None:
        return f"| {title} | | | | | {MEMORY_TARGET} | not measured: no /proc | |"
    return line(title, ["", "", ""], mebibytes, MEMORY_TARGET, "")


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


def _turn(act: Act, side: Reads, calls: int, number: int) -> Taken:
    def work() -> None:
        with side.unit():
            for n in range(number * calls, (number + 1) * calls):
                act(n)

    return timed(work, calls)
