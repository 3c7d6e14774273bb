"""What a query returns: plain objects, detached, whole, and clear about what was not loaded."""

from __future__ import annotations

import copy
import pickle

import pytest
from sqlalchemy.orm.exc import DetachedInstanceError

from db_plugins import Capability, Database
from db_plugins.errors import NotLoadedError

from .harness import Connect, Harness, requires, subject
from .models import Author, Book, Star

__all__ = ["Objects"]


@subject("objects")
class Objects(Harness):
    """API §4's last paragraphs."""

    @pytest.fixture
    def library(self, connect: Connect) -> Database:
        """An author with two books, and a book of nobody."""
        db = connect(Author, Book)
        self.stock(db, Author, [{"id": 1, "name": "Ann"}])
        self.stock(
            db,
            Book,
            [
                {"id": 1, "title": "a", "author_id": 1},
                {"id": 2, "title": "b", "author_id": 1},
                {"id": 3, "title": "c"},
            ],
        )
        return db

    def test_every_attribute_stays_readable_after_close(self, seven: Database) -> None:
        stars = seven.query(Star).order_by("id").all()
        seven.close()
        assert [(s.name, s.band) for s in stars[:2]] == [("Vega", "V"), ("Sirius", "V")]
        assert stars[4].mag is None

    def test_two_reads_give_two_objects(self, seven: Database) -> None:
        one, other = seven.query(Star).get(1), seven.query(Star).get(1)
        assert one is not other
        assert one is not None
        one.name = "changed"
        assert other is not None
        assert other.name == "Vega"
        assert seven.query(Star).get(1).name == "Vega"  # type: ignore[union-attr]

    @pytest.mark.parametrize("key", [1, 3])
    def test_a_relationship_that_was_not_loaded_is_named_also_when_the_key_is_null(
        self, library: Database, key: int
    ) -> None:
        book = library.query(Book).get(key)
        assert book is not None
        with pytest.raises(NotLoadedError, match=r"Book\.author.*include") as caught:
            book.author  # noqa: B018
        assert isinstance(caught.value, DetachedInstanceError)

    def test_a_collection_that_was_not_loaded_cannot_be_read_or_assigned(self, library: Database) -> None:
        author = library.query(Author).one()
        with pytest.raises(NotLoadedError, match=r"Author\.books.*include"):
            author.books  # noqa: B018
        with pytest.raises(NotLoadedError, match=r"Author\.books.*include"):
            author.books = []
        assert author.name == "Ann"

    @requires(Capability.WRITE)
    def test_an_inserted_object_is_as_detached_as_one_that_was_read(self, library: Database) -> None:
        book = library.query(Book).insert(Book(title="d", author_id=1))
        with pytest.raises(NotLoadedError):
            book.author  # noqa: B018
        assert library.query(Book).insert({"title": "e"}).title == "e"

    @pytest.mark.parametrize("duplicate", [lambda o: pickle.loads(pickle.dumps(o)), copy.copy, copy.deepcopy])  # noqa: S301
    def test_objects_can_be_pickled_and_copied(self, library: Database, duplicate: object) -> None:
        book = library.query(Book).get(1)
        again = duplicate(book)  # type: ignore[operator]
        assert (type(again), again.id, again.title, again.author_id) == (Book, 1, "a", 1)
        with pytest.raises(NotLoadedError):
            again.author  # noqa: B018

    @requires(Capability.WRITE)
    def test_a_pickled_object_can_be_updated_and_deleted(self, library: Database) -> None:
        query = library.query(Book)
        book = pickle.loads(pickle.dumps(query.get(1)))  # noqa: S301
        book.title = "new"
        query.update(book)
        assert query.get(1).title == "new"  # type: ignore[union-attr]
        assert query.delete(book) is True
