"""From a raw entry to Settings: which entry, which plugin answers, and every problem of it at once.

choose_entry(file, name)     by name; without one "default", or the only entry
make_settings(name, entry)   picks and loads this entry's plugin alone, and validates with its settings class
own_models(name, entry)      its MODELS, without a plugin
entry_from_url(url)          the entry that a URL stands for
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import registry
from ..errors import ConfigError, EngineNotFoundError, nearest
from ..registry import PluginEntry
from .environment import SIX, read_value_file
from .keys import ENGINE_KEYS, Given, Key, Settings, keys_of
from .kinds import FromVariable, found
from .secret import Secret, mask_url

if TYPE_CHECKING:
    from .sources import SettingsFile

__all__ = ["choose_entry", "entry_from_url", "make_settings", "own_models", "unknown_engine"]

log = logging.getLogger("db_plugins")

DEFAULT = "default"
_LOCAL = ("localhost", "127.", "::1", "/", "[::1]")


def choose_entry(file: SettingsFile, name: str | None = None) -> tuple[str, dict[str, Any]]:
    """The entry of this name (its case matters only between two that differ in nothing else), with its name.

    Without a name: the entry ``default``, or the only one. Raises ConfigError, which names the entries there
    are.
    """
    entries = file.entries
    if name is None and len(entries) == 1:
        return next(iter(entries.items()))
    wanted = DEFAULT if name is None else name
    if wanted in entries:
        return wanted, entries[wanted]
    alike = [each for each in entries if each.casefold() == wanted.casefold()]
    if len(alike) == 1:
        return alike[0], entries[alike[0]]
    names = ", ".join(repr(each) for each in entries)
    if name is None:
        raise ConfigError(
            f"{file.source} has several entries and none is called {DEFAULT!r}", hint=f"name one of {names}"
        )
    raise ConfigError(
        f"{file.source} has no entry {mask_url(wanted)!r}",
        hint=nearest(wanted, entries) if len(entries) > 1 else f"its only entry is {names}",
    )


def entry_from_url(url: str) -> dict[str, Any]:
    """The entry that a URL stands for.

    >>> entry_from_url("sqlite:///stars.db")
    {'URL': 'sqlite:///stars.db'}
    """
    if "://" not in url:
        raise ConfigError("this is not a URL: it has no scheme, as in scheme://host/database")
    return {"URL": url}


def make_settings(name: str, entry: Mapping[str, Any], *, source: str = "DB_CONFIG") -> Settings:
    """Validate an entry with the settings class of its plugin. Loads that plugin alone.

    Raises ConfigError with all problems at once, and EngineNotFoundError, PluginLoadError or
    PluginConflictError if there is no plugin to ask. ``source`` is where the entry is from, for messages.
    """
    if not isinstance(entry, Mapping):
        raise ConfigError(
            f"entry {name!r} of {source} is {found(entry, shown=False)}", hint="give a dict of keys"
        )
    plugin = _choose_plugin(name, entry)
    settings_class = registry.load_engine(plugin.name).settings_class
    reading = _Reading(name, keys_of(settings_class))
    reading.read(entry)
    engine, driver = _engine_and_driver(name, entry)
    given = Given(
        name=name,
        plugin=plugin.name,
        engine=engine,
        driver=driver,
        values=reading.values,
        attributes=frozenset(reading.labels_given),
        labels={**reading.labels(entry), **reading.labels_given},
    )
    reading.problems.extend(settings_class.check(given))
    if reading.problems:
        problems = [f"entry {name!r}: {problem}" for problem in reading.problems]
        raise ConfigError(f"the settings are not valid ({source})", problems=problems)
    settings = settings_class(name=name, plugin=plugin.name, engine=engine, driver=driver, **reading.values)
    _warn_if_in_the_clear(settings)
    return settings


def own_models(name: str, entry: Mapping[str, Any], *, source: str = "DB_CONFIG") -> tuple[Any, ...] | None:
    """MODELS of an entry, ``None`` if it has none of its own. Loads no plugin, and looks at no other key.

    Raises ConfigError if that is no list of models.
    """
    reading = _Reading(name, keys_of(Settings))
    reading.read({each: entry[each] for each in ("MODELS", "MODELS_FILE") if each in entry})
    if reading.problems:
        problems = [f"entry {name!r}: {problem}" for problem in reading.problems]
        raise ConfigError(f"the settings are not valid ({source})", problems=problems)
    return reading.values.get("models")


def unknown_engine(given: Given) -> str:
    """The problem of an ENGINE that the plugin does not know, with the nearest name that an installed plugin
    has.
    """
    known = [known for known in registry.known_names() if known.casefold() != given.plugin.casefold()]
    label = given.labels.get("engine", "ENGINE")
    return f"{label} {mask_url(given.engine)!r} is unknown; {nearest(given.engine, known)}"


def _text_of(entry: Mapping[str, Any], *names: str) -> str | None:
    """The first of these keys that holds text. What holds something else is reported by the validation."""
    for name in names:
        value = entry.get(name)
        if isinstance(value, Secret) and "URL" in name:
            value = value.reveal()
        scheme = getattr(value, "drivername", None)  # of SQLAlchemy's URL
        value = f"{scheme}://" if isinstance(scheme, str) else value
        if isinstance(value, str) and value:
            return str(value)
    return None


def _words(entry: Mapping[str, Any]) -> Iterator[str]:
    """What the entry says about its engine, as ``engine`` or ``engine+driver``: ENGINE, then the scheme of
    URL.
    """
    engine, url = _text_of(entry, "ENGINE"), _text_of(entry, "URL", "SQLALCHEMY_DATABASE_URL")
    if engine is not None:
        yield engine.partition("://")[0].strip().lower()  # with a URL in ENGINE the validation finds fault
    if url is not None and "://" in url:
        yield url.partition("://")[0].lower()


def _choose_plugin(name: str, entry: Mapping[str, Any]) -> PluginEntry:
    plugin = _text_of(entry, "PLUGIN")
    if plugin is not None:
        answering = registry.find(plugin)
        if answering is None:
            raise registry.not_found(mask_url(plugin), where=f"entry {name!r}, PLUGIN: ")
        return answering
    words = [word.partition("+")[0] for word in _words(entry)]
    for word in (*words, name):
        answering = registry.find(word)
        if answering is not None:
            return answering
    raise _nobody_answers(name, entry, words)


def _nobody_answers(
    name: str, entry: Mapping[str, Any], words: list[str]
) -> ConfigError | EngineNotFoundError:
    if words:
        return registry.not_found(words[0], where=f"entry {name!r}: ")
    if any(entry.get(each) is not None for each in ("ENGINE", "URL", "SQLALCHEMY_DATABASE_URL")):
        reading = _Reading(name, keys_of(Settings))
        reading.read({each: value for each, value in entry.items() if each in reading.spellings})
        problems = [f"entry {name!r}: {problem}" for problem in reading.problems]
        return ConfigError("the settings do not say which engine", problems=problems)
    return registry.not_found(name, where=f"entry {name!r} has neither PLUGIN, ENGINE nor URL, and ")


def _engine_and_driver(name: str, entry: Mapping[str, Any]) -> tuple[str, str | None]:
    parts = [word.partition("+") for word in _words(entry)]
    drivers = [driver for _, _, driver in parts if driver]
    fallback = _text_of(entry, "PLUGIN") or name
    return (parts[0][0] if parts else fallback.lower()), (drivers[0] if drivers else None)


@dataclass(slots=True)
class _Reading:
    """One pass over an entry: what converts goes into ``values``, what does not into ``problems``."""

    name: str
    keys: dict[str, Key]
    values: dict[str, Any] = field(default_factory=dict, repr=False)
    problems: list[str] = field(default_factory=list)
    labels_given: dict[str, str] = field(default_factory=dict)

    @property
    def spellings(self) -> dict[str, Key]:
        """Every spelling of every key."""
        known = (*ENGINE_KEYS.values(), *self.keys.values())
        return {spelling: each for each in known for spelling in each.names}

    def labels(self, entry: Mapping[str, Any]) -> dict[str, str]:
        """How messages name each key: as the variable, if the six variables made this entry."""
        engine = entry.get("ENGINE")
        six = isinstance(engine, FromVariable) and engine.variable.startswith("DB_DRIVER")
        variables = {key: variable for variable, key in SIX.items()} if six else {}
        return {each.attribute: variables.get(each.name, each.name) for each in self.spellings.values()}

    def read(self, entry: Mapping[str, Any]) -> None:
        """Convert every key of the entry."""
        spellings = self.spellings
        for name, (key, value) in self._by_key(entry, spellings).items():
            label = value.variable if isinstance(value, FromVariable) else name
            self.labels_given[key.attribute] = label
            try:
                converted = key.kind.convert(value)
            except (ValueError, TypeError, OverflowError):
                what = found(value, shown=key.kind.shown)
                self.problems.append(f"{_with_key(label, key)} is {what}; give {key.kind.accepts}")
                continue
            if key.attribute in self.keys:
                self.values[key.attribute] = converted

    def _by_key(self, entry: Mapping[str, Any], spellings: dict[str, Key]) -> dict[str, tuple[Key, Any]]:
        """The keys that were given, by spelling, with one spelling for each; ``None`` counts as left out."""
        chosen: dict[str, tuple[str, Any]] = {}
        for name, value in entry.items():
            if value is None:
                continue
            if isinstance(value, FromVariable) and name not in spellings and name.endswith("_FILE"):
                name, value = self._from_file(name, value, spellings)
            if name not in spellings:
                self.problems.append(_unknown(name, spellings))
                continue
            key = spellings[name].name
            other, earlier = chosen.get(key, (name, value))
            if isinstance(earlier, FromVariable) and not isinstance(value, FromVariable):
                continue  # a variable overrides the other spelling
            if other != name and not isinstance(value, FromVariable) and earlier != value:
                self.problems.append(f"{other} and {name} are two spellings of one key and differ; keep one")
                continue
            chosen[key] = (name, value)
        return {name: (spellings[name], value) for name, value in chosen.values()}

    def _from_file(self, name: str, value: FromVariable, spellings: dict[str, Key]) -> tuple[str, Any]:
        stem = name.removesuffix("_FILE")
        if stem not in spellings:
            return name, value
        content = read_value_file(value, self.problems)
        return stem, content


def _with_key(label: str, key: Key) -> str:
    """``PORT``, ``DB_PORT``, ``DB_DRIVER (ENGINE)``."""
    return label if label.partition(" ")[0].endswith(key.names) else f"{label} ({key.name})"


def _unknown(name: object, spellings: Mapping[str, Key]) -> str:
    if not isinstance(name, str):
        return f"a key is {found(name, shown=False)}; keys are text, in upper case"
    if name.upper() in spellings:
        return f"{name} is unknown; keys are in upper case: {name.upper()}"
    return f"{mask_url(name)} is unknown; {nearest(name, spellings)}"


_warned: set[tuple[str, str]] = set()


def _warn_if_in_the_clear(settings: Settings) -> None:
    host = settings.host
    if (
        host is None
        or settings.tls is not None
        or host.startswith(_LOCAL)
        or (settings.name, host) in _warned
    ):
        return
    _warned.add((settings.name, host))
    log.warning(
        "entry %r: the connection to %s may not be encrypted; set TLS to 'require' or 'verify', or to 'off' "
        "if that is meant",
        settings.name,
        host,
    )
