"""Values that nobody thought of, made by Hypothesis where it is installed: each comes back and is found again."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from db_plugins import Capability

from .harness import Connect, Harness, subject
from .models import Thing

__all__ = ["Hypotheses"]

#: Rows in one bulk write, so that a thousand values cost a few statements.
VALUES = 150


def _strategies() -> dict[str, Any]:
    st = pytest.importorskip("hypothesis.strategies")
    milliseconds = st.integers(0, 999).map(lambda n: n * 1000)
    moments = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30))  # noqa: DTZ001
    texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
    json_leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts
    return {
        "text": texts,
        "big": st.integers(-(2**63), 2**63 - 1),
        "size": st.floats(allow_nan=False, allow_infinity=False),
        "price": st.decimals(-(10**8), 10**8, places=3),
        "at": st.builds(lambda m, n: m.replace(microsecond=n, tzinfo=dt.UTC), moments, milliseconds),
        "local": st.builds(lambda m, n: m.replace(microsecond=n), moments, milliseconds),
        "day": st.dates(),
        "hour": st.builds(lambda t, n: t.replace(microsecond=n), st.times(), milliseconds),
        "token": st.uuids(),
        "raw": st.binary(max_size=60),
        "extra": st.recursive(
            json_leaves,
            lambda s: st.lists(s, max_size=4) | st.dictionaries(texts, s, max_size=4),
            max_leaves=8,
        ),
    }


@subject("generated", Capability.WRITE)
class Hypotheses(Harness):
    """The same seed on every run; ``--hypothesis-seed`` gives another."""

    @pytest.mark.parametrize(
        "column", ["text", "big", "size", "price", "at", "local", "day", "hour", "token", "raw", "extra"]
    )
    def test_generated_values_come_back_and_are_found(self, connect: Connect, column: str) -> None:
        hypothesis = pytest.importorskip("hypothesis")
        values: list[Any] = []

        def collect(value: Any) -> None:
            values.append(value)

        settings = hypothesis.settings(
            max_examples=VALUES,
            database=None,
            derandomize=True,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        settings(hypothesis.given(_strategies()[column])(collect))()
        query = connect(Thing).query(Thing)
        keys = query.bulk_insert([{column: v} for v in values], return_keys=True).keys
        found = query.get_many(keys)
        for key, value in zip(keys, values, strict=True):
            assert _same(getattr(found[key], column), value), (
                f"{value!r} came back as {getattr(found[key], column)!r}"
            )
        if column == "extra":
            return
        attribute: Any = getattr(Thing, column)
        for value in values[:30]:
            wanted = sorted(k for k, v in zip(keys, values, strict=True) if v == value)
            assert [t.id for t in query.filter(attribute == value).order_by("id").all()] == wanted, (
                f"== {value!r}"
            )
        ordered = [getattr(t, column) for t in query.order_by(column).all()]
        assert ordered == sorted(ordered)


def _same(found: Any, given: Any) -> bool:
    if isinstance(given, Decimal):
        return bool(found == given)
    return type(found) is type(given) and bool(found == given)
