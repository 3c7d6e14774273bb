"""The requirements of seed 002 about queries, by their ids: one interface, pages, and a program that knows no engine.

Where a row and the contract disagree, the contract holds, and the docstring says so.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from seeds import (
    EVERYWHERE,
    Alerce,
    Connect,
    connect,
    entry,
    make_entry,
    on,
)

import db_plugins

__all__ = ["connect", "entry"]

ROOT = Path(__file__).parents[1]


@on(*EVERYWHERE)
def test_get_gives_one_or_none(connect: Connect) -> None:
    """002-01, 002-07: the object of this key, or None, the same on every engine."""
    objects = connect(Alerce).query(Alerce)
    objects.insert({"oid": "ZTF1", "ndet": 5})
    assert objects.get("ZTF1").ndet == 5
    assert objects.get("ZTF2") is None


PAGE_FIELDS = {"items", "page", "per_page", "total", "pages", "has_prev", "has_next", "prev_num", "next_num"}


@on(*EVERYWHERE)
def test_pages_have_size_total_and_neighbours(connect: Connect) -> None:
    """002-08: 25 rows in pages of ten are 10, 10, 5; the page after the last is empty. 002-09: the same fields on
    MongoDB."""
    objects = connect(Alerce).query(Alerce)
    objects.bulk_insert({"oid": f"ZTF{n:02}", "ndet": n % 3} for n in range(25))
    pages = [objects.order_by("ndet").paginate(page=n, per_page=10) for n in (1, 2, 3, 4)]
    assert [len(page.items) for page in pages] == [10, 10, 5, 0]
    assert {(page.total, page.pages, page.per_page) for page in pages} == {(25, 3, 10)}
    assert [(page.has_prev, page.has_next) for page in pages[:3]] == [
        (False, True),
        (True, True),
        (True, False),
    ]
    assert [(page.prev_num, page.next_num) for page in pages[:3]] == [(None, 2), (1, 3), (2, None)]
    assert [o.oid for o in pages[0].next()] == [o.oid for o in pages[1]]
    assert pages[2].next() is None
    for page in pages:
        assert all(hasattr(page, name) for name in PAGE_FIELDS)


@on(*EVERYWHERE)
def test_pages_are_of_one_kind_on_every_engine(connect: Connect) -> None:
    """002-09: the same object with the same fields as on SQL."""
    page = connect(Alerce).query(Alerce).paginate()
    assert type(page) is db_plugins.Pagination
    public = {name for name in dir(page) if not name.startswith("_")}
    assert public == PAGE_FIELDS | {"prev", "next"}


@on(*EVERYWHERE)
def test_pages_without_an_order_hold_every_row_once_after_an_update(connect: Connect) -> None:
    """002-10: the union of the pages is all rows, no row twice; an UPDATE moves rows on PostgreSQL."""
    objects = connect(Alerce).query(Alerce)
    objects.bulk_insert({"oid": f"ZTF{n:02}", "ndet": 0} for n in range(25))
    objects.filter(Alerce.oid < "ZTF07").update({"ndet": 1})
    for query in (objects, objects.order_by("firstmjd")):
        seen = [o.oid for n in (1, 2, 3) for o in query.paginate(page=n, per_page=10)]
        assert seen == [f"ZTF{n:02}" for n in range(25)]


PROGRAM = """\
import db_plugins
from db_plugins import func, or_

from models import Alerce

with db_plugins.connect() as db:
    db.create_all()
    objects = db.query(Alerce)
    objects.bulk_insert({"oid": f"ZTF{n}", "ndet": n * 7 % 5, "firstmjd": n / 4} for n in range(9))
    print(objects.filter(or_(Alerce.ndet > 3, Alerce.oid == "ZTF0")).update({"firstmjd": None}))
    print(objects.filter(ndet=0).delete())
    print([(o.oid, o.ndet, o.firstmjd) for o in objects.order_by("-ndet", "firstmjd").all()])
    print(objects.aggregate(n=func.count(), most=func.max(Alerce.ndet), mean=func.avg(Alerce.firstmjd)))
    print(objects.get("ZTF0"), objects.filter(Alerce.oid.like("%1")).one().ndet)
"""


def test_only_the_settings_change_with_the_engine(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """002-11: the same program, three DB_CONFIGs, the same output."""
    printed = {}
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "app.py").write_text(PROGRAM)
    (tmp_path / "models.py").write_text("from seeds import Alerce\n\n__all__ = ['Alerce']\n")
    for engine in ("sqlite", "postgresql", "mongodb"):
        config = make_entry(engine, request, tmp_path)
        (tmp_path / "settings.py").write_text(f"DB_CONFIG = {{'default': {config!r}}}\nMODELS = ['models']\n")
        variables = {k: v for k, v in os.environ.items() if not k.startswith(("DB_", "DBP_S", "DATABASE_"))}
        paths = os.pathsep.join([str(ROOT / "tests"), *(p for p in sys.path if p)])
        done = subprocess.run(
            [sys.executable, "app.py"],
            cwd=tmp_path,
            env={**variables, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        printed[engine] = done.stdout
    assert printed["sqlite"].startswith("3\n2\n[")
    assert printed["sqlite"] == printed["postgresql"] == printed["mongodb"]


def test_a_program_imports_neither_sqlalchemy_nor_a_driver() -> None:
    """002-12: the program has only imports of db_plugins and of its models (which are SQLAlchemy's, as the contract says)."""
    for source in (PROGRAM, (ROOT / "examples/demo/program.py").read_text()):
        imported = {
            name.partition(".")[0]
            for node in ast.walk(ast.parse(source))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
        }
        assert imported - set(sys.stdlib_module_names) == {"db_plugins", "models"}
