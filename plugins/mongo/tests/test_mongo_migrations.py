"""Every edit of a model that MongoDB's migrations see: made, run, undone and run again, documents kept."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from migrating import Folder, model, state_of
from mongo_models import Link, Place, Star, Tag

from db_plugins import errors
from db_plugins.migrations.seam import Rename, Wanted
from db_plugins.models import describe
from db_plugins.models.vectors import Vector
from db_plugins_mongo.migrations.difference import differ
from db_plugins_mongo.migrations.schema import Collection, collection_of


@pytest.fixture
def folder(mongodb_server: Any, tmp_path: Path) -> Iterator[Folder]:
    name, url = mongodb_server.new_database()
    made = Folder(tmp_path / "versions", url, name)
    yield made
    made.close()
    mongodb_server.drop_database(name)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class MoreColours(enum.Enum):
    RED = 1
    BLUE = 2
    GREEN = 3


def column(name: str, type_: Any = sa.String, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, type_, **more)


def names(**more: Any) -> sa.Column[Any]:
    return column("name", sa.String(20), nullable=False, **more)


def indexed(*indexes: Any) -> type:
    return model("stars", names(), column("mag", sa.Integer), *indexes)


NAMED = [{"_id": 1, "name": "a"}, {"_id": 2, "name": "b"}]

#: edit → before, after, documents, what the changes say, and what the documents are after it (None: the same).
EDITS: dict[str, tuple[Any, Any, list[dict[str, Any]], str, Any]] = {
    "a collection comes": (
        [],
        [model("stars", names())],
        [],
        "add collection stars",
        None,
    ),
    "a field comes": (
        [model("stars", names())],
        [model("stars", names(), column("mag", sa.Float))],
        NAMED,
        "add field stars.mag",
        None,
    ),
    "a required field with a default comes": (
        [model("stars", names())],
        [model("stars", names(), column("mag", sa.Integer, nullable=False, default=7))],
        NAMED,
        "add field stars.mag",
        lambda d: {**d, "mag": 7},
    ),
    "a required decimal with a default comes": (
        [model("stars", names())],
        [model("stars", names(), column("price", sa.Numeric(8, 2), nullable=False, default=Decimal("1.5")))],
        NAMED,
        "add field stars.price",
        lambda d: {**d, "price": __import__("bson").Decimal128("1.50")},
    ),
    "a required date with a default comes": (
        [model("stars", names())],
        [model("stars", names(), column("day", sa.Date, nullable=False, default=dt.date(2020, 1, 2)))],
        NAMED,
        "add field stars.day",
        lambda d: {**d, "day": dt.datetime(2020, 1, 2)},
    ),
    "a field goes that holds nothing": (
        [model("stars", names(), column("mag", sa.Float))],
        [model("stars", names())],
        NAMED,
        "drop field stars.mag",
        None,
    ),
    "an integer becomes a float": (
        [model("stars", names(), column("mag", sa.Integer))],
        [model("stars", names(), column("mag", sa.Float))],
        [{"_id": 1, "name": "a", "mag": 3}],
        "type of stars.mag: int32 → double",
        lambda d: {**d, "mag": 3.0},
    ),
    "a float becomes an integer": (
        [model("stars", names(), column("mag", sa.Float, nullable=False))],
        [model("stars", names(), column("mag", sa.Integer, nullable=False))],
        [{"_id": 1, "name": "a", "mag": 3.0}],
        "type of stars.mag: double → int32",
        lambda d: {**d, "mag": 3},
    ),
    "a text becomes a number": (
        [model("stars", column("mag", sa.String))],
        [model("stars", column("mag", sa.Integer))],
        [{"_id": 1, "mag": "3"}],
        "type of stars.mag: string → int32",
        lambda d: {**d, "mag": 3},
    ),
    "a field becomes required": (
        [model("stars", column("name", sa.String(20)))],
        [model("stars", names())],
        NAMED,
        "require field stars.name",
        None,
    ),
    "a field may be missing": (
        [model("stars", names())],
        [model("stars", column("name", sa.String(20)))],
        NAMED,
        "field stars.name may be missing now",
        None,
    ),
    "a text may be longer": (
        [model("stars", names())],
        [model("stars", column("name", sa.String(40), nullable=False))],
        NAMED,
        "length of stars.name: 20 → 40",
        None,
    ),
    "a number may be larger": (
        [model("stars", column("mag", sa.SmallInteger))],
        [model("stars", column("mag", sa.BigInteger))],
        [{"_id": 1, "mag": 5}],
        "type of stars.mag: int16 → int64",
        None,
    ),
    "a member comes": (
        [model("stars", column("colour", sa.Enum(Colour)))],
        [model("stars", column("colour", sa.Enum(MoreColours)))],
        [{"_id": 1, "colour": "RED"}],
        "members of stars.colour: add 'GREEN'",
        None,
    ),
    "a member goes": (
        [model("stars", column("colour", sa.Enum(MoreColours)))],
        [model("stars", column("colour", sa.Enum(Colour)))],
        [{"_id": 1, "colour": "RED"}],
        "members of stars.colour: drop 'GREEN'",
        None,
    ),
    "an index comes": (
        [indexed()],
        [indexed(sa.Index("ix_mag", "mag"))],
        NAMED,
        "add index stars.ix_mag",
        None,
    ),
    "an index goes": (
        [indexed(sa.Index("ix_mag", "mag"))],
        [indexed()],
        NAMED,
        "drop index stars.ix_mag",
        None,
    ),
    "an index has other keys": (
        [indexed(sa.Index("ix_mag", "mag"))],
        [indexed(sa.Index("ix_mag", "mag", sa.text("name")), sa.Index("ix_mag_2", "name", "mag"))],
        NAMED,
        "drop index stars.ix_mag\nadd index stars.ix_mag_2",
        None,
    ),
    "a compound index turns": (
        [model("stars", names(), column("mag", sa.Integer), sa.Index("ix_both", "name", "mag"))],
        [model("stars", names(), column("mag", sa.Integer), sa.Index("ix_both", "mag", "name"))],
        NAMED,
        "change index stars.ix_both",
        None,
    ),
    "an index becomes unique": (
        [indexed(sa.Index("ix_name", "name"))],
        [indexed(sa.Index("ix_name", "name", unique=True))],
        NAMED,
        "change unique index stars.ix_name",
        None,
    ),
    "a unique constraint comes": (
        [indexed()],
        [indexed(sa.UniqueConstraint("name", name="uq_name"))],
        NAMED,
        "add unique index stars.uq_name",
        None,
    ),
    "a unique constraint goes": (
        [indexed(sa.UniqueConstraint("name", name="uq_name"))],
        [indexed()],
        NAMED,
        "drop unique index stars.uq_name",
        None,
    ),
    "a time to live comes": (
        [model("stars", column("seen", sa.DateTime))],
        [
            model(
                "stars",
                column("seen", sa.DateTime),
                sa.Index("ix_seen", "seen", info={"mongodb": {"expireAfterSeconds": 3600}}),
            )
        ],
        [{"_id": 1}],
        "add index stars.ix_seen",
        None,
    ),
    "a time to live is another": (
        [indexed(sa.Index("ix_mag", "mag", info={"mongodb": {"expireAfterSeconds": 3600}}))],
        [indexed(sa.Index("ix_mag", "mag", info={"mongodb": {"expireAfterSeconds": 60}}))],
        NAMED,
        "change index stars.ix_mag",
        None,
    ),
    "an index becomes partial": (
        [indexed(sa.Index("ix_mag", "mag"))],
        [
            indexed(
                sa.Index("ix_mag", "mag", info={"mongodb": {"partialFilterExpression": {"mag": {"$gt": 1}}}})
            )
        ],
        NAMED,
        "change index stars.ix_mag",
        None,
    ),
    "a collation comes": (
        [indexed(sa.Index("ix_name", "name"))],
        [
            indexed(
                sa.Index("ix_name", "name", info={"mongodb": {"collation": {"locale": "en", "strength": 2}}})
            )
        ],
        NAMED,
        "change index stars.ix_name",
        None,
    ),
    "an index of MongoDB's own comes": (
        [model("stars", names())],
        [
            model(
                "stars",
                names(),
                info={
                    "mongodb": {"indexes": [{"name": "ix_any", "keys": [["$**", 1]]}], "shard_key": ["name"]}
                },
            )
        ],
        NAMED,
        "add index stars.ix_any",
        None,
    ),
    "a rule of the model's own comes": (
        [model("stars", names())],
        [model("stars", names(), info={"mongodb": {"validator": {"$expr": {"$ne": ["$name", ""]}}}})],
        NAMED,
        "change validator of stars",
        None,
    ),
    "the validator is switched off": (
        [model("stars", names())],
        [model("stars", names(), info={"mongodb": {"validator": False}})],
        NAMED,
        "drop validator of stars",
        None,
    ),
    "a collection goes that is empty": (
        [model("stars", names(unique=True)), model("moons", names())],
        [model("moons", names())],
        [],
        "drop collection stars",
        None,
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_made_run_undone_and_run_again(folder: Folder, edit: str) -> None:
    before, after, documents, says, becomes = EDITS[edit]
    folder.make(*before)
    folder.run()
    assert not folder.difference(*before)
    if documents:
        folder.database.stars.insert_many([dict(d) for d in documents])
    first = folder.state()

    made = folder.make(*after)
    assert "\n".join(c.text for c in made.changes) == says
    assert all(c.upgrade and c.downgrade for c in made.changes)
    assert folder.state() == first, "make changes nothing"

    folder.run()
    second = folder.state()
    assert not folder.difference(*after), folder.difference(*after)
    if documents:
        expected = [becomes(d) if becomes else d for d in documents]
        got = second["stars"]["documents"]
        assert got == sorted(map(repr, expected))
    assert folder.connection.heads() == ("r2",)

    folder.run(up=False)
    assert folder.state() == first
    assert folder.connection.heads() == ("r1",)
    folder.run()
    assert folder.state() == second


OLD = model(
    "stars",
    column("n", sa.Integer),
    names(),
    column("mag", sa.Float, nullable=False),
    column("colour", sa.Enum("red", "blue", name="colour")),
    column("kind", sa.String(9)),
    column("flag", sa.String),
    column("place", Vector(3)),
)
NEW = model(
    "stars",
    column("n", sa.BigInteger),
    column("name", sa.String(80)),
    column("mag", sa.Float),
    column("colour", sa.Enum("red", "ultraviolet", name="colour")),
    column("kind", sa.Enum("x", "y", name="kind")),
    column("flag", sa.Boolean),
    column("place", Vector(4)),
)


def validator_of(made: type) -> Any:
    return collection_of(describe(made)).validator


def told(before: Any, after: type) -> tuple[str, ...]:
    """The lines of what leads from a collection with this validator to the model."""
    there = {"stars": Collection("stars", validator=before)}
    return tuple(line for c in differ(there, Wanted([describe(after)])).changes for line in c.lines)


def test_a_changed_validator_says_each_thing_on_a_line_of_its_own() -> None:
    assert told(validator_of(OLD), NEW) == (
        "type of stars.n: int32 → int64",
        "length of stars.name: 20 → 80",
        "field stars.name may be missing now",
        "field stars.mag may be missing now",
        "members of stars.colour: add 'ultraviolet', drop 'blue'",
        "members of stars.kind: any → 'x', 'y'",
        "type of stars.flag: string → bool",
        "dimensions of stars.place: 3 → 4",
    )
    assert "require field stars.mag" in told(validator_of(NEW), OLD)
    assert "members of stars.kind: 'x', 'y' → any" in told(validator_of(NEW), OLD)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"n": {"bsonType": ["int", "long", "null"], "minimum": 0, "maximum": 9}},
            "type of stars.n: int of 0 to 9 → int32",
        ),
        (
            {"n": {"bsonType": ["int", "long"], "minimum": -(1 << 31), "maximum": (1 << 31) - 1}},
            "field stars.n may be null now",
        ),
        (
            {"place": {"bsonType": ["array", "null"], "minItems": 1, "maxItems": 3}},
            "dimensions of stars.place: 1 to 3 → 3",
        ),
        ({"name": {"bsonType": "string", "maxLength": 20, "pattern": "^a"}}, "change validator of stars"),
    ],
)
def test_what_another_program_put_into_a_validator_is_told(change: dict[str, Any], says: str) -> None:
    ours = validator_of(OLD)["$jsonSchema"]
    theirs = {**ours, "properties": {**ours["properties"], **change}}
    assert told({"$jsonSchema": theirs}, OLD) == (says,)
    assert told({"$jsonSchema": ours, "$expr": {"$gt": ["$n", 0]}}, OLD) == ("change validator of stars",)
    assert told(None, OLD) == ("add validator of stars",)


def test_create_all_makes_the_same_as_a_migration(
    folder: Folder, mongodb_server: Any, tmp_path: Path
) -> None:
    models = [Star, Place, Tag]
    folder.make(*models, links=[Link])
    folder.run()
    name, url = mongodb_server.new_database()
    other = Folder(tmp_path / "other", url, name)
    try:
        other.connection.create(other.infos(models), [Link])
        assert other.state() == folder.state()
        assert set(other.state()) == {"stars", "places", "tags", "star_tags"}
        assert not other.difference(*models, links=[Link]), "check is clean after create_all"
        assert not folder.difference(*models, links=[Link])
    finally:
        other.close()
        mongodb_server.drop_database(name)


def test_from_nothing_is_the_difference_to_an_empty_database(folder: Folder) -> None:
    empty = folder.difference(Star, Place)
    folder.make(Star, Place)
    folder.run()
    assert folder.difference(Star, Place, from_nothing=True) == empty


def test_nothing_is_made_by_looking(folder: Folder) -> None:
    folder.difference(Star)
    assert folder.connection.heads() == ()
    assert folder.database.client.list_database_names().count(folder.name) == 0


def test_what_revisions_did_not_make_is_left_alone(folder: Folder) -> None:
    folder.make(model("stars", names(), column("mag", sa.Integer)))
    folder.run()
    folder.database.others.insert_one({"x": 1})
    folder.database.stars.insert_one({"_id": 1, "name": "a", "mag": 1, "theirs": [1]})
    folder.database.stars.create_index([("theirs", 1)], name="theirs")
    found = folder.make(model("stars", names(), column("mag", sa.Float)))
    assert [c.text for c in found.changes] == ["type of stars.mag: int32 → double"]
    folder.run()
    assert folder.database.stars.find_one() == {"_id": 1, "name": "a", "mag": 1.0, "theirs": [1]}
    assert "theirs" in folder.database.stars.index_information()
    assert folder.difference().changes[0].text == "drop collection stars"
    assert len(folder.difference().changes) == 1, "others is not ours to drop"


# -- renames -------------------------------------------------------------------------------------------------


def test_a_renamed_collection_keeps_documents_indexes_and_numbers(folder: Folder) -> None:
    old = model("stars", names(), sa.Index("ix_name", "name"))
    new = model("suns", names(), sa.Index("ix_name", "name"))
    folder.make(old)
    folder.run()
    folder.database.stars.insert_many(NAMED)
    folder.database.db_plugins_counters.insert_one({"_id": "stars", "last": 9})
    first = folder.state()
    assert folder.difference(new).possible_renames == (Rename("stars", "suns"),)
    made = folder.make(new, renames=[Rename("stars", "suns")])
    assert [c.text for c in made.changes] == ["rename collection stars to suns"]
    folder.run()
    assert not folder.difference(new)
    assert folder.database.suns.count_documents({}) == 2
    assert list(folder.database.db_plugins_counters.find()) == [{"_id": "suns", "last": 9}]
    folder.run(up=False)
    assert folder.state() == first


def test_a_renamed_field_is_renamed_in_documents_indexes_and_validator(folder: Folder) -> None:
    def stars(name: str) -> type:
        return model(
            "stars",
            names(),
            column(name, sa.Integer, nullable=False),
            sa.Index("ix_both", "name", name),
            sa.UniqueConstraint(name, name=f"uq_{name}"),
        )

    folder.make(stars("mag"))
    folder.run()
    folder.database.stars.insert_many([{**d, "mag": d["_id"]} for d in NAMED])
    folder.database.stars.create_index([("mag", -1)], name="theirs")
    first = folder.state()
    asked = folder.difference(stars("brightness"))
    assert asked.possible_renames == (Rename("mag", "brightness", "stars"),)
    made = folder.make(stars("brightness"), renames=[Rename("mag", "brightness", "stars")])
    assert [c.text for c in made.changes] == ["rename field stars.mag to brightness"]
    folder.run()
    assert not folder.difference(stars("brightness"))
    assert folder.database.stars.find_one({"_id": 1}) == {"_id": 1, "name": "a", "brightness": 1}
    assert folder.database.stars.index_information()["theirs"]["key"] == [("brightness", -1)]
    folder.run(up=False)
    assert folder.state() == first


# -- what is refused, and that nothing is changed then -------------------------------------------------------


def test_a_unique_index_over_duplicates_names_the_values_and_changes_nothing(folder: Folder) -> None:
    folder.make(indexed())
    folder.run()
    folder.database.stars.insert_many(
        [{"_id": n, "name": f"n{n // 2}", "mag": n} for n in range(14)] + [{"_id": 99, "name": "alone"}]
    )
    first = folder.state()
    folder.make(indexed(sa.Index("ix_mag", "mag"), sa.UniqueConstraint("name", name="uq_name")))
    with pytest.raises(errors.MigrationError, match="uq_name") as caught:
        folder.run()
    text = str(caught.value)
    assert text.count("(2 documents)") == 5
    assert "stars: (name)" in text
    assert "and more" in text
    assert "alone" not in text
    assert folder.state() == first
    with folder.connection.migrating(lock()) as migration:
        assert migration.interrupted() is None


def test_several_nulls_are_no_duplicates_of_a_unique_constraint(folder: Folder) -> None:
    folder.make(indexed())
    folder.run()
    folder.database.stars.insert_many(NAMED)
    folder.make(indexed(sa.UniqueConstraint("mag", name="uq_mag")))
    folder.run()
    assert not folder.difference(indexed(sa.UniqueConstraint("mag", name="uq_mag")))


REFUSED: dict[str, tuple[Any, Any, dict[str, Any], type[Exception], str]] = {
    "a dropped field with values": (
        model("stars", names(), column("mag", sa.Float)),
        model("stars", names()),
        {"name": "a", "mag": 1.0},
        errors.DestructiveChangeError,
        r"stars\.mag",
    ),
    "a required field without a default": (
        model("stars", names()),
        model("stars", names(), column("mag", sa.Integer, nullable=False)),
        {"name": "a"},
        errors.MigrationError,
        r"stars\.mag is to be required, and 1 documents lack it.*op\.add_field",
    ),
    "a field becomes required that documents lack": (
        model("stars", column("name", sa.String(20))),
        model("stars", names()),
        {},
        errors.MigrationError,
        r"stars\.name is to be required",
    ),
    "a float with decimals becomes an integer": (
        model("stars", column("mag", sa.Float)),
        model("stars", column("mag", sa.Integer)),
        {"mag": 1.5},
        errors.MigrationError,
        r"stars\.mag is to become int, and 1 documents",
    ),
    "a text that is no number becomes one": (
        model("stars", column("mag", sa.String)),
        model("stars", column("mag", sa.Float)),
        {"mag": "bright"},
        errors.MigrationError,
        r"stars\.mag is to become double, and 1 documents",
    ),
    "a member goes that documents hold": (
        model("stars", column("colour", sa.Enum(MoreColours))),
        model("stars", column("colour", sa.Enum(Colour))),
        {"colour": "GREEN"},
        errors.MigrationError,
        r"stars: 1 documents hold in colour",
    ),
    "a text is longer than it may be now": (
        model("stars", names()),
        model("stars", column("name", sa.String(3), nullable=False)),
        {"name": "four"},
        errors.MigrationError,
        r"stars: 1 documents hold in name",
    ),
    "a number is larger than it may be now": (
        model("stars", column("mag", sa.BigInteger)),
        model("stars", column("mag", sa.SmallInteger)),
        {"mag": 40_000},
        errors.MigrationError,
        r"stars: 1 documents hold in mag",
    ),
    "a vector has other dimensions now": (
        model("stars", column("place", Vector(2))),
        model("stars", column("place", Vector(3))),
        {"place": [1.0, 2.0]},
        errors.MigrationError,
        r"stars: 1 documents hold in place",
    ),
    "a type that is not converted": (
        model("stars", column("mag", sa.String)),
        model("stars", column("mag", sa.Boolean)),
        {"mag": "true"},
        errors.MigrationError,
        r"stars: 1 documents hold in mag",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_revision_changes_nothing(folder: Folder, case: str) -> None:
    before, after, document, error, says = REFUSED[case]
    folder.make(before)
    folder.run()
    folder.database.stars.insert_one({"_id": 1, **document})
    first = folder.state()
    folder.make(after)
    with pytest.raises(error, match=says):
        folder.run()
    assert folder.state() == first
    assert folder.connection.heads() == ("r1",)
    folder.database.stars.delete_one({"_id": 1})
    folder.run()
    assert not folder.difference(after)


def test_a_dropped_collection_with_documents_needs_to_be_allowed(folder: Folder) -> None:
    folder.make(model("stars", names()))
    folder.run()
    folder.database.stars.insert_many(NAMED)
    folder.make()
    with pytest.raises(errors.DestructiveChangeError, match=r"stars.*--allow-drop"):
        folder.run()
    assert folder.database.stars.count_documents({}) == 2
    folder.run(allow_drop=True)
    assert folder.state() == {}


def test_a_backfilled_default_may_be_dropped_again_and_another_value_may_not(folder: Folder) -> None:
    folder.make(model("stars", names()))
    folder.run()
    folder.database.stars.insert_many(NAMED)
    folder.make(model("stars", names(), column("mag", sa.Integer, nullable=False, default=7)))
    folder.run()
    folder.database.stars.update_one({"_id": 1}, {"$set": {"mag": 8}})
    with pytest.raises(errors.DestructiveChangeError, match=r"stars\.mag"):
        folder.run(up=False)
    folder.database.stars.update_one({"_id": 1}, {"$set": {"mag": 7}})
    folder.run(up=False)
    assert sorted(folder.database.stars.find(), key=lambda d: d["_id"]) == NAMED


# -- the model's info ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (
            lambda: indexed(sa.Index("ix_mag", "mag", info={"mongodb": {"expireAfterSecond": 1}})),
            "Stars: the index ix_mag.*'expireAfterSecond'; did you mean 'expireAfterSeconds'",
        ),
        (
            lambda: indexed(sa.Index("ix_mag", "mag", info={"mongodb": {"expireAfterSeconds": "1"}})),
            "expireAfterSeconds takes int or float, not a value of type str",
        ),
        (
            lambda: model("stars", names(), info={"mongodb": {"index": []}}),
            "Stars: its info.*'index'",
        ),
        (
            lambda: model("stars", names(), info={"mongodb": {"indexes": [{"keys": [["a", 1]]}]}}),
            "has no name or no keys",
        ),
        (
            lambda: model(
                "stars", names(), info={"mongodb": {"indexes": [{"name": "a", "keys": [["a", 2]]}]}}
            ),
            "no pair of a field and a direction",
        ),
    ],
)
def test_an_unknown_option_is_refused_by_name(folder: Folder, made: Any, says: str) -> None:
    with pytest.raises(errors.ConfigError, match=says):
        folder.difference(made())


# -- validators ----------------------------------------------------------------------------------------------


def test_a_value_that_the_model_cannot_hold_is_refused_by_attribute(mongodb: Any) -> None:
    words = mongodb(Star)
    words.add({"name": "a"})
    native = words.connection.native.stars
    for change, attribute in (
        ({"$set": {"star_name": "x" * 51}}, "name"),
        ({"$set": {"small": 1 << 20}}, "small"),
        ({"$set": {"color": "r"}}, "color"),
        ({"$unset": {"star_name": ""}}, "name"),
    ):
        with (
            pytest.raises(Exception, match="validation") as caught,
            words.connection._during("write", words.info),
        ):
            native.update_one({}, change)
        error = words.engine.classify(caught.value)
        assert isinstance(error, errors.CheckConstraintError)
        assert error.attributes == (attribute,)
        assert attribute in str(error)


def test_fields_of_other_programs_are_let_through(mongodb: Any) -> None:
    words = mongodb(Star)
    words.connection.native.stars.insert_one(
        {"_id": 5, "star_name": "a", "mag": None, "theirs": object.__name__}
    )
    assert words.rows()[0][:2] == (5, "a")


def test_a_collection_that_is_there_keeps_its_validator_and_documents(folder: Folder) -> None:
    folder.database.create_collection("stars", validator={"name": {"$exists": True}})
    folder.database.stars.insert_one({"name": 5})
    stars = model("stars", names(index=True))
    folder.connection.create(folder.infos([stars]), [])
    assert folder.state()["stars"]["validator"] == {"name": {"$exists": True}}
    assert "change validator of stars" in [c.text for c in folder.difference(stars).changes]


def test_a_family_of_classes_is_one_collection(folder: Folder) -> None:
    from db_plugins.testing.kit.models import Animal, Cat, Dog

    made = [collection_of(info) for info in folder.infos([Animal, Cat, Dog])]
    assert made[0].validator == made[1].validator == made[2].validator
    assert set(made[0].fields) > {f.column for f in folder.infos([Animal])[0].fields if not f.primary_key}


def lock() -> Any:
    from db_plugins.migrations.seam import LockRequest

    return LockRequest(timeout=5)


def test_the_states_compared_here_hold_all_that_counts(folder: Folder) -> None:
    folder.database.stars.insert_one({"_id": 1})
    folder.database.stars.create_index("a")
    assert set(state_of(folder.database)["stars"]["indexes"]) == {"_id_", "a_1"}
