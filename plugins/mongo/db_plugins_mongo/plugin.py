"""The entry point of ``mongo``, ``mongodb`` and ``mongomock``: names the engine, loads no driver."""

from __future__ import annotations

from db_plugins.hookspecs import hookimpl

from .engine import MongoEngine

__all__ = ["dbp_register_engine"]


@hookimpl
def dbp_register_engine() -> type[MongoEngine]:
    """The engine for all three names; ``MongoEngine.choose`` picks the mock."""
    return MongoEngine
