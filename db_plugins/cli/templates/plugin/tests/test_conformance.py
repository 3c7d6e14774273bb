"""The whole test file of the plugin: the kit finds it by its entry point, and proves what it claims."""

from pathlib import Path
from typing import Any

from db_plugins.testing import PluginConformance


class TestMyEngine(PluginConformance):
    plugin = "myengine"
    is_shared = False  # rows in memory; remove this line when several processes share a database
    rows_in_bulk = 240  # each key of a list is compared with each row; remove it when there are indexes
    generated_filters = 400  # they are evaluated by the core; remove it when your database does so

    def config(self, tmp_path: Path) -> dict[str, Any]:
        """A fresh, empty database for every test."""
        return {"ENGINE": "myengine"}
