"""Joins and EXISTS as the SQL engines say them."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from shop import Item, Shop

import db_plugins
from db_plugins import not_
from db_plugins.testing.kit.related import Card, Club, Person


def shown(query: Any) -> str:
    return " ".join(query.explain().split())


@pytest.fixture
def db() -> db_plugins.Database:
    made = db_plugins.connect("sqlite://", models=[Shop, Item, Person, Club, Card])
    made.create_all()
    return made


def test_exists_is_correlated_by_name(db: db_plugins.Database) -> None:
    text = shown(db.query(Shop).filter(Shop.items.any(Item.count > Shop.id)))
    assert text.endswith(
        "FROM shop WHERE EXISTS (SELECT 1 FROM item AS dbp_1 WHERE shop.id = dbp_1.shop_id AND dbp_1.count > shop.id)"
    )


def test_a_nested_exists_reaches_every_query_outside(db: db_plugins.Database) -> None:
    query = db.query(Shop).filter(not_(Shop.items.any(Item.shop.has(Shop.items.any()))))
    assert (
        "NOT (EXISTS (SELECT 1 FROM item AS dbp_1 WHERE shop.id = dbp_1.shop_id AND (EXISTS (SELECT 1 FROM shop"
        in shown(query)
    )
    assert shown(query).count(" FROM ") == 4
    assert ", " not in shown(query).partition(" FROM ")[2]


def test_joins_are_said_in_one_from(db: db_plugins.Database) -> None:
    inner = shown(db.query(Card).join(Card.person, Person.clubs).filter(Club.name == "x"))
    assert (
        "FROM kit_card JOIN kit_person ON kit_card.person_id = kit_person.id "
        "JOIN kit_membership ON kit_person.id = kit_membership.person "
        'JOIN kit_club ON kit_membership.club = kit_club.id WHERE (kit_club.name COLLATE "BINARY") = ?'
    ) in inner
    outer = shown(db.query(Person).join(Person.clubs, outer=True))
    assert (
        "FROM kit_person LEFT OUTER JOIN (kit_membership JOIN kit_club ON kit_membership.club = kit_club.id) "
        "ON kit_person.id = kit_membership.person"
    ) in outer


def test_a_dangling_link_row_gives_no_row_of_its_own(db: db_plugins.Database) -> None:
    db.query(Person).bulk_insert([{"id": 1, "name": "a"}])
    db.query(Club).bulk_insert([{"id": 1, "name": "c"}])
    with db.native.begin() as connection:
        connection.execute(sa.text("PRAGMA foreign_keys = OFF"))
        connection.execute(sa.text("INSERT INTO kit_membership (person, club) VALUES (1, 1), (1, 9)"))
        connection.execute(sa.text("PRAGMA foreign_keys = ON"))
    query = db.query(Person).join(Person.clubs, outer=True)
    assert query.to_dicts("id", Club.id.label("club")) == [{"id": 1, "club": 1}]
    assert query.filter(Club.id.is_(None)).all() == []


def test_a_native_condition_may_name_a_joined_table(db: db_plugins.Database) -> None:
    db.query(Shop).bulk_insert([{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
    db.query(Item).bulk_insert([{"id": 1, "shop_id": 1}, {"id": 2, "shop_id": 2}])
    query = db.query(Item).join(Item.shop)
    assert [i.id for i in query.filter_native(sa.text("shop.name = 'b'")).all()] == [2]
    assert [i.id for i in query.filter_native(Shop.__table__.c.name == "a").all()] == [1]


def test_an_update_by_rows_of_another_model_is_one_statement(
    db: db_plugins.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(db._connected()), "fetch", lambda *_: pytest.fail("no keys are needed"))
    assert db.query(Item).filter(Item.shop.has(name="x")).update({"count": 1}) == 0
    assert db.query(Person).filter(Person.boss.has(name="x")).delete() == 0


def test_mysql_writes_by_key_what_its_own_subquery_reads() -> None:
    entry = {"ENGINE": "mysql", "HOST": "h", "USER": "u", "PASSWORD": "p", "DB_NAME": "d"}
    for name, expected in (("mysql", True), ("mariadb", False)):
        db = db_plugins.connect({**entry, "ENGINE": name}, models=[])
        own = db.query(Person).filter(Person.clubs.any(Club.members.any(name="x")))
        other = db.query(Person).filter(Person.clubs.any(), Person.card.has())
        assert db._engine.compile(own._spec).read_only is expected
        assert not db._engine.compile(other._spec).read_only


def test_a_write_by_key_means_the_same(shared_server: Any) -> None:
    server = shared_server("mariadb")
    name, _url = server.new_database()
    db = db_plugins.connect({**server.entry(name), "ENGINE": "mysql"}, models=[Person, Club, Card])
    db.create_all()
    for n, boss in ((1, None), (2, 1), (3, 1), (4, 2)):
        db.query(Person).insert({"id": n, "name": f"p{n}", "boss_id": boss})
    persons = db.query(Person)
    assert persons.filter(Person.boss.has(name="p1")).update({"name": "x"}) == 2
    assert persons.filter(Person.boss.has(name="x"), ~Person.staff.any()).delete() == 1
    assert [(p.id, p.name) for p in persons.order_by("id").all()] == [(1, "p1"), (2, "x"), (3, "x")]
    db.close()
    server.drop_database(name)
