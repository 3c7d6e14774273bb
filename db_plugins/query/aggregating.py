"""``aggregate`` and ``group_by``: SQLAlchemy's ``func.count()`` and its kin become an ``Aggregation``, and run.

The engine answers if its Connection has the role SupportsAggregation and can say all of it; else the core works the
answer out from the fetched rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import Label, UnaryExpression
from sqlalchemy.sql.functions import FunctionElement

from ..aggregates import Aggregation, GroupOrder, Groups, Term, aggregate_rows
from ..elements import shown
from ..engine import SupportsAggregation
from ..errors import InvalidValueError, UnsupportedFilterError, nearest
from ..expressions import Reader
from ..models import Field, Kind
from ..nodes import Arithmetic, Column, Operand, Value, fields_of
from ..runner import Runner
from ..spec import Grouping, LabelOrder, Order, QuerySpec
from .building import BuildingVerbs

if TYPE_CHECKING:
    from . import GroupedQuery

__all__ = ["AggregatingVerbs"]

M = TypeVar("M")

#: Rows that the core holds at a time while it works out what the engine leaves to it.
ROWS_AT_ONCE = 1000

_FUNCTIONS = ("count", "sum", "avg", "min", "max")
_NUMBERS = {Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL}
#: Kinds without a least and a greatest, and those that have no equality that is the same everywhere.
_NO_EXTREMES = {
    Kind.BOOLEAN: "count the rows of each value: group_by({0}) and func.count()",
    Kind.ENUM: "order_by({0}) and first()",
    Kind.JSON: "keep the value in a column of its own",
    Kind.VECTOR: "use nearest(), which orders by distance",
    Kind.NATIVE: "use the engine's own language through Database.native",
}
_NO_GROUPS = {kind: _NO_EXTREMES[kind] for kind in (Kind.JSON, Kind.VECTOR, Kind.NATIVE)}


class AggregatingVerbs(BuildingVerbs[M]):
    """``group_by``, ``aggregate``."""

    __slots__ = ()

    def group_by(self, *columns: Any) -> GroupedQuery[M]:
        """One group for each combination of values of these columns (or names); NULL is a value among them.

        Read it with ``aggregate``. From here on ``order_by``, ``limit`` and ``offset`` are about groups, and
        ``order_by`` takes group columns and labels. A second call adds columns.

            db.query(Star).group_by(Star.band).order_by("-n").aggregate(n=func.count())
        """
        if not columns:
            raise InvalidValueError(
                "group_by needs a column", hint="without groups, aggregate() gives one dict"
            )
        before = self._spec.grouping or Grouping((), self._spec.order)
        fields = [_group_column(self._reader, column) for column in columns]
        grouping = replace(before, columns=tuple(dict.fromkeys((*before.columns, *fields))))
        by_name: dict[str, Field] = {}
        for field in grouping.columns:
            if by_name.setdefault(field.name, field) is not field:
                raise InvalidValueError(
                    f"{by_name[field.name].label} and {field.label} would have one name in the result",
                    hint="group by one of them, or by its model's key",
                )
        return cast("GroupedQuery[M]", self._with(grouping=grouping, order=()))

    def aggregate(self, /, **terms: Any) -> dict[str, Any]:
        """A dict with a value for each label; after ``group_by`` a list of dicts, group columns first.

        ``func.count()``, ``func.count(column)``, ``func.sum``, ``func.avg``, ``func.min`` and ``func.max`` of a column,
        or of arithmetic on columns. NULLs are left out; of no values count is 0, the others None. A sum has its
        operand's type; an average is a float, of a Numeric a Decimal with six decimals more than the column; least and
        greatest are values of the column. Groups are ordered by their columns unless ``order_by`` says otherwise.
        Without groups a limit or an offset cuts the rows first, as in ``count()``.

            db.query(Star).aggregate(n=func.count(), brightest=func.min(Star.mag))
        """
        grouping = self._spec.grouping or Grouping(())
        read = tuple(_term(self._reader, label, term) for label, term in terms.items())
        _check_labels(read, grouping.columns)
        wanted = Aggregation(grouping.columns, read)
        spec = self._spec.but(grouping=None)
        if grouping.columns:
            order = _order(wanted, grouping.order)
            wanted = replace(wanted, order=order, limit=spec.limit, offset=spec.offset)
            spec = spec.but(limit=None, offset=0)
        elif spec.is_windowed:
            spec = spec.but(order=self._total_order())
        rows = [dict(zip(wanted.names, row, strict=True)) for row in _run(self._runner, spec, wanted)]
        return cast("dict[str, Any]", rows) if grouping.columns else rows[0]


# -- reading -----------------------------------------------------------------------------------------------------------


def _group_column(reader: Reader, given: Any) -> Field:
    found = Column(reader.model.field(given)) if isinstance(given, str) else None
    if found is None and (element := _element(given)) is not None:
        operand = reader.operand(element)
        found = operand if isinstance(operand, Column) else None
    if found is None:
        raise _refused(reader, "group by", given, "group by columns of the model")
    if found.field.kind in _NO_GROUPS:
        hint = _NO_GROUPS[found.field.kind].format(found.field.label)
        raise UnsupportedFilterError(
            f"{reader.engine}: {found.field.label} is {found.field.kind.name.lower()}, which makes no groups",
            hint=hint,
        )
    return found.field


def _term(reader: Reader, label: str, given: Any) -> Term:
    element = _element(given)
    while isinstance(element, Label):
        element = element.element
    name = getattr(element, "name", None)
    plain = isinstance(element, FunctionElement) and not getattr(element, "packagenames", ())
    if not plain or name not in _FUNCTIONS:
        hint = "aggregate takes " + ", ".join(f"func.{f}" for f in _FUNCTIONS)
        raise _refused(reader, "aggregate", given if element is None else element, hint)
    assert isinstance(element, FunctionElement)
    arguments = list(element.clauses)
    if name == "count" and (not arguments or _is_star(arguments[0])):
        return Term(label, name, None)
    if len(arguments) != 1:
        raise _refused(reader, "aggregate", element, f"func.{name} takes one column")
    argument = arguments[0]
    if isinstance(argument, UnaryExpression) and argument.operator is operators.distinct_op:
        raise UnsupportedFilterError(
            f"{reader.engine}: cannot aggregate {name}(DISTINCT {shown(argument.element)})",
            hint="group_by the column: the length of the result is the distinct count",
        )
    return _checked(reader, label, str(name), argument)


def _is_star(argument: Any) -> bool:
    """``func.count()`` is ``count(*)`` to SQLAlchemy, and some write ``func.count("*")``."""
    return any(
        isinstance(v, str) and v == "*" for v in (getattr(argument, n, 0) for n in ("name", "value", "text"))
    )


def _checked(reader: Reader, label: str, function: str, argument: Any) -> Term:
    operand = reader.operand(argument)
    fields = list(fields_of(operand))
    if function == "count":
        return Term(label, function, operand)
    if not fields:
        raise _refused(
            reader, "aggregate", argument, f"func.{function} takes a column, or arithmetic on columns"
        )
    if isinstance(operand, Column) and function in ("min", "max"):
        if (why := _NO_EXTREMES.get(operand.field.kind)) is not None:
            raise UnsupportedFilterError(
                f"{reader.engine}: {operand.field.label} is {operand.field.kind.name.lower()}, "
                f"which has no {function}",
                hint=why.format(operand.field.label),
            )
        return Term(label, function, operand, operand.field.kind, operand.field.scale)
    for field in fields:
        if field.kind not in _NUMBERS or field.to_stored is not None:
            raise _refused(reader, "aggregate", argument, f"{field.label} is no number")
    return Term(label, function, operand, *_measure(reader, operand, argument))


def _measure(reader: Reader, operand: Operand, argument: Any) -> tuple[Kind, int | None]:
    """What kind of number the operand is, and how many decimals it has if it is a Decimal."""
    if isinstance(operand, Column):
        return operand.field.kind, operand.field.scale if operand.field.kind is Kind.DECIMAL else 0
    if isinstance(operand, Value):
        if isinstance(operand.value, Decimal):
            return Kind.DECIMAL, max(0, -int(operand.value.as_tuple().exponent))
        return (Kind.INTEGER if isinstance(operand.value, int) else Kind.FLOAT), 0
    if not isinstance(operand, Arithmetic):
        raise _refused(reader, "aggregate", argument, "aggregate columns, and arithmetic on them")
    (left, a), (right, b) = (_measure(reader, side, argument) for side in (operand.left, operand.right))
    kinds = {left, right}
    if operand.op == "/" or Kind.FLOAT in kinds:
        return Kind.FLOAT, None
    if Kind.DECIMAL not in kinds:
        return Kind.INTEGER, 0
    if operand.op == "//":
        return Kind.DECIMAL, 0
    if a is None or b is None:
        return Kind.DECIMAL, None
    return Kind.DECIMAL, a + b if operand.op == "*" else max(a, b)


def _check_labels(terms: tuple[Term, ...], groups: tuple[Field, ...]) -> None:
    if not terms:
        raise InvalidValueError("aggregate needs a function", hint="write aggregate(n=func.count())")
    for term in terms:
        if not term.label.isidentifier():
            raise InvalidValueError(
                f"{term.label[:80]!r} is no label", hint="use a name: letters, digits and _"
            )
        if any(term.label == field.name for field in groups):
            raise InvalidValueError(
                f"the label {term.label!r} is a group column as well", hint="choose another label"
            )


def _order(wanted: Aggregation, given: Iterable[Order | LabelOrder]) -> tuple[GroupOrder, ...]:
    """The order of the groups, made total by the group columns that are not in it."""
    names = wanted.names
    terms: dict[int, GroupOrder] = {}
    for term in given:
        name = term.name if isinstance(term, LabelOrder) else term.field.name
        if name not in names if isinstance(term, LabelOrder) else term.field not in wanted.groups:
            raise InvalidValueError(
                f"groups cannot be ordered by {name[:80]!r}",
                hint=nearest(name, names) or "order by the group columns or labels of aggregate",
            )
        at = names.index(name)
        terms.setdefault(at, GroupOrder(at, term.descending, term.nulls_first))
    for at in range(len(wanted.groups)):
        terms.setdefault(at, GroupOrder(at))
    return tuple(terms.values())


def _element(given: Any) -> Any:
    if hasattr(given, "__clause_element__"):
        given = given.__clause_element__()
    return given if hasattr(given, "_propagate_attrs") or hasattr(given, "self_group") else None


def _refused(reader: Reader, verb: str, part: Any, hint: str) -> UnsupportedFilterError:
    what = shown(part) if _element(part) is not None else f"a value of type {type(part).__name__}"
    return UnsupportedFilterError(f"{reader.engine}: cannot {verb} {what}", hint=hint)


# -- running -----------------------------------------------------------------------------------------------------------


def _run(runner: Runner, spec: QuerySpec, wanted: Aggregation) -> list[tuple[Any, ...]]:
    if wanted.limit == 0:
        return []
    operands = [term.operand for term in wanted.terms if term.operand is not None]
    needed = dict.fromkeys((*wanted.groups, *(f for operand in operands for f in fields_of(operand))))
    spec = spec.but(columns=tuple(needed) or spec.model.key)
    found = None if spec.is_windowed else _ask(runner, spec, wanted)
    if found is None:
        with runner.errors():
            found = aggregate_rows(wanted, _rows(runner, spec))
    with runner.errors():
        return wanted.settle(found)


def _ask(runner: Runner, spec: QuerySpec, wanted: Aggregation) -> Groups | None:
    """The engine's answer, or ``None`` if it leaves it to the core."""
    query = runner.compiled(spec.but(order=()))
    if query is None:
        return None
    with runner.errors():
        connection = runner.connection
        if query.residual is None and isinstance(connection, SupportsAggregation):
            with runner.watched_query("aggregate", spec) as call:
                groups = connection.aggregate(query, wanted)
                if groups is None:
                    call.forget()
                else:
                    call.rows = len(groups.rows)
            return groups
    return None


def _rows(runner: Runner, spec: QuerySpec) -> Iterable[Mapping[str, Any]]:
    names = [field.path for field in spec.columns]
    for batch in runner.fetch(spec, ROWS_AT_ONCE, operation="aggregate"):
        for row in batch:
            yield dict(zip(names, row, strict=True))
