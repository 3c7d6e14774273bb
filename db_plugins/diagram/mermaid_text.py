"""A Picture as Mermaid's ``erDiagram``. What its language cannot take in a name is replaced by what looks like it.

erDiagram
    Star {
        int id PK
        str(40) name UK
    }
    Star ||--o{ Sighting : "sightings / star"
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .picture import Attribute, End, Entity, Picture, Relation

__all__ = ["mermaid"]

LEFT = {End.ONE: "||", End.MAYBE: "|o", End.MANY: "}o"}
RIGHT = {End.ONE: "||", End.MAYBE: "o|", End.MANY: "o{"}

#: Words of its language, in any case, which cannot be an entity's id.
RESERVED = re.compile(
    "accdescr|acctitle|class|classdef|default|direction|end|erdiagram|many|one|only|optionally|style|subgraph|title|to|u|zero",
    re.IGNORECASE,
)
#: Signs that mean something inside a quoted text, as HTML, as a directive or as an escape; these look like them.
LOOKALIKES = str.maketrans(
    {'"': "”", "`": "’", "%": "％", "\\": "＼", "#": "＃", "<": "＜", ">": "＞", "&": "＆"}
)


def mermaid(picture: Picture) -> str:
    """The text of the diagram. The same picture gives the same text.

    >>> from db_plugins.diagram import Attribute, Entity
    >>> print(mermaid(Picture((Entity("Star", "stars", (Attribute("id", "int", keys=("PK",)),)),))), end="")
    erDiagram
        Star {
            int id PK
        }
    """
    ids = {entity.name: _id(number, entity.name) for number, entity in enumerate(picture.entities, 1)}
    lines = ["erDiagram"]
    for entity in picture.entities:
        lines += _entity(ids[entity.name], picture.title(entity), entity)
    lines += [
        f'{ids[entity.name]} |o--|| {ids[entity.parent]} : "is a"'
        for entity in picture.entities
        if entity.parent is not None
    ]
    lines += [_relation(ids, relation) for relation in picture.relations]
    return "\n".join([lines[0], *(f"    {line}" for line in lines[1:]), ""])


def _id(number: int, name: str) -> str:
    """The name itself where Mermaid takes it for one word."""
    is_word = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and not RESERVED.fullmatch(name)
    return name if is_word else f"entity{number}"


def _entity(id_: str, title: str, entity: Entity) -> Iterator[str]:
    yield f'{id_}["{_text(title)}"] {{' if title != id_ else f"{id_} {{"
    yield from (f"    {_attribute(each)}" for each in entity.attributes)
    yield "}"


def _attribute(each: Attribute) -> str:
    name = _word(each.name, "")
    called = "" if name in (each.name, f"{each.name}_") else f"called {each.name}"
    remarks = _text("; ".join(filter(None, (called, each.remarks))))
    words = [_word(each.type, "[]()"), name, ", ".join(each.keys), f'"{remarks}"' if remarks else ""]
    return " ".join(filter(None, words))


def _relation(ids: dict[str, str], relation: Relation) -> str:
    line = f"{LEFT[relation.left_end]}--{RIGHT[relation.right_end]}"
    return f'{ids[relation.left]} {line} {ids[relation.right]} : "{_text(relation.label)}"'


def _text(text: str) -> str:
    """Inside double quotes: one line of printable characters. A line with `direction LR` in it would turn the picture."""
    plain = "".join(each if each.isprintable() else " " for each in text).translate(LOOKALIKES)
    return re.sub(r"(direction)\s+(?=TB|BT|LR|RL)", r"\1_", plain, flags=re.IGNORECASE)


def _word(text: str, more: str) -> str:
    """A type or an attribute's name: letters, digits, ``_`` and these signs; no key mark, as ``pk`` would be."""

    def keep(each: str) -> str:
        plain = each.isascii() and each.isalnum()
        return each if plain or each in more or ("À" <= each <= "\uffff" and each.isalnum()) else "_"

    word = "".join(map(keep, text))
    word = word if re.match(r"[A-Za-z_À-\uffff]", word) else f"_{word}"
    return re.sub(r"^(pk|fk|uk)\b", r"\1_", word, flags=re.IGNORECASE)
