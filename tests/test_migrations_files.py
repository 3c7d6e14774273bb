"""The folder of an entry's revisions: what is written into it, and that nothing is written elsewhere or over a file."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from db_plugins.config import make_settings
from db_plugins.errors import ConfigError, MigrationError
from db_plugins.migrations.files import Folder, Text, write_new
from db_plugins.migrations.revisions import History

HOSTILE = [
    '"""; import os; os.mkdir("evil")',
    '"""\nimport os',
    "two\nlines",
    "carriage\rreturn",
    'quote "',
    "quote '",
    "'\"\\",
    "back\\slash",
    "ends with \\",
    "../../evil",
    "/etc/passwd",
    "..",
    "C:\\evil",
    "${1/0}",
    "<% import os %>",
    "% for x in y:",
    "## comment",
    "{revision}",
    "%(here)s 100%",
    "x" * 300,
    "Ünïcode – 星の追加",
    "\u202eright to left\u2028",
    "\x1b[31mred",
    "con",
    "",
    " ",
    "\ud800".encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(make_settings("A", {"ENGINE": "memory"}), tmp_path / "project" / "migrations" / "A")
    made.make({})
    return made


def module_of(path: Path) -> ModuleType:
    module = ModuleType("revision")
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)
    return module


def everything(path: Path) -> set[str]:
    return {str(each.relative_to(path)) for each in path.rglob("*") if each.is_file()}


# -- where -------------------------------------------------------------------------------------------------------------


def test_nothing_is_made_until_something_is_written(tmp_path: Path) -> None:
    folder = Folder(make_settings("A", {"ENGINE": "memory"}), tmp_path / "x")
    assert not folder.exists
    assert History(folder).revisions == []
    assert not folder.path.exists()


def test_the_folder_is_beside_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_settings("my-entry.2", {"ENGINE": "memory"})
    monkeypatch.chdir(tmp_path)
    assert Folder(settings).path == tmp_path / "migrations" / "my-entry.2"
    assert (
        Folder(replace(settings, home=tmp_path / "app")).path
        == tmp_path / "app" / "migrations" / "my-entry.2"
    )


def test_migrations_is_relative_to_the_settings(tmp_path: Path) -> None:
    settings = replace(make_settings("A", {"ENGINE": "memory", "MIGRATIONS": "db/revisions"}), home=tmp_path)
    assert Folder(settings).path == tmp_path / "db" / "revisions"
    absolute = make_settings("A", {"ENGINE": "memory", "MIGRATIONS": str(tmp_path / "else")})
    assert Folder(replace(absolute, home=tmp_path / "app")).path == tmp_path / "else"
    assert Folder(settings, "given").path == tmp_path / "given"


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "", ".hidden", "..", ".", "a\\b", "a b", "a\nb", "é", "x" * 64, "A:", "-x"]
)
def test_an_entry_whose_name_is_no_folder_is_refused_unless_migrations_names_one(
    tmp_path: Path, name: str
) -> None:
    plain = replace(make_settings("A", {"ENGINE": "memory"}), name=name, home=tmp_path)
    with pytest.raises(ConfigError, match="cannot name the folder of its revisions") as raised:
        Folder(plain)
    assert "MIGRATIONS" in str(raised.value.hint)
    named = make_settings("A", {"ENGINE": "memory", "MIGRATIONS": "m"})
    assert Folder(replace(named, name=name, home=tmp_path)).path == tmp_path / "m"
    assert Folder(plain, "m").path == tmp_path / "m"


def test_a_file_in_the_way_is_reported(tmp_path: Path) -> None:
    (tmp_path / "migrations").write_text("a file")
    folder = Folder(make_settings("A", {"ENGINE": "memory"}), tmp_path / "migrations" / "A")
    with pytest.raises(OSError, match="migrations"):
        folder.make({})


# -- files are kept ----------------------------------------------------------------------------------------------------


def test_what_is_missing_is_made_and_what_is_there_is_kept(folder: Folder) -> None:
    assert everything(folder.path) == {"script.py.mako"}
    (folder.path / "script.py.mako").write_text("# mine")
    folder.make({"env.py": "first"})
    folder.make({"env.py": "second", "more.ini": "x = %(here)s"})
    assert (folder.path / "script.py.mako").read_text() == "# mine"
    assert (folder.path / "env.py").read_text() == "first"
    assert (folder.path / "more.ini").read_text() == "x = %(here)s"


def test_a_link_is_not_written_through(folder: Folder, tmp_path: Path) -> None:
    (folder.path / "env.py").symlink_to(tmp_path / "elsewhere")
    folder.make({"env.py": "text"})
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.py"
    write_new(path, "one\n")
    with pytest.raises(FileExistsError):
        write_new(path, "two\n")
    assert path.read_bytes() == b"one\n"

    def fail(_descriptor: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="full"):
        write_new(tmp_path / "b.py", "two\n")
    assert [each.name for each in tmp_path.iterdir()] == ["a.py"]


def test_a_file_is_written_where_the_file_system_has_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_one: object, _other: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    write_new(tmp_path / "a.py", "one\n")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "a.py", "two\n")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a.py", "one\n")]


def test_lines_end_alike_everywhere(tmp_path: Path) -> None:
    write_new(tmp_path / "a.py", "é\n")
    assert (tmp_path / "a.py").read_bytes() == b"\xc3\xa9\n"


def test_many_writers_of_one_file_leave_one_whole_file(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\nfrom db_plugins.migrations.files import write_new\n"
        "try:\n    write_new(pathlib.Path(sys.argv[1]), sys.argv[2] * 10000)\n    print('won')\n"
        "except FileExistsError:\n    pass\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "a.py"), name], stdout=subprocess.PIPE, text=True
        )
        for name in "abcd"
    ]
    won = [
        name
        for name, each in zip("abcd", started, strict=True)
        if each.communicate(timeout=60)[0].strip() == "won"
    ]
    assert len(won) == 1
    assert (tmp_path / "a.py").read_text() == won[0] * 10000
    assert len(list(tmp_path.iterdir())) == 1


# -- revision files ----------------------------------------------------------------------------------------------------


def test_a_revision_file_is_plain_python(folder: Folder) -> None:
    text = Text(
        ["op.a('x')", "op.b('y')"],
        ["op.c('z')"],
        ["import sqlalchemy as sa", "from toy_migrations import op"],
    )
    path = folder.write("0a1b2c3d4e5f", "Add shields!", "111111111111", text)
    assert path == folder.versions / "0a1b2c3d4e5f_add_shields.py"
    source = path.read_text()
    assert source.startswith(
        '"""Add shields!"""\n\nfrom __future__ import annotations\n\nimport sqlalchemy as sa\nfrom toy'
    )
    assert (
        "\ndef upgrade() -> None:\n    op.a('x')\n    op.b('y')\n\n\ndef downgrade() -> None:\n    op.c('z')\n"
        in source
    )
    assert source.endswith("\n")
    assert not source.endswith("\n\n")
    assert "\n\n\n\n" not in source
    assert not [line for line in source.splitlines() if line != line.rstrip()]
    module = module_of(path)
    assert (module.revision, module.down_revision, module.__doc__) == (
        "0a1b2c3d4e5f",
        "111111111111",
        "Add shields!",
    )


def test_an_empty_revision_passes(folder: Folder) -> None:
    path = folder.write("aaaa", "", None, Text())
    module = module_of(path)
    assert (path.name, module.down_revision) == ("aaaa.py", None)
    assert (module.upgrade(), module.downgrade()) == (None, None)
    assert "\n\n\n\n" not in path.read_text()


@pytest.mark.parametrize("message", HOSTILE)
def test_a_message_is_text_whatever_it_holds(
    folder: Folder, tmp_path: Path, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = folder.write("0a1b2c3d4e5f", message, ("a", "b"), Text(["op.a()"]))
    assert path.parent == folder.versions
    assert re.fullmatch(r"0a1b2c3d4e5f(_[a-z0-9_]{1,60})?\.py", path.name)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [type(each) for each in tree.body if not isinstance(each, (ast.Assign, ast.ImportFrom))] == [
        ast.Expr,
        ast.FunctionDef,
        ast.FunctionDef,
    ]
    # Python 3.13 takes blanks at the ends out of a docstring.
    assert inspect.cleandoc(module_of(path).__doc__ or "") == inspect.cleandoc(message)
    assert everything(tmp_path) == {
        "project/migrations/A/script.py.mako",
        f"project/migrations/A/versions/{path.name}",
    }
    assert str(tmp_path) not in path.read_text(encoding="utf-8")
    assert not (tmp_path / "evil").exists()


def test_a_revision_is_never_written_over_another(folder: Folder) -> None:
    path = folder.write("aaaa", "one", None, Text(["op.a()"]))
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        folder.write("aaaa", "one", None, Text(["op.b()"]))
    assert path.read_bytes() == before


def test_what_was_written_is_read(folder: Folder) -> None:
    folder.write("aaaa", "one", None, Text())
    folder.write("bbbb", 'say "two"', "aaaa", Text())
    folder.write("cccc", "side", "aaaa", Text())
    folder.write("dddd", "join", ("bbbb", "cccc"), Text())
    history = History(folder)
    assert history.heads == ("dddd",)
    assert history.named("bbbb") == 'bbbb (say "two")'


# -- the template ------------------------------------------------------------------------------------------------------


def test_an_edited_template_is_used(folder: Folder) -> None:
    template = folder.path / "script.py.mako"
    template.write_text("# the house's own: ${up_revision}\n" + template.read_text())
    assert folder.write("aaaa", "m", None, Text()).read_text().startswith("# the house's own: aaaa\n")


def test_a_deleted_template_is_that_of_the_library(folder: Folder) -> None:
    (folder.path / "script.py.mako").unlink()
    assert module_of(folder.write("aaaa", "m", None, Text())).revision == "aaaa"


def test_the_template_of_alembic_itself_is_good(folder: Folder) -> None:
    import alembic

    generic = Path(alembic.__file__).parent / "templates" / "generic" / "script.py.mako"
    (folder.path / "script.py.mako").write_text(generic.read_text())
    module = module_of(
        folder.write("bbbb", "m", ("aaaa", "cccc"), Text(["sa.text('x')"], (), ["import sys"]))
    )
    assert (module.revision, module.down_revision) == ("bbbb", ("aaaa", "cccc"))
    assert module.sys is sys


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("${1/0}", "ZeroDivisionError"),
        ("${no_such_name}", "NameError"),
        ("% for x in y:\n", "SyntaxException"),
        ("def upgrade(:\n", "SyntaxError"),
        ("${message}\n", "SyntaxError"),
        ("<%include file='/etc/passwd'/>", "Exception"),
        ("x = 1\n", r"it leaves out aaaa, downgrade\(\), upgrade\(\)"),
        ("revision = 'other'\ndef upgrade(): pass\ndef downgrade(): pass\n", "it leaves out aaaa"),
    ],
)
def test_a_broken_template_is_reported_and_nothing_written(folder: Folder, source: str, says: str) -> None:
    (folder.path / "script.py.mako").write_text(source)
    with pytest.raises(MigrationError, match=rf"script\.py\.mako makes no revision: .*{says}") as raised:
        folder.write("aaaa", "no python", None, Text())
    assert "delete it" in str(raised.value.hint)
    assert list(folder.versions.iterdir()) == []


def test_a_template_that_is_no_text_is_reported(folder: Folder) -> None:
    (folder.path / "script.py.mako").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MigrationError, match=r"script\.py\.mako makes no revision"):
        folder.write("aaaa", "m", None, Text())


# -- statements --------------------------------------------------------------------------------------------------------


def test_lines_inside_of_a_string_are_not_indented(folder: Folder) -> None:
    statement = 'op.execute(\n    """\nselect 1\n  from x\n""",\n    f"""{1}\nb""",\n)\nop.more("""c\nd""")'
    path = folder.write("aaaa", "m", None, Text([statement, "op.last()"]))
    body = ast.parse(path.read_text()).body[-2]
    assert isinstance(body, ast.FunctionDef)
    assert ast.dump(ast.Module(body.body, [])) == ast.dump(ast.parse(statement + "\nop.last()"))


def test_blocks_are_indented(folder: Folder) -> None:
    statement = "\nwith op.batch_alter_table('a') as batch_op:\n    batch_op.drop_column('b')\n\n    batch_op.c('d')\n"
    path = folder.write("aaaa", "m", None, Text([statement], ["op.x()", statement]))
    text = path.read_text()
    assert (
        "def upgrade() -> None:\n    with op.batch_alter_table('a') as batch_op:\n        batch_op.drop"
        in text
    )
    assert "\n\n        batch_op.c('d')\n" in text
    assert "def downgrade() -> None:\n    op.x()\n    with op.batch" in text


def test_a_statement_with_a_comment_alone_keeps_the_function_whole(folder: Folder) -> None:
    module = module_of(
        folder.write("aaaa", "m", None, Text(["# nothing can undo this"], ["# nothing\n\n# at all"]))
    )
    assert module.upgrade() is None


def test_imports_are_written_once_and_sorted() -> None:
    text = Text(
        imports=["from b import x", "import sqlmodel", "from a import y", "import alembic", "from a import y"]
    )
    assert text.imports == "import alembic\nimport sqlmodel\nfrom a import y\nfrom b import x"
