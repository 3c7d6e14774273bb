"""A case: rows, and a question (filter, order, reading) with one right answer; and the script that shows it.

Listing     the ids of a window, and their count
Numbered    one page of paginate
Walk        all pages by cursor, forwards and back again
Aggregated  aggregate, with and without groups
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from db_plugins import func
from db_plugins.errors import DbPluginsError

from .model import Sample, source_of_model
from .trees import Node, columns_of, conditions_of, literal

__all__ = ["Aggregated", "Case", "Crash", "Listing", "Numbered", "Question", "Term", "Walk"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Term:
    """One term of an order. ``nulls`` is ``"first"``, ``"last"`` or ``None``."""

    name: str
    descending: bool = False
    nulls: str | None = None

    def build(self, model: Any) -> Any:
        term = getattr(model, self.name)
        term = term.desc() if self.descending else term
        return getattr(term, f"nulls_{self.nulls}")() if self.nulls else term

    def source(self, model: str) -> str:
        nulls = f".nulls_{self.nulls}()" if self.nulls else ""
        return f"{model}.{self.name}{'.desc()' if self.descending else ''}{nulls}"


@dataclass(frozen=True)
class Listing:
    offset: int = 0
    limit: int | None = None

    def cut(self, query: Any) -> Any:
        query = query.offset(self.offset) if self.offset else query
        return query if self.limit is None else query.limit(self.limit)

    def read(self, query: Any) -> Any:
        query = self.cut(query)
        return [row["id"] for row in query.to_dicts("id")], query.count()

    def window(self) -> list[str]:
        made = f".offset({self.offset})" if self.offset else ""
        made += "" if self.limit is None else f".limit({self.limit})"
        return [f"query = query{made}"] if made else []

    def source(self) -> list[str]:
        return [*self.window(), 'return [row["id"] for row in query.to_dicts("id")], query.count()']


@dataclass(frozen=True)
class Numbered:
    page: int = 1
    per_page: int = 10
    counted: bool = True

    def read(self, query: Any) -> Any:
        page = query.paginate(self.page, self.per_page, count=self.counted)
        return [m.id for m in page], page.total, page.pages, page.has_prev, page.has_next

    def source(self) -> list[str]:
        return [
            f"page = query.paginate({self.page}, {self.per_page}, count={self.counted})",
            "return [m.id for m in page], page.total, page.pages, page.has_prev, page.has_next",
        ]


@dataclass(frozen=True)
class Walk:
    per_page: int = 10

    def read(self, query: Any) -> Any:
        page = query.cursor_paginate(per_page=self.per_page)
        seen = [[m.id for m in page]]
        while page.has_next:
            page = page.next()
            seen.append([m.id for m in page])
        while page.has_prev:
            page = page.prev()
            seen.append([m.id for m in page])
        return seen

    def source(self) -> list[str]:
        return [
            f"page = query.cursor_paginate(per_page={self.per_page})",
            "seen = [[m.id for m in page]]",
            "while page.has_next:",
            "    page = page.next()",
            "    seen.append([m.id for m in page])",
            "while page.has_prev:",
            "    page = page.prev()",
            "    seen.append([m.id for m in page])",
            "return seen",
        ]


@dataclass(frozen=True)
class Aggregated:
    """``terms`` are (label, function, operand or ``None``); ``order`` holds group columns or labels, and a direction."""

    terms: tuple[tuple[str, str, Node | None], ...]
    groups: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    window: Listing = Listing()

    def read(self, query: Any) -> Any:
        if self.groups:
            query = self.window.cut(query.group_by(*self.groups).order_by(*self.order))
        found = query.aggregate(**{label: self._term(f, operand) for label, f, operand in self.terms})
        return [typed(row) for row in (found if self.groups else [found])]

    @staticmethod
    def _term(function: str, operand: Node | None) -> Any:
        made = getattr(func, function)
        return made() if operand is None else made(operand.build(Sample))

    def source(self) -> list[str]:
        lines = []
        if self.groups:
            groups, order = (", ".join(map(literal, names)) for names in (self.groups, self.order))
            lines = [f"query = query.group_by({groups}).order_by({order})", *self.window.window()]
        terms = ", ".join(
            f"{label}=func.{f}({'' if operand is None else operand.source('Sample')})"
            for label, f, operand in self.terms
        )
        return [*lines, f"return query.aggregate({terms})"]


def typed(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with the type of each value beside it, for ``1 == 1.0``."""
    return {name: (type(value).__name__, value) for name, value in row.items()}


@dataclass(frozen=True, eq=False)
class Crash:
    """An exception that is none of ours. It is right nowhere: no answer equals it."""

    error: Exception


@dataclass(frozen=True)
class Question:
    """What is asked of a query. Without an order rows are by key; an aggregate has an order of its own."""

    where: Node | None = None
    order: tuple[Term, ...] = ()
    reading: Listing | Numbered | Walk | Aggregated = Listing()

    def ask(self, query: Any) -> Any:
        """The answer as plain data; of an error of ours its name, of any other a Crash."""
        try:
            if self.where is not None:
                query = query.filter(self.where.build(Sample))
            if self._terms:
                query = query.order_by(*(t.build(Sample) for t in self._terms))
            return self.reading.read(query)
        except DbPluginsError as error:
            return type(error).__name__
        except Exception as error:
            return Crash(error)

    def shrunk(self, differs: Callable[[Question], bool]) -> Question:
        """The plainest reading, order and part of the filter that still ``differs``: what Hypothesis left."""
        plainer: Iterator[Question] = chain(
            [replace(self, reading=Listing())] if self.reading != Listing() else [],
            self._with_fewer_terms(),
            (replace(self, order=self.order[:n] + self.order[n + 1 :]) for n in range(len(self.order))),
            [replace(self, where=None)] if self.where is not None else [],
            (replace(self, where=part) for part in conditions_of(self.where)),
        )
        found = next((question for question in plainer if differs(question)), None)
        return self if found is None else found.shrunk(differs)

    def _with_fewer_terms(self) -> Iterator[Question]:
        reading = self.reading
        if not isinstance(reading, Aggregated):
            return
        if reading.window != Listing():
            yield replace(self, reading=replace(reading, window=Listing()))
        for n in range(len(reading.order)):
            yield replace(self, reading=replace(reading, order=reading.order[:n] + reading.order[n + 1 :]))
        for n in range(len(reading.terms) if len(reading.terms) > 1 else 0):
            yield replace(self, reading=replace(reading, terms=reading.terms[:n] + reading.terms[n + 1 :]))

    @property
    def columns(self) -> set[str]:
        """The columns that it reads."""
        names = {*columns_of(self.where), *(term.name for term in self.order)}
        if isinstance(self.reading, Aggregated):
            names |= {*self.reading.groups, *columns_of(tuple(operand for *_, operand in self.reading.terms))}
        return names - {"id"}

    @property
    def _terms(self) -> tuple[Term, ...]:
        return self.order or (() if isinstance(self.reading, Aggregated) else (Term("id"),))

    def source(self) -> list[str]:
        """The lines that answer it, after ``query = db.query(Sample)``."""
        where = [] if self.where is None else [f"query = query.filter({self.where.source('Sample')})"]
        terms = ", ".join(t.source("Sample") for t in self._terms)
        order = [f"query = query.order_by({terms})"] if terms else []
        return [*where, *order, *self.reading.source()]

    def __str__(self) -> str:
        return "; ".join(self.source())


@dataclass(frozen=True)
class Case:
    """Rows, and a question about them."""

    rows: tuple[Row, ...]
    question: Question

    def narrowed(self) -> Case:
        """The same with the columns only that the question reads."""
        names = {"id", *self.question.columns}
        rows = tuple({k: v for k, v in row.items() if k in names} for row in self.rows)
        return Case(rows, self.question)

    def shrunk(self, differs: Callable[[Case], bool]) -> Case:
        """The fewest rows, with the fewest values, for which it still ``differs``."""
        kept = list(self.narrowed().rows)
        size = max(len(kept) // 2, 1)
        while size:
            at = 0
            while at < len(kept):
                fewer = kept[:at] + kept[at + size :]
                if differs(Case(tuple(fewer), self.question)):
                    kept = fewer
                else:
                    at += size
            size //= 2
        for at, row in enumerate(kept):
            for name in set(row) - {"id"}:
                plainer = {k: v for k, v in kept[at].items() if k != name}
                changed = [*kept[:at], plainer, *kept[at + 1 :]]
                if differs(Case(tuple(changed), self.question)):
                    kept = changed
        return Case(tuple(kept), self.question)

    def script(self, entry: Mapping[str, Any], got: Any, wanted: Any) -> str:
        """A program in the public API that asks the engine of ``entry`` and MemoryEngine, and shows the two answers.

        It takes a URL as its argument; without one it uses ``entry``, unless that holds a secret.
        """
        rows = "".join(f"    {literal(dict(row))},\n" for row in self.rows)
        return _SCRIPT.format(
            title=f"{entry.get('ENGINE', 'the engine')} answers {_short(got)}, and MemoryEngine {_short(wanted)}.",
            model=source_of_model({*self.question.columns, *(name for row in self.rows for name in row)}),
            rows=rows,
            lines="\n        ".join(self.question.source()),
            entry=_target(entry),
        )


def _short(answer: Any) -> str:
    text = repr(answer)
    return text if len(text) <= 300 else f"{text[:300]}…"


def _target(entry: Mapping[str, Any]) -> str:
    plain = {k: v for k, v in entry.items() if isinstance(v, (str, int, float, bool, type(None)))}
    secret = {"PASSWORD", "URL", "SQLALCHEMY_DATABASE_URL", "CURSOR_SECRET"} & set(entry)
    if secret or len(plain) < len(entry):
        return "sys.argv[1]  # the URL of a database that may get and lose a table"
    return f"sys.argv[1] if len(sys.argv) > 1 else {literal(plain)}"


_SCRIPT = '''\
"""{title}"""

import datetime as dt
import enum
import sys
import uuid
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import db_plugins
from db_plugins import and_, func, not_, or_


{model}

ROWS = [
{rows}]


def answer(target):
    with db_plugins.connect(target, models=[Sample]) as db:
        db.drop_all(force=True)
        db.create_all()
        try:
            db.query(Sample).bulk_insert(ROWS)
            return read(db.query(Sample))
        finally:
            db.drop_all(force=True)


def read(query):
    try:
        {lines}
    except db_plugins.DbPluginsError as error:
        return f"{{type(error).__name__}}: {{error}}"


found = answer({entry})
wanted = answer({{"ENGINE": "memory"}})
print("engine:", found)
print("memory:", wanted)
sys.exit(0 if found == wanted else 1)
'''
