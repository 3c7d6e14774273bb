"""Operations as the source of a revision: Alembic's own rendering, with portable types and without its decorations.

source = Source(context)
source.within(op, "stars")              batch_op.add_column(…)
source.block("stars", lines)            with op.batch_alter_table("stars") as batch_op: …
source.imports                          what it needs beside sa and op
"""

from __future__ import annotations

import datetime as dt
import enum
import textwrap
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import render_python_code
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy.sql import functions
from sqlalchemy.types import TypeDecorator

from db_plugins.models import Vector

from ..naming import CONVENTION

__all__ = ["Source", "literal", "render_item"]

_SETTINGS: dict[str, Any] = {"sqlalchemy_module_prefix": "sa.", "alembic_module_prefix": "op."}
#: What a reflected constraint without a name is called in a batch, so that it can be dropped.
_BATCH_NAMES = {kind: CONVENTION[kind] for kind in ("uq", "fk")}


def render_item(kind: str, item: Any, context: Any) -> Any:
    """Alembic's ``render_item``: types and defaults that mean the same on every engine. ``False``: Alembic's own way."""
    if kind == "type":
        return _type(item, context)
    if kind == "server_default":
        return _server_default(item)
    return False


def _type(type_: Any, context: Any) -> Any:
    if isinstance(type_, Vector):
        context.imports.add("from db_plugins import Vector")
        return f"Vector({type_.dimensions})"
    module = type(type_).__module__
    if not module.startswith("sqlalchemy.") and isinstance(type_, (TypeDecorator, sa.types.TypeEngine)):
        context.imports.add(f"import {module}")
    return False


def _server_default(default: Any) -> Any:
    value = getattr(default, "arg", default)
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, functions.now):
        return "sa.func.now()"
    if isinstance(value, (sa.True_, sa.False_)):
        return "sa.true()" if isinstance(value, sa.True_) else "sa.false()"
    if isinstance(value, sa.TextClause):
        return f"sa.text({value.text!r})"
    if isinstance(value, functions.Function) and not list(value.clauses):
        return f"sa.func.{value.name}()"
    return False


class Source:
    """Renders for one connection, and keeps what must be imported."""

    def __init__(self, context: MigrationContext) -> None:
        self._context = context
        self.imports: set[str] = set()

    def operations(self, *given: ops.MigrateOperation) -> str:
        """Operations that are not inside a batch."""
        return self._render(list(given), batch=False)

    def within(self, operation: ops.MigrateOperation, table: str, schema: str | None = None) -> str:
        """One operation inside the batch of its table."""
        text = self._render([ops.ModifyTableOps(table, [operation], schema=schema)], batch=True)
        return textwrap.dedent(text.partition("\n")[2])

    def block(
        self, table: str, lines: Sequence[str], schema: str | None = None, *, unnamed: bool = False
    ) -> str:
        """Operations of one table as a batch. ``unnamed``: some drop what the database has no name for."""
        options = "" if schema is None else f", schema={schema!r}"
        if unnamed:
            options += f", naming_convention={_BATCH_NAMES!r}"
        body = textwrap.indent("\n".join(lines), "    ")
        return f"with op.batch_alter_table({table!r}{options}) as batch_op:\n{body}"

    def type(self, type_: Any) -> str:
        """A type alone."""
        op = ops.AddColumnOp("t", sa.Column("c", type_))
        text = self._render([op], batch=False)
        return text[text.index("sa.Column('c', ") + len("sa.Column('c', ") : text.rindex(", nullable=True))")]

    def _render(self, given: list[Any], *, batch: bool) -> str:
        seen: list[set[str]] = []

        def render(kind: str, item: Any, context: Any) -> Any:
            seen.append(context.imports)
            return render_item(kind, item, context)

        text = render_python_code(
            ops.UpgradeOps(given),
            render_as_batch=batch,
            render_item=render,
            migration_context=self._context,
            **_SETTINGS,
        )
        for imports in seen:
            self.imports |= imports
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("# ###")]
        # Alembic indents the body of a function, but for its first line.
        rest = [line[4:] if line.startswith("    ") else line for line in lines]
        return "\n".join(line.rstrip() for line in rest if line.strip())


def literal(value: Any, type_: Any, source: Source) -> str | None:
    """A value of a column as source, and the type that it needs to be bound as; ``None`` if it cannot be written."""
    if isinstance(value, enum.Enum):
        value = value.name
    if isinstance(value, (bool, int, float, str)) and _SIMPLE.get(type(value)) is type(type_):
        return repr(value)
    text = _literal(value, source)
    return None if text is None else f"{text}, {source.type(type_)}"


_SIMPLE: dict[type[Any], Any] = {bool: sa.Boolean, int: sa.Integer, float: sa.Float, str: sa.String}


def _literal(value: Any, source: Source) -> str | None:
    if isinstance(value, (dt.datetime, dt.date, dt.time, dt.timedelta)):
        source.imports.add("import datetime")
        return repr(value)
    if isinstance(value, Decimal):
        source.imports.add("from decimal import Decimal")
        return repr(value)
    if isinstance(value, uuid.UUID):
        source.imports.add("import uuid")
        return f"uuid.{value!r}"
    if isinstance(value, (list, tuple)):
        parts = [_literal(each, source) for each in value]
        return None if None in parts else f"[{', '.join(p for p in parts if p is not None)}]"
    if isinstance(value, dict):
        pairs = [(_literal(k, source), _literal(v, source)) for k, v in value.items()]
        return (
            None
            if any(None in pair for pair in pairs)
            else "{" + ", ".join(f"{k}: {v}" for k, v in pairs) + "}"
        )
    return repr(value) if type(value) in (bool, int, float, str, bytes, type(None)) else None
