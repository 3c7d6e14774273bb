"""A Picture in graphviz's language, and as SVG: a table for each entity, lines with crow's feet, a frame around the
entities that only some entries have.
"""

from __future__ import annotations

import html
import subprocess
from collections.abc import Iterator

from ..errors import UnsupportedOperationError
from .picture import Attribute, End, Entity, Picture, Relation

__all__ = ["dot", "svg"]

#: From the entity outwards: how many at most, how many at least.
ARROWS = {End.ONE: "teetee", End.MAYBE: "teeodot", End.MANY: "crowodot"}
#: A minute is plenty for thousands of models.
SECONDS = 60

HEAD = """digraph models {
  graph [rankdir=LR, nodesep=0.6, ranksep=1.2, fontname="Helvetica"];
  node [shape=plain, fontname="Helvetica", fontsize=11];
  edge [dir=both, arrowsize=0.9, fontname="Helvetica", fontsize=10];"""


def dot(picture: Picture) -> str:
    """The graph as text, for any of graphviz's programs. The same picture gives the same text."""
    ids = {entity.name: f"e{number}" for number, entity in enumerate(picture.entities, 1)}
    lines = [HEAD]
    groups = dict.fromkeys(entity.entries for entity in picture.entities)
    for number, entries in enumerate(groups, 1):
        nodes = [_node(ids[each.name], each) for each in picture.entities if each.entries == entries]
        lines += _group(number, entries, nodes) if len(groups) > 1 else nodes
    lines += [
        f"  {ids[entity.name]} -> {ids[entity.parent]} [arrowtail=none, arrowhead=empty, label=<is a>];"
        for entity in picture.entities
        if entity.parent is not None
    ]
    lines += [_edge(ids, relation) for relation in picture.relations]
    return "\n".join([*lines, "}", ""])


def svg(picture: Picture) -> str:
    """The picture drawn by graphviz's program ``dot``. Raises UnsupportedOperationError where there is none."""
    try:
        done = subprocess.run(
            ["dot", "-Tsvg"], input=dot(picture), capture_output=True, encoding="utf-8", timeout=SECONDS
        )
    except FileNotFoundError as error:
        raise UnsupportedOperationError(
            "SVG is drawn by graphviz, whose program `dot` is not here",
            hint="install graphviz (apt install graphviz, brew install graphviz), or write Mermaid: a file that ends in .mmd or .md",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise UnsupportedOperationError(
            f"graphviz's program `dot` did not end within {SECONDS} s",
            hint="name fewer models, or write Mermaid",
        ) from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UnsupportedOperationError(
            f"graphviz's program `dot` failed: {said[-1]}",
            hint="write Mermaid: a file that ends in .mmd or .md",
        )
    return done.stdout


def _group(number: int, entries: tuple[str, ...], nodes: list[str]) -> Iterator[str]:
    yield f"  subgraph cluster_{number} {{"
    label = _text(", ".join(entries))
    yield f'    label=<{label}>; style="rounded,dashed"; color="#888888"; margin=16;'
    yield from (f"  {node}" for node in nodes)
    yield "  }"


def _node(id_: str, entity: Entity) -> str:
    rows = "".join(map(_row, entity.attributes))
    head = f'<TR><TD COLSPAN="4" BGCOLOR="#e8eef7"><B>{_text(entity.name)}</B></TD></TR>'
    return f'  {id_} [label=<<TABLE BORDER="0" CELLBORDER="1" CELLSPACING="0" CELLPADDING="4">{head}{rows}</TABLE>>];'


def _row(each: Attribute) -> str:
    cells = (each.type, each.name, ", ".join(each.keys), each.remarks)
    return "".join(["<TR>", *(f'<TD ALIGN="LEFT">{_text(cell)}</TD>' for cell in cells), "</TR>"])


def _edge(ids: dict[str, str], relation: Relation) -> str:
    ends = f"{ids[relation.left]} -> {ids[relation.right]}"
    arrows = f"arrowtail={ARROWS[relation.left_end]}, arrowhead={ARROWS[relation.right_end]}"
    return f"  {ends} [{arrows}, label=<{_text(relation.label)}>];"


def _text(text: str) -> str:
    """For an HTML-like label: escaped, and without the control characters that XML knows no form of."""
    shown = "".join(each if each.isprintable() else " " for each in text)
    return html.escape(shown, quote=True) or " "
