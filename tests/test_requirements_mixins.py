"""The requirements of seed 000, by their ids: its orchestrators with keys and times, Create and Update models, sessions.

Where a row and the contract disagree, the contract holds, and the docstring says so.
"""

# No "from __future__ import annotations": SQLModel reads the annotations of relationships themselves.

import dataclasses
import datetime as dt
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest
import sqlalchemy as sa
import sqlmodel
from seeds import ALL, Connect, connect, entry, has_sessions, on
from sqlalchemy.orm import registry

import db_plugins
from db_plugins.models import schemas
from db_plugins.sqlmodel import MetadataMixin

__all__ = ["connect", "entry"]

SESSIONS = ("sqlite", "postgresql", "mariadb")


class ConcreteModel(sqlmodel.SQLModel, registry=registry()):
    """The base of 000's models: their own registry and metadata."""

    metadata = sa.MetaData()


@dataclasses.dataclass(frozen=True)
class SdkOrchestrator:
    """The object of the sdk that a row stands for."""

    type_name: str
    title: str | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


class OrchestratorBase(ConcreteModel):
    type_name: str = sqlmodel.Field(max_length=40)
    title: str | None = sqlmodel.Field(default=None, max_length=40)
    options: dict[str, Any] = sqlmodel.Field(default_factory=dict, sa_type=sa.JSON)


class Orchestrator(OrchestratorBase, MetadataMixin, table=True):
    operators: list["Operator"] = sqlmodel.Relationship(back_populates="orchestrator")

    @classmethod
    def from_obj(cls, obj: SdkOrchestrator) -> "Orchestrator":
        return cls(**dataclasses.asdict(obj))

    def to_obj(self) -> SdkOrchestrator:
        return SdkOrchestrator(self.type_name, self.title, self.options)


class Operator(ConcreteModel, MetadataMixin, table=True):
    name: str = sqlmodel.Field(max_length=40)
    orchestrator_id: uuid.UUID | None = sqlmodel.Field(default=None, foreign_key="orchestrator.id")
    orchestrator: Orchestrator | None = sqlmodel.Relationship(back_populates="operators")


class SavedMessage(ConcreteModel, MetadataMixin, table=True):
    content: str = sqlmodel.Field(max_length=40)


OrchestratorCreate, OrchestratorUpdate, OrchestratorRead = schemas(Orchestrator)
MODELS = (Orchestrator, Operator)


def test_create_requires_its_fields_and_update_none() -> None:
    """000-04: XCreate() is a ValidationError; XUpdate() is fine and has nothing set."""
    with pytest.raises(pydantic.ValidationError, match="type_name"):
        OrchestratorCreate()
    assert OrchestratorUpdate().model_dump(exclude_unset=True) == {}
    assert not {"id", "created_at", "updated_at"} & set(OrchestratorCreate.model_fields)
    assert [m.__name__ for m in (OrchestratorCreate, OrchestratorUpdate, OrchestratorRead)] == [
        *("OrchestratorCreate", "OrchestratorUpdate", "OrchestratorRead")
    ]


@on(*ALL)
def test_an_update_model_changes_the_given_fields_alone(connect: Connect) -> None:
    """000-05: the other column is as before."""
    query = connect(*MODELS).query(Orchestrator)
    row = query.insert(OrchestratorCreate(type_name="software", title="a"))
    query.update(row, OrchestratorUpdate(type_name="n"))
    found = query.get(row.id)
    assert (found.type_name, found.title) == ("n", "a")


@on(*ALL)
def test_none_clears_and_unset_keeps(connect: Connect) -> None:
    """000-06: XUpdate(title=None) makes it NULL; XUpdate() changes nothing, the time of the change neither."""
    query = connect(*MODELS).query(Orchestrator)
    row = query.insert(OrchestratorCreate(type_name="software", title="a"))
    query.update(row, OrchestratorUpdate())
    assert (query.get(row.id).title, query.get(row.id).updated_at) == ("a", row.updated_at)
    query.update(row, OrchestratorUpdate(title=None))
    assert (query.get(row.id).title, query.get(row.id).type_name) == (None, "software")
    assert query.filter(title=None).count() == 1
    with pytest.raises(pydantic.ValidationError, match="type_name"):
        OrchestratorUpdate(type_name=None)


@on(*ALL)
def test_a_row_stands_for_an_object_of_the_sdk(connect: Connect) -> None:
    """000-07: ``from_obj`` and ``to_obj``, after a round trip. They are the application's, on a plain model."""
    query = connect(*MODELS).query(Orchestrator)
    obj = SdkOrchestrator("software", options={"model": {"name": "x"}, "tries": [1, 2]})
    row = query.insert(Orchestrator.from_obj(obj))
    assert query.get(row.id).to_obj() == obj


@on(*SESSIONS)
def test_both_sides_of_a_relationship_see_each_other_in_a_session(connect: Connect) -> None:
    """000-08: ``op.orchestrator is orc and op in orc.operators``."""
    db = connect(*MODELS)
    with db.session() as s:
        orc = Orchestrator(type_name="software")
        op = Operator(name="a", orchestrator=orc)
        s.add(op)
        assert op.orchestrator is orc
        assert op in orc.operators
    with db.session() as s:
        op = s.scalars(sa.select(Operator)).one()
        assert op in op.orchestrator.operators
        assert op.orchestrator_id == orc.id


@on(*ALL)
def test_the_mixin_fills_in_key_and_times(connect: Connect) -> None:
    """000-12: none of the three is passed and none is None; ids are unique over 1000 rows."""
    db = connect(*MODELS)
    keys = db.query(Operator).bulk_insert([{"name": "a"}] * 1000, return_keys=True).keys
    assert len(set(keys)) == 1000
    rows = db.query(Operator).all()
    assert {row.id for row in rows} == set(keys)
    assert all(isinstance(row.id, uuid.UUID) and row.created_at and row.updated_at for row in rows)
    if has_sessions(db):
        with db.session() as s:
            row = Operator(name="b")
            s.add(row)
            s.commit()
            s.refresh(row)
            assert None not in (row.id, row.created_at, row.updated_at)


@on(*ALL)
def test_the_time_of_the_update_moves_and_that_of_the_making_does_not(connect: Connect) -> None:
    """000-13: after 10 ms ``updated_at > before and created_at == before``, in a session too."""
    db = connect(*MODELS)
    row = db.query(Operator).insert(Operator(name="a"))
    before, created = row.updated_at, row.created_at
    time.sleep(0.01)
    db.query(Operator).update(row, {"name": "b"})
    found = db.query(Operator).get(row.id)
    assert found.updated_at > before
    assert found.created_at == created
    if has_sessions(db):
        time.sleep(0.01)
        with db.session() as s:
            s.get(Operator, row.id).name = "c"
        again = db.query(Operator).get(row.id)
        assert again.updated_at > found.updated_at
        assert again.created_at == created


@on(*ALL)
def test_times_are_aware_in_utc_on_every_engine(connect: Connect) -> None:
    """000-14: ``row.created_at.tzinfo is not None``, also of what a session reads."""
    db = connect(*MODELS)
    row = db.query(Operator).insert({"name": "a"})
    assert [t.utcoffset() for t in (row.created_at, row.updated_at)] == [dt.timedelta(0)] * 2
    assert db.query(Operator).get(row.id).created_at == row.created_at
    assert abs(dt.datetime.now(dt.UTC) - row.created_at) < dt.timedelta(minutes=1)
    if has_sessions(db):
        with db.session() as s:
            assert s.get(Operator, row.id).created_at == row.created_at


class Conductor:
    """The seed's SoftwareOrchestrator, as far as this is about it: messages pass through, and may be saved."""

    def __init__(self, db: db_plugins.Database, save_messages: bool = False) -> None:
        self.db, self.save_messages = db, save_messages

    def run(self, *contents: str) -> Iterator[str]:
        for content in contents:
            if self.save_messages:
                self.db.query(SavedMessage).insert(SavedMessage(content=content))
            yield content


@on(*ALL)
def test_messages_are_saved_where_that_is_switched_on(connect: Connect) -> None:
    """000-21: the same run with ``save_messages`` False or left out is 0 rows, with True n. The switch is the
    application's."""
    db = connect(SavedMessage)
    for options in ({}, {"save_messages": False}):
        assert list(Conductor(db, **options).run("a", "b", "c")) == ["a", "b", "c"]
        assert db.query(SavedMessage).count() == 0
    assert list(Conductor(db, save_messages=True).run("a", "b", "c")) == ["a", "b", "c"]
    assert [m.content for m in db.query(SavedMessage).order_by("id").all()] == ["a", "b", "c"]


@on(*SESSIONS)
def test_a_session_whose_commit_is_left_to_the_user(connect: Connect) -> None:
    """000-22: without commit 0 rows, with it 1, and no connection is kept. In the contract that is
    ``session(commit=False)``: a plain ``session()`` commits at the end."""
    db = connect(*MODELS)
    with db.session(commit=False) as s:
        s.add(Operator(name="a"))
        s.flush()
    assert db.query(Operator).count() == 0
    with db.session(commit=False) as s:
        s.add(Operator(name="a"))
        s.commit()
    assert db.query(Operator).count() == 1
    assert db.native.pool.checkedout() == 0


@on(*SESSIONS)
@pytest.mark.parametrize("commit", [True, False])
def test_an_exception_in_a_session_is_raised_again_and_undoes_it(connect: Connect, commit: bool) -> None:
    """000-23: 0 rows, the same exception, the connection given back."""
    db = connect(*MODELS)
    error = ZeroDivisionError("mine")
    with pytest.raises(ZeroDivisionError) as caught, db.session(commit=commit) as s:
        s.add(Operator(name="a"))
        s.flush()
        raise error
    assert caught.value is error
    assert db.query(Operator).count() == 0
    assert db.native.pool.checkedout() == 0


def run_program(folder: Path, text: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_a_model_needs_is_imported_from_two_places(tmp_path: Path) -> None:
    """000-24: two import lines. In the contract a Session comes from ``db.session()``, so the root gives ``connect``."""
    run_program(
        tmp_path,
        "from db_plugins import connect\nfrom db_plugins.models import Base, MetadataMixin, TimestampMixin, schemas\n",
    )
    run_program(tmp_path, "from db_plugins.sqlmodel import MetadataMixin, TimestampMixin\n")


def test_saving_by_hand_takes_four_lines(tmp_path: Path) -> None:
    """000-25: the seed's example, its table named: class, add, commit, 1 row."""
    program = """
import db_plugins
from db_plugins.models import MetadataMixin, Base

class MyModel(Base, MetadataMixin):
    __tablename__ = "mymodel"

db = db_plugins.connect("sqlite:///my.db", models=[MyModel])
db.create_all()
with db.session(commit=False) as session:
    my_model = MyModel()
    session.add(my_model)
    session.commit()
print(db.query(MyModel).count(), db.query(MyModel).one().id == my_model.id)
db.close()
"""
    assert run_program(tmp_path, program) == "1 True\n"
