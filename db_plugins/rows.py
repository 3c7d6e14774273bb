"""For engines that hold their rows themselves, without a server that would do it: what an update makes, what is there twice.

``db_plugins.engine`` exports them, with ``evaluate`` and ``sort_rows``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .evaluation import compute
from .models import Field, ModelInfo, Unique
from .models.values import fit
from .nodes import Operand

__all__ = ["calculated", "refuse_duplicates"]

Key = tuple[Unique, tuple[Any, ...]]


def calculated(values: Mapping[Field, Operand], row: Mapping[str, Any]) -> dict[Field, Any]:
    """What an update with these ``values`` sets in this row, which is given by attribute.

    Raises NotNullError for a NULL where there may be none, EngineError for a number that its column cannot hold.
    """
    return {field: fit(field, compute(operand, row)) for field, operand in values.items()}


def refuse_duplicates(
    model: ModelInfo, fresh: Iterable[Mapping[str, Any]], stored: Iterable[Mapping[str, Any]]
) -> None:
    """Raise DuplicateKeyError if a unique key of a ``fresh`` row is that of two ``stored`` ones, of which it is one.

    Rows are given by column, in any form in which equal values are equal. Of the stored ones, which may be an iterator,
    none is kept. NULL is like nothing, not even like NULL.
    """
    wanted = {key for row in fresh for key in _keys(model, row)}
    met: set[Key] = set()
    for row in stored if wanted else ():
        for key in _keys(model, row):
            if key in met:
                raise model.duplicate(key[0])
            if key in wanted:
                met.add(key)


def _keys(model: ModelInfo, row: Mapping[str, Any]) -> list[Key]:
    keys = [(unique, tuple([row.get(f.column) for f in unique.fields])) for unique in model.uniques]
    return [(unique, values) for unique, values in keys if None not in values]
