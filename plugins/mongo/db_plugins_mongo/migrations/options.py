"""What a model says for MongoDB alone, in the ``info`` of its table and indexes, checked by name.

sa.Index("ix_seen", "seen", info={"mongodb": {"expireAfterSeconds": 3600}})
__table_args__ = {"info": {"mongodb": {"indexes": [{"keys": [["position", "2dsphere"]], "name": "ix_position"}]}}}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from db_plugins.errors import ConfigError, nearest

__all__ = ["INDEX_OPTIONS", "extra_indexes", "extra_validator", "index_options"]

_NUMBER = (int, float)
_NAMES = (str,)
_DOCUMENT = (Mapping,)

#: The options of createIndex that a model may give, and what each takes.
INDEX_OPTIONS: dict[str, tuple[type, ...]] = {
    "bits": (int,),
    "collation": _DOCUMENT,
    "default_language": _NAMES,
    "expireAfterSeconds": _NUMBER,
    "hidden": (bool,),
    "language_override": _NAMES,
    "max": _NUMBER,
    "min": _NUMBER,
    "partialFilterExpression": _DOCUMENT,
    "sparse": (bool,),
    "storageEngine": _DOCUMENT,
    "unique": (bool,),
    "weights": _DOCUMENT,
    "wildcardProjection": _DOCUMENT,
}
#: Of a table: ``shard_key`` is noted for the reader, for sharding a collection is the administrator's.
_TABLE_OPTIONS: dict[str, tuple[type, ...]] = {
    "indexes": (list, tuple),
    "shard_key": (Mapping, list, tuple, str),
    "validator": (bool, Mapping),
}
_DIRECTIONS = (1, -1, "2d", "2dsphere", "hashed", "text")


def index_options(model: str, index: sa.Index) -> dict[str, Any]:
    """The options for MongoDB of one index of a model."""
    given = _given(index.info, f"{model}: the index {index.name!s}")
    _check(given, INDEX_OPTIONS, f"{model}: the index {index.name!s}")
    return given


def extra_indexes(model: str, table: sa.Table) -> Iterator[tuple[str, list[tuple[str, Any]], dict[str, Any]]]:
    """Name, keys and options of each index that only MongoDB has."""
    for item in _of_table(model, table).get("indexes", ()):
        where = f"{model}: an index of its info"
        if not isinstance(item, Mapping) or not item.get("name") or not item.get("keys"):
            raise ConfigError(
                f"{where} has no name or no keys",
                hint='write {"name": "ix_position", "keys": [["position", "2dsphere"]]}',
            )
        options = {k: v for k, v in item.items() if k not in ("name", "keys")}
        where = f"{model}: the index {item['name']}"
        _check(options, INDEX_OPTIONS, where)
        keys = []
        for pair in item["keys"]:
            if isinstance(pair, str) or len(pair) != 2 or pair[1] not in _DIRECTIONS:
                raise ConfigError(
                    f"{where} has a key that is no pair of a field and a direction",
                    hint="the directions are 1, -1, '2dsphere', '2d', 'text' and 'hashed'",
                )
            keys.append((str(pair[0]), pair[1]))
        yield str(item["name"]), keys, options


def extra_validator(model: str, table: sa.Table) -> bool | Mapping[str, Any]:
    """``False`` for no validator, a document that stands beside ours, or ``True``."""
    found: bool | Mapping[str, Any] = _of_table(model, table).get("validator", True)
    return found


def _of_table(model: str, table: sa.Table) -> dict[str, Any]:
    given = _given(table.info, f"{model}: its info")
    _check(given, _TABLE_OPTIONS, f"{model}: its info")
    return given


def _given(info: Mapping[Any, Any], where: str) -> dict[str, Any]:
    given = info.get("mongodb", {})
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} has under 'mongodb' no dict", hint='write info={"mongodb": {…}}')
    return dict(given)


def _check(given: Mapping[str, Any], known: Mapping[str, tuple[type, ...]], where: str) -> None:
    for key, value in given.items():
        if key not in known:
            raise ConfigError(
                f"{where} has an option that MongoDB does not know, {key!r}", hint=nearest(key, known)
            )
        # True is an int to Python, and no number of seconds.
        if not isinstance(value, known[key]) or (isinstance(value, bool) and bool not in known[key]):
            expected = " or ".join("a document" if t is Mapping else t.__name__ for t in known[key])
            raise ConfigError(f"{where}: {key} takes {expected}, not a value of type {type(value).__name__}")
