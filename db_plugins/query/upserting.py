"""One row that may be there already: ``upsert`` and ``get_or_create`` ask and write in one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ..engine import Conflict
from ..errors import ConflictError, DuplicateKeyError, InvalidValueError, UnsupportedOperationError
from ..evaluation import evaluate
from ..joining import among, parts_of
from ..models import Field
from ..models.objects import mark_stored
from ..nodes import all_of
from ..runner import Runner
from ..spec import QuerySpec
from .batches import Batch, new_row
from .conflicts import Rule, key_picker, keys_of, unique_key
from .rows import not_null, row_values
from .writing import WritingVerbs

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["UpsertingVerbs"]

M = TypeVar("M")
Row = tuple[Any, ...]

#: How often a row is looked for that an insert has met and that is gone again when it is read.
ATTEMPTS = 10


class UpsertingVerbs(WritingVerbs[M]):
    """The verbs that meet a row by a unique key."""

    __slots__ = ()

    def upsert(self, row: M | Mapping[str, Any] | BaseModel, *, key: Any = None) -> M:
        """Store a row, or where its ``key`` is there already change that row: one atomic step.

        ``row`` as in ``insert``. A change writes only what the row names, and ``onupdate``. Returns the row as it is
        stored. Raises InvalidValueError unless the row holds all of ``key`` (the primary key unless given).

            star = db.query(Star).upsert({"name": "Vega", "mag": 0.03}, key="name")
        """
        self._refuse_narrowed("upsert")
        chosen = self._unique_key(key)
        self._need_key(chosen, row_values(self._info, row))
        batch = new_row(self._reader, row)
        key_of_row = key_picker(batch.given, chosen)(batch.rows[0])
        # Once more: a NaN is None by now.
        self._need_key(chosen, dict(zip([f.name for f in chosen], key_of_row, strict=True)))
        conflict = Rule("update", chosen).conflict(self._info, batch, self._stamps())
        self._refuse_others(self._runner, chosen, [key_of_row])
        stored, _ = self._store_or_find(batch, conflict)
        fields = self._info.fields
        if isinstance(row, self._info.cls):
            mark_stored(self._info, row, [f.name for f in fields], stored)
            return cast("M", row)
        return cast("M", self._runner.builder(self._info, fields)([stored])[0])

    def get_or_create(self, filter_by: Mapping[str, Any], /, **defaults: Any) -> tuple[M, bool]:
        """The object that ``filter_by`` finds, or else one made of it and ``defaults``; and whether it was made.

        ``filter_by`` must hold the primary key or a unique key: of any number of callers at the same moment exactly one
        makes the row. Raises InvalidValueError without such a key, DuplicateKeyError if the row clashes with another.

            star, is_new = db.query(Star).get_or_create({"name": "Vega"}, mag=0.03)
        """
        if not isinstance(filter_by, Mapping):
            raise InvalidValueError(
                f"get_or_create takes a mapping of what to find, not a value of type {type(filter_by).__name__}",
                hint='get_or_create({"name": "Vega"}, mag=0.03)',
            )
        if twice := next((name for name in defaults if name in filter_by), None):
            raise InvalidValueError(f"{self._info.name}.{twice} is both looked for and a default")
        if self._spec is not self._reader.everything:
            self._refuse_narrowed("get_or_create")
        self._runner.need_write()
        reader = self._reader
        chosen = next(
            (key for key in self._keys_in(tuple(filter_by)) if self._is_whole(key, filter_by)), None
        )
        if chosen is None:
            raise InvalidValueError(
                f"get_or_create needs a unique key of {self._info.name} in what it looks for, without None",
                hint=f"it has {keys_of(self._info)}",
            )
        for name, value in defaults.items():
            # Also when the row is there: a mistake must not wait until it is not.
            field = self._info.field(name)
            not_null(reader, field, reader.check(field, value))
        wanted = all_of([reader.equals(name, value) for name, value in filter_by.items()])
        found = self._spec.but(where=self._spec.and_where(wanted))
        rows = self._runner.rows(found)
        if rows:
            return self._build(rows)[0], False
        batch = new_row(reader, {**filter_by, **defaults})
        stored, is_new = self._store_or_find(batch, Conflict("ignore", chosen), found)
        return self._build([stored])[0], is_new

    def _store_or_find(
        self, batch: Batch, conflict: Conflict, found: QuerySpec | None = None
    ) -> tuple[Row, bool]:
        """Insert one row, or meet the one that is there: that row, and whether it is new."""
        info, fields = self._info, self._info.fields
        for _ in range(ATTEMPTS):
            result = self._runner.insert(info, batch.given, batch.rows, conflict, fields)
            if result.rows and (found is None or result.inserted):
                return result.rows[0], bool(result.inserted)
            key = key_picker(batch.given, conflict.key)(batch.rows[0])
            same_key = QuerySpec(info, fields, where=among(conflict.key, [key]))
            # One read decides: between two of them the row may go, and come again.
            for row in self._runner.rows(same_key):
                held = {f.name: value for f, value in zip(fields, row, strict=True)}
                if found is None or found.where is None or evaluate(found.where, held):
                    return row, False
                names = tuple(f.name for f in conflict.key)
                with self._runner.errors():
                    raise DuplicateKeyError(
                        f"a {info.name} with the same {', '.join(names)} is there, and differs in what was looked for",
                        attributes=names,
                    )
        with self._runner.errors():
            raise ConflictError(
                f"a {info.name} with the same key is there, and this transaction cannot see it",
                hint="run it again: run_transaction() does",
            )

    # -- keys ------------------------------------------------------------------------------------------------------

    def _unique_key(self, key: Any) -> tuple[Field, ...]:
        if key is None:
            return self._info.key
        parts = list(key) if isinstance(key, (list, tuple)) else [key]
        return unique_key(self._info, [self._reader.column(part) for part in parts])

    def _refuse_narrowed(self, verb: str) -> None:
        """Rows are met by their keys: a condition or a window beside that would silently be left out."""
        self._runner.need_write()
        spec = self._spec
        if spec.is_filtered or spec.is_windowed or spec.joins or spec.grouping is not None:
            raise UnsupportedOperationError(
                f"{verb} meets rows by a unique key, and takes no filter, window or join beside it",
                hint=f"db.query({self._info.name}).{verb}(…)",
            )

    def _refuse_others(self, runner: Runner, key: tuple[Field, ...], rows: Sequence[Row]) -> None:
        """An update must not reach rows of another class that share the table and hold one of these keys."""
        mine = self._info.only_this_class
        if mine is None:
            return
        for part in parts_of([row for row in rows if None not in row]):
            others = all_of((among(key, part), replace(mine, negated=True)))
            if runner.count(QuerySpec(self._info, self._info.key, where=others)):
                names = tuple(f.name for f in key)
                with runner.errors():
                    raise DuplicateKeyError(
                        f"a row with the same {', '.join(names)} is there, and is no {self._info.name}",
                        attributes=names,
                    )

    def _need_key(self, key: tuple[Field, ...], values: Mapping[str, Any]) -> None:
        for field in key:
            if values.get(field.name) is None:
                raise InvalidValueError(
                    f"{field.label} is missing: it is the key by which the row is found",
                    hint=f"give it, or choose another key: {keys_of(self._info)}",
                )

    def _keys_in(self, names: tuple[str, ...]) -> tuple[tuple[Field, ...], ...]:
        """The unique keys that these attributes hold."""
        memo = self._reader.memo
        found = memo.get(("keys in", names))
        if found is None:
            fields = {self._info.field(name) for name in names}
            found = tuple(u.fields for u in self._info.uniques if fields >= set(u.fields))
            self._reader.remember(("keys in", names), found)
        return cast("tuple[tuple[Field, ...], ...]", found)

    def _is_whole(self, key: tuple[Field, ...], values: Mapping[str, Any]) -> bool:
        """Has it no None, nor what becomes it: NaN?"""
        return all(self._reader.literal(f, values[f.name]) is not None for f in key)
