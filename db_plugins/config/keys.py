"""The key table: one entry of ``DB_CONFIG`` once it is validated, and the keys that may stand in it.

An engine plugin adds keys of its own with a subclass, and says what its engine cannot do without in
``check``::

    @dataclass(frozen=True, kw_only=True)
    class DuckSettings(Settings):
        threads: int | None = key("THREADS", whole(1), doc="how many threads one query may use")

        @classmethod
        def check(cls, given: Given) -> Iterable[str]:
            yield from given.missing("database")

    class DuckEngine(Engine):
        settings_class = DuckSettings
"""

# ruff: noqa: RUF009  (key() makes a dataclass field)

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from . import kinds
from .kinds import Kind, flag, mapping, one_of, port, seconds, text, whole
from .secret import Secret, mask_url

__all__ = ["ENGINE_KEYS", "Given", "Key", "Settings", "key", "keys_of"]


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its ``names`` (the first is the one that messages use), what it takes, and what it is for."""

    names: tuple[str, ...]
    kind: Kind
    doc: str = ""
    attribute: str = ""
    default: Any = None

    @property
    def name(self) -> str:
        """The key's first spelling."""
        return self.names[0]


def key(name: str, kind: Kind, *, aliases: tuple[str, ...] = (), default: Any = None, doc: str = "") -> Any:
    """A field of a settings class that is filled from the key ``name``, or one of its ``aliases``.

    ``default`` stands if the key is left out; an empty dict is copied for each entry.
    """
    meta = {"key": Key((name, *aliases), kind, doc)}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), repr=kind.shown, metadata=meta)
    # A Secret hides itself, so it may stand in the repr and show whether it is there.
    shown = kind.shown or kind in (kinds.secret, kinds.url)
    return field(default=default, repr=shown, metadata=meta)


#: The keys that say which plugin and engine answer; what they come to is ``Settings.plugin``, ``engine``,
#: ``driver``.
ENGINE_KEYS = {
    "plugin": Key(("PLUGIN",), text, "plugin that answers, by a name of `dbp plugins`", "plugin"),
    "engine": Key(("ENGINE",), kinds.engine, "engine, or `engine+driver`", "engine"),
}


@dataclass(frozen=True, slots=True)
class Given:
    """An entry as ``Settings.check`` sees it.

    ``values`` are the converted values by attribute (``values["host"]``), without those that were left out or
    refused; ``attributes`` are all that were given, rightly or wrongly; ``labels`` says how messages name a
    key.
    """

    name: str
    plugin: str
    engine: str
    driver: str | None
    values: Mapping[str, Any]
    attributes: frozenset[str]
    labels: Mapping[str, str] = field(repr=False)

    def missing(self, *attributes: str) -> Iterator[str]:
        """A problem for each of these attributes that was not given, naming its key: ``HOST is missing``."""
        for attribute in attributes:
            if attribute not in self.attributes:
                yield f"{self.labels[attribute]} is missing"

    def label(self, attribute: str) -> str:
        """How a message names the key of this attribute: ``HOST``, or the variable it came from."""
        return self.labels[attribute]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One validated entry. ``None`` stands for a key that was left out.

    ``name`` is the entry's name, ``plugin`` the entry point that answers, ``engine`` the engine in lower case
    and ``driver`` what stands after its ``+``. ``repr`` shows no secret, and no value of OPTIONS, REPLICAS
    and TEST.
    """

    name: str
    plugin: str
    engine: str
    driver: str | None = None
    #: CURSOR_SECRET of the settings module or the environment: one for all entries.
    cursor_secret: Secret | None = None
    #: The folder of the settings, which MIGRATIONS is relative to; ``None`` for the current one.
    home: Path | None = None

    host: str | None = key("HOST", kinds.host, doc="server, or the folder of a Unix socket")
    port: int | None = key("PORT", port, doc="port; the engine's usual one if left out")
    user: str | None = key("USER", text, aliases=("USERNAME",), doc="user name")
    password: Secret | None = key("PASSWORD", kinds.secret, doc="password, of any characters")
    database: str | None = key(
        "DB_NAME", kinds.path, aliases=("DATABASE",), doc="database, or the path of its file"
    )
    url: Secret | None = key(
        "URL", kinds.url, aliases=("SQLALCHEMY_DATABASE_URL",), doc="all of these in one URL"
    )
    connect_timeout: float = key(
        "CONNECT_TIMEOUT", seconds, default=5.0, doc="seconds to wait for the server"
    )
    query_timeout: float | None = key("QUERY_TIMEOUT", seconds, doc="seconds that one statement may take")
    pool_size: int | None = key("POOL_SIZE", whole(1), doc="connections that are kept, opened on demand")
    max_overflow: int | None = key(
        "MAX_OVERFLOW", whole(0), doc="connections beyond POOL_SIZE, closed after use"
    )
    pool_timeout: float | None = key("POOL_TIMEOUT", seconds, doc="seconds to wait for a free connection")
    pool_recycle: float | None = key(
        "POOL_RECYCLE", seconds, doc="seconds after which a connection is replaced"
    )
    echo: bool = key("ECHO", flag, default=False, doc="log every statement, without values")
    tls: str | None = key(
        "TLS", one_of("off", "require", "verify"), doc="encrypt; `verify` also checks the server"
    )
    schema: str | None = key("SCHEMA", text, doc="schema that the models' tables live in")
    options: dict[str, Any] = key("OPTIONS", mapping, default={}, doc="handed to the driver untouched")
    async_options: dict[str, Any] = key(
        "ASYNC_OPTIONS", mapping, default={}, doc="the same for the async driver"
    )
    models: tuple[str, ...] | None = key("MODELS", kinds.models, doc="this entry's models, instead of all")
    migrations: str | None = key(
        "MIGRATIONS",
        kinds.path,
        doc="folder of this entry's revisions, from the settings' folder; `migrations/NAME` if left out",
    )
    auth_source: str | None = key("AUTH_SOURCE", text, doc="database that knows the user")
    replicas: tuple[Secret, ...] = key(
        "REPLICAS", kinds.secrets, default=(), doc="servers to read from: URLs, or `host` or `host:port`"
    )
    sticky_seconds: float | None = key(
        "STICKY_SECONDS", seconds, doc="read from the main server so long after a write"
    )
    slow_query_ms: float | None = key(
        "SLOW_QUERY_MS", seconds, doc="log statements that take more milliseconds"
    )
    test: Any = key("TEST", kinds.entry, doc="database for tests: an entry's name, a URL, or an entry")

    @classmethod
    def check(cls, given: Given) -> Iterable[str]:
        """The problems that only this engine knows, one sentence each, such as ``given.missing("host")``.

        Called once for an entry, before it becomes Settings; they are reported together with all others.
        """
        return ()

    @property
    def shown_url(self) -> str | None:
        """The URL for messages: without password and query values."""
        return mask_url(self.url.reveal()) if self.url is not None else None

    @property
    def address(self) -> str:
        """Where the database is, for messages: ``db:5432/stars``, or the URL without its secrets."""
        if self.url is not None:
            return mask_url(self.url.reveal())
        server = ":".join(str(part) for part in (self.host, self.port) if part is not None)
        return "/".join(part for part in (server, self.database) if part) or self.engine

    def replica_settings(self) -> tuple[Settings, ...]:
        """These settings once for each of REPLICAS, with its URL, or with its host and port."""
        return tuple(_replica(self, replica.reveal()) for replica in self.replicas)


_S = TypeVar("_S", bound=Settings)


def _replica(settings: _S, text: str) -> _S:
    if "://" in text:
        return replace(settings, url=Secret(text), host=None, port=None, replicas=())
    host, colon, number = text.rpartition(":")
    if colon and number.isdecimal():
        return replace(settings, host=host.strip("[]"), port=int(number), url=None, replicas=())
    return replace(settings, host=text.strip("[]"), url=None, replicas=())


def keys_of(settings_class: type[Settings]) -> dict[str, Key]:
    """The keys that a settings class knows, by attribute, those of its bases first.

    A subclass that was not decorated with ``@dataclass(frozen=True, kw_only=True)`` is decorated here.
    """
    for base in reversed(settings_class.__mro__):
        if issubclass(base, Settings) and "__dataclass_params__" not in vars(base):
            dataclass(frozen=True, kw_only=True)(base)
    return {
        each.name: replace(each.metadata["key"], attribute=each.name, default=each.default)
        for each in fields(settings_class)
        if "key" in each.metadata
    }
