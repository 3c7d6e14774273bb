"""Writes the help of ``dbp`` and of each command into ``docs/cli.md``; ``--check`` only says whether it is current.

    python docs/generate_cli.py

The parts between ``<!-- dbp … --help -->`` and ``<!-- end -->`` are generated, everything else is written by hand.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from unittest import mock

from db_plugins.cli.app import dbp
from db_plugins.cli.group import COMMANDS

FILE = Path(__file__).with_name("cli.md")
PART = re.compile(r"<!-- (?P<line>dbp(?: (?P<command>\w+))? --help) -->\n.*?<!-- end -->", re.DOTALL)


def help_of(command: str | None) -> str:
    """What ``dbp COMMAND --help`` prints in 80 columns, without the commands of other distributions."""
    with mock.patch("db_plugins.cli.group.find_commands", dict):
        context = dbp.make_context("dbp", [], resilient_parsing=True, terminal_width=80)
        if command is not None:
            shown = dbp.get_command(context, command)
            if shown is None:
                raise SystemExit(f"docs/cli.md shows a command that is not there: {command}")
            context = shown.make_context(
                command, [], parent=context, resilient_parsing=True, terminal_width=80
            )
        return "\n".join(line.rstrip() for line in context.get_help().splitlines())


def generate(text: str) -> str:
    """The page with every generated part made anew. Raises SystemExit if a command has no part."""
    shown = {match["command"] for match in PART.finditer(text)}
    missing = {None, *COMMANDS} - shown
    if missing:
        raise SystemExit(f"docs/cli.md has no part for {', '.join(str(each) for each in missing)}")
    return PART.sub(
        lambda part: f"<!-- {part['line']} -->\n```text\n{help_of(part['command'])}\n```\n<!-- end -->", text
    )


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    old = FILE.read_text(encoding="utf-8")
    new = generate(old)
    if "--check" in arguments:
        if new != old:
            print("docs/cli.md is not current; run: python docs/generate_cli.py", file=sys.stderr)
        return int(new != old)
    FILE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
