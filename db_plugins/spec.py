"""A query is data: what the user's calls on BaseQuery add up to, frozen, and all that an engine compiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .nodes import Always, Hop, Node, all_of, has_exists

if TYPE_CHECKING:
    from .models import Field, ModelInfo
    from .query.related import Include

__all__ = ["Grouping", "Join", "LabelOrder", "Order", "QuerySpec"]


@dataclass(frozen=True, slots=True)
class Order:
    """One term of an order. Without a word from the user NULL comes first ascending and last descending."""

    field: Field
    descending: bool = False
    nulls_first: bool = True


@dataclass(frozen=True, slots=True)
class LabelOrder:
    """One term of an order of groups, by a name that ``aggregate`` will know: a label or a group column."""

    name: str
    descending: bool = False

    @property
    def nulls_first(self) -> bool:
        return not self.descending


@dataclass(frozen=True, slots=True)
class Grouping:
    """What ``group_by`` began. Only the core sees it: engines get an ``Aggregation`` beside their query."""

    columns: tuple[Field, ...]
    order: tuple[Order | LabelOrder, ...] = ()


@dataclass(frozen=True, slots=True)
class Join:
    """A relationship that was joined: one hop, or two through a link table.

    ``outer`` keeps rows without a match, their joined columns NULL; two hops are then matched together, so that a row of
    the link table that leads nowhere counts as no match.
    """

    hops: tuple[Hop, ...]
    outer: bool = False


@dataclass(frozen=True)
class QuerySpec:
    """Which rows (``where``, ``native``), which columns in which order, and which window of them.

    ``native`` holds this engine's own conditions, given with ``filter_native``. The core has already added to ``order``
    the primary key that makes it total, wherever a window or the user asked for an order.

    With ``joins`` there is a row for each matching pair, and fields of ``columns``, ``where`` and ``order`` may be those
    of a joined model. An engine sees ``joins``, and ``Exists`` nodes, only if it says so (``Engine.joins``).
    """

    model: ModelInfo
    columns: tuple[Field, ...]
    where: Node | None = None
    native: tuple[Any, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int = 0
    grouping: Grouping | None = None
    joins: tuple[Join, ...] = ()
    #: Relationships that the core loads afterwards. No engine need look at it.
    includes: tuple[Include, ...] = ()

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """The model, and those that joins reached, link tables too, in order."""
        return (self.model, *(hop.info for join in self.joins for hop in join.hops))

    @property
    def is_about_several(self) -> bool:
        """Does it need rows of other models?"""
        return bool(self.joins) or has_exists(self.where)

    @property
    def is_filtered(self) -> bool:
        """Did the user give any condition?"""
        return bool(self.native) or self.where not in (None, Always(True), self.model.only_this_class)

    @property
    def is_windowed(self) -> bool:
        """Was a limit or an offset given?"""
        return self.limit is not None or self.offset != 0

    def but(self, **changes: Any) -> QuerySpec:
        """The spec with these fields changed: ``dataclasses.replace`` in a tenth of its time."""
        made = object.__new__(QuerySpec)
        made.__dict__.update(self.__dict__, **changes)
        return made

    def and_where(self, node: Node) -> Node:
        """The spec's condition with one more."""
        return node if self.where is None else all_of((self.where, node))
