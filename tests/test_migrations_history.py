"""The folder of revisions is read, and the way from one to another planned, as Alembic does."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from alembic.runtime.migration import HeadMaintainer, RevisionStep
from alembic.script import ScriptDirectory
from hypothesis import given, settings
from hypothesis import strategies as st
from revision_files import folder_at, history_of, write_revision

from db_plugins.errors import MigrationError, MultipleHeadsError, RevisionNotFoundError
from db_plugins.migrations.revisions import History
from db_plugins.migrations.seam import Step


def shown(steps: list[Step]) -> list[str]:
    return [("+" if each.is_upgrade else "-") + each.revision for each in steps]


def chain(path: Path) -> History:
    return history_of(path, aaaa1=None, aaaa2="aaaa1", bbbb1="aaaa2")


def fork(path: Path) -> History:
    """``root`` with two branches."""
    return history_of(path, root=None, left="root", right="root")


def diamond(path: Path) -> History:
    return history_of(path, root=None, left="root", right="root", join=("left", "right"))


# -- reading -----------------------------------------------------------------------------------------------------------


def test_without_a_folder_there_are_no_revisions_and_nothing_is_made(tmp_path: Path) -> None:
    history = History(folder_at(tmp_path / "not there"))
    assert (history.revisions, history.heads, history.head(), history.paths(history.heads)) == (
        [],
        (),
        None,
        [],
    )
    assert history.towards((), "head") == []
    assert history.towards((), "base") == []
    assert not (tmp_path / "not there").exists()


def test_revisions_are_read_the_oldest_first(tmp_path: Path) -> None:
    history = history_of(tmp_path, zzzz="aaaa", aaaa="mmmm", mmmm=None)
    assert [each.revision for each in history.revisions] == ["mmmm", "aaaa", "zzzz"]
    assert [path.name for path in history.paths(history.heads)] == ["mmmm.py", "aaaa.py", "zzzz.py"]
    assert history.heads == ("zzzz",)
    assert history.named("zzzz") == "zzzz (make zzzz)"
    assert history.named("gone") == "gone"


def test_an_empty_folder_has_no_revisions(tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()
    assert History(folder_at(tmp_path)).towards((), "head") == []


@pytest.mark.parametrize("name", ["100% of it", "%(here)s", "sp ace", "é ü", "a'b\"c"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    history = chain(tmp_path / name)
    assert shown(history.upgrade((), "head")) == ["+aaaa1", "+aaaa2", "+bbbb1"]
    assert history.paths(history.heads)[0].parent == tmp_path / name / "versions"


def test_what_is_no_revision_file_is_passed_over(tmp_path: Path) -> None:
    history = chain(tmp_path)
    for name in (
        "README.md",
        ".hidden",
        "notes.txt",
        "__init__.py",
        ".#aaaa1.py",
        "aaaa1.py~",
        ".aaaa1.py.123",
    ):
        (tmp_path / "versions" / name).write_text("nothing of ours")
    (tmp_path / "versions" / "older").mkdir()
    assert len(History(history.folder).revisions) == 3


def test_a_python_file_that_is_no_revision_is_an_error_that_names_it(tmp_path: Path) -> None:
    history = chain(tmp_path)
    (tmp_path / "versions" / "helpers.py").write_text("VALUE = 1\n")
    with pytest.raises(MigrationError, match=r"helpers\.py"):
        History(history.folder)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def upgrade(:\n", r"bad\.py:12"),
        ("import no_such_module_at_all", r"bad\.py:12.*no_such_module_at_all"),
        ("raise ValueError('no')", r"bad\.py:12: ValueError"),
        ("raise SystemExit(3)", r"bad\.py:12"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named_with_its_line(
    tmp_path: Path, source: str, says: str
) -> None:
    chain(tmp_path)
    write_revision(tmp_path, "bad", "bbbb1", body="x = 1\n\n\n\n" + source)
    with pytest.raises(MigrationError, match=says) as raised:
        History(folder_at(tmp_path))
    assert raised.value.hint


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    chain(tmp_path)
    (tmp_path / "versions" / "bad.py").write_bytes(b"revision = '\xff'\x00\n")
    with pytest.raises(MigrationError, match=r"bad\.py"):
        History(folder_at(tmp_path))


def test_reading_leaves_no_module_and_no_bytecode_behind_that_hides_an_edit(tmp_path: Path) -> None:
    history = history_of(tmp_path, aaaa=None)
    write_revision(tmp_path, "aaaa", message="mended now")
    assert History(history.folder).named("aaaa") == "aaaa (mended now)"
    assert not [name for name in sys.modules if "aaaa" in name]


def test_a_file_without_its_function_is_an_error_when_it_is_planned(tmp_path: Path) -> None:
    write_revision(tmp_path, "half", body="def upgrade() -> None:\n    pass")
    history = History(folder_at(tmp_path))
    assert shown(history.upgrade((), "head")) == ["+half"]
    with pytest.raises(MigrationError, match=r"half\.py has no function downgrade\(\)"):
        history.downgrade(("half",), "base")


@pytest.mark.parametrize("value", ["None", "3", "'pass'"])
def test_a_function_that_is_none_is_an_error_when_it_is_planned(tmp_path: Path, value: str) -> None:
    write_revision(tmp_path, "odd", body=f"upgrade = {value}")
    with pytest.raises(MigrationError, match=r"odd\.py has no function upgrade\(\)"):
        History(folder_at(tmp_path)).upgrade((), "head")


@pytest.mark.parametrize("value", ["3", "None", "['a']", "''"])
def test_a_revision_that_is_no_text_is_an_error(tmp_path: Path, value: str) -> None:
    chain(tmp_path)
    (tmp_path / "versions" / "odd.py").write_text(f"revision = {value}\ndown_revision = 'bbbb1'\n")
    with pytest.raises(MigrationError, match=r"odd\.py"):
        History(folder_at(tmp_path))


def test_a_revision_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    chain(tmp_path)
    write_revision(tmp_path, "aaaa2", "aaaa1", name="copied")
    with pytest.raises(MigrationError, match="aaaa2 is present more than once"):
        History(folder_at(tmp_path))


def test_a_revision_that_follows_none_that_is_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RevisionNotFoundError, match=r"has no revision gone, which .*aaaa.* refers to"):
        history_of(tmp_path, aaaa="gone")


def test_a_dependency_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    write_revision(tmp_path, "aaaa", depends="gone")
    with pytest.raises(RevisionNotFoundError, match="gone"):
        History(folder_at(tmp_path))


@pytest.mark.parametrize(
    "revisions",
    [
        {"aaaa": "bbbb", "bbbb": "aaaa"},
        {"root": None, "aaaa": "bbbb", "bbbb": "aaaa"},
        {"root": None, "aaaa": ("root", "cccc"), "bbbb": "aaaa", "cccc": "bbbb"},
        {"aaaa": "aaaa"},
    ],
)
def test_a_circle_is_an_error_that_names_it(tmp_path: Path, revisions: dict[str, Any]) -> None:
    with pytest.raises(MigrationError, match="aaaa"):
        history_of(tmp_path, **revisions)


# -- names -------------------------------------------------------------------------------------------------------------


def test_a_revision_is_found_by_its_beginning(tmp_path: Path) -> None:
    history = chain(tmp_path)
    assert history.find("aaaa1") == "aaaa1"
    assert history.find("bbbb") == "bbbb1"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("aaaa", "beginning of several revisions: aaaa1, aaaa2"),
        ("bbb", "there is no revision 'bbb'"),  # four characters at least
        ("", "there is no revision ''"),
        ("bbbb12", "there is no revision 'bbbb12'"),
        ("BBBB1", "there is no revision"),
        ("aaaa1:bbbb1", "there is no revision"),
        ("aaaa1@head", "there is no revision"),
        ("../x", "there is no revision"),
    ],
)
def test_a_name_that_means_no_revision_is_an_error(tmp_path: Path, name: str, says: str) -> None:
    history = chain(tmp_path)
    with pytest.raises(RevisionNotFoundError, match=says) as raised:
        history.towards((), name)
    assert raised.value.hint


def test_of_no_revisions_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RevisionNotFoundError) as raised:
        History(folder_at(tmp_path)).towards((), "aaaa")
    assert "dbp make_migrations" in str(raised.value.hint)


# -- the way up and down -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "target", "steps"),
    [
        (None, "head", ["+aaaa1", "+aaaa2", "+bbbb1"]),
        (None, "heads", ["+aaaa1", "+aaaa2", "+bbbb1"]),
        ("bbbb1", "head", []),
        (None, "+1", ["+aaaa1"]),
        ("aaaa1", "+2", ["+aaaa2", "+bbbb1"]),
        ("aaaa1", "aaaa1", []),
        ("aaaa1", "bbbb1", ["+aaaa2", "+bbbb1"]),
        ("aaaa1", "bbbb", ["+aaaa2", "+bbbb1"]),
        ("bbbb1", "aaaa1", ["-bbbb1", "-aaaa2"]),
        ("bbbb1", "-1", ["-bbbb1"]),
        ("bbbb1", "-2", ["-bbbb1", "-aaaa2"]),
        ("bbbb1", "-3", ["-bbbb1", "-aaaa2", "-aaaa1"]),
        ("bbbb1", "-5", ["-bbbb1", "-aaaa2", "-aaaa1"]),  # further than there is: to the beginning
        ("bbbb1", "base", ["-bbbb1", "-aaaa2", "-aaaa1"]),
        (None, "base", []),
        (None, "-1", []),
    ],
)
def test_the_way_from_here_to_there(tmp_path: Path, at: str | None, target: str, steps: list[str]) -> None:
    assert shown(chain(tmp_path).towards((at,) if at else (), target)) == steps


def test_each_step_knows_the_heads_before_and_after(tmp_path: Path) -> None:
    history = chain(tmp_path)
    assert [(s.before, s.after) for s in history.upgrade((), "+2")] == [
        ((), ("aaaa1",)),
        (("aaaa1",), ("aaaa2",)),
    ]
    assert [(s.before, s.after) for s in history.downgrade(("aaaa2",), "base")] == [
        (("aaaa2",), ("aaaa1",)),
        (("aaaa1",), ()),
    ]


def test_a_step_runs_its_function(tmp_path: Path) -> None:
    write_revision(
        tmp_path,
        "aaaa",
        message="Two\nlines",
        body="def upgrade():\n    return 'up'\ndef downgrade():\n    return 'down'",
    )
    history = History(folder_at(tmp_path))
    up, down = history.upgrade((), "head")[0], history.downgrade(("aaaa",), "-1")[0]
    assert (up.run(), down.run()) == ("up", "down")
    assert (up.name, up.path) == ("aaaa (Two)", tmp_path / "versions" / "aaaa.py")


@pytest.mark.parametrize("target", ["+4", "+0", "-0"])
def test_a_way_that_is_longer_than_there_is_or_none_is_an_error(tmp_path: Path, target: str) -> None:
    with pytest.raises(MigrationError, match=r"no way from aaaa1 to"):
        chain(tmp_path).towards(("aaaa1",), target)


def test_a_database_at_a_revision_that_the_files_do_not_know(tmp_path: Path) -> None:
    history = chain(tmp_path)
    for target in ("head", "base", "-1", "+1", "aaaa1"):
        with pytest.raises(
            RevisionNotFoundError, match=r"the database is at gone, which is not in .*versions"
        ):
            history.towards(("gone",), target)
    with pytest.raises(RevisionNotFoundError):
        History(folder_at(tmp_path / "none")).towards(("gone",), "head")


# -- branches ----------------------------------------------------------------------------------------------------------


def test_several_heads_are_an_error_that_names_them(tmp_path: Path) -> None:
    history = fork(tmp_path)
    assert history.heads == ("left", "right")
    with pytest.raises(
        MultipleHeadsError, match=r"2 heads: left \(make left\), right \(make right\)"
    ) as raised:
        history.towards((), "head")
    assert "dbp merge" in str(raised.value.hint)


def test_branches_are_done_by_name_or_all(tmp_path: Path) -> None:
    history = fork(tmp_path)
    assert sorted(shown(history.towards((), "heads"))) == ["+left", "+right", "+root"]
    assert history.towards((), "heads")[-1].after == ("left", "right")
    assert shown(history.towards((), "left")) == ["+root", "+left"]
    assert shown(history.towards(("left",), "right")) == ["+right"]
    assert history.towards(("left",), "right")[0].after == ("left", "right")
    assert shown(history.towards(("left", "right"), "left")) == []
    assert set(shown(history.towards(("left", "right"), "root"))) == {"-left", "-right"}
    assert set(shown(history.towards(("left", "right"), "base"))) == {"-left", "-right", "-root"}


def test_one_step_back_from_two_heads_may_mean_either(tmp_path: Path) -> None:
    with pytest.raises(
        MultipleHeadsError, match=r"the database is at left .* and right .*, so -1 may mean either"
    ):
        fork(tmp_path).towards(("left", "right"), "-1")


def test_one_step_on_from_a_fork_may_mean_either(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match=r"no way from root to \+1"):
        fork(tmp_path).towards(("root",), "+1")


def test_up_through_a_merge(tmp_path: Path) -> None:
    history = diamond(tmp_path)
    assert history.head() == "join"
    steps = history.towards((), "head")
    assert (shown(steps)[0], shown(steps)[-1], len(steps)) == ("+root", "+join", 4)
    assert (steps[-1].before, steps[-1].after) == (("left", "right"), ("join",))


def test_down_through_a_merge(tmp_path: Path) -> None:
    history = diamond(tmp_path)
    steps = history.towards(("join",), "base")
    assert (shown(steps)[0], shown(steps)[-1], len(steps)) == ("-join", "-root", 4)
    assert (steps[0].before, steps[0].after) == (("join",), ("left", "right"))
    assert [each.after for each in steps[2:]] == [("root",), ()]


def test_one_step_back_undoes_a_merge_alone(tmp_path: Path) -> None:
    steps = diamond(tmp_path).towards(("join",), "-1")
    assert (shown(steps), steps[0].after) == (["-join"], ("left", "right"))


def test_two_steps_back_through_a_merge_may_mean_either_branch(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="no way from join to -2"):
        diamond(tmp_path).towards(("join",), "-2")


def test_a_dependency_is_done_before_and_counts_as_done_afterwards(tmp_path: Path) -> None:
    history_of(tmp_path, root=None, left="root")
    write_revision(tmp_path, "other", None, depends="left")
    history = History(folder_at(tmp_path))
    steps = history.towards((), "other")
    assert shown(steps) == ["+root", "+left", "+other"]
    assert steps[-1].after == ("other",)  # as Alembic records it: left is implied
    assert history.before(("other",)) == {"root", "left", "other"}
    assert history.towards(("other",), "heads") == []
    down = history.towards(("other",), "base")
    assert shown(down) == ["-other", "-left", "-root"]
    assert [each.after for each in down] == [("left",), ("root",), ()]


def test_a_dependency_may_be_a_label(tmp_path: Path) -> None:
    write_revision(tmp_path, "root", labels=("catalogue",))
    write_revision(tmp_path, "other", depends="catalogue")
    assert shown(History(folder_at(tmp_path)).towards((), "other")) == ["+root", "+other"]


def test_the_step_of_one_revision(tmp_path: Path) -> None:
    history = diamond(tmp_path)
    step = history.step("join", is_upgrade=True, heads=("left", "right"))
    assert (step.before, step.after) == (("left", "right"), ("join",))
    step = history.step("join", is_upgrade=False, heads=("join",))
    assert (step.before, step.after) == (("join",), ("left", "right"))
    step = history.step("left", is_upgrade=True, heads=("root",))
    assert (step.before, step.after) == (("root",), ("left",))
    step = history.step("left", is_upgrade=False, heads=("left", "right"))
    assert (step.before, step.after) == (("left", "right"), ("right",))
    write_revision(tmp_path, "other")  # a second beginning
    history = History(history.folder)
    step = history.step("other", is_upgrade=False, heads=("other", "root"))
    assert (step.before, step.after) == (("other", "root"), ("root",))
    step = history.step("root", is_upgrade=False, heads=("root",))
    assert (step.before, step.after) == (("root",), ())


def test_the_step_of_a_revision_that_is_none_from_here(tmp_path: Path) -> None:
    history = diamond(tmp_path)
    with pytest.raises(RevisionNotFoundError, match="is no step from"):
        history.step("left", is_upgrade=True, heads=("join",))
    with pytest.raises(RevisionNotFoundError, match="is no step from"):
        history.step("join", is_upgrade=False, heads=("left",))


# -- Alembic -----------------------------------------------------------------------------------------------------------


class _Heads(HeadMaintainer):
    """Alembic's own account of the heads, without a database."""

    def __init__(self, heads: tuple[str, ...]) -> None:
        super().__init__(None, heads)  # type: ignore[arg-type]

    def _insert_version(self, version: str) -> None:
        self.heads.add(version)

    def _delete_version(self, version: str) -> None:
        self.heads.remove(version)

    def _update_version(self, from_: str, to_: str) -> None:
        self.heads.remove(from_)
        self.heads.add(to_)


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Each revision follows some that come before it, none of them before another, and depends on some."""
    made: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    before: list[set[int]] = []
    for number in range(draw(st.integers(1, 7))):
        earlier = (
            st.lists(st.integers(0, max(number - 1, 0)), max_size=2, unique=True) if number else st.just([])
        )
        drawn = [*draw(earlier), *(draw(earlier) if draw(st.booleans()) else ())]
        # Of a redundant parent Alembic records one head too many while others are there.
        both = [each for each in dict.fromkeys(drawn) if not any(each in before[it] for it in drawn)]
        split = draw(st.integers(0, len(both)))
        follows, needs = tuple(both[:split]), tuple(both[split:])
        made.append((follows, needs))
        before.append({*follows, *needs}.union(*(before[each] for each in (*follows, *needs))))
    return made


def plan_or_refusal(history: History, heads: tuple[str, ...], target: str) -> list[Step] | str:
    try:
        return history.towards(heads, target)
    except MigrationError as error:
        return str(error)


@settings(max_examples=60, deadline=None)
@given(graphs(), st.data())
def test_the_heads_of_every_step_are_those_that_alembic_records(
    tmp_path_factory: pytest.TempPathFactory,
    graph: list[tuple[tuple[int, ...], tuple[int, ...]]],
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("graph")
    for number, (follows, needs) in enumerate(graph):
        write_revision(
            path,
            f"rev{number}",
            tuple(f"rev{each}" for each in follows) or None,
            depends=tuple(f"rev{each}" for each in needs) or None,
        )
    history = History(folder_at(path))
    at: tuple[str, ...] = ()
    for _ in range(3):
        target = data.draw(st.sampled_from(["heads", "base", *(f"rev{each}" for each in range(len(graph)))]))
        alembics = _Heads(at)
        steps = plan_or_refusal(history, at, target)
        if isinstance(steps, str):  # Alembic goes down along down_revision, and not along depends_on alone
            assert any(needs for _, needs in graph)
            assert "is not a valid downgrade target" in steps
            continue
        for step in steps:
            assert step.before == tuple(sorted(alembics.heads))
            alembics.update_to_step(step.alembic)
            assert step.after == tuple(sorted(alembics.heads))
            at = step.after
        if target == "heads":
            assert history.before(at) == {each.revision for each in history.revisions}
        elif target == "base":
            assert at == ()
        else:
            assert target in history.before(at)


def test_alembics_planning_which_has_no_public_name_is_as_it_was(tmp_path: Path) -> None:
    for name, second in (("_upgrade_revs", "current_rev"), ("_downgrade_revs", "current_rev")):
        assert list(inspect.signature(getattr(ScriptDirectory, name)).parameters) == [
            "self",
            "destination",
            second,
        ]
    history = chain(tmp_path)
    for step in (history.upgrade((), "+1")[0], history.downgrade(("aaaa1",), "base")[0]):
        assert isinstance(step.alembic, RevisionStep)
        assert step.alembic.revision.revision == step.revision
        assert step.alembic.is_upgrade == step.is_upgrade


def test_each_public_name_is_what_it_says_when_all_modules_are_loaded() -> None:
    """A module of the same name would be found in the place of the function."""
    import db_plugins.migrations as package

    for name in package.__all__:
        getattr(package, name)
    assert not [name for name in package.__all__ if isinstance(getattr(package, name), ModuleType)]
