"""``dbp copy`` and ``dbp load`` are killed at random moments and gone on with by ``--resume``, until the two sides are the same.

    python tools/transfer_kills.py --kills 50 --seed 1 sqlite:postgresql mariadb:mongodb load:sqlite

``Kennel`` is a process that has the program loaded and forks for each run, so that a kill meets the transfer and not the
imports. Ends with 1 if a run failed by itself, or if rows are doubled, lost or changed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import db_plugins
from db_plugins import transfer

__all__ = ["Kennel", "Killed", "Sweep", "main"]

ROWS = 400
BATCH = "20"
#: What the program says when it can go on, and how many seconds it is believed: MongoDB ends a transaction after 60.
HINT = "--resume goes on"
PATIENCE = 150.0
#: What it says of a load that was killed after its end, when its note was gone already.
ENDED = "it may be complete"


class Base(DeclarativeBase):
    pass


class Node(Base):
    """A tree: its keys come later."""

    __tablename__ = "nodes"
    id: Mapped[int] = mapped_column(primary_key=True)
    on_id: Mapped[int | None] = mapped_column(sa.ForeignKey("nodes.id"))
    about: Mapped[Any | None] = mapped_column(sa.JSON)


class Leaf(Base):
    __tablename__ = "leaves"
    code: Mapped[str] = mapped_column(sa.String(10), primary_key=True)
    node_id: Mapped[int] = mapped_column(sa.ForeignKey("nodes.id"))


class Line(Base):
    """Of a file, without keys: numbered when it is stored."""

    __tablename__ = "lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(sa.String(20))


#: What the kennel's process does: a line of JSON in is a run, a line out is how it ended.
DOG = """
import json, os, signal, sys, time
from db_plugins.cli import main
import db_plugins, pyarrow.csv, sqlalchemy
import db_plugins.transfer.copying, db_plugins.transfer.loading, db_plugins.transfer.dumping
for engine in ("sqlite", "postgresql", "mariadb", "mongodb"):
    db_plugins.registry.load_engine(engine)
import psycopg, pymysql, pymongo
print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if not child:
        os.setsid()
        out = os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(asked["folder"])
        sys.argv = ["dbp", *asked["words"]]
        try:
            sys.exit(main())
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
        except BaseException:
            import traceback
            traceback.print_exc()
            code = 99
        sys.stdout.flush()
        os._exit(code)
    status, ended = 0, 0
    if asked["kill_after"] is not None:
        deadline = time.monotonic() + asked["kill_after"]
        while time.monotonic() < deadline and not ended:
            time.sleep(0.0005)
            ended, status = os.waitpid(child, os.WNOHANG)
        if not ended:
            os.kill(child, signal.SIGKILL)  # nobody else waits for it: the number is still its own
    if not ended:
        _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@dataclass
class Killed:
    """What came of a sweep."""

    name: str
    kills: int = 0
    transfers: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        faults = f"{len(self.faults)} faults" if self.faults else "no fault"
        return (
            f"{self.name}: {self.kills} kills in {self.transfers} transfers, {faults}, {self.seconds:.1f} s"
        )


class Kennel:
    """Runs ``dbp`` in a folder, each time in a process of its own, and kills it when its time has come."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._dog = subprocess.Popen(
            [sys.executable, "-c", DOG],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert self._told() == "ready"

    def run(self, *words: str, kill_after: float | None = None) -> tuple[int, str]:
        """Its exit code (below 0: the signal), and what it wrote."""
        output = self.folder / "output.txt"
        asked = {
            "words": words,
            "folder": str(self.folder),
            "output": str(output),
            "kill_after": kill_after,
        }
        assert self._dog.stdin is not None
        self._dog.stdin.write(json.dumps(asked) + "\n")
        self._dog.stdin.flush()
        code = int(self._told())
        return code, output.read_text(errors="replace")

    def _told(self) -> str:
        assert self._dog.stdout is not None
        return self._dog.stdout.readline().strip()

    def close(self) -> None:
        assert self._dog.stdin is not None
        self._dog.stdin.close()
        self._dog.wait(10)
        assert self._dog.stdout is not None
        self._dog.stdout.close()


class Sweep:
    """Kills of one command on fresh databases. ``entry`` makes an entry of DB_CONFIG for a new database of an engine."""

    def __init__(self, folder: Path, entry: Callable[[str], Mapping[str, Any]], seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.entry = entry
        self.random = random.Random(seed)

    def copy(self, source: str, target: str, kills: int) -> Killed:
        """``dbp copy`` from one engine to another, killed so often."""
        done = Killed(f"copy {source} to {target}")
        with self._settings(a=source, b=target):
            self._fill()
            words = ["copy", "a", "b", "--batch-size", BATCH, "--quiet"]
            self._sweep(done, words, kills, self._is_copied)
        return done

    def load(self, engine: str, kills: int) -> Killed:
        """``dbp load`` of lines without keys."""
        done = Killed(f"load into {engine}")
        text = "".join(f"line {n}\n" for n in range(ROWS * 2))
        (self.folder / "lines.csv").write_text("text\n" + text)
        with self._settings(b=engine):
            words = ["--database", "b", "load", "lines.csv", "Line", "--batch-size", BATCH, "--quiet"]
            words = [*words[2:], *words[:2]]
            self._sweep(done, words, kills, self._is_loaded)
        return done

    def _sweep(self, done: Killed, words: Sequence[str], kills: int, fault: Callable[[], str | None]) -> None:
        kennel = Kennel(self.folder)
        began = time.monotonic()
        try:
            self._empty()
            started = time.monotonic()
            code, output = kennel.run(*words)
            whole = time.monotonic() - started
            if code:
                done.faults.append(f"unkilled: exit {code}: {output}")
            while done.kills < kills and not done.faults:
                self._empty()
                self._one(done, kennel, words, kills, whole)
                if found := fault():
                    done.faults.append(found)
        finally:
            kennel.close()
        done.seconds = time.monotonic() - began

    def _one(self, done: Killed, kennel: Kennel, words: Sequence[str], kills: int, whole: float) -> None:
        """One transfer to its end, killed again and again."""
        done.transfers += 1
        again: list[str] = []
        deadline = time.monotonic() + PATIENCE
        while True:
            delay = self.random.uniform(0, whole * 1.2) if done.kills < kills else None
            code, output = kennel.run(*words, *again, kill_after=delay)
            if code == 0 or (code == 1 and ENDED in output):
                return
            if code == 1 and HINT in output and time.monotonic() < deadline:
                time.sleep(
                    1
                )  # a server may take its time to give up the transaction of a client that is dead
            elif code != -signal.SIGKILL:
                done.faults.append(f"exit {code} after {done.kills} kills: {output}")
                return
            else:
                done.kills += 1
            again = ["--resume"] if self._began(words) else []

    def _began(self, words: Sequence[str]) -> bool:
        """Of a load that was killed before it noted anything there is nothing to resume, and nothing stored."""
        if words[0] == "copy":
            return True
        with self._opened("b") as db:
            return db.query(Line).exists() or "dbp_transfers" in db._connected().existing()

    # -- the databases ---------------------------------------------------------------------------------------------

    @contextmanager
    def _settings(self, **engines: str) -> Iterator[None]:
        self.config = {name: dict(self.entry(engine)) for name, engine in engines.items()}
        (self.folder / "settings.py").write_text(
            f"DB_CONFIG = {self.config!r}\nMODELS = ['transfer_kills']\n"
        )
        yield

    @contextmanager
    def _opened(self, name: str) -> Iterator[Any]:
        with db_plugins.connect(self.config[name], models=[Node, Leaf, Line]) as db:
            yield db

    def _fill(self) -> None:
        with self._opened("a") as db:
            db.create_all()
            numbers = range(1, ROWS + 1)
            node, leaf = db.query(Node), db.query(Leaf)
            node.bulk_insert({"id": n, "about": {"n": n}} for n in numbers)
            node.bulk_update([{"id": n, "on_id": ROWS + 1 - n} for n in numbers if n % 2])
            leaf.bulk_insert({"code": f"c{n}", "node_id": n} for n in numbers)

    def _empty(self) -> None:
        with self._opened("b") as db:
            db.drop_all(force=True)
            db.create_all()

    def _is_copied(self) -> str | None:
        with self._opened("a") as one, self._opened("b") as other:
            try:
                transfer.verify(one, other)
            except Exception as error:
                return f"{type(error).__name__}: {error}"
            return _leftover(other)

    def _is_loaded(self) -> str | None:
        with self._opened("b") as db:
            found = [row["text"] for row in db.query(Line).order_by("id").to_dicts()]
            wanted = [f"line {n}" for n in range(ROWS * 2)]
            if found != wanted:
                doubled, lost = len(found) - len(set(found)), len(set(wanted) - set(found))
                return f"{len(found)} lines of {len(wanted)}: {doubled} doubled, {lost} lost"
            return _leftover(db)


def _leftover(db: Any) -> str | None:
    return "the journal is still there" if "dbp_transfers" in db._connected().existing() else None


# -- the program -------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="transfer_kills", description="Kill transfers at random moments.")
    parser.add_argument("pairs", nargs="+", help="FROM:TO, or load:ENGINE")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    faults = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dbp-kills-")))
        folder.chmod(0o711)
        entry = _entries(folder, stack)
        for pair in given.pairs:
            source, target = pair.split(":")
            sweep = Sweep(folder / pair.replace(":", "-"), entry, given.seed)
            done = (
                sweep.load(target, given.kills)
                if source == "load"
                else sweep.copy(source, target, given.kills)
            )
            print(done, *done.faults, sep="\n  ", flush=True)
            faults += len(done.faults)
    return 1 if faults else 0


def _entries(folder: Path, stack: ExitStack) -> Callable[[str], Mapping[str, Any]]:
    """Servers are started when first asked for."""
    from servers import KINDS

    servers: dict[str, Any] = {}
    count = iter(range(1000))

    def entry(engine: str) -> Mapping[str, Any]:
        if engine == "sqlite":
            return {"ENGINE": "sqlite", "DB_NAME": str(folder / f"{next(count)}.db")}
        if engine not in servers:
            servers[engine] = stack.enter_context(KINDS[engine](folder / f"{engine}-server"))
        return dict(servers[engine].entry(servers[engine].new_database()[0]))

    return entry


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
