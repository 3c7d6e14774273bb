"""What to write instead, for the mistakes that beginners make in a module of models: ``advice(error)``.

    NameError: name 'Enum' is not defined       write `from sqlalchemy import Enum`
    a class with __tablesname__                 User has __tablesname__: write __tablename__

Where nothing is known it is None: the error itself, with its file and line, says what there is to say.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path

from ..errors import DbPluginsError
from .failure import place_of

__all__ = ["advice"]

#: Where a name is looked for that was not imported, in this order.
SOURCES = ("sqlalchemy", "sqlalchemy.orm", "sqlmodel")
#: What they call by the same name as Python does.
OF_PYTHON = {"datetime": "from datetime import datetime"}
ENUM = "a column takes the Enum of sqlalchemy: `from sqlalchemy import Enum`, and Column(Enum({})) beside `class {}(enum.Enum)`"


def advice(error: BaseException) -> str | None:
    """The remedy for this error, which was raised while the user's module was imported; ``None`` if there is none."""
    return next(filter(None, (rule(error) for rule in RULES)), None)


def _its_own(error: BaseException) -> str | None:
    return error.hint if isinstance(error, DbPluginsError) else None


def _missing_import(error: BaseException) -> str | None:
    if not isinstance(error, NameError) or not (name := error.name):
        return None
    found = OF_PYTHON.get(name) or next(_imports(name, place_of(error)), None)
    return f"write `{found}`" if found else None


def _imports(name: str, place: tuple[Path, int] | None) -> Iterator[str]:
    if place is not None:
        folder = place[0].parent
        if (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file():
            yield f"from . import {name}" if (folder / "__init__.py").is_file() else f"import {name}"
    if name in sys.stdlib_module_names:
        yield f"import {name}"
    for source in SOURCES:
        if source in sys.modules and hasattr(importlib.import_module(source), name):
            yield f"from {source} import {name}"


def _wrong_enum(error: BaseException) -> str | None:
    # 3.11 says "… is not a valid Enum", from 3.11.4 on "has no members defined", 3.12 "has no members; specify `names=()` if …".
    said = str(error)
    if said.startswith("<enum 'Enum'> has no members") or said.endswith(" is not a valid Enum"):
        return ENUM.format("Status", "Status")
    given = re.search(r"expected, got <enum '(\w+)'>", said)
    return ENUM.format(given[1], given[1]) if given else None


def _misspelt_table_name(error: BaseException) -> str | None:
    place = place_of(error)
    if "does not have a __table__ or __tablename__" not in str(error) or place is None:
        return None
    model = _class_at(*place)
    if model is None:
        return None
    names = [node.id for node in ast.walk(model) if isinstance(node, ast.Name) and node.id.startswith("__")]
    near = get_close_matches("__tablename__", names, n=1, cutoff=0.8)
    return (
        f"{model.name} has {near[0]}: write __tablename__" if near else f"give {model.name} a __tablename__"
    )


def _class_at(file: Path, line: int) -> ast.ClassDef | None:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return None
    found = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return next((node for node in found if node.lineno <= line <= (node.end_lineno or line)), None)


def _no_package(error: BaseException) -> str | None:
    if not isinstance(error, ImportError) or "no known parent package" not in str(error):
        return None
    place = place_of(error)
    folder = place[0].parent.name if place else "app"
    return (
        f"`from .` works in a package: move settings.py one folder up, and name the module as {folder}.models"
    )


RULES: tuple[Callable[[BaseException], str | None], ...] = (
    _its_own,
    _missing_import,
    _wrong_enum,
    _misspelt_table_name,
    _no_package,
)
