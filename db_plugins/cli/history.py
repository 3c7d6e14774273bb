"""``dbp history``: the revisions, the newest first, and which of them are applied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .group import Command
from .migrating import each_with_migrations, named
from .run import Entry, Facts, Run

if TYPE_CHECKING:
    from ..database import Database
    from ..migrations import Revision

__all__ = ["command", "lines", "revision_facts"]


@click.command("history", cls=Command)
@click.pass_obj
def command(run: Run) -> None:
    """List the revisions, and which are applied.

    The newest first.
    """
    each_with_migrations(run, _look, _show)


def _look(entry: Entry, db: Database) -> Facts:
    from ..migrations import history

    return {"revisions": [revision_facts(each) for each in history(db)]}


def revision_facts(revision: Revision) -> Facts:
    """A revision, for --json."""
    return {
        "revision": revision.revision,
        "message": revision.message,
        "file": str(revision.path),
        "follows": list(revision.follows),
        "head": revision.is_head,
        "applied": revision.applied,
    }


def lines(revisions: Sequence[Facts]) -> list[str]:
    """Each revision on one line."""
    width = max((len(each["revision"]) for each in revisions), default=0)
    return [_line(each, width) for each in revisions]


def _line(facts: Facts, width: int) -> str:
    marks = {True: "applied", False: "pending", None: ""}[facts["applied"]]
    head = "head" if facts["head"] else ""
    return f"  {facts['revision']:<{width}}  {marks:<7}  {head:<4}  {facts['message']}".rstrip()


def _show(facts: Facts) -> str:
    shown = lines(facts["revisions"])
    return "\n".join([f"{named(facts)}:{'' if shown else ' no revisions'}", *shown])
