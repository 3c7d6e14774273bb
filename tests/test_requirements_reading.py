"""The requirements of seed 004 about reading and writing, by their ids, on its users, conversations and messages.

Where a row and the contract disagree, the contract holds, and the docstring says so.
"""

from __future__ import annotations

import ast
import asyncio
import datetime as dt
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from seeds import (
    EVERYWHERE,
    SQL,
    Connect,
    Conversation,
    Document,
    Message,
    User,
    UserCreate,
    UserRead,
    add_in_session,
    connect,
    count_reads,
    entry,
    fill_history,
    has_sessions,
    on,
)
from sqlalchemy.orm import Session

from db_plugins.errors import (
    ForeignKeyError,
    IntegrityError,
    InvalidValueError,
    MultipleResultsError,
    NotFoundError,
    NotLoadedError,
    NotNullError,
)

__all__ = ["connect", "entry"]

ROOT = Path(__file__).parents[1]


HISTORY = (User, Conversation, Message)


@on(*EVERYWHERE)
def test_a_boolean_has_its_default_and_can_be_filtered(connect: Connect) -> None:
    """004-10: of three users one is inactive; ``== True`` finds two."""
    users = connect(*HISTORY).query(User)
    for name, given in [("a", {}), ("b", {}), ("c", {"is_active": False})]:
        users.insert({"email": name, "name": name, **given})
    assert users.get(1).is_active is True
    assert users.filter(User.is_active == True).count() == 2  # noqa: E712
    assert users.filter(User.is_active).count() == users.filter(is_active=True).count() == 2
    assert [u.name for u in users.filter(~User.is_active).all()] == ["c"]


@on(*EVERYWHERE)
def test_three_linked_models_work_in_any_order_of_declaration(connect: Connect) -> None:
    """004-11: ``user.conversations[0].messages``, with the last of the three declared first."""
    db = connect(*HISTORY)
    fill_history(db)
    user = db.query(User).include(User.conversations, Conversation.messages).order_by("id").first()
    assert [message.content for message in user.conversations[0].messages] == list("012345")
    if has_sessions(db):
        with db.session() as s:
            loaded = s.get(User, 1).conversations[0].messages
            assert [message.conversation.user.name for message in loaded] == ["ann"] * 6


@on(*SQL)
def test_a_foreign_key_is_enforced(connect: Connect) -> None:
    """004-12: a conversation of user 999 is an error, on SQLite too."""
    db = connect(*HISTORY)
    with pytest.raises(ForeignKeyError, match="Conversation") as caught:
        db.query(Conversation).insert({"user_id": 999, "title": "a"})
    assert caught.value.attributes == ("user_id",)
    with pytest.raises(ForeignKeyError):
        db.query(Conversation).bulk_insert([{"user_id": 999, "title": "a"}])
    with pytest.raises(ForeignKeyError, match="Conversation"):
        add_in_session(db, Conversation(user_id=999, title="a"))
    assert db.query(Conversation).count() == 0


@on(*SQL)
def test_a_parent_without_cascade_is_not_deleted_and_nothing_changes(connect: Connect) -> None:
    """004-13: a clear integrity error. The contract deletes as Session.delete does, which would make the children's key
    NULL: NotNullError names the child."""
    db = connect(*HISTORY)
    fill_history(db)

    def delete_in_session() -> None:
        with db.session() as s:
            s.delete(s.get(User, 1))

    with pytest.raises(NotNullError, match=r"user_id of Conversation") as caught:
        delete_in_session()
    assert caught.value.attributes == ("user_id",)
    for delete in (
        lambda: db.query(User).delete(db.query(User).get(1)),
        lambda: db.query(User).filter(id=1).delete(),
    ):
        with pytest.raises(IntegrityError):
            delete()
    assert [db.query(model).count() for model in HISTORY] == [2, 6, 36]
    assert db.query(Conversation).filter(user_id=1).count() == 3


@on(*EVERYWHERE)
def test_a_password_is_neither_stored_nor_returned(connect: Connect) -> None:
    """004-14: no column holds the password, and UserRead has exactly its keys."""
    users = connect(*HISTORY).query(User)
    given = UserCreate(email="a@x.org", name="a", password="s3cret")
    with pytest.raises(InvalidValueError, match="password"):
        users.insert(given)
    user = users.insert({**given.model_dump(exclude={"password"}), "hashed_password": "#"})
    assert "password" not in User.__table__.columns
    assert "s3cret" not in str(users.to_dicts())
    read = UserRead.model_validate(user, from_attributes=True)
    assert set(read.model_dump()) == {"email", "name", "id", "created_at"}
    assert read.created_at.tzinfo is not None


@on(*EVERYWHERE)
def test_making_the_tables_again_keeps_the_rows(connect: Connect) -> None:
    """004-15: ``create_all`` twice."""
    db = connect(*HISTORY)
    fill_history(db)
    db.create_all()
    assert [db.query(model).count() for model in HISTORY] == [2, 6, 36]


@on(*SQL)
def test_a_session_for_each_request_is_closed_also_on_error(connect: Connect) -> None:
    """004-16: a dependency that yields a session; fifty at once, half of them failing, and no connection is kept."""
    db = connect(*HISTORY)

    def get_session() -> Iterator[Session]:
        with db.session() as s:
            yield s

    request = contextmanager(get_session)
    seen: set[int] = set()
    lock = threading.Lock()

    def handle(number: int) -> bool:
        try:
            with request() as s:
                with lock:
                    assert id(s) not in seen, "one session for each request"
                    seen.add(id(s))
                s.add(User(email=f"{number}@x.org", name="a"))
                if number % 2:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            return False
        finally:
            with lock:
                seen.discard(id(s))
        return True

    with ThreadPoolExecutor(10) as threads:
        done = list(threads.map(handle, range(50)))
    assert sum(done) == db.query(User).count() == 25
    assert db.native.pool.checkedout() == 0


@on(*SQL)
def test_create_commit_refresh_gives_the_key_and_the_time(connect: Connect) -> None:
    """004-17: after the commit and a refresh id and created_at are filled in; ``insert`` alone gives the same."""
    db = connect(*HISTORY)
    with db.session(commit=False) as s:
        user = User(email="a@x.org", name="a")
        s.add(user)
        s.commit()
        s.refresh(user)
    other = db.query(User).insert(User(email="b@x.org", name="b"))
    for made in (user, other):
        as_json = UserRead.model_validate(made, from_attributes=True).model_dump(mode="json")
        assert isinstance(as_json["id"], int)
        assert dt.datetime.fromisoformat(as_json["created_at"]).tzinfo is not None


@on("mongodb", "mongomock")
def test_insert_gives_the_key_and_the_time_without_sessions(connect: Connect) -> None:
    """004-17: on MongoDB ``insert`` is the whole of it."""
    user = connect(*HISTORY).query(User).insert(User(email="a@x.org", name="a"))
    assert user.id == 1
    assert user.created_at.tzinfo is not None


@on(*EVERYWHERE)
def test_one_row_by_id_or_none_and_many_are_an_error(connect: Connect) -> None:
    """004-18: ``scalar_one_or_none``: None for no row, an error for several and not the first."""
    db = connect(*HISTORY)
    fill_history(db)
    assert db.query(User).filter(id=2).one_or_none().name == "ben"
    assert db.query(User).filter(id=3).one_or_none() is db.query(User).get(3) is None
    with pytest.raises(MultipleResultsError):
        db.query(User).one_or_none()
    with pytest.raises(NotFoundError):
        db.query(User).filter(id=3).one()


@on(*EVERYWHERE)
def test_all_rows_of_a_filter_are_a_list(connect: Connect) -> None:
    """004-19: a list, an empty one too."""
    users = connect(*HISTORY).query(User)
    assert users.filter(name="a").all() == []
    users.insert({"email": "a", "name": "a"})
    found = users.filter(name="a").all()
    assert isinstance(found, list)
    assert [type(user) for user in found] == [User]


@on(*EVERYWHERE)
def test_offset_and_limit_are_pages_in_order(connect: Connect) -> None:
    """004-20: 25 rows are 10, 10 and 5, all different, by primary key."""
    users = connect(*HISTORY).query(User)
    users.bulk_insert({"email": f"{n}", "name": "a"} for n in range(25))
    parts = [[u.id for u in users.offset(skip).limit(10).all()] for skip in (0, 10, 20)]
    assert [len(part) for part in parts] == [10, 10, 5]
    assert [*parts[0], *parts[1], *parts[2]] == list(range(1, 26))
    assert [u.id for u in users.limit(10).all()] == parts[0]


@on(*EVERYWHERE)
def test_an_update_by_dict_changes_the_given_and_refuses_unknown_names(connect: Connect) -> None:
    """004-21: an unknown key is an error that names it. For an absent row the contract has a count of 0, or
    NotFoundError for an object, where the row has None."""
    users = connect(*HISTORY).query(User)
    user = users.insert({"email": "a", "name": "a"})
    assert users.update(user, {"name": "b"}).name == "b"
    assert users.filter(id=user.id).update({"name": "c"}) == 1
    with pytest.raises(InvalidValueError, match="nope"):
        users.update(user, {"nope": 1})
    with pytest.raises(InvalidValueError, match="nope"):
        users.filter(id=1).update({"nope": 1})
    assert users.filter(id=99).update({"name": "d"}) == 0
    assert users.delete(user)
    with pytest.raises(NotFoundError):
        users.update(user, {"name": "d"})


@on(*EVERYWHERE)
def test_a_delete_says_whether_the_row_was_there(connect: Connect) -> None:
    """004-22: True, then False."""
    users = connect(*HISTORY).query(User)
    user = users.insert({"email": "a", "name": "a"})
    assert users.delete(user) is True
    assert users.delete(user) is False


@on(*EVERYWHERE)
def test_eager_loading_takes_two_reads_and_stays_readable(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """004-23: two queries for any number of parents, and the children are readable after close."""
    db = connect(*HISTORY)
    fill_history(db)
    reads = count_reads(db, monkeypatch)
    users = db.query(User).include(User.conversations).order_by("id").all()
    assert len(reads) == 2
    db.close()
    assert [[talk.title for talk in user.conversations] for user in users] == [["of ann"] * 3, ["of ben"] * 3]


@on(*EVERYWHERE)
def test_nested_eager_loading_takes_three_reads(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """004-24: user, conversations, messages: 18 messages of one user by three queries."""
    db = connect(*HISTORY)
    fill_history(db)
    reads = count_reads(db, monkeypatch)
    user = db.query(User).include(User.conversations, Conversation.messages).filter(id=1).one()
    assert len(reads) == 3
    db.close()
    assert sum(len(talk.messages) for talk in user.conversations) == 18


@on(*EVERYWHERE)
def test_what_was_not_loaded_is_named_with_its_remedy_in_a_coroutine_too(connect: Connect) -> None:
    """004-25: the error names the attribute and says how to load it; there is no MissingGreenlet."""
    db = connect(*HISTORY)
    fill_history(db)

    async def read() -> None:
        user = db.query(User).get(1)
        with pytest.raises(NotLoadedError, match=r"User\.conversations .*include\(User\.conversations\)"):
            user.conversations

    asyncio.run(read())


@on(*EVERYWHERE)
def test_newest_first_is_stable_on_equal_times(connect: Connect) -> None:
    """004-27: the newest first, ids strictly descending where the order says so. Without it equal times come by primary
    key, ascending, as the contract has it."""
    db = connect(*HISTORY)
    fill_history(db)
    messages = db.query(Message)
    same, later = (dt.datetime(2026, 1, day, tzinfo=dt.UTC) for day in (1, 2))
    messages.update({"created_at": same}, force=True)
    messages.filter(Message.id > 30).update({"created_at": later})
    by_id = [m.id for m in messages.order_by(Message.created_at.desc(), Message.id.desc()).all()]
    assert by_id == list(range(36, 0, -1))
    by_time = [m.id for m in messages.order_by("-created_at").all()]
    assert by_time == [*range(31, 37), *range(1, 31)]


@on(*EVERYWHERE)
def test_a_json_dict_is_stored_and_its_change_in_place_too(connect: Connect) -> None:
    """004-41: a dict goes round; what is changed in place (MutableDict) is stored."""
    db = connect(Document)
    documents = db.query(Document)
    documents.insert(Document(content="a", metadata_={"k": 1, "deep": {"list": [1, None]}}))
    document = documents.get(1)
    assert document.metadata_ == {"k": 1, "deep": {"list": [1, None]}}
    document.metadata_["k"] = 2
    documents.update(document)
    assert documents.get(1).metadata_["k"] == 2
    if has_sessions(db):
        with db.session() as s:
            document = s.get(Document, 1)
            document.metadata_["k"] = 3
        assert documents.get(1).metadata_ == {"k": 3, "deep": {"list": [1, None]}}
        with db.session() as s:
            document = documents.get(1)
            s.add(document)
            document.metadata_["k"] = 4
        assert documents.get(1).metadata_["k"] == 4


# -- none is left out ------------------------------------------------------------------------------------------------


def rows_of(seed: str, first: int, last: int) -> list[str]:
    return [f"{seed}-{number:02}" for number in range(first, last + 1)]


ROWS = [
    *(*rows_of("000", 4, 14), *rows_of("000", 21, 25)),
    *(*rows_of("001", 6, 16), *rows_of("002", 5, 12)),
    *(*rows_of("003", 13, 18), "003-30"),
    *(*rows_of("004", 1, 3), *rows_of("004", 10, 27), *rows_of("004", 34, 36), "004-41"),
    *("001-24", *rows_of("002", 18, 30), *rows_of("003", 19, 26), *rows_of("004", 28, 33)),
]


def named_rows() -> set[str]:
    """The ids in the docstrings of the suite's tests."""
    found: set[str] = set()
    for folder in ("tests", "plugins/sql/tests", "plugins/mongo/tests"):
        for path in (ROOT / folder).rglob("test_*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                    found.update(re.findall(r"\b\d{3}-\d{2}(?=:)", ast.get_docstring(node) or ""))
    return found


def test_every_row_about_reading_writing_and_migrations_is_named_by_a_test() -> None:
    missing = sorted(set(ROWS) - named_rows())
    assert not missing, "write a test whose docstring begins with the id"


def test_the_names_of_rows_are_looked_for_in_docstrings_of_tests() -> None:
    assert "999-99" not in named_rows()
    assert "004-22" in named_rows()
