"""Rows become plain, detached objects that SQLAlchemy accepts as its own."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from shop import Animal, Base, Dog, Item, Shop
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    make_transient_to_detached,
    mapped_column,
)
from sqlalchemy.orm.exc import DetachedInstanceError

from db_plugins.errors import NotLoadedError, UnsupportedOperationError
from db_plugins.models import describe
from db_plugins.models.objects import changed_values, given_values, make_builder, mark_stored


def build(model: type, **values: Any) -> Any:
    info = describe(model)
    row = tuple(values.get(f.name) for f in info.fields)
    return make_builder(info, info.fields)([row])[0]


def test_a_built_object_is_detached_as_sqlalchemys_own_are() -> None:
    """The state that the builder sets by hand is the one that make_transient_to_detached would have made."""
    ours, theirs = build(Shop, id=1, name="a"), Shop(id=1, name="a")
    make_transient_to_detached(theirs)
    for name in ("transient", "pending", "persistent", "deleted", "detached"):
        assert getattr(sa.inspect(ours), name) == getattr(sa.inspect(theirs), name), name
    assert sa.inspect(ours).key == sa.inspect(theirs).key
    assert sa.inspect(ours).identity_key == sa.inspect(theirs).identity_key
    assert not sa.inspect(ours).modified


def test_a_built_object_gets_its_state_when_somebody_asks_for_it() -> None:
    """The name under which SQLAlchemy looks for a state is the one that states.py gives it."""
    shop = build(Shop, id=1, name="a")
    assert vars(shop) == {"id": 1, "name": "a"}
    assert sa.inspect(shop) is sa.inspect(shop) is vars(shop)["_sa_instance_state"]
    shop = build(Shop, id=1, name="a")
    shop.name = "b"
    assert sa.inspect(shop).key == (Shop, (1,), None)
    assert changed_values(describe(Shop), shop) == {"name": "b"}


def test_an_object_that_nobody_read_has_no_state_of_ours() -> None:
    describe(Shop)
    build(Shop, id=1)
    with pytest.raises(AttributeError):
        Shop.__new__(Shop)._sa_instance_state
    with pytest.raises(AttributeError):
        Shop._sa_instance_state
    assert sa.inspect(Shop(id=1, name="a")).transient
    assert sa.inspect(3, raiseerr=False) is None


def test_threads_that_ask_at_once_get_the_same_state() -> None:
    for _ in range(50):
        shop = build(Shop, id=1, name="a")
        meet, found = threading.Barrier(4), []

        def ask(shop: Any = shop, meet: Any = meet, found: Any = found) -> None:
            meet.wait()
            found.append(sa.inspect(shop))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(state) for state in found}) == 1


def test_a_pickled_object_is_whole_where_nobody_has_asked_for_its_model_yet() -> None:
    """Another process, which knows the model and not what describe() adds to it."""
    program = (
        "import pickle, sys, sqlalchemy as sa; from shop import Item; from sqlalchemy.orm.exc import DetachedInstanceError\n"
        "item = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "assert (item.id, item.title, sa.inspect(item).detached) == (7, 'a', True)\n"
        "try: item.shop\n"
        "except DetachedInstanceError: print('detached')"
    )
    pickled = pickle.dumps(build(Item, id=7, title="a")).hex()
    here = str(Path(__file__).parent)
    ran = subprocess.run(
        [sys.executable, "-c", program, pickled],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": here},
    )
    assert ran.stdout.strip() == "detached", ran.stderr


def test_a_subclass_that_is_mapped_later_has_states_too() -> None:
    class Local(DeclarativeBase):
        pass

    class Vehicle(Local):
        __tablename__ = "vehicle"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str]
        __mapper_args__: ClassVar[Any] = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}

    assert sa.inspect(build(Vehicle, id=1, kind="vehicle")).detached

    class Car(Vehicle):
        __mapper_args__: ClassVar[Any] = {"polymorphic_identity": "car"}

    car = build(Car, id=2, kind="car")
    assert sa.inspect(car).key == (Vehicle, (2,), None)
    assert sa.inspect(Car(id=3)).transient


def test_dataclasses_and_classes_of_sqlmodel_have_states_when_asked() -> None:
    class Local(MappedAsDataclass, DeclarativeBase):
        pass

    class Point(Local):
        __tablename__ = "point"
        id: Mapped[int] = mapped_column(primary_key=True)
        x: Mapped[int] = mapped_column(default=0)

    assert build(Point, id=1, x=2) == Point(id=1, x=2)
    assert sa.inspect(build(Point, id=1, x=2)).detached

    sqlmodel = pytest.importorskip("sqlmodel")

    class Hero(sqlmodel.SQLModel, table=True):
        id: int | None = sqlmodel.Field(default=None, primary_key=True)
        name: str = ""

    hero = build(Hero, id=1, name="a")
    assert hero.model_dump() == {"id": 1, "name": "a"}
    hero.name = "b"
    assert changed_values(describe(Hero), hero) == {"name": "b"}
    assert copy.deepcopy(build(Hero, id=1, name="a")).name == "a"
    assert sa.inspect(Hero(name="c")).transient


def test_many_objects_are_made_without_collecting_garbage_and_then_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    info = describe(Shop)
    calls: list[str] = []
    for name in ("disable", "enable"):
        real = getattr(gc, name)
        monkeypatch.setattr(gc, name, lambda name=name, real=real: (calls.append(name), real())[1])
    make = make_builder(info, info.fields)
    assert len(make([(n, "a") for n in range(5000)])) == 5000
    assert calls == ["disable", "enable"]
    with pytest.raises(ValueError, match="unpack"):
        make([(1,)] * 500)
    assert calls == ["disable", "enable"] * 2
    make([(1, "a")])
    assert calls == ["disable", "enable"] * 2, "of few objects it is not worth it"
    gc.disable()
    make([(n, "a") for n in range(5000)])
    assert not gc.isenabled(), "who has switched it off keeps it off"
    gc.enable()


def test_attributes_are_readable_and_relationships_say_how_to_load_them() -> None:
    item = build(Item, id=1, title="a", shop_id=None)
    assert item.title == "a"
    with pytest.raises(NotLoadedError, match=r"Item\.shop was not loaded; .*include\(Item\.shop\)"):
        item.shop
    with pytest.raises(DetachedInstanceError):
        build(Shop, id=1, name="a").items


def test_an_unloaded_collection_cannot_be_assigned() -> None:
    shop = build(Shop, id=1, name="a")
    with pytest.raises(NotLoadedError):
        shop.items = []


def test_guarded_relationships_still_make_expressions() -> None:
    describe(Item)
    assert "EXISTS" in str(Shop.items.any(Item.count == 1))
    assert "EXISTS" in str(Item.shop.has(name="a"))
    assert str(sa.select(Item).join(Item.shop))


@pytest.mark.parametrize("copied", [lambda m: pickle.loads(pickle.dumps(m)), copy.copy, copy.deepcopy])
def test_an_object_can_be_pickled_and_copied(copied: Any) -> None:
    again = copied(build(Item, id=7, title="a"))
    assert (again.id, again.title) == (7, "a")
    if copied is not copy.copy:
        with pytest.raises(NotLoadedError):
            again.shop


def test_an_object_can_be_added_to_a_session_changed_and_loaded_lazily_there(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/x.db", poolclass=sa.NullPool)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Shop(id=1, name="a", items=[Item(id=1, title="x")])])
        session.commit()
    item = build(Item, id=1, title="x", shop_id=1)
    with Session(engine) as session:
        session.add(item)
        item.title = "y"
        assert item.shop.name == "a"
        session.commit()
    with Session(engine) as session:
        assert session.get(Item, 1).title == "y"  # type: ignore[union-attr]
        session.delete(session.merge(build(Shop, id=1, name="a")))
        session.commit()
        assert session.get(Item, 1).shop_id is None  # type: ignore[union-attr]


def test_load_events_fire_and_rows_become_their_subclass() -> None:
    dog = build(Animal, id=1, kind="dog", name="Rex")
    assert type(dog) is Dog
    assert dog.was_loaded
    assert type(build(Animal, id=2, kind="animal")) is Animal


def test_mutable_values_are_tracked() -> None:
    class Local(DeclarativeBase):
        pass

    class Note(Local):
        __tablename__ = "note"
        id: Mapped[int] = mapped_column(primary_key=True)
        data: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(sa.JSON))

    note = build(Note, id=1, data={"a": 1})
    assert isinstance(note.data, MutableDict)
    note.data["a"] = 2
    assert changed_values(describe(Note), note) == {"data": {"a": 2}}


def test_changed_values_are_those_set_since_it_was_read() -> None:
    item = build(Item, id=1, title="a", count=1)
    item.title = "b"
    assert changed_values(describe(Item), item) == {"title": "b"}


def test_a_stored_instance_is_detached_with_nothing_pending() -> None:
    info = describe(Shop)
    shop = Shop(name="a")
    mark_stored(info, shop, [f.name for f in info.fields], (5, "a"))
    assert (shop.id, shop.name) == (5, "a")
    assert sa.inspect(shop).detached
    assert changed_values(info, shop) == {}
    with pytest.raises(NotLoadedError):
        shop.items


def test_an_instance_with_related_objects_or_in_a_session_is_refused() -> None:
    info = describe(Shop)
    with pytest.raises(UnsupportedOperationError, match="related objects in 'items'"):
        given_values(info, Shop(name="a", items=[Item()]))
    with Session() as session:
        shop = Shop(name="a")
        session.add(shop)
        with pytest.raises(UnsupportedOperationError, match="Session"):
            given_values(info, shop)
