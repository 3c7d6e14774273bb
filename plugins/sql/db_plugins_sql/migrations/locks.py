"""One migration at a time: the servers' own locks, which a killed holder frees, and who holds them.

    SQLite      BEGIN IMMEDIATE, which is the migration's transaction too; the holder in a small file beside it
    PostgreSQL  an advisory lock of a session of its own, whose application_name tells the holder
    MariaDB     GET_LOCK of a session of its own; the holder in a row of the journal's table

Another dialect has no lock that all servers know: there two migrations at once are not kept apart.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from db_plugins.errors import ConnectionLostError, MigrationLockedError
from db_plugins.migrations.seam import Holder, LockRequest

from ..errors import codes_of

__all__ = ["begin_sqlite", "hold_mariadb", "hold_postgresql", "holder_file", "lift_postgresql"]

#: Between two attempts, and how long one waits for a holder to have said who it is.
POLL_SECONDS = 0.1
SHY_SECONDS = 1.0
#: What makes the key of the lock ours.
_PURPOSE = "db_plugins migrations"


def _wait(request: LockRequest, attempt: Callable[[], bool], holder: Callable[[], Holder | None]) -> None:
    """Attempt until it succeeds. Raises MigrationLockedError after the request's timeout."""
    began = time.monotonic()
    told = False
    while not attempt():
        waited = time.monotonic() - began
        over = request.timeout is not None and waited >= request.timeout
        if not told:
            found = holder()
            if found is not None or waited >= SHY_SECONDS or over:
                request.waiting(found)
                told = True
        if over:
            found = holder()
            who = "another migration" if found is not None else "another migration, or a long write,"
            raise MigrationLockedError(
                f"{who} holds the lock{f': {found}' if found else ''}",
                hint="wait for it, or raise --lock-timeout",
            )
        time.sleep(POLL_SECONDS)


def _lost(what: str) -> ConnectionLostError:
    return ConnectionLostError(
        f"the connection that held the migration lock of {what} was lost",
        hint="check the server, and run it again",
        retryable=False,
    )


# -- SQLite ----------------------------------------------------------------------------------------------------------


def holder_file(database: Path) -> Path:
    """Where the holder of an SQLite file's lock is written."""
    return database.with_name(f"{database.name}-migrating")


def begin_sqlite(connection: sa.Connection, database: Path | None, request: LockRequest) -> None:
    """Open the transaction that is the lock, too. ``database`` is None in memory."""

    def attempt() -> bool:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except sa_exc.OperationalError as exc:
            connection.rollback()
            if any(str(code).startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) for code in codes_of(exc.orig)):  # type: ignore[arg-type]
                return False
            raise
        return True

    file = None if database is None else holder_file(database)
    _wait(request, attempt, lambda: None if file is None else _read(file))
    if file is not None:
        holder = request.holder
        record = {"host": holder.host, "process": holder.process, "since": holder.since.isoformat()}
        with suppress(OSError):  # it only helps the one who waits
            file.write_text(json.dumps(record), encoding="utf-8")


def _read(file: Path) -> Holder | None:
    """The holder, unless it is of a process that is no more."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        holder = Holder(str(record["host"]), int(record["process"]), datetime.fromisoformat(record["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if os.name == "posix" and holder.host == socket.gethostname():
        try:
            os.kill(holder.process, 0)
        except ProcessLookupError:
            return None
        except OSError:
            pass  # another user's
    return holder


# -- PostgreSQL ------------------------------------------------------------------------------------------------------

_WHO_HOLDS = sa.text("""
SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32) | l.objid::bigint = :key
""")
#: The longest application_name.
_NAME_BYTES = 63


@contextmanager
def hold_postgresql(connection: sa.Connection, request: LockRequest) -> Iterator[Callable[[], None]]:
    """Hold the lock of this database and schema in the session of ``connection``, which is in autocommit.

    Yields what raises ConnectionLostError if the session is no more, and with it the lock."""
    database, schema = connection.execute(sa.text("SELECT current_database(), current_schema()")).one()
    # 63 bits: the sign would get lost between the halves that pg_locks shows.
    digest = hashlib.sha256(f"{_PURPOSE}\0{database}\0{schema}".encode()).digest()
    key = int.from_bytes(digest[:8], "big") >> 1
    # A session that only waits here is idle, and must not be ended for it.
    lift_postgresql(connection, "idle_session_timeout")

    def attempt() -> bool:
        return bool(connection.scalar(sa.text("SELECT pg_try_advisory_lock(:key)"), {"key": key}))

    def holder() -> Holder | None:
        return _named(connection.scalar(_WHO_HOLDS, {"key": key}) or "")

    def held() -> None:
        try:
            connection.execute(sa.select(1))
        except sa_exc.DBAPIError as exc:
            raise _lost(f"{database!r}") from exc

    _wait(request, attempt, holder)
    connection.execute(
        sa.text("SELECT set_config('application_name', :name, false)"), {"name": _name(request.holder)}
    )
    yield held
    with suppress(sa_exc.DBAPIError):  # what was done stands; and the session's end frees it too
        connection.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": key})


def lift_postgresql(connection: sa.Connection, *settings: str) -> None:
    """Set limits of the session to none, those that this server knows."""
    for name in settings:
        connection.execute(
            sa.text("SELECT set_config(name, '0', false) FROM pg_settings WHERE name = :name"), {"name": name}
        )


def _name(holder: Holder) -> str:
    """``dbp migrate HOST PROCESS SECONDS``: others' sessions show nothing but this to a user without rights."""
    end = f" {holder.process} {int(holder.since.timestamp())}"
    start = f"dbp migrate {holder.host}".encode("ascii", "replace")[: _NAME_BYTES - len(end)]
    return start.decode() + end


def _named(name: str) -> Holder | None:
    words = name.split()
    if words[:2] != ["dbp", "migrate"] or len(words) != 5:
        return None
    try:
        return Holder(words[2], int(words[3]), datetime.fromtimestamp(int(words[4]), UTC))
    except ValueError:
        return None


# -- MariaDB ---------------------------------------------------------------------------------------------------------

#: The longest name of a lock.
_LOCK_CHARACTERS = 64


@contextmanager
def hold_mariadb(
    connection: sa.Connection,
    request: LockRequest,
    *,
    read: Callable[[], Holder | None],
    write: Callable[[Holder], None],
) -> Iterator[Callable[[], None]]:
    """Hold the lock of this database in the session of ``connection``, which is in autocommit. As for PostgreSQL."""
    database = connection.scalar(sa.text("SELECT DATABASE()"))
    name = f"dbp_migrate {database}"
    if len(name) > _LOCK_CHARACTERS:
        name = f"dbp_migrate {hashlib.sha256(name.encode()).hexdigest()[:40]}"
    connection.exec_driver_sql("SET SESSION wait_timeout = 31536000")

    def attempt() -> bool:
        return bool(connection.scalar(sa.text("SELECT GET_LOCK(:name, 0) = 1"), {"name": name}))

    def held() -> None:
        mine = sa.text("SELECT IS_USED_LOCK(:name) = CONNECTION_ID()")
        try:
            is_mine = connection.scalar(mine, {"name": name})
        except sa_exc.DBAPIError as exc:
            raise _lost(f"{database!r}") from exc
        if not is_mine:
            raise _lost(f"{database!r}")

    _wait(request, attempt, read)
    write(request.holder)
    yield held
    with suppress(sa_exc.DBAPIError):
        connection.execute(sa.text("DO RELEASE_LOCK(:name)"), {"name": name})
