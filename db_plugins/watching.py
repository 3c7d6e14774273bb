"""What is sent to an engine, told to whoever wants to know: listeners, loggers, OpenTelemetry.

    Watch             one Database's: ``is_idle`` while nobody wants to know, and then nothing is measured or written
    Call              one call of the seam while it runs: what it is for, and what the engine says that it sent
    StatementEvent    what a listener gets, one for each statement

    Runner ── Watch.call("select", info) ──> Call <── sending(text), say(text)   by an engine that can say more

A Call whose engine says nothing is told as one statement, in the core's own words (``wording``). So every engine is
watched, and one that sends several statements for a call can tell each of them. What is running is kept in a contextvar:
each thread, task and greenlet has its own.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import DbPluginsError, EngineError
from .spans import API, Spans, traces

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from .config import Settings
    from .engine import Engine
    from .models import ModelInfo

__all__ = [
    "OPERATIONS",
    "Call",
    "Sent",
    "StatementEvent",
    "Watch",
    "current_call",
    "outside_of_calls",
    "say",
    "sending",
    "started",
]

log = logging.getLogger("db_plugins")
slow_log = logging.getLogger("db_plugins.slow")
_is_enabled = log.isEnabledFor

#: What a statement can be for, the same words on every engine.
OPERATIONS: Mapping[str, str] = {
    "select": "reads rows: `get`, `all`, `first`, `exists`, `stream`, what `include` loads",
    "count": "counts rows",
    "aggregate": "`aggregate`",
    "nearest": "`nearest`",
    "insert": 'stores new rows, also with `on_conflict="ignore"`, and `get_or_create`',
    "upsert": 'stores rows or updates those that are there: `upsert`, `on_conflict="update"`',
    "update": "changes rows",
    "delete": "deletes rows",
    "create": "`create_all`",
    "drop": "`drop_all`",
    "inspect": "looks what is there: `ping`, and an engine's own look at a table before it is first used",
    "begin": "begins a transaction or a session",
    "commit": "commits it",
    "rollback": "undoes it, or a savepoint's part of it",
    "savepoint": "begins a transaction inside another",
    "release": "ends it, and keeps what it did",
    "other": "what a session's own text does, if it is none of these",
}


@dataclass(frozen=True, slots=True)
class StatementEvent:
    """One statement that reached an engine."""

    engine: str
    """The engine as in ENGINE: ``"postgresql"``."""
    database: str
    """The entry's name."""
    model: str | None
    """The model's name; ``None`` for what is about several or none: a commit, ``create_all``."""
    operation: str
    """What it is for, a word of ``OPERATIONS``. All statements that one call sends have the same, but ``"inspect"``."""
    rows: int | None
    """How many rows it returned, or concerned; ``None`` if nobody knows."""
    seconds: float
    """How long it took. Of a stream: its reads, without what was done with the rows between them."""
    statement: str
    """Its text, with placeholders and never with values (but for those that a ``text()`` of your own holds)."""
    error: DbPluginsError | None
    """Why it failed, or ``None``."""


Listener = Callable[[StatementEvent], object]


class Sent:
    """One statement while it runs, and after. A context manager that takes its time and its error."""

    __slots__ = ("at", "began", "error", "operation", "rows", "seconds", "text")

    def __init__(self, text: str, operation: str | None = None) -> None:
        self.text = text
        #: If it is another one than its call's.
        self.operation = operation
        self.rows: int | None = None
        self.error: BaseException | None = None
        self.seconds = 0.0
        self.at = time.time_ns()
        self.began = time.perf_counter()

    def end(self, error: BaseException | None = None, *, rows: int | None = None) -> None:
        """It is over now."""
        self.seconds = time.perf_counter() - self.began
        self.error = error
        self.rows = self.rows if rows is None else rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)


class _Unwatched(Sent):
    """Stands for a statement that nobody wants to know of."""

    __slots__ = ()

    def __exit__(self, *about: object) -> None:
        pass


_UNWATCHED = _Unwatched("")


class Call:
    """One call of the seam, as a context manager: it is told when it ends."""

    __slots__ = (
        "_forgotten",
        "_own",
        "_sent",
        "_token",
        "_watch",
        "engine",
        "info",
        "operation",
        "rows",
        "text",
    )

    def __init__(
        self,
        watch: Watch | None,
        engine: Engine | None,
        operation: str,
        info: ModelInfo | None,
        text: str | Callable[[], str],
    ) -> None:
        self._watch = watch
        self.engine = engine
        self.operation = operation
        self.info = info
        #: What was sent, if the engine does not say it statement by statement; made only when it is told.
        self.text = text
        #: How many rows came back, or were concerned; whoever made the Call sets it.
        self.rows: int | None = None
        self._sent: list[Sent] = []
        self._forgotten = False

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        self._own = Sent("")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)
        self._own.end(error)
        self._tell()

    def add(self, sent: Sent) -> Sent:
        """The engine has sent a statement, or does so now."""
        self._sent.append(sent)
        return sent

    def forget(self) -> None:
        """Nothing was asked of the engine after all."""
        self._forgotten = True

    def each(self, read: Callable[[], Iterator[list[Any]]]) -> Iterator[list[Any]]:
        """The parts of a stream. Its time is that of its reads, and what its reader does meanwhile is no part of it."""
        own = self._own = Sent("")
        parts: Iterator[list[Any]] | None = None
        self.rows, seconds, error = 0, 0.0, None
        try:
            while True:
                began = time.perf_counter()
                try:
                    with self._running():
                        parts = read() if parts is None else parts
                        part = next(parts, None)
                finally:
                    seconds += time.perf_counter() - began
                if part is None:
                    return
                self.rows += len(part)
                yield part
        except GeneratorExit:  # its reader has enough
            raise
        except BaseException as exc:
            error = exc
            raise
        finally:
            if (close := getattr(parts, "close", None)) is not None:
                close()
            own.error, own.seconds = error, seconds
            if self._sent:
                self._sent[-1].seconds = seconds - sum(each.seconds for each in self._sent[:-1])
            self._tell()

    @contextmanager
    def _running(self) -> Iterator[None]:
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def _tell(self) -> None:
        if self._watch is None or self.engine is None or self._forgotten:
            return
        failed = self._own.error
        error = _error_of(self.engine, failed)
        if not self._sent:
            if failed is not None and not isinstance(error, EngineError):
                return  # refused before it reached the engine
            self._own.text = self.text if isinstance(self.text, str) else self.text()
            self._sent.append(self._own)
        last = self._sent[-1]
        if last.rows is None and last.error is None:
            last.rows = self.rows
        for sent in self._sent:
            # What leaves the call knows more of it than the driver's own exception.
            ours = error if sent is last and sent.error is not None else _error_of(self.engine, sent.error)
            self._watch.tell(self.engine, sent, ours, sent.operation or self.operation, self.info)


class _NoCall(Call):
    """Stands for a call that nobody wants to know of."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *about: object) -> None:
        pass

    def forget(self) -> None:
        pass

    def each(self, read: Callable[[], Iterator[list[Any]]]) -> Iterator[list[Any]]:
        return read()


_NO_CALL = _NoCall(None, None, "", None, "")
_current: ContextVar[Call | None] = ContextVar("db_plugins_call", default=None)
_is_telling: ContextVar[bool] = ContextVar("db_plugins_is_telling", default=False)


#: ``current_call()``: the call that runs here, if it is watched. The contextvar's own method, for it is asked at each statement.
current_call: Callable[[], Call | None] = _current.get


def started(text: str) -> Sent | None:
    """``sending`` without a block, for where each tenth of a microsecond counts: call ``end`` of what it gives."""
    call = current_call()
    return None if call is None else call.add(Sent(text))


def sending(text: str, operation: str | None = None) -> Sent:
    """For engines: ``with sending(sql) as sent: …; sent.rows = n`` around a statement, whose text holds no values.

    Costs next to nothing while nobody watches. What is sent inside one call is told as the call's operation, but for
    questions of the engine's own (what columns a table has), whose ``operation`` is ``"inspect"``.
    """
    call = current_call()
    return _UNWATCHED if call is None else call.add(Sent(text, operation))


def say(text: Callable[[], str]) -> None:
    """For engines: what this call sends, without values, where ``sending`` is too much."""
    call = current_call()
    if call is not None:
        call.text = text


@contextmanager
def outside_of_calls() -> Iterator[None]:
    """What runs inside is no part of the call that runs: a Session's flush before a read."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


class Watch:
    """Who wants to know what one Database sends. Shared by its transactions, and by threads."""

    def __init__(
        self, settings: Settings | None = None, models: Callable[[], Iterable[ModelInfo]] = tuple
    ) -> None:
        self._settings = settings
        self._models = models
        self._slow = (
            None if settings is None or settings.slow_query_ms is None else settings.slow_query_ms / 1000
        )
        self._spans = Spans(settings)
        # A tuple: told to all that are in it when the statement ends, whoever comes and goes meanwhile.
        self._listeners: tuple[tuple[Listener, object], ...] = ()
        self._is_asked = self._slow is not None

    @property
    def is_idle(self) -> bool:
        """Does nobody want to know? Asked before each call, so cheap. A listener's own statements nobody is told of."""
        if self._is_asked or _is_enabled(logging.DEBUG) or (API in sys.modules and traces()):
            return _is_telling.get()
        return True

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell it of each statement, until what is returned is called."""
        one = (listener, object())  # the same function may listen twice, and stop once
        self._listen((*self._listeners, one))

        def stop() -> None:
            self._listen(tuple([each for each in self._listeners if each is not one]))

        return stop

    def _listen(self, listeners: tuple[tuple[Listener, object], ...]) -> None:
        self._listeners = listeners
        self._is_asked = bool(listeners) or self._slow is not None

    def call(
        self, engine: Engine, operation: str, info: ModelInfo | None, text: str | Callable[[], str]
    ) -> Call:
        """A call that begins now."""
        return _NO_CALL if self.is_idle else Call(self, engine, operation, info, text)

    def report(self, engine: Engine, sent: Sent, operation: str, store: str | None) -> None:
        """For engines: a statement that belongs to no call (a Session's), and the name of its table."""
        info = next((each for each in self._models() if each.store == store), None) if store else None
        self.tell(engine, sent, _error_of(engine, sent.error), operation, info)

    def tell(
        self,
        engine: Engine,
        sent: Sent,
        error: DbPluginsError | None,
        operation: str,
        info: ModelInfo | None,
    ) -> None:
        """Tell all of a statement that has ended. What a listener raises is logged, and stops nothing."""
        name = self._settings.name if self._settings is not None else ""
        model = None if info is None else info.name
        event = StatementEvent(
            engine.name, name, model, operation, sent.rows, sent.seconds, sent.text.strip(), error
        )
        token = _is_telling.set(True)
        try:
            for listener, _ in self._listeners:
                self._tell_one(listener, event)
            self._log(event)
            if traces():
                self._spans.make(event, sent.at, None if info is None else info.store)
        finally:
            _is_telling.reset(token)

    @staticmethod
    def _tell_one(listener: Listener, event: StatementEvent) -> None:
        try:
            listener(event)
        except Exception:
            log.exception("a listener of on_statement failed: %r", listener)

    def _log(self, event: StatementEvent) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug(*_words(event))
        if self._slow is not None and event.seconds > self._slow:
            said, *about = _words(event)
            slow_log.warning(f"slow: {said}", *about)


def _words(event: StatementEvent) -> tuple[Any, ...]:
    return (
        "%s: %s%s took %.1f ms, %s: %s",
        event.database,
        event.operation,
        "" if event.model is None else f" {event.model}",
        event.seconds * 1000,
        type(event.error).__name__ if event.error is not None else f"rows: {_or_unknown(event.rows)}",
        event.statement,
    )


def _or_unknown(rows: int | None) -> str:
    return "unknown" if rows is None else str(rows)


def _error_of(engine: Engine, exc: BaseException | None) -> DbPluginsError | None:
    """Our error for what left a call; ``None`` for what is no answer of the engine."""
    if exc is None or isinstance(exc, DbPluginsError):
        return exc
    ours = engine.classify(exc) if isinstance(exc, Exception) else None
    if isinstance(ours, EngineError):
        ours.engine = ours.engine or engine.name
    return ours
