"""Run the survey: store what the telescope sends in each database of settings.py, and print what is there.

dbp initdb
python survey.py
python survey.py MONGO --objects 200
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from alerts import deliver, make_alerts
from models import Detection, SkyObject
from step import consume

import db_plugins
from db_plugins import Database, DbPluginsError, func


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Store a survey's alerts and print what is there.")
    parser.add_argument("entries", nargs="*", default=["SQL", "MONGO"], help="entries of settings.py")
    parser.add_argument("--objects", type=int, default=2_000, help="how many objects the telescope sees")
    parser.add_argument("--batch", type=int, default=1_000, help="how many alerts come together")
    given = parser.parse_args(arguments)
    alerts = make_alerts(given.objects)
    for entry in given.entries:
        with db_plugins.connect(entry) as db:
            print(f"== {entry}: {len(alerts)} alerts")
            print(f"new detections  {consume(db, deliver(alerts, given.batch))}")
            for line in report(db):
                print(line)


def report(db: Database) -> Iterator[str]:
    yield from counts(db)
    yield from changing(db)
    yield from light_curve(db, "ZTF260000007")


def counts(db: Database) -> Iterator[str]:
    objects, detections = db.query(SkyObject), db.query(Detection)
    yield f"objects         {objects.count()}"
    yield f"detections      {detections.count()}"
    well_seen = objects.filter(SkyObject.ndet >= 15, ~SkyObject.dec.between(-10, 10))
    yield f"well seen       {well_seen.count()}"
    yield "by filter, count, brightest, mean magnitude:"
    bands = detections.group_by(Detection.band).order_by(Detection.band)
    for row in bands.aggregate(n=func.count(), top=func.min(Detection.mag), mean=func.avg(Detection.mag)):
        yield f"  {row['band'].name}  {row['n']:>6}  {row['top']:.3f}  {row['mean']:.3f}"


def changing(db: Database) -> Iterator[str]:
    """Those whose brightness changes most, in pages."""
    large = db.query(SkyObject).filter(SkyObject.faintest - SkyObject.brightest > 3.5)
    page = large.order_by("-ndet", "oid").paginate(page=1, per_page=5)
    yield f"change by more than 3.5: {page.total}, page {page.page} of {page.pages}"
    for each in page:
        yield f"  {each.oid}  {each.ndet} times  {each.brightest} to {each.faintest}"


def light_curve(db: Database, oid: str) -> Iterator[str]:
    curve = db.query(Detection).filter(oid=oid).order_by("mjd").limit(5)
    yield f"light curve of {oid}, first points:"
    for point in curve.to_dicts("mjd", "band", "mag", "error"):
        yield f"  {point['mjd']:.5f}  {point['band'].name}  {point['mag']:.3f} ± {point['error']:.3f}"


if __name__ == "__main__":
    try:
        main()
    except DbPluginsError as error:
        raise SystemExit(f"error: {error}") from None
