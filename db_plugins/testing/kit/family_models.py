"""The models of the tests about parents and children: a household of orchestrators, and one of each kind of foreign key.

They have a MetaData of their own: what goes with a deleted row depends on all the models beside it.
"""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

__all__ = [
    "Boat",
    "Branch",
    "Chain",
    "Desk",
    "Engineer",
    "Entry",
    "Guild",
    "Guildsman",
    "Hall",
    "Harbour",
    "Leaf",
    "Ledger",
    "Left",
    "Letter",
    "Link",
    "Locker",
    "Mark",
    "Mooring",
    "Note",
    "Operator",
    "Orchestrator",
    "Owner",
    "Pet",
    "Project",
    "Reading",
    "Right",
    "Sender",
    "Sensor",
    "Ship",
    "Speech",
    "Staff",
    "Stray",
    "Tag",
    "Task",
    "Tool",
    "Twig",
    "Work",
    "tags_of",
    "tools_of",
]


class Family(DeclarativeBase):
    pass


tools_of = sa.Table(
    "kit_f_tools_of",
    Family.metadata,
    sa.Column("orchestrator", sa.ForeignKey("kit_f_orchestrator.id"), primary_key=True),
    sa.Column("tool", sa.ForeignKey("kit_f_tool.id"), primary_key=True),
)

DELETE = "all, delete-orphan"


class Orchestrator(Family):
    """Takes its operators and projects with it, and their tasks and speeches; its tools stay."""

    __tablename__ = "kit_f_orchestrator"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(20))
    operators: Mapped[list[Operator]] = relationship(back_populates="orchestrator", cascade=DELETE)
    projects: Mapped[list[Project]] = relationship(cascade=DELETE)
    tools: Mapped[list[Tool]] = relationship(secondary=tools_of, back_populates="users")


class Operator(Family):
    __tablename__ = "kit_f_operator"
    id: Mapped[int] = mapped_column(primary_key=True)
    orchestrator_id: Mapped[int] = mapped_column(sa.ForeignKey("kit_f_orchestrator.id"))
    orchestrator: Mapped[Orchestrator] = relationship(back_populates="operators")
    speeches: Mapped[list[Speech]] = relationship(cascade=DELETE)


class Speech(Family):
    __tablename__ = "kit_f_speech"
    id: Mapped[int] = mapped_column(primary_key=True)
    operator_id: Mapped[int] = mapped_column(sa.ForeignKey("kit_f_operator.id"))


class Project(Family):
    """Its tasks go with it; the notes about it stay, without it."""

    __tablename__ = "kit_f_project"
    id: Mapped[int] = mapped_column(primary_key=True)
    orchestrator_id: Mapped[int] = mapped_column(sa.ForeignKey("kit_f_orchestrator.id"))
    tasks: Mapped[list[Task]] = relationship(cascade=DELETE)
    notes: Mapped[list[Note]] = relationship()


class Task(Family):
    __tablename__ = "kit_f_task"
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(sa.ForeignKey("kit_f_project.id"))


class Note(Family):
    __tablename__ = "kit_f_note"
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int | None] = mapped_column("project", sa.ForeignKey("kit_f_project.id"))
    version: Mapped[int] = mapped_column(default=1, onupdate=2)


class Tool(Family):
    __tablename__ = "kit_f_tool"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(20))
    users: Mapped[list[Orchestrator]] = relationship(secondary=tools_of, back_populates="tools")


class Ledger(Family):
    """Its entries cannot be without it, and do not go with it."""

    __tablename__ = "kit_f_ledger"
    id: Mapped[int] = mapped_column(primary_key=True)
    marks: Mapped[list[Mark]] = relationship(cascade=DELETE)
    entries: Mapped[list[Entry]] = relationship()


class Mark(Family):
    __tablename__ = "kit_f_mark"
    id: Mapped[int] = mapped_column(primary_key=True)
    ledger_id: Mapped[int] = mapped_column(sa.ForeignKey("kit_f_ledger.id"))


class Entry(Family):
    __tablename__ = "kit_f_entry"
    id: Mapped[int] = mapped_column(primary_key=True)
    ledger_id: Mapped[int] = mapped_column("ledger", sa.ForeignKey("kit_f_ledger.id"))


class Branch(Family):
    """A tree whose branches go with the one that they are on."""

    __tablename__ = "kit_f_branch"
    id: Mapped[int] = mapped_column(primary_key=True)
    on_id: Mapped[int | None] = mapped_column(sa.ForeignKey("kit_f_branch.id"))
    rank: Mapped[int] = mapped_column(default=0)
    branches: Mapped[list[Branch]] = relationship(cascade=DELETE)
    leaves: Mapped[list[Leaf]] = relationship(cascade="all")


class Leaf(Family):
    __tablename__ = "kit_f_leaf"
    id: Mapped[int] = mapped_column(primary_key=True)
    branch_id: Mapped[int | None] = mapped_column(sa.ForeignKey("kit_f_branch.id"))


class Twig(Family):
    """A tree whose twigs stay, without the one that they were on."""

    __tablename__ = "kit_f_twig"
    id: Mapped[int] = mapped_column(primary_key=True)
    on_id: Mapped[int | None] = mapped_column(sa.ForeignKey("kit_f_twig.id"))
    twigs: Mapped[list[Twig]] = relationship()


class Left(Family):
    """Refers to a Right, and a Right to it."""

    __tablename__ = "kit_f_left"
    id: Mapped[int] = mapped_column(primary_key=True)
    right_id: Mapped[int | None] = mapped_column(
        sa.ForeignKey("kit_f_right.id", use_alter=True, name="kit_f_left_right")
    )
    rights: Mapped[list[Right]] = relationship(cascade="all", foreign_keys="Right.left_id")


class Right(Family):
    __tablename__ = "kit_f_right"
    id: Mapped[int] = mapped_column(primary_key=True)
    left_id: Mapped[int | None] = mapped_column(sa.ForeignKey("kit_f_left.id"))
    lefts: Mapped[list[Left]] = relationship(cascade="all", foreign_keys="Left.right_id")


class Hall(Family):
    """A composite key: its desks go, its lockers stay."""

    __tablename__ = "kit_f_hall"
    house: Mapped[str] = mapped_column("house_no", sa.String(5), primary_key=True)
    floor: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    desks: Mapped[list[Desk]] = relationship(cascade=DELETE)
    lockers: Mapped[list[Locker]] = relationship()


class Desk(Family):
    __tablename__ = "kit_f_desk"
    __table_args__ = (
        sa.ForeignKeyConstraint(["house", "floor"], ["kit_f_hall.house_no", "kit_f_hall.floor"]),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    house: Mapped[str] = mapped_column(sa.String(5))
    floor: Mapped[int]


class Locker(Family):
    __tablename__ = "kit_f_locker"
    __table_args__ = (
        sa.ForeignKeyConstraint(["house", "floor"], ["kit_f_hall.house_no", "kit_f_hall.floor"]),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    house: Mapped[str | None] = mapped_column(sa.String(5))
    floor: Mapped[int | None]


class Owner(Family):
    """One to one, and a relationship with a condition that another one covers."""

    __tablename__ = "kit_f_owner"
    id: Mapped[int] = mapped_column(primary_key=True)
    pet: Mapped[Pet | None] = relationship(cascade=DELETE, back_populates="owner")
    old_pets: Mapped[list[Pet]] = relationship(
        primaryjoin="and_(Owner.id == Pet.owner_id, Pet.age > 9)", overlaps="pet,owner"
    )


class Pet(Family):
    __tablename__ = "kit_f_pet"
    id: Mapped[int] = mapped_column(primary_key=True)
    age: Mapped[int] = mapped_column(default=1)
    owner_id: Mapped[int | None] = mapped_column(sa.ForeignKey("kit_f_owner.id"))
    owner: Mapped[Owner | None] = relationship(back_populates="pet")


class Stray(Family):
    """Takes its owner with it: a cascade to a parent."""

    __tablename__ = "kit_f_stray"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int | None] = mapped_column(sa.ForeignKey("kit_f_owner.id"))
    owner: Mapped[Owner | None] = relationship(cascade="all, delete", single_parent=True)


class Harbour(Family):
    """Ships and boats are left to the database, each with another word; moorings say nothing."""

    __tablename__ = "kit_f_harbour"
    id: Mapped[int] = mapped_column(primary_key=True)
    ships: Mapped[list[Ship]] = relationship(cascade="all", passive_deletes=True)
    boats: Mapped[list[Boat]] = relationship(passive_deletes=True)
    moorings: Mapped[list[Mooring]] = relationship(passive_deletes="all")


class Ship(Family):
    __tablename__ = "kit_f_ship"
    id: Mapped[int] = mapped_column(primary_key=True)
    harbour_id: Mapped[int] = mapped_column(sa.ForeignKey("kit_f_harbour.id", ondelete="CASCADE"))


class Letter(Family):
    """Without a relationship; goes with a ship."""

    __tablename__ = "kit_f_letter"
    id: Mapped[int] = mapped_column(primary_key=True)
    ship_id: Mapped[int] = mapped_column(sa.ForeignKey("kit_f_ship.id", ondelete="CASCADE"))


class Boat(Family):
    __tablename__ = "kit_f_boat"
    id: Mapped[int] = mapped_column(primary_key=True)
    harbour_id: Mapped[int | None] = mapped_column(sa.ForeignKey("kit_f_harbour.id", ondelete="SET NULL"))


class Mooring(Family):
    __tablename__ = "kit_f_mooring"
    id: Mapped[int] = mapped_column(primary_key=True)
    harbour_id: Mapped[int | None] = mapped_column(sa.ForeignKey("kit_f_harbour.id", ondelete="RESTRICT"))


class Sensor(Family):
    """Readings refer to it without a relationship; by its key, and by its name."""

    __tablename__ = "kit_f_sensor"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column("sensor_name", sa.String(20), unique=True)
    twin_id: Mapped[int | None] = mapped_column(sa.ForeignKey("kit_f_sensor.id"))


class Reading(Family):
    __tablename__ = "kit_f_reading"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[dt.date | None]
    shift: Mapped[int] = mapped_column(default=0)
    sensor_id: Mapped[int | None] = mapped_column("sensor", sa.ForeignKey("kit_f_sensor.id"))
    sensor_name: Mapped[str | None] = mapped_column(
        "of_name", sa.String(20), sa.ForeignKey("kit_f_sensor.sensor_name")
    )


class Staff(Family):
    """The base of a single-table inheritance: only engineers have works that go with them."""

    __tablename__ = "kit_f_staff"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(10))
    guild_id: Mapped[int | None] = mapped_column(sa.ForeignKey("kit_f_guild.id"))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "staff"}


class Engineer(Staff):
    works: Mapped[list[Work]] = relationship(cascade=DELETE)
    __mapper_args__ = {"polymorphic_identity": "engineer"}


class Guildsman(Staff):
    guild: Mapped[Guild | None] = relationship(back_populates="members")
    __mapper_args__ = {"polymorphic_identity": "guildsman"}


class Work(Family):
    __tablename__ = "kit_f_work"
    id: Mapped[int] = mapped_column(primary_key=True)
    engineer_id: Mapped[int] = mapped_column(sa.ForeignKey("kit_f_staff.id"))


class Guild(Family):
    """Only guildsmen are its members; other staff refer to it by the column they share."""

    __tablename__ = "kit_f_guild"
    id: Mapped[int] = mapped_column(primary_key=True)
    members: Mapped[list[Guildsman]] = relationship(back_populates="guild")


tags_of = sa.Table(
    "kit_f_tags_of",
    Family.metadata,
    sa.Column("sender", sa.ForeignKey("kit_f_sender.id"), primary_key=True),
    sa.Column("tag", sa.ForeignKey("kit_f_tag.id"), primary_key=True),
)


class Sender(Family):
    """Takes the tags that it links with it."""

    __tablename__ = "kit_f_sender"
    id: Mapped[int] = mapped_column(primary_key=True)
    tags: Mapped[list[Tag]] = relationship(secondary=tags_of, cascade="all, delete", back_populates="senders")


class Tag(Family):
    __tablename__ = "kit_f_tag"
    id: Mapped[int] = mapped_column(primary_key=True)
    senders: Mapped[list[Sender]] = relationship(secondary=tags_of, back_populates="tags")


class Link(Family):
    """Its children are told by a condition that delete cannot follow."""

    __tablename__ = "kit_f_link"
    id: Mapped[int] = mapped_column(primary_key=True)
    long: Mapped[list[Chain]] = relationship(primaryjoin="and_(Link.id == Chain.link_id, Chain.length > 9)")


class Chain(Family):
    __tablename__ = "kit_f_chain"
    id: Mapped[int] = mapped_column(primary_key=True)
    length: Mapped[int] = mapped_column(default=1)
    link_id: Mapped[int | None] = mapped_column(sa.ForeignKey("kit_f_link.id"))
