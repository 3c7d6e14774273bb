"""What the commands that move data share: the two entries, the models on the command line, a bar for each model."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ..errors import ConfigError, InvalidValueError, TransferError, VerificationError, nearest
from .run import Entry, Facts, Run

if TYPE_CHECKING:
    from ..transfer import CopiedTable, Loaded, Progress, Verified

__all__ = [
    "Meter",
    "counted",
    "entry_named",
    "format_option",
    "mapping",
    "models_named",
    "one_entry",
    "plural",
    "quiet_option",
    "resumable",
    "table_facts",
    "two_entries",
]

_BAR = 24
#: Seconds between two drawings of the bar, and between two plain lines where there is no terminal.
_REDRAWN = 0.1
_REPEATED = 10.0
_VERBS = {
    "copy": "copied",
    "keys": "linked",
    "read": "read",
    "verify": "compared",
    "load": "loaded",
    "dump": "dumped",
}
#: Phases that change nothing, so that there is nothing to go on with.
_LOOKING = {"read", "verify"}

format_option = click.option(
    "--format",
    metavar="FORMAT",
    help="csv, tsv, jsonl or parquet, if FILE's ending does not say it (csv.gz …).",
)
quiet_option = click.option("--quiet", is_flag=True, help="Show no progress.")


def entry_named(run: Run, name: str) -> Entry:
    """The entry of this name. Raises ConfigError, which names the nearest."""
    from ..config import choose_entry

    if run.names:
        raise click.UsageError("--database is not for this command, which names its entries")
    return Entry(run, choose_entry(run.file, name)[0])


def two_entries(run: Run, source: str, target: str) -> tuple[Entry, Entry]:
    """FROM and TO."""
    one, other = entry_named(run, source), entry_named(run, target)
    if one.name == other.name:
        raise TransferError(f"FROM and TO are both {one.name}", hint="name two entries of DB_CONFIG")
    return one, other


def one_entry(run: Run) -> Entry:
    """The entry that --database names, or the only one, or ``default``."""
    if len(run.names) > 1:
        raise click.UsageError("this command is for one --database")
    from ..config import choose_entry

    try:
        return Entry(run, choose_entry(run.file, run.names[0] if run.names else None)[0])
    except ConfigError as error:
        if not run.names and error.hint:
            error.hint += ", with --database NAME"
        raise


def models_named(entry: Entry, names: Sequence[str]) -> list[type] | None:
    """The entry's models of these names; ``None`` for none. Raises InvalidValueError, which names the nearest."""
    if not names:
        return None
    known = {model.__name__: model for model in entry.models}
    for name in names:
        if name not in known:
            raise InvalidValueError(f"{entry.name} has no model {name!r}", hint=nearest(name, known))
    return [known[name] for name in dict.fromkeys(names)]


def mapping(pairs: Sequence[str], *, may_be_empty: bool = False) -> dict[str, Any]:
    """``NAME=OTHER`` of each --column; ``NAME`` alone is itself, ``NAME=`` is None if that ``may_be_empty``."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, other = pair.partition("=")
        if not name or (equals and not other and not may_be_empty) or name in found:
            raise click.UsageError(f"--column {pair} is not NAME=OTHER, each NAME once")
        found[name] = other or (None if equals else name)
    return found


@contextmanager
def resumable(run: Run, *, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Shows progress. When it fails or is interrupted after something was done, says how to go on."""
    meter = Meter(run, quiet=quiet)
    try:
        with meter as show:
            yield show
    except BaseException as error:
        if meter.has_written and not isinstance(error, VerificationError):
            run.note("what is done stays done: the same command with --resume goes on")
        raise


def counted(done: Sequence[CopiedTable | Loaded], *, resumed: bool) -> str:
    """``58,000 inserted, 2,000 before``: what became of the rows of all of these."""
    names = ("inserted", "updated", "ignored", "skipped")
    counts = {name: sum(getattr(each, name) for each in done) for name in names}
    if resumed:
        counts["before"] = sum(each.rows for each in done) - sum(counts.values())
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count > 0) or "nothing to do"


def plural(count: int, word: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def table_facts(verified: Verified | None) -> dict[str, Facts]:
    """What was compared, by model, for --json."""
    return {
        table.model: {
            "ok": table.ok,
            "rows": table.rows,
            "target_rows": table.target_rows,
            "checksum": table.checksum,
            "target_checksum": table.target_checksum,
            "differences": [str(each) for each in table.differences],
        }
        for table in (verified.tables if verified is not None else ())
    }


class Meter:
    """Shows how far each model is, on standard error: a bar that is redrawn, or lines where there is no terminal."""

    def __init__(self, run: Run, *, quiet: bool) -> None:
        self._is_shown = not (quiet or run.as_json)
        self._is_terminal = sys.stderr.isatty()
        self._is_drawn = False
        self._next = 0.0
        #: Has anything been stored?
        self.has_written = False

    def __enter__(self) -> Callable[[Progress], None]:
        self._next = time.monotonic() + (0 if self._is_terminal else _REPEATED)
        return self.show

    def __exit__(self, *_error: object) -> None:
        self._wipe()

    def show(self, progress: Progress) -> None:
        """To be called with each Progress."""
        if progress.done > progress.began and progress.phase not in _LOOKING:
            self.has_written = True
        if not self._is_shown or (progress.is_last and not progress.done):
            return
        now = time.monotonic()
        if progress.is_last:
            self._wipe()
            click.echo(_ended(progress), err=True)
        elif now >= self._next:
            self._next = now + (_REDRAWN if self._is_terminal else _REPEATED)
            self._draw(_under_way(progress))

    def _draw(self, line: str) -> None:
        if not self._is_terminal:
            click.echo(line, err=True)
            return
        width = shutil.get_terminal_size().columns - 1  # a line that wraps could not be redrawn in place
        click.echo(f"\r\033[K{line[:width]}", nl=False, err=True)
        self._is_drawn = True

    def _wipe(self) -> None:
        if self._is_drawn:
            click.echo("\r\033[K", nl=False, err=True)
            self._is_drawn = False


def _under_way(progress: Progress) -> str:
    if progress.total:
        part = min(1.0, progress.done / progress.total)
        filled = int(_BAR * part)
        bar = f"[{'#' * filled}{'-' * (_BAR - filled)}] {part:4.0%}  {progress.done:,} of {progress.total:,} rows"
    else:
        bar = f"{progress.done:,} rows"
    left = "" if progress.left is None else f"  {_time(progress.left)} left"
    return f"{progress.phase} {progress.model} {bar}  {progress.rate:,.0f}/s{left}"


def _ended(progress: Progress) -> str:
    began = f" (from row {progress.began + 1:,})" if progress.began else ""
    both = " of both sides" if progress.phase == "verify" else ""
    return (
        f"{_VERBS[progress.phase]} {progress.model}: {plural(progress.done, 'row')}{both}{began} in {_time(progress.seconds)}"
        f" ({progress.rate:,.0f}/s)"
    )


def _time(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
