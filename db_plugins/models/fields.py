"""What one column of a model takes: its kind, its bounds, its default.

``TYPE_KINDS`` is the one table from SQLAlchemy's types to the closed set of kinds that every engine knows how to hold.
A type that is not in it (ARRAY, JSONB operators, a dialect's own) is ``NATIVE``: unchecked, and only for engines that
speak SQLAlchemy's types.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.orm import LoaderCallableStatus
from sqlalchemy.types import TypeDecorator, TypeEngine

from .vectors import Vector

__all__ = ["Default", "Field", "Kind", "kind_of", "make_field", "unwrapped"]


class Kind(enum.Enum):
    """The kinds of value that are portable, and ``NATIVE`` for the rest."""

    # Enum's own hashes the name in Python: of an engine that looks kinds up for each value it took a tenth of the time.
    __hash__ = object.__hash__

    INTEGER = "int"
    FLOAT = "float"
    DECIMAL = "Decimal"
    TEXT = "str"
    ENUM = "enum member or its name"
    BOOLEAN = "bool"
    DATETIME = "aware datetime"
    NAIVE_DATETIME = "naive datetime"
    DATE = "date"
    TIME = "time"
    UUID = "UUID"
    BYTES = "bytes"
    JSON = "what json.dumps takes"
    VECTOR = "a list of numbers"
    NATIVE = "anything the driver takes"


#: Most specific first: Enum is a String, BigInteger an Integer, Float was a Numeric until SQLAlchemy 2.1.
TYPE_KINDS: tuple[tuple[type[TypeEngine[Any]], Kind], ...] = (
    (sa.Enum, Kind.ENUM),
    (sa.Boolean, Kind.BOOLEAN),
    (sa.Integer, Kind.INTEGER),
    (sa.Float, Kind.FLOAT),
    (sa.Numeric, Kind.DECIMAL),
    (sa.Uuid, Kind.UUID),
    (sa.JSON, Kind.JSON),
    (sa.LargeBinary, Kind.BYTES),
    (sa.DateTime, Kind.DATETIME),
    (sa.Date, Kind.DATE),
    (sa.Time, Kind.TIME),
    (sa.String, Kind.TEXT),
    (Vector, Kind.VECTOR),
)


@dataclass(frozen=True, slots=True)
class Default:
    """A Python-side default: a value, or a function that makes one of what is known of the row."""

    make: Callable[[Mapping[str, Any]], Any]
    #: Is it a value, the same for every row?
    is_scalar: bool = False

    @classmethod
    def of(cls, generator: Any) -> Default | None:
        """Read a SQLAlchemy ``default=`` or ``onupdate=``; ``None`` for what only a SQL server can compute."""
        if generator is None or not (generator.is_scalar or generator.is_callable):
            return None
        arg = generator.arg
        if generator.is_scalar:
            return cls(lambda _row: arg, is_scalar=True)
        # SQLAlchemy wraps every callable so that it takes one argument, its execution context.
        return cls(lambda row: arg(_DefaultContext(row)))

    @classmethod
    def of_dataclass(cls, item: dataclasses.Field[Any]) -> Default | None:
        """Read the default of a dataclass-mapped attribute, which need not be in its Column."""
        if item.default_factory is not dataclasses.MISSING:
            factory = item.default_factory
            return cls(lambda _row: factory())
        # SQLAlchemy 2.1 marks "not given" with a member of its own, and has real defaults in the Column.
        if isinstance(item.default, LoaderCallableStatus) or not isinstance(
            item.default, (int, float, str, bytes, type(None), enum.Enum)
        ):
            return None
        value = item.default
        return cls(lambda _row: value, is_scalar=True)


class _DefaultContext:
    """The little of SQLAlchemy's execution context that a context-sensitive default may ask for."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.current_parameters = dict(row)

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> dict[str, Any]:
        return self.current_parameters


@dataclass(frozen=True, eq=False, slots=True)
class Field:
    """One column of a model, as engines see it. ``name`` is the attribute, ``column`` the name in the database."""

    model: type
    name: str
    column: str
    kind: Kind
    sql_type: TypeEngine[Any]
    #: The Column itself, for engines that speak SQLAlchemy.
    table_column: sa.Column[Any]
    nullable: bool
    primary_key: bool
    #: Filled by a Python-side default, by the numbering of keys, or by the server: it may be left out of a row.
    default: Default | None = None
    onupdate: Default | None = None
    numbered: bool = False
    server_default: bool = False
    server_onupdate: bool = False
    #: Bounds by kind: characters or bytes of TEXT, numbers of VECTOR, bits of INTEGER, digits and decimals of DECIMAL.
    length: int | None = None
    bits: int = 64
    precision: int | None = None
    scale: int | None = None
    enum_class: type[enum.Enum] | None = None
    enum_names: tuple[str, ...] = ()
    #: For a TypeDecorator with processing of its own: Python value → value of ``kind`` as stored, and back.
    to_stored: Callable[[Any], Any] | None = None
    from_stored: Callable[[Any], Any] | None = None
    #: In a query of several models, which of them this is a column of; empty for the query's own (``ModelInfo.scoped``).
    scope: str = ""

    @property
    def path(self) -> str:
        """The key of its value in a row that holds several models' columns: the name, with the scope before it."""
        return f"{self.scope}.{self.name}" if self.scope else self.name

    @property
    def label(self) -> str:
        """``Model.attribute``, as every message names it."""
        return f"{self.model.__name__}.{self.name}"

    @property
    def required(self) -> bool:
        """Must every new row give a value?"""
        return not (self.nullable or self.default or self.numbered or self.server_default)

    def __repr__(self) -> str:
        return f"{self.scope}:{self.label}" if self.scope else self.label


def make_field(
    model: type, name: str, column: sa.Column[Any], *, numbered: bool, fallback: Default | None
) -> Field:
    """Read one column attribute. ``fallback`` is the default of a dataclass-mapped class, which its Column may lack."""
    stored = _stored_type(column.type)
    kind = Kind.NATIVE if _overrides(column.type, "bind_processor", "result_processor") else kind_of(stored)
    default = Default.of(column.default) or fallback
    return Field(
        model=model,
        name=name,
        column=column.name,
        kind=kind,
        sql_type=column.type,
        table_column=column,
        nullable=bool(column.nullable) and not column.primary_key,
        primary_key=column.primary_key,
        default=default,
        onupdate=Default.of(column.onupdate),
        numbered=numbered,
        server_default=column.server_default is not None or (column.default is not None and default is None),
        server_onupdate=column.server_onupdate is not None
        or (column.onupdate is not None and Default.of(column.onupdate) is None),
        **_bounds(kind, stored),
        **_coders(column.type),
    )


def _bounds(kind: Kind, stored: Any) -> dict[str, Any]:
    if kind in (Kind.TEXT, Kind.BYTES):
        return {"length": getattr(stored, "length", None)}
    if kind is Kind.VECTOR:
        return {"length": stored.dimensions}
    if kind is Kind.INTEGER:
        return {
            "bits": 16
            if isinstance(stored, sa.SmallInteger)
            else 64
            if isinstance(stored, sa.BigInteger)
            else 32
        }
    if kind is Kind.DECIMAL:
        return {"precision": stored.precision, "scale": getattr(stored, "scale", None)}
    if kind is Kind.ENUM:
        names = tuple(stored.enums if stored.enum_class is None else stored.enum_class.__members__)
        return {"enum_class": stored.enum_class, "enum_names": names}
    return {}


def _coders(type_: TypeEngine[Any]) -> dict[str, Any]:
    # SQLModel's AutoString overrides only load_dialect_impl: a plain String to us.
    if not isinstance(type_, TypeDecorator) or not _overrides(
        type_, "process_bind_param", "process_result_value"
    ):
        return {}
    dialect = DefaultDialect()
    # What a TypeDecorator leaves out raises NotImplementedError when it is called.
    return {
        "to_stored": (lambda value: type_.process_bind_param(value, dialect))
        if _overrides(type_, "process_bind_param")
        else _same,
        "from_stored": (lambda value: type_.process_result_value(value, dialect))
        if _overrides(type_, "process_result_value")
        else _same,
    }


def _same(value: Any) -> Any:
    return value


def _overrides(type_: TypeEngine[Any], *methods: str) -> bool:
    return isinstance(type_, TypeDecorator) and any(
        getattr(type(type_), name) is not getattr(TypeDecorator, name) for name in methods
    )


def kind_of(type_: TypeEngine[Any]) -> Kind:
    """The portable kind of a SQLAlchemy type, or ``Kind.NATIVE``."""
    kind = next((kind for sql_type, kind in TYPE_KINDS if isinstance(type_, sql_type)), Kind.NATIVE)
    if kind is Kind.DATETIME and not type_.timezone:  # type: ignore[attr-defined]
        return Kind.NAIVE_DATETIME
    if kind is Kind.UUID and not type_.as_uuid:  # type: ignore[attr-defined]
        return Kind.TEXT
    if kind in (Kind.FLOAT, Kind.DECIMAL):
        return Kind.DECIMAL if type_.asdecimal else Kind.FLOAT  # type: ignore[attr-defined]
    return kind


def unwrapped(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """The plain type behind a TypeDecorator that converts nothing, such as SQLModel's AutoString."""
    while isinstance(type_, TypeDecorator) and not _overrides(type_, *_PROCESSING):
        type_ = type_.impl_instance
    return type_


_PROCESSING = ("process_bind_param", "process_result_value", "bind_processor", "result_processor")


def _stored_type(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    while isinstance(type_, TypeDecorator):
        type_ = type_.impl_instance
    return type_
