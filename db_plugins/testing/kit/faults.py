"""A server that is stopped, killed and started again. These need a server of their own: ``server`` of the subclass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from db_plugins import Capability, Database
from db_plugins.errors import ServerUnreachableError

from .harness import Harness, subject
from .models import Star

__all__ = ["Faults"]


@subject("faults", Capability.WRITE)
class Faults(Harness):
    """RELIABILITY, the two first: unreachable, and a pool that went stale."""

    @pytest.fixture
    def own_server_of_kit(self, tmp_path: Path) -> Iterator[Any]:
        """A started server that this test may kill."""
        if self.server is None:
            pytest.skip("no server to stop and kill: set `server`")
        server = type(self).server(tmp_path / "server")
        server.start()
        yield server
        server.stop()

    def test_a_stopped_server_is_unreachable(
        self, own_server_of_kit: Any, connects: Callable[..., Database]
    ) -> None:
        server = own_server_of_kit
        entry = server.fresh_entry()
        with connects({**entry, "CONNECT_TIMEOUT": 3}, models=[Star]) as db:
            db.create_all()
            server.stop()
            for use in (db.ping, db.query(Star).all, lambda: db.query(Star).insert({"name": "a"})):
                with pytest.raises(ServerUnreachableError) as caught:
                    use()
                assert caught.value.retryable is True
                assert caught.value.__cause__ is not None
            server.start()
            assert db.query(Star).count() == 0

    def test_after_a_kill_and_a_restart_the_next_call_works(
        self, own_server_of_kit: Any, connects: Callable[..., Database]
    ) -> None:
        server = own_server_of_kit
        with connects(server.fresh_entry(), models=[Star]) as db:
            db.create_all()
            db.query(Star).insert({"name": "a"})
            for name in ("b", "c"):
                server.kill()
                server.start()
                assert db.query(Star).filter(name="a").count() == 1
                db.query(Star).insert({"name": name})
            assert db.query(Star).count() == 3
