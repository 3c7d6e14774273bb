"""A team is run, saved, read back, changed and deleted; the same output on every engine.

python -m examples.concrete
DB_DRIVER=sqlite DB_DATABASE=concrete.db python -m examples.concrete
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from db_plugins import Database, DbPluginsError

from . import get_db, sdk
from .models import (
    Client,
    Message,
    Operator,
    Orchestrator,
    OrchestratorToolLink,
    OrchestratorUpdate,
    Project,
    Tool,
    User,
    UserCreate,
)
from .recorder import load, messages_of, store

TABLES = (User, Orchestrator, Operator, Client, Project, Message, OrchestratorToolLink, Tool)
TEAM = sdk.SoftwareOrchestrator(
    "Build a clock",
    operators=[
        sdk.Operator("executive", "Plan:", [sdk.Client("large")]),
        sdk.Operator("developer", "Write:", [sdk.Client("large"), sdk.Client("small", 0.7)]),
    ],
    tools=[sdk.Tool("editor"), sdk.Tool("shell")],
)


def main() -> None:
    db = get_db()
    list(TEAM.run("It shows the time."))
    print("run without saving:", counts(db))
    list(replace(TEAM, save_messages=True).run("It shows the time."))
    print("run and saved:     ", counts(db))

    project = db.query(Project).one()
    for message in messages_of(db, project):
        print(f"  {message.sender}: {message.content}")
    print("read back is equal:", load(db, project.orchestrator_id) == TEAM)

    ann: Any = db.query(User).insert(UserCreate(email="ann@example.org"))
    second = store(db, TEAM, user=ann)
    db.query(Orchestrator).update(second, OrchestratorUpdate(description="the same, for Ann"))
    db.query(Orchestrator).update(second, OrchestratorUpdate(title="Build a sundial"))
    found = db.query(User).include(User.orchestrators, Orchestrator.operators).filter(email=ann.email).one()
    for each in found.orchestrators:
        print(f"Ann's: {each.title}, {each.description}, {[member.name for member in each.operators]}")
    print("two teams:         ", counts(db))

    db.query(Orchestrator).filter(id=project.orchestrator_id).delete()
    print("first team deleted:", counts(db))
    db.query(User).delete(ann)
    print("Ann deleted:       ", counts(db))


def counts(db: Database) -> str:
    found = ((model.__name__, db.query(model).count()) for model in TABLES)
    return ", ".join(f"{count} {name}" for name, count in found if count) or "nothing"


if __name__ == "__main__":
    try:
        main()
    except DbPluginsError as error:
        raise SystemExit(f"error: {error}") from None
