"""The tables of the models as a revision file says them: portable types, plain text where the model has expressions.

``described`` makes copies; the models' own tables are not changed. They are made twice: with the names that the database
has now, for the comparison, and with those that it is to have, for what is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import desc_op

from db_plugins.migrations.seam import Rename

from ..naming import CONVENTION
from ..storage import with_referred
from ..vectors import vector_indexes
from . import portable
from .ddl import is_keyed

__all__ = ["Names", "described", "enum_of", "index_on", "is_type_bound"]


@dataclass(frozen=True)
class Names:
    """The renames, from what is wanted to what is there (``old_…``) and back (``new_…``)."""

    tables: Mapping[str, str] = field(default_factory=dict)  # new → old
    columns: Mapping[tuple[str, str], str] = field(default_factory=dict)  # (new table, new column) → old

    @classmethod
    def of(cls, renames: Sequence[Rename]) -> Names:
        tables = {r.new: r.old for r in renames if r.table is None}
        news = {old: new for new, old in tables.items()}
        columns = {(news.get(r.table, r.table), r.new): r.old for r in renames if r.table is not None}
        return cls(tables, columns)

    def old_table(self, table: str) -> str:
        return self.tables.get(table, table)

    def old_column(self, table: str, column: str) -> str:
        return self.columns.get((table, column), column)

    def new_table(self, old: str) -> str:
        return next((new for new, each in self.tables.items() if each == old), old)

    def new_column(self, table: str, old: str) -> str:
        """Of a table by its new name."""
        return next((c for (t, c), each in self.columns.items() if t == table and each == old), old)


def described(tables: Sequence[sa.Table], names: Names, *, named: bool) -> sa.MetaData:
    """Copies of these tables and of those that they refer to. ``named``: with a name for every constraint."""
    made = sa.MetaData(naming_convention=CONVENTION if named else None)
    for table in with_referred(tables):
        _describe(table, made, names)
    return made


def _describe(table: sa.Table, made: sa.MetaData, names: Names) -> None:
    def column_name(name: str) -> str:
        return names.old_column(table.name, name)

    constraints = [
        _constraint(constraint, names, column_name)
        for constraint in sorted(table.constraints, key=lambda c: str(c.name or ""))
        if not is_type_bound(constraint)
    ]
    copy = sa.Table(
        names.old_table(table.name),
        made,
        *(_column(column, column_name(column.name)) for column in table.columns),
        *(constraint for constraint in constraints if constraint is not None),
        schema=table.schema,
        comment=table.comment,
        **_options(table),
    )
    for index in sorted(table.indexes, key=lambda i: str(i.name or "")):
        _add_index(index, copy, column_name)


def _constraint(constraint: Any, names: Names, column_name: Callable[[str], str]) -> Any:
    """``None`` of one that a revision does not say: those of dialects, and the key of a table without one."""
    columns = [column_name(column.name) for column in getattr(constraint, "columns", ())]
    if isinstance(constraint, sa.PrimaryKeyConstraint):
        return sa.PrimaryKeyConstraint(*columns, name=constraint.name) if columns else None  # type: ignore[arg-type]
    if isinstance(constraint, sa.UniqueConstraint):
        return sa.UniqueConstraint(*columns, name=constraint.name, **_options(constraint))
    if isinstance(constraint, sa.ForeignKeyConstraint):
        return _foreign_key(constraint, names, columns)
    if isinstance(constraint, sa.CheckConstraint):
        return sa.CheckConstraint(_text(constraint.sqltext), name=constraint.name)
    return None


def _add_index(index: Any, copy: sa.Table, column_name: Callable[[str], str]) -> None:
    options = _options(index)
    if "postgresql_ops" in options:  # by the keys of the columns, which need not be their names
        keys = {c.key: column_name(c.name) for c in index.table.columns}
        given = options["postgresql_ops"].items()
        options["postgresql_ops"] = {keys.get(key, key): value for key, value in given}
    terms = [_term(term, copy, column_name) for term in index.expressions]
    found = index_on(copy, index.name, terms, unique=index.unique, **options)
    found.info["is_vector"] = index in vector_indexes(index.table)


def index_on(table: sa.Table, name: Any, terms: Sequence[Any], *, unique: bool, **options: Any) -> sa.Index:
    """An index that may be of expressions alone: SQLAlchemy has no public word for the table of such a one."""
    return sa.Index(name, *terms, unique=unique, _table=table, **options)


def _column(column: sa.Column[Any], name: str) -> sa.Column[Any]:
    default: Any = column.server_default
    if isinstance(default, sa.Computed):
        extra: list[Any] = [sa.Computed(_text(default.sqltext), persisted=default.persisted)]
    elif isinstance(default, sa.Identity):
        extra = [sa.Identity(always=default.always, on_null=default.on_null, start=default.start)]
    else:
        extra = []
    made: sa.Column[Any] = sa.Column(
        name,
        portable.of_model(column.type, keyed=is_keyed(column)),
        *extra,
        primary_key=column.primary_key,
        nullable=column.nullable,
        server_default=getattr(default, "arg", default) if not extra else None,
        autoincrement=column.autoincrement,
        comment=column.comment,
        info={"column": column},
    )
    return made


def _foreign_key(constraint: sa.ForeignKeyConstraint, names: Names, columns: list[str]) -> Any:
    referred = constraint.referred_table
    table = names.old_table(referred.name)
    target = f"{referred.schema}.{table}" if referred.schema else table
    return sa.ForeignKeyConstraint(
        columns,
        [f"{target}.{names.old_column(referred.name, e.column.name)}" for e in constraint.elements],
        name=constraint.name,
        ondelete=constraint.ondelete,
        onupdate=constraint.onupdate,
        deferrable=constraint.deferrable,
        initially=constraint.initially,
        match=constraint.match,
        use_alter=constraint.use_alter,
    )


def _options(item: Any) -> dict[str, Any]:
    """Options of dialects; expressions as their text."""
    return {
        name: sa.text(_text(value)) if isinstance(value, sa.ClauseElement) else value
        for name, value in item.dialect_kwargs.items()
    }


def _term(term: Any, table: sa.Table, column_name: Callable[[str], str]) -> Any:
    if isinstance(term, sa.Column):
        return table.c[column_name(term.name)]
    if isinstance(term, UnaryExpression) and term.modifier is desc_op and isinstance(term.element, sa.Column):
        return table.c[column_name(term.element.name)].desc()
    return sa.text(_text(term))


def _text(expression: Any) -> str:
    """As text of SQL, without the table's name before its columns."""
    if isinstance(expression, sa.TextClause):
        return expression.text
    if isinstance(expression, str):
        return expression
    bare: Any = visitors.replacement_traverse(expression, {}, _bare)
    return str(bare.compile(compile_kwargs={"literal_binds": True}))


def _bare(element: Any, **_options: Any) -> Any:
    return sa.column(element.name, element.type) if isinstance(element, sa.Column) else None


def is_type_bound(constraint: Any) -> bool:
    """Is it made by its column's type, ``Boolean(create_constraint=True)``? SQLAlchemy has no public word for it."""
    return bool(getattr(constraint, "_type_bound", False))


def enum_of(type_: Any) -> sa.Enum | None:
    """The named enum of a column's type, that is a type of its own where the server has such."""
    return type_ if isinstance(type_, sa.Enum) and type_.native_enum and type_.name else None
