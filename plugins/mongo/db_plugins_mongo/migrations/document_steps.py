"""Operations about what is in documents: fields, and data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from db_plugins.errors import DestructiveChangeError, MigrationError

from .rendering import shell
from .steps import ALLOW_DROP, CheckingOperation, Operation, Preview, again

__all__ = ["AddField", "ConvertField", "DropField", "RenameField", "RequireField", "RequireNone", "Update"]

#: What a field is called now.
Path = Callable[[str], str]


def _update(database: Any, collection: str, condition: Mapping[str, Any], change: Any) -> None:
    """All at once on the server, past the validator, which belongs to another state of the revision."""
    again(lambda: database[collection].update_many(dict(condition), change, bypass_document_validation=True))


@dataclass(frozen=True)
class AddField(Operation):
    collection: str
    name: str
    default: Any = None

    @property
    def text(self) -> str:
        if self.default is None:
            return f"// {self.collection}.{self.name}: documents that are there lack it"
        return f"db.{self.collection}.updateMany({shell(self._lacking)}, {shell(self._change)})"

    @property
    def _lacking(self) -> dict[str, Any]:
        return {self.name: None}

    @property
    def _change(self) -> list[dict[str, Any]]:
        return [{"$set": {self.name: {"$literal": self.default}}}]

    def foresee(self, preview: Preview) -> None:
        if self.default is not None:
            preview.changed(self.collection, self.name)

    def send(self, database: Any) -> None:
        if self.default is not None:
            _update(database, self.collection, self._lacking, self._change)


@dataclass(frozen=True)
class RequireField(CheckingOperation):
    name: str
    is_atomic: ClassVar[bool] = True

    @property
    def text(self) -> str:
        return f"db.{self.collection}.countDocuments({shell({self.name: None})})  // must be 0"

    @property
    def _reads(self) -> Sequence[str]:
        return (self.name,)

    def _look(self, there: Any, path: Path) -> None:
        lacking = there.count_documents({path(self.name): None})
        if lacking:
            raise MigrationError(
                f"{self.collection}.{self.name} is to be required, and {lacking} documents lack it",
                hint=f'fill them first: op.add_field("{self.collection}", "{self.name}", default=…) above it',
            )

    def send(self, database: Any) -> None:
        return


@dataclass(frozen=True)
class RequireNone(CheckingOperation):
    condition: Mapping[str, Any]
    is_atomic: ClassVar[bool] = True

    @property
    def text(self) -> str:
        return f"db.{self.collection}.countDocuments({shell(self.condition)})  // must be 0"

    @property
    def _reads(self) -> Sequence[str]:
        return tuple(self.condition)

    def _look(self, there: Any, path: Path) -> None:
        found = there.count_documents({path(name): each for name, each in self.condition.items()})
        if found:
            raise MigrationError(
                f"{self.collection}: {found} documents hold in {', '.join(self.condition)} what may no longer be there",
                hint=f"change them first, with op.update above it; they are found by {shell(self.condition)}",
            )

    def send(self, database: Any) -> None:
        return


@dataclass(frozen=True)
class DropField(Operation):
    collection: str
    name: str
    default: Any = None

    @property
    def text(self) -> str:
        return (
            f"db.{self.collection}.updateMany({shell({self.name: {'$exists': True}})}, {shell(self._change)})"
        )

    @property
    def _change(self) -> dict[str, Any]:
        return {"$unset": {self.name: ""}}

    def refuse(self, preview: Preview) -> bool:
        there = preview.collection(self.collection)
        if there is None or preview.allow_drop:
            return True
        path = preview.path(self.collection, self.name)
        kept = {path: {"$exists": True, "$nin": [None] if self.default is None else [None, self.default]}}
        if there.find_one(kept, {"_id": 1}) is not None:
            raise DestructiveChangeError(
                f"the field {self.collection}.{self.name}, which is to be dropped, holds values",
                hint=ALLOW_DROP,
            )
        return True

    def foresee(self, preview: Preview) -> None:
        preview.changed(self.collection, self.name)

    def send(self, database: Any) -> None:
        _update(database, self.collection, {self.name: {"$exists": True}}, self._change)


@dataclass(frozen=True)
class RenameField(CheckingOperation):
    old: str
    new: str

    @property
    def text(self) -> str:
        return (
            f"db.{self.collection}.updateMany({shell({self.old: {'$exists': True}})}, {shell(self._change)})"
        )

    @property
    def _change(self) -> dict[str, Any]:
        return {"$rename": {self.old: self.new}}

    @property
    def _reads(self) -> Sequence[str]:
        return (self.old, self.new)

    def _look(self, there: Any, path: Path) -> None:
        both = {path(name): {"$exists": True} for name in (self.old, self.new)}
        if len(both) == 2 and there.find_one(both, {"_id": 1}) is not None:
            raise MigrationError(
                f"{self.collection}.{self.old} cannot become {self.new}: documents hold both",
                hint=f"move the values of {self.new} away first",
            )

    def foresee(self, preview: Preview) -> None:
        preview.renamed_field(self.collection, self.old, self.new)

    def send(self, database: Any) -> None:
        _update(database, self.collection, {self.old: {"$exists": True}}, self._change)


#: What a type is called in a revision, what $convert makes, and what it is then.
_TYPES: dict[str, tuple[str, list[str]]] = {
    "int": ("long", ["int", "long"]),
    "double": ("double", ["double"]),
    "decimal": ("decimal", ["decimal"]),
    "string": ("string", ["string"]),
    "bool": ("bool", ["bool"]),
    "date": ("date", ["date"]),
}


@dataclass(frozen=True)
class ConvertField(CheckingOperation):
    name: str
    to: str

    def __post_init__(self) -> None:
        if self.to not in _TYPES:
            raise MigrationError(
                f"op.convert_field: {self.collection}.{self.name} cannot be converted to {str(self.to)[:40]!r}",
                hint=f"one of {', '.join(_TYPES)}",
            )

    @property
    def text(self) -> str:
        condition, change = self._condition(self.name), self._change
        return f"db.{self.collection}.updateMany({shell(condition)}, {shell(change)})"

    def _condition(self, path: str) -> dict[str, Any]:
        return {path: {"$exists": True, "$not": {"$type": [*_TYPES[self.to][1], "null"]}}}

    def _converted(self, path: str, **otherwise: Any) -> dict[str, Any]:
        return {"$convert": {"input": f"${path}", "to": _TYPES[self.to][0], **otherwise}}

    @property
    def _change(self) -> list[dict[str, Any]]:
        return [{"$set": {self.name: self._converted(self.name)}}]

    @property
    def _reads(self) -> Sequence[str]:
        return (self.name,)

    def _look(self, there: Any, path: Path) -> None:
        now = path(self.name)
        result = self._converted(now, onError=None, onNull=None)
        fails: list[Any] = [{"$eq": [{"$ifNull": [result, None]}, None]}]
        if self.to == "int":  # 1.5 would become 1
            fails.append({"$and": [{"$isNumber": f"${now}"}, {"$ne": [result, f"${now}"]}]})
        if self.to == "bool":  # and 7 true
            fails.append({"$not": [{"$in": [f"${now}", [0, 1]]}]})
        stages = [{"$match": self._condition(now)}, {"$match": {"$expr": {"$or": fails}}}, {"$count": "n"}]
        # Of nothing some servers count 0, and MongoDB says nothing.
        if count := sum(each["n"] for each in there.aggregate(stages)):
            raise MigrationError(
                f"{self.collection}.{self.name} is to become {self.to}, and {count} documents hold what cannot",
                hint="change them first, with op.update above it",
            )

    def foresee(self, preview: Preview) -> None:
        preview.changed(self.collection, self.name)

    def send(self, database: Any) -> None:
        _update(database, self.collection, self._condition(self.name), self._change)


@dataclass(frozen=True)
class Update(Operation):
    collection: str
    condition: Mapping[str, Any]
    change: Any
    repeatable: bool = False

    @property
    def is_repeatable(self) -> bool:  # type: ignore[override]
        return self.repeatable

    @property
    def text(self) -> str:
        return f"db.{self.collection}.updateMany({shell(self.condition)}, {shell(self.change)})"

    def foresee(self, preview: Preview) -> None:
        preview.changed(self.collection)

    def send(self, database: Any) -> None:
        database[self.collection].update_many(dict(self.condition), self.change)
