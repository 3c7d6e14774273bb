"""The one shape of all servers: find a port, start, wait until ready, stop, kill, and die with the parent.

A subclass says how its data folder is made (`_prepare`), which command runs it (`_command`), and which line
of its log means that it is ready. Everything hard about processes is here, once:

    Server(folder)            nothing runs yet
      .start()                made ready within about a second; tried again when it fails
      .stop() .kill()         politely, or by kill -9; the data stay
      .restart()              stop and start on the same port and the same data
      .close()                stop and forget; also the end of the `with` block, and at exit
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import quote, unquote, urlsplit

__all__ = ["Server", "ServerError"]

# Every start is allowed to fail a few times: a free port may be taken before the server binds it, and a
# PostgreSQL that was killed is refused by its own leftovers until its last backend is gone (for up to 2 s).
_TRIES = 6
_READY_SECONDS = 30.0
_STOP_SECONDS = 15.0

# Waits for the end of its standard input, which comes when the process that holds the other end dies, however
# it dies; then ends the server. PR_SET_PDEATHSIG would do it on Linux alone, and fires when the starting
# *thread* ends.
_WATCH = 'read -r _; kill -s "$1" "$2"; sleep 1; kill -s KILL "$2"; [ -z "$3" ] || rm -rf -- "$3"'


class ServerError(RuntimeError):
    """A server did not start, or was asked for what only a server of our own can do."""


class Server(ABC):
    """A database server on 127.0.0.1 with its data below `folder`.

    `durable=True` makes a commit reach the disk before it is answered; without it the server only promises to
    survive its own death, not the machine's. `private=True` starts one even when the environment
    (`DBP_TEST_…_URL`) names a server to use. With `url`, or with that variable set, the object only points to
    a running server: start and stop do nothing, and kill and restart are refused.
    """

    kind: ClassVar[str]
    label: ClassVar[str]
    environment_name: ClassVar[str]
    engine: str  # as in DB_CONFIG's ENGINE; also the scheme of its URLs
    user: str = ""
    password: str = ""

    _default_port: ClassVar[int]
    _ready_line: ClassVar[bytes]
    _stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    _close_signal: ClassVar[signal.Signals] = signal.SIGTERM
    _orphan_signal: ClassVar[str] = "KILL"

    def __init__(
        self,
        folder: Path | str,
        *,
        durable: bool = False,
        private: bool = False,
        url: str | None = None,
        log: Path | str | None = None,
    ) -> None:
        self.folder = Path(folder).absolute()
        self.durable = durable
        self.host = "127.0.0.1"
        self.port = 0
        self.log = Path(log) if log else self.folder / f"{self.kind}.log"
        self._options_of_url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._ports_tried = False
        self._extra_home: Path | None = None
        given = url or ("" if private else os.environ.get(self.environment_name, ""))
        self.is_ours = not given
        self._given = given
        if given:
            self._read_url(given)

    # What is asked of it

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Why this kind cannot run on this machine (a wheel or a binary that is not there), or None."""

    def available(self) -> str | None:
        """Why `start` cannot work here, or None."""
        return None if not self.is_ours else self.missing()

    @property
    def url(self) -> str:
        """The server's URL, quoted, without a database."""
        return self._given or self._make_url("")

    def url_of(self, database: str) -> str:
        """The URL of one database of this server."""
        return self._make_url(database)

    def entry(self, database: str) -> dict[str, Any]:
        """The same as an entry of DB_CONFIG, in parts."""
        if self._options_of_url:  # options, or several hosts, cannot be said in parts
            return {"URL": self.url_of(database)}
        entry: dict[str, Any] = {"ENGINE": self.engine, "HOST": self.host, "PORT": self.port}
        if self.user:
            entry |= {"USER": self.user, "PASSWORD": self.password}
        return entry | {"DB_NAME": database}

    def new_database(self) -> tuple[str, str]:
        """Make an empty database that nobody else uses; its name and its URL."""
        name = f"t_{secrets.token_hex(6)}"
        self._create_database(name)
        return name, self.url_of(name)

    @abstractmethod
    def drop_database(self, name: str) -> None:
        """Remove a database, with whoever is connected to it; none of that name is fine."""

    def hang_up(self) -> None:  # noqa: B027 - most keep nothing open
        """Close what `new_database` and `drop_database` keep open between calls; the next call opens it anew."""

    @property
    def pid(self) -> int:
        """The main process; a ServerError when none runs or when it is not ours."""
        self._must_be_ours("pid")
        if self._process is None:
            raise ServerError(f"{self.label} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether our main process lives; always true for a server that is not ours."""
        return not self.is_ours or (self._process is not None and self._process.poll() is None)

    # Its life

    def start(self) -> Self:
        """Start and return when it answers; ServerError with the end of its log when it does not."""
        if not self.is_ours or self.is_running:
            return self
        if reason := self.missing():
            raise ServerError(f"{self.label}: {reason}")
        problem = ""
        for attempt in range(_TRIES):
            time.sleep(0.2 * attempt)
            if not self._ports_tried:
                self.port = _free_port()
            try:
                self._launch()
            except (OSError, subprocess.SubprocessError, ServerError) as error:
                problem = str(error)
                self._end(signal.SIGKILL)
                continue
            self._ports_tried = True  # from now on clients know this port: a restart must come back to it
            return self
        raise ServerError(f"{self.label} did not start in {_TRIES} tries: {problem}")

    def stop(self) -> None:
        """Stop politely; the data stay for the next start. Nothing happens to a server that is not ours."""
        self._end(self._stop_signal)

    def kill(self) -> None:
        """End the main process with kill -9, as a crash would; return when it is gone."""
        self._must_be_ours("kill")
        if not self.is_running:
            raise ServerError(f"{self.label} is not running")
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop, if it runs, and start on the same port and data."""
        self._must_be_ours("restart")
        self.stop()
        self.start()

    def close(self) -> None:
        """End it quickly, and remove what was put outside of `folder`: nobody needs the data again."""
        if os.getpid() != self._owner:  # a forked child that exits must not end its parent's server
            return
        self.hang_up()
        self._end(self._close_signal)
        if self._extra_home is not None:
            shutil.rmtree(self._extra_home, ignore_errors=True)
            self._extra_home = None
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.host}:{self.port}{'' if self.is_running else ' (stopped)'}>"

    # What a subclass says

    @abstractmethod
    def _prepare(self) -> None:
        """Make the data folder, if it is not made yet; called before each try."""

    @abstractmethod
    def _command(self) -> list[str]:
        """The command that runs the server in the foreground on `self.port`."""

    @abstractmethod
    def _create_database(self, name: str) -> None:
        """Make an empty database."""

    def _as_user(self) -> dict[str, Any]:
        """Keywords of subprocess that run a command as another user."""
        return {}

    # How it is done

    def _launch(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._prepare()
        atexit.register(self.close)
        with self.log.open("ab") as log:
            start_of_log = log.tell()
            # A session of its own: Ctrl-C in the terminal is for the tests, which then stop the server.
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                env=_plain_environment(),
                start_new_session=True,
                **self._as_user(),
            )
        home = str(self._extra_home or "")
        self._watch = subprocess.Popen(
            ["sh", "-c", _WATCH, "watch", self._orphan_signal, str(self._process.pid), home],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait_until_ready(start_of_log)

    def _wait_until_ready(self, start_of_log: int) -> None:
        """Read the log of *this* start: a port that answers could be somebody else's server."""
        process = self._process
        assert process is not None
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            ended = process.poll() is not None
            with self.log.open("rb") as log:
                log.seek(start_of_log)
                text = log.read()
            if self._ready_line in text and not ended:
                return
            if ended or time.monotonic() > deadline:
                end = text.decode(errors="replace").strip().splitlines()[-5:]
                what = (
                    f"ended with {process.returncode}" if ended else f"not ready after {_READY_SECONDS:.0f} s"
                )
                raise ServerError(f"{what}; its log ends: {' / '.join(end) or '(empty)'}")
            time.sleep(0.02)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.send_signal(how)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.kill()  # before its input ends: by now the pid may be somebody else's
            watch.wait()
            assert watch.stdin is not None
            watch.stdin.close()

    @property
    def home(self) -> Path:
        """Where the data lie: `folder`, unless the server's user cannot reach it."""
        return self._extra_home or self.folder

    def _make_extra_home(self, parent: str | None = None) -> Path:
        self._extra_home = Path(tempfile.mkdtemp(prefix=f"dbp-{self.kind}-", dir=parent))
        return self._extra_home

    def _run(self, command: list[str]) -> None:
        """Run a helper command of the server; ServerError with its words when it fails."""
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.home,
            env=_plain_environment(),
            check=False,
            **self._as_user(),
        )
        if done.returncode:
            words = done.stdout.decode(errors="replace").strip()
            raise ServerError(f"{Path(command[0]).name} failed ({done.returncode}): {words[-800:]}")

    def _must_be_ours(self, what: str) -> None:
        if not self.is_ours:
            raise ServerError(f"{what}: this {self.label} server was not started here; use a private one")

    def _make_url(self, database: str) -> str:
        if self._given:
            parts = urlsplit(self._given)
            return parts._replace(path=f"/{quote(database, safe='')}").geturl()
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user else ""
        return f"{self.engine}://{login}{self.host}:{self.port}/{quote(database, safe='')}"

    def _read_url(self, url: str) -> None:
        parts = urlsplit(url)
        self.user, self.password = unquote(parts.username or ""), unquote(parts.password or "")
        several = "," in parts.netloc or "+srv" in parts.scheme
        self.engine = parts.scheme.partition("+")[0]
        self._options_of_url = parts.query or ("hosts" if several else "")
        if not several:
            self.host, self.port = parts.hostname or self.host, parts.port or self._default_port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _plain_environment() -> dict[str, str]:
    """Ours without what changes a server's words or folders: its log must say the ready line in English."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_", "MYSQL", "MARIADB"))
    }
    return kept | {"LC_ALL": "C"}
