"""LIKE patterns: what ``%``, ``_`` and ``escape`` mean is decided here, once, and engines get them decoded."""

from __future__ import annotations

from typing import Any

from .errors import InvalidValueError
from .models import Field
from .nodes import Wild

__all__ = [
    "ascii_lower",
    "ascii_regex",
    "check_pattern",
    "decode_pattern",
    "encode_pattern",
    "literal_regex",
    "prefix_bounds",
]

Pattern = tuple[str | Wild, ...]

_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_SPECIAL = frozenset(r"\.^$*+?{}[]|()-/#&~ ")
_LAST = 0x10FFFF
_WILD = {"%": Wild.ANY, "_": Wild.ONE}


def check_pattern(field: Field, value: Any) -> str:
    """A pattern is text without NUL and lone surrogates; unlike a value it may be longer than the column."""
    if not isinstance(value, str):
        raise InvalidValueError(
            f"{field.label} is matched with a pattern of type {type(value).__name__}, not str"
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidValueError(f"a pattern for {field.label} holds a lone surrogate") from None
    if "\x00" in value:
        raise InvalidValueError(f"a pattern for {field.label} holds a NUL character")
    return value


def decode_pattern(field: Field, text: str, escape: str | None, shape: str) -> Pattern:
    """The parts of ``text`` put into ``shape`` (``"%{}%"`` for contains). Without ``escape`` nothing escapes.

    >>> decode_pattern(None, "a/%b_", "/", "{}%")
    ('a%b', <Wild.ONE: '_'>, <Wild.ANY: '%'>)
    """
    if escape is not None and len(escape) != 1:
        raise InvalidValueError(f"the escape of a pattern for {field.label} must be one character")
    parts: list[str | Wild] = [Wild.ANY] if shape.startswith("%") else []
    literal = ""
    characters = iter(text)
    for character in characters:
        if escape is not None and character == escape:
            escaped = next(characters, None)
            if escaped is None:
                raise InvalidValueError(f"a pattern for {field.label} ends with its escape character")
            literal += escaped
        elif character in _WILD:
            parts += [literal, _WILD[character]] if literal else [_WILD[character]]
            literal = ""
        else:
            literal += character
    if literal:
        parts.append(literal)
    return (*parts, Wild.ANY) if shape.endswith("%") else tuple(parts)


def prefix_bounds(pattern: Pattern) -> tuple[str, str | None] | None:
    """The texts that begin as the pattern does, by code point: the least of them, and the least beyond them, if any.

    >>> prefix_bounds(("Ve", Wild.ANY))
    ('Ve', 'Vf')
    """
    prefix = pattern[0] if pattern else None
    if not isinstance(prefix, str):
        return None
    kept = prefix.rstrip(chr(_LAST))
    if not kept:
        return prefix, None
    beyond = ord(kept[-1]) + 1
    # Surrogates are no characters.
    return prefix, kept[:-1] + chr(0xE000 if 0xD800 <= beyond < 0xE000 else beyond)


def encode_pattern(pattern: Pattern, escape: str = "/") -> str:
    """The pattern as SQL's LIKE takes it with this escape character.

    >>> encode_pattern(("50%", Wild.ANY))
    '50/%%'
    """
    return "".join(p.value if isinstance(p, Wild) else _escaped(p, escape) for p in pattern)


def ascii_lower(text: str) -> str:
    """The text with A to Z in lower case and nothing else changed."""
    return text.translate(_LOWER)


def ascii_regex(pattern: Pattern) -> str:
    """The pattern as a regular expression (PCRE) for the whole text, in which A to Z match either case."""
    return rf"(?s)\A{''.join(map(_regex_part, pattern))}\z"


def literal_regex(pattern: Pattern) -> str:
    """The pattern as a regular expression (PCRE) for the whole text, heeding case."""
    parts = {Wild.ANY: ".*", Wild.ONE: "."}
    body = "".join(parts[p] if isinstance(p, Wild) else "".join(map(_regex_literal, p)) for p in pattern)
    return rf"\A{body}\z"


def _regex_part(part: str | Wild) -> str:
    if isinstance(part, Wild):
        return ".*" if part is Wild.ANY else "."
    return "".join(
        f"[{c.lower()}{c.upper()}]" if c.isascii() and c.isalpha() else _regex_literal(c) for c in part
    )


def _regex_literal(character: str) -> str:
    return f"\\{character}" if character in _SPECIAL else character


def _escaped(literal: str, escape: str) -> str:
    for special in (escape, "%", "_"):
        literal = literal.replace(special, escape + special)
    return literal
