"""Deletes rows with all that goes with them: first everything is looked up and checked, then it is done, leaves first.

    delete_together   a query's rows by its model's plan (``cascades``), as one: a single statement if the plan is empty
    _Deletion         what is known of one such call: the rows that go, those that lose their parent

Rows are named by their keys, and the query's own rows by its condition once more: one that another call has changed since
stays, and where there are transactions the whole is then undone and done again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from .cascades import Rule, Step, plan_of
from .engine import Capability
from .errors import ConflictError, IntegrityError, NotNullError, UnsupportedError
from .foreign_keys import check_parents
from .joining import among, base_of, parts_of
from .models import Field, ModelInfo
from .nodes import Node, Operand, Value, all_of
from .references import still_referred
from .spec import QuerySpec
from .unwinding import Unwinding, in_groups, parents_of, rows_by

if TYPE_CHECKING:
    from .runner import Runner

__all__ = ["delete_together"]

Row = tuple[Any, ...]


def delete_together(runner: Runner, spec: QuerySpec) -> int:
    """Delete the spec's rows and what goes with them; how many of the spec's own."""
    claimed = runner.engine.capabilities
    emulates = Capability.FOREIGN_KEYS not in claimed
    if not plan_of(spec.model, emulates=emulates):
        return runner.delete_alone(spec)

    def work(inner: Runner) -> int:
        with inner.errors():
            return _Deletion(inner, emulates=emulates).run(spec)

    return runner.as_one(work)


class _Deletion:
    """The rows that one call deletes and changes."""

    def __init__(self, runner: Runner, *, emulates: bool) -> None:
        self.runner = runner
        self.emulates = emulates
        #: The keys of the rows that go, by table, and a model to name them by.
        self.doomed: dict[sa.Table, dict[Row, None]] = {}
        self.models: dict[sa.Table, ModelInfo] = {}
        #: Rows with which nothing goes: they are not read, but deleted by what they hold.
        self.sweeps: list[tuple[Step, list[Row]]] = []
        #: Rows that stay, and what is to be done about them.
        self.others: list[tuple[Step, list[Row]]] = []
        self.changes: list[tuple[QuerySpec, dict[Field, Operand]]] = []
        self.asks_again = True

    def run(self, spec: QuerySpec) -> int:
        """Everything; how many of the spec's own rows."""
        keys = [tuple(row) for row in self.runner.rows(spec.but(columns=spec.model.key))]
        if not keys:
            return 0
        self._collect(spec.model, keys)
        groups = in_groups([*self.doomed, *(step.target.table for step, _ in self.sweeps)])
        self._read_sweeps(groups)
        self._check()
        for change, values in self.changes:
            self.runner.update(change, values)
        deleted = sum(self._delete_group(spec, frozenset(keys), group) for group in groups)
        if deleted < len(keys):
            self._refuse_changed(spec.model, keys)
        return deleted

    # -- what goes -------------------------------------------------------------------------------------------------

    def _collect(self, info: ModelInfo, keys: list[Row]) -> None:
        """Find all rows that go with these, and all that are touched."""
        queue: deque[tuple[ModelInfo, list[Row]]] = deque([(info, self._doom(info, keys))])
        while queue:
            info, keys = queue.popleft()
            for step in plan_of(info, emulates=self.emulates) if keys else ():
                if not self._can_hold(step):
                    continue
                values = self._values(step, info, keys)
                if not values:
                    continue
                if step.rule is not Rule.DELETE:
                    self.others.append((step, values))
                elif self._is_leaf(step):
                    self.sweeps.append((step, values))
                else:
                    queue.append((step.target, self._doom(step.target, self._read(step, values))))

    def _doom(self, info: ModelInfo, keys: Iterable[Row]) -> list[Row]:
        """Those of the keys that are new: so that a circle of rows has an end."""
        known = self.doomed.setdefault(info.table, {})
        self.models.setdefault(info.table, info)
        new = [key for key in keys if key not in known]
        known.update(dict.fromkeys(new))
        return new

    def _can_hold(self, step: Step) -> bool:
        try:
            self.runner.reader(step.target.cls)
        except UnsupportedError:
            if step.reference is None:
                raise
            return False  # this engine can hold no row of it
        return True

    def _is_leaf(self, step: Step) -> bool:
        """Does nothing go with the step's rows, and does none refer to another of their table?"""
        table = step.target.table
        return (
            step.via is None
            and not plan_of(step.target, emulates=self.emulates)
            and all(c.referred_table is not table for c in table.foreign_key_constraints)
        )

    def _values(self, step: Step, info: ModelInfo, keys: list[Row]) -> list[Row]:
        """What the step's other side holds if it is about these rows."""
        source = step.source
        if source is info and set(step.near) <= set(info.key):
            places = [info.key.index(f) for f in step.near]
            found: Iterable[Row] = (tuple([key[at] for at in places]) for key in keys)
        else:
            found = rows_by(self.runner, source, step.near, source.key, keys, source.only_this_class)
        values = [key for key in dict.fromkeys(found) if None not in key]
        if step.via is not None:
            through = rows_by(self.runner, step.via.model, step.via.far, step.via.near, values)
            values = [key for key in dict.fromkeys(through) if None not in key]
        return values

    def _read(self, step: Step, values: list[Row]) -> list[Row]:
        """The keys of the step's rows."""
        target = step.target
        return list(rows_by(self.runner, target, target.key, step.far, values, target.only_this_class))

    def _read_sweeps(self, groups: list[list[sa.Table]]) -> None:
        """Where more is to be known of a table's rows than that they go, read which they are."""
        asked = {step.target.table for step, _ in self.others} | {t for g in groups for t in g if len(g) > 1}
        kept = []
        for step, values in self.sweeps:
            if step.target.table in asked or step.target.table in self.doomed:
                self._doom(step.target, self._read(step, values))
            else:
                kept.append((step, values))
        self.sweeps = kept

    # -- who stays -------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        """Plan the changes of rows that stay; raise for those that cannot lose their parent. Nothing is done yet."""
        refused = {step.target.table for step, _ in self.others if step.rule is Rule.REFUSE}
        lost: dict[sa.Table, set[Row]] = {}
        for step, values in self.others:
            if step.rule is not Rule.REFUSE:
                self._plan_change(step, values, lost, refused)
        for step, values in self.others:
            if step.rule is Rule.REFUSE and self._has_staying(step, values, lost.get(step.target.table, ())):
                assert step.reference is not None
                raise still_referred(step.reference, self.runner.engine.name)

    def _plan_change(
        self, step: Step, values: list[Row], lost: dict[sa.Table, set[Row]], refused: set[sa.Table]
    ) -> None:
        target = step.target
        new = self._new_values(step)
        fixed = [f for f in step.clears if new[f] is None and not f.nullable]
        if fixed or step.rule is Rule.DEFAULT:
            stays = self._has_staying(step, values)
            if stays and fixed:
                raise self._cannot_be_null(step, fixed)
            if stays:
                self._check_default(step, values, new)
        if fixed:
            return
        changes: dict[Field, Operand] = {f: Value(value, f) for f, value in new.items()}
        if target.table not in self.doomed and target.table not in refused:
            for part in parts_of(values):
                where = _and(among(step.far, part), target.only_this_class)
                self.changes.append((QuerySpec(target, target.key, where=where), changes))
            return
        for part in parts_of(values):  # not those that go: their condition is asked once more
            staying = self._staying(step, part)
            lost.setdefault(target.table, set()).update(staying)
            for keys in parts_of(staying):
                where = all_of((among(target.key, keys), among(step.far, part)))
                self.changes.append((QuerySpec(target, target.key, where=where), changes))

    def _staying(self, step: Step, values: list[Row]) -> list[Row]:
        """The keys of the step's rows that are not deleted."""
        gone = self.doomed.get(step.target.table, {})
        return [key for key in self._read(step, values) if key not in gone]

    def _has_staying(self, step: Step, values: list[Row], lost: Iterable[Row] = ()) -> bool:
        """Are there any, but those in ``lost``, which will refer to the deleted rows no longer?"""
        target = step.target
        if lost or target.table in self.doomed:
            return not set(self._staying(step, values)) <= set(lost)
        where = [_and(among(step.far, part), target.only_this_class) for part in parts_of(values)]
        specs = [QuerySpec(target, target.key, where=node, limit=1) for node in where]
        return any(self.runner.rows(spec) for spec in specs)

    def _new_values(self, step: Step) -> dict[Field, Any]:
        """What the columns of rows that stay are set to; with ``onupdate`` where a relationship does it."""
        reader = self.runner.reader(step.target.cls)
        new: dict[Field, Any] = {}
        for f in step.clears:
            made = f.default.make({}) if step.rule is Rule.DEFAULT and f.default is not None else None
            new[f] = reader.check(f, made)
        if step.reference is None:
            for f in step.target.fields:
                if f.onupdate is not None and f not in new:
                    new[f] = reader.check(f, f.onupdate.make({}))
        return new

    def _check_default(self, step: Step, values: list[Row], new: dict[Field, Any]) -> None:
        default = tuple([new[f] for f in step.far])
        if default in values:
            assert step.reference is not None
            raise still_referred(step.reference, self.runner.engine.name)
        check_parents(self.runner, step.target, step.far, [default])

    def _cannot_be_null(self, step: Step, fixed: Sequence[Field]) -> IntegrityError:
        labels = ", ".join(f.label for f in fixed)
        return NotNullError(
            f"{labels} cannot be None, and a {step.target.name} still refers to the {step.source.name}",
            attributes=[f.name for f in fixed],
            engine=self.runner.engine.name,
            hint='delete the children first, or give the relationship cascade="all, delete-orphan"',
        )

    # -- doing it --------------------------------------------------------------------------------------------------

    def _delete_group(self, spec: QuerySpec, own: frozenset[Row], group: list[sa.Table]) -> int:
        for step, values in self.sweeps:
            if step.target.table in group:
                for part in parts_of(values):
                    where = _and(among(step.far, part), step.target.only_this_class)
                    self.runner.delete_alone(QuerySpec(step.target, step.target.key, where=where))
        if self.emulates or (len(group) == 1 and group[0] not in parents_of(group[0])):
            waves = iter([(table, list(self.doomed[table])) for table in group if table in self.doomed])
        else:
            waves = Unwinding(self.runner, self.doomed, self.models, group).waves(self._has_cut)
        return sum(self._delete_keys(spec, own, table, keys) for table, keys in waves)

    def _has_cut(self) -> None:
        """Rows that go were changed: a condition about what they hold is no longer true."""
        self.asks_again = False

    def _delete_keys(self, spec: QuerySpec, own: frozenset[Row], table: sa.Table, keys: list[Row]) -> int:
        """How many of them are the spec's own, and still are as it says."""
        deleted = 0
        for part in parts_of([key for key in keys if table is not spec.model.table or key not in own]):
            info = self.models[table]
            self.runner.delete_alone(QuerySpec(info, info.key, where=among(info.key, part)))
        for part in parts_of([key for key in keys if table is spec.model.table and key in own]):
            where = among(spec.model.key, part)
            if self.asks_again:
                # Without what is asked of other rows, which may be those that have gone just now.
                where = base_of(spec)[0].and_where(where)
            deleted += self.runner.delete_alone(QuerySpec(spec.model, spec.model.key, where=where))
        return deleted

    def _refuse_changed(self, info: ModelInfo, keys: list[Row]) -> None:
        """Some of the query's rows stay, for another call has changed them: then what goes with them must stay too."""
        if Capability.TRANSACTIONS not in self.runner.engine.capabilities:
            return  # there is nothing to be done about it
        if next(rows_by(self.runner, info, info.key, info.key, keys), None) is not None:
            raise ConflictError(
                f"a row of {info.name} was changed while it was deleted",
                engine=self.runner.engine.name,
                hint="nothing was done: run it again",
            )


def _and(where: Node, only: Node | None) -> Node:
    return where if only is None else all_of((only, where))
