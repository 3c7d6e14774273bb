"""Where settings come from: what is there first is used alone, what is wrong with it is said."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db_plugins.config import (
    Settings,
    SettingsFile,
    SettingsWarning,
    choose_entry,
    load_settings,
    make_settings,
    project_folders,
)
from db_plugins.config.dotenv import parse_dotenv
from db_plugins.config.keys import ENGINE_KEYS, keys_of
from db_plugins.errors import ConfigError

PASSWORD = "s3cr3t@:/p%"
SIX = {
    "DB_DRIVER": "fakeserver+quick",
    "DB_USERNAME": "ann",
    "DB_PASSWORD": PASSWORD,
    "DB_HOST": "localhost",
    "DB_PORT": "5432",
    "DB_DATABASE": "stars",
}


@pytest.fixture(autouse=True)
def plugin(project: Any) -> None:
    project.plugin("fakes", "fakelite", "fakeserver")


def settings_text(database: str = "stars.db", **names: object) -> str:
    lines = [f"DB_CONFIG = {{'main': {{'ENGINE': 'fakelite', 'DB_NAME': {database!r}}}}}"]
    return "\n".join([*lines, *(f"{name} = {value!r}" for name, value in names.items())])


def database(file: SettingsFile) -> object:
    return choose_entry(file)[1]["DB_NAME"]


def refusal(*arguments: Any, **keywords: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(*arguments, **keywords)
    return str(caught.value)


# -- the order


def test_the_first_source_that_is_there_is_used(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write(".env", "DATABASE_URL=fakelite:///dotenv")
    assert load_settings().source == "DATABASE_URL in .env"

    monkeypatch.setenv("DATABASE_URL", "fakelite:///environ")
    assert load_settings().source == "DATABASE_URL in the environment"
    assert load_settings().entries == {"default": {"URL": "fakelite:///environ"}}

    file = project.write("settings.py", settings_text("from_file"))
    with pytest.warns(SettingsWarning, match="DATABASE_URL in the environment is not used"):
        found = load_settings()
    assert (database(found), found.source, found.folder) == ("from_file", str(file), project.folder)

    monkeypatch.setenv("DBP_SETTINGS", str(project.write("other/named.py", settings_text("from_variable"))))
    monkeypatch.delenv("DATABASE_URL")
    (project.folder / ".env").unlink()
    assert database(load_settings()) == "from_variable"

    assert database(load_settings(project.write("third.py", settings_text("argument")))) == "argument"


@pytest.mark.parametrize("form", ["file", "text", "folder", "relative", "home"])
def test_a_path(project: Any, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    file = project.write("conf/settings.py", settings_text("x"))
    monkeypatch.setenv("HOME", str(project.folder))
    source: Any = {
        "file": file, "text": str(file), "folder": file.parent, "relative": "conf", "home": "~/conf/settings.py",
    }[form]  # fmt: skip
    found = load_settings(source)
    assert (database(found), found.source, found.folder) == ("x", str(file), file.parent)


def test_a_dotted_module_and_a_module_object(project: Any) -> None:
    project.write("my_conf_pkg/__init__.py", "")
    file = project.write("my_conf_pkg/my_conf.py", settings_text("x", MODELS=["a.b"]))
    found = load_settings("my_conf_pkg.my_conf")
    assert (database(found), found.models, found.source, found.folder) == (
        "x",
        ["a.b"],
        str(file),
        file.parent,
    )
    module = types.ModuleType("made_up")
    module.DB_CONFIG = {"main": {"DB_NAME": "y"}}  # type: ignore[attr-defined]
    assert database(load_settings(module)) == "y"


def test_a_dict_that_holds_db_config(project: Any) -> None:
    found = load_settings(
        {"DB_CONFIG": {"main": {"DB_NAME": "x"}}, "MODELS": ("a",), "CURSOR_SECRET": "s3cr3t", "x": 1}
    )
    assert (database(found), found.models, found.folder) == ("x", ["a"], Path.cwd())
    assert found.extra == {"CURSOR_SECRET": "s3cr3t"}
    assert "s3cr3t" not in repr(found)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nothing.py", "there is no settings file nothing.py"),
        ("no/such/folder", "there is no settings file no/such/folder"),
        (".", "holds no settings.py"),
        ("no_such_module_x", "there is no settings file or module 'no_such_module_x'"),
        ("no_such_pkg_x.settings", "there is no settings file or module 'no_such_pkg_x.settings'"),
        ("postgresql://u:s3cr3t@h/d", "there is no settings file postgresql://u:***@h/d"),
    ],
)
def test_a_source_that_is_not_there(project: Any, source: str, words: str) -> None:
    assert words in refusal(source)


def test_settings_are_searched_up_to_the_projects_root(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = project.folder / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert project_folders(deep) == [deep, deep.parent, project.folder]
    project.write("settings.py", settings_text("root"))
    assert database(load_settings()) == "root"
    project.write("a/settings.py", settings_text("nearer"))
    assert database(load_settings()) == "nearer"
    project.write("a/b/setup.cfg", "")
    assert "no settings.py in" in refusal()


def test_without_a_root_only_this_folder_is_searched(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.folder / "pyproject.toml").unlink()
    project.write("settings.py", settings_text())
    deep = project.folder / "a"
    deep.mkdir()
    monkeypatch.chdir(deep)
    if project_folders(deep) != [deep]:
        pytest.skip("the temporary folder is inside of a project")
    assert "no settings.py in" in refusal()


def test_nothing_at_all_names_what_was_tried(project: Any) -> None:
    message = refusal()
    for words in (
        "settings.py",
        "DBP_SETTINGS",
        "DATABASE_URL",
        "DB_DRIVER",
        "dbp init",
        str(project.folder),
    ):
        assert words in message


def test_the_fallback_is_announced_with_its_file(project: Any) -> None:
    """000-15, 003-03: zero configuration is a SQLite file here."""
    with pytest.warns(SettingsWarning, match=r"no settings were found; using sqlite in .*app\.db"):
        found = load_settings(fallback=True)
    assert found.entries == {"default": {"ENGINE": "sqlite", "DB_NAME": "app.db"}}
    assert found.warnings
    assert not (project.folder / "app.db").exists()


def test_a_file_is_run_afresh_each_time(project: Any) -> None:
    file = project.write("settings.py", settings_text("a.db"))
    assert database(load_settings()) == "a.db"
    file.write_text(settings_text("b.db"), encoding="utf-8")
    assert database(load_settings()) == "b.db"
    assert not (project.folder / "__pycache__").exists()


def test_a_settings_file_may_import_what_lies_beside_it_and_define_classes(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("beside_it.py", "NAME = 'beside'")
    project.write("settings.py", "from __future__ import annotations\nfrom dataclasses import dataclass\nimport beside_it\n"
                  "@dataclass\nclass C:\n    x: int = 1\n"
                  "DB_CONFIG = {'main': {'DB_NAME': beside_it.NAME, 'FILE': __file__}}\n")  # fmt: skip
    monkeypatch.chdir(project.plugins)
    entry = choose_entry(load_settings(project.folder))[1]
    assert entry == {"DB_NAME": "beside", "FILE": str(project.folder / "settings.py")}
    assert str(project.folder) in sys.path


# -- an unused DATABASE_URL


def test_an_unused_database_url_is_a_warning_that_does_not_show_it(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("settings.py", settings_text())
    project.write(".env", "DATABASE_URL=fakelite://u:s3cr3t@h/x")
    with pytest.warns(SettingsWarning) as caught:
        found = load_settings()
    assert len(caught) == 1
    assert found.warnings == (f"DATABASE_URL in .env is not used: the settings come from {found.source}",)


def test_a_database_url_that_settings_use_is_none(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("settings.py", "import os\nDB_CONFIG = {'main': {'URL': os.environ['DATABASE_URL']}}")
    monkeypatch.setenv("DATABASE_URL", "fakelite:///x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_settings().warnings == ()


# -- what a settings file may have wrong


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no DB_CONFIG; give it one, such as DB_CONFIG ="),
        ("DB_CONFIG: {'SQL': {}}", "you wrote `DB_CONFIG:`; use `DB_CONFIG =`"),
        (
            "from __future__ import annotations\nDB_CONFIG: {'SQL': {}}",
            "you wrote `DB_CONFIG:`; use `DB_CONFIG =`",
        ),
        ("DB_CONFG = {}", "has no DB_CONFIG; it has 'DB_CONFG'"),
        ("DB_CONFIG = None", "DB_CONFIG is None"),
        ("DB_CONFIG = []", "DB_CONFIG is of the type list; give a dict of named entries"),
        ("DB_CONFIG = 's3cr3t'", "DB_CONFIG is of the type str"),
        ("DB_CONFIG = {}", "DB_CONFIG is empty"),
        ("DB_CONFIG = {'main': 's3cr3t'}", "entry 'main' is of the type str; give a dict"),
        ("DB_CONFIG = {5: {}}", "an entry's name is of the type int"),
        ("DB_CONFIG = {'main': {}}\nMODELS = 'app'", 'MODELS is of the type str; give a list of "module"'),
        ("DB_CONFIG = {'main': {}}\nMODELS = [1]", 'MODELS is of the type list; give a list of "module"'),
        ("x = 1\ny = undefined_name", "settings.py:2: NameError: name 'undefined_name' is not defined"),
        ("x = 1\nx = (", "settings.py:2: SyntaxError"),
        ("import no_such_module_x", "settings.py:1: ModuleNotFoundError: No module named 'no_such_module_x'"),
        ("from .x import y", "settings.py:1: ImportError"),
        ("\nimport os\nos.environ['NO_SUCH']", "settings.py:3: KeyError: 'NO_SUCH'"),
        ("import json\njson.loads('s3cr3t')", "settings.py:2: JSONDecodeError"),
        ("int('s3cr3t')", "settings.py:1: ValueError"),
        ("raise SystemExit(1)", "settings.py:1: SystemExit: 1"),
        ("x = '\\udc80'.encode()", "settings.py:1: UnicodeEncodeError"),
    ],
)
def test_a_faulty_settings_file(project: Any, text: str, words: str) -> None:
    """002-E1: ``DB_CONFIG:`` among them."""
    project.write("settings.py", text)
    message = refusal()
    assert words in message
    assert "settings.py" in message
    assert "s3cr3t" not in message


def test_an_error_in_settings_keeps_its_cause_without_the_source_line(project: Any) -> None:
    import traceback

    project.write("settings.py", 'DB_CONFIG = {"main": {"PASSWORD": "s3cr3t@:/p%}}')
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert isinstance(caught.value.__cause__, SyntaxError)
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


def test_all_faults_of_shape_come_at_once(project: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({"DB_CONFIG": {"a": 1, 2: {}, "c": {}}, "MODELS": "x"})
    assert len(caught.value.problems) == 3


# -- who may write it


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no file modes")
class TestWhoMayWrite:
    @pytest.mark.parametrize("name", ["settings.py", ".env"])
    @pytest.mark.parametrize("what", ["file", "folder"])
    def test_what_everybody_may_write_is_refused(self, project: Any, name: str, what: str) -> None:
        file = project.write(name, settings_text() if name == "settings.py" else "DATABASE_URL=fakelite:///x")
        file.chmod(0o644)
        assert load_settings()
        target = file if what == "file" else file.parent
        target.chmod(target.stat().st_mode | stat.S_IWOTH)
        message = refusal()
        assert f"{file} is not used: {target} can be written by everybody" in message
        assert "chmod go-w" in message
        assert load_settings(file) if name == "settings.py" else True  # named, it is used

    def test_a_sticky_folder_is_as_safe_as_its_files(self, project: Any) -> None:
        project.write("settings.py", settings_text()).chmod(0o644)
        project.folder.chmod(0o1777)
        assert load_settings()

    def test_a_group_may_write_only_if_it_is_private(
        self, project: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from db_plugins.config import trust

        project.write("settings.py", settings_text()).chmod(0o664)
        monkeypatch.setattr(trust, "_is_private", lambda gid, uid: True)
        assert load_settings()
        monkeypatch.setattr(trust, "_is_private", lambda gid, uid: False)
        assert "can be written by a group" in refusal()

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away")
    def test_a_file_of_another_user_is_refused(self, project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        file = project.write("settings.py", settings_text())
        os.chown(file, 12345, 12345)
        assert "belongs to another user (uid 12345)" in refusal()
        monkeypatch.setenv("SUDO_UID", "12345")
        assert load_settings()


# -- variables


def set_six(monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> None:
    for name, value in (SIX | changes).items():
        if value is not None:
            monkeypatch.setenv(name, value)


def from_variables() -> Any:
    file = load_settings()
    name, entry = choose_entry(file)
    assert name == "default"
    return make_settings(name, entry, source=file.source)


def test_the_six_variables_make_the_default_entry(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """000-16, 000-20: the engine, its driver, and all the rest."""
    set_six(monkeypatch)
    settings = from_variables()
    assert (settings.engine, settings.driver, settings.host, settings.port) == (
        "fakeserver",
        "quick",
        "localhost",
        5432,
    )
    assert (settings.user, settings.password.reveal(), settings.database) == ("ann", PASSWORD, "stars")
    assert "s3cr3t" not in repr(load_settings()) + repr(load_settings().entries)


def test_the_port_may_be_left_out(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    set_six(monkeypatch, DB_PORT=None)
    assert from_variables().port is None


def test_a_file_needs_only_driver_and_database(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_DRIVER", "fakelite")
    monkeypatch.setenv("DB_DATABASE", "x.db")
    assert from_variables().database == "x.db"
    for name in ("DB_USERNAME", "DB_PASSWORD", "DB_HOST", "DB_PORT"):
        monkeypatch.setenv(name, "")
    assert from_variables().database == "x.db"


@pytest.mark.parametrize("missing", [name for name in SIX if name != "DB_PORT"])
def test_a_partial_set_names_what_is_missing(
    project: Any, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """000-18: each of the six that a server needs, by its name."""
    set_six(monkeypatch, **{missing: None})
    message = refusal(fallback=True)
    assert f"\n  - {missing} is missing" in message
    assert message.count("\n") == 1


def test_a_driver_and_host_alone_name_the_other_three(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """000-18: never taken for no settings at all."""
    monkeypatch.setenv("DB_DRIVER", "fakeserver")
    monkeypatch.setenv("DB_HOST", "h")
    message = refusal(fallback=True)
    for name in ("DB_USERNAME", "DB_PASSWORD", "DB_DATABASE"):
        assert f"{name} is missing" in message


def test_a_server_without_host_is_named_by_its_variables(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_DRIVER", "fakeserver")
    monkeypatch.setenv("DB_DATABASE", "stars")
    with pytest.raises(ConfigError) as caught:
        from_variables()
    assert [p.split(": ")[1] for p in caught.value.problems] == [
        "DB_HOST is missing", "DB_USERNAME is missing", "DB_PASSWORD is missing",
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["abc", "", "0", "70000", "5432.5", "-1"])
@pytest.mark.parametrize("alone", [False, True])
def test_a_bad_port_names_its_variable(
    project: Any, monkeypatch: pytest.MonkeyPatch, value: str, alone: bool
) -> None:
    """000-17: a port that is none names DB_PORT."""
    set_six(monkeypatch, DB_PORT=value) if not alone else monkeypatch.setenv("DB_PORT", value)
    message = refusal(fallback=True)
    assert "DB_PORT" in message
    if not alone:
        assert "give a whole number from 1 to 65535" in message


def test_an_unknown_driver_gets_the_nearest(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """000-E5: the misspelt driver and the one that was meant."""
    set_six(monkeypatch, DB_DRIVER="fakesrver")
    with pytest.raises(Exception, match="did you mean 'fakeserver'"):
        from_variables()


def test_an_empty_password_is_one(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    set_six(monkeypatch, DB_PASSWORD="")
    assert from_variables().password.reveal() == ""


def test_a_server_without_users(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name and password given, and empty; the plugin says if it needs them. An empty name beside a password is a slip."""
    set_six(monkeypatch, DB_DRIVER="fakes", DB_USERNAME="", DB_PASSWORD="")
    assert (from_variables().user, from_variables().password) == (None, None)
    monkeypatch.setenv("DB_DRIVER", "fakeserver")
    with pytest.raises(ConfigError, match="DB_USERNAME is missing"):
        from_variables()
    monkeypatch.setenv("DB_PASSWORD", PASSWORD)
    assert "DB_USERNAME is empty" in refusal()
    monkeypatch.delenv("DB_PASSWORD")
    assert "DB_USERNAME is empty" in refusal()


def test_a_bad_database_url_names_the_variable_and_not_its_value(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"fakeserver://ann:{PASSWORD}@h/d")
    with pytest.raises(ConfigError) as caught:
        from_variables()
    assert "DATABASE_URL is of the type" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_dotenv_gives_the_six_and_completes_those_of_the_environment(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """000-19: the environment comes first."""
    project.write(".env", "".join(f"{name}='{value}'\n" for name, value in SIX.items()))
    assert from_variables().password.reveal() == PASSWORD
    monkeypatch.setenv("DB_HOST", "127.0.0.1")
    assert (from_variables().host, from_variables().user) == ("127.0.0.1", "ann")


def test_a_bad_value_in_dotenv_says_so(project: Any) -> None:
    project.write(".env", "DB_DRIVER=fakeserver\nDB_PORT=abc\n")
    assert "DB_PORT in .env is the text 'abc'" in refusal()


def test_dotenv_is_found_beside_the_projects_root(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write(".env", "DATABASE_URL=fakelite:///x")
    (project.folder / "a").mkdir()
    monkeypatch.chdir(project.folder / "a")
    assert load_settings().folder == project.folder


# -- .env files


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1", {"A": "1"}),
        ("export A=1\n\texport\tB = 2", {"A": "1", "B": "2"}),
        ("# c\n\n  A = x y  # comment\n", {"A": "x y"}),
        ("A=p#w", {"A": "p#w"}),
        ("A=#w", {"A": "#w"}),
        ("A= # only a comment", {"A": ""}),
        ("A=", {"A": ""}),
        ("A=''\nB=\"\"", {"A": "", "B": ""}),
        ("A='$x \\n # \"'  # c", {"A": '$x \\n # "'}),
        ('A="a\\n\\"b\\" \\\\ # $x"', {"A": 'a\n"b" \\ # $x'}),
        ('A="two\nlines"\nB=1', {"A": "two\nlines", "B": "1"}),
        ("A='two\nlines'\nB=1", {"A": "two\nlines", "B": "1"}),
        ("A=1\r\nB='2'\r\n", {"A": "1", "B": "2"}),
        ("\ufeffA=1", {"A": "1"}),
        ("A=1\nA=2", {"A": "2"}),
        ("not an assignment\n1A=1\nA-B=1\nC=3", {"C": "3"}),
        ("A='open\nB=1", {"B": "1"}),
        ("A=$HOME", {"A": "$HOME"}),
        ("A=a=b", {"A": "a=b"}),
    ],
)
def test_a_dotenv_file(text: str, expected: dict[str, str]) -> None:
    assert parse_dotenv(text) == expected


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True),
        st.text(st.characters(exclude_categories=["Cs"])),
    )
)
def test_quoted_values_come_back(values: dict[str, str]) -> None:
    def quote(value: str) -> str:
        return (
            '"'
            + value.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace("\n", "\\n")
            + '"'
        )

    assert parse_dotenv("\n".join(f"{name}={quote(value)}" for name, value in values.items())) == values


@given(st.text())
def test_any_text_can_be_parsed(text: str) -> None:
    parse_dotenv(text)


# -- variables that override


ENTRIES = {
    "DB_CONFIG": {
        "archive": {"ENGINE": "fakelite", "DB_NAME": "x", "USERNAME": "old"},
        "my-log": {"DB_NAME": "y"},
    }
}


def overridden(name: str = "archive") -> Any:
    return make_settings(name, load_settings(ENTRIES).entries[name])


def test_one_key_is_overridden(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_CONFIG__ARCHIVE__PASSWORD", PASSWORD)
    monkeypatch.setenv("DB_CONFIG__ARCHIVE__USER", "new")
    monkeypatch.setenv("DB_CONFIG__ARCHIVE__POOL_SIZE", "7")
    monkeypatch.setenv("DB_CONFIG__ARCHIVE__ECHO", "true")
    monkeypatch.setenv("DB_CONFIG__ARCHIVE__OPTIONS", '{"a": 1}')
    monkeypatch.setenv("DB_CONFIG__ARCHIVE__MODELS", "a.b, c")
    monkeypatch.setenv("DB_CONFIG__ARCHIVE__THREADS", "3")
    monkeypatch.setenv("DB_CONFIG__MY_LOG__ENGINE", "fakelite")
    settings = overridden()
    assert (settings.user, settings.password.reveal(), settings.pool_size, settings.echo) == (
        "new",
        PASSWORD,
        7,
        True,
    )
    assert (settings.options, settings.models, settings.threads) == ({"a": 1}, ("a.b", "c"), 3)
    assert overridden("my-log").engine == "fakelite"
    assert "USERNAME" in ENTRIES["DB_CONFIG"]["archive"]  # what was given is not changed


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_key_from_a_file(project: Any, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    (project.folder / "secret").write_bytes((PASSWORD + end).encode())
    monkeypatch.setenv("DB_CONFIG__ARCHIVE__PASSWORD_FILE", str(project.folder / "secret"))
    monkeypatch.setenv(
        "DB_CONFIG__ARCHIVE__TOKEN_FILE", str(project.folder / "secret")
    )  # a key of the plugin's own
    assert overridden().password.reveal() == PASSWORD
    assert overridden().token.reveal() == PASSWORD


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            {"ARCHVE__PORT": "1"},
            "DB_CONFIG__ARCHVE__PORT overrides the entry 'ARCHVE', which is not there; did you mean",
        ),
        ({"PORT": "1"}, "DB_CONFIG__PORT is not DB_CONFIG__ENTRY__KEY"),
        ({"ARCHIVE__": "1"}, "DB_CONFIG__ARCHIVE__"),
        (
            {"ARCHIVE__PASSWORD_FILE": "s3cr3t"},
            "DB_CONFIG__ARCHIVE__PASSWORD_FILE names a file that cannot be read",
        ),
        (
            {"ARCHIVE__TOKEN_FILE": "s3cr3t"},
            "DB_CONFIG__ARCHIVE__TOKEN_FILE names a file that cannot be read",
        ),
        ({"ARCHIVE__USER": "a", "ARCHIVE__USERNAME": "a"}, "both set"),
        (
            {"ARCHIVE__PORT": "s3"},
            "DB_CONFIG__ARCHIVE__PORT is the text 's3'; give a whole number from 1 to 65535",
        ),
        ({"ARCHIVE__PASWORD": "s3cr3t"}, "PASWORD is unknown; did you mean 'PASSWORD'"),
        ({"ARCHIVE__OPTIONS": "s3cr3t"}, "DB_CONFIG__ARCHIVE__OPTIONS is of the type text; give a dict"),
        ({"ARCHIVE__ECHO": "maybe"}, "DB_CONFIG__ARCHIVE__ECHO is the text 'maybe'; give True or False"),
    ],
)
def test_a_faulty_override(
    project: Any, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"DB_CONFIG__{name}", value)
    with pytest.raises(ConfigError) as caught:
        overridden()
    assert words in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_an_override_of_two_entries_at_once_is_refused(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_CONFIG__A_B__PORT", "1")
    assert "any of the entries 'a-b', 'A_B'" in refusal({"DB_CONFIG": {"a-b": {}, "A_B": {}}})


def test_the_variables_own_entry_is_overridden_too(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "fakelite:///x")
    monkeypatch.setenv("DB_CONFIG__DEFAULT__ECHO", "1")
    assert from_variables().echo is True


# -- the example and the docs


ROOT = Path(__file__).resolve().parents[2]


def test_every_key_is_in_the_docs_and_in_the_example() -> None:
    """002-E3: the keys of MongoDB are in the docs as those of SQL are."""
    docs = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    example = (ROOT / "settings.example.py").read_text(encoding="utf-8")
    for each in (*ENGINE_KEYS.values(), *keys_of(Settings).values()):
        assert each.doc
        assert f"| {', '.join(f'`{name}`' for name in each.names)} |" in docs
        assert each.doc in docs
        for name in each.names:
            assert name in example


def test_the_example_settings_load() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from db_plugins.config import load_settings as f; print(*f('settings.example.py').entries)"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout.split(), done.stderr) == (["SQL", "MONGO", "archive"], "")
