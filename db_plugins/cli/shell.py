"""``dbp shell``: a prompt with the databases and the models, or a statement or program that is run with them."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from ..errors import ConfigError, DbPluginsError
from .failures import failure_of
from .group import Command, Usage
from .run import Run

if TYPE_CHECKING:
    from ..database import Database
    from ..shell import Code

__all__ = ["command"]


@click.command("shell", cls=Command)
@click.option("-c", "statement", metavar="TEXT", help="Run this, and end.")
@click.option("--plain", is_flag=True, help="Python's own prompt, though IPython is installed.")
@click.pass_context
def command(ctx: click.Context, statement: str | None, plain: bool) -> None:
    """Open a prompt with the databases and the models.

    There are `databases` by the entries' names; `db`, the only entry or else the one called default; `adb`, the same
    awaited; the models by their classes' names; and_, or_, not_ and func. The prompt is IPython's if that is
    installed. Standard input that is no terminal is run as a program.
    """
    run = ctx.ensure_object(Run)
    if run.as_json:
        raise Usage("shell prints what you let it print, and no JSON document", ctx, "leave out --json")
    from .. import shell

    models = [model for entry in run.entries for model in entry.models_alone]
    chosen = shell.choose([entry.name for entry in run.entries])
    with ExitStack() as stack:
        databases = _open(run, stack)
        entry = next((each for each in run.entries if each.name == chosen and chosen in databases), None)
        db, adb = (databases[entry.name], entry.connect_async()) if entry is not None else (None, None)
        names, notes = shell.make_names(databases, db, adb, models)
        for note in notes:
            run.note(note)
        running = stack.enter_context(shell.Code(names))
        if statement is not None:
            _run(running, statement, "<command line>")
        elif not sys.stdin.isatty():
            _run(running, sys.stdin.read(), "<stdin>")
        else:
            address = (
                f"{entry.name}: {entry.settings.engine}, {entry.settings.address}"
                if entry is not None
                else None
            )
            shell.interact(running, shell.banner(run.file.source, names, address=address), plain=plain)


def _run(running: Code, text: str, file: str) -> None:
    try:
        running.run_program(text, file)
    except NameError as error:
        if error.name not in ("db", "adb") or error.name in running.names:
            raise
        raise ConfigError(
            f"there is no {error.name!r}, for no entry is called 'default'",
            hint=f"use one of databases[…], {', '.join(running.names['databases'])}, or name one with --database",
        ) from error


def _open(run: Run, stack: ExitStack) -> dict[str, Database]:
    """A Database for each entry; one that cannot be used is told, unless none can. Nothing is connected yet."""
    found: dict[str, Database] = {}
    notes: list[str] = []
    failures: list[DbPluginsError] = []
    for entry in run.entries:
        try:
            found[entry.name] = stack.enter_context(entry.connect())
        except DbPluginsError as error:
            failures.append(error)
            failure = failure_of(error, run.secrets)
            notes.append(f"{entry.name} is left out: {'; '.join([failure.fact, *failure.problems])}")
    if not found:
        raise failures[0]
    for note in notes:
        run.note(note)
    return found
