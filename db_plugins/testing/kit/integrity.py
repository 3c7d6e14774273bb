"""A broken rule of the data is one of our errors, which names attributes and holds no value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from db_plugins import Capability, Database
from db_plugins.errors import DuplicateKeyError, EngineError, IntegrityError, NotNullError

from .harness import Connect, Harness, subject
from .models import Author, Badge, Book, Pair, Star

__all__ = ["Integrity"]

WORD = "s3cr3t-valu3"


def broken(
    db: Database, kind: type[IntegrityError], attributes: set[str], write: Callable[[], Any]
) -> IntegrityError:
    """The error of a write that must fail, its evidence checked."""
    with pytest.raises(kind) as caught:
        write()
    error = caught.value
    assert set(error.attributes) == attributes
    assert error.engine == db.engine
    assert error.retryable is False
    assert error.orig is error.__cause__ or error.__cause__ is None, "the driver's exception is the cause"
    if error.orig is not None:
        assert isinstance(error.orig, BaseException)
        assert not isinstance(error.orig, EngineError)
    assert WORD not in str(error), "a message never shows a value"
    return error


@subject("integrity", Capability.WRITE, Capability.UNIQUE)
class Integrity(Harness):
    """API §8, IntegrityError."""

    def test_a_primary_key_that_is_there_is_a_duplicate(self, connect: Connect) -> None:
        db = connect(Star, Badge, Pair)
        db.query(Star).insert({"id": 1, "name": "a"})
        broken(db, DuplicateKeyError, {"id"}, lambda: db.query(Star).insert({"id": 1, "name": "b"}))
        db.query(Badge).insert({"code": WORD})
        broken(db, DuplicateKeyError, {"code"}, lambda: db.query(Badge).insert({"code": WORD}))
        db.query(Pair).insert({"left": 1, "right": WORD[:10]})
        broken(
            db,
            DuplicateKeyError,
            {"left", "right"},
            lambda: db.query(Pair).insert({"left": 1, "right": WORD[:10]}),
        )
        assert (db.query(Star).count(), db.query(Badge).count(), db.query(Pair).count()) == (1, 1, 1)

    def test_a_unique_column_is_named_by_its_attribute(self, connect: Connect) -> None:
        db = connect(Star, Badge)
        db.query(Star).insert({"name": WORD})
        error = broken(db, DuplicateKeyError, {"name"}, lambda: db.query(Star).insert({"name": WORD}))
        assert error.fact == "a Star with the same name is already there"
        broken(
            db,
            DuplicateKeyError,
            {"name"},
            lambda: db.query(Star).bulk_insert([{"name": "x"}, {"name": WORD}]),
        )
        db.query(Badge).insert({"code": "a", "serial": 7})
        broken(db, DuplicateKeyError, {"serial"}, lambda: db.query(Badge).insert({"code": "b", "serial": 7}))

    def test_an_update_that_makes_a_duplicate_changes_nothing(self, connect: Connect) -> None:
        db = connect(Star)
        query = db.query(Star)
        query.bulk_insert([{"name": "a"}, {"name": "b"}, {"name": "c"}])
        broken(db, DuplicateKeyError, {"name"}, lambda: query.filter(name="b").update({"name": "a"}))
        star = query.filter(name="c").one()
        broken(db, DuplicateKeyError, {"name"}, lambda: query.update(star, {"name": "a"}))
        assert [s.name for s in query.order_by("id").all()] == ["a", "b", "c"]

    def test_two_columns_that_are_unique_together(self, connect: Connect) -> None:
        db = connect(Badge)
        query = db.query(Badge)
        query.bulk_insert(
            [{"code": "a", "owner": "x", "place": "y"}, {"code": "b", "owner": "x", "place": "z"}]
        )
        broken(
            db,
            DuplicateKeyError,
            {"owner", "place"},
            lambda: query.insert({"code": "c", "owner": "x", "place": "y"}),
        )
        assert query.count() == 2

    def test_several_nulls_are_no_duplicates(self, connect: Connect) -> None:
        query = connect(Badge).query(Badge)
        query.bulk_insert(
            [{"code": "a"}, {"code": "b"}, {"code": "c", "owner": "x"}, {"code": "d", "owner": "x"}]
        )
        query.insert({"code": "e", "place": "y"})
        query.insert({"code": "f", "place": "y", "serial": None})
        assert query.filter(serial=None).count() == 6

    def test_unique_text_differs_by_case_accent_and_trailing_blank(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        names = ["a", "A", "á", "a ", "", " ", "e\u0301", "é", "ß", "ss", "\U0001f600", "\U0001f601"]
        query.bulk_insert([{"name": n} for n in names])
        assert query.count() == len(names)

    def test_a_freed_unique_value_may_be_used_again(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        query.insert({"name": "a"})
        query.filter(name="a").update({"name": "b"})
        query.insert({"name": "a"})
        query.filter(name="a").delete()
        assert query.insert({"name": "a"}).id == 3

    def test_a_null_that_arithmetic_makes_is_refused_where_none_may_be(self, connect: Connect) -> None:
        db = connect(Star, Author, Book)
        db.query(Star).bulk_insert([{"name": "a"}, {"name": "b", "band": "B"}])
        broken(
            db, NotNullError, {"name"}, lambda: db.query(Star).filter(name="a").update({"name": Star.band})
        )
        assert db.query(Star).filter(name="a").count() == 1

    def test_a_parent_that_is_there_is_found(self, connect: Connect) -> None:
        db = connect(Author, Book)
        author = db.query(Author).insert({"name": "Ann"})
        books = db.query(Book)
        books.bulk_insert([{"title": "a", "author_id": author.id}, {"title": "b"}])
        assert books.filter(author_id=author.id).one().title == "a"
