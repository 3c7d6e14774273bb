"""``AsyncBaseQuery``: the verbs of ``BaseQuery``, awaited, and its pages.

Each method runs the BaseQuery's own; a test compares the members and their parameters. What they do, and their errors, are
told there: ``help(AsyncBaseQuery.get)`` shows it here too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast, overload

from ..awaiting import iterated
from . import BaseQuery
from .cursors import CursorPage
from .pages import Pagination

if TYPE_CHECKING:
    from typing import Self

    import pandas as pd  # type: ignore[import-untyped]
    import pyarrow as pa  # type: ignore[import-untyped]
    from pydantic import BaseModel

    from ..engine import BulkResult
    from ..turns import Way
    from .framed import ArrowStream
    from .nearest import Metric

__all__ = ["AsyncBaseQuery", "AsyncCursorPage", "AsyncPagination", "share_documentation"]

M = TypeVar("M")
T = TypeVar("T")


class AsyncBaseQuery(Generic[M]):
    """A query whose reads and writes are awaited; building it is not."""

    __slots__ = ("_query", "_run")

    def __init__(self, run: Way, query: BaseQuery[M]) -> None:
        self._run = run
        self._query = query

    # -- building --------------------------------------------------------------------------------------------------

    def _over(self, query: BaseQuery[M]) -> Self:
        return type(self)(self._run, query)

    def filter(self, *expressions: Any, **equals: Any) -> Self:
        return self._over(self._query.filter(*expressions, **equals))

    def filter_native(self, condition: Any) -> Self:
        return self._over(self._query.filter_native(condition))

    def order_by(self, *columns: Any, allow: Collection[Any] | None = None) -> Self:
        return self._over(self._query.order_by(*columns, allow=allow))

    def limit(self, n: int) -> Self:
        return self._over(self._query.limit(n))

    def offset(self, n: int) -> Self:
        return self._over(self._query.offset(n))

    def include(self, *relationships: Any) -> Self:
        return self._over(self._query.include(*relationships))

    def join(self, *relationships: Any, outer: bool = False) -> Self:
        return self._over(self._query.join(*relationships, outer=outer))

    def group_by(self, *columns: Any) -> AsyncGroupedQuery[M]:
        return cast("AsyncGroupedQuery[M]", self._over(self._query.group_by(*columns)))

    def explain(self) -> str:
        return self._query.explain()

    # -- reading ---------------------------------------------------------------------------------------------------

    async def get(self, key: Any) -> M | None:
        return await self._run(self._query.get, key)

    async def get_many(self, keys: Iterable[Any]) -> dict[Any, M]:
        return await self._run(self._query.get_many, keys)

    async def first(self) -> M | None:
        return await self._run(self._query.first)

    async def one(self) -> M:
        return await self._run(self._query.one)

    async def one_or_none(self) -> M | None:
        return await self._run(self._query.one_or_none)

    async def all(self) -> list[M]:
        return await self._run(self._query.all)

    async def to_dicts(self, *columns: Any) -> list[dict[str, Any]]:
        return await self._run(self._query.to_dicts, *columns)

    @overload
    def stream(self, *, batch_size: int = 1000) -> AsyncGenerator[M, None]: ...
    @overload
    def stream(
        self, column: Any, /, *columns: Any, batch_size: int = 1000
    ) -> AsyncGenerator[dict[str, Any], None]: ...
    def stream(self, *columns: Any, batch_size: int = 1000) -> AsyncGenerator[Any, None]:
        """An asynchronous iterator of objects, or of dicts when columns (or names) are given, in constant memory.

        The rows come from the server ``batch_size`` at a time. A connection is held until the iterator is exhausted or
        closed (``contextlib.aclosing``). Raises InvalidValueError for a size outside 1 to 1,000,000.

            async for star in db.query(Star).stream(): ...
        """
        return _each(self._run, self._query._parts(columns, batch_size))

    async def to_arrow(self, *columns: Any) -> pa.Table:
        return await self._run(self._query.to_arrow, *columns)

    async def to_pandas(self, *columns: Any) -> pd.DataFrame:
        return await self._run(self._query.to_pandas, *columns)

    async def count(self) -> int:
        return await self._run(self._query.count)

    async def exists(self) -> bool:
        return await self._run(self._query.exists)

    async def paginate(
        self, page: int = 1, per_page: int = 10, *, count: bool = True, max_per_page: int = 1000
    ) -> AsyncPagination[M]:
        read = self._query.paginate
        return AsyncPagination(
            await self._run(lambda: read(page, per_page, count=count, max_per_page=max_per_page)), self._run
        )

    async def cursor_paginate(
        self, cursor: str | None = None, per_page: int = 10, *, max_per_page: int = 1000
    ) -> AsyncCursorPage[M]:
        read = self._query.cursor_paginate
        return AsyncCursorPage(
            await self._run(lambda: read(cursor, per_page, max_per_page=max_per_page)), self._run
        )

    async def nearest(
        self, column: Any, vector: Any, k: int, metric: Metric = "cosine"
    ) -> list[tuple[M, float]]:
        return await self._run(self._query.nearest, column, vector, k, metric)

    async def aggregate(self, /, **terms: Any) -> dict[str, Any]:
        return await self._run(lambda: self._query.aggregate(**terms))

    # -- writing ---------------------------------------------------------------------------------------------------

    async def insert(self, row: M | Mapping[str, Any] | BaseModel) -> M:
        return await self._run(self._query.insert, row)

    async def bulk_insert(
        self,
        rows: Iterable[Any] | AsyncIterable[Any] | ArrowStream,
        *,
        on_conflict: Literal["error", "ignore", "update"] = "error",
        key: Any = None,
        update: Any = None,
        atomic: bool | None = None,
        return_keys: bool = False,
        batch_size: int | None = None,
    ) -> BulkResult:
        """As ``BaseQuery.bulk_insert``; ``rows`` may be an asynchronous iterable, too."""
        insert = partial(
            self._query.bulk_insert,
            on_conflict=on_conflict,
            key=key,
            update=update,
            atomic=atomic,
            return_keys=return_keys,
            batch_size=batch_size,
        )
        return await self._run(_with_rows, insert, rows)

    async def upsert(self, row: M | Mapping[str, Any] | BaseModel, *, key: Any = None) -> M:
        return await self._run(lambda: self._query.upsert(row, key=key))

    async def get_or_create(self, filter_by: Mapping[str, Any], /, **defaults: Any) -> tuple[M, bool]:
        return await self._run(lambda: self._query.get_or_create(filter_by, **defaults))

    @overload
    async def update(self, values: Mapping[str, Any], /, *, force: bool = False) -> int: ...
    @overload
    async def update(self, row: M, values: Mapping[str, Any] | BaseModel | None = None, /) -> M: ...
    async def update(self, first: Any, values: Any = None, /, *, force: bool = False) -> Any:
        return await self._run(lambda: self._query.update(first, values, force=force))  # type: ignore[call-overload]

    async def bulk_update(
        self,
        rows: Iterable[Any] | AsyncIterable[Any] | ArrowStream,
        *,
        key: Any = None,
        batch_size: int | None = None,
    ) -> int:
        """As ``BaseQuery.bulk_update``; ``rows`` may be an asynchronous iterable, too."""
        write = partial(self._query.bulk_update, key=key, batch_size=batch_size)
        return await self._run(_with_rows, write, rows)

    @overload
    async def delete(self, *, force: bool = False) -> int: ...
    @overload
    async def delete(self, row: M, /) -> bool: ...
    async def delete(self, *rows: Any, force: bool = False) -> int | bool:
        return await self._run(lambda: self._query.delete(*rows, force=force))


if TYPE_CHECKING:

    class AsyncGroupedQuery(AsyncBaseQuery[M]):
        """What ``group_by`` gives, to type checkers."""

        async def aggregate(self, /, **terms: Any) -> list[dict[str, Any]]:  # type: ignore[override]
            """One dict for each group."""


def _with_rows(write: Callable[[Any], T], rows: Any) -> T:
    """What a write gives of the rows, which may have to be awaited."""
    if isinstance(rows, Iterable) or not isinstance(rows, AsyncIterable):
        return write(rows)
    with closing(iterated(rows)) as waited:
        return write(waited)


async def _each(run: Way, parts: Any) -> AsyncGenerator[Any, None]:
    """The items of the parts, each part waited for; the connection is given back however this ends."""
    try:
        while (part := await run(next, parts, None)) is not None:
            for item in part:
                yield item
    finally:
        await run(parts.close)


# -- pages -------------------------------------------------------------------------------------------------------------


class _Page(Generic[M]):
    """The items of a page."""

    items: list[M]

    def __iter__(self) -> Iterator[M]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


class AsyncPagination(_Page[M]):
    """One numbered page: as ``Pagination``, whose ``prev()`` and ``next()`` are awaited."""

    def __init__(self, page: Pagination[M], run: Way) -> None:
        self._page = page
        self._run = run
        self.items = page.items
        self.page = page.page
        self.per_page = page.per_page
        self.total = page.total
        self.pages = page.pages
        self.has_prev = page.has_prev
        self.has_next = page.has_next
        self.prev_num = page.prev_num
        self.next_num = page.next_num

    async def prev(self) -> AsyncPagination[M] | None:
        return self._turned(await self._run(self._page.prev))

    async def next(self) -> AsyncPagination[M] | None:
        return self._turned(await self._run(self._page.next))

    def _turned(self, page: Pagination[M] | None) -> AsyncPagination[M] | None:
        return None if page is None else AsyncPagination(page, self._run)


class AsyncCursorPage(_Page[M]):
    """One page by cursor: as ``CursorPage``, whose ``prev()`` and ``next()`` are awaited."""

    def __init__(self, page: CursorPage[M], run: Way) -> None:
        self._page = page
        self._run = run
        self.items = page.items
        self.next_cursor = page.next_cursor
        self.prev_cursor = page.prev_cursor
        self.has_next = page.has_next
        self.has_prev = page.has_prev

    async def prev(self) -> AsyncCursorPage[M] | None:
        return self._turned(await self._run(self._page.prev))

    async def next(self) -> AsyncCursorPage[M] | None:
        return self._turned(await self._run(self._page.next))

    def _turned(self, page: CursorPage[M] | None) -> AsyncCursorPage[M] | None:
        return None if page is None else AsyncCursorPage(page, self._run)


def share_documentation(ours: type, theirs: type) -> None:
    """Give each member without words of its own those of its synchronous twin."""
    for name, member in vars(ours).items():
        twin = getattr(theirs, name, None)
        is_told = callable(member) or isinstance(member, property)
        if is_told and not name.startswith("_") and member.__doc__ is None and twin is not None:
            member.__doc__ = twin.__doc__


share_documentation(AsyncBaseQuery, BaseQuery)
share_documentation(AsyncPagination, Pagination)
share_documentation(AsyncCursorPage, CursorPage)
