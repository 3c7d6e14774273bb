"""A server of MongoDB's wire protocol: SecantusDB over WiredTiger, from the wheel `secantusdb`.

It is GPL-licensed: it always runs as a process of its own and is never imported by ours.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from servers.base import Server

__all__ = ["MongoDB"]


class MongoDB(Server):
    """A replica set of one, without a login; fail points are switched on."""

    kind = "mongodb"
    label = "MongoDB"
    environment_name = "DBP_TEST_MONGODB_URL"
    engine = "mongodb"

    _default_port = 27017
    _ready_line = b"secantus listening on"
    _close_signal = signal.SIGKILL  # a polite stop waits 2 s for its own accept()

    @classmethod
    def missing(cls) -> str | None:
        return None if importlib.util.find_spec("secantus") else "the wheel secantusdb is not installed"

    _client: tuple[int, Any] | None = None

    def drop_database(self, name: str) -> None:
        self._kept_client().drop_database(name)

    def hang_up(self) -> None:
        kept, self._client = self._client, None
        if kept is not None and kept[0] == os.getpid():
            kept[1].close()

    def _kept_client(self) -> Any:
        """One for all calls of this process: a new one takes 12 ms, which each test of the kit would pay."""
        import pymongo

        if self._client is None or self._client[0] != os.getpid():
            self._client = os.getpid(), pymongo.MongoClient(self.url, serverSelectionTimeoutMS=10_000)
        return self._client[1]

    def _create_database(self, name: str) -> None:
        """Nothing to do: MongoDB makes a database with the first document in it."""

    def _make_url(self, database: str) -> str:
        url = super()._make_url(database)
        if not self._given or not self.user:
            return url
        # Without authSource the user is looked for in the database of the path, now exchanged.
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        options.setdefault("authSource", urlsplit(self._given).path.strip("/") or "admin")
        return parts._replace(query=urlencode(options, quote_via=quote)).geturl()

    def _prepare(self) -> None:
        # An empty one, lest it find a configuration in the home of whoever runs the tests.
        (self.home / "secantusd.toml").touch()

    def _command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "secantus", f"--config={self.home / 'secantusd.toml'}"),
            *(f"--host={self.host}", f"--port={self.port}", f"--storage-path={self.home / 'data'}"),
            *("--cache-size=256M", "--enable-test-commands", "--log-level=INFO"),
            # Without it an acknowledged write may be lost by kill -9.
            *(["--sync-on-commit"] if self.durable else []),
        ]
