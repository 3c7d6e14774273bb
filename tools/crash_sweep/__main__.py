"""``make crash-sweep``: every point of every engine, or some of them, in a table.

    make crash-sweep ARGS="--engine mariadb --kind syscalls --every 5"

Ends with 1 if a database is stuck, or not as it should be. A server that does not start, and system calls without strace, are
named and left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from crash_sweep.children import Children, TimedOut
from crash_sweep.databases import ENGINES, Databases, SQLite, databases_of
from crash_sweep.project import Project
from crash_sweep.sweep import DIRECTIONS, KINDS, Kind, Sweep, Tally, spread, strace_missing
from crash_sweep.together import holder_killed, three_at_once
from servers import KINDS as SERVERS
from servers import ServerError

__all__ = ["main"]

_HEAD = ("engine", "mode", "killed at", "points", "clean", "--resume", "--mark-done", "stuck", "seconds")


def main(arguments: Sequence[str]) -> int:
    given = _parser().parse_args(arguments)
    kinds: list[Kind] = given.kind or list(KINDS)
    if "syscalls" in kinds and (reason := strace_missing()):
        print(f"system calls are left out: {reason}", file=sys.stderr)
        kinds.remove("syscalls")
    rows: list[Tally] = []
    print(_line(_HEAD), _line(["---"] * len(_HEAD)), sep="\n")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dbp-sweep-")))
        folder.chmod(0o711)  # a PostgreSQL that root starts runs as nobody and must get through
        children = stack.enter_context(Children())
        for databases in _databases(given.engine or ENGINES, folder, stack):
            sweep = Sweep(Project(folder / f"{databases.name}{databases.mode}", databases, children))
            name = f"{databases.name} {databases.mode}".strip()
            for kind in kinds:
                row = Tally(databases.name, databases.mode, kind)
                for direction in DIRECTIONS:
                    points = sweep.points(kind, direction)
                    sweep.try_points(
                        spread(points, every=given.every, most=given.points), row, partial(_say, name)
                    )
                rows.append(row)
                print(_line(_cells(row)), flush=True)
            rows.append(row := _together(sweep))
            _say(name, row.kind)
    return 1 if any(row.stuck for row in rows) else 0


def _together(sweep: Sweep) -> Tally:
    row = Tally(sweep.project.databases.name, sweep.project.databases.mode, "")
    try:
        three_at_once(sweep)
        row.kind = f"three at once, one works; a killed holder is followed after {holder_killed(sweep):.1f} s"
    except (AssertionError, TimedOut) as error:
        row.kind = f"several at once: {error}"
        row.stuck.append(row.kind)
    return row


def _say(name: str, text: str) -> None:
    print(f"{name}: {text}", file=sys.stderr, flush=True)


def _databases(names: Sequence[str], folder: Path, stack: ExitStack) -> Iterator[Databases]:
    for name in names:
        if name == "sqlite":
            yield from (SQLite(folder, mode) for mode in ("wal", "delete"))
            continue
        try:
            yield databases_of(stack.enter_context(SERVERS[name](folder / f"{name}-server")))
        except ServerError as error:
            print(f"left out: {error}", file=sys.stderr)


def _cells(row: Tally) -> list[str]:
    ended = [row.endings[each] for each in ("clean", "resumed", "marked done")]
    numbers = [row.points, *ended, len(row.stuck), round(row.seconds)]
    return [row.engine, row.mode, row.kind, *map(str, numbers)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="crash_sweep", description="Kill migrations everywhere.")
    parser.add_argument("--engine", action="append", choices=ENGINES, help="these engines (all)")
    parser.add_argument("--kind", action="append", choices=KINDS, help="these kinds of places (all)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every N-th place")
    parser.add_argument("--points", type=int, metavar="K", help="at most K of each kind, up and down")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
