"""A TCP proxy between a client and a server on 127.0.0.1 that can lose an answer.

    with Proxy(server.port) as proxy:
        connect({**server.entry(name), "PORT": proxy.port})
        proxy.lose_answer(rb"COMMIT")   the server gets it, and the client never hears what became of it

The connection whose answer is lost is cut. Others pass as before.
"""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from typing import Self

__all__ = ["Proxy"]


class Proxy:
    """Passes every byte on, until it is told to lose the answer to something."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pattern: re.Pattern[bytes] | None = None
        self._after: re.Pattern[bytes] | None = None
        self._times = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        #: How many answers were lost.
        self.lost = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_answer(self, pattern: bytes, times: int = 1, *, after: bytes = b"") -> None:
        """Lose the answers to the next ``times`` requests in which the pattern is found, after one with ``after`` in it."""
        with self._lock:
            self._times = times
            self._pattern = re.compile(pattern)
            self._after = re.compile(after) if after else None

    def close(self) -> None:
        """End all connections, and accept no more."""
        with self._lock:
            ends = [self._listener, *self._open]
        for end in ends:
            _cut(end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._server, timeout=10)
            except OSError:
                _cut(client)
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            is_lost = threading.Event()
            for source, target, asks in ((client, server, True), (server, client, False)):
                args = (source, target, is_lost, asks)
                threading.Thread(target=self._pump, args=args, daemon=True).start()

    def _pump(
        self, source: socket.socket, target: socket.socket, is_lost: threading.Event, asks: bool
    ) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if asks and self._is_meant(data):
                    is_lost.set()
                if not asks and is_lost.is_set():
                    self.lost += 1
                    break
                target.sendall(data)
        # shutdown first: close alone would leave the other thread in its recv().
        _cut(source)
        _cut(target)
        with self._lock:
            self._open -= {source, target}

    def _is_meant(self, request: bytes) -> bool:
        with self._lock:
            if self._after is not None and self._after.search(request):
                self._after = None
                return False
            waits = self._pattern is None or self._times < 1 or self._after is not None
            if waits or not self._pattern.search(request):  # type: ignore[union-attr]
                return False
            self._times -= 1
            return True


def _cut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
