"""How much memory a stream takes at its peak, measured in a fresh process: `measure` starts it and reads the answer.

The peak is VmHWM of /proc/self/status: ru_maxrss of a child begins with what its parent had before the exec.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import db_plugins

from .contenders import BATCH, count
from .places import Place
from .tables import MODELS, Many

__all__ = ["measure"]

STATUS = Path("/proc/self/status")


def measure(place: Place) -> float | None:
    """MiB at the peak beyond a connected process that has read one object; None where there is no /proc."""
    if not STATUS.exists():
        return None
    done = subprocess.run(
        (sys.executable, "-m", f"{__package__}.memory"),
        input=json.dumps(dict(place.entry)),
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    with db_plugins.connect(json.load(sys.stdin), models=MODELS) as db:
        db.query(Many).first()
        before = peak()
        count(db.query(Many).stream(batch_size=BATCH))
        print((peak() - before) / 1024)


def peak() -> int:
    found = re.search(r"^VmHWM:\s*(\d+) kB", STATUS.read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None, "Linux writes VmHWM"
    return int(found.group(1))


if __name__ == "__main__":
    main()
