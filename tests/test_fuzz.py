"""The fuzzer finds what is wrong, makes it small, and shows it in a program that runs; and it finds nothing that is right."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import db_plugins
from db_plugins import and_, func, not_, or_
from db_plugins.testing.fuzz import __main__ as fuzz
from db_plugins.testing.fuzz import compare
from db_plugins.testing.fuzz.cases import Case, Crash, Listing, Question, Term
from db_plugins.testing.fuzz.compare import Arena, boundary_questions, make_rows
from db_plugins.testing.fuzz.model import BOUNDARIES, Colour, Sample, source_of_model
from db_plugins.testing.fuzz.trees import AllOf, AnyOf, Col, Compare, Not, Value, columns_of, literal

#: Two engines with a fault each.
PLUGIN = '''
from dataclasses import replace

from db_plugins import hookimpl
from db_plugins.engine import Compiled
from db_plugins.nodes import And, Compare, IsNull, Or, any_of
from db_plugins.testing import MemoryEngine


class KeepsNulls(MemoryEngine):
    """!= keeps the rows that are NULL, as Python does."""

    name = "keepsnulls"

    def compile(self, spec):
        return super().compile(replace(spec, where=with_nulls(spec.where)))


def with_nulls(node):
    if isinstance(node, (And, Or)):
        return type(node)(tuple(map(with_nulls, node.parts)))
    if isinstance(node, Compare) and node.op == "!=":
        return any_of((node, IsNull(node.left)))
    return node


class Crashes(MemoryEngine):
    """An order by two columns is a KeyError."""

    name = "crashes"

    def compile(self, spec):
        if len(spec.order) > 2:
            raise KeyError("two")
        return super().compile(spec)


@hookimpl
def dbp_register_engine():
    return %s
'''


@pytest.fixture(scope="module", autouse=True)
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Both as plugins that are installed."""
    folder = tmp_path_factory.mktemp("faulty")
    for name, engine in (("keepsnulls", "KeepsNulls"), ("crashes", "Crashes")):
        (folder / f"plugin_{name}.py").write_text(PLUGIN % engine)
        info = folder / f"plugin_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: plugin-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[db_plugins]\n{name} = plugin_{name}\n")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    """MemoryEngine beside the engine of the mark's name, with rows of seed 1."""
    with (
        db_plugins.connect({"ENGINE": getattr(request, "param", "memory")}, models=[Sample]) as db,
        Arena(db) as made,
    ):
        db.create_all()
        made.stock(make_rows(made.maker, seed=1))
        yield made


def run(script: str, faulty: Path) -> subprocess.CompletedProcess[str]:
    file = faulty / "case.py"
    file.write_text(script)
    paths = os.pathsep.join([str(faulty), *sys.path])
    return subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
    )


@pytest.mark.parametrize("arena", ["keepsnulls"], indirect=True)
def test_a_fault_is_found_made_small_and_shown_by_a_program_that_runs(arena: Arena, faulty: Path) -> None:
    found = arena.seek("filters", seed=1, examples=250)
    assert found is not None
    case = arena.shrunk(found).case
    where = case.question.where
    assert not isinstance(where.part if isinstance(where, Not) else where, (AllOf, AnyOf, Not)), (
        "one condition"
    )
    assert case.question == Question(where), "no order, no window"
    assert len(case.rows) == 1
    nulls = case.question.columns - set(case.rows[0])
    assert nulls, "the row has a NULL"
    done = run(arena.shrunk(found).script({"ENGINE": "keepsnulls"}), faulty)
    assert done.returncode == 1, done.stderr
    key = case.rows[0]["id"]
    assert done.stdout == f"engine: ([{key}], 1)\nmemory: ([], 0)\n"
    assert all(f"    {name}: Mapped" in (faulty / "case.py").read_text() for name in nulls)


@pytest.mark.parametrize("arena", ["crashes"], indirect=True)
def test_an_exception_that_is_none_of_ours_is_a_difference_even_from_itself(arena: Arena) -> None:
    found = arena.seek("pages", seed=1, examples=100)
    assert found is not None
    assert isinstance(found.got, Crash)
    assert len(arena.shrunk(found).case.question.order) == 2
    assert Crash(KeyError()) != Crash(KeyError())
    assert not isinstance(found.wanted, Crash)


def test_what_is_right_has_no_difference(arena: Arena) -> None:
    for about in fuzz.ABOUT:
        assert arena.seek(about, seed=2, examples=60) is None
    assert all(arena.compare(question) is None for question in islice(boundary_questions(), 100))


def test_the_same_seed_asks_the_same(arena: Arena) -> None:
    asked: list[list[Question]] = [[], [], []]
    for questions, seed in zip(asked, (5, 5, 6), strict=True):
        arena.compare = questions.append  # type: ignore[assignment, method-assign, return-value]
        compare._asked.clear()  # made anew, and not kept
        arena.seek("pages", seed=seed, examples=30)
    first, again, other = [list(map(str, questions)) for questions in asked]
    assert first == again != other
    make = make_rows.__wrapped__
    assert repr(make(arena.maker, seed=5)) == repr(make(arena.maker, seed=5))


def test_what_was_asked_of_one_engine_is_asked_of_the_next(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The questions are kept, not the answers: a second engine that is wrong is found as the first would be."""
    assert arena.seek("pages", seed=5, examples=30) is None
    known = compare._asked[arena.maker, "pages", 5, 30][1]
    assert len(known) >= 30
    asked: list[Question] = []
    ask = arena.compare
    monkeypatch.setattr(arena, "compare", lambda question: asked.append(question) or ask(question))
    assert arena.seek("pages", seed=5, examples=30) is None
    assert asked == known
    wrong = next(question for question in known if question.where is not None)
    monkeypatch.setattr(
        arena,
        "compare",
        lambda question: (
            compare.Difference(compare.Case(arena.rows, question), 1, 2)
            if str(question) == str(wrong)
            else None
        ),
    )
    found = arena.seek("pages", seed=5, examples=30)
    assert found is not None
    assert str(found.case.question) == str(wrong)


def test_the_source_of_a_question_asks_what_the_question_asks(arena: Arena) -> None:
    """Every question made, as source and as an expression, has one answer."""
    questions: list[Question] = []
    ask = arena.compare

    def note(question: Question) -> Any:
        questions.append(question)
        return ask(question)

    arena.compare = note  # type: ignore[method-assign]
    for about in fuzz.ABOUT:
        arena.seek(about, seed=3, examples=80)
    used = {type(q.reading) for q in questions}
    assert len(used) == 4, "all four readings"
    names = {c for q in questions if q.where is not None for c in columns_of(q.where)}
    assert len(names) > 18, "filters read nearly every column"
    for question in questions:
        answer = question.ask(arena.oracle.query(Sample))
        space: dict[str, Any] = {}
        lines = "\n    ".join(question.source())
        exec(f"def read(query):\n    {lines}", _words(), space)
        if isinstance(answer, str):
            with pytest.raises(getattr(db_plugins, answer)):
                space["read"](arena.oracle.query(Sample))
            continue
        read = space["read"](arena.oracle.query(Sample))
        if isinstance(answer, list) and answer and isinstance(answer[0], dict):
            rows = read if isinstance(read, list) else [read]
            assert [{n: v for n, (_, v) in row.items()} for row in answer] == rows, question
        else:
            assert read == answer, question


def _words() -> dict[str, Any]:
    import datetime as dt
    import uuid
    from decimal import Decimal

    import sqlalchemy as sa

    return {
        "Sample": Sample, "Colour": Colour, "sa": sa, "dt": dt, "Decimal": Decimal, "UUID": uuid.UUID,
        "and_": and_, "or_": or_, "not_": not_, "func": func,
    }  # fmt: skip


def test_every_boundary_value_has_a_source() -> None:
    for name, values in BOUNDARIES.items():
        for value in values:
            again = eval(literal(value), _words())
            assert again == value or value != value, name
    assert set(BOUNDARIES) == {a.key for a in Sample.__mapper__.column_attrs} - {"id"}


def test_a_model_holds_the_columns_that_are_asked_for() -> None:
    source = source_of_model({"text", "colour"})
    assert "text: Mapped" in source
    assert "class Colour" in source
    assert "other: Mapped" not in source
    assert "Colour" not in source_of_model({"text"})


def test_a_script_holds_no_password() -> None:
    case = Case(({"id": 1},), Question(order=(Term("text"),), reading=Listing()))
    for entry in (
        {"ENGINE": "postgresql", "PASSWORD": "s3cr3t@:/p%"},
        {"URL": "postgresql://u:s3cr3t@h/d"},
        {"ENGINE": "x", "OPTIONS": {"password": "s3cr3t"}},
    ):
        script = case.script(entry, 1, 2)
        assert "s3cr3t" not in script
        assert "sys.argv[1]" in script


def test_the_command_says_what_it_did(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--engine", "memory", "--seed", "1", "--examples", "20"]) == 0
    assert "no difference" in capsys.readouterr().err
    assert fuzz.main(["--engine", "memory", "--minutes", "0"]) == 0
    assert fuzz.main([]) == 2
    assert "--engine" in capsys.readouterr().err
    entries = {"keepsnulls": {"ENGINE": "keepsnulls", "TEST": {"ENGINE": "keepsnulls", "DB_NAME": "other"}}}
    assert fuzz.main(["--seed", "1", "--examples", "100"], entries=entries) == 1
    printed = capsys.readouterr()
    assert "--seed 1 --examples 100" in printed.err
    assert run(printed.out, faulty).returncode == 1


def test_rows_begin_with_every_boundary_value(arena: Arena) -> None:
    for name, values in BOUNDARIES.items():
        stored = [row[name] for row in arena.rows]
        assert all(any(v == s or v != v for s in stored) for v in values), name
    assert any(Question(Compare("==", Col("text"), Value("é"))) == q for q in boundary_questions())
