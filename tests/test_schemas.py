"""``schemas``: which fields the three models have, what they take, and that ``insert`` and ``update`` take what they took."""

from __future__ import annotations

import datetime as dt
import enum
import pickle
import uuid
from decimal import Decimal
from typing import Any

import pydantic
import pytest
import sqlalchemy as sa
from seeds import ALL, Connect, connect, entry, on
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlmodel import Field, SQLModel

import db_plugins
from db_plugins import Vector
from db_plugins.errors import InvalidValueError
from db_plugins.models import MetadataMixin, schemas
from db_plugins.sqlmodel import MetadataMixin as SQLMetadata
from db_plugins.testing.kit import models as kit

__all__ = ["connect", "entry"]


class Base(DeclarativeBase):
    pass


class Rank(enum.Enum):
    NOVICE = "n"
    MASTER = "m"


class Member(MetadataMixin, Base):
    """A column of every kind, each of them once with NULL and without."""

    __tablename__ = "schema_member"
    name: Mapped[str] = mapped_column(sa.String(5), comment="as on the card")
    note: Mapped[str | None] = mapped_column(sa.String(5))
    rank: Mapped[Rank] = mapped_column(default=Rank.NOVICE)
    shirt: Mapped[str | None] = mapped_column(sa.Enum("S", "M", name="schema_shirt"))
    points: Mapped[int] = mapped_column(sa.SmallInteger, default=10)
    fee: Mapped[Decimal | None] = mapped_column(sa.Numeric(5, 2))
    weight: Mapped[float | None]
    active: Mapped[bool] = mapped_column(default=True)
    seen: Mapped[dt.datetime | None] = mapped_column(sa.DateTime(timezone=True))
    local: Mapped[dt.datetime | None] = mapped_column(sa.DateTime())
    born: Mapped[dt.date | None]
    hour: Mapped[dt.time | None]
    tag: Mapped[uuid.UUID | None]
    photo: Mapped[bytes | None] = mapped_column("picture")
    extra: Mapped[Any] = mapped_column(sa.JSON, default=dict)
    place: Mapped[list[float] | None] = mapped_column(Vector(3))
    hashed_password: Mapped[str] = mapped_column(sa.String(20), default="")
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}


class SQLMember(SQLMetadata, SQLModel, table=True):
    name: str = Field(max_length=5)
    tags: list[str] = Field(default_factory=list, sa_type=sa.JSON)


MemberCreate, MemberUpdate, MemberRead = schemas(Member, exclude=["hashed_password"])
MODELS = (MemberCreate, MemberUpdate, MemberRead)
GENERATED = {"id", "created_at", "updated_at", "version"}


def fields(model: type[pydantic.BaseModel]) -> set[str]:
    return set(model.model_fields)


def required(model: type[pydantic.BaseModel]) -> set[str]:
    return {name for name, field in model.model_fields.items() if field.is_required()}


def test_the_three_have_their_names_and_fields() -> None:
    assert [m.__name__ for m in MODELS] == ["MemberCreate", "MemberUpdate", "MemberRead"]
    columns = set(sa.inspect(Member).column_attrs.keys()) - {"hashed_password"}
    assert fields(MemberRead) == required(MemberRead) == columns
    assert fields(MemberCreate) == fields(MemberUpdate) == columns - GENERATED
    assert required(MemberCreate) == {"name"}
    assert required(MemberUpdate) == set()
    assert all(m.model_config["from_attributes"] for m in MODELS)


@pytest.mark.parametrize(
    ("model", "create", "needed", "update"),
    [
        (kit.Star, {"name", "mag", "band"}, {"name"}, {"name", "mag", "band"}),
        (kit.Token, {"note"}, set(), {"note"}),
        (kit.Pair, {"left", "right", "note"}, {"left", "right"}, {"note"}),
        (kit.Badge, {"code", "serial", "owner", "place"}, {"code"}, {"serial", "owner", "place"}),
        (kit.Dog, {"name", "barks", "chip"}, set(), {"name", "barks", "chip"}),
        (kit.Book, {"title", "author_id"}, {"title"}, {"title", "author_id"}),
        (kit.Imperative, {"name", "note"}, {"name"}, {"name", "note"}),
        (kit.Point, {"name", "note", "weight"}, {"name"}, {"name", "note", "weight"}),
        (SQLMember, {"name", "tags"}, {"name"}, {"name", "tags"}),
    ],
)
def test_generated_keys_times_and_relationships_are_left_out(
    model: type, create: set[str], needed: set[str], update: set[str]
) -> None:
    Create, Update, Read = schemas(model)
    assert (fields(Create), required(Create), fields(Update)) == (create, needed, update)
    assert fields(Read) == set(sa.inspect(model).column_attrs.keys())


def test_excluded_names_and_unknown_ones() -> None:
    Create, Update, Read = schemas(Member, exclude={"photo"}, create_exclude=("rank",))
    assert not {"photo", "rank"} & fields(Create)
    assert "photo" not in fields(Update) | fields(Read)
    assert "rank" in fields(Update) & fields(Read)
    for wrong in ({"exclude": ["nam"]}, {"create_exclude": ["nam"]}, {"exclude": ["name", "nam"]}):
        with pytest.raises(InvalidValueError, match=r"Member has no column 'nam'; did you mean 'name'\?"):
            schemas(Member, **wrong)
    with pytest.raises(InvalidValueError, match=r"\['name'\]"):
        schemas(Member, exclude="name")
    with pytest.raises(InvalidValueError):
        schemas(int)


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("name", ["Ann"], ["toolong", 5, None, "a\x00"]),
        ("note", ["Ann", None], ["toolong", b"\xff"]),
        ("rank", [Rank.MASTER, "m", "MASTER"], ["x", 1, None]),
        ("shirt", ["S", None], ["L", 1]),
        ("points", [-(2**15), 2**15 - 1], [2**15, -(2**15) - 1, "x", 1.5, None]),
        ("fee", [Decimal("123.45"), 7, None], [Decimal("1.234"), Decimal(1000), Decimal("NaN"), "x"]),
        ("weight", [1, 1.5, None], ["x"]),
        ("active", [True, False], ["maybe", None]),
        ("seen", [dt.datetime(2026, 1, 1, tzinfo=dt.UTC), None], [dt.datetime(2026, 1, 1), "x"]),
        ("local", [dt.datetime(2026, 1, 1), None], [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)]),
        ("born", [dt.date(2026, 1, 1), "2026-01-01", None], ["x", 1.5]),
        ("hour", [dt.time(1, 2), None], ["x", dt.time(1, 2, tzinfo=dt.UTC)]),
        ("tag", [uuid.UUID(int=1), str(uuid.UUID(int=1)), None], ["x", 1]),
        ("photo", [b"\xff\x00", "/wA=", None], ["?", 1]),
        ("extra", [{"a": [1, None]}, [], "x", 0], [None, {1: 2}, object(), 2**64, float("inf")]),
        ("place", [[1, 2.5, 3], (1, 2, 3), None], [[1, 2], [1, 2, 3, 4], [1, 2, float("nan")], "123"]),
    ],
)
def test_what_create_and_update_take_is_what_the_column_takes(
    field: str, good: list[Any], bad: list[Any]
) -> None:
    given = {} if field == "name" else {"name": "Ann"}
    with db_plugins.connect({"ENGINE": "memory"}, models=[Member]) as db:
        db.create_all()
        for value in good:
            row = db.query(Member).insert(MemberCreate(**given, **{field: value}))
            db.query(Member).update(row, MemberUpdate(**{field: value}))
            shown = MemberRead.model_validate(row)
            assert getattr(shown, field) == getattr(row, field)
            assert getattr(MemberRead.model_validate_json(shown.model_dump_json()), field) == getattr(
                row, field
            )
    for value in bad:
        for model, more in ((MemberCreate, given), (MemberUpdate, {})):
            with pytest.raises(pydantic.ValidationError, match=field):
                model(**more, **{field: value})


def test_bounds_and_plain_defaults_are_in_the_json_schema() -> None:
    shown = MemberCreate.model_json_schema()
    about = shown["properties"]
    assert shown["required"] == ["name"]
    assert shown["additionalProperties"] is False
    assert about["name"]["maxLength"] == 5
    assert about["name"]["description"] == "as on the card"
    assert (about["points"]["minimum"], about["points"]["maximum"]) == (-(2**15), 2**15 - 1)
    assert (about["points"]["default"], about["active"]["default"], about["rank"]["default"]) == (
        10,
        True,
        "n",
    )
    assert "default" not in about["extra"], "a function fills it"
    assert about["photo"]["anyOf"][0] == {"type": "string", "contentEncoding": "base64"}
    changes = MemberUpdate.model_json_schema()
    assert "required" not in changes
    assert "default" not in changes["properties"]["name"]
    assert MemberRead.model_json_schema()["properties"]["name"].keys() == {"description", "title", "type"}


@on(*ALL)
def test_a_row_goes_in_by_create_changes_by_update_and_comes_out_by_read(connect: Connect) -> None:
    query = connect(Member).query(Member)
    row = query.insert(MemberCreate(name="Ann", note="x", photo=b"\xff"))
    assert (row.points, row.rank, row.extra, row.version) == (10, Rank.NOVICE, {}, 1)
    query.update(row, MemberUpdate(note=None, points=3))
    assert (row.name, row.note, row.points, row.version) == ("Ann", None, 3, 2)
    query.update(row, MemberUpdate())
    assert (row.name, row.version) == ("Ann", 2)
    shown = MemberRead.model_validate(query.get(row.id)).model_dump(mode="json")
    assert (shown["id"], shown["photo"], shown["rank"]) == (str(row.id), "/w==", "n")
    assert "hashed_password" not in shown
    assert dt.datetime.fromisoformat(shown["created_at"]) == row.created_at
    assert query.bulk_insert(MemberCreate(name=str(n)) for n in range(3)).inserted == 3


def test_names_that_create_and_update_do_not_have_are_refused() -> None:
    for model in (MemberCreate, MemberUpdate):
        for name in ("id", "created_at", "version", "hashed_password", "nope"):
            with pytest.raises(pydantic.ValidationError, match=name):
                model(name="a", **{name: "x"})


def test_a_read_shows_also_what_was_stored_by_others() -> None:
    then = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    row = Member(id=uuid.UUID(int=1), name="longer than five", rank=Rank.MASTER, points=10**6, active=True)
    row.extra, row.version, row.created_at, row.updated_at = None, 1, then, then
    assert MemberRead.model_validate(row).name == "longer than five"


def test_the_models_can_be_extended_and_pickled() -> None:
    class SignUp(MemberCreate):  # type: ignore[misc, valid-type]
        password: str

    assert SignUp(name="a", password="x").model_dump(exclude_unset=True) == {"name": "a", "password": "x"}
    assert pickle.loads(pickle.dumps(MemberCreate(name="a"))) == MemberCreate(name="a")


def test_names_of_pydantics_own_are_columns_all_the_same() -> None:
    class Odd(Base):
        __tablename__ = "schema_odd"
        id: Mapped[int] = mapped_column(primary_key=True)
        json: Mapped[str | None]
        model_name: Mapped[str]
        _secret: Mapped[str | None] = mapped_column("secret")

    Create, _, Read = schemas(Odd)
    assert fields(Read) == {"id", "json", "model_name"}
    with db_plugins.connect({"ENGINE": "memory"}, models=[Odd]) as db:
        db.create_all()
        made = db.query(Odd).insert(Create(json="a", model_name="b"))
        assert (made.json, made.model_name) == ("a", "b")
