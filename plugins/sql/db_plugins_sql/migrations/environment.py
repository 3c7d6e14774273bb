"""Plain ``alembic`` on an entry's folder, with dbp's lock, transaction, options and result: what its ``env.py`` calls.

Which of Alembic's commands is run shows in what it has put into its context: ``destination_rev`` if it is to change the
database; every other command only reads it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import context
from alembic.runtime.migration import RevisionStep
from alembic.util.exc import CommandError

import db_plugins
from db_plugins.config.sources import FILE_NAME, SETTINGS_VARIABLE
from db_plugins.errors import DbPluginsError, DirtyMigrationError
from db_plugins.migrations.entry import Entry
from db_plugins.migrations.seam import Holder, LockRequest, Step

from .ddl import teach_ddl
from .difference import directives
from .offline import offline_options
from .running import alembic_options, open_migration, refuse_commits

if TYPE_CHECKING:
    from ..connection import SQLConnection

__all__ = ["run", "template"]

log = logging.getLogger("db_plugins")


def template(name: str) -> str:
    """The text of one of this package's templates."""
    return files("db_plugins_sql").joinpath("templates", name).read_text(encoding="utf-8")


def run() -> None:
    """Do what ``alembic`` was asked to do. Raises CommandError, which it shows without a traceback."""
    config = context.config
    if config.cmd_opts is not None:  # its own program: in another the logging is not ours
        logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    folder = Path(config.config_file_name or ".").absolute().parent
    name = config.get_main_option("dbp_entry")
    try:
        with db_plugins.connect(name, settings=_settings_above(folder)) as db:
            entry = Entry(db, folder)
            with entry.errors():
                _run(entry)
    except DbPluginsError as error:
        raise CommandError(str(error)) from error


def _settings_above(folder: Path) -> Path | None:
    """The settings of the project that holds this folder; None to look for them as dbp does.

    Not the current folder's first: `alembic -c` can be called from another project, and would migrate its database.
    """
    if os.environ.get(SETTINGS_VARIABLE):
        return None
    return next((each / FILE_NAME for each in folder.parents if (each / FILE_NAME).is_file()), None)


def _run(entry: Entry) -> None:
    connection: SQLConnection = entry.role  # type: ignore[assignment]
    if context.is_offline_mode():
        context.configure(**offline_options(connection.engine.url.get_dialect()()))
        teach_ddl(context.get_context().dialect)
        with context.begin_transaction():
            context.run_migrations()
        return
    # What Alembic is to do can be read once there is a context.
    context.configure(dialect_name=connection.pool.dialect.name)
    asked = dict(context.get_context().opts)
    if "destination_rev" in asked:
        _change(connection, asked["fn"])
    else:
        _read(entry, connection)


def _change(connection: SQLConnection, fn: Any) -> None:
    given: dict[str, str] = context.get_x_argument(as_dictionary=True)
    allow_drop = bool({"allow_drop", "allow-drop"} & set(given))
    lock = LockRequest(timeout=float(given.get("lock_timeout", 60)), waiting=_waiting)
    with open_migration(connection, lock) as migration:
        stopped = migration.interrupted()
        if stopped is not None and not stopped.is_clean:
            raise DirtyMigrationError(
                f"step {stopped.position} of revision {stopped.revision} may be half done: {stopped.text}",
                hint="look at the database, then `dbp migrate --resume` or `--mark-done`",
            )
        with migration.recorded(allow_drop=allow_drop) as recorded:

            def steps(heads: Any, of: Any) -> Iterator[Any]:
                for step in fn(heads, of):
                    if isinstance(step, RevisionStep):
                        yield from recorded([_step(step)])
                    else:  # of `stamp`
                        migration.forget_interrupted()
                        yield step

            options = alembic_options(migration.connection.dialect)
            context.configure(connection=migration.connection, **{**options, "fn": steps})
            refuse_commits(context.get_context())
            if (
                context.config.cmd_opts is not None
            ):  # only now: what Alembic says of its DDL before is about other drivers
                logging.getLogger("alembic.runtime.migration").setLevel(logging.INFO)
            context.run_migrations()


def _waiting(holder: Holder | None) -> None:
    log.warning("another migration holds the lock%s", f": {holder}" if holder else "")


def _step(step: RevisionStep) -> Step:
    script = step.revision
    return Step(
        script.revision,
        script.doc,
        Path(script.path),
        step.is_upgrade,
        step.from_revisions,
        step.to_revisions,
        step.migration_fn,
        step,
    )


# -- autogenerate ----------------------------------------------------------------------------------------------------


def _read(entry: Entry, connection: SQLConnection) -> None:
    def replace(of: Any, revision: Any, scripts: list[Any]) -> None:
        scripts[0].imports |= set(connection.imports)
        if not of.opts["revision_context"].command_args["autogenerate"]:
            return
        with entry.errors():
            directives(looking, entry.wanted())(of, revision, scripts)
        if scripts[0].upgrade_ops.is_empty() and getattr(context.config.cmd_opts, "autogenerate", False):
            scripts.clear()
            context.config.print_stdout("nothing differs: no revision is written")

    with connection._looking() as looking:
        options = {
            **alembic_options(looking.dialect),
            # Ours is put in place of what Alembic finds: it need not look.
            "target_metadata": sa.MetaData(),
            "include_name": lambda *_of: False,
            "process_revision_directives": replace,
            "dont_mutate": True,
        }
        context.configure(connection=looking, **options)
        context.run_migrations()
