"""Migrations run: the journal, crashes at every command, the lock, each operation twice, and what is said without sending."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from migrating import Folder, model

from db_plugins import errors
from db_plugins.engine import Capability, SupportsMigrations
from db_plugins.migrations.seam import Holder, LockRequest
from db_plugins_mongo import op
from db_plugins_mongo.migrations import locks
from db_plugins_mongo.migrations.operations import performing
from db_plugins_mongo.migrations.running import Recorder
from db_plugins_mongo.migrations.steps import Operation


@pytest.fixture
def folder(mongodb_server: Any, tmp_path: Path) -> Iterator[Folder]:
    name, url = mongodb_server.new_database()
    made = Folder(tmp_path / "versions", url, name)
    yield made
    made.close()
    mongodb_server.drop_database(name)


def lock(timeout: float | None = 5.0, **more: Any) -> LockRequest:
    return LockRequest(timeout=timeout, **more)


def recorded(*statements: str) -> list[Operation]:
    """The operations of these statements."""
    recorder = Recorder()
    with performing(recorder):
        for statement in statements:
            exec(statement, {"op": op})
    return recorder.operations


SCHEMA = '{"$jsonSchema": {"bsonType": "object", "properties": {"name": {"bsonType": "string"}}}}'
OPERATIONS = [
    f'op.create_collection("new", indexes=[{{"name": "ix", "keys": [["a", 1]], "unique": True}}], validator={SCHEMA})',
    'op.drop_collection("empty")',
    'op.rename_collection("stars", "suns")',
    f'op.set_validator("stars", {SCHEMA})',
    'op.set_validator("stars", None)',
    'op.create_index("stars", [["name", 1], ["mag", -1]], name="ix_both", unique=True, hidden=True)',
    'op.drop_index("stars", "ix_mag")',
    'op.add_field("stars", "seen", default=0)',
    'op.add_field("stars", "seen")',
    'op.require_field("stars", "name")',
    'op.require_none("stars", {"name": "zzz"})',
    'op.drop_field("stars", "mag")',
    'op.rename_field("stars", "mag", "brightness")',
    'op.convert_field("stars", "mag", "string")',
    'op.update("stars", {"mag": 1}, {"$set": {"mag": 2}}, repeatable=True)',
]


@pytest.mark.parametrize("statement", OPERATIONS)
def test_an_operation_done_twice_leaves_what_it_left_once(folder: Folder, statement: str) -> None:
    database = folder.database
    database.stars.insert_many([{"_id": n, "name": f"n{n}", "mag": n} for n in range(3)])
    database.stars.create_index("mag", name="ix_mag")
    database.create_collection("empty")
    (operation,) = recorded(statement)
    before = folder.state()
    operation.send(database)
    once = folder.state()
    operation.send(database)
    assert folder.state() == once
    does_nothing = ("require", 'add_field("stars", "seen")', "None")
    assert (once == before) is any(word in statement for word in does_nothing)


def test_every_operation_is_in_the_tests_above_and_explained() -> None:
    public = {n for n in vars(type(op)) if not n.startswith("_")} - {"database"}
    assert public == {s.split("(")[0].removeprefix("op.") for s in OPERATIONS}
    assert all(getattr(type(op), name).__doc__ for name in public)


def test_an_operation_outside_a_migration_is_refused() -> None:
    with pytest.raises(errors.MigrationError, match=r"op\.drop_index is used outside a migration"):
        op.drop_index("stars", "ix")
    with pytest.raises(errors.MigrationError, match=r"op\.database"):
        op.database


def test_the_server_has_migrations_and_the_mock_has_not(folder: Folder, mock: Any) -> None:
    assert Capability.MIGRATIONS in folder.engine.capabilities
    assert isinstance(folder.connection, SupportsMigrations)
    words = mock()
    assert Capability.MIGRATIONS not in words.engine.capabilities
    assert not isinstance(words.connection, SupportsMigrations)


def test_our_collection_is_hidden_and_the_revision_is_told(folder: Folder) -> None:
    assert folder.connection.details()["revision"] is None
    with folder.connection.migrating(lock()) as migration:
        migration.stamp(["a1", "b2"])
    assert folder.connection.existing() == set()
    assert folder.connection.details()["revision"] == "a1, b2"
    assert folder.connection.heads() == ("a1", "b2")


def test_statements_are_told_and_nothing_is_sent(folder: Folder) -> None:
    folder.write(
        ['op.create_index("stars", [["name", 1]], name="ix", unique=True)', "op.database.x.insert_one({})"]
    )
    told = folder.connection.statements([folder.step()])
    assert 'db.stars.createIndex({"name": 1}, {"name": "ix", "unique": true})' in told
    assert "r1 (test)" in told
    assert "op.database" in told
    assert folder.database.list_collection_names() == []


# -- the journal ---------------------------------------------------------------------------------------------


def stars(*columns: Any) -> type:
    return model("stars", sa.Column("name", sa.String(20), nullable=False), *columns)


def test_a_failing_revision_goes_on_where_it_stopped_when_it_is_corrected(folder: Folder) -> None:
    folder.write(
        [
            'op.create_collection("stars")',
            'op.update("stars", {}, {"$inc": {"n": 1}})',
            'op.create_index("stars", [["n", "wrong"]], name="ix")',
        ]
    )
    folder.database.stars.insert_one({"_id": 1, "n": 1})
    with pytest.raises(Exception, match=r"."), folder.connection.migrating(lock()) as migration:
        migration.run(folder.step(), allow_drop=False)
    with folder.connection.migrating(lock()) as migration:
        stopped = migration.interrupted()
    assert stopped is not None
    assert (stopped.revision, stopped.position, stopped.is_clean) == ("r1", 3, True)
    assert stopped.text.startswith("db.stars.createIndex")
    folder.files[0].write_text(folder.files[0].read_text().replace('"wrong"', "1"))
    folder.run()
    assert folder.database.stars.find_one() == {"_id": 1, "n": 2}, "what was done was not done again"
    assert folder.connection.heads() == ("r1",)
    with folder.connection.migrating(lock()) as migration:
        assert migration.interrupted() is None


def test_a_first_operation_that_the_server_refuses_leaves_nothing_behind(folder: Folder) -> None:
    folder.write(['op.create_index("stars", [["n", "wrong"]], name="ix")'])
    with pytest.raises(Exception, match=r"."):
        folder.run()
    with folder.connection.migrating(lock()) as migration:
        assert migration.interrupted() is None


def test_an_upgrade_that_raises_by_itself_has_sent_nothing(folder: Folder) -> None:
    folder.write(['op.create_collection("stars")', "raise KeyError('mine')"])
    with pytest.raises(KeyError, match="mine"):
        folder.run()
    assert folder.state() == {}


def test_a_file_edited_half_way_is_refused_with_the_operation_named(folder: Folder) -> None:
    path = folder.write(
        ['op.create_collection("stars")', 'op.create_index("stars", [["n", "wrong"]], name="ix")']
    )
    with pytest.raises(Exception, match=r"."):
        folder.run()
    text = path.read_text()
    path.write_text(text.replace('op.create_collection("stars")', 'op.create_collection("suns")'))
    with pytest.raises(errors.DirtyMigrationError, match=r'operation 1 was db\.createCollection\("stars"\)'):
        folder.run()
    path.write_text("\n".join(line for line in text.splitlines() if "op.create" not in line) + "\n    pass\n")
    path.write_text(
        text.split("def upgrade")[0]
        + "def upgrade() -> None:\n    pass\ndef downgrade() -> None:\n    pass\n"
    )
    with pytest.raises(errors.DirtyMigrationError, match="was edited"):
        folder.run()
    assert folder.connection.heads() == ()
    path.write_text(text.replace('"wrong"', "1"))
    folder.run()
    assert folder.connection.heads() == ("r1",)


def interrupt(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data migration that stops inside its update, as if the process had been killed there."""
    from db_plugins_mongo.migrations.document_steps import Update

    class Killed(BaseException):
        pass

    def dies(self: Update, database: Any) -> None:
        raise Killed

    folder.write(
        [
            'op.create_collection("stars")',
            'op.update("stars", {}, {"$inc": {"n": 1}})',
            'op.add_field("stars", "mag", default=0)',
        ]
    )
    folder.database.stars.insert_one({"_id": 1, "n": 1})
    with monkeypatch.context() as patch:
        patch.setattr(Update, "send", dies)
        with pytest.raises(Killed):
            folder.run()


@pytest.mark.parametrize(("settling", "n"), [("resume", 2), ("mark-done", 1)])
def test_an_interrupted_update_is_settled_by_a_person(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, settling: Any, n: int
) -> None:
    interrupt(folder, monkeypatch)
    with folder.connection.migrating(lock()) as migration:
        stopped = migration.interrupted()
    assert stopped is not None
    assert (stopped.position, stopped.is_clean) == (2, False)
    assert stopped.text == 'db.stars.updateMany({}, {"$inc": {"n": 1}})'
    with pytest.raises(errors.DirtyMigrationError, match=r"operation 2 of r1 \(test\)"):
        folder.run()
    folder.run(settling=settling)
    assert folder.database.stars.find_one() == {"_id": 1, "n": n, "mag": 0}
    assert folder.connection.heads() == ("r1",)


def test_stamp_settles_too(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(folder, monkeypatch)
    with folder.connection.migrating(lock()) as migration:
        migration.stamp(["r1"])
        assert migration.interrupted() is None
        assert migration.heads() == ("r1",)


def test_a_revision_that_reads_the_database_is_refused_when_its_operation_comes(folder: Folder) -> None:
    folder.database.stars.insert_many([{"_id": 1, "name": "a"}, {"_id": 2, "name": "a"}])
    folder.write(
        [
            "if op.database.stars.count_documents({}) == 2:",
            '    op.create_index("stars", [["name", 1]], name="uq", unique=True)',
        ]
    )
    with pytest.raises(errors.MigrationError, match="'a' \\(2 documents\\)"):
        folder.run()
    assert set(folder.database.stars.index_information()) == {"_id_"}


def test_migrations_read_from_the_primary_wherever_the_entry_reads(
    mongodb_server: Any, tmp_path: Path
) -> None:
    name, url = mongodb_server.new_database()
    joint = "&" if "?" in url else "?"
    folder = Folder(tmp_path / "versions", f"{url}{joint}readPreference=secondaryPreferred", name)
    try:
        assert folder.database.read_preference.document["mode"] == "secondaryPreferred"
        folder.write(['assert op.database.read_preference.document["mode"] == "primary"'])
        with folder.connection.migrating(lock()) as migration:
            journal = migration._journal
            assert journal.collection.read_preference.document["mode"] == "primary"
        folder.run()
        assert folder.connection.heads() == ("r1",)
    finally:
        folder.close()
        mongodb_server.drop_database(name)


def test_rows_that_a_crash_left_behind_the_heads_are_no_interruption(folder: Folder) -> None:
    from dataclasses import replace

    from db_plugins_mongo.migrations.journal import Journal
    from db_plugins_mongo.migrations.running import _row

    folder.write(['op.create_collection("stars")'], ['op.drop_collection("stars")'])
    folder.run()
    (operation,) = recorded('op.create_collection("stars")')
    journal = Journal(folder.database)
    journal.note(replace(_row(folder.step(), 1, operation), state="done"))
    assert folder.database.dbp_migrations.count_documents({"n": 1}) == 1
    with folder.connection.migrating(lock()) as migration:
        assert migration.interrupted() is None
    folder.run(up=False)
    assert folder.state() == {}
    assert list(folder.database.dbp_migrations.find()) == [{"_id": "heads", "revisions": []}]


def test_killed_at_any_command_the_next_run_goes_on(folder: Folder) -> None:
    """A sample of the points; all of them with DBP_CRASH_SWEEP=all."""
    moons = model("moons", sa.Column("name", sa.String(20)), sa.Index("ix_name", "name"))
    lunas = model("lunas", sa.Column("name", sa.String(20)), sa.Index("ix_name", "name"))
    empty = model("empty", sa.Column("name", sa.String(20)))
    made = model("made", sa.Column("name", sa.String(20)), sa.UniqueConstraint("name", name="uq_made"))
    from db_plugins.migrations.seam import Rename

    folder.make(
        stars(sa.Column("mag", sa.Integer), sa.Column("old", sa.Integer), sa.Index("ix_mag", "mag")),
        moons,
        empty,
    )
    folder.run()
    folder.make(
        stars(
            sa.Column("brightness", sa.Float),
            sa.Column("seen", sa.Integer, nullable=False, default=3),
            sa.Index("uq_brightness", "brightness", unique=True),
        ),
        lunas,
        made,
        renames=[Rename("mag", "brightness", "stars"), Rename("moons", "lunas")],
    )
    every = 1 if os.environ.get("DBP_CRASH_SWEEP") == "all" else 31
    program = Path(__file__).with_name("crashing.py")
    done = subprocess.run(
        [sys.executable, str(program), folder.url, folder.name, str(folder.path), str(every)],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(program.parent), *filter(None, sys.path)])},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.endswith(": ok")] == []
    assert {line.split()[0] for line in lines} == {"up", "down"}
    assert len(lines) >= 6


# -- the lock ------------------------------------------------------------------------------------------------


def test_who_waits_is_told_who_holds_the_lock(folder: Folder) -> None:
    heard: list[Any] = []
    with (
        folder.connection.migrating(lock()),
        pytest.raises(errors.MigrationLockedError) as caught,
        folder.connection.migrating(lock(0.6, waiting=heard.append)),
    ):
        pass
    here = Holder.here()
    assert [(h.host, h.process) for h in heard] == [(here.host, here.process)]
    assert f"another migration holds the lock: process {os.getpid()} on {here.host}, since " in str(
        caught.value
    )
    assert caught.value.hint == "wait for it, or raise --lock-timeout"
    with folder.connection.migrating(lock(0)):
        assert folder.database.dbp_migrations.find_one({"_id": "lock"}) is not None
    assert folder.database.dbp_migrations.find_one({"_id": "lock"}) is None


def test_three_at_once_apply_it_once(folder: Folder) -> None:
    folder.write(['op.update("stars", {}, {"$inc": {"n": 1}})'])
    folder.database.stars.insert_one({"_id": 1, "n": 0})
    inside: list[int] = []
    failed: list[BaseException] = []

    def migrate() -> None:
        other = Folder(folder.path, folder.url, folder.name)
        try:
            with other.connection.migrating(lock(30)) as migration:
                inside.append(len(inside))
                assert len(inside) == 1
                step = other.step(1)
                if migration.heads() != step.after:
                    migration.run(step, allow_drop=False)
                time.sleep(0.05)
                inside.pop()
        except BaseException as exc:
            failed.append(exc)
        finally:
            other.close()

    threads = [threading.Thread(target=migrate) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert folder.database.stars.find_one() == {"_id": 1, "n": 1}


def test_eight_that_want_a_free_lock_give_it_to_one(folder: Folder) -> None:
    collection = folder.database.dbp_migrations
    leases = [locks.Lease(collection, Holder.here()) for _ in range(8)]
    start = threading.Barrier(8)
    won: list[bool] = []

    def take(lease: locks.Lease) -> None:
        start.wait()
        won.append(lease.take())

    threads = [threading.Thread(target=take, args=(lease,)) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(won) <= 1, "never two"
    assert sum(lease.take() for lease in leases) == 1


def test_a_killed_holder_is_followed_when_its_lease_has_run_out(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LEASE_SECONDS", 1.0)
    dead = locks.Lease(folder.database.dbp_migrations, Holder.here())
    assert dead.take()
    began = time.monotonic()
    with folder.connection.migrating(lock(10)):
        waited = time.monotonic() - began
    assert 0.5 < waited < 5
    with pytest.raises(errors.MigrationLockedError, match="its lock ran out"):
        dead.confirm()


def test_a_living_holder_keeps_the_lock_beyond_the_lease(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LEASE_SECONDS", 0.8)
    monkeypatch.setattr(locks, "RENEW_SECONDS", 0.1)
    with (
        folder.connection.migrating(lock()),
        pytest.raises(errors.MigrationLockedError),
        folder.connection.migrating(lock(2.0)),
    ):
        pass


def test_a_holder_that_was_held_up_stops_before_its_next_operation(folder: Folder) -> None:
    folder.write(['op.create_collection("stars")', 'op.create_collection("suns")'])
    with (
        pytest.raises(errors.MigrationLockedError, match=r"held up.*process 7 on elsewhere"),
        folder.connection.migrating(lock()) as migration,
    ):
        folder.database.dbp_migrations.update_one(
            {"_id": "lock"}, {"$set": {"owner": "another", "host": "elsewhere", "process": 7}}
        )
        migration.run(folder.step(), allow_drop=False)
    assert folder.state() == {}
    assert folder.database.dbp_migrations.find_one({"_id": "lock"}) is not None, "it is the other's"
