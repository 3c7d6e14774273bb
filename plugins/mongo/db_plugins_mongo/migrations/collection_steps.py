"""Operations about collections, their validators and their indexes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import bson
from pymongo import ReturnDocument
from pymongo import errors as driver

from db_plugins.errors import DestructiveChangeError, MigrationError

from ..numbering import COUNTERS
from ..storage import NAMESPACE_EXISTS, existing_collections
from .journal import MIGRATIONS
from .rendering import shell
from .schema import Index
from .steps import ALLOW_DROP, CheckingOperation, Operation, Preview, again
from .validators import properties_of, required_of

__all__ = [
    "CreateCollection",
    "CreateIndex",
    "DropCollection",
    "DropIndex",
    "RenameCollection",
    "SetValidator",
]

_NAMESPACE_NOT_FOUND = 26
_INDEX_NOT_FOUND = 27
_DUPLICATE_KEY = 11000
_SHOWN_DUPLICATES = 5


# -- collections ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CreateCollection(Operation):
    name: str
    indexes: tuple[Index, ...] = ()
    validator: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        options = f", {shell({'validator': self.validator})}" if self.validator else ""
        lines = [f'db.createCollection("{self.name}"{options})']
        return "\n".join([*lines, *(CreateIndex(self.name, each).text for each in self.indexes)])

    def refuse(self, preview: Preview) -> bool:
        answers = [CreateIndex(self.name, each).refuse(preview) for each in self.indexes]
        return all([self._fits(preview), *answers])

    def _fits(self, preview: Preview) -> bool:
        """Do the documents of a collection that is there fit the validator? As ``refuse``."""
        there, fields = preview.collection(self.name), properties_of(self.validator)
        if there is None or self.validator is None:
            return True
        if not preview.knows(self.name, *fields) or any(preview.path(self.name, n) != n for n in fields):
            return False
        SetValidator(self.name, self.validator).refuse(preview)
        if not (strays := there.count_documents({"$nor": [self.validator]})):
            return True
        counts = {name: there.count_documents(_breaking(self.validator, name)) for name in fields}
        shown = ", ".join(f"{name} ({n})" for name, n in counts.items() if n) or "a rule about several fields"
        raise MigrationError(
            f"{self.name}: {strays} of the documents that are there do not fit its validator: {shown}",
            hint="correct them, or let the model allow what they hold, then run it again",
        )

    def foresee(self, preview: Preview) -> None:
        preview.made(self.name)

    def send(self, database: Any) -> None:
        SetValidator(self.name, self.validator).send(database)
        there = [Index.of(each) for each in database[self.name].list_indexes()]
        for each in self.indexes:
            # MongoDB refuses a second index that does the same under another name.
            if not any(each.does_as(other) for other in there):
                CreateIndex(self.name, each).send(database)


def _breaking(validator: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Finds the documents that break the rules about this one field."""
    required = {"required": [name]} if name in required_of(validator) else {}
    return {"$nor": [{"$jsonSchema": {**required, "properties": {name: properties_of(validator)[name]}}}]}


@dataclass(frozen=True)
class DropCollection(Operation):
    name: str

    @property
    def text(self) -> str:
        return f"db.{self.name}.drop()"

    def refuse(self, preview: Preview) -> bool:
        there = preview.collection(self.name)
        if there is not None and not preview.allow_drop and there.find_one({}, {"_id": 1}) is not None:
            raise DestructiveChangeError(
                f"the collection {self.name}, which is to be dropped, holds documents", hint=ALLOW_DROP
            )
        return True

    def foresee(self, preview: Preview) -> None:
        preview.dropped(self.name)

    def send(self, database: Any) -> None:
        database.drop_collection(self.name)
        database[COUNTERS].delete_one({"_id": self.name})


@dataclass(frozen=True)
class RenameCollection(Operation):
    old: str
    new: str

    @property
    def text(self) -> str:
        return f'db.{self.old}.renameCollection("{self.new}")'

    def refuse(self, preview: Preview) -> bool:
        if preview.collection(self.old) is not None and preview.collection(self.new) is not None:
            raise MigrationError(
                f"the collection {self.old} cannot become {self.new}: both are there",
                hint=f"move the documents of {self.new} away, and drop it",
            )
        return True

    def foresee(self, preview: Preview) -> None:
        preview.renamed(self.old, self.new)

    def send(self, database: Any) -> None:
        # Its numbers go with it: none is given twice, though rows have been deleted.
        counters = database[COUNTERS]
        counter = counters.find_one({"_id": self.old})
        if counter is not None:
            again(
                lambda: counters.find_one_and_update(
                    {"_id": self.new},
                    {"$max": {"last": counter["last"]}},
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
            )
        self._rename(database)
        counters.delete_one({"_id": self.old})

    def _rename(self, database: Any) -> None:
        """MongoDB takes the validator along; a server of its protocol has been seen to lose it, so it is kept meanwhile."""
        kept, key = database[MIGRATIONS], {"_id": f"renamed:{self.old}:{self.new}"}
        if self.old in existing_collections(database):
            kept.replace_one(
                key, {**key, "validator": bson.encode(_validator_of(database, self.old))}, upsert=True
            )
            database[self.old].rename(self.new)
        if (found := kept.find_one(key)) is not None:
            validator = bson.decode(found["validator"])
            if _validator_of(database, self.new) != validator:
                SetValidator(self.new, validator).send(database)
            kept.delete_one(key)


def _validator_of(database: Any, name: str) -> dict[str, Any]:
    found = database.list_collections(filter={"name": name}).to_list()
    return dict(found[0].get("options", {}).get("validator") or {}) if found else {}


@dataclass(frozen=True)
class SetValidator(Operation):
    collection: str
    validator: Mapping[str, Any] | None
    is_atomic: ClassVar[bool] = True

    @property
    def text(self) -> str:
        return f"db.runCommand({shell({'collMod': self.collection, 'validator': self.validator or {}})})"

    def refuse(self, preview: Preview) -> bool:
        # Without anything to change it asks for the right alone: what comes before it needs less.
        if (there := preview.collection(self.collection)) is not None:
            there.database.command({"collMod": there.name})
        return True

    def foresee(self, preview: Preview) -> None:
        preview.made(self.collection)

    def send(self, database: Any) -> None:
        validator = dict(self.validator or {})
        if self.collection not in existing_collections(database):
            try:
                database.create_collection(
                    self.collection, **({"validator": validator} if validator else {}), check_exists=False
                )
                return
            except driver.OperationFailure as exc:
                if exc.code != NAMESPACE_EXISTS:  # another program was faster
                    raise
        database.command({"collMod": self.collection, "validator": validator})


# -- indexes -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CreateIndex(CheckingOperation):
    index: Index
    is_atomic: ClassVar[bool] = True

    @property
    def text(self) -> str:
        options = shell({"name": self.index.name, **self.index.options})
        return f"db.{self.collection}.createIndex({shell(dict(self.index.keys))}, {options})"

    def refuse(self, preview: Preview) -> bool:
        return not self.index.options.get("unique") or super().refuse(preview)

    @property
    def _reads(self) -> Sequence[str]:
        return tuple(self.index.paths)

    def _look(self, there: Any, path: Callable[[str], str]) -> None:
        """The values are named, for they are what the reader has to look for."""
        paths = [path(name) for name, _ in self.index.keys]
        partial = self.index.options.get("partialFilterExpression", {})
        match = {path(name): condition for name, condition in partial.items()}
        if self.index.options.get("sparse"):
            match = {"$and": [match, {"$or": [{path: {"$exists": True}} for path in paths]}]}
        parts = {f"k{n}": {"$ifNull": [f"${path}", None]} for n, path in enumerate(paths)}
        found = list(
            there.aggregate(
                [
                    {"$match": match},
                    {"$group": {"_id": parts, "n": {"$sum": 1}}},
                    {"$match": {"n": {"$gt": 1}}},
                    {"$sort": {"n": -1}},
                    {"$limit": _SHOWN_DUPLICATES + 1},
                ],
                allowDiskUse=True,
                **_collation(self.index),
            )
        )
        if found:
            shown = ", ".join(
                f"{_shown([one['_id'].get(f'k{n}') for n in range(len(paths))])} ({one['n']} documents)"
                for one in found[:_SHOWN_DUPLICATES]
            )
            more = " and more" if len(found) > _SHOWN_DUPLICATES else ""
            raise MigrationError(
                f"{self.collection}: ({', '.join(name for name, _ in self.index.keys)}) is to be unique "
                f"({self.index.name}), and documents share values: {shown}{more}",
                hint="correct these documents, then run it again",
            )

    def send(self, database: Any) -> None:
        collection = database[self.collection]
        try:
            collection.create_indexes([self.index.model()])
        except driver.OperationFailure as exc:
            if exc.code == _DUPLICATE_KEY:
                self._look(collection, str)
            raise


def _collation(index: Index) -> dict[str, Any]:
    collation = index.options.get("collation")
    return {"collation": dict(collation)} if collation else {}


def _shown(values: Sequence[Any]) -> str:
    cut = [text if len(text) <= 60 else f"{text[:57]}…" for text in map(repr, values)]
    return cut[0] if len(cut) == 1 else f"({', '.join(cut)})"


@dataclass(frozen=True)
class DropIndex(Operation):
    collection: str
    name: str
    is_atomic: ClassVar[bool] = True

    @property
    def text(self) -> str:
        return f'db.{self.collection}.dropIndex("{self.name}")'

    def send(self, database: Any) -> None:
        try:
            database[self.collection].drop_index(self.name)
        except driver.OperationFailure as exc:
            if exc.code not in (_INDEX_NOT_FOUND, _NAMESPACE_NOT_FOUND):
                raise
