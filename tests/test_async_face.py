"""The asynchronous face has every member of the synchronous one, with the same parameters, each told of."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from db_plugins import Database, connect, connect_async
from db_plugins.async_database import AsyncDatabase
from db_plugins.query import BaseQuery
from db_plugins.query.awaited import AsyncBaseQuery, AsyncCursorPage, AsyncPagination
from db_plugins.query.cursors import CursorPage
from db_plugins.query.pages import Pagination
from db_plugins.testing.kit.models import Star

TWINS = [
    (AsyncDatabase, Database),
    (AsyncBaseQuery, BaseQuery),
    (AsyncPagination, Pagination),
    (AsyncCursorPage, CursorPage),
]
PAGES = (AsyncPagination, AsyncCursorPage)
#: What builds a query, or looks at what is there: nothing of it waits.
WAITS_FOR_NOTHING = {
    "query", "filter", "filter_native", "order_by", "limit", "offset", "include", "join", "group_by", "explain",
    "name", "engine", "capabilities", "native", "on_statement",
}  # fmt: skip
STREAMS = {"stream"}
BLOCKS = {"transaction", "session"}
#: Protocols whose awaited form has another name.
AWAITED_NAMES = {"__enter__": "__aenter__", "__exit__": "__aexit__"}
#: Of Python, and of how the class is made.
OURS = {"__iter__", "__len__", "__enter__", "__exit__"}


def members(cls: type) -> dict[str, Any]:
    """Its public members, of its bases too."""
    found: dict[str, Any] = {}
    for each in reversed(cls.__mro__[:-1]):
        found |= {
            name: value for name, value in vars(each).items() if not name.startswith("_") or name in OURS
        }
    return found


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(("ours", "theirs"), TWINS, ids=lambda cls: cls.__name__)
def test_no_member_is_forgotten_and_none_is_added(ours: type, theirs: type) -> None:
    expected = {AWAITED_NAMES.get(name, name) for name in members(theirs)}
    there = {*members(ours), *(name for name in AWAITED_NAMES.values() if name in vars(ours))}
    # A page's values are attributes of its objects: test_pages_have_the_same_fields.
    values = (
        {name for name in members(theirs) if not callable(members(theirs)[name])} if ours in PAGES else set()
    )
    assert there - values == expected - values


CALLED = [
    pytest.param(ours, theirs, name, id=f"{ours.__name__}.{name}")
    for ours, theirs in TWINS
    for name, member in members(theirs).items()
    if inspect.isfunction(member) and name not in OURS
]


@pytest.mark.parametrize(("ours", "theirs", "name"), CALLED)
def test_parameters_are_the_same(ours: type, theirs: type, name: str) -> None:
    assert parameters(members(ours)[name]) == parameters(members(theirs)[name])


@pytest.mark.parametrize(("ours", "theirs", "name"), CALLED)
def test_what_reaches_the_server_is_awaited(ours: type, theirs: type, name: str) -> None:
    member = members(ours)[name]
    plain = inspect.unwrap(member)
    kinds = (inspect.iscoroutinefunction(plain), inspect.isasyncgenfunction(plain))
    if name in WAITS_FOR_NOTHING:
        assert kinds == (False, False)
    elif name in STREAMS:  # gives an asynchronous generator
        assert inspect.signature(member).return_annotation.startswith("AsyncGenerator")
    elif name in BLOCKS:
        assert kinds == (False, True)
    else:
        assert kinds == (True, False)


@pytest.mark.parametrize(("ours", "theirs", "name"), CALLED)
def test_each_has_a_docstring(ours: type, theirs: type, name: str) -> None:
    assert len((getattr(ours, name).__doc__ or "").split()) >= 5


def test_each_property_has_a_docstring() -> None:
    for ours, theirs in TWINS:
        for name, member in members(theirs).items():
            if isinstance(member, property) and ours not in PAGES:
                assert members(ours)[name].__doc__, f"{ours.__name__}.{name}"


def test_pages_have_the_same_fields() -> None:
    async def awaited() -> list[Any]:
        async with connect_async({"ENGINE": "memory"}, models=[Star]) as db:
            query = db.query(Star)
            return [await query.paginate(), await query.cursor_paginate()]

    query = connect({"ENGINE": "memory"}, models=[Star]).query(Star)
    for ours, theirs in zip(asyncio.run(awaited()), [query.paginate(), query.cursor_paginate()], strict=True):

        def told(page: Any) -> set[str]:
            return {name for name in dir(page) if not name.startswith("_")}

        assert told(ours) == told(theirs)
        for name in told(theirs) - {"prev", "next"}:
            assert getattr(ours, name) == getattr(theirs, name)
        assert (list(ours), len(ours)) == (list(theirs), len(theirs))


def test_the_words_of_the_synchronous_twin_are_help_here_too() -> None:
    assert AsyncBaseQuery.get.__doc__ == BaseQuery.get.__doc__
    assert AsyncDatabase.run_transaction.__doc__ == Database.run_transaction.__doc__
