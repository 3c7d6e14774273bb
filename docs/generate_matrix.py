"""Write the support matrix between its markers in README.md and docs/engines.md.

    python docs/generate_matrix.py            what the engines claim
    python docs/generate_matrix.py --check    exit 1 if a page is not up to date

A mark is what the engine's class claims; the conformance kit proves each claim, and each refusal, on a real database.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from db_plugins import Capability, registry
from db_plugins.config import make_settings

__all__ = ["matrix", "stale_pages"]

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "engines.md")
BEGIN, END = "<!-- matrix -->", "<!-- /matrix -->"
SERVER = {"HOST": "localhost", "USER": "ann", "DB_NAME": "stars"}
ENTRIES = {
    "sqlite": {"ENGINE": "sqlite", "DB_NAME": "stars.db"},
    "postgresql": {"ENGINE": "postgresql", **SERVER},
    "mariadb": {"ENGINE": "mariadb", **SERVER},
    "mongodb": {"ENGINE": "mongodb", "HOST": "localhost", "DB_NAME": "stars"},
    "mongomock": {"ENGINE": "mongomock", "DB_NAME": "stars"},
    "memory": {"ENGINE": "memory"},
}


def matrix() -> str:
    """The table: a line for each capability, a column for each engine."""
    claimed = {name: capabilities_of(name) for name in ENTRIES}
    lines = [
        f"| | {' | '.join(f'`{name}`' for name in claimed)} |",
        f"|---{'|:-:' * len(claimed)}|",
    ]
    for capability in Capability:
        if any(capability in claims for claims in claimed.values()):
            marks = ["✓" if capability in claims else "" for claims in claimed.values()]
            lines.append(f"| `{capability}` | {' | '.join(marks)} |")
    return "\n".join(lines)


def capabilities_of(name: str) -> frozenset[Capability]:
    """What the engine of this name claims; no driver is loaded and nothing is connected."""
    settings = make_settings(name, ENTRIES[name], source="the support matrix")
    return registry.load_engine(settings.plugin).choose(settings)(settings).capabilities


def new_text(page: Path) -> str:
    """The page with the table as it is now."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{matrix()}\n{END}{after}"


def stale_pages() -> Iterator[Path]:
    """The pages whose table is not as it is now."""
    return (page for page in PAGES if new_text(page) != page.read_text(encoding="utf-8"))


def main() -> int:
    stale = list(stale_pages())
    for page in stale:
        print(page.relative_to(ROOT))
        if "--check" not in sys.argv:
            page.write_text(new_text(page), encoding="utf-8")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    raise SystemExit(main())
