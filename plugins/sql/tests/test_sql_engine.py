"""What the SQL engines decide without a server: addresses, drivers, statements, the meaning of codes."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import sqlalchemy as sa
from shop import Item, Shop
from sqlalchemy import exc as sa_exc

import db_plugins
from db_plugins import errors
from db_plugins.models import describe
from db_plugins_sql.errors import MARIADB_CODES, POSTGRESQL_CODES, SQLITE_CODES, Context, attributes_of, note
from db_plugins_sql.migrations.ddl import teach_ddl
from db_plugins_sql.storage import copied_tables

PARTS = {"HOST": "h", "USER": "u", "PASSWORD": "s3cr3t@:/p%", "DB_NAME": "d", "TLS": "off"}

ADDRESSES: list[tuple[Any, str]] = [
    ({"ENGINE": "postgresql", **PARTS}, "postgresql+psycopg://u:***@h/d"),
    ({"ENGINE": "postgres", "PORT": "5433", **PARTS}, "postgresql+psycopg://u:***@h:5433/d"),
    ({"ENGINE": "postgresql+pg8000", **PARTS}, "postgresql+pg8000://u:***@h/d"),
    ({"ENGINE": "mariadb", **PARTS}, "mariadb+pymysql://u:***@h/d"),
    ({"ENGINE": "mysql", **PARTS}, "mysql+pymysql://u:***@h/d"),
    ("postgres://u:p@h/d", "postgresql+psycopg://u:***@h/d"),
    ("postgresql+asyncpg://u@h/d", "postgresql+psycopg://u@h/d"),
    ("sqlite+aiosqlite:///x.db", "sqlite+pysqlite:///x.db"),
    ({"ENGINE": "postgresql", **PARTS, "HOST": "/run/pg"}, "postgresql+psycopg://u:***@/d?host=%2Frun%2Fpg"),
    (
        {"ENGINE": "mariadb", **PARTS, "HOST": "/run/my"},
        "mariadb+pymysql://u:***@/d?unix_socket=%2Frun%2Fmy%2Fmysqld.sock",
    ),
]


@pytest.mark.parametrize(("entry", "address"), ADDRESSES)
def test_an_entry_becomes_an_address_with_the_driver_that_is_installed(entry: Any, address: str) -> None:
    """001-01: database, driver and place, in a URL or in parts; a driver that is named is taken."""
    engine = db_plugins.connect(entry)._engine
    assert str(engine.url) == address  # type: ignore[attr-defined]
    assert "s3cr3t" not in repr(engine.settings)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "pg8000"])
@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_url_without_a_driver_takes_the_one_that_is_there(
    monkeypatch: pytest.MonkeyPatch, scheme: str, driver: str
) -> None:
    """003-05: whichever is the only one installed. 003-06: for both schemes. That they connect is in the conformance kit's runs,
    of which psycopg has one; the others are not installed here."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: driver if name == driver else None)
    assert db_plugins.connect(f"{scheme}://u@h/d")._engine.url.drivername == f"postgresql+{driver}"  # type: ignore[attr-defined]


def test_a_password_of_any_characters_reaches_the_driver_as_it_is() -> None:
    url = db_plugins.connect({"ENGINE": "postgresql", **PARTS})._engine.url  # type: ignore[attr-defined]
    assert url.password == PARTS["PASSWORD"]


def test_a_missing_driver_names_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(errors.ConfigError, match=r'pip install "db-plugins-sql\[postgresql\]"'):
        db_plugins.connect("postgresql://u@h/d").query(Shop).all()


def test_a_missing_named_driver_is_told_too() -> None:
    with pytest.raises(errors.ConfigError, match="pg8000"):
        db_plugins.connect("postgresql+pg8000://u@h/d").query(Shop).all()


def test_tls_verifies_the_name_of_the_host_only_where_it_is_to() -> None:
    def context(tls: str) -> Any:
        engine: Any = db_plugins.connect({"ENGINE": "mariadb", **PARTS, "TLS": tls})._engine
        return engine.connect_arguments()["ssl"]

    assert (context("verify").check_hostname, context("verify").verify_mode) == (True, ssl.CERT_REQUIRED)
    assert (context("require").check_hostname, context("require").verify_mode) == (False, ssl.CERT_NONE)
    for tls, word in (("off", "disable"), ("require", "require"), ("verify", "verify-full")):
        engine: Any = db_plugins.connect({"ENGINE": "postgresql", **PARTS, "TLS": tls})._engine
        assert engine.connect_arguments()["sslmode"] == word


def test_each_missing_key_is_named_at_once() -> None:
    with pytest.raises(errors.ConfigError) as caught:
        db_plugins.connect({"ENGINE": "mariadb"})
    for key in ("HOST", "USER", "DB_NAME"):
        assert any(key in problem for problem in caught.value.problems)


def test_a_url_of_several_servers_with_ports_is_told_how_to_write_them() -> None:
    with pytest.raises(errors.ConfigError) as caught:
        db_plugins.connect("postgresql://u:s3cret@a:1,b:2/d")
    assert "?host=a:5432&host=b:5432" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    two: Any = db_plugins.connect("postgresql://u@/d?host=a:1&host=b:2&target_session_attrs=read-write")
    assert two._engine.url.query["host"] == ("a:1", "b:2")


def test_an_unknown_dialect_is_named_with_the_nearest() -> None:
    with pytest.raises(errors.ConfigError, match="did you mean 'sqlite'"):
        db_plugins.connect({"PLUGIN": "sql", "ENGINE": "sqllite"})


def explain(url: str, build: Any) -> str:
    return " ".join(build(db_plugins.connect(url).query(Item)).explain().split())


def test_nulls_are_placed_only_on_nullable_columns_and_where_the_dialect_would_not() -> None:
    def build(query: Any) -> Any:
        return query.order_by("count", "-id")

    assert explain("postgresql://h/d", build).endswith("ORDER BY item.count ASC NULLS FIRST, item.id DESC")
    assert explain("sqlite://", build).endswith("ORDER BY item.count ASC, item.id DESC")
    assert explain("mariadb://h/d", build).endswith("ORDER BY item.count ASC, item.id DESC")

    def last(query: Any) -> Any:
        return query.order_by(Item.count.asc().nulls_last())

    assert "ORDER BY item.count ASC NULLS LAST" in explain("sqlite://", last)
    assert "ORDER BY item.count ASC, item.id" in explain("postgresql://h/d", last)
    assert "ORDER BY item.count IS NULL ASC, item.count ASC" in explain("mariadb://h/d", last)


def test_text_is_ordered_by_code_point_and_enums_by_name() -> None:
    assert 'item.ttl COLLATE "C"' in explain("postgresql://h/d", lambda q: q.order_by("title"))
    assert "COLLATE utf8mb4_nopad_bin" in explain("mariadb://h/d", lambda q: q.order_by("title"))
    assert "CAST(item.colour AS TEXT)" in explain("postgresql://h/d", lambda q: q.order_by("colour"))


def test_a_long_list_is_one_array_on_postgresql() -> None:
    assert "= ANY (" in explain("postgresql://h/d", lambda q: q.filter(Item.id.in_(range(5000))))
    assert "!= ALL (" in explain("postgresql://h/d", lambda q: q.filter(Item.id.not_in(range(5000))))


def test_a_statement_never_shows_its_values() -> None:
    assert "s3cr3t" not in explain("sqlite://", lambda q: q.filter(Item.title == "s3cr3t"))


def test_tables_are_made_with_the_types_that_lose_nothing() -> None:
    from sqlalchemy.dialects import mysql, postgresql, sqlite

    def made(kind: Any) -> str:
        dialect = kind()
        teach_ddl(dialect)
        tables = copied_tables([Shop.__table__, Item.__table__], dialect)  # type: ignore[list-item]
        return "\n".join(str(sa.schema.CreateTable(t).compile(dialect=dialect)) for t in tables)

    mariadb = made(mysql.dialect)
    for part in (
        "made DATETIME(6)",
        "hour TIME(6)",
        "weight DOUBLE",
        "photo LONGBLOB",
        "utf8mb4_nopad_bin",
        "InnoDB",
    ):
        assert part in mariadb
    assert 'ttl VARCHAR(40) COLLATE "C"' in made(postgresql.dialect)
    assert "id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT" in made(sqlite.dialect)


class FakeError(Exception):
    """A driver's error with the attributes that classify reads."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args)
        vars(self).update(attributes)


def classified(url: str, orig: Exception, **context: Any) -> Any:
    engine = db_plugins.connect(url)._engine
    exc = sa_exc.DBAPIError("SELECT s3cr3t", {}, orig, hide_parameters=True)
    note(exc, Context(describe(Shop), **context))
    return engine.classify(exc)


@pytest.mark.parametrize(("code", "kind"), POSTGRESQL_CODES.items())
def test_every_sqlstate_of_the_table_becomes_its_error(code: str, kind: type[errors.EngineError]) -> None:
    error = classified("postgresql://h/d", FakeError("values: s3cr3t", sqlstate=code.ljust(5, "9")))
    assert type(error) is kind
    assert "s3cr3t" not in str(error)
    assert error.engine == "postgresql"


@pytest.mark.parametrize(("code", "kind"), MARIADB_CODES.items())
def test_every_errno_of_the_table_becomes_its_error(code: int, kind: type[errors.EngineError]) -> None:
    error = classified("mariadb://h/d", FakeError(code, "values: s3cr3t", sqlstate="HY000"))
    assert type(error) is kind
    assert "s3cr3t" not in str(error)


@pytest.mark.parametrize(("code", "kind"), SQLITE_CODES.items())
def test_every_name_of_sqlite_becomes_its_error(code: str, kind: type[errors.EngineError]) -> None:
    assert type(classified("sqlite://", FakeError("x", sqlite_errorname=code))) is kind


def test_a_lost_connection_is_retryable_only_in_a_transaction_and_unknown_after_a_write() -> None:
    lost = FakeError("x", sqlstate="57P01")
    assert not classified("postgresql://h/d", lost).retryable
    assert classified("postgresql://h/d", lost, in_transaction=True).retryable
    assert type(classified("postgresql://h/d", lost, writing=True)) is errors.OutcomeUnknownError
    assert (
        type(classified("postgresql://h/d", lost, in_transaction=True, committing=True))
        is errors.OutcomeUnknownError
    )
    assert (
        type(classified("postgresql://h/d", lost, in_transaction=True, writing=True))
        is errors.ConnectionLostError
    )


def test_an_error_without_a_known_code_is_an_engine_error_that_quotes_no_row() -> None:
    error = classified("postgresql://h/d", FakeError("s3cr3t", sqlstate="XX000"))
    assert type(error) is errors.EngineError
    assert "XX000" in str(error)
    assert "s3cr3t" not in str(error)


def test_what_is_not_the_drivers_is_left_alone() -> None:
    assert db_plugins.connect("sqlite://")._engine.classify(KeyError("x")) is None


@pytest.mark.parametrize(
    ("orig", "model", "names"),
    [
        (FakeError(1062, "Duplicate entry 'x' for key 'PRIMARY'"), Shop, ("id",)),
        (FakeError(1062, "Duplicate entry 'x' for key 'shop.name'"), Shop, ("name",)),
        (FakeError(1048, "Column 'ttl' cannot be null"), Item, ("title",)),
        (
            FakeError(1452, "fails (`d`.`item`, CONSTRAINT `c` FOREIGN KEY (`shop_id`) REFERENCES"),
            Item,
            ("shop_id",),
        ),
        (FakeError(1062, "Duplicate entry 'x' for key 'nobody'"), Item, ()),
    ],
)
def test_the_attributes_of_a_constraint_are_found_through_the_model(
    orig: Any, model: Any, names: Any
) -> None:
    assert attributes_of(orig, describe(model)) == names
