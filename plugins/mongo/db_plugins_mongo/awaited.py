"""PyMongo's asynchronous classes as their synchronous twins: what a call of theirs would have awaited is waited for.

    Client      AsyncMongoClient      Cursor    AsyncCursor, AsyncCommandCursor
    Database    AsyncDatabase         Session   AsyncClientSession
    Collection  AsyncCollection

Each names the members that our connection uses, and no others. A cancellation breaks off neither what ends a transaction
nor its first statement: an abort that overtakes the statement which starts it, on a connection of its own, ends nothing,
and the server keeps the rows for a minute (seen in a sweep of cancellations, with two cores at work for others).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from db_plugins.awaiting import wait
from db_plugins.ways import look_away

__all__ = ["Client", "driver_object"]

T = TypeVar("T")


class Awaited:
    """An object of the driver's; ``patience`` is how long the end of a transaction may keep a cancelled task."""

    __slots__ = ("patience", "raw", "session")

    def __init__(self, raw: Any, patience: float | None, session: Session | None = None) -> None:
        self.raw = raw
        self.patience = patience
        self.session = session

    def finish(self, call: Coroutine[Any, Any, T]) -> T:
        """What the call gives, also if the task is cancelled meanwhile: then the cancellation is raised at its end."""
        return wait(_to_its_end(call, self.patience))


async def _to_its_end(call: Coroutine[Any, Any, T], patience: float | None) -> T:
    """The call is a task of its own, which a cancellation of this one does not reach; it gets ``patience`` from then on."""
    now = asyncio.get_running_loop().time
    task = asyncio.current_task()
    cancelled: asyncio.CancelledError | None = None
    # What undoes the work of a cancelled task comes when the cancellation is raised already.
    deadline = now() + patience if patience is not None and task is not None and task.cancelling() else None
    work = asyncio.ensure_future(call)
    while not work.done():
        left = None if deadline is None else deadline - now()
        if left is not None and left <= 0:
            work.add_done_callback(look_away)
            work.cancel()  # the server does not answer
            raise cancelled or asyncio.CancelledError
        try:
            await asyncio.wait([work], timeout=left)
        except asyncio.CancelledError as exc:
            cancelled = cancelled or exc
            if deadline is None and patience is not None:
                deadline = now() + patience
    if cancelled is not None:
        look_away(work)
        raise cancelled
    return work.result()


def driver_object(given: Any) -> Any:
    """The driver's own object: what a class of this module stands for, else the object itself."""
    return given.raw if isinstance(given, Awaited) else given


def _session_of(on: Awaited, options: dict[str, Any]) -> Session | None:
    """The session of a call, which gets the driver's own."""
    session: Session | None = options.get("session")
    if session is None:
        return on.session
    options["session"] = session.raw
    return session


def _waits(name: str, gives: type[Awaited] | None = None) -> Callable[..., Any]:
    """The method of this name, whose result is waited for, and ``gives`` made of it."""

    def method(self: Awaited, *args: Any, **options: Any) -> Any:
        session = _session_of(self, options)
        call = getattr(self.raw, name)(*args, **options)
        result = wait(call) if session is None or session.is_begun else session._begin(call)
        return result if gives is None else gives(result, self.patience, session)

    method.__name__ = name
    return method


def _makes(name: str, gives: type[Awaited]) -> Callable[..., Any]:
    """The method of this name, which is not awaited: it makes an object, for which ``gives`` stands."""

    def method(self: Awaited, *args: Any, **options: Any) -> Any:
        session = _session_of(self, options)
        return gives(getattr(self.raw, name)(*args, **options), self.patience, session)

    method.__name__ = name
    return method


def _finishes(name: str) -> Callable[..., Any]:
    """The method of this name, which no cancellation breaks off."""

    def method(self: Awaited) -> Any:
        return self.finish(getattr(self.raw, name)())

    method.__name__ = name
    return method


class Cursor(Awaited):
    """Documents of a find or an aggregation; closed at the end of its block."""

    __slots__ = ()

    to_list = _waits("to_list")

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: Any) -> None:
        # To close it is to ask the server, which a cancelled task does not wait for: the driver will, when nobody has it.
        if kind is None or not issubclass(kind, asyncio.CancelledError):
            wait(self.raw.close())


class Collection(Awaited):
    """A collection."""

    __slots__ = ()

    find = _makes("find", Cursor)
    aggregate = _waits("aggregate", Cursor)
    bulk_write = _waits("bulk_write")
    count_documents = _waits("count_documents")
    create_indexes = _waits("create_indexes")
    delete_many = _waits("delete_many")
    delete_one = _waits("delete_one")
    find_one = _waits("find_one")
    find_one_and_update = _waits("find_one_and_update")
    insert_many = _waits("insert_many")
    insert_one = _waits("insert_one")
    list_indexes = _waits("list_indexes", Cursor)
    update_many = _waits("update_many")
    update_one = _waits("update_one")


class Database(Awaited):
    """A database."""

    __slots__ = ()

    command = _waits("command")
    create_collection = _waits("create_collection", Collection)
    drop_collection = _waits("drop_collection")
    get_collection = _makes("get_collection", Collection)
    list_collection_names = _waits("list_collection_names")

    def __getitem__(self, name: str) -> Collection:
        return Collection(self.raw[name], self.patience)

    def with_options(self, **options: Any) -> Database:
        """The same database, read and written otherwise."""
        return Database(self.raw.with_options(**options), self.patience)


class Session(Awaited):
    """A session for one transaction; at the end of its block it is ended, and the transaction aborted unless committed."""

    __slots__ = ("is_begun",)

    start_transaction = _waits("start_transaction")
    commit_transaction = _finishes("commit_transaction")
    abort_transaction = _finishes("abort_transaction")
    end_session = _finishes("end_session")

    def __init__(self, raw: Any, patience: float | None, session: Session | None = None) -> None:
        super().__init__(raw, patience, session)
        #: Does the server know of the transaction?
        self.is_begun = False

    def _begin(self, call: Coroutine[Any, Any, T]) -> T:
        """The first statement, with which the server starts the transaction."""
        self.is_begun = True
        return self.finish(call)

    @property
    def in_transaction(self) -> bool:
        """Has a transaction been started and not ended?"""
        return bool(self.raw.in_transaction)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_exc: Any) -> None:
        self.end_session()


class Client(Awaited):
    """A client."""

    __slots__ = ()

    get_database = _makes("get_database", Database)
    server_info = _waits("server_info")
    start_session = _makes("start_session", Session)
    close = _finishes("close")

    @property
    def admin(self) -> Database:
        """The database ``admin``."""
        return Database(self.raw.admin, self.patience)
