"""The requirements of the seeds about the files of migrations: portable, self-sufficient, one tree for all SQL engines,
good for plain Alembic, and never written over.
"""

from __future__ import annotations

import py_compile
import re
import subprocess
import sys
from pathlib import Path

import pytest
from projects import ENGINES, PLAIN, SQL, Project, body_of, on, project

__all__ = ["project"]

#: With everything whose DDL differs by engine: an enum, times, bytes, a key of text, JSON, numbers, a link table, defaults of
#: the server, named constraints.
HEAD = """
import datetime as dt, decimal, enum, uuid
import sqlalchemy as sa
from sqlalchemy import ForeignKey, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

class Base(DeclarativeBase):
    pass

class Kind(enum.Enum):
    DWARF = 1
    GIANT = 2

author_of = sa.Table(
    "author_of",
    Base.metadata,
    sa.Column("author_id", ForeignKey("authors.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("paper_id", ForeignKey("papers.id"), primary_key=True),
)
"""
MODELS = (
    HEAD
    + """
class Author(Base):
    __tablename__ = "authors"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40), unique=True)
    kind: Mapped[Kind | None]
    born: Mapped[dt.date | None]
    seen: Mapped[dt.datetime] = mapped_column(sa.DateTime(timezone=True))
    papers: Mapped[list["Paper"]] = relationship(secondary=author_of)

class Paper(Base):
    __tablename__ = "papers"
    __table_args__ = (sa.UniqueConstraint("title", "year", name="uq_title_year"), sa.Index("ix_year", "year", "pages"))
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(sa.String(80))
    year: Mapped[int | None] = mapped_column(sa.SmallInteger)
    pages: Mapped[int] = mapped_column(server_default="1")
    price: Mapped[decimal.Decimal | None] = mapped_column(sa.Numeric(10, 2))
    facts: Mapped[dict | None] = mapped_column(sa.JSON)
    scan: Mapped[bytes | None]
    is_open: Mapped[bool] = mapped_column(default=True)
"""
)
LATER = (
    MODELS.replace("sa.String(80)", "sa.String(120)").replace(
        "    GIANT = 2\n", "    GIANT = 2\n    PULSAR = 3\n"
    )
    + """
    editor_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("authors.id"), index=True)
    checked: Mapped[dt.time | None]

class Review(Base):
    __tablename__ = "reviews"
    paper_id: Mapped[int] = mapped_column(ForeignKey("papers.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    by: Mapped[uuid.UUID] = mapped_column(ForeignKey("authors.id"), index=True)
    text: Mapped[str | None] = mapped_column(sa.Text)
"""
)
CONVENTION = """
    metadata = MetaData(naming_convention={
        "ix": "ix_%(column_0_label)s", "uq": "uq_%(table_name)s_%(column_0_name)s", "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s", "pk": "pk_%(table_name)s",
    })
"""
SMALL = """
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Star(Base):
    __tablename__ = "stars"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)
"""
MAGNITUDE = "    magnitude: Mapped[float | None] = mapped_column(index=True)\n"
SQLMODEL = """
import sqlmodel
from sqlalchemy.orm import registry
from db_plugins import Vector

class Model(sqlmodel.SQLModel, registry=registry()):
    metadata = __import__("sqlalchemy").MetaData()

class Document(Model, table=True):
    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    content: str
    label: str = sqlmodel.Field(max_length=20, index=True)
    place: list[float] = sqlmodel.Field(sa_type=Vector(1536))
"""


def with_convention(models: str) -> str:
    return models.replace(
        "class Base(DeclarativeBase):\n    pass\n", f"class Base(DeclarativeBase):{CONVENTION}"
    )


# -- one tree ----------------------------------------------------------------------------------------------------------


def applied_on_the_others(project: Project, first: str, later: str) -> None:
    """Make two revisions, and apply them on the other engines: there they make what ``create_all`` makes, and go again."""
    project.models(first)
    project.run("initdb")
    project.models(later)
    project.run("make_migrations", "-m", "Add reviews")
    for engine in SQL:
        if engine == project.engine:
            continue
        made, migrated = project.new_entry(engine), project.new_entry(engine)
        project.use(A=made)
        with project.open() as (db, _models):
            db.create_all()
        project.use(A=migrated)
        project.run("migrate")
        assert project.state(migrated) == project.state(made), engine
        assert "agree" in project.run("check").stdout
        project.run("downgrade", "base")
        assert project.names(migrated) == set()
        assert not project.state(migrated).get("(enums)")


@on(*SQL)
def test_one_tree_is_good_for_all_sql_engines(project: Project) -> None:
    """003-25: revisions made on one engine and applied on the others make there what `create_all` makes, and are undone."""
    applied_on_the_others(project, MODELS, LATER)


@on("sqlite")
def test_one_tree_of_models_with_a_naming_convention(project: Project) -> None:
    """003-25: also where the models say how constraints are named."""
    applied_on_the_others(project, with_convention(MODELS), with_convention(LATER))


@on("sqlite")
def test_the_same_file_is_made_on_every_sql_engine(project: Project) -> None:
    """003-25: not alike, but the same text."""
    texts = {}
    for engine in SQL:
        project.use(**{engine: project.new_entry(engine)})
        project.models(MODELS)
        first = project.entry_told("initdb")
        project.models(LATER)
        second = project.entry_told("make_migrations", "-m", "Add reviews")
        texts[engine] = body_of(Path(first["file"])), body_of(Path(second["file"]))
    assert texts["sqlite"][0] == texts["postgresql"][0] == texts["mariadb"][0]
    assert texts["sqlite"][1] == texts["postgresql"][1] == texts["mariadb"][1]


# -- plain Alembic -----------------------------------------------------------------------------------------------------


@on(*SQL, folder=PLAIN)
def test_plain_alembic_does_the_same(project: Project) -> None:
    """003-21: `alembic upgrade head` gives the schema that `dbp migrate` gives, and the revision that `alembic revision
    --autogenerate` writes in its own words does what that of `dbp` does, forth and back."""
    project.models(MODELS)
    project.run("initdb")
    first = project.state()
    project.models(LATER)
    ours = Path(project.entry_told("make_migrations", "-m", "Add reviews")["file"])
    other = project.new_entry()
    project.use(A=other)
    project.alembic("upgrade", "head")
    by_alembic = project.state(other)
    assert project.entry_told("current")["is_head"]
    assert "nothing to do" in project.run("migrate").stdout
    assert "agree" in project.run("check").stdout
    project.alembic("downgrade", "base")
    assert project.names(other) == set()
    project.use(A=project.entry)
    project.run("migrate")
    assert project.state() == by_alembic
    project.run("downgrade")
    assert project.state() == first

    ours.unlink()
    project.alembic("revision", "--autogenerate", "-m", "Add reviews")
    [theirs] = [path for path in project.versions() if path.name != "initial.py"]
    assert theirs.name.endswith("_add_reviews.py")
    project.run("migrate")
    assert project.state() == by_alembic
    assert "agree" in project.run("check").stdout
    project.run("downgrade")
    assert project.state() == first


@on("postgresql", folder=PLAIN)
def test_plain_alembic_in_a_process_of_its_own(project: Project) -> None:
    """003-21: from the folder of the project and from the folder of its revisions; the exit code is 0."""
    project.models(SMALL)
    project.run("initdb")
    for folder, ini in ((".", "migrations/A/alembic.ini"), ("migrations/A", "alembic.ini")):
        done = subprocess.run(
            [sys.executable, "-m", "alembic", "-c", ini, "current"],
            cwd=project.folder / folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        project.everything += done.stdout + done.stderr
        assert done.returncode == 0, done.stderr
        assert "initial (head)" in done.stdout


# -- what is in them ---------------------------------------------------------------------------------------------------


@on(*ENGINES)
def test_a_message_names_the_file(project: Project) -> None:
    """003-19: its slug is in the file's name, its text in the file; without one the first change is the message."""
    project.models(SMALL)
    project.run("make_migrations", "-m", "Add shields table")
    [path] = project.versions()
    assert re.fullmatch(r"[0-9a-f]{12}_add_shields_table\.py", path.name)
    assert '"""Add shields table"""' in path.read_text(encoding="utf-8")
    project.run("migrate")
    project.models(SMALL + MAGNITUDE)
    made = project.entry_told("make_migrations")
    assert "magnitude" in made["message"]
    assert "magnitude" in Path(made["file"]).name


HOSTILE = [
    "../../evil",
    "/etc/evil",
    '"""\nopen("pwned", "w")\n"""',
    "'''; open('pwned', 'w')",
    '\\"; open("pwned", "w") #',
    "a\nb\r\nopen('pwned', 'w')",
    "${open('pwned', 'w')} <% open('pwned', 'w') %> {0} %(x)s",
    "% raise",
    "## comment",
    "naïve Ω 星 \U0001f4a5",
    "\\",
    'ends with a quote"',
    ".",
    "CON",
]


@on("sqlite", "mongodb")
def test_a_message_may_hold_anything(project: Project) -> None:
    """003-19: whatever it holds, it is text in a file inside of `versions`, and runs nothing."""
    project.models(SMALL)
    project.run("initdb")
    for message in HOSTILE:
        made = project.entry_told("make_migrations", "--empty", "-m", message)
        path = Path(made["file"]).resolve()
        assert path.parent == (project.folder / "migrations/A/versions").resolve()
        assert re.fullmatch(r"[a-z0-9_]{1,80}\.py", path.name), path.name
        py_compile.compile(str(path), cfile=str(project.folder / "x.pyc"), doraise=True)
    project.run("migrate")
    messages = [each["message"] for each in project.entry_told("history")["revisions"]]
    assert messages[:-1] == [message.strip().split("\n")[0].strip() for message in HOSTILE[::-1]]
    assert not list(project.folder.parent.rglob("pwned"))
    assert len(list(project.folder.parent.rglob("*.py"))) == len(project.versions()) + 2 + project.is_sql

    before = project.versions()
    for message in ("x" * 201, "a\0b"):
        refused = project.entry_told("make_migrations", "--empty", "-m", message, code=1)
        assert refused["type"] == "InvalidValueError"
    assert project.versions() == before


@on(*ENGINES)
def test_no_file_and_no_output_holds_a_secret_or_a_path_of_this_machine(project: Project) -> None:
    """003-24: nothing under `migrations` holds the password or a path, and no command prints the password, whatever it is
    asked and however it ends. (The fixture looks at every test's.) 002-17: on the servers the password holds ``@:/%``. 003-12."""
    project.models(SMALL)
    commands = [
        *(
            ["initdb"],
            ["make_migrations", "-m", "Add magnitude"],
            ["migrate", "--plan"],
            ["migrate", "--sql"],
        ),
        *(["migrate"], ["migrate", "nowhere"], ["history"], ["current"], ["heads"], ["check"], ["health"]),
        *(["downgrade"], ["migrate"], ["stamp", "head"], ["merge"]),
    ]
    for command in commands:
        project.run(*command, "--verbose", code=1 if "nowhere" in command else 0)
        project.models(SMALL + MAGNITUDE)
    for command in (
        ["history"],
        ["current"],
        ["check"],
        ["migrate", "base", "--plan"],
        ["migrate", "nowhere"],
    ):
        project.run(*command, "--json", code=1 if "nowhere" in command else 0)
    project.everything = project.everything.replace("Traceback", "")  # --verbose asked for them
    written = [path for path in (project.folder / "migrations").rglob("*") if path.is_file()]
    assert len(written) >= 3
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert str(project.folder) not in text
        assert Path.home().as_posix() + "/" not in text
        assert str(project.entry.get("PASSWORD", "s3cr3t")) not in text
        if not path.name.endswith((".mako", ".ini")) and "HOST" in project.entry:
            assert project.entry["DB_NAME"] not in text


@on(*ENGINES)
def test_a_file_needs_nothing_but_its_own_imports(project: Project) -> None:
    """004-32: SQLModel's strings and vectors are imported where they are used: the file compiles, can be run by itself in a
    new process, and applied. 004-37: on PostgreSQL the extension is made by the revision, and goes with none of ours left
    behind."""
    pytest.importorskip("sqlmodel")
    project.models(SQLMODEL)
    if project.engine == "postgresql":
        assert "vector" not in project.state()["(extensions)"]
    project.run("make_migrations", "-m", "Documents")
    [path] = project.versions()
    py_compile.compile(str(path), cfile=str(project.folder / "x.pyc"), doraise=True)
    code = "import runpy, sys; print(sorted(runpy.run_path(sys.argv[1])))"
    alone = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60
    )
    assert alone.returncode == 0, alone.stderr
    text = path.read_text(encoding="utf-8")
    for name in set(re.findall(r"\b([a-z_]+)\.[A-Z]\w+\(", text)):
        assert re.search(rf"^(import|from) .*\b{name}\b", text, re.MULTILINE), name
    project.run("migrate")
    assert "agree" in project.run("check").stdout
    project.insert("Document", {"content": "a", "label": "b", "place": [0.5] * 1536})
    if project.engine == "postgresql":
        assert "vector" in project.state()["(extensions)"]
        assert project.state()["document"]["columns"]["place"][0] == "VECTOR(1536)"
    project.run("downgrade", "base", "--allow-drop")
    assert project.names() == set()
    project.run("migrate")
    project.insert("Document", {"content": "a", "label": "b", "place": [0.5] * 1536})


# -- they are the user's -----------------------------------------------------------------------------------------------


@on(*ENGINES)
def test_the_tree_is_made_once_and_never_written_over(project: Project) -> None:
    """004-28: made on first need; what the user has changed in it stays, and is used."""
    project.models(SMALL)
    project.run("initdb")
    folder = project.folder / "migrations/A"
    own = {"script.py.mako", "versions"} | ({"alembic.ini", "env.py"} if project.is_sql else set())
    assert {path.name for path in folder.iterdir()} - {"README", "__pycache__"} == own
    edited = {}
    for path in folder.iterdir():
        if path.is_file():
            marked = {".mako": "## mine\n# ours, by ${message}\n", ".ini": "# mine\n"}.get(
                path.suffix, "# mine\n"
            )
            text = path.read_text(encoding="utf-8")
            # A docstring must stay the first statement of a revision.
            path.write_text(text + marked if path.suffix == ".mako" else marked + text, encoding="utf-8")
            edited[path] = path.read_text(encoding="utf-8")
    initial = project.versions()[0]
    initial.write_text(initial.read_text(encoding="utf-8") + "# mine\n", encoding="utf-8")
    project.models(SMALL + MAGNITUDE)
    made = project.entry_told("make_migrations", "-m", "Add magnitude")
    assert Path(made["file"]).read_text(encoding="utf-8").endswith("# ours, by Add magnitude\n")
    for _ in range(2):
        project.run("initdb")
    assert {path: path.read_text(encoding="utf-8") for path in edited} == edited
    assert initial.read_text(encoding="utf-8").endswith("# mine\n")
    assert "agree" in project.run("check").stdout


ENV = """
from alembic import context
from models import Base

context.configure(url="sqlite:///elsewhere.db", target_metadata=Base.metadata)
"""
FIRST = """
import sqlalchemy as sa
from alembic import op

revision = "0123456789ab"
down_revision = None

def upgrade():
    op.create_table(
        "stars",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(50), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )

def downgrade():
    op.drop_table("stars")
"""


@on(*SQL, folder=PLAIN)
def test_a_folder_of_alembics_own_is_adopted_as_it_is(project: Project) -> None:
    """003-21: ``MIGRATIONS`` names it. Its env.py and its template stay, its revisions are applied and known, and the next
    ones are written in its template's words; nothing is added that would not fit."""
    import alembic

    folder = project.folder / "alembic"
    (folder / "versions").mkdir(parents=True)
    template = Path(alembic.__file__).parent / "templates/generic/script.py.mako"
    own = {
        "env.py": ENV,
        "script.py.mako": template.read_text("utf-8"),
        "versions/0123456789ab_first.py": FIRST,
    }
    for name, text in own.items():
        (folder / name).write_text(text, encoding="utf-8")
    project.use(A={**project.entry, "MIGRATIONS": "alembic"})
    project.models(SMALL)
    project.run("migrate")
    assert "agree" in project.run("check").stdout
    project.models(SMALL + MAGNITUDE)
    made = Path(project.entry_told("make_migrations", "-m", "Add magnitude")["file"])
    assert made.parent == folder / "versions"
    text = made.read_text(encoding="utf-8")
    assert "Revises: 0123456789ab" in text
    assert (text.count("import sqlalchemy as sa\n"), text.count("from alembic import op\n")) == (1, 1)
    project.run("migrate")
    assert "agree" in project.run("check").stdout
    assert {name: (folder / name).read_text(encoding="utf-8") for name in own} == own
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {
        "env.py",
        "script.py.mako",
        "versions",
    }


BROKEN = {
    "no Python": ("def upgrade(:\n", "SyntaxError"),
    "does not import": ("import nothing_of_this_name\n", "nothing_of_this_name"),
    "fails": ("raise RuntimeError('mine')\n", "mine"),
}


@on("sqlite", "mongodb")
def test_a_folder_that_was_broken_by_hand_is_reported(project: Project) -> None:
    """003-24: a file that cannot be read is named with its line, one that is there twice and one that is not there by id;
    nothing is done."""
    project.models(SMALL)
    project.run("initdb")
    path = project.revise("Mine", "pass")
    good = path.read_text(encoding="utf-8")
    revision = re.search(r"revision = '(\w+)'", good)
    assert revision is not None
    before = project.state()
    commands = (["migrate"], ["history"], ["make_migrations"], ["check"], ["migrate", "--plan"], ["heads"])

    at = good.index("revision = ")
    line = good[:at].count("\n") + 1
    for text, said in BROKEN.values():
        path.write_text(good[:at] + text + good[at:], encoding="utf-8")
        for command in commands:
            refused = project.entry_told(*command, code=1)
            assert said in refused["error"]
            assert f"{path.name}:{line}" in refused["error"], refused["error"]
    path.write_text(good.replace("down_revision = 'initial'", "down_revision = 'gone'"), encoding="utf-8")
    refused = project.entry_told("migrate", code=1)
    assert refused["type"] == "RevisionNotFoundError"
    assert "gone" in refused["error"]
    path.write_text(good, encoding="utf-8")
    path.with_name("twin.py").write_text(good, encoding="utf-8")
    assert revision[1] in project.entry_told("migrate", code=1)["error"]
    path.with_name("twin.py").unlink()
    path.write_text(good.partition("def upgrade")[0], encoding="utf-8")
    assert "upgrade()" in project.entry_told("migrate", code=1)["error"]
    assert project.state() == before

    path.write_text(good, encoding="utf-8")
    project.run("migrate")
    path.unlink()
    refused = project.entry_told("migrate", code=1)
    assert refused["type"] == "RevisionNotFoundError"
    assert revision[1] in refused["error"]
    assert "dbp stamp" in refused["hint"]
    assert revision[1] in project.entry_told("check", code=3)["problems"][0]


# -- the models --------------------------------------------------------------------------------------------------------


@on(*ENGINES)
def test_models_that_cannot_be_imported_write_no_file(project: Project) -> None:
    """004-30: exit code 1 with file and line, and never a revision that drops everything; models of all modules named in the
    settings are found."""
    project.models(SMALL)
    (project.folder / "other.py").write_text(
        SMALL.replace("Star", "Moon").replace("stars", "moons"), encoding="utf-8"
    )
    project.use(["models", "other"], A=project.entry)
    project.run("initdb")
    assert project.names() == {"stars", "moons"}
    before = [path.name for path in project.versions()]
    for broken, said in (
        ("\nimport nothing_of_this_name\n", "models.py:2"),
        ("\n\nclass Star(:\n", "models.py:3"),
        ("\n\n\nraise RuntimeError('in the models')\n", "models.py:4"),
    ):
        project.models(broken + SMALL)
        for command in ("make_migrations", "initdb", "check"):
            done = project.run(command, code=1)
            assert said in done.stderr, command
            assert "drop" not in done.stdout
        assert [path.name for path in project.versions()] == before
    assert project.names() == {"stars", "moons"}
