"""A walk through the application, over HTTP: the same output on every engine.

DATABASE_URL=sqlite:///observatory.db python -m examples.api.tour
"""

from __future__ import annotations

import json
from typing import Any

from fastapi.testclient import TestClient

from .app import app

STARS = [
    {"name": "Vega", "colour": "WHITE", "mag": 0.03},
    {"name": "Sirius", "colour": "WHITE", "mag": -1.46},
    {"name": "Betelgeuse", "colour": "RED", "mag": 0.5},
    {"name": "Rigel", "colour": "BLUE", "mag": 0.13},
    {"name": "Antares", "colour": "RED", "mag": 1.06},
    {"name": "Proxima", "colour": "RED"},
]
NIGHT = "2026-11-21T22:30:00+01:00"
#: Method, path, body.
STEPS: list[tuple[str, str, Any]] = [
    ("GET", "/stars?per_page=2", None),
    ("GET", "/stars?per_page=2&page=3&sort=-mag", None),
    ("GET", "/stars?colour=RED&sort=mag", None),
    ("GET", "/stars?sort=seen", None),
    ("GET", "/stars?color=RED", None),
    ("GET", "/stars/Vega", None),
    ("GET", "/stars/Deneb", None),
    ("PATCH", "/stars/Vega", {"mag": 0.026}),
    ("POST", "/stars/Vega/sightings", {"at": NIGHT, "note": "clear"}),
    ("POST", "/stars/Vega/sightings", {"at": NIGHT}),
    ("POST", "/stars/Vega/sightings", {"at": "2026-11-21T22:30:00"}),
    ("GET", "/stars/Vega", None),
    ("GET", "/stars/Vega/sightings", None),
    ("DELETE", "/stars/Vega", None),
    ("DELETE", "/stars/Vega", None),
    ("POST", "/stars", {"name": "Rigel", "colour": "BLUE"}),
    ("POST", "/stars", {"name": {"$ne": None}, "colour": "BLUE"}),
]


def main() -> None:
    with TestClient(app) as client:
        for star in STARS:
            show("POST", "/stars", client.post("/stars", json=star))
        for method, path, body in STEPS:
            show(method, path, client.request(method, path, json=body))
        walk(client)


def walk(client: TestClient) -> None:
    """The feed, page by page."""
    cursor = None
    while True:
        page = client.get(
            "/feed", params={"sort": "-mag", "per_page": 2, **({"cursor": cursor} if cursor else {})}
        ).json()
        print("feed", [star["name"] for star in page["items"]])
        cursor = page["next_cursor"]
        if cursor is None:
            return


def show(method: str, path: str, answer: Any) -> None:
    print(method, path, answer.status_code, json.dumps(answer.json()) if answer.content else "")


if __name__ == "__main__":
    main()
