"""The pipeline that an aggregation becomes: keys, guarded sums, what the server orders and what it leaves."""

from __future__ import annotations

from typing import Any

import pytest
from mongo_models import Star, engine_for

from db_plugins.aggregates import Aggregation, GroupOrder, Term
from db_plugins.engine import QuerySpec
from db_plugins.models import describe
from db_plugins.nodes import Column
from db_plugins_mongo.aggregates import make_pipeline
from db_plugins_mongo.translate import CannotSay, Translator

INFO = describe(Star)
FIND = engine_for().compile(QuerySpec(INFO, INFO.key)).native
NOT_NULL = {"$gt": ["$mag", None]}


def pipeline(*terms: Term, groups: tuple[str, ...] = (), order: Any = (), **window: int) -> Any:
    fields = tuple(INFO.field(name) for name in groups)
    return make_pipeline(Translator(INFO), FIND, Aggregation(fields, terms, tuple(order), **window))


def term(function: str, name: str) -> Term:
    field = INFO.field(name)
    return Term("x", function, Column(field), field.kind, field.scale)


def test_rows_are_counted_without_looking_at_them() -> None:
    assert pipeline(Term("n", "count", None)) == (
        [{"$match": {}}, {"$group": {"_id": None, "n0": {"$sum": 1}}}],
        True,
    )


def test_a_sum_is_counted_beside_and_a_missing_field_is_a_group_of_null() -> None:
    stages, is_sorted = pipeline(
        term("sum", "mag"), groups=("label",), order=[GroupOrder(1), GroupOrder(0)], limit=3, offset=2
    )
    assert is_sorted
    assert stages == [
        {"$match": {}},
        {
            "$group": {
                "_id": {"k0": {"$ifNull": ["$label", None]}},
                "v0": {"$sum": "$mag"},
                "n0": {"$sum": {"$cond": [NOT_NULL, 1, 0]}},
            }
        },
        {"$set": {"o0": {"$cond": [{"$gt": ["$n0", 0]}, "$v0", None]}}},
        {"$sort": {"o0": 1, "_id.k0": 1}},
        {"$skip": 2},
        {"$limit": 3},
    ]


def test_long_integers_are_summed_as_decimals_and_short_ones_as_they_are() -> None:
    group = pipeline(term("sum", "count"), term("avg", "small"))[0][1]["$group"]
    assert group["v0"] == {"$sum": {"$toDecimal": "$count"}}
    assert group["v1"] == {"$sum": "$small"}


@pytest.mark.parametrize(
    ("terms", "groups", "order"),
    [
        ((term("avg", "price"),), ("label",), GroupOrder(1)),
        ((term("sum", "mag"),), ("label",), GroupOrder(1, nulls_first=False)),
        ((term("sum", "mag"),), ("label",), GroupOrder(0, descending=True)),
        ((term("sum", "mag"),), ("raw",), GroupOrder(0)),
    ],
)
def test_what_the_server_orders_otherwise_is_ordered_by_the_core(
    terms: tuple[Term, ...], groups: tuple[str, ...], order: GroupOrder
) -> None:
    stages, is_sorted = pipeline(*terms, groups=groups, order=[order], limit=1)
    assert not is_sorted
    assert [next(iter(stage)) for stage in stages] == ["$match", "$group"]


def test_the_least_of_bytes_is_left_to_the_core() -> None:
    with pytest.raises(CannotSay):
        pipeline(term("min", "raw"))


def test_the_server_answers_itself(mongodb: Any) -> None:
    words = mongodb(Star)
    wanted = Aggregation((INFO.field("label"),), (Term("n", "count", None), term("max", "day")))
    groups = words.connection.aggregate(words.engine.compile(QuerySpec(INFO, INFO.key)), wanted)
    assert groups is not None
    assert wanted.settle(groups) == []


def test_a_native_condition_is_heeded() -> None:
    native = {"mag": {"$mod": [2, 0]}}
    find = engine_for().compile(QuerySpec(INFO, INFO.key, native=(native,))).native
    stages, _ = make_pipeline(Translator(INFO), find, Aggregation((), (Term("n", "count", None),)))
    assert stages[0] == {"$match": native}
