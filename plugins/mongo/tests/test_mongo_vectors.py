"""Vectors on MongoDB: arrays of doubles, without an index, and as other programs stored them."""

from __future__ import annotations

import logging
import secrets

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import db_plugins
from db_plugins import Vector
from db_plugins.errors import EngineError


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    embedding: Mapped[list[float] | None] = mapped_column(Vector(3))
    __table_args__ = (sa.Index("notes_nearest", "embedding", postgresql_using="hnsw"),)


@pytest.fixture
def notes() -> db_plugins.Database:
    pytest.importorskip("mongomock_ng")
    entry = {"ENGINE": "mongomock", "DB_NAME": f"t_{secrets.token_hex(6)}"}
    return db_plugins.connect(entry, models=[Note])


def test_an_index_on_a_vector_is_left_out_with_a_note(
    notes: db_plugins.Database, caplog: pytest.LogCaptureFixture
) -> None:
    """004-40."""
    with caplog.at_level(logging.WARNING, "db_plugins"):
        notes.create_all()
    assert "notes_nearest" in caplog.text
    assert list(notes.native["notes"].index_information()) == ["_id_"]


def test_vectors_are_arrays_of_doubles(notes: db_plugins.Database) -> None:
    notes.query(Note).insert({"id": 1, "embedding": (0.1, 2, 3)})
    assert notes.native["notes"].find_one() == {"_id": 1, "embedding": [0.10000000149011612, 2.0, 3.0]}


def test_what_other_programs_stored_is_read_in_32_bits_or_named(notes: db_plugins.Database) -> None:
    collection = notes.native["notes"]
    collection.insert_one({"_id": 1, "embedding": [0.1, 2, 3]})
    collection.insert_one({"_id": 2, "embedding": None})
    found = notes.query(Note).nearest("embedding", [0.1, 2, 3], 5)
    assert [(n.id, n.embedding, distance) for n, distance in found] == [(1, [0.10000000149011612, 2, 3], 0.0)]
    for bad in ([1.5, 2.5], "a text of the rows", {"a": 1}, 7):
        collection.replace_one({"_id": 2}, {"embedding": bad}, upsert=True)
        with pytest.raises(EngineError, match=r"Vector\(3\) holds (2 numbers|what is no vector)") as caught:
            notes.query(Note).nearest("embedding", [1, 2, 3], 5)
        assert "1.5" not in str(caught.value)
        assert "rows" not in str(caught.value)
