"""``bulk_insert``: lazy, counted, and all or nothing where there are transactions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from db_plugins import BulkResult, Capability
from db_plugins.errors import DuplicateKeyError, InvalidValueError

from .harness import Connect, requires, subject
from .models import Star
from .samples import STARS

__all__ = ["Bulk"]


@subject("bulk writes", Capability.WRITE)
class Bulk:
    """API §4, ``bulk_insert`` with ``on_conflict="error"``."""

    def test_bulk_insert_counts_and_returns_keys_in_the_order_given(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        result = query.bulk_insert(STARS, return_keys=True)
        assert (result.inserted, result.updated, result.ignored, len(result.keys)) == (7, 0, 0, 7)
        found = query.get_many(result.keys)
        assert [found[k].name for k in result.keys] == [s["name"] for s in STARS]
        assert query.bulk_insert([{"name": "x"}]) == BulkResult(inserted=1)
        assert query.bulk_insert([]) == BulkResult()

    def test_bulk_insert_takes_mappings_and_instances_of_mixed_shape(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        rows = [
            {"name": "a"},
            {"name": "b", "mag": 1},
            Star(name="c", band="V"),
            {"mag": 2, "name": "d"},
            {"name": "e", "id": 50},
        ]
        result = query.bulk_insert(rows, return_keys=True)
        assert result.inserted == 5
        found = query.get_many(result.keys)
        assert [(found[k].name, found[k].mag, found[k].band) for k in result.keys] == [
            ("a", None, None), ("b", 1.0, None), ("c", None, "V"), ("d", 2.0, None), ("e", None, None),
        ]  # fmt: skip

    def test_bulk_insert_reads_a_generator_lazily(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        ahead = 0

        def rows() -> Iterator[dict[str, Any]]:
            nonlocal ahead
            for n in range(5000):
                ahead = max(ahead, n)
                yield {"name": f"s{n}"}
                if n == 2500:
                    raise KeyError("the source broke")

        with pytest.raises(KeyError):
            query.bulk_insert(rows())
        assert ahead == 2500, "rows behind the failing one were read"

    def test_bulk_insert_of_5000_rows_stores_all(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        result = query.bulk_insert(
            ({"name": f"s{n:04}", "mag": n} for n in range(5000)), return_keys=True, batch_size=700
        )
        assert (result.inserted, len(set(result.keys)), query.count()) == (5000, 5000, 5000)
        found = query.get_many(result.keys)
        assert [found[k].mag for k in result.keys] == list(range(5000))

    @requires(Capability.TRANSACTIONS, Capability.UNIQUE)
    def test_bulk_insert_is_all_or_nothing(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        query.insert({"name": "s1500"})
        with pytest.raises(DuplicateKeyError):
            query.bulk_insert({"name": f"s{n}"} for n in range(2000))
        with pytest.raises(DuplicateKeyError):
            query.bulk_insert([{"name": "a"}, {"name": "b", "mag": 1}, {"name": "a"}])
        with pytest.raises(InvalidValueError):
            query.bulk_insert({"name": f"t{n}" if n < 1500 else n} for n in range(2000))
        assert query.count() == 1

    @pytest.mark.parametrize("rows", [None, 1, "ab", {"name": "a"}, [None], [1]])
    def test_bulk_insert_refuses_what_is_no_list_of_rows(self, alarmed: Connect, rows: Any) -> None:
        with pytest.raises(InvalidValueError):
            alarmed(Star).query(Star).bulk_insert(rows)

    @pytest.mark.parametrize("size", [0, -1, 1.5, "10", True])
    def test_a_bad_batch_size_is_refused(self, alarmed: Connect, size: Any) -> None:
        with pytest.raises(InvalidValueError):
            alarmed(Star).query(Star).bulk_insert([{"name": "a"}], batch_size=size)
