"""The models that MODELS names are found, and what is in their way is said with its file and line."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from db_plugins.config import load_models, load_settings, make_settings, model_names
from db_plugins.config.resolve import resolve
from db_plugins.errors import ConfigError

MODELS = """
from sqlalchemy import Integer, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase): ...

class Mixin:
    id: Mapped[int] = mapped_column(primary_key=True)

class Star(Mixin, Base):
    __tablename__ = "star"

class Planet(Mixin, Base):
    __tablename__ = "planet"

number = 5
"""
MISSPELT = """from sqlalchemy.orm import DeclarativeBase
class Base(DeclarativeBase): ...

class Star(Base):
    __tablesname__ = "star"
"""
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def plugin(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    project.plugin("fakelite")
    monkeypatch.syspath_prepend(str(project.folder))


@pytest.fixture
def module() -> str:
    """A module's name that no other test uses."""
    return f"made_models_{next(_numbers)}"


def names(models: list[type]) -> list[str]:
    return [each.__name__ for each in models]


def refusal(*models: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_models(models, "MODELS of settings.py")
    assert str(caught.value).startswith("MODELS of settings.py")
    return str(caught.value)


def test_a_module_gives_its_mapped_classes_in_order(project: Any, module: str) -> None:
    project.write(f"{module}.py", MODELS)
    assert names(load_models([module])) == ["Star", "Planet"]
    assert names(load_models([f"{module}:Planet", module])) == ["Planet", "Star"]


def test_imported_classes_and_submodules_count(project: Any, module: str) -> None:
    project.write(
        f"{module}/__init__.py", f"from . import stars\nfrom .more import Planet\nimport json, {module}"
    )
    project.write(f"{module}/stars.py", MODELS)
    project.write(f"{module}/more.py", f"from {module}.stars import Planet")
    assert sorted(names(load_models([module]))) == ["Planet", "Star"]


def test_classes_may_be_given_themselves(project: Any, module: str) -> None:
    project.write(f"{module}.py", MODELS)
    (star,) = load_models([f"{module}:Star"])
    assert load_models([star, star]) == [star]


def test_imperative_mapping_and_sqlmodel(project: Any, module: str) -> None:
    project.write(
        f"{module}.py",
        "import sqlalchemy as sa\nfrom sqlalchemy.orm import registry\nfrom sqlmodel import Field, SQLModel\n"
        "class Old: ...\n"
        "registry().map_imperatively(Old, sa.Table('old', sa.MetaData(), sa.Column('id', sa.Integer, primary_key=True)))\n"
        "class Shape(SQLModel):\n    id: int | None = Field(default=None, primary_key=True)\n"
        f"class Row_{module}(Shape, table=True): ...\n",
    )
    assert names(load_models([module])) == ["Old", f"Row_{module}"]
    assert "add table=True: class Shape(…, table=True)" in refusal(f"{module}:Shape")


@pytest.mark.parametrize(
    ("source", "suffix", "words"),
    [
        (None, "", "and there is no module"),
        ("import no_such_module_x", "", "{file}:1: ModuleNotFoundError: No module named 'no_such_module_x'"),
        ("\nclass A(Base): ...", "", "{file}:2: NameError: name 'Base' is not defined"),
        ("x = 1\nx = (", "", "{file}:2: SyntaxError"),
        (MISSPELT, "", "{file}:4: InvalidRequestError"),
        ("x = 1", "", "has no mapped class; name the module that defines the models"),
        (MODELS, ":Sta", "has no 'Sta'; did you mean 'Star'?"),
        (MODELS, ":number", "int is not a mapped class"),
        (MODELS, ":Mixin", "Mixin is not a mapped class; give it a __tablename__"),
        ("from sqlmodel import SQLModel\nclass Note(SQLModel): ...", "",
         "has no mapped class; Note is one without a table; add table=True: class Note(…, table=True)"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded(
    project: Any, module: str, source: str | None, suffix: str, words: str
) -> None:
    file = project.folder / f"{module}.py"
    if source is not None:
        project.write(f"{module}.py", source)
    message = refusal(module + suffix)
    assert words.format(file=file) in message
    assert module in message or "mapped class" in message


def test_a_failing_import_is_chained(project: Any, module: str) -> None:
    project.write(f"{module}.py", "raise RuntimeError('x')")
    with pytest.raises(ConfigError) as caught:
        load_models([module])
    assert isinstance(caught.value.__cause__, RuntimeError)


# -- where the names come from


def test_the_entrys_models_come_before_those_of_the_file(project: Any) -> None:
    entries = {
        "a": {"ENGINE": "fakelite", "DB_NAME": "x", "MODELS": ["own"]},
        "b": {"ENGINE": "fakelite", "DB_NAME": "x"},
    }
    file = load_settings({"DB_CONFIG": entries, "MODELS": ["all"]})
    assert model_names(file, make_settings("a", entries["a"])) == (["own"], "MODELS of entry 'a'")
    assert model_names(file, make_settings("b", entries["b"])) == (["all"], "MODELS of the settings given")


def test_without_models_the_module_models_here(project: Any) -> None:
    file = load_settings({"DB_CONFIG": {"a": {}}})
    assert model_names(file)[0] == []
    written = project.write("models.py", "")
    assert model_names(file) == (["models"], f"the module models in {project.folder}")
    written.chmod(0o666)
    with pytest.raises(ConfigError, match="can be written by everybody"):
        model_names(file)


# -- what connect uses


def test_a_target_is_a_name_a_url_a_dict_or_nothing(project: Any, module: str) -> None:
    project.write(f"{module}.py", MODELS)
    project.write(
        "settings.py",
        f"DB_CONFIG = {{'Main': {{'ENGINE': 'fakelite', 'DB_NAME': 'x'}}}}\nMODELS = [{module!r}]",
    )
    for target, name in (
        (None, "Main"),
        ("MAIN", "Main"),
        ("fakelite:///x", "default"),
        ({"URL": "fakelite://"}, "default"),
    ):
        settings, load = resolve(target)
        assert settings.name == name
        assert names(list(load())) == (["Star", "Planet"] if name == "Main" else [])
    _, load = resolve("fakelite:///x", models=[f"{module}:Star"])
    assert names(list(load())) == ["Star"]
    _, load = resolve("fakelite:///x", settings=project.folder)
    assert names(list(load())) == ["Star", "Planet"]


def test_nothing_is_imported_before_models_are_asked_for(project: Any) -> None:
    settings, load = resolve({"ENGINE": "fakelite", "DB_NAME": "x", "MODELS": ["no_such_module_y"]})
    assert settings.models == ("no_such_module_y",)
    with pytest.raises(ConfigError, match="no module 'no_such_module_y'"):
        load()


@pytest.mark.parametrize(
    ("target", "words"),
    [({"DB_CONFIG": {}}, "takes one entry"), (5, "the type int"), ("nothing", "no settings were found")],
)
def test_a_target_that_is_none(project: Any, target: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        resolve(target)
