"""``make fuzz``: ``db_plugins.testing.fuzz`` over SQLite, mongomock and the servers of the tests.

    make fuzz ARGS="--minutes 30 --engine postgresql --engine mongodb"

Without ``--engine`` all are asked. A server that does not start is named and left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from db_plugins.testing.fuzz.__main__ import main
from servers import KINDS, ServerError

__all__ = ["run"]


def run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--engine", action="append", default=[])
    asked = parser.parse_known_args(arguments)[0].engine
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dbp-fuzz-")))
        folder.chmod(0o711)  # a PostgreSQL that root starts runs as nobody and must get through
        entries: dict[str, dict[str, Any]] = {
            "sqlite": {"ENGINE": "sqlite", "DB_NAME": str(folder / "fuzz.db")},
            "mongomock": {"ENGINE": "mongomock", "DB_NAME": "fuzz"},
        }
        for kind, server_class in KINDS.items():
            if asked and kind not in asked:
                continue
            try:
                server = stack.enter_context(server_class(folder / kind))
            except ServerError as error:
                print(f"left out: {error}", file=sys.stderr)
                continue
            entries[kind] = dict(server.entry("fuzz"))
        return main(arguments, entries=entries)


if __name__ == "__main__":
    raise SystemExit(run(sys.argv[1:]))
