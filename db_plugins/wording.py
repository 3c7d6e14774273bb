"""A call of the seam in the core's own words, with ``?`` for every value: what is told of an engine that says nothing itself.

select Star.id, Star.name from Star where Star.mag < ? and Star.name in ? order by Star.mag desc limit ?
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .nodes import (
    Always,
    And,
    Arithmetic,
    Column,
    Compare,
    Exists,
    In,
    IsNull,
    JsonPath,
    Like,
    Or,
    Value,
)

if TYPE_CHECKING:
    from .engine import Conflict
    from .models import Field, ModelInfo
    from .nodes import Node, Operand
    from .spec import QuerySpec

__all__ = ["words_of_insert", "words_of_query", "words_of_update", "words_of_updates"]


def words_of_query(verb: str, spec: QuerySpec) -> str:
    """``select … from Star where …``, ``count Star where …``, ``delete Star where …``."""
    columns = f" {', '.join(field.label for field in spec.columns)} from" if verb == "select" else ""
    joined = "".join(f" join {hop.info.name}" for join in spec.joins for hop in join.hops)
    conditions = [] if spec.where is None else [words_of(spec.where)]
    conditions += ["?"] * len(spec.native)  # the user's own, whatever it holds
    parts = [
        f"{verb}{columns} {spec.model.name}{joined}",
        f"where {' and '.join(conditions)}" if conditions else "",
        f"order by {', '.join(f'{o.field.label} desc' if o.descending else o.field.label for o in spec.order)}"
        if spec.order
        else "",
        "limit ?" if spec.limit is not None else "",
        "offset ?" if spec.offset else "",
    ]
    return " ".join(part for part in parts if part)


def words_of_insert(info: ModelInfo, given: Iterable[Field], conflict: Conflict | None = None) -> str:
    """``insert Star (name, mag) on conflict (name) update``."""
    names = ", ".join(field.name for field in given)
    if conflict is None:
        return f"insert {info.name} ({names})"
    key = ", ".join(field.name for field in conflict.key)
    return f"insert {info.name} ({names}) on conflict ({key}) {conflict.action}"


def words_of_update(spec: QuerySpec, values: Mapping[Field, Operand]) -> str:
    """``update Star where … set hits = Star.hits + ?``."""
    changes = ", ".join(f"{field.name} = {words_of(operand)}" for field, operand in values.items())
    return f"{words_of_query('update', spec)} set {changes}"


def words_of_updates(info: ModelInfo, key: Iterable[Field], columns: Iterable[Field]) -> str:
    """``update Star by (id) set mag = ?``."""
    by = ", ".join(field.name for field in key)
    changes = ", ".join(f"{field.name} = ?" for field in columns)
    return f"update {info.name} by ({by}) set {changes}"  # noqa: S608 - words, not SQL


def words_of(part: Node | Operand) -> str:
    """A node or an operand."""
    return _WORDS[type(part)](part)


def _several(word: str) -> Callable[[Any], str]:
    return lambda node: f"({f' {word} '.join(words_of(part) for part in node.parts)})"


def _not(node: Any) -> str:
    return "not " if node.negated else ""


def _exists(node: Exists) -> str:
    inner = [node.where, *(hop.where for hop in node.hops)]
    conditions = " and ".join(words_of(each) for each in inner if each is not None)
    models = " ".join(hop.info.name for hop in node.hops)
    return f"{_not(node)}exists {models}{f' where {conditions}' if conditions else ''}"


#: How each of ``nodes`` is written. The keys of a JSON path may be a user's, and so count as values.
_WORDS: Mapping[type, Callable[[Any], str]] = {
    Column: lambda n: str(n.field.label),
    JsonPath: lambda n: f"{n.column.label}{'[?]' * len(n.path)}",
    Value: lambda n: "?",
    Arithmetic: lambda n: f"({words_of(n.left)} {n.op} {words_of(n.right)})",
    Compare: lambda n: f"{words_of(n.left)} {n.op} {words_of(n.right)}",
    In: lambda n: f"{words_of(n.operand)} {_not(n)}in ?",
    Like: lambda n: f"{words_of(n.operand)} {_not(n)}{'like' if n.fold is None else 'ilike'} ?",
    IsNull: lambda n: f"{words_of(n.operand)} is {_not(n)}null",
    Exists: _exists,
    And: _several("and"),
    Or: _several("or"),
    Always: lambda n: str(n.truth).lower(),
}
