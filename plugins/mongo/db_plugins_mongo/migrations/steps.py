"""An operation of a revision, as plain data: what it sends, and what it refuses before.

refuse   looks at the database, and raises before anything is sent
send     can be repeated: sent twice it leaves the same, unless ``is_repeatable`` says otherwise
foresee  tells the Preview what later operations of the revision will find

collection_steps.py has those about collections and indexes, document_steps.py those about what is in documents.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pymongo import errors as driver

from ..storage import existing_collections

__all__ = ["ALLOW_DROP", "CheckingOperation", "Operation", "Preview", "again"]

#: The remedy of what is refused because it gives data up.
ALLOW_DROP = "run it with --allow-drop if they may go"
_EVERYTHING = "*"


class Preview:
    """The database as an operation will find it: it is asked under the names that things have now."""

    def __init__(self, database: Any, *, allow_drop: bool) -> None:
        self._database = database
        self.allow_drop = allow_drop
        self._there = existing_collections(database)
        self._collections: dict[str, str | None] = {}
        self._fields: dict[tuple[str, str], str] = {}
        self._changed: set[tuple[str, str]] = set()

    def collection(self, name: str) -> Any | None:
        """The collection that will have this name; ``None`` if it is not there yet."""
        now = self._collections.get(name, name)
        return self._database[now] if now in self._there else None

    def path(self, collection: str, name: str) -> str:
        """What the field is called now."""
        return self._fields.get((collection, name), name)

    def knows(self, collection: str, *names: str) -> bool:
        """Do these fields still hold what they will hold then?"""
        changed = {name for where, name in self._changed if where == collection}
        return _EVERYTHING not in changed and not changed & set(names)

    def made(self, name: str) -> None:
        self._collections.setdefault(name, name if name in self._there else None)

    def dropped(self, name: str) -> None:
        self._collections[name] = None

    def renamed(self, old: str, new: str) -> None:
        self._collections[new] = self._collections.get(old, old)
        self._collections[old] = None
        self._fields |= {(new, f): now for (where, f), now in self._fields.items() if where == old}
        self._changed |= {(new, f) for where, f in self._changed if where == old}

    def renamed_field(self, collection: str, old: str, new: str) -> None:
        self._fields[collection, new] = self._fields.pop((collection, old), old)

    def changed(self, collection: str, *names: str) -> None:
        self._changed |= {(collection, name) for name in names or (_EVERYTHING,)}


@dataclass(frozen=True)
class Operation(ABC):
    """One operation. ``is_atomic``: what the server answers with an error has not been done."""

    is_repeatable: ClassVar[bool] = True
    is_atomic: ClassVar[bool] = False

    @property
    @abstractmethod
    def text(self) -> str:
        """In the shell's words."""

    @property
    def digest(self) -> str:
        """The same for the same operation."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    def refuse(self, preview: Preview) -> bool:
        """Raise if it must not be sent. False if that can only be known when its turn comes."""
        return True

    def foresee(self, preview: Preview) -> None:
        """Tell what it will change."""
        return

    @abstractmethod
    def send(self, database: Any) -> None:
        """Do it."""


@dataclass(frozen=True)
class CheckingOperation(Operation):
    """One that looks at a collection's documents; what an operation before it will change can only be seen in its turn."""

    collection: str

    def refuse(self, preview: Preview) -> bool:
        there = preview.collection(self.collection)
        if there is None:
            return True
        if not preview.knows(self.collection, *self._reads):
            return False
        self._look(there, lambda name: preview.path(self.collection, name))
        return True

    @property
    @abstractmethod
    def _reads(self) -> Sequence[str]:
        """The fields it looks at."""

    @abstractmethod
    def _look(self, there: Any, path: Callable[[str], str]) -> None:
        """Raise MigrationError if the documents forbid it; ``path`` says what a field is called now."""


def again(work: Callable[[], Any]) -> Any:
    """Sent again when another call was faster: what is sent can be repeated."""
    from ..writes import pause, was_contention

    for attempt in range(50):
        try:
            return work()
        except driver.OperationFailure as exc:
            if not was_contention(exc) and exc.code != 11000:
                raise
        pause(attempt)
    return work()
