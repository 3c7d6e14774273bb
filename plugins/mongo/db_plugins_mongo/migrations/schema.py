"""What models need of a database: collections, each with its indexes and its validator. Pure.

A table's model may be a family of classes (single-table inheritance): its collection has the columns of all of them, and
requires those of the base.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from pymongo import IndexModel

from db_plugins.models import Field, ModelInfo, describe
from db_plugins.models.links import link_model

from ..codec import path_of
from ..storage import indexes_of, link_index
from .options import INDEX_OPTIONS, extra_validator
from .validators import merged, schema_of

__all__ = ["Collection", "Index", "collection_of", "collections_of", "link_collection"]

#: What the server adds to a text index by itself.
_TEXT_DEFAULTS = {"default_language": "english", "language_override": "language"}


@dataclass(frozen=True)
class Index:
    """An index, as it is asked for or as the server tells it: two that are equal do the same."""

    name: str
    keys: tuple[tuple[str, Any], ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Index:
        """From an IndexModel's document, or one of listIndexes."""
        options = {
            k: v for k, v in document.items() if k in INDEX_OPTIONS and v is not False and v is not None
        }
        keys = [(str(name), direction) for name, direction in dict(document["key"]).items()]
        if weights := options.get("weights"):
            # The server tells a text index as {_fts: "text", _ftsx: 1} and its fields as weights.
            given = {name for name, direction in keys if direction == "text" and name != "_fts"}
            keys = [k for k in keys if k[0] not in {*given, "_fts", "_ftsx"}]
            keys += [(name, "text") for name in sorted({*weights, *given})]
            options["weights"] = {n: w for n, w in weights.items() if w != 1}
            if not options["weights"]:
                del options["weights"]
        options = {k: v for k, v in options.items() if _TEXT_DEFAULTS.get(k) != v}
        return cls(str(document["name"]), tuple(keys), options)

    def does_as(self, other: Index) -> bool:
        """Do both keep the same, whatever their names? Of a collation only what both say counts: servers fill it up."""
        mine, yours = dict(self.options), dict(other.options)
        a, b = mine.pop("collation", None), yours.pop("collation", None)
        if (a is None) != (b is None) or (a and b and any(b[k] != v for k, v in a.items() if k in b)):
            return False
        return self._sorted_keys() == other._sorted_keys() and mine == yours

    def _sorted_keys(self) -> list[tuple[str, Any]]:
        plain = [k for k in self.keys if k[1] != "text"]
        return plain + sorted(k for k in self.keys if k[1] == "text")

    def document(self) -> dict[str, Any]:
        """As ``op.create_collection`` takes it, and createIndexes but for the keys."""
        return {"name": self.name, "keys": [list(k) for k in self.keys], **self.options}

    def model(self) -> IndexModel:
        """As PyMongo takes it."""
        return IndexModel(list(self.keys), name=self.name, **self.options)

    @property
    def paths(self) -> set[str]:
        """The fields it is about."""
        return {name for name, _ in self.keys} | set(self.options.get("partialFilterExpression", ()))


@dataclass(frozen=True)
class Collection:
    """A collection: as models want it, or as it is on the server."""

    name: str
    indexes: Mapping[str, Index] = field(default_factory=dict)
    validator: Mapping[str, Any] | None = None
    #: The columns by their paths; empty for what was read from a server.
    fields: Mapping[str, Field] = field(default_factory=dict)


def collections_of(models: Iterable[ModelInfo], links: Iterable[sa.Table]) -> dict[str, Collection]:
    """By name."""
    made = [collection_of(info) for info in models] + [link_collection(table) for table in links]
    return {one.name: one for one in made}


def collection_of(info: ModelInfo) -> Collection:
    """The collection that this model and the others of its table need."""
    base = describe(info.mapper.base_mapper.class_)
    family = [describe(mapper.class_) for mapper in base.mapper.self_and_descendants]
    fields: dict[str, Field] = {}
    indexes: dict[str, Index] = {}
    for member in family:
        for column in member.fields:
            fields.setdefault(path_of(member, column), column)
        for model in indexes_of(member):
            indexes.setdefault(model.document["name"], Index.of(model.document))
    validator = _validator(base, fields.values(), base.fields)
    return Collection(info.store, indexes, validator, fields)


def link_collection(table: sa.Table) -> Collection:
    """The collection of an association table."""
    info = describe(link_model(table))
    indexes = [Index.of(model.document) for model in link_index(table)]
    validator = _validator(info, info.fields, info.fields)
    return Collection(
        table.name, {i.name: i for i in indexes}, validator, {path_of(info, f): f for f in info.fields}
    )


def _validator(
    info: ModelInfo, fields: Iterable[Field], required: Sequence[Field]
) -> Mapping[str, Any] | None:
    theirs = extra_validator(info.name, info.table)
    if theirs is False:
        return None
    return merged(schema_of(info, fields, required), {} if theirs is True else theirs)
