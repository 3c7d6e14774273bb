"""What a stranger sends, and every way in: the tables of ``attacks``.

TEXTS, THINGS, SIZES     what a stranger sends: fragments of SQL, operators of MongoDB, wildcards, patterns, NUL, sizes
NO_VECTORS               what is no vector of three numbers
NAMES, RELATIONSHIPS     methods that take a name of a field, of a relationship
EXPRESSIONS, FRAMES      methods that take expressions and rows; those that make frames
NUMBERS                  methods that take a size
NEAREST                  the arguments of ``nearest``
CONDITIONS, WITHIN       what a value is compared by, in the row itself and in related rows
LABELS                   methods in which ``.label()`` names a column
WRITES                   methods that store a value
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from db_plugins import func

from .models import Author, Book, Passage, Star, Thing

__all__ = [
    "CONDITIONS",
    "EXPRESSIONS",
    "FRAMES",
    "LABELS",
    "NAMES",
    "NEAREST",
    "NOT_ONLY_TEXT",
    "NO_VECTORS",
    "NUMBERS",
    "RELATIONSHIPS",
    "SIZES",
    "TEXTS",
    "THINGS",
    "WITHIN",
    "WRITES",
    "ZERO_IS_NONE",
    "Way",
]

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

#: In the place of a vector of three numbers; and each text and thing, alone and among numbers.
NO_VECTORS: dict[str, Any] = {
    **TEXTS,
    **THINGS,
    **{f"{title} inside": [1, payload, 0] for title, payload in TEXTS.items()},
    **{
        f"{title} inside": [1, thing, 0] for title, thing in THINGS.items() if type(thing) not in (int, float)
    },
    "none": None,
    "none inside": [1, None, 0],
    "shorter": [1, 0],
    "longer": [1, 0, 0, 0],
    "enormous": [1] * 100_000,
    "nested": [[1, 0, 0]],
    "endless": [1, math.inf, 0],
    "no number": [1, math.nan, 0],
    "beyond 32 bits": [1, 1e39, 0],
    "beyond a float": [1, 10**400, 0],
    "decimal": [1, Decimal(1), 0],
    "complex": [1, 1j, 0],
    "as JSON": "[1, 0, 0]",
    "as pgvector has it": "[1,0,0]'::vector; DROP TABLE kit_passage; --",
    "set": {1, 2, 3},
    "keys": {1: 1, 2: 2, 3: 3},
}

Way = Callable[[Any, Any], Any]

#: A row like any other, for what is asked beside it.
ROW = {"id": 1, "name": "a"}

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
    "bulk_insert, key": lambda q, p: q.bulk_insert([ROW], on_conflict="ignore", key=p),
    "bulk_insert, key among others": lambda q, p: q.bulk_insert([ROW], on_conflict="update", key=["name", p]),
    "bulk_insert, update": lambda q, p: q.bulk_insert([ROW], on_conflict="update", update=[p]),
    "bulk_insert, update by a mapping": lambda q, p: q.bulk_insert([ROW], on_conflict="update", update={p: "b"}),
    "bulk_insert, on_conflict": lambda q, p: q.bulk_insert([ROW], on_conflict=p),
    "bulk_update": lambda q, p: q.bulk_update([{"id": 1, p: "b"}]),
    "bulk_update, key": lambda q, p: q.bulk_update([{**ROW, p: "b"}], key=p),
    "upsert": lambda q, p: q.upsert({**ROW, p: "b"}),
    "upsert, key": lambda q, p: q.upsert(ROW, key=p),
    "upsert, key among others": lambda q, p: q.upsert(ROW, key=["name", p]),
    "get_or_create": lambda q, p: q.get_or_create({"name": "a", p: "b"}),
    "get_or_create, default": lambda q, p: q.get_or_create({"name": "a"}, **{p: "b"}),
    "to_dicts": lambda q, p: q.to_dicts(p),
    "to_dicts beside a name": lambda q, p: q.to_dicts("name", p),
    "stream": lambda q, p: list(q.stream(p)),
    "group_by": lambda q, p: q.group_by(p),
    "order of groups": lambda q, p: q.group_by("band").order_by(p).aggregate(n=func.count()),
    "include": lambda q, p: q.include(p),
    "cursor": lambda q, p: q.cursor_paginate(p),
}  # fmt: skip

#: Methods that take relationships by name. None of ``TEXTS`` is one, nor any of ``THINGS``.
RELATIONSHIPS: dict[str, Way] = {
    "include": lambda q, p: q.include(p),
    "join": lambda q, p: q.join(p),
    "join outer": lambda q, p: q.join(p, outer=True),
    "join beside a name": lambda q, p: q.join("books", p),
}

#: The same in the place of whole expressions and columns, where no text is taken at all, and texts of SQL.
EXPRESSIONS: dict[str, Way] = {
    "filter": lambda q, p: q.filter(p),
    "aggregate": lambda q, p: q.aggregate(n=p),
    "update": lambda q, p: q.filter(id=1).update(p),
    "insert": lambda q, p: q.insert(p),
    "bulk_insert": lambda q, p: q.bulk_insert([p]),
    "bulk_insert of more": lambda q, p: q.bulk_insert([{"name": "a"}, p]),
    "bulk_insert, update": lambda q, p: q.bulk_insert(
        [ROW], on_conflict="update", update={"name": p, "id": p}
    ),
    "bulk_update": lambda q, p: q.bulk_update([p]),
    "bulk_update of more": lambda q, p: q.bulk_update([ROW, p]),
    "upsert": lambda q, p: q.upsert(p),
    "get_or_create": lambda q, p: q.get_or_create(p),
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
    "bulk_update": lambda q, n: q.bulk_update([{"id": 1, "name": "a"}], batch_size=n),
}
#: None of these is a size for these methods; the others take none, and the first two any.
ZERO_IS_NONE = (
    "paginate, page",
    "paginate, per_page",
    "cursor_paginate",
    "stream",
    "bulk_insert",
    "bulk_update",
)

#: The arguments of ``nearest``, and what none of them takes.
NEAREST: dict[str, tuple[Way, dict[str, Any]]] = {
    "column": (
        lambda q, p: q.nearest(p, [1, 0, 0], 3),
        {**TEXTS, **THINGS, "none": None, "no vector": "text", "list": ["meaning"], "of another": Star.name},
    ),
    "vector": (lambda q, p: q.nearest(Passage.meaning, p, 3), NO_VECTORS),
    "k": (
        lambda q, p: q.nearest("meaning", [1, 0, 0], p),
        {**SIZES, "zero": 0, "none": None, "10,001": 10_001},
    ),
    "metric": (
        lambda q, p: q.nearest("meaning", [1, 0, 0], 3, p),
        {**TEXTS, **THINGS, "none": None, "pgvector's": "<=>", "capitals": "L2", "list": ["cosine"]},
    ),
}

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
    "bulk_insert that updates": lambda q, p: q.bulk_insert(
        [{"id": 1, "text": p}], on_conflict="update", return_keys=True
    ).keys[0],
    "bulk_insert that updates by a mapping": lambda q, p: q.bulk_insert(
        [{"id": 1}], on_conflict="update", update={"text": p}, return_keys=True
    ).keys[0],
    "upsert": lambda q, p: q.upsert({"id": 1000, "text": p}).id,
    "upsert of a row that is there": lambda q, p: q.upsert({"id": 1, "text": p}).id,
    "get_or_create": lambda q, p: q.get_or_create({"id": 1001}, text=p)[0].id,
    "get_or_create by more": lambda q, p: q.get_or_create({"id": 1002, "text": p})[0].id,
    "bulk_update": lambda q, p: q.bulk_update([{"id": 1, "text": p}]),
    "update": lambda q, p: q.filter(id=1).update({"text": p}),
    "update of a row": lambda q, p: q.update(q.get(1), {"text": p}).id,
}

#: The same on related rows, where every author has one book, of which the title is the author's name: the model that is
#: asked, the condition (``None``: a join), and what is true of the text then.
WITHIN: dict[str, tuple[type, Way, Callable[[str, str], bool]]] = {
    "any by name": (Author, lambda q, p: q.filter(Author.books.any(title=p)), lambda t, p: t == p),
    "any": (Author, lambda q, p: q.filter(Author.books.any(Book.title == p)), lambda t, p: t == p),
    "any of a list": (
        Author,
        lambda q, p: q.filter(Author.books.any(Book.title.in_([p]))),
        lambda t, p: t == p,
    ),
    "any containing": (
        Author,
        lambda q, p: q.filter(Author.books.any(Book.title.contains(p, autoescape=True))),
        lambda t, p: p in t,
    ),
    "not any": (Author, lambda q, p: q.filter(~Author.books.any(Book.title == p)), lambda t, p: t != p),
    "has by name": (Book, lambda q, p: q.filter(Book.author.has(name=p)), lambda t, p: t == p),
    "has": (Book, lambda q, p: q.filter(Book.author.has(Author.name < p)), lambda t, p: t < p),
    "has any": (Book, lambda q, p: q.filter(Book.author.has(Author.books.any(title=p))), lambda t, p: t == p),
    "join": (Author, lambda q, p: q.join("books").filter(Book.title == p), lambda t, p: t == p),
    "outer join": (
        Book,
        lambda q, p: q.join("author", outer=True).filter(Author.name.startswith(p, autoescape=True)),
        str.startswith,
    ),
}

#: Methods in which a label names a column of the result; each returns the names and values of its one row.
LABELS: dict[str, Way] = {
    "to_dicts": lambda q, p: q.to_dicts(Star.name.label(p))[0],
    "to_dicts beside a name": lambda q, p: q.to_dicts(Star.name.label(p), "id")[0],
    "stream": lambda q, p: next(q.stream(Star.name.label(p))),
}

#: Of the methods that take names those that may be given anything; the others take Python's own keywords and keys.
NOT_ONLY_TEXT = (
    "order_by",
    "order_by among allowed",
    "bulk_insert, key among others",
    "bulk_insert, update",
    "bulk_insert, on_conflict",
    "upsert, key among others",
    "to_dicts",
    "to_dicts beside a name",
    "stream",
    "group_by",
    "order of groups",
    "include",
)
#: Methods that make frames; they take names of columns.
FRAMES: dict[str, Way] = {
    "to_arrow": lambda q, p: q.to_arrow(p),
    "to_pandas": lambda q, p: q.to_pandas(p),
}
