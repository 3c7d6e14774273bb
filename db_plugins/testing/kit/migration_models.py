"""Models in versions, and a database that is opened with one after the other: what the tests of migrations stand on.

    bench.open(models(Star=star()))                         a Database with these models; no table is made
    bench.open(models(Star=star(mag=column(sa.Float))))     the same database, opened with the next version

Each version has classes, metadata and columns of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, mapped_column

from db_plugins import Database
from db_plugins import connect as connect_to
from db_plugins.migrations import check, current, initdb, make_migrations, migrate
from db_plugins.migrations.making import Made
from db_plugins.migrations.status import Checked

if TYPE_CHECKING:
    from .harness import Harness

__all__ = ["Bench", "column", "models", "rows_of", "star", "store_of"]

#: Of a column that none says anything of, SQLAlchemy makes a nullable one.
column = mapped_column


def store_of(name: str) -> str:
    """The table of the model of this name."""
    return f"kit_m_{name.lower()}"


def star(**columns: Any) -> dict[str, Any]:
    """The columns of the everyday model, and these."""
    return {"id": column(sa.Integer, primary_key=True), "name": column(sa.String(40)), **columns}


def models(**described: Mapping[str, Any]) -> tuple[type, ...]:
    """A class for each name, in a registry of their own: ``models(Star=star(), Planet={…})``."""

    class Base(DeclarativeBase):
        pass

    return tuple(
        type(name, (Base,), {"__tablename__": store_of(name), **attributes})
        for name, attributes in described.items()
    )


def rows_of(db: Database) -> dict[str, list[dict[str, Any]]]:
    """All rows of the models whose table is there, by the model's name, in the order of their keys."""
    there = set(db.ping().models)
    return {
        info.name: [
            dict(row) for row in db.query(info.cls).order_by(*(each.name for each in info.key)).to_dicts()
        ]
        for info in db._models()
        if info.name in there
    }


class Bench:
    """One database and its folder of revisions, to be opened with other models again and again."""

    def __init__(self, harness: Harness, entry: Mapping[str, Any], folder: Path) -> None:
        self.harness = harness
        self.entry = dict(entry)
        self.folder = folder
        self._opened: list[Database] = []

    def open(self, classes: Sequence[type]) -> Database:
        """A Database on it with these models. Makes no table."""
        db = connect_to(self.entry, models=list(classes))
        if self._opened and not self.harness.is_shared:
            db._connection = self._opened[0]._connected()  # what lives in memory has one way to it
        self._opened.append(db)
        return db

    def close(self) -> None:
        """Close all that were opened."""
        for db in reversed(self._opened):
            with suppress(Exception):
                db.close()

    # -- the verbs, with this folder -------------------------------------------------------------------------------

    def begin(
        self, classes: Sequence[type], rows: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
    ) -> Database:
        """The database as ``initdb`` makes it of these models, with these rows."""
        db = self.open(classes)
        initdb(db, folder=self.folder)
        by_name = {cls.__name__: cls for cls in classes}
        for name, own in (rows or {}).items():
            db.query(by_name[name]).bulk_insert(own)
        return db

    def make(self, db: Database, message: str | None = None, **options: Any) -> Made | None:
        """``make_migrations``."""
        return make_migrations(db, message, folder=self.folder, **options)

    def made(self, db: Database, message: str | None = None, **options: Any) -> Made:
        """``make_migrations`` of models that differ."""
        made = self.make(db, message, **options)
        assert made is not None, "the models differ from the database, and no revision was made"
        return made

    def migrate(self, db: Database, revision: str = "head", **options: Any) -> list[str]:
        """``migrate``; returns the revisions that were run."""
        return [step.revision for step in migrate(db, revision, folder=self.folder, **options).done]

    def is_clean(self, db: Database) -> bool:
        """Fail with what ``check`` finds."""
        return _is_clean(check(db, folder=self.folder))

    def is_as_asked(self, db: Database) -> bool:
        """Fail with what the models ask for beyond the database, whatever revisions wait."""
        found = check(db, folder=self.folder)
        assert (found.differences, found.problems) == ((), ()), f"check finds {found}"
        return True

    def files(self) -> list[str]:
        """The names of the revision files."""
        return sorted(path.name for path in (self.folder / "versions").glob("*.py"))

    def fingerprint(self, db: Database) -> dict[str, Any]:
        """All that a migration may change, seen with this Database's models; two are equal if nothing changed."""
        return self._fingerprint(db, check(db, folder=self.folder))

    def clean_fingerprint(self, db: Database) -> dict[str, Any]:
        """``fingerprint`` and ``is_clean`` in one: what they compare takes most of the time of a test."""
        found = check(db, folder=self.folder)
        assert _is_clean(found)
        return self._fingerprint(db, found)

    def _fingerprint(self, db: Database, found: Checked) -> dict[str, Any]:
        return {
            "schema": self.harness.schema(db),
            "rows": rows_of(db),
            "at": current(db, folder=self.folder).revisions,
            "differences": sorted(found.differences),
        }


def _is_clean(found: Checked) -> bool:
    assert found.ok, f"check finds {found}"
    return True
