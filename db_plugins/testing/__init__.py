"""For the tests of programs and of engine plugins: fixtures, the conformance kit, an engine in memory.

    pytest_plugins = ["db_plugins.testing"]         in conftest.py: fixture ``db``, isolated and undone after each test

    from db_plugins.testing import PluginConformance    a plugin's whole test file is one subclass

Importing this loads neither pytest nor SQLAlchemy: ``ENGINE: "memory"`` works without pytest.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError

if TYPE_CHECKING:
    from .kit import PluginConformance
    from .kit.harness import requires
    from .memory import MemoryEngine

__all__ = ["MemoryEngine", "PluginConformance", "requires"]

#: What pytest loads when this package is named as a plugin.
pytest_plugins = ["db_plugins.testing.plugin"]

_HOME = {"MemoryEngine": "memory", "PluginConformance": "kit", "requires": "kit.harness"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOME[name].startswith("kit") and "db_plugins.testing.kit" not in sys.modules:
        _load_pytest(name).register_assert_rewrite("db_plugins.testing.kit")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def _load_pytest(name: str) -> Any:
    try:
        import pytest
    except ImportError as exc:
        raise ConfigError(
            f"db_plugins.testing.{name} needs pytest, which is not installed",
            hint='pip install "db-plugins-core[testing]"',
        ) from exc
    return pytest
