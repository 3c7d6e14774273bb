"""The command line ``dbp``: one short file per command, loaded when it is run.

    app.py        the options of dbp itself, and main: every error becomes one line, a hint and an exit code
    group.py      the table of commands; those of other distributions (entry points ``db_plugins.commands``)
    run.py        Run: what the options say, the entries they choose, what is printed
    failures.py   an exception as fact, hint and problems, without secrets
    migrating.py  what the commands of migrations share
    init.py initdb.py make_migrations.py migrate.py …   the commands

A command calls the library and prints. ``dbp --help`` imports no engine, no driver and no SQLAlchemy.
"""

from .app import main
from .group import Command
from .run import Entry, Run

__all__ = ["Command", "Entry", "Run", "main"]
