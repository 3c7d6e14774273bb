"""What differs between models and a database, on the three engines: found, applied, gone, undone, as it was."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import io
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.orm import Mapped, mapped_column
from sqlmodel import Field, SQLModel

import db_plugins
from db_plugins import Vector
from db_plugins.errors import DestructiveChangeError, MigrationError
from db_plugins.migrations.seam import Change, Difference, Rename, Wanted
from db_plugins.models import Base, MetadataMixin
from db_plugins.testing.kit import models as kit
from db_plugins_sql.migrations.difference import context_options, difference
from db_plugins_sql.pools import make_pool

ENGINES = ["sqlite", "postgresql", "mariadb"]


class Harness:
    """One database, and the revisions that were applied to it."""

    def __init__(self, entry: Any, folder: Path) -> None:
        self.db = db_plugins.connect(entry)
        self.pool = make_pool(self.db._engine)  # type: ignore[arg-type]
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.history: list[Path] = []

    @property
    def name(self) -> str:
        return self.pool.dialect.name

    @contextmanager
    def connection(self) -> Iterator[sa.Connection]:
        with self.pool.connect() as connection:
            if self.name == "sqlite":
                connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
            yield connection
            if self.name == "sqlite":
                connection.exec_driver_sql("PRAGMA foreign_keys = ON")

    def difference(self, *tables: sa.Table, renames: Any = (), from_nothing: bool = False) -> Difference:
        models = [_Info(table) for table in tables]
        wanted = Wanted(models, (), tuple(self.history), tuple(renames), from_nothing)  # type: ignore[arg-type]
        with self.connection() as connection:
            return difference(connection, wanted)

    def run(self, source: str, imports: frozenset[str] = frozenset()) -> None:
        with self.connection() as connection:
            context = MigrationContext.configure(connection, opts=context_options(connection.dialect))
            with Operations.context(context):
                head = "import sqlalchemy as sa\nfrom alembic import op\n" + "\n".join(sorted(imports))
                exec(compile(f"{head}\n{source}", "revision", "exec"), {})
            if connection.in_transaction():
                connection.commit()

    def apply(self, found: Difference) -> Path:
        imports = frozenset().union(*(change.imports for change in found.changes)) if found else frozenset()
        up = "\n".join(change.upgrade for change in found.changes) or "pass"
        down = "\n".join(c.downgrade for c in reversed(found.changes) if c.downgrade) or "pass"
        path = self.folder / f"{len(self.history)}_{self.name}.py"
        path.write_text(
            "import sqlalchemy as sa\nfrom alembic import op\n"
            + "\n".join(sorted(imports))
            + "\n\n\ndef upgrade():\n"
            + _indented(up)
            + "\n\n\ndef downgrade():\n"
            + _indented(down)
            + "\n"
        )
        self.upgrade(path)
        return path

    def upgrade(self, path: Path) -> None:
        self.run(path.read_text() + "\nupgrade()\n")
        self.history.append(path)

    def downgrade(self, path: Path) -> None:
        self.run(path.read_text() + "\ndowngrade()\n")
        self.history.remove(path)

    def execute(self, statement: Any, *rows: Any) -> list[Any]:
        with self.pool.connect() as connection:
            result = connection.execute(
                sa.text(statement) if isinstance(statement, str) else statement, *rows
            )
            found = list(result) if result.returns_rows else []
            if connection.in_transaction():
                connection.commit()
            return found

    def schema(self) -> Any:
        """All that is reflected, in a form that can be compared."""
        inspector: Any = sa.inspect(self.pool)
        found: dict[str, Any] = {}
        for table in inspector.get_table_names():
            found[table] = {
                "columns": {
                    c["name"]: (str(c["type"]), c["nullable"], str(c["default"]))
                    for c in inspector.get_columns(table)
                },
                "indexes": sorted(
                    (i["name"], tuple(i["column_names"]), bool(i["unique"]), str(i.get("column_sorting")))
                    for i in inspector.get_indexes(table)
                ),
                "uniques": sorted(
                    (str(u["name"]), tuple(u["column_names"]))
                    for u in inspector.get_unique_constraints(table)
                ),
                "fks": sorted(
                    (
                        str(f["name"]),
                        tuple(f["constrained_columns"]),
                        f["referred_table"],
                        str(sorted(f["options"].items())),
                    )
                    for f in inspector.get_foreign_keys(table)
                ),
                "checks": sorted(
                    (str(c["name"]), c["sqltext"]) for c in inspector.get_check_constraints(table)
                ),
                "pk": tuple(inspector.get_pk_constraint(table)["constrained_columns"]),
            }
        if self.name == "postgresql":
            found["enums"] = sorted((e["name"], tuple(e["labels"])) for e in inspector.get_enums())
        if self.name == "sqlite":
            found["sql"] = {
                name: sql
                for name, sql in self.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
                if "AUTOINCREMENT" in (sql or "")
            }.keys()
        return found

    def close(self) -> None:
        self.pool.dispose()
        self.db.close()


class _Info:
    def __init__(self, table: sa.Table) -> None:
        self.table = table


def _indented(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())


@pytest.fixture(params=ENGINES)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    return make_harness(request, request.param, tmp_path)


def make_harness(request: Any, kind: str, tmp_path: Path) -> Harness:
    if kind == "sqlite":
        entry: Any = {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "d.db")}
    else:
        server = request.getfixturevalue("shared_server")(kind)
        name, _url = server.new_database()
        request.addfinalizer(lambda: server.drop_database(name))
        entry = dict(server.entry(name))
    made = Harness(entry, tmp_path / f"versions_{kind}")
    request.addfinalizer(made.close)
    return made


# -- edits -------------------------------------------------------------------------------------------------------------


def stars(*more: Any, **changed: Any) -> list[sa.Table]:
    """The first state; ``changed`` replaces columns by name, ``None`` leaves one out."""
    metadata = sa.MetaData()
    columns: dict[str, Any] = {
        "name": sa.Column("name", sa.String(40), nullable=False),
        "mag": sa.Column("mag", sa.Float),
        "seen": sa.Column("seen", sa.Integer, server_default="3"),
        "notes": sa.Column("notes", sa.String(20)),
        **changed,
    }
    table = sa.Table(
        "stars",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        *(column for column in columns.values() if column is not None),
        *more,
    )
    planets = sa.Table(
        "planets",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("title", sa.String(30)),
        sa.Column("star_id", sa.Integer, nullable=True),
    )
    return [table, planets]


def planets(*more: Any, index: bool = False) -> list[sa.Table]:
    tables = stars()
    (first, second) = tables
    metadata = first.metadata
    metadata.remove(second)
    return [
        first,
        sa.Table(
            "planets",
            metadata,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("title", sa.String(30)),
            sa.Column("star_id", sa.Integer, nullable=True, index=index),
            *more,
        ),
    ]


def colours(*members: str) -> list[sa.Table]:
    return stars(colour=sa.Column("colour", sa.Enum(*members, name="colour"))) if members else stars()


FK = sa.ForeignKeyConstraint
EDITS: dict[str, tuple[Callable[[], list[sa.Table]], Callable[[], list[sa.Table]], list[str]]] = {
    "a column is added": (
        stars,
        lambda: stars(size=sa.Column("size", sa.Numeric(8, 3))),
        ["add column stars.size"],
    ),
    "a column is dropped": (stars, lambda: stars(notes=None), ["drop column stars.notes"]),
    "a length grows": (
        stars,
        lambda: stars(name=sa.Column("name", sa.String(80), nullable=False)),
        ["change the type of stars.name to sa.String(length=80)"],
    ),
    "a string becomes a text": (
        stars,
        lambda: stars(notes=sa.Column("notes", sa.Text)),
        ["change the type of stars.notes to sa.Text()"],
    ),
    "an integer becomes a big one": (
        stars,
        lambda: stars(seen=sa.Column("seen", sa.BigInteger, server_default="3")),
        ["change the type of stars.seen to sa.BigInteger()"],
    ),
    "a number becomes text": (
        stars,
        lambda: stars(mag=sa.Column("mag", sa.String(30))),
        ["change the type of stars.mag to sa.String(length=30)"],
    ),
    "a precision changes": (
        lambda: stars(size=sa.Column("size", sa.Numeric(8, 3))),
        lambda: stars(size=sa.Column("size", sa.Numeric(12, 4))),
        ["change the type of stars.size to sa.Numeric(precision=12, scale=4)"],
    ),
    "a column becomes nullable": (
        stars,
        lambda: stars(name=sa.Column("name", sa.String(40), nullable=True)),
        ["make stars.name nullable"],
    ),
    "a column becomes not null": (
        stars,
        lambda: stars(notes=sa.Column("notes", sa.String(20), nullable=False)),
        ["make stars.notes NOT NULL"],
    ),
    "a server default is added": (
        stars,
        lambda: stars(notes=sa.Column("notes", sa.String(20), server_default="it's")),
        ["set the server default of stars.notes"],
    ),
    "a server default is changed": (
        stars,
        lambda: stars(seen=sa.Column("seen", sa.Integer, server_default=sa.text("4"))),
        ["change the server default of stars.seen"],
    ),
    "a server default is dropped": (
        stars,
        lambda: stars(seen=sa.Column("seen", sa.Integer)),
        ["drop the server default of stars.seen"],
    ),
    "an index is added": (stars, lambda: stars(sa.Index("ix_mag", "mag")), ["add index ix_mag of stars"]),
    "an index is dropped": (lambda: stars(sa.Index("ix_mag", "mag")), stars, ["drop index ix_mag of stars"]),
    "an index gets columns": (
        lambda: stars(sa.Index("ix_mag", "mag")),
        lambda: stars(sa.Index("ix_mag", "mag", "name")),
        ["drop index ix_mag of stars\nadd index ix_mag of stars"],
    ),
    "an index becomes unique": (
        lambda: stars(sa.Index("ix_mag", "mag")),
        lambda: stars(sa.Index("ix_mag", "mag", unique=True)),
        ["drop index ix_mag of stars\nadd index ix_mag of stars"],
    ),
    "an index turns round": (
        lambda: stars(sa.Index("ix_mag", "mag")),
        lambda: stars(sa.Index("ix_mag", sa.desc("mag"))),
        ["drop index ix_mag of stars\nadd index ix_mag of stars"],
    ),
    "a unique constraint is added": (
        stars,
        lambda: stars(sa.UniqueConstraint("name", "mag")),
        ["add unique constraint uq_stars_name_mag of stars"],
    ),
    "a named unique constraint is dropped": (
        lambda: stars(sa.UniqueConstraint("name", name="only")),
        stars,
        ["drop unique constraint only of stars"],
    ),
    "an unnamed unique constraint is dropped": (
        lambda: stars(sa.UniqueConstraint("name")),
        stars,
        ["drop unique constraint uq_stars_name of stars"],
    ),
    "a foreign key is added": (
        planets,
        lambda: planets(FK(["star_id"], ["stars.id"], ondelete="CASCADE")),
        ["add foreign key fk_planets_star_id_stars of planets"],
    ),
    "a foreign key is dropped": (
        lambda: planets(FK(["star_id"], ["stars.id"], ondelete="CASCADE", name="fk_star")),
        planets,
        ["drop foreign key fk_star of planets"],
    ),
    "a foreign key cascades": (
        lambda: planets(FK(["star_id"], ["stars.id"])),
        lambda: planets(FK(["star_id"], ["stars.id"], ondelete="CASCADE")),
        [
            "drop foreign key fk_planets_star_id_stars of planets\nadd foreign key fk_planets_star_id_stars of planets"
        ],
    ),
    "an index of a foreign key is added": (
        lambda: planets(FK(["star_id"], ["stars.id"])),
        lambda: planets(FK(["star_id"], ["stars.id"]), index=True),
        ["add index ix_planets_star_id of planets"],
    ),
    "an index of a foreign key is dropped": (
        lambda: planets(FK(["star_id"], ["stars.id"]), index=True),
        lambda: planets(FK(["star_id"], ["stars.id"])),
        ["drop index ix_planets_star_id of planets"],
    ),
    "a check is added": (
        stars,
        lambda: stars(sa.CheckConstraint("mag > -30", name="bright")),
        ["add check bright of stars"],
    ),
    "a check is dropped": (
        lambda: stars(sa.CheckConstraint("mag > -30", name="bright")),
        stars,
        ["drop check bright of stars"],
    ),
    "an enum column is added": (
        stars,
        lambda: colours("red", "blue"),
        ["create enum colour", "add column stars.colour"],
    ),
    "an enum column is dropped": (
        lambda: colours("red", "blue"),
        stars,
        ["drop column stars.colour", "drop enum colour"],
    ),
    "members are added": (
        lambda: colours("red", "blue"),
        lambda: colours("amber", "red", "ultraviolet", "blue"),
        ["change the members of the enum colour: add 'amber', add 'ultraviolet'"],
    ),
    "a member is removed": (
        lambda: colours("red", "blue", "green"),
        lambda: colours("red", "green"),
        ["change the members of the enum colour: remove 'blue'"],
    ),
    "members change places": (
        lambda: colours("red", "blue"),
        lambda: colours("blue", "red"),
        ["change the members of the enum colour: their order"],
    ),
    "a table is dropped": (stars, lambda: stars()[:1], ["drop table planets"]),
    "a table is added": (lambda: stars()[:1], stars, ["create table planets"]),
    "odd names": (
        lambda: stars(odd=sa.Column('o"d%d', sa.String(10))),
        lambda: stars(
            sa.Index('i"x%', 'o"d%d'),
            odd=sa.Column('o"d%d', sa.String(20)),
            more=sa.Column("it's", sa.Integer),
        ),
        None,  # type: ignore[dict-item]
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_found_applied_and_undone(harness: Harness, edit: str) -> None:
    first, second, texts = EDITS[edit]
    made = harness.difference(*first())
    harness.apply(made)
    assert not harness.difference(*first()), [c.upgrade for c in harness.difference(*first()).changes]
    before = harness.schema()
    harness.execute("INSERT INTO stars (name, mag, notes) VALUES ('Vega', 0.03, 'n')")
    rows = harness.execute("SELECT id, name FROM stars")
    found = harness.difference(*second())
    assert found
    if texts is not None:
        assert [change.text for change in found.changes] == texts
    path = harness.apply(found)
    again = harness.difference(*second())
    assert not again, [(c.text, c.upgrade) for c in again.changes]
    assert harness.execute("SELECT id, name FROM stars") == rows
    harness.downgrade(path)
    back = harness.difference(*first())
    assert not back, [(c.text, c.upgrade) for c in back.changes]
    assert harness.schema() == before
    assert harness.execute("SELECT id, name FROM stars") == rows


# -- no noise ----------------------------------------------------------------------------------------------------------


def every_kind() -> list[sa.Table]:
    """The tables of the kit: all portable types, keys, kinds of mapped classes, relationships."""
    found = {}
    for name in kit.__all__:
        table = getattr(getattr(kit, name), "__table__", None)
        if table is None and hasattr(getattr(kit, name), "__mapper__"):
            table = sa.inspect(getattr(kit, name)).local_table
        if table is not None:
            found[table.key] = table
    return list(found.values())


def create_all(harness: Harness, tables: list[sa.Table]) -> None:
    from db_plugins_sql.storage import create_tables

    with harness.pool.connect() as connection:
        create_tables(connection, tables)
        if connection.in_transaction():
            connection.commit()


def statements(harness: Harness) -> Any:
    if harness.name == "sqlite":
        return {
            n: _folded(s)
            for n, s in harness.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        }
    if harness.name == "mariadb":
        names = [row[0] for row in harness.execute("SHOW TABLES")]
        made = {n: harness.execute(f"SHOW CREATE TABLE `{n}`")[0][1] for n in names}
        return {n: sorted(line.rstrip(",") for line in text.splitlines()) for n, text in made.items()}
    return None


def _folded(sql: str) -> list[str]:
    from db_plugins_sql.migrations.reflection import items_of

    return [sql.partition("(")[0].strip().replace('"', ""), *sorted(items_of(sql))]


def test_create_all_and_migrations_make_the_same(harness: Harness) -> None:
    tables = every_kind()
    create_all(harness, tables)
    found = harness.difference(*tables)
    assert not found, [(c.text, c.upgrade) for c in found.changes]
    by_hand = harness.schema(), statements(harness)
    whole = harness.difference(*tables, from_nothing=True)
    assert all(c.makes_table for c in whole.changes)
    with harness.pool.connect() as connection:
        from db_plugins_sql.storage import drop_tables

        drop_tables(connection, tables)
        if connection.in_transaction():
            connection.commit()
    harness.apply(whole)
    assert not harness.difference(*tables)
    for made, expected in zip((harness.schema(), statements(harness)), by_hand, strict=True):
        for name in expected or ():
            assert made[name] == expected[name]
        assert made == expected


class Dome(MetadataMixin, Base):
    __tablename__ = "domes"
    __table_args__ = (sa.CheckConstraint("height > 0"), sa.Index(None, "name", "height"))
    name: Mapped[str] = mapped_column(sa.String(40), unique=True)
    height: Mapped[int] = mapped_column(index=True)


class Watcher(SQLModel, table=True):
    __tablename__ = "watchers"
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    mail: str = Field(max_length=50, unique=True)
    said: str | None = None


def ordinary() -> list[sa.Table]:
    """What the documentation shows beside the kit: defaults of the server, mixins, SQLModel, keys of text, checks."""
    metadata = sa.MetaData()
    defaults = sa.Table(
        "defaults",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.DateTime, server_default=sa.func.now()),
        sa.Column(
            "then", sa.DateTime(timezone=True), server_default=sa.text("CURRENT_TIMESTAMP"), nullable=False
        ),
        sa.Column("yes", sa.Boolean, server_default=sa.true()),
        sa.Column("no", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("text", sa.String(20), server_default="a 'b' \\ %"),
        sa.Column("empty", sa.String(20), server_default=""),
        sa.Column("number", sa.Integer, server_default="5"),
        sa.Column("minus", sa.Integer, server_default=sa.text("-5")),
        sa.Column("decimal", sa.Numeric(8, 3), server_default=sa.text("2.5")),
        sa.Column("size", sa.Enum("s", "m", name="size"), server_default="s"),
        sa.CheckConstraint("number > 0", name="positive"),
    )
    texts = sa.Table(
        "texts",
        metadata,
        sa.Column("code", sa.String(), primary_key=True),
        sa.Column("tag", sa.String(), index=True),
        sa.Column("by_hand", sa.Integer, unique=True),
        sa.Column("parent", sa.String(), sa.ForeignKey("texts.code")),
    )
    by_hand = sa.Table(
        "by_hand", metadata, sa.Column("id", sa.Integer, primary_key=True, autoincrement=False)
    )
    return [Dome.__table__, Watcher.__table__, defaults, texts, by_hand]  # type: ignore[list-item,attr-defined]


def test_what_was_just_made_shows_no_difference(harness: Harness) -> None:
    tables = ordinary()
    found = harness.difference(*tables)
    harness.apply(found)
    again = harness.difference(*tables)
    assert not again, [(c.text, c.upgrade) for c in again.changes]
    made = harness.schema(), statements(harness)
    for path in list(reversed(harness.history)):
        harness.downgrade(path)
    assert set(harness.schema()) <= {"enums", "sql", "sqlite_sequence"}
    create_all(harness, tables)
    assert (harness.schema(), statements(harness)) == made


def test_what_plain_sqlalchemy_made_shows_no_difference_of_names(harness: Harness) -> None:
    """Its constraints have no names, or those of the server."""
    metadata = sa.MetaData()
    parent = sa.Table("parents", metadata, sa.Column("id", sa.Integer, primary_key=True))
    child = sa.Table(
        "children",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(20), unique=True),
        sa.Column("parent_id", sa.ForeignKey("parents.id")),
        sa.CheckConstraint("parent_id > 0"),
    )
    with harness.pool.connect() as connection:
        metadata.create_all(connection)
        if connection.in_transaction():
            connection.commit()
    found = harness.difference(parent, child)
    assert not found, [(c.text, c.upgrade) for c in found.changes]
    # And they can be dropped.
    metadata = sa.MetaData()
    parent = sa.Table("parents", metadata, sa.Column("id", sa.Integer, primary_key=True))
    bare = sa.Table(
        "children",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(20)),
        sa.Column("parent_id", sa.Integer),
        sa.CheckConstraint("parent_id > 0"),
    )
    path = harness.apply(harness.difference(parent, bare))
    assert not harness.difference(parent, bare)
    assert len(sa.inspect(harness.pool).get_check_constraints("children")) == 1
    harness.downgrade(path)
    assert not harness.difference(parent, child)


# -- renames -----------------------------------------------------------------------------------------------------------


def test_a_renamed_column_keeps_its_values(harness: Harness) -> None:
    first = stars(sa.Index("ix_mag", "mag"), sa.UniqueConstraint("name", "mag"))
    harness.apply(harness.difference(*first))
    before = harness.schema()
    harness.execute("INSERT INTO stars (name, mag) VALUES ('Vega', 0.5)")
    second = stars(
        sa.Index("ix_mag", "magnitude"),
        sa.UniqueConstraint("name", "magnitude"),
        mag=sa.Column("magnitude", sa.Float),
    )
    plain = harness.difference(*second)
    assert Rename("mag", "magnitude", "stars") in plain.possible_renames
    found = harness.difference(*second, renames=[Rename("mag", "magnitude", "stars")])
    assert found.changes[0].text == "rename column stars.mag to magnitude"
    assert "drop column" not in str(found)
    path = harness.apply(found)
    assert not harness.difference(*second)
    assert harness.execute("SELECT magnitude FROM stars") == [(0.5,)]
    harness.downgrade(path)
    assert harness.schema() == before
    assert harness.execute("SELECT mag FROM stars") == [(0.5,)]


def test_a_renamed_table_keeps_its_rows(harness: Harness) -> None:
    first = planets(FK(["star_id"], ["stars.id"]))
    harness.apply(harness.difference(*first))
    before = harness.schema()
    harness.execute("INSERT INTO stars (name, mag) VALUES ('Vega', 0.5)")
    metadata = sa.MetaData()
    suns = sa.Table(
        "suns",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("magnitude", sa.Float),
        sa.Column("seen", sa.Integer, server_default="3"),
        sa.Column("notes", sa.String(20)),
    )
    second = [
        suns,
        sa.Table(
            "planets",
            metadata,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("title", sa.String(30)),
            sa.Column("star_id", sa.Integer),
            sa.ForeignKeyConstraint(["star_id"], ["suns.id"]),
        ),
    ]
    renames = [Rename("stars", "suns"), Rename("mag", "magnitude", "suns")]
    found = harness.difference(*second, renames=renames)
    assert [change.text for change in found.changes] == [
        "rename table stars to suns",
        "rename column suns.mag to magnitude",
        "change the type of suns.name to sa.String(length=60)",
    ]
    path = harness.apply(found)
    assert not harness.difference(*second), str(harness.difference(*second))
    assert harness.execute("SELECT name, magnitude FROM suns") == [("Vega", 0.5)]
    harness.downgrade(path)
    assert harness.schema() == before


def test_a_table_that_goes_and_one_that_comes_with_the_same_columns_may_be_renamed(harness: Harness) -> None:
    harness.apply(harness.difference(*stars()))
    metadata = sa.MetaData()
    other = sa.Table(
        "suns", metadata, *(sa.Column(c.name, c.type, primary_key=c.primary_key) for c in stars()[0].c)
    )
    assert Rename("stars", "suns") in harness.difference(other).possible_renames


# -- rows that are in the way ------------------------------------------------------------------------------------------


class Band(enum.Enum):
    V = "visual"
    R = "red"


FILLED = {
    "number": (sa.Integer(), 7, 7),
    "big": (sa.BigInteger(), 2**40, 2**40),
    "text": (sa.String(20), "it's 5%", "it's 5%"),
    "flag": (sa.Boolean(), True, 1),
    "price": (sa.Numeric(8, 2), decimal.Decimal("1.25"), 1.25),
    "day": (sa.Date(), dt.date(2026, 3, 20), "2026-03-20"),
    "moment": (sa.DateTime(timezone=True), dt.datetime(2026, 3, 20, 4, tzinfo=dt.UTC), None),
    "uuid": (sa.Uuid(), uuid.UUID(int=5), None),
    "band": (sa.Enum(Band), Band.R, "R"),
    "json": (sa.JSON(), {"a": [1, None]}, None),
}


@pytest.mark.parametrize("kind", FILLED)
def test_a_new_column_that_may_not_be_null_is_filled_with_its_default(harness: Harness, kind: str) -> None:
    type_, default, stored = FILLED[kind]
    harness.apply(harness.difference(*stars()))
    harness.execute("INSERT INTO stars (name) VALUES ('Vega')")
    second = stars(more=sa.Column("more", type_, nullable=False, default=default))
    path = harness.apply(harness.difference(*second))
    assert not harness.difference(*second), str(harness.difference(*second))
    ((found,),) = harness.execute("SELECT more FROM stars")
    if stored is not None:
        assert type(stored)(found) == stored
    else:
        assert harness.execute(sa.select(sa.column("more", type_)).select_from(sa.table("stars"))) == [
            (default,)
        ]
    harness.downgrade(path)
    assert not harness.difference(*stars())


def test_without_a_default_it_is_refused_while_there_are_rows(harness: Harness) -> None:
    harness.apply(harness.difference(*stars()))
    harness.execute("INSERT INTO stars (name) VALUES ('Vega')")
    before = harness.schema()
    second = stars(sa.Index("ix_notes", "notes"), more=sa.Column("more", sa.Integer, nullable=False))
    found = harness.difference(*second)
    with pytest.raises(MigrationError, match=r"stars holds 1 row.*stars\.more is NOT NULL") as caught:
        harness.apply(found)
    assert "default=" in str(caught.value)
    assert harness.schema() == before
    harness.execute("DELETE FROM stars")
    harness.apply(found)
    assert not harness.difference(*second)


def test_a_column_that_holds_null_is_not_made_not_null(harness: Harness) -> None:
    harness.apply(harness.difference(*stars()))
    harness.execute("INSERT INTO stars (name) VALUES ('Vega')")
    second = stars(notes=sa.Column("notes", sa.String(20), nullable=False))
    with pytest.raises(MigrationError, match=r"stars\.notes is NULL in 1 row"):
        harness.apply(harness.difference(*second))


def test_a_member_that_rows_hold_is_not_removed(harness: Harness) -> None:
    harness.apply(harness.difference(*colours("red", "blue")))
    harness.execute("INSERT INTO stars (name, colour) VALUES ('Vega', 'blue')")
    with pytest.raises(DestructiveChangeError, match=r"stars\.colour holds the member 'blue' in 1 row"):
        harness.apply(harness.difference(*colours("red", "green")))


# -- whose tables they are ---------------------------------------------------------------------------------------------


def test_what_others_made_is_left_alone(harness: Harness) -> None:
    harness.execute("CREATE TABLE theirs (id INTEGER PRIMARY KEY, x INTEGER)")
    harness.execute("CREATE INDEX ix_theirs ON theirs (x)")
    harness.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    harness.execute("CREATE TABLE dbp_journal (id INTEGER PRIMARY KEY)")
    harness.apply(harness.difference(*stars()))
    assert not harness.difference(*stars())
    assert [c.text for c in harness.difference().changes] == ["drop table planets", "drop table stars"]
    assert [c.drops for c in harness.difference().changes] == [("drop table planets",), ("drop table stars",)]


def test_tables_in_a_circle_and_to_themselves(harness: Harness) -> None:
    metadata = sa.MetaData()
    a = sa.Table(
        "a",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("b_id", sa.ForeignKey("b.id", name="a_b", use_alter=True)),
        sa.Column("a_id", sa.ForeignKey("a.id")),
    )
    b = sa.Table(
        "b",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("a_id", sa.ForeignKey("a.id")),
    )
    path = harness.apply(harness.difference(a, b))
    found = harness.difference(a, b)
    assert not found, str(found)
    before = harness.schema()
    gone = harness.difference()
    assert {line for c in gone.changes for line in c.drops} == {"drop table a", "drop table b"}
    dropped = harness.apply(gone)
    assert not {"a", "b"} & set(harness.schema())
    harness.downgrade(dropped)
    assert harness.schema() == before
    harness.downgrade(path)
    assert not {"a", "b"} & set(harness.schema())


# -- one tree of files for all engines ---------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ENGINES)
def test_a_revision_made_on_one_engine_serves_the_others(
    request: pytest.FixtureRequest, tmp_path: Path, origin: str
) -> None:
    harnesses = {kind: make_harness(request, kind, tmp_path) for kind in ENGINES}
    states = [ordinary() + every_kind(), ordinary()]
    maker = harnesses[origin]
    for tables in states:
        path = maker.apply(maker.difference(*tables))
        for kind, other in harnesses.items():
            if kind != origin:
                other.upgrade(path)
            found = other.difference(*tables)
            assert not found, (kind, [(c.text, c.upgrade) for c in found.changes])
    for kind, other in harnesses.items():
        other.downgrade(path)
        found = other.difference(*states[0])
        assert not [c for c in found.changes if c.makes_table or c.drops], (
            kind,
            [(c.text, c.upgrade) for c in found.changes],
        )


# -- a batch on SQLite -------------------------------------------------------------------------------------------------


def test_a_copied_table_loses_nothing(tmp_path: Path) -> None:
    harness = Harness({"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "d.db")}, tmp_path / "versions")
    harness.execute("CREATE TABLE others (id INTEGER PRIMARY KEY)")
    harness.execute(
        """CREATE TABLE stars (
            id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
            name VARCHAR(20) COLLATE "NOCASE" NOT NULL,
            mag FLOAT,
            other INTEGER REFERENCES others (id) ON DELETE SET NULL,
            CHECK (mag > -30),
            CONSTRAINT named CHECK (id > 0),
            UNIQUE (name, mag)
        )"""
    )
    harness.execute("CREATE INDEX ix_partial ON stars (mag) WHERE mag > 3")
    harness.execute("CREATE INDEX ix_lower ON stars (lower(name), mag DESC)")
    harness.execute("CREATE UNIQUE INDEX ix_desc ON stars (mag DESC, name)")
    harness.run(
        'with op.batch_alter_table("stars") as batch_op:\n'
        '    batch_op.alter_column("mag", existing_type=sa.Float(), nullable=False)'
    )
    ((sql,),) = harness.execute("SELECT sql FROM sqlite_master WHERE name = 'stars'")
    for part in ("AUTOINCREMENT", "NOCASE", "ON DELETE SET NULL", "mag > -30", "named", "UNIQUE (name, mag)"):
        assert part in sql, sql
    indexes = dict(
        harness.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    )
    assert "WHERE mag > 3" in indexes["ix_partial"]
    assert "lower(name), mag DESC" in indexes["ix_lower"]
    assert "UNIQUE INDEX ix_desc ON stars (mag DESC, name)" in indexes["ix_desc"]
    harness.close()


# -- vectors -----------------------------------------------------------------------------------------------------------


def test_a_vector_and_its_index(harness: Harness) -> None:
    index = sa.Index("near", "place", postgresql_using="hnsw", postgresql_ops={"place": "vector_l2_ops"})
    harness.apply(harness.difference(*stars()))
    second = stars(index, place=sa.Column("place", Vector(3)))
    path = harness.apply(harness.difference(*second))
    assert not harness.difference(*second), str(harness.difference(*second))
    harness.execute("SELECT place FROM stars")
    harness.downgrade(path)
    assert not harness.difference(*stars())


def test_changes_read_as_they_were_meant() -> None:
    with sa.create_engine("sqlite://", poolclass=sa.NullPool).connect() as connection:
        found = difference(connection, Wanted([_Info(stars()[1])], from_nothing=True))  # type: ignore[list-item]
    assert found.changes == (
        Change(
            "create table planets",
            "op.create_table('planets',\n"
            "sa.Column('id', sa.Integer(), nullable=False),\n"
            "sa.Column('title', sa.String(length=30), nullable=True),\n"
            "sa.Column('star_id', sa.Integer(), nullable=True),\n"
            "sa.PrimaryKeyConstraint('id')\n"
            ")",
            "op.drop_table('planets')",
            makes_table=True,
        ),
    )


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_every_operation_can_be_written_without_a_database(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    harness = make_harness(request, kind, tmp_path)
    source = (
        "op.require_empty('stars', because='x')\n"
        "op.require_no_nulls('stars', 'name')\n"
        "op.create_enum('colour', ['red', 'blue'])\n"
        "op.create_table('stars', sa.Column('c', sa.Enum('red', 'blue', name='colour')), sa.Column('n', sa.String(9)))\n"
        "op.fill('stars', 'n', 'it''s')\n"
        "op.alter_enum('colour', ['red', 'blue'], ['blue', 'red'], columns=[['stars', 'c']])\n"
        "op.alter_enum('colour', ['blue', 'red'], ['blue', 'red', 'ultraviolet'], columns=[['stars', 'c']])\n"
        "op.create_vector_extension()\n"
        "op.drop_enum('colour', ['blue', 'red', 'ultraviolet'])\n"
    )
    written = io.StringIO()
    context = MigrationContext.configure(
        dialect=harness.pool.dialect,
        opts={**context_options(harness.pool.dialect), "as_sql": True, "output_buffer": written},
    )
    with Operations.context(context):
        exec(f"import sqlalchemy as sa\nfrom alembic import op\n{source}", {})
    text = written.getvalue()
    assert "-- stars must be empty: x" in text
    assert "-- stars.name must hold no NULL" in text
    assert ("CREATE TYPE colour" in text) is (kind == "postgresql")
    assert ("ADD VALUE IF NOT EXISTS 'ultraviolet' AFTER 'red'" in text) is (kind == "postgresql")
    assert ("VARCHAR(11)" in text) is (kind == "mariadb")


def test_plain_alembic_writes_what_we_write(harness: Harness) -> None:
    from alembic.autogenerate import produce_migrations, render_python_code

    from db_plugins_sql.migrations.difference import directives

    wanted = Wanted([_Info(table) for table in stars()])  # type: ignore[arg-type]
    with harness.connection() as connection:
        options = {
            **context_options(connection.dialect),
            "process_revision_directives": directives(connection, wanted),
        }
        context = MigrationContext.configure(connection, opts=options)
        script = produce_migrations(context, sa.MetaData())
        options["process_revision_directives"](context, (), [script])
        assert script.upgrade_ops is not None
        assert script.downgrade_ops is not None
        source = render_python_code(script.upgrade_ops, render_as_batch=True)
        found = difference(connection, wanted)
    for change in found.changes:
        for line in change.upgrade.splitlines():
            assert line in source


# -- what SQLAlchemy has no public word for ----------------------------------------------------------------------------


def test_sqlalchemys_private_names_mean_what_they_did() -> None:
    """Each is in one function; whoever changes SQLAlchemy's version learns here which."""
    from db_plugins_sql.migrations.ddl import variant
    from db_plugins_sql.migrations.wanting import index_on, is_type_bound

    plain, long = sa.String(), sa.String(255)
    assert variant(plain.with_variant(long, "mysql"), "mysql") is long
    assert variant(plain, "mysql") is plain

    by_type = sa.Boolean(create_constraint=True, name="by_type")
    table = sa.Table("t", sa.MetaData(), sa.Column("b", by_type), sa.CheckConstraint("b", name="by_hand"))
    checks = {c.name: c for c in table.constraints if isinstance(c, sa.CheckConstraint)}
    assert {name: is_type_bound(check) for name, check in checks.items()} == {
        "by_type": True,
        "by_hand": False,
    }

    index = index_on(table, "by_expression", [sa.text("lower(b)")], unique=True)
    assert index.table is table
    assert index in table.indexes


def test_text_in_a_key_has_a_length_where_the_server_asks_for_one() -> None:
    from db_plugins_sql.migrations.ddl import variant
    from db_plugins_sql.migrations.portable import of_model

    own = sa.String(9)
    made = of_model(sa.String().with_variant(own, "mysql"), keyed=True)
    assert variant(made, "mysql") is own
    assert variant(made, "mariadb").length == 255  # type: ignore[attr-defined]
    assert of_model(sa.String(), keyed=False).length is None  # type: ignore[attr-defined]
