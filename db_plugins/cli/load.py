"""``dbp load FILE MODEL``: the rows of a file into a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .group import Command
from .run import Run
from .transferring import (
    counted,
    format_option,
    mapping,
    models_named,
    one_entry,
    plural,
    quiet_option,
    resumable,
)

if TYPE_CHECKING:
    from ..transfer.tables import OnConflict

__all__ = ["command"]


@click.command("load", cls=Command)
@click.argument("file", metavar="FILE")
@click.argument("model", metavar="MODEL")
@format_option
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME=ATTRIBUTE",
    help="The attribute that a column of FILE is; NAME= leaves it out. May be repeated.",
)
@click.option(
    "--on-conflict",
    type=click.Choice(["error", "ignore", "update"]),
    default="error",
    show_default=True,
    help="What becomes of a row whose key is there already.",
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="ATTRIBUTE",
    help="The unique key of --on-conflict, if not the primary key.",
)
@click.option("--resume", is_flag=True, help="Go on where a load of FILE was interrupted.")
@click.option(
    "--skip-invalid",
    metavar="BAD",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write lines that cannot be stored to BAD, and leave them out.",
)
@click.option("--batch-size", type=click.IntRange(1, 1_000_000), metavar="N", help="Rows at once.")
@quiet_option
@click.pass_obj
def command(
    run: Run,
    /,
    file: str,
    model: str,
    format: str | None,  # noqa: A002
    columns: tuple[str, ...],
    on_conflict: OnConflict,
    keys: tuple[str, ...],
    resume: bool,
    skip_invalid: Path | None,
    batch_size: int | None,
    quiet: bool,
) -> None:
    """Store the rows of a file: CSV, JSON Lines, Parquet.

    FILE's go into MODEL's table; - is standard input. The columns of FILE are named after attributes, or --column says
    which they are. Values are read as the attribute takes them; an empty cell of CSV is NULL.
    """
    from ..transfer import load

    entry = one_entry(run)
    [chosen] = models_named(entry, [model]) or []
    with entry.connect() as db, resumable(run, quiet=quiet) as show:
        done = load(
            db,
            chosen,
            file,
            format=format,
            columns=mapping(columns, may_be_empty=True),
            on_conflict=on_conflict,
            key=list(keys) or None,
            resume=resume,
            skip_invalid=skip_invalid,
            batch_size=batch_size,
            on_progress=show,
        )
    run.document.update(
        entry=entry.name,
        model=model,
        file=file,
        rows=done.rows,
        inserted=done.inserted,
        updated=done.updated,
        ignored=done.ignored,
        skipped=done.skipped,
    )
    said = counted([done], resumed=resume)
    run.say(f"{file} → {entry.name}: {plural(done.rows, 'row')} of {model}: {said}")
    if done.skipped:
        run.note(f"left out: {plural(done.skipped, 'line')}, see {skip_invalid}")
