"""``dbp migrate``: apply revisions, or undo them, under a lock."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from .migrating import RevisionCommand, each_with_migrations, lock_option, named, reporting, step_facts
from .run import Entry, Facts, Run

if TYPE_CHECKING:
    from ..database import Database
    from ..migrations import Run as Done
    from ..migrations.seam import Settling

__all__ = ["applied", "command", "show"]


@click.command("migrate", cls=RevisionCommand)
@click.argument("revision", default="head")
@click.option("--plan", is_flag=True, help="Only say what would be done.")
@click.option("--sql", is_flag=True, help="Only print the statements.")
@click.option("--allow-drop", is_flag=True, help="Drop columns and tables though they hold values.")
@lock_option
@click.option("--resume", is_flag=True, help="Run an interrupted step again, and go on.")
@click.option("--mark-done", is_flag=True, help="Take it as done, and go on.")
@click.pass_obj
def command(
    run: Run,
    revision: str,
    plan: bool,
    sql: bool,
    allow_drop: bool,
    lock_timeout: float,
    resume: bool,
    mark_done: bool,
) -> None:
    """Apply revisions: to head, or up or down to one.

    REVISION is an id or the beginning of one, `head`, `base`, `+1` or `-1`. Without --database it goes to the entry that
    has it. All or nothing where the engine can; elsewhere a journal lets the next run go on. The first entry that fails
    ends the run.
    """
    chosen = {"--plan": plan, "--sql": sql, "--resume": resume, "--mark-done": mark_done}
    given = [name for name, is_given in chosen.items() if is_given]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} exclude each other")
    settling: Settling | None = "resume" if resume else "mark-done" if mark_done else None

    def act(entry: Entry, db: Database) -> Facts:
        from ..migrations import migrate

        if sql:
            return _statements(db, revision)
        if plan:
            return _plan(db, revision)
        work = partial(
            migrate, db, revision, allow_drop=allow_drop, lock_timeout=lock_timeout, settling=settling
        )
        return applied(run, entry, work)

    each_with_migrations(run, act, _show_sql if sql else show, revision=revision, stops=True)


def applied(run: Run, entry: Entry, work: Callable[..., Done]) -> Facts:
    """``migrate`` or ``downgrade`` of one entry, with progress shown."""
    from ..migrations import Run as Started

    done = Started()
    with reporting(run, entry, done) as progress:
        work(on_step=progress.step, on_wait=progress.waiting, run=done)
    return {"applied": [step_facts(each) for each in done.done]}


def _plan(db: Database, revision: str) -> Facts:
    from ..migrations import migrate

    return {"planned": [step_facts(each) for each in migrate(db, revision, plan=True).planned]}


def _statements(db: Database, revision: str) -> Facts:
    from ..migrations import sql

    return {"sql": sql(db, revision)}


def _show_sql(facts: Facts) -> str:
    return f"-- {named(facts)}\n{facts['sql'] or '-- nothing to do'}"


def show(facts: Facts) -> str:
    """What was done, or would be."""
    planned = "planned" in facts
    steps = facts.get("planned" if planned else "applied", [])
    if not steps:
        return f"{named(facts)}: nothing to do"
    words = {
        ("upgrade", False): "applied",
        ("downgrade", False): "undid",
        ("upgrade", True): "would apply",
        ("downgrade", True): "would undo",
    }
    lines = [f"  {words[each['direction'], planned]} {_name(each)}" for each in steps]
    return "\n".join([f"{named(facts)}:", *lines])


def _name(step: Facts) -> str:
    return f"{step['revision']} ({step['message']})" if step["message"] else str(step["revision"])
