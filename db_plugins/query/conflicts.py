"""What a bulk write does with rows whose key is there already: ``Rule`` is what the caller said, ``parts_of`` cuts a batch
into inserts that engines can do. Everything here is pure.

An engine is never given the same key twice in one insert. Rows that share one mean what they would mean one after another:
the last wins for ``"update"``, the first for ``"ignore"``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

from ..engine import Conflict
from ..errors import InvalidValueError
from ..models import Field, ModelInfo
from ..nodes import Operand
from .batches import Batch

__all__ = ["Part", "Rule", "distinct", "key_picker", "keys_of", "parts_of", "unique_key"]

Row = tuple[Any, ...]
Key = tuple[Any, ...]


def unique_key(info: ModelInfo, names: Sequence[Field]) -> tuple[Field, ...]:
    """The unique key that these columns are, or an InvalidValueError that names those there are."""
    for unique in info.uniques:
        if set(unique.fields) == set(names):
            return unique.fields
    raise InvalidValueError(
        f"({', '.join(f.name for f in names)}) is no unique key of {info.name}",
        hint=f"it has {keys_of(info)}",
    )


def keys_of(info: ModelInfo) -> str:
    """The model's unique keys, for messages."""
    return ", ".join(
        dict.fromkeys(f"({', '.join(f.name for f in unique.fields)})" for unique in info.uniques)
    )


@dataclass(frozen=True, slots=True)
class Rule:
    """``on_conflict``, ``key`` and ``update`` of a call. ``only`` are the columns that an update may write; None: all."""

    action: str
    key: tuple[Field, ...]
    only: frozenset[Field] | None = None
    update: Mapping[Field, Operand] = field(default_factory=dict)

    def conflict(self, info: ModelInfo, batch: Batch, onupdate: Mapping[Field, Operand]) -> Conflict:
        """What an engine is told for rows of this batch. An update that would write nothing is an ``"ignore"``."""
        if self.action == "ignore":
            return Conflict("ignore", self.key)
        kept = {*self.key, *info.key, *self.update}
        columns = tuple(
            f
            for f in batch.given
            if f in batch.named and f not in kept and (self.only is None or f in self.only)
        )
        if not (columns or self.update):
            return Conflict("ignore", self.key)
        update = {**self.update, **{f: v for f, v in onupdate.items() if f not in (*columns, *kept)}}
        return Conflict("update", self.key, columns, update)


@dataclass(frozen=True, slots=True)
class Part:
    """Rows for one insert. ``again`` are rows of the call that it stands for, beside its own: they count as ``action``."""

    rows: list[Row]
    conflict: Conflict | None
    again: int = 0


def parts_of(batch: Batch, conflict: Conflict) -> Iterator[Part]:
    """The batch in inserts whose keys are distinct; rows without a key clash with nobody."""
    places = {f: at for at, f in enumerate(batch.given)}
    if not places.keys() >= set(conflict.key):
        yield Part(batch.rows, None)
        return
    pick = key_picker(batch.given, conflict.key)
    keys = list(map(pick, batch.rows))
    if len(set(keys)) == len(keys) and not any(None in key for key in keys):
        yield Part(batch.rows, conflict)
        return
    keyed = zip(batch.rows, keys, strict=True)
    for is_keyed, run in groupby(keyed, key=lambda pair: None not in pair[1]):
        pairs = list(run)
        if is_keyed:
            yield from _PARTS[conflict.action](pairs, conflict, places)
        else:
            yield Part([row for row, _ in pairs], None)


Pairs = list[tuple[Row, Key]]


def _the_first(pairs: Pairs, conflict: Conflict, _places: Mapping[Field, int]) -> Iterator[Part]:
    kept: dict[Key, Row] = {}
    for row, key in pairs:
        kept.setdefault(key, row)
    yield Part(list(kept.values()), conflict, again=len(pairs) - len(kept))


def _the_last(pairs: Pairs, conflict: Conflict, places: Mapping[Field, int]) -> Iterator[Part]:
    if conflict.update:  # each occurrence counts: one after another
        for rows in distinct([row for row, _ in pairs], [key for _, key in pairs]):
            yield Part(rows, conflict)
        return
    kept: dict[Key, list[Any]] = {}
    written = [places[f] for f in conflict.columns]
    for row, key in pairs:
        first = kept.setdefault(key, list(row))
        for at in written:
            first[at] = row[at]
    yield Part([tuple(row) for row in kept.values()], conflict, again=len(pairs) - len(kept))


_PARTS: dict[str, Callable[[Pairs, Conflict, Mapping[Field, int]], Iterator[Part]]] = {
    "ignore": _the_first,
    "update": _the_last,
}


def distinct(rows: list[Row], keys: Sequence[Key]) -> Iterator[list[Row]]:
    """The rows in lists in which no key repeats; of one key, the earlier row is in an earlier list."""
    if len(set(keys)) == len(keys):
        yield rows
        return
    seen: dict[Key, int] = {}
    lists: list[list[Row]] = []
    for row, key in zip(rows, keys, strict=True):
        at = seen[key] = seen.get(key, -1) + 1
        if at == len(lists):
            lists.append([])
        lists[at].append(row)
    yield from lists


def key_picker(given: Sequence[Field], key: Sequence[Field]) -> Callable[[Row], Key]:
    """The function from a row in the order of ``given`` to its key, always a tuple."""
    places = [given.index(f) for f in key]
    if len(places) > 1:
        return itemgetter(*places)
    at = places[0]
    return lambda row: (row[at],)
