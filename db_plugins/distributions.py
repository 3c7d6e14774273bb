"""Which distribution brings an engine that is not installed: the line to type, for the message that says so.

    pip_line("postgresql")   'pip install "db-plugins-sql[postgresql]"'
    pip_line("oracle")       None: none of ours has a plugin of this name

Only names and no code: a plugin is found by its entry points, these two like any other. A test compares the names with
the entry points of the wheels.
"""

from __future__ import annotations

__all__ = ["PIP_LINES", "pip_line"]

_POSTGRESQL = 'pip install "db-plugins-sql[postgresql]"'
_MYSQL = 'pip install "db-plugins-sql[mysql]"'
_MONGO = "pip install db-plugins-mongo"

#: With the driver, where an engine needs one beside the plugin.
PIP_LINES = {
    "sql": "pip install db-plugins-sql",
    "sqlite": "pip install db-plugins-sql",
    "postgresql": _POSTGRESQL,
    "postgres": _POSTGRESQL,
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "mongo": _MONGO,
    "mongodb": _MONGO,
    "mongomock": 'pip install "db-plugins-mongo[mock]"',
}


def pip_line(name: str) -> str | None:
    """What installs the plugin that answers to this name, if it is one of ours; whatever the name's case."""
    return PIP_LINES.get(name.casefold())
