"""What holds around a call: a driver's exception becomes ours, and a transaction remembers that it failed or ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .engine import Engine
from .errors import EngineError, UnsupportedOperationError

__all__ = ["Block", "driver_errors"]


@contextmanager
def driver_errors(engine: Engine) -> Iterator[None]:
    """Turn a driver's exception into ours, with the driver's as its cause."""
    try:
        yield
    except ArithmeticError as exc:  # out of the core's own evaluation of what the engine left over
        raise EngineError("a calculation on columns overflowed", engine=engine.name, orig=exc) from exc
    except Exception as exc:
        ours = engine.classify(exc)
        if ours is None:
            raise
        # The driver's own exception, where exc only wraps it.
        raise ours from (getattr(ours, "orig", None) or exc)


@dataclass
class Block:
    """What a transaction's runner must remember: its first error, and that it ended."""

    error: EngineError | None = None
    ended: bool = False
    #: Opened with ``read_only=True``, as are the savepoints and sessions inside.
    read_only: bool = False
    #: What can be done after an error.
    way_out: str = "leave its block, or the savepoint's"
    #: How its calls follow each other, on the asynchronous face: a ``turns.Turns``.
    turns: object = None

    def check(self) -> None:
        """Refuse a call that can no longer be part of the transaction."""
        if self.ended:
            raise UnsupportedOperationError(
                "this transaction has ended", hint="use db, or open another transaction()"
            )
        if self.error is not None:
            raise UnsupportedOperationError(
                f"this transaction failed with {type(self.error).__name__}: {self.error.fact}",
                hint=self.way_out,
            ) from self.error

    def need_write(self) -> None:
        """Refuse to write where only reading was asked for: some engines would, and others would not."""
        if self.read_only:
            raise UnsupportedOperationError(
                "this transaction is read-only", hint="open it without read_only=True"
            )
