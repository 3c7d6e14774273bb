"""A program on ``connect_async``: the same types, awaited, and what a type checker refuses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, assert_type

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from db_plugins import (
    AsyncBaseQuery,
    AsyncCursorPage,
    AsyncDatabase,
    AsyncPagination,
    BulkResult,
    Health,
    connect_async,
    func,
)

from .models import Planet, Star


async def connecting() -> None:
    async with connect_async("sqlite://", models=[Star]) as db:
        assert_type(db, AsyncDatabase)
        assert_type(db.query(Star), AsyncBaseQuery[Star])
        assert_type(await db.ping(), Health)
    connect_async(models=Star)  # type: ignore[arg-type]


async def reading(query: AsyncBaseQuery[Star]) -> None:
    assert_type(query.filter(Star.mag < 6).order_by("-mag").limit(3), AsyncBaseQuery[Star])
    assert_type(query.include(Star.planets).offset(1), AsyncBaseQuery[Star])
    assert_type(query.join(Star.planets, outer=True), AsyncBaseQuery[Star])
    assert_type(query.filter_native(text("mag < 6")), AsyncBaseQuery[Star])
    assert_type(query.explain(), str)
    (await query.to_arrow(Star.name)).num_rows
    (await query.to_pandas("name")).shape
    assert_type(await query.get(1), Star | None)
    assert_type(await query.get_many([1, 2]), dict[Any, Star])
    assert_type(await query.first(), Star | None)
    assert_type(await query.one(), Star)
    assert_type(await query.one_or_none(), Star | None)
    assert_type(await query.all(), list[Star])
    assert_type(await query.to_dicts("name"), list[dict[str, Any]])
    assert_type(await query.count(), int)
    assert_type(await query.exists(), bool)
    assert_type(await query.nearest(Star.place, [0.0, 1.0], k=5), list[tuple[Star, float]])
    assert_type(await query.aggregate(n=func.count()), dict[str, Any])
    assert_type(await query.group_by(Star.name).aggregate(n=func.count()), list[dict[str, Any]])
    assert_type(query.stream(), AsyncGenerator[Star, None])
    assert_type(query.stream(Star.name), AsyncGenerator[dict[str, Any], None])
    async for star in query.stream(batch_size=50):
        assert_type(star, Star)
    for _star in query.stream():  # type: ignore[attr-defined]
        pass
    query.one().name  # type: ignore[attr-defined]


async def pages(query: AsyncBaseQuery[Star]) -> None:
    page = await query.paginate(page=2, per_page=20)
    assert_type(page, AsyncPagination[Star])
    assert_type(page.items, list[Star])
    assert_type(page.total, int | None)
    assert_type(await page.next(), AsyncPagination[Star] | None)
    by_cursor = await query.cursor_paginate()
    assert_type(by_cursor, AsyncCursorPage[Star])
    assert_type(by_cursor.items, list[Star])
    assert_type(await by_cursor.next(), AsyncCursorPage[Star] | None)


async def writing(query: AsyncBaseQuery[Star], planets: AsyncBaseQuery[Planet], vega: Star) -> None:
    async def made() -> AsyncIterator[dict[str, Any]]:
        yield {"name": "Vega"}

    assert_type(await query.insert(vega), Star)
    assert_type(await query.insert({"name": "Vega"}), Star)
    assert_type(await query.bulk_insert([vega]), BulkResult)
    assert_type(await query.bulk_insert(made(), on_conflict="update", key="name"), BulkResult)
    assert_type(await query.upsert({"name": "Vega"}, key="name"), Star)
    assert_type(await query.get_or_create({"name": "Vega"}, mag=0.03), tuple[Star, bool])
    assert_type(await query.update({"mag": None}, force=True), int)
    assert_type(await query.update(vega, {"mag": 0.03}), Star)
    assert_type(await query.bulk_update([{"id": 1, "mag": 0.5}]), int)
    assert_type(await query.delete(force=True), int)
    assert_type(await query.delete(vega), bool)
    await planets.insert(vega)  # type: ignore[arg-type]
    await planets.update(vega)  # type: ignore[call-overload]
    await planets.delete(vega)  # type: ignore[call-overload]
    await query.bulk_insert([vega], on_conflict="replace")  # type: ignore[arg-type]


async def transactions(db: AsyncDatabase) -> None:
    async with db.transaction() as tx:
        assert_type(tx, AsyncDatabase)
        assert_type(await tx.query(Star).one(), Star)

    async def count(tx: AsyncDatabase) -> int:
        return await tx.query(Star).count()

    assert_type(await db.run_transaction(count), int)
    async with db.session() as session:
        assert_type(session, AsyncSession)
    with db.transaction():  # type: ignore[attr-defined]
        pass
    await db.run_transaction(lambda tx: 1)  # type: ignore[arg-type, return-value]
