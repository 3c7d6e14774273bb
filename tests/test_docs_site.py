"""The site of the docs leads where the pages in the repository lead. `make docs` builds it, and finds links to nothing."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from scripts import script

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    return script("docs/site_hooks.py")


@pytest.mark.parametrize(
    ("page", "target", "place"),
    [
        ("index.md", "queries.md", "queries.md"),
        ("index.md", "queries.md#pages", "queries.md#pages"),
        ("index.md", "../README.md", "source/README.md"),
        ("index.md", "../db_plugins/engine.py", "source/db_plugins/engine.py.md"),
        ("index.md", "../db_plugins/query", "source/db_plugins/query/index.md"),
        ("index.md", "../examples/", "source/examples/README.md"),
        ("index.md", "support.json", "source/docs/support.json.md"),
        ("source/README.md", "docs/queries.md#pages", "../queries.md#pages"),
        ("source/README.md", "LICENSE", "LICENSE.md"),
        ("source/examples/README.md", "api", "api/index.md"),
        ("source/examples/README.md", "../docs/fastapi.md", "../../fastapi.md"),
        ("source/db_plugins/query/index.md", "pages.py", "pages.py.md"),
    ],
)
def test_a_link_leads_to_the_page_of_its_file(hooks: ModuleType, page: str, target: str, place: str) -> None:
    assert hooks.rewritten(f"see [`it`]({target}).", page) == f"see [`it`]({place})."


@pytest.mark.parametrize(
    "target", ["https://example.org", "nothing.md", "../../elsewhere", "#here", "mailto:a@b.c"]
)
def test_any_other_link_is_left_to_mkdocs(hooks: ModuleType, target: str) -> None:
    assert hooks.rewritten(f"[it]({target})", "index.md") == f"[it]({target})"


def test_code_is_left_alone(hooks: ModuleType) -> None:
    text = "`[a](../README.md)`\n\n```text\n[a](../README.md)\n```\n\n~~~\n[a](../README.md)\n~~~\n"
    assert hooks.rewritten(text, "index.md") == text
    assert list(hooks.links_of(text, "index.md")) == []


def test_pages_that_are_linked_to_are_found_with_all_that_they_link_to(hooks: ModuleType) -> None:
    found = hooks.linked_pages({"index.md": "[README](../README.md) [query](../db_plugins/query)"})
    assert {"source/README.md", "source/CHANGELOG.md", "source/examples/api/index.md"} < set(found)
    assert "source/db_plugins/query/pages.py.md" in found
    assert "queries.md" not in found


def test_code_is_shown_whole(hooks: ModuleType) -> None:
    file = ROOT / "docs/generate_includes.py"
    assert f"\n````python\n{file.read_text(encoding='utf-8')}````\n" in hooks.text_of(
        file
    )  # it has ``` inside


def test_a_folder_says_what_is_in_it(hooks: ModuleType) -> None:
    said = hooks.text_of(ROOT / "examples/api")
    assert "| [models.py](models.py) | " in said
