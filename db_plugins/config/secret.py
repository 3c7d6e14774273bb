"""What must not be shown: ``Secret`` hides a text until it is asked for, ``mask_url`` hides the password of a
URL.

>>> password = Secret("s3cr3t")
>>> password, str(password), password.reveal()
(Secret('***'), '***', 's3cr3t')
>>> mask_url("postgresql://ann:s3cr3t@db/stars?sslmode=require")
'postgresql://ann:***@db/stars?…'
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["HIDDEN", "Secret", "mask_url"]

HIDDEN = "***"


class Secret:
    """A text that no ``repr``, ``str``, f-string or log line shows. ``reveal()`` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself: for the driver, and nothing else."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({HIDDEN!r})"

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self


# A password stands between the first ":" after the scheme and an "@". Which "@" is clear only if none comes
# after the first "/", "?" or "#": an unquoted password may hold all of these, and so may what follows the host.
_PASSWORD = re.compile(r"^([^:/?#]+://[^:@/?#]*):[^/?#]*@(?=[^@]*$)", re.DOTALL)
_UNCLEAR = re.compile(r"^([^:/?#]+://[^:@/?#]*):.*@.*$", re.DOTALL)
# Without an "@" the host was forgotten, and what stands in the port's place may be the password.
_NO_HOST = re.compile(r"^([^:/?#]+://[^:@/?#\[]+):(?!\d{0,5}(?:[/?#,]|$))[^@]*$", re.DOTALL)
_MASKS = ((_PASSWORD, rf"\1:{HIDDEN}@"), (_UNCLEAR, rf"\1:{HIDDEN}@…"), (_NO_HOST, rf"\1:{HIDDEN}"))


def mask_url(url: str) -> str:
    """The URL without its password and without the values of its query, which may hold secrets too."""
    for pattern, mask in _MASKS:
        url, found = pattern.subn(mask, url)
        if found:
            break
    shown, question, _ = url.partition("?")
    shown, hash_sign, _ = shown.partition("#")
    return shown + ("?…" if question or hash_sign else "")
