"""From every engine of this repository to every other: one rich set of models, copied, compared and copied back again."""

from __future__ import annotations

import datetime as dt
import enum
import itertools
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from seeds import ALL, make_entry
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

import db_plugins
from db_plugins import Capability, Vector, transfer

MOMENT = dt.datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=dt.UTC)


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    BLUE = "b"
    RED = "r"


member_of = sa.Table(
    "member_of",
    Base.metadata,
    sa.Column("star", sa.ForeignKey("stars.id"), primary_key=True),
    sa.Column("survey", sa.ForeignKey("surveys.code"), primary_key=True),
)


class Survey(Base):
    __tablename__ = "surveys"
    code: Mapped[str] = mapped_column(sa.String(10), primary_key=True)
    begun: Mapped[dt.date | None]


class Star(Base):
    """A tree of companions."""

    __tablename__ = "stars"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40), unique=True)
    mag: Mapped[float | None]
    colour: Mapped[Colour | None]
    seen_at: Mapped[dt.datetime | None] = mapped_column(sa.DateTime(timezone=True), onupdate=lambda: MOMENT)
    about: Mapped[Any | None] = mapped_column(sa.JSON)
    spectrum: Mapped[list[float] | None] = mapped_column(Vector(3))
    orbits_id: Mapped[int | None] = mapped_column(sa.ForeignKey("stars.id"))
    surveys: Mapped[list[Survey]] = relationship(secondary=member_of)


class Measure(Base):
    """A composite key; one part refers to a star."""

    __tablename__ = "measures"
    star_id: Mapped[int] = mapped_column(sa.ForeignKey("stars.id"), primary_key=True)
    night: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    flux: Mapped[Decimal | None] = mapped_column(sa.Numeric(12, 3))
    raw: Mapped[bytes | None]
    is_good: Mapped[bool | None]


MODELS = (Survey, Star, Measure)


def fill(db: db_plugins.Database) -> None:
    db.query(Survey).bulk_insert([{"code": "ZTF", "begun": dt.date(2018, 3, 1)}, {"code": "É \U0001f600"}])
    rows: list[dict[str, Any]] = [
        {"id": 40, "name": "Vega", "mag": 0.03, "colour": Colour.BLUE, "seen_at": MOMENT},
        {"id": 7, "name": "vega", "mag": 1 / 3, "about": {"a.b": [1, None, {"$x": 1.5}], "é": "\U00010400"}},
        {"id": 12, "name": "", "mag": -1e300, "about": [], "spectrum": [0.1, -1 / 3, 1e-30]},
        {"id": -3, "name": "Ω\n\t'\"", "colour": Colour.RED, "about": "text", "spectrum": [0.0, 1.0, 2.0]},
    ]
    seen = {"seen_at": None, "about": None, "spectrum": None, "mag": None, "colour": None}
    db.query(Star).bulk_insert([{**seen, **row} for row in rows])
    # What an update stamps is given, so that it stays.
    db.query(Star).bulk_update([{"id": 7, "orbits_id": 40, "seen_at": None}])
    db.query(Star).bulk_update([{"id": 40, "orbits_id": -3, "seen_at": MOMENT}])
    db.query(Measure).bulk_insert(
        {
            "star_id": star,
            "night": uuid.UUID(int=n << 100),
            "flux": Decimal("123456789.125") * (-1) ** n,
            "raw": bytes(range(256)) * n,
            "is_good": [None, True, False][n % 3],
        }
        for star in (40, 7)
        for n in range(5)
    )
    links = db_plugins.models.links.link_model(member_of)
    db.query(links).bulk_insert([{"star": 40, "survey": "ZTF"}, {"star": 7, "survey": "É \U0001f600"}])


@pytest.fixture
def databases(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[db_plugins.Database, db_plugins.Database]]:
    """The two of the test."""
    source, target = request.node.callspec.params["pair"]
    opened = []
    for name in (source, target):
        (folder := tmp_path / name).mkdir()
        opened.append(db_plugins.connect(make_entry(name, request, folder), models=MODELS))
    opened[0].create_all()
    yield opened[0], opened[1]
    for db in opened:
        db.close()


@pytest.mark.parametrize("pair", list(itertools.permutations(ALL, 2)), ids="-to-".join)
def test_a_database_moves_to_another_engine(
    databases: tuple[db_plugins.Database, db_plugins.Database], pair: tuple[str, str]
) -> None:
    source, target = databases
    fill(source)
    done = transfer.copy(source, target, create=True, batch_size=3)
    assert done.verified is not None
    assert done.verified.ok
    assert done.rows == 2 + 4 + 10 + 2
    for table in done.verified.tables:
        assert table.rows == table.target_rows
        assert table.checksum == table.target_checksum
    is_coarser = any(Capability.MICROSECONDS not in db.capabilities for db in databases)
    assert len(done.verified.notes) == is_coarser
    if is_coarser:
        assert "milliseconds" in done.verified.notes[0]
    for model, key in ((Survey, ["code"]), (Star, ["id"]), (Measure, ["star_id", "night"])):
        given = list(source.query(model).order_by(*key).to_dicts())
        for one, other in zip(given, target.query(model).order_by(*key).to_dicts(), strict=True):
            if "seen_at" in one and one["seen_at"] is not None and is_coarser:
                assert one.pop("seen_at") - other.pop("seen_at") < dt.timedelta(milliseconds=1)
            assert {name: type(value) for name, value in one.items()} == {
                name: type(value) for name, value in other.items()
            }
            assert one == other
    assert target.query(Star).insert({"name": "new"}).id == 41
    with pytest.raises(db_plugins.errors.VerificationError) as caught:
        transfer.verify(source, target)
    assert [str(each) for each in caught.value.differences] == ["Star 41 is extra"]
