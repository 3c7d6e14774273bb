"""A sample of `make crash-sweep`: migrations are killed, or fail, and the next one brings every database to the same end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from crash_sweep import __main__ as command
from crash_sweep.children import Children
from crash_sweep.databases import SQLite, databases_of
from crash_sweep.looking import differences
from crash_sweep.project import Project
from crash_sweep.sweep import DIRECTIONS, Direction, Kind, Sweep, Tally, spread, strace_missing
from crash_sweep.together import holder_killed, three_at_once

MODES = ("sqlite-wal", "sqlite-delete", "postgresql", "mariadb", "mongodb")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("crash_sweep"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    with Children() as made:
        yield made


@pytest.fixture(scope="module", params=MODES)
def sweep(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, children: Children
) -> Iterator[Sweep]:
    folder = tmp_path_factory.mktemp("sweep")
    engine, _dash, mode = request.param.partition("-")
    if engine == "sqlite":
        databases: Any = SQLite(folder, mode)
    else:
        databases = databases_of(request.getfixturevalue("shared_server")(engine))
    with ExitStack() as stack:
        stack.callback(databases.close)
        yield Sweep(Project(folder / "project", databases, children))


def sample(sweep: Sweep, kind: Kind, most: int, directions: Sequence[Direction] = DIRECTIONS) -> Tally:
    """So many points of each direction, the first and the last among them."""
    tally = Tally(sweep.project.databases.name, sweep.project.databases.mode, kind)
    for direction in directions:
        points = sweep.points(kind, direction)
        assert len(points) > most, "there is something to disturb"
        sweep.try_points(spread(points, most=most), tally)
    return tally


def test_a_migration_killed_at_any_operation_is_finished_by_the_next(sweep: Sweep) -> None:
    tally = sample(sweep, "operations", 3)
    assert tally.stuck == []
    assert tally.points == 6
    assert tally.endings["not reached"] == 0


def test_a_migration_that_fails_at_any_line_is_finished_by_the_next(sweep: Sweep) -> None:
    tally = sample(sweep, "lines", 2, ["migrate"])
    assert tally.stuck == []
    assert tally.endings == {"clean": 2}, "nobody has to be asked after an error"


@pytest.mark.parametrize("sweep", MODES[:2], indirect=True)
def test_a_migration_killed_at_any_system_call_is_finished_by_the_next(sweep: Sweep) -> None:
    if reason := strace_missing():
        pytest.skip(f"sqlite, system calls: {reason}")
    assert sample(sweep, "syscalls", 2).stuck == []


def test_three_at_once_and_one_works(sweep: Sweep) -> None:
    three_at_once(sweep)


def test_a_killed_holder_of_the_lock_is_followed(sweep: Sweep) -> None:
    assert holder_killed(sweep) < 30.0


def test_what_cannot_be_finished_is_found(tmp_path: Path, children: Children) -> None:
    """A revision commits in its middle: the run is not all or nothing any more, and the sweep must say so."""
    project = Project(tmp_path / "project", SQLite(tmp_path, "wal"), children)
    [file] = (project.folder / "migrations" / "STARS" / "versions").glob("*_names.py")
    text = file.read_text()
    file.write_text(text.replace("None:\n", "None:\n    op.get_bind().connection.commit()\n", 1))
    shutil.rmtree(file.parent / "__pycache__", ignore_errors=True)
    sweep = Sweep(project)
    points = sweep.points("operations", "migrate")
    tally = Tally("sqlite", "wal", "operations")
    sweep.try_points(points[-12:-4:3], tally)
    assert tally.stuck
    assert "upgrade() of" in tally.stuck[0]


def test_differences_are_told() -> None:
    stars = {"rows": ["1"], "key": ["id"]}
    assert differences({"stars": stars}, {"stars": stars}) == []
    assert differences({"stars": stars}, {}) == ["stars is missing"]
    assert differences({}, {"stars": stars}) == ["stars is left over"]
    assert differences({"stars": stars}, {"stars": {**stars, "rows": []}}) == ["stars.rows: [], wanted ['1']"]


def test_the_command_prints_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_databases", lambda _names, folder, _stack: [SQLite(folder, "wal")])
    assert command.main(["--engine", "sqlite", "--kind", "lines", "--points", "1"]) == 0
    printed = capsys.readouterr()
    assert "\n| sqlite | wal | lines | 2 | 2 | 0 | 0 | 0 | " in printed.out
    assert "sqlite wal: three at once, one works" in printed.err
