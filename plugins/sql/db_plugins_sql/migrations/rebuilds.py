"""SQLite's batch mode makes a table anew and drops the old one; what hangs on the old one is kept here.

A key that was given is not given again (``sqlite_sequence``), triggers stay, views that read the table do not stop the
rename, and rows whose parent was lost are found before anything is committed.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from db_plugins.errors import MigrationError

__all__ = ["ForeignKeyCheck", "keep_what_hangs_on_tables"]

_DROP = re.compile(r'\s*DROP TABLE "?([^"]+?)"?\s*$', re.I)
#: Alembic's last step: the new table gets the name of the old one.
_RENAME = re.compile(r'\s*ALTER TABLE "?_alembic_tmp_[^"]+?"? RENAME TO "?([^"]+?)"?\s*$', re.I)


def keep_what_hangs_on_tables(connection: sa.Connection) -> None:
    """Watch this connection for tables that Alembic makes anew."""
    position: dict[str, int] = {}
    triggers: dict[str, list[str]] = {}

    def before(_c: Any, cursor: Any, statement: str, *_rest: Any) -> None:
        if dropped := _DROP.match(statement):
            name = dropped[1]
            if cursor.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone():
                found = cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (name,)).fetchone()
                if found:
                    position[name] = found[0]
            triggers[name] = [
                text
                for (text,) in cursor.execute(
                    "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE",
                    (name,),
                )
            ]
        elif _RENAME.match(statement):
            # Else SQLite (from 3.26 on) refuses it while a view reads the table that was dropped a moment ago.
            cursor.execute("PRAGMA legacy_alter_table = ON")

    def after(_c: Any, cursor: Any, statement: str, *_rest: Any) -> None:
        renamed = _RENAME.match(statement)
        if not renamed:
            return
        own = cursor.connection.cursor()
        own.execute("PRAGMA legacy_alter_table = OFF")
        name = renamed[1]
        if name in position:
            seq = position.pop(name)
            own.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (seq, name))
            if not own.rowcount:  # it has no rows yet
                own.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, seq))
        for text in triggers.pop(name, ()):
            own.execute(text)
        own.close()

    sa.event.listen(connection, "before_cursor_execute", before)
    sa.event.listen(connection, "after_cursor_execute", after)


class ForeignKeyCheck:
    """Rows whose parent is not there: those that were so before are not the migration's."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._tables = self._names()
        self._before: Counter[tuple[str, str]] | None
        try:
            self._before = self._broken()
        except sa_exc.OperationalError:  # a foreign key to what is no key: nothing can be told apart
            self._before = None

    def _names(self) -> set[str]:
        found = self._connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
        return set(found.scalars())

    def _broken(self) -> Counter[tuple[str, str]]:
        found = self._connection.exec_driver_sql("PRAGMA foreign_key_check")
        return Counter((row[0], row[2]) for row in found)

    def __call__(self) -> None:
        """Raise MigrationError for rows that have lost their parent since."""
        if self._before is None:
            return
        now = self._broken()
        added, gone = now - self._before, self._before - now
        # What a renamed table had already is gone under its old name.
        known = [pair for pair in added if pair[0] in self._tables]
        if known or added.total() > gone.total():
            pairs = sorted(known or added)
            raise MigrationError(
                "after it rows would refer to rows that are not there: "
                + ", ".join(f"{child} → {parent} ({added[child, parent]})" for child, parent in pairs),
                hint="nothing was changed; have the revision delete or mend them",
            )
