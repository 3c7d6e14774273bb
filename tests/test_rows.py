"""What engines that hold their rows themselves are given: values as JSON, calculations, keys that are there twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from db_plugins.engine import calculated, refuse_duplicates
from db_plugins.errors import DuplicateKeyError, EngineError, InvalidValueError, NotNullError
from db_plugins.models import describe, from_json, to_json
from db_plugins.nodes import Arithmetic, Column, Value
from db_plugins.testing.kit.models import Badge, Keyed, Labelled, Star, Thing
from db_plugins.testing.kit.samples import BOUNDARIES

THING, BADGE, STAR = describe(Thing), describe(Badge), describe(Star)


@pytest.mark.parametrize("name", BOUNDARIES)
def test_every_value_comes_back_from_json_as_it_went_in(name: str) -> None:
    field = THING.by_name[name]
    for value in (*BOUNDARIES[name], None):
        again = from_json(field, json.loads(json.dumps(to_json(field, value), allow_nan=False)))
        assert (again, type(again)) == (value, type(value))


@pytest.mark.parametrize(
    "same", [("1.1", "1.10", "1.100"), ("100", "1E+2", "100.000"), ("0", "-0", "0E-10", "0.000")]
)
def test_equal_decimals_are_equal_as_json(same: tuple[str, ...]) -> None:
    price = describe(Keyed).by_name["price"]
    assert len({to_json(price, Decimal(text)) for text in same}) == 1


def test_a_decimal_of_more_than_28_digits_stays_exact() -> None:
    price = describe(Keyed).by_name["price"]
    number = Decimal("1234567890123456789012345678901234567890.50")
    assert from_json(price, to_json(price, number)) == number


def test_a_type_decorator_says_what_is_stored() -> None:
    labels = describe(Labelled).by_name["labels"]
    stored = to_json(labels, ["a", "b"])
    assert stored != ["a", "b"]
    assert from_json(labels, stored) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "stored"),
    [("day", "s3cret"), ("number", "s3cret"), ("token", "s3cret"), ("price", "s3cret"), ("text", 5)],
)
def test_what_is_stored_and_is_no_such_value_is_named_without_it(name: str, stored: Any) -> None:
    with pytest.raises(InvalidValueError, match=f"Thing.{name}") as caught:
        from_json(THING.by_name[name], stored)
    assert "s3cret" not in str(caught.value)


def test_an_update_is_worked_out_and_fits_its_column() -> None:
    size, small, name = THING.by_name["size"], THING.by_name["small"], STAR.by_name["name"]
    row = {"size": 3.0, "small": 32767, "name": None}
    half = Arithmetic("/", Column(size), Value(2, None))
    assert calculated({size: half}, row) == {size: 1.5}
    with pytest.raises(EngineError, match=r"Thing\.small cannot hold"):
        calculated({small: Arithmetic("+", Column(small), Value(1, None))}, row)
    with pytest.raises(NotNullError, match=r"Star\.name"):
        calculated({name: Column(name)}, row)


def badge(code: str, serial: int | None) -> dict[str, Any]:
    return {"badge_code": code, "serial_no": serial}


def test_a_unique_key_that_is_there_twice_is_named_by_its_attributes() -> None:
    fresh = [badge("b", 7)]
    with pytest.raises(DuplicateKeyError) as caught:
        refuse_duplicates(BADGE, fresh, [badge("a", 7), *fresh])
    assert caught.value.attributes == ("serial",)
    assert caught.value.fact == "a Badge with the same serial is already there"


def test_null_is_like_nothing_and_old_rows_are_not_judged() -> None:
    fresh = [badge("b", None), badge("c", None)]
    refuse_duplicates(BADGE, fresh, [badge("a", None), *fresh])
    refuse_duplicates(BADGE, fresh, [badge("x", 1), badge("y", 1), *fresh])


def test_without_a_fresh_row_the_stored_ones_are_not_read() -> None:
    def unread() -> Iterator[dict[str, Any]]:
        raise AssertionError
        yield {}

    refuse_duplicates(BADGE, [], unread())
