"""Databases for tests: on the entry's server, or in the mock. MongoDB makes a database with its first collection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from db_plugins.config import Settings
from db_plugins.engine import SupportsDatabases

from .client import database_of, make_client

__all__ = ["MongoDatabases"]


class MongoDatabases(SupportsDatabases):
    """The engine's role of making and dropping databases."""

    settings: Settings

    def settings_for_tests(self, suffix: str) -> Settings:
        """The URL stays as it is, for it also says where the user is known: DB_NAME is what counts."""
        return replace(self.settings, database=self.name_for_tests(database_of(self.settings), suffix))

    def create_database(self, settings: Settings) -> None:
        """Drop what was left of it."""
        self.drop_database(settings)

    def drop_database(self, settings: Settings) -> None:
        """Drop it; none of that name is fine."""
        with self._client_of(settings) as client:
            client.drop_database(database_of(settings))

    @contextmanager
    def _client_of(self, settings: Settings) -> Iterator[Any]:
        if settings.engine == "mongomock":
            from .mock import _client

            yield _client(settings)
            return
        client = make_client(settings)
        try:
            yield client
        finally:
            client.close()
