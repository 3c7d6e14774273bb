"""The chat over HTTP: the same file on SQLite, PostgreSQL with pgvector, MariaDB and MongoDB.

DBP_SETTINGS=examples/chat/settings.py uvicorn examples.chat.app:app
"""

# No "from __future__ import annotations": FastAPI reads the annotations of endpoints.

from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query

from db_plugins import AsyncDatabase, NotFoundError
from db_plugins.fastapi import add_error_handlers, database, get_async_db, health_router

from . import chat
from .models import (
    ChatMessage,
    Conversation,
    Document,
    DocumentCreate,
    Found,
    Login,
    Message,
    MessageRead,
    User,
    UserCreate,
    UserRead,
    UserUpdate,
    UserWithConversations,
)

app = FastAPI(
    title="Chat",
    lifespan=database(models=[User, Conversation, Message, ChatMessage, Document], create_all=True),
)
add_error_handlers(app)
app.include_router(health_router)

Db = Annotated[AsyncDatabase, Depends(get_async_db)]
Offset = Annotated[int, Query(ge=0)]
Limit = Annotated[int, Query(ge=1, le=100)]


def or_404(row: Any) -> Any:
    """The row. Without one it raises what ``add_error_handlers`` answers with a 404."""
    if not row:
        raise NotFoundError("there is none")
    return row


# -- users -------------------------------------------------------------------------------------------------------------


@app.post("/users", response_model=UserRead, status_code=201)
async def create_user(user: UserCreate, db: Db) -> Any:
    return await chat.create_user(db, user)


@app.post("/login", response_model=UserRead)
async def log_in(given: Login, db: Db) -> Any:
    user = await chat.log_in(db, given.email, given.password)
    if user is None:
        raise HTTPException(401, "no user has this e-mail and password")
    return user


@app.get("/users", response_model=list[UserRead])
async def list_users(db: Db, offset: Offset = 0, limit: Limit = 10) -> Any:
    return await chat.get_active_users(db, offset, limit)


@app.get("/users/{user_id}", response_model=UserWithConversations)
async def read_user(user_id: int, db: Db) -> Any:
    return or_404(await chat.get_user_with_conversations(db, user_id))


@app.patch("/users/{user_id}", response_model=UserRead)
async def change_user(user_id: int, changes: UserUpdate, db: Db) -> Any:
    return or_404(await chat.update_user(db, user_id, changes.model_dump(exclude_unset=True)))


@app.delete("/users/{user_id}", status_code=204)
async def delete_user(user_id: int, db: Db) -> None:
    or_404(await chat.delete_user(db, user_id))


# -- conversations -----------------------------------------------------------------------------------------------------


@app.post("/users/{user_id}/conversations", status_code=201)
async def start_conversation(user_id: int, title: str, db: Db) -> int | None:
    return (await db.query(Conversation).insert({"user_id": user_id, "title": title})).id


@app.post("/conversations/{conversation_id}/messages", response_model=MessageRead, status_code=201)
async def say(conversation_id: int, message: MessageRead, db: Db) -> Any:
    return await db.query(Message).insert({"conversation_id": conversation_id, **message.model_dump()})


@app.get("/messages", response_model=list[MessageRead])
async def list_messages(email: str, db: Db, limit: Limit = 50) -> Any:
    return await chat.get_messages_by_user_email(db, email, limit)


# -- the log of a chat -------------------------------------------------------------------------------------------------


@app.post("/sessions/{session_id}/messages", status_code=201)
async def save_message(
    session_id: str,
    message: MessageRead,
    db: Db,
    tokens: int | None = None,
    model: str | None = None,
) -> int | None:
    saved = await chat.save_message(db, session_id, message.role, message.content, tokens=tokens, model=model)
    return saved.id


@app.get("/sessions/{session_id}/messages")
async def chat_history(session_id: str, db: Db, limit: Limit = 50) -> list[dict[str, str]]:
    return await chat.get_chat_history(db, session_id, limit)


# -- documents ---------------------------------------------------------------------------------------------------------


@app.post("/documents", status_code=201)
async def add_documents(documents: list[DocumentCreate], db: Db) -> int:
    return await chat.add_documents(db, documents)


@app.get("/documents", response_model=list[Found])
async def search_documents(
    text: str, db: Db, k: Limit = 3, source: str | None = None, language: str | None = None
) -> Any:
    return await chat.search_documents(db, text, k=k, source=source, language=language)


@app.patch("/documents/{document_id}")
async def describe_document(document_id: int, metadata: dict[str, Any], db: Db) -> dict[str, Any]:
    return dict(or_404(await chat.describe_document(db, document_id, metadata)).metadata_)
