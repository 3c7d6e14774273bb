"""Where settings come from. The first that is there is used, alone:

    1. an explicit argument: a path, a dotted module, a module object, or a dict that holds DB_CONFIG
    2. DBP_SETTINGS, a path or a dotted module
    3. settings.py here, or in a parent up to the project's root
    4. DATABASE_URL, or the six DB_… variables, from the environment, then from .env (searched like 3)
    5. only if the caller allows it: SQLite in app.db, with a warning

``DB_CONFIG__ENTRY__KEY`` overrides one key of any of them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import ConfigError
from .dotenv import parse_dotenv
from .entries import DEFAULT
from .environment import URL_VARIABLE, apply_overrides, entry_from_variables
from .python_file import import_settings, read_config, run_settings
from .secret import Secret, mask_url
from .trust import refuse_if_others_write

__all__ = ["SettingsFile", "SettingsWarning", "load_settings", "project_folders"]

SETTINGS_VARIABLE = "DBP_SETTINGS"
FILE_NAME = "settings.py"
ROOT_MARKS = ("pyproject.toml", "setup.cfg", ".git")
#: What a connection without any settings is.
FALLBACK = {"ENGINE": "sqlite", "DB_NAME": "app.db"}


class SettingsWarning(UserWarning):
    """The settings can be used, and are perhaps not what was meant."""


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """The settings as they were found: raw entries, which ``make_settings`` validates one by one.

    ``models`` is MODELS, ``None`` if there is none. ``source`` is for people to read, ``folder`` is where the
    settings are (for variables: where ``.env`` is, or here). ``extra`` holds a settings module's other
    upper-case names. The ``repr`` shows no value.
    """

    entries: dict[str, dict[str, Any]] = field(repr=False)
    models: list[Any] | None
    source: str
    folder: Path
    warnings: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


Source = str | os.PathLike[str] | Mapping[str, Any] | ModuleType


def load_settings(source: Source | None = None, *, fallback: bool = False) -> SettingsFile:
    """Find the settings and read them. ``fallback`` allows SQLite in ``app.db`` when there are none.

    Each of the result's ``warnings`` was also given as a SettingsWarning. Raises ConfigError.
    """
    here = Path.cwd()
    found = _named(source) or _named(os.environ.get(SETTINGS_VARIABLE) or None) or _from_file(here)
    dotenv, dotenv_folder = _dotenv(here, needed=found is None)
    notes: list[str] = []
    if found is None:
        found = _from_variables(dotenv, dotenv_folder)
    else:
        notes += _unused(found, dotenv)
    if found is None:
        if not fallback:
            raise ConfigError(*_nothing_found(here))
        notes.append(f"no settings were found; using {FALLBACK['ENGINE']} in {here / FALLBACK['DB_NAME']}")
        found = SettingsFile({DEFAULT: dict(FALLBACK)}, None, f"the default, {FALLBACK['DB_NAME']}", here)
    for note in notes:
        warnings.warn(note, SettingsWarning, stacklevel=2)
    entries = apply_overrides(found.entries, os.environ)
    return SettingsFile(entries, found.models, found.source, found.folder, tuple(notes), found.extra)


def project_folders(here: Path) -> list[Path]:
    """The folders that are searched: this one and its parents up to the project's root; without a root only
    this one.

    The root is the nearest folder that holds ``pyproject.toml``, ``setup.cfg`` or ``.git``.
    """
    folders: list[Path] = []
    for folder in (here, *here.parents):
        folders.append(folder)
        if any((folder / mark).exists() for mark in ROOT_MARKS):
            return folders
    return [here]


def _nothing_found(here: Path) -> tuple[str]:
    folders = project_folders(here)
    where = f"{here}" if len(folders) == 1 else f"{here} and its parents up to {folders[-1]}"
    tried = f"no {FILE_NAME} in {where}, and neither {SETTINGS_VARIABLE}, {URL_VARIABLE} nor DB_DRIVER is set"
    return (f"no settings were found: {tried}; make one with `dbp init`, or name one with --settings",)


def _named(source: Source | None) -> SettingsFile | None:
    if source is None:
        return None
    if isinstance(source, Mapping):
        return _from_names(source, "the settings given", Path.cwd())
    if isinstance(source, ModuleType):
        return _from_names(vars(source), source.__name__, _folder_of(source))
    text = os.fspath(source)
    path = Path(text).expanduser()
    if (path / FILE_NAME).is_file():
        path = path / FILE_NAME
    if path.is_file():
        return _from_module(path.absolute())
    if path.suffix == ".py" or os.sep in text or not all(part.isidentifier() for part in text.split(".")):
        missing = (
            f"{path} holds no {FILE_NAME}" if path.is_dir() else f"there is no settings file {mask_url(text)}"
        )
        raise ConfigError(missing, hint=f"give the path of a {FILE_NAME}, or a module")
    module = import_settings(text)
    return _from_names(vars(module), getattr(module, "__file__", None) or text, _folder_of(module))


def _folder_of(module: ModuleType) -> Path:
    file = getattr(module, "__file__", None)
    return Path(file).parent.absolute() if file else Path.cwd()


def _from_module(file: Path) -> SettingsFile:
    return _from_names(vars(run_settings(file)), str(file), file.parent)


def _from_names(names: Mapping[str, Any], source: str, folder: Path) -> SettingsFile:
    entries, models = read_config(names, source)
    extra = {
        name: value
        for name, value in names.items()
        if str(name).isupper() and name not in ("DB_CONFIG", "MODELS")
    }
    return SettingsFile(entries, models, source, folder, extra=extra)


def _search(here: Path, name: str) -> Path | None:
    return next((folder / name for folder in project_folders(here) if (folder / name).is_file()), None)


def _from_file(here: Path) -> SettingsFile | None:
    file = _search(here, FILE_NAME)
    if file is None:
        return None
    refuse_if_others_write(file)
    return _from_module(file)


def _dotenv(here: Path, *, needed: bool) -> tuple[dict[str, str], Path]:
    """The variables of ``.env`` and its folder. If it is not needed, one that cannot be read is as none."""
    file = _search(here, ".env")
    if file is None:
        return {}, here
    try:
        refuse_if_others_write(file)
        return parse_dotenv(file.read_text(encoding="utf-8")), file.parent
    except ConfigError:
        if needed:
            raise
    except (OSError, UnicodeError) as error:
        if needed:
            raise ConfigError(f"{file} cannot be read ({type(error).__name__})") from error
    return {}, here


def _from_variables(dotenv: Mapping[str, str], folder: Path) -> SettingsFile | None:
    made = entry_from_variables(os.environ, dotenv)
    if made is None:
        return None
    entry, source = made
    extra = {name: dotenv[name] for name in ("CURSOR_SECRET",) if name in dotenv}
    return SettingsFile({DEFAULT: entry}, None, source, folder, extra=extra)


def _unused(found: SettingsFile, dotenv: Mapping[str, str]) -> list[str]:
    """A note if there is a DATABASE_URL that no entry uses."""
    used = set()
    for entry in found.entries.values():
        for name in ("URL", "SQLALCHEMY_DATABASE_URL"):
            value = entry.get(name)
            used.add(
                value.reveal() if isinstance(value, Secret) else value if isinstance(value, str) else None
            )
    for variables, place in ((os.environ, "in the environment"), (dotenv, "in .env")):
        url = variables.get(URL_VARIABLE)
        if url and url not in used:
            return [f"{URL_VARIABLE} {place} is not used: the settings come from {found.source}"]
    return []
