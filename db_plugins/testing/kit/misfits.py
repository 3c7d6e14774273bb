"""A value that does not fit its column is refused in writes and filters, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from db_plugins import Capability, InvalidValueError, NotNullError
from db_plugins.errors import DbPluginsError

from .harness import Connect, subject
from .models import Badge, Star, Thing
from .samples import BOUNDARIES, REFUSED, REFUSED_JSON

__all__ = ["Misfits"]


@subject("values", Capability.WRITE)
class Misfits:
    """API §1: *anything else is an InvalidValueError before anything is sent*."""

    @pytest.mark.parametrize("column", list(REFUSED))
    def test_a_value_of_another_kind_is_refused_in_writes_before_it_is_sent(
        self, alarmed: Connect, column: str
    ) -> None:
        query = alarmed(Thing).query(Thing)
        for value in REFUSED[column]:
            for write in (
                lambda v: query.insert({column: v}),
                lambda v: query.insert(Thing(**{column: v})),
                lambda v: query.bulk_insert([{column: v}]),
                lambda v: query.bulk_insert([{"id": 1}], on_conflict="update", update={column: v}),
                lambda v: query.upsert({"id": 1, column: v}),
                lambda v: query.get_or_create({"id": 1, column: v}),
                lambda v: query.get_or_create({"id": 1}, **{column: v}),
                lambda v: query.bulk_update([{"id": 1, column: v}]),
                lambda v: query.filter(id=1).update({column: v}),
            ):
                with pytest.raises(InvalidValueError, match=f"Thing.{column}") as caught:
                    write(value)
                assert f"{value!r}" not in str(caught.value) or len(repr(value)) < 4, (
                    "a message shows no value"
                )

    @pytest.mark.parametrize("column", list(REFUSED))
    def test_a_value_of_another_kind_among_others_is_refused_with_its_row(
        self, alarmed: Connect, column: str
    ) -> None:
        query = alarmed(Thing).query(Thing)
        fitting = [*BOUNDARIES[column], None]
        row = f"row {len(fitting) + 1} "
        for value in REFUSED[column]:
            values = [*fitting, value, fitting[0]]
            for write in (
                lambda rows: query.bulk_insert([{column: r[column]} for r in rows]),
                lambda rows: query.bulk_insert(rows, on_conflict="update"),
                lambda rows: query.bulk_insert([Thing(**r) for r in rows], on_conflict="ignore"),
                query.bulk_update,
            ):
                with pytest.raises(InvalidValueError, match=rf"Thing\.{column}.*{row}"):
                    write([{"id": n, column: v} for n, v in enumerate(values)])

    @pytest.mark.parametrize("column", list(REFUSED))
    def test_a_value_of_another_kind_is_refused_in_filters_before_it_is_sent(
        self, alarmed: Connect, column: str
    ) -> None:
        query = alarmed(Thing).query(Thing)
        attribute = getattr(Thing, column)

        def one_of(value: Any) -> Any:
            return attribute.in_([value])

        def none_of(value: Any) -> Any:
            return attribute.not_in([value])

        for value in REFUSED[column]:
            with pytest.raises(InvalidValueError, match=f"Thing.{column}"):
                query.filter(**{column: value})
            if isinstance(value, list):
                continue  # SQLAlchemy itself reads a list beside == in its own way
            made: list[Callable[[Any], Any]] = [attribute.__eq__, attribute.__ne__, one_of, none_of]
            for make in made:
                with pytest.raises((InvalidValueError, DbPluginsError), match=f"Thing.{column}"):
                    query.filter(make(value))

    def test_json_that_is_no_json_is_refused(self, alarmed: Connect) -> None:
        query = alarmed(Thing).query(Thing)
        for value in REFUSED_JSON:
            for write in (
                lambda v: query.insert({"extra": v}),
                lambda v: query.bulk_insert([{"extra": v}]),
                lambda v: query.upsert({"id": 1, "extra": v}),
                lambda v: query.get_or_create({"id": 1}, extra=v),
                lambda v: query.bulk_update([{"id": 1, "extra": v}]),
            ):
                with pytest.raises(InvalidValueError, match=r"Thing\.extra"):
                    write(value)

    def test_an_integer_beyond_its_column_is_refused_in_writes_and_may_be_compared(
        self, connect: Connect
    ) -> None:
        query = connect(Thing).query(Thing)
        query.bulk_insert([{"small": 5, "number": 5}])
        for column, value in (
            ("small", 2**15),
            ("small", -(2**15) - 1),
            ("number", 2**31),
            ("number", -(2**31) - 1),
        ):
            with pytest.raises(InvalidValueError, match=f"Thing.{column}"):
                query.insert({column: value})
            assert query.filter(getattr(Thing, column) != value).count() == 1
            assert query.filter(getattr(Thing, column) == value).count() == 0
            assert query.filter(getattr(Thing, column) < value).count() == (1 if value > 0 else 0)
            assert query.filter(getattr(Thing, column).in_([value, 5])).count() == 1

    def test_of_a_row_that_is_refused_nothing_is_stored(self, connect: Connect) -> None:
        query = connect(Thing).query(Thing)
        with pytest.raises(InvalidValueError):
            query.bulk_insert([{"number": 1}, {"number": "2"}])
        assert query.count() == 0

    def test_none_is_refused_where_the_column_takes_no_null(self, alarmed: Connect) -> None:
        query = alarmed(Star).query(Star)
        for write in (
            lambda: query.insert({"name": None}),
            lambda: query.insert({"mag": 1.0}),
            lambda: query.bulk_insert([{"name": "a"}, {"name": None}]),
            lambda: query.filter(id=1).update({"name": None}),
        ):
            with pytest.raises(NotNullError) as caught:
                write()
            assert caught.value.attributes == ("name",)
            assert caught.value.engine == query._runner.engine.name

    def test_a_text_longer_than_its_column_is_refused(self, alarmed: Connect) -> None:
        query = alarmed(Badge).query(Badge)
        with pytest.raises(InvalidValueError, match=r"Badge\.code"):
            query.insert({"code": "x" * 21})
