"""``Vector(n)``: a column of n numbers, and what such a value is: a list of floats of 32 bits.

pgvector keeps 32 bits of each number, so every engine does: a vector is rounded when it is checked, and what is read back
is what every other engine would give back. As text it is ``[0.1,-2,3e-09]``: pgvector's own form, and JSON.
"""

from __future__ import annotations

import array
import math
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.types import UserDefinedType

from ..errors import EngineError, InvalidValueError

__all__ = ["MAX_DIMENSIONS", "NotAVectorError", "Vector", "make_vector", "read_vector"]

#: What pgvector's type holds.
MAX_DIMENSIONS = 16_000

#: Nine digits tell any two numbers of 32 bits apart.
_NUMBER = "%.9g"


class NotAVectorError(ValueError):
    """The value is no vector of this length. ``args[0]`` continues *not a value of type list*."""


class Vector(UserDefinedType[list[float]]):
    """The type of a column of ``dimensions`` numbers, for ``query.nearest``.

        embedding: Mapped[list[float] | None] = mapped_column(Vector(1536))

    It is pgvector's type on PostgreSQL, bytes or text on other SQL engines and an array on MongoDB. Takes a list, a tuple, an
    array or a one-dimensional numpy array of exactly that many finite numbers; gives a list of floats. Raises
    InvalidValueError for dimensions outside 1 to 16,000.
    """

    cache_ok = True
    #: Drivers that send text as text must be told what it is: ``%(embedding)s::VECTOR(3)``.
    render_bind_cast = True

    def __init__(self, dimensions: int) -> None:
        if type(dimensions) is not int or not 1 <= dimensions <= MAX_DIMENSIONS:
            raise InvalidValueError(
                f"Vector takes a number of dimensions from 1 to {MAX_DIMENSIONS}", hint="write Vector(1536)"
            )
        self.dimensions = dimensions

    @property
    def python_type(self) -> type[list[float]]:
        return list

    def get_col_spec(self, **_options: Any) -> str:
        """pgvector's type. A plugin whose servers do not know it makes another."""
        return f"VECTOR({self.dimensions})"

    def bind_processor(self, dialect: Any) -> Callable[[Any], str | None]:
        template = "[" + ",".join([_NUMBER] * self.dimensions) + "]"

        def process(value: Any) -> str | None:
            return None if value is None else template % tuple(make_vector(value, self.dimensions))

        return process

    def result_processor(self, dialect: Any, coltype: object) -> Callable[[Any], list[float] | None]:
        def process(value: Any) -> list[float] | None:
            if value is None:
                return None
            return read_vector(value[1:-1].split(",") if isinstance(value, str) else value, self.dimensions)

        return process


def make_vector(given: Any, dimensions: int) -> list[float]:
    """The value as a vector, each number rounded to 32 bits. Raises NotAVectorError, which says why not."""
    values = _listed(given)
    if values is None:
        raise NotAVectorError("")
    if len(values) != dimensions:
        raise NotAVectorError(f" of {len(values)} numbers")
    if not _NUMBERS.issuperset(map(type, values)):
        values = [_number(value) for value in values]
    try:
        rounded = array.array("f", values).tolist()
    except OverflowError:
        rounded = [math.inf]
    if not all(map(math.isfinite, rounded)):
        raise NotAVectorError(" with a number that is not finite in 32 bits")
    return rounded


_NUMBERS = frozenset({int, float})


def _listed(given: Any) -> Sequence[Any] | None:
    if isinstance(given, (list, tuple, array.array)):
        return given
    if getattr(given, "ndim", None) == 1 and hasattr(
        given, "tolist"
    ):  # numpy's arrays, and what is made like them
        values = given.tolist()
        return values if isinstance(values, list) else None
    return None


def _number(value: Any) -> Any:
    from .values import plain

    value = plain(value)
    if type(value) not in _NUMBERS:
        raise NotAVectorError(f" that holds a value of type {type(value).__name__}")
    return value


def read_vector(stored: Any, dimensions: int) -> list[float]:
    """The numbers of a stored vector (or their texts), as every engine gives them.

    Raises EngineError for what is no vector of this length: somebody else stored it.
    """
    try:
        found = array.array("f", map(float, stored)).tolist()
    except (TypeError, ValueError, OverflowError):
        found = []
    if len(found) != dimensions:
        raise EngineError(
            f"a column Vector({dimensions}) holds {f'{len(found)} numbers' if found else 'what is no vector'}",
            hint=f"store vectors of {dimensions} numbers, or correct the model",
        )
    return found
