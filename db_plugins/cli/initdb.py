"""``dbp initdb``: make what the models need, in every entry. Repeatable; keeps rows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from ..errors import ConfigError, DatabaseMissingError, DbPluginsError
from .group import Command
from .migrating import from_here, reporting
from .run import Entry, Facts, Run

if TYPE_CHECKING:
    from ..database import Database

__all__ = ["command", "create", "shown"]


@click.command("initdb", cls=Command)
@click.pass_obj
def command(run: Run) -> None:
    """Make what the models need: tables, collections, indexes.

    With revisions the same as `dbp migrate`. Without, what is made is written as a first revision, `initial`, already
    applied. What is there already is kept, with its rows, so this may be run again. An entry whose server cannot be
    reached does not keep the others from being done; models that cannot be loaded do.
    """
    for entry in run.entries:
        _check_models(entry)
    run.each_entry(partial(create, run), shown)


def _check_models(entry: Entry) -> None:
    """Load the models before any database is touched."""
    try:
        entry.settings  # noqa: B018  (what is wrong with it is reported when its turn comes)
    except DbPluginsError:
        return
    if not entry.models:
        raise ConfigError(
            f"no models are known for {entry.name!r}",
            hint='name them in the settings, as MODELS = ["app.models"], or write a models.py here',
        )


def create(run: Run, entry: Entry, db: Database) -> Facts:
    """Make what the models of one entry need; what was made and what was there."""
    from ..engine import Capability

    if Capability.MIGRATIONS not in db.capabilities:
        before = _models_there(db)
        db.create_all()
        made = [name for name in _models_there(db) if name not in before]
        return {
            "made": made,
            "existing": before,
            "revision": None,
            "file": None,
            "applied": [],
            "missing": [],
        }
    from ..migrations import Run as Started
    from ..migrations import initdb

    started = Started()
    with reporting(run, entry, started) as progress:
        done = initdb(db, on_step=progress.step, on_wait=progress.waiting, run=started)
    health = db.ping()
    missing = [name for name in health.missing if name.isidentifier()]
    if missing and health.models:
        run.note(
            f"{entry.name}: no revision makes {', '.join(missing)}: run `dbp make_migrations`, then `dbp migrate`"
        )
    elif missing:
        run.note(
            f"{entry.name}: {', '.join(missing)} is missing, though its revisions are recorded as applied: if it was "
            "dropped since, `dbp stamp base` and `dbp migrate` make it anew; if it is new, run `dbp make_migrations`"
        )
    return {
        "made": list(done.made),
        "existing": list(done.existing),
        "revision": done.revision.revision if done.revision else None,
        "file": str(done.revision.path) if done.revision else None,
        "applied": list(done.applied),
        "missing": missing,
    }


def _models_there(db: Database) -> list[str]:
    try:
        return list(db.ping().models)
    except DatabaseMissingError:  # a file that create_all will make
        return []


def shown(facts: Facts) -> str:
    """What was made, in a line."""
    made, existing = ", ".join(facts["made"]), ", ".join(facts["existing"])
    said = [
        f"made {made}" if made else "nothing to make",
        f"there already: {existing}" if existing else "",
        f"wrote {from_here(facts['file'])}" if facts["file"] else "",
        f"applied {', '.join(facts['applied'])}" if facts["applied"] and not facts["file"] else "",
    ]
    return f"{facts['name']} ({facts['engine']}, {facts['address']}): {'; '.join(filter(None, said))}"
