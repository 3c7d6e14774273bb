"""Values as source of a revision file: plain data, on one line if it fits, else one entry a line."""

from __future__ import annotations

import datetime as dt
import math
import re
import uuid
from collections.abc import Mapping
from typing import Any

from bson import Binary, Decimal128
from bson.int64 import Int64

from db_plugins.errors import MigrationError

__all__ = ["IMPORTS", "call", "imports_of", "literal", "shell"]

_WIDTH = 96
#: What the source of values may need, beside ``op``.
IMPORTS = {
    "Binary(": "from bson import Binary",
    "Decimal128(": "from bson import Decimal128",
    "datetime.": "import datetime",
}


def call(operation: str, /, *arguments: Any, **keywords: Any) -> str:
    """``op.operation(…)`` with these arguments; those that are None are left out."""
    parts = [("", a) for a in arguments] + [(f"{k}=", v) for k, v in keywords.items() if v is not None]
    line = f"op.{operation}({', '.join(prefix + literal(value) for prefix, value in parts)})"
    if len(line) <= _WIDTH and "\n" not in line:
        return line
    inner = "".join(f"    {prefix}{_laid_out(value, 4, len(prefix))},\n" for prefix, value in parts)
    return f"op.{operation}(\n{inner})"


def imports_of(source: str) -> frozenset[str]:
    """The import lines that this source needs."""
    bare = re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", "''", source)
    return frozenset(line for word, line in IMPORTS.items() if word in bare)


def literal(value: Any) -> str:
    """One value as source, on one line. Raises MigrationError for what has none."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(str(k))}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(literal(v) for v in value) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Int64):
        return str(int(value))
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    if isinstance(value, uuid.UUID):
        return literal(Binary.from_uuid(value))
    if isinstance(value, Binary):
        return f"Binary({bytes(value)!r}, {value.subtype})"
    if isinstance(value, dt.datetime):
        return repr(value.replace(tzinfo=None))
    if value is None or isinstance(value, (bool, int, float, bytes, Decimal128)):
        return repr(value)
    raise MigrationError(
        f"a value of type {type(value).__name__} cannot be written in a revision file",
        hint="make an empty revision (make_migrations --empty) and write it by hand",
    )


def _text(value: str) -> str:
    """With double quotes where that is possible, as formatters write it."""
    plain = repr(value)
    if plain[0] == "'" and '"' not in plain and "\\'" not in plain:
        return f'"{plain[1:-1]}"'
    return plain


def _laid_out(value: Any, indent: int, taken: int = 0) -> str:
    line = literal(value)
    if len(line) + indent + taken <= _WIDTH or not isinstance(value, (Mapping, list, tuple)) or not value:
        return line
    pad = " " * (indent + 4)
    if isinstance(value, Mapping):
        items = [(f"{_text(str(k))}: ", v) for k, v in value.items()]
        opening, closing = "{", "}"
    else:
        items = [("", v) for v in value]
        opening, closing = "[", "]"
    lines = "".join(f"{pad}{prefix}{_laid_out(v, indent + 4, len(prefix))},\n" for prefix, v in items)
    return f"{opening}\n{lines}{' ' * indent}{closing}"


def shell(value: Any) -> str:
    """A value in the shell's words, for people: ``{"name": 1}``."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(str(k))}: {shell(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(shell(v) for v in value) + "]"
    words = {True: "true", False: "false", None: "null"}
    if value is None or isinstance(value, bool):
        return words[value]
    return _text(value) if isinstance(value, str) else str(value)
