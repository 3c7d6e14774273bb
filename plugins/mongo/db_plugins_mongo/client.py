"""Settings → MongoClient, and where it leads, for messages.

``options_of`` is the one table from our keys to PyMongo's. OPTIONS are handed over untouched and win.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pymongo
from pymongo import errors as driver

from db_plugins.config import Settings
from db_plugins.errors import ConfigError

__all__ = [
    "MongoSettings",
    "address_of",
    "database_of",
    "make_async_client",
    "make_client",
    "options_of",
    "user_of",
]

_URL = re.compile(r"^[^:]+://(?:(?P<user>[^:@/]*)(?::[^@/]*)?@)?(?P<hosts>[^/?]*)(?:/(?P<database>[^?]*))?")


@dataclass(frozen=True, kw_only=True)
class MongoSettings(Settings):
    """An entry of DB_CONFIG for MongoDB or mongomock. All its keys are the common ones."""

    @classmethod
    def check(cls, given: Any) -> Iterable[str]:
        """A database is needed; what only SQL servers have is refused rather than ignored."""
        url = given.values.get("url")
        if "database" not in given.attributes and not (url is not None and _parts(url.reveal())["database"]):
            yield f"{given.label('database')} is missing: name the database" + (
                " here or at the end of the URL: mongodb://host/name" if "url" in given.attributes else ""
            )
        if "schema" in given.attributes:
            yield f"{given.label('schema')} means nothing to MongoDB: leave it out"


def _parts(url: str) -> dict[str, str]:
    match = _URL.match(url)
    return (
        {k: v or "" for k, v in match.groupdict().items()}
        if match
        else {"user": "", "hosts": "", "database": ""}
    )


def database_of(settings: Settings) -> str:
    """The database's name: DB_NAME, or the end of the URL."""
    name = settings.database or (_parts(settings.url.reveal())["database"] if settings.url else "")
    if not name:
        raise ConfigError(f"{settings.name}: no database is named", hint="add DB_NAME")
    return name


def address_of(settings: Settings) -> str:
    """``host:port`` for messages."""
    if settings.url is not None:
        return _parts(settings.url.reveal())["hosts"] or "localhost:27017"
    host = settings.host or "localhost"
    return host if "/" in host or "," in host else f"{host}:{settings.port or 27017}"


def user_of(settings: Settings) -> str | None:
    """The user's name for messages."""
    if settings.user is not None or settings.url is None:
        return settings.user
    return _parts(settings.url.reveal())["user"] or None


def options_of(settings: Settings) -> dict[str, Any]:
    """What PyMongo is told, from our keys. Times are milliseconds there."""
    wait = _milliseconds(settings.connect_timeout)
    options: dict[str, Any] = {
        "appname": "db_plugins",
        "connectTimeoutMS": wait,
        "serverSelectionTimeoutMS": wait,
        "tz_aware": True,
        "uuidRepresentation": "standard",
        "timeoutMS": _milliseconds(settings.query_timeout),
        "waitQueueTimeoutMS": _milliseconds(settings.pool_timeout),
        "maxIdleTimeMS": _milliseconds(settings.pool_recycle),
        "authSource": settings.auth_source,
        "username": settings.user,
        "password": settings.password.reveal() if settings.password is not None else None,
        **_TLS[settings.tls],
    }
    if settings.pool_size is not None:
        options["maxPoolSize"] = settings.pool_size + (settings.max_overflow or 0)
    return {**{k: v for k, v in options.items() if v is not None}, **settings.options}


_TLS: dict[str | None, dict[str, Any]] = {
    None: {},
    "off": {"tls": False},
    "require": {"tls": True, "tlsAllowInvalidCertificates": True},
    "verify": {"tls": True},
}


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else max(1, math.ceil(seconds * 1000))


def _target(settings: Settings) -> dict[str, Any]:
    if settings.url is not None:
        return {"host": settings.url.reveal()}
    host = settings.host or "localhost"
    port = settings.port or 27017
    if host.startswith("/") and not host.endswith(".sock"):
        host = f"{host.rstrip('/')}/mongodb-{port}.sock"
    return {"host": host.split(","), "port": port}


#: The first PyMongo whose asynchronous half is no beta.
ASYNC_SINCE = (4, 13)


def make_client(settings: Settings) -> pymongo.MongoClient[dict[str, Any]]:
    """A client that has not connected yet. Raises ConfigError for options that PyMongo refuses."""
    return _made(pymongo.MongoClient, settings, options_of(settings))  # type: ignore[no-any-return]


def make_async_client(settings: Settings) -> pymongo.AsyncMongoClient[dict[str, Any]]:
    """The same for an event loop: that of its first use. Raises ConfigError, too, where PyMongo is too old for it."""
    if pymongo.version_tuple < ASYNC_SINCE:
        raise ConfigError(
            f"{settings.name}: connect_async needs PyMongo {'.'.join(map(str, ASYNC_SINCE))} or newer, and this is"
            f" {pymongo.version}",
            hint='pip install -U "db-plugins-mongo[async]"',
        )
    options = {**options_of(settings), **settings.async_options}
    return _made(pymongo.AsyncMongoClient, settings, options)  # type: ignore[no-any-return]


def _made(client: Any, settings: Settings, options: dict[str, Any]) -> Any:
    try:
        return client(**_target(settings), **options, connect=False)
    except (driver.ConfigurationError, TypeError, ValueError) as exc:
        secret = settings.password.reveal() if settings.password is not None else ""
        said = str(exc).splitlines()[0][:200]
        if (secret and secret in said) or "://" in said:
            said = type(exc).__name__
        raise ConfigError(
            f"{settings.name}: the MongoDB driver refused the settings",
            problems=[said],
            hint="check OPTIONS and URL",
        ) from None
