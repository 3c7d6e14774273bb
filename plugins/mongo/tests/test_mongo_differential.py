"""Generated calculations, orders and updates answer on a server and in mongomock as ``evaluate`` says they mean.

Filters without calculation are the kit's, which asks thousands of them on both; it calculates with exact numbers only, and here
are those that are not: floats of any size, and floats beside Decimals.
"""

from __future__ import annotations

import datetime as dt
import math
import random
import uuid
from decimal import Decimal
from typing import Any

import pytest
from mongo_models import Color, Star, Words

from db_plugins.evaluation import evaluate, sort_rows
from db_plugins.models import Kind
from db_plugins.nodes import (
    COMPARISONS,
    Arithmetic,
    Compare,
    IsNull,
    Node,
    Operand,
    Value,
    all_of,
    any_of,
    negate,
)
from db_plugins.spec import Order

UTC = dt.UTC
#: Few values of each kind, so that rows meet: boundaries, and pairs that other databases take for equal.
POOL: dict[str, list[Any]] = {
    "label": ["", " ", "a", "A", "b", "é", "e\u0301", "z", "Z", "\uffff", "\U00010400", "$mag", "a.b"],
    # Nothing tiny: indexes of the test server misplace it (test_the_smallest_float_is_found_by_an_index).
    "mag": [0.0, -1.5, 2.0, 1e300, 1e-9, 0.1, 3.0, -7.25],
    "size": [0.0, -1.5, 2.0, 0.5, 3.0, 1e-9, 7.0],
    "small": [0, 1, -1, 2, 3, 7, -7, 32767, -32768],
    "count": [0, 1, 2, 3, -7, 7, 2**31, 2**53 + 1, 2**62],
    "price": [Decimal(d) for d in ("0", "0.1", "0.5", "2", "-1.5", "3", "123456789.125")],
    "exact": [Decimal(d) for d in ("0", "2", "3", "0.5", "-7", "7")],
    "color": list(Color),
    "ok": [True, False],
    "at": [dt.datetime(y, 1, 1, 0, 0, 0, 1000 * y % 1000000, tzinfo=UTC) for y in (1, 1969, 1970, 2026)],
    "naive": [dt.datetime(y, 6, 1) for y in (1, 1969, 2026, 9999)],
    "day": [dt.date(1, 1, 1), dt.date(1970, 1, 1), dt.date(2026, 11, 21), dt.date(9999, 12, 31)],
    "clock": [dt.time(0), dt.time(9, 5), dt.time(10, 0, 0, 1000), dt.time(23, 59, 59, 999000)],
    "token": [uuid.UUID(int=n) for n in (0, 1, 2**64, 2**127, 2**128 - 1)],
    "raw": [b"", b"\0", b"a", b"ab", b"b", b"\xff"],
}
NUMBERS = ["mag", "size", "small", "count", "price", "exact"]
UNORDERED = {Kind.ENUM, Kind.BOOLEAN}
PAIRS = [
    ("mag", "size"),
    ("small", "count"),
    ("price", "exact"),
    ("small", "mag"),
    ("count", "price"),
    ("mag", "exact"),
]
ROWS = 120


class Maker:
    """Makes rows, filters and orders from one seed."""

    def __init__(self, words: Words, seed: int) -> None:
        self.words = words
        self.random = random.Random(seed)

    def rows(self) -> list[dict[str, Any]]:
        def pick(name: str) -> Any:
            return None if self.random.random() < 0.25 else self.random.choice(POOL[name])

        return [
            {"id": i + 1, "name": f"s{i}", **{n: pick(n) for n in POOL if n not in ("small", "day")}}
            # These two are unique together: one of them varies with the row, or is NULL.
            | {"small": None if i % 4 == 0 else self.random.choice(POOL["small"])}
            | {"day": None if i % 3 == 0 else dt.date(2000, 1, 1) + dt.timedelta(days=i)}
            for i in range(ROWS)
        ]

    def node(self, depth: int = 3) -> Node:
        if depth and self.random.random() < 0.5:
            parts = [self.node(depth - 1) for _ in range(self.random.randint(2, 3))]
            made = all_of(parts) if self.random.random() < 0.5 else any_of(parts)
            return negate(made) if self.random.random() < 0.3 else made
        return self.random.choice([self.columns, self.calculated])()

    def op(self, name: str) -> str:
        unordered = self.words.field(name).kind in UNORDERED
        return self.random.choice(["==", "!="] if unordered else sorted(COMPARISONS))

    def literal(self) -> Node:
        name = self.random.choice(sorted(POOL))
        literal = self.words.value(name, self.random.choice(POOL[name]))
        return Compare(self.op(name), self.words.column(name), literal)

    def columns(self) -> Node:
        left, right = self.random.choice(
            [*PAIRS, ("label", "label"), ("at", "at"), ("raw", "raw"), ("color", "color")]
        )
        return Compare(self.op(left), self.words.column(left), self.words.column(right))

    def calculated(self) -> Node:
        left = self.number(2)
        if self.random.random() < 0.2:
            return IsNull(left, self.random.random() < 0.5)
        return Compare(self.random.choice(sorted(COMPARISONS)), left, self.number(0))

    def number(self, depth: int) -> Operand:
        if depth == 0 or self.random.random() < 0.2:
            if self.random.random() < 0.4:
                return Value(self.random.choice([0, 1, 2, -3, 0.5, Decimal("0.5"), Decimal(2)]))
            return self.words.column(self.random.choice(NUMBERS))
        op = self.random.choice(["+", "-", "*", "/", "//"])
        return Arithmetic(op, self.number(depth - 1), self.number(depth - 1))

    def order(self) -> tuple[Order, ...]:
        names = self.random.sample(sorted(POOL), self.random.randint(1, 3))
        terms = [
            Order(self.words.field(n), self.random.random() < 0.5, self.random.random() < 0.5) for n in names
        ]
        return (*terms, Order(self.words.field("id")))


def means(node: Node, row: dict[str, Any]) -> bool | None:
    """The reference's answer; ``None`` where Python's own arithmetic gives none (overflow, NaN)."""
    try:
        return evaluate(node, row)
    except (ArithmeticError, ValueError):
        return None


@pytest.mark.parametrize("seed", range(4))
def test_generated_calculations_find_the_rows_that_the_reference_finds(either: Any, seed: int) -> None:
    words: Words = either(Star)
    make = Maker(words, seed)
    rows = make.rows()
    words.add(*rows)
    for _ in range(50):
        node = make.node()
        expected = {row["id"]: means(node, {**row, "meta": None}) for row in rows}
        if words.engine.name == "mongomock" and None in expected.values():
            continue  # the core works it out there, and so has no answer either
        found = {row[0] for row in words.rows(node, columns=["id"])}
        wrong = [key for key, truth in expected.items() if truth is not None and truth != (key in found)]
        wrong = [key for key in wrong if not _is_inexact(node, rows[key - 1])]
        assert not wrong, (node, wrong[0], rows[wrong[0] - 1], words.engine.explain(words.compile(node)))
        assert words.runner.count(words.spec(node)) == len(found)


def _is_inexact(node: Node, row: dict[str, Any]) -> bool:
    """Is the answer a matter of the last digit? Then a factor of one part in 10**12 changes it."""
    near = []
    for factor in (1 - 1e-12, 1 + 1e-12):
        moved = {n: v * factor if isinstance(v, float) else v for n, v in row.items()}
        near.append(means(node, moved))
    return near[0] != near[1] or any(isinstance(v, float) and math.isinf(v) for v in row.values())


@pytest.mark.parametrize("seed", range(2))
def test_generated_orders_and_windows_give_the_rows_in_the_references_order(either: Any, seed: int) -> None:
    words: Words = either(Star)
    make = Maker(words, seed)
    rows = make.rows()
    words.add(*rows)
    for _ in range(60):
        order = make.order()
        offset, limit = make.random.randint(0, 5), make.random.choice([None, 1, 7, ROWS])
        expected = sort_rows([{**row, "meta": None} for row in rows], order, dict.__getitem__)
        window = expected[offset : None if limit is None else offset + limit]
        found = [row[0] for row in words.rows(columns=["id"], order=order, offset=offset, limit=limit)]
        assert found == [row["id"] for row in window], order


@pytest.mark.parametrize("seed", range(2))
def test_generated_updates_write_what_the_reference_computes(either: Any, seed: int) -> None:
    words: Words = either(Star)
    make = Maker(words, seed)
    rows = make.rows()
    words.add(*rows)
    for _ in range(15):
        name = make.random.choice(["mag", "price"])
        added = make.random.choice(POOL[name])
        operand = Arithmetic("+", words.column(name), words.value(name, added))
        node = make.literal()
        before = {row[0]: words.as_mapping(row) for row in words.rows()}
        matched = {key for key, row in before.items() if evaluate(node, row)}
        changes = {words.field(name): operand, words.field("label"): words.value("label", None)}
        assert words.runner.update(words.spec(node), changes) == len(matched)
        after = {row[0]: words.as_mapping(row) for row in words.rows()}
        for key, row in before.items():
            if key in matched:
                old = row[name]
                row = {**row, "label": None, name: None if old is None else old + added}
            assert after[key] == row
