"""Helpers of the migration tests: models made on the spot, revision files written from differences, and steps run."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from mongo_models import engine_for
from sqlalchemy.orm import DeclarativeBase, registry

from db_plugins.migrations.seam import Difference, LockRequest, Rename, Settling, Step, Wanted
from db_plugins.models import ModelInfo, association_tables, describe
from db_plugins_mongo.codec import CODEC_OPTIONS

__all__ = ["Folder", "empty_base", "model", "state_of"]


def empty_base() -> type:
    class Base(DeclarativeBase):
        pass

    return Base


def model(table: str, *columns: Any, info: dict[str, Any] | None = None, key: bool = True) -> type:
    """A class mapped to a table of these columns, in a registry of its own. ``id`` is added unless told otherwise."""
    own = registry()
    made = type(table.capitalize(), (), {})
    first = [sa.Column("id", sa.Integer, primary_key=True)] if key else []
    own.map_imperatively(made, sa.Table(table, own.metadata, *first, *columns, info=info or {}))
    return made


@dataclass
class Folder:
    """A database and its revision files, as the core would keep them."""

    path: Path
    url: str
    name: str
    files: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.files = sorted(self.path.glob("*.py"))
        self.engine = engine_for(url=self.url, database=self.name)
        self.connection: Any = self.engine.connect(self.engine.settings)
        self.database = self.connection.native

    def infos(self, models: Iterable[type]) -> list[ModelInfo]:
        return [describe(m) for m in models]

    def wanted(
        self,
        *models: type,
        links: Sequence[sa.Table] = (),
        renames: Sequence[Rename] = (),
        from_nothing: bool = False,
    ) -> Wanted:
        infos = self.infos(models)
        return Wanted(infos, [*association_tables(infos), *links], self.files, renames, from_nothing)

    def difference(self, *models: type, **more: Any) -> Difference:
        return self.connection.difference(self.wanted(*models, **more))  # type: ignore[no-any-return]

    def make(self, *models: type, **more: Any) -> Difference:
        """Write the revision for what differs."""
        found = self.difference(*models, **more)
        self.write(
            [c.upgrade for c in found.changes],
            [c.downgrade for c in reversed(found.changes)],
            sorted({line for c in found.changes for line in c.imports}),
        )
        return found

    def write(
        self, upgrade: Sequence[str], downgrade: Sequence[str] = (), imports: Sequence[str] = ()
    ) -> Path:
        number = len(self.files) + 1
        lines = ['"""A revision."""', *imports, *self.connection.imports, ""]
        for function, statements in (("upgrade", upgrade), ("downgrade", downgrade)):
            lines += [f"def {function}() -> None:"]
            lines += [f"    {line}" for s in statements for line in s.splitlines()] or ["    pass"]
        path = self.path / f"r{number}.py"
        path.write_text("\n".join(lines) + "\n")
        self.files.append(path)
        return path

    def step(self, number: int | None = None, *, up: bool = True) -> Step:
        path = self.files[(number or len(self.files)) - 1]
        n = self.files.index(path) + 1
        before = (f"r{n - 1}",) if n > 1 else ()
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return Step(
            revision=f"r{n}",
            message="test",
            path=path,
            is_upgrade=up,
            before=before if up else (f"r{n}",),
            after=(f"r{n}",) if up else before,
            run=module.upgrade if up else module.downgrade,
        )

    def run(
        self,
        number: int | None = None,
        *,
        up: bool = True,
        allow_drop: bool = False,
        settling: Settling | None = None,
    ) -> None:
        with self.connection.migrating(LockRequest(timeout=20)) as migration:
            migration.run(self.step(number, up=up), allow_drop=allow_drop, settling=settling)

    def state(self) -> dict[str, Any]:
        return state_of(self.database)

    def close(self) -> None:
        self.connection.close()


def state_of(database: Any) -> dict[str, Any]:
    """Everything in it but the library's own: collections, options, indexes, documents."""
    database = database.client.get_database(database.name, codec_options=CODEC_OPTIONS)
    return {
        c["name"]: {
            "validator": c["options"].get("validator") or None,
            "indexes": {
                i["name"]: {k: v for k, v in i.items() if k != "ns"}
                for i in map(dict, database[c["name"]].list_indexes())
            },
            "documents": sorted(map(repr, database[c["name"]].find())),
        }
        for c in database.list_collections()
        if c["name"] not in ("dbp_migrations", "db_plugins_counters")
    }
