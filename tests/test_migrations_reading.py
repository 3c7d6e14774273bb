"""Revision files are read without running them: which operations a function calls, in their order."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest

from db_plugins.migrations.reading import UNKNOWN, Call, calls


@pytest.fixture
def read(tmp_path: Path):  # type: ignore[no-untyped-def]
    def of(body: str, function: str = "upgrade") -> list[Call]:
        path = tmp_path / "revision.py"
        path.write_text(
            f"raise SystemExit\ndef upgrade():\n{indent(dedent(body), '    ')}\n", encoding="utf-8"
        )
        return calls(path, function)

    return of


def shown(found: list[Call]) -> list[str]:
    return [f"{each.within.arguments[0]}/{each.name}" if each.within else each.name for each in found]


def test_calls_are_read_in_the_order_they_are_written_and_not_run(read) -> None:  # type: ignore[no-untyped-def]
    found = read("op.create_table('stars', sa.Column('id', sa.Integer()))\nop.drop_table('suns')\n")
    own = [each for each in found if each.receiver == "op"]
    assert [(each.name, each.argument(0, "name"), each.line) for each in own] == [
        ("create_table", "stars", 3),
        ("drop_table", "suns", 4),
    ]


def test_an_argument_may_be_given_by_name_and_is_unknown_if_it_is_none_or_no_literal(read) -> None:  # type: ignore[no-untyped-def]
    (call,) = read("op.drop_column(table_name='stars', column_name=NAME, schema=None, *more, **others)")
    assert call.argument(0, "table_name") is not None
    assert call.keywords["table_name"] == "stars"
    assert call.argument(9, "table_name") == "stars"
    assert call.argument(9, "column_name") is UNKNOWN
    assert call.argument(9, "not given") is UNKNOWN
    assert call.argument(9, "schema") is None
    assert repr(UNKNOWN) == "UNKNOWN"


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("'a'", "a"),
        ("-1", -1),
        ("['a', 1]", ["a", 1]),
        ("{'a': (1, 2)}", {"a": (1, 2)}),
        ("'a' 'b'", "ab"),
        ("f'{x}'", UNKNOWN),
        ("'a' + 'b'", UNKNOWN),
        ("__import__('os')", UNKNOWN),
        ("sa.text('x')", UNKNOWN),
        ("[sa.text('x')]", UNKNOWN),
        ("{[]: 1}", UNKNOWN),
    ],
)
def test_a_literal_is_its_value_and_anything_else_is_unknown(read, source: str, value: object) -> None:  # type: ignore[no-untyped-def]
    assert read(f"op.run({source})")[0].arguments == (value,)


def test_a_with_names_its_table(read) -> None:  # type: ignore[no-untyped-def]
    found = read(
        """
        op.a()
        with op.batch_alter_table('stars', schema='x') as batch_op:
            batch_op.drop_column('mag')
            with op.batch_alter_table('suns') as inner:
                inner.b('c')
            batch_op.c('d')
        batch_op.outside('e')
        """
    )
    assert shown(found) == [
        "a",
        "batch_alter_table",
        "stars/drop_column",
        "batch_alter_table",
        "suns/b",
        "stars/c",
        "outside",
    ]


def test_a_with_inside_of_another_statement_is_read_once_and_in_its_place(read) -> None:  # type: ignore[no-untyped-def]
    found = read(
        """
        if condition:
            op.first('x')
            with op.batch_alter_table('stars') as batch_op:
                for each in names:
                    with other() as more:
                        batch_op.drop_column('mag')
            op.last('x')
        else:
            op.other('x')
        """
    )
    assert shown(found) == ["first", "batch_alter_table", "stars/drop_column", "last", "other"]


def test_a_with_of_several_items_and_of_none_with_a_name(read) -> None:  # type: ignore[no-untyped-def]
    found = read(
        "with op.batch_alter_table('a') as x, x.more('b') as y:\n    y.drop('c')\nwith op.lock('d'):\n    op.e('f')"
    )
    assert shown(found) == ["batch_alter_table", "a/more", "b/drop", "lock", "e"]


def test_calls_inside_loops_and_handlers_are_read(read) -> None:  # type: ignore[no-untyped-def]
    found = read(
        """
        for each in op.a('x'):
            op.b('x')
        try:
            op.c('x')
        except Exception:
            op.d('x')
        finally:
            op.e('x')
        while op.f('x'):
            op.g('x')
        match op.h('x'):
            case 1:
                op.i('x')
        """
    )
    assert shown(found) == list("abcdefghi")


def test_a_call_that_is_an_argument_is_read(read) -> None:  # type: ignore[no-untyped-def]
    assert [each.name for each in read("op.execute(sa.text('x'))")] == ["execute", "text"]


def test_what_has_no_simple_receiver_is_no_call(read) -> None:  # type: ignore[no-untyped-def]
    assert read("print('x')\nop.get_bind().execute('x')\nop.value\n'op.text()'")[0].name == "get_bind"


def test_a_function_that_is_not_there_has_no_calls(read) -> None:  # type: ignore[no-untyped-def]
    assert read("op.a('x')", "downgrade") == []


def test_the_last_function_of_a_name_counts_as_in_python(tmp_path: Path) -> None:
    path = tmp_path / "twice.py"
    path.write_text(
        "def upgrade():\n    op.a('x')\ndef upgrade():\n    op.b('x')\nclass X:\n    def upgrade(self):\n        op.c('x')\n"
    )
    assert shown(calls(path, "upgrade")) == ["b"]


def test_an_edited_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "edited.py"
    path.write_text("def upgrade():\n    op.a('x')\n")
    assert shown(calls(path, "upgrade")) == ["a"]
    path.write_text("def upgrade():\n    op.b('x')\n")
    assert shown(calls(path, "upgrade")) == ["b"]


def test_a_file_that_is_no_python_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("def upgrade(:\n")
    with pytest.raises(SyntaxError):
        calls(path, "upgrade")
    with pytest.raises(FileNotFoundError):
        calls(tmp_path / "none.py", "upgrade")
