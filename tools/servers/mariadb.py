"""MariaDB from the system's packages (Debian: `mariadb-server-core`), in a folder and on a port of its own.

No service is touched and no option file is read. A server keeps its own defaults on purpose, such as the
character set latin1 and `innodb_snapshot_isolation=OFF`: these are what a user's server has.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

from servers.base import Server

__all__ = ["MariaDB"]

_LOGIN = """\
CREATE USER IF NOT EXISTS '{user}'@'{host}' IDENTIFIED BY '{password}';
GRANT ALL ON *.* TO '{user}'@'{host}' WITH GRANT OPTION;
"""
_NEEDED = ("mariadbd", "mariadb-install-db", "my_print_defaults")


class MariaDB(Server):
    """A MariaDB server; the user may do everything, databases are made with utf8mb4."""

    kind = "mariadb"
    label = "MariaDB"
    environment_name = "DBP_TEST_MYSQL_URL"
    engine = "mariadb"
    user = "dbp"
    password = "s3cr3t@:/p%"

    _default_port = 3306
    _ready_line = b"ready for connections."

    @classmethod
    def missing(cls) -> str | None:
        absent = [name for name in _NEEDED if _which(name) is None]
        if absent:
            return (
                f"no {' and no '.join(absent)} (Debian: apt install mariadb-server-core mariadb-client-core)"
            )
        return None

    def entry(self, database: str) -> dict[str, Any]:
        """Our own speaks no TLS, and to look for that costs PyMySQL 47 ms for each connection."""
        entry = super().entry(database)
        return {**entry, "TLS": "off"} if self._is_of_tests else entry

    @property
    def _is_of_tests(self) -> bool:
        """Was it started for the tests, here or by the controller that told us its URL?"""
        return self.is_ours or not os.environ.get(self.environment_name)

    def drop_database(self, name: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS `{name}`")

    def _create_database(self, name: str) -> None:
        self._execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")

    def _execute(self, statement: str) -> None:
        import pymysql

        connection = pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            connect_timeout=10,
            ssl_disabled=self._is_of_tests,
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)

    def _prepare(self) -> None:
        data = self.home / "data"
        if (data / "mysql").is_dir():
            return
        shutil.rmtree(data, ignore_errors=True)
        # Read at each start, as the bootstrap server of mariadb-install-db refuses to make users. Not in
        # `data`, where every folder is a database.
        login = self.home / "login.sql"
        login.touch(mode=0o600)
        login.write_text(_LOGIN.format(user=self.user, password=self.password, host=self.host))
        # No --user here, not even as root: it would change the owner of a folder of the system's own MariaDB.
        # `socket` lets nobody log in as root over TCP; a smaller redo log than 96 MB is quicker.
        self._run(
            [
                *(str(_which("mariadb-install-db")), "--no-defaults", f"--datadir={data}"),
                *("--auth-root-authentication-method=socket", "--skip-test-db", "--skip-name-resolve"),
                "--innodb-log-file-size=16M",
            ]
        )

    def _command(self) -> list[str]:
        return [
            *(str(_which("mariadbd")), "--no-defaults", f"--datadir={self.home / 'data'}", *_as_root()),
            *(f"--bind-address={self.host}", f"--port={self.port}", "--skip-name-resolve"),
            # Relative to the data folder, for the path of a socket may be 107 bytes long at most.
            *("--socket=socket", "--pid-file=pid", f"--init-file={self.home / 'login.sql'}"),
            *("--max-connections=100", "--performance-schema=OFF", "--innodb-log-file-size=16M"),
            *("--innodb-buffer-pool-size=64M", "--innodb-fast-shutdown=2"),
            # 2: each commit reaches the system, so it survives kill -9; 1: it reaches the disk.
            f"--innodb-flush-log-at-trx-commit={1 if self.durable else 2}",
        ]


def _as_root() -> list[str]:
    """MariaDB runs as root only when told so; for a folder that is thrown away that is the least trouble."""
    return ["--user=root"] if sys.platform != "win32" and os.geteuid() == 0 else []


def _which(name: str) -> str | None:
    """A program in PATH or where an ordinary user's PATH does not look."""
    places = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/usr/libexec"]
    return shutil.which(name, path=os.pathsep.join(places))
