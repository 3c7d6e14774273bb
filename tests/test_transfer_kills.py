"""A few of the kills of ``tools/transfer_kills.py``, which does fifty for each pair: none loses a row, none doubles one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from seeds import make_entry

from transfer_kills import Sweep

KILLS = 2


@pytest.fixture
def sweep(request: pytest.FixtureRequest, tmp_path: Path) -> Sweep:
    """Its databases are dropped when the test is over."""
    folders = iter(range(10))

    def entry(engine: str) -> Mapping[str, Any]:
        (folder := tmp_path / f"database-{next(folders)}").mkdir()
        return make_entry(engine, request, folder)

    made: Callable[[str], Mapping[str, Any]] = entry
    return Sweep(tmp_path / "project", made, seed=8)


@pytest.mark.parametrize(
    ("source", "target"),
    [("sqlite", "postgresql"), ("sqlite", "mongodb"), ("mariadb", "sqlite")],
    ids=["sqlite-to-postgresql", "sqlite-to-mongodb", "mariadb-to-sqlite"],
)
def test_a_copy_that_is_killed_goes_on_until_the_two_are_the_same(
    sweep: Sweep, source: str, target: str
) -> None:
    done = sweep.copy(source, target, KILLS)
    assert not done.faults
    assert done.kills == KILLS


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_load_that_is_killed_goes_on_and_stores_every_line_once(sweep: Sweep, engine: str) -> None:
    done = sweep.load(engine, KILLS)
    assert not done.faults
    assert done.kills == KILLS
