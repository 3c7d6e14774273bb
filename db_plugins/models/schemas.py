"""``schemas(M)``: three Pydantic models of a model's columns, for what comes in and what goes out of a program.

    HeroCreate, HeroUpdate, HeroRead = schemas(Hero, exclude=["hashed_password"])

``TYPES`` is the table from a column's kind to its Python type. What Create and Update take, ``insert`` and ``update`` take:
after Pydantic each value goes through the check of its column. Read has no bounds, for it shows what is stored.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import enum
import uuid
import warnings
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from sqlalchemy.types import TypeDecorator

from ..errors import ConfigError, InvalidValueError, nearest
from .describe import ModelInfo, describe
from .fields import Field, Kind
from .values import Limits, make_checker

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["compared_type", "schemas"]


def schemas(
    model: type, *, exclude: Iterable[str] = (), create_exclude: Iterable[str] = ()
) -> tuple[type[BaseModel], type[BaseModel], type[BaseModel]]:
    """Pydantic models ``MCreate``, ``MUpdate`` and ``MRead`` of the columns of ``M``, each with ``from_attributes``.

    Create requires what every new row must give, and has a column's plain default as its own; what a function fills is
    unset until ``insert``. Update has no required field: what is unset stays, and None clears, where the column may be NULL.
    Read has all columns. Left out of Create and Update: keys that are numbered or made by a default, datetimes that a
    function or ``onupdate`` fills, the version, the discriminator; out of Update: every primary key. Both refuse names
    that they do not have. Out of all three: ``exclude``, out of Create: ``create_exclude``, and names that begin with ``_``.

        HeroCreate, HeroUpdate, HeroRead = schemas(Hero)
        hero = db.query(Hero).insert(HeroCreate(name="Ann"))
        db.query(Hero).update(hero, HeroUpdate(note=None))
        HeroRead.model_validate(hero).model_dump_json()

    Raises InvalidValueError for a name that is no column, ConfigError if Pydantic is not installed.
    """
    pydantic = _load_pydantic()
    info = describe(model)
    hidden = _names(info, "exclude", exclude)
    not_new = hidden | _names(info, "create_exclude", create_exclude)
    shown = [f for f in info.fields if f.name not in hidden and not f.name.startswith("_")]
    given = [f for f in shown if not _is_filled(info, f)]
    make = _Maker(pydantic, info)
    return (
        make.model("Create", {f.name: make.new(f) for f in given if f.name not in not_new}, extra="forbid"),
        make.model("Update", {f.name: make.change(f) for f in given if not f.primary_key}, extra="forbid"),
        make.model("Read", {f.name: make.stored(f) for f in shown}),
    )


def compared_type(info: ModelInfo, field: Field) -> Any:
    """The type of a value, given as text, that is to be compared with this column: for parameters of a request.

    Any 64-bit integer, as in filters; NaN, which would stand for NULL, is refused. Raises InvalidValueError for a column
    whose values no text can give.
    """
    pydantic = _load_pydantic()
    kind = _read_type(field) if field.to_stored is not None else _Maker(pydantic, info)._python_type(field)
    if kind in (None, Any, list[float]):
        raise InvalidValueError(
            f"{field.label} holds {field.kind.value}, which no parameter can give", hint="filter by another"
        )
    if kind in (float, Decimal):
        kind = Annotated[kind, pydantic.Field(allow_inf_nan=False)]
    if field.enum_class is not None:
        by_text = {str(member.value): member for member in field.enum_class}
        kind = Annotated[kind, pydantic.BeforeValidator(lambda text: by_text.get(text, text))]
    return Annotated[kind, pydantic.AfterValidator(make_checker(field, Limits(), in_filter=True))]


def _read_type(field: Field) -> Any:
    """What a TypeDecorator says that its values are; where it says nothing, SQLAlchemy 2.1 asks what it stores."""
    kind: Any = field.table_column.type
    while True:
        try:
            return kind.python_type
        except NotImplementedError:
            if not isinstance(kind, TypeDecorator):
                return None
            kind = kind.impl_instance


def _load_pydantic() -> Any:
    try:
        import pydantic
    except ImportError as exc:
        raise ConfigError(
            "schemas needs Pydantic, which is not installed", hint='pip install "db-plugins-core[schemas]"'
        ) from exc
    return pydantic


def _names(info: ModelInfo, argument: str, names: Iterable[str]) -> set[str]:
    if isinstance(names, str):
        raise InvalidValueError(f"{argument} takes a list of names, not one str", hint=f"write [{names!r}]")
    found = set(names)
    for name in found:
        if name not in info.by_name:
            raise InvalidValueError(
                f"{argument}: {info.name} has no column {str(name)[:80]!r}",
                hint=nearest(str(name)[:80], info.by_name),
            )
    return found


def _is_filled(info: ModelInfo, field: Field) -> bool:
    """Does the program fill this column, so that nobody need give it?"""
    by_function = field.server_default or (field.default is not None and not field.default.is_scalar)
    if field is info.version:
        return True
    if field is info.discriminator:
        return info.mapper.polymorphic_identity is not None
    if field.primary_key:
        return field.numbered or by_function
    if field.kind in (Kind.DATETIME, Kind.NAIVE_DATETIME):
        return by_function or field.onupdate is not None or field.server_onupdate
    return False


class _Maker:
    """Makes the fields, and the three models of them."""

    def __init__(self, pydantic: Any, info: ModelInfo) -> None:
        self.pydantic = pydantic
        self.info = info

    def model(self, suffix: str, fields: dict[str, Any], **config: Any) -> type[BaseModel]:
        with warnings.catch_warnings():
            # A column may be named "json" or "copy": it hides a method of Pydantic's that nobody needs.
            warnings.filterwarnings("ignore", message="Field name .* shadows an attribute")
            made: type[BaseModel] = self.pydantic.create_model(
                f"{self.info.name}{suffix}",
                __config__=self.pydantic.ConfigDict(from_attributes=True, protected_namespaces=(), **config),
                __module__=self.info.cls.__module__,
                **fields,
            )
        return made

    def new(self, field: Field) -> tuple[Any, Any]:
        """Required, or with the default that every row gets; what a function fills is unset."""
        if field.required:
            return self._checked(field), self._about(field, default=...)
        if field.default is not None and field.default.is_scalar:
            return self._checked(field), self._about(field, default=field.default.make({}))
        return self.change(field)

    def change(self, field: Field) -> tuple[Any, Any]:
        """Unset, if nothing is given."""
        if field.nullable:
            return self._checked(field), self._about(field, default=None)
        # None stands for "unset" and is no default to show: given, it is refused.
        return self._checked(field), self._about(
            field, default=None, json_schema_extra=lambda schema: schema.pop("default", None)
        )

    def stored(self, field: Field) -> tuple[Any, Any]:
        kind = self._python_type(field)
        return (kind | None if field.nullable and kind is not Any else kind), self._about(field, default=...)

    def _about(self, field: Field, **options: Any) -> Any:
        return self.pydantic.Field(description=field.table_column.comment, **options)

    def _checked(self, field: Field) -> Any:
        """The type with its bounds, and with the check that writes make, which is the last word."""
        check = make_checker(field, Limits())

        def fits(value: Any) -> Any:
            value = check(value)
            if value is None and not field.nullable:
                raise ValueError(f"{field.label} cannot be None")
            return value

        bounds = self.pydantic.Field(**_BOUNDS[field.kind](field)) if field.kind in _BOUNDS else None
        kind = self._python_type(field)
        if bounds is not None:
            kind = Annotated[kind, bounds]
        kind = Annotated[kind, self.pydantic.AfterValidator(fits)]
        return kind | None if field.nullable else kind

    def _python_type(self, field: Field) -> Any:
        if field.to_stored is not None:
            return Any  # a TypeDecorator's own values
        if field.kind is Kind.ENUM:
            return self._enum(field)
        if field.kind is Kind.DATETIME:
            return self.pydantic.AwareDatetime
        if field.kind is Kind.NAIVE_DATETIME:
            return self.pydantic.NaiveDatetime
        if field.kind is Kind.BYTES:
            return self._bytes()
        return TYPES[field.kind]

    def _enum(self, field: Field) -> Any:
        """A member, by its value as in all of Pydantic, or by its name as in all of this library."""
        cls = field.enum_class
        if cls is None:
            return Literal[field.enum_names]

        def member(value: Any) -> Any:
            is_value = any(each.value == value for each in cls)
            return value if is_value or not isinstance(value, str) else cls.__members__.get(value, value)

        return Annotated[cls, self.pydantic.BeforeValidator(member)]

    def _bytes(self) -> Any:
        """Bytes, which JSON writes and reads as base64: not every byte is UTF-8."""
        return Annotated[
            bytes,
            self.pydantic.BeforeValidator(_from_base64),
            self.pydantic.PlainSerializer(
                lambda value: base64.b64encode(value).decode(), return_type=str, when_used="json-unless-none"
            ),
            self.pydantic.WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
        ]


def _from_base64(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise ValueError("text for bytes must be base64") from None


TYPES: dict[Kind, Any] = {
    Kind.INTEGER: int,
    Kind.FLOAT: float,
    Kind.DECIMAL: Decimal,
    Kind.TEXT: str,
    Kind.ENUM: enum.Enum,
    Kind.BOOLEAN: bool,
    Kind.DATETIME: dt.datetime,
    Kind.NAIVE_DATETIME: dt.datetime,
    Kind.DATE: dt.date,
    Kind.TIME: dt.time,
    Kind.UUID: uuid.UUID,
    Kind.BYTES: bytes,
    Kind.JSON: Any,
    Kind.VECTOR: list[float],
    Kind.NATIVE: Any,
}

_BOUNDS: dict[Kind, Callable[[Field], dict[str, Any]]] = {
    Kind.INTEGER: lambda field: {"ge": -(1 << field.bits - 1), "le": (1 << field.bits - 1) - 1},
    Kind.DECIMAL: lambda field: {"max_digits": field.precision, "decimal_places": field.scale},
    Kind.TEXT: lambda field: {"max_length": field.length},
    Kind.VECTOR: lambda field: {"min_length": field.length, "max_length": field.length},
}
