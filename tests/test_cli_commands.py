"""``dbp init``, ``initdb``, ``plugins`` and ``health``, on the in-memory engine alone."""

from __future__ import annotations

import json
import os
import py_compile
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from db_plugins.cli.app import dbp
from db_plugins.config import load_settings

PASSWORD = "s3cr3t@:/p%"

MODELS = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Star(Base):
    __tablename__ = "stars"
    id: Mapped[int] = mapped_column(primary_key=True)

class Planet(Base):
    __tablename__ = "planets"
    id: Mapped[int] = mapped_column(primary_key=True)
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty project, which is the current folder; no variable and no import is left behind."""
    for name in list(os.environ):
        if name.startswith("DB_") or name in ("DATABASE_URL", "DBP_SETTINGS"):
            monkeypatch.delenv(name)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def run(*arguments: str) -> Result:
    done = CliRunner().invoke(dbp, arguments)
    assert "Traceback" not in done.output
    return done


def run_process(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "db_plugins", *arguments], capture_output=True, text=True, timeout=60, **more
    )


def told(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments, "--json").stdout)
    return found


def settle(
    project: Path, config: str, models: str | None = "['models']", source: str | None = MODELS
) -> None:
    """Write settings.py, and models.py unless ``source`` is None."""
    text = f"DB_CONFIG = {config}\n" + (f"MODELS = {models}\n" if models is not None else "")
    (project / "settings.py").write_text(text)
    if source is not None:
        (project / "models.py").write_text(source)


# -- init --------------------------------------------------------------------------------------------------------------


def test_init_writes_settings_and_models_that_can_be_read(project: Path) -> None:
    done = run("init", "shop/app")
    folder = project / "shop" / "app"
    assert done.exit_code == 0
    assert "made  shop/app/settings.py\nmade  shop/app/models.py\nnext  cd shop/app\n" in done.stdout
    assert "next  dbp initdb" in done.stdout
    file = load_settings(folder)
    assert (list(file.entries), file.models) == (["default"], ["models"])
    assert file.entries["default"]["DB_NAME"] == str(folder / "app.db")
    for name in ("settings.py", "models.py"):
        text = (folder / name).read_text()
        assert text.endswith("\n")
        assert str(project) not in text
        py_compile.compile(str(folder / name), doraise=True)


def test_init_twice_keeps_what_is_there_and_names_it(project: Path) -> None:
    run("init")
    (project / "settings.py").write_text("# mine\n")
    (project / "models.py").unlink()
    again = told("init")
    assert (again["ok"], again["made"], again["kept"]) == (True, ["models.py"], ["settings.py"])
    assert (project / "settings.py").read_text() == "# mine\n"
    third = run("init")
    assert third.exit_code == 0
    assert "kept  settings.py  (was there already)\nkept  models.py" in third.stdout


def test_init_hides_no_package_of_models_behind_a_module(project: Path) -> None:
    (project / "models").mkdir()
    (project / "models" / "__init__.py").touch()
    assert told("init")["kept"] == ["models/__init__.py"]
    assert not (project / "models.py").exists()


@pytest.mark.skipif(os.name == "nt", reason="symbolic links and permissions")
def test_init_writes_through_no_link(project: Path) -> None:
    (project / "settings.py").symlink_to(project / "elsewhere")
    assert "settings.py" in told("init")["kept"]
    assert not (project / "elsewhere").exists()


@pytest.mark.skipif(os.name == "nt", reason="symbolic links and permissions")
def test_init_writes_files_that_others_may_not_change_whatever_the_umask(project: Path) -> None:
    before = os.umask(0)
    try:
        run("init", "open")
    finally:
        os.umask(before)
    for name in ("settings.py", "models.py"):
        assert (project / "open" / name).stat().st_mode & 0o022 == 0


def test_init_where_a_file_is_in_the_way(project: Path) -> None:
    (project / "taken").touch()
    done = run("init", "taken")
    assert done.exit_code == 1
    assert done.stderr == "error: File exists: taken\n"


# -- initdb ------------------------------------------------------------------------------------------------------------


def test_initdb_says_what_was_made_on_each_entry(project: Path) -> None:
    settle(project, "{'A': {'ENGINE': 'memory'}, 'memory': {}}")
    done = run("initdb")
    assert done.exit_code == 0, done.output
    assert (
        done.stdout == "A (memory, memory): made Star, Planet\nmemory (memory, memory): made Star, Planet\n"
    )
    found = told("initdb")
    assert found["ok"] is True
    assert [(e["name"], e["ok"], e["made"], e["existing"]) for e in found["entries"]] == [
        ("A", True, ["Star", "Planet"], []),
        ("memory", True, ["Star", "Planet"], []),
    ]


def test_initdb_on_one_entry_leaves_the_plugins_of_others_alone(project: Path) -> None:
    settle(project, "{'A': {'ENGINE': 'memory'}, 'B': {'ENGINE': 'nobodys'}}")
    assert run("initdb", "--database", "A").exit_code == 0


def test_initdb_does_the_other_entries_and_reports_every_bad_one(project: Path) -> None:
    settle(
        project,
        "{'X': {'ENGINE': 'memry'}, 'A': {'ENGINE': 'memory'}, "
        f"'Y': {{'ENGINE': 'memory', 'PORT': 'abc', 'HOTS': 'h', 'PASSWORD': {PASSWORD!r}}}}}",
    )
    done = run("initdb")
    assert done.exit_code == 1
    assert done.stdout.startswith("A (memory, ")
    assert "error: X: " in done.stderr
    assert "did you mean 'memory'?" in done.stderr
    assert "error: Y: the settings are not valid" in done.stderr
    assert "\n  - entry 'Y': HOTS is unknown; did you mean 'HOST'?\n" in done.stderr
    assert "\n  - entry 'Y': PORT is the text 'abc'" in done.stderr
    found = told("initdb")
    assert found["ok"] is False
    assert found["error"] == "2 of 3 entries failed: X, Y"
    assert [entry["ok"] for entry in found["entries"]] == [False, True, False]
    assert len(found["entries"][2]["problems"]) == 2
    assert "s3cr3t" not in done.output + str(found)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1\ndef broken(\n", "models.py:2: SyntaxError"),
        ("import sys\nimport not_installed_at_all\n", "models.py:2: ModuleNotFoundError"),
        ("\n\nclass Star(Nope):\n    pass\n", "models.py:3: NameError"),
        ("\nraise SystemExit(0)\n", "models.py:2: SystemExit"),
    ],
)
def test_models_that_cannot_be_loaded_are_named_with_file_and_line(
    project: Path, source: str, said: str
) -> None:
    """000-E3: file and line, exit code 1."""
    settle(project, "{'A': {'ENGINE': 'memory'}, 'B': {'ENGINE': 'memory'}}", source=source)
    done = run("initdb")
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr
    assert done.stderr.count("error: ") == 1
    found = told("initdb")
    assert (found["ok"], found["type"]) == (False, "ConfigError")
    assert "entries" not in found


def test_models_of_one_entry_that_cannot_be_loaded_keep_every_entry_untouched(project: Path) -> None:
    settle(project, "{'A': {'ENGINE': 'memory'}, 'B': {'ENGINE': 'memory', 'MODELS': ['gone']}}")
    done = run("initdb")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "names the module 'gone'" in done.stderr


def test_without_models_there_is_nothing_to_make(project: Path) -> None:
    settle(project, "{'A': {'ENGINE': 'memory'}}", models=None, source=None)
    done = run("initdb")
    assert done.exit_code == 1
    assert "error: no models are known for 'A'\nhint: name them in the settings" in done.stderr


def test_the_module_models_is_used_where_none_is_named_and_said_once(project: Path) -> None:
    settle(project, "{'A': {'ENGINE': 'memory'}, 'B': {'ENGINE': 'memory'}}", models=None)
    done = run("initdb")
    assert done.exit_code == 0
    assert done.stderr.count("note: without MODELS the models are those of the module models in") == 1
    assert len(told("initdb")["notes"]) == 1


# -- settings that are not there or wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["initdb", "health"])
def test_without_settings_every_command_says_what_to_do(command: str, project: Path) -> None:
    """002-13: exit code 1, and settings.py is named."""
    done = run(command)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "settings.py" in done.stderr
    assert "dbp init" in done.stderr
    assert told(command)["type"] == "ConfigError"
    assert sorted(each.name for each in project.iterdir()) == ["pyproject.toml"]


@pytest.mark.parametrize("command", ["initdb", "health"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("DB_CONFIG: {'A': {'ENGINE': 'memory'}}", "you wrote `DB_CONFIG:`; use `DB_CONFIG =`"),
        ("DB_CONFG = {}", "has no DB_CONFIG"),
        ("DB_CONFIG = {'A': {'ENGINE': 'memory'}", "settings.py:1: SyntaxError"),
        ("DB_CONFIG = {}", "DB_CONFIG is empty"),
        ("import nothing_there", "settings.py:1: ModuleNotFoundError"),
    ],
)
def test_broken_settings_are_one_error(project: Path, command: str, text: str, said: str) -> None:
    """002-E1: ``DB_CONFIG:`` is told from a name that is not there."""
    (project / "settings.py").write_text(text)
    done = run(command)
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr
    assert done.stderr.count("error: ") == 1


def test_a_partial_set_of_variables_names_the_missing_ones(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_DRIVER", "memory")
    monkeypatch.setenv("DB_HOST", "db")
    monkeypatch.setenv("DB_PORT", "abc")
    done = run("initdb")
    assert done.exit_code == 1
    for name in ("DB_USERNAME is missing", "DB_PASSWORD is missing", "DB_DATABASE is missing", "DB_PORT is"):
        assert f"\n  - {name}" in done.stderr


def test_an_entry_that_is_not_there_is_named_with_those_that_are(project: Path) -> None:
    settle(project, "{'archive': {'ENGINE': 'memory'}, 'stars': {'ENGINE': 'memory'}}")
    done = run("health", "--database", "archiv")
    assert done.exit_code == 1
    assert "has no entry 'archiv'" in done.stderr
    assert "did you mean 'archive'?" in done.stderr


def test_settings_that_are_not_there(project: Path) -> None:
    (project / "empty").mkdir()
    for path in ("nowhere.py", "empty"):
        done = run("--settings", path, "health")
        assert done.exit_code == 1
        assert path in done.stderr


# -- health ------------------------------------------------------------------------------------------------------------


def test_health_shows_each_entry_and_fails_if_models_are_missing(project: Path) -> None:
    settle(project, "{'A': {'ENGINE': 'memory'}}")
    done = run("health")
    assert done.exit_code == 1
    assert "A: bad\n  engine    memory " in done.stdout
    assert "missing   Star, Planet" in done.stdout
    assert "error: A: missing models: Star, Planet\nhint: run `dbp initdb`\n" in done.stderr
    (entry,) = told("health")["entries"]
    assert (entry["ok"], entry["models"], entry["missing"]) == (False, [], ["Star", "Planet"])
    assert isinstance(entry["latency_ms"], float)


def test_health_without_models_says_whether_the_database_is_there(project: Path) -> None:
    settle(project, "{'A': {'ENGINE': 'memory'}}", models=None, source=None)
    done = run("health")
    assert (done.exit_code, "A: ok" in done.stdout) == (0, True)


def test_health_with_broken_models_of_one_entry_still_shows_the_other(project: Path) -> None:
    settle(
        project,
        "{'A': {'ENGINE': 'memory', 'MODELS': ['gone']}, 'B': {'ENGINE': 'memory', 'MODELS': ['gone']}, "
        "'C': {'ENGINE': 'memory', 'MODELS': []}}",
    )
    found = told("health")
    assert [entry["ok"] for entry in found["entries"]] == [False, False, True]
    assert found["entries"][0]["error"] == found["entries"][1]["error"]


# -- plugins -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def plugins(project: Path) -> Any:
    """Install distributions for a subprocess: ``plugins("name", {"engine": "module"}, module=source)``."""
    folder = project / "plugins"

    def install(distribution: str, entries: dict[str, str], **modules: str) -> dict[str, Any]:
        info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {module}\n" for name, module in entries.items())
        (info / "entry_points.txt").write_text(f"[db_plugins]\n{lines}")
        for name, source in modules.items():
            (folder / f"{name}.py").write_text(source)
        return {"env": {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])}}

    return install


def test_plugins_lists_names_modules_and_distributions_without_importing(plugins: Any) -> None:
    more = plugins("my-duck", {"duckdb": "my_duck"}, my_duck="raise RuntimeError('imported')")
    done = run_process("plugins", **more)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["name", "module", "distribution", "version"]
    assert ["duckdb", "my_duck", "my-duck", "1.0"] in lines
    assert any(line[:3] == ["memory", "db_plugins.testing.memory", "db-plugins-core"] for line in lines)


def test_plugins_marks_a_name_that_two_distributions_have(plugins: Any) -> None:
    plugins("my-duck", {"duckdb": "my_duck"})
    more = plugins("your-duck", {"DuckDB": "your_duck"})
    done = run_process("plugins", **more)
    assert done.returncode == 0
    assert "CONFLICT: your-duck 1.0 (your_duck) answers to 'duckdb' too" in done.stdout
    found = json.loads(run_process("plugins", "--json", **more).stdout)
    conflicts = {row["distribution"]: row["conflicts_with"] for row in found["plugins"]}
    assert conflicts["my-duck"] == ["your-duck 1.0 (your_duck)"]
    assert conflicts["db-plugins-core"] == []


def test_plugins_load_shows_capabilities_and_what_is_broken(plugins: Any) -> None:
    more = plugins(
        "my-duck", {"duckdb": "my_duck", "quack": "my_duck"}, my_duck="import not_installed_at_all"
    )
    done = run_process("plugins", "--load", **more)
    assert done.returncode == 1
    assert done.stdout.count("BROKEN: plugin 'duckdb' (my-duck 1.0) cannot be imported") >= 1
    assert "TRANSACTIONS" in next(line for line in done.stdout.splitlines() if line.startswith("memory"))
    assert "Traceback" not in done.stderr
    found = json.loads(run_process("plugins", "--load", "--json", **more).stdout)
    rows = {row["name"]: row for row in found["plugins"]}
    assert found["ok"] is False
    assert found["error"] == "cannot be loaded: duckdb, quack"
    assert "not_installed_at_all" in rows["duckdb"]["error"]
    assert "WRITE" in rows["memory"]["capabilities"]


def test_plugins_needs_no_settings(project: Path) -> None:
    (project / "settings.py").write_text("broken(")
    assert run("plugins").exit_code == 0
