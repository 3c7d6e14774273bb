"""Finds and loads engine plugins: entry points of the group ``db_plugins``, read by pluggy, loaded by name on
demand.

    plugins(), known_names(), find(name)   read metadata; nothing is imported
    load_engine(name)                      imports that one plugin and returns its Engine class

Never all at once: one broken plugin, or two that answer to one name, must not harm the others (pluggy's own
loader imports eagerly, lets one broken plugin abort all, and skips duplicates in silence). So each plugin
also gets a PluginManager of its own, and what went wrong once is remembered and said again.
"""

from __future__ import annotations

import importlib
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .distributions import PIP_LINES, pip_line
from .errors import EngineNotFoundError, PluginConflictError, PluginError, PluginLoadError, nearest

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["GROUP", "PluginEntry", "Registry", "find", "known_names", "load_engine", "plugins"]

GROUP = "db_plugins"

log = logging.getLogger("db_plugins")

#: A folder that changed so few seconds ago may change again in the same tick of its clock, or be half installed.
_SETTLED_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class PluginEntry:
    """One name that a plugin answers to, as its distribution's metadata has it.

    ``module`` is the entry point's value: a module, or ``module:object``.
    """

    name: str
    module: str
    distribution: str
    version: str

    @property
    def label(self) -> str:
        """How messages name it: ``plugin 'duckdb' (my-duckdb 1.0)``."""
        return f"plugin {self.name!r} ({self.owner})"

    @property
    def owner(self) -> str:
        """The distribution and its version."""
        return f"{self.distribution} {self.version}".rstrip()


class Registry:
    """What is installed, and what of it was loaded. Shared by threads.

    ``read`` gives the entries; the default reads the metadata of every distribution on ``sys.path``.
    """

    def __init__(self, read: Callable[[], Iterable[PluginEntry]] | None = None) -> None:
        self._read = read or read_entries
        self._lock = threading.RLock()
        self._outcomes: dict[str, type[Engine] | PluginError] = {}

    def plugins(self) -> list[PluginEntry]:
        """Every entry of every installed plugin, by name. Imports nothing."""
        return sorted(self._read(), key=lambda entry: (entry.name.casefold(), entry.distribution))

    def known_names(self) -> tuple[str, ...]:
        """The names that installed plugins answer to, sorted. Imports nothing."""
        return tuple({entry.name.casefold(): entry.name for entry in self.plugins()}.values())

    def find(self, name: str) -> PluginEntry | None:
        """The entry that answers to ``name``, whatever its case; ``None`` if there is none. Imports nothing.

        Raises PluginConflictError if two distributions, or two modules of one, answer to it.
        """
        answering = [entry for entry in self.plugins() if entry.name.casefold() == name.casefold()]
        if len({(entry.distribution, entry.module) for entry in answering}) > 1:
            raise _conflict(name, answering)
        return answering[0] if answering else None

    def load_engine(self, name: str) -> type[Engine]:
        """The Engine class of the plugin that answers to ``name``. Imports that plugin alone, once.

        Raises EngineNotFoundError, PluginLoadError or PluginConflictError.
        """
        entry = self.find(name)
        if entry is None:
            raise self.not_found(name)
        with self._lock:
            outcome = self._outcomes.get(entry.module)
        if outcome is None:
            outcome = self._load(entry)
        if isinstance(outcome, PluginError):
            # A new error each time: an exception that is raised twice grows its traceback.
            raise type(outcome)(outcome.fact, hint=outcome.hint) from outcome.__cause__
        return outcome

    def not_found(self, name: str, *, where: str = "") -> EngineNotFoundError:
        """The error for a name that nobody answers to. ``where`` says who asked: ``"entry 'x', key ENGINE:
        "``.
        """
        known = self.known_names()
        fact = f"{where}no installed plugin answers to {name!r}"
        line = pip_line(name)
        if line is not None:
            return EngineNotFoundError(fact, hint=line)
        if not known:
            return EngineNotFoundError(
                fact, hint="no engine plugin is installed; install the distribution of one"
            )
        near = nearest(name, dict.fromkeys((*known, *PIP_LINES)))
        if near.startswith("known names"):
            near = ""
        remedy = (
            f"installed plugins answer to: {', '.join(known)}; "
            "install the distribution of the plugin you need (`dbp plugins` lists those you have)"
        )
        return EngineNotFoundError(fact, hint=f"{near} {remedy}".strip())

    def _load(self, entry: PluginEntry) -> type[Engine] | PluginError:
        # The import runs outside of our lock: a module that is imported by another thread at this moment may
        # itself ask the registry. Python's import lock already lets only one thread run it.
        outcome: type[Engine] | PluginError
        try:
            outcome = _engine_of(_import(entry), entry)
        except PluginError as error:
            outcome = error
        with self._lock:
            return self._outcomes.setdefault(entry.module, outcome)


def read_entries(path: list[str] | None = None) -> list[PluginEntry]:
    """The entries of the distributions on ``path`` (``None``: ``sys.path``). The first distribution of a name
    on ``sys.path`` hides later ones.

    So a distribution that is listed twice, as an editable install may be, is one. A distribution whose
    metadata cannot be read is left out with a log line. What was read of a folder is kept as long as that
    folder does not change: parsing the metadata of 70 distributions takes 4 ms, looking at the folders 0.02.
    """
    found: dict[str, list[PluginEntry]] = {}
    for place in dict.fromkeys(sys.path if path is None else path):
        for name, entries in _entries_of(place).items():
            found.setdefault(name, entries)
    return [entry for entries in found.values() for entry in entries]


#: What was read of a place, by its absolute path, and all that it depends on.
_kept: dict[str, tuple[_PlaceState, dict[str, list[PluginEntry]]]] = {}
#: A program has some ten places on its path; those of a test suite come and go.
_MOST_KEPT = 256


@dataclass(frozen=True, slots=True)
class _PlaceState:
    """The finders, and when the place last changed, in nanoseconds; ``None`` where there is none."""

    finders: tuple[Any, ...]
    changed: int | None

    @property
    def is_settled(self) -> bool:
        """Has it been left alone long enough?"""
        return self.changed is None or time.time_ns() - self.changed > _SETTLED_SECONDS * 1e9


@lru_cache(maxsize=_MOST_KEPT)
def _folder(place: str) -> tuple[Path, bool]:
    """The place as a path, and whether it is absolute: to make a Path takes longer than to look at the folder."""
    folder = Path(place)
    return folder, folder.is_absolute()


def _entries_of(place: str) -> dict[str, list[PluginEntry]]:
    """The entries of the distributions in one place, by the distribution's name."""
    folder, is_absolute = _folder(place)
    if not is_absolute:
        folder = folder.absolute()  # "" is the current folder, whichever that is now
    absolute = str(folder)
    try:
        changed = folder.stat().st_mtime_ns
    except (OSError, ValueError):
        changed = None
    state = _PlaceState(tuple(sys.meta_path), changed)
    state_then, entries = _kept.get(absolute, (None, {}))
    if state_then == state:
        return entries
    entries = _parse_entries(place)
    if state.is_settled:
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        _kept[absolute] = state, entries
    return entries


def _parse_entries(place: str) -> dict[str, list[PluginEntry]]:
    from importlib import metadata  # it loads the email package

    found: dict[str, list[PluginEntry]] = {}
    for distribution in metadata.distributions(path=[place]):
        try:
            points = [point for point in distribution.entry_points if point.group == GROUP]
            if not points:
                continue
            name = distribution.metadata["Name"] or "an unnamed distribution"
            version = distribution.metadata["Version"] or ""
        except Exception as error:
            log.warning(
                "the metadata of an installed distribution cannot be read (%s); left out",
                type(error).__name__,
            )
            continue
        entries = [PluginEntry(point.name, point.value.strip(), name, version) for point in points]
        found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), entries)
    return found


def _conflict(name: str, entries: list[PluginEntry]) -> PluginConflictError:
    owners = sorted({entry.owner for entry in entries})
    if len(owners) == 1:
        modules = " and ".join(sorted({entry.module for entry in entries}))
        return PluginConflictError(
            f"{owners[0]} answers to {name!r} twice, with {modules}", hint="it needs a fix"
        )
    return PluginConflictError(
        f"{' and '.join(owners)} both answer to {name!r}", hint="uninstall one of them"
    )


def _import(entry: PluginEntry) -> Any:
    module_name, _, attributes = entry.module.partition(":")
    module_name, attributes = module_name.strip(), attributes.partition("[")[0].strip()
    try:
        module = importlib.import_module(module_name)
        return reduce(getattr, attributes.split("."), module) if attributes else module
    except (Exception, SystemExit) as error:
        raise _import_failure(entry, error) from error


def _import_failure(entry: PluginEntry, error: BaseException) -> PluginLoadError:
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return PluginLoadError(f"{entry.label} cannot be imported: {type(error).__name__}: {error}")
    own = entry.module.partition(":")[0].partition(".")[0]
    return PluginLoadError(
        f"{entry.label} cannot be imported: the module {error.name!r} is not installed",
        # pip looks at what an installed distribution requires, too, and installs what of it is missing.
        hint=None if error.name.partition(".")[0] == own else f"pip install {entry.distribution}",
    )


def _engine_of(plugin: Any, entry: PluginEntry) -> type[Engine]:
    """What this plugin's hook returns, checked."""
    import pluggy

    from . import hookspecs
    from .engine import Engine

    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin, name=entry.module)
    except pluggy.PluginValidationError as error:
        raise PluginLoadError(f"{entry.label} has a hook of the wrong shape: {error}") from error
    _refuse_unknown_hooks(manager, entry)
    hook = manager.hook.dbp_register_engine
    if not hook.get_hookimpls():
        bare = hasattr(plugin, hook.name)
        raise PluginLoadError(
            f"{entry.label}: {entry.module} has {'an unmarked function' if bare else 'no hook'} {hook.name}",
            hint="write `from db_plugins import hookimpl` and mark the function with @hookimpl",
        )
    try:
        results = hook()
    except Exception as error:
        raise PluginLoadError(f"{entry.label}: {hook.name} raised {type(error).__name__}: {error}") from error
    engine = results[0] if results else None
    if not (isinstance(engine, type) and issubclass(engine, Engine)):
        raise PluginLoadError(
            f"{entry.label}: {hook.name} returned {engine!r}, not a subclass of db_plugins.engine.Engine",
            hint="return the class itself",
        )
    return engine


def _refuse_unknown_hooks(manager: Any, entry: PluginEntry) -> None:
    known = [hook.name for hook in vars(manager.hook).values() if hook.has_spec()]
    for hook in vars(manager.hook).values():
        if not hook.has_spec() and any(not impl.optionalhook for impl in hook.get_hookimpls()):
            raise PluginLoadError(
                f"{entry.label} implements the unknown hook {hook.name}", hint=nearest(hook.name, known)
            )


_registry = Registry()
plugins = _registry.plugins
known_names = _registry.known_names
find = _registry.find
load_engine = _registry.load_engine
not_found = _registry.not_found
