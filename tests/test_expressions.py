"""SQLAlchemy expressions become nodes; the unknown is refused by name."""

from __future__ import annotations

import datetime as dt
import itertools
import sqlite3
from typing import Any

import pytest
import sqlalchemy as sa
from shop import Base, Colour, Item, Shop
from sqlalchemy.orm import aliased

from db_plugins import and_, not_, or_
from db_plugins.errors import InvalidValueError, UnsupportedFilterError
from db_plugins.evaluation import evaluate
from db_plugins.expressions import Reader
from db_plugins.models import Limits, describe
from db_plugins.nodes import Always, And, Arithmetic, Column, Compare, In, IsNull, Or, Value, Wild, negate
from db_plugins.patterns import prefix_bounds

F = describe(Item).by_name


@pytest.fixture
def reader() -> Reader:
    return Reader(describe(Item), "memory", Limits())


def test_a_comparison_is_one_node_with_its_value_checked(reader: Reader) -> None:
    assert reader.condition(Item.count > 5) == Compare(">", Column(F["count"]), Value(5, F["count"]))


def test_a_value_on_the_left_is_turned_round(reader: Reader) -> None:
    assert reader.condition(sa.literal(5) < Item.count) == reader.condition(Item.count > 5)


def test_a_column_is_found_by_its_attribute_though_its_name_in_the_database_differs(reader: Reader) -> None:
    node = reader.condition(Item.title == "x")
    assert isinstance(node, Compare)
    assert node.left == Column(F["title"])
    assert F["title"].column == "ttl"


def test_none_is_is_null_and_not_none_is_not_null(reader: Reader) -> None:
    assert reader.condition(Item.title == None) == IsNull(Column(F["title"]))  # noqa: E711
    assert reader.condition(Item.title.is_not(None)) == IsNull(Column(F["title"]), negated=True)
    assert reader.equals("title", None) == IsNull(Column(F["title"]))


def test_not_is_pushed_to_the_leaves(reader: Reader) -> None:
    node = reader.condition(not_(or_(Item.count < 1, Item.title.in_(["a"]))))
    assert node == And(
        (
            Compare(">=", Column(F["count"]), Value(1, F["count"])),
            In(Column(F["title"]), ("a",), F["title"], negated=True),
        )
    )


def test_in_drops_null_and_not_in_with_null_is_never_true(reader: Reader) -> None:
    assert reader.condition(Item.count.in_([1, None, 1])) == In(Column(F["count"]), (1,), F["count"])
    assert reader.condition(Item.count.not_in([1, None])) == Always(False)
    assert reader.condition(Item.count.in_([])) == Always(False)
    assert reader.condition(Item.count.not_in([])) == Always(True)


def test_between_is_two_comparisons_and_its_negation_the_other_two(reader: Reader) -> None:
    low, high = Value(1, F["count"]), Value(3, F["count"])
    column = Column(F["count"])
    assert reader.condition(Item.count.between(1, 3)) == And(
        (Compare(">=", column, low), Compare("<=", column, high))
    )
    assert reader.condition(~Item.count.between(1, 3)) == Or(
        (Compare("<", column, low), Compare(">", column, high))
    )


def test_a_bare_boolean_column_is_compared_with_true(reader: Reader) -> None:
    sold = Column(F["sold"])
    assert reader.condition(Item.sold) == Compare("==", sold, Value(True, F["sold"]))
    assert reader.condition(~Item.sold) == Compare("!=", sold, Value(True, F["sold"]))
    assert reader.condition(Item.sold.is_not(True)) == Or(
        (IsNull(sold), Compare("!=", sold, Value(True, F["sold"])))
    )
    assert reader.condition(Item.sold.is_(True)) == Compare("==", sold, Value(True, F["sold"]))


def test_arithmetic_and_columns_may_stand_on_both_sides(reader: Reader) -> None:
    node = reader.condition(Item.count + 1 > Item.big * 2)
    assert node == Compare(
        ">",
        Arithmetic("+", Column(F["count"]), Value(1)),
        Arithmetic("*", Column(F["big"]), Value(2)),
    )


def test_an_enum_may_be_given_by_member_or_name(reader: Reader) -> None:
    assert reader.condition(Item.colour == "RED") == reader.condition(Item.colour == Colour.RED)


OTHER = aliased(Item)

UNSUPPORTED = {
    "a function": sa.func.lower(Item.title) == "a",
    "text": sa.text("1 = 1"),
    "case": sa.case((Item.count == 1, True), else_=False),
    "a subquery": Item.count.in_(sa.select(Shop.id)),
    "another model": Shop.name == "x",
    "an alias": OTHER.count == 1,
    "a cast": sa.cast(Item.count, sa.String) == "1",
    "a custom operator": Item.count.op("&")(1),
    "concatenation": Item.title + "x" == "ax",
    "modulo": Item.count % 2 == 0,
    "an order of enums": Item.colour < Colour.RED,
    "an order of booleans": Item.sold > Item.sold,
    "json as a whole": Item.extra == {"a": 1},
    "kinds that do not compare": Item.count == Item.title,
    "a number as a condition": Item.__table__.c.count,
    "a python bool": Item.count is None,
    "a string": "count = 1",
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_has_no_meaning_on_every_engine_is_refused_with_engine_and_remedy(
    reader: Reader, name: str
) -> None:
    with pytest.raises(UnsupportedFilterError) as caught:
        reader.condition(UNSUPPORTED[name])
    assert caught.value.fact.startswith("memory: ")
    assert caught.value.hint


def test_the_smallest_offending_part_is_named(reader: Reader) -> None:
    with pytest.raises(UnsupportedFilterError, match=r"lower\(item\.ttl\)") as caught:
        reader.condition(and_(Item.count == 1, or_(Item.sold, sa.func.lower(Item.title) == "secret")))
    assert "secret" not in str(caught.value)


WRONG_VALUES: dict[str, Any] = {
    "text for a number": Item.count == "1",
    "a bool for a number": Item.count == True,  # noqa: E712
    "a number for text": Item.title == 1,
    "naive for aware": Item.made == dt.datetime(2020, 1, 1),
    "a datetime for a date": Item.day == dt.datetime(2020, 1, 1),
    "an unknown member": Item.colour == "BLUE",
    "beyond 64 bits": Item.count == 1 << 63,
    "text too long": Item.title == "x" * 41,
    "in a list": Item.count.in_([1, "2"]),
    "between": Item.count.between(1, "2"),
}


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_a_value_that_does_not_fit_its_column_is_refused(reader: Reader, name: str) -> None:
    with pytest.raises(InvalidValueError, match=r"Item\."):
        reader.condition(WRONG_VALUES[name])


@pytest.mark.parametrize("value", [{"$ne": None}, ["a"], {"$gt": ""}, ("a",)])
def test_a_value_out_of_a_request_body_can_never_be_an_operator(reader: Reader, value: Any) -> None:
    with pytest.raises(InvalidValueError):
        reader.equals("title", value)


@pytest.mark.parametrize("name", ["ttl", "titel", "shop", "metadata", "$where", "title; drop table"])
def test_an_unknown_name_lists_the_nearest(reader: Reader, name: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        reader.equals(name, 1)
    assert caught.value.hint


def test_orders_read_columns_names_and_modifiers(reader: Reader) -> None:
    assert reader.order("-count") == reader.order(Item.count.desc())
    assert reader.order("count").nulls_first
    assert not reader.order("-count").nulls_first
    assert reader.order(Item.count.desc().nulls_first()).nulls_first
    assert not reader.order(Item.count.asc().nulls_last()).nulls_first
    for bad in ("--count", "-", "", "count desc", Item.extra, Item.count + 1, 5, None):
        with pytest.raises((InvalidValueError, UnsupportedFilterError)):
            reader.order(bad)


def _leaves() -> list[Any]:
    return [
        Item.count == 1,
        Item.count != 1,
        Item.count < 2,
        Item.count >= Item.small,
        Item.count.in_([1, 2]),
        Item.count.in_([1, None]),
        Item.count.not_in([2]),
        Item.count.not_in([2, None]),
        Item.count.in_([]),
        Item.count.between(1, 2),
        Item.count.is_(None),
        Item.count + Item.small > 2,
        Item.sold,
        Item.sold.is_(False),
        Item.sold.is_not(True),
        Item.title == "a",
        Item.title > "A",
    ]


def test_every_combination_means_what_sqlite_says(reader: Reader) -> None:
    """Leaves, negations, pairs and negated pairs over all NULL patterns: SQLite is the witness for three-valued logic."""
    engine = sa.create_engine("sqlite://", poolclass=sa.NullPool)
    values = itertools.product((None, 1, 2), (None, 1), (None, True, False), (None, "a", "A"))
    rows = [
        {"id": n, "count": c, "small": s, "sold": b, "title": t} for n, (c, s, b, t) in enumerate(values, 1)
    ]
    leaves = _leaves()
    pairs = list(itertools.combinations(leaves, 2))
    filters = [
        *leaves,
        *(~leaf for leaf in leaves),
        *(and_(a, ~b) for a, b in pairs),
        *(not_(or_(a, b)) for a, b in pairs),
    ]
    filters += [not_(and_(a, not_(b))) for a, b in pairs]
    with engine.connect() as connection:
        Base.metadata.create_all(connection, tables=[Item.__table__, Shop.__table__])
        connection.execute(
            sa.insert(Item.__table__),
            [{"ttl": r["title"], **{k: v for k, v in r.items() if k != "title"}} for r in rows],
        )
        for expression in filters:
            expected = set(connection.execute(sa.select(Item.id).where(expression)).scalars())
            node = reader.condition(expression)
            assert {r["id"] for r in rows if evaluate(node, r)} == expected, str(expression)
            # A negation never meets the node itself: both leave the unknown out.
            assert not {r["id"] for r in rows if evaluate(negate(node), r)} & expected
    assert len(filters) > 400
    assert sqlite3.sqlite_version


@pytest.mark.parametrize(
    ("prefix", "beyond"),
    [
        ("a", "b"),
        ("az", "a{"),
        ("\ud7ff", "\ue000"),
        ("a\U0010ffff", "b"),
        ("\U0010ffff\U0010ffff", None),
        ("\uffff", "\U00010000"),
    ],
)
def test_the_texts_with_a_prefix_lie_between_two_texts(prefix: str, beyond: str | None) -> None:
    assert prefix_bounds((prefix, Wild.ANY, "x")) == (prefix, beyond)
    assert beyond is None or f"{prefix}\U0010ffff" * 3 < beyond


def test_a_pattern_without_a_prefix_has_no_bounds() -> None:
    assert prefix_bounds(()) is None
    assert prefix_bounds((Wild.ONE, "a")) is None
