"""The models of the seed documents, as they are written there, and databases for tests of the requirements.

    SeedUser, Event            001: declarative_base and Column, an Enum, a relationship
    Alerce                     002: an object of a survey
    User, Conversation, Message, Document    004: SQLModel, three linked models

``connect`` is a fixture, to be imported; ``on("sqlite", "mongodb")`` says on which engines a test runs.
"""

# No "from __future__ import annotations": SQLModel reads the annotations of relationships themselves.

import datetime as dt
import enum
import gc
import secrets
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
import sqlmodel
from sqlalchemy import Column, Date, Enum, ForeignKey, Integer, String
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import declarative_base, registry, relationship

import db_plugins

EVERYWHERE = ("sqlite", "postgresql", "mongodb", "mongomock")
SQL = ("sqlite", "postgresql")
#: The engines of this repository, all of them.
ALL = ("memory", *EVERYWHERE, "mariadb")

Connect = Callable[..., db_plugins.Database]

Base = declarative_base()


class SocialStatus(enum.Enum):
    PUBLIC = "public"
    PRIVATE = "private"


class SeedUser(Base):
    __tablename__ = "users"
    id = Column(Integer, primary_key=True)
    email = Column(String, unique=True, index=True)
    name = Column(String)
    owner = relationship("Event", back_populates="organizer")


class Event(Base):
    __tablename__ = "events"
    id = Column(Integer, primary_key=True)
    title = Column(String, index=True)
    date_of = Column(Date)
    social_status = Column(Enum(SocialStatus))
    user_id = Column(Integer, ForeignKey("users.id"))
    organizer = relationship("SeedUser", back_populates="owner")


class Alerce(Base):
    __tablename__ = "objects"
    oid = Column(String, primary_key=True)
    ndet = Column(Integer)
    firstmjd = Column(sa.Float)


class SeedModel(sqlmodel.SQLModel, registry=registry()):
    """The base of 004's models: their own registry and metadata."""

    metadata = sa.MetaData()


def now() -> dt.datetime:
    """Aware, and in milliseconds, which every engine keeps."""
    moment = dt.datetime.now(dt.UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class Message(SeedModel, table=True):
    """The last of the three, declared first: its references are names."""

    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    conversation_id: int = sqlmodel.Field(foreign_key="conversation.id")
    role: str
    content: str
    created_at: dt.datetime = sqlmodel.Field(default_factory=now, sa_type=sa.DateTime(timezone=True))
    conversation: "Conversation" = sqlmodel.Relationship(back_populates="messages")


class Conversation(SeedModel, table=True):
    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    user_id: int = sqlmodel.Field(foreign_key="user.id")
    title: str
    user: "User" = sqlmodel.Relationship(back_populates="conversations")
    messages: list[Message] = sqlmodel.Relationship(back_populates="conversation")


class UserBase(SeedModel):
    email: str = sqlmodel.Field(index=True, unique=True)
    name: str


class UserCreate(UserBase):
    password: str


class UserRead(UserBase):
    id: int
    created_at: dt.datetime


class User(UserBase, table=True):
    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    hashed_password: str = ""
    is_active: bool = sqlmodel.Field(default=True)
    created_at: dt.datetime = sqlmodel.Field(default_factory=now, sa_type=sa.DateTime(timezone=True))
    conversations: list[Conversation] = sqlmodel.Relationship(back_populates="user")


class Document(SeedModel, table=True):
    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    content: str
    metadata_: dict[str, Any] = sqlmodel.Field(
        default_factory=dict, sa_column=Column("metadata", MutableDict.as_mutable(sa.JSON))
    )


def on(*engines: str) -> Any:
    """Run the test on these engines."""
    return pytest.mark.parametrize("connect", engines, indirect=True)


@pytest.fixture
def entry(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """An entry of DB_CONFIG for a fresh database of the engine that ``connect`` was asked for."""
    return make_entry(request.node.callspec.params["connect"], request, tmp_path)


def make_entry(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """An entry for a fresh database, dropped when the test is over."""
    if engine == "sqlite":
        return {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "seed.db")}
    if engine == "memory":
        return {"ENGINE": "memory", "DB_NAME": f"t_{secrets.token_hex(6)}"}
    if engine == "mongomock":
        pytest.importorskip("mongomock_ng")
        return {"ENGINE": "mongomock", "DB_NAME": f"t_{secrets.token_hex(6)}"}
    server = request.getfixturevalue("shared_server")(engine)
    if engine == "postgresql":
        return _empty_postgresql(server)
    if engine == "mongodb":
        request.addfinalizer(_collect_dropped_sockets)
    name, _url = server.new_database()
    request.addfinalizer(lambda: server.drop_database(name))
    return dict(server.entry(name))


def _collect_dropped_sockets() -> None:
    """PyMongo 4.20 drops the socket of a connection whose making ``close()`` breaks off: Python closes it, and warns, in
    whichever test is at work when it is found."""
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect(1)


_postgresql: dict[str, tuple[str, str]] = {}


def _empty_postgresql(server: Any) -> dict[str, Any]:
    """One database for all tests, empty for each: a new schema takes a tenth of the time of a new database."""
    if server.url not in _postgresql:
        _postgresql[server.url] = server.new_database()
    name, url = _postgresql[server.url]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return dict(server.entry(name))


@pytest.fixture
def connect(entry: dict[str, Any]) -> Iterator[Connect]:
    """``connect(User, Conversation)``: a Database with the tables of these models."""
    opened: list[db_plugins.Database] = []

    def open_(*models: type, **changes: Any) -> db_plugins.Database:
        db = db_plugins.connect({**entry, **changes}, models=models)
        opened.append(db)
        db.create_all()
        return db

    yield open_
    for db in opened:
        db.close()


def fill_history(db: db_plugins.Database) -> None:
    """Two users with three conversations each, of six messages each: 36 messages, 18 of them Ann's."""
    for number, name in enumerate(["ann", "ben"], 1):
        user = db.query(User).insert(User(id=number, email=f"{name}@x.org", name=name))
        for _ in range(3):
            talk = db.query(Conversation).insert({"user_id": user.id, "title": f"of {name}"})
            db.query(Message).bulk_insert(
                {"conversation_id": talk.id, "role": "user", "content": f"{n}"} for n in range(6)
            )


def has_sessions(db: db_plugins.Database) -> bool:
    """Is it one of the SQL engines?"""
    return db_plugins.Capability.SESSIONS in db.capabilities


def add_in_session(db: db_plugins.Database, *rows: Any) -> None:
    """Store rows by a session."""
    with db.session() as s:
        s.add_all(rows)


def count_reads(db: db_plugins.Database, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A list that gets an item for each read that reaches the driver."""
    reads: list[Any] = []
    if has_sessions(db):
        sa.event.listen(
            db.native,
            "before_cursor_execute",
            lambda *about: reads.append(about[2]) if about[2].startswith("SELECT") else None,
        )
        return reads
    connection = type(db._connected())
    within: list[Any] = []

    def counted(read: Any) -> Any:
        def call(*about: Any) -> Any:
            if not within:  # rows() may be fetch() to its end
                reads.append(about)
            within.append(about)
            try:
                return read(*about)
            finally:
                within.pop()

        return call

    for name in ("rows", "fetch"):
        monkeypatch.setattr(connection, name, counted(getattr(connection, name)))
    return reads
