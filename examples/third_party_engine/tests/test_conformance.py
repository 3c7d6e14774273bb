"""The whole test file of the plugin: the kit finds it by its entry point, and proves what it claims."""

from pathlib import Path
from typing import Any

from db_plugins.testing import PluginConformance


class TestJsonLines(PluginConformance):
    plugin = "jsonlines"
    faces = ("sync", "async")  # connect_async too, whose calls are made by worker threads
    rows_in_bulk = 240  # each write reads the file
    generated_filters = 40  # every condition is evaluated by the core

    def config(self, tmp_path: Path) -> dict[str, Any]:
        return {"ENGINE": "jsonlines", "DB_NAME": str(tmp_path / "data")}
