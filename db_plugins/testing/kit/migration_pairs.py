"""Any models to any others, made by Hypothesis: what migrates from A to B is as B, and from there back to A as A.

Six pairs in each run, always the same; ``DBP_FUZZ=200 pytest -k random_models`` asks others.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import sqlalchemy as sa

from db_plugins import Capability, Vector
from db_plugins import migrations as m

from .harness import Harness, subject
from .migration_models import Bench, column, models, store_of

__all__ = ["MigrationPairs"]

#: The tables that there may be; one may refer to those before it.
TABLES = ("Sun", "Planet", "Moon")
COLUMNS = tuple(f"c{n}" for n in range(6))


@dataclass(frozen=True)
class Kind:
    """A kind of column: its type (an enum needs a name of its own), a default, and whether an index can hold it."""

    type: Callable[[str], Any]
    default: Any = None
    is_indexable: bool = True


KINDS = {
    "text": Kind(lambda _: sa.String(40), "new"),
    "longer text": Kind(lambda _: sa.String(80), "new"),
    "any text": Kind(lambda _: sa.Text(), "new", is_indexable=False),
    "integer": Kind(lambda _: sa.Integer(), 7),
    "small": Kind(lambda _: sa.SmallInteger(), 7),
    "big": Kind(lambda _: sa.BigInteger(), 2**40),
    "float": Kind(lambda _: sa.Float(), 0.5),
    "numeric": Kind(lambda _: sa.Numeric(10, 2)),
    "flag": Kind(lambda _: sa.Boolean(), default=True),
    "enum of two": Kind(lambda name: sa.Enum("S", "M", name=name), "S"),
    "enum of three": Kind(lambda name: sa.Enum("S", "M", "L", name=name), "S"),
    "moment": Kind(lambda _: sa.DateTime(timezone=True)),
    "local": Kind(lambda _: sa.DateTime()),
    "day": Kind(lambda _: sa.Date()),
    "hour": Kind(lambda _: sa.Time()),
    "uuid": Kind(lambda _: sa.Uuid()),
    "bytes": Kind(lambda _: sa.LargeBinary(), is_indexable=False),
    "json": Kind(lambda _: sa.JSON(), is_indexable=False),
    "vector": Kind(lambda _: Vector(3), is_indexable=False),
}


@dataclass(frozen=True)
class Column:
    """One column, as data; ``refers`` is the table whose key an integer holds."""

    kind: str
    nullable: bool = True
    has_default: bool = False
    key: Literal["", "index", "unique"] = ""
    refers: str = ""

    def made(self, table: str, name: str, there: frozenset[str]) -> Any:
        """The column; it refers to nothing that is not there."""
        if self.refers in there:
            reference = sa.ForeignKey(f"{store_of(self.refers)}.id")
            return column(sa.Integer, reference, nullable=self.nullable, index=self.key == "index")
        kind = KINDS[self.kind]
        more = {"default": kind.default} if self.has_default and kind.default is not None else {}
        key: dict[str, Any] = {self.key: True} if self.key and kind.is_indexable else {}
        return column(kind.type(f"{store_of(table)}_{name}"), nullable=self.nullable, **more, **key)


@dataclass(frozen=True)
class Compound:
    """An index or a unique constraint over two columns, if both are there and can be in one."""

    columns: tuple[str, str]
    is_unique: bool

    def made(self, table: str) -> Any:
        """The index or constraint."""
        name = f"{store_of(table)}_{'_'.join(self.columns)}"
        if self.is_unique:
            return sa.UniqueConstraint(*self.columns, name=f"{name}_key")
        return sa.Index(f"{name}_ix", *self.columns)


@dataclass(frozen=True)
class Table:
    """One table, as data."""

    columns: dict[str, Column]
    compound: Compound | None = None

    def made(self, name: str, there: frozenset[str]) -> dict[str, Any]:
        """The attributes of its class."""
        before = there & set(TABLES[: TABLES.index(name)])
        attributes = {each: one.made(name, each, before) for each, one in sorted(self.columns.items())}
        if self.compound and all(self._is_indexable(each) for each in self.compound.columns):
            attributes["__table_args__"] = (self.compound.made(name),)
        return {"id": column(sa.Integer, primary_key=True), **attributes}

    def _is_indexable(self, name: str) -> bool:
        return name in self.columns and KINDS[self.columns[name].kind].is_indexable


Version = dict[str, Table]


def made(version: Version) -> tuple[type, ...]:
    """The classes of a version."""
    there = frozenset(version)
    return models(**{name: version[name].made(name, there) for name in TABLES if name in version})


def _versions() -> Any:
    st = pytest.importorskip("hypothesis.strategies")
    one = st.builds(
        Column,
        kind=st.sampled_from(sorted(KINDS)),
        nullable=st.booleans(),
        has_default=st.booleans(),
        key=st.sampled_from(["", "", "index", "unique"]),
        refers=st.sampled_from(["", "", *TABLES]),
    )
    pairs = list(itertools.permutations(COLUMNS[:3], 2))
    table = st.builds(
        Table,
        columns=st.dictionaries(st.sampled_from(COLUMNS), one, max_size=6),
        compound=st.none() | st.builds(Compound, columns=st.sampled_from(pairs), is_unique=st.booleans()),
    )
    return st.dictionaries(st.sampled_from(TABLES), table, min_size=1, max_size=3)


@subject("migrations", Capability.MIGRATIONS, Capability.WRITE)
class MigrationPairs(Harness):
    """``generated_migrations`` pairs of models; each has a fresh database."""

    #: How many pairs of models are migrated from one to the other and back.
    generated_migrations: ClassVar[int] = 6

    def test_random_models_are_migrated_to_others_and_back(
        self, entry: dict[str, Any], tmp_path: Path
    ) -> None:
        hypothesis = pytest.importorskip("hypothesis")
        number = itertools.count()

        def there_and_back(a: Version, b: Version) -> None:
            folder = tmp_path / f"pair{next(number)}"
            folder.mkdir()
            bench = Bench(self, dict(self.config(folder)), folder / "revisions")
            try:
                _there_and_back(bench, a, b)
            finally:
                bench.close()

        asked = os.environ.get("DBP_FUZZ")
        settings = hypothesis.settings(
            max_examples=int(asked or self.generated_migrations),
            database=None,
            derandomize=not asked,
            deadline=None,
            print_blob=False,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        settings(hypothesis.given(_versions(), _versions())(there_and_back))()


def _there_and_back(bench: Bench, a: Version, b: Version) -> None:
    one, other = bench.open(made(a)), bench.open(made(b))
    bench.made(one, "A")
    bench.migrate(one)
    first = bench.clean_fingerprint(one)
    step = bench.make(other, "B")
    if step is not None:
        bench.migrate(other)
    there = bench.clean_fingerprint(other)
    if step is not None:
        m.downgrade(other, folder=bench.folder)
        assert bench.fingerprint(one) == first
    m.migrate(other, "base", folder=bench.folder)
    assert one.ping().models == other.ping().models == ()
    bench.migrate(other)
    assert bench.fingerprint(other) == there
