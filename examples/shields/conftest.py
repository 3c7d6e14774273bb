"""A database of its own for each test: in memory, or with TEST_DATABASE_URL on the server that you deploy on."""

import os
from collections.abc import Iterator

import pytest
from api import app
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from db_plugins import Database
from db_plugins.fastapi import get_db

pytest_plugins = ["db_plugins.testing"]


@pytest.fixture
def db_config() -> str:
    """What the fixture ``db`` is made from."""
    return os.environ.get("TEST_DATABASE_URL", "sqlite://")


@pytest.fixture
def db_session(db: Database) -> Iterator[Session]:
    """A session on it. Whatever a test commits is gone after it."""
    with db.session() as session:
        yield session


@pytest.fixture
def client(db: Database) -> Iterator[TestClient]:
    """The application on the test's database."""
    app.dependency_overrides[get_db] = lambda: db
    yield TestClient(app)
    app.dependency_overrides.clear()
