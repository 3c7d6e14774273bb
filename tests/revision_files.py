"""Revision files for tests, in a folder as an entry has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from db_plugins.config import make_settings
from db_plugins.migrations.files import Folder
from db_plugins.migrations.revisions import History

__all__ = ["folder_at", "history_of", "write_revision"]

_FILE = '''"""{message}"""

revision = {revision!r}
down_revision = {follows!r}
branch_labels = {labels!r}
depends_on = {depends!r}

{body}
'''
_BODY = "def upgrade() -> None:\n    pass\n\n\ndef downgrade() -> None:\n    pass"


def folder_at(path: Path) -> Folder:
    """The Folder of an entry whose revisions are at this path."""
    return Folder(make_settings("A", {"ENGINE": "memory"}), path)


def write_revision(
    path: Path,
    revision: str,
    follows: str | tuple[str, ...] | None = None,
    *,
    message: str = "",
    depends: Any = None,
    labels: Any = None,
    body: str = _BODY,
    name: str | None = None,
) -> Path:
    """A revision file below ``path``."""
    file = path / "versions" / f"{name or revision}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        _FILE.format(
            message=message or f"make {revision}",
            revision=revision,
            follows=follows,
            labels=labels,
            depends=depends,
            body=body,
        )
    )
    return file


def history_of(path: Path, **revisions: str | tuple[str, ...] | None) -> History:
    """Write ``revision=what it follows`` and read the folder."""
    for revision, follows in revisions.items():
        write_revision(path, revision, follows)
    return History(folder_at(path))
