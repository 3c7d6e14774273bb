"""The pipeline's step: a batch of alerts in, objects and their detections stored. The engine is not known here.

A batch that is delivered twice is stored once, because nothing is added up: what an object is, is counted anew from the
detections that are there. And a batch is stored whole or not at all, where the engine has transactions; where it has none,
a batch that broke off in the middle is completed by its second delivery.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from alerts import Alert
from models import Detection, SkyObject

from db_plugins import Capability, Database, func


def consume(db: Database, batches: Iterable[Sequence[Alert]]) -> int:
    """Store every batch; how many detections were new."""
    return sum(process(db, batch) for batch in batches)


def process(db: Database, batch: Sequence[Alert]) -> int:
    """Store one batch; how many of its detections were new."""
    if Capability.TRANSACTIONS not in db.capabilities:
        return store(db, batch)
    return db.run_transaction(lambda tx: store(tx, batch))


def store(db: Database, batch: Sequence[Alert]) -> int:
    """Upsert the batch's objects and insert its detections, as far as they are not there."""
    places = {alert.oid: {"oid": alert.oid, "ra": alert.ra, "dec": alert.dec} for alert in batch}
    db.query(SkyObject).bulk_insert(places.values(), on_conflict="ignore")
    done = db.query(Detection).bulk_insert(map(point_of, batch), on_conflict="ignore")
    rows = [{**places[curve["oid"]], **curve} for curve in curves(db, list(places))]
    db.query(SkyObject).bulk_insert(rows, on_conflict="update")
    return done.inserted


def point_of(alert: Alert) -> dict[str, Any]:
    """A detection: what an alert says, without the place, which is its object's."""
    return {name: value for name, value in asdict(alert).items() if name not in ("ra", "dec")}


def curves(db: Database, oids: list[str]) -> list[dict[str, Any]]:
    """What the detections of these objects come to, counted by the database."""
    points = db.query(Detection).filter(Detection.oid.in_(oids)).group_by(Detection.oid)
    return points.aggregate(
        ndet=func.count(),
        first_mjd=func.min(Detection.mjd),
        last_mjd=func.max(Detection.mjd),
        brightest=func.min(Detection.mag),
        faintest=func.max(Detection.mag),
    )
