"""Runs a ``settings.py``, or imports a settings module, and says what is wrong with it.

A file is run afresh each time, under a name of its own, so that it meets no module called ``settings``; its
folder is put first on ``sys.path``, as Python does for a script, so that ``MODELS = ["app.models"]`` finds
what lies beside it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import ConfigError, nearest
from .failure import describe, is_absent

__all__ = ["add_to_path", "import_settings", "read_config", "run_settings"]

_MODULE = "_db_plugins_settings"


def add_to_path(folder: Path) -> None:
    """Put a folder first on ``sys.path``, unless it is there."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def run_settings(file: Path) -> ModuleType:
    """Run this file. An error in it becomes a ConfigError with its line."""
    add_to_path(file.parent)
    module = ModuleType(_MODULE)
    module.__file__ = str(file)
    module.__package__ = ""
    sys.modules[_MODULE] = module  # dataclasses and enums in the file look their module up
    try:
        # Not through the import system: its bytecode cache takes an edit within the same second for no edit.
        source = importlib.util.decode_source(file.read_bytes())
        code = compile(source, str(file), "exec", dont_inherit=True)
        exec(code, vars(module))  # noqa: S102  settings are code by design
    except (Exception, SystemExit) as error:
        raise ConfigError(f"the settings cannot be read: {describe(error, prefer=file)}") from error
    return module


def import_settings(name: str) -> ModuleType:
    """Import this module. An error in it becomes a ConfigError with its line."""
    add_to_path(Path.cwd())
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if is_absent(error, name):
            raise ConfigError(
                f"there is no settings file or module {name!r}",
                hint="give the path of a settings.py, or a module",
            ) from error
        raise ConfigError(f"the settings module {name!r} cannot be imported: {describe(error)}") from error


def read_config(names: Mapping[str, Any], source: str) -> tuple[dict[str, dict[str, Any]], list[Any] | None]:
    """``DB_CONFIG`` and ``MODELS`` out of a settings module's names, checked for their shape. Reports all at
    once.
    """
    if names.get("DB_CONFIG") is None:
        raise ConfigError(*_no_config(names, source))
    problems: list[str] = []
    config, models = names["DB_CONFIG"], names.get("MODELS")
    entries: dict[str, dict[str, Any]] = {}
    if not isinstance(config, Mapping):
        problems.append(f"DB_CONFIG is of the type {type(config).__name__}; give a dict of named entries")
    elif not config:
        problems.append("DB_CONFIG is empty; give it an entry, such as " + EXAMPLE)
    else:
        for name, entry in config.items():
            if not isinstance(name, str) or not name:
                problems.append(
                    f"an entry's name is of the type {type(name).__name__}; give text that is not empty"
                )
            elif not isinstance(entry, Mapping):
                problems.append(
                    f"entry {name!r} is of the type {type(entry).__name__}; give a dict, as {EXAMPLE}"
                )
            else:
                entries[name] = dict(entry)
    if models is not None and not (
        isinstance(models, (list, tuple)) and all(isinstance(each, (str, type)) for each in models)
    ):
        problems.append(
            f'MODELS is of the type {type(models).__name__}; give a list of "module" or "module:Class"'
        )
    if problems:
        raise ConfigError(f"the settings are not valid ({source})", problems=problems)
    return entries, None if models is None else list(models)


EXAMPLE = '{"default": {"ENGINE": …, "DB_NAME": …}}'


def _no_config(names: Mapping[str, Any], source: str) -> tuple[str]:
    fact = f"{source} has no DB_CONFIG"
    if "DB_CONFIG" in names:
        return (f"DB_CONFIG is None in {source}; give a dict of named entries",)
    if "DB_CONFIG" in _annotations(names):
        return (f"{fact}: you wrote `DB_CONFIG:`; use `DB_CONFIG =`",)
    upper = [name for name in names if name.isupper()]
    near = nearest("DB_CONFIG", upper, prefix="it has ").rstrip("?")
    return (
        f"{fact}; {near}"
        if near.startswith("it has")
        else f"{fact}; give it one, such as DB_CONFIG = {EXAMPLE}",
    )


def _annotations(names: Mapping[str, Any]) -> Mapping[str, Any]:
    if "__annotate__" in names and callable(
        names["__annotate__"]
    ):  # from Python 3.14 on they are made when asked for
        try:
            return dict(names["__annotate__"](1))
        except Exception:
            return {}
    return names.get("__annotations__") or {}
