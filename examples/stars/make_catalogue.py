"""Write catalogue.csv: 3,000 stars that do not exist, the same to the byte every time.

    python -m examples.stars.make_catalogue [FILE]

An empty cell is a value that is not known. Only `Random.random()` is drawn, whose sequence no release of Python
changes, and every number is rounded, so that no machine's arithmetic shows.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import TypeVar

__all__ = ["CATALOGUE", "COLUMNS", "make_catalogue"]

T = TypeVar("T")

CATALOGUE = Path(__file__).with_name("catalogue.csv")
STARS = 3000
SEED = 20260320
COLUMNS = (
    "number", "name", "constellation", "spectral_class", "magnitude", "parallax",
    "ra", "dec", "is_variable", "discovered", "observed_at", "colours", "remark",
)  # fmt: skip
CONSTELLATIONS = (
    "And",
    "Aql",
    "Boo",
    "CMa",
    "Cas",
    "Cen",
    "Cyg",
    "Eri",
    "Gem",
    "Leo",
    "Lyr",
    "Ori",
    "Peg",
    "Sco",
    "UMa",
)
#: Of 100 stars of such a catalogue so many are of each class.
CLASSES = "O" + "B" * 10 + "A" * 22 + "F" * 19 + "G" * 14 + "K" * 31 + "M" * 3
REMARKS = (
    "double, 3.4″ apart",
    'named "the demon" by Ptolemy',
    "variable; see Gómez & Ólafsdóttir",
    "high proper motion",
    "鹿豹座 border",
    "50% of plates lost",
)
FIRST_DAY = dt.date(1886, 1, 1)
FIRST_NIGHT = dt.datetime(2014, 7, 25, tzinfo=dt.UTC)


def make_catalogue() -> str:
    """The whole file as text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(make_rows(Random(SEED)))
    return out.getvalue()


def make_rows(random: Random) -> Iterator[list[object]]:
    number = 0
    for _ in range(STARS):
        number += 1 + int(random.random() * 7)  # catalogues have gaps
        constellation = pick(random, CONSTELLATIONS)
        # Faint stars are many, bright ones few.
        magnitude = round(-1.5 + 11 * (1 - random.random() ** 2.5), 2) if random.random() > 0.04 else None
        distance = 1.3 + 900 * random.random() ** 3
        blue = round(-0.3 + 2.2 * random.random(), 2) + 0.0  # never -0.0
        yield [
            number,
            f"{constellation} {number:05}",
            constellation,
            pick(random, CLASSES),
            magnitude,
            f"{1000 / distance:.3f}" if random.random() > 0.1 else None,
            round(360 * random.random(), 4),
            round(-90 + 180 * random.random(), 4),
            str(random.random() < 0.12).lower(),
            FIRST_DAY + dt.timedelta(days=int(50_000 * random.random())),
            (FIRST_NIGHT + dt.timedelta(seconds=int(3e8 * random.random()))).isoformat(),
            json.dumps({"B-V": blue, "plates": int(random.random() * 9)}) if random.random() > 0.2 else None,
            pick(random, REMARKS) if random.random() < 0.05 else None,
        ]


def pick(random: Random, items: Sequence[T]) -> T:
    return items[int(random.random() * len(items))]


if __name__ == "__main__":
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else CATALOGUE
    file.write_text(make_catalogue(), encoding="utf-8", newline="")
    print(f"{file}: {STARS} stars, {file.stat().st_size} bytes")
