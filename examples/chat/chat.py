"""What the application does, as functions over an ``AsyncDatabase``: no word of HTTP, and none of an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from db_plugins import AsyncDatabase

from .embedding import embed
from .models import (
    ChatMessage,
    Conversation,
    Document,
    DocumentCreate,
    Found,
    Message,
    Role,
    User,
    UserCreate,
)
from .passwords import hash_password, is_password

# -- users -------------------------------------------------------------------------------------------------------------


async def create_user(db: AsyncDatabase, new: UserCreate) -> User:
    hashed = await asyncio.to_thread(hash_password, new.password)
    return await db.query(User).insert({**new.model_dump(exclude={"password"}), "hashed_password": hashed})


async def log_in(db: AsyncDatabase, email: str, password: str) -> User | None:
    user = await db.query(User).filter(email=email, is_active=True).one_or_none()
    if user is None:
        return None
    is_right = await asyncio.to_thread(is_password, password, user.hashed_password)
    return user if is_right else None


async def get_active_users(db: AsyncDatabase, offset: int = 0, limit: int = 10) -> list[User]:
    return await db.query(User).filter(is_active=True).offset(offset).limit(limit).all()


async def update_user(db: AsyncDatabase, user_id: int, data: dict[str, Any]) -> User | None:
    user = await db.query(User).get(user_id)
    return user and await db.query(User).update(user, data)


async def delete_user(db: AsyncDatabase, user_id: int) -> bool:
    """With all conversations and messages. Was there such a user?"""
    return await db.query(User).filter(id=user_id).delete() > 0


# -- conversations -----------------------------------------------------------------------------------------------------


async def get_user_with_conversations(db: AsyncDatabase, user_id: int) -> User | None:
    """The user, the conversations and their messages, by three statements."""
    query = db.query(User).include(User.conversations, Conversation.messages)
    return await query.filter(id=user_id).one_or_none()


async def get_messages_by_user_email(db: AsyncDatabase, email: str, limit: int = 50) -> list[Message]:
    """Of all conversations, the newest first."""
    query = db.query(Message).join(Message.conversation, Conversation.user).filter(User.email == email)
    return await query.order_by("-created_at", "-id").limit(limit).all()


# -- the log of a chat -------------------------------------------------------------------------------------------------


async def save_message(
    db: AsyncDatabase,
    session_id: str,
    role: Role,
    content: str,
    *,
    tokens: int | None = None,
    model: str | None = None,
) -> ChatMessage:
    return await db.query(ChatMessage).insert(
        ChatMessage(session_id=session_id, role=role, content=content, tokens_used=tokens, model=model)
    )


async def get_chat_history(db: AsyncDatabase, session_id: str, limit: int = 50) -> list[dict[str, str]]:
    """The newest ``limit`` messages of this session, oldest first: what a language model is given."""
    newest = db.query(ChatMessage).filter(session_id=session_id).order_by("-created_at", "-id").limit(limit)
    return [{"role": each.role, "content": each.content} for each in reversed(await newest.all())]


# -- documents ---------------------------------------------------------------------------------------------------------


async def add_documents(db: AsyncDatabase, documents: Iterable[DocumentCreate]) -> int:
    done = await db.query(Document).bulk_insert(
        {
            "source": each.source,
            "content": each.content,
            "embedding": embed(each.content),
            "metadata_": each.metadata,
        }
        for each in documents
    )
    return done.inserted


async def search_documents(
    db: AsyncDatabase, text: str, *, k: int = 3, source: str | None = None, language: str | None = None
) -> list[Found]:
    """The ``k`` documents whose direction is nearest to that of the text."""
    query = db.query(Document)
    if source is not None:
        query = query.filter(source=source)
    if language is not None:
        query = query.filter(Document.metadata_["language"].as_string() == language)
    shown = {"id", "source", "content"}
    return [
        Found.model_validate(
            {**each.model_dump(include=shown), "metadata": each.metadata_, "distance": distance}
        )
        for each, distance in await query.nearest(Document.embedding, embed(text), k)
    ]


async def describe_document(db: AsyncDatabase, document_id: int, metadata: dict[str, Any]) -> Document | None:
    """Adds to a document's metadata: what is changed in place (MutableDict) is stored."""
    document = await db.query(Document).get(document_id)
    if document is None:
        return None
    document.metadata_.update(metadata)
    return await db.query(Document).update(document)
