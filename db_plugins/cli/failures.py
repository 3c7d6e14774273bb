"""An exception as people read it: a fact, a hint, the problems; for --verbose a traceback that shows no secret.

error: SQL: postgresql at db:5432 cannot be reached
hint: start the server, or correct HOST and PORT
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

from ..errors import ConfigError, DbPluginsError

__all__ = ["Failure", "failure_of", "hide", "trace_of"]

#: A shorter secret is not looked for: it would be found inside other words.
_SHORTEST = 4


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong. ``kind`` is the error's class; ``prefix`` opens the line."""

    fact: str
    hint: str | None = None
    problems: tuple[str, ...] = ()
    kind: str = ""
    prefix: str = "error: "
    error: BaseException | None = None

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        found: dict[str, Any] = {"error": self.fact, "hint": self.hint}
        if self.kind:
            found["type"] = self.kind
        if self.problems:
            found["problems"] = list(self.problems)
        return found

    def lines(self, entry: str = "") -> Iterator[str]:
        """For standard error: the fact (of this entry), its problems, the hint."""
        yield f"{self.prefix}{entry}{': ' if entry else ''}{self.fact}"
        yield from (f"  - {problem}" for problem in self.problems)
        if self.hint:
            yield f"hint: {self.hint}"


def failure_of(error: BaseException, secrets: Iterable[str] = ()) -> Failure:
    """The error in our words. What is not ours may quote a secret, which is hidden."""
    kind = type(error).__name__
    if isinstance(error, DbPluginsError):
        problems = tuple(map(_one_line, getattr(error, "problems", ())))
        hint = _one_line(error.hint) if error.hint else None
        return Failure(_one_line(error.fact), hint=hint, problems=problems, kind=kind, error=error)
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return Failure(hide(f"{error.strerror}{where}", secrets), kind=kind, error=error)
    said = _one_line(str(error))
    return Failure(
        hide(f"{kind}: {said}" if said else kind, secrets),
        hint="--verbose shows where",
        kind=kind,
        error=error,
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text without these secrets, also as they stand in a URL or a ``repr``."""
    for secret in sorted(secrets, key=len, reverse=True):
        for form in {secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}:
            if len(form) >= _SHORTEST:
                text = text.replace(form, "***")
    return text


def trace_of(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """The traceback with its causes, without source lines and without what the settings' own errors say.

    A line of settings.py may hold a password, and so may the message of an error in it.
    """
    parts = []
    quotes_settings = False
    for each in _chain(error):
        parts.append(_trace(each, with_message=not quotes_settings))
        quotes_settings = quotes_settings or isinstance(each, ConfigError)
    said = "\nThat was the cause of:\n".join(reversed(parts))
    return hide(said, secrets)


def _trace(error: BaseException, *, with_message: bool) -> str:
    frames = [
        f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    last = f"{type(error).__module__}.{type(error).__qualname__}"
    if with_message and str(error):
        last += f": {error}"
    return "\n".join(["Traceback (most recent call last):", *frames, last])


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, its cause, the cause of that."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        shown = None if following.__suppress_context__ else following.__context__
        following = following.__cause__ or shown
