"""The program ``dbp`` itself: its options, and how every ending becomes an exit code.

0 done · 1 failed · 2 wrong usage · 3 check found a difference · 130 interrupted
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from .. import __version__
from .failures import Failure, failure_of
from .group import Commands, options_of_dbp
from .run import Run

__all__ = ["dbp", "main"]

INTERRUPTED = 130
_URL = re.compile(r"\b[A-Za-z][\w+.-]*://[^\s'\"]+")


class Dbp(Commands):
    """The commands, and a ``main`` that ends with one line and an exit code instead of a traceback."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run ``dbp`` with these arguments (``None``: those of the process) and exit."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        given = sys.argv[1:] if args is None else list(args)
        run = Run.from_arguments(given)
        inherited = super().main
        with run.noting_log():
            code = _ending(
                run, lambda: inherited(given, prog_name, complete_var, False, **{**extra, "obj": run})
            )
        try:
            run.print_document()
        except BrokenPipeError:  # whoever read it has gone; what is still buffered must not fail at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 1
        sys.exit(code)

    def invoke(self, ctx: click.Context) -> None:
        """Run the command. What it returns means nothing: only ``ctx.exit`` gives a code."""
        super().invoke(ctx)


def _ending(run: Run, call: Callable[[], Any]) -> int:
    """The exit code of the call, its error reported."""
    try:
        return int(call() or run.exit_code)
    except click.ClickException as error:
        run.fail(_of_click(error))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        run.fail(Failure("interrupted", prefix=""))
        return INTERRUPTED
    except Exception as error:
        run.fail(failure_of(error, run.secrets))
        return 1


def _of_click(error: click.ClickException) -> Failure:
    """Wrong usage, with passwords of URLs hidden: click repeats what was typed."""
    from ..config.secret import mask_url

    fact = _URL.sub(lambda url: mask_url(url[0]), error.format_message()).rstrip(".")
    hint = getattr(error, "hint", None)
    if not isinstance(error, click.UsageError):
        return Failure(fact, hint=hint, kind=type(error).__name__, error=error)
    path = error.ctx.command_path if error.ctx is not None else "dbp"
    return Failure(fact, hint=hint or f"see `{path} --help`", kind="UsageError", error=error)


@click.group(
    "dbp",
    cls=Dbp,
    params=options_of_dbp(),
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 `check` found a difference, 130 interrupted. The options may also follow the command.",
)
@click.version_option(__version__, "--version", message="dbp %(version)s")
@click.pass_context
def dbp(ctx: click.Context) -> None:
    """Work with the databases that your settings name.

    Without --database a command is for every entry of DB_CONFIG.
    """
    if ctx.invoked_subcommand is None:
        raise dbp.usage_error(
            "no command was given", ctx, hint=f"commands: {', '.join(dbp.list_commands(ctx))}"
        )


def main() -> NoReturn:
    """What the console script and ``python -m db_plugins`` run."""
    dbp.main(prog_name="dbp")
    raise AssertionError("unreachable")
