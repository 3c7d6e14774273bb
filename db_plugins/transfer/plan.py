"""In which order tables are filled, so that every parent is there before its children. Pure.

A foreign key that closes a circle (a table that refers to itself, two that refer to each other) comes later: its rows are
stored with NULL there, and get their values when all rows are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import TransferError
from ..models import Field, ForeignKey, ModelInfo

__all__ = ["Step", "make_plan"]


@dataclass(frozen=True)
class Step:
    """One table, and the attributes that come later."""

    info: ModelInfo
    later: tuple[Field, ...] = ()


def make_plan(tables: Sequence[ModelInfo]) -> list[Step]:
    """The steps, by the order given where foreign keys leave a choice. Raises TransferError for a circle of required keys."""
    here = {info.store for info in tables}
    waiting = list(tables)
    placed: set[str] = set()
    steps: list[Step] = []

    def missing(info: ModelInfo) -> list[ForeignKey]:
        """Its foreign keys to tables that are not filled yet; one to itself is there only if it may be NULL."""
        return [
            key
            for key in info.foreign_keys
            if key.target in here
            and key.target not in placed
            and (key.target != info.store or _may_wait(key))
        ]

    while waiting:
        candidates = [(info, missing(info)) for info in waiting]
        ready = [(info, keys) for info, keys in candidates if all(key.target == info.store for key in keys)]
        if not ready:
            ready = [(info, keys) for info, keys in candidates if all(map(_may_wait, keys))]
        if not ready:
            raise _circle(candidates)
        info, keys = min(ready, key=lambda one: len(one[1]))
        later = {f for key in keys for f in key.fields if f.nullable}
        steps.append(Step(info, tuple(f for f in info.fields if f in later)))
        placed.add(info.store)
        waiting.remove(info)
    return steps


def _may_wait(key: ForeignKey) -> bool:
    """With a NULL in one of its columns it refers to nothing."""
    return any(f.nullable for f in key.fields)


def _circle(candidates: Sequence[tuple[ModelInfo, list[ForeignKey]]]) -> TransferError:
    keys = [f"{key.fields[0].label}" for _, missing in candidates for key in missing if not _may_wait(key)]
    return TransferError(
        f"{' and '.join(keys)} refer to each other in a circle, and none of them may be NULL",
        hint="no row can be the first: make one of them nullable",
    )
