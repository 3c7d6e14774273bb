"""Types and defaults in the words of every engine: what a model says, what a database says, and whether that is the same.

of_model(type)              as a revision file names it
of_database(type, …)        the same of a column that was reflected: ``physical`` undone
is_same_type, is_same_default
"""

from __future__ import annotations

import re
import sys
from decimal import Decimal, InvalidOperation
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator, TypeEngine

from db_plugins.models import Vector
from db_plugins.models.fields import unwrapped

from .ddl import variant

__all__ = [
    "default_of_database",
    "family",
    "is_same_default",
    "is_same_type",
    "of_database",
    "of_model",
]


# -- what a revision file says -----------------------------------------------------------------------------------------


def of_model(type_: TypeEngine[Any], *, keyed: bool = False) -> TypeEngine[Any]:
    """The type as a revision file names it. A column in a key needs a length where the server asks for one."""
    plain = unwrapped(type_)
    if isinstance(plain, sa.Enum) and not type(plain).__module__.startswith("sqlalchemy.dialects."):
        return _enum(plain)
    if isinstance(plain, TypeDecorator) and not _can_be_imported(type(plain)):
        return of_model(plain.impl_instance, keyed=keyed)
    if type(plain) is sa.String and plain.length is None and keyed and plain.collation is None:
        unsaid = [name for name in ("mysql", "mariadb") if variant(plain, name) is plain]
        return plain.with_variant(sa.String(255), *unsaid) if unsaid else plain
    if (
        type(plain) is not sa.String
        and isinstance(plain, sa.String)
        and type(plain).__module__.startswith("sqlmodel")
    ):
        return sa.String(plain.length)
    return plain


def _enum(type_: sa.Enum) -> sa.Enum:
    """Without what only the model needs: its class, and the metadata that it belongs to."""
    options: dict[str, Any] = {"name": type_.name}
    if type_.schema is not None:
        options["schema"] = type_.schema
    if not type_.native_enum:
        options["native_enum"] = False
        options["length"] = type_.length
    if type_.create_constraint:
        options["create_constraint"] = True
    return sa.Enum(*type_.enums, **options)


def _can_be_imported(cls: type[Any]) -> bool:
    """Can a revision file import it by its name?"""
    module = sys.modules.get(cls.__module__)
    return cls.__module__ != "__main__" and getattr(module, cls.__qualname__, None) is cls


def of_database(type_: TypeEngine[Any], dialect_name: str, *, is_json: bool = False) -> TypeEngine[Any]:
    """What a model would say to get such a column."""
    if is_json:
        return sa.JSON()
    if isinstance(type_, (Vector, sa.JSON)):
        return type_
    if isinstance(type_, sa.Enum):
        return sa.Enum(*type_.enums, name=type_.name)
    rule = _RULES.get(type_.__visit_name__.upper())
    if rule is not None:
        found: TypeEngine[Any] = rule(type_, dialect_name)
        return found
    try:
        made: TypeEngine[Any] = type_.as_generic()
    except NotImplementedError:
        return type_
    return made


def _string(type_: Any, dialect_name: str) -> TypeEngine[Any]:
    ours = {"postgresql": "C"}.get(dialect_name)
    collation = type_.collation if dialect_name in ("sqlite", "postgresql") else None
    return (
        sa.String(type_.length) if collation in (None, ours) else sa.String(type_.length, collation=collation)
    )


def _char(type_: Any, dialect_name: str) -> TypeEngine[Any]:
    if type_.length == 32 and dialect_name != "postgresql":
        return sa.Uuid()
    return sa.CHAR(type_.length)


#: Visit names of reflected types → portable ones, where ``as_generic()`` does not say what the model said.
_RULES: dict[str, Any] = {
    "VARCHAR": _string,
    "TEXT": lambda _t, _d: sa.Text(),
    "LONGTEXT": lambda _t, _d: sa.Text(),
    "MEDIUMTEXT": lambda _t, _d: sa.Text(),
    "CHAR": _char,
    "LONGBLOB": lambda _t, _d: sa.LargeBinary(),
    "BYTEA": lambda _t, _d: sa.LargeBinary(),
    "BLOB": lambda _t, _d: sa.LargeBinary(),
    "DOUBLE": lambda _t, _d: sa.Double(),
    "DOUBLE_PRECISION": lambda _t, _d: sa.Double(),
    "FLOAT": lambda _t, _d: sa.Float(),
    "NUMERIC": lambda t, _d: sa.Numeric(t.precision, t.scale),
    "DECIMAL": lambda t, _d: sa.Numeric(t.precision, t.scale),
    "TINYINT": lambda t, _d: sa.Boolean() if t.display_width == 1 else sa.SmallInteger(),
    "DATETIME": lambda t, _d: sa.DateTime(),
    "TIMESTAMP": lambda t, _d: sa.DateTime(timezone=True) if t.timezone else sa.DateTime(),
    "TIME": lambda t, _d: sa.Time(timezone=True) if getattr(t, "timezone", False) else sa.Time(),
    "UUID": lambda _t, _d: sa.Uuid(),
    "BOOLEAN": lambda _t, _d: sa.Boolean(),
    "JSON": lambda _t, _d: sa.JSON(),
}


def default_of_database(text: str, type_: TypeEngine[Any]) -> Any:
    """A reflected default as a revision file says it: a text, or an expression."""
    text = _without_casts(text)
    if isinstance(type_, sa.Boolean) and text.strip("'").lower() in _BOOLEANS:
        return _BOOLEANS[text.strip("'").lower()]()
    if re.fullmatch(r"'(?:[^']|'')*'", text, re.S):
        return text[1:-1].replace("''", "'")
    if _is_now(text.lower()):
        return sa.text("CURRENT_TIMESTAMP")
    return sa.text(text)


_BOOLEANS: dict[str, Any] = {
    "true": sa.true,
    "1": sa.true,
    "false": sa.false,
    "0": sa.false,
    "t": sa.true,
    "f": sa.false,
}


def family(type_: TypeEngine[Any]) -> str:
    """Types of one family are converted without being told how."""
    for name, kinds in _FAMILIES:
        if isinstance(unwrapped(type_), kinds):
            return name
    return type(type_).__name__


_FAMILIES: tuple[tuple[str, tuple[type[Any], ...]], ...] = (
    ("enum", (sa.Enum,)),
    ("text", (sa.String,)),
    ("number", (sa.Integer, sa.Numeric, sa.Float)),
    ("boolean", (sa.Boolean,)),
    ("time", (sa.DateTime, sa.Date)),
    ("binary", (sa.LargeBinary, Vector)),
)


# -- whether a column is as its model says -----------------------------------------------------------------------------

#: Spellings of one type, by dialect; the first is what is compared.
_SPELLINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "sqlite": (
        (r"^DECIMAL\b", "NUMERIC"),
        (r"^INT$", "INTEGER"),
        (r"^(DOUBLE|REAL|DOUBLE PRECISION|FLOAT\(\d+\))$", "FLOAT"),  # one and the same there
    ),
    "postgresql": (
        (r"^FLOAT(\((2[5-9]|[345]\d)\))?$", "DOUBLE PRECISION"),
        (r"^FLOAT\(\d+\)$", "REAL"),
        (r"^DOUBLE$", "DOUBLE PRECISION"),
        (r"^DECIMAL\b", "NUMERIC"),
        (r"^VARCHAR\(NONE\)$", "VARCHAR"),
    ),
    "mysql": (
        (r"^BOOL(EAN)?$", "TINYINT(1)"),
        (r"^JSON$", "LONGTEXT"),
        (r"^(INTEGER|INT|BIGINT|SMALLINT)\(\d+\)", r"\1"),
        (r"^INT\b", "INTEGER"),
        (r"^NUMERIC\b", "DECIMAL"),
        (r"^DECIMAL\((\d+)\)$", r"DECIMAL(\1, 0)"),
        (r"^DECIMAL$", "DECIMAL(10, 0)"),
        (r"^DOUBLE PRECISION$", "DOUBLE"),
        (r"^FLOAT\((2[5-9]|[345]\d)\)$", "DOUBLE"),
        (r"^FLOAT\(\d+\)$", "FLOAT"),
    ),
}
_SPELLINGS["mariadb"] = _SPELLINGS["mysql"]


def is_same_type(dialect: Any, found: TypeEngine[Any], wanted: sa.Column[Any]) -> bool:
    """Would DDL of today make the column that is there?"""
    made = dialect.type_compiler_instance.process(wanted.type, type_expression=wanted)
    if isinstance(found, sa.types.NullType):
        return True  # of a type that SQLAlchemy does not know
    if dialect.name == "sqlite" and re.split(r"\W", made)[0].upper() not in dialect.ischema_names:
        return True  # its own types are named, and any other reads as NUMERIC
    return _spelt(made, dialect.name) == _spelt(dialect.type_compiler_instance.process(found), dialect.name)


def _spelt(text: str, dialect_name: str) -> str:
    text = re.sub(
        r"\s+(CHARACTER SET|CHARSET|COLLATE)\s+(\"[^\"]*\"|\S+)", "", text.strip(), flags=re.I
    ).upper()
    text = re.sub(r"\s*,\s*", ", ", text)
    for pattern, spelling in _SPELLINGS.get(dialect_name, ()):
        text = re.sub(pattern, spelling, text)
    return text


_NOW = {"now", "current_timestamp", "localtimestamp"}


def is_same_default(dialect: Any, found: str | None, wanted: sa.Column[Any]) -> bool:
    """Is the server's default what the model says, whatever the server makes of its text?"""
    made = dialect.ddl_compiler(dialect, None).get_column_default_string(wanted)
    if made is not None:
        made = made.replace("%%", "%")  # as drivers want it that put values into the statement
    before, after = (_as_number(_default(text, wanted), wanted) for text in (found, made))
    return bool(before == after)


def _as_number(text: str | None, column: sa.Column[Any]) -> Any:
    """MariaDB says 2.500 for a Numeric(8, 3) that is 2.5."""
    if text is None or family(column.type) != "number":
        return text
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


def _default(text: str | None, column: sa.Column[Any]) -> str | None:
    if text is None or text.strip().upper() == "NULL":
        return None
    text = _without_casts(text)
    if re.fullmatch(r"'(?:[^']|'')*'", text, re.S):
        text = text[1:-1]
        return text.lower() if _is_boolean(column) else text.replace("''", "'").replace("\\\\", "\\")
    text = text.lower()
    if _is_now(text):
        return "current_timestamp()"
    if _is_boolean(column):
        return {"true": "1", "false": "0"}.get(text, text)
    return re.sub(r"\s+", " ", text)


def _without_casts(text: str) -> str:
    """Without PostgreSQL's casts, and without parentheses around the whole."""
    text = text.strip()
    while text.startswith("(") and text.endswith(")") and _closes_last(text):
        text = text[1:-1].strip()
    words = r"character varying|double precision|bit varying|time(?:stamp)? with(?:out)? time zone"
    cast = rf"""::("[^"]*"|{words}|[\w.]+)(\(\d+(,\s*\d+)?\))?(\[\])?(\s+COLLATE\s+\S+)?(?=$|[\s,)])"""
    return re.sub(cast, "", text).strip()


def _is_now(text: str) -> bool:
    return text.partition("(")[0] in _NOW and bool(re.fullmatch(r"\w+(\(\d*\))?", text))


def _is_boolean(column: sa.Column[Any]) -> bool:
    return isinstance(unwrapped(column.type), sa.Boolean)


def _closes_last(text: str) -> bool:
    depth = 0
    for place, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return place == len(text) - 1
    return False
