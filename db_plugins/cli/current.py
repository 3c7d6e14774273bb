"""``dbp current``: the revision that each database is at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .group import Command
from .migrating import each_with_migrations, named
from .run import Entry, Facts, Run

if TYPE_CHECKING:
    from ..database import Database

__all__ = ["command"]


@click.command("current", cls=Command)
@click.pass_obj
def command(run: Run) -> None:
    """Show the revision that each database is at.

    And how many wait to be applied.
    """
    each_with_migrations(run, _look, _show)


def _look(entry: Entry, db: Database) -> Facts:
    from ..migrations import current

    at = current(db)
    return {
        "revisions": list(at.revisions),
        "heads": list(at.heads),
        "pending": list(at.pending),
        "unknown": list(at.unknown),
        "is_head": bool(at.revisions) and not (at.pending or at.unknown),
    }


def _show(facts: Facts) -> str:
    at = ", ".join(facts["revisions"]) or "no revision"
    more = " (head)" if facts["is_head"] else ""
    if facts["pending"]:
        more = f", {len(facts['pending'])} pending"
    if facts["unknown"]:
        more += f"; not in the folder: {', '.join(facts['unknown'])}"
    return f"{named(facts)}: {at}{more}"
