"""The requirements of seed 001, by their ids: models, their tables and columns, and what a session holds.

Where a row and the contract disagree, the contract holds, and the docstring says so.
"""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from projects import Project, project
from projects import on as on_engines
from seeds import (
    EVERYWHERE,
    SQL,
    Connect,
    Event,
    SeedUser,
    SocialStatus,
    add_in_session,
    connect,
    entry,
    has_sessions,
    on,
)
from sqlalchemy import Column, Integer, String
from sqlalchemy.orm import declarative_base
from sqlmodel import Field, SQLModel

import db_plugins
from db_plugins.errors import (
    DuplicateKeyError,
    InvalidValueError,
)

__all__ = ["connect", "entry", "project"]

ROOT = Path(__file__).parents[1]


@on(*SQL)
def test_a_session_holds_objects_by_identity_until_it_commits(connect: Connect) -> None:
    """001-06: the identity map; pending until flush; another session sees it after the commit only."""
    db, other = connect(SeedUser, Event), connect(SeedUser, Event)
    with db.session() as s:
        user = SeedUser(id=1, email="a@x.org")
        s.add(user)
        assert user in s.new
        s.flush()
        assert user not in s.new
        assert s.get(SeedUser, 1) is s.get(SeedUser, 1) is user
        assert other.query(SeedUser).get(1) is None
    with other.session() as t:
        assert t.get(SeedUser, 1).email == "a@x.org"


@on(*EVERYWHERE)
def test_classes_on_any_declarative_base_get_their_tables(connect: Connect) -> None:
    """001-07: a model on a Base of its own gets its table."""
    own_base = declarative_base()

    class Place(own_base):
        __tablename__ = "places"
        id = Column(Integer, primary_key=True)

    db = connect(SeedUser, Event, Place)
    assert db.ping().models == ("SeedUser", "Event", "Place")
    assert db.query(Place).insert({}).id == 1


def run_dbp(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``dbp`` in a folder, with an environment that names no database."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("DB_", "DBP_", "DATABASE_"))}
    return subprocess.run(
        [sys.executable, "-m", "db_plugins", *arguments],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_initdb_knows_models_of_a_package_with_relative_imports(tmp_path: Path) -> None:
    """001-08: ``from .database import Base`` in a package works from the command line. 001-07: so does its Base."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "settings.py").write_text(
        'DB_CONFIG = {"SQL": {"ENGINE": "sqlite", "DB_NAME": "x.db"}}\nMODELS = ["app.models"]\n'
    )
    app = tmp_path / "app"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "database.py").write_text(
        "from sqlalchemy.orm import declarative_base\nBase = declarative_base()\n"
    )
    (app / "models.py").write_text(
        "from sqlalchemy import Column, Integer\nfrom .database import Base\n\n\n"
        "class Place(Base):\n    __tablename__ = 'places'\n    id = Column(Integer, primary_key=True)\n"
    )
    done = run_dbp(tmp_path, "initdb")
    assert done.returncode == 0, done.stderr
    with db_plugins.connect(f"sqlite:///{tmp_path}/x.db") as db:
        assert "places" in sa.inspect(db.native).get_table_names()


STYLES = """
from sqlalchemy import Column, Integer, String, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, declarative_base, mapped_column, registry

Old = declarative_base()
mapping = registry()

class Classic(Old):
    __tablename__ = "classic"
    id = Column(Integer, primary_key=True)
    name = Column(String(40), index=True)

class Base(DeclarativeBase):
    pass

class Modern(Base):
    __tablename__ = "modern"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(40), index=True)

class Hybrid(Base):
    __table__ = Table(
        "hybrid", Base.metadata, Column("id", Integer, primary_key=True), Column("name", String(40), index=True)
    )

class Imperative:
    def __init__(self, name=None):
        self.name = name

mapping.map_imperatively(
    Imperative,
    Table(
        "imperative", mapping.metadata, Column("id", Integer, primary_key=True), Column("name", String(40), index=True)
    ),
)
"""


@on_engines("sqlite", "mongodb")
def test_four_styles_of_mapping_are_four_tables(project: Project) -> None:
    """001-23: declarative in the words of 1.4 and of 2.0, hybrid and imperative: seen by initdb, by the comparison that writes
    revisions, and by queries."""
    models = ("Classic", "Modern", "Hybrid", "Imperative")
    project.models(STYLES)
    made = project.make("-m", "Add four")
    assert all(name.lower() in made for name in models), made
    project.run("migrate")
    assert project.names() == {name.lower() for name in models}
    for name in models:
        project.insert(name, {"name": "a"}, {"name": "b"})
        assert project.rows(name, "id", "name") == [(1, "a"), (2, "b")]
    assert "agree" in project.run("check").stdout


def own_tables(db: db_plugins.Database) -> set[str]:
    """The tables or collections that are there, but for the library's own."""
    if has_sessions(db):
        return set(sa.inspect(db.native).get_table_names())
    return {name for name in db.native.list_collection_names() if not name.startswith(("_", "db_plugins"))}


@on(*EVERYWHERE)
def test_one_class_is_one_table(connect: Connect) -> None:
    """001-09: the table names are users and events."""
    assert own_tables(connect(SeedUser, Event)) == {"users", "events"}


@on(*EVERYWHERE)
def test_an_integer_key_counts_up(connect: Connect) -> None:
    """001-10: ids 1, 2, 3."""
    users = connect(SeedUser, Event).query(SeedUser)
    assert [users.insert({"email": f"{n}@x.org"}).id for n in range(3)] == [1, 2, 3]


@on(*EVERYWHERE)
def test_a_second_row_with_the_same_unique_value_is_refused(connect: Connect) -> None:
    """001-11: the second same email is an integrity error of the library, on every engine."""
    users = connect(SeedUser, Event).query(SeedUser)
    users.insert({"email": "a@x.org"})
    with pytest.raises(DuplicateKeyError) as caught:
        users.insert({"email": "a@x.org"})
    assert caught.value.attributes == ("email",)
    assert users.count() == 1


@on(*EVERYWHERE)
def test_a_column_with_index_true_has_an_index(connect: Connect) -> None:
    """001-12: ix_events_title is there."""
    db = connect(SeedUser, Event)
    if has_sessions(db):
        found = {i["name"]: i["column_names"] for i in sa.inspect(db.native).get_indexes("events")}
        assert found["ix_events_title"] == ["title"]
    else:
        assert "ix_events_title" in db.native["events"].index_information()


@on(*EVERYWHERE)
def test_a_date_goes_in_and_comes_out_and_text_is_refused(connect: Connect) -> None:
    """001-13: ``datetime.date`` both ways; a str is an error that names the column."""
    db = connect(SeedUser, Event)
    day = dt.date(2024, 6, 21)
    made = db.query(Event).insert({"title": "a", "date_of": day})
    read = db.query(Event).get(made.id)
    assert (type(read.date_of), read.date_of) == (dt.date, day)
    for write in (
        lambda: db.query(Event).insert({"date_of": "2024-06-21"}),
        lambda: db.query(Event).insert(Event(date_of="2024-06-21")),
        lambda: db.query(Event).update(read, {"date_of": "2024-06-21"}),
        lambda: db.query(Event).filter(date_of="2024-06-21").all(),
        *([lambda: add_in_session(db, Event(date_of="2024-06-21"))] if has_sessions(db) else []),
    ):
        with pytest.raises(InvalidValueError, match=r"Event\.date_of"):
            write()
    assert db.query(Event).count() == 1


@on(*EVERYWHERE)
def test_a_third_value_of_an_enum_is_refused_at_the_write(connect: Connect) -> None:
    """001-14: two options, and "bogus" is refused at the write, by a session too."""
    db = connect(SeedUser, Event)
    events = db.query(Event)
    events.insert({"social_status": SocialStatus.PUBLIC})
    events.insert({"social_status": "PRIVATE"})
    for write in (
        lambda: events.insert({"social_status": "bogus"}),
        lambda: events.bulk_insert([{"social_status": "bogus"}]),
        lambda: events.filter(id=1).update({"social_status": "bogus"}),
        *([lambda: add_in_session(db, Event(social_status="bogus"))] if has_sessions(db) else []),
    ):
        with pytest.raises(InvalidValueError, match=r"Event\.social_status"):
            write()
    assert [e.social_status for e in events.order_by("id").all()] == list(SocialStatus)


@on(*EVERYWHERE)
def test_a_one_to_many_relationship_has_two_sides(connect: Connect) -> None:
    """001-15: ``user.owner`` is a list, ``event.organizer`` the user; in a session appending sets the other side."""
    db = connect(SeedUser, Event)
    if has_sessions(db):
        with db.session() as s:
            user, event = SeedUser(id=1, email="a@x.org"), Event(id=1, title="a")
            s.add(user)
            user.owner.append(event)
            assert event.organizer is user
    else:
        db.query(SeedUser).insert({"id": 1, "email": "a@x.org"})
        db.query(Event).insert({"id": 1, "title": "a", "user_id": 1})
    user = db.query(SeedUser).include(SeedUser.owner, Event.organizer).get(1)
    assert [event.title for event in user.owner] == ["a"]
    assert user.owner[0].organizer.id == 1


@on(*EVERYWHERE)
def test_one_table_alone_is_a_start(connect: Connect) -> None:
    """001-16: User alone, its relationship removed, works."""
    own_base = declarative_base()

    class Alone(own_base):
        __tablename__ = "users"
        id = Column(Integer, primary_key=True)
        email = Column(String, unique=True, index=True)

    db = connect(Alone)
    assert own_tables(db) == {"users"}
    assert db.query(Alone).insert({"email": "a@x.org"}).id == 1


class Shelf(declarative_base()):  # type: ignore[misc]
    __tablename__ = "shelves"
    id = Column(Integer, primary_key=True)
    note = Column(String(40))


class Drawer(SQLModel, table=True):
    __tablename__ = "drawers"
    id: int | None = Field(default=None, primary_key=True)
    note: str | None = None


@pytest.mark.parametrize("model", [Shelf, Drawer], ids=["declarative", "sqlmodel"])
@on(*EVERYWHERE)
def test_a_name_that_is_no_column_is_refused_whatever_the_model_is(connect: Connect, model: type) -> None:
    """all-E1: SQLModel's constructor ignores it and a declarative one refuses it; a mapping that is inserted is refused."""
    rows = connect(model).query(model)
    with pytest.raises(InvalidValueError, match=r"nte.*note"):
        rows.insert({"nte": "x"})
    with pytest.raises(InvalidValueError, match=r"nte.*note"):
        rows.bulk_insert([{"nte": "x"}])
    assert rows.count() == 0
