"""``db_plugins.fastapi``: what each error is over HTTP."""

# No "from __future__ import annotations": FastAPI reads the annotations of endpoints made inside functions.

import logging
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from stargazing import Db, Star, call, make_app

from db_plugins import errors
from db_plugins.fastapi import add_error_handlers
from db_plugins.fastapi.handlers import ANSWERS

SECRET = "key (email)=(ann@x.org) at db.internal:5432"


def _failing(error: Exception) -> FastAPI:
    app = FastAPI()
    add_error_handlers(app)

    @app.get("/")
    def fail() -> None:
        raise error

    return app


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_has_its_status_and_says_nothing_of_the_inside(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    kind: type[errors.DbPluginsError] = getattr(errors, name)
    shows_fact = name in ("NotFoundError", "InvalidValueError")
    error = kind("a fact" if shows_fact else SECRET, hint="pass force=True")
    answer = [ANSWERS[base] for base in kind.__mro__ if base in ANSWERS]
    with caplog.at_level(logging.ERROR, "db_plugins.fastapi"):
        response = call("/", _failing(error))
    assert response.status_code == (answer[0].status if answer else 500)
    assert SECRET not in response.text
    assert "force=True" not in response.text
    if not answer:
        return
    logged = [record for record in caplog.records if record.name == "db_plugins.fastapi"]
    assert len(logged) == (1 if response.status_code >= 500 else 0)
    detail = response.json()["detail"]
    if response.status_code == 422:
        assert [set(each) for each in detail] == [{"type", "loc", "msg"}]
        assert detail[0]["type"] == name
    else:
        assert response.json()["type"] == name
        assert response.json()["retryable"] is bool(getattr(error, "retryable", False))
        assert ("Retry-After" in response.headers) == response.json()["retryable"]
    assert ("a fact" in response.text) == shows_fact


def test_statuses_are_those_of_the_contract() -> None:
    statuses = {kind.__name__: answer.status for kind, answer in ANSWERS.items()}
    expected = {
        "NotFoundError": 404,
        "DuplicateKeyError": 409,
        "InvalidValueError": 422,
        "ConflictError": 409,
    }
    assert {name: statuses[name] for name in expected} == expected


def test_errors_of_calls_become_answers() -> None:
    app = make_app()

    @app.post("/stars", status_code=201)
    def add(body: dict[str, Any], db: Db) -> dict[str, Any]:
        return {"id": db.query(Star).insert(body).id}

    @app.get("/stars/{name}")
    async def one(name: str, db: Db) -> dict[str, Any]:
        return {"id": db.query(Star).filter(name=name).one().id}

    with TestClient(app) as client:
        assert client.post("/stars", json={"name": "Vega"}).status_code == 201
        again = client.post("/stars", json={"name": "Vega"})
        assert (again.status_code, again.json()) == (
            409,
            {
                "detail": "there is one with this key already",
                "type": "DuplicateKeyError",
                "attributes": ["name"],
                "retryable": False,
            },
        )
        wrong = client.post("/stars", json={"name": {"$ne": None}})
        assert wrong.status_code == 422
        assert wrong.json()["detail"][0]["msg"].startswith("Star.name takes str")
        missing = client.get("/stars/Deneb")
        assert (missing.status_code, missing.json()["type"]) == (404, "NotFoundError")
