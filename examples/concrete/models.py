"""The rows behind the SDK's objects. ``MetadataMixin`` gives each an ``id``, ``created_at`` and ``updated_at``.

    User ── Orchestrator ── Operator ── Client
                │              └─────── Message
                ├────────── Project ──────┘
                └══ Tool                          a link table: tools are shared

Whatever hangs below a row is deleted with it; tools stay. ``ThingBase`` has the fields, ``ThingCreate`` and ``ThingUpdate`` are
what a program is given (the latter with nothing required), ``ThingRead`` is what it shows.
"""

# No "from __future__ import annotations": SQLModel reads the annotations of relationships themselves.

import uuid

import sqlalchemy as sa
from sqlalchemy.orm import registry
from sqlmodel import Field, Relationship, SQLModel

from db_plugins.models import schemas
from db_plugins.sqlmodel import MetadataMixin

from . import sdk


class Base(SQLModel, registry=registry()):
    """Of all models here. Metadata of their own: other SQLModel classes in a program are no concern of theirs."""

    metadata = sa.MetaData()


class OrchestratorToolLink(Base, table=True):
    orchestrator_id: uuid.UUID = Field(foreign_key="orchestrator.id", primary_key=True)
    tool_id: uuid.UUID = Field(foreign_key="tool.id", primary_key=True)


class UserBase(Base):
    email: str = Field(max_length=120, unique=True)
    name: str | None = Field(default=None, max_length=80)


class User(UserBase, MetadataMixin, table=True):
    orchestrators: list["Orchestrator"] = Relationship(back_populates="user", cascade_delete=True)


class OrchestratorBase(Base):
    title: str = Field(max_length=80)
    description: str | None = Field(default=None, max_length=200)
    user_id: uuid.UUID | None = Field(default=None, foreign_key="user.id", index=True)


class Orchestrator(OrchestratorBase, MetadataMixin, table=True):
    """An ``sdk.SoftwareOrchestrator``."""

    user: User | None = Relationship(back_populates="orchestrators")
    operators: list["Operator"] = Relationship(back_populates="orchestrator", cascade_delete=True)
    projects: list["Project"] = Relationship(back_populates="orchestrator", cascade_delete=True)
    tools: list["Tool"] = Relationship(back_populates="orchestrators", link_model=OrchestratorToolLink)

    @classmethod
    def from_obj(cls, obj: sdk.SoftwareOrchestrator, user: User | None = None) -> "Orchestrator":
        return cls(title=obj.title, user_id=user and user.id)

    def to_obj(self) -> sdk.SoftwareOrchestrator:
        """With its operators and tools, which must be loaded."""
        return sdk.SoftwareOrchestrator(
            self.title,
            operators=[operator.to_obj() for operator in self.operators],
            tools=[tool.to_obj() for tool in self.tools],
        )


class OperatorBase(Base):
    name: str = Field(max_length=40)
    instructions: str = Field(sa_type=sa.Text)
    orchestrator_id: uuid.UUID = Field(foreign_key="orchestrator.id", index=True)


class Operator(OperatorBase, MetadataMixin, table=True):
    """An ``sdk.Operator``."""

    orchestrator: Orchestrator = Relationship(back_populates="operators")
    clients: list["Client"] = Relationship(back_populates="operator", cascade_delete=True)
    messages: list["Message"] = Relationship(back_populates="operator", cascade_delete=True)

    @classmethod
    def from_obj(cls, obj: sdk.Operator, orchestrator: Orchestrator) -> "Operator":
        return cls(name=obj.name, instructions=obj.instructions, orchestrator_id=orchestrator.id)

    def to_obj(self) -> sdk.Operator:
        return sdk.Operator(self.name, self.instructions, [client.to_obj() for client in self.clients])


class ClientBase(Base):
    model: str = Field(max_length=80)
    temperature: float = 0.0
    operator_id: uuid.UUID = Field(foreign_key="operator.id", index=True)


class Client(ClientBase, MetadataMixin, table=True):
    """An ``sdk.Client``."""

    operator: Operator = Relationship(back_populates="clients")

    @classmethod
    def from_obj(cls, obj: sdk.Client, operator: Operator) -> "Client":
        return cls(model=obj.model, temperature=obj.temperature, operator_id=operator.id)

    def to_obj(self) -> sdk.Client:
        return sdk.Client(self.model, self.temperature)


class ToolBase(Base):
    name: str = Field(max_length=40, unique=True)


class Tool(ToolBase, MetadataMixin, table=True):
    """An ``sdk.Tool``. Several orchestrators may have it."""

    orchestrators: list[Orchestrator] = Relationship(back_populates="tools", link_model=OrchestratorToolLink)

    def to_obj(self) -> sdk.Tool:
        return sdk.Tool(self.name)


class ProjectBase(Base):
    prompt: str = Field(sa_type=sa.Text)
    orchestrator_id: uuid.UUID = Field(foreign_key="orchestrator.id", index=True)


class Project(ProjectBase, MetadataMixin, table=True):
    """One run of an orchestrator."""

    orchestrator: Orchestrator = Relationship(back_populates="projects")
    messages: list["Message"] = Relationship(back_populates="project", cascade_delete=True)


class MessageBase(Base):
    content: str = Field(sa_type=sa.Text)
    operator_id: uuid.UUID = Field(foreign_key="operator.id", index=True)
    project_id: uuid.UUID = Field(foreign_key="project.id", index=True)


class Message(MessageBase, MetadataMixin, table=True):
    """An ``sdk.Message``."""

    operator: Operator = Relationship(back_populates="messages")
    project: Project = Relationship(back_populates="messages")

    @classmethod
    def from_obj(cls, obj: sdk.Message, operator: Operator, project: Project) -> "Message":
        return cls(content=obj.content, operator_id=operator.id, project_id=project.id)

    def to_obj(self) -> sdk.Message:
        """Its operator must be loaded."""
        return sdk.Message(self.operator.name, self.content)


UserCreate, UserUpdate, UserRead = schemas(User)
OrchestratorCreate, OrchestratorUpdate, OrchestratorRead = schemas(Orchestrator)
OperatorCreate, OperatorUpdate, OperatorRead = schemas(Operator)
ClientCreate, ClientUpdate, ClientRead = schemas(Client)
ToolCreate, ToolUpdate, ToolRead = schemas(Tool)
ProjectCreate, ProjectUpdate, ProjectRead = schemas(Project)
MessageCreate, MessageUpdate, MessageRead = schemas(Message)
