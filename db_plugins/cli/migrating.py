"""What the commands of migrations share: which entries they are for, the revision on the command line, the progress bar."""

from __future__ import annotations

import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import RevisionNotFoundError, UnsupportedOperationError
from .group import Command
from .run import Entry, Facts, Run

if TYPE_CHECKING:
    from ..migrations import Holder, Step
    from ..migrations.applying import Run as Done

__all__ = [
    "Progress",
    "RevisionCommand",
    "each_with_migrations",
    "entries_of",
    "from_here",
    "lock_option",
    "named",
    "reporting",
    "step_facts",
]

_RELATIVE = re.compile(r"-[0-9]+")
#: Stands before an argument like -1 while click parses, so that it is not taken for an option.
_MARK = "\0"
_BAR = 24
_LATE_SECONDS = 1.0


class RevisionCommand(Command):
    """A command with an argument that may be ``-1``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click, with ``-1`` as an argument."""
        with_value = {
            name
            for each in self.get_params(ctx)
            if isinstance(each, click.Option) and not each.is_flag
            for name in each.opts
        }
        marked = [
            f"{_MARK}{each}" if _RELATIVE.fullmatch(each) and before not in with_value else each
            for before, each in zip(["", *args], args, strict=False)
        ]
        try:
            rest = super().parse_args(ctx, marked)
        except click.UsageError as error:
            if _MARK not in error.message:
                raise
            raise click.UsageError(error.message.replace(_MARK, ""), error.ctx) from error
        for name, value in ctx.params.items():
            if isinstance(value, str):
                ctx.params[name] = value.removeprefix(_MARK)
        return rest


lock_option = click.option(
    "--lock-timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait while another migration runs.",
)


def named(facts: Facts) -> str:
    """How an entry's line begins: ``SQL (sqlite, stars.db)``."""
    return f"{facts['name']} ({facts['engine']}, {facts['address']})"


def from_here(file: str) -> str:
    """A file as it is named in the current folder, if it is under it."""
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else file


def each_with_migrations(
    run: Run,
    act: Callable[[Entry, Any], Facts],
    show: Callable[[Facts], str],
    *,
    revision: str | None = None,
    stops: bool = False,
) -> None:
    """``act`` on each entry whose engine has migrations; ``stops`` at the first that fails."""
    run.each_entry(act, show, entries=entries_of(run, revision), stops=stops)


def entries_of(run: Run, revision: str | None = None) -> Sequence[Entry]:
    """The entries that --database names, or all that have migrations; of a revision those that have it."""
    chosen = run.entries if run.names else [each for each in run.entries if _has_migrations(run, each)]
    if not chosen:
        raise UnsupportedOperationError(
            "no entry has an engine with migrations", hint="`dbp initdb` makes what their models need"
        )
    if revision is None or run.names or not _is_name(revision):
        return chosen
    found = {each.name: _matches(each, revision) for each in chosen}
    having = [each for each in chosen if revision in found[each.name]]
    having = having or [each for each in chosen if found[each.name]]
    if len(having) > 1 and revision not in found[having[0].name]:
        raise RevisionNotFoundError(
            f"{revision!r} is the beginning of several revisions, in {' and '.join(each.name for each in having)}",
            hint="write more of it, or choose with --database",
        )
    if not having:
        raise RevisionNotFoundError(
            f"there is no revision {revision!r} in {', '.join(each.name for each in chosen)}",
            hint="`dbp history` lists them",
        )
    return having


def _is_name(revision: str) -> bool:
    return revision not in ("head", "heads", "base") and not re.fullmatch(r"[+-][0-9]+", revision)


def _has_migrations(run: Run, entry: Entry) -> bool:
    from ..engine import Capability
    from ..errors import DbPluginsError

    try:
        with entry.connect() as db:
            if Capability.MIGRATIONS in db.capabilities:
                return True
            run.note(f"{entry.name}: {db.engine} has no migrations, so it is passed over")
    except DbPluginsError:  # what is wrong with it is reported when its turn comes
        return True
    return False


def _matches(entry: Entry, revision: str) -> list[str]:
    from ..migrations.files import Folder
    from ..migrations.revisions import History

    return History(Folder(entry.settings)).matches(revision)


def step_facts(step: Step) -> Facts:
    """A step, for --json."""
    return {
        "revision": step.revision,
        "message": step.message,
        "direction": "upgrade" if step.is_upgrade else "downgrade",
    }


@contextmanager
def reporting(run: Run, entry: Entry, done: Done) -> Iterator[Progress]:
    """Show progress, and when the run fails or is interrupted what was and what was not applied."""
    progress = Progress(run, entry.name)
    try:
        with progress:
            yield progress
    except BaseException:
        if done.planned:
            entry.partial.update(
                applied=[step_facts(each) for each in done.done],
                left=[step_facts(each) for each in done.left],
            )
            was = ", ".join(each.name for each in done.done) or "nothing"
            left = ", ".join(each.name for each in done.left) or "nothing"
            run.say_aside(f"{entry.name}: applied: {was}; not applied: {left}")
        raise


class Progress:
    """A bar with the step's name, drawn on standard error once a run has taken a second."""

    def __init__(self, run: Run, entry: str) -> None:
        self._run = run
        self._entry = entry
        self._lock = threading.Lock()
        self._line = ""
        self._is_late = self._is_drawn = False
        self._timer = threading.Timer(_LATE_SECONDS, self._draw_from_now)
        self._timer.daemon = True

    def __enter__(self) -> Progress:
        self._timer.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._timer.cancel()
        with self._lock:
            self._is_late = False
            if self._is_drawn and _is_terminal():
                click.echo("\r\033[K", nl=False, err=True)

    def step(self, step: Step, number: int, of: int) -> None:
        """A step begins."""
        filled = round(_BAR * (number - 1) / of)
        verb = "" if step.is_upgrade else "undo "
        with self._lock:
            self._line = (
                f"{self._entry} [{'#' * filled}{'-' * (_BAR - filled)}] {number} of {of}  {verb}{step.name}"
            )
            self._draw()

    def waiting(self, holder: Holder | None) -> None:
        """Another migration holds the lock."""
        who = f": {holder}" if holder is not None else ""
        self._run.say_aside(f"{self._entry}: waiting, another migration runs{who}")

    def _draw_from_now(self) -> None:
        with self._lock:
            self._is_late = True
            self._draw()

    def _draw(self) -> None:
        if not self._is_late or not self._line or self._run.as_json:
            return
        self._is_drawn = True
        if _is_terminal():  # a line that wraps could not be redrawn in place
            width = shutil.get_terminal_size().columns - 1
            click.echo(f"\r\033[K{self._line[:width]}", nl=False, err=True)
        else:
            click.echo(self._line, err=True)


def _is_terminal() -> bool:
    return sys.stderr.isatty()
