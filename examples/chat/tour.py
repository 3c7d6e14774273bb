"""A walk through the application, over HTTP: the same output on every engine.

DBP_SETTINGS=examples/chat/settings.py python -m examples.chat.tour
"""

from __future__ import annotations

import json
import re
from typing import Any

from fastapi.testclient import TestClient

from .app import app

ANN = {"email": "ann@example.org", "name": "Ann", "password": "correct horse"}
BEN = {"email": "ben@example.org", "name": "Ben", "password": "battery staple"}
DOCUMENTS = [
    {
        "source": "manual",
        "content": "Press the red button to stop the engine.",
        "metadata": {"language": "en"},
    },
    {
        "source": "manual",
        "content": "Press the green button to start the engine.",
        "metadata": {"language": "en"},
    },
    {"source": "faq", "content": "How do I stop the engine?", "metadata": {"language": "en", "asked": 12}},
    {"source": "faq", "content": "Wie halte ich den Motor an?", "metadata": {"language": "de"}},
]
TALK = [
    ("system", "You are brief."),
    ("user", "Hello"),
    ("assistant", "Hi."),
    ("user", "Bye"),
    ("assistant", "Bye."),
]

#: Method, path, body.
STEPS: list[tuple[str, str, Any]] = [
    ("POST", "/users", ANN),
    ("POST", "/users", BEN),
    ("POST", "/users", ANN),
    ("POST", "/login", {"email": ANN["email"], "password": ANN["password"]}),
    ("POST", "/login", {"email": ANN["email"], "password": BEN["password"]}),
    ("GET", "/users", None),
    ("GET", "/users?offset=1&limit=1", None),
    ("GET", "/users?limit=0", None),
    ("PATCH", "/users/2", {"name": "Benjamin"}),
    ("PATCH", "/users/3", {"name": "Nobody"}),
    ("POST", "/users/1/conversations?title=Engines", None),
    ("POST", "/users/3/conversations?title=Nothing", None),
    ("POST", "/conversations/1/messages", {"role": "user", "content": "It does not stop!"}),
    ("POST", "/conversations/1/messages", {"role": "assistant", "content": "Press the red button."}),
    ("POST", "/conversations/1/messages", {"role": "robot", "content": "Beep"}),
    ("GET", "/users/1", None),
    ("GET", "/messages?email=ann@example.org", None),
    *[
        ("POST", "/sessions/s-1/messages?tokens=7&model=small", {"role": role, "content": content})
        for role, content in TALK
    ],
    ("POST", "/sessions/s-2/messages", {"role": "user", "content": "Somebody else"}),
    ("GET", "/sessions/s-1/messages?limit=3", None),
    ("POST", "/documents", DOCUMENTS),
    ("GET", "/documents?text=stop the engine&k=2", None),
    ("GET", "/documents?text=stop the engine&k=2&source=manual", None),
    ("GET", "/documents?text=stop the engine&language=de", None),
    ("GET", "/documents?text=…", None),
    ("PATCH", "/documents/4", {"reviewed": True}),
    ("DELETE", "/users/1", None),
    ("DELETE", "/users/1", None),
    ("GET", "/messages?email=ann@example.org", None),
]  # fmt: skip


def main() -> None:
    with TestClient(app) as client:
        for method, path, body in STEPS:
            answer = client.request(method, path, json=body)
            print(method, path, answer.status_code, without_times(answer.json()) if answer.content else "")


def without_times(answer: Any) -> str:
    """The answer; a time is another in each run."""
    return re.sub(r'"created_at": "[^"]+"', '"created_at": "…"', json.dumps(answer, ensure_ascii=False))


if __name__ == "__main__":
    main()
