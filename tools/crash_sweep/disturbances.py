"""What befalls a migration in a child: it is killed, fails or is held up at a place, or its places are counted.

The library is not touched: SQLAlchemy and PyMongo tell their listeners of all that is sent, Python its tracers of each line.
"""

from __future__ import annotations

import ast
import os
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal, NoReturn

__all__ = ["KILLED", "Kind", "Where", "install"]

Kind = Literal["kill", "count", "pause"]
Where = Literal["operations", "lines"]
#: The exit code of one who was killed here.
KILLED = 9
#: A child that is held up and forgotten ends by itself.
_LONGEST_PAUSE = 120.0
#: What only reads: the state is the same as after what was sent before.
_READING_SQL = ("SELECT", "SHOW", "PRAGMA", "DESCRIBE", "EXPLAIN")
_READING_COMMANDS = frozenset(
    (
        *(
            "aggregate",
            "buildInfo",
            "count",
            "distinct",
            "endSessions",
            "find",
            "getMore",
            "hello",
            "ismaster",
        ),
        *("listCollections", "listDatabases", "listIndexes", "ping"),
    )
)


class Failure(Exception):
    """A line of a revision fails."""


def install(where: Where, act: Kind, at: int, note: Path) -> None:
    """From now on count the places, and do this at that one. ``note`` is written with the count, or when it is held up."""
    reach = _Reaching(act, at, note, _fail if where == "lines" else _die)
    if where == "lines":
        _watch_lines(reach)
    else:
        _watch_sql(reach)
        _watch_mongodb(reach)


class _Reaching:
    """Called at each place."""

    def __init__(self, act: Kind, at: int, note: Path, end: Callable[[], NoReturn]) -> None:
        self._act = act
        self._at = at
        self._note = note
        self._end = end
        self._places = 0

    def __call__(self) -> None:
        self._places += 1
        if self._act == "count":
            self._note.write_text(str(self._places))
        elif self._places == self._at:
            if self._act == "kill":
                self._end()
            self._note.write_text("here")
            time.sleep(_LONGEST_PAUSE)
            _die()


def _die() -> NoReturn:
    os._exit(KILLED)


def _fail() -> NoReturn:
    raise Failure("this line fails")


def _watch_sql(reach: Callable[[], None]) -> None:
    """Before and after each statement that may change something, on every engine; and before each commit."""
    import sqlalchemy as sa

    def statement(_c: Any, _cursor: Any, text: str, *_rest: Any) -> None:
        if not text.lstrip(" \n(").upper().startswith(_READING_SQL) or "LOCK" in text.upper():
            reach()

    def commit(_c: Any) -> None:
        reach()

    sa.event.listen(sa.Engine, "before_cursor_execute", statement)
    sa.event.listen(sa.Engine, "after_cursor_execute", statement)
    sa.event.listen(sa.Engine, "commit", commit)


def _watch_mongodb(reach: Callable[[], None]) -> None:
    """Before and after each command that may change something."""
    from pymongo import monitoring

    class Listener(monitoring.CommandListener):
        def started(self, event: monitoring.CommandStartedEvent) -> None:
            self._command(event.command_name)

        def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
            self._command(event.command_name)

        def failed(self, event: monitoring.CommandFailedEvent) -> None:
            self._command(event.command_name)

        def _command(self, name: str) -> None:
            if name not in _READING_COMMANDS:
                reach()

    monitoring.register(Listener())


def _watch_lines(reach: Callable[[], None]) -> None:
    """Each line of the functions of a revision file at which a statement begins."""

    def line(frame: Any, event: str, _argument: Any) -> Any:
        if event == "line" and frame.f_lineno in _statements(frame.f_code.co_filename):
            reach()
        return line

    def call(frame: Any, _event: str, _argument: Any) -> Any:
        code = frame.f_code
        is_revision = (
            code.co_name in ("upgrade", "downgrade") and Path(code.co_filename).parent.name == "versions"
        )
        return line if is_revision else None

    sys.settrace(call)


@cache
def _statements(file: str) -> frozenset[int]:
    """The lines at which a statement begins."""
    tree = ast.parse(Path(file).read_text())
    return frozenset(node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt))
