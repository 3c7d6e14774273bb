"""``dbp heads``: the revisions that none follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .group import Command
from .history import lines, revision_facts
from .migrating import each_with_migrations, named
from .run import Entry, Facts, Run

if TYPE_CHECKING:
    from ..database import Database

__all__ = ["command"]


@click.command("heads", cls=Command)
@click.pass_obj
def command(run: Run) -> None:
    """Show the revisions that none follows.

    More than one wait for `dbp merge`. Asks no database.
    """
    each_with_migrations(run, _look, _show)


def _look(entry: Entry, db: Database) -> Facts:
    from ..migrations import heads

    return {"heads": [revision_facts(each) for each in heads(db)]}


def _show(facts: Facts) -> str:
    shown = lines(facts["heads"])
    return "\n".join([f"{named(facts)}:{'' if shown else ' no revisions'}", *shown])
