"""What the core does of an aggregation: types and rounding, and the answer where the engine leaves it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from shop import Item

import db_plugins
from db_plugins import func
from db_plugins.aggregates import Aggregation, GroupOrder, Groups, Term, aggregate_rows
from db_plugins.engine import SupportsAggregation
from db_plugins.models import Kind, describe
from db_plugins.nodes import Arithmetic, Column, Value
from db_plugins.testing.memory import MemoryConnection

INFO = describe(Item)
COUNT = Column(INFO.field("count"))


def term(function: str, kind: Kind, scale: int | None = 0) -> Term:
    return Term("x", function, Arithmetic("*", COUNT, Value(1)), kind, scale)


@pytest.mark.parametrize(
    ("asked", "found", "settled"),
    [
        (term("count", Kind.INTEGER), None, 0),
        (term("sum", Kind.INTEGER), Decimal(2**70), 2**70),
        (term("sum", Kind.FLOAT), Decimal("1.5"), 1.5),
        (term("sum", Kind.FLOAT), float("nan"), None),
        (term("sum", Kind.DECIMAL, 2), 0.30000000000000004, Decimal("0.30")),
        (term("sum", Kind.DECIMAL, None), "0.1000", Decimal("0.1000")),
        (term("sum", Kind.INTEGER), None, None),
        (term("avg", Kind.INTEGER), (Decimal(7), 2), 3.5),
        (term("avg", Kind.FLOAT), (1.0, 4), 0.25),
        (term("avg", Kind.DECIMAL, 2), (1, 3), Decimal("0.33333333")),
        (term("avg", Kind.DECIMAL, 0), (Decimal("0.000001"), 2), Decimal("0.000000")),
        (term("avg", Kind.DECIMAL, None), (Decimal(1), 3), Decimal("0.3333333333333333333333333333")),
        (term("avg", Kind.INTEGER), (None, 0), None),
        (term("avg", Kind.INTEGER), None, None),
        (term("min", Kind.INTEGER), 3.0, 3),
        (term("max", Kind.DECIMAL, 1), Decimal("2"), Decimal("2.0")),
    ],
)
def test_what_an_engine_found_gets_its_type(asked: Term, found: Any, settled: Any) -> None:
    value = asked.settle(found)
    assert (value, type(value)) == (settled, type(settled))


def test_a_sum_of_floats_keeps_what_each_addition_loses() -> None:
    total = Aggregation((), (Term("x", "sum", Column(INFO.field("price")), Kind.FLOAT),))
    rows = [{"price": v} for v in (1e100, 1.0, -1e100, None)]
    assert total.settle(aggregate_rows(total, rows)) == [(1.0,)]
    assert total.settle(aggregate_rows(total, [{"price": float("inf")}, {"price": 1.0}])) == [(float("inf"),)]


def test_unsorted_groups_are_sorted_and_cut_by_the_core() -> None:
    wanted = Aggregation(
        (INFO.field("title"),),
        (Term("n", "count", None),),
        (GroupOrder(1, descending=True, nulls_first=False), GroupOrder(0)),
        limit=2,
        offset=1,
    )
    rows = [("b", 2), ("c", 3), (None, 2), ("a", 2)]
    assert wanted.settle(Groups(rows, sorted=False)) == [(None, 2), ("a", 2)]
    assert wanted.settle(Groups(rows)) == rows


class Answering(MemoryConnection, SupportsAggregation):
    """Has the role, and answers what it was told."""

    answer: Groups | None = None
    asked: Aggregation | None = None

    def aggregate(self, query: Any, wanted: Aggregation) -> Groups | None:
        assert query.spec.order == ()
        assert not query.spec.is_windowed
        self.asked = wanted
        return self.answer


def test_an_engine_with_the_role_is_asked_and_may_decline() -> None:
    db = db_plugins.connect({"ENGINE": "memory"}, models=[Item])
    connection = db._connection = Answering(db._engine)  # type: ignore[arg-type]
    query = db.query(Item)
    assert query.aggregate(n=func.count()) == {"n": 0}
    assert connection.asked == Aggregation((), (Term("n", "count", None),))
    connection.answer = Groups([(Decimal(7),)])
    assert query.order_by("id").aggregate(n=func.count()) == {"n": 7}
    connection.asked = None
    assert query.limit(3).aggregate(n=func.count()) == {"n": 0}, (
        "rows are cut first, which is the core's work"
    )
    assert connection.asked is None
