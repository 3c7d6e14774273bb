"""SQLAlchemy Sessions on our transactions: begun at first use, as ``transaction()`` begins them, and given back when over.

    SQLSession ── the Session asks ``lend()`` at each statement ──> SQLTransaction (its own, or the one that it joins)
    Savepoint     ``tx.transaction()`` inside: the Session's own begin_nested(), so that it forgets what is undone

Calls that join (``_use``, ``_stream``) flush the Session and run on its connection.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc
from sqlalchemy.orm import Session
from sqlalchemy.orm.session import SessionTransaction

from db_plugins.engine import (
    Compiled,
    SessionConnection,
    SupportsSessions,
    SupportsStorage,
    TransactionConnection,
)
from db_plugins.errors import UnsupportedOperationError
from db_plugins.models import ModelInfo, describe
from db_plugins.models.objects import guard_attributes
from db_plugins.spec import QuerySpec
from db_plugins.watching import outside_of_calls

from .compiler import Words
from .connection import SQLConnection
from .errors import Context, note, noted
from .prepared import Preparations
from .transactions import SQLTransaction
from .verbs import Row, Verbs

__all__ = ["SQLSession", "Savepoint"]

#: The execution option under which a connection knows the session that it is lent to.
OWNER = "dbp_session"


class _Session(Session):
    """A Session that is lent its connection."""

    def __init__(self, owner: SQLSession, join_transaction_mode: Any) -> None:
        super().__init__(expire_on_commit=False, join_transaction_mode=join_transaction_mode)
        self.dbp_owner = owner

    def get_bind(self, *_about: Any, **_more: Any) -> sa.Connection:
        return self.dbp_owner.lend()

    def flush(self, objects: Any = None) -> None:
        with self.dbp_owner.flushing():
            super().flush(objects)

    def rollback(self) -> None:
        self.dbp_owner.end_streams()
        super().rollback()


class _Joining(Verbs, SupportsStorage, SupportsSessions, TransactionConnection):
    """The verbs of calls that join a session."""

    owner: SQLSession

    @contextmanager
    def _use(self, context: Context, *, together: bool = False) -> Iterator[sa.Connection]:
        context.in_transaction = True
        with noted(context):
            transaction = self.owner.flushed()
            with self.owner.joined(), transaction._use(context) as connection:
                yield connection

    @property
    def _preparations(self) -> Preparations:
        return self.owner.parent._preparations

    def _words(self, connection: sa.Connection, spec: QuerySpec) -> Words:
        return self.owner.parent._words(connection, spec)

    def _forget(self) -> None:
        self.owner.parent._forget()

    def _stream(self, query: Compiled, batch: int, context: Context) -> Iterator[list[Row]]:
        context.in_transaction = True
        with noted(context):
            transaction = self.owner.flushed()
        stream = cast("Generator[list[Row], None, None]", transaction._stream(query, batch, context))
        with closing(stream) as parts:
            for rows in parts:
                yield rows
                self.owner.check_lends(transaction)

    def savepoint(self) -> Savepoint:
        with noted(Context(in_transaction=True)):
            self.owner.flushed()
            return Savepoint(self.owner)

    def begin_session(self, failed: Callable[[Exception], None]) -> SQLSession:
        with noted(Context(in_transaction=True)):
            return self.owner.flushed().begin_session(failed)

    @property
    def native(self) -> Any:
        if not self.engine.awaits:
            return self.owner.flushed().native
        if self.owner.lent is None:  # to begin the transaction is to be awaited
            raise UnsupportedOperationError(
                "the session has sent nothing yet", hint="await session.connection()"
            )
        return self.owner.lent.native


class SQLSession(_Joining, SessionConnection):
    """A Session on a transaction of its own (``SQLConnection.begin_session``) or on a part of one (``SQLTransaction.begin_session``)."""

    def __init__(
        self, parent: SQLConnection, failed: Callable[[Exception], None], joins: SQLTransaction | None = None
    ) -> None:
        self.engine = parent.engine
        self.parent = parent
        self.owner = self
        self._failed = failed
        self._joins = joins
        self._lent: SQLTransaction | None = None
        self._outer: SQLSession | None = None
        self._written: list[Any] = []
        self._is_flushing = self._is_joined = self._is_committing = self._has_ended = False
        # Of a transaction that it joins it gets a savepoint, and commits no more than that.
        self.session = _Session(self, "control_fully" if joins is None else "create_savepoint")
        if not sa.event.contains(parent.pool, "handle_error", _notice):
            sa.event.listen(parent.pool, "handle_error", _notice)
        sa.event.listen(self.session, "after_transaction_end", self._give_back)
        sa.event.listen(self.session, "before_commit", lambda _session: self.end_streams())
        sa.event.listen(self.session, "after_flush", self._note_written)
        sa.event.listen(self.session, "after_flush_postexec", self._read_written)

    # -- the connection --------------------------------------------------------------------------------------------

    def lend(self) -> sa.Connection:
        """The connection for a statement of the Session; the first one begins the transaction."""
        if self._has_ended:
            raise UnsupportedOperationError(
                "this session has ended", hint="open another: with db.session() as s"
            )
        if self._lent is None:
            self._lent = self._joins or self._begin()
            options = self._lent.connection.get_execution_options()
            self._outer = options.get(OWNER)
            self._lent.connection.execution_options(**{OWNER: self})
        self._lent._free()
        return self._lent.connection

    @property
    def lent(self) -> SQLTransaction | None:
        """The transaction, if it has begun."""
        return self._lent

    def _begin(self) -> SQLTransaction:
        begun = self.parent.begin()
        sa.event.listen(begun.connection, "commit", self._note_commit)
        return begun

    def _note_commit(self, _connection: sa.Connection) -> None:
        self._is_committing = True

    def _give_back(self, _session: Session, transaction: SessionTransaction) -> None:
        """Its user may commit and go on: then another transaction begins."""
        if transaction.parent is None:
            self._let_go()

    def _let_go(self) -> None:
        lent, self._lent = self._lent, None
        self._is_committing = False
        if lent is None:
            return
        if lent is self._joins:
            lent.connection.execution_options(**{OWNER: self._outer})
        else:
            lent._end_streams()
            lent.close()

    def end_streams(self) -> None:
        """No half-read result may be in the way of a commit or rollback."""
        if self._joins is not None:
            self._joins._free()
        elif self._lent is not None:
            self._lent._end_streams()

    def check_lends(self, transaction: SQLTransaction) -> None:
        """Refuse to read on in a transaction that its user has ended."""
        if self._joins is None and self._lent is not transaction:
            raise UnsupportedOperationError(
                "the transaction of this stream has ended", hint="read it before the commit or rollback"
            )

    def flushed(self) -> SQLTransaction:
        """The transaction, begun, with what is pending written to it; a Session without autoflush stays as it is."""
        if self.session.autoflush and not self._is_flushing:
            self.session.flush()
        self.session.connection()
        assert self._lent is not None
        return self._lent

    def _note_written(self, session: Session, _context: Any) -> None:
        self._written = [*session.new, *session.dirty]

    def _read_written(self, session: Session, _context: Any) -> None:
        """What the server has set (``onupdate=func.now()``) is read now: afterwards nothing could read it."""
        written, self._written = self._written, []
        for each in written:
            state = sa.inspect(each)
            names = state.expired_attributes.intersection(state.mapper.column_attrs.keys())
            if names and state.persistent:
                session.refresh(each, sorted(names))

    # -- failures --------------------------------------------------------------------------------------------------

    @contextmanager
    def flushing(self) -> Iterator[None]:
        """While the Session writes what is pending. A failure rolls it back, whatever the failure was."""
        was, self._is_flushing = self._is_flushing, True
        try:
            # A read that joins the session flushes it first: that is no part of the read.
            with outside_of_calls():
                yield
        except Exception as exc:
            self._failed(exc)
            raise
        finally:
            self._is_flushing = was

    @contextmanager
    def joined(self) -> Iterator[None]:
        """While a call on the Database runs: its runner says itself what failed, and of which model."""
        was, self._is_joined = self._is_joined, True
        try:
            yield
        finally:
            self._is_joined = was

    def notice(self, about: sa.ExceptionContext) -> None:
        """A statement on this session's connection failed."""
        exc = about.sqlalchemy_exception
        if not isinstance(exc, sa_exc.DBAPIError) or (self._is_joined and not self._is_flushing):
            return
        committing = self._is_committing and about.statement is None
        model = _model_of(about, self.session)
        deleting = isinstance(_statement_of(about), sa.Delete)
        note(exc, Context(model, writing=True, in_transaction=True, committing=committing, deleting=deleting))
        if not self._is_flushing:
            self._failed(exc)

    # -- its end ---------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        self.session.commit()

    def rollback(self) -> None:
        self.session.rollback()

    def close(self) -> None:
        for mapper in {sa.inspect(each).mapper for each in self.session}:
            guard_attributes(mapper)
        self._has_ended = True
        try:
            self.session.close()
        finally:
            self._let_go()


class Savepoint(_Joining):
    """A savepoint of a session's transaction, and of the Session."""

    def __init__(self, owner: SQLSession) -> None:
        self.engine = owner.engine
        self.owner = owner
        self.block = owner.session.begin_nested()

    def commit(self) -> None:
        self.block.commit()

    def rollback(self) -> None:
        self.block.rollback()

    def close(self) -> None:
        if self.block.is_active:
            self.block.rollback()


def _notice(about: sa.ExceptionContext) -> None:
    connection = about.connection
    owner = connection.get_execution_options().get(OWNER) if connection is not None else None
    if owner is not None:
        owner.notice(about)


def _statement_of(about: sa.ExceptionContext) -> Any:
    compiled = getattr(about.execution_context, "compiled", None)
    return getattr(compiled, "statement", None)


def _model_of(about: sa.ExceptionContext, session: Session) -> ModelInfo | None:
    """The model of the table that a failed statement wrote; ``None`` for a link table, and for what is no write."""
    statement = _statement_of(about)
    if not isinstance(statement, sa.UpdateBase):
        return None
    cls = statement.entity_description.get("entity")
    if cls is not None:
        return describe(cls)
    name = getattr(statement.table, "fullname", None)
    for each in (*session.new, *session.dirty, *session.deleted, *session):
        mapper = sa.inspect(each).mapper
        if getattr(mapper.local_table, "fullname", None) == name:
            return describe(mapper.class_)
    return None
