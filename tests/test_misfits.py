"""Models that cannot be configured are told with both classes, the column or name that is missing, and the nearest."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, Integer
from sqlalchemy.orm import declarative_base, relationship

from db_plugins.errors import ConfigError
from db_plugins.models.describe import describe


def said_of(one: dict[str, Any], many: dict[str, Any]) -> ConfigError:
    """What is said of two classes with these attributes."""
    base = declarative_base()
    made = [
        type(name, (base,), {"__tablename__": name.lower(), "id": Column(Integer, primary_key=True), **more})
        for name, more in (("Star", one), ("Planet", many))
    ]
    try:
        with pytest.raises(ConfigError, match=r"^the models cannot be configured: ") as caught:
            describe(made[0])
        with pytest.raises(ConfigError):
            describe(made[1])  # SQLAlchemy tells of the first one's failure, in other words
    finally:
        base.registry.dispose()
    return caught.value


def key(target: str) -> Column[int]:
    return Column(Integer, ForeignKey(target))


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "no foreign key": (
        {"planets": relationship("Planet")},
        {"star_id": Column(Integer)},
        "Star.planets leads to Planet, and no foreign key links 'star' and 'planet'",
        (
            'where one Star has many Planet, give Planet a column such as star_id = Column(ForeignKey("star.id")); '
            'the other way round give Star a column such as planets_id = Column(ForeignKey("planet.id"))'
        ),
    ),
    "a class without a table": (
        {"planets": relationship(lambda: dict)},
        {},
        "Class 'builtins.dict' is not mapped",
        "check the relationships and foreign keys of the classes named here",
    ),
    "a key to no table": (
        {"planets": relationship("Planet")},
        {"star_id": key("stars.id")},
        "Planet.star_id refers to 'stars.id', and there is no table 'stars'",
        "did you mean 'star'?",
    ),
    "back_populates of nothing": (
        {"planets": relationship("Planet", back_populates="sun")},
        {"star_id": key("star.id"), "star": relationship("Star", back_populates="planets")},
        "Star.planets says back_populates='sun', and Planet has no such attribute",
        "known names: star",
    ),
    "a class that is not there": (
        {"planets": relationship("Plant")},
        {"star_id": key("star.id")},
        "a relationship leads to 'Plant', and no model has this name",
        "did you mean 'Planet'? A model in another module is known when that is imported, too",
    ),
    "two ways": (
        {"planets": relationship("Planet")},
        {"star_id": key("star.id"), "other_id": key("star.id")},
        "Could not determine join condition between parent/child tables on relationship Star.planets",
        "check the relationships and foreign keys of the classes named here",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_faulty_relationship_is_told_with_both_classes(case: str) -> None:
    """001-E3: both classes, and the column. 001-E4: the name, and the nearest."""
    one, many, fact, hint = CASES[case]
    error = said_of(one, many)
    assert fact in error.fact
    assert error.hint == hint
    assert error.__cause__ is not None
