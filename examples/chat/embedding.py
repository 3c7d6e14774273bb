"""A stand-in for an embedding model: a text as 64 numbers, the same on every machine, without a network.

Each word adds or takes 1 at one of the 64 places, which its hash says. Texts with common words point in similar directions,
and that is all it knows of language. A real model goes here: give ``DIMENSIONS`` its length, and let ``embed`` ask it.
"""

from __future__ import annotations

import hashlib
import re

DIMENSIONS = 64


def embed(text: str) -> list[float]:
    """The text's direction. Of a text without words all numbers are 0."""
    vector = [0.0] * DIMENSIONS
    for word in re.findall(r"\w+", text.lower()):
        digest = hashlib.blake2b(word.encode(), digest_size=2).digest()
        vector[digest[0] % DIMENSIONS] += 1 if digest[1] % 2 else -1
    return vector
