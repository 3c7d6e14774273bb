"""Write the support matrix into README.md and docs/engines.md, from what the conformance kit has shown.

    make matrix                                       run the kit on all engines, then the next line
    python docs/generate_matrix.py --report FILE      docs/support.json of pytest's --dbp-report, then the pages
    python docs/generate_matrix.py                    the pages of docs/support.json
    python docs/generate_matrix.py --check            exit 1 and say what does not fit together

``docs/support.json`` is kept with the code: it changes when the kit shows something else, not with each run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from db_plugins import Capability, registry
from db_plugins.config import make_settings
from db_plugins.testing import support as kit

__all__ = ["known_support", "problems", "support_of", "table_problems"]

ROOT = Path(__file__).parents[1]
SUPPORT = ROOT / "docs" / "support.json"
SERVER = {"HOST": "localhost", "USER": "ann", "DB_NAME": "stars"}
ENTRIES = {
    "sqlite": {"ENGINE": "sqlite", "DB_NAME": "stars.db"},
    "postgresql": {"ENGINE": "postgresql", **SERVER},
    "mariadb": {"ENGINE": "mariadb", **SERVER},
    "mongodb": {"ENGINE": "mongodb", "HOST": "localhost", "DB_NAME": "stars"},
    "mongomock": {"ENGINE": "mongomock", "DB_NAME": "stars"},
    "memory": {"ENGINE": "memory"},
}
#: The tables of each page, by the name in their markers.
PAGES = {
    ROOT / "README.md": ("matrix",),
    ROOT / "docs" / "engines.md": ("matrix", "subjects"),
}


def known_support() -> kit.Support:
    """What docs/support.json says."""
    engines: kit.Support = json.loads(SUPPORT.read_text(encoding="utf-8"))["engines"]
    return engines


def support_of(report: dict[str, Any]) -> kit.Support:
    """Of a report the engines of this repository. Raises SystemExit if it is of a part of the kit or of the engines."""
    shown = kit.summarize(report)
    support = {name: shown[name] for name in ENTRIES if name in shown}
    lacks = [*_unknown_engines(support), *_unknown_subjects(support, kit.kit_subjects())]
    if lacks:
        raise SystemExit("\n".join([*lacks, "the kit must have run as a whole, on every engine"]))
    return support


def _versions(support: kit.Support) -> str:
    """With what the kit ran."""
    return "Shown on " + ", ".join(f"`{name}` {support[name]['version']}" for name in ENTRIES) + "."


def capabilities_and_legend(support: kit.Support) -> str:
    table = kit.capability_table(support, ENTRIES)
    return f"{table}\n\n{kit.legend(table)}"


def subjects_and_legend(support: kit.Support) -> str:
    table = kit.subject_table(support, ENTRIES)
    return f"{table}\n\n{kit.legend(table)}\n\n{_versions(support)}"


TABLES = {"matrix": capabilities_and_legend, "subjects": subjects_and_legend}


# -- what must fit together --------------------------------------------------------------------------------------------


def problems() -> list[str]:
    """What does not fit together, of the pages, docs/support.json, the engines' classes and the kit; empty if all does."""
    support = known_support()
    lacks = list(table_problems(support, kit.kit_subjects()))
    if lacks:
        return [f"{lack}: run `make matrix`" for lack in lacks]
    return [
        f"{page.relative_to(ROOT)} is not what docs/support.json says: run `python docs/generate_matrix.py`"
        for page in PAGES
        if new_text(page, support) != page.read_text(encoding="utf-8")
    ]


def table_problems(support: kit.Support, subjects: Collection[str]) -> Iterator[str]:
    """Engines and subjects that are not in it, and capabilities that the engines' classes claim otherwise."""
    yield from _unknown_engines(support)
    yield from _unknown_subjects(support, subjects)
    for name in ENTRIES:
        if name in support:
            yield from _other_claims(name, support[name]["claimed"])


def _unknown_engines(support: kit.Support) -> Iterator[str]:
    for name in ENTRIES:
        if name not in support:
            yield f"nothing is known of {name}"


def _unknown_subjects(support: kit.Support, subjects: Collection[str]) -> Iterator[str]:
    for name, shown in support.items():
        for subject in sorted(set(subjects) ^ set(shown["subjects"])):
            yield f"{name}: {subject!r} is " + (
                "not known" if subject in subjects else "no subject of the kit"
            )


def _other_claims(name: str, known: Collection[str]) -> Iterator[str]:
    claimed = capabilities_of(name)
    for capability in Capability:
        if (capability in known) != (capability in claimed):
            yield f"{name} {'claims' if capability in claimed else 'no longer claims'} {capability}"


def capabilities_of(name: str) -> frozenset[Capability]:
    """What the engine of this name claims; no driver is loaded and nothing is connected."""
    settings = make_settings(name, ENTRIES[name], source="the support matrix")
    return registry.load_engine(settings.plugin).choose(settings)(settings).capabilities


# -- writing -----------------------------------------------------------------------------------------------------------


def new_text(page: Path, support: kit.Support) -> str:
    """The page with its tables as they are now."""
    text = page.read_text(encoding="utf-8")
    for name in PAGES[page]:
        opening, closing = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, begin, rest = text.partition(opening)
        _, end, after = rest.partition(closing)
        if not begin or not end:
            raise SystemExit(f"{page} has no {opening} … {closing}")
        text = f"{before}{opening}\n{TABLES[name](support)}\n{closing}{after}"
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the support matrix into the pages.")
    parser.add_argument("--report", type=Path, metavar="FILE", help="make docs/support.json of it first")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if something does not fit"
    )
    chosen = parser.parse_args()
    if chosen.check:
        found = problems()
        print(*found, sep="\n", end="\n" if found else "")
        return 1 if found else 0
    if chosen.report:
        support = support_of(json.loads(chosen.report.read_text(encoding="utf-8")))
        SUPPORT.write_text(kit.render({"engines": support}) + "\n", encoding="utf-8")
    for page in PAGES:
        page.write_text(new_text(page, known_support()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
