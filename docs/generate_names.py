"""Writes docs/names.md: every public name, what it is, and the page that explains it; ``--check`` only compares.

    python docs/generate_names.py

`PUBLIC` says which modules are public. What a name is, its docstring says. A name of a module that is taught and that no
page of the module has in code is an error.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

DOCS = Path(__file__).parent
FILE = DOCS / "names.md"


@dataclass(frozen=True)
class Public:
    """A module whose `__all__` a program or a plugin may import, and where its names are explained.

    `is_taught`: each name must be on one of the pages. Of the others some are for plugins alone, which read them here.
    """

    name: str
    pages: tuple[str, ...]
    is_taught: bool = True


#: Every other module is the library's own business, and may change.
PUBLIC = (
    Public(
        "db_plugins",
        (
            "index.md",
            "queries.md",
            "async.md",
            "models.md",
            "watching.md",
            "engines.md",
            "plugins.md",
            "writing.md",
        ),
    ),
    Public("db_plugins.diagram", ("cli.md",), is_taught=False),
    Public("db_plugins.transfer", ("moving-data.md",)),
    Public("db_plugins.errors", ("errors.md",)),
    Public("db_plugins.models", ("models.md", "plugins.md"), is_taught=False),
    Public("db_plugins.sqlmodel", ("models.md",)),
    Public("db_plugins.fastapi", ("fastapi.md",)),
    Public("db_plugins.migrations", ("migrations.md", "plugins.md"), is_taught=False),
    Public("db_plugins.testing", ("testing.md", "plugins.md")),
    Public("db_plugins.testing.plugin", ("testing.md",)),
    Public("db_plugins.engine", ("plugins.md", "index.md", "queries.md", "writing.md")),
    Public("db_plugins.nodes", ("plugins.md",), is_taught=False),
    Public("db_plugins.config", ("settings.md", "plugins.md"), is_taught=False),
    Public("db_plugins.cli", ("cli.md",), is_taught=False),
    Public("db_plugins_sql", ("engines.md",)),
    Public("db_plugins_mongo", ("mongo.md", "migrations.md")),
)

#: Names whose value cannot hold a docstring, or has somebody else's.
SAID = {
    "db_plugins.__version__": "The version of `db-plugins-core`, a text.",
    "db_plugins.and_": "SQLAlchemy's: all of these conditions.",
    "db_plugins.or_": "SQLAlchemy's: any of these conditions.",
    "db_plugins.not_": "SQLAlchemy's: the opposite of a condition; NULL stays out.",
    "db_plugins.func": "SQLAlchemy's, for `aggregate`: `func.count()`, `func.max(Star.magnitude)`.",
    "db_plugins.hookimpl": "Marks the function by which a plugin names its Engine.",
    "db_plugins.fastapi.health_router": "A router with `GET /health`.",
    "db_plugins.config.kinds": "The module of the kinds.",
    "db_plugins.nodes.Node": "Any of the nodes that are conditions.",
    "db_plugins.nodes.Operand": "Any of the nodes that have a value: Column, Value, JsonPath, Arithmetic.",
    "db_plugins.nodes.ARITHMETIC": "The operators of Arithmetic.",
    "db_plugins.nodes.COMPARISONS": "The operators of Compare, each with its opposite.",
    "db_plugins.transfer.OnProgress": "The type of `on_progress`: a function that takes a Progress.",
    "db_plugins_mongo.op": "What a revision of MongoDB is written with: collections, indexes, validators, fields.",
}

INTRODUCTION = """\
# Public names

What a program or a plugin may import, and what each name is. A module that is not here is the library's own, and may change
without a word. Written by `generate_names.py` from the docstrings, so `help(…)` says the same, and more.
"""


def text() -> str:
    """The page. Raises SystemExit for a name that nothing explains."""
    silent = [f"docs: {name} is explained nowhere" for module in PUBLIC for name in silent_of(module)]
    if silent:
        raise SystemExit("\n".join(silent))
    return "\n".join([INTRODUCTION, *(section(module) for module in PUBLIC)])


def section(public: Public) -> str:
    module = importlib.import_module(public.name)
    rows = [
        f"| `{name}` | {meaning(module, name)} | {link(explained_in(name, public.pages))} |"
        for name in module.__all__
    ]
    opening = plain(inspect.getdoc(module) or "")
    return "\n".join(
        [f"## `{public.name}`", "", opening, "", "| name | is | see |", "|---|---|---|", *rows, ""]
    )


def silent_of(public: Public) -> list[str]:
    """The names of a module that have no docstring, or must be on a page and are not."""
    module = importlib.import_module(public.name)
    return [
        f"{public.name}.{name}"
        for name in module.__all__
        if not meaning(module, name) or (public.is_taught and explained_in(name, public.pages) is None)
    ]


def meaning(module: ModuleType, name: str) -> str:
    """The first paragraph of what is said of a name; empty if nothing is."""
    said = SAID.get(f"{module.__name__}.{name}")
    return said or plain(docstring(getattr(module, name)))


def docstring(value: Any) -> str:
    if hasattr(value, "accepts") and not isinstance(value, type):
        return f"A kind of setting that takes {value.accepts}."
    if isinstance(value, type):
        return inspect.cleandoc(value.__dict__.get("__doc__") or "")
    return inspect.getdoc(value) or ""


def plain(said: str) -> str:
    """The first paragraph as one line of Markdown, which may stand in a table."""
    paragraph = " ".join(said.partition("\n\n")[0].split()).removesuffix("::").strip()
    return paragraph.replace("``", "`").replace("|", "\\|")


def explained_in(name: str, pages: tuple[str, ...]) -> str | None:
    """The first of the pages that has the name in code."""
    return next((page for page in pages if re.search(rf"(?<!\w){name}(?!\w)", code_of(page))), None)


@cache
def code_of(page: str) -> str:
    """All that stands between backticks on a page, and its blocks of Python."""
    said = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", said, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```$", "", said, flags=re.MULTILINE | re.DOTALL)
    return "\n".join([*re.findall(r"`([^`\n]+)`", prose), *blocks])


def link(page: str | None) -> str:
    return f"[{page.removesuffix('.md')}]({page})" if page else ""


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    new = text()
    if "--check" in arguments:
        stale = not FILE.exists() or FILE.read_text(encoding="utf-8") != new
        if stale:
            print("docs/names.md is not current; run: python docs/generate_names.py", file=sys.stderr)
        return int(stale)
    FILE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
