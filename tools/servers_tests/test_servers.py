"""The servers themselves: that they start, keep their data, survive kill -9, and die with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from servers import KINDS, MariaDB, MongoDB, PostgreSQL, Server, ServerError
from servers.__main__ import main
from servers.pytest_plugin import OwnServer, SharedServer

pytest_plugins = ["pytester"]

ALL = pytest.mark.parametrize("kind", sorted(KINDS))
TOOLS = Path(__file__).parents[1]


def write(server: Server, database: str, value: int) -> None:
    """Store one number, by the raw driver."""
    _drive(server, database, value)


def read(server: Server, database: str) -> list[int]:
    """All numbers stored."""
    return _drive(server, database, None)


def _drive(server: Server, database: str, value: int | None) -> list[int]:
    if server.kind == "mongodb":
        import pymongo

        with pymongo.MongoClient[dict[str, Any]](
            server.url_of(database), serverSelectionTimeoutMS=10_000
        ) as client:
            numbers = client[database].numbers
            if value is not None:
                numbers.insert_one({"n": value})
            return sorted(row["n"] for row in numbers.find())
    connection = _connect(server, database)
    try:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE IF NOT EXISTS numbers (n int)")
        if value is not None:
            cursor.execute("INSERT INTO numbers VALUES (%s)", (value,))
        connection.commit()
        cursor.execute("SELECT n FROM numbers ORDER BY n")
        return [row[0] for row in cursor.fetchall()]
    finally:
        connection.close()


def _connect(server: Server, database: str) -> Any:
    entry = server.entry(database)
    login = {
        "host": entry["HOST"],
        "port": entry["PORT"],
        "user": entry["USER"],
        "password": entry["PASSWORD"],
    }
    if server.kind == "mariadb":
        import pymysql

        return pymysql.connect(**login, database=database)
    import psycopg

    return psycopg.connect(**login, dbname=database)


@ALL
def test_shared_server_gives_databases_that_do_not_see_each_other(
    shared_server: SharedServer, kind: str
) -> None:
    server = shared_server(kind)
    (one, _), (other, _) = server.new_database(), server.new_database()
    write(server, one, 1)
    write(server, other, 2)
    assert (read(server, one), read(server, other)) == ([1], [2])
    server.drop_database(one)
    server.drop_database(one)
    server.drop_database(other)


@ALL
def test_own_server_keeps_its_port_and_data_over_restart_and_kill(own_server: OwnServer, kind: str) -> None:
    server = own_server(kind, durable=True)
    name, url = server.new_database()
    write(server, name, 1)
    server.restart()
    write(server, name, 2)
    server.kill()
    assert not server.is_running
    server.start()
    assert read(server, name) == [1, 2]
    assert server.url_of(name) == url
    server.stop()
    with pytest.raises(ServerError, match="not running"):
        server.kill()
    with pytest.raises(ServerError, match="not running"):
        _ = server.pid


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_login_needs_the_password(own_server: OwnServer, kind: str) -> None:
    server = own_server(kind)
    server.password = "wrong"
    with pytest.raises(Exception, match=r"(?i)password"):
        _connect(server, "")


@ALL
def test_server_dies_with_a_parent_that_is_killed(tmp_path: Path, own_server: OwnServer, kind: str) -> None:
    own_server(kind).close()  # skips or fails here, by name, where it cannot run
    code = f"import time, servers; s = servers.KINDS[{kind!r}]({str(tmp_path / 'x')!r}, private=True).start()"
    parent = subprocess.Popen(
        [sys.executable, "-c", f"{code}; print(s.pid, flush=True); time.sleep(60)"],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(TOOLS)},
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while _is_alive(pid):
        assert time.monotonic() < deadline, "the server outlived its parent"
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # dead, but nobody has asked yet


def test_url_from_the_environment_takes_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "DBP_TEST_POSTGRESQL_URL", f"postgresql://u:{quote('p@/', safe='')}@db.example:5433/main"
    )
    server = PostgreSQL(tmp_path).start()
    assert server.url_of("a b") == "postgresql://u:p%40%2F@db.example:5433/a%20b"
    assert server.entry("x") == {
        "ENGINE": "postgresql",
        "HOST": "db.example",
        "PORT": 5433,
        "USER": "u",
        "PASSWORD": "p@/",
        "DB_NAME": "x",
    }
    with pytest.raises(ServerError, match="private"):
        server.kill()
    assert PostgreSQL(tmp_path, private=True).is_ours


def test_url_with_options_or_hosts_becomes_an_entry_with_a_url(tmp_path: Path) -> None:
    server = MongoDB(tmp_path, url="mongodb://u:p@a:1,b:2/?replicaSet=r")
    assert server.entry("x") == {"URL": "mongodb://u:p@a:1,b:2/x?replicaSet=r&authSource=admin"}


def test_own_url_quotes_the_password(tmp_path: Path) -> None:
    server = MariaDB(tmp_path, private=True)
    assert server.url_of("x") == "mariadb://dbp:s3cr3t%40%3A%2Fp%25@127.0.0.1:0/x"


def test_command_beside_a_server_finds_its_url(own_server: OwnServer) -> None:
    own_server("mongodb").close()
    code = "import os; raise SystemExit(7 * os.environ['DBP_MONGODB_URL'].startswith('mongodb://127.0.0.1:'))"
    assert main(["mongodb", "--", sys.executable, "-c", code]) == 7


@pytest.mark.parametrize("arguments", [[], ["mongodb"], ["mongodb", "--"], ["oracle", "--", "true"]])
def test_wrong_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize(("environment", "verdict"), [({}, "skipped"), ({"CI": "true"}, "failed")])
def test_missing_server_skips_here_and_fails_in_ci(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], verdict: str
) -> None:
    for name in ("CI", "DBP_REQUIRE_SERVERS", "DBP_TEST_MYSQL_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(MariaDB, "missing", classmethod(lambda cls: "not here"))
    pytester.makepyfile("def test_it(own_server): own_server('mariadb')")
    result = pytester.runpytest_inprocess(
        "-p", "servers.pytest_plugin", "-p", "no:randomly", "-p", "no:xdist"
    )
    result.assert_outcomes(**{verdict: 1})
    result.stdout.fnmatch_lines(["server *: MariaDB: not here"])
