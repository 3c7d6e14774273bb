"""Where settings come from, and how entries of ``DB_CONFIG`` become validated settings.

    load_settings(source)        the raw entries, from a file, variables or a dict          sources.py
    choose_entry(file, name)     one of them                                                entries.py
    make_settings(name, entry)   its Settings, or one ConfigError with every problem        entries.py
    own_models(name, entry)      its MODELS, without a plugin                               entries.py
    resolve(target)              all of it, for connect                                     resolve.py
    load_models(models)          the mapped classes that MODELS names                       models.py
    Settings, key, kinds         the key table, which an engine plugin extends              keys.py, kinds.py
    Secret, mask_url             what must not be shown                                     secret.py

Importing this imports no engine and neither SQLAlchemy nor pluggy.
"""

from . import kinds
from .entries import choose_entry, entry_from_url, make_settings, own_models, unknown_engine
from .keys import Given, Key, Settings, key, keys_of
from .kinds import Kind, flag, mapping, one_of, path, port, seconds, secret, text, texts, url, whole
from .models import load_models, model_names
from .resolve import resolve
from .secret import Secret, mask_url
from .sources import SettingsFile, SettingsWarning, load_settings, project_folders

__all__ = [
    "Given",
    "Key",
    "Kind",
    "Secret",
    "Settings",
    "SettingsFile",
    "SettingsWarning",
    "choose_entry",
    "entry_from_url",
    "flag",
    "key",
    "keys_of",
    "kinds",
    "load_models",
    "load_settings",
    "make_settings",
    "mapping",
    "mask_url",
    "model_names",
    "one_of",
    "own_models",
    "path",
    "port",
    "project_folders",
    "resolve",
    "seconds",
    "secret",
    "text",
    "texts",
    "unknown_engine",
    "url",
    "whole",
]
