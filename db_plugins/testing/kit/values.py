"""A value comes back as it went in, is found by a filter, and one that does not fit its column is never sent."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import pytest

from db_plugins import Capability, InvalidValueError

from .harness import Connect, refuses, requires, subject
from .models import Colour, Exact, Labelled, Stamped, Thing
from .samples import BOUNDARIES

__all__ = ["Values"]

_MICROSECOND = dt.datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=dt.UTC)


def _same(given: Any, found: Any) -> bool:
    """Equal and of one type: ``True`` is not 1, ``1.0`` not 1."""
    if isinstance(given, list):
        return isinstance(found, list) and len(given) == len(found) and all(map(_same, given, found))
    if isinstance(given, dict):
        return (
            isinstance(found, dict)
            and list(given) == list(found)
            and all(_same(given[k], found[k]) for k in given)
        )
    return type(given) is type(found) and bool(given == found)


def _same_json(given: Any, found: Any) -> bool:
    """The same, whatever the order of keys: JSON promises none."""
    if isinstance(given, dict) and isinstance(found, dict):
        given, found = dict(sorted(given.items())), dict(sorted(found.items()))
    return _same(given, found)


def written_in_other_ways(query: Any, column: str, values: list[Any]) -> dict[str, list[Any]]:
    """What comes back of values that were written by each of the verbs that meet rows, new ones and some that are there."""

    def rows(start: int) -> list[dict[str, Any]]:
        return [{"id": start + n, column: value} for n, value in enumerate(values)]

    def read(start: int) -> list[Any]:
        found = query.get_many([row["id"] for row in rows(start)])
        return [getattr(found[row["id"]], column) for row in rows(start)]

    def blank(start: int) -> None:
        query.bulk_insert({"id": row["id"], "other": "there"} for row in rows(start))

    ways = {"upsert": [getattr(query.upsert(row), column) for row in rows(1000)]}
    ways["upsert, again"] = [getattr(query.upsert(row), column) for row in rows(1000)]
    ways["get_or_create"] = [
        getattr(query.get_or_create({"id": row["id"]}, **{column: row[column]})[0], column)
        for row in rows(2000)
    ]
    if column != "extra":  # compared by paths, not whole
        ways["get_or_create, again"] = [getattr(query.get_or_create(row)[0], column) for row in rows(2000)]
    for start in (3000, 4000, 5000):
        blank(start)
    query.bulk_insert(rows(3000), on_conflict="update")
    query.bulk_update(rows(4000))
    for row in rows(5000):
        query.bulk_insert([{"id": row["id"]}], on_conflict="update", update={column: row[column]})
    return {**ways, "bulk_insert, update": read(3000), "bulk_update": read(4000), "update=": read(5000)}


@subject("values", Capability.WRITE)
class Values:
    """API §1's table, both ways and in filters."""

    @pytest.mark.parametrize("column", [c for c in BOUNDARIES if c != "extra"])
    def test_boundary_values_come_back_as_they_went_in(self, connect: Connect, column: str) -> None:
        values = BOUNDARIES[column]
        query = connect(Thing).query(Thing)
        one_by_one = [getattr(query.insert({column: v}), column) for v in values]
        in_bulk = query.bulk_insert([{column: v} for v in values], return_keys=True).keys
        found = query.get_many(in_bulk)
        read = [getattr(found[k], column) for k in in_bulk]
        ways = written_in_other_ways(query, column, values)
        as_dicts = [d[column] for d in query.filter(Thing.id.in_(in_bulk)).order_by("id").to_dicts(column)]
        for index, value in enumerate(values):
            for way, got in (("insert", one_by_one), ("all", read), ("to_dicts", as_dicts), *ways.items()):
                assert _same(value, got[index]), f"{way}: {value!r:.60} came back as {got[index]!r:.60}"

    def test_json_comes_back_as_it_went_in(self, connect: Connect) -> None:
        query = connect(Thing).query(Thing)
        for value in BOUNDARIES["extra"]:
            stored: Any = query.insert({"extra": value})
            again = query.get(stored.id)
            assert again is not None
            assert _same_json(value, again.extra), f"{value!r} came back as {again.extra!r}"
        for way, got in written_in_other_ways(query, "extra", BOUNDARIES["extra"]).items():
            for value, found in zip(BOUNDARIES["extra"], got, strict=True):
                assert _same_json(value, found), f"{way}: {value!r} came back as {found!r}"

    def test_json_of_none_is_null(self, connect: Connect) -> None:
        query = connect(Thing).query(Thing)
        query.bulk_insert([{"extra": None}, {"extra": {}}, {}])
        assert query.filter(Thing.extra.is_(None)).count() == 2
        assert query.filter(extra=None).count() == 2
        query.filter(Thing.extra.is_not(None)).update({"extra": None})
        assert query.filter(extra=None).count() == 3

    @pytest.mark.parametrize("column", [c for c in BOUNDARIES if c not in ("extra", "long_text")])
    def test_boundary_values_are_found_by_equality_in_and_not_equal(
        self, connect: Connect, column: str
    ) -> None:
        values = BOUNDARIES[column]
        query = connect(Thing).query(Thing)
        query.bulk_insert([{column: v} for v in values] + [{}])
        attribute = getattr(Thing, column)
        for value in values:
            assert [getattr(t, column) for t in query.filter(attribute == value).all()] == [value], (
                f"== {value!r:.60}"
            )
            assert query.filter(**{column: value}).count() == 1, f"{column}={value!r:.60}"
            assert query.filter(attribute.in_([value])).count() == 1, f"in_([{value!r:.60}])"
            assert query.filter(attribute != value).count() == len(values) - 1, f"!= {value!r:.60}"
            assert query.filter(attribute.not_in([value])).count() == len(values) - 1, (
                f"not_in([{value!r:.60}])"
            )

    @pytest.mark.parametrize(
        "column", [c for c in BOUNDARIES if c not in ("extra", "long_text", "flag", "colour", "letter")]
    )
    def test_boundary_values_are_ordered_as_python_orders_them(self, connect: Connect, column: str) -> None:
        values = BOUNDARIES[column]
        query = connect(Thing).query(Thing)
        query.bulk_insert([{column: v} for v in values])
        attribute = getattr(Thing, column)
        assert [getattr(t, column) for t in query.order_by(attribute).all()] == sorted(values)
        for value in values:
            assert query.filter(attribute < value).count() == sum(v < value for v in values), (
                f"< {value!r:.60}"
            )
            assert query.filter(attribute >= value).count() == sum(v >= value for v in values), (
                f">= {value!r:.60}"
            )

    def test_an_integer_is_taken_where_a_float_or_decimal_is_due(self, connect: Connect) -> None:
        query = connect(Thing).query(Thing)
        thing = query.insert({"size": 3, "price": 4})
        assert (thing.size, type(thing.size)) == (3.0, float)
        assert (thing.price, type(thing.price)) == (Decimal(4), Decimal)
        assert query.filter(Thing.size == 3, Thing.price == 4).count() == 1

    def test_a_decimal_has_the_scale_of_its_column_or_equals_it(self, connect: Connect) -> None:
        query = connect(Thing).query(Thing)
        for text in ("1.5", "1.500", "15E-1"):
            assert query.insert({"price": Decimal(text)}).price == Decimal("1.5")
        assert query.filter(price=Decimal("1.50")).count() == 3
        assert query.insert({"price": Decimal("-0")}).price == 0

    def test_nan_is_null(self, connect: Connect) -> None:
        query = connect(Thing).query(Thing)
        assert query.insert({"size": math.nan}).size is None
        assert query.filter(Thing.size.is_(None)).count() == 1
        assert query.filter(Thing.size == math.nan).count() == 0
        assert query.filter(Thing.size != math.nan).count() == 0

    def test_negative_zero_equals_zero(self, connect: Connect) -> None:
        query = connect(Thing).query(Thing)
        query.bulk_insert([{"size": 0.0}, {"size": -0.0}])
        assert query.filter(Thing.size == 0.0).count() == 2
        assert query.filter(Thing.size < 0.0).count() == 0

    @requires(Capability.INFINITY)
    def test_infinity_is_a_number(self, connect: Connect) -> None:
        query = connect(Thing).query(Thing)
        query.bulk_insert([{"size": math.inf}, {"size": -math.inf}, {"size": 1e308}])
        assert [t.size for t in query.order_by("size").all()] == [-math.inf, 1e308, math.inf]
        assert query.filter(Thing.size == math.inf).count() == 1

    @refuses(Capability.INFINITY)
    def test_infinity_is_refused(self, alarmed: Connect) -> None:
        query = alarmed(Thing).query(Thing)
        for value in (math.inf, -math.inf):
            with pytest.raises(InvalidValueError, match=r"Thing\.size"):
                query.insert({"size": value})
            with pytest.raises(InvalidValueError, match=r"Thing\.size"):
                query.filter(Thing.size < value)

    @requires(Capability.MICROSECONDS)
    def test_microseconds_are_kept(self, connect: Connect) -> None:
        query = connect(Thing).query(Thing)
        stored: Any = query.insert(
            {"at": _MICROSECOND, "local": _MICROSECOND.replace(tzinfo=None), "hour": dt.time(1, 2, 3, 1)}
        )
        assert (stored.at.microsecond, stored.local.microsecond, stored.hour.microsecond) == (
            123456,
            123456,
            1,
        )
        assert query.filter(Thing.at > _MICROSECOND.replace(microsecond=123455)).count() == 1
        assert query.filter(at=_MICROSECOND).count() == 1

    @refuses(Capability.MICROSECONDS)
    def test_microseconds_are_cut_alike_in_writes_and_filters(self, connect: Connect) -> None:
        query = connect(Thing).query(Thing)
        stored: Any = query.insert(
            {"at": _MICROSECOND, "local": _MICROSECOND.replace(tzinfo=None), "hour": dt.time(1, 2, 3, 4999)}
        )
        assert (stored.at.microsecond, stored.local.microsecond, stored.hour.microsecond) == (
            123000,
            123000,
            4000,
        )
        for condition in (
            Thing.at == _MICROSECOND,
            Thing.at.in_([_MICROSECOND]),
            Thing.hour == dt.time(1, 2, 3, 4001),
        ):
            assert query.filter(condition).count() == 1
        assert query.filter(Thing.at < _MICROSECOND).count() == 0

    @requires(Capability.EXACT_DECIMAL)
    def test_decimals_are_exact_to_the_last_digit(self, connect: Connect) -> None:
        query = connect(Exact).query(Exact)
        amounts = [
            Decimal(d)
            for d in ("12345678901234567890.0123456789", "99999999999999999999.9999999999", "0.0000000001")
        ]
        keys = query.bulk_insert([{"amount": a} for a in amounts], return_keys=True).keys
        assert [query.get(k).amount for k in keys] == amounts  # type: ignore[union-attr]
        assert query.filter(Exact.amount == amounts[0]).count() == 1
        assert query.filter(Exact.amount == amounts[0] - Decimal("0.0000000001")).count() == 0
        assert query.filter(Exact.amount < amounts[1]).count() == 2

    @refuses(Capability.EXACT_DECIMAL)
    def test_a_decimal_longer_than_the_engine_is_exact_for_is_refused(self, alarmed: Connect) -> None:
        query = alarmed(Exact).query(Exact)
        for value in (Decimal("12345678901234567890.5"), Decimal("1234567890.0123456789")):
            with pytest.raises(InvalidValueError, match=r"Exact\.amount"):
                query.insert({"amount": value})
            with pytest.raises(InvalidValueError, match=r"Exact\.amount"):
                query.filter(amount=value)

    def test_an_aware_datetime_comes_back_in_utc(self, connect: Connect) -> None:
        query = connect(Thing).query(Thing)
        noon = dt.datetime(2026, 7, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30)))
        stored: Any = query.insert({"at": noon}).at
        assert stored == noon
        assert stored is not None
        assert (stored.tzinfo, stored.hour, stored.minute) == (dt.UTC, 6, 30)
        assert query.filter(at=noon).count() == query.filter(at=noon.astimezone(dt.UTC)).count() == 1

    def test_an_enum_is_given_as_member_or_name_and_comes_back_as_member(self, connect: Connect) -> None:
        query = connect(Thing).query(Thing)
        query.bulk_insert([{"colour": Colour.AMBER}, {"colour": "AMBER"}])
        assert [t.colour for t in query.all()] == [Colour.AMBER] * 2
        assert query.filter(colour="AMBER").count() == query.filter(Thing.colour == Colour.AMBER).count() == 2

    def test_null_is_none_for_every_kind(self, connect: Connect) -> None:
        query = connect(Thing).query(Thing)
        row = query.insert({})
        for column in BOUNDARIES:
            assert getattr(row, column) is None
            assert query.filter(**{column: None}).count() == 1
        query.update(row, dict.fromkeys(BOUNDARIES))
        assert query.filter(**dict.fromkeys(BOUNDARIES)).count() == 1

    def test_a_default_is_checked_like_any_value(self, connect: Connect) -> None:
        row = connect(Stamped).query(Stamped).insert({"name": "a"})
        assert (row.rating, row.parts, row.charm) == (10, [], None)

    def test_what_a_type_decorator_converts_comes_back_converted(self, connect: Connect) -> None:
        query = connect(Labelled).query(Labelled)
        query.bulk_insert([{"labels": ["a", "b"]}, {"labels": []}, {"labels": None}])
        assert [row.labels for row in query.order_by("id").all()] == [["a", "b"], [], None]
        assert query.insert({"labels": ["c"]}).labels == ["c"]
        assert query.filter(labels=["a", "b"]).count() == 1

    def test_changing_what_was_given_does_not_change_what_is_stored(self, connect: Connect) -> None:
        query = connect(Thing).query(Thing)
        given: dict[str, Any] = {"a": [1]}
        stored: Any = query.insert({"extra": given})
        given["a"].append(2)
        again = query.get(stored.id)
        assert again is not None
        assert again.extra == {"a": [1]}
        again.extra["a"].append(3)
        assert query.one().extra == {"a": [1]}

    def test_numpy_scalars_count_as_their_python_value(self, connect: Connect) -> None:
        numpy = pytest.importorskip("numpy")
        query = connect(Thing).query(Thing)
        row = query.insert({"number": numpy.int64(3), "size": numpy.float32(0.5), "flag": numpy.bool_(True)})
        assert (type(row.number), type(row.size), row.flag) == (int, float, True)
        assert query.filter(Thing.number == numpy.int8(3)).count() == 1
        with pytest.raises(InvalidValueError):
            query.insert({"flag": numpy.int64(1)})
