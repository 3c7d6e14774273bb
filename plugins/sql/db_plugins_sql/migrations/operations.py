"""Operations of revision files beside Alembic's own: each means the same on every engine, or nothing where it is not needed.

    op.create_enum("colour", ["RED", "GREEN"])          PostgreSQL: a type
    op.alter_enum("colour", [old…], [new…], columns=[["stars", "colour"]])
    op.drop_enum("colour", ["RED", "GREEN"])
    op.create_vector_extension()                        PostgreSQL: pgvector, unless it is there
    op.create_vector_index("ix", "stars", ["place"])    PostgreSQL: an index that only pgvector can make
    op.drop_vector_index("ix", "stars")
    op.fill("stars", "mag", 0)                          sets the rows where the column is NULL
    op.require_empty("stars", because="…")              refuses to go on while the table holds rows
    op.require_no_nulls("stars", "mag")                 refuses to go on while the column holds NULL
    op.require_unique("stars", ["name", "band"])        refuses to go on while rows share values of these columns

Importing this module registers them with Alembic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import sqlalchemy as sa
from alembic.autogenerate import renderers
from alembic.operations import MigrateOperation, Operations

from db_plugins.errors import DestructiveChangeError, MigrationError

from ..vectors import make_extension
from . import enums

__all__: list[str] = []

#: Nobody can mend duplicates without knowing which: so many are named.
_SHOWN = 5


class _Operation(MigrateOperation):
    """Keeps its arguments; ``run`` is what it does."""

    names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **given: Any) -> None:
        self.given = given

    def reverse(self) -> MigrateOperation:
        raise NotImplementedError

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return (type(self).__name__, self.given)

    def run(self, operations: Operations) -> None:
        """Do it."""
        raise NotImplementedError


def _implement(name: str) -> Callable[[type[_Operation]], type[_Operation]]:
    def register(made: type[_Operation]) -> type[_Operation]:
        Operations.register_operation(name)(made)

        @Operations.implementation_for(made)
        def _run(operations: Operations, operation: _Operation) -> None:
            operation.run(operations)

        return made

    return register


def _dialect(operations: Operations) -> sa.Dialect:
    return operations.get_context().dialect


def _is_offline(operations: Operations) -> bool:
    return operations.get_context().as_sql


def _connection(operations: Operations) -> sa.Connection:
    connection = operations.get_context().connection
    assert connection is not None
    return connection


def _count(operations: Operations, table: str, schema: str | None, *conditions: Any) -> int:
    rows = sa.select(sa.func.count()).select_from(sa.table(table, schema=schema)).where(*conditions)
    return int(_connection(operations).execute(rows).scalar_one())


def _remark(operations: Operations, text: str) -> None:
    """A comment among the statements that are written and not sent."""
    context = operations.get_context()
    context.impl.static_output("-- " + text.replace("\n", " "))


def _on_postgresql(operations: Operations) -> bool:
    return _dialect(operations).name == "postgresql"


# -- enums -------------------------------------------------------------------------------------------------------------


@_implement("create_enum")
class CreateEnum(_Operation):
    """The type of a column ``sa.Enum(…, name=…)``, where the server has types of that kind."""

    @classmethod
    def create_enum(
        cls, operations: Operations, name: str, members: Sequence[str], schema: str | None = None
    ) -> Any:
        return operations.invoke(cls(name=name, members=list(members), schema=schema))

    def run(self, operations: Operations) -> None:
        if _on_postgresql(operations):
            enums.create(operations, **self.given)


@_implement("drop_enum")
class DropEnum(_Operation):
    """Drop the type. The members are for the reader, and for the way back."""

    @classmethod
    def drop_enum(
        cls, operations: Operations, name: str, members: Sequence[str] = (), schema: str | None = None
    ) -> Any:
        return operations.invoke(cls(name=name, schema=schema))

    def run(self, operations: Operations) -> None:
        if _on_postgresql(operations):
            enums.drop(operations, **self.given)


@_implement("alter_enum")
class AlterEnum(_Operation):
    """Change the members. Refused while a row holds a member that is to go."""

    @classmethod
    def alter_enum(
        cls,
        operations: Operations,
        name: str,
        old: Sequence[str],
        new: Sequence[str],
        columns: Sequence[Sequence[str]] = (),
        schema: str | None = None,
    ) -> Any:
        pairs = [(table, column) for table, column in columns]
        return operations.invoke(cls(name=name, old=list(old), new=list(new), columns=pairs, schema=schema))

    def run(self, operations: Operations) -> None:
        schema, columns = self.given["schema"], self.given["columns"]
        gone = [member for member in self.given["old"] if member not in self.given["new"]]
        if not _is_offline(operations):
            for table, column in columns:
                for member in gone:
                    self._check(operations, schema, table, column, member)
        if _on_postgresql(operations):
            enums.alter(operations, **self.given)
        else:
            enums.resize(operations, **self.given)

    def _check(
        self, operations: Operations, schema: str | None, table: str, column: str, member: str
    ) -> None:
        held: Any = sa.column(column, sa.String())
        compared = sa.cast(held, sa.Text) if _on_postgresql(operations) else held
        if number := _count(operations, table, schema, compared == member):
            raise DestructiveChangeError(
                f"{table}.{column} holds the member {member!r} in {number} row(s), and it is to be removed from the "
                f"enum {self.given['name']!r}; nothing was changed",
                hint="give those rows another member first, in a data migration before this one",
            )


# -- vectors -----------------------------------------------------------------------------------------------------------


@_implement("create_vector_extension")
class CreateVectorExtension(_Operation):
    """pgvector, unless it is there. It stays when a revision is undone: others may use it."""

    @classmethod
    def create_vector_extension(cls, operations: Operations) -> Any:
        return operations.invoke(cls())

    def run(self, operations: Operations) -> None:
        if not _on_postgresql(operations):
            return
        if _is_offline(operations):
            operations.execute(sa.text("CREATE EXTENSION IF NOT EXISTS vector"))
        else:
            make_extension(_connection(operations))


@_implement("create_vector_index")
class CreateVectorIndex(_Operation):
    """``op.create_index`` on PostgreSQL; other engines have no such index."""

    @classmethod
    def create_vector_index(
        cls, operations: Operations, name: str, table_name: str, columns: Sequence[Any], **options: Any
    ) -> Any:
        return operations.invoke(cls(name=name, table_name=table_name, columns=columns, options=options))

    def run(self, operations: Operations) -> None:
        if _on_postgresql(operations):
            given = self.given
            operations.create_index(
                given["name"], given["table_name"], list(given["columns"]), **given["options"]
            )


@_implement("drop_vector_index")
class DropVectorIndex(_Operation):
    """``op.drop_index`` on PostgreSQL."""

    @classmethod
    def drop_vector_index(
        cls, operations: Operations, name: str, table_name: str, schema: str | None = None
    ) -> Any:
        return operations.invoke(cls(name=name, table_name=table_name, schema=schema))

    def run(self, operations: Operations) -> None:
        if _on_postgresql(operations):
            given = self.given
            operations.drop_index(given["name"], table_name=given["table_name"], schema=given["schema"])


# -- rows --------------------------------------------------------------------------------------------------------------


@_implement("fill")
class Fill(_Operation):
    """Give the rows where the column is NULL this value."""

    @classmethod
    def fill(
        cls,
        operations: Operations,
        table_name: str,
        column_name: str,
        value: Any,
        type_: Any = None,
        schema: str | None = None,
    ) -> Any:
        return operations.invoke(
            cls(table_name=table_name, column_name=column_name, value=value, type_=type_, schema=schema)
        )

    def run(self, operations: Operations) -> None:
        given = self.given
        # One of another type than the column's would be bound as its own: a boolean as 1.
        column: Any = sa.column(given["column_name"], given["type_"])
        table = sa.table(given["table_name"], column, schema=given["schema"])
        operations.execute(table.update().where(column.is_(None)).values({column: given["value"]}))


@_implement("require_empty")
class RequireEmpty(_Operation):
    """Refuse to go on while the table holds rows."""

    @classmethod
    def require_empty(
        cls, operations: Operations, table_name: str, because: str, schema: str | None = None
    ) -> Any:
        return operations.invoke(cls(table_name=table_name, because=because, schema=schema))

    def run(self, operations: Operations) -> None:
        table, because, schema = (self.given[name] for name in ("table_name", "because", "schema"))
        if _is_offline(operations):
            return _remark(operations, f"{table} must be empty: {because}")
        if number := _count(operations, table, schema):
            raise MigrationError(
                f"{table} holds {number} row(s): {because}; nothing was changed",
                hint="give the column a default=, or make it nullable, fill it in a data migration, then NOT NULL",
            )
        return None


@_implement("require_no_nulls")
class RequireNoNulls(_Operation):
    """Refuse to go on while the column holds NULL."""

    @classmethod
    def require_no_nulls(
        cls, operations: Operations, table_name: str, column_name: str, schema: str | None = None
    ) -> Any:
        return operations.invoke(cls(table_name=table_name, column_name=column_name, schema=schema))

    def run(self, operations: Operations) -> None:
        table, column, schema = (self.given[name] for name in ("table_name", "column_name", "schema"))
        if _is_offline(operations):
            return _remark(operations, f"{table}.{column} must hold no NULL")
        held: Any = sa.column(column)
        if number := _count(operations, table, schema, held.is_(None)):
            raise MigrationError(
                f"{table}.{column} is NULL in {number} row(s) and is to be NOT NULL; nothing was changed",
                hint=f"fill them first: op.fill({table!r}, {column!r}, …) in a data migration before this one",
            )
        return None


@_implement("require_unique")
class RequireUnique(_Operation):
    """Refuse to go on while rows share values of the columns, none of which is NULL. A column that is not there yet, and so
    is new, is not asked about."""

    @classmethod
    def require_unique(
        cls, operations: Operations, table_name: str, columns: Sequence[str], schema: str | None = None
    ) -> Any:
        return operations.invoke(cls(table_name=table_name, columns=columns, schema=schema))

    def run(self, operations: Operations) -> None:
        table, names, schema = (self.given[name] for name in ("table_name", "columns", "schema"))
        label = f"{table}.{' and '.join(names)}"
        if _is_offline(operations):
            return _remark(operations, f"no two rows may share {label}")
        connection = _connection(operations)
        there = {each["name"] for each in sa.inspect(connection).get_columns(table, schema=schema)}
        if not there.issuperset(names):
            return None
        columns: list[Any] = [sa.column(name) for name in names]
        shared = connection.execute(
            sa.select(*columns)
            .select_from(sa.table(table, *columns, schema=schema))
            .where(*(column.is_not(None) for column in columns))
            .group_by(*columns)
            .having(sa.func.count() > 1)
            .limit(_SHOWN + 1)
        ).all()
        if shared:
            values = ", ".join(repr(row[0] if len(row) == 1 else tuple(row)) for row in shared[:_SHOWN])
            more = " and others" if len(shared) > _SHOWN else ""
            raise MigrationError(
                f"{label} is to be unique, and several rows have {values}{more}; nothing was changed",
                hint="keep one row of each, or change the others, then run it again",
            )
        return None


# -- what is written already -------------------------------------------------------------------------------------------


class Written(MigrateOperation):
    """Source that Alembic is to put into a revision as it is."""

    def __init__(self, text: str) -> None:
        self.text = text

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """What ``alembic check`` shows."""
        return (self.text,)


@renderers.dispatch_for(Written)
def _render_written(_context: Any, operation: Written) -> str:
    return operation.text
