"""Each driver error becomes one of ours by its code, with attribute names, without values or passwords."""

from __future__ import annotations

from typing import Any

import bson.errors
import pytest
from mongo_models import Place, Star, engine_for
from pymongo import errors as driver

from db_plugins import errors as ours
from db_plugins.models import describe
from db_plugins_mongo.errors import Situation, during

engine = engine_for(host="db", user="u", password="s3cr3t@:/p%")


def failure(code: int, **details: Any) -> driver.OperationFailure:
    kind = driver.DuplicateKeyError if code == 11000 else driver.OperationFailure
    return kind("said by the server", code, {"code": code, **details})


def labelled(error: driver.PyMongoError, label: str) -> driver.PyMongoError:
    error._add_error_label(label)
    return error


def bulk(code: int, stored: int, **first: Any) -> driver.BulkWriteError:
    return driver.BulkWriteError(
        {"writeErrors": [{"index": stored, "code": code, **first}], "nInserted": stored}
    )


TABLE: list[tuple[Any, str, type[ours.EngineError]]] = [
    (failure(11000, keyPattern={"_id": 1}), "write", ours.DuplicateKeyError),
    (bulk(11000, 2, keyPattern={"star_name": 1}), "write", ours.DuplicateKeyError),
    (failure(121), "write", ours.CheckConstraintError),
    (failure(18), "read", ours.AuthenticationError),
    (failure(13), "read", ours.AuthenticationError),
    (failure(50), "read", ours.QueryTimeoutError),
    (failure(112), "write", ours.ConflictError),
    (labelled(failure(112), "TransientTransactionError"), "write", ours.ConflictError),
    (labelled(failure(251), "TransientTransactionError"), "commit", ours.ConflictError),
    (labelled(failure(91), "UnknownTransactionCommitResult"), "commit", ours.OutcomeUnknownError),
    (
        labelled(driver.AutoReconnect("lost"), "UnknownTransactionCommitResult"),
        "commit",
        ours.OutcomeUnknownError,
    ),
    (
        driver.ServerSelectionTimeoutError("db:27017: refused, Timeout: 5s"),
        "read",
        ours.ServerUnreachableError,
    ),
    (driver.WaitQueueTimeoutError("pool"), "read", ours.PoolTimeoutError),
    (driver.NetworkTimeout("slow"), "read", ours.QueryTimeoutError),
    (driver.NetworkTimeout("slow"), "write", ours.OutcomeUnknownError),
    (driver.AutoReconnect("lost"), "read", ours.ConnectionLostError),
    (driver.AutoReconnect("lost"), "write", ours.OutcomeUnknownError),
    (driver.ConfigurationError("wire version"), "read", ours.ConnectionFailedError),
    (driver.DocumentTooLarge("big"), "write", ours.EngineError),
    (failure(20), "write", ours.EngineError),
    (failure(85), "index", ours.EngineError),
    (failure(86), "index", ours.EngineError),
    (failure(9999), "read", ours.EngineError),
    (driver.InvalidOperation("closed"), "read", ours.EngineError),
    (bson.errors.InvalidDocument("unknown type"), "write", ours.EngineError),
    (OverflowError("8-byte ints"), "write", ours.EngineError),
]


def classified(error: Exception, doing: str, *, model: type = Star, **more: Any) -> ours.EngineError:
    situation = Situation("mongodb", "db:27017", doing, "u", describe(model), **more)
    with pytest.raises(type(error)), during(situation):
        raise error
    made = engine.classify(error)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("error", "doing", "kind"), TABLE, ids=[f"{t[2].__name__}-{i}" for i, t in enumerate(TABLE)]
)
def test_a_driver_error_becomes_ours(error: Exception, doing: str, kind: type[ours.EngineError]) -> None:
    made = classified(error, doing)
    assert type(made) is kind
    assert (made.orig, made.engine) == (error, "mongodb")
    assert "s3cr3t" not in str(made)
    assert "said by the server" not in str(made)


def test_an_exception_that_is_not_the_drivers_is_left_alone() -> None:
    assert engine.classify(ValueError("mine")) is None
    assert engine.classify(OverflowError("mine")) is None


def test_a_lost_connection_in_a_transaction_may_be_run_again() -> None:
    made = classified(driver.AutoReconnect("lost"), "write", in_transaction=True)
    assert isinstance(made, ours.ConnectionLostError)
    assert made.retryable
    assert "nothing was committed" in str(made)


def test_a_duplicate_names_attributes_not_columns() -> None:
    made: Any = classified(
        failure(11000, keyPattern={"star_name": 1}, keyValue={"star_name": "Vega"}), "write"
    )
    assert made.attributes == ("name",)
    assert "Vega" not in str(made)
    made = classified(failure(11000, keyPattern={"_id": 1}), "write")
    assert made.attributes == ("id",)
    made = classified(failure(11000, keyPattern={"country": 1, "code": 1}), "write", model=Place)
    assert made.attributes == ("country", "code")


def test_a_duplicate_in_a_batch_says_how_many_rows_stay() -> None:
    made: Any = classified(bulk(11000, 2, keyPattern={"_id": 1}), "write")
    assert made.stored == 2
    made = classified(bulk(11000, 2, keyPattern={"_id": 1}), "write", in_transaction=True)
    assert made.stored == 0


def test_a_refused_login_names_user_and_host() -> None:
    made = classified(failure(18), "read")
    assert "'u'" in str(made)
    assert "db:27017" in str(made)


def test_an_error_without_a_situation_still_has_a_name() -> None:
    assert isinstance(engine.classify(failure(112)), ours.ConflictError)
    assert isinstance(engine.classify(driver.AutoReconnect("x")), ours.ConnectionLostError)
