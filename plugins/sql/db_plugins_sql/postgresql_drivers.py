"""The drivers of PostgreSQL, where SQLAlchemy's common face of them is not enough: psycopg, awaited or not, and asyncpg.

asyncpg is no child of libpq: what an entry or a URL says in libpq's words is translated for it, by one table.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from sqlalchemy.engine import URL

from db_plugins.config import Settings
from db_plugins.errors import ConfigError

from .pools import own_connection

__all__ = [
    "SSL_MODES",
    "asyncpg_arguments",
    "is_asyncpg",
    "is_of_asyncpg",
    "is_psycopg",
    "place_in",
    "socket_of",
    "without_stale_statements",
]

#: TLS of an entry → libpq's sslmode.
SSL_MODES = {"off": "disable", "require": "require", "verify": "verify-full"}


def is_psycopg(driver: Any) -> bool:
    return _package(driver) == "psycopg"  # and not psycopg2


def is_asyncpg(driver: Any) -> bool:
    return _package(driver) == "asyncpg"


def is_of_asyncpg(exc: BaseException | None) -> bool:
    """Is it asyncpg's exception, or what SQLAlchemy's adapter made of one?"""
    return any(
        type(each).__module__.partition(".")[0] == "asyncpg"
        for each in (exc, getattr(exc, "__cause__", None))
    )


def socket_of(driver: Any) -> Any:
    """What ``select`` can look at for a connection; ``None`` if nothing."""
    own = own_connection(driver)
    if not is_asyncpg(driver):
        return own if hasattr(own, "fileno") else None
    # asyncpg has no public way; a test notices when the private one changes.
    transport = getattr(own, "_transport", None)
    return None if transport is None else transport.get_extra_info("socket")


def _package(driver: Any) -> str:
    return type(own_connection(driver)).__module__.partition(".")[0]


# -- libpq's words for asyncpg -----------------------------------------------------------------------------------------

#: Words of a URL's query that say where the server is: they stay in the URL, where SQLAlchemy reads them.
_PLACE = ("host", "port")
#: Files of a certificate and its key.
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl")
#: libpq's keyword → asyncpg's argument, and how its text is read.
_WORDS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "connect_timeout": ("timeout", float),
    "passfile": ("passfile", str),
    "target_session_attrs": ("target_session_attrs", str),
    "krbsrvname": ("krbsrvname", str),
    "prepared_statement_cache_size": ("prepared_statement_cache_size", int),
    "statement_cache_size": ("statement_cache_size", int),
    "command_timeout": ("command_timeout", float),
}
#: SQLAlchemy keeps statements. asyncpg's own cache would give COPY the types that columns had when it first saw them, and
#: its bytes say nothing of their type: it gets nothing to keep but the ping, which is one character.
_KEEPING = {"max_cacheable_statement_size": 1}
_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_INSTEAD = "leave it out, or use psycopg: postgresql+psycopg://…"
#: Of libpq's own socket or protocol: without meaning there, and without harm.
_WITHOUT_MEANING = {
    "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
    "client_encoding", "gssencmode", "channel_binding", "sslcompression", "sslnegotiation",
}  # fmt: skip


def place_in(url: URL) -> dict[str, Any]:
    """The part of a URL's query that stays in it."""
    return {name: value for name, value in url.query.items() if name in _PLACE}


def asyncpg_arguments(url: URL, settings: Settings) -> dict[str, Any]:
    """Arguments of ``asyncpg.connect`` for an entry. Raises ConfigError for a word that it has no like of, or a value that
    it cannot have."""

    def wrong(name: str, why: str) -> NoReturn:
        raise ConfigError(f"the URL of {settings.name!r} has {name!r}, which {why}", hint=_INSTEAD)

    given = {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
    arguments: dict[str, Any] = {"timeout": float(settings.connect_timeout), **_KEEPING}
    server: dict[str, str] = {}
    for name, value in given.items():
        if name in _PLACE or name in _FILES or name in _WITHOUT_MEANING or name == "sslmode":
            continue
        if name in ("application_name", "options"):
            server.update({name: value} if name == "application_name" else _server_settings(value))
        elif name in _WORDS:
            word, read = _WORDS[name]
            try:
                arguments[word] = read(value)
            except ValueError:
                wrong(name, "must be a number")
        else:
            wrong(name, "asyncpg has no word for")
    mode = SSL_MODES.get(settings.tls or "", given.get("sslmode"))
    if mode is not None:
        if mode not in _MODES:
            wrong("sslmode", f"must be one of {', '.join(_MODES)}")
        try:
            arguments["ssl"] = _context(mode, given) if any(name in given for name in _FILES) else mode
        except OSError as exc:  # ssl.SSLError is one
            wrong("sslrootcert or sslcert", f"cannot be read: {type(exc).__name__}")
    return {**arguments, "server_settings": server} if server else arguments


def without_stale_statements(arguments: dict[str, Any]) -> dict[str, Any]:
    """Where asyncpg is to keep no statement (PgBouncer), SQLAlchemy may not either: without names they are read anew by the
    server and their answers by types that the columns once had."""
    if arguments.get("statement_cache_size") == 0:
        arguments.setdefault("prepared_statement_cache_size", 0)
    return arguments


def _server_settings(options: str) -> dict[str, str]:
    """``-c name=value`` as the server would read it from libpq."""
    words = options.replace("--", "-c ").split("-c")
    pairs = (word.strip().partition("=") for word in words if word.strip())
    return {name.strip().replace("-", "_"): value.strip() for name, _, value in pairs}


def _context(mode: str, given: Mapping[str, str]) -> ssl.SSLContext | bool:
    """libpq's certificate files as a context."""
    if mode == "disable":
        return False
    root = given.get("sslrootcert")
    context = ssl.create_default_context(cafile=None if root in (None, "system") else root)
    context.check_hostname = mode == "verify-full"
    if mode not in ("verify-ca", "verify-full"):
        context.verify_mode = ssl.CERT_REQUIRED if root else ssl.CERT_NONE
    if "sslcert" in given:
        context.load_cert_chain(given["sslcert"], given.get("sslkey"), given.get("sslpassword"))
    return context
