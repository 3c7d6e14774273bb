"""Foreign keys where no server checks them: the parents that new values name are looked up, once for each foreign key.

    check_parents      before rows are stored
    check_new_parents  before rows are changed
    name_reference     after a server refused a row and did not say which foreign key it was about

A parent that another call deletes at the same moment can be missed: ``FOREIGN_KEYS`` is claimed by engines that cannot
miss it. As in SQL (MATCH SIMPLE) a key with a NULL in it names no parent, and is not looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from .engine import Capability
from .errors import EngineError, ForeignKeyError
from .evaluation import compute
from .joining import among, parts_of
from .models import Field, ModelInfo
from .nodes import Operand, Value, fields_of
from .references import Reference, names_no_parent, references_of, referrers_of, still_referred
from .spec import QuerySpec

if TYPE_CHECKING:
    from .runner import Runner

__all__ = [
    "Look",
    "check_new_parents",
    "check_parents",
    "find_child",
    "find_new_orphan",
    "find_orphan",
    "name_reference",
    "needs_whole_keys",
]

Row = tuple[Any, ...]
#: What ON DELETE does not resolve by itself.
REFUSING = ("NO ACTION", "RESTRICT")
#: Looks which foreign key is broken.
Look = Callable[["Runner"], ForeignKeyError | None]


def check_parents(runner: Runner, info: ModelInfo, given: Sequence[Field], rows: Sequence[Row]) -> None:
    """Raise ForeignKeyError if a row, its values in the order of ``given``, names a parent that is not there.

    Rows of the same batch count as there. A foreign key of which ``given`` lacks a part is taken for NULL. Does nothing
    on an engine that claims FOREIGN_KEYS.
    """
    if info.foreign_keys and Capability.FOREIGN_KEYS not in runner.engine.capabilities:
        error = find_orphan(runner, info, given, rows)
        if error is not None:
            raise error


def needs_whole_keys(runner: Runner, info: ModelInfo, given: Sequence[Field]) -> bool:
    """Do changes give a part of a foreign key that must be looked up, whose other part only the stored rows know?"""
    if not info.foreign_keys or Capability.FOREIGN_KEYS in runner.engine.capabilities:
        return False
    return any(0 < sum(f in given for f in key.fields) < len(key.fields) for key in info.foreign_keys)


def check_new_parents(runner: Runner, spec: QuerySpec, values: Mapping[Field, Operand]) -> None:
    """Raise ForeignKeyError if these values let a row of the spec name a parent that is not there."""
    if spec.model.foreign_keys and Capability.FOREIGN_KEYS not in runner.engine.capabilities:
        error = find_new_orphan(runner, spec, values)
        if error is not None:
            raise error


def name_reference(runner: Runner, error: EngineError, look: Look | None) -> None:
    """Let an error that names no attributes say which foreign key it is about, if that can be found out."""
    if look is None or not isinstance(error, ForeignKeyError) or error.attributes:
        return
    with suppress(Exception):  # the error is there already: nothing may take its place
        found = look(runner.aside())
        if found is not None:
            error.args, error.attributes, error.hint = found.args, found.attributes, found.hint


# -- which one is broken -----------------------------------------------------------------------------------------------


def find_orphan(
    runner: Runner, info: ModelInfo, given: Sequence[Field], rows: Sequence[Row]
) -> ForeignKeyError | None:
    """The error of rows to be stored that name a parent that is not there."""
    place = {f.column: at for at, f in enumerate(given)}
    for reference in references_of(info):
        if any(f.column not in place for f in reference.fields):
            continue
        wanted = _values(rows, [place[f.column] for f in reference.fields])
        if reference.parent.table is info.table and all(f.column in place for f in reference.keys):
            wanted -= _values(rows, [place[f.column] for f in reference.keys])
        if not _are_there(runner, reference, wanted):
            return names_no_parent(reference, runner.engine.name)
    return None


def find_new_orphan(
    runner: Runner, spec: QuerySpec, values: Mapping[Field, Operand]
) -> ForeignKeyError | None:
    """The error of rows to be changed that would name a parent that is not there."""
    for reference in references_of(spec.model):
        if not any(f in values for f in reference.fields):
            continue
        new = [values.get(f) for f in reference.fields]
        literal = tuple(v.value for v in new if isinstance(v, Value))
        if None in literal:
            continue
        if len(literal) == len(new):
            # Of no rows nothing is wrong: so it is looked last whether there are any.
            if not _are_there(runner, reference, {literal}) and runner.rows(
                spec.but(columns=spec.model.key, limit=1)
            ):
                return names_no_parent(reference, runner.engine.name)
        elif not _are_there(runner, reference, _calculated(runner, spec, reference, values)):
            return names_no_parent(reference, runner.engine.name)
    return None


def _calculated(
    runner: Runner, spec: QuerySpec, reference: Reference, values: Mapping[Field, Operand]
) -> set[Row]:
    """What the foreign key will hold in each of the rows."""
    operands = [values.get(f) for f in reference.fields]
    needed = dict.fromkeys(reference.fields)
    needed |= {f: None for operand in operands if operand is not None for f in fields_of(operand)}
    columns = tuple(needed)
    found: set[Row] = set()
    for part in runner.fetch(spec.but(columns=columns)):
        for values_before in part:
            row = dict(zip((f.name for f in columns), values_before, strict=True))
            key = tuple(
                row[f.name] if operand is None else compute(operand, row)
                for f, operand in zip(reference.fields, operands, strict=True)
            )
            if None not in key:
                found.add(key)
    return found


def find_child(runner: Runner, spec: QuerySpec) -> ForeignKeyError | None:
    """The error of rows to be deleted that others refer to."""
    for reference in referrers_of(spec.model):
        if reference.ondelete not in REFUSING or reference.parent is not spec.model:
            continue
        child = runner.reader(reference.child.cls).model
        own: set[Row] = set()
        if child.table is spec.model.table:  # rows that go themselves are in nobody's way
            own = set(map(tuple, runner.rows(spec.but(columns=spec.model.key))))
        for rows in runner.fetch(spec.but(columns=reference.keys)):
            for part in parts_of([row for row in map(tuple, rows) if None not in row]):
                found = QuerySpec(child, child.key, where=among(reference.fields, part))
                if own:
                    there = any(tuple(row) not in own for row in runner.rows(found))
                else:
                    there = bool(runner.rows(found.but(limit=1)))
                if there:
                    return still_referred(reference, runner.engine.name)
    return None


def _values(rows: Iterable[Row], places: Sequence[int]) -> set[Row]:
    """The distinct keys in these places of the rows, without those that hold a NULL."""
    if len(places) == 1:
        return {(value,) for value in set(map(itemgetter(places[0]), rows)) if value is not None}
    return {key for key in set(map(itemgetter(*places), rows)) if None not in key}


def _are_there(runner: Runner, reference: Reference, wanted: set[Row]) -> bool:
    """Is there a parent for every one of these keys?"""
    if not wanted:
        return True
    parent = runner.reader(reference.parent.cls).model
    for part in parts_of(list(wanted)):
        spec = QuerySpec(parent, reference.keys, where=among(reference.keys, part))
        if not set(part) <= set(map(tuple, runner.rows(spec))):
            return False
    return True
