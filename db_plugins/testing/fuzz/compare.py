"""Asks an engine and MemoryEngine the same questions, and shrinks the first that they answer differently.

with Arena(db) as arena:
    arena.stock(make_rows(arena.maker, seed=1))
    found = arena.seek("filters", seed=1, examples=250)     # a Difference, or None
    if found: print(arena.shrunk(found).script({"ENGINE": "sqlite"}))
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import cycle, islice
from typing import Any, Self

import hypothesis
from hypothesis.errors import HypothesisWarning
from hypothesis.strategies import SearchStrategy

from db_plugins import Capability, Database, connect

from .cases import Case, Listing, Question
from .model import BOUNDARIES, Sample
from .strategies import COMPARISONS, UNORDERED, Maker
from .trees import Col, Compare, Value

__all__ = ["Arena", "Difference", "boundary_questions", "make_rows"]

Rows = Sequence[Mapping[str, Any]]

#: Rows that hold all boundary values of all columns, each column's in turn.
BOUNDARY_ROWS = max(map(len, BOUNDARIES.values()))


class Difference(AssertionError):
    """Two answers to one question."""

    def __init__(self, case: Case, got: Any, wanted: Any) -> None:
        super().__init__(f"{case.question}: {got!r} is not {wanted!r}")
        self.case = case
        self.got = got
        self.wanted = wanted

    def script(self, entry: Mapping[str, Any]) -> str:
        """The program that shows it."""
        return self.case.script(entry, self.got, self.wanted)


#: Rows, and what a seed asks of them, where no answer differed: engines with the same claims are asked the same, and to
#: make a question takes Hypothesis longer than to ask it takes both.
_asked: dict[tuple[Maker, str, int, int], tuple[Rows, Sequence[Question]]] = {}


class Arena:
    """The engine of a Database, and MemoryEngine beside it, over the same rows.

    ``stock`` stores rows for an engine that does not write; without it the Database's own ``bulk_insert`` does.
    """

    def __init__(self, db: Database, stock: Callable[[Rows], None] | None = None) -> None:
        self.db = db
        self.oracle = connect({"ENGINE": "memory"}, models=[Sample])
        self.oracle.create_all()
        self.maker = Maker(
            microseconds=Capability.MICROSECONDS in db.capabilities,
            unicode_case=Capability.UNICODE_CASE in db.capabilities,
            infinity=Capability.INFINITY in db.capabilities,
        )
        self.rows: tuple[Mapping[str, Any], ...] = ()
        self._fill = stock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.oracle.close()

    @property
    def writes(self) -> bool:
        """Can the rows be changed?"""
        return Capability.WRITE in self.db.capabilities

    def stock(self, rows: Rows) -> None:
        """Put these rows in both, in the place of those that were there."""
        for database in (self.oracle, self.db):
            query = database.query(Sample)
            if database is self.db and not self.writes:
                assert self._fill is not None, "an engine that does not write needs stock="
                self._fill(rows)
                continue
            query.delete(force=True)
            query.bulk_insert(rows)
        self.rows = tuple(rows)

    def compare(self, question: Question) -> Difference | None:
        """What the engine answers otherwise than MemoryEngine."""
        wanted = question.ask(self.oracle.query(Sample))
        got = question.ask(self.db.query(Sample))
        return None if got == wanted else Difference(Case(self.rows, question), got, wanted)

    def seek(self, about: str = "filters", *, seed: int, examples: int) -> Difference | None:
        """Ask this many questions about filters, pages or aggregates; the simplest of those whose answers differ."""
        made = {
            "filters": lambda: self.maker.filters(self.rows).map(Question),
            "pages": lambda: self.maker.questions(self.rows),
            "aggregates": lambda: self.maker.aggregates(self.rows),
        }[about]()
        rows, known = _asked.get(key := (self.maker, about, seed, examples), ((), ()))
        if known and rows == self.rows and all(self.compare(question) is None for question in known):
            return None
        asked: list[Question] = []

        def ask(question: Question) -> None:
            if (found := self.compare(question)) is not None:
                raise found
            asked.append(question)

        try:
            _run(made, ask, seed, examples)
        except Difference as found:
            return found
        _asked[key] = self.rows, asked
        return None

    def shrunk(self, found: Difference) -> Difference:
        """The same difference with as few rows and values as show it."""
        if not self.writes:
            return found

        def differs(case: Case) -> bool:
            self.stock(case.rows)
            return self.compare(case.question) is not None

        rows = self.rows
        try:
            question = found.case.question.shrunk(lambda q: self.compare(q) is not None)
            case = Case(rows, question).shrunk(differs)
            self.stock(case.rows)
            return self.compare(question) or found
        finally:
            self.stock(rows)


@lru_cache(maxsize=64)
def make_rows(maker: Maker, *, seed: int, count: int = BOUNDARY_ROWS + 20) -> tuple[dict[str, Any], ...]:
    """Rows from a seed: first the boundary values of every column, then any."""
    columns = {name: cycle(values) for name, values in BOUNDARIES.items()}
    made = [{name: next(values) for name, values in columns.items()} for _ in range(BOUNDARY_ROWS)]
    others: list[dict[str, Any]] = []

    def collect(row: dict[str, Any]) -> None:
        others.append(row)

    _run(maker.row(), collect, seed, max(count, 2))
    # The first that Hypothesis makes are the simplest: the last are worth more.
    made += islice(reversed(others), max(count - BOUNDARY_ROWS, 0))
    return tuple({"id": n, **row} for n, row in enumerate(made[:count], 1))


def boundary_questions() -> Iterator[Question]:
    """Every boundary value, compared with its column in every way."""
    for name, values in BOUNDARIES.items():
        if name == "extra":
            continue
        for value in values:
            for op in COMPARISONS[:2] if name in UNORDERED else COMPARISONS:
                yield Question(Compare(op, Col(name), Value(value)), reading=Listing())


def _run(made: SearchStrategy[Any], use: Callable[[Any], None], seed: int, examples: int) -> None:
    """``use`` is called with this many examples, the same for the same seed."""
    settings = hypothesis.settings(
        max_examples=examples,
        database=None,
        derandomize=True,
        deadline=None,
        report_multiple_bugs=False,
        verbosity=hypothesis.Verbosity.quiet,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    with warnings.catch_warnings():
        # It finds the text of the strategies too long; nobody reads it.
        warnings.simplefilter("ignore", HypothesisWarning)
        hypothesis.seed(seed)(settings(hypothesis.given(made)(use)))()
