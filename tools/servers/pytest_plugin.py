"""The servers as pytest fixtures: one of each kind per run, started when first asked for.

| fixture                                               | scope    | gives                                   |
|-------------------------------------------------------|----------|-----------------------------------------|
| `postgresql_server` `mariadb_server` `mongodb_server` | session  | the `Server` that all tests share       |
| `shared_server`                                       | session  | `shared_server(kind)`: the same, by name |
| `own_server`                                          | function | `own_server(kind, **options)`: a started one, to kill and restart |

With xdist the servers belong to the controller, which outlives every worker; a worker asks it over a socket.
A server that cannot start fails the tests in CI (`CI=true`, or `DBP_REQUIRE_SERVERS=1`); elsewhere it skips
them, and the summary names it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, NoReturn, Protocol

import pytest

from servers import KINDS, Server, ServerError

__all__ = [
    "OwnServer",
    "SharedServer",
    "mariadb_server",
    "mongodb_server",
    "own_server",
    "postgresql_server",
    "shared_server",
]

SharedServer = Callable[[str], Server]


class OwnServer(Protocol):
    """The type of the fixture `own_server`."""

    def __call__(self, kind: str, **options: Any) -> Server: ...


class _Park:
    """The shared servers of one run, each started at most once, and why the others could not."""

    def __init__(self) -> None:
        self.servers: dict[str, Server] = {}
        self.reasons: dict[str, str] = {}
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._folder: Path | None = None
        self._folder_lock = threading.Lock()

    def find(self, kind: str) -> Server | str:
        """The running server, or the reason why there is none."""
        with self._locks[kind]:
            if kind not in self.servers and kind not in self.reasons:
                self._start(kind)
            return self.servers.get(kind) or self.reasons[kind]

    def _start(self, kind: str) -> None:
        server = KINDS[kind](self._make_folder() / kind)
        if reason := server.available():
            self.reasons[kind] = reason
            return
        try:
            self.servers[kind] = server.start()
        except ServerError as error:
            self.reasons[kind] = str(error)

    def _make_folder(self) -> Path:
        with self._folder_lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="dbp-servers-"))
                self._folder.chmod(0o711)  # a PostgreSQL that root starts runs as nobody and must get through
            return self._folder

    def close(self) -> None:
        for server in self.servers.values():
            server.close()
        self.servers.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


class _Office:
    """Answers xdist's workers, in the controller: a kind comes in, a URL or a reason goes out."""

    def __init__(self, park: _Park) -> None:
        self._park = park
        self._key = secrets.token_bytes(16)
        self._listener = Listener(authkey=self._key, backlog=16)
        self._is_closing = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def pass_card(self) -> dict[str, Any]:
        """What a worker needs to call, in types that xdist can send."""
        return {"address": self._listener.address, "key": self._key.hex()}

    def _serve(self) -> None:
        while not self._is_closing:
            try:
                connection = self._listener.accept()
            except (OSError, EOFError, AuthenticationError):  # a worker died while it called
                continue
            # One thread for each caller, so that two kinds start at the same time.
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: Connection) -> None:
        with connection, suppress(EOFError, OSError):
            found = self._park.find(connection.recv_bytes().decode())
            answer = (
                {"reason": found} if isinstance(found, str) else {"url": found.url, "log": str(found.log)}
            )
            connection.send_bytes(json.dumps(answer).encode())

    def close(self) -> None:
        self._is_closing = True
        with suppress(OSError):  # one last call, to wake the thread: closing alone would leave it waiting
            Client(self._listener.address, authkey=self._key).close()
        self._thread.join(5)
        self._listener.close()


_PARK = pytest.StashKey[_Park]()
_OFFICE = pytest.StashKey[_Office]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_PARK] = _Park()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist's, in the controller, for each worker before it starts."""
    stash = node.config.stash
    if _OFFICE not in stash:
        stash[_OFFICE] = _Office(stash[_PARK])
    node.workerinput["servers"] = stash[_OFFICE].pass_card


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a worker: the reasons that only it knows, for the controller's summary."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["servers"] = session.config.stash[_PARK].reasons


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """xdist's, in the controller, when a worker has ended; one that crashed has no output."""
    node.config.stash[_PARK].reasons.update(getattr(node, "workeroutput", {}).get("servers", {}))


def pytest_unconfigure(config: pytest.Config) -> None:
    if office := config.stash.get(_OFFICE, None):
        office.close()
    if park := config.stash.get(_PARK, None):
        park.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for kind, reason in sorted(config.stash[_PARK].reasons.items()):
        verdict = "missing" if _must_start() else "skipped"
        terminalreporter.write_line(f"server {verdict}: {KINDS[kind].label}: {reason}", yellow=True)


@pytest.fixture(scope="session")
def shared_server(request: pytest.FixtureRequest) -> Iterator[SharedServer]:
    """`shared_server("postgresql")`: the run's server of that kind; skips or fails when it cannot start."""
    known: dict[str, Server] = {}

    def find(kind: str) -> Server:
        if kind not in known:
            pass_card = getattr(request.config, "workerinput", {}).get("servers")
            found = _call(pass_card, kind) if pass_card else request.config.stash[_PARK].find(kind)
            known[kind] = found if isinstance(found, Server) else _give_up(kind, found)
        return known[kind]

    yield find
    for server in known.values():
        server.hang_up()


@pytest.fixture(scope="session")
def postgresql_server(shared_server: SharedServer) -> Server:
    """The run's PostgreSQL; ask it for `new_database()`."""
    return shared_server("postgresql")


@pytest.fixture(scope="session")
def mariadb_server(shared_server: SharedServer) -> Server:
    """The run's MariaDB; ask it for `new_database()`."""
    return shared_server("mariadb")


@pytest.fixture(scope="session")
def mongodb_server(shared_server: SharedServer) -> Server:
    """The run's MongoDB; ask it for `new_database()`."""
    return shared_server("mongodb")


@pytest.fixture
def own_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[OwnServer]:
    """`own_server("mariadb", durable=True)`: a started server of the test's own, to kill and restart."""
    with ExitStack() as stack:

        def start(kind: str, **options: Any) -> Server:
            server = KINDS[kind](Path(tempfile.mkdtemp(dir=tmp_path)), private=True, **options)
            reason = server.available()
            if reason is None:
                try:
                    return stack.enter_context(server)
                except ServerError as error:
                    reason = str(error)
            request.config.stash[_PARK].reasons[kind] = reason
            return _give_up(kind, reason)

        yield start


def _call(pass_card: dict[str, Any], kind: str) -> Server | str:
    with Client(pass_card["address"], authkey=bytes.fromhex(pass_card["key"])) as connection:
        connection.send_bytes(kind.encode())
        answer = json.loads(connection.recv_bytes())
    if "reason" in answer:
        return str(answer["reason"])
    log = Path(answer["log"])
    return KINDS[kind](log.parent, url=answer["url"], log=log)


def _must_start() -> bool:
    """Whether a missing server is a failure: a green run in CI must have seen them all."""
    return any(
        os.environ.get(name, "").lower() not in ("", "0", "false") for name in ("CI", "DBP_REQUIRE_SERVERS")
    )


def _give_up(kind: str, reason: str) -> NoReturn:
    give_up = pytest.fail if _must_start() else pytest.skip
    give_up(f"{KINDS[kind].label}: {reason}")
