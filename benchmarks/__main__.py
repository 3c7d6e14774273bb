"""`python -m benchmarks [imports] [reads] [writes] [async] [transfer] [--quick] [--write]`: measure, print, and with --write keep the figures.

`--engine sqlite` measures on one engine, `--only get` one of the reads or writes (each may be given more than once),
`--rows 1000000` that many in every transfer.
Figures are of one machine at one moment, so each is a difference or a ratio to something measured beside it. --write
puts them into docs/benchmarks.md, where parts that were not measured now stay as they are.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import re
from collections.abc import Callable, Collection, Mapping
from importlib import metadata
from pathlib import Path

from . import awaited, imports, reads, transfer, writes
from .places import PLACES

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
PARTS: dict[str, Callable[[argparse.Namespace], str]] = {
    "imports": lambda given: imports.measure(quick=given.quick),
    "reads": lambda given: reads.measure(quick=given.quick, engines=given.engine, only=given.only),
    "writes": lambda given: writes.measure(quick=given.quick, engines=given.engine, only=given.only),
    "async": lambda given: awaited.measure(quick=given.quick, engines=given.engine, only=given.only),
    "transfer": lambda given: transfer.measure(
        quick=given.quick, engines=given.engine, only=given.only, rows=given.rows
    ),
}
#: The rows of each part that --only chooses from.
ROWS: dict[str, Collection[str]] = {
    "reads": reads.WORKS,
    "writes": writes.WORKS,
    "async": awaited.WORKS,
    "transfer": transfer.WORKS,
}
DISTRIBUTIONS = ("SQLAlchemy", "psycopg", "asyncpg", "aiosqlite", "pymongo", "click", "pluggy")
HEAD = """\
# Benchmarks

Written by `python -m benchmarks --write`; not to be edited. Each figure is a difference or a ratio to something
measured beside it, in turns, so that it says more about the library than about the machine.
"""


def main() -> int:
    rows = tuple(dict.fromkeys(name for names in ROWS.values() for name in names))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of: {', '.join(PARTS)} (all, if none is named)"
    )
    parser.add_argument("--quick", action="store_true", help="few runs: do the benchmarks still work?")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.parent.name}/{PAGE.name}")
    parser.add_argument("--engine", action="append", choices=tuple(PLACES), help="on this engine only")
    parser.add_argument("--only", action="append", choices=rows, help="this read or write only")
    parser.add_argument("--rows", type=int, help="of a transfer, instead of as many as each line has")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if given.write and (given.engine or given.only or given.rows):
        parser.error("--write is for all engines and all rows of a part")
    parts = given.parts or [name for name in PARTS if not given.only or _has_any(name, given.only)]
    if given.only and (without := [name for name in parts if not _has_any(name, given.only)]):
        parser.error(f"{', '.join(without)}: no row {' or '.join(given.only)}")
    given.engine, given.only = given.engine or tuple(PLACES), given.only or rows
    surroundings = environment()
    print(surroundings, flush=True)
    sections = {}
    for name in parts:
        section = PARTS[name](given)
        print(section, flush=True)
        title, text = section.split("\n", 1)
        sections[title] = surroundings + text
    if given.write:
        page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        PAGE.write_text(with_sections(page, sections), encoding="utf-8")
        print(f"written: docs/{PAGE.name}")
    return 0


def _has_any(part: str, rows: Collection[str]) -> bool:
    return not set(rows).isdisjoint(ROWS.get(part, ()))


def with_sections(page: str, sections: Mapping[str, str]) -> str:
    """The page with these texts, by title, in place of those that it has, or after them."""
    titles = re.split(r"^(## .*)\n", page, flags=re.MULTILINE)
    texts = dict(zip(titles[1::2], titles[2::2], strict=True)) | dict(sections)
    return "\n".join([HEAD, *(f"{title}\n\n{text.strip()}\n" for title, text in texts.items())])


def environment() -> str:
    versions = ", ".join(f"{name} {version}" for name in DISTRIBUTIONS if (version := installed(name)))
    return (
        f"Measured on {dt.date.today()}, Python {platform.python_version()}, {versions}; "
        f"{processor()}, {os.cpu_count()} CPUs, {platform.system()}.\n"
    )


def installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    try:
        found = re.search(
            r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE
        )
    except OSError:
        found = None
    return found.group(1) if found else platform.machine()


if __name__ == "__main__":
    raise SystemExit(main())
