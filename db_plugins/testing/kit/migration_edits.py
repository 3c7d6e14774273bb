"""Every edit of a model that migrations see: the models before and after, the rows, and what is to come of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import relationship

from db_plugins import Capability, Vector
from db_plugins.models import describe

from .migration_models import column, models, star, store_of

__all__ = ["EDITS", "Edit"]

Models = Callable[[], tuple[type, ...]]
Rows = Mapping[str, Sequence[Mapping[str, Any]]]

STAR = store_of("Star")
PLANET = store_of("Planet")
SUN = store_of("Sun")
NAMED = {"Star": [{"id": 1, "name": "Vega"}, {"id": 2, "name": "Mira"}]}


@dataclass(frozen=True)
class Edit:
    """``words``: each is to be found in the changes, ``|`` between alternatives. ``rows`` are there before.

    ``seen_by``: engines that claim it make a revision of this edit, others may. ``True``: all do; ``False``: none does.
    ``filled``: what the rows hold in a column that the edit, or undoing it, adds: else NULL. ``renamed``: new names of
    models and of attributes. ``gives_up``: the edit drops what holds values. ``takes``: rows that only the new models take.
    """

    name: str
    before: Models
    after: Models
    words: Sequence[str] = ()
    rows: Rows = field(default_factory=lambda: NAMED)
    seen_by: Capability | bool = True
    filled: Mapping[str, Any] = field(default_factory=dict)
    renames: Sequence[str] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    gives_up: bool = False
    takes: Rows = field(default_factory=dict)

    def rows_after(self, classes: Sequence[type]) -> dict[str, list[dict[str, Any]]]:
        """The rows as the models after the edit show them."""
        back = {new: old for old, new in self.renamed.items()}
        return self._seen(classes, self.rows, lambda name: back.get(name, name))

    def rows_restored(
        self, classes: Sequence[type], after: Sequence[type]
    ) -> dict[str, list[dict[str, Any]]]:
        """The rows as the models before the edit show them when it was undone: what it dropped is lost."""
        there = self.rows_after(after)
        return self._seen(classes, there, lambda name: self.renamed.get(name, name))

    def _seen(
        self, classes: Sequence[type], rows: Rows, other: Callable[[str], str]
    ) -> dict[str, list[dict[str, Any]]]:
        return {
            cls.__name__: [
                {
                    name: row.get(other(name), self.filled.get(name))
                    for name in (field.name for field in describe(cls).fields)
                }
                for row in rows.get(other(cls.__name__), ())
            ]
            for cls in classes
        }


def one_star(**columns: Any) -> tuple[type, ...]:
    return models(Star=star(**columns))


def unique_together() -> tuple[Any, ...]:
    return (sa.UniqueConstraint("name", "band", name="kit_m_name_band"),)


def indexed(*names: str) -> tuple[Any, ...]:
    return (sa.Index("kit_m_compound", *names),)


def to_planet() -> Any:
    return column(sa.Integer, sa.ForeignKey(f"{PLANET}.id", name="kit_m_star_planet"))


def letters(*names: str, called: str = "kit_m_letter") -> sa.Enum:
    return sa.Enum(*names, name=called)


def linked() -> tuple[type, ...]:
    made: Any = models(Star=star(), Planet=star())
    link = sa.Table(
        "kit_m_link",
        made[0].metadata,
        sa.Column("star_id", sa.ForeignKey(f"{STAR}.id"), primary_key=True),
        sa.Column("planet_id", sa.ForeignKey(f"{PLANET}.id"), primary_key=True),
    )
    made[0].planets = relationship(made[1], secondary=link)
    return tuple(made)


def with_band(args: tuple[Any, ...] = (), **columns: Any) -> tuple[type, ...]:
    return one_star(band=column(sa.String(10)), **columns, __table_args__=args)


BANDED = {"Star": [{"id": 1, "name": "Vega", "band": "V"}, {"id": 2, "name": "Mira", "band": "R"}]}
NUMBERED = {"Star": [{"id": 1, "name": "Vega", "n": 7}, {"id": 2, "name": "Mira", "n": -3}]}
WITH_PLANETS = {**NAMED, "Planet": [{"id": 1, "name": "Pandora"}]}
ON_PLANETS = {
    "Planet": [{"id": 1, "name": "Pandora"}],
    "Star": [{"id": 1, "name": "Vega", "planet_id": 1}, {"id": 2, "name": "Mira", "planet_id": None}],
}
LETTERED = {"Star": [{"id": 1, "name": "Vega", "size": "S"}, {"id": 2, "name": "Mira", "size": None}]}
#: Engines that enforce foreign keys keep a schema of declared types, so that they tell a long String from a longer one.
DECLARES = Capability.FOREIGN_KEYS


def adds(what: str, type_: Callable[[], Any]) -> Edit:
    return Edit(
        f"{what} column added",
        one_star,
        lambda: one_star(extra=column(type_())),
        words=(STAR, "extra"),
    )


def retyped(what: str, old: Callable[[], Any], new: Callable[[], Any], value: Any, taken: Any) -> Edit:
    """A column of another type, whose value stays what it is; ``taken`` is one that did not fit before."""
    return Edit(
        what,
        lambda: one_star(n=column(old())),
        lambda: one_star(n=column(new())),
        words=(STAR, "n"),
        rows={"Star": [{"id": 1, "name": "Vega", "n": value}, {"id": 2, "name": "Mira", "n": None}]},
        seen_by=DECLARES,
        takes={"Star": [{"id": 3, "name": "Rigel", "n": taken}]},
    )


_EDITS = (
    # -- tables
    Edit("table added", one_star, lambda: models(Star=star(), Planet=star()), words=(PLANET,)),
    Edit(
        "table dropped",
        lambda: models(Star=star(), Planet=star()),
        one_star,
        words=(PLANET,),
        rows=WITH_PLANETS,
        gives_up=True,
    ),
    Edit("empty table dropped", lambda: models(Star=star(), Planet=star()), one_star, words=(PLANET,)),
    Edit(
        "table renamed",
        lambda: one_star(band=column(sa.String(10), index=True)),
        lambda: models(Sun=star(band=column(sa.String(10), index=True))),
        words=(STAR, SUN),
        rows=BANDED,
        renames=(f"{STAR}:{SUN}",),
        renamed={"Star": "Sun"},
    ),
    Edit("link table added", lambda: models(Star=star(), Planet=star()), linked, words=("kit_m_link",)),
    Edit("link table dropped", linked, lambda: models(Star=star(), Planet=star()), words=("kit_m_link",)),
    # -- columns
    Edit("column added", one_star, with_band, words=(STAR, "band")),
    Edit(
        "required column with a default added",
        one_star,
        lambda: one_star(n=column(sa.Integer, nullable=False, default=7)),
        words=(STAR, "n"),
        filled={"n": 7},
    ),
    Edit(
        "required text and flag with defaults added",
        one_star,
        lambda: one_star(
            band=column(sa.String(20), nullable=False, default="it's 100% V"),
            flag=column(sa.Boolean, nullable=False, default=False),
        ),
        words=("band", "flag"),
        filled={"band": "it's 100% V", "flag": False},
    ),
    Edit(
        "column filled by the server added",
        one_star,
        lambda: one_star(n=column(sa.Integer, nullable=False, server_default="7")),
        words=(STAR, "n"),
        filled={"n": 7},
    ),
    Edit(
        "column of another name than its attribute added",
        one_star,
        lambda: one_star(text=column("txt", sa.String(10))),
        words=("txt",),
    ),
    Edit("column dropped", with_band, one_star, words=(STAR, "band"), rows=BANDED, gives_up=True),
    Edit("column without values dropped", with_band, one_star, words=(STAR, "band")),
    Edit(
        "required column of an empty table dropped",
        lambda: one_star(n=column(sa.Integer, nullable=False)),
        one_star,
        words=(STAR, "n"),
        rows={},
    ),
    Edit(
        "column renamed",
        lambda: one_star(band=column(sa.String(10))),
        lambda: one_star(colour=column(sa.String(10))),
        words=("band", "colour"),
        rows=BANDED,
        renames=(f"{STAR}.band:colour",),
        renamed={"band": "colour"},
    ),
    Edit(
        "required column renamed",
        lambda: one_star(n=column(sa.Integer, nullable=False)),
        lambda: one_star(number=column(sa.Integer, nullable=False)),
        words=("n", "number"),
        rows=NUMBERED,
        renames=(f"{STAR}.n:number",),
        renamed={"n": "number"},
    ),
    # -- types
    retyped("string lengthened", lambda: sa.String(10), lambda: sa.String(60), "a" * 10, "b" * 60),
    retyped("string made text", lambda: sa.String(10), sa.Text, "a" * 10, "b" * 5000),
    retyped("integer made big", sa.Integer, sa.BigInteger, 2**31 - 1, 2**62),
    retyped("integer made float", sa.Integer, sa.Float, 7, 0.5),
    retyped(
        "numeric widened",
        lambda: sa.Numeric(6, 2),
        lambda: sa.Numeric(12, 4),
        Decimal("1234.56"),
        Decimal("12345678.1234"),
    ),
    Edit(
        "column made required",
        lambda: one_star(n=column(sa.Integer)),
        lambda: one_star(n=column(sa.Integer, nullable=False)),
        words=(STAR, "n"),
        rows=NUMBERED,
    ),
    Edit(
        "column made nullable",
        lambda: one_star(n=column(sa.Integer, nullable=False)),
        lambda: one_star(n=column(sa.Integer)),
        words=(STAR, "n"),
        rows=NUMBERED,
        takes={"Star": [{"id": 3, "name": "Rigel", "n": None}]},
    ),
    Edit(
        "default of Python changed",
        lambda: one_star(n=column(sa.Integer, default=7)),
        lambda: one_star(n=column(sa.Integer, default=8)),
        rows=NUMBERED,
        seen_by=False,
    ),
    # -- indexes and constraints
    Edit(
        "index added",
        with_band,
        lambda: one_star(band=column(sa.String(10), index=True)),
        words=(STAR, "band"),
        rows=BANDED,
    ),
    Edit(
        "index dropped",
        lambda: one_star(band=column(sa.String(10), index=True)),
        with_band,
        words=(STAR, "band"),
        rows=BANDED,
    ),
    Edit(
        "compound index changed",
        lambda: with_band(indexed("name", "band")),
        lambda: with_band(indexed("band", "name")),
        words=("kit_m_compound",),
        rows=BANDED,
    ),
    Edit(
        "unique constraint added",
        with_band,
        lambda: one_star(band=column(sa.String(10), unique=True)),
        words=(STAR, "band"),
        rows=BANDED,
    ),
    Edit(
        "unique constraint dropped",
        lambda: one_star(band=column(sa.String(10), unique=True)),
        with_band,
        words=(STAR, "band"),
        rows=BANDED,
        takes={"Star": [{"id": 3, "name": "Rigel", "band": "V"}]},
    ),
    Edit(
        "composite unique constraint added",
        with_band,
        lambda: with_band(unique_together()),
        words=(STAR, "kit_m_name_band"),
        rows=BANDED,
    ),
    Edit(
        "unique index added",
        with_band,
        lambda: with_band((sa.Index("kit_m_band", "band", unique=True),)),
        words=(STAR, "kit_m_band"),
        rows=BANDED,
    ),
    Edit(
        "column with an index dropped",
        lambda: one_star(band=column(sa.String(10), index=True)),
        one_star,
        words=(STAR, "band"),
        rows=BANDED,
        gives_up=True,
    ),
    Edit(
        "column of a unique constraint dropped",
        lambda: with_band(unique_together()),
        one_star,
        words=(STAR, "band"),
        rows=BANDED,
        gives_up=True,
    ),
    Edit(
        "foreign key added",
        lambda: models(Planet=star(), Star=star(planet_id=column(sa.Integer))),
        lambda: models(Planet=star(), Star=star(planet_id=to_planet())),
        words=(STAR, "planet_id|kit_m_star_planet"),
        rows=ON_PLANETS,
        seen_by=Capability.FOREIGN_KEYS,
    ),
    Edit(
        "foreign key dropped",
        lambda: models(Planet=star(), Star=star(planet_id=to_planet())),
        lambda: models(Planet=star(), Star=star(planet_id=column(sa.Integer))),
        words=(STAR,),
        rows=ON_PLANETS,
        seen_by=Capability.FOREIGN_KEYS,
    ),
    Edit(
        "column with a foreign key to a new table added",
        one_star,
        lambda: models(Star=star(planet_id=to_planet()), Planet=star()),
        words=(STAR, PLANET, "planet_id"),
    ),
    Edit(
        "table that is referred to dropped",
        lambda: models(Planet=star(), Star=star(planet_id=to_planet())),
        one_star,
        words=(STAR, PLANET, "planet_id"),
        rows=ON_PLANETS,
        gives_up=True,
    ),
    # -- enums
    Edit(
        "enum column added",
        one_star,
        lambda: one_star(size=column(letters("S", "M"))),
        words=(STAR, "size"),
    ),
    Edit(
        "enum member added",
        lambda: one_star(size=column(letters("S", "M"))),
        lambda: one_star(size=column(letters("S", "M", "LARGE"))),
        words=("size|kit_m_letter",),
        rows=LETTERED,
        takes={"Star": [{"id": 3, "name": "Rigel", "size": "LARGE"}]},
    ),
    Edit(
        "enum member removed",
        lambda: one_star(size=column(letters("S", "M", "L"))),
        lambda: one_star(size=column(letters("S", "M"))),
        words=("size|kit_m_letter",),
        rows=LETTERED,
    ),
    Edit(
        "one of two tables with the same enum dropped",
        lambda: models(
            Star=star(size=column(letters("S", "M"))), Planet=star(size=column(letters("S", "M")))
        ),
        lambda: one_star(size=column(letters("S", "M"))),
        words=(PLANET,),
        rows=LETTERED,
    ),
    # -- kinds
    adds("JSON", sa.JSON),
    adds("moment", lambda: sa.DateTime(timezone=True)),
    adds("UUID", sa.Uuid),
    adds("bytes", sa.LargeBinary),
    adds("vector", lambda: Vector(3)),
    adds("date", sa.Date),
    adds("numeric", lambda: sa.Numeric(10, 2)),
    # -- together
    Edit(
        "many edits at once",
        lambda: models(
            Star=star(band=column(sa.String(10), index=True), n=column(sa.Integer)), Planet=star()
        ),
        lambda: models(
            Star=star(
                band=column(sa.String(30)),
                n=column(sa.Integer, nullable=False, index=True),
                flag=column(sa.Boolean, nullable=False, default=True),
            ),
            Moon=star(planet_id=column(sa.Integer, sa.ForeignKey(f"{PLANET}.id"))),
            Planet=star(mass=column(sa.Float)),
        ),
        words=(STAR, PLANET, store_of("Moon"), "band", "flag", "mass"),
        rows={
            "Star": [{"id": 1, "name": "Vega", "band": "V", "n": 7}],
            "Planet": [{"id": 1, "name": "Pandora"}],
        },
        filled={"flag": True},
    ),
)

#: By name, the words joined by ``-``, which is also a test's name.
EDITS = {edit.name.replace(" ", "-"): edit for edit in _EDITS}
