"""``ENGINE: "mongomock"``: MongoDB in the memory of this process, through mongomock-ng, for demos and tests.

The mock stores documents, keeps unique indexes and answers the path form of filters. What it works out
differently from MongoDB (expressions, calculated updates, some orders) is left to the core, and it has no
transactions.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from pymongo.errors import PyMongoError

from db_plugins.config import Settings
from db_plugins.engine import Capability, Compiled, Connection
from db_plugins.errors import EngineError, PluginLoadError
from db_plugins.evaluation import compute
from db_plugins.models import Field, ModelInfo
from db_plugins.models.values import fit
from db_plugins.nodes import Compare, Like, Node, Operand, Value
from db_plugins.spec import Order

from .client import database_of
from .codec import row_maker
from .connection import StoringVerbs
from .engine import Find, MongoEngine
from .translate import CannotSay, Filter, Translator

__all__ = ["MockConnection", "MongomockEngine"]

#: The one client: every entry of the same DB_NAME in this process sees the same rows.
_clients: list[Any] = []
_lock = threading.RLock()


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


class MongomockEngine(MongoEngine):
    """mongomock-ng. Without transactions."""

    name = "mongomock"
    translator = MockTranslator
    joins = False
    capabilities = MongoEngine.capabilities - {Capability.TRANSACTIONS}

    def connect(self, settings: Settings) -> Connection:
        """The database of this name in the process's one mock client."""
        return MockConnection(settings, self.name)


class MockConnection(StoringVerbs):
    """One database of the process's mock client. One write at a time, undone if it fails half-way."""

    def __init__(self, settings: Settings, engine: str) -> None:
        super().__init__(settings, engine, _client(settings)[database_of(settings)])

    def rows(self, query: Compiled) -> list[tuple[Any, ...]]:
        return [row for part in self.fetch(query) for row in part]  # its cursors have no to_list()

    @property
    def native(self) -> Any:
        """mongomock's Database."""
        return self._database

    def _insert(self, model: ModelInfo, documents: list[dict[str, Any]]) -> None:
        collection = self._database[model.store]
        done: list[Any] = []
        with _lock:
            try:
                for document in documents:
                    collection.insert_one(document)
                    done += [document["_id"]]
            except PyMongoError:
                collection.delete_many({"_id": {"$in": done}})
                raise

    def update(self, query: Compiled, values: Mapping[Field, Operand]) -> int:
        """Row by row; calculated values are worked out here."""
        find: Find = query.native
        info = find.info
        collection = self._database[info.store]
        done: list[dict[str, Any]] = []
        with _lock, self._during("write", info):
            documents = list(collection.find(find.filter))
            rows = row_maker(info, info.fields)(documents)
            try:
                for document, row in zip(documents, rows, strict=True):
                    before = dict(zip((f.name for f in info.fields), row, strict=True))
                    known = {f: Value(fit(f, compute(op, before)), f) for f, op in values.items()}
                    collection.update_one(
                        {"_id": document["_id"]}, MockTranslator(info).update_document(known)
                    )
                    done.append(document)
            except (PyMongoError, EngineError):
                for document in reversed(done):  # so that no two ever share a unique value on the way back
                    collection.replace_one({"_id": document["_id"]}, document)
                raise
        return len(documents)

    def version(self) -> str:
        return f"mongomock-ng {metadata.version('mongomock-ng')}"

    def close(self) -> None:
        pass


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
