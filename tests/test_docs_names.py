"""Nothing that has a name is left out of the docs: names of modules, settings, capabilities, errors, verbs, hooks, fixtures,
options, variables, loggers, extras, engines and targets. Commands and their options: test_cli_docs.py.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest
from scripts import script

import db_plugins
from db_plugins import Capability, Database, errors, hookspecs, registry
from db_plugins.config import Settings, keys_of
from db_plugins.config.environment import SIX
from db_plugins.testing import plugin as fixtures
from db_plugins.watching import OPERATIONS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
CODE = [
    file
    for folder in (
        "db_plugins",
        "plugins/sql/db_plugins_sql",
        "plugins/mongo/db_plugins_mongo",
        "tools",
        "benchmarks",
    )
    for file in sorted((ROOT / folder).rglob("*.py"))
]
DISTRIBUTIONS = [ROOT / "setup.cfg", *sorted(ROOT.glob("plugins/*/setup.cfg"))]


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def everything() -> str:
    """All pages as one text."""
    return "\n".join(each.read_text(encoding="utf-8") for each in PAGES)


@pytest.fixture(scope="module")
def sources() -> str:
    """All that is not a test, as one text."""
    return "\n".join(each.read_text(encoding="utf-8") for each in CODE)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return script("docs/generate_names.py")


# -- public names ------------------------------------------------------------------------------------------------------


def test_every_public_name_is_explained(generator: ModuleType) -> None:
    assert [name for module in generator.PUBLIC for name in generator.silent_of(module)] == []
    assert generator.text() == page("names.md"), "run: python docs/generate_names.py"


def test_a_name_that_no_page_has_is_noticed(generator: ModuleType) -> None:
    nowhere = generator.Public("db_plugins.errors", ("benchmarks.md",))
    assert "db_plugins.errors.NotLoadedError" in generator.silent_of(nowhere)


def test_pages_import_public_modules_only(generator: ModuleType, everything: str) -> None:
    public = {module.name for module in generator.PUBLIC}
    imported = set(re.findall(r"^\s*from (db_plugins[\w.]*) import (?!\()", everything, re.MULTILINE))
    assert imported - public - OF_THE_DESIGN == set()


#: What pages import to show how it works inside, and say so.
OF_THE_DESIGN = {"db_plugins.evaluation", "db_plugins.migrations.reading", "db_plugins.testing.memory"}


# -- of the contract ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capability", list(Capability))
def test_every_capability_is_explained(capability: Capability) -> None:
    assert f"| `{capability}` |" in page("engines.md")


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_explained(name: str) -> None:
    assert f"`{name}`" in page("errors.md")


def test_tree_of_errors_is_that_of_the_code() -> None:
    tree = page("errors.md").partition("```text\n")[2].partition("```")[0]
    assert sorted(re.findall(r"(?<!\(a )\b\w+Error\b", tree)) == sorted(errors.__all__)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_is_explained(operation: str) -> None:
    assert f"| `{operation}` |" in page("watching.md")


@pytest.mark.parametrize("name", [name for name in hookspecs.__all__ if name.startswith("dbp_")])
def test_every_hook_is_explained(name: str) -> None:
    assert f"`{name}" in page("plugins.md")


@pytest.mark.parametrize("member", [n for n in vars(Database) if not n.startswith("_")])
def test_every_member_of_database_is_explained(member: str) -> None:
    assert re.search(rf"`{member}\b", page("index.md"))


@pytest.mark.parametrize("verb", [n for n in dir(db_plugins.BaseQuery) if not n.startswith("_")])
def test_every_verb_is_explained(verb: str) -> None:
    assert any(f"`{verb}(" in page(name) for name in ("queries.md", "writing.md"))


# -- of settings and the environment -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for key in keys_of(Settings).values() for name in key.names])
def test_every_setting_is_explained(name: str) -> None:
    assert f"`{name}`" in page("settings.md")


def test_every_setting_of_an_engine_is_explained(everything: str) -> None:
    names = {
        name
        for entry in registry.plugins()
        for key in keys_of(registry.load_engine(entry.name).settings_class).values()
        for name in key.names
    }
    assert missing(names, "`{}`", everything) == []


def test_every_environment_variable_is_explained(everything: str, sources: str) -> None:
    read = {*SIX, "DATABASE_URL", *re.findall(r"DBP_[A-Z_]+[A-Z](?!\w)", sources)}
    assert {"DBP_SETTINGS", "DBP_TEST_POSTGRESQL_URL"} < read
    assert missing(read, "`{}", everything) == []


def test_every_logger_is_explained(everything: str, sources: str) -> None:
    loggers = set(re.findall(r"""getLogger\(["'](db_plugins[\w.]*)["']\)""", sources))
    assert {"db_plugins", "db_plugins.slow"} < loggers
    assert missing(loggers, "| `{}` |", page("watching.md")) == []


# -- of tests and distributions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", fixtures.__all__)
def test_every_fixture_is_explained(name: str) -> None:
    assert f"`{name}`" in page("testing.md")


def test_every_option_of_pytest_is_explained() -> None:
    options: set[str] = set()
    group = mock.Mock(addoption=lambda name, **more: options.add(name))
    fixtures.pytest_addoption(mock.Mock(getgroup=lambda name: group))
    assert "--dbp-report" in options
    assert missing(options, "`{}", page("testing.md")) == []


@pytest.mark.parametrize("file", DISTRIBUTIONS, ids=lambda file: file.parent.name)
def test_every_extra_is_explained(file: Path, everything: str) -> None:
    config = configparser.ConfigParser()
    config.read(file, encoding="utf-8")
    shown = {extra for group in re.findall(r"\[([a-z,\-]+)\]", everything) for extra in group.split(",")}
    assert set(config["options.extras_require"]) - shown == set()


@pytest.mark.parametrize("file", DISTRIBUTIONS, ids=lambda file: file.parent.name)
def test_every_engine_is_explained(file: Path) -> None:
    config = configparser.ConfigParser()
    config.read(file, encoding="utf-8")
    names = re.findall(r"^(\w+) =", config["options.entry_points"]["db_plugins"], re.MULTILINE)
    assert missing(names, "`{}`", page("settings.md")) == []


def test_every_target_is_explained() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"test", "docs"} < set(targets)
    assert missing(targets, "`make {}", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")) == []


def missing(names: Iterable[str], form: str, text: str) -> list[str]:
    """The names that a text does not hold in this form, whole."""
    return [
        name for name in sorted(names) if not re.search(re.escape(form.format(name)) + r"(?![\w.-])", text)
    ]
