"""MariaDB's DDL knows no transactions: here it is written down which statements of a revision are done.

A statement about the schema is one step: a row says ``running`` before it and ``done`` after it. Statements about rows that
follow one another are one step together, and one transaction: they and their row ``done`` are stored at once. The last
of them are those that change ``alembic_version``, together with which the rows of the revision are removed. So a
revision that broke off anywhere goes on where it stopped: what is done is left out, and of the one statement that may be
done or not, MariaDB is sent the form that may be repeated (``repeating.py``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc
from sqlalchemy.dialects import mysql

from db_plugins.errors import DirtyMigrationError
from db_plugins.migrations.seam import Holder, Interrupted, Settling

from .repeating import describe, kind_of, repeatable

__all__ = ["Journal", "Lookup"]

#: Who holds the lock is a row of this table, too.
_LOCK = "(lock)"
_NOTHING = "DO 0"

_rows = sa.Table(
    "dbp_migrations",
    sa.MetaData(),
    sa.Column("revision", sa.String(190), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("direction", sa.String(9), nullable=False),
    #: As ``kind_of`` has it.
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("description", sa.String(255), nullable=False),
    #: Digests of the texts, as a JSON list.
    sa.Column("digests", sa.Text, nullable=False),
    sa.Column("is_repeatable", sa.Boolean, nullable=False),
    sa.Column("at", mysql.DATETIME(fsp=6), nullable=False),
    mysql_engine="InnoDB",
    mariadb_engine="InnoDB",
    mysql_default_charset="utf8mb4",
    mariadb_default_charset="utf8mb4",
)


class Journal:
    """The journal of one database. Its connection is in a transaction of SQLAlchemy's, and the driver's autocommit is off."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._is_mariadb = bool(getattr(connection.dialect, "is_mariadb", False))

    @staticmethod
    def make(connection: sa.Connection) -> None:
        """Make the table, if it is not there."""
        connection.execute(sa.schema.CreateTable(_rows, if_not_exists=True))

    # -- the holder of the lock ----------------------------------------------------------------------------------------

    @staticmethod
    def holder(connection: sa.Connection) -> Holder | None:
        """Who wrote himself down last."""
        query = sa.select(_rows.c.description).where(_rows.c.revision == _LOCK)
        try:
            found = json.loads(connection.scalar(query) or "")
            return Holder(found["host"], found["process"], datetime.fromisoformat(found["since"]))
        except (ValueError, KeyError, TypeError, sa_exc.DBAPIError):
            return None

    @staticmethod
    def write_holder(connection: sa.Connection, holder: Holder) -> None:
        """Say who holds the lock, for those who wait."""
        record = {"host": holder.host[:100], "process": holder.process, "since": holder.since.isoformat()}
        connection.execute(_rows.delete().where(_rows.c.revision == _LOCK))
        connection.execute(
            _rows.insert().values(
                _row(_LOCK, 0, "", "lock", "lock", json.dumps(record), (), is_repeatable=False)
            )
        )

    # -- revisions -----------------------------------------------------------------------------------------------------

    def interrupted(self) -> Interrupted | None:
        """The revision that has rows: it began, and did not end."""
        rows = self.rows()
        if not rows:
            return None
        last = rows[-1]
        over = last.state == "done"
        return Interrupted(
            last.revision,
            last.direction == "upgrade",
            last.position + 1 if over else last.position,
            f"what follows {last.description}" if over else last.description,
            last.state != "running" or (self._is_mariadb and last.is_repeatable),
        )

    def rows(self) -> Sequence[Any]:
        """What is written down of the revision that did not end."""
        query = sa.select(_rows).where(_rows.c.revision != _LOCK).order_by(_rows.c.revision, _rows.c.position)
        found = self._connection.execute(query).all()
        self._connection.connection.commit()  # or the next statement would read the same snapshot
        return found

    def clear(self) -> None:
        """Forget every revision that did not end. Not committed here."""
        self._connection.execute(_rows.delete().where(_rows.c.revision != _LOCK))

    @contextmanager
    def recording(
        self, revision: str, name: str, *, is_upgrade: bool, settling: Settling | None = None
    ) -> Iterator[None]:
        """Write down what is sent meanwhile. The block's end makes the revision done."""
        direction = "upgrade" if is_upgrade else "downgrade"
        rows = self.rows()
        if rows and (rows[-1].revision, rows[-1].direction) != (revision, direction):
            raise DirtyMigrationError(
                f"the {rows[-1].direction} of revision {rows[-1].revision} is half done: {name} cannot be run",
                hint="finish it first: `dbp migrate`",
            )
        lookup = Lookup(rows, name, self._is_mariadb, settling)
        recording = _Recording(self._connection, lookup, revision, direction)
        sa.event.listen(self._connection, "before_cursor_execute", recording.before, retval=True)
        sa.event.listen(self._connection, "after_cursor_execute", recording.after)
        try:
            yield
            recording.end()
        except BaseException as exc:
            recording.fail(exc)
            raise
        finally:
            recording.is_over = True


class Lookup:
    """What was done of a revision before, and so what becomes of each of its statements now. Touches nothing."""

    def __init__(
        self, rows: Sequence[Any], name: str, is_mariadb: bool, settling: Settling | None = None
    ) -> None:
        self._rows = {row.position: row for row in rows}
        self._name = name
        self._is_mariadb = is_mariadb
        self._settling = settling

    def schema(self, position: int, statement: str) -> str | None:
        """What to send for a statement about the schema; None for nothing."""
        row = self._rows.get(position)
        if row is None or row.state == "failed":
            return statement
        self._compare(row, statement)
        if row.state == "done" or self._settling == "mark-done":
            return None
        if self._settling == "resume":
            return statement
        again = repeatable(statement) if self._is_mariadb else None
        if again is None:
            raise DirtyMigrationError(
                f"step {position} of {self._name} may be done or not: {row.description}",
                hint="look at the database, then `dbp migrate --resume` (not done) or `--mark-done` (done)",
            )
        return again

    def is_left_out(self, position: int, statement: str) -> bool:
        """Were rows changed here, which now, as they are changed, are not asked to be changed again?"""
        row = self._rows.get(position)
        return row is not None and row.kind == "rows" and _digest(statement) not in json.loads(row.digests)

    def is_stored(self, position: int, statement: str) -> bool:
        """Are the statements about rows at this position stored already?"""
        row = self._rows.get(position)
        if row is None or row.state == "failed":
            return False
        self._compare(row, statement)
        return True

    def _compare(self, row: Any, statement: str) -> None:
        if _digest(statement) in json.loads(row.digests):
            return
        raise DirtyMigrationError(
            f"step {row.position} of {self._name} was: {row.description}; and now is: {describe(statement)}",
            hint="put the file back as it was when it was run first, or finish it by hand and `dbp stamp`",
        )


class _Recording:
    def __init__(self, connection: sa.Connection, lookup: Lookup, revision: str, direction: str) -> None:
        self._connection = connection
        self._lookup = lookup
        self._revision = revision
        self._direction = direction
        self._position = 0
        #: Statements about rows since the last one about the schema.
        self._texts: list[str] = []
        self._is_stored = False
        self._running: tuple[int, str] | None = None
        self._is_own = False
        self.is_over = False

    # -- what SQLAlchemy calls around each statement -------------------------------------------------------------------

    def before(
        self, _c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
    ) -> tuple[str, Any]:
        kind = "session" if self._is_own or self.is_over else kind_of(statement)
        if kind == "rows":
            return self._before_rows(statement, parameters)
        if kind == "schema":
            return self._before_schema(statement, parameters)
        return statement, parameters

    def after(self, _c: Any, _cursor: Any, _statement: str, *_rest: Any) -> None:
        if not self._is_own and self._running is not None:
            self._write(*self._running, "done")
            self._running = None

    def _before_rows(self, statement: str, parameters: Any) -> tuple[str, Any]:
        if not self._texts:
            self._position += 1
            self._is_stored = self._lookup.is_stored(self._position, statement)
        elif self._is_stored:
            self._lookup.is_stored(self._position, statement)  # is it one of them?
        self._texts.append(statement)
        return (_NOTHING, ()) if self._is_stored else (statement, parameters)

    def _before_schema(self, statement: str, parameters: Any) -> tuple[str, Any]:
        had_rows = bool(self._texts)
        self._store()
        if self._running is not None:  # it was refused, and the revision caught that
            self._write(*self._running, "failed")
            self._running = None
        self._position += 1
        if not had_rows and self._lookup.is_left_out(self._position, statement):
            self._position += 1
        sent = self._lookup.schema(self._position, statement)
        if sent is None:
            self._write(self._position, statement, "done")
            return _NOTHING, ()
        self._write(self._position, statement, "running")
        self._running = (self._position, statement)
        return sent, parameters

    # -- the rows of the journal ---------------------------------------------------------------------------------------

    def _store(self) -> None:
        """Make lasting the statements about rows, and that they are done."""
        if self._texts and not self._is_stored:
            self._write(self._position, self._texts[0], "done", self._texts)
        self._texts = []
        self._is_stored = False

    def _write(self, position: int, statement: str, state: str, texts: Sequence[str] | None = None) -> None:
        with self._own():
            row = _row(
                self._revision,
                position,
                self._direction,
                "schema" if texts is None else "rows",
                state,
                describe(statement),
                texts or (statement,),
                is_repeatable=repeatable(statement) is not None,
            )
            mine = sa.and_(_rows.c.revision == self._revision, _rows.c.position == position)
            self._connection.execute(_rows.delete().where(mine))
            self._connection.execute(_rows.insert().values(row))
            self._connection.connection.commit()

    @contextmanager
    def _own(self) -> Iterator[None]:
        self._is_own = True
        try:
            yield
        finally:
            self._is_own = False

    def end(self) -> None:
        """In one transaction with the change of alembic_version: the revision is done."""
        with self._own():
            self._connection.execute(_rows.delete().where(_rows.c.revision == self._revision))
            self._connection.connection.commit()

    def fail(self, exc: BaseException) -> None:
        """Undo what can be undone, and write down what the server refused."""
        if getattr(exc, "connection_invalidated", False) or self._connection.invalidated:
            return  # nobody knows whether the last statement was done
        if self._running is None:
            self._connection.connection.rollback()
        elif isinstance(exc, sa_exc.DBAPIError):  # the server has answered: it is not done
            self._write(*self._running, "failed")
        if self._position:
            exc.add_note(
                f"{self._position} steps of revision {self._revision} were begun; those that were done stay, "
                "and the next run goes on after them"
            )


def _digest(statement: str) -> str:
    return hashlib.sha256(" ".join(statement.split()).encode()).hexdigest()[:32]


def _row(
    revision: str,
    position: int,
    direction: str,
    kind: str,
    state: str,
    description: str,
    texts: Sequence[str],
    *,
    is_repeatable: bool,
) -> dict[str, Any]:
    return {
        "revision": revision,
        "position": position,
        "direction": direction,
        "kind": kind,
        "state": state,
        "description": description,
        "digests": json.dumps(sorted({_digest(text) for text in texts})),
        "is_repeatable": is_repeatable,
        "at": datetime.now(UTC).replace(tzinfo=None),
    }
