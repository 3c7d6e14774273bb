"""The writing half of a query: rows in, counts or objects out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from ..errors import InvalidValueError, MissingFilterError, NotFoundError
from ..models import Field
from ..models.objects import changed_values, mark_stored
from ..nodes import Operand, Value
from ..spec import QuerySpec
from .batches import new_row
from .reading import ReadingVerbs
from .rows import not_null, row_values
from .versions import as_it_was_read, next_version, refuse_version, stale

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["WritingVerbs"]

M = TypeVar("M")


class WritingVerbs(ReadingVerbs[M]):
    """``insert``, ``update``, ``delete``."""

    __slots__ = ()

    def insert(self, row: M | Mapping[str, Any] | BaseModel) -> M:
        """Store one new row and return it as it was stored, keys and defaults filled in.

        ``row`` is an instance of the model (which is filled in and returned), a mapping or a Pydantic model. Raises
        DuplicateKeyError, NotNullError, ForeignKeyError or InvalidValueError, and then nothing is stored.
        """
        batch = new_row(self._reader, row)
        info, fields = self._info, self._info.fields
        runner = self._runner
        stored = runner.insert_one(info, batch.given, batch.rows[0], fields)
        if isinstance(row, self._info.cls):
            mark_stored(info, row, [f.name for f in fields], stored)
            return cast("M", row)
        made: M = runner.builder(info, fields)([stored])[0]
        return made

    @overload
    def update(self, values: Mapping[str, Any], /, *, force: bool = False) -> int: ...
    @overload
    def update(self, row: M, values: Mapping[str, Any] | BaseModel | None = None, /) -> M: ...
    def update(self, first: Any, values: Any = None, /, *, force: bool = False) -> Any:
        """Change rows: ``update({"mag": 5})`` those of the query, ``update(star, {"mag": 5})`` that one.

        Of a query: returns how many rows matched; values may be arithmetic on columns (``{"hits": M.hits + 1}``); a
        query without a condition needs ``force=True`` or raises MissingFilterError. Of an object: ``values`` is a
        mapping or a Pydantic model whose unset fields stay, or is left out to write what was set on the object; returns
        the object as it is now. Raises NotFoundError if the row is gone or does not match the query's filter, and ConflictError if
        the model has a ``version_id_col`` and the row was changed since the object was read.
        """
        if isinstance(first, self._info.cls):
            return self._update_one(cast("M", first), values)
        if first is None or values is not None or not isinstance(first, Mapping):
            raise InvalidValueError(
                f"update takes a mapping of values, or a {self._info.name} and its new values, "
                f"not a value of type {type(first).__name__}",
                hint="get() and first() give None for no row",
            )
        self._refuse_window("update")
        self._need_filter("update", force)
        changes = self._changes(first)
        return self._runner.update(self._spec, changes) if changes else self.count()

    def _update_one(self, instance: M, values: Any) -> M:
        self._refuse_window("update")
        given = changed_values(self._info, instance) if values is None else row_values(self._info, values)
        one = self._with(where=self._spec.and_where(self._key_is(self._key_of(instance))))
        changes = self._changes(given, instance)
        matched = self._runner.update(self._as_read(instance), changes) if changes else one.count()
        if not matched:
            self._refuse_stale(instance)
            raise NotFoundError(
                f"no such {self._info.name} matches",
                hint="it was deleted, or it does not match the query's filter",
            )
        # Read back what only the database knows: the result of arithmetic, what its triggers and defaults set.
        stored = one._with(where=self._key_is(self._key_of(instance)))._rows_of_all()
        if stored:
            mark_stored(self._info, instance, [f.name for f in self._info.fields], stored[0])
        return instance

    def _as_read(self, instance: Any) -> QuerySpec:
        """The query's spec for this object's row alone, and for no later version of it."""
        row = as_it_was_read(self._reader, self._key_is(self._key_of(instance)), instance)
        return self._spec.but(where=self._spec.and_where(row))

    def _refuse_stale(self, instance: Any) -> None:
        """Nothing matched: was the row changed since it was read?"""
        if self._info.version is None:
            return
        row = self._key_is(self._key_of(instance))
        stored = self._rows(self._spec.but(where=row, native=(), columns=(self._info.version,)))
        if stored and (conflict := stale(self._reader, instance, stored[0][0])):
            with self._runner.errors():  # as an engine's own: it ends the transaction
                raise conflict

    def _rows_of_all(self) -> Sequence[tuple[Any, ...]]:
        return self._rows(self._spec.but(columns=self._info.fields))

    def _changes(self, given: Mapping[str, Any], instance: Any = None) -> dict[Field, Operand]:
        """The checked operands of an update, with what every update sets."""
        changes = self._operands(given)
        if instance is not None:
            for field in changes:
                refuse_version(self._reader, field)
        return {**self._stamps(instance), **changes} if changes else changes

    def _operands(self, given: Mapping[str, Any]) -> dict[Field, Operand]:
        """What is to be set, checked: literals, and arithmetic on columns."""
        operands: dict[Field, Operand] = {}
        for name, value in given.items():
            field = self._info.field(name)
            self._refuse_key(field)
            operand = self._reader.assigned(field, value)
            if isinstance(operand, Value):
                not_null(self._reader, field, operand.value)
            operands[field] = operand
        return operands

    def _stamps(self, instance: Any = None) -> dict[Field, Operand]:
        """What every update sets beside what it is given: the columns with ``onupdate``, and the next version."""
        stamps: dict[Field, Operand] = {
            field: Value(self._reader.check(field, field.onupdate.make({})), field)
            for field in self._info.fields
            if field.onupdate is not None
        }
        return {**stamps, **next_version(self._reader, instance)}

    @staticmethod
    def _refuse_key(field: Field) -> None:
        if field.primary_key:
            raise InvalidValueError(
                f"{field.label} is the primary key and cannot be updated",
                hint="insert a new row and delete this one",
            )

    @overload
    def delete(self, *, force: bool = False) -> int: ...
    @overload
    def delete(self, row: M, /) -> bool: ...
    def delete(self, *rows: Any, force: bool = False) -> int | bool:
        """Delete the rows of the query (returns how many) or one object (returns whether it was there).

        A query without a condition needs ``force=True`` or raises MissingFilterError. Of a model with a ``version_id_col``, an
        object whose row was changed since it was read raises ConflictError.
        """
        if len(rows) > 1:
            raise InvalidValueError(
                "delete takes one object", hint="delete many with a filter: filter(…in_(keys)).delete()"
            )
        self._refuse_window("delete")
        if rows:
            if not isinstance(rows[0], self._info.cls):
                raise InvalidValueError(
                    f"delete takes a {self._info.name}, not a value of type {type(rows[0]).__name__}",
                    hint="get() and first() give None for no row",
                )
            deleted = self._runner.delete(self._as_read(rows[0])) > 0
            if not deleted:
                self._refuse_stale(rows[0])
            return deleted
        self._need_filter("delete", force)
        return self._runner.delete(self._spec)

    def _need_filter(self, verb: str, force: bool) -> None:
        if not self._spec.is_filtered and not force:
            raise MissingFilterError(
                f"{verb} without a filter would change every {self._info.name}",
                hint=f"add a filter, or {verb}(…, force=True)",
            )
