"""``Base``, the mixins and ``uuid7`` beyond what the kit asks of every engine: names, order of columns, other makes of class."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column
from sqlmodel import Field, SQLModel

import db_plugins
from db_plugins.models import Base, MetadataMixin, TimestampMixin, uuid7
from db_plugins.sqlmodel import MetadataMixin as SQLMetadata
from db_plugins.sqlmodel import TimestampMixin as SQLTimestamp

MAKERS: list[Callable[[], uuid.UUID]] = list(dict.fromkeys([uuid7._made_here, uuid7.uuid7]))


class Guild(MetadataMixin, Base):
    __tablename__ = "guilds"
    __table_args__ = (sa.CheckConstraint("size > 0"), sa.CheckConstraint("size < 9", name="small"))
    name: Mapped[str] = mapped_column(sa.String(40), unique=True)
    size: Mapped[int] = mapped_column(index=True)
    parent_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("guilds.id"))


class DataBase(MappedAsDataclass, DeclarativeBase):
    pass


class Badge(MetadataMixin, DataBase):
    __tablename__ = "badges"
    name: Mapped[str]


class Note(DataBase, TimestampMixin):
    __tablename__ = "notes"
    key: Mapped[int] = mapped_column(primary_key=True, init=False)
    text: Mapped[str] = mapped_column(default="")


class HeroBase(SQLModel):
    name: str


class MixedHero(HeroBase, SQLMetadata, table=True):
    pass


class MixedNote(SQLTimestamp, SQLModel, table=True):
    key: int | None = Field(default=None, primary_key=True)
    name: str


# -- uuid7 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MAKERS)
def test_ten_thousand_ids_are_different_and_ascend(make: Callable[[], uuid.UUID]) -> None:
    ids = [make() for _ in range(10_000)]
    assert len(set(ids)) == 10_000
    assert sorted(ids) == ids
    assert sorted(map(str, ids)) == [str(each) for each in ids]
    assert {each.version for each in ids} == {7}
    assert {each.variant for each in ids} == {uuid.RFC_4122}


@pytest.mark.parametrize("make", MAKERS)
def test_an_id_begins_with_the_milliseconds_of_its_making(make: Callable[[], uuid.UUID]) -> None:
    before = time.time_ns() // 1_000_000
    made = make().int >> 80
    # Ids may run ahead of the clock by what a full millisecond carries over.
    assert before <= made <= time.time_ns() // 1_000_000 + 1


def test_ids_ascend_while_the_clock_stands_still_or_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uuid7, "_last", 0)  # put back afterwards: other tests have the real clock
    now = [time.time_ns() + 10**9]
    monkeypatch.setattr(uuid7.time, "time_ns", lambda: now[0])
    ids = [uuid7._made_here() for _ in range(1000)]
    now[0] -= 10**12
    ids += [uuid7._made_here() for _ in range(1000)]
    assert sorted(ids) == ids
    assert len(set(ids)) == 2000


@pytest.mark.parametrize("make", MAKERS)
def test_threads_make_different_ids_each_ascending(make: Callable[[], uuid.UUID]) -> None:
    made: list[list[uuid.UUID]] = []

    def work() -> None:
        made.append([make() for _ in range(2000)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each for ids in made for each in ids}) == 16_000
    assert all(sorted(ids) == ids for ids in made)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_of_a_fork_makes_ids_though_its_parent_was_making_one() -> None:
    code = (
        "import os\n"
        "from db_plugins.models import uuid7\n"
        "uuid7._lock.acquire()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    uuid7._made_here()\n"
        "    os._exit(0)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=30)


# -- Base and the columns --------------------------------------------------------------------------------------------


def test_every_index_and_constraint_of_base_has_a_name() -> None:
    table = Guild.__table__
    assert isinstance(table, sa.Table)
    names = {str(constraint.name) for constraint in table.constraints}
    (unnamed_check,) = {name for name in names if name.startswith("ck_")}
    assert names == {"pk_guilds", "uq_guilds_name", "fk_guilds_parent_id_guilds", "small", unnamed_check}
    assert {index.name for index in table.indexes} == {"ix_guilds_size"}
    other = sa.Table("guilds", sa.MetaData(naming_convention=dict(Base.metadata.naming_convention)))
    other.append_constraint(sa.CheckConstraint("size > 0"))
    assert unnamed_check in {str(constraint.name) for constraint in other.constraints}, "the same each time"


def test_the_key_comes_first_and_the_times_last() -> None:
    assert list(Guild.__table__.columns.keys()) == [
        *("id", "name", "size", "parent_id"),
        *("created_at", "updated_at"),
    ]
    assert next(iter(MixedHero.__table__.columns)).name == "id"


# -- other makes of class --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [Guild, Badge, Note, MixedHero, MixedNote])
def test_every_make_of_class_gets_its_key_and_its_times(model: type) -> None:
    given = {Guild: {"name": "a", "size": 1}, Note: {"text": "a"}}.get(model, {"name": "a"})
    with db_plugins.connect("sqlite://", models=[model]) as db:
        db.create_all()
        query = db.query(model)
        by_object, by_mapping = query.insert(model(**given)), query.insert({**given, **_other(given)})
        for made in (by_object, by_mapping):
            assert made.created_at.utcoffset() == dt.timedelta(0)
            assert abs(made.updated_at - made.created_at) < dt.timedelta(milliseconds=10)
            assert getattr(made, "id", None) is None or made.id.version == 7
        assert by_mapping.created_at == by_mapping.updated_at
        before, created = by_object.updated_at, by_object.created_at
        time.sleep(0.001)
        query.update(by_object, {next(iter(given)): "z"})
        assert by_object.updated_at > before
        assert by_object.created_at == created
        with db.session() as s:
            s.add(by_object)
            before = by_object.updated_at
            setattr(by_object, next(iter(given)), "y")
            time.sleep(0.001)
        assert query.filter(**{next(iter(given)): "y"}).one().updated_at > before


def _other(given: dict[str, object]) -> dict[str, object]:
    return {name: "b" for name, value in given.items() if isinstance(value, str)}


def test_of_a_dataclass_the_columns_are_no_fields() -> None:
    assert repr(Badge("a")) == "Badge(name='a')"
    assert Badge("a") == Badge(name="a")
    with pytest.raises(TypeError):
        Badge("a", created_at=dt.datetime.now(dt.UTC))


def test_sqlmodel_has_its_values_as_soon_as_the_object_is_made() -> None:
    hero = MixedHero(name="a")
    assert hero.id.version == 7
    assert hero.created_at.tzinfo is not None
    assert set(hero.model_dump()) == {"id", "name", "created_at", "updated_at"}
