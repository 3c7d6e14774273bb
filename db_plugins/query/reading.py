"""The reading half of a query. Every verb is one statement (``paginate`` with a count: two)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar, overload

from sqlalchemy.sql.elements import Label, quoted_name

from ..errors import InvalidValueError, MultipleResultsError, NotFoundError
from ..joining import among, keys_at_once
from ..models.makers import make_dict_maker
from ..nodes import Node
from ..runner import key_equals, refuse_groups
from ..spec import QuerySpec
from .building import BuildingVerbs
from .cursors import CursorPage, make_cursor_page
from .frames import load_package, make_frame, make_table
from .nearest import Metric, find_nearest
from .pages import Pagination, check_whole, make_page
from .related import load_related

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]
    import pyarrow as pa  # type: ignore[import-untyped]

    from ..models import Field
    from ..runner import Runner

__all__ = ["ReadingVerbs"]

M = TypeVar("M")
Row = tuple[Any, ...]

#: The largest batch of a stream: beyond it, memory is no longer constant in any useful sense.
MAX_BATCH = 1_000_000
#: Rows that become one chunk of an Arrow table.
FRAME_BATCH = 20_000


class ReadingVerbs(BuildingVerbs[M]):
    """``get``, ``first``, ``one``, ``all``, ``to_dicts``, ``count``, ``exists``, ``paginate``…"""

    __slots__ = ()

    def get(self, key: Any) -> M | None:
        """The object with this primary key (a tuple for a composite key), or ``None``."""
        return self._one_of(
            self._spec.but(where=self._spec.and_where(self._key_is(key)), order=(), limit=None, offset=0)
        )

    def get_many(self, keys: Iterable[Any]) -> dict[Any, M]:
        """The objects with these primary keys, by key; keys that are not there are left out. Any number of keys."""
        wanted = list(dict.fromkeys(self._checked_key(k) for k in keys))
        found: dict[Any, M] = {}
        step = keys_at_once(len(self._info.key))
        for start in range(0, len(wanted), step):
            node = among(self._info.key, wanted[start : start + step])
            rows = self._rows(
                self._spec.but(where=self._spec.and_where(node), order=(), limit=None, offset=0)
            )
            for instance in self._build(rows):
                found[self._key_of(instance)] = instance
        single = len(self._info.key) == 1
        return {(k[0] if single else k): found[k] for k in wanted if k in found}

    def first(self) -> M | None:
        """The first object, by primary key if unordered, or ``None``."""
        return self._one_of(self._spec.but(order=self._total_order(), limit=self._capped(1)))

    def one(self) -> M:
        """The only object. Raises NotFoundError or MultipleResultsError."""
        found = self.one_or_none()
        if found is None:
            raise NotFoundError(f"no {self._info.name} matches", hint="one_or_none() gives None instead")
        return found

    def one_or_none(self) -> M | None:
        """The only object, or ``None``. Raises MultipleResultsError."""
        rows = self._rows(self._spec.but(order=self._window_order(), limit=self._capped(2)))
        if len(rows) > 1:
            raise MultipleResultsError(
                f"more than one {self._info.name} matches", hint="first() gives the first of them"
            )
        return self._build(rows)[0] if rows else None

    def all(self) -> list[M]:
        """Every object, in order; by primary key if a limit or an offset was given without an order."""
        return self._build(self._rows(self._spec.but(order=self._window_order())))

    def to_dicts(self, *columns: Any) -> list[dict[str, Any]]:
        """Dicts by attribute name, without making objects; of these columns (or names), else of all.

        ``.label("x")`` gives a column another name; after ``join`` they may be a joined model's. Raises InvalidValueError
        for two columns of one name.

            db.query(Book).join(Book.author).to_dicts(Book.title, Author.name.label("author"))
        """
        names, fields = self._chosen(columns)
        rows = self._rows(self._spec.but(columns=fields, order=self._window_order()))
        return make_dict_maker(names)(rows)

    @overload
    def stream(self, *, batch_size: int = 1000) -> Generator[M, None, None]: ...
    @overload
    def stream(
        self, column: Any, /, *columns: Any, batch_size: int = 1000
    ) -> Generator[dict[str, Any], None, None]: ...
    def stream(self, *columns: Any, batch_size: int = 1000) -> Generator[Any, None, None]:
        """An iterator of objects, or of dicts when columns (or names) are given, in constant memory.

        The rows come from the server ``batch_size`` at a time. A connection is held until the iterator is exhausted,
        closed (``contextlib.closing``) or no longer referred to. Raises InvalidValueError for a size outside 1 to
        1,000,000.

            for star in db.query(Star).stream(): ...
        """
        return _each(self._parts(columns, batch_size))

    def _parts(self, columns: Sequence[Any], batch_size: int) -> Generator[list[Any], None, None]:
        """What ``stream`` gives, in lists."""
        check_whole("batch_size", batch_size, 1, MAX_BATCH)
        runner, order = self._runner, self._window_order()
        if not columns:
            return _made(runner, runner.fetch(self._spec.but(order=order), batch_size), self._build)
        names, fields = self._chosen(columns)
        rows = runner.fetch(self._spec.but(columns=fields, order=order), batch_size)
        return _made(runner, rows, make_dict_maker(names))

    def to_arrow(self, *columns: Any) -> pa.Table:
        """A ``pyarrow.Table`` of these columns (or names), else of all, in the query's order.

        The types follow from the columns' kinds (see ``frames.py``), so that an empty table has them too. Needs the extra
        ``frames``.
        """
        load_package("pyarrow", "to_arrow")
        chosen = dict(zip(*self._chosen(columns), strict=True))
        spec = self._spec.but(columns=tuple(chosen.values()), order=self._window_order())
        return make_table(chosen, self._runner.fetch(spec, FRAME_BATCH))

    def to_pandas(self, *columns: Any) -> pd.DataFrame:
        """A ``pandas.DataFrame`` of these columns (or names), else of all: ``to_arrow`` with pandas' Arrow types.

        Integers with NULLs stay integers, NULL is ``pandas.NA``. Needs the extra ``frames``.
        """
        load_package("pandas", "to_pandas")
        return make_frame(self.to_arrow(*columns))

    def count(self) -> int:
        """How many rows; heeds limit and offset."""
        return self._runner.count(
            self._spec if not self._spec.is_windowed else self._spec.but(order=self._total_order())
        )

    def exists(self) -> bool:
        """Is there at least one row?"""
        spec = self._spec.but(columns=self._info.key, order=(), limit=self._capped(1))
        return bool(self._rows(spec))

    def paginate(
        self, page: int = 1, per_page: int = 10, *, count: bool = True, max_per_page: int = 1000
    ) -> Pagination[M]:
        """One numbered page, by primary key if unordered; a page past the end is empty.

        Raises InvalidValueError for a page below 1 or a size outside 1 to ``max_per_page``.
        """
        return make_page(self, page, per_page, count=count, max_per_page=max_per_page)

    def cursor_paginate(
        self, cursor: str | None = None, per_page: int = 10, *, max_per_page: int = 1000
    ) -> CursorPage[M]:
        """One page that begins after (or ends before) the row of ``cursor``, by primary key if unordered.

        It costs the same at any depth, and rows that are inserted or deleted between two pages move no others. Raises
        InvalidValueError for a cursor that is malformed, of another query or wrongly signed.

            page = db.query(Star).order_by("-mag").cursor_paginate(request.args.get("cursor"))
        """
        return make_cursor_page(self, cursor, per_page, max_per_page)

    def nearest(self, column: Any, vector: Any, k: int, metric: Metric = "cosine") -> list[tuple[M, float]]:
        """The ``k`` objects (1 to 10,000) whose Vector ``column`` lies nearest to ``vector``, each with its distance.

        ``metric`` is ``"cosine"``, ``"l2"`` or ``"inner_product"`` (with its sign turned, so that less is nearer); see
        ``nearest.py``. Filters are heeded, NULL vectors left out, and for cosine vectors of zeros; ties are by primary
        key. Raises InvalidValueError for a vector of another length, UnsupportedOperationError for a query with a limit,
        an offset, an order or groups.

            for document, distance in db.query(Document).nearest(Document.embedding, vector, k=5): ...
        """
        return find_nearest(self, column, vector, k, metric)

    def explain(self) -> str:
        """The native statement as text; nothing is run."""
        refuse_groups(self._spec)
        return self._runner.explain(self._spec.but(order=self._window_order()))

    # -- one mechanism under all of them ---------------------------------------------------------------------------

    def _rows(self, spec: QuerySpec) -> Sequence[Row]:
        return self._runner.rows(spec)

    def _build(self, rows: Sequence[Row]) -> list[M]:
        runner = self._runner
        instances: list[M] = runner.builder(self._info, self._spec.columns)(rows)
        if self._spec.includes:
            load_related(runner, instances, self._spec.includes)
        return instances

    def _one_of(self, spec: QuerySpec) -> M | None:
        rows = self._rows(spec)
        return self._build(rows[:1])[0] if rows else None

    def _window(self, offset: int, limit: int) -> ReadingVerbs[M]:
        """The rows from ``offset`` on, inside whatever window the query has already."""
        if self._spec.limit is not None:
            limit = max(0, min(limit, self._spec.limit - offset))
        return self._with(offset=self._spec.offset + offset, limit=limit)

    def _window_order(self) -> Any:
        return self._total_order() if self._spec.order or self._spec.is_windowed else ()

    def _capped(self, n: int) -> int:
        return n if self._spec.limit is None else min(n, self._spec.limit)

    def _chosen(self, columns: Sequence[Any]) -> tuple[tuple[str, ...], tuple[Field, ...]]:
        """The names that these columns have in the result, and their fields."""
        if not columns:
            return tuple(f.name for f in self._info.fields), self._info.fields
        fields = tuple([self._reader.column(c) for c in columns])
        names = tuple(
            _label(c, f) if isinstance(c, Label) else f.name for c, f in zip(columns, fields, strict=True)
        )
        taken: dict[str, Field] = {}
        for name, field in zip(names, fields, strict=True):
            if taken.setdefault(name, field) is not field:
                raise InvalidValueError(
                    f"{taken[name].label} and {field.label} would both be called {name!r}",
                    hint=f'name one of them: {field.label}.label("…")',
                )
        return names, fields

    def _checked_key(self, key: Any) -> Row:
        fields = self._info.key
        if isinstance(key, Mapping):
            key = tuple(key.get(f.name) for f in fields)
        parts = key if isinstance(key, tuple) else (key,)
        if len(parts) != len(fields):
            names = ", ".join(f.name for f in fields)
            raise InvalidValueError(
                f"the primary key of {self._info.name} is ({names}), and {len(parts)} values were given",
                hint="give a tuple in that order" if len(fields) > 1 else "give the one value",
            )
        literal = self._reader.literal
        checked = tuple([literal(f, p) for f, p in zip(fields, parts, strict=True)])
        if None in checked:
            raise InvalidValueError(f"the primary key of {self._info.name} cannot be None")
        return checked

    def _key_is(self, key: Any) -> Node:
        return key_equals(self._info, self._checked_key(key))

    def _key_of(self, instance: Any) -> Row:
        return tuple(getattr(instance, f.name) for f in self._info.key)


def _each(parts: Generator[list[Any], None, None]) -> Generator[Any, None, None]:
    """What is in the parts, one by one."""
    with closing(parts):
        for part in parts:
            yield from part


def _made(
    runner: Runner, batches: Generator[list[Row], None, None], make: Callable[[list[Row]], list[Any]]
) -> Generator[list[Any], None, None]:
    """What ``make`` makes of the rows; the connection is given back however this ends."""
    with closing(batches):
        for rows in batches:
            yield make(rows)
            if runner.block is not None:
                runner.block.check()  # the transaction that it reads in may have ended meanwhile


def _label(label: Label[Any], field: Field) -> str:
    """The name that a label gives; refused if it is none.

    SQLAlchemy takes anything, and calls a label of ``""`` or ``None`` by its address in memory, which is a subclass of
    ``quoted_name``.
    """
    name: Any = label.name
    if not isinstance(name, str) or (isinstance(name, quoted_name) and type(name) is not quoted_name):
        raise InvalidValueError(f"a label of {field.label} is no name", hint=f'{field.label}.label("…")')
    return name
