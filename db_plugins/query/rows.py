"""What the user hands in as a row: an instance of the model, a mapping of attribute names, or a Pydantic model (its set fields)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InvalidValueError, NotNullError
from ..expressions import Reader
from ..models import Field, ModelInfo
from ..models.objects import given_values

__all__ = ["not_null", "of_row", "row_values"]


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


def not_null(reader: Reader, field: Field, value: Any) -> None:
    """Refuse None (also one that a NaN became) in a column that takes no NULL."""
    if value is None and not field.nullable:
        raise NotNullError(
            f"{field.label} cannot be None",
            attributes=(field.name,),
            engine=reader.engine,
            hint="make it nullable=True",
        )


def of_row(error: Any, number: int | None) -> Any:
    """The error, saying which of many rows it is about."""
    if number is not None:
        error.args = (f"{error.fact} (row {number} of those given)",)
    return error
