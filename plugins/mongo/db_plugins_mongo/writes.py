"""The verbs that write: rows are stored, merged with those that are there, updated and deleted.

    one row       single atomic calls: found and changed, else inserted; one that clashes is looked for again
    several rows  one bulk write in a transaction of its own, sent again as a whole if another call was faster
                  on a server without transactions in order, and the error counts the rows before it

Inside a transaction the server gives it up at the first clash: there a lost race is a ConflictError.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from pymongo import ReturnDocument
from pymongo import errors as driver

from db_plugins.awaiting import pause_after, sleep
from db_plugins.engine import BulkResult, Compiled, Conflict, Connection
from db_plugins.errors import ConflictError
from db_plugins.models import Field, ModelInfo
from db_plugins.nodes import Operand
from db_plugins.watching import say

from .codec import document_maker, path_of, row_maker
from .engine import Find
from .errors import TRANSIENT, note_stored
from .merges import Merge, clashing_paths, merge_of, updates_by_key
from .numbering import Numbering
from .translate import Translator
from .wording import text_of_delete, text_of_insert, text_of_update, text_of_updates

__all__ = ["PATIENCE_SECONDS", "WritingVerbs", "pause", "was_contention"]

T = TypeVar("T")
Document = dict[str, Any]
#: How long a call of its own is sent again while other calls hold its rows.
PATIENCE_SECONDS = 60.0
WRITE_CONFLICT = 112
#: How often rows are numbered anew because another program took their numbers.
_NUMBERED_AGAIN = 2
#: How often a batch is sent again. A row that is there by now may have been refused for another of its keys, as the server
#: names but one; or else it does clash with that other key, and will again.
_TIMES_AGAIN = {"no reason": 0, "numbers": _NUMBERED_AGAIN, "other key": 1, "race": 1_000_000}


class WritingVerbs(Connection):
    """The half of a Connection that writes, in the session if there is one."""

    _engine: str
    _session: Any
    _numbering: Numbering

    # -- new rows --------------------------------------------------------------------------------------------

    def insert(
        self,
        model: ModelInfo,
        given: tuple[Field, ...],
        rows: Sequence[tuple[Any, ...]],
        conflict: Conflict | None,
        returning: tuple[Field, ...],
    ) -> BulkResult:
        if not rows:
            return BulkResult()
        say(lambda: text_of_insert(model, given, len(rows), conflict))
        documents = document_maker(model, given)(rows)
        with self._during("write", model):
            if conflict is None:
                inserted, stored = self._store(model, given, documents), documents
            else:
                inserted, stored = self._merge(merge_of(model, given, conflict), documents)
        others = len(rows) - inserted
        ignores = conflict is not None and conflict.action == "ignore"
        return BulkResult(
            inserted=inserted,
            updated=0 if ignores else others,
            ignored=others if ignores else 0,
            rows=row_maker(model, returning)(stored) if returning else (),
        )

    def _store(self, model: ModelInfo, given: tuple[Field, ...], documents: list[Document]) -> int:
        numbered = model.numbered
        if numbered is None:
            self._insert(model, documents)
        elif numbered not in given:
            self._insert_numbered(model, numbered, documents)
        elif self._session is not None:  # others may number as soon as this commits
            self._move_past(model, documents)
            self._insert(model, documents)
        else:
            self._insert(model, documents)
            self._move_past(model, documents)
        return len(documents)

    def _move_past(self, model: ModelInfo, documents: list[Document]) -> None:
        if model.numbered is not None:
            path = path_of(model, model.numbered)
            self._numbering.move_past(model, max(document[path] for document in documents))

    def _number(self, model: ModelInfo, numbered: Field, documents: list[Document]) -> None:
        path = path_of(model, numbered)
        numbers = self._numbering.take(model, numbered, len(documents))
        for document, number in zip(documents, numbers, strict=True):
            document[path] = number

    def _insert_numbered(self, model: ModelInfo, numbered: Field, documents: list[Document]) -> None:
        for attempt in range(_NUMBERED_AGAIN + 1):
            self._number(model, numbered, documents)
            try:
                self._insert(model, documents)
                return
            except (driver.DuplicateKeyError, driver.BulkWriteError) as exc:
                if attempt == _NUMBERED_AGAIN or not self._number_past(model, numbered, exc):
                    raise

    def _number_past(self, model: ModelInfo, numbered: Field, exc: driver.OperationFailure) -> bool:
        """Number past the rows that another program stored with keys of its own, if that is what was wrong."""
        if clashing_paths(exc) != {path_of(model, numbered)}:
            return False
        self._numbering.restart(model, numbered)
        if self._session is not None:
            raise self._given_up(f"another program has numbered rows of {model.name} itself", exc) from exc
        return True

    def _given_up(self, fact: str, exc: Exception) -> ConflictError:
        """The error for a transaction that the server has given up, and that may well succeed the next time."""
        return ConflictError(fact, engine=self._engine, orig=exc, hint="run it again: run_transaction() does")

    def _insert(self, model: ModelInfo, documents: list[Document]) -> None:
        collection = self._collection(model.store)
        if len(documents) == 1:
            self._again(lambda session: collection.insert_one(documents[0], session=session))
        else:
            self._together(lambda session: collection.insert_many(documents, session=session))

    # -- rows that may be there already ----------------------------------------------------------------------

    def _merge(self, merge: Merge, documents: list[Document]) -> tuple[int, list[Document]]:
        """How many were inserted; and of one row, the row as it is stored."""
        model = merge.info
        by_hand = model.numbered is not None and merge.unnumbered is None
        if by_hand and self._session is not None:
            self._move_past(model, documents)
        stored: list[Document] = []
        if len(documents) == 1:
            is_new, row = self._merge_one(merge, documents[0])
            inserted, stored = int(is_new), [row]
        elif self._has_transactions():
            inserted = self._merge_together(merge, documents)
        else:
            inserted = self._merge_in_order(merge, documents)
        if by_hand and inserted and self._session is None:
            self._move_past(model, documents)
        return inserted, stored

    def _merge_one(self, merge: Merge, document: Document) -> tuple[bool, Document]:
        """Was it inserted? And the row as it is stored."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        # Where a clash costs nothing, the row to be ignored is taken for new: whoever calls has often just looked.
        looks = self._session is not None or not merge.ignores
        clash: driver.DuplicateKeyError | None = None
        for attempt in range(1_000_000):
            if looks or clash is not None:
                there = self._again(lambda session: self._meet(merge, document, session))
                if there is not None:
                    return False, there
            # A row that clashes with several indexes is refused by any one of them: so that of the key is asked first.
            if clash is not None:
                if not merge.is_about_key(clash) or time.monotonic() > deadline:
                    raise clash
                pause(attempt)  # it is gone again, or a secondary that is asked does not have it yet
            try:
                if merge.unnumbered is None:
                    self._insert(merge.info, [document])
                else:
                    self._insert_numbered(merge.info, merge.unnumbered, [document])
                return True, document
            except driver.DuplicateKeyError as exc:
                if self._session is not None:
                    self._refuse_race(merge, exc)
                    raise
                clash = exc
        raise AssertionError("unreachable")

    def _meet(self, merge: Merge, document: Document, session: Any) -> Document | None:
        """Update the stored row, or leave it as it is; ``None`` if there is none."""
        collection = self._collection(merge.info.store)
        place, change = merge.place(document), merge.change(document)
        if not change:
            found: Document | None = collection.find_one(place, session=session)
        else:
            found = collection.find_one_and_update(
                place, change, return_document=ReturnDocument.AFTER, session=session
            )
        return found

    def _refuse_race(self, merge: Merge, exc: driver.OperationFailure) -> None:
        """Raise ConflictError if another row with the key of the conflict was stored since the transaction looked."""
        if merge.is_about_key(exc):
            raise self._given_up(
                f"another transaction stored the same row of {merge.info.name} first", exc
            ) from exc

    def _merge_together(self, merge: Merge, documents: list[Document]) -> int:
        """All in one transaction; how many were inserted."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        tried: Counter[str] = Counter()
        for attempt in range(1_000_000):
            if merge.unnumbered is not None:
                self._number(merge.info, merge.unnumbered, documents)
            try:
                return self._together(lambda session: self._merge_batch(merge, documents, session))
            except driver.BulkWriteError as exc:
                reason = self._why_again(merge, exc)
                tried[reason] += 1
                if tried[reason] > _TIMES_AGAIN[reason] or time.monotonic() > deadline:
                    raise
            pause(attempt)
        raise AssertionError("unreachable")

    def _why_again(self, merge: Merge, exc: driver.BulkWriteError) -> str:
        """Why the batch may succeed if it is sent again: a word of ``_TIMES_AGAIN``."""
        if merge.unnumbered is not None and self._number_past(merge.info, merge.unnumbered, exc):
            return "numbers"
        if self._session is not None:
            self._refuse_race(merge, exc)
            return "no reason"
        if merge.is_about_key(exc):
            return "race"
        return "other key" if clashing_paths(exc) and self._is_there(merge, exc) else "no reason"

    def _merge_batch(self, merge: Merge, documents: list[Document], session: Any) -> int:
        collection = self._collection(merge.info.store)
        result = collection.bulk_write(merge.requests(documents), session=session)
        inserted = int(result.upserted_count)
        if merge.takes_two_steps and inserted < len(documents):
            new = result.upserted_ids
            there = [merge.second(d) for n, d in enumerate(documents) if n not in new]
            collection.bulk_write(there, session=session)
        return inserted

    def _is_there(self, merge: Merge, exc: driver.BulkWriteError) -> bool:
        """Is the row that clashed stored by now?"""
        place = exc.details["writeErrors"][0]["op"]["q"]
        return self._collection(merge.info.store).find_one(place, {"_id": 1}) is not None

    def _merge_in_order(self, merge: Merge, documents: list[Document]) -> int:
        """Without a transaction: what comes before a row that is refused stays. How many were inserted."""
        collection = self._collection(merge.info.store)
        inserted = done = 0
        try:
            while done < len(documents):
                if not merge.takes_two_steps:
                    rest = documents[done:]
                    if merge.unnumbered is not None:
                        self._number(merge.info, merge.unnumbered, rest)
                    try:
                        return inserted + int(collection.bulk_write(merge.requests(rest)).upserted_count)
                    except driver.BulkWriteError as exc:
                        if not exc.details["writeErrors"]:
                            raise
                        inserted += int(exc.details["nUpserted"])
                        done += int(exc.details["nUpserted"]) + int(exc.details["nMatched"])
                # This one by itself: it may have lost a race, and else it raises as it should.
                is_new, _row = self._merge_one(merge, documents[done])
                inserted += is_new
                done += 1
        except Exception as exc:
            note_stored(exc, done)
            raise
        return inserted

    # -- stored rows -----------------------------------------------------------------------------------------

    def update(self, query: Compiled, values: Mapping[Field, Operand]) -> int:
        find: Find = query.native
        info = find.info
        say(lambda: text_of_update(find, values))
        change = Translator(info).update_document(values)
        collection = self._collection(info.store)
        with self._during("write", info):
            if find.names_one:
                result = self._again(lambda s: collection.update_one(find.filter, change, session=s))
            elif isinstance(change, list) or any(set(values) & set(unique.fields) for unique in info.uniques):
                result = self._together(lambda s: collection.update_many(find.filter, change, session=s))
            else:  # nothing can fail half-way
                result = self._again(lambda s: collection.update_many(find.filter, change, session=s))
        return int(result.matched_count)

    def update_each(
        self,
        model: ModelInfo,
        key: tuple[Field, ...],
        columns: tuple[Field, ...],
        rows: Sequence[tuple[Any, ...]],
    ) -> int | None:
        if not rows:
            return 0
        say(lambda: text_of_updates(model, key, columns))
        requests = updates_by_key(model, key, columns, rows)
        write = self._collection(model.store).bulk_write
        run = self._again if len(requests) == 1 else self._together
        with self._during("write", model):
            return int(run(lambda session: write(requests, session=session)).matched_count)

    def delete(self, query: Compiled) -> int:
        find: Find = query.native
        collection = self._collection(find.info.store)
        say(lambda: text_of_delete(find))
        delete = collection.delete_one if find.names_one else collection.delete_many
        with self._during("write", find.info):
            return int(self._again(lambda session: delete(find.filter, session=session)).deleted_count)

    # -- what a connection brings ----------------------------------------------------------------------------

    @abstractmethod
    def _during(self, doing: str, model: ModelInfo | None = None) -> AbstractContextManager[None]:
        """Says what was going on when the driver raises."""

    @abstractmethod
    def _collection(self, name: str) -> Any:
        """The collection of this name."""

    def _has_transactions(self) -> bool:
        """Can ``_together`` undo what it did?"""
        return self._session is not None

    def _again(self, work: Callable[[Any], T]) -> T:
        """Do the work, which is one atomic call."""
        return work(self._session)

    def _together(self, work: Callable[[Any], T]) -> T:
        """Do the work, which is all or nothing where that can be."""
        return work(self._session)


def was_contention(exc: driver.OperationFailure) -> bool:
    """Did other calls hold the same rows?"""
    errors = (exc.details or {}).get("writeErrors") or [{}]
    return WRITE_CONFLICT in (exc.code, errors[0].get("code")) or exc.has_error_label(TRANSIENT)


def pause(attempt: int) -> None:
    """Wait a little, and longer each time, before the same is sent again."""
    sleep(pause_after(attempt))
