"""``version_id_col`` beyond what the kit asks of every engine: other generators, other makes of class, refusals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, declared_attr, mapped_column
from sqlmodel import Field, SQLModel

import db_plugins
from db_plugins.errors import ConflictError, UnsupportedError
from db_plugins.models import describe
from db_plugins.testing.kit.models import Stamped


class Base(DeclarativeBase):
    pass


class Tens(Base):
    """Counts in tens."""

    __tablename__ = "tens"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str | None]
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version, "version_id_generator": lambda old: (old or 0) + 10}


class Manual(Base):
    """Its version is made by nobody but the server, or by hand."""

    __tablename__ = "manual"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str | None]
    version: Mapped[int] = mapped_column(server_default="1")
    __mapper_args__ = {"version_id_col": version, "version_id_generator": False}


class Beast(Base):
    __tablename__ = "beasts"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    text: Mapped[str | None]
    version: Mapped[int | None] = mapped_column()
    __mapper_args__ = {"version_id_col": version, "polymorphic_on": "kind", "polymorphic_identity": "beast"}


class Dragon(Beast):
    __mapper_args__ = {"polymorphic_identity": "dragon"}


class DataBase(MappedAsDataclass, DeclarativeBase):
    pass


class Card(DataBase):
    __tablename__ = "cards"
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    text: Mapped[str | None] = mapped_column(default=None)
    version: Mapped[int] = mapped_column(init=False)
    __mapper_args__ = {"version_id_col": version}


class VersionedHero(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    text: str | None = None
    version: int = Field(sa_column=sa.Column("version", sa.Integer, nullable=False), default=1)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, object]:
        return {"version_id_col": cls.__table__.c.version}


@pytest.fixture(params=["memory", "sqlite"])
def db(request: pytest.FixtureRequest) -> Iterator[db_plugins.Database]:
    models = [Tens, Beast, Dragon, Card, VersionedHero]
    with db_plugins.connect({"ENGINE": request.param, "DB_NAME": ":memory:"}, models=models) as database:
        database.create_all()
        yield database


@pytest.mark.parametrize("model", [Beast, Dragon, Card, VersionedHero])
def test_every_make_of_class_has_its_version(db: db_plugins.Database, model: type) -> None:
    query = db.query(model)
    one, other = query.insert(model(text="a")), query.one()
    assert one.version == 1
    assert query.update(one, {"text": "b"}).version == 2
    with pytest.raises(ConflictError, match=f"this {model.__name__} was changed"):
        query.update(other, {"text": "c"})
    assert query.filter(text="b").update({"text": "d"}) == 1
    assert query.one().version == 3


def test_a_generator_of_the_models_own_makes_the_versions_of_objects(db: db_plugins.Database) -> None:
    query = db.query(Tens)
    row, other = query.insert({"text": "a"}), query.one()
    assert row.version == 10
    assert query.update(row, {"text": "b"}).version == 20
    query.update({"text": "c"}, force=True)
    assert query.one().version == 21, "of a query: a version that nobody has read"
    for stale in (row, other):
        with pytest.raises(ConflictError):
            query.update(stale, {"text": "d"})


def test_a_subclass_through_its_base_is_versioned_too(db: db_plugins.Database) -> None:
    dragon = db.query(Dragon).insert({"text": "a"})
    beast = db.query(Beast).get(dragon.id)
    db.query(Beast).update(beast, {"text": "b"})
    with pytest.raises(ConflictError):
        db.query(Dragon).delete(dragon)


def test_a_row_from_before_there_were_versions_gets_its_first(db: db_plugins.Database) -> None:
    query = db.query(Beast)
    query.insert({"text": "a"})
    query.update({"version": None}, force=True)
    row, other = query.one(), query.one()
    assert row.version is None
    assert query.update(row, {"text": "b"}).version == 1
    with pytest.raises(ConflictError):
        query.update(other, {"text": "c"})


def test_a_version_made_by_the_server_is_for_sql() -> None:
    with (
        db_plugins.connect({"ENGINE": "memory"}, models=[Manual]) as memory,
        pytest.raises(UnsupportedError, match=r"Manual\.version is filled by the server"),
    ):
        memory.query(Manual)
    with db_plugins.connect("sqlite://", models=[Manual]) as database:
        database.create_all()
        query = database.query(Manual)
        row, other = query.insert({"text": "a"}), query.one()
        assert row.version == 1
        assert query.update(row, {"text": "b", "version": 2}).version == 2
        with pytest.raises(ConflictError):
            query.update(other, {"text": "c"})


def test_a_model_without_a_version_has_none() -> None:
    assert describe(Tens).version is describe(Tens).by_name["version"]
    assert describe(Tens).version.required is False
    assert describe(Stamped).version is None  # a column of that name alone is none
