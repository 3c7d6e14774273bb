"""What the tests of the kit stand on: the subclass's words, a Database for each test, capabilities asked for.

class TestDuckDB(PluginConformance): plugin, config(), allowed_failures, server, fill()
    connect(Star)      the test's Database, with the tables of these models made
    alarmed(Star)      a Database that fails the test when anything reaches the server
    stock(db, Star, rows)
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol, TypeVar

import pytest

from db_plugins import Capability, Database
from db_plugins import connect as connect_to
from db_plugins import connect_async as connect_to_async
from db_plugins.engine import Connection, SupportsSessions, SupportsStorage, SupportsTransactions

from ...errors import PluginError
from ...registry import load_engine
from ..report import PROPERTY, face_of
from .faces import FACES, connect_driven
from .models import Star
from .samples import STARS

if TYPE_CHECKING:
    from db_plugins.async_database import AsyncDatabase

    from .migration_models import Bench

__all__ = [
    "NOT_YET_PROVABLE",
    "Connect",
    "ConnectAsync",
    "Harness",
    "faces",
    "refuses",
    "requires",
    "subject",
]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T", bound=type)

#: Capabilities whose API comes with a later release of the kit, so that neither claim nor refusal can be shown.
NOT_YET_PROVABLE: tuple[Capability, ...] = ()


#: The server's version, asked once for each class.
_versions: dict[type, str] = {}


class Connect(Protocol):
    """The type of the fixtures ``connect`` and ``alarmed``."""

    def __call__(self, *models: type, **settings: Any) -> Database: ...


class ConnectAsync(Protocol):
    """The type of the fixture ``connect_async``."""

    def __call__(self, *models: type, **settings: Any) -> AbstractAsyncContextManager[AsyncDatabase]: ...


def requires(*capabilities: Capability) -> Callable[[F], F]:
    """The test needs these capabilities; where one is not claimed it is skipped and shown as *not claimed*."""

    def mark(test: F) -> F:
        test.kit_requires = (*getattr(test, "kit_requires", ()), *capabilities)  # type: ignore[attr-defined]
        return test

    return mark


def refuses(capability: Capability) -> Callable[[F], F]:
    """The test shows that an engine without this capability refuses; it runs only there."""

    def mark(test: F) -> F:
        test.kit_refuses = capability  # type: ignore[attr-defined]
        return test

    return mark


def subject(name: str, *capabilities: Capability) -> Callable[[T], T]:
    """All tests of this class are about one subject, and need these capabilities."""

    def mark(cls: T) -> T:
        for attribute, test in vars(cls).items():
            if attribute.startswith("test_"):
                test.kit_subject = name
                if not hasattr(test, "kit_refuses"):
                    requires(*capabilities)(test)
        return cls

    return mark


def faces(*names: str) -> Callable[[F], F]:
    """The test is about these faces only."""

    def mark(test: F) -> F:
        test.kit_faces = names  # type: ignore[attr-defined]
        return test

    return mark


@cache
def can_be_awaited(plugin: str) -> bool:
    """Does the engine of this name claim it? Without it worker threads make the calls, by code that is none of its own."""
    try:
        loaded = load_engine(plugin)
        engine = loaded.choose(loaded.settings_class(name=plugin, plugin=plugin, engine=plugin.lower()))
    except PluginError:
        return False  # its first test tells
    return Capability.NATIVE_ASYNC in engine.capabilities


class Harness:
    """What a subclass says about its plugin, and what each test is given."""

    #: The entry point's name: the plugin is found by it.
    plugin: ClassVar[str] = ""
    #: Test name → reason or link. Such a test must fail: when it passes, the entry is to be removed.
    allowed_failures: ClassVar[Mapping[str, str]] = {}
    #: For the fault tests: called with an empty folder, gives an object with ``start()``, ``stop()``, ``kill()`` and
    #: ``fresh_entry()``, an entry of DB_CONFIG for a new database of that server.
    server: ClassVar[Any] = None
    #: Do several processes that are given the same entry use the same database? Not one in memory.
    is_shared: ClassVar[bool] = True
    #: How many rows are many, in the tests where each of them may cost a look at all others. Not below 201, which takes
    #: two statements.
    rows_in_bulk: ClassVar[int] = 1200
    #: The faces of a Database that its tests are shown. ``None`` is both of an engine that can be awaited, else the
    #: synchronous one: the other is worked by threads then, which ``("sync", "async")`` shows, too.
    faces: ClassVar[tuple[str, ...] | None] = None
    #: pytest's, for ``config``: fixtures of your own (``getfixturevalue``), and what is to be undone (``addfinalizer``).
    request: pytest.FixtureRequest

    def config(self, tmp_path: Path) -> Mapping[str, Any]:
        """An entry of DB_CONFIG that leads to a fresh, empty database; called once for each test."""
        raise NotImplementedError(f"{type(self).__name__} needs a method config(self, tmp_path)")

    def fill(self, model: type, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store rows by other means. Only a read-only engine needs to say how."""
        raise NotImplementedError(
            f"{type(self).__name__} does not claim WRITE and needs a method fill(self, model, rows)"
        )

    def schema(self, db: Database) -> Any:
        """What tables, columns, indexes and rules the database has, in a form that can be compared: the tests of
        migrations look by it that nothing changed. Without it they have ``check`` and the rows alone."""
        return None

    # -- for the tests ---------------------------------------------------------------------------------------------

    def stock(self, db: Database, model: type, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store rows, by ``fill`` if the engine does not write."""
        if Capability.WRITE in db.capabilities:
            db.query(model).bulk_insert(rows)
        else:
            self.fill(model, rows)

    @pytest.fixture
    def entry(self, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
        """The test's entry of DB_CONFIG."""
        self.request = request
        return dict(self.config(tmp_path))

    @pytest.fixture
    def face(self, request: pytest.FixtureRequest) -> str:
        """``"sync"`` or ``"async"``: whose Database the test is given."""
        return getattr(request, "param", "sync")

    @pytest.fixture
    def connects(self, face: str) -> Callable[..., Database]:
        """``connect``, or the one whose Database drives an AsyncDatabase."""
        return connect_driven if face == "async" else connect_to

    @pytest.fixture
    def connect(self, entry: dict[str, Any], connects: Callable[..., Database]) -> Iterator[Connect]:
        """``connect(Star)``: a Database on the test's database; the first call makes the tables."""
        opened: list[Database] = []

        def open_(*models: type, **settings: Any) -> Database:
            database = connects({**entry, **settings}, models=models)
            opened.append(database)
            if models and Capability.WRITE in database.capabilities:
                database.create_all()
                if type(self) not in _versions:
                    _versions[type(self)] = database.ping().version
                self._tell(self.request, version=_versions[type(self)])
            return database

        yield open_
        for database in opened:
            with suppress(Exception):
                database.close()

    @pytest.fixture
    def connect_async(self, entry: dict[str, Any]) -> ConnectAsync:
        """``async with connect_async(Star) as db``: an AsyncDatabase on the test's database, with the tables made."""

        @asynccontextmanager
        async def open_(*models: type, **settings: Any) -> AsyncIterator[AsyncDatabase]:
            async with connect_to_async({**entry, **settings}, models=models) as db:
                if models:
                    await db.create_all()
                yield db

        return open_

    @pytest.fixture
    def bench(self, entry: dict[str, Any], tmp_path: Path) -> Iterator[Bench]:
        """The test's database and a folder of revisions, to be opened with one version of models after the other."""
        from .migration_models import Bench

        bench = Bench(self, entry, tmp_path / "revisions")
        yield bench
        bench.close()

    @pytest.fixture
    def seven(self, connect: Connect) -> Database:
        """A Database with the seven stars of ``samples``, keys 1 to 7."""
        db = connect(Star)
        self.stock(db, Star, [{"id": n, **star} for n, star in enumerate(STARS, 1)])
        return db

    @pytest.fixture
    def alarmed(self, entry: dict[str, Any], connects: Callable[..., Database]) -> Connect:
        """``alarmed(Star)``: a Database that fails the test when anything reaches the server."""

        def open_(*models: type, **settings: Any) -> Database:
            database = connects({**entry, **settings}, models=models)
            database._open = _Alarm  # type: ignore[method-assign]
            return database

        return open_

    # -- which tests run -------------------------------------------------------------------------------------------

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Show each test that is given a Database both faces of it, if the engine can be awaited."""
        if "face" not in metafunc.fixturenames:
            return
        every = self._faces(metafunc.function)
        wanted = metafunc.config.getoption("dbp_face", "both")
        # Those of another face need not be made, to be left out again; a test without any is left out by the plugin.
        metafunc.parametrize("face", [face for face in every if face == wanted] or every, indirect=True)

    @classmethod
    def _faces(cls, test: Any) -> tuple[str, ...]:
        only: tuple[str, ...] | None = getattr(test, "kit_faces", None)
        if only is not None:
            return only
        if cls.faces is not None:
            return cls.faces
        return FACES if can_be_awaited(cls.plugin) else ("sync",)

    @pytest.fixture(autouse=True)
    def _conformance(self, request: pytest.FixtureRequest) -> None:
        """Reports what this test is about, and skips it if its capabilities are not claimed."""
        if not request.config.pluginmanager.has_plugin("db_plugins.testing.plugin"):
            request.config.pluginmanager.import_plugin("db_plugins.testing.plugin")
        name = request.node.originalname
        test = getattr(type(self), name)
        self._tell(
            request,
            subject=getattr(test, "kit_subject", "kit"),
            requires=list(getattr(test, "kit_requires", ())),
            refuses=getattr(test, "kit_refuses", None),
            test=request.node.name,
            **{"class": request.node.nodeid.rpartition("::")[0].partition("[")[0]},
        )
        if name in self.allowed_failures:
            request.applymarker(pytest.mark.xfail(reason=self.allowed_failures[name], strict=True))
        engine = self._engine(request)
        self._tell(
            request,
            engine=engine.name,
            claimed=[c for c in Capability if c in engine.capabilities],
            not_claimed=[c for c in Capability if c not in engine.capabilities and c not in NOT_YET_PROVABLE],
            not_yet_provable=list(NOT_YET_PROVABLE),
        )
        if face_of(request.node) == "async" and Capability.NATIVE_ASYNC in engine.capabilities:
            needs = dict.fromkeys((*getattr(test, "kit_requires", ()), Capability.NATIVE_ASYNC))
            self._tell(request, requires=list(needs))
        self._skip_unclaimed(test, engine.capabilities)

    @staticmethod
    def _tell(request: pytest.FixtureRequest, **about: Any) -> None:
        """Add to what the report of this test carries."""
        request.node.user_properties.append((PROPERTY, json.dumps(about)))

    def _engine(self, request: pytest.FixtureRequest) -> Any:
        """The engine as its settings make it. Nothing is connected."""
        entry = request.getfixturevalue("entry")
        return connect_to(entry, models=[])._engine

    @staticmethod
    def _skip_unclaimed(test: Any, claimed: frozenset[Capability]) -> None:
        absent = [c for c in getattr(test, "kit_requires", ()) if c not in claimed]
        if absent:
            pytest.skip(f"not claimed: {', '.join(absent)}")
        if getattr(test, "kit_refuses", None) in claimed:
            pytest.skip(f"claimed: {test.kit_refuses}")


def _reached(*_args: Any, **_more: Any) -> NoReturn:
    pytest.fail("this must be refused before anything reaches the server")


class _Alarm(Connection, SupportsStorage, SupportsTransactions, SupportsSessions):
    """A connection that nothing may use."""

    fetch = count = insert = update = delete = create = drop = existing = version = begin = begin_session = (
        _reached
    )
    native = property(_reached)

    def close(self) -> None:
        pass
