"""examples/api over HTTP: one application file, several databases, the same answers."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient
from seeds import make_entry

ROOT = Path(__file__).parents[1]
ENGINES = ("sqlite", "postgresql", "mariadb", "mongodb")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the current one, from which examples can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT)
    for variable in ("DATABASE_URL", "DB_DRIVER"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def choose(entry: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of what differs between two databases: the settings."""
    file = folder / "settings.py"
    file.write_text(f"DB_CONFIG = {{'default': {entry!r}}}\n", encoding="utf-8")
    monkeypatch.setenv("DBP_SETTINGS", str(file))


def module(name: str) -> ModuleType:
    return importlib.import_module(f"examples.api.{name}")


@pytest.fixture
def client(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    choose(make_entry(request.param, request, folder), folder, monkeypatch)
    with TestClient(module("app").app) as client:
        yield client


def test_one_application_is_the_same_on_every_database(
    request: pytest.FixtureRequest,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """001-20: the same file, other settings, the same output."""
    outputs = {}
    for engine in ENGINES:
        choose(make_entry(engine, request, folder), folder, monkeypatch)
        module("tour").main()
        outputs[engine] = capsys.readouterr().out.splitlines()
    for engine in ENGINES[1:]:
        assert outputs[engine] == outputs["sqlite"], engine
    said = "\n".join(outputs["sqlite"])
    statuses = [line.split()[2] for line in outputs["sqlite"] if not line.startswith("feed")]
    assert statuses == [
        *["201"] * 6,
        *["200"] * 3,
        *("422", "422", "200", "404", "200", "201", "201", "422", "200", "200", "204", "404", "409", "422"),
    ]
    assert '"seen": 2' in said
    assert [line for line in said.splitlines() if line.startswith("feed")] == [
        "feed ['Antares', 'Betelgeuse']",
        "feed ['Rigel', 'Sirius']",
    ]


@pytest.mark.parametrize("client", ["sqlite", "postgresql", "mariadb"], indirect=True)
def test_a_catalogue_is_stored_whole_or_not_at_all(client: TestClient) -> None:
    stars = [{"name": name, "colour": "RED"} for name in ("Antares", "Proxima")]
    assert client.post("/catalogue", json=stars).json() == 2
    clash = [{"name": "Mira", "colour": "RED"}, stars[0]]
    answer = client.post("/catalogue", json=clash)
    assert (answer.status_code, answer.json()["type"]) == (409, "DuplicateKeyError")
    assert client.get("/stars").json()["total"] == 2


@pytest.mark.parametrize("client", ["mongodb"], indirect=True)
def test_a_session_where_there_are_none_is_a_501(client: TestClient) -> None:
    answer = client.post("/catalogue", json=[{"name": "Mira", "colour": "RED"}])
    assert (answer.status_code, answer.json()["type"]) == (501, "UnsupportedOperationError")


@pytest.mark.parametrize("client", ENGINES, indirect=True)
def test_the_application_says_how_it_is(client: TestClient) -> None:
    answer = client.get("/health")
    found = answer.json()["databases"]["default"]
    assert (answer.status_code, found["ok"], sorted(found["models"])) == (200, True, ["Sighting", "Star"])


@pytest.mark.parametrize("client", ["sqlite"], indirect=True)
def test_the_document_names_pages_and_errors(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    parts = document["components"]["schemas"]
    assert {"Page_StarRead_", "CursorPage_StarRead_", "StarCreate", "StarUpdate", "ErrorBody"} <= set(parts)
    listing = document["paths"]["/stars"]["get"]
    assert {p["name"] for p in listing["parameters"]} == {"page", "per_page", "sort", "colour"}
    assert listing["responses"]["404"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorBody")
