"""Every method that takes a string, a key, a value or a number, against everything a stranger may put there.

What is sent, and by which ways, is in the tables of ``attack_tables``. A name, a size, a vector or a key that is none is
refused before anything is sent; a text is compared and stored as the plain text that it is. Whatever happens, the tables
and their rows are as they were, and no message shows what a row holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from db_plugins import Capability, Database, func
from db_plugins.errors import DbPluginsError, InvalidValueError, MissingFilterError

from .attack_tables import (
    CONDITIONS,
    EXPRESSIONS,
    FRAMES,
    LABELS,
    NAMES,
    NEAREST,
    NOT_ONLY_TEXT,
    NUMBERS,
    RELATIONSHIPS,
    SIZES,
    TEXTS,
    THINGS,
    WITHIN,
    WRITES,
    ZERO_IS_NONE,
    Way,
)
from .harness import Connect, Harness, requires, subject
from .models import Author, Badge, Book, Pair, Passage, Star, Thing

__all__ = ["Attacks"]

#: What a row holds, and nobody may read in a message.
SECRET = "s3cr3t-r0w"  # noqa: S105 - no password


#: What SQLAlchemy itself raises while a condition is made, before any method of ours is called.
SQLALCHEMYS = (TypeError, AttributeError, sa.exc.ArgumentError, sa.exc.InvalidRequestError)


def stocked(kit: Harness, connect: Connect) -> Database:
    """Things: number 1 holds the secret, number 2 NULLs, then every text, in a document too."""
    db = connect(Thing, Star)
    rows: list[dict[str, Any]] = [{"id": 1, "text": SECRET, "extra": {"t": SECRET}}, {"id": 2}]
    rows += [{"id": n, "text": text, "extra": {"t": text}} for n, text in enumerate(TEXTS.values(), 3)]
    kit.stock(db, Thing, rows)
    return db


def contents(db: Database) -> list[Any]:
    """The rows of both tables."""
    return [
        [q.to_dicts("id", "text", "extra"), s.count()]
        for q, s in [(db.query(Thing).order_by("id"), db.query(Star))]
    ]


def filtered(query: Any, condition: Any) -> Any:
    """The query with a condition, or with a dict of names and values."""
    return query.filter(**condition) if isinstance(condition, dict) else query.filter(condition)


def pairs(ways: dict[str, Any], payloads: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Every way with every payload, and a title for the message of a failure."""
    for way, call in ways.items():
        for title, payload in payloads.items():
            yield f"{way}: {title}", call, payload


@subject("attacks")
class Attacks(Harness):
    """Either a typed error before anything is sent, or the payload is the plain value that it is."""

    def test_a_name_that_is_no_field_is_refused_before_anything_is_sent(self, alarmed: Connect) -> None:
        query = alarmed(Star).query(Star)
        writes = Capability.WRITE in query._runner.engine.capabilities
        for title, call, payload in pairs(NAMES, TEXTS):
            if not writes and title.startswith(("insert", "bulk_", "update", "upsert", "get_or_create")):
                continue  # refused for another reason: see Refusals
            with pytest.raises(InvalidValueError):
                pytest.fail(f"{title}: {call(query, payload)!r}")

    def test_a_name_that_is_no_text_is_refused_before_anything_is_sent(self, alarmed: Connect) -> None:
        query = alarmed(Star).query(Star)
        taken = {name: way for name, way in NAMES.items() if name in NOT_ONLY_TEXT}
        for title, call, payload in pairs(taken, {**THINGS, "list": ["name"], "none": None}):
            with pytest.raises(DbPluginsError):
                pytest.fail(f"{title}: {call(query, payload)!r}")

    def test_columns_of_frames_are_names_too(self, alarmed: Connect) -> None:
        query = alarmed(Star).query(Star)
        pytest.importorskip("pyarrow")
        pytest.importorskip("pandas")
        for title, call, payload in pairs(FRAMES, TEXTS):
            with pytest.raises(InvalidValueError):
                pytest.fail(f"{title}: {call(query, payload)!r}")

    def test_a_label_is_an_identifier(self, alarmed: Connect) -> None:
        query = alarmed(Star).query(Star)
        for title, text in TEXTS.items():
            if not text.isidentifier():
                with pytest.raises(InvalidValueError):
                    pytest.fail(f"{title}: {query.aggregate(**{text: func.count()})!r}")

    @requires(Capability.WRITE)
    def test_what_is_no_expression_and_no_row_is_refused_before_anything_is_sent(
        self, alarmed: Connect
    ) -> None:
        query = alarmed(Star).query(Star)
        sql = {f"{title} as SQL": sa.text(text.replace(":", "")) for title, text in TEXTS.items()}
        for title, call, payload in pairs(
            EXPRESSIONS, {**TEXTS, **THINGS, **sql, "1=1": sa.text("1=1"), "list": ["a"]}
        ):
            if title == "update: nothing":
                continue  # an update of no columns changes nothing
            with pytest.raises(DbPluginsError):
                pytest.fail(f"{title}: {call(query, payload)!r}")

    def test_a_size_that_is_none_is_refused_before_anything_is_sent(self, alarmed: Connect) -> None:
        query = alarmed(Star).query(Star)
        for title, call, payload in pairs(NUMBERS, SIZES):
            with pytest.raises(InvalidValueError):
                pytest.fail(f"{title}: {call(query, payload)!r}")
        for title, call, payload in pairs({name: NUMBERS[name] for name in ZERO_IS_NONE}, {"zero": 0}):
            with pytest.raises(InvalidValueError):
                pytest.fail(f"{title}: {call(query, payload)!r}")

    def test_a_key_of_another_type_is_refused_before_anything_is_sent(self, alarmed: Connect) -> None:
        db = alarmed(Star, Pair, Badge)
        numbers = {
            k: v
            for k, v in {**TEXTS, **THINGS, "enormous": 10**30, "list": [1]}.items()
            if k not in ("zero", "one")
        }
        texts = {**THINGS, "list": ["a"], "long": "a" * 100_000}
        keys: dict[str, Way] = {"get": lambda q, p: q.get(p), "get_many": lambda q, p: q.get_many([p])}
        for model, payloads in (
            (Star, numbers),
            (Badge, texts),
            (Pair, {**numbers, "one of two": (1,), "three": (1, "a", "b")}),
        ):
            for title, call, payload in pairs(keys, payloads):
                with pytest.raises(InvalidValueError):
                    pytest.fail(f"{model.__name__} {title}: {call(db.query(model), payload)!r}")
        for title, payload in THINGS.items():
            with pytest.raises(InvalidValueError):
                pytest.fail(f"{title}: {db.query(Pair).get((1, payload))!r}")

    def test_a_text_is_a_key_like_any_other(self, connect: Connect) -> None:
        db = connect(Badge)
        codes = [text for text in TEXTS.values() if 0 < len(text) <= 20]
        self.stock(db, Badge, [{"code": code} for code in codes])
        for code in codes:
            found = db.query(Badge).get(code)
            assert found is not None
            assert found.code == code
            assert list(db.query(Badge).get_many([code, "nobody"])) == [code]
        assert db.query(Badge).count() == len(codes)

    def test_a_text_is_compared_as_it_is(self, connect: Connect) -> None:
        db = stocked(self, connect)
        before = contents(db)
        texts = {n: t for n, t in enumerate([SECRET, None, *TEXTS.values()], 1) if t is not None}
        for title, (call, holds), payload in pairs(CONDITIONS, TEXTS):
            query = filtered(db.query(Thing), call(payload))
            found = [row["id"] for row in query.order_by("id").to_dicts("id")]
            assert found == [n for n, text in texts.items() if holds(text, payload)], title
        assert contents(db) == before

    def test_what_is_no_text_is_refused_in_every_condition_before_it_is_sent(self, alarmed: Connect) -> None:
        query = alarmed(Thing).query(Thing)
        for title, (call, _holds), payload in pairs(CONDITIONS, THINGS):
            try:
                condition = call(payload)
            except (TypeError, sa.exc.ArgumentError):
                continue  # SQLAlchemy itself refuses it, before any method of ours is called
            with pytest.raises(DbPluginsError):
                pytest.fail(f"{title}: {filtered(query, condition)!r}")

    @requires(Capability.WRITE)
    def test_a_text_is_stored_as_it_is(self, connect: Connect) -> None:
        db = stocked(self, connect)
        others = [row for row in db.query(Thing).order_by("id").to_dicts("id", "text") if row["id"] != 1]
        for title, call, payload in pairs(WRITES, TEXTS):
            key = call(db.query(Thing), payload)
            stored = db.query(Thing).get(key)
            assert stored is not None, title
            assert stored.text == payload, title
            if key != 1:
                assert db.query(Thing).filter(id=key).delete() == 1, title
        assert [
            row for row in db.query(Thing).order_by("id").to_dicts("id", "text") if row["id"] != 1
        ] == others

    @requires(Capability.WRITE)
    def test_documents_with_operators_are_stored_as_they_are(self, connect: Connect) -> None:
        db = connect(Thing)
        documents = [d for d in THINGS.values() if isinstance(d, dict)]
        documents += [{text: {text: [text]}} for text in TEXTS.values()]
        keys = db.query(Thing).bulk_insert([{"extra": d} for d in documents], return_keys=True).keys
        found = db.query(Thing).get_many(keys)
        assert [found[key].extra for key in keys] == documents
        for document in documents:
            db.query(Thing).filter(id=keys[0]).update({"extra": document})
            assert db.query(Thing).get(keys[0]).extra == document  # type: ignore[union-attr]

    @requires(Capability.WRITE)
    def test_what_is_no_text_is_not_stored(self, alarmed: Connect) -> None:
        query = alarmed(Thing).query(Thing)
        for title, call, payload in pairs(
            {n: w for n, w in WRITES.items() if n != "update of a row"}, THINGS
        ):
            with pytest.raises(InvalidValueError):
                pytest.fail(f"{title}: {call(query, payload)!r}")

    def test_a_key_of_a_document_is_the_plain_key_or_refused(self, connect: Connect) -> None:
        db = connect(Thing)
        texts = list(TEXTS.values())
        self.stock(db, Thing, [{"id": n, "extra": {text: "here"}} for n, text in enumerate(texts, 1)])
        for n, text in enumerate(texts, 1):
            try:
                query = db.query(Thing).filter(Thing.extra[text].as_string() == "here")
            except DbPluginsError:
                assert set(text) & set('"\\\n\r\t'), text
                continue
            assert [row["id"] for row in query.to_dicts("id")] == [n], text
        assert db.query(Thing).count() == len(texts)

    def test_relationships_are_taken_by_their_names_only(self, alarmed: Connect) -> None:
        query = alarmed(Author, Book).query(Author)
        payloads = {**TEXTS, **THINGS, "column": "name", "list": ["books"], "dotted": "books.author"}
        for title, call, payload in pairs(RELATIONSHIPS, payloads):
            with pytest.raises(DbPluginsError):
                pytest.fail(f"{title}: {call(query, payload)!r}")
        for title, payload in {**payloads, "none": None}.items():
            if not isinstance(payload, bool):
                with pytest.raises(InvalidValueError):
                    pytest.fail(f"outer: {title}: {query.join('books', outer=payload)!r}")

    @pytest.mark.parametrize("argument", NEAREST)
    def test_an_argument_of_nearest_that_is_none_is_refused_before_anything_is_sent(
        self, alarmed: Connect, argument: str
    ) -> None:
        query = alarmed(Author, Passage).query(Passage)
        call, payloads = NEAREST[argument]
        for title, payload in payloads.items():
            with pytest.raises(DbPluginsError):
                pytest.fail(f"{title}: {call(query, payload)!r}")

    def test_a_text_is_compared_as_it_is_in_related_rows(self, connect: Connect) -> None:
        db = connect(Author, Book)
        texts = dict(enumerate(TEXTS.values(), 1))
        self.stock(db, Author, [{"id": n, "name": text} for n, text in texts.items()])
        self.stock(db, Book, [{"id": n, "title": text, "author_id": n} for n, text in texts.items()])
        for title, (model, call, holds) in WITHIN.items():
            for about, payload in TEXTS.items():
                found = [row["id"] for row in call(db.query(model), payload).order_by("id").to_dicts("id")]
                assert found == [n for n, text in texts.items() if holds(text, payload)], f"{title}: {about}"
        assert [a.name for a in db.query(Author).order_by("id").all()] == list(texts.values())
        assert [b.title for b in db.query(Book).order_by("id").all()] == list(texts.values())

    def test_what_is_no_text_is_refused_in_conditions_on_related_rows(self, alarmed: Connect) -> None:
        db = alarmed(Author, Book)
        for title, (model, call, _holds) in WITHIN.items():
            for about, payload in THINGS.items():
                with pytest.raises((DbPluginsError, *SQLALCHEMYS)):
                    pytest.fail(f"{title}: {about}: {call(db.query(model), payload)!r}")

    def test_names_in_any_and_has_are_those_of_columns(self, alarmed: Connect) -> None:
        db = alarmed(Author, Book)
        ways: dict[str, Way] = {
            "any": lambda any_, p: db.query(Author).filter(any_.any(**{p: "a"})),
            "has": lambda has, p: db.query(Book).filter(has.has(**{p: "a"})),
        }
        payloads = {**TEXTS, "table": "__table__", "relationship": "author", "relationships": "books"}
        for title, call, payload in pairs(ways, payloads):
            with pytest.raises((DbPluginsError, *SQLALCHEMYS)):
                pytest.fail(
                    f"{title}: {call(Author.books if title.startswith('any') else Book.author, payload)!r}"
                )

    def test_a_label_is_the_plain_name_of_a_column_of_the_result(self, connect: Connect) -> None:
        db = connect(Star)
        query = db.query(Star)
        self.stock(db, Star, [{"id": 1, "name": SECRET}])
        for title, call, payload in pairs(LABELS, {k: v for k, v in TEXTS.items() if v}):
            assert next(iter(call(query, payload).items())) == (payload, SECRET), title
        assert query.to_dicts("id", "name") == [{"id": 1, "name": SECRET}]

    def test_a_label_that_is_no_name_is_refused_before_anything_is_sent(self, alarmed: Connect) -> None:
        query = alarmed(Star).query(Star)
        others = {k: v for k, v in THINGS.items() if not isinstance(v, str)}
        for title, call, payload in pairs(LABELS, {**others, "none": None, "empty": "", "list": ["name"]}):
            with pytest.raises(InvalidValueError):
                pytest.fail(f"{title}: {call(query, payload)!r}")

    @requires(Capability.WRITE)
    def test_an_update_by_a_payload_changes_that_row_only(self, connect: Connect) -> None:
        db = stocked(self, connect)
        for n, text in enumerate(TEXTS.values(), 3):
            assert db.query(Thing).filter(text=text).update({"number": n}) == 1, text
            assert db.query(Thing).filter(number=n).count() == 1, text
        assert db.query(Thing).filter(Thing.text == TEXTS["always true"]).delete() == 1
        assert db.query(Thing).count() == len(TEXTS) + 1
        unbound: list[Callable[[Any], Any]] = [
            lambda q: q.delete(),
            lambda q: q.update({"text": "x"}),
            lambda q: q.filter().delete(),
        ]
        for call in unbound:
            with pytest.raises(MissingFilterError):
                call(db.query(Thing))

    @requires(Capability.WRITE, Capability.UNIQUE)
    def test_no_message_shows_what_a_row_holds(self, connect: Connect) -> None:
        db = connect(Star, Thing, Badge, Author, Book, Passage)
        stars, things = db.query(Star), db.query(Thing)
        authors, passages = db.query(Author), db.query(Passage)
        stars.insert({"id": 1, "name": SECRET, "band": "V"})
        things.insert({"id": 1, "text": SECRET})
        db.query(Badge).insert({"code": SECRET, "owner": SECRET, "place": SECRET})
        calls: list[Callable[[], Any]] = [
            lambda: stars.insert({"name": SECRET}),
            lambda: stars.insert({"id": 1, "name": "other"}),
            lambda: stars.bulk_insert([{"name": "b"}, {"name": SECRET}]),
            lambda: stars.bulk_insert([{"name": SECRET * 10}]),
            lambda: stars.insert({"name": SECRET, "mag": SECRET}),
            lambda: stars.filter(id=1).update({"band": SECRET + SECRET}),
            lambda: stars.filter(id=1).update({"name": None}),
            lambda: stars.filter(mag=SECRET),
            lambda: stars.get(SECRET),
            lambda: stars.get_many([SECRET]),
            lambda: stars.cursor_paginate(SECRET),
            lambda: stars.limit(SECRET),  # type: ignore[arg-type]
            lambda: stars.paginate(SECRET),  # type: ignore[arg-type]
            lambda: things.insert({"colour": SECRET}),
            lambda: things.filter(colour=SECRET),
            lambda: things.filter(Thing.letter == SECRET),
            lambda: things.filter(Thing.text.like(SECRET + "\0")),
            lambda: things.filter(Thing.number.in_([SECRET])),
            lambda: things.filter(Thing.extra["a"].as_integer() == SECRET),
            lambda: things.insert({"text": SECRET + "\0"}),
            lambda: things.insert({"extra": {"a": {SECRET}}}),
            lambda: things.insert(SECRET),  # type: ignore[arg-type]
            lambda: db.query(Badge).insert({"code": SECRET}),
            lambda: db.query(Badge).insert({"code": "c", "owner": SECRET, "place": SECRET}),
            lambda: things.filter(id=1).update({"number": SECRET}),
            lambda: authors.filter(Author.books.any(id=SECRET)),
            lambda: authors.filter(Author.books.any(title=SECRET + "\0")),
            lambda: authors.join("books").filter(Book.id == SECRET),
            lambda: passages.nearest("meaning", [1, SECRET, 0], 3),
            lambda: passages.nearest("meaning", SECRET, 3),
            lambda: passages.nearest("meaning", [1, 0, 0], SECRET),  # type: ignore[arg-type]
        ]  # fmt: skip
        for number, call in enumerate(calls):
            with pytest.raises(DbPluginsError) as caught:
                pytest.fail(f"{number}: {call()!r}")
            shown = f"{caught.value} {caught.value!r} {caught.value.hint} {getattr(caught.value, 'attributes', '')}"
            assert SECRET not in shown, number
