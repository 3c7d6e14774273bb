"""``initdb`` over collections that other means made: what they lack is added if their documents fit, else nothing is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from migrating import Folder, model

from db_plugins import Database, connect, errors, migrations
from db_plugins_mongo.migrations.collection_steps import CreateCollection

Star = model(
    "stars",
    sa.Column("name", sa.String(5), nullable=False),
    sa.Column("mag", sa.Integer),
    sa.UniqueConstraint("name", name="uq_name"),
)
Moon = model("moons", sa.Column("name", sa.String(5), nullable=False))
FITTING = [{"_id": 1, "name": "Vega", "mag": 3}, {"_id": 2, "name": "Mira", "theirs": [1]}]


@dataclass
class Adopted:
    """A database, what is in it, and the folder of its revisions."""

    db: Database
    here: Folder
    revisions: Path

    def initdb(self) -> Any:
        return migrations.initdb(self.db, folder=self.revisions)

    def check(self) -> Any:
        return migrations.check(self.db, folder=self.revisions)

    @property
    def files(self) -> list[str]:
        return sorted(each.name for each in self.revisions.glob("versions/*.py"))


@pytest.fixture
def adopted(mongodb_server: Any, tmp_path: Path) -> Iterator[Adopted]:
    name, url = mongodb_server.new_database()
    here = Folder(tmp_path / "unused", url, name)
    with connect({"ENGINE": "mongodb", "URL": url}, models=[Star, Moon]) as db:
        yield Adopted(db, here, tmp_path / "revisions")
    here.close()
    mongodb_server.drop_database(name)


def test_collections_of_fitting_documents_get_what_they_lack(adopted: Adopted) -> None:
    native = adopted.here.database
    native.stars.insert_many(FITTING)
    native.stars.create_index([("mag", -1)], name="theirs")
    before = adopted.here.state()["stars"]
    assert "add validator of stars" in adopted.check().differences
    done = adopted.initdb()
    assert (done.made, done.existing, done.applied) == (("Moons",), ("Stars",), ("initial",))
    after = adopted.here.state()["stars"]
    assert after["documents"] == before["documents"]
    assert set(after["indexes"]) == {"_id_", "theirs", "uq_name"}
    assert after["validator"]
    assert adopted.check().ok
    assert len(adopted.files) == 1
    with pytest.raises(Exception, match="validation"):
        native.stars.insert_one({"name": "too long a name"})
    assert adopted.initdb().applied == ()


def test_an_index_that_does_the_same_under_another_name_is_enough(adopted: Adopted) -> None:
    adopted.here.database.stars.insert_many(FITTING)
    adopted.here.database.stars.create_index([("name", 1)], name="by_name", unique=True)
    adopted.initdb()
    assert set(adopted.here.state()["stars"]["indexes"]) == {"_id_", "by_name"}
    assert adopted.check().ok


@pytest.mark.parametrize(
    ("stray", "says"),
    [
        ({"mag": 1}, r"stars: 1 of the documents that are there do not fit its validator: name \(1\)"),
        ({"name": "a" * 6, "mag": "bright"}, r"name \(1\), mag \(1\)"),
        ({"name": "Vega"}, r"uq_name.*'Vega' \(2 documents\)"),
    ],
)
def test_documents_that_do_not_fit_are_told_by_field_and_nothing_is_changed(
    adopted: Adopted, stray: dict[str, Any], says: str
) -> None:
    adopted.here.database.stars.insert_many([*FITTING, {"_id": 9, **stray}])
    before = adopted.here.state()
    with pytest.raises(errors.MigrationError, match=says) as caught:
        adopted.initdb()
    assert "run it again" in str(caught.value)
    assert adopted.here.state() == before
    assert adopted.files == []
    adopted.here.database.stars.delete_one({"_id": 9})
    assert adopted.initdb().applied == ("initial",)
    assert adopted.check().ok


def test_a_validator_of_others_is_not_exchanged(adopted: Adopted) -> None:
    adopted.here.database.create_collection("stars", validator={"name": {"$exists": True}})
    before = adopted.here.state()
    with pytest.raises(errors.MigrationError, match=r"made by other means.*change validator of stars"):
        adopted.initdb()
    assert (adopted.here.state(), adopted.files) == (before, [])


def test_one_that_stopped_in_the_middle_goes_on(adopted: Adopted, monkeypatch: pytest.MonkeyPatch) -> None:
    adopted.here.database.stars.insert_many(FITTING)
    send = CreateCollection.send

    def stopped(self: CreateCollection, database: Any) -> None:
        if self.name == "stars":
            raise KeyboardInterrupt
        send(self, database)

    with monkeypatch.context() as patched:
        patched.setattr(CreateCollection, "send", stopped)
        with pytest.raises(KeyboardInterrupt):
            adopted.initdb()
    assert len(adopted.files) == 1
    assert adopted.initdb().applied == ("initial",)
    assert adopted.check().ok


def test_a_revision_over_a_renamed_collection_looks_at_its_documents_in_their_turn(adopted: Adopted) -> None:
    """What an operation before it changes is not known before."""
    adopted.here.database.suns.insert_one({"_id": 1, "title": 5})
    validator = {"$jsonSchema": {"required": ["name"], "properties": {"name": {"bsonType": "string"}}}}
    adopted.here.write(
        [
            'op.rename_collection("suns", "stars")',
            'op.rename_field("stars", "title", "name")',
            f'op.create_collection("stars", validator={validator!r})',
        ]
    )
    with pytest.raises(errors.MigrationError, match=r"name \(1\)"):
        adopted.here.run()
    adopted.here.database.stars.update_one({}, {"$set": {"name": "Vega"}})
    adopted.here.run()
    assert adopted.here.state()["stars"]["validator"] == validator
