"""Fixtures: a fresh database on the run's MongoDB-wire server or in mongomock, as words for a model."""

from __future__ import annotations

import gc
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from db_plugins.models import describe

# pytest's importlib mode puts no folder of tests on the path, and these tests share their models.
sys.path.insert(0, str(Path(__file__).parent))

from mongo_models import Link, Place, Star, Tag, Words, engine_for

Open = Callable[..., Words]


def pytest_itemcollected(item: pytest.Item) -> None:
    """PyMongo 4.20 drops the socket of a connection whose making is cancelled, which ``close()`` does to those on which it
    watches the server (``_async_create_connection`` closes it for an OSError only): Python closes it, and warns."""
    item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))


@pytest.fixture(autouse=True)
def _dropped_sockets_are_found_here() -> Iterator[None]:
    """And not in a later test of others."""
    yield
    gc.collect(1)


@pytest.fixture
def mongodb(mongodb_server: Any) -> Iterator[Open]:
    """``mongodb(Star)``: words for a model on a real server, its collections made."""
    name, url = mongodb_server.new_database()
    engine = engine_for(url=url, database=name)
    connection = engine.connect(engine.settings)
    connection.create([describe(m) for m in (Star, Place, Tag)], [Link])  # type: ignore[attr-defined]
    yield lambda model=Star: Words(model, engine, connection)
    connection.close()
    mongodb_server.drop_database(name)


@pytest.fixture
def mock() -> Iterator[Open]:
    """The same in mongomock."""
    pytest.importorskip("mongomock_ng")
    engine = engine_for(engine="mongomock", database=f"t_{secrets.token_hex(6)}")
    connection = engine.connect(engine.settings)
    infos = [describe(m) for m in (Star, Place, Tag)]
    connection.create(infos, [Link])  # type: ignore[attr-defined]
    yield lambda model=Star: Words(model, engine, connection)
    connection.drop(infos, [Link])  # type: ignore[attr-defined]


@pytest.fixture(params=["mongodb", "mongomock"])
def either(request: pytest.FixtureRequest) -> Open:
    """Once on a server and once in mongomock."""
    opened: Open = request.getfixturevalue("mongodb" if request.param == "mongodb" else "mock")
    return opened
