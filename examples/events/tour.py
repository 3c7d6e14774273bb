"""A walk through the API, over HTTP: the same output on every engine.

DATABASE_URL=sqlite:///events.db python -m examples.events.tour
"""

import json
from typing import Any

from fastapi.testclient import TestClient

from .main import app

#: Method, path, body.
STEPS: list[tuple[str, str, Any]] = [
    ("POST", "/users", {"email": "ann@example.org"}),
    ("POST", "/users", {"email": "ben@example.org"}),
    ("POST", "/users", {"email": "ann@example.org"}),
    ("POST", "/users/1/events", {"title": "Picnic", "date_of": "2024-06-21", "social_status": "public"}),
    ("POST", "/users/1/events", {"title": "Dentist", "date_of": "2024-06-24"}),
    ("POST", "/users/2/events", {"title": "'; drop table users;--", "social_status": "public"}),
    ("POST", "/users/9/events", {"title": "Nobody's"}),
    ("POST", "/users/1/events", {"title": "Ball", "social_status": "bogus"}),
    ("POST", "/users/1/events", {"title": {"$gt": ""}}),
    ("GET", "/events?social_status=public", None),
    ("GET", "/events?sort=-date_of&per_page=1", None),
    ("GET", "/events/1", None),
    ("GET", "/users/1/events", None),
    ("PATCH", "/events/2", {"date_of": "2024-06-28"}),
    ("DELETE", "/events/2", None),
    ("DELETE", "/events/2", None),
    ("GET", "/users/1/events", None),
    ("GET", "/users/9/events", None),
]


def main() -> None:
    with TestClient(app) as client:
        for method, path, body in STEPS:
            answer = client.request(method, path, json=body)
            print(method, path, answer.status_code, json.dumps(answer.json()) if answer.content else "")


if __name__ == "__main__":
    main()
