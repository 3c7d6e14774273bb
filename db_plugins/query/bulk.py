"""Many rows at once: ``bulk_insert`` and ``bulk_update`` read them lazily, and write them batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, islice
from typing import Any, Literal, TypeVar

from ..engine import BulkResult, Conflict
from ..errors import (
    DbPluginsError,
    InvalidValueError,
)
from ..joining import among
from ..joining import parts_of as in_parts
from ..models import Field, Kind, ModelInfo
from ..nodes import Operand, Value
from ..runner import Runner
from ..spec import QuerySpec
from .batches import Batch, changes, new_rows
from .conflicts import Part, Rule, distinct, key_picker, parts_of
from .framed import ArrowStream, Framed, Tuples, framed
from .pages import check_whole
from .reading import MAX_BATCH
from .upserting import UpsertingVerbs

__all__ = ["BulkVerbs", "batch_size_of", "is_wide"]

M = TypeVar("M")
Row = tuple[Any, ...]


class BulkVerbs(UpsertingVerbs[M]):
    """The verbs that write many rows."""

    __slots__ = ()

    def bulk_insert(
        self,
        rows: Iterable[Any] | ArrowStream,
        *,
        on_conflict: Literal["error", "ignore", "update"] = "error",
        key: Any = None,
        update: Any = None,
        atomic: bool | None = None,
        return_keys: bool = False,
        batch_size: int | None = None,
    ) -> BulkResult:
        """Store many new rows, read lazily from any iterable; all or nothing where the engine has transactions.

        A frame will do too: a pandas DataFrame, a pyarrow Table or RecordBatchReader, or what gives Arrow's C stream.

        ``on_conflict`` says what becomes of a row whose ``key`` (a column or several, the primary key unless given; it
        must be unique) is stored already: ``"error"``; ``"ignore"``, it stays as it is; ``"update"``, it gets the columns
        that the new row names, and those with ``onupdate``. ``update`` narrows them (``["mag"]``) or says what to set
        instead (``{"hits": M.hits + 1}``). The same key twice: the last wins for an update, the first for ignore. A clash
        on another unique key is always DuplicateKeyError.

        ``atomic=True`` demands all or nothing, and raises UnsupportedOperationError on engines without transactions;
        ``False`` commits batch by batch, and an error's ``stored`` counts the rows that stay. ``batch_size`` is the number
        of rows in one statement, 1 to 1,000,000. With ``return_keys`` the result holds the primary keys in the order
        given (a tuple for each composite key).

            db.query(Star).bulk_insert(rows, on_conflict="update", key="name")
        """
        self._runner.need_write()
        if on_conflict != "error":
            self._refuse_narrowed("bulk_insert")
        if atomic not in (None, True, False):
            raise InvalidValueError(
                f"atomic is True, False or None, not a value of type {type(atomic).__name__}"
            )
        rule = self._rule(on_conflict, key, update)
        size = batch_size_of(self._runner, self._info, batch_size)
        # What an update writes is what a row names.
        by_names = rule is not None and rule.action == "update"
        batches = new_rows(self._reader, self._given(rows, "bulk_insert"), size, by_names=by_names)
        insertion = _Insertion(self, rule, return_keys)
        self._write_batches(batches, insertion, atomic)
        return insertion.result()

    def bulk_update(
        self, rows: Iterable[Any] | ArrowStream, *, key: Any = None, batch_size: int | None = None
    ) -> int:
        """Change many rows, each found by its ``key`` (the primary key unless given; it must be unique).

        ``rows`` are mappings (or Pydantic models, or a frame) of the key and what changes, read lazily; values may be arithmetic on
        columns. Returns how many were there. All or nothing where the engine has transactions.

            db.query(Star).bulk_update([{"id": 1, "mag": 0.5}, {"id": 2, "mag": None}])
        """
        self._refuse_narrowed("bulk_update")
        chosen = self._unique_key(key)
        size = batch_size_of(self._runner, self._info, batch_size)
        batches = changes(self._reader, chosen, self._given(rows, "bulk_update"), size)
        alteration = _Alteration(self, chosen)
        self._write_batches(batches, alteration, None)
        return alteration.matched

    def _given(self, rows: Any, verb: str) -> Iterable[Any] | Framed | Tuples:
        if isinstance(rows, Tuples):
            return rows
        frame = framed(self._info, rows, verb)
        if frame is not None:
            return frame
        if isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable):
            raise InvalidValueError(
                f"{verb} takes an iterable of rows, not a value of type {type(rows).__name__}",
                hint=f"{verb.removeprefix('bulk_')}() takes one row",
            )
        return rows

    def _rule(self, on_conflict: str, key: Any, update: Any) -> Rule | None:
        if on_conflict not in ("error", "ignore", "update"):
            raise InvalidValueError(
                f"on_conflict cannot be {on_conflict!r}", hint='it is "error", "ignore" or "update"'
            )
        if update is not None and on_conflict != "update":
            raise InvalidValueError('update= says what on_conflict="update" writes', hint="give that too")
        if on_conflict == "error":
            if key is not None:
                raise InvalidValueError(
                    "key= says by what rows conflict", hint='give on_conflict="update" too'
                )
            return None
        chosen = self._unique_key(key)
        if isinstance(update, Mapping):
            return Rule(on_conflict, chosen, frozenset(), self._operands(update))
        if update is None:
            return Rule(on_conflict, chosen)
        names = update if isinstance(update, (list, tuple, set, frozenset)) else [update]
        only = frozenset(self._reader.column(name) for name in names)
        for field in only:
            self._refuse_key(field)
        return Rule(on_conflict, chosen, only)

    def _write_batches(
        self, batches: Iterator[Batch], write: Callable[[Runner, Batch], int], atomic: bool | None
    ) -> None:
        """Write batch by batch, in one transaction unless ``atomic`` is False or one statement is all."""
        runner = self._runner
        if atomic is True:
            runner.need_transactions()
        head = list(islice(batches, 2))
        scope: AbstractContextManager[Runner]
        if atomic is False or (len(head) < 2 and not (atomic and head and len(head[0].rows) > 1)):
            scope = nullcontext(runner)
        else:
            # Inside a transaction it joins that; outside, a server without any must not write by batch if all is demanded.
            joins = atomic is None or runner.block is not None
            scope = runner.together() if joins else runner.transaction("batch")
        stored = 0
        with scope as inner:
            stays = inner is runner and runner.block is None
            try:
                for batch in chain(head, batches):
                    stored += write(inner, batch)
            except DbPluginsError as error:
                error.stored = stored + error.stored if stays else 0
                raise


class _Insertion:
    """Writes the batches of a ``bulk_insert`` and counts."""

    def __init__(self, query: BulkVerbs[Any], rule: Rule | None, return_keys: bool) -> None:
        self.query = query
        self.info = query._info
        self.rule = rule
        self.stamps = query._stamps() if rule is not None and rule.action == "update" else {}
        self.return_keys = return_keys
        self.inserted = self.updated = self.ignored = 0
        self.keys: list[Any] = []

    def __call__(self, runner: Runner, batch: Batch) -> int:
        if self.rule is None:
            self.keys.extend(self._insert(runner, batch, batch.rows).rows)
            self.inserted += len(batch.rows)
            return len(batch.rows)
        conflict = self.rule.conflict(self.info, batch, self.stamps)
        parts = list(parts_of(batch, conflict))

        def work(inner: Runner) -> tuple[list[BulkResult], Iterable[Any]]:
            done = _each(parts, lambda part: self._write(inner, batch, part), _size_of, inner is runner)
            unkeyed = [
                row
                for part, one in zip(parts, done, strict=True)
                if part.conflict is None
                for row in one.rows
            ]
            return done, self._keys_of(inner, batch, conflict, iter(unkeyed)) if self.return_keys else ()

        done, keys = _as_one(runner, len(parts) + self.return_keys, work)
        self.keys.extend(keys)
        for part, result in zip(parts, done, strict=True):
            self.inserted += result.inserted
            # By the call's word: an update of rows that hold nothing but their key is an "ignore" to the engine.
            met = result.updated + result.ignored + part.again
            if self.rule.action == "update":
                self.updated += met
            else:
                self.ignored += met
        return len(batch.rows)

    def _write(self, runner: Runner, batch: Batch, part: Part) -> BulkResult:
        if part.conflict is None:
            return self._insert(runner, batch, part.rows)
        if part.conflict.action == "update":
            pick = key_picker(batch.given, part.conflict.key)
            self.query._refuse_others(runner, part.conflict.key, list(map(pick, part.rows)))
        return runner.insert(self.info, batch.given, part.rows, part.conflict, ())

    def _insert(self, runner: Runner, batch: Batch, rows: list[Row]) -> BulkResult:
        returning = self.info.key if self.return_keys else ()
        return runner.insert(self.info, batch.given, rows, None, returning)

    def _keys_of(
        self, runner: Runner, batch: Batch, conflict: Conflict, unkeyed: Iterator[Row]
    ) -> Iterable[Row]:
        """The primary keys of the batch's rows, of which ``unkeyed`` are those that could meet no other."""
        if not set(conflict.key) <= set(batch.given):
            return unkeyed
        picked = list(map(key_picker(batch.given, conflict.key), batch.rows))
        if conflict.key == self.info.key:
            return picked
        found: dict[Row, Row] = {}
        columns = (*conflict.key, *self.info.key)
        for part in in_parts([key for key in dict.fromkeys(picked) if None not in key]):
            for row in runner.rows(QuerySpec(self.info, columns, where=among(conflict.key, part))):
                found[row[: len(conflict.key)]] = row[len(conflict.key) :]
        return [next(unkeyed) if None in key else found[key] for key in picked]

    def result(self) -> BulkResult:
        keys = self.keys if len(self.info.key) > 1 else [key[0] for key in self.keys]
        return BulkResult(self.inserted, self.updated, self.ignored, tuple(keys))


class _Alteration:
    """Writes the batches of a ``bulk_update`` and counts."""

    def __init__(self, query: BulkVerbs[Any], key: tuple[Field, ...]) -> None:
        self.query = query
        self.key = key
        self.matched = 0

    def __call__(self, runner: Runner, batch: Batch) -> int:
        width = len(self.key)
        parts = list(distinct(batch.rows, [row[:width] for row in batch.rows]))

        def work(inner: Runner) -> list[int]:
            return _each(parts, lambda rows: self._change(inner, batch, rows), len, inner is runner)

        self.matched += sum(_as_one(runner, len(parts), work))
        return len(batch.rows)

    def _change(self, runner: Runner, batch: Batch, rows: list[Row]) -> int:
        columns = batch.given[len(self.key) :]
        info = self.query._info
        if columns and not batch.is_calculated and info.version is None and info.only_this_class is None:
            done = runner.update_each(info, self.key, columns, rows)
            if done is not None:
                return done

        def work(inner: Runner) -> list[int]:
            return _each(
                rows, lambda row: self._change_one(inner, batch, row), lambda _row: 1, inner is runner
            )

        return sum(_as_one(runner, len(rows), work))

    def _change_one(self, runner: Runner, batch: Batch, row: Row) -> int:
        width = len(self.key)
        every = self.query._reader.everything
        spec = every.but(where=every.and_where(among(self.key, [row[:width]])))
        cells = zip(batch.given[width:], row[width:], strict=True)
        changed: dict[Field, Operand] = {
            f: cell if batch.is_calculated else Value(cell, f) for f, cell in cells
        }
        if not changed:
            return runner.count(spec)
        return runner.update(spec, {**self.query._stamps(), **changed})


P = TypeVar("P")
R = TypeVar("R")


def _as_one(runner: Runner, statements: int, work: Callable[[Runner], R]) -> R:
    """What ``work`` gives, which needs so many statements for one batch."""
    return runner.as_one(work) if statements > 1 else work(runner)


def _each(parts: Sequence[P], write: Callable[[P], R], size: Callable[[P], int], stays: bool) -> list[R]:
    """What writing each part gives; if what is written ``stays``, an error counts the rows, of which a part has ``size``."""
    made: list[R] = []
    try:
        for part in parts:
            made.append(write(part))  # noqa: PERF401 - if one fails, how many were made is asked
    except DbPluginsError as error:
        if stays:
            error.stored += sum(map(size, parts[: len(made)]))
        raise
    return made


def _size_of(part: Part) -> int:
    return len(part.rows) + part.again


#: Kinds whose values may be large, and the most rows of them at once: a batch is in memory, as a whole.
WIDE = frozenset({Kind.BYTES, Kind.JSON, Kind.NATIVE, Kind.VECTOR})
WIDE_ROWS = 1000


def is_wide(info: ModelInfo) -> bool:
    """Has it a column of large values?"""
    return any(f.kind in WIDE for f in info.fields)


def batch_size_of(runner: Runner, info: ModelInfo, batch_size: int | None) -> int:
    """How many rows one statement takes: as asked, or as is best for this engine and model."""
    if batch_size is None:
        most = runner.connection.rows_at_once
        return min(most, WIDE_ROWS) if is_wide(info) else most
    check_whole("batch_size", batch_size, 1, MAX_BATCH)
    return batch_size
