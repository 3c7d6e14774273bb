"""``include``: every sort of relationship, nested, with every verb that gives objects, in few statements."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db_plugins import Capability, Database
from db_plugins.errors import InvalidValueError, NotLoadedError, UnsupportedOperationError
from db_plugins.models.links import link_model

from .harness import Connect, Harness, requires, subject
from .models import Author, Base, Book, Star

__all__ = ["Related"]

membership = sa.Table(
    "kit_membership",
    Base.metadata,
    sa.Column("person", sa.ForeignKey("kit_person.id"), primary_key=True),
    sa.Column("club", sa.ForeignKey("kit_club.id"), primary_key=True),
)


class Person(Base):
    """A tree of persons, their clubs through a link table, one card each."""

    __tablename__ = "kit_person"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(20))
    boss_id: Mapped[int | None] = mapped_column("boss", sa.ForeignKey("kit_person.id"))
    boss: Mapped[Person | None] = relationship(back_populates="staff", remote_side="Person.id")
    staff: Mapped[list[Person]] = relationship(back_populates="boss", order_by="Person.name.desc()")
    clubs: Mapped[list[Club]] = relationship(secondary=membership, back_populates="members")
    card: Mapped[Card | None] = relationship(back_populates="person")
    boss_cards: Mapped[list[Card]] = relationship(
        primaryjoin="foreign(Card.person_id) == Person.boss_id", viewonly=True
    )
    late: Mapped[list[Card]] = relationship(
        primaryjoin="and_(Person.id == Card.person_id, Card.number > 5)", viewonly=True
    )


class Club(Base):
    __tablename__ = "kit_club"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(20))
    members: Mapped[set[Person]] = relationship(secondary=membership, back_populates="clubs")


class Card(Base):
    __tablename__ = "kit_card"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]
    person_id: Mapped[int | None] = mapped_column(sa.ForeignKey("kit_person.id"))
    person: Mapped[Person | None] = relationship(back_populates="card")


class Room(Base):
    """A composite key, and guests that refer to both parts of it."""

    __tablename__ = "kit_room"
    floor: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    door: Mapped[str] = mapped_column("door_no", sa.String(5), primary_key=True)
    guests: Mapped[list[Guest]] = relationship(back_populates="room", order_by="desc(Guest.name)")


class Guest(Base):
    __tablename__ = "kit_guest"
    __table_args__ = (sa.ForeignKeyConstraint(["floor", "door"], ["kit_room.floor", "kit_room.door_no"]),)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(20))
    floor: Mapped[int | None]
    door: Mapped[str | None] = mapped_column(sa.String(5))
    room: Mapped[Room | None] = relationship(back_populates="guests")


def names(rows: Any) -> list[str]:
    """The names of these objects."""
    return [row.name for row in rows]


@subject("related")
class Related(Harness):
    """``include`` over a family of persons, clubs and cards, and a shelf of books."""

    @pytest.fixture
    def people(self, connect: Connect) -> Database:
        """Ada leads Bob and Cy, Bob leads Di; Eve is alone. Three clubs, two cards."""
        db = connect(Person, Club, Card)
        persons = [(1, "Ada", None), (2, "Bob", 1), (3, "Cy", 1), (4, "Di", 2), (5, "Eve", None)]
        for n, name, boss in persons:
            self.stock(db, Person, [{"id": n, "name": name, "boss_id": boss}])
        self.stock(db, Club, [{"id": n, "name": name} for n, name in enumerate(["Go", "Chess", "Empty"], 1)])
        self.stock(
            db, Card, [{"id": 1, "number": 7, "person_id": 2}, {"id": 2, "number": 8, "person_id": None}]
        )
        self.stock(
            db,
            link_model(membership),
            [{"person": p, "club": c} for p, c in [(2, 2), (1, 2), (1, 1), (4, 1)]],
        )
        return db

    @pytest.fixture
    def shelf(self, connect: Connect) -> Database:
        """Three authors, the last without books, and a book without an author."""
        db = connect(Author, Book)
        self.stock(db, Author, [{"id": n, "name": f"a{n}"} for n in (1, 2, 3)])
        self.stock(
            db,
            Book,
            [
                {"id": n, "title": f"t{n}", "author_id": a}
                for n, a in [(1, 2), (2, 1), (3, 2), (4, None), (5, 1), (6, 1)]
            ],
        )
        return db

    def test_one_to_many_and_many_to_one(self, shelf: Database) -> None:
        authors = shelf.query(Author).include(Author.books).order_by("id").all()
        assert [[b.id for b in a.books] for a in authors] == [[2, 5, 6], [1, 3], []]
        books = shelf.query(Book).include(Book.author).order_by("id").all()
        assert [b.author and b.author.name for b in books] == ["a2", "a1", "a2", None, "a1", "a1"]
        assert books[0].author is books[2].author
        assert shelf.query(Author).include("books").get(2).books[1].title == "t3"  # type: ignore[union-attr]

    def test_what_is_not_included_still_raises(self, shelf: Database, people: Database) -> None:
        author = shelf.query(Author).include(Author.books).get(1)
        assert author is not None
        shelf.close()
        assert len(author.books) == 3
        with pytest.raises(NotLoadedError, match="author"):
            _ = author.books[0].author
        person = people.query(Person).include(Person.clubs).get(1)
        assert person is not None
        for name in ("staff", "boss", "card"):
            with pytest.raises(NotLoadedError, match=name):
                getattr(person, name)

    def test_nested(self, shelf: Database, people: Database) -> None:
        query = shelf.query(Book).include(Book.author, Author.books)
        book = query.get(1)
        assert book is not None
        assert book.author is not None
        assert [b.id for b in book.author.books] == [1, 3]
        person = people.query(Person).include(Person.clubs).include(Club.members, Person.card).get(4)
        assert person is not None
        (club,) = person.clubs
        assert sorted(names(club.members)) == ["Ada", "Di"]
        assert person.card is None

    def test_through_a_link_table_both_ways(self, people: Database) -> None:
        everyone = people.query(Person).include(Person.clubs).order_by("id").all()
        assert [names(p.clubs) for p in everyone] == [["Go", "Chess"], ["Chess"], [], ["Go"], []]
        clubs = people.query(Club).include(Club.members).order_by("id").all()
        assert all(isinstance(c.members, set) for c in clubs)
        assert [sorted(names(c.members)) for c in clubs] == [["Ada", "Di"], ["Ada", "Bob"], []]

    def test_a_relationship_to_the_same_model(self, people: Database) -> None:
        ada = people.query(Person).include(Person.staff).get(1)
        assert ada is not None
        assert names(ada.staff) == ["Cy", "Bob"], "in the relationship's order"
        with pytest.raises(NotLoadedError):
            _ = ada.staff[0].staff
        ada = people.query(Person).include(Person.staff, Person.staff).get(1)
        assert ada is not None
        assert [names(p.staff) for p in ada.staff] == [[], ["Di"]]
        di = people.query(Person).include(Person.boss, Person.boss).get(4)
        assert di is not None
        assert di.boss is not None
        assert di.boss.boss is not None
        assert (di.boss.name, di.boss.boss.name) == ("Bob", "Ada")

    def test_one_to_one_is_an_object_or_none(self, people: Database) -> None:
        everyone = people.query(Person).include(Person.card).order_by("id").all()
        assert [p.card and p.card.number for p in everyone] == [None, 7, None, None, None]
        cards = people.query(Card).include(Card.person).order_by("id").all()
        assert [c.person and c.person.name for c in cards] == ["Bob", None]

    def test_a_composite_foreign_key(self, connect: Connect) -> None:
        db = connect(Room, Guest)
        rooms = [(f, d) for f in range(20) for d in "abcdefghijkl"]
        self.stock(db, Room, [{"floor": f, "door": d} for f, d in rooms])
        self.stock(
            db,
            Guest,
            [{"name": f"{f}{d}{n}", "floor": f, "door": d} for f, d in rooms if f % 2 for n in (1, 2)]
            + [{"name": "out"}, {"name": "half", "floor": 3}],
        )
        found = db.query(Room).include(Room.guests).order_by("floor", "door").all()
        assert [names(r.guests) for r in found] == [
            [f"{f}{d}2", f"{f}{d}1"] if f % 2 else [] for f, d in rooms
        ]
        guests = db.query(Guest).include(Guest.room).order_by("id").all()
        assert [(g.room.floor, g.room.door) if g.room else None for g in guests] == [
            *((f, d) for f, d in rooms if f % 2 for _ in (1, 2)), None, None
        ]  # fmt: skip

    def test_every_verb_that_gives_objects_includes(self, shelf: Database) -> None:
        query = shelf.query(Author).include(Author.books).order_by("id")
        ways: list[Callable[[], Iterable[Any]]] = [
            lambda: [query.get(1)],
            lambda: query.get_many([1]).values(),
            lambda: [query.first()],
            lambda: [query.filter(id=1).one()],
            lambda: [query.filter(id=1).one_or_none()],
            lambda: query.limit(1).all(),
            lambda: query.paginate(1, 1),
            lambda: query.cursor_paginate(per_page=1),
            lambda: query.limit(1).stream(),
        ]
        for give in ways:
            (author,) = give()
            assert [b.id for b in author.books] == [2, 5, 6]
        after = query.cursor_paginate(per_page=1).next()
        assert after is not None
        assert [b.id for b in after.items[0].books] == [1, 3]
        assert [len(a.books) for a in query.stream(batch_size=1)] == [3, 2, 0]

    @requires(Capability.TRANSACTIONS)
    def test_in_a_transaction(self, shelf: Database) -> None:
        with shelf.transaction() as tx:
            tx.query(Book).insert({"id": 9, "title": "new", "author_id": 3})
            query = tx.query(Author).include(Author.books).order_by("id")
            assert [len(a.books) for a in query.all()] == [3, 2, 1]
            assert [len(a.books) for a in query.stream(batch_size=1)] == [3, 2, 1]

    def test_more_keys_than_one_statement_takes(self, connect: Connect) -> None:
        db = connect(Author, Book)
        self.stock(db, Author, [{"id": n, "name": f"a{n}"} for n in range(1, 1202)])
        self.stock(db, Book, [{"id": n, "title": "t", "author_id": 1202 - n} for n in range(1, 1202)])
        books = db.query(Book).include(Book.author).all()
        assert len(books) == 1201
        assert all(b.author is not None and b.author.id == 1202 - b.id for b in books)
        assert all([b.id for b in a.books] == [1202 - a.id] for a in db.query(Author).include("books").all())

    def test_the_number_of_statements_does_not_grow(
        self, shelf: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connection = shelf._connected()
        calls: list[str] = []
        within: list[Any] = []

        def counted(read: Any) -> Any:
            def call(query: Any, *more: Any) -> Any:
                if not within:  # rows() may be fetch() to its end
                    calls.append(query.spec.model.name)
                within.append(query)
                try:
                    return read(query, *more)
                finally:
                    within.pop()

            return call

        for name in ("rows", "fetch"):
            monkeypatch.setattr(connection, name, counted(getattr(connection, name)))
        shelf.query(Author).include(Author.books, Book.author).all()
        assert calls == ["Author", "Book", "Author"]
        calls.clear()
        shelf.query(Author).filter(name="none").include(Author.books).all()
        shelf.query(Book).filter(author_id=None).include(Book.author).all()
        assert calls == ["Author", "Book"], "nothing to look for, nothing sent"

    def test_a_query_with_include_is_immutable_and_may_be_repeated(self, shelf: Database) -> None:
        query = shelf.query(Author).order_by("id")
        including = query.include(Author.books).include(Author.books)
        with pytest.raises(NotLoadedError):
            _ = query.all()[0].books
        assert len(including.all()[0].books) == len(including.filter(id=1).all()[0].books) == 3
        assert including.count() == 3
        assert including.to_dicts("id")[0] == {"id": 1}

    @pytest.mark.parametrize("bad", ["boks", "name", "", "books.author", Author.name, Star.name, Book.author, 5, None, {"$gt": 1}, ["books"]],
                             ids=str)  # fmt: skip
    def test_what_is_no_relationship_is_refused(self, alarmed: Connect, bad: Any) -> None:
        query = alarmed(Author, Book, Star).query(Author)
        with pytest.raises(InvalidValueError):
            query.include(bad)
        with pytest.raises(InvalidValueError, match="books"):
            query.include("bokks")

    def test_a_relationship_with_a_condition_is_refused(self, alarmed: Connect) -> None:
        with pytest.raises(UnsupportedOperationError, match=r"Person\.late"):
            alarmed(Person, Club, Card).query(Person).include(Person.late)
