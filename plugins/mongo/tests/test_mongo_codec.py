"""Every kind of value comes back as it went in, through BSON, and sorts there as it does in Python."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import bson
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from mongo_models import Base, Color, Star
from sqlalchemy.orm import Mapped, mapped_column

from db_plugins.errors import EngineError, InvalidValueError
from db_plugins.models import describe
from db_plugins_mongo.codec import CODEC_OPTIONS, document_maker, encode, row_maker

info = describe(Star)
UTC = dt.UTC


def through_bson(name: str, value: Any) -> Any:
    """The value written to this column and read back, by way of the bytes that the server gets."""
    fields = (info.by_name[name],)
    document = document_maker(info, fields)([(value,)])[0]
    stored = bson.decode(bson.encode(document, codec_options=CODEC_OPTIONS), codec_options=CODEC_OPTIONS)
    return row_maker(info, fields)([stored])[0][0]


BOUNDARIES: list[tuple[str, Any]] = [
    *[("count", n) for n in (0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63))],
    *[("mag", x) for x in (0.0, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"))],
    *[("price", Decimal(d)) for d in ("0", "0.001", "-999999999.999", "1.5")],
    *[("exact", Decimal(d)) for d in ("0", "1" * 34, "1E-34", "-0.1", "1E+10")],
    *[("name", s) for s in ("", " ", "é", "e\u0301", "\U00010400", "x" * 50, "$name", "a.b")],
    *[("color", c) for c in Color],
    *[("ok", b) for b in (True, False)],
    *[("at", dt.datetime(y, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)) for y in (1, 1969, 1970, 9999)],
    ("at", dt.datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
    ("naive", dt.datetime(1, 1, 1)),
    ("naive", dt.datetime(9999, 12, 31, 23, 59, 59, 999000)),
    *[("day", d) for d in (dt.date.min, dt.date.max, dt.date(1970, 1, 1))],
    *[("clock", t) for t in (dt.time.min, dt.time(23, 59, 59, 999000), dt.time(1, 2, 3))],
    *[("token", uuid.UUID(int=n)) for n in (0, 2**128 - 1)],
    *[("raw", b) for b in (b"", b"\0", b"\xff" * 100)],
    *[("meta", j) for j in ({}, [], [None, True, 1, 1.5, "x"], "text", 0, False, 2**62, {"a": [2**40]})],
    *[("meta", j) for j in ({"$ref": "x", "$id": 1, "more": {}}, {"$where": 1}, {"a.b": {"": {"$x": None}}})],
]


@pytest.mark.parametrize(("name", "value"), BOUNDARIES)
def test_a_boundary_value_comes_back_as_it_went_in(name: str, value: Any) -> None:
    back = through_bson(name, value)
    assert back == value
    assert type(back) is type(value)


def test_null_is_a_missing_field_and_reads_as_none() -> None:
    assert document_maker(info, info.fields)([(None,) * len(info.fields)]) == [{}]
    assert row_maker(info, info.fields)([{}, {"mag": None}]) == [(None,) * len(info.fields)] * 2


def test_a_document_holds_what_its_column_holds() -> None:
    fields = tuple(info.by_name[name] for name in ("id", "mag", "ok", "color"))
    made = document_maker(info, fields)([(1, 5, False, Color.RED), (2, float("inf"), None, None)])
    assert made == [{"_id": 1, "mag": 5.0, "ok": False, "color": "RED"}, {"_id": 2, "mag": float("inf")}]
    assert type(made[0]["mag"]) is float
    with pytest.raises(ValueError, match="unpack"):
        document_maker(info, fields)([(1, 5.0)])


def test_a_decimal_comes_back_at_its_columns_scale() -> None:
    assert str(through_bson("price", Decimal("1.5"))) == "1.500"
    assert str(through_bson("exact", Decimal("1.5"))) == "1.5"


def test_integers_inside_documents_are_plain_ints() -> None:
    value = through_bson("meta", {"a": [2**62, {"b": 2**40}]})
    assert type(value["a"][0]) is int
    assert type(value["a"][1]["b"]) is int


json_keys = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | json_keys,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(json_keys | st.sampled_from(["$x", "a.b", ""]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(json_values.filter(lambda value: value is not None))
def test_any_json_comes_back_as_it_went_in(value: Any) -> None:
    assert through_bson("meta", value) == value


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-999999999, max_value=999999999)
)
def test_any_decimal_of_its_column_comes_back_exactly(value: Decimal) -> None:
    assert through_bson("price", value) == value


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("clock", st.times()),
        ("day", st.dates()),
        ("token", st.uuids()),
        ("label", st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))),
    ],
)
def test_what_is_stored_sorts_as_the_value_does(name: str, values: Any) -> None:
    field = info.by_name[name]

    @given(values, values)
    def check(one: Any, other: Any) -> None:
        # BSON compares strings by their UTF-8 bytes and binaries of one length by theirs.
        def key(value: Any) -> Any:
            stored = encode(field, value)
            return stored.encode() if isinstance(stored, str) else stored

        assert (key(one) < key(other)) == (one < other)

    check()


class Halves(sa.types.TypeDecorator[int]):
    """A type of the user's own: stored halved, NULL stored as -1."""

    impl = sa.Integer
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return -1 if value is None else value // 2

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value == -1 else value * 2


class Own(Base):
    __tablename__ = "own"
    id: Mapped[int] = mapped_column(primary_key=True)
    half: Mapped[int | None] = mapped_column(Halves)
    moment: Mapped[Any | None] = mapped_column(
        type(
            "Odd",
            (sa.types.TypeDecorator,),
            {"impl": sa.DateTime, "cache_ok": True, "process_bind_param": lambda s, v, d: "x"},
        )
    )


def test_a_type_decorator_has_the_first_and_the_last_word_also_about_none() -> None:
    own = describe(Own)
    field = own.by_name["half"]
    assert document_maker(own, (field,))([(None,)]) == [{"half": -1}]
    assert row_maker(own, (field,))([{"half": -1}, {"half": 4}]) == [(None,), (8,)]


def test_a_type_decorator_that_makes_the_wrong_type_is_refused_by_name() -> None:
    own = describe(Own)
    with pytest.raises(InvalidValueError, match=r"Own\.moment.*Odd.*str"):
        encode(own.by_name["moment"], "x")


def test_a_stored_name_that_is_no_member_is_named_by_its_column() -> None:
    with pytest.raises(EngineError, match=r"Star\.color holds a name that is no member of Color"):
        row_maker(info, (info.by_name["color"],))([{"color": "PINK"}])
