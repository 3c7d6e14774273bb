"""The condition of a cursor in its usual case is the one that the general rule makes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from shop import Item

import db_plugins
from db_plugins.models import describe
from db_plugins.query import cursors
from db_plugins.spec import Order


@pytest.fixture
def query() -> Iterator[Any]:
    with db_plugins.connect({"ENGINE": "memory"}, models=[Item]) as db:
        yield db.query(Item)


def test_the_short_way_makes_what_the_general_rule_makes(query: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = describe(Item).by_name
    first = [fields["count"], fields["title"], fields["id"], fields["big"]]
    values = {"count": 3, "title": "a", "id": 5, "big": 2**40}
    taken = 0
    for one, down, nulls_first, key_down in itertools.product(first, *[(True, False)] * 3):
        order = (Order(one, down, nulls_first), Order(fields["id"], key_down))
        start = (values[one.name], 7)
        short = cursors.keyset(query, order, start, inclusive=False)
        taken += cursors._is_plain(order[0], start[0])
        with monkeypatch.context() as patch:
            patch.setattr(cursors, "_is_plain", lambda *_given: False)
            assert cursors.keyset(query, order, start, inclusive=False) == short
    assert taken == 20, "of nullable columns only those whose NULLs come first"
