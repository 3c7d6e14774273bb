"""``delete`` from the inside: what a plan is made of, how many statements it costs, and rows that change meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from seeds import Connect, connect, entry, on
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

import db_plugins
from db_plugins.cascades import Rule, plan_of
from db_plugins.deleting import _Deletion
from db_plugins.errors import ConflictError, ForeignKeyError, UnsupportedOperationError
from db_plugins.models import describe
from db_plugins.references import references_of, referrers_of
from db_plugins.testing.kit.family_models import (
    Engineer,
    Guild,
    Harbour,
    Owner,
    Reading,
    Sensor,
    Ship,
    Staff,
    Twig,
)
from db_plugins.testing.memory import MemoryConnection

__all__ = ["connect", "entry"]


class Base(DeclarativeBase):
    pass


class Shop(Base):
    __tablename__ = "shop"
    id: Mapped[int] = mapped_column(primary_key=True)
    city: Mapped[str] = mapped_column(sa.String(10))
    goods: Mapped[list[Good]] = relationship(cascade="all")


class Good(Base):
    __tablename__ = "good"
    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(sa.ForeignKey("shop.id"))


class Clock(Base):
    __tablename__ = "clock"
    id: Mapped[int] = mapped_column(primary_key=True)


def rules(model: type, *, emulates: bool) -> list[tuple[Rule, str]]:
    return [(step.rule, step.label) for step in plan_of(describe(model), emulates=emulates)]


def test_a_plan_is_made_of_relationships_and_where_no_server_does_it_of_foreign_keys() -> None:
    assert rules(Harbour, emulates=False) == []
    assert set(rules(Harbour, emulates=True)) == {
        (Rule.NULL, "Boat.harbour_id"),
        (Rule.REFUSE, "Mooring.harbour_id"),
        (Rule.DELETE, "Ship.harbour_id"),
    }
    assert rules(Twig, emulates=False) == rules(Twig, emulates=True) == [(Rule.NULL, "Twig.on_id")]
    assert rules(Ship, emulates=False) == []
    assert rules(Ship, emulates=True) == [(Rule.DELETE, "Letter.ship_id")]


def test_relationships_over_the_same_columns_are_one_step() -> None:
    assert rules(Owner, emulates=False) == [(Rule.DELETE, "Pet.owner_id")]


def test_a_base_class_has_the_steps_of_its_subclasses_for_their_rows() -> None:
    (step,) = plan_of(describe(Staff), emulates=False)
    assert (step.source.cls, step.label) == (Engineer, "Work.engineer_id")
    assert rules(Guild, emulates=True) == [
        (Rule.NULL, "Guildsman.guild_id"),
        (Rule.REFUSE, "Staff.guild_id"),
    ]


def test_a_plan_is_made_once_and_again_when_there_are_more_tables() -> None:
    class Local(DeclarativeBase):
        pass

    class One(Local):
        __tablename__ = "one"
        id: Mapped[int] = mapped_column(primary_key=True)

    info = describe(One)
    assert plan_of(info, emulates=True) == ()
    assert plan_of(info, emulates=True) is plan_of(info, emulates=True)

    class Two(Local):
        __tablename__ = "two"
        id: Mapped[int] = mapped_column(primary_key=True)
        one_id: Mapped[int] = mapped_column(sa.ForeignKey("one.id"))
        one: Mapped[One] = relationship(backref=sa.orm.backref("twos", cascade="all"))

    assert [step.rule for step in plan_of(info, emulates=True)] == [Rule.DELETE]
    assert [r.label for r in references_of(describe(Two))] == ["Two.one_id"]


def test_references_are_found_from_both_sides() -> None:
    assert {r.label for r in referrers_of(describe(Sensor))} == {
        "Reading.sensor_id",
        "Reading.sensor_name",
        "Sensor.twin_id",
    }
    assert [r.parent.name for r in references_of(describe(Sensor))] == ["Sensor"]


def test_a_foreign_key_of_a_subclass_does_not_break_its_base() -> None:
    class Local(DeclarativeBase):
        pass

    class Port(Local):
        __tablename__ = "port"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Craft(Local):
        __tablename__ = "craft"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str]
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "craft"}

    class Ferry(Craft):
        port_id: Mapped[int | None] = mapped_column(sa.ForeignKey("port.id"))
        __mapper_args__ = {"polymorphic_identity": "ferry"}

    assert describe(Craft).foreign_keys == ()
    assert [key.target for key in describe(Ferry).foreign_keys] == ["port"]
    assert [r.label for r in referrers_of(describe(Port))] == ["Ferry.port_id"]
    with db_plugins.connect({"ENGINE": "memory"}, models=[Port, Craft, Ferry]) as db:
        db.create_all()
        db.query(Port).insert({"id": 1})
        db.query(Ferry).insert({"port_id": 1})
        with pytest.raises(ForeignKeyError, match=r"Ferry\.port_id"):
            db.query(Port).filter(id=1).delete()


class Shelf(Base):
    __tablename__ = "shelf"
    id: Mapped[int] = mapped_column(primary_key=True)


class Box(Base):
    __tablename__ = "box"
    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int | None] = mapped_column(sa.ForeignKey("shelf.id", ondelete="SET DEFAULT"), default=1)


def test_ondelete_set_default_where_no_server_does_it() -> None:
    with db_plugins.connect({"ENGINE": "memory"}, models=[Shelf, Box]) as db:
        db.query(Shelf).bulk_insert([{"id": n} for n in (1, 2, 3)])
        db.query(Box).bulk_insert([{"shelf_id": 2}, {"shelf_id": 3}])
        assert db.query(Shelf).filter(id=2).delete() == 1
        assert [box.shelf_id for box in db.query(Box).order_by("id").all()] == [1, 3]
        for condition in (Shelf.id == 1, Shelf.id < 9):
            with pytest.raises(ForeignKeyError, match=r"Shelf is still referred to by Box\.shelf_id"):
                db.query(Shelf).filter(condition).delete()
        db.query(Box).filter(shelf_id=1).delete()
        assert db.query(Shelf).filter(id=1).delete() == 1
        with pytest.raises(ForeignKeyError, match=r"Box\.shelf_id names no Shelf"):
            db.query(Shelf).filter(id=3).delete()
        assert (db.query(Shelf).count(), db.query(Box).count()) == (1, 1)


# -- what it costs -----------------------------------------------------------------------------------------------------


def statements(db: db_plugins.Database) -> list[str]:
    seen: list[str] = []
    sa.event.listen(db.native, "before_cursor_execute", lambda *about: seen.append(about[2]))
    return seen


@on("sqlite")
def test_with_nothing_that_goes_along_it_is_one_statement(connect: Connect) -> None:
    db = connect(Shop, Good, Clock)
    db.query(Clock).bulk_insert([{"id": 1}, {"id": 2}])
    seen = statements(db)
    assert db.query(Clock).filter(id=1).delete() == 1
    clock = db.query(Clock).get(2)
    del seen[:]
    assert db.query(Clock).delete(clock) is True
    assert [s.split()[0] for s in seen] == ["DELETE"]


@on("sqlite")
def test_children_with_which_nothing_goes_are_not_read(connect: Connect) -> None:
    db = connect(Shop, Good)
    db.query(Shop).insert({"id": 1, "city": "a"})
    db.query(Good).bulk_insert({"shop_id": 1} for _ in range(5000))
    seen = statements(db)
    assert db.query(Shop).filter(city="a").delete() == 1
    assert [s.split()[0] for s in seen] == ["BEGIN", "SELECT", "DELETE", "DELETE"]
    assert db.query(Good).count() == 0


# -- rows that change meanwhile ----------------------------------------------------------------------------------------


def change_meanwhile(db: Any, monkeypatch: pytest.MonkeyPatch, times: int = 1) -> list[int]:
    """Another call moves shop 1 to another city, after the shops to be deleted have been read."""
    done: list[int] = []
    check = _Deletion._check

    def check_later(self: _Deletion) -> None:
        if len(done) < times:
            done.append(1)
            db.query(Shop).filter(id=1).update({"city": "b"})
        check(self)

    monkeypatch.setattr(_Deletion, "_check", check_later)
    return done


@on("postgresql", "mongodb")
def test_a_row_that_no_longer_matches_stays_and_so_do_its_children(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = connect(Shop, Good)
    db.query(Shop).bulk_insert([{"id": 1, "city": "a"}, {"id": 2, "city": "a"}])
    db.query(Good).bulk_insert([{"id": 1, "shop_id": 1}, {"id": 2, "shop_id": 2}])
    assert change_meanwhile(db, monkeypatch) == []
    assert db.query(Shop).filter(city="a").delete() == 1
    assert [s.id for s in db.query(Shop).all()] == [1]
    assert [g.id for g in db.query(Good).all()] == [1]


def test_in_memory_such_a_row_stays_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with db_plugins.connect({"ENGINE": "memory"}, models=[Shop, Good]) as db:
        db.query(Shop).bulk_insert([{"id": 1, "city": "a"}, {"id": 2, "city": "a"}])
        db.query(Good).bulk_insert([{"id": 1, "shop_id": 1}, {"id": 2, "shop_id": 2}])
        change_meanwhile(db, monkeypatch)
        assert db.query(Shop).filter(city="a").delete() == 1
        assert [g.shop_id for g in db.query(Good).all()] == [1]


@on("mongomock")
def test_without_transactions_the_row_stays(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    db = connect(Shop, Good)
    db.query(Shop).bulk_insert([{"id": 1, "city": "a"}, {"id": 2, "city": "a"}])
    change_meanwhile(db, monkeypatch)
    assert db.query(Shop).filter(city="a").delete() == 1
    assert [s.id for s in db.query(Shop).all()] == [1]


def test_a_conflict_that_does_not_end_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def run(self: _Deletion, spec: Any) -> int:
        calls.append(1)
        raise ConflictError("again")

    monkeypatch.setattr(_Deletion, "run", run)
    monkeypatch.setattr("db_plugins.transacting.PATIENCE_SECONDS", 0.1)
    with db_plugins.connect({"ENGINE": "memory"}, models=[Shop, Good]) as db:
        with pytest.raises(ConflictError):
            db.query(Shop).filter(city="a").delete()
        assert len(calls) > 1
        calls.clear()
        with pytest.raises(ConflictError), db.transaction() as tx:
            tx.query(Shop).filter(city="a").delete()
        assert len(calls) == 1, "a transaction is run again by its owner alone"


def test_a_server_without_transactions_deletes_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(*_about: Any, **_more: Any) -> Any:
        raise UnsupportedOperationError("this server is in no replica set")

    with db_plugins.connect({"ENGINE": "memory"}, models=[Shop, Good]) as db:
        db.query(Shop).insert({"id": 1, "city": "a"})
        db.query(Good).insert({"shop_id": 1})
        monkeypatch.setattr(MemoryConnection, "begin", begin)
        assert db.query(Shop).filter(id=1).delete() == 1
        assert db.query(Good).count() == 0


def test_no_look_for_a_name_hides_the_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    def fail(*_about: Any) -> Any:
        raise RuntimeError("the look-up failed")

    monkeypatch.setattr("db_plugins.runner.find_child", fail)
    url = {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "x.db")}
    with db_plugins.connect(url, models=[Sensor, Reading]) as db:
        db.create_all()
        db.query(Sensor).insert({"id": 1})
        db.query(Reading).insert({"sensor_id": 1})
        with pytest.raises(ForeignKeyError, match="still referred to"):
            db.query(Sensor).filter(id=1).delete()
