"""``dbp initdb``: make what the models need, on each entry. Repeatable; keeps rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..errors import ConfigError, DatabaseMissingError, DbPluginsError
from .group import Command
from .run import Entry, Facts, Run

if TYPE_CHECKING:
    from ..database import Database

__all__ = ["command"]


@click.command("initdb", cls=Command)
@click.pass_obj
def command(run: Run) -> None:
    """Make what the models need: tables, collections, indexes.

    What is there already is kept, with its rows, so this may be run again. An entry whose server cannot be reached
    does not keep the others from being done; models that cannot be loaded do.
    """
    for entry in run.entries:
        _check_models(entry)
    run.each_entry(_create, _show)


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


def _create(entry: Entry, db: Database) -> Facts:
    before = _models_there(db)
    db.create_all()
    after = _models_there(db)
    return {"made": [name for name in after if name not in before], "existing": before}


def _models_there(db: Database) -> list[str]:
    try:
        return list(db.ping().models)
    except DatabaseMissingError:  # a file that create_all will make
        return []


def _show(facts: Facts) -> str:
    made, existing = ", ".join(facts["made"]), ", ".join(facts["existing"])
    said = [f"made {made}" if made else "nothing to make", f"there already: {existing}" if existing else ""]
    return f"{facts['name']} ({facts['engine']}, {facts['address']}): {'; '.join(filter(None, said))}"
