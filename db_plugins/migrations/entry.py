"""One entry as migrations see it: its Database, its folder, the revisions, and the engine's role."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from ..engine import Capability
from ..errors import DatabaseMissingError, MigrationError, UnsupportedOperationError
from .files import Folder
from .revisions import History
from .seam import Difference, Rename, Step, SupportsMigrations, Wanted

if TYPE_CHECKING:
    from ..database import Database

__all__ = ["Entry", "Where"]

#: The module that a file takes ``op`` from.
_OP = re.compile(r"^from (\S+) import .*\bop\b", re.MULTILINE)

Where = str | os.PathLike[str] | None


class Entry:
    """Raises UnsupportedOperationError on an engine without migrations."""

    def __init__(self, db: Database, folder: Where = None) -> None:
        if Capability.MIGRATIONS not in db.capabilities:
            raise UnsupportedOperationError(
                f"{db.engine} has no migrations",
                hint="`dbp initdb`, or create_all(), makes what its models need",
            )
        self.db = db
        self.folder = Folder(db._settings, folder)

    @property
    def name(self) -> str:
        """The entry's name."""
        return self.db.name

    @cached_property
    def history(self) -> History:
        """The revision files, read once."""
        return History(self.folder)

    @property
    def role(self) -> SupportsMigrations:
        """The engine's side of migrations."""
        connection = self.db._runner().connection
        if not isinstance(connection, SupportsMigrations):
            raise UnsupportedOperationError(
                f"{self.db.engine} cannot be migrated inside a transaction", hint="use the Database itself"
            )
        return connection

    @contextmanager
    def errors(self) -> Iterator[None]:
        """What the driver raises, in our words."""
        with self.db._root_runner().errors():
            yield

    def check_engine(self, steps: Sequence[Step]) -> None:
        """Refuse revisions that were written for another kind of engine, before the first of them is run. Their ``op`` tells:
        one of MongoDB in an entry that is SQL now (or the other way round) finds nothing that performs it."""
        ours = set(_OP.findall("\n".join(self.role.imports)))
        for step in steps if ours else ():
            theirs = _OP.findall(step.path.read_text(encoding="utf-8"))
            if theirs and not ours & set(theirs):
                raise MigrationError(
                    f"revision {step.name} was written for another engine than {self.db.engine}: its op is that of {theirs[0]}, and "
                    f"{self.db.engine} has that of {', '.join(sorted(ours))}",
                    hint=f"give {self.name!r} a folder of its own for this engine, by the key MIGRATIONS",
                )

    def applied(self) -> tuple[str, ...]:
        """The revisions that the database is at."""
        with self.errors():
            return tuple(sorted(self.role.heads()))

    def wanted(
        self,
        *,
        renames: Sequence[Rename] = (),
        from_nothing: bool = False,
        applied: Sequence[str] | None = None,
    ) -> Wanted:
        """What the models ask for. ``applied``, if it is known already, saves asking the database."""
        from ..models import association_tables, own_tables

        models = self.db._models()
        return Wanted(
            models=own_tables(models),
            links=association_tables(models),
            history=self.history.paths(self.applied() if applied is None else applied),
            renames=tuple(renames),
            from_nothing=from_nothing,
        )

    def difference(
        self,
        *,
        renames: Sequence[Rename] = (),
        from_nothing: bool = False,
        applied: Sequence[str] | None = None,
    ) -> Difference:
        """What has to change so that the database is as the models ask for."""
        wanted = self.wanted(renames=renames, from_nothing=from_nothing, applied=applied)
        with self.errors():
            return self.role.difference(wanted)

    def models_there(self) -> list[str]:
        """The models whose table or collection the database has."""
        try:
            return list(self.db.ping().models)
        except DatabaseMissingError:  # migrating makes it, where the engine can
            return []

    def check_single_head(self) -> None:
        """Raise MultipleHeadsError unless the history has one end at most."""
        self.history.head()

    def check_not_by_hand(self, models_there: Sequence[str]) -> None:
        """Raise MigrationError if, with no revision applied, what the first ones make is there already."""
        if models_there and self.history.revisions:
            raise MigrationError(
                f"{self.name!r} has {', '.join(models_there)} already, and no revision is recorded in it",
                hint="if the database is as a revision makes it, say so with `dbp stamp REVISION`; if it was made by "
                "other means, `dbp check` says what differs from the models",
            )
