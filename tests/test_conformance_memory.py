"""MemoryEngine, the reference, answers to its own contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from db_plugins.testing import PluginConformance


class TestMemory(PluginConformance):
    plugin = "memory"
    is_shared = False
    generated_filters = 400  # it is compared with itself
    rows_in_bulk = 240  # each key of a list is compared with each row

    def config(self, tmp_path: Path) -> dict[str, Any]:
        return {"ENGINE": "memory"}
