"""What engines can, as the conformance kit has shown it: small enough to be kept beside the code, and tables to read.

    pytest --dbp-report report.json                     what each test has shown
    python -m db_plugins.testing.support report.json    the tables, in Markdown
    python -m db_plugins.testing.support report.json --json

For each engine: its version, what became of each capability, and for each subject of the kit how many tests had which
outcome. An engine with several test classes has each test once, with the first of ``OUTCOMES`` that it had in any.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = [
    "OUTCOMES",
    "capability_table",
    "kit_subjects",
    "legend",
    "page_of",
    "render",
    "subject_table",
    "summarize",
]

Support = dict[str, dict[str, Any]]

#: The outcomes of ``report``, the one that counts most first, each with its mark and what it says.
OUTCOMES = {
    "failed": ("✗", "failed"),
    "allowed failure": ("!", "fails, and is known to"),
    "proved": ("✓", "proved"),
    "refused": ("⊘", "not claimed; what happens then is proved"),
    "not claimed": ("–", "not claimed"),
    "not run": ("?", "not run, for want of what it needs"),
}


def summarize(report: Mapping[str, Any]) -> Support:
    """The engines of a report of ``--dbp-report`` by name, without times, paths and the order of the run."""
    classes = defaultdict(list)
    for one in report["classes"]:
        classes[one["engine"]].append(one)
    return {engine: _engine(classes[engine]) for engine in sorted(classes)}


def _engine(classes: list[dict[str, Any]]) -> dict[str, Any]:
    tests: dict[tuple[str, str], dict[str, Any]] = {}
    for test in (test for one in classes for test in one["tests"]):
        known = tests.setdefault((test["subject"], test["test"]), test)
        if _rank(test["outcome"]) < _rank(known["outcome"]):
            tests[test["subject"], test["test"]] = test
    claimed = set.intersection(*(set(one["claimed"]) for one in classes))
    subjects: dict[str, Counter[str]] = defaultdict(Counter)
    for (subject, _), test in tests.items():
        subjects[subject][test["outcome"]] += 1
    return {
        "version": max(one["version"] for one in classes),
        "claimed": sorted(claimed),
        "capabilities": {
            capability: _shown(capability, capability in claimed, tests.values())
            for one in classes
            for capability in (*one["claimed"], *one["not_claimed"], *one["not_yet_provable"])
        },
        "subjects": {subject: dict(counts) for subject, counts in subjects.items()},
    }


def _rank(outcome: str) -> int:
    return list(OUTCOMES).index(outcome)


def _shown(capability: str, is_claimed: bool, tests: Iterable[Mapping[str, Any]]) -> str:
    """What the tests say of a capability: of a claim those that need it, else those of its refusal."""
    outcomes = {
        test["outcome"]
        for test in tests
        if (capability in test["requires"] if is_claimed else capability == test["refuses"])
    }
    known = (
        ("failed", "allowed failure", "proved") if is_claimed else ("failed", "allowed failure", "refused")
    )
    return next((o for o in known if o in outcomes), "not run" if is_claimed else "not claimed")


def kit_subjects() -> set[str]:
    """The subjects of the kit that is installed."""
    from . import PluginConformance

    return {
        getattr(getattr(PluginConformance, name), "kit_subject", "kit")
        for name in dir(PluginConformance)
        if name.startswith("test_")
    }


# -- to read -----------------------------------------------------------------------------------------------------------


def render(value: Any, level: int = 0) -> str:
    """JSON with sorted keys, one line for each subject, so that a difference is as short as what changed."""
    if level == 4 or not isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    indent = " " * level
    lines = [f"{indent} {json.dumps(key)}: {render(value[key], level + 1)}" for key in sorted(value)]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def capability_table(support: Support, engines: Iterable[str]) -> str:
    """A line for each capability that one of these engines claims, a mark for each engine."""
    from ..engine import Capability

    known = {engine: support[engine]["capabilities"] for engine in engines}
    silent = {None, "refused", "not claimed"}
    return _table(
        known,
        {
            f"`{capability}`": [OUTCOMES[shown.get(capability, "not run")][0] for shown in known.values()]
            for capability in Capability
            if any(shown.get(capability) not in silent for shown in known.values())
        },
    )


def subject_table(support: Support, engines: Iterable[str]) -> str:
    """A line for each subject, and for each engine how many tests had which outcome."""
    known = {engine: support[engine]["subjects"] for engine in engines}
    subjects = sorted({subject for counts in known.values() for subject in counts})
    return _table(known, {s: [_cell(counts.get(s, {})) for counts in known.values()] for s in subjects})


def legend(table: str) -> str:
    """What the marks of a table say."""
    return " · ".join(f"{mark} {meaning}" for mark, meaning in OUTCOMES.values() if mark in table)


def _cell(counts: Mapping[str, int]) -> str:
    return " ".join(
        f"{mark} {counts[outcome]}" for outcome, (mark, _) in OUTCOMES.items() if counts.get(outcome)
    )


def _table(engines: Iterable[str], lines: Mapping[str, list[str]]) -> str:
    heads = [f"`{engine}`" for engine in engines]
    return "\n".join(
        [
            f"| | {' | '.join(heads)} |",
            f"|---{'|:-:' * len(heads)}|",
            *(f"| {title} | {' | '.join(cells)} |" for title, cells in lines.items()),
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Print what a report says of its engines."""
    parser = argparse.ArgumentParser(
        prog="python -m db_plugins.testing.support",
        description="What the conformance kit has shown of engines, as tables in Markdown.",
    )
    parser.add_argument("report", type=Path, help="a file of pytest's --dbp-report")
    parser.add_argument("--json", action="store_true", help="JSON in the place of tables")
    chosen = parser.parse_args(arguments)
    support = summarize(json.loads(chosen.report.read_text(encoding="utf-8")))
    sys.stdout.write(f"{render({'engines': support}) if chosen.json else page_of(support)}\n")
    return 0


def page_of(support: Support) -> str:
    """The engines' versions, both tables, and what the marks say."""
    engines = [f"{engine} {shown['version']}".rstrip() for engine, shown in support.items()]
    capabilities, subjects = capability_table(support, support), subject_table(support, support)
    return "\n\n".join([", ".join(engines), capabilities, subjects, legend(capabilities + subjects)])


if __name__ == "__main__":
    raise SystemExit(main())
