"""docs/requirements.md lists every row with the tests that name it, and every row has one."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from scripts import script

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return script("docs/generate_requirements.py")


def test_every_row_is_named_by_a_test_and_every_id_is_a_row(generator: ModuleType) -> None:
    assert generator.problems() == []


def test_the_page_is_current(generator: ModuleType) -> None:
    assert generator.FILE.read_text(encoding="utf-8") == generator.text(), (
        "run: python docs/generate_requirements.py"
    )


def test_rows_are_in_order_and_each_is_there_once(generator: ModuleType) -> None:
    ids = [row.id for row in generator.rows()]
    assert len(set(ids)) == len(ids)
    assert {row.document for row in generator.rows()} == set(generator.DOCUMENTS)
    for row in generator.rows():
        assert row.asked, row.id
        assert row.exactly, row.id
        assert row.check, row.id


SOURCE = '''
"""Of a module nothing is taken: 000-11."""
TABLE = ["000-12"]
# 000-13: above
@pytest.mark.parametrize("x", ["000-14"])
def test_one(x):
    """000-15, 001-E16."""
    assert TABLE  # 000-17

def helper():
    """000-18"""

class TestAll:
    """000-19."""
    async def test_two(self):
        """all-E11."""
'''


def test_a_row_is_named_in_docstrings_comments_parameters_and_tables(generator: ModuleType) -> None:
    found = {test.name: ids for test, ids in generator.tests_of(SOURCE, "tests/test_x.py")}
    assert found == {
        "test_one": {f"000-1{n}" for n in (2, 3, 4, 5, 7)} | {"001-E16"},
        "TestAll": {"000-19"},
        "TestAll::test_two": {"all-E11"},
    }


def test_a_test_of_the_kit_is_shown_with_its_subject(generator: ModuleType) -> None:
    source = '@subject("reads")\nclass Reads:\n    def test_a(self):\n        """002-07."""\n'
    ((test, ids),) = generator.tests_of(source, "db_plugins/testing/kit/reads.py")
    assert (test.cell, ids) == ("kit, *reads* `test_a`", {"002-07"})


def test_what_is_not_there_is_noticed(generator: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    (row, *_) = generator.rows()
    nowhere = generator.Shown("tests/test_x.py", "test_x")
    monkeypatch.setattr(generator, "rows", lambda: [row])
    monkeypatch.setattr(generator, "shown", lambda: {"000-99": [nowhere]})
    no_test, no_row = generator.problems()
    assert no_test.startswith(f"no test names {row.id}: ")
    assert no_row == "tests/test_x.py: test_x names 000-99, which is no row"
