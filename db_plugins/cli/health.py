"""``dbp health``: can each database be reached, and has it the models?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from .group import Command
from .run import Entry, Facts, Run

if TYPE_CHECKING:
    from ..database import Database

__all__ = ["command"]


@click.command("health", cls=Command)
@click.pass_obj
def command(run: Run) -> None:
    """Reach each database and look for the models.

    Shows latency, version, models that are there and missing, the connection pool and the applied revision. Changes
    nothing. Fails if a database cannot be reached or lacks models.
    """
    run.each_entry(_ping, _show)


def _ping(entry: Entry, db: Database) -> Facts:
    health = db.ping()
    facts: Facts = {
        "ok": health.ok,
        "latency_ms": round(health.latency * 1000, 2),
        "version": health.version,
        "models": list(health.models),
        "missing": list(health.missing),
        "pool": dict(health.pool) if health.pool is not None else None,
        "revision": health.revision,
    }
    if not health.ok:
        # Beside models, `missing` lists capabilities with a reason: those are no fault.
        models = [name for name in health.missing if name.isidentifier()]
        facts["error"] = f"missing models: {', '.join(models)}"
        facts["hint"] = "run `dbp initdb`"
    return facts


def _show(facts: Facts) -> str:
    rows = {
        "engine": f"{facts['engine']} {facts['version']}",
        "address": facts["address"],
        "latency": f"{facts['latency_ms']} ms",
        "models": _listed(facts["models"]),
        "missing": _listed(facts["missing"]),
        "pool": _counted(facts["pool"]),
        "revision": facts["revision"] or "none",
    }
    return "\n".join(
        [
            f"{facts['name']}: {'ok' if facts['ok'] else 'bad'}",
            *(f"  {name:<9} {value}" for name, value in rows.items()),
        ]
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _counted(pool: Mapping[str, int] | None) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in (pool or {}).items()) or "none"
