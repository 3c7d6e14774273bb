"""What SQLConnection gives the core for migrations: the role ``SupportsMigrations``, each verb by its module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, ClassVar

import sqlalchemy as sa

from db_plugins.migrations.seam import Difference, LockRequest, Migration, Step, SupportsMigrations, Wanted

if TYPE_CHECKING:
    from ..connection import SQLConnection
    from ..engine import SQLEngine
    from ..errors import Context

__all__ = ["MigratingVerbs"]


class MigratingVerbs(SupportsMigrations):
    """Compares with models by Alembic's autogenerate, and runs its revisions."""

    imports: Sequence[str] = ("import sqlalchemy as sa", "from alembic import op")
    engine: SQLEngine

    if TYPE_CHECKING:

        def _use(
            self, context: Context, *, together: bool = False
        ) -> AbstractContextManager[sa.Connection]: ...

        def _as_connection(self) -> SQLConnection: ...

    #: The files of an entry's folder that let plain ``alembic`` work there.
    own_files: ClassVar[Sequence[str]] = ("alembic.ini", "env.py")

    def files(self, entry: str) -> Mapping[str, str]:
        from .environment import template

        return {
            name: template(name).replace("{{entry}}", entry.replace("%", "%%")) for name in self.own_files
        }

    def difference(self, wanted: Wanted) -> Difference:
        from .difference import difference

        with self._looking() as connection:
            return difference(connection, wanted)

    def heads(self) -> tuple[str, ...]:
        from .running import heads_of

        with self._looking() as connection:
            return heads_of(connection)

    @contextmanager
    def _looking(self) -> Iterator[sa.Connection]:
        """A connection to look at what is there. Makes nothing."""
        from ..errors import Context

        with self._use(Context()) as connection:
            yield connection

    def migrating(self, lock: LockRequest) -> AbstractContextManager[Migration]:
        from .running import open_migration

        return open_migration(self._as_connection(), lock)

    def statements(self, steps: Sequence[Step]) -> str:
        from .offline import statements

        return statements(self.engine, steps)
