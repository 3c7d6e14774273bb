"""The folder: one file of JSON Lines for each table, read without a lock and replaced whole under one.

A reader has the file as it was when opened. For POSIX: elsewhere a file that somebody reads cannot be replaced.
"""

import fcntl
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

#: What one line of a file holds: values by the columns' names.
Line = dict[str, Any]


class Folder:
    """Tables by name. A name may hold any character; in the file's it is quoted as in a URL."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, table: str, suffix: str = ".jsonl") -> Path:
        return self.path / f"{quote(table, safe='')}{suffix}"

    def tables(self) -> set[str]:
        return {unquote(file.stem) for file in self.path.iterdir() if file.suffix == ".jsonl"}

    def read(self, table: str) -> Iterator[Line]:
        """The lines. None where there is no file yet; without the folder it is an error."""
        return lines_of(self.file(table)) if table in self.tables() else iter(())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Nobody else writes meanwhile, no process and no thread, for each opens the file of the lock for itself."""
        with (self.path / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:  # not by closing alone: a child that was forked meanwhile has it open, too
                fcntl.flock(file, fcntl.LOCK_UN)

    def store(self, table: str, lines: Iterable[Line], check: Callable[[Iterable[Line]], None]) -> None:
        """Put these lines in the place of the old ones, unless ``check``, which is shown them, raises."""
        texts = (json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        replace(self.file(table), texts, lambda new: check(lines_of(new)))

    def number(self, table: str, column: str, new: Collection[Line]) -> None:
        """Give keys to lines without one. The greatest is kept before they are stored: none is ever given twice."""
        file = self.file(table, ".last")
        last = int(file.read_text()) if file.exists() else 0
        for line in new:
            last = max(last, line.setdefault(column, last + 1))
        replace(file, [str(last)])


def lines_of(file: Path) -> Iterator[Line]:
    with file.open(encoding="utf-8") as opened:
        yield from map(json.loads, opened)


def replace(file: Path, texts: Iterable[str], check: Callable[[Path], None] = lambda new: None) -> None:
    """The file's new text, all of it or none, and safe on the disk when this returns."""
    new = file.with_name(f"{file.name}.new")
    try:
        with new.open("w", encoding="utf-8") as opened:
            opened.writelines(texts)
            opened.flush()
            os.fsync(opened.fileno())
        check(new)
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)
