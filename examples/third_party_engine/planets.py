"""A program that uses the engine: ``python planets.py`` leaves ``data/planets.jsonl`` behind, to be looked at."""

from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import db_plugins


class Base(DeclarativeBase):
    """The base of all models."""


class Planet(Base):
    __tablename__ = "planets"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    moons: Mapped[int] = mapped_column(default=0)


with db_plugins.connect({"ENGINE": "jsonlines", "DB_NAME": "data"}, models=[Planet]) as db:
    db.create_all()
    planets = db.query(Planet)
    rows = [{"name": "Venus"}, {"name": "Earth", "moons": 1}, {"name": "Mars", "moons": 2}]
    print(planets.bulk_insert(rows, on_conflict="update", key="name"))
    planets.filter(name="Venus").update({"moons": Planet.moons + 1})
    print([planet.name for planet in planets.filter(Planet.name.icontains("AR")).order_by("-moons").all()])
    try:
        planets.insert({"name": "Mars"})
    except db_plugins.DuplicateKeyError as error:
        print(error)
