"""A stranger's plugin, in twenty lines and a distribution of its own, is found, loaded and passes the kit.

Two of them: one is MemoryEngine under another name; the other says no filter and no order at all, so that the core
finishes every query.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db_plugins.testing import PluginConformance

#: The whole plugin.
TWENTY_LINES = '''
"""An engine of somebody else's."""

from dataclasses import replace

from db_plugins import hookimpl
from db_plugins.engine import Compiled
from db_plugins.nodes import And, Compare, In, Or, Value
from db_plugins.testing import MemoryEngine


class DummyEngine(MemoryEngine):
    name = "dummy"


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
    return %s
'''


@pytest.fixture(scope="module", autouse=True)
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Both distributions on ``sys.path``, as an installer would leave them."""
    folder = tmp_path_factory.mktemp("site")
    for name, engine in (("dummy", "DummyEngine"), ("lazy", "LazyEngine")):
        module = f"a_strangers_{name}_plugin"
        (folder / f"{module}.py").write_text(TWENTY_LINES % engine)
        info = folder / f"a_strangers_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: a-strangers-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[db_plugins]\n{name} = {module}\n")
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    for module in ("a_strangers_dummy_plugin", "a_strangers_lazy_plugin"):
        sys.modules.pop(module, None)


class TestDummy(PluginConformance):
    plugin = "dummy"
    is_shared = False
    generated_filters = 400  # it is MemoryEngine
    rows_in_bulk = 240

    def config(self, tmp_path: Path) -> dict[str, Any]:
        return {"ENGINE": "dummy"}


class TestLazy(PluginConformance):
    """The core finishes filters, orders, windows, and writes by condition."""

    plugin = "lazy"
    is_shared = False
    rows_in_bulk = 240  # each key of a list is compared with each row

    def config(self, tmp_path: Path) -> dict[str, Any]:
        return {"ENGINE": "lazy"}
