"""Is a FastAPI installed under which a session's commit can still become an error response?

| FastAPI       | the code after a dependency's ``yield`` runs                                    |
|---------------|---------------------------------------------------------------------------------|
| 0.110 – 0.117 | before the response is sent                                                     |
| 0.118 – 0.120 | after it: a commit that fails there is lost behind a 200                        |
| 0.121 –       | as ``Depends(scope=…)`` says: ``"function"`` before it, ``"request"`` after it  |

A test runs on whichever is installed, and shows that a failing commit is answered with a 409.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..errors import ConfigError

__all__ = ["before_response", "check_fastapi"]

PIP = 'pip install "db-plugins-core[fastapi]"'


def check_fastapi() -> None:
    """Raise ConfigError, with the line for pip, unless there is a FastAPI that can be used."""
    try:
        import fastapi
    except ImportError as exc:
        raise ConfigError("db_plugins.fastapi needs FastAPI, which is not installed", hint=PIP) from exc
    if not _has_scopes() and [int(part) for part in fastapi.__version__.split(".")[:2]] >= [0, 118]:
        raise ConfigError(
            f"FastAPI {fastapi.__version__} ends dependencies after the response: a failing commit would be lost",
            hint=f"{PIP}, which asks for 0.121 or later, or one before 0.118",
        )


def _has_scopes() -> bool:
    from fastapi import Depends

    return "scope" in inspect.signature(Depends).parameters


def before_response(dependency: Callable[..., Any]) -> Any:
    """``Depends(dependency)`` that ends before the response is sent, so that what fails there becomes the response."""
    from fastapi import Depends

    return Depends(dependency, scope="function") if _has_scopes() else Depends(dependency)
