"""The folder of an entry's revisions: made on first need, never overwritten, good for version control.

migrations/<entry>/script.py.mako     how a revision file looks; yours to change
migrations/<entry>/versions/*.py      the revisions
migrations/<entry>/…                  what the engine adds: alembic.ini and env.py on SQL
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, MigrationError

if TYPE_CHECKING:
    from ..config import Settings

__all__ = ["Folder", "Text"]

TEMPLATE = "script.py.mako"
_OWN = Path(__file__).with_name("templates")
_ENTRY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
_LONGEST_SLUG = 60


class Text:
    """The source of a revision's two functions."""

    def __init__(
        self, upgrades: Sequence[str] = (), downgrades: Sequence[str] = (), imports: Sequence[str] = ()
    ) -> None:
        self.upgrades = _indented(upgrades)
        self.downgrades = _indented(downgrades)
        self.imports = "\n".join(sorted(set(imports), key=_like_isort))


class Folder:
    """Where the revisions of one entry are. Nothing is made until something is written."""

    def __init__(self, settings: Settings, given: str | os.PathLike[str] | None = None) -> None:
        self.entry = settings.name
        root = settings.home or Path.cwd()
        chosen = given if given is not None else settings.migrations
        if chosen is None and not _ENTRY.fullmatch(settings.name):
            raise ConfigError(
                f"the entry {settings.name!r} cannot name the folder of its revisions",
                hint="use letters, digits, _ and -, or give the entry a MIGRATIONS = 'migrations/…'",
            )
        self.path = root / (Path(chosen) if chosen is not None else Path("migrations", settings.name))

    def __str__(self) -> str:
        try:
            return str(self.path.relative_to(Path.cwd()))
        except ValueError:
            return str(self.path)

    @property
    def versions(self) -> Path:
        """Where the revision files are."""
        return self.path / "versions"

    @property
    def exists(self) -> bool:
        """Has anything been written?"""
        return self.versions.is_dir()

    def make(self, files: Mapping[str, str]) -> None:
        """Make what is missing: ``versions``, the template, and these files.

        The last of the files is written last. Where it stands the folder has them, or it is an environment of its
        owner's, to which another's files would not fit: an Alembic folder that was adopted has its ini elsewhere.
        """
        self.versions.mkdir(parents=True, exist_ok=True)
        if any((self.path / name).exists() for name in list(files)[-1:]):
            files = {}
        for name, text in {TEMPLATE: self._template_text, **files}.items():
            with suppress(FileExistsError):
                write_new(self.path / name, text)

    @cached_property
    def _template_text(self) -> str:
        return (_OWN / TEMPLATE).read_text(encoding="utf-8")

    def write(self, revision: str, message: str, follows: str | tuple[str, ...] | None, text: Text) -> Path:
        """Write a revision file by the folder's template. Raises MigrationError for a template that fails."""
        from mako.template import Template  # type: ignore[import-untyped]

        template = self.path / TEMPLATE
        values: dict[str, Any] = {
            "message": message,
            "up_revision": revision,
            "down_revision": follows,
            "branch_labels": None,
            "depends_on": None,
            "create_date": datetime.now(UTC),
            "comma": lambda each: ", ".join(each) if isinstance(each, tuple) else each or "",
            "upgrades": text.upgrades,
            "downgrades": text.downgrades,
        }
        try:
            source = template.read_text(encoding="utf-8") if template.exists() else self._template_text
            values["imports"] = _without(
                text.imports, source
            )  # Alembic's own template imports sa and op itself
            made = str(Template(source, strict_undefined=True).render(**values))  # noqa: S702  (Python, no HTML)
            _check_whole(made, revision)
        except Exception as error:
            raise MigrationError(
                f"{template} makes no revision: {type(error).__name__}: {error}",
                hint="mend it, or delete it to have it made anew",
            ) from error
        slug = _slug(message)
        path = self.versions / f"{revision if slug in ('', revision) else f'{revision}_{slug}'}.py"
        write_new(path, made)
        return path


def _check_whole(source: str, revision: str) -> None:
    """Raise SyntaxError or ValueError for a file that could not be read as this revision."""
    found = set()
    for each in ast.parse(source).body:
        targets = each.targets if isinstance(each, ast.Assign) else [getattr(each, "target", None)]
        if any(isinstance(it, ast.Name) and it.id == "revision" for it in targets):
            value = getattr(each, "value", None)
            found.add(value.value if isinstance(value, ast.Constant) else None)
        elif isinstance(each, ast.FunctionDef):
            found.add(f"{each.name}()")
    missing = {revision, "upgrade()", "downgrade()"} - found
    if missing:
        raise ValueError(f"it leaves out {', '.join(sorted(missing))}")


def write_new(path: Path, text: str) -> None:
    """Write a whole file or none. Raises FileExistsError and leaves what is there."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(partial, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
    finally:
        partial.unlink(missing_ok=True)


def _slug(message: str) -> str:
    """``Add shields!`` → ``add_shields``; nothing that could leave the folder."""
    return re.sub(r"[^a-z0-9]+", "_", message.lower()).strip("_")[:_LONGEST_SLUG].rstrip("_")


def _indented(statements: Sequence[str]) -> str:
    """Statements as they stand in a function, without the first line's indentation.

    Only lines that begin outside of a string may be indented.
    """
    lines: list[str] = []
    is_empty = True
    for statement in statements:
        own = statement.strip("\n").split("\n")
        tree = ast.parse(statement.strip("\n"))
        is_empty = is_empty and not tree.body
        inside = {
            number
            for node in ast.walk(tree)
            if isinstance(node, (ast.Constant, ast.JoinedStr)) and node.end_lineno is not None
            for number in range(node.lineno + 1, node.end_lineno + 1)
        }
        lines += [
            line if number in inside or not line else f"    {line}" for number, line in enumerate(own, 1)
        ]
    if lines and is_empty:  # a function of comments alone is none
        lines.append("    pass")
    return "\n".join(lines).removeprefix("    ")


def _without(imports: str, template: str) -> str:
    """The imports that the template does not hold."""
    known = {line.strip() for line in template.splitlines()}
    return "\n".join(line for line in imports.splitlines() if line not in known)


def _like_isort(line: str) -> tuple[bool, str]:
    return (not line.startswith("import "), line.lower())
