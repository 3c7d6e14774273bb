"""The database that the environment names: the six variables ``DB_…``, of the process or of ``.env``; else SQLite here.

DB_DRIVER=postgresql+psycopg
DB_USERNAME=username
DB_PASSWORD=password
DB_HOST=localhost
DB_PORT=5432
DB_DATABASE=database
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from db_plugins import Database, connect

from .models import Base

if TYPE_CHECKING:
    from sqlalchemy import orm


@cache
def get_db() -> Database:
    """The one Database of this process. Tables that are missing are made when it is first asked for."""
    db = connect(models=list(tables(Base)))
    db.create_all()
    return db


def tables(base: type) -> Iterator[type]:
    """Every class below this one that has a table, so those of your own programs too."""
    for each in base.__subclasses__():
        if hasattr(each, "__table__"):
            yield each
        yield from tables(each)


@contextmanager
def Session() -> Iterator[orm.Session]:
    """A SQLAlchemy Session, on SQL engines. What you do not commit is undone at the end of the block."""
    with get_db().session(commit=False) as session:
        yield session
