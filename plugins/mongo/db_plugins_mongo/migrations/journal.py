"""The collection ``dbp_migrations``: which revisions the database is at, and how far one that is under way has come.

    {_id: "lock", owner, host, process, since, until}              see locks.py
    {_id: "heads", revisions: ["3f2a91c07d44"]}
    {_id: "3f2a91c07d44:up:2", n: 2, state: "running" | "done" | "failed", text, digest, …}   one for each operation

MongoDB's DDL knows no transactions: an operation's row says "running" before it is sent and "done" after. When the last is
done the heads are written, and then the rows removed: rows that a crash leaves between are known by what they led to. No
transaction: one whose client is killed in it holds the heads for up to a minute, and the next run fails with a WriteConflict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pymongo.write_concern import WriteConcern

__all__ = ["MIGRATIONS", "Journal", "Row"]

MIGRATIONS = "dbp_migrations"


@dataclass(frozen=True, slots=True)
class Row:
    """One operation of a revision, as it was noted."""

    revision: str
    is_upgrade: bool
    position: int
    state: str
    text: str
    digest: str
    is_repeatable: bool
    after: tuple[str, ...]

    @property
    def key(self) -> str:
        return f"{self.revision}:{'up' if self.is_upgrade else 'down'}:{self.position}"

    def document(self) -> dict[str, Any]:
        return {
            "_id": self.key,
            "revision": self.revision,
            "is_upgrade": self.is_upgrade,
            "n": self.position,
            "state": self.state,
            "text": self.text,
            "digest": self.digest,
            "is_repeatable": self.is_repeatable,
            "after": list(self.after),
        }

    @classmethod
    def of(cls, document: dict[str, Any]) -> Row:
        return cls(
            document["revision"],
            document["is_upgrade"],
            int(document["n"]),
            document["state"],
            document["text"],
            document["digest"],
            document["is_repeatable"],
            tuple(document["after"]),
        )


class Journal:
    """Heads and rows of one database."""

    def __init__(self, database: Any) -> None:
        # What the heads say must outlive a change of the primary.
        self.collection = database.get_collection(MIGRATIONS, write_concern=WriteConcern("majority"))

    def heads(self) -> tuple[str, ...]:
        """The revisions the database is at. Makes nothing."""
        found = self.collection.find_one({"_id": "heads"})
        return tuple(found["revisions"]) if found else ()

    def rows(self) -> list[Row]:
        """Of the revision under way, in order; none of one that is recorded as applied already."""
        found = [Row.of(d) for d in self.collection.find({"n": {"$exists": True}}).sort("n", 1)]
        heads = set(self.heads())
        return [row for row in found if set(row.after) != heads]

    def note(self, row: Row) -> None:
        """Write one operation's row."""
        self.collection.replace_one({"_id": row.key}, row.document(), upsert=True)

    def forget(self, row: Row) -> None:
        """The operation was not begun."""
        self.collection.delete_one({"_id": row.key})

    def arrive(self, heads: Sequence[str]) -> None:
        """Record the heads, and that nothing is under way. Killed between, the rows are known by what they led to."""
        self.collection.replace_one({"_id": "heads"}, {"_id": "heads", "revisions": list(heads)}, upsert=True)
        self.clear()

    def clear(self) -> None:
        """Nothing is under way: before a revision begins too, lest rows that were left are taken for another's later."""
        self.collection.delete_many({"n": {"$exists": True}})
