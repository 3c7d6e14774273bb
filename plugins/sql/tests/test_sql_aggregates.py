"""How the SQL engines say an aggregation: one statement, grouped by code point, exact where the dialect is not."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from shop import Item, Shop

import db_plugins
from db_plugins import func
from db_plugins.aggregates import Aggregation, GroupOrder, Term
from db_plugins.models import Kind, describe
from db_plugins.nodes import Column
from db_plugins.spec import QuerySpec

INFO = describe(Item)


def said(url: str, wanted: Aggregation) -> str:
    """The statement."""
    engine: Any = db_plugins.connect(url)._engine
    plan = engine.aggregates.plan(engine.words, QuerySpec(INFO, INFO.key), wanted)
    return " ".join(str(plan.statement.compile(dialect=engine.url.get_dialect()())).split())


COUNT = Term("n", "count", None)


@pytest.mark.parametrize(
    ("url", "collation"),
    [
        ("sqlite://", '"BINARY"'),
        ("postgresql://h/d", '"C"'),
        ("mariadb://h/d", "utf8mb4_nopad_bin"),
    ],
)
def test_text_is_grouped_by_code_point(url: str, collation: str) -> None:
    statement = said(url, Aggregation((INFO.field("title"),), (COUNT,), (GroupOrder(0),), limit=3))
    text = "convert(item.ttl USING utf8mb4)" if url.startswith("mariadb") else "item.ttl"
    assert f"GROUP BY {text} COLLATE {collation}" in statement
    assert f"ORDER BY {text}" in statement
    assert "LIMIT" in statement


def test_integers_are_summed_in_two_halves_on_sqlite() -> None:
    total = Aggregation((), (Term("s", "sum", Column(INFO.field("count")), Kind.INTEGER),))
    assert "sum(item.count >> ?)" in said("sqlite://", total)
    assert said("postgresql://h/d", total) == "SELECT sum(item.count) AS c0 FROM item"


def test_a_native_condition_is_heeded() -> None:
    with db_plugins.connect("sqlite://", models=[Item, Shop]) as db:
        db.create_all()
        db.query(Item).bulk_insert([{"title": t, "count": n} for n, t in enumerate("abcab")])
        query = db.query(Item).filter_native(sa.text("ttl <> :t").bindparams(t="c")).filter(Item.count > 0)
        assert query.aggregate(n=func.count(), s=func.sum(Item.count)) == {"n": 3, "s": 8}
        assert query.group_by("title").aggregate(n=func.count()) == [
            {"title": "a", "n": 1},
            {"title": "b", "n": 2},
        ]


def test_averages_of_decimals_are_ordered_by_the_core() -> None:
    average = Term("a", "avg", Column(INFO.field("price")), Kind.DECIMAL, 2)
    wanted = Aggregation((INFO.field("title"),), (average,), (GroupOrder(1), GroupOrder(0)), limit=3)
    statement = said("postgresql://h/d", wanted)
    assert "ORDER BY" not in statement
    assert "LIMIT" not in statement
