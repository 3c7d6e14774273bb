"""What holds for the whole of the core: it names no engine plugin, loads nothing early, exports what it says."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import db_plugins
from db_plugins import errors

CORE = Path(db_plugins.__file__).parent
MODULES = sorted(
    m.name for m in pkgutil.walk_packages([str(CORE)], "db_plugins.") if not m.name.endswith("__main__")
)


def test_the_core_names_no_first_party_plugin() -> None:
    for path in CORE.rglob("*.py"):
        text = path.read_text()
        assert "db_plugins_sql" not in text, path
        assert "db_plugins_mongo" not in text, path


def test_the_core_imports_no_driver() -> None:
    drivers = {"pymongo", "bson", "psycopg", "pymysql", "sqlite3", "alembic", "mongomock"}
    for path in CORE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            allowed = (
                {"alembic"} if path.parent == CORE / "migrations" else set()
            )  # its ScriptDirectory, no database
            assert not {n.partition(".")[0] for n in names} & (drivers - allowed), path


@pytest.mark.parametrize(
    "code", ["import db_plugins", "import db_plugins; db_plugins.connect", "import db_plugins.cli"]
)
def test_importing_loads_no_engine_and_no_sqlalchemy(code: str) -> None:
    """000-01: the core is imported without what only engines need."""
    loaded = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    heavy = {"sqlalchemy", "pluggy", "pymongo", "alembic", "asyncio", "db_plugins_sql", "db_plugins_mongo"}
    assert not heavy & {name.partition(".")[0] for name in loaded}


def test_every_module_exports_what_it_says_and_sorted() -> None:
    for name in MODULES:
        module = importlib.import_module(name)
        names = getattr(module, "__all__", None)
        if names is None:
            continue
        assert names == sorted(names, key=_order), name
        for public in names:
            assert hasattr(module, public), f"{name}.{public}"


def _order(name: str) -> tuple[int, str]:
    # ruff's order of __all__: constants, classes, the rest.
    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    return kind, name


def test_every_error_is_exported_and_drawn_in_the_tree() -> None:
    classes = {
        n for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, errors.DbPluginsError)
    }
    assert classes == set(errors.__all__)
    for name in classes:
        assert name in (errors.__doc__ or "")
        assert getattr(db_plugins, name) is getattr(errors, name)


def test_errors_survive_pickling_with_their_evidence() -> None:
    import pickle

    error = errors.DuplicateKeyError("a fact", attributes=("name",), engine="memory", hint="a remedy")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.attributes, again.engine) == ("a fact; a remedy", ("name",), "memory")


def test_the_standard_kin_of_errors() -> None:
    assert issubclass(errors.InvalidValueError, ValueError)
    assert issubclass(errors.NotFoundError, LookupError)
    assert issubclass(errors.EngineTimeoutError, TimeoutError)
    retryable = {n for n in errors.__all__ if getattr(getattr(errors, n), "retryable", False)}
    assert retryable == {"ConflictError", "ServerUnreachableError", "PoolTimeoutError"}


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NopeError"):
        db_plugins.NopeError
    assert set(db_plugins.__all__) <= set(dir(db_plugins))
