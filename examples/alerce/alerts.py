"""The telescope: a stream of alerts that is made up, and the same every time. It knows nothing of databases.

An alert says that something was seen to change: where, when, through which filter and how bright. Alerts come in batches,
in the order of time, and some batches come twice: who sends them repeats what was not acknowledged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

NIGHTS = 120
FIRST_NIGHT = 60_000  # MJD 60000: 25 February 2023


@dataclass(frozen=True, slots=True)
class Alert:
    candid: int
    oid: str
    ra: float
    dec: float
    mjd: float
    band: str
    mag: float
    error: float


def make_alerts(objects: int, seed: int = 2) -> list[Alert]:
    """Some 15 alerts for each of so many objects, the earliest first."""
    random = Random(seed)
    alerts = [alert for number in range(objects) for alert in _alerts_of(number, random)]
    return sorted(alerts, key=lambda alert: (alert.mjd, alert.candid))


def _alerts_of(number: int, random: Random) -> Iterator[Alert]:
    """A variable star with a period of its own, seen in 10 to 20 nights."""
    ra, dec = random.uniform(0, 360), random.uniform(-30, 90)
    mean, amplitude, period = random.uniform(14, 20), random.uniform(0.1, 2), random.uniform(0.3, 60)
    nights = sorted(random.sample(range(NIGHTS), random.randint(10, 20)))
    for count, night in enumerate(nights):
        mjd = FIRST_NIGHT + night + random.uniform(0.2, 0.5)
        error = random.uniform(0.01, 0.1)
        mag = mean + amplitude * math.sin(2 * math.pi * mjd / period) + random.gauss(0, error)
        yield Alert(
            candid=number * 1_000 + count + 1_000_000_000_000,
            oid=f"ZTF26{number:07}",
            ra=round(ra, 5),
            dec=round(dec, 5),
            mjd=round(mjd, 5),
            band=random.choice("ggrri"),
            mag=round(mag, 3),
            error=round(error, 3),
        )


def deliver(alerts: Iterable[Alert], size: int) -> Iterator[list[Alert]]:
    """The alerts in batches of this size; every third batch is delivered a second time."""
    source, number = iter(alerts), 0
    while batch := list(islice(source, size)):
        number += 1
        yield batch
        if number % 3 == 0:
            yield batch
