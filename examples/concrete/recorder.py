"""Saving what passes: the SDK's objects become rows, and rows objects. The same calls on every engine, without a Session."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator

from db_plugins import Capability, Database

from . import sdk
from .database import get_db
from .models import Client, Message, Operator, Orchestrator, OrchestratorToolLink, Project, Tool, User


def record(
    team: sdk.SoftwareOrchestrator, prompt: str, messages: Iterable[sdk.Message], db: Database | None = None
) -> Iterator[sdk.Message]:
    """Let the messages pass and store each one as it does. The team and the run are stored before the first."""
    db = db or get_db()
    orchestrator = store(db, team)
    members = {row.name: row for row in db.query(Operator).filter(orchestrator_id=orchestrator.id).all()}
    project = db.query(Project).insert(Project(prompt=prompt, orchestrator_id=orchestrator.id))
    for message in messages:
        db.query(Message).insert(Message.from_obj(message, members[message.sender], project))
        yield message


def store(db: Database, team: sdk.SoftwareOrchestrator, user: User | None = None) -> Orchestrator:
    """A team with its operators, their clients and its tools: all or nothing, where the engine has transactions."""
    if Capability.TRANSACTIONS in db.capabilities:
        return db.run_transaction(lambda tx: _store(tx, team, user))
    return _store(db, team, user)


def _store(db: Database, team: sdk.SoftwareOrchestrator, user: User | None) -> Orchestrator:
    orchestrator = db.query(Orchestrator).insert(Orchestrator.from_obj(team, user))
    for member in team.operators:
        operator = db.query(Operator).insert(Operator.from_obj(member, orchestrator))
        db.query(Client).bulk_insert(Client.from_obj(client, operator) for client in member.clients)
    for each in team.tools:
        tool, _is_new = db.query(Tool).get_or_create({"name": each.name})
        db.query(OrchestratorToolLink).insert({"orchestrator_id": orchestrator.id, "tool_id": tool.id})
    return orchestrator


def load(db: Database, key: uuid.UUID) -> sdk.SoftwareOrchestrator:
    """The team of this key. Raises NotFoundError."""
    teams = db.query(Orchestrator).include(Orchestrator.operators, Operator.clients, Orchestrator.tools)
    return teams.filter(id=key).one().to_obj()


def messages_of(db: Database, project: Project) -> list[sdk.Message]:
    """What was said in a run, in its order: keys are UUIDs of version 7, which sort by their age."""
    rows = db.query(Message).filter(project_id=project.id).include(Message.operator).order_by("id")
    return [row.to_obj() for row in rows.all()]
