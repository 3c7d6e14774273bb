"""Nodes become MongoDB's own words. Pure: no driver, no collection.

    Compare(Column, Value) · In · IsNull   the path form  {"mag": {"$lt": 5}}, which indexes serve
    column against column, arithmetic      the expression form  {"$expr": {…}}
    order                                  a sort, with a computed flag where NULLs stand on the unusual side
    operands of an update                  $set and $unset, or a pipeline where one is calculated

NULL is a missing field (in collections of other programs also a null). The path form compares within one
type, so NULL stays out by itself except of ``!=`` and NOT IN; in the expression form NULL sorts lowest, and
``_GUARDED`` says which side must be guarded. Literals never stand where MongoDB would read an operator.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from db_plugins.models import Field, Kind, ModelInfo
from db_plugins.nodes import (
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
    Node,
    Operand,
    Or,
    Value,
    Wild,
    all_of,
    fields_of,
)
from db_plugins.patterns import ascii_regex, literal_regex, prefix_bounds
from db_plugins.spec import Order

from .codec import encode, encode_number, path_of
from .errors import NULL_MARK, RANGE_MARK
from .object_ids import is_object_id

if TYPE_CHECKING:
    from .lookups import Let

__all__ = ["CannotSay", "Filter", "Place", "Translator", "both"]

Filter = dict[str, Any]

NOTHING: Filter = {"_id": {"$in": []}}
#: An IN list of more values than this could pass MongoDB's 16 MB of one document.
MOST_VALUES = 200_000

_PATH = {"==": "$eq", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
_EXPRESSION = {**_PATH, "!=": "$ne"}
_FLIPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
#: The sides that may not be NULL lest the comparison be true: NULL equals itself and is less than everything.
_GUARDED = {"==": "l", "!=": "lr", "<": "l", "<=": "l", ">": "r", ">=": "r"}
#: What a JSON value must be to count as a value of the kind.
_JSON_TYPES = {
    Kind.TEXT: ["string"],
    Kind.INTEGER: ["int", "long"],
    Kind.FLOAT: ["int", "long", "double"],
    Kind.BOOLEAN: ["bool"],
}
_TIMES = {"+": "$add", "-": "$subtract", "*": "$multiply"}


class CannotSay(Exception):
    """MongoDB has no words for this part that mean the same: the core works it out."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the columns of a joined model are: inside a field of the document."""

    info: ModelInfo
    prefix: str


@dataclass(frozen=True, slots=True)
class Translator:
    """Translates for one model, whose key says what is called ``_id``.

    Of the rest a query of several models makes use: ``places`` are of joined models, by scope, ``let`` are the variables
    for columns of other documents, and ``answers`` the fields in which each ``Exists`` (by identity) was looked up.
    """

    info: ModelInfo
    places: Mapping[str, Place] = field(default_factory=dict)
    let: Let | None = None
    answers: dict[int, str] = field(default_factory=dict)

    def is_here(self, column: Field) -> bool:
        """Is the column one of the document's?"""
        return column.scope == self.info.scope or column.scope in self.places

    def path(self, column: Field) -> str:
        """Where the document has the column."""
        if column.scope == self.info.scope:
            return path_of(self.info, column)
        place = self.places[column.scope]
        return f"{place.prefix}.{path_of(place.info, column)}"

    def _is_path(self, operand: Operand) -> bool:
        return isinstance(operand, Column) and self.is_here(operand.field)

    # -- conditions ------------------------------------------------------------------------------------------

    def split(self, node: Node | None) -> tuple[Filter, Node | None]:
        """The filter for as much of the node as can be said, and the rest for the core."""
        if node is None:
            return {}, None
        said: list[Filter] = []
        unsaid: list[Node] = []
        for part in node.parts if isinstance(node, And) else (node,):
            try:
                said.append(self.filter(part))
            except CannotSay:
                unsaid.append(part)
        return both(said), all_of(unsaid) if unsaid else None

    def filter(self, node: Node) -> Filter:
        """The filter document that is true exactly where the node is. Raises CannotSay."""
        if isinstance(node, Always):
            return {} if node.truth else NOTHING
        if isinstance(node, And):
            return both([self.filter(part) for part in node.parts])
        if isinstance(node, Or):
            return {"$or": [self.filter(part) for part in node.parts]}
        if isinstance(node, Compare):
            return self._compare(node)
        if isinstance(node, In):
            return self._in(node)
        if isinstance(node, Like):
            return self._like(node)
        if isinstance(node, Exists):
            if id(node) not in self.answers:
                raise CannotSay("other collections are looked up before, and not in a filter")
            return {f"{self.answers[id(node)]}.0": {"$exists": not node.negated}}
        return self._is_null(node)

    def _compare(self, node: Compare) -> Filter:
        op, left, right = node.op, node.left, node.right
        if isinstance(left, Value):
            op, left, right = _FLIPPED[op], right, left
        if op not in ("==", "!="):
            for field in (*fields_of(left), *fields_of(right)):
                if field.kind is Kind.BYTES:
                    raise CannotSay("MongoDB orders bytes by their length first")
        if isinstance(left, Column) and isinstance(right, Value) and self.is_here(left.field):
            return self._path_form(self.path(left.field), op, _stored(right))
        one, other = self.expression(left), self.expression(right)
        sides = (("l", left, one), ("r", right, other))
        guards = [
            not_null(e) for name, side, e in sides if name in _GUARDED[op] and not isinstance(side, Value)
        ]
        return _expression_form([*guards, {_EXPRESSION[op]: [one, other]}])

    def _path_form(self, path: str, op: str, value: Any) -> Filter:
        if op == "!=":
            return {path: {"$nin": [value, None]}}
        if op == "==" and path == "_id" and not isinstance(value, Mapping):
            return {path: value}  # some servers look up the key only in this form
        return {path: {_PATH[op]: value}}

    def _in(self, node: In) -> Filter:
        if len(node.values) > MOST_VALUES:
            raise CannotSay("the list is too long for one statement")
        values = [encode(node.field, value) for value in node.values]
        if isinstance(node.operand, Column) and self.is_here(node.operand.field):
            path = self.path(node.operand.field)
            return {path: {"$nin": [*values, None]} if node.negated else {"$in": values}}
        subject = self.expression(node.operand)
        among: Any = {"$in": [subject, {"$literal": values}]}
        return _expression_form([not_null(subject), {"$not": [among]} if node.negated else among])

    def _like(self, node: Like) -> Filter:
        if any(is_object_id(field) for field in fields_of(node.operand)):
            raise CannotSay("an ObjectId is no text")
        text = literal_regex(node.pattern) if node.fold is None else ascii_regex(node.pattern)
        text = text.removeprefix("(?s)")
        if not self._is_path(node.operand):
            subject = self.expression(node.operand)
            found: Any = {"$regexMatch": {"input": subject, "regex": {"$literal": text}, "options": "s"}}
            return _expression_form([not_null(subject), {"$not": [found]} if node.negated else found])
        path = self.path(node.operand.field)
        matched: Filter = {"$regex": text, "$options": "s"}
        if node.negated:
            return {path: {"$not": matched, "$ne": None}}
        bounds = prefix_bounds(node.pattern) if node.fold is None else None
        if bounds is None:
            return {path: matched}
        # Bounds that any index serves; for a prefix and nothing more they say it all.
        within = {"$gte": bounds[0]} if bounds[1] is None else {"$gte": bounds[0], "$lt": bounds[1]}
        return {path: within if node.pattern[1:] == (Wild.ANY,) else {**within, **matched}}

    def _is_null(self, node: IsNull) -> Filter:
        column = node.operand.field if isinstance(node.operand, Column) else None
        # Not of JSON: {"doc": {"$eq": null}} finds a document [null] as well, one level into an array.
        if column is not None and self.is_here(column) and column.kind is not Kind.JSON:
            return {self.path(column): {"$ne" if node.negated else "$eq": None}}
        there = not_null(self.expression(node.operand))
        return _expression_form([there if node.negated else {"$not": [there]}])

    # -- operands --------------------------------------------------------------------------------------------

    def expression(self, operand: Operand) -> Any:
        """The operand as an aggregation expression; NULL comes out as null or missing."""
        if isinstance(operand, Column):
            if self.let is not None and not self.is_here(operand.field):
                return "$$" + self.let.variable(operand.field)
            return "$" + self.path(operand.field)
        if isinstance(operand, JsonPath):
            return self._inside(operand)
        if isinstance(operand, Value):
            return _literal(operand)
        return self._arithmetic(operand)

    def _inside(self, operand: JsonPath) -> Any:
        value: Any = self.expression(Column(operand.column))
        for step in operand.path:
            if isinstance(step, str):
                value = {"$getField": {"field": {"$literal": step}, "input": value}}
            else:
                value = {"$cond": [{"$isArray": [value]}, {"$arrayElemAt": [value, step]}, None]}
        kind = operand.field.kind
        taken: Any = {"$toDouble": "$$value"} if kind is Kind.FLOAT else "$$value"
        found = {"$in": [{"$type": "$$value"}, _JSON_TYPES[kind]]}
        return {"$let": {"vars": {"value": value}, "in": {"$cond": [found, taken, None]}}}

    def _arithmetic(self, node: Arithmetic) -> Any:
        left, right = self.expression(node.left), self.expression(node.right)
        kinds = (kind_of(node.left), kind_of(node.right))
        if kinds == (Kind.FLOAT, Kind.DECIMAL):  # the float wins, as in SQL; in MongoDB the Decimal would
            right = {"$toDouble": right}
        elif kinds == (Kind.DECIMAL, Kind.FLOAT):
            left = {"$toDouble": left}
        if node.op in _TIMES:
            return {_TIMES[node.op]: [left, right]}
        if isinstance(node.right, Value):
            if node.right.value == 0:
                return None
            return _divide(node.op, left, right, kinds)
        return {"$cond": [{"$eq": [right, 0]}, None, _divide(node.op, left, right, kinds)]}

    # -- orders ----------------------------------------------------------------------------------------------

    def sort(self, order: Sequence[Order]) -> tuple[list[tuple[str, int]], dict[str, Any]]:
        """The sort, and the flags that must be computed before it. Raises CannotSay."""
        terms: list[tuple[str, int]] = []
        flags: dict[str, Any] = {}
        for number, term in enumerate(order):
            if term.field.kind is Kind.BYTES:
                raise CannotSay("MongoDB orders bytes by their length first")
            path = self.path(term.field)
            if any(path == earlier for earlier, _ in terms):
                continue  # a later term for the same field says nothing, and MongoDB refuses it
            if term.field.nullable and term.nulls_first is term.descending:
                flag = f"dbp_null_{number}"
                flags[flag] = not_null("$" + path)
                terms.append((flag, 1 if term.nulls_first else -1))
            terms.append((path, -1 if term.descending else 1))
        return terms, flags

    # -- updates ---------------------------------------------------------------------------------------------

    def update_document(self, values: Mapping[Field, Operand]) -> dict[str, Any] | list[dict[str, Any]]:
        """The update: ``$set`` and ``$unset`` where all is literal, else a pipeline. Raises CannotSay."""
        if all(isinstance(operand, Value) for operand in values.values()):
            given = {
                path_of(self.info, f): encode(f, v.value) for f, v in values.items() if isinstance(v, Value)
            }
            kept = {path: value for path, value in given.items() if value is not None}
            gone = {path: "" for path, value in given.items() if value is None}
            return {name: part for name, part in (("$set", kept), ("$unset", gone)) if part}
        return [
            {"$set": {path_of(self.info, f): self._assigned(f, operand) for f, operand in values.items()}}
        ]

    def _assigned(self, field: Field, operand: Operand) -> Any:
        if isinstance(operand, Value):
            stored = encode(field, operand.value)
            return "$$REMOVE" if stored is None else {"$literal": stored}
        result = self.expression(operand)
        absent: Any = "$$REMOVE" if field.nullable else _failure(NULL_MARK, field)
        fitted = _fit(field, "$$result")
        return {"$let": {"vars": {"result": result}, "in": {"$cond": [not_null("$$result"), fitted, absent]}}}


def both(filters: Iterable[Filter]) -> Filter:
    """The conjunction: one flat document, ``{"mag": {"$gte": 1, "$lt": 5}}``; ``$and`` for what clashes."""
    merged: Filter = {}
    clashing: list[Filter] = []
    for part in filters:
        for name, condition in part.items():
            if name not in merged:
                merged[name] = condition
            elif (
                _operators(name, merged[name])
                and _operators(name, condition)
                and not merged[name].keys() & condition
            ):
                merged[name] = {**merged[name], **condition}
            else:
                clashing.append({name: condition})
    if not clashing:
        return merged
    return {"$and": [*({name: condition} for name, condition in merged.items()), *clashing]}


def _operators(name: str, condition: Any) -> bool:
    return not name.startswith("$") and isinstance(condition, dict)


def not_null(expression: Any) -> Any:
    """Is the expression neither null nor missing? Both sort below everything that a column holds."""
    return {"$gt": [expression, None]}


def _expression_form(conditions: list[Any]) -> Filter:
    return {"$expr": conditions[0] if len(conditions) == 1 else {"$and": conditions}}


def _literal(value: Value) -> Any:
    stored = _stored(value)
    return stored if type(stored) in (int, float) else {"$literal": stored}


def _stored(value: Value) -> Any:
    try:
        return encode(value.field, value.value)
    except decimal.DecimalException:
        raise CannotSay("a number of more than 34 digits") from None


def kind_of(operand: Operand) -> Kind:
    """What kind of number the operand is."""
    if isinstance(operand, (Column, JsonPath)):
        return operand.field.kind
    if isinstance(operand, Value):
        if isinstance(operand.value, int):
            return Kind.INTEGER
        return Kind.DECIMAL if isinstance(operand.value, Decimal) else Kind.FLOAT
    kinds = {kind_of(operand.left), kind_of(operand.right)}
    if Kind.FLOAT in kinds:
        return Kind.FLOAT
    if Kind.DECIMAL in kinds:
        return Kind.DECIMAL
    return Kind.FLOAT if operand.op == "/" else Kind.INTEGER


def _divide(op: str, left: Any, right: Any, kinds: tuple[Kind, Kind]) -> Any:
    if op == "/":
        return {"$divide": [left, right]}
    if kinds != (Kind.INTEGER, Kind.INTEGER):
        return {"$floor": {"$divide": [left, right]}}
    # Doubles are exact to 53 bits only; Decimal128 holds any quotient of 64-bit integers.
    floor = {"$floor": {"$divide": [{"$toDecimal": left}, right]}}
    return {"$convert": {"input": floor, "to": "long", "onError": floor}}


def _failure(mark: str, field: Field) -> Any:
    """An expression that fails when it is reached; ``errors`` reads the attribute from its error."""
    # Not a constant: the server would work that out, and fail, before it looks at any row.
    return {"$toInt": {"$concat": [f"{mark}{field.name} ", {"$type": "$_id"}]}}


def _fit(field: Field, result: str) -> Any:
    """The calculated number as the column holds it."""
    if field.kind is Kind.INTEGER:
        top = 1 << (field.bits - 1)
        whole = {"$eq": [result, {"$trunc": result}]}
        inside = [{"$gte": [result, -top]}, {"$lte": [result, top - 1]}]
        return {"$cond": [{"$and": [*inside, whole]}, {"$toLong": result}, _failure(RANGE_MARK, field)]}
    if field.kind is Kind.FLOAT:
        return {"$toDouble": result}
    if field.kind is Kind.DECIMAL:
        number: Any = {"$toDecimal": result}
        if field.precision is None or field.scale is None:
            return number
        number = {"$round": [number, field.scale]}
        top = encode_number(Decimal(10) ** (field.precision - field.scale))
        return {"$cond": [{"$lt": [{"$abs": number}, top]}, number, _failure(RANGE_MARK, field)]}
    return result
