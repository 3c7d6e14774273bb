"""Who may not do what a migration needs is told so before anything is sent; and what a validator refuses, by the revision's line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
import sqlalchemy as sa
from migrating import model

from db_plugins import connect, errors, migrations
from db_plugins.migrations.seam import Settling

PASSWORD = "p@ss/word"
#: What the role readWrite gives on MongoDB. The wire server's readWrite may do more, so it is said by action.
WRITING = [
    "find",
    "insert",
    "update",
    "remove",
    "createCollection",
    "createIndex",
    "dropIndex",
    "dropCollection",
]
READING = ["find"]
LISTING = ["listCollections", "listIndexes"]
Star = model("stars", sa.Column("name", sa.String(5), nullable=False))
LongerNames = model("stars", sa.Column("name", sa.String(9), nullable=False), sa.Column("mag", sa.Integer))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server that asks for a login, with users ``writer``, ``reader`` and ``keeper`` (dbAdmin)."""
    from servers.mongodb import MongoDB

    class Guarded(MongoDB):
        is_guarded = False

        def _command(self) -> list[str]:
            return [*super()._command(), *(["--auth"] if self.is_guarded else [])]

    with Guarded(tmp_path_factory.mktemp("guarded"), private=True) as server:
        with pymongo.MongoClient[dict[str, Any]](server.url) as client:
            for user, actions in (("writer", WRITING), ("reader", READING)):
                privilege = {
                    "resource": {"db": "guarded", "collection": ""},
                    "actions": [*actions, *LISTING],
                }
                client.guarded.command("createRole", user, privileges=[privilege], roles=[])
                client.guarded.command("createUser", user, pwd=PASSWORD, roles=[user])
            roles = [{"role": role, "db": "guarded"} for role in ("readWrite", "dbAdmin")]
            client.guarded.command("createUser", "keeper", pwd=PASSWORD, roles=roles)
        server.is_guarded = True
        server.restart()
        yield server


def entry(server: Any, user: str) -> dict[str, Any]:
    return {
        "ENGINE": "mongodb",
        "HOST": server.host,
        "PORT": server.port,
        "USER": user,
        "PASSWORD": PASSWORD,
        "AUTH_SOURCE": "guarded",
        "DB_NAME": "guarded",
    }


def test_who_may_not_change_a_validator_is_told_before_anything_is_sent(guarded: Any, tmp_path: Path) -> None:
    with connect(entry(guarded, "keeper"), models=[Star]) as db:
        migrations.initdb(db, folder=tmp_path)
        db.query(Star).bulk_insert([{"name": "Vega"}])
    with connect(entry(guarded, "keeper"), models=[LongerNames]) as db:
        made = migrations.make_migrations(db, folder=tmp_path)
        assert made is not None
        source = made.path.read_text()
        made.path.write_text(
            source.replace('op.add_field("stars", "mag")', 'op.add_field("stars", "mag", default=3)')
        )
    assert source != made.path.read_text()
    for user in ("writer", "reader"):
        with connect(entry(guarded, user), models=[LongerNames]) as db:
            with pytest.raises(errors.AuthenticationError, match=f"'{user}' may not.*dbAdmin") as caught:
                migrations.migrate(db, folder=tmp_path)
            assert PASSWORD not in str(caught.value)
            assert db.native.stars.find_one({}, {"_id": 0}) == {"name": "Vega"}
            assert migrations.current(db, folder=tmp_path).revisions == ("initial",)
    with connect(entry(guarded, "keeper"), models=[LongerNames]) as db:
        migrations.migrate(db, folder=tmp_path)
        assert db.native.stars.find_one({}, {"_id": 0}) == {"name": "Vega", "mag": 3}
        assert migrations.check(db, folder=tmp_path).ok


def test_a_reader_that_writes_is_told_what_it_may_not(guarded: Any) -> None:
    with (
        connect(entry(guarded, "reader"), models=[Star]) as db,
        pytest.raises(errors.AuthenticationError, match=r"'reader' may not do this.*code 13.*readWrite"),
    ):
        db.query(Star).bulk_insert([{"name": "Mira"}])


def test_a_wrong_password_is_about_the_login(guarded: Any) -> None:
    with (
        connect({**entry(guarded, "reader"), "PASSWORD": "wrong"}, models=[Star]) as db,
        pytest.raises(errors.AuthenticationError, match=r"refused user 'reader'.*PASSWORD"),
    ):
        db.query(Star).count()


#: A statement that breaks the validator, and how it is settled when the file is mended: an update may be half done.
REFUSED: list[tuple[str, Settling | None]] = [
    ('op.update("stars", {}, {"$set": {"name": 5}})', "resume"),
    ('op.database.stars.insert_one({"_id": 5, "name": 5})', None),
]


@pytest.mark.parametrize(("statement", "settling"), REFUSED)
def test_what_a_validator_refuses_in_a_revision_is_told_by_line_and_field(
    mongodb_server: Any, tmp_path: Path, statement: str, settling: Settling | None
) -> None:
    name, url = mongodb_server.new_database()
    with connect({"ENGINE": "mongodb", "URL": url}, models=[Star]) as db:
        migrations.initdb(db, folder=tmp_path)
        db.query(Star).bulk_insert([{"name": "Vega"}])
        made = migrations.make_migrations(db, "Data", empty=True, folder=tmp_path)
        assert made is not None
        text = made.path.read_text()
        head, tail = text.split("def upgrade() -> None:\n    pass\n")
        made.path.write_text(f"{head}def upgrade() -> None:\n    {statement}\n{tail}")
        with pytest.raises(
            errors.MigrationError, match=r"\.py:\d+: the collection's validator.*name"
        ) as caught:
            migrations.migrate(db, folder=tmp_path)
        assert isinstance(caught.value.__cause__, errors.CheckConstraintError)
        assert caught.value.__cause__.attributes == ("name",)
        assert [dict(d) for d in db.native.stars.find({}, {"_id": 0})] == [{"name": "Vega"}]
        made.path.write_text(text)  # mended
        migrations.migrate(db, folder=tmp_path, settling=settling)
        assert migrations.check(db, folder=tmp_path).ok
    mongodb_server.drop_database(name)
