"""What is sent, in the words of MongoDB's shell, with ``?`` for every value: for ``explain()`` and for watchers.

    db.stars.find({mag: {$lt: ?}}, {name: 1, _id: 1}).sort({mag: -1}).limit(10)

A text that begins with ``$`` is the name of a field in an expression, and a value everywhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from db_plugins.engine import Conflict
from db_plugins.models import Field, ModelInfo

from .codec import path_of

if TYPE_CHECKING:
    from .engine import Find

__all__ = [
    "text_of_count",
    "text_of_delete",
    "text_of_find",
    "text_of_insert",
    "text_of_pipeline",
    "text_of_update",
    "text_of_updates",
]

#: Stages and parts of stages that hold names and numbers of the query, and no values.
_OPEN = ("$sort", "$project", "$unwind", "$skip", "$limit", "from", "localField", "foreignField", "as")
#: What holds values only.
_LITERAL = ("$literal", "$in", "$nin")


def text_of_find(find: Find) -> str:
    """A read."""
    if find.needs_pipeline:
        return text_of_pipeline(find.info.store, find.pipeline())
    parts = [f"db.{find.info.store}.find({_shape(find.filter)}, {_flat(find.projection)})"]
    parts += [f".sort({_flat(dict(find.sort))})"] if find.sort else []
    parts += [f".skip({find.skip})"] if find.skip else []
    parts += [f".limit({find.limit})"] if find.limit else []
    return "".join(parts)


def text_of_pipeline(store: str, stages: Iterable[Mapping[str, Any]]) -> str:
    """An aggregation."""
    return f"db.{store}.aggregate([{', '.join(_stage(stage) for stage in stages)}])"


def text_of_count(find: Find) -> str:
    """A count without look-ups."""
    return f"db.{find.info.store}.countDocuments({_shape(find.filter)})"


def text_of_insert(model: ModelInfo, given: Iterable[Field], count: int, conflict: Conflict | None) -> str:
    """New rows, or rows that may be there."""
    names = _names(model, given)
    if conflict is None:
        return f"db.{model.store}." + (f"insertOne({names})" if count == 1 else f"insertMany([{names}])")
    place = _names(model, conflict.key)
    word = "$setOnInsert" if conflict.action == "ignore" else "$set"
    return f"db.{model.store}.updateOne({place}, {{{word}: {names}}}, {{upsert: true}})"


def text_of_update(find: Find, columns: Iterable[Field]) -> str:
    """An update of what a filter finds."""
    word = "updateOne" if find.names_one else "updateMany"
    return f"db.{find.info.store}.{word}({_shape(find.filter)}, {{$set: {_names(find.info, columns)}}})"


def text_of_updates(model: ModelInfo, key: Sequence[Field], columns: Sequence[Field]) -> str:
    """Updates of rows by their keys."""
    change = f"{{$set: {_names(model, columns)}}}"
    return f"db.{model.store}.bulkWrite([{{updateOne: [{_names(model, key)}, {change}]}}])"


def text_of_delete(find: Find) -> str:
    """A delete of what a filter finds."""
    return f"db.{find.info.store}.{'deleteOne' if find.names_one else 'deleteMany'}({_shape(find.filter)})"


def _names(model: ModelInfo, fields: Iterable[Field]) -> str:
    return "{" + ", ".join(f"{path_of(model, field)}: ?" for field in fields) + "}"


def _stage(stage: Mapping[str, Any]) -> str:
    parts = []
    for name, part in stage.items():
        if name in _OPEN:
            shown = _flat(part) if isinstance(part, Mapping) else str(part)
        elif name == "pipeline":
            shown = f"[{', '.join(_stage(each) for each in part)}]"
        else:
            shown = _stage(part) if name == "$lookup" else _shape(part, is_expression=name != "$match")
        parts.append(f"{name}: {shown}")
    return f"{{{', '.join(parts)}}}"


def _flat(numbers: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{name}: {number}" for name, number in numbers.items()) + "}"


def _shape(part: Any, *, is_expression: bool = False) -> str:
    if isinstance(part, Mapping):
        shown = (
            f"{name}: {'?' if name in _LITERAL else _shape(each, is_expression=is_expression or name == '$expr')}"
            for name, each in part.items()
        )
        return f"{{{', '.join(shown)}}}"
    if isinstance(part, list):
        return f"[{', '.join(_shape(item, is_expression=is_expression) for item in part)}]"
    return part if is_expression and isinstance(part, str) and part.startswith("$") else "?"
