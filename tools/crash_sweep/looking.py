"""A whole database as plain data, so that two can be compared: every table with its columns, constraints and rows.

What the migrations keep for themselves is left out, but for the revision that the database is at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

import db_plugins

__all__ = ["JOURNAL", "differences", "look"]

#: Where MariaDB and MongoDB keep what is under way.
JOURNAL = "dbp_migrations"


def look(entry: Mapping[str, Any]) -> dict[str, Any]:
    """``{"stars": {"columns": …, "rows": …}, …}``."""
    with db_plugins.connect(dict(entry)) as db:
        native: Any = db.native
        return dict(_mongodb(native) if entry["ENGINE"] == "mongodb" else _sql(native))


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """In words, what is not as wanted."""
    said = []
    for name in sorted({*wanted, *found}):
        if name not in found or name not in wanted:
            said.append(f"{name} is {'missing' if name in wanted else 'left over'}")
            continue
        said += [
            f"{name}.{part}: {found[name].get(part)!r}, wanted {value!r}"
            for part, value in wanted[name].items()
            if found[name].get(part) != value
        ]
    return said


# -- SQL -------------------------------------------------------------------------------------------------------------


def _sql(engine: sa.Engine) -> Iterator[tuple[str, Any]]:
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        for name in inspector.get_table_names():
            if name == JOURNAL:
                under_way = (
                    sa.select(sa.func.count()).select_from(sa.table(name)).where(sa.column("state") != "lock")
                )
                yield "(journal)", {"under way": connection.scalar(under_way)}
            else:
                yield name, _table(connection, inspector, name)
        for name in inspector.get_view_names():
            yield name, {"view": _rows(connection, name)}
        if connection.dialect.name == "postgresql":
            enums: Any = inspector.get_enums()  # type: ignore[attr-defined]
            yield "(enums)", {each["name"]: each["labels"] for each in enums}
        if connection.dialect.name == "sqlite":
            texts = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
            yield "(schema)", {row.name: row.sql for row in texts}
            broken = [tuple(row) for row in connection.exec_driver_sql("PRAGMA foreign_key_check")]
            whole = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
            yield "(integrity)", {"rows without parent": broken, "check": whole}


def _table(connection: sa.Connection, inspector: sa.Inspector, name: str) -> dict[str, Any]:
    return {
        "columns": [
            (each["name"], str(each["type"]), each["nullable"], str(each["default"]))
            for each in inspector.get_columns(name)
        ],
        "key": inspector.get_pk_constraint(name)["constrained_columns"],
        "indexes": _sorted(inspector.get_indexes(name)),
        "unique": _sorted(inspector.get_unique_constraints(name)),
        "checks": _sorted(inspector.get_check_constraints(name)),
        "foreign keys": _sorted(inspector.get_foreign_keys(name)),
        "rows": _rows(connection, name),
    }


def _rows(connection: sa.Connection, name: str) -> list[str]:
    found = connection.execute(sa.select(sa.text("*")).select_from(sa.table(name)))
    return sorted(repr(dict(row)) for row in found.mappings())


# -- MongoDB ---------------------------------------------------------------------------------------------------------


def _mongodb(database: Any) -> Iterator[tuple[str, Any]]:
    for found in database.list_collections():
        name = found["name"]
        collection = database[name]
        if name == JOURNAL:
            heads: Any = collection.find_one({"_id": "heads"}) or {}
            at = heads.get("revisions")
            # A note that led to where the database is means nothing any more.
            under_way = [
                each["_id"] for each in collection.find({"n": {"$exists": True}}) if each["after"] != at
            ]
            yield "(journal)", {"heads": at, "under way": under_way}
            continue
        yield (
            name,
            {
                "options": {k: v for k, v in found["options"].items() if k != "uuid"},
                "indexes": _sorted([dict(each) for each in collection.list_indexes()]),
                "rows": sorted(repr(sorted(each.items())) for each in collection.find()),
            },
        )


def _sorted(found: Any) -> list[str]:
    return sorted(json.dumps(each, default=str) for each in found)
