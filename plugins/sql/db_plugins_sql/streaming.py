"""Reads that last: a result handed out in parts, whose connection may be wanted for something else meanwhile.

MariaDB's and SQLite's drivers lose or change the rest of a half-read result when another statement runs on its
connection. So a transaction reads its open streams to the end first (``read_to_end``), where the engine needs it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from db_plugins.watching import sending

from .prepared import Prepared
from .reads import wrapped

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["Stream"]

Row = tuple[Any, ...]


class Stream:
    """The rows of a statement in lists, by a server-side cursor where the driver has one."""

    def __init__(self, parts: Iterator[list[Row]], close: Callable[[], None]) -> None:
        self._parts = parts
        self._close = close
        self._rest: deque[list[Row]] | None = None

    @classmethod
    def by_sqlalchemy(cls, connection: sa.Connection, statement: Any, size: int) -> Stream:
        """The plain way: for any dialect, and statements that are not kept."""
        result = connection.execute(statement, execution_options={"yield_per": size})
        return cls(([tuple(row) for row in part] for part in result.partitions(size)), result.close)

    @classmethod
    def by_driver(
        cls, connection: sa.Connection, cursor: Any, prepared: Prepared, values: list[Any], size: int
    ) -> Stream:
        """The short way: a prepared statement on a cursor of the driver's own."""
        driver = connection.connection.dbapi_connection

        def failed(exc: Exception) -> Exception:
            made = wrapped(connection.dialect, driver, cursor, exc)
            if getattr(made, "connection_invalidated", False):
                connection.invalidate(exc)
            return made

        def parts() -> Iterator[list[Row]]:
            while True:
                try:
                    with _ended_with(connection, cursor):
                        found = cursor.fetchmany(size)
                except Exception as exc:
                    raise failed(exc) from exc
                if not found:
                    return
                yield list(prepared.rows(found))

        def close() -> None:
            with _ended_with(connection, cursor):
                try:
                    cursor.close()
                except Exception:
                    if not connection.invalidated:  # else there is nothing left to close
                        raise

        with sending(prepared.text), _ended_with(connection, cursor):
            try:
                cursor.execute(prepared.text, prepared.parameters(values))
                prepared.description = prepared.description or cursor.description
            except Exception as exc:
                cursor.close()
                raise failed(exc) from exc
        return cls(parts(), close)

    def paced(self, read_on: Callable[[bool], None]) -> Stream:
        """The same, from a driver that is told when rows are wanted: it would fetch all that the server sends."""
        parts, close = self._parts, self._close

        def wanted() -> Iterator[list[Row]]:
            for part in parts:
                read_on(False)
                yield part
                read_on(True)

        def closed() -> None:
            read_on(True)  # what is left is read to the end
            close()

        return Stream(wanted(), closed)

    def __iter__(self) -> Iterator[list[Row]]:
        while self._rest is None:
            part = next(self._parts, None)
            if part is None:
                return
            yield part
        while self._rest:
            yield self._rest.popleft()

    def read_to_end(self) -> None:
        """Keep what is left in memory, and so free the connection."""
        if self._rest is None:
            self._rest = deque(self._parts)

    def close(self) -> None:
        """Give the cursor back. May be called twice."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def _ended_with(connection: sa.Connection, cursor: Any) -> Iterator[None]:
    """Close the cursor after its connection, if a task is cancelled here: psycopg misses one that is left open."""
    try:
        yield
    except Exception:
        raise
    except BaseException as exc:
        try:
            connection.invalidate(exc)
        finally:
            with suppress(Exception):
                cursor.close()
        raise
