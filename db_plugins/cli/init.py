"""``dbp init``: a settings.py and a models.py that work, to start from; or a plugin. Overwrites nothing."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import click

from ..errors import ConfigError
from .group import Command
from .run import Run
from .skeleton import PROJECT, plugin_files, project_files, rival_of, validate_name

__all__ = ["command"]


@click.command("init", cls=Command)
@click.argument("folder", metavar="[DIR]", default=None, required=False, type=click.Path(path_type=Path))
@click.option(
    "--plugin",
    metavar="NAME",
    callback=validate_name,
    help="Write an engine plugin that answers to NAME, with its tests, instead of a project.",
)
@click.pass_obj
def command(run: Run, folder: Path | None, plugin: str | None) -> None:
    """Write settings and models, or a plugin, to start from.

    The settings have an SQLite entry that works, and examples for others. DIR (this folder if left out) is made if it
    is not there. A file that is there is kept as it is.

    With --plugin, write a package instead: an engine that passes the conformance kit and keeps its rows in memory, to
    be made yours step by step. DIR is then NAME if left out.
    """
    if plugin is None:
        folder = folder or Path()
        _lay(run, folder, project_files(), PROJECT)
        _say_next(run, _next_steps(folder))
        _warn_if_refused(run, folder / "settings.py")
        return
    folder = folder or Path(plugin)
    rival = rival_of(plugin)
    _lay(run, folder, plugin_files(plugin))
    _say_next(run, _next_steps_of_plugin(folder))
    if rival is not None and run.document["made"]:
        run.note(
            f"{rival} answers to {plugin!r} already: with both installed, neither can be used by that name"
        )


def _lay(
    run: Run, folder: Path, files: Mapping[str, str], alternatives: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Write the files that are not there, nor an alternative of theirs, and say which."""
    made, kept = [], []
    for name, text in files.items():
        others = (alternatives or {}).get(name, (name,))
        there = next((folder / each for each in others if os.path.lexists(folder / each)), None)
        if there is None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            _write(folder / name, text)
            made.append(str(folder / name))
        else:
            kept.append(str(there))
    run.document.update(made=made, kept=kept)
    for verb, group in (("made", made), ("kept", kept)):
        for file in group:
            run.say(f"{verb}  {file}{'  (was there already)' if verb == 'kept' else ''}")


def _say_next(run: Run, steps: Iterable[str]) -> None:
    run.document["next"] = list(steps)
    for step in run.document["next"]:
        run.say(f"next  {step}")


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


def _next_steps_of_plugin(folder: Path) -> Iterator[str]:
    yield f"cd {shlex.quote(str(folder))}"
    yield "pip install --editable '.[testing]'"
    yield "dbp plugins"
    yield "pytest"


def _warn_if_refused(run: Run, settings: Path) -> None:
    from ..config.trust import refuse_if_others_write

    try:
        refuse_if_others_write(settings.absolute())
    except ConfigError as error:
        run.note(str(error))
