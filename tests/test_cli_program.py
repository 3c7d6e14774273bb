"""``dbp`` itself: its options, its endings, what it loads, and the commands of other distributions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from db_plugins.cli.app import dbp
from db_plugins.cli.external import find_commands
from db_plugins.cli.group import COMMANDS

PASSWORD = "s3cr3t@:/p%"
HEAVY = {"sqlalchemy", "pluggy", "pymongo", "alembic", "asyncio", "db_plugins_sql", "db_plugins_mongo"}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty project, which is the current folder; no variable and no import is left behind."""
    for name in list(os.environ):
        if name.startswith("DB_") or name in ("DATABASE_URL", "DBP_SETTINGS"):
            monkeypatch.delenv(name)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    find_commands.cache_clear()
    yield tmp_path
    find_commands.cache_clear()
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(dbp, arguments)


def run_process(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "db_plugins", *arguments], capture_output=True, text=True, timeout=60, **more
    )


def install(folder: Path, distribution: str, entries: str, **modules: str) -> None:
    """A distribution's metadata and modules, as an installer leaves them."""
    info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entries)
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)


# -- what is loaded ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], [], *([name, "--help"] for name in COMMANDS)]
)
def test_help_loads_no_engine_and_no_sqlalchemy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom db_plugins.cli import main\n"
        f"sys.argv = ['dbp', *{arguments}]\n"
        "try:\n    main()\nexcept SystemExit:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "db_plugins" in loaded
    assert not HEAVY & loaded


def test_help_lists_every_command_with_its_own_first_line() -> None:
    listed = run("--help").output
    for name, line in COMMANDS.items():
        assert f"{name}  " in listed
        assert line in listed
        assert line in run(name, "--help").output


def test_the_module_runs_as_the_script_does() -> None:
    assert run_process("--version").stdout == run("--version").output
    assert run_process("--help").stdout.startswith("Usage: dbp ")


# -- wrong usage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "fact", "hint"),
    [
        (["initbd"], "there is no command 'initbd'", "did you mean 'initdb'"),
        (["init-db"], "there is no command 'init-db'", "did you mean 'initdb'"),
        (["zzz"], "there is no command 'zzz'", f"commands: {', '.join(COMMANDS)}"),
        ([], "no command was given", f"commands: {', '.join(COMMANDS)}"),
        (["--nope", "health"], "--nope", "see `dbp --help`"),
        (["health", "--nope"], "--nope", "see `dbp health --help`"),
        (["init", "a", "b"], "unexpected extra argument", "see `dbp init --help`"),
        (["health", "--database"], "requires an argument", "see `dbp"),
    ],
)
def test_wrong_usage_is_2_with_one_line_and_a_hint(arguments: list[str], fact: str, hint: str) -> None:
    done = run(*arguments)
    first, second = done.stderr.splitlines()
    assert (done.exit_code, done.stdout) == (2, "")
    assert first.startswith("error: ")
    assert fact in first
    assert second.startswith("hint: ")
    assert hint in second

    told = json.loads(run("--json", *arguments).stdout)
    assert (told["ok"], told["type"]) == (False, "UsageError")
    assert fact in told["error"]
    assert hint in told["hint"]


@pytest.mark.parametrize("arguments", [["{}"], ["initdb", "{}"], ["--database", "{}", "health"], ["-s{}"]])
def test_a_url_typed_in_the_wrong_place_shows_no_password(arguments: list[str], project: Path) -> None:
    (project / "settings.py").write_text("DB_CONFIG = {'default': {'ENGINE': 'memory'}}")
    done = run(*(each.format(f"postgresql://ann:{PASSWORD}@db/stars") for each in arguments))
    assert done.exit_code in (1, 2)
    assert "s3cr3t" not in done.output


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["--settings", "there/settings.py", "--database", "B", "--json", "health"],
        ["health", "--settings", "there/settings.py", "--database", "B", "--json"],
        ["--settings_path", "there", "--database", "B", "health", "--json"],
        ["--json", "health", "--database=b", "--settings_path=there"],
    ],
)
def test_the_options_may_stand_before_or_after_the_command(arguments: list[str], project: Path) -> None:
    (project / "there").mkdir()
    (project / "there" / "settings.py").write_text(
        "DB_CONFIG = {'A': {'ENGINE': 'memory'}, 'B': {'ENGINE': 'memory'}}\nMODELS = []"
    )
    done = run(*arguments)
    told = json.loads(done.stdout)
    assert done.exit_code == 0, done.output
    assert [entry["name"] for entry in told["entries"]] == ["B"]
    assert told["settings"] == str(project / "there" / "settings.py")


def test_several_databases_are_chosen_each_once_in_the_order_given(project: Path) -> None:
    (project / "settings.py").write_text(
        "DB_CONFIG = {name: {'ENGINE': 'memory'} for name in 'ABC'}\nMODELS = []"
    )
    told = json.loads(run("--json", "--database", "C", "health", "--database", "A", "--database", "c").stdout)
    assert [entry["name"] for entry in told["entries"]] == ["C", "A"]


def test_the_source_of_the_settings_is_said_beside_the_result(project: Path) -> None:
    (project / "settings.py").write_text("DB_CONFIG = {'A': {'ENGINE': 'memory'}}\nMODELS = []")
    done = run("health")
    assert f"settings: {project / 'settings.py'}\n" in done.stderr
    assert "settings.py" not in done.stdout


def test_an_unused_database_url_is_noted_and_not_shown(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "settings.py").write_text("DB_CONFIG = {'A': {'ENGINE': 'memory'}}\nMODELS = []")
    monkeypatch.setenv("DATABASE_URL", "postgresql://ann:s3cr3t@db/stars")
    done = run("health")
    assert "note: DATABASE_URL in the environment is not used" in done.stderr
    told = json.loads(run("health", "--json").stdout)
    assert any("DATABASE_URL" in note for note in told["notes"])
    assert "s3cr3t" not in done.output + str(told)


# -- endings -----------------------------------------------------------------------------------------------------------

#: An engine whose driver is as careless as drivers can be.
CARELESS = """
from db_plugins import hookimpl
from db_plugins.testing.memory import MemoryEngine
class Engine(MemoryEngine):
    name = "careless"
    def connect(self, settings):
        {body}
@hookimpl
def dbp_register_engine():
    return Engine
"""
ENTRIES = "[db_plugins]\ncareless = careless_engine\n"


def with_engine(project: Path, body: str) -> dict[str, Any]:
    plugins = project / "plugins"
    install(plugins, "careless-plugin", ENTRIES, careless_engine=CARELESS.format(body=body))
    (project / "settings.py").write_text(
        f"DB_CONFIG = {{'A': {{'ENGINE': 'careless', 'PASSWORD': {PASSWORD!r}}}}}\nMODELS = []"
    )
    return {"env": {**os.environ, "PYTHONPATH": os.pathsep.join([str(plugins), *filter(None, sys.path)])}}


RAISES = "raise RuntimeError('cannot log in with ' + settings.password.reveal())"


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--verbose"], ["--verbose", "--json"]])
def test_an_error_that_is_not_ours_is_one_line_and_hides_the_password(
    project: Path, arguments: list[str]
) -> None:
    """003-12: in no output of a command."""
    done = run_process("health", *arguments, **with_engine(project, RAISES))
    assert done.returncode == 1
    assert "RuntimeError: cannot log in with ***" in (done.stdout if "--json" in arguments else done.stderr)
    assert "s3cr3t" not in done.stdout + done.stderr
    assert ("Traceback" in done.stderr) == ("--verbose" in arguments)


def test_verbose_shows_neither_the_lines_nor_the_values_of_broken_settings(project: Path) -> None:
    (project / "settings.py").write_text(f"PORT = int({PASSWORD!r})\nDB_CONFIG = {{}}")
    done = run_process("health", "--verbose")
    assert done.returncode == 1
    assert "settings.py:1: ValueError" in done.stderr
    assert "Traceback" in done.stderr
    assert "s3cr3t" not in done.stdout + done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_ctrl_c_is_130_and_says_interrupted(project: Path, arguments: list[str]) -> None:
    more = with_engine(
        project, "print('waiting', file=__import__('sys').stderr, flush=True); __import__('time').sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "db_plugins", "health", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What runs in the background of a shell inherits that Ctrl-C is ignored: here it is as at a terminal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **more,
    ) as started:
        assert started.stderr is not None
        while "waiting" not in started.stderr.readline():
            pass
        started.send_signal(signal.SIGINT)
        out, err = started.communicate(timeout=30)
    assert started.returncode == 130
    if arguments:
        assert json.loads(out)["error"] == "interrupted"
    else:
        assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err


def test_what_settings_print_does_not_spoil_the_json_document(project: Path) -> None:
    (project / "settings.py").write_text(
        "print('hello')\nDB_CONFIG = {'A': {'ENGINE': 'memory'}}\nMODELS = []"
    )
    done = run_process("health", "--json")
    assert json.loads(done.stdout)["ok"] is True
    assert "hello" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a shell and its pipes")
@pytest.mark.parametrize("arguments", ["plugins", "plugins --json"])
def test_a_reader_that_goes_away_causes_no_traceback(arguments: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m db_plugins {arguments} | true'],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""


# -- commands of other distributions -----------------------------------------------------------------------------------

COUNT = """
import click
from db_plugins.cli import Command, Run

@click.command("make_report", cls=Command)
@click.pass_obj
def command(run: Run) -> None:
    "Say which models there are."
    run.each_entry(lambda entry, db: {"names": [m.__name__ for m in entry.models]}, lambda facts: str(facts["names"]))

plain = "no command"
"""


@pytest.fixture
def others(project: Path) -> Path:
    """A folder on the path in which distributions with commands can be installed."""
    folder = project / "others"
    folder.mkdir()
    sys.path.insert(0, str(folder))
    (project / "settings.py").write_text("DB_CONFIG = {'A': {'ENGINE': 'memory'}}\nMODELS = []")
    return folder


def test_a_command_of_another_distribution_runs_under_both_spellings(others: Path) -> None:
    install(others, "my-report", "[db_plugins.commands]\nmake-report = my_report:command\n", my_report=COUNT)
    listed = run("--help").output
    assert "make-report  from my-report 1.0" in listed
    assert "my_report" not in sys.modules
    assert run("make-report").stdout == "[]\n"
    assert run("make_report").stdout == "[]\n"
    told = json.loads(run("make_report", "--json", "--database", "A").stdout)
    assert (told["ok"], told["entries"][0]["names"]) == (True, [])


@pytest.mark.parametrize(
    ("value", "source", "marked", "said"),
    [
        ("gone_module:command", "", "BROKEN: no module 'gone_module' (my-report 1.0)", "ModuleNotFoundError"),
        (
            "my_report.part:command",
            "",
            "BROKEN: no module 'my_report.part' (my-report 1.0)",
            "ModuleNotFoundError",
        ),
        ("my_report", "", "BROKEN: 'my_report' is not module:object (my-report 1.0)", "my_report"),
        ("my_report:command", "import nothing_there", "from my-report 1.0", "nothing_there"),
        ("my_report:nope", COUNT, "from my-report 1.0", "AttributeError"),
        ("my_report:plain", COUNT, "from my-report 1.0", "a str, not a click command"),
        ("my_report:command", "raise SystemExit(0)", "from my-report 1.0", "SystemExit"),
    ],
)
def test_a_broken_command_is_named_with_its_distribution(
    others: Path, value: str, source: str, marked: str, said: str
) -> None:
    install(others, "my-report", f"[db_plugins.commands]\nreport = {value}\n", my_report=source)
    assert marked in " ".join(run("--help").output.split())
    done = run("report")
    assert done.exit_code == 1
    assert "command 'report' (my-report 1.0)" in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.output
    assert run("health").exit_code == 0


def test_two_distributions_with_one_command_are_both_named(others: Path) -> None:
    for distribution in ("my-report", "your-report"):
        install(others, distribution, "[db_plugins.commands]\nreport = my_report:command\n", my_report=COUNT)
    assert "BROKEN: more than one has this name" in " ".join(run("--help").output.split())
    done = run("report")
    assert done.exit_code == 1
    assert "my-report 1.0" in done.stderr
    assert "your-report 1.0" in done.stderr


def test_no_distribution_can_replace_a_command_of_dbp(others: Path) -> None:
    install(others, "my-report", "[db_plugins.commands]\nhealth = my_report:command\n", my_report=COUNT)
    assert "address" in run("health").stdout
    assert "my_report" not in sys.modules


def test_a_foreign_command_prints_for_itself(others: Path) -> None:
    source = "import click\n@click.command()\ndef command():\n    click.echo('{}')\n    return 7\n"
    install(others, "my-report", "[db_plugins.commands]\nreport = my_report:command\n", my_report=source)
    done = run("--json", "report")
    assert (done.exit_code, done.stdout) == (0, "{}\n")


def test_without_standalone_mode_errors_reach_the_caller() -> None:
    with pytest.raises(click.UsageError):
        dbp.main(["zzz"], standalone_mode=False)
