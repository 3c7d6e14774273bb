"""The requirements of seeds 002, 003 and 004 about writing, by their ids: insert, update, sessions, validation.

Where a row and the contract disagree, the contract holds, and the docstring says so.
"""

# No "from __future__ import annotations": SQLModel reads annotations when the class is made.

import asyncio
import datetime as dt
import json
from typing import Any

import pydantic
import pytest
import sqlalchemy as sa
import sqlmodel
from seeds import (
    ALL,
    Connect,
    Conversation,
    Message,
    User,
    UserBase,
    UserCreate,
    add_in_session,
    connect,
    entry,
    has_sessions,
    now,
    on,
)
from sqlalchemy.orm import DeclarativeBase, registry

from db_plugins.errors import InvalidValueError, NotFoundError
from db_plugins.models import schemas

__all__ = ["connect", "entry"]

SESSIONS = ("sqlite", "postgresql", "mariadb")
HISTORY = (User, Conversation, Message)


class AppModel(sqlmodel.SQLModel, registry=registry()):
    """The base of these models: their own registry and metadata."""

    metadata = sa.MetaData()


class Shield(AppModel, table=True):
    """003's model, as it is written there."""

    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    name: str
    defense_rating: int = sqlmodel.Field(default=10)
    material: str = "iron"
    enchantment: str | None = None


ShieldCreate, ShieldUpdate, ShieldRead = schemas(Shield)


class ChatMessage(AppModel, table=True):
    """004's model, its time aware."""

    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    session_id: str = sqlmodel.Field(index=True, max_length=40)
    role: str
    content: str
    tokens_used: int | None = None
    model: str | None = None
    created_at: dt.datetime = sqlmodel.Field(default_factory=now, sa_type=sa.DateTime(timezone=True))


# -- 002: insert and update ------------------------------------------------------------------------------------------


class Objects(DeclarativeBase):
    pass


class SurveyObject(Objects):
    """002's object with a length for its key, which MariaDB needs."""

    __tablename__ = "survey_objects"
    oid = sa.Column(sa.String(20), primary_key=True)
    ndet = sa.Column(sa.Integer)
    firstmjd = sa.Column(sa.Float)


@on(*ALL)
def test_an_insert_stores_the_row_and_returns_it(connect: Connect) -> None:
    """002-05: stored and returned, as an object, by a mapping or by an object."""
    query = connect(SurveyObject).query(SurveyObject)
    made = query.insert({"oid": "ZTF1", "ndet": 3, "firstmjd": 59000.5})
    assert (type(made), made.oid, made.ndet, made.firstmjd) == (SurveyObject, "ZTF1", 3, 59000.5)
    given = SurveyObject(oid="ZTF2")
    assert query.insert(given) is given
    assert query.bulk_insert([{"oid": "ZTF3"}, SurveyObject(oid="ZTF4", ndet=1)]).inserted == 2
    rows = [(o.oid, o.ndet, o.firstmjd) for o in query.order_by("oid").all()]
    assert rows == [("ZTF1", 3, 59000.5), ("ZTF2", None, None), ("ZTF3", None, None), ("ZTF4", 1, None)]


@on(*ALL)
def test_an_update_changes_its_rows_and_leaves_the_others(connect: Connect) -> None:
    """002-06: changed, the others untouched; the answer for an absent row is the same on every engine: 0 of a query,
    NotFoundError of an object."""
    query = connect(SurveyObject).query(SurveyObject)
    query.bulk_insert([{"oid": f"ZTF{n}", "ndet": n, "firstmjd": 1.0} for n in range(4)])
    assert query.filter(SurveyObject.ndet < 2).update({"ndet": 10}) == 2
    assert query.update(query.get("ZTF3"), {"ndet": 11}).ndet == 11
    assert [(o.ndet, o.firstmjd) for o in query.order_by("oid").all()] == [
        *((10, 1.0), (10, 1.0)),
        *((2, 1.0), (11, 1.0)),
    ]
    gone = query.get("ZTF0")
    query.delete(gone)
    assert query.filter(oid="ZTF0").update({"ndet": 1}) == 0
    with pytest.raises(NotFoundError):
        query.update(gone, {"ndet": 1})
    assert query.filter(ndet=1).count() == 0


# -- 003: shields ----------------------------------------------------------------------------------------------------


@on(*ALL)
def test_a_models_defaults_are_saved_and_read(connect: Connect) -> None:
    """003-13: defence 10, material iron, no enchantment; by an object, a mapping, and a session."""
    db = connect(Shield)
    db.query(Shield).insert(Shield(name="a"))
    db.query(Shield).insert({"name": "b"})
    if has_sessions(db):
        add_in_session(db, Shield(name="c"))
    for shield in db.query(Shield).all():
        assert (shield.defense_rating, shield.material, shield.enchantment) == (10, "iron", None)


@on(*SESSIONS)
def test_a_session_commits_at_the_end_of_its_block(connect: Connect) -> None:
    """003-14: another session sees the row."""
    db = connect(Shield)
    with db.session() as s:
        s.add(Shield(name="Dragon Scale Shield"))
    with db.session() as s:
        assert s.scalars(sa.select(Shield.name)).all() == ["Dragon Scale Shield"]


@on(*SESSIONS)
def test_a_session_undoes_its_block_on_an_error(connect: Connect) -> None:
    """003-15: 0 rows, the error raised again, no connection kept."""
    db = connect(Shield)
    with pytest.raises(KeyError, match="mine"), db.session() as s:
        s.add(Shield(name="a"))
        s.flush()
        raise KeyError("mine")
    assert db.query(Shield).count() == 0
    assert db.native.pool.checkedout() == 0


@on(*SESSIONS)
def test_an_object_is_usable_after_its_session(connect: Connect) -> None:
    """003-16: the seed's endpoint returns ``shield.id`` after the block."""
    db = connect(Shield)
    with db.session() as s:
        shield = Shield(name="a")
        s.add(shield)
    db.close()
    assert {"id": shield.id, "name": shield.name, "material": shield.material} == {
        "id": 1,
        "name": "a",
        "material": "iron",
    }


@on(*ALL)
def test_an_endpoint_stores_and_answers_while_the_loop_goes_on(connect: Connect) -> None:
    """003-17: POST /shields answers 200 with the id, from a plain endpoint and from an async one that hands the work to a
    thread, as many at a time as come."""
    fastapi = pytest.importorskip("fastapi")
    client_of = pytest.importorskip("fastapi.testclient").TestClient
    db = connect(Shield)
    app = fastapi.FastAPI()

    def store(data: dict[str, Any]) -> dict[str, Any]:
        shield = db.query(Shield).insert(data)
        return {"id": shield.id, "name": shield.name}

    @app.post("/shields")  # type: ignore[untyped-decorator]
    def create(data: dict[str, Any]) -> dict[str, Any]:
        return store(data)

    @app.post("/async")  # type: ignore[untyped-decorator]
    async def create_async(data: dict[str, Any]) -> list[dict[str, Any]]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        rows = ({**data, "name": f"{data['name']}{n}"} for n in range(5))
        stored = await asyncio.gather(*(asyncio.to_thread(store, row) for row in rows))
        ticking.cancel()
        assert ticks > 1, "the loop stood still"
        return list(stored)

    with client_of(app) as client:
        answer = client.post("/shields", json={"name": "a"})
        assert (answer.status_code, answer.json()) == (200, {"id": 1, "name": "a"})
        answer = client.post("/async", json={"name": "b"})
        assert answer.status_code == 200
        assert {row["id"] for row in answer.json()} == {2, 3, 4, 5, 6}


@on(*ALL)
def test_the_dump_of_a_create_model_makes_the_object(connect: Connect) -> None:
    """003-18: ``Shield(**data.model_dump())``; every warning is an error here. ``insert`` takes the model itself too."""
    db = connect(Shield)
    data = ShieldCreate(name="a", enchantment="fire")
    db.query(Shield).insert(Shield(**data.model_dump()))
    db.query(Shield).insert(data)
    if has_sessions(db):
        add_in_session(db, Shield(**data.model_dump()))
    for shield in db.query(Shield).all():
        read = ShieldRead.model_validate(shield).model_dump(exclude={"id"})
        assert read == {"name": "a", "defense_rating": 10, "material": "iron", "enchantment": "fire"}


@on(*SESSIONS)
def test_what_a_nested_transaction_kept_goes_with_the_outer_one(connect: Connect) -> None:
    """003-30: ``begin_nested``, then the outer rollback: 0 rows. A nested block that fails undoes itself alone."""
    db = connect(Shield)
    with db.session(commit=False) as s:
        with s.begin_nested():
            s.add(Shield(name="a"))
        assert db.query(Shield).count() == 1, "calls on db join the session"
        s.rollback()
    assert db.query(Shield).count() == 0
    with db.session() as s:
        s.add(Shield(name="b"))
        with pytest.raises(ZeroDivisionError), s.begin_nested():
            s.add(Shield(name="c"))
            s.flush()
            raise ZeroDivisionError
    assert [shield.name for shield in db.query(Shield).all()] == ["b"]


@on("memory", *SESSIONS)
def test_a_savepoint_of_a_transaction_goes_with_the_outer_one(connect: Connect) -> None:
    """003-30: the same by ``transaction()``, on the engines that have savepoints."""
    db = connect(Shield)
    with pytest.raises(ZeroDivisionError), db.transaction() as tx:
        with tx.transaction() as nested:
            nested.query(Shield).insert({"name": "a"})
        assert tx.query(Shield).count() == 1
        raise ZeroDivisionError
    assert db.query(Shield).count() == 0


# -- 004: users and messages -----------------------------------------------------------------------------------------


@on(*ALL)
def test_one_class_is_a_pydantic_model_and_a_row(connect: Connect) -> None:
    """004-01: ``model_dump_json`` before it is saved has id null; afterwards it is an int."""
    query = connect(Shield).query(Shield)
    shield = Shield(name="a")
    assert json.loads(shield.model_dump_json())["id"] is None
    query.insert(shield)
    assert isinstance(json.loads(shield.model_dump_json())["id"], int)
    assert json.loads(query.get(shield.id).model_dump_json()) == json.loads(shield.model_dump_json())


@on(*ALL)
def test_a_value_of_the_wrong_type_is_refused_by_name(connect: Connect) -> None:
    """004-02: SQLModel's tables check nothing: ``insert``, ``update`` and a session do, and Create before them."""
    db = connect(Shield)
    query = db.query(Shield)
    shield = query.insert({"name": "a"})
    writes: list[Any] = [
        lambda: query.insert(Shield(name="b", defense_rating="abc")),
        lambda: query.insert({"name": "b", "defense_rating": "abc"}),
        lambda: query.bulk_insert([{"name": "b", "defense_rating": "abc"}]),
        lambda: query.update(shield, {"defense_rating": "abc"}),
    ]
    if has_sessions(db):
        writes.append(lambda: add_in_session(db, Shield(name="b", defense_rating="abc")))
    for write in writes:
        with pytest.raises(InvalidValueError, match=r"Shield\.defense_rating") as caught:
            write()
        assert "abc" not in str(caught.value)
    with pytest.raises(pydantic.ValidationError, match="defense_rating"):
        ShieldCreate(name="b", defense_rating="abc")
    assert query.count() == 1


class Smith(DeclarativeBase):
    """A base that shares SQLModel's metadata: both styles in one."""

    metadata = AppModel.metadata


class Forge(Smith):
    __tablename__ = "forges"
    id = sa.Column(sa.Integer, primary_key=True)
    town = sa.Column(sa.String(40), nullable=False)
    shield_id = sa.Column(sa.ForeignKey("shield.id"))


class ForgeIn(pydantic.BaseModel):
    """The Pydantic half of the pair, written by hand."""

    model_config = pydantic.ConfigDict(from_attributes=True)
    town: str
    shield_id: int | None = None


@on(*ALL)
def test_a_pair_of_sqlalchemy_and_pydantic_stands_beside_sqlmodel(connect: Connect) -> None:
    """004-03: both styles in one app and one metadata, made by one ``create_all``."""
    db = connect(Shield, Forge)
    shield = db.query(Shield).insert(ShieldCreate(name="a"))
    forge = db.query(Forge).insert(ForgeIn(town="Ghent", shield_id=shield.id))
    assert ForgeIn.model_validate(db.query(Forge).get(forge.id)) == ForgeIn(town="Ghent", shield_id=shield.id)
    assert {"shield", "forges"} <= set(AppModel.metadata.tables)


@on(*ALL)
def test_a_message_of_a_chat_is_saved_as_it_is(connect: Connect) -> None:
    """004-34: role, content, tokens, model and session; the row is equal."""
    query = connect(ChatMessage).query(ChatMessage)
    given: dict[str, Any] = {
        "session_id": "s-1",
        "role": "assistant",
        "content": "Guten Tag, 世界 \N{WAVING HAND SIGN}\n" * 50,
        "tokens_used": 12,
        "model": "m-1",
    }
    message = query.insert(ChatMessage(**given))
    assert query.get(message.id).model_dump() == {
        **given,
        "id": message.id,
        "created_at": message.created_at,
    }
    silent = query.insert({"session_id": "s-2", "role": "user", "content": ""})
    assert (query.get(silent.id).tokens_used, query.get(silent.id).model) == (None, None)


@on(*ALL)
def test_a_password_is_never_in_what_is_read(connect: Connect) -> None:
    """004-14: with ``schemas`` too: Read has id and created_at, and no password of any sort."""
    Create, Update, Read = schemas(User, exclude=["hashed_password"])

    class SignUp(Create):
        password: str

    users = connect(*HISTORY).query(User)
    given = SignUp(email="a@x.org", name="a", password="s3cret")
    with pytest.raises(InvalidValueError, match="password"):
        users.insert(given)
    user = users.insert({**given.model_dump(exclude={"password"}), "hashed_password": "#"})
    assert set(Read.model_validate(user).model_dump()) == {"id", "email", "name", "is_active", "created_at"}
    assert "hashed_password" not in Update.model_fields
    assert set(UserCreate.model_fields) == {*UserBase.model_fields, "password"}
