"""Joins, ``any`` and ``has`` become ``$lookup`` stages. Pure: no driver, no collection.

    join      $lookup into dbp_j0 (through a link table into dbp_j0.dbp_t), then $unwind; an outer one keeps the rest
    Exists    $lookup of at most one document into dbp_e0, then a $match that it is there, or that it is not
    columns   of the document by path, of documents outside a $lookup by a variable of its ``let``

The first pair of a hop is ``localField`` and ``foreignField``, which an index serves; MongoDB would find missing fields
equal to missing ones there, and so a field that may be missing is asked to be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from db_plugins.models import Field
from db_plugins.nodes import And, Column, Compare, Exists, Hop, Node, Or, has_exists
from db_plugins.spec import Join

from .codec import path_of
from .translate import Filter, Place, Translator, both

__all__ = ["Stage", "join_stages", "match_stages"]

Stage = dict[str, Any]

#: One document is enough to be there.
_FIRST: list[Stage] = [{"$limit": 1}, {"$project": {"_id": 1}}]


@dataclass(frozen=True, eq=False)
class Let:
    """The variables of one ``$lookup``: columns of the document outside that its pipeline names."""

    outside: Translator
    names: dict[Field, str] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """How many lookups are around this one."""
        return 0 if self.outside.let is None else self.outside.let.depth + 1

    def variable(self, column: Field) -> str:
        """The variable's name. Variables of the lookups around are seen inside too."""
        if not self.outside.is_here(column):
            assert self.outside.let is not None
            return self.outside.let.variable(column)
        return self.names.setdefault(column, f"dbp{self.depth}_{len(self.names)}")

    def document(self) -> Stage:
        """What stands under ``let``."""
        return {name: self.outside.expression(Column(column)) for column, name in self.names.items()}


def match_stages(translator: Translator, node: Node | None) -> list[Stage]:
    """The stages that keep the documents for which the node is true; first what needs no look-up. Raises CannotSay."""
    parts: Sequence[Node] = node.parts if isinstance(node, And) else () if node is None else (node,)
    plain = both([translator.filter(part) for part in parts if not has_exists(part)])
    stages: list[Stage] = [{"$match": plain}] if plain else []
    for part in parts:
        if has_exists(part):
            stages += [_ask(translator, each) for each in _questions(part)]
            stages.append({"$match": translator.filter(part)})
    return stages


def _questions(node: Node) -> Iterator[Exists]:
    if isinstance(node, (And, Or)):
        for part in node.parts:
            yield from _questions(part)
    elif isinstance(node, Exists):
        yield node


def _ask(translator: Translator, node: Exists) -> Stage:
    name = translator.answers.setdefault(id(node), f"dbp_e{len(translator.answers)}")

    def at_the_end(inside: Translator) -> list[Stage]:
        return [*match_stages(inside, node.where), *_FIRST]

    first, *others = node.hops
    if not others:
        return _lookup(translator, first, name, at_the_end)

    def through_the_link(inside: Translator) -> list[Stage]:
        lookup = _lookup(inside, others[0], "dbp_t", at_the_end)
        return [lookup, {"$match": {"dbp_t.0": {"$exists": True}}}, *_FIRST]

    return _lookup(translator, first, name, through_the_link)


def join_stages(translator: Translator, joins: Sequence[Join]) -> tuple[list[Stage], Translator]:
    """The stages that make a document of each pair, and the translator that knows where all columns are."""
    stages: list[Stage] = []
    for number, join in enumerate(joins):
        name = f"dbp_j{number}"
        first, *others = join.hops
        places = {first.info.scope: Place(first.info, name)}
        if others:
            places[others[0].info.scope] = Place(others[0].info, f"{name}.dbp_t")

        def then(inside: Translator, others: list[Hop] = others) -> list[Stage]:
            # Matched inside: a row of the link table that leads nowhere counts as no match.
            return [part for hop in others for part in (_lookup(inside, hop, "dbp_t"), {"$unwind": "$dbp_t"})]

        stages.append(_lookup(translator, first, name, then))
        unwound: Any = {"path": f"${name}", "preserveNullAndEmptyArrays": True} if join.outer else f"${name}"
        stages.append({"$unwind": unwound})
        translator = replace(translator, places={**translator.places, **places})
    return stages, translator


def _lookup(
    translator: Translator, hop: Hop, name: str, then: Callable[[Translator], list[Stage]] | None = None
) -> Stage:
    """The stage that puts the hop's documents, as far as they pass the stages after it, into a field."""
    let = Let(translator)
    inside = type(translator)(hop.info, let=let)
    by_index: Stage = {}
    said: list[Filter] = []
    for known, found in hop.pairs:
        if not by_index and translator.is_here(known):
            path = path_of(hop.info, found)
            by_index = {"localField": translator.path(known), "foreignField": path}
            said += [] if path == "_id" else [{path: {"$ne": None}}]
        else:
            said.append(inside.filter(Compare("==", Column(found), Column(known))))
    said += [] if hop.where is None else [inside.filter(hop.where)]
    matched = both(said)
    pipeline = [*([{"$match": matched}] if matched else []), *(then(inside) if then else [])]
    made: Stage = {"from": hop.info.store, **by_index}
    if let.names:
        made["let"] = let.document()
    if pipeline or not by_index:
        made["pipeline"] = pipeline
    return {"$lookup": {**made, "as": name}}
