"""The file of rows that could not be carried: one JSON object a line, with model, key or line, attribute, reason and row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, TextIO

from ..errors import TransferError
from .reports import Unfit

__all__ = ["aside_file"]


@contextmanager
def aside_file(path: str | PathLike[str], *, append: bool) -> Iterator[Callable[[Unfit], None]]:
    """A function that writes a row to this file, which is made with the first one.

    Raises TransferError for a file that is there already, unless it is to ``append``, and for one that cannot be made.
    """
    file = Path(path)
    if not append and file.exists():
        raise TransferError(f"{file} is there already", hint="name another file, or remove it")
    if not file.parent.is_dir():
        raise TransferError(f"{file} cannot be written: there is no folder {file.parent}")
    opened: list[TextIO] = []

    def write(unfit: Unfit) -> None:
        if not opened:
            try:
                opened.append(file.open("a" if append else "x", encoding="utf-8"))
            except OSError as error:
                raise TransferError(f"{file} cannot be written: {error.strerror}") from error
        opened[0].write(json.dumps(_told(unfit), ensure_ascii=False, default=_text) + "\n")
        opened[0].flush()

    try:
        yield write
    finally:
        for each in opened:
            each.close()


def _told(unfit: Unfit) -> dict[str, Any]:
    where = {"key": unfit.key} if unfit.line is None else {"line": unfit.line}
    return {
        "model": unfit.model,
        **where,
        "attribute": unfit.attribute,
        "reason": unfit.reason,
        "row": dict(unfit.row),
    }


def _text(value: Any) -> str:
    """What JSON has no kind for, as text."""
    if isinstance(value, bytes):
        return value.hex()
    return str(getattr(value, "name", value)) if hasattr(type(value), "__members__") else str(value)
