"""A user's project, made with ``dbp`` itself: an ``initial`` revision with rows, and three more to come.

The models are one text with marks of the stage at which a line is there. ``make_migrations`` writes each revision; the
second gets data migrations by hand, which are wrong when they are done twice, and the third a view.

| revision | SQL and MongoDB alike                                                                               |
|----------|-----------------------------------------------------------------------------------------------------|
| first    | a column with a default for the rows that are there, one that may be NULL and has an index, a table |
| second   | n + 1, a unique key, a member of an enum, n + 10                                                    |
| third    | a column and a table renamed; a column and a table with values dropped; SQL: a view                 |
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crash_sweep.children import ENTRY, Children, Order
from crash_sweep.databases import Databases, MongoDB
from crash_sweep.looking import look

__all__ = ["REVISIONS", "Project", "ProjectError"]

_SETTINGS = f"""\
import json
import os

DB_CONFIG = {{"STARS": json.loads(os.environ["{ENTRY}"])}}
MODELS = ["models"]
"""

_MODELS = """\
from sqlalchemy import Enum, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

KINDS = ["dwarf", "giant"]  # until 1
KINDS = ["dwarf", "giant", "supergiant"]  # from 2


class Base(DeclarativeBase):
    pass


class Star(Base):
    __tablename__ = "stars"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    kind: Mapped[str] = mapped_column(Enum(*KINDS, name="star_kind"))
    n: Mapped[int]
    title: Mapped[str | None] = mapped_column(String(40))  # until 2
    label: Mapped[str | None] = mapped_column(String(40))  # from 3
    legacy: Mapped[str | None] = mapped_column(String(40))  # until 2
    score: Mapped[int] = mapped_column(default=10)  # from 1
    mag: Mapped[float | None] = mapped_column(index=True)  # from 1


class Planet(Base):
    __tablename__ = "planets"
    __table_args__ = (UniqueConstraint("star_id", "name"),)  # from 2

    id: Mapped[int] = mapped_column(primary_key=True)
    star_id: Mapped[int] = mapped_column(ForeignKey("stars.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(40))


class Note(Base):
    __tablename__ = "notes"  # until 2
    __tablename__ = "remarks"  # from 3

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(40))


class Relic(Base):  # until 2
    __tablename__ = "relics"  # until 2

    id: Mapped[int] = mapped_column(primary_key=True)  # until 2
    text: Mapped[str] = mapped_column(String(40))  # until 2


class Moon(Base):  # from 1
    __tablename__ = "moons"  # from 1

    id: Mapped[int] = mapped_column(primary_key=True)  # from 1
    planet_id: Mapped[int] = mapped_column(ForeignKey("planets.id", ondelete="CASCADE"))  # from 1
    name: Mapped[str] = mapped_column(String(40))  # from 1
"""

#: What ``n`` is before the second revision, between its two data migrations, and after them.
N_BEFORE, N_BETWEEN, N_AFTER = 5, 6, 16

_ROWS: dict[str, list[dict[str, Any]]] = {
    "stars": [
        {"id": i, "name": f"star {i}", "kind": kind, "n": N_BEFORE, "title": f"title {i}", "legacy": "old"}
        for i, kind in enumerate(("dwarf", "giant", "dwarf"), 1)
    ],
    "planets": [{"id": i, "star_id": i % 3 + 1, "name": f"planet {i}"} for i in range(1, 7)],
    "notes": [{"id": 1, "text": "keep me"}],
    "relics": [{"id": 1, "text": "drop me"}],
}

_STAGES: tuple[tuple[str, ...], ...] = (
    ("-m", "shields"),
    ("-m", "counting"),
    ("-m", "names", "--rename", "stars.title:label", "--rename", "notes:remarks"),
)


#: How many there are to come.
REVISIONS = len(_STAGES)


class _Edit:
    """Lines written into a revision by hand: at the beginning and the end of ``upgrade()``, undone in ``downgrade()``."""

    def __init__(self, first: Sequence[str] = (), last: Sequence[str] = ()) -> None:
        self.first = first
        self.last = last


def _sql(*statements: str) -> tuple[str, ...]:
    return tuple(f"op.execute({text!r})" for text in statements)


def _increment(by: int) -> str:
    return f'op.update("stars", {{}}, {{"$inc": {{"n": {by}}}}})'


#: Pairs of (there, back).
_EDITS: dict[bool, dict[str, _Edit]] = {
    False: {
        "counting": _Edit(
            _sql("UPDATE stars SET n = n + 1", "UPDATE stars SET n = n - 1"),
            _sql("UPDATE stars SET n = n + 10", "UPDATE stars SET n = n - 10"),
        ),
        "names": _Edit(last=_sql("CREATE VIEW bright AS SELECT id, n FROM stars", "DROP VIEW bright")),
    },
    True: {"counting": _Edit((_increment(1), _increment(-1)), (_increment(10), _increment(-10)))},
}

_STEP = re.compile(r", step (\d+) \((.*)\)", re.S)


class ProjectError(Exception):
    """``dbp`` could not make the project."""


class Project:
    """The folder; ``databases`` has its database as it was at ``initial``, with rows, and at ``head``."""

    def __init__(self, folder: Path, databases: Databases, children: Children) -> None:
        self.folder = folder
        self.databases = databases
        self.children = children
        self.is_mongodb = isinstance(databases, MongoDB)
        folder.mkdir(parents=True)
        (folder / "settings.py").write_text(_SETTINGS)
        entry = databases.empty()
        self._write_models(0)
        self._dbp(["initdb"], entry)
        self._insert(entry)
        databases.keep(entry, "initial")
        for stage, arguments in enumerate(_STAGES, 1):
            self._write_models(stage)
            self._dbp(["make_migrations", *arguments], entry)
            self._edit(arguments[1])
            self._dbp(["migrate", "--allow-drop"], entry)
        self._dbp(["check"], entry)
        databases.keep(entry, "head")

    def order(self, arguments: Sequence[str], entry: Mapping[str, Any], **more: Any) -> Order:
        """What a child is to do; it prints to a file of its own."""
        return Order(list(arguments), self.folder, entry, self._output(), **more)

    _outputs = 0

    def _output(self) -> Path:
        self._outputs += 1
        return self.folder / f"output-{self._outputs}.txt"

    def should_be_marked_done(self, entry: Mapping[str, Any], said: str, *, is_upgrade: bool) -> bool:
        """What a person would look at who is asked whether a step was done; if not it is to be done again."""
        found = look(entry)
        step = _STEP.search(said)
        position, text = (int(step[1]), step[2]) if step else (0, said)
        if "VIEW" in text.upper():
            return ("bright" in found) == ("CREATE" in text.upper())
        if self.is_mongodb and "update" in text.lower():
            numbers = {int(n) for row in found["stars"]["rows"] for n in re.findall(r"'n', (\d+)", row)}
            after = N_AFTER if is_upgrade else N_BEFORE
            return numbers == {after} or (numbers == {N_BETWEEN} and position == 1)
        return False

    # -- making it -----------------------------------------------------------------------------------------------------

    def _write_models(self, stage: int) -> None:
        lines = [
            line.partition("  # ")[0]
            for line in _MODELS.splitlines()
            if _is_there(line.partition("  # ")[2], stage)
        ]
        (self.folder / "models.py").write_text("\n".join(lines) + "\n")

    def _dbp(self, arguments: Sequence[str], entry: Mapping[str, Any]) -> None:
        order = self.order(arguments, entry)
        if code := self.children.run(order):
            raise ProjectError(f"dbp {' '.join(arguments)} ended with {code}:\n{order.output.read_text()}")

    def _insert(self, entry: Mapping[str, Any]) -> None:
        if isinstance(self.databases, MongoDB):
            self.databases.insert(
                entry,
                {
                    name: [{"_id": row["id"], **{k: v for k, v in row.items() if k != "id"}} for row in rows]
                    for name, rows in _ROWS.items()
                },
            )
        else:
            self.databases.write(
                entry,
                *(
                    f"INSERT INTO {name} ({', '.join(row)}) VALUES ({', '.join(map(_literal, row.values()))})"
                    for name, rows in _ROWS.items()
                    for row in rows
                ),
            )

    def _edit(self, message: str) -> None:
        edit = _EDITS[self.is_mongodb].get(message)
        if edit is None:
            return
        [file] = (self.folder / "migrations" / "STARS" / "versions").glob(f"*_{message}.py")
        text = file.read_text()
        text = _with_lines(text, "upgrade", edit.first[:1], edit.last[:1])
        file.write_text(_with_lines(text, "downgrade", edit.last[1:], edit.first[1:]))


def _is_there(mark: str, stage: int) -> bool:
    word, _space, number = mark.partition(" ")
    return {"": True, "from": stage >= int(number or 0), "until": stage <= int(number or 0)}[word]


def _literal(value: Any) -> str:
    return json.dumps(value) if isinstance(value, int) else f"'{value}'"


def _with_lines(source: str, function: str, first: Sequence[str], last: Sequence[str]) -> str:
    """The source with these lines at the beginning and the end of the function."""
    [found] = [
        each for each in ast.parse(source).body if isinstance(each, ast.FunctionDef) and each.name == function
    ]
    lines = source.split("\n")
    end = found.end_lineno or 0
    lines[end:end] = [f"    {each}" for each in last]
    start = found.body[0].lineno - 1
    lines[start:start] = [f"    {each}" for each in first]
    return "\n".join(lines)
