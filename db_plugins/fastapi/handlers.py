"""``add_error_handlers``: the errors of this library as HTTP answers, by one table.

    404  {"detail": "no Star has this key", "type": "NotFoundError", "attributes": [], "retryable": false}
    422  {"detail": [{"type": "InvalidValueError", "loc": [], "msg": "Star.mag takes float, not …"}]}, as FastAPI's own

What is not in the table (a ConfigError, another EngineError) stays an exception: the server logs it and answers 500.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from .. import errors

__all__ = ["ErrorBody", "add_error_handlers"]

_log = logging.getLogger("db_plugins.fastapi")

#: Seconds after which a client may send again what was refused for the moment.
RETRY_AFTER = "1"


class ErrorBody(BaseModel):
    """The body of every answer but 422: for ``responses={409: {"model": ErrorBody}}``.

    ``detail`` is a sentence as in FastAPI's own errors, ``type`` the name of the error's class, ``attributes`` the model's
    attributes that a broken rule is about, ``retryable`` whether the same request may be sent again (after Retry-After).
    """

    detail: str
    type: str
    attributes: list[str] = []
    retryable: bool = False


@dataclass(frozen=True)
class _Answer:
    """A status, and the sentence: the error's own fact if there is none here.

    Facts of errors that come from a database may name its constraints and addresses, and are not shown.
    """

    status: int
    sentence: str | None = None


ANSWERS: dict[type[errors.DbPluginsError], _Answer] = {
    errors.NotFoundError: _Answer(404),
    errors.MultipleResultsError: _Answer(409, "there are several where one was asked for"),
    errors.InvalidValueError: _Answer(422),
    errors.MissingFilterError: _Answer(422, "this would change every row, and says not which"),
    errors.UnsupportedFilterError: _Answer(422, "this filter or order is not supported"),
    errors.UnsupportedOperationError: _Answer(501, "the database behind this cannot do that"),
    errors.DuplicateKeyError: _Answer(409, "there is one with this key already"),
    errors.NotNullError: _Answer(409, "a required value is missing"),
    errors.ForeignKeyError: _Answer(409, "it refers to what is not there, or is still referred to"),
    errors.CheckConstraintError: _Answer(409, "a value is not allowed here"),
    errors.IntegrityError: _Answer(409, "a rule of the data would be broken"),
    errors.ConflictError: _Answer(409, "another request changed it at the same moment; nothing was done"),
    errors.ConnectionFailedError: _Answer(503, "the database cannot be reached"),
    errors.ConnectionLostError: _Answer(503, "the connection to the database was lost"),
    errors.PoolTimeoutError: _Answer(503, "too many requests are using the database"),
    errors.QueryTimeoutError: _Answer(504, "the database took too long"),
}


def add_error_handlers(app: FastAPI) -> None:
    """Answer the errors of this library with their HTTP statuses: 404, 409, 422, 501, 503, 504.

    Bodies are an ``ErrorBody``, for 422 a list like FastAPI's own. They hold no value of a row, no hint for programmers and
    nothing that a driver said. Answers of 5xx are logged (``db_plugins.fastapi``).

        add_error_handlers(app)
    """
    for kind, answer in ANSWERS.items():
        app.add_exception_handler(kind, _handler(answer))


def _handler(answer: _Answer) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    async def handle(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, errors.DbPluginsError)
        if answer.status >= 500:
            _log.error("%s %s: %s: %s", request.method, request.url.path, type(error).__name__, error)
        sentence = answer.sentence or error.fact or HTTPStatus(answer.status).phrase
        retryable = bool(getattr(error, "retryable", False))
        return JSONResponse(
            _invalid(error, sentence) if answer.status == 422 else _body(error, sentence, retryable),
            status_code=answer.status,
            headers={"Retry-After": RETRY_AFTER} if retryable else None,
        )

    return handle


def _invalid(error: Exception, sentence: str) -> dict[str, Any]:
    return {"detail": [{"type": type(error).__name__, "loc": [], "msg": sentence}]}


def _body(error: Exception, sentence: str, retryable: bool) -> dict[str, Any]:
    return ErrorBody(
        detail=sentence,
        type=type(error).__name__,
        attributes=list(getattr(error, "attributes", ())),
        retryable=retryable,
    ).model_dump()
