"""Plugins are found by their metadata, loaded by name, and cannot harm one another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from db_plugins import registry
from db_plugins.errors import EngineNotFoundError, PluginConflictError, PluginLoadError
from db_plugins.registry import PluginEntry, Registry, find, known_names, load_engine, plugins, read_entries


def test_names_are_read_from_metadata_without_importing(project: Any) -> None:
    """002-02: by its entry point."""
    module = project.plugin("fakelite", "Fakes", source="raise RuntimeError('imported')")
    assert known_names() == ("fakelite", "Fakes")
    assert plugins()[0] == PluginEntry("fakelite", module, "fake-plugin", "1.0")
    assert module not in sys.modules


def test_a_name_is_found_whatever_its_case(project: Any) -> None:
    project.plugin("fakelite")
    entry = find("FAKELITE")
    assert entry is not None
    assert entry.name == "fakelite"
    assert find("other") is None


def test_only_the_plugin_that_is_asked_for_is_imported(project: Any) -> None:
    wanted = project.plugin("fakelite")
    other = project.plugin("other", distribution="other-plugin", source="raise RuntimeError")
    assert load_engine("fakelite").__name__ == "FakeEngine"
    assert wanted in sys.modules
    assert other not in sys.modules


def test_all_names_of_a_plugin_give_one_class(project: Any) -> None:
    project.plugin("fakelite", "fakeserver")
    assert load_engine("fakelite") is load_engine("FakeServer")


def test_an_entry_may_name_an_object_in_a_module(project: Any) -> None:
    source = (
        project.fake_plugin + "\nclass Holder:\n    dbp_register_engine = staticmethod(dbp_register_engine)\n"
    )
    (project.plugins / "fake_holder.py").write_text(source, encoding="utf-8")
    project.distribution("holder", {"fakelite": "fake_holder:Holder"})
    assert load_engine("fakelite").__name__ == "FakeEngine"


def test_an_unknown_name_gives_the_nearest_and_all_known(project: Any) -> None:
    project.plugin("fakelite", "fakeserver")
    with pytest.raises(EngineNotFoundError) as caught:
        load_engine("fakelitte")
    assert "no installed plugin answers to 'fakelitte'; did you mean 'fakelite'" in str(caught.value)
    assert "answer to: fakelite, fakeserver" in str(caught.value)
    assert "dbp plugins" in str(caught.value)


def test_without_any_plugin_the_message_says_so(project: Any) -> None:
    """000-01: with the core alone the error says that there is none."""
    with pytest.raises(EngineNotFoundError, match="no engine plugin is installed"):
        load_engine("fakelite")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import no_such_driver", "the module 'no_such_driver' is not installed"),
        ("raise RuntimeError('broken')", "cannot be imported: RuntimeError: broken"),
        ("def f(:", "cannot be imported: SyntaxError"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit"),
        ("", "has no hook dbp_register_engine"),
        ("def dbp_register_engine(): ...", "has an unmarked function dbp_register_engine; write"),
        (
            "from db_plugins.hookspecs import hookimpl\n@hookimpl\ndef dbp_regster_engine(): ...",
            "implements the unknown hook dbp_regster_engine; did you mean 'dbp_register_engine'?",
        ),
        (
            "from db_plugins.hookspecs import hookimpl\n@hookimpl\ndef dbp_register_engine(nope): ...",
            "has a hook of the wrong shape",
        ),
        (
            "from db_plugins.hookspecs import hookimpl\n@hookimpl\ndef dbp_register_engine(): raise KeyError(1)",
            "dbp_register_engine raised KeyError",
        ),
        (
            "from db_plugins.hookspecs import hookimpl\n@hookimpl\ndef dbp_register_engine(): ...",
            "returned None, not a subclass of db_plugins.engine.Engine",
        ),
        (
            "from db_plugins.hookspecs import hookimpl\n@hookimpl\ndef dbp_register_engine(): return int",
            "returned <class 'int'>, not a subclass",
        ),
    ],
)
def test_a_broken_plugin_is_named_and_harms_no_other(project: Any, source: str, words: str) -> None:
    project.plugin("broken", source=source, distribution="broken-plugin")
    project.plugin("fakelite")
    for _ in range(2):  # the second time from memory
        with pytest.raises(PluginLoadError) as caught:
            load_engine("broken")
        assert "plugin 'broken' (broken-plugin 1.0)" in str(caught.value)
        assert words in str(caught.value)
    assert load_engine("fakelite").__name__ == "FakeEngine"


def test_a_failing_import_is_chained_and_runs_once(project: Any) -> None:
    project.plugin(
        "broken", source="import sys\nsys.modules.setdefault('runs', []).append(1)\nraise OSError('x')"
    )
    try:
        for _ in range(3):
            with pytest.raises(PluginLoadError) as caught:
                load_engine("broken")
            assert isinstance(caught.value.__cause__, OSError)
        assert len(sys.modules["runs"]) == 1  # type: ignore[arg-type]
    finally:
        sys.modules.pop("runs", None)


def test_a_missing_attribute_of_an_entry_is_a_load_error(project: Any) -> None:
    project.plugin("fakelite")
    project.distribution("odd", {"odd": "json:nothing", "bad": "not a module !"})
    for name in ("odd", "bad"):
        with pytest.raises(PluginLoadError, match=r"odd 1\.0"):
            load_engine(name)


def test_two_distributions_of_one_name_conflict_for_that_name_alone(project: Any) -> None:
    project.plugin("fakelite", "fakes")
    project.plugin("FakeLite", distribution="twin-plugin")
    for ask in (find, load_engine):
        with pytest.raises(PluginConflictError) as caught:
            ask("fakelite")
        assert str(caught.value) == (
            "fake-plugin 1.0 and twin-plugin 1.0 both answer to 'fakelite'; uninstall one of them"
        )
    assert load_engine("fakes").__name__ == "FakeEngine"


def test_a_distribution_that_is_listed_twice_is_no_conflict(project: Any) -> None:
    module = project.plugin("fakelite", distribution="Fake.Plugin")
    project.distribution("fake-plugin", {"fakelite": module}, version="1.1", kind="egg-info")
    assert len(plugins()) == 1
    assert load_engine("fakelite").__name__ == "FakeEngine"


def test_one_distribution_with_two_modules_for_a_name_conflicts(project: Any) -> None:
    project.distribution("torn", {"fakelite": "one", "FAKELITE": "two"})
    with pytest.raises(PluginConflictError, match=r"torn 1.0 answers to 'fakelite' twice, with one and two"):
        find("fakelite")


def test_unreadable_metadata_leaves_out_that_distribution_alone(project: Any) -> None:
    project.plugin("fakelite")
    (project.distribution("garbled", {}) / "entry_points.txt").write_text("[db_plugins]\nno equals sign\n")
    assert known_names() == ("fakelite",)


def test_the_environment_is_read_from_sys_path(project: Any) -> None:
    project.plugin("fakelite")
    assert "fakelite" in [entry.name for entry in read_entries()]


def settle(*folders: Path) -> None:
    """As if nothing had been installed for an hour."""
    for folder in folders:
        then = folder.stat().st_mtime_ns - 3600 * 10**9
        os.utime(folder, ns=(then, then))


def test_metadata_are_parsed_again_only_when_a_folder_has_changed(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[Any] = []
    parse = registry._parse_entries
    monkeypatch.setattr(registry, "_parse_entries", lambda path: parsed.append(path) or parse(path))
    project.plugin("fakelite")
    settle(project.plugins)
    for _ in range(3):
        assert known_names() == ("fakelite",)
    assert len(parsed) == 1
    project.distribution("other", {"other": "json"})
    for _ in range(2):  # too young to be kept: the installer may not have written all
        assert known_names() == ("fakelite", "other")
    assert len(parsed) == 3
    shutil.rmtree(project.plugins / "other-1.0.dist-info")
    settle(project.plugins)
    assert known_names() == ("fakelite",)


def test_a_folder_that_changes_all_the_time_has_no_other_parsed_with_it(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project's own folder is on the path, and is written to."""
    parsed: list[str] = []
    parse = registry._parse_entries
    monkeypatch.setattr(registry, "_parse_entries", lambda place: parsed.append(place) or parse(place))
    project.plugin("fakelite")
    settle(project.plugins)
    path = [str(tmp_path), str(project.plugins)]
    for number in range(3):
        (tmp_path / f"{number}.txt").touch()
        assert [each.name for each in read_entries(path)] == ["fakelite"]
    assert parsed == [str(tmp_path), str(project.plugins), str(tmp_path), str(tmp_path)]


def test_what_is_kept_is_of_that_path_alone(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.plugin("fakelite")
    settle(project.plugins, tmp_path)
    for _ in range(2):
        assert [e.name for e in read_entries([str(project.plugins)])] == ["fakelite"]
        assert read_entries([str(tmp_path), str(tmp_path / "nowhere")]) == []
    monkeypatch.chdir(project.plugins)
    assert [e.name for e in read_entries([""])] == ["fakelite"]
    monkeypatch.chdir(tmp_path)
    assert read_entries([""]) == []
    read_entries([str(project.plugins)]).clear()
    assert [e.name for e in read_entries([str(project.plugins)])] == ["fakelite"]


def test_threads_get_one_class_from_one_import(project: Any) -> None:
    project.plugin("fakelite", source="import time; time.sleep(0.05)\n" + project.fake_plugin)
    registry = Registry(lambda: read_entries([str(project.plugins)]))
    barrier, classes = threading.Barrier(8), []

    def ask() -> None:
        barrier.wait()
        classes.append(registry.load_engine("fakelite"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(classes) == 8
    assert len(set(classes)) == 1


@pytest.mark.parametrize("module", ["db_plugins.registry", "db_plugins.config"])
def test_importing_stays_light(module: str) -> None:
    heavy = ("sqlalchemy", "pymongo", "alembic", "pluggy", "pydantic")
    code = f"import {module}, sys; print(*[m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")
