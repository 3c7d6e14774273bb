"""One process of several that migrate the same database at the same moment: what the kit starts.

python -m db_plugins.testing.migrating    reads {"entry": …, "number": 3, "folder": …} from standard input, says
                                          that it is ready, waits for one more line, migrates, and prints what it did
"""

from __future__ import annotations

import json
import sys
from typing import Any

from .. import connect
from ..migrations import current, migrate
from .racing import say

__all__: list[str] = []


def _work(entry: dict[str, Any], number: int, folder: str) -> dict[str, Any]:
    done: dict[str, Any] = {"number": number, "ran": [], "at": [], "error": None}
    with connect(entry, models=[]) as db:
        current(db, folder=folder)
        say("ready")
        sys.stdin.readline()
        try:
            done["ran"] = [step.revision for step in migrate(db, folder=folder).done]
            done["at"] = list(current(db, folder=folder).revisions)
        except Exception as error:
            done["error"] = f"{type(error).__name__}: {error}"
    return done


if __name__ == "__main__":
    say(json.dumps(_work(**json.loads(sys.stdin.readline()))))
