"""A database under its migration lock, and Alembic run on a connection that is handed over.

    SQLite       one connection, one transaction, which is the lock; foreign keys are off meanwhile and checked at its end
    PostgreSQL   the lock in a session of its own; one transaction for the whole run
    MariaDB      the same lock; each statement is lasting at once, and written down (``journal.py``)
    another      no lock; one transaction, if Alembic says that the dialect's DDL can be undone

Alembic finds its connection in a transaction, and so neither begins nor commits one. The connections are the migration's
own, opened with the entry's settings but without its QUERY_TIMEOUT; of a database in memory it is the only one there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.ddl.impl import DefaultImpl
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext

from db_plugins.errors import UnsupportedOperationError
from db_plugins.migrations.seam import Holder, Interrupted, LockRequest, Migration, Settling, Step

from ..errors import Context, noted
from .journal import Journal
from .locks import begin_sqlite, hold_mariadb, hold_postgresql, holder_file, lift_postgresql
from .losses import refuse_losses
from .rebuilds import ForeignKeyCheck, keep_what_hangs_on_tables

if TYPE_CHECKING:
    from ..connection import SQLConnection

__all__ = ["SQLMigration", "alembic_options", "heads_of", "open_migration"]

VERSION_TABLE = sa.table("alembic_version", sa.column("version_num"))


def heads_of(connection: sa.Connection) -> tuple[str, ...]:
    """The revisions the database is at."""
    return tuple(sorted(MigrationContext.configure(connection).get_current_heads()))


def alembic_options(dialect: sa.Dialect) -> dict[str, Any]:
    """The options of every MigrationContext, dbp's and plain Alembic's."""
    from . import operations
    from .difference import context_options

    _ = operations  # registered with Alembic by being imported
    return context_options(dialect)


@dataclass
class SQLMigration(Migration):
    """Runs Alembic's steps on one connection. ``held`` raises if the lock is lost."""

    connection: sa.Connection
    is_atomic: bool = True
    journal: Journal | None = None
    held: Callable[[], None] = lambda: None

    def heads(self) -> tuple[str, ...]:
        found = heads_of(self.connection)
        self._end_reading()
        return found

    def interrupted(self) -> Interrupted | None:
        return None if self.journal is None else self.journal.interrupted()

    def run(self, step: Step, *, allow_drop: bool, settling: Settling | None = None) -> None:
        with self.recorded(allow_drop=allow_drop, settling=settling) as recorded:
            self._alembic(lambda _heads, _context: recorded([step]))

    @contextmanager
    def recorded(
        self, *, allow_drop: bool, settling: Settling | None = None
    ) -> Iterator[Callable[[Iterable[Step]], Iterator[Any]]]:
        """A block in which Alembic runs steps; yields what makes Alembic's own of them, one after another.

        Alembic asks for the next one when it has recorded the last: then that is made lasting, if its DDL cannot be
        undone. Alembic's errors do not come through the iterator, but through the block.
        """
        with ExitStack() as current:

            def each(steps: Iterable[Step]) -> Iterator[Any]:
                for step in steps:
                    self.held()
                    if not allow_drop:
                        refuse_losses(self.connection, step)
                        self._end_reading()
                    current.enter_context(self._recording(step, settling))
                    yield step.alembic
                    current.close()

            yield each

    def _recording(self, step: Step, settling: Settling | None) -> AbstractContextManager[None]:
        if self.journal is not None:
            return self.journal.recording(
                step.revision, step.name, is_upgrade=step.is_upgrade, settling=settling
            )
        return nullcontext() if self.is_atomic else self._lasting()

    def stamp(self, heads: Sequence[str]) -> None:
        self.held()
        self._alembic(lambda _heads, _context: ())  # makes the table
        self.connection.execute(VERSION_TABLE.delete())
        for head in sorted(set(heads)):
            self.connection.execute(VERSION_TABLE.insert().values(version_num=head))
        self.forget_interrupted()
        if not self.is_atomic:
            self.connection.connection.commit()

    def forget_interrupted(self) -> None:
        """People have said what the database is like. Lasting with what follows."""
        if self.journal is not None:
            self.journal.clear()

    def _alembic(self, fn: Callable[[Any, MigrationContext], Iterable[Any]]) -> None:
        # The whole environment, and not only a MigrationContext: a revision may ask ``alembic.context``.
        with EnvironmentContext(Config(), None, fn=fn) as environment:  # type: ignore[arg-type]
            environment.configure(connection=self.connection, **alembic_options(self.connection.dialect))
            refuse_commits(environment.get_context())
            environment.run_migrations()

    @contextmanager
    def _lasting(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with suppress(Exception):
                self.connection.connection.rollback()
            raise
        self.connection.connection.commit()

    def _end_reading(self) -> None:
        """Where each step is its own transaction, reading must not keep tables locked, nor the snapshot."""
        if not self.is_atomic:
            self.connection.connection.commit()


def refuse_commits(context: MigrationContext) -> None:
    """Have ``autocommit_block()`` say why it is not possible: it would commit half of a run."""

    def refuse() -> Any:
        raise UnsupportedOperationError(
            "a revision cannot commit in its middle: a run of migrations is all or nothing",
            hint="leave autocommit_block() out; what a transaction refuses (CREATE INDEX CONCURRENTLY) is sent by hand",
        )

    context.autocommit_block = refuse  # type: ignore[method-assign]


# -- one way to open it for each dialect -----------------------------------------------------------------------------


@contextmanager
def open_migration(owner: SQLConnection, request: LockRequest) -> Iterator[SQLMigration]:
    """The database under its lock; committed at the end, undone by an error, as far as its DDL can be."""
    opened = _OPENED.get(owner.pool.dialect.name, _other)
    try:
        with opened(owner, request) as migration:
            yield migration
    finally:
        owner._forget()


@contextmanager
def _connections(owner: SQLConnection) -> Iterator[Callable[[], sa.Connection]]:
    """Makes connections that are nobody else's."""
    from ..pools import checked_out, make_pool

    engine = type(owner.engine)(replace(owner.engine.settings, query_timeout=None))
    pool = make_pool(engine, poolclass=sa.NullPool)
    try:
        yield lambda: checked_out(engine, pool)
    finally:
        pool.dispose()


@contextmanager
def _all_or_nothing(connection: sa.Connection, before_commit: Callable[[], None]) -> Iterator[None]:
    """The connection's transaction, which is open already."""
    transaction = connection.get_transaction()
    assert transaction is not None
    try:
        with noted(Context(in_transaction=True)):
            yield
            before_commit()
    except BaseException:
        with suppress(sa.exc.DBAPIError):  # a connection that is lost has rolled back
            transaction.rollback()
        raise
    with noted(Context(committing=True)):
        transaction.commit()


@contextmanager
def _sqlite(owner: SQLConnection, request: LockRequest) -> Iterator[SQLMigration]:
    from ..sqlite import SQLiteConnection

    assert isinstance(owner, SQLiteConnection)
    if owner.engine.in_memory:
        with owner._connected() as connection:
            try:
                with _sqlite_locked(connection, None, request) as migration:
                    yield migration
            finally:
                connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        return
    owner._connected().close()  # makes the file as files are made here
    with (
        _connections(owner) as connect,
        connect() as connection,
        _sqlite_locked(connection, owner._file, request) as migration,
    ):
        yield migration


@contextmanager
def _sqlite_locked(
    connection: sa.Connection, file: Path | None, request: LockRequest
) -> Iterator[SQLMigration]:
    timeout = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
    # A table that is made anew is dropped meanwhile: with foreign keys on, its children would be deleted.
    connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
    connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    connection.rollback()
    begin_sqlite(connection, file, request)
    try:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {timeout}")
        check = ForeignKeyCheck(connection)
        keep_what_hangs_on_tables(connection)

        def checked() -> None:
            check()
            _remove(file)  # before another can have written its own

        with _all_or_nothing(connection, checked):
            yield SQLMigration(connection)
    except BaseException:
        _remove(file)
        raise


def _remove(file: Path | None) -> None:
    if file is not None:
        with suppress(OSError):
            holder_file(file).unlink()


@contextmanager
def _postgresql(owner: SQLConnection, request: LockRequest) -> Iterator[SQLMigration]:
    with (
        _connections(owner) as connect,
        connect() as holding,
        hold_postgresql(holding, request) as held,
        connect() as connection,
    ):
        _begin(owner, connection)
        # A revision may take its time between two statements.
        lift_postgresql(connection, "idle_in_transaction_session_timeout")
        with _all_or_nothing(connection, held):
            yield SQLMigration(connection, held=held)


@contextmanager
def _mariadb(owner: SQLConnection, request: LockRequest) -> Iterator[SQLMigration]:
    with _connections(owner) as connect, connect() as holding:
        Journal.make(holding)
        read: Callable[[], Holder | None] = lambda: Journal.holder(holding)  # noqa: E731
        write: Callable[[Holder], None] = lambda holder: Journal.write_holder(holding, holder)  # noqa: E731
        with hold_mariadb(holding, request, read=read, write=write) as held, connect() as connection:
            _begin(owner, connection)
            with _all_or_nothing(connection, held):
                yield SQLMigration(connection, is_atomic=False, journal=Journal(connection), held=held)


@contextmanager
def _other(owner: SQLConnection, request: LockRequest) -> Iterator[SQLMigration]:
    is_atomic = bool(DefaultImpl.get_by_dialect(owner.pool.dialect).transactional_ddl)
    with _connections(owner) as connect, connect() as connection:
        _begin(owner, connection)
        with _all_or_nothing(connection, lambda: None):
            yield SQLMigration(connection, is_atomic=is_atomic)


def _begin(owner: SQLConnection, connection: sa.Connection) -> None:
    level, statements = owner.engine.begin_statements("batch", read_only=False)
    if level is not None:
        connection.execution_options(isolation_level=level)
    for statement in statements:
        connection.exec_driver_sql(statement)
    if not connection.in_transaction():
        connection.begin()


_OPENED: dict[str, Callable[[SQLConnection, LockRequest], AbstractContextManager[SQLMigration]]] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "mysql": _mariadb,
    "mariadb": _mariadb,
}
