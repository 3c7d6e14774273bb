"""The building half of a query: each method returns a new query, and the old one stays as it was."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import InvalidValueError, UnsupportedOperationError, nearest
from ..nodes import all_of
from ..spec import LabelOrder, Order, QuerySpec
from .related import add_include
from .relations import add_join, joined_key

if TYPE_CHECKING:
    from typing import Self

    from ..expressions import Reader
    from ..models import ModelInfo
    from ..runner import Runner

__all__ = ["BuildingVerbs"]

M = TypeVar("M")


class BuildingVerbs(Generic[M]):
    """``filter``, ``order_by``, ``limit``, ``offset``, ``include``, ``join``, ``filter_native``."""

    __slots__ = ("_active", "_reader", "_spec")

    def __init__(self, active: Callable[[], Runner], reader: Reader, spec: QuerySpec | None = None) -> None:
        self._active = active
        self._reader = reader
        self._spec = spec if spec is not None else reader.everything

    @property
    def _runner(self) -> Runner:
        """The runner of this moment: a query made before a transaction joins it."""
        return self._active()

    @property
    def _info(self) -> ModelInfo:
        return self._spec.model

    def _with(self, **changes: Any) -> Self:
        return type(self)(self._active, self._reader, self._spec.but(**changes))

    def filter(self, *expressions: Any, **equals: Any) -> Self:
        """Rows for which every condition is true.

        ``expressions`` are SQLAlchemy column expressions, ``equals`` compares by attribute name (``None``: IS NULL).
        A NULL is neither equal nor unequal to anything, on every engine. Raises UnsupportedFilterError for what has no
        such meaning, InvalidValueError for unknown names and values that do not fit their column.

            db.query(Star).filter(Star.mag < 6, band="V")
        """
        nodes = [self._reader.condition(e) for e in expressions]
        nodes += [self._reader.equals(name, value) for name, value in equals.items()]
        return self._with(where=self._spec.and_where(all_of(nodes))) if nodes else self._with()

    def filter_native(self, condition: Any) -> Self:
        """This engine's own condition, ANDed to the others: a SQLAlchemy expression or ``text()`` on SQL, a filter
        document on MongoDB. Such a query runs on this engine only."""
        self._runner.engine.check_native(condition)
        return self._with(native=(*self._spec.native, condition))

    def order_by(self, *columns: Any, allow: Collection[Any] | None = None) -> Self:
        """Order by columns (``.desc()``, ``.nulls_last()``…) or names (``"mag"``, ``"-mag"``).

        NULL comes first ascending and last descending, text is ordered by code point, and ties by primary key, on every
        engine. ``allow`` limits the names, for those that come from a request. A second call appends.

            db.query(Star).order_by("-mag", allow=["mag", "name"])
        """
        if allow is not None:
            allowed = {a if isinstance(a, str) else self._reader.order(a).field.path for a in allow}
            for term in columns:
                name = (
                    term.removeprefix("-") if isinstance(term, str) else self._reader.order(term).field.path
                )
                if name not in allowed:
                    raise InvalidValueError(
                        f"ordering by {name[:80]!r} is not allowed", hint=nearest(name, sorted(allowed))
                    )
        if (grouping := self._spec.grouping) is not None:
            terms = [_label_order(c) if isinstance(c, str) else self._reader.order(c) for c in columns]
            return self._with(grouping=replace(grouping, order=(*grouping.order, *terms)))
        return self._with(order=(*self._spec.order, *(self._reader.order(c) for c in columns)))

    def limit(self, n: int) -> Self:
        """At most ``n`` rows, by primary key unless ordered. 0 gives none."""
        return self._with(limit=_size("limit", n))

    def offset(self, n: int) -> Self:
        """Skip ``n`` rows, by primary key unless ordered."""
        return self._with(offset=_size("offset", n))

    def include(self, *relationships: Any) -> Self:
        """Load related objects too, by one more statement for each relationship (two, through a link table).

        ``relationships`` are attributes (or names) of this model or of one that is included already. Related objects
        come in the relationship's ``order_by``, else by primary key. Raises InvalidValueError for what is no
        relationship.

            db.query(User).include(User.conversations, Conversation.messages)
        """
        tree = self._spec.includes
        for term in relationships:
            tree = add_include(self._info, tree, term, self._runner.reader)
        return self._with(includes=tree)

    def join(self, *relationships: Any, outer: bool = False) -> Self:
        """One row for each matching pair; then filter, order and group by the joined model's columns too.

        ``relationships`` are attributes (or names) of this model or of one joined before. ``outer`` keeps objects without
        a match, the joined columns NULL. The objects are still this model's, one for each pair; ``to_dicts``, ``stream``
        and the frames take joined columns. Raises InvalidValueError for what is no relationship,
        UnsupportedOperationError for a model that the query is about already: ask ``any()`` or ``has()`` there.

            db.query(Message).join(Message.conversation, Conversation.user).filter(User.name == "Ada")
        """
        if not isinstance(outer, bool):
            raise InvalidValueError(f"outer is True or False, not a value of type {type(outer).__name__}")
        spec = self._spec
        for term in relationships:
            made = add_join(spec, term, outer, self._reader.look_up)
            spec = spec.but(joins=(*spec.joins, made))
        return type(self)(self._active, self._reader.within(spec.joins), spec)

    # -- for the other verbs ---------------------------------------------------------------------------------------

    def _total_order(self) -> tuple[Order, ...]:
        """The order with the primary key (and those of joined models) as its last terms, so that it is the same on every
        engine, every time."""
        ordered = {term.field for term in self._spec.order}
        key = (*self._info.key, *joined_key(self._spec))
        return (*self._spec.order, *(Order(f) for f in key if f not in ordered))

    def _refuse_window(self, verb: str) -> None:
        for name, present in (
            ("limit", self._spec.limit is not None),
            ("offset", self._spec.offset > 0),
            ("order_by", bool(self._spec.order)),
            ("join", bool(self._spec.joins)),
            ("group_by", self._spec.grouping is not None),
        ):
            if present:
                raise UnsupportedOperationError(
                    f"{verb} of a query with {name} does not mean the same on every engine",
                    hint=f"read the keys first, then {verb} by key: filter({self._info.key[0].label}.in_(keys))",
                )


def _label_order(name: str) -> LabelOrder:
    return LabelOrder(name.removeprefix("-"), name.startswith("-"))


def _size(name: str, n: Any) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n < 2**63:
        raise InvalidValueError(
            f"{name} must be an int of 0 or more, not {n if isinstance(n, int) else type(n).__name__}"
        )
    return n
