"""A point of the sweep: a migration is disturbed there, run again, settled if it asks for that; then all is looked at.

    copy ── dbp migrate, disturbed at n ── dbp migrate ─┬─ 0 ─────────────────────────────────┬─ the same database as after
                                                        └─ DirtyMigrationError ── --resume or ┘  a run that nothing befell
                                                           --mark-done, as a look says

Databases that are the same have the same future, so only some are migrated further: every tenth, each that was
settled, and each whose journal holds notes that mean nothing any more.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from crash_sweep.children import TimedOut
from crash_sweep.disturbances import KILLED
from crash_sweep.looking import differences, look
from crash_sweep.project import REVISIONS, Project

__all__ = ["DIRECTIONS", "KINDS", "Direction", "Kind", "Point", "Sweep", "Tally", "spread", "strace_missing"]

Kind = Literal["operations", "syscalls", "lines"]
Direction = Literal["migrate", "downgrade"]
KINDS: tuple[Kind, ...] = ("operations", "syscalls", "lines")
DIRECTIONS: tuple[Direction, ...] = ("migrate", "downgrade")
#: What changes a file or a peer; and the waits for an answer, at which something is under way on the server.
_SYSCALLS = (
    *("write", "pwrite64", "writev", "fsync", "fdatasync", "ftruncate", "unlink", "rename"),
    *("sendto", "sendmsg", "recvfrom", "recvmsg"),
)
_TRACED = re.compile(r"^(\d+)\s+(\w+)\(", re.M)
#: Of so many databases one is migrated further.
_GO_ON = 10
#: A killed holder of MongoDB's lock is followed when its lease has run out; this one is not as long as the real one.
_SHORT_LEASE = {
    "db_plugins_mongo.migrations.locks.LEASE_SECONDS": 1.5,
    "db_plugins_mongo.migrations.locks.RENEW_SECONDS": 0.2,
}
_GIVEN = ("--allow-drop", "--json")


@dataclass(frozen=True)
class Point:
    """The n-th place of a kind; of system calls also which."""

    kind: Kind
    direction: Direction
    at: int
    syscall: str = ""

    def __str__(self) -> str:
        return f"{self.direction}, {self.kind} {self.syscall}{' ' if self.syscall else ''}{self.at}"


@dataclass
class Tally:
    """What became of the points: one row of the table."""

    engine: str
    mode: str
    kind: str
    endings: Counter[str] = field(default_factory=Counter)
    stuck: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def points(self) -> int:
        """How many were tried."""
        return self.endings.total() + len(self.stuck)


class Sweep:
    """The points of one project, and what becomes of each."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.constants = _SHORT_LEASE if project.is_mongodb else {}
        self._run = project.children.run
        self._tried = 1

    # -- where --------------------------------------------------------------------------------------------------------

    def points(self, kind: Kind, direction: Direction) -> list[Point]:
        """All of them, counted in a run that nothing befalls."""
        entry = self._start(direction)
        try:
            if kind == "syscalls":
                return [
                    Point(kind, direction, at, name)
                    for name, number in self._count_syscalls(direction, entry).items()
                    for at in range(1, number + 1)
                ]
            note = self.project.folder / "count.txt"
            note.unlink(missing_ok=True)
            order = self.project.order(
                self._arguments(direction), entry, disturbance=(kind, "count", 0, str(note))
            )
            code = self._run(order)
            assert code == 0, order.output.read_text()
            return [Point(kind, direction, at) for at in range(1, int(note.read_text()) + 1)]
        finally:
            self.project.databases.drop(entry)

    def _count_syscalls(self, direction: Direction, entry: Mapping[str, Any]) -> dict[str, int]:
        trace = self.project.folder / "strace.txt"
        code = self._traced(direction, entry, ["-o", str(trace), "-e", f"trace={','.join(_SYSCALLS)}"])
        assert code == 0, f"dbp under strace ended with {code}"
        # strace counts for each thread and each system call apart.
        numbers = Counter(_TRACED.findall(trace.read_text()))
        most: dict[str, int] = {}
        for (_thread, name), number in numbers.items():
            most[name] = max(number, most.get(name, 0))
        return most

    # -- one ----------------------------------------------------------------------------------------------------------

    def try_point(self, point: Point) -> str:
        """How it ended; raises AssertionError, with what is wrong, for a database that is stuck."""
        entry = self._start(point.direction)
        try:
            first = self._disturb(point, entry)
            ending = self._again(point.direction, entry)
            self._compare(point.direction, entry)
            is_like_any = ending == "clean" and not self.project.databases.has_old_notes(entry)
            if not is_like_any or self._tried % _GO_ON == 0:
                self._go_on(point.direction, entry)
            self._tried += 1
            return ending if first else "not reached"
        finally:
            self.project.databases.drop(entry)

    def try_points(
        self, points: Sequence[Point], tally: Tally, say: Callable[[str], None] = lambda _text: None
    ) -> None:
        """All of these, counted. What is stuck is said at once."""
        began = time.monotonic()
        for point in points:
            try:
                tally.endings[self.try_point(point)] += 1
            except (AssertionError, TimedOut) as error:
                tally.stuck.append(f"{point}: {error}")
                say(tally.stuck[-1])
        tally.seconds += time.monotonic() - began

    def _disturb(self, point: Point, entry: Mapping[str, Any]) -> bool:
        """Whether it befell the run: a run may have fewer places than the one that was counted."""
        if point.kind == "syscalls":
            inject = f"inject={point.syscall}:signal=KILL:when={point.at}"
            code = self._traced(
                point.direction, entry, ["-o", "/dev/null", "-e", f"trace={point.syscall}", "-e", inject]
            )
            assert code in (0, -9), f"the run that was to be killed ended with {code}"
            return code == -9
        order = self.project.order(
            self._arguments(point.direction),
            entry,
            disturbance=(point.kind, "kill", point.at, ""),
            constants=self.constants,
        )
        code = self._run(order)
        wanted = 1 if point.kind == "lines" else KILLED
        assert code in (0, wanted), (
            f"the run that was disturbed ended with {code}: {order.output.read_text()}"
        )
        return code == wanted

    def _again(self, direction: Direction, entry: Mapping[str, Any]) -> str:
        order = self.project.order(self._arguments(direction), entry)
        code = self._run(order)
        if code == 0:
            return "clean"
        found = _answer(order.output)
        assert found.get("type") == "DirtyMigrationError", f"run again: {found}"
        said = str(found["error"])
        assert re.search(r"step \d+ \(", said), f"it does not name the step: {said}"
        done = self.project.should_be_marked_done(entry, said, is_upgrade=direction == "migrate")
        target = "head" if direction == "migrate" else "initial"
        settle = self.project.order(
            ["migrate", target, *_GIVEN, "--mark-done" if done else "--resume"], entry
        )
        code = self._run(settle)
        assert code == 0, f"{said}; then settled: {_answer(settle.output)}"
        return "marked done" if done else "resumed"

    def _compare(self, direction: Direction, entry: Mapping[str, Any]) -> None:
        wrong = differences(self.wanted[direction], look(entry))
        assert not wrong, "; ".join(wrong)
        left = self.project.databases.leftovers(entry)
        assert not left, f"left over: {', '.join(left)}"

    def _go_on(self, direction: Direction, entry: Mapping[str, Any]) -> None:
        """The database is as good as any other: it agrees with the models, and goes back and forth."""
        ways: dict[Direction, list[list[str]]] = {
            "migrate": [["check", "--json"], ["downgrade", *_GIVEN], ["migrate", *_GIVEN]],
            "downgrade": [["migrate", *_GIVEN], ["check", "--json"]],
        }
        for arguments in ways[direction]:
            order = self.project.order(arguments, entry)
            code = self._run(order)
            assert code == 0, f"{arguments[0]} afterwards ended with {code}: {order.output.read_text()}"

    # -- runs -----------------------------------------------------------------------------------------------------------

    def _start(self, direction: Direction) -> Mapping[str, Any]:
        return self.project.databases.copy("initial" if direction == "migrate" else "head")

    def _arguments(self, direction: Direction) -> list[str]:
        return [direction, *(["initial"] if direction == "downgrade" else []), *_GIVEN]

    def _traced(self, direction: Direction, entry: Mapping[str, Any], options: Sequence[str]) -> int:
        child = self.project.children.start(
            self.project.order(self._arguments(direction), entry, is_traced=True, constants=self.constants)
        )
        strace = subprocess.Popen(
            ["strace", "-f", "-qq", *options, "-p", str(child)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            return self.project.children.wait(child)
        finally:
            strace.communicate(timeout=20)

    @cached_property
    def wanted(self) -> dict[Direction, dict[str, Any]]:
        """The databases after runs that nothing befalls."""
        found = {}
        for direction in DIRECTIONS:
            entry = self._start(direction)
            order = self.project.order(self._arguments(direction), entry)
            code = self._run(order)
            assert code == 0, order.output.read_text()
            assert len(_answer(order.output)["applied"]) == REVISIONS, order.output.read_text()
            found[direction] = look(entry)
            self.project.databases.drop(entry)
        return found


def spread(points: Sequence[Point], *, every: int = 1, most: int | None = None) -> list[Point]:
    """Every so manieth, and at most so many, spread evenly with the first and the last among them."""
    chosen = list(points[::every])
    if most is None or len(chosen) <= most:
        return chosen
    if most == 1:
        return chosen[:1]
    return [chosen[round(i * (len(chosen) - 1) / (most - 1))] for i in range(most)]


def strace_missing() -> str | None:
    """Why system calls cannot be injected here, or None."""
    if shutil.which("strace") is None:
        return "there is no strace"
    with tempfile.TemporaryDirectory() as folder:
        # The child waits until it is traced, as the sweep's do.
        wait = "while grep -q '^TracerPid:.0$' /proc/self/status; do :; done; echo > file; echo > other"
        child = subprocess.Popen(["sh", "-c", wait.replace("self", "$$")], cwd=folder)
        strace = subprocess.run(
            ["strace", "-qq", "-e", "inject=write:signal=KILL:when=2", "-p", str(child.pid)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        if strace.returncode and child.poll() is None:
            child.kill()
        code = child.wait()
        files = [each.name for each in Path(folder).iterdir()]
        if code != -9 or "file" not in files:
            return f"strace cannot inject signals here: {strace.stderr.strip() or f'its child ended with {code}'}"
    return None


def _answer(output: Path) -> dict[str, Any]:
    """What --json printed of the one entry, or that it printed none."""
    text = output.read_text()
    try:
        found = json.loads(text[text.index("{") :])
    except ValueError:
        return {"error": text}
    entries: Iterator[dict[str, Any]] = iter(found.get("entries") or ())
    return next(entries, found)
