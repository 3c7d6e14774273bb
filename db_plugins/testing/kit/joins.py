"""``join``: a row for each matching pair, filtered, ordered, grouped and read by the columns of both models."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from db_plugins import Capability, Database, func, or_
from db_plugins.errors import (
    InvalidValueError,
    UnsupportedError,
    UnsupportedFilterError,
    UnsupportedOperationError,
)

from .family import Conditions, Family, three_valued
from .harness import Connect, Harness, requires, subject
from .models import Author, Book, Car, Garage, Star, Vehicle
from .related import Card, Club, Guest, Person, Room

__all__ = ["Joins"]

ROUNDS = 4
CONDITIONS = 20


def dicts(query: Any, *columns: Any) -> list[tuple[Any, ...]]:
    """The values of ``to_dicts``."""
    return [tuple(row.values()) for row in query.to_dicts(*columns)]


def nulls_first(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A key that sorts rows as ascending columns do."""
    return tuple((value is not None, value) for value in row)


def pairs_of(family: Family, path: tuple[str, ...], start: type, outer: bool) -> list[dict[str, Any]]:
    """What the joins along a path give: for each pair the rows by relationship, ``""`` the first."""
    rows: list[dict[str, Any]] = [{"": row} for row in family.rows(start)]
    before = ""
    for name in path:
        made = []
        for row in rows:
            known = row[before]
            found = family.related(name, known) if known is not None else []
            made += [{**row, name: each} for each in found]
            if outer and not found:
                made.append({**row, name: None})
        rows, before = made, name
    return rows


#: What is joined: the model, the relationships, and each one's model.
PATHS: list[tuple[Any, tuple[str, ...], tuple[Any, ...]]] = [
    (Card, ("person",), (Person,)),
    (Person, ("clubs",), (Club,)),
    (Club, ("members",), (Person,)),
    (Person, ("card",), (Card,)),
    (Card, ("person", "clubs"), (Person, Club)),
    (Club, ("members", "card"), (Person, Card)),
]
COLUMNS: dict[Any, list[str]] = {
    Person: ["id", "name", "boss_id"],
    Card: ["id", "number", "person_id"],
    Club: ["id", "name"],
}


@subject("joins")
class Joins(Harness):
    """``join`` over the shelf and the family of ``related``."""

    def test_one_row_for_each_pair(self, shelf: Database) -> None:
        authors = shelf.query(Author).join(Author.books).order_by(Author.id, Book.id)
        assert [a.name for a in authors.all()] == ["a1", "a1", "a1", "a2", "a2"]
        assert authors.count() == 5
        assert [a.id for a in authors.filter(Book.title == "t3").all()] == [2]
        books = (
            shelf.query(Book).join("author").filter(Author.name != "a2").order_by(Author.name.desc(), "-id")
        )
        assert [b.id for b in books.all()] == [6, 5, 2]

    def test_an_outer_join_keeps_what_has_no_match(self, shelf: Database) -> None:
        query = shelf.query(Author).join(Author.books, outer=True).order_by(Author.id.desc(), Book.id)
        assert dicts(query, Author.id, Book.id.label("book")) == [
            (3, None),
            (2, 1),
            (2, 3),
            (1, 2),
            (1, 5),
            (1, 6),
        ]
        assert [a.id for a in query.filter(Book.id.is_(None)).all()] == [3]
        assert [a.id for a in query.filter(Book.title != "t1").all()] == [2, 1, 1, 1]
        assert query.count() == 6
        books = shelf.query(Book).join(Book.author, outer=True)
        first = dicts(books.order_by(Author.name), Book.id, Author.name)
        assert first == [(4, None), (2, "a1"), (5, "a1"), (6, "a1"), (1, "a2"), (3, "a2")]
        last = dicts(books.order_by(Author.name.desc().nulls_first()), Book.id)
        assert [row[0] for row in last] == [4, 1, 3, 2, 5, 6]
        assert dicts(books.order_by(Author.name.desc()), Book.id)[-1] == (4,)

    def test_join_through_a_link_table(self, people: Database) -> None:
        query = people.query(Person).join(Person.clubs).order_by(Club.name, Person.name.desc())
        assert dicts(query, Club.name, Person.id) == [("Chess", 2), ("Chess", 1), ("Go", 4), ("Go", 1)]
        assert [p.id for p in query.filter(Club.name == "Go").all()] == [4, 1]
        outer = people.query(Club).join(Club.members, outer=True).order_by("id")
        assert dicts(outer, Club.id, Person.name) == [
            (1, "Ada"),
            (1, "Di"),
            (2, "Ada"),
            (2, "Bob"),
            (3, None),
        ]

    def test_a_joined_model_can_be_joined_on(self, people: Database) -> None:
        one = people.query(Card).join(Card.person, Person.clubs)
        two = people.query(Card).join(Card.person).join("clubs")
        for query in (one, two):
            assert dicts(query, Card.number, Person.name, Club.name.label("club")) == [(7, "Bob", "Chess")]
        mixed = people.query(Card).join(Card.person, Person.clubs, outer=True).order_by(Card.id)
        assert dicts(mixed, Card.id, Person.name, Club.name.label("club")) == [
            (1, "Bob", "Chess"),
            (2, None, None),
        ]
        narrowed = people.query(Card).join(Card.person, outer=True).join(Person.clubs)
        assert narrowed.count() == 1

    def test_columns_of_both_models_in_one_condition(self, shelf: Database, people: Database) -> None:
        books = shelf.query(Book).join(Book.author)
        assert [b.id for b in books.filter(Author.id > Book.id).all()] == [1]
        found = books.filter(or_(Author.name == "a2", Book.id > 5)).order_by("id").all()
        assert [b.id for b in found] == [1, 3, 6]
        assert [b.id for b in books.filter(Book.id - Author.id == 2, title="t4").all()] == []
        assert [b.id for b in books.filter(Author.books.any(Book.id == 6)).order_by("id").all()] == [2, 5, 6]
        cards = people.query(Card).join(Card.person).filter(Person.clubs.any(Club.id < Card.number))
        assert [c.id for c in cards.all()] == [1]

    def test_null_joins_no_null(self, people: Database) -> None:
        query = people.query(Person).join(Person.boss_cards)
        assert dicts(query, Person.id, Card.number) == [(4, 7)]
        outer = people.query(Person).join(Person.boss_cards, outer=True).order_by("id")
        assert dicts(outer, Person.id, Card.number) == [(1, None), (2, None), (3, None), (4, 7), (5, None)]

    def test_join_by_composite_keys(self, connect: Connect) -> None:
        db = connect(Room, Guest)
        self.stock(db, Room, [{"floor": f, "door": d} for f in (1, 2) for d in "ab"])
        guests = [("x", 1, "a"), ("y", 2, "a"), ("z", 2, None), ("w", None, None)]
        self.stock(db, Guest, [{"name": n, "floor": f, "door": d} for n, f, d in guests])
        query = db.query(Room).join(Room.guests)
        assert dicts(query.order_by(Guest.name.desc()), "floor", "door", Guest.name) == [
            (2, "a", "y"),
            (1, "a", "x"),
        ]
        outer = db.query(Guest).join(Guest.room, outer=True).order_by(Room.floor, Guest.name)
        assert dicts(outer, Guest.name, Room.door) == [("w", None), ("z", None), ("x", "a"), ("y", "a")]

    def test_a_subclass_joins_only_its_rows(self, connect: Connect) -> None:
        db = connect(Garage, Vehicle, Car)
        self.stock(db, Garage, [{"id": n, "name": f"g{n}"} for n in (1, 2, 3)])
        self.stock(db, Vehicle, [{"id": 1, "garage_id": 1}])
        self.stock(db, Car, [{"id": 2, "doors": 3, "garage_id": 2}, {"id": 3, "doors": 5}])
        garages = db.query(Garage).order_by("id")
        assert dicts(garages.join(Garage.vehicles), "name", Vehicle.id) == [("g1", 1), ("g2", 2)]
        assert dicts(garages.join(Garage.cars), "name", Car.doors) == [("g2", 3)]
        outer = dicts(garages.join(Garage.cars, outer=True), "name", Car.id)
        assert outer == [("g1", None), ("g2", 2), ("g3", None)]
        assert dicts(db.query(Car).join(Car.garage), Car.id, Garage.name) == [(2, "g2")]

    def test_every_reading_verb_joins(self, shelf: Database) -> None:
        query = (
            shelf.query(Book)
            .join(Book.author)
            .filter(Author.name == "a1")
            .order_by(Author.name, Book.id.desc())
        )
        assert query.get(1) is None
        assert query.get(5).title == "t5"  # type: ignore[union-attr]
        assert sorted(query.get_many([1, 2, 5])) == [2, 5]
        assert query.first().id == 6  # type: ignore[union-attr]
        assert query.filter(id=2).one().title == "t2"
        assert query.exists()
        assert not query.filter(Author.id == 3).exists()
        assert [b.id for b in query.limit(1).offset(1).all()] == [5]
        assert query.limit(2).count() == 2
        assert list(query.stream("id", Author.name, batch_size=1)) == [
            {"id": n, "name": "a1"} for n in (6, 5, 2)
        ]
        assert [b.id for b in query.stream(batch_size=2)] == [6, 5, 2]
        assert query.to_dicts()[0] == {"id": 6, "title": "t6", "author_id": 1}
        assert [b.author.name for b in query.include(Book.author).all() if b.author] == ["a1"] * 3
        assert "book" in query.explain().lower()
        unordered = shelf.query(Author).join(Author.books).limit(4)
        assert dicts(unordered, Author.id, Book.id.label("book")) == [(1, 2), (1, 5), (1, 6), (2, 1)]

    def test_frames_of_joined_columns(self, shelf: Database) -> None:
        pytest.importorskip("pyarrow", reason="the extra frames is not installed")
        query = shelf.query(Book).join(Book.author, outer=True).order_by("id")
        table = query.to_arrow("id", Author.name, Author.id.label("author"))
        assert table.column_names == ["id", "name", "author"]
        assert table.to_pydict()["author"] == [2, 1, 2, None, 1, 1]
        assert table.schema.field("name").nullable

    def test_pages_of_pairs_never_overlap(self, shelf: Database) -> None:
        query = shelf.query(Author).join(Author.books, outer=True).order_by(Author.name.desc())
        whole = [a.id for a in query.all()]
        page = query.paginate(1, 4)
        assert (page.total, page.pages) == (6, 2)
        assert [a.id for p in (page, page.next()) if p for a in p] == whole == [3, 2, 2, 1, 1, 1]

    @pytest.mark.parametrize(
        "terms", ["title", "-title", "author", "-author", "author nulls last", "-author nulls first"]
    )
    def test_pages_of_pairs_by_cursor(self, shelf: Database, terms: str) -> None:
        column: Any = Book.title if "title" in terms else Author.name
        order = column.desc() if terms.startswith("-") else column.asc()
        if "nulls" in terms:
            order = order.nulls_last() if terms.endswith("last") else order.nulls_first()
        for query in (
            shelf.query(Book).join(Book.author, outer=True).order_by(order),
            shelf.query(Author).join(Author.books, outer=True).order_by(order),
        ):
            whole = [row.id for row in query.all()]
            seen: list[int] = []
            back: list[int] = []
            page = query.cursor_paginate(per_page=2)
            while True:
                seen += [row.id for row in page]
                following = page.next()
                if following is None:
                    break
                page = following
            assert seen == whole
            before = page.prev()
            while before is not None:
                back[:0] = [row.id for row in before]
                before = before.prev()
            assert back == whole[: len(back)]
            assert len(back) == len(whole) - len(page.items)

    def test_a_cursor_of_another_join_is_refused(self, shelf: Database) -> None:
        query = shelf.query(Book).order_by("id")
        cursor = query.join(Book.author).cursor_paginate(per_page=1).next_cursor
        assert cursor is not None
        for other in (query, query.join(Book.author, outer=True)):
            with pytest.raises(InvalidValueError, match="another query"):
                other.cursor_paginate(cursor)
        again = query.join(Book.author).cursor_paginate(cursor, 1)
        assert [b.id for b in again] == [2]

    def test_aggregates_over_pairs(self, shelf: Database) -> None:
        query = shelf.query(Author).join(Author.books, outer=True)
        groups = (
            query.group_by(Author.name)
            .order_by("-n")
            .aggregate(n=func.count(Book.id), top=func.max(Book.title))
        )
        assert groups == [
            {"name": "a1", "n": 3, "top": "t6"},
            {"name": "a2", "n": 2, "top": "t3"},
            {"name": "a3", "n": 0, "top": None},
        ]
        assert query.aggregate(n=func.count(), s=func.sum(Book.id)) == {"n": 6, "s": 17}
        by_author = shelf.query(Book).join(Book.author).group_by(Author.name).order_by(Author.name.desc())
        assert by_author.aggregate(n=func.count()) == [{"name": "a2", "n": 2}, {"name": "a1", "n": 3}]
        capped = query.order_by(Book.id).limit(3).aggregate(s=func.sum(Book.id))
        assert capped == {"s": 3}, "NULL, 1, 2"

    @requires(Capability.TRANSACTIONS)
    def test_join_in_a_transaction(self, shelf: Database) -> None:
        with shelf.transaction() as tx:
            tx.query(Book).insert({"id": 9, "title": "new", "author_id": 3})
            query = tx.query(Author).join(Author.books).order_by(Book.id)
            assert [a.id for a in query.all()] == [2, 1, 2, 1, 1, 3]
            assert [a.id for a in query.stream(batch_size=1)] == [2, 1, 2, 1, 1, 3]

    def test_join_by_more_keys_than_one_statement_takes(self, connect: Connect) -> None:
        db = connect(Author, Book)
        self.stock(db, Author, [{"id": n, "name": f"a{n:04}"} for n in range(1, 1202)])
        self.stock(db, Book, [{"id": n, "title": "t", "author_id": 1202 - n} for n in range(1, 1202)])
        query = db.query(Book).join(Book.author)
        assert [b.id for b in query.order_by(Author.name).all()] == list(range(1201, 0, -1))
        assert [b.id for b in query.order_by("id").stream()] == list(range(1, 1202))

    def test_a_query_with_join_is_immutable(self, shelf: Database) -> None:
        query = shelf.query(Author)
        joined = query.join(Author.books)
        assert (query.count(), joined.count(), joined.count()) == (3, 5, 5)
        with pytest.raises(UnsupportedFilterError, match="join"):
            query.filter(Book.id == 1)

    @pytest.mark.parametrize("seed", range(ROUNDS))
    def test_generated_joins_mean_what_plain_python_means(self, connect: Connect, seed: int) -> None:
        family = Family.of(100 + seed)
        db = connect(Person, Club, Card)
        family.store(self, db)
        pick, conditions = random.Random(seed), Conditions(family, seed)
        for _ in range(CONDITIONS):
            start, path, models = pick.choice(PATHS)
            outer = pick.random() < 0.5
            relationships = [getattr(m, name) for m, name in zip((start, *models), path, strict=False)]
            columns = [
                (name, m, c)
                for name, m in zip(("", *path), (start, *models), strict=True)
                for c in COLUMNS[m]
            ]
            expected = pairs_of(family, path, start, outer)
            query = db.query(start).join(*relationships, outer=outer)
            if pick.random() < 0.3:
                asked, truth = conditions.make(start, 2)
                query = query.filter(asked)
                expected = [row for row in expected if truth({start: row[""]})]
            for _ in range(pick.randint(0, 2)):
                expression, holds = condition(pick, columns)
                query, expected = query.filter(expression), [row for row in expected if holds(row)]
            chosen = [getattr(m, c).label(f"c{n}") for n, (_, m, c) in enumerate(columns)]
            ordered = query.order_by(*[getattr(m, c) for _, m, c in columns])
            wanted = sorted(
                (tuple(cell(row, *column) for column in columns) for row in expected), key=nulls_first
            )
            about = f"{start.__name__} {path} outer={outer}"
            assert dicts(ordered, *chosen) == wanted, about
            assert query.count() == len(wanted), about
            assert dicts(ordered.limit(3).offset(1), *chosen) == wanted[1:4], about

    @pytest.mark.parametrize("bad", ["boks", "name", "", Author.name, Star.name, Book.author, 5, None, {"$gt": 1}, ["books"]],
                             ids=str)  # fmt: skip
    def test_join_refuses_what_is_no_relationship(self, alarmed: Connect, bad: Any) -> None:
        query = alarmed(Author, Book, Star).query(Author)
        with pytest.raises(InvalidValueError):
            query.join(bad)

    def test_join_of_a_model_that_is_there_already_is_refused(self, alarmed: Connect) -> None:
        db = alarmed(Author, Book, Person, Club, Card)
        for join in (
            lambda: db.query(Person).join(Person.boss),
            lambda: db.query(Person).join(Person.staff),
            lambda: db.query(Author).join(Author.books, Author.books),
            lambda: db.query(Author).join(Author.books).join(Book.author),
            lambda: db.query(Person).join(Person.clubs, Club.members),
        ):
            with pytest.raises(UnsupportedOperationError, match=r"(any|has)\("):
                join()
        with pytest.raises(UnsupportedOperationError, match=r"Person\.late"):
            db.query(Person).join(Person.late)

    def test_writes_refuse_a_join(self, alarmed: Connect) -> None:
        query = alarmed(Author, Book).query(Book).join(Book.author).filter(Author.name == "x")
        calls: list[Callable[[], Any]] = [
            lambda: query.update({"title": "x"}),
            lambda: query.update(Book(id=1), {"title": "x"}),
            lambda: query.delete(),
            lambda: query.delete(Book(id=1)),
        ]
        for call in calls:
            with pytest.raises(UnsupportedOperationError, match="join"):
                call()

    def test_misuse_of_joined_columns_is_refused(self, alarmed: Connect) -> None:
        query = alarmed(Author, Book, Star).query(Author).join(Author.books)
        calls: list[Callable[[], Any]] = [
            lambda: query.to_dicts(Author.id, Book.id),
            lambda: query.to_dicts(Author.id, Author.name.label("id")),
            lambda: query.stream("id", Book.id),
            lambda: query.group_by(Author.id, Book.id),
            lambda: query.filter(Book.title == 5),
            lambda: query.filter(Star.name == "x"),
            lambda: query.order_by(Star.name),
            lambda: query.filter(title="x"),
            lambda: query.join(Author.books, outer="yes"),  # type: ignore[arg-type]
        ]
        for call in calls:
            with pytest.raises((InvalidValueError, UnsupportedError)):
                call()


def cell(row: dict[str, Any], name: str, model: Any, column: str) -> Any:
    """The value of a column in a pair."""
    return None if row[name] is None else row[name][COLUMNS[model].index(column)]


def condition(
    pick: random.Random, columns: list[tuple[str, Any, str]]
) -> tuple[Any, Callable[[dict[str, Any]], bool]]:
    """A comparison of a column with a value, NULL, or another column, and what it means."""
    numbers = [c for c in columns if c[2] != "name"]
    one, other = pick.choice(numbers), pick.choice(numbers)
    left, right = getattr(one[1], one[2]), getattr(other[1], other[2])
    way = pick.random()
    if way < 0.2:
        return left.is_(None), lambda row: cell(row, *one) is None
    if way < 0.6:
        value = pick.randint(0, 6)
        return left > value, lambda row: three_valued(">", cell(row, *one), value) is True
    return left != right, lambda row: three_valued("!=", cell(row, *one), cell(row, *other)) is True
