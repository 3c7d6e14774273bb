"""Tables that somebody else made: code points decide whatever their collations are, and no index is lost for it.

The reference is ``MemoryEngine`` with the same rows. What the indexes of tables of our own serve is asked of EXPLAIN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

import db_plugins
from db_plugins import func, or_


class Base(DeclarativeBase):
    pass


class Word(Base):
    __tablename__ = "word"
    __table_args__ = (sa.Index("word_text", "text", "spelling"),)  # limits order by the key, too
    spelling: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    text: Mapped[str] = mapped_column(sa.String(40))
    other: Mapped[str | None] = mapped_column(sa.String(40))
    uses: Mapped[list[Use]] = relationship(back_populates="word", cascade="all, delete-orphan")


class Use(Base):
    __tablename__ = "word_use"
    id: Mapped[int] = mapped_column(primary_key=True)
    spelling: Mapped[str] = mapped_column(sa.ForeignKey("word.spelling"), index=True)
    word: Mapped[Word] = relationship(back_populates="uses")


MODELS = [Word, Use]
#: Every collation of these tests takes some of them for equal, or orders them otherwise than code points do.
TEXTS = ["a", "A", "a ", "ab", "AB", "Ab", "b", "B", "B ", "e", "é", "É", "Z", "_", "a_", "A\t", ""]
LONG = [f"x{n}" for n in range(1500)]


def tables(of_text: str, of_other: str) -> list[str]:
    """Statements for tables whose columns have the given declarations.

    They have indexes and no keys: a key of such a collation could not hold the texts that it takes for equal.
    """
    return [
        f"CREATE TABLE word (spelling {of_text} NOT NULL, text {of_text} NOT NULL, other {of_other})",
        f"CREATE TABLE word_use (id INTEGER NOT NULL PRIMARY KEY, spelling {of_other} NOT NULL)",
        "CREATE INDEX word_spelling ON word (spelling)",
        "CREATE INDEX word_text ON word (text, spelling)",
        "CREATE INDEX word_use_spelling ON word_use (spelling)",
    ]


#: Engine → collation → the statements that make the tables.
FOREIGN: dict[tuple[str, str], list[str]] = {
    ("sqlite", "NOCASE"): tables("VARCHAR(40) COLLATE NOCASE", "VARCHAR(40)"),
    ("sqlite", "RTRIM"): tables("VARCHAR(40) COLLATE RTRIM", "VARCHAR(40) COLLATE NOCASE"),
    ("mariadb", "utf8mb4_general_ci"): tables(
        "VARCHAR(40) COLLATE utf8mb4_general_ci", "VARCHAR(40) COLLATE utf8mb4_general_ci"
    ),
    ("mariadb", "utf8mb4_bin"): tables(
        "VARCHAR(40) COLLATE utf8mb4_bin", "VARCHAR(40) COLLATE utf8mb4_general_ci"
    ),
    ("mariadb", "latin1"): tables(
        "VARCHAR(40) CHARACTER SET latin1", "VARCHAR(40) COLLATE utf8mb4_general_ci"
    ),
    ("postgresql", "ucs_basic"): tables("VARCHAR COLLATE ucs_basic", 'VARCHAR COLLATE "POSIX"'),
    ("postgresql", "en-x-icu"): tables('VARCHAR COLLATE "en-x-icu"', "VARCHAR"),
    ("postgresql", "nondeterministic"): [
        "CREATE COLLATION alike (provider=icu, locale='und-u-ks-level1', deterministic=false)",
        *tables("VARCHAR COLLATE alike", 'VARCHAR COLLATE "en-x-icu"'),
    ],
}
NEEDS_ICU = {"en-x-icu", "nondeterministic"}


def entry(request: pytest.FixtureRequest, engine: str) -> dict[str, Any]:
    """A database of its own on the engine."""
    if engine == "sqlite":
        return {"ENGINE": "sqlite", "DB_NAME": str(request.getfixturevalue("tmp_path") / "words.db")}
    server = request.getfixturevalue("shared_server")(engine)
    name, _url = server.new_database()
    request.addfinalizer(lambda: server.drop_database(name))
    return dict(server.entry(name))


def make_tables(db: db_plugins.Database, statements: list[str]) -> None:
    with db.native.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def has_icu(db: db_plugins.Database) -> bool:
    found = "SELECT count(*) FROM pg_collation WHERE collname = 'en-x-icu'"
    with db.native.connect() as connection:
        return bool(connection.exec_driver_sql(found).scalar())


def fill(db: db_plugins.Database) -> None:
    db.query(Word).bulk_insert(
        [
            {"spelling": text, "text": text, "other": None if n % 5 == 4 else TEXTS[n - 1]}
            for n, text in enumerate(TEXTS)
        ]
    )
    db.query(Use).bulk_insert([{"id": n, "spelling": text} for n, text in enumerate(TEXTS[::2])])


@contextmanager
def filled(
    made: dict[str, Any], statements: list[str], *, icu: bool = False
) -> Iterator[db_plugins.Database]:
    with db_plugins.connect(made, models=MODELS) as db:
        if icu and not has_icu(db):
            pytest.skip("this build of PostgreSQL has no ICU, the only provider of such collations")
        make_tables(db, statements)
        fill(db)
        yield db


@pytest.fixture(params=FOREIGN, ids="-".join)
def db(request: pytest.FixtureRequest) -> Iterator[db_plugins.Database]:
    engine, collation = request.param
    with filled(entry(request, engine), FOREIGN[request.param], icu=collation in NEEDS_ICU) as db:
        yield db


@pytest.fixture
def memory() -> Iterator[db_plugins.Database]:
    with db_plugins.connect({"ENGINE": "memory"}, models=MODELS) as db:
        db.create_all()
        fill(db)
        yield db


Ask = Callable[[db_plugins.Database], Any]


def found(db: db_plugins.Database, condition: Any) -> list[str]:
    return sorted(word.spelling for word in db.query(Word).filter(condition).all())


def of_each(make: Callable[[str], Any]) -> Ask:
    """The rows for each of the texts: the same statement with other values."""
    return lambda db: {text: found(db, make(text)) for text in TEXTS}


def of(make: Callable[[], Any]) -> Ask:
    return lambda db: found(db, make())


def pages(db: db_plugins.Database, *order: str) -> list[list[str]]:
    page = db.query(Word).order_by(*order).cursor_paginate(per_page=4)
    read = [[word.spelling for word in page]]
    while page.has_next:
        page = page.next()
        read.append([word.spelling for word in page])
    return read


QUESTIONS: dict[str, Ask] = {
    "equal": of_each(lambda t: Word.text == t),
    "unequal": of_each(lambda t: Word.text != t),
    "less": of_each(lambda t: Word.text < t),
    "at least": of_each(lambda t: Word.text >= t),
    "between": of_each(lambda t: Word.text.between("A", t)),
    "in": of_each(lambda t: Word.text.in_([t, "b", "nowhere"])),
    "not in": of_each(lambda t: Word.text.not_in([t, "b", "nowhere"])),
    "in one": of_each(lambda t: Word.text.in_([t])),
    "in a long list": of_each(lambda t: Word.text.in_([*LONG, t])),
    "not in a long list": of_each(lambda t: Word.text.not_in([*LONG, t])),
    "like": of_each(lambda t: Word.text.like(f"{t}%")),
    "not like": of_each(lambda t: Word.text.not_like(f"{t}%")),
    "starts with": of_each(lambda t: Word.text.startswith(t, autoescape=True)),
    "ends with": of_each(lambda t: Word.text.endswith(t, autoescape=True)),
    "contains": of_each(lambda t: Word.text.contains(t, autoescape=True)),
    "ilike": of_each(lambda t: Word.text.ilike(f"{t}%") if t.isascii() else Word.text == t),
    "columns equal": of(lambda: Word.text == Word.other),
    "columns unequal": of(lambda: Word.text != Word.other),
    "columns less": of(lambda: Word.text < Word.other),
    "columns at least": of(lambda: Word.other >= Word.text),
    "a column and itself": of(lambda: Word.spelling == Word.text),
    "any": of_each(lambda t: Word.uses.any(Use.spelling == t)),
    "any at all": of(lambda: Word.uses.any()),
    "none": of(lambda: ~Word.uses.any()),
    "any of columns that differ": of(lambda: Word.uses.any(Use.spelling != Word.text)),
    "any, or another text": of_each(lambda t: or_(Word.uses.any(), Word.text == t)),
    "has": lambda db: {
        text: sorted(use.id for use in db.query(Use).filter(Use.word.has(Word.text == text)).all())
        for text in TEXTS
    },
    "join": lambda db: sorted(use.id for use in db.query(Use).join(Use.word).filter(Word.text >= "a").all()),
    "include": lambda db: {
        word.spelling: [use.id for use in word.uses] for word in db.query(Word).include(Word.uses).all()
    },
    "order": lambda db: [word.text for word in db.query(Word).order_by("text").all()],
    "order downwards": lambda db: [word.text for word in db.query(Word).order_by("-text").limit(7).all()],
    "order by a column with NULLs": lambda db: [
        w.spelling for w in db.query(Word).order_by("other", "text").all()
    ],
    "count in a window": lambda db: db.query(Word).order_by("text").limit(5).offset(2).count(),
    "pages": lambda db: pages(db, "text"),
    "pages by the key": lambda db: pages(db, "-spelling"),
    "pages by two columns": lambda db: pages(db, "-other", "text"),
    "groups": lambda db: db.query(Word).group_by("text").aggregate(n=func.count()),
    "groups in order": lambda db: (
        db.query(Word).group_by("text").order_by("-text").limit(5).aggregate(n=func.count())
    ),
    "least and greatest": lambda db: db.query(Word).aggregate(a=func.min(Word.text), z=func.max(Word.other)),
    "get": lambda db: [
        getattr(db.query(Word).get(text), "text", None) for text in [*TEXTS, "É ", "aB", "z", " "]
    ],
    "stream": lambda db: [
        word.text for word in db.query(Word).filter(Word.text > "A").order_by("text").stream()
    ],
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_code_points_decide(db: Any, memory: Any, question: str) -> None:
    ask = QUESTIONS[question]
    assert ask(db) == ask(memory)


@pytest.mark.parametrize("question", ["equal", "in", "order", "columns equal", "like"])
def test_code_points_decide_in_transactions_and_sessions_too(db: Any, memory: Any, question: str) -> None:
    ask = QUESTIONS[question]
    with db.transaction() as tx:
        assert ask(tx) == ask(memory)
    with db.session():
        assert ask(db) == ask(memory)


def test_writes_change_no_other_rows(db: Any, memory: Any) -> None:
    def write(db: Any) -> Any:
        return (
            db.query(Word).filter(Word.text == "a").update({"other": "1"}),
            db.query(Word).filter(Word.text.in_(["B", "AB"])).update({"other": "2"}),
            db.query(Word).filter(Word.text.startswith("A")).update({"other": "3"}),
            db.query(Word).filter(Word.text == "b").delete(),
            db.query(Word).filter(Word.text.in_(["É", "nowhere"])).delete(),
            db.query(Word).filter(Word.text < "A").delete(),
            sorted((word.text, word.other or "") for word in db.query(Word).all()),
        )

    assert write(db) == write(memory)


# -- what it costs -----------------------------------------------------------------------------------------------------


def plan_of(db: db_plugins.Database, ask: Ask) -> str:
    """How the server runs the last statement that is sent."""
    sent: list[tuple[str, Any]] = []

    def listen(*given: Any) -> None:
        sent.append((given[2], given[3]))

    sa.event.listen(db.native, "before_cursor_execute", listen)
    ask(db)
    sa.event.remove(db.native, "before_cursor_execute", listen)
    statement, values = sent[-1]
    dialect = db.native.dialect.name
    with db.native.connect() as connection:
        if dialect == "postgresql":
            connection.exec_driver_sql("SET enable_seqscan = off")
        word = "EXPLAIN QUERY PLAN" if dialect == "sqlite" else "EXPLAIN"
        rows = connection.exec_driver_sql(f"{word} {statement}", values).fetchall()
        if dialect == "postgresql":
            connection.exec_driver_sql("RESET enable_seqscan")
    if dialect in ("mysql", "mariadb"):
        return "\n".join(f"{'SCAN' if row.table and not row.key else row.type} {row.Extra}" for row in rows)
    return "\n".join(str(row[-1]) for row in rows)


def is_served(plan: str) -> bool:
    """Does it read by an index, and sort nothing?"""
    lines = plan.splitlines()
    unserved = ("Seq Scan", "TEMP B-TREE", "filesort", "Sort", "Using temporary")
    reads = [line for line in lines if line.startswith("SCAN") and "INDEX" not in line]
    return not reads and not any(word in plan for word in unserved)


INDEXED: dict[str, Ask] = {
    "equal": lambda db: db.query(Word).filter(Word.text == "w17").all(),
    "in": lambda db: db.query(Word).filter(Word.text.in_(["w17", "w18"])).all(),
    "less": lambda db: db.query(Word).filter(Word.text < "w0005").all(),
    "between": lambda db: db.query(Word).filter(Word.text.between("w0005", "w0010")).all(),
    "like": lambda db: db.query(Word).filter(Word.text.startswith("w001")).all(),
    "order": lambda db: db.query(Word).order_by("text").limit(3).all(),
    "order downwards": lambda db: db.query(Word).order_by("-text", "-spelling").limit(3).all(),
    "page": lambda db: db.query(Word).order_by("spelling").cursor_paginate(per_page=5).next(),
    "get": lambda db: db.query(Word).get("w0017"),
    "any": lambda db: db.query(Word).filter(Word.text == "w0017", Word.uses.any()).all(),
    "join": lambda db: db.query(Use).join(Use.word).filter(Word.text == "w0017").all(),
    "greatest": lambda db: db.query(Word).aggregate(z=func.max(Word.text)),
}


def fill_many(db: db_plugins.Database) -> None:
    texts = [f"w{n:04}" for n in range(3000)]
    db.query(Word).bulk_insert([{"spelling": text, "text": text, "other": text} for text in texts])
    db.query(Use).bulk_insert([{"id": n, "spelling": text} for n, text in enumerate(texts)])
    with db.native.connect() as connection:
        for table in ("word", "word_use"):
            mysql = db.native.dialect.name in ("mysql", "mariadb")
            connection.exec_driver_sql(f"ANALYZE {'TABLE ' if mysql else ''}{table}")


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"], scope="module")
def own(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[db_plugins.Database]:
    """Tables of our own, with rows enough for indexes."""
    made: dict[str, Any] = {"ENGINE": "sqlite", "DB_NAME": str(tmp_path_factory.mktemp("own") / "own.db")}
    if request.param != "sqlite":
        server = request.getfixturevalue("shared_server")(request.param)
        name, _url = server.new_database()
        made = dict(server.entry(name))
    with db_plugins.connect(made, models=MODELS) as db:
        db.create_all()
        fill_many(db)
        yield db
    if request.param != "sqlite":
        server.drop_database(name)


@pytest.mark.parametrize("question", INDEXED)
def test_tables_of_our_own_keep_their_indexes(own: Any, question: str) -> None:
    plan = plan_of(own, INDEXED[question])
    assert is_served(plan), plan


def test_a_sort_without_an_index_is_noticed(own: Any) -> None:
    assert not is_served(plan_of(own, lambda db: db.query(Word).order_by("other").limit(3).all()))
    assert not is_served(plan_of(own, lambda db: db.query(Word).filter(Word.other == "w0017").all()))


@pytest.mark.parametrize(
    ("made", "question"),
    [
        (made, question)
        for made in [
            ("mariadb", "utf8mb4_general_ci"),
            ("postgresql", "ucs_basic"),
            ("postgresql", "en-x-icu"),
        ]
        for question in ("equal", "in", "get")
    ],
    ids=str,
)
def test_equality_keeps_the_index_of_another_collation(
    request: pytest.FixtureRequest, made: tuple[str, str], question: str
) -> None:
    with db_plugins.connect(entry(request, made[0]), models=MODELS) as db:
        if made[1] in NEEDS_ICU and not has_icu(db):
            pytest.skip("this build of PostgreSQL has no ICU, the only provider of such collations")
        make_tables(db, FOREIGN[made])
        fill_many(db)
        plan = plan_of(db, INDEXED[question])
    assert is_served(plan), plan


@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
def test_what_is_known_of_a_table_is_forgotten_with_it(
    request: pytest.FixtureRequest, engine: str, memory: Any
) -> None:
    made = {"postgresql": "nondeterministic", "mariadb": "utf8mb4_general_ci"}[engine]
    with db_plugins.connect(entry(request, engine), models=MODELS) as db:
        if made in NEEDS_ICU and not has_icu(db):
            pytest.skip("this build of PostgreSQL has no ICU, the only provider of such collations")
        db.create_all()
        for ask in (QUESTIONS["order"], QUESTIONS["equal"]):
            ask(db)
        db.drop_all()
        make_tables(db, FOREIGN[engine, made])
        fill(db)
        for ask in (QUESTIONS["order"], QUESTIONS["equal"]):
            assert ask(db) == ask(memory)
