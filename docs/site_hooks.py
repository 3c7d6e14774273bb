"""What `mkdocs build` does beside rendering docs/*.md: the files of the repository that pages link to become pages, too.

A page says `[engine.py](../db_plugins/engine.py)`, which is right for whoever reads the repository. In the site the link
leads to `source/db_plugins/engine.py`: Markdown as it is, anything else as a block of code, a folder as a list of its files.
A link to nothing stays as it is, and is an error of `mkdocs build --strict`.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

DOCS = Path(__file__).parent
ROOT = DOCS.parent
#: The folder of the site that holds what is not in docs/.
SOURCE = "source"
#: What docs/ gives the site as it is.
SERVED = {".md", ".svg", ".png"}
LANGUAGES = {".py": "python", ".cfg": "ini", ".toml": "toml", ".json": "json", ".yml": "yaml", ".csv": "text"}
#: A search is for pages about a name, not for each line of code that uses it.
NOT_SEARCHED = "---\nsearch:\n  exclude: true\n---\n"
FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)[ ]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?P<code>(?P<ticks>`+).+?(?P=ticks))|\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")


# -- where a file is in the site --------------------------------------------------------------------------------------


def page_of(file: Path) -> str:
    """The place in the site, below its folder of pages, of a file or folder of the repository."""
    if file.parent == DOCS and file.suffix in SERVED:
        return file.name
    name = file.relative_to(ROOT).as_posix()
    if file.is_dir():
        return f"{SOURCE}/{name}/" + ("README.md" if (file / "README.md").is_file() else "index.md")
    return f"{SOURCE}/{name}" + ("" if file.suffix == ".md" else ".md")


def folder_of(page: str) -> Path:
    """Where the links of a page begin, in the repository."""
    shown = PurePosixPath(page)
    if shown.parts[0] != SOURCE:
        return DOCS / shown.parent
    return ROOT / shown.relative_to(SOURCE).parent


def links_of(text: str, page: str) -> Iterator[Path]:
    """The files of the repository to which a page links."""
    for part in FENCE.split(text)[::2]:
        for match in LINK.finditer(part):
            if (file := linked(match["target"], page)) is not None:
                yield file


def linked(target: str | None, page: str) -> Path | None:
    """The file that a link means; None if it is no link into the repository, or one that leads nowhere."""
    if target is None or "://" in target or target.startswith("mailto:"):
        return None
    file = Path(os.path.normpath(folder_of(page) / target))
    return file if file.exists() and file.is_relative_to(ROOT) else None


def rewritten(text: str, page: str) -> str:
    """The text of a page, its links as the site needs them."""

    def link(match: re.Match[str]) -> str:
        if (file := linked(match["target"], page)) is None:
            return match[0]
        place = os.path.relpath(page_of(file), PurePosixPath(page).parent)
        return f"]({place}{match['anchor'] or ''})"

    return outside_of_code(text, lambda part: LINK.sub(link, part))


def outside_of_code(text: str, change: Callable[[str], str]) -> str:
    """The text with everything changed but its fenced blocks."""
    end, parts = 0, []
    for block in FENCE.finditer(text):
        parts += [change(text[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*parts, change(text[end:])])


# -- what it shows there ----------------------------------------------------------------------------------------------


def text_of(file: Path) -> str:
    """The Markdown of a page that shows this file or folder."""
    if file.is_dir():
        readme = file / "README.md"
        return readme.read_text(encoding="utf-8") if readme.is_file() else listing(file)
    text = file.read_text(encoding="utf-8")
    return text if file.suffix == ".md" else block_of(file, text)


def block_of(file: Path, text: str) -> str:
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`{3,}", text)), default=2))
    body = f"{fence}{LANGUAGES.get(file.suffix, 'text')}\n{text.rstrip()}\n{fence}\n"
    return f"{NOT_SEARCHED}\n# {file.relative_to(ROOT).as_posix()}\n\n{body}"


def listing(folder: Path) -> str:
    """Its Python files, each with the first line of what it says of itself, and other files."""
    rows = [f"| [{file.name}]({file.name}) | {first_words(file)} |" for file in shown_files(folder)]
    title = f"# {folder.relative_to(ROOT).as_posix()}/"
    return "\n".join(
        [
            NOT_SEARCHED,
            title,
            "",
            first_words(folder / "__init__.py"),
            "",
            "| file | |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def shown_files(folder: Path) -> list[Path]:
    return sorted(
        file for file in folder.iterdir() if file.suffix in LANGUAGES and file.name != "__init__.py"
    )


def first_words(file: Path) -> str:
    """The first line of a module's docstring; empty for another file."""
    if file.suffix != ".py" or not file.is_file():
        return ""
    said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return said.partition("\n")[0].replace("``", "`").replace("|", "\\|")


# -- what mkdocs calls ------------------------------------------------------------------------------------------------


def on_files(files: Any, config: Any) -> Any:
    """Adds a page for every file that a page links to, and for those that these link to, and so on."""
    from mkdocs.structure.files import File

    pages = {
        each.src_uri: (DOCS / each.src_uri).read_text(encoding="utf-8")
        for each in files.documentation_pages()
    }
    for place, text in linked_pages(pages).items():
        files.append(File.generated(config, place, content=text))
    return files


def linked_pages(pages: dict[str, str]) -> dict[str, str]:
    """The text of every page outside docs/ that is reached from these, by its place."""
    found: dict[str, str] = {}
    to_do: list[tuple[str, str]] = list(pages.items())
    while to_do:
        place, text = to_do.pop()
        for file in unknown(links_of(text, place), {*pages, *found}):
            found[page_of(file)] = text_of(file)
            to_do.append((page_of(file), found[page_of(file)]))
    return dict(sorted(found.items()))


def unknown(files: Iterable[Path], known: set[str]) -> Iterator[Path]:
    for file in files:
        if (place := page_of(file)) not in known and place.startswith(SOURCE):
            known.add(place)
            yield file


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Makes its links lead to pages of the site."""
    return rewritten(markdown, page.file.src_uri)
