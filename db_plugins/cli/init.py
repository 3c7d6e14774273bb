"""``dbp init``: a settings.py and a models.py that work, to start from. Overwrites nothing."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from ..errors import ConfigError
from .group import Command
from .run import Run

__all__ = ["command"]

TEMPLATES = Path(__file__).with_name("templates")
#: Each file, and what stands for it if it is there.
FILES = {"settings.py": ("settings.py",), "models.py": ("models.py", "models/__init__.py")}


@click.command("init", cls=Command)
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@click.pass_obj
def command(run: Run, folder: Path) -> None:
    """Write a settings.py and a models.py to start from.

    The settings have an SQLite entry that works, and examples for others. DIR (this folder if left out) is made if it
    is not there. A file that is there is kept as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made, kept = [], []
    for name, alternatives in FILES.items():
        there = next((folder / each for each in alternatives if os.path.lexists(folder / each)), None)
        if there is None:
            _write(folder / name, (TEMPLATES / name).read_text(encoding="utf-8"))
            made.append(str(folder / name))
        else:
            kept.append(str(there))
    steps = list(_next_steps(folder))
    run.document.update(made=made, kept=kept, next=steps)
    for verb, files in (("made", made), ("kept", kept)):
        for file in files:
            run.say(f"{verb}  {file}{'  (was there already)' if verb == 'kept' else ''}")
    for step in steps:
        run.say(f"next  {step}")
    _warn_if_refused(run, folder / "settings.py")


def _write(file: Path, text: str) -> None:
    """A new file that others may not write, whatever the umask: dbp would refuse to run such settings."""
    number = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as opened:
            opened.write(text)
    except BaseException:
        file.unlink()
        raise


def _next_steps(folder: Path) -> Iterator[str]:
    if folder.resolve() != Path.cwd():
        yield f"cd {shlex.quote(str(folder))}"
    yield "look through settings.py and models.py"
    yield "dbp initdb"
    yield "dbp health"


def _warn_if_refused(run: Run, settings: Path) -> None:
    from ..config.trust import refuse_if_others_write

    try:
        refuse_if_others_write(settings.absolute())
    except ConfigError as error:
        run.note(str(error))
