"""Plugins and projects for tests: real metadata in a folder, as an installer leaves it, and nothing of this
machine.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from db_plugins import registry

#: A module with the smallest engine there is, and a settings class with keys of its own.
FAKE_PLUGIN = """
from collections.abc import Iterable
from dataclasses import dataclass
from db_plugins.config import Given, Settings, key, secret, unknown_engine, whole
from db_plugins.engine import Engine
from db_plugins.hookspecs import hookimpl

@dataclass(frozen=True, kw_only=True)
class FakeSettings(Settings):
    threads: int | None = key("THREADS", whole(1, 64))
    token: object = key("TOKEN", secret, aliases=("API_TOKEN",))

    @classmethod
    def check(cls, given: Given) -> Iterable[str]:
        if given.engine not in ("fakelite", "fakeserver", "fakes"):
            yield unknown_engine(given)
        if "url" not in given.attributes:
            yield from given.missing("database")
            if given.engine == "fakeserver":
                yield from given.missing("host", "user", "password")

class FakeEngine(Engine):
    settings_class = FakeSettings
    def compile(self, spec): raise NotImplementedError
    def classify(self, exc): return None
    def connect(self, settings): raise NotImplementedError

@hookimpl
def dbp_register_engine():
    return FakeEngine
"""

_numbers = itertools.count()


class Project:
    """A project's folder, which is the current one, and beside it the only place where plugins are looked
    for.
    """

    def __init__(self, folder: Path, plugins: Path) -> None:
        self.folder = folder
        self.plugins = plugins

    def write(self, name: str, text: str) -> Path:
        """A file of the project."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    #: The source of a plugin that works.
    fake_plugin = FAKE_PLUGIN

    def plugin(self, *names: str, source: str = FAKE_PLUGIN, distribution: str = "fake-plugin") -> str:
        """Install a distribution that answers to these names; returns its module's name."""
        module = f"fake_plugin_{next(_numbers)}"
        (self.plugins / f"{module}.py").write_text(source, encoding="utf-8")
        self.distribution(distribution, dict.fromkeys(names, module))
        return module

    def distribution(
        self, name: str, entries: dict[str, str], *, version: str = "1.0", kind: str = "dist-info"
    ) -> Path:
        """The metadata of a distribution with the entry points ``{name: module}`` of the group
        ``db_plugins``.
        """
        info = self.plugins / f"{name.replace('-', '_')}-{version}.{kind}"
        info.mkdir(parents=True)
        file = "METADATA" if kind == "dist-info" else "PKG-INFO"
        (info / file).write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = "".join(f"{entry} = {module}\n" for entry, module in entries.items())
        (info / "entry_points.txt").write_text(f"[db_plugins]\n{lines}")
        return info


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project without variables and plugins, which leaves no trace."""
    folder, plugins = tmp_path / "project", tmp_path / "plugins"
    for each in (folder, plugins):
        each.mkdir(mode=0o755)
    (folder / "pyproject.toml").touch()
    for name in list(os.environ):
        if name.startswith("DB_") or name in ("DATABASE_URL", "DBP_SETTINGS"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(plugins), *sys.path])
    monkeypatch.setattr(registry._registry, "_read", lambda: registry.read_entries([str(plugins)]))
    yield Project(folder, plugins)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
