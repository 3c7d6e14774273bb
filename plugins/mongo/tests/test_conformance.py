"""The MongoDB engines answer to the contract: a server, and mongomock."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest

from db_plugins import Database
from db_plugins.testing import PluginConformance
from servers import KINDS


def own_server(kind: str) -> type:
    """A server of the fault tests' own: it may be killed."""

    class Own:
        def __init__(self, folder: Path) -> None:
            self._server = KINDS[kind](folder, private=True, durable=True)
            self.stop = self._server.stop
            self.kill = self._server.kill

        def start(self) -> None:
            if reason := self._server.available():
                pytest.skip(f"{self._server.label}: {reason}")
            self._server.start()

        def fresh_entry(self) -> dict[str, Any]:
            return dict(self._server.entry(self._server.new_database()[0]))

    return Own


class TestMongoDB(PluginConformance):
    """002-01: the same kit as on every engine."""

    plugin = "mongodb"
    server = own_server("mongodb")

    def config(self, tmp_path: Path) -> dict[str, Any]:
        server = self.request.getfixturevalue("shared_server")("mongodb")
        name, _url = server.new_database()
        self.request.addfinalizer(lambda: server.drop_database(name))
        return dict(server.entry(name))

    def schema(self, db: Database) -> dict[str, Any]:
        found = {each["name"]: each.get("options", {}) for each in db.native.list_collections()}
        return {
            name: (options, sorted(db.native[name].index_information().items()))
            for name, options in found.items()
            if not name.startswith("dbp_")
        }


class TestMongomock(PluginConformance):
    """002-01."""

    plugin = "mongomock"
    is_shared = False
    generated_filters = 1000  # in Python: each costs twice as much as on a server
    rows_in_bulk = 240  # no index helps: each key of a list is compared with each row

    def config(self, tmp_path: Path) -> dict[str, Any]:
        pytest.importorskip("mongomock_ng")
        return {"ENGINE": "mongomock", "DB_NAME": f"t_{secrets.token_hex(6)}"}
