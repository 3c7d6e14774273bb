"""The MongoDB engine: compiles, classifies, and says what it can hold. Pure; only ``connect`` reaches out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from db_plugins.config import Settings
from db_plugins.engine import Capability, Compiled, Connection, Engine, QuerySpec
from db_plugins.errors import EngineError, UnsupportedError, UnsupportedFilterError
from db_plugins.models import ModelInfo

from .client import MongoSettings
from .codec import path_of
from .databases import MongoDatabases
from .errors import classify
from .translate import NOTHING, CannotSay, Filter, Translator

__all__ = ["Find", "MongoEngine"]


@dataclass(frozen=True, slots=True)
class Find:
    """What a read, an update or a delete sends.

    ``flags`` are computed before the sort; a ``limit`` of 0 is no limit.
    """

    info: ModelInfo
    filter: Filter
    projection: dict[str, int]
    sort: list[tuple[str, int]]
    flags: dict[str, Any]
    skip: int = 0
    limit: int = 0

    @property
    def names_one(self) -> bool:
        """Can only one document match, because the whole key is given?"""
        return _names_one(self.info, self.filter)

    def pipeline(self) -> list[dict[str, Any]]:
        """The read as an aggregation, for orders with flags."""
        window = ([{"$skip": self.skip}] if self.skip else []) + (
            [{"$limit": self.limit}] if self.limit else []
        )
        return [
            {"$match": self.filter},
            {"$set": self.flags},
            {"$sort": dict(self.sort)},
            *window,
            {"$project": self.projection},
        ]


def _names_one(info: ModelInfo, said: Filter) -> bool:
    return all(_is_equality(said.get(path_of(info, field))) for field in info.key)


def _is_equality(condition: Any) -> bool:
    return condition is not None and (not isinstance(condition, Mapping) or set(condition) == {"$eq"})


class MongoEngine(MongoDatabases, Engine):
    """MongoDB 5.0 or newer, through PyMongo."""

    name = "mongodb"
    settings_class = MongoSettings
    decimal_digits = 34
    #: How the mock says less.
    translator: ClassVar[type[Translator]] = Translator
    capabilities = frozenset(
        {
            Capability.WRITE,
            Capability.UNIQUE,
            Capability.TRANSACTIONS,
            Capability.EXACT_DECIMAL,
            Capability.INFINITY,
        }
    )

    @classmethod
    def choose(cls, settings: Settings) -> type[Engine]:
        """The mock's engine for ENGINE mongomock, else this."""
        if settings.engine == "mongomock":
            from .mock import MongomockEngine

            return MongomockEngine
        return cls

    def compile(self, spec: QuerySpec) -> Compiled:
        """The spec as a find; what MongoDB cannot say the same way is left to the core."""
        info = spec.model
        translator = self.translator(info)
        said, residual = translator.split(spec.where)
        if spec.native:
            natives: list[Filter] = [dict(condition) for condition in spec.native]
            said = {"$and": [*([said] if said else []), *natives]} if said or len(natives) > 1 else natives[0]
        try:
            # One row needs no order, and some servers look it up faster without.
            sort, flags = translator.sort(() if _names_one(info, said) else spec.order)
            is_sorted = True
        except CannotSay:
            sort, flags, is_sorted = [], {}, False
        whole = is_sorted and residual is None
        find = Find(
            info,
            NOTHING if spec.limit == 0 else said,
            _projection(spec),
            sort,
            flags,
            skip=spec.offset if whole else 0,
            limit=(spec.limit or 0) if whole else 0,
        )
        return Compiled(spec, find, residual, is_sorted)

    def explain(self, query: Compiled) -> str:
        """The find or the aggregation in the shell's words."""
        return _text(query.native)

    def classify(self, exc: Exception) -> EngineError | None:
        """Our error, by the server's code or the driver's class."""
        return classify(exc, self.name)

    def connect(self, settings: Settings) -> Connection:
        """A client that connects by itself when it is first used."""
        from .connection import MongoConnection

        return MongoConnection(settings, self.name)

    def check_native(self, condition: Any) -> None:
        """A native condition is a filter document."""
        if not isinstance(condition, Mapping) or not all(isinstance(name, str) for name in condition):
            raise UnsupportedFilterError(
                f"{self.name} takes a filter document, not a value of type {type(condition).__name__}",
                hint='write filter_native({"mag": {"$mod": [2, 0]}})',
            )

    def check_model(self, info: ModelInfo) -> None:
        """Refuse names that MongoDB reads as something else."""
        super().check_model(info)
        if not info.store or info.store.startswith("system.") or "$" in info.store or "\0" in info.store:
            raise UnsupportedError(
                f"{info.name}: {self.name} can have no collection {info.store!r}", hint="rename it"
            )
        for field in info.fields:
            name = field.column
            if not name or name.startswith("$") or "." in name or "\0" in name:
                raise UnsupportedError(
                    f"{field.label} is stored as {name!r}, which {self.name} reads as a path or an operator",
                    hint="give the column a name without '.' and leading '$'",
                )
            if name == "_id" and path_of(info, field) == "_id" and info.key != (field,):
                raise UnsupportedError(
                    f"{field.label} is stored as '_id', which in {self.name} is the primary key's name",
                    hint="rename the column, or make it the only primary key",
                )


def _projection(spec: QuerySpec) -> dict[str, int]:
    wanted = {path_of(spec.model, field): 1 for field in spec.columns}
    if not wanted:
        return {"_id": 1}
    return wanted if "_id" in wanted else {**wanted, "_id": 0}


def _text(find: Find) -> str:
    """The statement in the shell's words, with ``?`` for every value."""
    name = find.info.store
    if find.flags:
        stages = [_shape(find.filter), _shape(find.flags), _flat(dict(find.sort)), _flat(find.projection)]
        return "db.{}.aggregate([{{$match: {}}}, {{$set: {}}}, {{$sort: {}}}, {{$project: {}}}])".format(
            name, *stages
        )
    parts = [f"db.{name}.find({_shape(find.filter)}, {_flat(find.projection)})"]
    parts += [f".sort({_flat(dict(find.sort))})"] if find.sort else []
    parts += [f".skip({find.skip})"] if find.skip else []
    parts += [f".limit({find.limit})"] if find.limit else []
    return "".join(parts)


def _flat(numbers: Mapping[str, int]) -> str:
    return "{" + ", ".join(f"{name}: {number}" for name, number in numbers.items()) + "}"


def _shape(part: Any, *, literal: bool = False) -> str:
    if isinstance(part, Mapping) and not literal:
        return (
            "{"
            + ", ".join(
                f"{k}: {_shape(v, literal=k in ('$literal', '$in', '$nin'))}" for k, v in part.items()
            )
            + "}"
        )
    if isinstance(part, list) and not literal:
        return "[" + ", ".join(_shape(item) for item in part) + "]"
    if not literal and isinstance(part, str) and part.startswith("$"):
        return part
    return "?"
