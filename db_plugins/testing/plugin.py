"""The pytest plugin: fixtures ``db`` and ``async_db``, their options, and the conformance kit's block at the end of a run."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from .report import Outcomes, face_of

if TYPE_CHECKING:
    from ..async_database import AsyncDatabase
    from ..database import Database

__all__ = ["async_db", "db", "db_config", "db_models"]

if "db_plugins.testing.kit" not in sys.modules:
    pytest.register_assert_rewrite("db_plugins.testing.kit")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("db_plugins")
    group.addoption(
        "--dbp-database", metavar="NAME", help="entry of the settings that the fixture db is made from"
    )
    group.addoption(
        "--dbp-face",
        choices=["sync", "async", "both"],
        default="both",
        help="which part of the conformance kit is run: what connect gives, what connect_async gives, or both",
    )
    group.addoption("--dbp-report", metavar="FILE", help="write what the conformance kit has proved, as JSON")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the conformance kit leave the tests of the face that is asked for; the two make up the whole."""
    wanted = config.getoption("dbp_face")
    if wanted == "both":
        return
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        (kept if face_of(item) in (None, wanted) else left).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Block(config), "db_plugins_conformance")


# -- fixtures ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def db_config(pytestconfig: pytest.Config) -> str | Mapping[str, Any]:
    """The entry that ``db`` is made from: its name, a dict, or a URL. Override it in your conftest.

    The default is the entry that ``--dbp-database`` names, else the default entry of your settings, else memory.
    """
    chosen = pytestconfig.getoption("dbp_database", None)
    return str(chosen) if chosen else _default_entry()


@pytest.fixture
def db_models() -> Sequence[Any] | None:
    """The models whose tables ``db`` has: classes or ``"module"``. The default is MODELS of your settings."""
    return None


@pytest.fixture
def db(db_config: str | Mapping[str, Any], db_models: Sequence[Any] | None) -> Iterator[Database]:
    """A Database of its own for each test: empty, with the models' tables, and gone afterwards, even after a commit.

    It is made on the entry's server as ``<DB_NAME>_test_<worker>``, or is what the entry's TEST names, or memory; never
    the entry's own database.
    """
    from .databases import isolated_database

    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with isolated_database(db_config, models=db_models, worker=worker) as database:
        yield database


@pytest.fixture
def async_db(db_config: str | Mapping[str, Any], db_models: Sequence[Any] | None) -> Iterator[AsyncDatabase]:
    """As ``db``, an AsyncDatabase: for coroutines as tests (by pytest-asyncio, anyio, or this plugin alone) and for
    ``asyncio.run`` in plain ones."""
    from .databases import isolated_async_database

    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with isolated_async_database(db_config, models=db_models, worker=worker) as database:
        yield database


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine that takes ``async_db``, where no other plugin does: pytest-asyncio has made a function of it by
    now, and anyio has put its fixture there."""
    names = pyfuncitem.fixturenames
    if "async_db" not in names or "anyio_backend" in names or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    taken = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in taken}))
    return True


def _default_entry() -> str | Mapping[str, Any]:
    from ..config import SettingsWarning, choose_entry, load_settings
    from ..config.sources import FALLBACK

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SettingsWarning)  # that there are no settings
        file = load_settings(fallback=True)
    name, entry = choose_entry(file)
    return {"ENGINE": "memory"} if entry == FALLBACK and file.models is None and file.warnings else name


# -- the kit's block ---------------------------------------------------------------------------------------------------


class _Block:
    """Collects the reports of one run: in xdist's controller those that the workers send."""

    def __init__(self, config: pytest.Config) -> None:
        self.outcomes = Outcomes()
        self.file = getattr(config.option, "dbp_report", None)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.outcomes.add(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.file and not hasattr(session.config, "workerinput"):
            self.outcomes.write(self.file)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.outcomes:
            terminalreporter.section("conformance of engine plugins")
            for line in self.outcomes.lines():
                terminalreporter.write_line(line)
