"""Settings from variables: ``DATABASE_URL``, the six ``DB_…``, and ``DB_CONFIG__ENTRY__KEY``, which overrides
one key.

All of it is pure but for ``read_value_file``; values keep the name of their variable, so that a message can
say ``DB_PORT`` and not ``PORT``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError, nearest
from .keys import ENGINE_KEYS, Settings, keys_of
from .kinds import FromVariable, found

__all__ = ["SIX", "apply_overrides", "entry_from_variables", "read_value_file"]

URL_VARIABLE = "DATABASE_URL"
#: The six variables and the keys they stand for.
SIX = {
    "DB_DRIVER": "ENGINE",
    "DB_USERNAME": "USER",
    "DB_PASSWORD": "PASSWORD",
    "DB_HOST": "HOST",
    "DB_PORT": "PORT",
    "DB_DATABASE": "DB_NAME",
}
#: Without any of these the database is a file, and the plugin says if it needs more.
_OF_A_SERVER = ("DB_USERNAME", "DB_PASSWORD", "DB_HOST", "DB_PORT")
_OF_A_USER = ("DB_USERNAME", "DB_PASSWORD")
_OPTIONAL = ("DB_PORT",)
_PREFIX = "DB_CONFIG__"


def entry_from_variables(
    environ: Mapping[str, str], dotenv: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], str] | None:
    """The entry that the variables make, and where it is from; ``None`` if there are none.

    The environment comes before ``.env``, whose variables only complete the six. Raises ConfigError for a
    partial set.
    """
    for variables, place in ((environ, "the environment"), (dotenv or {}, ".env")):
        mark = "" if place == "the environment" else f" in {place}"
        if variables.get(URL_VARIABLE):
            return {
                "URL": FromVariable(variables[URL_VARIABLE], URL_VARIABLE + mark)
            }, f"{URL_VARIABLE} in {place}"
        if any(name in variables for name in SIX):  # an empty one too: nobody means SQLite by it
            return _entry_of_six(environ, dotenv or {}), f"DB_DRIVER, DB_DATABASE … in {place}"
    return None


def _entry_of_six(environ: Mapping[str, str], dotenv: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, FromVariable] = {}
    for name in SIX:
        if name in environ:
            values[name] = FromVariable(environ[name], name)
        elif name in dotenv:
            values[name] = FromVariable(dotenv[name], f"{name} in .env")
    filled = {name for name, value in values.items() if value}
    server = any(name in filled for name in _OF_A_SERVER)
    needed = [name for name in SIX if name not in _OPTIONAL and (server or name not in _OF_A_SERVER)]
    # An empty password is a password: servers that trust their users want none. With an empty name beside it the server knows
    # no users, as a MongoDB without access control; the plugin says if its engine cannot do without.
    without_users = all(name in values and name not in filled for name in _OF_A_USER)
    allowed = _OF_A_USER if without_users else ("DB_PASSWORD",)
    missing = [name for name in needed if name not in filled and not (name in allowed and name in values)]
    problems = [f"{name} is {'empty' if name in values else 'missing'}" for name in missing]
    problems += _port_problem(values.get("DB_PORT"), server)
    if problems:
        there = ", ".join(name for name in SIX if name in values)
        raise ConfigError(
            f"of the variables that make a connection only some are right ({there})", problems=problems
        )
    kept = filled | {"DB_PASSWORD"} if server and not without_users else filled
    return {SIX[name]: value for name, value in values.items() if name in kept}


def _port_problem(value: FromVariable | None, server: bool) -> list[str]:
    kind = keys_of(Settings)["port"].kind
    if value is None or not (value or server):
        return []
    try:
        kind.convert(value)
    except ValueError:
        return [f"{value.variable} is {found(value)}; give {kind.accepts}"]
    return []


def apply_overrides(
    entries: dict[str, dict[str, Any]], environ: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """The entries with each ``DB_CONFIG__ENTRY__KEY`` (or ``…_FILE``) in its place. Reports all problems at
    once.

    In a variable an entry's name is in upper case, with ``_`` for whatever is not a letter or digit.
    """
    overrides = {name: value for name, value in sorted(environ.items()) if name.startswith(_PREFIX)}
    if not overrides:
        return entries
    problems: list[str] = []
    merged = {name: dict(entry) for name, entry in entries.items()}
    given: dict[tuple[str, str], str] = {}
    for variable, value in overrides.items():
        target, _, key = variable.removeprefix(_PREFIX).rpartition("__")
        names = [name for name in entries if _in_a_variable(name) == target.upper()]
        if len(names) != 1 or not key:
            problems.append(_no_such_entry(variable, target, names, entries))
            continue
        spelling, content = _resolve(key, FromVariable(value, variable), problems)
        earlier = given.setdefault((names[0], _SPELLINGS.get(spelling, (spelling,))[0]), variable)
        if earlier != variable:
            problems.append(f"{earlier} and {variable} both set {spelling} of entry {names[0]!r}; keep one")
        entry = merged[names[0]]
        for other in _SPELLINGS.get(spelling, ()):
            entry.pop(other, None)
        entry[spelling] = content
    if problems:
        raise ConfigError("variables that override settings are not valid", problems=problems)
    return merged


#: All spellings of each of the core's keys, by each spelling.
_SPELLINGS = {
    spelling: key.names
    for key in (*ENGINE_KEYS.values(), *keys_of(Settings).values())
    for spelling in key.names
}


def _in_a_variable(name: str) -> str:
    return re.sub(r"\W", "_", name, flags=re.ASCII).upper()


def _resolve(key: str, value: FromVariable, problems: list[str]) -> tuple[str, FromVariable]:
    """A ``…_FILE`` of a core key is read here, that of a plugin's key when the plugin is known."""
    stem = key.removesuffix("_FILE")
    return (stem, read_value_file(value, problems)) if stem != key and stem in _SPELLINGS else (key, value)


def _no_such_entry(variable: str, target: str, names: list[str], entries: Mapping[str, Any]) -> str:
    if len(names) > 1:
        return f"{variable} may mean any of the entries {', '.join(map(repr, names))}; rename one"
    if not target:
        return f"{variable} is not {_PREFIX}ENTRY__KEY"
    known = {_in_a_variable(name) for name in entries}
    return f"{variable} overrides the entry {target!r}, which is not there; {nearest(target, sorted(known))}"


def read_value_file(value: FromVariable, problems: list[str]) -> FromVariable:
    """What the file holds that ``…_FILE`` names, without the line end at its end."""
    try:
        content = Path(value).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeError, ValueError) as error:
        problems.append(f"{value.variable} names a file that cannot be read ({type(error).__name__})")
        content = ""
    return FromVariable(content, value.variable)
