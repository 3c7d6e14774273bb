"""What is to be drawn, as plain values: entities with their attributes, and the relations between them."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Attribute", "End", "Entity", "Picture", "Relation"]


class End(enum.StrEnum):
    """How many rows there may be at one end of a relation, for one row at the other."""

    ONE = "exactly one"
    MAYBE = "zero or one"
    MANY = "zero or more"


@dataclass(frozen=True, slots=True)
class Attribute:
    """A column by its attribute's name. ``keys`` are ``PK``, ``FK`` and ``UK``, as far as it is one by itself."""

    name: str
    type: str
    nullable: bool = False
    keys: tuple[str, ...] = ()
    #: What it is unique together with: one tuple of names for each constraint.
    unique_with: tuple[tuple[str, ...], ...] = ()

    @property
    def remarks(self) -> str:
        """What a reader should know beside name, type and keys."""
        together = [f"unique with {', '.join(names)}" for names in self.unique_with]
        return "; ".join([*(["or None"] if self.nullable else []), *together])


@dataclass(frozen=True, slots=True)
class Entity:
    """A model. ``name`` is its class's, with the module before it if another model is called the same.

    ``entries`` are the entries of the settings that have it; ``parent`` is the class whose table it shares (single-table
    inheritance), and then ``attributes`` are those that it adds.
    """

    name: str
    store: str
    attributes: tuple[Attribute, ...]
    entries: tuple[str, ...] = ()
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Relation:
    """How two entities refer to each other.

    ``left`` is the parent and ``right`` the child that holds the foreign key ``columns``; of many-to-many neither is,
    and ``via`` is the link table. ``left_names`` are the relationships that lead from left to right, ``right_names``
    those that lead back.
    """

    left: str
    left_end: End
    right_end: End
    right: str
    left_names: tuple[str, ...] = ()
    right_names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    via: str | None = None

    @property
    def label(self) -> str:
        """``sightings / star``: the relationships from left to right and back; without any, the foreign key."""
        names = " / ".join(", ".join(each) for each in (self.left_names, self.right_names) if each)
        label = names or ", ".join(self.columns)
        return f"{label}, via {self.via}" if self.via else label


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it. ``entries`` are all entries whose models are drawn."""

    entities: tuple[Entity, ...]
    relations: tuple[Relation, ...] = ()
    entries: tuple[str, ...] = ()

    def title(self, entity: Entity) -> str:
        """The entity's name, with its entries if not all have it: ``Star (MONGO)``."""
        if set(entity.entries) == set(self.entries):
            return entity.name
        return f"{entity.name} ({', '.join(entity.entries)})"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
