"""The parts of a transfer that no engine is needed for: the order of tables, files, cells and canonical values."""

from __future__ import annotations

import datetime as dt
import gzip
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, mapped_column

from db_plugins.errors import (
    InvalidValueError,
    TransferError,
)
from db_plugins.models import describe
from db_plugins.testing.kit.models import Colour, Labelled, Thing
from db_plugins.transfer.canonical import make_canonical
from db_plugins.transfer.cells import json_of, reader_of, text_of
from db_plugins.transfer.formats import Format, encode, file_format, read_lines
from db_plugins.transfer.plan import make_plan

THING = describe(Thing)
FIELDS = {f.name: f for f in THING.fields}


# -- the order of tables -----------------------------------------------------------------------------------------------


class Planned(DeclarativeBase):
    pass


def table(name: str, **columns: Any) -> type:
    """A model with these foreign keys; one ending in "?" may be NULL."""
    made: dict[str, Any] = {
        "__tablename__": f"plan_{name}",
        "id": mapped_column(sa.Integer, primary_key=True),
    }
    for attribute, target in columns.items():
        key = sa.ForeignKey(f"plan_{target.strip('?')}.id", use_alter=True, name=f"fk_{name}_{attribute}")
        made[attribute] = mapped_column(sa.Integer, key, nullable=target.endswith("?"))
    return type(name, (Planned,), made)


Root = table("root")
Child = table("child", root_id="root")
Grand = table("grand", child_id="child", root_id="root?")
Tree = table("tree", on_id="tree?")
Snake = table("snake", tail_id="snake")
Hen = table("hen", egg_id="egg?")
Egg = table("egg", hen_id="hen")
One = table("one", two_id="two")
Two = table("two", three_id="three")
Three = table("three", one_id="one?")
Cain = table("cain", abel_id="abel")
Abel = table("abel", cain_id="cain")


def planned(*models: type) -> list[tuple[str, list[str]]]:
    return [
        (step.info.name, [f.name for f in step.later])
        for step in make_plan([describe(model) for model in models])
    ]


@pytest.mark.parametrize(
    ("models", "wanted"),
    [
        ([Grand, Child, Root], [("root", []), ("child", []), ("grand", [])]),
        ([Grand, Root], [("root", []), ("grand", [])]),
        ([Child], [("child", [])]),
        ([Tree, Root], [("root", []), ("tree", ["on_id"])]),
        ([Snake], [("snake", [])]),
        ([Egg, Hen], [("hen", ["egg_id"]), ("egg", [])]),
        ([One, Two, Three], [("three", ["one_id"]), ("two", []), ("one", [])]),
        ([], []),
    ],
)
def test_parents_come_before_children(models: list[type], wanted: list[tuple[str, list[str]]]) -> None:
    assert planned(*models) == wanted


def test_a_circle_of_required_keys_has_no_beginning() -> None:
    with pytest.raises(TransferError, match=r"(abel_id and abel\.cain_id|cain_id and cain\.abel_id).*NULL"):
        planned(Root, Abel, Cain)


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.csv", Format("csv")),
        ("dir.x/a.b.TSV", Format("tsv")),
        ("a.ndjson.gz", Format("jsonl", "gzip")),
        ("a.csv.zst", Format("csv", "zstd")),
        ("a.parquet", Format("parquet")),
    ],
)
def test_a_name_says_its_format(name: str, form: Format) -> None:
    assert file_format(name) == form


@pytest.mark.parametrize("name", ["a", "a.gz", "a.xlsx", "-", "a.parquet.gz", "csv"])
def test_a_name_that_says_none_is_refused(name: str) -> None:
    with pytest.raises(TransferError):
        file_format(name)


def lines(tmp_path: Path, content: bytes, name: str = "a.csv") -> list[tuple[int, Any]]:
    """The rows with their lines; of a line that is none its reason."""
    (tmp_path / name).write_bytes(content)
    found = read_lines(str(tmp_path / name), file_format(name))
    return [(line.number, line.reason if line.row is None else dict(line.row)) for line in found]


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", []),
        (b"a,b\n", []),
        (b"a,b\n1,2\n", [(2, {"a": "1", "b": "2"})]),
        (b"a,b\n1,2", [(2, {"a": "1", "b": "2"})]),
        (b"\xef\xbb\xbfa,b\r\n1,2\r\n3,4\r\n", [(2, {"a": "1", "b": "2"}), (3, {"a": "3", "b": "4"})]),
        (b'a,b\n1,\n1,""\n', [(2, {"a": "1", "b": None}), (3, {"a": "1", "b": ""})]),
        (b'a,b\n"x\ny\n",2\n3,4\n', [(2, {"a": "x\ny\n", "b": "2"}), (5, {"a": "3", "b": "4"})]),
        (b'a,b\n"say ""hi"", ok",2\n', [(2, {"a": 'say "hi", ok', "b": "2"})]),
        (b"a,b\n\n1,2\n\n\n3,4\n\n", [(3, {"a": "1", "b": "2"}), (6, {"a": "3", "b": "4"})]),
        (
            b"a,b\n1\n1,2\n1,2,3\n3,4\n9\n",
            [
                (2, "1 values, and 2 columns"),
                (3, {"a": "1", "b": "2"}),
                (4, "3 values, and 2 columns"),
                (5, {"a": "3", "b": "4"}),
                (6, "1 values, and 2 columns"),
            ],
        ),
        (b'a,b\n"x\ny",2,3\n4,5\n', [(2, "3 values, and 2 columns"), (4, {"a": "4", "b": "5"})]),
        ("a,b\né\U0001f600,2\n".encode(), [(2, {"a": "é\U0001f600", "b": "2"})]),
    ],
)
def test_lines_of_csv(tmp_path: Path, content: bytes, wanted: list[tuple[int, Any]]) -> None:
    assert lines(tmp_path, content) == wanted


def test_lines_are_counted_over_the_blocks_of_a_large_file(tmp_path: Path) -> None:
    rows = [f'{n},"{"x" * (n % 50)}{chr(10) * (n % 3 == 0)}"' for n in range(100_000)]
    found = lines(tmp_path, ("n,t\n" + "\n".join(rows) + "\n7\n8,z\n").encode())
    number = 2
    for n, (line, row) in enumerate(found[:100_000]):
        assert (line, row["n"]) == (number, str(n))
        number += 1 + (n % 3 == 0)
    assert found[100_000:] == [(number, "1 values, and 2 columns"), (number + 1, {"n": "8", "t": "z"})]


def test_a_cell_larger_than_a_block(tmp_path: Path) -> None:
    big = "x" * (5 << 20)
    try:
        found = lines(tmp_path, f"a,b\n1,{big}\n2,y\n".encode())
    except TransferError as error:
        assert "cannot be read as csv" in str(error)  # noqa: PT017 - either is right, silence is not
    else:
        assert [(number, len(row["b"])) for number, row in found] == [(2, len(big)), (3, 1)]


def test_lines_of_json(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"a": 1}\r\n\n[1]\n{"a": \n{"b": "x\\ny"}\n7\n' + b"[" * 100_000 + b"\n"
    found = lines(tmp_path, content, "a.jsonl")
    assert [(number, row if isinstance(row, dict) else row.partition(":")[0]) for number, row in found] == [
        (1, {"a": 1}),
        (3, "no JSON object"),
        (4, "no JSON"),
        (5, {"b": "x\ny"}),
        (6, "no JSON object"),
        (7, "no JSON"),
    ]


@pytest.mark.parametrize("ending", ["csv.gz", "csv.zst", "jsonl.gz", "jsonl.zst", "tsv"])
def test_parts_stand_one_behind_the_other(tmp_path: Path, ending: str) -> None:
    form = file_format(f"a.{ending}")
    parts = [
        encode(form, ["a", "b"], [(1, "x"), (2, None)], header=True),
        encode(form, ["a", "b"], [(3, "")], header=False),
    ]
    found = lines(tmp_path, b"".join(parts), f"a.{ending}")
    assert [tuple(row.values()) for _, row in found] in (
        [("1", "x"), ("2", None), ("3", "")],
        [(1, "x"), (2, None), (3, "")],
    )


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.csv", b"a,b\n\xff\xfe,1\n", "a.csv"),
        ("a.jsonl", b'{"a": "\xff"}\n', "UTF-8"),
        ("a.csv.gz", b"no gzip at all", "a.csv.gz"),
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n" * 1000, mtime=0)[:-20], "a.csv.gz"),
        ("a.jsonl.zst", b"no zstd at all", "a.jsonl.zst"),
        ("a.parquet", b"no parquet", "a.parquet"),
        ("a.parquet", b"", "a.parquet"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_a_transfer_error(
    tmp_path: Path, name: str, content: bytes, text: str
) -> None:
    with pytest.raises(TransferError, match=text):
        lines(tmp_path, content, name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="there is no file"):
        list(read_lines(str(tmp_path / "none.csv"), Format("csv")))
    with pytest.raises(TransferError, match="cannot be read"):
        list(read_lines(str(tmp_path), Format("csv")))


# -- cells -------------------------------------------------------------------------------------------------------------

milliseconds = st.integers(0, 999_999)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | texts
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": texts,
    "big": st.integers(-(2**63), 2**63 - 1),
    "size": st.floats(allow_nan=False),
    "price": st.decimals(-(10**8), 10**8, places=3),
    "flag": st.booleans(),
    "colour": st.sampled_from(Colour),
    "letter": st.sampled_from("SML"),
    "at": st.datetimes(timezones=st.just(dt.UTC)),
    "local": st.datetimes(),
    "day": st.dates(),
    "hour": st.times(),
    "token": st.uuids(),
    "raw": st.binary(max_size=40),
    "extra": st.recursive(
        leaves, lambda s: st.lists(s, max_size=3) | st.dictionaries(texts, s, max_size=3), max_leaves=6
    ).filter(lambda value: value is not None),
}


def or_none(function: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    """What is no function leaves values as they are; no function is asked about None."""
    return lambda value: value if value is None or function is None else function(value)


@pytest.mark.parametrize("column", VALUES)
def test_a_value_is_read_from_a_file_as_it_was_written(column: str, tmp_path: Path) -> None:
    field = FIELDS[column]
    found: list[Any] = []

    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(VALUES[column])
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    for ending, make, has_json in (("csv", text_of, False), ("jsonl", json_of, True)):
        written, read = or_none(make(field)), or_none(reader_of(field, has_json=has_json))
        told: list[tuple[Any, ...]] = [(n, written(value)) for n, value in enumerate([*found, None])]
        data = encode(Format(ending), ["n", "v"], told, header=True)
        again = [read(row["v"]) for _, row in lines(tmp_path, data, f"a.{ending}")]
        for given_, value in zip([*found, None], again, strict=True):
            name = getattr(given_, "name", given_) if column == "colour" else given_
            value = getattr(value, "name", value) if column == "colour" else value
            assert (value, type(value)) == (name, type(name)), ending


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("number", "1_000"), ("number", "1.0"), ("number", "seven"), ("number", "0x10"), ("size", "1_0.5"), ("size", ""),
        ("price", "1,5"), ("flag", "maybe"), ("at", "yesterday"), ("day", "2026-02-30"), ("hour", "25:00"),
        ("token", "xyz"), ("raw", "~~~"), ("extra", "{"), ("extra", "[" * 100_000),
    ],
)  # fmt: skip
def test_a_text_that_is_no_value_is_refused_without_being_shown(column: str, text: str) -> None:
    with pytest.raises(InvalidValueError, match=rf"Thing\.{column}") as caught:
        or_none(reader_of(FIELDS[column], has_json=False))(text)
    assert not text or text not in str(caught.value).removeprefix(f"Thing.{column}")


def test_numbers_of_json_are_taken_as_they_are_written() -> None:
    read = {
        name: or_none(reader_of(FIELDS[name], has_json=True)) for name in ("price", "number", "extra", "text")
    }
    assert read["price"](0.1) == Decimal("0.1")
    assert (read["number"](3.0), type(read["number"](3.0))) == (3, int)
    assert read["number"](3.5) == 3.5  # which the column's own check refuses
    assert read["extra"]("[1]") == "[1]"
    assert or_none(reader_of(FIELDS["extra"], has_json=False))("[1]") == [1]


# -- canonical values --------------------------------------------------------------------------------------------------


def test_values_of_a_type_of_the_users_own_are_summed_as_they_are_stored() -> None:
    form = make_canonical(describe(Labelled).fields, microseconds=True)
    assert form([(1, ["a", "b"]), (2, None)]) == [(1, "'a b'"), (2, None)]
