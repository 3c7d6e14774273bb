"""An insert with a conflict, and rows updated by their key, as requests of PyMongo's. Pure.

    what                          request
    rows left as they are         upsert of ``$setOnInsert``: matched is ignored
    columns of the new row        upsert of ``$set`` and ``$unset``, and ``$setOnInsert`` of the others
    anything from the stored row  that first upsert, then an update of the rows that it did not insert

The last takes two steps, for a pipeline with ``upsert`` cannot tell a new row from a stored one that is all NULL.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from pymongo import UpdateOne
from pymongo import errors as driver

from db_plugins.engine import Conflict
from db_plugins.models import Field, Kind, ModelInfo

from .codec import document_maker, path_of
from .translate import Translator

__all__ = ["Merge", "change_of", "clashing_paths", "merge_of", "placer", "updates_by_key"]

Document = dict[str, Any]
Change = dict[str, Any] | list[dict[str, Any]]
Place = Callable[[Document], Document]
Request = UpdateOne
DUPLICATE_KEY = 11000


@dataclass(frozen=True)
class Merge:
    """One insert with its conflict: ``key`` and ``columns`` are paths, ``unnumbered`` is the numbered key if left out.

    ``place`` makes the filter that finds the row of this key.
    """

    info: ModelInfo
    conflict: Conflict
    place: Place
    key: tuple[str, ...]
    columns: frozenset[str]
    unnumbered: Field | None

    @property
    def ignores(self) -> bool:
        """Are stored rows left as they are?"""
        return self.conflict.action == "ignore"

    @property
    def takes_two_steps(self) -> bool:
        """Does an update of a stored row set what a new row does not hold?"""
        return bool(self.conflict.update) and not self.ignores

    @cached_property
    def calculated(self) -> Change:
        """The update of the conflict's operands."""
        return Translator(self.info).update_document(self.conflict.update) if self.conflict.update else {}

    def change(self, document: Document) -> Change:
        """The update of the stored row; empty if it stays as it is."""
        return {} if self.ignores else change_of(document, self.columns, self.calculated)

    def requests(self, documents: Sequence[Document]) -> list[Request]:
        """The upserts that insert the rows where there is none, else set the columns of the new one."""
        place, key, columns = self.place, self.key, self.columns
        if self.takes_two_steps or not columns:
            return [UpdateOne(place(d), {"$setOnInsert": d}, upsert=True) for d in documents]
        made = []
        for document in documents:
            kept: Document = {}
            rest: Document = {}  # but the key, which a new row takes from the filter
            for path, value in document.items():
                if path in columns:
                    kept[path] = value
                elif path not in key:
                    rest[path] = value
            change = {"$set": kept} if len(kept) == len(columns) else change_of(kept, columns, {})
            if rest:
                change["$setOnInsert"] = rest
            made.append(UpdateOne(place(document), change, upsert=True))
        return made

    def second(self, document: Document) -> Request:
        """The update of a row that was there."""
        return UpdateOne(self.place(document), self.change(document))

    def is_about_key(self, exc: driver.OperationFailure) -> bool:
        """Did the row clash with another of the conflict's own key?"""
        return clashing_paths(exc) == set(self.key)


def merge_of(info: ModelInfo, given: Collection[Field], conflict: Conflict) -> Merge:
    """The merge of rows that give these columns."""
    key = tuple(path_of(info, f) for f in conflict.key)
    return Merge(
        info,
        conflict,
        placer(info, conflict.key),
        key,
        # A column of the key is as it is to be already.
        frozenset(path_of(info, f) for f in conflict.columns).difference(key),
        None if info.numbered in given else info.numbered,
    )


@lru_cache(maxsize=1024)
def placer(info: ModelInfo, key: tuple[Field, ...]) -> Place:
    """The function from a document to the filter that finds the row of its key."""
    paths = [path_of(info, f) for f in key]
    if any(f.kind in (Kind.JSON, Kind.NATIVE) for f in key):  # {"$ne": 1} must not be read as an operator
        return lambda document: {path: {"$eq": document[path]} for path in paths}
    if len(paths) == 1:
        only = paths[0]
        return lambda document: {only: document[only]}
    return lambda document: {path: document[path] for path in paths}


def change_of(document: Document, columns: Collection[str], calculated: Change) -> Any:
    """The update that sets these fields as in the document, what it lacks to NULL, and also what was calculated."""
    kept = {path: document[path] for path in columns if path in document}
    gone = [path for path in columns if path not in document] if len(kept) < len(columns) else []
    if isinstance(calculated, list):  # a pipeline; in one stage, so that all see the row as it was
        literals = {path: {"$literal": value} for path, value in kept.items()}
        return [{"$set": {**calculated[0]["$set"], **literals, **dict.fromkeys(gone, "$$REMOVE")}}]
    if calculated:
        kept |= calculated.get("$set", {})
        gone += calculated.get("$unset", ())
    change: Document = {"$set": kept} if kept else {}
    if gone:
        change["$unset"] = dict.fromkeys(gone, "")
    return change


def updates_by_key(
    info: ModelInfo, key: tuple[Field, ...], columns: tuple[Field, ...], rows: Sequence[tuple[Any, ...]]
) -> list[Request]:
    """An update for each row, which holds the values of ``key`` and then those of ``columns``."""
    place = placer(info, key)
    paths = [path_of(info, f) for f in key]
    changed = [path_of(info, f) for f in columns]
    made = []
    for document in document_maker(info, (*key, *columns))(rows):
        found = place(document)
        for path in paths:
            del document[path]
        whole = len(document) == len(changed)
        made.append(UpdateOne(found, {"$set": document} if whole else change_of(document, changed, {})))
    return made


def clashing_paths(exc: driver.OperationFailure) -> set[str]:
    """The fields of the unique index that refused a row; empty if it was something else."""
    details = exc.details or {}
    first = (details.get("writeErrors") or [details])[0]
    if first.get("code", exc.code) != DUPLICATE_KEY:
        return set()
    return set(first.get("keyPattern") or ())
