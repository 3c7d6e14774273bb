"""Puts the text of files into the pages that show them; ``--check`` only says whether all are current.

    python docs/generate_includes.py [PAGE.md …]

A comment above a block names what it holds. The block's text is generated, everything else is written by hand:

    <!-- include: examples/alerce/step.py -->               the file, without its module's docstring if it is Python
    <!-- include: examples/alerce/step.py store, Batch -->  only these functions, classes or names of its top level
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
PART = re.compile(
    r"^<!-- include: (?P<file>\S+)(?P<names>[^>]*?) -->\n```(?P<language>\w+)\n.*?^```$",
    re.MULTILINE | re.DOTALL,
)


def included(file: Path, names: list[str]) -> str:
    """What a page shows of this file. Raises SystemExit for what is not there."""
    if not file.is_file():
        raise SystemExit(f"there is no {file}")
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        return text.strip("\n")
    lines, body = text.splitlines(), ast.parse(text).body
    if not names:
        after = body[0].end_lineno if ast.get_docstring(ast.parse(text)) is not None else 0
        return "\n".join(lines[after:]).strip("\n")
    parts = {name: lines[first_line(node) - 1 : node.end_lineno] for node in body for name in names_of(node)}
    if unknown := [name for name in names if name not in parts]:
        raise SystemExit(f"{file} has no {', '.join(unknown)}")
    return "\n\n\n".join("\n".join(parts[name]) for name in names)


def first_line(node: ast.stmt) -> int:
    """The line on which it begins, its decorators included."""
    return min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])


def names_of(node: ast.stmt) -> list[str]:
    """What a statement of a module's top level gives a name to."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Assign():
            return [
                each.id for target in node.targets for each in ast.walk(target) if isinstance(each, ast.Name)
            ]
    return []


def generate(text: str) -> str:
    """The page with every generated part made anew."""

    def part(match: re.Match[str]) -> str:
        names = match["names"].replace(",", " ").split()
        comment = match[0].partition("\n")[0]
        return f"{comment}\n```{match['language']}\n{included(ROOT / match['file'], names)}\n```"

    return PART.sub(part, text)


def main(arguments: list[str]) -> int:
    """Write the pages, or compare them."""
    pages = [Path(each).resolve() for each in arguments if each != "--check"] or PAGES
    stale = [page for page in pages if generate(old := page.read_text(encoding="utf-8")) != old]
    for page in stale:
        name = page.relative_to(ROOT).as_posix()
        if "--check" in arguments:
            print(f"{name} is not current; run: python docs/generate_includes.py", file=sys.stderr)
        else:
            page.write_text(generate(page.read_text(encoding="utf-8")), encoding="utf-8")
            print(f"wrote {name}")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
