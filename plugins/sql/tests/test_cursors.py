"""A page by cursor is a range of an index, however deep it is."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import db_plugins


class Base(DeclarativeBase):
    pass


class Reading(Base):
    __tablename__ = "reading"
    id: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(index=True)


def test_the_condition_has_a_bound_for_the_index() -> None:
    with db_plugins.connect("sqlite://", models=[Reading]) as db:
        db.create_all()
        db.query(Reading).bulk_insert([{"value": n // 3} for n in range(300)])
        statements: list[str] = []
        sa.event.listen(db.native, "before_cursor_execute", lambda *given: statements.append(given[2]))
        page = db.query(Reading).order_by("value").cursor_paginate(per_page=7)
        assert [r.id for r in page.next()] == list(range(8, 15))
        with db.native.connect() as connection:
            marks = statements[-1].count("?")
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statements[-1]}", (1,) * marks).fetchall()
    assert any(row[-1].startswith("SEARCH") and "ix_reading_value (value>?)" in row[-1] for row in plan), plan
    assert len([s for s in statements if s.startswith("SELECT")]) == 2, "one statement for each page"
