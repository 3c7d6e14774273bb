"""What ``dbp init`` writes: the files of a project, or with ``--plugin`` those of an engine plugin, from ``templates``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import click

from ..errors import PluginConflictError
from ..registry import find
from .group import Usage

__all__ = ["PROJECT", "plugin_files", "project_files", "rival_of", "validate_name"]

TEMPLATES = Path(__file__).with_name("templates")
#: Each file of a project, and what stands for it if it is there.
PROJECT = {"settings.py": ("settings.py",), "models.py": ("models.py", "models/__init__.py")}
#: A name, or scheme of a URL: a + would end it, and case does not matter.
LEGAL = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
#: What the templates of a plugin are called.
PACKAGE, DISTRIBUTION, CLASS, NAME = "db_plugins_myengine", "db-plugins-myengine", "MyEngine", "myengine"


def project_files() -> dict[str, str]:
    """Name → text."""
    return {name: (TEMPLATES / name).read_text(encoding="utf-8") for name in PROJECT}


def plugin_files(name: str) -> dict[str, str]:
    """Name → text, of a package that answers to ``name``."""
    package = f"db_plugins_{name.replace('-', '_')}"
    words: Mapping[str, str] = {
        PACKAGE: package,
        DISTRIBUTION: f"db-plugins-{name}",
        CLASS: "".join(part.capitalize() for part in name.split("-")) + "Engine",
        NAME: name,
    }
    folder = TEMPLATES / "plugin"
    files = {
        file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8")
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.suffix != ".pyc"
    }
    pattern = re.compile("|".join(words))
    return {
        file.replace("package/", f"{package}/"): pattern.sub(lambda found: words[found[0]], text)
        for file, text in files.items()
    }


def validate_name(context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    """A usage error for what no entry of DB_CONFIG could name in ENGINE."""
    if name is None or LEGAL.fullmatch(name):
        return name
    near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-").lstrip("-0123456789")
    raise Usage(
        f"--plugin: {name!r} cannot be the name of an engine",
        context,
        "use lower-case letters and digits, a letter first, with single hyphens between"
        + (f": {near}" if LEGAL.fullmatch(near) else ""),
    )


def rival_of(name: str) -> str | None:
    """The installed distribution that answers to this name already."""
    try:
        found = find(name)
    except PluginConflictError:
        return "more than one distribution"
    return None if found is None else found.distribution
