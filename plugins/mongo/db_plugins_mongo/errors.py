"""Driver exceptions become ours: by code where there is one, else by the exception's class.

The connection hangs a ``Situation`` on every driver exception that passes it (``exc.dbp_situation``): which
model, what was being done, to which server. ``classify`` reads that and nothing else, and so it is pure.
``_BY_CODE`` is the map of server codes, ``_BY_CLASS`` that of the failures that never got an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bson.errors import BSONError
from pymongo import errors as driver

from db_plugins.errors import (
    AuthenticationError,
    CheckConstraintError,
    ConflictError,
    ConnectionFailedError,
    ConnectionLostError,
    DuplicateKeyError,
    EngineError,
    NotNullError,
    OutcomeUnknownError,
    PoolTimeoutError,
    QueryTimeoutError,
    ServerUnreachableError,
)
from db_plugins.models import ModelInfo

__all__ = ["NULL_MARK", "RANGE_MARK", "Situation", "classify", "during", "note_stored"]

TRANSIENT = "TransientTransactionError"
UNKNOWN_COMMIT = "UnknownTransactionCommitResult"
#: An update whose result does not fit its column fails on the server by converting one of these words, which
#: the error then shows (code 241): see ``translate.update_document``.
NULL_MARK = "dbp-null:"
RANGE_MARK = "dbp-range:"


@dataclass(frozen=True, slots=True)
class Situation:
    """What was going on when the driver raised. ``doing`` is read, write, commit or index."""

    engine: str
    where: str
    doing: str = "read"
    user: str | None = None
    model: ModelInfo | None = None
    in_transaction: bool = False
    connect_timeout: float | None = None
    pool_timeout: float | None = None


@contextmanager
def during(situation: Situation) -> Iterator[None]:
    """Hang the situation on a driver's exception that passes, unless an inner one has done so."""
    try:
        yield
    except (driver.PyMongoError, BSONError, OverflowError) as exc:
        if not hasattr(exc, "dbp_situation"):
            exc.dbp_situation = situation  # type: ignore[union-attr]
        raise


Maker = Callable[[Any, Mapping[str, Any], Situation], EngineError]


def classify(exc: Exception, engine: str) -> EngineError | None:
    """Our error for a driver's exception, or ``None`` for what is not the driver's."""
    situation: Situation | None = getattr(exc, "dbp_situation", None)
    if not isinstance(exc, (driver.PyMongoError, BSONError)) and situation is None:
        return None
    here = situation or Situation(engine, engine)
    made = _choose(exc)(exc, _answer(exc), here)
    made.engine, made.orig, made.stored = here.engine, exc, _stored(exc, here)
    return made


def note_stored(exc: Exception, rows: int) -> None:
    """Say how many rows of the call stay stored, where the driver's exception cannot know."""
    exc.dbp_stored = rows  # type: ignore[attr-defined]


def _stored(exc: Exception, here: Situation) -> int:
    """How many rows of the call stay stored: those before the one that was refused, unless they are undone."""
    noted: int | None = getattr(exc, "dbp_stored", None)
    if noted is not None or here.in_transaction:
        return noted or 0
    details = getattr(exc, "details", None)
    counts = details if isinstance(details, Mapping) else {}
    return sum(int(counts.get(name) or 0) for name in ("nInserted", "nUpserted", "nMatched"))


def _choose(exc: Exception) -> Maker:
    labels = exc if isinstance(exc, driver.PyMongoError) else driver.PyMongoError()
    if labels.has_error_label(UNKNOWN_COMMIT):
        return _outcome_unknown
    for code in _codes(exc):
        if code in _BY_CODE:
            return _BY_CODE[code]
    for kind, maker in _BY_CLASS:
        if isinstance(exc, kind):
            return maker
    return _conflict if labels.has_error_label(TRANSIENT) else _other


def _answer(exc: Exception) -> Mapping[str, Any]:
    """The server's words about the first failure: of a bulk write, its first write error."""
    details = getattr(exc, "details", None)
    if not isinstance(details, Mapping):
        return {}
    for part in ("writeErrors", "writeConcernErrors"):
        if details.get(part):
            first = details[part][0]
            return first if isinstance(first, Mapping) else {}
    return details


def _codes(exc: Exception) -> Iterator[int]:
    for code in (_answer(exc).get("code"), getattr(exc, "code", None)):
        if isinstance(code, int):
            yield code


def _about(here: Situation) -> str:
    return here.model.name if here.model is not None else "the model"


def _says(answer: Mapping[str, Any]) -> str:
    """The server's code, by name where it gives one. Its text may hold values of rows, and is left out."""
    name, code = answer.get("codeName"), answer.get("code")
    return f"code {code} ({name})" if name else f"code {code}" if code is not None else "without a code"


# -- one maker per meaning -----------------------------------------------------------------------------------


def _duplicate(_exc: Any, answer: Mapping[str, Any], here: Situation) -> EngineError:
    pattern = answer.get("keyPattern")
    columns = list(pattern) if isinstance(pattern, Mapping) else []
    names: tuple[str, ...] = ()
    if here.model is not None:
        key = here.model.key
        single = key[0].name if len(key) == 1 else "_id"
        names = tuple(single if c == "_id" else here.model.attributes_of((c,))[0] for c in columns)
    shown = ", ".join(names or columns) or "unique key"
    if here.doing == "index":
        return DuplicateKeyError(
            f"rows of {_about(here)} that are stored already share their ({shown}), which is to be unique",
            attributes=names,
            hint="find them with group_by and correct them first",
        )
    row = "row" if here.model is None else here.model.name
    return DuplicateKeyError(f"a {row} with the same {shown} is already there", attributes=names)


def _check(_exc: Any, answer: Mapping[str, Any], here: Situation) -> EngineError:
    paths = _refused_paths(answer)
    names = paths
    if here.model is not None:
        key = here.model.key
        single = key[0].name if len(key) == 1 else "_id"
        names = tuple(single if p == "_id" else here.model.attributes_of((p,))[0] for p in paths)
    shown = f": {', '.join(names)}" if names else ""
    return CheckConstraintError(
        f"the collection's validator refused a row of {_about(here)}{shown}",
        attributes=names,
        hint="look at its $jsonSchema; dbp check says whether it is the model's",
    )


def _refused_paths(answer: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields that broke a ``$jsonSchema``; none where the server does not tell."""
    info = answer.get("errInfo")
    details = info.get("details") if isinstance(info, Mapping) else None
    rules = details.get("schemaRulesNotSatisfied") if isinstance(details, Mapping) else None
    found: list[str] = []
    for rule in rules if isinstance(rules, list) else ():
        found += [str(each.get("propertyName")) for each in rule.get("propertiesNotSatisfied", ())]
        found += map(str, rule.get("missingProperties", ()))
    return tuple(dict.fromkeys(found))


def _conversion(exc: Any, answer: Mapping[str, Any], here: Situation) -> EngineError:
    text = str(answer.get("errmsg", exc))
    for mark, kind, fact in (
        (NULL_MARK, NotNullError, "would become NULL, which it cannot be"),
        (RANGE_MARK, EngineError, "cannot hold the result of this calculation"),
    ):
        if mark in text:
            name = text.split(mark, 1)[1].split("'", 1)[0].split('"', 1)[0].split(" ", 1)[0]
            error = kind(f"{_about(here)}.{name} {fact}")
            if isinstance(error, NotNullError):
                error.attributes = (name,)
            return error
    return _other(exc, answer, here)


def _authentication(_exc: Any, _answer: Mapping[str, Any], here: Situation) -> EngineError:
    who = f"user {here.user!r}" if here.user else "a connection without a user"
    return AuthenticationError(
        f"{here.engine} at {here.where} refused {who}",
        hint="check USER, PASSWORD and AUTH_SOURCE (the database that holds the user)",
    )


def _unauthorized(exc: Any, answer: Mapping[str, Any], here: Situation) -> EngineError:
    if not here.user:
        return _authentication(exc, answer, here)
    return AuthenticationError(
        f"user {here.user!r} may not do this in {here.engine} at {here.where}: {_says(answer)}",
        hint="grant it the role readWrite on the database, and for migrations dbAdmin as well",
    )


def _query_timeout(_exc: Any, _answer: Mapping[str, Any], here: Situation) -> EngineError:
    return QueryTimeoutError(f"a {here.doing} of {_about(here)} took longer than QUERY_TIMEOUT allows")


def _conflict(_exc: Any, _answer: Mapping[str, Any], here: Situation) -> EngineError:
    return ConflictError(
        f"another transaction changed the same rows of {_about(here)} first",
        hint="run it again: run_transaction() does",
    )


def _index_clash(_exc: Any, _answer: Mapping[str, Any], here: Situation) -> EngineError:
    return EngineError(
        f"an index of {_about(here)} is there already with the same name or fields and other options",
        hint="drop that index, then run initdb again",
    )


def _unreachable(exc: Any, _answer: Mapping[str, Any], here: Situation) -> EngineError:
    within = f" within {here.connect_timeout:g} s" if here.connect_timeout else ""
    return ServerUnreachableError(
        f"{here.engine} at {here.where} did not answer{within}{_evidence(exc, here)}",
        hint="is the server running?",
    )


def _evidence(exc: Exception, here: Situation) -> str:
    """What the driver saw, without its long list of settings: ``: [Errno 111] Connection refused``."""
    text = str(exc).split(" (configured timeouts", 1)[0].split(", Timeout:", 1)[0].strip()
    text = text.removeprefix(here.where).lstrip(": ").splitlines()[0] if text else ""
    return f": {text[:160]}" if text else ""


def _pool_timeout(_exc: Any, _answer: Mapping[str, Any], here: Situation) -> EngineError:
    within = f"{here.pool_timeout:g} s" if here.pool_timeout else "the time allowed"
    return PoolTimeoutError(
        f"no connection to {here.where} became free within {within}",
        hint="raise POOL_SIZE, MAX_OVERFLOW or POOL_TIMEOUT, or run fewer calls at once",
    )


def _network_timeout(exc: Any, answer: Mapping[str, Any], here: Situation) -> EngineError:
    if here.doing == "read":
        return _query_timeout(exc, answer, here)
    return _lost(exc, answer, here)


def _lost(exc: Any, answer: Mapping[str, Any], here: Situation) -> EngineError:
    if here.doing == "commit":
        return _outcome_unknown(exc, answer, here)
    if here.in_transaction:
        return ConnectionLostError(
            f"the connection to {here.where} was lost; nothing was committed",
            hint="run it again: run_transaction() does",
            retryable=True,
        )
    if here.doing == "write":
        return _outcome_unknown(exc, answer, here)
    return ConnectionLostError(f"the connection to {here.where} was lost{_evidence(exc, here)}")


def _outcome_unknown(_exc: Any, _answer: Mapping[str, Any], here: Situation) -> EngineError:
    return OutcomeUnknownError(
        f"the answer to a {here.doing} of {_about(here)} was lost: it may or may not have happened",
        hint="read the rows by key before writing again",
    )


def _too_large(_exc: Any, _answer: Mapping[str, Any], here: Situation) -> EngineError:
    return EngineError(
        f"a row of {_about(here)} is larger than MongoDB's 16 MB", hint="store large values as files"
    )


def _no_transactions(_exc: Any, _answer: Mapping[str, Any], here: Situation) -> EngineError:
    return EngineError(
        f"{here.engine} at {here.where} has no transactions",
        hint="start it as a replica set: mongod --replSet",
    )


def _misconfigured(exc: Any, _answer: Mapping[str, Any], here: Situation) -> EngineError:
    return ConnectionFailedError(f"{here.engine} at {here.where} cannot be used{_evidence(exc, here)}")


def _other(exc: Any, answer: Mapping[str, Any], here: Situation) -> EngineError:
    return EngineError(
        f"{here.engine} refused a {here.doing} of {_about(here)}: {type(exc).__name__}, {_says(answer)}"
    )


_BY_CODE: dict[int, Maker] = {
    11000: _duplicate,
    11001: _duplicate,
    12582: _duplicate,
    121: _check,
    241: _conversion,
    13: _unauthorized,
    18: _authentication,
    8000: _authentication,
    50: _query_timeout,
    262: _query_timeout,
    24: _conflict,
    112: _conflict,
    251: _conflict,
    85: _index_clash,
    86: _index_clash,
    10334: _too_large,
    17420: _too_large,
    20: _no_transactions,
    263: _no_transactions,
    64: _outcome_unknown,
}

#: The first class that fits: the more special stand first.
_BY_CLASS: tuple[tuple[type[Exception], Maker], ...] = (
    (driver.WaitQueueTimeoutError, _pool_timeout),
    (driver.ServerSelectionTimeoutError, _unreachable),
    (driver.ExecutionTimeout, _query_timeout),
    (driver.NetworkTimeout, _network_timeout),
    (driver.ConnectionFailure, _lost),
    (driver.ConfigurationError, _misconfigured),
    (driver.DocumentTooLarge, _too_large),
)
