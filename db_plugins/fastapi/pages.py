"""``Page[T]`` and ``CursorPage[T]``: what ``paginate`` and ``cursor_paginate`` give, as Pydantic models.

Both read attributes: an endpoint with ``-> Page[StarRead]`` returns the page itself, of either face, with its objects.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["CursorPage", "Page"]

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """One numbered page, of a ``Pagination`` or an ``AsyncPagination``.

    ``T`` is what each object becomes, a model with ``from_attributes`` as ``schemas(Star)`` makes them.

        @app.get("/stars", response_model=Page[StarRead])
        def stars(db: Annotated[Database, Depends(get_db)]): return db.query(Star).paginate()

        Page[StarRead].model_validate(db.query(Star).paginate()).total
    """

    model_config = ConfigDict(from_attributes=True)

    items: list[T]
    page: int = Field(description="The number of this page, from 1.")
    per_page: int = Field(description="How many items a full page holds.")
    total: int | None = Field(description="How many there are in all; null where they were not counted.")
    pages: int | None = Field(description="How many pages there are; null where they were not counted.")
    has_prev: bool
    has_next: bool


class CursorPage(BaseModel, Generic[T]):
    """One page by cursor, of a ``CursorPage`` or an ``AsyncCursorPage`` of the query. Else as ``Page``."""

    model_config = ConfigDict(from_attributes=True)

    items: list[T]
    next_cursor: str | None = Field(description="The parameter `cursor` of the page after this one.")
    prev_cursor: str | None = Field(description="The parameter `cursor` of the page before this one.")
    has_prev: bool
    has_next: bool
