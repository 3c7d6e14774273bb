"""What ``connect`` is given, made into Settings and a way to load the models."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import ConfigError
from .entries import DEFAULT, choose_entry, entry_from_url, make_settings
from .keys import Settings
from .models import default_models, load_models, model_names
from .secret import Secret
from .sources import Source, load_settings

__all__ = ["resolve"]

#: The variable, and the settings module's name, of the key that signs cursors.
SIGNING = "CURSOR_SECRET"
ModelLoader = Callable[[], Sequence[type]]


def resolve(
    target: str | Mapping[str, Any] | None = None,
    *,
    models: Sequence[Any] | None = None,
    settings: Source | None = None,
) -> tuple[Settings, ModelLoader]:
    """The settings of an entry's name, a URL, an entry as a dict, or the default entry; and what loads its
    models.

    Only the default entry may fall back to SQLite in ``app.db``. The loader imports the models when it is
    first called: ``models``, else MODELS of the entry, of ``settings`` or of the settings that were found,
    else the module ``models`` here. Raises ConfigError and PluginError.
    """
    if isinstance(target, Mapping) or (isinstance(target, str) and "://" in target):
        return _given(target, models, settings)
    if target is not None and not isinstance(target, str):
        raise ConfigError(
            f"connect was given the type {type(target).__name__}",
            hint="give an entry's name, a URL, or a dict like an entry",
        )
    file = load_settings(settings, fallback=target is None)
    name, entry = choose_entry(file, target)
    chosen = replace(make_settings(name, entry, source=file.source), home=file.folder)
    chosen = _with_secret(chosen, file.extra)
    return chosen, _loader(models, lambda: model_names(file, chosen))


def _given(
    target: str | Mapping[str, Any], models: Sequence[Any] | None, source: Source | None
) -> tuple[Settings, ModelLoader]:
    if isinstance(target, Mapping) and "DB_CONFIG" in target:
        raise ConfigError(
            "connect was given a dict that holds DB_CONFIG, and takes one entry",
            hint="connect(name, settings={…})",
        )
    entry = entry_from_url(target) if isinstance(target, str) else target
    chosen = _with_secret(make_settings(DEFAULT, entry, source="what connect was given"), {})

    def names() -> tuple[list[Any], str]:
        if chosen.models is not None:
            return list(chosen.models), "MODELS of the entry"
        return model_names(load_settings(source)) if source is not None else default_models()

    return chosen, _loader(models, names)


def _with_secret(settings: Settings, extra: Mapping[str, Any]) -> Settings:
    """The settings with CURSOR_SECRET, of the environment or else of the settings module."""
    value = os.environ.get(SIGNING) or extra.get(SIGNING)
    if isinstance(value, Secret):
        value = value.reveal()
    if value is None or value == "":
        return settings
    if not isinstance(value, str):
        raise ConfigError(
            f"{SIGNING} is of the type {type(value).__name__}",
            hint="give a text that nobody can guess, as secrets.token_urlsafe() makes",
        )
    return replace(settings, cursor_secret=Secret(value))


def _loader(models: Sequence[Any] | None, names: Callable[[], tuple[list[Any], str]]) -> ModelLoader:
    loaded: list[type] = []

    def load() -> Sequence[type]:
        if not loaded:
            loaded.extend(load_models(*((list(models), "models") if models is not None else names())))
        return loaded

    return load
