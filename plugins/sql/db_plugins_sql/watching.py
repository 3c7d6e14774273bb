"""What SQLAlchemy sends, told to the core: each statement with its text, as the driver gets it.

``watched(pool)`` is the pool as its connections are lent to us. Its listeners are not the pool's own, so that whoever looks
there (``Preparations.is_possible``) sees only those of the user. Statements that go to the driver's cursor directly are told
where they do (``reads.py``, ``writes.py``, ``streaming.py``), with the same words: ``sending``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.dml import Delete, Insert, Update

from db_plugins.engine import Engine
from db_plugins.watching import OPERATIONS, Sent, Watch, current_call

__all__ = ["watched"]

#: Where an ExecutionContext keeps its Sent.
_KEPT = "dbp_sent"
#: The core tells of transactions by itself: of most of these no driver's cursor is asked.
_CONTROL = re.compile(r"\s*(begin|commit|rollback|savepoint|release|start\s+transaction)\b", re.IGNORECASE)
_FIRST_WORD = re.compile(r"\s*(\w+)")
#: More is PyMySQL's word for *not known*.
_MOST_ROWS = 2**62
_KINDS: Mapping[type, str] = {Insert: "insert", Update: "update", Delete: "delete"}


def watched(engine: Engine, pool: sa.Engine, watch: Callable[[], Watch]) -> sa.Engine:
    """The pool, under listeners that tell ``watch`` of each statement; asked for at each, for it may come later."""

    def before(
        _connection: sa.Connection, _cursor: Any, text: str, _parameters: Any, context: Any, _many: bool
    ) -> None:
        if (current_call() is not None or not watch().is_idle) and not _CONTROL.match(text):
            setattr(context, _KEPT, Sent(text))

    def after(
        _connection: sa.Connection, cursor: Any, _text: str, _parameters: Any, context: Any, _many: bool
    ) -> None:
        sent = getattr(context, _KEPT, None)
        if sent is not None:
            sent.end()
            sent.rows = _rows(cursor, context)
            tell(sent, context)

    def failed(about: sa.ExceptionContext) -> None:
        context = about.execution_context
        sent = getattr(context, _KEPT, None)
        if sent is not None:
            sent.end(about.sqlalchemy_exception or about.original_exception)
            tell(sent, context)

    def tell(sent: Sent, context: Any) -> None:
        delattr(context, _KEPT)
        call = current_call()
        if call is not None:
            call.add(sent)
        else:  # a Session's, or of the connection that tx.native is
            watch().report(engine, sent, *_about(sent, context))

    lent = pool.execution_options()
    sa.event.listen(lent, "before_cursor_execute", before)
    sa.event.listen(lent, "after_cursor_execute", after)
    sa.event.listen(lent, "handle_error", failed)
    return lent


def _rows(cursor: Any, context: Any) -> int | None:
    """What the cursor knows before a row is read; ``None`` for a DDL, and for rows that come as they are fetched."""
    count = int(getattr(cursor, "rowcount", -1))
    if context.isddl or not 0 <= count < _MOST_ROWS or (count == 0 and cursor.description is not None):
        return None
    return count


def _about(sent: Sent, context: Any) -> tuple[str, str | None]:
    """The operation and the table of a statement that belongs to no call."""
    statement: Any = getattr(getattr(context, "compiled", None), "statement", None)
    for kind, word in _KINDS.items():
        if isinstance(statement, kind):
            return word, getattr(getattr(statement, "table", None), "name", None)
    if isinstance(statement, sa.Select):
        return "select", _table_of(statement)
    found = _FIRST_WORD.match(sent.text)
    word = found[1].lower() if found else ""
    return (word if word in OPERATIONS else "other"), None


def _table_of(statement: sa.Select[Any]) -> str | None:
    """The table of the first column, of what was selected."""
    for column in statement.selected_columns:
        table = getattr(column, "table", None)
        if isinstance(table, sa.Table):
            return table.name
    return None
