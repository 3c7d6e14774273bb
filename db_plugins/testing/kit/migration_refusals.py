"""What migrations refuse: whatever would lose rows or cannot hold for those that are there; and then nothing changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from db_plugins import Capability, Database
from db_plugins import migrations as m
from db_plugins.errors import DestructiveChangeError, InvalidValueError, MigrationError

from .harness import Harness, subject
from .migration_edits import BANDED, NAMED, NUMBERED, PLANET, STAR, WITH_PLANETS, letters, one_star, with_band
from .migration_models import Bench, column, models, rows_of, star, store_of

__all__ = ["MigrationRefusals"]

Models = Callable[[], tuple[type, ...]]


@dataclass(frozen=True)
class Impossible:
    """An edit that the rows forbid. ``mended`` are the rows after which it goes through, by their keys.

    ``may_show`` says that the message may hold values: nobody could mend duplicates without knowing which.
    """

    name: str
    before: Models
    after: Models
    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    words: Sequence[str]
    mended: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    may_show: bool = False


IMPOSSIBLE = (
    Impossible(
        "required column without a default",
        one_star,
        lambda: one_star(n=column(sa.Integer, nullable=False)),
        NAMED,
        (STAR, "n"),
    ),
    Impossible(
        "NULL in a column made required",
        lambda: one_star(n=column(sa.Integer)),
        lambda: one_star(n=column(sa.Integer, nullable=False)),
        {"Star": [{"id": 1, "name": "Vega", "n": 1}, {"id": 2, "name": "Mira", "n": None}]},
        (STAR, "n"),
        [{"id": 2, "n": 5}],
    ),
    Impossible(
        "duplicates under a unique constraint",
        with_band,
        lambda: one_star(band=column(sa.String(10), unique=True)),
        {"Star": [{"id": 1, "name": "Vega", "band": "zzz"}, {"id": 2, "name": "Mira", "band": "zzz"}]},
        (STAR, "band"),
        [{"id": 2, "band": "R"}],
        may_show=True,
    ),
    Impossible(
        "duplicates under a composite unique constraint",
        with_band,
        lambda: with_band((sa.UniqueConstraint("name", "band", name="kit_m_name_band"),)),
        {"Star": [{"id": 1, "name": "zzz", "band": "V"}, {"id": 2, "name": "zzz", "band": "V"}]},
        (STAR, "name", "band"),
        [{"id": 2, "band": "R"}],
        may_show=True,
    ),
    Impossible(
        "enum member removed that a row holds",
        lambda: one_star(size=column(letters("S", "M", "L"))),
        lambda: one_star(size=column(letters("S", "M"))),
        {"Star": [{"id": 1, "name": "Vega", "size": "L"}]},
        (STAR, "size"),
        [{"id": 1, "size": "M"}],
    ),
)


@dataclass(frozen=True)
class Loss:
    """An edit that drops what holds values; ``words`` name it."""

    name: str
    before: Models
    after: Models
    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    words: Sequence[str]


LOSSES = (
    Loss("column", with_band, one_star, BANDED, (STAR, "band")),
    Loss(
        "column with a default",
        lambda: one_star(n=column(sa.Integer, nullable=False, default=0)),
        one_star,
        NUMBERED,
        (STAR, "n"),
    ),
    Loss("table", lambda: models(Star=star(), Planet=star()), one_star, WITH_PLANETS, (PLANET,)),
)


MOON = store_of("Moon")
#: Beside those that fit: what is said of each, and the hint.
UNFIT = {
    f"{STAR}s:{MOON}": (rf"the database has no (table|collection) {STAR}s", f"did you mean '{STAR}'"),
    f"{PLANET}:{MOON}n": (rf"no model has the (table|collection) {MOON}n", f"did you mean '{MOON}'"),
    f"{PLANET}:{STAR}": (rf"the (table|collection) {STAR} is there already", "leave"),
    f"{STAR}:{MOON}": (rf"the models still have the (table|collection) {STAR}", "rename it there first"),
    f"{STAR}s.band:colour": (rf"the database has no (table|collection) {STAR}s", f"did you mean '{STAR}'"),
    f"{STAR}.bands:colour": (rf"{STAR} has no (column|field) bands", "did you mean 'band'"),
    f"{STAR}.band:color": (rf"no model of {STAR} has the (column|field) color", "did you mean 'colour'"),
    f"{STAR}.band:name": (r"the (column|field) name is there already", "leave"),
    f"{STAR}.name:colour": (r"the models still have the (column|field) name", "rename it there first"),
    f"{MOON}.name:name2": (rf"no model of {MOON} has the (column|field) name2", "did you mean 'name'"),
}


def by_name(cases: Sequence[Impossible | Loss]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name.replace(" ", "-") for case in cases])


@subject("migrations", Capability.MIGRATIONS, Capability.WRITE)
class MigrationRefusals(Harness):
    """API §10 and RELIABILITY §4: refused with the table and the column, before anything of it is done."""

    @by_name(IMPOSSIBLE)
    def test_an_edit_that_the_rows_forbid_changes_nothing_and_says_why(
        self, bench: Bench, case: Impossible
    ) -> None:
        old = bench.begin(case.before(), case.rows)
        before = bench.fingerprint(old)
        edited = bench.open(case.after())
        with pytest.raises(MigrationError) as refused:
            _make_and_migrate(bench, edited)
        _names(refused.value, case.words, {} if case.may_show else case.rows)
        assert refused.value.hint, "what to do is said"
        assert bench.fingerprint(old) == before
        if not case.mended:
            return
        old.query(old._models()[0].cls).bulk_update(case.mended)
        if not len(bench.files()) > 1:
            bench.made(edited)
        bench.migrate(edited)
        assert bench.is_clean(edited)
        changed = {row["id"]: row for row in case.mended}
        assert rows_of(edited)["Star"] == [{**row, **changed.get(row["id"], {})} for row in case.rows["Star"]]

    def test_a_required_column_without_a_default_goes_into_an_empty_table(self, bench: Bench) -> None:
        bench.begin(one_star())
        edited = bench.open(one_star(n=column(sa.Integer, nullable=False)))
        bench.made(edited)
        bench.migrate(edited)
        assert bench.is_clean(edited)

    @pytest.mark.parametrize(("rename", "words"), UNFIT.items(), ids=UNFIT.keys())
    def test_a_rename_that_does_not_fit_is_no_drop(
        self, bench: Bench, rename: str, words: tuple[str, str]
    ) -> None:
        """Passed over it would be one, and the values lost with ``--allow-drop``."""
        old = bench.begin(models(Star=star(band=column(sa.String(10))), Planet=star()), NAMED)
        before, files = bench.fingerprint(old), bench.files()
        edited = bench.open(models(Star=star(colour=column(sa.String(10))), Moon=star()))
        fact, hint = words
        with pytest.raises(InvalidValueError) as refused:
            bench.make(edited, renames=[f"{STAR}.band:colour", f"{PLANET}:{MOON}", rename])
        assert str(refused.value).startswith(f"the rename {rename} does not fit: ")
        assert re.search(rf"{fact}$", refused.value.fact), refused.value.fact
        assert hint in str(refused.value.hint)
        assert bench.fingerprint(old) == before
        assert bench.files() == files
        assert bench.made(edited, renames=[f"{STAR}.band:colour", f"{PLANET}:{MOON}"]).drops == ()

    @by_name(LOSSES)
    def test_what_holds_values_is_only_dropped_if_that_is_allowed(self, bench: Bench, case: Loss) -> None:
        old = bench.begin(case.before(), case.rows)
        before = bench.fingerprint(old)
        edited = bench.open(case.after())
        made = bench.made(edited)
        assert len(made.drops) == 1
        with pytest.raises(DestructiveChangeError) as refused:
            bench.migrate(edited)
        _names(refused.value, case.words, case.rows)
        assert bench.fingerprint(old) == before
        assert bench.migrate(edited, allow_drop=True) == [made.revision]
        assert bench.is_clean(edited)
        assert [row["id"] for row in rows_of(edited)["Star"]] == [row["id"] for row in case.rows["Star"]]

    def test_a_loss_in_a_later_revision_of_a_run_is_refused_too(self, bench: Bench) -> None:
        old = bench.begin(with_band(), BANDED)
        first = bench.made(bench.open(with_band()), "First", empty=True)
        bench.migrate(old)
        edited = bench.open(one_star())
        second = bench.made(edited)
        m.downgrade(edited, folder=bench.folder)
        run = m.Run()
        with pytest.raises(DestructiveChangeError, match="band"):
            m.migrate(edited, folder=bench.folder, run=run)
        assert [step.revision for step in run.planned] == [first.revision, second.revision]
        assert second.revision not in [step.revision for step in run.done]
        assert rows_of(old) == BANDED

    def test_a_downgrade_that_gives_values_up_is_refused(self, bench: Bench) -> None:
        old = bench.begin(one_star(), NAMED)
        first = bench.fingerprint(old)
        edited = bench.open(with_band())
        bench.made(edited)
        bench.migrate(edited)
        model = edited._models()[0].cls
        edited.query(model).filter(id=1).update({"band": "V"})
        with pytest.raises(DestructiveChangeError, match=r"kit_m_star.*band"):
            m.downgrade(edited, folder=bench.folder)
        assert edited.query(model).filter(band="V").count() == 1
        assert bench.is_clean(edited)
        m.downgrade(edited, folder=bench.folder, allow_drop=True)
        assert bench.fingerprint(old) == first

    def test_a_required_column_that_was_dropped_is_not_made_up_when_that_is_undone(
        self, bench: Bench
    ) -> None:
        """Nothing says any more what the rows held, or what the default was."""
        old = bench.begin(one_star(n=column(sa.Integer, nullable=False, default=0)), NUMBERED)
        first = bench.fingerprint(old)
        edited = bench.open(one_star())
        bench.made(edited)
        bench.migrate(edited, allow_drop=True)
        there = bench.fingerprint(edited)
        with pytest.raises(MigrationError, match=r"kit_m_star.*\bn\b"):
            m.downgrade(edited, folder=bench.folder)
        assert bench.fingerprint(edited) == there
        edited.query(edited._models()[0].cls).delete(force=True)
        m.downgrade(edited, folder=bench.folder)
        assert bench.fingerprint(old) == {**first, "rows": {"Star": []}}

    def test_an_empty_table_and_a_column_of_nulls_are_dropped_without_asking(self, bench: Bench) -> None:
        bench.begin(models(Star=star(band=column(sa.String(10))), Planet=star()), NAMED)
        edited = bench.open(one_star())
        made = bench.made(edited)
        assert len(made.drops) == 2
        bench.migrate(edited)
        assert bench.is_clean(edited)
        assert rows_of(edited) == NAMED


def _make_and_migrate(bench: Bench, db: Database) -> None:
    """What cannot be is refused by either."""
    bench.made(db)
    bench.migrate(db)


def _names(
    error: MigrationError, words: Sequence[str], rows: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    """The message names each of these as a word of its own, and no value of a row's text."""
    said = str(error)
    for word in words:
        assert re.search(rf"\b{re.escape(word)}\b", said), f"{said!r} does not name {word}"
    for row in (row for own in rows.values() for row in own):
        for value in row.values():
            assert not (isinstance(value, str) and len(value) > 2 and value in said), "no value of a row"
