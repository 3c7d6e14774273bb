"""What goes with a deleted row: the plan of a model, as ``Session.delete`` would act, made once.

| relationship of the model                | rows of the other side                                        |
|------------------------------------------|---------------------------------------------------------------|
| to many or to one child, cascade delete  | are deleted, by a plan of their own                           |
| the same without that cascade            | their foreign key becomes NULL                                |
| many to many                             | link rows are deleted; with cascade delete the others too     |
| to a parent, cascade delete              | the parent is deleted, after                                  |
| ``passive_deletes``, ``viewonly``        | nothing: left to the database                                 |

Where no server enforces foreign keys, those that no relationship has dealt with act by their ``ondelete``: CASCADE, SET
NULL, SET DEFAULT, or else the row is refused. Nothing here reaches a database: ``deleting`` carries a plan out.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import RelationshipDirection, RelationshipProperty

from .errors import UnsupportedOperationError
from .models import Field, ModelInfo, describe
from .models.links import link_model
from .references import Reference, referrers_of, world_of

__all__ = ["Rule", "Step", "Via", "plan_of"]


class Rule(enum.Enum):
    """What becomes of the rows that refer to a deleted one."""

    DELETE = "CASCADE"
    NULL = "SET NULL"
    DEFAULT = "SET DEFAULT"
    REFUSE = "NO ACTION"


@dataclass(frozen=True, eq=False)
class Via:
    """A link table on the way: its rows whose ``near`` columns hold the key lead to what ``far`` names."""

    model: ModelInfo
    near: tuple[Field, ...]
    far: tuple[Field, ...]


@dataclass(frozen=True, eq=False)
class Step:
    """What happens to rows of ``target`` whose ``far`` columns hold what ``near`` columns of a deleted ``source`` hold.

    ``clears`` are the columns that NULL and DEFAULT set. ``reference`` is the foreign key, if it is that and no
    relationship that says so.
    """

    rule: Rule
    source: ModelInfo
    near: tuple[Field, ...]
    target: ModelInfo
    far: tuple[Field, ...]
    clears: tuple[Field, ...] = ()
    via: Via | None = None
    reference: Reference | None = None

    @property
    def label(self) -> str:
        """``Book.author_id``: the columns at the other side."""
        return ", ".join(f.label for f in self.clears or self.far)


def plan_of(info: ModelInfo, *, emulates: bool) -> tuple[Step, ...]:
    """The steps of a model. ``emulates``: no server enforces foreign keys, so that they are steps too.

    Raises UnsupportedOperationError, naming it, for a relationship that equality of columns does not describe.
    """
    kept = world_of(info).kept
    key = ("plan", info, emulates)
    if key not in kept:
        steps = list(_of_relationships(info))
        if emulates:
            steps += [step for ref in referrers_of(info) for step in _of_foreign_key(info, ref, steps)]
        kept[key] = tuple(steps)
    found: tuple[Step, ...] = kept[key]
    return found


# -- relationships -----------------------------------------------------------------------------------------------------


def _of_relationships(info: ModelInfo) -> Iterator[Step]:
    props = dict.fromkeys(
        prop for mapper in info.mapper.self_and_descendants for prop in mapper.relationships
    )
    acting = [prop for prop in props if not prop.viewonly and not prop.passive_deletes]
    steps: dict[tuple[Any, ...], Step] = {}
    for prop in acting:
        for step in _KINDS[prop.direction](info, prop) if _is_plain(prop) else ():
            known = steps.get(_identity(step))
            if known is None or (known.rule is Rule.NULL and step.rule is Rule.DELETE):
                steps[_identity(step)] = step
    for prop in acting:
        if not _is_plain(prop):
            _refuse_condition(info, prop, steps.values())
    yield from steps.values()


def _identity(step: Step) -> tuple[Any, ...]:
    """The same for relationships over the same columns: the stronger one acts."""
    via = None if step.via is None else step.via.near
    return step.source.cls, step.near, step.target.cls, step.far, via


def _of_children(info: ModelInfo, prop: RelationshipProperty[Any]) -> Iterator[Step]:
    source, target = _source(info, prop), describe(prop.mapper.class_)
    pairs = prop.local_remote_pairs or ()
    yield Step(
        Rule.DELETE if prop.cascade.delete else Rule.NULL,
        source,
        _fields(prop, source, [local for local, _ in pairs]),
        target,
        _fields(prop, target, [remote for _, remote in pairs]),
        clears=_fields(prop, target, [child for _, child in prop.synchronize_pairs]),
    )


def _of_parent(info: ModelInfo, prop: RelationshipProperty[Any]) -> Iterator[Step]:
    if prop.cascade.delete:
        source, target = _source(info, prop), describe(prop.mapper.class_)
        pairs = prop.local_remote_pairs or ()
        near = _fields(prop, source, [local for local, _ in pairs])
        yield Step(Rule.DELETE, source, near, target, _fields(prop, target, [remote for _, remote in pairs]))


def _of_link(info: ModelInfo, prop: RelationshipProperty[Any]) -> Iterator[Step]:
    source = _source(info, prop)
    link = describe(link_model(prop.secondary))  # type: ignore[arg-type]  # _is_plain saw that it is a Table
    near = _fields(prop, source, [local for local, _ in prop.synchronize_pairs])
    here = _fields(prop, link, [column for _, column in prop.synchronize_pairs])
    yield Step(Rule.DELETE, source, near, link, here)
    if prop.cascade.delete:
        pairs = prop.secondary_synchronize_pairs or ()
        target = describe(prop.mapper.class_)
        via = Via(link, here, _fields(prop, link, [column for _, column in pairs]))
        yield Step(
            Rule.DELETE, source, near, target, _fields(prop, target, [remote for remote, _ in pairs]), via=via
        )


_KINDS = {
    RelationshipDirection.ONETOMANY: _of_children,
    RelationshipDirection.MANYTOONE: _of_parent,
    RelationshipDirection.MANYTOMANY: _of_link,
}


def _source(info: ModelInfo, prop: RelationshipProperty[Any]) -> ModelInfo:
    """The model whose rows have the relationship: this one, or the subclass that declares it."""
    return info if info.mapper.isa(prop.parent) else describe(prop.parent.class_)


def _fields(prop: RelationshipProperty[Any], info: ModelInfo, columns: Iterable[Any]) -> tuple[Field, ...]:
    names = [column.name for column in columns]
    if absent := [name for name in names if name not in info.by_column]:
        raise UnsupportedOperationError(
            f"{_label(prop)} goes by the column {absent[0]!r}, which {info.name} has no attribute for, "
            "so that delete cannot follow it",
            hint="map the column, or make the relationship viewonly=True",
        )
    return tuple(info.by_column[name] for name in names)


def _is_plain(prop: RelationshipProperty[Any]) -> bool:
    """Is it equality of columns, and nothing more? Of a link table every row goes, whatever else is asked of it."""
    from .query.relations import is_equality

    if prop.secondary is not None:
        return isinstance(prop.secondary, sa.Table)
    if prop.direction is RelationshipDirection.MANYTOONE and not prop.cascade.delete:
        return True  # nothing is done
    return is_equality(prop.primaryjoin, len(prop.local_remote_pairs or ()))


def _refuse_condition(info: ModelInfo, prop: RelationshipProperty[Any], steps: Iterable[Step]) -> None:
    """Refuse a relationship with a condition, unless another one does to the same rows all that it would do."""
    source = _source(info, prop)
    columns = {child.name for _, child in prop.synchronize_pairs}
    for step in steps:
        covers = step.rule is Rule.DELETE or not prop.cascade.delete
        if (
            covers
            and step.source is source
            and prop.mapper.isa(step.target.mapper)
            and {f.column for f in step.far} == columns
        ):
            return
    raise UnsupportedOperationError(
        f"{_label(prop)} has a condition of its own, which delete cannot follow",
        hint="make it viewonly=True, or delete in a session()",
    )


def _label(prop: RelationshipProperty[Any]) -> str:
    return f"{prop.parent.class_.__name__}.{prop.key}"


# -- foreign keys ------------------------------------------------------------------------------------------------------


def _of_foreign_key(info: ModelInfo, reference: Reference, done: list[Step]) -> Iterator[Step]:
    if any(_is_done(step, reference) for step in done):
        return
    rules = {rule.value: rule for rule in Rule}
    yield Step(
        rules.get(reference.ondelete, Rule.REFUSE),
        reference.parent,
        reference.keys,
        reference.child,
        reference.fields,
        clears=reference.fields,
        reference=reference,
    )


def _is_done(step: Step, reference: Reference) -> bool:
    """Has a relationship dealt with every row of this foreign key?"""
    return (
        step.via is None
        and step.target.table is reference.child.table
        and step.target.only_this_class is None
        and step.source.table is reference.parent.table
        and (step.source is reference.parent or step.source.only_this_class is None)
        and {(a.column, b.column) for a, b in zip(step.near, step.far, strict=True)}
        == {(a.column, b.column) for a, b in zip(reference.keys, reference.fields, strict=True)}
    )
