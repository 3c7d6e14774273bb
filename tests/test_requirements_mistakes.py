"""What seed 004's own text does wrong, by the ids of REQUIREMENTS §2: each is met with a clear error, or works.

Those about files that cannot be imported are in ``config/test_models.py``, those about its chat in ``test_example_chat.py``.
"""

# No "from __future__ import annotations": SQLModel reads annotations when the class is made.

import asyncio
import datetime as dt
from typing import Any

import pydantic
import pytest
import sqlalchemy as sa
import sqlmodel
from seeds import ALL, SQL, Connect, SeedModel, SeedUser, User, connect, entry, has_sessions, on
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, registry
from sqlmodel.ext.asyncio.session import AsyncSession as SQLModelSession

import db_plugins
from db_plugins import AsyncDatabase, InvalidValueError, UnsupportedError

__all__ = ["connect", "entry"]

AWARE = dt.datetime(2026, 11, 21, 22, 30, tzinfo=dt.UTC)


class Clock(SeedModel, table=True):
    __tablename__ = "mistaken_clock"
    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    aware: dt.datetime | None = sqlmodel.Field(default=None, sa_type=sa.DateTime(timezone=True))
    naive: dt.datetime | None = sqlmodel.Field(default=None, sa_type=sa.DateTime())


@on(*ALL)
def test_a_time_that_does_not_fit_its_column_is_refused_with_the_remedy(
    connect: Connect, entry: dict[str, Any]
) -> None:
    """004-E3: what ``utcnow`` gives is naive. 004-E4: an aware one in a column without a time zone, which asyncpg cannot
    subtract, is refused before it is sent. Both faces, sessions too."""
    db = connect(Clock)
    wrong = {"aware": AWARE.replace(tzinfo=None), "naive": AWARE}
    remedies = {
        "aware": r"Clock\.aware .*datetime\.now\(timezone\.utc\)",
        "naive": r"Clock\.naive .*timezone=True",
    }

    def in_session(row: Clock) -> None:
        with db.session() as s:
            s.add(row)

    async def awaited(values: dict[str, Any]) -> None:
        async with db_plugins.connect_async(entry, models=[Clock]) as adb:
            await adb.query(Clock).insert(values)

    writes: list[Any] = [
        lambda values: db.query(Clock).insert(values),
        lambda values: db.query(Clock).insert(Clock(**values)),
        lambda values: db.query(Clock).bulk_insert([values]),
        lambda values: asyncio.run(awaited(values)),
    ]
    if has_sessions(db):
        writes.append(lambda values: in_session(Clock(**values)))
    for name, value in wrong.items():
        for write in writes:
            with pytest.raises(InvalidValueError, match=remedies[name]):
                write({name: value})
    assert db.query(Clock).count() == 0


def declared() -> type:
    class Base(DeclarativeBase):
        pass

    class Paper(Base):
        __tablename__ = "paper"
        id: Mapped[int] = mapped_column(primary_key=True)
        metadata: Mapped[dict[str, Any]] = mapped_column(sa.JSON)  # type: ignore[assignment]

    return Paper


def as_sqlmodel() -> type:
    class Own(sqlmodel.SQLModel, registry=registry()):
        metadata = sa.MetaData()

    class Paper(Own, table=True):
        id: int | None = sqlmodel.Field(default=None, primary_key=True)
        metadata: dict[str, Any] = sqlmodel.Field(default_factory=dict, sa_column=sa.Column(sa.JSON))

    return Paper


@pytest.mark.filterwarnings("ignore:Attribute name 'metadata'", 'ignore:Field name "metadata"')
@pytest.mark.parametrize("make", [declared, as_sqlmodel])
def test_a_column_called_metadata_is_refused_by_name(make: Any) -> None:
    """004-E11: SQLAlchemy 2.0 makes no such class; 2.1 only warns, and an object of SQLModel's cannot be made then."""
    if sa.__version__.startswith("2.0."):
        with pytest.raises(InvalidRequestError, match="'metadata' is reserved"):
            make()
        return
    model = make()
    for target in ("sqlite://", {"ENGINE": "memory"}):
        with db_plugins.connect(target, models=[model]) as db:
            with pytest.raises(
                UnsupportedError, match=r"Paper\.metadata .*metadata_ = mapped_column\(\"metadata\""
            ):
                db.create_all()
            with pytest.raises(UnsupportedError, match=r"Paper\.metadata"):
                db.query(model)


def test_metadata_of_a_class_that_keeps_no_tables_there_is_a_column_like_any_other() -> None:
    class Paper:
        pass

    columns = sa.Column("id", sa.Integer, primary_key=True), sa.Column("metadata", sa.JSON)
    registry().map_imperatively(Paper, sa.Table("paper", sa.MetaData(), *columns))
    with db_plugins.connect("sqlite://", models=[Paper]) as db:
        db.create_all()
        assert db.query(Paper).insert({"metadata": {"n": 1}}).metadata == {"n": 1}  # type: ignore[attr-defined]


@on(*SQL)
@pytest.mark.usefixtures("connect")
@pytest.mark.filterwarnings("error")
def test_the_sessions_execute_is_not_deprecated(entry: dict[str, Any]) -> None:
    """004-E12: ``db.session()`` gives SQLAlchemy's own class. One of SQLModel's, over ``native``, has ``exec``."""

    async def body(db: AsyncDatabase) -> None:
        async with db.session() as s:
            assert type(s).execute is AsyncSession.execute
            s.add(User(id=1, email="a@b", name="ann"))
            await s.flush()
            assert (await s.execute(sa.select(User.name))).scalar_one() == "ann"
        bind = db.native.execution_options(isolation_level="SERIALIZABLE")
        async with async_sessionmaker(bind, class_=SQLModelSession)() as s:
            assert (await s.exec(sqlmodel.select(User.name))).one() == "ann"

    async def main() -> None:
        async with db_plugins.connect_async(entry, models=[User]) as db:
            await db.create_all()
            await body(db)

    asyncio.run(main())


class Given(pydantic.BaseModel):
    email: str
    nmae: str


@on(*ALL)
def test_an_unknown_name_is_refused_by_every_write_of_both_sorts_of_models(connect: Connect) -> None:
    """all-E1: a constructor of SQLModel passes over what it does not know, one of Declarative raises TypeError: ``insert``
    and its kin have one rule, and name the nearest attribute."""
    db = connect(User, SeedUser)
    wrong = {"email": "a@b", "nmae": "ann"}
    writes: list[Any] = [
        lambda query: query.insert(wrong),
        lambda query: query.insert(Given(**wrong)),
        lambda query: query.bulk_insert([wrong]),
        lambda query: query.upsert(wrong, key=["email"]),
        lambda query: query.get_or_create({"email": "a@b"}, nmae="ann"),
        lambda query: query.filter(email="a@b").update({"nmae": "ann"}),
        lambda query: query.bulk_update([{"id": 1, "nmae": "ann"}]),
    ]
    for model in (User, SeedUser):
        query = db.query(model)
        for write in writes:
            with pytest.raises(InvalidValueError, match=rf"{model.__name__} has no attribute 'nmae'.*'name'"):
                write(query)
        assert query.count() == 0
