"""The database compared with what models need: Changes, in words and as source. Pure.

    renames → new collections → by collection: indexes that go, fields, the validator, indexes that come → collections that go

Fields are known from the validator that is there. Only what revisions made is dropped: other collections, other indexes and
the fields that no validator names are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from db_plugins.errors import MigrationError
from db_plugins.migrations.renames import refuse_unfit
from db_plugins.migrations.seam import Change, Difference, Rename, Wanted

from .fields import FieldChanges, renamed_validator
from .rendering import call, imports_of
from .schema import Collection, Index, collections_of
from .state import Owned, owned_by
from .validators import properties_of

__all__ = ["differ"]


def differ(there: Mapping[str, Collection], wanted: Wanted) -> Difference:
    """What leads from the collections that are there to those that are wanted."""
    owned = Owned() if wanted.from_nothing else owned_by(wanted.history)
    made = _Comparison(dict(there), collections_of(wanted.models, wanted.links), owned)
    made.rename(wanted.renames)
    return made.result()


class _Comparison:
    """``now`` is what will be there after the changes so far."""

    def __init__(self, now: dict[str, Collection], want: Mapping[str, Collection], owned: Owned) -> None:
        self.now = now
        self.want = want
        self.owned = owned
        self.changes: list[Change] = []
        self.possible: list[Rename] = []

    def result(self) -> Difference:
        new = sorted(self.want.keys() - self.now.keys())
        gone = sorted((self.owned.collections & self.now.keys()) - self.want.keys())
        for name in new:
            one = self.want[name]
            self._add(
                f"add collection {name}", [_made(one)], [call("drop_collection", name)], makes_table=True
            )
        for name in sorted(self.want.keys() & self.now.keys()):
            self._compare(self.now[name], self.want[name])
        for name in gone:
            text = f"drop collection {name}"
            self._add(text, [call("drop_collection", name)], [_made(self.now[name])], drops=(text,))
        self._guess(new, gone)
        return Difference(tuple(self.changes), tuple(self.possible))

    def _add(
        self,
        text: str,
        upgrade: Iterable[str],
        downgrade: Iterable[str],
        drops: tuple[str, ...] = (),
        completes: bool = False,
        makes_table: bool = False,
    ) -> None:
        up, down = "\n".join(upgrade), "\n".join(downgrade)
        imports = imports_of(f"{up}\n{down}")
        self.changes.append(Change(text, up, down, imports, drops, makes_table, completes))

    # -- renames ---------------------------------------------------------------------------------------------

    def rename(self, renames: Sequence[Rename]) -> None:
        """Collections first. Raises InvalidValueError for one that does not fit what is there and what is wanted."""
        there = {name: properties_of(one.validator) for name, one in self.now.items()}
        wanted = {name: one.fields for name, one in self.want.items()}
        refuse_unfit(renames, there, wanted, words=("collection", "field"))
        moved = {each.old: each.new for each in renames if each.table is None}
        for old, new in moved.items():
            self._rename_collection(old, new)
        for each in renames:
            if each.table is not None:
                self._rename_field(moved.get(each.table, each.table), each.old, each.new)

    def _rename_collection(self, old: str, new: str) -> None:
        self._add(
            f"rename collection {old} to {new}",
            [call("rename_collection", old, new)],
            [call("rename_collection", new, old)],
        )
        self.now[new] = replace(self.now.pop(old), name=new)
        if old in self.owned.collections:
            self.owned.collections = self.owned.collections - {old} | {new}
        self.owned.indexes[new] = self.owned.indexes.pop(old, set())

    def _rename_field(self, name: str, old: str, new: str) -> None:
        now, want = self.now[name], self.want[name]
        # An index knows its fields by name: those of this field are made anew around the rename.
        touched = [index for index in now.indexes.values() if old in index.paths]
        anew = [_named_as(want, _renamed_index(index, old, new)) for index in touched]
        validator = renamed_validator(now.validator, old, new)
        up = [
            *(call("drop_index", name, index.name) for index in touched),
            call("rename_field", name, old, new),
            *([call("set_validator", name, validator)] if now.validator else []),
            *(_index_made(name, index) for index in anew),
        ]
        down = [
            *(call("drop_index", name, index.name) for index in anew),
            call("rename_field", name, new, old),
            *([call("set_validator", name, now.validator)] if now.validator else []),
            *(_index_made(name, index) for index in touched),
        ]
        self._add(f"rename field {name}.{old} to {new}", up, down)
        kept = {n: index for n, index in now.indexes.items() if index not in touched}
        self.now[name] = replace(
            now, indexes={**kept, **{index.name: index for index in anew}}, validator=validator
        )
        mine = self.owned.indexes.setdefault(name, set())
        mine |= {b.name for a, b in zip(touched, anew, strict=True) if a.name in mine}

    # -- one collection --------------------------------------------------------------------------------------

    def _compare(self, now: Collection, want: Collection) -> None:
        gone, come = self._indexes(now, want)
        for index in gone:
            self._add(
                f"drop {_kind(index)} {now.name}.{index.name}",
                [call("drop_index", now.name, index.name)],
                [_index_made(now.name, index)],
            )
        fields = FieldChanges(now, want)
        for each in fields.changes():
            self._add(*each)
        self.possible += fields.possible_renames()
        for old, index in come:
            if old is None:
                self._add(
                    f"add {_kind(index)} {now.name}.{index.name}",
                    [_index_made(now.name, index)],
                    [call("drop_index", now.name, index.name)],
                    completes=True,
                )
            else:
                self._add(
                    f"change {_kind(index)} {now.name}.{index.name}",
                    [call("drop_index", now.name, old.name), _index_made(now.name, index)],
                    [call("drop_index", now.name, index.name), _index_made(now.name, old)],
                )

    def _indexes(
        self, now: Collection, want: Collection
    ) -> tuple[list[Index], list[tuple[Index | None, Index]]]:
        """Those that go; and those that come, with the one that each takes the place of."""
        there = dict(now.indexes)
        come: list[tuple[Index | None, Index]] = []
        for index in want.indexes.values():
            same = there.pop(index.name, None)
            if same is not None:
                if not index.does_as(same):
                    come.append((same, index))
                continue
            # MongoDB refuses a second index that does the same under another name.
            twin = next((o for o in there.values() if o.name not in want.indexes and index.does_as(o)), None)
            if twin is None:
                come.append((None, index))
            elif self.owned.has(now.name, twin.name):
                come.append((there.pop(twin.name), index))
        return [index for index in there.values() if self.owned.has(now.name, index.name)], come

    # -- what may be a rename --------------------------------------------------------------------------------

    def _guess(self, new: Iterable[str], gone: Iterable[str]) -> None:
        """A collection that goes and one that comes, of the same fields for the most part."""
        left = list(new)
        for old in gone:
            before = set(properties_of(self.now[old].validator))
            for name in left:
                after = set(self.want[name].fields)
                if 2 * len(before & after) > max(len(before), len(after)):
                    self.possible.append(Rename(old, name))
                    left.remove(name)
                    break


def _kind(index: Index) -> str:
    return "unique index" if index.options.get("unique") else "index"


def _made(one: Collection) -> str:
    indexes = [index.document() for index in one.indexes.values()]
    return call("create_collection", one.name, indexes=indexes or None, validator=one.validator)


def _index_made(collection: str, index: Index) -> str:
    document = index.document()
    keys = document.pop("keys")
    if not all(option.isidentifier() for option in document):
        raise MigrationError(f"{collection}: the index {index.name} has an option that is no name")
    return call("create_index", collection, keys, **document)


def _renamed_index(index: Index, old: str, new: str) -> Index:
    options = dict(index.options)
    for option in ("partialFilterExpression", "weights"):
        if option in options:
            options[option] = {new if k == old else k: v for k, v in options[option].items()}
    return replace(
        index, keys=tuple((new if k == old else k, direction) for k, direction in index.keys), options=options
    )


def _named_as(want: Collection, index: Index) -> Index:
    """Under the name by which it is wanted, if it is."""
    return next((each for each in want.indexes.values() if each.does_as(index)), index)
