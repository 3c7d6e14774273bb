"""002-02: a stranger's plugin, in twenty lines and a distribution of its own, is found, loaded and passes the kit.

It is a stranger's plugin, a subclass of MemoryEngine in a distribution of its own, found by its entry point. The tests are
those of the kit whose subject is a condition, an order or a window; ``test_example_third_party.py`` has the whole kit, of an
engine that shares no code with any other.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import db_plugins
from db_plugins.testing import kit
from db_plugins.testing.kit.models import Star

#: The whole plugin.
TWENTY_LINES = '''
"""An engine of somebody else's."""

from dataclasses import replace

from db_plugins import hookimpl
from db_plugins.engine import Compiled
from db_plugins.nodes import And, Compare, In, Or, Value
from db_plugins.testing import MemoryEngine


class LazyEngine(MemoryEngine):
    """Knows its keys, and leaves everything else to the core."""

    name = "lazy"

    def compile(self, spec):
        residual = None if names_keys(spec.where, spec.model.key) else spec.where
        known = replace(spec, where=None if residual else spec.where, order=())
        if residual or spec.order:
            known = replace(known, limit=None, offset=0)
        return Compiled(known, native=None, residual=residual, sorted=not spec.order, text=repr(spec))


def names_keys(node, key):
    if isinstance(node, (And, Or)):
        return all(names_keys(part, key) for part in node.parts)
    if isinstance(node, Compare):
        return node.op == "==" and getattr(node.left, "field", None) in key and isinstance(node.right, Value)
    return node is None or isinstance(node, In) and node.field in key and not node.negated


@hookimpl
def dbp_register_engine():
    return LazyEngine
'''


#: The subjects of the kit on which it shows whether the engine or the core does the work.
ABOUT_QUERIES = (
    kit.Values,
    kit.Attacks,
    kit.Mapping,
    kit.Writes,
    kit.Versions,
    kit.Bulk,
    kit.BulkUpdates,
    kit.Upserts,
    kit.Creations,
    kit.Races,
    kit.Cascades,
    kit.CascadesTogether,
    kit.Parents,
    kit.Reads,
    kit.Filters,
    kit.Likes,
    kit.Paths,
    kit.Orders,
    kit.Pages,
    kit.Cursors,
    kit.Related,
    kit.Existence,
    kit.Joins,
    kit.Frames,
    kit.Streams,
    kit.Aggregates,
    kit.Groups,
    kit.Nearest,
    kit.Generated,
    kit.Hypotheses,
    kit.Transactions,
    kit.Conflicts,
    kit.Watching,
)


@pytest.fixture(scope="module", autouse=True)
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The distribution on ``sys.path``, as an installer would leave it."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "a_strangers_plugin.py").write_text(TWENTY_LINES)
    info = folder / "a_stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: a-stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[db_plugins]\nlazy = a_strangers_plugin\n")
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("a_strangers_plugin", None)


class TestLazy(*ABOUT_QUERIES):  # type: ignore[misc]
    plugin = "lazy"
    is_shared = False
    faces = ("sync",)  # what the core finishes is the same on both
    generated_filters = 400  # each is compared with itself, evaluated elsewhere
    rows_in_bulk = 240  # each key of a list is compared with each row

    def config(self, tmp_path: Path) -> dict[str, Any]:
        return {"ENGINE": "lazy"}


def test_the_engine_says_no_condition_but_a_key() -> None:
    """Else the tests above show nothing."""
    with db_plugins.connect({"ENGINE": "lazy"}, models=[Star]) as db:
        engine = db._engine
        by_name = engine.compile(db.query(Star).filter(Star.name == "Vega").order_by("mag")._spec)
        by_key = engine.compile(db.query(Star).filter(Star.id == 1)._spec)
    assert (by_name.residual is not None, by_name.sorted) == (True, False)
    assert by_key.is_whole
