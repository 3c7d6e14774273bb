"""The models that settings name: ``"module"`` gives every mapped class in it, ``"module:Class"`` that one."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import ConfigError, nearest
from .advice import advice
from .failure import describe, is_absent
from .keys import Settings
from .python_file import add_to_path
from .sources import SettingsFile
from .trust import refuse_if_others_write
from .twice import told_twice

__all__ = ["default_models", "load_models", "model_names"]

DEFAULT_MODULE = "models"


def model_names(file: SettingsFile, settings: Settings | None = None) -> tuple[list[Any], str]:
    """What to load, and which setting says so: the entry's MODELS, else the file's, else the module
    ``models`` here.

    An empty list if there is none of these. Imports nothing.
    """
    if settings is not None and settings.models is not None:
        return list(settings.models), f"MODELS of entry {settings.name!r}"
    if file.models is not None:
        return list(file.models), f"MODELS of {file.source}"
    return default_models()


def default_models() -> tuple[list[Any], str]:
    """The module ``models`` in the current folder, if there is one that no other user may write."""
    here = Path.cwd()
    for candidate in (here / f"{DEFAULT_MODULE}.py", here / DEFAULT_MODULE / "__init__.py"):
        if candidate.is_file():
            refuse_if_others_write(candidate)
            add_to_path(here)
            return [DEFAULT_MODULE], f"the module {DEFAULT_MODULE} in {here}"
    return [], "no MODELS"


def load_models(models: Sequence[str | type], where: str = "MODELS") -> list[type]:
    """Import what is named and return its mapped classes, each once, in the order of their definition.

    ``"module"`` gives every mapped class that is an attribute of the module, its own or imported, and of the
    package's submodules that it imports. Raises ConfigError, which names ``where`` and the file and line of a
    failing import.
    """
    found: dict[type, None] = {}
    for each in models:
        classes = [_mapped(each, where)] if isinstance(each, type) else _named(each, where)
        found.update(dict.fromkeys(classes))
    return list(found)


def _named(name: str, where: str) -> list[type]:
    module_name, colon, class_name = name.partition(":")
    module = _import(module_name.strip(), where)
    if colon:
        return [_attribute(module, class_name.strip(), where)]
    classes = list(_classes(module, set()))
    mapped = [each for each in classes if is_mapped(each)]
    if not mapped:
        raise ConfigError(
            f"{where}: the module {module_name!r} has no mapped class", hint=_why_none(module, classes)
        )
    return mapped


def _import(name: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if is_absent(error, name):
            raise ConfigError(
                f"{where} names the module {name!r}, and there is no module {getattr(error, 'name', name)!r}",
                hint="modules are looked for beside settings.py and on sys.path",
            ) from error
        twice, hint = told_twice(error), advice(error)
        told = twice or describe(error).removesuffix(
            f"; {hint}"
        )  # of an error of ours it is at the end already
        if twice:
            hint = "keep one of the two, or give one another __tablename__"
        raise ConfigError(
            f"{where} names the module {name!r}, which cannot be imported: {told}", hint=hint
        ) from error


def _attribute(module: ModuleType, name: str, where: str) -> type:
    if not hasattr(module, name):
        classes = [each.__name__ for each in _classes(module, set()) if is_mapped(each)]
        raise ConfigError(
            f"{where}: the module {module.__name__!r} has no {name!r}", hint=nearest(name, classes)
        )
    return _mapped(getattr(module, name), where)


def _mapped(candidate: Any, where: str) -> type:
    if isinstance(candidate, type) and is_mapped(candidate):
        return candidate
    name = getattr(candidate, "__name__", type(candidate).__name__)
    raise ConfigError(f"{where}: {name} is not a mapped class", hint=_why_not_mapped(candidate))


def _classes(module: ModuleType, seen: set[str]) -> Iterator[type]:
    seen.add(module.__name__)
    for each in list(vars(module).values()):
        if isinstance(each, type):
            yield each
        elif (
            isinstance(each, ModuleType)
            and each.__name__.startswith(module.__name__ + ".")
            and each.__name__ not in seen
        ):
            yield from _classes(each, seen)


def is_mapped(candidate: type) -> bool:
    """Is this class mapped by SQLAlchemy? SQLModel classes are with ``table=True``."""
    from sqlalchemy import inspect

    return inspect(candidate, raiseerr=False) is not None


def _why_not_mapped(candidate: Any) -> str:
    from ..models.describe import why_not_mapped  # settings are read without SQLAlchemy

    return why_not_mapped(candidate) if isinstance(candidate, type) else "name a class"


def _why_none(module: ModuleType, classes: Sequence[type]) -> str:
    for each in classes:
        if each.__module__ == module.__name__ and _why_not_mapped(each).startswith("add table=True"):
            return f"{each.__name__} is one without a table; {_why_not_mapped(each)}"
    return "name the module that defines the models"
