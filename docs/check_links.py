"""Asks every address that the pages link to whether it answers, and says which do not: `make links`.

    python docs/check_links.py

It needs the network, so neither the tests nor CI run it; what can be known without, tests/test_docs.py looks at.
"""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md")), *sorted(ROOT.glob("examples/**/*.md"))]
ADDRESS = re.compile(r"\]\((https?://[^)\s]+)\)")
#: Some servers answer programs only that name themselves.
HEADERS = {"User-Agent": "db_plugins docs/check_links.py"}
SECONDS = 20


def addresses() -> dict[str, list[str]]:
    """Every address, without its anchor, and the pages that link to it."""
    found: dict[str, list[str]] = {}
    for page in PAGES:
        for address in ADDRESS.findall(page.read_text(encoding="utf-8")):
            found.setdefault(address.partition("#")[0], []).append(page.relative_to(ROOT).as_posix())
    return found


def trouble_of(address: str) -> str | None:
    """What is wrong with an address; None if it answers."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address, headers=HEADERS), timeout=SECONDS
        ) as answer:
            there = answer.geturl()
    except (OSError, ValueError) as exc:  # an HTTPError is an OSError, too
        return str(exc)
    return None if there.rstrip("/") == address.rstrip("/") else f"has moved to {there}"


def main() -> int:
    """1 if an address does not answer or has moved."""
    found = addresses()
    with ThreadPoolExecutor(8) as threads:
        troubles = dict(zip(found, threads.map(trouble_of, found), strict=True))
    bad = {address: trouble for address, trouble in troubles.items() if trouble}
    for address, trouble in bad.items():
        print(f"{address}: {trouble}\n    in {', '.join(sorted(set(found[address])))}", file=sys.stderr)
    print(f"{len(found) - len(bad)} of {len(found)} addresses answer")
    return int(bool(bad))


if __name__ == "__main__":
    raise SystemExit(main())
