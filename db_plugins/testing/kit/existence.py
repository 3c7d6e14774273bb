"""``M.children.any(…)`` and ``M.parent.has(…)`` in filters: every sort of relationship, nested, negated, with every verb."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from db_plugins import Capability, Database, and_, func, not_, or_
from db_plugins.errors import InvalidValueError, UnsupportedFilterError

from .family import Conditions, Family
from .harness import Connect, Harness, requires, subject
from .models import Author, Book, Car, Garage, Star, Vehicle
from .related import Card, Club, Guest, Person, Room

__all__ = ["Existence", "ids"]

ROUNDS = 4
CONDITIONS = 30


def ids(query: Any) -> list[Any]:
    """The keys of the query's objects, sorted."""
    return sorted(row.id for row in query.all())


@subject("existence")
class Existence(Harness):
    """``any`` and ``has``."""

    def test_any_has_and_their_negations(self, shelf: Database) -> None:
        authors, books = shelf.query(Author), shelf.query(Book)
        assert ids(authors.filter(Author.books.any())) == [1, 2]
        assert ids(authors.filter(~Author.books.any())) == [3]
        assert ids(authors.filter(Author.books.any(Book.title == "t3"))) == [2]
        assert ids(authors.filter(Author.books.any(title="t2"))) == [1]
        assert ids(authors.filter(not_(Author.books.any(title="t2")))) == [2, 3]
        assert ids(books.filter(Book.author.has())) == [1, 2, 3, 5, 6]
        assert ids(books.filter(Book.author.has(Author.name == "a1"))) == [2, 5, 6]
        assert ids(books.filter(Book.author.has(name="none"))) == []

    def test_a_null_foreign_key_has_nothing(self, shelf: Database) -> None:
        books = shelf.query(Book)
        assert ids(books.filter(~Book.author.has())) == [4]
        assert ids(books.filter(~Book.author.has(Author.name == "a1"))) == [1, 3, 4]
        assert ids(books.filter(or_(Book.author.has(name="a1"), Book.author_id.is_(None)))) == [2, 4, 5, 6]

    def test_a_condition_that_is_null_inside_is_no_match(self, people: Database) -> None:
        bosses = people.query(Person).filter(Person.boss.has(Person.boss_id != 7))
        assert ids(bosses) == [4]
        assert ids(people.query(Person).filter(~Person.boss.has(Person.boss_id != 7))) == [1, 2, 3, 5]
        assert ids(people.query(Person).filter(Person.boss.has(~(Person.boss_id == 7)))) == [4]

    def test_any_through_a_link_table(self, people: Database) -> None:
        persons, clubs = people.query(Person), people.query(Club)
        assert ids(persons.filter(Person.clubs.any())) == [1, 2, 4]
        assert ids(persons.filter(Person.clubs.any(Club.name == "Go"))) == [1, 4]
        assert ids(persons.filter(~Person.clubs.any(name="Go"))) == [2, 3, 5]
        assert ids(clubs.filter(Club.members.any(Person.name.like("%b")))) == [2]
        assert ids(clubs.filter(~Club.members.any())) == [3]

    def test_any_and_has_of_the_same_model(self, people: Database) -> None:
        persons = people.query(Person)
        assert ids(persons.filter(Person.staff.any())) == [1, 2]
        assert ids(persons.filter(Person.staff.any(name="Di"))) == [2]
        assert ids(persons.filter(Person.boss.has(Person.name == "Ada"))) == [2, 3]
        assert ids(persons.filter(Person.staff.any(Person.staff.any(Person.name == "Di")))) == [1]
        assert ids(persons.filter(Person.boss.has(Person.boss.has(name="Ada")))) == [4]
        assert ids(persons.filter(Person.staff.any(~Person.staff.any()))) == [1, 2]
        assert ids(persons.filter(Person.boss.has(Person.staff.any(name="Cy")), Person.name != "Cy")) == [2]

    def test_any_and_has_nested_over_several_models(self, people: Database) -> None:
        cards = people.query(Card)
        chess = Card.person.has(Person.clubs.any(Club.members.any(Person.name == "Ada")))
        assert ids(cards.filter(chess)) == [1]
        assert ids(cards.filter(not_(chess))) == [2]
        assert ids(cards.filter(Card.person.has(Person.boss.has(Person.clubs.any(name="Go"))))) == [1]
        assert ids(people.query(Club).filter(Club.members.any(Person.card.has(Card.number > 7)))) == []
        both = and_(Person.clubs.any(name="Go"), ~Person.clubs.any(name="Chess"))
        assert ids(people.query(Person).filter(both)) == [4]

    @pytest.mark.parametrize(("name", "expected"), [("Bob", [4]), ("Ada", [])])
    def test_a_way_back_to_a_model_that_was_related_to_itself(
        self, people: Database, name: str, expected: list[int]
    ) -> None:
        back = Card.person.has(and_(Person.name == name, Person.boss_id == 1))
        boss = and_(Person.id > 0, Person.card.has(and_(Card.number > 0, back)))
        assert ids(people.query(Person).filter(Person.boss.has(boss))) == expected

    def test_a_condition_may_name_the_row_outside(self, shelf: Database, people: Database) -> None:
        authors = shelf.query(Author)
        assert ids(authors.filter(Author.books.any(Book.id > Author.id + 3))) == [1]
        assert ids(authors.filter(Author.books.any(Book.id == Author.id))) == []
        assert ids(shelf.query(Book).filter(Book.author.has(Author.id > Book.id))) == [1]
        inner = Author.books.any(Book.author.has(Author.id < Book.id))
        assert ids(authors.filter(inner)) == [1, 2]
        members = Club.members.any(Person.card.has(Card.number > Club.id + 4))
        assert ids(people.query(Club).filter(members)) == [2]

    def test_null_is_not_equal_to_null(self, people: Database) -> None:
        persons = people.query(Person)
        assert people.query(Card).filter(person_id=None).count() == 1
        assert ids(persons.filter(Person.boss_cards.any())) == [4]
        assert ids(persons.filter(~Person.boss_cards.any())) == [1, 2, 3, 5]
        assert ids(persons.filter(Person.boss_cards.any(Card.number != Person.id))) == [4]

    def test_composite_keys_and_conditions_of_their_own(self, connect: Connect, people: Database) -> None:
        db = connect(Room, Guest)
        self.stock(db, Room, [{"floor": f, "door": d} for f in (1, 2) for d in "ab"])
        guests = [("x", 1, "a"), ("y", 2, "a"), ("z", 2, None), ("w", None, None)]
        self.stock(db, Guest, [{"name": n, "floor": f, "door": d} for n, f, d in guests])
        rooms = db.query(Room).filter(Room.guests.any()).order_by("floor").all()
        assert [(r.floor, r.door) for r in rooms] == [(1, "a"), (2, "a")]
        found = db.query(Guest).filter(~Guest.room.has(Room.floor == 1)).order_by("name").all()
        assert [g.name for g in found] == ["w", "y", "z"]
        assert ids(people.query(Person).filter(Person.late.any())) == [2]
        assert ids(people.query(Person).filter(Person.late.any(Card.number > 7))) == []

    def test_a_subclass_of_single_table_inheritance(self, connect: Connect) -> None:
        db = connect(Garage, Vehicle, Car)
        self.stock(db, Garage, [{"id": n, "name": f"g{n}"} for n in (1, 2, 3)])
        self.stock(db, Vehicle, [{"id": 1, "colour": "red", "garage_id": 1}])
        self.stock(db, Car, [{"id": 2, "colour": "red", "doors": 3, "garage_id": 2}, {"id": 3, "doors": 5}])
        garages = db.query(Garage)
        assert ids(garages.filter(Garage.vehicles.any(Vehicle.colour == "red"))) == [1, 2]
        assert ids(garages.filter(Garage.cars.any(Car.colour == "red"))) == [2]
        assert ids(garages.filter(Garage.cars.any(Car.doors > 2))) == [2]
        assert ids(garages.filter(~Garage.cars.any())) == [1, 3]
        assert ids(garages.filter(Garage.vehicles.of_type(Car).any(Car.doors == 3))) == [2]
        assert ids(db.query(Car).filter(Car.garage.has(name="g2"))) == [2]

    def test_every_reading_verb_asks_any_and_has(self, shelf: Database) -> None:
        query = shelf.query(Book).filter(Book.author.has(Author.name == "a1")).order_by(Book.id.desc())
        assert query.count() == 3
        assert query.limit(2).count() == 2
        assert query.exists()
        assert query.get(1) is None
        assert query.get(5) is not None
        assert list(query.get_many([1, 2, 5])) == [2, 5]
        assert query.first().id == 6  # type: ignore[union-attr]
        assert query.filter(id=2).one().title == "t2"
        assert [b.id for b in query.limit(1).offset(1).all()] == [5]
        assert query.to_dicts("title") == [{"title": "t6"}, {"title": "t5"}, {"title": "t2"}]
        assert [r["id"] for r in query.stream("id", batch_size=1)] == [6, 5, 2]
        page = query.paginate(2, 2)
        assert ([b.id for b in page], page.total) == ([2], 3)
        first = query.cursor_paginate(per_page=2)
        after = first.next()
        assert after is not None
        assert [b.id for b in (*first, *after)] == [6, 5, 2]
        assert query.aggregate(n=func.count(), top=func.max(Book.id)) == {"n": 3, "top": 6}
        grouped = shelf.query(Book).filter(Book.author.has(Author.name == "a1")).group_by(Book.author_id)
        assert grouped.aggregate(n=func.count()) == [{"author_id": 1, "n": 3}]
        assert [b.author.name for b in query.include(Book.author).all() if b.author] == ["a1"] * 3
        assert "book" in query.explain().lower()

    @requires(Capability.WRITE)
    def test_update_and_delete(self, shelf: Database, people: Database) -> None:
        books = shelf.query(Book)
        assert books.filter(Book.author.has(name="a1")).update({"title": "new"}) == 3
        assert ids(books.filter(title="new")) == [2, 5, 6]
        assert books.filter(~Book.author.has(), Book.id < 9).delete() == 1
        assert ids(books) == [1, 2, 3, 5, 6]
        assert shelf.query(Author).filter(~Author.books.any()).delete() == 1
        book = books.get(1)
        assert book is not None
        assert books.filter(Book.author.has(name="a2")).update(book, {"title": "one"}).title == "one"
        assert books.filter(Book.author.has(name="a1")).filter(title="one").update({"title": "no"}) == 0

    @requires(Capability.WRITE)
    def test_update_and_delete_by_rows_of_the_same_model(self, people: Database) -> None:
        persons = people.query(Person)
        assert persons.filter(Person.boss.has(name="Ada")).update({"name": "Led"}) == 2
        assert sorted(p.name for p in persons.all()) == ["Ada", "Di", "Eve", "Led", "Led"]
        alone = and_(~Person.staff.any(), ~Person.clubs.any(), Person.boss_id.is_(None))
        assert persons.filter(alone).delete() == 1
        assert ids(persons) == [1, 2, 3, 4]
        assert persons.filter(Person.boss.has(), ~Person.staff.any(), ~Person.clubs.any()).delete() == 1
        assert ids(persons) == [1, 2, 4]

    @requires(Capability.TRANSACTIONS)
    def test_any_in_a_transaction(self, shelf: Database) -> None:
        with shelf.transaction() as tx:
            tx.query(Book).insert({"id": 9, "title": "new", "author_id": 3})
            assert ids(tx.query(Author).filter(Author.books.any(title="new"))) == [3]
            assert [a.id for a in tx.query(Author).filter(Author.books.any()).stream(batch_size=1)] == [
                1,
                2,
                3,
            ]

    def test_any_and_has_of_more_keys_than_one_statement_takes(self, connect: Connect) -> None:
        db = connect(Author, Book)
        self.stock(db, Author, [{"id": n, "name": f"a{n % 7}"} for n in range(1, 1202)])
        self.stock(db, Book, [{"id": n, "title": f"t{n % 5}", "author_id": 1202 - n} for n in range(1, 1202)])
        assert db.query(Author).filter(Author.books.any()).count() == 1201
        expected = [n for n in range(1, 1202) if (1202 - n) % 7 == 3 and n % 5]
        found = db.query(Book).filter(Book.author.has(name="a3"), Book.title != "t0")
        assert ids(found) == expected

    @pytest.mark.parametrize("seed", range(ROUNDS))
    def test_generated_conditions_mean_what_plain_python_means(self, connect: Connect, seed: int) -> None:
        family = Family.of(seed)
        db = connect(Person, Club, Card)
        family.store(self, db)
        conditions = Conditions(family, seed)
        for number in range(CONDITIONS):
            model: Any = [Person, Person, Card, Club][number % 4]
            expression, truth = conditions.make(model, 3)
            expected = sorted(row[0] for row in family.rows(model) if truth({model: row}))
            assert ids(db.query(model).filter(expression)) == expected, f"{model.__name__}: {expression}"

    @pytest.mark.parametrize(
        "bad",
        [
            sa.exists().where(Book.author_id == Author.id),
            sa.select(Book.id).where(Book.author_id == Author.id).exists(),
            Author.books.any(Star.name == "x"),
            Author.books.any(func.lower(Book.title) == "x"),
            Book.author.has(name="x"),
            Star.name == "x",
            Author.books.any() == True,  # noqa: E712
        ],
        ids=["exists", "select", "foreign", "function", "other model", "not joined", "compared"],
    )
    def test_what_is_not_of_a_relationship_is_refused(self, alarmed: Connect, bad: Any) -> None:
        query = alarmed(Author, Book, Star).query(Author)
        for condition in (bad, not_(bad), or_(bad, Author.id == 1)):
            with pytest.raises(UnsupportedFilterError):
                query.filter(condition)

    def test_a_refusal_names_the_way(self, alarmed: Connect) -> None:
        query = alarmed(Author, Book).query(Author)
        with pytest.raises(UnsupportedFilterError, match=r"any\(\) or has\(\)"):
            query.filter(sa.exists().where(Book.author_id == Author.id))
        with pytest.raises(UnsupportedFilterError, match=r"join\(\).*any\(\) or has\(\)"):
            query.filter(Book.title == "x")

    def test_values_inside_are_checked(self, alarmed: Connect) -> None:
        query = alarmed(Author, Book).query(Author)
        for bad in (
            Author.books.any(Book.title == 5),
            Author.books.any(title={"$ne": None}),
            Author.books.any(id="1"),
        ):
            with pytest.raises(InvalidValueError, match="Book"):
                query.filter(bad)
