"""The oracle of ``join``, ``any`` and ``has``: a family as plain tuples, and conditions about it, made twice.

``Family`` holds the rows and follows relationships in plain Python; ``Conditions`` makes, from a seed, an expression and the
function that says what it means.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from db_plugins import Database, and_, not_, or_
from db_plugins.models.links import link_model

from .harness import Harness
from .related import Card, Club, Person, membership

__all__ = ["Conditions", "Family", "three_valued"]

Row = tuple[Any, ...]
#: An expression, and what it means for the rows in sight, by model: true, false, or unknown (``None``).
Condition = tuple[Any, Callable[[Mapping[type, Row]], bool | None]]


def three_valued(op: str, left: Any, right: Any) -> bool | None:
    """The comparison, unknown if a side is NULL."""
    if left is None or right is None:
        return None
    return bool({"==": left == right, "!=": left != right, "<": left < right, ">": left > right}[op])


def _any_of(found: list[bool | None]) -> bool | None:
    return True if True in found else None if None in found else False


@dataclass
class Family:
    """Persons ``(id, name, boss_id)``, cards ``(id, number, person_id)``, clubs ``(id, name)``, and who is a member."""

    persons: list[Row]
    cards: list[Row]
    clubs: list[Row]
    members: list[tuple[int, int]]

    @classmethod
    def of(cls, seed: int) -> Family:
        """Small numbers, so that they meet; a third of the keys NULL."""
        pick = random.Random(seed)
        names = ["a", "b", "A", "c"]
        count = pick.randint(6, 10)
        bosses = [pick.choice([None, *range(1, n)]) if n > 1 else None for n in range(1, count + 1)]
        persons = [(n, pick.choice(names), boss) for n, boss in enumerate(bosses, 1)]
        cards = [
            (n, pick.randint(0, 9), pick.choice([None, *range(1, count + 1)]))
            for n in range(1, pick.randint(4, 9) + 1)
        ]
        clubs = [(n, pick.choice(names)) for n in range(1, pick.randint(2, 4) + 1)]
        pairs = [(p[0], c[0]) for p in persons for c in clubs]
        return cls(persons, cards, clubs, sorted(pick.sample(pairs, pick.randint(3, len(pairs) - 3))))

    def store(self, kit: Harness, db: Database) -> None:
        """Put the rows into a database."""
        for n, name, boss in self.persons:
            kit.stock(db, Person, [{"id": n, "name": name, "boss_id": boss}])
        kit.stock(
            db, Card, [dict(zip(("id", "number", "person_id"), row, strict=True)) for row in self.cards]
        )
        kit.stock(db, Club, [dict(zip(("id", "name"), row, strict=True)) for row in self.clubs])
        if self.members:
            kit.stock(db, link_model(membership), [{"person": p, "club": c} for p, c in self.members])

    def rows(self, model: type) -> list[Row]:
        """All rows of a model."""
        known: dict[type, list[Row]] = {Person: self.persons, Card: self.cards, Club: self.clubs}
        return known[model]

    def related(self, name: str, row: Row) -> list[Row]:
        """The rows that a relationship leads to."""
        if name == "staff":
            return [p for p in self.persons if p[2] == row[0]]
        if name in ("boss", "person"):
            return [p for p in self.persons if row[2] is not None and p[0] == row[2]]
        if name in ("card", "late"):
            return [c for c in self.cards if c[2] == row[0] and (name == "card" or c[1] > 5)]
        if name == "clubs":
            return [c for c in self.clubs if (row[0], c[0]) in self.members]
        return [p for p in self.persons if (p[0], row[0]) in self.members]


#: Relationship → does it lead to many, and to which model.
_RELATIONSHIPS: dict[type, list[tuple[str, str, type]]] = {
    Person: [
        ("staff", "any", Person),
        ("boss", "has", Person),
        ("card", "has", Card),
        ("late", "any", Card),
        ("clubs", "any", Club),
    ],
    Card: [("person", "has", Person)],
    Club: [("members", "any", Person)],
}
_COLUMNS: dict[type, list[tuple[str, list[Any]]]] = {
    Person: [("id", [1, 3, 5]), ("name", ["a", "b", "A"]), ("boss_id", [1, 2, 3])],
    Card: [("id", [1, 3]), ("number", [0, 5, 6]), ("person_id", [1, 2, 4])],
    Club: [("id", [1, 2]), ("name", ["a", "b"])],
}
_NUMBERS = [(Person, "id", 0), (Person, "boss_id", 2), (Card, "number", 1), (Card, "person_id", 2), (Club, "id", 0)]  # fmt: skip
_APPLY: dict[str, Callable[[Any, Any], Any]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
}


class Conditions:
    """Makes conditions about a family from a seed."""

    def __init__(self, family: Family, seed: int) -> None:
        self.family = family
        self.pick = random.Random(seed)

    def make(self, model: type, depth: int, seen: tuple[type, ...] | None = ()) -> Condition:
        """A condition about this model; ``seen`` are the models outside whose columns it may name too.

        It is ``None`` inside a relationship of a model to itself, where the expression that SQLAlchemy makes means now
        the nearest row of the model and now the outermost.
        """
        way = self.pick.random()
        if depth and way < 0.6:
            return self._related(model, depth, seen)
        if depth and way < 0.8:
            parts = [self.make(model, depth - 1, seen) for _ in range(2)]
            if self.pick.random() < 0.5:
                return or_(*(e for e, _ in parts)), lambda rows: _any_of([f(rows) for _, f in parts])
            return and_(*(e for e, _ in parts)), lambda rows: _all_of([f(rows) for _, f in parts])
        if depth and way < 0.9:
            expression, truth = self.make(model, depth - 1, seen)
            return not_(expression), lambda rows: _not(truth(rows))
        return self._compared(model, seen) if seen and way > 0.5 else self._plain(model)

    def _related(self, model: type, depth: int, seen: tuple[type, ...] | None) -> Condition:
        name, verb, target = self.pick.choice(_RELATIONSHIPS[model])
        ask = getattr(getattr(model, name), verb)
        outside = None if target is model or seen is None else (*seen, model)
        if self.pick.random() < 0.2:
            return ask(), lambda rows: bool(self.family.related(name, rows[model]))
        expression, truth = self.make(target, depth - 1, outside)

        def exists(rows: Mapping[type, Row]) -> bool:
            found = self.family.related(name, rows[model])
            return any(truth({**rows, target: row}) for row in found)

        return ask(expression), exists

    def _plain(self, model: type) -> Condition:
        at, (name, pool) = self.pick.choice(list(enumerate(_COLUMNS[model])))
        column = getattr(model, name)
        if self.pick.random() < 0.2:
            return column.is_(None), lambda rows: rows[model][at] is None
        op, value = self.pick.choice(list(_APPLY) if name != "name" else ["==", "!="]), self.pick.choice(pool)
        return _APPLY[op](column, value), lambda rows: three_valued(op, rows[model][at], value)

    def _compared(self, model: type, seen: tuple[type, ...]) -> Condition:
        """A column inside against one of a model outside."""
        mine, name, at = self.pick.choice([n for n in _NUMBERS if n[0] is model])
        theirs, other, there = self.pick.choice([n for n in _NUMBERS if n[0] in seen])
        op = self.pick.choice(list(_APPLY))
        expression = _APPLY[op](getattr(mine, name), getattr(theirs, other))
        return expression, lambda rows: three_valued(op, rows[mine][at], rows[theirs][there])


def _all_of(found: list[bool | None]) -> bool | None:
    return False if False in found else None if None in found else True


def _not(found: bool | None) -> bool | None:
    return None if found is None else not found
