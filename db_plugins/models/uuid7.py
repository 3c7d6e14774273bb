"""``uuid7()``: keys that sort in the order of their making, RFC 9562's version 7.

    bits 127..80  milliseconds since 1970     79..76  7     75..64  ─┐       63..62  2     61..0  ─┐
                                                                   └ the upper 12 of 74 bits      └ the lower 62

The 74 bits begin at random in the lower half of their range, anew in each millisecond, and go up by a random step within
one: so ids of one process ascend, also when its clock is set back, and nobody can guess the next.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid

__all__ = ["uuid7"]

_last = 0
_lock = threading.Lock()


def _made_here() -> uuid.UUID:
    """A UUID of version 7, greater than every one that this process made before. Any thread may ask."""
    global _last
    noise = int.from_bytes(os.urandom(14))
    fresh = time.time_ns() // 1_000_000 << 74 | noise >> 39  # 73 bits of it
    with _lock:
        # A step that overflows the 74 bits carries into the milliseconds, which only makes it greater.
        _last = number = max(fresh, _last + 1 + (noise & 0xFFFF_FFFF))
    upper, lower = number >> 62, number & (1 << 62) - 1
    return uuid.UUID(int=upper >> 12 << 80 | 7 << 76 | (upper & 0xFFF) << 64 | 2 << 62 | lower)


def _after_fork() -> None:
    # Another thread of the parent may have held the lock.
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork) if hasattr(os, "register_at_fork") else None

if sys.version_info >= (3, 14):
    uuid7 = uuid.uuid7
else:
    uuid7 = _made_here
