"""Functions written for one list of columns: rows to objects, to dicts, to converted rows, without a loop over columns.

Each is made once for a model and its columns, and is then a plain loop with every column in a variable of its own: the
least work for a row that Python can do. Of what the user wrote, only the ``repr`` of attribute names becomes source.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy.orm import Mapper, make_transient_to_detached
from sqlalchemy.orm.attributes import instance_state

__all__ = [
    "Unless",
    "collection_paused",
    "make_converter",
    "make_dict_maker",
    "make_document_reader",
    "make_document_writer",
    "make_object_maker",
    "written",
]

Row = tuple[Any, ...]
Rows = Sequence[Row]
Convert = Callable[[Any], Any]

#: Rows from which pausing the garbage collector pays.
MANY = 200


@contextmanager
def collection_paused() -> Iterator[None]:
    """No garbage collection while many objects are made, none of which can be garbage: it took 4/5 of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def make_object_maker(mapper: Mapper[Any], names: Sequence[str]) -> Callable[[Rows], list[Any]]:
    """Rows, whose values are attributes ``names``, the primary key among them, to detached objects."""
    manager = mapper.class_manager
    # A subclass's own columns, where rows of its base class were read. Without a state they would be None, and nobody told.
    has_unloaded = not {prop.key for prop in mapper.column_attrs} <= set(names)
    columns = [f"c{n}" for n in range(len(names))]
    on_load = bool(manager.dispatch.load)
    lines = [
        "def make(rows):",
        " objects = []",
        " add = objects.append",
        f" for {_tuple(columns)} in rows:",
        "  made = new(cls)",
        "  values = made.__dict__",
        *[f"  values[{name!r}] = {column}" for name, column in zip(names, columns, strict=True)],
        *(["  give_state(made)", "  detach(made)"] if has_unloaded else []),
        *(["  loaded(state_of(made), None)"] if on_load else []),
        "  add(made)",
        " return objects",
    ]
    known = {
        "cls": mapper.class_,
        "new": mapper.class_.__new__,
        "state_of": instance_state,
        "give_state": manager.setup_instance,
        "detach": make_transient_to_detached,
        "loaded": manager.dispatch.load,
    }
    return _paused_for_many(written(lines, known))


def make_dict_maker(names: Sequence[str]) -> Callable[[Rows], list[dict[str, Any]]]:
    """Rows to dicts of these names."""
    columns = [f"c{n}" for n in range(len(names))]
    pairs = ", ".join(f"{name!r}: {column}" for name, column in zip(names, columns, strict=True))
    lines = ["def make(rows):", f" return [{{{pairs}}} for {_tuple(columns)} in rows]"]
    return _paused_for_many(written(lines, {}))


class Unless:
    """A conversion of values that are not of this very type already, nor None."""

    __slots__ = ("convert", "kept")

    def __init__(self, kept: type, convert: Convert) -> None:
        self.kept = kept
        self.convert = convert

    def __call__(self, value: Any) -> Any:
        return value if type(value) is self.kept or value is None else self.convert(value)


def make_converter(
    functions: Sequence[Convert | None], *, take_none: bool = True
) -> Callable[[Rows], Rows] | None:
    """Rows of a driver's values to rows of ours, a function (or ``None``) for each column. ``None``: nothing to do.

    Without ``take_none`` the functions do not get to see None, which stays."""
    if not any(functions):
        return None
    columns = [f"c{n}" for n in range(len(functions))]
    made, known = _conversions(columns, functions, [take_none] * len(columns))
    lines = ["def make(rows):", f" return [{_tuple(made)} for {_tuple(columns)} in rows]"]
    return _paused_for_many(written(lines, known))


def make_document_reader(
    paths: Sequence[str], functions: Sequence[Convert | None], take_none: Sequence[bool]
) -> Callable[[Sequence[Mapping[str, Any]]], list[Row]]:
    """Documents to rows: what is missing is None, which only the functions that ``take_none`` get to see."""
    columns = [f"c{n}" for n in range(len(paths))]
    made, known = _conversions(columns, functions, take_none)
    lines = [
        "def make(documents):",
        " rows = []",
        " add = rows.append",
        " for document in documents:",
        "  get = document.get",
        *[f"  {column} = get({path!r})" for column, path in zip(columns, paths, strict=True)],
        f"  add({_tuple(made)})",
        " return rows",
    ]
    return _paused_for_many(written(lines, known))


def make_document_writer(
    paths: Sequence[str], functions: Sequence[Convert | None], take_none: Sequence[bool]
) -> Callable[[Sequence[Row]], list[dict[str, Any]]]:
    """Rows to documents, None left out; functions that ``take_none`` get to see it, and may give it."""
    columns = [f"c{n}" for n in range(len(paths))]
    made, known = _conversions(columns, functions, take_none)
    lines = [
        "def make(rows):",
        " documents = []",
        " add = documents.append",
        f" for {_tuple(columns)} in rows:",
        "  document = {}",
    ]
    for column, path, function, takes_none, value in zip(
        columns, paths, functions, take_none, made, strict=True
    ):
        if takes_none:
            lines.append(f"  {column} = {value}")
            value = column
        elif function is not None and not isinstance(function, Unless):
            value = f"f{column[1:]}({column})"  # without asking a second time whether it is None
        lines += [f"  if {column} is not None:", f"   document[{path!r}] = {value}"]
    return _paused_for_many(written([*lines, "  add(document)", " return documents"], known))


def _conversions(
    columns: Sequence[str], functions: Sequence[Convert | None], take_none: Sequence[bool]
) -> tuple[list[str], dict[str, Any]]:
    made: list[str] = []
    known: dict[str, Any] = {}
    for n, (column, function, takes_none) in enumerate(zip(columns, functions, take_none, strict=True)):
        if function is None:
            made.append(column)
            continue
        known[f"f{n}"] = function.convert if isinstance(function, Unless) else function
        if isinstance(function, Unless):
            known[f"k{n}"] = function.kept
            made.append(f"{column} if type({column}) is k{n} or {column} is None else f{n}({column})")
        else:
            made.append(f"f{n}({column})" if takes_none else f"None if {column} is None else f{n}({column})")
    return made, known


def _tuple(parts: Sequence[str]) -> str:
    return f"({', '.join(parts)},)" if parts else "()"


def written(lines: Sequence[str], known: dict[str, Any]) -> Callable[[Any], Any]:
    """The function ``make`` of these lines of source, which may use what is ``known``."""
    namespace = dict(known)
    exec("\n".join(lines), namespace)  # noqa: S102 - made of the words above and the reprs of attribute names
    made: Callable[[Any], Any] = namespace["make"]
    return made


def _paused_for_many(make: Callable[[Sequence[Any]], list[Any]]) -> Callable[[Sequence[Any]], list[Any]]:
    def made(rows: Sequence[Any]) -> list[Any]:
        if len(rows) < MANY:
            return make(rows)
        with collection_paused():
            return make(rows)

    return made
