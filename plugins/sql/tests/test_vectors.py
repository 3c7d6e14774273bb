"""pgvector: the extension on a bare database, an index that serves ``nearest``, and what is in the way of either."""

from __future__ import annotations

import logging
import random
import struct
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import db_plugins
from db_plugins import Database, UnsupportedError, Vector
from db_plugins.errors import EngineError
from db_plugins.models import describe
from db_plugins_sql.migrations.ddl import teach_ddl
from db_plugins_sql.storage import copied_tables


class Base(DeclarativeBase):
    pass


class Document(Base):
    """Its index serves the angle, and no other metric."""

    __tablename__ = "document"
    __table_args__ = (
        sa.Index(
            "document_nearest",
            "embedding",
            postgresql_using="hnsw",
            postgresql_with={"m": 16, "ef_construction": 64},
            postgresql_ops={"embedding": "vector_cosine_ops"},
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    part: Mapped[int | None]
    embedding: Mapped[list[float] | None] = mapped_column(Vector(8))


class Page(Base):
    __tablename__ = "page"
    id: Mapped[int] = mapped_column(primary_key=True)
    embedding: Mapped[list[float]] = mapped_column(Vector(1536))


class Bare:
    """An empty database of the run's server."""

    def __init__(self, server: Any) -> None:
        self.name, self.url = server.new_database()
        self.entry: dict[str, Any] = dict(server.entry(self.name))

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    @property
    def has_extension(self) -> bool:
        return bool(self.run("SELECT 1 FROM pg_extension WHERE extname = 'vector'"))


@pytest.fixture
def bare(postgresql_server: Any) -> Iterator[Bare]:
    made = Bare(postgresql_server)
    yield made
    postgresql_server.drop_database(made.name)


@pytest.fixture(scope="module")
def full(postgresql_server: Any) -> Iterator[Bare]:
    """3,000 documents: enough for the server to prefer the index. Nobody is connected to it."""
    source = random.Random(5)
    made = Bare(postgresql_server)
    with db_plugins.connect(made.entry, models=[Document]) as db:
        db.create_all()
        rows = [
            {"part": n // 20, "embedding": [source.gauss(0, 1) for _ in range(8)]} for n in range(1, 3001)
        ]
        db.query(Document).bulk_insert(rows)
    made.run("ANALYZE document")
    yield made
    postgresql_server.drop_database(made.name)


@pytest.fixture
def filled(bare: Bare, full: Bare, postgresql_server: Any) -> Iterator[Database]:
    """The test's own copy of them: the index is not made again, which takes 2 s."""
    with psycopg.connect(postgresql_server.url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{bare.name}"'.encode())
        connection.execute(f'CREATE DATABASE "{bare.name}" TEMPLATE "{full.name}"'.encode())
    with db_plugins.connect(bare.entry, models=[Document]) as db:
        yield db


def watched(db: Database) -> list[tuple[str, Any]]:
    statements: list[tuple[str, Any]] = []
    sa.event.listen(db.native, "before_cursor_execute", lambda *given: statements.append(given[2:4]))
    return statements


def plan_of(db: Database, statement: tuple[str, Any]) -> str:
    with db.native.connect() as connection:
        lines = connection.exec_driver_sql(f"EXPLAIN {statement[0]}", statement[1]).scalars().all()
    return "\n".join(lines)


def by_hand(db: Database, target: list[float], k: int, where: str = "true") -> list[int]:
    """What the server says when it may use no index."""
    statement = sa.text(f"SELECT id FROM document WHERE {where} ORDER BY (embedding <=> '{target}') + 0, id")
    with db.native.connect() as connection:
        return list(connection.execute(statement).scalars())[:k]


# -- the extension -----------------------------------------------------------------------------------------------------


def test_create_all_makes_the_extension_on_a_bare_database(bare: Bare) -> None:
    """004-37, 004-E11: where the seed's table cannot be made."""
    assert not bare.has_extension
    with db_plugins.connect(bare.entry, models=[Page]) as db:
        db.create_all()
        db.create_all()
        assert bare.has_extension
        assert bare.run(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attname = 'embedding'"
        ) == [("vector(1536)",)]
        one = db.query(Page).insert({"embedding": [n / 7 for n in range(1536)]})
        assert [(p.id, d) for p, d in db.query(Page).nearest("embedding", one.embedding, 1)] == [(1, 0.0)]


def test_models_without_vectors_need_no_extension(bare: Bare) -> None:
    class Own(DeclarativeBase):
        pass

    class Plain(Own):
        __tablename__ = "plain"
        id: Mapped[int] = mapped_column(primary_key=True)

    with db_plugins.connect(bare.entry, models=[Plain]) as db:
        db.create_all()
    assert not bare.has_extension


def test_a_server_without_pgvector_is_told_with_a_remedy(bare: Bare) -> None:
    """004-37. The server has it: a view of that name that comes first in the search path hides it."""
    bare.run("CREATE SCHEMA fake")
    bare.run("CREATE VIEW fake.pg_available_extensions AS SELECT 'hstore'::text AS name")
    entry = {**bare.entry, "OPTIONS": {"options": "-c search_path=fake,public,pg_catalog"}}
    with db_plugins.connect(entry, models=[Page]) as db:
        with pytest.raises(UnsupportedError, match="does not have it; install it on the server"):
            db.create_all()
        assert bare.run("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_a_user_who_may_not_make_the_extension_is_told_who_may(bare: Bare, postgresql_server: Any) -> None:
    role = f"{bare.name}_reader"
    bare.run(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    bare.run(f"GRANT ALL ON SCHEMA public TO {role}")
    try:
        entry = {k: v for k, v in bare.entry.items() if k != "URL"}
        if "URL" in bare.entry:
            url = sa.make_url(bare.entry["URL"]).set(username=role, password="x")
            entry["URL"] = url.render_as_string(hide_password=False)
        else:
            entry.update(USER=role, PASSWORD="x")
        with db_plugins.connect(entry, models=[Page]) as db:
            with pytest.raises(UnsupportedError, match="superuser run CREATE EXTENSION vector"):
                db.create_all()
            bare.run("CREATE EXTENSION vector")
            db.create_all()
            assert db.ping().missing == ()
    finally:
        bare.run(f"DROP OWNED BY {role}")
        bare.run(f"DROP ROLE {role}")


def test_an_extension_in_another_schema_is_told(bare: Bare) -> None:
    bare.run("CREATE SCHEMA elsewhere")
    bare.run("CREATE EXTENSION vector SCHEMA elsewhere")
    with (
        db_plugins.connect(bare.entry, models=[Page]) as db,
        pytest.raises(UnsupportedError, match="ALTER EXTENSION vector SET SCHEMA"),
    ):
        db.create_all()


# -- the index ---------------------------------------------------------------------------------------------------------


def test_the_models_index_is_made_and_serves_one_statement(filled: Database) -> None:
    """004-38."""
    with filled.native.connect() as connection:
        (made,) = connection.execute(
            sa.text("SELECT indexdef FROM pg_indexes WHERE indexname = 'document_nearest'")
        ).scalars()
    assert "USING hnsw (embedding vector_cosine_ops) WITH (m='16', ef_construction='64')" in made
    statements = watched(filled)
    target = [1.0] * 8
    found = [d.id for d, _ in filled.query(Document).nearest("embedding", target, 10)]
    assert len(statements) == 1
    assert "Index Scan using document_nearest" in plan_of(filled, statements[0])
    # The index is approximate by nature: 10 of 40 candidates of 3,000 rows are found nearly always.
    assert len(set(found) & set(by_hand(filled, target, 10))) >= 9


def test_where_the_index_finds_too_few_the_rows_are_searched_exactly(filled: Database, bare: Bare) -> None:
    """pgvector looks at 40 candidates (hnsw.ef_search), and a filter takes some of them away."""
    target = [1.0, -1.0] * 4
    wanted = by_hand(filled, target, 100)
    of_part = by_hand(filled, target, 20, "part IN (3, 50, 77)")
    assert len(of_part) == 20
    # The server would rather read 3,000 rows than ask the index for so many of them.
    entry = {**bare.entry, "OPTIONS": {"options": "-c enable_seqscan=off -c enable_sort=off"}}
    with db_plugins.connect(entry, models=[Document]) as db:
        query = db.query(Document)
        assert query.count() == 3000
        for rows, k, right in (
            (query, 100, wanted),
            (query.filter(Document.part.in_([3, 50, 77])), 20, of_part),
        ):
            statements = watched(db)
            assert [d.id for d, _ in rows.nearest("embedding", target, k)] == right
            first, second = statements
            assert "Index Scan using document_nearest" in plan_of(db, first)
            assert "document_nearest" not in plan_of(db, second)


def test_a_tie_at_the_end_is_decided_by_the_key_with_an_index_too(filled: Database) -> None:
    query = filled.query(Document)
    query.bulk_insert([{"id": 10_000 - n, "embedding": [9.0, 0, 0, 0, 0, 0, 0, 0]} for n in range(30)])
    found = query.nearest("embedding", [1, 0, 0, 0, 0, 0, 0, 0], 5)
    assert [d.id for d, _ in found] == [9971, 9972, 9973, 9974, 9975]
    assert [distance for _, distance in found] == [0.0] * 5


def test_distances_agree_with_pgvectors_own(filled: Database) -> None:
    target = [0.3, -1.5, 2.0, 0.1, 0.0, 4.0, -0.7, 1.1]
    for metric, operator in (("cosine", "<=>"), ("l2", "<->"), ("inner_product", "<#>")):
        found = filled.query(Document).filter(Document.id <= 500).nearest("embedding", target, 50, metric)
        with filled.native.connect() as connection:
            rows = connection.execute(
                sa.text(
                    f"SELECT id, embedding {operator} '{target}' FROM document WHERE id <= 500 ORDER BY 2 LIMIT 50"
                )
            ).all()
        assert [d.id for d, _ in found] == [row[0] for row in rows]
        assert [x for _, x in found] == pytest.approx([row[1] for row in rows], rel=1e-6, abs=1e-6)


# -- other dialects, and SQLAlchemy alone ------------------------------------------------------------------------------


def test_other_dialects_keep_bytes_and_leave_the_index_out_with_a_note(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """004-40."""
    table = describe(Document).table
    for name, kind in (("sqlite", "BLOB"), ("mysql", "LONGBLOB"), ("mariadb", "LONGBLOB")):
        dialect = sa.make_url(f"{name}://").get_dialect()()
        teach_ddl(dialect)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "db_plugins"):
            (made,) = copied_tables([table], dialect)
        assert f"embedding {kind}" in str(sa.schema.CreateTable(made).compile(dialect=dialect))
        assert made.indexes == set()
        assert "document_nearest is left out" in caplog.text
    (made,) = copied_tables([table], sa.make_url("postgresql://").get_dialect()())
    assert [index.name for index in made.indexes] == ["document_nearest"]
    assert {index.name for index in table.indexes} == {"document_nearest"}, "the user's table stays as it is"


def test_sqlite_keeps_32_bits_for_each_number_and_reads_text_too() -> None:
    numbers = [0.1, -0.0, 3e38, 1e-45, 5, 6, 7, 8]
    with db_plugins.connect("sqlite://", models=[Document]) as db:
        db.create_all()
        kept = db.query(Document).insert({"embedding": numbers}).embedding
        with db.native.begin() as connection:
            (stored,) = connection.execute(sa.text("SELECT embedding FROM document")).scalars()
            assert stored == struct.pack("<8f", *numbers)
            for value in ("[0.1,-0,3e38,1e-45,5,6,7,8]", "[1,2]", b"1234", b"12345", "words"):
                connection.execute(sa.text("INSERT INTO document (embedding) VALUES (:v)"), {"v": value})
        assert repr(db.query(Document).filter(id=2).one().embedding) == repr(kept)
        for key in (3, 4, 5, 6):
            with pytest.raises(EngineError, match=r"Vector\(8\) holds"):
                db.query(Document).get(key)


def test_the_type_works_in_sqlalchemy_alone(bare: Bare) -> None:
    bare.run("CREATE EXTENSION vector")
    url = sa.make_url(bare.url).set(drivername="postgresql+psycopg")
    for engine in (sa.create_engine(url), sa.create_engine("sqlite://")):
        Base.metadata.create_all(engine, tables=[Base.metadata.tables["document"]])
        with Session(engine) as session:
            session.add(Document(id=1, embedding=[0.1, 2, 3, 4, 5, 6, 7, 8]))
            session.commit()
            found = session.scalars(sa.select(Document)).one()
            assert found.embedding == [0.10000000149011612, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
            session.add(Document(id=2, embedding=[1, 2]))
            with pytest.raises(sa.exc.StatementError, match="of 2 numbers"):
                session.flush()
        engine.dispose()
