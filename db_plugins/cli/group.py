"""Which commands there are: a table of our own, and what other distributions add, each loaded only when it is run.

COMMANDS          name -> the line that `dbp --help` shows; the command is `command` in the module of its name
db_plugins.commands   entry points of other distributions: name = module:object, a click command
"""

from __future__ import annotations

import importlib
import sys
from contextlib import redirect_stdout
from typing import Any, cast

import click

from ..errors import nearest
from .external import External, find_commands
from .run import Run

__all__ = ["COMMANDS", "Command", "Commands", "Usage", "options_of_dbp"]

COMMANDS = {
    "init": "Write settings and models, or a plugin, to start from.",
    "initdb": "Make what the models need: tables, collections, indexes.",
    "make_migrations": "Write a revision for what models and database differ in.",
    "migrate": "Apply revisions: to head, or up or down to one.",
    "downgrade": "Undo the last revision, or back to one.",
    "history": "List the revisions, and which are applied.",
    "current": "Show the revision that each database is at.",
    "heads": "Show the revisions that none follows.",
    "merge": "Join the heads of a history.",
    "stamp": "Record where a database is; run nothing.",
    "check": "Compare models, revisions and database.",
    "plugins": "List the installed engine plugins.",
    "health": "Reach each database and look for the models.",
    "shell": "Open a prompt with the databases and the models.",
    "diagram": "Draw the models, as Mermaid or SVG.",
    "copy": "Copy all rows to another entry's database, and compare.",
    "verify": "Compare the rows of two entries' databases.",
    "load": "Store the rows of a file: CSV, JSON Lines, Parquet.",
    "dump": "Write the rows of a model to a file.",
}


def options_of_dbp(*, hidden: bool = False) -> list[click.Parameter]:
    """``--settings --database --json --verbose``: of ``dbp`` itself and, hidden, of each command."""

    def option(*names: str, **more: Any) -> click.Option:
        return click.Option(names, expose_value=False, hidden=hidden, callback=_keep, **more)

    return [
        option("--settings", "--settings_path", metavar="PATH",
               help="A settings.py, its folder, or a module."),
        option("--database", multiple=True, metavar="NAME", help="Only this entry; may be given more than once."),
        option("--json", is_flag=True, help="Print one JSON document."),
        option("--verbose", is_flag=True, help="Show log lines, and the traceback of an error."),
    ]  # fmt: skip


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value and not ctx.resilient_parsing:
        ctx.ensure_object(Run).take(str(param.name), value)


class Usage(click.UsageError):
    """Wrong usage, with a hint of its own."""

    def __init__(self, fact: str, ctx: click.Context, hint: str) -> None:
        super().__init__(fact, ctx)
        self.hint = hint


class Command(click.Command):
    """A command that takes the options of ``dbp`` too, and under --json keeps standard output clean."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.params.extend(options_of_dbp(hidden=True))

    def invoke(self, ctx: click.Context) -> Any:
        """Run it. What settings, models or drivers print must not stand beside the JSON document."""
        if not ctx.ensure_object(Run).as_json:
            return super().invoke(ctx)
        with redirect_stdout(sys.stderr):
            return super().invoke(ctx)


class Commands(click.Group):
    """A group that loads a command when it is run; ``-`` and ``_`` are one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Our commands in the order of the table, then those of others. Imports none of them."""
        return [*COMMANDS, *sorted(name for name in find_commands() if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Load this command; ``None`` if there is none."""
        name = name.replace("-", "_")
        if name in COMMANDS:
            return cast(click.Command, importlib.import_module(f"{__package__}.{name}").command)
        found = find_commands().get(name)
        return found.load() if found is not None else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command and what is left of the arguments. Raises UsageError, which names the nearest command."""
        command = self.get_command(ctx, args[0])
        if command is None:
            raise self.usage_error(f"there is no command {args[0]!r}", ctx, hint=self._suggest(ctx, args[0]))
        return command.name or args[0], command, args[1:]

    def _suggest(self, ctx: click.Context, name: str) -> str:
        return nearest(name.replace("-", "_"), self.list_commands(ctx)).replace("known names", "commands", 1)

    @staticmethod
    def usage_error(fact: str, ctx: click.Context, *, hint: str) -> click.UsageError:
        """Wrong usage, to be raised."""
        return Usage(fact, ctx, hint)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, as help; nothing is imported."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
        others = [
            _row(external) for name, external in sorted(find_commands().items()) if name not in COMMANDS
        ]
        if others:
            with formatter.section("Commands of other distributions"):
                formatter.write_dl(others)


def _row(external: External) -> tuple[str, str]:
    fault = external.fault()
    return external.name, f"BROKEN: {fault} ({external.owner})" if fault else f"from {external.owner}"
