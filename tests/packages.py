"""Packages that are made known without pip, for it would take seconds: their metadata, where the registry finds it."""

from __future__ import annotations

import tomllib
from pathlib import Path

__all__ = ["make_known"]


def make_known(package: Path, site: Path) -> None:
    """What ``pip install`` leaves behind of the package's pyproject.toml, in the folder ``site`` of ``sys.path``."""
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = project["name"], project["version"]
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = project["entry-points"]["db_plugins"]
    lines = "".join(f"{point} = {module}\n" for point, module in points.items())
    (info / "entry_points.txt").write_text(f"[db_plugins]\n{lines}")
