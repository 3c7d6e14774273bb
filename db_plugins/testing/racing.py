"""One process of several that write the same rows at the same moment: what the kit starts, and the model they share.

    python -m db_plugins.testing.racing    reads {"entry": …, "number": 3} from standard input, says that it is ready,
                                           waits for one more line, writes, and prints what it did

It imports no pytest and nothing of the kit, so that eight of them start in a second or two.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from .. import connect

__all__ = ["COUNTED", "KEYS", "Racer", "race", "say"]

#: The names that all processes want, how many of them each counts, and how many rows it stores beside them at once.
KEYS = [f"k{n}" for n in range(20)]
COUNTED = 5
OWN = 10


class Base(DeclarativeBase):
    pass


class Racer(Base):
    """A numbered key, a unique name, a counter, and who made it."""

    __tablename__ = "kit_racer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40), unique=True)
    n: Mapped[int] = mapped_column(default=0)
    who: Mapped[str | None] = mapped_column(sa.String(20))


def race(
    entry: Mapping[str, Any], processes: int, module: str = "db_plugins.testing.racing", **more: Any
) -> list[dict[str, Any]]:
    """What each of so many processes did. Of this module: ``made`` and ``seen`` of ``KEYS``, the ``numbers`` of its own
    rows, its ``error``. Another module that is run speaks the same protocol, and is told ``more``."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", module]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
        for _ in range(processes)
    ]
    try:
        for number, process in enumerate(started):
            _tell(process, json.dumps({"entry": dict(entry), "number": number, **more}, default=str))
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()
        for process in started:
            _tell(process, "go")
        return [json.loads(process.communicate(timeout=90)[0]) for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _work(entry: Mapping[str, Any], number: int) -> dict[str, Any]:
    done: dict[str, Any] = {"made": [], "seen": {}, "numbers": [], "error": None}
    with connect(entry, models=[Racer]) as db:
        query = db.query(Racer)
        query.count()
        say("ready")
        sys.stdin.readline()
        try:
            for at in range(len(KEYS)):
                name = KEYS[(at + number * 3) % len(KEYS)]
                racer, is_new = query.get_or_create({"name": name}, who=str(number))
                done["seen"][name] = [racer.id, racer.who]
                if is_new:
                    done["made"].append(name)
                done["numbers"].append(query.insert({"name": f"{number}-{at}"}).id)
            for name in KEYS[:COUNTED]:
                counted = [{"name": KEYS[0]}, {"name": name}]
                query.bulk_insert(counted, on_conflict="update", key="name", update={"n": Racer.n + 1})
            rows = [{"name": f"{number}+{at}"} for at in range(OWN)]
            done["numbers"].extend(query.bulk_insert(rows, return_keys=True).keys)
        except Exception as error:
            done["error"] = f"{type(error).__name__}: {error}"
    return done


def say(words: str) -> None:
    """Write a line to the one who started this process."""
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    say(json.dumps(_work(**json.loads(sys.stdin.readline()))))
