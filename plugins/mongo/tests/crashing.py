"""A migration killed at a command it sends: run as a program, which forks one process for each command.

``python crashing.py URL NAME FOLDER EVERY`` prints one line for each point, ``ok`` or what was wrong, and the number of points.
The program itself never talks to the server: what forks should hold no connections.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from migrating import Folder
from pymongo import monitoring

from db_plugins.migrations.seam import LockRequest
from db_plugins_mongo.migrations import locks

DIED = 77


class Killer(monitoring.CommandListener):
    """Ends the process before the n-th command is sent, or after it was answered; counts them."""

    def __init__(self) -> None:
        self.point: tuple[int, str] | None = None
        self.seen = 0
        self.is_armed = False

    def started(self, event: Any) -> None:
        if self.is_armed:
            self.seen += 1
            self._die("before")

    def succeeded(self, event: Any) -> None:
        if self.is_armed:
            self._die("after")

    failed = succeeded

    def _die(self, when: str) -> None:
        if self.point == (self.seen, when):
            os._exit(DIED)


killer = Killer()


def attempt(folder: Folder, *, up: bool) -> None:
    """Run the second revision, as the next ``dbp migrate`` would."""
    folder.database.dbp_migrations.delete_one({"_id": "lock"})  # the lease of who was killed
    killer.is_armed = True
    with folder.connection.migrating(LockRequest(timeout=5)) as migration:
        stopped = migration.interrupted()
        assert stopped is None or stopped.is_clean, stopped
        step = folder.step(2, up=up)
        if migration.heads() != step.after:
            migration.run(step, allow_drop=False)
    killer.is_armed = False


def begin(folder: Folder) -> None:
    """The database as the first revision and some documents leave it."""
    folder.database.client.drop_database(folder.name)
    folder.run(1)
    folder.database.stars.insert_many([{"_id": n, "name": f"n{n}", "mag": n} for n in range(5)])
    folder.database.db_plugins_counters.insert_one({"_id": "moons", "last": 3})


def in_child(work: Any) -> tuple[int, str]:
    """Fork, do it, and tell the exit code and what it printed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 0
        try:
            os.write(write, json.dumps(work()).encode())
        except BaseException:
            os.write(write, json.dumps(traceback.format_exc()[-3000:]).encode())
            code = 1
        os._exit(code)
    os.close(write)
    told = b"".join(iter(lambda: os.read(read, 65536), b""))
    os.close(read)
    _pid, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), json.loads(told) if told else ""


def main() -> None:
    url, name, path, every = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    locks.RENEW_SECONDS = 600.0  # so that each run sends the same commands

    def folder() -> Folder:
        monitoring.register(killer)
        return Folder(path, url, name)

    def whole(up: bool) -> Any:
        def work() -> Any:
            one = folder()
            begin(one)
            if not up:
                attempt(one, up=True)
                killer.seen = 0
            attempt(one, up=up)
            return [killer.seen, repr(one.state()), repr(list(one.database.db_plugins_counters.find()))]

        return work

    for up in (True, False):
        code, told = in_child(whole(up))
        assert code == 0, told
        count, *expected = told
        points = [(n, when) for n in range(1, count + 1) for when in ("before", "after")]
        for n, when in points[::every]:

            def crash(n: int = n, when: str = when, up: bool = up) -> Any:
                one = folder()
                begin(one)
                if not up:
                    attempt(one, up=True)
                    killer.seen = 0
                killer.point = (n, when)
                attempt(one, up=up)
                return "it was not killed"

            def again(up: bool = up) -> Any:
                one = folder()
                attempt(one, up=up)
                left = one.database.dbp_migrations.count_documents({"_id": {"$ne": "heads"}})
                return [
                    left,
                    list(one.connection.heads()),
                    repr(one.state()),
                    repr(list(one.database.db_plugins_counters.find())),
                ]

            died, told = in_child(crash)
            code, result = in_child(again)
            wanted = [0, ["r2"] if up else ["r1"], *expected]
            fine = died == DIED and code == 0 and result == wanted
            sys.stdout.write(
                f"{'up' if up else 'down'} {when} {n}: {'ok' if fine else f'{died} {told} {code} {result}'}\n"
            )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
