"""``database(…)``: a lifespan that opens databases when the application starts and closes them when it stops.

    FastAPI(lifespan=database())                                   the default entry of the settings
    FastAPI(lifespan=database("SQL", "archive"))                   two entries; the first is what get_db gives
    FastAPI(lifespan=database("SQL", then=my_lifespan))            my_lifespan runs while they are open
    FastAPI(lifespan=database("sqlite:///a.db", name="main", then=database("archive")))

Settings are read and checked, and models loaded, at start-up; servers are reached at the first call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from ..async_database import AsyncDatabase, connect_async
from ..database import Database, connect
from ..errors import ConfigError, nearest

__all__ = ["STATE", "Databases", "Lifespan", "Opened", "database"]

#: Where an application's state, and that of each request, holds its Databases.
STATE = "db_plugins"

AnyLifespan = Callable[[Any], AbstractAsyncContextManager[Any]]
Target = str | Mapping[str, Any] | None


@dataclass(frozen=True)
class Opened:
    """One entry's database: the same settings, for plain calls and for calls that are awaited."""

    db: Database
    async_db: AsyncDatabase

    async def run(self, verb: str) -> Any:
        """``ping`` or ``create_all``, without blocking the loop, on the face whose driver is there.

        One that has connections already is asked first: so a program that uses one face gets no second pool.
        """
        if self.async_db._database.is_open:
            return await getattr(self.async_db, verb)()
        try:
            return await run_in_threadpool(getattr(self.db, verb))
        except ConfigError:  # only the asynchronous driver is installed
            try:
                return await getattr(self.async_db, verb)()
            except ConfigError:
                pass
            raise

    async def close(self) -> None:
        try:
            await self.async_db.close()
        finally:
            await run_in_threadpool(self.db.close)


class Databases(Mapping[str, Opened]):
    """The open databases of an application by name, the first one first: ``app.state.db_plugins`` while it runs."""

    def __init__(self, opened: Mapping[str, Opened]) -> None:
        self._opened = dict(opened)

    def __getitem__(self, name: str) -> Opened:
        return self._opened[name]

    def __iter__(self) -> Any:
        return iter(self._opened)

    def __len__(self) -> int:
        return len(self._opened)

    def db(self, name: str | None = None) -> Database:
        """The Database of this name, or the first. Raises ConfigError for a name that is not open."""
        return self._find(name).db

    def async_db(self, name: str | None = None) -> AsyncDatabase:
        """As ``db``, the AsyncDatabase."""
        return self._find(name).async_db

    def _find(self, name: str | None) -> Opened:
        if name is None:
            return next(iter(self._opened.values()))
        for each, opened in self._opened.items():
            if (
                each.casefold() == name.casefold()
            ):  # as everywhere, the case of an entry's name does not matter
                return opened
        raise ConfigError(
            f"no database {name!r} is open here",
            hint=f"{nearest(name, self._opened)} lifespan=database(…) opens those that it is given",
        )


@dataclass(frozen=True)
class _Entry:
    """What ``connect`` is given, and under which name the result is kept."""

    target: Target
    name: str | None
    models: Sequence[Any] | None
    settings: Any
    create_all: bool

    def connect(self) -> tuple[str, Opened]:
        db = connect(self.target, models=self.models, settings=self.settings)
        # Loaded now, for a model that does not fit is a mistake to see at start-up and not at the first request.
        db._models(required=False)
        async_db = connect_async(self.target, models=self.models, settings=self.settings)
        return self.name or db.name, Opened(db, async_db)


class Lifespan:
    """What ``database`` makes: ``FastAPI(lifespan=…)`` enters it at each start, with new connections."""

    def __init__(self, entries: Sequence[_Entry], then: AnyLifespan | None) -> None:
        self._entries: tuple[_Entry, ...] = tuple(entries)
        self._then: AnyLifespan | None = then
        if isinstance(then, Lifespan):
            self._entries, self._then = (*self._entries, *then._entries), then._then

    @asynccontextmanager
    async def __call__(self, app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            opened: dict[str, Opened] = {}
            for entry in self._entries:
                name, each = entry.connect()
                if name in opened:
                    raise ConfigError(
                        f"two databases of this application have the name {name!r}",
                        hint='give one another: database(…, name="archive")',
                    )
                opened[name] = each
                stack.push_async_callback(each.close)
                if entry.create_all:
                    await each.run("create_all")
            databases = Databases(opened)
            # The state of the lifespan reaches the requests of mounted applications too; that of the application those
            # of servers that hand on no state (httpx.ASGITransport), and it is there for ``then``.
            setattr(app.state, STATE, databases)
            stack.callback(_forget, app, databases)
            state = await stack.enter_async_context(self._then(app)) if self._then is not None else None
            yield {**(state or {}), STATE: databases}


def _forget(app: FastAPI, databases: Databases) -> None:
    """Take them off the application, unless it has been started again since, by another loop."""
    if getattr(app.state, STATE, None) is databases:
        delattr(app.state, STATE)


def database(
    *targets: Target,
    models: Sequence[Any] | None = None,
    settings: Any = None,
    name: str | None = None,
    create_all: bool = False,
    then: AnyLifespan | None = None,
) -> Lifespan:
    """A lifespan that opens these databases: entries' names, URLs or dicts like entries, as for ``connect``.

    Without a target the default entry. The first one is what ``get_db`` gives; ``db_for(name)`` gives each. ``name`` is for
    one target that has none of its own (a URL, a dict). ``create_all`` makes missing tables at start-up, and keeps rows.
    ``then`` is another lifespan, entered while these are open. What is wrong with settings or models is raised at
    start-up: ConfigError, EngineNotFoundError, PluginLoadError, InvalidValueError.

        app = FastAPI(lifespan=database("SQL", "archive"))
    """
    if name is not None and len(targets) > 1:
        raise ConfigError(
            f"database(…, name={name!r}) was given {len(targets)} databases",
            hint="compose: database(one, name=…, then=database(another, name=…))",
        )
    entries = [_Entry(target, name, models, settings, create_all) for target in targets or (None,)]
    return Lifespan(entries, then)
