"""Every kind of mapped class works the same, and what is no model is refused by name."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db_plugins import Capability
from db_plugins.errors import DbPluginsError, DuplicateKeyError, InvalidValueError, NotLoadedError

from .harness import Connect, Harness, requires, subject
from .models import Animal, Cat, Classic, Dog, Imperative, Point, Thing

__all__ = ["Mapping"]

_sqlmodels: list[type] = []


def _sqlmodel_class() -> type:
    """A SQLModel class, made once; skipped by name where SQLModel is not installed."""
    sqlmodel = pytest.importorskip("sqlmodel")
    if not _sqlmodels:
        namespace: dict[str, Any] = {
            "__module__": __name__,
            "__qualname__": "Hero",
            "__tablename__": "kit_hero",
            "__annotations__": {"id": int | None, "name": str, "note": str | None},
            "id": sqlmodel.Field(default=None, primary_key=True),
            "name": sqlmodel.Field(max_length=40),
            "note": None,
        }
        _sqlmodels.append(type(sqlmodel.SQLModel)("Hero", (sqlmodel.SQLModel,), namespace, table=True))
    return _sqlmodels[0]


@subject("models")
class Mapping(Harness):
    """API §1."""

    @requires(Capability.WRITE)
    @pytest.mark.parametrize("style", ["Classic", "Imperative", "Point", "SQLModel"])
    def test_each_style_of_mapping_is_written_read_and_filtered(self, connect: Connect, style: str) -> None:
        known: dict[str, Any] = {"Classic": Classic, "Imperative": Imperative, "Point": Point}
        model: Any = known.get(style) or _sqlmodel_class()
        query = connect(model).query(model)
        made = query.insert(model(name="a", note="x"))
        assert (type(made), made.id, made.name, made.note) == (model, 1, "a", "x")
        query.bulk_insert([{"name": "b"}, model(name="c")])
        assert [(r.id, r.name, r.note) for r in query.order_by("-name").all()] == [
            (3, "c", None),
            (2, "b", None),
            (1, "a", "x"),
        ]
        assert query.filter(model.name == "b").one().id == 2
        assert query.filter(name="a").update({"note": None}) == 1
        row: Any = query.get(1)
        row.note = "y"
        assert query.update(row).note == "y"
        assert query.order_by("id").to_dicts("name", "note")[0] == {"name": "a", "note": "y"}
        assert query.delete(row) is True
        assert query.count() == 2

    @requires(Capability.WRITE)
    def test_a_sqlmodel_row_is_a_row_though_it_is_a_pydantic_model(self, connect: Connect) -> None:
        hero: Any = _sqlmodel_class()
        query = connect(hero).query(hero)
        row = query.insert(hero(name="a"))
        assert (row.id, row.note) == (1, None)
        again: Any = query.get(1)
        assert again.model_dump() == {"id": 1, "name": "a", "note": None}

    @requires(Capability.WRITE)
    def test_the_defaults_of_a_dataclass_are_the_columns_defaults(self, connect: Connect) -> None:
        query = connect(Point).query(Point)
        assert query.insert(Point(name="a")).weight == 7
        assert query.insert({"name": "b"}).weight == 7
        assert query.get(1) == query.get(1), "a dataclass is compared by its values"

    def test_a_class_of_single_table_inheritance_comes_back_as_itself(self, connect: Connect) -> None:
        db = connect(Animal, Dog, Cat)
        self.stock(db, Dog, [{"id": 1, "name": "Rex", "barks": True}])
        self.stock(db, Cat, [{"id": 2, "name": "Tom", "lives": 9}])
        self.stock(db, Animal, [{"id": 3, "name": "Ant"}])
        assert [type(a) for a in db.query(Animal).order_by("id").all()] == [Dog, Cat, Animal]
        assert [(d.name, d.barks) for d in db.query(Dog).all()] == [("Rex", True)]
        assert db.query(Cat).count() == 1
        assert db.query(Dog).get(2) is None
        assert type(db.query(Animal).get(2)) is Cat

    def test_a_subclass_column_that_its_base_class_was_read_without_is_not_none(
        self, connect: Connect
    ) -> None:
        db = connect(Animal, Dog, Cat)
        self.stock(db, Cat, [{"id": 1, "name": "Tom", "lives": 9}])
        cat = db.query(Animal).one()
        assert cat.name == "Tom"
        with pytest.raises(NotLoadedError, match=r"Cat\.lives was not loaded; query\(Cat\)"):
            cat.lives  # type: ignore[attr-defined]  # noqa: B018
        assert db.query(Cat).one().lives == 9

    @requires(Capability.WRITE, Capability.UNIQUE)
    def test_a_unique_column_of_a_subclass_holds(self, connect: Connect) -> None:
        db = connect(Animal, Dog, Cat)
        db.query(Animal).insert({"name": "Ant"})
        db.query(Dog).bulk_insert([{"name": "Rex", "chip": "1"}, {"name": "Ada"}, {"name": "Bo"}])
        with pytest.raises(DuplicateKeyError) as caught:
            db.query(Dog).insert({"name": "Max", "chip": "1"})
        assert caught.value.attributes == ("chip",)
        assert db.query(Dog).get_or_create({"chip": "1"})[0].name == "Rex"
        assert db.query(Animal).count() == 4

    @requires(Capability.WRITE)
    def test_a_subclass_writes_its_own_rows_alone(self, connect: Connect) -> None:
        db = connect(Animal, Dog, Cat)
        assert db.query(Dog).insert(Dog(name="Rex")).kind == "dog"
        assert db.query(Cat).insert({"name": "Tom"}).kind == "cat"
        assert db.query(Dog).update({"name": "all"}, force=True) == 1
        assert [a.name for a in db.query(Animal).order_by("id").all()] == ["all", "Tom"]
        assert db.query(Cat).delete(force=True) == 1
        assert db.query(Animal).count() == 1

    def test_a_load_event_runs_for_each_object_that_is_read(self, connect: Connect) -> None:
        db = connect(Animal, Dog, Cat)
        self.stock(db, Dog, [{"id": 1, "name": "Rex"}])
        assert db.query(Animal).one().was_loaded is True
        assert db.query(Dog).get(1).was_loaded is True  # type: ignore[union-attr]

    def test_a_column_of_another_name_is_its_attribute_everywhere(self, connect: Connect) -> None:
        db = connect(Thing)
        self.stock(db, Thing, [{"text": "a"}])
        query = db.query(Thing)
        assert query.one().text == "a"
        assert query.to_dicts("text") == [{"text": "a"}]
        assert query.order_by("text").filter(Thing.text == "a").one().text == "a"
        for use in (
            lambda: query.order_by("txt"),
            lambda: query.to_dicts("txt"),
            lambda: query.filter(txt="a"),
        ):
            with pytest.raises(InvalidValueError, match="'text'"):
                use()

    @pytest.mark.parametrize("model", [int, "Star", None, object(), Animal(name="x")])
    def test_what_is_no_mapped_class_is_refused(self, alarmed: Connect, model: Any) -> None:
        with pytest.raises(InvalidValueError):
            alarmed().query(model)

    def test_a_mapping_that_is_not_portable_is_refused_or_honoured(self, alarmed: Connect) -> None:
        """Joined inheritance has no meaning that every engine shares."""

        class Own(DeclarativeBase):
            pass

        class Base(Own):
            __tablename__ = "kit_joined_base"
            id: Mapped[int] = mapped_column(primary_key=True)
            kind: Mapped[str] = mapped_column(sa.String(10))
            __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "base"}

        class Joined(Base):
            __tablename__ = "kit_joined"
            id: Mapped[int] = mapped_column(sa.ForeignKey("kit_joined_base.id"), primary_key=True)
            __mapper_args__ = {"polymorphic_identity": "joined"}

        with pytest.raises(DbPluginsError, match=r"Joined.*inheritance"):
            alarmed().query(Joined)


setattr(sys.modules[__name__], "Hero", None)  # noqa: B010  the name under which a SQLModel class says it lives
