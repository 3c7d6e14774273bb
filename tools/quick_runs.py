"""A pytest plugin of this repository: what spares a run of ten thousand tests its waiting, and changes nothing for a test.

Temporary folders, and with them the servers' data, are in memory, unless TMPDIR says where they are to be: a commit of
SQLite takes 0.1 ms there instead of 1.6, a new table of MariaDB 0.6 instead of 17. What is killed in tests are processes, so
that what a database promises stays the same. Garbage collection leaves out what was there before the first test: to look
through all tests takes a second. Tests marked slow come first: one of thirty seconds that comes last keeps one worker, and
the others wait.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest

__all__ = ["memory_folder"]

#: Linux keeps what is here in memory. A container may have little of it.
_SHARED = Path("/dev/shm")  # noqa: S108 - mkdtemp makes the names in it
#: A whole run takes half of it.
_NEEDED_BYTES = 2 * 2**30
_IS_MOVED = pytest.StashKey[bool]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    folder = None if "TMPDIR" in os.environ else memory_folder()
    config.stash[_IS_MOVED] = folder is not None
    if folder is not None:  # xdist's workers, and all that the tests start, inherit it
        os.environ["TMPDIR"] = str(folder)
        tempfile.tempdir = None  # Python looks once, and keeps what it found


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if config.stash.get(_IS_MOVED, False):
        del os.environ["TMPDIR"]
        tempfile.tempdir = None


@pytest.hookimpl(trylast=True)  # after whoever shuffles them
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    gc.freeze()


def memory_folder(folder: Path = _SHARED) -> Path | None:
    """The folder, if there is room and programs may be run in it: those of PostgreSQL may have to be copied there."""
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return None
    if os.statvfs(folder).f_flag & os.ST_NOEXEC or shutil.disk_usage(folder).free < _NEEDED_BYTES:
        return None
    return folder
