"""``upsert``: one row, stored or met, in one step that nobody can come between; and it and ``get_or_create`` in transactions."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest

from db_plugins import Capability, Database
from db_plugins.errors import (
    ConflictError,
    DbPluginsError,
    DuplicateKeyError,
    EngineError,
    InvalidValueError,
    NotNullError,
    UnsupportedOperationError,
)

from .harness import Connect, Harness, requires, subject
from .models import Animal, Author, Badge, Book, Cat, Colour, Dog, Keyed, Pair, Star, Tally, Token, Visit
from .samples import zone
from .transactions import Beside, Stop

__all__ = ["UNIQUE_VALUES", "Upserts", "clash", "stored"]

#: Two values of each unique column of ``Keyed``, and another way to say the first.
UNIQUE_VALUES: dict[str, tuple[Any, Any, Any]] = {
    "word": ("a", "A", "a"),
    "big": (2**53 + 1, 2**53 + 2, 2**53 + 1),
    "size": (0.1, 1 / 3, 0.1),
    "price": (Decimal("1.5"), Decimal("1.501"), Decimal("1.500")),
    "flag": (True, False, True),
    "colour": (Colour.RED, Colour.AMBER, "RED"),
    "at": (
        dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC),
        dt.datetime(2026, 11, 21, 12, 0, 0, 1000, tzinfo=dt.UTC),
        dt.datetime(2026, 11, 21, 14, tzinfo=zone(2)),
    ),
    "local": (dt.datetime(2026, 3, 29, 2, 30), dt.datetime(2026, 3, 29, 3, 30), dt.datetime(2026, 3, 29, 2, 30)),  # noqa: DTZ001
    "day": (dt.date(1582, 10, 10), dt.date(2024, 2, 29), dt.date(1582, 10, 10)),
    "hour": (dt.time(0), dt.time(0, 0, 0, 1000), dt.time(0)),
    "token": (uuid.UUID(int=1), uuid.UUID(int=2**127), uuid.UUID(int=1)),
}  # fmt: skip


def stored(db: Database) -> list[tuple[Any, ...]]:
    """The tallies, by name."""
    rows = db.query(Tally).order_by("name").all()
    return [(t.name, t.n, t.note, t.version) for t in rows]


def clash(write: Callable[[], Any], *attributes: str) -> DuplicateKeyError:
    """The DuplicateKeyError of a write, which must name these attributes."""
    with pytest.raises(DuplicateKeyError) as caught:
        write()
    assert set(caught.value.attributes) == set(attributes)
    return caught.value


@subject("upserts", Capability.WRITE, Capability.UNIQUE)
class Upserts(Harness):
    """API §4, ``upsert`` and ``get_or_create``."""

    # -- upsert ----------------------------------------------------------------------------------------------------

    def test_an_upsert_stores_a_row_that_is_not_there_with_its_defaults(self, connect: Connect) -> None:
        db = connect(Tally)
        tally = db.query(Tally).upsert({"name": "a", "n": 3}, key="name")
        assert (type(tally), tally.id, tally.name, tally.n) == (Tally, 1, "a", 3)
        assert (tally.note, tally.version) == ("new", 1)
        assert stored(db) == [("a", 3, "new", 1)]

    def test_an_upsert_of_a_row_that_is_there_writes_what_it_names_and_onupdate(
        self, connect: Connect
    ) -> None:
        db = connect(Tally)
        first = db.query(Tally).insert({"name": "a", "n": 3, "note": "mine"})
        tally = db.query(Tally).upsert({"name": "a", "n": 4}, key="name")
        assert (tally.id, tally.n, tally.note, tally.version) == (first.id, 4, "mine", 2)
        assert stored(db) == [("a", 4, "mine", 2)]
        tally = db.query(Tally).upsert({"name": "a", "note": None, "version": 9}, key="name")
        assert (tally.n, tally.note, tally.version) == (4, None, 9)
        assert stored(db) == [("a", 4, None, 9)]

    def test_an_upsert_finds_by_the_primary_key_unless_told(self, connect: Connect) -> None:
        db = connect(Star, Token)
        query = db.query(Star)
        assert query.upsert({"id": 5, "name": "a", "mag": 1}).mag == 1.0
        star = query.upsert({"id": 5, "name": "b"})
        assert (star.id, star.name, star.mag) == (5, "b", 1.0)
        assert query.insert({"name": "c"}).id == 6, "a key given by hand moves the numbering"
        key = uuid.UUID(int=7)
        assert db.query(Token).upsert({"id": key, "note": "a"}).id == key
        assert db.query(Token).upsert({"id": key, "note": "b"}).note == "b"
        assert (query.count(), db.query(Token).count()) == (2, 1)

    @pytest.mark.parametrize("key", ["name", Tally.name, ["name"], ("name",), [Tally.name]])
    def test_a_key_is_a_name_a_column_or_a_list_of_them(self, connect: Connect, key: Any) -> None:
        db = connect(Tally)
        for n in (1, 2):
            assert db.query(Tally).upsert({"name": "a", "n": n}, key=key).n == n
        assert db.query(Tally).count() == 1

    def test_an_upsert_by_a_composite_key_in_any_order_of_its_columns(self, connect: Connect) -> None:
        db = connect(Pair, Badge, Visit)
        pairs = db.query(Pair)
        pairs.upsert({"left": 1, "right": "a", "note": "x"})
        pairs.upsert({"right": "a", "left": 1, "note": "y"}, key=["right", Pair.left])
        pairs.upsert({"left": 1, "right": "b", "note": "z"})
        assert [(p.right, p.note) for p in pairs.order_by("right").all()] == [("a", "y"), ("b", "z")]
        badges = db.query(Badge)
        badges.upsert({"code": "c", "owner": "o", "place": "p", "serial": 1}, key=["place", "owner"])
        badge = badges.upsert({"code": "d", "owner": "o", "place": "p", "serial": 2}, key=("owner", "place"))
        assert (badge.code, badge.serial) == ("c", 2), "the primary key of a row that is there stays"
        assert badges.count() == 1
        visits = db.query(Visit)
        for n in (1, 2):
            assert visits.upsert({"place": "x", "day": 1, "n": n}).n == n
        assert visits.count() == 1

    @pytest.mark.parametrize("column", UNIQUE_VALUES)
    def test_a_unique_column_of_every_kind_may_be_the_key(self, connect: Connect, column: str) -> None:
        one, other, again = UNIQUE_VALUES[column]
        query = connect(Keyed).query(Keyed)
        first = query.upsert({column: one, "note": "1"}, key=column)
        second, is_new = query.get_or_create({column: other}, note="2")
        assert (is_new, second.note) == (True, "2")
        third = query.upsert({column: again, "note": "3"}, key=column)
        fourth, is_new = query.get_or_create({column: again}, note="4")
        assert (third.id, fourth.id, fourth.note, is_new) == (first.id, first.id, "3", False)
        result = query.bulk_insert(
            [{column: other, "note": "5"}, {column: again, "note": "6"}],
            on_conflict="update", key=column, return_keys=True,
        )  # fmt: skip
        assert (result.updated, result.keys) == (2, (second.id, first.id))
        query.bulk_update([{column: again, "note": "7"}], key=column)
        assert [k.note for k in query.order_by("id").all()] == ["7", "5"]
        assert [getattr(k, column) for k in query.order_by("id").all()] == [one, other]

    def test_keys_of_text_are_compared_by_code_point(self, connect: Connect) -> None:
        query = connect(Star).query(Star)
        names = [
            "a",
            "A",
            "á",
            "a ",
            " a",
            "",
            " ",
            "e\u0301",
            "é",
            "ß",
            "ss",
            "\U0001f600",
            "\U0001f601",
            "%",
        ]
        for turn in (1, 2):
            for name in names:
                assert query.upsert({"name": name, "mag": turn}, key="name").name == name
                assert query.get_or_create({"name": name})[0].name == name
        assert [s.name for s in query.order_by("id").all()] == names
        result = query.bulk_insert([{"name": n, "mag": 3} for n in names], on_conflict="update", key="name")
        assert (result.inserted, result.updated) == (0, len(names))
        assert query.filter(mag=3.0).count() == query.count() == len(names)

    def test_an_instance_is_filled_in_and_returned(self, connect: Connect) -> None:
        db = connect(Tally)
        tally = Tally(name="a", n=1)
        assert db.query(Tally).upsert(tally, key="name") is tally
        assert (tally.id, tally.note, tally.version) == (1, "new", 1)
        db.query(Tally).update(tally, {"note": "mine"})
        other = Tally(name="a", n=2)
        assert db.query(Tally).upsert(other, key="name") is other
        assert (other.id, other.n, other.note, other.version) == (1, 2, "mine", 2)
        other.n = 3
        assert db.query(Tally).update(other).n == 3
        assert stored(db) == [("a", 3, "mine", 2)]

    def test_a_pydantic_model_gives_the_fields_that_are_set(self, connect: Connect) -> None:
        pydantic = pytest.importorskip("pydantic")
        model = pydantic.create_model("TallyIn", name=(str, ...), n=(int, 7), note=(str | None, None))
        db = connect(Tally)
        db.query(Tally).insert({"name": "a", "n": 3, "note": "mine"})
        assert db.query(Tally).upsert(model(name="a", n=4), key="name").note == "mine"
        assert db.query(Tally).upsert(model(name="b"), key="name").n == 0
        assert db.query(Tally).upsert(model(name="a", note=None), key="name").note is None
        assert stored(db) == [("a", 4, None, 2), ("b", 0, "new", 1)]

    def test_a_row_that_is_nothing_but_its_key_changes_nothing(self, connect: Connect) -> None:
        db = connect(Tally)
        db.query(Tally).insert({"name": "a", "n": 3})
        tally = db.query(Tally).upsert({"name": "a"}, key="name")
        assert (tally.id, tally.n, tally.note) == (1, 3, "new")
        assert db.query(Tally).upsert({"name": "b"}, key="name").n == 0
        assert [row[:3] for row in stored(db)] == [("a", 3, "new"), ("b", 0, "new")]

    def test_the_row_that_comes_back_is_the_stored_one(self, connect: Connect) -> None:
        query = connect(Keyed).query(Keyed)
        moment = dt.datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=zone(2))
        for note in ("1", "2"):
            made = query.upsert(
                {"word": "w", "at": moment, "colour": "RED", "size": math.nan, "note": note}, key="word"
            )
            read = query.get(made.id)
            assert read is not None
            for name in UNIQUE_VALUES:
                assert getattr(made, name) == getattr(read, name), name
            assert (made.colour, made.size, made.note) == (Colour.RED, None, note)
        other, is_new = query.get_or_create({"word": "v"}, at=moment.replace(second=1), colour="GREEN")
        read = query.get(other.id)
        assert read is not None
        assert (is_new, other.at, other.colour) == (True, read.at, Colour.GREEN)

    def test_a_clash_on_another_unique_key_is_a_duplicate_when_it_stores(self, connect: Connect) -> None:
        db = connect(Badge, Star)
        badges, stars = db.query(Badge), db.query(Star)
        badges.insert({"code": "a", "serial": 7, "owner": "o", "place": "p"})
        clash(lambda: badges.upsert({"code": "b", "serial": 7}), "serial")
        clash(lambda: badges.upsert({"code": "b", "owner": "o", "place": "p"}), "owner", "place")
        clash(lambda: badges.upsert({"code": "a", "serial": 8}, key="serial"), "code")
        stars.insert({"id": 1, "name": "a"})
        clash(lambda: stars.upsert({"id": 2, "name": "a"}), "name")
        clash(lambda: stars.upsert({"id": 1, "name": "b"}, key="name"), "id")
        assert [(b.code, b.serial) for b in badges.all()] == [("a", 7)]
        assert [(s.id, s.name) for s in stars.all()] == [(1, "a")]

    def test_a_clash_on_another_unique_key_is_a_duplicate_when_it_changes(self, connect: Connect) -> None:
        db = connect(Badge, Star)
        badges, stars = db.query(Badge), db.query(Star)
        badges.bulk_insert([{"code": "a", "serial": 7}, {"code": "b", "serial": 8, "owner": "o"}])
        clash(lambda: badges.upsert({"code": "b", "serial": 7, "owner": "x"}), "serial")
        stars.bulk_insert([{"id": 1, "name": "a"}, {"id": 2, "name": "b", "mag": 1}])
        clash(lambda: stars.upsert({"id": 2, "name": "a", "mag": 5}), "name")
        assert [(b.code, b.serial, b.owner) for b in badges.order_by("code").all()] == [
            ("a", 7, None),
            ("b", 8, "o"),
        ]
        assert [(s.name, s.mag) for s in stars.order_by("id").all()] == [("a", None), ("b", 1.0)]

    def test_what_is_not_written_cannot_clash(self, connect: Connect) -> None:
        db = connect(Star)
        query = db.query(Star)
        query.bulk_insert([{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
        star = query.upsert({"id": 2, "name": "a", "mag": 3}, key="name")
        assert (star.id, star.mag) == (1, 3.0), "the row with this name, whose primary key stays"
        star, is_new = query.get_or_create({"name": "a"}, id=2)
        assert (star.id, is_new) == (1, False)
        assert query.count() == 2

    def test_an_upsert_on_a_subclass_leaves_rows_of_another_class_alone(self, connect: Connect) -> None:
        db = connect(Animal, Dog, Cat)
        cat = db.query(Cat).insert({"name": "Tom"})
        dog = db.query(Dog).upsert({"id": cat.id + 1, "name": "Rex", "barks": True})
        assert (type(dog), db.query(Dog).upsert({"id": dog.id, "name": "Max"}).barks) == (Dog, True)
        dogs = db.query(Dog)
        clash(lambda: dogs.upsert({"id": cat.id, "name": "Rex"}), "id")
        clash(lambda: dogs.get_or_create({"id": cat.id}), "id")
        rows = [{"id": dog.id, "name": "Ben"}, {"id": cat.id, "name": "Rex"}]
        clash(lambda: dogs.bulk_insert(rows, on_conflict="update"), "id")
        assert dogs.bulk_insert(rows, on_conflict="ignore").ignored == 2
        assert dogs.bulk_update(rows) == 1
        assert [(a.id, a.name) for a in db.query(Animal).order_by("id").all()] == [
            (cat.id, "Tom"),
            (dog.id, "Ben"),
        ]

    @pytest.mark.parametrize("key", ["mag", ["name", "mag"], Star.band, ["id", "name"], []])
    def test_a_key_that_is_not_unique_is_refused_with_those_there_are(
        self, alarmed: Connect, key: Any
    ) -> None:
        query = alarmed(Star).query(Star)
        calls: list[Callable[[], Any]] = [
            lambda: query.upsert({"id": 1, "name": "a", "mag": 1, "band": "V"}, key=key),
            lambda: query.bulk_insert([{"id": 1, "name": "a"}], on_conflict="ignore", key=key),
            lambda: query.bulk_insert([{"id": 1, "name": "a"}], on_conflict="update", key=key),
            lambda: query.bulk_update([{"id": 1, "name": "a", "mag": 1}], key=key),
        ]
        for call in calls:
            with pytest.raises(InvalidValueError, match=r"\(id\), \(name\)"):
                call()

    def test_an_upsert_without_its_key_is_refused_before_it_is_sent(self, alarmed: Connect) -> None:
        db = alarmed(Star, Badge, Pair, Keyed)
        rows: list[tuple[type, dict[str, Any], Any]] = [
            (Star, {"name": "a"}, None),
            (Star, {"id": None, "name": "a"}, None),
            (Badge, {"code": "a", "serial": None}, "serial"),
            (Badge, {"code": "a"}, "serial"),
            (Badge, {"code": "a", "owner": "o"}, ["owner", "place"]),
            (Badge, {"code": "a", "owner": "o", "place": None}, ["owner", "place"]),
            (Keyed, {"size": math.nan}, "size"),
        ]
        for model, row, key in rows:
            with pytest.raises(InvalidValueError, match=model.__name__) as caught:
                db.query(model).upsert(row, key=key)
            assert caught.value.hint is not None
        with pytest.raises((InvalidValueError, NotNullError)):
            db.query(Pair).upsert({"left": 1})

    def test_an_upsert_of_what_is_no_row_is_refused_before_it_is_sent(self, alarmed: Connect) -> None:
        db = alarmed(Star, Author, Book)
        query = db.query(Star)
        for row in (None, 1, "Vega", [("name", "Vega")], object(), Author(id=1, name="x")):
            with pytest.raises(InvalidValueError):
                query.upsert(row)  # type: ignore[arg-type]
        for row in (
            {"id": 1, "naem": "a"},
            {"id": 1, "name": "a", "mag": "bright"},
            {"id": "1", "name": "a"},
        ):
            with pytest.raises(InvalidValueError, match=r"Star"):
                query.upsert(row)
        for row in ({"id": 1, "name": None}, {"id": 1}):
            with pytest.raises(NotNullError, match=r"Star\.name"):
                query.upsert(row)
        for key in ("naem", 5, object(), None):
            with pytest.raises(DbPluginsError):
                query.upsert({"name": "a"}, key=key)
        with pytest.raises(UnsupportedOperationError, match="books"):
            db.query(Author).upsert(Author(id=1, name="x", books=[Book(title="y")]))

    @pytest.mark.parametrize("verb", ["upsert", "get_or_create", "bulk_insert", "bulk_update"])
    def test_a_query_that_is_narrowed_takes_no_rows(self, alarmed: Connect, verb: str) -> None:
        query = alarmed(Star).query(Star)
        row: Any = {"id": 1, "name": "a"}
        given = [row] if verb.startswith("bulk") else row
        options = {"on_conflict": "update"} if verb == "bulk_insert" else {}
        for one in (query.filter(band="V"), query.limit(1), query.offset(1)):
            with pytest.raises(UnsupportedOperationError, match=verb):
                getattr(one, verb)(given, **options)

    # -- in transactions -------------------------------------------------------------------------------------------

    @requires(Capability.TRANSACTIONS)
    def test_both_join_a_transaction(self, connect: Connect) -> None:
        db = connect(Tally)
        db.query(Tally).insert({"name": "a", "n": 1})

        def work(tx: Database) -> None:
            query = tx.query(Tally)
            assert query.upsert({"name": "a", "n": 2}, key="name").n == 2
            assert query.upsert({"name": "b", "n": 5}, key="name").n == 5
            assert query.upsert({"name": "b", "n": 6}, key="name").n == 6
            assert query.get_or_create({"name": "b"})[1] is False
            tally, is_new = query.get_or_create({"name": "c"}, n=7)
            assert (is_new, query.get(tally.id).n) == (True, 7)  # type: ignore[union-attr]

        with suppress(Stop), db.transaction() as tx:
            work(tx)
            raise Stop
        assert stored(db) == [("a", 1, "new", 1)]
        with db.transaction() as tx:
            work(tx)
        assert [row[:2] for row in stored(db)] == [("a", 2), ("b", 6), ("c", 7)]

    @requires(Capability.TRANSACTIONS)
    def test_a_clash_in_a_transaction_ends_it(self, connect: Connect) -> None:
        db = connect(Badge)
        db.query(Badge).insert({"code": "a", "serial": 7})
        for verb in (
            lambda q: q.upsert({"code": "b", "serial": 7}),
            lambda q: q.get_or_create({"code": "b"}, serial=7),
            lambda q: q.get_or_create({"code": "a", "serial": 9}),
        ):

            def work(verb: Callable[[Any], Any] = verb) -> None:
                with db.transaction() as tx:
                    tx.query(Badge).insert({"code": "c"})
                    with pytest.raises(DuplicateKeyError):
                        verb(tx.query(Badge))
                    with pytest.raises(UnsupportedOperationError):
                        tx.query(Badge).count()

            with pytest.raises(EngineError):
                work()
        assert db.query(Badge).count() == 1

    @requires(Capability.TRANSACTIONS)
    @pytest.mark.parametrize("verb", ["upsert", "get_or_create", "ignore", "update"])
    def test_a_row_that_another_stored_since_the_snapshot_is_met_or_is_a_conflict(
        self, connect: Connect, verb: str
    ) -> None:
        db = connect(Tally)
        calls: dict[str, Callable[[Any, int], Any]] = {
            "upsert": lambda q, n: q.upsert({"name": "new", "n": n}, key="name"),
            "get_or_create": lambda q, n: q.get_or_create({"name": "new"}, n=n),
            "ignore": lambda q, n: q.bulk_insert([{"name": "new", "n": n}], on_conflict="ignore", key="name"),
            "update": lambda q, n: q.bulk_insert([{"name": "new", "n": n}], on_conflict="update", key="name"),
        }
        beside: list[Beside] = []

        def work() -> None:
            with db.transaction() as tx:
                assert tx.query(Tally).count() == 0
                beside.append(Beside(lambda: calls[verb](db.query(Tally), 1)))
                beside[0].is_done()
                calls[verb](tx.query(Tally), 2)
                assert tx.query(Tally).filter(name="new").count() == 1, "what the verb met can be read"

        with suppress(ConflictError):
            work()
        beside[0].result()
        (row,) = stored(db)
        assert (row[0], row[1] in (1, 2)) == ("new", True)

    @requires(Capability.TRANSACTIONS)
    def test_run_transaction_makes_a_conflict_right(self, connect: Connect) -> None:
        db = connect(Tally)
        beside: list[Beside] = []

        def work(tx: Database) -> tuple[Tally, bool]:
            tx.query(Tally).count()  # the snapshot is taken
            if not beside:
                beside.append(Beside(lambda: db.query(Tally).get_or_create({"name": "new"}, n=1)))
                beside[0].is_done()
            found = tx.query(Tally).get_or_create({"name": "new"}, n=2)
            tx.query(Tally).upsert({"name": "new", "note": "both"}, key="name")
            return found

        mine, is_mine = db.run_transaction(work)
        theirs, is_theirs = beside[0].result()
        assert (mine.id, is_mine) == (theirs.id, not is_theirs)
        assert [row[:3] for row in stored(db)] == [("new", 2 if is_mine else 1, "both")]
