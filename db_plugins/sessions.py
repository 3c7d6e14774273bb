"""``db.session()``: a SQLAlchemy Session that is a transaction, which calls on ``db`` join.

The engine gives the Session (role ``SupportsSessions``); here is what holds for every engine: when it commits, what a
failure inside means, and which errors leave the block as ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc
from sqlalchemy.orm.attributes import instance_dict
from sqlalchemy.orm.exc import StaleDataError, UnmappedInstanceError
from sqlalchemy.sql.elements import ClauseElement

from .blocks import Block, driver_errors
from .engine import Capability, SessionConnection, SupportsSessions
from .errors import ConflictError, DbPluginsError, EngineError, UnsupportedOperationError
from .models.describe import why_not_mapped
from .models.objects import changed_values
from .runner import Runner

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from .engine import Engine
    from .expressions import Reader

__all__ = ["open_session"]


@contextmanager
def open_session(runner: Runner, *, commit: bool) -> Iterator[tuple[Session, Runner]]:
    """A Session, and the runner of the calls that join it; committed at the end (if ``commit``), undone on any error."""
    engine = runner.engine
    block = Block(
        way_out="rollback() the session, or leave its block",
        read_only=runner.block is not None and runner.block.read_only,
    )

    def failed(exc: Exception) -> None:
        error = _error_of(engine, block, exc)
        if error is not None and not isinstance(error, EngineError):
            error = EngineError(
                f"the session could not be flushed: {error.fact}", engine=engine.name, orig=exc
            )
        block.error = block.error or error

    with runner.watched("begin", None, "BEGIN"):
        inner = _begin(runner, failed)
    _watch(inner.session, block)
    _check_values(inner.session, runner, block)
    try:
        try:
            yield inner.session, Runner(engine, lambda: inner, shared=runner, block=block)
            if commit:
                if block.error is not None:
                    # Caught inside the block: the database has given up the work, and so nothing is committed.
                    raise block.error from block.error.orig
                inner.session.flush()  # by itself: what it refuses is no failure of the commit
                with runner.watched("commit", None, "COMMIT"):
                    inner.commit()
        except Exception as exc:
            ours = _error_of(engine, block, exc)
            if ours is None:
                _add_remedy(exc)
                raise
            raise ours from (getattr(ours, "orig", None) or exc)
    except BaseException:
        with driver_errors(engine), runner.watched("rollback", None, "ROLLBACK"):
            inner.rollback()
        raise
    finally:
        block.ended = True
        inner.close()


def _begin(runner: Runner, failed: Any) -> SessionConnection:
    engine = runner.engine
    # Asked before the connection is: what is refused reaches no server.
    connection = runner.connection if Capability.SESSIONS in engine.capabilities else None
    if not isinstance(connection, SupportsSessions):
        raise UnsupportedOperationError(
            f"{engine.name} has no sessions",
            hint="with db.transaction() as tx: … makes the calls on tx one, where TRANSACTIONS is claimed",
        )
    return connection.begin_session(failed)


def _watch(session: Session, block: Block) -> None:
    """After a failure nothing is committed until a rollback. PostgreSQL answers COMMIT with ROLLBACK, and says nothing."""

    def before_commit(_session: Session) -> None:
        block.check()

    def after_soft_rollback(session: Session, _transaction: Any) -> None:
        # Not active: the rollback was a failing flush's own, and the user has yet to see its error.
        if session.is_active:
            block.error = None

    sa.event.listen(session, "before_commit", before_commit)
    sa.event.listen(session, "after_soft_rollback", after_soft_rollback)


def _check_values(session: Session, runner: Runner, block: Block) -> None:
    """What a flush writes is checked as in ``insert`` and ``update``, before anything is sent."""

    def before_flush(session: Session, *_context: Any) -> None:
        block.need_write()
        for instance in session.new:
            check(instance, runner.reader(type(instance)), instance_dict(instance))
        for instance in session.dirty:
            reader = runner.reader(type(instance))
            check(instance, reader, changed_values(reader.model, instance))

    def check(instance: Any, reader: Reader, given: Mapping[str, Any]) -> None:
        for name, field in reader.model.by_name.items():
            value = given.get(name)
            if value is None or isinstance(value, ClauseElement):
                continue
            checked = reader.check(field, value)
            if type(checked) is not type(value):  # an Enum's name became its member, NaN became None
                setattr(instance, name, checked)

    sa.event.listen(session, "before_flush", before_flush)


def _add_remedy(exc: Exception) -> None:
    """A note below SQLAlchemy's own error, which stays: a class that was added and is not mapped gets the words that map it."""
    added = getattr(exc.__cause__, "obj", None) if isinstance(exc, UnmappedInstanceError) else None
    if added is not None and type(added).__module__ != "builtins":
        exc.add_note(why_not_mapped(type(added)))


def _error_of(engine: Engine, block: Block, exc: Exception) -> DbPluginsError | None:
    """Our error for one of a Session's; ``None`` for what is no answer of the database: a mistake in using the Session."""
    if isinstance(exc, sa_exc.PendingRollbackError):
        return block.error  # it only repeats what failed before, with the driver's words
    if isinstance(exc, StaleDataError):
        return ConflictError(
            "a row was changed or deleted by another transaction since this session read it",
            engine=engine.name,
            orig=exc,
            hint="nothing was done: run it again",
        )
    if not isinstance(exc, (sa_exc.StatementError, sa_exc.TimeoutError)):
        return None
    if isinstance(getattr(exc, "orig", None), sa_exc.SQLAlchemyError):
        return None  # never sent: a bound parameter without a value
    ours = engine.classify(exc)
    if isinstance(ours, EngineError):
        ours.engine = ours.engine or engine.name
    return ours
