"""The driver: runs what was compiled. Short, for all the thinking is in translate, codec, merges and errors.

WritingVerbs ── Verbs ── StoringVerbs ── MongoConnection   each call its own; with transactions
                      └─ MockConnection    in mock.py: without
      └─ MongoTransaction                  all calls in one ClientSession
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from pymongo import errors as driver
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from db_plugins.config import Settings
from db_plugins.engine import (
    Compiled,
    SupportsStorage,
    SupportsTransactions,
    TransactionConnection,
)
from db_plugins.errors import UnsupportedOperationError
from db_plugins.models import ModelInfo
from db_plugins.watching import say

from . import storage
from .aggregates import AggregatingVerbs
from .awaited import driver_object
from .client import address_of, database_of, user_of
from .codec import CODEC_OPTIONS, row_maker
from .engine import Find
from .errors import Situation, during, note_stored
from .migrations.journal import MIGRATIONS
from .migrations.role import MigratingConnection
from .migrations.schema import Collection, Index, collection_of, link_collection
from .numbering import COUNTERS, Numbering
from .wording import text_of_count, text_of_find, text_of_pipeline
from .writes import PATIENCE_SECONDS, WritingVerbs, pause, was_contention

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["MongoConnection", "MongoTransaction", "StoringVerbs"]

T = TypeVar("T")
_FETCH_ALL = 2000


class Verbs(WritingVerbs):
    """The verbs over one database, in the session if there is one: those that read, and how a call is run."""

    def __init__(self, settings: Settings, engine: str, database: Any, session: Any = None) -> None:
        self._settings = settings
        self._engine = engine
        self._database = database
        self._session = session
        self._where = address_of(settings)
        self._here = Situation(
            engine,
            self._where,
            user=user_of(settings),
            in_transaction=session is not None,
            connect_timeout=settings.connect_timeout,
            # PyMongo counts the wait for a connection as part of a call that has a limit.
            pool_timeout=settings.query_timeout or settings.pool_timeout,
        )
        self._numbering = Numbering(database)
        self._situations: dict[tuple[str, ModelInfo | None], Situation] = {}
        self._collections: dict[str, Any] = {}

    # -- reads -----------------------------------------------------------------------------------------------

    def fetch(self, query: Compiled, batch: int | None = None) -> Iterator[list[tuple[Any, ...]]]:
        find: Find = query.native
        say(lambda: text_of_find(find))
        make = row_maker(find.info, query.spec.columns, find.names)
        size = batch or _FETCH_ALL
        with self._during("read", find.info), self._cursor(find, size) as cursor:
            while documents := self._some(cursor, size):
                yield make(documents)

    def rows(self, query: Compiled) -> list[tuple[Any, ...]]:
        find: Find = query.native
        say(lambda: text_of_find(find))
        with self._during("read", find.info):
            if find.names_one and not (find.needs_pipeline or find.skip):
                one = self._collection(find.info.store).find_one(
                    find.filter, find.projection, session=self._session
                )
                documents = [] if one is None else [one]
            else:
                documents = self._cursor(find, _FETCH_ALL).to_list()
        return row_maker(find.info, query.spec.columns, find.names)(documents)

    def _some(self, cursor: Any, size: int) -> list[dict[str, Any]]:
        """The next documents of a cursor, at most so many."""
        return cursor.to_list(size)  # type: ignore[no-any-return]

    def _cursor(self, find: Find, size: int) -> Any:
        collection = self._collection(find.info.store)
        if find.needs_pipeline:
            return collection.aggregate(
                find.pipeline(), batchSize=size, session=self._session, allowDiskUse=True
            )
        return collection.find(
            find.filter,
            find.projection,
            sort=find.sort or None,
            skip=find.skip,
            limit=find.limit,
            batch_size=size,
            session=self._session,
        )

    def count(self, query: Compiled) -> int:
        find: Find = query.native
        if find.lookups:
            return self._count_together(find)
        say(lambda: text_of_count(find))
        window = {name: n for name, n in (("skip", find.skip), ("limit", find.limit)) if n}
        with self._during("read", find.info):
            found = self._collection(find.info.store).count_documents
            return int(found(find.filter, session=self._session, **window))

    def _count_together(self, find: Find) -> int:
        stages = [*find.matching, *find.window, {"$count": "n"}]
        collection = self._collection(find.info.store)
        say(lambda: text_of_pipeline(find.info.store, stages))
        with (
            self._during("read", find.info),
            collection.aggregate(stages, session=self._session, allowDiskUse=True) as found,
        ):
            return sum(int(each["n"]) for each in found.to_list())  # of nothing there is no document

    # -- how a call is run -----------------------------------------------------------------------------------

    def _during(self, doing: str, model: ModelInfo | None = None) -> AbstractContextManager[None]:
        situation = self._situations.get((doing, model))
        if situation is None:
            situation = self._situations[doing, model] = replace(self._here, doing=doing, model=model)
        return during(situation)

    def _collection(self, name: str) -> Any:
        """The collection, made once: PyMongo takes its time."""
        found = self._collections.get(name)
        if found is None:
            found = self._collections[name] = self._database[name]
        return found


class StoringVerbs(Verbs, SupportsStorage):
    """The role that makes and drops collections."""

    def create(self, models: Sequence[ModelInfo], links: Sequence[sa.Table]) -> None:
        with self._during("index"):
            there = storage.existing_collections(self._database)
        for info in models:
            storage.report_untranslated(info)
            with self._during("index", info):
                self._make(collection_of(info), there)
        for table in links:
            with self._during("index"):
                self._make(link_collection(table), there)

    def _make(self, wanted: Collection, there: set[str]) -> None:
        have: list[Index] = []
        if wanted.name in there:  # MongoDB refuses a second index that does the same under another name
            with self._database[wanted.name].list_indexes() as cursor:
                have = [Index.of(each) for each in cursor.to_list()]
        missing = [each for each in wanted.indexes.values() if not any(each.does_as(other) for other in have)]
        storage.make_collection(
            self._database, wanted.name, there, [each.model() for each in missing], wanted.validator
        )

    def drop(self, models: Sequence[ModelInfo], links: Sequence[sa.Table]) -> None:
        with self._during("write"):
            for name in (*(info.store for info in models), *(table.name for table in links)):
                self._database.drop_collection(name)
                self._numbering.forget(name)

    def existing(self) -> set[str]:
        with self._during("read"):
            return storage.existing_collections(self._database) - {COUNTERS, MIGRATIONS}


class MongoConnection(StoringVerbs, AggregatingVerbs, SupportsTransactions, MigratingConnection):
    """One database on a server. Shared by threads; PyMongo's pool is inside, and survives a fork."""

    def __init__(self, settings: Settings, engine: str, client: Any) -> None:
        self._client = client
        name = database_of(settings)
        super().__init__(settings, engine, client.get_database(name, codec_options=CODEC_OPTIONS))
        self._native = client.get_database(name)
        self._greeting: dict[str, Any] | None = None

    @property
    def native(self) -> Any:
        """The pymongo Database, or AsyncDatabase."""
        return driver_object(self._native)

    def version(self) -> str:
        with self._during("read"):
            return str(self._client.server_info()["version"])

    def details(self) -> dict[str, Any]:
        return {
            "missing": storage.missing_roles(self._hello),
            "revision": ", ".join(self.heads()) or None,
        }

    @property
    def _hello(self) -> dict[str, Any]:
        """What the server says of itself, asked once. A cached_property of Python 3.11 would hold a lock meanwhile."""
        if self._greeting is None:
            with self._during("read"):
                self._greeting = dict(self._client.admin.command("hello"))
        return self._greeting

    def _has_transactions(self) -> bool:
        return storage.has_transactions(self._hello)

    def begin(self, isolation: str = "snapshot", *, read_only: bool = False) -> TransactionConnection:
        if not self._has_transactions():
            raise UnsupportedOperationError(
                f"{self._engine} at {self._where} has no transactions: it is in no replica set",
                hint="start it with --replSet rs0 and run rs.initiate() once",
            )
        return MongoTransaction(self, isolation)

    def close(self) -> None:
        with suppress(Exception):
            self._client.close()

    def _again(self, work: Callable[[Any], T]) -> T:
        deadline = time.monotonic() + PATIENCE_SECONDS
        for attempt in range(1_000_000):
            try:
                return work(None)
            except driver.OperationFailure as exc:
                if not was_contention(exc) or time.monotonic() > deadline:
                    raise
            pause(attempt)
        raise AssertionError("unreachable")

    def _together(self, work: Callable[[Any], T]) -> T:
        if not self._has_transactions():
            return self._again(work)

        def whole(_none: Any) -> T:
            with self._client.start_session() as session:
                session.start_transaction(**_concerns("batch"))
                try:
                    result = work(session)
                except Exception as exc:
                    note_stored(exc, 0)
                    raise
                with self._during("commit"):
                    session.commit_transaction()
                return result

        return self._again(whole)


def _concerns(isolation: str) -> dict[str, Any]:
    return {
        "read_concern": ReadConcern("local" if isolation == "batch" else "snapshot"),
        "write_concern": WriteConcern("majority"),
        "read_preference": ReadPreference.PRIMARY,
    }


class MongoTransaction(Verbs, AggregatingVerbs, TransactionConnection):
    """All calls in one ClientSession, with a snapshot of the data as they were at the first of them."""

    def __init__(self, outer: MongoConnection, isolation: str) -> None:
        with outer._during("read"):
            session = outer._client.start_session()
            session.start_transaction(**_concerns(isolation))
        super().__init__(outer._settings, outer._engine, outer._database, session)
        self._numbering = outer._numbering

    @property
    def native(self) -> Any:
        """The pymongo ClientSession, or AsyncClientSession."""
        return driver_object(self._session)

    def _again(self, work: Callable[[Any], T]) -> T:
        return work(self._session)

    _together = _again

    def commit(self) -> None:
        with self._during("commit"):
            self._session.commit_transaction()

    def rollback(self) -> None:
        # A server that has given the transaction up already, or is gone, has nothing left to undo.
        with suppress(driver.PyMongoError):
            if self._session.in_transaction:
                self._session.abort_transaction()

    def close(self) -> None:
        with suppress(Exception):
            self._session.end_session()
