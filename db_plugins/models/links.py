"""A link table becomes a model: so it is read, like any other, by every engine.

``link_model(table)`` maps a class of our own to it, once; the table keeps it, and the user's mappings stay as they are.
"""

from __future__ import annotations

import threading

import sqlalchemy as sa
from sqlalchemy.orm import registry

__all__ = ["link_model"]

_KEY = "db_plugins.link_model"
_lock = threading.Lock()


def link_model(table: sa.Table) -> type:
    """The class that stands for the rows of a link table; its attributes are the table's column keys.

    Its key is the table's own if that has several columns, else all columns: so each column keeps its name on every
    engine (a key of one column would be ``_id`` on MongoDB).
    """
    with _lock:
        if _KEY not in table.info:
            own = list(table.primary_key.columns)
            made = type(table.name, (), {"__doc__": f"A row of the link table {table.name}."})
            registry(metadata=table.metadata).map_imperatively(
                made, table, primary_key=own if len(own) > 1 else list(table.columns)
            )
            table.info[_KEY] = made
        found: type = table.info[_KEY]
        return found
