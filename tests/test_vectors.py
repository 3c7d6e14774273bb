"""Vectors in the core: the type, what a mapped class may do with it, and when an engine is asked for the nearest."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

import db_plugins
from db_plugins import Vector
from db_plugins.engine import Compiled, SupportsVectors
from db_plugins.errors import EngineError, InvalidValueError, UnsupportedError, UnsupportedFilterError
from db_plugins.models import Field, describe
from db_plugins.models.vectors import read_vector
from db_plugins.testing import MemoryEngine
from db_plugins.testing.memory import MemoryConnection


class Base(DeclarativeBase):
    pass


class Doubled(TypeDecorator[list[float]]):
    impl = Vector(2)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return None if value is None else [2 * n for n in value]


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    place: Mapped[list[float] | None] = mapped_column(Vector(2), default=[0, 1])
    own: Mapped[list[float] | None] = mapped_column(Doubled)


@pytest.mark.parametrize("dimensions", [0, -1, 16_001, True, 3.0, "3", None])
def test_dimensions_are_whole_and_within_what_pgvector_holds(dimensions: Any) -> None:
    with pytest.raises(InvalidValueError, match="from 1 to 16000"):
        Vector(dimensions)
    assert Vector(16_000).dimensions == 16_000


def test_the_type_is_shown_copied_and_pickled_with_its_dimensions() -> None:
    type_ = Vector(3)
    assert repr(type_) == "Vector(3)" or repr(type_) == "Vector(dimensions=3)"
    assert type_.copy().dimensions == pickle.loads(pickle.dumps(type_)).dimensions == 3
    assert str(type_.compile()) == "VECTOR(3)"
    assert type_.python_type is list


def test_a_vector_is_no_unique_key() -> None:
    class Own(DeclarativeBase):
        pass

    class Bad(Own):
        __tablename__ = "bad"
        id: Mapped[int] = mapped_column(primary_key=True)
        place: Mapped[list[float]] = mapped_column(Vector(2), unique=True)

    with pytest.raises(UnsupportedError, match="'place' in a unique key"):
        describe(Bad)


def test_a_default_is_a_vector_too() -> None:
    with db_plugins.connect({"ENGINE": "memory"}, models=[Note]) as db:
        assert db.query(Note).insert({}).place == [0.0, 1.0]


def test_a_column_of_the_users_own_type_has_no_nearest() -> None:
    with (
        db_plugins.connect({"ENGINE": "memory"}, models=[Note]) as db,
        pytest.raises(UnsupportedFilterError, match=r"Note\.own is no Vector"),
    ):
        db.query(Note).nearest("own", [1, 2], 1)


def test_what_is_stored_and_no_vector_is_named_without_its_values() -> None:
    assert read_vector(["0.1", "2"], 2) == [0.10000000149011612, 2.0]
    for bad in (["0.123"], ["x", "y"], None, 5):
        with pytest.raises(EngineError, match=r"Vector\(2\)") as caught:
            read_vector(bad, 2)
        assert "0.123" not in str(caught.value)


class Asked(MemoryConnection, SupportsVectors):
    """Answers with rows in any order, or leaves it to the core."""

    answers = True

    def nearest(
        self, query: Compiled, column: Field, vector: Sequence[float], k: int, metric: str
    ) -> list[tuple[Any, ...]] | None:
        assert (column.name, list(vector), k, metric) == ("place", [1.0, 0.0], 2, "l2")
        assert query.residual is None
        assert not query.spec.order
        assert query.spec.limit is None
        return [row for rows in self.fetch(query) for row in rows][1:3][::-1] if self.answers else None


class AskedEngine(MemoryEngine):
    def connect(self, settings: Any) -> Asked:
        return Asked(self)


def test_an_engine_is_asked_and_its_rows_are_measured_and_ordered_by_the_core() -> None:
    db = db_plugins.connect({"ENGINE": "memory"}, models=[Note])
    db._engine.__class__ = AskedEngine
    db.query(Note).bulk_insert([{"place": [1, 0]}, {"place": [2, 0]}, {"place": [4, 0]}, {"place": None}])
    query = db.query(Note)
    assert [(n.id, d) for n, d in query.nearest("place", [1, 0], 2, "l2")] == [(2, 1.0), (3, 3.0)]
    db._connection.answers = False  # type: ignore[union-attr]
    assert [(n.id, d) for n, d in query.nearest("place", [1, 0], 2, "l2")] == [(1, 0.0), (2, 1.0)]


def test_a_vector_in_sql_is_text_of_nine_digits() -> None:
    bind = Vector(3).bind_processor(sa.make_url("sqlite://").get_dialect()())
    assert bind([0.1, -0.0, 3e38]) == "[0.100000001,-0,3.00000001e+38]"
    assert bind(None) is None
