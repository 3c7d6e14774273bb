"""The kinds of value that a key takes: what each accepts, in the words of its message, and how it is
converted.

    text · path · secret · url · port · whole(low, high) · seconds · flag · one_of(…) · mapping · texts

A kind refuses with a ValueError. Numbers may come as digits in a string, since variables have nothing else.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .secret import Secret, mask_url

__all__ = [
    "FromVariable",
    "Kind",
    "engine",
    "entry",
    "flag",
    "found",
    "host",
    "mapping",
    "models",
    "one_of",
    "path",
    "port",
    "seconds",
    "secret",
    "secrets",
    "text",
    "texts",
    "url",
    "whole",
]


class FromVariable(str):
    """A text that came from an environment variable; ``variable`` names it, for messages. Its repr shows no
    value.
    """

    variable: str

    def __new__(cls, value: str, variable: str) -> FromVariable:
        self = super().__new__(cls, value)
        self.variable = variable
        return self

    def __repr__(self) -> str:
        return f"<from {self.variable}>"


@dataclass(frozen=True, slots=True)
class Kind:
    """``accepts`` ends the sentence "give …"; ``convert`` raises ValueError for anything else.

    ``shown`` is False where a wrong value must not be shown in a message or a ``repr``.
    """

    accepts: str
    convert: Callable[[Any], Any]
    shown: bool = True


def found(value: Any, *, shown: bool = True) -> str:
    """What was found, for a message: ``the bool True``, or the type alone where values are not shown."""
    if isinstance(value, str) and not value:
        return "empty"
    name = "text" if isinstance(value, str) else type(value).__name__
    if not shown or not isinstance(value, (str, bool, int, float)):
        return f"of the type {name}"
    plain = str(value) if isinstance(value, str) else value
    words = repr(mask_url(plain) if isinstance(plain, str) and "://" in plain else plain)
    return f"the {name} {words if len(words) <= 60 else words[:57] + '…'}"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    return str(value)


def _no_url(value: Any) -> str:
    if "://" in _text(value):
        raise ValueError
    return _text(value)


def _path(value: Any) -> str:
    return _text(os.fspath(value) if isinstance(value, os.PathLike) else value)


def _secret(value: Any) -> Secret:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError
    return Secret(str(value))


# The authority ends at the first "/", "?" or "#"; each host may be [IPv6], percent-encoded or empty.
_URL = re.compile(
    r"^(?P<scheme>[A-Za-z][\w.+-]*)://(?:(?P<login>[^/?#]*)@)?(?P<hosts>[^/?#]*)(?P<rest>.*)$", re.DOTALL
)
_HOST = re.compile(r"^(?:\[[0-9A-Fa-f:.%\w]*\]|[^:\[\]@]*)(?::(?P<port>\d+))?$")


def _url(value: Any) -> Secret:
    if isinstance(value, Secret):
        value = value.reveal()
    elif hasattr(value, "render_as_string"):  # SQLAlchemy's URL, whose str() hides the password
        value = value.render_as_string(hide_password=False)
    match = _URL.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError
    hosts = match["hosts"].split(",")
    readable = all((host := _HOST.match(each)) and int(host["port"] or 1) in _PORTS for each in hosts)
    swallowed = (match["hosts"] or match["login"]) and "@" in match["rest"].partition("?")[0]
    if not readable or swallowed:
        raise ValueError
    return Secret(str(value))


_PORTS = range(1, 65536)


def _number(value: Any) -> int | float:
    if isinstance(value, str) and value.isascii():
        value = value.strip()
        value = int(value) if value.lstrip("-").isdecimal() else float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError
    return value


def whole(low: int, high: int | None = None) -> Kind:
    """Whole numbers from ``low``, up to ``high`` if there is one."""

    def convert(value: Any) -> int:
        number = _number(value)
        if not isinstance(number, int) or number < low or (high is not None and number > high):
            raise ValueError
        return number

    span = f"from {low} to {high}" if high is not None else f"of at least {low}"
    return Kind(f"a whole number {span}", convert)


def _seconds(value: Any) -> float:
    number = float(_number(value))
    if number <= 0:
        raise ValueError
    return number


_FLAGS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def _flag(value: Any) -> bool:
    if isinstance(value, FromVariable):
        value = _FLAGS.get(value.lower())
    if not isinstance(value, bool):
        raise ValueError
    return value


def one_of(*words: str) -> Kind:
    """One of these words, whatever its case."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in words:
            raise ValueError
        return value.lower()

    return Kind("one of " + ", ".join(repr(word) for word in words), convert)


def _mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, FromVariable):
        value = json.loads(value)
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError
    return dict(value)


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, FromVariable):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, (list, tuple)):
        raise ValueError
    return tuple(_text(each) for each in value)


def _models(value: Any) -> tuple[Any, ...]:
    if isinstance(value, (list, tuple)):
        return tuple(each if isinstance(each, type) else _text(each) for each in value)
    return _texts(value)


def _secrets(value: Any) -> tuple[Secret, ...]:
    return tuple((_url if "://" in each else Secret)(each) for each in _texts(value))


def _entry(value: Any) -> Any:
    return _mapping(value) if isinstance(value, Mapping) else _text(value)


text = Kind("text", _text)
engine = Kind("the name of an engine, as engine or engine+driver; a URL goes into the key URL", _no_url)
host = Kind("a server's name or address, or a socket's folder; a URL goes into the key URL", _no_url)
path = Kind("text or a path", _path)
secret = Kind("text", _secret, shown=False)
url = Kind(
    "a URL, scheme://user:password@host:port/database, in which the characters @ : / ? # % of a password "
    "are quoted (urllib.parse.quote), or give HOST, USER, PASSWORD and DB_NAME, which need no quoting",
    _url,
    shown=False,
)
port = whole(_PORTS.start, _PORTS.stop - 1)
seconds = Kind("a number of more than 0", _seconds)
flag = Kind("True or False", _flag)
mapping = Kind("a dict whose keys are text", _mapping, shown=False)
texts = Kind("a list of texts", _texts)
models = Kind('a list of "module" or "module:Class"', _models)
secrets = Kind("a list of URLs, or of `host` or `host:port`", _secrets, shown=False)
entry = Kind("the name of an entry, a URL, or a dict like an entry", _entry, shown=False)
