"""Renames that the user gave, held against what is there and what is wanted: one that does not fit is refused.

For engines, in their ``difference``: a rename that is passed over would end as a drop, and with it the values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ..errors import InvalidValueError, nearest
from .seam import Rename

__all__ = ["refuse_unfit"]


def refuse_unfit(
    renames: Sequence[Rename],
    there: Mapping[str, Collection[str]],
    wanted: Mapping[str, Collection[str]],
    *,
    words: tuple[str, str] = ("table", "column"),
) -> None:
    """Raise InvalidValueError for the first rename that does not fit; it says what is in the way.

    ``there`` are the columns of each table of the database, ``wanted`` those of each table of the models. A table that
    is there without columns is one of which none are known: any may be renamed. ``words``: what the engine calls them.
    """
    table_word, column_word = words
    news: dict[str, str] = {}
    for each in (each for each in renames if each.table is None):
        _check(each, there, wanted, f"the database has no {table_word}", f"the {table_word}")
        if each.old in news or each.new in news.values():
            raise _refusal(each, "another rename says something else", "give each name once")
        news[each.old] = each.new
    olds = {new: old for old, new in news.items()}
    done: set[tuple[str, str]] = set()
    for each in (each for each in renames if each.table is not None):
        new = news.get(each.table or "", each.table or "")
        old = olds.get(new, new)
        if old not in there:
            raise _refusal(each, f"the database has no {table_word} {each.table}", nearest(old, there))
        if new not in wanted:
            raise _refusal(each, f"no model has the {table_word} {new}", nearest(new, wanted))
        columns = there[old] or [each.old]
        _check(each, columns, wanted[new], f"{old} has no {column_word}", f"the {column_word}", of=new)
        if done & {(new, each.old), (new, each.new)}:
            raise _refusal(each, "another rename says something else", "give each name once")
        done |= {(new, each.old), (new, each.new)}


def _check(
    rename: Rename,
    there: Collection[str],
    wanted: Collection[str],
    missing: str,
    word: str,
    *,
    of: str | None = None,
) -> None:
    """One name that is to become another."""
    model = "no model has" if of is None else f"no model of {of} has"
    if rename.old not in there:
        raise _refusal(rename, f"{missing} {rename.old}", nearest(rename.old, there))
    if rename.new not in wanted:
        raise _refusal(rename, f"{model} {word} {rename.new}", nearest(rename.new, wanted))
    if rename.new in there:
        raise _refusal(
            rename, f"{word} {rename.new} is there already", f"leave the rename of {rename.old} out"
        )
    if rename.old in wanted:
        raise _refusal(rename, f"the models still have {word} {rename.old}", "rename it there first")


def _refusal(rename: Rename, fact: str, hint: str) -> InvalidValueError:
    return InvalidValueError(f"the rename {rename} does not fit: {fact}", hint=hint)
