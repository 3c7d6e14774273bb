"""How much memory a job takes at its peak, measured in a fresh process: `measure` starts it and reads the answer.

The peak is VmHWM of /proc/self/status: ru_maxrss of a child begins with what its parent had before the exec.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import db_plugins
from db_plugins import Database, transfer

from . import tables, writers, written
from .contenders import BATCH, count
from .places import Place
from .tables import Many

__all__ = ["JOBS", "measure", "measure_copy"]

STATUS = Path("/proc/self/status")


def measure(place: Place, job: str, rows: int = 0) -> float | None:
    """MiB at the peak beyond a connected process that has done the job with one row; None where there is no /proc."""
    return _measured(dict(place.entry), place.engine, job, str(rows))


def measure_copy(model: type, source: Mapping[str, Any], target: Mapping[str, Any]) -> float | None:
    """The same of a copy between the databases of these entries, and its comparison, beyond that of a table of one row."""
    return _measured([dict(source), dict(target)], "", "copy", model.__name__)


def _measured(given: Any, *arguments: str) -> float | None:
    if not STATUS.exists():
        return None
    done = subprocess.run(
        (sys.executable, "-m", f"{__package__}.memory", *arguments),
        input=json.dumps(given),
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main(engine: str, job: str, rows: int) -> None:
    with db_plugins.connect(json.load(sys.stdin), models=(*tables.MODELS, *written.MODELS)) as db:
        one_row, all_rows = JOBS[job](_place(engine, db), rows)
        one_row()
        before = peak()
        all_rows()
        print((peak() - before) / 1024)


def main_of_copy(name: str) -> None:
    model = next(model for model in (*tables.MODELS, *written.MODELS) if model.__name__ == name)
    entries = json.load(sys.stdin)
    models = (model, tables.Listed)
    with (
        db_plugins.connect(entries[0], models=models) as source,
        db_plugins.connect(entries[1], models=models) as target,
    ):
        transfer.copy(source, target, models=[tables.Listed])
        before = peak()
        transfer.copy(source, target, models=[model])
        print((peak() - before) / 1024)


def _place(engine: str, db: Database) -> Place:
    """What is there already, with the raw connection of db_plugins' own pool."""
    native: Any = db.native
    raw = native if engine == "mongodb" else native.raw_connection()
    return Place(engine, "", {}, db, raw)


Work = Callable[[], object]


def _stream(place: Place, rows: int) -> tuple[Work, Work]:
    query = place.db.query(Many)
    return query.first, lambda: count(query.stream(batch_size=BATCH))


def _bulk_insert(name: str) -> Callable[[Place, int], tuple[Work, Work]]:
    def job(place: Place, rows: int) -> tuple[Work, Work]:
        side = writers.CONTENDERS[place.engine][name](place)

        def insert(first: int, last: int) -> None:
            side.load(side.given("load", written.make_rows(last, first=first)))

        return lambda: insert(0, 1), lambda: insert(1, rows)

    return job


#: Each gives what is done with one row, and what is measured.
JOBS = {
    "stream": _stream,
    "bulk_insert": _bulk_insert("db_plugins"),
    "raw_bulk_insert": _bulk_insert("raw"),
}


def peak() -> int:
    found = re.search(r"^VmHWM:\s*(\d+) kB", STATUS.read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None, "Linux writes VmHWM"
    return int(found.group(1))


if __name__ == "__main__":
    if sys.argv[2] == "copy":
        main_of_copy(sys.argv[3])
    else:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
