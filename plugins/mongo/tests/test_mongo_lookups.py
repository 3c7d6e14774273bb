"""The stages that joins, ``any`` and ``has`` become: indexed look-ups, guarded against missing fields."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo import monitoring
from shop import Item, Shop

import db_plugins
from db_plugins import Database, and_, func, not_, or_
from db_plugins.testing.kit.related import Card, Club, Guest, Person, Room

FIRST = [{"$limit": 1}, {"$project": {"_id": 1}}]
THERE = {"$exists": True}


@pytest.fixture
def db() -> Database:
    """Compiles; nothing is connected."""
    return db_plugins.connect(
        "mongodb://localhost/none", models=[Shop, Item, Person, Club, Card, Room, Guest]
    )


def stages(query: Any) -> list[dict[str, Any]]:
    """All stages but the last, which is the projection."""
    compiled = query._runner.engine.compile(query._spec)
    assert compiled.is_whole
    assert compiled.read_only
    found: list[dict[str, Any]] = compiled.native.pipeline()
    return found[:-1]


def lookup(into: str, source: str, **words: Any) -> dict[str, Any]:
    """One stage."""
    return {"$lookup": {"from": source, **words, "as": into}}


def test_any_looks_for_one_document_after_what_needs_no_look_up(db: Database) -> None:
    query = db.query(Shop).filter(Shop.items.any(Item.count > 5), Shop.id > 1)
    inside = [{"$match": {"shop_id": {"$ne": None}}}, {"$match": {"count": {"$gt": 5}}}, *FIRST]
    assert stages(query) == [
        {"$match": {"_id": {"$gt": 1}}},
        lookup("dbp_e0", "item", localField="_id", foreignField="shop_id", pipeline=inside),
        {"$match": {"dbp_e0.0": THERE}},
    ]


def test_has_needs_no_guard_for_a_key_is_never_missing(db: Database) -> None:
    assert stages(db.query(Item).filter(~Item.shop.has())) == [
        {"$match": {}},
        lookup("dbp_e0", "shop", localField="shop_id", foreignField="_id", pipeline=FIRST),
        {"$match": {"dbp_e0.0": {"$exists": False}}},
    ]


def test_columns_outside_are_variables(db: Database) -> None:
    nested = Shop.items.any(and_(Item.count > Shop.id, Item.shop.has(Shop.id < Item.small)))
    (_, outer, _) = stages(db.query(Shop).filter(nested))
    assert outer["$lookup"]["let"] == {"dbp0_0": "$_id"}
    first, plain, inner, _, *_ = outer["$lookup"]["pipeline"]
    assert first == {"$match": {"shop_id": {"$ne": None}}}
    greater = {"$gt": ["$count", "$$dbp0_0"]}
    assert plain == {"$match": {"$expr": {"$and": [{"$gt": ["$$dbp0_0", None]}, greater]}}}
    assert inner["$lookup"]["let"] == {"dbp1_0": "$small"}
    less = {"$lt": ["$_id", "$$dbp1_0"]}
    assert inner["$lookup"]["pipeline"][0] == {"$match": {"$expr": {"$and": [{"$gt": ["$_id", None]}, less]}}}


def test_a_variable_of_a_look_up_further_out_is_seen_inside(db: Database) -> None:
    query = db.query(Club).filter(Club.members.any(Person.card.has(Card.number > Club.id)))
    (_, outer, _) = stages(query)
    assert outer["$lookup"]["let"] == {"dbp0_0": "$_id"}
    person = outer["$lookup"]["pipeline"][1]["$lookup"]
    assert "let" not in person
    card = person["pipeline"][0]["$lookup"]
    assert "let" not in card
    assert "$$dbp0_0" in str(card["pipeline"])


def test_what_is_asked_in_an_or_is_looked_up_before(db: Database) -> None:
    query = db.query(Shop).filter(or_(Shop.items.any(), not_(Shop.items.any(Item.count == 1)), Shop.id == 1))
    found = stages(query)
    assert [list(stage) for stage in found] == [["$match"], ["$lookup"], ["$lookup"], ["$match"]]
    assert found[-1] == {
        "$match": {"$or": [{"dbp_e0.0": THERE}, {"dbp_e1.0": {"$exists": False}}, {"_id": 1}]}
    }


def test_a_join_is_a_look_up_unwound(db: Database) -> None:
    query = db.query(Item).join(Item.shop).filter(Shop.name == "a", Item.count == 1).order_by(Shop.name)
    assert stages(query) == [
        {"$match": {"count": {"$eq": 1}}},
        lookup("dbp_j0", "shop", localField="shop_id", foreignField="_id"),
        {"$unwind": "$dbp_j0"},
        {"$match": {"dbp_j0.name": {"$eq": "a"}}},
        {"$sort": {"dbp_j0.name": 1}},
    ]
    compiled = db._engine.compile(query._spec)
    assert compiled.native.projection["c0"] == "$_id"


def test_an_outer_join_through_a_link_table_matches_both_hops_inside(db: Database) -> None:
    inside = [
        {"$match": {"person": {"$ne": None}}},
        lookup("dbp_t", "kit_club", localField="club", foreignField="_id"),
        {"$unwind": "$dbp_t"},
    ]
    assert stages(db.query(Person).join(Person.clubs, outer=True)) == [
        {"$match": {}},
        lookup("dbp_j0", "kit_membership", localField="_id", foreignField="person", pipeline=inside),
        {"$unwind": {"path": "$dbp_j0", "preserveNullAndEmptyArrays": True}},
    ]


def test_the_second_column_of_a_composite_key_is_compared(db: Database) -> None:
    (_, found, _) = stages(db.query(Guest).join(Guest.room))
    words = found["$lookup"]
    (name,) = words["let"]
    assert {words["let"][name], "$" + words["localField"]} == {"$floor", "$door"}
    assert "$expr" in words["pipeline"][0]["$match"]


def test_what_cannot_be_said_is_left_to_the_core_as_a_whole(db: Database) -> None:
    query = db.query(Shop).filter(Shop.items.any(Item.photo > b"x"), Shop.id > 1)
    compiled = db._engine.compile(query._spec)
    assert not compiled.is_whole
    assert compiled.residual == query._spec.where
    ordered = db.query(Item).join(Item.shop).order_by(Item.photo)
    assert not db._engine.compile(ordered._spec).is_whole


def test_explain_shows_names_and_no_values(db: Database) -> None:
    text = db.query(Item).join(Item.shop).filter(Item.shop.has(name="s3cret"), Shop.id == 77).explain()
    assert "{$lookup: {from: shop, localField: shop_id, foreignField: _id, as: dbp_j0}}" in text
    assert "s3cret" not in text
    assert "77" not in text


class Commands(monitoring.CommandListener):
    """The names of what was sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.sent.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


def test_every_verb_is_one_command(mongodb_server: Any) -> None:
    commands = Commands()
    name, _url = mongodb_server.new_database()
    entry = {**mongodb_server.entry(name), "OPTIONS": {"event_listeners": [commands]}}
    db = db_plugins.connect(entry, models=[Shop, Item])
    db.create_all()
    db.query(Shop).bulk_insert([{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
    db.query(Item).bulk_insert([{"id": n, "count": n, "shop_id": n % 2 + 1} for n in range(1, 9)])
    joined = db.query(Item).join(Item.shop).filter(Shop.name == "a")
    asked = db.query(Shop).filter(Shop.items.any(Item.count > 7))
    for call, expected in (
        (lambda: [i.id for i in joined.order_by(Shop.name).all()], [2, 4, 6, 8]),
        (lambda: joined.count(), 4),
        (lambda: joined.limit(3).count(), 3),
        (lambda: joined.filter(Item.count > 99).count(), 0),
        (lambda: joined.group_by(Shop.name).aggregate(n=func.sum(Item.count)), [{"name": "a", "n": 20}]),
        (lambda: [s.id for s in asked.all()], [1]),
        (lambda: asked.aggregate(n=func.count()), {"n": 1}),
    ):
        commands.sent.clear()
        assert call() == expected  # type: ignore[no-untyped-call]
        assert commands.sent == ["aggregate"]
    db.close()
    mongodb_server.drop_database(name)
