"""The steps of a transfer: every row once and in order, never more at once than was asked for, fewer of large ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import db_plugins
from db_plugins import Database, transfer
from db_plugins.models import describe
from db_plugins.query.framed import Tuples
from db_plugins.transfer.tables import MOST_ROWS, MOST_TEXT, MOST_VALUES, READ_ROWS, Side

COUNT = 2 * READ_ROWS + 345


class Base(DeclarativeBase):
    pass


class Page(Base):
    __tablename__ = "pages"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    title: Mapped[str] = mapped_column(sa.String(40))
    text: Mapped[str | None] = mapped_column(sa.Text)


class Broad(Base):
    __table__ = sa.Table(
        "broad",
        Base.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        *[sa.Column(f"c{n}", sa.Integer) for n in range(50)],
    )


def pages(count: int, text: str | None = None) -> list[dict[str, Any]]:
    return [{"id": n, "title": f"page {n}", "text": text} for n in range(count)]


def opened(folder: Path, name: str) -> Database:
    db = db_plugins.connect({"ENGINE": "sqlite", "DB_NAME": str(folder / name)}, models=[Page])
    db.create_all()
    return db


@pytest.mark.parametrize(
    "size", [1, 7, READ_ROWS - 1, READ_ROWS, READ_ROWS + 1, 2 * READ_ROWS, 10 * READ_ROWS]
)
def test_steps_hold_every_row_once_and_no_more_than_asked(tmp_path: Path, size: int) -> None:
    with opened(tmp_path, "a.db") as db:
        count = min(COUNT, 50 * size)
        db.query(Page).bulk_insert(pages(count))
        steps = list(Side(db, describe(Page)).batches(size))
    assert [row[0] for step in steps for row in step] == list(range(count))
    assert max(map(len, steps)) <= size
    assert all(steps)
    if size % READ_ROWS == 0:
        assert len(steps) == -(-count // size)


def test_a_table_of_many_columns_has_steps_of_fewer_rows(tmp_path: Path) -> None:
    with db_plugins.connect(
        {"ENGINE": "sqlite", "DB_NAME": str(tmp_path / "a.db")}, models=[Page, Broad]
    ) as db:
        narrow, broad = Side(db, describe(Page)), Side(db, describe(Broad))
    assert narrow.batch_size == MOST_ROWS
    assert broad.batch_size == MOST_VALUES // 51


def test_of_large_rows_a_step_has_fewer(tmp_path: Path) -> None:
    text = "x" * (MOST_TEXT // READ_ROWS)
    with opened(tmp_path, "a.db") as db:
        db.query(Page).bulk_insert(pages(2 * READ_ROWS + 1, text))
        steps = list(Side(db, describe(Page)).batches(10 * READ_ROWS))
    assert list(map(len, steps)) == [READ_ROWS, READ_ROWS, 1]


def test_a_step_that_is_not_read_on_holds_no_connection(tmp_path: Path) -> None:
    with opened(tmp_path, "a.db") as db:
        db.query(Page).bulk_insert(pages(COUNT))
        steps = Side(db, describe(Page)).batches(10)
        assert len(next(steps)) == 10
        steps.close()  # type: ignore[attr-defined] - it is a generator
        db.drop_all(force=True)  # SQLite refuses it while somebody reads
        db.create_all()


def test_tuples_are_taken_by_name_whatever_their_order(tmp_path: Path) -> None:
    with opened(tmp_path, "a.db") as db:
        given: Any = Tuples(("text", "id", "title"), [("a", 1, "one"), (None, 2, "two")])
        assert db.query(Page).bulk_insert(given).inserted == 2
        assert [(p.id, p.title, p.text) for p in db.query(Page).order_by(Page.id).all()] == [
            (1, "one", "a"),
            (2, "two", None),
        ]


def test_tuples_that_fit_stay_what_they_are() -> None:
    rows = [(1, "one"), (2, "two")]
    assert all(a is b for a, b in zip(Tuples(("id", "title"), rows).rows(["id", "title"]), rows, strict=True))


def test_a_copy_in_steps_is_verified(tmp_path: Path) -> None:
    with opened(tmp_path, "a.db") as source, opened(tmp_path, "b.db") as target:
        source.query(Page).bulk_insert(pages(COUNT, "x"))
        done = transfer.copy(source, target, batch_size=READ_ROWS + 17)
        assert done.tables[0].rows == COUNT
        assert target.query(Page).count() == COUNT
