"""Aggregations become one pipeline, ``$match`` ``$group`` ``$sort``, and its documents the groups.

    _id: {k0, k1}    the group's keys, a missing field as null
    v0, n0, o0       of each term: its value, how many values were not NULL, what the groups are ordered by

``$sum`` of nothing is 0 and of 64-bit integers may become a double: so values are counted beside it, and whole numbers
summed as Decimal128.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bson import Decimal128

from db_plugins.aggregates import GroupOrder, Term
from db_plugins.engine import Aggregation, Compiled, Groups, SupportsAggregation
from db_plugins.models import Field, Kind
from db_plugins.nodes import Column, Operand
from db_plugins.watching import say

from .codec import decoder, plain_int
from .translate import CannotSay, Translator, not_null
from .wording import text_of_pipeline

if TYPE_CHECKING:
    from .engine import Find

__all__ = ["AggregatingVerbs", "make_pipeline", "read_groups"]

Stage = dict[str, Any]


def make_pipeline(translator: Translator, find: Find, wanted: Aggregation) -> tuple[list[Stage], bool]:
    """The stages, and whether they order the groups and cut them. Raises CannotSay."""
    keys = {f"k{n}": _key(translator, field) for n, field in enumerate(wanted.groups)}
    group: Stage = {"_id": keys or None}
    for n, term in enumerate(wanted.terms):
        group |= {f"{name}{n}": said for name, said in _accumulators(translator, term).items()}
    stages: list[Stage] = [*find.matching, {"$group": group}]
    try:
        stages += _ordered(wanted)
    except CannotSay:
        return stages, False
    return stages, True


def _key(translator: Translator, field: Field) -> Stage:
    return {"$ifNull": [translator.expression(Column(field)), None]}


def _accumulators(translator: Translator, term: Term) -> dict[str, Any]:
    if term.operand is None:
        return {"n": {"$sum": 1}}
    if term.column is not None and term.column.kind is Kind.BYTES:
        raise CannotSay("MongoDB orders bytes by their length first")
    operand = translator.expression(term.operand)
    count = {"$sum": {"$cond": [not_null(operand), 1, 0]}}
    if term.function == "count":
        return {"n": count}
    if term.function in ("min", "max"):
        return {"v": {f"${term.function}": operand}}
    return {"v": {"$sum": _summed(term, operand)}, "n": count}


def _summed(term: Term, operand: Any) -> Any:
    if term.kind is Kind.INTEGER and not _is_short(term.operand):
        return {"$toDecimal": operand}
    return operand


def _is_short(operand: Operand | None) -> bool:
    return isinstance(operand, Column) and operand.field.bits < 64


def _ordered(wanted: Aggregation) -> list[Stage]:
    flags: Stage = {}
    sort: dict[str, int] = {}
    for order in wanted.order:
        at = order.position - len(wanted.groups)
        down = -1 if order.descending else 1
        if at < 0:
            sort[f"_id.k{order.position}"] = down
            _check_order(order, wanted.groups[order.position])
            continue
        term = wanted.terms[at]
        if term.function == "count":
            sort[f"n{at}"] = down
            continue
        _check_order(order, term.column)
        if term.function in ("sum", "avg"):
            flags[f"o{at}"] = _order_flag(term, at)
            sort[f"o{at}"] = down
        else:
            sort[f"v{at}"] = down
    stages: list[Stage] = [{"$set": flags}] if flags else []
    stages += [{"$sort": sort}] if sort else []
    stages += [{"$skip": wanted.offset}] if wanted.offset else []
    return stages + ([{"$limit": wanted.limit}] if wanted.limit else [])


def _check_order(order: GroupOrder, field: Field | None) -> None:
    if field is not None and field.kind is Kind.BYTES:
        raise CannotSay("MongoDB orders bytes by their length first")
    if order.nulls_first is order.descending and (field is None or field.nullable):
        raise CannotSay("NULLs on their unusual side")


def _order_flag(term: Term, at: int) -> Any:
    value: Any = f"$v{at}"
    if term.function == "avg":
        if term.kind is Kind.DECIMAL:
            raise CannotSay("averages are rounded by the core")
        value = {"$divide": [value, f"$n{at}"]}
    return {"$cond": [{"$gt": [f"$n{at}", 0]}, value, None]}


def read_groups(wanted: Aggregation, documents: Iterable[Mapping[str, Any]], is_sorted: bool) -> Groups:
    """What the documents of the pipeline say."""
    return Groups([_row(wanted, document) for document in documents], is_sorted)


def _row(wanted: Aggregation, document: Mapping[str, Any]) -> tuple[Any, ...]:
    keys = document["_id"] or {}
    row = [_decoded(field, keys.get(f"k{n}")) for n, field in enumerate(wanted.groups)]
    return (*row, *(_value(term, document, n) for n, term in enumerate(wanted.terms)))


def _value(term: Term, document: Mapping[str, Any], n: int) -> Any:
    count = plain_int(document.get(f"n{n}"))
    if term.function == "count":
        return count
    found = document.get(f"v{n}")
    if term.column is not None:
        return _decoded(term.column, found)
    value = found.to_decimal() if isinstance(found, Decimal128) else plain_int(found)
    if term.function in ("min", "max"):
        return value
    value = value if count else None
    return (value, count) if term.function == "avg" else value


def _decoded(field: Field, stored: Any) -> Any:
    decode = decoder(field)
    if decode is None or (stored is None and field.from_stored is None):
        return stored
    return decode(stored)


class AggregatingVerbs(SupportsAggregation):
    """The role, for a Connection with a database of PyMongo's and perhaps a session."""

    _database: Any
    _session: Any

    def aggregate(self, query: Compiled, wanted: Aggregation) -> Groups | None:
        find: Find = query.native
        try:
            stages, is_sorted = make_pipeline(find.translator or Translator(find.info), find, wanted)
        except CannotSay:
            return None
        say(lambda: text_of_pipeline(find.info.store, stages))
        with self._during("read", find.info), self._documents(find, stages) as documents:
            return read_groups(wanted, documents.to_list(), is_sorted)

    def _documents(self, find: Find, stages: Sequence[Stage]) -> Any:
        collection = self._database[find.info.store]
        return collection.aggregate(stages, session=self._session, allowDiskUse=True)

    def _during(self, doing: str, model: Any = None) -> Any:
        raise NotImplementedError
