"""The fixture ``db`` and the kit's guards, each in a pytest run of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import db_plugins
from db_plugins import ConfigError, EngineError
from db_plugins.testing.databases import isolated_database
from db_plugins.testing.support import summarize

MODELS = """
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Star(Base):
    __tablename__ = "stars"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(20), unique=True)
"""
#: Each test commits, and each must begin with an empty database.
TESTS = """
import pytest
from models import Star

@pytest.mark.parametrize("n", range(3))
def test_every_test_begins_with_no_rows(db, n):
    assert db.query(Star).count() == 0
    star = db.query(Star).insert({"name": "Vega"})
    assert star.id == 1
    if "TRANSACTIONS" in db.capabilities:
        with db.transaction() as tx:
            tx.query(Star).insert({"name": "Deneb"})
    print("on", db.name, db.engine)

def test_one_that_drops_the_table(db):
    assert db.query(Star).count() == 0
    db.query(Star).insert({"name": "Vega"})
    db.drop_all(force=True)

def test_a_session_that_commits_and_nests(db):
    assert db.query(Star).count() == 0
    if "SESSIONS" in db.capabilities:
        with db.session(commit=False) as s:
            s.add(Star(name="Vega"))
            with s.begin_nested():
                s.add(Star(name="Deneb"))
            s.commit()
"""
#: The same for coroutines, which run without any other plugin, and for plain tests that have a loop of their own.
AWAITED_TESTS = """
import asyncio
import pytest
from models import Star

@pytest.mark.parametrize("n", range(2))
async def test_every_coroutine_begins_with_no_rows(async_db, n):
    assert await async_db.query(Star).count() == 0
    star = await async_db.query(Star).insert({"name": "Vega"})
    assert star.id == 1
    if "TRANSACTIONS" in async_db.capabilities:
        async with async_db.transaction() as tx:
            await tx.query(Star).insert({"name": "Deneb"})
    async for star in async_db.query(Star).stream():
        break

async def test_tasks_that_are_the_first_to_use_it(async_db):
    counted = await asyncio.gather(*[async_db.query(Star).count() for _ in range(10)])
    assert counted == [0] * 10
    await async_db.query(Star).insert({"name": "Vega"})
    await async_db.drop_all(force=True)

def test_a_loop_of_its_own(async_db):
    async def main():
        assert await async_db.query(Star).count() == 0
        if "SESSIONS" in async_db.capabilities:
            async with async_db.session(commit=False) as s:
                s.add(Star(name="Vega"))
                async with s.begin_nested():
                    s.add(Star(name="Deneb"))
                await s.commit()
        else:
            await async_db.query(Star).insert({"name": "Vega"})
    asyncio.run(main())
"""


class Base(DeclarativeBase):
    pass


class Star(Base):
    """The same model, to look into the entry's own database from here."""

    __tablename__ = "stars"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(20), unique=True)


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables for runs that keep what Python compiles, also where this run is told to write none.

    Else each run of the kit writes its assertions anew, which takes 2.6 s of its 4.
    """
    if not sys.dont_write_bytecode:
        return {}
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # one for all workers
    return {"PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


@pytest.fixture
def run(tmp_path: Path, bytecode: dict[str, str]) -> Run:
    """``run({"test_x.py": "…"}, "-q")``: pytest in a new folder."""

    def run_(files: dict[str, str], *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        project = tmp_path / "project"
        project.mkdir(exist_ok=True)
        (project / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
        for name, text in files.items():
            (project / name).parent.mkdir(exist_ok=True)
            (project / name).write_text(text)
        kept = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("DB_", "DBP_", "DATABASE_URL", "PYTEST", "COV_"))
            and k != "PYTHONDONTWRITEBYTECODE"
        }
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
            cwd=project,
            env={**kept, **bytecode, **variables, "PYTHONPATH": str(project)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run_


def settings_of(entry: dict[str, Any], **others: Any) -> str:
    """A settings.py with this entry and the model."""
    return f"DB_CONFIG = { ({'default': entry, **others})!r}\nMODELS = ['models']\n"


CONFTEST = 'pytest_plugins = ["db_plugins.testing"]\n'


@pytest.fixture(params=["memory", "sqlite", "postgresql", "mariadb", "mongodb", "mongomock"])
def entry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """An entry whose own database exists; it is gone afterwards."""
    kind = request.param
    if kind == "memory":
        yield {"ENGINE": "memory"}
    elif kind == "sqlite":
        yield {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "own.db")}
    elif kind == "mongomock":
        pytest.importorskip("mongomock_ng")
        yield {"ENGINE": "mongomock", "DB_NAME": "own"}
    else:
        server = request.getfixturevalue("shared_server")(kind)
        name, _url = server.new_database()
        yield dict(server.entry(name))
        server.drop_database(name)


def test_every_test_has_an_empty_database_of_its_own(run: Run, entry: dict[str, Any], tmp_path: Path) -> None:
    """003-27, 003-28, 003-29: after commits, savepoints and a dropped table, in any order, in xdist's workers; and the
    entry's own is never touched. Nothing is left in the folder, and nothing is warned of."""
    files = {
        "conftest.py": CONFTEST,
        "models.py": MODELS,
        "test_stars.py": TESTS,
        "test_stars_again.py": TESTS,  # in this order: commits, a drop, commits, a drop
        "test_stars_awaited.py": AWAITED_TESTS,
        "settings.py": settings_of(entry),
    }
    is_outside = entry["ENGINE"] not in ("memory", "mongomock")  # of the process that runs the tests
    if is_outside:
        with db_plugins.connect(entry, models=[Star]) as own:
            own.create_all()
            own.query(Star).insert({"name": "mine"})
    workers = ("-n2",) if find_spec("xdist") else ()
    project, made = tmp_path / "project", {"pytest.ini", "__pycache__"}
    for options in (("-p", "no:randomly"), workers):
        done = run(files, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "14 passed" in done.stdout
        assert {p.name for p in project.iterdir()} - made == set(files)
    if is_outside:
        with db_plugins.connect(entry, models=[Star]) as own:
            assert [s.name for s in own.query(Star).all()] == ["mine"]


def test_a_test_database_is_gone_afterwards_and_so_is_one_that_a_killed_run_left(
    entry: dict[str, Any],
) -> None:
    if entry["ENGINE"] not in ("postgresql", "mariadb", "mongodb"):
        pytest.skip("it has no list of databases")
    left_over = isolated_database(entry, models=[Star], worker="killed")
    left = left_over.__enter__()
    left.query(Star).insert({"name": "left"})
    name = f"{entry['DB_NAME']}_test_killed"
    with isolated_database(entry, models=[Star], worker="killed") as again:
        assert again.query(Star).count() == 0
    gone = db_plugins.connect({**entry, "DB_NAME": name}, models=[Star])
    with suppress(EngineError):  # MongoDB makes databases when they are first written to
        assert gone.ping().missing == ("Star",)
    gone.close()
    left.close()


def test_without_settings_it_is_memory_and_models_may_be_given(run: Run) -> None:
    conftest = (
        CONFTEST + "import pytest, models\n@pytest.fixture\ndef db_models():\n    return [models.Star]\n"
    )
    test = "from models import Star\ndef test_it(db):\n    assert db.engine == 'memory'\n    assert db.ping().models == ('Star',)\n"
    done = run({"conftest.py": conftest, "models.py": MODELS, "test_it.py": test})
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(Path(done.args[0]).parent.glob("app.db"))


def test_the_entry_is_chosen_by_an_option_or_by_overriding_db_config(run: Run, tmp_path: Path) -> None:
    sqlite = {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "own.db")}
    files = {
        "conftest.py": CONFTEST,
        "models.py": MODELS,
        "settings.py": settings_of({"ENGINE": "memory"}, other=sqlite),
        "test_it.py": "import os\ndef test_it(db):\n    assert db.engine == os.environ['EXPECTED']\n    assert db.name == os.environ['NAME']\n",
    }
    assert run(files, EXPECTED="memory", NAME="default").returncode == 0
    assert run(files, "--dbp-database=other", EXPECTED="sqlite", NAME="other").returncode == 0
    unknown = run(files, "--dbp-database=othr", EXPECTED="sqlite", NAME="other")
    assert unknown.returncode == 1
    assert "did you mean 'other'" in unknown.stdout
    files["conftest.py"] += (
        "import pytest\n@pytest.fixture\ndef db_config(tmp_path):\n    return {'ENGINE': 'sqlite', 'DB_NAME': ':memory:'}\n"
    )
    assert run(files, EXPECTED="sqlite", NAME="default").returncode == 0
    assert not (tmp_path / "own.db").exists()


#: The fixture ``db`` is made of each entry of the settings.
OF_EACH = (
    CONFTEST
    + """
import pytest
from settings import DB_CONFIG

@pytest.fixture(params=[name for name in DB_CONFIG if name != "scratch"])
def db_config(request):
    return request.param
"""
)


def test_test_names_the_database_that_is_used(run: Run, tmp_path: Path) -> None:
    own = str(tmp_path / "own.db")
    others = [str(tmp_path / f"other{n}.db") for n in range(3)]
    tests = ({"ENGINE": "sqlite", "DB_NAME": others[0]}, f"sqlite:///{others[1]}", "scratch")
    entries = {f"e{n}": {"ENGINE": "sqlite", "DB_NAME": own, "TEST": test} for n, test in enumerate(tests)}
    files = {
        "conftest.py": OF_EACH,
        "models.py": MODELS,
        "settings.py": settings_of(
            entries["e0"],
            e1=entries["e1"],
            e2=entries["e2"],
            scratch={"ENGINE": "sqlite", "DB_NAME": others[2]},
        ),
        "test_stars.py": TESTS,
    }
    done = run(files, "-p", "no:randomly")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "15 passed" in done.stdout
    assert all(Path(other).exists() for other in others)
    assert not Path(own).exists()


def test_test_that_names_the_own_database_is_refused(run: Run, tmp_path: Path) -> None:
    own = str(tmp_path / "own.db")
    url, parts = (
        {"ENGINE": "sqlite", "DB_NAME": own, "TEST": test}
        for test in (f"sqlite:///{own}", {"ENGINE": "sqlite", "DB_NAME": own})
    )
    files = {
        "conftest.py": OF_EACH,
        "models.py": MODELS,
        "settings.py": settings_of(url, parts=parts),
        "test_stars.py": TESTS,
    }
    done = run(files)
    assert done.returncode == 1
    assert "10 errors" in done.stdout
    for name in ("default", "parts"):
        assert f"ConfigError: TEST of {name!r} names the entry's own database" in done.stdout
    assert not Path(own).exists()


def test_test_that_names_a_database_with_rows_is_refused_and_the_rows_stay(tmp_path: Path) -> None:
    other = {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "other.db")}
    with db_plugins.connect(other, models=[Star]) as db:
        db.create_all()
        db.query(Star).insert({"name": "mine"})
        entry = {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "own.db"), "TEST": other}
        with pytest.raises(ConfigError, match="not empty"), isolated_database(entry, models=[Star]):
            pytest.fail("the block was entered")
        assert db.query(Star).count() == 1


def test_two_spellings_of_one_place_are_one(tmp_path: Path) -> None:
    server = {"ENGINE": "postgresql", "HOST": "localhost", "USER": "u", "PASSWORD": "p", "DB_NAME": "stars"}
    for test in ("postgresql://u:p@127.0.0.1:5432/stars", {**server, "HOST": "::1", "PORT": 5432}):
        with (
            pytest.raises(ConfigError, match="own database"),
            isolated_database({**server, "TEST": test}, models=[Star]),
        ):
            pytest.fail("the block was entered")


def test_a_plugin_that_makes_no_databases_needs_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from db_plugins.testing import databases

    monkeypatch.setattr(databases, "SupportsDatabases", type("Nobody", (), {}))
    with (
        pytest.raises(ConfigError, match="TEST"),
        isolated_database(f"sqlite:///{tmp_path}/x.db", models=[Star]),
    ):
        pytest.fail("the block was entered")


def test_a_name_that_the_server_would_cut_keeps_its_suffix() -> None:
    from db_plugins.engine import SupportsDatabases

    name = SupportsDatabases.name_for_tests("é" * 60, "test_gw12")
    assert name.endswith("_test_gw12")
    assert len(name.encode()) <= 63


def test_importing_the_package_loads_neither_pytest_nor_sqlalchemy() -> None:
    code = "import db_plugins.testing, sys; print([m for m in ('pytest', 'sqlalchemy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- the kit's guards --------------------------------------------------------------------------------------------------

KIT = """
from db_plugins.testing import PluginConformance

class TestMemory(PluginConformance):
    plugin = "memory"

    def config(self, tmp_path):
        return {"ENGINE": "memory"}
"""
ONLY = "overridden or allowed_failures or 25_rows or limit_0"


def kit_classes(**bodies: str) -> str:
    """A file with a class of the kit for each name, with this in its body."""
    return "".join(KIT.replace("TestMemory", name) + f"\n    {body}\n" for name, body in bodies.items())


def failed_tests(done: subprocess.CompletedProcess[str]) -> set[str]:
    """``Class::test`` of the failures."""
    lines = [line.split() for line in done.stdout.splitlines()]
    return {words[1].partition("::")[2] for words in lines if words[:1] == ["FAILED"]}


def test_a_subclass_that_overrides_or_removes_a_test_fails(run: Run) -> None:
    text = kit_classes(
        TestOverrides="def test_limit_0_gives_nothing(self):\n        pass",
        TestRemoves="test_limit_0_gives_nothing = None",
        TestNeither="",
    )
    done = run({"test_kit.py": text}, "-q", "-k", ONLY)
    assert done.returncode == 1
    assert len(failed_tests(done)) == 2, done.stdout
    for name in ("TestOverrides", "TestRemoves"):
        assert f"{name}.test_limit_0_gives_nothing overrides the kit's" in done.stdout


def test_an_allowed_failure_that_names_no_test_or_gives_no_reason_fails(run: Run) -> None:
    text = kit_classes(
        TestNoTest="allowed_failures = {'test_nope': 'a reason'}",
        TestNoReason="allowed_failures = {'test_limit_0_gives_nothing': ' '}",
        TestNoPrefix="allowed_failures = {'limit_0': 'a reason'}",
        TestRight="allowed_failures = {'test_limit_0_gives_nothing': 'a reason'}",
    )
    done = run({"test_kit.py": text}, "-q", "-k", "allowed_failures")
    assert done.returncode == 1, done.stdout
    failed = failed_tests(done)
    assert {one.partition("::")[0] for one in failed} == {"TestNoTest", "TestNoReason", "TestNoPrefix"}
    assert all("allowed_failures" in one for one in failed)


def test_an_allowed_failure_must_fail(run: Run) -> None:
    given = {"test_limit_0_gives_nothing": "see issue 7"}
    passes = run({"test_kit.py": f"{KIT}\n    allowed_failures = {given!r}\n"}, "-q", "-k", ONLY)
    assert passes.returncode == 1
    assert "XPASS(strict)" in passes.stdout
    broken = KIT.replace('return {"ENGINE": "memory"}', 'return {"ENGINE": "broken"}').replace(
        '"memory"', '"broken"'
    )
    engine = """
from db_plugins import hookimpl
from db_plugins.testing import MemoryEngine

class BrokenEngine(MemoryEngine):
    name = "broken"

    def compile(self, spec):
        if spec.limit == 1:
            raise RuntimeError("broken")
        return super().compile(spec)

@hookimpl
def dbp_register_engine():
    return BrokenEngine
"""
    given = {"test_first_is_by_primary_key_unless_ordered": "see issue 7"}
    files = {
        "test_kit.py": f"{broken}\n    allowed_failures = {given!r}\n",
        "broken_plugin.py": engine,
        "conftest.py": CONFTEST,
        # The project's folder is on the path: there it counts as installed.
        "broken-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n",
        "broken-1.0.dist-info/entry_points.txt": "[db_plugins]\nbroken = broken_plugin\n",
    }
    fails = run(files, "-q", "-k", "first_is_by or limit_0", "--dbp-report=report.json")
    assert fails.returncode == 0, fails.stdout + fails.stderr
    assert "2 allowed failure" in fails.stdout  # one on each face
    assert "see issue 7" in fails.stdout


@pytest.mark.parametrize("options", [(), ("-n2",)])
def test_the_block_and_the_report_say_what_was_proved(
    run: Run, options: tuple[str, ...], tmp_path: Path
) -> None:
    if options:
        pytest.importorskip("xdist")
    done = run(
        {"test_kit.py": KIT, "conftest.py": CONFTEST},
        "-q",
        "--dbp-report=report.json",
        "-k",
        "TestMemory and (reads or limit or serializable or stopped or savepoint)",
        *options,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    block = done.stdout.partition("conformance of engine plugins")[2]
    assert f"TestMemory: memory {db_plugins.__version__}" in block
    assert "proved" in block
    assert "2 refused" in block  # one on each face
    assert "claims        WRITE" in block
    assert "not claimed" in block
    assert "no server to stop and kill" in block
    report = json.loads((tmp_path / "project" / "report.json").read_text())
    (one,) = report["classes"]
    assert one["engine"] == "memory"
    assert "FOREIGN_KEYS" in one["not_claimed"]
    assert one["counts"]["failed"] == 0
    assert {t["outcome"] for t in one["tests"]} == {"proved", "refused", "not run", "not claimed"}
    assert {"reads", "faults"} <= {t["subject"] for t in one["tests"]}
    capabilities = summarize(report)["memory"]["capabilities"]
    assert capabilities["WRITE"] == "proved"
    assert capabilities["SERIALIZABLE"] == "refused"
    assert capabilities["NATIVE_ASYNC"] == "proved"


def test_the_block_is_shown_though_nothing_but_the_class_is_imported(run: Run) -> None:
    done = run({"test_kit.py": KIT}, "-q", "-k", "limit_0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "TestMemory: memory" in done.stdout
