"""Python files that are in no package, such as the generators of the docs, as modules: ``script("docs/generate_cli.py")``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]


def script(file: str | Path, name: str | None = None) -> ModuleType:
    """The module of this file (of the repository, unless the path is absolute), run anew."""
    path = ROOT / file
    spec = importlib.util.spec_from_file_location(name or path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass looks for its module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module
