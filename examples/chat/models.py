"""What the chat keeps: users, their conversations, the log of a chat session, documents with vectors. And what goes in and out.

Tables on SQL, collections on MongoDB. The classes with ``table=True`` are stored; the others are Pydantic models of requests
and answers.
"""

# No "from __future__ import annotations": SQLModel reads annotations when the class is made.

import datetime as dt
import enum
from typing import Any

from pydantic import BaseModel
from sqlalchemy import JSON, Column, Index, MetaData
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import registry
from sqlmodel import Field, Relationship, SQLModel

from db_plugins import Vector
from db_plugins.sqlmodel import TimestampMixin

from .embedding import DIMENSIONS


class Model(SQLModel, registry=registry()):
    """The base of this application's classes: another application in the process may have a User, too."""

    metadata = MetaData()


class Role(enum.StrEnum):
    user = "user"
    assistant = "assistant"
    system = "system"


# -- users -------------------------------------------------------------------------------------------------------------


class UserBase(Model):
    email: str = Field(max_length=200, unique=True)
    name: str = Field(max_length=100)


class UserCreate(UserBase):
    password: str = Field(min_length=8)


class Login(Model):
    email: str
    password: str


class UserUpdate(Model):
    name: str | None = None
    is_active: bool | None = None


class UserRead(UserBase):
    id: int
    created_at: dt.datetime


class User(UserBase, TimestampMixin, table=True):
    id: int | None = Field(default=None, primary_key=True)
    hashed_password: str = Field(max_length=200)
    is_active: bool = True
    conversations: list["Conversation"] = Relationship(back_populates="user", cascade_delete=True)


# -- conversations -----------------------------------------------------------------------------------------------------


class Conversation(Model, TimestampMixin, table=True):
    id: int | None = Field(default=None, primary_key=True)
    user_id: int = Field(foreign_key="user.id", index=True)
    title: str = Field(max_length=200)
    user: User = Relationship(back_populates="conversations")
    messages: list["Message"] = Relationship(back_populates="conversation", cascade_delete=True)


class Message(Model, TimestampMixin, table=True):
    id: int | None = Field(default=None, primary_key=True)
    conversation_id: int = Field(foreign_key="conversation.id", index=True)
    role: Role
    content: str
    conversation: Conversation = Relationship(back_populates="messages")


class MessageRead(Model):
    role: Role
    content: str


class ConversationRead(Model):
    id: int
    title: str
    messages: list[MessageRead]


class UserWithConversations(UserRead):
    conversations: list[ConversationRead]


# -- the log of a chat -------------------------------------------------------------------------------------------------


class ChatMessage(Model, TimestampMixin, table=True):
    __table_args__ = (Index("ix_chatmessage_newest", "session_id", "created_at"),)

    id: int | None = Field(default=None, primary_key=True)
    session_id: str = Field(max_length=64)
    role: Role
    content: str
    tokens_used: int | None = None
    model: str | None = Field(default=None, max_length=100)


# -- documents ---------------------------------------------------------------------------------------------------------


class Document(Model, TimestampMixin, table=True):
    """``metadata_`` is the column ``metadata``: SQLAlchemy keeps the name itself for a class's tables."""

    id: int | None = Field(default=None, primary_key=True)
    source: str = Field(max_length=200, index=True)
    content: str
    embedding: list[float] = Field(sa_type=Vector(DIMENSIONS))
    metadata_: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column("metadata", MutableDict.as_mutable(JSON()), nullable=False)
    )


class DocumentCreate(BaseModel):
    source: str
    content: str
    metadata: dict[str, Any] = {}


class Found(DocumentCreate):
    id: int
    distance: float
