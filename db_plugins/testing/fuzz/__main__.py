"""``python -m db_plugins.testing.fuzz``: ask engines what MemoryEngine is asked, with new seeds, until the time is over.

    --engine sqlite --minutes 5                 an engine that needs no server
    --database-url postgresql://u@db/shop       a server: in a database shop_test_fuzz, made for it and dropped
    --seed 7 --examples 200                     the same questions again

The first difference ends it: standard output is then a program in the public API that shows it, and the exit code 1.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

from db_plugins.errors import ConfigError, DbPluginsError

from ..databases import isolated_database
from .model import Sample

try:
    from .compare import Arena, Difference, make_rows
except ModuleNotFoundError as exc:
    raise ConfigError(
        f"db_plugins.testing.fuzz needs {exc.name}, which is not installed",
        hint='pip install "db-plugins-core[testing]"',
    ) from exc

__all__ = ["hunt", "main"]

ABOUT = ("filters", "pages", "aggregates")
Entry = Mapping[str, Any] | str


def main(arguments: Sequence[str] | None = None, *, entries: Mapping[str, Entry] | None = None) -> int:
    """Run with these arguments; 0: no difference, 1: one was found and printed, 2: wrong usage.

    ``entries`` are entries of DB_CONFIG by the name of their engine, beside those of the arguments.
    """
    options = _parser().parse_args(arguments)
    with ExitStack() as stack:
        targets: dict[str, Entry] = dict(entries or {})
        if options.engine or options.database_url:
            targets = {name: entry for name, entry in targets.items() if name in options.engine}
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dbp-fuzz-"))
        for name in options.engine:
            targets.setdefault(name, {"ENGINE": name, "DB_NAME": str(Path(folder) / "fuzz.db")})
        targets |= {url.partition(":")[0]: url for url in options.database_url}
        if not targets:
            _say("name an engine: --engine sqlite, or --database-url URL")
            return 2
        try:
            arenas = {name: _open(stack, entry) for name, entry in targets.items()}
        except DbPluginsError as error:
            _say(str(error))
            return 2
        found = hunt(
            arenas, seconds=options.minutes * 60, examples=options.examples, seed=options.seed, tell=_say
        )
    if found is None:
        return 0
    name, difference = found
    entry = targets[name]
    print(difference.script(entry if isinstance(entry, Mapping) else {"URL": entry}))  # noqa: T201
    return 1


def hunt(
    arenas: Mapping[str, Arena],
    *,
    seconds: float,
    examples: int,
    seed: int | None = None,
    tell: Callable[[str], None] = lambda _text: None,
) -> tuple[str, Difference] | None:
    """Ask every engine in turn, ``examples`` questions of each sort, until the time is over; the first difference, shrunk.

    With a seed one round of it, whatever the time.
    """
    end = time.monotonic() + seconds
    asked = dict.fromkeys(arenas, 0)
    for one in _seeds(seed):
        for name, arena in arenas.items():
            if seed is None and time.monotonic() > end:
                tell(f"no difference: {', '.join(f'{n} questions to {e}' for e, n in asked.items())}")
                return None
            arena.stock(make_rows(arena.maker, seed=one))
            for about in ABOUT:
                found = arena.seek(about, seed=one, examples=examples)
                asked[name] += examples
                if found is not None:
                    tell(
                        f"{name} differs; this finds it again: --seed {one} --examples {examples}. Shrinking …"
                    )
                    return name, arena.shrunk(found)
            tell(f"{name}: {asked[name]} questions, seed {one}")
    tell("no difference")
    return None


def _seeds(seed: int | None) -> Iterator[int]:
    return iter([seed]) if seed is not None else (secrets.randbelow(2**32) for _ in count())


def _open(stack: ExitStack, entry: Entry) -> Arena:
    database = stack.enter_context(isolated_database(entry, models=[Sample], worker="fuzz"))
    return stack.enter_context(Arena(database))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m db_plugins.testing.fuzz",
        description="Compare engines with MemoryEngine, by generated cases.",
    )
    add = parser.add_argument
    add(
        "--engine",
        action="append",
        default=[],
        metavar="NAME",
        help="as in ENGINE; may be given several times",
    )
    add("--database-url", action="append", default=[], metavar="URL", help="may be given several times")
    add("--minutes", type=float, default=1.0, help="how long; 1 if not given")
    add("--examples", type=int, default=200, metavar="N", help="questions of each sort from one seed")
    add("--seed", type=int, help="one round with this seed")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
