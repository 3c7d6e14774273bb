"""What the user hands in becomes a row: checked values by field, defaults filled, nothing required left out.

A row is an instance of the model, a mapping of attribute names, or a Pydantic model (its set fields).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InvalidValueError, NotNullError
from ..expressions import Reader
from ..models import Field, ModelInfo
from ..models.objects import given_values

__all__ = ["new_row", "not_null", "of_row", "row_values"]


def row_values(info: ModelInfo, row: Any) -> Mapping[str, Any]:
    """The values by attribute name that a row gives, unchecked."""
    if isinstance(row, info.cls):
        return given_values(info, row)
    if isinstance(row, Mapping):
        return row
    if hasattr(row, "model_dump") and hasattr(row, "model_fields_set"):
        return {name: getattr(row, name) for name in row.model_fields_set}
    if row is None:
        raise InvalidValueError(
            f"a {info.name} was expected, not None", hint="get() and first() give None for no row"
        )
    raise InvalidValueError(
        f"a row of {info.name} cannot be a value of type {type(row).__name__}",
        hint=f"give an instance of {info.name}, a mapping of its attributes, or a Pydantic model",
    )


def new_row(reader: Reader, row: Any) -> dict[Field, Any]:
    """A whole new row: values checked, Python-side defaults filled in, the discriminator of a subclass set."""
    info = reader.model
    given = {info.field(name): value for name, value in row_values(info, row).items()}
    values: dict[Field, Any] = {}
    for field in info.fields:
        if field in given:
            value = reader.check(field, given[field])
            if value is None and field.numbered:
                continue
            values[field] = value
    for field in info.fields:
        if field not in values and field.default is not None:
            by_name = {f.name: v for f, v in values.items()}
            values[field] = reader.check(field, field.default.make(by_name))
    if info.discriminator is not None and info.mapper.polymorphic_identity is not None:
        values.setdefault(info.discriminator, info.mapper.polymorphic_identity)
    for field in info.fields:
        if field in values:
            not_null(reader, field, values[field])
        elif field.required:
            raise NotNullError(
                f"{field.label} is required and was not given", attributes=(field.name,), engine=reader.engine
            )
        elif field.nullable and not field.server_default:
            values[field] = None
    return values


def not_null(reader: Reader, field: Field, value: Any) -> None:
    """Refuse None (also one that a NaN became) in a column that takes no NULL."""
    if value is None and not field.nullable:
        raise NotNullError(
            f"{field.label} cannot be None",
            attributes=(field.name,),
            engine=reader.engine,
            hint="make it nullable=True",
        )


def of_row(error: Any, number: int) -> Any:
    """The error, saying which of many rows it is about."""
    error.args = (f"{error.fact} (row {number} of those given)",)
    return error
