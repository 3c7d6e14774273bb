"""``dbp dump MODEL FILE``: the rows of a table into a file."""

from __future__ import annotations

import click

from .group import Command
from .run import Run
from .transferring import (
    Meter,
    format_option,
    mapping,
    models_named,
    one_entry,
    plural,
    quiet_option,
    resumable,
)

__all__ = ["command"]


@click.command("dump", cls=Command)
@click.argument("model", metavar="MODEL")
@click.argument("file", metavar="FILE")
@format_option
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="ATTRIBUTE[=NAME]",
    help="Only these attributes, in this order, and what FILE calls them. May be repeated.",
)
@click.option("--force", is_flag=True, help="Write over a FILE that is there.")
@click.option("--resume", is_flag=True, help="Go on where a dump to FILE was interrupted.")
@click.option("--batch-size", type=click.IntRange(1, 1_000_000), metavar="N", help="Rows at once.")
@quiet_option
@click.pass_obj
def command(
    run: Run,
    /,
    model: str,
    file: str,
    format: str | None,  # noqa: A002
    columns: tuple[str, ...],
    force: bool,
    resume: bool,
    batch_size: int | None,
    quiet: bool,
) -> None:
    """Write the rows of a model to a file.

    By key, to FILE, or to standard output for -. The ending says the format: .csv, .tsv, .jsonl or .parquet, with .gz or
    .zst for compressed. FILE has its name when it is whole; until then it is FILE.part.
    """
    from ..transfer import dump

    entry = one_entry(run)
    [chosen] = models_named(entry, [model]) or []
    if file == "-" and run.as_json:
        raise click.UsageError("--json and a dump to standard output would be one stream")
    shown = Meter(run, quiet=quiet) if file == "-" else resumable(run, quiet=quiet)
    with entry.connect() as db, shown as show:
        done = dump(
            db,
            chosen,
            file,
            format=format,
            columns=mapping(columns) or None,
            force=force,
            resume=resume,
            batch_size=batch_size,
            on_progress=show,
        )
    run.document.update(entry=entry.name, model=model, file=file, rows=done.rows)
    if file != "-":
        run.say(f"{entry.name} → {file}: {plural(done.rows, 'row')} of {model}")
