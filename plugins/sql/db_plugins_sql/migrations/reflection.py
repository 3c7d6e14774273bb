"""What SQLAlchemy does not read of a table and a copy of it would lose: a batch on SQLite copies what was reflected.

SQLite    collations of columns, keys that are not AUTOINCREMENT, the directions and expressions of indexes, checks
          without a name
MariaDB   the directions of indexes
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

__all__ = ["items_of", "read_more"]


def read_more(dialect: Any) -> None:
    """Let this instance of a dialect read what is missing.

    ``create_engine`` makes the dialect and has no parameter for its class, and Python does not always let an object change
    its class: so these methods, which shadow those of the class, are those of another object with the same attributes.
    """
    mixin = MIXINS.get(dialect.name)
    if mixin is None:
        return
    base = type(dialect)
    reader: Any = object.__new__(type(base.__name__, (mixin, base), {"supports_statement_cache": True}))
    reader.__dict__ = vars(dialect)
    for name in vars(mixin):
        if name.startswith("get_"):
            setattr(dialect, name, getattr(reader, name))


class _SQLite:
    """Reads ``sqlite_master`` and the longer pragmas."""

    def get_columns(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        found = super().get_columns(connection, table_name, schema, **kw)  # type: ignore[misc]
        written = _statement(connection, "table", table_name, schema)
        if written is None:
            return found
        keys = [column for column in found if column["primary_key"]]
        if len(keys) == 1 and not re.search(r"\bAUTOINCREMENT\b", written, re.I):
            keys[0]["autoincrement"] = False
        collations = dict(_collations(written))
        for column in found:
            collation = collations.get(column["name"].lower())
            if collation and isinstance(column["type"], sa.String):
                column["type"] = column["type"].copy()
                column["type"].collation = collation
        return found

    def get_foreign_keys(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        found = super().get_foreign_keys(connection, table_name, schema, **kw)  # type: ignore[misc]
        where = f"{_quoted(schema)}." if schema else ""
        actions: dict[tuple[str, tuple[str, ...]], dict[str, str]] = {}
        columns: dict[int, list[str]] = {}
        rows = list(connection.exec_driver_sql(f"PRAGMA {where}foreign_key_list({_quoted(table_name)})"))
        for row in sorted(rows, key=lambda row: (row[0], row[1])):
            columns.setdefault(row[0], []).append(row[3])
        for number, _place, referred, _from, _to, on_update, on_delete, *_rest in rows:
            said = {"onupdate": on_update, "ondelete": on_delete}
            actions[referred, tuple(columns[number])] = {k: v for k, v in said.items() if v != "NO ACTION"}
        # SQLAlchemy reads them from FOREIGN KEY (…) alone, and not of a column's own REFERENCES.
        return [
            {
                **key,
                "options": {
                    **actions.get((key["referred_table"], tuple(key["constrained_columns"])), {}),
                    **key["options"],
                },
            }
            for key in found
        ]

    def get_check_constraints(
        self, connection: Any, table_name: str, schema: str | None = None, **kw: Any
    ) -> Any:
        found = super().get_check_constraints(connection, table_name, schema, **kw)  # type: ignore[misc]
        # Alembic leaves a check without a name out of the copy that a batch makes.
        return [
            {**check, "name": check["name"] or f"ck_{table_name}_{number}"}
            for number, check in enumerate(found, 1)
        ]

    def get_indexes(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Skipped unsupported reflection", sa_exc.SAWarning)
            found = super().get_indexes(connection, table_name, schema, **kw)  # type: ignore[misc]
        made = {index["name"]: {**index} for index in found}
        for name, written in _statements(connection, table_name, schema):
            terms = list(items_of(written))
            if name not in made:
                made[name] = _by_expressions(connection, name, written, terms)
            descending = [_bare(term[:-5]) for term in terms if term.upper().endswith(" DESC")]
            if descending:
                made[name]["column_sorting"] = dict.fromkeys(descending, ("desc",))
        return sorted(made.values(), key=lambda index: index["name"] or "~")


def _by_expressions(connection: Any, name: str, written: str, terms: list[str]) -> dict[str, Any]:
    columns = [row[2] for row in connection.exec_driver_sql(f"PRAGMA index_info({_quoted(name)})")]
    plain = [term[:-5].rstrip() if term.upper().endswith(" DESC") else term for term in terms]
    where = re.search(r"\)\s+where\s+(.+)$", written, re.I | re.S)
    return {
        "name": name,
        "unique": bool(re.match(r"\s*CREATE\s+UNIQUE", written, re.I)),
        "column_names": columns,
        "expressions": [column or term for column, term in zip(columns, plain, strict=True)],
        "dialect_options": {"sqlite_where": sa.text(where[1])} if where else {},
    }


def _statement(connection: Any, kind: str, name: str, schema: str | None) -> str | None:
    master = f"{_quoted(schema)}.sqlite_master" if schema else "sqlite_master"
    found = connection.exec_driver_sql(
        f"SELECT sql FROM {master} WHERE type = ? AND name = ?",  # noqa: S608 - a quoted name
        (kind, name),
    ).scalar()
    return None if found is None else str(found)


def _statements(connection: Any, table_name: str, schema: str | None) -> list[tuple[str, str]]:
    """The table's indexes, as they were written; those of its constraints were not."""
    master = f"{_quoted(schema)}.sqlite_master" if schema else "sqlite_master"
    rows = connection.exec_driver_sql(
        f"SELECT name, sql FROM {master} WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL",  # noqa: S608
        (table_name,),
    )
    return [(name, sql) for name, sql in rows]


def _collations(written: str) -> Iterator[tuple[str, str]]:
    for item in items_of(written):
        found = re.search(r"""\bCOLLATE\s+["'`\[]?(\w+)""", item, re.I)
        if found:
            name = re.match(r"""("(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|\S+)""", item)
            if name:
                yield _bare(name[1]).lower(), found[1]


def items_of(text: str) -> Iterator[str]:
    """The parts between the commas of the first parentheses, those inside quotes and other parentheses left alone."""
    depth, start, quote = 0, 0, ""
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
        elif character == "(":
            depth += 1
            start = place + 1 if depth == 1 else start
        elif character == ")":
            depth -= 1
            if depth == 0:
                yield text[start:place].strip()
                return
        elif character == "," and depth == 1:
            yield text[start:place].strip()
            start = place + 1


def _bare(name: str) -> str:
    name = name.strip()
    if len(name) > 1 and name[0] in '"`[' and name[-1] in '"`]':
        return name[1:-1].replace(name[0] * 2, name[0])
    return name


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class _MariaDB:
    """Asks ``information_schema``: SHOW CREATE TABLE is read without the directions."""

    def get_indexes(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        found = super().get_indexes(connection, table_name, schema, **kw)  # type: ignore[misc]
        rows = connection.execute(
            sa.text(
                "SELECT index_name, column_name FROM information_schema.statistics WHERE collation = 'D' "
                "AND table_name = :table_name AND table_schema = COALESCE(:table_schema, DATABASE())"
            ),
            {"table_name": table_name, "table_schema": schema},
        )
        sorting: dict[str, dict[str, tuple[str, ...]]] = {}
        for index, column in rows:
            sorting.setdefault(index, {})[column] = ("desc",)
        return [
            {**index, "column_sorting": sorting[index["name"]]} if index["name"] in sorting else index
            for index in found
        ]


MIXINS: dict[str, type[Any]] = {"sqlite": _SQLite, "mysql": _MariaDB, "mariadb": _MariaDB}
