"""``docs/cli.md`` holds the help that ``dbp`` prints, and names what there is."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from db_plugins.cli.group import COMMANDS, options_of_dbp

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_cli", DOCS / "generate_cli.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_help_in_the_docs_is_current(generator: ModuleType) -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert generator.generate(text) == text, "run: python docs/generate_cli.py"


def test_a_command_without_its_part_is_noticed(generator: ModuleType) -> None:
    with pytest.raises(SystemExit, match="has no part for"):
        generator.generate("nothing")


def test_every_command_and_option_is_in_the_docs() -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"## `dbp {name}`" in text
    for option in options_of_dbp():
        assert option.opts[0] in text
