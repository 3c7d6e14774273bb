"""The database as it is, in the words of schema.py; and what the revision files have made in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db_plugins.migrations.reading import UNKNOWN, Call, calls

from ..numbering import COUNTERS
from .journal import MIGRATIONS
from .schema import Collection, Index

__all__ = ["Owned", "owned_by", "read_collections"]


def read_collections(database: Any) -> dict[str, Collection]:
    """The collections that are there, without the server's and the library's own. Makes nothing."""
    found = {}
    for document in database.list_collections():
        name = document["name"]
        if name.startswith("system.") or name in (COUNTERS, MIGRATIONS) or document["type"] != "collection":
            continue
        indexes = (Index.of(each) for each in database[name].list_indexes() if each["name"] != "_id_")
        validator = document.get("options", {}).get("validator") or None
        found[name] = Collection(name, {index.name: index for index in indexes}, validator)
    return found


@dataclass
class Owned:
    """Collections and, by collection, indexes that revisions made and have not dropped."""

    collections: set[str] = field(default_factory=set)
    indexes: dict[str, set[str]] = field(default_factory=dict)
    #: Indexes of others that this revision drops, to make them anew around the rename of a field: still not ours.
    foreign: set[tuple[str, str]] = field(default_factory=set)

    def has(self, collection: str, index: str) -> bool:
        return index in self.indexes.get(collection, ())

    def follow(self, call: Call) -> None:
        """What one call of a revision changes."""
        name = call.argument(0, "name" if "collection" in call.name else "collection")
        if not isinstance(name, str):
            name = call.argument(0, "old")
        if not isinstance(name, str):
            return
        if call.name == "create_collection":
            self.collections.add(name)
            self.indexes.setdefault(name, set()).update(_names(call.argument(1, "indexes")))
        elif call.name == "drop_collection":
            self.collections.discard(name)
            self.indexes.pop(name, None)
        elif call.name == "rename_collection" and isinstance(new := call.argument(1, "new"), str):
            if name in self.collections:
                self.collections.discard(name)
                self.collections.add(new)
            self.indexes.setdefault(new, set()).update(self.indexes.pop(name, set()))
        elif call.name == "create_index" and isinstance(index := call.argument(2, "name"), str):
            if (name, index) not in self.foreign:
                self.indexes.setdefault(name, set()).add(index)
        elif call.name == "drop_index" and isinstance(index := call.argument(1, "name"), str):
            if not self.has(name, index):
                self.foreign.add((name, index))
            self.indexes.get(name, set()).discard(index)


def _names(indexes: Any) -> Iterable[str]:
    if indexes is UNKNOWN or not isinstance(indexes, (list, tuple)):
        return []
    return [str(each["name"]) for each in indexes if isinstance(each, dict) and "name" in each]


def owned_by(history: Sequence[Path]) -> Owned:
    """What the ``upgrade()`` of these revision files, the oldest first, have made."""
    owned = Owned()
    for path in history:
        owned.foreign = set()
        for call in calls(path, "upgrade"):
            if call.receiver == "op":
                owned.follow(call)
    return owned
