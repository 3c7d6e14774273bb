"""A driver's error becomes ours by its code: SQLSTATE, errno or SQLite's error name, one table for each.

Messages are read only for what no code says: which columns a constraint is about.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc as sa_exc

from db_plugins.errors import (
    AuthenticationError,
    CheckConstraintError,
    ConfigError,
    ConflictError,
    ConnectionFailedError,
    ConnectionLostError,
    DatabaseMissingError,
    DbPluginsError,
    DuplicateKeyError,
    EngineError,
    ForeignKeyError,
    IntegrityError,
    InvalidValueError,
    NotNullError,
    OutcomeUnknownError,
    PoolTimeoutError,
    QueryTimeoutError,
    ServerUnreachableError,
    UnsupportedOperationError,
)

from .naming import unique_name
from .references import broken_reference, told_by_postgresql

if TYPE_CHECKING:
    from db_plugins.config import Settings
    from db_plugins.models import ModelInfo

__all__ = [
    "MARIADB_CODES",
    "POSTGRESQL_CODES",
    "SQLITE_CODES",
    "Classifier",
    "Context",
    "attributes_of",
    "codes_of",
    "is_stale_plan",
    "note",
    "noted",
]

Kind = type[EngineError]

#: SQLSTATE → error; a two-letter key is a class of states. PostgreSQL, appendix A.
POSTGRESQL_CODES: Mapping[str, Kind] = {
    "23001": ForeignKeyError,
    "23502": NotNullError,
    "23503": ForeignKeyError,
    "23505": DuplicateKeyError,
    "23514": CheckConstraintError,
    "23P01": DuplicateKeyError,
    "28": AuthenticationError,
    "3D000": DatabaseMissingError,
    "40001": ConflictError,
    "40P01": ConflictError,
    "55P03": ConflictError,
    "57014": QueryTimeoutError,
    "57P01": ConnectionLostError,
    "57P02": ConnectionLostError,
    "57P03": ServerUnreachableError,
    "53300": ConnectionFailedError,
    "08": ConnectionLostError,
    "23": IntegrityError,
}
#: errno → error. MariaDB and MySQL error code references.
MARIADB_CODES: Mapping[int, Kind] = {
    1020: ConflictError,
    1040: ConnectionFailedError,
    1044: AuthenticationError,
    1045: AuthenticationError,
    1698: AuthenticationError,
    1049: DatabaseMissingError,
    1048: NotNullError,
    1364: NotNullError,
    1062: DuplicateKeyError,
    1586: DuplicateKeyError,
    1216: ForeignKeyError,
    1217: ForeignKeyError,
    1451: ForeignKeyError,
    1452: ForeignKeyError,
    3819: CheckConstraintError,
    4025: CheckConstraintError,
    1205: ConflictError,
    1213: ConflictError,
    1317: QueryTimeoutError,
    1969: QueryTimeoutError,
    3024: QueryTimeoutError,
    2002: ServerUnreachableError,
    2003: ServerUnreachableError,
    2005: ServerUnreachableError,
    2006: ConnectionLostError,
    2013: ConnectionLostError,
    2026: ConnectionFailedError,
    2055: ConnectionLostError,
}
#: sqlite3's ``sqlite_errorname`` → error; the longest matching prefix wins. SQLite, result and error codes.
SQLITE_CODES: Mapping[str, Kind] = {
    "SQLITE_CONSTRAINT_UNIQUE": DuplicateKeyError,
    "SQLITE_CONSTRAINT_PRIMARYKEY": DuplicateKeyError,
    "SQLITE_CONSTRAINT_ROWID": DuplicateKeyError,
    "SQLITE_CONSTRAINT_NOTNULL": NotNullError,
    "SQLITE_CONSTRAINT_FOREIGNKEY": ForeignKeyError,
    "SQLITE_CONSTRAINT_CHECK": CheckConstraintError,
    "SQLITE_CONSTRAINT": IntegrityError,
    "SQLITE_BUSY": ConflictError,
    "SQLITE_LOCKED": ConflictError,
    "SQLITE_INTERRUPT": QueryTimeoutError,
    "SQLITE_CANTOPEN": ServerUnreachableError,
    "SQLITE_NOTADB": ServerUnreachableError,
    "SQLITE_READONLY": EngineError,
}

#: What each kind says: a fact about {what} and a remedy. ``{where}`` is host and port, or the file.
WORDS: Mapping[Kind, tuple[str, str | None]] = {
    DuplicateKeyError: ("a {row} with the same {attributes} is already there", None),
    NotNullError: ("{attributes} of {model} cannot be None", "give it a value"),
    ForeignKeyError: (
        "{model} refers to a row that is not there, or is still referred to{by}",
        "insert the parent first, or delete the children first",
    ),
    CheckConstraintError: ("a check constraint of {model} refused the row", None),
    IntegrityError: ("a constraint of {model} refused the row", None),
    ConflictError: ("another transaction was faster on {model}", "nothing was done: run it again"),
    AuthenticationError: (
        "{where} refused the user {user!r}",
        "check USER and PASSWORD of the entry {entry!r}",
    ),
    DatabaseMissingError: (
        "{where} has no database {database!r}",
        "create it on the server, then run `dbp initdb`",
    ),
    ServerUnreachableError: (
        "{where} cannot be reached",
        "is the server running? check HOST and PORT of {entry!r}",
    ),
    ConnectionFailedError: ("{where} refused the connection", "see the cause for the server's words"),
    ConnectionLostError: (
        "the connection to {where} was lost",
        "check the server; the call may be run again",
    ),
    QueryTimeoutError: (
        "a statement on {model} took longer than allowed",
        "raise QUERY_TIMEOUT or narrow the query",
    ),
}

#: For ON DELETE RESTRICT SQLite has the code of a trigger: the message tells that it is a foreign key.
_SQLITE_RESTRICT = "FOREIGN KEY constraint failed"
#: SQLite has one code for every mistake in a statement: there the message is asked.
#: SQLite has a file, and no server that could be reached; a code goes on with what is nearer (``_ISDIR``).
_FILE_WORDS: Mapping[str, tuple[str, str]] = {
    "SQLITE_NOTADB": ("{where} is no SQLite database", "check the path in the entry {entry!r}"),
    "SQLITE_CANTOPEN": (
        "{where} cannot be opened or made",
        "check the path in the entry {entry!r}, and the right to write to its folder",
    ),
}
_MISSING_TABLE = {"42P01", 1146}
#: A server, a transaction or a file that takes no writes; SQLite has several names for it.
_READ_ONLY = {"25006", 1290, 1792, 1836}
#: A right on the database, a table, a column or of the whole server is missing. (1044, on connecting, is its own error.)
_DENIED = {"42501", 1142, 1143, 1227}


#: SQLAlchemy's words when a dialect has no name for a column's type.
_UNKNOWN_TYPE = re.compile(r"\(in table '(.+?)', column '(.+?)'\): .* can't render element of type (\w+)")


class Context:
    """What an exception is about: attached by the connection, read here."""

    __slots__ = ("committing", "deleting", "failure", "in_transaction", "model", "writing")

    def __init__(
        self,
        model: ModelInfo | None = None,
        *,
        writing: bool = False,
        in_transaction: bool = False,
        committing: bool = False,
        deleting: bool = False,
        failure: Kind | None = None,
    ) -> None:
        self.model = model
        self.writing = writing
        self.in_transaction = in_transaction
        self.committing = committing
        self.deleting = deleting
        self.failure = failure


def note(exc: BaseException, context: Context) -> None:
    """Attach the context to a driver's exception on its way out."""
    exc.dbp_context = context  # type: ignore[attr-defined]


@contextmanager
def noted(context: Context) -> Iterator[None]:
    """Let an exception carry what it was about, for ``classify``."""
    try:
        yield
    except sa_exc.SQLAlchemyError as exc:
        if not hasattr(exc, "dbp_context"):
            note(exc, context)
        raise


class Classifier:
    """Names a driver's exceptions for one database."""

    def __init__(
        self,
        settings: Settings,
        engine: str,
        codes: Mapping[Any, Kind],
        where: str,
        pool_arguments: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.settings = settings
        self.pool_arguments = pool_arguments
        self.engine = engine
        self.codes = codes
        self.where = where

    def __call__(self, exc: Exception) -> DbPluginsError | None:
        if not isinstance(exc, (sa_exc.SQLAlchemyError, sqlite3.Error)):
            return None
        if isinstance(exc, sa_exc.TimeoutError):
            return self._pool_timeout(exc)
        if isinstance(exc, (sa_exc.NoSuchModuleError, sa_exc.ArgumentError)):
            return ConfigError(f"the entry {self.settings.name!r} is not usable: {exc}")
        if isinstance(exc, sa_exc.CompileError) and (found := _UNKNOWN_TYPE.search(str(exc))):
            table, column, kind = found.groups()
            return UnsupportedOperationError(
                f"{self.engine} has no type {kind}, which column {column!r} of table {table!r} asks for",
                hint=f"use a type of every engine (sqlalchemy.JSON), or JSON().with_variant({kind}(), …)",
            )
        context: Context = getattr(exc, "dbp_context", None) or Context()
        orig = exc.orig if isinstance(exc, sa_exc.StatementError) and exc.orig is not None else exc
        if isinstance(orig, InvalidValueError):
            return InvalidValueError(
                orig.fact, hint=orig.hint
            )  # of a TypeDecorator, which says what is wrong
        if isinstance(orig, (OverflowError, sa_exc.StatementError)) or (
            isinstance(exc, sa_exc.StatementError) and not isinstance(exc, sa_exc.DBAPIError)
        ):
            return InvalidValueError(f"a value does not fit {_model(context)}: {type(orig).__name__}")
        kind = context.failure or self._kind(exc, orig, context)
        return self._make(kind, orig, context)

    def _kind(self, exc: Exception, orig: BaseException, context: Context) -> Kind:
        kind = _lookup(self.codes, codes_of(orig))
        if kind is IntegrityError and str(orig) == _SQLITE_RESTRICT:
            kind = ForeignKeyError
        if is_stale_plan(orig):
            return ConflictError
        lost = getattr(exc, "connection_invalidated", False)
        if kind is None and isinstance(orig, TimeoutError) and not lost:  # asyncpg's command_timeout
            return QueryTimeoutError
        if lost and kind in (None, ConnectionLostError):
            kind = ConnectionLostError
        if kind is ConnectionLostError and (
            context.committing or (context.writing and not context.in_transaction)
        ):
            return OutcomeUnknownError
        return kind or EngineError

    def _make(self, kind: Kind, orig: BaseException, context: Context) -> EngineError:
        if kind is OutcomeUnknownError:
            return OutcomeUnknownError(
                f"the connection to {self.where} was lost while it wrote {_model(context)}",
                engine=self.engine,
                orig=orig,
                hint="the work may or may not be stored: read it again by its keys",
            )
        if kind is EngineError:
            return self._other(orig, context)
        if is_stale_plan(orig):
            return ConflictError(
                f"a table was altered under a statement on {_model(context)}",
                engine=self.engine,
                orig=orig,
                hint="nothing was done: run it again",
            )
        if kind is ForeignKeyError and (reference := broken_reference(orig, context)) is not None:
            return reference(self.engine, orig)
        attributes = attributes_of(orig, context.model) if issubclass(kind, IntegrityError) else ()
        of_file = [name for name in _FILE_WORDS if any(str(code).startswith(name) for code in codes_of(orig))]
        fact, hint = _FILE_WORDS[of_file[0]] if of_file else WORDS[kind]
        words = {
            "model": _model(context),
            "row": "row" if context.model is None else context.model.name,
            "attributes": ", ".join(attributes) or "key",
            "by": f" ({', '.join(attributes)})" if attributes else "",
            "where": self.where,
            "user": self.settings.user or "",
            "database": self.settings.database or "",
            "entry": self.settings.name,
        }
        fact, hint = fact.format(**words), hint and hint.format(**words)
        if issubclass(kind, IntegrityError):
            return kind(fact, attributes=attributes, engine=self.engine, orig=orig, hint=hint)
        retryable = context.in_transaction if kind is ConnectionLostError else None
        return kind(fact, engine=self.engine, orig=orig, hint=hint, retryable=retryable)

    def _other(self, orig: BaseException, context: Context) -> EngineError:
        codes = codes_of(orig)
        if _MISSING_TABLE.intersection(codes) or "no such table" in str(orig):
            return EngineError(
                f"the table of {_model(context)} is not there",
                engine=self.engine,
                orig=orig,
                hint="run `dbp initdb`, or db.create_all()",
            )
        if any(code in _READ_ONLY or str(code).startswith("SQLITE_READONLY") for code in codes):
            return EngineError(
                f"{self.where} is read-only",
                engine=self.engine,
                orig=orig,
                hint="use the server that takes writes, or give the user, or the file, the right to write",
            )
        if _DENIED.intersection(codes):
            return EngineError(
                f"the user {self.settings.user!r} has not the right to do that on {self.where}",
                engine=self.engine,
                orig=orig,
                hint="give the user the right, or let a user who has it do this",
            )
        # Not the server's own words: they may quote a row. The driver's exception is the cause.
        answer = codes[0] if codes else type(orig).__name__
        return EngineError(
            f"{self.engine} answered {answer} to a statement on {_model(context)}",
            engine=self.engine,
            orig=orig,
            hint="see the cause for the server's own words",
        )

    def _pool_timeout(self, exc: Exception) -> EngineError:
        pool = self.pool_arguments()
        size, overflow, seconds = pool["pool_size"], pool["max_overflow"], pool["pool_timeout"]
        return PoolTimeoutError(
            f"no connection of the pool of {self.settings.name!r} became free in {seconds:g} s: all {size + overflow} "
            f"(POOL_SIZE {size}, MAX_OVERFLOW {overflow}) are in use",
            engine=self.engine,
            orig=exc,
            hint="raise POOL_SIZE, MAX_OVERFLOW or POOL_TIMEOUT, or keep transactions, sessions and streams shorter",
        )


def _model(context: Context) -> str:
    return context.model.name if context.model is not None else "the database"


def codes_of(orig: BaseException) -> tuple[Any, ...]:
    """The driver's codes, the most exact first: an errno, SQLite's error name, a SQLSTATE."""
    first = orig.args[0] if orig.args else None
    named = [getattr(orig, name, None) for name in ("sqlite_errorname", "sqlstate", "pgcode")]
    return tuple(c for c in (first if isinstance(first, int) else None, *named) if c)


def is_stale_plan(exc: BaseException) -> bool:
    """Is it PostgreSQL's refusal of a kept statement whose tables were altered? Nothing was done; on a connection that
    does not keep it, it can be sent again."""
    told = told_by_postgresql(getattr(exc, "orig", None) or exc)
    names = (getattr(told, name, None) for name in ("source_function", "server_source_function"))
    return "RevalidateCachedQuery" in names


def _lookup(codes: Mapping[Any, Kind], found: tuple[Any, ...]) -> Kind | None:
    for code in found:
        for size in range(len(code), 1, -1) if isinstance(code, str) else (None,):
            kind = codes.get(code if size is None else code[:size])
            if kind is not None:
                return kind
    return None


# -- which attributes a constraint is about --------------------------------------------------------------------------


def attributes_of(orig: BaseException, model: ModelInfo | None) -> tuple[str, ...]:
    """The attributes of a broken constraint, from names the driver gives: columns, a constraint or an index."""
    for read in (_from_diagnostics, _from_sqlite, _from_mariadb):
        columns, constraint = read(orig)
        if columns:
            return model.attributes_of(columns) if model is not None else tuple(columns)
        if constraint and model is not None and (found := _of_constraint(constraint, model)):
            return found
    return ()


Found = tuple[tuple[str, ...], str | None]


def _from_diagnostics(orig: BaseException) -> Found:
    told = told_by_postgresql(orig)
    if told is None:
        return (), None
    if told.column_name:
        return (told.column_name,), None
    # The detail names columns for every constraint, also those without a name of the model's: Key (a, b)=(…).
    detail = told.message_detail if hasattr(told, "message_detail") else told.detail
    match = re.search(r"\(([^()]+)\)=\(", detail or "")
    columns = tuple(c.strip().strip('"') for c in match[1].split(",")) if match else ()
    return columns, told.constraint_name


def _from_sqlite(orig: BaseException) -> Found:
    if not isinstance(orig, sqlite3.Error):
        return (), None
    match = re.search(r"constraint failed: (.+)$", str(orig))
    if not match or "." not in match[1]:
        return (), None
    return tuple(part.rpartition(".")[2] for part in match[1].split(", ")), None


def _from_mariadb(orig: BaseException) -> Found:
    text = str(orig.args[1]) if len(orig.args) > 1 else ""
    if match := re.search(r"for key '(?:[^']*\.)?([^']+)'", text):
        return (), match[1]
    if match := re.search(r"FOREIGN KEY \(([^)]+)\)", text):
        return tuple(c.strip(" `") for c in match[1].split(",")), None
    if match := re.search(r"(?:Column|Field) '([^']+)'", text):
        return (match[1],), None
    return (), None


def _of_constraint(name: str, model: ModelInfo) -> tuple[str, ...]:
    if name == "PRIMARY":
        return tuple(f.name for f in model.key)
    for unique in model.uniques:
        # MariaDB names an unnamed key after its first column; one that this library made has a name.
        if name == unique.name or (
            unique.name is None
            and (
                name == unique_name(model.table.name, [f.column for f in unique.fields])
                or re.fullmatch(re.escape(unique.fields[0].column) + r"(_\d+)?", name)
            )
        ):
            return tuple(f.name for f in unique.fields)
    for key in model.foreign_keys:
        if name == key.name:
            return tuple(f.name for f in key.fields)
    return ()
