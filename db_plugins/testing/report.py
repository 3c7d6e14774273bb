"""What the conformance kit has shown of each engine: a block to read, and JSON, of which ``support`` makes tables.

proved            the test passed
refused           it passed, and shows that what is not claimed is refused
not claimed       it needs a capability that the engine does not claim
allowed failure   it is in allowed_failures, and failed
not run           skipped for another reason, which is given
failed
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Outcomes", "face_of"]

#: The name under which a test's report carries what it is about; see kit/harness.py.
PROPERTY = "dbp_conformance"
KINDS = ("proved", "refused", "not claimed", "allowed failure", "not run", "failed")
#: Skips that say nothing about the engine: its refusal is tested only where the capability is not claimed.
_CLAIMED = "claimed: "
_NOT_CLAIMED = "not claimed: "


def face_of(item: Any) -> str | None:
    """The face that a test of the conformance kit is about; ``None`` for any other item that pytest has collected."""
    if not hasattr(getattr(item, "cls", None), "_faces"):
        return None
    callspec = getattr(item, "callspec", None)
    face = "sync" if callspec is None else callspec.params.get("face", "sync")
    return "async" if face == "async" or "connect_async" in item.fixturenames else "sync"


@dataclass
class _Test:
    """One test of one class, over its three phases."""

    about: dict[str, Any] = field(default_factory=dict)
    kind: str = ""
    reason: str = ""

    def add(self, report: Any) -> None:
        for name, value in report.user_properties:
            if name == PROPERTY:
                self.about.update(json.loads(value))
        kind, reason = self._read(report)
        if kind and self.kind != "failed":
            self.kind, self.reason = kind, reason

    def _read(self, report: Any) -> tuple[str, str]:
        if report.failed:
            return "failed", _last_line(report)
        if report.skipped and hasattr(report, "wasxfail"):
            return "allowed failure", report.wasxfail.removeprefix("reason: ")
        if report.skipped:
            reason = _why_skipped(report)
            if reason.startswith(_CLAIMED):
                return "", ""
            return ("not claimed" if reason.startswith(_NOT_CLAIMED) else "not run"), reason
        if report.when == "call":
            return ("refused" if self.about.get("refuses") else "proved"), ""
        return "", ""


def _why_skipped(report: Any) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return str(reason).removeprefix("Skipped: ")


def _last_line(report: Any) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash is not None else str(report.longrepr or "")
    return message.strip().splitlines()[0][:200] if message.strip() else ""


class Outcomes:
    """Every conformance test of a run. False if there was none."""

    def __init__(self) -> None:
        self._tests: dict[str, _Test] = defaultdict(_Test)

    def add(self, report: Any) -> None:
        """Note one phase of one test."""
        if report.nodeid in self._tests or any(name == PROPERTY for name, _ in report.user_properties):
            self._tests[report.nodeid].add(report)

    def __bool__(self) -> bool:
        return bool(self._tests)

    def data(self) -> list[dict[str, Any]]:
        """One dict for each class, in the order of their names."""
        classes: dict[str, list[_Test]] = defaultdict(list)
        for test in self._tests.values():
            if test.kind:
                classes[test.about["class"]].append(test)
        return [_summary(name, classes[name]) for name in sorted(classes)]

    def lines(self) -> Iterator[str]:
        """The block."""
        for one in self.data():
            yield f"{one['class'].rpartition('::')[2]}: {one['engine']} {one['version']}".rstrip()
            counts = [f"{one['counts'][kind]} {kind}" for kind in KINDS if one["counts"][kind]]
            yield f"    {' · '.join(counts)}"
            yield f"    claims        {' '.join(one['claimed']) or 'nothing'}"
            if one["not_claimed"]:
                yield f"    not claimed   {' '.join(one['not_claimed'])}"
            if one["not_yet_provable"]:
                yield f"    no test yet   {' '.join(one['not_yet_provable'])}"
            for kind in ("allowed failure", "not run", "failed"):
                yield from _by_reason(kind, one["tests"])

    def write(self, file: str) -> None:
        """The same as JSON."""
        Path(file).write_text(
            json.dumps({"format": 1, "classes": self.data()}, indent=1) + "\n", encoding="utf-8"
        )


def _summary(name: str, tests: list[_Test]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for test in tests:
        known.update(
            {
                k: v
                for k, v in test.about.items()
                if k in ("engine", "version", "claimed", "not_claimed", "not_yet_provable")
            }
        )
    return {
        "class": name,
        "engine": "",
        "version": "",
        "claimed": [],
        "not_claimed": [],
        "not_yet_provable": [],
        **known,
        "counts": {kind: sum(test.kind == kind for test in tests) for kind in KINDS},
        "tests": [
            {
                **{key: test.about[key] for key in ("subject", "test", "requires", "refuses")},
                "outcome": test.kind,
                "reason": test.reason,
            }
            for test in tests
        ],
    }


def _by_reason(kind: str, tests: list[dict[str, Any]]) -> Iterator[str]:
    reasons: dict[str, list[str]] = defaultdict(list)
    for test in tests:
        if test["outcome"] == kind:
            reasons[test["reason"]].append(test["test"])
    for reason, names in reasons.items():
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        yield f"    {kind:<14}{shown}: {reason}"
