"""``dbp diagram``: a picture of the models, as Mermaid, in a Markdown page, as SVG or for graphviz. Asks no database."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ConfigError, UnsupportedOperationError
from .group import Command, Usage
from .run import Run

if TYPE_CHECKING:
    from ..diagram import Picture

__all__ = ["command"]

#: Format -> the endings of files that are written so.
FORMATS = {
    "mermaid": (".mmd", ".mermaid"),
    "markdown": (".md", ".markdown"),
    "svg": (".svg",),
    "dot": (".dot", ".gv"),
}
BLOCK = re.compile(r"^```mermaid\nerDiagram\n.*?^```$", re.MULTILINE | re.DOTALL)


@click.command("diagram", cls=Command)
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "-o",
    "--output",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it to this file, which is overwritten; its ending says the format.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(FORMATS)),
    help="Whatever the ending says. [default: mermaid]",
)
@click.pass_context
def command(ctx: click.Context, models: tuple[str, ...], file: Path | None, format_: str | None) -> None:
    """Draw the models, as Mermaid or SVG.

    What they hold, and how they refer to each other: of all entries in one picture, or of these MODELs alone. Mermaid
    goes to standard output, which code hosts draw in Markdown; FILE may end in .mmd, .md, .svg (with graphviz) or
    .dot. An .md file that is there keeps its text: the diagram in it is exchanged. Reaches no database, and no
    plugin need be installed.
    """
    run = ctx.ensure_object(Run)
    if file is not None and format_ is None:
        format_ = _format_of(file, ctx)
    picture = _picture(run, models)
    run.document.update(picture.as_dict())
    if file is None:
        run.say(_write(picture, format_ or "mermaid").rstrip("\n"))
        return
    text = _write(picture, format_ or "mermaid")
    if format_ == "markdown" and file.exists():
        text = _exchanged(file, text)
    file.write_text(text, encoding="utf-8")
    run.document["file"] = str(file)
    run.say(f"wrote {file} ({len(picture.entities)} models, {len(picture.relations)} relations)")


def _format_of(file: Path, ctx: click.Context) -> str:
    for name, endings in FORMATS.items():
        if file.suffix.lower() in endings:
            return name
    known = ", ".join(ending for endings in FORMATS.values() for ending in endings)
    raise Usage(
        f"no format has the ending of {file.name!r}", ctx, f"end it in one of {known}, or give --format"
    )


def _picture(run: Run, only: tuple[str, ...]) -> Picture:
    models = {entry.name: entry.models_alone for entry in run.entries}
    if not any(models.values()):
        raise ConfigError(
            "no models are known",
            hint='name them in the settings, as MODELS = ["app.models"], or write a models.py here',
        )
    from ..diagram import read

    return read(models, only)


def _write(picture: Picture, format_: str) -> str:
    from .. import diagram

    if format_ == "svg":
        return diagram.svg(picture)
    if format_ == "dot":
        return diagram.dot(picture)
    text = diagram.mermaid(picture)
    return f"```mermaid\n{text}```\n" if format_ == "markdown" else text


def _exchanged(file: Path, block: str) -> str:
    """The page with this diagram in the place of the one it has."""
    page = file.read_text(encoding="utf-8")
    found = BLOCK.findall(page)
    if len(found) != 1:
        raise UnsupportedOperationError(
            f"{file} is there, and {'has no diagram' if not found else f'has {len(found)} diagrams'}",
            hint="it must have one block ```mermaid that begins with erDiagram, which is exchanged; or write to another file",
        )
    return page.replace(found[0], block.rstrip("\n"))
