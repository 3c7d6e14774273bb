"""Load catalogue.csv into any engine, and print counts, pages and ten spot values.

    python -m examples.stars.load sqlite:///stars.db
    python -m examples.stars.load mongodb://localhost/stars
    python -m examples.stars.load archive                   # an entry of settings.py

The printed text is the same on every engine: a test compares it.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import db_plugins
from db_plugins import Database, DbPluginsError, or_

from .make_catalogue import CATALOGUE
from .models import Star

__all__ = ["load", "read_rows", "report"]


def main(target: str) -> None:
    with db_plugins.connect(target, models=[Star]) as db:
        db.create_all()
        if db.query(Star).exists():
            print(f"{db.engine} holds the catalogue already")
        else:
            print(f"{db.engine}: {load(db)} stars loaded")
        print(report(db))


def load(db: Database) -> int:
    """Store the whole file, all or nothing where the engine has transactions; how many rows."""
    return db.query(Star).bulk_insert(read_rows()).inserted


def read_rows() -> Iterator[dict[str, Any]]:
    """The file's rows as the model takes them, read as they are asked for."""
    with CATALOGUE.open(encoding="utf-8", newline="") as file:
        for cells in csv.DictReader(file):
            row = {name: cell or None for name, cell in cells.items()}
            yield {
                **{name: row[name] for name in ("name", "constellation", "spectral_class", "remark")},
                "number": int(cells["number"]),
                "magnitude": row["magnitude"] and float(cells["magnitude"]),
                "parallax": row["parallax"] and Decimal(cells["parallax"]),
                "right_ascension": float(cells["ra"]),
                "declination": float(cells["dec"]),
                "is_variable": cells["is_variable"] == "true",
                "discovered": dt.date.fromisoformat(cells["discovered"]),
                "observed_at": dt.datetime.fromisoformat(cells["observed_at"]),
                "colours": row["colours"] and json.loads(cells["colours"]),
            }


def report(db: Database) -> str:
    """Counts, pages and ten spot values."""
    return "\n".join([*counts(db), *pages(db), *spot_values(db)])


def counts(db: Database) -> Iterator[str]:
    stars = db.query(Star)
    modern = dt.date(1990, 1, 1)
    yield "counts"
    for what, query in {
        "all": stars,
        "seen by eye": stars.filter(Star.magnitude <= 6),
        "not seen by eye": stars.filter(~(Star.magnitude <= 6)),
        "magnitude not known": stars.filter(magnitude=None),
        "red or blue": stars.filter(Star.spectral_class.in_(["M", "O"])),
        "variable in Lyra": stars.filter(Star.is_variable, constellation="Lyr"),
        "near": stars.filter(Star.parallax >= Decimal("100.000")),
        "old or in the south": stars.filter(or_(Star.discovered < modern, Star.declination < -60)),
        "with a remark": stars.filter(Star.remark != None),  # noqa: E711
        "east of its declination": stars.filter(Star.right_ascension > Star.declination * 2 + 180),
    }.items():
        yield f"  {what:<24}{query.count():>5}"


def pages(db: Database) -> Iterator[str]:
    by_brightness = db.query(Star).filter(constellation="Ori").order_by("magnitude")
    for number in (1, 2, 8):
        page = by_brightness.paginate(number, per_page=8)
        yield f"Orion, page {page.page} of {page.pages}, {page.total} stars"
        yield "  " + " ".join(f"{star.number}:{star.magnitude}" for star in page)
    latest = db.query(Star).order_by("-observed_at", Star.name.desc()).paginate(per_page=5, count=False)
    yield "observed last" + (", and more" if latest.has_next else "")
    yield from (f"  {star.name} {star.observed_at:%Y-%m-%d %H:%M:%S %Z}" for star in latest)


def spot_values(db: Database) -> Iterator[str]:
    numbers = [row["number"] for row in db.query(Star).order_by("number").to_dicts("number")]
    remarked = db.query(Star).filter(Star.remark.is_not(None)).limit(4).to_dicts("number")
    chosen = [*numbers[:: len(numbers) // 6][:6], *(row["number"] for row in remarked)]
    found = db.query(Star).get_many(chosen)
    yield "ten stars"
    for number in chosen:
        star = found[number]
        yield "  " + " | ".join(
            repr(value)
            for value in (
                star.number, star.name, star.spectral_class.name, star.magnitude, star.parallax,
                star.right_ascension, star.declination, star.is_variable, str(star.discovered),
                star.observed_at.isoformat(), star.colours, star.remark,
            )
        )  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    try:
        main(sys.argv[1])
    except DbPluginsError as error:
        raise SystemExit(f"error: {error}") from None
