"""Counts, sums, averages, least and greatest of all rows: the same, of the same type, on every engine."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from db_plugins import Capability, Database, func
from db_plugins.errors import UnsupportedFilterError

from .harness import Connect, Harness, requires, subject
from .models import Author, Exact, Labelled, Star, Thing

__all__ = ["Aggregates"]


@subject("aggregates")
class Aggregates(Harness):
    """API §4, aggregate."""

    def test_the_five_functions_leave_nulls_out(self, seven: Database) -> None:
        found = seven.query(Star).aggregate(
            n=func.count(),
            known=func.count(Star.mag),
            total=func.sum(Star.mag),
            mean=func.avg(Star.mag),
            low=func.min(Star.mag),
            high=func.max(Star.mag),
            first=func.min(Star.name),
        )
        assert list(found) == ["n", "known", "total", "mean", "low", "high", "first"]
        assert found == {
            "n": 7,
            "known": 5,
            "total": pytest.approx(0.61),
            "mean": pytest.approx(0.122),
            "low": -1.46,
            "high": 1.25,
            "first": "Altair",
        }

    def test_of_no_rows_count_is_0_and_the_others_none(self, seven: Database, connect: Connect) -> None:
        terms = {
            "n": func.count(),
            "k": func.count(Star.mag),
            "s": func.sum(Star.mag),
            "a": func.avg(Star.id),
            "l": func.min(Star.name),
            "h": func.max(Star.mag),
        }
        nothing = {"n": 0, "k": 0, "s": None, "a": None, "l": None, "h": None}
        assert seven.query(Star).filter(name="nobody").aggregate(**terms) == nothing
        assert seven.query(Star).filter(Star.id.in_([])).aggregate(**terms) == nothing
        assert seven.query(Star).aggregate(n=func.count("*")) == {"n": 7}
        assert connect(Thing).query(Thing).aggregate(n=func.count(), s=func.sum(Thing.price)) == {
            "n": 0,
            "s": None,
        }

    def test_of_nothing_but_nulls_the_same(self, seven: Database) -> None:
        unknown = seven.query(Star).filter(Star.mag.is_(None))
        assert unknown.aggregate(
            n=func.count(), k=func.count(Star.mag), s=func.sum(Star.mag), a=func.avg(Star.mag)
        ) == {"n": 2, "k": 0, "s": None, "a": None}

    def test_without_groups_a_window_cuts_the_rows_first(self, seven: Database) -> None:
        terms = {"n": func.count(), "s": func.sum(Star.id)}
        assert seven.query(Star).limit(3).aggregate(**terms) == {"n": 3, "s": 6}
        assert seven.query(Star).order_by("-id").offset(1).limit(2).aggregate(**terms) == {"n": 2, "s": 11}
        assert seven.query(Star).limit(0).aggregate(**terms) == {"n": 0, "s": None}
        assert seven.query(Star).order_by("mag").aggregate(**terms) == {"n": 7, "s": 28}

    def test_integers_are_summed_exactly_and_averages_are_floats(self, connect: Connect) -> None:
        db = connect(Thing)
        big = [2**53 + 1, 2**62, -7, None]
        self.stock(db, Thing, [{"big": b, "number": n} for b, n in zip(big, (1, 2, 2, None), strict=True)])
        found = db.query(Thing).aggregate(
            s=func.sum(Thing.big), a=func.avg(Thing.number), t=func.sum(Thing.number), h=func.max(Thing.big)
        )
        assert found == {"s": 2**53 + 2**62 - 6, "a": 5 / 3, "t": 5, "h": 2**62}
        assert {k: type(v) for k, v in found.items()} == {"s": int, "a": float, "t": int, "h": int}

    def test_a_sum_of_integers_beyond_64_bits_is_exact_too(self, connect: Connect) -> None:
        db = connect(Thing)
        self.stock(db, Thing, [{"big": b} for b in (2**63 - 1, 2**63 - 1, 5)])
        assert db.query(Thing).aggregate(s=func.sum(Thing.big), a=func.avg(Thing.big)) == {
            "s": 2**64 + 3,
            "a": (2**64 + 3) / 3,
        }
        by_key = db.query(Thing).group_by(Thing.id).order_by("-s").aggregate(s=func.sum(Thing.big))
        assert [g["s"] for g in by_key] == [2**63 - 1, 2**63 - 1, 5]

    def test_of_numeric_columns_sums_and_averages_are_decimals(self, connect: Connect) -> None:
        db = connect(Thing)
        prices = [Decimal(p) for p in ("0.1", "0.2", "0.3", "123456789.125", "-0.001", "0.001", "0.001")]
        self.stock(db, Thing, [{"price": p} for p in prices])
        found = db.query(Thing).aggregate(
            s=func.sum(Thing.price), a=func.avg(Thing.price), l=func.min(Thing.price), h=func.max(Thing.price)
        )
        assert found == {
            "s": Decimal("123456789.726"),
            "a": Decimal("17636684.246571429"),
            "l": Decimal("-0.001"),
            "h": Decimal("123456789.125"),
        }
        assert {type(v) for v in found.values()} == {Decimal}

    @requires(Capability.EXACT_DECIMAL)
    def test_long_decimals_are_summed_exactly(self, connect: Connect) -> None:
        db = connect(Exact)
        amounts = [Decimal("12345678901234567890.0123456789"), Decimal("0.0000000001"), None]
        self.stock(db, Exact, [{"amount": a} for a in amounts])
        assert db.query(Exact).aggregate(s=func.sum(Exact.amount), h=func.max(Exact.amount)) == {
            "s": Decimal("12345678901234567890.0123456790"),
            "h": amounts[0],
        }

    def test_least_and_greatest_are_values_of_the_column(self, connect: Connect) -> None:
        db = connect(Thing)
        low: dict[str, Any] = {
            "text": "Z",
            "number": -3,
            "size": -1.5,
            "price": Decimal("1.5"),
            "at": dt.datetime(1969, 7, 20, 20, 17, tzinfo=dt.UTC),
            "local": dt.datetime.fromisoformat("1969-07-20"),
            "day": dt.date(1, 1, 1),
            "hour": dt.time(9, 5),
            "token": uuid.UUID(int=2**64),
            "raw": b"\x00\xff",
        }
        high: dict[str, Any] = {
            "text": "\U00010400",
            "number": 4,
            "size": 2.25,
            "price": Decimal("11.5"),
            "at": dt.datetime(2026, 11, 21, tzinfo=dt.UTC),
            "local": dt.datetime.fromisoformat("2026-11-21"),
            "day": dt.date(9999, 12, 31),
            "hour": dt.time(10),
            "token": uuid.UUID(int=2**127 + 1),
            "raw": b"\x01",
        }
        middle = {"text": "\uffff"}
        self.stock(db, Thing, [high, low, {}, middle])
        query = db.query(Thing)
        assert query.aggregate(**{n: func.min(getattr(Thing, n)) for n in low}) == low
        found = query.aggregate(**{n: func.max(getattr(Thing, n)) for n in high})
        assert found == high
        assert found["at"].utcoffset() == dt.timedelta(0)

    def test_aggregates_of_arithmetic_on_columns(self, seven: Database, connect: Connect) -> None:
        assert seven.query(Star).aggregate(
            double=func.sum(Star.id * 2),
            mixed=func.max(Star.id * 10 + Star.mag),
            known=func.count(Star.mag + Star.id),
            whole=func.sum(Star.id // 2),
            part=func.sum(Star.id / 2),
            negative=func.min(-Star.id),
        ) == {
            "double": 56,
            "mixed": pytest.approx(60.03),
            "known": 5,
            "whole": 12,
            "part": 14.0,
            "negative": -7,
        }
        db = connect(Thing)
        self.stock(db, Thing, [{"price": Decimal("1.125"), "number": 3}, {"price": Decimal("2.5")}])
        found = db.query(Thing).aggregate(
            s=func.sum(Thing.price * Thing.number), a=func.avg(Thing.price + 1), h=func.max(Thing.price * 2)
        )
        assert found == {"s": Decimal("3.375"), "a": Decimal("2.8125"), "h": Decimal("5")}
        assert {type(v) for v in found.values()} == {Decimal}

    def test_converted_columns_come_back_converted(self, connect: Connect) -> None:
        db = connect(Labelled)
        labels = [["b"], ["a", "z"], ["b"], None]
        self.stock(db, Labelled, [{"labels": words} for words in labels])
        query = db.query(Labelled)
        assert query.group_by("labels").aggregate(n=func.count()) == [
            {"labels": None, "n": 1},
            {"labels": ["a", "z"], "n": 1},
            {"labels": ["b"], "n": 2},
        ]
        assert query.aggregate(h=func.max(Labelled.labels)) == {"h": ["b"]}

    @requires(Capability.TRANSACTIONS)
    def test_a_transaction_sees_its_own_rows(self, seven: Database) -> None:
        with seven.transaction() as tx:
            tx.query(Star).filter(band="V").delete()
            assert tx.query(Star).aggregate(n=func.count(), s=func.sum(Star.id)) == {"n": 4, "s": 20}
            assert len(seven.query(Star).group_by("band").aggregate(n=func.count())) == 2

    def test_what_is_no_aggregate_is_refused_by_its_smallest_part(self, alarmed: Connect) -> None:
        query = alarmed(Thing, Author).query(Thing)
        refused: list[tuple[Any, str]] = [
            (func.group_concat(Thing.text), "group_concat"),
            (func.sum(func.abs(Thing.number)), "abs"),
            (func.sum(Thing.number) + 1, r"sum|\+"),
            (func.count(sa.distinct(Thing.text)), "DISTINCT"),
            (func.count(Thing.text.distinct()), "DISTINCT"),
            (func.sum(Thing.number).over(), "OVER"),
            (func.sum(Thing.number).filter(Thing.number > 1), "FILTER"),
            (func.sum(Thing.text), "text"),
            (func.avg(Thing.flag), "flag"),
            (func.sum(Thing.day), "day"),
            (func.sum(1), "sum"),
            (func.sum(Thing.number, Thing.small), "sum"),
            (func.min(Thing.flag), "flag"),
            (func.max(Thing.flag), "flag"),
            (func.min(Thing.colour), "colour"),
            (func.max(Thing.letter), "letter"),
            (func.min(Thing.extra), "extra"),
            (func.max(Author.name), "(?i)author"),
            (func.now(), "(?i)now|current"),
            (Thing.number, "number"),
            ("count", "str"),
            (3, "int"),
            (None, "None"),
        ]
        for term, part in refused:
            with pytest.raises(UnsupportedFilterError, match=part) as caught:
                query.aggregate(x=term)
            assert caught.value.hint, part
