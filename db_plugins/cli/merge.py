"""``dbp merge``: join the heads of a history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .group import Command
from .migrating import each_with_migrations, from_here, named
from .run import Entry, Facts, Run

if TYPE_CHECKING:
    from ..database import Database

__all__ = ["command"]


@click.command("merge", cls=Command)
@click.option("-m", "--message", metavar="TEXT", help="What to call the revision.")
@click.pass_obj
def command(run: Run, message: str | None) -> None:
    """Join the heads of a history.

    Writes a revision that follows them all, where there are several. Asks no database.
    """

    def join(entry: Entry, db: Database) -> Facts:
        from ..migrations import merge

        made = merge(db, message)
        return {
            "revision": made.revision if made else None,
            "file": str(made.path) if made else None,
        }

    each_with_migrations(run, join, _show)


def _show(facts: Facts) -> str:
    if facts["file"] is None:
        return f"{named(facts)}: there is nothing to join"
    return f"{named(facts)}: wrote {from_here(facts['file'])}"
