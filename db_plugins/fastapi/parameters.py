"""``page_params``: which page, in which order, of which rows, from the query string of a request, within bounds.

    Stars = Annotated[PageParams, Depends(page_params(Star, sort=["name", "mag"], filters=["band"]))]

    GET /stars?page=2&per_page=20&sort=-mag&sort=name&band=V        sort=-mag,name is the same

Names come from the lists, values are converted to the column's type, and all of it is in the OpenAPI document. What does
not fit is FastAPI's own 422, which says what is accepted.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn, TypeVar, overload

from fastapi import Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BeforeValidator
from sqlalchemy.orm import QueryableAttribute

from ..errors import InvalidValueError
from ..models import Field, ModelInfo, describe
from ..models.schemas import compared_type
from ..predicates import INCOMPARABLE
from ..query import BaseQuery, CursorPage, Pagination
from ..query.awaited import AsyncBaseQuery, AsyncCursorPage, AsyncPagination

__all__ = ["CursorParams", "PageParams", "page_params"]

M = TypeVar("M")
#: A column (``Star.mag``) or its name.
Named = str | QueryableAttribute[Any]

#: What is told apart from a filter that was not given: ``?note=`` is the empty text.
_ABSENT: Any = None


@dataclass(frozen=True)
class _Params:
    """What the request asked for: checked, and not yet used."""

    per_page: int
    max_per_page: int
    sort: tuple[str, ...]
    filters: Mapping[str, Any]

    @overload
    def apply(self, query: BaseQuery[M]) -> BaseQuery[M]: ...
    @overload
    def apply(self, query: AsyncBaseQuery[M]) -> AsyncBaseQuery[M]: ...
    def apply(self, query: Any) -> Any:
        """The query with the filters and the order of the request. An order that it has already comes first."""
        return query.filter(**self.filters).order_by(*self.sort)


@dataclass(frozen=True)
class PageParams(_Params):
    """Of ``page_params(…)``: for numbered pages."""

    page: int = 1

    @overload
    def paginate(self, query: BaseQuery[M], *, count: bool = True) -> Pagination[M]: ...
    @overload
    def paginate(self, query: AsyncBaseQuery[M], *, count: bool = True) -> Awaitable[AsyncPagination[M]]: ...
    def paginate(self, query: Any, *, count: bool = True) -> Any:
        """This page of the query, which ``AsyncBaseQuery`` has awaited: ``await params.paginate(db.query(Star))``.

        Raises FastAPI's RequestValidationError, a 422, for a page that is too far.
        """
        return _read(
            "page",
            query,
            lambda: self.apply(query).paginate(
                self.page, self.per_page, count=count, max_per_page=self.max_per_page
            ),
        )


@dataclass(frozen=True)
class CursorParams(_Params):
    """Of ``page_params(…, cursor=True)``: for pages by cursor."""

    cursor: str | None = None

    @overload
    def cursor_paginate(self, query: BaseQuery[M]) -> CursorPage[M]: ...
    @overload
    def cursor_paginate(self, query: AsyncBaseQuery[M]) -> Awaitable[AsyncCursorPage[M]]: ...
    def cursor_paginate(self, query: Any) -> Any:
        """This page of the query, which ``AsyncBaseQuery`` has awaited.

        Raises FastAPI's RequestValidationError, a 422, for a cursor that was not made here, or for another order.
        """
        return _read(
            "cursor",
            query,
            lambda: self.apply(query).cursor_paginate(
                self.cursor, self.per_page, max_per_page=self.max_per_page
            ),
        )


def _read(parameter: str, query: Any, read: Callable[[], Any]) -> Any:
    async def awaited() -> Any:
        with _refused(parameter):
            return await read()

    if isinstance(query, AsyncBaseQuery):
        return awaited()
    with _refused(parameter):
        return read()


@contextmanager
def _refused(parameter: str) -> Iterator[None]:
    try:
        yield
    except InvalidValueError as error:
        _refuse(parameter, error.fact)


def _refuse(parameter: str, why: str) -> NoReturn:
    raise RequestValidationError([{"type": "value_error", "loc": ("query", parameter), "msg": why}])


# -- the dependency ----------------------------------------------------------------------------------------------------


@overload
def page_params(
    model: type | None = None,
    *,
    sort: Collection[Named] = (),
    filters: Collection[Named] = (),
    default: Named | Sequence[Named] = (),
    per_page: int = 10,
    max_per_page: int = 100,
    cursor: Literal[False] = False,
    others: Collection[str] | None = (),
) -> Callable[..., PageParams]: ...
@overload
def page_params(
    model: type | None = None,
    *,
    sort: Collection[Named] = (),
    filters: Collection[Named] = (),
    default: Named | Sequence[Named] = (),
    per_page: int = 10,
    max_per_page: int = 100,
    cursor: Literal[True],
    others: Collection[str] | None = (),
) -> Callable[..., CursorParams]: ...
def page_params(
    model: type | None = None,
    *,
    sort: Collection[Named] = (),
    filters: Collection[Named] = (),
    default: Named | Sequence[Named] = (),
    per_page: int = 10,
    max_per_page: int = 100,
    cursor: bool = False,
    others: Collection[str] | None = (),
) -> Callable[..., Any]:
    """A dependency that reads ``page`` (with ``cursor=True``: ``cursor``), ``per_page``, ``sort`` and filters by equality.

    ``sort`` and ``filters`` are the columns that a request may name, as columns or names; ``model`` need be given only
    where all are names. A sort of ``"mag"`` allows ``mag`` and ``-mag``, one of ``"-mag"`` descending alone. ``default`` is
    the order of a request without one. ``others`` are parameters that the endpoint takes beside these: a name that is
    neither is refused, for a misspelt filter would show every row; ``others=None`` lets all pass.

        @app.get("/stars", response_model=Page[StarRead])
        def stars(
            db: Annotated[Database, Depends(get_db)],
            params: Annotated[PageParams, Depends(page_params(sort=[Star.mag], filters=[Star.band]))],
        ):
            return params.paginate(db.query(Star))

    Raises InvalidValueError for a name that is no column, a column without an order among ``sort``, one that no text can
    give among ``filters``, or a size outside its bounds.
    """
    if not 1 <= per_page <= max_per_page:
        raise InvalidValueError(f"per_page is {per_page} and must be from 1 to max_per_page, {max_per_page}")
    order = (default,) if isinstance(default, (str, QueryableAttribute)) else tuple(default)
    known = _Columns(_model_of(model, (*sort, *filters, *order)))
    parameters = {
        **({"cursor": _CURSOR} if cursor else {"page": _PAGE}),
        "per_page": (Annotated[int, Query(ge=1, le=max_per_page)], per_page),
        **({"sort": _sort_parameter(known, sort, order)} if sort else {}),
    }
    for each in filters:
        field = known.field(each)
        if field.name in parameters:
            raise InvalidValueError(f"filters: there is a parameter {field.name!r} already")
        parameters[field.name] = (Annotated[compared_type(known.info, field) | None, Query()], _ABSENT)
    names = [known.field(each).name for each in filters]
    allowed = None if others is None else {*parameters, *others}
    fixed = tuple(known.term(each) for each in order)

    async def read(dbp_request: Request, **given: Any) -> Any:
        for name in dbp_request.query_params:
            if allowed is not None and name not in allowed:
                _refuse(name[:80], f"no such parameter; known: {', '.join(sorted(allowed))}")
        common = {
            "per_page": given["per_page"],
            "max_per_page": max_per_page,
            "sort": tuple(given.get("sort", fixed)),
            "filters": {name: given[name] for name in names if given[name] is not _ABSENT},
        }
        if cursor:
            return CursorParams(**common, cursor=given["cursor"])
        return PageParams(**common, page=given["page"])

    # FastAPI reads a dependency's parameters from its signature, where each column must have its own name.
    read.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("dbp_request", inspect.Parameter.KEYWORD_ONLY, annotation=Request),
            *(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=value)
                for name, (kind, value) in parameters.items()
            ),
        ]
    )
    return read


_PAGE: tuple[Any, Any] = (Annotated[int, Query(ge=1)], 1)
_CURSOR: tuple[Any, Any] = (
    Annotated[str | None, Query(description="next_cursor or prev_cursor of another page.")],
    None,
)


class _Columns:
    """The columns of a model, if there is one, by what names them."""

    def __init__(self, info: ModelInfo | None) -> None:
        self._info = info

    @property
    def info(self) -> ModelInfo:
        if self._info is None:
            raise InvalidValueError(
                "page_params was given names of columns, and no model", hint="write page_params(Star, …)"
            )
        return self._info

    def field(self, named: Named) -> Field:
        return self.info.field(_name_of(named))

    def term(self, named: Named) -> str:
        """The term for ``order_by``, of a column that has an order."""
        field = self.field(_name_of(named).removeprefix("-"))
        if field.kind in INCOMPARABLE:
            raise InvalidValueError(
                f"sort: {field.label} is {INCOMPARABLE[field.kind][0]}, which has no order"
            )
        return ("-" if _name_of(named).startswith("-") else "") + field.name


def _name_of(named: Named) -> str:
    if not isinstance(named, (str, QueryableAttribute)):
        raise InvalidValueError(
            f"a column or its name is wanted, not a value of type {type(named).__name__}",
            hint='descending is "-mag"',
        )
    return named if isinstance(named, str) else named.key


def _model_of(model: type | None, named: Sequence[Named]) -> ModelInfo | None:
    found: set[Any] = (
        {model} if model is not None else {each.class_ for each in named if not isinstance(each, str)}
    )
    if len(found) > 1:
        raise InvalidValueError(
            f"page_params was given columns of {', '.join(sorted(each.__name__ for each in found))}",
            hint="one model at a time",
        )
    return describe(found.pop()) if found else None


def _sort_parameter(known: _Columns, sort: Collection[Named], default: Sequence[Named]) -> tuple[Any, Any]:
    """A list of the names that may be given, each with its direction."""
    terms = [known.term(each) for each in sort]
    allowed = dict.fromkeys(t for term in terms for t in ((term,) if term[0] == "-" else (term, f"-{term}")))
    one: Any = Literal[tuple(allowed)]
    kind = Annotated[
        list[one],
        BeforeValidator(_split),
        Query(description="In this order; - is descending."),
    ]
    return kind, [known.term(each) for each in default]


def _split(given: Any) -> Any:
    """``sort=-mag,name`` as ``sort=-mag&sort=name``."""
    return [part for each in given for part in each.split(",")] if isinstance(given, list) else given
