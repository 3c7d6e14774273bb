"""PostgreSQL's sequences know nothing of keys given by hand: expressions that move a sequence past such a key.

A sequence has no "set it unless it is further": ``setval`` after a look at it can undo what others did in between, and
then a number comes a second time. So nothing is done where the sequence is past the key, which is the usual case; a gap
of up to ``NEAR`` is closed by ``nextval``, which only ever moves forwards; and over a wider one ``setval`` jumps, after
another look under a lock that keeps callers with keys by hand apart. Callers of ``nextval`` take no lock: one of them
would have to take more than ``NEAR`` numbers between two neighbouring calls in one expression. A sequence is no part of
the transaction: numbers may be lost and never repeat.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from db_plugins.models import Field

from .postgresql_tables import Sequenced

__all__ = ["NEAR", "move_to", "moved"]

#: Numbers that ``nextval`` skips: 1,000 take it a third of a millisecond.
NEAR = 1000
#: The first half of the advisory lock's key; the second is the sequence's oid.
_LOCK = 0x6462706E

#: Plain names: literal_column() sees to % by itself.
_PREPARER = postgresql.dialect(paramstyle="named").identifier_preparer  # type: ignore[no-untyped-call]

_MOVED = """
CASE WHEN {key} <= {last} THEN NULL
WHEN {key} = {last} + 1 AND {steps} THEN nextval({sequence})
WHEN {steps} AND {key} - {last} <= {near} THEN (SELECT max(nextval({sequence})) FROM generate_series({last} + 1, {key}))
WHEN pg_advisory_xact_lock({lock}, {sequence}::oid::int4) IS NULL THEN NULL
WHEN {last} < {key} THEN setval({sequence}, {key}) END"""


def moved(sequence: Sequenced, field: Field) -> Any:
    """The expression that moves a sequence past the key of a row that is stored."""
    return _moved(sequence, _PREPARER.quote(field.column))


def _moved(sequence: Sequenced, key: str) -> Any:
    name = "'{}'::regclass".format(sequence.name.replace("'", "''"))
    text = _MOVED.format(
        key=f"LEAST({key}, {sequence.highest})",
        last=f"COALESCE(pg_sequence_last_value({name}), 0)",
        steps="true" if sequence.step == 1 else "false",
        near=NEAR,
        sequence=name,
        lock=_LOCK,
    )
    return sa.literal_column(text, sa.BigInteger).label("moved")


def move_to(sequence: Sequenced, key: Any) -> sa.Select[Any]:
    """The statement that moves a sequence past a bound key."""
    given = sa.select(sa.cast(sa.literal(key, sa.BigInteger), sa.BigInteger).label("key")).subquery("given")
    return sa.select(_moved(sequence, "given.key")).select_from(given)
