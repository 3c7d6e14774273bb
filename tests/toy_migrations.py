"""A toy engine with migrations: MemoryEngine and, for each DB_NAME, a dict of columns that revisions change.

    {"ENGINE": "toy", "DB_NAME": "a"}                                  all or nothing: a snapshot is put back
    {"ENGINE": "toy", "DB_NAME": "a", "OPTIONS": {"journal": True}}    each operation is lasting, and a journal tells how far it came

It is also the proof that the seam can be said in few lines.
"""

from __future__ import annotations

import copy
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db_plugins.config import Settings
from db_plugins.engine import Capability, Engine
from db_plugins.errors import DestructiveChangeError, MigrationLockedError
from db_plugins.hookspecs import hookimpl
from db_plugins.migrations import (
    Change,
    Difference,
    Holder,
    Interrupted,
    LockRequest,
    Migration,
    Rename,
    Step,
    SupportsMigrations,
    Wanted,
)
from db_plugins.migrations.reading import calls
from db_plugins.migrations.seam import Settling
from db_plugins.testing.memory import MemoryConnection, MemoryEngine


@dataclass
class Toy:
    """A database: its columns by table, its rows, where it is, who holds its lock."""

    columns: dict[str, list[str]] = field(default_factory=dict)
    rows: dict[str, Any] = field(default_factory=dict)
    heads: tuple[str, ...] = ()
    #: Tables of which a column is said to hold values.
    filled: set[str] = field(default_factory=set)
    #: Operations that fail, as the journal names them.
    fails: set[str] = field(default_factory=set)
    journal: list[str] = field(default_factory=list)
    running: Interrupted | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    holder: Holder | None = None


#: The databases, by DB_NAME. A test clears it.
TOYS: defaultdict[str, Toy] = defaultdict(Toy)
#: What the run in progress prepared for ``op``.
_NOW: list[_Migration] = []


class _Op:
    """What revisions call. Each is one operation of the journal."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments: _NOW[-1].operate(name, *arguments)


op = _Op()


def _apply(columns: dict[str, list[str]], name: str, *given: Any) -> None:
    table = given[0]
    if name == "create_table":
        columns.setdefault(table, list(given[1]))
    elif name == "drop_table":
        columns.pop(table, None)
    elif name == "rename_table":
        columns[given[1]] = columns.pop(table)
    elif name == "add_column":
        columns[table] = [*columns[table], given[1]]
    elif name == "drop_column":
        columns[table] = [each for each in columns[table] if each != given[1]]
    elif name == "rename_column":
        columns[table] = [given[2] if each == given[1] else each for each in columns[table]]
    else:
        raise ValueError(f"no operation {name}")


class _Migration(Migration):
    """Runs steps on a Toy."""

    def __init__(self, toy: Toy, *, is_atomic: bool) -> None:
        self.toy = toy
        self.is_atomic = is_atomic
        self.step: Step | None = None
        self.count = 0
        self.settling: Settling | None = None

    def heads(self) -> tuple[str, ...]:
        return self.toy.heads

    def run(self, step: Step, *, allow_drop: bool, settling: Settling | None = None) -> None:
        for each in calls(step.path, "upgrade" if step.is_upgrade else "downgrade"):
            if (
                each.name.startswith("drop_")
                and each.argument(0, "table") in self.toy.filled
                and not allow_drop
            ):
                raise DestructiveChangeError(
                    f"{each.arguments[0]} holds values", hint="--allow-drop gives them up"
                )
        self.step, self.count, self.settling = step, 0, settling
        if not self.toy.running:
            self.toy.journal.clear()
        _NOW.append(self)
        try:
            step.run()
        finally:
            _NOW.pop()
        self.toy.running = None
        self.toy.heads = step.after

    def operate(self, name: str, *given: Any) -> None:
        """One operation, unless an earlier run has done it."""
        assert self.step is not None
        self.count += 1
        if self.count <= len(self.toy.journal):
            return
        text = " ".join([name, *map(str, given)])
        if self.toy.running is not None and self.settling == "mark-done":
            self.toy.running = None
            self.toy.journal.append(text)
            return
        if not self.is_atomic:
            self.toy.running = Interrupted(
                self.step.revision, self.step.is_upgrade, self.count, text, is_clean=False
            )
        if text in self.toy.fails:
            raise OSError("the toy is broken")
        _apply(self.toy.columns, name, *given)
        if not self.is_atomic:
            self.toy.journal.append(text)
            self.toy.running = Interrupted(
                self.step.revision, self.step.is_upgrade, self.count + 1, "what follows", is_clean=True
            )

    def stamp(self, heads: Sequence[str]) -> None:
        self.toy.heads = tuple(heads)
        self.toy.running = None

    def interrupted(self) -> Interrupted | None:
        return self.toy.running


class _Connection(MemoryConnection, SupportsMigrations):
    """MemoryConnection, whose tables are those of a Toy."""

    imports = ("from toy_migrations import op",)

    def __init__(self, engine: MemoryEngine, settings: Settings) -> None:
        self.toy = TOYS[settings.database or ""]
        super().__init__(engine, self.toy.rows)
        self.is_atomic = not (settings.options or {}).get("journal")

    def create(self, models: Any, links: Any) -> None:
        for each in models:
            self.toy.columns.setdefault(each.store, [f.column for f in each.fields])

    def existing(self) -> set[str]:
        return set(self.toy.columns)

    def difference(self, wanted: Wanted) -> Difference:
        there = {} if wanted.from_nothing else copy.deepcopy(self.toy.columns)
        owned = {
            c.arguments[0]
            for path in wanted.history
            for c in calls(path, "upgrade")
            if c.name == "create_table"
        }
        models = {each.store: [f.column for f in each.fields] for each in wanted.models}
        changes: list[Change] = []
        maybe: list[Rename] = []
        for each in wanted.renames:
            table = each.table
            given = (table, each.old, each.new) if table else (each.old, each.new)
            back = (table, each.new, each.old) if table else (each.new, each.old)
            name = "rename_column" if table else "rename_table"
            _apply(there, name, *given)
            changes.append(_change(f"{name} {' '.join(map(str, given))}", (name, *given), (name, *back)))
        for table, columns in models.items():
            if table not in there:
                changes.append(
                    _change(
                        f"create table {table}",
                        ("create_table", table, columns),
                        ("drop_table", table),
                        makes_table=True,
                    )
                )
                continue
            added = [each for each in columns if each not in there[table]]
            gone = [each for each in there[table] if each not in columns]
            maybe += [Rename(old, new, table) for old, new in zip(gone, added, strict=False)]
            changes += [
                _change(
                    f"add column {table}.{each}", ("add_column", table, each), ("drop_column", table, each)
                )
                for each in added
            ]
            changes += [
                _change(
                    f"drop column {table}.{each}",
                    ("drop_column", table, each),
                    ("add_column", table, each),
                    drops=(f"drop column {table}.{each}",),
                )
                for each in gone
            ]
        for table in owned & set(there) - set(models):
            changes.append(
                _change(
                    f"drop table {table}",
                    ("drop_table", table),
                    ("create_table", table, there[table]),
                    drops=(f"drop table {table}",),
                )
            )
        return Difference(tuple(changes), tuple(maybe))

    def heads(self) -> tuple[str, ...]:
        return self.toy.heads

    @contextmanager
    def migrating(self, lock: LockRequest) -> Iterator[Migration]:
        toy = self.toy
        if not toy.lock.acquire(blocking=False):
            lock.waiting(toy.holder)
            if not toy.lock.acquire(timeout=-1 if lock.timeout is None else lock.timeout):
                raise MigrationLockedError(f"another migration runs: {toy.holder}", hint="wait for it")
        toy.holder = lock.holder
        before = (copy.deepcopy(toy.columns), toy.heads)
        try:
            yield _Migration(toy, is_atomic=self.is_atomic)
        except BaseException:
            if self.is_atomic:
                toy.columns, toy.heads = before
            raise
        finally:
            toy.holder = None
            toy.lock.release()

    def statements(self, steps: Sequence[Step]) -> str:
        return "\n".join(
            f"{each.name}: {call.name}{call.arguments}"
            for each in steps
            for call in calls(each.path, "upgrade" if each.is_upgrade else "downgrade")
        )


def _change(text: str, up: tuple[Any, ...], down: tuple[Any, ...], **more: Any) -> Change:
    return Change(text, _source(*up), _source(*down), **more)


def _source(name: str, *given: Any) -> str:
    return f"op.{name}({', '.join(map(repr, given))})"


class ToyEngine(MemoryEngine):
    """MemoryEngine with migrations."""

    name = "toy"
    capabilities = MemoryEngine.capabilities | {Capability.MIGRATIONS}

    def connect(self, settings: Settings) -> _Connection:
        return _Connection(self, settings)


@hookimpl
def dbp_register_engine() -> type[Engine]:
    """Answers to ``ENGINE: "toy"``."""
    return ToyEngine


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """The toy as an installer would leave it: a distribution on ``sys.path``, with nothing but metadata."""
    info = folder / "a_toy-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: a-toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[db_plugins]\ntoy = toy_migrations\n")
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
