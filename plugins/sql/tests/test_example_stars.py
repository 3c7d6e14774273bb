"""A real file of data goes in and out: examples/stars on every engine, with the same counts, pages and spot values."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import db_plugins

ROOT = Path(__file__).parents[3]


@pytest.fixture
def stars(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module examples.stars.load."""
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("examples.stars.load")


@pytest.fixture(params=["sqlite", "postgresql", "mariadb", "mongodb"])
def entry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """An entry of an empty database of each engine."""
    if request.param == "sqlite":
        yield {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "stars.db")}
    else:
        server = request.getfixturevalue("shared_server")(request.param)
        name, _url = server.new_database()
        yield server.entry(name)
        server.drop_database(name)


def test_catalogue_is_what_its_script_writes(stars: ModuleType) -> None:
    script = importlib.import_module("examples.stars.make_catalogue")
    assert script.CATALOGUE.read_bytes() == script.make_catalogue().encode()
    assert script.CATALOGUE.stat().st_size < 400_000


def test_catalogue_is_the_same_on_every_engine(stars: ModuleType, entry: dict[str, Any]) -> None:
    model = stars.Star
    with (
        db_plugins.connect(entry, models=[model]) as db,
        db_plugins.connect({"ENGINE": "memory"}, models=[model]) as reference,
    ):
        for each in (reference, db):
            each.create_all()
            assert stars.load(each) == 3000
        assert stars.report(db).splitlines() == stars.report(reference).splitlines()


def test_catalogue_is_counted_as_the_file_has_it(stars: ModuleType, entry: dict[str, Any]) -> None:
    with (ROOT / "examples/stars/catalogue.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    by_eye = sum(1 for line in lines if line["magnitude"] and float(line["magnitude"]) <= 6)
    red_or_blue = sum(1 for line in lines if line["spectral_class"] in "MO")
    with db_plugins.connect(entry, models=[stars.Star]) as db:
        db.create_all()
        stars.load(db)
        counted = dict(line.rsplit(maxsplit=1) for line in stars.counts(db) if line.startswith("  "))
        assert int(counted["  all"]) == len(lines)
        assert int(counted["  seen by eye"]) == by_eye
        assert int(counted["  red or blue"]) == red_or_blue

        brightest = (
            db.query(stars.Star).filter(stars.Star.magnitude.is_not(None)).order_by("magnitude").first()
        )
        line = min((line for line in lines if line["magnitude"]), key=lambda line: float(line["magnitude"]))
        assert (brightest.number, brightest.remark or "") == (int(line["number"]), line["remark"])
