"""Revisions run on SQLite, PostgreSQL and MariaDB: all or nothing, or written down; one at a time; broken off anywhere."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.config import CommandLine, Config
from alembic.script import ScriptDirectory

import db_plugins
from db_plugins.errors import (
    ConnectionLostError,
    DatabaseMissingError,
    DestructiveChangeError,
    DirtyMigrationError,
    EngineError,
    MigrationError,
    MigrationLockedError,
    UnsupportedOperationError,
)
from db_plugins.migrations.seam import Holder, Interrupted, LockRequest, Settling, Step, SupportsMigrations
from db_plugins_sql.connection import SQLConnection

MAKO = "${message}"
_opened: list[db_plugins.Database] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


@dataclass
class Project:
    """A folder of revisions, one after the other, and a database."""

    folder: Path
    entry: dict[str, Any]
    revisions: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "versions").mkdir(parents=True, exist_ok=True)
        (self.folder / "script.py.mako").write_text(MAKO)
        self.db = db_plugins.connect(self.entry)
        _opened.append(self.db)

    @property
    def connection(self) -> SQLConnection:
        connection = self.db._runner().connection
        assert isinstance(connection, SQLConnection)
        assert isinstance(connection, SupportsMigrations)
        return connection

    def write(self, upgrade: str, downgrade: str = "pass", *, name: str | None = None) -> str:
        name = name or f"r{len(self.revisions) + 1}"
        before = self.revisions[-1] if self.revisions and name not in self.revisions else None
        if name in self.revisions and self.revisions.index(name):
            before = self.revisions[self.revisions.index(name) - 1]
        body = (
            f'"""{name} does something"""\nimport os\nimport sqlalchemy as sa\nfrom alembic import op\n\n'
            f"revision = {name!r}\ndown_revision = {before!r}\nbranch_labels = None\ndepends_on = None\n\n\n"
            f"def upgrade() -> None:\n{textwrap.indent(textwrap.dedent(upgrade).strip(), '    ')}\n\n\n"
            f"def downgrade() -> None:\n{textwrap.indent(textwrap.dedent(downgrade).strip(), '    ')}\n"
        )
        (self.folder / "versions" / f"{name}.py").write_text(body)
        if name not in self.revisions:
            self.revisions.append(name)
        return name

    def plan(self, heads: Sequence[str], target: str = "heads") -> list[Step]:
        return plan(self.folder, heads, target)

    def migrate(
        self,
        target: str = "heads",
        *,
        allow_drop: bool = False,
        settling: Settling | None = None,
        **lock: Any,
    ) -> list[str]:
        with self.connection.migrating(LockRequest(**lock)) as migration:
            steps = self.plan(migration.heads(), target)
            for step in steps:
                migration.run(step, allow_drop=allow_drop, settling=settling)
        return [step.revision for step in steps]

    def interrupted(self) -> Interrupted | None:
        with self.connection.migrating(LockRequest()) as migration:
            return migration.interrupted()

    def sql(self, statement: str) -> Any:
        with self.db.native.connect() as connection:
            found = connection.exec_driver_sql(statement)
            return [tuple(row) for row in found] if found.returns_rows else None

    def tables(self) -> set[str]:
        with self.db.native.connect() as connection:
            return set(sa.inspect(connection).get_table_names()) - {"alembic_version", "dbp_migrations"}

    def columns(self, table: str) -> set[str]:
        with self.db.native.connect() as connection:
            return {c["name"] for c in sa.inspect(connection).get_columns(table)}

    def in_process(self, *arguments: str) -> subprocess.Popen[str]:
        """``migrate`` in a process of its own."""
        given = json.dumps([str(self.folder), self.entry])
        return subprocess.Popen(
            [sys.executable, str(Path(__file__)), given, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def plan(folder: Path, heads: Sequence[str], target: str) -> list[Step]:
    """As the core plans: Alembic's own steps."""
    script = ScriptDirectory(str(folder))
    if target == "heads" or (target != "base" and target not in heads and _is_above(script, target, heads)):
        found = script._upgrade_revs(target, tuple(heads))  # type: ignore[arg-type]
    else:
        found = script._downgrade_revs(target, tuple(heads))  # type: ignore[arg-type]
    at, steps = tuple(heads), []
    for each in found:
        after = each.to_revisions
        steps.append(
            Step(
                each.revision.revision,
                each.revision.doc,
                Path(each.revision.path),
                each.is_upgrade,
                at,
                after,
                each.migration_fn,
                each,
            )
        )
        at = after
    return steps


def _is_above(script: ScriptDirectory, target: str, heads: Sequence[str]) -> bool:
    below = {r.revision for r in script.iterate_revisions(target, "base")}
    return not heads or set(heads) <= below


SERVERS = ("sqlite", "postgresql", "mariadb")


@pytest.fixture(params=SERVERS)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    yield from make_project(request, tmp_path, request.param)


def make_project(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> Iterator[Project]:
    if kind == "sqlite":
        entry: dict[str, Any] = {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "stars.db")}
        drop: Callable[[], None] = lambda: None  # noqa: E731
    else:
        server = request.getfixturevalue("shared_server")(kind)
        name, _url = server.new_database()
        entry = dict(server.entry(name))
        drop = lambda: server.drop_database(name)  # noqa: E731
    yield Project(tmp_path / "migrations", entry)
    while _opened:
        _opened.pop().close()
    drop()


@pytest.fixture
def sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    yield from make_project(request, tmp_path, "sqlite")


@pytest.fixture
def postgresql(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    yield from make_project(request, tmp_path, "postgresql")


@pytest.fixture
def mariadb(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    yield from make_project(request, tmp_path, "mariadb")


def is_atomic(project: Project) -> bool:
    return project.entry["ENGINE"] != "mariadb"


STARS = 'op.create_table("stars", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(40)))'
NO_STARS = 'op.drop_table("stars")'


def with_stars(project: Project) -> None:
    project.write(STARS, NO_STARS)
    project.write(
        'op.add_column("stars", sa.Column("mag", sa.Float))',
        'with op.batch_alter_table("stars") as batch_op:\n    batch_op.drop_column("mag")',
    )
    project.write(
        'op.create_table("planets", sa.Column("id", sa.Integer, primary_key=True))',
        'op.drop_table("planets")',
    )


# -- up and down -----------------------------------------------------------------------------------------------------


def test_up_down_and_to_a_revision(project: Project) -> None:
    with_stars(project)
    assert project.connection.heads() == ()
    assert project.migrate("r2") == ["r1", "r2"]
    assert project.connection.heads() == ("r2",)
    assert project.tables() == {"stars"}
    assert project.migrate() == ["r3"]
    assert project.migrate() == []
    assert project.migrate("r1") == ["r3", "r2"]
    assert project.columns("stars") == {"id", "name"}
    assert project.migrate("base") == ["r1"]
    assert (project.tables(), project.connection.heads()) == (set(), ())
    assert project.migrate() == ["r1", "r2", "r3"]


COLOURS = """
op.create_enum("colour", ["red", "blue"])
op.create_table(
    "suns",
    sa.Column("id", sa.Integer(), nullable=False),
    sa.Column("colour", sa.Enum("red", "blue", name="colour"), server_default="red"),
    sa.PrimaryKeyConstraint("id"),
)
op.execute("INSERT INTO suns (id) VALUES (1)")
"""
ANOTHER = (
    'op.alter_enum("colour", ["red", "blue"], ["red", "infrared", "blue"], columns=[["suns", "colour"]])'
)
USED = "op.execute(\"UPDATE suns SET colour = 'infrared'\")"


def test_a_member_is_used_in_the_run_that_adds_it(project: Project) -> None:
    project.write(COLOURS)
    project.migrate()
    project.write(ANOTHER)
    project.write(USED)
    assert project.migrate() == ["r2", "r3"]
    with project.db.native.begin() as connection:
        connection.exec_driver_sql("INSERT INTO suns (id) VALUES (2)")
    assert project.sql("SELECT id, colour FROM suns ORDER BY id") == [(1, "infrared"), (2, "red")]


@pytest.mark.parametrize(
    ("statement", "after"),
    [
        ("CREATE VIEW v AS SELECT colour FROM suns", ["red", "infrared", "blue"]),
        ("CREATE INDEX i ON suns (id) WHERE colour = 'red'", ["red", "infrared", "blue"]),
        ("CREATE TABLE others (colours colour[])", ["red", "infrared", "blue"]),
        ("ALTER TYPE colour ADD VALUE 'theirs'", ["red", "infrared", "blue", "theirs"]),
        ("UPDATE pg_class SET reltuples = 100001 WHERE relname = 'suns'", ["red", "infrared", "blue"]),
    ],
    ids=["view", "index", "array", "member of others", "many rows"],
)
def test_a_member_is_added_where_the_type_is_not_to_be_replaced(
    postgresql: Project, statement: str, after: list[str]
) -> None:
    """And then it cannot be used before the run has ended."""
    postgresql.write(COLOURS)
    postgresql.migrate()
    with postgresql.db.native.begin() as connection:
        connection.exec_driver_sql(statement)
    before = postgresql.sql("SELECT to_regtype('colour')::oid")
    postgresql.write(ANOTHER)
    postgresql.migrate()
    assert postgresql.sql("SELECT to_regtype('colour')::oid") == before, "the type is the one that it was"
    assert postgresql.sql("SELECT array_agg(m::text) FROM unnest(enum_range(NULL::colour)) m") == [(after,)]
    postgresql.write(USED)
    assert postgresql.migrate() == ["r3"]


def test_heads_make_no_file(sqlite: Project, tmp_path: Path) -> None:
    assert sqlite.connection.heads() == ()
    assert not (tmp_path / "stars.db").exists()
    sqlite.migrate()
    assert (tmp_path / "stars.db").exists()
    assert not list(tmp_path.glob("*-migrating"))


def test_a_missing_database_is_named(postgresql: Project) -> None:
    db = db_plugins.connect({**postgresql.entry, "DB_NAME": "nowhere"})
    connection: Any = db._runner().connection
    with pytest.raises(DatabaseMissingError), db._runner().errors():
        connection.heads()
    with pytest.raises(DatabaseMissingError), db._runner().errors(), connection.migrating(LockRequest()):
        pass


def test_stamp_records_and_runs_nothing(project: Project) -> None:
    with_stars(project)
    with project.connection.migrating(LockRequest()) as migration:
        migration.stamp(("r2", "other"))
        assert migration.heads() == ("other", "r2")
        migration.stamp(("r2",))
    assert project.connection.heads() == ("r2",)
    assert project.tables() == set()


def test_in_memory() -> None:
    with db_plugins.connect({"ENGINE": "sqlite", "DB_NAME": ":memory:"}) as db:
        connection: Any = db._runner().connection
        with connection.migrating(LockRequest()) as migration:
            migration.stamp(("a",))
        assert connection.heads() == ("a",)
        with db.native.connect() as raw:
            assert raw.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


# -- a revision that fails, or is broken off -------------------------------------------------------------------------


def test_a_failing_operation_leaves_nothing_or_goes_on_when_mended(project: Project) -> None:
    project.write(STARS, NO_STARS)
    project.write(
        'op.add_column("stars", sa.Column("a", sa.Integer))\nop.add_column("nowhere", sa.Column("b", sa.Integer))'
    )
    with pytest.raises(sa.exc.DBAPIError):
        project.migrate()
    if is_atomic(project):
        assert (project.tables(), project.connection.heads()) == (set(), ())
        assert project.interrupted() is None
    else:
        assert project.connection.heads() == ("r1",)
        assert project.columns("stars") == {"id", "name", "a"}
        stopped = project.interrupted()
        assert stopped == Interrupted("r2", True, 2, "ALTER TABLE nowhere ADD COLUMN b INTEGER", True)
    project.write(
        'op.add_column("stars", sa.Column("a", sa.Integer))\nop.add_column("stars", sa.Column("b", sa.Integer))',
        name="r2",
    )
    project.migrate()
    assert project.columns("stars") == {"id", "name", "a", "b"}
    assert project.connection.heads() == ("r2",)
    assert project.interrupted() is None


def test_an_error_of_the_revision_itself_leaves_it_as_it_is(project: Project) -> None:
    project.write(f"{STARS}\nraise KeyError('mine')")
    with pytest.raises(KeyError, match="mine"):
        project.migrate()
    assert project.tables() == (set() if is_atomic(project) else {"stars"})
    project.write(STARS, name="r1")
    project.migrate()
    assert project.tables() == {"stars"}


#: Every kind of step: statements about the schema, about rows in a loop over what is read, and about both in turn.
LONG = """
def maybe(n):
    if os.environ.get("DIE_AT") == str(n):
        os._exit(9)
maybe(0)
op.create_table("a", sa.Column("id", sa.Integer, primary_key=True), sa.Column("x", sa.Integer), sa.Column("done", sa.Integer))
maybe(1)
for n in range(1, 4):
    op.execute(f"INSERT INTO a (id, x) VALUES ({n}, {n})")
    maybe(1 + n)
op.create_table("b", sa.Column("id", sa.Integer, primary_key=True))
maybe(5)
bind = op.get_bind()
for (id,) in bind.execute(sa.text("SELECT id FROM a WHERE done IS NULL ORDER BY id")).all():
    bind.execute(sa.text("UPDATE a SET x = x + 100, done = 1 WHERE id = :id"), {"id": id})
    maybe(5 + id)
op.create_index("ix_b", "b", ["id"])
maybe(9)
op.add_column("b", sa.Column("z", sa.Integer))
maybe(10)
op.execute("INSERT INTO b (id) VALUES (1)")
maybe(11)
"""


@pytest.mark.parametrize("moment", range(12))
def test_a_process_that_dies_anywhere_in_a_revision_leaves_it_to_the_next(
    project: Project, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write(LONG)
    monkeypatch.setenv("DIE_AT", str(moment))
    process = project.in_process()
    process.communicate(timeout=60)
    assert process.returncode == 9
    monkeypatch.delenv("DIE_AT")
    assert project.connection.heads() == ()
    if is_atomic(project):
        assert project.tables() == set()
    stopped = project.interrupted()
    assert stopped is None or stopped.is_clean
    assert project.migrate() == ["r1"]
    assert project.sql("SELECT id, x, done FROM a ORDER BY id") == [(1, 101, 1), (2, 102, 1), (3, 103, 1)]
    assert project.sql("SELECT id, z FROM b") == [(1, None)]
    assert project.interrupted() is None


def test_a_file_that_was_edited_meanwhile_is_not_gone_on_with(mariadb: Project) -> None:
    mariadb.write(f"{STARS}\nraise ValueError")
    with pytest.raises(ValueError):
        mariadb.migrate()
    mariadb.write('op.create_table("moons", sa.Column("id", sa.Integer, primary_key=True))', name="r1")
    with pytest.raises(
        DirtyMigrationError, match=r"step 1 of r1 .* was: CREATE TABLE stars; and now is: CREATE TABLE moons"
    ):
        mariadb.migrate()
    assert mariadb.tables() == {"stars"}
    with mariadb.connection.migrating(LockRequest()) as migration:
        migration.stamp(())
    assert mariadb.interrupted() is None


def test_another_revision_cannot_overtake_one_that_is_half_done(mariadb: Project) -> None:
    mariadb.write(f"{STARS}\nraise ValueError", NO_STARS)
    with pytest.raises(ValueError):
        mariadb.migrate()
    with mariadb.connection.migrating(LockRequest()) as migration:
        step = plan(mariadb.folder, ("r1",), "base")[0]
        with pytest.raises(DirtyMigrationError, match="the upgrade of revision r1 is half done"):
            migration.run(step, allow_drop=True)


#: Before, the statement, and how one sees that it is done. Each is done, and the process dies before it can say so.
AMBIGUOUS = [
    ("", 'op.create_table("t2", sa.Column("id", sa.Integer, primary_key=True))'),
    ("", 'op.drop_table("t")'),
    ("", 'op.add_column("t", sa.Column("y", sa.Integer))'),
    ("", 'op.drop_column("t", "x")'),
    ("", 'op.create_index("ix", "t", ["x"])'),
    ('op.create_index("ix", "t", ["x"])', 'op.drop_index("ix", "t")'),
    ("", 'op.create_unique_constraint("uq", "t", ["x"])'),
    ('op.create_unique_constraint("uq", "t", ["x"])', 'op.drop_constraint("uq", "t", type_="unique")'),
    ("", 'op.create_foreign_key("fk", "t", "parent", ["x"], ["id"])'),
    (
        'op.create_foreign_key("fk", "t", "parent", ["x"], ["id"])',
        'op.drop_constraint("fk", "t", type_="foreignkey")',
    ),
    ("", 'op.create_check_constraint("ck", "t", "x > 0")'),
    ('op.create_check_constraint("ck", "t", "x > 0")', 'op.drop_constraint("ck", "t", type_="check")'),
    ("", 'op.alter_column("t", "x", existing_type=sa.Integer, type_=sa.BigInteger)'),
    ("", 'op.alter_column("t", "x", existing_type=sa.Integer, new_column_name="y")'),
    ("", 'op.alter_column("t", "x", server_default="7")'),
    ("", 'op.rename_table("t", "t2")'),
    ("", 'op.create_table_comment("t", "hello")'),
]


@pytest.mark.parametrize(("before", "statement"), AMBIGUOUS)
@pytest.mark.parametrize("was_done", [True, False])
def test_a_statement_that_may_be_done_is_sent_in_the_form_that_may_be_repeated(
    mariadb: Project, before: str, statement: str, was_done: bool
) -> None:
    mariadb.sql("CREATE TABLE parent (id INT PRIMARY KEY) ENGINE=InnoDB")
    mariadb.sql("CREATE TABLE t (id INT PRIMARY KEY, x INT) ENGINE=InnoDB")
    mariadb.write(before or "pass")
    mariadb.migrate()
    mariadb.write(statement)
    mariadb.migrate()
    after = show(mariadb)
    if not was_done:
        mariadb.sql("DROP TABLE IF EXISTS t, t2")
        mariadb.sql("CREATE TABLE t (id INT PRIMARY KEY, x INT) ENGINE=InnoDB")
        with mariadb.connection.migrating(LockRequest()) as migration:
            migration.stamp(())
        mariadb.migrate("r1")
    # As the process left it that died between the statement and the note that it is done.
    with mariadb.connection.migrating(LockRequest()) as migration:
        migration.stamp(("r1",))
        _as_running(migration, mariadb, statement)
    stopped = mariadb.interrupted()
    assert stopped is not None
    assert stopped.is_clean, stopped
    mariadb.migrate(allow_drop=True)
    assert show(mariadb) == after
    assert mariadb.interrupted() is None


def show(project: Project) -> list[str]:
    return [project.sql(f"SHOW CREATE TABLE {table}")[0][1] for table in sorted(project.tables())]


def _as_running(migration: Any, project: Project, statement: str) -> None:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    from db_plugins_sql.migrations import journal as module

    sent: list[str] = []

    class StopHere(Exception):
        pass

    def before(_c: Any, _cursor: Any, text: str, *_rest: Any) -> None:
        sent.append(text)
        raise StopHere

    connection = migration.connection
    with connection.engine.connect() as other:
        sa.event.listen(other, "before_cursor_execute", before)
        with Operations.context(MigrationContext.configure(other)) as op, suppress(StopHere):
            exec(statement, {"op": op, "sa": sa})
    (text,) = sent
    recording = module._Recording(connection, module.Lookup((), "", True), "r2", "upgrade")
    recording._write(1, text, "running")


@pytest.mark.parametrize("settling", ["resume", "mark-done", None])
def test_what_cannot_be_repeated_is_settled_by_people(mariadb: Project, settling: Any) -> None:
    mariadb.write("pass")
    mariadb.migrate()
    statement = 'op.execute("CREATE VIEW v AS SELECT 1 AS one")'
    mariadb.write(f"{statement}\n{STARS}")
    if settling == "mark-done":
        mariadb.sql("CREATE VIEW v AS SELECT 1 AS one")
    with mariadb.connection.migrating(LockRequest()) as migration:
        _as_running(migration, mariadb, statement)
    assert mariadb.interrupted() == Interrupted("r2", True, 1, "CREATE VIEW v AS SELECT 1 AS one", False)
    if settling is None:
        with pytest.raises(DirtyMigrationError, match=r"step 1 of r2 .* may be done or not: CREATE VIEW v"):
            mariadb.migrate()
        return
    mariadb.migrate(settling=settling)
    assert mariadb.sql("SELECT one FROM v") == [(1,)]
    assert mariadb.tables() == {"stars"}
    assert mariadb.interrupted() is None


# -- the lock --------------------------------------------------------------------------------------------------------


def begun(process: subprocess.Popen[str], word: str = "sleeping") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == word:
            return
    raise AssertionError("it ended")


def test_three_processes_at_once_apply_each_revision_once(project: Project) -> None:
    with_stars(project)
    processes = [project.in_process() for _ in range(3)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert sorted(output.splitlines()[-1] for output in outputs) == ["done", "done", "done r1 r2 r3"]


def test_who_waits_is_told_who_holds_the_lock_and_gives_up_in_time(project: Project) -> None:
    with_stars(project)
    began = datetime.now(UTC)
    process = project.in_process("sleep=60")
    try:
        begun(process)
        told: list[Holder | None] = []
        with pytest.raises(
            MigrationLockedError, match=f"another migration holds the lock: process {process.pid} on "
        ) as caught:
            project.migrate(timeout=0.5, waiting=told.append)
        assert caught.value.hint == "wait for it, or raise --lock-timeout"
        (holder,) = told
        assert holder is not None
        assert holder.process == process.pid
        assert abs((holder.since - began).total_seconds()) < 60
        with pytest.raises(MigrationLockedError):
            project.migrate(timeout=0)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    # A killed holder frees it.
    told.clear()
    before = time.monotonic()
    assert project.migrate(timeout=30, waiting=told.append) == (
        ["r1", "r2", "r3"] if is_atomic(project) else []
    )
    assert time.monotonic() - before < 20


def test_a_long_write_of_another_program_is_no_migration(sqlite: Project) -> None:
    with_stars(sqlite)
    sqlite.migrate("r1")
    told: list[Any] = []
    with sqlite.db.native.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(MigrationLockedError, match="another migration, or a long write, holds the lock"):
            sqlite.migrate(timeout=0.2, waiting=told.append)
        other.rollback()
    assert told == [None]


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_lock_that_is_lost_ends_the_run(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    for project in make_project(request, tmp_path, kind):
        with_stars(project)
        with pytest.raises(ConnectionLostError, match="held the migration lock"):  # noqa: SIM117
            with project.connection.migrating(LockRequest()) as migration:
                steps = project.plan(migration.heads())
                migration.run(steps[0], allow_drop=False)
                kill_holder(project)
                if kind == "mariadb":
                    migration.run(steps[1], allow_drop=False)
        assert project.connection.heads() == (() if is_atomic(project) else ("r1",))
        project.migrate()


def kill_holder(project: Project) -> None:
    if project.entry["ENGINE"] == "postgresql":
        project.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'dbp migrate%%'"
        )
    else:
        name = project.entry["DB_NAME"]
        project.sql(
            f"KILL {project.sql(f'SELECT IS_USED_LOCK({name!r})'.replace(name, f'dbp_migrate {name}'))[0][0]}"
        )


def test_a_host_with_a_long_name_can_hold_the_lock(postgresql: Project) -> None:
    holder = Holder("a" * 200 + ".example", 12, datetime.now(UTC))
    told: list[Any] = []
    with postgresql.connection.migrating(LockRequest(holder=holder)), pytest.raises(MigrationLockedError):
        postgresql.migrate(timeout=0, waiting=told.append)
    assert (told[0].host[:30], told[0].process) == ("a" * 30, 12)


# -- what a revision drops -------------------------------------------------------------------------------------------


def test_what_holds_values_is_dropped_only_if_that_is_allowed(project: Project) -> None:
    project.write(
        f"""{STARS}
op.add_column("stars", sa.Column("mag", sa.Integer, server_default="7"))
op.create_table("empty", sa.Column("id", sa.Integer, primary_key=True))"""
    )
    project.migrate()
    project.sql("INSERT INTO stars (id, name) VALUES (1, NULL)")
    project.write(
        'with op.batch_alter_table("stars") as batch_op:\n    batch_op.drop_column("mag")\nop.drop_table("empty")'
    )
    project.migrate()
    assert project.columns("stars") == {"id", "name"}
    project.sql("UPDATE stars SET name = 'Vega'")
    project.write(
        """op.create_table("other", sa.Column("id", sa.Integer, primary_key=True))
op.rename_table("stars", "suns")
with op.batch_alter_table("suns") as batch_op:
    batch_op.drop_column("name")
op.drop_table("suns")"""
    )
    with pytest.raises(DestructiveChangeError) as caught:
        project.migrate()
    assert caught.value.fact == (
        "r3 (r3 does something) drops what holds values: column suns.name (holds values), table suns (holds rows)"
    )
    assert caught.value.hint == "`--allow-drop` gives them up; move the values first to keep them"
    assert project.tables() == {"stars"}
    assert project.interrupted() is None
    project.migrate(allow_drop=True)
    assert project.tables() == {"other"}


def test_a_value_unlike_the_server_default_is_a_loss(project: Project) -> None:
    project.write(f'{STARS}\nop.add_column("stars", sa.Column("mag", sa.String(9), server_default="seven"))')
    project.migrate()
    project.sql("INSERT INTO stars (id, mag) VALUES (1, 'seven'), (2, 'eight')")
    project.write('with op.batch_alter_table("stars") as batch_op:\n    batch_op.drop_column("mag")')
    with pytest.raises(DestructiveChangeError, match=r"column stars.mag \(holds values\)"):
        project.migrate()
    project.sql("UPDATE stars SET mag = 'seven'")
    project.migrate()


def test_a_drop_of_a_name_that_is_worked_out_is_no_silent_one(project: Project) -> None:
    project.write(STARS)
    project.write('for name in ("stars",):\n    op.drop_table(name)')
    with pytest.raises(DestructiveChangeError, match="drop_table of a name that line 14 works out"):
        project.migrate()
    project.migrate(allow_drop=True)
    assert project.tables() == set()


# -- SQLite: what hangs on a table that is made anew -----------------------------------------------------------------


def with_children(project: Project) -> None:
    project.write(
        """op.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY AUTOINCREMENT, x INT)")
op.execute("CREATE TABLE child (id INTEGER PRIMARY KEY, p INT REFERENCES parent (id) ON DELETE CASCADE)")
op.execute("CREATE VIEW sums AS SELECT sum(id) AS s FROM parent")
op.execute("CREATE TABLE log (n INT)")
op.execute("CREATE TRIGGER noted AFTER INSERT ON parent BEGIN INSERT INTO log VALUES (NEW.id); END")
op.execute("INSERT INTO parent VALUES (1, 1), (2, 2), (9, 9)")
op.execute("INSERT INTO child VALUES (1, 1), (2, 2)")
op.execute("DELETE FROM parent WHERE id = 9")"""
    )
    project.write(
        """with op.batch_alter_table("parent", recreate="always", table_kwargs={"sqlite_autoincrement": True}) as batch_op:
    batch_op.alter_column("x", existing_type=sa.Integer, nullable=False)"""
    )


def test_a_table_made_anew_keeps_children_keys_views_and_triggers(sqlite: Project) -> None:
    with_children(sqlite)
    sqlite.migrate()
    assert sqlite.sql("SELECT id, p FROM child") == [(1, 1), (2, 2)]
    sqlite.sql("INSERT INTO parent (x) VALUES (3)")
    assert sqlite.sql("SELECT max(id) FROM parent") == [(10,)]
    assert sqlite.sql("SELECT n FROM log ORDER BY n") == [(1,), (2,), (9,), (10,)]
    assert sqlite.sql("SELECT s FROM sums") == [(13,)]
    assert sqlite.sql("PRAGMA foreign_keys") == [(1,)]
    sqlite.sql("DELETE FROM parent WHERE id = 1")
    assert sqlite.sql("SELECT id FROM child") == [(2,)]


def test_the_position_of_a_table_without_rows_is_kept_too(sqlite: Project) -> None:
    with_children(sqlite)
    sqlite.migrate("r1")
    sqlite.sql("DELETE FROM parent")
    sqlite.migrate()
    sqlite.sql("INSERT INTO parent (x) VALUES (3)")
    assert sqlite.sql("SELECT id FROM parent") == [(10,)]


def test_rows_that_would_lose_their_parent_stop_the_run(sqlite: Project) -> None:
    with_children(sqlite)
    sqlite.migrate()
    sqlite.write('op.execute("DELETE FROM parent WHERE id = 2")')
    with pytest.raises(MigrationError, match=r"rows that are not there: child → parent \(1\)"):
        sqlite.migrate()
    assert sqlite.connection.heads() == ("r2",)
    assert sqlite.sql("SELECT count(*) FROM parent") == [(2,)]


def test_rows_that_had_no_parent_before_are_not_the_revisions_fault(sqlite: Project) -> None:
    with_children(sqlite)
    sqlite.migrate("r1")
    with sqlite.db.native.connect() as raw:
        raw.exec_driver_sql("PRAGMA foreign_keys = OFF")
        raw.exec_driver_sql("INSERT INTO child VALUES (7, 77)")
        raw.exec_driver_sql("PRAGMA foreign_keys = ON")
    sqlite.write('op.rename_table("child", "children")', name="r3")
    sqlite.migrate()
    assert sqlite.sql("SELECT p FROM children WHERE id = 7") == [(77,)]


def test_a_database_that_cannot_be_written_says_so(sqlite: Project) -> None:
    with_stars(sqlite)
    sqlite.migrate("r1")
    path = sqlite.entry["DB_NAME"]
    read_only = Project(sqlite.folder, {"URL": f"sqlite:///file:{path}?mode=ro&uri=true"}, sqlite.revisions)
    assert read_only.connection.heads() == ("r1",)
    with (
        pytest.raises(EngineError, match=r"is read-only; .* the right to write"),
        read_only.db._runner().errors(),
    ):
        read_only.migrate()


def test_write_ahead_logging_stays(sqlite: Project) -> None:
    with_stars(sqlite)
    sqlite.migrate()
    assert sqlite.sql("PRAGMA journal_mode") == [("wal",)]


# -- more of what a run is -------------------------------------------------------------------------------------------


def test_a_schema_of_its_own(postgresql: Project) -> None:
    postgresql.sql("CREATE SCHEMA apart")
    apart = Project(postgresql.folder, {**postgresql.entry, "SCHEMA": "apart"})
    with_stars(apart)
    apart.migrate()
    assert apart.connection.heads() == ("r3",)
    assert postgresql.connection.heads() == ()
    found = postgresql.sql(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'apart' ORDER BY 1"
    )
    assert found == [("alembic_version",), ("planets",), ("stars",)]
    # Another schema is another database: it has its own lock.
    with apart.connection.migrating(LockRequest()):
        postgresql.migrate("r1", timeout=0)


def test_a_limit_for_queries_is_none_for_migrations(project: Project) -> None:
    limited = Project(project.folder, {**project.entry, "QUERY_TIMEOUT": 0.2})
    slow = {
        "postgresql": "SELECT pg_sleep(0.6)",
        "mariadb": "SELECT SLEEP(0.6)",
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000000) SELECT max(i) FROM n",
    }[project.entry["ENGINE"]]
    limited.write(f"op.get_bind().execute(sa.text({slow!r})).all()\n{STARS}")
    limited.migrate()
    assert project.tables() == {"stars"}


def test_a_revision_cannot_commit_in_its_middle(project: Project) -> None:
    project.write(f'with op.get_context().autocommit_block():\n    op.execute("SELECT 1")\n{STARS}')
    with pytest.raises(UnsupportedOperationError, match="cannot commit in its middle"):
        project.migrate()


def test_a_revision_may_ask_alembics_context(project: Project) -> None:
    project.write(f"from alembic import context\nassert not context.is_offline_mode()\n{STARS}")
    assert project.migrate() == ["r1"]


def test_statements_are_text_and_nothing_is_sent(project: Project) -> None:
    with_stars(project)
    text = project.connection.statements(project.plan(()))
    statements = [part for part in text.split(";") if part.strip()]
    assert text.rstrip().endswith(";")
    assert any("CREATE TABLE stars" in part for part in statements)
    assert "INSERT INTO alembic_version (version_num) VALUES ('r1')" in text
    assert "UPDATE alembic_version SET version_num='r3'" in text
    assert project.connection.heads() == ()
    later = project.connection.statements(project.plan(("r1",)))
    assert "CREATE TABLE stars" not in later
    assert "CREATE TABLE alembic_version" not in later
    assert project.connection.statements([]) == ""
    for statement in statements:
        lines = [line for line in statement.splitlines() if not line.startswith("--")]
        if project.entry["ENGINE"] == "mariadb":
            project.sql("\n".join(lines))
    if project.entry["ENGINE"] == "mariadb":
        assert project.connection.heads() == ("r3",)


def test_what_can_only_be_said_with_the_database_at_hand(sqlite: Project) -> None:
    with_stars(sqlite)
    with pytest.raises(UnsupportedOperationError, match="cannot say these revisions as text"):
        sqlite.connection.statements(sqlite.plan(("r3",), "base"))


# -- plain alembic ---------------------------------------------------------------------------------------------------

SETTINGS = "DB_CONFIG = {{'SQL': {entry!r}}}\nMODELS = ['models_of_{number}']\n"
MODELS = """
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
class Base(DeclarativeBase): pass
class Star(Base):
    __tablename__ = "stars"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(sa.String(40))
"""


@dataclass
class Plain:
    """Plain ``alembic`` in a folder: its whole command in this process, or as ``program`` in one of its own, which takes as
    long as ten commands."""

    root: Path

    def __call__(self, *arguments: str, where: str = ".", fails: bool = False) -> str:
        with (
            redirect_stdout(io.StringIO()) as said,
            redirect_stderr(said),
            chdir(self.root / where),
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr(sys, "path", list(sys.path))
            code: Any = 0
            program = CommandLine(prog="alembic")
            options = program.parser.parse_args(["-c", self._ini(where), *arguments])
            config = Config(self._ini(where), ini_section=options.name, cmd_opts=options, stdout=said)
            try:
                program.run_cmd(config, options)
            except SystemExit as ending:
                code = ending.code
        assert bool(code) is fails, said.getvalue()
        return said.getvalue()

    def _ini(self, where: str) -> str:
        return os.path.relpath(self.root / "migrations/SQL/alembic.ini", self.root / where)

    def program(self, *arguments: str, where: str = ".", fails: bool = False) -> str:
        ini = self._ini(where)
        done = subprocess.run(
            [sys.executable, "-m", "alembic", "-c", ini, *arguments],
            cwd=self.root / where,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert bool(done.returncode) is fails, done.stdout + done.stderr
        return done.stdout + done.stderr


_numbers = count()


def make_plain(project: Project, root: Path, entry: dict[str, Any]) -> tuple[Plain, Project]:
    number = next(_numbers)  # a module's name: those of other tests are kept in this process
    (root / "settings.py").write_text(SETTINGS.format(entry=entry, number=number))
    (root / f"models_of_{number}.py").write_text(MODELS)
    own = Project(root / "migrations" / "SQL", entry)
    for name, text in own.connection.files("SQL").items():
        (own.folder / name).write_text(text)
    from db_plugins.migrations import files as core

    (own.folder / "script.py.mako").write_text(
        Path(core.__file__).with_name("templates").joinpath("script.py.mako").read_text()
    )
    return Plain(root), own


@pytest.fixture
def plain(project: Project, tmp_path: Path) -> tuple[Plain, Project]:
    return make_plain(project, tmp_path, project.entry)


def test_plain_alembic_does_the_same(plain: tuple[Plain, Project]) -> None:
    alembic, project = plain
    with_stars(project)
    assert "r3" not in alembic("current")
    if project.entry["ENGINE"] == "sqlite":
        assert not Path(project.entry["DB_NAME"]).exists()
    assert "CREATE TABLE stars" in alembic("upgrade", "head", "--sql")
    assert project.connection.heads() == ()
    alembic("upgrade", "r2")
    assert project.connection.heads() == ("r2",)
    alembic("upgrade", "head", where="migrations/SQL")
    assert "r3 (head)" in alembic("current")
    assert "r1 -> r2" in alembic("history")
    alembic("downgrade", "r1")
    assert (project.connection.heads(), project.columns("stars")) == (("r1",), {"id", "name"})
    project.sql("INSERT INTO stars (id, name) VALUES (1, 'Vega')")
    assert "drops what holds values: table stars (holds rows); `--allow-drop`" in alembic(
        "downgrade", "base", fails=True
    )
    alembic("-x", "allow_drop", "downgrade", "base")
    assert project.tables() == set()
    alembic("stamp", "r2")
    assert project.connection.heads() == ("r2",)
    alembic("stamp", "--purge", "r1")
    assert project.connection.heads() == ("r1",)
    alembic("stamp", "r3")
    alembic("revision", "-m", "by hand", "--rev-id", "r4")
    text = next((project.folder / "versions").glob("r4*")).read_text()
    assert "from alembic import op\nimport sqlalchemy as sa\n" in text


def test_plain_alembic_finds_the_same_differences(plain: tuple[Plain, Project]) -> None:
    alembic, project = plain
    assert "new upgrade operations" in alembic("check", fails=True).lower()
    alembic("revision", "--autogenerate", "-m", "Add stars", "--rev-id", "r1")
    project.revisions.append("r1")
    text = (project.folder / "versions" / "r1_add_stars.py").read_text()
    assert "op.create_table(" in text
    assert "drop_table(" in text
    assert project.tables() == set()
    alembic("upgrade", "head")
    assert project.tables() == {"stars"}
    assert "nothing differs" in alembic("revision", "--autogenerate", "-m", "again")
    assert len(list((project.folder / "versions").glob("*.py"))) == 1
    assert "No new upgrade operations" in alembic("check")
    alembic("downgrade", "base")
    assert project.tables() == set()


def test_plain_alembic_waits_for_the_same_lock(plain: tuple[Plain, Project]) -> None:
    alembic, project = plain
    with_stars(project)
    with project.connection.migrating(LockRequest()):
        said = alembic.program("-x", "lock_timeout=0.1", "upgrade", "head", fails=True)
    assert f"another migration holds the lock: process {os.getpid()} on " in said
    assert "Traceback" not in said


def test_plain_alembic_and_a_password_of_any_characters(postgresql: Project, tmp_path: Path) -> None:
    """002-17: ``%`` is none of Alembic's interpolations."""
    name = f"odd_{os.getpid()}"
    postgresql.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'p%%@:/ s'")
    postgresql.sql("GRANT ALL ON SCHEMA public TO PUBLIC")
    try:
        alembic, project = make_plain(
            postgresql, tmp_path, {**postgresql.entry, "USER": name, "PASSWORD": "p%@:/ s"}
        )
        with_stars(project)
        alembic.program("upgrade", "head")
        assert project.connection.heads() == ("r3",)
        project.db.close()
    finally:
        postgresql.sql(f"DROP OWNED BY {name}")
        postgresql.sql("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        postgresql.sql(f"DROP ROLE {name}")


ASYNC = """
import asyncio
from alembic import command
from alembic.config import Config
async def main():
    command.upgrade(Config("migrations/SQL/alembic.ini"), "head")
asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_asynchronous_url_inside_a_running_loop(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    for sync in make_project(request, tmp_path, kind):
        url = str(sync.connection.engine.url.render_as_string(hide_password=False))
        driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}[kind]
        _, project = make_plain(sync, tmp_path, {"URL": driver + url[url.index(":") :]})
        with_stars(project)
        done = subprocess.run(
            [sys.executable, "-c", ASYNC], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert sync.connection.heads() == ("r3",)
        project.db.close()


def test_the_files_hold_no_secret_and_no_path(postgresql: Project, tmp_path: Path) -> None:
    files = postgresql.connection.files("SQL")
    assert set(files) == {"alembic.ini", "env.py"}
    text = "".join(files.values())
    assert "dbp_entry = SQL\n" in text
    assert str(postgresql.entry["PASSWORD"]) not in text
    assert str(tmp_path) not in text


# -- a process of its own ----------------------------------------------------------------------------------------------


def main(given: str, *arguments: str) -> None:
    """What ``in_process`` runs."""
    folder, entry = json.loads(given)
    options = dict(argument.split("=") for argument in arguments)
    connection: Any = db_plugins.connect(entry)._runner().connection

    def waiting(holder: Holder | None) -> None:
        print("waiting", holder, flush=True)

    with connection.migrating(
        LockRequest(waiting=waiting, timeout=float(options.get("timeout", 60)))
    ) as migration:
        print("begun", flush=True)
        steps = plan(Path(folder), migration.heads(), "heads")
        for step in steps:
            migration.run(step, allow_drop=False)
        if "sleep" in options:
            print("sleeping", flush=True)
            time.sleep(float(options["sleep"]))
    print("done", *[step.revision for step in steps], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
