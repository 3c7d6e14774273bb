"""Pages by cursor: complete and without overlap over any order, and nothing that a stranger may tamper with."""

from __future__ import annotations

import base64
import datetime as dt
import json
import uuid
from decimal import Decimal
from typing import Any

import pytest

from db_plugins import Capability, Database
from db_plugins.config.secret import Secret
from db_plugins.errors import InvalidValueError, UnsupportedOperationError

from .harness import Connect, Harness, requires, subject
from .models import Badge, Colour, Pair, Star, Thing

__all__ = ["Cursors"]

ROWS = 23


def walk(query: Any, per_page: int) -> tuple[list[Any], list[Any]]:
    """All rows forwards, and all rows back again, page by page."""
    page = query.cursor_paginate(per_page=per_page)
    assert not page.has_prev
    assert page.prev() is None
    forwards = [*page]
    while page.has_next:
        page = page.next()
        assert 0 < len(page.items) <= per_page
        assert page.has_prev
        forwards += page.items
    assert page.next_cursor is None
    back = [*page]
    while page.has_prev:
        page = page.prev()
        assert page.has_next
        back = [*page, *back]
    return forwards, back


def tampered(cursor: str, **changes: Any) -> str:
    """The cursor with other contents."""
    body = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    body.update(changes)
    return base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")


@subject("cursors")
class Cursors(Harness):
    """``cursor_paginate`` over 23 rows with ties and NULLs."""

    @pytest.fixture
    def tied(self, connect: Connect) -> Database:
        """23 stars: four magnitudes and NULL, two bands and NULL."""
        db = connect(Star)
        bands = ["B", "V", None]
        self.stock(
            db,
            Star,
            [
                {"id": n, "name": f"s{(n * 7) % ROWS:02}", "mag": n % 5 / 3 or None, "band": bands[n % 3]}
                for n in range(1, ROWS + 1)
            ],
        )
        return db

    @pytest.mark.parametrize("per_page", [1, 4, 22, 23, 24])
    def test_pages_by_key_cover_every_row_once_both_ways(self, tied: Database, per_page: int) -> None:
        forwards, back = walk(tied.query(Star), per_page)
        assert [s.id for s in forwards] == [s.id for s in back] == list(range(1, ROWS + 1))

    @pytest.mark.parametrize(
        "order",
        [
            ("mag",),
            ("-mag",),
            ("band", "-mag"),
            ("-band", "mag", "-name"),
            ("-id",),
            ("name",),
            ("mag", "-id"),
            (Star.mag.nulls_last(),),
            (Star.mag.desc().nulls_first(), Star.band.asc().nulls_last()),
            (Star.band.desc().nulls_last(), Star.mag.nulls_last()),
            ("mag", "mag", "-mag"),
        ],
        ids=lambda order: " ".join(str(term) for term in order),
    )
    def test_every_order_is_covered_once_both_ways(self, tied: Database, order: tuple[Any, ...]) -> None:
        query = tied.query(Star).order_by(*order)
        expected = [s.id for s in query.all()]
        for per_page in (1, 3, 10):
            forwards, back = walk(query, per_page)
            assert [s.id for s in forwards] == expected
            assert [s.id for s in back] == expected

    def test_a_filter_is_heeded(self, tied: Database) -> None:
        query = tied.query(Star).filter(Star.mag > 0.5, Star.id > 4).order_by("-band", "-mag")
        forwards, back = walk(query, 2)
        assert [s.id for s in forwards] == [s.id for s in back] == [s.id for s in query.all()]

    def test_a_composite_key_orders_the_pages_by_cursor(self, connect: Connect) -> None:
        db = connect(Pair)
        keys = [(n, r) for n in (2, 1, 3) for r in ("b", "c", "a")]
        self.stock(db, Pair, [{"left": n, "right": r, "note": r} for n, r in keys])
        assert [(p.left, p.right) for p in walk(db.query(Pair), 2)[0]] == sorted(keys)
        mixed = walk(db.query(Pair).order_by("-right"), 2)
        assert [(p.right, p.left) for p in mixed[1]] == [(r, n) for r in "cba" for n in (1, 2, 3)]

    def test_every_kind_of_column_may_order(self, connect: Connect) -> None:
        db = connect(Thing)
        moment = dt.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=dt.UTC)
        rows: list[dict[str, Any]] = []
        for n in range(4):
            rows += [
                {
                    "text": f"é{n} '\"$",
                    "number": n - 2,
                    "big": 2**62 + n,
                    "size": 0.1 * n,
                    "price": Decimal(n) / 8,
                    "flag": n % 2 == 0,
                    "colour": [*Colour, None][n],
                    "letter": ["S", "M", "L", None][n],
                    "at": moment + dt.timedelta(milliseconds=n),
                    "local": moment.replace(tzinfo=None) + dt.timedelta(days=n),
                    "day": moment.date() + dt.timedelta(days=n),
                    "hour": dt.time(n, 30, 1),
                    "token": uuid.UUID(int=n << 100),
                    "raw": bytes([0, n, 255]),
                }
            ] * 2
        self.stock(db, Thing, [{"id": n, **row} for n, row in enumerate([*rows, {}, {}], 1)])
        for column in rows[0]:
            for sign in ("", "-"):
                query = db.query(Thing).order_by(f"{sign}{column}")
                expected = [t.id for t in query.all()]
                forwards, back = walk(query, 3)
                assert [t.id for t in forwards] == expected, (sign, column)
                assert [t.id for t in back] == expected, (sign, column)

    def test_text_keys_of_any_script(self, connect: Connect) -> None:
        db = connect(Badge)
        codes = ["a", "A", "é", "a ", "$x", "\U0001f600", "中", "'", '"', "\\", "%", "_"]
        self.stock(db, Badge, [{"code": c} for c in codes])
        assert [b.code for b in walk(db.query(Badge), 2)[0]] == sorted(codes)

    @requires(Capability.WRITE)
    def test_rows_written_between_two_pages_move_no_others(self, tied: Database) -> None:
        query = tied.query(Star).order_by("-mag")
        everything = [s.id for s in query.all()]
        page = query.cursor_paginate(per_page=5)
        first = [s.id for s in page]
        query = tied.query(Star)
        query.filter(Star.id.in_([first[0], first[-1], everything[6]])).delete()
        query.insert({"name": "before", "mag": 99.0})
        query.insert({"name": "at the end", "mag": None})
        rest = page.next()
        seen: list[Any] = []
        while rest is not None:
            seen += rest.items
            rest = rest.next()
        assert [s.id for s in seen[:-1]] == [n for n in everything[5:] if n != everything[6]]
        assert seen[-1].name == "at the end"

    @requires(Capability.WRITE)
    def test_a_page_whose_rows_are_gone_leads_back(self, tied: Database) -> None:
        page = tied.query(Star).cursor_paginate(per_page=20)
        tied.query(Star).filter(Star.id > 20).delete()
        empty = page.next()
        assert empty is not None
        assert (empty.items, empty.has_next, empty.has_prev) == ([], False, True)
        before = empty.prev()
        assert before is not None
        assert [s.id for s in before] == list(range(1, 21))
        assert (before.has_prev, before.has_next) == (False, True)

    def test_of_no_rows_there_is_one_empty_page(self, tied: Database) -> None:
        page = tied.query(Star).filter(name="none").cursor_paginate()
        assert (page.items, page.has_next, page.has_prev, page.next(), len(page)) == (
            [],
            False,
            False,
            None,
            0,
        )

    def test_a_cursor_is_text_that_works_in_another_process(self, connect: Connect, tied: Database) -> None:
        cursor = tied.query(Star).filter(band="V").order_by("mag").cursor_paginate(per_page=3).next_cursor
        assert isinstance(cursor, str)
        assert cursor.isascii()
        assert not set(cursor) & set("+/=&? ")
        again = tied.query(Star).filter(band="V").order_by("mag").cursor_paginate(cursor, 3)
        assert [s.id for s in again] == [
            s.id for s in tied.query(Star).filter(band="V").order_by("mag").all()[3:6]
        ]

    def test_a_cursor_of_another_query_is_refused(self, tied: Database) -> None:
        cursor = tied.query(Star).order_by("mag").cursor_paginate(per_page=3).next_cursor
        for other in (
            tied.query(Star),
            tied.query(Star).order_by("-mag"),
            tied.query(Star).order_by(Star.mag.nulls_last()),
            tied.query(Star).order_by("name"),
            tied.query(Star).filter(band="V").order_by("mag"),
        ):
            with pytest.raises(InvalidValueError, match="another query"):
                other.cursor_paginate(cursor)
        assert tied.query(Star).order_by("mag").cursor_paginate(cursor, 7).has_prev

    @pytest.mark.parametrize(
        "bad",
        ["", " ", "a", "abc", "e30", "bnVsbA", "W10", "é", "..", "a.b", "A" * 200_000, "'; DROP TABLE kit_star; --",
         5, 1.5, True, b"e30", ["x"], {"$gt": ""}, object()],
        ids=lambda bad: repr(bad)[:20],
    )  # fmt: skip
    def test_what_is_no_cursor_is_refused_before_anything_is_sent(self, alarmed: Connect, bad: Any) -> None:
        with pytest.raises(InvalidValueError):
            alarmed(Star).query(Star).cursor_paginate(bad)

    def test_a_cursor_with_other_values_is_checked_like_a_filter(self, tied: Database) -> None:
        query = tied.query(Star).order_by("mag")
        cursor = query.cursor_paginate(per_page=3).next_cursor
        assert cursor is not None
        assert query.cursor_paginate(tampered(cursor, k=["0.5", 7])).has_prev
        changes: dict[str, Any]
        for changes in (
            {"k": ["0.5", "7"]}, {"k": ["0.5", None]}, {"k": ["0.5"]}, {"k": ["0.5", 7, 8]}, {"k": [{"$gt": ""}, 7]}, {"k": ["x", 7]},
            {"k": [0.5, 7]}, {"k": ["0.5", True]}, {"k": ["0.5", 2**64]}, {"k": "x"}, {"k": {}}, {"k": None},
            {"d": "sideways"}, {"d": None}, {"d": ["after"]}, {"q": "x"}, {"q": None}, {"more": 1},
        ):  # fmt: skip
            with pytest.raises(InvalidValueError):
                query.cursor_paginate(tampered(cursor, **changes))

    def test_a_secret_signs_the_cursors(self, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CURSOR_SECRET", raising=False)
        plain = connect(Star)
        self.stock(plain, Star, [{"id": n, "name": f"s{n}"} for n in range(1, 6)])
        unsigned = plain.query(Star).cursor_paginate(per_page=2).next_cursor

        def sign_with(text: str) -> None:
            object.__setattr__(plain._engine.settings, "cursor_secret", Secret(text))

        sign_with("one")
        page = plain.query(Star).cursor_paginate(per_page=2)
        cursor = page.next_cursor
        assert cursor is not None
        assert [s.id for s in plain.query(Star).cursor_paginate(cursor, 2)] == [3, 4]
        text, _dot, signature = cursor.partition(".")
        for bad in (
            unsigned,
            text,
            f"{text}.",
            f"{text}.{signature[:-2]}",
            f"{text}.{signature}.",
            f"A{text}.{signature}",
        ):
            with pytest.raises(InvalidValueError, match="signature"):
                plain.query(Star).cursor_paginate(bad)
        sign_with("another")
        with pytest.raises(InvalidValueError, match="signature"):
            plain.query(Star).cursor_paginate(cursor)

    @pytest.mark.parametrize(
        "bad", [{"per_page": 0}, {"per_page": -1}, {"per_page": 1001}, {"per_page": "10"}, {"per_page": True},
                {"per_page": None}, {"per_page": 11, "max_per_page": 10}, {"max_per_page": 0}]
    )  # fmt: skip
    def test_a_bad_size_is_refused_before_anything_is_sent(
        self, alarmed: Connect, bad: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidValueError):
            alarmed(Star).query(Star).cursor_paginate(None, **bad)

    def test_a_window_is_refused(self, alarmed: Connect) -> None:
        for query in (alarmed(Star).query(Star).limit(5), alarmed(Star).query(Star).offset(5)):
            with pytest.raises(UnsupportedOperationError, match="limit"):
                query.cursor_paginate()
