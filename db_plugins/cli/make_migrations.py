"""``dbp make_migrations``: write a revision for what models and database differ in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .group import Command
from .migrating import each_with_migrations, from_here, named
from .run import Entry, Facts, Run

if TYPE_CHECKING:
    from ..database import Database

__all__ = ["command"]


@click.command("make_migrations", cls=Command)
@click.option("-m", "--message", metavar="TEXT", help="What the revision does; it names the file.")
@click.option("--empty", is_flag=True, help="Write a revision without changes, to fill by hand.")
@click.option(
    "--rename",
    "renames",
    multiple=True,
    metavar="OLD:NEW",
    help="This is a rename: `stars.mag:magnitude` of a column, `stars:suns` of a table. May be given more than once.",
)
@click.pass_obj
def command(run: Run, message: str | None, empty: bool, renames: tuple[str, ...]) -> None:
    """Write a revision for what models and database differ in.

    One readable file for each entry that differs, in migrations/NAME/versions; read it before you apply it with
    `dbp migrate`. Changes no database. Says so when nothing differs, and writes nothing.
    """

    def make(entry: Entry, db: Database) -> Facts:
        from ..migrations import make_migrations

        made = make_migrations(db, message, empty=empty, renames=renames)
        if made is None:
            return {"revision": None, "file": None, "changes": []}
        return {
            "revision": made.revision,
            "message": made.message,
            "file": str(made.path),
            "changes": list(made.changes),
            "drops": list(made.drops),
            "possible_renames": [str(each) for each in made.possible_renames],
        }

    each_with_migrations(run, make, _show)


def _show(facts: Facts) -> str:
    if facts["file"] is None:
        return f"{named(facts)}: nothing differs, so nothing was written"
    lines = [f"{named(facts)}: wrote {from_here(facts['file'])}"]
    lines += [f"  {each}" for each in facts["changes"]]
    if facts["drops"]:
        lines.append(f"  gives up data: {'; '.join(facts['drops'])}")
    lines += [
        f"  if that is a rename, delete the file and use --rename {each}"
        for each in facts["possible_renames"]
    ]
    return "\n".join(lines)
