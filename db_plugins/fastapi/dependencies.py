"""What an endpoint asks for with ``Depends``: a Database, an AsyncDatabase, a Session, an AsyncSession.

    get_databases ─┬─ get_db ─────── get_session          a plain ``def`` endpoint, or quick calls in an async one
                   ├─ get_async_db ─ get_async_session    an ``async def`` endpoint
                   └─ db_for(name)

In a test each can be replaced, and what depends on it follows: ``app.dependency_overrides[get_db] = lambda: db``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from typing import Annotated, Any, Literal, overload

from fastapi import Depends
from fastapi.requests import HTTPConnection
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from ..async_database import AsyncDatabase
from ..database import Database
from ..errors import ConfigError
from .lifespans import STATE, Databases
from .requirement import before_response
from .session_turns import opened_in_turn

__all__ = [
    "db_for",
    "get_async_db",
    "get_async_session",
    "get_databases",
    "get_db",
    "get_session",
]

# Coroutines, all of them: FastAPI runs each plain function in a thread, which for a look-up costs more than the look-up.


async def get_databases(connection: HTTPConnection) -> Databases:
    """The databases that the application's lifespan opened. Raises ConfigError where it has none."""
    found = getattr(connection.state, STATE, None) or getattr(connection.app.state, STATE, None)
    if found is None:
        raise ConfigError(
            "no database is open for this application",
            hint="FastAPI(lifespan=db_plugins.fastapi.database(…)); a TestClient enters it by `with TestClient(app)`",
        )
    return found  # type: ignore[no-any-return]


async def get_db(databases: Annotated[Databases, Depends(get_databases)]) -> Database:
    """The first Database of the lifespan: for endpoints that are a plain ``def``.

    In an ``async def`` endpoint its calls keep the loop waiting; ``get_async_db`` does not.
    """
    return databases.db()


async def get_async_db(databases: Annotated[Databases, Depends(get_databases)]) -> AsyncDatabase:
    """The first AsyncDatabase of the lifespan: for ``async def`` endpoints."""
    return databases.async_db()


@overload
def db_for(
    name: str, *, asynchronous: Literal[False] = False
) -> Callable[[Databases], Awaitable[Database]]: ...
@overload
def db_for(name: str, *, asynchronous: Literal[True]) -> Callable[[Databases], Awaitable[AsyncDatabase]]: ...
def db_for(name: str, *, asynchronous: bool = False) -> Callable[[Databases], Awaitable[Any]]:
    """The dependency that gives the Database (the AsyncDatabase) of this name; the same one at each call, to be overridden.

    A request raises ConfigError if the lifespan opened none of this name.

        Archive = Annotated[Database, Depends(db_for("archive"))]
        Archive = Annotated[AsyncDatabase, Depends(db_for("archive", asynchronous=True))]
    """
    return _named(name, asynchronous)


@cache
def _named(name: str, asynchronous: bool) -> Callable[[Databases], Awaitable[Any]]:
    async def get_named(databases: Annotated[Databases, Depends(get_databases)]) -> Any:
        return databases.async_db(name) if asynchronous else databases.db(name)

    return get_named


async def _request_session(db: Annotated[Database, Depends(get_db)]) -> AsyncIterator[Session]:
    async with opened_in_turn(db) as session:
        yield session


async def _request_async_session(
    db: Annotated[AsyncDatabase, Depends(get_async_db)],
) -> AsyncIterator[AsyncSession]:
    async with db.session() as session:
        yield session


# -- sessions ----------------------------------------------------------------------------------------------------------
# A dependency that yields ends after the response unless it is asked for with scope="function". Who writes
# Depends(get_session) need not know: what yields is one step behind it, and is asked for here.


async def get_session(session: Annotated[Session, before_response(_request_session)]) -> Session:
    """A SQLAlchemy Session of this request: committed before the response is sent, or undone if the endpoint raised.

    What the commit raises becomes the response. It takes a connection at its first statement, and gives it back at the end,
    however the request ends. Objects stay readable; ``session.flush()`` fills in keys and defaults before the response is
    made. Calls on ``get_db``'s Database are no part of it.

        def add(session: Annotated[Session, Depends(get_session)]) -> None:
            session.add(Star(name="Vega"))

    Raises UnsupportedOperationError on an engine without sessions, PoolTimeoutError after ``POOL_TIMEOUT`` seconds with
    all connections in other requests' sessions.
    """
    return session


async def get_async_session(
    session: Annotated[AsyncSession, before_response(_request_async_session)],
) -> AsyncSession:
    """As ``get_session``, an AsyncSession. Calls of the endpoint on ``get_async_db``'s AsyncDatabase join it."""
    return session
