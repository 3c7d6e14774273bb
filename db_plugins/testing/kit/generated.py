"""Filters, orders and pages from a seed, answered by the engine as MemoryEngine, the oracle, answers them."""

# ruff: noqa: DTZ001 - naive datetimes are among the values
from __future__ import annotations

import datetime as dt
import random
import uuid
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from db_plugins import and_, not_, or_
from db_plugins import connect as connect_to

from .harness import Connect, Harness, subject
from .models import Colour, Thing

__all__ = ["Generated"]

ROWS = 60
ROUNDS = 6
FILTERS = 50

#: Few values of each kind, so that rows meet; pairs that some databases take for equal.
POOL: dict[str, list[Any]] = {
    "text": ["", " ", "a", "a ", "A", "b", "é", "e\u0301", "É", "ß", "z", "Z", "\uffff", "\U00010400", "$a", "a.b", "%"],
    "other": ["", "a", "A", "é", "z", "\U00010400"],
    "small": [0, 1, -1, 2, 3, 7, -7, 100],
    "number": [0, 1, 2, 3, -7, 7, 1000],
    "big": [0, 1, 2, 7, -7, 2**31, 2**40],
    "size": [0.0, -1.5, 2.0, 0.5, 3.0, 1e9, 7.0, -7.25],
    "weight": [0.0, 1.5, 2.0, 0.25, -3.0],
    "price": [Decimal(d) for d in ("0", "0.125", "0.5", "2", "-1.5", "3", "7", "1234567.125")],
    "flag": [True, False],
    "colour": list(Colour),
    "letter": ["S", "M", "L"],
    "at": [dt.datetime(y, 1, 1, 0, 0, 0, 1000 * (y % 1000), tzinfo=dt.UTC) for y in (1, 1969, 1970, 2026, 9999)],
    "local": [dt.datetime(y, 6, 1) for y in (1, 1969, 2026, 9999)],
    "day": [dt.date(1, 1, 1), dt.date(1970, 1, 1), dt.date(2026, 11, 21), dt.date(9999, 12, 31)],
    "hour": [dt.time(0), dt.time(9, 5), dt.time(10, 0, 0, 1000), dt.time(23, 59, 59, 999000)],
    "token": [uuid.UUID(int=n) for n in (0, 1, 2**64, 2**127, 2**128 - 1)],
    "raw": [b"", b"\0", b"a", b"ab", b"b", b"\xff"],
}  # fmt: skip
NUMBERS = ["small", "number", "big", "size", "weight", "price"]
UNORDERED = {"flag", "colour", "letter"}
COMPARED = [
    ("text", "other"),
    ("size", "weight"),
    ("small", "number"),
    ("number", "size"),
    ("big", "price"),
    ("at", "at"),
    ("colour", "colour"),
]
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class Maker:
    """Makes rows, filters and orders from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def rows(self) -> list[dict[str, Any]]:
        """Rows with a quarter of NULLs."""
        pick = self.random
        return [
            {
                "id": n + 1,
                **{name: None if pick.random() < 0.25 else pick.choice(pool) for name, pool in POOL.items()},
            }
            for n in range(ROWS)
        ]

    def condition(self, depth: int = 3) -> Any:
        """A filter: up to three levels of and, or, not over comparisons of every sort."""
        pick = self.random
        if depth and pick.random() < 0.5:
            parts = [self.condition(depth - 1) for _ in range(pick.randint(2, 3))]
            made = and_(*parts) if pick.random() < 0.5 else or_(*parts)
            return not_(made) if pick.random() < 0.3 else made
        made = pick.choice(
            [self._literal, self._literal, self._among, self._null, self._columns, self._between, self._sum]
        )()
        return not_(made) if pick.random() < 0.15 else made

    def _compare(self, name: str, left: Any, right: Any) -> Any:
        known = ["==", "!="] if name in UNORDERED else sorted(OPERATORS)
        return OPERATORS[self.random.choice(known)](left, right)

    def _literal(self) -> Any:
        name = self.random.choice(sorted(POOL))
        return self._compare(name, getattr(Thing, name), self.random.choice(POOL[name]))

    def _among(self) -> Any:
        name = self.random.choice(sorted(POOL))
        values = [
            None if self.random.random() < 0.1 else v
            for v in self.random.sample(POOL[name], self.random.randint(0, 2))
        ]
        column = getattr(Thing, name)
        return column.in_(values) if self.random.random() < 0.5 else column.not_in(values)

    def _null(self) -> Any:
        column = getattr(Thing, self.random.choice(sorted(POOL)))
        return column.is_(None) if self.random.random() < 0.5 else column.is_not(None)

    def _columns(self) -> Any:
        left, right = self.random.choice(COMPARED)
        return self._compare(left, getattr(Thing, left), getattr(Thing, right))

    def _between(self) -> Any:
        name = self.random.choice(sorted(set(POOL) - UNORDERED))
        return getattr(Thing, name).between(self.random.choice(POOL[name]), self.random.choice(POOL[name]))

    def _sum(self) -> Any:
        calculated: Any = None
        while calculated is None or hasattr(calculated, "property"):  # a bare column takes its own kind only
            calculated = self._number(2)
        if self.random.random() < 0.2:
            return calculated.is_(None)
        # Binary fractions in the pools: every sum and product is exact, so that == means the same everywhere.
        return self._compare("size", calculated, self.random.choice([0, 1, 2, -3, 3.5, 14]))

    def _number(self, depth: int) -> Any:
        column = getattr(Thing, self.random.choice(NUMBERS))
        if depth == 0 or self.random.random() < 0.2:
            return column
        other = self.random.choice([self._number(depth - 1), 2, 3, -2, 0])
        op = self.random.choice("+-*/|")
        if op == "/":
            # Quotients are rounded by each engine in its own last digit: only exact divisors.
            return column / self.random.choice([2, 4, 0, -2])
        if op == "|":
            return getattr(Thing, self.random.choice(["small", "number", "size"])) // self.random.choice(
                [2, 4, -2, 0, 3]
            )
        return {"+": column + other, "-": column - other, "*": column * other}[op]

    def order(self) -> list[Any]:
        """One to three terms, each way round, NULLs on either side."""
        terms = []
        for name in self.random.sample(sorted(POOL), self.random.randint(1, 3)):
            term: Any = getattr(Thing, name)
            term = term.desc() if self.random.random() < 0.5 else term
            nulls = self.random.random()
            terms.append(term.nulls_last() if nulls < 0.25 else term.nulls_first() if nulls < 0.5 else term)
        return terms


@subject("generated")
class Generated(Harness):
    """Hundreds of queries; a failure names the seed and shows the first that differ."""

    @pytest.fixture
    def both(self, connect: Connect) -> Callable[[int], tuple[Any, Any, Maker]]:
        """``both(seed)``: the engine's query, the oracle's, and the maker, over the same rows."""

        def make(seed: int) -> tuple[Any, Any, Maker]:
            maker = Maker(seed)
            db, oracle = connect(Thing), connect_to({"ENGINE": "memory"}, models=[Thing])
            rows = maker.rows()
            self.stock(db, Thing, rows)
            oracle.query(Thing).bulk_insert(rows)
            return db.query(Thing), oracle.query(Thing), maker

        return make

    @pytest.mark.parametrize("seed", range(ROUNDS))
    def test_generated_filters_find_what_the_reference_finds(self, both: Any, seed: int) -> None:
        query, oracle, maker = both(seed)
        wrong = []
        for _ in range(FILTERS):
            condition = maker.condition()
            wanted = [d["id"] for d in oracle.filter(condition).order_by("id").to_dicts("id")]
            got = [d["id"] for d in query.filter(condition).order_by("id").to_dicts("id")]
            counted = query.filter(condition).count()
            if got != wanted or counted != len(wanted):
                wrong.append(
                    f"{shown(condition)}: too many {sorted({*got} - {*wanted})}, too few {sorted({*wanted} - {*got})}"
                )
        assert not wrong, f"{len(wrong)} of {FILTERS} filters differ:\n" + "\n".join(wrong[:3])

    @pytest.mark.parametrize("seed", range(ROUNDS, ROUNDS + 2))
    def test_generated_orders_and_windows_are_the_references(self, both: Any, seed: int) -> None:
        query, oracle, maker = both(seed)
        wrong = []
        for _ in range(FILTERS):
            terms, offset, limit = maker.order(), maker.random.randint(0, 20), maker.random.randint(0, 30)
            condition = maker.condition(1)
            shapes: list[Callable[[Any], Any]] = [
                partial(_shaped, terms=terms),
                partial(_shaped, terms=terms, offset=offset, limit=limit),
                partial(_shaped, condition=condition, terms=terms, offset=offset, limit=limit),
                partial(_shaped, condition=condition, offset=offset, limit=limit),
            ]
            for made in shapes:
                wanted, got = [[d["id"] for d in made(q).to_dicts("id")] for q in (oracle, query)]
                if wanted != got or made(query).count() != len(wanted):
                    wrong.append(f"{', '.join(map(shown, terms))} [{offset}:+{limit}]: {got} is not {wanted}")
        assert not wrong, f"{len(wrong)} orders differ:\n" + "\n".join(wrong[:3])

    @pytest.mark.parametrize("seed", [ROUNDS + 2])
    def test_generated_pages_are_the_references(self, both: Any, seed: int) -> None:
        query, oracle, maker = both(seed)
        for _ in range(20):
            terms, size, counted = maker.order(), maker.random.randint(1, 25), maker.random.random() < 0.5
            condition = maker.condition(1)
            for number in range(1, 6):
                wanted, got = [
                    q.filter(condition).order_by(*terms).paginate(number, size, count=counted)
                    for q in (oracle, query)
                ]
                assert [t.id for t in got] == [t.id for t in wanted], (
                    f"{shown(condition)} page {number} of {size}"
                )
                assert (got.total, got.pages, got.has_next, got.has_prev) == (
                    wanted.total,
                    wanted.pages,
                    wanted.has_next,
                    wanted.has_prev,
                )


def _shaped(
    query: Any, *, condition: Any = None, terms: Any = (), offset: int = 0, limit: int | None = None
) -> Any:
    shaped = query if condition is None else query.filter(condition)
    shaped = shaped.order_by(*terms).offset(offset)
    return shaped if limit is None else shaped.limit(limit)


def shown(expression: Any) -> str:
    """The expression with its values, for the message of a failure."""
    try:
        text = str(expression.compile(compile_kwargs={"literal_binds": True}))
    except (sa.exc.SQLAlchemyError, NotImplementedError, TypeError):
        text = f"{expression} with {getattr(expression.compile(), 'params', {})}"
    return " ".join(text.replace("kit_thing.", "").split())
