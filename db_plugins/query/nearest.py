"""``nearest``: the objects whose vectors lie nearest to a given one.

    cosine           1 - cosine of the angle, 0 to 2; a vector of zeros has no direction and is left out
    l2               the straight line between them, 0 or more
    inner_product    the inner product with its sign turned, so that here too less is nearer

An engine whose Connection has the role SupportsVectors finds the rows itself; else the core reads keys and vectors, a batch
at a time, and keeps the nearest. The distances are measured here in either case, with exact sums in 64 bits: so they are
the same number on every engine.
"""

from __future__ import annotations

import enum
import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from operator import mul
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ..engine import SupportsVectors
from ..errors import InvalidValueError, UnsupportedFilterError, UnsupportedOperationError
from ..joining import among, keys_at_once
from ..models import Field, Kind
from ..nodes import Column, IsNull
from ..spec import QuerySpec
from .pages import check_whole

if TYPE_CHECKING:
    from .reading import ReadingVerbs

__all__ = ["METRICS", "Metric", "find_nearest"]

M = TypeVar("M")
Row = tuple[Any, ...]
Metric = Literal["cosine", "l2", "inner_product"]
#: The distance of a vector; ``None`` if it has none.
Measure = Callable[[Sequence[float]], float | None]

#: The most objects of one call.
MAX_NEAREST = 10_000
#: Rows that the core holds at a time while it looks for the nearest.
ROWS_AT_ONCE = 1000


def find_nearest(
    query: ReadingVerbs[M], column: Any, vector: Any, k: int, metric: Any
) -> list[tuple[M, float]]:
    """The ``k`` nearest objects, each with its distance."""
    field = _vector_column(query, column)
    if not isinstance(metric, str) or metric not in METRICS:
        raise InvalidValueError(
            f"there is no metric {str(metric)[:80]!r}", hint=f"use one of {', '.join(METRICS)}"
        )
    check_whole("k", k, 1, MAX_NEAREST)
    target = query._reader.literal(field, vector)
    if target is None:
        raise InvalidValueError(
            f"nearest needs a vector, not None, to compare {field.label} with",
            hint=f"give {field.length} numbers",
        )
    if metric == "cosine" and not any(target):
        raise InvalidValueError(
            f"a vector of zeros has no direction to compare {field.label} with", hint='use metric="l2"'
        )
    _refuse_window(query._spec)
    spec = query._spec.but(where=query._spec.and_where(IsNull(Column(field), negated=True)))
    measure = METRICS[metric](target)
    rows = _ask(query, spec, field, target, k, metric)
    if rows is None:
        rows = _search(query, spec, field, measure, k)
    return _measured(query, spec, rows, field, measure)


def _vector_column(query: ReadingVerbs[Any], given: Any) -> Field:
    field = query._reader.column(given)
    if field.kind is not Kind.VECTOR or field.to_stored is not None:
        raise UnsupportedFilterError(
            f"{query._reader.engine}: {field.label} is no Vector, and nearest needs one",
            hint="make the column db_plugins.Vector(n)",
        )
    return field


def _refuse_window(spec: QuerySpec) -> None:
    for name, present in (
        ("limit", spec.limit is not None),
        ("offset", spec.offset > 0),
        ("order_by", bool(spec.order)),
        ("group_by", spec.grouping is not None),
    ):
        if present:
            raise UnsupportedOperationError(
                f"nearest of a query with {name} has no meaning",
                hint="it orders by distance, and k is its limit",
            )


# -- distances ---------------------------------------------------------------------------------------------------------


def _cosine(target: Sequence[float]) -> Measure:
    square = math.fsum(map(mul, target, target))

    def measure(other: Sequence[float]) -> float | None:
        other_square = math.fsum(map(mul, other, other))
        if not other_square:
            return None
        # One root of the product: of a vector and itself it is exact, and the distance 0.
        cosine = math.fsum(map(mul, target, other)) / math.sqrt(square * other_square)
        return 1.0 - max(-1.0, min(1.0, cosine))

    return measure


def _l2(target: Sequence[float]) -> Measure:
    return lambda other: math.dist(target, other)


def _inner_product(target: Sequence[float]) -> Measure:
    return lambda other: 0.0 - math.fsum(map(mul, target, other))


#: Name → the function that measures from this vector. Squares of numbers of 32 bits, and their products, fit 64.
METRICS: dict[str, Callable[[Sequence[float]], Measure]] = {
    "cosine": _cosine,
    "l2": _l2,
    "inner_product": _inner_product,
}


# -- rows --------------------------------------------------------------------------------------------------------------


def _ask(
    query: ReadingVerbs[Any], spec: QuerySpec, field: Field, target: list[float], k: int, metric: str
) -> list[Row] | None:
    """The engine's rows, or ``None`` if it leaves it to the core."""
    runner = query._runner
    compiled = runner.engine.compile(spec)
    with runner.errors():
        connection = runner.connection
        if compiled.residual is None and isinstance(connection, SupportsVectors):
            with runner.watched_query("nearest", spec) as call:
                found = connection.nearest(compiled, field, target, k, metric)
                if found is None:
                    call.forget()
                else:
                    call.rows = len(found)
            return found
    return None


def _search(query: ReadingVerbs[Any], spec: QuerySpec, field: Field, measure: Measure, k: int) -> list[Row]:
    """Keys and vectors of all rows, a batch at a time; then the whole rows of the ``k`` nearest."""
    info = spec.model
    size = len(info.key)

    def measured() -> Iterator[tuple[float, Row, Row]]:
        for rows in query._runner.fetch(
            spec.but(columns=(*info.key, field)), ROWS_AT_ONCE, operation="nearest"
        ):
            for row in rows:
                if (distance := measure(row[-1])) is not None:
                    yield distance, _sortable(row[:size]), row[:size]

    keys = [key for _, _, key in heapq.nsmallest(k, measured())]
    found: list[Row] = []
    step = keys_at_once(size)
    for start in range(0, len(keys), step):
        named = among(info.key, keys[start : start + step])
        found += query._rows(spec.but(where=spec.and_where(named)))
    return found


def _measured(
    query: ReadingVerbs[M], spec: QuerySpec, rows: list[Row], field: Field, measure: Measure
) -> list[tuple[M, float]]:
    """Objects and distances, nearest first, ties by primary key."""
    at = spec.columns.index(field)
    key = [spec.columns.index(f) for f in spec.model.key]
    found = [(distance, row) for row in rows if (distance := measure(row[at])) is not None]
    found.sort(key=lambda one: (one[0], _sortable([one[1][i] for i in key])))
    objects = query._build([row for _, row in found])
    return list(zip(objects, [distance for distance, _ in found], strict=True))


def _sortable(key: Sequence[Any]) -> Row:
    return tuple([part.name if isinstance(part, enum.Enum) else part for part in key])
