"""Tells how far one model is, to whoever asked."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from .reports import OnProgress, Progress

__all__ = ["Meter"]


class Meter:
    """Counts nothing itself: it is told. ``count`` gives the total, and is not asked if nobody listens."""

    def __init__(
        self,
        on_progress: OnProgress | None,
        phase: str,
        model: str,
        count: Callable[[], int] | None = None,
        *,
        began: int = 0,
    ) -> None:
        self._tell = on_progress
        self._phase = phase
        self._model = model
        self._began = began
        self._total = count() if count is not None and on_progress is not None else None
        self._from = perf_counter()

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return perf_counter() - self._from

    def tell(self, done: int, *, is_last: bool = False) -> None:
        """So many rows are done."""
        if self._tell is not None:
            self._tell(
                Progress(self._phase, self._model, done, self._total, self.seconds, self._began, is_last)
            )

    def end(self, done: int) -> None:
        """These were all."""
        self.tell(done, is_last=True)
