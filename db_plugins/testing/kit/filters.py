"""Which rows a filter finds, above all where NULLs are; and what is no filter."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from db_plugins import Database, and_, not_, or_
from db_plugins.errors import InvalidValueError, UnsupportedFilterError

from .harness import Connect, Harness, subject
from .models import Author, Book, Colour, Pair, Star, Thing

__all__ = ["Filters"]

THINGS: list[dict[str, Any]] = [
    {"id": 1, "number": 5, "size": 2.5, "weight": 2.5, "flag": True, "text": "a", "other": "a", "colour": Colour.RED},
    {"id": 2, "number": 7, "size": -2.5, "weight": 0.0, "flag": False, "text": "A", "other": "a", "colour": Colour.AMBER},
    {"id": 3, "number": None, "size": None, "weight": 1.0, "flag": None, "text": None, "other": "b", "colour": None},
    {"id": 4, "number": -7, "size": 0.5, "weight": None, "flag": True, "text": "é", "other": None, "colour": Colour.GREEN},
    {"id": 5, "number": 0, "size": 7.0, "weight": 2.0, "flag": False, "text": "", "other": "", "colour": Colour.RED},
]  # fmt: skip


def found(db: Database, *conditions: Any, **equals: Any) -> list[int]:
    """The ids of the things that a filter finds; ``count`` and ``exists`` must agree."""
    query = db.query(Thing).filter(*conditions, **equals)
    ids = [t.id for t in query.order_by("id").all()]
    assert query.count() == len(ids)
    assert query.exists() is bool(ids)
    return ids


@subject("filters")
class Filters(Harness):
    """API §5, by hand; ``Generated`` compares with MemoryEngine."""

    @pytest.fixture
    def things(self, connect: Connect) -> Database:
        """Five things with NULLs in every column."""
        db = connect(Thing)
        self.stock(db, Thing, THINGS)
        return db

    def test_each_comparison_leaves_null_rows_out(self, things: Database) -> None:
        assert found(things, Thing.number == 5) == [1]
        assert found(things, Thing.number != 5) == [2, 4, 5]
        assert found(things, Thing.number < 5) == [4, 5]
        assert found(things, Thing.number <= 5) == [1, 4, 5]
        assert found(things, Thing.number > 0) == [1, 2]
        assert found(things, Thing.number >= 0) == [1, 2, 5]

    def test_a_value_may_stand_on_the_left(self, things: Database) -> None:
        assert found(things, sa.literal(5) < Thing.number) == [2]
        assert found(things, Thing.number <= 5) == [1, 4, 5]

    def test_equality_by_name_and_none_is_is_null(self, things: Database) -> None:
        assert found(things, number=7) == [2]
        assert found(things, number=7, flag=True) == []
        assert found(things, number=None) == [3]
        assert found(things, Thing.number == None) == [3]  # noqa: E711
        assert found(things, Thing.number != None) == [1, 2, 4, 5]  # noqa: E711
        assert found(things, Thing.number.is_(None)) == [3]
        assert found(things, Thing.number.is_not(None)) == [1, 2, 4, 5]

    def test_a_comparison_with_null_is_never_true(self, things: Database) -> None:
        assert found(things, Thing.number < sa.literal(None, sa.Integer)) == []
        assert found(things, not_(Thing.number < sa.literal(None, sa.Integer))) == []
        assert found(things, or_(Thing.number < sa.literal(None, sa.Integer), Thing.number == 5)) == [1]

    def test_not_of_a_comparison_leaves_null_rows_out(self, things: Database) -> None:
        assert found(things, not_(Thing.number < 5)) == [1, 2]
        assert found(things, ~(Thing.number == 5)) == [2, 4, 5]
        assert found(things, not_(and_(Thing.number == 5, Thing.text == "a"))) == [2, 4, 5]
        assert found(things, not_(or_(Thing.number == 5, Thing.text == "A"))) == [4, 5]
        assert found(things, not_(not_(Thing.number == 5))) == [1]
        assert found(things, not_(Thing.number.is_(None))) == [1, 2, 4, 5]

    def test_and_or_and_several_filters(self, things: Database) -> None:
        assert found(things, (Thing.number == 5) | (Thing.number.is_(None))) == [1, 3]
        assert found(things, (Thing.number > 0) & (Thing.flag == False)) == [2]  # noqa: E712
        assert found(things, Thing.number > 0, Thing.text == "a") == [1]
        assert things.query(Thing).filter(Thing.number > 0).filter(text="a").one().id == 1
        assert found(things, or_(Thing.id == 1, and_(Thing.id == 2, Thing.id == 3), Thing.id == 5)) == [1, 5]

    def test_in_with_null_with_nothing_and_with_many(self, things: Database) -> None:
        assert found(things, Thing.number.in_([5, 7, 99])) == [1, 2]
        assert found(things, Thing.number.in_([5, None])) == [1]
        assert found(things, Thing.number.in_([None])) == []
        assert found(things, Thing.number.in_([])) == []
        assert found(things, Thing.number.in_(range(0))) == []
        assert found(things, not_(Thing.number.in_([5]))) == [2, 4, 5]
        assert found(things, Thing.number.in_([5, 5, 5])) == [1]

    def test_not_in_with_null_with_nothing_and_with_many(self, things: Database) -> None:
        assert found(things, Thing.number.not_in([5])) == [2, 4, 5]
        assert found(things, Thing.number.not_in([5, None])) == []
        assert found(things, Thing.number.not_in([])) == [1, 2, 3, 4, 5]
        assert found(things, not_(Thing.number.not_in([5, 7]))) == [1, 2]

    @pytest.mark.parametrize("size", [1001, 40_000, 70_000])
    def test_in_takes_any_number_of_values(self, things: Database, size: int) -> None:
        assert found(things, Thing.number.in_(range(-size, 6))) == [1, 4, 5]
        assert found(things, Thing.number.not_in(range(-size, 6))) == [2]
        assert found(things, Thing.text.in_([*(f"w{n}" for n in range(size)), "é"])) == [4]

    def test_between_null_and_a_value_is_never_true_and_its_negation_may_be(self, things: Database) -> None:
        assert found(things, Thing.number.between(None, 5)) == []
        assert found(things, Thing.number.between(0, None)) == []
        assert found(things, not_(Thing.number.between(None, 5))) == [2]
        assert found(things, ~Thing.number.between(0, None)) == [4]
        with pytest.raises(InvalidValueError, match=r"Thing\.number"):
            things.query(Thing).filter(Thing.number.between(True, 5))

    def test_arithmetic_on_small_integers_has_64_bits(self, connect: Connect) -> None:
        db = connect(Thing)
        self.stock(db, Thing, [{"id": 1, "small": 30_000, "number": 2**31 - 1}, {"id": 2, "small": -(2**15)}])
        assert found(db, Thing.small * Thing.small == 900_000_000) == [1]
        assert found(db, Thing.number * Thing.number == (2**31 - 1) ** 2) == [1]
        assert found(db, Thing.number + Thing.number > 2**31) == [1]
        assert found(db, -Thing.small == 2**15) == [2]
        assert found(db, Thing.number * 1000 * Thing.small > 2**45) == [1]

    def test_between_holds_both_ends(self, things: Database) -> None:
        assert found(things, Thing.number.between(0, 5)) == [1, 5]
        assert found(things, Thing.number.between(5, 0)) == []
        assert found(things, not_(Thing.number.between(0, 5))) == [2, 4]
        assert found(things, Thing.text.between("a", "b")) == [1]

    def test_a_bare_boolean_column_and_is(self, things: Database) -> None:
        assert found(things, Thing.flag) == [1, 4]
        assert found(things, not_(Thing.flag)) == [2, 5]
        assert found(things, ~Thing.flag) == [2, 5]
        assert found(things, Thing.flag.is_(True)) == [1, 4]
        assert found(things, Thing.flag.is_(False)) == [2, 5]
        assert found(things, Thing.flag.is_not(True)) == [2, 3, 5]
        assert found(things, Thing.flag != True) == [2, 5]  # noqa: E712

    def test_true_false_and_an_empty_filter(self, things: Database) -> None:
        assert found(things, sa.true()) == [1, 2, 3, 4, 5]
        assert found(things, sa.false()) == []
        assert found(things) == [1, 2, 3, 4, 5]

    def test_column_against_column(self, things: Database) -> None:
        assert found(things, Thing.size == Thing.weight) == [1]
        assert found(things, Thing.size < Thing.weight) == [2]
        assert found(things, Thing.size != Thing.weight) == [2, 5]
        assert found(things, Thing.text == Thing.other) == [1, 5]
        assert found(things, Thing.text < Thing.other) == [2]
        assert found(things, Thing.number > Thing.size) == [1, 2]

    def test_arithmetic_on_columns(self, things: Database) -> None:
        assert found(things, Thing.number + 1 == 6) == [1]
        assert found(things, Thing.number * 2 > Thing.size) == [1, 2]
        assert found(things, Thing.number - Thing.size == 2.5) == [1]
        assert found(things, -Thing.number == 7) == [4]
        assert found(things, Thing.number / 2 == 2.5) == [1]
        assert found(things, Thing.number // 2 == -4) == [4]
        assert found(things, Thing.number // 2 == 3) == [2]

    def test_division_by_zero_is_null(self, things: Database) -> None:
        assert found(things, Thing.number / Thing.weight > 0) == [1]
        assert found(things, (Thing.number / Thing.weight).is_(None)) == [2, 3, 4]
        assert found(things, not_(Thing.number // Thing.weight > 1000)) == [1, 5]

    def test_text_is_compared_by_code_point(self, things: Database) -> None:
        assert found(things, Thing.text == "A") == [2]
        assert found(things, Thing.text > "a") == [4]
        assert found(things, Thing.text <= "a") == [1, 2, 5]
        assert found(things, Thing.text == "") == [5]
        assert found(things, Thing.text == "e\u0301") == []

    def test_an_enum_is_found_by_member_and_name(self, things: Database) -> None:
        assert found(things, Thing.colour == Colour.RED) == [1, 5]
        assert found(things, Thing.colour != "RED") == [2, 4]
        assert found(things, Thing.colour.in_([Colour.AMBER, "GREEN"])) == [2, 4]
        assert found(things, colour="AMBER") == [2]

    def test_a_column_is_named_by_its_attribute(self, things: Database) -> None:
        assert found(things, text="a") == [1]
        with pytest.raises(InvalidValueError, match="'text'"):
            things.query(Thing).filter(txt="a")

    def test_a_json_body_never_acts_as_an_operator(self, seven: Database) -> None:
        query = seven.query(Star)
        for injected in (
            {"$ne": None},
            {"$gt": ""},
            {"$regex": ".*"},
            {"": ""},
            ["Vega"],
            "' OR 1=1 --",
            '{"$ne": 1}',
        ):
            if isinstance(injected, str):
                assert query.filter(name=injected).all() == []
                assert query.filter(Star.name == injected).count() == 0
                continue
            with pytest.raises(InvalidValueError, match=r"Star\.name"):
                query.filter(name=injected)
            with pytest.raises(InvalidValueError):
                query.get(injected)

    def test_an_unknown_name_is_refused_with_the_nearest(self, alarmed: Connect) -> None:
        query = alarmed(Thing).query(Thing)
        with pytest.raises(InvalidValueError, match="did you mean 'number'"):
            query.filter(nummber=1)
        with pytest.raises(InvalidValueError, match="did you mean 'number'"):
            query.order_by("-numbr")
        with pytest.raises(InvalidValueError, match="did you mean 'number'"):
            query.insert({"numbr": 1})
        with pytest.raises(InvalidValueError, match="did you mean 'number'"):
            query.filter(id=1).update({"numbr": 1})
        with pytest.raises(InvalidValueError, match="did you mean 'number'"):
            query.to_dicts("numbr")

    @pytest.mark.parametrize(
        ("condition", "part"),
        [
            (lambda: sa.func.lower(Thing.text) == "a", "lower"),
            (lambda: sa.func.now() > sa.func.now(), "now"),
            (lambda: Thing.text.op("~")("a"), "~"),
            (lambda: Thing.text + "x" == "ax", ""),
            (lambda: sa.text("1 = 1"), "1 = 1"),
            (lambda: sa.exists().where(Thing.id == 1), "EXISTS"),
            (lambda: Thing.number.in_(sa.select(Star.id)), "IN"),
            (lambda: sa.case((Thing.id == 1, True), else_=False), "CASE"),
            (lambda: sa.cast(Thing.number, sa.String) == "5", "CAST"),
            (lambda: Thing.number, "number"),
            (lambda: Thing.number % 2 == 0, "%"),
            (lambda: Thing.number.bitwise_and(1) == 1, "&"),
            (lambda: Thing.text == Thing.number, ""),
            (lambda: Thing.colour < Colour.RED, "colour"),
            (lambda: Thing.flag > sa.literal(False), "flag"),
            (lambda: Thing.extra == {"a": 1}, "extra"),
            (lambda: True, "bool"),
            (lambda: "number = 5", "str"),
        ],
    )
    def test_what_has_no_portable_meaning_is_refused_naming_engine_and_part(
        self, alarmed: Connect, condition: Any, part: str
    ) -> None:
        db = alarmed(Thing)
        with pytest.raises(UnsupportedFilterError) as caught:
            db.query(Thing).filter(condition())
        assert db.engine in str(caught.value)
        assert part in str(caught.value)
        assert caught.value.hint

    def test_the_columns_of_another_model_are_refused(self, alarmed: Connect) -> None:
        for condition in (Author.name == "x", Book.author_id == Author.id, Star.id == Book.id):
            with pytest.raises(UnsupportedFilterError, match="Book"):
                alarmed(Book, Author).query(Book).filter(condition)

    def test_a_native_condition_of_another_engine_is_refused(self, alarmed: Connect) -> None:
        with pytest.raises(UnsupportedFilterError):
            alarmed(Star).query(Star).filter_native(object())

    def test_filters_work_on_each_part_of_a_composite_key(self, connect: Connect) -> None:
        db = connect(Pair)
        self.stock(db, Pair, [{"left": n, "right": r} for n in (1, 2, 3) for r in ("a", "b")])
        query = db.query(Pair)
        assert query.filter(left=2).count() == 2
        assert query.filter(Pair.right == "a", Pair.left > 1).count() == 2
        assert query.filter(or_(Pair.left == 1, Pair.right == "b")).count() == 4

    def test_a_query_is_immutable_and_can_be_run_twice(self, things: Database) -> None:
        every = things.query(Thing)
        some = every.filter(Thing.number > 0)
        assert (every.count(), some.count(), every.count(), some.count()) == (5, 2, 5, 2)
        assert some.order_by("id").limit(1).all()[0].id == 1
        assert some.count() == 2
