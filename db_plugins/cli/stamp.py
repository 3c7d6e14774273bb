"""``dbp stamp``: say where a database is, and run nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .migrating import Progress, RevisionCommand, each_with_migrations, lock_option, named
from .run import Entry, Facts, Run

if TYPE_CHECKING:
    from ..database import Database

__all__ = ["command"]


@click.command("stamp", cls=RevisionCommand)
@click.argument("revision")
@lock_option
@click.pass_obj
def command(run: Run, revision: str, lock_timeout: float) -> None:
    """Record where a database is; run nothing.

    At REVISION, `head` or `base`. What was interrupted is forgotten.
    """

    def record(entry: Entry, db: Database) -> Facts:
        from ..migrations import stamp

        waits = Progress(run, entry.name).waiting
        return {"revisions": list(stamp(db, revision, lock_timeout=lock_timeout, on_wait=waits))}

    each_with_migrations(run, record, _show, revision=revision, stops=True)


def _show(facts: Facts) -> str:
    return f"{named(facts)}: recorded as {', '.join(facts['revisions']) or 'base'}"
