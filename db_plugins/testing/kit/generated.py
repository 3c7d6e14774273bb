"""Filters, orders, pages, walks by cursor and aggregates, made by Hypothesis: every engine answers as MemoryEngine does.

The seeds are fixed, so that every run asks the same; ``python -m db_plugins.testing.fuzz`` asks others, for as long as you
like. What fails shows the simplest question and the fewest rows, as a program in the public API.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from ..fuzz.model import Sample
from .harness import Connect, Harness, subject

if TYPE_CHECKING:
    from ..fuzz.compare import Arena, Difference

__all__ = ["Generated"]

#: Each part has rows of its own.
PARTS = 8


@subject("generated")
class Generated(Harness):
    """``generated_filters`` filters in all, and an eighth as many pages (with orders and cursors) and aggregates."""

    #: How many filters are asked of this engine. Say fewer where each takes long.
    generated_filters: ClassVar[int] = 2000

    @pytest.fixture
    def arena(self, connect: Connect) -> Iterator[Arena]:
        """The engine beside MemoryEngine."""
        pytest.importorskip(
            "hypothesis", reason="Hypothesis makes the filters: install db-plugins-core[testing]"
        )
        from ..fuzz.compare import Arena

        db = connect(Sample)
        with Arena(db, lambda rows: self.fill(Sample, rows)) as arena:
            yield arena

    @pytest.mark.parametrize("part", range(PARTS))
    def test_generated_filters_find_what_the_reference_finds(
        self, arena: Arena, entry: dict[str, Any], part: int
    ) -> None:
        _stock(arena, part)
        found = arena.seek("filters", seed=part, examples=-(-self.generated_filters // PARTS))
        _report(arena, found, entry)

    @pytest.mark.parametrize("about", ["pages", "aggregates"])
    def test_generated_pages_and_aggregates_are_the_references(
        self, arena: Arena, entry: dict[str, Any], about: str
    ) -> None:
        _stock(arena, PARTS)
        _report(arena, arena.seek(about, seed=PARTS, examples=-(-self.generated_filters // PARTS)), entry)

    def test_every_boundary_value_is_compared_as_the_reference_compares_it(
        self, arena: Arena, entry: dict[str, Any]
    ) -> None:
        from ..fuzz.compare import boundary_questions

        _stock(arena, 0)
        for question in boundary_questions():
            _report(arena, arena.compare(question), entry)


def _stock(arena: Arena, seed: int) -> None:
    from ..fuzz.compare import make_rows

    arena.stock(make_rows(arena.maker, seed=seed))


def _report(arena: Arena, found: Difference | None, entry: dict[str, Any]) -> None:
    if found is not None:
        pytest.fail(arena.shrunk(found).script(entry), pytrace=False)
