"""``dbp plugins``: the names that installed plugins answer to, from their metadata alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

from ..errors import PluginError
from ..registry import PluginEntry, load_engine
from ..registry import plugins as installed
from .failures import failure_of
from .group import Command
from .run import Run

__all__ = ["command"]

Row = dict[str, Any]


@click.command("plugins", cls=Command)
@click.option(
    "--load",
    is_flag=True,
    help="Import each one; show what it can do, whether it can be awaited, or why it cannot be loaded.",
)
@click.pass_obj
def command(run: Run, load: bool) -> None:
    """List the installed engine plugins.

    One line for each name that ENGINE, PLUGIN or a URL's scheme may use, read from metadata without importing
    anything. A name that two plugins answer to is marked: it can be used when one of them is uninstalled.
    """
    entries = installed()
    rows = [_row(entry, entries) for entry in entries]
    if load:
        for row in rows:
            row.update(_loaded(row["name"]))
        run.failed = any("error" in row for row in rows)
        if run.failed:
            bad = [row["name"] for row in rows if "error" in row]
            run.document["error"] = f"cannot be loaded: {', '.join(dict.fromkeys(bad))}"
    run.document["plugins"] = rows
    for line in _table(
        rows, ["name", "module", "distribution", "version", *(["async", "capabilities"] if load else [])]
    ):
        run.say(line)


def _row(entry: PluginEntry, entries: Sequence[PluginEntry]) -> Row:
    rivals = {
        (each.owner, each.module)
        for each in entries
        if each.name.casefold() == entry.name.casefold() and each != entry
    }
    return {
        "name": entry.name,
        "module": entry.module,
        "distribution": entry.distribution,
        "version": entry.version,
        "conflicts_with": sorted(f"{owner} ({module})" for owner, module in rivals),
    }


def _loaded(name: str) -> Row:
    """Its capabilities, as the engine of that name has them, and how ``connect_async`` uses it; or the error."""
    from ..engine import SupportsAsync

    try:
        plugin = load_engine(name)
        engine = plugin.choose(plugin.settings_class(name=name, plugin=name, engine=name.lower()))
    except PluginError as error:
        failure = failure_of(error)
        return {"error": failure.fact, "hint": failure.hint}
    except Exception as error:
        return {"error": failure_of(error).fact, "hint": None}
    way = "awaited" if issubclass(engine, SupportsAsync) else "worker threads"
    return {"async": way, "capabilities": sorted(engine.capabilities)}


def _table(rows: Sequence[Row], columns: Sequence[str]) -> Iterable[str]:
    """Aligned lines, each followed by what is wrong with it."""
    if not rows:
        yield "no engine plugin is installed"
        return
    cells = [[_cell(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(map(len, each)) for each in zip(columns, *cells, strict=True)]
    for row, line in zip(({}, *rows), (columns, *cells), strict=True):
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        if row.get("conflicts_with"):
            yield f"  CONFLICT: {', '.join(row['conflicts_with'])} answers to {row['name']!r} too"
        if "error" in row:
            yield f"  BROKEN: {row['error']}"


def _cell(value: Any) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)
