"""What moving data costs: `copy`, `verify`, `dump` and `load` beside the `stream` and the `bulk_insert` they are made of.

All of one line are taken in turns, in one run; each has its own process's memory measured apart (``memory.py``).
"""

from __future__ import annotations

import gc
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from db_plugins import Database, transfer
from servers import ServerError

from . import memory, tables, written
from .places import PLACES, store
from .tables import NAMES, Listed, Many
from .turns import Taken, in_turns, timed
from .written import Stock

__all__ = ["WORKS", "measure"]

#: The names that --only takes.
WORKS = ("copy", "files")
TITLES = {
    "sqlite": "SQLite",
    "postgresql": "PostgreSQL",
    "mariadb": "MariaDB",
    "mongodb": "MongoDB's protocol",
}
#: Of the rate of the slower of ``stream`` and ``bulk_insert``; and MiB.
RATE_TARGET, MEMORY_TARGET = 0.6, 100
QUICK_ROWS = 200
ROUNDS, QUICK_ROUNDS = 5, 2
#: No new round of a line after so many seconds, but never fewer rounds than two.
LINE_SECONDS = 30.0


@dataclass(frozen=True)
class Pair:
    """From where to where, and how many rows of which model. MongoDB's test server is written in Python: fewer."""

    source: str
    target: str
    rows: int
    model: Any = Many


PAIRS = (
    Pair("sqlite", "sqlite", 200_000),
    Pair("sqlite", "postgresql", 1_000_000),
    Pair("sqlite", "postgresql", 200_000, Stock),
    Pair("postgresql", "sqlite", 200_000),
    Pair("postgresql", "mariadb", 60_000),
    Pair("sqlite", "mongodb", 10_000),
    Pair("mongodb", "sqlite", 10_000),
)
FILE_ROWS = 100_000
FORMATS = ("csv", "jsonl", "parquet")

HEAD = """\
## Moving data

Thousands of rows a second; ratios are medians of rounds in turns. `stream` gives objects, `bulk_insert` is given dicts
that were made before, `copy` goes without its comparison, and `verify` reads both sides.
Ten columns (an int key, three strings, three floats, a bool, a datetime, a nullable int), or the five of the writes.
The target is 0.6 of the rate of the slower of `stream` and `bulk_insert`. MongoDB's test server is written in Python,
takes most of the time there, and is given fewer rows.

The memory is that of a process of its own which copies and compares, at its peak, beyond what it had after one row;
SQLite's cache is in it, the memory of a server is not.

`copy` reads a step and then stores it, in one thread, so that it takes what reading and storing take together: 0.5 is
what it would be if both took the same. It is more because rows stay tuples: reading makes no objects of them, storing
takes none from dicts. What a copy adds are the commits of its steps and their notes: from PostgreSQL to SQLite, on a busy
disk, storing by 10,000 rows took 5.2 to 7.9 µs a row where one `bulk_insert` took 4.5 to 7.0, and the notes 0.2 to 1.3.
From MongoDB the rows are read in the order of their keys, which the test server sorts (1.2 of the time of `stream`).

A thread that reads the next step meanwhile was tried: beside 0.71 without it, 0.82 from SQLite to PostgreSQL (100,000 rows),
0.75 beside 0.73 back, and less than without it from SQLite to SQLite, where both sides want the interpreter (1.03 and 1.11
of the time in two runs). On two CPUs that had other work it took 0.88 to 1.13 of the time, in no order that could be told.
"""


def measure(
    *,
    quick: bool = False,
    engines: Collection[str] = tuple(PLACES),
    only: Collection[str] = WORKS,
    rows: int | None = None,
) -> str:
    """The section of the page."""
    lines = [HEAD]
    if "copy" in only:
        lines += [
            "| | `stream` | `bulk_insert` | `copy` | beside the slower | target | | `verify` | memory, MiB | |",
            "|---|--:|--:|--:|--:|--:|---|--:|--:|---|",
        ]
        for pair in PAIRS:
            if all(name in engines or name not in PLACES for name in (pair.source, pair.target)):
                lines.append(_told(_pair_line(pair, quick, rows)))
        lines.append("")
    if "files" in only and "sqlite" in engines:
        lines += [
            "### Files, from and to SQLite\n",
            "| | rows, thousands a second | beside | ratio |",
            "|---|--:|---|--:|",
        ]
        lines += map(_told, _file_lines(QUICK_ROWS if quick else rows or FILE_ROWS, quick))
        lines.append("")
    return "\n".join(lines)


def _told(line: str) -> str:
    print(line, file=sys.stderr, flush=True)  # the whole takes minutes
    return line


# -- from database to database -----------------------------------------------------------------------------------------


def _pair_line(pair: Pair, quick: bool, rows: int | None) -> str:
    count = QUICK_ROWS if quick else rows or pair.rows
    title = f"`copy` {TITLES[pair.source]} → {TITLES[pair.target]}, {count:,} rows"
    title += f" of {len(pair.model.__table__.columns)} columns"
    try:
        with ExitStack() as stack:
            models = (pair.model, Listed)
            source_entry, source = stack.enter_context(store(pair.source, models))
            target_entry, target = stack.enter_context(store(pair.target, models))
            source.query(pair.model).bulk_insert(_rows(pair.model, count), atomic=_atomic(pair.source))
            source.query(Listed).bulk_insert(_rows(Listed, 1))
            taken = _pair_taken(pair.model, source, target, count, QUICK_ROUNDS if quick else ROUNDS)
            _empty(target)
            peak = memory.measure_copy(pair.model, source_entry, target_entry)
            assert target.query(pair.model).count() == count, "copy does not store all rows"
    except ServerError as error:
        return f"| {title} | not measured: {error} | | | | {RATE_TARGET} | | | | |"
    ratio = median(
        max(stream.time, bulk.time) / copy.time
        for stream, bulk, copy in zip(taken["stream"], taken["bulk_insert"], taken["copy"], strict=True)
    )
    cells = [_rate(taken[name]) for name in ("stream", "bulk_insert", "copy")]
    verdict = _verdict(met=float(f"{ratio:.2f}") >= RATE_TARGET)
    mebibytes = (
        ("", "not measured: no /proc")
        if peak is None
        else (f"{peak:.1f}", _verdict(met=peak < MEMORY_TARGET))
    )
    cells += [f"{ratio:.2f}", str(RATE_TARGET), verdict, _rate(taken["verify"]), *mebibytes]
    return f"| {title} | {' | '.join(cells)} |"


def _verdict(*, met: bool) -> str:
    return "met" if met else "**not met**"


def _pair_taken(
    model: Any, source: Database, target: Database, count: int, rounds: int
) -> dict[str, list[Taken]]:
    given = list(_rows(model, count))
    gc.collect()
    gc.freeze()  # a million dicts, which no collection need look at
    verified: list[Taken] = []

    def stream(_number: int) -> Taken:
        return timed(lambda: _count(source.query(model).stream()), count)

    def bulk_insert(_number: int) -> Taken:
        _empty(target)
        return timed(lambda: target.query(model).bulk_insert(given), len(given))

    def copy(_number: int) -> Taken:
        _empty(target)
        taken = timed(lambda: transfer.copy(source, target, models=[model], verify=False), count)
        verified.append(timed(lambda: transfer.verify(source, target, models=[model]), count))
        return taken

    turns = {"stream": stream, "bulk_insert": bulk_insert, "copy": copy}
    try:
        return {**in_turns(turns, rounds, LINE_SECONDS), "verify": verified}
    finally:
        gc.unfreeze()


def _empty(db: Database) -> None:
    db.drop_all(force=True)
    db.create_all()


def _count(rows: Iterable[object]) -> int:
    return sum(1 for _ in rows)


def _atomic(engine: str) -> bool | None:
    """A MongoDB server holds all of a transaction in its cache."""
    return False if engine == "mongodb" else None


def _rows(model: Any, count: int) -> Iterator[dict[str, Any]]:
    if model is Stock:
        return written.make_rows(count)
    return (dict(zip(NAMES, row, strict=True)) for row in tables.make_rows(count))


def _rate(taken: list[Taken]) -> str:
    """Thousands a second."""
    return f"{1e-3 / median(one.time for one in taken):,.1f}"


# -- files -------------------------------------------------------------------------------------------------------------


def _file_lines(count: int, quick: bool) -> Iterator[str]:
    with _files(count) as (source, target, folder):
        given = list(_rows(Many, count))

        def turn(work: Callable[[], Any], _number: int) -> Taken:
            _empty(target)
            return timed(work, count)

        works: Mapping[str, Callable[[], Any]] = {
            "stream": lambda: _count(source.query(Many).stream()),
            "bulk_insert": lambda: target.query(Many).bulk_insert(given),
            **{
                f"dump {e}": partial(transfer.dump, source, Many, folder / f"a.{e}", force=True)
                for e in FORMATS
            },
            **{f"load {e}": partial(transfer.load, target, Many, folder / f"a.{e}") for e in FORMATS},
        }
        turns = {name: partial(turn, work) for name, work in works.items()}
        for format_ in FORMATS:
            works[f"dump {format_}"]()
        taken = in_turns(turns, QUICK_ROUNDS if quick else ROUNDS, LINE_SECONDS)
    for verb, beside in (("dump", "stream"), ("load", "bulk_insert")):
        for format_ in FORMATS:
            mine = taken[f"{verb} {format_}"]
            ratio = median(other.time / one.time for one, other in zip(mine, taken[beside], strict=True))
            yield f"| `{verb}` {format_}, {count:,} rows | {_rate(mine)} | `{beside}`, {_rate(taken[beside])} | {ratio:.2f} |"


@contextmanager
def _files(count: int) -> Iterator[tuple[Database, Database, Path]]:
    with (
        store("sqlite", (Many,)) as (_, source),
        store("sqlite", (Many,)) as (_, target),
        tempfile.TemporaryDirectory(prefix="dbp-bench-") as folder,
    ):
        source.query(Many).bulk_insert(_rows(Many, count))
        yield source, target, Path(folder)
