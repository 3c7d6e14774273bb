"""``ENGINE: "mongomock"``: MongoDB in the memory of this process, through mongomock-ng, for demos and tests.

The mock stores documents, keeps unique indexes and answers the path form of filters. What it works out
differently from MongoDB (expressions, calculated updates, some orders) is left to the core, and it has no
transactions.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from itertools import islice
from typing import Any

from pymongo import IndexModel
from pymongo.errors import PyMongoError

from db_plugins.config import Settings
from db_plugins.engine import BulkResult, Compiled, Conflict, Connection
from db_plugins.errors import EngineError, PluginLoadError
from db_plugins.evaluation import compute
from db_plugins.models import Field, ModelInfo
from db_plugins.models.values import fit
from db_plugins.nodes import Compare, Like, Node, Operand, Value
from db_plugins.spec import Order
from db_plugins.watching import say

from . import storage
from .client import database_of
from .codec import document_maker, path_of, row_maker
from .connection import StoringVerbs
from .engine import DocumentEngine, Find
from .errors import note_stored
from .merges import Merge, change_of, placer
from .migrations.schema import Collection
from .translate import CannotSay, Filter, Translator
from .wording import text_of_update, text_of_updates

__all__ = ["MockConnection", "MongomockEngine"]

#: The one client: every entry of the same DB_NAME in this process sees the same rows.
_clients: list[Any] = []
_lock = threading.RLock()
_INDEX_OPTIONS = ("unique", "sparse", "partialFilterExpression")


class MockTranslator(Translator):
    """Says only what the mock understands as MongoDB does."""

    def filter(self, node: Node) -> Filter:
        """The filter, but of a pattern, for its regular expressions are Python's, and of a bare number."""
        if isinstance(node, Like):
            raise CannotSay("the mock's regular expressions have no end of the whole text")
        if isinstance(node, Compare) and any(
            isinstance(side, Value) and side.field is None for side in (node.left, node.right)
        ):
            raise CannotSay("the mock cannot compare Decimal128 with other numbers")
        return super().filter(node)

    def expression(self, operand: Operand) -> Any:
        """Never said."""
        raise CannotSay("the mock calculates otherwise")

    def sort(self, order: Sequence[Order]) -> tuple[list[tuple[str, int]], dict[str, Any]]:
        terms, flags = super().sort(order)
        if flags:
            raise CannotSay("the mock has no computed order")
        return terms, flags


class MongomockEngine(DocumentEngine):
    """mongomock-ng. Without transactions."""

    name = "mongomock"
    translator = MockTranslator
    joins = False
    capabilities = DocumentEngine.capabilities

    def connect(self, settings: Settings) -> Connection:
        """The database of this name in the process's one mock client."""
        return MockConnection(settings, self.name)


class MockConnection(StoringVerbs):
    """One database of the process's mock client. One write at a time, undone if it fails half-way."""

    def __init__(self, settings: Settings, engine: str) -> None:
        super().__init__(settings, engine, _client(settings)[database_of(settings)])

    # The mock's collections are dicts: nobody may read them while another call writes.

    def rows(self, query: Compiled) -> list[tuple[Any, ...]]:
        return [row for part in self.fetch(query) for row in part]

    def _some(self, cursor: Any, size: int) -> list[dict[str, Any]]:
        return list(islice(cursor, size))  # its cursors have no to_list()

    def fetch(self, query: Compiled, batch: int | None = None) -> Iterator[list[tuple[Any, ...]]]:
        with _lock:
            parts = list(super().fetch(query, batch))
        yield from parts

    def count(self, query: Compiled) -> int:
        with _lock:
            return super().count(query)

    def insert(
        self,
        model: ModelInfo,
        given: tuple[Field, ...],
        rows: Sequence[tuple[Any, ...]],
        conflict: Conflict | None,
        returning: tuple[Field, ...],
    ) -> BulkResult:
        with _lock:
            return super().insert(model, given, rows, conflict, returning)

    def delete(self, query: Compiled) -> int:
        with _lock:
            return super().delete(query)

    def _make(self, wanted: Collection, there: set[str]) -> None:
        """Without a validator, and of the indexes those that mongomock knows."""
        indexes = [
            IndexModel(list(index.keys), name=index.name, **options)
            for index in wanted.indexes.values()
            if all(direction in (1, -1) for _name, direction in index.keys)
            for options in [{k: v for k, v in index.options.items() if k in _INDEX_OPTIONS}]
        ]
        storage.make_collection(self._database, wanted.name, there, indexes)

    @property
    def native(self) -> Any:
        """mongomock's Database."""
        return self._database

    def _insert(self, model: ModelInfo, documents: list[dict[str, Any]]) -> None:
        collection = self._database[model.store]
        with self._undone(collection) as done:
            if len(documents) > 1 and _insert_at_once(collection, documents):
                done += [(document["_id"], None) for document in documents]
                return
            for document in documents:
                collection.insert_one(document)
                done.append((document["_id"], None))

    def _merge(self, merge: Merge, documents: list[dict[str, Any]]) -> tuple[int, list[dict[str, Any]]]:
        """Row by row; calculated values are worked out here."""
        collection = self._database[merge.info.store]
        inserted: list[dict[str, Any]] = []
        stored: list[dict[str, Any]] = []
        with self._undone(collection) as done:
            for document in documents:
                place = merge.place(document)
                there = collection.find_one(place)
                if there is None:
                    if merge.unnumbered is None:
                        self._insert(merge.info, [document])
                    else:
                        self._insert_numbered(merge.info, merge.unnumbered, [document])
                    inserted.append(document)
                    done.append((document["_id"], None))
                elif not merge.ignores:
                    known = _worked_out(merge.info, there, merge.conflict.update)
                    calculated = MockTranslator(merge.info).update_document(known) if known else {}
                    if change := change_of(document, merge.columns, calculated):
                        collection.update_one({"_id": there["_id"]}, change)
                        done.append((there["_id"], there))
                if len(documents) == 1:
                    stored = [collection.find_one(place)]
            if inserted and merge.unnumbered is None:
                self._move_past(merge.info, inserted)
        return len(inserted), stored

    def update(self, query: Compiled, values: Mapping[Field, Operand]) -> int:
        """Row by row; calculated values are worked out here."""
        find: Find = query.native
        info = find.info
        collection = self._database[info.store]
        say(lambda: text_of_update(find, values))
        with self._during("write", info), self._undone(collection) as done:
            documents = list(collection.find(find.filter))
            for document in documents:
                known = _worked_out(info, document, values)
                collection.update_one({"_id": document["_id"]}, MockTranslator(info).update_document(known))
                done.append((document["_id"], document))
        return len(documents)

    def update_each(
        self,
        model: ModelInfo,
        key: tuple[Field, ...],
        columns: tuple[Field, ...],
        rows: Sequence[tuple[Any, ...]],
    ) -> int:
        """Row by row."""
        collection = self._database[model.store]
        place = placer(model, key)
        changed = [path_of(model, f) for f in columns]
        say(lambda: text_of_updates(model, key, columns))
        documents = document_maker(model, (*key, *columns))(rows)
        with self._during("write", model), self._undone(collection) as done:
            for document in documents:
                there = collection.find_one(place(document))
                if there is not None:
                    collection.update_one({"_id": there["_id"]}, change_of(document, changed, {}))
                    done.append((there["_id"], there))
            return len(done)

    @contextmanager
    def _undone(self, collection: Any) -> Iterator[list[tuple[Any, dict[str, Any] | None]]]:
        """Alone until the end; an error undoes what the list says: keys, and what was there before."""
        done: list[tuple[Any, dict[str, Any] | None]] = []
        with _lock:
            try:
                yield done
            except (PyMongoError, EngineError) as exc:
                for key, before in reversed(done):  # so that no two ever share a unique value on the way back
                    if before is None:
                        collection.delete_one({"_id": key})
                    else:
                        collection.replace_one({"_id": key}, before)
                note_stored(exc, 0)
                raise

    def version(self) -> str:
        return f"mongomock-ng {metadata.version('mongomock-ng')}"

    def close(self) -> None:
        pass


def _insert_at_once(collection: Any, documents: list[dict[str, Any]]) -> bool:
    """Insert all, or none: then one of them is refused, and inserting them one by one says which.

    The mock compares each new document with every other, for each unique index: 1,500 rows took 6 s. Making such an index
    looks at every document once, so they are made anew when all are there.
    """
    uniques = {name: i for name, i in collection.index_information().items() if i.get("unique")}
    if not uniques:
        return False
    stored: list[Any] = []
    for name in uniques:
        collection.drop_index(name)
    try:
        for document in documents:
            collection.insert_one(document)
            stored.append(document["_id"])
        _make_indexes(collection, uniques)
    except BaseException as exc:
        collection.delete_many({"_id": {"$in": stored}})
        _make_indexes(collection, uniques)
        if isinstance(exc, Exception):
            return False
        raise
    return True


def _make_indexes(collection: Any, indexes: Mapping[str, Mapping[str, Any]]) -> None:
    for name, index in indexes.items():
        options = {option: value for option, value in index.items() if option not in ("key", "v", "ns")}
        collection.create_index(index["key"], name=name, **options)


def _worked_out(
    info: ModelInfo, document: Mapping[str, Any], values: Mapping[Field, Operand]
) -> dict[Field, Operand]:
    """The operands' values for a stored row."""
    row = row_maker(info, info.fields)([document])[0]
    before = dict(zip((f.name for f in info.fields), row, strict=True))
    return {f: Value(fit(f, compute(operand, before)), f) for f, operand in values.items()}


def _client(settings: Settings) -> Any:
    """The process's one mock client."""
    try:
        import mongomock_ng
    except ImportError as exc:
        raise PluginLoadError(
            f"{settings.name}: ENGINE mongomock needs mongomock-ng, which is not installed",
            hint='pip install "db-plugins-mongo[mock]"',
        ) from exc
    with _lock:
        if not _clients:
            _clients.append(mongomock_ng.MongoClient(tz_aware=False, uuidRepresentation="standard"))
    return _clients[0]
