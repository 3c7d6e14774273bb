"""The MongoDB engine: compiles, classifies, and says what it can hold. Pure; only ``connect`` reaches out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

from db_plugins.config import Settings
from db_plugins.engine import Capability, Compiled, Connection, Engine, QuerySpec, SupportsAsync
from db_plugins.errors import EngineError, UnsupportedError, UnsupportedFilterError
from db_plugins.joining import base_of
from db_plugins.models import Field, ModelInfo
from db_plugins.nodes import Always

from .client import MongoSettings, make_async_client, make_client
from .codec import path_of
from .databases import MongoDatabases
from .errors import classify
from .lookups import Stage, join_stages, match_stages
from .translate import NOTHING, CannotSay, Filter, Translator
from .wording import text_of_find

__all__ = ["DocumentEngine", "Find", "MongoEngine"]


@dataclass(frozen=True, slots=True)
class Find:
    """What a read, an update or a delete sends.

    ``lookups`` are the stages for other collections and ``flags`` what is computed before the sort; a ``limit`` of 0 is no
    limit. ``translator`` knows where all columns are, ``names`` what the projection calls them, if not as they are stored.
    """

    info: ModelInfo
    filter: Filter
    projection: dict[str, Any]
    sort: list[tuple[str, int]]
    flags: dict[str, Any]
    skip: int = 0
    limit: int = 0
    lookups: tuple[Stage, ...] = ()
    names: tuple[str, ...] = ()
    translator: Translator | None = field(default=None, compare=False, repr=False)

    @property
    def names_one(self) -> bool:
        """Can only one document match, because the whole key is given?"""
        return _names_one(self.info, self.filter)

    @property
    def needs_pipeline(self) -> bool:
        """Is it more than a find can do?"""
        return bool(self.flags or self.lookups)

    @property
    def matching(self) -> list[Stage]:
        """The stages that find the rows."""
        return [{"$match": self.filter}, *self.lookups]

    @property
    def window(self) -> list[Stage]:
        """The stages that cut them."""
        return [{name: n} for name, n in (("$skip", self.skip), ("$limit", self.limit)) if n]

    def pipeline(self) -> list[Stage]:
        """The read as an aggregation."""
        flags: list[Stage] = [{"$set": self.flags}] if self.flags else []
        sort: list[Stage] = [{"$sort": dict(self.sort)}] if self.sort else []
        return [*self.matching, *flags, *sort, *self.window, {"$project": self.projection}]


def _names_one(info: ModelInfo, said: Filter) -> bool:
    return all(_is_equality(said.get(path_of(info, field))) for field in info.key)


def _is_equality(condition: Any) -> bool:
    return condition is not None and (not isinstance(condition, Mapping) or set(condition) == {"$eq"})


class DocumentEngine(MongoDatabases, Engine):
    """What MongoDB and the mock have in common: all but the way to them. ``choose`` knows which is meant."""

    settings_class = MongoSettings
    decimal_digits = 34
    joins = True
    #: How the mock says less.
    translator: ClassVar[type[Translator]] = Translator
    capabilities = frozenset(
        {
            Capability.WRITE,
            Capability.UNIQUE,
            Capability.EXACT_DECIMAL,
            Capability.INFINITY,
        }
    )

    @classmethod
    def choose(cls, settings: Settings) -> type[Engine]:
        """The mock's engine for ENGINE mongomock, else the server's."""
        if settings.engine == "mongomock":
            from .mock import MongomockEngine

            return MongomockEngine
        return MongoEngine

    def compile(self, spec: QuerySpec) -> Compiled:
        """The spec as a find; what MongoDB cannot say the same way is left to the core."""
        if spec.is_about_several:
            return self._compile_several(spec)
        info = spec.model
        translator = self.translator(info)
        said, residual = translator.split(spec.where)
        said = _with_native(said, spec.native)
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
        return text_of_find(query.native)

    def _compile_several(self, spec: QuerySpec) -> Compiled:
        """A spec with joins or ``Exists``: all of it as one pipeline, or nothing."""
        base, rest = base_of(spec)
        try:
            translator = self.translator(spec.model)
            said = translator.filter(base.where) if base.where is not None else {}
            stages, translator = join_stages(translator, spec.joins)
            stages += match_stages(translator, rest)
            sort, flags = translator.sort(spec.order)
        except CannotSay:
            return Compiled(spec, None, residual=spec.where or Always(True), sorted=False)
        names = tuple(f"c{n}" for n in range(len(spec.columns))) if spec.joins else ()
        flat = {name: f"${translator.path(f)}" for name, f in zip(names, spec.columns, strict=False)}
        find = Find(
            spec.model,
            NOTHING if spec.limit == 0 else _with_native(said, spec.native),
            {"_id": 0, **flat} if spec.joins else _projection(spec),
            sort,
            flags,
            skip=spec.offset,
            limit=spec.limit or 0,
            lookups=tuple(stages),
            names=names,
            translator=translator,
        )
        return Compiled(spec, find, read_only=True)

    def classify(self, exc: Exception) -> EngineError | None:
        """Our error, by the server's code or the driver's class."""
        return classify(exc, self.name)

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
        for column in info.fields:
            name = column.column
            if not name or name.startswith("$") or "." in name or "\0" in name:
                raise UnsupportedError(
                    f"{column.label} is stored as {name!r}, which {self.name} reads as a path or an operator",
                    hint="give the column a name without '.' and leading '$'",
                )
            if name == "_id" and path_of(info, column) == "_id" and info.key != (column,):
                raise UnsupportedError(
                    f"{column.label} is stored as '_id', which in {self.name} is the primary key's name",
                    hint="rename the column, or make it the only primary key",
                )


class MongoEngine(DocumentEngine, SupportsAsync):
    """MongoDB 5.0 or newer, through PyMongo."""

    name = "mongodb"
    capabilities = DocumentEngine.capabilities | {
        Capability.TRANSACTIONS,
        Capability.MIGRATIONS,
        Capability.NATIVE_ASYNC,
    }

    def connect(self, settings: Settings) -> Connection:
        """A client that connects by itself when it is first used."""
        from .connection import MongoConnection

        return MongoConnection(settings, self.name, make_client(settings))

    def connect_async(self, settings: Settings) -> Connection:
        """The same over an AsyncMongoClient, for one event loop. Raises ConfigError where PyMongo's is too old."""
        from .awaited import Client
        from .connection import MongoConnection

        client = Client(make_async_client(settings), settings.connect_timeout)
        return MongoConnection(settings, self.name, client)


def _with_native(said: Filter, native: Iterable[Any]) -> Filter:
    natives: list[Filter] = [dict(condition) for condition in native]
    if not natives:
        return said
    return {"$and": [*([said] if said else []), *natives]} if said or len(natives) > 1 else natives[0]


def _projection(spec: QuerySpec) -> dict[str, int]:
    return _projected(spec.model, spec.columns)


@lru_cache(maxsize=1024)
def _projected(info: ModelInfo, columns: tuple[Field, ...]) -> dict[str, int]:
    wanted = {path_of(info, field): 1 for field in columns}
    if not wanted:
        return {"_id": 1}
    return wanted if "_id" in wanted else {**wanted, "_id": 0}
