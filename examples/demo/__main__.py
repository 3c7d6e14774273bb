"""Run the demo: `make demo`, or `python -m examples.demo` with `tools` on PYTHONPATH.

It writes settings.py beside copies of models.py and program.py into build/demo, starts a MongoDB-wire server
of its own, makes the tables and collections with `dbp initdb`, runs program.py on both, and shows the outputs
side by side. Then it copies the rows of SQLite to a second database of that server with `dbp copy`, and compares
both copies with `dbp verify`. The exit code is 0 if everything is equal, 1 if not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from itertools import zip_longest
from pathlib import Path
from typing import Any

from servers import MongoDB, ServerError

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDER = ROOT / "build" / "demo"
ENTRIES = ("SQL", "MONGO")
#: Settings from the environment would take the place of the demo's own.
FOREIGN = ("DB_", "DATABASE_URL", "DBP_")


def main() -> int:
    folder = make_folder()
    with tempfile.TemporaryDirectory(prefix="dbp-demo-") as home, MongoDB(home, private=True) as server:
        settings = {
            "SQL": {"ENGINE": "sqlite", "DB_NAME": "stars.db"},
            "MONGO": server.entry("stars"),
            "COPY": server.entry("copied_stars"),
        }
        write_settings(folder, settings)
        print(f"The settings, in {(folder / 'settings.py').relative_to(ROOT)}:\n")
        print(indented((folder / "settings.py").read_text(encoding="utf-8")))

        show_dbp(folder, "initdb", "--database", "SQL", "--database", "MONGO")

        outputs = [run(folder, sys.executable, "program.py", entry) for entry in ENTRIES]
        print(f"The same program on both ({(folder / 'program.py').relative_to(ROOT)}):\n")
        print(side_by_side([f"$ python program.py {entry}" for entry in ENTRIES], outputs))
        if outputs[0] != outputs[1]:
            print("The outputs differ, in the lines marked with !")
            return 1
        print("The outputs are equal.\n")

        print("The data moves, too: from SQLite to a second database of the server.\n")
        show_dbp(folder, "copy", "SQL", "COPY", "--initdb", "--quiet")
        show_dbp(folder, "verify", "SQL", "COPY", "--quiet")
        print("What the program wrote on each engine by itself is the same:\n")
        show_dbp(folder, "verify", "MONGO", "COPY", "--quiet")
    return 0


def show_dbp(folder: Path, *words: str) -> None:
    """Run `dbp` and show what it prints; ends the demo if it fails."""
    print(f"$ dbp {' '.join(words)}")
    print(indented(run(folder, str(Path(sysconfig.get_path("scripts"), "dbp")), *words)))


def make_folder() -> Path:
    """build/demo with the program in it, and nothing of an earlier run."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for name in ("models.py", "program.py"):
        shutil.copyfile(HERE / name, FOLDER / name)
    return FOLDER


def write_settings(folder: Path, entries: dict[str, dict[str, Any]]) -> None:
    lines = [f"    {name!r}: {entry!r},\n" for name, entry in entries.items()]
    text = "".join(["DB_CONFIG = {\n", *lines, '}\nMODELS = ["models"]\n']).replace("'", '"')
    (folder / "settings.py").write_text(text, encoding="utf-8")


def run(folder: Path, *command: str) -> str:
    """What the command prints, run in the folder; ends the demo if it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    # Named, so that a checkout that a whole group may write is no hindrance.
    environment |= {"DBP_SETTINGS": str(folder / "settings.py"), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, timeout=60, encoding="utf-8"
    )
    if done.returncode:
        print(done.stdout, end="")
        raise SystemExit(f"{' '.join(command)} failed with exit code {done.returncode}")
    return done.stdout


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def side_by_side(titles: list[str], outputs: list[str]) -> str:
    left, right = (output.splitlines() for output in outputs)
    width = max(len(line) for line in [titles[0], *left])
    rule = "-" * width
    lines = [f"  {titles[0]:<{width}} | {titles[1]}", f"  {rule}-+-{rule}"]
    for one, other in zip_longest(left, right, fillvalue=""):
        lines.append(f"{' ' if one == other else '!'} {one:<{width}} | {other}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except (ServerError, OSError, subprocess.TimeoutExpired) as error:
        raise SystemExit(f"the demo could not run: {error}") from error
