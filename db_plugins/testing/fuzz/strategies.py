"""Hypothesis makes rows and questions: every operator, over boundary values, values of the rows, and values nobody thought of."""

# ruff: noqa: DTZ001 - naive datetimes are among the values
from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from .cases import Aggregated, Listing, Numbered, Question, Term, Walk
from .model import BOUNDARIES, CALCULABLE
from .trees import (
    AllOf,
    Among,
    AnyOf,
    Bare,
    Between,
    Calc,
    Col,
    Compare,
    Constant,
    Lit,
    Matches,
    Neg,
    Node,
    Not,
    Null,
    Path,
    Truth,
    Value,
)

__all__ = ["Maker"]

COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
UNORDERED = ("flag", "colour", "letter")
TEXTS = ("text", "other", "word")
#: Columns of one kind, or of two numbers that every engine compares exactly.
PAIRS = (
    ("text", "other"), ("text", "word"), ("part", "number"), ("number", "ratio"), ("number", "price"), ("ratio", "price"),
    ("tiny", "whole"), ("whole", "big"), ("tiny", "amount"), ("big", "part"), ("at", "at"), ("flag", "flag"), ("colour", "colour"),
)  # fmt: skip
PATHS: tuple[tuple[str | int, ...], ...] = (
    ("v",), ("n",), ("a",), ("a", "b", 0), ("a", "b", 1, "c"), ("a.b",), ("$x",), ("$ne",), ("é",), ("it's",), ("",), (0,), (1,), (2, 1),
    (3, "v"), (0, "v"), ("v", "v"), ("v", 0), ("nowhere",), (99,),
)  # fmt: skip
INSIDE: dict[str, list[Any]] = {
    "string": ["", "a", "A", "5", "true", "$gt", "é"],
    "integer": [0, 1, 2, 5, 7, 2**53 + 1, 2**63 - 1, -(2**63)],
    "float": [0.0, 1.5, -1.5, 2.0, 5.0, 2.5],
    "boolean": [True, False],
}
ESCAPES: tuple[tuple[tuple[str, Any], ...], ...] = (
    (),
    (),
    (("escape", "/"),),
    (("escape", "\\"),),
    (("escape", "%"),),
)
PIECES = ("a", "b", "A", "%", "_", "%", "/", "\\", "é", "\n", ".", "*", "[", "50", " ", "\U00010400")
#: What no column takes: the core refuses it, whatever the engine.
MISFITS: dict[str, list[Any]] = {
    "text": ["a\0", "\ud800", 5, {"$ne": None}],
    "big": [2**63, True, "1"],
    "size": ["1", {"$gt": 0}],
}


def _milliseconds(moments: SearchStrategy[Any], exact: bool) -> SearchStrategy[Any]:
    return moments if exact else moments.map(lambda m: m.replace(microsecond=m.microsecond // 1000 * 1000))


@dataclass(frozen=True)
class Maker:
    """Makes rows and questions for an engine: what it does not claim is not asked of it."""

    microseconds: bool = True
    unicode_case: bool = True
    infinity: bool = True

    def _random(self) -> dict[str, SearchStrategy[Any]]:
        """Values nobody thought of. Columns to calculate with, and sets of few, have none."""
        texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
        moments = _milliseconds(
            st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)), self.microseconds
        )
        return {
            "text": texts,
            "other": texts,
            "tiny": st.integers(-(2**15), 2**15 - 1),
            "whole": st.integers(-(2**31), 2**31 - 1),
            "big": st.integers(-(2**63), 2**63 - 1),
            "size": st.floats(allow_nan=True, allow_infinity=self.infinity),
            "amount": st.integers(-(10**12) + 1, 10**12 - 1).map(lambda n: Decimal(n).scaleb(-3)),
            "at": moments.map(lambda m: m.replace(tzinfo=dt.UTC)),
            "local": moments,
            "day": st.dates(),
            "hour": _milliseconds(st.times(), self.microseconds),
            "token": st.uuids(),
            "raw": st.binary(max_size=8),
            "extra": st.dictionaries(
                st.sampled_from(["v", "n", "a"]), st.sampled_from([0, 1, 2, -1.5, "a", True, None, [1], {"v": 1}]), max_size=2
            ),
        }  # fmt: skip

    def values(self, seen: Mapping[str, Sequence[Any]]) -> dict[str, SearchStrategy[Any]]:
        """For each column its boundaries, then the values of the rows, then any."""
        anything = self._random()
        result = {}
        for name, boundaries in BOUNDARIES.items():
            ways = [st.sampled_from(boundaries)]
            if seen.get(name):
                ways.append(st.sampled_from(list(seen[name])))
            if name == "size" and self.infinity:
                ways.append(st.sampled_from([math.inf, -math.inf]))
            if name in anything:
                ways.append(anything[name])
            result[name] = st.one_of(ways)
        return result

    def row(self) -> SearchStrategy[dict[str, Any]]:
        """A row without its key, a quarter of its values NULL."""
        return st.fixed_dictionaries({n: st.one_of(st.none(), v, v, v) for n, v in self.values({}).items()})

    def questions(self, rows: Sequence[Mapping[str, Any]] = ()) -> SearchStrategy[Question]:
        """A filter, mostly; an order, a window, a page, a walk by cursor."""
        where = self.filters(rows)
        names = st.sampled_from([n for n in BOUNDARIES if n != "extra"])
        terms = st.builds(Term, names, st.booleans(), st.sampled_from([None, None, "first", "last"]))
        order = st.lists(terms, max_size=3).map(tuple)
        readings = st.one_of(
            st.builds(Listing, st.integers(0, 20), st.none() | st.integers(0, 30)),
            st.builds(Numbered, st.integers(1, 5), st.integers(1, 25), st.booleans()),
            st.builds(Walk, st.integers(3, 20)),
        )
        return st.builds(Question, st.none() | where, order, readings)

    def aggregates(self, rows: Sequence[Mapping[str, Any]] = ()) -> SearchStrategy[Question]:
        """Counts, sums, averages, least and greatest values: of all rows, and of groups in an order and a window."""
        plain = [n for n in BOUNDARIES if n != "extra"]
        ordered = [n for n in plain if n not in UNORDERED]
        exact = st.sampled_from(CALCULABLE).map(Col) | self._steps()
        term = st.one_of(
            st.just(("count", None)),
            st.tuples(st.just("count"), st.sampled_from(plain).map(Col)),
            st.tuples(st.sampled_from(["min", "max"]), st.sampled_from(ordered).map(Col)),
            st.tuples(st.sampled_from(["sum", "avg", "min", "max"]), exact),
        )
        terms = st.lists(term, min_size=1, max_size=3).map(
            lambda made: tuple((f"t{n}", function, operand) for n, (function, operand) in enumerate(made))
        )
        groups = st.lists(st.sampled_from(plain), max_size=2, unique=True).map(tuple)
        windows = st.builds(Listing, st.sampled_from([0, 0, 2]), st.sampled_from([None, None, 3, 20]))

        def read(terms: Any, groups: Any, window: Listing) -> SearchStrategy[Aggregated]:
            # Not by an average: what is equal but for its last digit would change places.
            names = [*groups, *(label for label, function, _ in terms if function != "avg")]
            order: SearchStrategy[Any] = st.just(())
            if names and groups:
                term = st.builds(str.__add__, st.sampled_from(["", "-"]), st.sampled_from(names))
                order = st.lists(term, max_size=2, unique=True).map(tuple)
            return st.builds(Aggregated, st.just(terms), st.just(groups), order, st.just(window))

        reading = st.tuples(terms, groups, windows).flatmap(lambda made: read(*made))
        return st.builds(Question, st.none() | self.filters(rows), st.just(()), reading)

    def filters(self, rows: Sequence[Mapping[str, Any]] = ()) -> SearchStrategy[Node]:
        """Conditions of every sort, joined by and, or and not."""
        seen = {n: [r[n] for r in rows if r.get(n) is not None] for n in BOUNDARIES}
        return st.recursive(
            self.leaves(seen),
            lambda inner: st.one_of(
                st.lists(inner, min_size=2, max_size=3).map(lambda p: AllOf(tuple(p))),
                st.lists(inner, min_size=2, max_size=3).map(lambda p: AnyOf(tuple(p))),
                st.builds(Not, inner),
            ),
            max_leaves=5,
        )

    def leaves(self, seen: Mapping[str, Sequence[Any]]) -> SearchStrategy[Node]:
        """One condition."""
        values = self.values(seen)
        plain = [n for n in BOUNDARIES if n != "extra"]
        ordered = [n for n in plain if n not in UNORDERED]
        column = st.sampled_from(plain).map(Col)
        either = st.booleans()
        compared = _each({n: self._compared(n, values[n]) for n in plain})
        return st.one_of(
            compared,
            compared,
            _each({n: st.builds(Among, st.just(Col(n)), _few(values[n]), either) for n in plain}),
            _each(
                {
                    n: st.builds(Between, st.just(Col(n)), _maybe(values[n]), _maybe(values[n]))
                    for n in ordered
                }
            ),
            st.builds(Null, st.sampled_from([*plain, "extra"]).map(Col), either),
            st.builds(Compare, st.sampled_from(["==", "!="]), column, st.just(Value(None))),
            _each({pair: _beside(pair) for pair in PAIRS}),
            self._matched(),
            st.builds(Truth, st.just(Col("flag")), either, either),
            st.just(Bare(Col("flag"))),
            self._calculated(),
            self._inside(),
            self._inside(),
            st.builds(Constant, either),
            _each({n: _misfit(n) for n in MISFITS}),
        )

    def _compared(self, name: str, values: SearchStrategy[Any]) -> SearchStrategy[Node]:
        ops = st.sampled_from(COMPARISONS[:2] if name in UNORDERED else COMPARISONS)
        made = st.builds(Compare, ops, st.just(Col(name)), values.map(Value))
        if name in ("text", "whole", "number"):
            return made | st.builds(Compare, ops, values.map(Lit), st.just(Col(name)))
        return made

    def _matched(self) -> SearchStrategy[Node]:
        verbs = ["like", "not_like", "startswith", "endswith", "contains"]
        folding = ["ilike", "not_ilike", "istartswith", "iendswith", "icontains"]
        pattern = st.lists(st.sampled_from(PIECES), max_size=4).map("".join)
        # Without UNICODE_CASE only the letters A to Z are alike: of other letters nothing is asked.
        folded = pattern if self.unicode_case else pattern.filter(str.isascii)
        names = TEXTS if self.unicode_case else ("word",)

        def options(verb: str) -> SearchStrategy[Any]:
            plain = verb.endswith("like")
            return st.sampled_from(ESCAPES if plain else (*ESCAPES, (("autoescape", True),)))

        def made(columns: Sequence[str], verbs: Sequence[str], pattern: Any) -> SearchStrategy[Node]:
            columns_ = st.sampled_from(columns).map(Col)
            return _each({v: st.builds(Matches, columns_, st.just(v), pattern, options(v)) for v in verbs})

        return made(TEXTS, verbs, pattern) | made(names, folding, folded)

    def _steps(self) -> SearchStrategy[Node]:
        """One operation on columns, whose result is exact: a quotient by powers of two, a floor, a sum."""
        columns = st.sampled_from(CALCULABLE).map(Col)
        divisors: SearchStrategy[Node] = st.just(Col("part")) | st.sampled_from([2, 4, -2, 0, 0.5]).map(Value)
        small: SearchStrategy[Node] = columns | st.sampled_from([0, 2, 3, -2, 0.5]).map(Value)
        floors = st.builds(
            Calc,
            st.just("//"),
            st.sampled_from(["part", "number", "ratio"]).map(Col),
            divisors | st.sampled_from([3, -7]).map(Value),
        )
        return st.one_of(
            st.builds(Calc, st.sampled_from("+-*"), columns, small),
            st.builds(Calc, st.just("/"), columns, divisors),
            st.builds(Neg, columns),
            floors,
        )

    def _calculated(self) -> SearchStrategy[Node]:
        """Arithmetic of up to three operands."""
        columns = st.sampled_from(CALCULABLE).map(Col)
        small: SearchStrategy[Node] = columns | st.sampled_from([0, 2, 3, -2, 0.5]).map(Value)
        step = self._steps()
        sums = st.one_of(
            step, step, st.builds(Calc, st.sampled_from("+-"), step, small), st.builds(Calc, st.just("*"), columns, step)
        )  # fmt: skip
        against = st.sampled_from([0, 1, 2, -3, 3.5, 14, 100_000]).map(Value) | columns
        return st.one_of(
            st.builds(Compare, st.sampled_from(COMPARISONS), sums, against),
            st.builds(Compare, st.sampled_from(COMPARISONS), sums, against),
            st.builds(Null, sums, st.booleans()),
        )

    def _inside(self) -> SearchStrategy[Node]:
        either = st.booleans()

        def of(kind: str) -> SearchStrategy[Node]:
            path = st.builds(Path, st.just("extra"), st.sampled_from(PATHS), st.just(kind), either)
            value = st.sampled_from(INSIDE[kind])
            ops = st.sampled_from(COMPARISONS[:2] if kind == "boolean" else COMPARISONS)
            ways = [
                st.builds(Compare, ops, path, value.map(Value)),
                st.builds(Among, path, _few(value), either),
                st.builds(Null, path, either),
            ]
            if kind == "boolean":
                ways += [st.builds(Bare, path), st.builds(Truth, path, either, either)]
            else:
                ways.append(st.builds(Between, path, value, value))
            if kind == "string":
                pattern = st.sampled_from(["%", "a", "_", "%u%", ""])
                ways.append(
                    st.builds(Matches, path, st.sampled_from(["like", "not_like", "contains"]), pattern)
                )
            if kind in ("integer", "float"):
                # Calculated with what stands at "n" only: it is small.
                small = st.just(Path("extra", ("n",), kind))
                total = st.builds(
                    Calc, st.sampled_from("+-*"), small, st.just(Col("number")) | st.just(Value(2))
                )
                ways.append(st.builds(Compare, ops, total, st.sampled_from([0, 4, 14]).map(Value)))
                ways.append(st.builds(Compare, ops, small, st.just(Col("number"))))
            return st.one_of(ways)

        return _each({kind: of(kind) for kind in INSIDE})


def _each(ways: Mapping[Any, SearchStrategy[Node]]) -> SearchStrategy[Node]:
    """Any of these, as one way of ``one_of``, which would take each for a way of its own."""
    return st.sampled_from(list(ways)).flatmap(ways.__getitem__)


def _misfit(name: str) -> SearchStrategy[Node]:
    return st.builds(Compare, st.just("=="), st.just(Col(name)), st.sampled_from(MISFITS[name]).map(Value))


def _few(values: SearchStrategy[Any]) -> SearchStrategy[tuple[Any, ...]]:
    return st.lists(_maybe(values), max_size=3).map(tuple)


def _maybe(values: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """One of ten is None."""
    return st.integers(0, 9).flatmap(lambda n: st.none() if n == 9 else values)


def _beside(pair: tuple[str, str]) -> SearchStrategy[Node]:
    ops = COMPARISONS[:2] if pair[0] in UNORDERED else COMPARISONS
    return st.builds(Compare, st.sampled_from(ops), st.just(Col(pair[0])), st.just(Col(pair[1])))
