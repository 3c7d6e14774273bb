"""``connect`` and ``Database``: the one object a program holds.

    connect(…) ── settings checked ──> Database ── first use ──> Engine, models, Connection

A Database may be shared by threads. Calls on it join a transaction only in the thread and task that opened it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from . import config
from .awaiting import here, pause_after
from .errors import ConfigError, EngineError, UnsupportedOperationError
from .watching import Watch

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from sqlalchemy.orm import Session

    from .config import Settings
    from .config.sources import Source
    from .engine import Capability, Connection, Engine, Health
    from .models import ModelInfo
    from .query import BaseQuery
    from .runner import Runner
    from .watching import StatementEvent

__all__ = ["Database", "connect"]

T = TypeVar("T")
M = TypeVar("M")

#: Connections made before a fork. They belong to the parent: closing one here would end the parent's conversation.
_inherited: list[Any] = []


def connect(
    target: str | Mapping[str, Any] | None = None,
    *,
    models: Sequence[type | str] | None = None,
    settings: Source | None = None,
) -> Database:
    """A Database by entry name, by URL, from one entry as a dict, or (without an argument) the default entry.

    ``models`` (classes or ``"module"``, ``"module:Class"``) take the place of the settings' MODELS; ``settings`` is a
    path, a module or a dict holding ``DB_CONFIG``, in place of the search for ``settings.py``. Nothing is connected
    yet. Raises ConfigError with every problem found, EngineNotFoundError, PluginLoadError.

        with db_plugins.connect("sqlite:///stars.db", models=[Star]) as db:
            db.create_all()
    """
    return Database(*config.resolve(target, models=models, settings=settings))


class ModelSource(Protocol):
    """Loads the models when they are first needed."""

    def __call__(self) -> Sequence[type]: ...


class Database:
    """One database. Made by ``connect``; a context manager that closes itself.

    ``tx`` of ``with db.transaction() as tx`` is a Database too, bound to the transaction.
    """

    #: How a block of it is entered.
    _with = "with"

    def __init__(self, settings: Settings, load_models: ModelSource) -> None:
        self._settings = settings
        self._load_models = load_models
        self._lock = threading.RLock()
        self._root: Runner | None = None
        self._connection: Connection | None = None
        self._pid = os.getpid()
        self._bound: Runner | None = None
        self._make_query: type[BaseQuery[Any]] | None = None
        self._are_models_known = False
        self._watch = Watch(settings, self._known_models)
        self._joined: ContextVar[_Joined | None] = ContextVar(f"db_plugins_{settings.name}", default=None)

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The entry's name."""
        return self._settings.name

    @property
    def engine(self) -> str:
        """The engine as in ENGINE: ``"postgresql"``."""
        return self._engine.name

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the engine claims."""
        return self._engine.capabilities

    @property
    def native(self) -> Any:
        """The driver's own object: the SQLAlchemy Engine, the pymongo Database; in a transaction its Connection or
        ClientSession."""
        return self._runner().connection.native

    @property
    def _engine(self) -> Engine:
        return self._root_runner().engine

    def __repr__(self) -> str:
        return f"<Database {self.name!r}: {self._settings.engine}>"

    # -- queries and transactions ----------------------------------------------------------------------------------

    def query(self, model: type[M]) -> BaseQuery[M]:
        """A query of one model. Raises InvalidValueError for what is not a mapped class."""
        make = self._make_query
        if make is None:
            from .query import BaseQuery

            make = self._make_query = BaseQuery
        return make(self._runner, (self._root or self._root_runner()).reader(model))

    @contextmanager
    def transaction(
        self, *, isolation: Literal["snapshot", "serializable"] = "snapshot", read_only: bool = False
    ) -> Iterator[Database]:
        """All of the block is committed at its end, or nothing of it if an exception leaves the block.

        Yields a Database bound to the transaction; on it, ``transaction()`` is a savepoint. One that is
        ``read_only`` takes no lock for writing, and refuses to write. Raises UnsupportedOperationError where the
        engine or the server has no transactions.
        """
        with self._begun(isolation, read_only=read_only) as bound, self._join(bound._bound):
            yield bound

    @contextmanager
    def _begun(self, isolation: str, *, read_only: bool) -> Iterator[Self]:
        """A Database bound to a transaction, which nobody joins yet."""
        if isolation not in ("snapshot", "serializable"):
            raise UnsupportedOperationError(
                f"there is no isolation {isolation!r}",
                hint="leave it out (one snapshot), or use 'serializable'",
            )
        with self._runner().transaction(isolation, read_only=read_only) as runner:
            bound = type(self)(self._settings, self._load_models)
            bound._root = self._root_runner()
            bound._bound = runner
            bound._joined = self._joined
            bound._watch = self._watch
            yield bound

    @contextmanager
    def session(self, *, commit: bool = True) -> Iterator[Session]:
        """A SQLAlchemy ``Session`` that is a transaction: committed at the end, or undone if an exception leaves the block.

        Calls on this Database inside join it, and flush it first. With ``commit=False`` only what you commit stays.
        Inside a transaction it joins that and commits nothing itself. Objects stay readable afterwards. What the driver
        raises leaves the block as our errors. Raises UnsupportedOperationError on an engine without sessions.

            with db.session() as s:
                s.add(Star(name="Vega"))
        """
        from .sessions import open_session

        with (
            open_session(self._runner(), commit=commit) as (session, runner),
            self._join(runner, within=self._bound),
        ):
            yield session

    def run_transaction(self, fn: Callable[[Database], T], retries: int = 10) -> T:
        """``fn(tx)`` in a transaction, run again after errors that are ``retryable``, at most ``retries`` times."""
        for attempt in count():
            try:
                with self.transaction() as tx:
                    return fn(tx)
            except EngineError as error:
                if not self._is_worth_a_retry(error, attempt, retries):
                    raise
                time.sleep(pause_after(attempt))
        raise AssertionError("unreachable")

    def _is_worth_a_retry(self, error: EngineError, attempt: int, retries: int) -> bool:
        """May a transaction be run again? One inside another is no whole."""
        return error.retryable and attempt < retries and self._bound is None

    # -- tables and health -----------------------------------------------------------------------------------------

    def create_all(self) -> None:
        """Make what is missing: the models' tables or collections, their indexes, their link tables. Keeps rows."""
        self._create(self._models())

    def _create(self, models: Sequence[ModelInfo]) -> None:
        from .models import association_tables, own_tables

        runner = self._runner()
        with runner.errors():
            storage = self._storage()
            with runner.watched("create", None, f"create {_names(models)}"):
                storage.create(own_tables(models), association_tables(models))

    def drop_all(self, force: bool = False) -> None:
        """Drop the models' own tables. Raises UnsupportedOperationError while one holds rows, unless ``force``."""
        from .models import association_tables, own_tables

        models = own_tables(self._models())
        runner = self._runner()
        if not force:
            with runner.errors(), runner.watched("inspect", None, "existing"):
                there = self._storage().existing()
            filled = [m.name for m in models if m.store in there and self.query(m.cls).exists()]
            if filled:
                raise UnsupportedOperationError(
                    f"{', '.join(filled)} still hold rows in {self.name!r}",
                    hint="drop_all(force=True) drops them too",
                )
        with runner.errors():
            storage = self._storage()
            with runner.watched("drop", None, f"drop {_names(models)}"):
                storage.drop(models, association_tables(models))

    def ping(self) -> Health:
        """Reach the server and look for the models. Makes nothing. Raises ServerUnreachableError and its kin."""
        from .engine import Health

        models = self._models(required=False)
        runner = self._runner()
        with runner.errors():
            storage = self._storage()
            with runner.watched("inspect", None, "ping"):
                began = time.perf_counter()
                version = storage.version()
                latency = time.perf_counter() - began
                there = storage.existing()
                details = dict(storage.details())
        absent = tuple(m.name for m in models if m.store not in there)
        return Health(
            ok=not absent,
            latency=latency,
            version=version,
            models=tuple(m.name for m in models if m.store in there),
            missing=(*absent, *details.pop("missing", ())),
            **details,
        )

    # -- watching --------------------------------------------------------------------------------------------------

    def on_statement(self, listener: Callable[[StatementEvent], object]) -> Callable[[], None]:
        """Call ``listener`` with a StatementEvent for each statement, also inside transactions, sessions and streams.

        What is returned stops it when it is called. The listener runs where the statement ran, right after its call; what
        it raises is logged and stops nothing, and of its own statements nobody is told. ``seconds`` are seconds, and
        ``statement`` never holds values.

            stop = db.on_statement(lambda event: print(event.operation, event.model, event.rows))
        """
        stop = self._watch.listen(listener)
        for connection in self._connections():
            self._tell_who_watches(connection)
        return stop

    def _connections(self) -> Sequence[Connection | None]:
        """Those that are open."""
        return (self._connection,)

    def _tell_who_watches(self, connection: Connection | None) -> None:
        if connection is None or self._pid != os.getpid():
            return
        from .engine import SupportsWatching

        if isinstance(connection, SupportsWatching):
            connection.watch(self._watch)

    def _known_models(self) -> list[ModelInfo]:
        """The models by which a statement's table is named."""
        if not self._are_models_known:
            self._are_models_known = True
            with suppress(Exception):  # models that cannot be loaded are the next call's to report
                self._models(required=False)
        return [reader.model for reader in list(self._root_runner()._readers.values())]

    # -- its end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give the connections back. The Database may be used again: it connects anew."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None and self._pid == os.getpid():
                connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- at first use ----------------------------------------------------------------------------------------------

    def _runner(self) -> Runner:
        """The runner of this moment: the bound one, the transaction's of this thread and task, or the shared one."""
        joined = self._joined.get()
        if self._bound is not None:
            is_session = joined is not None and joined.within is self._bound and joined.is_here()
            return joined.runner if is_session else self._bound  # type: ignore[union-attr]
        if joined is None or joined.runner.block.ended:  # type: ignore[union-attr]
            return self._root_runner()
        thread, task = here()
        if joined.thread != thread:
            return self._root_runner()
        if joined.task is not task:
            raise UnsupportedOperationError(
                f"a task started inside a transaction of {self.name!r} uses db",
                hint=f"hand it tx: `{self._with} db.transaction() as tx`",
            )
        return joined.runner

    @contextmanager
    def _join(self, runner: Runner | None, within: Runner | None = None) -> Iterator[None]:
        """Let calls on this Database join the runner's transaction for the length of a block."""
        assert runner is not None
        token = self._joined.set(_Joined(runner, *here(), within))
        try:
            yield
        finally:
            # A web framework enters and leaves a dependency in two threads, each with a copy of the context: there is
            # nothing to take back there, and a block that has ended is joined nowhere.
            with suppress(ValueError):
                self._joined.reset(token)

    def _root_runner(self) -> Runner:
        if self._root is None:
            with self._lock:
                if self._root is None:
                    from .registry import load_engine
                    from .runner import Runner

                    engine_class = load_engine(self._settings.plugin).choose(self._settings)
                    self._root = Runner(engine_class(self._settings), self._connected, watch=self._watch)
        return self._root

    def _connected(self) -> Connection:
        if self._connection is not None and self._pid == os.getpid():
            return self._connection
        with self._lock:
            if self._pid != os.getpid():
                _inherited.append(self._connection)
                self._connection, self._pid = None, os.getpid()
            if self._connection is None:
                self._connection = self._open()
                self._tell_who_watches(self._connection)
            return self._connection

    def _open(self) -> Connection:
        """A new connection, with a pool of its own."""
        return self._engine.connect(self._settings)

    def _storage(self) -> Any:
        from .engine import SupportsStorage

        connection = self._runner().connection
        if not isinstance(connection, SupportsStorage):
            raise UnsupportedOperationError(
                f"{self.engine} cannot make or look up tables here",
                hint="call it on the Database, outside transactions",
            )
        return connection

    def _models(self, *, required: bool = True) -> list[ModelInfo]:
        """The models of this database, each checked to fit its engine."""
        runner = self._root_runner()
        models = [runner.reader(model).model for model in self._load_models()]
        if required and not models:
            raise ConfigError(
                f"no models are known for {self.name!r}",
                hint='name them in MODELS = ["app.models"], or connect(models=[…])',
            )
        return models


class _Joined:
    """A transaction and where it was opened; ``within`` is what the Database was bound to that opened a session."""

    __slots__ = ("runner", "task", "thread", "within")

    def __init__(self, runner: Runner, thread: int, task: Any, within: Runner | None) -> None:
        self.runner = runner
        self.thread = thread
        self.task = task
        self.within = within

    def is_here(self) -> bool:
        """Is this its thread and task, and has it not ended?"""
        return here() == (self.thread, self.task) and not self.runner.block.ended  # type: ignore[union-attr]


def _names(models: Sequence[ModelInfo]) -> str:
    return ", ".join(info.name for info in models)
