"""A program on ``connect``: what a type checker knows of each value, and what it refuses."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, assert_type

from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.orm import Session

import db_plugins
from db_plugins import (
    BaseQuery,
    BulkResult,
    CursorPage,
    Database,
    Health,
    Pagination,
    StatementEvent,
    and_,
    connect,
    func,
)
from db_plugins.models import schemas

from .models import Hero, Planet, Star


def connecting() -> None:
    assert_type(connect(), Database)
    assert_type(db_plugins.connect("archive", settings=Path("settings.py")), Database)
    assert_type(connect({"ENGINE": "sqlite"}, models=[Star, "app.models:Hero"]), Database)
    with connect("sqlite://") as db:
        assert_type(db, Database)
    connect(7)  # type: ignore[arg-type]
    connect("sqlite://", models=Star)  # type: ignore[arg-type]
    connect("sqlite://", models=[Star(name="Vega")])  # type: ignore[list-item]
    connect(engine="sqlite")  # type: ignore[call-arg]


def building(db: Database) -> None:
    query = db.query(Star)
    assert_type(query, BaseQuery[Star])
    assert_type(query.filter(Star.mag < 6, name="Vega"), BaseQuery[Star])
    assert_type(
        query.filter(and_(Star.mag < 6, Star.name.like("V%"))).order_by("-mag").limit(3).offset(1),
        BaseQuery[Star],
    )
    assert_type(query.include(Star.planets, Planet.star), BaseQuery[Star])
    assert_type(query.join(Star.planets, outer=True), BaseQuery[Star])
    assert_type(query.filter_native(text("mag < 6")), BaseQuery[Star])
    assert_type(db.query(Hero).filter(Hero.name == "Ann"), BaseQuery[Hero])
    db.query("Star")  # type: ignore[arg-type]
    db.query(Star(name="Vega"))  # type: ignore[arg-type]
    query.limit("3")  # type: ignore[arg-type]
    query.offset(1.5)  # type: ignore[arg-type]
    query.where(Star.mag < 6)  # type: ignore[attr-defined]


def reading(query: BaseQuery[Star]) -> None:
    assert_type(query.get(1), Star | None)
    assert_type(query.get_many([1, 2]), dict[Any, Star])
    assert_type(query.first(), Star | None)
    assert_type(query.one(), Star)
    assert_type(query.one_or_none(), Star | None)
    assert_type(query.all(), list[Star])
    assert_type(query.one().mag, float | None)
    assert_type(query.to_dicts(Star.name), list[dict[str, Any]])
    assert_type(query.stream(), Generator[Star, None, None])
    assert_type(query.stream(batch_size=50), Generator[Star, None, None])
    assert_type(query.stream(Star.name, "mag"), Generator[dict[str, Any], None, None])
    assert_type(query.count(), int)
    assert_type(query.exists(), bool)
    assert_type(query.nearest(Star.place, [0.0, 1.0], k=5, metric="l2"), list[tuple[Star, float]])
    assert_type(query.explain(), str)
    query.to_arrow(Star.name).num_rows
    query.to_pandas("name").shape
    query.get(1).name  # type: ignore[union-attr]
    query.first().name  # type: ignore[union-attr]
    query.stream(Star.name, batch_size="all")  # type: ignore[call-overload]
    query.nearest(Star.place, [0.0, 1.0], k=5, metric="euclid")  # type: ignore[arg-type]


def pages(query: BaseQuery[Star]) -> None:
    page = query.paginate(page=2, per_page=20)
    assert_type(page, Pagination[Star])
    assert_type(page.items, list[Star])
    assert_type(page.total, int | None)
    assert_type(page.next(), Pagination[Star] | None)
    assert_type(page.prev_num, int | None)
    assert_type(list(page), list[Star])
    by_cursor = query.cursor_paginate(None, per_page=20)
    assert_type(by_cursor, CursorPage[Star])
    assert_type(by_cursor.items, list[Star])
    assert_type(by_cursor.next_cursor, str | None)
    assert_type(by_cursor.next(), CursorPage[Star] | None)
    query.paginate("2")  # type: ignore[arg-type]
    query.cursor_paginate(7)  # type: ignore[arg-type]


def aggregates(query: BaseQuery[Star]) -> None:
    assert_type(query.aggregate(n=func.count()), dict[str, Any])
    assert_type(query.group_by(Star.name).aggregate(n=func.count()), list[dict[str, Any]])
    assert_type(
        query.group_by("name").order_by("-n").limit(3).aggregate(n=func.count()), list[dict[str, Any]]
    )


def writing(query: BaseQuery[Star], planets: BaseQuery[Planet], vega: Star) -> None:
    class NewStar(BaseModel):
        name: str

    assert_type(query.insert(vega), Star)
    assert_type(query.insert({"name": "Vega"}), Star)
    assert_type(query.insert(NewStar(name="Vega")), Star)
    assert_type(query.bulk_insert([vega, {"name": "Deneb"}], on_conflict="ignore", key=Star.name), BulkResult)
    assert_type(query.upsert({"name": "Vega", "mag": 0.03}, key="name"), Star)
    assert_type(query.get_or_create({"name": "Vega"}, mag=0.03), tuple[Star, bool])
    assert_type(query.filter(Star.mag > 6).update({"mag": None}), int)
    assert_type(query.update({"mag": Star.mag + 1}, force=True), int)
    assert_type(query.update(vega), Star)
    assert_type(query.update(vega, {"mag": 0.03}), Star)
    assert_type(query.update(vega, NewStar(name="Vega")), Star)
    assert_type(query.bulk_update([{"id": 1, "mag": 0.5}]), int)
    assert_type(query.filter(Star.mag > 6).delete(), int)
    assert_type(query.delete(vega), bool)
    planets.insert(vega)  # type: ignore[arg-type]
    planets.upsert(vega)  # type: ignore[arg-type]
    planets.update(vega)  # type: ignore[call-overload]
    planets.delete(vega)  # type: ignore[call-overload]
    query.insert("Vega")  # type: ignore[arg-type]
    query.insert(name="Vega")  # type: ignore[call-arg]
    query.update(vega, 7)  # type: ignore[call-overload]
    query.update(vega, force=True)  # type: ignore[call-overload]
    query.get_or_create("Vega")  # type: ignore[arg-type]
    query.bulk_insert(7)  # type: ignore[arg-type]
    query.bulk_insert([vega], on_conflict="replace")  # type: ignore[arg-type]
    query.delete(True)  # type: ignore[call-overload]


def transactions(db: Database) -> None:
    with db.transaction(isolation="serializable") as tx:
        assert_type(tx, Database)
        assert_type(tx.query(Star).one(), Star)

    def count(tx: Database) -> int:
        return tx.query(Star).count()

    assert_type(db.run_transaction(count, retries=3), int)
    assert_type(db.run_transaction(lambda tx: tx.query(Star).first()), Star | None)
    with db.session() as session:
        assert_type(session, Session)
    db.transaction(isolation="chaos")  # type: ignore[arg-type]
    db.run_transaction(count, retries="3")  # type: ignore[arg-type]
    db.run_transaction(lambda: 1)  # type: ignore[misc, arg-type]


def the_rest(db: Database) -> None:
    assert_type(db.ping(), Health)
    assert_type(db.ping().latency, float)
    assert_type(db.name, str)

    def listen(event: StatementEvent) -> None:
        assert_type(event.seconds, float)

    db.on_statement(listen)()
    db.on_statement(print)()
    db.on_statement(7)  # type: ignore[arg-type]


def models_of_pydantic(query: BaseQuery[Star]) -> None:
    star_create, star_update, star_read = schemas(Star, exclude=["place"])
    assert_type(star_read, type[BaseModel])
    assert_type(query.insert(star_create(name="Vega")), Star)
    assert_type(query.update(query.one(), star_update(mag=None)), Star)
    schemas(Star, exclude=7)  # type: ignore[arg-type]


def own_functions(db: Database) -> Iterator[str]:
    def bright(query: BaseQuery[Star]) -> Sequence[Star]:
        return query.filter(Star.mag < 3).all()

    for star in bright(db.query(Star)):
        yield star.name
    bright(db.query(Planet))  # type: ignore[arg-type]
