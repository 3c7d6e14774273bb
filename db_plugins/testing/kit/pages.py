"""Numbered pages: complete, without overlap, and the same after an update."""

from __future__ import annotations

from typing import Any

import pytest

from db_plugins import Capability, Database, Pagination
from db_plugins.errors import InvalidValueError

from .harness import Connect, Harness, requires, subject
from .models import Pair, Star

__all__ = ["Pages"]

ROWS = 25


@subject("pages")
class Pages(Harness):
    """``paginate`` over 25 rows, ten a page."""

    @pytest.fixture
    def twenty_five(self, connect: Connect) -> Database:
        """25 stars of five magnitudes, two of them without."""
        db = connect(Star)
        self.stock(
            db,
            Star,
            [
                {"id": n, "name": f"s{n:02}", "mag": None if n % 10 == 9 else n % 5}
                for n in range(1, ROWS + 1)
            ],
        )
        return db

    def test_25_rows_are_10_10_and_5(self, twenty_five: Database) -> None:
        page: Pagination[Star] | None = twenty_five.query(Star).paginate()
        seen: list[int] = []
        facts = []
        while page is not None:
            seen += [star.id for star in page]
            facts.append(
                (
                    page.page,
                    len(page.items),
                    page.total,
                    page.pages,
                    page.has_prev,
                    page.has_next,
                    page.prev_num,
                    page.next_num,
                )
            )
            page = page.next()
        assert facts == [
            (1, 10, 25, 3, False, True, None, 2),
            (2, 10, 25, 3, True, True, 1, 3),
            (3, 5, 25, 3, True, False, 2, None),
        ]
        assert seen == list(range(1, ROWS + 1))

    def test_without_a_count_total_and_pages_are_none_and_has_next_is_true_or_false(
        self, twenty_five: Database
    ) -> None:
        pages = [twenty_five.query(Star).paginate(n, 10, count=False) for n in (1, 2, 3, 4)]
        assert [(p.total, p.pages, p.has_next, len(p.items)) for p in pages] == [
            (None, None, True, 10), (None, None, True, 10), (None, None, False, 5), (None, None, False, 0),
        ]  # fmt: skip
        exact = twenty_five.query(Star).paginate(5, 5, count=False)
        assert (len(exact.items), exact.has_next, exact.next()) == (5, False, None)

    def test_prev_and_next_turn_the_page(self, twenty_five: Database) -> None:
        second = twenty_five.query(Star).order_by("-id").paginate(2, 10)
        assert [s.id for s in second.items] == list(range(15, 5, -1))
        before, after = second.prev(), second.next()
        assert before is not None
        assert after is not None
        assert ([s.id for s in before][:2], [s.id for s in after]) == ([25, 24], [5, 4, 3, 2, 1])
        assert before.prev() is None
        assert after.next() is None

    def test_a_page_past_the_end_is_empty(self, twenty_five: Database) -> None:
        page = twenty_five.query(Star).paginate(9, 10)
        assert (page.items, page.total, page.pages, page.has_next, page.has_prev) == ([], 25, 3, False, True)

    def test_of_no_rows_there_are_no_pages(self, twenty_five: Database) -> None:
        page = twenty_five.query(Star).filter(name="none").paginate()
        assert (page.items, page.total, page.pages, page.has_next) == ([], 0, 0, False)

    def test_filter_order_and_window_are_heeded(self, twenty_five: Database) -> None:
        page = twenty_five.query(Star).filter(Star.mag == 3).order_by("-name").paginate(1, 3)
        assert ([s.name for s in page], page.total, page.pages) == (["s23", "s18", "s13"], 5, 2)
        windowed = twenty_five.query(Star).offset(3).limit(15).paginate(2, 10)
        assert ([s.id for s in windowed], windowed.total, windowed.has_next) == (
            [14, 15, 16, 17, 18],
            15,
            False,
        )

    @pytest.mark.parametrize(
        "bad", [{"page": 0}, {"page": -1}, {"page": "1"}, {"page": 1.0}, {"page": True}, {"page": None}, {"page": 2**62}, {"per_page": 0},
                {"per_page": -5}, {"per_page": 1001}, {"per_page": "10"}, {"per_page": True}, {"per_page": 11, "max_per_page": 10}]
    )  # fmt: skip
    def test_a_bad_number_is_refused_before_anything_is_sent(
        self, alarmed: Connect, bad: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidValueError):
            alarmed(Star).query(Star).paginate(**bad)

    def test_max_per_page_may_be_raised(self, twenty_five: Database) -> None:
        assert len(twenty_five.query(Star).paginate(1, 5000, max_per_page=5000)) == ROWS

    def test_pages_cover_every_row_once_with_ties_and_nulls(self, twenty_five: Database) -> None:
        for term in ("mag", "-mag", "band"):
            seen = [s.id for n in range(1, 8) for s in twenty_five.query(Star).order_by(term).paginate(n, 4)]
            assert sorted(seen) == list(range(1, ROWS + 1)), term

    @requires(Capability.WRITE)
    def test_pages_stay_the_same_after_updates_of_other_columns(self, twenty_five: Database) -> None:
        def keys() -> list[int]:
            return [
                s.id for n in range(1, 4) for s in twenty_five.query(Star).order_by("mag").paginate(n, 10)
            ]

        before = keys()
        for key in (7, 1, 20):
            twenty_five.query(Star).filter(id=key).update({"band": "X"})
        twenty_five.query(Star).filter(Star.id > 15).update({"band": "Y"})
        assert keys() == before
        assert [s.id for n in (1, 2, 3) for s in twenty_five.query(Star).paginate(n, 10)] == list(
            range(1, ROWS + 1)
        )

    def test_a_composite_key_orders_the_pages(self, connect: Connect) -> None:
        db = connect(Pair)
        keys = [(n, r) for n in (2, 1, 3) for r in ("b", "c", "a")]
        self.stock(db, Pair, [{"left": n, "right": r} for n, r in keys])
        assert [(p.left, p.right) for n in (1, 2, 3) for p in db.query(Pair).paginate(n, 4)] == sorted(keys)
