"""The pool of one database: SQLAlchemy's, in autocommit, whose connections are fresh when they are lent.

    lent within SECONDS_AT_HAND of its last use   its socket is looked at, where the driver shows it
    else                                          it is pinged; one that is dead is replaced, with all that are as old

The pool of an AsyncDatabase has an asynchronous driver, which SQLAlchemy adapts; all else is the same.
"""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from db_plugins.errors import ConfigError, ConnectionFailedError, ServerUnreachableError

from .abandoned import end_abandoned
from .errors import Context, Kind, is_stale_plan, note
from .migrations.ddl import teach_ddl
from .types import runtime_types

if TYPE_CHECKING:
    from .engine import SQLEngine

__all__ = [
    "SECONDS_AT_HAND",
    "checked_out",
    "fetched",
    "is_raw",
    "make_pool",
    "own_connection",
    "wrapped_raw",
]

#: How long a connection is taken for alive without asking the server.
SECONDS_AT_HAND = 1.0
_USED = "dbp_used"


def make_pool(engine: SQLEngine, *, poolclass: type[sa.Pool] | None = None) -> sa.Engine:
    """The SQLAlchemy Engine: in autocommit, values hidden from every message, types that lose nothing.

    Pooled as the settings say, unless ``poolclass`` is given.
    """
    url = engine.url
    options: dict[str, Any] = {
        "isolation_level": "AUTOCOMMIT",
        "hide_parameters": True,
        "json_serializer": _to_json,
        "echo": bool(engine.settings.echo),
        "connect_args": engine.connect_arguments(),
        **(engine.engine_arguments() if poolclass is None else {"poolclass": poolclass}),
    }
    if options["echo"]:
        _echo_to_stderr()
    asks = options.pop("pool_pre_ping", False)
    try:
        pool = _create(engine, url, options)
    except ImportError as exc:
        raise _no_driver(engine, url, exc) from exc
    except sa_exc.NoSuchModuleError as exc:
        raise ConfigError(
            f"ENGINE {url.drivername!r} of {engine.settings.name!r} is no dialect that SQLAlchemy knows",
            hint="install the package that brings the dialect, or correct the name",
        ) from exc
    except (sa_exc.ArgumentError, sa_exc.InvalidRequestError, TypeError) as exc:
        raise ConfigError(f"the entry {engine.settings.name!r} cannot be used: {exc}") from exc
    teach_ddl(pool.dialect)
    sa.event.listen(pool, "connect", _prepare(engine, pool.dialect))
    if asks:
        sa.event.listen(pool, "checkin", _note_use)
        sa.event.listen(pool, "checkout", _look_at(engine, pool.dialect))
    sa.event.listen(pool, "handle_error", _heed, retval=True)
    if engine.awaits and poolclass is None:
        sa.event.listen(pool, "invalidate", end_abandoned(engine))
    return pool


#: Modules whose distribution has another name.
_DISTRIBUTIONS = {"MySQLdb": "mysqlclient", "mysql": "mysql-connector-python", "psycopg2": "psycopg2-binary"}


def _no_driver(engine: SQLEngine, url: sa.URL, exc: ImportError) -> ConfigError:
    """For a driver that is named and cannot be loaded: it is not there, or its library is not, as psycopg's libpq."""
    if isinstance(exc, ModuleNotFoundError) and exc.name:
        module = exc.name.partition(".")[0]
        fact = f"the driver of {engine.name} is not installed: no module {exc.name!r}"
    else:
        module = url.drivername.partition("+")[2]
        fact = f"the driver of {engine.name} cannot be loaded: {str(exc).partition(chr(10))[0]}"
    extra = engine.extras_of_modules().get(
        module
    )  # an extra is no remedy for other drivers than that which it brings
    name = f'"db-plugins-sql[{extra}]"' if extra else _DISTRIBUTIONS.get(module, module)
    return ConfigError(fact, hint=f"pip install {name}")


def _create(engine: SQLEngine, url: sa.URL, options: dict[str, Any]) -> sa.Engine:
    if not engine.awaits:
        return sa.create_engine(url, **options)
    from sqlalchemy.ext.asyncio import create_async_engine

    return create_async_engine(url, **options).sync_engine


def _echo_to_stderr() -> None:
    """Statements go where logs go. SQLAlchemy prints them to standard output, unless its logger has a handler."""
    logger = logging.getLogger("sqlalchemy.engine.Engine")
    if logger.handlers:
        return
    # Who has set up logging sees them by that, once.
    logger.addHandler(logging.NullHandler() if logger.hasHandlers() else logging.StreamHandler())


def _to_json(value: Any) -> str:
    # Characters as they are: not every server reads pairs of \\u escapes as one.
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _prepare(engine: SQLEngine, dialect: sa.Dialect) -> Callable[[Any, Any], None]:
    standard = None

    def prepare(dbapi_connection: Any, _record: Any) -> None:
        # After the first connection, for MariaDB's dialect chooses its types when it has seen the server.
        nonlocal standard
        if standard is None:
            standard = dialect.colspecs
            dialect.colspecs = runtime_types(dialect)
        engine.prepare_driver(dbapi_connection)
        cursor = dbapi_connection.cursor()
        try:
            engine.on_connect(cursor)
        finally:
            cursor.close()
        engine.settle_driver(dbapi_connection)

    return prepare


def own_connection(driver: Any) -> Any:
    """The driver's own connection, which SQLAlchemy adapts if it is awaited."""
    return getattr(driver, "driver_connection", driver)


async def fetched(connection: Any, text: str, parameters: Any) -> Sequence[Any]:
    """All rows of a statement, by a cursor of the driver's own."""
    async with connection.cursor() as cursor:
        await cursor.execute(text, parameters)
        found: Sequence[Any] = await cursor.fetchall()
        return found


# -- fresh ones --------------------------------------------------------------------------------------------------------


def _note_use(_dbapi_connection: Any, record: Any) -> None:
    record.info[_USED] = time.monotonic()


def _look_at(engine: SQLEngine, dialect: sa.Dialect) -> Callable[[Any, Any, Any], None]:
    def look(dbapi_connection: Any, record: Any, _proxy: Any) -> None:
        used = record.info.get(_USED)
        if used is None:  # it was made just now
            return
        if time.monotonic() - used < SECONDS_AT_HAND and engine.is_alive(dbapi_connection):
            return
        try:
            dialect.do_ping(dbapi_connection)
        except (dialect.loaded_dbapi.Error, OSError) as exc:
            if isinstance(exc, OSError) or dialect.is_disconnect(exc, dbapi_connection, None):
                raise sa_exc.InvalidatePoolError from exc
            raise

    return look


def checked_out(engine: SQLEngine, pool: sa.Engine) -> sa.Connection:
    """A connection; an error to make one carries why."""
    try:
        return pool.connect()
    except TypeError as exc:
        raise _wrong_options(engine, exc) from exc
    except sa_exc.DBAPIError as exc:
        if isinstance(exc, sa_exc.ProgrammingError) and "option" in str(exc.orig):  # libpq's word for it
            raise _wrong_options(engine, exc.orig) from exc.orig
        note(exc, Context(failure=engine.failure_of(exc.orig or exc)))
        raise
    except Exception as exc:
        if not is_raw(exc):
            raise
        failed = sa_exc.DBAPIError(None, None, exc, hide_parameters=True)
        note(failed, Context(failure=_why_raw(engine, exc)))
        raise failed from exc


def _wrong_options(engine: SQLEngine, exc: BaseException | None) -> ConfigError:
    """The driver's answer to an argument that it has not."""
    key = "ASYNC_OPTIONS" if engine.awaits else "OPTIONS"
    return ConfigError(
        f"the driver of {engine.name} refused the arguments of {engine.settings.name!r}: {exc}",
        hint=f"{key} of the entry, and what follows the question mark of its URL, are handed to the driver as they are",
    )


# -- what SQLAlchemy does not wrap -------------------------------------------------------------------------------------


def is_raw(exc: BaseException) -> bool:
    """Is it of asyncio or asyncpg, of what SQLAlchemy's adapters let through?"""
    return isinstance(exc, OSError) or type(exc).__module__.startswith("asyncpg")


def wrapped_raw(exc: BaseException, is_disconnect: Callable[[], bool]) -> sa_exc.DBAPIError:
    """As SQLAlchemy would have wrapped it."""
    if isinstance(exc, OSError):
        # Of a statement that took too long the connection lives on; a broken socket has an errno, or is none of time.
        lost = not isinstance(exc, TimeoutError) or exc.errno is not None
    else:
        lost = is_disconnect()
    return sa_exc.DBAPIError(None, None, exc, hide_parameters=True, connection_invalidated=lost)


def _why_raw(engine: SQLEngine, exc: BaseException) -> Kind | None:
    if not isinstance(exc, OSError):
        return engine.failure_of(exc)
    # asyncpg's own, of a server without TLS; and what a certificate has against it.
    refused = type(exc) is ConnectionError or isinstance(exc, ssl.SSLError)
    return ConnectionFailedError if refused else ServerUnreachableError


def _heed(about: sa.ExceptionContext) -> BaseException | None:
    """SQLAlchemy's own statements: give up connections that keep a stale plan, and wrap what it does not."""
    exc = about.original_exception
    if is_stale_plan(exc):
        about.is_disconnect = True  # of all that are as old
    if about.sqlalchemy_exception is not None or not about.dialect.is_async or not is_raw(exc):
        return None
    connection = about.connection
    driver = None if connection is None or connection.invalidated else connection.connection.dbapi_connection
    failed = wrapped_raw(exc, lambda: about.dialect.is_disconnect(exc, driver, None))  # type: ignore[arg-type]
    about.is_disconnect = failed.connection_invalidated
    return failed
