"""PostgreSQL's own ways to write: ON CONFLICT, COPY, and sequences that must be told of keys given by hand."""

from __future__ import annotations

from db_plugins.engine import Conflict
from db_plugins.models import Field

from .storage import move_numbering
from .writes import Desk, Writer

__all__ = ["PostgreSQLWriter"]


class PostgreSQLWriter(Writer):
    """Writes as PostgreSQL does it best."""

    def needs_transaction(self, count: int, by_hand: bool, conflict: Conflict | None) -> bool:
        return count > 1 or by_hand or conflict is not None

    def number_past(self, desk: Desk, field: Field, highest: int) -> None:
        move_numbering(desk.connection, field, highest)
