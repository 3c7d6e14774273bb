"""What is dumped to a file is loaded from it as it was, on every engine and in every format; what cannot be is told by its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from db_plugins import Capability, Database
from db_plugins.errors import DuplicateKeyError, InvalidValueError, TransferError
from db_plugins.transfer import dump, load

from .harness import Connect, Harness, faces, requires, subject
from .models import Author, Colour, Passage, Star, Thing
from .moving import FEW, boundary_rows, has_journal, rows_of
from .moving_models import Coloured, Depth, Sounding

__all__ = ["MovingFiles"]

ENDINGS = ("csv", "tsv.gz", "jsonl", "jsonl.zst", "parquet")


def _pyarrow() -> None:
    pytest.importorskip("pyarrow", reason="pyarrow reads and writes files: install db-plugins-core[frames]")


@subject("moving", Capability.WRITE)
class MovingFiles(Harness):
    """``transfer.load`` and ``transfer.dump``."""

    @faces("sync")
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_every_boundary_value_is_loaded_as_it_was_dumped(
        self, connect: Connect, tmp_path: Path, ending: str
    ) -> None:
        _pyarrow()
        db = connect(Author, Thing, Passage, Sounding, Coloured)
        db.query(Thing).bulk_insert(boundary_rows(infinity=Capability.INFINITY in db.capabilities))
        db.query(Passage).bulk_insert(
            {"id": n, "meaning": m} for n, m in enumerate([None, [0.1, -1 / 3, 1e-30], [0.0, 1.0, -2.5]], 1)
        )
        db.query(Sounding).bulk_insert({"depth": Depth(n), "note": str(n)} for n in range(7))
        db.query(Coloured).bulk_insert({"colour": colour} for colour in Colour)
        for model in (Thing, Passage, Sounding, Coloured):
            before, file = rows_of(db, model), tmp_path / f"{model.__name__}.{ending}"
            assert dump(db, model, file, batch_size=FEW).rows == len(before)
            db.query(model).delete(force=True)
            done = load(db, model, file, batch_size=FEW)
            assert (done.rows, done.inserted) == (len(before), len(before))
            for one, other in zip(before, rows_of(db, model), strict=True):
                for name, value in one.items():
                    assert (value, type(value)) == (other[name], type(other[name])), f"{name} of {one}"
        assert not has_journal(db)

    @faces("sync")
    def test_columns_have_other_names_in_a_file(self, seven: Database, tmp_path: Path) -> None:
        _pyarrow()
        before, file = rows_of(seven, Star), tmp_path / "stars.csv"
        dump(seven, Star, file, columns={"name": "Name", "mag": "Magnitude", "id": "No"})
        assert file.read_text().splitlines()[:2] == ['"Name","Magnitude","No"', '"Vega","0.03",1']
        seven.query(Star).delete(force=True)
        with pytest.raises(TransferError, match=r"column 'Magnitude'.*--column Magnitude="):
            load(seven, Star, file, columns={"Name": "name", "No": "id"})
        load(seven, Star, file, columns={"Name": "name", "No": "id", "Magnitude": None})
        assert rows_of(seven, Star) == [{**row, "mag": None, "band": None} for row in before]
        load(
            seven,
            Star,
            file,
            columns={"Name": "name", "No": "id", "Magnitude": "mag"},
            on_conflict="update",
        )
        assert rows_of(seven, Star) == [{**row, "band": None} for row in before]

    @faces("sync")
    def test_numbers_go_on_after_those_of_a_file(self, connect: Connect, tmp_path: Path) -> None:
        _pyarrow()
        db = connect(Star)
        (tmp_path / "stars.jsonl").write_text('{"id": 40, "name": "a"}\n{"id": 7, "name": "b"}\n')
        load(db, Star, tmp_path / "stars.jsonl")
        assert db.query(Star).insert({"name": "c"}).id == 41

    @faces("sync")
    @requires(Capability.UNIQUE)
    def test_lines_that_cannot_be_stored_are_told_by_number_and_put_aside(
        self, connect: Connect, tmp_path: Path
    ) -> None:
        _pyarrow()
        db = connect(Star)
        file, aside = tmp_path / "stars.csv", tmp_path / "aside.jsonl"
        file.write_text(
            "id,name,mag\n1,a,0.5\n2,b,bright\n\n3,c,1,7\n4,,\n5,a,\n6,f,1e3\n7," + "x" * 41 + ",\n8,h,\n"
        )
        with pytest.raises(InvalidValueError, match=r"Star\.mag takes float.*line 3"):
            load(db, Star, file)
        done = load(db, Star, file, skip_invalid=aside, batch_size=FEW)
        told = [json.loads(line) for line in aside.read_text().splitlines()]
        assert [(each["line"], each["attribute"]) for each in told] == [
            (3, "mag"),
            (5, None),
            (7, "name"),
            (9, "name"),
        ]
        assert told[0]["row"] == {"id": "2", "name": "b", "mag": "bright"}
        assert (done.rows, done.inserted, done.skipped) == (8, 4, 4)
        found = [(row["id"], row["name"], row["mag"]) for row in rows_of(db, Star)]
        assert found == [(1, "a", 0.5), (4, "", None), (6, "f", 1000.0), (8, "h", None)]
        assert not has_journal(db)

    @faces("sync")
    @requires(Capability.UNIQUE)
    def test_lines_that_are_there_already_stop_a_load_or_stay_or_change(
        self, seven: Database, tmp_path: Path
    ) -> None:
        _pyarrow()
        file = tmp_path / "stars.jsonl"
        rows: list[dict[str, Any]] = [{"name": "new", "mag": 9.0}, {"name": "Vega", "mag": 8.0}]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(DuplicateKeyError, match="line 2"):
            load(seven, Star, file)
        done = load(seven, Star, file, on_conflict="ignore", key="name")
        assert (done.rows, done.ignored) == (2, 2 - done.inserted)
        assert seven.query(Star).filter(name="Vega").one().mag == 0.03
        done = load(seven, Star, file, on_conflict="update", key="name")
        assert (done.updated, done.inserted, done.ignored) == (2, 0, 0)
        assert seven.query(Star).filter(name="Vega").one().mag == 8.0
        assert seven.query(Star).count() == 8
