"""The seam: all that an engine plugin implements, small enough to hold in one hand.

    Engine      pure: QuerySpec → Compiled, driver exception → our error. Does no I/O.
    Connection  short: runs what was compiled. Shared by threads, any pool inside.
    roles       powers with methods, asked with isinstance: SupportsStorage, SupportsTransactions, SupportsAggregation,
                SupportsSessions, SupportsVectors, SupportsMigrations of a Connection; SupportsAsync, SupportsDatabases
                of an Engine
    Capability  powers that only change what is legal

A first engine is what ``dbp init --plugin`` writes. Every verb of the query is written once in the core over
these few methods; ``evaluate`` finishes what ``compile`` left over.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from .aggregates import Aggregation, Groups
from .awaiting import wait
from .config import Settings
from .errors import DbPluginsError, UnsupportedError, UnsupportedFilterError
from .evaluation import evaluate, sort_rows
from .migrations.seam import SupportsMigrations
from .nodes import Node, Operand
from .rows import calculated, refuse_duplicates
from .spec import QuerySpec

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy.orm import Session

    from .models import Field, Limits, ModelInfo
    from .watching import Watch

__all__ = [
    "Aggregation",
    "BulkResult",
    "Capability",
    "Compiled",
    "Conflict",
    "Connection",
    "Engine",
    "Groups",
    "Health",
    "Operand",
    "QuerySpec",
    "SessionConnection",
    "Settings",
    "SupportsAggregation",
    "SupportsAsync",
    "SupportsDatabases",
    "SupportsMigrations",
    "SupportsSessions",
    "SupportsStorage",
    "SupportsTransactions",
    "SupportsVectors",
    "SupportsWatching",
    "TransactionConnection",
    "calculated",
    "evaluate",
    "refuse_duplicates",
    "sort_rows",
    "wait",
]


class Capability(enum.StrEnum):
    """What cannot be emulated, and so is claimed or refused."""

    WRITE = "WRITE"
    UNIQUE = "UNIQUE"
    FOREIGN_KEYS = "FOREIGN_KEYS"
    TRANSACTIONS = "TRANSACTIONS"
    SAVEPOINTS = "SAVEPOINTS"
    SERIALIZABLE = "SERIALIZABLE"
    SESSIONS = "SESSIONS"
    MIGRATIONS = "MIGRATIONS"
    NATIVE_ASYNC = "NATIVE_ASYNC"
    MICROSECONDS = "MICROSECONDS"
    EXACT_DECIMAL = "EXACT_DECIMAL"
    INFINITY = "INFINITY"
    UNICODE_CASE = "UNICODE_CASE"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A spec in the engine's own words.

    ``residual`` is the part of the condition that this engine cannot say: the core filters the fetched rows with it.
    ``sorted`` is False if the engine left the order to the core. In either case the engine must also have left out
    limit and offset. ``text`` is the statement as ``explain()`` shows it. ``read_only`` says that update and delete
    cannot use the condition, though a read can: the core then writes by primary key.
    """

    spec: QuerySpec
    native: Any
    residual: Node | None = None
    sorted: bool = True
    text: str = ""
    read_only: bool = False

    @property
    def is_whole(self) -> bool:
        """Does the engine do all of it?"""
        return self.residual is None and self.sorted


@dataclass(frozen=True, slots=True)
class Conflict:
    """What an insert does with a row whose ``key``, a unique key of the model, is there already.

    ``"ignore"`` leaves the stored row as it is. ``"update"`` sets ``columns`` to what the new row holds in them, and
    ``update`` to what its operands give for the stored row; one of the two is not empty. A row that clashes with
    *another* unique key is a DuplicateKeyError under both.
    """

    action: Literal["ignore", "update"]
    key: tuple[Field, ...]
    columns: tuple[Field, ...] = ()
    update: Mapping[Field, Operand] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What a bulk write did; ``inserted + updated + ignored`` is the number of rows given.

    ``keys`` are the primary keys of the stored rows, in the order given, if ``return_keys`` was asked. ``rows`` is for
    engines: the stored rows, in the order of the ``returning`` columns.
    """

    inserted: int = 0
    updated: int = 0
    ignored: int = 0
    keys: tuple[Any, ...] = ()
    rows: Sequence[tuple[Any, ...]] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Health:
    """What ``ping()`` found. ``latency`` is in seconds; ``models`` and ``missing`` are model names.

    ``missing`` also lists, as ``CAPABILITY: reason``, what this very server lacks of what the engine claims. ``pool``
    is of SQL engines: connections ``in_use`` of ``size``. ``revision`` is where an engine with migrations is: the one
    applied last, several with commas, ``None`` for none.
    """

    ok: bool
    latency: float
    version: str = ""
    models: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    pool: Mapping[str, int] | None = None
    revision: str | None = None


class Engine(ABC):
    """One kind of database. Pure: an Engine compiles and classifies, and only ``connect`` reaches out.

    ``name`` is the engine as the user writes it in ``ENGINE``. ``capabilities`` holds what this engine claims.
    ``settings_class`` may add keys of the plugin's own (see ``db_plugins.config``).
    """

    name: str = ""
    capabilities: frozenset[Capability] = frozenset()
    settings_class: ClassVar[type[Settings]] = Settings
    #: Digits for which this engine's Decimal is exact; ``None`` for as many as the column has.
    decimal_digits: int | None = None
    #: Does ``compile`` understand ``spec.joins`` and ``Exists``? If not it never sees them: the core reads each model by
    #: itself and brings the rows together, as it does where ``compile`` leaves something of such a spec over.
    joins: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.name = self.name or settings.engine

    @classmethod
    def choose(cls, settings: Settings) -> type[Engine]:
        """The class for these settings: a plugin that answers to several names may return a subclass for each."""
        return cls

    @abstractmethod
    def compile(self, spec: QuerySpec) -> Compiled:
        """Say the spec in the engine's words. Pure. Called once for each read, update and delete.

        Must understand ``==`` and ``In`` on the primary key, alone, and for a composite key ``And`` of such ``==`` and
        ``Or`` of those; everything else may be left in ``residual``.
        """

    @abstractmethod
    def classify(self, exc: Exception) -> DbPluginsError | None:
        """Our error for a driver's exception, decided by its code; ``None`` if it is not this driver's. Pure."""

    @abstractmethod
    def connect(self, settings: Settings) -> Connection:
        """Make the connection (and its pool). May be lazy itself. Called once per Database and process."""

    def check_model(self, info: ModelInfo) -> None:
        """Raise UnsupportedError, naming the attribute, for a model this engine cannot hold. Called at first use.

        The default accepts what is portable; an engine that speaks SQLAlchemy's own types accepts more.
        """
        refuse_unportable(info, self.name)

    def explain(self, query: Compiled) -> str:
        """The statement as ``BaseQuery.explain()`` shows it."""
        return query.text or repr(query.native)

    def check_native(self, condition: Any) -> None:
        """Raise for a ``filter_native`` condition this engine cannot take. The default takes none."""
        raise UnsupportedFilterError(
            f"{self.name} takes no native condition of type {type(condition).__name__}",
            hint="use filter(), which works on every engine",
        )

    def limits(self) -> Limits:
        """The bounds that value checks heed, from the capabilities."""
        from .models import Limits

        return Limits(
            microseconds=Capability.MICROSECONDS in self.capabilities,
            infinity=Capability.INFINITY in self.capabilities,
            decimal_digits=self.decimal_digits,
            case_folding="unicode" if Capability.UNICODE_CASE in self.capabilities else "ascii",
        )


def refuse_unportable(info: ModelInfo, engine: str) -> None:
    """Refuse columns that only a SQL server can fill or hold."""
    from .models import Kind

    for column in info.fields:
        if column.kind is Kind.NATIVE and column.to_stored is None:
            raise UnsupportedError(
                f"{column.label} has the type {type(column.sql_type).__name__}, which {engine} cannot hold",
                hint="use a portable type (String, Integer, Float, Numeric, JSON, DateTime, Uuid, …)",
            )
        if column.server_default or column.server_onupdate:
            raise UnsupportedError(
                f"{column.label} is filled by the server, which {engine} cannot do",
                hint="give it a Python-side default= or onupdate=, which works on every engine",
            )


class Connection(ABC):
    """The way to one database. Shared by threads; every call is its own and has committed when it returns.

    Rows are tuples of Python values in the order of the columns asked for. A driver's exception may leave any method:
    the core wraps it with ``Engine.classify``.
    """

    @abstractmethod
    def fetch(self, query: Compiled, batch: int | None = None) -> Iterator[list[tuple[Any, ...]]]:
        """The rows, in lists of about ``batch`` (``None``: as is fastest for all), in the order of ``spec.columns``.

        With ``batch``, in constant memory: the iterator may be closed early, and other calls may come, also in the same
        transaction, before it is read to its end.
        """

    @property
    def rows_at_once(self) -> int:
        """How many rows the bulk verbs give to one ``insert`` or ``update_each``, unless ``batch_size`` says otherwise."""
        return 1000

    def rows(self, query: Compiled) -> Sequence[tuple[Any, ...]]:
        """All rows at once. The default reads ``fetch`` to its end; an engine with a shorter way may take it."""
        return [row for part in self.fetch(query) for row in part]

    @abstractmethod
    def count(self, query: Compiled) -> int:
        """How many rows, heeding limit and offset. Never called with a residual."""

    @abstractmethod
    def insert(
        self,
        model: ModelInfo,
        given: tuple[Field, ...],
        rows: Sequence[tuple[Any, ...]],
        conflict: Conflict | None,
        returning: tuple[Field, ...],
    ) -> BulkResult:
        """Store rows whose values are in the order of ``given``; all or nothing where TRANSACTIONS is claimed.

        Number the model's numbered key when it is not in ``given``, and move the numbering past keys that are. With
        ``returning`` the result's ``rows`` are the stored rows, in the order given.

        With ``conflict`` each row is one atomic step, whatever others write at the same moment, and the result says how
        many were inserted, updated and ignored. All of ``conflict.key`` is in ``given``, no two rows have the same key,
        and none has None in it. ``returning`` then comes with one row only, and an ignored one may be left out of
        ``rows``.
        """

    @abstractmethod
    def update(self, query: Compiled, values: Mapping[Field, Operand]) -> int:
        """Set these columns in the query's rows; returns the rows that matched. Never called with a residual."""

    def insert_one(
        self, model: ModelInfo, given: tuple[Field, ...], row: tuple[Any, ...], returning: tuple[Field, ...]
    ) -> tuple[Any, ...]:
        """Store one row and return it as it is stored. The default asks ``insert``; an engine with a shorter way may take it."""
        return self.insert(model, given, [row], None, returning).rows[0]

    def update_each(
        self,
        model: ModelInfo,
        key: tuple[Field, ...],
        columns: tuple[Field, ...],
        rows: Sequence[tuple[Any, ...]],
    ) -> int | None:
        """Set ``columns`` in the rows that ``key``, a unique key of the model, names; returns the rows that were there.

        A row holds the values of ``key``, then those of ``columns``; no two have the same key, and none has None in it.
        All or nothing where TRANSACTIONS is claimed. ``None`` leaves it to the core, which calls ``update`` for each.
        """
        return None

    @abstractmethod
    def delete(self, query: Compiled) -> int:
        """Delete the query's rows; returns how many. Never called with a residual."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back. Never raises; may be called twice."""

    @property
    def native(self) -> Any:
        """The driver's own object: what ``Database.native`` gives."""
        return None


class SupportsAsync(ABC):
    """A role of Engine: its driver can be awaited. Claims NATIVE_ASYNC; without it worker threads do the calls."""

    @abstractmethod
    def connect_async(self, settings: Settings) -> Connection:
        """As ``connect``, for one event loop: called on it, once for each AsyncDatabase, process and loop.

        All methods of the Connection are the synchronous ones, and run where ``wait(awaitable)`` gives what the awaitable
        gives while the loop goes on: ``rows = wait(connection.fetch(text))``. Nothing in them may block. A cancellation
        of the task is raised out of ``wait``, as a CancelledError; what it leaves of the driver's connection must not
        come back to its pool unless it can be used. No lock may be held while waiting.
        """


class SupportsStorage(ABC):
    """A role of Connection: makes and drops what models need."""

    @abstractmethod
    def create(self, models: Sequence[ModelInfo], links: Sequence[sa.Table]) -> None:
        """Make the tables or collections that are missing, with their indexes. Keeps rows; repeatable."""

    @abstractmethod
    def drop(self, models: Sequence[ModelInfo], links: Sequence[sa.Table]) -> None:
        """Drop these models' own tables, as far as they exist."""

    @abstractmethod
    def existing(self) -> set[str]:
        """The names of the tables or collections that are there."""

    @abstractmethod
    def version(self) -> str:
        """The server's version. Reaches the server; makes nothing."""

    def details(self) -> dict[str, Any]:
        """More for ``Health``: ``pool``, ``revision``, ``missing``. May be left out."""
        return {}


class SupportsDatabases(ABC):
    """A role of Engine: makes and drops whole databases, for the test fixtures.

    Unlike the rest of an Engine these reach out, each over a short connection of its own.
    """

    @abstractmethod
    def settings_for_tests(self, suffix: str) -> Settings:
        """The settings of another database of the same server, for tests; ``name_for_tests`` makes its name. Pure."""

    @abstractmethod
    def create_database(self, settings: Settings) -> None:
        """Make the database of these settings anew: what an earlier run left of it is dropped first."""

    @abstractmethod
    def drop_database(self, settings: Settings) -> None:
        """Drop it, whoever is connected. None of that name is fine."""

    @staticmethod
    def name_for_tests(name: str, suffix: str) -> str:
        """``stars`` and ``test_gw0``: ``stars_test_gw0``. A long name is cut, for a server that cuts what is longer than
        63 bytes would cut off the suffix and take the entry's own database for it."""
        kept = name.encode()[: 62 - len(suffix.encode())].decode(errors="ignore")
        return f"{kept}_{suffix}"


class SupportsTransactions(ABC):
    """A role of Connection: several calls as one."""

    @abstractmethod
    def begin(self, isolation: str = "snapshot", *, read_only: bool = False) -> TransactionConnection:
        """Begin a transaction. ``isolation`` is ``"snapshot"``, ``"serializable"``, or ``"batch"`` for the batches of
        one bulk write: the weakest under which they are all or nothing."""


class SupportsAggregation(ABC):
    """A role of Connection: counts, sums and groups where the rows are. Without it the core does so with fetched rows."""

    @abstractmethod
    def aggregate(self, query: Compiled, wanted: Aggregation) -> Groups | None:
        """A row for each group of the query's rows: values of ``wanted.groups`` as in ``fetch``, then of the terms.

        Count, sum, least and greatest are plain numbers of any type (of a ``term.column`` values as in ``fetch``), an
        average is the pair of its sum and count. NULLs are left out; of no values count is 0, the others ``None``.
        Heed ``wanted.order``, ``limit`` and ``offset``, or give all groups with ``sorted=False``. ``None`` leaves it to
        the core. Never called with a residual; the query has no order and no window.
        """


class SupportsVectors(ABC):
    """A role of Connection: finds the nearest vectors where the rows are. Without it the core reads them all."""

    @abstractmethod
    def nearest(
        self, query: Compiled, column: Field, vector: Sequence[float], k: int, metric: str
    ) -> list[tuple[Any, ...]] | None:
        """The ``k`` rows of the query, as in ``fetch``, whose ``column`` lies nearest to ``vector``; in any order.

        ``metric`` is ``"cosine"`` (leave vectors of zeros out), ``"l2"`` or ``"inner_product"`` (the greatest product is
        the nearest); of rows that are equally far the lesser primary key is nearer. The core measures the distances again
        and orders by them. ``None`` leaves it to the core. Never called with a residual; the query has no order and no
        window, and leaves NULL vectors out.
        """


class TransactionConnection(Connection):
    """A Connection bound to a transaction, used by one call at a time. ``close`` without ``commit`` rolls back."""

    @abstractmethod
    def commit(self) -> None:
        """Make it lasting. After it, and after ``rollback``, only ``close`` is called."""

    @abstractmethod
    def rollback(self) -> None:
        """Undo it."""

    def savepoint(self) -> TransactionConnection:
        """A nested transaction. Called only where SAVEPOINTS is claimed."""
        raise NotImplementedError(f"{type(self).__name__} claims SAVEPOINTS and has no savepoint()")


class SessionConnection(TransactionConnection):
    """A transaction that a SQLAlchemy Session owns. Calls on it flush the Session first, and so see what is pending.

    ``commit`` and ``rollback`` are the Session's; after ``close`` the Session is refused.
    """

    session: Session


class SupportsSessions(ABC):
    """A role of Connection, and of its TransactionConnections: SQLAlchemy Sessions."""

    @abstractmethod
    def begin_session(self, failed: Callable[[Exception], None]) -> SessionConnection:
        """A Session with ``expire_on_commit=False``, as a transaction; on a TransactionConnection a part of it, which
        commits nothing and is undone alone. Its user may commit and roll back, and go on with another transaction.

        ``failed`` must be called with the exception of a flush or statement of the Session that the database refused.
        """


class SupportsWatching(ABC):
    """A role of Connection: tells of statements that belong to no call of the core, as those of a Session.

    No engine needs it to be watched. The core tells of each call by itself, in its own words; an engine that knows more
    says it inside the call, by ``db_plugins.watching.sending`` or ``say``.
    """

    @abstractmethod
    def watch(self, watch: Watch) -> None:
        """Called before any other call, and again when somebody begins to listen.

        Hand such statements to ``watch.report``, unless ``watch.is_idle``.
        """
