"""examples/alerce: a survey of the sky as seed 002 has it, run in a folder of its own with SQL and MONGO entries."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fastapi.testclient import TestClient
from seeds import ALL, Connect, connect, entry, make_entry, on

import db_plugins
from db_plugins import Capability
from db_plugins.cli.app import dbp

__all__ = ["connect", "entry"]

EXAMPLE = Path(__file__).parents[1] / "examples" / "alerce"
MODULES = [path.stem for path in EXAMPLE.glob("*.py") if path.stem != "__init__"]
SERVERS = ("sqlite", "postgresql", "mariadb", "mongodb")
SMALL = ("--objects", "40", "--batch", "150")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the example, the current folder; its modules are imported anew."""
    for name in MODULES:
        shutil.copy(EXAMPLE / f"{name}.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DBP_SETTINGS", str(tmp_path / "settings.py"))
    for variable in ("DATABASE_URL", "SURVEY_DATABASE"):
        monkeypatch.delenv(variable, raising=False)
    forget()
    yield tmp_path
    forget()


def forget() -> None:
    """As in a new process."""
    for name in MODULES:
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


def module(name: str) -> ModuleType:
    return importlib.import_module(name)


Use = Callable[[str, str], None]


@pytest.fixture
def use(folder: Path, request: pytest.FixtureRequest) -> Use:
    """``use("sqlite", "mongodb")``: settings.py with a fresh database for each of its two entries."""

    def write(sql: str, mongo: str) -> None:
        shutil.rmtree(folder / "migrations", ignore_errors=True)  # written for the engines of before
        entries = {}
        for name, engine in (("SQL", sql), ("MONGO", mongo)):
            place = folder / f"{sql}-{mongo}"
            place.mkdir(exist_ok=True)
            entries[name] = make_entry(engine, request, place)
        (folder / "settings.py").write_text(f"DB_CONFIG = {entries!r}\nMODELS = ['models']\n")

    return write


def run(*arguments: str, code: int = 0) -> Result:
    """``dbp`` with these arguments."""
    forget()
    done = CliRunner().invoke(dbp, arguments)
    assert done.exit_code == code, f"dbp {' '.join(arguments)}: {done.exit_code}\n{done.output}"
    assert "Traceback" not in done.output
    return done


# -- the program -------------------------------------------------------------------------------------------------------


def test_the_entries_exchanged_print_the_same(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    """002-01, 002-03, 002-11, 002-28: one program, the same calls, two databases at once; with the engines of SQL and MONGO
    exchanged its output is the same to the byte, and on PostgreSQL and MariaDB too. A second run finds nothing new."""
    outputs = {}
    for pair in (("sqlite", "mongodb"), ("mongodb", "sqlite"), ("postgresql", "mariadb")):
        use(*pair)
        run("initdb")
        module("survey").main([*SMALL])
        outputs[pair] = capsys.readouterr().out
    assert outputs["sqlite", "mongodb"] == outputs["mongodb", "sqlite"] == outputs["postgresql", "mariadb"]
    first, second = outputs["sqlite", "mongodb"].split("== MONGO")
    assert first.removeprefix("== SQL") == second
    assert first.count("\n") > 15
    assert "objects         40\n" in first

    module("survey").main(["MONGO", *SMALL])
    assert capsys.readouterr().out.replace("detections  0\n", "detections  592\n") == f"== MONGO{second}"


def test_a_survey_of_full_size(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    """2,000 objects, 30,125 alerts, in 31 batches and ten of them twice."""
    use("sqlite", "memory")
    run("initdb", "--database", "SQL")
    module("survey").main(["SQL"])
    printed = capsys.readouterr().out
    assert (
        "== SQL: 30125 alerts\nnew detections  30125\nobjects         2000\ndetections      30125\n"
        in printed
    )
    SkyObject = module("models").SkyObject
    with db_plugins.connect("SQL") as db:
        total = db.query(SkyObject).aggregate(n=db_plugins.func.sum(SkyObject.ndet))
        assert total == {"n": 30125}


@pytest.mark.parametrize("file", [name for name in MODULES if name != "models"])
def test_only_the_models_know_what_they_are_made_of(file: str) -> None:
    """002-12: outside models.py there is neither SQLAlchemy nor a driver."""
    tree = ast.parse((EXAMPLE / f"{file}.py").read_text(encoding="utf-8"))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    own = {"db_plugins", "fastapi"} if file == "api" else {"db_plugins"}
    assert imported - set(sys.stdlib_module_names) - set(MODULES) <= own


# -- the step ----------------------------------------------------------------------------------------------------------


def everything(db: db_plugins.Database) -> list[list[dict[str, Any]]]:
    models = module("models")
    return [db.query(model).to_dicts() for model in (models.SkyObject, models.Detection)]


@on(*ALL)
def test_a_batch_that_comes_again_changes_nothing(connect: Connect) -> None:
    """002-04, 002-05, 002-06: objects upserted and detections inserted in bulk, the same on every engine."""
    models, step, alerts = module("models"), module("step"), module("alerts").make_alerts(10)
    db = connect(models.SkyObject, models.Detection)
    assert isinstance(db.query(models.SkyObject), db_plugins.BaseQuery)
    assert [step.process(db, batch) for batch in (alerts[:60], alerts[40:90], alerts[:90])] == [60, 30, 0]
    before = everything(db)
    assert step.process(db, alerts[20:50]) == 0
    assert everything(db) == before
    for row in before[0]:
        mags = [alert.mag for alert in alerts[:90] if alert.oid == row["oid"]]
        assert (row["ndet"], row["brightest"], row["faintest"]) == (len(mags), min(mags), max(mags))


@on(*ALL)
def test_a_batch_that_breaks_off(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is stored where the engine has transactions; elsewhere its second delivery completes it."""
    models, step, alerts = module("models"), module("step"), module("alerts").make_alerts(4)
    db = connect(models.SkyObject, models.Detection)
    step.process(db, alerts[:30])
    before = everything(db)
    with monkeypatch.context() as patched:
        patched.setattr(step, "curves", lambda db, oids: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            step.process(db, alerts[20:])
    assert (everything(db) == before) == (Capability.TRANSACTIONS in db.capabilities)
    step.process(db, alerts[20:])
    assert sum(row["ndet"] for row in everything(db)[0]) == len(alerts)


@on(*SERVERS)
def test_two_pipelines_share_the_stream(connect: Connect) -> None:
    """Each gets every batch; a batch that meets the other's is run again, and none is stored twice."""
    models, step, alerts = module("models"), module("step"), module("alerts").make_alerts(6)
    db = connect(models.SkyObject, models.Detection)
    new: list[int] = []
    batches = list(module("alerts").deliver(alerts, 15))
    threads = [
        threading.Thread(target=lambda order: new.append(step.consume(db, order)), args=[order])
        for order in (batches, batches[::-1])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(new) == 2
    assert sum(new) == len(alerts)
    assert sum(row["ndet"] for row in everything(db)[0]) == len(alerts)


# -- over HTTP ---------------------------------------------------------------------------------------------------------


def test_pages_and_light_curves_over_http(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    """002-08, 002-09: pages of objects, sorted and filtered, are the same from both databases."""
    answers = {}
    for pair in (("sqlite", "mongodb"), ("postgresql", "mariadb")):
        use(*pair)
        run("initdb")
        for name, engine in zip(("SQL", "MONGO"), pair, strict=True):
            forget()
            monkeypatch.setenv("SURVEY_DATABASE", name)
            with db_plugins.connect(name) as db:
                module("step").consume(db, [module("alerts").make_alerts(12)])
            with TestClient(module("api").app) as client:
                answers[engine] = list(ask(client))
    expected = answers["sqlite"]
    assert all(found == expected for found in answers.values()), answers
    assert [status for status, _ in expected] == [200, 200, 200, 200, 404, 200, 404, 422]
    first, second, bright, one, _, curve, _, _ = (body for _, body in expected)
    assert (first["total"], first["pages"], len(first["items"]), len(second["items"])) == (12, 3, 5, 2)
    assert [o["ndet"] for o in first["items"]] == sorted((o["ndet"] for o in first["items"]), reverse=True)
    assert bright["items"]
    assert all(o["brightest"] < 17 and o["dec"] > 0 for o in bright["items"])
    assert len(curve) == one["ndet"]
    assert [point["mjd"] for point in curve] == sorted(point["mjd"] for point in curve)


def ask(client: TestClient) -> Iterator[tuple[int, Any]]:
    for path in (
        "/objects?per_page=5&sort=-ndet",
        "/objects?per_page=5&sort=-ndet&page=3",
        "/objects?brighter_than=17&north_of=0",
        "/objects/ZTF260000003",
        "/objects/ZTF26",
        "/objects/ZTF260000003/lightcurve",
        "/objects/ZTF26/lightcurve",
        "/objects?sort=dec",
    ):
        answer = client.get(path)
        yield answer.status_code, answer.json()


# -- migrations --------------------------------------------------------------------------------------------------------

COLUMN = "    ndet: Mapped[int]"
NEW = "    kind: Mapped[str | None] = mapped_column(String(20), index=True)\n"


@pytest.mark.parametrize("pair", [("sqlite", "mongodb"), ("postgresql", "mariadb")], ids="-".join)
def test_a_column_is_added_and_taken_away_again(use: Use, folder: Path, pair: tuple[str, str]) -> None:
    """002-18, 002-20, 002-22, 002-23, 002-24, 002-25, 002-28, 002-29: initdb, and then a migration up and down, of both entries by
    each command; the rows stay."""
    use(*pair)
    run("initdb")
    assert "nothing differs" in run("make_migrations").output
    for name in ("SQL", "MONGO"):
        with db_plugins.connect(name) as db:
            module("step").consume(db, [module("alerts").make_alerts(3)])
    file = folder / "models.py"
    old = file.read_text(encoding="utf-8")
    file.write_text(old.replace(COLUMN, NEW + COLUMN), encoding="utf-8")
    assert run("make_migrations", "-m", "Add a kind").output.count("objects.kind") == 2
    assert all(
        len([*(folder / "migrations" / name / "versions").glob("*add_a_kind.py")]) == 1
        for name in ("SQL", "MONGO")
    )
    run("check", code=3)
    run("migrate")
    run("check")
    forget()
    for name in ("SQL", "MONGO"):
        with db_plugins.connect(name) as db:
            objects = db.query(module("models").SkyObject)
            assert objects.filter(kind=None).count() == 3
            assert objects.filter(oid="ZTF260000001").update({"kind": "RR Lyrae"}) == 1
    assert "kind" in run("downgrade", code=1).output  # it holds a value
    run("downgrade", "--allow-drop")
    file.write_text(old, encoding="utf-8")
    forget()
    for name in ("SQL", "MONGO"):
        with db_plugins.connect(name) as db:
            assert db.query(module("models").SkyObject).count() == 3
            assert "kind" not in db.query(module("models").SkyObject).to_dicts()[0]
    run("migrate")
    run("downgrade", "initial")
    run("check", code=3)  # a revision is not applied


# -- what the seed's own text gets wrong -------------------------------------------------------------------------------


def test_the_settings_of_the_example_are_valid(folder: Path) -> None:
    """002-15, 002-E3: the keys of SQL and of MONGO, all of them known."""
    for name in ("SQL", "MONGO"):
        with db_plugins.connect(name) as db:
            assert db.name == name


def test_a_colon_for_an_equals_sign(folder: Path) -> None:
    """002-E1: the seed writes ``DB_CONFIG: {…}``."""
    text = (EXAMPLE / "settings.py").read_text(encoding="utf-8")
    (folder / "settings.py").write_text(text.replace("DB_CONFIG = {", "DB_CONFIG: {"))
    said = run("initdb", code=1).output
    assert "you wrote `DB_CONFIG:`; use `DB_CONFIG =`" in said


@pytest.mark.parametrize("name", ["SQL", "MONGO"])
def test_a_quoted_port_is_one_on_both(folder: Path, name: str) -> None:
    """002-E2, 002-16: digits in a text are a port on both engines, and what is none is refused on both in the same words."""
    config = module("settings").DB_CONFIG
    right = str(config[name]["PORT"])
    settings = db_plugins.connect({**config[name], "PLUGIN": name.lower(), "PORT": right})._settings
    assert settings.port == int(right)
    for wrong in ("x", "", 70000, True):
        with pytest.raises(db_plugins.ConfigError, match=r"PORT .*give a whole number from 1 to 65535"):
            db_plugins.connect({**config[name], "PLUGIN": name.lower(), "PORT": wrong})


def test_an_unknown_key_of_mongo_lists_what_is_near(folder: Path) -> None:
    """002-E3, 002-15: each wrong key of both entries, at once, with the nearest known name."""
    text = (EXAMPLE / "settings.py").read_text(encoding="utf-8")
    (folder / "settings.py").write_text(text.replace('"HOST"', '"HOSTNAME"').replace('"DB_NAME"', '"DBNAME"'))
    said = run("initdb", code=1).output
    for name in ("SQL", "MONGO"):
        assert f"entry '{name}': DBNAME is unknown; did you mean 'DB_NAME'?" in said
        assert f"entry '{name}': HOSTNAME is unknown" in said


# -- its page ----------------------------------------------------------------------------------------------------------

PAGE = EXAMPLE.parents[1] / "docs" / "example-alerce.md"
#: Revision ids, of which each run makes its own, and those of the page.
ID = re.compile(r"(?<![0-9a-z])[0-9a-f]{12}(?![0-9a-z])")
PAGE_IDS = ("3f2a91c07d44", "9b10e6d2c5a8")
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_shows_what_is_printed(use: Use, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line of the page's terminal, in order; the servers of the tests stand for those of settings.py."""
    use("postgresql", "mongodb")
    page = PAGE.read_text(encoding="utf-8")
    (new,) = re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert new == NEW
    typed = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(CONSOLE.findall(page)), re.MULTILINE)
    assert len(typed) == 5
    ids: list[str] = []
    for line, expected in typed:
        words = shlex.split(line)
        if "make_migrations" in words:
            text = (folder / "models.py").read_text(encoding="utf-8")
            (folder / "models.py").write_text(text.replace(COLUMN, NEW + COLUMN), encoding="utf-8")
        if words[0] == "dbp":
            said = run(*words[1:]).stdout
        else:
            module("survey").main(words[2:])
            said = capsys.readouterr().out
        said = re.sub(r"127\.0\.0\.1:\d+/t_\w+", "HOST/survey", said)
        expected = re.sub(r"localhost:\d+/survey", "HOST/survey", expected)
        ids += [each for each in ID.findall(said) if each not in ids]
        for number, each in enumerate(ids):
            said = said.replace(each, PAGE_IDS[number])
        assert said == expected, line
