"""``dbp check``: do models, revisions and database agree? For CI: exit 3 if not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .group import Command
from .migrating import each_with_migrations, named
from .run import Entry, Facts, Run

if TYPE_CHECKING:
    from ..database import Database

__all__ = ["command"]


@click.command("check", cls=Command)
@click.pass_obj
def command(run: Run) -> None:
    """Compare models, revisions and database. Exit 3 if they differ.

    Changes nothing. Lists revisions that are not applied, several heads, revisions that the folder does not have, and
    what a new revision would change.
    """

    def look(entry: Entry, db: Database) -> Facts:
        from ..migrations import check

        found = check(db)
        run.differs = run.differs or not found.ok
        return {
            "differs": not found.ok,
            "pending": list(found.pending),
            "differences": list(found.differences),
            "problems": list(found.problems),
        }

    each_with_migrations(run, look, _show)


def _show(facts: Facts) -> str:
    if not facts["differs"]:
        return f"{named(facts)}: models, revisions and database agree"
    lines = [
        *(f"  {each}" for each in facts["problems"]),
        *(f"  not applied: {each}" for each in facts["pending"]),
        *(f"  differs: {each}" for each in facts["differences"]),
    ]
    return "\n".join([f"{named(facts)}:", *lines])
