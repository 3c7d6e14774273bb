"""The requirements of seeds 000 and 004 about what goes with a deleted row, by their ids, on every engine.

Orchestrator ── operators ── messages     cascade_delete=True, to any depth
             ── projects
             ── tools                     a link model
"""

# No "from __future__ import annotations": SQLModel reads the annotations of relationships themselves.

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
import sqlmodel
from seeds import (
    EVERYWHERE,
    Connect,
    Conversation,
    Message,
    User,
    connect,
    entry,
    fill_history,
    has_sessions,
    on,
)
from sqlalchemy.orm import registry
from sqlmodel import Field, Relationship

from db_plugins import Database
from db_plugins.errors import ForeignKeyError, NotNullError

__all__ = ["connect", "entry"]


class Agents(sqlmodel.SQLModel, registry=registry()):
    """The base of 000's models: their own registry and metadata."""

    metadata = sa.MetaData()


class OrchestratorTool(Agents, table=True):
    orchestrator_id: int | None = Field(default=None, foreign_key="orchestrator.id", primary_key=True)
    tool_id: int | None = Field(default=None, foreign_key="tool.id", primary_key=True)


class Orchestrator(Agents, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str
    operators: list["Operator"] = Relationship(back_populates="orchestrator", cascade_delete=True)
    projects: list["Project"] = Relationship(back_populates="orchestrator", cascade_delete=True)
    tools: list["Tool"] = Relationship(back_populates="orchestrators", link_model=OrchestratorTool)


class Operator(Agents, table=True):
    id: int | None = Field(default=None, primary_key=True)
    orchestrator_id: int = Field(foreign_key="orchestrator.id")
    orchestrator: Orchestrator = Relationship(back_populates="operators")
    messages: list["OperatorMessage"] = Relationship(back_populates="operator", cascade_delete=True)


class OperatorMessage(Agents, table=True):
    id: int | None = Field(default=None, primary_key=True)
    operator_id: int = Field(foreign_key="operator.id")
    operator: Operator = Relationship(back_populates="messages")


class Project(Agents, table=True):
    id: int | None = Field(default=None, primary_key=True)
    orchestrator_id: int = Field(foreign_key="orchestrator.id")
    orchestrator: Orchestrator = Relationship(back_populates="projects")


class Tool(Agents, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str
    orchestrators: list[Orchestrator] = Relationship(back_populates="tools", link_model=OrchestratorTool)


AGENTS = (Orchestrator, Operator, OperatorMessage, Project, Tool, OrchestratorTool)
HISTORY = (User, Conversation, Message)


def fill(db: Database) -> None:
    """Two orchestrators with three operators of two messages, two projects, and three shared tools each."""
    db.query(Tool).bulk_insert({"id": n, "name": f"tool {n}"} for n in (1, 2, 3))
    for n in (1, 2):
        db.query(Orchestrator).insert({"id": n, "name": f"o{n}"})
        db.query(Operator).bulk_insert({"id": 10 * n + k, "orchestrator_id": n} for k in range(3))
        db.query(OperatorMessage).bulk_insert({"operator_id": 10 * n + k // 2} for k in range(6))
        db.query(Project).bulk_insert({"orchestrator_id": n} for _ in range(2))
        db.query(OrchestratorTool).bulk_insert({"orchestrator_id": n, "tool_id": k} for k in (1, 2, 3))


def counts(db: Database, *models: Any) -> list[int]:
    """How many rows there are of each."""
    return [db.query(model).count() for model in models]


def delete_one(db: Database) -> None:
    orchestrator = db.query(Orchestrator).get(1)
    assert orchestrator is not None
    assert db.query(Orchestrator).delete(orchestrator) is True


def delete_in_bulk(db: Database) -> None:
    assert db.query(Orchestrator).filter(name="o1").delete() == 1


WAYS = pytest.mark.parametrize("delete", [delete_one, delete_in_bulk])


@WAYS
@on(*EVERYWHERE)
def test_a_parent_takes_its_children_with_it_to_any_depth(
    connect: Connect, delete: Callable[[Database], None]
) -> None:
    """000-09: no operators, projects and messages of it are left, and no orphan. 000-10: of a bulk delete, too."""
    db = connect(*AGENTS)
    fill(db)
    delete(db)
    assert counts(db, Orchestrator, Operator, OperatorMessage, Project) == [1, 3, 6, 2]
    assert db.query(Operator).filter(orchestrator_id=1).count() == 0
    assert db.query(Project).filter(orchestrator_id=1).count() == 0
    assert db.query(OperatorMessage).filter(OperatorMessage.operator_id < 20).count() == 0
    assert db.query(Orchestrator).delete(force=True) == 1
    assert counts(db, Orchestrator, Operator, OperatorMessage, Project, OrchestratorTool) == [0] * 5


@WAYS
@on(*EVERYWHERE)
def test_link_rows_vanish_with_the_parent_and_the_tools_stay(
    connect: Connect, delete: Callable[[Database], None]
) -> None:
    """000-11: no link row of the orchestrator is left, and as many tools as before."""
    db = connect(*AGENTS)
    fill(db)
    delete(db)
    assert db.query(OrchestratorTool).filter(orchestrator_id=1).count() == 0
    assert counts(db, OrchestratorTool, Tool) == [3, 3]
    assert db.query(Tool).filter(id=1).delete() == 1
    assert counts(db, OrchestratorTool, Tool, Orchestrator) == [2, 2, 1]


@on(*EVERYWHERE)
def test_a_foreign_key_is_enforced_on_every_engine(connect: Connect) -> None:
    """004-12: a conversation of user 999 is an error, on SQLite and MongoDB too."""
    db = connect(*HISTORY)
    fill_history(db)
    talks = db.query(Conversation)
    writes: list[Callable[[], Any]] = [
        lambda: talks.insert({"user_id": 999, "title": "a"}),
        lambda: talks.insert(Conversation(user_id=999, title="a")),
        lambda: talks.bulk_insert([{"user_id": 1, "title": "a"}, {"user_id": 999, "title": "a"}]),
        lambda: talks.filter(user_id=1).update({"user_id": 999}),
    ]
    for write in writes:
        with pytest.raises(ForeignKeyError, match=r"Conversation\.user_id names no User") as caught:
            write()
        assert caught.value.attributes == ("user_id",)
    assert counts(db, Conversation) == [6]
    assert talks.filter(user_id=1).count() == 3


@on(*EVERYWHERE)
def test_a_parent_without_cascade_stays_and_the_error_names_the_child(connect: Connect) -> None:
    """004-13: the relationship has no cascade and the key cannot be NULL, which a session says too; nothing changes."""
    db = connect(*HISTORY)
    fill_history(db)

    def in_a_session() -> None:
        with db.session() as s:
            s.delete(s.get(User, 1))

    user = db.query(User).get(1)
    assert user is not None
    deletes: list[Callable[[], Any]] = [
        lambda: db.query(User).delete(user),
        lambda: db.query(User).filter(name="ann").delete(),
    ]
    for delete in [*deletes, *([in_a_session] if has_sessions(db) else [])]:
        with pytest.raises(NotNullError, match="Conversation") as caught:
            delete()
        assert caught.value.attributes == ("user_id",)
    for delete in deletes:
        with pytest.raises(NotNullError, match=r"Conversation\.user_id cannot be None"):
            delete()
    assert counts(db, *HISTORY) == [2, 6, 36]
    assert db.query(Conversation).filter(user_id=1).count() == 3
