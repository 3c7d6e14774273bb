"""Cells of a file: what each kind of column is written as and read from, and on which line a row is."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import db_plugins
from db_plugins import Database, errors, transfer


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    RED = "r"


class Loud(sa.TypeDecorator[str]):
    """Small letters in Python, large ones in the database."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value.upper()

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value.lower()


class Thing(Base):
    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(sa.String(40))
    price: Mapped[Decimal | None] = mapped_column(sa.Numeric(12, 3))
    weight: Mapped[float | None]
    active: Mapped[bool | None]
    colour: Mapped[Colour | None]
    made: Mapped[dt.datetime | None] = mapped_column(sa.DateTime(timezone=True))
    day: Mapped[dt.date | None]
    at: Mapped[dt.time | None]
    code: Mapped[uuid.UUID | None]
    raw: Mapped[bytes | None]
    notes: Mapped[Any] = mapped_column(sa.JSON(none_as_null=True), nullable=True)
    loud: Mapped[str | None] = mapped_column(Loud)


ROWS: list[dict[str, Any]] = [
    {
        "id": 1,
        "name": 'two\nlines, "quoted"',
        "price": Decimal("1.500"),
        "weight": 0.1,
        "active": True,
        "colour": Colour.RED,
        "made": dt.datetime(2024, 5, 1, 12, 30, 0, 123456, tzinfo=dt.UTC),
        "day": dt.date(2024, 5, 1),
        "at": dt.time(1, 2, 3),
        "code": uuid.UUID(int=7),
        "raw": b"\x00\xff",
        "notes": {"a": [1, 2.5, None, "é\n"]},
        "loud": "aha",
    },
    {"id": 2, "name": "", "weight": -0.0, "active": False, "raw": b"", "notes": "text", "loud": ""},
    {"id": 3},
]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Database, Database]]:
    entries = [{"ENGINE": "sqlite", "DB_NAME": str(tmp_path / name)} for name in ("a.db", "b.db")]
    with (
        db_plugins.connect(entries[0], models=[Thing]) as one,
        db_plugins.connect(entries[1], models=[Thing]) as other,
    ):
        one.create_all()
        other.create_all()
        yield one, other


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet", "csv.gz", "jsonl.zst"])
def test_every_kind_comes_back(pair: tuple[Database, Database], tmp_path: Path, form: str) -> None:
    one, other = pair
    one.query(Thing).bulk_insert(ROWS)
    transfer.dump(one, Thing, tmp_path / f"things.{form}")
    assert transfer.load(other, Thing, tmp_path / f"things.{form}").inserted == len(ROWS)
    assert transfer.verify(one, other).ok


def test_a_csv_file_says_what_a_reader_of_csv_expects(
    pair: tuple[Database, Database], tmp_path: Path
) -> None:
    one, _ = pair
    one.query(Thing).bulk_insert(ROWS[1:])
    file = tmp_path / "things.csv"
    transfer.dump(one, Thing, file, columns=["name", "active", "notes", "loud"])
    assert file.read_text(encoding="utf-8").splitlines() == [
        '"name","active","notes","loud"',
        '"","false","""text""",""',
        ",,,",
    ]


def test_json_lines_say_json(pair: tuple[Database, Database], tmp_path: Path) -> None:
    one, _ = pair
    one.query(Thing).bulk_insert(ROWS[:1])
    file = tmp_path / "things.jsonl"
    transfer.dump(one, Thing, file, columns=["active", "weight", "price", "colour", "notes", "loud"])
    assert file.read_text(encoding="utf-8") == (
        '{"active": true, "weight": 0.1, "price": "1.500", "colour": "RED", '
        '"notes": {"a": [1, 2.5, null, "é\\n"]}, "loud": "AHA"}\n'
    )


CSV = 'id,name\n1,"a\nb\nc"\n2,d\n\n3,e,too many\n"\n4",f\nfive,g\n6,"h\n"\nseven,i\n'


def test_a_bad_row_is_told_by_its_line(pair: tuple[Database, Database], tmp_path: Path) -> None:
    """Cells of several lines, an empty line and a row of too many values come before it."""
    _, db = pair
    (tmp_path / "things.csv").write_text(CSV, encoding="utf-8")
    done = transfer.load(db, Thing, tmp_path / "things.csv", skip_invalid=tmp_path / "bad.jsonl")
    assert (done.inserted, done.skipped) == (4, 3)
    told = (tmp_path / "bad.jsonl").read_text(encoding="utf-8").splitlines()
    assert [line.split('"line": ')[1].split(",")[0] for line in told] == ["7", "10", "13"]
    with pytest.raises(errors.InvalidValueError, match=r"line 7\b"):
        transfer.load(db, Thing, tmp_path / "things.csv", on_conflict="ignore")
