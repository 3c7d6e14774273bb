"""Run a command beside servers: `python -m servers KIND [KIND …] -- command …`.

Each server gets an empty database, whose URL the command finds in `DBP_POSTGRESQL_URL`, `DBP_MARIADB_URL` or
`DBP_MONGODB_URL`. The exit code is the command's; 3 when a server does not start.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from servers import KINDS, ServerError


def main(arguments: list[str]) -> int:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    kinds, command = arguments[:at], arguments[at + 1 :]
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds or not command:
        print(
            f"usage: python -m servers KIND [KIND …] -- command …    kinds: {' '.join(KINDS)}",
            file=sys.stderr,
        )
        return 2
    environment = dict(os.environ)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dbp-servers-")))
        try:
            for kind in kinds:
                server = stack.enter_context(KINDS[kind](folder / kind))
                name, environment[f"DBP_{kind.upper()}_URL"] = server.new_database()
                stack.callback(server.drop_database, name)
        except ServerError as error:
            print(error, file=sys.stderr)
            return 3
        try:
            return subprocess.call(command, env=environment)
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
