"""The hooks of the entry-point group ``db_plugins``: one, which only returns a class.

A plugin is a distribution whose ``setup.cfg`` has one entry for each name or scheme it answers to, all naming one
module, and in that module::

    from db_plugins import hookimpl

    @hookimpl
    def dbp_register_engine():
        return DuckDBEngine
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["PROJECT", "dbp_register_engine", "hookimpl", "hookspec"]

PROJECT = "db_plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def dbp_register_engine() -> type[Engine]:  # type: ignore[empty-body]
    """Called once, when a name of this plugin is first asked for. Returns the Engine class; does nothing else."""
