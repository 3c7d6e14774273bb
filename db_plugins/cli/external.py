"""Commands of other distributions: entry points of the group ``db_plugins.commands``.

The entry's name is the command, its value ``module:object`` a click command. Metadata are read without importing;
a broken one harms no other: help marks it, and running it names the distribution.
"""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

from ..errors import PluginConflictError, PluginLoadError

if TYPE_CHECKING:
    import click

__all__ = ["GROUP", "External", "find_commands"]

GROUP = "db_plugins.commands"

log = logging.getLogger("db_plugins")


@dataclass(frozen=True, slots=True)
class External:
    """A command by its metadata. ``owner`` is the distribution and its version; several if they clash."""

    name: str
    value: str
    owner: str
    clashes: bool = False

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"command {self.name!r} ({self.owner})"

    def fault(self) -> str | None:
        """What can be seen to be wrong without importing it."""
        if self.clashes:
            return "more than one has this name"
        module, colon, attribute = self.value.partition(":")
        if not (colon and attribute.strip()):
            return f"{self.value!r} is not module:object"
        missing = _missing_module(module.strip())
        return f"no module {missing!r}" if missing else None

    def load(self) -> click.Command:
        """Import it. Raises PluginConflictError and PluginLoadError, which name the distribution."""
        import click

        if self.clashes:
            raise PluginConflictError(
                f"more than one distribution has a command {self.name!r}: {self.owner}",
                hint="uninstall one of them",
            )
        module, _, attribute = self.value.partition(":")
        try:
            found = importlib.import_module(module.strip())
            for part in attribute.strip().split("."):
                found = getattr(found, part)
        except (Exception, SystemExit) as error:
            raise PluginLoadError(
                f"{self.label} cannot be loaded from {self.value!r}: {type(error).__name__}: {error}",
                hint="update or uninstall its distribution",
            ) from error
        if not isinstance(found, click.Command):
            raise PluginLoadError(
                f"{self.label}: {self.value!r} is a {type(found).__name__}, not a click command",
                hint="decorate the function with @click.command()",
            )
        return found


@cache
def find_commands() -> dict[str, External]:
    """The commands by name, with ``_`` for ``-``. Reads metadata, imports nothing."""
    from importlib import metadata  # it loads the email package

    found: dict[str, External] = {}
    try:
        points = metadata.entry_points(group=GROUP)
    except Exception as error:  # of any installed distribution: it may be quite unreadable
        log.warning("the commands of other distributions cannot be read (%s)", type(error).__name__)
        return found
    for point in points:
        owner = f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed distribution"
        name = point.name.replace("-", "_")
        known = found.get(name)
        if known is not None and (known.value, known.owner) != (point.value, owner):
            found[name] = External(point.name, known.value, f"{known.owner}, {owner}", clashes=True)
        else:
            found[name] = External(point.name, point.value, owner)
    return found


def _missing_module(name: str) -> str | None:
    """The first part of a dotted name that cannot be found. Imports no package on the way."""
    parts = name.split(".")
    places: list[str] | None = None
    for end in range(1, len(parts) + 1):
        module = ".".join(parts[:end])
        try:
            spec = importlib.util.find_spec(module) if end == 1 else PathFinder.find_spec(module, places)
        except (ImportError, ValueError, AttributeError):
            return module
        if spec is None:
            return module
        places = list(spec.submodule_search_locations or ())
    return None
