"""Inserts with a conflict and rows updated by key, on a real server and in mongomock: counts, races, what is undone."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pymongo
import pytest
from mongo_models import Base, Place, Star, Tag, Words
from pymongo import UpdateOne
from sqlalchemy.orm import Mapped, mapped_column

from db_plugins import errors
from db_plugins.engine import BulkResult, Conflict
from db_plugins.models import describe
from db_plugins.nodes import Arithmetic, Operand, Value
from db_plugins.runner import Runner
from db_plugins.spec import Order
from db_plugins_mongo.merges import change_of, merge_of, placer


class Hits(Base):
    """A counter that may not be NULL, by a name; its key is numbered."""

    __tablename__ = "hits"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    hits: Mapped[int]
    step: Mapped[int | None]


def conflict(
    words: Words,
    action: Any,
    key: str,
    columns: str = "",
    update: dict[str, Operand] | None = None,
) -> Conflict:
    def fields(names: str) -> tuple[Any, ...]:
        return tuple(words.field(name) for name in names.split())

    calculated = {words.field(name): operand for name, operand in (update or {}).items()}
    return Conflict(action, fields(key), fields(columns), calculated)


def put(
    words: Words,
    how: Conflict,
    *rows: dict[str, Any],
    runner: Runner | None = None,
    returning: bool = False,
) -> BulkResult:
    """Insert with a conflict, by way of the seam."""
    given = tuple(words.field(name) for name in rows[0])
    back = words.info.fields if returning else ()
    return (runner or words.runner).insert(
        words.info, given, [tuple(row.values()) for row in rows], how, back
    )


def each(words: Words, key: str, columns: str, *rows: tuple[Any, ...]) -> int | None:
    fields = [tuple(words.field(name) for name in names.split()) for names in (key, columns)]
    with words.runner.errors():
        return words.connection.update_each(words.info, fields[0], fields[1], rows)


def counts(result: BulkResult) -> tuple[int, int, int]:
    return result.inserted, result.updated, result.ignored


def table(words: Words, *columns: str) -> list[tuple[Any, ...]]:
    order = tuple(Order(f) for f in words.info.key)
    return words.rows(columns=columns, order=order)


def hits_of(words: Words) -> Words:
    words.connection.create([words.info], [])  # type: ignore[attr-defined]
    return words


def hit(words: Words) -> dict[str, Operand]:
    return {"hits": Arithmetic("+", words.column("hits"), Value(1))}


# -- as requests ---------------------------------------------------------------------------------------------


def test_what_one_row_becomes() -> None:
    info = describe(Star)
    field = info.by_name
    row = {"_id": 1, "star_name": "a", "label": "x"}
    given = [field[name] for name in ("id", "name", "label", "mag")]

    def request(how: Conflict) -> UpdateOne:
        return merge_of(info, given, how).requests([row])[0]

    key = (field["id"],)
    assert request(Conflict("ignore", key)) == UpdateOne({"_id": 1}, {"$setOnInsert": row}, upsert=True)
    assert request(Conflict("update", key, (field["label"], field["mag"]))) == UpdateOne(
        {"_id": 1},
        {
            "$set": {"label": "x"},
            "$unset": {"mag": ""},
            "$setOnInsert": {"star_name": "a"},
        },
        upsert=True,
    )
    calculated = Conflict("update", key, (field["label"],), {field["mag"]: Value(1.0, field["mag"])})
    assert request(calculated) == UpdateOne({"_id": 1}, {"$setOnInsert": row}, upsert=True)
    assert merge_of(info, given, calculated).second(row) == UpdateOne(
        {"_id": 1}, {"$set": {"label": "x", "mag": 1.0}}
    )


def test_a_value_never_stands_where_an_operator_would() -> None:
    row = {"meta": {"$ne": 1}, "label": "$label"}
    info = describe(Star)
    assert placer(info, (info.by_name["meta"],))(row) == {"meta": {"$eq": {"$ne": 1}}}
    changed: Any = change_of(row, ["label", "meta", "gone"], [{"$set": {"n": {"$add": ["$n", 1]}}}])
    assert changed == [
        {
            "$set": {
                "n": {"$add": ["$n", 1]},
                "label": {"$literal": "$label"},
                "meta": {"$literal": {"$ne": 1}},
                "gone": "$$REMOVE",
            }
        }
    ]


# -- counts and what is stored -------------------------------------------------------------------------------


@pytest.mark.parametrize("many", [False, True])
def test_rows_that_are_there_stay_as_they_are(either: Any, many: bool) -> None:
    words = either(Place)
    words.add({"country": "CH", "code": 1, "title": "old"})
    how = conflict(words, "ignore", "country code")
    rows = [{"country": "CH", "code": n, "title": "new"} for n in (1, 2, 3)]
    if many:
        assert counts(put(words, how, *rows)) == (2, 0, 1)
    else:
        assert [counts(put(words, how, row)) for row in rows] == [(0, 0, 1), (1, 0, 0), (1, 0, 0)]
    assert table(words, "code", "title") == [(1, "old"), (2, "new"), (3, "new")]


@pytest.mark.parametrize("many", [False, True])
def test_an_update_sets_its_columns_alone_and_none_is_null(either: Any, many: bool) -> None:
    words = either(Star)
    words.add({"id": 1, "name": "a", "label": "x", "mag": 1.0, "size": 1.0})
    how = conflict(words, "update", "id", "label mag")
    rows = [{"id": n, "name": f"n{n}", "label": None, "mag": 2.0} for n in (1, 2)]
    if many:
        assert counts(put(words, how, *rows)) == (1, 1, 0)
    else:
        assert [counts(put(words, how, row)) for row in rows] == [(0, 1, 0), (1, 0, 0)]
    assert table(words, "id", "name", "label", "mag", "size") == [
        (1, "a", None, 2.0, 1.0),
        (2, "n2", None, 2.0, None),
    ]
    assert all("label" not in document for document in words.connection.native["stars"].find())


@pytest.mark.parametrize("many", [False, True])
def test_by_another_key_the_rows_that_are_new_are_numbered(either: Any, many: bool) -> None:
    words = either(Star)
    words.add({"name": "a", "mag": 1.0})
    how = conflict(words, "update", "name", "mag")
    rows = [{"name": name, "mag": 2.0} for name in ("a", "b", "c")]
    if many:
        assert counts(put(words, how, *rows)) == (2, 1, 0)
    else:
        assert [counts(put(words, how, row)) for row in rows] == [(0, 1, 0), (1, 0, 0), (1, 0, 0)]
    stored = table(words, "id", "name", "mag")
    assert [row[1:] for row in stored] == [("a", 2.0), ("b", 2.0), ("c", 2.0)]
    assert stored[0][0] == 1
    words.add({"name": "d"})
    assert len({row[0] for row in table(words, "id")}) == 4


@pytest.mark.parametrize("many", [False, True])
def test_what_is_calculated_is_so_from_the_stored_row_and_a_new_one_is_stored_whole(
    either: Any, many: bool
) -> None:
    words = hits_of(either(Hits))
    words.add({"name": "a", "hits": 5, "step": 1})
    how = conflict(words, "update", "name", "step", hit(words))
    rows = [{"name": name, "hits": 1, "step": 9} for name in ("a", "b")]
    if many:
        assert counts(put(words, how, *rows)) == (1, 1, 0)
    else:
        assert [counts(put(words, how, row)) for row in rows] == [(0, 1, 0), (1, 0, 0)]
    assert table(words, "name", "hits", "step") == [("a", 6, 9), ("b", 1, 9)]


def test_what_is_calculated_sees_no_new_value(either: Any) -> None:
    words = hits_of(either(Hits))
    words.add({"name": "a", "hits": 5, "step": 2})
    add_step = {"hits": Arithmetic("+", words.column("hits"), words.column("step"))}
    put(words, conflict(words, "update", "name", "step", add_step), {"name": "a", "hits": 1, "step": 100})
    assert table(words, "hits", "step") == [(7, 100)]


def test_a_value_that_only_an_update_sets_is_in_no_new_row(either: Any) -> None:
    words = either(Star)
    words.add({"name": "a"})
    how = conflict(words, "update", "name", "", {"label": words.value("label", "updated")})
    assert counts(put(words, how, {"name": "a"}, {"name": "b"})) == (1, 1, 0)
    assert table(words, "name", "label") == [("a", "updated"), ("b", None)]


def test_columns_of_the_key_alone_change_nothing(either: Any) -> None:
    words = either(Place)
    how = conflict(words, "update", "country code", "code")
    rows = [{"country": "CH", "code": n} for n in (1, 2)]
    assert counts(put(words, how, *rows)) == (2, 0, 0)
    assert counts(put(words, how, *rows)) == (0, 2, 0)
    assert counts(put(words, how, rows[0])) == (0, 1, 0)


def test_one_row_comes_back_as_it_is_stored(either: Any) -> None:
    words = either(Star)
    update = conflict(words, "update", "name", "mag")
    ignore = conflict(words, "ignore", "name")
    found = []
    for how, row in (
        (update, {"name": "a", "mag": 1.0, "label": "x"}),
        (update, {"name": "a", "mag": 2.0, "label": "y"}),
        (ignore, {"name": "a", "mag": 3.0, "label": "z"}),
    ):
        stored = words.as_mapping(put(words, how, row, returning=True).rows[0])
        found.append((stored["id"], stored["name"], stored["mag"], stored["label"]))
    assert found == [(1, "a", 1.0, "x"), (1, "a", 2.0, "x"), (1, "a", 2.0, "x")]


def test_keys_of_every_kind_find_their_row(either: Any) -> None:
    words = either(Tag)
    key = uuid.uuid4()
    how = conflict(words, "update", "id", "left")
    assert counts(put(words, how, {"id": key, "left": "a"}, {"id": uuid.uuid4(), "left": "b"})) == (2, 0, 0)
    assert counts(put(words, how, {"id": key, "left": "c"}, {"id": uuid.uuid4(), "left": "d"})) == (1, 1, 0)
    assert counts(put(words, how, {"id": key, "left": "e"})) == (0, 1, 0)
    assert sorted(row[0] for row in table(words, "left")) == ["b", "d", "e"]


def test_a_numbered_key_by_hand_is_numbered_past(either: Any) -> None:
    words = either(Star)
    put(words, conflict(words, "ignore", "id"), {"id": 7, "name": "a"}, {"id": 9, "name": "b"})
    put(words, conflict(words, "update", "id", "mag"), {"id": 12, "name": "c", "mag": 1.0})
    assert words.add({"name": "d"})[0][0] == 13


# -- clashes with another key --------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "columns"), [("ignore", ""), ("update", "mag"), ("update", "name")])
def test_a_clash_with_another_key_is_an_error_and_nothing_of_the_batch_is_stored(
    either: Any, action: str, columns: str
) -> None:
    words = either(Star)
    words.add({"id": 1, "name": "taken", "mag": 1.0}, {"id": 2, "name": "b", "mag": 1.0})
    before = table(words, "id", "name", "mag")
    how = conflict(words, action, "id", columns)
    rows = [
        {"id": 2, "name": "bb", "mag": 5.0},
        {"id": 3, "name": "new", "mag": 5.0},
        {"id": 4, "name": "taken", "mag": 5.0},
    ]
    for batch in (rows, rows[2:]):
        with pytest.raises(errors.DuplicateKeyError) as caught:
            put(words, how, *batch)
        assert caught.value.attributes == ("name",)
        assert caught.value.stored == 0
        assert table(words, "id", "name", "mag") == before
    assert not put(words, conflict(words, "ignore", "id"), rows[0]).inserted


def test_a_stored_row_that_would_take_anothers_key_is_an_error(either: Any) -> None:
    words = either(Star)
    words.add({"id": 1, "name": "taken"}, {"id": 2, "name": "b"})
    how = conflict(words, "update", "id", "name")
    for batch in ([{"id": 2, "name": "taken"}], [{"id": 3, "name": "c"}, {"id": 2, "name": "taken"}]):
        with pytest.raises(errors.DuplicateKeyError) as caught:
            put(words, how, *batch)
        assert caught.value.attributes == ("name",)
    assert table(words, "id", "name") == [(1, "taken"), (2, "b")]


def test_a_row_that_clashes_with_its_key_and_another_is_the_stored_one(either: Any) -> None:
    words = either(Star)  # the wire server then names the index of the name
    words.add({"id": 1, "name": "a"})
    for rows in ([{"id": 1, "name": "a"}], [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]):
        assert put(words, conflict(words, "ignore", "id"), *rows).ignored == 1


def test_a_calculated_value_that_does_not_fit_undoes_the_batch(either: Any) -> None:
    words = hits_of(either(Hits))
    words.add({"name": "a", "hits": 5, "step": None}, {"name": "b", "hits": 2**31 - 1, "step": 1})
    before = table(words, "name", "hits", "step")
    null = {"hits": Arithmetic("+", words.column("hits"), words.column("step"))}
    new = {"name": "new", "hits": 1}
    for update, row, kind in (
        (null, {"name": "a", "hits": 1}, errors.NotNullError),
        (hit(words), {"name": "b", "hits": 1}, errors.EngineError),
    ):
        how = conflict(words, "update", "name", "", update)
        for batch in ([row], [new, row]):
            with pytest.raises(kind, match=r"Hits\.hits") as caught:
                put(words, how, *batch)
            assert caught.value.stored == 0
            assert table(words, "name", "hits", "step") == before


# -- races ---------------------------------------------------------------------------------------------------


def at_once(works: Iterable[Callable[[], Any]]) -> list[Any]:
    works = list(works)
    barrier = threading.Barrier(len(works))

    def start(work: Callable[[], Any]) -> Any:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result() for future in [pool.submit(start, work) for work in works]]


@pytest.mark.parametrize("key", ["id", "name"])
@pytest.mark.parametrize("action", ["ignore", "update"])
@pytest.mark.parametrize("size", [1, 5])
def test_of_eight_threads_exactly_one_inserts_each_row(either: Any, key: str, action: str, size: int) -> None:
    words = either(Star)
    how = conflict(words, action, key, "mag" if action == "update" else "")

    def work(thread: int) -> list[BulkResult]:
        done = []
        for start in range(0, 10, size):
            rows = [{"id": n + 1, "name": f"n{n}", "mag": float(thread)} for n in range(start, start + size)]
            if key == "name":
                rows = [{"name": row["name"], "mag": row["mag"]} for row in rows]
            done.append(put(words, how, *rows))
        return done

    found = at_once(lambda n=n: work(n) for n in range(8))
    results = [result for done in found for result in done]
    assert sum(result.inserted for result in results) == 10
    assert sum(result.updated + result.ignored for result in results) == 70
    assert sorted(row[0] for row in table(words, "name")) == sorted(f"n{n}" for n in range(10))


@pytest.mark.parametrize("size", [1, 3])
def test_no_hit_of_eight_threads_is_lost(either: Any, size: int) -> None:
    words = hits_of(either(Hits))
    how = conflict(words, "update", "name", "", hit(words))
    rows = [{"name": f"n{n}", "hits": 1} for n in range(size)]
    at_once(lambda: [put(words, how, *rows) for _ in range(5)] for _ in range(8))
    assert table(words, "name", "hits") == [(f"n{n}", 40) for n in range(size)]


def test_a_row_that_comes_and_goes_is_written_all_the_same(mongodb: Any) -> None:
    words = mongodb(Star)
    how = conflict(words, "update", "name", "mag")
    stop = threading.Event()

    def delete() -> None:
        while not stop.is_set():
            words.runner.delete(words.spec())

    def write() -> list[BulkResult]:
        try:
            return [put(words, how, {"name": "a", "mag": 1.0}, returning=True) for _ in range(40)]
        finally:
            stop.set()

    results = at_once([write, delete])[0]
    assert all(result.inserted + result.updated == 1 and len(result.rows) == 1 for result in results)


NUMBERS = """
import sys
from mongo_models import Star, Words, engine_for
from db_plugins.engine import Conflict
url, database, process = sys.argv[1:]
engine = engine_for(url=url, database=database)
words = Words(Star, engine, engine.connect(engine.settings))
name = words.field("name")
for n in range(5):
    words.add({"name": f"a{n} {process}"})
    words.add({"name": f"b{n} {process}"}, {"name": f"c{n} {process}"})
    for shared in ([f"s{n}"], [f"t{n}", f"u{n}"]):
        words.runner.insert(words.info, (name,), [(s,) for s in shared], Conflict("ignore", (name,)), ())
words.connection.close()
"""


def test_eight_processes_number_their_rows_apart(mongodb: Any) -> None:
    words = mongodb(Star)
    settings = words.engine.settings
    arguments = [settings.url.reveal(), settings.database]
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", NUMBERS, *arguments, str(n)],
            cwd=Path(__file__).parent,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(8)
    ]
    assert [(program.communicate(timeout=120)[1], program.returncode) for program in programs] == [
        ("", 0)
    ] * 8
    stored = table(words, "id", "name")  # a number given twice would have been refused
    assert len(stored) == 8 * 15 + 15
    assert min(row[0] for row in stored) > 0


def test_eight_threads_number_apart_also_where_rows_are_there(either: Any) -> None:
    words = either(Star)
    how = conflict(words, "ignore", "name")

    def work(thread: int) -> None:
        for n in range(5):
            put(words, how, {"name": f"s{n}"}, {"name": f"{thread} {n}"})
            words.add({"name": f"x{thread} {n}"})

    at_once(lambda n=n: work(n) for n in range(8))
    assert words.runner.count(words.spec()) == 5 + 40 + 40


# -- inside a transaction ------------------------------------------------------------------------------------


def test_a_transaction_merges_and_commits_or_undoes_all(mongodb: Any) -> None:
    words = mongodb(Star)
    words.add({"name": "a", "mag": 1.0})
    how = conflict(words, "update", "name", "mag")

    def merge(tx: Runner) -> None:
        assert counts(put(words, how, {"name": "a", "mag": 2.0}, {"name": "b", "mag": 2.0}, runner=tx)) == (
            1,
            1,
            0,
        )
        one = put(words, how, {"name": "c", "mag": 2.0}, runner=tx, returning=True)
        assert (counts(one), one.rows[0][1]) == ((1, 0, 0), "c")
        again = put(words, conflict(words, "ignore", "name"), {"name": "c", "mag": 9.0}, runner=tx)
        assert counts(again) == (0, 0, 1)

    with pytest.raises(KeyError), words.runner.transaction("snapshot") as tx:
        merge(tx)
        raise KeyError
    assert table(words, "name", "mag") == [("a", 1.0)]
    with words.runner.transaction("snapshot") as tx:
        merge(tx)
    assert table(words, "name", "mag") == [("a", 2.0), ("b", 2.0), ("c", 2.0)]


@pytest.mark.parametrize("size", [1, 2])
def test_in_a_transaction_a_lost_race_is_a_conflict(mongodb: Any, size: int) -> None:
    words = mongodb(Star)
    rows = [{"name": f"n{n}", "mag": 2.0} for n in range(size)]
    how = conflict(words, "update", "name", "mag")
    with pytest.raises(errors.ConflictError) as caught, words.runner.transaction("snapshot") as tx:
        assert tx.count(words.spec()) == 0
        put(words, how, *rows)
        put(words, how, *rows, runner=tx)
    assert caught.value.retryable
    assert words.runner.count(words.spec()) == size


@pytest.mark.parametrize("action", ["ignore", "update"])
@pytest.mark.parametrize("size", [1, 2])
def test_in_a_transaction_a_clash_with_another_key_is_named(mongodb: Any, action: str, size: int) -> None:
    words = mongodb(Star)
    words.add({"id": 1, "name": "taken", "mag": 1.0})
    how = conflict(words, action, "id", "mag" if action == "update" else "")
    rows = [{"id": 5, "name": "free", "mag": 2.0}, {"id": 6, "name": "taken", "mag": 2.0}][-size:]
    with pytest.raises(errors.DuplicateKeyError) as caught, words.runner.transaction("snapshot") as tx:
        put(words, how, *rows, runner=tx)
    assert (caught.value.attributes, caught.value.stored) == (("name",), 0)
    assert table(words, "name") == [("taken",)]


def test_in_a_transaction_keys_by_hand_are_numbered_past_at_once(mongodb: Any) -> None:
    words = mongodb(Star)
    words.add({"name": "first"})
    with words.runner.transaction("snapshot") as tx:
        words.add({"id": 10, "name": "a"}, runner=tx)
        put(words, conflict(words, "ignore", "id"), {"id": 20, "name": "b"}, runner=tx)
        assert words.add({"name": "outside"})[0][0] == 21


# -- rows by their key ---------------------------------------------------------------------------------------


def test_rows_are_updated_by_key_and_those_that_are_there_counted(either: Any) -> None:
    words = either(Star)
    words.add(*({"name": f"n{n}", "mag": 0.0, "label": "x"} for n in (1, 2, 3)))
    assert each(words, "id", "mag label", (1, 1.0, None), (3, None, "y"), (9, 1.0, "z")) == 2
    assert each(words, "name", "mag", ("n2", 7.0)) == 1
    assert each(words, "name", "mag", ("none", 7.0)) == 0
    assert each(words, "name", "mag") == 0
    assert table(words, "mag", "label") == [(1.0, None), (7.0, "x"), (None, "y")]


def test_an_update_of_a_composite_key_counts_also_what_stays_as_it_was(either: Any) -> None:
    words = either(Place)
    words.add({"country": "CH", "code": 1, "title": "a"}, {"country": "CH", "code": 2, "title": "b"})
    assert each(words, "country code", "title", ("CH", 1, "a"), ("CH", 2, "B"), ("DE", 2, "x")) == 2
    assert table(words, "title") == [("a",), ("B",)]


def test_rows_of_which_one_clashes_all_stay_as_they_were(either: Any) -> None:
    words = either(Star)
    words.add({"name": "a"}, {"name": "b"}, {"name": "c"})
    with pytest.raises(errors.DuplicateKeyError) as caught:
        each(words, "id", "name", (1, "A"), (2, "c"), (3, "C"))
    assert (caught.value.attributes, caught.value.stored) == (("name",), 0)
    assert table(words, "name") == [("a",), ("b",), ("c",)]


def test_batches_that_meet_are_nobodys_error(mongodb: Any) -> None:
    words = mongodb(Star)
    words.add(*({"name": f"n{n}", "mag": 0.0} for n in range(4)))
    rows = [(n, 1.0) for n in (1, 2, 3, 4)]
    works = [lambda way=way: each(words, "id", "mag", *rows[::way]) for way in (1, -1) * 4]
    assert at_once(works) == [4] * 8


# -- a server without transactions ---------------------------------------------------------------------------


@pytest.fixture
def alone(mongodb: Any) -> Any:
    """A server in no replica set: it says so, and what it is sent has no transaction."""
    mongodb(Star).connection._greeting = {"isWritablePrimary": True}
    return mongodb


@pytest.mark.parametrize("calculated", [False, True])
@pytest.mark.parametrize("action", ["ignore", "update"])
def test_without_transactions_the_error_counts_the_rows_that_stay(
    alone: Any, action: str, calculated: bool
) -> None:
    words = alone(Star)
    words.add({"id": 1, "name": "taken", "count": 1})
    words.add({"id": 2, "name": "b", "count": 1})
    more = {"count": Arithmetic("+", words.column("count"), Value(1))}
    more = more if calculated and action == "update" else {}
    how = conflict(words, action, "id", "mag" if action == "update" else "", more)
    rows = [
        {"id": 2, "name": "x", "mag": 5.0, "count": 1},
        {"id": 3, "name": "c", "mag": 5.0, "count": 1},
        {"id": 4, "name": "taken", "mag": 5.0, "count": 1},
        {"id": 5, "name": "d", "mag": 5.0, "count": 1},
    ]
    with pytest.raises(errors.DuplicateKeyError) as caught:
        put(words, how, *rows)
    assert (caught.value.attributes, caught.value.stored) == (("name",), 2)
    two = 2 if calculated and action == "update" else 1
    new = 5.0 if action == "update" else None
    assert table(words, "id", "name", "mag", "count") == [
        (1, "taken", None, 1),
        (2, "b", new, two),
        (3, "c", 5.0, 1),
    ]
    assert counts(put(words, how, rows[0], rows[3])) == ((1, 0, 1) if action == "ignore" else (1, 1, 0))


def test_without_transactions_rows_by_key_before_the_bad_one_stay(alone: Any) -> None:
    words = alone(Star)
    words.add({"name": "a"}, {"name": "b"}, {"name": "c"})
    with pytest.raises(errors.DuplicateKeyError) as caught:
        each(words, "id", "name", (1, "A"), (2, "c"), (3, "C"))
    assert caught.value.stored == 1
    assert table(words, "name") == [("A",), ("b",), ("c",)]
    with pytest.raises(errors.UnsupportedOperationError, match="replica set"):
        words.connection.begin("batch")


@pytest.mark.parametrize("action", ["ignore", "update"])
def test_without_transactions_too_exactly_one_of_eight_threads_inserts(alone: Any, action: str) -> None:
    words = alone(Star)
    how = conflict(words, action, "name", "mag" if action == "update" else "")
    rows = [{"name": f"n{n}", "mag": 1.0} for n in range(10)]
    results = at_once(lambda: put(words, how, *rows) for _ in range(8))
    assert sum(result.inserted for result in results) == 10
    assert sum(result.updated + result.ignored for result in results) == 70
    assert words.runner.count(words.spec()) == 10


# -- other programs and lost answers -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3])
def test_numbers_that_another_program_took_are_passed_over(either: Any, size: int) -> None:
    words = either(Star)
    words.add({"name": "first"})
    words.connection.native["stars"].insert_many([{"_id": n, "star_name": f"f{n}"} for n in (2, 3, 4)])
    rows = [{"name": f"n{n}"} for n in range(size)]
    assert counts(put(words, conflict(words, "ignore", "name"), *rows)) == (size, 0, 0)
    assert [row[0] for row in table(words, "id")] == list(range(1, 5 + size))


def test_a_lost_answer_to_one_row_is_sent_again_and_to_a_batch_leaves_nothing(own_server: Any) -> None:
    from mongo_models import engine_for

    server = own_server("mongodb")
    engine = engine_for(url=server.url, database="x")
    words = Words(Star, engine, engine.connect(engine.settings))
    words.connection.create([words.info], [])  # type: ignore[attr-defined]
    how = conflict(words, "update", "name", "mag")
    with pymongo.MongoClient(server.url) as client:
        for command, expected in (("insert", (1, 0, 0)), ("findAndModify", (0, 1, 0))):
            client.admin.command(
                "configureFailPoint",
                "failCommand",
                mode={"times": 1},
                data={"failCommands": [command], "closeConnection": True},
            )
            assert counts(put(words, how, {"name": "a", "mag": 1.0})) == expected
    # Of a batch nothing is stored: its transaction never came to its end.
    with pymongo.MongoClient(server.url) as client:
        client.admin.command(
            "configureFailPoint",
            "failCommand",
            mode={"times": 1},
            data={"failCommands": ["update"], "closeConnection": True},
        )
        with pytest.raises(errors.EngineError) as caught:
            put(words, how, {"name": "a", "mag": 5.0}, {"name": "b", "mag": 5.0})
    assert isinstance(caught.value, (errors.OutcomeUnknownError, errors.ConnectionLostError))
    assert table(words, "name", "mag") == [("a", 1.0)]
    words.connection.close()
