"""An entry of DB_CONFIG becomes Settings, or one error that names every problem."""

from __future__ import annotations

import copy
import dataclasses
import logging
import pickle
import string
from pathlib import Path, PurePath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL

from db_plugins.config import (
    Given,
    Secret,
    Settings,
    choose_entry,
    entry_from_url,
    flag,
    key,
    keys_of,
    load_settings,
    make_settings,
    mask_url,
    port,
    seconds,
    text,
    url,
)
from db_plugins.errors import ConfigError, EngineNotFoundError, PluginConflictError, PluginLoadError

PASSWORD = "s3cr3t@:/p%"
SERVER = {
    "ENGINE": "fakeserver",
    "HOST": "localhost",
    "USER": "ann",
    "PASSWORD": PASSWORD,
    "DB_NAME": "stars",
}


@pytest.fixture(autouse=True)
def plugin(project: Any) -> None:
    project.plugin("fakes", "fakelite", "fakeserver")


def problems(entry: dict[Any, Any], name: str = "main") -> list[str]:
    """What is wrong with the entry, without the entry's name, which every problem starts with."""
    with pytest.raises(ConfigError) as caught:
        make_settings(name, entry)
    assert all(problem.startswith(f"entry {name!r}: ") for problem in caught.value.problems)
    return [problem.removeprefix(f"entry {name!r}: ") for problem in caught.value.problems]


# -- what a valid entry becomes


def test_every_key_arrives_in_its_field() -> None:
    """002-15: all keys are used."""
    settings = make_settings("main", SERVER | {"PORT": 5432, "THREADS": 3})
    assert (settings.name, settings.plugin, settings.engine, settings.driver) == (
        "main", "fakeserver", "fakeserver", None,
    )  # fmt: skip
    assert (settings.host, settings.port, settings.user, settings.database) == (
        "localhost",
        5432,
        "ann",
        "stars",
    )
    assert settings.password == Secret(PASSWORD)
    assert settings.threads == 3  # type: ignore[attr-defined]
    assert settings.address == "localhost:5432/stars"


def test_defaults() -> None:
    settings = make_settings("fakes", {"ENGINE": "fakelite", "DB_NAME": "x.db"})
    assert (settings.connect_timeout, settings.echo, settings.tls, settings.port) == (5.0, False, None, None)
    assert (settings.options, settings.async_options, settings.replicas, settings.models) == (
        {},
        {},
        (),
        None,
    )


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_settings("main", SERVER).host = "other"  # type: ignore[misc]


def test_options_are_handed_on_untouched_and_not_shared() -> None:
    options = {"connect_args": {"a": [1]}, "x": object()}
    settings = make_settings("main", SERVER | {"OPTIONS": options})
    assert settings.options == options
    assert settings.options is not options


@pytest.mark.parametrize(
    ("spelling", "field"),
    [
        ("USERNAME", "user"),
        ("DATABASE", "database"),
        ("API_TOKEN", "token"),
        ("SQLALCHEMY_DATABASE_URL", "url"),
    ],
)
def test_both_spellings_of_a_key(spelling: str, field: str) -> None:
    value = "fakeserver://h/d" if field == "url" else "value"
    settings = make_settings("main", {"ENGINE": "fakelite", "DB_NAME": "d", spelling: value} | (
        {"DB_NAME": None} if field == "database" else {}
    ))  # fmt: skip
    found = getattr(settings, field)
    assert (found.reveal() if isinstance(found, Secret) else found) == value


def test_none_is_a_key_left_out() -> None:
    assert make_settings("main", SERVER | {"PORT": None, "TLS": None}).port is None
    assert problems(SERVER | {"HOST": None}) == ["HOST is missing"]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("PORT", "5432", 5432),
        ("PORT", " 5432 ", 5432),
        ("PORT", 1, 1),
        ("PORT", 65535, 65535),
        ("CONNECT_TIMEOUT", 2, 2.0),
        ("QUERY_TIMEOUT", "0.5", 0.5),
        ("POOL_SIZE", "5", 5),
        ("MAX_OVERFLOW", 0, 0),
        ("ECHO", True, True),
        ("TLS", "VERIFY", "verify"),
        ("MODELS", ["app.models"], ("app.models",)),
        ("REPLICAS", ["r1", "r2:5433"], (Secret("r1"), Secret("r2:5433"))),
        ("TEST", {"ENGINE": "fakelite"}, {"ENGINE": "fakelite"}),
        ("DATABASE", PurePath("a/b.db"), str(Path("a/b.db"))),
    ],
)
def test_a_value_is_converted(key: str, value: object, expected: object) -> None:
    """002-16, 002-E2: digits in a text are a port."""
    entry = SERVER | {key: value}
    if key == "DATABASE":
        del entry["DB_NAME"]
    settings = make_settings("main", entry)
    assert getattr(settings, {"DATABASE": "database"}.get(key, key.lower())) == expected


def test_a_url_object_of_sqlalchemy_keeps_its_password() -> None:
    settings = make_settings("main", {"URL": URL.create("fakeserver", "ann", PASSWORD, "h", 1, "d")})
    assert settings.url is not None
    assert "s3cr3t%40" in settings.url.reveal()


# -- which plugin answers


@pytest.mark.parametrize(
    ("name", "entry", "expected"),
    [
        ("main", {"ENGINE": "fakelite", "DB_NAME": "d"}, ("fakelite", "fakelite", None)),
        ("main", {"ENGINE": "FakeLite+Fast", "DB_NAME": "d"}, ("fakelite", "fakelite", "fast")),
        ("main", {"URL": "fakeserver+quick://h/d"}, ("fakeserver", "fakeserver", "quick")),
        (
            "main",
            {"URL": "fakeserver+quick://h/d", "ENGINE": "fakeserver"},
            ("fakeserver", "fakeserver", "quick"),
        ),
        ("FAKES", {"DB_NAME": "d"}, ("fakes", "fakes", None)),
        ("fakelite", {"ENGINE": "fakeserver", "URL": "fakeserver://h"}, ("fakeserver", "fakeserver", None)),
        ("main", {"PLUGIN": "FAKES", "ENGINE": "fakelite+x", "DB_NAME": "d"}, ("fakes", "fakelite", "x")),
        ("main", {"PLUGIN": "fakes", "DB_NAME": "d"}, ("fakes", "fakes", None)),
    ],
)
def test_which_plugin(name: str, entry: dict[str, object], expected: tuple[str, str, str | None]) -> None:
    """002-14: PLUGIN, ENGINE, URL, or else the entry's own name."""
    settings = make_settings(name, entry)
    assert (settings.plugin, settings.engine, settings.driver) == expected


@pytest.mark.parametrize(
    ("name", "entry", "words"),
    [
        (
            "main",
            {"ENGINE": "fakelitte"},
            "entry 'main': no installed plugin answers to 'fakelitte'; did you mean",
        ),
        ("main", {"ENGINE": "fakelitte+x"}, "answers to 'fakelitte'; did you mean 'fakelite'"),
        ("main", {"URL": "fakservr://u:s3cr3t@h/d"}, "answers to 'fakservr'; did you mean 'fakeserver'"),
        ("main", {"ENGINE": "zzz://u:s3cr3t@h/d"}, "answers to 'zzz'; installed plugins answer to: fakelite"),
        (
            "main",
            {"PLUGIN": "fake", "ENGINE": "fakelite"},
            "entry 'main', PLUGIN: no installed plugin answers to 'fake'",
        ),
        (
            "FAKESX",
            {},
            "entry 'FAKESX' has neither PLUGIN, ENGINE nor URL, and no installed plugin answers to 'FAKESX'",
        ),
        ("FAKESX", {}, "did you mean 'fakes'"),
    ],
)
def test_nobody_answers(name: str, entry: dict[str, object], words: str) -> None:
    """002-14: an unknown name lists those that are known."""
    with pytest.raises(EngineNotFoundError) as caught:
        make_settings(name, entry)
    assert words in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_an_unknown_engine_in_an_entry_named_for_its_plugin() -> None:
    (problem,) = problems({"ENGINE": "fakelitte", "DB_NAME": "d"}, name="FAKES")
    assert problem == "ENGINE 'fakelitte' is unknown; did you mean 'fakelite'?"


@pytest.mark.parametrize("entry", [{"ENGINE": 5}, {"URL": "no-scheme"}, {"ENGINE": ""}, {"URL": True}])
def test_what_does_not_say_which_engine(entry: dict[str, object]) -> None:
    (problem,) = problems(entry)
    assert problem.split()[0] in entry


def test_other_entries_plugins_are_not_loaded(project: Any) -> None:
    project.plugin("broken", source="raise RuntimeError", distribution="broken")
    file = load_settings({"DB_CONFIG": {"good": SERVER, "bad": {"ENGINE": "broken"}}})
    assert make_settings(*choose_entry(file, "good")).engine == "fakeserver"
    with pytest.raises(PluginLoadError):
        make_settings(*choose_entry(file, "bad"))


def test_a_conflict_of_plugins_is_reported(project: Any) -> None:
    project.plugin("fakelite", distribution="twin")
    with pytest.raises(PluginConflictError, match=r"fake-plugin 1\.0 and twin 1\.0 both answer"):
        make_settings("main", {"ENGINE": "fakelite"})


# -- what is wrong


def test_all_problems_come_at_once() -> None:
    """000-E4: with the nearest known name."""
    found = problems(
        {"ENGINE": "fakeserver", "PORT": "x", "PASWORD": PASSWORD, "THREADS": 99, "USER": 5, "ECHO": 1}
    )
    assert found == [
        "PASWORD is unknown; did you mean 'PASSWORD'?",
        "PORT is the text 'x'; give a whole number from 1 to 65535",
        "THREADS is the int 99; give a whole number from 1 to 64",
        "USER is the int 5; give text",
        "ECHO is the int 1; give True or False",
        "DB_NAME is missing",
        "HOST is missing",
        "PASSWORD is missing",
    ]


@pytest.mark.parametrize("missing", ["HOST", "USER", "PASSWORD", "DB_NAME"])
def test_a_missing_key_is_named(missing: str) -> None:
    """002-15: each key that a server needs, dropped in turn."""
    assert problems({k: v for k, v in SERVER.items() if k != missing}) == [f"{missing} is missing"]


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (True, "the bool True"),
        (0, "the int 0"),
        (70000, "the int 70000"),
        (-1, "the int -1"),
        (5432.0, "the float 5432.0"),
        ("abc", "the text 'abc'"),
        ("", "empty"),
        ("70000", "the text '70000'"),
        ("٥٤٣٢", "the text '٥٤٣٢'"),
        ([5432], "of the type list"),
        (float("nan"), "the float nan"),
    ],
)
def test_a_bad_port_is_refused(value: object, what: str) -> None:
    """002-16, 002-E2: 70000, True and a word are no ports."""
    assert problems(SERVER | {"PORT": value}) == [f"PORT is {what}; give a whole number from 1 to 65535"]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"engine": "x"}, "engine is unknown; keys are in upper case: ENGINE"),
        ({"Db_Name": "x"}, "Db_Name is unknown; keys are in upper case: DB_NAME"),
        ({"ZZZZ": 1}, "ZZZZ is unknown; known names: PLUGIN, ENGINE, HOST, PORT, USER, USERNAME, PASSWORD,"),
        ({5: 1}, "a key is of the type int; keys are text, in upper case"),
        ({"TLS": "on"}, "TLS is the text 'on'; give one of 'off', 'require', 'verify'"),
        ({"TLS": True}, "TLS is the bool True; give one of 'off', 'require', 'verify'"),
        ({"CONNECT_TIMEOUT": 0}, "CONNECT_TIMEOUT is the int 0; give a number of more than 0"),
        ({"CONNECT_TIMEOUT": 10**400}, "CONNECT_TIMEOUT is the int 1000"),
        ({"POOL_SIZE": 0}, "POOL_SIZE is the int 0; give a whole number of at least 1"),
        (
            {"MODELS": "app.models"},
            'MODELS is the text \'app.models\'; give a list of "module" or "module:Class"',
        ),
        ({"OPTIONS": "password=s3cr3t"}, "OPTIONS is of the type text; give a dict whose keys are text"),
        ({"OPTIONS": {1: 2}}, "OPTIONS is of the type dict; give a dict whose keys are text"),
        ({"REPLICAS": "h"}, "REPLICAS is of the type text; give a list of URLs"),
        ({"TEST": 5}, "TEST is of the type int; give the name of an entry"),
        ({"PASSWORD": 1234}, "PASSWORD is of the type int; give text"),
        (
            {"HOST": "postgresql://u:s3cr3t@h"},
            "HOST is the text 'postgresql://u:***@h'; give a server's name",
        ),
        ({"HOST": ""}, "HOST is empty; give a server's name"),
        ({"USER": "a\0b"}, "USER is the text 'a\\x00b'; give text"),
        ({"USERNAME": "bob"}, "USER and USERNAME are two spellings of one key and differ; keep one"),
        ({"DATABASE": "s3cr3t"}, "DB_NAME and DATABASE are two spellings of one key and differ; keep one"),
    ],
)
def test_a_bad_key_says_what_was_found_and_what_is_accepted(entry: dict[Any, object], problem: str) -> None:
    (found,) = problems(SERVER | entry)
    assert found.startswith(problem)
    assert "s3cr3t" not in found


def test_two_equal_spellings_are_no_problem() -> None:
    assert make_settings("main", SERVER | {"USERNAME": "ann"}).user == "ann"


@pytest.mark.parametrize(
    "bad",
    [
        "fakeserver://ann:p@s@:x/d@h:5432/d",
        "fakeserver://ann:s3/cr3t@h/d",
        "fakeserver://ann:12/34@h/d",
        "fakeserver://ann:s3cr3t",
        "fakeserver://ann:p?w@h/d",
        "fakeserver://h:70000/d",
        "fakeserver://h:0/d",
        "fakeserver://[::1/d",
    ],
)
def test_a_url_that_needs_quoting_is_refused_without_showing_it(bad: str) -> None:
    (problem,) = problems({"URL": bad})
    assert problem.startswith(
        "URL is of the type text; give a URL, scheme://user:password@host:port/database"
    )
    assert "quoted" in problem
    assert bad not in problem


@pytest.mark.parametrize(
    "good",
    [
        "fakelite:///stars.db",
        "fakelite:////var/lib/a@b.db",
        "fakelite://",
        "fakelite:///:memory:",
        "fakeserver://ann:p%40s@h:5432/d?ssl=1&x=a@b:c",
        "fakeserver://ann@/d?host=/run/db",
        "fakeserver://a:1,b:2,[::1]:3/d",
        "fakeserver://%2Frun%2Fdb.sock/d",
        "fakeserver+srv://cluster.example.org/d",
    ],
)
def test_a_url_is_taken_as_it_is(good: str) -> None:
    settings = make_settings("main", entry_from_url(good))
    assert settings.url == Secret(good)


def test_an_entry_that_is_no_dict() -> None:
    with pytest.raises(ConfigError, match="entry 'main' of DB_CONFIG is of the type text"):
        make_settings("main", "fakelite")  # type: ignore[arg-type]


def test_text_without_a_scheme_is_no_url() -> None:
    with pytest.raises(ConfigError, match=r"not a URL"):
        entry_from_url("stars.db")


# -- choosing an entry


def file(**entries: object) -> Any:
    return load_settings({"DB_CONFIG": dict.fromkeys(entries, SERVER)})


def test_the_only_entry_or_default_is_chosen_without_a_name() -> None:
    assert choose_entry(file(one=1))[0] == "one"
    assert choose_entry(file(one=1, default=2))[0] == "default"
    assert choose_entry(file(one=1, DEFAULT=2))[0] == "DEFAULT"


def test_several_entries_without_default_are_named() -> None:
    with pytest.raises(
        ConfigError, match="several entries and none is called 'default'; name one of 'one', 'two'"
    ):
        choose_entry(file(one=1, two=2))


def test_an_entry_by_name_in_any_case() -> None:
    both = file(SQL=1, sql=2, other=3)
    assert choose_entry(both, "sql")[0] == "sql"
    assert choose_entry(both, "SQL")[0] == "SQL"
    assert choose_entry(both, "OTHER")[0] == "other"
    with pytest.raises(ConfigError, match="no entry 'Sql'"):
        choose_entry(both, "Sql")


def test_an_entry_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="no entry 'archve'; did you mean 'archive'"):
        choose_entry(file(archive=1, main=2), "archve")
    with pytest.raises(ConfigError, match="its only entry is 'archive'"):
        choose_entry(file(archive=1), "x")


# -- what a plugin may do


def test_a_settings_class_need_not_be_decorated() -> None:
    class Plain(Settings):
        replica_set: str | None = key("REPLICA_SET", text, aliases=("RS",), doc="its name")

    assert keys_of(Plain)["replica_set"].names == ("REPLICA_SET", "RS")
    assert "replica_set" not in keys_of(Settings)
    assert Plain(name="n", plugin="p", engine="e", replica_set="rs0").replica_set == "rs0"  # type: ignore[call-arg]


def test_check_sees_what_was_given() -> None:
    given = Given(
        "n", "p", "e", None, {"port": 1}, frozenset({"port", "host"}), {"host": "HOST", "user": "USER"}
    )
    assert list(given.missing("host", "user", "port")) == ["USER is missing"]


def test_replicas_are_settings_of_their_own() -> None:
    settings = make_settings(
        "main", SERVER | {"PORT": 1, "REPLICAS": ["r1", "r2:2", "[::1]:3", "fakeserver://u:p@r4/d"]}
    )
    replicas = settings.replica_settings()
    assert [(r.host, r.port, r.user) for r in replicas[:3]] == [
        ("r1", 1, "ann"),
        ("r2", 2, "ann"),
        ("::1", 3, "ann"),
    ]
    assert replicas[3].url == Secret("fakeserver://u:p@r4/d")
    assert all(type(r) is type(settings) and r.replicas == () for r in replicas)


# -- secrets


def test_a_secret_hides_itself() -> None:
    hidden = Secret(PASSWORD)
    for shown in (
        repr(hidden),
        str(hidden),
        f"{hidden}",
        f"{hidden!r:>20}",
        f"{hidden:>9}",
        repr([hidden]),
    ):
        assert "s3cr3t" not in shown
        assert "***" in shown
    assert hidden.reveal() == PASSWORD
    assert hidden == Secret(PASSWORD) != Secret("other")
    assert hidden != PASSWORD
    assert len({hidden, Secret(PASSWORD)}) == 1
    assert bool(hidden)
    assert not Secret("")
    assert copy.deepcopy(hidden) is hidden
    assert copy.copy(hidden) is hidden
    assert pickle.loads(pickle.dumps(hidden)) == hidden


def test_no_secret_is_shown_anywhere(caplog: pytest.LogCaptureFixture) -> None:
    """003-12: in no repr, log or address; those of errors, health and written files are below and where they are made."""
    entry = SERVER | {
        "HOST": "db.example.org",
        "TOKEN": PASSWORD,
        "OPTIONS": {"password": PASSWORD},
        "ASYNC_OPTIONS": {"password": PASSWORD},
        "REPLICAS": ["fakeserver://ann:s3cr3t%40@replica/d"],
        "TEST": {"PASSWORD": PASSWORD},
        "URL": "fakeserver://ann:s3cr3t%40@h/d?password=s3cr3t",
    }
    with caplog.at_level(logging.DEBUG):
        settings = make_settings("main", entry)
        file = load_settings({"DB_CONFIG": {"main": entry}})
    for shown in (
        repr(settings),
        str(settings),
        settings.shown_url,
        settings.address,
        repr(file),
        caplog.text,
    ):
        assert shown
        assert "s3cr3t" not in shown
    assert settings.shown_url == "fakeserver://ann:***@h/d?…"


@pytest.mark.parametrize(
    "key", sorted({*SERVER, "URL", "OPTIONS", "REPLICAS", "TEST", "PASWORD", "TOKEN", "password"})
)
def test_a_secret_in_the_wrong_place_or_type_is_not_shown(key: str) -> None:
    inside = {"x": PASSWORD}
    for value in (
        f"fakeserver://u:{PASSWORD}@h",
        [PASSWORD],
        {1: PASSWORD},
        inside.values(),
        Secret(PASSWORD),
    ):
        with pytest.raises((ConfigError, EngineNotFoundError)) as caught:
            make_settings("main", SERVER | {key: value, "PORT": "bad"})
        assert "s3cr3t" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:pw@h:1/d", "postgresql://ann:***@h:1/d"),
        ("postgresql://ann@h/d", "postgresql://ann@h/d"),
        ("postgresql://:pw@h", "postgresql://:***@h"),
        ("postgresql://ann:p@w:x/y?z#@h/d", "postgresql://ann:***@…"),
        ("postgresql://ann:pw", "postgresql://ann:***"),
        ("postgresql://h:5432/d?password=pw#pw", "postgresql://h:5432/d?…"),
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("mongodb://a:1,b:2/d", "mongodb://a:1,b:2/d"),
    ],
)
def test_a_url_is_masked(url: str, shown: str) -> None:
    assert mask_url(url) == shown


@given(password=st.text(min_size=1), user=st.text(string.ascii_letters))
def test_no_password_is_seen_in_a_masked_url(password: str, user: str) -> None:
    secret = "§" + password + "§"  # a mark that nothing else holds
    masked = mask_url(f"postgresql://{user}:{secret}@host:5432/base?key={secret}")
    assert "§" not in masked
    assert masked.startswith(f"postgresql://{user}:***@")


@given(password=st.text(st.characters(exclude_categories=["Cs"])))
def test_a_password_may_hold_any_character(password: str) -> None:
    keys = keys_of(Settings)
    assert keys["password"].kind.convert(password).reveal() == password
    quoted = URL.create("fakeserver", "ann", password, "h", 1, "d").render_as_string(hide_password=False)
    assert url.convert(quoted).reveal() == quoted
    assert not password or mask_url(quoted) == "fakeserver://ann:***@h:1/d"


@given(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()), st.binary()
    )
)
def test_a_kind_converts_or_refuses_and_nothing_else(value: object) -> None:
    for kind in (port, seconds, flag, text, url):
        try:
            kind.convert(value)
        except (ValueError, TypeError, OverflowError):
            continue
    try:
        number = port.convert(value)
    except (ValueError, TypeError, OverflowError):
        return
    assert isinstance(number, int)
    assert 1 <= number <= 65535
    assert not isinstance(value, (bool, float))


def test_a_far_host_without_tls_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        make_settings("far-away", SERVER | {"HOST": "db.example.org"})
    make_settings("far-away-2", SERVER | {"HOST": "db.example.org", "TLS": "off"})
    make_settings("near", SERVER | {"HOST": "/run/db"})
    (record,) = [record for record in caplog.records if record.name == "db_plugins"]
    assert "'far-away'" in record.getMessage()
    assert "TLS" in record.getMessage()
