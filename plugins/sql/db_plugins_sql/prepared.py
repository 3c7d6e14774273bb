"""Statements that are compiled once for all queries of one shape, and run on the driver's own cursor.

    Statement       a query: its shape and values, and as SQLAlchemy's Select when that is asked for
    Prepared        the driver's text of a shape; makes parameters of values, and rows of what the driver gives
    Preparations    the Prepared of one pool

What this leaves out is work that SQLAlchemy does for each call: building, hashing and looking up the statement, and a
Row object for each row. What it keeps is everything that gives a value its meaning: the text, the conversions of the
types, the dialect.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import zip_longest
from operator import itemgetter
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import BindTyping

from db_plugins.models import Field
from db_plugins.models.makers import make_converter
from db_plugins.spec import QuerySpec

from .compiler import Words
from .shapes import NotKeptError, Slot, shape_of, slotted

__all__ = ["Preparations", "Prepared", "Statement"]

Row = tuple[Any, ...]
Convert = Callable[[Any], Any]
T = TypeVar("T")

#: Shapes that are kept. In a program that makes more (a filter builder) the oldest goes.
MOST_SHAPES = 1000


class Statement:
    """A query as this plugin holds it: its rows, or how many they are. Pure: made by ``Engine.compile``."""

    __slots__ = ("counts", "spec", "words")

    def __init__(self, words: Words, spec: QuerySpec, *, counts: bool = False) -> None:
        self.words = words
        self.spec = spec
        self.counts = counts

    @property
    def columns(self) -> Sequence[Field]:
        """What the values of a row are of; a count is the driver's own number."""
        return () if self.counts else self.spec.columns

    @property
    def select(self) -> sa.Select[Any]:
        """The statement with its values, for SQLAlchemy to run."""
        return self.made_of(self.spec, self.words)

    def made_of(self, spec: QuerySpec, words: Words) -> sa.Select[Any]:
        """The statement for another spec of the same shape, in the words of one database."""
        return words.count(spec) if self.counts else words.select(spec)


class Prepared:
    """One shape's text and conversions."""

    def __init__(
        self, dialect: sa.Dialect, statement: Any, values: int, *, columns: Sequence[Field] = ()
    ) -> None:
        # No values: an INSERT names no column.
        compiled = statement.compile(dialect=dialect, column_keys=None if values else [])
        state = compiled.construct_expanded_state()
        # Those of parameters that were expanded, then of the others.
        processors = {
            **{
                name: bound.type.dialect_impl(dialect).bind_processor(dialect)
                for bound, name in compiled.bind_names.items()
            },
            **state.processors,
        }
        self.text = state.statement
        self._dialect = dialect
        self._columns = columns
        self._converter: Callable[[Sequence[Row]], Sequence[Row]] | None = None
        self._has_converter = False
        #: The driver's description of the columns, after the first run.
        self.description: Any = None
        names = list(state.parameters) if state.positiontup is None else list(state.positiontup)
        self._names = names if state.positiontup is None else None
        if self._names is not None and dialect.paramstyle == "pyformat":
            # By their places: a driver that gets a dict looks up each name again, for every row.
            self.text, names = _by_place(state.statement)
            self._names = None
        self._constants: list[Any] = []
        self._plan: list[tuple[int, Convert | None]] = []
        for name in names:
            self._add(state.parameters[name], processors.get(name), values)
        self._many: (
            tuple[Row, Callable[[Row], Row], Callable[[Sequence[Row]], Sequence[Row]] | None] | None
        ) = None
        # The usual case: every value once, in its order, as it is.
        self._plain = self._plan == [(n, None) for n in range(values)]

    def _add(self, given: Any, process: Any, values: int) -> None:
        if not isinstance(given, Slot):
            self._plan.append((values + len(self._constants), None))
            self._constants.append(given if process is None else process(given))
        elif given.encode is None or process is None:
            self._plan.append((given.at, given.encode or process))
        else:
            self._plan.append((given.at, _both(given.encode, process)))

    def parameters(self, values: Sequence[Any]) -> Any:
        """What the driver's ``execute`` takes: a tuple or a dict."""
        if not self._plain:
            given = [*values, *self._constants]
            values = [given[at] if convert is None else convert(given[at]) for at, convert in self._plan]
        return tuple(values) if self._names is None else dict(zip(self._names, values, strict=True))

    def many(self, rows: Sequence[Row]) -> Sequence[Any]:
        """What the driver's ``executemany`` takes."""
        if not self._plain:
            if self._many is None:
                places = [at for at, _ in self._plan]
                convert = make_converter([function for _, function in self._plan])
                self._many = (tuple(self._constants), _picker(places), convert)
            constants, pick, convert = self._many
            rows = list(map(pick, [row + constants for row in rows] if constants else rows))
            rows = rows if convert is None else convert(rows)
        names = self._names
        return rows if names is None else [dict(zip(names, row, strict=True)) for row in rows]

    def rows(self, found: Sequence[Row]) -> Sequence[Row]:
        """The driver's rows with values of ours."""
        if not self._has_converter:
            self._converter = make_converter(
                [
                    None
                    if field is None  # a column of the statement's own, after those of the model
                    else field.sql_type.dialect_impl(self._dialect).result_processor(self._dialect, column[1])
                    for field, column in zip_longest(self._columns, self.description)
                ]
            )
            self._has_converter = True
        return found if self._converter is None else self._converter(found)


#: A bound value, or a percent sign.
_BOUND = re.compile(r"%%|%\((.+?)\)s")


def _by_place(text: str) -> tuple[str, list[str]]:
    """A statement whose values have names, with ``%s`` in their places; and the names, in that order."""
    names: list[str] = []

    def place(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0]
        names.append(found[1])
        return "%s"

    return _BOUND.sub(place, text), names


def _picker(places: list[int]) -> Callable[[Row], Row]:
    if places == list(range(len(places))):
        return lambda row: row[: len(places)]
    if len(places) == 1:
        at = places[0]
        return lambda row: (row[at],)
    return itemgetter(*places)


def _both(first: Convert, then: Convert) -> Convert:
    return lambda value: then(first(value))


class Preparations:
    """The prepared statements of one pool. Shared by threads: the worst is that two make the same one."""

    def __init__(
        self, pool: sa.Engine, keeps_statements: bool, words: Callable[[QuerySpec, Any], Words]
    ) -> None:
        self._pool = pool
        self._words = words
        self._made: dict[Any, Any] = {}
        #: What was learnt of tables, under keys of those who asked.
        self.facts: dict[Any, Any] = {}
        # Drivers that are told the types beside the statement need SQLAlchemy to tell them.
        self._is_possible = keeps_statements and pool.dialect.bind_typing is not BindTyping.SETINPUTSIZES

    @property
    def is_possible(self) -> bool:
        """May statements go to the driver directly? Not while anybody listens to them, or they are to be logged."""
        listeners = self._pool.dispatch
        watched = (
            listeners.before_cursor_execute or listeners.after_cursor_execute or listeners.before_execute
        )
        return self._is_possible and not (watched or self._pool.echo)

    def forget(self) -> None:
        """Tables were made or dropped: what was said of them may be wrong."""
        self._made.clear()
        self.facts.clear()

    def of(self, statement: Statement, driver: Any) -> tuple[Prepared | None, list[Any]]:
        """The statement's Prepared, or ``None`` if it cannot be kept, and its values."""
        spec = statement.spec
        if spec.native:
            return None, []
        long_list = statement.words.long_list
        shape, values = shape_of(spec, long_list)
        shape = (statement.counts, shape)
        try:
            return self._made[shape], values
        except KeyError:
            pass
        made: Prepared | None = None
        try:
            template = statement.made_of(slotted(spec, values, long_list), self._words(spec, driver))
            made = Prepared(self._pool.dialect, template, len(values), columns=statement.columns)
        except NotKeptError:
            pass
        self._keep(shape, made)
        return made, values

    def kept(self, key: Any, make: Callable[[], T]) -> T:
        """What belongs to this key (a statement, mostly), made once."""
        made: T | None = self._made.get(key)
        if made is None:
            made = make()
            self._keep(key, made)
        return made

    def _keep(self, key: Any, made: Any) -> None:
        if len(self._made) >= MOST_SHAPES:
            with suppress(RuntimeError, StopIteration):  # another thread was quicker
                self._made.pop(next(iter(self._made)), None)
        self._made[key] = made
