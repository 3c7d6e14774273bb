"""``ObjectIdText``: text in Python on every engine, and an ObjectId where MongoDB stores it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import sqlalchemy as sa
from bson import ObjectId
from seeds import ALL, Connect, connect, entry, on
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from db_plugins import Database, ForeignKeyError, InvalidValueError, func
from db_plugins_mongo import ObjectIdText

__all__ = ["connect", "entry"]


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "oid_authors"
    id: Mapped[str] = mapped_column(ObjectIdText, primary_key=True, default=ObjectIdText.new)
    name: Mapped[str] = mapped_column(sa.String(40))
    books: Mapped[list[Book]] = relationship(back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "oid_books"
    id: Mapped[str] = mapped_column(ObjectIdText, primary_key=True, default=ObjectIdText.new)
    title: Mapped[str] = mapped_column(sa.String(40))
    author_id: Mapped[str | None] = mapped_column(ObjectIdText, sa.ForeignKey("oid_authors.id"), index=True)
    author: Mapped[Author | None] = relationship(back_populates="books")


#: The memory engine keeps what it is given: it calls no ``process_bind_param`` of any type.
PROCESSING = [engine for engine in ALL if engine != "memory"]
KEYS = [f"{n:024x}" for n in (0x10, 0xAB, 0xFF)]


@pytest.fixture
def db(connect: Connect) -> Database:
    opened = connect(Author, Book)
    opened.query(Author).bulk_insert([{"id": key, "name": f"a{n}"} for n, key in enumerate(KEYS)])
    return opened


@on(*ALL)
def test_keys_are_text_in_and_out(db: Database) -> None:
    authors = db.query(Author)
    made = authors.insert({"name": "new"})
    assert (len(made.id), authors.get(made.id).name) == (24, "new")  # type: ignore[union-attr]
    assert list(authors.get_many(KEYS)) == KEYS
    assert authors.filter(Author.id > KEYS[0], Author.id <= KEYS[2]).order_by("-id").to_dicts("id") == [
        {"id": KEYS[2]},
        {"id": KEYS[1]},
    ]
    assert authors.filter(Author.id.in_(KEYS[:2])).count() == 2
    assert authors.filter(Author.id.like("%ab")).one().name == "a1"
    assert authors.filter(Author.id.startswith("0000")).count() == 3


@on(*ALL)
def test_references_are_joined_included_and_looked_up(db: Database) -> None:
    books = db.query(Book)
    books.bulk_insert([{"title": f"b{n}", "author_id": KEYS[n % 2]} for n in range(4)] + [{"title": "lost"}])
    assert books.join(Book.author).filter(Author.name == "a1").count() == 2
    assert db.query(Author).filter(Author.books.any(Book.title == "b3")).one().id == KEYS[1]
    (first, *_) = db.query(Author).include(Author.books).order_by("id").all()
    assert sorted(book.title for book in first.books) == ["b0", "b2"]
    assert books.filter(author_id=None).one().title == "lost"
    counts = books.group_by(Book.author_id).order_by("author_id").aggregate(n=func.count())
    assert [(row["author_id"], row["n"]) for row in counts] == [(None, 1), (KEYS[0], 2), (KEYS[1], 2)]
    with pytest.raises(ForeignKeyError):
        books.insert({"title": "nobody's", "author_id": ObjectIdText.new()})
    assert db.query(Author).delete(first) is True
    assert books.count() == 3


@on(*PROCESSING)
def test_the_same_key_in_other_forms_is_the_same(db: Database) -> None:
    authors = db.query(Author)
    assert authors.get(KEYS[1].upper()).id == KEYS[1]  # type: ignore[union-attr]
    assert authors.get(ObjectId(KEYS[1])).id == KEYS[1]  # type: ignore[union-attr]


@on(*PROCESSING)
def test_what_is_no_object_id_is_refused(db: Database) -> None:
    bad: list[Any] = ["zz", "g" * 24, 7, b"0" * 24, {"$ne": None}, ""]
    for value in bad:
        with pytest.raises(InvalidValueError, match="an ObjectId is 24 hex digits"):
            db.query(Author).insert({"id": value, "name": "x"})
        with pytest.raises(InvalidValueError, match="an ObjectId is 24 hex digits"):
            db.query(Author).filter(Author.id == value).count()
    assert db.query(Author).count() == 3


@on("mongodb", "mongomock")
def test_mongodb_stores_object_ids(db: Database) -> None:
    book = db.query(Book).insert({"title": "b", "author_id": KEYS[0]})
    assert db.native["oid_books"].find_one() == {
        "_id": ObjectId(book.id),
        "title": "b",
        "author_id": ObjectId(KEYS[0]),
    }


@on("mongodb", "mongomock")
def test_documents_of_another_program_are_read(db: Database) -> None:
    theirs = ObjectId()
    db.native["oid_authors"].insert_one({"_id": theirs, "name": "theirs"})
    assert db.query(Author).get(str(theirs)).name == "theirs"  # type: ignore[union-attr]
    assert theirs.generation_time.tzinfo.utcoffset(None) == dt.timedelta(0)
