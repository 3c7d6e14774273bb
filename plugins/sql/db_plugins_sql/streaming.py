"""Reads that last: a result handed out in parts, whose connection may be wanted for something else meanwhile.

MariaDB's and SQLite's drivers lose or change the rest of a half-read result when another statement runs on its
connection. So a transaction reads its open streams to the end first (``read_to_end``), where the engine needs it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["Stream"]

Row = tuple[Any, ...]


class Stream:
    """The rows of a statement in lists of ``size``, by a server-side cursor where the driver has one."""

    def __init__(self, connection: sa.Connection, statement: Any, size: int) -> None:
        self._result = connection.execute(statement, execution_options={"yield_per": size})
        self._parts = self._result.partitions(size)
        self._rest: deque[list[Row]] | None = None

    def __iter__(self) -> Iterator[list[Row]]:
        while self._rest is None:
            part = next(self._parts, None)
            if part is None:
                return
            yield [tuple(row) for row in part]
        while self._rest:
            yield self._rest.popleft()

    def read_to_end(self) -> None:
        """Keep what is left in memory, and so free the connection."""
        if self._rest is None:
            self._rest = deque([tuple(row) for row in part] for part in self._parts)

    def close(self) -> None:
        """Give the cursor back. May be called twice."""
        self._result.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
