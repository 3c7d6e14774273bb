"""examples/chat: the same answers on every engine, fifty requests at once, and the rows of seed 004 that it shows, by id."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from seeds import ALL, connect, entry, make_entry, on

import db_plugins
from db_plugins import AsyncDatabase, Capability
from db_plugins.errors import InvalidValueError, NotLoadedError

__all__ = ["connect", "entry"]

ROOT = Path(__file__).parents[1]
SETTINGS = ROOT / "examples" / "chat" / "settings.py"


@pytest.fixture(autouse=True)
def checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples can be imported, passwords are cheap, and no settings are about."""
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.setitem(module("passwords").COST, "n", 2)
    for variable in ("DATABASE_URL", "DBP_SETTINGS", "DB_DRIVER"):
        monkeypatch.delenv(variable, raising=False)


def module(name: str) -> Any:
    return importlib.import_module(f"examples.chat.{name}")


def models() -> list[type]:
    found = module("models")
    return [found.User, found.Conversation, found.Message, found.ChatMessage, found.Document]


def choose(entry: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of what differs between two databases: the settings."""
    file = folder / "settings.py"
    file.write_text(f"DB_CONFIG = {{'default': {entry!r}}}\n", encoding="utf-8")
    monkeypatch.setenv("DBP_SETTINGS", str(file))


def awaited(entry: dict[str, Any], body: Callable[[AsyncDatabase], Awaitable[Any]]) -> Any:
    """What the body gives, with the example's tables."""

    async def main() -> Any:
        async with db_plugins.connect_async(entry, models=models()) as db:
            await db.create_all()
            return await body(db)

    return asyncio.run(main())


# -- the whole application ---------------------------------------------------------------------------------------------


def test_the_tour_prints_the_same_on_every_engine(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """004-14: no answer holds a password. 004-17, 004-20, 004-26, 004-34, 004-38: over HTTP. 004-40: vectors on every
    engine."""
    outputs = {}
    for engine in ALL:
        choose(make_entry(engine, request, tmp_path), tmp_path, monkeypatch)
        module("tour").main()
        outputs[engine] = capsys.readouterr().out
    for engine in ALL:
        assert outputs[engine].splitlines() == outputs["memory"].splitlines(), engine
    said = outputs["memory"]
    assert [line.split(" {")[0].split(" [")[0].split()[-1] for line in said.splitlines()[:5]] == [
        *("201", "201", "409", "200", "401")
    ]
    answers = [json.loads(found) for found in re.findall(r" 201 (\{.*\})$", said, re.MULTILINE)]
    assert set(answers[0]) == {"id", "email", "name", "created_at"}
    assert not re.search(r"correct horse|battery staple|hashed_password", said)
    searched = [line for line in said.splitlines() if line.startswith("GET /documents?text=stop")]
    assert [re.findall(r'"id": (\d)', line) for line in searched] == [["1", "3"], ["1", "2"], ["4"]]


@on("sqlite", "postgresql", "mariadb", "mongodb")
@pytest.mark.usefixtures("connect")
def test_fifty_requests_at_once_store_fifty_messages_and_keep_no_connection(
    entry: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """004-16: each request gives back what it took; the ids that were answered are those of the rows."""
    choose({**entry, "POOL_SIZE": 3, "MAX_OVERFLOW": 2}, tmp_path, monkeypatch)
    app = module("app").app

    async def main() -> tuple[list[Any], list[Any], int]:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://chat", timeout=60) as client,
        ):
            db = app.state.db_plugins.async_db()
            # Who asks for ``native`` has the pool alone: from then on no connection is kept between reads.
            pool = db.native.pool if Capability.SESSIONS in db.capabilities else None
            answers = await asyncio.gather(
                *(
                    client.post(f"/sessions/s-{n % 5}/messages", json={"role": "user", "content": f"{n}"})
                    for n in range(50)
                )
            )
            histories = await asyncio.gather(
                *(client.get(f"/sessions/s-{n % 5}/messages") for n in range(50))
            )
            return answers, histories, pool.checkedout() if pool else 0

    answers, histories, out = asyncio.run(main())
    assert out == 0
    assert {answer.status_code for answer in (*answers, *histories)} == {201, 200}
    for n, history in enumerate(histories):
        assert {each["content"] for each in history.json()} == {f"{each}" for each in range(n % 5, 50, 5)}
    ids = {answer.json(): f"{n}" for n, answer in enumerate(answers)}

    async def rows(db: AsyncDatabase) -> dict[int, str]:
        return {each.id: each.content for each in await db.query(module("models").ChatMessage).all()}

    assert awaited(entry, rows) == ids
    assert len(ids) == 50


# -- users -------------------------------------------------------------------------------------------------------------


def test_a_password_is_stored_as_a_key_of_its_own() -> None:
    """004-14: and cannot be read from it."""
    passwords = module("passwords")
    one, other = passwords.hash_password("correct horse"), passwords.hash_password("correct horse")
    assert one != other
    assert "correct" not in one
    assert passwords.is_password("correct horse", one)
    assert not passwords.is_password("correct house", one)


@on(*ALL)
@pytest.mark.usefixtures("connect")
def test_users_are_stored_paged_changed_and_deleted(entry: dict[str, Any]) -> None:
    """004-14: what is stored holds no password. 004-20, 004-E8: 25 rows are pages of 10, 10 and 5, by primary key though
    nobody ordered them, also after an update. 004-21: by a dict, and an unknown key is named. 004-22: True, then False."""
    chat, tables = module("chat"), module("models")

    async def body(db: AsyncDatabase) -> None:
        new = tables.UserCreate(email="ann@x.org", name="Ann", password="correct horse")
        ann = await chat.create_user(db, new)
        assert "correct horse" not in str(await db.query(tables.User).to_dicts())
        assert (await chat.log_in(db, "ann@x.org", "correct horse")).id == ann.id
        assert await chat.log_in(db, "ann@x.org", "correct house") is None
        assert await chat.log_in(db, "ben@x.org", "correct horse") is None

        await db.query(tables.User).bulk_insert(
            {"email": f"{n}@x.org", "name": "a", "hashed_password": "-"} for n in range(24)
        )
        assert (await chat.update_user(db, 1, {"name": "Anna"})).name == "Anna"
        assert await chat.update_user(db, 99, {"name": "Anna"}) is None
        with pytest.raises(InvalidValueError, match="nope"):
            await chat.update_user(db, 1, {"nope": 1})
        pages = [[user.id for user in await chat.get_active_users(db, skip)] for skip in (0, 10, 20)]
        assert [len(page) for page in pages] == [10, 10, 5]
        assert [key for page in pages for key in page] == list(range(1, 26))

        assert await chat.delete_user(db, 1) is True
        assert await chat.delete_user(db, 1) is False

    awaited(entry, body)


@on(*ALL)
@pytest.mark.usefixtures("connect")
def test_conversations_come_with_their_messages_by_three_statements(entry: dict[str, Any]) -> None:
    """004-24, 004-E5: nested, where the seed's example loads two siblings. 004-25: what was not loaded is named.
    004-26: the messages of one user, over two hops, the newest first."""
    chat, tables = module("chat"), module("models")

    async def body(db: AsyncDatabase) -> None:
        for name in ("ann", "ben"):
            user = await db.query(tables.User).insert(
                {"email": f"{name}@x.org", "name": name, "hashed_password": "-"}
            )
            for title in "ab":
                talk = await db.query(tables.Conversation).insert({"user_id": user.id, "title": title})
                await db.query(tables.Message).bulk_insert(
                    {"conversation_id": talk.id, "role": tables.Role.user, "content": f"{name}-{title}-{n}"}
                    for n in range(3)
                )
        statements: list[Any] = []
        stop = db.on_statement(statements.append)
        ann = await chat.get_user_with_conversations(db, 1)
        stop()
        # Of a table that it reads for the first time, a server is asked for the collations.
        assert [s.operation for s in statements if s.operation != "inspect"] == ["select"] * 3
        assert [[m.content for m in talk.messages] for talk in ann.conversations] == [
            [f"ann-{title}-{n}" for n in range(3)] for title in "ab"
        ]
        with pytest.raises(NotLoadedError, match=r"include\(Conversation\.user\)"):
            ann.conversations[0].user
        found = await chat.get_messages_by_user_email(db, "ben@x.org")
        keys = [message.id for message in found]
        assert [message.content[:3] for message in found] == ["ben"] * 6
        assert keys == sorted(keys, reverse=True)
        assert await chat.delete_user(db, 1)
        assert await db.query(tables.Message).count() == 6

    awaited(entry, body)


# -- the log of a chat -------------------------------------------------------------------------------------------------


@on(*ALL)
@pytest.mark.usefixtures("connect")
def test_the_history_is_the_newest_fifty_of_one_session_in_the_order_of_time(entry: dict[str, Any]) -> None:
    """004-35: of 60 messages 11 to 60, oldest first; the seed's own query, 004-E6: gives the oldest fifty. 004-36: two
    sessions do not mix. 004-34, 004-E7: tokens and model are stored."""
    chat, tables = module("chat"), module("models")
    role = tables.Role.assistant

    async def body(db: AsyncDatabase) -> None:
        for n in range(1, 61):
            await chat.save_message(db, "long", role, f"{n}")
        for n in range(5):
            await chat.save_message(db, "one", role, f"one-{n}", tokens=n, model="small")
            await chat.save_message(db, "two", role, f"two-{n}")
        history = await chat.get_chat_history(db, "long")
        assert history == [{"role": "assistant", "content": f"{n}"} for n in range(11, 61)]
        assert [each["content"] for each in await chat.get_chat_history(db, "long", limit=2)] == ["59", "60"]
        for session in ("one", "two"):
            contents = [each["content"] for each in await chat.get_chat_history(db, session)]
            assert contents == [f"{session}-{n}" for n in range(5)]
        assert await chat.get_chat_history(db, "three") == []

        stored = await db.query(tables.ChatMessage).filter(session_id="one").all()
        assert [(each.tokens_used, each.model) for each in stored] == [(n, "small") for n in range(5)]
        silent = await db.query(tables.ChatMessage).filter(session_id="two").first()
        assert (silent.tokens_used, silent.model) == (None, None)
        assert silent.created_at.utcoffset().total_seconds() == 0

    awaited(entry, body)


# -- documents ---------------------------------------------------------------------------------------------------------


@on(*ALL)
@pytest.mark.usefixtures("connect")
def test_documents_are_found_by_direction_source_and_metadata(entry: dict[str, Any]) -> None:
    """004-37, 004-40: vectors on every engine. 004-38: the nearest first, of one source. 004-39: another length is
    refused. 004-41: metadata that was changed in place is stored."""
    chat, tables = module("chat"), module("models")
    texts = [("a", "stop the engine"), ("b", "stop the red engine"), ("a", "a walk in the woods")]

    async def body(db: AsyncDatabase) -> None:
        new = [
            tables.DocumentCreate(source=source, content=text, metadata={"n": n})
            for n, (source, text) in enumerate(texts)
        ]
        assert await chat.add_documents(db, new) == 3
        found = await chat.search_documents(db, "Stop the engine!")
        assert [each.content for each in found] == [text for _, text in texts]
        assert found[0].distance == 0
        assert found[0].distance < found[1].distance < found[2].distance
        of_b = await chat.search_documents(db, "stop the engine", source="b", k=1)
        assert [each.content for each in of_b] == ["stop the red engine"]

        one = await chat.describe_document(db, 1, {"language": "en"})
        assert one.metadata_ == {"n": 0, "language": "en"}
        assert (await db.query(tables.Document).get(1)).metadata_ == {"n": 0, "language": "en"}
        of_language = await chat.search_documents(db, "woods", language="en")
        assert [each.id for each in of_language] == [1]
        assert await chat.describe_document(db, 99, {}) is None

        with pytest.raises(InvalidValueError, match=r"64 .*63 numbers"):
            await db.query(tables.Document).insert(
                {"source": "a", "content": "a", "embedding": [0.0] * 63, "metadata_": {}}
            )

    awaited(entry, body)


def test_the_embedding_is_the_same_everywhere() -> None:
    """Or the tour would print something else on another day."""
    embed = module("embedding").embed
    assert embed("Stop the engine") == embed("stop, the ENGINE!")
    assert [(place, n) for place, n in enumerate(embed("stop the engine")) if n] == [
        (14, -1),
        (15, -1),
        (57, 1),
    ]
    assert not any(embed("…"))


# -- settings ----------------------------------------------------------------------------------------------------------


@on("postgresql")
@pytest.mark.usefixtures("connect")
def test_the_pool_has_the_sizes_of_the_settings_and_opens_on_demand(
    entry: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """004-42, 004-E9: ``pool_size`` is the most that stay open, where the seed has it as the least."""
    user, password = entry["USER"], quote(entry["PASSWORD"], safe="")
    server = f"{entry['HOST']}:{entry['PORT']}"
    monkeypatch.setenv("DATABASE_URL", f"postgresql+asyncpg://{user}:{password}@{server}/{entry['DB_NAME']}")

    async def main() -> None:
        async with db_plugins.connect_async(settings=SETTINGS) as db:
            pool = db.native.pool
            assert (pool.size(), pool._max_overflow, pool.timeout(), pool._recycle) == (5, 10, 30, 1800)
            assert pool.checkedin() == 0, "none is opened before it is needed"
            await db.create_all()
            assert pool.checkedin() == 1
            await asyncio.gather(*(db.query(module("models").User).count() for _ in range(12)))
            assert pool.checkedin() == 5

    asyncio.run(main())
