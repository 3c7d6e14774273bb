"""What is sent: the path form where it can be, the expression form where it must, the rest left over."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pytest
from bson import Binary, Decimal128
from mongo_models import Color, Place, Star, Tag, Words, engine_for

from db_plugins.errors import UnsupportedFilterError
from db_plugins.models import describe
from db_plugins.nodes import Always, And, Arithmetic, Compare, In, IsNull, Like, Node, Or, Value, Wild
from db_plugins.spec import Order
from db_plugins_mongo.translate import MOST_VALUES, Translator, both

words = Words(Star, engine_for(), None)  # type: ignore[arg-type]
column, value, field = words.column, words.value, words.field


def compare(name: str, op: str, literal: Any) -> Compare:
    return Compare(op, column(name), value(name, literal))


PATH_FORMS: list[tuple[Node, dict[str, Any]]] = [
    (compare("id", "==", 7), {"_id": 7}),
    (compare("id", ">", 7), {"_id": {"$gt": 7}}),
    (compare("name", "==", "Vega"), {"star_name": {"$eq": "Vega"}}),
    (compare("mag", "<", 5.0), {"mag": {"$lt": 5.0}}),
    (compare("mag", "!=", 5.0), {"mag": {"$nin": [5.0, None]}}),
    (Compare("<", value("mag", 5.0), column("mag")), {"mag": {"$gt": 5.0}}),
    (compare("color", "==", Color.RED), {"color": {"$eq": "RED"}}),
    (compare("price", ">=", Decimal("1.5")), {"price": {"$gte": Decimal128("1.500")}}),
    (compare("day", "==", dt.date(2026, 2, 1)), {"day": {"$eq": dt.datetime(2026, 2, 1)}}),
    (compare("clock", "<", dt.time(1, 2)), {"clock": {"$lt": "01:02:00.000000"}}),
    (compare("token", "==", uuid.UUID(int=1)), {"token": {"$eq": Binary.from_uuid(uuid.UUID(int=1))}}),
    (compare("raw", "==", b"\0"), {"raw": {"$eq": b"\0"}}),
    (In(column("id"), (1, 2), field("id")), {"_id": {"$in": [1, 2]}}),
    (In(column("small"), (1, 2), field("small"), negated=True), {"small": {"$nin": [1, 2, None]}}),
    (IsNull(column("label")), {"label": {"$eq": None}}),
    (IsNull(column("label"), negated=True), {"label": {"$ne": None}}),
    (Like(column("name"), ("Ve", Wild.ANY)), {"star_name": {"$gte": "Ve", "$lt": "Vf"}}),
    (Like(column("name"), ("\U0010ffff", Wild.ANY)), {"star_name": {"$gte": "\U0010ffff"}}),
    (
        Like(column("name"), ("Ve", Wild.ANY, "a")),
        {"star_name": {"$gte": "Ve", "$lt": "Vf", "$regex": r"\AVe.*a\z", "$options": "s"}},
    ),
    (Like(column("name"), (Wild.ANY, "a")), {"star_name": {"$regex": r"\A.*a\z", "$options": "s"}}),
    (
        Like(column("name"), ("Ve", Wild.ANY), "ascii"),
        {"star_name": {"$regex": r"\A[vV][eE].*\z", "$options": "s"}},
    ),
    (
        Like(column("name"), (Wild.ONE, "a.b"), "ascii", negated=True),
        {"star_name": {"$not": {"$regex": r"\A.[aA]\.[bB]\z", "$options": "s"}, "$ne": None}},
    ),
    (Always(True), {}),
    (Always(False), {"_id": {"$in": []}}),
    (And((compare("mag", ">=", 1.0), compare("mag", "<", 2.0))), {"mag": {"$gte": 1.0, "$lt": 2.0}}),
    (And((compare("id", "==", 1), compare("mag", "<", 2.0))), {"_id": 1, "mag": {"$lt": 2.0}}),
    (
        And((compare("id", "==", 1), compare("id", "==", 2))),
        {"$and": [{"_id": 1}, {"_id": 2}]},
    ),
    (
        Or((compare("id", "==", 1), IsNull(column("mag")))),
        {"$or": [{"_id": 1}, {"mag": {"$eq": None}}]},
    ),
]


@pytest.mark.parametrize(("node", "sent"), PATH_FORMS, ids=[str(i) for i in range(len(PATH_FORMS))])
def test_a_comparison_with_a_literal_is_sent_in_the_form_that_indexes_serve(node: Node, sent: Any) -> None:
    assert Translator(words.info).filter(node) == sent


def test_two_columns_are_compared_in_an_expression_that_keeps_null_out() -> None:
    node = Compare("<", column("mag"), column("size"))
    assert Translator(words.info).filter(node) == {
        "$expr": {"$and": [{"$gt": ["$mag", None]}, {"$lt": ["$mag", "$size"]}]}
    }


def test_division_by_zero_is_null() -> None:
    node = Compare(">", Arithmetic("/", column("mag"), column("size")), Value(1))
    divided = {"$cond": [{"$eq": ["$size", 0]}, None, {"$divide": ["$mag", "$size"]}]}
    assert Translator(words.info).filter(node) == {"$expr": {"$gt": [divided, 1]}}
    assert Translator(words.info).expression(Arithmetic("//", column("mag"), Value(0))) is None


def test_text_is_never_read_as_a_field_or_an_operator() -> None:
    node = Compare("==", column("name"), value("name", "$label"))
    assert Translator(words.info).filter(node) == {"star_name": {"$eq": "$label"}}
    assert Translator(words.info).expression(value("label", "$label")) == {"$literal": "$label"}
    change = Translator(words.info).update_document(
        {field("meta"): value("meta", {"$set": 1}), field("mag"): Arithmetic("+", column("mag"), Value(1))}
    )
    assert isinstance(change, list)
    assert change[0]["$set"]["meta"] == {"$literal": {"$set": 1}}


def test_an_update_of_literals_sets_and_unsets() -> None:
    change = Translator(words.info).update_document(
        {field("mag"): value("mag", 1.0), field("label"): value("label", None)}
    )
    assert change == {"$set": {"mag": 1.0}, "$unset": {"label": ""}}


def test_the_key_of_one_column_is_called_id_and_a_composite_key_keeps_its_names() -> None:
    tag = Words(Tag, engine_for(), None)  # type: ignore[arg-type]
    place = Words(Place, engine_for(), None)  # type: ignore[arg-type]
    key = uuid.UUID(int=3)
    assert Translator(tag.info).filter(Compare("==", tag.column("id"), tag.value("id", key))) == {
        "_id": Binary.from_uuid(key)
    }
    node = And(
        (
            Compare("==", place.column("country"), place.value("country", "CH")),
            Compare("==", place.column("code"), place.value("code", 1)),
        )
    )
    found = place.compile(node).native
    assert found.filter == {"country": {"$eq": "CH"}, "code": {"$eq": 1}}
    assert found.projection == {"country": 1, "code": 1, "title": 1, "_id": 0}
    assert found.names_one


def test_nulls_on_their_natural_side_need_no_aggregation() -> None:
    terms = (
        Order(field("mag")),
        Order(field("size"), descending=True, nulls_first=False),
        Order(field("id")),
    )
    assert Translator(words.info).sort(terms) == ([("mag", 1), ("size", -1), ("_id", 1)], {})


def test_nulls_on_the_other_side_are_sorted_by_a_computed_flag() -> None:
    terms, flags = Translator(words.info).sort((Order(field("mag"), nulls_first=False), Order(field("id"))))
    assert terms == [("dbp_null_0", -1), ("mag", 1), ("_id", 1)]
    assert flags == {"dbp_null_0": {"$gt": ["$mag", None]}}


def test_the_order_of_bytes_is_left_to_the_core_with_its_window() -> None:
    compiled = words.engine.compile(
        words.spec(order=(Order(field("raw")), Order(field("id"))), limit=3, offset=1)
    )
    assert not compiled.sorted
    assert (compiled.native.limit, compiled.native.skip, compiled.native.sort) == (0, 0, [])
    compiled = words.compile(And((compare("raw", "<", b"x"), compare("mag", "<", 1.0))), limit=3)
    assert compiled.residual == compare("raw", "<", b"x")
    assert compiled.native.filter == {"mag": {"$lt": 1.0}}
    assert compiled.native.limit == 0


def test_a_list_too_long_for_a_statement_is_left_to_the_core() -> None:
    node = In(column("count"), tuple(range(MOST_VALUES + 1)), field("count"))
    assert words.compile(node).residual is node
    shorter = In(column("count"), tuple(range(MOST_VALUES)), field("count"))
    assert words.compile(shorter).residual is None


def test_a_limit_of_zero_finds_nothing_and_no_limit_is_none() -> None:
    assert words.compile(limit=0).native.filter == {"_id": {"$in": []}}
    assert words.compile().native.limit == 0


def test_native_conditions_are_anded() -> None:
    compiled = words.compile(compare("id", "==", 1), native=({"_id": {"$mod": [2, 0]}},))
    assert compiled.native.filter == {"$and": [{"_id": 1}, {"_id": {"$mod": [2, 0]}}]}
    words.engine.check_native({"a": 1})
    with pytest.raises(UnsupportedFilterError, match="filter document"):
        words.engine.check_native("mag > 5")


def test_the_text_shows_the_statement_and_no_value() -> None:
    query = words.compile(
        And((compare("name", "==", "secret"), Compare("<", column("mag"), column("size")))),
        columns=("id",),
        order=(Order(field("id")),),
        limit=5,
    )
    text = words.engine.explain(query)
    assert text == (
        "db.stars.find({star_name: {$eq: ?}, $expr: {$and: [{$gt: [$mag, ?]}, {$lt: [$mag, $size]}]}}, "
        "{_id: 1}).sort({_id: 1}).limit(5)"
    )


def test_filters_that_clash_are_kept_apart() -> None:
    assert both([{"a": {"$gt": 1}}, {"a": {"$gt": 2}}, {"b": 3}]) == {
        "$and": [{"a": {"$gt": 1}}, {"b": 3}, {"a": {"$gt": 2}}]
    }
    assert both([{"$or": [1]}, {"$or": [2]}]) == {"$and": [{"$or": [1]}, {"$or": [2]}]}


def test_mongomock_is_asked_only_what_it_answers_as_mongodb_does() -> None:
    mock = Words(Star, engine_for(engine="mongomock"), None)  # type: ignore[arg-type]
    node = Compare("<", mock.column("mag"), mock.column("size"))
    assert mock.compile(node).residual == node
    assert describe(Star) is mock.info
