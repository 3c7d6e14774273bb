"""Where the user's own code failed: ``app/models.py:12: NameError: name 'Enum' is not defined``."""

from __future__ import annotations

import site
import sysconfig
import traceback
from pathlib import Path

__all__ = ["describe", "is_absent", "place_of"]


def describe(error: BaseException, *, prefer: Path | None = None) -> str:
    """File, line, type and message of an error that was raised while importing the user's code.

    The line is the last one in ``prefer``, else the last one that is not an installed library's. The message
    of a ValueError is left out, since it often quotes the value, which in settings may be a password.
    """
    place: str | None
    if isinstance(error, SyntaxError) and error.filename:
        error.text = None  # the source line, which a traceback would print, may hold a password
        place, message = f"{error.filename}:{error.lineno}", error.msg or ""
    else:
        found = place_of(error, prefer=prefer)
        place, message = (f"{found[0]}:{found[1]}" if found else None), str(error)
    if isinstance(error, ValueError):
        message = ""
    words = f"{type(error).__name__}: {message}".removesuffix(": ")
    return f"{place}: {words}" if place else words


def is_absent(error: BaseException, module: str) -> bool:
    """Was this module itself not found, and not one that it imports?"""
    return isinstance(error, ModuleNotFoundError) and (module + ".").startswith(f"{error.name}.")


def place_of(error: BaseException, *, prefer: Path | None = None) -> tuple[Path, int] | None:
    """File and line of the user's own code where it was raised: the last one in ``prefer``, else the last of no library."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")
    ]
    if prefer is not None:
        own = [frame for frame in frames if frame.filename == str(prefer)]
    else:
        own = [frame for frame in frames if not frame.filename.startswith(_libraries())]
    if not own:
        return None
    return Path(own[-1].filename), own[-1].lineno or 1


def _libraries() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    own = str(Path(__file__).parent.parent)
    return (own, *(sysconfig.get_path(name) for name in names), *site.getsitepackages())
