"""`python -m benchmarks [imports] [reads] [engines] [--quick] [--write]`: measure, print, and with --write keep the figures.

`--engine sqlite` measures on one engine, `--only get` one of the reads (each may be given more than once). Figures are of one machine at one moment, so each is a difference or a ratio to something measured beside it.
--write puts them into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from . import engines, imports, reads
from .places import PLACES

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
PARTS: dict[str, Callable[[argparse.Namespace], str]] = {
    "imports": lambda given: imports.measure(quick=given.quick),
    "reads": lambda given: reads.measure(quick=given.quick, engines=given.engine, only=given.only),
    "engines": lambda given: engines.measure(quick=given.quick, engines=given.engine),
}
DISTRIBUTIONS = ("SQLAlchemy", "psycopg", "pymongo", "click", "pluggy")
HEAD = """\
# Benchmarks

Written by `python -m benchmarks --write`; not to be edited. Each figure is a difference or a ratio to something
measured beside it, in turns, so that it says more about the library than about the machine.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of: {', '.join(PARTS)} (all, if none is named)"
    )
    parser.add_argument("--quick", action="store_true", help="few runs: do the benchmarks still work?")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.parent.name}/{PAGE.name}")
    parser.add_argument("--engine", action="append", choices=tuple(PLACES), help="on this engine only")
    parser.add_argument("--only", action="append", choices=tuple(reads.WORKS), help="this read only")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if given.write and (given.engine or given.only):
        parser.error("--write is for all engines and all reads")
    parts = given.parts or (["reads"] if given.only else PARTS)
    given.engine, given.only = given.engine or tuple(PLACES), given.only or tuple(reads.WORKS)
    sections = [environment()]
    print(sections[0], flush=True)
    for name in parts:
        sections.append(PARTS[name](given))
        print(sections[-1], flush=True)
    if given.write:
        PAGE.write_text("\n".join([HEAD, *sections]), encoding="utf-8")
        print(f"written: docs/{PAGE.name}")
    return 0


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
