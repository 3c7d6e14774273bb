"""MariaDB's DDL in the form that may be sent twice: ``ADD COLUMN IF NOT EXISTS``.

For the one statement of which nobody knows whether it was done when the process or the server died. MySQL knows none of
these forms.
"""

from __future__ import annotations

import re

__all__ = ["describe", "kind_of", "repeatable"]

_NAME = r"(?:`[^`]+`|[\w$]+)(?:\.(?:`[^`]+`|[\w$]+))?"
_ALTER = rf"(ALTER TABLE {_NAME} )"

#: A statement as SQLAlchemy and Alembic write it → what is put in for it. Those that say the same twice stay as they are.
_FORMS: list[tuple[str, str]] = [
    (r"(CREATE TABLE )(?!IF\b)", r"\1IF NOT EXISTS "),
    (r"(DROP TABLE )(?!IF\b)", r"\1IF EXISTS "),
    (r"(CREATE (?:UNIQUE |FULLTEXT |SPATIAL )?INDEX )(?!IF\b)", r"\1IF NOT EXISTS "),
    (r"(DROP INDEX )(?!IF\b)", r"\1IF EXISTS "),
    (r"(RENAME TABLE )(?!IF\b)", r"\1IF EXISTS "),
    (rf"ALTER TABLE (?!IF\b)({_NAME} RENAME (?:TO )?{_NAME})\s*$", r"ALTER TABLE IF EXISTS \1"),
    (rf"{_ALTER}ADD COLUMN (?!IF\b)", r"\1ADD COLUMN IF NOT EXISTS "),
    (rf"{_ALTER}DROP (?:COLUMN )?(?!IF\b|COLUMN\b|CONSTRAINT\b|FOREIGN\b|INDEX\b|KEY\b|PRIMARY\b|CHECK\b)", r"\1DROP COLUMN IF EXISTS "),
    (rf"{_ALTER}DROP (CONSTRAINT|FOREIGN KEY|INDEX) (?!IF\b)", r"\1DROP \2 IF EXISTS "),
    (rf"{_ALTER}ADD CONSTRAINT ({_NAME}) FOREIGN KEY ?(?=\()", r"\1ADD CONSTRAINT \2 FOREIGN KEY IF NOT EXISTS \2 "),
    (rf"{_ALTER}ADD CONSTRAINT ({_NAME}) UNIQUE ?(?=\()", r"\1ADD UNIQUE KEY IF NOT EXISTS \2 "),
    (rf"{_ALTER}ADD CONSTRAINT (?!IF\b)({_NAME}) CHECK", r"\1ADD CONSTRAINT IF NOT EXISTS \2 CHECK"),
    (rf"{_ALTER}CHANGE (?:COLUMN )?(?!IF\b|COLUMN\b)", r"\1CHANGE COLUMN IF EXISTS "),
    (rf"({_ALTER}MODIFY )", r"\1"),
    (rf"({_ALTER}ALTER (?:COLUMN )?)", r"\1"),
    (rf"({_ALTER}COMMENT\b)", r"\1"),
    (r"((?:CREATE|DROP) [\w ]*\bIF (?:NOT )?EXISTS )", r"\1"),
    (rf"{_ALTER}((?:ADD|DROP|CHANGE)[\w ]* IF (?:NOT )?EXISTS )", r"\1\2"),
    (r"((?:TRUNCATE|ANALYZE|OPTIMIZE) )", r"\1"),
    (r"(CREATE OR REPLACE )", r"\1"),
]  # fmt: skip
_PATTERNS = [(re.compile(rf"\s*{pattern}", re.I), form) for pattern, form in _FORMS]

#: What changes no table, and is part of a session: sent each time.
_OF_THE_SESSION = frozenset(
    [
        "SELECT",
        "SHOW",
        "DESCRIBE",
        "DESC",
        "EXPLAIN",
        "SET",
        "USE",
        "DO",
        "WITH",
        "VALUES",
        "TABLE",
        "LOCK",
        "UNLOCK",
        "SAVEPOINT",
        "RELEASE",
        "ROLLBACK",
        "BEGIN",
        "START",
        "COMMIT",
    ]
)
_ON_ROWS = frozenset(["INSERT", "UPDATE", "DELETE", "REPLACE"])
_COMMENTS = re.compile(r"(?:\s|\(|--[^\n]*\n|#[^\n]*\n|/\*(?!M?!).*?\*/)*", re.S)


def repeatable(statement: str) -> str | None:
    """The statement so that it may be sent again; None if MariaDB has no such form."""
    for pattern, form in _PATTERNS:
        if pattern.match(statement):
            return pattern.sub(form, statement, count=1)
    return None


def kind_of(statement: str) -> str:
    """``"session"``, ``"rows"`` (can be undone) or ``"schema"`` (is lasting at once)."""
    start = _COMMENTS.match(statement)
    words = statement[start.end() if start else 0 :].split(None, 2)
    first = words[0].upper().rstrip(";") if words else "SET"
    if first in _OF_THE_SESSION or (len(words) > 1 and words[1].upper() == "TEMPORARY"):
        return "session"
    return "rows" if first in _ON_ROWS else "schema"


def describe(statement: str) -> str:
    """What a statement is, for people: without values, and short."""
    text = re.sub(r"'(?:[^'\\]|\\.|'')*'", "'…'", " ".join(statement.split()))
    text = text.partition("(")[0].strip() or text
    return text if len(text) <= 100 else f"{text[:99]}…"
