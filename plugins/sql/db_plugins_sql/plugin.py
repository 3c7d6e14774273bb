"""The entry point: the names ``sql sqlite postgresql postgres mysql mariadb`` all come here."""

from __future__ import annotations

from db_plugins import hookimpl
from db_plugins.engine import Engine

__all__ = ["dbp_register_engine"]


@hookimpl
def dbp_register_engine() -> type[Engine]:
    """One class; ``SQLEngine.choose`` picks its subclass by ENGINE."""
    from .engine import SQLEngine

    return SQLEngine
