"""SQLite made safe by default: what a plain driver would let slip."""

from __future__ import annotations

import asyncio
import datetime as dt
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from shop import Animal, Base, Item, Pair, Shop
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import db_plugins
from db_plugins.errors import (
    ConflictError,
    DatabaseMissingError,
    EngineError,
    ForeignKeyError,
    QueryTimeoutError,
    ServerUnreachableError,
)

MODELS = [Shop, Item, Pair, Animal]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "er" / "shop.db"


@pytest.fixture
def db(file: Path) -> Iterator[db_plugins.Database]:
    with db_plugins.connect({"ENGINE": "sqlite", "DB_NAME": str(file)}, models=MODELS) as db:
        db.create_all()
        yield db


def pragma(path: Path, name: str) -> Any:
    with sqlite3.connect(path) as connection:
        value = connection.execute(f"PRAGMA {name}").fetchone()[0]
    connection.close()
    return value


def test_parent_folders_are_made_and_a_new_file_gets_write_ahead_logging(db: Any, file: Path) -> None:
    """003-02: made before the first connection."""
    assert pragma(file, "journal_mode") == "wal"


def test_an_existing_file_keeps_its_journal_mode(file: Path) -> None:
    file.parent.mkdir(parents=True)
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE other (a)")
    connection.close()
    with db_plugins.connect({"ENGINE": "sqlite", "DB_NAME": str(file)}, models=MODELS) as db:
        db.create_all()
    assert pragma(file, "journal_mode") == "delete"


def test_connect_makes_no_file_and_ping_neither(file: Path) -> None:
    with db_plugins.connect({"ENGINE": "sqlite", "DB_NAME": str(file)}, models=MODELS) as db:
        with pytest.raises(DatabaseMissingError, match="dbp initdb"):
            db.ping()
        assert not file.parent.exists()


def test_foreign_keys_are_enforced(db: Any) -> None:
    with pytest.raises(ForeignKeyError) as caught:
        db.query(Item).insert({"shop_id": 999})
    assert caught.value.attributes == ("shop_id",)


def test_a_table_that_is_not_there_says_how_to_make_it(file: Path) -> None:
    with (
        db_plugins.connect({"ENGINE": "sqlite", "DB_NAME": str(file)}, models=MODELS) as db,
        pytest.raises(EngineError, match=r"table of Shop is not there; run `dbp initdb`"),
    ):
        db.query(Shop).all()


def test_memory_is_one_database_for_all_threads() -> None:
    with db_plugins.connect("sqlite:///:memory:", models=MODELS) as db:
        db.create_all()

        def work(n: int) -> None:
            for i in range(20):
                db.query(Shop).insert({"name": f"{n}-{i}"})

        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert db.query(Shop).count() == 120


def test_pool_options_on_a_database_in_memory_are_no_error() -> None:
    entry = {"ENGINE": "sqlite", "DB_NAME": ":memory:", "POOL_SIZE": 5, "MAX_OVERFLOW": 2, "POOL_TIMEOUT": 3}
    with db_plugins.connect(entry, models=MODELS) as db:
        db.create_all()
        assert db.query(Shop).count() == 0


def test_what_is_no_database_is_told_with_its_path(tmp_path: Path) -> None:
    bad = tmp_path / "bad.db"
    bad.write_text("this is no database, but long enough to be looked at as one" * 20)
    told = {
        bad: "is no SQLite database",
        tmp_path: "cannot be opened or made",
        bad / "a.db": "cannot be opened or made",  # no folder can be made where a file is
        bad / "below" / "a.db": "cannot be opened or made",
    }

    async def awaited(entry: Any) -> None:
        async with db_plugins.connect_async(entry, models=MODELS) as db:
            await db.query(Shop).all()

    for path, words in told.items():
        entry = {"ENGINE": "sqlite", "DB_NAME": str(path)}
        with (
            db_plugins.connect(entry, models=MODELS) as db,
            pytest.raises(ServerUnreachableError, match=f"{path} {words}.*check the path") as caught,
        ):
            db.query(Shop).all()
        assert caught.value.__cause__ is not None
        with pytest.raises(ServerUnreachableError, match=f"{path} {words}.*check the path"):
            asyncio.run(awaited(entry))


def test_ddl_and_savepoints_roll_back(db: Any) -> None:
    with pytest.raises(ZeroDivisionError), db.transaction() as tx:
        tx.native.execute(sa.text("CREATE TABLE extra (a)"))
        with tx.transaction() as inner:
            inner.query(Shop).insert({"name": "a"})
        raise ZeroDivisionError
    assert db.query(Shop).count() == 0
    assert "extra" not in sa.inspect(db.native).get_table_names()


def test_a_writer_waits_for_another_and_a_reader_for_nobody(db: Any, file: Path) -> None:
    holding, done = threading.Event(), []

    def hold() -> None:
        with db.transaction() as tx:
            tx.query(Shop).insert({"name": "first"})
            holding.set()
            threading.Event().wait(0.3)

    def write() -> None:
        holding.wait()
        db.query(Shop).insert({"name": "second"})
        done.append(db.query(Shop).count())

    threads = [threading.Thread(target=hold), threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    holding.wait()
    assert db.query(Shop).count() == 0
    for thread in threads:
        thread.join()
    assert done == [2]


def test_a_lock_held_too_long_is_a_conflict(db: Any, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db_plugins_sql.connection.PATIENCE_SECONDS", 0.5)
    entry = {"ENGINE": "sqlite", "DB_NAME": str(file), "OPTIONS": {"timeout": 0.1}}
    with db_plugins.connect(entry, models=MODELS) as other, db.transaction() as tx:
        tx.query(Shop).insert({"name": "a"})
        with pytest.raises(ConflictError) as caught:
            other.query(Shop).insert({"name": "b"})
        assert caught.value.retryable


def test_another_process_sees_and_adds_rows(db: Any, file: Path) -> None:
    db.query(Shop).insert({"name": "a"})
    code = (
        "import sys, db_plugins; sys.path.insert(0, sys.argv[2]); from shop import Shop\n"
        "with db_plugins.connect({'ENGINE': 'sqlite', 'DB_NAME': sys.argv[1]}) as db:\n"
        "    assert db.query(Shop).count() == 1; db.query(Shop).insert({'name': 'b'})"
    )
    tests = str(Path(sys.modules[Shop.__module__].__file__ or "").parent)
    subprocess.run([sys.executable, "-c", code, str(file), tests], check=True)
    assert {s.name for s in db.query(Shop).all()} == {"a", "b"}


def test_aware_datetimes_are_utc_in_the_file_and_in_sessions(db: Any, file: Path) -> None:
    moment = dt.datetime(2020, 1, 1, 5, 30, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30)))
    db.query(Item).insert({"made": moment})
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT made FROM item").fetchone() == ("2020-01-01 00:00:00.000000",)
    connection.close()
    with sa.orm.Session(db.native) as session:
        assert session.scalars(sa.select(Item.made).where(Item.made == moment)).one() == moment


def test_json_none_is_null_and_never_json_null(db: Any) -> None:
    db.query(Item).insert({"extra": None})
    db.query(Item).bulk_insert([{"extra": {"a": None}}, {"extra": None}])
    with db.native.connect() as connection:
        found = connection.execute(sa.text("SELECT count(*) FROM item WHERE extra IS NULL")).scalar()
    assert found == 2
    assert db.query(Item).filter(extra=None).count() == 2


def test_a_native_condition_is_anded_to_the_others(db: Any) -> None:
    db.query(Shop).bulk_insert([{"name": "ab"}, {"name": "cd"}, {"name": "abc"}])
    query = (
        db.query(Shop).filter_native(sa.text("length(name) = :n").bindparams(n=2)).filter(Shop.name != "cd")
    )
    assert [s.name for s in query.all()] == ["ab"]
    assert query.update({"name": "x"}) == 1


def test_a_long_list_is_one_bound_value(db: Any) -> None:
    db.query(Shop).bulk_insert({"name": f"s{n}"} for n in range(10))
    assert db.query(Shop).filter(Shop.id.in_(range(300_000))).count() == 10
    assert db.query(Shop).filter(Shop.name.in_([f"s{n}" for n in range(300_000)])).count() == 10
    assert db.query(Shop).filter(Shop.id.not_in(range(2, 300_000))).count() == 1


def test_a_key_is_never_used_twice(db: Any) -> None:
    last = db.query(Shop).insert({"name": "a"})
    db.query(Shop).delete(last)
    assert db.query(Shop).insert({"name": "b"}).id > last.id


def test_the_users_metadata_is_not_changed(db: Any) -> None:
    assert Base.metadata.tables["item"].c.ttl.type.collation is None  # type: ignore[attr-defined]
    assert not Base.metadata.tables["shop"].dialect_options["sqlite"]["autoincrement"]


def test_a_statement_that_takes_longer_than_query_timeout_is_interrupted(file: Path) -> None:
    entry = {"ENGINE": "sqlite", "DB_NAME": str(file), "QUERY_TIMEOUT": 0.2}
    slow = sa.text(
        "(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 100000000) SELECT max(n) FROM c) > 0"
    )
    with db_plugins.connect(entry, models=MODELS) as db:
        db.create_all()
        db.query(Shop).insert({"name": "a"})
        with pytest.raises(QueryTimeoutError):
            db.query(Shop).filter_native(slow).all()
        assert db.query(Shop).count() == 1


class Spelled(DeclarativeBase):
    pass


class Parcel(Spelled):
    """A type that spells its values in its own way."""

    __tablename__ = "parcel"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(sa.Uuid(as_uuid=False))
    sent: Mapped[dt.datetime] = mapped_column(sqlite.DATETIME(truncate_microseconds=True))


def test_what_a_type_makes_of_a_value_is_what_insert_returns(tmp_path: Path) -> None:
    with db_plugins.connect(f"sqlite:///{tmp_path}/p.db", models=[Parcel]) as db:
        db.create_all()
        sent = dt.datetime(2026, 1, 1, 12, 0, 0, 123456)
        made = db.query(Parcel).insert({"code": "0123456789ABCDEF0123456789ABCDEF", "sent": sent})
        found = db.query(Parcel).get(made.id)
        assert found is not None
        assert (made.code, made.sent) == (found.code, found.sent)
        assert made.sent == sent.replace(microsecond=0)


def test_who_listens_from_the_middle_of_a_transaction_hears_its_writes(db: Any) -> None:
    heard: list[str] = []
    engine = db.native
    with db.transaction() as tx:
        tx.query(Shop).insert({"name": "a"})
        sa.event.listen(engine, "before_cursor_execute", lambda *given: heard.append(given[2]))
        tx.query(Shop).insert({"name": "b"})
    assert [text.partition(" (")[0] for text in heard] == ["INSERT INTO shop"]


def test_an_interruption_while_rows_are_met_is_one(db: db_plugins.Database) -> None:
    """SQLite calls the function that counts them: an exception raised inside would become an error of SQLite's."""

    def interrupted(*_about: object) -> None:
        raise KeyboardInterrupt

    rows = [{"id": n, "name": f"shop {n}"} for n in range(30_000)]
    before = signal.signal(signal.SIGUSR1, interrupted)
    try:
        db.query(Shop).bulk_insert(rows)
        for delay in (0.01, 0.02, 0.03):
            soon = threading.Timer(
                delay, signal.pthread_kill, [threading.main_thread().ident, signal.SIGUSR1]
            )
            with pytest.raises(KeyboardInterrupt):
                soon.start()
                while True:
                    db.query(Shop).bulk_insert(rows, on_conflict="update")
        assert db.query(Shop).count() == 30_000
    finally:
        signal.signal(signal.SIGUSR1, before)
