"""``db.query(M)``: a query is built from immutable steps and then read, or written, once or many times."""

from typing import TYPE_CHECKING, Any, TypeVar

from ..spec import Order, QuerySpec
from .aggregating import AggregatingVerbs
from .bulk import BulkVerbs
from .cursors import CursorPage
from .pages import Pagination

__all__ = ["BaseQuery", "CursorPage", "Order", "Pagination", "QuerySpec"]

M = TypeVar("M")


class BaseQuery(BulkVerbs[M], AggregatingVerbs[M]):
    """All the verbs of a query, each written once over the few methods of an engine's Connection."""

    __slots__ = ()


if TYPE_CHECKING:

    class GroupedQuery(BaseQuery[M]):
        """What ``group_by`` gives, to type checkers."""

        def aggregate(self, /, **terms: Any) -> list[dict[str, Any]]:  # type: ignore[override]
            """One dict for each group."""
