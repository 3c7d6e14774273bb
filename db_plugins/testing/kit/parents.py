"""Foreign keys: a row names parents that are there, and a parent that is named stays; on every engine."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from db_plugins import Capability
from db_plugins.errors import ConflictError, ForeignKeyError, UnsupportedOperationError
from db_plugins.models.links import link_model
from db_plugins.query import BaseQuery

from .family_models import Desk, Guild, Guildsman, Hall, Locker, Reading, Sensor, Staff, Tool, Twig, tools_of
from .family_models import Orchestrator as Maker
from .harness import Connect, Harness, requires, subject
from .integrity import WORD, broken
from .models import Author, Book, Passage
from .transactions import Beside

__all__ = ["Parents"]


@subject("foreign keys", Capability.WRITE)
class Parents(Harness):
    """API §1, foreign keys."""

    def test_a_parent_that_is_missing_is_a_foreign_key_error(self, connect: Connect) -> None:
        db = connect(Author, Book)
        books = db.query(Book)
        error = broken(
            db, ForeignKeyError, {"author_id"}, lambda: books.insert({"title": WORD, "author_id": 99})
        )
        assert error.fact == "Book.author_id names no Author"
        broken(
            db,
            ForeignKeyError,
            {"author_id"},
            lambda: books.bulk_insert([{"title": "a"}, {"title": "b", "author_id": 99}]),
        )
        book = books.insert({"title": "a"})
        broken(db, ForeignKeyError, {"author_id"}, lambda: books.update(book, {"author_id": 99}))
        error = broken(
            db, ForeignKeyError, {"author_id"}, lambda: books.filter(title="a").update({"author_id": 99})
        )
        assert error.fact == "Book.author_id names no Author"
        assert books.filter(author_id=None).count() == books.count() == 1

    def test_a_parent_that_is_there_is_found_by_every_verb(self, connect: Connect) -> None:
        db = connect(Author, Book)
        db.query(Author).bulk_insert([{"id": n, "name": "a"} for n in range(1, 1503)])
        books = db.query(Book)
        books.bulk_insert({"title": str(n), "author_id": n} for n in range(1, 1503))
        book = books.insert({"title": "x", "author_id": 1502})
        assert books.update(book, {"author_id": 1}).author_id == 1
        assert books.filter(author_id=7).update({"author_id": None}) == 1
        assert books.filter(Book.id <= 3).update({"author_id": Book.author_id + 1}) == 3
        assert [b.author_id for b in books.filter(Book.id <= 3).order_by("id").all()] == [2, 3, 4]

    def test_a_calculated_key_names_a_parent_that_is_there(self, connect: Connect) -> None:
        db = connect(Author, Book)
        db.query(Author).bulk_insert([{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
        books = db.query(Book)
        books.bulk_insert([{"title": "a", "author_id": 1}, {"title": "b", "author_id": 2}])
        broken(
            db,
            ForeignKeyError,
            {"author_id"},
            lambda: books.update({"author_id": Book.author_id + 1}, force=True),
        )
        assert [b.author_id for b in books.order_by("id").all()] == [1, 2]

    def test_an_update_of_no_rows_names_nobody(self, connect: Connect) -> None:
        db = connect(Author, Book)
        assert db.query(Book).filter(title="none").update({"author_id": 99}) == 0

    def test_parent_and_child_in_one_batch(self, connect: Connect) -> None:
        db = connect(Twig)
        twigs = db.query(Twig)
        twigs.bulk_insert([{"id": 1, "on_id": 1}, {"id": 2, "on_id": 1}, {"id": 3, "on_id": 2}])
        broken(
            db,
            ForeignKeyError,
            {"on_id"},
            lambda: twigs.bulk_insert([{"id": 4, "on_id": 3}, {"id": 5, "on_id": 9}]),
        )
        assert twigs.count() == 3

    def test_a_key_of_several_columns_is_looked_up_whole(self, connect: Connect) -> None:
        db = connect(Hall, Desk, Locker)
        db.query(Hall).bulk_insert([{"house": "a", "floor": 1}, {"house": "b", "floor": 2}])
        lockers = db.query(Locker)
        broken(db, ForeignKeyError, {"house", "floor"}, lambda: lockers.insert({"house": "a", "floor": 2}))
        lockers.bulk_insert([{"house": "a", "floor": None}, {"house": "z", "floor": None}, {"floor": 9}])
        locker = lockers.insert({"house": "a", "floor": 1})
        broken(db, ForeignKeyError, {"house", "floor"}, lambda: lockers.update(locker, {"floor": 2}))
        assert lockers.update(locker, {"house": "b", "floor": 2}).house == "b"
        broken(
            db, ForeignKeyError, {"house", "floor"}, lambda: db.query(Desk).insert({"house": "z", "floor": 1})
        )

    def test_a_foreign_key_to_another_unique_column(self, connect: Connect) -> None:
        db = connect(Sensor, Reading)
        db.query(Sensor).insert({"id": 1, "name": "s"})
        readings = db.query(Reading)
        error = broken(
            db,
            ForeignKeyError,
            {"sensor_name"},
            lambda: readings.insert({"sensor_id": 1, "sensor_name": "t"}),
        )
        assert error.fact == "Reading.sensor_name names no Sensor"
        reading = readings.insert({"at": dt.date(2026, 1, 1), "sensor_name": "s"})
        error = broken(db, ForeignKeyError, {"sensor_name"}, lambda: db.query(Sensor).filter(id=1).delete())
        assert error.fact == "Sensor is still referred to by Reading.sensor_name"
        readings.delete(reading)
        assert db.query(Sensor).filter(id=1).delete() == 1

    def test_a_link_row_names_both_sides(self, connect: Connect) -> None:
        db = connect(Maker, Tool)
        db.query(Maker).insert({"id": 1, "name": "o"})
        db.query(Tool).insert({"id": 1, "name": "t"})
        links: BaseQuery[Any] = db.query(link_model(tools_of))
        broken(db, ForeignKeyError, {"tool"}, lambda: links.insert({"orchestrator": 1, "tool": 2}))
        links.insert({"orchestrator": 1, "tool": 1})
        assert links.count() == 1

    def test_a_subclass_refers_as_its_base_does(self, connect: Connect) -> None:
        db = connect(Guild, Staff, Guildsman)
        broken(db, ForeignKeyError, {"guild_id"}, lambda: db.query(Guildsman).insert({"guild_id": 1}))
        db.query(Guild).insert({"id": 1})
        assert db.query(Guildsman).insert({"guild_id": 1}).guild_id == 1

    def test_a_parent_without_relationship_stays_while_it_is_referred_to(self, connect: Connect) -> None:
        db = connect(Sensor, Reading)
        sensors = db.query(Sensor)
        sensors.bulk_insert([{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 3, "name": "c"}])
        db.query(Reading).insert({"sensor_id": 2})
        second = sensors.get(2)
        assert second is not None
        for delete in (
            lambda: sensors.delete(second),
            lambda: sensors.filter(Sensor.name < "d").delete(),
            lambda: sensors.filter(Sensor.id > 0, name="b").delete(),
        ):
            error = broken(db, ForeignKeyError, {"sensor_id"}, delete)
            assert error.fact == "Sensor is still referred to by Reading.sensor_id"
            assert sensors.count() == 3
        db.query(Reading).delete(force=True)
        assert sensors.delete(force=True) == 3

    def test_a_row_that_another_of_its_table_refers_to_stays(self, connect: Connect) -> None:
        db = connect(Sensor, Reading)
        sensors = db.query(Sensor)
        sensors.bulk_insert([{"id": 1, "twin_id": None}, {"id": 2, "twin_id": 1}])
        error = broken(db, ForeignKeyError, {"twin_id"}, lambda: sensors.filter(id=1).delete())
        assert error.fact == "Sensor is still referred to by Sensor.twin_id"
        assert sensors.filter(id=2).delete() == 1
        assert sensors.filter(id=1).delete() == 1

    def test_of_several_children_the_one_that_refers_is_named(self, connect: Connect) -> None:
        db = connect(Author, Book, Passage)
        db.query(Author).insert({"id": 1, "name": "a"})
        db.query(Book).insert({"title": "b", "author_id": 1})
        db.query(Passage).insert({"text": "p", "author_id": 1})
        error = broken(db, ForeignKeyError, {"author_id"}, lambda: db.query(Author).filter(id=1).delete())
        assert error.fact == "Author is still referred to by Passage.author_id"
        assert db.query(Book).filter(author_id=1).exists(), "nothing was changed"

    @requires(Capability.FOREIGN_KEYS, Capability.TRANSACTIONS)
    def test_a_parent_that_is_deleted_at_the_same_moment_is_not_missed(self, connect: Connect) -> None:
        db = connect(Author, Book, Passage)
        db.query(Author).insert({"id": 1, "name": "a"})
        with db.transaction() as tx:
            tx.query(Passage).insert({"text": "p", "author_id": 1})
            beside = Beside(lambda: db.query(Author).filter(id=1).delete())
            beside.is_done()
        with pytest.raises((ForeignKeyError, ConflictError)):
            beside.result()
        assert db.query(Author).count() == db.query(Passage).filter(author_id=1).count() == 1

    @requires(Capability.TRANSACTIONS)
    def test_in_a_transaction_its_own_rows_are_parents(self, connect: Connect) -> None:
        db = connect(Author, Book)
        with db.transaction() as tx:
            author = tx.query(Author).insert({"name": "a"})
            tx.query(Book).insert({"title": "b", "author_id": author.id})
        assert db.query(Book).count() == 1

        def add_an_orphan() -> None:
            with db.transaction() as tx:
                tx.query(Author).insert({"name": "b"})
                broken(
                    db,
                    ForeignKeyError,
                    {"author_id"},
                    lambda: tx.query(Book).insert({"title": "c", "author_id": 99}),
                )
                with pytest.raises(UnsupportedOperationError, match="ForeignKeyError"):
                    tx.query(Book).count()

        broken(db, ForeignKeyError, {"author_id"}, add_an_orphan)
        assert (db.query(Author).count(), db.query(Book).count()) == (1, 1)
