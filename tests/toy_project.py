"""A project of the toy engine, in the current folder: settings, models that are rewritten, ``dbp`` in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from sqlalchemy import Integer
from sqlalchemy.orm import DeclarativeBase, mapped_column
from toy_migrations import TOYS, Toy

import db_plugins
from db_plugins.cli.app import dbp

__all__ = ["Project", "models_of"]

#: The columns of each table beside ``id``.
Tables = Mapping[str, Sequence[str]]


def models_of(tables: Tables) -> list[type]:
    """Mapped classes of these tables."""

    class Base(DeclarativeBase):
        pass

    return [
        type(
            table.capitalize(),
            (Base,),
            {
                "__tablename__": table,
                "id": mapped_column(Integer, primary_key=True),
                **{name: mapped_column(Integer) for name in columns},
            },
        )
        for table, columns in tables.items()
    ]


class Project:
    """One entry ``A`` at first, of the database ``a``."""

    def __init__(self, path: Path, *, journal: bool) -> None:
        self.path = path
        self.entry: dict[str, Any] = {"ENGINE": "toy", "DB_NAME": "a", "OPTIONS": {"journal": journal}}
        self.write_settings(A=self.entry)
        self.write_models(stars=["mag"])

    @property
    def toy(self) -> Toy:
        """The database of entry A."""
        return TOYS["a"]

    def write_settings(self, **entries: Mapping[str, Any]) -> None:
        (self.path / "settings.py").write_text(f"DB_CONFIG = {dict(entries)!r}\nMODELS = ['models']\n")

    def write_models(self, source: str | None = None, **tables: Sequence[str]) -> None:
        text = (
            source
            or f"from toy_project import models_of\nglobals().update({{m.__name__: m for m in models_of({tables!r})}})\n"
        )
        (self.path / "models.py").write_text(text)
        sys.modules.pop("models", None)
        self.tables = tables

    def connect(self) -> db_plugins.Database:
        """For the functions of ``db_plugins.migrations``."""
        return db_plugins.connect("A")

    def dbp(self, *arguments: str, code: int = 0) -> Result:
        """Run ``dbp`` with these arguments; it must end with this code and without a traceback."""
        sys.modules.pop("models", None)
        done = CliRunner().invoke(dbp, arguments, color=True)
        assert "Traceback" not in done.output
        assert done.exit_code == code, done.output
        return done

    def told(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """The JSON document of ``dbp``."""
        found: dict[str, Any] = json.loads(self.dbp(*arguments, "--json", code=code).stdout)
        assert found["ok"] is (code in (0, 3))
        return found

    @property
    def files(self) -> list[Path]:
        """The revision files of entry A."""
        return self.files_of("A")

    def files_of(self, entry: str) -> list[Path]:
        return sorted((self.path / "migrations" / entry / "versions").glob("*.py"))

    def revise(self, message: str, **tables: Sequence[str]) -> Path:
        """Change the models and make a revision of it."""
        self.write_models(**tables)
        before = set(self.files)
        self.dbp("make_migrations", "-m", message, "--database", "A")
        (made,) = set(self.files) - before
        return made

    def write(
        self,
        revision: str,
        follows: str | None,
        body: str,
        *,
        entry: str = "A",
        message: str = "by hand",
        down: str = "pass",
    ) -> Path:
        """A revision with this ``upgrade()``, which may be several lines."""
        path = self.path / "migrations" / entry / "versions" / f"{revision}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"    {line}\n" for line in body.split("\n"))
        path.write_text(
            f'"""{message}"""\nimport time\nfrom toy_migrations import op\nrevision = {revision!r}\n'
            f"down_revision = {follows!r}\n\ndef upgrade():\n{lines}\ndef downgrade():\n    {down}\n"
        )
        return path
