"""The support matrix is what the kit has shown: of a report to numbers and tables, and what must fit together."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripts import script

from db_plugins import Capability
from db_plugins.testing import support

ROOT = Path(__file__).parents[1]


def load_generator() -> Any:
    return script("docs/generate_matrix.py")


GENERATOR = load_generator()


def shown(
    subject: str, name: str, outcome: str, *requires: str, refuses: str | None = None
) -> dict[str, Any]:
    """One test of a report."""
    about = {"subject": subject, "test": name, "requires": list(requires), "refuses": refuses}
    return {**about, "outcome": outcome, "reason": "no matter"}


def report(*classes: list[dict[str, Any]]) -> dict[str, Any]:
    """A report of an engine that claims WRITE, UNIQUE and INFINITY, in these test classes."""
    about = {
        "engine": "duck",
        "version": "1.2",
        "claimed": ["WRITE", "UNIQUE", "INFINITY"],
        "not_claimed": ["TRANSACTIONS", "SESSIONS"],
        "not_yet_provable": ["MIGRATIONS"],
    }
    return {
        "format": 1,
        "classes": [{**about, "class": f"t.py::T{n}", "tests": t} for n, t in enumerate(classes)],
    }


ONE = [
    shown("pages", "test_b[2]", "proved"),
    shown("writes", "test_a", "proved", "WRITE"),
    shown("writes", "test_c", "failed", "WRITE", "UNIQUE"),
    shown("transactions", "test_d", "not claimed", "TRANSACTIONS"),
    shown("refusals", "test_e", "refused", refuses="TRANSACTIONS"),
    shown("faults", "test_f", "not run", "WRITE"),
    shown("frames", "test_g", "allowed failure"),
]


def test_a_report_becomes_numbers_by_subject_and_what_became_of_each_capability() -> None:
    assert support.summarize(report(ONE)) == {
        "duck": {
            "version": "1.2",
            "claimed": ["INFINITY", "UNIQUE", "WRITE"],
            "capabilities": {
                "WRITE": "failed",
                "UNIQUE": "failed",
                "INFINITY": "not run",
                "TRANSACTIONS": "refused",
                "SESSIONS": "not claimed",
                "MIGRATIONS": "not claimed",
            },
            "subjects": {
                "pages": {"proved": 1},
                "writes": {"proved": 1, "failed": 1},
                "transactions": {"not claimed": 1},
                "refusals": {"refused": 1},
                "faults": {"not run": 1},
                "frames": {"allowed failure": 1},
            },
        }
    }


def test_the_order_of_a_run_and_its_reasons_make_no_difference() -> None:
    other = [{**test, "reason": f"/tmp/{n}"} for n, test in enumerate(reversed(ONE))]
    assert support.render(support.summarize(report(other))) == support.render(support.summarize(report(ONE)))


def test_an_engine_with_several_classes_has_each_test_once_and_a_failure_counts_most() -> None:
    two = [
        shown("pages", "test_b[2]", "failed"),
        shown("faults", "test_f", "proved", "WRITE"),
        shown("writes", "test_a", "not run", "WRITE"),
    ]
    for classes in ((ONE, two), (two, ONE)):
        subjects = support.summarize(report(*classes))["duck"]["subjects"]
        assert subjects["pages"] == {"failed": 1}
        assert subjects["faults"] == {"proved": 1}
        assert subjects["writes"] == {"proved": 1, "failed": 1}


def test_a_table_has_a_mark_for_each_capability_that_somebody_claims() -> None:
    made = support.summarize(report(ONE))
    made["goose"] = copy.deepcopy(made["duck"])
    made["goose"]["capabilities"] |= {"WRITE": "proved", "UNIQUE": "refused", "MIGRATIONS": "not claimed"}
    assert support.capability_table(made, ["goose", "duck"]).splitlines() == [
        "| | `goose` | `duck` |",
        "|---|:-:|:-:|",
        "| `WRITE` | ✓ | ✗ |",
        "| `UNIQUE` | ⊘ | ✗ |",
        "| `INFINITY` | ? | ? |",
    ]
    assert support.legend("| `WRITE` | ✓ |") == "✓ proved"
    assert support.subject_table(made, ["duck"]).splitlines()[2:] == [
        "| faults | ? 1 |",
        "| frames | ! 1 |",
        "| pages | ✓ 1 |",
        "| refusals | ⊘ 1 |",
        "| transactions | – 1 |",
        "| writes | ✗ 1 ✓ 1 |",
    ]


def test_the_same_is_printed_for_any_engine(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text(json.dumps(report(ONE)))

    def printed(*options: str) -> str:
        command = [sys.executable, "-m", "db_plugins.testing.support", str(file), *options]
        return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout

    made = support.summarize(report(ONE))
    tables = printed()
    assert "duck 1.2" in tables
    assert support.capability_table(made, made) in tables
    assert support.subject_table(made, made) in tables
    assert json.loads(printed("--json")) == {"engines": made}


# -- this repository's -------------------------------------------------------------------------------------------------


def test_the_pages_are_what_the_kit_has_shown() -> None:
    assert GENERATOR.problems() == []


def test_a_page_that_was_changed_by_hand_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs/engines.md"
    changed = tmp_path / "engines.md"
    changed.write_text(
        page.read_text(encoding="utf-8").replace("| `WRITE` | ✓", "| `WRITE` | ⊘"), encoding="utf-8"
    )
    monkeypatch.setattr(GENERATOR, "ROOT", tmp_path)
    monkeypatch.setattr(GENERATOR, "PAGES", {changed: GENERATOR.PAGES[page]})
    assert [problem.partition(" ")[0] for problem in GENERATOR.problems()] == ["engines.md"]


def without_an_engine(known: dict[str, Any]) -> None:
    del known["mongodb"]


def without_a_subject(known: dict[str, Any]) -> None:
    del known["sqlite"]["subjects"]["nearest"]


def with_another_claim(known: dict[str, Any]) -> None:
    known["postgresql"]["claimed"].remove("SESSIONS")


def with_a_claim_too_many(known: dict[str, Any]) -> None:
    known["memory"]["claimed"].append("FOREIGN_KEYS")


def with_a_subject_that_went(known: dict[str, Any]) -> None:
    known["memory"]["subjects"]["punched cards"] = {"proved": 1}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (without_an_engine, "nothing is known of mongodb"),
        (without_a_subject, "sqlite: 'nearest' is not known"),
        (with_a_subject_that_went, "memory: 'punched cards' is no subject of the kit"),
        (with_another_claim, "postgresql claims SESSIONS"),
        (with_a_claim_too_many, "memory no longer claims FOREIGN_KEYS"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_does_not_fit_the_engines_and_the_kit_is_noticed(
    change: Callable[[dict[str, Any]], None], problem: str
) -> None:
    known = GENERATOR.known_support()
    change(known)
    assert list(GENERATOR.table_problems(known, support.kit_subjects())) == [problem]


def test_a_new_subject_of_the_kit_is_noticed() -> None:
    found = list(
        GENERATOR.table_problems(GENERATOR.known_support(), {*support.kit_subjects(), "punched cards"})
    )
    assert len(found) == len(GENERATOR.ENTRIES)
    assert all("'punched cards' is not known" in problem for problem in found)


def test_a_report_of_a_part_of_the_engines_is_not_kept() -> None:
    with pytest.raises(SystemExit, match="nothing is known of postgresql"):
        GENERATOR.support_of(report(ONE))


def test_what_is_kept_holds_every_engine_and_capability_and_nothing_of_the_run() -> None:
    known = GENERATOR.known_support()
    assert set(known) == set(GENERATOR.ENTRIES)
    for engine in known.values():
        assert set(engine["capabilities"]) == set(Capability)
        assert all(engine["capabilities"][claim] == "proved" for claim in engine["claimed"])
        assert set(engine["capabilities"].values()) <= set(support.OUTCOMES)
        assert {outcome for counts in engine["subjects"].values() for outcome in counts} <= set(
            support.OUTCOMES
        )
    text = GENERATOR.SUPPORT.read_text(encoding="utf-8")
    assert text == support.render({"engines": known}) + "\n"
    assert "/" not in text
