"""``dbp downgrade``: undo revisions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from .migrate import applied, show
from .migrating import RevisionCommand, each_with_migrations, lock_option
from .run import Entry, Facts, Run

if TYPE_CHECKING:
    from ..database import Database

__all__ = ["command"]


@click.command("downgrade", cls=RevisionCommand)
@click.argument("revision", default="-1")
@click.option("--allow-drop", is_flag=True, help="Drop columns and tables though they hold values.")
@lock_option
@click.pass_obj
def command(run: Run, revision: str, allow_drop: bool, lock_timeout: float) -> None:
    """Undo the last revision, or back to one.

    All that follow REVISION are undone. `-1`, which may be left out, is one step on each entry; `base` undoes all. Otherwise as `dbp migrate`.
    """

    def undo(entry: Entry, db: Database) -> Facts:
        from ..migrations import downgrade

        return applied(
            run, entry, partial(downgrade, db, revision, allow_drop=allow_drop, lock_timeout=lock_timeout)
        )

    each_with_migrations(run, undo, show, revision=revision, stops=True)
