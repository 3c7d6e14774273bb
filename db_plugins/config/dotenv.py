"""Reads ``.env`` files: ``NAME=value`` lines, with ``export``, comments and quotes, and no expansion.

    PLAIN = text up to a comment # this
    export SINGLE='as it stands: $ # \\ "'
    DOUBLE="with \\n, \\", \\\\ ; may run over lines"

``$`` stays as it is, since passwords hold it. Lines that are none of these are left out, as other readers do.
"""

from __future__ import annotations

import re

__all__ = ["parse_dotenv"]

_ASSIGNMENT = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][\w.]*)[ \t]*=
        (?: [ \t]*'(?P<single>[^']*)'         [ \t]*(?:\#[^\n]*)?$
          | [ \t]*"(?P<double>(?:[^"\\]|\\.)*)"  [ \t]*(?:\#[^\n]*)?$
          | (?P<bare>(?![ \t]*['"])[^\n]*)$
        )""",
    re.MULTILINE | re.VERBOSE | re.DOTALL | re.ASCII,
)
_COMMENT = re.compile(r"[ \t]+#.*$")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def parse_dotenv(text: str) -> dict[str, str]:
    """The variables of a ``.env`` text; of two assignments to one name the last counts.

    >>> parse_dotenv("export DB_HOST=db # the server\\nDB_PASSWORD='p#w'")
    {'DB_HOST': 'db', 'DB_PASSWORD': 'p#w'}
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    return {match["name"]: _value(match) for match in _ASSIGNMENT.finditer(text)}


def _value(match: re.Match[str]) -> str:
    single, double, bare = match["single"], match["double"], match["bare"]
    if single is not None:
        return single
    if double is not None:
        return _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[1]), double)
    return _COMMENT.sub("", bare).strip()
