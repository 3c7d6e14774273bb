"""``dbp`` in processes of its own, forked from one that has imported everything: 10 ms to start instead of half a second.

The forking process has no threads and no connections, so that a fork is safe; it lives as long as its owner.

    with Children() as children:
        child = children.start(Order(["migrate"], folder, entry, folder / "out"))
        children.wait(child)       # 0, 1 …, or -9 for one that was killed
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, NoReturn, Self

from crash_sweep import disturbances

__all__ = ["ENTRY", "Children", "Order", "TimedOut"]

#: The variable that the project's settings.py reads its entry from.
ENTRY = "CRASH_SWEEP_ENTRY"
#: PR_SET_PTRACER, PR_SET_PTRACER_ANY: where only parents may trace, anybody may trace this process.
_SET_TRACER, _ANY = 0x59616D61, -1
_TRACED_SECONDS = 20.0
#: All modules of these are imported before the first fork, and these modules.
_PACKAGES = (
    "db_plugins.cli",
    "db_plugins.migrations",
    "db_plugins_sql.migrations",
    "db_plugins_mongo.migrations",
)
_MODULES = (
    *("db_plugins.database", "alembic.autogenerate", "pymongo", "psycopg", "pymysql", "mako.template"),
    *("sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.mysql"),
)


class TimedOut(Exception):
    """A child did not end in time; it was killed."""


@dataclass(frozen=True)
class Order:
    """``dbp`` with these arguments in this folder, on this entry; what it prints goes to a file.

    ``disturbance`` are the arguments of ``disturbances.install``. ``constants`` are other values for names of modules.
    ``is_traced`` has it wait for an strace.
    """

    arguments: Sequence[str]
    folder: Path
    entry: Mapping[str, Any]
    output: Path
    disturbance: tuple[str, str, int, str] | None = None
    constants: Mapping[str, Any] = field(default_factory=dict)
    is_traced: bool = False


class Children:
    """The forking process, from the outside."""

    def __init__(self) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from crash_sweep.children import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
            start_new_session=True,  # Ctrl-C is for the sweep
        )
        assert self._process.stdout is not None
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self._buffer = b""
        self._ended: dict[int, int] = {}
        self._running: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._selector.close()
        self._process.stdout.close()

    def start(self, order: Order) -> int:
        """Start it; its process id."""
        self._send(asdict(order))
        while True:
            kind, pid, status = self._read(60.0)
            if kind == "started":
                self._running.add(pid)
                return pid
            self._end(pid, status)

    def wait(self, pid: int, seconds: float = 60.0) -> int:
        """Its exit code when it has ended, negative for a signal."""
        while pid not in self._ended:
            self.wait_for_any(seconds, of=pid)
        return self._ended.pop(pid)

    def wait_for_any(self, seconds: float = 60.0, *, of: int | None = None) -> int:
        """The process id of the first that ends; ``wait`` has its code."""
        try:
            _kind, pid, status = self._read(seconds)
        except TimedOut:
            victim = of if of is not None else next(iter(self._running))
            os.kill(victim, signal.SIGKILL)
            raise
        self._end(pid, status)
        return pid

    def run(self, order: Order, seconds: float = 60.0) -> int:
        """Start it, and wait."""
        return self.wait(self.start(order), seconds)

    def _end(self, pid: int, status: int) -> None:
        self._ended[pid] = os.waitstatus_to_exitcode(status)
        self._running.discard(pid)

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message, default=str).encode() + b"\n")
        self._process.stdin.flush()

    def _read(self, seconds: float) -> tuple[str, int, int]:
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                raise TimedOut(f"nothing ended in {seconds:g} s")
            assert self._process.stdout is not None
            got = os.read(self._process.stdout.fileno(), 4096)
            if not got:
                raise RuntimeError("the process that forks has ended")
            self._buffer += got
        line, _newline, self._buffer = self._buffer.partition(b"\n")
        kind, pid, status = json.loads(line)
        return kind, pid, status


def serve() -> NoReturn:
    """The forking process itself: reads orders, and says who has started and who has ended."""
    _import_all()
    waking, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(waking, selectors.EVENT_READ)
    buffer = b""
    while True:
        for key, _events in selector.select():
            if key.fd == waking:
                os.read(waking, 512)
                _reap()
                continue
            got = os.read(0, 65536)
            if not got:
                os._exit(0)
            *lines, buffer = (buffer + got).split(b"\n")
            for line in lines:
                pid = os.fork()
                if not pid:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    _become(json.loads(line))
                _say("started", pid, 0)


def _import_all() -> None:
    """What is missing is said by the child that needs it."""
    names = list(_MODULES)
    for package in _PACKAGES:
        with suppress(ImportError):
            names += [f"{package}.{each.name}" for each in iter_modules(import_module(package).__path__)]
    for name in names:
        with suppress(ImportError):
            import_module(name)


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _say("ended", pid, status)


def _say(kind: str, pid: int, status: int) -> None:
    os.write(1, json.dumps([kind, pid, status]).encode() + b"\n")


def _become(order: dict[str, Any]) -> NoReturn:
    """In the child: carry out an order, and end."""
    code = 70
    try:
        output = os.open(order["output"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(old, new)
        os.chdir(order["folder"])
        sys.path.insert(0, order["folder"])
        os.environ[ENTRY] = json.dumps(order["entry"])
        for name, value in order["constants"].items():
            module, _dot, attribute = name.rpartition(".")
            getattr(import_module(module), attribute)  # one that is not there would change nothing
            setattr(import_module(module), attribute, value)
        from db_plugins.cli.app import dbp

        if order["disturbance"]:
            where, act, at, note = order["disturbance"]
            disturbances.install(where, act, at, Path(note))
        if order["is_traced"]:
            _wait_for_tracer()
        try:
            dbp.main(order["arguments"], prog_name="dbp")
        except SystemExit as ending:
            code = ending.code if isinstance(ending.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait_for_tracer() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(_SET_TRACER, ctypes.c_ulong(_ANY & (2**64 - 1)), 0, 0, 0)
    deadline = time.monotonic() + _TRACED_SECONDS
    while "TracerPid:\t0\n" in Path("/proc/self/status").read_text():
        if time.monotonic() > deadline:
            raise TimedOut("no strace came")
        time.sleep(0.002)
