"""The role SupportsMigrations of MongoConnection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from pymongo.read_preferences import ReadPreference

from db_plugins.migrations.seam import Difference, LockRequest, Migration, Step, SupportsMigrations, Wanted

from .difference import differ
from .journal import Journal
from .locks import holding
from .running import MongoMigration, statements_of
from .state import read_collections

__all__ = ["MigratingConnection"]


class MigratingConnection(SupportsMigrations):
    """The role, over what a connection to a server has."""

    _database: Any
    _native: Any

    imports = ("from db_plugins_mongo import op",)

    def difference(self, wanted: Wanted) -> Difference:
        with self._during("read"):
            found = {} if wanted.from_nothing else read_collections(_of_primary(self._database))
            return differ(found, wanted)

    def heads(self) -> tuple[str, ...]:
        with self._during("read"):
            return Journal(_of_primary(self._database)).heads()

    @contextmanager
    def migrating(self, lock: LockRequest) -> Iterator[Migration]:
        with self._during("write"):
            databases = _of_primary(self._database), _of_primary(self._native)
            journal = Journal(databases[0])
            with holding(journal.collection, lock) as lease:
                yield MongoMigration(databases, journal, lease, lambda: self._during("write"))

    def statements(self, steps: Sequence[Step]) -> str:
        return statements_of(steps)

    def _during(self, doing: str) -> AbstractContextManager[None]:
        raise NotImplementedError


def _of_primary(database: Any) -> Any:
    """Read from the primary, wherever the entry's queries read: a secondary may not have heard of the lock, or of the step
    before."""
    return database.with_options(read_preference=ReadPreference.PRIMARY)
