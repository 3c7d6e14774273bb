"""Vectors: 32 bits of each number come back, nothing else is taken, and the nearest are the same on every engine.

Requirements 004-37 to 004-40.
"""

from __future__ import annotations

import array
import math
import random
import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from db_plugins import Capability, Database, func
from db_plugins.errors import (
    InvalidValueError,
    NotNullError,
    UnsupportedFilterError,
    UnsupportedOperationError,
)

from ...query.nearest import Metric
from .harness import Connect, Harness, requires, subject
from .models import Author, Essay, Passage, Star, Tile

__all__ = ["Nearest"]

#: What is stored under keys 1 to 7: two are equal, one is twice another, one has no direction, one is not there.
MEANINGS: list[list[float] | None] = [
    [1, 0, 0],
    [0, 1, 0],
    [0.9, 0.1, 0],
    [1, 0, 0],
    [0, 0, 0],
    None,
    [2, 0, 0],
]
#: Numbers at the ends of 32 bits, and such as are not exact there.
NUMBERS = [0.0, -0.0, 0.1, -1 / 3, 1e-45, 1.5e-39, 3.4028234e38, -3.4028234e38, 16777217.0, math.pi, 1e-8, 7]
#: What is no vector of three numbers, and a part of the message.
MISFITS: list[tuple[Any, str]] = [
    ([0.123, 2], "3 numbers.* of 2 numbers"),
    ([0.123, 2, 3, 4], "3 numbers.* of 4 numbers"),
    ([], "3 numbers.* of 0 numbers"),
    ([0.123, 2, math.nan], "finite"),
    ([0.123, 2, math.inf], "finite"),
    ([0.123, 2, -math.inf], "finite"),
    ([0.123, 2, 3.5e38], "finite in 32 bits"),
    ([0.123, 2, 10**400], "finite in 32 bits"),
    ([0.123, 2, True], "bool"),
    ([0.123, 2, "3"], "str"),
    ([0.123, 2, None], "NoneType"),
    ([0.123, 2, Decimal(3)], "Decimal"),
    ([[0.123], 2, 3], "list"),
    ("[0.123,2,3]", "str"),
    (b"abc", "bytes"),
    (0.123, "float"),
    ({0.123: 1, 2: 2, 3: 3}, "dict"),
    ({0.123, 2, 3}, "set"),
]
METRICS: list[Metric] = ["cosine", "l2", "inner_product"]


def in_32_bits(numbers: Sequence[float]) -> list[float]:
    return [struct.unpack("<f", struct.pack("<f", number))[0] for number in numbers]


def apart(metric: str, one: Sequence[float], other: Sequence[float]) -> float | None:
    """The distance as the books have it, in plain Python."""
    product = sum(a * b for a, b in zip(one, other, strict=True))
    if metric == "inner_product":
        return -product
    if metric == "l2":
        return math.sqrt(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)))
    lengths = math.sqrt(sum(a * a for a in one)) * math.sqrt(sum(b * b for b in other))
    return 1 - product / lengths if lengths else None


def expected(
    metric: str, target: Sequence[float], vectors: dict[Any, list[float] | None], k: int
) -> list[tuple[Any, float]]:
    target = in_32_bits(target)
    found = [(apart(metric, target, in_32_bits(v)), key) for key, v in vectors.items() if v is not None]
    # Equal vectors are equally far, whatever the last digit of a sum in plain Python says.
    ordered = sorted((round(d, 12), key, d) for d, key in found if d is not None)
    return [(key, distance) for _, key, distance in ordered[:k]]


def assert_same(got: list[tuple[Any, float]], wanted: list[tuple[Any, float]]) -> None:
    assert [key for key, _ in got] == [key for key, _ in wanted]
    assert all(type(distance) is float for _, distance in got)
    assert [distance for _, distance in got] == pytest.approx([d for _, d in wanted], rel=1e-6, abs=1e-6)


def keyed(found: list[tuple[Any, float]]) -> list[tuple[Any, float]]:
    return [(one.id, distance) for one, distance in found]


def made(seed: int, rows: int, dimensions: int) -> list[list[float]]:
    source = random.Random(seed)
    return [[source.gauss(0, 1) for _ in range(dimensions)] for _ in range(rows)]


@subject("nearest")
class Nearest(Harness):
    """``Vector`` and ``nearest``: API §1 and §4."""

    @pytest.fixture
    def passages(self, connect: Connect) -> Database:
        """Keys 1 to 7; the even ones are of source b."""
        db = connect(Author, Passage)
        rows = [
            {"id": n, "meaning": m, "source": "ab"[n % 2 == 0], "text": f"t{n}"}
            for n, m in enumerate(MEANINGS, 1)
        ]
        self.stock(db, Passage, rows)
        return db

    # -- the type --------------------------------------------------------------------------------------------------

    @requires(Capability.WRITE)
    def test_vectors_come_back_as_lists_of_32_bits(self, connect: Connect) -> None:
        """004-37."""
        query = connect(Author, Passage).query(Passage)
        given = [NUMBERS[n : n + 3] for n in range(0, len(NUMBERS), 3)]
        shapes: list[Callable[[list[float]], Any]] = [list, tuple, lambda v: array.array("d", v)]
        rows = [(shape(numbers), in_32_bits(numbers)) for numbers in given for shape in shapes]
        keys = query.bulk_insert([{"meaning": v} for v, _ in rows], return_keys=True).keys
        for key, (value, wanted) in zip(keys, rows, strict=True):
            read = query.get(key)
            assert read is not None
            assert repr(read.meaning) == repr(wanted), "the sign of a zero counts too"
            one = query.insert({"meaning": value})
            assert repr(one.meaning) == repr(wanted)
            assert repr(query.update(one, {"draft": value}).draft) == repr(wanted)
            assert query.filter(id=key).to_dicts(Passage.meaning) == [{"meaning": wanted}]
            assert next(query.filter(id=key).stream("meaning")) == {"meaning": wanted}
        assert query.filter(id=keys[0]).update({"meaning": [1, 2, 3]}) == 1
        changed = query.get(keys[0])
        assert changed is not None
        assert changed.meaning == [1.0, 2.0, 3.0]
        assert all(type(n) is float for n in changed.meaning)

    @requires(Capability.WRITE)
    def test_arrays_of_numpy_are_vectors(self, connect: Connect) -> None:
        numpy = pytest.importorskip("numpy")
        query = connect(Author, Passage).query(Passage)
        for kind in ("float64", "float32", "float16", "int64", "uint8"):
            assert query.insert({"meaning": numpy.array([1, 2, 3], dtype=kind)}).meaning == [1.0, 2.0, 3.0]
        scalars = [numpy.float32(0.1), numpy.int16(2), numpy.float64(3)]
        assert query.insert({"meaning": scalars}).meaning == in_32_bits([0.1, 2, 3])
        for bad in (numpy.ones((3, 1)), numpy.ones(2), numpy.array([True] * 3), numpy.array(["1"] * 3)):
            with pytest.raises(InvalidValueError, match=r"Passage\.meaning takes a list of 3 numbers"):
                query.insert({"meaning": bad})
        assert keyed(query.nearest("meaning", numpy.array([1, 2, 3]), 1)) == [(1, 0.0)]

    @pytest.mark.parametrize(("value", "said"), MISFITS)
    def test_what_is_no_vector_of_that_length_is_refused_before_anything_is_sent(
        self, alarmed: Connect, value: Any, said: str
    ) -> None:
        """004-39."""
        query = alarmed(Author, Passage).query(Passage)
        for refused in (
            lambda: query.insert({"meaning": value}),
            lambda: query.insert(Passage(meaning=value)),
            lambda: query.bulk_insert([{"meaning": value}]),
            lambda: query.filter(id=1).update({"meaning": value}),
            lambda: query.update(Passage(id=1), {"meaning": value}),
            lambda: query.nearest(Passage.meaning, value, 3),
        ):
            with pytest.raises(InvalidValueError, match=said) as caught:
                refused()
            assert "Passage.meaning takes a list of 3 numbers" in str(caught.value)
            assert "0.123" not in str(caught.value), "a message holds no values"

    @requires(Capability.WRITE)
    def test_null_is_no_vector_and_is_refused_where_there_must_be_one(self, connect: Connect) -> None:
        db = connect(Author, Passage, Tile)
        query = db.query(Passage)
        query.bulk_insert([{"meaning": None}, {"meaning": [0, 0, 0]}])
        assert query.filter(Passage.meaning == None).count() == 1  # noqa: E711
        assert query.filter(meaning=None).one().meaning is None
        assert query.filter(Passage.meaning.is_not(None)).one().meaning == [0.0, 0.0, 0.0]
        with pytest.raises(NotNullError, match="shade"):
            db.query(Tile).insert({"row": 1, "name": "a", "shade": None})

    @requires(Capability.WRITE)
    def test_what_was_read_is_the_callers_own(self, connect: Connect) -> None:
        query = connect(Author, Passage).query(Passage)
        given = [1.0, 2.0, 3.0]
        one = query.insert({"meaning": given})
        given[0] = 9.0
        for read in (one.meaning, query.one().meaning):
            assert read is not None
            read.append(9.0)
        assert query.one().meaning == [1.0, 2.0, 3.0]

    def test_vectors_are_neither_compared_nor_ordered(self, alarmed: Connect) -> None:
        query = alarmed(Author, Passage).query(Passage)
        whole: Any = Passage.meaning
        for refused in (
            lambda: query.filter(whole == [1, 2, 3]),
            lambda: query.filter(whole != [1, 2, 3]),
            lambda: query.filter(whole < [1, 2, 3]),
            lambda: query.filter(whole == Passage.draft),
            lambda: query.filter(whole.in_([[1, 2, 3]])),
            lambda: query.filter(meaning=[1, 2, 3]),
            lambda: query.order_by("meaning"),
            lambda: query.order_by(whole.desc()),
            lambda: query.aggregate(x=func.min(whole)),
            lambda: query.group_by("meaning"),
        ):
            with pytest.raises(UnsupportedFilterError, match=r"Passage\.meaning.*nearest\(\)"):
                refused()
        with pytest.raises(UnsupportedFilterError):
            query.filter(whole + [1, 2, 3] == None)  # noqa: E711, RUF005

    def test_vectors_are_counted(self, passages: Database) -> None:
        assert passages.query(Passage).aggregate(n=func.count(Passage.meaning)) == {"n": 6}

    @requires(Capability.WRITE)
    def test_a_column_is_set_to_another_of_its_length_only(self, passages: Database) -> None:
        query = passages.query(Passage).filter(id=3)
        assert query.update({"draft": Passage.meaning}) == 1
        assert query.one().draft == in_32_bits([0.9, 0.1, 0])
        with pytest.raises(InvalidValueError, match=r"Passage\.meaning"):
            query.update({"meaning": Passage.short})

    def test_vectors_in_frames(self, passages: Database) -> None:
        pa = pytest.importorskip("pyarrow")
        table = passages.query(Passage).order_by("id").limit(2).to_arrow("meaning")
        assert pa.types.is_list(table.schema.field("meaning").type)
        assert table.schema.field("meaning").type.value_type == pa.float32()
        assert table.to_pydict() == {"meaning": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]}
        assert passages.query(Passage).filter(id=6).to_arrow("meaning").to_pydict() == {"meaning": [None]}

    # -- nearest ---------------------------------------------------------------------------------------------------

    def test_the_nearest_come_with_their_distances(self, passages: Database) -> None:
        """004-38: by the angle, NULL and zeros left out, ties by primary key; 004-40: on every engine."""
        found = passages.query(Passage).nearest(Passage.meaning, [1, 0, 0], k=4)
        assert [(p.id, p.text) for p, _ in found] == [(1, "t1"), (4, "t4"), (7, "t7"), (3, "t3")]
        assert [d for _, d in found] == pytest.approx([0, 0, 0, 1 - 0.9 / math.hypot(0.9, 0.1)], abs=1e-6)
        assert found[0][1] == 0.0, "the same vector is at no distance, exactly"
        by_name = passages.query(Passage).nearest("meaning", (1, 0, 0), 4, "cosine")
        assert keyed(by_name) == keyed(found)

    @pytest.mark.parametrize("metric", METRICS)
    def test_each_metric_and_every_number_of_rows(self, passages: Database, metric: Metric) -> None:
        query = passages.query(Passage)
        vectors = dict(enumerate(MEANINGS, 1))
        for target in ([1, 0, 0], [-1, 2, 0.5], [0, 0, 1e-3]):
            for k in (1, 2, 3, 5, 6, 7, 10_000):
                got = keyed(query.nearest("meaning", target, k, metric))
                assert_same(got, expected(metric, target, vectors, k))

    @pytest.mark.parametrize("metric", METRICS)
    def test_filters_come_first(self, passages: Database, metric: Metric) -> None:
        """004-38."""
        query = passages.query(Passage).filter(source="b")
        vectors = {n: m for n, m in enumerate(MEANINGS, 1) if n % 2 == 0}
        for k in (1, 2, 10):
            got = keyed(query.nearest("meaning", [1, 0.5, 0], k, metric))
            assert_same(got, expected(metric, [1, 0.5, 0], vectors, k))
        assert query.filter(Passage.text.ilike("T_"), Passage.id < 3).nearest("meaning", [1, 0, 0], 5, metric)
        assert query.filter(source="c").nearest("meaning", [1, 0, 0], 5, metric) == []
        assert query.filter(id=6).nearest("meaning", [1, 0, 0], 5, metric) == [], "NULL is nowhere"

    def test_a_vector_of_zeros_has_no_angle_and_a_distance(self, passages: Database) -> None:
        query = passages.query(Passage)
        assert 5 not in [p.id for p, _ in query.nearest("meaning", [1, 0, 0], 10)]
        with pytest.raises(InvalidValueError, match="zeros has no direction"):
            query.nearest("meaning", [0, 0, 0], 10)
        with pytest.raises(InvalidValueError, match="zeros has no direction"):
            query.nearest("meaning", [0, -0.0, 1e-50], 10)  # zero, in 32 bits
        vectors = dict(enumerate(MEANINGS, 1))
        for metric in ("l2", "inner_product"):
            got = keyed(query.nearest("meaning", [0, 0, 0], 10, metric))
            assert_same(got, expected(metric, [0, 0, 0], vectors, 10))

    @pytest.mark.parametrize("metric", METRICS)
    def test_generated_vectors_have_the_neighbours_that_the_books_say(
        self, connect: Connect, metric: Metric
    ) -> None:
        db = connect(Author, Passage)
        vectors: dict[Any, list[float] | None] = dict(enumerate(made(7, 180, 3), 1))
        for n in range(5, 60, 5):  # some have an equal, some none
            vectors[180 + n] = vectors[n] if n % 2 else None
        self.stock(db, Passage, [{"id": key, "meaning": v} for key, v in vectors.items()])
        for target in made(8, 4, 3):
            for k in (1, 7, 40):
                got = keyed(db.query(Passage).nearest("meaning", target, k, metric))
                assert_same(got, expected(metric, target, vectors, k))

    def test_ties_are_decided_by_the_primary_key(self, connect: Connect) -> None:
        db = connect(Tile)
        names = ["b", "B", "é", "a", "~"]
        rows = [{"row": r, "name": n, "shade": [1, 1]} for r in (2, 1) for n in names]
        self.stock(db, Tile, rows)
        wanted = [(r, n) for r in (1, 2) for n in sorted(names)]
        for metric in METRICS:
            for k in (1, 3, 6, 10, 50):
                found = db.query(Tile).nearest("shade", [1, 0], k, metric)
                assert [(t.row, t.name) for t, _ in found] == wanted[:k]

    def test_extreme_lengths_are_measured_too(self, connect: Connect) -> None:
        db = connect(Tile)
        shades = {"a": [3e38, 3e38], "b": [1e20, -1e20], "c": [1.0, 2.0], "d": [0.5, -2.0]}
        self.stock(db, Tile, [{"row": 1, "name": n, "shade": s} for n, s in shades.items()])
        query = db.query(Tile)
        for metric in ("l2", "inner_product"):
            for k in (1, 2, 3, 4):
                found = query.nearest("shade", [1, 1], k, metric)
                wanted = expected(metric, [1, 1], dict(shades), k)
                assert_same([(t.name, d / 1e19) for t, d in found], [(n, d / 1e19) for n, d in wanted])
        for scale in (1e-38, 1e-20, 1e20, 1e38):
            found = query.filter(Tile.name > "b").nearest("shade", [scale, 2 * scale], 2)
            assert [t.name for t, _ in found] == ["c", "d"]

    def test_more_rows_than_a_batch(self, connect: Connect) -> None:
        db = connect(Tile)
        shades = made(9, 1300, 2)
        self.stock(db, Tile, [{"row": n, "name": "a", "shade": s} for n, s in enumerate(shades)])
        found = db.query(Tile).nearest("shade", [0.5, 0.25], self.rows_in_bulk, "l2")
        wanted = expected("l2", [0.5, 0.25], dict(enumerate(shades)), self.rows_in_bulk)
        assert_same([(t.row, d) for t, d in found], wanted)

    def test_as_many_dimensions_as_an_embedding_has(self, connect: Connect) -> None:
        """004-37: 1,536 numbers."""
        db = connect(Essay)
        vectors: dict[Any, list[float] | None] = dict(enumerate(made(11, 200, 1536), 1))
        self.stock(db, Essay, [{"id": key, "embedding": v} for key, v in vectors.items()])
        kept = db.query(Essay).get(7)
        assert kept is not None
        assert kept.embedding == in_32_bits(vectors[7] or [])
        target = made(12, 1, 1536)[0]
        for metric in METRICS:
            got = keyed(db.query(Essay).nearest(Essay.embedding, target, 10, metric))
            assert_same(got, expected(metric, target, vectors, 10))

    @requires(Capability.WRITE)
    def test_related_objects_are_included(self, connect: Connect) -> None:
        db = connect(Author, Passage)
        db.query(Author).insert({"id": 1, "name": "Ann"})
        db.query(Passage).bulk_insert(
            [{"meaning": [1, 0, 0], "author_id": 1}, {"meaning": [1, 1, 0], "author_id": None}]
        )
        found = db.query(Passage).include(Passage.author).nearest("meaning", [1, 0, 0], 2)
        assert [p.author and p.author.name for p, _ in found] == ["Ann", None]

    @requires(Capability.WRITE, Capability.TRANSACTIONS)
    def test_a_transaction_sees_its_own_vectors(self, connect: Connect) -> None:
        db = connect(Author, Passage)
        with db.transaction() as tx:
            tx.query(Passage).insert({"id": 1, "meaning": [1, 0, 0]})
            assert keyed(tx.query(Passage).nearest("meaning", [1, 0, 0], 3)) == [(1, 0.0)]
            tx.query(Passage).insert({"id": 2, "meaning": [1, 0, 0]})
        assert keyed(db.query(Passage).nearest("meaning", [1, 0, 0], 3)) == [(1, 0.0), (2, 0.0)]

    def test_what_has_no_nearest_is_refused_before_anything_is_sent(self, alarmed: Connect) -> None:
        query = alarmed(Author, Passage).query(Passage)
        vector = [1, 0, 0]
        for bad in (0, -1, 10_001, True, 1.5, "3", None):
            with pytest.raises(InvalidValueError, match="k "):
                query.nearest("meaning", vector, bad)  # type: ignore[arg-type]
        for metric in ("cosin", "", "<=>", None, 3):
            with pytest.raises(InvalidValueError, match="cosine, l2, inner_product"):
                query.nearest("meaning", vector, 3, metric)  # type: ignore[arg-type]
        with pytest.raises(InvalidValueError, match="did you mean 'meaning'"):
            query.nearest("meanin", vector, 3)
        with pytest.raises(InvalidValueError, match="not None"):
            query.nearest("meaning", None, 3)
        for column in ("text", Passage.text, Star.name, func.max(Passage.meaning), 3, None):
            with pytest.raises(UnsupportedFilterError):
                query.nearest(column, vector, 3)

    def test_a_query_with_a_window_an_order_or_groups_is_refused(self, alarmed: Connect) -> None:
        query = alarmed(Author, Passage).query(Passage)
        for name, windowed in (
            ("limit", query.limit(3)),
            ("offset", query.offset(1)),
            ("order_by", query.order_by("id")),
            ("group_by", query.group_by("source")),
        ):
            with pytest.raises(UnsupportedOperationError, match=f"{name}.*k is its limit"):
                windowed.nearest("meaning", [1, 0, 0], 3)
