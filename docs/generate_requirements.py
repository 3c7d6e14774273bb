"""Writes docs/requirements.md: what was asked for, row by row, and the tests that show it; ``--check`` only compares.

    python docs/generate_requirements.py

The rows are docs/requirements.tsv. A test shows a row by naming its id, `002-08` or `001-E3`, in its docstring, in a comment,
or in its parameters; a table of the module that a test uses counts as part of the test. A class of tests may name it, too.
"""

from __future__ import annotations

import ast
import csv
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
ROWS = DOCS / "requirements.tsv"
FILE = DOCS / "requirements.md"
KIT = ROOT / "db_plugins/testing/kit"
TESTS = (
    ROOT / "tests",
    ROOT / "plugins/sql/tests",
    ROOT / "plugins/mongo/tests",
    ROOT / "tools/servers_tests",
    KIT,
)
#: It names ids to test this, and shows no row.
NOT_SCANNED = ROOT / "tests/test_docs_requirements.py"
ID = re.compile(r"\b(?:00[0-4]|all)-(?:E\d+|\d\d)\b")

#: The document that the first part of an id stands for.
DOCUMENTS = {
    "000": "Concrete: agents that keep their messages",
    "001": "A write-up: SQLAlchemy with FastAPI",
    "002": "ALeRCE: the first db_plugins",
    "003": "Aegis Stack: a database component",
    "004": "A write-up: asynchronous SQLModel",
    "all": "All of them",
}
INTRODUCTION = """\
# Requirements

Five documents describe projects that should be able to sit on this library. Here is every capability that they name or show,
with a check of one line, and every mistake in their own code, with the answer that its author should get. Where a row and the
rest of these docs disagree, the docs hold. What plain libraries do instead was observed with SQLAlchemy 2.1.9, SQLModel 0.0.50,
Alembic 1.20.1 and PyMongo 4.20.0.

The last column is made of the tests by `generate_requirements.py`: each names the row that it shows. *Kit* is the
[conformance kit](testing.md#the-conformance-kit), which runs on every engine.
"""


@dataclass(frozen=True)
class Row:
    """What was asked for, what it means exactly, and how one can tell. Of a mistake: what the document does, what plain
    libraries answer, and what is to be answered."""

    id: str
    asked: str
    exactly: str
    check: str

    @property
    def document(self) -> str:
        return self.id.partition("-")[0]

    @property
    def is_mistake(self) -> bool:
        return "-E" in self.id


@dataclass(frozen=True, order=True)
class Shown:
    """A test, or a class of tests, that names rows."""

    file: str
    name: str
    subject: str = ""

    @property
    def cell(self) -> str:
        where = f"kit, *{self.subject}*" if self.subject else f"[{Path(self.file).name}](../{self.file})"
        return f"{where} `{self.name}`"


def rows() -> list[Row]:
    with ROWS.open(encoding="utf-8", newline="") as file:
        return [Row(**line) for line in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


# -- the tests --------------------------------------------------------------------------------------------------------


def shown() -> dict[str, list[Shown]]:
    """The tests of each row, by its id."""
    found: dict[str, set[Shown]] = {}
    for folder in TESTS:
        for file in sorted({*folder.rglob("*.py")} - {NOT_SCANNED}):
            for test, ids in tests_of(file.read_text(encoding="utf-8"), file.relative_to(ROOT).as_posix()):
                for each in ids:
                    found.setdefault(each, set()).add(test)
    return {each: sorted(tests) for each, tests in found.items()}


def tests_of(source: str, file: str) -> Iterator[tuple[Shown, set[str]]]:
    """Every test of a module, and every class of tests, that names rows, with their ids."""
    if not ID.search(source):
        return
    module, lines = ast.parse(source), source.splitlines()
    tables = {name: ids for node in module.body for name, ids in table_of(node, lines)}
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            subject = subject_of(node)
            if ids := ids_in(ast.get_docstring(node) or ""):
                yield Shown(file, node.name, subject), ids
            yield from named(node.body, lines, tables, file, node.name, subject)
    yield from named(module.body, lines, tables, file)


def named(
    nodes: list[ast.stmt],
    lines: list[str],
    tables: dict[str, set[str]],
    file: str,
    owner: str = "",
    subject: str = "",
) -> Iterator[tuple[Shown, set[str]]]:
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            ids = ids_in(text_of(node, lines))
            for each in ast.walk(node):
                if isinstance(each, ast.Name):
                    ids |= tables.get(each.id, set())
            name = node.name if subject or not owner else f"{owner}::{node.name}"
            if ids:
                yield Shown(file, name, subject), ids


def table_of(node: ast.stmt, lines: list[str]) -> Iterator[tuple[str, set[str]]]:
    """The names that a statement of the module gives to what holds ids."""
    targets = (
        node.targets
        if isinstance(node, ast.Assign)
        else [node.target]
        if isinstance(node, ast.AnnAssign)
        else []
    )
    for target in targets:
        if isinstance(target, ast.Name) and (ids := ids_in(text_of(node, lines))):
            yield target.id, ids


def subject_of(node: ast.ClassDef) -> str:
    """The subject of a class of the kit: `@subject("reads")`."""
    for each in node.decorator_list:
        match each:
            case ast.Call(func=ast.Name(id="subject"), args=[ast.Constant(value=str(name)), *_]):
                return name
    return ""


def text_of(node: ast.stmt, lines: list[str]) -> str:
    """The source of a statement, with its decorators and the comment above it."""
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))]) - 1
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return "\n".join(lines[first : node.end_lineno])


def ids_in(text: str) -> set[str]:
    return set(ID.findall(text))


# -- the page ---------------------------------------------------------------------------------------------------------


def problems() -> list[str]:
    """Rows that no test names, and tests that name rows that are not there."""
    known, found = {row.id for row in rows()}, shown()
    return [
        *(f"no test names {row.id}: {row.asked}" for row in rows() if row.id not in found),
        *(
            f"{test.file}: {test.name} names {each}, which is no row"
            for each in found
            if each not in known
            for test in found[each]
        ),
    ]


def text() -> str:
    """The page."""
    tests = shown()
    return "\n".join([INTRODUCTION, *(section(document, tests) for document in DOCUMENTS)])


def section(document: str, tests: dict[str, list[Shown]]) -> str:
    parts = [f"## {DOCUMENTS[document]}", ""]
    mine = [row for row in rows() if row.document == document]
    if asked := [row for row in mine if not row.is_mistake]:
        parts += ["| | asked for | check | shown by |", "|---|---|---|---|"]
        parts += [
            line(whole(row.id), f"{row.asked}: {row.exactly}", row.check, cell(tests, row)) for row in asked
        ]
        parts += [""]
    if mistakes := [row for row in mine if row.is_mistake]:
        parts += ["| | mistake | plain libraries | wanted | shown by |", "|---|---|---|---|---|"]
        parts += [
            line(whole(row.id), row.asked, row.exactly, row.check, cell(tests, row)) for row in mistakes
        ]
        parts += [""]
    return "\n".join(parts)


def whole(text: str) -> str:
    """Text that a browser does not break at its hyphen, and that a search still finds."""
    return f"<nobr>{text}</nobr>"


def line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def cell(tests: dict[str, list[Shown]], row: Row) -> str:
    return "<br>".join(test.cell for test in tests.get(row.id, ()))


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    lacks, new = problems(), text()
    print(*lacks, sep="\n", end="\n" if lacks else "", file=sys.stderr)
    if "--check" in arguments:
        if stale := FILE.read_text(encoding="utf-8") != new:
            print(
                "docs/requirements.md is not current; run: python docs/generate_requirements.py",
                file=sys.stderr,
            )
        return int(stale or bool(lacks))
    FILE.write_text(new, encoding="utf-8")
    return int(bool(lacks))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
