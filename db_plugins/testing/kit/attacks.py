"""Every method that takes a string, a key, a value or a number, against everything a stranger may put there.

    TEXTS, THINGS, SIZES     what a stranger sends: fragments of SQL, operators of MongoDB, wildcards, patterns, NUL, sizes
    NAMES                    methods that take a name of a field: refused before anything is sent
    NUMBERS                  methods that take a size: refused before anything is sent
    CONDITIONS               what a value is compared by: it is the plain text that it is, or refused before it is sent
    WRITES                   methods that store a value: it comes back as it is, or is refused before it is sent

Whatever happens, the tables and their rows are as they were, and no message shows what a row holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from db_plugins import Capability, Database, func
from db_plugins.errors import DbPluginsError, InvalidValueError, MissingFilterError

from .harness import Connect, Harness, requires, subject
from .models import Author, Badge, Book, Pair, Star, Thing

__all__ = ["Attacks"]

#: Texts, which a column of text takes as they are.
TEXTS: dict[str, str] = {
    "always true": "' OR '1'='1",
    "stacked": "'; DROP TABLE kit_thing; --",
    "stacked in a name": '"; DROP TABLE kit_thing; --',
    "stacked in MariaDB": "`; DROP TABLE kit_thing; #",
    "union": "x' UNION SELECT name FROM kit_star --",
    "comment": "/* */ --",
    "backslash": "\\' OR 1=1 --",
    "operator": "$ne",
    "code": "$where",
    "field": "$name",
    "dotted": "name.$gt",
    "json": '{"$gt": ""}',
    "wildcards": "%",
    "wildcard": "_",
    "pattern": "(a+)+$",
    "any": ".*",
    "parameters": "%s %(name)s :name ? $1 {0}",
    "numeric": "0",
    "number": "1e3",
    "boolean": "true",
    "null": "null",
    "empty": "",
    "lines": "a\nb\r\n\t",
    "path": "../../etc/passwd",
    "attribute": "__class__",
    "mapped": "metadata",
    "markup": "<script>alert(1)</script>",
    "wide": "\uff07 OR 1=1 --",
}

#: No texts that a column takes: what a JSON body, a query string or a broken client puts in the place of one.
THINGS: dict[str, Any] = {
    "not equal": {"$ne": None},
    "greater": {"$gt": ""},
    "where": {"$where": "sleep(1000)"},
    "or": {"$or": [{}]},
    "expression": {"$expr": {"$eq": [1, 1]}},
    "in": {"$in": ["a", "b"]},
    "set": {"$set": {"text": "x"}},
    "regex": {"$regex": ".*"},
    "nothing": {},
    "zero": 0,
    "one": 1,
    "fraction": 1.5,
    "yes": True,
    "no": False,
    "bytes": b"a",
    "NUL": "a\0b",
    "surrogate": "\ud800",
    "object": object(),
    "class": Thing,
}

#: In the place of a size.
SIZES: dict[str, Any] = {
    "negative": -1,
    "least": -(2**63),
    "beyond 64 bits": 2**63,
    "enormous": 10**30,
    "text": "10",
    "statement": "1; DROP TABLE kit_star",
    "fraction": 1.5,
    "infinite": math.inf,
    "yes": True,
    "operator": {"$gt": 0},
    "list": [1],
}

Way = Callable[[Any, Any], Any]

#: Methods that take names. None of ``TEXTS`` is one.
NAMES: dict[str, Way] = {
    "filter": lambda q, p: q.filter(**{p: "a"}),
    "order_by": lambda q, p: q.order_by(p),
    "order_by descending": lambda q, p: q.order_by(f"-{p}"),
    "order_by among allowed": lambda q, p: q.order_by(p, allow=["name", "mag"]),
    "order_by with itself allowed": lambda q, p: q.order_by(p, allow=[p]),
    "insert": lambda q, p: q.insert({"name": "a", p: "b"}),
    "bulk_insert": lambda q, p: q.bulk_insert([{"name": "a", p: "b"}]),
    "update": lambda q, p: q.filter(id=1).update({p: "b"}),
    "update of a row": lambda q, p: q.update(Star(id=1, name="a"), {p: "b"}),
    "to_dicts": lambda q, p: q.to_dicts(p),
    "to_dicts beside a name": lambda q, p: q.to_dicts("name", p),
    "stream": lambda q, p: list(q.stream(p)),
    "group_by": lambda q, p: q.group_by(p),
    "order of groups": lambda q, p: q.group_by("band").order_by(p).aggregate(n=func.count()),
    "include": lambda q, p: q.include(p),
    "cursor": lambda q, p: q.cursor_paginate(p),
}  # fmt: skip

#: The same in the place of whole expressions and columns, where no text is taken at all, and texts of SQL.
EXPRESSIONS: dict[str, Way] = {
    "filter": lambda q, p: q.filter(p),
    "aggregate": lambda q, p: q.aggregate(n=p),
    "update": lambda q, p: q.filter(id=1).update(p),
    "insert": lambda q, p: q.insert(p),
    "bulk_insert": lambda q, p: q.bulk_insert([p]),
    "delete": lambda q, p: q.delete(p),
    "update of a row": lambda q, p: q.update(p, {"name": "b"}),
}

#: Methods that take a size.
NUMBERS: dict[str, Way] = {
    "limit": lambda q, n: q.limit(n),
    "offset": lambda q, n: q.offset(n),
    "paginate, page": lambda q, n: q.paginate(n),
    "paginate, per_page": lambda q, n: q.paginate(1, n),
    "cursor_paginate": lambda q, n: q.cursor_paginate(per_page=n),
    "stream": lambda q, n: q.stream(batch_size=n),
    "bulk_insert": lambda q, n: q.bulk_insert([{"name": "a"}], batch_size=n),
}
#: None of these is a size for these methods; the others take none, and the first two any.
ZERO_IS_NONE = ("paginate, page", "paginate, per_page", "cursor_paginate", "stream", "bulk_insert")

#: Conditions on ``Thing.text`` (a dict: by name), and what is true of a text then.
CONDITIONS: dict[str, tuple[Callable[[Any], Any], Callable[[str, str], bool]]] = {
    "by name": (lambda p: {"text": p}, lambda t, p: t == p),
    "==": (lambda p: Thing.text == p, lambda t, p: t == p),
    "!=": (lambda p: Thing.text != p, lambda t, p: t != p),
    "<=": (lambda p: Thing.text <= p, lambda t, p: t <= p),
    "in_": (lambda p: Thing.text.in_([p]), lambda t, p: t == p),
    "not_in": (lambda p: Thing.text.not_in([p]), lambda t, p: t != p),
    "between": (lambda p: Thing.text.between(p, p), lambda t, p: t == p),
    "contains": (lambda p: Thing.text.contains(p, autoescape=True), lambda t, p: p in t),
    "startswith": (lambda p: Thing.text.startswith(p, autoescape=True), str.startswith),
    "endswith": (lambda p: Thing.text.endswith(p, autoescape=True), str.endswith),
    "a path": (lambda p: Thing.extra["t"].as_string() == p, lambda t, p: t == p),
}

#: Methods that store a value in ``Thing.text``; each returns the key of the row.
WRITES: dict[str, Way] = {
    "insert": lambda q, p: q.insert({"text": p}).id,
    "insert of an instance": lambda q, p: q.insert(Thing(text=p)).id,
    "bulk_insert": lambda q, p: q.bulk_insert([{"text": p}], return_keys=True).keys[0],
    "update": lambda q, p: q.filter(id=1).update({"text": p}),
    "update of a row": lambda q, p: q.update(q.get(1), {"text": p}).id,
}

#: What a row holds, and nobody may read in a message.
SECRET = "s3cr3t-r0w"  # noqa: S105 - no password


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
            if not writes and title.startswith(("insert", "bulk_insert", "update")):
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

    def test_relationships_are_included_by_their_names_only(self, alarmed: Connect) -> None:
        query = alarmed(Author, Book).query(Author)
        for title, payload in {**TEXTS, **THINGS, "column": "name", "of another": "author"}.items():
            with pytest.raises(DbPluginsError):
                pytest.fail(f"{title}: {query.include(payload)!r}")

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
        db = connect(Star, Thing, Badge)
        stars, things = db.query(Star), db.query(Thing)
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
            lambda: things.insert(SECRET),
            lambda: db.query(Badge).insert({"code": SECRET}),
            lambda: db.query(Badge).insert({"code": "c", "owner": SECRET, "place": SECRET}),
            lambda: things.filter(id=1).update({"number": SECRET}),
        ]  # fmt: skip
        for number, call in enumerate(calls):
            with pytest.raises(DbPluginsError) as caught:
                pytest.fail(f"{number}: {call()!r}")
            shown = f"{caught.value} {caught.value!r} {caught.value.hint} {getattr(caught.value, 'attributes', '')}"
            assert SECRET not in shown, number


#: Of the methods that take names those that may be given anything; the others take Python's own keywords and keys.
NOT_ONLY_TEXT = (
    "order_by",
    "order_by among allowed",
    "to_dicts",
    "to_dicts beside a name",
    "stream",
    "group_by",
    "order of groups",
    "include",
)
FRAMES: dict[str, Way] = {
    "to_arrow": lambda q, p: q.to_arrow(p),
    "to_pandas": lambda q, p: q.to_pandas(p),
}
