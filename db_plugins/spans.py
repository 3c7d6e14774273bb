"""OpenTelemetry spans of statements, by its stable database conventions; only its API is needed, and never imported here
first.

https://opentelemetry.io/docs/specs/semconv/database/database-spans/
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from .config import Settings
    from .watching import StatementEvent

__all__ = ["API", "Spans", "traces"]

#: The module that a program imports which has configured a provider.
API = "opentelemetry.trace"
#: Operations whose rows came back from the server.
_READS = {"select", "count", "aggregate", "nearest"}


def traces() -> bool:
    """Has the program configured a tracer provider? Asked before each call, so cheap.

    A program that did has imported the API itself: importing it here would cost those that do not.
    """
    trace = sys.modules.get(API)
    return trace is not None and not isinstance(
        trace.get_tracer_provider(), (trace.ProxyTracerProvider, trace.NoOpTracerProvider)
    )


class Spans:
    """Makes the spans of one Database."""

    def __init__(self, settings: Settings | None) -> None:
        self._settings = settings

    def make(self, event: StatementEvent, at: int, store: str | None) -> None:
        """The span of a statement that began ``at`` (nanoseconds); a child of the current one."""
        from opentelemetry import trace

        from . import __version__

        # Asked for each time, for a test may put another provider in its place.
        span = trace.get_tracer("db_plugins", __version__).start_span(
            f"{event.operation} {store}" if store else event.operation,
            kind=trace.SpanKind.CLIENT,
            attributes={**_about(event, store), **self._place},
            start_time=at,
        )
        if event.error is not None:
            span.set_status(trace.StatusCode.ERROR, type(event.error).__name__)
        span.end(end_time=at + int(event.seconds * 1e9))

    @cached_property
    def _place(self) -> Mapping[str, str | int]:
        """Where the database is; of a URL only its host, port and path."""
        given = self._settings
        if given is None:
            return {}
        place = (given.host, given.port, given.database)
        host, port, database = place if given.url is None else _parts(given.url.reveal())
        found = {"db.namespace": database, "server.address": host, "server.port": port}
        return {name: value for name, value in found.items() if value}


def _about(event: StatementEvent, store: str | None) -> dict[str, str | int]:
    found: dict[str, str | int | None] = {
        "db.system.name": event.engine,
        "db.operation.name": event.operation,
        "db.collection.name": store,
        "db.query.text": event.statement,
        "db.response.returned_rows": event.rows if event.operation in _READS else None,
        "error.type": None if event.error is None else type(event.error).__name__,
    }
    return {name: value for name, value in found.items() if value is not None}


def _parts(url: str) -> tuple[str | None, int | None, str | None]:
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.port, parts.path.removeprefix("/") or None
    except ValueError:  # several hosts, with a port each
        return None, None, None
