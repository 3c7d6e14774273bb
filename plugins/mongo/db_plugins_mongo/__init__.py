"""MongoDB for db_plugins: ``ENGINE`` "mongodb" (PyMongo) and "mongomock" (in memory, extra ``mock``).

    plugin.py       the hook: names the class that chooses between the two engines
    engine.py       pure: compile, classify, check_model; ``choose`` hands ENGINE mongomock to mock.py
    translate.py    pure: nodes → filter documents, order → sort, operands → update documents
    object_ids.py   the type of a column that holds ObjectIds
    codec.py        pure: a column's value ↔ what is stored in BSON
    errors.py       pure: driver exception → our error, by code
    client.py       settings → MongoClient, AsyncMongoClient
    awaited.py      PyMongo's asynchronous classes as their synchronous twins
    connection.py   the driver: find, insert, update, delete, transactions
    numbering.py    integer keys, numbered by a counters collection
    storage.py      collections and indexes
    migrations/     validators, what differs from the models, and ``op``, which revision files import from here
    mock.py         mongomock: the same, saying and claiming less

Importing this package loads neither PyMongo nor SQLAlchemy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import MongoEngine
    from .migrations.operations import op
    from .mock import MongomockEngine
    from .object_ids import ObjectIdText

__all__ = ["MongoEngine", "MongomockEngine", "ObjectIdText", "op"]

_HOME = {
    "MongoEngine": "engine",
    "MongomockEngine": "mock",
    "ObjectIdText": "object_ids",
    "op": "migrations.operations",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
