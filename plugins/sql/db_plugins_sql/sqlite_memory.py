"""A database in memory for an AsyncDatabase: more than one connection sees it, none of them holds it.

    sync     one connection is the database, and calls take it in turn
    awaited  a cancelled task has its connection thrown away, and each loop has its own: the database has a name in this
             process (SQLite's ``memdb``), and lives while a keeper, which runs no statement, is connected to it

``memdb`` and not a shared cache: there a connection that meets the lock of another waits as it does for a file, where a
shared cache fails at once (SQLITE_LOCKED_SHAREDCACHE, which no busy timeout heeds).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from weakref import WeakSet

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

__all__ = ["SharedMemory", "is_in_memory", "is_shared"]


def is_in_memory(url: URL) -> bool:
    """Does the database live only in this process?"""
    path = url.database or ":memory:"
    return path == ":memory:" or "mode=memory" in path or url.query.get("mode") == "memory" or is_shared(url)


def is_shared(url: URL) -> bool:
    """Has it been given a name, by which several connections find it?"""
    said = {("cache", "shared"), ("vfs", "memdb")}
    where = (url.database or "").partition("?")[2].split("&")
    query: Mapping[str, Any] = url.query
    in_memory = query.get("mode") == "memory" or query.get("vfs") == "memdb" or "memory" in str(url.database)
    return in_memory and any(query.get(key) == value or f"{key}={value}" in where for key, value in said)


class SharedMemory:
    """The name of one, and its keeper: from the first connection's opening to the close of the last."""

    def __init__(self) -> None:
        self._name = f"file:/dbp_{uuid4().hex}"
        self._lock = Lock()
        self._keeper: sqlite3.Connection | None = None
        self._users: WeakSet[Any] = WeakSet()

    def named(self, url: URL) -> URL:
        """The address with the name; one that its user has named stays as it is."""
        if is_shared(url):
            return url
        return url.set(database=self._name).update_query_dict({"vfs": "memdb", "uri": "true"})

    def enter(self, user: Any, url: URL) -> None:
        """Hold the database at this address for one that uses it."""
        with self._lock:
            self._users.add(user)
            if self._keeper is None:
                (path, *_), _options = url.get_dialect()().create_connect_args(url)
                self._keeper = sqlite3.connect(path, uri=True, check_same_thread=False)

    def leave(self, user: Any) -> None:
        """It was closed. The database goes with the last."""
        with self._lock:
            self._users.discard(user)
            if self._keeper is not None and not self._users:
                self._keeper.close()
                self._keeper = None
