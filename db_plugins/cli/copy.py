"""``dbp copy FROM TO``: every row from one entry's database to another's, whatever their engines, and a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .failures import Failure
from .group import Command
from .run import Entry, Run
from .transferring import (
    counted,
    models_named,
    plural,
    quiet_option,
    resumable,
    table_facts,
    two_entries,
)

if TYPE_CHECKING:
    from ..transfer import Copied, Verified

__all__ = ["command"]


@click.command("copy", cls=Command)
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option("--initdb", is_flag=True, help="First make what the models need on TO, as `dbp initdb`.")
@click.option(
    "--on-conflict",
    type=click.Choice(["error", "ignore", "update"]),
    default="error",
    show_default=True,
    help="What becomes of a row whose key is there already.",
)
@click.option("--resume", is_flag=True, help="Go on where a copy was interrupted.")
@click.option("--dry-run", is_flag=True, help="Read everything, write nothing; say what cannot be carried.")
@click.option(
    "--skip-invalid",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write rows that cannot be carried to FILE, and leave them out.",
)
@click.option("--no-verify", is_flag=True, help="Do not compare the two at the end.")
@click.option("--batch-size", type=click.IntRange(1, 1_000_000), metavar="N", help="Rows at once.")
@quiet_option
@click.pass_obj
def command(
    run: Run, /, source: str, target: str, models: tuple[str, ...], initdb: bool, quiet: bool, **how: Any
) -> None:
    """Copy all rows to another entry's database, and compare.

    FROM and TO are entries of DB_CONFIG, on any engines. Of all models of FROM, or of each MODEL named, parents before
    children. Keys stay what they are. FROM should not be written to meanwhile.
    """
    from ..errors import EngineError
    from ..transfer import copy

    from_, to = two_entries(run, source, target)
    chosen = models_named(from_, models)
    if initdb and not how["dry_run"]:
        _create(run, to)
    verify = not how.pop("no_verify")
    with (
        from_.connect() as one,
        to.connect() as other,
        resumable(run, quiet=quiet) as show,
    ):
        try:
            done = copy(one, other, models=chosen, verify=verify, on_progress=show, **how)
        except EngineError as error:
            if "dbp initdb" in (error.hint or "") and error.fact.startswith(f"{to.name}: "):
                error.hint = "--initdb makes it"
            raise
    _report(run, done, from_.name, to.name, dry_run=how["dry_run"], resumed=how["resume"])
    if done.unfit_count and how["skip_invalid"] and not how["dry_run"]:
        run.note(f"left out: {plural(done.unfit_count, 'row')}, see {how['skip_invalid']}")


def _create(run: Run, to: Entry) -> None:
    """What `dbp initdb` does, and says, of TO."""
    from .initdb import create, shown

    with to.connect() as db:
        made = create(run, to, db)
        facts = {"name": to.name, "engine": db.engine, "address": to.settings.address, **made}
    run.document["initdb"] = facts
    run.say(shown(facts))


def _report(run: Run, done: Copied, source: str, target: str, *, dry_run: bool, resumed: bool) -> None:
    run.document.update(
        source=source,
        target=target,
        models={
            table.model: {
                "rows": table.rows,
                "inserted": table.inserted,
                "updated": table.updated,
                "ignored": table.ignored,
                "skipped": table.skipped,
            }
            for table in done.tables
        },
        verified=table_facts(done.verified),
    )
    of = f"of {plural(len(done.tables), 'model')}"
    if dry_run:
        carried = done.rows - done.unfit_count
        run.say(f"{source} → {target}: {carried:,} of {plural(done.rows, 'row')} {of} can be copied")
    else:
        run.say(
            f"{source} → {target}: {plural(done.rows, 'row')} {of}: {counted(done.tables, resumed=resumed)}"
        )
    for unfit in done.unfit:
        run.say(f"  {unfit}")
    if done.verified is not None:
        run.say(_verified(done.verified, target))
        for note in done.verified.notes:
            run.note(note)
    if done.unfit_count and dry_run:
        run.document["unfit"] = [str(each) for each in done.unfit]
        run.fail(
            Failure(
                f"{plural(done.unfit_count, 'row')} cannot be carried",
                hint="correct them, or leave them out with --skip-invalid FILE",
            )
        )


def _verified(verified: Verified, target: str) -> str:
    """What the comparison found."""
    others = [table for table in verified.tables if table.checksum != table.target_checksum]
    if not others:
        return "verified: counts and checksums of every model are equal"
    names = ", ".join(
        f"{table.model} ({table.rows:,} and {plural(table.target_rows, 'row')})" for table in others
    )
    return f"verified: {target} differs only as this copy was told to leave it, in {names}"
