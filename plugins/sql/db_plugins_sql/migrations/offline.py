"""The steps as SQL text, for those who may not, or will not, let a program change their database."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.util.exc import CommandError

from db_plugins.errors import UnsupportedOperationError
from db_plugins.migrations.seam import Step

from .ddl import teach_ddl
from .running import alembic_options

if TYPE_CHECKING:
    from ..engine import SQLEngine

__all__ = ["offline_options", "statements"]


def offline_options(dialect: sa.Dialect) -> dict[str, Any]:
    """What Alembic's ``--sql`` needs beside ``alembic_options``."""
    options = {"dialect_name": dialect.name, "literal_binds": True, **alembic_options(dialect)}
    # Alembic thinks of the driver: SQLite itself can undo DDL.
    return {**options, "transactional_ddl": True} if dialect.name == "sqlite" else options


def statements(engine: SQLEngine, steps: Sequence[Step]) -> str:
    """What the steps would send. Raises UnsupportedOperationError for what is known only with the database at hand."""
    if not steps:
        return ""
    buffer = StringIO()
    dialect = engine.url.get_dialect()()
    options = offline_options(dialect)
    before = steps[0].before
    with EnvironmentContext(
        Config(),
        None,  # type: ignore[arg-type]
        fn=lambda _heads, _context: [step.alembic for step in steps],
        as_sql=True,
        **({"starting_rev": before} if before else {}),
    ) as environment:
        environment.configure(output_buffer=buffer, **options)
        context = environment.get_context()
        teach_ddl(context.dialect)
        # Alembic asks the files which revision it is; ours is the plan's.
        context.script = None
        try:
            with context.begin_transaction():
                environment.run_migrations()
        except CommandError as exc:
            raise UnsupportedOperationError(
                f"{engine.name} cannot say these revisions as text: {exc}",
                hint="run `dbp migrate`; or show it a copy of the database with --plan",
            ) from exc
    return buffer.getvalue()
