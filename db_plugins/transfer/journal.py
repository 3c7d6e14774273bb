"""How far a transfer is, kept on its target: a table ``dbp_transfers`` that is there while one is under way.

A part is stored, then its end is noted. Whoever finds a note after a crash knows that every row up to ``position`` is
stored, and that of the ``doubt`` rows after it some may be: those are looked up before they are stored (``writing.py``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import JSON, BigInteger, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ..engine import SupportsStorage
from ..errors import TransferError
from ..models import ModelInfo
from ..query import BaseQuery
from .tables import naming

if TYPE_CHECKING:
    from ..database import Database

__all__ = ["Journal", "State"]


class _Base(DeclarativeBase):
    pass


class TransferNote(_Base):
    """One table of one transfer."""

    __tablename__ = "dbp_transfers"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    source: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    phase: Mapped[str] = mapped_column(String(10))
    position: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    rows: Mapped[int] = mapped_column(BigInteger)
    skipped: Mapped[int] = mapped_column(BigInteger)
    delayed: Mapped[int] = mapped_column(BigInteger)
    doubt: Mapped[int] = mapped_column(BigInteger)
    ignored: Mapped[int] = mapped_column(BigInteger)
    merged: Mapped[bool]


@dataclass(frozen=True, slots=True)
class State:
    """How far one table is: ``rows`` up to ``position`` are done, ``skipped`` of them not stored.

    ``position`` is what JSON holds: the parts of a key, or a line. ``delayed`` rows have foreign keys that come later, in
    the phase ``"keys"``. ``doubt`` rows after the position may be stored already. ``ignored`` rows were there and stayed as
    they were; ``merged``: the table had rows when it began.
    """

    phase: Literal["rows", "keys", "done"] = "rows"
    position: list[Any] | None = None
    rows: int = 0
    skipped: int = 0
    delayed: int = 0
    doubt: int = 0
    ignored: int = 0
    merged: bool = False

    def but(self, **changes: Any) -> State:
        """The state with these changes."""
        return replace(self, **changes)


class Journal:
    """The notes of one transfer on its target; ``source`` is the other side's address, or a file, without secrets.

    On an engine that makes no tables nothing is noted, and what was interrupted begins anew. Nor is within a transaction,
    with which all of it goes; and on some servers making a table would end it.
    """

    def __init__(self, target: Database, source: str) -> None:
        self.source = source
        self._target = target
        self._runner = target._runner()
        self._notes: BaseQuery[TransferNote] = target.query(TransferNote)
        self._is_kept = isinstance(self._runner.connection, SupportsStorage)
        self._may_make = self._runner.block is None
        self._is_made = False

    def state(self, info: ModelInfo) -> State | None:
        """How far this table was when it was noted last. Makes nothing."""
        note = self._notes.get(self._id(info)) if self._is_there() else None
        if note is None:
            return None
        phase: Any = note.phase
        return State(
            phase, note.position, note.rows, note.skipped, note.delayed, note.doubt, note.ignored, note.merged
        )

    def save(self, info: ModelInfo, state: State) -> None:
        """Note how far a table is."""
        with naming(self._target):
            self._save(info, state)

    def _save(self, info: ModelInfo, state: State) -> None:
        if not self._is_kept or not (self._may_make or self._is_there()):
            return
        if not self._is_made and self._may_make:
            self._storage("create")
            self._is_made = True
        self._notes.upsert(
            {
                "id": self._id(info),
                "source": self.source,
                "model": info.name,
                "phase": state.phase,
                "position": state.position,
                "rows": state.rows,
                "skipped": state.skipped,
                "delayed": state.delayed,
                "doubt": state.doubt,
                "ignored": state.ignored,
                "merged": state.merged,
            }
        )

    def clear(self) -> None:
        """Forget this transfer; the table goes with its last note."""
        if not self._is_there():
            return
        self._notes.filter(source=self.source).delete()
        if self._may_make and not self._notes.exists():
            self._storage("drop")
            self._is_made = False

    def _id(self, info: ModelInfo) -> str:
        if info.store == TransferNote.__tablename__:
            raise TransferError(
                f"{info.name} has the table {info.store}, in which transfers keep their notes",
                hint="give the model's table another name",
            )
        return hashlib.sha256(f"{self.source}\n{info.store}".encode()).hexdigest()[:32]

    def _is_there(self) -> bool:
        if not self._is_kept:
            return False
        with naming(self._target), self._runner.errors():
            self._is_made = TransferNote.__tablename__ in self._connection.existing()
        return self._is_made

    def _storage(self, what: Literal["create", "drop"]) -> None:
        info = self._runner.reader(TransferNote).model
        with naming(self._target), self._runner.errors():
            getattr(self._connection, what)([info], [])

    @property
    def _connection(self) -> Any:
        return self._runner.connection
