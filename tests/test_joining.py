"""``any`` and ``has`` become nodes; the core brings rows of several models together where the engine does not."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from shop import Item, Shop
from sqlalchemy.orm import DeclarativeBase, Mapped, foreign, mapped_column, relationship

import db_plugins
from db_plugins import and_, not_
from db_plugins.engine import Compiled
from db_plugins.errors import EngineError, UnsupportedFilterError
from db_plugins.existence import inner_tables
from db_plugins.expressions import Reader
from db_plugins.models import Limits, describe
from db_plugins.nodes import And, Column, Compare, Exists, Value, fields_of, has_exists, negate
from db_plugins.testing import MemoryEngine
from db_plugins.testing.kit.related import Card, Person


def read(model: type, expression: Any) -> Any:
    return Reader(describe(model), "memory", Limits()).condition(expression)


# -- reading -----------------------------------------------------------------------------------------------------------


def test_the_private_name_that_tells_inner_tables_is_still_there() -> None:
    select = Shop.items.any().element.element
    assert inner_tables(select) == (Item.__table__,)
    assert inner_tables(sa.select(Item.id)) == ()


def test_any_is_a_hop_by_equal_columns_and_what_else_must_hold() -> None:
    node = read(Shop, Shop.items.any(Item.count > 5))
    (hop,) = node.hops
    assert hop.info is describe(Item).scoped("dbp_1", aliased=True)
    assert hop.pairs == ((describe(Shop).field("id"), hop.info.field("shop_id")),)
    assert node.where == Compare(">", Column(hop.info.field("count")), Value(5, hop.info.field("count")))
    assert not node.negated


def test_not_turns_the_question_round_and_leaves_its_inside_alone() -> None:
    node = read(Shop, Shop.items.any(Item.count > 5))
    turned = read(Shop, ~Shop.items.any(Item.count > 5))
    assert turned == Exists(node.hops, node.where, negated=True)
    assert negate(negate(node)) == node
    assert read(Shop, not_(and_(Shop.items.any(), Shop.id > 1))).parts[0].negated


def test_scopes_are_numbered_by_depth_and_a_nearer_one_hides_its_table() -> None:
    node = read(Shop, Shop.items.any(Item.shop.has(Shop.items.any(Item.shop.has(Shop.name == "x")))))
    scopes = []
    while isinstance(node, Exists):
        scopes += [hop.info.scope for hop in node.hops]
        (pair,) = node.hops[0].pairs
        assert pair[0].scope == (scopes[-2] if len(scopes) > 1 else "")
        node = node.where
    assert scopes == ["dbp_1", "dbp_2", "dbp_3", "dbp_4"]
    assert [f.scope for f in fields_of(node)] == ["dbp_4"]


def test_siblings_share_a_scope_and_its_fields() -> None:
    node = read(Shop, and_(Shop.items.any(Item.count > 5), Shop.items.any(Item.small > 5)))
    assert isinstance(node, And)
    one, other = node.parts
    assert isinstance(one, Exists)
    assert isinstance(other, Exists)
    assert one.hops == other.hops


def test_a_self_referential_condition_is_told_apart_from_one_about_the_row_itself() -> None:
    inside = read(Person, Person.staff.any(Person.name == "x"))
    assert repr(inside.where) != repr(read(Person, Person.name == "x"))
    assert list(fields_of(inside)) == [describe(Person).field("id")]


def test_an_alias_that_sqlalchemy_puts_too_far_in_is_put_right() -> None:
    back = Card.person.has(and_(Person.name == "x", Person.id > 1))
    condition = Person.boss.has(and_(Person.id > 2, Person.card.has(and_(Card.number > 3, back))))
    assert "FROM kit_person \nWHERE kit_person_1.id = kit_card.person_id" in str(condition), (
        "not needed any more?"
    )
    boss = read(Person, condition)
    card = next(part for part in boss.where.parts if isinstance(part, Exists))
    person = next(part for part in card.where.parts if isinstance(part, Exists))
    assert [(known.scope, found.scope) for known, found in person.hops[0].pairs] == [("dbp_2", "dbp_3")]
    assert {field.scope for field in fields_of(person.where)} == {"dbp_3"}


def odd_models() -> tuple[Any, Any]:
    """A tree whose nodes have leaves, and these all nodes of a greater number."""

    class Own(DeclarativeBase):
        pass

    class Node(Own):
        __tablename__ = "dbp_1"
        id: Mapped[int] = mapped_column(primary_key=True)
        up_id: Mapped[int | None] = mapped_column(sa.ForeignKey("dbp_1.id"))
        up = relationship(lambda: Node, remote_side=lambda: Node.id)
        leaves = relationship(lambda: Leaf)

    class Leaf(Own):
        __tablename__ = "leaf"
        id: Mapped[int] = mapped_column(primary_key=True)
        node_id: Mapped[int | None] = mapped_column(sa.ForeignKey("dbp_1.id"))
        node = relationship(Node, overlaps="leaves")
        later = relationship(
            Node, primaryjoin=lambda: foreign(Node.id) > Leaf.id, viewonly=True, uselist=True
        )

    return Node, Leaf


def test_a_relationship_that_is_no_equality_is_asked_of_all_rows() -> None:
    node, leaf = odd_models()
    for entry in ({"ENGINE": "memory"}, "sqlite://"):
        db = db_plugins.connect(entry, models=[node, leaf])
        db.create_all()
        db.query(node).bulk_insert([{"id": 1}, {"id": 3}])
        db.query(leaf).bulk_insert([{"id": n} for n in range(1, 5)])
        assert sorted(row.id for row in db.query(leaf).filter(leaf.later.any()).all()) == [1, 2]
    with pytest.raises(UnsupportedFilterError, match="in another order"):
        read(node, node.up.has(and_(node.id > 1, node.leaves.any(leaf.later.any()))))


def test_a_table_may_be_called_like_a_scope() -> None:
    node, leaf = odd_models()
    db = db_plugins.connect("sqlite://", models=[node, leaf])
    db.create_all()
    db.query(node).bulk_insert([{"id": 1}, {"id": 3}])
    db.query(leaf).bulk_insert([{"id": 1, "node_id": 1}, {"id": 2, "node_id": 3}])
    assert [row.id for row in db.query(node).filter(node.leaves.any(leaf.id > 1)).all()] == [3]
    joined = db.query(leaf).join(leaf.node).filter(node.leaves.any(leaf.id < node.id))
    assert [row.id for row in joined.all()] == [2]


def test_reading_twice_gives_equal_nodes() -> None:
    def expression() -> Any:
        return Shop.items.any(and_(Item.count > Shop.id, Item.title == "x"))

    one, two = read(Shop, expression()), read(Shop, expression())
    assert one == two
    assert hash(one) == hash(two)
    assert repr(one) == repr(two)


def test_what_is_false_inside_is_false() -> None:
    assert not read(Shop, Shop.items.any(Item.count.in_([]))).truth
    assert read(Shop, ~Shop.items.any(Item.count.in_([]))).truth


def test_a_model_that_is_not_there_is_refused_with_the_way_to_it() -> None:
    with pytest.raises(UnsupportedFilterError, match=r"join\(\) the other model, or ask any\(\) or has\(\)"):
        read(Shop, Item.count > 5)


def test_scoped_fields_are_the_same_ones_each_time() -> None:
    info = describe(Item)
    assert info.scoped("item").fields[0] is info.scoped("item").fields[0]
    assert info.scoped("item") is not info.scoped("item", optional=True)
    assert all(f.nullable for f in info.scoped("item", optional=True).fields)
    assert info.scoped("item").field("id").path == "item.id"
    assert info.field("id").path == "id"


def test_which_nodes_need_other_models() -> None:
    assert has_exists(read(Shop, and_(Shop.id > 1, Shop.items.any())))
    assert not has_exists(read(Shop, Shop.id > 1))


# -- bringing together -------------------------------------------------------------------------------------------------


class HalfEngine(MemoryEngine):
    """Says that it joins, and then leaves every condition over."""

    joins = True

    def compile(self, spec: Any) -> Compiled:
        by_key = not spec.is_about_several
        residual = None if by_key else spec.where
        return Compiled(spec, native=None, residual=residual, sorted=not spec.joins)


@pytest.fixture(params=[MemoryEngine, HalfEngine], ids=["memory", "half"])
def db(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> db_plugins.Database:
    found = db_plugins.connect({"ENGINE": "memory"}, models=[Shop, Item])
    monkeypatch.setattr(type(found._engine), "joins", request.param.joins)
    monkeypatch.setattr(type(found._engine), "compile", request.param.compile)
    found.create_all()
    found.query(Shop).bulk_insert([{"id": n, "name": f"s{n}"} for n in range(1, 1301)])
    found.query(Item).bulk_insert([{"id": n, "count": n, "shop_id": n % 650 + 1} for n in range(1, 1301)])
    return found


def statements(db: db_plugins.Database, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    connection = db._connected()
    fetch, calls = connection.fetch, []

    def counted(query: Any, batch: int | None = None) -> Any:
        calls.append(query.spec.model.name)
        return fetch(query, batch)

    monkeypatch.setattr(connection, "fetch", counted)
    return calls


def test_related_rows_are_read_once_for_five_hundred(
    db: db_plugins.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = statements(db, monkeypatch)
    assert db.query(Shop).filter(Shop.items.any(Item.count > 650)).count() == 650
    assert calls == ["Shop", "Item", "Item", "Item"]
    calls.clear()
    assert db.query(Item).join(Item.shop).filter(Shop.name == "s1").count() == 2
    assert calls == ["Item", "Shop", "Shop", "Shop"]


def test_the_query_s_own_conditions_are_left_to_the_engine(
    db: db_plugins.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = statements(db, monkeypatch)
    found = db.query(Shop).filter(Shop.id < 3, Shop.items.any(Item.count > 650)).order_by("-id").all()
    assert [shop.id for shop in found] == [2, 1]
    assert calls == ["Shop", "Item"]
    calls.clear()
    assert db.query(Shop).filter(Shop.id < 0, Shop.items.any()).all() == []
    assert calls == ["Shop"]


def test_an_order_by_joined_columns_is_worked_out(db: db_plugins.Database) -> None:
    query = db.query(Item).join(Item.shop).filter(Item.id < 4)
    assert [i.id for i in query.order_by(Shop.name.desc()).all()] == [3, 2, 1]
    assert [i.id for i in query.order_by(Item.id.desc(), Shop.name).all()] == [3, 2, 1]


def test_explain_shows_the_query_s_own_part(db: db_plugins.Database) -> None:
    shown = db.query(Shop).filter(Shop.items.any(), Shop.id > 5).explain()
    assert shown.endswith("the rest is looked up by key")


def test_a_calculation_that_overflows_is_named(db: db_plugins.Database) -> None:
    db.query(Item).filter(id=7).update({"big": 2**62, "weight": 1.5})
    power = Item.big
    for _ in range(20):
        power = power * Item.big  # type: ignore[assignment]
    with pytest.raises(EngineError, match="overflowed"):
        db.query(Shop).filter(Shop.items.any(power * Item.weight > 1)).all()
