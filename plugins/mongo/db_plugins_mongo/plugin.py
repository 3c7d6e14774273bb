"""The entry point of ``mongo``, ``mongodb`` and ``mongomock``: names the engine, loads no driver."""

from __future__ import annotations

from db_plugins.hookspecs import hookimpl

from .engine import DocumentEngine

__all__ = ["dbp_register_engine"]


@hookimpl
def dbp_register_engine() -> type[DocumentEngine]:
    """The engine for all three names; ``choose`` picks that of the server or the mock."""
    return DocumentEngine
