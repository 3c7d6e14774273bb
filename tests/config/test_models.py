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
    """004-E1: a name that was not imported is told with file and line."""
    file = project.folder / f"{module}.py"
    if source is not None:
        project.write(f"{module}.py", source)
    message = refusal(module + suffix)
    assert words.format(file=file) in message
    assert module in message or "mapped class" in message


BASE = "import enum\nfrom sqlalchemy import Column, Integer\nfrom sqlalchemy.orm import declarative_base\nBase = declarative_base()\n"


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        (f"{BASE}x = relationship", "write `from sqlalchemy.orm import relationship`"),
        (f"{BASE}x = JSON", "write `from sqlalchemy import JSON`"),
        (f"{BASE}x = asyncio", "write `import asyncio`"),
        (f"{BASE}x = datetime.now", "write `from datetime import datetime`"),
        (f"{BASE}x = beside", "write `import beside`"),
        (f"{BASE}x = hash_password", None),
        (f"{BASE}class A(Base):\n    id = Column(Integer, primary_key=True)", "give A a __tablename__"),
        (f"{BASE}class A(Base):\n    __table_name__ = 'a'", "A has __table_name__: write __tablename__"),
        (f"{BASE}class S(enum.Enum):\n    a = 1\nColumn(S)", "and Column(Enum(S)) beside `class S(enum.Enum)`"),
        (f"{BASE}enum.Enum(Base)", "a column takes the Enum of sqlalchemy"),
        ("from db_plugins import ConfigError\nraise ConfigError('a fact', hint='a remedy')", "a remedy"),
        ("raise TypeError('x')", None),
    ],
)  # fmt: skip
def test_what_a_beginner_forgets_has_a_remedy(
    project: Any, module: str, source: str, hint: str | None
) -> None:
    """001-E1, 001-E2, and 004-E1 where the name is one of SQLAlchemy's or Python's."""
    project.write("beside.py", "")
    project.write(f"{module}.py", source)
    with pytest.raises(ConfigError) as caught:
        load_models([module])
    if hint is None:
        assert caught.value.hint is None
    else:
        assert (caught.value.hint or "").endswith(hint) or (caught.value.hint or "").startswith(hint)
        assert str(caught.value).count(hint) == 1, "said once"


def test_a_failing_import_is_chained(project: Any, module: str) -> None:
    project.write(f"{module}.py", "raise RuntimeError('x')")
    with pytest.raises(ConfigError) as caught:
        load_models([module])
    assert isinstance(caught.value.__cause__, RuntimeError)


DECLARATIVE = """from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
class Base(DeclarativeBase): ...
"""
SQLMODEL = """from sqlalchemy import MetaData
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel
class Base(SQLModel, registry=registry()):
    metadata = MetaData()
"""
DECLARED = """
class {name}(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
"""
TABLED = """
class {name}(Base, table=True):
    __tablename__ = "user"
    id: int | None = Field(default=None, primary_key=True)
"""


@pytest.mark.filterwarnings("ignore:This declarative base already contains a class")
@pytest.mark.parametrize("name", ["User", "Person"])
@pytest.mark.parametrize(("head", "body"), [(DECLARATIVE, DECLARED), (SQLMODEL, TABLED)])
def test_a_table_that_is_defined_twice_is_told_with_both_places(
    project: Any, module: str, head: str, body: str, name: str
) -> None:
    """004-E2: in one file or in two; without the hint to ``extend_existing``, which would mix the two classes."""
    first = head.count("\n") + 2
    one, two = project.folder / f"{module}.py", project.folder / f"{module}_two.py"
    project.write(one.name, head + body.format(name="User") + body.format(name=name))
    message = refusal(module)
    assert f"{one}:{first + body.count(chr(10))}: the table 'user' is defined again" in message
    assert f"the first is that of User, {one}:{first}; keep one of the two" in message
    assert "extend_existing" not in message

    project.write(one.name, head + body.format(name="User"))
    imported = "Field, " if "Field" in head else "Mapped, mapped_column, "
    project.write(two.name, f"from {module} import {imported}Base\n" + body.format(name=name))
    message = refusal(two.stem)
    assert f"{two}:3: the table 'user' is defined again; the first is that of User, {one}:{first};" in message


def test_other_errors_of_sqlalchemy_stay_as_they_are(project: Any, module: str) -> None:
    project.write(
        f"{module}.py", "from sqlalchemy.exc import InvalidRequestError\nraise InvalidRequestError('mine')"
    )
    assert f"{module}.py:2: InvalidRequestError: mine" in refusal(module)


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
