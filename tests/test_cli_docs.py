"""``docs/cli.md`` holds the help that ``dbp`` prints, and names what there is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from scripts import script

import db_plugins
from db_plugins.cli.group import COMMANDS, options_of_dbp

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return script("docs/generate_cli.py")


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


def test_the_command_in_the_docs_runs(tmp_path: Path) -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    source = text.partition("```python\n")[2].partition("```")[0]
    points = text.partition("```ini\n[options.entry_points]\n")[2].partition("```")[0]
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").touch()
    (tmp_path / "my_package" / "count.py").write_text(source, encoding="utf-8")
    info = tmp_path / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    section, _, entry = points.partition(" =\n")
    (info / "entry_points.txt").write_text(f"[{section}]\n{entry}")
    (tmp_path / "settings.py").write_text("DB_CONFIG = {'A': {'ENGINE': 'memory'}}\nMODELS = ['models']\n")
    templates = Path(db_plugins.__file__).parent / "cli" / "templates"
    (tmp_path / "models.py").write_text((templates / "models.py").read_text())
    done = subprocess.run(
        [sys.executable, "-m", "db_plugins", "count", "--settings", str(tmp_path / "settings.py")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "A: {'Star': 0}\n"), done.stderr
