"""Passwords as scrypt keys, by the standard library: what is stored cannot be turned back."""

from __future__ import annotations

import hashlib
import secrets

#: What OWASP recommends for 16 MB of memory. Both functions take a tenth of a second on purpose: call them in a thread.
COST = {"n": 2**14, "r": 8, "p": 5}


def hash_password(password: str) -> str:
    """``salt$key``, both in hexadecimal. The salt is new each time, so that equal passwords do not look equal."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${_key(password, salt).hex()}"


def is_password(password: str, hashed: str) -> bool:
    """Is this the password? Takes as long for a wrong one."""
    salt, _, key = hashed.partition("$")
    return secrets.compare_digest(_key(password, bytes.fromhex(salt)), bytes.fromhex(key))


def _key(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, **COST)
