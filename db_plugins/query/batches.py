"""Rows of every sort become batches: tuples of checked values, all of the same columns.

    rows ── chunks of so many ── groups that name the same attributes ── columns, each checked as a whole ── Batch

What a list of names asks for (which columns, which defaults, what is missing) is found out once: ``NewRows`` for rows that
are to be stored, ``Changes`` for rows that are to be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, groupby, islice, repeat
from operator import itemgetter
from typing import Any

from sqlalchemy.sql.elements import ClauseElement

from ..errors import DbPluginsError, InvalidValueError, NotNullError
from ..expressions import Reader
from ..models import Default, Field
from ..models.columns import make_row_checker
from ..models.makers import collection_paused
from ..nodes import Value
from .framed import Columns, Framed, Tuples
from .rows import not_null, of_row, row_values

__all__ = ["Batch", "Changes", "NewRows", "changes", "new_row", "new_rows"]

Row = tuple[Any, ...]
Values = Sequence[Any]
#: Rows of one chunk or group, as they were given.
Given = list[Any] | Columns | Tuples


@dataclass(slots=True)
class Batch:
    """Rows whose values are in the order of ``given``. The caller gave those of ``named``; the others are defaults.

    ``is_calculated``: what a change sets are operands, for some of them calculate on columns."""

    given: tuple[Field, ...]
    named: frozenset[Field]
    rows: list[Row]
    is_calculated: bool = False


def new_rows(
    reader: Reader, rows: Iterable[Any] | Framed | Tuples, size: int, *, by_names: bool = False
) -> Iterator[Batch]:
    """Whole new rows, defaults filled in, in batches of at most ``size``; neighbours of the same columns share one.

    ``by_names``: only those do for which the caller gave the same columns."""
    start = 1
    for chunk in _chunks(rows, size):
        with collection_paused():
            made = [
                batch
                for names, group, first in _groups(reader, chunk, start)
                for batch in NewRows.of(reader, names).batches(group, first)
            ]
        for _, alike in groupby(made, key=lambda batch: (batch.given, batch.named if by_names else None)):
            first_of, *others = alike
            rows_of = chain(first_of.rows, *(batch.rows for batch in others)) if others else first_of.rows
            yield Batch(first_of.given, first_of.named, list(rows_of))
        start += len(chunk)


def changes(
    reader: Reader, key: tuple[Field, ...], rows: Iterable[Any] | Framed | Tuples, size: int
) -> Iterator[Batch]:
    """What is to change in rows that are there, in batches of at most ``size``; ``given`` begins with the key."""
    start = 1
    for chunk in _chunks(rows, size):
        for names, group, first in _groups(reader, chunk, start):
            try:
                asked = Changes.of(reader, names, key)
            except InvalidValueError as error:
                raise of_row(error, first) from None
            yield asked.batch(group, first)
        start += len(chunk)


def new_row(reader: Reader, row: Any) -> Batch:
    """One whole new row."""
    values = row if type(row) is dict else row_values(reader.model, row)
    plan = NewRows.of(reader, tuple(values))
    numbered = reader.model.numbered
    if numbered is not None and plan.numbered_at is not None and values[numbered.name] is None:
        values = {name: value for name, value in values.items() if name != numbered.name}
        plan = NewRows.of(reader, tuple(values))
    return Batch(plan.given, plan.named, [plan.one(values)])


# -- chunks and groups -------------------------------------------------------------------------------------------------


def _chunks(rows: Iterable[Any] | Framed | Tuples, size: int) -> Iterator[Given]:
    if isinstance(rows, (Framed, Tuples)):
        yield from rows.chunks(size)
        return
    source = iter(rows)
    while chunk := list(islice(source, size)):
        yield chunk


#: The names that rows give, sorted as in the first of them, and the rows (mappings), with the number of the first.
Group = tuple[tuple[str, ...], Given, int]


def _groups(reader: Reader, chunk: Given, start: int) -> Iterator[Group]:
    """Rows beside each other that name the same attributes."""
    if isinstance(chunk, (Columns, Tuples)):
        yield chunk.names, chunk, start
        return
    if set(map(type, chunk)) == {dict}:
        names = tuple(chunk[0])
        if set(map(len, chunk)) == {len(names)} and all(map(set(names).issuperset, chunk)):
            yield names, chunk, start
            return
    info = reader.model
    rows = [_numbered_row(info, row, number) for number, row in enumerate(chunk, start)]
    for _names, alike in groupby(rows, key=frozenset):
        group = list(alike)
        yield tuple(group[0]), group, start
        start += len(group)


def _numbered_row(info: Any, row: Any, number: int) -> Mapping[str, Any]:
    try:
        return row_values(info, row)
    except InvalidValueError as error:
        raise of_row(error, number) from None


# -- columns -----------------------------------------------------------------------------------------------------------


def _picker(names: Sequence[str]) -> Callable[[Mapping[str, Any]], Row]:
    """The values of these names, as a tuple."""
    if len(names) > 1:
        return itemgetter(*names)
    if not names:
        return lambda _row: ()
    name = names[0]
    return lambda row: (row[name],)


def _picked(group: Given, fields: Sequence[Field], pick: Callable[[Mapping[str, Any]], Row]) -> list[Row]:
    if isinstance(group, (Columns, Tuples)):
        return group.rows([f.name for f in fields])
    return list(map(pick, group))


def _operands(reader: Reader, field: Field, values: Values, first: int) -> Values:
    """Values and expressions as what an update sets."""
    made = []
    for number, value in enumerate(values, first):
        try:
            operand = reader.assigned(field, value)
            if isinstance(operand, Value):
                not_null(reader, field, operand.value)
        except DbPluginsError as error:
            raise of_row(error, number) from None
        made.append(operand)
    return made


def _checked(reader: Reader, field: Field, values: Values, first: int, *, is_key: bool = False) -> Values:
    """The values as engines get them; the error for one that does not fit says in which row it is."""
    try:
        checked, has_none = reader.check_column(field, values)
    except InvalidValueError:
        for number, value in enumerate(values, first):
            try:
                reader.check(field, value)
            except InvalidValueError as error:
                raise of_row(error, number) from None
        raise
    if has_none and is_key:
        number = first + list(checked).index(None)
        raise of_row(InvalidValueError(f"{field.label} is a key and cannot be None"), number)
    if has_none and not field.nullable:
        try:
            not_null(reader, field, None)
        except NotNullError as error:
            at = next(n for n, value in enumerate(checked, first) if value is None)
            raise of_row(error, at) from None
    return checked


# -- rows that are to be stored ----------------------------------------------------------------------------------------


class NewRows:
    """What is to be done with new rows that give these attributes."""

    def __init__(self, reader: Reader, names: frozenset[str]) -> None:
        info = reader.model
        self.reader = reader
        self.names = names
        self.fields = tuple(f for f in info.fields if f.name in names)
        self.named = frozenset(self.fields)
        self.pick = _picker([f.name for f in self.fields])
        self.numbered_at = next((n for n, f in enumerate(self.fields) if f.numbered), None)
        #: Defaults, in the order of the columns, for one may ask for those before it.
        self.defaults: list[tuple[Field, Default]] = [
            (f, f.default) for f in info.fields if f.default is not None and f not in self.named
        ]
        #: What all of these rows have.
        self.constants: dict[Field, Any] = {}
        absent = self.named.union(f for f, _ in self.defaults)
        if info.discriminator is not None and info.mapper.polymorphic_identity is not None:
            if info.discriminator not in absent:
                self.constants[info.discriminator] = info.mapper.polymorphic_identity
            absent = absent | {info.discriminator}
        self.missing = next((f for f in info.fields if f not in absent and f.required), None)
        for field in info.fields:
            if field not in absent and field.nullable and not field.server_default:
                self.constants[field] = None
        whole = absent | self.constants.keys()
        self.given = tuple(f for f in info.fields if f in whole)
        self.is_plain = self.given == self.fields
        self.is_refused = self.missing is not None or len(self.fields) < len(names)

    @classmethod
    def of(cls, reader: Reader, names: tuple[str, ...]) -> NewRows:
        """The one for these names, which the reader keeps: found by their order, or else by what they are."""
        known: NewRows | None = reader.memo.get((cls, names))
        if known is None:
            unordered = frozenset(names)
            known = reader.memo.get((cls, unordered)) or cls(reader, unordered)
            if not known.is_refused:  # names that somebody else sends are kept only if they are the model's
                reader.remember((cls, unordered), known)
                reader.remember((cls, names), known)
        return known

    @cached_property
    def _checked_row(self) -> Callable[[Mapping[str, Any]], Row]:
        return make_row_checker(self.fields, self.reader.limits, partial(not_null, self.reader, value=None))

    def one(self, row: Mapping[str, Any]) -> Row:
        """The values of one row, in the order of ``given``."""
        if self.is_refused:
            self._refuse(None)
        values = self._checked_row(row)
        if self.is_plain:
            return values
        known = dict(zip(self.fields, values, strict=True))
        for field, default in self.defaults:
            value = self.reader.check(field, default.make({f.name: v for f, v in known.items()}))
            not_null(self.reader, field, value)
            known[field] = value
        known.update(self.constants)
        return tuple([known[f] for f in self.given])

    def _refuse(self, first: int | None) -> None:
        """Raise for names that the model has not, or for a column that is missing."""
        for name in self.names:
            try:
                self.reader.model.field(name)
            except InvalidValueError as error:
                raise of_row(error, first) from None
        if self.missing is not None:
            absent = NotNullError(
                f"{self.missing.label} is required and was not given",
                attributes=(self.missing.name,),
                engine=self.reader.engine,
            )
            raise of_row(absent, first)

    def batches(self, group: Given, first: int) -> Iterator[Batch]:
        """The rows as a batch; as several where some leave their number out by giving None."""
        if self.is_refused:
            self._refuse(first)
        rows = _picked(group, self.fields, self.pick)
        at = self.numbered_at
        if at is None or None not in map(itemgetter(at), rows):
            yield self._batch(rows, first)
            return
        unnumbered = NewRows.of(self.reader, tuple(f.name for f in self.fields if not f.numbered))
        for is_unnumbered, alike in groupby(rows, key=lambda row: row[at] is None):
            part = list(alike)
            if is_unnumbered:
                yield unnumbered._batch([row[:at] + row[at + 1 :] for row in part], first)
            else:
                yield self._batch(part, first)
            first += len(part)

    def _batch(self, rows: list[Row], first: int) -> Batch:
        columns = list(zip(*rows, strict=True))
        checked = [
            _checked(self.reader, f, column, first) for f, column in zip(self.fields, columns, strict=True)
        ]
        if self.is_plain and all(map(_is, checked, columns)):
            return Batch(self.given, self.named, rows)
        known = dict(zip(self.fields, checked, strict=True))
        for field, default in self.defaults:
            known[field] = self._made(field, default, known, len(rows), first)
        for field, value in self.constants.items():
            known[field] = tuple(repeat(value, len(rows)))
        if not known:
            return Batch((), self.named, rows)
        return Batch(self.given, self.named, list(zip(*[known[f] for f in self.given], strict=True)))

    def _made(
        self, field: Field, default: Default, known: Mapping[Field, Values], count: int, first: int
    ) -> Values:
        if default.is_scalar:
            return tuple(repeat(_checked(self.reader, field, [default.make({})], first)[0], count))
        names = [f.name for f in known]
        rows = zip(*known.values(), strict=True) if known else repeat((), count)
        made = [default.make(dict(zip(names, row, strict=True))) for row in rows]
        return _checked(self.reader, field, made, first)


def _is(one: object, other: object) -> bool:
    return one is other


# -- rows that are to be changed ---------------------------------------------------------------------------------------


class Changes:
    """What is to be done with rows that give these attributes, the key among them."""

    def __init__(self, reader: Reader, names: tuple[str, ...], key: tuple[Field, ...]) -> None:
        info = reader.model
        self.reader = reader
        self.key = key
        self.absent = next((f for f in key if f.name not in names), None)
        fields = {info.field(name) for name in names}
        for field in info.key:
            if field in fields and field not in key:
                raise InvalidValueError(
                    f"{field.label} is the primary key and cannot be updated",
                    hint="leave it out, or let key= name it",
                )
        self.columns = tuple(f for f in info.fields if f in fields and f not in key)
        self.fields = (*key, *self.columns)
        self.pick = _picker([f.name for f in self.fields])
        stamped = self.columns or ()
        self.onupdate = tuple(
            f for f in info.fields if f.onupdate is not None and f not in fields and stamped
        )

    @classmethod
    def of(cls, reader: Reader, names: tuple[str, ...], key: tuple[Field, ...]) -> Changes:
        known: Changes | None = reader.memo.get((cls, names, key))
        if known is None:
            known = cls(reader, names, key)
            reader.remember((cls, names, key), known)
        return known

    def batch(self, group: Given, first: int) -> Batch:
        """The rows, checked."""
        if self.absent is not None:
            names = ", ".join(f.name for f in self.key)
            raise of_row(
                InvalidValueError(
                    f"{self.absent.label} is missing: rows are found by ({names})",
                    hint="each row holds its key, and what changes",
                ),
                first,
            )
        rows = _picked(group, self.fields, self.pick)
        reader = self.reader
        cells = list(zip(*rows, strict=True))
        width = len(self.key)
        keys = [
            _checked(reader, f, column, first, is_key=True)
            for f, column in zip(self.key, cells, strict=False)
        ]
        kinds = set(chain.from_iterable(map(type, column) for column in cells[width:]))
        is_calculated = any(map(_is_expression, kinds))
        make = _operands if is_calculated else _checked
        columns = [
            make(reader, f, column, first) for f, column in zip(self.columns, cells[width:], strict=True)
        ]
        for field in self.onupdate:
            assert field.onupdate is not None
            value = reader.check(field, field.onupdate.make({}))
            columns.append(tuple(repeat(Value(value, field) if is_calculated else value, len(rows))))
        given = (*self.fields, *self.onupdate)
        return Batch(given, frozenset(self.fields), list(zip(*keys, *columns, strict=True)), is_calculated)


def _is_expression(kind: type) -> bool:
    return issubclass(kind, ClauseElement) or hasattr(kind, "__clause_element__")
