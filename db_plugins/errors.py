"""Every error that leaves this library, drawn as the tree it is.

A message gives the fact, the evidence and what to do, and never the values of rows; ``hint`` is the last part alone.

    DbPluginsError
    ├─ ConfigError                    every problem found, at once (.problems)
    ├─ PluginError ─ EngineNotFoundError, PluginLoadError, PluginConflictError
    ├─ UnsupportedError ─ UnsupportedFilterError, UnsupportedOperationError
    ├─ InvalidValueError (a ValueError), MissingFilterError, NotFoundError (a LookupError),
    │  MultipleResultsError, NotLoadedError
    ├─ EngineError (.orig, .engine, .retryable)
    │   ├─ ConnectionFailedError ─ ServerUnreachableError, AuthenticationError, DatabaseMissingError
    │   ├─ ConnectionLostError        in a transaction: nothing was committed
    │   ├─ OutcomeUnknownError        the answer to a commit was lost: never retried by itself
    │   ├─ EngineTimeoutError (a TimeoutError) ─ PoolTimeoutError, QueryTimeoutError
    │   ├─ IntegrityError (.attributes) ─ DuplicateKeyError, NotNullError, ForeignKeyError, CheckConstraintError
    │   └─ ConflictError              safe to run again
    ├─ MigrationError ─ RevisionNotFoundError, MultipleHeadsError, PendingMigrationsError,
    │                   DestructiveChangeError, MigrationLockedError, DirtyMigrationError
    └─ TransferError ─ VerificationError (.differences)

``NotLoadedError`` is also SQLAlchemy's ``DetachedInstanceError`` where it is raised (``db_plugins.models``): this file
loads nothing, so that ``import db_plugins`` stays light.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

__all__ = [
    "AuthenticationError",
    "CheckConstraintError",
    "ConfigError",
    "ConflictError",
    "ConnectionFailedError",
    "ConnectionLostError",
    "DatabaseMissingError",
    "DbPluginsError",
    "DestructiveChangeError",
    "DirtyMigrationError",
    "DuplicateKeyError",
    "EngineError",
    "EngineNotFoundError",
    "EngineTimeoutError",
    "ForeignKeyError",
    "IntegrityError",
    "InvalidValueError",
    "MigrationError",
    "MigrationLockedError",
    "MissingFilterError",
    "MultipleHeadsError",
    "MultipleResultsError",
    "NotFoundError",
    "NotLoadedError",
    "NotNullError",
    "OutcomeUnknownError",
    "PendingMigrationsError",
    "PluginConflictError",
    "PluginError",
    "PluginLoadError",
    "PoolTimeoutError",
    "QueryTimeoutError",
    "RevisionNotFoundError",
    "ServerUnreachableError",
    "TransferError",
    "UnsupportedError",
    "UnsupportedFilterError",
    "UnsupportedOperationError",
    "VerificationError",
]


class DbPluginsError(Exception):
    """The root. ``str(error)`` is fact and remedy; ``hint`` is the remedy alone (``None`` when there is none).

    >>> print(NotFoundError("no Star has the key 7", hint="insert it first"))
    no Star has the key 7; insert it first
    """

    hint: str | None = None
    #: Of a bulk write that is not all or nothing: how many rows of the call stay stored.
    stored: int = 0

    def __init__(self, fact: str = "", *, hint: str | None = None) -> None:
        super().__init__(fact)
        self.hint = hint

    @property
    def fact(self) -> str:
        """The message without the remedy."""
        return str(self.args[0]) if self.args else ""

    def __str__(self) -> str:
        return f"{self.fact}; {self.hint}" if self.hint else self.fact


class ConfigError(DbPluginsError):
    """The settings are wrong. ``problems`` lists all that was found, one sentence each."""

    problems: tuple[str, ...] = ()

    def __init__(self, fact: str = "", *, problems: Iterable[str] = (), hint: str | None = None) -> None:
        super().__init__(fact, hint=hint)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n  - ".join([super().__str__(), *self.problems])


class PluginError(DbPluginsError):
    """An engine plugin is missing or broken."""


class EngineNotFoundError(PluginError):
    """No installed plugin answers to this name."""


class PluginLoadError(PluginError):
    """A plugin was found and could not be loaded; names the plugin and its distribution."""


class PluginConflictError(PluginError):
    """Two distributions answer to one name; names both."""


class UnsupportedError(DbPluginsError):
    """This engine, or this library, cannot do what was asked."""


class UnsupportedFilterError(UnsupportedError):
    """A part of a filter or an order has no meaning that holds on every engine; names the smallest such part."""


class UnsupportedOperationError(UnsupportedError):
    """This engine or deployment has no such operation; says what to change."""


class InvalidValueError(DbPluginsError, ValueError):
    """A value does not fit its column, or a name is unknown. Raised before anything is sent."""


class MissingFilterError(DbPluginsError):
    """``update`` or ``delete`` of every row was asked without ``force=True``."""


class NotFoundError(DbPluginsError, LookupError):
    """There is no such row."""


class MultipleResultsError(DbPluginsError):
    """One row was asked for and several are there."""


class NotLoadedError(DbPluginsError):
    """A relationship was touched that the query did not load; ``include`` loads it."""


class EngineError(DbPluginsError):
    """The database, or the way to it, answered with an error.

    ``orig`` is the driver's exception (also ``__cause__``), ``engine`` the engine's name, and ``retryable`` says whether
    the same work may be run again without harm.
    """

    engine: str = ""
    orig: BaseException | None = None
    retryable: bool = False

    def __init__(
        self,
        fact: str = "",
        *,
        engine: str = "",
        orig: BaseException | None = None,
        hint: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(fact, hint=hint)
        self.engine = engine
        self.orig = orig
        if retryable is not None:
            self.retryable = retryable


class ConnectionFailedError(EngineError):
    """No connection could be made."""


class ServerUnreachableError(ConnectionFailedError):
    """Nothing answers there, or the file cannot be opened."""

    retryable = True


class AuthenticationError(ConnectionFailedError):
    """The server refused the user or the password."""


class DatabaseMissingError(ConnectionFailedError):
    """The server is there and the database is not."""


class ConnectionLostError(EngineError):
    """The connection died. In a transaction nothing was committed, and ``retryable`` is true."""


class OutcomeUnknownError(EngineError):
    """The answer to a write or a commit was lost: it may or may not have happened. Never retried by itself."""


class EngineTimeoutError(EngineError, TimeoutError):
    """Something took longer than its limit."""


class PoolTimeoutError(EngineTimeoutError):
    """No connection of the pool became free in time."""

    retryable = True


class QueryTimeoutError(EngineTimeoutError):
    """A statement took longer than ``QUERY_TIMEOUT``."""


class IntegrityError(EngineError):
    """A rule of the data was broken; ``attributes`` names the model's attributes it is about."""

    attributes: tuple[str, ...] = ()

    def __init__(
        self,
        fact: str = "",
        *,
        attributes: Iterable[str] = (),
        engine: str = "",
        orig: BaseException | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(fact, engine=engine, orig=orig, hint=hint)
        self.attributes = tuple(attributes)


class DuplicateKeyError(IntegrityError):
    """A row with this unique key is already there."""


class NotNullError(IntegrityError):
    """A required attribute is missing or ``None``."""


class ForeignKeyError(IntegrityError):
    """A referenced row does not exist, or a row is still referenced."""


class CheckConstraintError(IntegrityError):
    """A check constraint or validator refused the row."""


class ConflictError(EngineError):
    """Another transaction was faster; nothing was done, and it is safe to run again."""

    retryable = True


class MigrationError(DbPluginsError):
    """A migration could not be made or applied."""


class RevisionNotFoundError(MigrationError):
    """No revision has this name."""


class MultipleHeadsError(MigrationError):
    """The history has several ends; merge them."""


class PendingMigrationsError(MigrationError):
    """The database is behind its revisions."""


class DestructiveChangeError(MigrationError):
    """A column or table to be dropped still holds values."""


class MigrationLockedError(MigrationError):
    """Another migration holds the lock."""


class DirtyMigrationError(MigrationError):
    """An earlier migration stopped half-way; names the exact step."""


class TransferError(DbPluginsError):
    """Data could not be copied, loaded or dumped."""


class VerificationError(TransferError):
    """Two databases differ. ``differences`` name the first keys, ``verified`` holds counts and checksums."""

    differences: tuple[Any, ...] = ()
    verified: Any = None

    def __init__(
        self,
        fact: str = "",
        *,
        differences: Iterable[Any] = (),
        verified: Any = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(fact, hint=hint)
        self.differences = tuple(differences)
        self.verified = verified

    @property
    def problems(self) -> tuple[str, ...]:
        """The differences, one line each."""
        return tuple(map(str, self.differences))

    def __str__(self) -> str:
        return "\n  - ".join([super().__str__(), *self.problems])


def nearest(name: str, known: Iterable[str], *, prefix: str = "did you mean ") -> str:
    """``"did you mean 'mag'?"`` or, when nothing is near, ``"known names: …"``.

    >>> nearest("magg", ["id", "mag"])
    "did you mean 'mag'?"
    """
    names = [str(k) for k in known]
    folded = {k.casefold(): k for k in names}
    close = get_close_matches(str(name).casefold(), list(folded), n=2, cutoff=0.6)
    if close:
        return prefix + " or ".join(repr(folded[c]) for c in close) + "?"
    return "known names: " + (", ".join(names) or "none")
