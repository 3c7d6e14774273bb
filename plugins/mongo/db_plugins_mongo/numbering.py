"""Integer keys that the caller leaves out, numbered by a counter document for each collection.

``db_plugins_counters`` holds ``{_id: collection, last: the highest number given}``. A block of numbers is one
atomic step outside any transaction, so that writers never wait for each other; numbers of rolled-back rows
are lost.
"""

from __future__ import annotations

from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from db_plugins.errors import EngineError
from db_plugins.models import Field, ModelInfo

from .codec import path_of

__all__ = ["COUNTERS", "Numbering"]

COUNTERS = "db_plugins_counters"


class Numbering:
    """The counters of one database."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self._counters = database[COUNTERS]
        self._started: set[str] = set()
        #: The least that ``last`` can be: it only grows.
        self._known: dict[str, int] = {}

    def take(self, info: ModelInfo, field: Field, count: int) -> range:
        """The next ``count`` numbers, which nobody else gets."""
        if info.store not in self._started:
            self.restart(info, field)
        last = self._advance(info.store, {"$inc": {"last": count}})
        if last >= 1 << (field.bits - 1):
            raise EngineError(
                f"{field.label} has run out of numbers of {field.bits} bits", hint="make it a BigInteger"
            )
        return range(last - count + 1, last + 1)

    def move_past(self, info: ModelInfo, highest: int) -> None:
        """Let no number up to this one be given: a row was stored with it."""
        if highest > self._known.get(info.store, 0):
            self._advance(info.store, {"$max": {"last": highest}})

    def restart(self, info: ModelInfo, field: Field) -> None:
        """Move past every row that is there: before the first number, and where other programs insert too."""
        path = path_of(info, field)
        row = self._database[info.store].find_one({path: {"$type": "number"}}, {path: 1}, sort=[(path, -1)])
        self._advance(info.store, {"$max": {"last": int(row[path]) if row else 0}})
        self._started.add(info.store)

    def forget(self, store: str) -> None:
        """The collection is gone: start anew."""
        self._counters.delete_one({"_id": store})
        self._started.discard(store)
        self._known.pop(store, None)

    def _advance(self, store: str, change: dict[str, Any]) -> int:
        # Of several that make the counter at the same moment, a server may fail one with 11000 or answer with
        # nothing.
        for _ in range(100):
            try:
                counter = self._counters.find_one_and_update(
                    {"_id": store}, change, upsert=True, return_document=ReturnDocument.AFTER
                )
            except DuplicateKeyError:
                continue
            if counter is not None:
                self._known[store] = last = int(counter["last"])
                return last
        raise EngineError(
            f"the counter of {store} could not be advanced", hint="look at the collection " + COUNTERS
        )
