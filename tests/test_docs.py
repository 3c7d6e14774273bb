"""The documentation is code: every example runs and prints what it says, and every link leads somewhere.

Within one page the ```python blocks run in order and share their names, in a folder of their own:

    <!-- file: NAME -->   before a block: it is written to NAME; a setup.cfg also makes its plugin known
    <!-- include: FILE -->   before a block: it is the text of that file, which has tests of its own, and is left alone
    <!-- not run: … -->   before a block: it is left alone, and the reason is there for readers of the source
    <!-- run -->          before a ```console block: each line after $ is run, and prints what follows it; the page's
                          revision ids, dates and folder stand for those of the run
    ```text               after a python block: exactly what that block printed
"""

from __future__ import annotations

import configparser
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from scripts import script

from db_plugins import Database

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"^(?:<!-- (?P<what>file|include|not run|run)(?:: (?P<argument>.*?))? -->\n)?```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\[[^\]]*\]\((?!https?://)(?P<file>[^)#\s]*)(?:#(?P<anchor>[^)]+))?\)")
ADDRESS = re.compile(r"https?://[^\s)>`\"']+")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page, and the line on which its text begins."""

    language: str
    text: str
    line: int
    file: str | None
    is_run: bool
    is_typed: bool


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        is_file = match["what"] == "file"
        yield Block(
            language=match["language"],
            text=match["text"],
            line=text.count("\n", 0, match.start("text")) + 1,
            file=match["argument"] if is_file else None,
            is_run=match["language"] == "python" and match["what"] is None,
            is_typed=match["language"] == "console" and match["what"] == "run",
        )


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, the current one and first on sys.path; modules that come from it are forgotten after."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for variable in ("DATABASE_URL", "DBP_SETTINGS", "DB_DRIVER"):
        monkeypatch.delenv(variable, raising=False)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_examples_run_and_print_what_the_page_says(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A module, for classes look up their annotations in the module that they name.
    module = ModuleType(f"docs_{page.stem.replace('-', '_')}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    printed: str | None = None
    terminal = Terminal(folder)
    try:
        for block in blocks_of(page):
            if block.is_typed:
                terminal.type(block, page)
            elif block.file is not None:
                write_file(folder, block)
            elif block.is_run:
                printed = run(block, module, page)
            elif block.language == "text" and printed is not None:
                assert printed.rstrip() == block.text.rstrip(), f"{name_of(page)}:{block.line}"
                printed = None
    finally:
        for each in list(vars(module).values()):
            if isinstance(each, Database):
                each.close()


def run(block: Block, module: ModuleType, page: Path) -> str:
    """Run the block; what it printed. Line numbers in a traceback are those of the page."""
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, vars(module))
    return out.getvalue()


class Terminal:
    """Types what a page says, and compares what is printed. A revision has one id on the page and another in the run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ids: dict[str, str] = {}

    def type(self, block: Block, page: Path) -> None:
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            line, _, expected = part.partition("\n")
            said = self.run(line)
            self.learn(expected, said)
            assert self.as_on_page(said) == expected.rstrip(), f"{name_of(page)}:{block.line}: $ {line}"

    def run(self, line: str) -> str:
        for ours, theirs in self.ids.items():
            line = line.replace(ours, theirs)
        words = [each for word in shlex.split(line) for each in self.expanded(word)]
        command = PROGRAMS[words[0]] + words[1:]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "100"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        return "\n".join(
            each for each in done.stdout.splitlines() if not each.startswith("settings: ")
        ).rstrip()

    def expanded(self, word: str) -> list[str]:
        if "*" not in word:
            return [word]
        return sorted(str(each.relative_to(self.folder)) for each in self.folder.glob(word))

    def learn(self, expected: str, said: str) -> None:
        """The ids stand in the same places."""
        known = set(self.ids) | set(self.ids.values())
        ours = [each for each in dict.fromkeys(ID.findall(expected)) if each not in known]
        theirs = [each for each in dict.fromkeys(ID.findall(said)) if each not in known]
        self.ids.update(zip(ours, theirs, strict=False))

    def as_on_page(self, said: str) -> str:
        for ours, theirs in self.ids.items():
            said = said.replace(theirs, ours)
        said = re.sub(r"\b20\d\d-\d\d-\d\d\b", "2026-11-21", said)
        return said.replace(str(self.folder), "/home/ann/shop")


#: A revision, and the programs that a page may run.
ID = re.compile(r"(?<![0-9a-z])[0-9a-f]{12}(?![0-9a-z])")
PROGRAMS = {
    "dbp": [sys.executable, "-m", "db_plugins"],
    "alembic": [sys.executable, "-m", "alembic"],
    "python": [sys.executable],
    "cat": ["cat"],
    "mv": ["mv"],
    "rm": ["rm"],
}


def write_file(folder: Path, block: Block) -> None:
    assert block.file is not None
    file = folder / block.file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(block.text, encoding="utf-8")
    if file.name == "setup.cfg":
        make_known(file)


def make_known(setup: Path) -> None:
    """What `pip install` would leave behind of this setup.cfg: metadata that the registry finds."""
    config = configparser.ConfigParser()
    config.read_string(setup.read_text(encoding="utf-8"))
    name, version = config["metadata"]["name"], config["metadata"]["version"]
    info = setup.parent / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"[{group}]\n{text}\n" for group, text in config["options.entry_points"].items()]
    (info / "entry_points.txt").write_text("".join(lines))


@pytest.fixture(scope="module")
def everything() -> str:
    """All pages as one text."""
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for match in links_of(page):
        target = (page.parent / match["file"]).resolve() if match["file"] else page
        assert target.exists(), match[0]
        if match["anchor"] and target.suffix == ".md":
            assert match["anchor"] in anchors_of(target), match[0]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_addresses_are_such_as_a_reader_can_open(page: Path) -> None:
    """Whether they answer, `make links` asks."""
    for address in ADDRESS.findall(prose_of(page)):
        assert address.startswith("https://"), address
        assert not re.match(r"https://(localhost|127\.|[^/]*\.(local|internal)\b)", address), address


def test_an_address_is_written_in_one_way() -> None:
    """With or without a slash at the end, a `www.` or a capital letter: else a moved page is mended in one place only."""
    found = {address.partition("#")[0] for page in PAGES for address in ADDRESS.findall(prose_of(page))}
    plain = [re.sub(r"^https://(www\.)?", "", address).rstrip("/").lower() for address in sorted(found)]
    assert sorted(set(plain)) == sorted(plain)


def links_of(page: Path) -> Iterator[re.Match[str]]:
    """The links of a page, none of them in a block of code."""
    return LINK.finditer(prose_of(page))


def prose_of(page: Path) -> str:
    """A page without its blocks of code, and without code in its lines."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", lambda code: re.sub(r"[^\]\[]", "x", code[0]), text)


def anchors_of(page: Path) -> set[str]:
    """The anchors that a Markdown renderer makes of the page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_pages_show_files_as_they_are() -> None:
    generator = script("docs/generate_includes.py")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert generator.generate(text) == text, "run: python docs/generate_includes.py"
        assert len(generator.PART.findall(text)) == text.count("<!-- include:"), (
            f"{name_of(page)}: no block follows"
        )


def test_nobody_is_told_to_install_another_owners_distribution(everything: str) -> None:
    assert not re.search(r"pip install [^\n`]*\bdb-plugins(?![-\w])", everything)


def test_pages_are_reached_from_the_index() -> None:
    linked = {match["file"] for match in links_of(ROOT / "docs/index.md")}
    assert {page.name for page in PAGES[1:]} - {"index.md"} <= linked
