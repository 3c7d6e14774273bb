"""The revisions of an entry, and the way from one to another: Alembic's ScriptDirectory, for every engine."""

from __future__ import annotations

import ast
import re
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from alembic import util as alembic_util
from alembic.runtime.migration import MigrationStep
from alembic.script import Script, ScriptDirectory
from alembic.script import revision as graph

from ..config.failure import describe
from ..errors import MigrationError, MultipleHeadsError, RevisionNotFoundError, nearest
from .files import Folder
from .seam import Step

__all__ = ["History", "follows", "message_of"]

_RELATIVE = re.compile(r"[+-][0-9]+")
#: The fewest characters that stand for a revision.
_SHORTEST = 4


class History:
    """The revision files of a folder, read when it is made; empty if there is no folder.

    Raises MigrationError, with file and line, for a file that cannot be read, and RevisionNotFoundError for one that
    follows a revision that is not there.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._script: ScriptDirectory | None = None
        self.revisions: list[Script] = []
        if folder.exists:
            with self._reading():
                self._script = ScriptDirectory(folder.path, version_locations=[folder.versions])
                self.revisions = list(self._script.walk_revisions("base", "heads"))[::-1]
        odd = next((each for each in self.revisions if not each.revision), None)
        if odd is not None:
            raise _no_revision(Path(odd.path))
        self._by_id = {each.revision: each for each in self.revisions}
        with self._reading():
            self._under = {each.revision: self._needs(each) for each in self.revisions}

    def _needs(self, script: Script) -> tuple[str, ...]:
        """The revisions that must be applied before this one: those that it follows, and those that it depends on."""
        assert self._script is not None
        given = script.dependencies or ()
        needed = (self._script.get_revision(each) for each in ((given,) if isinstance(given, str) else given))
        return tuple(dict.fromkeys((*follows(script), *(each.revision for each in needed))))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                # What Alembic only warns of (a revision that is there twice, or follows none that is there) breaks the plan.
                warnings.filterwarnings(
                    "error", message=r"Revision .* (present|referenced)", category=UserWarning
                )
                yield
        except graph.CycleDetected as error:
            raise MigrationError(
                f"the revisions in {self.folder} follow each other in a circle: {', '.join(error.revisions)}",
                hint="correct down_revision in one of them",
            ) from error
        except UserWarning as warning:
            raise self._broken(str(warning)) from warning
        except (graph.RevisionError, alembic_util.CommandError) as error:
            raise self._broken(str(error)) from error
        except (Exception, SystemExit) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: BaseException) -> MigrationError:
        """A file that failed while it was imported, or that Alembic could not make a revision of."""
        versions = self.folder.versions.resolve()
        is_in_file = any(
            Path(f.filename).parent == versions for f in traceback.extract_tb(error.__traceback__)
        )
        if not is_in_file and not (isinstance(error, SyntaxError) and error.filename):
            if isinstance(error, KeyError):  # all that Alembic says of a dependency that is not there
                return RevisionNotFoundError(
                    f"{self.folder.versions} has no revision {error.args[0]}, which a depends_on refers to",
                    hint="bring the file back, or correct depends_on",
                )
            for path in sorted(versions.glob("*.py")):
                fault = _fault_of(path)
                if fault is not None:
                    return fault
        return MigrationError(
            f"a revision cannot be read: {describe(error)}", hint="mend or remove that file"
        )

    def _broken(self, said: str) -> MigrationError:
        missing = re.search(r"Revision (\S+) referenced from (.+) is not present", said)
        if missing:
            who = re.search(r"-> (\w+)", missing[2])  # Alembic writes the whole line of its log
            return RevisionNotFoundError(
                f"{self.folder.versions} has no revision {missing[1]}, which {who[1] if who else missing[2]} refers to",
                hint="bring the file back, or correct down_revision",
            )
        return MigrationError(
            f"the revisions in {self.folder} cannot be read: {said}", hint="correct the files"
        )

    # -- what there is ---------------------------------------------------------------------------------------------

    @property
    def heads(self) -> tuple[str, ...]:
        """The revisions that none follows."""
        return tuple(sorted(self._script.get_heads())) if self._script is not None else ()

    def head(self) -> str | None:
        """The one head; ``None`` without revisions. Raises MultipleHeadsError."""
        if len(self.heads) > 1:
            raise MultipleHeadsError(
                f"{self.folder} has {len(self.heads)} heads: {', '.join(map(self.named, self.heads))}",
                hint="join them with `dbp merge`, or name a revision",
            )
        return self.heads[0] if self.heads else None

    def __contains__(self, revision: object) -> bool:
        return revision in self._by_id

    def named(self, revision: str) -> str:
        """A revision as people read it: ``3f2a91c07d44 (Add shields)``."""
        known = self._by_id.get(revision)
        return f"{revision} ({message_of(known)})" if known is not None and message_of(known) else revision

    def paths(self, heads: Iterable[str]) -> list[Path]:
        """The files of these revisions and of all that they follow, the oldest first."""
        applied = self.before(heads)
        return [Path(each.path) for each in self.revisions if each.revision in applied]

    def matches(self, name: str) -> list[str]:
        """The revision of this id, or else those that begin with it, if it has four characters at least."""
        if name in self._by_id:
            return [name]
        return [each for each in self._by_id if len(name) >= _SHORTEST and each.startswith(name)]

    def find(self, name: str) -> str:
        """The revision of this id, or the beginning of one. Raises RevisionNotFoundError."""
        close = self.matches(name)
        if len(close) == 1:
            return close[0]
        if close:
            raise RevisionNotFoundError(
                f"{name!r} is the beginning of several revisions: {', '.join(close)}", hint="write more of it"
            )
        raise RevisionNotFoundError(
            f"there is no revision {name!r} in {self.folder}",
            hint=nearest(name, self._by_id) if self._by_id else "make one with `dbp make_migrations`",
        )

    def check_known(self, heads: Iterable[str]) -> None:
        """Raise RevisionNotFoundError for a revision that the database is at and the folder has not."""
        unknown = [each for each in heads if each not in self._by_id]
        if unknown:
            raise RevisionNotFoundError(
                f"the database is at {', '.join(unknown)}, which is not in {self.folder.versions}",
                hint="bring the file here from where it was made; if it is lost, say where the database is with "
                "`dbp stamp REVISION`",
            )

    def before(self, heads: Iterable[str]) -> set[str]:
        """These revisions and all that they follow."""
        found: set[str] = set()
        queue = [each for each in heads if each in self._by_id]
        while queue:
            name = queue.pop()
            if name not in found:
                found.add(name)
                queue += self._under[name]
        return found

    # -- plans -----------------------------------------------------------------------------------------------------

    def upgrade(self, heads: Sequence[str], target: str) -> list[Step]:
        """The steps from these heads up to ``"head"``, ``"heads"``, ``"+2"`` or a revision."""
        self.check_known(heads)
        if target == "head":
            self.head()
        if self._script is None:
            return []
        if not _RELATIVE.fullmatch(target) and target not in ("head", "heads"):
            target = self.find(target)
        return self._steps(heads, target, is_upgrade=True)

    def downgrade(self, heads: Sequence[str], target: str) -> list[Step]:
        """The steps from these heads down to ``"base"``, ``"-1"`` or a revision."""
        self.check_known(heads)
        if not _RELATIVE.fullmatch(target) and target != "base":
            target = self.find(target)
        if self._script is None or not heads:
            return []
        if _RELATIVE.fullmatch(target):
            if len(heads) > 1:
                raise MultipleHeadsError(
                    f"the database is at {' and '.join(map(self.named, heads))}, so {target} may mean either",
                    hint="name the revision to go back to",
                )
            if target == "-1":  # a merge too: Alembic calls the way below it ambiguous
                return [self.step(heads[0], is_upgrade=False, heads=heads)]
            done = len(self.before(heads))
            target = "base" if -int(target) >= done else target
        return self._steps(heads, target, is_upgrade=False)

    def towards(self, heads: Sequence[str], target: str) -> list[Step]:
        """Up or down, whichever leads there."""
        is_relative = _RELATIVE.fullmatch(target) is not None
        if target == "base" or (is_relative and target.startswith("-")):
            return self.downgrade(heads, target)
        if is_relative or target in ("head", "heads"):
            return self.upgrade(heads, target)
        target = self.find(target)
        self.check_known(heads)
        if target in heads and len(heads) == 1:
            return []
        is_behind = target in self.before(heads)
        return self.downgrade(heads, target) if is_behind else self.upgrade(heads, target)

    def step(self, revision: str, *, is_upgrade: bool, heads: Sequence[str]) -> Step:
        """The one step that does or undoes this revision, on a database at these heads."""
        script = self._by_id[self.find(revision)]
        done = self.before(heads)
        is_next = script.revision not in done and done.issuperset(self._under[script.revision])
        if not (is_next if is_upgrade else script.revision in heads):
            raise RevisionNotFoundError(
                f"{self.named(script.revision)} is no step from {', '.join(heads) or 'base'}",
                hint="`dbp history` shows the revisions",
            )
        assert self._script is not None
        with _functions():
            planned = _alembic_step(self._script, script, is_upgrade=is_upgrade)
        return self._chained(heads, [planned], is_upgrade=is_upgrade)[0]

    def _steps(self, heads: Sequence[str], target: str, *, is_upgrade: bool) -> list[Step]:
        assert self._script is not None
        try:
            with _functions():
                planned = _alembic_steps(self._script, tuple(heads), target, is_upgrade=is_upgrade)
        except (alembic_util.CommandError, graph.RevisionError) as error:
            raise MigrationError(
                f"there is no way from {', '.join(heads) or 'base'} to {target}: {error}",
                hint="`dbp history` shows the revisions",
            ) from error
        return self._chained(heads, planned, is_upgrade=is_upgrade)

    def _chained(self, heads: Sequence[str], planned: Sequence[Any], *, is_upgrade: bool) -> list[Step]:
        """Alembic's steps as ours, each with the heads before and after it."""
        steps, at = [], set(heads)
        for each in planned:
            script = self._by_id[each.revision.revision]
            before = tuple(sorted(at))
            at = self._after(at, script, is_upgrade=is_upgrade)
            steps.append(
                Step(
                    revision=script.revision,
                    message=message_of(script),
                    path=Path(script.path),
                    is_upgrade=is_upgrade,
                    before=before,
                    after=tuple(sorted(at)),
                    run=self._function(script, "upgrade" if is_upgrade else "downgrade"),
                    alembic=each,
                )
            )
        return steps

    def _function(self, script: Script, name: str) -> Callable[[], Any]:
        found: Any = getattr(script.module, name, None)
        if not callable(found):
            raise _no_function(script.path, name)
        return cast("Callable[[], Any]", found)

    def _after(self, heads: set[str], script: Script, *, is_upgrade: bool) -> set[str]:
        """As Alembic records it: what a head needs is implied, and not a head itself."""
        if is_upgrade:
            return (heads - self.before(self._under[script.revision])) | {script.revision}
        left = heads - {script.revision}
        under = {each for each in self._under[script.revision] if each not in self.before(left)}
        return left | {each for each in under if not any(each in self.before({it}) for it in under - {each})}


@contextmanager
def _functions() -> Iterator[None]:
    """Alembic asks a module for its functions with no more than an AttributeError."""
    try:
        yield
    except AttributeError as error:
        if error.name not in ("upgrade", "downgrade"):
            raise
        raise _no_function(getattr(error.obj, "__file__", "a revision"), error.name) from error


def _no_function(path: object, name: str) -> MigrationError:
    return MigrationError(
        f"{path} has no function {name}()", hint=f"write def {name}() -> None, if only with pass"
    )


def _no_revision(path: Path) -> MigrationError:
    return MigrationError(f"{path} has no revision: it must be a text", hint="mend or remove that file")


def _fault_of(path: Path) -> MigrationError | None:
    """What is wrong with a file that Alembic does not name."""
    try:
        body = ast.parse(path.read_bytes(), str(path)).body
    except (SyntaxError, ValueError) as error:
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        return MigrationError(
            f"a revision cannot be read: {path}: {type(error).__name__}: {said}",
            hint="mend or remove that file",
        )
    for each in body:
        if isinstance(each, ast.Assign) and [ast.unparse(it) for it in each.targets] == ["revision"]:
            is_text = (
                isinstance(each.value, ast.Constant)
                and isinstance(each.value.value, str)
                and each.value.value
            )
            if not is_text:
                return _no_revision(path)
    return None


def _alembic_step(script: ScriptDirectory, of: Script, *, is_upgrade: bool) -> Any:
    """Alembic's step of one revision."""
    make = MigrationStep.upgrade_from_script if is_upgrade else MigrationStep.downgrade_from_script
    return make(script.revision_map, of)


def _alembic_steps(
    script: ScriptDirectory, heads: tuple[str, ...], target: str, *, is_upgrade: bool
) -> list[Any]:
    """Alembic's own steps: the one place that uses its step planning, which has no public name."""
    plan = script._upgrade_revs if is_upgrade else script._downgrade_revs
    return list(plan(target, heads))  # type: ignore[arg-type]


def follows(script: Script) -> tuple[str, ...]:
    """The revisions that this one follows."""
    under = script.down_revision
    return () if under is None else (under,) if isinstance(under, str) else tuple(under)


def message_of(script: Script) -> str:
    """The first line of the docstring, without what would move a terminal's cursor."""
    first = next(iter((script.module.__doc__ or "").strip().splitlines()), "")
    return "".join(each for each in first if each.isprintable()).strip()
