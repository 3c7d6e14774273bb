"""Pages by cursor: each begins where the one before ended, so that page 1,000 costs what page 1 costs.

    cursor     base64url of JSON {"q": shape, "d": direction, "k": [order values]}, and ".signature" if there is a secret
    shape      a hash of model, conditions and order: a cursor of another query is refused
    direction  "after" and "before" a row, "from" and "to" it (itself included)

A cursor is what a stranger sends back: it is read by ``json``, each value must be of its column's kind and passes the
check of filter values, and all it can do is to move the start of the page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from ..errors import InvalidValueError, UnsupportedFilterError, UnsupportedOperationError
from ..models import Field, Kind
from ..models.texts import from_text, to_text
from ..nodes import Always, And, Column, Compare, In, IsNull, Node, Or, Value, all_of, any_of
from ..spec import Order
from .pages import check_whole

if TYPE_CHECKING:
    from .reading import ReadingVerbs

__all__ = ["CursorPage", "keyset", "make_cursor_page"]

M = TypeVar("M")

_DIRECTIONS = ("after", "before", "from", "to")
_BACKWARDS = ("before", "to")
#: The same place, the other way.
_TURNED = {"after": "to", "before": "from", "from": "before", "to": "after"}
_to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
#: Longer than any cursor that was made here from values of a sensible size.
MAX_LENGTH = 100_000


@dataclass(frozen=True)
class CursorPage(Generic[M]):
    """One page: iterate it, or read ``items``. The cursors are text for a URL, ``None`` where there is no such page.

    ``next()`` and ``prev()`` read the neighbouring page, as it is at that moment. ``has_prev`` of a page that was
    reached forwards, and ``has_next`` of one reached backwards, say that there were rows when its cursor was made.
    """

    items: list[M]
    next_cursor: str | None
    prev_cursor: str | None
    _query: ReadingVerbs[M] = field(repr=False, compare=False)
    _per_page: int = field(default=10, repr=False, compare=False)
    _max_per_page: int = field(default=1000, repr=False, compare=False)

    @property
    def has_next(self) -> bool:
        return self.next_cursor is not None

    @property
    def has_prev(self) -> bool:
        return self.prev_cursor is not None

    def next(self) -> CursorPage[M] | None:
        """The page after this one."""
        return self._turn(self.next_cursor)

    def prev(self) -> CursorPage[M] | None:
        """The page before this one."""
        return self._turn(self.prev_cursor)

    def _turn(self, cursor: str | None) -> CursorPage[M] | None:
        if cursor is None:
            return None
        return self._query.cursor_paginate(cursor, self._per_page, max_per_page=self._max_per_page)

    def __iter__(self) -> Iterator[M]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def make_cursor_page(
    query: ReadingVerbs[M], cursor: str | None, per_page: int, max_per_page: int
) -> CursorPage[M]:
    """Read one page, by one statement."""
    check_whole("max_per_page", max_per_page, 1, None)
    check_whole("per_page", per_page, 1, max_per_page)
    spec, order = query._spec, query._total_order()
    if spec.is_windowed:
        raise UnsupportedOperationError(
            "cursor_paginate of a query with limit or offset has no meaning",
            hint="leave them out: per_page limits",
        )
    codec = _Codec.of(query, order)
    direction, start = ("after", None) if cursor is None else codec.decode(cursor)
    backwards = direction in _BACKWARDS
    if backwards:
        order = tuple(Order(t.field, not t.descending, not t.nulls_first) for t in order)
    where = spec.where
    if start is not None:
        where = spec.and_where(keyset(query, order, start, inclusive=direction in ("from", "to")))
    # One row more than asked says whether the page after this one is empty.
    width = len(spec.columns)
    columns = (
        *spec.columns,
        *(term.field for term in order if term.field not in spec.columns),
    )  # joined ones
    found = query._rows(spec.but(columns=columns, where=where, order=order, limit=per_page + 1))
    more, rows = len(found) > per_page, list(found[:per_page])
    if backwards:
        rows.reverse()
    at = [columns.index(term.field) for term in order]
    ends = [tuple([row[i] for i in at]) for row in (rows[:1] + rows[-1:])]
    came = start is not None
    if ends:
        after = codec.encode("after", ends[-1]) if (came if backwards else more) else None
        before = codec.encode("before", ends[0]) if (more if backwards else came) else None
    else:
        # Every row on this side is gone: what is left is on the other side of the cursor.
        turned = codec.encode(_TURNED[direction], start) if start is not None else None
        after, before = (turned, None) if backwards else (None, turned)
    if len(columns) > width:
        rows = [row[:width] for row in rows]
    return CursorPage(query._build(rows), after, before, query, per_page, max_per_page)


# -- the condition -----------------------------------------------------------------------------------------------------


def keyset(
    query: ReadingVerbs[Any], order: Sequence[Order], start: Sequence[Any], *, inclusive: bool
) -> Node:
    """The condition that a row comes after (``inclusive``: or is at) these order values.

    ``a >= x AND (a > x OR (a = x AND …))``: the first part is there for the index on ``a``.
    """
    if len(order) == 2 and not inclusive and all(map(_is_plain, order, start)):
        return _plain_keyset(order, start)
    node: Node = Always(inclusive)
    first: Node = Always(True)
    for term, value in reversed(list(zip(order, start, strict=True))):
        past, same = _past(query, term, value), _same(term.field, value)
        node = any_of((past, all_of((same, node))))
        first = _not_before(term, value, past, same)
    return all_of((first, node)) if len(order) > 1 else node


def _is_plain(term: Order, value: Any) -> bool:
    """Do the rows after the value hold greater ones (lesser, if descending), and nothing else?"""
    no_nulls_after = term.nulls_first or not term.field.nullable
    return value is not None and no_nulls_after and term.field.kind not in (Kind.BOOLEAN, Kind.ENUM)


def _plain_keyset(order: Sequence[Order], start: Sequence[Any]) -> Node:
    """The usual case, a column and the key, in a fraction of the time; a test compares the two."""
    (one, other), (x, y) = order, start
    left, a, b = Column(one.field), Value(x, one.field), Value(y, other.field)
    after = ("<", "<=") if one.descending else (">", ">=")
    last = Compare("<" if other.descending else ">", Column(other.field), b)
    return And(
        (Compare(after[1], left, a), Or((Compare(after[0], left, a), And((Compare("==", left, a), last)))))
    )


def _same(column: Field, value: Any) -> Node:
    return IsNull(Column(column)) if value is None else Compare("==", Column(column), Value(value, column))


def _past(query: ReadingVerbs[Any], term: Order, value: Any) -> Node:
    """The rows that this term puts strictly after the value."""
    column = term.field
    if value is None:
        return IsNull(Column(column), negated=True) if term.nulls_first else Always(False)
    nulls = IsNull(Column(column)) if column.nullable and not term.nulls_first else Always(False)
    if column.kind is Kind.BOOLEAN:
        other = Compare("==", Column(column), Value(not value, column))
        return any_of((other if value is term.descending else Always(False), nulls))
    if column.kind is Kind.ENUM:
        name = to_text(column, value)
        names = [n for n in column.enum_names if (n < name if term.descending else n > name)]
        members = tuple(query._reader.literal(column, n) for n in names)
        return any_of((In(Column(column), members, column) if members else Always(False), nulls))
    return any_of((Compare("<" if term.descending else ">", Column(column), Value(value, column)), nulls))


def _not_before(term: Order, value: Any, past: Node, same: Node) -> Node:
    column = term.field
    if value is None:
        return Always(True) if term.nulls_first else IsNull(Column(column))
    if column.kind in (Kind.BOOLEAN, Kind.ENUM):
        return any_of((past, same))
    nulls = IsNull(Column(column)) if column.nullable and not term.nulls_first else Always(False)
    return any_of((Compare("<=" if term.descending else ">=", Column(column), Value(value, column)), nulls))


# -- the text ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Codec:
    """Makes and reads the cursors of one query."""

    query: ReadingVerbs[Any]
    order: tuple[Order, ...]
    secret: bytes | None
    shape: str

    @classmethod
    def of(cls, query: ReadingVerbs[Any], order: tuple[Order, ...]) -> _Codec:
        for term in order:
            if term.field.kind is Kind.NATIVE or term.field.to_stored is not None:
                raise UnsupportedFilterError(
                    f"{query._reader.engine}: {term.field.label} has a type of its own, which no cursor can hold",
                    hint="order by a plain column, or use paginate",
                )
        kept = query._runner.engine.settings.cursor_secret
        secret = kept.reveal().encode() if kept is not None else None
        spec = query._spec
        parts = [spec.model.cls.__qualname__, spec.model.store, repr(spec.where), repr(order)]
        if spec.joins:
            parts.append(repr(spec.joins))
        if spec.native:
            parts.append(query.explain())
        digest = hmac.digest(
            secret or b"db_plugins", "\n".join(parts).encode(errors="surrogatepass"), "sha256"
        )
        return cls(query, order, secret, _text(digest[:12]))

    def encode(self, direction: str, values: Sequence[Any]) -> str:
        kept = [None if v is None else to_text(t.field, v) for t, v in zip(self.order, values, strict=True)]
        body = {"q": self.shape, "d": direction, "k": kept}
        text = _text(_to_json(body).encode())
        return text if self.secret is None else f"{text}.{self._sign(text)}"

    def decode(self, cursor: Any) -> tuple[str, tuple[Any, ...]]:
        if not isinstance(cursor, str):
            raise InvalidValueError(f"a cursor is a str, not a value of type {type(cursor).__name__}")
        if len(cursor) > MAX_LENGTH or not cursor.isascii():
            _refuse("is not one that was made here")
        text, _dot, signature = cursor.partition(".")
        if self.secret is not None and not hmac.compare_digest(signature, self._sign(text)):
            _refuse("has not the signature of this CURSOR_SECRET")
        if self.secret is None and "." in cursor:
            _refuse("is signed, and no CURSOR_SECRET is set here")
        body = _read(text)
        if not hmac.compare_digest(body["q"], self.shape):
            _refuse("is of another query: model, filters and order must be the same")
        if len(body["k"]) != len(self.order):
            _refuse("holds another number of values")
        return body["d"], tuple(self._value(t.field, v) for t, v in zip(self.order, body["k"], strict=True))

    def _value(self, column: Field, text: Any) -> Any:
        value = None if text is None else from_text(column, text)
        value = self.query._reader.literal(column, value)
        if value is None and not column.nullable:
            _refuse(f"holds no value for {column.label}")
        return value

    def _sign(self, text: str) -> str:
        return _text(hmac.digest(self.secret or b"", text.encode(), hashlib.sha256))


def _refuse(why: str) -> NoReturn:
    raise InvalidValueError(f"the cursor {why}", hint="begin with the first page: cursor=None")


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _read(text: str) -> dict[str, Any]:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        body = json.loads(data)
    except (binascii.Error, ValueError, RecursionError):
        _refuse("is not one that was made here")
    if (
        not isinstance(body, dict)
        or set(body) != {"q", "d", "k"}
        or not isinstance(body["q"], str)
        or not body["q"].isascii()
        or body["d"] not in _DIRECTIONS
        or not isinstance(body["k"], list)
    ):
        _refuse("is not one that was made here")
    return body
