"""The migration lock: a document with a lease, renewed while its holder lives, all by the server's clock.

One findAndModify takes it, if nobody has it or its lease has run out. A holder that was killed is followed after
``LEASE_SECONDS``; one that was only held up finds out before its next operation, and stops.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError

from db_plugins.errors import MigrationLockedError
from db_plugins.migrations.seam import Holder, LockRequest

from ..writes import was_contention
from .journal import MIGRATIONS

__all__ = ["Lease", "holding"]

log = logging.getLogger("db_plugins")

LEASE_SECONDS = 15.0
RENEW_SECONDS = 4.0
POLL_SECONDS = 0.25
_LOCK = {"_id": "lock"}


class Lease:
    """The lock of one database, in the hands of ``holder`` when ``take`` has returned True."""

    def __init__(self, collection: Any, holder: Holder) -> None:
        self._collection = collection
        self._holder = holder
        self._owner = secrets.token_hex(16)
        self._ended = threading.Event()
        self._lost = threading.Event()

    def take(self) -> bool:
        """Take it, or go on having it; False while another has it."""
        mine = {
            "_id": "lock",
            "owner": self._owner,
            "host": {"$literal": self._holder.host},
            "process": self._holder.process,
            "since": {"$literal": self._holder.since},
            "until": {"$add": ["$$NOW", int(LEASE_SECONDS * 1000)]},
        }
        # As numbers: the wire server of the tests takes every date for earlier than $$NOW.
        run_out = {"$lte": [{"$ifNull": [{"$toLong": "$until"}, 0]}, {"$toLong": "$$NOW"}]}
        is_free = {"$or": [run_out, {"$eq": ["$owner", self._owner]}]}
        try:
            found = self._collection.find_one_and_update(
                _LOCK,
                [{"$replaceWith": {"$cond": [is_free, mine, "$$ROOT"]}}],
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except DuplicateKeyError:
            return False  # another made the document at the same moment
        except OperationFailure as exc:
            if was_contention(exc):
                return False
            raise
        return found is not None and found.get("owner") == self._owner

    def holder(self) -> Holder | None:
        """Who has it."""
        found = self._collection.find_one(_LOCK)
        if not found or "host" not in found:
            return None
        since = found["since"]
        return Holder(
            found["host"], int(found["process"]), since if since.tzinfo else since.replace(tzinfo=UTC)
        )

    def confirm(self) -> None:
        """Renew it. Raises MigrationLockedError if another has taken it since."""
        if not self._lost.is_set() and not self._renewed():
            self._lost.set()
        if self._lost.is_set():
            raise MigrationLockedError(
                f"this migration was held up for more than {LEASE_SECONDS:g} s and its lock ran out: "
                f"another migration holds it{_named(self.holder())}",
                hint="run it again when that is done: what was applied is known",
            )

    def _renewed(self) -> bool:
        until = {"$add": ["$$NOW", int(LEASE_SECONDS * 1000)]}
        for attempt in range(20):
            try:
                found = self._collection.update_one(
                    {**_LOCK, "owner": self._owner}, [{"$set": {"until": until}}]
                )
            except OperationFailure as exc:
                if not was_contention(exc) or attempt == 19:
                    raise
                time.sleep(0.01)
            else:
                return bool(found.matched_count)
        return False

    def keep(self) -> None:
        """Renew it until it is given back: a thread's work."""
        while not self._ended.wait(RENEW_SECONDS):
            try:
                if not self._renewed():
                    self._lost.set()
                    return
            except PyMongoError as exc:
                # The server may be back before the lease has run out.
                log.warning("the migration lock could not be renewed: %s", type(exc).__name__)

    def give_back(self) -> None:
        """Delete the document, if it is still ours. A server that is gone lets the lease run out."""
        self._ended.set()
        with suppress(PyMongoError):
            self._collection.delete_one({**_LOCK, "owner": self._owner})


@contextmanager
def holding(collection: Any, request: LockRequest) -> Iterator[Lease]:
    """Wait for the lock, and keep it until the end."""
    lease = Lease(collection, request.holder)
    _wait(lease, request)
    keeper = threading.Thread(target=lease.keep, name=f"{MIGRATIONS} lock", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        lease.give_back()
        keeper.join(timeout=RENEW_SECONDS)


def _wait(lease: Lease, request: LockRequest) -> None:
    deadline = None if request.timeout is None else time.monotonic() + request.timeout
    has_told = False
    while not lease.take():
        if deadline is not None and time.monotonic() >= deadline:
            raise MigrationLockedError(
                f"another migration holds the lock{_named(lease.holder())}",
                hint="wait for it, or raise --lock-timeout",
            )
        if not has_told:
            request.waiting(lease.holder())
            has_told = True
        time.sleep(
            POLL_SECONDS if deadline is None else max(0.0, min(POLL_SECONDS, deadline - time.monotonic()))
        )


def _named(holder: Holder | None) -> str:
    return "" if holder is None else f": {holder}"
