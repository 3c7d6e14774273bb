"""What asyncpg is taught on each new connection, so that values mean there what they mean with psycopg.

uuid                          asyncpg gives a class of its own
date, timestamp, timestamptz  asyncpg stores the first and the last moment there is as -infinity and infinity, which
                              no other driver reads as these
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from db_plugins.awaiting import wait

__all__ = ["KeptStatements", "teach_types"]

#: Statements that one connection keeps on the server, as many as SQLAlchemy's adapter does.
MOST_STATEMENTS = 100

_DAY_0 = dt.date(2000, 1, 1).toordinal()
_MOMENT_0 = dt.datetime(2000, 1, 1)  # noqa: DTZ001 - that of columns without time zone
_MOMENT_0_UTC = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class _Codec:
    """How values of a type become what asyncpg sends: bytes (``binary``), or the number that these stand for (``tuple``)."""

    format: str
    encoder: Callable[[Any], Any]
    decoder: Callable[[Any], Any]


def _uuid_bytes(value: Any) -> bytes:
    return (value if isinstance(value, uuid.UUID) else uuid.UUID(value)).bytes


def _in_range(made: Callable[[int], Any]) -> Callable[[tuple[int]], Any]:
    """What is no moment of Python's, infinity and the years beyond 9999, is an error of the server's answer, as it is
    with psycopg."""
    from asyncpg import DataError  # type: ignore[import-untyped, unused-ignore]

    def decode(found: tuple[int]) -> Any:
        try:
            return made(found[0])
        except (OverflowError, ValueError) as exc:
            raise DataError("a date or time that Python has none for") from exc

    return decode


@cache
def _codecs() -> Mapping[str, _Codec]:
    delta = dt.timedelta
    return {
        "uuid": _Codec("binary", _uuid_bytes, lambda found: uuid.UUID(bytes=found)),
        "date": _Codec(
            "tuple",
            lambda day: (day.toordinal() - _DAY_0,),
            _in_range(lambda days: dt.date.fromordinal(days + _DAY_0)),
        ),
        "timestamp": _Codec(
            "tuple",
            lambda at: ((at - _MOMENT_0) // _MICROSECOND,),
            _in_range(lambda n: _MOMENT_0 + delta(0, 0, n)),
        ),
        "timestamptz": _Codec(
            "tuple",
            lambda at: ((at - _MOMENT_0_UTC) // _MICROSECOND,),
            _in_range(lambda n: _MOMENT_0_UTC + delta(0, 0, n)),
        ),
    }


def teach_types(connection: Any) -> None:
    """Teach them to a new connection of asyncpg's own."""
    for name, codec in _codecs().items():
        wait(
            connection.set_type_codec(
                name, schema="pg_catalog", encoder=codec.encoder, decoder=codec.decoder, format=codec.format
            )
        )


class KeptStatements:
    """The prepared statements of each connection of asyncpg's own, by their text.

    One whose table was altered is refused by the server, and its connection is given up with all that it keeps.
    """

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()

    async def fetch(self, connection: Any, text: str, parameters: Sequence[Any]) -> Sequence[Any]:
        """All rows of a statement, in one round trip when the connection has seen it before."""
        kept = self._kept.get(connection)
        if kept is None:
            kept = self._kept[connection] = {}
        statement = kept.get(text)
        if statement is None:
            if len(kept) >= MOST_STATEMENTS:
                kept.clear()
            statement = kept[text] = await connection.prepare(text)
        found: Sequence[Any] = await statement.fetch(*parameters)
        return found
