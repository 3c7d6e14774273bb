"""Pages of a query: numbered ones, with or without a count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import InvalidValueError

if TYPE_CHECKING:
    from .reading import ReadingVerbs

__all__ = ["Pagination", "check_whole", "make_page"]

M = TypeVar("M")

#: The largest page number times page size that fits every engine's OFFSET.
MAX_OFFSET = 2**31 - 1


@dataclass(frozen=True)
class Pagination(Generic[M]):
    """One page: iterate it, or read ``items``.

    ``total`` (rows) and ``pages`` are ``None`` when the page was made with ``count=False``. A page past the end is
    empty. ``prev()`` and ``next()`` read the neighbouring page, ``None`` where there is none.
    """

    items: list[M]
    page: int
    per_page: int
    total: int | None
    has_next: bool
    _query: ReadingVerbs[M] = field(repr=False, compare=False)
    _max_per_page: int = field(default=1000, repr=False, compare=False)

    @property
    def pages(self) -> int | None:
        """How many pages there are."""
        return None if self.total is None else -(-self.total // self.per_page)

    @property
    def has_prev(self) -> bool:
        return self.page > 1

    @property
    def prev_num(self) -> int | None:
        return self.page - 1 if self.has_prev else None

    @property
    def next_num(self) -> int | None:
        return self.page + 1 if self.has_next else None

    def prev(self) -> Pagination[M] | None:
        """The page before this one."""
        return self._turn(self.prev_num)

    def next(self) -> Pagination[M] | None:
        """The page after this one."""
        return self._turn(self.next_num)

    def _turn(self, page: int | None) -> Pagination[M] | None:
        if page is None:
            return None
        return self._query.paginate(
            page, self.per_page, count=self.total is not None, max_per_page=self._max_per_page
        )

    def __iter__(self) -> Iterator[M]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def make_page(
    query: ReadingVerbs[M], page: int, per_page: int, *, count: bool, max_per_page: int
) -> Pagination[M]:
    """Read one page: one statement for the rows and, with ``count``, one more."""
    check_whole("page", page, 1, None)
    check_whole("max_per_page", max_per_page, 1, None)
    check_whole("per_page", per_page, 1, max_per_page)
    start = (page - 1) * per_page
    if start > MAX_OFFSET:
        raise InvalidValueError(
            f"page is too far: it would skip {start} rows", hint="use cursor_paginate for depth"
        )
    # One row more than asked says whether there is a next page, without a count.
    items = query._window(start, per_page + (0 if count else 1)).all()
    if count:
        total = query.count()
        return Pagination(items, page, per_page, total, start + len(items) < total, query, max_per_page)
    return Pagination(items[:per_page], page, per_page, None, len(items) > per_page, query, max_per_page)


def check_whole(name: str, value: Any, low: int, high: int | None) -> None:
    """Refuse what is not an int within these bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidValueError(f"{name} must be an int, not a value of type {type(value).__name__}")
    if value < low or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        raise InvalidValueError(f"{name} is {value} and must be {bounds}")
